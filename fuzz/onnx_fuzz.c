/* SPDX-License-Identifier: Apache-2.0 */
/* onnx_fuzz: any bytes as an ONNX model. What is accepted is read through; broken promises (onnx.h) are crashes. */
#include <string.h>
#include "format/onnx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    lmf_ctx ctx;
    lmf_onnx *o;
    uint64_t sum = 0;
    lmf_ctx_init(&ctx, NULL);
    lmf_status s = lmf_onnx_parse(&ctx, data, n, &o);
    LMF_ASSERT((s == LMF_OK) == (o != NULL) && (!s || *lmf_error(&ctx)));
    for (int32_t i = 0; o && i < o->n_tensors; i++) {
        const lmf_onnx_tensor *t = &o->tensors[i];
        LMF_ASSERT(lmf_onnx_find(o, t->name) == t && t->n_dims <= LMF_ONNX_MAX_DIMS);
        LMF_ASSERT(t->bytes == 0 || (t->data >= data && t->bytes <= n && (size_t)(t->data - data) <= n - t->bytes));
        for (size_t k = 0; k < t->bytes; k++)
            sum += t->data[k];
    }
    for (int32_t i = 0; o && i < o->n_outputs; i++)
        sum += strlen(o->outputs[i]);
    lmf_onnx_close(o);
    LMF_ASSERT(ctx.live_bytes == 0 && ctx.peak_bytes <= 64 * n + (8u << 20));
    lmf_ctx_clear(&ctx);
    return sum == UINT64_MAX; /* keeps the reads; never so */
}
