/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: any bytes as a connection. Read whole and cut into pieces they are the same requests; what follows a refusal is not read;
 * and
 * the body of each is JSON whose parameters are taken or refused with a status, a name and a sentence. */
#include <string.h>
#include "format/json.h"
#include "serve/http.h"
#include "serve/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

static void read_body(lmf_ctx *ctx, const lmf_http *h)
{
    static const char *const no_adapter = NULL;
    json_t *body;
    lmf_server s = { .ctx = ctx, .o = { .model_name = "m", .adapter_names = &no_adapter },
        .engine_info = { .vocab = 1000, .context = 100 } };
    lmf_request r;
    lmf_fault f;
    if (lmf_json_parse(ctx, lmf_buf_str(&h->body), h->body.n, "the body", LMF_JSON_SMALL, &body))
        return;
    lmf__request_init(&r, ctx);
    if (lmf__request_read(&r, &s, body, &f))
        LMF_ASSERT(r.n >= 1 && r.n <= LMF_REQUEST_MAX_N && r.temperature >= 0 && r.top_p <= 1 && r.n_stops <= LMF_REQUEST_MAX_STOPS);
    else
        LMF_ASSERT(f.status >= 400 && f.status < 500 && f.param[0] && f.message[0]);
    lmf__request_clear(&r);
    json_decref(body);
}

/* One request from data; the bytes that were its own. step 0: in one piece. */
static size_t read_one(lmf_http *h, const uint8_t *data, size_t n, size_t step)
{
    size_t at = 0, used;
    while (at < n && h->state == LMF_HTTP_MORE) {
        size_t left = n - at, part = step && step < left ? step : left;
        lmf_http_push(h, (const char *)data + at, part, &used);
        LMF_ASSERT(used <= part);
        at += used;
    }
    return at;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    lmf_ctx ctx;
    lmf_http whole, cut;
    lmf_ctx_init(&ctx, NULL);
    size_t step = n ? 1 + data[n - 1] % 7 : 1;
    for (int k = 0; k < 8 && n; k++) {
        lmf_http_init(&whole, &ctx, NULL);
        lmf_http_init(&cut, &ctx, NULL);
        size_t used = read_one(&whole, data, n, 0), used_cut = read_one(&cut, data, n, step);
        LMF_ASSERT(whole.state == cut.state);
        if (whole.state == LMF_HTTP_DONE) {
            LMF_ASSERT(used == used_cut && whole.body.n == cut.body.n && whole.n_headers == cut.n_headers &&
                whole.keep_alive == cut.keep_alive);
            LMF_ASSERT(whole.body.n == 0 || memcmp(whole.body.data, cut.body.data, whole.body.n) == 0);
            LMF_ASSERT(strcmp(lmf_http_target(&whole), lmf_http_target(&cut)) == 0);
            read_body(&ctx, &whole);
        }
        bool more = whole.state == LMF_HTTP_DONE;
        LMF_ASSERT(whole.state != LMF_HTTP_BAD || (whole.status >= 400 && whole.why));
        lmf_http_clear(&whole);
        lmf_http_clear(&cut);
        data += used, n -= used;
        if (!more || used == 0)
            break;
    }
    LMF_ASSERT(ctx.live_bytes == 0);
    lmf_ctx_clear(&ctx);
    return 0;
}
