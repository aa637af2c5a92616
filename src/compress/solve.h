/* SPDX-License-Identifier: Apache-2.0 */
/* solve: codes and scales of a matrix's rows, for a block format with a grid. Rows don't depend on each other.
 *
 *   without h: scales by a search for the least error weighted by `importance`, then the nearest codes;
 *   with h (X^T X of what the layer reads, damped): scales as before; codes one column after the other, in the order of falling h[j, j],
 *     each taking the errors made so far into account (GPTQ, arXiv 2210.17323, in the form of LDLQ, 2307.13304: no inverse is needed); then
 *     rounds of single steps down: the best code of each column given all others, the best scales of each block given its codes.
 *   What falls is tr((W - Q) h (W - Q)^T), the squared error of the layer's output.
 * Same bits for any number of workers. Not for others. */
#ifndef LMF_COMPRESS_SOLVE_H
#define LMF_COMPRESS_SOLVE_H
#include "base/team.h"
#include "device/dtype.h"
#include "device/kernel.h"

typedef struct lmf__solve {
    const void       *src; const lmf_format *src_fmt;  /* [n, k] */
    void             *dst; const lmf_format *dst_fmt;  /* has a grid */
    int64_t           n, k;
    const float      *importance;      /* [k], 0 or more */
    const float      *h;               /* [k, k] symmetric, or NULL */
    const float      *l;               /* [k, k] unit lower: h, rows and columns in `order`, is l d l^T */
    const int32_t    *order;           /* [k] by rising h[j, j]: the last is chosen first */
    const lmf_format *f32;
    float            *room;            /* level.floats(k) for each worker, 64-byte aligned */
    double           *sums;            /* 4 a worker: error and size, plain and weighted by h (or importance) */
} lmf__solve;

/* Rows that worker i takes. */
typedef void (*lmf__solve_fn)(const lmf__solve *s, int i_worker, int n_workers);
/* Cholesky of a [k, k] in place, lower; then rows divided by the diagonal's, so that l is unit. ok: set to false where a is not positive
 * definite. room: as above. By all workers of a team. */
typedef struct lmf__factor { float *a; int64_t k; const lmf_format *f32; float *room; lmf_team *team; bool ok; } lmf__factor;
typedef void (*lmf__factor_fn)(lmf__factor *f, int i_worker, int n_workers);

#define LMF__SOLVE_LEVEL(isa) \
    void lmf__solve_rows_##isa(const lmf__solve *s, int i_worker, int n_workers); \
    void lmf__solve_factor_##isa(lmf__factor *f, int i_worker, int n_workers); \
    int64_t lmf__solve_floats_##isa(int64_t k);
LMF__SOLVE_LEVEL(scalar)
#if defined(LMF_X86_LEVELS)
LMF__SOLVE_LEVEL(avx2)
LMF__SOLVE_LEVEL(avx512)
#endif
typedef struct lmf__solve_level { lmf__solve_fn rows; lmf__factor_fn factor; int64_t (*floats)(int64_t k); } lmf__solve_level;
lmf__solve_level lmf__solve_pick(uint64_t cpu_features);

#endif
