/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/weights.h"
#include <string.h>
#include "base/buf.h"

enum { WEIGHTS_MAX_BYTES_LOG2 = 40 };

lmf_status lmf_weights_create(lmf_ctx *ctx, lmf_weights **out)
{
    *out = lmf_new(ctx, lmf_weights);
    if (!*out)
        return LMF_NO_MEMORY(ctx, sizeof **out, "a set of weights");
    (*out)->ctx = ctx;
    (*out)->version = 1;
    lmf_arena_init(&(*out)->arena, ctx, (size_t)1 << WEIGHTS_MAX_BYTES_LOG2);
    lmf_name_index_init(&(*out)->names, ctx);
    return LMF_OK;
}

void lmf_weights_destroy(lmf_weights *w)
{
    if (!w)
        return;
    lmf_ctx *ctx = w->ctx;
    for (int i = 0; i < w->n_maps; i++)
        lmf_file_unmap(&w->map[i]);
    lmf_free(ctx, w->items, (size_t)w->cap * sizeof *w->items);
    lmf_name_index_clear(&w->names);
    lmf_arena_clear(&w->arena);
    lmf_delete(ctx, w);
}

lmf_status lmf_weights_add(lmf_weights *w, const char *name, uint16_t dtype, int n_dims, const int64_t *dim,
                           const void *data, bool mapped, lmf_weight **out)
{
    lmf_view v = { .fmt = lmf_format_get(w->ctx, dtype), .dtype = dtype, .cls = LMF_WEIGHT, .n_dims = (uint8_t)n_dims };
    if (out)
        *out = NULL;
    if (!v.fmt)
        return LMF_FAIL(w->ctx, LMF_E_DTYPE, "tensor \"%s\" has data type %d, which is not supported", name, dtype);
    if (n_dims < 1 || n_dims > LMF_MAX_DIMS)
        return LMF_FAIL(w->ctx, LMF_E_SHAPE, "tensor \"%s\" has %d dimensions; 1 to %d are possible", name, n_dims, LMF_MAX_DIMS);
    memcpy(v.dim, dim, (size_t)n_dims * sizeof *dim);
    lmf_view_set_dense(&v);
    if (w->n == w->cap) {
        int32_t cap = w->cap ? 2 * w->cap : 64;
        lmf_weight *p = lmf_realloc(w->ctx, w->items, (size_t)w->cap * sizeof *p, (size_t)cap * sizeof *p);
        if (!p)
            return LMF_NO_MEMORY(w->ctx, (size_t)cap * sizeof *p, "a list of weights");
        w->items = p;
        w->cap = cap;
    }
    v.data = (void *)(uintptr_t)data;
    if (!data) {
        size_t bytes = lmf_format_bytes(v.fmt, lmf_view_count(&v));
        char *p = lmf_arena_alloc(&w->arena, bytes + 63);
        if (!p)
            return LMF_NO_MEMORY(w->ctx, bytes, name);
        v.data = (void *)(((uintptr_t)p + 63) & ~(uintptr_t)63);
    }
    char *copy = lmf_arena_strdup(&w->arena, name);
    if (!copy)
        return LMF_NO_MEMORY(w->ctx, strlen(name), "a tensor's name");
    LMF_TRY(lmf_name_index_add(&w->names, copy, w->n));
    w->items[w->n] = (lmf_weight){ copy, v, mapped };
    if (out)
        *out = &w->items[w->n];
    w->n++;
    return LMF_OK;
}

lmf_weight *lmf_weights_find(const lmf_weights *w, const char *name)
{
    int32_t i = lmf_name_index_find(&w->names, name);
    return i < 0 ? NULL : &w->items[i];
}

lmf_status lmf_weights_sha256(const lmf_weights *w, char hex[65])
{
    lmf_buf all;
    char sha[65];
    lmf_buf_init(&all, w->ctx, SIZE_MAX / 8);
    lmf_status s = LMF_OK;
    for (int32_t i = 0; !s && i < w->n; i++) {
        const lmf_view *v = &w->items[i].v;
        s = lmf_sha256_hex(w->ctx, v->data, lmf_format_bytes(v->fmt, lmf_view_count(v)), sha);
        lmf_buf_append(&all, w->items[i].name, strlen(w->items[i].name));
        lmf_buf_append(&all, sha, sizeof sha);
    }
    s = s ? s : all.status ? all.status : lmf_sha256_hex(w->ctx, lmf_buf_str(&all), all.n, hex);
    lmf_buf_clear(&all);
    return s;
}
