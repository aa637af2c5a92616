/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(dora) = {
    { "dora", "with a bias", "x!:f32[7,11] w:f32[11,20] p:f32[4,20] q:f32[11,4] m!:f32[11] c!:f32[11]", "scale=2", "normal",
      "0x1p-22 n mag" },
    { "dora", "without", "x!:f32[3,70] w:bf16[70,33] p:f32[3,33] q:f32[70,3] m!:f32[70] -", "scale=0.5", "normal" },
    { "dora", "q4_1", "x:f32[19,130] w:q4_1[130,64] p:f32[16,64] q:f32[130,16] m:f32[130] c:f32[130]", "scale=2", "normal" },
    { "dora", "no rows", "x:f32[0,5] w:f32[5,8] p:f32[2,8] q:f32[5,2] m:f32[5] -", "scale=1", "normal" },
    { "dora", "m does not fit", "x:f32[7,11] w:f32[11,20] p:f32[4,20] q:f32[11,4] m:f32[10] -", "scale=2", "refused:E_SHAPE" },
    { "dora", "q does not fit", "x:f32[7,11] w:f32[11,20] p:f32[4,20] q:f32[11,3] m:f32[11] -", "scale=2", "refused:E_SHAPE" },
    { "dora", "m in bf16", "x:f32[7,11] w:f32[11,20] p:f32[4,20] q:f32[11,4] m:bf16[11] -", "scale=2", "refused:E_DTYPE" },
    { "dora_bwd", "columns beyond a block", "dy:f32[9,150] x:f32[9,150] m:f32[150] v:f32[150]", "", "normal", "0x1p-22 n mag" },
    { "dora_bwd", "x does not fit", "dy:f32[9,15] x:f32[9,14] m:f32[15] v:f32[15]", "", "refused:E_SHAPE" },
    { 0 }
};
