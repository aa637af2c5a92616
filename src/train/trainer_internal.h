/* SPDX-License-Identifier: Apache-2.0 */
/* trainer_internal: what trainer.c, evaluate.c and checkpoint.c share. */
#ifndef LMF_TRAIN_TRAINER_INTERNAL_H
#define LMF_TRAIN_TRAINER_INTERNAL_H
#include "models/adapter.h"
#include "nn/nn.h"
#include "train/batches.h"
#include "train/objective.h"
#include "train/trainer.h"

enum { LMF_TRAINER_BAD_STEPS = 3 };   /* in a row, that end a run or rewind it */

/* Log-probabilities under the weights that the run started from, of the learned tokens of each sample. */
typedef struct lmf_reference {
    char    data_sha256[65];         /* of the samples; "": none yet */
    float  *logp; int64_t n;
} lmf_reference;

struct lmf_trainer {
    lmf_ctx        *ctx;
    lmf_arena       arena;
    lmf_model      *model;
    lmf_device     *dev;
    lmf_train_opts  opts;
    const lmf_objective *objective;
    void           *objective_opts;
    lmf_sampling    sampling;        /* where objective->sampling is there */
    lmf_reference   reference, eval_reference; /* of the samples trained on, and of those evaluated last */
    float          *measured;        /* room for a step's samples that are only measured */
    float          *start;           /* the parameters that an adapter was loaded into; NULL: the initial ones, or no reference is wanted */
    lmf_params      params;
    lmf_modules     modules;         /* LoRA: what has a pair, in the order of params */
    lmf_nn          nn, teacher_nn;
    int32_t        *label_id;        /* room for a sample's labels: [most, k]; and [most, k] behind which [most] */
    float          *label_logp;
    lmf_weights    *teacher_weights; /* the teacher's, under the names that they have in the graphs; NULL: no teacher */
    lmf_batches     batches;
    lmf_graph      *graphs[2 * LMF_MAX_STEP_BUCKETS + 1]; /* step of each bucket, then evaluation of each, then the update */
    int             n_graphs;
    lmf_plan       *plan;
    lmf_weights    *live;            /* the parameters where they lie, for others to borrow */
    lmf_step_plan   now;             /* the step in progress */
    int64_t         step;            /* optimizer steps done */
    int64_t         total_tok, n_skipped;
    int64_t         was_steps;       /* of the shorter run that this one goes on with; 0: none */
    int             n_bad;           /* skipped ones in a row, up to now */
    int64_t         n_rewinds;       /* of this run, those before a resume included */
    char            model_sha256[65], teacher_sha256[65]; /* of the models' weights, made when the first checkpoint is */
};

/* Samples, what all of them that count together hold, and their reference or NULL. */
typedef struct lmf_laid { const lmf_samples *samples; const lmf_totals *totals; const float *reference; } lmf_laid;
typedef struct lmf_members { int32_t first, n; } lmf_members; /* of each group */
/* Lays members of groups of samples into the inputs of a graph of T rows. */
void       lmf__trainer_fill(lmf_trainer *t, int i_graph, int64_t T, const lmf_laid *laid, const int64_t *group, int n, lmf_members of);
/* Scores what is measured of n groups (NULL: all) for the objective's measure. room: two numbers a sample that is measured. */
lmf_status lmf__trainer_measure(lmf_trainer *t, const lmf_laid *laid, const int64_t *group, int64_t n, lmf_totals *totals, float *room);
/* Adds what a graph that has run reports. */
void       lmf__trainer_take_reports(const lmf_trainer *t, int i_graph, double *report);
int64_t    lmf__trainer_eval_size(const lmf_trainer *t, int i_bucket); /* tokens of an evaluation graph */
/* n_total floats: what the run starts from, but for an adapter loaded */
void       lmf__trainer_init_params(const lmf_trainer *t, float *p);
/* The reference of the samples trained on, made when it is not there. */
lmf_status lmf__trainer_reference(lmf_trainer *t);
/* Whether the parameters of the start are looked at again. */
static inline bool lmf__trainer_keeps_start(const lmf_trainer *t) { return t->objective->reference || t->sampling.base; }
void       lmf__trainer_drop_reference(lmf_trainer *t);                /* all that was made, and the start */

/* The teacher's names in a graph begin with this. Refuses one that reads other tokens, or shorter rows than the samples'. */
extern const char lmf__teacher_scope[];
lmf_status lmf__trainer_open_teacher(lmf_trainer *t, const lmf_samples *samples);
lmf_status lmf__trainer_open_labels(lmf_trainer *t, const lmf_samples *samples);
lmf_labels_in lmf__trainer_label_inputs(const lmf_trainer *t, lmf_graph *g, int64_t T);
lmf_status lmf__trainer_fill_labels(lmf_trainer *t, int i_graph, const lmf_laid *laid, const int64_t *group, int n);

#endif
