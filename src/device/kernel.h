/* SPDX-License-Identifier: Apache-2.0 */
/* kernel: all that a kernel sees. Plain data: a view is one tensor, a call is one kernel row on one node, a worker
 * is who runs it. A row is one way to compute an op on one device; the first row that matches wins.
 *
 * Rows of <op>_cpu.c and <op>_bf16.c partition their *outputs* by worker (lmf_split), so that any worker count gives the same bits.
 * A view's data pointer is fixed from bind to destroy. run allocates nothing, waits for nothing, reads no clock. */
#ifndef LMF_DEVICE_KERNEL_H
#define LMF_DEVICE_KERNEL_H
#include "base/half.h"
#include "device/dtype.h"

enum { LMF_MAX_DIMS = 5, LMF_MAX_IN = 16, LMF_MAX_OUT = 4, LMF_ANY = 0xffff };
enum { LMF_STEP, LMF_WEIGHT, LMF_STATE, LMF_INPUT, LMF_OUTPUT, LMF_CONST }; /* lmf_view.cls: a graph's view of it */

typedef struct lmf_device lmf_device;

typedef struct lmf_view {            /* one tensor */
    void    *data;                   /* NULL on the null device */
    const lmf_format *fmt;           /* host pointer: sizes, unpack, dot; on the CPU resolved to the fastest */
    int64_t  dim[LMF_MAX_DIMS];      /* outermost first; unused are 1 */
    int64_t  stride[LMF_MAX_DIMS];   /* elements; what a kernel row takes is up to its match */
    uint16_t dtype;
    uint8_t  n_dims, cls;
} lmf_view;

typedef struct lmf_call {            /* one kernel row on one node; immutable once bound */
    const struct lmf_kernel *row;
    lmf_status (*ref)(const struct lmf_call *); /* the op's reference: the last row of the CPU */
    const void *attrs;               /* typed; constant while the plan lives: nothing per step is in here */
    void       *prep;                /* made by row->prepare, or NULL */
    void       *scratch;             /* row->scratch bytes, 64-byte aligned, placed by the planner, dead after the call */
    size_t      scratch_bytes;
    const lmf_view *in, *out;        /* an absent optional input has n_dims 0 */
    uint8_t     n_in, n_out;
    uint8_t     barrier;             /* CPU: workers meet before this call */
} lmf_call;

typedef struct lmf_worker {          /* who runs it */
    void *stream;                    /* CUDA: the lmf_stream; CPU: NULL */
    int   i_worker, n_workers;       /* CUDA: 0 of 1 */
    int   phase;                     /* CPU: 0 .. n_phases-1, workers meet in between */
} lmf_worker;

enum { LMF_ROW_WHOLE = 1,            /* called once, outside the team: brings its own threads (oneDNN) */
       LMF_ROW_ANY_WORKERS = 2,      /* same bits for every n_workers */
       LMF_ROW_INVARIANT = 4 };      /* a row's bits don't depend on how many rows there are, nor on chunking */

typedef struct lmf_kernel {          /* one row of <op>_cpu.c or <op>_cuda.c; a table ends with a NULL name */
    const char *name;                /* "matmul_fwd_f32_blocked": also the profiler's name */
    const uint16_t *dtypes;          /* inputs, then outputs; LMF_ANY passes; NULL: all pass */
    uint32_t    flags;               /* LMF_ROW_* */
    uint16_t    n_phases;            /* 0 means 1 */
    uint64_t    needs;               /* CPU: feature bits LMF_CPU_*; CUDA: least capability (75, 80, 90) */
    bool       (*match)(const lmf_call *, const lmf_device *);     /* optional: shapes, strides, alignment, attributes */
    size_t     (*scratch)(const lmf_call *, const lmf_device *);   /* optional: 0. Function of shapes alone */
    lmf_status (*prepare)(lmf_call *, lmf_device *);               /* optional: library objects, at bind */
    void       (*release)(lmf_call *);
    lmf_status (*run)(const lmf_call *, const lmf_worker *);
} lmf_kernel;

struct lmf_cpu_rows {                /* ctx->tables->cpu_rows: ended by op NULL, best ISA first within an op */
    const char       *op;
    const lmf_kernel *rows;
};

/* <op>_cpu.c is compiled once for each ISA level, with LMF_ISA naming it (scalar, avx2, avx512; <op>_bf16.c: avx512bf16, amx) and LMF_ISA_NEEDS its
 * feature bits: a row says .needs = LMF_ISA_NEEDS. The symbol is made by LMF_CPU_ROWS(op). */
#define LMF_CAT2(a, b, c) a##_##b##_##c
#define LMF_CAT(a, b, c) LMF_CAT2(a, b, c)
#define LMF_CPU_ROWS(op) const lmf_kernel LMF_CAT(lmf_cpu_rows, op, LMF_ISA)[]
#define LMF_FORMAT_ROWS(name) const lmf_format_rows LMF_CAT(lmf_format_rows, name, LMF_ISA)[]

static inline int64_t lmf_view_count(const lmf_view *v)            /* elements */
{
    int64_t n = 1;
    for (int i = 0; i < v->n_dims; i++)
        n *= v->dim[i];
    return n;
}
static inline bool lmf_view_is_dense(const lmf_view *v)            /* strides are those of a packed array */
{
    int64_t s = 1;
    for (int i = v->n_dims - 1; i >= 0; s *= v->dim[i], i--)
        if (v->dim[i] != 1 && v->stride[i] != s)
            return false;
    return true;
}
static inline int64_t lmf_view_rows(const lmf_view *v)             /* product of all dims but the innermost */
{
    int64_t n = 1;
    for (int i = 0; i + 1 < v->n_dims; i++)
        n *= v->dim[i];
    return n;
}
static inline void lmf_view_set_dense(lmf_view *v)                 /* strides from dims */
{
    int64_t s = 1;
    for (int i = LMF_MAX_DIMS - 1; i >= 0; i--) {
        if (i >= v->n_dims)
            v->dim[i] = 1;
        v->stride[i] = i < v->n_dims ? s : 0;
        s *= v->dim[i];
    }
}

/* Element access for references: any dtype through f64, element given by its index in row-major order over dims
 * (strides honoured; block formats are dense along the innermost dimension). Packed floats, which references read most, are read
 * in place: a division a dimension costs more than the sum that an element goes into. */
double lmf_get_any(const lmf_view *v, int64_t index);
static inline double lmf_get(const lmf_view *v, int64_t index)
{
    int64_t packed = 1;
    for (int i = v->n_dims - 1; i >= 0; packed *= v->dim[i--])
        if (v->stride[i] != packed)
            return lmf_get_any(v, index);
    switch (v->dtype) {
    case LMF_F32: return ((const float *)v->data)[index];
    case LMF_F64: return ((const double *)v->data)[index];
    case LMF_BF16: return lmf_bf16_to_f32(((const uint16_t *)v->data)[index]);
    default: return lmf_get_any(v, index);
    }
}
void   lmf_set(const lmf_view *v, int64_t index, double value);    /* not for block formats */
int64_t lmf_get_int(const lmf_view *v, int64_t index);             /* I32, I64, U64 exact */

#endif
