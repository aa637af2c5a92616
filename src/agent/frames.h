/* SPDX-License-Identifier: Apache-2.0 */
/* frames: messages out of bytes as they come: lines, server-sent events, or one whole body. A message past LMF_FRAMES_MAX ends it.
 *
 *     lmf__frames_init(&f, ctx, LMF_FRAMES_LINES);
 *     LMF_TRY(lmf__frames_push(&f, p, n));
 *     while (lmf__frames_next(&f, &text, &n)) ...       // borrowed until the next call
 *     lmf__frames_end(&f);                              // no more comes: what is left may be a message
 *
 * The messages are the same however the bytes are cut. Of events only those count that are named message, or not named.
 * Facts: html.spec.whatwg.org, "Server-sent events". Owner: the caller's storage. Threads: one at a time. */
#ifndef LMF_AGENT_FRAMES_H
#define LMF_AGENT_FRAMES_H
#include "base/buf.h"

enum { LMF_FRAMES_MAX = 4 << 20 };
typedef enum lmf_frames_form { LMF_FRAMES_LINES, LMF_FRAMES_EVENTS, LMF_FRAMES_WHOLE } lmf_frames_form;

typedef struct lmf_frames {
    lmf_frames_form form;
    lmf_buf bytes, data;      /* data: of the event that is read */
    size_t  at, seen;         /* bytes that are used; that hold no end of a line */
    bool    has_data, other, given,
        over; /* other: the event has a name that is not ours; given: data was handed out; over: no more comes */
    bool    broken;           /* a message was too long */
} lmf_frames;

void       lmf__frames_init(lmf_frames *f, lmf_ctx *ctx, lmf_frames_form form);
void       lmf__frames_clear(lmf_frames *f);
lmf_status lmf__frames_push(lmf_frames *f, const char *p, size_t n); /* LMF_E_LIMIT: a message is too long; LMF_E_MEMORY */
void       lmf__frames_end(lmf_frames *f);
bool       lmf__frames_next(lmf_frames *f, const char **text, size_t *n);

#endif
