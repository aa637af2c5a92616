/* SPDX-License-Identifier: Apache-2.0 */
/* stream: an answer's tokens to text that may be shown at once: whole UTF-8 at every moment, and no part of a stop text. What could
 * still become a stop text waits. How the text is cut into tokens changes neither what leaves nor where it ends.
 *
 *     lmf_text_stream st;
 *     LMF_TRY(lmf_text_stream_init(&st, ctx, stops, n_stops));
 *     LMF_TRY(lmf_text_stream_push(&st, tokenizer, id, &text, &fresh));   // show fresh; st.i_stop >= 0: the answer is over
 *     LMF_TRY(lmf_text_stream_end(&st, &text, &fresh));                   // the last: what waited
 *
 * text is the caller's buffer, empty at first: it holds the answer without its stop text, and behind st.n_out what waits.
 * Of several stop texts the one that is complete first ends the answer; of two that end at the same byte, the longer.
 * Owner: the caller's storage, nothing to clear; stop texts are borrowed. Threads: one at a time. */
#ifndef LMF_TEXT_STREAM_H
#define LMF_TEXT_STREAM_H
#include "text/tokenizer/tokenizer.h"

enum { LMF_MAX_STOPS = 16, LMF_STOP_MAX_BYTES = 4096 };

typedef struct lmf_text_stream {
    const char *const *stop;         /* [n_stops] */
    int               n_stops;
    lmf_decode_stream decode;
    size_t            n_out;         /* bytes of the text that have left */
    int               i_stop;        /* the stop text that ended the answer; -1: none */
} lmf_text_stream;
typedef struct lmf_fresh { const char *data; size_t n; } lmf_fresh; /* in text, until the next push */

/* LMF_E_ARG: an empty stop text, or one that is not UTF-8; LMF_E_LIMIT: more than LMF_MAX_STOPS, or longer than LMF_STOP_MAX_BYTES. */
lmf_status lmf_text_stream_init(lmf_text_stream *s, lmf_ctx *ctx, const char *const *stop, int n_stops);
/* One token; control tokens give no text. After the stop text nothing more comes. */
lmf_status lmf_text_stream_push(lmf_text_stream *s, const lmf_tokenizer *t, int32_t id, lmf_buf *text, lmf_fresh *fresh);
lmf_status lmf_text_stream_push_bytes(lmf_text_stream *s, const void *p, size_t n, lmf_buf *text, lmf_fresh *fresh);
/* No more will come: what waited leaves, and a character that is not whole as U+FFFD. */
lmf_status lmf_text_stream_end(lmf_text_stream *s, lmf_buf *text, lmf_fresh *fresh);

#endif
