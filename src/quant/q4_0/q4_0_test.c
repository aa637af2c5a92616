/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/formats_test.h"

static void promises(void **state)
{
    (void)state;
    lmf_format_check("q4_0", &(lmf_format_promise){ LMF_Q4_0, 32, 18, LMF_FORMAT_QUANT, .step = 0.068, .rel = 0x1p-10, .has_dot = true,
        .packed = 0x69d56cc89cdfa5a3, .values = 0x6398c61b57f926de });
}

LMF_TESTS(q4_0) = { { "promises", promises }, { 0 } };
