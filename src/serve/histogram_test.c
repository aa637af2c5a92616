/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/histogram.h"
#include <string.h>
#include "test.h"

/* Each bin counts what is not longer; what is longer than all of them is in the last and in the count. */
static void counts(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_histogram h = { 0 };
    lmf_buf out;
    lmf_buf_init(&out, ctx, 1 << 16);
    lmf_histogram_add(&h, 5000000);
    lmf_histogram_add(&h, 5000001);
    lmf_histogram_add(&h, INT64_C(1000000000));
    lmf_histogram_print(&h, "x_seconds", "help", &out);
    const char *text = lmf_buf_str(&out);
    static const char *const lines[] = { "_bucket{le=\"5\"} 1\n", "_bucket{le=\"10\"} 2\n", "_bucket{le=\"300\"} 2\n",
        "_bucket{le=\"+Inf\"} 3\n", "_count 3\n", "_sum 1010.000001\n" };
    for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
        if (!strstr(text, lines[i]))
            fail_msg("no \"%s\" in %s", lines[i], text);
    lmf_buf_clear(&out);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(histogram) = { { "counts", counts }, { 0 } };
