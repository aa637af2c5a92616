/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a layer's matrices are packed before the next layer is looked at, so that what it reads is what it will read. Weights that were
 * not packed yet are never run. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "compress/calibrate.h"
#include "compress/parts.h"
#include "compress/solve.h"

static const double damping = 0.01;        /* of the mean of the diagonal, added to it */
static const double least_importance = 1e-4; /* of the mean: a column that the text never used still has some */

static lmf_compressed_tensor *find_item(const lmf__compress *x, const char *role)
{
    for (int64_t i = 0; i < x->out->n; i++)
        if (strcmp(x->out->items[i].role, role) == 0)
            return &x->out->items[i];
    return NULL;
}

lmf_status lmf__compress_step(lmf__compress *x, const lmf_compressed_tensor *t)
{
    x->n_done++;
    if (x->opts->progress && !x->opts->progress(x->opts->user, x->n_done, x->out->n, t->role))
        return LMF_FAIL(x->ctx, LMF_E_CANCELLED, "stopped; nothing was written");
    return LMF_OK;
}

/* Room for all workers, 64-byte aligned, and their sums; gone when the matrix is done. */
typedef struct room { void *all; size_t bytes; float *floats; double *sums; } room;

static uint64_t room_bytes(const lmf_ctx *ctx, int n_workers, int64_t k)
{
    lmf__solve_level level = lmf__solve_pick(ctx->cpu_features);
    return (uint64_t)n_workers * ((uint64_t)level.floats(k) * sizeof(float) + 4 * sizeof(double)) + 64;
}

static lmf_status take_room(lmf__compress *x, int64_t k, const char *what, room *out)
{
    int n = lmf_team_size(x->team);
    out->bytes = room_bytes(x->ctx, n, k);
    if (!(out->all = lmf_alloc(x->ctx, out->bytes)))
        return LMF_NO_MEMORY(x->ctx, out->bytes, what);
    out->floats = (float *)(((uintptr_t)out->all + 63) & ~(uintptr_t)63);
    out->sums = (double *)(out->floats + (int64_t)n * lmf__solve_pick(x->ctx->cpu_features).floats(k));
    return LMF_OK;
}

typedef struct rows_job { lmf__solve_fn fn; const lmf__solve *s; } rows_job;
static void run_rows(void *arg, int i_worker, int n_workers)
{
    const rows_job *j = arg;
    j->fn(j->s, i_worker, n_workers);
}
typedef struct factor_job { lmf__factor_fn fn; lmf__factor *f; } factor_job;
static void run_factor(void *arg, int i_worker, int n_workers)
{
    const factor_job *j = arg;
    j->fn(j->f, i_worker, n_workers);
}

/* How what a layer reads weighs: its gram, factored, or the squares of its columns. */
typedef struct weighing { const float *h; float *l, *importance; int32_t *order; int64_t k; size_t bytes; void *all; } weighing;

static lmf_status solve(lmf__compress *x, lmf_compressed_tensor *t, const weighing *w, int64_t n_tok)
{
    const lmf_format *f = t->from->v.fmt, *to = t->to->v.fmt;
    room r;
    lmf__solve_level level = lmf__solve_pick(x->ctx->cpu_features);
    if (!to->grid)
        return lmf__compress_round(x, t); /* f16 and such: nothing to choose */
    LMF_TRY(take_room(x, w->k, t->role, &r));
    lmf__solve s = { .src = t->from->v.data, .src_fmt = f, .dst = t->to->v.data, .dst_fmt = to, .n = t->from->v.dim[0], .k = w->k,
                     .importance = w->importance, .h = w->h, .l = w->l, .order = w->order, .f32 = lmf_format_get(x->ctx, LMF_F32),
                     .room = r.floats, .sums = r.sums };
    lmf_team_run(x->team, run_rows, &(rows_job){ level.rows, &s });
    double error = 0, size = 0, loss = 0;
    for (int i = 0; i < lmf_team_size(x->team); i++)
        error += r.sums[4 * i], size += r.sums[4 * i + 1], loss += r.sums[4 * i + 2];
    lmf_free(x->ctx, r.all, r.bytes);
    t->error = size > 0 ? sqrt(error / size) : sqrt(error);
    t->loss = n_tok ? loss / (double)n_tok : 0;
    return lmf__compress_step(x, t);
}

static void clear_weighing(lmf__compress *x, weighing *w)
{
    lmf_free(x->ctx, w->all, w->bytes);
    *w = (weighing){ 0 };
}

static lmf_status make_weighing(lmf__compress *x, int64_t k, bool whole, weighing *w)
{
    *w = (weighing){ .k = k, .bytes = (size_t)k * (sizeof(float) + sizeof(int32_t)) + (whole ? (size_t)(k * k) * sizeof(float) : 0) };
    if (!(w->all = lmf_alloc(x->ctx, w->bytes)))
        return LMF_NO_MEMORY(x->ctx, w->bytes, "what a layer reads");
    w->importance = w->all;
    w->order = (int32_t *)(w->importance + k);
    w->l = whole ? (float *)(w->order + k) : NULL;
    return LMF_OK;
}

/* importance: at least a little. */
static void lift(float *importance, int64_t k)
{
    double mean = 0;
    for (int64_t i = 0; i < k; i++)
        mean += (double)importance[i] / (double)k;
    for (int64_t i = 0; i < k; i++)
        importance[i] = mean > 0 ? (float)((double)importance[i] + least_importance * mean) : 1;
}

static int by_diagonal(const void *a, const void *b)
{
    const float *const *p = a, *const *q = b;
    return **p < **q ? -1 : **p > **q ? 1 : *p < *q ? -1 : *p > *q;
}

/* order: by rising importance. */
static lmf_status sort_columns(lmf__compress *x, weighing *w)
{
    const float **at = lmf_alloc(x->ctx, (size_t)w->k * sizeof *at);
    if (!at)
        return LMF_NO_MEMORY(x->ctx, (size_t)w->k * sizeof *at, "the order of columns");
    for (int64_t i = 0; i < w->k; i++)
        at[i] = w->importance + i;
    qsort(at, (size_t)w->k, sizeof *at, by_diagonal);
    for (int64_t i = 0; i < w->k; i++)
        w->order[i] = (int32_t)(at[i] - w->importance);
    lmf_free(x->ctx, at, (size_t)w->k * sizeof *at);
    return LMF_OK;
}

/* gram is damped in place; where rounding has left it indefinite, more is added. */
static lmf_status weigh_gram(lmf__compress *x, float *gram, int64_t k, const char *role, weighing *w)
{
    room r;
    lmf__solve_level level = lmf__solve_pick(x->ctx->cpu_features);
    double mean = 0;
    LMF_TRY(make_weighing(x, k, true, w));
    for (int64_t i = 0; i < k; i++)
        mean += (double)gram[i * k + i] / (double)k;
    if (!(mean > 0) || !isfinite(mean))
        return LMF_FAIL(x->ctx, LMF_E_LIMIT, "what %s reads is %s on this text", role, mean == 0 ? "nothing but zeros" : "no numbers");
    LMF_TRY(take_room(x, k, "a factorization", &r));
    lmf_status s = LMF_OK;
    double add = damping * mean;
    lmf__factor f = { .a = w->l, .k = k, .f32 = lmf_format_get(x->ctx, LMF_F32), .room = r.floats, .team = x->team };
    for (int tries = 0; !s && !f.ok && tries < 5; tries++, add *= 9) {
        for (int64_t i = 0; i < k; i++) {
            gram[i * k + i] = (float)((double)gram[i * k + i] + add);
            w->importance[i] = gram[i * k + i];
        }
        s = sort_columns(x, w);
        for (int64_t i = 0; !s && i < k; i++)
            for (int64_t j = 0; j <= i; j++)
                w->l[i * k + j] = (gram[w->order[i] * k + w->order[j]] + gram[w->order[j] * k + w->order[i]]) / 2;
        f.ok = true;
        if (!s)
            lmf_team_run(x->team, run_factor, &(factor_job){ level.factor, &f });
    }
    lmf_free(x->ctx, r.all, r.bytes);
    if (!s && !f.ok)
        s = LMF_FAIL(x->ctx, LMF_E_LIMIT, "what %s reads can't be factored: its values are no numbers or too large", role);
    w->h = gram;
    return s;
}

/* ---- methods ---- */
/* The tensor's name in a GGUF file. */
static lmf_status gguf_name(const lmf__compress *x, const char *role, char name[256])
{
    int layer;
    const lmf_weight_row *row = lmf_model_row(x->source, role, &layer);
    if (!row || !row->gguf)
        return LMF_FAIL(x->ctx, LMF_E_UNSUPPORTED, "%s has no name in GGUF", role);
    return lmf_model_name(x->ctx, row->gguf, layer, "", name, 256);
}

/* Sums of squares of every linear layer, by the source's own weights. */
lmf_status lmf__compress_collect(lmf__compress *x, lmf_imatrix *im)
{
    lmf__calib c;
    int n_layers = lmf_model_config(x->source)->n_layers;
    const lmf_compress_opts *o = x->opts;
    LMF_TRY(lmf__calib_open(x->ctx, x->source, o->id, o->n_windows, o->window, 0, &c));
    im->chunk_tok = o->window;
    lmf_status s = LMF_OK;
    for (int l = 0; l <= n_layers && !s; l++) {
        lmf__look look;
        s = lmf__calib_look(&c, l, x->source->weights, false, l < n_layers, &look);
        for (int i = 0; !s && i < look.n; i++) {
            char name[256];
            lmf_imatrix_entry *e;
            s = gguf_name(x, look.item[i].role, name);
            if (!s)
                s = lmf_imatrix_add(im, name, look.item[i].k, &e);
            for (int64_t k = 0; !s && k < look.item[i].k; k++)
                e->sum2[k] = (float)look.item[i].sum2[k];
            if (!s)
                e->n_tok = look.n_tok;
        }
        lmf__calib_forget(&c, &look);
        if (!s && o->progress && !o->progress(o->user, 0, x->out->n, "calibrating"))
            s = LMF_FAIL(x->ctx, LMF_E_CANCELLED, "stopped; nothing was written");
    }
    lmf__calib_close(&c);
    return s;
}

static lmf_status one_by_importance(lmf__compress *x, lmf_compressed_tensor *t)
{
    char name[256];
    weighing w;
    int64_t k = t->from->v.dim[1];
    LMF_TRY(gguf_name(x, t->role, name));
    const lmf_imatrix_entry *e = x->opts->imatrix ? lmf_imatrix_find(x->opts->imatrix, name) : NULL;
    if (e && e->k != k)
        return LMF_FAIL(x->ctx, LMF_E_SHAPE, "the importance matrix has %lld columns for %s, which has %lld: it is of another model",
                        (long long)e->k, name, (long long)k);
    x->out->n_unweighed += !e;
    lmf_status s = make_weighing(x, k, false, &w);
    for (int64_t i = 0; !s && i < k; i++)
        w.importance[i] = e ? e->sum2[i] : 1;
    if (!s) {
        lift(w.importance, k);
        s = solve(x, t, &w, e ? e->n_tok : 0);
    }
    clear_weighing(x, &w);
    return s;
}

lmf_status lmf__compress_imatrix(lmf__compress *x)
{
    for (int64_t i = 0; i < x->out->n; i++)
        LMF_TRY(one_by_importance(x, &x->out->items[i]));
    if (x->out->n_unweighed == x->out->n)
        return LMF_FAIL(x->ctx, LMF_E_ARG, "the importance matrix has none of this model's %lld matrices: it is of another model",
                        (long long)x->out->n);
    return LMF_OK;
}

/* The matrices of a layer, or the head: those that read the same share what is made of it. */
static lmf_status layer_by_gram(lmf__compress *x, const lmf__look *look)
{
    lmf_status s = LMF_OK;
    for (int i = 0; i < look->n && !s; i++) {
        weighing w;
        bool first = true;
        for (int k = 0; k < i; k++)
            first &= look->item[k].gram != look->item[i].gram;
        if (!first)
            continue;
        s = weigh_gram(x, look->item[i].gram, look->item[i].k, look->item[i].role, &w);
        for (int k = i; k < look->n && !s; k++) {
            lmf_compressed_tensor *t = look->item[k].gram == look->item[i].gram ? find_item(x, look->item[k].role) : NULL;
            if (t && !t->done) {
                t->done = true;
                s = solve(x, t, &w, look->n_tok);
            }
        }
        clear_weighing(x, &w);
    }
    return s;
}

lmf_status lmf__compress_gptq(lmf__compress *x)
{
    lmf__calib c;
    int n_layers = lmf_model_config(x->source)->n_layers;
    LMF_TRY(lmf__calib_open(x->ctx, x->source, x->opts->id, x->opts->n_windows, x->opts->window, 1, &c));
    lmf_status s = LMF_OK;
    for (int l = 0; l <= n_layers && !s; l++) {
        lmf__look look;
        s = lmf__calib_look(&c, l, x->source->weights, true, false, &look);
        if (!s)
            s = layer_by_gram(x, &look);
        lmf__calib_forget(&c, &look);
        if (!s && l < n_layers)
            s = lmf__calib_advance(&c, l, x->out->model.weights);
    }
    lmf__calib_close(&c);
    for (int64_t i = 0; i < x->out->n && !s; i++) /* what no linear layer reads: an embedding of its own */
        if (!x->out->items[i].done) {
            x->out->n_unweighed++;
            s = one_by_importance(x, &x->out->items[i]);
            x->out->n_unweighed--;
        }
    return s;
}

uint64_t lmf__compress_working_bytes(lmf_ctx *ctx, const lmf_model *m, const lmf_compress_opts *o)
{
    bool gptq = strcmp(o->method, "gptq") == 0;
    uint64_t n, widest = 0, stream = (uint64_t)o->n_windows * (uint64_t)o->window *
                                    (uint64_t)lmf_model_config(m)->width * sizeof(float);
    for (int32_t i = 0; i < m->weights->n; i++) {
        const lmf_weight *w = &m->weights->items[i];
        uint64_t k = w->v.n_dims == 2 ? (uint64_t)w->v.dim[1] : 0;
        widest = k > widest ? k : widest;
    }
    n = room_bytes(ctx, ctx->n_workers, (int64_t)widest);
    if (!gptq)
        return n > stream ? n : stream; /* one after the other */
    return n + stream + 3 * widest * widest * sizeof(float); /* the sum, a run's share of it, its factor */
}
