/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: under AddressSanitizer every piece is its own block, so an overrun is reported where it happens. */
#include "base/arena.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/checked.h"

typedef struct lmf_arena_block {
    struct lmf_arena_block *next;
    size_t                  bytes; /* whole block, header included */
    size_t                  used;
    size_t                  pad;
} lmf_arena_block;

#if defined(__SANITIZE_ADDRESS__)
enum { BLOCK_MIN = 0, BLOCK_MAX = 0 };
#else
enum { BLOCK_MIN = 16 * 1024, BLOCK_MAX = 64 * 1024 };
#endif

void lmf_arena_init(lmf_arena *a, lmf_ctx *ctx, size_t max_bytes)
{
    *a = (lmf_arena){ .ctx = ctx, .max_bytes = max_bytes };
}

void lmf_arena_clear(lmf_arena *a)
{
    for (lmf_arena_block *b = a->head, *next; b; b = next) {
        next = b->next;
        lmf_free(a->ctx, b, b->bytes);
    }
    a->head = NULL;
    a->total_bytes = 0;
}

void *lmf_arena_alloc(lmf_arena *a, size_t bytes)
{
    size_t need;
    if (bytes > SIZE_MAX - 15)
        return NULL;
    bytes = bytes ? (bytes + 15) & ~(size_t)15 : 16;
    lmf_arena_block *b = a->head;
    if (!b || b->bytes - b->used < bytes) {
        /* blocks double, so that a large arena has few of them; up to a bound, since what is never taken of one is zeroed too */
        size_t grow = BLOCK_MIN ? (a->total_bytes > BLOCK_MIN ? a->total_bytes : BLOCK_MIN) : 0;
        if (grow > BLOCK_MAX)
            grow = BLOCK_MAX;
        if (!lmf_add_size(bytes, sizeof *b, &need))
            return NULL;
        size_t room = a->max_bytes - a->total_bytes;
        if (need < grow)
            need = grow < room ? grow : need; /* near the maximum, only what is asked for */
        if (need > room)
            return NULL;
        b = lmf_alloc(a->ctx, need);
        if (!b)
            return NULL;
        b->bytes = need;
        b->used = sizeof *b;
        b->next = a->head;
        a->head = b;
        a->total_bytes += need;
    }
    void *p = (char *)b + b->used;
    b->used += bytes;
    return p;
}

void *lmf_arena_array(lmf_arena *a, size_t n, size_t item_bytes)
{
    size_t bytes;
    return lmf_mul_size(n, item_bytes, &bytes) ? lmf_arena_alloc(a, bytes) : NULL;
}

char *lmf_arena_strndup(lmf_arena *a, const char *s, size_t n)
{
    size_t bytes;
    char *p = lmf_add_size(n, 1, &bytes) ? lmf_arena_alloc(a, bytes) : NULL;
    if (p && n)
        memcpy(p, s, n);
    return p;
}

char *lmf_arena_strdup(lmf_arena *a, const char *s)
{
    return lmf_arena_strndup(a, s, strlen(s));
}

char *lmf_arena_printf(lmf_arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    char *p = n < 0 ? NULL : lmf_arena_alloc(a, (size_t)n + 1);
    if (p)
        vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}
