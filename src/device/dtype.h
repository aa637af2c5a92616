/* SPDX-License-Identifier: Apache-2.0 */
/* dtype: how numbers lie in memory. A dtype is a number (GGUF's type number; ours start at 200) and a row in
 * ctx->tables->formats, made by one folder src/quant/<name>/. A block of `block` elements takes `block_bytes`;
 * plain types have block 1. Kernels that read any format call its unpack or dot.
 *
 *     const lmf_format *f = lmf_format_get(ctx, LMF_Q4_1);    // NULL: unknown number
 *     size_t bytes = lmf_format_bytes(f, n_elements);         // n_elements a multiple of f->block */
#ifndef LMF_DEVICE_DTYPE_H
#define LMF_DEVICE_DTYPE_H
#include "base/ctx.h"

enum { LMF_F32 = 0, LMF_F16 = 1, LMF_Q4_0 = 2, LMF_Q4_1 = 3, LMF_Q8_0 = 8,
       LMF_I8 = 24, LMF_I16 = 25, LMF_I32 = 26, LMF_I64 = 27, LMF_F64 = 28, LMF_BF16 = 30, LMF_U64 = 200,
       LMF_NF4 = 201 };

/* Activations quantized for integer dots: 32 values a block, q = round(x / d), |q| <= 127. */
typedef struct lmf_act {
    float  d;       /* scale */
    float  s;       /* d * sum of q: what formats with an offset multiply it by */
    int16_t sum[2]; /* of the first and of the last 16 of q: they take a constant out of integer sums */
    int8_t q[32];
} lmf_act;
enum { LMF_ACT_BLOCK = 32, LMF_TILE = 16 };

enum { LMF_FORMAT_FLOAT = 1, LMF_FORMAT_INT = 2, LMF_FORMAT_QUANT = 4 };

/* How lmfast export writes a format: what --help says, and how far the written model may be from the one given. */
typedef struct lmf_format_written {
    const char *summary;      /* what marks it, in a few words; NULL: no model is written in it */
    double      error;        /* of a tensor: root mean square of the difference over that of its values */
    double      dlogit;       /* greatest difference of a logit; 0: no limit */
    double      kl;           /* mean KL, nats a token */
} lmf_format_written;

/* A block format as a quantizer sees it that chooses scales and codes itself: the value of an element is scale * level + offset, where
 * `group` neighbours share scale and offset, and level hangs on the element's code. */
enum { LMF_OFFSET_NONE, LMF_OFFSET_ANY, LMF_OFFSET_BELOW }; /* BELOW: 0 or less, and the scale is 0 or more */
typedef struct lmf_grid {
    uint16_t      n_codes, group;
    uint8_t       offset;     /* LMF_OFFSET_* */
    int16_t       lowest;     /* level of code 0; each next code is a level of one more, unless there is a table */
    const int8_t *level;      /* [n_codes] ascending, or NULL */
    /* A block with scales and offsets (offset NULL: none) of its groups as near to those given as it can hold, which become what it
     * holds; codes are all 0. */
    void (*set)(void *block, float *scale, float *offset);
    void (*put)(void *block, const uint8_t *code); /* codes of a block that `set` made */
} lmf_grid;

typedef struct lmf_format {
    uint16_t    dtype;
    uint16_t    block;        /* elements */
    uint32_t    block_bytes;
    uint32_t    flags;        /* LMF_FORMAT_* */
    const char *name;         /* "q4_1": GGUF's name in lower case */
    uint8_t     n_scales, scale[2]; /* block formats: where in a block the f16, or upper halves of f32, lie that all its values hang on */
    uint16_t    scale_mask;   /* their exponent's bits; 0: those of f16 */
    /* n elements, a multiple of block. Exact: the defined value of each element. Integers have none. */
    void (*unpack)(const void *src, float *dst, int64_t n);
    /* Nearest by the format's own reference rule (the one of llama.cpp's quantizer). NULL: read only. */
    void (*pack)(const float *src, void *dst, int64_t n);
    /* out[j] = sum over k of w[k] * x_j[k], for n_x activation rows x_j = x + j * x_stride blocks; k a multiple of
     * block and of LMF_ACT_BLOCK, n_x 1 .. 8. Each out[j] is the same for any n_x. NULL: unpack instead. */
    void (*dot)(const void *w, const lmf_act *x, int64_t x_stride, int n_x, int64_t k, float *out);
    /* The same for LMF_TILE weight rows that lie row_bytes apart: out[j * LMF_TILE + r] is row r with x_j. Sums in another order than
     * dot, but each is the same for any n_x and any place among the rows. NULL: dot instead. */
    void (*tile)(const void *w, size_t row_bytes, const lmf_act *x, int64_t x_stride, int n_x, int64_t k, float *out);
    uint16_t    file_type;    /* general.file_type of a GGUF file whose weights are mostly of this format; 0: f32, or it has none */
    lmf_format_written written;
    const lmf_grid *grid;     /* NULL: codes can't be chosen from outside */
} lmf_format;

/* A faster version of a format's functions for some CPU features, from <name>_cpu.c; NULL keeps the slower one. */
typedef struct lmf_format_rows {
    uint16_t dtype;
    uint64_t needs;           /* LMF_CPU_* bits */
    void (*unpack)(const void *src, float *dst, int64_t n);
    void (*dot)(const void *w, const lmf_act *x, int64_t x_stride, int n_x, int64_t k, float *out);
    void (*tile)(const void *w, size_t row_bytes, const lmf_act *x, int64_t x_stride, int n_x, int64_t k, float *out);
} lmf_format_rows;

const lmf_format *lmf_format_get(const lmf_ctx *ctx, uint16_t dtype);
const lmf_format *lmf_format_find(const lmf_ctx *ctx, const char *name);
static inline size_t lmf_format_bytes(const lmf_format *f, int64_t n) { return (size_t)(n / f->block) * f->block_bytes; }
/* f with the fastest functions that `features` allow. */
lmf_format lmf_format_resolve(const lmf_ctx *ctx, const lmf_format *f, uint64_t features);

#endif
