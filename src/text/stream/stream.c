/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: text before n_out has no byte of a stop text, for whatever may begin one waits. So a stop text is looked for from n_out on. */
#include "text/stream/stream.h"
#include <string.h>

static lmf_status check_stop(lmf_ctx *ctx, const char *stop, int i)
{
    lmf_decode_stream d = { 0 };
    lmf_buf shown;
    size_t n = strlen(stop);
    if (n == 0)
        return LMF_FAIL(ctx, LMF_E_ARG, "stop text %d is empty", i + 1);
    if (n > LMF_STOP_MAX_BYTES)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "stop text %d has %zu bytes, %d are allowed", i + 1, n, LMF_STOP_MAX_BYTES);
    lmf_buf_init(&shown, ctx, 3 * n + 3);
    lmf_status s = lmf_decode_stream_bytes(&d, stop, n, &shown);
    if (!s && (d.n_wait || shown.n != n || memcmp(shown.data, stop, n))) /* text is UTF-8, so this could cut a character or never match */
        s = LMF_FAIL(ctx, LMF_E_ARG, "stop text %d is not valid UTF-8", i + 1);
    lmf_buf_clear(&shown);
    return s;
}

lmf_status lmf_text_stream_init(lmf_text_stream *s, lmf_ctx *ctx, const char *const *stop, int n_stops)
{
    *s = (lmf_text_stream){ .stop = stop, .n_stops = n_stops, .i_stop = -1 };
    if (n_stops > LMF_MAX_STOPS)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "%d stop texts, %d are allowed", n_stops, LMF_MAX_STOPS);
    for (int i = 0; i < n_stops; i++)
        LMF_TRY(check_stop(ctx, stop[i], i));
    return LMF_OK;
}

/* The stop text that is complete first; *cut is where it begins. */
static int find_stop(const lmf_text_stream *s, const lmf_buf *text, size_t *cut)
{
    size_t end = SIZE_MAX;
    int found = -1;
    for (int i = 0; i < s->n_stops && text->n > s->n_out; i++) {
        size_t n = strlen(s->stop[i]);
        const char *p = memmem(text->data + s->n_out, text->n - s->n_out, s->stop[i], n);
        size_t at = p ? (size_t)(p - text->data) : 0;
        if (p && (at + n < end || (at + n == end && at < *cut)))
            found = i, *cut = at, end = at + n;
    }
    return found;
}

/* Bytes at the end of text that may be the beginning of a stop text. */
static size_t held_back(const lmf_text_stream *s, const lmf_buf *text)
{
    size_t most = 0, there = text->n - s->n_out;
    for (int i = 0; i < s->n_stops; i++) {
        size_t k = strlen(s->stop[i]) - 1;
        for (k = k < there ? k : there; k > most; k--)
            if (memcmp(text->data + text->n - k, s->stop[i], k) == 0)
                most = k;
    }
    return most;
}

static void let_go(lmf_text_stream *s, lmf_buf *text, bool last, lmf_fresh *fresh)
{
    size_t cut = 0;
    s->i_stop = find_stop(s, text, &cut);
    if (s->i_stop >= 0)
        lmf_buf_truncate(text, cut);
    size_t end = text->n - (last || s->i_stop >= 0 ? 0 : held_back(s, text));
    *fresh = (lmf_fresh){ lmf_buf_str(text) + s->n_out, end - s->n_out };
    s->n_out = end;
}

lmf_status lmf_text_stream_push(lmf_text_stream *s, const lmf_tokenizer *t, int32_t id, lmf_buf *text, lmf_fresh *fresh)
{
    *fresh = (lmf_fresh){ "", 0 };
    if (s->i_stop >= 0)
        return LMF_OK;
    LMF_TRY(lmf_decode_stream_push(&s->decode, t, id, LMF_DECODE_SKIP_SPECIAL, text));
    let_go(s, text, false, fresh);
    return LMF_OK;
}

lmf_status lmf_text_stream_push_bytes(lmf_text_stream *s, const void *p, size_t n, lmf_buf *text, lmf_fresh *fresh)
{
    *fresh = (lmf_fresh){ "", 0 };
    if (s->i_stop >= 0)
        return LMF_OK;
    LMF_TRY(lmf_decode_stream_bytes(&s->decode, p, n, text));
    let_go(s, text, false, fresh);
    return LMF_OK;
}

lmf_status lmf_text_stream_end(lmf_text_stream *s, lmf_buf *text, lmf_fresh *fresh)
{
    *fresh = (lmf_fresh){ "", 0 };
    if (s->i_stop >= 0)
        return LMF_OK;
    LMF_TRY(lmf_decode_stream_end(&s->decode, text));
    let_go(s, text, true, fresh);
    return LMF_OK;
}
