/* SPDX-License-Identifier: Apache-2.0 */
/* objective: what a trainer minimizes, one file src/train/objectives/<name>.c with one descriptor; the build finds it. It says as data
 * which rows it takes, how many sequences are trained on together (a group), what its graph is fed with, which options it has and which
 * numbers it reports; and it writes its graph. Trainer, batches, samples and commands know none by name.
 *
 *     enum { TARGET, WEIGHT };
 *     static const lmf_objective_input inputs[] = { { "target", LMF_PER_TOKEN, LMF_I32, lmf_value_target },
 *         { "weight", LMF_PER_TOKEN, LMF_F32, lmf_value_token_mean }, { 0 } };
 *     const lmf_objective lmf_objective_mine = { .name = "mine", .group_size = 1, .takes = LMF_TAKES_SINGLE, .inputs = inputs,
 *         .loss = loss, .score = score };
 *
 * Groups of a step lie in micro-batches whose gradients are summed: a loss is a sum over groups or tokens of weight times something, and
 * the weights are inputs made from what the whole step holds (lmf_totals), so that it is the same however they lie. Of a group's sequences
 * the graph has those that are trained on behind each other, in order; behind the last group lie padding and dead groups, whose inputs are
 * all 0. Samples that are only measured are scored before the step, with the weights as they are, for a number that the whole step uses. */
#ifndef LMF_TRAIN_OBJECTIVE_H
#define LMF_TRAIN_OBJECTIVE_H
#include "data/samples.h"
#include "graph/graph.h"
#include "models/arch.h"

enum { LMF_MAX_OBJECTIVE_INPUTS = 8, LMF_MAX_REPORTS = 16, LMF_MAX_OBJECTIVE_OPTIONS = 16, LMF_MAX_GROUP = 2 };
/* T tokens, S sequences, G groups of a micro-batch, padding and dead ones included; one value for all. */
enum { LMF_PER_TOKEN, LMF_PER_SEQUENCE, LMF_PER_GROUP, LMF_PER_STEP };

/* What a whole step holds, or all rows of an evaluation; by place in the group: [0] of the chosen answers, [1] of the rejected ones. */
typedef struct lmf_totals {
    int64_t n_groups;
    int64_t n_learn[LMF_MAX_GROUP];   /* learned tokens */
    int64_t n_next[LMF_MAX_GROUP];    /* tokens that have one before them */
    int64_t n_label[2];               /* groups with the label -1, 1 */
    double  progress;                 /* share of the run's steps that are done before this one; of an evaluation 1 */
    double  measured;                 /* what the objective's measure made of the samples that are only measured; 0 without one */
} lmf_totals;
/* One element of an input: what its value is made from. Of a group or a step the sample is its first. */
typedef struct lmf_place {
    const lmf_sample *sample;
    int32_t  i_tok;          /* per token: the value is about i_tok + 1, which the graph predicts here */
    int32_t  member;         /* place of the sample in its group */
    const lmf_totals *totals;
    /* Log-probability of the sample's learned tokens under the weights that the run started from; 0 where no reference is wanted. */
    float    reference;
    const void *opts;        /* the objective's */
} lmf_place;
typedef double lmf_value(const lmf_place *p);
typedef struct lmf_objective_input {   /* ends with a NULL name */
    const char *name;
    uint8_t     per;         /* LMF_PER_* */
    uint16_t    dtype;       /* LMF_F32, LMF_I32 */
    lmf_value  *value;
} lmf_objective_input;
/* Values that more than one objective wants. Per token; 0 where nothing is predicted. */
double lmf_value_target(const lmf_place *p);         /* the next token where it is learned */
double lmf_value_learned(const lmf_place *p);        /* 1 where the next token is learned */
double lmf_value_next(const lmf_place *p);           /* the next token */
double lmf_value_token_mean(const lmf_place *p);     /* where it is learned: 1 / learned tokens of the step */
double lmf_value_first_mean(const lmf_place *p);     /* where it is learned, in the group's first: 1 / such tokens of the step */
double lmf_value_own_mean(const lmf_place *p);       /* where it is learned: 1 / learned tokens of the sequence */
/* Per sequence or group. */
double lmf_value_group_mean(const lmf_place *p);     /* 1 / groups of the step */
double lmf_value_per_token(const lmf_place *p);      /* 1 / learned tokens of the sequence; 0 if it has none */
double lmf_value_reference(const lmf_place *p);
static inline bool lmf_place_has_next(const lmf_place *p) { return p->i_tok + 1 < p->sample->n; }
static inline bool lmf_place_learned(const lmf_place *p) { return lmf_place_has_next(p) && p->sample->learn[p->i_tok + 1]; }

/* A member of the objective's option struct. On the command line --name. Ends with a NULL name. */
typedef struct lmf_objective_option {
    const char *name;        /* "label-smoothing" */
    uint16_t    kind, offset; /* LMF_FIELD_F32, LMF_FIELD_I32 or LMF_FIELD_BOOL; offsetof */
    const char *unit;        /* "", "tokens" */
    double      lo, hi;      /* allowed range, inclusive; not read where there are choices or it is a BOOL */
    const char *fallback;    /* text of the default: a number, true or false, a choice */
    const char *help;
    const char *choices;     /* LMF_FIELD_I32: "sigmoid|hinge": the value is the place in this list; NULL: a number */
} lmf_objective_option;
/* An element of an output of the graph, summed over a step. Ends with a NULL name. */
typedef struct lmf_objective_report {
    const char *name;        /* in metrics.jsonl */
    const char *label;       /* on the progress line; NULL: not there */
    const char *output;      /* NULL: "report". The k-th that names an output is its element k */
} lmf_objective_report;

typedef struct lmf_teacher_in { lmf_tensor *x, *w; float scale; } lmf_teacher_in; /* hidden states [T, E] and head of another model */
typedef struct lmf_labels_in { lmf_tensor *id, *logp, *rest; float temperature; } lmf_labels_in; /* of labels kept: head_topk.h */

/* How an objective whose rows are prompts (LMF_TAKES_PROMPT), or are answered in some steps, wants that; its samples then have
 * lmf_sample.sampled. */
typedef enum lmf_scale_rewards { LMF_SCALE_GROUP, LMF_SCALE_BATCH, LMF_SCALE_NONE } lmf_scale_rewards;
typedef struct lmf_sampling {
    int32_t n_answers, max_tok;  /* to a prompt, 0: it does not sample after all; of an answer */
    int32_t n_iterations;        /* optimizer steps on the same answers */
    int32_t top_k;
    float   temperature, top_p, min_p; /* as lmf_gen_opts has them */
    lmf_scale_rewards scale;     /* what advantages are divided by */
    bool    mask_truncated;      /* answers that did not end are not learned */
    bool    old, base;           /* lmf_sampled.old, lmf_sampled.base are wanted */
    /* Answers are learned or not, without advantages: those with a reward of at least threshold, each text once a group; best: of these the
     * one with most reward alone. The step's means are then over what is learned. */
    bool    accept, best;
    float   threshold;
    /* The samples are whole rows: a step learns from these as they are, or with probability lmbda from answers to what stands before the
     * last answer of each. Such answers are not judged, and all are learned. */
    bool    from_rows;
    float   lmbda;
} lmf_sampling;

typedef struct lmf_loss_in { /* what a graph is made from */
    const lmf_head_spec *head;
    lmf_tensor  *x;          /* [T, D] hidden states */
    const lmf_teacher_in *teacher; /* of the same rows; NULL: no teacher is wanted, or its labels are there, or neither (evaluation) */
    const lmf_labels_in *labels;
    lmf_tensor  *start;      /* [S + 1] i32: first row of each sequence */
    lmf_tensor *const *in;   /* the objective's inputs, in the order of their table */
    const void  *opts;
    int          compute;
} lmf_loss_in;

typedef struct lmf_objective {
    const char *name, *summary;  /* "sft", for --help */
    int32_t     group_size;      /* sequences a group: 1 single, 2 a pair, n; as the rows give them */
    int32_t     n_measured;      /* the last of these: not in the graph, only measured */
    /* totals->measured from the log-probabilities of the n measured samples of a step or an evaluation, and those under the weights that
     * the run started from (0 without a reference). */
    void        (*measure)(const float *logp, const float *reference, int64_t n, lmf_totals *totals);
    uint32_t    takes;           /* rows: LMF_TAKES_* */
    const lmf_objective_option *options; size_t opts_bytes; /* NULL, 0: none */
    const lmf_objective_input *inputs;
    bool        teacher;         /* a second model, frozen, reads the same rows, or has read them: lmf_train_opts.teacher, labels */
    /* By its options. NULL: it never samples */
    void        (*sampling)(const void *opts, lmf_sampling *out);
    bool        reference;       /* log-probabilities under the weights that the run started from are wanted */
    const lmf_objective_report *reports; /* NULL: none */
    /* Adds the scalar output "loss" and those that the reports name; returns the loss. */
    lmf_tensor *(*loss)(lmf_graph *g, const lmf_loss_in *in);
    /* Forward alone, for evaluation and reference: adds the output "logp" [T], log-probabilities of the learned tokens, 0 elsewhere, and
     * nothing else: the loss is the mean of -logp over all learned tokens. NULL: loss does, which adds "logp" too. */
    void        (*score)(lmf_graph *g, const lmf_loss_in *in);
} lmf_objective;

/* Of a sample how many tokens are what is to be answered: all of a prompt, of a row those before its last learned ones; and the most. */
int32_t    lmf_sampling_prompt_tok(const lmf_sampling *s, const lmf_sample *sample);
int32_t    lmf_sampling_longest(const lmf_sampling *s, const lmf_samples *samples);
/* LMF_E_ARG with the names that there are. */
lmf_status lmf_objective_find(lmf_ctx *ctx, const char *name, const lmf_objective **out);
int        lmf_objective_n_reports(const lmf_objective *o);
/* Where report i is: the output's name, and the element. */
const char *lmf_objective_report_at(const lmf_objective *o, int i, int *element);
/* Of groups group[0 .. n) of the samples; group NULL: of all. */
lmf_totals lmf_totals_of(const lmf_samples *samples, const int64_t *group, int64_t n);
/* Defaults, and one value; of a choice its place in the list, of a BOOL 0 or 1. LMF_E_ARG: no such option, out of range, not whole where it
 * must be. opts: o->opts_bytes. */
lmf_status lmf_objective_defaults(lmf_ctx *ctx, const lmf_objective *o, void *opts);
lmf_status lmf_objective_set(lmf_ctx *ctx, const lmf_objective *o, void *opts, const char *name, double value);
/* The value that a text stands for: a number, true or false, a choice. False: none. */
bool       lmf_objective_option_parse(const lmf_objective_option *f, const char *text, double *value);
/* "beta=0.1 label-smoothing=0 " into text: what must agree for two runs to be one. */
void       lmf_objective_text(const lmf_objective *o, const void *opts, char *text, size_t n);

#endif
