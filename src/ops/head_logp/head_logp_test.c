/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(head_logp) = {
    { "head_logp", "small", "x!:f32[5,24] w!:f32[19,24] target:i32[5]<19 -", "scale=1 compute=0", "normal", "2e-6 rms; 1e-6 rms" },
    { "head_logp", "frozen w, scaled", "x!:f32[5,24] w:f32[19,24] target:i32[5]<19 -", "scale=0.25 compute=0", "normal" },
    { "head_logp", "three tiles of w", "x:f32[3,8] w:f32[1000,8] target:i32[3]<1000 -", "scale=1 compute=0", "normal" },
    { "head_logp", "a greater maximum in each tile", "x:f32[2,1]=1,2 w:f32[1200,1]=0,0.01,... target:i32[2]=5,1199 -", "scale=1 compute=0", "normal" },
    { "head_logp", "wide apart logits", "x:f32[3,16] w:f32[450,16] target:i32[3]<450 -", "scale=20 compute=0", "normal" },
    { "head_logp", "rows skipped", "x!:f32[6,24] w!:f32[19,24] target:i32[6]=3,-100,18,19,0,5 weight:f32[6]=1,1,0,1,0.5,-2", "scale=1 compute=0", "normal" },
    { "head_logp", "two chunks of rows", "x:f32[530,4] w:f32[33,4] target:i32[530]<33 weight:f32[530]", "scale=1 compute=0", "normal" },
    { "head_logp", "three dims", "x!:f32[2,3,8] w:f32[19,8] target:i32[2,3]<19 -", "scale=1 compute=0", "normal" },
    { "head_logp", "no rows", "x:f32[0,8] w:f32[19,8] target:i32[0]<19 -", "scale=1 compute=0", "normal" },
    { "head_logp", "f16 w", "x!:f32[5,24] w:f16[19,24] target:i32[5]<19 -", "scale=1 compute=0", "normal" },
    { "head_logp", "bf16 w", "x!:f32[5,24] w:bf16[19,24] target:i32[5]<19 -", "scale=1 compute=0", "normal" },
    { "head_logp", "q4_0 w", "x!:f32[5,64] w:q4_0[39,64] target:i32[5]<39 -", "scale=0.2 compute=0", "normal" },
    { "head_logp", "q4_1 w", "x!:f32[5,64] w:q4_1[39,64] target:i32[5]<39 -", "scale=0.2 compute=0", "normal" },
    { "head_logp", "q8_0 w", "x!:f32[5,64] w:q8_0[39,64] target:i32[5]<39 -", "scale=0.2 compute=0", "normal" },
    { "head_logp_bwd", "odd", "x:f32[5,24] w:f32[19,24] target:i32[5]<19 lse:f32[5]=25 d_logp:f32[5] -", "scale=1 compute=0", "normal", "5e-6 rms" },
    { "head_logp_bwd", "three tiles of w, rows skipped", "x:f32[3,8] w:f32[1000,8] target:i32[3]<1000 lse:f32[3]=12 d_logp:f32[3] weight:f32[3]=1,0,2", "scale=1 compute=0", "normal" },
    { "head_logp_bwd", "q4_1 w", "x:f32[5,64] w:q4_1[39,64] target:i32[5]<39 lse:f32[5]=6 d_logp:f32[5] -", "scale=0.2 compute=0", "normal" },
    { "head_logp_bwd_w", "two chunks of rows", "x:f32[530,4] w:f32[33,4] target:i32[530]<33 lse:f32[530]=6 d_logp:f32[530] -", "scale=1 compute=0", "normal", "2e-5 rms" },
    { "head_logp_bwd_w", "no row counts", "x:f32[3,8] w:f32[10,8] target:i32[3]=-1 lse:f32[3] d_logp:f32[3] -", "scale=1 compute=0", "normal" },
    { "head_logp_bwd_w", "three tiles of w", "x:f32[3,8] w:f32[1000,8] target:i32[3]<1000 lse:f32[3]=12 d_logp:f32[3] -",
      "scale=1 compute=0", "normal" },
    { "head_logp", "fast, tiles", "x:f32[200,64] w:q8_0[300,64] target:i32[200]<300 -", "scale=0.2 compute=1", "normal" },
    { "head_logp_bwd", "fast, tiles", "x:f32[200,96] w:f32[300,96] target:i32[200]<300 lse:f32[200]=8 d_logp:f32[200] -", "scale=0.2 compute=1", "normal" },
    { "head_logp", "D differs", "x:f32[5,24] w:f32[19,23] target:i32[5]<19 -", "scale=1 compute=0", "refused:E_SHAPE" },
    { "head_logp", "a target short", "x:f32[5,24] w:f32[19,24] target:i32[4]<19 -", "scale=1 compute=0", "refused:E_SHAPE" },
    { "head_logp", "float targets", "x:f32[5,24] w:f32[19,24] target:f32[5] -", "scale=1 compute=0", "refused:E_DTYPE" },
    { "head_logp_bwd", "upstream too short", "x:f32[5,24] w:f32[19,24] target:i32[5]<19 lse:f32[5] d_logp:f32[4] -", "scale=1 compute=0", "refused:E_SHAPE" },
    { 0 }
};
