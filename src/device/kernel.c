/* SPDX-License-Identifier: Apache-2.0 */
#include "device/kernel.h"
#include <string.h>
#include "base/half.h"

/* Offset in elements of the index-th element; block formats count whole blocks along the innermost dimension. */
static int64_t element_offset(const lmf_view *v, int64_t index)
{
    int64_t at = 0;
    for (int i = v->n_dims - 1; i >= 0; i--) {
        at += index % v->dim[i] * v->stride[i];
        index /= v->dim[i];
    }
    return at;
}

/* Not inlined: its block would be room that every call takes and, under sanitizers, paints. */
static __attribute__((noinline)) double get_in_block(const lmf_view *v, int64_t at)
{
    float block[1024];
    LMF_ASSERT(v->fmt->block <= 1024 && v->fmt->unpack);
    v->fmt->unpack((const char *)v->data + (size_t)(at / v->fmt->block) * v->fmt->block_bytes, block, v->fmt->block);
    return block[at % v->fmt->block];
}

double lmf_get_any(const lmf_view *v, int64_t index)
{
    int64_t at = element_offset(v, index);
    switch (v->dtype) {
    case LMF_F32: return ((const float *)v->data)[at];
    case LMF_F64: return ((const double *)v->data)[at];
    case LMF_F16: return lmf_f16_to_f32(((const uint16_t *)v->data)[at]);
    case LMF_BF16: return lmf_bf16_to_f32(((const uint16_t *)v->data)[at]);
    case LMF_I8: return ((const int8_t *)v->data)[at];
    case LMF_I16: return ((const int16_t *)v->data)[at];
    case LMF_I32: return ((const int32_t *)v->data)[at];
    case LMF_I64: return (double)((const int64_t *)v->data)[at];
    case LMF_U64: return (double)((const uint64_t *)v->data)[at];
    }
    return get_in_block(v, at);
}

int64_t lmf_get_int(const lmf_view *v, int64_t index)
{
    int64_t at = element_offset(v, index);
    if (v->dtype == LMF_I64 || v->dtype == LMF_U64)
        return ((const int64_t *)v->data)[at];
    return (int64_t)lmf_get(v, index);
}

void lmf_set(const lmf_view *v, int64_t index, double value)
{
    int64_t at = element_offset(v, index);
    switch (v->dtype) {
    case LMF_F32: ((float *)v->data)[at] = (float)value; return;
    case LMF_F64: ((double *)v->data)[at] = value; return;
    case LMF_F16: ((uint16_t *)v->data)[at] = lmf_f32_to_f16((float)value); return;
    case LMF_BF16: ((uint16_t *)v->data)[at] = lmf_f32_to_bf16((float)value); return;
    case LMF_I8: ((int8_t *)v->data)[at] = (int8_t)value; return;
    case LMF_I16: ((int16_t *)v->data)[at] = (int16_t)value; return;
    case LMF_I32: ((int32_t *)v->data)[at] = (int32_t)value; return;
    case LMF_I64: ((int64_t *)v->data)[at] = (int64_t)value; return;
    case LMF_U64: ((uint64_t *)v->data)[at] = (uint64_t)value; return;
    }
    LMF_ASSERT(!"a block format is packed by its own pack");
}
