/* SPDX-License-Identifier: Apache-2.0 */
/* test_config: what main.c tells the test helpers, once, before any test runs. */
#ifndef LMF_TESTS_HARNESS_TEST_CONFIG_H
#define LMF_TESTS_HARNESS_TEST_CONFIG_H
#include <stdint.h>
#include "base/ctx.h"

/* feature_cap: CPU features beyond it are hidden from rows; n_workers 0: the machine's default. */
void lmf_test_configure(uint64_t feature_cap, int n_workers);
/* lmf_test_ctx with tables of the test's own: the harness's self-tests plant ops in them. */
lmf_ctx *lmf_test_ctx_with(const lmf_tables *tables);
/* Live blocks of a test context, and what is wrong with its accounting ("" when all is well). */
size_t lmf_test_ctx_blocks(const lmf_ctx *ctx);
const char *lmf_test_ctx_fault(const lmf_ctx *ctx);
/* Destroys without asserting; true when every byte was given back. */
bool lmf_test_ctx_drop(lmf_ctx *ctx, char *text, size_t n);

#endif
