/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: n_free counts pages with refs 0, n_reserved of them are promised; refs says how many sessions hold a page. */
#include "infer/engine_impl.h"

lmf_status lmf__pages_init(lmf_pages *p, lmf_ctx *ctx, int32_t n)
{
    *p = (lmf_pages){ .n = n, .n_free = n };
    p->free_list = lmf_alloc(ctx, (size_t)n * sizeof *p->free_list);
    p->refs = lmf_alloc(ctx, (size_t)n * sizeof *p->refs);
    if (!p->free_list || !p->refs)
        return LMF_NO_MEMORY(ctx, 2 * (size_t)n * sizeof *p->refs, "the list of cache pages");
    for (int32_t i = 0; i < n; i++)
        p->free_list[i] = n - 1 - i;
    return LMF_OK;
}

void lmf__pages_clear(lmf_pages *p, lmf_ctx *ctx)
{
    lmf_free(ctx, p->free_list, (size_t)p->n * sizeof *p->free_list);
    lmf_free(ctx, p->refs, (size_t)p->n * sizeof *p->refs);
    *p = (lmf_pages){ 0 };
}

bool lmf__pages_reserve(lmf_pages *p, int32_t n)
{
    if (n > p->n_free - p->n_reserved)
        return false;
    p->n_reserved += n;
    return true;
}

void lmf__pages_unreserve(lmf_pages *p, int32_t n)
{
    LMF_ASSERT(n >= 0 && n <= p->n_reserved);
    p->n_reserved -= n;
}

int32_t lmf__pages_take(lmf_pages *p)
{
    LMF_ASSERT(p->n_reserved > 0 && p->n_free > 0);
    p->n_reserved--;
    int32_t page = p->free_list[--p->n_free];
    p->refs[page] = 1;
    return page;
}

void lmf__pages_retain(lmf_pages *p, int32_t page)
{
    LMF_ASSERT(p->refs[page] > 0);
    p->refs[page]++;
}

void lmf__pages_release(lmf_pages *p, int32_t page)
{
    LMF_ASSERT(p->refs[page] > 0);
    if (--p->refs[page] == 0)
        p->free_list[p->n_free++] = page;
}
