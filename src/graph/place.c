/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the offsets are those of the plain search, which walks over all that is placed from the lowest up; place_test.c has it.
 * To look at less, time is cut into slices, and each knows the runs of bytes that are taken while it lasts. */
#include "graph/place.h"
#include <string.h>
#include "base/arena.h"
#include "base/checked.h"

typedef struct ordered { size_t bytes; int32_t item; } ordered;

typedef struct run { size_t begin, end; int32_t first, last; } run; /* bytes taken from call `first` to `last`; end is aligned */
typedef struct runs { run *r; int n, cap, next; } runs;             /* by begin; next: where the search under way stands */
/* An item that lives through all of a slice meets whatever is taken in any part of it, so `blurred` forgets the lives, and runs
 * that touch become one. `exact` is for slices in which the item begins or ends. */
typedef struct slice { runs exact, blurred; } slice;

static int by_size(const void *pa, const void *pb)
{
    const ordered *a = pa, *b = pb;
    if (a->bytes != b->bytes)
        return a->bytes < b->bytes ? 1 : -1;
    return a->item < b->item ? -1 : a->item > b->item;
}

/* The lowest place from `at` up where these runs leave room for the item. What is passed won't meet it any more: it only rises. */
static size_t raise_over(runs *s, size_t at, const lmf_place_item *it)
{
    int i = s->next;
    for (; i < s->n && s->r[i].begin < at + it->bytes; i++)
        if (s->r[i].end > at && s->r[i].last >= it->first && s->r[i].first <= it->last)
            at = s->r[i].end;
    s->next = i;
    return at;
}

static runs *runs_of(slice *s, int i, int first, int last) { return i == first || i == last ? &s[i].exact : &s[i].blurred; }

/* Goes round the item's slices until none raises it. */
static size_t lowest_gap(slice *s, int32_t width, const lmf_place_item *it)
{
    int first = it->first / width, last = it->last / width;
    size_t at = 0;
    for (int i = first; i <= last; i++)
        runs_of(s, i, first, last)->next = 0;
    for (int i = first, n_quiet = 0; n_quiet <= last - first; i = i < last ? i + 1 : first) {
        size_t was = at;
        at = raise_over(runs_of(s, i, first, last), at, it);
        n_quiet = at == was ? n_quiet + 1 : 1;
    }
    return at;
}

/* a, which begins no later than b, reaches it and has the same life: both are one run. */
static bool joins(const run *a, const run *b) { return a->end >= b->begin && a->first == b->first && a->last == b->last; }

static bool runs_add(lmf_arena *a, runs *s, const run *x)
{
    int lo = 0, hi = s->n;
    while (lo < hi) {
        int mid = (lo + hi) / 2;
        if (s->r[mid].begin <= x->begin)
            lo = mid + 1;
        else
            hi = mid;
    }
    if (lo > 0 && joins(&s->r[lo - 1], x)) {
        lo--;
        s->r[lo].end = x->end > s->r[lo].end ? x->end : s->r[lo].end;
    } else {
        if (s->n == s->cap) {
            int cap = s->cap ? 2 * s->cap : 8;
            run *r = lmf_arena_array(a, (size_t)cap, sizeof *r);
            if (!r)
                return false;
            if (s->n)
                memcpy(r, s->r, (size_t)s->n * sizeof *r);
            s->r = r;
            s->cap = cap;
        }
        memmove(&s->r[lo + 1], &s->r[lo], (size_t)(s->n++ - lo) * sizeof *s->r);
        s->r[lo] = *x;
    }
    int k = lo + 1;
    for (; k < s->n && joins(&s->r[lo], &s->r[k]); k++)
        s->r[lo].end = s->r[k].end > s->r[lo].end ? s->r[k].end : s->r[lo].end;
    if (k > lo + 1) {
        memmove(&s->r[lo + 1], &s->r[k], (size_t)(s->n - k) * sizeof *s->r);
        s->n -= k - lo - 1;
    }
    return true;
}

static bool take(lmf_arena *a, slice *s, int32_t width, const lmf_place_item *it, size_t align)
{
    int first = it->first / width, last = it->last / width;
    for (int i = first; i <= last; i++) {
        run x = { it->offset, lmf_align_up(it->offset + it->bytes, align), 0, INT32_MAX };
        if (!runs_add(a, &s[i].blurred, &x))
            return false;
        x.first = i > first ? i * width : it->first;
        x.last = i < last ? i * width + width - 1 : it->last;
        if (!runs_add(a, &s[i].exact, &x))
            return false;
    }
    return true;
}

lmf_status lmf_place(lmf_ctx *ctx, lmf_place_item *items, int n, size_t align, size_t *total)
{
    lmf_status s = LMF_OK;
    lmf_arena a;
    int n_ordered = 0;
    int32_t last = 0, width = 16;
    *total = 0;
    lmf_arena_init(&a, ctx, (size_t)1 << 30);
    for (int i = 0; i < n; i++)
        if (items[i].bytes) {
            LMF_ASSERT(items[i].first >= 0 && items[i].first <= items[i].last);
            n_ordered++;
            last = items[i].last > last ? items[i].last : last;
        }
    while ((int64_t)width * width < 8 * (int64_t)last) /* many slices take long to go round, long ones hold many runs */
        width *= 2;
    ordered *order = lmf_arena_array(&a, (size_t)n_ordered, sizeof *order);
    slice *slices = lmf_arena_array(&a, (size_t)(last / width) + 1, sizeof *slices);
    LMF_TRY_TO(done, order && slices ? LMF_OK : LMF_NO_MEMORY(ctx, (size_t)n_ordered * sizeof *order, "planning memory"));
    for (int i = 0, k = 0; i < n; i++)
        if (items[i].bytes)
            order[k++] = (ordered){ items[i].bytes, i };
    qsort(order, (size_t)n_ordered, sizeof *order, by_size);
    for (int i = 0; i < n_ordered; i++) {
        lmf_place_item *it = &items[order[i].item];
        it->offset = lowest_gap(slices, width, it);
        LMF_TRY_TO(done, take(&a, slices, width, it, align) ? LMF_OK : LMF_NO_MEMORY(ctx, a.total_bytes, "planning memory"));
        if (it->offset + it->bytes > *total)
            *total = it->offset + it->bytes;
    }
done:
    lmf_arena_clear(&a);
    return s;
}
