/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(lora_gate) = {
    { "lora_gate", "two adapters, the base, a dead row", "u:f32[5,32] seq:i32[5]=0,1,2,2,-1 adapter:i32[3]=1,-1,0", "rank=16", "normal", "0" },
    { "lora_gate", "width is no multiple", "u:f32[1,32] seq:i32[1]=0 adapter:i32[1]=0", "rank=15", "refused:E_SHAPE" },
    { "lora_gate", "float adapters", "u:f32[1,32] seq:i32[1]=0 adapter:f32[1]", "rank=16", "refused:E_DTYPE" },
    { 0 }
};
