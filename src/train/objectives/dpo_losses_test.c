/* SPDX-License-Identifier: Apache-2.0 */
#include "train/align_test.h"

static void hinge(void **state)
{
    (void)state;
    lmf_test_align("tests/parity/align_dpo_hinge.json", 0);
    lmf_test_align("tests/parity/align_dpo_hinge.json", 16); /* as few as fit: weights are of the whole step */
}

static void robust(void **state)
{
    (void)state;
    lmf_test_align("tests/parity/align_dpo_robust.json", 0);
    lmf_test_align("tests/parity/align_dpo_robust.json", 16); /* as few as fit: weights are of the whole step */
}

static void with_nll(void **state)
{
    (void)state;
    lmf_test_align("tests/parity/align_dpo_rpo.json", 0);
    lmf_test_align("tests/parity/align_dpo_rpo.json", 16); /* as few as fit: weights are of the whole step */
}

LMF_TESTS(dpo_losses) = { { "TRL's five steps, hinge", hinge }, { "robust", robust },
                          { "with the chosen answers' own loss", with_nll }, { 0 } };
