/* SPDX-License-Identifier: Apache-2.0 */
/* onednn: what a row of <op>_onednn.c may use: products by oneDNN, which brings its own threads (so LMF_ROW_WHOLE). A product
 * is made in prepare and destroyed in release; a run asks our allocator for nothing and works in the scratch it is given.
 * oneDNN picks its code by CPU, thread count and shape, and a row of y may depend on how many rows there are: such rows
 * carry neither LMF_ROW_ANY_WORKERS nor LMF_ROW_INVARIANT.
 *
 *     LMF_ONEDNN_ROWS(matmul) = { { .name = "matmul_fwd_f32_onednn", .flags = LMF_ROW_WHOLE, ... }, { 0 } }; */
#ifndef LMF_DEVICE_ONEDNN_ONEDNN_H
#define LMF_DEVICE_ONEDNN_ONEDNN_H
#include "device/device.h"

#define LMF_ONEDNN_ROWS(op) const lmf_kernel lmf_onednn_rows_##op[]

typedef struct lmf_dnn_gemm {        /* in f32: y[m, n] = alpha * sum over k of a[m, k] b[k, n] + c[m, n] */
    int64_t m, n, k;                 /* all above 0 */
    int64_t a_stride[2], b_stride[2];/* elements, of (m, k) and of (k, n); one of each is 1 */
    int64_t y_stride;                /* of m */
    bool    has_c;
    int64_t c_stride;                /* of m; 0: one row for all */
    float   alpha;
    int     n_workers;
} lmf_dnn_gemm;

typedef struct lmf_dnn lmf_dnn;      /* a product that can run */

/* Whether oneDNN has code of its own for it (not its plain reference), and the scratch that it needs. */
bool       lmf_dnn_supports(const lmf_dnn_gemm *g, size_t *scratch_bytes);
lmf_status lmf_dnn_create(lmf_ctx *ctx, const lmf_dnn_gemm *g, lmf_dnn **out);
void       lmf_dnn_destroy(lmf_dnn *d);                                  /* NULL is fine */
lmf_status lmf_dnn_run(lmf_dnn *d, const void *a, const void *b, const float *c, float *y, void *scratch);

extern const struct lmf_cpu_rows lmf_onednn_tables[];                    /* generated: one a LMF_ONEDNN_ROWS(op) */

#endif
