/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(rope) = {
    { "rope", "nine heads of 64", "x!:f32[3,576] pos:i32[3]=0,1,2047 freq:f32[32]", "head_size=64 n_rot=64 scale=1 inverse=0", "uniform", "0x1p-22 max x" },
    { "rope", "backwards", "x!:f32[3,36] pos:i32[3]=5,0,77 freq:f32[6]", "head_size=12 n_rot=12 scale=1 inverse=1", "uniform" },
    { "rope", "part of a head", "x!:f32[2,40] pos:i32[2]=3,4 freq:f32[3]", "head_size=10 n_rot=6 scale=1.25 inverse=0", "uniform" },
    { "rope", "no rows", "x:f32[0,40] pos:i32[0]<9 freq:f32[5]", "head_size=10 n_rot=10 scale=1 inverse=0", "uniform" },
    { "rope", "odd n_rot", "x:f32[2,40] pos:i32[2]<9 freq:f32[2]", "head_size=10 n_rot=5 scale=1 inverse=0", "refused:E_ARG" },
    { "rope", "width is no multiple", "x:f32[2,41] pos:i32[2]<9 freq:f32[5]", "head_size=10 n_rot=10 scale=1 inverse=0", "refused:E_SHAPE" },
    { "rope", "float positions", "x:f32[2,40] pos:f32[2] freq:f32[5]", "head_size=10 n_rot=10 scale=1 inverse=0", "refused:E_DTYPE" },
    { 0 }
};
