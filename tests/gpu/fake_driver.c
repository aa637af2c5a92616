/* SPDX-License-Identifier: Apache-2.0 */
/* A libcuda without a GPU: device memory is host memory, a kernel launch is counted and does nothing, a captured graph is
 * the number of launches in it. It shows that the plug-in calls the driver in order and gives everything back; what kernels
 * compute is for test_cuda on a real GPU. fake_cuda_counts says what is held. */
#include <cuda.h>
#include <stdlib.h>
#include <string.h>

typedef struct fake_counts { int contexts, memory, pinned, streams, events, modules, graphs, launches, replays, capturing; size_t bytes; } fake_counts;
static fake_counts counts;
struct CUgraph_st { int launches; };
struct CUgraphExec_st { int launches; };
static int captured;

fake_counts *fake_cuda_counts(void);
fake_counts *fake_cuda_counts(void) { return &counts; }

static void *token(int *count) { ++*count; return malloc(1); }
static CUresult drop(void *p, int *count) { --*count; free(p); return CUDA_SUCCESS; }
enum { TOTAL = 1 << 30 };

CUresult cuInit(unsigned flags) { return flags ? CUDA_ERROR_INVALID_VALUE : CUDA_SUCCESS; }
CUresult cuDriverGetVersion(int *v)
{
    const char *set = getenv("LMF_FAKE_DRIVER_VERSION");
    *v = set ? atoi(set) : CUDA_VERSION;
    return CUDA_SUCCESS;
}
CUresult cuGetErrorName(CUresult r, const char **s) { *s = r == CUDA_ERROR_OUT_OF_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY" : "CUDA_ERROR_UNKNOWN"; return CUDA_SUCCESS; }
CUresult cuGetErrorString(CUresult r, const char **s) { *s = r == CUDA_ERROR_OUT_OF_MEMORY ? "out of memory" : "unknown error"; return CUDA_SUCCESS; }
CUresult cuDeviceGetCount(int *n) { *n = 1; return CUDA_SUCCESS; }
CUresult cuDeviceGet(CUdevice *d, int i) { *d = i; return CUDA_SUCCESS; }
CUresult cuDeviceGetName(char *s, int n, CUdevice d) { (void)d; strncpy(s, "fake", (size_t)n); return CUDA_SUCCESS; }
CUresult cuDeviceGetAttribute(int *v, CUdevice_attribute a, CUdevice d)
{
    const char *set = getenv("LMF_FAKE_CAPABILITY");
    int cc = set ? atoi(set) : 90;
    (void)d;
    *v = a == CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR ? cc / 10 : cc % 10;
    return CUDA_SUCCESS;
}
CUresult cuDeviceGetPCIBusId(char *s, int n, CUdevice d) { (void)d; strncpy(s, "0000:00:00.0", (size_t)n); return CUDA_SUCCESS; }
CUresult cuDevicePrimaryCtxRetain(CUcontext *c, CUdevice d) { (void)d; counts.contexts++; *c = (CUcontext)(void *)&counts; return CUDA_SUCCESS; }
CUresult cuDevicePrimaryCtxRelease(CUdevice d) { (void)d; counts.contexts--; return CUDA_SUCCESS; }
CUresult cuCtxSetCurrent(CUcontext c) { (void)c; return CUDA_SUCCESS; }
CUresult cuMemGetInfo(size_t *f, size_t *t) { *t = TOTAL; *f = TOTAL - counts.bytes; return CUDA_SUCCESS; }

static void *take(size_t n, int *count)
{
    size_t *p = n && counts.bytes + n <= TOTAL ? malloc(n + 64) : NULL;
    if (!p)
        return NULL;
    *p = n;
    counts.bytes += n;
    ++*count;
    return (char *)p + 64;
}
static CUresult give(void *p, int *count)
{
    size_t *base = (size_t *)(void *)((char *)p - 64);
    counts.bytes -= *base;
    --*count;
    free(base);
    return CUDA_SUCCESS;
}
CUresult cuMemAlloc(CUdeviceptr *p, size_t n) { *p = (CUdeviceptr)take(n, &counts.memory); return *p ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY; }
CUresult cuMemFree(CUdeviceptr p) { return give((void *)p, &counts.memory); }
CUresult cuMemHostAlloc(void **p, size_t n, unsigned flags) { (void)flags; *p = take(n, &counts.pinned); return *p ? CUDA_SUCCESS : CUDA_ERROR_OUT_OF_MEMORY; }
CUresult cuMemFreeHost(void *p) { return give(p, &counts.pinned); }
CUresult cuMemcpyAsync(CUdeviceptr d, CUdeviceptr s, size_t n, CUstream t) { (void)t; memcpy((void *)d, (void *)s, n); return CUDA_SUCCESS; }
CUresult cuMemsetD8Async(CUdeviceptr d, unsigned char b, size_t n, CUstream t) { (void)t; memset((void *)d, b, n); return CUDA_SUCCESS; }
CUresult cuStreamCreate(CUstream *s, unsigned flags) { (void)flags; *s = token(&counts.streams); return CUDA_SUCCESS; }
CUresult cuStreamDestroy(CUstream s) { return drop(s, &counts.streams); }
CUresult cuStreamSynchronize(CUstream s) { (void)s; return counts.capturing ? CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED : CUDA_SUCCESS; }
CUresult cuEventSynchronize(CUevent e) { return e ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE; }
CUresult cuStreamBeginCapture(CUstream s, CUstreamCaptureMode m)
{
    (void)s; (void)m;
    if (counts.capturing)
        return CUDA_ERROR_ILLEGAL_STATE;
    counts.capturing = 1;
    captured = 0;
    return CUDA_SUCCESS;
}
CUresult cuStreamEndCapture(CUstream s, CUgraph *g)
{
    (void)s;
    if (!counts.capturing)
        return CUDA_ERROR_ILLEGAL_STATE;
    counts.capturing = 0;
    *g = malloc(sizeof **g);
    counts.graphs++;
    (*g)->launches = captured;
    return CUDA_SUCCESS;
}
CUresult cuEventCreate(CUevent *e, unsigned flags) { (void)flags; *e = token(&counts.events); return CUDA_SUCCESS; }
CUresult cuEventDestroy(CUevent e) { return drop(e, &counts.events); }
CUresult cuEventRecord(CUevent e, CUstream s) { (void)s; return e ? CUDA_SUCCESS : CUDA_ERROR_INVALID_HANDLE; }
/* A real module load is refused in capture; the fatbin's magic number is checked. */
CUresult cuModuleLoadData(CUmodule *m, const void *image)
{
    if (counts.capturing || *(const unsigned *)image != 0xba55ed50u)
        return CUDA_ERROR_INVALID_IMAGE;
    *m = token(&counts.modules);
    return CUDA_SUCCESS;
}
CUresult cuModuleUnload(CUmodule m) { return drop(m, &counts.modules); }
CUresult cuModuleGetFunction(CUfunction *f, CUmodule m, const char *name) { *f = m && *name ? (CUfunction)(void *)&counts : NULL; return *f ? CUDA_SUCCESS : CUDA_ERROR_NOT_FOUND; }
CUresult cuFuncSetAttribute(CUfunction f, CUfunction_attribute a, int v) { (void)a; return f && v > 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE; }
CUresult cuModuleGetGlobal(CUdeviceptr *p, size_t *n, CUmodule m, const char *name)
{
    (void)p; (void)n; (void)m; (void)name;
    return CUDA_ERROR_NOT_FOUND;
}
CUresult cuLaunchKernelEx(const CUlaunchConfig *c, CUfunction f, void **args, void **extra)
{
    unsigned gx = c->gridDimX, gy = c->gridDimY, gz = c->gridDimZ, threads = c->blockDimX * c->blockDimY * c->blockDimZ;
    if (!f || !c->hStream || !args || extra || c->numAttrs || !gx || gy > 65535 || gz > 65535 || !gy || !gz || !threads || threads > 1024)
        return CUDA_ERROR_INVALID_VALUE;
    ++*(counts.capturing ? &captured : &counts.launches);
    return CUDA_SUCCESS;
}
CUresult cuGraphInstantiateWithFlags(CUgraphExec *e, CUgraph g, unsigned long long flags)
{
    (void)flags;
    *e = malloc(sizeof **e);
    counts.graphs++;
    (*e)->launches = g->launches;
    return CUDA_SUCCESS;
}
CUresult cuTensorMapEncodeTiled(CUtensorMap *m, CUtensorMapDataType t, cuuint32_t n, void *at, const cuuint64_t *dim,
                                const cuuint64_t *stride, const cuuint32_t *box, const cuuint32_t *step, CUtensorMapInterleave i,
                                CUtensorMapSwizzle s, CUtensorMapL2promotion l, CUtensorMapFloatOOBfill f)
{
    (void)t; (void)dim; (void)stride; (void)box; (void)step; (void)i; (void)s; (void)l; (void)f;
    return m && n && n <= 5 && (uintptr_t)at % 16 == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE;
}
CUresult cuGraphUpload(CUgraphExec e, CUstream s) { (void)s; return e ? CUDA_SUCCESS : CUDA_ERROR_INVALID_VALUE; }
CUresult cuGraphLaunch(CUgraphExec e, CUstream s) { (void)s; counts.replays++; counts.launches += e->launches; return CUDA_SUCCESS; }
CUresult cuGraphDestroy(CUgraph g) { return drop(g, &counts.graphs); }
CUresult cuGraphExecDestroy(CUgraphExec e) { return drop(e, &counts.graphs); }
