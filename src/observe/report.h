/* SPDX-License-Identifier: Apache-2.0 */
/* report: a training run as one HTML page that needs nothing else: charts of what was logged, the configuration, a receipt of the data.
 *
 *     lmf_report_in in = { "my run", log, n_log, config, n_config };
 *     LMF_TRY(lmf_report_html(ctx, &in, &page)); */
#ifndef LMF_OBSERVE_REPORT_H
#define LMF_OBSERVE_REPORT_H
#include "base/buf.h"

typedef struct lmf_report_in {
    const char *name;                       /* of the run */
    const char *log; size_t n_log;          /* metrics.jsonl */
    const char *config; size_t n_config;    /* lmfast_config.yaml; n_config 0: none */
} lmf_report_in;

#define LMF_REPORT_BEGIN "<!doctype html>\n<!-- lmfast report; "
/* LMF_E_FORMAT: a log without a line. The page is sealed (base/output.h). */
lmf_status lmf_report_html(lmf_ctx *ctx, const lmf_report_in *in, lmf_buf *out);

#endif
