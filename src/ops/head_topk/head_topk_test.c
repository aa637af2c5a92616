/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

#define ROW "x!:f32[3,24] w:f32[19,24] id:i32[3,3]=2,7,18,0,1,2,5,9,11 "
#define TEACHER "logp:f32[3,3]=-1,-2,-1.5,-0.8,-3,-2,-2.5,-1.1,-2 rest:f32[3]=-1.3,-1,-0.9 "
#define WIDE "x:f32[3,8] w:f32[1000,8] id:i32[3,3]=383,384,999,0,400,800,10,11,12 " TEACHER "weight:f32[3]=0.3,0.4,0.5"
#define ONE "scale=0.3 temperature=1 "
LMF_OP_CASES(head_topk) = {
    { "head_topk", "forward", ROW TEACHER "weight:f32[3]=0.3,0.4,0.5", ONE "beta=0 compute=0", "normal", "1e-5; 1e-5 rms; 4e-5 rms" },
    { "head_topk", "reverse", ROW TEACHER "weight:f32[3]=0.3,0.4,0.5", ONE "beta=1 compute=0", "normal" },
    { "head_topk", "between", ROW TEACHER "weight:f32[3]=0.3,0.4,0.5", ONE "beta=0.3 compute=0", "normal" },
    { "head_topk", "warm", ROW TEACHER "weight:f32[3]=0.3,0.4,0.5", "scale=0.5 temperature=3 beta=0 compute=0", "normal" },
    { "head_topk", "three tiles", WIDE, ONE "beta=0 compute=0", "normal" },
    { "head_topk", "three tiles, reverse", WIDE, ONE "beta=1 compute=0", "normal" },
    { "head_topk", "all tokens", "x!:f32[2,8] w:f32[4,8] id:i32[2,4]=0,1,2,3,0,1,2,3 logp:f32[2,4]=-1,-2,-1.5,-1.2,-0.8,-3,-2,-1.4 "
      "rest:f32[2]=-1e30 weight:f32[2]=0.5,0.5", ONE "beta=0.5 compute=0", "normal" },
    { "head_topk", "nothing left", ROW "logp:f32[3,3]=-1,-1,-1.1,-0.8,-1,-2,-2.5,-0.1,-2 rest:f32[3]=-200 weight:f32[3]=1",
      ONE "beta=0 compute=0", "normal" },
    { "head_topk", "one token", "x!:f32[3,24] w:f32[19,24] id:i32[3,1]=4,0,18 logp:f32[3,1]=-0.1,-0.5,-1 rest:f32[3]=-2.3,-0.9,-0.5 "
      "weight:f32[3]=1", ONE "beta=0.5 compute=0", "normal" },
    { "head_topk", "rows that don't count", ROW TEACHER "weight:f32[3]=0,0.4,0", ONE "beta=0 compute=0", "normal" },
    { "head_topk", "no row counts", ROW TEACHER "weight:f32[3]=0", ONE "beta=0 compute=0", "normal" },
    { "head_topk", "no rows", "x:f32[0,8] w:f32[19,8] id:i32[0,3]<19 logp:f32[0,3] rest:f32[0] weight:f32[0]",
      ONE "beta=0 compute=0", "normal" },
    { "head_topk", "two chunks of rows", "x:f32[530,4] w:f32[33,4] id:i32[530,1]<33 logp:f32[530,1]=-0.7 rest:f32[530]=-0.7 "
      "weight:f32[530]=0.1,0.2,...", ONE "beta=0.5 compute=0", "normal" },
    { "head_topk", "quantized w", "x!:f32[3,64] w:q4_1[39,64] id:i32[3,3]=2,7,18,0,1,2,5,9,38 " TEACHER "weight:f32[3]=1",
      "scale=0.1 temperature=1 beta=0 compute=0", "normal" },
    { "head_topk_w", "forward", "x!:f32[3,24] w!:f32[19,24] id:i32[3,3]=2,7,18,0,1,2,5,9,11 " TEACHER "weight:f32[3]=0.3,0.4,0.5",
      ONE "beta=0 compute=0", "normal", "1e-5; 1e-5 rms; 4e-5 rms; 1e-5 + 4e-5 rms" },
    { "head_topk_w", "between", "x!:f32[3,24] w!:f32[19,24] id:i32[3,3]=2,7,18,0,1,2,5,9,11 " TEACHER "weight:f32[3]=0.3,0,0.5",
      ONE "beta=0.6 compute=0", "normal" },
    { "head_topk_w", "three tiles", WIDE, ONE "beta=0 compute=0", "normal" },
    { "head_topk_w", "no row counts", ROW TEACHER "weight:f32[3]=0", ONE "beta=0 compute=0", "normal" },
    /* tol: logits have factors rounded to bf16, and the gradient is the difference of what both say */
    { "head_topk", "fast", "x:f32[130,64] w:f32[500,64] id:i32[130,1]<500 logp:f32[130,1]=-0.7 rest:f32[130]=-0.7 weight:f32[130]",
      "scale=0.2 temperature=1 beta=0 compute=1", "normal tol=0.05" },
    { "head_topk_w", "D differs", "x:f32[130,40] w:q8_0[419,64] id:i32[130,1]<419 logp:f32[130,1]=-0.7 rest:f32[130]=-0.7 weight:f32[130]",
      "scale=0.2 temperature=1 beta=0 compute=1", "refused:E_SHAPE" },
    { "head_topk_w", "fast, f32", "x:f32[130,64] w:f32[419,64] id:i32[130,1]<419 logp:f32[130,1]=-0.7 rest:f32[130]=-0.7 weight:f32[130]",
      "scale=0.2 temperature=1 beta=1 compute=1", "normal tol=0.05" },
    { "head_topk", "bf16 x, many tiles", "x:bf16[3,64] w:q4_1[2500,64] id:i32[3,3]=383,384,2499,0,400,2100,10,11,12 " TEACHER
      "weight:f32[3]=0.3,0,0.5", "scale=0.15 temperature=2 beta=0.5 compute=1", "normal tol=0.05" },
    { "head_topk_w", "bf16 x", "x:bf16[130,64] w:f32[419,64] id:i32[130,1]<419 logp:f32[130,1]=-0.7 rest:f32[130]=-0.7 weight:f32[130]",
      "scale=0.2 temperature=1 beta=0 compute=1", "normal tol=0.05" },
    { "head_topk", "more tokens than there are", "x:f32[1,8] w:f32[2,8] id:i32[1,3]=0,1,2 logp:f32[1,3] rest:f32[1] weight:f32[1]",
      ONE "beta=0 compute=0", "refused:E_SHAPE" },
    { "head_topk", "logp of another shape", "x:f32[1,8] w:f32[9,8] id:i32[1,3]=0,1,2 logp:f32[1,2] rest:f32[1] weight:f32[1]",
      ONE "beta=0 compute=0", "refused:E_SHAPE" },
    { "head_topk", "float tokens", "x:f32[1,8] w:f32[9,8] id:f32[1,3] logp:f32[1,3] rest:f32[1] weight:f32[1]",
      ONE "beta=0 compute=0", "refused:E_DTYPE" },
    { 0 }
};
