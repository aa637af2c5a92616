/* SPDX-License-Identifier: Apache-2.0 */
#include "quant/iq4_nl/iq4_nl.h"
#include "quant/formats_test.h"

static void promises(void **state)
{
    (void)state;
    lmf_format_check("iq4_nl", &(lmf_format_promise){ LMF_IQ4_NL, 32, 18, LMF_FORMAT_QUANT, .step = 0.09, .rel = 0x1p-10, .abs = 3e-6,
        .has_dot = true, .packed = 0xb15a24a0010686a3, .values = 0xc2bf6121f9ed22ab });
}

LMF_TESTS(iq4_nl) = { { "promises", promises }, { 0 } };
