/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a drawn value depends on op, case, tensor and the element's logical index alone, so that dense, strided and
 * f64 copies of a case hold the same numbers. Gaps of strided tensors hold NaN. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/philox.h"
#include "op_harness.h"

#define BROKEN(c, ...) lmf_harness_check((c)->h, (c), "case", NULL, false, __VA_ARGS__)

size_t lmf_view_span(const lmf_view *v)
{
    int64_t last = 0;
    if (v->n_dims == 0 || lmf_view_count(v) == 0)
        return 0;
    for (int i = 0; i < v->n_dims; i++)
        last += (v->dim[i] - 1) * v->stride[i];
    return (size_t)((last + v->fmt->block) / v->fmt->block) * v->fmt->block_bytes;
}

double lmf_case_normal(uint64_t seed, uint32_t stream, uint64_t index)
{
    double u = ((double)lmf_random_u32(seed, 0, stream, 2 * index) + 0.5) * 0x1p-32;
    double w = (double)lmf_random_u32(seed, 0, stream, 2 * index + 1) * 0x1p-32;
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * w);
}

static uint64_t seed_of(const lmf_case *c)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (const char *s = c->row->op; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    for (const char *s = c->row->name; *s; s++)
        h = (h ^ (unsigned char)*s) * 1099511628211u;
    return h;
}

static double draw_float(const lmf_case *c, uint64_t seed, uint32_t stream, uint64_t index)
{
    double u = (double)lmf_random_f32(seed, 1, stream, index);
    switch (c->draw) {
    case LMF_DRAW_UNIFORM: return 2 * u - 1;
    case LMF_DRAW_POSITIVE: return 0.5 + u;
    case LMF_DRAW_SMALL: return 0.01 * lmf_case_normal(seed, stream, index);
    case LMF_DRAW_NORMAL: break;
    }
    return lmf_case_normal(seed, stream, index);
}

/* "0,1,2" one value an element; "5" for all; "0,1,..." goes on in equal steps. Integers are kept exact. */
static bool given_values(lmf_case *c, const lmf_case_tensor *t, double *value, int64_t n)
{
    int64_t i = 0;
    const char *s = t->list;
    for (; *s && strncmp(s, "...", 3) && i < n; i++) {
        char *end;
        value[i] = strtod(s, &end);
        if (end == s || (*end && *end != ','))
            return BROKEN(c, "%s: can't read the values \"%s\"", t->name, t->list);
        s = *end ? end + 1 : end;
    }
    if (!*s && i == 1)
        for (; i < n; i++)
            value[i] = value[0];
    if (strncmp(s, "...", 3) == 0 && i >= 2)
        for (s += 3; i < n; i++)
            value[i] = 2 * value[i - 1] - value[i - 2];
    return i == n && !*s ? true : BROKEN(c, "%s: \"%s\" does not give %lld values", t->name, t->list, (long long)n);
}

static bool fill_tensor(lmf_case *c, int i)
{
    lmf_case_tensor *t = &c->in[i];
    const lmf_format *f = t->v.fmt;
    int64_t n = lmf_view_count(&t->v);
    uint64_t seed = seed_of(c);
    double *value = lmf_arena_array(&c->arena, (size_t)n + 1, sizeof *value);
    float *packed = lmf_arena_array(&c->arena, (size_t)n + 1, sizeof *packed);
    t->v.data = lmf_arena_alloc(&c->arena, t->bytes + 64);
    if (!value || !packed || !t->v.data)
        return BROKEN(c, "%s: out of memory", t->name);
    memset(t->v.data, 0xff, t->bytes);
    if (t->list) {
        if (!given_values(c, t, value, n))
            return false;
    } else if (f->flags & LMF_FORMAT_INT) {
        if (!t->below)
            return BROKEN(c, "%s: integers need <LIMIT or =VALUES", t->name);
        for (int64_t k = 0; k < n; k++)
            value[k] = (double)(lmf_random_u32(seed, 2, (uint32_t)i, (uint64_t)k) % (uint64_t)t->below);
    } else {
        for (int64_t k = 0; k < n; k++)
            value[k] = draw_float(c, seed, (uint32_t)i, (uint64_t)k);
    }
    if (f->block == 1) {
        for (int64_t k = 0; k < n; k++)
            lmf_set(&t->v, k, value[k]);
        return true;
    }
    if (!f->pack)
        return BROKEN(c, "%s: the format %s has no pack", t->name, f->name);
    for (int64_t k = 0; k < n; k++)
        packed[k] = (float)value[k];
    f->pack(packed, t->v.data, n);
    return true;
}

/* "[2,576]/600": dims, then the row stride of a strided view. */
static bool parse_dims(lmf_case *c, lmf_case_tensor *t, char **at)
{
    char *s = *at;
    lmf_view *v = &t->v;
    if (*s != '[')
        return BROKEN(c, "%s: expected [dims] at \"%s\"", t->name, s);
    do {
        char *end;
        long long d = strtoll(++s, &end, 10);
        if (end == s || d < 0 || v->n_dims == LMF_MAX_DIMS)
            return BROKEN(c, "%s: 1 to %d dims, 0 or more each, at \"%s\"", t->name, LMF_MAX_DIMS, s);
        v->dim[v->n_dims++] = d;
        s = end;
    } while (*s == ',');
    if (*s++ != ']')
        return BROKEN(c, "%s: no ] behind the dims", t->name);
    lmf_view_set_dense(v);
    if (*s == '/') {
        int64_t stride = strtoll(s + 1, &s, 10);
        if (v->n_dims < 2 || v->fmt->block > 1 || stride < v->dim[v->n_dims - 1])
            return BROKEN(c, "%s: a row stride needs two dims, a plain type and at least the width", t->name);
        for (int i = v->n_dims - 2; i >= 0; stride *= v->dim[i], i--)
            v->stride[i] = stride;
    }
    *at = s;
    return true;
}

/* One token: name[!]:dtype[dims][/stride][<limit|=values], or "-". Cuts the token up. */
static bool parse_tensor(lmf_case *c, char *s)
{
    if (c->n_in == LMF_MAX_IN)
        return BROKEN(c, "more than %d inputs", LMF_MAX_IN);
    lmf_case_tensor *t = &c->in[c->n_in++];
    if (strcmp(s, "-") == 0) {
        t->absent = true;
        return true;
    }
    char *colon = strchr(s, ':'), *open = strchr(s, '[');
    if (!colon || !open || open < colon || colon == s)
        return BROKEN(c, "expected name:dtype[dims] at \"%s\"", s);
    *colon = 0;
    t->grad = colon[-1] == '!';
    if (t->grad)
        colon[-1] = 0;
    snprintf(t->name, sizeof t->name, "%s", s);
    *open = 0;
    const lmf_format *f = lmf_format_find(c->h->ctx, colon + 1);
    if (!f)
        return BROKEN(c, "%s: no format is called \"%s\"", t->name, colon + 1);
    *open = '[';
    t->v = (lmf_view){ .fmt = f, .dtype = f->dtype };
    if (!parse_dims(c, t, &open))
        return false;
    if (*open == '<')
        t->below = strtoll(open + 1, &open, 10);
    else if (*open == '=')
        t->list = open + 1, t->listed = true, open += strlen(open);
    if (*open)
        return BROKEN(c, "%s: what is \"%s\"?", t->name, open);
    if (t->grad && !(f->flags & LMF_FORMAT_FLOAT))
        return BROKEN(c, "%s: ! marks a float, not %s", t->name, f->name);
    if (lmf_view_count(&t->v) > 1 << 26)
        return BROKEN(c, "%s: more than 2^26 elements", t->name);
    t->bytes = t->v.dim[t->v.n_dims - 1] % f->block ? 0 : lmf_view_span(&t->v);
    return true;
}

static bool parse_attr(lmf_case *c, char *s)
{
    char *equals = strchr(s, '='), *end;
    if (!equals)
        return BROKEN(c, "expected field=value at \"%s\"", s);
    *equals = 0;
    const lmf_format *format = lmf_format_find(c->h->ctx, equals + 1);
    double x = strtod(equals + 1, &end);
    if (!format && (end == equals + 1 || *end))
        return BROKEN(c, "%s: \"%s\" is neither a number nor a format", s, equals + 1);
    for (const lmf_field *f = c->op->fields; f && f->name; f++) {
        void *p = (char *)c->attrs + f->offset;
        if (strcmp(f->name, s) || (f->kind == LMF_FIELD_DTYPE) != (format != NULL))
            continue;
        switch (f->kind) {
        case LMF_FIELD_F32: *(float *)p = (float)x; return true;
        case LMF_FIELD_I32: *(int32_t *)p = (int32_t)x; return true;
        case LMF_FIELD_BOOL: *(bool *)p = x != 0; return true;
        case LMF_FIELD_DTYPE: *(int32_t *)p = format->dtype; return true;
        }
    }
    return BROKEN(c, "%s has no attribute \"%s\"", c->op->name, s);
}

static bool parse_status(lmf_case *c, const char *name)
{
#define X(id, value, text) if (strcmp(name, #id) == 0) return c->refused = LMF_##id, true;
    LMF_STATUS_LIST(X)
#undef X
    return BROKEN(c, "no status is called \"%s\"", name);
}

static bool parse_draw(lmf_case *c, char *s)
{
    static const char *const names[] = { "normal", "uniform", "small", "positive" };
    for (int i = 0; i < 4; i++)
        if (strcmp(s, names[i]) == 0)
            return c->draw = (lmf_draw)i, true;
    if (strncmp(s, "refused:", 8) == 0)
        return parse_status(c, s + 8);
    if (strncmp(s, "tol=", 4) == 0 && (c->tol = strtod(s + 4, NULL)) > 0)
        return true;
    if (strcmp(s, "partial") == 0)
        return c->partial = true;
    if (strcmp(s, "cut") == 0)
        return c->cut = true;
    return BROKEN(c, "what is \"%s\" in the last column?", s);
}

static bool each_token(lmf_case *c, const char *text, bool (*parse)(lmf_case *, char *))
{
    char *copy = lmf_arena_strdup(&c->arena, text ? text : "");
    if (!copy)
        return BROKEN(c, "out of memory");
    for (char *s = copy; *s;) {
        while (isspace((unsigned char)*s))
            s++;
        char *end = s;
        while (*end && !isspace((unsigned char)*end))
            end++;
        char *next = *end ? end + 1 : end;
        *end = 0;
        if (*s && !parse(c, s))
            return false;
        s = next;
    }
    return true;
}

int lmf_case_class(const lmf_case *c, int i)
{
    for (int j = 0; j < c->op->n_out; j++)
        if (c->op->writes[j] == i + 1)
            return LMF_STATE;
    return c->in[i].v.fmt->flags & LMF_FORMAT_QUANT ? LMF_WEIGHT : LMF_INPUT;
}

lmf_status lmf_case_graph(const lmf_case *c, bool grad, lmf_graph **g, lmf_node **node)
{
    lmf_tensor *in[LMF_MAX_IN] = { 0 };
    *node = NULL;
    LMF_TRY(lmf_graph_create(c->h->ctx, g));
    for (int i = 0; i < c->n_in; i++) {
        const lmf_case_tensor *t = &c->in[i];
        if (t->absent)
            continue;
        in[i] = lmf_graph_tensor(*g, lmf_case_class(c, i), t->name, t->v.dtype, t->v.n_dims, t->v.dim);
        if (!in[i])
            break;
        memcpy(in[i]->v.stride, t->v.stride, sizeof t->v.stride);
        in[i]->needs_grad = grad && t->grad;
    }
    if (!(*g)->status)
        *node = lmf_node_add(LMF_AT(*g), c->op, c->attrs, in, c->n_in);
    return (*g)->status;
}

bool lmf_case_open(lmf_harness *h, const lmf_op *op, const lmf_op_case *row, lmf_case *c)
{
    *c = (lmf_case){ .h = h, .row = row, .op = op ? op : lmf_op_find(h->ctx, row->op) };
    lmf_arena_init(&c->arena, h->ctx, (size_t)4 << 30);
    if (!c->op)
        return BROKEN(c, "no op is called \"%s\"", row->op);
    c->attrs = lmf_arena_alloc(&c->arena, c->op->attr_bytes + 1);
    if (!c->attrs)
        return BROKEN(c, "out of memory");
    if (!each_token(c, row->inputs, parse_tensor) || !each_token(c, row->attrs, parse_attr) || !each_token(c, row->draw, parse_draw))
        return false;
    for (int i = 0; i < c->n_in && !c->refused; i++)
        if (!c->in[i].absent && !fill_tensor(c, i))
            return false;
    return true;
}

void lmf_case_close(lmf_case *c)
{
    lmf_graph_destroy(c->g);
    lmf_arena_clear(&c->arena);
}
