/* SPDX-License-Identifier: Apache-2.0 */
/* arena: many small things with one lifetime. Everything taken from it is freed at once by clear; nothing is
 * freed alone. Memory is zeroed and aligned to 64 bytes where asked, 16 otherwise.
 * Owner: whoever calls init; must outlive what it hands out. Threads: one at a time. */
#ifndef LMF_BASE_ARENA_H
#define LMF_BASE_ARENA_H
#include "base/ctx.h"

typedef struct lmf_arena {
    lmf_ctx *ctx;
    struct lmf_arena_block *head;
    size_t   max_bytes;   /* refuses to grow past this */
    size_t   total_bytes; /* of all blocks */
} lmf_arena;

void  lmf_arena_init(lmf_arena *a, lmf_ctx *ctx, size_t max_bytes);
void  lmf_arena_clear(lmf_arena *a);                                    /* frees all; may be used again */
void *lmf_arena_alloc(lmf_arena *a, size_t bytes) LMF_MUST_USE;         /* zeroed; NULL at the maximum or out of memory */
void *lmf_arena_array(lmf_arena *a, size_t n, size_t item_bytes) LMF_MUST_USE; /* overflow checked; n 0 gives a valid pointer */
char *lmf_arena_strdup(lmf_arena *a, const char *s) LMF_MUST_USE;
char *lmf_arena_strndup(lmf_arena *a, const char *s, size_t n) LMF_MUST_USE; /* adds a NUL */
char *lmf_arena_printf(lmf_arena *a, const char *fmt, ...) LMF_PRINTF(2, 3) LMF_MUST_USE;

#endif
