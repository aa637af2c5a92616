/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(geglu) = {
    { "geglu", "the width of Gemma 3 270M", "gate!:f32[3,2048] up!:f32[3,2048]", "", "normal", "2e-6 mag" },
    { "geglu", "odd", "gate!:f32[5,37] up!:f32[5,37]", "", "normal" },
    { "geglu", "one element", "gate!:f32[1] up!:f32[1]", "", "normal" },
    { "geglu", "three dims", "gate!:f32[2,3,19] up!:f32[2,3,19]", "", "normal" },
    { "geglu", "no rows", "gate:f32[0,16] up:f32[0,16]", "", "normal" },
    { "geglu", "strided rows", "gate!:f32[4,24]/40 up!:f32[4,24]/32", "", "normal" },
    { "geglu", "far ends", "gate:f32[1,8]=-10000,-100,-12,-5,5,12,100,10000 up:f32[1,8]", "", "normal" },
    { "geglu", "shapes differ", "gate:f32[2,16] up:f32[2,15]", "", "refused:E_SHAPE" },
    { "geglu", "integers", "gate:i32[2,16]<9 up:i32[2,16]<9", "", "refused:E_DTYPE" },
    { "geglu_bwd", "odd", "gate:f32[5,37] up:f32[5,37] dy:f32[5,37]", "", "normal", "4e-6 mag" },
    { "geglu_bwd", "wide", "gate:f32[3,2048] up:f32[3,2048] dy:f32[3,2048]", "", "normal" },
    { "geglu_bwd", "far ends", "gate:f32[1,8]=-10000,-100,-12,-5,5,12,100,10000 up:f32[1,8] dy:f32[1,8]", "", "normal" },
    { "geglu", "bf16, wide", "gate!:bf16[3,2048] up!:bf16[3,2048]", "", "normal", "0x1p-7 + 2e-6 mag" },
    { "geglu", "bf16, odd", "gate!:bf16[5,37] up!:bf16[5,37]", "", "normal" },
    { "geglu", "bf16, no rows", "gate:bf16[0,16] up:bf16[0,16]", "", "normal" },
    { "geglu", "bf16, far ends", "gate:bf16[1,8]=-10000,-100,-12,-5,5,12,100,10000 up:bf16[1,8]", "", "normal" },
    { "geglu_bwd", "bf16, odd", "gate:bf16[5,37] up:bf16[5,37] dy:bf16[5,37]", "", "normal", "0x1p-7 + 4e-6 mag" },
    { "geglu_bwd", "types differ", "gate:bf16[2,16] up:bf16[2,16] dy:f32[2,16]", "", "refused:E_DTYPE" },
    { 0 }
};
