/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/plan.h"
#include <stdio.h>
#include <string.h>
#include "ops/accumulate/accumulate.h"
#include "ops/add/add.h"
#include "ops/matmul/matmul.h"
#include "ops/rms_norm/rms_norm.h"
#include "ops/scale_by/scale_by.h"
#include "test.h"
#include "graph/far_device_test.h"

/* y = rms_norm(x) times a factor; acc += y; t = acc + c with a constant. */
typedef struct shape { int64_t rows, cols; float eps; bool twice; uint16_t weight; } shape;
static const shape small = { 3, 8, 1e-5f, false, LMF_F32 };

static lmf_graph *make(lmf_ctx *ctx, const shape *s, float constant, bool with_state)
{
    lmf_graph *g;
    int64_t cols = s->cols;
    float c[64] = { constant, constant + 1 };
    assert_ok(ctx, lmf_graph_create(ctx, &g));
    lmf_tensor *x = lmf_graph_tensor(g, LMF_INPUT, "x", LMF_F32, 2, (int64_t[]){ s->rows, cols });
    lmf_tensor *y = lmf_rms_norm(g, x, lmf_graph_tensor(g, LMF_WEIGHT, "w", LMF_F32, 1, &cols), s->eps);
    y = lmf_matmul_nt(g, y, lmf_graph_tensor(g, LMF_WEIGHT, "m", s->weight, 2, (int64_t[]){ cols, cols }));
    if (s->twice)
        y = lmf_add(g, y, y);
    if (with_state) {
        lmf_tensor *acc = lmf_graph_tensor(g, LMF_STATE, "acc", LMF_F32, 2, (int64_t[]){ s->rows, cols });
        acc = lmf_accumulate(g, acc, y, lmf_graph_const(g, "one", LMF_F32, 1, (int64_t[]){ 1 }, (float[]){ 1 }));
        y = lmf_add(g, acc, y);
    }
    lmf_graph_output(g, "t", lmf_add(g, y, lmf_graph_const(g, "c", LMF_F32, 1, &cols, c)));
    assert_ok(ctx, lmf_graph_finish(g));
    return g;
}

static lmf_weights *weights(lmf_ctx *ctx, int64_t cols)
{
    lmf_weights *set;
    lmf_weight *w, *m;
    assert_ok(ctx, lmf_weights_create(ctx, &set));
    assert_ok(ctx, lmf_weights_add(set, "w", LMF_F32, 1, &cols, NULL, false, &w));
    assert_ok(ctx, lmf_weights_add(set, "m", LMF_F32, 2, (int64_t[]){ cols, cols }, NULL, false, &m));
    w = lmf_weights_find(set, "w");
    for (int64_t i = 0; i < cols; i++) {
        lmf_set(&w->v, i, 1);
        lmf_set(&m->v, i * cols + i, 2); /* twice the unit matrix */
    }
    return set;
}

static void runs_and_keeps_state(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_device *dev;
    lmf_plan *p;
    lmf_weights *w = weights(ctx, 8);
    float kept[24];
    assert_ok(ctx, lmf_device_open(ctx, "cpu", &dev));
    /* two graphs: both sum into acc, the second has another x (fewer rows read the front) and shares the constants */
    lmf_graph *g[2] = { make(ctx, &small, 10, true), make(ctx, &(shape){ 3, 8, 1e-5f, true, LMF_F32 }, 10, true) };
    assert_ok(ctx, lmf_plan_create(dev, g, 2, NULL, &p));
    assert_null(lmf_plan_io(p, 0, "x")); /* before bind there is nothing */
    assert_ok(ctx, lmf_plan_bind(p, &w, 1));
    float *x = lmf_plan_io(p, 0, "x"), *t = lmf_plan_io(p, 0, "t"), *acc = lmf_plan_io(p, 0, "acc"), *one = lmf_plan_io(p, 0, "one");
    assert_true(x && t && acc && one && *one == 1 && ((float *)lmf_plan_io(p, 0, "c"))[0] == 10);
    assert_ptr_equal(lmf_plan_io(p, 1, "acc"), acc);
    assert_ptr_equal(lmf_plan_io(p, 1, "x"), x);
    assert_null(lmf_plan_io(p, 0, "w"));
    assert_null(lmf_plan_io(p, 2, "x"));
    assert_null(lmf_plan_io(p, -1, "x"));
    for (int i = 0; i < 24; i++)
        assert_true(acc[i] == 0);
    for (int i = 0; i < 24; i++)
        x[i] = 1;
    assert_ok(ctx, lmf_plan_run(p, 0));
    assert_ok(ctx, lmf_plan_wait(p, 0));
    /* rms_norm of ones is 1 (within eps), twice that is 2: acc 2, t = 2 + 2 + c */
    assert_float_equal(acc[0], 2, 1e-4);
    assert_float_equal(t[0], 14, 1e-3);
    assert_float_equal(t[1], 15, 1e-3);
    assert_float_equal(t[2], 4, 1e-3);
    assert_ok(ctx, lmf_plan_run(p, 1));
    assert_float_equal(acc[0], 6, 1e-4);
    assert_ok(ctx, lmf_plan_state_read(p, "acc", kept, sizeof kept));
    assert_memory_equal(kept, acc, sizeof kept);
    memset(kept, 0, sizeof kept);
    assert_ok(ctx, lmf_plan_state_write(p, "acc", kept, sizeof kept));
    assert_true(acc[0] == 0);
    assert_refused(ctx, LMF_E_SHAPE, "96 bytes", lmf_plan_state_read(p, "acc", kept, sizeof kept - 4));
    assert_refused(ctx, LMF_E_NOT_FOUND, "no state \"x\"", lmf_plan_state_read(p, "x", kept, sizeof kept));
    assert_string_equal(lmf_plan_state_at(p, 0)->name, "acc");
    assert_null(lmf_plan_state_at(p, 1));
    assert_false(dev->sealed); /* only while a run goes on */
    lmf_plan_destroy(p);
    assert_int_equal(dev->asked_bytes, 0);
    lmf_graph_destroy(g[0]);
    lmf_graph_destroy(g[1]);
    lmf_weights_destroy(w);
    lmf_device_close(dev);
    lmf_test_ctx_done(ctx);
}

static uint64_t print_of(lmf_ctx *ctx, lmf_device *dev, const shape *s)
{
    lmf_plan *p;
    lmf_graph *g = make(ctx, s, 1, true);
    assert_ok(ctx, lmf_plan_create(dev, &g, 1, NULL, &p));
    uint64_t h = lmf_plan_fingerprint(p);
    lmf_plan_destroy(p);
    lmf_graph_destroy(g);
    return h;
}

static void fingerprints_differ(void **state)
{
    static const shape rows[] = { { 3, 8, 1e-5f, false, LMF_F32 }, { 4, 8, 1e-5f, false, LMF_F32 }, { 3, 9, 1e-5f, false, LMF_F32 },
                                  { 3, 8, 1e-6f, false, LMF_F32 }, { 3, 8, 1e-5f, true, LMF_F32 }, { 3, 8, 1e-5f, false, LMF_F16 } };
    enum { N = sizeof rows / sizeof *rows };
    uint64_t h[N], on_null;
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_device *dev, *null;
    assert_ok(ctx, lmf_device_open(ctx, "cpu", &dev));
    assert_ok(ctx, lmf_device_open(ctx, "null", &null));
    for (int i = 0; i < N; i++)
        h[i] = print_of(ctx, dev, &rows[i]);
    for (int i = 0; i < N; i++)
        for (int k = 0; k < i; k++)
            if (h[i] == h[k])
                fail_msg("plans %d and %d have one fingerprint", i, k);
    assert_true(print_of(ctx, dev, &rows[0]) == h[0]);
    on_null = print_of(ctx, null, &rows[0]);
    assert_true(on_null != h[0]);
    /* checkpoints hold it: a run that was saved must go on; dimensions of one byte and of three */
    assert_int_equal(on_null, UINT64_C(0xaf808423aba267c2));
    assert_int_equal(print_of(ctx, null, &(shape){ 70000, 64, 1e-5f, false, LMF_F32 }), UINT64_C(0x4bfa8b4c07c153e3));
    lmf_device_close(dev);
    lmf_device_close(null);
    lmf_test_ctx_done(ctx);
}

static lmf_status plan_two(lmf_ctx *ctx, lmf_device *dev, lmf_graph *a, lmf_graph *b)
{
    lmf_plan *p;
    lmf_status s = lmf_plan_create(dev, (lmf_graph *[]){ a, b }, 2, NULL, &p);
    lmf_plan_destroy(p);
    lmf_graph_destroy(a);
    lmf_graph_destroy(b);
    (void)ctx;
    return s;
}

static lmf_graph *state_named(lmf_ctx *ctx, const char *name, int cls, uint16_t dtype, int64_t n)
{
    lmf_graph *g;
    assert_ok(ctx, lmf_graph_create(ctx, &g));
    lmf_tensor *x = lmf_graph_tensor(g, LMF_INPUT, "in", LMF_F32, 1, (int64_t[]){ 4 });
    lmf_graph_tensor(g, cls, name, dtype, 1, &n); /* no node uses it: still a part of the plan */
    lmf_graph_output(g, "out", lmf_add(g, x, x));
    assert_ok(ctx, lmf_graph_finish(g));
    return g;
}

static void refuses_graphs_that_clash(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_device *dev;
    lmf_plan *p;
    assert_ok(ctx, lmf_device_open(ctx, "null", &dev));
    assert_refused(ctx, LMF_E_SHAPE, "\"acc\" in different sizes", plan_two(ctx, dev, make(ctx, &small, 1, true), make(ctx, &(shape){ 4, 8, 1e-5f, 0, 0 }, 1, true)));
    assert_refused(ctx, LMF_E_ARG, "constant \"c\"", plan_two(ctx, dev, make(ctx, &small, 1, true), make(ctx, &small, 2, true)));
    assert_refused(ctx, LMF_E_SHAPE, "\"w\"", plan_two(ctx, dev, make(ctx, &small, 1, false), make(ctx, &(shape){ 3, 9, 1e-5f, 0, 0 }, 1, false)));
    assert_refused(ctx, LMF_E_ARG, "\"s\"", plan_two(ctx, dev, state_named(ctx, "s", LMF_STATE, LMF_F32, 4), state_named(ctx, "s", LMF_INPUT, LMF_F32, 4)));
    assert_refused(ctx, LMF_E_ARG, "\"s\"", plan_two(ctx, dev, state_named(ctx, "s", LMF_STATE, LMF_F32, 4), state_named(ctx, "s", LMF_STATE, LMF_I32, 4)));
    assert_ok(ctx, plan_two(ctx, dev, state_named(ctx, "s", LMF_STATE, LMF_F32, 4), state_named(ctx, "s", LMF_STATE, LMF_F32, 4)));
    assert_ok(ctx, plan_two(ctx, dev, state_named(ctx, "s", LMF_INPUT, LMF_F32, 4), state_named(ctx, "s", LMF_INPUT, LMF_F32, 40)));
    lmf_graph *g = make(ctx, &small, 1, true), *many[33];
    for (int i = 0; i < 33; i++)
        many[i] = g;
    assert_refused(ctx, LMF_E_ARG, "1 to 32 graphs, not 33", lmf_plan_create(dev, many, 33, NULL, &p));
    assert_refused(ctx, LMF_E_ARG, "not 0", lmf_plan_create(dev, many, 0, NULL, &p));
    assert_null(p);
    assert_ok(ctx, lmf_plan_create(dev, many, 32, NULL, &p));
    lmf_plan_destroy(p);
    lmf_graph_destroy(g);
    lmf_device_close(dev);
    lmf_test_ctx_done(ctx);
}

static void refuses_weights_that_dont_fit(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_device *dev;
    lmf_plan *p;
    assert_ok(ctx, lmf_device_open(ctx, "cpu", &dev));
    lmf_graph *g = make(ctx, &small, 1, true);
    lmf_weights *other = weights(ctx, 9), *none;
    assert_ok(ctx, lmf_weights_create(ctx, &none));
    assert_ok(ctx, lmf_plan_create(dev, &g, 1, NULL, &p));
    assert_refused(ctx, LMF_E_NOT_FOUND, "\"w\"", lmf_plan_bind(p, &none, 1));
    assert_refused(ctx, LMF_E_SHAPE, "[9] f32, the model wants [8] f32", lmf_plan_bind(p, &other, 1));
    assert_int_equal(dev->asked_bytes, 0);
    lmf_plan_destroy(p);
    lmf_graph_destroy(g);
    lmf_weights_destroy(other);
    lmf_weights_destroy(none);
    lmf_device_close(dev);
    lmf_test_ctx_done(ctx);
}

/* A device without a row for the op refuses with the line, and the graph may go to another device afterwards. */
static void refuses_a_hole(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_device *dev;
    lmf_plan *p;
    assert_ok(ctx, lmf_device_open(ctx, "null", &dev));
    lmf_graph *g = make(ctx, &small, 1, true);
    dev->flags = 0; /* as a GPU would be: reference rows don't run there */
    assert_refused(ctx, LMF_E_UNSUPPORTED, "rms_norm([3, 8] f32, [8] f32): device null has no kernel", lmf_plan_create(dev, &g, 1, NULL, &p));
    assert_non_null(strstr(lmf_error(ctx), "plan_test.c:"));
    dev->flags = LMF_DEVICE_NO_DATA;
    assert_ok(ctx, lmf_plan_create(dev, &g, 1, NULL, &p));
    lmf_plan_destroy(p);
    lmf_graph_destroy(g);
    lmf_device_close(dev);
    lmf_test_ctx_done(ctx);
}

/* --eager: nothing shares bytes, and labelled tensors can be read after the run. */
static void eager_keeps_what_is_labelled(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_device *dev;
    lmf_plan *p;
    lmf_graph *g;
    int64_t n = 4;
    assert_ok(ctx, lmf_device_open(ctx, "cpu", &dev));
    assert_ok(ctx, lmf_graph_create(ctx, &g));
    lmf_tensor *x = lmf_graph_tensor(g, LMF_INPUT, "x", LMF_F32, 1, &n), *y = x;
    for (int i = 0; i < 6; i++) {
        char name[8];
        snprintf(name, sizeof name, "y%d", i);
        y = lmf_graph_label(g, lmf_add(g, y, y), name);
    }
    lmf_graph_output(g, "z", lmf_add(g, y, y));
    assert_ok(ctx, lmf_graph_finish(g));
    assert_ok(ctx, lmf_plan_create(dev, &g, 1, &(lmf_plan_opts){ .eager = true }, &p));
    assert_ok(ctx, lmf_plan_bind(p, NULL, 0));
    for (int i = 0; i < 4; i++)
        ((float *)lmf_plan_io(p, 0, "x"))[i] = (float)(i + 1);
    assert_ok(ctx, lmf_plan_run(p, 0));
    for (int i = 0; i < 6; i++) {
        char name[8];
        snprintf(name, sizeof name, "y%d", i);
        const lmf_view *v = lmf_plan_view(p, 0, name);
        assert_non_null(v);
        assert_true(((float *)v->data)[3] == (float)(4 << (i + 1)));
    }
    assert_null(lmf_plan_view(p, 0, "none"));
    lmf_profile_row row;
    assert_int_equal(lmf_plan_profile(p, 0, &row, 1), 0); /* not asked for */
    lmf_plan_destroy(p);
    lmf_graph_destroy(g);
    lmf_device_close(dev);
    lmf_test_ctx_done(ctx);
}

static void profiles(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_device *dev;
    lmf_plan *p;
    lmf_profile_row row[8];
    assert_ok(ctx, lmf_device_open(ctx, "cpu", &dev));
    lmf_graph *g = make(ctx, &small, 1, true);
    lmf_weights *w = weights(ctx, 8);
    assert_ok(ctx, lmf_plan_create(dev, &g, 1, &(lmf_plan_opts){ .profile = true }, &p));
    assert_ok(ctx, lmf_plan_bind(p, &w, 1));
    for (int i = 0; i < 3; i++)
        assert_ok(ctx, lmf_plan_run(p, 0));
    int n = lmf_plan_profile(p, 0, row, 8), n_calls = 0;
    assert_int_equal(n, 4); /* rms_norm, matmul, accumulate, add */
    for (int i = 0; i < n; i++) {
        n_calls += (int)row[i].n_calls;
        assert_true(row[i].seconds > 0 && (i == 0 || row[i - 1].seconds >= row[i].seconds));
        if (strcmp(row[i].op, "matmul") == 0)
            assert_true(row[i].flops == 3 * 2.0 * 3 * 8 * 8);
    }
    assert_int_equal(n_calls, 3 * 5);
    lmf_plan_destroy(p);
    lmf_graph_destroy(g);
    lmf_weights_destroy(w);
    lmf_device_close(dev);
    lmf_test_ctx_done(ctx);
}

static lmf_tensor *io(lmf_graph *g, const char *name, int64_t rows)
{
    return lmf_graph_tensor(g, LMF_INPUT, name, LMF_F32, 2, (int64_t[]){ rows, 8 });
}

/* h = a + b of `rows` rows for the next graph, u = a + a for the host; or y = h + c, where nothing else comes from the host. */
static lmf_graph *half(lmf_ctx *ctx, bool first, int64_t rows)
{
    lmf_graph *g;
    assert_ok(ctx, lmf_graph_create(ctx, &g));
    if (first) {
        lmf_tensor *a = io(g, "a", rows), *b = io(g, "b", rows);
        lmf_graph_output(g, "h", lmf_add(g, a, b));
        lmf_graph_output(g, "u", lmf_add(g, a, a));
    } else {
        lmf_tensor *h = io(g, "h", rows), *one = lmf_graph_const(g, "k", LMF_F32, 1, (int64_t[]){ 8 }, (float[]){ 1, 2, 3, 4, 5, 6, 7, 8 });
        lmf_graph_output(g, "y", lmf_add(g, lmf_add(g, h, io(g, "c", rows)), one));
    }
    assert_ok(ctx, lmf_graph_finish(g));
    return g;
}

/* What one graph gives to another never goes through the host, and a run copies what its own graph has. */
static void hands_over_and_copies_its_own(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_device *dev;
    lmf_plan *p;
    far_tables(ctx);
    for (int far = 0; far < 2; far++) {
        assert_ok(ctx, lmf_device_open(ctx, far ? "far" : "cpu", &dev));
        lmf_graph *g[3] = { half(ctx, true, 6), half(ctx, false, 6), half(ctx, false, 2) };
        assert_ok(ctx, lmf_plan_create(dev, g, 3, NULL, &p));
        assert_ok(ctx, lmf_plan_bind(p, NULL, 0));
        float *a = lmf_plan_io(p, 0, "a"), *b = lmf_plan_io(p, 0, "b"), *u = lmf_plan_io(p, 0, "u");
        float *c = lmf_plan_io(p, 1, "c"), *y = lmf_plan_io(p, 1, "y");
        assert_true(a && b && c && y && u && (lmf_plan_io(p, 1, "h") == NULL) == far);
        assert_int_equal(dev->asked_bytes, lmf_plan_bytes(p));
        for (int i = 0; i < 48; i++)
            a[i] = (float)i, b[i] = 100, c[i] = 1000;
        far_now.n_copies = 0, far_now.copy_bytes = 0;
        assert_ok(ctx, lmf_plan_run(p, 0));
        if (far) {
            assert_int_equal(far_now.n_copies, 2); /* a and b lie side by side */
            assert_int_equal(far_now.copy_bytes, 256 + 192 + 192);
        }
        assert_ok(ctx, lmf_plan_run(p, 1));
        assert_ok(ctx, lmf_plan_wait(p, 1));
        for (int i = 0; i < 48; i++)
            assert_true(y[i] == (float)(i + 1100 + i % 8 + 1) && u[i] == (float)(2 * i));
        for (int i = 0; i < 48; i++)
            a[i] = -1, c[i] = 0, y[i] = 7, u[i] = 7;
        far_now.n_copies = 0, far_now.copy_bytes = 0;
        assert_ok(ctx, lmf_plan_run(p, 2)); /* the front of what graph 0 gave; a is not its own */
        assert_ok(ctx, lmf_plan_wait(p, 2));
        for (int i = 0; i < 48; i++)
            assert_true(y[i] == (i < 16 ? (float)(i + 100 + i % 8 + 1) : 7) && u[i] == 7);
        if (far) {
            assert_int_equal(far_now.n_copies, 2);
            assert_int_equal(far_now.copy_bytes, 64 + 64);
        }
        lmf_plan_destroy(p);
        assert_int_equal(dev->asked_bytes + dev->asked_host_bytes, 0);
        for (int i = 0; i < 3; i++)
            lmf_graph_destroy(g[i]);
        lmf_device_close(dev);
    }
    lmf_test_ctx_done(ctx);
}

static int n_sealed; /* of this program: a test may count in globals */
static lmf_status launch_that_asks(lmf_device *dev, lmf_stream *s, lmf_program *p)
{
    void *more;
    assert_refused(dev->ctx, LMF_E_SEALED, "sealed", dev->ops->alloc(dev, 0, 1, &more));
    assert_null(more);
    n_sealed++;
    return far_launch(dev, s, p);
}

static void sealed_while_it_runs(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_device *dev;
    lmf_plan *p;
    far_tables(ctx);
    far_ops.program_launch = launch_that_asks;
    for (int profile = 0; profile < 2; profile++) {
        n_sealed = 0;
        assert_ok(ctx, lmf_device_open(ctx, "far", &dev));
        lmf_graph *g = half(ctx, true, 6);
        assert_ok(ctx, lmf_plan_create(dev, &g, 1, &(lmf_plan_opts){ .profile = profile }, &p));
        assert_ok(ctx, lmf_plan_bind(p, NULL, 0));
        assert_ok(ctx, lmf_plan_run(p, 0));
        assert_int_equal(n_sealed, profile ? 2 : 1);
        assert_false(dev->sealed);
        lmf_plan_destroy(p);
        lmf_graph_destroy(g);
        lmf_device_close(dev);
    }
    lmf_test_ctx_done(ctx);
}

/* The host fills one slot while the device has yet to read the other; each slot keeps its own answer. */
static void two_slots(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_device *dev;
    lmf_plan *p;
    far_tables(ctx);
    for (int far = 0; far < 2; far++) {
        float got[6] = { 0 };
        assert_ok(ctx, lmf_device_open(ctx, far ? "far" : "cpu", &dev));
        lmf_graph *g = half(ctx, true, 6);
        assert_ok(ctx, lmf_plan_create(dev, &g, 1, &(lmf_plan_opts){ .two_slots = true }, &p));
        assert_ok(ctx, lmf_plan_bind(p, NULL, 0));
        int n = lmf_plan_n_slots(p);
        assert_int_equal(n, far ? 2 : 1);
        far_now.n_waits = 0;
        for (int i = 0; i < 6; i++) {
            assert_ok(ctx, lmf_plan_take_slot(p, i % n));
            if (i >= n)
                got[i - n] = ((float *)lmf_plan_io(p, 0, "u"))[5];
            ((float *)lmf_plan_io(p, 0, "a"))[5] = (float)i;
            assert_ok(ctx, lmf_plan_run(p, 0));
            if (far && i > 0) /* the run before is still waiting when this one is asked for */
                assert_true(far_now.n - far_now.done >= 3);
        }
        for (int i = 6 - n; i < 6; i++) {
            assert_ok(ctx, lmf_plan_take_slot(p, i % n));
            got[i] = ((float *)lmf_plan_io(p, 0, "u"))[5];
        }
        assert_int_equal(far_now.n_waits, 0); /* never for all */
        for (int i = 0; i < 6; i++)
            assert_true(got[i] == (float)(2 * i));
        lmf_plan_destroy(p);
        assert_int_equal(dev->events, 0);
        assert_int_equal(dev->asked_bytes + dev->asked_host_bytes, 0);
        lmf_graph_destroy(g);
        lmf_device_close(dev);
    }
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(plan) = {
    { "two slots", two_slots },
    { "a device is sealed while a plan runs", sealed_while_it_runs },
    { "a graph hands over to another, a run copies its own", hands_over_and_copies_its_own },
    { "runs and keeps state", runs_and_keeps_state },
    { "fingerprints differ", fingerprints_differ },
    { "refuses graphs that clash", refuses_graphs_that_clash },
    { "refuses weights that don't fit", refuses_weights_that_dont_fit },
    { "refuses a hole", refuses_a_hole },
    { "eager keeps what is labelled", eager_keeps_what_is_labelled },
    { "profiles", profiles },
    { 0 }
};
