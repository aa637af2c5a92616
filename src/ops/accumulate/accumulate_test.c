/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(accumulate) = {
    { "accumulate", "goes on", "acc:f32[5,37] x:f32[5,37] keep:f32[1]=1", "", "normal", "0x1p-24" },
    { "accumulate", "starts anew", "acc:f32[300] x:f32[300] keep:f32[1]=0", "", "normal" },
    { "accumulate", "shapes differ", "acc:f32[300] x:f32[301] keep:f32[1]=0", "", "refused:E_SHAPE" },
    { "accumulate", "integers", "acc:i32[3]<5 x:f32[3] keep:f32[1]=0", "", "refused:E_DTYPE" },
    { "accumulate", "three end to end go on", "acc:f32[208] x:f32[5,37] keep:f32[1]=1 y:f32[3] z:f32[2,2,5]", "", "normal", "0x1p-24" },
    { "accumulate", "two end to end start anew", "acc:f32[301] x:f32[300] keep:f32[1]=0 y:f32[1]", "", "normal" },
    { "accumulate", "an empty one among them", "acc:f32[7] x:f32[4] keep:f32[1]=1 y:f32[0] z:f32[3]", "", "normal" },
    { "accumulate", "end to end too few", "acc:f32[302] x:f32[300] keep:f32[1]=0 y:f32[1]", "", "refused:E_SHAPE" },
    { "accumulate", "end to end in a matrix", "acc:f32[2,3] x:f32[2,2] keep:f32[1]=0 y:f32[2]", "", "refused:E_SHAPE" },
    { "accumulate", "the second of integers", "acc:f32[3] x:f32[2] keep:f32[1]=0 y:i32[1]<5", "", "refused:E_DTYPE" },
    { 0 }
};
