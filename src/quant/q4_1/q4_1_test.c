/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/formats_test.h"

static void promises(void **state)
{
    (void)state;
    lmf_format_check("q4_1", &(lmf_format_promise){ LMF_Q4_1, 32, 20, LMF_FORMAT_QUANT, .step = 0.036, .rel = 0x1p-10, .has_dot = true,
        .packed = 0x77912ba45b264f3c, .values = 0x58d578159cee4fc9 });
}

/* The reference adds a half and cuts. */
static void halves_go_up(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const lmf_format *f = lmf_format_find(ctx, "q4_1");
    float x[32], y[32];
    uint8_t block[20];
    for (int e = 0; e < 32; e++)
        x[e] = e == 0 ? 0 : e == 31 ? 15 : (float)(e % 15) + 0.5f;
    f->pack(x, block, 32);
    f->unpack(block, y, 32);
    for (int e = 0; e < 32; e++)
        assert_true(y[e] == (e == 0 ? 0 : e == 31 ? 15 : (float)(e % 15) + 1));
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(q4_1) = { { "promises", promises }, { "halves go up", halves_go_up }, { 0 } };
