/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(lora) = {
    { "lora", "forward", "x!:f32[7,20] w:f32[11,20] p!:f32[4,20] q!:f32[11,4] -", "tb=1 scale=2 compute=0", "normal" },
    { "lora", "backward", "x:f32[7,11] w:f32[11,20] p:f32[11,4] q:f32[4,20] -", "tb=0 scale=2 compute=0", "normal" },
    { "lora", "one row of c", "x!:f32[3,20] w:f32[11,20] p!:f32[4,20] q!:f32[11,4] c!:f32[11]", "tb=1 scale=0.5 compute=0", "normal" },
    { "lora", "c like y", "x!:f32[3,20] w:f32[11,20] p:f32[4,20] q:f32[11,4] c!:f32[3,11]", "tb=1 scale=-1 compute=0", "normal" },
    { "lora", "x needs no gradient", "x:f32[5,20] w:f32[11,20] p!:f32[4,20] q!:f32[11,4] -", "tb=1 scale=2 compute=0", "normal" },
    { "lora", "q4_1, as in training", "x!:f32[19,64] w:q4_1[40,64] p!:f32[16,64] q!:f32[40,16] -", "tb=1 scale=2 compute=0", "normal" },
    { "lora", "backward, q4_1, with the gradient so far", "x:f32[19,40] w:q4_1[40,64] p:f32[40,16] q:f32[16,64] c:f32[19,64]", "tb=0 scale=2 compute=0", "normal" },
    { "lora", "blocks of K and many columns", "x:f32[50,700] w:bf16[300,700] p:f32[8,700] q:f32[300,8] -", "tb=1 scale=2 compute=0", "normal" },
    { "lora", "rank 1, one row", "x:f32[1,5] w:f32[3,5] p:f32[1,5] q:f32[3,1] -", "tb=1 scale=1 compute=0", "normal" },
    { "lora", "no rows", "x:f32[0,5] w:f32[3,5] p:f32[2,5] q:f32[3,2] -", "tb=1 scale=1 compute=0", "normal" },
    { "lora", "fast, forward", "x!:f32[70,100] w:f32[90,100] p!:f32[16,100] q!:f32[90,16] c:f32[90]", "tb=1 scale=2 compute=1", "normal" },
    { "lora", "fast, q4_1, rank 40", "x:f32[33,64] w:q4_1[70,64] p:f32[40,64] q:f32[70,40] -", "tb=1 scale=0.25 compute=1", "normal" },
    { "lora", "fast, q8_0, b beyond L2", "x:f32[40,640] w:q8_0[1000,640] p:f32[16,640] q:f32[1000,16] c:f32[40,1000]", "tb=1 scale=2 compute=1", "normal" },
    { "lora", "fast, backward", "x:f32[70,90] w:f32[90,100] p:f32[90,16] q:f32[16,100] c:f32[70,100]", "tb=0 scale=2 compute=1", "normal" },
    { "lora", "fast, backward, q4_1, rank 33", "x:f32[33,70] w:q4_1[70,64] p:f32[70,33] q:f32[33,64] -", "tb=0 scale=1 compute=1", "normal" },
    { "lora", "q does not fit", "x:f32[7,20] w:f32[11,20] p:f32[4,20] q:f32[10,4] -", "tb=1 scale=2 compute=0", "refused:E_SHAPE" },
    { "lora", "p does not fit", "x:f32[7,20] w:f32[11,20] p:f32[4,21] q:f32[11,4] -", "tb=1 scale=2 compute=0", "refused:E_SHAPE" },
    { "lora", "w turned", "x:f32[7,20] w:f32[20,11] p:f32[4,20] q:f32[11,4] -", "tb=1 scale=2 compute=0", "refused:E_SHAPE" },
    { "lora", "c does not fit", "x:f32[7,20] w:f32[11,20] p:f32[4,20] q:f32[11,4] c:f32[7,10]", "tb=1 scale=2 compute=0", "refused:E_SHAPE" },
    { "lora", "p in bf16", "x:f32[7,20] w:f32[11,20] p:bf16[4,20] q:f32[11,4] -", "tb=1 scale=2 compute=0", "refused:E_DTYPE" },
    { "lora", "w of integers", "x:f32[7,20] w:i32[11,20] p:f32[4,20] q:f32[11,4] -", "tb=1 scale=2 compute=0", "refused:E_DTYPE" },
    { 0 }
};
