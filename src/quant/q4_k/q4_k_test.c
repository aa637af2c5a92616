/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/q4_k/q4_k.h"
#include "quant/formats_test.h"

static void promises(void **state)
{
    (void)state;
    lmf_format_check("q4_k", &(lmf_format_promise){ LMF_Q4_K, 256, 144, LMF_FORMAT_QUANT, .step = 0.06, .rel = 0x1p-10, .abs = 3e-6, .has_dot = true,
        .packed = 0xa179f58d8a55e86a, .values = 0x13c1c779c7ed336f });
}

LMF_TESTS(q4_k) = { { "promises", promises }, { 0 } };
