/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: any bytes as a configuration of a training run. What is taken is saved, read back, and gives the same text. */
#include <string.h>
#include "config/dialect.h"
#include "config/train_config.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
extern const lmf_tables lmf_all_tables;

static lmf_status read_and_write(lmf_arena *a, const char *text, size_t n, lmf_buf *out)
{
    lmf_document d;
    lmf_train_config c = { 0 };
    uint8_t seen[256] = { 0 };
    LMF_TRY(lmf_flag_defaults(a->ctx, lmf_train_fields, &c));
    LMF_TRY(lmf_document_parse(a, "fuzz", text, n, &d));
    LMF_TRY(lmf_config_apply(a->ctx, &d, lmf_train_fields, NULL, seen, &c, NULL));
    return lmf_config_text(a->ctx, "train", lmf_train_fields, &c, NULL, out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    lmf_ctx ctx;
    lmf_arena a;
    lmf_buf first, second;
    lmf_ctx_init(&ctx, &lmf_all_tables);
    lmf_arena_init(&a, &ctx, 1 << 26);
    lmf_buf_init(&first, &ctx, 1 << 24);
    lmf_buf_init(&second, &ctx, 1 << 24);
    if (!read_and_write(&a, (const char *)data, n, &first)) {
        lmf_status s = read_and_write(&a, lmf_buf_str(&first), first.n, &second);
        LMF_ASSERT(s == LMF_OK && strcmp(lmf_buf_str(&first), lmf_buf_str(&second)) == 0);
    }
    lmf_buf_clear(&first);
    lmf_buf_clear(&second);
    lmf_arena_clear(&a);
    LMF_ASSERT(ctx.live_bytes == 0);
    lmf_ctx_clear(&ctx);
    return 0;
}
