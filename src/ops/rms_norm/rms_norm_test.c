/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(rms_norm) = {
    { "rms_norm", "the width of SmolLM2", "x!:f32[3,576] w!:f32[576]", "eps=1e-5", "normal", "2e-6" },
    { "rms_norm", "odd width", "x!:f32[5,37] w!:f32[37]", "eps=1e-5", "normal" },
    { "rms_norm", "one element", "x!:f32[1,1] w!:f32[1]", "eps=1e-5", "normal" },
    { "rms_norm", "three dims", "x!:f32[2,3,16] w!:f32[16]", "eps=1e-6", "normal" },
    { "rms_norm", "no rows", "x:f32[0,16] w:f32[16]", "eps=1e-6", "normal" },
    { "rms_norm", "strided rows", "x!:f32[4,24]/40 w!:f32[24]", "eps=1e-5", "normal" },
    { "rms_norm", "tiny values", "x!:f32[4,64] w!:f32[64]", "eps=1e-5", "small" },
    { "rms_norm", "w too short", "x:f32[2,16] w:f32[15]", "eps=1e-5", "refused:E_SHAPE" },
    { "rms_norm", "integers", "x:i32[2,16]<9 w:f32[16]", "eps=1e-5", "refused:E_DTYPE" },
    { "rms_norm", "eps of zero", "x:f32[2,16] w:f32[16]", "eps=0", "refused:E_ARG" },
    { "rms_norm_bwd", "odd", "x:f32[5,37] w:f32[37] rstd:f32[5] dy:f32[5,37]", "eps=1e-5", "positive", "4e-6 rms" },
    { "rms_norm_bwd", "many rows", "x:f32[67,64] w:f32[64] rstd:f32[67] dy:f32[67,64]", "eps=1e-5", "positive" },
    { "rms_norm_dx", "no sum so far", "x:f32[5,37] w:f32[37] rstd:f32[5] dy:f32[5,37] -", "eps=1e-5", "positive", "4e-6 rms" },
    { "rms_norm_dx", "onto the sum so far", "x:f32[5,37] w:f32[37] rstd:f32[5] dy:f32[5,37] c:f32[5,37]", "eps=1e-5", "positive" },
    /* a result that lies between two numbers of bf16 may be rounded to either */
    { "rms_norm", "bf16, the width of SmolLM2", "x!:bf16[3,576] w:f32[576]", "eps=1e-5", "normal", "0x1p-7; 2e-6" },
    { "rms_norm", "bf16, odd width, w trained", "x!:bf16[5,37] w!:f32[37]", "eps=1e-5", "normal" },
    { "rms_norm", "bf16, one element", "x!:bf16[1,1] w:f32[1]", "eps=1e-5", "normal" },
    { "rms_norm", "bf16, three dims", "x!:bf16[2,3,20] w!:f32[20]", "eps=1e-6", "normal" },
    { "rms_norm", "bf16, no rows", "x:bf16[0,16] w:f32[16]", "eps=1e-6", "normal" },
    { "rms_norm", "bf16, strided rows", "x:bf16[4,24]/40 w:f32[24]", "eps=1e-5", "normal" },
    { "rms_norm", "bf16, rows that begin anywhere", "x:bf16[4,24]/41 w:f32[24]", "eps=1e-5", "normal" },
    { "rms_norm_bwd", "bf16, odd", "x:bf16[5,37] w:f32[37] rstd:f32[5] dy:bf16[5,37]", "eps=1e-5", "positive",
      "0x1p-7 + 4e-6 rms; 4e-6 rms" },
    { "rms_norm_bwd", "bf16, several pieces", "x:bf16[301,64] w:f32[64] rstd:f32[301] dy:bf16[301,64]", "eps=1e-5", "positive" },
    { "rms_norm_dx", "bf16, odd", "x:bf16[67,37] w:f32[37] rstd:f32[67] dy:bf16[67,37] -", "eps=1e-5", "positive", "0x1p-7 + 4e-6 rms" },
    { "rms_norm_dx", "bf16, the width of SmolLM2, onto the sum so far", "x:bf16[7,576] w:f32[576] rstd:f32[7] dy:bf16[7,576] c:bf16[7,576]",
      "eps=1e-5", "positive" },
    { "rms_norm_dx", "bf16, one row", "x:bf16[1,64] w:f32[64] rstd:f32[1] dy:bf16[1,64] c:bf16[1,64]", "eps=1e-5", "positive" },
    { "rms_norm", "half", "x:f16[2,16] w:f32[16]", "eps=1e-5", "refused:E_DTYPE" },
    { "rms_norm", "w in bf16", "x:bf16[2,16] w:bf16[16]", "eps=1e-5", "refused:E_DTYPE" },
    { "rms_norm_dx", "dy of another type", "x:bf16[2,16] w:f32[16] rstd:f32[2] dy:f32[2,16] -", "eps=1e-5", "refused:E_DTYPE" },
    { "rms_norm_dx", "c of another shape", "x:bf16[2,16] w:f32[16] rstd:f32[2] dy:bf16[2,16] c:bf16[2,15]", "eps=1e-5", "refused:E_SHAPE" },
    { 0 }
};
