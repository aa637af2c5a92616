/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: any bytes as a text, whole and in pieces whose lengths come from the bytes: the same comes out. */
#include <string.h>
#include "guard/guard.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
extern const lmf_tables lmf_all_tables;

static void pass(lmf_ctx *ctx, const lmf_guard_policy *p, const uint8_t *data, size_t n, bool pieces, lmf_buf *out)
{
    lmf_guard_stream s;
    lmf_status st = LMF_OK;
    lmf_guard_open(&s, ctx, p);
    for (size_t i = 0, k; i < n && !st; i += k) {
        k = pieces ? (size_t)data[n - 1 - i] % 7 + 1 : n;
        k = k < n - i ? k : n - i;
        st = lmf_guard_push(&s, (const char *)data + i, k, false, out);
    }
    if (!st)
        st = lmf_guard_push(&s, "", 0, true, out);
    LMF_ASSERT(st == LMF_OK);
    lmf_guard_close(&s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    lmf_ctx ctx;
    lmf_guard_policy p;
    lmf_buf whole, pieces;
    lmf_ctx_init(&ctx, &lmf_all_tables);
    lmf_guard_policy_init(&p);
    lmf_buf_init(&whole, &ctx, 1 << 26);
    lmf_buf_init(&pieces, &ctx, 1 << 26);
    pass(&ctx, &p, data, n, false, &whole);
    pass(&ctx, &p, data, n, true, &pieces);
    LMF_ASSERT(whole.n == pieces.n && memcmp(lmf_buf_str(&whole), lmf_buf_str(&pieces), whole.n) == 0);
    lmf_buf_clear(&whole);
    lmf_buf_clear(&pieces);
    LMF_ASSERT(ctx.live_bytes == 0);
    lmf_ctx_clear(&ctx);
    return 0;
}
