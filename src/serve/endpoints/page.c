/* SPDX-License-Identifier: Apache-2.0 */
/* The chat page (web/chat.html) for browsers, which ask for text/html; a word about the server for all others. The page may ask this
 * server alone, and runs what carries this answer's nonce alone. */
#include <stdio.h>
#include <string.h>
#include "serve/server.h"

extern const char lmf__page[];
extern const size_t lmf__page_bytes;

static void send_page(lmf_exchange *x)
{
    static const char mark[] = "%NONCE%";
    char nonce[33], policy[512];
    lmf_buf b;
    lmf_buf_init(&b, x->server->ctx, (size_t)1 << 22);
    snprintf(nonce, sizeof nonce, "%016llx%016llx", (unsigned long long)lmf__server_random(x->server),
        (unsigned long long)lmf__server_random(x->server));
    const char *at = lmf__page;
    for (const char *next; (next = strstr(at, mark)); at = next + sizeof mark - 1) {
        lmf_buf_append(&b, at, (size_t)(next - at));
        lmf_buf_puts(&b, nonce);
    }
    lmf_buf_append(&b, at, (size_t)(lmf__page + lmf__page_bytes - at));
    snprintf(policy, sizeof policy, "default-src 'none'; script-src 'nonce-%s'; style-src 'nonce-%s'; connect-src 'self'; "
             "img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'", nonce, nonce);
    x->policy = policy;
    lmf__reply_bytes(x, b.status ? 500 : 200, "text/html; charset=utf-8", lmf_buf_str(&b), b.n);
    lmf_buf_clear(&b);
}

static void run(lmf_exchange *x)
{
    const char *accept = lmf_http_header(x->http, "accept");
    if (accept && strstr(accept, "text/html"))
        send_page(x);
    else
        lmf__reply_json(x, 200, json_pack("{s:s, s:s, s:s}", "name", "LMFast", "version", LMF_VERSION, "description", "/openapi.json"));
}

/* Whether a server is there. */
static void probe(lmf_exchange *x) { lmf__reply_bytes(x, 200, "text/plain", "", 0); }

const lmf_endpoint lmf_endpoint_probe = { "HEAD", "/", probe, "Whether a server is there", .open = true, .type = "text/plain" };
const lmf_endpoint lmf_endpoint_page = { "GET", "/", run, "A page to chat on, where text/html is accepted", .open = true };
