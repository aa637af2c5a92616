/* SPDX-License-Identifier: Apache-2.0 */
/* formula: tiny models whose weights are a formula, written as Hugging Face folders under the test's temporary folder. The formula
 * and its twin for peers: tools/golden/formula.py. Width 64, 4 heads, 2 of keys, feed-forward 96, a byte vocabulary with three
 * merges and ChatML's three control tokens. */
#ifndef LMF_TESTS_HARNESS_FORMULA_H
#define LMF_TESTS_HARNESS_FORMULA_H
#include "test.h"

typedef struct lmf_formula {
    uint64_t    seed;
    int         n_layers;
    bool        tied, bias;      /* bias: a qwen2 */
    const char *chat_template;   /* NULL: ChatML without marks of generation */
} lmf_formula;

/* Path of the folder; static storage as of lmf_test_path. Fails the test when it can't be written. */
const char *lmf_test_formula_model(const lmf_formula *f);
/* A PEFT folder for all seven projections, B not zero. */
const char *lmf_test_formula_adapter(uint64_t seed, int n_layers, int r, double alpha);
/* The same for a golden of tools/golden/families.py: its configuration, tensors and modules, seed 1. */
struct json_t;
const char *lmf_test_family_model(const struct json_t *golden);
const char *lmf_test_family_adapter(const struct json_t *golden, int r, double alpha);
/* 2 u - 1 of draw k: exact. */
float lmf_test_signed(uint64_t seed, uint32_t step, uint32_t stream, uint64_t k);

#endif
