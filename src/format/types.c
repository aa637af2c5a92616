/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: these are facts about files, not promises: what can be computed with is in ctx->tables->formats. */
#include "format/types.h"
#include <string.h>
#include "base/checked.h"
#include "format/reader.h"

/* Q8_1 (9) is missing on purpose: it is a form of activations, and its descriptions disagree about its size. */
static const lmf_file_type known[] = {
    { 0, 1, 4, "F32" },       { 1, 1, 2, "F16" },        { 2, 32, 18, "Q4_0" },     { 3, 32, 20, "Q4_1" },
    { 6, 32, 22, "Q5_0" },    { 7, 32, 24, "Q5_1" },     { 8, 32, 34, "Q8_0" },
    { 10, 256, 84, "Q2_K" },  { 11, 256, 110, "Q3_K" },  { 12, 256, 144, "Q4_K" },  { 13, 256, 176, "Q5_K" },
    { 14, 256, 210, "Q6_K" }, { 15, 256, 292, "Q8_K" },  { 16, 256, 66, "IQ2_XXS" }, { 17, 256, 74, "IQ2_XS" },
    { 18, 256, 98, "IQ3_XXS" }, { 19, 256, 50, "IQ1_S" }, { 20, 32, 18, "IQ4_NL" }, { 21, 256, 110, "IQ3_S" },
    { 22, 256, 82, "IQ2_S" }, { 23, 256, 136, "IQ4_XS" }, { 24, 1, 1, "I8" },       { 25, 1, 2, "I16" },
    { 26, 1, 4, "I32" },      { 27, 1, 8, "I64" },       { 28, 1, 8, "F64" },       { 29, 256, 56, "IQ1_M" },
    { 30, 1, 2, "BF16" },     { 34, 256, 54, "TQ1_0" },  { 35, 256, 66, "TQ2_0" },  { 39, 32, 17, "MXFP4" },
    { 40, 64, 36, "NVFP4" },  { 41, 128, 18, "Q1_0" },
};

bool lmf_file_type_get(const lmf_ctx *ctx, uint32_t dtype, lmf_file_type *out)
{
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        if (known[i].dtype == dtype) {
            *out = known[i];
            return true;
        }
    const lmf_format *f = ctx->tables && ctx->tables->formats && dtype < LMF_DTYPE_RAW
                              ? lmf_format_get(ctx, (uint16_t)dtype) : NULL;
    if (f)
        *out = (lmf_file_type){ f->dtype, f->block, f->block_bytes, f->name };
    return f != NULL;
}

bool lmf_file_type_bytes(const lmf_file_type *type, const int64_t *dim, int n_dims, size_t *bytes)
{
    int64_t n = 1, total;
    for (int i = 0; i < n_dims; i++)
        if (dim[i] < 1 || !lmf_mul_i64(n, dim[i], &n))
            return false;
    if (n_dims < 1 || dim[n_dims - 1] % type->block)
        return false;
    if (!lmf_mul_i64(n / type->block, (int64_t)type->block_bytes, &total) || total > INT64_MAX / 2)
        return false;
    *bytes = (size_t)total;
    return true;
}

bool lmf_floats_are_finite(uint16_t dtype, const void *data, size_t bytes)
{
    const uint8_t *p = data;
    /* exponent all ones: infinity or NaN. Or-ing instead of leaving early keeps the loops fast */
    uint64_t bad = 0;
    if (dtype == LMF_F32)
        for (size_t i = 0; i + 4 <= bytes; i += 4)
            bad |= (lmf_le32(p + i) & 0x7f800000u) == 0x7f800000u;
    else if (dtype == LMF_F16 || dtype == LMF_BF16) {
        uint16_t mask = dtype == LMF_F16 ? 0x7c00 : 0x7f80;
        for (size_t i = 0; i + 2 <= bytes; i += 2)
            bad |= (lmf_le16(p + i) & mask) == mask;
    } else if (dtype == LMF_F64)
        for (size_t i = 0; i + 8 <= bytes; i += 8)
            bad |= (lmf_le64(p + i) >> 52 & 0x7ff) == 0x7ff;
    return !bad;
}

bool lmf_scales_are_finite(const lmf_format *f, const void *data, size_t bytes)
{
    const uint8_t *p = data;
    uint64_t bad = 0;
    uint16_t mask = f->scale_mask ? f->scale_mask : 0x7c00;
    for (size_t n = f->n_scales ? bytes / f->block_bytes : 0; n; n--, p += f->block_bytes)
        for (int i = 0; i < f->n_scales; i++)
            bad |= (lmf_le16(p + f->scale[i]) & mask) == mask;
    return !bad;
}
