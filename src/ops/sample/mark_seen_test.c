/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(mark_seen) = {
    { "mark_seen", "clears one slot, marks two", "seen:i32[3,17]<4 clear:i32[3]=0,1,0 slot:i32[6]=1,1,-1,1,2,1 token:i32[6]=3,16,0,3,5,0", "", "normal" },
    { "mark_seen", "nothing to do", "seen:i32[2,9]<4 clear:i32[2]=0 slot:i32[3]=-1 token:i32[3]=0", "", "normal" },
    { "mark_seen", "clears all", "seen:i32[5,33]<7 clear:i32[5]=1 slot:i32[4]=-1,4,0,2 token:i32[4]=0,32,1,2", "", "normal" },
    { "mark_seen", "a flag short", "seen:i32[3,9]<4 clear:i32[2]=0 slot:i32[1]=0 token:i32[1]=0", "", "refused:E_SHAPE" },
    { "mark_seen", "float tokens", "seen:i32[3,9]<4 clear:i32[3]=0 slot:i32[1]=0 token:f32[1]", "", "refused:E_DTYPE" },
    { 0 }
};
