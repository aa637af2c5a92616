/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/histogram.h"

static const double bound_s[LMF_HISTOGRAM_BINS] = { 0.001, 0.002, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 0.75, 1, 2,
    5, 10, 20, 60,
                                                    300 };

void lmf_histogram_add(lmf_histogram *h, int64_t us)
{
    double s = 1e-6 * (double)us;
    int i = 0;
    while (i < LMF_HISTOGRAM_BINS && s > bound_s[i])
        i++;
    h->n[i]++;
    h->sum_s += s;
}

void lmf_histogram_print(const lmf_histogram *h, const char *name, const char *help, lmf_buf *out)
{
    int64_t n = 0;
    lmf_buf_printf(out, "# HELP lmfast_%s %s\n# TYPE lmfast_%s histogram\n", name, help, name);
    for (int i = 0; i < LMF_HISTOGRAM_BINS; i++)
        lmf_buf_printf(out, "lmfast_%s_bucket{le=\"%g\"} %lld\n", name, bound_s[i], (long long)(n += h->n[i]));
    n += h->n[LMF_HISTOGRAM_BINS];
    lmf_buf_printf(out, "lmfast_%s_bucket{le=\"+Inf\"} %lld\nlmfast_%s_sum %.6f\nlmfast_%s_count %lld\n", name, (long long)n, name,
        h->sum_s, name,
                   (long long)n);
}
