/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "op_case.h"
#include "ops/segment_sum/segment_sum.h"
#include "test.h"

LMF_OP_CASES(segment_sum) = {
    { "segment_sum", "three, one of them empty", "x!:f32[9] start:i32[4]=0,4,4,9", "", "normal", "0x1p-24 mag" },
    { "segment_sum", "elements in none", "x!:f32[9] start:i32[3]=2,5,7", "", "normal" },
    { "segment_sum", "bounds outside x", "x!:f32[6] start:i32[4]=-3,2,5,99", "", "normal" },
    { "segment_sum", "one that is all", "x!:f32[300] start:i32[2]=0,300", "", "normal" },
    { "segment_sum", "each its own", "x!:f32[5] start:i32[6]=0,1,...", "", "normal" },
    { "segment_sum", "no segment", "x:f32[5] start:i32[1]=0", "", "normal" },
    { "segment_sum", "no element", "x:f32[0] start:i32[3]=0,0,0", "", "normal" },
    { "segment_sum_bwd", "three, one of them empty", "d_y:f32[3] start:i32[4]=0,4,4,8 x:f32[9]", "", "normal", "0" },
    { "segment_sum", "weighed", "x!:f32[9] start:i32[4]=0,4,4,9 weight:f32[9]", "", "normal" },
    { "segment_sum", "elements that don't count", "x!:f32[6] start:i32[3]=0,3,6 weight:f32[6]=1,0,0.5,0,0,-2", "", "normal" },
    { "segment_sum_bwd", "weighed", "d_y:f32[3] start:i32[4]=0,4,4,8 x:f32[9] weight:f32[9]", "", "normal", "0x1p-24" },
    { "segment_sum", "a weight short", "x:f32[5] start:i32[3]=0,1,5 weight:f32[4]", "", "refused:E_SHAPE" },
    { "segment_sum", "whole weights", "x:f32[5] start:i32[3]=0,1,5 weight:i32[5]<3", "", "refused:E_DTYPE" },
    { "segment_sum", "no bounds", "x:f32[5] start:i32[0]", "", "refused:E_SHAPE" },
    { "segment_sum", "a matrix", "x:f32[5,2] start:i32[3]=0,1,5", "", "refused:E_SHAPE" },
    { "segment_sum", "float bounds", "x:f32[5] start:f32[3]", "", "refused:E_DTYPE" },
    { "segment_sum_bwd", "a gradient too many", "d_y:f32[4] start:i32[4]=0,4,4,8 x:f32[9]", "", "refused:E_SHAPE" },
    { 0 }
};

static lmf_view vector(const lmf_format *fmt, int64_t n, void *data)
{
    lmf_view v = { .data = data, .fmt = fmt, .dim = { n }, .dtype = fmt->dtype, .n_dims = 1 };
    lmf_view_set_dense(&v);
    return v;
}

/* What the sums are, by hand: the harness has the reference alone to go by. */
static void by_hand(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    float x[] = { 1, 2, 4, 8, 16, 32 }, y[4], d_y[] = { 3, 5, 7, 9 }, d_x[6];
    int32_t start[] = { -1, 2, 2, 5, 9 };
    static const float want[] = { 3, 0, 28, 32 }, want_d[] = { 3, 3, 7, 7, 7, 9 };
    const lmf_format *f32 = lmf_format_get(ctx, LMF_F32), *i32 = lmf_format_get(ctx, LMF_I32);
    lmf_view in[] = { vector(f32, 6, x), vector(i32, 5, start) };
    lmf_view out = vector(f32, 4, y);
    assert_ok(ctx, lmf_op_segment_sum.ref(&(lmf_call){ .in = in, .out = &out, .n_in = 2, .n_out = 1 }));
    assert_memory_equal(y, want, sizeof want);
    lmf_view back[] = { vector(f32, 4, d_y), in[1], in[0] };
    out = vector(f32, 6, d_x);
    assert_ok(ctx, lmf_op_segment_sum_bwd.ref(&(lmf_call){ .in = back, .out = &out, .n_in = 3, .n_out = 1 }));
    assert_memory_equal(d_x, want_d, sizeof want_d);
    float w[] = { 1, 0, 0.5f, 2, 1, -1 };
    static const float weighed[] = { 1, 0, 34, -32 }, weighed_d[] = { 3, 0, 3.5f, 14, 7, -9 };
    x[1] = NAN; /* has no weight */
    lmf_view of_weight[] = { in[0], in[1], vector(f32, 6, w) };
    out = vector(f32, 4, y);
    assert_ok(ctx, lmf_op_segment_sum.ref(&(lmf_call){ .in = of_weight, .out = &out, .n_in = 3, .n_out = 1 }));
    assert_memory_equal(y, weighed, sizeof weighed);
    lmf_view back_of_weight[] = { back[0], in[1], in[0], of_weight[2] };
    out = vector(f32, 6, d_x);
    assert_ok(ctx, lmf_op_segment_sum_bwd.ref(&(lmf_call){ .in = back_of_weight, .out = &out, .n_in = 4, .n_out = 1 }));
    assert_memory_equal(d_x, weighed_d, sizeof weighed_d);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(segment_sum) = { { "sums by hand", by_hand }, { 0 } };
