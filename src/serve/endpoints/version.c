/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/server.h"

static void run(lmf_exchange *x) { lmf__reply_json(x, 200, json_pack("{s:s}", "version", LMF_VERSION)); }

const lmf_endpoint lmf_endpoint_version = { "GET", "/version", run, "The program's version" };
