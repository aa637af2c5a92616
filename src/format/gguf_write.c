/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: bytes depend on the calls alone: no clock, no host name, no address; padding is zero. What we write, we
 * would also read: begin applies the reader's rules to names and sizes. */
#include <string.h>
#include "base/buf.h"
#include "base/checked.h"
#include "base/file.h"
#include "format/gguf.h"
#include "format/names.h"

enum { KV_BYTES_MAX = 1 << 30, NAME_BYTES_MAX = 63, TENSORS_MAX = 262144, ALIGN_MAX = 65536 };
#define ALIGNMENT_KEY "general.alignment"

typedef struct declared {
    const char *name;
    size_t      bytes; /* of data */
} declared;

struct lmf_gguf_writer {
    lmf_ctx    *ctx;
    lmf_writer  file;
    lmf_arena   arena;      /* names and keys */
    lmf_buf     kv, infos;  /* as they will stand in the file */
    lmf_buf     keys;       /* const char * each */
    lmf_buf     tensors;    /* declared each */
    uint32_t    alignment;
    size_t      i_tensor, done; /* which tensor's data is due, bytes of it written */
    uint64_t    offset;     /* of the next declared tensor in the data section */
    bool        aligned;    /* the alignment was chosen */
    bool        begun;
    lmf_status  status;     /* first failure */
};

lmf_status lmf_gguf_writer_create(lmf_ctx *ctx, const char *path, lmf_gguf_writer **out)
{
    *out = NULL;
    lmf_gguf_writer *w = lmf_new(ctx, lmf_gguf_writer);
    if (!w)
        return LMF_NO_MEMORY(ctx, sizeof *w, path);
    w->ctx = ctx;
    w->alignment = 32;
    lmf_arena_init(&w->arena, ctx, KV_BYTES_MAX);
    lmf_buf_init(&w->kv, ctx, KV_BYTES_MAX);
    lmf_buf_init(&w->infos, ctx, KV_BYTES_MAX);
    lmf_buf_init(&w->keys, ctx, KV_BYTES_MAX);
    lmf_buf_init(&w->tensors, ctx, KV_BYTES_MAX);
    lmf_status s = lmf_writer_open(ctx, path, &w->file);
    if (s)
        lmf_gguf_writer_destroy(w);
    else
        *out = w;
    return s;
}

void lmf_gguf_writer_destroy(lmf_gguf_writer *w)
{
    if (!w)
        return;
    lmf_writer_abandon(&w->file);
    lmf_buf_clear(&w->kv);
    lmf_buf_clear(&w->infos);
    lmf_buf_clear(&w->keys);
    lmf_buf_clear(&w->tensors);
    lmf_arena_clear(&w->arena);
    lmf_delete(w->ctx, w);
}

static lmf_status keep(lmf_gguf_writer *w, lmf_status s)
{
    if (!w->status)
        w->status = s;
    return w->status;
}

static void put32(uint8_t *p, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> 8 * i);
}

static void put64(uint8_t *p, uint64_t v)
{
    put32(p, (uint32_t)v);
    put32(p + 4, (uint32_t)(v >> 32));
}

static lmf_status append32(lmf_buf *b, uint32_t v)
{
    uint8_t bytes[4];
    put32(bytes, v);
    return lmf_buf_append(b, bytes, 4);
}

static lmf_status append64(lmf_buf *b, uint64_t v)
{
    uint8_t bytes[8];
    put64(bytes, v);
    return lmf_buf_append(b, bytes, 8);
}

static lmf_status append_string(lmf_buf *b, const char *p, size_t n)
{
    LMF_TRY(append64(b, n));
    return lmf_buf_append(b, p, n);
}

static lmf_status put_key(lmf_gguf_writer *w, const char *key, uint32_t type)
{
    if (w->status)
        return w->status;
    if (w->begun)
        return LMF_FAIL(w->ctx, LMF_E_ARG, "the key %.100s comes after begin", key);
    if (!lmf_name_is_clean(key, strlen(key), 65535))
        return LMF_FAIL(w->ctx, LMF_E_ARG, "a key of a GGUF file is not clean UTF-8 of 1 to 65535 bytes");
    if (!strcmp(key, ALIGNMENT_KEY) && (type != LMF_GGUF_U32 || !w->aligned))
        return LMF_FAIL(w->ctx, LMF_E_ARG, ALIGNMENT_KEY " is set by lmf_gguf_writer_alignment alone");
    const char *own = lmf_arena_strdup(&w->arena, key);
    if (!own)
        return LMF_NO_MEMORY(w->ctx, strlen(key) + 1, "a key");
    LMF_TRY(lmf_buf_append(&w->keys, &own, sizeof own));
    LMF_TRY(append_string(&w->kv, key, strlen(key)));
    return append32(&w->kv, type);
}

static lmf_status put_fixed(lmf_gguf_writer *w, const char *key, uint32_t type, uint64_t bits, size_t n)
{
    uint8_t bytes[8];
    put64(bytes, bits);
    lmf_status s = put_key(w, key, type);
    return keep(w, s ? s : lmf_buf_append(&w->kv, bytes, n));
}

lmf_status lmf_gguf_put_u32(lmf_gguf_writer *w, const char *key, uint32_t v) { return put_fixed(w, key, LMF_GGUF_U32, v, 4); }
lmf_status lmf_gguf_put_i32(lmf_gguf_writer *w, const char *key, int32_t v) { return put_fixed(w, key, LMF_GGUF_I32, (uint32_t)v, 4); }
lmf_status lmf_gguf_put_u64(lmf_gguf_writer *w, const char *key, uint64_t v) { return put_fixed(w, key, LMF_GGUF_U64, v, 8); }
lmf_status lmf_gguf_put_bool(lmf_gguf_writer *w, const char *key, bool v) { return put_fixed(w, key, LMF_GGUF_BOOL, v, 1); }

lmf_status lmf_gguf_put_f32(lmf_gguf_writer *w, const char *key, float v)
{
    uint32_t bits;
    memcpy(&bits, &v, 4);
    return put_fixed(w, key, LMF_GGUF_F32, bits, 4);
}

lmf_status lmf_gguf_put_string(lmf_gguf_writer *w, const char *key, lmf_bytes v)
{
    lmf_status s = put_key(w, key, LMF_GGUF_STRING);
    return keep(w, s ? s : append_string(&w->kv, v.p, v.n));
}

lmf_status lmf_gguf_put_text(lmf_gguf_writer *w, const char *key, const char *v)
{
    return lmf_gguf_put_string(w, key, (lmf_bytes){ v, strlen(v) });
}

static lmf_status put_array(lmf_gguf_writer *w, const char *key, uint32_t item_type, size_t n)
{
    LMF_TRY(put_key(w, key, LMF_GGUF_ARRAY));
    LMF_TRY(append32(&w->kv, item_type));
    return append64(&w->kv, n);
}

lmf_status lmf_gguf_put_strings(lmf_gguf_writer *w, const char *key, const lmf_bytes *v, size_t n)
{
    lmf_status s = put_array(w, key, LMF_GGUF_STRING, n);
    for (size_t i = 0; !s && i < n; i++)
        s = append_string(&w->kv, v[i].p, v[i].n);
    return keep(w, s);
}

static lmf_status put_words(lmf_gguf_writer *w, const char *key, uint32_t item_type, const void *v, size_t n)
{
    lmf_status s = put_array(w, key, item_type, n);
    for (size_t i = 0; !s && i < n; i++) {
        uint32_t bits;
        memcpy(&bits, (const char *)v + 4 * i, 4);
        s = append32(&w->kv, bits);
    }
    return keep(w, s);
}

lmf_status lmf_gguf_put_i32s(lmf_gguf_writer *w, const char *key, const int32_t *v, size_t n)
{
    return put_words(w, key, LMF_GGUF_I32, v, n);
}

lmf_status lmf_gguf_put_f32s(lmf_gguf_writer *w, const char *key, const float *v, size_t n)
{
    return put_words(w, key, LMF_GGUF_F32, v, n);
}

lmf_status lmf_gguf_put_kv(lmf_gguf_writer *w, const lmf_gguf_kv *kv)
{
    int64_t alignment;
    if (!strcmp(kv->key, ALIGNMENT_KEY) && lmf_gguf_kv_i64(kv, 0, &alignment) && alignment > 0 && alignment <= ALIGN_MAX)
        return lmf_gguf_writer_alignment(w, (uint32_t)alignment);
    lmf_status s = kv->type == LMF_GGUF_ARRAY ? put_array(w, kv->key, kv->item_type, kv->n) : put_key(w, kv->key, kv->type);
    return keep(w, s ? s : lmf_buf_append(&w->kv, kv->data, kv->bytes));
}

lmf_status lmf_gguf_writer_alignment(lmf_gguf_writer *w, uint32_t alignment)
{
    if (alignment < 8 || alignment > ALIGN_MAX || (alignment & (alignment - 1)))
        return keep(w, LMF_FAIL(w->ctx, LMF_E_ARG, "an alignment of %u; a power of two from 8 to %d is allowed", alignment, ALIGN_MAX));
    if (w->tensors.n)
        return keep(w, LMF_FAIL(w->ctx, LMF_E_ARG, "the alignment must be set before tensors are added"));
    w->alignment = alignment;
    w->aligned = true;
    return lmf_gguf_put_u32(w, ALIGNMENT_KEY, alignment);
}

static lmf_status add_tensor(lmf_gguf_writer *w, const char *name, uint16_t dtype, const int64_t *dim, int n_dims)
{
    lmf_file_type type;
    declared d = { 0 };
    if (w->status)
        return w->status;
    if (w->begun)
        return LMF_FAIL(w->ctx, LMF_E_ARG, "the tensor %.100s is added after begin", name);
    if (!lmf_name_is_clean(name, strlen(name), NAME_BYTES_MAX))
        return LMF_FAIL(w->ctx, LMF_E_ARG, "the tensor name %.100s is not clean UTF-8 of 1 to %d bytes, as GGUF needs", name, NAME_BYTES_MAX);
    if (w->tensors.n / sizeof d >= TENSORS_MAX)
        return LMF_FAIL(w->ctx, LMF_E_LIMIT, "more than %d tensors", TENSORS_MAX);
    if (!lmf_file_type_get(w->ctx, dtype, &type))
        return LMF_FAIL(w->ctx, LMF_E_DTYPE, "the tensor %s has the type %u, which no GGUF file holds", name, dtype);
    if (n_dims < 1 || n_dims > 4 || !lmf_file_type_bytes(&type, dim, n_dims, &d.bytes))
        return LMF_FAIL(w->ctx, LMF_E_SHAPE, "the tensor %s has a shape that %s in GGUF does not allow (%d dimensions, rows of %lld)",
                        name, type.name, n_dims, n_dims >= 1 && n_dims <= 4 ? (long long)dim[n_dims - 1] : 0);
    d.name = lmf_arena_strdup(&w->arena, name);
    if (!d.name)
        return LMF_NO_MEMORY(w->ctx, strlen(name) + 1, "a tensor name");
    if (d.bytes > UINT64_MAX / 2 - w->offset - w->alignment)
        return LMF_FAIL(w->ctx, LMF_E_LIMIT, "the file would be too large at the tensor %s", name);
    LMF_TRY(lmf_buf_append(&w->tensors, &d, sizeof d));
    LMF_TRY(append_string(&w->infos, name, strlen(name)));
    LMF_TRY(append32(&w->infos, (uint32_t)n_dims));
    for (int i = n_dims - 1; i >= 0; i--) /* innermost first in the file */
        LMF_TRY(append64(&w->infos, (uint64_t)dim[i]));
    LMF_TRY(append32(&w->infos, dtype));
    LMF_TRY(append64(&w->infos, w->offset));
    w->offset = lmf_align_up(w->offset + d.bytes, w->alignment);
    return LMF_OK;
}

lmf_status lmf_gguf_add_tensor(lmf_gguf_writer *w, const char *name, uint16_t dtype, const int64_t *dim, int n_dims)
{
    return keep(w, add_tensor(w, name, dtype, dim, n_dims));
}

/* pointers: an array of structs whose first field is the name. */
static lmf_status refuse_twice(lmf_gguf_writer *w, const lmf_buf *list, size_t item, const char *kind)
{
    lmf_names names;
    size_t n = list->n / item;
    if (!lmf_names_init(&names, &w->arena, n))
        return LMF_NO_MEMORY(w->ctx, n * sizeof *names.row, "an index of names");
    for (size_t i = 0; i < n; i++) {
        memcpy(&names.row[i].name, list->data + i * item, sizeof names.row[i].name);
        names.row[i].i = (uint32_t)i;
    }
    const char *twice = lmf_names_sort(&names);
    return twice ? LMF_FAIL(w->ctx, LMF_E_ARG, "the %s %.100s is written twice", kind, twice) : LMF_OK;
}

static lmf_status pad(lmf_gguf_writer *w)
{
    static const uint8_t zeros[64];
    for (uint64_t left = (w->alignment - w->file.n % w->alignment) % w->alignment; left;) {
        size_t n = left < sizeof zeros ? (size_t)left : sizeof zeros;
        LMF_TRY(lmf_writer_write(&w->file, zeros, n));
        left -= n;
    }
    return LMF_OK;
}

static lmf_status begin(lmf_gguf_writer *w)
{
    uint8_t head[24] = "GGUF";
    if (w->status)
        return w->status;
    if (w->begun)
        return LMF_FAIL(w->ctx, LMF_E_ARG, "begin is called twice");
    LMF_TRY(refuse_twice(w, &w->keys, sizeof(char *), "key"));
    LMF_TRY(refuse_twice(w, &w->tensors, sizeof(declared), "tensor"));
    put32(head + 4, 3);
    put64(head + 8, w->tensors.n / sizeof(declared));
    put64(head + 16, w->keys.n / sizeof(char *));
    w->begun = true;
    LMF_TRY(lmf_writer_write(&w->file, head, sizeof head));
    LMF_TRY(lmf_writer_write(&w->file, w->kv.data, w->kv.n));
    LMF_TRY(lmf_writer_write(&w->file, w->infos.data, w->infos.n));
    return pad(w);
}

lmf_status lmf_gguf_begin(lmf_gguf_writer *w)
{
    return keep(w, begin(w));
}

static lmf_status write_data(lmf_gguf_writer *w, const void *data, size_t n)
{
    const declared *d = (const void *)w->tensors.data;
    if (w->status)
        return w->status;
    if (!w->begun || w->i_tensor >= w->tensors.n / sizeof *d)
        return LMF_FAIL(w->ctx, LMF_E_ARG, "%zu bytes of data come %s", n, w->begun ? "after the last tensor" : "before begin");
    d += w->i_tensor;
    if (n > d->bytes - w->done)
        return LMF_FAIL(w->ctx, LMF_E_ARG, "%zu bytes for the tensor %s, which has room for %zu more", n, d->name, d->bytes - w->done);
    LMF_TRY(lmf_writer_write(&w->file, data, n));
    w->done += n;
    if (w->done < d->bytes)
        return LMF_OK;
    w->i_tensor++;
    w->done = 0;
    return pad(w);
}

lmf_status lmf_gguf_write(lmf_gguf_writer *w, const void *data, size_t n)
{
    return keep(w, write_data(w, data, n));
}

lmf_status lmf_gguf_commit(lmf_gguf_writer *w)
{
    const declared *d = (const void *)w->tensors.data;
    if (w->status)
        return w->status;
    if (!w->begun)
        return keep(w, LMF_FAIL(w->ctx, LMF_E_ARG, "commit before begin"));
    if (w->i_tensor < w->tensors.n / sizeof *d)
        return keep(w, LMF_FAIL(w->ctx, LMF_E_ARG, "the tensor %s lacks %zu bytes of data", d[w->i_tensor].name,
                                d[w->i_tensor].bytes - w->done));
    return keep(w, lmf_writer_commit(&w->file));
}
