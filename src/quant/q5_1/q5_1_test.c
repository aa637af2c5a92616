/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/q5_1/q5_1.h"
#include "quant/formats_test.h"

static void promises(void **state)
{
    (void)state;
    lmf_format_check("q5_1", &(lmf_format_promise){ LMF_Q5_1, 32, 24, LMF_FORMAT_QUANT, .step = 0.018, .rel = 0x1p-10, .has_dot = true,
        .packed = 0x3768acd0685b67da, .values = 0x88f14340198c715e });
}

/* The reference adds a half and cuts. */
static void halves_go_up(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const lmf_format *f = lmf_format_find(ctx, "q5_1");
    float x[32], y[32];
    uint8_t block[24];
    for (int e = 0; e < 32; e++)
        x[e] = e == 0 ? 0 : e == 31 ? 31 : (float)(e % 31) + 0.5f;
    f->pack(x, block, 32);
    f->unpack(block, y, 32);
    for (int e = 0; e < 32; e++)
        assert_true(y[e] == (e == 0 ? 0 : e == 31 ? 31 : (float)(e % 31) + 1));
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(q5_1) = { { "promises", promises }, { "halves go up", halves_go_up }, { 0 } };
