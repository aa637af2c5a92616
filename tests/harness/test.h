/* SPDX-License-Identifier: Apache-2.0 */
/* test: how a *_test.c beside its source joins the one test binary. The file src/text/bpe_test.c ends with
 *
 *     LMF_TESTS(bpe) = { { "merges by rank", merges_by_rank }, { 0 } };
 *
 * (bpe: the file's name without _test.c); the build finds it. Asserts are cmocka's. Run one folder or file:
 * lmf_tests src/text, lmf_tests bpe; cap the CPU level: lmf_tests --isa avx2. */
#ifndef LMF_TESTS_HARNESS_TEST_H
#define LMF_TESTS_HARNESS_TEST_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "base/ctx.h"

typedef struct lmf_test { const char *name; void (*run)(void **state); } lmf_test;
#define LMF_TESTS(stem) const lmf_test lmf_tests_##stem[]

/* A context with all tables, features capped by --isa, and exact counting of memory. */
lmf_ctx *lmf_test_ctx(void);
/* Fails the test unless every byte was given back; destroys it. */
void lmf_test_ctx_done(lmf_ctx *ctx);
/* Runs body(ctx, arg) with the n-th shimmed call failing for n = 1, 2, 3 ... until one run meets no failure.
 * Each failing run must return a status other than LMF_OK, leave a sentence, and leak nothing. Returns the number
 * of runs that failed on purpose (assert on it, so that the sweep can't be empty). */
int lmf_test_fail_each_call(lmf_status (*body)(lmf_ctx *ctx, void *arg), void *arg);
/* Path of a fresh file or folder name under the test's own temporary folder, removed at exit. Static storage, 8 at a time. */
const char *lmf_test_path(const char *name);
/* Path of a file in the source tree, given from its root: "tests/parity/x.bin". Static storage, 8 at a time. */
const char *lmf_test_source_path(const char *name);

/* cmocka has no message form of its own for this: shows the context's sentence. */
#define assert_ok(ctx, call) do { lmf_status s_ = (call); if (s_) fail_msg("%s: %s: %s", #call, lmf_status_name(s_), lmf_error(ctx)); } while (0)
/* The call fails with that status and its sentence holds `words`. */
#define assert_refused(ctx, status, words, call) do { lmf_status s_ = (call); \
    if (s_ != (status)) fail_msg("%s: %s, not %s (%s)", #call, lmf_status_name(s_), #status, lmf_error(ctx)); \
    if (!strstr(lmf_error(ctx), (words))) fail_msg("%s: \"%s\" does not say \"%s\"", #call, lmf_error(ctx), (words)); } while (0)

#endif
