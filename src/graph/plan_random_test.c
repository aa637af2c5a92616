/* SPDX-License-Identifier: Apache-2.0 */
/* Planner and devices on random graphs: the plan's bytes are exact, nothing alive is overwritten, workers don't change bits. */
#include "random_graph_test.h"
#include "device/null/null.h"

enum { N_GRAPHS = 1000, ALIGNMENT = 256 };

static size_t bytes_of(const lmf_tensor *t) { return lmf_format_bytes(t->v.fmt, lmf_view_count(&t->v)); }

static lmf_tensor *owner(lmf_tensor *t)
{
    while (t->base)
        t = t->base;
    return t;
}

/* When each tensor of the arena lives, worked out from the graph alone: first[] and last[] by tensor index. */
static void lives(const lmf_graph *g, int *first, int *last)
{
    for (int i = 0; i < g->n_tensors; i++)
        first[i] = INT32_MAX, last[i] = -1;
    for (int i = 0; i < g->n_nodes; i++)
        for (int k = 0; k < g->nodes[i]->n_in + g->nodes[i]->n_out; k++) {
            lmf_tensor *t = k < g->nodes[i]->n_in ? g->nodes[i]->in[k] : g->nodes[i]->out[k - g->nodes[i]->n_in];
            if (!t || owner(t)->v.cls != LMF_STEP)
                continue;
            int at = owner(t)->index;
            first[at] = i < first[at] ? i : first[at];
            last[at] = i;
        }
}

/* Index of the first placed pair that is alive at once on common bytes, or -1. */
static int overlapping(const lmf_placed *p, int n)
{
    for (int i = 0; i < n; i++)
        for (int k = 0; k < i; k++)
            if (p[i].first <= p[k].last && p[k].first <= p[i].last && p[i].offset < p[k].offset + p[k].bytes && p[k].offset < p[i].offset + p[i].bytes)
                return i;
    return -1;
}

/* Placed tensors are those of the graph, with their sizes and lifetimes; scratch is beside them. */
static void check_placed(const random_graph *r, const lmf_plan *plan, size_t *peak)
{
    const lmf_placed *p;
    int n = lmf_plan_placed(plan, 0, &p), at = 0, *first = malloc(sizeof(int) * 2 * (size_t)r->g->n_tensors), *last = first + r->g->n_tensors;
    assert_non_null(first);
    lives(r->g, first, last);
    for (int i = 0; i < r->g->n_tensors; i++) {
        if (last[i] < 0 || !bytes_of(r->g->tensors[i]))
            continue;
        assert_true(at < n && !p[at].scratch);
        assert_int_equal(p[at].bytes, bytes_of(r->g->tensors[i]));
        assert_int_equal(p[at].first, first[i]);
        assert_int_equal(p[at].last, last[i]);
        assert_int_equal(p[at].offset % ALIGNMENT, 0);
        at++;
    }
    for (; at < n; at++)
        assert_true(p[at].scratch && p[at].first == p[at].last);
    assert_int_equal(overlapping(p, n), -1);
    *peak = 0;
    for (int c = 0; c < r->g->n_nodes; c++) {
        size_t sum = 0;
        for (int i = 0; i < n; i++)
            sum += p[i].first <= c && c <= p[i].last ? p[i].bytes : 0;
        *peak = sum > *peak ? sum : *peak;
    }
    free(first);
}

static void plans_are_exact(void **state)
{
    double step_all = 0, peak_all = 0, sum_all = 0;
    int n_in_place = 0, n_attention = 0;
    (void)state;
    for (uint64_t seed = 0; seed < N_GRAPHS; seed++) {
        lmf_ctx *ctx = lmf_test_ctx();
        lmf_device *dev;
        lmf_plan *plan;
        random_graph r;
        size_t peak, sum = 0;
        assert_ok(ctx, random_graph_make(ctx, seed, &r));
        assert_ok(ctx, lmf_device_open(ctx, "null", &dev));
        assert_ok(ctx, lmf_plan_create(dev, &r.g, 1, NULL, &plan));
        check_placed(&r, plan, &peak);
        const lmf_memory *m = lmf_plan_memory(plan);
        assert_int_equal(dev->asked_bytes, 0);
        assert_ok(ctx, lmf_plan_bind(plan, &r.weights, 1));
        assert_int_equal(dev->asked_bytes, m->weight + m->state + m->io + m->step);
        assert_int_equal(dev->asked_bytes, lmf_plan_bytes(plan));
        assert_ok(ctx, lmf_plan_run(plan, 0));
        assert_int_equal(lmf_null_high_water(dev), m->step);
        assert_true(m->step >= peak);
        const lmf_placed *p;
        for (int i = lmf_plan_placed(plan, 0, &p) - 1; i >= 0; i--)
            sum += p[i].bytes;
        step_all += (double)m->step, peak_all += (double)peak, sum_all += (double)sum;
        for (int i = 0; i < r.g->n_nodes; i++) {
            n_in_place += r.g->nodes[i]->op == &lmf_op_accumulate;
            n_attention += r.g->nodes[i]->op == &lmf_op_attention;
        }
        lmf_plan_destroy(plan);
        assert_int_equal(dev->asked_bytes, 0);
        lmf_device_close(dev);
        random_graph_clear(&r);
        lmf_test_ctx_done(ctx);
    }
    print_message("%d graphs, %d writes in place, %d attentions: arena %.2f times what is alive at once, %.2f of all\n", N_GRAPHS, n_in_place, n_attention,
                  step_all / peak_all, step_all / sum_all);
    assert_true(n_in_place > N_GRAPHS && n_attention > N_GRAPHS / 2);
    assert_true(step_all < 2 * peak_all && step_all < 0.9 * sum_all); /* bytes are shared (tensors are tiny here, alignment counts) */
}

/* A program of the plan's calls in memory of our own choice: arena at base, named tensors elsewhere. */
enum { MAX_CALLS = 1024 };
typedef struct copy { lmf_call *calls; lmf_view *views; int n; } copy;

static copy copy_calls(const random_graph *r, const size_t *offset, uintptr_t arena)
{
    copy c = { .n = r->g->n_nodes };
    uintptr_t elsewhere = (uintptr_t)1 << 40;
    c.calls = calloc(MAX_CALLS, sizeof *c.calls);
    c.views = calloc(MAX_CALLS * 8, sizeof *c.views); /* no op here has more than 8 tensors */
    assert_true(c.calls && c.views && c.n <= MAX_CALLS);
    lmf_view *v = c.views;
    for (int i = 0; i < c.n; i++) {
        lmf_node *n = r->g->nodes[i];
        c.calls[i] = (lmf_call){ .row = &lmf_kernel_ref, .ref = n->op->ref, .attrs = n->attrs, .in = v, .out = v + n->n_in, .n_in = n->n_in, .n_out = n->n_out };
        for (int k = 0; k < n->n_in + n->n_out; k++, v++) {
            lmf_tensor *t = k < n->n_in ? n->in[k] : n->out[k - n->n_in];
            if (!t)
                continue;
            *v = t->v;
            lmf_tensor *o = owner(t);
            v->data = (void *)(o->v.cls == LMF_STEP ? arena + offset[o->index] : elsewhere + ((uintptr_t)o->index << 24));
        }
    }
    return c;
}

static lmf_status launch(lmf_device *dev, const copy *c)
{
    lmf_program *program;
    lmf_status s = dev->ops->program_create(dev, c->calls, c->n, false, &program);
    if (s)
        return s;
    s = dev->ops->program_launch(dev, NULL, program);
    dev->ops->program_destroy(dev, program);
    return s;
}

/* Two tensors of which the second is written while the first is still to be read, and is no exact twin of its bytes. */
static bool choose_victims(random_graph *r, const int *first, const int *last, int *a, int *b)
{
    for (int tries = 0; tries < 200; tries++) {
        int i = (int)pick(r, (uint32_t)r->g->n_tensors), k = (int)pick(r, (uint32_t)r->g->n_tensors);
        if (i == k || last[i] < 0 || last[k] < 0 || !bytes_of(r->g->tensors[i]) || !bytes_of(r->g->tensors[k]))
            continue;
        bool read_later = false; /* an op that only writes in place at the end reads too: all uses but the first are reads */
        read_later = last[i] > first[i] && first[k] > first[i] && first[k] <= last[i];
        if (read_later && bytes_of(r->g->tensors[i]) != bytes_of(r->g->tensors[k])) {
            *a = i, *b = k;
            return true;
        }
    }
    return false;
}

static void finds_planted_overlaps(void **state)
{
    int n_planted = 0;
    (void)state;
    for (uint64_t seed = 0; seed < 300; seed++) {
        lmf_ctx *ctx = lmf_test_ctx();
        lmf_device *dev;
        lmf_plan *plan;
        random_graph r;
        const lmf_placed *p;
        int a, b, at = 0;
        assert_ok(ctx, random_graph_make(ctx, seed, &r));
        assert_ok(ctx, lmf_device_open(ctx, "null", &dev));
        assert_ok(ctx, lmf_plan_create(dev, &r.g, 1, NULL, &plan));
        int n = lmf_plan_placed(plan, 0, &p), *first = malloc(sizeof(int) * 2 * (size_t)r.g->n_tensors), *last = first + r.g->n_tensors;
        size_t *offset = calloc((size_t)r.g->n_tensors, sizeof *offset);
        lmf_placed *mine = malloc((size_t)n * sizeof *mine + 1);
        assert_true(first && offset && mine);
        lives(r.g, first, last);
        int *place_of = calloc((size_t)r.g->n_tensors, sizeof *place_of);
        assert_non_null(place_of);
        for (int i = 0; i < r.g->n_tensors; i++)
            if (last[i] >= 0 && bytes_of(r.g->tensors[i]))
                place_of[i] = at, offset[i] = p[at++].offset;
        memcpy(mine, p, (size_t)n * sizeof *mine);
        copy c = copy_calls(&r, offset, 1 << 20);
        assert_ok(ctx, launch(dev, &c));
        free(c.calls), free(c.views);
        if (choose_victims(&r, first, last, &a, &b)) {
            n_planted++;
            offset[b] = offset[a];
            mine[place_of[b]].offset = offset[a];
            assert_true(overlapping(mine, n) >= 0);
            c = copy_calls(&r, offset, 1 << 20);
            lmf_status s = launch(dev, &c);
            if (s != LMF_E_INTERNAL || !(strstr(lmf_error(ctx), "overwritten") || strstr(lmf_error(ctx), "before anything")))
                fail_msg("graph %llu: tensor %d on the bytes of %d was not found: %s", (unsigned long long)seed, b, a, lmf_error(ctx));
            free(c.calls), free(c.views);
        }
        free(first), free(offset), free(mine), free(place_of);
        lmf_plan_destroy(plan);
        lmf_device_close(dev);
        random_graph_clear(&r);
        lmf_test_ctx_done(ctx);
    }
    assert_true(n_planted > 100);
}

/* Bytes of all outputs and states after two runs, appended to buf; returns their number. */
static size_t results(lmf_ctx *ctx, uint64_t seed, int n_workers, bool eager, unsigned char *buf, size_t cap)
{
    lmf_device *dev;
    lmf_plan *plan;
    random_graph r;
    size_t n = 0, peak;
    ctx->n_workers = n_workers;
    assert_ok(ctx, random_graph_make(ctx, seed, &r));
    assert_ok(ctx, lmf_device_open(ctx, "cpu", &dev));
    assert_int_equal(dev->n_workers, n_workers);
    assert_ok(ctx, lmf_plan_create(dev, &r.g, 1, &(lmf_plan_opts){ .eager = eager }, &plan));
    if (!eager)
        check_placed(&r, plan, &peak);
    assert_ok(ctx, lmf_plan_bind(plan, &r.weights, 1));
    assert_int_equal(dev->asked_bytes, lmf_plan_bytes(plan));
    random_graph_fill(&r, plan);
    for (int run = 0; run < 2; run++)
        assert_ok(ctx, lmf_plan_run(plan, 0));
    for (int i = 0; i < r.g->n_tensors; i++) {
        const lmf_tensor *t = r.g->tensors[i];
        if (t->base || (t->v.cls != LMF_OUTPUT && t->v.cls != LMF_STATE))
            continue;
        assert_true(n + bytes_of(t) <= cap);
        memcpy(buf + n, lmf_plan_io(plan, 0, t->name), bytes_of(t));
        n += bytes_of(t);
    }
    lmf_plan_destroy(plan);
    lmf_device_close(dev);
    random_graph_clear(&r);
    return n;
}

static void workers_give_equal_bits(void **state)
{
    enum { CAP = 1 << 20 };
    static const int workers[] = { 1, 2, 3, 7 };
    unsigned char *want = malloc(2 * CAP), *got = want + CAP;
    (void)state;
    assert_non_null(want);
    for (uint64_t seed = 0; seed < 80; seed++) {
        lmf_ctx *ctx = lmf_test_ctx();
        size_t n = results(ctx, seed, 1, true, want, CAP);
        assert_true(n > 0);
        for (size_t k = 0; k < sizeof workers / sizeof *workers; k++) {
            assert_int_equal(results(ctx, seed, workers[k], false, got, CAP), n);
            if (memcmp(want, got, n))
                fail_msg("graph %llu: %d workers give other bits than one that runs call by call", (unsigned long long)seed, workers[k]);
        }
        lmf_test_ctx_done(ctx);
    }
    free(want);
}

static lmf_status whole_life(lmf_ctx *ctx, void *arg)
{
    random_graph r = { 0 };
    lmf_device *dev = NULL;
    lmf_plan *plan = NULL;
    lmf_status s;
    LMF_TRY_TO(done, random_graph_make(ctx, 5, &r));
    LMF_TRY_TO(done, lmf_device_open(ctx, arg, &dev));
    LMF_TRY_TO(done, lmf_plan_create(dev, &r.g, 1, NULL, &plan));
    LMF_TRY_TO(done, lmf_plan_bind(plan, &r.weights, 1));
    s = lmf_plan_run(plan, 0);
done:
    lmf_plan_destroy(plan);
    lmf_device_close(dev);
    random_graph_clear(&r);
    return s;
}

static void every_call_may_fail(void **state)
{
    (void)state;
    assert_true(lmf_test_fail_each_call(whole_life, "null") > 10);
    assert_true(lmf_test_fail_each_call(whole_life, "cpu") > 10);
}

LMF_TESTS(plan_random) = {
    { "plans of 1000 random graphs are exact", plans_are_exact },
    { "finds planted overlaps", finds_planted_overlaps },
    { "workers give equal bits", workers_give_equal_bits },
    { "every call may fail", every_call_may_fail },
    { 0 }
};
