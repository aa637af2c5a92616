/* SPDX-License-Identifier: Apache-2.0 */
#include "hub/post.h"
#include <stdio.h>
#include <string.h>
#include "hub/web.h"

typedef struct sending { const lmf_post *p; lmf_posted *out; } sending;

static bool take(void *user, const char *p, size_t n)
{
    lmf_posted *r = ((sending *)user)->out;
    size_t k = sizeof r->body - r->n_body < n ? sizeof r->body - r->n_body : n;
    memcpy(r->body + r->n_body, p, k);
    r->n_body += k;
    return true;
}

static bool stopped(void *user)
{
    const lmf_post *p = ((sending *)user)->p;
    return p->stopped && p->stopped(p->user);
}

lmf_status lmf_post_open(lmf_ctx *ctx, void **out)
{
    lmf_web *w;
    lmf_status s = lmf_web_open(ctx, &w);
    *out = w;
    return s;
}

void lmf_post_close(void *poster) { lmf_web_close(poster); }

void lmf_post_send(void *poster, const lmf_post *p, lmf_posted *out)
{
    sending x = { p, out };
    lmf_web_reply r;
    *out = (lmf_posted){ .retry_after = -1 };
    lmf_web_ask(poster, &(lmf_web_request){ .url = p->url, .body = p->body, .n = p->n, .headers = p->headers, .timeout_ms = p->timeout_ms,
                                            .take = take, .stopped = stopped, .user = &x }, &r);
    out->status = r.whole ? r.status : 0;
    out->retry_after = r.retry_after;
    snprintf(out->why, sizeof out->why, "%s", r.why);
}
