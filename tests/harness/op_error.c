/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: an element is right when it is within both the promise of the op's header (the column error) and the tolerance of its
 * type. The promise only tightens; what an op says nowhere, nobody holds it to. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "op_harness.h"
#include "test_tables.h"

/* ---- the column ---- */

static int32_t compute_of(const lmf_op *op, const void *attrs)
{
    for (const lmf_field *f = op->fields; f && f->name; f++)
        if (strcmp(f->name, "compute") == 0 && f->kind == LMF_FIELD_I32)
            return *(const int32_t *)((const char *)attrs + f->offset);
    return 0;
}

bool lmf_case_is_fast(const lmf_case *c) { return compute_of(c->op, c->attrs) >= 1; }

/* Rows of one compute value inherit from each other alone. */
static bool same_kind(const lmf_op_case *a, const lmf_op_case *b)
{
    return strcmp(a->op, b->op) == 0 && !strstr(a->attrs, "compute=1") == !strstr(b->attrs, "compute=1");
}

/* The row's own text, or that of the nearest row above it in its file; listed: it stands in a case file. */
static const char *text_of(const lmf_op_case *row, bool *listed)
{
    *listed = false;
    for (const lmf_test_entry *e = lmf_test_entries; e->folder && !row->error; e++) {
        const char *text = NULL;
        for (const lmf_op_case *r = e->cases; r && r->op; r++) {
            if (r->error && same_kind(r, row))
                text = r->error;
            if (r == row)
                return *listed = true, text;
        }
    }
    return row->error;
}

/* "1e-6 + 0x1p-24 n mag" into one output's promise; *at ends at ; or the end. */
static bool parse_promise(lmf_case *c, const char **at, lmf_promise *p)
{
    const char *s = *at;
    for (;; s++) { /* past the + */
        char word[32], *end;
        double factor = strtod(s, &end);
        if (end == s || !(factor >= 0) || p->n_terms == LMF_PROMISE_TERMS)
            return lmf_harness_check(c->h, c, "case", NULL, false, "error: expected a number, or fewer terms, at \"%s\"", s);
        lmf_promise_term *t = &p->term[p->n_terms++];
        *t = (lmf_promise_term){ factor, false, false, LMF_UNIT_OWN };
        for (s = end + strspn(end, " "); *s && *s != '+' && *s != ';'; s += strspn(s, " ")) {
            size_t n = strcspn(s, " +;");
            snprintf(word, sizeof word, "%.*s", (int)n, s);
            s += n;
            int i = 0;
            while (i < c->n_in && strcmp(c->in[i].name, word))
                i++;
            if (strcmp(word, "n") == 0)
                t->times_n = true;
            else if (strcmp(word, "max") == 0)
                t->greatest = true;
            else if (strcmp(word, "rms") == 0)
                t->unit = LMF_UNIT_RMS;
            else if (strcmp(word, "mag") == 0)
                t->unit = LMF_UNIT_MAG;
            else if (i < c->n_in)
                t->unit = i;
            else
                return lmf_harness_check(c->h, c, "case", NULL, false, "error: \"%s\" is no unit and no input", word);
        }
        if (*s != '+')
            break;
    }
    *at = s;
    return true;
}

static bool has_float_output(const lmf_case *c)
{
    for (int j = 0; j < c->op->n_out; j++)
        if (c->node->out[j]->v.fmt->flags & LMF_FORMAT_FLOAT)
            return true;
    return false;
}

bool lmf_case_promise(lmf_case *c)
{
    bool listed;
    const char *s = text_of(c->row, &listed);
    if (!s)
        return lmf_harness_check(c->h, c, "case", NULL, !listed || lmf_case_is_fast(c) || !has_float_output(c),
                                 "no row of this op, up to this one, says what its header promises: the column error");
    for (int j = 0; j < c->op->n_out; j++) {
        c->promise[j] = (lmf_promise){ 0 };
        if (j && !*s)
            c->promise[j] = c->promise[j - 1];
        else if (!parse_promise(c, &s, &c->promise[j]))
            return false;
        s += *s == ';';
    }
    c->promised = true;
    return lmf_harness_check(c->h, c, "case", NULL, !*s, "error: more promises than the op's %d outputs", c->op->n_out);
}

/* ---- the scale of a sum ---- */

static void make_positive(lmf_case *c, void *attrs)
{
    memcpy(attrs, c->node->attrs, c->op->attr_bytes);
    for (const lmf_field *f = c->op->fields; f && f->name; f++)
        if (f->kind == LMF_FIELD_F32)
            *(float *)((char *)attrs + f->offset) = fabsf(*(float *)((char *)attrs + f->offset));
}

static bool dense_view(lmf_case *c, const lmf_view *like, uint16_t dtype, lmf_view *v)
{
    *v = *like;
    v->dtype = dtype, v->fmt = lmf_format_get(c->h->ctx, dtype);
    lmf_view_set_dense(v);
    v->data = lmf_arena_alloc(&c->arena, lmf_view_span(v) + 64);
    return v->data || lmf_harness_check(c->h, c, "case", NULL, false, "out of memory");
}

/* The reference over |inputs| in f64: what "mag" means. */
static bool run_magnitudes(lmf_case *c)
{
    lmf_view in[LMF_MAX_IN] = { 0 }, out[LMF_MAX_OUT] = { 0 };
    void *attrs = lmf_arena_alloc(&c->arena, c->op->attr_bytes + 1);
    for (int i = 0; i < c->n_in; i++) {
        const lmf_view *v = &c->in[i].v;
        if (c->in[i].absent)
            continue;
        bool integer = v->fmt->flags & LMF_FORMAT_INT;
        if (!dense_view(c, v, integer ? v->dtype : LMF_F64, &in[i]))
            return false;
        for (int64_t e = 0; e < lmf_view_count(v); e++)
            lmf_set(&in[i], e, integer ? (double)lmf_get_int(v, e) : fabs(lmf_get(v, e)));
    }
    for (int j = 0; j < c->op->n_out; j++) {
        const lmf_view *v = &c->node->out[j]->v;
        if (c->op->writes[j])
            out[j] = in[c->op->writes[j] - 1];
        else if (!dense_view(c, v, v->fmt->flags & LMF_FORMAT_INT ? v->dtype : LMF_F64, &out[j]))
            return false;
    }
    if (!attrs)
        return lmf_harness_check(c->h, c, "case", NULL, false, "out of memory");
    make_positive(c, attrs);
    lmf_call call = { .row = &lmf_kernel_ref, .ref = c->op->ref, .attrs = attrs, .in = in, .out = out, .n_in = (uint8_t)c->n_in, .n_out = c->op->n_out };
    lmf_status s = c->op->ref(&call);
    for (int j = 0; j < c->op->n_out; j++)
        c->mag[j] = out[j];
    return lmf_harness_check(c->h, c, "case", NULL, !s, "the reference refuses magnitudes: %s", lmf_status_name(s));
}

/* ---- comparing ---- */

/* |got - want| <= abs * rms(want) + rel * |want|. */
static void tolerance(const lmf_case *c, const lmf_view *out, double *abs_tol, double *rel_tol)
{
    double n = (double)lmf_view_count(out), terms = n > 0 ? c->flops / (2 * n) : 0; /* of one sum, for products */
    double grow = terms > 256 ? sqrt(terms / 256) : 1;
    switch (out->dtype) {
    case LMF_F64: *abs_tol = 1e-7, *rel_tol = 1e-7; break;   /* sums may be f32 inside */
    case LMF_F32: *abs_tol = 2e-5, *rel_tol = 1e-5; break;
    case LMF_F16: *abs_tol = 0x1p-11, *rel_tol = 0x1p-10; break;
    case LMF_BF16: *abs_tol = 0x1p-8, *rel_tol = 0x1p-7; break;
    default: *abs_tol = 0, *rel_tol = 0; return;
    }
    *abs_tol *= grow;
    if (lmf_case_is_fast(c))
        *abs_tol = 2e-2, *rel_tol = 2e-2;
    if (c->tol > 0)
        *abs_tol = *rel_tol = c->tol;
}

static double greatest(const lmf_view *v)
{
    double most = 0;
    for (int64_t e = 0; e < lmf_view_count(v); e++)
        most = isfinite(lmf_get(v, e)) ? fmax(most, fabs(lmf_get(v, e))) : most;
    return most;
}

/* What a term stands for where it is the same for all elements; -1: differs by element. */
static double scale_of(const lmf_case *c, const lmf_promise_term *t, const lmf_view *want, double rms)
{
    if (t->unit == LMF_UNIT_RMS)
        return rms;
    if (t->unit < 0)
        return -1;
    const lmf_view *v = &c->in[t->unit].v;
    bool same = v->n_dims == want->n_dims && memcmp(v->dim, want->dim, sizeof v->dim) == 0;
    return same && !t->greatest ? -1 : greatest(v);
}

static double allowed(const lmf_case *c, int j, const lmf_view *want, const double *scale, int64_t e)
{
    double sum = 0, w = fabs(lmf_get(want, e)), n = (double)lmf_view_count(want);
    const lmf_promise *p = &c->promise[j];
    for (int k = 0; k < p->n_terms; k++) {
        const lmf_promise_term *t = &p->term[k];
        double s = scale[k] >= 0 ? scale[k] : t->unit == LMF_UNIT_OWN ? w : fabs(lmf_get(t->unit == LMF_UNIT_MAG ? &c->mag[j] : &c->in[t->unit].v, e));
        sum += t->factor * s * (t->times_n ? fmax(1, c->flops / (2 * n)) : 1);
    }
    return sum > 0 && want->dtype == LMF_F32 ? sum + 0x1p-24 * w : sum; /* the reference itself was rounded */
}

static bool wants_magnitudes(const lmf_case *c)
{
    for (int j = 0; j < c->op->n_out; j++)
        for (int k = 0; k < c->promise[j].n_terms; k++)
            if (c->promise[j].term[k].unit == LMF_UNIT_MAG)
                return true;
    return false;
}

static double rms_of(const lmf_view *want, const uint8_t *skip)
{
    double sum = 0;
    int64_t n = 0;
    for (int64_t i = 0; i < lmf_view_count(want); i++) {
        double w = skip && skip[i] ? 0 : lmf_get(want, i);
        if (isfinite(w))
            sum += w * w, n++;
    }
    return n ? sqrt(sum / (double)n) : 0;
}

bool lmf_case_compare(lmf_case *c, const char *reason, const char *row, int j, const lmf_view *got, const lmf_view *want, const uint8_t *skip)
{
    int64_t n = lmf_view_count(want), bad = -1;
    double abs_tol, rel_tol, g = 0, w = 0, t = 0, scale[LMF_PROMISE_TERMS], rms = rms_of(want, skip);
    bool integer = want->fmt->flags & LMF_FORMAT_INT, promised = c->promised && c->tol <= 0 && strcmp(reason, "expand");
    if (promised && wants_magnitudes(c) && !c->mag[j].data && !run_magnitudes(c))
        return false;
    for (int k = 0; promised && k < c->promise[j].n_terms; k++)
        scale[k] = scale_of(c, &c->promise[j].term[k], want, rms);
    tolerance(c, want, &abs_tol, &rel_tol);
    for (int64_t i = 0; i < n && bad < 0; i++) {
        if (skip && skip[i])
            continue;
        if (integer) {
            int64_t a = lmf_get_int(got, i), b = lmf_get_int(want, i);
            if (a != b)
                bad = i, g = (double)a, w = (double)b;
            continue;
        }
        g = lmf_get(got, i), w = lmf_get(want, i);
        t = abs_tol * rms + rel_tol * fabs(w);
        if (promised && isfinite(w))
            t = fmin(t, allowed(c, j, want, scale, i));
        bool same = isnan(w) ? isnan(g) : isinf(w) ? g == w : fabs(g - w) <= t;
        if (!same)
            bad = i;
    }
    return lmf_harness_check(c->h, c, reason, row, bad < 0, "out[%d] element %lld is %.9g, the reference %.9g (allowed %.3g)", j, (long long)bad, g, w, t);
}
