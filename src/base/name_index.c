/* SPDX-License-Identifier: Apache-2.0 */
#include "base/name_index.h"
#include <string.h>

void lmf_name_index_init(lmf_name_index *s, lmf_ctx *ctx) { *s = (lmf_name_index){ .ctx = ctx }; }

void lmf_name_index_clear(lmf_name_index *s)
{
    lmf_free(s->ctx, s->slot, (size_t)s->cap * sizeof *s->slot);
    lmf_name_index_init(s, s->ctx);
}

/* FNV-1a */
static uint32_t hash(const char *p)
{
    uint32_t h = 2166136261u;
    for (; *p; p++)
        h = (h ^ (uint8_t)*p) * 16777619u;
    return h;
}

/* The slot that holds name, or the free one where it belongs. */
static int32_t place(const lmf_name_index *s, const char *name)
{
    uint32_t i = hash(name) & (uint32_t)(s->cap - 1);
    while (s->slot[i].name && strcmp(s->slot[i].name, name))
        i = (i + 1) & (uint32_t)(s->cap - 1);
    return (int32_t)i;
}

int32_t lmf_name_index_find(const lmf_name_index *s, const char *name)
{
    if (!s->cap)
        return -1;
    const struct lmf_name_index_slot *e = &s->slot[place(s, name)];
    return e->name ? e->value : -1;
}

static lmf_status grow(lmf_name_index *s)
{
    lmf_name_index bigger = { .ctx = s->ctx, .cap = s->cap ? 2 * s->cap : 64 };
    size_t bytes = (size_t)bigger.cap * sizeof *bigger.slot;
    bigger.slot = lmf_alloc(s->ctx, bytes);
    if (!bigger.slot)
        return LMF_NO_MEMORY(s->ctx, bytes, "an index of names");
    for (int32_t i = 0; i < s->cap; i++)
        if (s->slot[i].name) {
            bigger.slot[place(&bigger, s->slot[i].name)] = s->slot[i];
            bigger.n++;
        }
    lmf_name_index_clear(s);
    *s = bigger;
    return LMF_OK;
}

lmf_status lmf_name_index_add(lmf_name_index *s, const char *name, int32_t value)
{
    if (4 * (s->n + 1) > 3 * s->cap)
        LMF_TRY(grow(s));
    struct lmf_name_index_slot *e = &s->slot[place(s, name)];
    if (e->name)
        return LMF_FAIL(s->ctx, LMF_E_EXISTS, "two tensors are called \"%s\"", name);
    *e = (struct lmf_name_index_slot){ name, value };
    s->n++;
    return LMF_OK;
}
