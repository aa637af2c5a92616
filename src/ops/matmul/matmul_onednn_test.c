/* SPDX-License-Identifier: Apache-2.0 */
/* Products that are large enough for the rows of matmul_onednn.c (128^3 and up). */
#include "op_case.h"

LMF_OP_CASES(matmul_onednn) = {
    { "matmul", "large nt", "a:f32[131,150] b:f32[140,150] -", "ta=0 tb=1 alpha=1 compute=1", "normal" },
    { "matmul", "large nn, scaled, c one row", "a:f32[131,150] b:f32[150,140] c:f32[140]", "ta=0 tb=0 alpha=-0.5 compute=1", "normal" },
    { "matmul", "large tn, c like y", "a:f32[150,131] b:f32[150,140] c:f32[131,140]", "ta=1 tb=0 alpha=2 compute=1", "normal" },
    { "matmul", "large tt", "a:f32[150,131] b:f32[140,150] -", "ta=1 tb=1 alpha=1 compute=1", "normal" },
    { "matmul", "large, three dims, strided", "a:f32[3,48,128]/160 b:f32[144,128]/136 c:f32[3,48,144]", "ta=0 tb=1 alpha=1 compute=1", "normal" },
    { "matmul", "large, exact: our own row", "a:f32[129,160] b:f32[144,160] c:f32[144]", "ta=0 tb=1 alpha=1 compute=0", "normal" },
    { "matmul", "large, fast, f32", "a:f32[129,160] b:f32[144,160] c:f32[144]", "ta=0 tb=1 alpha=1 compute=1", "normal" },
    { "matmul", "large, fast, bf16", "a:f32[129,160] b:bf16[144,160] -", "ta=0 tb=1 alpha=0.5 compute=1", "normal" },
    { "matmul", "large, fast, q4_1", "a:f32[129,160] b:q4_1[144,160] c:f32[129,144]", "ta=0 tb=1 alpha=1 compute=1", "normal" },
    { "matmul", "large, fast, q8_0 nn", "a:f32[129,144] b:q8_0[144,160] -", "ta=0 tb=0 alpha=1 compute=1", "normal" },
    { 0 }
};
