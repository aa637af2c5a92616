/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(adamw_8bit) = {
    { "adamw_8bit", "clipped, two blocks and a part", "p:f32[601] m:i8[601]<100 v:i8[601]<100 s:f32[2,3] g:f32[601] norm:f32[1]=17.5 "
      "hyper:f32[8]=0.001,0.9,0.999,1e-8,0.01,0.1,0.001,1", "", "positive", "0x1p-21" },
    { "adamw_8bit", "first step: scales are zero", "p:f32[256] m:i8[256]=0 v:i8[256]=0 s:f32[2,1]=0 g:f32[256] norm:f32[1]=3 "
      "hyper:f32[8]=0.01,0.9,0.99,1e-6,0,0.1,0.01,0", "", "normal" },
    { "adamw_8bit", "a norm as small as what keeps it from zero", "p:f32[64] m:i8[64]<100 v:i8[64]<100 s:f32[2,1] g:f32[64] "
      "norm:f32[1]=1e-6 hyper:f32[8]=0.01,0.9,0.99,1e-6,0,0.5,0.3,1e-6", "", "positive" },
    { "adamw_8bit", "norm is infinite: nothing moves", "p:f32[64] m:i8[64]<100 v:i8[64]<100 s:f32[2,1] g:f32[64] norm:f32[1]=inf "
      "hyper:f32[8]=0.01,0.9,0.99,1e-6,0,0.5,0.3,1", "", "positive" },
    { "adamw_8bit", "one scale too few", "p:f32[257] m:i8[257]<9 v:i8[257]<9 s:f32[2,1] g:f32[257] norm:f32[1] hyper:f32[8]", "",
      "refused:E_SHAPE" },
    { "adamw_8bit", "moments in f32", "p:f32[64] m:f32[64] v:i8[64]<9 s:f32[2,1] g:f32[64] norm:f32[1] hyper:f32[8]", "",
      "refused:E_DTYPE" },
    { 0 }
};
