/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: lengths stand before what they measure, so all of them are known before the first byte is written: a tensor's bytes follow from its
 * type and shape, and fill must give exactly these. */
#include "format/onnx.h"
#include <stdio.h>
#include "base/checked.h"
#include "base/wire.h"

/* Numbers of fields in onnx.proto. */
enum { MODEL_IR = 1, MODEL_PRODUCER = 2, MODEL_GRAPH = 7, MODEL_OPSET = 8, OPSET_DOMAIN = 1, OPSET_VERSION = 2,
       GRAPH_NODE = 1, GRAPH_NAME = 2, GRAPH_TENSOR = 5, GRAPH_INPUT = 11, GRAPH_OUTPUT = 12,
       NODE_INPUT = 1, NODE_OUTPUT = 2, NODE_NAME = 3, NODE_OP = 4, NODE_ATTRIBUTE = 5, NODE_DOMAIN = 7,
       ATTR_NAME = 1, ATTR_F = 2, ATTR_I = 3, ATTR_S = 4, ATTR_INTS = 8, ATTR_TYPE = 20,
       TENSOR_DIMS = 1, TENSOR_TYPE = 2, TENSOR_NAME = 8, TENSOR_RAW = 9, TENSOR_EXTERNAL = 13, TENSOR_LOCATION = 14,
       VALUE_NAME = 1, VALUE_TYPE = 2, TYPE_TENSOR = 1, TYPE_ELEMENT = 1, TYPE_SHAPE = 2, SHAPE_DIM = 1, DIM_VALUE = 1, DIM_SYMBOL = 2 };
enum { IS_F = 1, IS_I = 2, IS_S = 3, IS_INTS = 7 };
enum { MAX_SMALL_BYTES = 1 << 28, BESIDE_BYTES = 1024, BESIDE_ALIGN = 4096, MAX_MODEL_BYTES = 0x7fffffff - (1 << 20) };

void lmf_onnx_begin(lmf_onnx_writer *w, lmf_ctx *ctx)
{
    *w = (lmf_onnx_writer){ .ctx = ctx };
    lmf_arena_init(&w->arena, ctx, MAX_SMALL_BYTES);
    lmf_buf_init(&w->nodes, ctx, MAX_SMALL_BYTES);
    lmf_buf_init(&w->values, ctx, MAX_SMALL_BYTES);
    lmf_buf_init(&w->tensors, ctx, MAX_SMALL_BYTES);
    lmf_name_index_init(&w->names, ctx);
}

void lmf_onnx_end(lmf_onnx_writer *w)
{
    if (!w->ctx)
        return;
    lmf_name_index_clear(&w->names);
    lmf_buf_clear(&w->nodes);
    lmf_buf_clear(&w->values);
    lmf_buf_clear(&w->tensors);
    lmf_arena_clear(&w->arena);
    w->ctx = NULL;
}

static void keep(lmf_onnx_writer *w, lmf_status s) { w->status = w->status ? w->status : s; }

lmf_status lmf_onnx_bytes(lmf_ctx *ctx, const lmf_onnx_tensor *t, size_t *bytes)
{
    int64_t n = 1;
    int bits = t->type == LMF_ONNX_F32 || t->type == LMF_ONNX_I32 ? 32 : t->type == LMF_ONNX_F16 ? 16 : t->type == LMF_ONNX_I64 ? 64 :
               t->type == LMF_ONNX_U8 || t->type == LMF_ONNX_BOOL ? 8 : t->type == LMF_ONNX_I4 ? 4 : 0;
    if (!bits)
        return LMF_FAIL(ctx, LMF_E_DTYPE, "the tensor %.200s has ONNX's type %d, which is not read here", t->name, t->type);
    for (int i = 0; i < t->n_dims; i++)
        if (t->dim[i] < 0 || !lmf_mul_i64(n, t->dim[i], &n))
            return LMF_FAIL(ctx, LMF_E_SHAPE, "the tensor %.200s has an impossible shape", t->name);
    if (n > INT64_MAX / 64)
        return LMF_FAIL(ctx, LMF_E_SHAPE, "the tensor %.200s is too large", t->name);
    *bytes = (size_t)((n * bits + 7) / 8);
    return LMF_OK;
}

static void put_attribute(lmf_buf *b, lmf_buf *part, const lmf_onnx_attr *a)
{
    lmf_buf_truncate(part, 0);
    lmf_wire_text(part, ATTR_NAME, a->name);
    if (a->kind == 'i')
        lmf_wire_int(part, ATTR_I, a->i);
    else if (a->kind == 'f')
        lmf_wire_float(part, ATTR_F, a->f);
    else if (a->kind == 's')
        lmf_wire_text(part, ATTR_S, a->s);
    for (int i = 0; a->kind == 'I' && i < a->n; i++)
        lmf_wire_int(part, ATTR_INTS, a->ints[i]);
    lmf_wire_int(part, ATTR_TYPE, a->kind == 'i' ? IS_I : a->kind == 'f' ? IS_F : a->kind == 's' ? IS_S : IS_INTS);
    lmf_wire_bytes(b, NODE_ATTRIBUTE, lmf_buf_str(part), part->n);
}

void lmf_onnx_put_node(lmf_onnx_writer *w, const char *domain, const char *op, const char *const *in, const char *const *out,
                       const lmf_onnx_attr *attr)
{
    lmf_buf node, part;
    lmf_buf_init(&node, w->ctx, MAX_SMALL_BYTES);
    lmf_buf_init(&part, w->ctx, MAX_SMALL_BYTES);
    for (int i = 0; in[i]; i++)
        lmf_wire_text(&node, NODE_INPUT, in[i]);
    for (int i = 0; out[i]; i++)
        lmf_wire_text(&node, NODE_OUTPUT, out[i]);
    lmf_wire_text(&node, NODE_NAME, out[0]);
    lmf_wire_text(&node, NODE_OP, op);
    for (; attr && attr->name; attr++)
        put_attribute(&node, &part, attr);
    if (*domain)
        lmf_wire_text(&node, NODE_DOMAIN, domain);
    w->microsoft |= strcmp(domain, "com.microsoft") == 0;
    lmf_wire_bytes(&w->nodes, GRAPH_NODE, lmf_buf_str(&node), node.n);
    w->n_nodes++;
    keep(w, node.status ? node.status : part.status);
    lmf_buf_clear(&node);
    lmf_buf_clear(&part);
}

void lmf_onnx_put_value(lmf_onnx_writer *w, bool output, const char *name, int type, int n_dims, const char *const *symbol,
                        const int64_t *dim)
{
    lmf_buf b[5]; /* each is a field of the next */
    for (int i = 0; i < 5; i++)
        lmf_buf_init(&b[i], w->ctx, 1 << 16);
    for (int i = 0; i < n_dims; i++) {
        lmf_buf_truncate(&b[0], 0);
        if (symbol[i])
            lmf_wire_text(&b[0], DIM_SYMBOL, symbol[i]);
        else
            lmf_wire_int(&b[0], DIM_VALUE, dim[i]);
        lmf_wire_bytes(&b[1], SHAPE_DIM, lmf_buf_str(&b[0]), b[0].n);
    }
    lmf_wire_int(&b[2], TYPE_ELEMENT, type);
    lmf_wire_bytes(&b[2], TYPE_SHAPE, lmf_buf_str(&b[1]), b[1].n);
    lmf_wire_bytes(&b[3], TYPE_TENSOR, lmf_buf_str(&b[2]), b[2].n);
    lmf_wire_text(&b[4], VALUE_NAME, name);
    lmf_wire_bytes(&b[4], VALUE_TYPE, lmf_buf_str(&b[3]), b[3].n);
    lmf_wire_bytes(&w->values, output ? GRAPH_OUTPUT : GRAPH_INPUT, lmf_buf_str(&b[4]), b[4].n);
    for (int i = 0; i < 5; i++) {
        keep(w, b[i].status);
        lmf_buf_clear(&b[i]);
    }
}

static lmf_onnx_tensor *list(const lmf_onnx_writer *w) { return (lmf_onnx_tensor *)(void *)w->tensors.data; }
static int32_t count(const lmf_onnx_writer *w) { return (int32_t)(w->tensors.n / sizeof(lmf_onnx_tensor)); }

int32_t lmf_onnx_put_tensor(lmf_onnx_writer *w, const char *name, int type, int n_dims, const int64_t *dim, const void *data)
{
    lmf_onnx_tensor t = { .type = type, .n_dims = n_dims };
    int32_t at = lmf_name_index_find(&w->names, name);
    if (at >= 0 || w->status)
        return at;
    LMF_ASSERT(n_dims <= LMF_ONNX_MAX_DIMS);
    for (int32_t i = 0; i < n_dims; i++)
        t.dim[i] = dim[i];
    t.name = lmf_arena_strdup(&w->arena, name);
    keep(w, t.name ? lmf_onnx_bytes(w->ctx, &t, &t.bytes) : LMF_NO_MEMORY(w->ctx, strlen(name), "a name"));
    if (data && !w->status) {
        uint8_t *own = lmf_arena_alloc(&w->arena, t.bytes + 1);
        keep(w, own ? LMF_OK : LMF_NO_MEMORY(w->ctx, t.bytes, name));
        if (own)
            memcpy(own, data, t.bytes);
        t.data = own;
    }
    keep(w, w->status ? w->status : lmf_buf_append(&w->tensors, &t, sizeof t));
    keep(w, w->status ? w->status : lmf_name_index_add(&w->names, t.name, count(w) - 1));
    return w->status ? -1 : count(w) - 1;
}

const lmf_onnx_tensor *lmf_onnx_tensor_at(const lmf_onnx_writer *w, int32_t i, int32_t *n)
{
    if (n)
        *n = count(w);
    return i >= 0 && i < count(w) ? &list(w)[i] : NULL;
}

/* ---- the file ---- */
typedef struct save {
    lmf_onnx_writer *w;
    lmf_onnx_fill    fill;
    void            *user;
    lmf_writer       out, beside;
    bool             external;
    char             location[256]; /* name of the file beside */
} save;

typedef struct to { lmf_writer *file; const lmf_onnx_tensor *t; uint64_t n; } to;

static lmf_status sink(void *user, const void *p, size_t n)
{
    to *t = user;
    if (n > t->t->bytes - t->n)
        return LMF_FAIL(t->file->ctx, LMF_E_INTERNAL, "%s: more bytes than its shape has", t->t->name);
    t->n += n;
    return lmf_writer_write(t->file, p, n);
}

static lmf_status put_data(save *s, lmf_writer *file, const lmf_onnx_tensor *t)
{
    to out = { file, t, 0 };
    LMF_TRY(t->data ? sink(&out, t->data, t->bytes) : s->fill(s->user, t, sink, &out));
    return out.n == t->bytes ? LMF_OK : LMF_FAIL(file->ctx, LMF_E_INTERNAL, "%s: %llu bytes of %zu", t->name, (unsigned long long)out.n,
                                                 t->bytes);
}

static bool is_beside(const save *s, const lmf_onnx_tensor *t) { return s->external && !t->data && t->bytes >= BESIDE_BYTES; }

static void put_pair(lmf_buf *b, const char *key, const char *value)
{
    lmf_buf pair;
    lmf_buf_init(&pair, b->ctx, 4096);
    lmf_wire_text(&pair, 1, key);
    lmf_wire_text(&pair, 2, value);
    lmf_wire_bytes(b, TENSOR_EXTERNAL, lmf_buf_str(&pair), pair.n);
    b->status = b->status ? b->status : pair.status;
    lmf_buf_clear(&pair);
}

/* All of a tensor but the bytes of its data. */
static void put_head(const save *s, lmf_buf *b, const lmf_onnx_tensor *t)
{
    char text[24];
    for (int i = 0; i < t->n_dims; i++)
        lmf_wire_int(b, TENSOR_DIMS, t->dim[i]);
    lmf_wire_int(b, TENSOR_TYPE, t->type);
    lmf_wire_text(b, TENSOR_NAME, t->name);
    if (is_beside(s, t)) {
        put_pair(b, "location", s->location);
        snprintf(text, sizeof text, "%llu", (unsigned long long)t->at);
        put_pair(b, "offset", text);
        snprintf(text, sizeof text, "%zu", t->bytes);
        put_pair(b, "length", text);
        lmf_wire_int(b, TENSOR_LOCATION, 1);
    } else {
        lmf_wire_key(b, TENSOR_RAW, LMF_WIRE_BYTES);
        lmf_wire_varint(b, t->bytes);
    }
}

static uint64_t message_bytes(const save *s, const lmf_onnx_tensor *t, size_t head) { return head + (is_beside(s, t) ? 0 : t->bytes); }

/* Bytes of the graph's message, with every tensor where s says. */
static lmf_status measure(save *s, uint64_t *bytes)
{
    lmf_buf head;
    lmf_buf_init(&head, s->w->ctx, 1 << 16);
    uint64_t n = s->w->nodes.n + s->w->values.n + 2 + strlen("lmfast"), at = 0;
    for (int32_t i = 0; i < count(s->w); i++) {
        lmf_onnx_tensor *t = &list(s->w)[i];
        t->at = lmf_align_up(at, BESIDE_ALIGN);
        at = is_beside(s, t) ? t->at + t->bytes : at;
        lmf_buf_truncate(&head, 0);
        put_head(s, &head, t);
        uint64_t m = message_bytes(s, t, head.n);
        n += 1 + lmf_wire_varint_bytes(m) + m;
    }
    lmf_status r = head.status;
    lmf_buf_clear(&head);
    *bytes = n;
    return r;
}

static void put_opset(lmf_buf *b, const char *domain, int64_t version)
{
    lmf_buf one;
    lmf_buf_init(&one, b->ctx, 256);
    lmf_wire_text(&one, OPSET_DOMAIN, domain);
    lmf_wire_int(&one, OPSET_VERSION, version);
    lmf_wire_bytes(b, MODEL_OPSET, lmf_buf_str(&one), one.n);
    b->status = b->status ? b->status : one.status;
    lmf_buf_clear(&one);
}

static lmf_status flush(lmf_writer *file, lmf_buf *b)
{
    LMF_TRY(b->status);
    LMF_TRY(lmf_writer_write(file, lmf_buf_str(b), b->n));
    lmf_buf_truncate(b, 0);
    return LMF_OK;
}

static lmf_status put_all(save *s, lmf_buf *b, uint64_t graph_bytes)
{
    static const char zeros[BESIDE_ALIGN];
    lmf_wire_int(b, MODEL_IR, LMF_ONNX_IR);
    lmf_wire_text(b, MODEL_PRODUCER, "lmfast");
    put_opset(b, "", LMF_ONNX_OPSET);
    if (s->w->microsoft)
        put_opset(b, "com.microsoft", 1);
    lmf_wire_key(b, MODEL_GRAPH, LMF_WIRE_BYTES);
    lmf_wire_varint(b, graph_bytes);
    lmf_wire_text(b, GRAPH_NAME, "lmfast");
    LMF_TRY(flush(&s->out, b));
    LMF_TRY(lmf_writer_write(&s->out, lmf_buf_str(&s->w->nodes), s->w->nodes.n));
    LMF_TRY(lmf_writer_write(&s->out, lmf_buf_str(&s->w->values), s->w->values.n));
    for (int32_t i = 0; i < count(s->w); i++) {
        const lmf_onnx_tensor *t = &list(s->w)[i];
        size_t start = b->n;
        put_head(s, b, t);
        uint64_t m = message_bytes(s, t, b->n - start);
        lmf_buf_truncate(b, start);
        lmf_wire_key(b, GRAPH_TENSOR, LMF_WIRE_BYTES);
        lmf_wire_varint(b, m);
        put_head(s, b, t);
        LMF_TRY(flush(&s->out, b));
        if (is_beside(s, t))
            LMF_TRY(lmf_writer_write(&s->beside, zeros, t->at - s->beside.n));
        LMF_TRY(put_data(s, is_beside(s, t) ? &s->beside : &s->out, t));
    }
    return LMF_OK;
}

static lmf_status open_files(save *s, const char *path)
{
    char beside[4096];
    const char *slash = strrchr(path, '/');
    int n = snprintf(beside, sizeof beside, "%s_data", path);
    if (n < 0 || (size_t)n >= sizeof beside || snprintf(s->location, sizeof s->location, "%s_data", slash ? slash + 1 :
                                                        path) >= (int)sizeof s->location)
        return LMF_FAIL(s->w->ctx, LMF_E_LIMIT, "the path %.100s... is too long", path);
    LMF_TRY(lmf_writer_open(s->w->ctx, path, &s->out));
    return s->external ? lmf_writer_open(s->w->ctx, beside, &s->beside) : LMF_OK;
}

lmf_status lmf_onnx_save(lmf_onnx_writer *w, const char *path, bool beside, lmf_onnx_fill fill, void *user, bool *external)
{
    save s = { .w = w, .fill = fill, .user = user, .out = { .fd = -1 }, .beside = { .fd = -1 }, .external = beside };
    lmf_buf b;
    uint64_t bytes;
    keep(w, w->nodes.status ? w->nodes.status : w->values.status);
    LMF_TRY(w->status);
    LMF_TRY(measure(&s, &bytes));
    s.external = beside || bytes > MAX_MODEL_BYTES;
    lmf_buf_init(&b, w->ctx, 1 << 16);
    lmf_status r = open_files(&s, path);
    if (!r)
        r = measure(&s, &bytes);
    if (!r && bytes > MAX_MODEL_BYTES)
        r = LMF_FAIL(w->ctx, LMF_E_LIMIT, "the graph alone has %llu bytes; an ONNX file holds less than 2 GB", (unsigned long long)bytes);
    if (!r)
        r = put_all(&s, &b, bytes);
    if (!r && s.external)
        r = lmf_writer_commit(&s.beside);
    if (!r)
        r = lmf_writer_commit(&s.out);
    lmf_writer_abandon(&s.out);
    lmf_writer_abandon(&s.beside);
    lmf_buf_clear(&b);
    *external = s.external;
    return r;
}
