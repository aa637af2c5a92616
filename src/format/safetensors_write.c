/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the header is final at begin: every offset is known from shapes and types alone. Data order is by falling
 * element size, then declaration, so all offsets are multiples of the element without padding (which the format
 * has no place for). */
#include <string.h>
#include "base/buf.h"
#include "base/checked.h"
#include "base/file.h"
#include "device/dtype.h"
#include "format/json.h"
#include "format/names.h"
#include "format/safetensors.h"

enum { TENSORS_MAX = 262144, HEADER_MAX = 100000000, ALIGN = 8 };

typedef struct declared {
    char       *name;
    json_t     *entry;  /* owned: {dtype, shape, data_offsets} */
    size_t      bytes;
    uint32_t    element_bytes, i;
} declared;

struct lmf_safetensors_writer {
    lmf_ctx   *ctx;
    lmf_writer file;
    lmf_arena  arena;    /* names */
    json_t    *metadata;
    lmf_buf    tensors;  /* declared each; in data order after begin */
    size_t     i_tensor, done;
    bool       begun;
    lmf_status status;
};

lmf_status lmf_safetensors_writer_create(lmf_ctx *ctx, const char *path, lmf_safetensors_writer **out)
{
    *out = NULL;
    lmf_safetensors_writer *w = lmf_new(ctx, lmf_safetensors_writer);
    if (!w)
        return LMF_NO_MEMORY(ctx, sizeof *w, path);
    w->ctx = ctx;
    w->file.fd = -1;
    lmf_arena_init(&w->arena, ctx, HEADER_MAX);
    lmf_buf_init(&w->tensors, ctx, TENSORS_MAX * sizeof(declared));
    w->metadata = json_pack("{s:s}", "format", "pt");
    lmf_status s = w->metadata ? lmf_writer_open(ctx, path, &w->file) : LMF_NO_MEMORY(ctx, 64, path);
    if (s)
        lmf_safetensors_writer_destroy(w);
    else
        *out = w;
    return s;
}

static declared *list(const lmf_safetensors_writer *w) { return (declared *)(void *)w->tensors.data; }
static size_t count(const lmf_safetensors_writer *w) { return w->tensors.n / sizeof(declared); }

void lmf_safetensors_writer_destroy(lmf_safetensors_writer *w)
{
    if (!w)
        return;
    lmf_writer_abandon(&w->file);
    for (size_t i = 0; i < count(w); i++)
        json_decref(list(w)[i].entry);
    json_decref(w->metadata);
    lmf_buf_clear(&w->tensors);
    lmf_arena_clear(&w->arena);
    lmf_delete(w->ctx, w);
}

static lmf_status keep(lmf_safetensors_writer *w, lmf_status s)
{
    if (!w->status)
        w->status = s;
    return w->status;
}

lmf_status lmf_safetensors_put(lmf_safetensors_writer *w, const char *key, const char *value)
{
    if (w->status)
        return w->status;
    if (w->begun || json_object_set_new(w->metadata, key, json_string(value)))
        return keep(w, LMF_FAIL(w->ctx, LMF_E_ARG, "the metadata %.100s comes after begin, or is not UTF-8", key));
    return LMF_OK;
}

static const char *type_name(uint16_t dtype, uint32_t *element_bytes)
{
    static const struct { uint16_t dtype; uint16_t bytes; char name[8]; } types[] = {
        { LMF_F64, 8, "F64" }, { LMF_F32, 4, "F32" }, { LMF_F16, 2, "F16" }, { LMF_BF16, 2, "BF16" }, { LMF_I64, 8, "I64" },
        { LMF_I32, 4, "I32" }, { LMF_I16, 2, "I16" }, { LMF_I8, 1, "I8" },   { LMF_U64, 8, "U64" },
    };
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (types[i].dtype == dtype) {
            *element_bytes = types[i].bytes;
            return types[i].name;
        }
    return NULL;
}

/* json_array_append_new frees v on failure. */
static json_t *shape_of(const int64_t *dim, int n_dims)
{
    json_t *shape = json_array();
    for (int i = 0; shape && i < n_dims; i++)
        if (json_array_append_new(shape, json_integer(dim[i]))) {
            json_decref(shape);
            shape = NULL;
        }
    return shape;
}

static lmf_status add(lmf_safetensors_writer *w, const char *name, uint16_t dtype, const int64_t *dim, int n_dims)
{
    declared d = { .i = (uint32_t)count(w) };
    const char *type = type_name(dtype, &d.element_bytes);
    int64_t n = 1;
    if (w->status)
        return w->status;
    if (w->begun || d.i >= TENSORS_MAX)
        return LMF_FAIL(w->ctx, LMF_E_ARG, "the tensor %.200s comes after begin, or is one too many", name);
    if (!lmf_name_is_clean(name, strlen(name), 1024) || !strcmp(name, "__metadata__"))
        return LMF_FAIL(w->ctx, LMF_E_ARG, "%.200s is no name for a tensor", name);
    if (!type)
        return LMF_FAIL(w->ctx, LMF_E_DTYPE, "the tensor %.200s has the type %u, which safetensors has no name for", name, dtype);
    for (int i = 0; i < n_dims && n_dims <= LMF_FILE_MAX_DIMS; i++)
        if (dim[i] < 0 || !lmf_mul_i64(n, dim[i], &n))
            n = INT64_MAX;
    if (n_dims < 0 || n_dims > LMF_FILE_MAX_DIMS || !lmf_mul_i64(n, d.element_bytes, &n))
        return LMF_FAIL(w->ctx, LMF_E_SHAPE, "the tensor %.200s has a shape that can't be written", name);
    d.bytes = (size_t)n;
    d.name = lmf_arena_strdup(&w->arena, name);
    json_t *shape = shape_of(dim, n_dims);
    d.entry = shape ? json_pack("{s:s, s:o}", "dtype", type, "shape", shape) : NULL;
    if (!d.name || !d.entry) {
        json_decref(d.entry);
        return LMF_NO_MEMORY(w->ctx, strlen(name), "a tensor's description");
    }
    lmf_status s = lmf_buf_append(&w->tensors, &d, sizeof d);
    if (s)
        json_decref(d.entry);
    return s;
}

lmf_status lmf_safetensors_add(lmf_safetensors_writer *w, const char *name, uint16_t dtype, const int64_t *dim, int n_dims)
{
    return keep(w, add(w, name, dtype, dim, n_dims));
}

static int compare(const void *a, const void *b)
{
    const declared *x = a, *y = b;
    if (x->element_bytes != y->element_bytes)
        return x->element_bytes > y->element_bytes ? -1 : 1;
    return (x->i > y->i) - (x->i < y->i);
}

static lmf_status make_header(lmf_safetensors_writer *w, json_t *root)
{
    lmf_names names;
    uint64_t at = 0;
    if (!lmf_names_init(&names, &w->arena, count(w)))
        return LMF_NO_MEMORY(w->ctx, count(w) * sizeof *names.row, "an index of names");
    lmf_heap_sort(list(w), count(w), sizeof(declared), compare);
    if (json_object_set(root, "__metadata__", w->metadata))
        return LMF_NO_MEMORY(w->ctx, 64, "a header");
    for (size_t i = 0; i < count(w); i++) {
        declared *d = list(w) + i;
        names.row[i] = (lmf_name_row){ d->name, d->i };
        if (at > INT64_MAX / 2 - d->bytes)
            return LMF_FAIL(w->ctx, LMF_E_LIMIT, "the file would be too large at the tensor %.200s", d->name);
        json_t *offsets = json_pack("[I, I]", (json_int_t)at, (json_int_t)(at + d->bytes));
        if (json_object_set_new(d->entry, "data_offsets", offsets) || json_object_set(root, d->name, d->entry))
            return LMF_NO_MEMORY(w->ctx, 64, "a header");
        at += d->bytes;
    }
    const char *twice = lmf_names_sort(&names);
    return twice ? LMF_FAIL(w->ctx, LMF_E_ARG, "the tensor %.200s is written twice", twice) : LMF_OK;
}

/* Length, JSON, spaces to a multiple of 8. */
static lmf_status write_header(lmf_safetensors_writer *w, const json_t *root)
{
    uint8_t length[8];
    size_t n = json_dumpb(root, NULL, 0, JSON_COMPACT), padded = lmf_align_up(n, ALIGN);
    if (n == 0 || n > HEADER_MAX - ALIGN)
        return LMF_FAIL(w->ctx, LMF_E_LIMIT, "the header needs %zu bytes; 1 to %d are allowed", n, HEADER_MAX);
    char *text = lmf_alloc(w->ctx, padded);
    if (!text)
        return LMF_NO_MEMORY(w->ctx, padded, "a header");
    memset(text, ' ', padded);
    lmf_status s = json_dumpb(root, text, n, JSON_COMPACT) == n ? LMF_OK : LMF_NO_MEMORY(w->ctx, n, "a header");
    for (int i = 0; i < 8; i++)
        length[i] = (uint8_t)((uint64_t)padded >> 8 * i);
    if (!s)
        s = lmf_writer_write(&w->file, length, sizeof length);
    if (!s)
        s = lmf_writer_write(&w->file, text, padded);
    lmf_free(w->ctx, text, padded);
    return s;
}

static void skip_empty(lmf_safetensors_writer *w)
{
    while (w->i_tensor < count(w) && list(w)[w->i_tensor].bytes == 0)
        w->i_tensor++;
}

lmf_status lmf_safetensors_begin(lmf_safetensors_writer *w)
{
    if (w->status)
        return w->status;
    if (w->begun)
        return keep(w, LMF_FAIL(w->ctx, LMF_E_ARG, "begin is called twice"));
    json_t *root = json_object();
    lmf_status s = root ? make_header(w, root) : LMF_NO_MEMORY(w->ctx, 64, "a header");
    if (!s)
        s = write_header(w, root);
    json_decref(root);
    w->begun = true;
    skip_empty(w);
    return keep(w, s);
}

int64_t lmf_safetensors_writer_next(const lmf_safetensors_writer *w)
{
    return w->begun && w->i_tensor < count(w) ? (int64_t)list(w)[w->i_tensor].i : -1;
}

static lmf_status write_data(lmf_safetensors_writer *w, const void *data, size_t n)
{
    if (w->status)
        return w->status;
    if (!w->begun || w->i_tensor >= count(w))
        return LMF_FAIL(w->ctx, LMF_E_ARG, "%zu bytes of data come %s", n, w->begun ? "after the last tensor" : "before begin");
    const declared *d = list(w) + w->i_tensor;
    if (n > d->bytes - w->done)
        return LMF_FAIL(w->ctx, LMF_E_ARG, "%zu bytes for the tensor %.200s, which has room for %zu more", n, d->name, d->bytes - w->done);
    LMF_TRY(lmf_writer_write(&w->file, data, n));
    w->done += n;
    if (w->done == d->bytes) {
        w->i_tensor++;
        w->done = 0;
        skip_empty(w);
    }
    return LMF_OK;
}

lmf_status lmf_safetensors_write(lmf_safetensors_writer *w, const void *data, size_t n)
{
    return keep(w, write_data(w, data, n));
}

lmf_status lmf_safetensors_commit(lmf_safetensors_writer *w)
{
    if (w->status)
        return w->status;
    if (!w->begun)
        return keep(w, LMF_FAIL(w->ctx, LMF_E_ARG, "commit before begin"));
    if (w->i_tensor < count(w))
        return keep(w, LMF_FAIL(w->ctx, LMF_E_ARG, "the tensor %.200s lacks %zu bytes of data", list(w)[w->i_tensor].name,
                                list(w)[w->i_tensor].bytes - w->done));
    return keep(w, lmf_writer_commit(&w->file));
}

lmf_status lmf_safetensors_index_save(lmf_ctx *ctx, const char *dir, const char *const *weight, const char *const *file,
                                      size_t n, uint64_t total_bytes)
{
    char path[4096];
    json_t *map = json_object(), *root = NULL;
    lmf_status s = map ? LMF_OK : LMF_NO_MEMORY(ctx, 64, dir);
    for (size_t i = 0; !s && i < n; i++)
        if (json_object_set_new(map, weight[i], json_string(file[i])))
            s = LMF_FAIL(ctx, LMF_E_ARG, "%.200s or %.200s can't be written as JSON", weight[i], file[i]);
    if (!s)
        s = lmf_path_join(ctx, path, sizeof path, dir, "model.safetensors.index.json");
    if (!s && !(root = json_pack("{s:{s:I}, s:O}", "metadata", "total_size", (json_int_t)total_bytes, "weight_map", map)))
        s = LMF_NO_MEMORY(ctx, 64, path);
    if (!s)
        s = lmf_json_save(ctx, path, root);
    json_decref(root);
    json_decref(map);
    return s;
}
