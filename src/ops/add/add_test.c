/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(add) = {
    { "add", "same shape", "a!:f32[3,576] b!:f32[3,576]", "", "normal", "0x1p-24" },
    { "add", "odd", "a!:f32[5,37] b!:f32[5,37]", "", "normal" },
    { "add", "one row for all", "a!:f32[5,37] b!:f32[37]", "", "normal" },
    { "add", "three dims, one row for all", "a!:f32[2,3,19] b!:f32[19]", "", "normal" },
    { "add", "one dim", "a!:f32[7] b!:f32[7]", "", "normal" },
    { "add", "no rows", "a:f32[0,16] b:f32[16]", "", "normal" },
    { "add", "strided rows", "a!:f32[4,24]/40 b!:f32[4,24]", "", "normal" },
    { "add", "row too short", "a:f32[2,16] b:f32[15]", "", "refused:E_SHAPE" },
    { "add", "rows for columns", "a:f32[2,16] b:f32[2]", "", "refused:E_SHAPE" },
    { "add", "integers", "a:i32[2,16]<9 b:i32[2,16]<9", "", "refused:E_DTYPE" },
    { "sum_rows", "odd", "x:f32[67,37]", "", "normal", "0x1p-24 n mag" },
    { "sum_rows", "three dims", "x:f32[5,3,64]", "", "normal" },
    { "sum_rows", "no rows", "x:f32[0,64]", "", "normal" },
    { "sum_rows", "integers", "x:i32[2,16]<9", "", "refused:E_DTYPE" },
    { "add", "bf16, same shape", "a!:bf16[3,576] b!:bf16[3,576]", "", "normal", "0x1p-7" },
    { "add", "bf16, odd", "a!:bf16[5,37] b!:bf16[5,37]", "", "normal" },
    { "add", "bf16, one row of f32 for all", "a!:bf16[5,37] b!:f32[37]", "", "normal" },
    { "add", "bf16 onto f32", "a!:f32[5,37] b!:bf16[5,37]", "", "normal" },
    { "add", "bf16, strided rows", "a:bf16[4,24]/40 b:bf16[4,24]/33", "", "normal" },
    { "sum_rows", "bf16", "x:bf16[67,37]", "", "normal", "0x1p-24 n mag" },
    { "sum_rows", "bf16, several pieces", "x:bf16[301,9]", "", "normal" },
    { "add", "half", "a:f16[2,16] b:f32[2,16]", "", "refused:E_DTYPE" },
    { 0 }
};
