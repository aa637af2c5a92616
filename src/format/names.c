/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: no libc qsort here: it may take memory behind the allocator's back, and may be quadratic. */
#include "format/names.h"
#include <string.h>

enum { ITEM_MAX = 64 };

static void sift_down(char *items, size_t at, size_t n, size_t item, int (*compare)(const void *, const void *))
{
    char moved[ITEM_MAX];
    memcpy(moved, items + at * item, item);
    for (size_t child; (child = 2 * at + 1) < n; at = child) {
        if (child + 1 < n && compare(items + child * item, items + (child + 1) * item) < 0)
            child++;
        if (compare(moved, items + child * item) >= 0)
            break;
        memcpy(items + at * item, items + child * item, item);
    }
    memcpy(items + at * item, moved, item);
}

void lmf_heap_sort(void *p, size_t n, size_t item, int (*compare)(const void *, const void *))
{
    char *items = p, top[ITEM_MAX];
    LMF_ASSERT(item <= ITEM_MAX);
    size_t sorted = 1;
    while (sorted < n && compare(items + (sorted - 1) * item, items + sorted * item) <= 0)
        sorted++;
    if (sorted >= n) /* files mostly are in order */
        return;
    for (size_t i = n / 2; i-- > 0;)
        sift_down(items, i, n, item, compare);
    for (size_t left = n; left > 1; left--) {
        memcpy(top, items, item);
        memcpy(items, items + (left - 1) * item, item);
        memcpy(items + (left - 1) * item, top, item);
        sift_down(items, 0, left - 1, item, compare);
    }
}

bool lmf_names_init(lmf_names *names, lmf_arena *arena, size_t n)
{
    names->row = lmf_arena_array(arena, n, sizeof *names->row);
    names->n = names->row ? n : 0;
    return names->row != NULL;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const lmf_name_row *)a)->name, ((const lmf_name_row *)b)->name);
}

const char *lmf_names_sort(lmf_names *names)
{
    lmf_heap_sort(names->row, names->n, sizeof *names->row, compare_names);
    for (size_t i = 1; i < names->n; i++)
        if (!strcmp(names->row[i - 1].name, names->row[i].name))
            return names->row[i].name;
    return NULL;
}

int64_t lmf_names_find(const lmf_names *names, const char *name)
{
    for (size_t lo = 0, hi = names->n; lo < hi;) {
        size_t mid = lo + (hi - lo) / 2;
        int c = strcmp(name, names->row[mid].name);
        if (c == 0)
            return names->row[mid].i;
        if (c < 0)
            hi = mid;
        else
            lo = mid + 1;
    }
    return -1;
}

static int compare_ranges(const void *a, const void *b)
{
    const lmf_range *x = a, *y = b;
    return x->at != y->at ? (x->at < y->at ? -1 : 1) : (x->end > y->end) - (x->end < y->end);
}

const lmf_range *lmf_ranges_sort(lmf_range *range, size_t n)
{
    lmf_heap_sort(range, n, sizeof *range, compare_ranges);
    for (size_t i = 1; i < n; i++)
        if (range[i].at < range[i - 1].end)
            return range + i;
    return NULL;
}
