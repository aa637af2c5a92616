/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(accumulate) = {
    { "accumulate", "goes on", "acc:f32[5,37] x:f32[5,37] keep:f32[1]=1", "", "normal", "0x1p-24" },
    { "accumulate", "starts anew", "acc:f32[300] x:f32[300] keep:f32[1]=0", "", "normal" },
    { "accumulate", "shapes differ", "acc:f32[300] x:f32[301] keep:f32[1]=0", "", "refused:E_SHAPE" },
    { "accumulate", "integers", "acc:i32[3]<5 x:f32[3] keep:f32[1]=0", "", "refused:E_DTYPE" },
    { 0 }
};
