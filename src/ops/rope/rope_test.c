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
    { "rope", "bf16, nine heads of 64", "x!:bf16[3,576] pos:i32[3]=0,1,2047 freq:f32[32]", "head_size=64 n_rot=64 scale=1 inverse=0",
      "uniform", "0x1p-7 + 0x1p-22 max x" },
    { "rope", "bf16, many rows, backwards", "x!:bf16[29,128] pos:i32[29]=0,1,... freq:f32[32]", "head_size=64 n_rot=64 scale=1 inverse=1",
      "uniform" },
    { "rope", "bf16, halves of six", "x!:bf16[3,36] pos:i32[3]=5,0,77 freq:f32[6]", "head_size=12 n_rot=12 scale=1 inverse=1", "uniform" },
    { "rope", "bf16, part of a head", "x!:bf16[2,40] pos:i32[2]=3,4 freq:f32[3]", "head_size=10 n_rot=6 scale=1.25 inverse=0", "uniform" },
    { "rope", "bf16, strided rows", "x:bf16[5,64]/100 pos:i32[5]=3,4,5,0,1 freq:f32[16]", "head_size=32 n_rot=32 scale=1 inverse=0",
      "uniform" },
    { "rope", "bf16, no rows", "x:bf16[0,40] pos:i32[0]<9 freq:f32[5]", "head_size=10 n_rot=10 scale=1 inverse=0", "uniform" },
    { "rope", "half", "x:f16[2,40] pos:i32[2]<9 freq:f32[5]", "head_size=10 n_rot=10 scale=1 inverse=0", "refused:E_DTYPE" },
    { 0 }
};
