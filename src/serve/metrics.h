/* SPDX-License-Identifier: Apache-2.0 */
/* metrics: the server's counters in Prometheus' text format. Owner: nothing is kept. Threads: the loop's. */
#ifndef LMF_SERVE_METRICS_H
#define LMF_SERVE_METRICS_H
#include "serve/server.h"

void lmf__metrics_print(lmf_server *s, lmf_buf *b); /* b.status says whether there was room */

#endif
