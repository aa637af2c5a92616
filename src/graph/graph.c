/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a tensor is a value. An op that writes in place makes a new tensor over the same owner and counts the owner's
 * version up; a node that reads a tensor of an older version is refused here, when it is built. */
#include "graph/graph.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "device/device.h"

enum { GRAPH_MAX_BYTES = 512 << 20 };

lmf_status lmf_graph_create(lmf_ctx *ctx, lmf_graph **out)
{
    *out = lmf_new(ctx, lmf_graph);
    if (!*out)
        return LMF_NO_MEMORY(ctx, sizeof **out, "a graph");
    (*out)->ctx = ctx;
    lmf_arena_init(&(*out)->arena, ctx, GRAPH_MAX_BYTES);
    lmf_name_index_init(&(*out)->names, ctx);
    return LMF_OK;
}

void lmf_graph_destroy(lmf_graph *g)
{
    if (!g)
        return;
    lmf_ctx *ctx = g->ctx;
    lmf_free(ctx, g->tensors, (size_t)g->cap_tensors * sizeof *g->tensors);
    lmf_free(ctx, g->nodes, (size_t)g->cap_nodes * sizeof *g->nodes);
    lmf_name_index_clear(&g->names);
    lmf_arena_clear(&g->arena);
    lmf_delete(ctx, g);
}

static lmf_status stick(lmf_graph *g, lmf_status s)
{
    if (!g->status)
        g->status = s;
    return s;
}

static lmf_status no_memory(lmf_graph *g)
{
    return stick(g, LMF_FAIL(g->ctx, LMF_E_MEMORY, "out of memory while building a graph of %d nodes", g->n_nodes));
}

/* Appends p to the array at *items, growing it. */
static lmf_status push(lmf_graph *g, void ***items, int32_t *n, int32_t *cap, void *p)
{
    if (*n == *cap) {
        int32_t more = *cap ? 2 * *cap : 256;
        void **q = lmf_realloc(g->ctx, *items, (size_t)*cap * sizeof *q, (size_t)more * sizeof *q);
        if (!q)
            return no_memory(g);
        *items = q;
        *cap = more;
    }
    (*items)[(*n)++] = p;
    return LMF_OK;
}

static lmf_tensor *tensor_new(lmf_graph *g, const lmf_view *v)
{
    lmf_tensor *t = lmf_arena_alloc(&g->arena, sizeof *t);
    if (!t) {
        no_memory(g);
        return NULL;
    }
    t->v = *v;
    t->index = g->n_tensors;
    return push(g, (void ***)&g->tensors, &g->n_tensors, &g->cap_tensors, t) ? NULL : t;
}

/* A copy of the name, with the scope before it. */
static const char *in_scope(lmf_graph *g, const char *name)
{
    return g->scope ? lmf_arena_printf(&g->arena, "%s%s", g->scope, name) : lmf_arena_strdup(&g->arena, name);
}

static lmf_status set_name(lmf_graph *g, lmf_tensor *t, const char *name)
{
    const char *copy = in_scope(g, name);
    if (!copy)
        return no_memory(g);
    lmf_status s = lmf_name_index_add(&g->names, copy, t->index);
    if (s)
        return stick(g, s);
    t->name = copy;
    return LMF_OK;
}

/* Dims from a caller or a file: at least 0 each, the product within int64. */
static lmf_status check_dims(lmf_graph *g, const char *name, const lmf_format *f, int n_dims, const int64_t *dim)
{
    int64_t n = 1;
    if (!f)
        return stick(g, LMF_FAIL(g->ctx, LMF_E_DTYPE, "tensor \"%s\" has an unknown data type", name));
    if (n_dims < 1 || n_dims > LMF_MAX_DIMS)
        return stick(g, LMF_FAIL(g->ctx, LMF_E_SHAPE, "tensor \"%s\" has %d dimensions; 1 to %d are possible", name, n_dims, LMF_MAX_DIMS));
    for (int i = 0; i < n_dims; i++)
        if (dim[i] < 0 || __builtin_mul_overflow(n, dim[i], &n) || n > INT64_MAX / 16)
            return stick(g, LMF_FAIL(g->ctx, LMF_E_SHAPE, "tensor \"%s\": dimension %d is %lld", name, i, (long long)dim[i]));
    if (dim[n_dims - 1] % f->block)
        return stick(g, LMF_FAIL(g->ctx, LMF_E_SHAPE, "tensor \"%s\": rows of %lld are no multiple of %s's block of %d", name,
                                 (long long)dim[n_dims - 1], f->name, f->block));
    return LMF_OK;
}

lmf_tensor *lmf_graph_tensor(lmf_graph *g, int cls, const char *name, uint16_t dtype, int n_dims, const int64_t *dim)
{
    lmf_view v = { .fmt = lmf_format_get(g->ctx, dtype), .dtype = dtype, .cls = (uint8_t)cls, .n_dims = (uint8_t)n_dims };
    if (g->status)
        return NULL;
    LMF_ASSERT(cls != LMF_STEP && cls != LMF_OUTPUT);
    if (check_dims(g, name, v.fmt, n_dims, dim))
        return NULL;
    memcpy(v.dim, dim, (size_t)n_dims * sizeof *dim);
    lmf_view_set_dense(&v);
    lmf_tensor *t = tensor_new(g, &v);
    return t && !set_name(g, t, name) ? t : NULL;
}

lmf_tensor *lmf_graph_const(lmf_graph *g, const char *name, uint16_t dtype, int n_dims, const int64_t *dim, const void *data)
{
    lmf_tensor *t = g->status ? NULL : lmf_graph_find(g, name);
    if (g->status)
        return NULL;
    if (t) {
        bool same = t->init && t->v.dtype == dtype && t->v.n_dims == n_dims && memcmp(t->v.dim, dim, (size_t)n_dims * sizeof *dim) == 0 &&
                    memcmp(t->init, data, lmf_format_bytes(t->v.fmt, lmf_view_count(&t->v))) == 0;
        if (!same)
            stick(g, LMF_FAIL(g->ctx, LMF_E_ARG, "constant \"%s\": another tensor of that name is there", name));
        return same ? t : NULL;
    }
    t = lmf_graph_tensor(g, LMF_CONST, name, dtype, n_dims, dim);
    size_t bytes = t ? lmf_format_bytes(t->v.fmt, lmf_view_count(&t->v)) : 0;
    void *copy = t ? lmf_arena_alloc(&g->arena, bytes) : NULL;
    if (!copy) {
        if (t)
            no_memory(g);
        return NULL;
    }
    memcpy(copy, data, bytes);
    t->init = copy;
    return t;
}

void lmf_graph_output(lmf_graph *g, const char *name, lmf_tensor *t)
{
    if (g->status || !t)
        return;
    if (t->base || t->v.cls != LMF_STEP) {
        stick(g, LMF_FAIL(g->ctx, LMF_E_ARG, "output \"%s\" must be a fresh result of an op", name));
        return;
    }
    if (t->version != t->now) {
        stick(g, LMF_FAIL(g->ctx, LMF_E_ARG, "output \"%s\" is an old version: a later op has overwritten its bytes", name));
        return;
    }
    if (!set_name(g, t, name))
        t->v.cls = LMF_OUTPUT;
}

lmf_tensor *lmf_graph_label(lmf_graph *g, lmf_tensor *t, const char *name)
{
    if (!g->status && t && !t->name)
        set_name(g, t, name);
    return t;
}

lmf_tensor *lmf_graph_part(lmf_graph *g, lmf_tensor *owner, int64_t offset_bytes, const char *name, int n_dims, const int64_t *dim)
{
    if (g->status || !owner)
        return NULL;
    lmf_view v = owner->v;
    if (check_dims(g, name, v.fmt, n_dims, dim))
        return NULL;
    memcpy(v.dim, dim, (size_t)n_dims * sizeof *dim);
    v.n_dims = (uint8_t)n_dims;
    lmf_view_set_dense(&v);
    size_t have = lmf_format_bytes(v.fmt, lmf_view_count(&owner->v)), want = lmf_format_bytes(v.fmt, lmf_view_count(&v));
    if (owner->base || offset_bytes < 0 || (size_t)offset_bytes > have || want > have - (size_t)offset_bytes) {
        stick(g, LMF_FAIL(g->ctx, LMF_E_SHAPE, "part \"%s\" does not lie inside \"%s\"", name, owner->name ? owner->name : "?"));
        return NULL;
    }
    lmf_tensor *t = tensor_new(g, &v);
    if (!t || set_name(g, t, name))
        return NULL;
    t->base = owner;
    t->base_offset = offset_bytes;
    return t;
}

lmf_tensor *lmf_graph_find(const lmf_graph *g, const char *name)
{
    char text[512];
    if (g->scope && snprintf(text, sizeof text, "%s%s", g->scope, name) < (int)sizeof text)
        name = text;
    int32_t i = lmf_name_index_find(&g->names, name);
    return i < 0 ? NULL : g->tensors[i];
}

void lmf_graph_alias(lmf_graph *g, lmf_tensor *t, const char *name)
{
    const char *copy = g->status || !t ? NULL : in_scope(g, name);
    if (g->status || !t)
        return;
    lmf_status s = copy ? lmf_name_index_add(&g->names, copy, t->index) : no_memory(g);
    if (s)
        stick(g, s);
}

void lmf_graph_block(lmf_graph *g, int layer) { g->block = (uint16_t)(layer + 1); }
void lmf_graph_scope(lmf_graph *g, const char *scope) { g->scope = scope; }

const char *lmf_shape_text(const lmf_view *v, char *text, size_t n)
{
    size_t at = (size_t)snprintf(text, n, "[");
    for (int i = 0; i < v->n_dims && at < n; i++)
        at += (size_t)snprintf(text + at, n - at, "%s%lld", i ? ", " : "", (long long)v->dim[i]);
    if (at < n)
        snprintf(text + at, n - at, "] %s", v->fmt ? v->fmt->name : "?");
    return text;
}

lmf_status lmf_refuse(lmf_graph *g, const lmf_node *n, lmf_status s, const char *fmt, ...)
{
    char why[256], shapes[320] = "", one[96];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(why, sizeof why, fmt, ap);
    va_end(ap);
    for (int i = 0; i < n->n_in; i++) {
        size_t at = strlen(shapes);
        snprintf(shapes + at, sizeof shapes - at, "%s%s", i ? ", " : "", n->in[i] ? lmf_shape_text(&n->in[i]->v, one, sizeof one) : "none");
    }
    return stick(g, LMF_FAIL(g->ctx, s, "%s(%s): %s (%s:%d)", n->op->name, shapes, why, n->file ? n->file : "?", n->line));
}

void lmf_out_set(lmf_node *n, int j, uint16_t dtype, int n_dims, const int64_t *dim)
{
    lmf_view *v = &n->out[j]->v;
    v->dtype = dtype;
    v->n_dims = (uint8_t)n_dims;
    memcpy(v->dim, dim, (size_t)n_dims * sizeof *dim);
    lmf_view_set_dense(v);
}

void lmf_out_like(lmf_node *n, int j, const lmf_tensor *t, uint16_t dtype)
{
    lmf_out_set(n, j, dtype, t->v.n_dims, t->v.dim);
}

static lmf_tensor *owner_of(lmf_tensor *t)
{
    /* a part of a STATE tensor has its own version, so it is its own owner for that */
    while (t->base && t->node)
        t = t->base;
    return t;
}

static lmf_status check_fields(lmf_graph *g, const lmf_node *n)
{
    for (const lmf_field *f = n->op->fields; f && f->name; f++) {
        const char *p = (const char *)n->attrs + f->offset;
        double v = f->kind == LMF_FIELD_F32  ? (double)*(const float *)p
                 : f->kind == LMF_FIELD_BOOL ? *(const bool *)p : *(const int32_t *)p;
        if (!(v >= f->lo && v <= f->hi))
            return lmf_refuse(g, n, LMF_E_ARG, "%s is %g; %g to %g is allowed", f->name, v, f->lo, f->hi);
    }
    return LMF_OK;
}

/* Everything that the op's own infer may take for granted. */
static lmf_status check_inputs(lmf_graph *g, const lmf_node *n)
{
    if (n->n_in < n->op->n_in_min || n->n_in > n->op->n_in_max)
        return lmf_refuse(g, n, LMF_E_ARG, "takes %d to %d inputs, not %d", n->op->n_in_min, n->op->n_in_max, n->n_in);
    for (int i = 0; i < n->n_in; i++) {
        lmf_tensor *t = n->in[i];
        if (!t)
            continue;
        if (t->version != owner_of(t)->now)
            return lmf_refuse(g, n, LMF_E_ARG, "input %d is an old version: a later op has overwritten its bytes", i);
    }
    for (int j = 0; j < n->op->n_out; j++) {
        int w = n->op->writes[j];
        if (!w)
            continue;
        if (w > n->n_in || !n->in[w - 1])
            return lmf_refuse(g, n, LMF_E_ARG, "input %d, which is written in place, is missing", w - 1);
        lmf_tensor *owner = owner_of(n->in[w - 1]);
        uint8_t cls = owner->v.cls;
        if (cls != LMF_STATE && cls != LMF_STEP)
            return lmf_refuse(g, n, LMF_E_ARG, "input %d is written in place, so it must be STATE or STEP", w - 1);
        for (int k = 0; k < n->n_in; k++)
            if (k != w - 1 && n->in[k] && owner_of(n->in[k]) == owner)
                return lmf_refuse(g, n, LMF_E_ARG, "input %d is written in place, and input %d is the same tensor", w - 1, k);
    }
    return check_fields(g, n);
}

static lmf_node *node_new(lmf_graph *g, const lmf_op *op, const void *attrs, lmf_tensor *const *in, int n_in)
{
    lmf_node *n = lmf_arena_alloc(&g->arena, sizeof *n);
    void *a = lmf_arena_alloc(&g->arena, op->attr_bytes);
    lmf_tensor **p = lmf_arena_array(&g->arena, (size_t)n_in + op->n_out, sizeof *p);
    if (!n || !a || !p) {
        no_memory(g);
        return NULL;
    }
    if (op->attr_bytes)
        memcpy(a, attrs, op->attr_bytes);
    if (n_in)
        memcpy(p, in, (size_t)n_in * sizeof *p);
    *n = (lmf_node){ .op = op, .attrs = a, .in = p, .out = p + n_in, .n_in = (uint8_t)n_in, .n_out = op->n_out,
                     .block = g->block, .file = g->file, .line = g->line };
    return n;
}

/* Output tensors: fresh ones empty until infer, in-place ones as new versions of their input. */
static lmf_status make_outputs(lmf_graph *g, lmf_node *n)
{
    bool needs_grad = false;
    for (int i = 0; i < n->n_in; i++)
        needs_grad |= n->in[i] && n->in[i]->needs_grad;
    for (int j = 0; j < n->n_out; j++) {
        int w = n->op->writes[j];
        lmf_view v = w ? n->in[w - 1]->v : (lmf_view){ .cls = LMF_STEP };
        lmf_tensor *t = tensor_new(g, &v);
        if (!t)
            return g->status;
        t->node = n;
        t->needs_grad = needs_grad;
        if (w)
            t->base = n->in[w - 1];
        n->out[j] = t;
    }
    return LMF_OK;
}

/* Formats of what infer has shaped. */
static void format_outputs(lmf_graph *g, lmf_node *n)
{
    for (int j = 0; j < n->n_out; j++) {
        lmf_view *v = &n->out[j]->v;
        v->fmt = lmf_format_get(g->ctx, v->dtype);
        LMF_ASSERT(v->n_dims && v->fmt); /* infer set every fresh output */
    }
}

static void set_versions(lmf_node *n)
{
    for (int j = 0; j < n->n_out; j++) {
        lmf_tensor *t = n->out[j];
        if (n->op->writes[j])
            t->version = ++owner_of(t)->now;
        else if (t->base)
            t->version = owner_of(t)->now;
    }
}

/* Whether n is a node of the graph as it is, and not its expansion. Without a device, any op is. */
static bool stands(lmf_graph *g, const lmf_node *n)
{
    lmf_view v[LMF_MAX_IN + LMF_MAX_OUT] = { 0 };
    lmf_call c = { .ref = n->op->ref, .attrs = n->attrs, .in = v, .out = v + n->n_in, .n_in = n->n_in, .n_out = n->n_out };
    if (!n->op->expand)
        return true;
    if (!n->op->grad && n->out[0]->needs_grad)
        return false;
    if (!g->device)
        return true;
    for (int i = 0; i < n->n_in + n->n_out; i++) {
        const lmf_tensor *t = i < n->n_in ? n->in[i] : n->out[i - n->n_in];
        if (t) {
            v[i] = t->v;
            v[i].fmt = lmf_device_format(g->device, t->v.dtype);
        }
    }
    const lmf_kernel *row = lmf_device_match(g->device, n->op->name, &c, 0);
    return row && (row != &lmf_kernel_ref || !(n->op->flags & LMF_OP_FUSED));
}

/* n's outputs become those of its expansion; the tensors that infer had shaped stay behind unused. */
static lmf_node *expand(lmf_graph *g, lmf_node *n)
{
    lmf_tensor *out[LMF_MAX_OUT] = { 0 };
    if (stick(g, n->op->expand(g, n, out)))
        return NULL;
    for (int j = 0; j < n->n_out; j++) {
        LMF_ASSERT(out[j] && lmf_same_shape(out[j], n->out[j]) && out[j]->v.dtype == n->out[j]->v.dtype);
        n->out[j] = out[j];
    }
    return n;
}

lmf_node *lmf_node_add(lmf_graph *g, const lmf_op *op, const void *attrs, lmf_tensor *const *in, int n_in)
{
    if (g->status)
        return NULL;
    LMF_ASSERT(!g->finished && n_in <= LMF_MAX_IN);
    lmf_node *n = node_new(g, op, attrs, in, n_in);
    if (!n)
        return NULL;
    for (int i = 0; i < op->n_in_min && i < n_in; i++)
        if (!in[i]) {
            lmf_refuse(g, n, LMF_E_ARG, "input %d is missing", i);
            return NULL;
        }
    if (check_inputs(g, n) || make_outputs(g, n) || stick(g, op->infer(g, n)))
        return NULL;
    format_outputs(g, n);
    if (!stands(g, n))
        return expand(g, n);
    set_versions(n);
    return push(g, (void ***)&g->nodes, &g->n_nodes, &g->cap_nodes, n) ? NULL : n;
}

lmf_tensor *lmf_node_add1(lmf_graph *g, const lmf_op *op, const void *attrs, lmf_tensor *const *in, int n_in)
{
    lmf_node *n = lmf_node_add(g, op, attrs, in, n_in);
    return n ? n->out[0] : NULL;
}

const lmf_op *lmf_op_find(const lmf_ctx *ctx, const char *name)
{
    for (const lmf_op *const *op = ctx->tables->ops; *op; op++)
        if (strcmp((*op)->name, name) == 0)
            return *op;
    return NULL;
}

void lmf_graph_prune(lmf_graph *g)
{
    size_t bytes = (size_t)g->n_tensors * sizeof(bool);
    bool *wanted = g->status ? NULL : lmf_alloc(g->ctx, bytes + 1);
    int32_t kept = g->n_nodes;
    if (!wanted) {
        if (!g->status)
            stick(g, LMF_NO_MEMORY(g->ctx, bytes, "a graph"));
        return;
    }
    for (int32_t i = g->n_nodes - 1; i >= 0; i--) {
        lmf_node *n = g->nodes[i];
        bool used = false;
        for (int j = 0; j < n->n_out; j++)
            used |= wanted[n->out[j]->index] || n->out[j]->v.cls == LMF_OUTPUT || n->op->writes[j];
        for (int k = 0; used && k < n->n_in; k++)
            for (lmf_tensor *t = n->in[k]; t; t = t->base)
                wanted[t->index] = true;
        if (used)
            g->nodes[--kept] = n;
    }
    memmove(g->nodes, g->nodes + kept, (size_t)(g->n_nodes - kept) * sizeof *g->nodes);
    g->n_nodes -= kept;
    lmf_free(g->ctx, wanted, bytes + 1);
}

lmf_status lmf_graph_finish(lmf_graph *g)
{
    if (!g->status && g->n_nodes == 0)
        stick(g, LMF_FAIL(g->ctx, LMF_E_ARG, "a graph without nodes computes nothing"));
    g->finished = true;
    return g->status;
}
