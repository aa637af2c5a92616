/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/formats_test.h"

static void promises(void **state)
{
    (void)state;
    lmf_format_check("q8_0", &(lmf_format_promise){ LMF_Q8_0, 32, 34, LMF_FORMAT_QUANT, .step = 0.0041, .rel = 0x1p-10, .has_dot = true,
        .packed = 0x66abb28c162087f8, .values = 0x209236bb6fedff88 });
}

LMF_TESTS(q8_0) = { { "promises", promises }, { 0 } };
