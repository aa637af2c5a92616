/* SPDX-License-Identifier: Apache-2.0 */
/* Building graphs: what is accepted, what is refused and with which sentence. Each body makes one mistake. */
#include "graph/graph.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "ops/accumulate/accumulate.h"
#include "device/device.h"
#include "ops/add/add.h"
#include "ops/attention/attention_rotary.h"
#include "ops/matmul/matmul.h"
#include "ops/norm_linear/norm_linear.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/scale_by/scale_by.h"
#include "test.h"

static lmf_tensor *input(lmf_graph *g, const char *name, int64_t rows, int64_t cols)
{
    return lmf_graph_tensor(g, LMF_INPUT, name, LMF_F32, 2, (int64_t[]){ rows, cols });
}
static lmf_tensor *held(lmf_graph *g, const char *name, int64_t rows, int64_t cols)
{
    return lmf_graph_tensor(g, LMF_STATE, name, LMF_F32, 2, (int64_t[]){ rows, cols });
}
static lmf_tensor *one(lmf_graph *g) { return lmf_graph_tensor(g, LMF_INPUT, "one", LMF_F32, 1, (int64_t[]){ 1 }); }

static int line_of_mistake; /* set by the bodies that test it */

static void wrong_shape(lmf_graph *g)
{
    lmf_tensor *a = input(g, "a", 2, 3), *b = input(g, "b", 2, 4);
    line_of_mistake = __LINE__ + 1;
    lmf_tensor *c = lmf_add(g, a, b);
    c = lmf_add(g, c, a); /* later builders keep still */
    lmf_graph_output(g, "c", c);
}
static void two_of_a_name(lmf_graph *g) { input(g, "a", 2, 3), input(g, "a", 2, 3); }
static void output_of_a_name(lmf_graph *g)
{
    lmf_tensor *a = input(g, "a", 2, 3);
    lmf_graph_output(g, "a", lmf_add(g, a, a));
}
static void old_version(lmf_graph *g)
{
    lmf_tensor *s = held(g, "s", 2, 3), *x = input(g, "x", 2, 3);
    lmf_accumulate(g, s, x, one(g));
    lmf_add(g, s, x);
}
static void old_version_of_step(lmf_graph *g)
{
    lmf_tensor *x = input(g, "x", 2, 3), *y = lmf_add(g, x, x);
    lmf_accumulate(g, y, x, one(g));
    lmf_graph_output(g, "y", y);
}
static void write_twice_from_old(lmf_graph *g)
{
    lmf_tensor *s = held(g, "s", 2, 3), *x = input(g, "x", 2, 3), *k = one(g);
    lmf_accumulate(g, s, x, k);
    lmf_accumulate(g, s, x, k);
}
static void write_and_read_the_same(lmf_graph *g)
{
    lmf_tensor *s = held(g, "s", 2, 3);
    lmf_accumulate(g, s, s, one(g));
}
static void write_to_an_input(lmf_graph *g) { lmf_accumulate(g, input(g, "x", 2, 3), input(g, "y", 2, 3), one(g)); }
static void write_to_an_output(lmf_graph *g)
{
    lmf_tensor *x = input(g, "x", 2, 3), *y = lmf_add(g, x, x);
    lmf_graph_output(g, "y", y);
    lmf_accumulate(g, y, x, one(g));
}
static void output_of_a_leaf(lmf_graph *g) { lmf_graph_output(g, "y", input(g, "x", 2, 3)); }
static void field_out_of_range(lmf_graph *g)
{
    lmf_rms_norm(g, input(g, "x", 2, 3), lmf_graph_tensor(g, LMF_WEIGHT, "w", LMF_F32, 1, (int64_t[]){ 3 }), NAN);
}
static void input_missing(lmf_graph *g) { lmf_add(g, input(g, "x", 2, 3), NULL); }
static void negative_dim(lmf_graph *g) { input(g, "x", 2, -1); }
static void huge_dims(lmf_graph *g) { lmf_graph_tensor(g, LMF_INPUT, "x", LMF_F32, 3, (int64_t[]){ INT64_MAX / 2, INT64_MAX / 2, 2 }); }
static void no_dims(lmf_graph *g) { lmf_graph_tensor(g, LMF_INPUT, "x", LMF_F32, 0, NULL); }
static void many_dims(lmf_graph *g) { lmf_graph_tensor(g, LMF_INPUT, "x", LMF_F32, 6, (int64_t[]){ 1, 1, 1, 1, 1, 1 }); }
static void no_whole_blocks(lmf_graph *g) { lmf_graph_tensor(g, LMF_WEIGHT, "x", LMF_Q8_0, 2, (int64_t[]){ 2, 33 }); }
static void unknown_dtype(lmf_graph *g) { lmf_graph_tensor(g, LMF_WEIGHT, "x", 60000, 2, (int64_t[]){ 2, 32 }); }
static void constant_with_two_values(lmf_graph *g)
{
    int64_t n = 2;
    lmf_tensor *a = lmf_graph_const(g, "c", LMF_F32, 1, &n, (float[]){ 1, 2 });
    assert_non_null(a);
    assert_ptr_equal(lmf_graph_const(g, "c", LMF_F32, 1, &n, (float[]){ 1, 2 }), a);
    assert_null(lmf_graph_const(g, "c", LMF_F32, 1, &n, (float[]){ 1, 3 }));
}
static void constant_over_an_input(lmf_graph *g)
{
    int64_t n = 2;
    lmf_graph_tensor(g, LMF_INPUT, "c", LMF_F32, 1, &n);
    assert_null(lmf_graph_const(g, "c", LMF_F32, 1, &n, (float[]){ 1, 2 }));
}
static void part_outside(lmf_graph *g) { lmf_graph_part(g, held(g, "s", 2, 3), 8, "p", 1, (int64_t[]){ 5 }); }
static void part_before(lmf_graph *g) { lmf_graph_part(g, held(g, "s", 2, 3), -4, "p", 1, (int64_t[]){ 1 }); }
static void nothing(lmf_graph *g) { input(g, "x", 2, 3); }

static void refuses_mistakes(void **state)
{
    static const struct { const char *what; void (*body)(lmf_graph *); lmf_status s; const char *words; } rows[] = {
        { "wrong shape", wrong_shape, LMF_E_SHAPE, "add([2, 3] f32, [2, 4] f32)" },
        { "two of a name", two_of_a_name, LMF_E_EXISTS, "\"a\"" },
        { "output of a name", output_of_a_name, LMF_E_EXISTS, "\"a\"" },
        { "old version", old_version, LMF_E_ARG, "old version" },
        { "old version of a STEP tensor as output", old_version_of_step, LMF_E_ARG, "old version" },
        { "written twice from the old version", write_twice_from_old, LMF_E_ARG, "old version" },
        { "written and read at once", write_and_read_the_same, LMF_E_ARG, "the same tensor" },
        { "an input written", write_to_an_input, LMF_E_ARG, "STATE or STEP" },
        { "an output written", write_to_an_output, LMF_E_ARG, "STATE or STEP" },
        { "a leaf as output", output_of_a_leaf, LMF_E_ARG, "fresh result" },
        { "field out of range", field_out_of_range, LMF_E_ARG, "eps is nan" },
        { "input missing", input_missing, LMF_E_ARG, "input 1 is missing" },
        { "negative dimension", negative_dim, LMF_E_SHAPE, "dimension 1 is -1" },
        { "dimensions overflow", huge_dims, LMF_E_SHAPE, "dimension" },
        { "no dimensions", no_dims, LMF_E_SHAPE, "0 dimensions" },
        { "six dimensions", many_dims, LMF_E_SHAPE, "6 dimensions" },
        { "no whole blocks", no_whole_blocks, LMF_E_SHAPE, "block of 32" },
        { "unknown data type", unknown_dtype, LMF_E_DTYPE, "unknown data type" },
        { "a constant with two values", constant_with_two_values, LMF_E_ARG, "constant \"c\"" },
        { "a constant over an input", constant_over_an_input, LMF_E_ARG, "constant \"c\"" },
        { "part outside", part_outside, LMF_E_SHAPE, "does not lie inside" },
        { "part before", part_before, LMF_E_SHAPE, "does not lie inside" },
        { "nothing", nothing, LMF_E_ARG, "computes nothing" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_ctx *ctx = lmf_test_ctx();
        lmf_graph *g;
        char where[64];
        assert_ok(ctx, lmf_graph_create(ctx, &g));
        rows[i].body(g);
        lmf_status s = lmf_graph_finish(g);
        if (s != rows[i].s || !strstr(lmf_error(ctx), rows[i].words))
            fail_msg("%s: %s, \"%s\"", rows[i].what, lmf_status_name(s), lmf_error(ctx));
        if (rows[i].body == wrong_shape) { /* the first mistake's place in the model file */
            snprintf(where, sizeof where, "graph_test.c:%d)", line_of_mistake);
            if (!strstr(lmf_error(ctx), where))
                fail_msg("\"%s\" does not say %s", lmf_error(ctx), where);
        }
        lmf_graph_destroy(g);
        lmf_test_ctx_done(ctx);
    }
}

static void keeps_versions(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_graph *g;
    assert_ok(ctx, lmf_graph_create(ctx, &g));
    lmf_tensor *s = held(g, "s", 2, 3), *x = input(g, "x", 2, 3), *k = one(g);
    lmf_tensor *y = lmf_add(g, s, x); /* before the write: fine */
    lmf_tensor *s1 = lmf_accumulate(g, s, x, k), *s2 = lmf_accumulate(g, s1, y, k), *z = lmf_add(g, s2, y);
    lmf_graph_output(g, "z", z);
    assert_ok(ctx, lmf_graph_finish(g));
    assert_ptr_equal(s1->base, s);
    assert_ptr_equal(s2->base, s1);
    assert_int_equal(s->now, 2);
    assert_int_equal(s2->version, 2);
    assert_int_equal(g->n_nodes, 4);
    /* parts of a state have versions of their own */
    assert_int_equal(z->v.cls, LMF_OUTPUT);
    assert_ptr_equal(lmf_graph_find(g, "z"), z);
    assert_null(lmf_graph_find(g, "none"));
    lmf_graph_destroy(g);
    lmf_test_ctx_done(ctx);
}

static void parts_have_their_own_versions(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_graph *g;
    assert_ok(ctx, lmf_graph_create(ctx, &g));
    lmf_tensor *flat = lmf_graph_tensor(g, LMF_STATE, "flat", LMF_F32, 1, (int64_t[]){ 12 });
    lmf_tensor *a = lmf_graph_part(g, flat, 0, "a", 2, (int64_t[]){ 2, 3 }), *b = lmf_graph_part(g, flat, 24, "b", 2, (int64_t[]){ 2, 3 });
    lmf_tensor *x = input(g, "x", 2, 3), *a1 = lmf_accumulate(g, a, x, one(g));
    lmf_graph_output(g, "y", lmf_add(g, a1, b)); /* b is not old because a was written */
    assert_ok(ctx, g->status);
    assert_null(lmf_add(g, a, b));
    assert_refused(ctx, LMF_E_ARG, "old version", lmf_graph_finish(g));
    lmf_graph_destroy(g);
    lmf_test_ctx_done(ctx);
}

/* What the plan's fingerprint and a saved graph rely on: every attribute struct has a field table that covers it. */
static void attributes_have_fields(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    int n = 0;
    for (const lmf_op *const *op = ctx->tables->ops; *op; op++, n++) {
        size_t covered = 0;
        for (const lmf_field *f = (*op)->fields; f && f->name; f++)
            covered += f->kind == LMF_FIELD_BOOL ? sizeof(bool) : 4;
        if (covered != (*op)->attr_bytes)
            fail_msg("op %s: its fields cover %zu of %zu bytes", (*op)->name, covered, (*op)->attr_bytes);
        if (lmf_op_find(ctx, (*op)->name) != *op)
            fail_msg("two ops are called %s", (*op)->name);
        if (!(*op)->infer || !(*op)->ref || !(*op)->cost)
            fail_msg("op %s lacks a shape rule, a reference or a cost", (*op)->name);
    }
    assert_true(n > 20);
    lmf_test_ctx_done(ctx);
}

/* ---- fused ops: one node where a device has a row of its own, else their expansion ---- */
static lmf_status no_run(const lmf_call *c, const lmf_worker *wk) { return (void)c, (void)wk, LMF_OK; }
static const lmf_kernel own_row[] = { { .name = "own", .run = no_run }, { 0 } };
static const lmf_kernel *const *own_rows(lmf_device *d, const char *op)
{
    static const lmf_kernel *const table[] = { own_row, NULL };
    return (void)d, strcmp(op, "linear_add") && strcmp(op, "attention_rotary") ? NULL : table;
}
static const lmf_kernel *const *no_rows(lmf_device *d, const char *op) { return (void)d, (void)op, NULL; }

static int nodes_of_linear_add(lmf_ctx *ctx, lmf_device *dev, bool needs_grad)
{
    lmf_graph *g;
    assert_int_equal(lmf_graph_create(ctx, &g), LMF_OK);
    g->device = dev;
    lmf_tensor *x = input(g, "x", 2, 8), *w = input(g, "w", 3, 8);
    x->needs_grad = needs_grad;
    lmf_graph_output(g, "y", lmf_linear_add(g, x, w, NULL, input(g, "r", 2, 3), 0));
    assert_int_equal(lmf_graph_finish(g), LMF_OK);
    int n = g->n_nodes;
    lmf_graph_destroy(g);
    return n;
}

static void fused_ops_stand_or_expand(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const lmf_device_ops with = { .name = "with", .kernels = own_rows }, without = { .name = "without", .kernels = no_rows };
    lmf_device dev[3];
    for (int i = 0; i < 3; i++)
        assert_int_equal(lmf_device_init(&dev[i], ctx, i ? &without : &with, 0), LMF_OK);
    dev[2].flags = LMF_DEVICE_HOST; /* its reference is no row */
    assert_int_equal(nodes_of_linear_add(ctx, &dev[0], false), 1);
    assert_int_equal(nodes_of_linear_add(ctx, &dev[1], false), 2);
    assert_int_equal(nodes_of_linear_add(ctx, &dev[2], false), 2);
    assert_int_equal(nodes_of_linear_add(ctx, NULL, false), 1);
    assert_int_equal(nodes_of_linear_add(ctx, NULL, true), 2); /* it has no gradient, its expansion has */
    assert_int_equal(nodes_of_linear_add(ctx, &dev[0], true), 2);
    for (int i = 0; i < 2; i++) { /* in place: caches have a new version either way */
        lmf_graph *g;
        assert_int_equal(lmf_graph_create(ctx, &g), LMF_OK);
        g->device = &dev[i];
        int64_t two[] = { 2, 2 }, cache[] = { 2, 4, 8 };
        lmf_batch in = { .seq = lmf_graph_tensor(g, LMF_INPUT, "seq", LMF_I32, 1, two),
                         .pos = lmf_graph_tensor(g, LMF_INPUT, "pos", LMF_I32, 1, two),
                         .q_start = lmf_graph_tensor(g, LMF_INPUT, "q_start", LMF_I32, 1, two),
                         .page = lmf_graph_tensor(g, LMF_INPUT, "page", LMF_I32, 2, two) };
        lmf_tensor *kc = lmf_graph_tensor(g, LMF_STATE, "kc", LMF_F32, 3, cache);
        lmf_tensor *vc = lmf_graph_tensor(g, LMF_STATE, "vc", LMF_F32, 3, cache);
        lmf_tensor *k = input(g, "k", 2, 8), *freq = lmf_graph_tensor(g, LMF_INPUT, "freq", LMF_F32, 1, (int64_t[]){ 4 });
        lmf_attention_rotary_attrs attrs = { { 2, 1, 8, 0, 0.5f, 0 }, 8, 1 };
        lmf_graph_output(g, "o", lmf_attention_rotary(g, &in, input(g, "q", 2, 16), k, k, freq, kc, vc, attrs));
        assert_int_equal(g->status, LMF_OK);
        assert_int_equal(g->n_nodes, i ? 5 : 1);
        lmf_attention_rotary(g, &in, lmf_graph_find(g, "q"), k, k, freq, kc, vc, attrs);
        assert_int_equal(g->status, LMF_E_ARG);
        assert_non_null(strstr(lmf_error(ctx), "old version"));
        lmf_graph_destroy(g);
    }
    lmf_test_ctx_done(ctx);
}

/* What no output hangs on goes; what writes stays, though nobody reads it. */
static void prune_keeps_what_counts(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_graph *g;
    assert_ok(ctx, lmf_graph_create(ctx, &g));
    lmf_tensor *a = input(g, "a", 2, 3), *b = lmf_add(g, a, a), *c = lmf_add(g, b, a);
    lmf_add(g, c, b); /* dead */
    lmf_accumulate(g, held(g, "h", 2, 3), b, one(g));
    lmf_add(g, lmf_add(g, a, b), c); /* dead, both */
    lmf_graph_output(g, "c", c);
    assert_int_equal(g->n_nodes, 6);
    lmf_graph_prune(g);
    assert_ok(ctx, lmf_graph_finish(g));
    assert_int_equal(g->n_nodes, 3);
    assert_ptr_equal(g->nodes[0], b->node);
    assert_ptr_equal(g->nodes[1], c->node);
    assert_string_equal(g->nodes[2]->op->name, "accumulate");
    lmf_graph_destroy(g);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(graph) = {
    { "prune keeps what counts", prune_keeps_what_counts },
    { "fused ops stand or expand", fused_ops_stand_or_expand },
    { "refuses mistakes", refuses_mistakes },
    { "keeps versions", keeps_versions },
    { "parts have their own versions", parts_have_their_own_versions },
    { "attributes have fields", attributes_have_fields },
    { 0 }
};
