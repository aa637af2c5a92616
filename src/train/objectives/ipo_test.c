/* SPDX-License-Identifier: Apache-2.0 */
#include "train/align_test.h"

static void recorded(void **state)
{
    (void)state;
    lmf_test_align("tests/parity/align_ipo.json", 0);
    lmf_test_align("tests/parity/align_ipo.json", 16); /* as few as fit: weights are of the whole step */
}

LMF_TESTS(ipo) = { { "TRL's five steps", recorded }, { 0 } };
