/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/server.h"

static void run(lmf_exchange *x)
{
    bool ready = !x->server->draining;
    lmf__reply_json(x, ready ? 200 : 503, json_pack("{s:s}", "status", ready ? "ok" : "going down"));
}

const lmf_endpoint lmf_endpoint_health = { "GET", "/health", run, "Whether it answers; 503 while it goes down", .open = true };
