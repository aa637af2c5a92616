/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/formats_test.h"

static void promises(void **state)
{
    (void)state;
    lmf_format_check("q4_1", &(lmf_format_promise){ LMF_Q4_1, 32, 20, LMF_FORMAT_QUANT, .step = 0.036, .rel = 0x1p-10, .has_dot = true,
        .packed = 0x77912ba45b264f3c, .values = 0x58d578159cee4fc9 });
}

LMF_TESTS(q4_1) = { { "promises", promises }, { 0 } };
