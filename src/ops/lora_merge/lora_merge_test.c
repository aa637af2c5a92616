/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "base/half.h"
#include "op_case.h"
#include "ops/lora_merge/lora_merge.h"
#include "test.h"

LMF_OP_CASES(lora_merge) = {
    { "lora_merge", "odd", "w:f32[11,21] p!:f32[3,21] q!:f32[11,3]", "scale=2", "normal", "0x1p-7 + 0x1p-24 n mag" },
    { "lora_merge", "q4_1, as in training", "w:q4_1[40,64] p!:f32[16,64] q!:f32[40,16]", "scale=2", "normal" },
    { "lora_merge", "rank 33, bf16", "w:bf16[9,50] p!:f32[33,50] q!:f32[9,33]", "scale=-0.5", "normal" },
    { "lora_merge", "rank 20, rows that are no fours", "w:bf16[9,52] p:f32[20,52] q:f32[9,20]", "scale=-0.5", "normal" },
    { "lora_merge", "q8_0, rank 1", "w:q8_0[17,96] p!:f32[1,96] q!:f32[17,1]", "scale=1", "normal" },
    { "lora_merge", "one row", "w:f16[1,7] p:f32[2,7] q:f32[1,2]", "scale=1", "normal" },
    { "lora_merge", "wide", "w:q4_0[70,1536] p:f32[16,1536] q:f32[70,16]", "scale=2", "small" },
    { "lora_merge", "p does not fit", "w:f32[11,21] p:f32[3,20] q:f32[11,3]", "scale=2", "refused:E_SHAPE" },
    { "lora_merge", "q does not fit", "w:f32[11,21] p:f32[3,21] q:f32[11,4]", "scale=2", "refused:E_SHAPE" },
    { "lora_merge", "w of integers", "w:i32[11,21]<9 p:f32[3,21] q:f32[11,3]", "scale=2", "refused:E_DTYPE" },
    { "lora_merge", "p in half", "w:f32[11,21] p:f16[3,21] q:f32[11,3]", "scale=2", "refused:E_DTYPE" },
    { "lora_merge_bwd", "odd", "dy:f32[11,21] p:f32[3,21] q:f32[11,3]", "scale=2", "normal", "0x1p-24 n mag" },
    { "lora_merge_bwd", "several pieces, rank 17", "dy:f32[131,150] p:f32[17,150] q:f32[131,17]", "scale=0.25", "normal" },
    { "lora_merge_bwd", "bf16", "dy:bf16[67,50] p:f32[16,50] q:f32[67,16]", "scale=2", "normal" },
    { "lora_merge_bwd", "one row", "dy:f32[1,64] p:f32[16,64] q:f32[1,16]", "scale=2", "normal" },
    { "lora_merge_bwd", "dy in half", "dy:f16[11,21] p:f32[3,21] q:f32[11,3]", "scale=2", "refused:E_DTYPE" },
    { 0 }
};

static lmf_view matrix(lmf_ctx *ctx, uint16_t dtype, int64_t rows, int64_t columns, void *data)
{
    lmf_view v = { .data = data, .fmt = lmf_format_get(ctx, dtype), .dim = { rows, columns }, .dtype = dtype, .n_dims = 2 };
    lmf_view_set_dense(&v);
    return v;
}

/* A share of an eighth of a unit in the last place of a weight that fills its bf16 is not lost: an eighth of the elements goes up. With
 * a pair of zeros the weight is what it was. */
static void small_shares_count(void **state)
{
    enum { N = 64, K = 64 };
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    static uint16_t w[N * K], y[N * K];
    float p[K], q[N];
    for (int i = 0; i < N * K; i++)
        w[i] = lmf_f32_to_bf16(0.0625f + 0.000244140625f * (float)(i % 100)); /* the spacing there is 2^-11 */
    for (int i = 0; i < K; i++)
        p[i] = 1;
    for (int pass = 0; pass < 2; pass++) {
        double up = 0, sum = 0;
        for (int i = 0; i < N; i++)
            q[i] = pass ? 0x1p-15f : 0;
        lmf_view in[] = { matrix(ctx, LMF_BF16, N, K, w), matrix(ctx, LMF_F32, 1, K, p), matrix(ctx, LMF_F32, N, 1, q) };
        lmf_view out = matrix(ctx, LMF_BF16, N, K, y);
        assert_ok(ctx, lmf_op_lora_merge.ref(&(lmf_call){ .attrs = &(lmf_lora_merge_attrs){ 2 }, .in = in, .out = &out, .n_in = 3,
                                                          .n_out = 1 }));
        for (int i = 0; i < N * K; i++) {
            up += y[i] != w[i];
            sum += (double)(lmf_bf16_to_f32(y[i]) - lmf_bf16_to_f32(w[i]));
        }
        if (!pass)
            assert_true(up == 0);
        else if (fabs(sum / (N * K) - 0x1p-14) > 0.1 * 0x1p-14 || up == 0 || up == N * K)
            fail_msg("the mean share is %g, not %g; %g of %d elements moved", sum / (N * K), 0x1p-14, up, N * K);
    }
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(lora_merge) = { { "small shares count", small_shares_count }, { 0 } };
