/* SPDX-License-Identifier: Apache-2.0 */
/* blas: large products on the matrix units by cuBLASLt, which is opened at run time where it is installed (CUDA toolkit, or
 * PyTorch's wheels on the library path) and never needed. A product is described once, at bind: layouts and the library's
 * first choice of algorithm are kept in call->prep, so a run only launches and can be captured.
 *
 *     prepare: lmf_cuda_product_create(dev, &spec, &c->prep)
 *     run:     lmf_cuda_product_run(wk, c->prep, a, b, add, y, alpha, c->scratch)
 *     release: lmf_cuda_product_destroy(c->prep)
 *
 * scratch holds LMF_CUDA_PRODUCT_WORKSPACE bytes. The same library version, shapes and GPU give the same bits. */
#ifndef LMF_DEVICE_CUDA_BLAS_H
#define LMF_DEVICE_CUDA_BLAS_H
#include "device/cuda/cuda.h"

enum { LMF_CUDA_PRODUCT_WORKSPACE = 32 << 20 };   /* what the vendor advises for Hopper */

typedef struct lmf_cuda_product_spec {            /* y[m, n] = alpha op(a) op(b) + add, all row by row */
    int64_t  m, n, k;
    int      ta, tb;                              /* 1: a is [k, m], b is [n, k] */
    int64_t  a_stride, b_stride, add_stride, y_stride; /* elements between rows */
    uint16_t dtype, y_dtype;                      /* of a and b: bf16, f16 or f32; of y and add: the same or f32 */
    int      add;                                 /* 0: none, 1: a matrix, 2: one row for all, of y's dtype */
    size_t   alignment;                           /* bytes: every address is a multiple of it; a power of two */
} lmf_cuda_product_spec;

/* Whether the device found the library when it was opened. A GPU's rows may ask. */
bool       lmf_cuda_has_blas(const lmf_device *dev);
lmf_status lmf_cuda_product_create(lmf_device *dev, const lmf_cuda_product_spec *spec, void **out);
lmf_status lmf_cuda_product_run(const lmf_worker *wk, void *product, const void *a, const void *b, const void *add, void *y, float alpha,
                                void *workspace);
void       lmf_cuda_product_destroy(void *product); /* NULL is fine */

#endif
