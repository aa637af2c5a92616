/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the header's JSON is freed before open returns; what outlives it is copied to the arena. */
#include <stdio.h>
#include <string.h>
#include "base/checked.h"
#include "base/file.h"
#include "base/magic.h"
#include "device/dtype.h"
#include "format/json.h"
#include "format/names.h"
#include "format/safetensors.h"

enum { HEADER_MAX = 100000000, NAME_MAX_BYTES = 1024, FILES_MAX = 1024, TENSORS_MAX = 262144 };
#define INDEX_NAME "model.safetensors.index.json"

static const struct { char name[12]; uint16_t dtype; uint16_t bits; } types[] = {
    { "F64", LMF_F64, 64 },  { "F32", LMF_F32, 32 },  { "F16", LMF_F16, 16 },  { "BF16", LMF_BF16, 16 },
    { "I64", LMF_I64, 64 },  { "I32", LMF_I32, 32 },  { "I16", LMF_I16, 16 },  { "I8", LMF_I8, 8 },
    { "U64", LMF_U64, 64 },  { "U32", LMF_DTYPE_RAW, 32 }, { "U16", LMF_DTYPE_RAW, 16 }, { "U8", LMF_DTYPE_RAW, 8 },
    { "BOOL", LMF_DTYPE_RAW, 8 }, { "F8_E4M3", LMF_DTYPE_RAW, 8 }, { "F8_E5M2", LMF_DTYPE_RAW, 8 },
    { "F8_E8M0", LMF_DTYPE_RAW, 8 }, { "C64", LMF_DTYPE_RAW, 64 },
};

struct lmf_safetensors {
    lmf_ctx       *ctx;
    lmf_arena      arena;
    lmf_map       *map;      /* of n_files; empty maps when parsed from memory */
    int            n_files;
    lmf_st_tensor *tensor;
    size_t         n, cap;
    lmf_names      names;
    const char   **metadata; /* key, value, key, value ... of the first file */
    size_t         n_metadata;
};

static lmf_status no_memory(lmf_safetensors *st, size_t bytes)
{
    return LMF_NO_MEMORY(st->ctx, bytes, "a safetensors file");
}

static lmf_status read_metadata(lmf_safetensors *st, lmf_reader *r, json_t *object)
{
    const char *key;
    json_t *value;
    size_t n = 0;
    if (!json_is_object(object))
        return lmf_reader_fail(r, "__metadata__ is no object");
    const char **list = lmf_arena_array(&st->arena, 2 * json_object_size(object), sizeof *list);
    if (!list)
        return no_memory(st, json_object_size(object));
    json_object_foreach(object, key, value) {
        if (!json_is_string(value))
            return lmf_reader_fail(r, "__metadata__.%.100s is no string", key);
        list[n++] = lmf_arena_strdup(&st->arena, key);
        list[n++] = lmf_arena_strdup(&st->arena, json_string_value(value));
        if (!list[n - 2] || !list[n - 1])
            return no_memory(st, strlen(key));
    }
    if (!st->metadata)
        st->metadata = list, st->n_metadata = n / 2;
    return LMF_OK;
}

static lmf_status read_shape(lmf_reader *r, lmf_st_tensor *t, const json_t *shape, uint16_t bits)
{
    int64_t n = 1;
    size_t n_dims = json_array_size(shape);
    if (!json_is_array(shape) || n_dims > LMF_FILE_MAX_DIMS)
        return lmf_reader_fail(r, "the tensor %.200s has no shape of at most %d dimensions", t->name, LMF_FILE_MAX_DIMS);
    t->n_dims = (int)n_dims;
    for (size_t i = 0; i < LMF_FILE_MAX_DIMS; i++) {
        const json_t *dim = json_array_get(shape, i);
        t->dim[i] = i < n_dims ? json_integer_value(dim) : 1;
        if ((i < n_dims && !json_is_integer(dim)) || t->dim[i] < 0 || !lmf_mul_i64(n, t->dim[i], &n))
            return lmf_reader_fail(r, "the tensor %.200s has a dimension that is no count, or is too large", t->name);
    }
    if (!lmf_mul_i64(n, bits / 8, &n))
        return lmf_reader_fail(r, "the tensor %.200s is too large", t->name);
    t->bytes = (size_t)n;
    return LMF_OK;
}

/* Position in the data section goes to range. */
static lmf_status read_tensor(lmf_safetensors *st, lmf_reader *r, const char *name, size_t name_n, const json_t *value,
                              size_t n_data, lmf_range *range)
{
    lmf_st_tensor *t = st->tensor + st->n;
    const char *type = json_string_value(json_object_get(value, "dtype"));
    const json_t *offsets = json_object_get(value, "data_offsets"), *begin = json_array_get(offsets, 0), *end = json_array_get(offsets, 1);
    size_t i = 0;
    if (!lmf_name_is_clean(name, name_n, NAME_MAX_BYTES))
        return lmf_reader_fail(r, "a tensor's name is empty, too long or has control characters");
    t->name = lmf_arena_strndup(&st->arena, name, name_n);
    if (!t->name)
        return no_memory(st, name_n);
    if (!type || json_array_size(offsets) != 2 || !json_is_integer(begin) || !json_is_integer(end))
        return lmf_reader_fail(r, "the tensor %.200s lacks dtype, shape or data_offsets", t->name);
    while (i < sizeof types / sizeof *types && strcmp(types[i].name, type))
        i++;
    if (i == sizeof types / sizeof *types)
        return LMF_FAIL(st->ctx, LMF_E_UNSUPPORTED, "%s: the tensor %.200s has the type %.20s, which is not read here", r->what, t->name, type);
    t->type = types[i].name;
    t->dtype = types[i].dtype;
    LMF_TRY(read_shape(r, t, json_object_get(value, "shape"), types[i].bits));
    json_int_t at = json_integer_value(begin), stop = json_integer_value(end);
    if (at < 0 || stop < at || (uint64_t)stop > n_data)
        return lmf_reader_fail(r, "the tensor %.200s stands at bytes %lld to %lld of a data section of %zu", t->name,
                               (long long)at, (long long)stop, n_data);
    if ((size_t)(stop - at) != t->bytes)
        return lmf_reader_fail(r, "the tensor %.200s has %lld bytes, but its shape and type need %zu", t->name,
                               (long long)(stop - at), t->bytes);
    *range = (lmf_range){ (size_t)at, (size_t)stop, (uint32_t)st->n };
    st->n++;
    return LMF_OK;
}

static lmf_status check_tiling(lmf_safetensors *st, lmf_reader *r, lmf_range *range, size_t n, size_t n_data)
{
    const lmf_range *over = lmf_ranges_sort(range, n);
    size_t end = 0;
    if (over)
        return lmf_reader_fail(r, "the tensors %.200s and %.200s overlap", st->tensor[over[-1].i].name, st->tensor[over->i].name);
    for (size_t i = 0; i < n; end = range[i++].end)
        if (range[i].at != end)
            return lmf_reader_fail(r, "there is a hole of %zu bytes before the tensor %.200s", range[i].at - end, st->tensor[range[i].i].name);
    if (end != n_data)
        return lmf_reader_fail(r, "%zu bytes behind the last tensor belong to none", n_data - end);
    return LMF_OK;
}

static lmf_status grow(lmf_safetensors *st, size_t more)
{
    if (more > TENSORS_MAX - st->n)
        return LMF_FAIL(st->ctx, LMF_E_LIMIT, "more than %d tensors", TENSORS_MAX);
    if (st->n + more <= st->cap)
        return LMF_OK;
    size_t cap = st->cap * 2 > st->n + more ? st->cap * 2 : st->n + more;
    lmf_st_tensor *t = lmf_realloc(st->ctx, st->tensor, st->cap * sizeof *t, cap * sizeof *t);
    if (!t)
        return no_memory(st, cap * sizeof *t);
    st->tensor = t;
    st->cap = cap;
    return LMF_OK;
}

static lmf_status read_entries(lmf_safetensors *st, lmf_reader *r, json_t *root, int i_file)
{
    const uint8_t *data = r->data + r->at;
    size_t n_data = lmf_reader_left(r), first = st->n, n = json_object_size(root);
    LMF_TRY(grow(st, n));
    lmf_range *range = lmf_alloc(st->ctx, (n + 1) * sizeof *range);
    if (!range)
        return no_memory(st, (n + 1) * sizeof *range);
    lmf_status s = LMF_OK;
    for (void *it = json_object_iter(root); !s && it; it = json_object_iter_next(root, it)) {
        const char *key = json_object_iter_key(it);
        json_t *value = json_object_iter_value(it);
        s = strcmp(key, "__metadata__") ? read_tensor(st, r, key, json_object_iter_key_len(it), value, n_data, range + (st->n - first))
                                        : read_metadata(st, r, value);
    }
    if (!s)
        s = check_tiling(st, r, range, st->n - first, n_data);
    for (size_t i = 0; !s && i < st->n - first; i++) {
        lmf_st_tensor *t = st->tensor + range[i].i;
        t->data = data + range[i].at;
        t->i_file = i_file;
    }
    lmf_free(st->ctx, range, (n + 1) * sizeof *range);
    return s;
}

static lmf_status read_file(lmf_safetensors *st, const void *bytes, size_t n, const char *name, int i_file)
{
    lmf_reader r;
    uint64_t header;
    const uint8_t *text;
    json_t *root;
    char note[200];
    lmf_reader_init(&r, st->ctx, bytes, n, name);
    if (n == 0)
        return lmf_reader_fail(&r, "the file is empty");
    LMF_TRY(lmf_reader_u64(&r, "the header's length", &header));
    if (header > HEADER_MAX)
        return lmf_reader_fail(&r, "not a safetensors file: a header of %llu bytes, more than %d%s", (unsigned long long)header, HEADER_MAX,
                               lmf_magic_note(r.data, r.n, note, sizeof note));
    LMF_TRY(lmf_reader_view(&r, "the header", header, &text));
    if (header < 2 || text[0] != '{')
        return lmf_reader_fail(&r, "not a safetensors file: the header is no JSON object%s", lmf_magic_note(r.data, r.n, note, sizeof
            note));
    LMF_TRY(lmf_json_parse(st->ctx, (const char *)text, (size_t)header, r.what, LMF_JSON_HEADER, &root));
    lmf_status s = read_entries(st, &r, root, i_file);
    json_decref(root);
    return s;
}

static lmf_status index_names(lmf_safetensors *st)
{
    if (!lmf_names_init(&st->names, &st->arena, st->n))
        return no_memory(st, st->n * sizeof *st->names.row);
    for (size_t i = 0; i < st->n; i++)
        st->names.row[i] = (lmf_name_row){ st->tensor[i].name, (uint32_t)i };
    const char *twice = lmf_names_sort(&st->names);
    return twice ? LMF_FAIL(st->ctx, LMF_E_FORMAT, "the tensor %.200s stands in two files", twice) : LMF_OK;
}

static lmf_status create(lmf_ctx *ctx, lmf_safetensors **out)
{
    *out = lmf_new(ctx, lmf_safetensors);
    if (!*out)
        return LMF_NO_MEMORY(ctx, sizeof **out, "a safetensors file");
    (*out)->ctx = ctx;
    lmf_arena_init(&(*out)->arena, ctx, SIZE_MAX / 2);
    return LMF_OK;
}

void lmf_safetensors_close(lmf_safetensors *st)
{
    if (!st)
        return;
    for (int i = 0; i < st->n_files; i++)
        lmf_file_unmap(st->map + i);
    lmf_free(st->ctx, st->tensor, st->cap * sizeof *st->tensor);
    lmf_arena_clear(&st->arena);
    lmf_delete(st->ctx, st);
}

static lmf_status finish(lmf_safetensors *st, lmf_status s, lmf_safetensors **out)
{
    if (!s)
        s = index_names(st);
    if (s)
        lmf_safetensors_close(st);
    else
        *out = st;
    return s;
}

lmf_status lmf_safetensors_parse(lmf_ctx *ctx, const void *bytes, size_t n, const char *name, lmf_safetensors **out)
{
    lmf_safetensors *st;
    *out = NULL;
    LMF_TRY(create(ctx, &st));
    return finish(st, read_file(st, bytes, n, name, 0), out);
}

static lmf_status make_maps(lmf_safetensors *st, size_t n)
{
    st->map = lmf_arena_array(&st->arena, n, sizeof *st->map);
    if (!st->map)
        return no_memory(st, n * sizeof *st->map);
    return LMF_OK;
}

static lmf_status open_file(lmf_safetensors *st, const char *path)
{
    int i = st->n_files;
    LMF_TRY(lmf_file_map(st->ctx, path, st->map + i));
    st->n_files++;
    return read_file(st, st->map[i].data, st->map[i].n, path, i);
}

lmf_status lmf_safetensors_open(lmf_ctx *ctx, const char *path, lmf_safetensors **out)
{
    lmf_safetensors *st;
    *out = NULL;
    LMF_TRY(create(ctx, &st));
    lmf_status s = make_maps(st, 1);
    return finish(st, s ? s : open_file(st, path), out);
}

/* ---- shards ---- */

/* The shards' file names, each once, in the order of their names. */
static lmf_status shard_names(lmf_safetensors *st, const char *path, json_t *weight_map, lmf_names *files)
{
    const char *key;
    json_t *value;
    size_t n = 0;
    if (!lmf_names_init(files, &st->arena, json_object_size(weight_map)))
        return no_memory(st, json_object_size(weight_map) * sizeof *files->row);
    json_object_foreach(weight_map, key, value) {
        const char *file = json_string_value(value);
        if (!file || strlen(file) != json_string_length(value) || strlen(file) > 255 || *file == '.' || *file == 0 || strpbrk(file, "/\\:"))
            return LMF_FAIL(st->ctx, LMF_E_FORMAT, "%s: the shard %.100s of %.100s is no plain file name", path, file ? file : "(no string)", key);
        files->row[n] = (lmf_name_row){ file, (uint32_t)n };
        n++;
    }
    if (lmf_names_sort(files)) { /* a shard is named once for each of its tensors */
        n = 0;
        for (size_t i = 0; i < files->n; i++)
            if (i == 0 || strcmp(files->row[i].name, files->row[i - 1].name))
                files->row[n++] = files->row[i];
        files->n = n;
    }
    if (n == 0 || n > FILES_MAX)
        return LMF_FAIL(st->ctx, LMF_E_FORMAT, "%s names %zu shards, not 1 to %d", path, n, FILES_MAX);
    return LMF_OK;
}

static lmf_status check_weight_map(lmf_safetensors *st, const char *path, const json_t *weight_map, const lmf_names *files)
{
    if (json_object_size(weight_map) != st->n)
        return LMF_FAIL(st->ctx, LMF_E_FORMAT, "%s names %zu tensors, but the shards hold %zu", path, json_object_size(weight_map), st->n);
    for (size_t i = 0; i < st->n; i++) {
        const lmf_st_tensor *t = st->tensor + i;
        const char *file = json_string_value(json_object_get(weight_map, t->name));
        if (!file || strcmp(file, files->row[t->i_file].name))
            return LMF_FAIL(st->ctx, LMF_E_FORMAT, "%s does not say that %.200s is in %s", path, t->name, files->row[t->i_file].name);
    }
    return LMF_OK;
}

static lmf_status open_shards(lmf_safetensors *st, const char *dir, const char *path, json_t *index)
{
    char file[4096];
    lmf_names files;
    json_t *weight_map = json_object_get(index, "weight_map");
    if (!json_is_object(weight_map))
        return LMF_FAIL(st->ctx, LMF_E_FORMAT, "%s has no weight_map", path);
    LMF_TRY(shard_names(st, path, weight_map, &files));
    LMF_TRY(make_maps(st, files.n));
    for (size_t i = 0; i < files.n; i++) {
        LMF_TRY(lmf_path_join(st->ctx, file, sizeof file, dir, files.row[i].name));
        LMF_TRY(open_file(st, file));
    }
    return check_weight_map(st, path, weight_map, &files);
}

lmf_status lmf_safetensors_open_model(lmf_ctx *ctx, const char *dir, lmf_safetensors **out)
{
    char path[4096];
    json_t *index;
    lmf_safetensors *st;
    *out = NULL;
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, "model.safetensors"));
    if (lmf_path_stat(path) != LMF_PATH_NONE)
        return lmf_safetensors_open(ctx, path, out);
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, INDEX_NAME));
    if (lmf_path_stat(path) == LMF_PATH_NONE)
        return LMF_FAIL(ctx, LMF_E_NOT_FOUND, "%s has neither model.safetensors nor " INDEX_NAME, dir);
    LMF_TRY(lmf_json_load(ctx, path, HEADER_MAX, LMF_JSON_HEADER, &index));
    lmf_status s = create(ctx, &st);
    if (!s)
        s = finish(st, open_shards(st, dir, path, index), out);
    json_decref(index);
    return s;
}

size_t lmf_safetensors_n(const lmf_safetensors *st) { return st->n; }
int lmf_safetensors_n_files(const lmf_safetensors *st) { return st->n_files; }
const lmf_st_tensor *lmf_safetensors_at(const lmf_safetensors *st, size_t i) { return st->tensor + i; }

const lmf_st_tensor *lmf_safetensors_find(const lmf_safetensors *st, const char *name)
{
    int64_t i = lmf_names_find(&st->names, name);
    return i < 0 ? NULL : st->tensor + i;
}

const char *lmf_safetensors_metadata(const lmf_safetensors *st, const char *key)
{
    for (size_t i = 0; i < st->n_metadata; i++)
        if (!strcmp(st->metadata[2 * i], key))
            return st->metadata[2 * i + 1];
    return NULL;
}
