/* SPDX-License-Identifier: Apache-2.0 */
/* objective: what a trainer minimizes, one file src/train/objectives/<name>.c with one descriptor; the build finds it. It says as data
 * which rows it takes, how many sequences are trained on together (a group), what its graph is fed with, what its loss is a mean over,
 * which options it has and which numbers it reports; and it writes two graphs. Trainer, batches, samples and commands know none by name.
 *
 *     enum { TARGET, WEIGHT };
 *     static const lmf_objective_input inputs[] = {
 *         { "target", LMF_PER_TOKEN, LMF_FILL_TARGET }, { "weight", LMF_PER_TOKEN, LMF_FILL_WEIGHT }, { 0 } };
 *     const lmf_objective lmf_objective_mine = { .name = "mine", .group_size = 1, .takes = LMF_TAKES_SINGLE, .inputs = inputs,
 *         .mean_over = LMF_MEAN_OVER_TOKENS, .loss = loss, .score = score };
 *
 * Groups of a step lie in micro-batches whose gradients are summed: a loss is a sum over groups or tokens of weight times something, with
 * the weight that an input filled by LMF_FILL_WEIGHT brings, so that it is the same however they lie. Of a group's sequences the graph
 * has group_size behind each other, in order; behind the last group lie padding and dead groups, whose weights are 0. */
#ifndef LMF_TRAIN_OBJECTIVE_H
#define LMF_TRAIN_OBJECTIVE_H
#include "data/samples.h"
#include "graph/graph.h"
#include "models/arch.h"

enum { LMF_MAX_OBJECTIVE_INPUTS = 8, LMF_MAX_REPORTS = 16, LMF_MAX_OBJECTIVE_OPTIONS = 16 };
/* T tokens, S sequences, G groups of a micro-batch, padding and dead ones included. */
enum { LMF_PER_TOKEN, LMF_PER_SEQUENCE, LMF_PER_GROUP };
enum { LMF_FILL_TARGET,      /* token: the next token where it is learned, else 0; i32. The others are f32 */
       LMF_FILL_LEARNED,     /* token: 1 where the next token is learned, else 0 */
       LMF_FILL_WEIGHT,      /* token: weight where the next token is learned; sequence, group: weight where it is alive; else 0 */
       LMF_FILL_REFERENCE }; /* sequence: log-probability of its learned tokens under the weights that the run started from */
enum { LMF_MEAN_OVER_TOKENS, LMF_MEAN_OVER_GROUPS }; /* weight: 1 / (learned tokens, groups) of the step */

typedef struct lmf_objective_input { const char *name; uint8_t per, fill; } lmf_objective_input; /* ends with a NULL name */
/* A member of the objective's option struct. On the command line --name. Ends with a NULL name. */
typedef struct lmf_objective_option {
    const char *name;        /* "label-smoothing" */
    uint16_t    kind, offset; /* LMF_FIELD_F32, LMF_FIELD_I32 or LMF_FIELD_BOOL; offsetof */
    const char *unit;        /* "", "tokens" */
    double      lo, hi;      /* allowed range, inclusive */
    const char *fallback;    /* text of the default */
    const char *help;
} lmf_objective_option;
/* Element i of the output "report", summed over a step. Ends with a NULL name. */
typedef struct lmf_objective_report {
    const char *name;        /* in metrics.jsonl */
    const char *label;       /* on the progress line; NULL: not there */
} lmf_objective_report;

typedef struct lmf_loss_in { /* what a graph is made from */
    const lmf_head_spec *head;
    lmf_tensor  *x;          /* [T, D] hidden states */
    lmf_tensor  *start;      /* [S + 1] i32: first row of each sequence */
    lmf_tensor *const *in;   /* the objective's inputs, in the order of their table */
    const void  *opts;
    int          compute;
} lmf_loss_in;

typedef struct lmf_objective {
    const char *name, *summary;  /* "sft", for --help */
    int32_t     group_size;      /* sequences a group: 1 single, 2 a pair, n */
    uint32_t    takes;           /* rows: LMF_TAKES_* */
    const lmf_objective_option *options; size_t opts_bytes; /* NULL, 0: none */
    const lmf_objective_input *inputs;
    uint8_t     mean_over;       /* LMF_MEAN_OVER_* */
    const lmf_objective_report *reports; /* NULL: none */
    /* Adds the scalar output "loss" and, with reports, the output "report"; returns the loss. */
    lmf_tensor *(*loss)(lmf_graph *g, const lmf_loss_in *in);
    /* Forward alone, for evaluation and reference: adds the output "logp" [T], log-probabilities of the learned tokens, 0 elsewhere;
     * and "loss" and "report" where the loss is not the mean of -logp. */
    void        (*score)(lmf_graph *g, const lmf_loss_in *in);
} lmf_objective;

/* LMF_E_ARG with the names that there are. */
lmf_status lmf_objective_find(lmf_ctx *ctx, const char *name, const lmf_objective **out);
bool       lmf_objective_has_reference(const lmf_objective *o);
int        lmf_objective_n_reports(const lmf_objective *o);
/* Defaults, and one value. LMF_E_ARG: no such option, out of range, not whole where it must be. opts: o->opts_bytes. */
lmf_status lmf_objective_defaults(lmf_ctx *ctx, const lmf_objective *o, void *opts);
lmf_status lmf_objective_set(lmf_ctx *ctx, const lmf_objective *o, void *opts, const char *name, double value);
/* "beta=0.1 label-smoothing=0 " into text: what must agree for two runs to be one. */
void       lmf_objective_text(const lmf_objective *o, const void *opts, char *text, size_t n);

#endif
