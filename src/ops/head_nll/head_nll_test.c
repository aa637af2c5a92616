/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(head_nll) = {
    { "head_nll", "small", "x!:f32[5,24] w:f32[19,24] target:i32[5]<19 weight:f32[5]", "scale=1 compute=0", "normal" },
    { "head_nll", "scaled", "x!:f32[5,24] w:f32[19,24] target:i32[5]<19 weight:f32[5]", "scale=0.25 compute=0", "positive" },
    { "head_nll", "three tiles of w", "x:f32[3,8] w:f32[1000,8] target:i32[3]<1000 weight:f32[3]", "scale=1 compute=0", "normal" },
    { "head_nll", "a greater maximum in each tile", "x:f32[2,1]=1,2 w:f32[1200,1]=0,0.01,... target:i32[2]=5,1199 weight:f32[2]", "scale=1 compute=0", "normal" },
    { "head_nll", "wide apart logits", "x:f32[3,16] w:f32[450,16] target:i32[3]<450 weight:f32[3]", "scale=20 compute=0", "normal" },
    { "head_nll", "rows that don't count", "x!:f32[7,24] w:f32[19,24] target:i32[7]=3,-100,18,19,0,5,2147483647 weight:f32[7]=1,1,0,1,0.5,-2,1", "scale=1 compute=0", "normal" },
    { "head_nll", "no row counts", "x:f32[3,24] w:f32[19,24] target:i32[3]<19 weight:f32[3]=0", "scale=1 compute=0", "normal" },
    { "head_nll", "two chunks of rows", "x:f32[530,4] w:f32[33,4] target:i32[530]<33 weight:f32[530]", "scale=1 compute=0", "normal" },
    { "head_nll", "three dims", "x!:f32[2,3,8] w:f32[19,8] target:i32[2,3]<19 weight:f32[2,3]", "scale=1 compute=0", "normal" },
    { "head_nll", "one word", "x:f32[3,8] w:f32[1,8] target:i32[3]=0 weight:f32[3]", "scale=1 compute=0", "normal" },
    { "head_nll", "no rows", "x:f32[0,8] w:f32[19,8] target:i32[0]<19 weight:f32[0]", "scale=1 compute=0", "normal" },
    { "head_nll", "f16 w", "x!:f32[5,24] w:f16[19,24] target:i32[5]<19 weight:f32[5]", "scale=1 compute=0", "normal" },
    { "head_nll", "bf16 w", "x!:f32[5,24] w:bf16[19,24] target:i32[5]<19 weight:f32[5]", "scale=1 compute=0", "normal" },
    { "head_nll", "q4_0 w", "x!:f32[5,64] w:q4_0[39,64] target:i32[5]<39 weight:f32[5]", "scale=1 compute=0", "small" },
    { "head_nll", "q4_1 w", "x!:f32[5,64] w:q4_1[39,64] target:i32[5]<39 weight:f32[5]", "scale=0.2 compute=0", "normal" },
    { "head_nll", "q8_0 w", "x!:f32[5,64] w:q8_0[39,64] target:i32[5]<39 weight:f32[5]", "scale=0.2 compute=0", "normal" },
    { "head_nll_w", "small", "x!:f32[5,24] w!:f32[19,24] target:i32[5]<19 weight:f32[5]", "scale=1 compute=0", "normal" },
    { "head_nll_w", "rows that don't count", "x!:f32[6,24] w!:f32[19,24] target:i32[6]=3,-100,18,19,0,5 weight:f32[6]=1,1,0,1,0.5,-2", "scale=0.5 compute=0", "normal" },
    { "head_nll_w", "three tiles of w", "x:f32[3,8] w:f32[1000,8] target:i32[3]<1000 weight:f32[3]", "scale=1 compute=0", "normal" },
    { "head_nll_w", "two chunks of rows", "x:f32[530,4] w:f32[33,4] target:i32[530]<33 weight:f32[530]", "scale=1 compute=0", "normal" },
    { "head_nll_w", "no row counts", "x:f32[3,24] w:f32[19,24] target:i32[3]<19 weight:f32[3]=0", "scale=1 compute=0", "normal" },
    { "head_nll_w", "bf16 w", "x:f32[5,24] w:bf16[19,24] target:i32[5]<19 weight:f32[5]", "scale=1 compute=0", "normal" },
    { "head_nll", "D differs", "x:f32[5,24] w:f32[19,23] target:i32[5]<19 weight:f32[5]", "scale=1 compute=0", "refused:E_SHAPE" },
    { "head_nll", "a target short", "x:f32[5,24] w:f32[19,24] target:i32[4]<19 weight:f32[5]", "scale=1 compute=0", "refused:E_SHAPE" },
    { "head_nll", "a weight short", "x:f32[5,24] w:f32[19,24] target:i32[5]<19 weight:f32[4]", "scale=1 compute=0", "refused:E_SHAPE" },
    { "head_nll", "float targets", "x:f32[5,24] w:f32[19,24] target:f32[5] weight:f32[5]", "scale=1 compute=0", "refused:E_DTYPE" },
    { "head_nll", "integer w", "x:f32[5,24] w:i32[19,24]<9 target:i32[5]<19 weight:f32[5]", "scale=1 compute=0", "refused:E_DTYPE" },
    { 0 }
};
