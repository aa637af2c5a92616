/* SPDX-License-Identifier: Apache-2.0 */
#include "train/align_test.h"

static void recorded(void **state)
{
    (void)state;
    lmf_test_align("tests/parity/align_orpo.json", 0);
    lmf_test_align("tests/parity/align_orpo.json", 16); /* as few as fit: weights are of the whole step */
}

static void with_prompt(void **state)
{
    (void)state;
    lmf_test_align("tests/parity/align_orpo_prompt.json", 0);
    lmf_test_align("tests/parity/align_orpo_prompt.json", 16); /* as few as fit: weights are of the whole step */
}

LMF_TESTS(orpo) = { { "TRL's five steps, the answer's own loss", recorded }, { "TRL's five steps, prompts too", with_prompt }, { 0 } };
