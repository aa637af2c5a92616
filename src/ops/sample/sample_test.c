/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(sample) = {
    { "sample", "greedy", "x:f32[3,101] number:f32[3,4]=0,1,0,1,0,1,0,1,0,1,0,1 count:i32[3,6]=0,0,0,0,0,1,0,0,0,0,0,1,0,0,0,0,0,0 h:i32[3,1]<9", "", "normal" },
    { "sample", "temperature alone", "x:f32[2,40] number:f32[2,4]=0.7,1,0,1,1.5,1,0,1 count:i32[2,6]=0,11,2,5,0,1,0,12,3,6,0,1 h:i32[2,1]<9", "", "normal" },
    { "sample", "top-k 5", "x:f32[2,64] number:f32[2,4]=0.9,1,0,1,2,1,0,1 count:i32[2,6]=5,77,0,3,0,1,5,78,0,4,0,1 h:i32[2,1]<9", "", "normal" },
    { "sample", "top-p", "x:f32[2,64] number:f32[2,4]=1,0.8,0,1,1,0.3,0,1 count:i32[2,6]=0,5,0,3,0,1,0,6,0,4,0,1 h:i32[2,1]<9", "", "normal" },
    { "sample", "top-k then top-p then min-p", "x:f32[2,64] number:f32[2,4]=1,0.9,0.1,1,1.3,0.7,0.3,1 count:i32[2,6]=20,5,0,3,0,1,9,6,0,4,0,1 h:i32[2,1]<9", "", "normal" },
    { "sample", "repetition penalty, greedy", "x:f32[1,32] number:f32[1,4]=0,1,0,3 count:i32[1,6]=0,0,0,0,6,1 h:i32[1,6]=1,2,2,31,-1,7", "", "normal" },
    { "sample", "counts too narrow", "x:f32[1,32] number:f32[1,4] count:i32[1,5]<2 h:i32[1,6]<9", "", "refused:E_SHAPE" },
    { 0 }
};
