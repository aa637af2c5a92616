/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/place.h"
#include <string.h>
#include "base/checked.h"

typedef struct ordered { size_t bytes; int32_t item; } ordered;

static int by_size(const void *pa, const void *pb)
{
    const ordered *a = pa, *b = pb;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    return a->item < b->item ? -1 : a->item > b->item;
}

/* done[0..n_done): what is placed, by offset. The lowest gap that holds `bytes` while the item lives. */
typedef struct placed { size_t offset, end; int32_t first, last; } placed;

static size_t lowest_gap(const placed *done, int n_done, const lmf_place_item *it, size_t bytes, size_t align)
{
    size_t at = 0;
    for (int k = 0; k < n_done; k++) {
        if (done[k].last < it->first || done[k].first > it->last)
            continue;
        if (done[k].offset >= at + bytes)
            break; /* later ones start higher still */
        size_t end = lmf_align_up(done[k].end, align);
        if (end > at)
            at = end;
    }
    return at;
}

lmf_status lmf_place(lmf_ctx *ctx, lmf_place_item *items, int n, size_t align, size_t *total)
{
    *total = 0;
    if (n == 0)
        return LMF_OK;
    size_t bytes = (size_t)n * (sizeof(ordered) + sizeof(placed));
    ordered *order = lmf_alloc(ctx, bytes);
    if (!order)
        return LMF_NO_MEMORY(ctx, bytes, "planning memory");
    placed *done = (placed *)(order + n);
    int n_done = 0;
    for (int i = 0; i < n; i++)
        order[i] = (ordered){ items[i].bytes, i };
    qsort(order, (size_t)n, sizeof *order, by_size);
    for (int i = 0; i < n && order[i].bytes; i++) {
        lmf_place_item *it = &items[order[i].item];
        it->offset = lowest_gap(done, n_done, it, it->bytes, align);
        int k = n_done++;
        while (k > 0 && done[k - 1].offset > it->offset)
            k--;
        memmove(&done[k + 1], &done[k], (size_t)(n_done - 1 - k) * sizeof *done);
        done[k] = (placed){ it->offset, it->offset + it->bytes, it->first, it->last };
        if (it->offset + it->bytes > *total)
            *total = it->offset + it->bytes;
    }
    lmf_free(ctx, order, bytes);
    return LMF_OK;
}
