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
    { 0 }
};
