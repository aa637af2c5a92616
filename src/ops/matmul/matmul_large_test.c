/* SPDX-License-Identifier: Apache-2.0 */
/* Products that are large enough for the rows of matmul_onednn.c and matmul_bf16.c. */
#include "op_case.h"

LMF_OP_CASES(matmul_large) = {
    { "matmul", "large nt", "a:f32[131,150] b:f32[140,150] -", "ta=0 tb=1 alpha=1 compute=1", "normal" },
    { "matmul", "large nn, scaled, c one row", "a:f32[131,150] b:f32[150,140] c:f32[140]", "ta=0 tb=0 alpha=-0.5 compute=1", "normal" },
    { "matmul", "large tn, c like y", "a:f32[150,131] b:f32[150,140] c:f32[131,140]", "ta=1 tb=0 alpha=2 compute=1", "normal" },
    { "matmul", "large tt", "a:f32[150,131] b:f32[140,150] -", "ta=1 tb=1 alpha=1 compute=1", "normal" },
    { "matmul", "large, three dims, strided", "a:f32[3,48,128]/160 b:f32[144,128]/136 c:f32[3,48,144]", "ta=0 tb=1 alpha=1 compute=1", "normal" },
    { "matmul", "large, exact: our own row", "a:f32[129,160] b:f32[144,160] c:f32[144]", "ta=0 tb=1 alpha=1 compute=0", "normal", "0x1p-24 n mag" },
    { "matmul", "large, fast, f32", "a:f32[129,160] b:f32[144,160] c:f32[144]", "ta=0 tb=1 alpha=1 compute=1", "normal" },
    { "matmul", "large, fast, bf16", "a:f32[129,160] b:bf16[144,160] -", "ta=0 tb=1 alpha=0.5 compute=1", "normal" },
    { "matmul", "large, fast, q4_1", "a:f32[129,160] b:q4_1[144,160] c:f32[129,144]", "ta=0 tb=1 alpha=1 compute=1", "normal" },
    { "matmul", "large, fast, q8_0 nn", "a:f32[129,144] b:q8_0[144,160] -", "ta=0 tb=0 alpha=1 compute=1", "normal" },
    { "matmul", "thin tn: gradient of LoRA's A", "a:f32[610,16] b:f32[610,240] c:f32[16,240]", "ta=1 tb=0 alpha=1 compute=1", "normal" },
    { "matmul", "thin tn: gradient of LoRA's B", "a:f32[610,240] b:f32[610,16] c:f32[240,16]", "ta=1 tb=0 alpha=2 compute=1", "normal" },
    { "matmul", "thin tn, strided", "a:f32[370,140]/148 b:f32[370,41]/44 -", "ta=1 tb=0 alpha=1 compute=1", "normal" },
    { "matmul", "thin tt, one row of c", "a:f32[700,200] b:f32[16,700] c:f32[16]", "ta=1 tb=1 alpha=1 compute=1", "normal" },
    { "matmul", "many columns: b beyond L2", "a:f32[40,640] b:q8_0[1000,640] -", "ta=0 tb=1 alpha=1 compute=1", "normal" },
    { 0 }
};
