/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: nothing is believed twice. Each number is bounded where it enters (reader.h); what ties fields together
 * is checked before open returns, so later code may index without asking. */
#include <math.h>
#include <string.h>
#include "base/checked.h"
#include "base/file.h"
#include "base/magic.h"
#include "format/gguf.h"
#include "format/names.h"

enum { KV_MAX = 65536, TENSORS_MAX = 262144, KEY_MAX = 65535, NAME_MAX_BYTES = 255, DIMS_MAX = 4,
       KV_MIN_BYTES = 8 + 1 + 4 + 1, TENSOR_MIN_BYTES = 8 + 1 + 4 + 8 + 4 + 8,
       ALIGN_DEFAULT = 32, ALIGN_MIN = 8, ALIGN_MAX = 65536 };

struct lmf_gguf {
    lmf_ctx         *ctx;
    lmf_map          file;    /* empty when parsed from memory */
    lmf_reader       r;       /* also names the file in sentences */
    lmf_arena        arena;
    uint32_t         version;
    size_t           alignment;
    lmf_gguf_kv     *kv;
    lmf_gguf_tensor *tensor;
    size_t           n_kv, n_tensors;
    lmf_names        keys, names;
};

static const uint8_t value_bytes[LMF_GGUF_N_TYPES] = { /* 0: not of a fixed size */
    [LMF_GGUF_U8] = 1, [LMF_GGUF_I8] = 1, [LMF_GGUF_U16] = 2, [LMF_GGUF_I16] = 2, [LMF_GGUF_U32] = 4, [LMF_GGUF_I32] = 4,
    [LMF_GGUF_F32] = 4, [LMF_GGUF_BOOL] = 1, [LMF_GGUF_U64] = 8, [LMF_GGUF_I64] = 8, [LMF_GGUF_F64] = 8,
};

const char *lmf_gguf_type_name(uint8_t type)
{
    static const char *const name[LMF_GGUF_N_TYPES] = { "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "string",
                                                        "array", "u64", "i64", "f64" };
    return type < LMF_GGUF_N_TYPES ? name[type] : "unknown";
}

static lmf_status read_header(lmf_gguf *g)
{
    lmf_reader *r = &g->r;
    const uint8_t *magic;
    char note[200];
    LMF_TRY(lmf_reader_view(r, "the magic number", 4, &magic));
    if (memcmp(magic, "GGUF", 4))
        return lmf_reader_fail(r, "not a GGUF file: it begins with %02x %02x %02x %02x%s", magic[0], magic[1], magic[2], magic[3],
                               lmf_magic_note(r->data, r->n, note, sizeof note));
    LMF_TRY(lmf_reader_u32(r, "the version", &g->version));
    if (g->version == 0x02000000 || g->version == 0x03000000)
        return LMF_FAIL(g->ctx, LMF_E_UNSUPPORTED, "%s is a big-endian GGUF file; convert it to little endian first", r->what);
    if (g->version < 2 || g->version > 3)
        return LMF_FAIL(g->ctx, LMF_E_UNSUPPORTED, "%s is GGUF version %u; versions 2 and 3 are read here", r->what, g->version);
    LMF_TRY(lmf_reader_count(r, "the number of tensors", TENSOR_MIN_BYTES, TENSORS_MAX, &g->n_tensors));
    return lmf_reader_count(r, "the number of key-value pairs", KV_MIN_BYTES, KV_MAX, &g->n_kv);
}

/* A clean name into the arena, with a NUL. */
static lmf_status read_name(lmf_gguf *g, const char *field, size_t max, const char **out)
{
    lmf_bytes s;
    LMF_TRY(lmf_reader_string(&g->r, field, max, &s));
    if (!lmf_name_is_clean(s.p, s.n, max))
        return lmf_reader_fail(&g->r, "%s ending here is empty, not UTF-8 or has control characters", field);
    *out = lmf_arena_strndup(&g->arena, s.p, s.n);
    return *out ? LMF_OK : LMF_NO_MEMORY(g->ctx, s.n + 1, g->r.what);
}

static lmf_status read_items(lmf_gguf *g, lmf_gguf_kv *kv)
{
    lmf_reader *r = &g->r;
    const uint8_t *skipped;
    lmf_bytes s;
    size_t bytes = 0, start = r->at;
    if (kv->item_type == LMF_GGUF_STRING) {
        for (size_t i = 0; i < kv->n; i++)
            LMF_TRY(lmf_reader_string(r, kv->key, SIZE_MAX, &s));
    } else {
        if (!lmf_mul_size(kv->n, value_bytes[kv->item_type], &bytes))
            return lmf_reader_fail(r, "%s is too large", kv->key);
        LMF_TRY(lmf_reader_view(r, kv->key, bytes, &skipped));
    }
    kv->data = r->data + start;
    kv->bytes = r->at - start;
    for (size_t i = 0; kv->item_type == LMF_GGUF_BOOL && i < kv->n; i++)
        if (kv->data[i] > 1)
            return lmf_reader_fail(r, "%s holds the bool %u; only 0 and 1 are bools", kv->key, kv->data[i]);
    return LMF_OK;
}

static lmf_status read_kv(lmf_gguf *g, lmf_gguf_kv *kv)
{
    lmf_reader *r = &g->r;
    uint32_t type, item;
    LMF_TRY(read_name(g, "a key", KEY_MAX, &kv->key));
    LMF_TRY(lmf_reader_u32(r, kv->key, &type));
    if (type >= LMF_GGUF_N_TYPES)
        return lmf_reader_fail(r, "%.100s has the unknown value type %u", kv->key, type);
    item = type;
    kv->n = 1;
    if (type == LMF_GGUF_ARRAY) {
        LMF_TRY(lmf_reader_u32(r, kv->key, &item));
        if (item == LMF_GGUF_ARRAY)
            return lmf_reader_fail(r, "%.100s is an array of arrays, which is not read here", kv->key);
        if (item >= LMF_GGUF_N_TYPES)
            return lmf_reader_fail(r, "%.100s is an array of the unknown type %u", kv->key, item);
        LMF_TRY(lmf_reader_count(r, kv->key, item == LMF_GGUF_STRING ? 8 : value_bytes[item], UINT64_MAX, &kv->n));
    }
    kv->type = (uint8_t)type;
    kv->item_type = (uint8_t)item;
    return read_items(g, kv);
}

static lmf_status read_pairs(lmf_gguf *g)
{
    g->kv = lmf_arena_array(&g->arena, g->n_kv, sizeof *g->kv);
    if (!g->kv || !lmf_names_init(&g->keys, &g->arena, g->n_kv))
        return LMF_NO_MEMORY(g->ctx, g->n_kv * sizeof *g->kv, g->r.what);
    for (size_t i = 0; i < g->n_kv; i++) {
        LMF_TRY(read_kv(g, g->kv + i));
        g->keys.row[i] = (lmf_name_row){ g->kv[i].key, (uint32_t)i };
    }
    const char *twice = lmf_names_sort(&g->keys);
    return twice ? lmf_reader_fail(&g->r, "the key %.100s occurs twice", twice) : LMF_OK;
}

/* What the pairs say about the container itself. */
static lmf_status check_pairs(lmf_gguf *g)
{
    int64_t align = ALIGN_DEFAULT, n_split = 0;
    if (lmf_gguf_find(g, "general.alignment"))
        LMF_TRY(lmf_gguf_get_i64(g, "general.alignment", &align));
    if (align < ALIGN_MIN || align > ALIGN_MAX || (align & (align - 1)))
        return lmf_reader_fail(&g->r, "general.alignment is %lld; a power of two from %d to %d is read here", (long long)align,
                               ALIGN_MIN, ALIGN_MAX);
    g->alignment = (size_t)align;
    if (lmf_gguf_find(g, "split.count"))
        LMF_TRY(lmf_gguf_get_i64(g, "split.count", &n_split));
    if (n_split > 1)
        return LMF_FAIL(g->ctx, LMF_E_UNSUPPORTED, "%s is one of %lld parts of a split model; merge the parts into one GGUF "
                        "file first (llama-gguf-split --merge)", g->r.what, (long long)n_split);
    return LMF_OK;
}

/* Leaves the offset from the data section in t->data's stead: the section's start isn't known yet. */
static lmf_status read_tensor(lmf_gguf *g, lmf_gguf_tensor *t, lmf_range *range)
{
    lmf_reader *r = &g->r;
    lmf_file_type type;
    uint32_t n_dims, dtype;
    uint64_t dim, offset;
    LMF_TRY(read_name(g, "a tensor's name", NAME_MAX_BYTES, &t->name));
    LMF_TRY(lmf_reader_u32(r, t->name, &n_dims));
    if (n_dims < 1 || n_dims > DIMS_MAX)
        return lmf_reader_fail(r, "the tensor %s has %u dimensions, not 1 to %d", t->name, n_dims, DIMS_MAX);
    t->n_dims = (int)n_dims;
    for (int i = 0; i < LMF_FILE_MAX_DIMS; i++)
        t->dim[i] = 1;
    for (int i = t->n_dims - 1; i >= 0; i--) { /* innermost first in the file */
        LMF_TRY(lmf_reader_u64(r, t->name, &dim));
        if (dim < 1 || dim > INT64_MAX)
            return lmf_reader_fail(r, "the tensor %s has a dimension of %llu", t->name, (unsigned long long)dim);
        t->dim[i] = (int64_t)dim;
    }
    LMF_TRY(lmf_reader_u32(r, t->name, &dtype));
    if (!lmf_file_type_get(g->ctx, dtype, &type))
        return lmf_reader_fail(r, "the tensor %s has the type number %u, which is not known here", t->name, dtype);
    t->dtype = (uint16_t)dtype;
    if (!lmf_file_type_bytes(&type, t->dim, t->n_dims, &t->bytes))
        return lmf_reader_fail(r, "the tensor %s has rows of %lld elements, no whole number of %s blocks of %u, or is too large",
                               t->name, (long long)t->dim[t->n_dims - 1], type.name, type.block);
    LMF_TRY(lmf_reader_u64(r, t->name, &offset));
    if (offset % g->alignment)
        return lmf_reader_fail(r, "the tensor %s begins at %llu, no multiple of the alignment %zu", t->name,
                               (unsigned long long)offset, g->alignment);
    if (offset > r->n)
        return lmf_reader_fail(r, "the tensor %s begins at %llu, behind the end of the file", t->name, (unsigned long long)offset);
    range->at = (size_t)offset;
    return LMF_OK;
}

static lmf_status read_tensors(lmf_gguf *g)
{
    lmf_reader *r = &g->r;
    lmf_range *range = lmf_arena_array(&g->arena, g->n_tensors, sizeof *range);
    g->tensor = lmf_arena_array(&g->arena, g->n_tensors, sizeof *g->tensor);
    if (!range || !g->tensor || !lmf_names_init(&g->names, &g->arena, g->n_tensors))
        return LMF_NO_MEMORY(g->ctx, g->n_tensors * sizeof *g->tensor, r->what);
    for (size_t i = 0; i < g->n_tensors; i++) {
        LMF_TRY(read_tensor(g, g->tensor + i, range + i));
        g->names.row[i] = (lmf_name_row){ g->tensor[i].name, range[i].i = (uint32_t)i };
    }
    const char *twice = lmf_names_sort(&g->names);
    if (twice)
        return lmf_reader_fail(r, "the tensor %s occurs twice", twice);
    if (g->n_tensors == 0) /* a vocabulary alone needs no data section */
        return LMF_OK;
    LMF_TRY(lmf_reader_align(r, "the padding before the data", g->alignment));
    for (size_t i = 0; i < g->n_tensors; i++) {
        lmf_gguf_tensor *t = g->tensor + i;
        if (range[i].at > lmf_reader_left(r) || t->bytes > lmf_reader_left(r) - range[i].at)
            return lmf_reader_fail(r, "the tensor %s needs %zu bytes at %zu of the data section, which has %zu: the file is cut "
                                   "or damaged", t->name, t->bytes, range[i].at, lmf_reader_left(r));
        t->data = r->data + r->at + range[i].at;
        range[i].end = range[i].at + t->bytes;
    }
    const lmf_range *over = lmf_ranges_sort(range, g->n_tensors);
    if (over)
        return lmf_reader_fail(r, "the tensors %s and %s overlap", g->tensor[over[-1].i].name, g->tensor[over->i].name);
    return LMF_OK;
}

static lmf_status create(lmf_ctx *ctx, lmf_gguf **out)
{
    *out = lmf_new(ctx, lmf_gguf);
    if (!*out)
        return LMF_NO_MEMORY(ctx, sizeof **out, "a GGUF file");
    (*out)->ctx = ctx;
    lmf_arena_init(&(*out)->arena, ctx, SIZE_MAX / 2);
    return LMF_OK;
}

static lmf_status parse(lmf_gguf *g, const void *bytes, size_t n, const char *name)
{
    lmf_reader_init(&g->r, g->ctx, bytes, n, name);
    if (n == 0)
        return lmf_reader_fail(&g->r, "the file is empty");
    LMF_TRY(read_header(g));
    LMF_TRY(read_pairs(g));
    LMF_TRY(check_pairs(g));
    return read_tensors(g);
}

lmf_status lmf_gguf_parse(lmf_ctx *ctx, const void *bytes, size_t n, const char *name, lmf_gguf **out)
{
    lmf_gguf *g;
    *out = NULL;
    LMF_TRY(create(ctx, &g));
    lmf_status s = parse(g, bytes, n, name);
    if (s)
        lmf_gguf_close(g);
    else
        *out = g;
    return s;
}

lmf_status lmf_gguf_open(lmf_ctx *ctx, const char *path, lmf_gguf **out)
{
    lmf_gguf *g;
    *out = NULL;
    LMF_TRY(create(ctx, &g));
    lmf_status s = lmf_file_map(ctx, path, &g->file);
    if (!s)
        s = parse(g, g->file.data, g->file.n, path);
    if (s)
        lmf_gguf_close(g);
    else
        *out = g;
    return s;
}

void lmf_gguf_close(lmf_gguf *g)
{
    if (!g)
        return;
    lmf_arena_clear(&g->arena);
    lmf_file_unmap(&g->file);
    lmf_delete(g->ctx, g);
}

uint32_t lmf_gguf_version(const lmf_gguf *g) { return g->version; }
size_t lmf_gguf_alignment(const lmf_gguf *g) { return g->alignment; }
size_t lmf_gguf_n_kv(const lmf_gguf *g) { return g->n_kv; }
size_t lmf_gguf_n_tensors(const lmf_gguf *g) { return g->n_tensors; }
const lmf_gguf_kv *lmf_gguf_kv_at(const lmf_gguf *g, size_t i) { return g->kv + i; }
const lmf_gguf_tensor *lmf_gguf_tensor_at(const lmf_gguf *g, size_t i) { return g->tensor + i; }

size_t lmf_gguf_offset(const lmf_gguf *g, const uint8_t *p) { return (size_t)(p - g->r.data); }

const lmf_gguf_kv *lmf_gguf_find(const lmf_gguf *g, const char *key)
{
    int64_t i = lmf_names_find(&g->keys, key);
    return i < 0 ? NULL : g->kv + i;
}

const lmf_gguf_tensor *lmf_gguf_tensor_find(const lmf_gguf *g, const char *name)
{
    int64_t i = lmf_names_find(&g->names, name);
    return i < 0 ? NULL : g->tensor + i;
}

/* ---- typed access ---- */

bool lmf_gguf_kv_i64(const lmf_gguf_kv *kv, size_t i, int64_t *out)
{
    const uint8_t *p = kv->data + i * value_bytes[kv->item_type];
    switch (kv->item_type) {
    case LMF_GGUF_U8:  *out = *p; return true;
    case LMF_GGUF_I8:  *out = (int8_t)*p; return true;
    case LMF_GGUF_U16: *out = lmf_le16(p); return true;
    case LMF_GGUF_I16: *out = (int16_t)lmf_le16(p); return true;
    case LMF_GGUF_U32: *out = lmf_le32(p); return true;
    case LMF_GGUF_I32: *out = (int32_t)lmf_le32(p); return true;
    case LMF_GGUF_BOOL: *out = *p; return true;
    case LMF_GGUF_I64: *out = (int64_t)lmf_le64(p); return true;
    case LMF_GGUF_U64: *out = (int64_t)lmf_le64(p); return lmf_le64(p) <= INT64_MAX;
    default: return false;
    }
}

bool lmf_gguf_kv_f64(const lmf_gguf_kv *kv, size_t i, double *out)
{
    const uint8_t *p = kv->data + i * value_bytes[kv->item_type];
    int64_t whole;
    if (kv->item_type == LMF_GGUF_F32) {
        uint32_t bits = lmf_le32(p);
        float f;
        memcpy(&f, &bits, 4);
        *out = f;
        return true;
    }
    if (kv->item_type == LMF_GGUF_F64) {
        uint64_t bits = lmf_le64(p);
        memcpy(out, &bits, 8);
        return true;
    }
    if (!lmf_gguf_kv_i64(kv, i, &whole))
        return false;
    *out = (double)whole;
    return true;
}

bool lmf_gguf_kv_next_string(const lmf_gguf_kv *kv, size_t *at, lmf_bytes *out)
{
    if (kv->item_type != LMF_GGUF_STRING || *at >= kv->bytes)
        return false;
    uint64_t n = lmf_le64(kv->data + *at); /* walked once at open, so in bounds */
    *out = (lmf_bytes){ (const char *)kv->data + *at + 8, (size_t)n };
    *at += 8 + (size_t)n;
    return true;
}

static lmf_status get(const lmf_gguf *g, const char *key, bool array, const lmf_gguf_kv **out)
{
    const lmf_gguf_kv *kv = *out = lmf_gguf_find(g, key);
    if (!kv)
        return LMF_FAIL(g->ctx, LMF_E_NOT_FOUND, "%s has no key %s", g->r.what, key);
    if ((kv->type == LMF_GGUF_ARRAY) != array)
        return LMF_FAIL(g->ctx, LMF_E_FORMAT, "%s: %s is %s, not %s", g->r.what, key, array ? "one value" : "an array",
                        array ? "an array" : "one value");
    return LMF_OK;
}

static lmf_status misfit(const lmf_gguf *g, const lmf_gguf_kv *kv, const char *wanted)
{
    return LMF_FAIL(g->ctx, LMF_E_FORMAT, "%s: %.100s holds %s, which is no %s here", g->r.what, kv->key,
                    lmf_gguf_type_name(kv->item_type), wanted);
}

lmf_status lmf_gguf_get_i64(const lmf_gguf *g, const char *key, int64_t *out)
{
    const lmf_gguf_kv *kv;
    *out = 0;
    LMF_TRY(get(g, key, false, &kv));
    return kv->type != LMF_GGUF_BOOL && lmf_gguf_kv_i64(kv, 0, out) ? LMF_OK : (*out = 0, misfit(g, kv, "64-bit integer"));
}

lmf_status lmf_gguf_get_u32(const lmf_gguf *g, const char *key, uint32_t *out)
{
    int64_t v;
    *out = 0;
    LMF_TRY(lmf_gguf_get_i64(g, key, &v));
    if (v < 0 || v > UINT32_MAX)
        return LMF_FAIL(g->ctx, LMF_E_FORMAT, "%s: %s is %lld, which is no 32-bit count", g->r.what, key, (long long)v);
    *out = (uint32_t)v;
    return LMF_OK;
}

lmf_status lmf_gguf_get_f64(const lmf_gguf *g, const char *key, double *out)
{
    const lmf_gguf_kv *kv;
    *out = 0;
    LMF_TRY(get(g, key, false, &kv));
    return kv->type != LMF_GGUF_BOOL && lmf_gguf_kv_f64(kv, 0, out) ? LMF_OK : misfit(g, kv, "number");
}

lmf_status lmf_gguf_get_f32(const lmf_gguf *g, const char *key, float *out)
{
    double v;
    *out = 0;
    LMF_TRY(lmf_gguf_get_f64(g, key, &v));
    if (isfinite(v) && fabs(v) > 3.4028234663852886e38)
        return LMF_FAIL(g->ctx, LMF_E_FORMAT, "%s: %s is %g, too large for an f32", g->r.what, key, v);
    *out = (float)v;
    return LMF_OK;
}

lmf_status lmf_gguf_get_bool(const lmf_gguf *g, const char *key, bool *out)
{
    const lmf_gguf_kv *kv;
    *out = false;
    LMF_TRY(get(g, key, false, &kv));
    if (kv->type != LMF_GGUF_BOOL)
        return misfit(g, kv, "bool");
    *out = *kv->data;
    return LMF_OK;
}

lmf_status lmf_gguf_get_string(const lmf_gguf *g, const char *key, lmf_bytes *out)
{
    const lmf_gguf_kv *kv;
    size_t at = 0;
    *out = (lmf_bytes){ "", 0 };
    LMF_TRY(get(g, key, false, &kv));
    return lmf_gguf_kv_next_string(kv, &at, out) ? LMF_OK : misfit(g, kv, "string");
}

lmf_status lmf_gguf_get_strings(const lmf_gguf *g, const char *key, lmf_arena *arena, lmf_bytes **out, size_t *n)
{
    const lmf_gguf_kv *kv;
    size_t at = 0;
    *out = NULL, *n = 0;
    LMF_TRY(get(g, key, true, &kv));
    if (kv->item_type != LMF_GGUF_STRING)
        return misfit(g, kv, "string");
    lmf_bytes *v = lmf_arena_array(arena, kv->n, sizeof *v);
    if (!v)
        return LMF_NO_MEMORY(g->ctx, kv->n * sizeof *v, key);
    for (size_t i = 0; lmf_gguf_kv_next_string(kv, &at, v + i); i++)
        ;
    *out = v, *n = kv->n;
    return LMF_OK;
}

lmf_status lmf_gguf_get_i32s(const lmf_gguf *g, const char *key, lmf_arena *arena, int32_t **out, size_t *n)
{
    const lmf_gguf_kv *kv;
    int64_t item;
    *out = NULL, *n = 0;
    LMF_TRY(get(g, key, true, &kv));
    int32_t *v = lmf_arena_array(arena, kv->n, sizeof *v);
    if (!v)
        return LMF_NO_MEMORY(g->ctx, kv->n * sizeof *v, key);
    for (size_t i = 0; i < kv->n; i++) {
        if (!lmf_gguf_kv_i64(kv, i, &item) || item < INT32_MIN || item > INT32_MAX)
            return misfit(g, kv, "32-bit integer");
        v[i] = (int32_t)item;
    }
    *out = v, *n = kv->n;
    return LMF_OK;
}

lmf_status lmf_gguf_get_f32s(const lmf_gguf *g, const char *key, lmf_arena *arena, float **out, size_t *n)
{
    const lmf_gguf_kv *kv;
    double item;
    *out = NULL, *n = 0;
    LMF_TRY(get(g, key, true, &kv));
    float *v = lmf_arena_array(arena, kv->n, sizeof *v);
    if (!v)
        return LMF_NO_MEMORY(g->ctx, kv->n * sizeof *v, key);
    for (size_t i = 0; i < kv->n; i++) {
        if (!lmf_gguf_kv_f64(kv, i, &item) || (isfinite(item) && fabs(item) > 3.4028234663852886e38))
            return misfit(g, kv, "f32");
        v[i] = (float)item;
    }
    *out = v, *n = kv->n;
    return LMF_OK;
}
