/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: libcuda is never linked and never unloaded (its threads outlive dlclose); its functions are called through d->api. */
#include "device/cuda/driver.h"
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TEXT2(x) #x
#define TEXT(x) TEXT2(x)

lmf_status lmf_cuda_load_driver(lmf_cuda *d)
{
    static const struct { const char *name; size_t offset; } functions[] = {
#define X(name) { TEXT(name), offsetof(lmf_cuda_api, name) },
        LMF_CUDA_FUNCTIONS(X)
#undef X
    };
    lmf_ctx *ctx = d->base.ctx;
    d->lib = lmf_shim(ctx, LMF_SITE_DEVICE) ? NULL : dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!d->lib)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "device cuda: libcuda.so.1 can't be opened: no NVIDIA driver on this machine, or "
                        "not passed into this container; install driver 580 or newer, or use the device cpu");
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *f = dlsym(d->lib, functions[i].name);
        if (!f)
            return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "device cuda: the NVIDIA driver has no %s: it is too old; install driver 580 or "
                            "newer, or use the device cpu", functions[i].name);
        memcpy((char *)&d->api + functions[i].offset, &f, sizeof f);
    }
    LMF_TRY(LMF_CUDA(d, cuInit, 0));
    int version = 0;
    LMF_TRY(LMF_CUDA(d, cuDriverGetVersion, &version));
    if (version / 1000 < CUDA_VERSION / 1000) /* SASS of a major version needs a driver of that major version */
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "device cuda: the NVIDIA driver offers CUDA %d.%d, this build needs %d.0; install "
                        "driver 580 or newer, or use the device cpu", version / 1000, version % 1000 / 10, CUDA_VERSION / 1000);
    return LMF_OK;
}

CUresult lmf_cuda_gate(lmf_cuda *d)
{
    int e = lmf_shim(d->base.ctx, LMF_SITE_DEVICE);
    return e == 0 ? CUDA_SUCCESS : e == ENOMEM ? CUDA_ERROR_OUT_OF_MEMORY : CUDA_ERROR_UNKNOWN;
}

/* After these the context answers every call with the same error. */
static bool is_fatal(CUresult r)
{
    return r == CUDA_ERROR_ILLEGAL_ADDRESS || r == CUDA_ERROR_LAUNCH_FAILED || r == CUDA_ERROR_LAUNCH_TIMEOUT ||
           r == CUDA_ERROR_HARDWARE_STACK_ERROR || r == CUDA_ERROR_ILLEGAL_INSTRUCTION || r == CUDA_ERROR_MISALIGNED_ADDRESS ||
           r == CUDA_ERROR_INVALID_ADDRESS_SPACE || r == CUDA_ERROR_INVALID_PC || r == CUDA_ERROR_ASSERT ||
           r == CUDA_ERROR_ECC_UNCORRECTABLE;
}

lmf_status lmf_cuda_check(lmf_cuda *d, CUresult r, const char *call, const char *file, int line)
{
    if (r == CUDA_SUCCESS)
        return LMF_OK;
    const char *name = NULL, *text = NULL;
    d->api.cuGetErrorName(r, &name);
    d->api.cuGetErrorString(r, &text);
    lmf_status s = r == CUDA_ERROR_OUT_OF_MEMORY ? LMF_E_MEMORY
                 : r == CUDA_ERROR_NO_BINARY_FOR_GPU || r == CUDA_ERROR_UNSUPPORTED_PTX_VERSION || r == CUDA_ERROR_NOT_SUPPORTED ||
                   r == CUDA_ERROR_NO_DEVICE || r == CUDA_ERROR_SYSTEM_DRIVER_MISMATCH ? LMF_E_UNSUPPORTED : LMF_E_DEVICE;
    return lmf_fail_at(d->base.ctx, file, line, s, "device cuda: %s: %s (%s)%s", call, text ? text : "unknown error", name ? name : "?",
                       is_fatal(r) ? "; the GPU context is lost: this process must be restarted" : "");
}

lmf_status lmf_cuda_enter(lmf_cuda *d)
{
    return LMF_CUDA(d, cuCtxSetCurrent, d->context);
}

size_t lmf_cuda_used_bytes(const char *pci)
{
    struct { unsigned long long total, free, used; } memory = { 0 };
    void *device = NULL;
    void *lib = dlopen("libnvidia-ml.so.1", RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    if (!lib)
        return 0;
    int (*init)(void) = (int (*)(void))(uintptr_t)dlsym(lib, "nvmlInit_v2");
    int (*end)(void) = (int (*)(void))(uintptr_t)dlsym(lib, "nvmlShutdown");
    int (*find)(const char *, void **) = (int (*)(const char *, void **))(uintptr_t)dlsym(lib, "nvmlDeviceGetHandleByPciBusId_v2");
    int (*info)(void *, void *) = (int (*)(void *, void *))(uintptr_t)dlsym(lib, "nvmlDeviceGetMemoryInfo");
    if (init && end && find && info && init() == 0) {
        if (find(pci, &device) || info(device, &memory))
            memory.used = 0;
        end();
    }
    dlclose(lib);
    return (size_t)memory.used;
}

/* Whatever has gone from the GPU since the context was made and was not asked for by alloc: modules, graphs, local memory,
 * the driver's rounding. Other processes on the same GPU blur it, so it is reported and never relied upon. */
void lmf_cuda_measure(lmf_cuda *d)
{
    size_t now = 0, total = 0;
    if (d->api.cuMemGetInfo(&now, &total))
        return;
    size_t gone = d->free_bytes > now ? d->free_bytes - now : 0;
    d->base.library_bytes = d->context_bytes + (gone > d->base.asked_bytes ? gone - d->base.asked_bytes : 0);
}
