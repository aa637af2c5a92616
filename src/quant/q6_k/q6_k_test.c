/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/q6_k/q6_k.h"
#include "quant/formats_test.h"

static void promises(void **state)
{
    (void)state;
    lmf_format_check("q6_k", &(lmf_format_promise){ LMF_Q6_K, 256, 210, LMF_FORMAT_QUANT, .step = 0.02, .rel = 0x1p-10, .abs = 3e-6, .has_dot = true,
        .packed = 0xbb44ef8972faa834, .values = 0xa187d45defadfc1f });
}

LMF_TESTS(q6_k) = { { "promises", promises }, { 0 } };
