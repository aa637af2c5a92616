/* SPDX-License-Identifier: Apache-2.0 */
/* attention_paged_rows: what the CPU rows of attention_paged read of a call: which rows of the batch follow one another, and where their
 * keys lie. */
#ifndef LMF_OPS_ATTENTION_PAGED_ROWS_H
#define LMF_OPS_ATTENTION_PAGED_ROWS_H
#include "ops/attention/attention_tile.h"

static inline bool lmf__ap_dense(const lmf_call *c)
{
    for (int i = 0; i < c->n_in; i++)
        if (!lmf_view_is_dense(&c->in[i]))
            return false;
    return true;
}
static inline bool lmf__ap_dead(const lmf_call *c, int64_t row)
{
    return ((const int32_t *)c->in[3].data)[row] < 0 || ((const int32_t *)c->in[4].data)[row] < 0;
}
/* Rows from `row` on that follow one another in one sequence, at most `most`. */
static inline int64_t lmf__ap_run(const lmf_call *c, int64_t row, int64_t most)
{
    const int32_t *seq = c->in[3].data, *pos = c->in[4].data;
    int64_t n = 1;
    while (n < most && row + n < c->in[0].dim[0] && seq[row + n] == seq[row] && pos[row + n] == pos[row] + n)
        n++;
    return n;
}
/* Keys of kv head hk of row's sequence; false where there is no such sequence. */
static inline bool lmf__ap_keys(const lmf_call *c, int64_t row, int64_t hk, int64_t head_size, lmf__at_keys *keys)
{
    const lmf_view *k = &c->in[1], *v = &c->in[2], *page = &c->in[5];
    int64_t s = ((const int32_t *)c->in[3].data)[row], kw = k->dim[2];
    if (s >= page->dim[0])
        return false;
    *keys = (lmf__at_keys){ .k = { (const char *)k->data + lmf_format_bytes(k->fmt, hk * head_size), k->fmt, lmf_format_bytes(k->fmt, kw) },
                            .v = { (const char *)v->data + lmf_format_bytes(v->fmt, hk * head_size), v->fmt, lmf_format_bytes(v->fmt, kw) },
                            .page = (const int32_t *)page->data + s * page->dim[1], .page_size = k->dim[1],
                            .n_pages = lmf__at_min(k->dim[0], v->dim[0]), .most = page->dim[1] * k->dim[1] };
    return true;
}

#endif
