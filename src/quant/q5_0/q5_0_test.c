/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/q5_0/q5_0.h"
#include "quant/formats_test.h"

static void promises(void **state)
{
    (void)state;
    lmf_format_check("q5_0", &(lmf_format_promise){ LMF_Q5_0, 32, 22, LMF_FORMAT_QUANT, .step = 0.033, .rel = 0x1p-10, .abs = 3e-7, .has_dot = true,
        .packed = 0x62554a0b697c25fc, .values = 0xbba0486b574d43ee });
}

LMF_TESTS(q5_0) = { { "promises", promises }, { 0 } };
