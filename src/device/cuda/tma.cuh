/* SPDX-License-Identifier: Apache-2.0 */
/* tma: tiles brought by the copy engine, and barriers in shared memory that count their bytes. A ring of stages: full barriers (one
 * arrival, of who asks for the bytes) and empty ones (an arrival a warp that has read, in every block of the cluster that fills it).
 * PTX ISA: mbarrier, cp.async.bulk.tensor, setmaxnreg. For sm_90a alone: elsewhere the bodies are empty. */
#ifndef LMF_DEVICE_CUDA_TMA_CUH
#define LMF_DEVICE_CUDA_TMA_CUH
#include "device/cuda/cluster.cuh"
#include "device/cuda/map.h"
#include "device/cuda/wgmma.cuh"

static __device__ __forceinline__ unsigned lmf_shared_at(const void *p) { return (unsigned)__cvta_generic_to_shared(p); }

static __device__ __forceinline__ void lmf_bar_init(unsigned bar, int count)
{
#if LMF_WG
    asm volatile("mbarrier.init.shared::cta.b64 [%0], %1;" ::"r"(bar), "r"(count) : "memory");
#endif
}
static __device__ __forceinline__ void lmf_bar_made(void) /* behind the last init, by the thread that made them */
{
#if LMF_WG
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
#endif
}
static __device__ __forceinline__ void lmf_bar_expect(unsigned bar, int bytes)
{
#if LMF_WG
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(bar), "r"(bytes) : "memory");
#endif
}
static __device__ __forceinline__ void lmf_bar_arrive(unsigned bar, int block) /* the same barrier in that block of the cluster */
{
#if LMF_WG
    asm volatile("{\n.reg .b32 at;\nmapa.shared::cluster.u32 at, %0, %1;\n"
                 "mbarrier.arrive.release.cluster.shared::cluster.b64 _, [at];\n}\n" ::"r"(bar), "r"(block) : "memory");
#endif
}
static __device__ __forceinline__ void lmf_bar_wait(unsigned bar, unsigned parity)
{
#if LMF_WG
    asm volatile("{\n.reg .pred p;\nAGAIN:\n"
                 "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 p, [%0], %1;\n@p bra DONE;\nbra AGAIN;\nDONE:\n}\n" ::"r"(bar), "r"(parity) : "memory");
#endif
}

/* A box at (x, y) of a map of two dims; the same to the same place in every block of mask. */
static __device__ __forceinline__ void lmf_tma_2d(unsigned to, const lmf_cuda_map &m, int x, int y, unsigned bar)
{
#if LMF_WG
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%0], [%1, {%2, %3}], [%4];"
                 ::"r"(to), "l"(&m), "r"(x), "r"(y), "r"(bar)
                 : "memory");
#endif
}
static __device__ __forceinline__ void lmf_tma_2d_all(unsigned to, const lmf_cuda_map &m, int x, int y, unsigned bar, unsigned mask)
{
#if LMF_WG
    asm volatile("cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
                 "[%0], [%1, {%2, %3}], [%4], %5;" ::"r"(to), "l"(&m), "r"(x), "r"(y), "r"(bar), "h"((unsigned short)mask)
                 : "memory");
#endif
}
/* At (x, 0, 0, 0, y) of a map of five. */
static __device__ __forceinline__ void lmf_tma_5d_all(unsigned to, const lmf_cuda_map &m, int x, int y, unsigned bar, unsigned mask)
{
#if LMF_WG
    asm volatile("cp.async.bulk.tensor.5d.shared::cluster.global.mbarrier::complete_tx::bytes.multicast::cluster "
                 "[%0], [%1, {%2, %3, %3, %3, %4}], [%5], %6;" ::"r"(to), "l"(&m), "r"(x), "r"(0), "r"(y), "r"(bar), "h"((unsigned short)mask)
                 : "memory");
#endif
}

template <int n> static __device__ __forceinline__ void lmf_fewer_registers(void)
{
#if LMF_WG
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(n));
#endif
}
template <int n> static __device__ __forceinline__ void lmf_more_registers(void)
{
#if LMF_WG
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(n));
#endif
}

#endif
