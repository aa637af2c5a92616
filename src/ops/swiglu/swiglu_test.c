/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(swiglu) = {
    { "swiglu", "the width of SmolLM2", "gate!:f32[3,1536] up!:f32[3,1536]", "", "normal", "1e-6 + 1e-30 mag" },
    { "swiglu", "odd", "gate!:f32[5,37] up!:f32[5,37]", "", "normal" },
    { "swiglu", "one element", "gate!:f32[1] up!:f32[1]", "", "normal" },
    { "swiglu", "three dims", "gate!:f32[2,3,19] up!:f32[2,3,19]", "", "normal" },
    { "swiglu", "no rows", "gate:f32[0,16] up:f32[0,16]", "", "normal" },
    { "swiglu", "strided rows", "gate!:f32[4,24]/40 up!:f32[4,24]/32", "", "normal" },
    { "swiglu", "far ends", "gate:f32[1,8]=-1000,-100,-88,-30,30,88,100,1000 up:f32[1,8]", "", "normal" },
    { "swiglu", "shapes differ", "gate:f32[2,16] up:f32[2,15]", "", "refused:E_SHAPE" },
    { "swiglu", "integers", "gate:i32[2,16]<9 up:i32[2,16]<9", "", "refused:E_DTYPE" },
    { "swiglu_bwd", "odd", "gate:f32[5,37] up:f32[5,37] dy:f32[5,37]", "", "normal", "1e-6 mag" },
    { "swiglu_bwd", "wide", "gate:f32[3,1536] up:f32[3,1536] dy:f32[3,1536]", "", "normal" },
    { "swiglu", "bf16, the width of SmolLM2", "gate!:bf16[3,1536] up!:bf16[3,1536]", "", "normal", "0x1p-7 + 1e-30 mag" },
    { "swiglu", "bf16, odd", "gate!:bf16[5,37] up!:bf16[5,37]", "", "normal" },
    { "swiglu", "bf16, one element", "gate!:bf16[1] up!:bf16[1]", "", "normal" },
    { "swiglu", "bf16, no rows", "gate:bf16[0,16] up:bf16[0,16]", "", "normal" },
    { "swiglu", "bf16, strided rows", "gate:bf16[4,24]/40 up:bf16[4,24]/32", "", "normal" },
    { "swiglu", "bf16, far ends", "gate:bf16[1,8]=-1000,-100,-88,-30,30,88,100,1000 up:bf16[1,8]", "", "normal" },
    { "swiglu_bwd", "bf16, odd", "gate:bf16[5,37] up:bf16[5,37] dy:bf16[5,37]", "", "normal", "0x1p-7 + 1e-6 mag" },
    { "swiglu_bwd", "bf16, wide", "gate:bf16[3,1536] up:bf16[3,1536] dy:bf16[3,1536]", "", "normal" },
    { "swiglu_bwd", "bf16, strided rows", "gate:bf16[4,24]/40 up:bf16[4,24] dy:bf16[4,24]/25", "", "normal" },
    { "swiglu", "types differ", "gate:bf16[2,16] up:f32[2,16]", "", "refused:E_DTYPE" },
    { 0 }
};
