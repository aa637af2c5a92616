/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what is not understood is refused, not passed over, as far as it could change what the graph computes: a subgraph, a function, a
 * sparse
 * tensor, data in another field than raw_data. Names become NUL-ended copies, so one with a NUL in it is no name. */
#include "format/onnx.h"
#include <stdio.h>
#include "base/wire.h"

enum { MODEL_IR = 1, MODEL_GRAPH = 7, MODEL_OPSET = 8, MODEL_FUNCTIONS = 25, GRAPH_NODE = 1, GRAPH_TENSOR = 5, GRAPH_INPUT = 11,
       GRAPH_OUTPUT = 12,
       GRAPH_SPARSE = 15, NODE_INPUT = 1, NODE_OUTPUT = 2, NODE_OP = 4,
       NODE_ATTRIBUTE = 5, NODE_DOMAIN = 7, ATTR_GRAPH = 6, ATTR_GRAPHS = 11,
       TENSOR_DIMS = 1, TENSOR_TYPE = 2, TENSOR_NAME = 8, TENSOR_RAW = 9, TENSOR_EXTERNAL = 13, TENSOR_LOCATION = 14 };
enum { MAX_MODEL_ARENA = 1 << 28, MAX_NAME = 4096, MAX_LISTED = 1 << 22 };

static lmf_status broken(const lmf_onnx *o, const char *what)
{
    return LMF_FAIL(o->ctx, LMF_E_FORMAT, "this is no ONNX model: %s", what);
}

static lmf_status take_name(lmf_onnx *o, const lmf_wire_field *f, const char **out)
{
    if (f->kind != LMF_WIRE_BYTES || f->n > MAX_NAME || memchr(f->p, 0, f->n))
        return broken(o, "a name is too long, or none");
    *out = lmf_arena_strndup(&o->arena, (const char *)f->p, f->n);
    return *out ? LMF_OK : LMF_NO_MEMORY(o->ctx, f->n, "a name");
}

/* ---- nodes ---- */
static lmf_status read_node(lmf_onnx *o, lmf_wire w, lmf_onnx_node *n)
{
    lmf_wire_field f, a;
    *n = (lmf_onnx_node){ .op = "", .domain = "" };
    while (lmf_wire_next(&w, &f)) {
        if (f.number == NODE_INPUT || f.number == NODE_OUTPUT) {
            int *at = f.number == NODE_INPUT ? &n->n_in : &n->n_out;
            if (*at == LMF_ONNX_MAX_IO)
                return broken(o, "a node has too many inputs or outputs");
            LMF_TRY(take_name(o, &f, f.number == NODE_INPUT ? &n->in[*at] : &n->out[*at]));
            ++*at;
        } else if (f.number == NODE_OP) {
            LMF_TRY(take_name(o, &f, &n->op));
        } else if (f.number == NODE_DOMAIN) {
            LMF_TRY(take_name(o, &f, &n->domain));
        } else if (f.number == NODE_ATTRIBUTE) {
            lmf_wire inner = { f.p, f.p + f.n, f.kind != LMF_WIRE_BYTES };
            while (lmf_wire_next(&inner, &a))
                if (a.number == ATTR_GRAPH || a.number == ATTR_GRAPHS)
                    return broken(o, "a node holds a graph, which is not read here");
            w.bad |= inner.bad;
        }
    }
    return w.bad || !*n->op || !n->n_out ? broken(o, "a node is damaged") : LMF_OK;
}

static lmf_status make(lmf_onnx *o, lmf_name_index *made, const char *name)
{
    lmf_status s = lmf_name_index_add(made, name, 0);
    return s == LMF_E_EXISTS ? LMF_FAIL(o->ctx, LMF_E_FORMAT, "this is no ONNX model: %.200s is made twice", name) : s;
}

/* In the file's order: a name is made before it is read. */
static lmf_status check_nodes(lmf_onnx *o, const uint8_t *p, size_t n, lmf_name_index *made)
{
    lmf_wire w = { p, p + n, false };
    lmf_wire_field f;
    lmf_onnx_node node;
    while (lmf_wire_next(&w, &f)) {
        if (f.number != GRAPH_NODE)
            continue;
        LMF_TRY(read_node(o, (lmf_wire){ f.p, f.p + f.n, f.kind != LMF_WIRE_BYTES }, &node));
        for (int i = 0; i < node.n_in; i++)
            if (*node.in[i] && lmf_name_index_find(made, node.in[i]) < 0)
                return LMF_FAIL(o->ctx, LMF_E_FORMAT, "this is no ONNX model: %.100s reads %.200s, which nothing makes before it",
                                node.op, node.in[i]);
        for (int i = 0; i < node.n_out; i++)
            if (*node.out[i])
                LMF_TRY(make(o, made, node.out[i]));
        lmf_wire_bytes(&o->nodes, GRAPH_NODE, f.p, f.n);
        LMF_TRY(o->nodes.status);
        o->n_nodes++;
    }
    return LMF_OK;
}

/* ---- tensors ---- */
static lmf_status read_place(lmf_onnx *o, lmf_wire w, uint64_t *at, uint64_t *length)
{
    lmf_wire_field f;
    const char *key = "", *value = "";
    while (lmf_wire_next(&w, &f))
        if (f.number == 1 || f.number == 2)
            LMF_TRY(take_name(o, &f, f.number == 1 ? &key : &value));
    if (w.bad)
        return broken(o, "a tensor's place is damaged");
    uint64_t x = 0;
    bool number = *value != 0;
    for (const char *c = value; *c && number; c++) {
        number = *c >= '0' && *c <= '9' && x < UINT64_MAX / 16;
        x = number ? 10 * x + (uint64_t)(*c - '0') : 0;
    }
    if (strcmp(key, "offset") == 0 || strcmp(key, "length") == 0) {
        if (!number)
            return broken(o, "a tensor's place is no number");
        *(*key == 'o' ? at : length) = x;
    }
    return LMF_OK;
}

static lmf_status read_tensor(lmf_onnx *o, lmf_wire w, lmf_onnx_tensor *t)
{
    lmf_wire_field f;
    uint64_t at = 0, length = 0, raw = 0;
    bool outside = false;
    *t = (lmf_onnx_tensor){ .name = "" };
    while (lmf_wire_next(&w, &f)) {
        if (f.number == TENSOR_DIMS) {
            if (f.kind != LMF_WIRE_VARINT || t->n_dims == LMF_ONNX_MAX_DIMS)
                return broken(o, "a tensor has too many dimensions");
            t->dim[t->n_dims++] = (int64_t)f.x;
        } else if (f.number == TENSOR_TYPE) {
            t->type = f.x < 1000 ? (int)f.x : 1000;
        } else if (f.number == TENSOR_NAME) {
            LMF_TRY(take_name(o, &f, &t->name));
        } else if (f.number == TENSOR_RAW) {
            t->data = f.p, raw = f.n;
            w.bad |= f.kind != LMF_WIRE_BYTES;
        } else if (f.number == TENSOR_EXTERNAL) {
            LMF_TRY(read_place(o, (lmf_wire){ f.p, f.p + f.n, f.kind != LMF_WIRE_BYTES }, &at, &length));
        } else if (f.number == TENSOR_LOCATION) {
            outside = f.x == 1;
        } else {
            return broken(o, "a tensor has its data in a field that is not read here");
        }
    }
    if (w.bad || !*t->name)
        return broken(o, "a tensor is damaged");
    LMF_TRY(lmf_onnx_bytes(o->ctx, t, &t->bytes));
    if (outside && (at > o->data.n || length > o->data.n - at))
        return LMF_FAIL(o->ctx, LMF_E_FORMAT, "the tensor %.200s lies outside of the file of data, which has %zu bytes", t->name,
                        o->data.n);
    t->data = !outside ? t->data : o->data.data ? o->data.data + at : NULL;
    if ((outside ? length : raw) != t->bytes)
        return LMF_FAIL(o->ctx, LMF_E_FORMAT, "the tensor %.200s has %llu bytes; its shape has %zu", t->name,
                        (unsigned long long)(outside ? length : raw), t->bytes);
    return LMF_OK;
}

/* ---- the graph ---- */
static lmf_status read_value(lmf_onnx *o, lmf_wire w, const char **name)
{
    lmf_wire_field f;
    *name = "";
    while (lmf_wire_next(&w, &f))
        if (f.number == 1)
            LMF_TRY(take_name(o, &f, name));
    return w.bad || !**name ? broken(o, "an input or output has no name") : LMF_OK;
}

static lmf_status count_fields(lmf_onnx *o, const uint8_t *p, size_t n)
{
    lmf_wire w = { p, p + n, false };
    lmf_wire_field f;
    int64_t tensors = 0, inputs = 0, outputs = 0;
    while (lmf_wire_next(&w, &f)) {
        tensors += f.number == GRAPH_TENSOR, inputs += f.number == GRAPH_INPUT, outputs += f.number == GRAPH_OUTPUT;
        if (f.number == GRAPH_SPARSE)
            return broken(o, "it has sparse tensors, which are not read here");
    }
    if (w.bad || tensors > MAX_LISTED || inputs > MAX_LISTED || outputs > MAX_LISTED)
        return broken(o, "its graph is damaged");
    o->tensors = lmf_arena_array(&o->arena, (size_t)tensors, sizeof *o->tensors);
    o->inputs = lmf_arena_array(&o->arena, (size_t)inputs, sizeof *o->inputs);
    o->outputs = lmf_arena_array(&o->arena, (size_t)outputs, sizeof *o->outputs);
    return o->tensors && o->inputs && o->outputs ? LMF_OK : LMF_NO_MEMORY(o->ctx, (size_t)tensors * sizeof *o->tensors, "an ONNX model");
}

static lmf_status read_graph(lmf_onnx *o, const uint8_t *p, size_t n, lmf_name_index *made)
{
    lmf_wire w = { p, p + n, false };
    lmf_wire_field f;
    LMF_TRY(count_fields(o, p, n));
    while (lmf_wire_next(&w, &f)) {
        lmf_wire inner = { f.p, f.p + f.n, f.kind != LMF_WIRE_BYTES };
        if (f.number == GRAPH_TENSOR) {
            lmf_onnx_tensor *t = &o->tensors[o->n_tensors];
            LMF_TRY(read_tensor(o, inner, t));
            LMF_TRY(make(o, made, t->name));
            LMF_TRY(lmf_name_index_add(&o->names, t->name, o->n_tensors++));
        } else if (f.number == GRAPH_INPUT) {
            LMF_TRY(read_value(o, inner, &o->inputs[o->n_inputs]));
            LMF_TRY(make(o, made, o->inputs[o->n_inputs++]));
        } else if (f.number == GRAPH_OUTPUT) {
            LMF_TRY(read_value(o, inner, &o->outputs[o->n_outputs++]));
        }
    }
    LMF_TRY(check_nodes(o, p, n, made));
    for (int32_t i = 0; i < o->n_outputs; i++)
        if (lmf_name_index_find(made, o->outputs[i]) < 0)
            return LMF_FAIL(o->ctx, LMF_E_FORMAT, "this is no ONNX model: nothing makes its output %.200s", o->outputs[i]);
    return LMF_OK;
}

static lmf_status read_opset(lmf_onnx *o, lmf_wire w)
{
    lmf_wire_field f;
    const char *domain = "";
    int64_t version = 0;
    while (lmf_wire_next(&w, &f)) {
        if (f.number == 1)
            LMF_TRY(take_name(o, &f, &domain));
        else if (f.number == 2)
            version = (int64_t)f.x;
    }
    if (!*domain)
        o->opset = version;
    return w.bad ? broken(o, "its list of operators is damaged") : LMF_OK;
}

static lmf_status read_model(lmf_onnx *o, const void *p, size_t n)
{
    lmf_wire w = { p, (const uint8_t *)p + n, false };
    lmf_wire_field f;
    lmf_name_index made;
    lmf_status s = LMF_OK;
    int n_graphs = 0;
    lmf_name_index_init(&made, o->ctx);
    while (!s && lmf_wire_next(&w, &f)) {
        if (f.number == MODEL_IR)
            o->ir_version = (int64_t)f.x;
        else if (f.number == MODEL_OPSET)
            s = read_opset(o, (lmf_wire){ f.p, f.p + f.n, f.kind != LMF_WIRE_BYTES });
        else if (f.number == MODEL_GRAPH)
            s = f.kind == LMF_WIRE_BYTES && n_graphs++ == 0 ? read_graph(o, f.p, f.n, &made) : broken(o, "it has two graphs");
        else if (f.number == MODEL_FUNCTIONS)
            s = broken(o, "it has functions, which are not read here");
    }
    lmf_name_index_clear(&made);
    LMF_TRY(s);
    return w.bad || !n_graphs || !o->ir_version ? broken(o, "it is cut, or another file") : LMF_OK;
}

static lmf_status create(lmf_ctx *ctx, lmf_onnx **out)
{
    *out = lmf_new(ctx, lmf_onnx);
    if (!*out)
        return LMF_NO_MEMORY(ctx, sizeof **out, "an ONNX model");
    (*out)->ctx = ctx;
    lmf_arena_init(&(*out)->arena, ctx, MAX_MODEL_ARENA);
    lmf_buf_init(&(*out)->nodes, ctx, MAX_MODEL_ARENA);
    lmf_name_index_init(&(*out)->names, ctx);
    return LMF_OK;
}

lmf_status lmf_onnx_parse(lmf_ctx *ctx, const void *p, size_t n, lmf_onnx **out)
{
    LMF_TRY(create(ctx, out));
    lmf_status s = read_model(*out, p, n);
    if (s) {
        lmf_onnx_close(*out);
        *out = NULL;
    }
    return s;
}

lmf_status lmf_onnx_open(lmf_ctx *ctx, const char *path, lmf_onnx **out)
{
    char beside[4096];
    int n = snprintf(beside, sizeof beside, "%s_data", path);
    LMF_TRY(create(ctx, out));
    lmf_onnx *o = *out;
    lmf_status s = lmf_file_map(ctx, path, &o->map);
    if (!s && n > 0 && (size_t)n < sizeof beside && lmf_path_stat(beside) == LMF_PATH_FILE)
        s = lmf_file_map(ctx, beside, &o->data);
    if (!s && (s = read_model(o, o->map.data, o->map.n)))
        lmf_fail_prefix(ctx, s, "%s", path);
    if (s) {
        lmf_onnx_close(o);
        *out = NULL;
    }
    return s;
}

void lmf_onnx_close(lmf_onnx *o)
{
    if (!o)
        return;
    lmf_file_unmap(&o->map);
    lmf_file_unmap(&o->data);
    lmf_name_index_clear(&o->names);
    lmf_buf_clear(&o->nodes);
    lmf_arena_clear(&o->arena);
    lmf_delete(o->ctx, o);
}

const lmf_onnx_tensor *lmf_onnx_find(const lmf_onnx *o, const char *name)
{
    int32_t i = lmf_name_index_find(&o->names, name);
    return i < 0 ? NULL : &o->tensors[i];
}
