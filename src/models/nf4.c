/* SPDX-License-Identifier: Apache-2.0 */
/* nf4: matrices in 4 bits: those that bitsandbytes left in a folder, and those that are made here of floats.
 * Rule: every count of a file is compared with the bytes that are there before one is read. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/checked.h"
#include "format/json.h"
#include "models/adapter.h"
#include "quant/nf4/nf4.h"

enum { MAX_STATE_BYTES = 1 << 16, CHUNK = 1 << 14 };
#define STATE ".quant_state.bitsandbytes__"

/* What stands beside a packed weight. */
typedef struct packed {
    const lmf_st_tensor *weight, *absmax, *map, *nested, *nested_map;
    int64_t rows, width, n_blocks, nested_block;
    double  offset;
    bool    is_double;
} packed;

static const lmf_st_tensor *beside(const lmf_model *m, const char *weight, const char *what)
{
    char name[320];
    int n = snprintf(name, sizeof name, "%s.%s", weight, what);
    return n > 0 && (size_t)n < sizeof name ? lmf_safetensors_find(m->st, name) : NULL;
}

static lmf_status refuse(const lmf_model *m, const char *weight, const char *why)
{
    return LMF_FAIL(m->ctx, LMF_E_FORMAT, "\"%.200s\" is packed by bitsandbytes, and %s", weight, why);
}

/* The state's JSON: type, block sizes, shape. */
static lmf_status read_state(const lmf_model *m, const lmf_st_tensor *state, packed *p)
{
    json_t *root;
    const char *type = "";
    int64_t block = 0;
    if (state->bytes > MAX_STATE_BYTES)
        return refuse(m, p->weight->name, "its quant_state is too long");
    LMF_TRY(lmf_json_parse(m->ctx, (const char *)state->data, state->bytes, state->name, LMF_JSON_SMALL, &root));
    const json_t *shape = json_object_get(root, "shape");
    p->is_double = json_object_get(root, "nested_blocksize") != NULL;
    lmf_status s = lmf_json_get_string(m->ctx, root, "quant_type", &type);
    if (!s)
        s = lmf_json_get_i64(m->ctx, root, "blocksize", &block);
    if (!s)
        s = lmf_json_want_i64(m->ctx, root, "nested_blocksize", &p->nested_block);
    if (!s)
        s = lmf_json_want_f64(m->ctx, root, "nested_offset", &p->offset);
    p->rows = json_integer_value(json_array_get(shape, 0)), p->width = json_integer_value(json_array_get(shape, 1));
    int64_t count;
    if (!s && (strcmp(type, "nf4") || block != LMF_NF4_BLOCK))
        s = LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "\"%.200s\" is packed as %.20s in blocks of %lld; nf4 in blocks of 64 is read",
            p->weight->name,
                     type, (long long)block);
    if (!s && (json_array_size(shape) != 2 || p->rows < 1 || p->width < 1 || !lmf_mul_i64(p->rows, p->width, &count) ||
               count > INT64_MAX - LMF_NF4_BLOCK || (uint64_t)(count + 1) / 2 != p->weight->bytes))
        s = refuse(m, p->weight->name, "its quant_state gives a shape that its bytes don't have");
    if (!s && (!isfinite(p->offset) || (p->is_double && p->nested_block < 1)))
        s = refuse(m, p->weight->name, "its quant_state has no possible nested_blocksize or nested_offset");
    p->n_blocks = s ? 0 : (count + LMF_NF4_BLOCK - 1) / LMF_NF4_BLOCK;
    json_decref(root);
    return s;
}

static bool has(const lmf_st_tensor *t, const char *type, int64_t count, size_t size)
{
    return t && strcmp(t->type, type) == 0 && t->bytes / size == (size_t)count && t->bytes % size == 0;
}

static float float_at(const lmf_st_tensor *t, int64_t i)
{
    float v;
    memcpy(&v, t->data + 4 * i, sizeof v);
    return v;
}

static lmf_status find_parts(const lmf_model *m, packed *p)
{
    const char *name = p->weight->name;
    p->absmax = beside(m, name, "absmax");
    p->map = beside(m, name, "quant_map");
    p->nested = beside(m, name, "nested_absmax");
    p->nested_map = beside(m, name, "nested_quant_map");
    if (!has(p->absmax, p->is_double ? "U8" : "F32", p->n_blocks, p->is_double ? 1 : 4))
        return refuse(m, name, "its absmax is missing or has another type or length");
    if (p->is_double && (!has(p->nested, "F32", (p->n_blocks - 1) / p->nested_block + 1, 4) || !has(p->nested_map, "F32", 256, 4)))
        return refuse(m, name, "its nested_absmax or nested_quant_map is missing or has another type or length");
    if (!has(p->map, "F32", 16, 4))
        return refuse(m, name, "its quant_map is missing or has no 16 levels");
    for (int i = 0; i < 16; i++)
        if (float_at(p->map, i) != lmf_nf4_levels[i])
            return refuse(m, name, "its quant_map has other levels than nf4");
    return LMF_OK;
}

static float scale_at(const packed *p, int64_t i)
{
    if (!p->is_double)
        return float_at(p->absmax, i);
    float kept = float_at(p->nested_map, p->absmax->data[i]) * float_at(p->nested, i / p->nested_block);
    return kept + (float)p->offset;
}

/* Blocks as nf4 has them; where rows are no whole blocks, which lie across their ends, floats. */
static lmf_status unpack(lmf_model *m, const packed *p, lmf_source *out)
{
    bool whole = p->width % LMF_NF4_BLOCK == 0;
    int64_t count = p->rows * p->width;
    size_t bytes = whole ? (size_t)p->n_blocks * sizeof(lmf_nf4) : (size_t)count * sizeof(float);
    void *data = lmf_arena_alloc(&m->arena, bytes);
    if (!data)
        return LMF_NO_MEMORY(m->ctx, bytes, "a matrix in 4 bits");
    for (int64_t i = 0; i < p->n_blocks; i++) {
        float d = scale_at(p, i);
        const uint8_t *qs = p->weight->data + 32 * i;
        if (whole) {
            lmf_nf4 *b = (lmf_nf4 *)data + i;
            memcpy(b->d, &d, sizeof d);
            memcpy(b->qs, qs, sizeof b->qs);
            continue;
        }
        int64_t n = count - i * LMF_NF4_BLOCK < LMF_NF4_BLOCK ? count - i * LMF_NF4_BLOCK : LMF_NF4_BLOCK;
        for (int64_t e = 0; e < n; e++)
            ((float *)data)[i * LMF_NF4_BLOCK + e] = d * lmf_nf4_levels[e % 2 ? qs[e / 2] & 15 : qs[e / 2] >> 4];
    }
    *out = (lmf_source){ .name = p->weight->name, .dim = { p->rows, p->width }, .n_dims = 2, .dtype = whole ? LMF_NF4 : LMF_F32,
                          .data = data, .bytes = bytes, .number = (size_t)(p->weight - lmf_safetensors_at(m->st, 0)) };
    return LMF_OK;
}

lmf_status lmf__model_unpack_nf4(lmf_model *m)
{
    char name[320];
    size_t n = lmf_safetensors_n(m->st);
    for (size_t i = 0; i < n; i++) {
        const lmf_st_tensor *state = lmf_safetensors_at(m->st, i), *first = lmf_safetensors_at(m->st, 0);
        const char *at = strstr(state->name, STATE);
        if (!at || (size_t)(at - state->name) >= sizeof name)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)(at - state->name), state->name);
        packed p = { .weight = lmf_safetensors_find(m->st, name) };
        if (!p.weight)
            return refuse(m, name, "has a quant_state but is not there itself");
        if (!m->packed && !(m->packed = lmf_arena_array(&m->arena, n, sizeof *m->packed)))
            return LMF_NO_MEMORY(m->ctx, n * sizeof *m->packed, "a list of tensors");
        LMF_TRY(read_state(m, state, &p));
        LMF_TRY(find_parts(m, &p));
        LMF_TRY(unpack(m, &p, &m->packed[p.weight - first]));
        const lmf_st_tensor *parts[] = { state, p.absmax, p.map, p.nested, p.nested_map };
        for (size_t k = 0; k < sizeof parts / sizeof *parts; k++)
            if (parts[k])
                m->packed[parts[k] - first].name = parts[k]->name; /* without data: read with another */
    }
    return LMF_OK;
}

/* All parts of a module as one run of blocks, which double quantization takes together. */
static lmf_status make_module(lmf_model *m, const lmf_module *module, lmf_in_4bit *sum)
{
    const lmf_format *nf4 = lmf_format_get(m->ctx, LMF_NF4);
    int64_t count = module->n_out * module->n_in, n_blocks = count / LMF_NF4_BLOCK;
    lmf_nf4 *blocks = lmf_arena_alloc(&m->weights->arena, (size_t)n_blocks * sizeof *blocks), *at = blocks;
    float *room = lmf_alloc(m->ctx, CHUNK * sizeof *room);
    lmf_status s = blocks && room ? LMF_OK : LMF_NO_MEMORY(m->ctx, (size_t)n_blocks * sizeof *blocks, "a matrix in 4 bits");
    for (int i = 0; !s && i < module->n_parts; i++) {
        lmf_weight *w = lmf_weights_find(m->weights, module->part[i].role);
        int64_t n = lmf_view_count(&w->v);
        for (int64_t done = 0; done < n; done += CHUNK) {
            int64_t now = n - done < CHUNK ? n - done : CHUNK;
            w->v.fmt->unpack((const char *)w->v.data + lmf_format_bytes(w->v.fmt, done), room, now);
            nf4->pack(room, at + done / LMF_NF4_BLOCK, now);
        }
        sum->bytes_before += lmf_format_bytes(w->v.fmt, n);
        w->v.data = at, w->v.fmt = nf4, w->v.dtype = LMF_NF4, w->mapped = false;
        at += n / LMF_NF4_BLOCK;
    }
    if (!s)
        s = lmf_nf4_double(m->ctx, blocks, n_blocks);
    sum->n_params += count;
    sum->bytes += (size_t)n_blocks * sizeof *blocks;
    lmf_free(m->ctx, room, room ? CHUNK * sizeof *room : 0);
    return s;
}

lmf_status lmf_model_to_4bit(lmf_model *m, lmf_in_4bit *sum)
{
    lmf_arena arena;
    lmf_modules all;
    *sum = (lmf_in_4bit){ 0 };
    lmf_arena_init(&arena, m->ctx, (size_t)1 << 28);
    lmf_status s = lmf_modules_list(&arena, m, &all);
    for (int32_t i = 0; !s && i < all.n; i++) {
        bool floats = true;
        for (int k = 0; k < all.items[i].n_parts; k++)
            floats &= (lmf_weights_find(m->weights, all.items[i].part[k].role)->v.fmt->flags & LMF_FORMAT_FLOAT) != 0;
        if (floats && all.items[i].n_in % LMF_NF4_BLOCK == 0)
            s = make_module(m, &all.items[i], sum);
        else
            sum->n_left++, sum->n_quantized += !floats;
    }
    m->weights->version++;
    lmf_arena_clear(&arena);
    return s;
}
