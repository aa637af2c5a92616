/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: n_free counts pages with refs 0, n_reserved of them are promised; refs says how many sessions hold a page. A page that is kept for
 * others is full and is not written any more. Whoever holds a kept page holds those before it, and lets go of it first: so the oldest of
 * those that nobody holds is never before another one. */
#include "infer/engine_impl.h"
#include <string.h>

enum { NONE = -1 };

lmf_status lmf__pages_init(lmf_pages *p, lmf_ctx *ctx, int32_t n, int32_t page_size, bool keep)
{
    *p = (lmf_pages){ .n = n, .n_free = n, .n_list = n, .size = page_size, .oldest = NONE, .newest = NONE };
    p->free_list = lmf_alloc(ctx, (size_t)n * sizeof *p->free_list);
    p->refs = lmf_alloc(ctx, (size_t)n * sizeof *p->refs);
    if (!p->free_list || !p->refs)
        return LMF_NO_MEMORY(ctx, 2 * (size_t)n * sizeof *p->refs, "the list of cache pages");
    for (int32_t i = 0; i < n; i++)
        p->free_list[i] = n - 1 - i;
    if (!keep)
        return LMF_OK;
    for (p->n_bucket = 64; p->n_bucket < n; p->n_bucket *= 2)
        ;
    p->kept = lmf_alloc(ctx, (size_t)n * sizeof *p->kept);
    p->tok = lmf_alloc(ctx, (size_t)n * (size_t)page_size * sizeof *p->tok);
    p->bucket = lmf_alloc(ctx, (size_t)p->n_bucket * sizeof *p->bucket);
    if (!p->kept || !p->tok || !p->bucket)
        return LMF_NO_MEMORY(ctx, (size_t)n * (size_t)page_size * sizeof *p->tok, "the tokens of cache pages");
    for (int32_t i = 0; i < p->n_bucket; i++)
        p->bucket[i] = NONE;
    return LMF_OK;
}

void lmf__pages_clear(lmf_pages *p, lmf_ctx *ctx)
{
    lmf_free(ctx, p->free_list, (size_t)p->n * sizeof *p->free_list);
    lmf_free(ctx, p->refs, (size_t)p->n * sizeof *p->refs);
    lmf_free(ctx, p->kept, (size_t)p->n * sizeof *p->kept);
    lmf_free(ctx, p->tok, (size_t)p->n * (size_t)p->size * sizeof *p->tok);
    lmf_free(ctx, p->bucket, (size_t)p->n_bucket * sizeof *p->bucket);
    *p = (lmf_pages){ 0 };
}

/* ---- pages that nobody holds, and that are kept ---- */

static void unlink_free(lmf_pages *p, int32_t page)
{
    const lmf_kept_page *k = &p->kept[page];
    *(k->older == NONE ? &p->oldest : &p->kept[k->older].newer) = k->newer;
    *(k->newer == NONE ? &p->newest : &p->kept[k->newer].older) = k->older;
}

static void link_free(lmf_pages *p, int32_t page)
{
    lmf_kept_page *k = &p->kept[page];
    k->older = p->newest, k->newer = NONE;
    *(p->newest == NONE ? &p->oldest : &p->kept[p->newest].newer) = page;
    p->newest = page;
}

static uint64_t hash(lmf_prefix_space space, int32_t parent, const int32_t *tok, int32_t n)
{
    uint64_t h = space.salt ^ (uint64_t)(uint32_t)space.adapter << 32 ^ (uint32_t)parent;
    for (int32_t i = 0; i < n; i++)
        h = (h ^ (uint32_t)tok[i]) * UINT64_C(0x9E3779B97F4A7C15), h ^= h >> 29;
    return h;
}

/* No longer kept; one that nobody holds is on no list afterwards. */
static void drop(lmf_pages *p, int32_t page)
{
    lmf_kept_page *k = &p->kept[page];
    int32_t *at = &p->bucket[k->hash & (uint64_t)(p->n_bucket - 1)];
    while (*at != page)
        at = &p->kept[*at].next;
    *at = k->next;
    if (p->refs[page] == 0)
        unlink_free(p, page);
    k->is = false;
}

bool lmf__page_is_kept(const lmf_pages *p, int32_t page) { return p->kept && p->kept[page].is; }

int32_t lmf__prefix_find(const lmf_pages *p, lmf_prefix_space space, int32_t parent, const int32_t *tok)
{
    uint64_t h = hash(space, parent, tok, p->size);
    for (int32_t page = p->bucket[h & (uint64_t)(p->n_bucket - 1)]; page != NONE; page = p->kept[page].next) {
        const lmf_kept_page *k = &p->kept[page];
        if (k->hash == h && k->parent == parent && k->space.salt == space.salt && k->space.adapter == space.adapter &&
            memcmp(p->tok + (size_t)page * (size_t)p->size, tok, (size_t)p->size * sizeof *tok) == 0)
            return page;
    }
    return NONE;
}

int32_t lmf__prefix_keep(lmf_pages *p, lmf_prefix_space space, int32_t parent, int32_t page, const int32_t *tok)
{
    int32_t same = lmf__prefix_find(p, space, parent, tok);
    if (same != NONE && same != page) {
        lmf__pages_release(p, page);
        lmf__pages_retain(p, same);
        return same;
    }
    lmf_kept_page *k = &p->kept[page];
    uint64_t h = hash(space, parent, tok, p->size);
    int32_t *bucket = &p->bucket[h & (uint64_t)(p->n_bucket - 1)];
    *k = (lmf_kept_page){ .hash = h, .space = space, .parent = parent, .next = *bucket, .is = true };
    *bucket = page;
    memcpy(p->tok + (size_t)page * (size_t)p->size, tok, (size_t)p->size * sizeof *tok);
    return page;
}

void lmf__prefix_forget(lmf_pages *p, int32_t adapter)
{
    for (int32_t page = 0; p->kept && page < p->n; page++)
        if (p->kept[page].is && (adapter == LMF_PREFIX_ALL || p->kept[page].space.adapter == adapter)) {
            drop(p, page);
            if (p->refs[page] == 0)
                p->free_list[p->n_list++] = page;
        }
}

/* ---- all pages ---- */

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
    p->n_free--;
    int32_t page = p->oldest;
    if (p->n_list)
        page = p->free_list[--p->n_list];
    else
        drop(p, page);
    p->refs[page] = 1;
    return page;
}

void lmf__pages_retain(lmf_pages *p, int32_t page)
{
    LMF_ASSERT(p->refs[page] > 0 || lmf__page_is_kept(p, page));
    if (p->refs[page]++ > 0)
        return;
    unlink_free(p, page);
    p->n_free--;
}

void lmf__pages_release(lmf_pages *p, int32_t page)
{
    LMF_ASSERT(p->refs[page] > 0);
    if (--p->refs[page] > 0)
        return;
    p->n_free++;
    if (lmf__page_is_kept(p, page))
        link_free(p, page);
    else
        p->free_list[p->n_list++] = page;
}
