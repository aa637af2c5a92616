/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(scale_by) = {
    { "scale_by", "odd", "x!:f32[5,37] s:f32[1] -", "", "normal", "0x1p-23 mag" },
    { "scale_by", "onto c", "x!:f32[5,37] s:f32[1] c!:f32[5,37]", "", "normal" },
    { "scale_by", "one element", "x!:f32[1] s:f32[1] c!:f32[1]", "", "normal" },
    { "scale_by", "strided rows", "x!:f32[4,24]/40 s:f32[1] c:f32[4,24]/32", "", "normal" },
    { "scale_by", "no rows", "x:f32[0,16] s:f32[1] -", "", "normal" },
    { "scale_by", "two factors", "x:f32[2,16] s:f32[2] -", "", "refused:E_SHAPE" },
    { "scale_by", "c differs", "x:f32[2,16] s:f32[1] c:f32[2,15]", "", "refused:E_SHAPE" },
    { "scale_by", "integers", "x:i32[2,16]<9 s:f32[1] -", "", "refused:E_DTYPE" },
    { "scale_by", "bf16", "x!:bf16[5,37] s:f32[1]", "", "normal", "0x1p-7" },
    { "scale_by", "bf16, onto a sum", "x!:bf16[5,40] s:f32[1] c!:bf16[5,40]", "", "normal", "0x1p-7 + 0x1p-22 mag" },
    { "scale_by", "types differ", "x:bf16[5,40] s:f32[1] c:f32[5,40]", "", "refused:E_DTYPE" },
    { 0 }
};
