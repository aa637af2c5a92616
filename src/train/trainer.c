/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a step's result is a function of (weights, step number) alone; everything that lasts between steps is in the plan's STATE
 * tensors and in t->step and the counters beside it. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "ops/accumulate/accumulate.h"
#include "ops/adamw/adamw.h"
#include "ops/grad_norm/grad_norm.h"
#include "train/objective.h"
#include "train/params.h"
#include "train/trainer_internal.h"

enum { MAX_BAD_STEPS = 3 };

lmf_train_opts lmf_train_opts_default(void)
{
    return (lmf_train_opts){ .struct_bytes = sizeof(lmf_train_opts), .objective = "sft", .lora_r = 16, .lora_alpha = 32, .target_modules = "all-linear",
        .batch_size = 4, .grad_accum = 4, .epochs = 1, .lr = 2e-4, .schedule = LMF_SCHEDULE_LINEAR, .warmup_steps = 50, .weight_decay = 0.01,
        .beta1 = 0.9, .beta2 = 0.999, .eps = 1e-8, .max_grad_norm = 1, .seed = 42, .compute = 1, .shuffle = true };
}

/* Body over one bucket of T rows, up to the hidden states. */
static lmf_tensor *build_body(lmf_trainer *t, lmf_graph *g, int64_t T)
{
    int64_t S1 = t->batches.max_seqs + 1;
    g->config = t->model->config;
    g->user = &t->nn;
    lmf_batch in = { .token = lmf_graph_tensor(g, LMF_INPUT, "token", LMF_I32, 1, &T), .pos = lmf_graph_tensor(g, LMF_INPUT, "pos", LMF_I32, 1, &T),
                     .seq = lmf_graph_tensor(g, LMF_INPUT, "seq", LMF_I32, 1, &T), .q_start = lmf_graph_tensor(g, LMF_INPUT, "q_start", LMF_I32, 1, &S1) };
    return t->model->arch->body(g, &in, t->model->arch->embed(g, &in));
}

static lmf_status build_step(lmf_trainer *t, lmf_graph *g, int64_t T)
{
    lmf_head_spec head = lmf_model_head(t->model);
    int64_t one = 1;
    float unit = 1;
    int n = t->params.n;
    lmf_tensor *loss = t->objective->loss(g, &head, build_body(t, g, T), t->opts.compute);
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
    LMF_TRY(lmf_graph_backward(g, loss, d_loss, &(lmf_backward_opts){ .recompute = t->opts.recompute }, wrt, n, grad));
    lmf_tensor *flat = lmf_graph_tensor(g, LMF_STATE, "train.g", LMF_F32, 1, &t->params.n_total);
    lmf_tensor *keep = lmf_graph_tensor(g, LMF_INPUT, "keep", LMF_F32, 1, &one);
    for (int i = 0; i < n && !g->status; i++) {
        const lmf_param *p = &t->params.items[i];
        const char *name = lmf_arena_printf(&g->arena, "%s.grad", p->name);
        if (!name || !grad[i])
            return LMF_FAIL(t->ctx, LMF_E_INTERNAL, "no gradient reaches \"%s\"", p->name);
        lmf_accumulate(g, lmf_graph_part(g, flat, p->offset * 4, name, p->n_dims, p->dim), grad[i], keep);
    }
    return lmf_graph_finish(g);
}

static lmf_status build_eval(lmf_trainer *t, lmf_graph *g, int64_t T)
{
    lmf_head_spec head = lmf_model_head(t->model);
    t->objective->score(g, &head, build_body(t, g, T), t->opts.compute);
    return lmf_graph_finish(g);
}

/* Parameters with decay lie first; the rest is updated with a decay of zero. */
static lmf_status build_update(lmf_trainer *t, lmf_graph *g)
{
    int64_t n = t->params.n_total, hyper = LMF_ADAMW_HYPER;
    const char *names[] = { "train.p", "train.m", "train.v", "train.g" };
    int64_t begin[] = { 0, t->params.n_decay, n };
    lmf_tensor *flat[4];
    for (int i = 0; i < 4; i++)
        flat[i] = lmf_graph_tensor(g, LMF_STATE, names[i], LMF_F32, 1, &n);
    lmf_tensor *norm = lmf_grad_norm(g, flat[3]);
    lmf_graph_output(g, "grad_norm", norm);
    for (int group = 0; group < 2; group++) {
        lmf_tensor *part[4], *h = lmf_graph_tensor(g, LMF_INPUT, group ? "hyper_plain" : "hyper", LMF_F32, 1, &hyper);
        int64_t count = begin[group + 1] - begin[group];
        for (int i = 0; i < 4 && count; i++) {
            const char *name = lmf_arena_printf(&g->arena, "%s.%d", names[i], group);
            if (!name)
                return LMF_NO_MEMORY(t->ctx, 16, "the update");
            part[i] = lmf_graph_part(g, flat[i], begin[group] * 4, name, 1, &count);
        }
        if (count)
            lmf_adamw(g, part[0], part[1], part[2], part[3], norm, h);
    }
    return lmf_graph_finish(g);
}

/* Tokens of an evaluation graph: evaluation rows may be longer than those trained on, and a forward pass costs less memory. */
static int64_t eval_size(const lmf_trainer *t, int i_bucket)
{
    int64_t n = t->batches.bucket[i_bucket], want = (t->opts.eval_tok + 15) / 16 * 16;
    return i_bucket + 1 == t->batches.n_buckets && want > n ? want : n;
}

static lmf_status build(lmf_trainer *t)
{
    int n = t->batches.n_buckets;
    t->n_graphs = 2 * n + 1;
    for (int i = 0; i < t->n_graphs; i++)
        LMF_TRY(lmf_graph_create(t->ctx, &t->graphs[i]));
    for (int i = 0; i < n; i++) {
        LMF_TRY(build_step(t, t->graphs[i], t->batches.bucket[i]));
        LMF_TRY(build_eval(t, t->graphs[n + i], eval_size(t, i)));
    }
    LMF_TRY(build_update(t, t->graphs[2 * n]));
    return lmf_plan_create(t->dev, t->graphs, t->n_graphs, &(lmf_plan_opts){ .profile = t->opts.profile }, &t->plan);
}

static lmf_status init_params(lmf_trainer *t)
{
    size_t bytes = (size_t)t->params.n_total * sizeof(float);
    float *p = lmf_alloc(t->ctx, bytes);
    if (!p)
        return LMF_NO_MEMORY(t->ctx, bytes, "the initial parameters");
    if (t->opts.full)
        lmf_params_init_full(&t->params, t->model, p);
    else
        lmf_params_init_lora(&t->params, t->opts.seed, p);
    lmf_status s = lmf_plan_state_write(t->plan, "train.p", p, bytes);
    lmf_free(t->ctx, p, bytes);
    return s;
}

static lmf_status check_opts(lmf_ctx *ctx, const lmf_train_opts *o)
{
    if (o->lora_r < 1 || o->lora_r > 4096 || !(o->lora_alpha > 0))
        return LMF_FAIL(ctx, LMF_E_ARG, "a LoRA rank of %d with alpha %g: rank 1 to 4096 and a positive alpha are possible", o->lora_r, o->lora_alpha);
    if (!(o->lr >= 0) || !(o->eps > 0) || !(o->beta1 >= 0 && o->beta1 < 1) || !(o->beta2 >= 0 && o->beta2 < 1) || !(o->max_grad_norm >= 0))
        return LMF_FAIL(ctx, LMF_E_ARG, "learning rate, betas, epsilon and the greatest norm must be positive, betas below 1");
    if (o->batch_size < 1 || o->batch_size > LMF_MAX_STEP_ROWS || o->grad_accum < 1 || o->grad_accum > LMF_MAX_STEP_ROWS || o->micro_tok < 0 ||
        o->eval_tok < 0 || o->eval_tok > 1 << 24)
        return LMF_FAIL(ctx, LMF_E_ARG, "a batch of %d rows, %d times a step, %d tokens at once: 1 to %d rows and times are possible, and no negative number of tokens",
                        o->batch_size, o->grad_accum, o->micro_tok, LMF_MAX_STEP_ROWS);
    if (o->max_steps < 0 || (!o->max_steps && !(o->epochs > 0 && o->epochs < 1e9)))
        return LMF_FAIL(ctx, LMF_E_ARG, "neither steps nor epochs: there is nothing to do");
    return LMF_OK;
}

static lmf_status open_trainer(lmf_trainer *t, const char *device, const lmf_samples *samples)
{
    const lmf_train_opts *o = &t->opts;
    LMF_TRY(check_opts(t->ctx, o));
    for (const lmf_objective *const *k = t->ctx->tables->objectives; *k; k++)
        t->objective = strcmp((*k)->name, o->objective) ? t->objective : *k;
    if (!t->objective)
        return LMF_FAIL(t->ctx, LMF_E_ARG, "there is no objective \"%s\"", o->objective);
    LMF_TRY(o->full ? lmf_params_full(&t->arena, t->model, &t->params) :
                      lmf_params_lora(&t->arena, t->model, o->lora_r, o->target_modules, &t->params));
    t->nn = (lmf_nn){ .weights = t->model->weights, .params = &t->params, .compute = o->compute,
                      .lora_scale = (float)(o->lora_alpha / (o->use_rslora ? sqrt(o->lora_r) : o->lora_r)) };
    LMF_TRY(lmf_batches_init(&t->batches, t->ctx, samples, o->seed, o->shuffle, o->batch_size * o->grad_accum, o->micro_tok, o->epochs, o->max_steps));
    LMF_TRY(lmf_device_open(t->ctx, device, &t->dev));
    LMF_TRY(build(t));
    if (o->plan_only)
        return LMF_OK;
    LMF_TRY(lmf_plan_bind(t->plan, (lmf_weights *[]){ t->model->weights }, 1));
    return init_params(t);
}

lmf_status lmf_trainer_create(lmf_ctx *ctx, const char *device, lmf_model *model, const lmf_samples *samples,
                              const lmf_train_opts *opts, lmf_trainer **out)
{
    *out = NULL;
    if (opts->struct_bytes != sizeof *opts)
        return LMF_FAIL(ctx, LMF_E_ARG, "lmf_train_opts has %zu bytes here, %zu in the caller: start from lmf_train_opts_default", sizeof *opts, opts->struct_bytes);
    lmf_trainer *t = lmf_new(ctx, lmf_trainer);
    if (!t)
        return LMF_NO_MEMORY(ctx, sizeof *t, "a trainer");
    t->ctx = ctx;
    t->model = model;
    t->opts = *opts;
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
    lmf_plan_destroy(t->plan);
    for (int i = 0; i < t->n_graphs; i++)
        lmf_graph_destroy(t->graphs[i]);
    lmf_device_close(t->dev);
    lmf_batches_clear(&t->batches);
    lmf_arena_clear(&t->arena);
    lmf_delete(ctx, t);
}

/* Lays samples into the inputs of a graph of T rows. weight: of each learned token. */
static void fill(lmf_trainer *t, int i_graph, int64_t T, const lmf_samples *samples, const int64_t *item, int n, float weight)
{
    int32_t *token = lmf_plan_io(t->plan, i_graph, "token"), *pos = lmf_plan_io(t->plan, i_graph, "pos"), *seq = lmf_plan_io(t->plan, i_graph, "seq");
    int32_t *q_start = lmf_plan_io(t->plan, i_graph, "q_start"), *target = lmf_plan_io(t->plan, i_graph, "target");
    float *w = lmf_plan_io(t->plan, i_graph, "weight");
    int64_t at = 0;
    for (int k = 0; k < n; k++) {
        const lmf_sample *s = &samples->items[item[k]];
        q_start[k] = (int32_t)at;
        for (int32_t i = 0; i < s->n; i++, at++) {
            bool learned = i + 1 < s->n && s->learn[i + 1];
            token[at] = s->id[i];
            pos[at] = i;
            seq[at] = k;
            target[at] = learned ? s->id[i + 1] : 0;
            w[at] = learned ? weight : 0;
        }
    }
    for (int k = n; k <= t->batches.max_seqs; k++)
        q_start[k] = (int32_t)(k == n ? at : T);
    for (int32_t i = 0; at < T; at++, i++) { /* padding: a segment of its own without loss */
        token[at] = 0, pos[at] = i, seq[at] = n, target[at] = 0;
        w[at] = 0;
    }
}

static void set_hyper(lmf_trainer *t, double lr)
{
    const lmf_train_opts *o = &t->opts;
    int g = t->n_graphs - 1;
    double n = (double)(t->step + 1 - t->n_skipped);
    /* the corrections are of the betas that the kernel sees: 1 - 0.999f is 1.3e-5 off 0.001 */
    float beta1 = (float)o->beta1, beta2 = (float)o->beta2;
    float h[LMF_ADAMW_HYPER] = { (float)lr, beta1, beta2, (float)o->eps, (float)o->weight_decay,
                                 (float)(1 - pow((double)beta1, n)), (float)(1 - pow((double)beta2, n)), (float)o->max_grad_norm };
    memcpy(lmf_plan_io(t->plan, g, "hyper"), h, sizeof h);
    h[LMF_ADAMW_DECAY] = 0;
    memcpy(lmf_plan_io(t->plan, g, "hyper_plain"), h, sizeof h);
}

void lmf_trainer_stats(const lmf_trainer *t, lmf_train_stats *s)
{
    *s = (lmf_train_stats){ .step = t->step, .n_steps = t->batches.n_steps, .epoch = (double)t->step / (double)t->batches.steps_per_epoch,
                            .total_tok = t->total_tok, .n_skipped = t->n_skipped };
}

/* A bad row may be passed over; weights that give nothing finite would stay so for ever. */
static lmf_status refuse_bad(lmf_trainer *t, double loss, double norm)
{
    char lines[128];
    size_t at = 0;
    for (int i = 0; i < t->now.n_samples && at + 32 < sizeof lines; i++)
        at += (size_t)snprintf(lines + at, sizeof lines - at, "%s%lld", i ? ", " : "", (long long)t->batches.samples->items[t->now.sample[i]].line);
    return LMF_FAIL(t->ctx, LMF_E_LIMIT, "step %lld: for %d steps in a row the gradients were not finite (loss %g, norm %g; data lines %s%s). They changed nothing: "
                    "the weights are those of step %lld. Look at these rows, or start again with a lower learning rate", (long long)t->step, t->n_bad, loss, norm, lines,
                    at + 32 < sizeof lines ? "" : " ...", (long long)t->step - t->n_bad);
}

bool lmf_trainer_is_done(const lmf_trainer *t) { return t->step >= t->batches.n_steps; }

lmf_status lmf_trainer_step(lmf_trainer *t, lmf_train_stats *out)
{
    lmf_batches *b = &t->batches;
    double loss = 0;
    const int64_t *item = t->now.sample;
    if (lmf_trainer_is_done(t))
        return LMF_FAIL(t->ctx, LMF_E_ARG, "all %lld steps are done", (long long)b->n_steps);
    LMF_TRY(lmf_batches_step(b, t->step, &t->now));
    for (int k = 0; k < t->now.n_micro; k++) {
        const lmf_micro *m = &t->now.micro[k];
        fill(t, m->i_bucket, b->bucket[m->i_bucket], b->samples, item, m->n_items, 1 / (float)t->now.n_learn);
        *(float *)lmf_plan_io(t->plan, m->i_bucket, "keep") = k > 0;
        LMF_TRY(lmf_plan_run(t->plan, m->i_bucket));
        LMF_TRY(lmf_plan_wait(t->plan, m->i_bucket));
        loss += (double)*(float *)lmf_plan_io(t->plan, m->i_bucket, "loss");
        item += m->n_items;
    }
    double lr = t->opts.lr * lmf_schedule_factor(t->opts.schedule, t->step, b->n_steps, t->opts.warmup_steps, t->opts.min_lr_ratio);
    int g = t->n_graphs - 1;
    set_hyper(t, lr);
    LMF_TRY(lmf_plan_run(t->plan, g));
    LMF_TRY(lmf_plan_wait(t->plan, g));
    float norm = *(float *)lmf_plan_io(t->plan, g, "grad_norm");
    t->step++;
    t->n_skipped += !isfinite(norm);
    t->n_bad = isfinite(norm) ? 0 : t->n_bad + 1;
    t->total_tok += t->now.n_tok;
    *out = (lmf_train_stats){ .step = t->step, .n_steps = b->n_steps, .epoch = (double)t->step / (double)b->steps_per_epoch, .loss = loss, .lr = lr,
                              .grad_norm = (double)norm, .n_tok = t->now.n_tok, .n_learn = t->now.n_learn, .total_tok = t->total_tok, .n_skipped = t->n_skipped };
    return t->n_bad < MAX_BAD_STEPS ? LMF_OK : refuse_bad(t, loss, (double)norm);
}

lmf_status lmf_trainer_eval(lmf_trainer *t, const lmf_samples *samples, double *loss)
{
    const lmf_batches *b = &t->batches;
    int last = b->n_buckets - 1;
    int64_t cap = eval_size(t, last), n_learn = 0, item[LMF_MAX_STEP_ROWS];
    double sum = 0;
    for (int64_t i = 0; i < samples->n;) {
        int n = 0;
        int64_t tok = 0;
        while (i < samples->n && n < b->max_seqs - 1 && tok + samples->items[i].n <= cap) {
            tok += samples->items[i].n;
            n_learn += samples->items[i].n_learn;
            item[n++] = i++;
        }
        if (n == 0)
            return LMF_FAIL(t->ctx, LMF_E_LIMIT, "an evaluation row of %d tokens is longer than the %lld that this trainer was made for (eval_tok)", samples->items[i].n,
                            (long long)cap);
        int k = 0;
        while (eval_size(t, k) < tok)
            k++;
        fill(t, b->n_buckets + k, eval_size(t, k), samples, item, n, 1);
        LMF_TRY(lmf_plan_run(t->plan, b->n_buckets + k));
        LMF_TRY(lmf_plan_wait(t->plan, b->n_buckets + k));
        const float *logp = lmf_plan_io(t->plan, b->n_buckets + k, "logp");
        for (int64_t r = 0; r < tok; r++)
            sum -= (double)logp[r];
    }
    *loss = n_learn ? sum / (double)n_learn : 0;
    return LMF_OK;
}

const lmf_memory *lmf_trainer_memory(const lmf_trainer *t) { return lmf_plan_memory(t->plan); }
size_t lmf_trainer_bytes(const lmf_trainer *t) { return lmf_plan_bytes(t->plan); }
const lmf_plan *lmf_trainer_plan(const lmf_trainer *t) { return t->plan; }
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
