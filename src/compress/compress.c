/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a matrix is unpacked row by row and packed into memory of the new set; nothing of the source is written to. Weights that are one in
 * the source (a tied head) are one in the result. */
#include "compress/compress.h"
#include <math.h>
#include <string.h>
#include "base/team.h"
#include "compress/parts.h"

static bool is_matrix(const lmf_model *m, const lmf_weight *w)
{
    int layer;
    const lmf_weight_row *row = lmf_model_row(m, w->name, &layer);
    return row && w->v.n_dims == 2 && !(row->flags & LMF_ROW_NO_QUANT);
}

/* Of the types that rows of that width can have: as many bits as `asked` or more, as few of those as there are, the least error first. */
static const lmf_format *fitting(const lmf_ctx *ctx, const lmf_format *asked, int64_t width)
{
    const lmf_format *best = asked;
    if (width % asked->block == 0)
        return asked;
    best = NULL;
    for (const lmf_format *const *f = ctx->tables->formats; *f; f++) {
        const lmf_format *c = *f;
        if (!c->written.summary || width % c->block || lmf_format_bytes(c, 256) < lmf_format_bytes(asked, 256))
            continue;
        size_t bytes = lmf_format_bytes(c, 256), least = best ? lmf_format_bytes(best, 256) : 0;
        if (!best || bytes < least || (bytes == least && c->written.error < best->written.error))
            best = c;
    }
    return best;
}

static lmf_status check_opts(lmf_ctx *ctx, const lmf_compress_opts *o, const lmf_format **asked)
{
    *asked = lmf_format_find(ctx, o->type);
    if (!*asked || !(*asked)->written.summary || !(*asked)->pack || (*asked)->dtype == LMF_F32)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "weights can't be packed as %s", o->type);
    bool rtn = strcmp(o->method, "rtn") == 0, imatrix = strcmp(o->method, "imatrix") == 0, gptq = strcmp(o->method, "gptq") == 0;
    if (!rtn && !imatrix && !gptq)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "no method is called %s; rtn, imatrix and gptq are", o->method);
    if (!rtn && !(*asked)->grid)
        return LMF_FAIL(ctx, LMF_E_ARG, "%s leaves nothing to choose: only rtn packs it", o->type);
    if (imatrix && !o->imatrix)
        return LMF_FAIL(ctx, LMF_E_ARG, "the method imatrix needs an importance matrix");
    if (gptq && (o->n_windows < 1 || o->window < 2))
        return LMF_FAIL(ctx, LMF_E_ARG, "the method gptq needs a text of whole windows");
    return LMF_OK;
}

static bool is_tied(const lmf_weights *all, int32_t i)
{
    for (int32_t k = 0; k < i; k++)
        if (all->items[k].v.data == all->items[i].v.data)
            return true;
    return false;
}

static size_t worker_bytes(int64_t width) { return 2 * (size_t)width * sizeof(float); }

lmf_status lmf_compress_planned(lmf_ctx *ctx, const lmf_model *m, const lmf_compress_opts *o, lmf_compress_plan *out)
{
    const lmf_format *asked;
    *out = (lmf_compress_plan){ 0 };
    LMF_TRY(check_opts(ctx, o, &asked));
    for (int32_t i = 0; i < m->weights->n; i++) {
        const lmf_weight *w = &m->weights->items[i];
        if (!is_matrix(m, w) || is_tied(m->weights, i))
            continue;
        const lmf_format *f = fitting(ctx, asked, w->v.dim[1]);
        uint64_t room = (uint64_t)ctx->n_workers * worker_bytes(w->v.dim[1]);
        out->n_matrices++;
        out->packed_bytes += f ? lmf_format_bytes(f, lmf_view_count(&w->v)) : 0;
        out->working_bytes = room > out->working_bytes ? room : out->working_bytes;
    }
    if (strcmp(o->method, "rtn"))
        out->working_bytes = lmf__compress_working_bytes(ctx, m, o);
    return LMF_OK;
}

/* ---- one matrix ---- */
typedef struct job { const lmf_weight *from, *to; float *room; double *sums; } job; /* sums: error and size of each worker */

static void pack_rows(void *arg, int i_worker, int n_workers)
{
    const job *j = arg;
    const lmf_format *f = j->from->v.fmt, *t = j->to->v.fmt;
    int64_t begin, end, k = j->from->v.dim[1];
    float *want = j->room + 2 * k * i_worker, *have = want + k;
    size_t in = lmf_format_bytes(f, k), out = lmf_format_bytes(t, k);
    double error = 0, size = 0;
    lmf_split(j->from->v.dim[0], 1, i_worker, n_workers, &begin, &end);
    for (int64_t i = begin; i < end; i++) {
        const char *src = (const char *)j->from->v.data + (size_t)i * in;
        char *dst = (char *)j->to->v.data + (size_t)i * out;
        f->unpack(src, want, k);
        if (f->dtype == t->dtype)
            memcpy(dst, src, in);
        else
            t->pack(want, dst, k);
        t->unpack(dst, have, k);
        for (int64_t e = 0; e < k; e++) {
            double d = (double)want[e] - (double)have[e];
            error += d * d, size += (double)want[e] * (double)want[e];
        }
    }
    j->sums[2 * i_worker] = error, j->sums[2 * i_worker + 1] = size;
}

lmf_status lmf__compress_round(lmf__compress *x, lmf_compressed_tensor *t)
{
    int n = lmf_team_size(x->team);
    size_t bytes = (size_t)n * (worker_bytes(t->from->v.dim[1]) + 2 * sizeof(double));
    double *sums = lmf_alloc(x->ctx, bytes), error = 0, size = 0;
    if (!sums)
        return LMF_NO_MEMORY(x->ctx, bytes, t->role);
    job j = { t->from, t->to, (float *)(sums + 2 * n), sums };
    lmf_team_run(x->team, pack_rows, &j);
    for (int i = 0; i < n; i++)
        error += sums[2 * i], size += sums[2 * i + 1];
    lmf_free(x->ctx, sums, bytes);
    t->error = size > 0 ? sqrt(error / size) : sqrt(error);
    return lmf__compress_step(x, t);
}

/* ---- all of them ---- */
/* A weight of the new set: packed, or the source's bytes where they lie. */
static lmf_status add_weight(lmf__compress *x, int32_t i)
{
    const lmf_model *m = x->source;
    const lmf_weight *w = &m->weights->items[i];
    lmf_compressed *c = x->out;
    lmf_weight *made;
    for (int32_t k = 0; k < i; k++)
        if (m->weights->items[k].v.data == w->v.data) {
            const lmf_weight *twin = lmf_weights_find(c->model.weights, m->weights->items[k].name);
            return lmf_weights_add(c->model.weights, w->name, twin->v.dtype, w->v.n_dims, w->v.dim, twin->v.data, twin->mapped, NULL);
        }
    if (!is_matrix(m, w)) {
        c->n_bytes += lmf_format_bytes(w->v.fmt, lmf_view_count(&w->v));
        return lmf_weights_add(c->model.weights, w->name, w->v.dtype, w->v.n_dims, w->v.dim, w->v.data, w->mapped, NULL);
    }
    const lmf_format *f = fitting(x->ctx, x->asked, w->v.dim[1]);
    if (!f)
        return LMF_FAIL(x->ctx, LMF_E_UNSUPPORTED, "%s has rows of %lld values, which no type of as many bits as %s can hold", w->name,
                        (long long)w->v.dim[1], x->asked->name);
    LMF_TRY(lmf_weights_add(c->model.weights, w->name, f->dtype, w->v.n_dims, w->v.dim, NULL, false, &made));
    int64_t n = lmf_view_count(&w->v);
    uint64_t bytes = lmf_format_bytes(f, n);
    c->n_values += n, c->n_bytes += bytes;
    if (f != x->asked) {
        c->n_fell++;
        c->fell_bytes += bytes - (uint64_t)((double)n * x->asked->block_bytes / x->asked->block);
    }
    c->items[c->n++] = (lmf_compressed_tensor){ .role = made->name, .from = w, .to = made, .fell = f != x->asked };
    return LMF_OK;
}

static lmf_status pack_all(lmf__compress *x)
{
    if (strcmp(x->opts->method, "imatrix") == 0)
        return lmf__compress_imatrix(x);
    if (strcmp(x->opts->method, "gptq") == 0)
        return lmf__compress_gptq(x);
    for (int64_t i = 0; i < x->out->n; i++)
        LMF_TRY(lmf__compress_round(x, &x->out->items[i]));
    return LMF_OK;
}

static lmf_status run(lmf__compress *x)
{
    lmf_compressed *c = x->out;
    const lmf_model *m = x->source;
    LMF_TRY(lmf_weights_create(x->ctx, &c->model.weights));
    c->n_room = m->weights->n + 1;
    c->items = lmf_alloc(x->ctx, (size_t)c->n_room * sizeof *c->items);
    if (!c->items)
        return LMF_NO_MEMORY(x->ctx, (size_t)c->n_room * sizeof *c->items, "a list of matrices");
    for (int32_t i = 0; i < m->weights->n; i++)
        LMF_TRY(add_weight(x, i));
    for (int64_t i = 0; i < c->n; i++) /* the set has grown since */
        c->items[i].to = lmf_weights_find(c->model.weights, c->items[i].from->name);
    return pack_all(x);
}

lmf_status lmf_compress_collect(lmf_ctx *ctx, const lmf_model *m, const lmf_compress_opts *o, lmf_imatrix **out)
{
    lmf_compressed none = { 0 };
    lmf__compress x = { .ctx = ctx, .source = m, .opts = o, .out = &none };
    *out = NULL;
    if ((o->n_windows < 1 || o->window < 2))
        return LMF_FAIL(ctx, LMF_E_ARG, "an importance matrix needs a text of whole windows");
    LMF_TRY(lmf_imatrix_create(ctx, out));
    lmf_status s = lmf__compress_collect(&x, *out);
    if (s) {
        lmf_imatrix_close(*out);
        *out = NULL;
    }
    return s;
}

lmf_status lmf_compress(lmf_ctx *ctx, const lmf_model *m, const lmf_compress_opts *o, lmf_compressed **out)
{
    lmf__compress x = { .ctx = ctx, .source = m, .opts = o };
    *out = NULL;
    LMF_TRY(check_opts(ctx, o, &x.asked));
    if (!(x.out = lmf_new(ctx, lmf_compressed)))
        return LMF_NO_MEMORY(ctx, sizeof *x.out, "a model");
    x.out->model = *m;
    x.out->model.weights = NULL;
    lmf_status s = lmf_team_create(ctx, ctx->n_workers, &x.team);
    if (!s)
        s = run(&x);
    lmf_team_destroy(x.team);
    if (s)
        lmf_compressed_close(x.out);
    else
        *out = x.out;
    return s;
}

void lmf_compressed_close(lmf_compressed *c)
{
    if (!c)
        return;
    lmf_ctx *ctx = c->model.ctx;
    lmf_free(ctx, c->items, (size_t)c->n_room * sizeof *c->items);
    lmf_weights_destroy(c->model.weights);
    lmf_delete(ctx, c);
}
