/* SPDX-License-Identifier: Apache-2.0 */
#include "train/align_test.h"

static void recorded(void **state)
{
    (void)state;
    lmf_test_align("tests/parity/align_simpo.json", 0);
    lmf_test_align("tests/parity/align_simpo.json", 16); /* as few as fit: weights are of the whole step */
}

LMF_TESTS(simpo) = { { "TRL's five steps", recorded }, { 0 } };
