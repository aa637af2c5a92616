/* SPDX-License-Identifier: Apache-2.0 */
/* histogram: how often something took how long, as Prometheus has it. Owner: the caller's storage, zeroed. Threads: one. */
#ifndef LMF_SERVE_HISTOGRAM_H
#define LMF_SERVE_HISTOGRAM_H
#include "base/buf.h"

enum { LMF_HISTOGRAM_BINS = 20 };

typedef struct lmf_histogram { int64_t n[LMF_HISTOGRAM_BINS + 1]; double sum_s; } lmf_histogram; /* the last bin: longer than all bounds */

void lmf_histogram_add(lmf_histogram *h, int64_t us);
void lmf_histogram_print(const lmf_histogram *h, const char *name, const char *help, lmf_buf *out);

#endif
