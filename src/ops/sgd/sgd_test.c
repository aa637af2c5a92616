/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(sgd) = {
    { "sgd", "momentum, decay, clipped", "p:f32[301] m:f32[301] g:f32[301] norm:f32[1]=17.5 hyper:f32[4]=0.1,0.9,0.01,1", "", "positive",
      "4e-7 mag" },
    { "sgd", "none of them", "p:f32[64] m:f32[64] g:f32[64] norm:f32[1]=3 hyper:f32[4]=0.1,0,0,0", "", "normal" },
    { "sgd", "a norm as small as what keeps it from zero", "p:f32[64] m:f32[64] g:f32[64] norm:f32[1]=1e-6 "
      "hyper:f32[4]=0.1,0.9,0.01,1e-6", "", "positive" },
    { "sgd", "norm is infinite: nothing moves", "p:f32[64] m:f32[64] g:f32[64] norm:f32[1]=inf hyper:f32[4]=0.1,0.9,0.1,1", "", "normal" },
    { "sgd", "shapes differ", "p:f32[64] m:f32[63] g:f32[64] norm:f32[1] hyper:f32[4]", "", "refused:E_SHAPE" },
    { "sgd", "too few values", "p:f32[64] m:f32[64] g:f32[64] norm:f32[1] hyper:f32[3]", "", "refused:E_SHAPE" },
    { 0 }
};
