/* SPDX-License-Identifier: Apache-2.0 */
#include "train/align_test.h"

static void recorded(void **state)
{
    (void)state;
    lmf_test_align("tests/parity/align_kto_weights.json", 0);
    lmf_test_align("tests/parity/align_kto_weights.json", 16); /* as few as fit: what is measured is of the whole step */
}

LMF_TESTS(kto) = { { "TRL's five steps, kinds weighed", recorded }, { 0 } };
