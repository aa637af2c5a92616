/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(dropout) = {
    { "dropout", "odd", "x!:f32[5,37] pos:i32[5]=0,1,2,0,1 item:i32[5]=7,7,7,9,9 noise:i32[3]=42,0,3 -",
      "p=0.25 stream=3", "normal", "0x1p-23 mag" },
    { "dropout", "onto c", "x!:f32[5,130] pos:i32[5]=0,1,... item:i32[5]=2 noise:i32[3]=-1,9,1000000 c!:f32[5,130]",
      "p=0.05 stream=0", "normal",
      "0x1p-22 mag" },
    { "dropout", "padding's rows", "x:f32[3,64] pos:i32[3]=0,1,... item:i32[3]=-1 noise:i32[3]=1,2,3 -",
      "p=0.9 stream=2147483647", "normal" },
    { "dropout", "none is dropped", "x!:f32[3,65] pos:i32[3]=0,1,... item:i32[3]=4 noise:i32[3]=1,2,3 -", "p=0 stream=1", "normal" },
    { "dropout", "one element", "x!:f32[1,1] pos:i32[1]=0 item:i32[1]=0 noise:i32[3]=0 -", "p=0.5 stream=0", "normal" },
    { "dropout", "strided rows", "x:f32[4,24]/40 pos:i32[4]=0,1,... item:i32[4]=1 noise:i32[3]=5,6,7 -", "p=0.5 stream=9", "normal" },
    { "dropout", "no rows", "x:f32[0,16] pos:i32[0]<5 item:i32[0]<5 noise:i32[3]=1,2,3 -", "p=0.5 stream=0", "normal" },
    { "dropout", "all dropped", "x:f32[2,16] pos:i32[2]=0 item:i32[2]=0 noise:i32[3]=0 -", "p=1 stream=0", "refused:E_ARG" },
    { "dropout", "pos too short", "x:f32[2,16] pos:i32[1]=0 item:i32[2]=0 noise:i32[3]=0 -", "p=0.5 stream=0", "refused:E_SHAPE" },
    { "dropout", "two words of noise", "x:f32[2,16] pos:i32[2]=0 item:i32[2]=0 noise:i32[2]=0 -", "p=0.5 stream=0", "refused:E_SHAPE" },
    { "dropout", "c differs", "x:f32[2,16] pos:i32[2]=0 item:i32[2]=0 noise:i32[3]=0 c:f32[2,15]", "p=0.5 stream=0", "refused:E_SHAPE" },
    { "dropout", "bf16", "x:bf16[2,16] pos:i32[2]=0 item:i32[2]=0 noise:i32[3]=0 -", "p=0.5 stream=0", "refused:E_DTYPE" },
    { "dropout", "pos in f32", "x:f32[2,16] pos:f32[2] item:i32[2]=0 noise:i32[3]=0 -", "p=0.5 stream=0", "refused:E_DTYPE" },
    { 0 }
};
