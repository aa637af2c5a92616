/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(lora) = {
    { "lora", "forward", "x!:f32[7,20] w:f32[11,20] p!:f32[4,20] q!:f32[11,4] -", "tb=1 scale=2 compute=0", "normal", "0x1p-24 n mag" },
    { "lora", "backward", "x:f32[7,11] w:f32[11,20] p:f32[11,4] q:f32[4,20] -", "tb=0 scale=2 compute=0", "normal" },
    { "lora", "one row of c", "x!:f32[3,20] w:f32[11,20] p!:f32[4,20] q!:f32[11,4] c!:f32[11]", "tb=1 scale=0.5 compute=0", "normal" },
    { "lora", "c like y", "x!:f32[3,20] w:f32[11,20] p:f32[4,20] q:f32[11,4] c!:f32[3,11]", "tb=1 scale=-1 compute=0", "normal" },
    { "lora", "x needs no gradient", "x:f32[5,20] w:f32[11,20] p!:f32[4,20] q!:f32[11,4] -", "tb=1 scale=2 compute=0", "normal" },
    { "lora", "q4_1, as in training", "x!:f32[19,64] w:q4_1[40,64] p!:f32[16,64] q!:f32[40,16] -", "tb=1 scale=2 compute=0", "normal" },
    { "lora", "backward, q4_1, with the gradient so far", "x:f32[19,40] w:q4_1[40,64] p:f32[40,16] q:f32[16,64] c:f32[19,64]", "tb=0 scale=2 compute=0", "normal" },
    { "lora", "blocks of K and many columns", "x:f32[50,700] w:bf16[300,700] p:f32[8,700] q:f32[300,8] -", "tb=1 scale=2 compute=0", "normal" },
    { "lora", "rank 1, one row", "x:f32[1,5] w:f32[3,5] p:f32[1,5] q:f32[3,1] -", "tb=1 scale=1 compute=0", "normal" },
    { "lora", "no rows", "x:f32[0,5] w:f32[3,5] p:f32[2,5] q:f32[3,2] -", "tb=1 scale=1 compute=0", "normal" },
    /* from 128^3 on in bf16, where the processor multiplies it */
    { "lora", "fast, forward", "x:f32[131,130] w:f32[133,130] p:f32[16,130] q:f32[133,16] c:f32[133]", "tb=1 scale=2 compute=1", "normal" },
    { "lora", "fast, q4_1, rank 40", "x:f32[99,160] w:q4_1[140,160] p:f32[40,160] q:f32[140,40] -", "tb=1 scale=0.25 compute=1", "normal" },
    { "lora", "fast, q8_0, b beyond L2", "x:f32[40,640] w:q8_0[1000,640] p:f32[16,640] q:f32[1000,16] c:f32[40,1000]", "tb=1 scale=2 compute=1", "normal" },
    { "lora", "fast, few rows", "x:f32[7,640] w:q8_0[500,640] p:f32[16,640] q:f32[500,16] -", "tb=1 scale=2 compute=1", "normal" },
    { "lora", "fast, backward", "x:f32[131,133] w:f32[133,130] p:f32[133,16] q:f32[16,130] c:f32[131,130]", "tb=0 scale=2 compute=1", "normal" },
    { "lora", "fast, backward, q4_1, rank 33", "x:f32[99,140] w:q4_1[140,160] p:f32[140,33] q:f32[33,160] -", "tb=0 scale=1 compute=1", "normal" },
    { "lora", "q does not fit", "x:f32[7,20] w:f32[11,20] p:f32[4,20] q:f32[10,4] -", "tb=1 scale=2 compute=0", "refused:E_SHAPE" },
    { "lora", "p does not fit", "x:f32[7,20] w:f32[11,20] p:f32[4,21] q:f32[11,4] -", "tb=1 scale=2 compute=0", "refused:E_SHAPE" },
    { "lora", "w turned", "x:f32[7,20] w:f32[20,11] p:f32[4,20] q:f32[11,4] -", "tb=1 scale=2 compute=0", "refused:E_SHAPE" },
    { "lora", "c does not fit", "x:f32[7,20] w:f32[11,20] p:f32[4,20] q:f32[11,4] c:f32[7,10]", "tb=1 scale=2 compute=0", "refused:E_SHAPE" },
    { "lora", "p in bf16", "x:f32[7,20] w:f32[11,20] p:bf16[4,20] q:f32[11,4] -", "tb=1 scale=2 compute=0", "refused:E_DTYPE" },
    { "lora", "w of integers", "x:f32[7,20] w:i32[11,20] p:f32[4,20] q:f32[11,4] -", "tb=1 scale=2 compute=0", "refused:E_DTYPE" },
    { 0 }
};
