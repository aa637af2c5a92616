/* SPDX-License-Identifier: Apache-2.0 */
#include "graph/device_weights.h"
#include "graph/far_device_test.h"
#include "graph/plan.h"
#include "ops/add/add.h"
#include "ops/matmul/matmul.h"

enum { N = 24 };

/* Tensors w0, w1, w2 of [N, N], each that many times the unit matrix. */
static lmf_status unit_set(lmf_ctx *ctx, lmf_weights **out)
{
    LMF_TRY(lmf_weights_create(ctx, out));
    for (int k = 0; k < 3; k++) {
        lmf_weight *w;
        LMF_TRY(lmf_weights_add(*out, (const char *[]){ "w0", "w1", "w2" }[k], LMF_F32, 2, (int64_t[]){ N, N }, NULL, false, &w));
        for (int i = 0; i < N; i++)
            ((float *)w->v.data)[i * N + i] = (float)k + 1;
    }
    return LMF_OK;
}

/* y = sum of x times each of the weights w<first> .. w<last> */
static lmf_status make(lmf_ctx *ctx, int first, int last, lmf_graph **out)
{
    lmf_graph *g;
    lmf_tensor *y = NULL;
    LMF_TRY(lmf_graph_create(ctx, out));
    g = *out;
    lmf_tensor *x = lmf_graph_tensor(g, LMF_INPUT, "x", LMF_F32, 2, (int64_t[]){ 2, N });
    for (int k = first; k <= last; k++) {
        char name[4] = { 'w', (char)('0' + k), 0 };
        lmf_tensor *z = lmf_matmul_nt(g, x, lmf_graph_tensor(g, LMF_WEIGHT, name, LMF_F32, 2, (int64_t[]){ N, N }));
        y = y ? lmf_add(g, y, z) : z;
    }
    lmf_graph_output(g, "y", y);
    return lmf_graph_finish(g);
}

typedef struct job { lmf_graph *g; lmf_plan *p; } job;
static lmf_status job_open(lmf_device *dev, lmf_weights *set, int first, int last, job *j)
{
    LMF_TRY(make(dev->ctx, first, last, &j->g));
    LMF_TRY(lmf_plan_create(dev, &j->g, 1, NULL, &j->p));
    return lmf_plan_bind(j->p, &set, 1);
}

static void job_close(job *j)
{
    lmf_plan_destroy(j->p);
    lmf_graph_destroy(j->g);
    *j = (job){ 0 };
}

static float answer(lmf_ctx *ctx, const job *j)
{
    float *x = lmf_plan_io(j->p, 0, "x");
    for (int i = 0; i < 2 * N; i++)
        x[i] = (float)i;
    assert_ok(ctx, lmf_plan_run(j->p, 0));
    assert_ok(ctx, lmf_plan_wait(j->p, 0));
    const float *y = lmf_plan_io(j->p, 0, "y");
    for (int i = 1; i < 2 * N; i++)
        assert_true(y[i] == y[1] * (float)i);
    return y[1];
}

/* Three plans of one set: each brings what nobody brought, whatever the order in which they go. */
static void once_for_all_plans(void **state)
{
    static const char *const names[] = { "cpu", "null", "far" };
    enum { ONE = N * N * 4 };
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_weights *set;
    lmf_device_weights *w;
    lmf_device *dev;
    far_tables(ctx);
    assert_ok(ctx, unit_set(ctx, &set));
    for (int d = 0; d < 3; d++) {
        job a, b, c;
        size_t one = d == 0 ? 0 : ONE; /* a multiple of 256 */
        assert_ok(ctx, lmf_device_open(ctx, names[d], &dev));
        assert_ok(ctx, job_open(dev, set, 0, 1, &a));
        size_t of_a = dev->asked_bytes, own = lmf_plan_bytes(a.p) - 2 * one;
        assert_int_equal(of_a, lmf_plan_bytes(a.p));
        assert_int_equal(lmf_plan_memory(a.p)->weight, 2 * one);
        assert_int_equal(lmf_plan_memory(a.p)->mapped, d == 0 ? 2 * ONE : 0);
        assert_int_equal(lmf_plan_memory(a.p)->shared, 0);
        assert_ok(ctx, job_open(dev, set, 0, 1, &b)); /* nothing new but its own step, inputs and outputs */
        assert_int_equal(lmf_plan_memory(b.p)->shared, 2 * one);
        assert_int_equal(lmf_plan_bytes(b.p), own);
        assert_int_equal(dev->asked_bytes, of_a + own);
        assert_ok(ctx, job_open(dev, set, 1, 2, &c)); /* w2 is new */
        assert_int_equal(lmf_plan_memory(c.p)->shared, one);
        assert_int_equal(dev->asked_bytes, of_a + own + lmf_plan_bytes(c.p));
        assert_ok(ctx, lmf_device_weights_borrow(dev, set, &w));
        assert_int_equal(lmf_device_weights_n_borrowers(w), 4);
        assert_int_equal(lmf_device_weights_bytes(w), 3 * one);
        assert_true(lmf_device_weights_at(w, 2) && !lmf_device_weights_at(w, 3));
        lmf_device_weights_return(w);
        if (d != 1)
            assert_true(answer(ctx, &a) == 3 && answer(ctx, &c) == 5 && answer(ctx, &b) == 3);
        job_close(&a); /* who brought them goes first */
        if (d != 1)
            assert_true(answer(ctx, &b) == 3 && answer(ctx, &c) == 5);
        job_close(&b);
        job_close(&c);
        assert_int_equal(dev->asked_bytes + dev->asked_host_bytes, 0);
        assert_null(dev->weights);
        lmf_device_close(dev);
    }
    lmf_weights_destroy(set);
    lmf_device_weights_return(NULL);
    lmf_test_ctx_done(ctx);
}

/* Copies are those of the version that was there when they were made, until they are made again: for all plans at once. */
static void a_new_version(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_weights *set;
    lmf_device *dev;
    job a, b, late;
    far_tables(ctx);
    assert_ok(ctx, unit_set(ctx, &set));
    assert_ok(ctx, lmf_device_open(ctx, "far", &dev));
    assert_ok(ctx, job_open(dev, set, 0, 0, &a));
    assert_ok(ctx, job_open(dev, set, 0, 1, &b));
    float *w0 = lmf_weights_find(set, "w0")->v.data;
    for (int i = 0; i < N; i++)
        w0[i * N + i] = 10;
    assert_true(answer(ctx, &a) == 1 && answer(ctx, &b) == 3);
    far_now.n_copies = 0;
    assert_ok(ctx, lmf_plan_update_weights(b.p)); /* the same version: nothing to do */
    assert_int_equal(far_now.n_copies, 0);
    set->version++;
    assert_ok(ctx, lmf_plan_update_weights(b.p));
    assert_int_equal(far_now.n_copies, 2); /* what is there: w0 and w1 */
    assert_ok(ctx, lmf_plan_update_weights(a.p));
    assert_int_equal(far_now.n_copies, 2); /* it has been done */
    assert_true(answer(ctx, &a) == 10 && answer(ctx, &b) == 12);
    for (int i = 0; i < N; i++)
        w0[i * N + i] = 20;
    set->version++;
    assert_ok(ctx, job_open(dev, set, 0, 0, &late)); /* a new borrower sees the newest */
    assert_true(answer(ctx, &late) == 20 && answer(ctx, &a) == 20);
    job_close(&a);
    job_close(&b);
    job_close(&late);
    lmf_device_close(dev);
    lmf_weights_destroy(set);
    lmf_test_ctx_done(ctx);
}

static lmf_status two_plans(lmf_ctx *ctx, void *arg)
{
    job a = { 0 }, b = { 0 };
    lmf_weights *set = NULL;
    lmf_device *dev = NULL;
    (void)arg;
    lmf_status s = unit_set(ctx, &set);
    if (!s)
        s = lmf_device_open(ctx, "null", &dev);
    if (!s)
        s = job_open(dev, set, 0, 1, &a);
    if (!s)
        s = job_open(dev, set, 1, 2, &b);
    if (a.p || b.p)
        assert_true(dev->asked_bytes <= lmf_plan_bytes(a.p) + (b.p ? lmf_plan_bytes(b.p) : 0));
    job_close(&b);
    job_close(&a);
    if (dev) {
        assert_int_equal(dev->asked_bytes + dev->asked_host_bytes, 0);
        assert_null(dev->weights);
    }
    lmf_device_close(dev);
    lmf_weights_destroy(set);
    return s;
}

static void each_call_fails_once(void **state)
{
    (void)state;
    assert_true(lmf_test_fail_each_call(two_plans, NULL) > 30);
}

/* A copy that fails is no copy: the next plan makes it. */
static int fail_copies; /* of this program: a test may count in globals */
static lmf_status failing_copy(lmf_device *dev, lmf_stream *s, void *dst, const void *src, size_t bytes)
{
    if (fail_copies > 0 && --fail_copies == 0)
        return LMF_FAIL(dev->ctx, LMF_E_DEVICE, "the copy failed");
    return far_copy(dev, s, dst, src, bytes);
}

static void a_copy_that_failed(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_weights *set;
    lmf_device *dev;
    job a = { 0 }, b = { 0 }, c = { 0 };
    far_tables(ctx);
    assert_ok(ctx, unit_set(ctx, &set));
    assert_ok(ctx, lmf_device_open(ctx, "far", &dev));
    assert_ok(ctx, job_open(dev, set, 0, 0, &a));
    far_ops.copy = failing_copy;
    fail_copies = 2;
    assert_refused(ctx, LMF_E_DEVICE, "the copy failed", job_open(dev, set, 1, 2, &b));
    far_ops.copy = far_copy;
    assert_ok(ctx, job_open(dev, set, 1, 2, &c));
    assert_true(answer(ctx, &a) == 1 && answer(ctx, &c) == 5);
    job_close(&a);
    job_close(&b);
    job_close(&c);
    lmf_device_close(dev);
    lmf_weights_destroy(set);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(device_weights) = {
    { "weights lie on a device once", once_for_all_plans },
    { "a new version is copied again", a_new_version },
    { "a failed copy is made again", a_copy_that_failed },
    { "every failing call is survived", each_call_fails_once },
    { 0 }
};
