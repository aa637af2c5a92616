/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: everything that loads or allocates happens in the resolving pass, before capture and before the device is sealed;
 * a launch after that allocates nothing. Calls of both lanes run in program order on one stream, which satisfies every
 * `after`; a second stream comes with the first collective. */
#include <stdio.h>
#include <string.h>
#include "device/cuda/driver.h"

struct lmf_program {
    const lmf_call *calls;   /* borrowed */
    int         n;
    CUgraphExec exec;        /* NULL: call by call */
};

static lmf_status load_module(lmf_cuda *d, const char *name, CUmodule *out)
{
    for (int i = 0; i < d->n_modules; i++)
        if (strcmp(lmf_cuda_modules[i].name, name) == 0) {
            lmf_status s = LMF_OK;
            if (!d->modules[i])
                s = LMF_CUDA(d, cuModuleLoadData, &d->modules[i], lmf_cuda_modules[i].fatbin);
            if (s)
                d->modules[i] = NULL;
            *out = d->modules[i];
            return s ? lmf_fail_prefix(d->base.ctx, s, "kernels of %s", name) : LMF_OK;
        }
    return LMF_FAIL(d->base.ctx, LMF_E_INTERNAL, "device cuda: no %s_cuda.cu was built into this plug-in", name);
}

static lmf_cuda_function *find(lmf_cuda *d, const char *module, const char *kernel)
{
    for (int i = 0; i < d->n_functions; i++) {
        lmf_cuda_function *f = &d->functions[i];
        if (strcmp(f->name, kernel) == 0 && strcmp(f->module, module) == 0)
            return f;
    }
    return NULL;
}

static lmf_status add_function(lmf_cuda *d, const char *module, const char *kernel, lmf_cuda_function **out)
{
    lmf_ctx *ctx = d->base.ctx;
    lmf_cuda_function f = { .module = module, .name = kernel };
    CUmodule m = NULL;
    LMF_TRY(load_module(d, module, &m));
    lmf_status s = LMF_CUDA(d, cuModuleGetFunction, &f.handle, m, kernel);
    if (s)
        return lmf_fail_prefix(ctx, s, "kernel %s of %s", kernel, module);
    char early[128];
    CUdeviceptr at;
    size_t bytes;
    snprintf(early, sizeof early, "%s_early", kernel);
    f.early = d->base.features >= 90 && d->api.cuModuleGetGlobal(&at, &bytes, m, early) == CUDA_SUCCESS;
    if (d->n_functions == d->cap_functions) {
        int cap = d->cap_functions ? 2 * d->cap_functions : 64;
        void *p = lmf_realloc(ctx, d->functions, (size_t)d->cap_functions * sizeof f, (size_t)cap * sizeof f);
        if (!p)
            return LMF_NO_MEMORY(ctx, (size_t)cap * sizeof f, "the list of CUDA kernels");
        d->functions = p;
        d->cap_functions = cap;
    }
    d->functions[d->n_functions] = f;
    *out = &d->functions[d->n_functions++];
    return LMF_OK;
}

lmf_status lmf_cuda_launch(const lmf_worker *wk, const char *module, const char *kernel, lmf_cuda_grid grid, uint32_t block,
                           uint32_t shared, const void *const *args)
{
    lmf_stream *stream = wk->stream;
    lmf_cuda *d = stream->cuda;
    lmf_cuda_function *f = find(d, module, kernel);
    if (!f) {
        if (!stream->resolving)
            return LMF_FAIL(d->base.ctx, LMF_E_INTERNAL, "device cuda: %s of %s is launched but was not when its program was made",
                            kernel, module);
        LMF_TRY(add_function(d, module, kernel, &f));
    }
    if (stream->resolving) {
        if (shared > 48 * 1024 && shared > f->shared) {
            LMF_TRY(LMF_CUDA(d, cuFuncSetAttribute, f->handle, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, (int)shared));
            f->shared = shared;
        }
        return LMF_OK;
    }
    if (!grid.x || !grid.y || !grid.z)
        return LMF_OK;
    CUlaunchAttribute attrs[2];
    unsigned n_attrs = 0;
    if (f->early)
        attrs[n_attrs++] = (CUlaunchAttribute){ .id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION,
                                                .value.programmaticStreamSerializationAllowed = 1 };
    if (grid.cluster > 1)
        attrs[n_attrs++] = (CUlaunchAttribute){ .id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, .value.clusterDim = { 1, 1, grid.cluster } };
    CUlaunchConfig config = { .gridDimX = grid.x, .gridDimY = grid.y, .gridDimZ = grid.z,
                              .blockDimX = block, .blockDimY = 1, .blockDimZ = 1,
                              .sharedMemBytes = shared, .hStream = stream->handle, .attrs = attrs, .numAttrs = n_attrs };
    lmf_status s = LMF_CUDA(d, cuLaunchKernelEx, &config, f->handle, (void **)(uintptr_t)args, NULL);
    if (s)
        return lmf_fail_prefix(d->base.ctx, s, "kernel %s, %u x %u x %u blocks of %u threads", kernel, grid.x, grid.y, grid.z, block);
    return LMF_OK;
}

lmf_status lmf_cuda_map_make(const lmf_worker *wk, lmf_cuda_map *out, const void *at, uint32_t n_dims, const uint64_t *dim,
                             const uint64_t *stride, const uint32_t *box)
{
    lmf_stream *stream = wk->stream;
    cuuint64_t dims[5], strides[5];
    cuuint32_t one[5] = { 1, 1, 1, 1, 1 };
    for (uint32_t i = 0; i < n_dims; i++)
        dims[i] = dim[i], strides[i] = i ? stride[i - 1] : 0;
    if (stream->resolving)
        return LMF_OK;
    return LMF_CUDA(stream->cuda, cuTensorMapEncodeTiled, (CUtensorMap *)out, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, n_dims,
                    (void *)(uintptr_t)at, dims, strides + 1, box, one, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
                    CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
}

lmf_status lmf_cuda_fill(const lmf_worker *wk, void *dst, int byte, size_t n_bytes)
{
    lmf_stream *stream = wk->stream;
    if (stream->resolving || !n_bytes)
        return LMF_OK;
    return LMF_CUDA(stream->cuda, cuMemsetD8Async, (CUdeviceptr)(uintptr_t)dst, (unsigned char)byte, n_bytes, stream->handle);
}

lmf_status lmf_cuda_copy(const lmf_worker *wk, void *dst, const void *src, size_t n_bytes)
{
    lmf_stream *stream = wk->stream;
    if (stream->resolving || !n_bytes)
        return LMF_OK;
    return LMF_CUDA(stream->cuda, cuMemcpyAsync, (CUdeviceptr)(uintptr_t)dst, (CUdeviceptr)(uintptr_t)src, n_bytes, stream->handle);
}

static lmf_status run_calls(lmf_cuda *d, const lmf_call *calls, int n, lmf_stream *stream)
{
    lmf_worker wk = { .stream = stream, .n_workers = 1 };
    for (int i = 0; i < n; i++) {
        const lmf_call *c = &calls[i];
        lmf_status s = c->row->run(c, &wk);
        if (s)
            return lmf_fail_prefix(d->base.ctx, s, "call %d, %s", i, c->row->name);
    }
    return LMF_OK;
}

/* Thread-local mode: what other threads do with the driver is theirs. */
static lmf_status capture(lmf_cuda *d, lmf_program *p)
{
    CUgraph graph = NULL;
    LMF_TRY(LMF_CUDA(d, cuStreamBeginCapture, d->own.handle, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
    lmf_status s = run_calls(d, p->calls, p->n, &d->own);
    if (s) {
        d->api.cuStreamEndCapture(d->own.handle, &graph); /* leaves capture mode whatever it answers */
    } else {
        s = LMF_CUDA(d, cuStreamEndCapture, d->own.handle, &graph);
        if (s && !graph)
            d->api.cuStreamEndCapture(d->own.handle, &graph);
    }
    if (!s)
        s = LMF_CUDA(d, cuGraphInstantiateWithFlags, &p->exec, graph, 0);
    if (!s)
        s = LMF_CUDA(d, cuGraphUpload, p->exec, d->own.handle); /* so that the first launch allocates nothing */
    if (!s)
        s = LMF_CUDA(d, cuStreamSynchronize, d->own.handle);
    if (graph)
        d->api.cuGraphDestroy(graph);
    return s;
}

void lmf_cuda_program_destroy(lmf_device *dev, lmf_program *p)
{
    lmf_cuda *d = (lmf_cuda *)dev;
    if (!p)
        return;
    d->api.cuCtxSetCurrent(d->context);
    if (p->exec)
        d->api.cuGraphExecDestroy(p->exec);
    lmf_delete(dev->ctx, p);
}

lmf_status lmf_cuda_program_create(lmf_device *dev, const lmf_call *calls, int n, bool eager, lmf_program **out)
{
    lmf_cuda *d = (lmf_cuda *)dev;
    *out = NULL;
    LMF_TRY(lmf_cuda_enter(d));
    lmf_program *p = lmf_new(dev->ctx, lmf_program);
    if (!p)
        return LMF_NO_MEMORY(dev->ctx, sizeof *p, "a CUDA program");
    p->calls = calls;
    p->n = n;
    lmf_stream resolving = { .cuda = d, .handle = d->own.handle, .resolving = true };
    lmf_status s = run_calls(d, calls, n, &resolving);
    if (!s && !eager)
        s = capture(d, p);
    if (s) {
        lmf_cuda_program_destroy(dev, p);
        return s;
    }
    lmf_cuda_measure(d);
    *out = p;
    return LMF_OK;
}

lmf_status lmf_cuda_program_launch(lmf_device *dev, lmf_stream *stream, lmf_program *p)
{
    lmf_cuda *d = (lmf_cuda *)dev;
    LMF_TRY(lmf_cuda_enter(d));
    if (!p->exec)
        return run_calls(d, p->calls, p->n, stream ? stream : &d->own);
    return LMF_CUDA(d, cuGraphLaunch, p->exec, stream ? stream->handle : d->own.handle);
}
