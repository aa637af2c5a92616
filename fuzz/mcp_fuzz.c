/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: any bytes as what a server of tools sends, in lines, as events or as one body. Whole and cut into pieces they are the same
 * messages; each is an answer with a text or a sentence, a list of tools or a sentence, or passed over; a list differs from itself in
 * nothing. */
#include <string.h>
#include "agent/frames.h"
#include "agent/remote.h"
#include "agent/remote_tools.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void read_list(lmf_ctx *ctx, const json_t *result)
{
    json_t *tools = json_array(), *pin = NULL;
    const char *cursor;
    char text[200];
    if (!lmf__remote_read_page(ctx, result, tools, &cursor) && !lmf__pin_make(ctx, tools, &pin)) {
        lmf__pin_compare(pin, pin, text, sizeof text);
        LMF_ASSERT(text[0] == 0);
        lmf__pin_compare(NULL, pin, text, sizeof text);
        LMF_ASSERT((text[0] != 0) == (json_array_size(tools) != 0));
    }
    json_decref(pin);
    json_decref(tools);
}

static void read_message(lmf_ctx *ctx, const char *text, size_t n)
{
    json_t *message;
    lmf_heard heard = lmf__remote_hear(ctx, text, n, 1, &message);
    lmf_buf out;
    lmf_buf_init(&out, ctx, 101);
    lmf_tool_out o = { .buf = &out, .cap = 100 };
    LMF_ASSERT((heard == LMF_HEARD_NOTHING) == (message == NULL));
    const json_t *result = json_object_get(message, "result");
    if (heard == LMF_HEARD_ANSWER && result) {
        lmf_status s = lmf__remote_put_result(ctx, result, &o);
        LMF_ASSERT(out.n <= 100 && out.n <= o.n_all && (!s || lmf_error(ctx)[0]));
        read_list(ctx, result);
    }
    LMF_ASSERT(heard != LMF_HEARD_ANSWER || result || json_is_object(json_object_get(message, "error")));
    json_decref(message);
    lmf_buf_clear(&out);
}

/* The messages of data, each behind its length, in pieces of step bytes. */
static void collect(lmf_ctx *ctx, lmf_frames_form form, const uint8_t *data, size_t n, size_t step, bool reads, lmf_buf *out)
{
    lmf_frames f;
    const char *text;
    size_t k;
    lmf__frames_init(&f, ctx, form);
    for (size_t at = 0; at <= n; at += step) {
        if (at + step > n)
            lmf__frames_end(&f);
        if (lmf__frames_push(&f, (const char *)data + at, n - at < step ? n - at : step))
            break;
        if (at + step > n || form != LMF_FRAMES_WHOLE)
            while (lmf__frames_next(&f, &text, &k)) {
                lmf_buf_append(out, &k, sizeof k);
                lmf_buf_append(out, text, k);
                if (reads)
                    read_message(ctx, text, k);
            }
    }
    lmf__frames_clear(&f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    lmf_ctx ctx;
    lmf_buf whole, cut;
    if (n < 2 || n > 1 << 15)
        return 0;
    lmf_ctx_init(&ctx, NULL);
    lmf_buf_init(&whole, &ctx, 1 << 24);
    lmf_buf_init(&cut, &ctx, 1 << 24);
    lmf_frames_form form = (lmf_frames_form)(data[0] % 3);
    collect(&ctx, form, data + 1, n - 1, n, true, &whole);
    collect(&ctx, form, data + 1, n - 1, 1 + data[n - 1] % 7, false, &cut);
    LMF_ASSERT(whole.n == cut.n && (whole.n == 0 || memcmp(whole.data, cut.data, whole.n) == 0));
    lmf_buf_clear(&whole);
    lmf_buf_clear(&cut);
    LMF_ASSERT(ctx.live_bytes == 0);
    lmf_ctx_clear(&ctx);
    return 0;
}
