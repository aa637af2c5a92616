/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/iq4_nl/iq4_nl.h"
#include "quant/formats_test.h"

static void promises(void **state)
{
    (void)state;
    lmf_format_check("iq4_nl", &(lmf_format_promise){ LMF_IQ4_NL, 32, 18, LMF_FORMAT_QUANT, .step = 0.09, .rel = 0x1p-10, .abs = 3e-6,
        .has_dot = true, .packed = 0xb15a24a0010686a3, .values = 0xc2bf6121f9ed22ab });
}

/* The middle between two levels goes to the upper one, as in llama.cpp's best_index_int8. */
static void ties(void **state)
{
    (void)state;
    static const int8_t levels[16] = { LMF_IQ4_NL_LEVELS };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_iq4_nl block;
    float x[32] = { levels[0] };
    for (int q = 1; q < 16; q++)
        x[q] = (float)(levels[q - 1] + levels[q]) / 2;
    lmf_format_find(ctx, "iq4_nl")->pack(x, &block, 32);
    for (int q = 0; q < 16; q++)
        assert_int_equal(block.qs[q] & 15, q);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(iq4_nl) = { { "promises", promises }, { "ties", ties }, { 0 } };
