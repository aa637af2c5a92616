/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: close takes a device in any state that a failed open leaves; it calls the driver without the shim and ignores what
 * it answers, for there is nothing better to do. */
#include <dlfcn.h>
#include <stdio.h>
#include <string.h>
#include "device/cuda/driver.h"

static void device_close(lmf_device *dev)
{
    lmf_cuda *d = (lmf_cuda *)dev;
    lmf_ctx *ctx = dev->ctx;
    if (d->context) {
        d->api.cuCtxSetCurrent(d->context);
        lmf_cuda_blas_close(ctx, d->blas);
        for (int i = 0; i < LMF_CUDA_EVENTS; i++)
            if (d->event[i])
                d->api.cuEventDestroy(d->event[i]);
        if (d->own.handle)
            d->api.cuStreamDestroy(d->own.handle);
        for (int i = 0; d->modules && i < d->n_modules; i++)
            if (d->modules[i])
                d->api.cuModuleUnload(d->modules[i]);
        d->api.cuCtxSetCurrent(NULL);
        d->api.cuDevicePrimaryCtxRelease(d->device);
    }
    if (d->lib)
        dlclose(d->lib);
    lmf_free(ctx, d->functions, (size_t)d->cap_functions * sizeof *d->functions);
    lmf_free(ctx, d->modules, (size_t)(d->n_modules + 1) * sizeof *d->modules);
    lmf_delete(ctx, d);
}

static lmf_status find_gpu(lmf_cuda *d, int i_device, char *pci, int n_pci)
{
    int n = 0, major = 0, minor = 0;
    lmf_ctx *ctx = d->base.ctx;
    LMF_TRY(LMF_CUDA(d, cuDeviceGetCount, &n));
    if (i_device >= n)
        return LMF_FAIL(ctx, n ? LMF_E_NOT_FOUND : LMF_E_UNSUPPORTED, "device cuda:%d: the driver sees %d GPU%s here; %s", i_device, n,
                        n == 1 ? "" : "s", n ? "count from 0" : "check CUDA_VISIBLE_DEVICES, or use the device cpu");
    LMF_TRY(LMF_CUDA(d, cuDeviceGet, &d->device, i_device));
    LMF_TRY(LMF_CUDA(d, cuDeviceGetName, d->name, sizeof d->name, d->device));
    LMF_TRY(LMF_CUDA(d, cuDeviceGetAttribute, &major, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, d->device));
    LMF_TRY(LMF_CUDA(d, cuDeviceGetAttribute, &minor, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR, d->device));
    LMF_TRY(LMF_CUDA(d, cuDeviceGetPCIBusId, pci, n_pci, d->device));
    d->base.features = (uint64_t)(major * 10 + minor);
    if (d->base.features < 75)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "device cuda:%d: %s has compute capability %d.%d; 7.5 is the least; use the device cpu",
                        i_device, d->name, major, minor);
    return LMF_OK;
}

bool lmf_cuda_has_wgmma(const lmf_device *dev) { return LMF_CUDA_90A && dev->features == 90; }

static lmf_status make_context(lmf_cuda *d, const char *pci)
{
    lmf_ctx *ctx = d->base.ctx;
    size_t total, before = lmf_cuda_used_bytes(pci);
    LMF_TRY(LMF_CUDA(d, cuDevicePrimaryCtxRetain, &d->context, d->device));
    size_t after = lmf_cuda_used_bytes(pci);
    d->context_bytes = before && after > before ? after - before : 0;
    LMF_TRY(lmf_cuda_enter(d));
    LMF_TRY(LMF_CUDA(d, cuMemGetInfo, &d->free_bytes, &total));
    LMF_TRY(LMF_CUDA(d, cuStreamCreate, &d->own.handle, CU_STREAM_NON_BLOCKING));
    for (int i = 0; i < LMF_CUDA_EVENTS; i++)
        LMF_TRY(LMF_CUDA(d, cuEventCreate, &d->event[i], CU_EVENT_DISABLE_TIMING));
    int n = 0;
    while (lmf_cuda_modules[n].name)
        n++;
    d->modules = lmf_alloc(ctx, (size_t)(n + 1) * sizeof *d->modules);
    if (!d->modules)
        return LMF_NO_MEMORY(ctx, (size_t)(n + 1) * sizeof *d->modules, "the list of CUDA modules");
    d->n_modules = n;
    LMF_TRY(lmf_cuda_blas_open(ctx, &d->blas));
    lmf_cuda_measure(d);
    return LMF_OK;
}

static lmf_status device_open(lmf_ctx *ctx, int i_device, lmf_device **out)
{
    char pci[32] = "";
    lmf_status s = LMF_OK;
    *out = NULL;
    lmf_cuda *d = lmf_new(ctx, lmf_cuda);
    if (!d)
        return LMF_NO_MEMORY(ctx, sizeof *d, "the device cuda");
    d->base.ctx = ctx;
    d->own.cuda = d;
    LMF_TRY_TO(done, lmf_cuda_load_driver(d));
    LMF_TRY_TO(done, find_gpu(d, i_device, pci, (int)sizeof pci));
    LMF_TRY_TO(done, make_context(d, pci));
    /* formats keep their scalar functions: device bytes are never read by the host */
    uint64_t capability = d->base.features;
    LMF_TRY_TO(done, lmf_device_init(&d->base, ctx, &lmf_cuda_device, 0));
    d->base.features = capability;
    *out = &d->base;
    return LMF_OK;
done:
    device_close(&d->base);
    return s;
}

static lmf_status device_memory(lmf_device *dev, size_t *free_bytes, size_t *total_bytes)
{
    lmf_cuda *d = (lmf_cuda *)dev;
    *free_bytes = *total_bytes = 0;
    LMF_TRY(lmf_cuda_enter(d));
    LMF_TRY(LMF_CUDA(d, cuMemGetInfo, free_bytes, total_bytes));
    lmf_cuda_measure(d);
    return LMF_OK;
}

static lmf_status device_alloc(lmf_device *dev, int pinned_host, size_t bytes, void **out)
{
    lmf_cuda *d = (lmf_cuda *)dev;
    const char *where = pinned_host ? "pinned host memory" : "the GPU";
    lmf_status s;
    *out = NULL;
    if (dev->sealed)
        return LMF_FAIL(dev->ctx, LMF_E_SEALED, "device cuda: %zu bytes asked of %s after the device was sealed", bytes, where);
    LMF_TRY(lmf_cuda_enter(d));
    if (pinned_host) {
        s = LMF_CUDA(d, cuMemHostAlloc, out, bytes ? bytes : 1, 0);
    } else {
        CUdeviceptr p = 0;
        s = LMF_CUDA(d, cuMemAlloc, &p, bytes ? bytes : 1);
        *out = s ? NULL : (void *)(uintptr_t)p;
    }
    if (s) {
        size_t free_bytes = 0, total = 0;
        d->api.cuMemGetInfo(&free_bytes, &total);
        *out = NULL;
        return lmf_fail_prefix(dev->ctx, s, "%zu bytes asked of %s, %zu of the GPU's %zu bytes are free", bytes, where, free_bytes, total);
    }
    *(pinned_host ? &dev->asked_host_bytes : &dev->asked_bytes) += bytes;
    return LMF_OK;
}

static void device_release(lmf_device *dev, int pinned_host, void *p, size_t bytes)
{
    lmf_cuda *d = (lmf_cuda *)dev;
    if (!p)
        return;
    d->api.cuCtxSetCurrent(d->context);
    if (pinned_host)
        d->api.cuMemFreeHost(p);
    else
        d->api.cuMemFree((CUdeviceptr)(uintptr_t)p);
    *(pinned_host ? &dev->asked_host_bytes : &dev->asked_bytes) -= bytes;
}

static CUstream handle(lmf_cuda *d, const lmf_stream *stream) { return stream ? stream->handle : d->own.handle; }

static lmf_status device_copy(lmf_device *dev, lmf_stream *stream, void *dst, const void *src, size_t bytes)
{
    lmf_cuda *d = (lmf_cuda *)dev;
    if (!bytes)
        return LMF_OK;
    LMF_TRY(lmf_cuda_enter(d));
    return LMF_CUDA(d, cuMemcpyAsync, (CUdeviceptr)(uintptr_t)dst, (CUdeviceptr)(uintptr_t)src, bytes, handle(d, stream));
}

static lmf_status device_fill(lmf_device *dev, lmf_stream *stream, void *dst, int byte, size_t bytes)
{
    lmf_cuda *d = (lmf_cuda *)dev;
    if (!bytes)
        return LMF_OK;
    LMF_TRY(lmf_cuda_enter(d));
    return LMF_CUDA(d, cuMemsetD8Async, (CUdeviceptr)(uintptr_t)dst, (unsigned char)byte, bytes, handle(d, stream));
}

static lmf_status stream_create(lmf_device *dev, lmf_stream **out)
{
    lmf_cuda *d = (lmf_cuda *)dev;
    *out = NULL;
    LMF_TRY(lmf_cuda_enter(d));
    lmf_stream *stream = lmf_new(dev->ctx, lmf_stream);
    if (!stream)
        return LMF_NO_MEMORY(dev->ctx, sizeof *stream, "a CUDA stream");
    stream->cuda = d;
    lmf_status s = LMF_CUDA(d, cuStreamCreate, &stream->handle, CU_STREAM_NON_BLOCKING);
    if (s)
        lmf_delete(dev->ctx, stream);
    else
        *out = stream;
    return s;
}

static void stream_destroy(lmf_device *dev, lmf_stream *stream)
{
    lmf_cuda *d = (lmf_cuda *)dev;
    if (!stream)
        return;
    d->api.cuCtxSetCurrent(d->context);
    d->api.cuStreamDestroy(stream->handle);
    lmf_delete(dev->ctx, stream);
}

static lmf_status stream_sync(lmf_device *dev, lmf_stream *stream)
{
    lmf_cuda *d = (lmf_cuda *)dev;
    LMF_TRY(lmf_cuda_enter(d));
    return LMF_CUDA(d, cuStreamSynchronize, handle(d, stream));
}

static lmf_status check_event(lmf_device *dev, int i_event)
{
    if (i_event < 0 || i_event >= LMF_CUDA_EVENTS)
        return LMF_FAIL(dev->ctx, LMF_E_ARG, "device cuda: event %d: they count from 0 to %d", i_event, LMF_CUDA_EVENTS - 1);
    return lmf_cuda_enter((lmf_cuda *)dev);
}

static lmf_status event_record(lmf_device *dev, lmf_stream *stream, int i_event)
{
    lmf_cuda *d = (lmf_cuda *)dev;
    LMF_TRY(check_event(dev, i_event));
    return LMF_CUDA(d, cuEventRecord, d->event[i_event], handle(d, stream));
}

static lmf_status event_sync(lmf_device *dev, int i_event)
{
    lmf_cuda *d = (lmf_cuda *)dev;
    LMF_TRY(check_event(dev, i_event));
    return LMF_CUDA(d, cuEventSynchronize, d->event[i_event]);
}

static const lmf_kernel *const *kernels(lmf_device *dev, const char *op)
{
    (void)dev;
    for (const lmf_cuda_table *t = lmf_cuda_tables; t->op; t++)
        if (strcmp(t->op, op) == 0)
            return t->rows;
    return NULL;
}

const lmf_device_ops lmf_cuda_device = {
    .name = "cuda", .open = device_open, .close = device_close, .memory = device_memory, .alloc = device_alloc,
    .release = device_release, .copy = device_copy, .fill = device_fill, .stream_create = stream_create,
    .stream_destroy = stream_destroy, .stream_sync = stream_sync, .event_record = event_record, .event_sync = event_sync,
    .kernels = kernels, .program_create = lmf_cuda_program_create, .program_launch = lmf_cuda_program_launch,
    .program_destroy = lmf_cuda_program_destroy,
};
