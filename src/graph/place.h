/* SPDX-License-Identifier: Apache-2.0 */
/* place: puts things that live for a while into one arena, so that two that are alive at once never share a byte. */
#ifndef LMF_GRAPH_PLACE_H
#define LMF_GRAPH_PLACE_H
#include "base/ctx.h"

typedef struct lmf_place_item {
    size_t  bytes;        /* 0: takes no place */
    int32_t first, last;  /* alive from call `first` >= 0 to call `last`, both included */
    size_t  offset;       /* result, a multiple of align */
} lmf_place_item;

/* Largest first, each at the lowest offset that is free while it lives. *total: the end of the highest. Deterministic. */
lmf_status lmf_place(lmf_ctx *ctx, lmf_place_item *items, int n, size_t align, size_t *total);

#endif
