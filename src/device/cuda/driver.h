/* SPDX-License-Identifier: Apache-2.0 */
/* driver: the CUDA driver as this plug-in sees it: a table of its functions, found in libcuda at run time (nothing is
 * linked), and the device struct. Private to device/cuda; the plug-in's symbols are hidden but for lmf_plugin_get.
 *
 * Every call that can fail goes through LMF_CUDA, which passes the context's shim and makes a sentence of the error:
 *
 *     LMF_TRY(LMF_CUDA(d, cuStreamSynchronize, stream->handle)); */
#ifndef LMF_DEVICE_CUDA_DRIVER_H
#define LMF_DEVICE_CUDA_DRIVER_H
#include <cuda.h>
#include "device/cuda/cuda.h"

#define LMF_CUDA_FUNCTIONS(X)                                                                                         \
    X(cuInit) X(cuDriverGetVersion) X(cuGetErrorName) X(cuGetErrorString) X(cuDeviceGetCount) X(cuDeviceGet)          \
    X(cuDeviceGetName) X(cuDeviceGetAttribute) X(cuDeviceGetPCIBusId) X(cuDevicePrimaryCtxRetain)                     \
    X(cuDevicePrimaryCtxRelease) X(cuCtxSetCurrent) X(cuMemGetInfo) X(cuMemAlloc) X(cuMemFree) X(cuMemHostAlloc)      \
    X(cuMemFreeHost) X(cuMemcpyAsync) X(cuMemsetD8Async) X(cuStreamCreate) X(cuStreamDestroy) X(cuStreamSynchronize)  \
    X(cuEventSynchronize) X(cuStreamBeginCapture) X(cuStreamEndCapture) X(cuEventCreate) X(cuEventDestroy)             \
    X(cuEventRecord) X(cuModuleLoadData) X(cuModuleUnload) X(cuModuleGetFunction) X(cuModuleGetGlobal) X(cuFuncSetAttribute)               \
    X(cuLaunchKernelEx) X(cuGraphInstantiateWithFlags) X(cuGraphUpload) X(cuGraphLaunch) X(cuGraphDestroy)              \
    X(cuGraphExecDestroy) X(cuTensorMapEncodeTiled)

typedef struct lmf_cuda_api {
#define X(name) __typeof__(&name) name;   /* cuda.h renames some to their _v2: here and in every use alike */
    LMF_CUDA_FUNCTIONS(X)
#undef X
} lmf_cuda_api;

typedef struct lmf_cuda_module { const char *name; const void *fatbin; } lmf_cuda_module;
typedef struct lmf_cuda_table { const char *op; const lmf_kernel *const *rows; } lmf_cuda_table;
extern const lmf_cuda_module lmf_cuda_modules[];   /* generated: one a .cu file; ended by name NULL */
extern const lmf_cuda_table lmf_cuda_tables[];     /* generated: one a LMF_CUDA_ROWS(op); ended by op NULL */

enum { LMF_CUDA_EVENTS = LMF_DEVICE_EVENTS };

typedef struct lmf_cuda lmf_cuda;
typedef struct lmf_cuda_blas lmf_cuda_blas;
struct lmf_stream {              /* what lmf_worker.stream points to */
    lmf_cuda *cuda;
    CUstream  handle;
    bool      resolving;         /* launches only look up their kernels */
};

typedef struct lmf_cuda_function { const char *module, *name; CUfunction handle; uint32_t shared; bool early; } lmf_cuda_function;

struct lmf_cuda {
    lmf_device   base;           /* features: compute capability as 75, 80, 90 */
    void        *lib;            /* libcuda */
    lmf_cuda_api api;
    CUdevice     device;
    CUcontext    context;        /* the primary one, or NULL */
    lmf_stream   own;            /* for copies that name no stream, and for capture */
    CUevent      event[LMF_CUDA_EVENTS];
    CUmodule    *modules;        /* in the order of lmf_cuda_modules; NULL: not loaded yet */
    int          n_modules;
    lmf_cuda_function *functions; int n_functions, cap_functions;
    lmf_cuda_blas *blas;         /* cuBLASLt, or NULL */
    size_t       free_bytes;     /* when the context had just been made */
    size_t       context_bytes;  /* taken by making it; 0 where NVML can't tell */
    char         name[96];       /* "NVIDIA H100 80GB HBM3" */
};

lmf_status lmf_cuda_load_driver(lmf_cuda *d);      /* refuses with a sentence: no driver, too old, a function missing */
lmf_status lmf_cuda_check(lmf_cuda *d, CUresult r, const char *call, const char *file, int line);
CUresult   lmf_cuda_gate(lmf_cuda *d);             /* 0, or the error that a test injects here */
#define LMF_CUDA(d, fn, ...) lmf_cuda_check((d), lmf_cuda_gate(d) ?: (d)->api.fn(__VA_ARGS__), #fn, __FILE__, __LINE__)
/* Makes the context current on this thread; every function of the device table starts with it. */
lmf_status lmf_cuda_enter(lmf_cuda *d);
/* What NVML says is in use on the GPU of that PCI address by all processes; 0 where NVML is not there. */
size_t     lmf_cuda_used_bytes(const char *pci);
void       lmf_cuda_measure(lmf_cuda *d);          /* sets base.library_bytes */

/* *out NULL where the library is not there: then there are no rows of it. The context must be current. */
lmf_status lmf_cuda_blas_open(lmf_ctx *ctx, lmf_cuda_blas **out);
void       lmf_cuda_blas_close(lmf_ctx *ctx, lmf_cuda_blas *b);

lmf_status lmf_cuda_program_create(lmf_device *dev, const lmf_call *calls, int n, bool eager, lmf_program **out);
lmf_status lmf_cuda_program_launch(lmf_device *dev, lmf_stream *stream, lmf_program *p);
void       lmf_cuda_program_destroy(lmf_device *dev, lmf_program *p);

extern const lmf_device_ops lmf_cuda_device;

#endif
