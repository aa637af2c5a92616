/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: oneDNN takes its thread count from OpenMP when a primitive is made and when it runs: both happen between
 * threads_begin and threads_end, so that a plan's worker count holds whatever OMP_NUM_THREADS says. */
#include "device/onednn/onednn.h"
#include <oneapi/dnnl/dnnl.h>
#include <string.h>

/* Of libgomp, which oneDNN runs on. base/team.c alone includes omp.h. */
void omp_set_num_threads(int n);
int  omp_get_max_threads(void);

enum { A, B, C, Y, SCRATCH, N_MEMORIES };

struct lmf_dnn {
    lmf_ctx         *ctx;
    int              n_workers, n_args;
    dnnl_engine_t    engine;
    dnnl_stream_t    stream;
    dnnl_primitive_t primitive;
    dnnl_memory_t    memory[N_MEMORIES];
    dnnl_exec_arg_t  args[N_MEMORIES];
};

static int threads_begin(int n)
{
    int before = omp_get_max_threads();
    if (before != n)
        omp_set_num_threads(n);
    return before;
}
static void threads_end(int before, int n)
{
    if (before != n)
        omp_set_num_threads(before);
}

static dnnl_status_t describe(const lmf_dnn_gemm *g, dnnl_memory_desc_t md[4])
{
    dnnl_dims_t mk = { g->m, g->k }, kn = { g->k, g->n }, mn = { g->m, g->n }, row = { 1, g->n };
    dnnl_dims_t a = { g->a_stride[0], g->a_stride[1] }, b = { g->b_stride[0], g->b_stride[1] };
    dnnl_dims_t y = { g->y_stride, 1 }, c = { g->c_stride ? g->c_stride : g->n, 1 };
    dnnl_status_t s = dnnl_memory_desc_init_by_strides(&md[A], 2, mk, dnnl_f32, a);
    if (!s)
        s = dnnl_memory_desc_init_by_strides(&md[B], 2, kn, dnnl_f32, b);
    if (!s)
        s = dnnl_memory_desc_init_by_strides(&md[C], 2, g->c_stride ? mn : row, dnnl_f32, c);
    if (!s)
        s = dnnl_memory_desc_init_by_strides(&md[Y], 2, mn, dnnl_f32, y);
    return s;
}

/* alpha scales the product alone: the scale comes before the addition of c in oneDNN's order. */
static dnnl_status_t make_desc(const lmf_dnn_gemm *g, dnnl_engine_t engine, dnnl_memory_desc_t md[4], dnnl_primitive_desc_t *out)
{
    dnnl_matmul_desc_t d;
    dnnl_primitive_attr_t attr = NULL;
    dnnl_post_ops_t ops = NULL;
    dnnl_status_t s = describe(g, md);
    if (!s)
        s = dnnl_matmul_desc_init(&d, &md[A], &md[B], NULL, &md[Y]);
    if (!s)
        s = dnnl_primitive_attr_create(&attr);
    if (!s)
        s = dnnl_primitive_attr_set_scratchpad_mode(attr, dnnl_scratchpad_mode_user);
    if (!s && g->alpha != 1)
        s = dnnl_primitive_attr_set_output_scales(attr, 1, 0, &g->alpha);
    if (!s && g->has_c) {
        s = dnnl_post_ops_create(&ops);
        if (!s)
            s = dnnl_post_ops_append_binary(ops, dnnl_binary_add, &md[C]);
        if (!s)
            s = dnnl_primitive_attr_set_post_ops(attr, ops);
    }
    if (!s)
        s = dnnl_primitive_desc_create(out, &d, attr, engine, NULL);
    if (ops)
        dnnl_post_ops_destroy(ops);
    if (attr)
        dnnl_primitive_attr_destroy(attr);
    return s;
}

static const dnnl_memory_desc_t *scratch_desc(dnnl_primitive_desc_t pd)
{
    return dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
}

bool lmf_dnn_supports(const lmf_dnn_gemm *g, size_t *scratch_bytes)
{
    dnnl_engine_t engine;
    dnnl_primitive_desc_t pd = NULL;
    dnnl_memory_desc_t md[4];
    const char *name = NULL;
    *scratch_bytes = 0;
    if (dnnl_engine_create(&engine, dnnl_cpu, 0))
        return false;
    int before = threads_begin(g->n_workers);
    bool ok = make_desc(g, engine, md, &pd) == dnnl_success && dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name) == dnnl_success &&
              strncmp(name, "ref", 3) != 0;
    if (ok)
        *scratch_bytes = dnnl_memory_desc_get_size(scratch_desc(pd));
    threads_end(before, g->n_workers);
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    dnnl_engine_destroy(engine);
    return ok;
}

void lmf_dnn_destroy(lmf_dnn *d)
{
    if (!d)
        return;
    for (int i = 0; i < N_MEMORIES; i++)
        if (d->memory[i])
            dnnl_memory_destroy(d->memory[i]);
    if (d->primitive)
        dnnl_primitive_destroy(d->primitive);
    if (d->stream)
        dnnl_stream_destroy(d->stream);
    if (d->engine)
        dnnl_engine_destroy(d->engine);
    lmf_delete(d->ctx, d);
}

static dnnl_status_t make(lmf_dnn *d, const lmf_dnn_gemm *g)
{
    static const int names[] = { DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1, DNNL_ARG_DST, DNNL_ARG_SCRATCHPAD };
    dnnl_memory_desc_t md[4];
    dnnl_primitive_desc_t pd = NULL;
    dnnl_status_t s = dnnl_engine_create(&d->engine, dnnl_cpu, 0);
    if (!s)
        s = dnnl_stream_create(&d->stream, d->engine, dnnl_stream_default_flags);
    if (!s)
        s = make_desc(g, d->engine, md, &pd);
    if (!s)
        s = dnnl_primitive_create(&d->primitive, pd);
    for (int i = 0; i < N_MEMORIES && !s; i++) {
        const dnnl_memory_desc_t *m = i == SCRATCH ? scratch_desc(pd) : &md[i];
        if ((i == C && !g->has_c) || (i == SCRATCH && dnnl_memory_desc_get_size(m) == 0))
            continue;
        s = dnnl_memory_create(&d->memory[i], m, d->engine, DNNL_MEMORY_NONE);
        d->args[d->n_args++] = (dnnl_exec_arg_t){ names[i], d->memory[i] };
    }
    if (pd)
        dnnl_primitive_desc_destroy(pd);
    return s;
}

lmf_status lmf_dnn_create(lmf_ctx *ctx, const lmf_dnn_gemm *g, lmf_dnn **out)
{
    *out = NULL;
    lmf_dnn *d = lmf_new(ctx, lmf_dnn);
    if (!d)
        return LMF_NO_MEMORY(ctx, sizeof *d, "a oneDNN product");
    d->ctx = ctx;
    d->n_workers = g->n_workers;
    int before = threads_begin(g->n_workers);
    dnnl_status_t r = lmf_shim(ctx, LMF_SITE_DEVICE) ? dnnl_runtime_error : make(d, g);
    threads_end(before, g->n_workers);
    lmf_status s = LMF_OK;
    if (r)
        s = LMF_FAIL(ctx, r == dnnl_out_of_memory ? LMF_E_MEMORY : LMF_E_DEVICE, "oneDNN can't make the product [%lld, %lld] by [%lld, %lld] "
                     "(its status %d)", (long long)g->m, (long long)g->k, (long long)g->k, (long long)g->n, (int)r);
    if (s)
        lmf_dnn_destroy(d);
    else
        *out = d;
    return s;
}

lmf_status lmf_dnn_run(lmf_dnn *d, const void *a, const void *b, const float *c, float *y, void *scratch)
{
    const void *data[N_MEMORIES] = { a, b, c, y, scratch };
    dnnl_status_t s = dnnl_success;
    for (int i = 0; i < N_MEMORIES && !s; i++)
        if (d->memory[i])
            s = dnnl_memory_set_data_handle(d->memory[i], (void *)(uintptr_t)data[i]);
    int before = threads_begin(d->n_workers);
    if (!s)
        s = dnnl_primitive_execute(d->primitive, d->stream, d->n_args, d->args);
    if (!s)
        s = dnnl_stream_wait(d->stream);
    threads_end(before, d->n_workers);
    return s ? LMF_E_DEVICE : LMF_OK;
}
