/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(gelu) = {
    { "gelu", "the width of GPT-2", "x!:f32[3,3072]", "", "normal", "2e-6 x" },
    { "gelu", "odd", "x!:f32[5,37]", "", "normal" },
    { "gelu", "one element", "x!:f32[1]", "", "normal" },
    { "gelu", "three dims", "x!:f32[2,3,19]", "", "normal" },
    { "gelu", "no rows", "x:f32[0,16]", "", "normal" },
    { "gelu", "strided rows", "x!:f32[4,24]/40", "", "normal" },
    { "gelu", "far ends", "x:f32[1,8]=-10000,-100,-12,-5,5,12,100,10000", "", "normal" },
    { "gelu", "integers", "x:i32[2,16]<9", "", "refused:E_DTYPE" },
    { "gelu_bwd", "odd", "x:f32[5,37] dy:f32[5,37]", "", "normal", "4e-6 dy" },
    { "gelu_bwd", "far ends", "x:f32[1,8]=-10000,-100,-12,-5,5,12,100,10000 dy:f32[1,8]", "", "normal" },
    { "gelu_bwd", "shapes differ", "x:f32[2,16] dy:f32[2,15]", "", "refused:E_SHAPE" },
    { "gelu", "bf16", "x!:bf16[5,37]", "", "normal", "0x1p-7 + 2e-6 x" },
    { "gelu_bwd", "bf16", "x:bf16[5,37] dy:bf16[5,37]", "", "normal", "0x1p-7 + 4e-6 dy" },
    { "gelu_bwd", "types differ", "x:bf16[5,37] dy:f32[5,37]", "", "refused:E_DTYPE" },
    { 0 }
};
