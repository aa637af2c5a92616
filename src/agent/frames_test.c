/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/frames.h"
#include <string.h>
#include "test.h"

typedef struct row { lmf_frames_form form; const char *bytes, *messages; } row; /* messages: each ended by | */

static void check(lmf_ctx *ctx, const row *r, size_t step)
{
    lmf_frames f;
    char got[200] = "";
    const char *text;
    size_t n = strlen(r->bytes), k, at_got = 0;
    lmf__frames_init(&f, ctx, r->form);
    for (size_t at = 0; at <= n; at += step) {
        if (at + step > n)
            lmf__frames_end(&f);
        assert_ok(ctx, lmf__frames_push(&f, r->bytes + at, n - at < step ? n - at : step));
        while (lmf__frames_next(&f, &text, &k)) {
            assert_true(at_got + k + 2 < sizeof got);
            memcpy(got + at_got, text, k);
            got[at_got + k] = '|';
            at_got += k + 1;
        }
    }
    got[at_got] = 0;
    lmf__frames_clear(&f);
    assert_string_equal(got, r->messages);
}

static void messages(void **state)
{
    static const row rows[] = {
        { LMF_FRAMES_LINES, "a\nbc\r\n\n\r\nd", "a|bc|d|" }, { LMF_FRAMES_LINES, "", "" }, { LMF_FRAMES_LINES, "a\rb\n", "a\rb|" },
        { LMF_FRAMES_WHOLE, "{\n}\n", "{\n}\n|" }, { LMF_FRAMES_WHOLE, "", "" },
        { LMF_FRAMES_EVENTS, "data: a\n\ndata:b\r\n\r\ndata:  c\r\r", "a|b| c|" },
        { LMF_FRAMES_EVENTS, "data: a\ndata: b\n\n", "a\nb|" }, { LMF_FRAMES_EVENTS, "data\n\n", "|" }, { LMF_FRAMES_EVENTS, "id: 1\n\n",
                "" },
        { LMF_FRAMES_EVENTS, ": no\nevent: other\ndata: a\n\nevent: message\ndata: b\n\ndata: c\nevent:\n\n", "b|c|" },
        { LMF_FRAMES_EVENTS, "database: a\n\n data: b\n\ndata: c", "" },
    };
    lmf_ctx *ctx = lmf_test_ctx();
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (size_t step = 1; step <= 100; step = step < 5 ? step + 1 : step * 20)
            check(ctx, &rows[i], step);
    lmf_test_ctx_done(ctx);
}

/* What is no message yet is not kept past the limit, in any form. */
static void limits(void **state)
{
    static char block[1 << 14];
    lmf_ctx *ctx = lmf_test_ctx();
    (void)state;
    memset(block, 'a', sizeof block);
    for (int form = 0; form < 3; form++)
        for (int lines = 0; lines < 2; lines++) { /* in one line, and in many of one event */
            lmf_frames f;
            const char *text;
            size_t n, sum = 0;
            lmf_status s = LMF_OK;
            lmf__frames_init(&f, ctx, (lmf_frames_form)form);
            for (; !s && !f.broken && sum < 64 << 20; sum += sizeof block) {
                if (lines && form == LMF_FRAMES_EVENTS)
                    s = lmf__frames_push(&f, "\ndata: ", 7);
                if (!s)
                    s = lmf__frames_push(&f, block, sizeof block);
                while (!s && lmf__frames_next(&f, &text, &n))
                    fail_msg("a message out of nothing");
            }
            assert_true(sum <= LMF_FRAMES_MAX + (1 << 17) && f.broken);
            assert_int_equal(lmf__frames_push(&f, "a", 1), LMF_E_LIMIT);
            lmf__frames_clear(&f);
        }
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(frames) = { { "messages however they are cut", messages }, { "a message without an end", limits }, { 0 } };
