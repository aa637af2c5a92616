/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(adamw) = {
    { "adamw", "first step, clipped", "p:f32[301] m:f32[301] v:f32[301] g:f32[301] norm:f32[1]=17.5 hyper:f32[8]=0.001,0.9,0.999,1e-8,0.01,0.1,0.001,1", "", "positive", "4e-7" },
    { "adamw", "no clipping, no decay", "p:f32[64] m:f32[64] v:f32[64] g:f32[64] norm:f32[1]=3 hyper:f32[8]=0.01,0.9,0.99,1e-6,0,0.5,0.3,0", "", "positive" },
    { "adamw", "a norm as small as what keeps it from zero", "p:f32[64] m:f32[64] v:f32[64] g:f32[64] norm:f32[1]=1e-6 "
      "hyper:f32[8]=0.01,0.9,0.99,1e-6,0,0.5,0.3,1e-6", "", "positive" },
    { "adamw", "norm is infinite: nothing moves", "p:f32[64] m:f32[64] v:f32[64] g:f32[64] norm:f32[1]=inf hyper:f32[8]=0.01,0.9,0.99,1e-6,0,0.5,0.3,1", "", "positive" },
    { "adamw", "shapes differ", "p:f32[64] m:f32[64] v:f32[63] g:f32[64] norm:f32[1] hyper:f32[8]", "", "refused:E_SHAPE" },
    { "adamw", "too few hyper-parameters", "p:f32[64] m:f32[64] v:f32[64] g:f32[64] norm:f32[1] hyper:f32[7]", "", "refused:E_SHAPE" },
    { 0 }
};
