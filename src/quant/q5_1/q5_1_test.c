/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/q5_1/q5_1.h"
#include "quant/formats_test.h"

static void promises(void **state)
{
    (void)state;
    lmf_format_check("q5_1", &(lmf_format_promise){ LMF_Q5_1, 32, 24, LMF_FORMAT_QUANT, .step = 0.018, .rel = 0x1p-10, .has_dot = true,
        .packed = 0x3768acd0685b67da, .values = 0x88f14340198c715e });
}

LMF_TESTS(q5_1) = { { "promises", promises }, { 0 } };
