/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(kv_append) = {
    { "kv_append", "two sequences, a dead row", "cache:f32[4,3,20] x:f32[4,20] seq:i32[4]=0,0,1,-1 pos:i32[4]=2,3,0,9 page:i32[2,2]=3,1,0,2", "", "normal", "0" },
    { "kv_append", "f16", "cache:f16[2,4,8] x:f32[2,8] seq:i32[2]=0,0 pos:i32[2]=3,4 page:i32[1,2]=1,0", "", "normal" },
    { "kv_append", "bf16", "cache:bf16[2,4,8] x:f32[2,8] seq:i32[2]=0,0 pos:i32[2]=3,4 page:i32[1,2]=1,0", "", "normal" },
    { "kv_append", "width differs", "cache:f32[2,4,8] x:f32[2,9] seq:i32[2]=0,0 pos:i32[2]=3,4 page:i32[1,2]=1,0", "", "refused:E_SHAPE" },
    { "kv_append", "integer cache", "cache:i32[2,4,8]<5 x:f32[2,8] seq:i32[2]=0,0 pos:i32[2]=3,4 page:i32[1,2]=1,0", "", "refused:E_DTYPE" },
    { 0 }
};
