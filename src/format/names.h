/* SPDX-License-Identifier: Apache-2.0 */
/* names: finds one of many names, and says whether two are equal or two ranges overlap. Sorted arrays rather than a
 * hash table: names come from files, and nobody can choose them so that a look-up becomes slow.
 * Owner: the arena that it was built in; borrows the names. Threads: read only after the sort. */
#ifndef LMF_FORMAT_NAMES_H
#define LMF_FORMAT_NAMES_H
#include "base/arena.h"

typedef struct lmf_name_row { const char *name; uint32_t i; } lmf_name_row;
typedef struct lmf_names {
    lmf_name_row *row; /* sorted by name once lmf_names_sort ran */
    size_t        n;
} lmf_names;

/* Room for n names; fill row[], then sort. False: out of memory. */
bool        lmf_names_init(lmf_names *names, lmf_arena *arena, size_t n) LMF_MUST_USE;
/* Returns a name that occurs twice, or NULL. */
const char *lmf_names_sort(lmf_names *names) LMF_MUST_USE;
/* The i that was given with it, or -1. */
int64_t     lmf_names_find(const lmf_names *names, const char *name);

typedef struct lmf_range { size_t at, end; uint32_t i; } lmf_range; /* bytes [at, end) of thing i */
/* Sorts by at, then end. Returns the first range that begins before the one ahead of it ended, or NULL. */
const lmf_range *lmf_ranges_sort(lmf_range *range, size_t n) LMF_MUST_USE;

/* Heap sort: in place, no recursion, O(n log n) always. item_bytes at most 64. Equal items may change places. */
void lmf_heap_sort(void *items, size_t n, size_t item_bytes, int (*compare)(const void *, const void *));

#endif
