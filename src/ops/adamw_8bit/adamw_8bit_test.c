/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include "op_case.h"
#include "ops/adamw_8bit/adamw_8bit.h"
#include "test.h"

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

/* After a first step m / bias1 is the gradient and sqrt(v / bias2) its magnitude: eps counts beside that, not beside sqrt(v), and a
 * gradient as great as eps moves by half a rate. */
static void eps_by_hand(void **state)
{
    (void)state;
    static lmf_maps8 map;
    const float hyper[LMF_ADAMW_8BIT_HYPER] = { 0.5f, 0.9f, 0.999f, 1e-3f, 0, 1 - 0.9f, 1 - 0.999f, 0 };
    float p[] = { 1, 1, 1 }, g[] = { 1e-3f, -1e-3f, 3e-3f }, sm = 0, sv = 0;
    uint8_t m[3] = { 0 }, v[3] = { 0 };
    lmf_dynamic8_map(true, map.m);
    lmf_dynamic8_map(false, map.v);
    lmf_adamw_8bit_block(&map, hyper, 1, g, 3, p, m, v, &sm, &sv);
    const double want[] = { 0.75, 1.25, 0.625 };
    for (int i = 0; i < 3; i++)
        if (!(fabs((double)p[i] - want[i]) <= 1e-5))
            fail_msg("parameter %d: %.9g, not %.9g", i, (double)p[i], want[i]);
}

LMF_TESTS(adamw_8bit) = { { "eps by hand", eps_by_hand }, { 0 } };
