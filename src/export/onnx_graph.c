/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a node of ours is written only when every attribute and input of its op is one that is known here: what is new elsewhere is
 * refused here
 * until somebody writes its form. Rows [T, D] of ours are [batch, sequence, D] in ONNX; heads [batch, sequence, H, C]. */
#include <stdio.h>
#include <string.h>
#include "export/onnx.h"
#include "ops/matmul/matmul.h"
#include "ops/rms_norm/rms_norm.h"

typedef struct turned { const lmf_tensor *freq; float scale; const char *cos, *sin; } turned; /* angles: once for all layers */
typedef struct mask { int32_t window, groups; const char *name; } mask;
enum { MOST_SHARED = 8 };

typedef struct emit {
    lmf__onnx   *o;
    lmf_onnx_writer *w;
    lmf_graph   *g;
    lmf_ctx     *ctx;
    lmf_arena   *arena;
    const char **flat, **heads;    /* a tensor's name as [B, S, D] and as [B, S, H, C]; NULL: not made so far */
    int          type;             /* of what goes from one operator to the next */
    int32_t      n_made, n_kv;
    turned       turned[MOST_SHARED]; int n_turned;
    mask         masks[MOST_SHARED]; int n_masks;
    const char  *seen, *total;     /* Microsoft's attention: tokens of each sequence less one, and of the longest */
    int          layer;
} emit;

#define LIST(...) (const char *const[]){ __VA_ARGS__, NULL }
#define ATTR(...) (const lmf_onnx_attr[]){ __VA_ARGS__, { 0 } }
#define PUT(e, op, attr, ...) put((e), "", (op), (attr), LIST(__VA_ARGS__))

static const char *text(emit *e, const char *t)
{
    if (!t && !e->w->status)
        e->w->status = LMF_NO_MEMORY(e->ctx, 64, "a graph");
    return t ? t : "";
}

static const char *put(emit *e, const char *domain, const char *op, const lmf_onnx_attr *attr, const char *const *in)
{
    const char *name = text(e, e->layer >= 0 ? lmf_arena_printf(e->arena, "layers.%d/%s_%d", e->layer, op, e->n_made) :
                            lmf_arena_printf(e->arena, "%s_%d", op, e->n_made));
    e->n_made++;
    lmf_onnx_put_node(e->w, domain, op, in, LIST(name), attr);
    return name;
}

/* ---- constants, one of each ---- */
static const char *ints(emit *e, int n, const int64_t *v)
{
    char name[160] = "ints";
    for (int i = 0, at = 4; i < n && at < 128; i++)
        at += snprintf(name + at, sizeof name - (size_t)at, "_%lld", (long long)v[i]);
    const char *own = text(e, lmf_arena_strdup(e->arena, name));
    lmf_onnx_put_tensor(e->w, own, LMF_ONNX_I64, 1, &(int64_t){ n }, v);
    return own;
}
#define INTS(e, ...) ints((e), (int)(sizeof (int64_t[]){ __VA_ARGS__ } / sizeof(int64_t)), (int64_t[]){ __VA_ARGS__ })

static const char *whole(emit *e, int64_t v)
{
    const char *own = text(e, lmf_arena_printf(e->arena, "int_%lld", (long long)v));
    lmf_onnx_put_tensor(e->w, own, LMF_ONNX_I64, 0, NULL, &v);
    return own;
}

static const char *real(emit *e, int type, float v)
{
    uint16_t h = lmf_f32_to_f16(v);
    const char *own = text(e, lmf_arena_printf(e->arena, "%s_%.9g", type == LMF_ONNX_F16 ? "f16" : "f32", (double)v));
    lmf_onnx_put_tensor(e->w, own, type, 0, NULL, type == LMF_ONNX_F16 ? (const void *)&h : &v);
    return own;
}

static const char *cast(emit *e, const char *x, int type) { return PUT(e, "Cast", ATTR({ "to", 'i', .i = type }), x); }
static const char *to_f32(emit *e, const char *x) { return e->type == LMF_ONNX_F32 ? x : cast(e, x, LMF_ONNX_F32); }
static const char *from_f32(emit *e, const char *x) { return e->type == LMF_ONNX_F32 ? x : cast(e, x, e->type); }

/* ---- names of our tensors ---- */
static const char *flat(emit *e, const lmf_tensor *t)
{
    if (!e->flat[t->index] && e->heads[t->index])
        e->flat[t->index] = PUT(e, "Reshape", NULL, e->heads[t->index], INTS(e, 0, 0, t->v.dim[t->v.n_dims - 1]));
    return e->flat[t->index] ? e->flat[t->index] : "";
}

static const char *split(emit *e, const lmf_tensor *t, int64_t head_size)
{
    if (!e->heads[t->index])
        e->heads[t->index] = PUT(e, "Reshape", NULL, e->flat[t->index] ? e->flat[t->index] : "",
                                 INTS(e, 0, 0, t->v.dim[t->v.n_dims - 1] / head_size, head_size));
    return e->heads[t->index];
}

static lmf_status unknown(emit *e, const lmf_node *n, const char *what)
{
    return LMF_FAIL(e->ctx, LMF_E_UNSUPPORTED, "%s can't be written as ONNX: %s of its op \"%s\" has no form there so far",
                    e->o->x->model->arch->name, what, n->op->name);
}

/* ---- one function an op ---- */
static lmf_status put_embed(emit *e, const lmf_node *n)
{
    const lmf_tensor *w = n->in[1];
    if (w->v.cls != LMF_WEIGHT)
        return unknown(e, n, "a table that is no weight");
    const char *role = w->name, *codes = e->o->four ? lmf__onnx_matrix(e->o, role, LMF__ONNX_CODES) : NULL;
    if (!codes) {
        e->flat[n->out[0]->index] = PUT(e, "Gather", NULL, text(e, lmf__onnx_matrix(e->o, role, LMF__ONNX_AS_IS)), "input_ids");
        return LMF_OK;
    }
    /* the rows alone are unpacked: [B, S, D/32, 16] bytes of two codes, less 8, times the scale of 32 */
    const char *scales = PUT(e, "Unsqueeze", NULL, PUT(e, "Gather", NULL, text(e, lmf__onnx_matrix(e->o, role, LMF__ONNX_SCALES)),
                                                       "input_ids"), INTS(e, -1));
    const char *rows = PUT(e, "Gather", NULL, codes, "input_ids");
    uint8_t low_bits = 15, four = 4;
    lmf_onnx_put_tensor(e->w, "byte_15", LMF_ONNX_U8, 0, NULL, &low_bits);
    lmf_onnx_put_tensor(e->w, "byte_4", LMF_ONNX_U8, 0, NULL, &four);
    const char *low = PUT(e, "Unsqueeze", NULL, PUT(e, "BitwiseAnd", NULL, rows, "byte_15"), INTS(e, -1));
    const char *high = PUT(e, "Unsqueeze", NULL, PUT(e, "BitShift", ATTR({ "direction", 's', .s = "RIGHT" }), rows, "byte_4"), INTS(e, -1));
    const char *both = PUT(e, "Reshape", NULL, PUT(e, "Concat", ATTR({ "axis", 'i', .i = -1 }), low, high),
                           INTS(e, 0, 0, w->v.dim[1] / 32, 32));
    const char *x = PUT(e, "Mul", NULL, PUT(e, "Sub", NULL, cast(e, both, e->type), real(e, e->type, 8)), scales);
    e->flat[n->out[0]->index] = PUT(e, "Reshape", NULL, x, INTS(e, 0, 0, w->v.dim[1]));
    return LMF_OK;
}

/* In f32 throughout, as transformers computes it, but for the weight, which is multiplied before the result is rounded. */
static lmf_status put_rms_norm(emit *e, const lmf_node *n)
{
    const lmf_rms_norm_attrs *a = n->attrs;
    const lmf_tensor *x = n->in[0], *w = n->in[1];
    if (w->v.cls != LMF_WEIGHT)
        return unknown(e, n, "a factor that is no weight");
    bool groups = w->v.dim[0] != x->v.dim[x->v.n_dims - 1];
    const char *in = to_f32(e, groups ? split(e, x, w->v.dim[0]) : flat(e, x));
    const char *mean = PUT(e, "ReduceMean", ATTR({ "keepdims", 'i', .i = 1 }), PUT(e, "Pow", NULL, in, real(e, LMF_ONNX_F32, 2)),
                           INTS(e, -1));
    const char *size = PUT(e, "Sqrt", NULL, PUT(e, "Add", NULL, mean, real(e, LMF_ONNX_F32, a->eps)));
    const char *y = PUT(e, "Mul", NULL, PUT(e, "Div", NULL, in, size), text(e, lmf__onnx_matrix(e->o, w->name, LMF__ONNX_AS_IS)));
    (groups ? e->heads : e->flat)[n->out[0]->index] = from_f32(e, y);
    return LMF_OK;
}

/* x W^T in 4 bits, or NULL where these don't fit. */
static const char *product_of_4bit(emit *e, const lmf_node *n, const char *x)
{
    const lmf_tensor *w = n->in[1];
    const char *codes = lmf__onnx_matrix(e->o, w->name, e->o->microsoft ? LMF__ONNX_CODES : LMF__ONNX_CODES_TURNED);
    if (!codes)
        return NULL;
    const char *scales = text(e, lmf__onnx_matrix(e->o, w->name, e->o->microsoft ? LMF__ONNX_SCALES : LMF__ONNX_SCALES_TURNED));
    if (e->o->microsoft)
        return put(e, "com.microsoft", "MatMulNBits", ATTR({ "K", 'i', .i = w->v.dim[1] }, { "N", 'i', .i = w->v.dim[0] },
                                                           { "bits", 'i', .i = 4 }, { "block_size", 'i', .i = 32 }),
                   LIST(x, codes, scales));
    return PUT(e, "MatMul", NULL, x, PUT(e, "DequantizeLinear", ATTR({ "axis", 'i', .i = 0 }, { "block_size", 'i', .i = 32 }), codes,
                                         scales));
}

static lmf_status put_matmul(emit *e, const lmf_node *n)
{
    const lmf_matmul_attrs *a = n->attrs;
    const lmf_tensor *x = n->in[0], *w = n->in[1], *c = n->n_in > 2 ? n->in[2] : NULL;
    if (a->ta || !a->tb || w->v.cls != LMF_WEIGHT || a->y != LMF_F32)
        return unknown(e, n, "a product of two activations");
    const char *y = e->o->four ? product_of_4bit(e, n, flat(e, x)) : NULL;
    bool tied = !y && lmf_name_index_find(&e->w->names, w->name) >= 0; /* the embedding's rows: turned where they are read */
    if (!y)
        y = PUT(e, "MatMul", NULL, flat(e, x), tied ? PUT(e, "Transpose", ATTR({ "perm", 'I', .ints = (int64_t[]){ 1, 0 }, .n = 2 }),
                                                          w->name) :
                text(e, lmf__onnx_matrix(e->o, w->name, LMF__ONNX_TURNED)));
    if (a->alpha != 1)
        y = PUT(e, "Mul", NULL, y, real(e, e->type, a->alpha));
    if (c)
        y = PUT(e, "Add", NULL, y, c->v.cls == LMF_WEIGHT ? text(e, lmf__onnx_matrix(e->o, c->name, LMF__ONNX_AS_IS)) : flat(e, c));
    e->flat[n->out[0]->index] = y;
    return LMF_OK;
}

static lmf_status angles(emit *e, const lmf_node *n, const turned **out)
{
    const lmf_rope_attrs *a = n->attrs;
    const lmf_tensor *freq = n->in[2];
    for (int i = 0; i < e->n_turned; i++)
        if (e->turned[i].freq == freq && e->turned[i].scale == a->scale) {
            *out = &e->turned[i];
            return LMF_OK;
        }
    if (freq->v.cls != LMF_CONST || strcmp(n->in[1]->name, "pos") || e->n_turned == MOST_SHARED)
        return unknown(e, n, "a frequency that is no constant");
    int layer = e->layer;
    e->layer = -1;
    lmf_onnx_put_tensor(e->w, freq->name, LMF_ONNX_F32, 1, freq->v.dim, freq->init);
    const char *pos = PUT(e, "Unsqueeze", NULL, cast(e, "position_ids", LMF_ONNX_F32), INTS(e, 2));
    const char *angle = PUT(e, "Mul", NULL, pos, freq->name), *of[2];
    for (int i = 0; i < 2; i++) {
        of[i] = PUT(e, i ? "Sin" : "Cos", NULL, angle);
        if (a->scale != 1)
            of[i] = PUT(e, "Mul", NULL, of[i], real(e, LMF_ONNX_F32, a->scale));
        of[i] = from_f32(e, PUT(e, "Unsqueeze", NULL, of[i], INTS(e, 2)));
    }
    e->layer = layer;
    e->turned[e->n_turned] = (turned){ freq, a->scale, of[0], of[1] };
    *out = &e->turned[e->n_turned++];
    return LMF_OK;
}

static lmf_status put_rope(emit *e, const lmf_node *n)
{
    const lmf_rope_attrs *a = n->attrs;
    int64_t half = a->n_rot / 2, rest = a->head_size - a->n_rot;
    const turned *t;
    if (a->inverse)
        return unknown(e, n, "the way back");
    LMF_TRY(angles(e, n, &t));
    const char *x = split(e, n->in[0], a->head_size), *part[3];
    for (int i = 0; i < 3; i++)
        part[i] = text(e, lmf_arena_printf(e->arena, "layers.%d/Split_%d", e->layer, e->n_made++));
    const char *sizes = rest ? INTS(e, half, half, rest) : INTS(e, half, half);
    lmf_onnx_put_node(e->w, "", "Split", LIST(x, sizes), rest ? LIST(part[0], part[1], part[2]) : LIST(part[0], part[1]),
                      ATTR({ "axis", 'i', .i = -1 }));
    const char *a0 = PUT(e, "Sub", NULL, PUT(e, "Mul", NULL, part[0], t->cos), PUT(e, "Mul", NULL, part[1], t->sin));
    const char *a1 = PUT(e, "Add", NULL, PUT(e, "Mul", NULL, part[1], t->cos), PUT(e, "Mul", NULL, part[0], t->sin));
    const lmf_onnx_attr *axis = ATTR({ "axis", 'i', .i = -1 });
    e->heads[n->out[0]->index] = rest ? PUT(e, "Concat", axis, a0, a1, part[2]) : PUT(e, "Concat", axis, a0, a1);
    return LMF_OK;
}

/* What is added to the scores, [B, 1, groups * S, T]: 0 where a token may look, the least number elsewhere. Places are those in the
 * cache, so
 * tokens that attention_mask leaves out count in a window, as they do in transformers. */
static const char *mask_of(emit *e, int32_t window, int32_t groups)
{
    for (int i = 0; i < e->n_masks; i++)
        if (e->masks[i].window == window && e->masks[i].groups == groups)
            return e->masks[i].name;
    int layer = e->layer;
    e->layer = -1;
    const char *total = PUT(e, "Gather", NULL, PUT(e, "Shape", NULL, "attention_mask"), whole(e, 1));
    const char *fresh = PUT(e, "Gather", NULL, PUT(e, "Shape", NULL, "input_ids"), whole(e, 1));
    const char *keys = PUT(e, "Range", NULL, whole(e, 0), total, whole(e, 1));
    const char *rows = PUT(e, "Unsqueeze", NULL, PUT(e, "Range", NULL, PUT(e, "Sub", NULL, total, fresh), total, whole(e, 1)), INTS(e, 1));
    const char *may = PUT(e, "LessOrEqual", NULL, keys, rows);
    if (window)
        may = PUT(e, "And", NULL, may, PUT(e, "Greater", NULL, keys, PUT(e, "Sub", NULL, rows, whole(e, window))));
    const char *live = PUT(e, "Unsqueeze", NULL, cast(e, "attention_mask", LMF_ONNX_BOOL), INTS(e, 1, 2));
    const char *m = PUT(e, "Where", NULL, PUT(e, "And", NULL, may, live), real(e, e->type, 0),
                        real(e, e->type, e->o->half ? -65504.0f : -3.4028234e38f));
    const char *copies[64 + 1] = { 0 };
    for (int i = 0; i < groups && i < 64; i++)
        copies[i] = m;
    m = groups > 1 ? put(e, "", "Concat", ATTR({ "axis", 'i', .i = 2 }), copies) : m;
    e->layer = layer;
    if (e->n_masks < MOST_SHARED)
        e->masks[e->n_masks++] = (mask){ window, groups, m };
    return m;
}

typedef struct cache { const char *past[2], *present[2]; } cache;

static cache put_cache(emit *e, const lmf_attention_attrs *a)
{
    static const char *const kind[] = { "key", "value" };
    cache c;
    for (int i = 0; i < 2; i++) {
        c.past[i] = text(e, lmf_arena_printf(e->arena, "past_key_values.%d.%s", e->n_kv, kind[i]));
        c.present[i] = text(e, lmf_arena_printf(e->arena, "present.%d.%s", e->n_kv, kind[i]));
        int64_t dim[] = { 0, a->n_kv_heads, 0, a->head_size };
        lmf_onnx_put_value(e->w, false, c.past[i], e->type, 4, (const char *const[]){ "batch_size", NULL, "past_sequence_length", NULL },
                           dim);
        lmf_onnx_put_value(e->w, true, c.present[i], e->type, 4, (const char *const[]){ "batch_size", NULL, "total_sequence_length",
                                                                                        NULL }, dim);
    }
    e->n_kv++;
    return c;
}

static const char *capped(emit *e, const char *x, float cap)
{
    if (!(cap > 0))
        return x;
    const char *by = real(e, e->type, cap);
    return PUT(e, "Mul", NULL, PUT(e, "Tanh", NULL, PUT(e, "Div", NULL, x, by)), by);
}

/* Query heads that share a key head lie side by side, so they are rows of one product and no key is copied. */
static lmf_status put_attention(emit *e, const lmf_node *n)
{
    const lmf_attention_attrs *a = n->attrs;
    int64_t H = a->n_heads, K = a->n_kv_heads, G = H / K, C = a->head_size;
    if (e->n_kv != e->layer || G > 64 || strcmp(n->in[3]->name, "seq") || strcmp(n->in[4]->name, "q_start"))
        return unknown(e, n, e->n_kv != e->layer ? "a layer without keys of its own" : "a grouping of heads");
    cache c = put_cache(e, a);
    const lmf_onnx_attr *swap = ATTR({ "perm", 'I', .ints = (int64_t[]){ 0, 2, 1, 3 }, .n = 4 }), *turn = ATTR({ "perm", 'I',
        .ints = (int64_t[]){ 0, 1, 3, 2 }, .n = 4 });
    const char *q = PUT(e, "Mul", NULL, split(e, n->in[0], C), real(e, e->type, a->scale));
    q = PUT(e, "Transpose", swap, q);
    q = G > 1 ? PUT(e, "Reshape", NULL, q, INTS(e, 0, K, -1, C)) : q;
    for (int i = 0; i < 2; i++)
        lmf_onnx_put_node(e->w, "", "Concat", LIST(c.past[i], PUT(e, "Transpose", swap, split(e, n->in[1 + i], C))), LIST(c.present[i]),
                          ATTR({ "axis", 'i', .i = 2 }));
    const char *scores = capped(e, PUT(e, "MatMul", NULL, q, PUT(e, "Transpose", turn, c.present[0])), a->cap);
    scores = PUT(e, "Add", NULL, scores, mask_of(e, a->window, (int32_t)G));
    const char *y = PUT(e, "MatMul", NULL, PUT(e, "Softmax", ATTR({ "axis", 'i', .i = -1 }), scores), c.present[1]);
    y = G > 1 ? PUT(e, "Reshape", NULL, y, INTS(e, 0, H, -1, C)) : y;
    e->flat[n->out[0]->index] = PUT(e, "Reshape", NULL, PUT(e, "Transpose", swap, y), INTS(e, 0, 0, H * C));
    return LMF_OK;
}

static lmf_status put_attention_microsoft(emit *e, const lmf_node *n)
{
    const lmf_attention_attrs *a = n->attrs;
    if (e->n_kv != e->layer || strcmp(n->in[3]->name, "seq") || strcmp(n->in[4]->name, "q_start"))
        return unknown(e, n, "a layer without keys of its own");
    cache c = put_cache(e, a);
    if (!e->seen) {
        int layer = e->layer;
        e->layer = -1;
        const char *sum = PUT(e, "ReduceSum", ATTR({ "keepdims", 'i', .i = 0 }), "attention_mask", INTS(e, 1));
        e->seen = cast(e, PUT(e, "Sub", NULL, sum, whole(e, 1)), LMF_ONNX_I32);
        e->total = cast(e, PUT(e, "Gather", NULL, PUT(e, "Shape", NULL, "attention_mask"), whole(e, 1)), LMF_ONNX_I32);
        e->layer = layer;
    }
    const char *name = text(e, lmf_arena_printf(e->arena, "layers.%d/GroupQueryAttention", e->layer));
    lmf_onnx_put_node(e->w, "com.microsoft", "GroupQueryAttention",
        LIST(flat(e, n->in[0]), flat(e, n->in[1]), flat(e, n->in[2]), c.past[0], c.past[1], e->seen, e->total), LIST(name, c.present[0],
                                                                                                                     c.present[1]),
        ATTR({ "num_heads", 'i', .i = a->n_heads }, { "kv_num_heads", 'i', .i = a->n_kv_heads }, { "scale", 'f', .f = a->scale },
             { "local_window_size", 'i', .i = a->window ? a->window : -1 }, { a->cap > 0 ? "softcap" : NULL, 'f', .f = a->cap }));
    e->flat[n->out[0]->index] = name;
    return LMF_OK;
}

static lmf_status put_attention_any(emit *e, const lmf_node *n)
{
    return e->o->microsoft ? put_attention_microsoft(e, n) : put_attention(e, n);
}

static lmf_status put_swiglu(emit *e, const lmf_node *n)
{
    const char *gate = flat(e, n->in[0]);
    e->flat[n->out[0]->index] = PUT(e, "Mul", NULL, PUT(e, "Mul", NULL, gate, PUT(e, "Sigmoid", NULL, gate)), flat(e, n->in[1]));
    return LMF_OK;
}

static lmf_status put_geglu(emit *e, const lmf_node *n)
{
    const char *y = PUT(e, "Gelu", ATTR({ "approximate", 's', .s = "tanh" }), flat(e, n->in[0]));
    e->flat[n->out[0]->index] = PUT(e, "Mul", NULL, y, flat(e, n->in[1]));
    return LMF_OK;
}

static lmf_status put_add(emit *e, const lmf_node *n)
{
    if (!lmf_same_shape(n->in[0], n->in[1]))
        return unknown(e, n, "a sum of different shapes");
    e->flat[n->out[0]->index] = PUT(e, "Add", NULL, flat(e, n->in[0]), flat(e, n->in[1]));
    return LMF_OK;
}

static lmf_status put_scale_by(emit *e, const lmf_node *n)
{
    const lmf_tensor *s = n->in[1], *c = n->n_in > 2 ? n->in[2] : NULL;
    if (s->v.cls != LMF_CONST)
        return unknown(e, n, "a factor that is no constant");
    const char *y = PUT(e, "Mul", NULL, flat(e, n->in[0]), real(e, e->type, *(const float *)s->init));
    e->flat[n->out[0]->index] = c ? PUT(e, "Add", NULL, y, flat(e, c)) : y;
    return LMF_OK;
}

/* fields: attributes that the form follows, or that change nothing here. */
static const struct form { const char *op, *fields; int n_in_max; lmf_status (*put)(emit *, const lmf_node *); } forms[] = {
    { "embed", " y ", 2, put_embed },
    { "rms_norm", " eps ", 2, put_rms_norm },
    { "matmul", " ta tb alpha compute y ", 3, put_matmul },
    { "rope", " head_size n_rot scale inverse ", 3, put_rope },
    { "attention", " n_heads n_kv_heads head_size window scale compute cap ", 5, put_attention_any },
    { "swiglu", " ", 2, put_swiglu },
    { "geglu", " ", 2, put_geglu },
    { "add", " ", 2, put_add },
    { "scale_by", " ", 3, put_scale_by },
};

static lmf_status put_any(emit *e, const lmf_node *n)
{
    const struct form *f = NULL;
    char word[80];
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        f = strcmp(forms[i].op, n->op->name) ? f : &forms[i];
    if (!f)
        return LMF_FAIL(e->ctx, LMF_E_UNSUPPORTED, "%s can't be written as ONNX: its op \"%s\" has no form there so far",
                        e->o->x->model->arch->name, n->op->name);
    for (const lmf_field *a = n->op->fields; a && a->name; a++) {
        snprintf(word, sizeof word, " %s ", a->name);
        if (!strstr(f->fields, word))
            return unknown(e, n, a->name);
    }
    if (n->n_in > f->n_in_max)
        return unknown(e, n, "a further input");
    e->layer = n->block - 1;
    LMF_TRY(f->put(e, n));
    return e->w->status;
}

/* ---- the whole ---- */
static lmf_tensor *input(lmf_graph *g, const char *name, int64_t n) { return lmf_graph_tensor(g, LMF_INPUT, name, LMF_I32, 1, &n); }

/* The model's forward pass with logits of every row, as nodes that no device has fused. */
static lmf_status build_ours(lmf_exporter *x, lmf_graph *g, lmf_nn *nn)
{
    enum { T = 2 };
    const lmf_model *m = x->model;
    lmf_head_spec head = lmf_model_head(m);
    g->config = m->config;
    g->user = nn;
    lmf_batch in = { .token = input(g, "token", T), .pos = input(g, "pos", T), .seq = input(g, "seq", T),
                     .q_start = input(g, "q_start", 2) };
    lmf_tensor *y = m->arch->body(g, &in, m->arch->embed(g, &in)), *w = lmf_nn_weight(g, head.role, false);
    lmf_graph_output(g, "logits", lmf_matmul(g, y, w, NULL, (lmf_matmul_attrs){ .tb = 1, .alpha = head.scale }));
    return lmf_graph_finish(g);
}

static lmf_status put_graph(emit *e)
{
    static const char *const of_tokens[] = { "batch_size", "sequence_length" }, *const of_all[] = { "batch_size", "total_sequence_length" },
                      *const of_logits[] = { "batch_size", "sequence_length", NULL };
    const lmf_graph *g = e->g;
    const lmf_tensor *logits = lmf_graph_find(g, "logits");
    size_t n = (size_t)g->n_tensors;
    e->flat = lmf_arena_array(e->arena, n, sizeof *e->flat);
    e->heads = lmf_arena_array(e->arena, n, sizeof *e->heads);
    if (!e->flat || !e->heads)
        return LMF_NO_MEMORY(e->ctx, n * sizeof *e->flat, "a graph");
    lmf_onnx_put_value(e->w, false, "input_ids", LMF_ONNX_I64, 2, of_tokens, NULL);
    lmf_onnx_put_value(e->w, false, "attention_mask", LMF_ONNX_I64, 2, of_all, NULL);
    lmf_onnx_put_value(e->w, false, "position_ids", LMF_ONNX_I64, 2, of_tokens, NULL);
    lmf_onnx_put_value(e->w, true, "logits", LMF_ONNX_F32, 3, of_logits, (int64_t[]){ 0, 0, logits->v.dim[1] });
    for (int32_t i = 0; i < g->n_nodes; i++)
        LMF_TRY(put_any(e, g->nodes[i]));
    if (e->n_kv != lmf_model_config(e->o->x->model)->n_layers)
        return LMF_FAIL(e->ctx, LMF_E_UNSUPPORTED, "%s can't be written as ONNX: %d of its %d layers have keys and values",
                        e->o->x->model->arch->name, e->n_kv,
                        lmf_model_config(e->o->x->model)->n_layers);
    lmf_onnx_put_node(e->w, "", e->o->half ? "Cast" : "Identity", LIST(flat(e, logits)), LIST("logits"), e->o->half ?
                      ATTR({ "to", 'i', .i = LMF_ONNX_F32 }) : NULL);
    return e->w->status;
}

lmf_status lmf__onnx_build(lmf__onnx *o)
{
    lmf_exporter *x = o->x;
    lmf_nn nn = { .weights = x->model->weights };
    emit e = { .o = o, .w = &o->w, .ctx = x->ctx, .arena = &x->arena, .type = o->half ? LMF_ONNX_F16 : LMF_ONNX_F32, .layer = -1 };
    lmf_device *dev = NULL;
    o->cap = 3 * x->model->weights->n + 8;
    o->items = lmf_arena_array(&x->arena, (size_t)o->cap, sizeof *o->items);
    lmf_status s = o->items ? lmf_device_open(x->ctx, "null", &dev) : LMF_NO_MEMORY(x->ctx, (size_t)o->cap * sizeof *o->items,
                                                                                    "a list of tensors");
    if (!s)
        s = lmf_graph_create(x->ctx, &e.g);
    if (!s) {
        e.g->device = dev;
        s = build_ours(x, e.g, &nn);
    }
    if (!s)
        s = put_graph(&e);
    lmf_graph_destroy(e.g);
    lmf_device_close(dev);
    return s;
}
