/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(embed) = {
    { "embed", "f32", "token:i32[7]<9 w!:f32[9,37]", "", "normal", "0" },
    { "embed", "q4_1", "token:i32[5]<9 w:q4_1[9,64]", "", "normal" },
    { "embed", "q8_0", "token:i32[5]<9 w:q8_0[9,96]", "", "normal" },
    { "embed", "bf16", "token:i32[5]<9 w:bf16[9,33]", "", "normal" },
    { "embed", "dead rows and ids past the table", "token:i32[4]=-1,3,9,0 w:f32[9,8]", "", "normal" },
    { "embed", "no rows", "token:i32[0]<9 w:f32[9,8]", "", "normal" },
    { "embed", "float ids", "token:f32[4] w:f32[9,8]", "", "refused:E_DTYPE" },
    { "embed", "table of one dimension", "token:i32[4]<9 w:f32[72]", "", "refused:E_SHAPE" },
    { "embed_bwd", "repeated tokens", "token:i32[6]=1,4,1,-1,1,0 dy:f32[6,37]", "n_vocab=5", "normal", "0x1p-24 n mag" },
    { "embed_bwd", "more rows than are compared at once", "token:i32[4200]<50 dy:f32[4200,5]", "n_vocab=50", "normal" },
    { "embed_bwd", "lengths differ", "token:i32[5]<4 dy:f32[6,37]", "n_vocab=5", "refused:E_SHAPE" },
    { "embed", "q4_1 as bf16", "token:i32[5]<9 w:q4_1[9,64]", "y=bf16", "normal", "0x1p-8" },
    { "embed", "f32 as bf16, dead rows", "token:i32[4]=-1,3,9,0 w!:f32[9,37]", "y=bf16", "normal" },
    { "embed", "bf16 as bf16", "token:i32[5]<9 w:bf16[9,33]", "y=bf16", "normal" },
    { "embed_bwd", "bf16", "token:i32[6]=1,4,1,-1,1,0 dy:bf16[6,37]", "n_vocab=5", "normal", "0x1p-24 n mag" },
    { "embed", "half", "token:i32[4]<9 w:f32[9,8]", "y=f16", "refused:E_DTYPE" },
    { "embed_bwd", "dy in half", "token:i32[6]<4 dy:f16[6,37]", "n_vocab=5", "refused:E_DTYPE" },
    { 0 }
};
