/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/metrics.h"

static void run(lmf_exchange *x)
{
    lmf_fault f;
    lmf_buf b;
    if (!x->tenant->metrics) {
        lmf__refuse(&f, 403, NULL, NULL, "this key may not read the counters");
        lmf__reply_fault(x, &f);
        return;
    }
    lmf_buf_init(&b, x->server->ctx, (size_t)16 << 20);
    lmf__metrics_print(x->server, &b);
    lmf__reply_bytes(x, b.status ? 500 : 200, "text/plain; version=0.0.4; charset=utf-8", lmf_buf_str(&b), b.n);
    lmf_buf_clear(&b);
}

const lmf_endpoint lmf_endpoint_metrics = { "GET", "/metrics", run, "Counters in Prometheus' text format", .type = "text/plain" };
