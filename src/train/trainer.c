/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a step's result is a function of (weights, step number) alone; everything that lasts between steps is in the plan's STATE
 * tensors and in t->step and the counters beside it. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "ops/accumulate/accumulate.h"
#include "ops/adamw/adamw.h"
#include "ops/adamw_8bit/adamw_8bit.h"
#include "ops/grad_norm/grad_norm.h"
#include "ops/sgd/sgd.h"
#include "train/objective.h"
#include "train/params.h"
#include "train/trainer_internal.h"

enum { MAX_BAD_STEPS = LMF_TRAINER_BAD_STEPS };
_Static_assert(sizeof ((lmf_train_stats *)0)->report / sizeof(double) == LMF_MAX_REPORTS,
               "trainer.h says the number without including objective.h");

lmf_train_opts lmf_train_opts_default(void)
{
    return (lmf_train_opts){ .struct_bytes = sizeof(lmf_train_opts), .objective = "sft", .lora_r = 16, .lora_alpha = 32, .target_modules = "all-linear",
        .batch_size = 4, .grad_accum = 4, .epochs = 1, .lr = 2e-4, .schedule = LMF_SCHEDULE_LINEAR, .warmup_steps = LMF_WARMUP_SHARE,
        .decay_ratio = 0.2, .momentum = 0.9, .weight_decay = 0.01, .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .max_grad_norm = 1,
        .seed = 42, .compute = 1,
        .between = LMF_ANY, .shuffle = true };
}

int lmf_train_optimizer(const char *name)
{
    static const char *const names[] = { "adamw", "adamw_8bit", "sgd" };
    for (int i = 0; i < 3; i++)
        if (!strcmp(name, names[i]))
            return i;
    return -1;
}

int lmf_train_between(const char *name)
{
    return strcmp(name, "bf16") == 0 ? LMF_BF16 : strcmp(name, "f32") == 0 ? LMF_F32 : LMF_ANY;
}

/* Elements of an input in a graph of T rows: tokens, sequences or groups that it has room for, or one. */
static int64_t n_places(const lmf_trainer *t, int per, int64_t T)
{
    if (per == LMF_PER_TOKEN || per == LMF_PER_STEP)
        return per == LMF_PER_TOKEN ? T : 1;
    return per == LMF_PER_SEQUENCE ? t->batches.max_seqs : t->batches.max_seqs / t->batches.n_trained;
}

/* The teacher over the same rows. Its tensors bear names of their own; nothing of it has a gradient. */
static lmf_teacher_in build_teacher(lmf_trainer *t, lmf_graph *g, const lmf_batch *in)
{
    const lmf_model *m = t->opts.teacher;
    lmf_head_spec head = lmf_model_head(m);
    g->config = m->config;
    g->user = &t->teacher_nn;
    lmf_graph_scope(g, lmf__teacher_scope);
    lmf_teacher_in out = { .x = m->arch->body(g, in, m->arch->embed(g, in)), .w = lmf_nn_weight(g, head.role, false), .scale = head.scale };
    lmf_graph_scope(g, NULL);
    return out;
}

/* One bucket of T rows up to the hidden states, and the inputs of the objective; then its loss, which is returned, or its score. */
static lmf_tensor *build_objective(lmf_trainer *t, lmf_graph *g, int64_t T, bool score)
{
    int64_t S1 = t->batches.max_seqs + 1;
    lmf_tensor *own[LMF_MAX_OBJECTIVE_INPUTS];
    lmf_head_spec head = lmf_model_head(t->model);
    const lmf_objective_input *inputs = t->objective->inputs;
    lmf_teacher_in teacher = { 0 };
    lmf_labels_in labels = { 0 };
    lmf_batch in = { .token = lmf_graph_tensor(g, LMF_INPUT, "token", LMF_I32, 1, &T), .pos = lmf_graph_tensor(g, LMF_INPUT, "pos", LMF_I32, 1, &T),
                     .seq = lmf_graph_tensor(g, LMF_INPUT, "seq", LMF_I32, 1, &T), .q_start = lmf_graph_tensor(g, LMF_INPUT, "q_start", LMF_I32, 1, &S1) };
    if (t->opts.teacher)
        teacher = build_teacher(t, g, &in);
    if (t->opts.labels && !score)
        labels = lmf__trainer_label_inputs(t, g, T);
    g->config = t->model->config;
    g->user = &t->nn;
    t->nn.dropout = score ? 0 : (float)t->opts.lora_dropout;
    if (t->nn.dropout > 0) {
        lmf_graph_tensor(g, LMF_INPUT, "item", LMF_I32, 1, &T);
        lmf_graph_tensor(g, LMF_INPUT, "noise", LMF_I32, 1, &(int64_t){ 3 });
    }
    lmf_tensor *x = t->model->arch->body(g, &in, t->model->arch->embed(g, &in));
    for (int i = 0; inputs[i].name; i++) {
        int64_t n = n_places(t, inputs[i].per, T);
        own[i] = lmf_graph_tensor(g, LMF_INPUT, inputs[i].name, inputs[i].dtype, 1, &n);
    }
    lmf_loss_in from = { .head = &head, .x = x, .teacher = t->opts.teacher ? &teacher : NULL,
                         .labels = t->opts.labels && !score ? &labels : NULL,
                         .start = in.q_start, .in = own, .opts = t->objective_opts, .compute = t->opts.compute };
    if (!score || !t->objective->score)
        return t->objective->loss(g, &from);
    t->objective->score(g, &from);
    return NULL;
}

static lmf_status build_step(lmf_trainer *t, lmf_graph *g, int64_t T)
{
    int64_t one = 1;
    float unit = 1;
    int n = t->params.n;
    /* a GPU has time for a pass over memory, and less memory than a host */
    lmf_backward_opts opts = { .recompute = t->opts.recompute, .recompute_cheap = !(t->dev->flags & LMF_DEVICE_HOST) };
    lmf_tensor *loss = build_objective(t, g, T, false);
    lmf_tensor *d_loss = lmf_graph_const(g, "one", LMF_F32, 1, &one, &unit);
    lmf_tensor **wrt = lmf_arena_array(&g->arena, (size_t)n, sizeof *wrt), **grad = lmf_arena_array(&g->arena, (size_t)n, sizeof *grad);
    if (!wrt || !grad)
        return LMF_NO_MEMORY(t->ctx, (size_t)n * sizeof *wrt, "the backward pass");
    LMF_TRY(g->status);
    for (int i = 0; i < n; i++) {
        wrt[i] = lmf_graph_find(g, t->params.items[i].name);
        if (!wrt[i])
            return LMF_FAIL(t->ctx, LMF_E_INTERNAL, "parameter \"%s\" is not used by the model", t->params.items[i].name);
    }
    LMF_TRY(lmf_graph_backward(g, loss, d_loss, &opts, wrt, n, grad));
    lmf_tensor *flat = lmf_graph_tensor(g, LMF_STATE, "train.g", LMF_F32, 1, &t->params.n_total);
    lmf_tensor *keep = lmf_graph_tensor(g, LMF_INPUT, "keep", LMF_F32, 1, &one);
    for (int i = 0; i < n; i++)
        if (!grad[i])
            return LMF_FAIL(t->ctx, LMF_E_INTERNAL, "no gradient reaches \"%s\"", t->params.items[i].name);
    int most = t->dev->flags & LMF_DEVICE_HOST ? 1 : LMF_ACCUMULATE_MOST; /* a launch each would be more than the work */
    for (int i = 0, k; i < n && !g->status; i += k) {
        const lmf_param *p = &t->params.items[i];
        const char *name = lmf_arena_printf(&g->arena, "%s.grad", p->name);
        int64_t count = 0;
        for (k = 0; k < most && i + k < n; k++)
            count += p[k].count;
        if (!name)
            return LMF_NO_MEMORY(t->ctx, 16, "the gradients");
        lmf_tensor *acc = k == 1 ? lmf_graph_part(g, flat, p->offset * 4, name, p->n_dims, p->dim) :
                                   lmf_graph_part(g, flat, p->offset * 4, name, 1, &count);
        lmf_accumulate_all(g, acc, grad + i, k, keep);
    }
    return lmf_graph_finish(g);
}

static lmf_status build_eval(lmf_trainer *t, lmf_graph *g, int64_t T)
{
    build_objective(t, g, T, true);
    return lmf_graph_finish(g);
}

/* What an optimizer keeps, a flat STATE each: bytes of the parameters' type, or scales, two a block. */
enum { MAX_KEPT = 5 };
static const struct kept { int n; const char *name[MAX_KEPT]; uint16_t dtype[MAX_KEPT]; int hyper; } kept[] = {
    [LMF_OPTIMIZER_ADAMW] = { 4, { "train.p", "train.m", "train.v", "train.g" }, { LMF_F32, LMF_F32, LMF_F32, LMF_F32 }, LMF_ADAMW_HYPER },
    [LMF_OPTIMIZER_ADAMW_8BIT] = { 5, { "train.p", "train.m", "train.v", "train.g", "train.s" }, { LMF_F32, LMF_I8, LMF_I8, LMF_F32,
        LMF_F32 },
                                   LMF_ADAMW_8BIT_HYPER },
    [LMF_OPTIMIZER_SGD] = { 3, { "train.p", "train.m", "train.g" }, { LMF_F32, LMF_F32, LMF_F32 }, LMF_SGD_HYPER },
};
enum { SCALES = 4 }; /* of adamw_8bit alone */
static int64_t n_scales(int64_t count) { return 2 * ((count + LMF_ADAMW_8BIT_BLOCK - 1) / LMF_ADAMW_8BIT_BLOCK); }

static void add_update(lmf_trainer *t, lmf_graph *g, lmf_tensor *const *part, lmf_tensor *norm, lmf_tensor *h)
{
    switch (t->opts.optimizer) {
    case LMF_OPTIMIZER_ADAMW_8BIT: lmf_adamw_8bit(g, part[0], part[1], part[2], part[SCALES], part[3], norm, h); break;
    case LMF_OPTIMIZER_SGD: lmf_sgd(g, part[0], part[1], part[2], norm, h); break;
    default: lmf_adamw(g, part[0], part[1], part[2], part[3], norm, h);
    }
}

/* Parameters with decay lie first; the rest is updated with a decay of zero. */
static lmf_status build_update(lmf_trainer *t, lmf_graph *g)
{
    const struct kept *k = &kept[t->opts.optimizer];
    int64_t n = t->params.n_total, hyper = k->hyper, begin[] = { 0, t->params.n_decay, n };
    int64_t scales[] = { 0, n_scales(begin[1]), n_scales(begin[1]) + n_scales(n - begin[1]) };
    lmf_tensor *flat[MAX_KEPT];
    for (int i = 0; i < k->n; i++)
        flat[i] = lmf_graph_tensor(g, LMF_STATE, k->name[i], k->dtype[i], 1, i == SCALES ? &scales[2] : &n);
    lmf_tensor *norm = lmf_grad_norm(g, flat[t->opts.optimizer == LMF_OPTIMIZER_SGD ? 2 : 3]);
    lmf_graph_output(g, "grad_norm", norm);
    for (int group = 0; group < 2; group++) {
        lmf_tensor *part[MAX_KEPT], *h = lmf_graph_tensor(g, LMF_INPUT, group ? "hyper_plain" : "hyper", LMF_F32, 1, &hyper);
        int64_t count = begin[group + 1] - begin[group];
        for (int i = 0; i < k->n && count; i++) {
            const int64_t *at = i == SCALES ? scales : begin;
            int64_t n_part = at[group + 1] - at[group];
            const char *name = lmf_arena_printf(&g->arena, "%s.%d", k->name[i], group);
            if (!name)
                return LMF_NO_MEMORY(t->ctx, 16, "the update");
            part[i] = lmf_graph_part(g, flat[i], at[group] * (k->dtype[i] == LMF_I8 ? 1 : 4), name, 1, &n_part);
        }
        if (count)
            add_update(t, g, part, norm, h);
    }
    return lmf_graph_finish(g);
}

/* Tokens of an evaluation graph: evaluation rows may be longer than those trained on, and a forward pass costs less memory. */
int64_t lmf__trainer_eval_size(const lmf_trainer *t, int i_bucket)
{
    int64_t n = t->batches.bucket[i_bucket], want = (t->opts.eval_tok + 15) / 16 * 16;
    return i_bucket + 1 == t->batches.n_buckets && want > n ? want : n;
}

static lmf_status build_graphs(lmf_trainer *t)
{
    int n = t->batches.n_buckets;
    t->n_graphs = 2 * n + 1;
    for (int i = 0; i < t->n_graphs; i++) {
        LMF_TRY(lmf_graph_create(t->ctx, &t->graphs[i]));
        t->graphs[i]->device = t->dev;
        t->graphs[i]->between = (uint16_t)t->opts.between;
    }
    for (int i = 0; i < n; i++) {
        LMF_TRY(build_step(t, t->graphs[i], t->batches.bucket[i]));
        LMF_TRY(build_eval(t, t->graphs[n + i], lmf__trainer_eval_size(t, i)));
    }
    LMF_TRY(build_update(t, t->graphs[2 * n]));
    return lmf_plan_create(t->dev, t->graphs, t->n_graphs, &(lmf_plan_opts){ .profile = t->opts.profile, .two_slots = true }, &t->plan);
}

/* In bf16 where nothing speaks against it; a device that lacks a row for some op of this model gets f32. */
static lmf_status build(lmf_trainer *t)
{
    bool choose = t->opts.between == LMF_ANY;
    if (choose)
        t->opts.between = t->opts.compute == 1 && !(t->opts.lora_dropout > 0) && !(t->dev->flags & LMF_DEVICE_HOST) ? LMF_BF16 : LMF_F32;
    lmf_status s = build_graphs(t);
    if (s != LMF_E_UNSUPPORTED || !choose || t->opts.between == LMF_F32)
        return s;
    for (int i = 0; i < t->n_graphs; i++) {
        lmf_graph_destroy(t->graphs[i]);
        t->graphs[i] = NULL;
    }
    t->opts.between = LMF_F32;
    return build_graphs(t);
}

void lmf__trainer_init_params(const lmf_trainer *t, float *p)
{
    if (t->opts.full)
        lmf_params_init_full(&t->params, t->model, p);
    else
        lmf_params_init_lora(&t->params, t->model, t->opts.seed, p);
}

static lmf_status init_params(lmf_trainer *t)
{
    size_t bytes = (size_t)t->params.n_total * sizeof(float);
    float *p = lmf_alloc(t->ctx, bytes);
    if (!p)
        return LMF_NO_MEMORY(t->ctx, bytes, "the initial parameters");
    lmf__trainer_init_params(t, p);
    lmf_status s = lmf_plan_state_write(t->plan, "train.p", p, bytes);
    lmf_free(t->ctx, p, bytes);
    return s;
}

/* Views of the parameters where they lie. */
static lmf_status make_live(lmf_trainer *t)
{
    const char *p = lmf_plan_state_data(t->plan, "train.p");
    LMF_TRY(lmf_weights_create(t->ctx, &t->live));
    t->live->dev = t->dev->flags & LMF_DEVICE_HOST ? NULL : t->dev;
    for (int i = 0; i < t->params.n; i++) {
        const lmf_param *q = &t->params.items[i];
        LMF_TRY(lmf_weights_add(t->live, q->name, LMF_F32, q->n_dims, q->dim, p + q->offset * (int64_t)sizeof(float), false, NULL));
    }
    for (int i = 0; i < t->params.n_alias; i++) {
        const lmf_param *q = &t->params.items[t->params.alias[i].item];
        LMF_TRY(lmf_weights_add(t->live, t->params.alias[i].name, LMF_F32, q->n_dims, q->dim, p + q->offset * (int64_t)sizeof(float), false,
                                NULL));
    }
    return LMF_OK;
}

static lmf_status check_opts(lmf_ctx *ctx, const lmf_train_opts *o)
{
    if (o->lora_r < 1 || o->lora_r > 4096 || !(o->lora_alpha > 0))
        return LMF_FAIL(ctx, LMF_E_ARG, "a LoRA rank of %d with alpha %g: rank 1 to 4096 and a positive alpha are possible", o->lora_r, o->lora_alpha);
    if (!(o->lora_dropout >= 0 && o->lora_dropout < 1))
        return LMF_FAIL(ctx, LMF_E_ARG, "a dropout of %g: from 0 to below 1 is possible", o->lora_dropout);
    if (o->lora_dropout > 0 && o->full)
        return LMF_FAIL(ctx, LMF_E_ARG, "a dropout of %g with all weights trained: it is of what LoRA pairs see, and there are none",
                        o->lora_dropout);
    if (o->lora_dropout > 0 && o->between == LMF_BF16)
        return LMF_FAIL(ctx, LMF_E_ARG, "a dropout of %g with activations in bf16: it is there for activations in f32", o->lora_dropout);
    if (o->use_dora && (o->full || o->lora_dropout > 0 || o->between == LMF_BF16))
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "DoRA with %s: it is there for LoRA without dropout and activations in f32",
                        o->full ? "all weights trained" : o->lora_dropout > 0 ? "dropout" : "activations in bf16");
    if (!(o->lr >= 0) || !(o->eps > 0) || !(o->beta1 >= 0 && o->beta1 < 1) || !(o->beta2 >= 0 && o->beta2 < 1) || !(o->max_grad_norm >= 0))
        return LMF_FAIL(ctx, LMF_E_ARG, "learning rate, betas, epsilon and the greatest norm must be positive, betas below 1");
    if ((unsigned)o->optimizer > LMF_OPTIMIZER_SGD || !(o->momentum >= 0 && o->momentum < 1))
        return LMF_FAIL(ctx, LMF_E_ARG, "optimizer %d with a momentum of %g: there are three, and momentum is from 0 to below 1",
            (int)o->optimizer,
                        o->momentum);
    if (o->batch_size < 1 || o->batch_size > LMF_MAX_STEP_ROWS || o->grad_accum < 1 || o->grad_accum > LMF_MAX_STEP_ROWS || o->micro_tok < 0 ||
        o->eval_tok < 0 || o->eval_tok > 1 << 24)
        return LMF_FAIL(ctx, LMF_E_ARG, "a batch of %d rows, %d times a step, %d tokens at once: 1 to %d rows and times are possible, and no negative number of tokens",
                        o->batch_size, o->grad_accum, o->micro_tok, LMF_MAX_STEP_ROWS);
    if (o->between != LMF_F32 && o->between != LMF_BF16 && o->between != LMF_ANY)
        return LMF_FAIL(ctx, LMF_E_ARG, "activations of type %d: f32, bf16 and any are possible", o->between);
    if (o->between == LMF_BF16 && o->compute == 0)
        return LMF_FAIL(ctx, LMF_E_ARG,
                        "activations in bf16 with products in f32: their factors are bf16 then; take fast products, or activations in f32");
    if (o->max_steps < 0 || (!o->max_steps && !(o->epochs > 0 && o->epochs < 1e9)))
        return LMF_FAIL(ctx, LMF_E_ARG, "neither steps nor epochs: there is nothing to do");
    return LMF_OK;
}

static lmf_status open_objective(lmf_trainer *t, const lmf_samples *samples)
{
    const lmf_train_opts *o = &t->opts;
    LMF_TRY(lmf_objective_find(t->ctx, o->objective, &t->objective));
    size_t bytes = t->objective->opts_bytes ? t->objective->opts_bytes : 1;
    if (!(t->objective_opts = lmf_arena_alloc(&t->arena, bytes)))
        return LMF_NO_MEMORY(t->ctx, bytes, "an objective's options");
    LMF_TRY(lmf_objective_defaults(t->ctx, t->objective, t->objective_opts));
    for (int i = 0; i < o->n_objective_values; i++)
        LMF_TRY(lmf_objective_set(t->ctx, t->objective, t->objective_opts, o->objective_values[i].name, o->objective_values[i].value));
    if (o->teacher && o->labels)
        return LMF_FAIL(t->ctx, LMF_E_ARG, "a teacher and labels of one: give --teacher or --teacher-labels");
    if (t->objective->teacher != (o->teacher || o->labels))
        return LMF_FAIL(t->ctx, LMF_E_ARG, o->teacher ?
                        "the objective \"%s\" learns from no teacher: leave --teacher out, or take distill" :
                        "the objective \"%s\" learns from a teacher: name one with --teacher or --teacher-labels", t->objective->name);
    if (t->objective->sampling)
        t->objective->sampling(t->objective_opts, &t->sampling);
    if (t->sampling.from_rows && o->labels)
        return LMF_FAIL(t->ctx, LMF_E_ARG, "--lmbda: a teacher's labels are of the rows as they are, and not of what the student answers: "
                        "give the teacher itself with --teacher");
    if (lmf_samples_group_size(samples) != t->objective->group_size || samples->n_measured != t->objective->n_measured)
        return LMF_FAIL(t->ctx, LMF_E_ARG, "the objective \"%s\" takes samples in groups of %d, these are in groups of %d%s",
                        t->objective->name, t->objective->group_size, lmf_samples_group_size(samples),
                        samples->n_measured == t->objective->n_measured ? "" : samples->n_measured ? " with labels" : " without labels");
    int32_t longest = samples->n_measured ? lmf_samples_longest_group(samples) : 0; /* what is measured runs in evaluation's graphs */
    t->opts.eval_tok = longest > t->opts.eval_tok ? longest : t->opts.eval_tok;
    t->opts.objective_values = NULL, t->opts.n_objective_values = 0; /* the caller's */
    return LMF_OK;
}

/* A share of the run where none is given. */
static lmf_status set_warmup(lmf_trainer *t)
{
    int64_t n = t->batches.n_steps, share = n / 20 + (n % 20 != 0), *warmup = &t->opts.warmup_steps;
    if (*warmup == LMF_WARMUP_SHARE && t->opts.warmup_ratio > 0)
        *warmup = (int64_t)ceil((double)n * t->opts.warmup_ratio);
    else if (*warmup == LMF_WARMUP_SHARE)
        *warmup = share < LMF_WARMUP_MOST ? share : LMF_WARMUP_MOST;
    if (*warmup < 0 || *warmup > n)
        return LMF_FAIL(t->ctx, LMF_E_ARG, "a warm-up of %lld steps in a run of %lld: the learning rate would never be reached; "
                        "give fewer, or leave it out for 5 %% of the run", (long long)*warmup, (long long)n);
    return LMF_OK;
}

static lmf_status open_batches(lmf_trainer *t, const lmf_samples *samples)
{
    const lmf_train_opts *o = &t->opts;
    const lmf_sampling *s = &t->sampling;
    int32_t rows = o->batch_size * o->grad_accum;
    if (!s->n_answers || s->from_rows)
        LMF_TRY(lmf_batches_init(&t->batches, t->ctx, samples, o->seed, o->shuffle, rows, o->micro_tok, o->epochs, o->max_steps));
    if (s->from_rows)
        lmf_batches_widen(&t->batches, lmf_sampling_longest(s, samples) + s->max_tok);
    if (!s->n_answers || s->from_rows)
        return LMF_OK;
    if (rows % s->n_answers)
        return LMF_FAIL(t->ctx, LMF_E_ARG, "a step of %d answers does not hold whole groups of %d; make the batch size times the "
                        "accumulation a multiple of the answers to a prompt (num-generations)", rows, s->n_answers);
    return lmf_batches_init_open(&t->batches, t->ctx, samples, (int64_t)s->n_answers * s->n_iterations, rows, samples->longest + s->max_tok,
                                 o->micro_tok, o->epochs, o->max_steps);
}

static lmf_status open_trainer(lmf_trainer *t, const char *device, const lmf_samples *samples)
{
    const lmf_train_opts *o = &t->opts;
    LMF_TRY(check_opts(t->ctx, o));
    LMF_TRY(open_objective(t, samples));
    if (o->use_dora && t->sampling.n_answers)
        return LMF_FAIL(t->ctx, LMF_E_UNSUPPORTED, "DoRA with the objective %s: it samples with the adapter beside the model, which holds "
                        "plain LoRA; leave --use-dora out", t->objective->name);
    LMF_TRY(o->full ? lmf_params_full(&t->arena, t->model, &t->params) :
                      lmf_params_lora(&t->arena, t->model, o->lora_r, o->use_dora, o->target_modules, &t->params, &t->modules));
    t->nn = (lmf_nn){ .weights = t->model->weights, .params = &t->params, .compute = o->compute,
                      .lora_scale = (float)(o->lora_alpha / (o->use_rslora ? sqrt(o->lora_r) : o->lora_r)) };
    if (o->teacher)
        LMF_TRY(lmf__trainer_open_teacher(t, samples));
    if (o->labels)
        LMF_TRY(lmf__trainer_open_labels(t, samples));
    LMF_TRY(open_batches(t, samples));
    size_t n_measured = (size_t)t->batches.step_rows * (size_t)t->objective->n_measured;
    if (n_measured && !(t->measured = lmf_arena_array(&t->arena, 2 * n_measured, sizeof *t->measured)))
        return LMF_NO_MEMORY(t->ctx, 2 * n_measured * sizeof *t->measured, "log-probabilities");
    LMF_TRY(set_warmup(t));
    LMF_TRY(lmf_device_open(t->ctx, device, &t->dev));
    if (o->use_dora && !(t->dev->flags & LMF_DEVICE_HOST))
        return LMF_FAIL(t->ctx, LMF_E_UNSUPPORTED, "DoRA on %s: it trains on a CPU alone (--device cpu); leave --use-dora out", device);
    LMF_TRY(build(t));
    if (o->plan_only)
        return LMF_OK;
    LMF_TRY(lmf_plan_bind(t->plan, (lmf_weights *[]){ t->model->weights, t->teacher_weights }, t->teacher_weights ? 2 : 1));
    LMF_TRY(init_params(t));
    return make_live(t);
}

lmf_status lmf_trainer_create(lmf_ctx *ctx, const char *device, lmf_model *model, const lmf_samples *samples,
                              const lmf_train_opts *opts, lmf_trainer **out)
{
    *out = NULL;
    lmf_train_opts taken = lmf_train_opts_default();
    LMF_TRY(lmf_opts_take(ctx, "lmf_train_opts", &taken, opts, sizeof taken));
    lmf_trainer *t = lmf_new(ctx, lmf_trainer);
    if (!t)
        return LMF_NO_MEMORY(ctx, sizeof *t, "a trainer");
    t->ctx = ctx;
    t->model = model;
    t->opts = taken;
    lmf_arena_init(&t->arena, ctx, (size_t)1 << 30);
    lmf_status s = open_trainer(t, device, samples);
    if (s)
        lmf_trainer_destroy(t);
    else
        *out = t;
    return s;
}

void lmf_trainer_destroy(lmf_trainer *t)
{
    if (!t)
        return;
    lmf_ctx *ctx = t->ctx;
    lmf_weights_destroy(t->live);
    lmf_plan_destroy(t->plan);
    for (int i = 0; i < t->n_graphs; i++)
        lmf_graph_destroy(t->graphs[i]);
    lmf_device_close(t->dev);
    lmf_weights_destroy(t->teacher_weights);
    lmf_batches_clear(&t->batches);
    lmf__trainer_drop_reference(t);
    lmf_arena_clear(&t->arena);
    lmf_delete(ctx, t);
}

/* An input of the objective, all its places. */
static void fill_input(lmf_trainer *t, int i_graph, int64_t T, const lmf_objective_input *in, const lmf_laid *laid, const int64_t *group,
                       int n, lmf_members of)
{
    void *io = lmf_plan_io(t->plan, i_graph, in->name);
    int64_t at = 0, size = t->batches.group_size, n_io = n_places(t, in->per, T);
    lmf_place p = { .totals = laid->totals, .opts = t->objective_opts };
    for (int64_t k = 0; k < n * of.n; k++) {
        int64_t i_item = group[k / of.n] * size + of.first + k % of.n;
        p.sample = &laid->samples->items[i_item];
        p.member = (int32_t)(k % of.n);
        p.reference = laid->reference ? laid->reference[i_item] : 0;
        int32_t n_values = in->per == LMF_PER_TOKEN ? p.sample->n : in->per == LMF_PER_STEP ? k == 0 :
                           in->per == LMF_PER_SEQUENCE || p.member == 0;
        for (p.i_tok = 0; p.i_tok < n_values; p.i_tok++, at++) {
            double v = in->value(&p);
            if (in->dtype == LMF_I32)
                ((int32_t *)io)[at] = (int32_t)v;
            else
                ((float *)io)[at] = (float)v;
        }
    }
    memset((float *)io + at, 0, (size_t)(n_io - at) * sizeof(float)); /* padding and dead places; i32 has the same size */
}

void lmf__trainer_fill(lmf_trainer *t, int i_graph, int64_t T, const lmf_laid *laid, const int64_t *group, int n, lmf_members of)
{
    int32_t *token = lmf_plan_io(t->plan, i_graph, "token"), *pos = lmf_plan_io(t->plan, i_graph, "pos"), *seq = lmf_plan_io(t->plan, i_graph, "seq");
    int32_t *q_start = lmf_plan_io(t->plan, i_graph, "q_start");
    int32_t *item = lmf_plan_io(t->plan, i_graph, "item"), *noise = lmf_plan_io(t->plan, i_graph, "noise"); /* NULL without dropout */
    int64_t at = 0, n_seqs = n * of.n;
    if (noise)
        noise[0] = (int32_t)(uint32_t)t->opts.seed, noise[1] = (int32_t)(t->opts.seed >> 32), noise[2] = (int32_t)t->step;
    for (int64_t k = 0; k < n_seqs; k++) {
        int64_t i_item = group[k / of.n] * t->batches.group_size + of.first + k % of.n;
        const lmf_sample *s = &laid->samples->items[i_item];
        q_start[k] = (int32_t)at;
        for (int32_t i = 0; item && i < s->n; i++)
            item[at + i] = (int32_t)(uint32_t)i_item;
        for (int32_t i = 0; i < s->n; i++, at++) {
            token[at] = s->id[i];
            pos[at] = i;
            seq[at] = (int32_t)k;
        }
    }
    for (int64_t k = n_seqs; k <= t->batches.max_seqs; k++)
        q_start[k] = (int32_t)(k == n_seqs ? at : T);
    for (int64_t i = at; item && i < T; i++)
        item[i] = -1;
    for (int32_t i = 0; at < T; at++, i++) /* padding: a segment of its own without loss */
        token[at] = 0, pos[at] = i, seq[at] = (int32_t)n_seqs;
    for (const lmf_objective_input *in = t->objective->inputs; in->name; in++)
        fill_input(t, i_graph, T, in, laid, group, n, of);
}

void lmf__trainer_take_reports(const lmf_trainer *t, int i_graph, double *report)
{
    for (int i = 0; i < lmf_objective_n_reports(t->objective); i++) {
        int element;
        const char *output = lmf_objective_report_at(t->objective, i, &element);
        const float *of = lmf_plan_io(t->plan, i_graph, output);
        report[i] += of ? (double)of[element] : NAN; /* held-out rows have no labels of a teacher */
    }
}

_Static_assert((int)LMF_ADAMW_8BIT_HYPER == (int)LMF_ADAMW_HYPER && (int)LMF_ADAMW_8BIT_BIAS1 == (int)LMF_ADAMW_BIAS1,
               "one list of values serves both");

static void set_hyper(lmf_trainer *t, double lr)
{
    const lmf_train_opts *o = &t->opts;
    int g = t->n_graphs - 1;
    double n = (double)(t->step + 1 - t->n_skipped);
    bool sgd = o->optimizer == LMF_OPTIMIZER_SGD;
    /* the corrections are of the betas that the kernel sees: 1 - 0.999f is 1.3e-5 off 0.001 */
    float beta1 = (float)o->beta1, beta2 = (float)o->beta2;
    float adamw[LMF_ADAMW_HYPER] = { (float)lr, beta1, beta2, (float)o->eps, (float)o->weight_decay, (float)(1 - pow((double)beta1, n)),
                                     (float)(1 - pow((double)beta2, n)), (float)o->max_grad_norm };
    float plain[LMF_SGD_HYPER] = { (float)lr, (float)o->momentum, (float)o->weight_decay, (float)o->max_grad_norm }, *h = sgd ? plain
        : adamw;
    memcpy(lmf_plan_io(t->plan, g, "hyper"), h, sgd ? sizeof plain : sizeof adamw);
    adamw[LMF_ADAMW_DECAY] = plain[LMF_SGD_DECAY] = 0;
    memcpy(lmf_plan_io(t->plan, g, "hyper_plain"), h, sgd ? sizeof plain : sizeof adamw);
}

double lmf_trainer_lr(const lmf_trainer *t, int64_t step)
{
    const lmf_train_opts *o = &t->opts;
    int64_t n = t->batches.n_steps;
    return o->lr * lmf_schedule_factor(o->schedule, step, n, o->warmup_steps, (int64_t)ceil(o->decay_ratio * (double)n), o->min_lr_ratio);
}

void lmf_trainer_stats(const lmf_trainer *t, lmf_train_stats *s)
{
    *s = (lmf_train_stats){ .step = t->step, .n_steps = t->batches.n_steps, .epoch = (double)t->step / (double)t->batches.steps_per_epoch,
                            .total_tok = t->total_tok, .n_skipped = t->n_skipped };
}

static const char *lines_of(const lmf_trainer *t, const lmf_samples *samples, char *text, size_t n)
{
    size_t at = 0;
    text[0] = 0;
    for (int i = 0; i < t->now.n_groups && at + 32 < n; i++)
        at += (size_t)snprintf(text + at, n - at, "%s%lld", i ? ", " : "", (long long)samples->items[t->now.group[i] * t->batches.group_size].line);
    if (at + 32 >= n)
        snprintf(text + at, n - at, " ...");
    return text;
}

const char *lmf_trainer_lines(const lmf_trainer *t, char *text, size_t n) { return lines_of(t, t->batches.samples, text, n); }

/* A bad row may be passed over; weights that give nothing finite would stay so for ever. */
static lmf_status refuse_bad(lmf_trainer *t, const lmf_samples *samples, double loss, double norm)
{
    char lines[128];
    return LMF_FAIL(t->ctx, LMF_E_LIMIT, "step %lld: for %d steps in a row the gradients were not finite (loss %g, norm %g; data lines %s). They changed nothing: "
                    "the weights are those of step %lld. Look at these rows, or start again with a lower learning rate", (long long)t->step, t->n_bad, loss, norm,
                    lines_of(t, samples, lines, sizeof lines), (long long)t->step - t->n_bad);
}

bool lmf_trainer_is_done(const lmf_trainer *t) { return t->step >= t->batches.n_steps; }

/* Waits for a micro-batch, and adds what it gives to the step's sums; its slot is free after that. */
static lmf_status take_micro(lmf_trainer *t, int k, double *loss, double *report)
{
    int g = t->now.micro[k].i_bucket;
    LMF_TRY(lmf_plan_take_slot(t->plan, k % lmf_plan_n_slots(t->plan)));
    if (lmf_plan_n_slots(t->plan) == 1)
        LMF_TRY(lmf_plan_wait(t->plan, g));
    *loss += (double)*(float *)lmf_plan_io(t->plan, g, "loss");
    lmf__trainer_take_reports(t, g, report);
    return LMF_OK;
}

/* Nothing to learn from: the gradients are 0, whatever an earlier step left. */
static lmf_status clear_gradients(lmf_trainer *t)
{
    size_t bytes = (size_t)t->params.n_total * sizeof(float);
    float *zero = lmf_alloc(t->ctx, bytes);
    if (!zero)
        return LMF_NO_MEMORY(t->ctx, bytes, "gradients");
    lmf_status s = lmf_plan_state_write(t->plan, "train.g", zero, bytes);
    lmf_free(t->ctx, zero, bytes);
    return s;
}

/* The step that t->now holds. */
static lmf_status run_step(lmf_trainer *t, const lmf_laid *laid, lmf_train_stats *out)
{
    lmf_batches *b = &t->batches;
    double loss = 0, report[LMF_MAX_REPORTS] = { 0 };
    const int64_t *group = t->now.group;
    int n_slots = lmf_plan_n_slots(t->plan);
    LMF_TRY(t->now.n_micro ? LMF_OK : clear_gradients(t));
    for (int k = 0; k < t->now.n_micro; k++) {
        const lmf_micro *m = &t->now.micro[k];
        if (k >= n_slots)
            LMF_TRY(take_micro(t, k - n_slots, &loss, report));
        LMF_TRY(lmf_plan_take_slot(t->plan, k % n_slots));
        lmf__trainer_fill(t, m->i_bucket, b->bucket[m->i_bucket], laid, group, m->n_groups, (lmf_members){ 0, b->n_trained });
        if (t->opts.labels)
            LMF_TRY(lmf__trainer_fill_labels(t, m->i_bucket, laid, group, m->n_groups));
        *(float *)lmf_plan_io(t->plan, m->i_bucket, "keep") = k > 0;
        LMF_TRY(lmf_plan_run(t->plan, m->i_bucket));
        group += m->n_groups;
    }
    for (int k = t->now.n_micro > n_slots ? t->now.n_micro - n_slots : 0; k < t->now.n_micro; k++)
        LMF_TRY(take_micro(t, k, &loss, report));
    double lr = lmf_trainer_lr(t, t->step);
    int g = t->n_graphs - 1;
    set_hyper(t, lr);
    LMF_TRY(lmf_plan_run(t->plan, g));
    LMF_TRY(lmf_plan_wait(t->plan, g));
    float norm = *(float *)lmf_plan_io(t->plan, g, "grad_norm");
    t->live->version++;
    t->step++;
    t->n_skipped += !isfinite(norm);
    t->n_bad = isfinite(norm) ? 0 : t->n_bad + 1;
    t->total_tok += t->now.n_tok;
    *out = (lmf_train_stats){ .step = t->step, .n_steps = b->n_steps, .epoch = (double)t->step / (double)b->steps_per_epoch, .loss = loss, .lr = lr,
                              .grad_norm = (double)norm, .n_tok = t->now.n_tok, .n_learn = t->now.n_learn, .total_tok = t->total_tok, .n_skipped = t->n_skipped };
    memcpy(out->report, report, sizeof report);
    return t->n_bad < MAX_BAD_STEPS ? LMF_OK : refuse_bad(t, laid->samples, loss, (double)norm);
}

lmf_status lmf_trainer_step(lmf_trainer *t, lmf_train_stats *out)
{
    lmf_batches *b = &t->batches;
    if (lmf_trainer_is_done(t))
        return LMF_FAIL(t->ctx, LMF_E_ARG, "all %lld steps are done", (long long)b->n_steps);
    if (t->objective->takes == LMF_TAKES_PROMPT)
        return LMF_FAIL(t->ctx, LMF_E_ARG, "the objective \"%s\" learns from answers that are sampled: lmfast reason", t->objective->name);
    LMF_TRY(lmf__trainer_reference(t));
    LMF_TRY(lmf_batches_step(b, t->step, &t->now));
    lmf_totals totals = lmf_totals_of(b->samples, t->now.group, t->now.n_groups);
    totals.progress = (double)t->step / (double)b->n_steps;
    lmf_laid laid = { b->samples, &totals, t->reference.logp };
    LMF_TRY(lmf__trainer_measure(t, &laid, t->now.group, t->now.n_groups, &totals, t->measured));
    return run_step(t, &laid, out);
}

lmf_status lmf_trainer_step_on(lmf_trainer *t, const lmf_samples *answers, const lmf_totals *totals, lmf_train_stats *out)
{
    if (lmf_trainer_is_done(t))
        return LMF_FAIL(t->ctx, LMF_E_ARG, "all %lld steps are done", (long long)t->batches.n_steps);
    if (!t->sampling.n_answers || lmf_samples_n_groups(answers) > t->batches.step_rows || answers->longest > t->batches.cap_tok)
        return LMF_FAIL(t->ctx, LMF_E_ARG, "a step on %lld answers of up to %d tokens: this trainer takes %d of %d, where its objective "
                        "samples", (long long)answers->n, answers->longest, t->batches.step_rows, t->batches.cap_tok);
    LMF_TRY(lmf_batches_lay(&t->batches, answers, &t->now));
    return run_step(t, &(lmf_laid){ answers, totals, NULL }, out);
}

const lmf_sampling *lmf_trainer_sampling(const lmf_trainer *t) { return t->sampling.n_answers ? &t->sampling : NULL; }

lmf_status lmf_trainer_rows_of(lmf_trainer *t, const int64_t **row, int *n)
{
    LMF_TRY(lmf_batches_step(&t->batches, t->step, &t->now));
    *row = t->now.group, *n = t->now.n_groups;
    return LMF_OK;
}

int64_t lmf_trainer_was_shorter(const lmf_trainer *t) { return t->was_steps; }
const lmf_objective *lmf_trainer_objective(const lmf_trainer *t) { return t->objective; }
const lmf_memory *lmf_trainer_memory(const lmf_trainer *t) { return lmf_plan_memory(t->plan); }
size_t lmf_trainer_bytes(const lmf_trainer *t) { return lmf_plan_bytes(t->plan); }
const lmf_plan *lmf_trainer_plan(const lmf_trainer *t) { return t->plan; }
const lmf_weights *lmf_trainer_weights(const lmf_trainer *t) { return t->live; }
float lmf_trainer_lora_scale(const lmf_trainer *t) { return t->nn.lora_scale; }
int lmf_trainer_between(const lmf_trainer *t) { return t->opts.between; }
lmf_device *lmf_trainer_device(const lmf_trainer *t) { return t->dev; }
int32_t lmf_trainer_batch_size(const lmf_trainer *t) { return t->opts.batch_size; }
int32_t lmf_trainer_step_rows(const lmf_trainer *t) { return t->batches.step_rows; }
int lmf_trainer_n_buckets(const lmf_trainer *t) { return t->batches.n_buckets; }
int64_t lmf_trainer_n_params(const lmf_trainer *t) { return t->params.n_total; }

lmf_status lmf_trainer_gradient(lmf_trainer *t, const char *name, float *out, int64_t n)
{
    for (int i = 0; i < t->params.n; i++) {
        const lmf_param *p = &t->params.items[i];
        if (strcmp(p->name, name) || p->count != n)
            continue;
        size_t bytes = (size_t)t->params.n_total * sizeof(float);
        float *all = lmf_alloc(t->ctx, bytes);
        if (!all)
            return LMF_NO_MEMORY(t->ctx, bytes, "gradients");
        lmf_status s = lmf_plan_state_read(t->plan, "train.g", all, bytes);
        memcpy(out, all + p->offset, (size_t)n * sizeof *out);
        lmf_free(t->ctx, all, bytes);
        return s;
    }
    return LMF_FAIL(t->ctx, LMF_E_NOT_FOUND, "no parameter \"%s\" of %lld elements", name, (long long)n);
}
