/* SPDX-License-Identifier: Apache-2.0 */
/* The op harness tested: a mistake is planted in an op or a kernel row of its own, and the harness must catch it for the
 * right reason. The sound rows must pass, else every plant would be "caught". */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "base/team.h"
#include "op_harness.h"
#include "ops/add/add.h"
#include "test.h"
#include "test_config.h"

extern const lmf_tables lmf_all_tables;

/* ---- a sound op: plant: (x [.., D], w [D]) -> y = a x w, row by row, and its gradient ---- */
typedef struct plant_attrs { float a; } plant_attrs;
static const lmf_field fields[] = { { "a", LMF_FIELD_F32, offsetof(plant_attrs, a), "", 0.001, 100 }, { 0 } };
extern const lmf_op op_plant_bwd;

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_view *x = &n->in[0]->v, *w = &n->in[1]->v;
    if (w->n_dims != 1 || w->dim[0] != x->dim[x->n_dims - 1])
        return lmf_refuse(g, n, LMF_E_SHAPE, "w has the width of x");
    lmf_out_like(n, 0, n->in[0], LMF_F32);
    return LMF_OK;
}

static lmf_status ref(const lmf_call *c)
{
    int64_t d = c->in[1].dim[0];
    for (int64_t i = 0; i < lmf_view_count(&c->in[0]); i++)
        lmf_set(&c->out[0], i, (double)((const plant_attrs *)c->attrs)->a * lmf_get(&c->in[0], i) * lmf_get(&c->in[1], i % d));
    return LMF_OK;
}

static lmf_status grad_with(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in, bool wrong, bool forget)
{
    plant_attrs a = *(const plant_attrs *)n->attrs;
    if (wrong)
        a.a *= 1.001f;
    lmf_node *b = lmf_node_add(g, &op_plant_bwd, &a, (lmf_tensor *[]){ n->in[0], n->in[1], d_out[0] }, 3);
    for (int i = 0; b && i < 2; i++)
        if (n->in[i]->needs_grad && forget)
            d_in[i] = b->out[i];
        else if (n->in[i]->needs_grad)
            lmf_grad_add(g, &d_in[i], b->out[i]);
    return g->status;
}
static lmf_status grad(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in) { return grad_with(g, n, d_out, d_in, false, false); }
static lmf_status grad_wrong(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in) { return grad_with(g, n, d_out, d_in, true, false); }
static lmf_status grad_forgets(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in) { return grad_with(g, n, d_out, d_in, false, true); }
static lmf_status grad_none(lmf_graph *g, const lmf_node *n, lmf_tensor *const *d_out, lmf_tensor **d_in) { (void)n, (void)d_out, (void)d_in; return g->status; }

static lmf_status bwd_infer(lmf_graph *g, lmf_node *n)
{
    (void)g;
    lmf_out_like(n, 0, n->in[0], LMF_F32);
    lmf_out_like(n, 1, n->in[1], LMF_F32);
    return LMF_OK;
}

static lmf_status bwd_ref(const lmf_call *c)
{
    double a = (double)((const plant_attrs *)c->attrs)->a;
    int64_t d = c->in[1].dim[0];
    for (int64_t i = 0; i < d; i++) {
        double sum = 0;
        for (int64_t e = i; e < lmf_view_count(&c->in[0]); e += d) {
            sum += a * lmf_get(&c->in[0], e) * lmf_get(&c->in[2], e);
            lmf_set(&c->out[0], e, a * lmf_get(&c->in[1], i) * lmf_get(&c->in[2], e));
        }
        lmf_set(&c->out[1], i, sum);
    }
    return LMF_OK;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    *flops = 2 * (double)lmf_view_count(&n->in[0]->v);
    *bytes = 4 * *flops;
}

#define PLANT .name = "plant", .n_in_min = 2, .n_in_max = 2, .n_out = 1, .attr_bytes = sizeof(plant_attrs), .fields = fields, \
              .infer = infer, .cost = cost
static const lmf_op op_plant = { PLANT, .grad = grad, .ref = ref };
const lmf_op op_plant_bwd = { .name = "plant_bwd", .n_in_min = 3, .n_in_max = 3, .n_out = 2, .attr_bytes = sizeof(plant_attrs),
                              .fields = fields, .infer = bwd_infer, .ref = bwd_ref };

/* ---- rows: the sound one, with one mistake each ---- */
typedef enum mistake { NONE, OVERRUN, UNDERRUN, SCRATCH_OVERRUN, BY_WORKERS, ONE_ELEMENT, LAST_UNWRITTEN, INPUT_CHANGED, INPUT_GUARD, DIRTY_SCRATCH,
                       BY_ROWS, IGNORES_STRIDE, FAILS, NAN_OUT, IN_PLAN, ALLOCATES, COARSE } mistake;
static lmf_ctx *judged; /* what ALLOCATES takes from */

static lmf_status run_with(const lmf_call *c, const lmf_worker *wk, mistake m)
{
    const lmf_view *x = &c->in[0];
    int64_t rows = lmf_view_rows(x), d = c->in[1].dim[0], begin, end, n = rows * d;
    int64_t stride = x->n_dims > 1 ? x->stride[x->n_dims - 2] : d;
    float a = ((const plant_attrs *)c->attrs)->a, *y = c->out[0].data, *xs = x->data, *scratch = c->scratch;
    bool first = wk->i_worker == 0;
    if (m == IGNORES_STRIDE)
        stride = d;
    if (m == BY_WORKERS)
        a *= wk->n_workers == 7 ? 1 + 2e-7f : 1;
    if (m == COARSE)
        a *= 1 + 8e-6f;
    if (m == BY_ROWS)
        a *= 1 + 2e-7f * (float)rows;
    lmf_split(rows, 1, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t t = begin; t < end; t++)
        for (int64_t i = 0; i < d; i++)
            if (m != LAST_UNWRITTEN || t * d + i != n - 1)
                y[t * d + i] = a * xs[t * stride + i] * ((const float *)c->in[1].data)[i];
    if (begin <= rows - 1 && rows - 1 < end && n > 1) {
        if (m == ONE_ELEMENT)
            y[n - 2] *= 1.001f;
        if (m == NAN_OUT)
            y[n - 1] = NAN;
        if (m == DIRTY_SCRATCH) /* adds up in memory that nobody cleared */
            y[n - 1] += isfinite(scratch[0]) ? scratch[0] * 1e10f : 0;
    }
    if (first && m == OVERRUN)
        y[n] = 1;
    if (first && m == UNDERRUN)
        y[-1] = 1;
    if (first && m == SCRATCH_OVERRUN)
        scratch[16] = 1;
    if (first && m == INPUT_CHANGED)
        xs[0] += 1;
    if (first && m == INPUT_GUARD)
        ((float *)c->in[1].data)[d] = 1;
    if (first && m == IN_PLAN && c->out[0].cls == LMF_OUTPUT)
        y[0] += 1;
    if (first && m == ALLOCATES)
        lmf_free(judged, lmf_alloc(judged, 8), 8);
    return m == FAILS ? LMF_E_DEVICE : LMF_OK;
}

static size_t scratch(const lmf_call *c, const lmf_device *dev) { (void)c, (void)dev; return 64; }

#define ROW(m) static lmf_status run_##m(const lmf_call *c, const lmf_worker *w) { return run_with(c, w, m); }                        \
    static const lmf_kernel rows_##m[] = { { .name = "plant_" #m, .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .scratch = scratch, \
                                             .run = run_##m }, { 0 } };
ROW(NONE) ROW(OVERRUN) ROW(UNDERRUN) ROW(SCRATCH_OVERRUN) ROW(BY_WORKERS) ROW(ONE_ELEMENT) ROW(LAST_UNWRITTEN) ROW(INPUT_CHANGED)
ROW(INPUT_GUARD) ROW(DIRTY_SCRATCH) ROW(BY_ROWS) ROW(IGNORES_STRIDE) ROW(FAILS) ROW(NAN_OUT) ROW(IN_PLAN) ROW(ALLOCATES) ROW(COARSE)

static const lmf_op_case sound = { "plant", "sound", "x!:f32[5,7] w!:f32[7]", "a=0.75", "normal" };

/* Runs one case over an op and rows of the test's own; the harness's verdict is in *h. */
static void judge(const lmf_op *op, const lmf_kernel *rows, const lmf_op_case *row, lmf_harness *h)
{
    const lmf_op *ops[] = { op, &op_plant_bwd, &lmf_op_add, NULL };
    const struct lmf_cpu_rows cpu_rows[] = { { "plant", rows }, { NULL, NULL } };
    lmf_tables tables = lmf_all_tables;
    tables.ops = ops;
    tables.cpu_rows = cpu_rows;
    lmf_ctx *ctx = judged = lmf_test_ctx_with(&tables);
    assert_ok(ctx, lmf_harness_init(h, ctx, 0));
    h->quiet = true;
    lmf_harness_case(h, op, row);
    if (!h->n_failed)
        lmf_harness_plan(h, op, row, "cpu", 5);
    lmf_harness_clear(h);
    lmf_test_ctx_done(ctx);
}

static void caught(const lmf_op *op, const lmf_kernel *rows, const lmf_op_case *row, const char *reason, const char *words)
{
    lmf_harness h;
    judge(op, rows, row, &h);
    if (!h.n_failed)
        fail_msg("%s was not caught: %d checks passed", rows ? rows->name : op->name, h.n_passed);
    if (strcmp(h.reason, reason) || !strstr(h.text, words))
        fail_msg("%s: caught as %s (%s), not as %s (%s)", rows->name, h.reason, h.text, reason, words);
}

static void passes(const lmf_op *op, const lmf_kernel *rows, const lmf_op_case *row, int least_checks)
{
    lmf_harness h;
    judge(op, rows, row, &h);
    if (h.n_failed)
        fail_msg("%s \"%s\": %s: %s", op->name, row->name, h.reason, h.text);
    assert_in_range(h.n_passed, least_checks, 100000);
}

static void sound_rows_pass(void **state)
{
    (void)state;
    const lmf_op_case more[] = {
        { "plant", "strided", "x!:f32[5,7]/9 w!:f32[7]", "a=0.75", "uniform" }, { "plant", "no rows", "x!:f32[0,7] w!:f32[7]", "a=1", "small" },
        { "plant", "no columns", "x:f32[3,0] w:f32[0]", "a=1", "normal" },    { "plant", "one", "x!:f32[1] w!:f32[1]", "a=2", "positive" },
        { "plant", "three dims", "x!:f32[2,3,4]/6 w!:f32[4]", "a=1e1", "normal" },
    };
    passes(&op_plant, rows_NONE, &sound, 150);
    for (size_t i = 0; i < sizeof more / sizeof *more; i++)
        passes(&op_plant, rows_NONE, &more[i], 100);
}

static void planted_rows_are_caught(void **state)
{
    (void)state;
    static const lmf_op_case strided = { "plant", "strided", "x:f32[5,7]/9 w:f32[7]", "a=0.75", "normal" };
    caught(&op_plant, rows_OVERRUN, &sound, "guard-output", "behind out[0]");
    caught(&op_plant, rows_UNDERRUN, &sound, "guard-output", "before out[0]");
    caught(&op_plant, rows_SCRATCH_OVERRUN, &sound, "guard-scratch", "behind the scratch");
    caught(&op_plant, rows_BY_WORKERS, &sound, "workers", "7 workers");
    caught(&op_plant, rows_ONE_ELEMENT, &sound, "reference", "out[0] element 33 is");
    caught(&op_plant, rows_NAN_OUT, &sound, "reference", "out[0] element 34 is");
    caught(&op_plant, rows_LAST_UNWRITTEN, &sound, "unwritten", "out[0] element 34 ");
    caught(&op_plant, rows_INPUT_CHANGED, &sound, "input-changed", "of input x");
    caught(&op_plant, rows_INPUT_GUARD, &sound, "guard-input", "behind w");
    caught(&op_plant, rows_DIRTY_SCRATCH, &sound, "repeat", "element 34");
    caught(&op_plant, rows_BY_ROWS, &sound, "invariant", "rows 0 to 1");
    caught(&op_plant, rows_IGNORES_STRIDE, &strided, "reference", "out[0] element");
    caught(&op_plant, rows_FAILS, &sound, "status", "E_DEVICE");
    caught(&op_plant, rows_IN_PLAN, &sound, "plan", "out[0] element 0 is");
    caught(&op_plant, rows_ALLOCATES, &sound, "plan", "replays allocated 5 times");
}

/* A row that is 8e-6 off is within what its type allows; the promise of its header is what tells. */
static void promises_are_held(void **state)
{
    (void)state;
    static const struct { const char *error, *words; } kept[] = { { "1e-5" }, { "2e-6 + 8e-6 max x" }, { "9e-6 mag" }, { "5e-6 n mag + 4e-6 mag" }, { "1e-4 rms" } },
        broken[] = { { "2e-6", "out[0] element" }, { "2e-6 mag", "out[0] element" }, { "0", "out[0] element" }, { "1e-7 rms", "out[0] element" }, { "1e-7 max x", "out[0] element" },
                     { "1e-7 w", "out[0] element" } },
        unread[] = { { "two", "expected a number" }, { "-1", "expected a number" }, { "1e-6 z", "\"z\" is no unit" }, { "1e-6; 2e-6", "more promises than" },
                     { "1 + 1 + 1 + 1 + 1", "fewer terms" } };
    lmf_op_case row = { "plant", "promise", "x:f32[5,7] w:f32[7]", "a=0.75", "normal" };
    passes(&op_plant, rows_COARSE, &row, 100);
    for (size_t i = 0; i < sizeof kept / sizeof *kept; i++)
        row.error = kept[i].error, passes(&op_plant, rows_COARSE, &row, 100);
    for (size_t i = 0; i < sizeof broken / sizeof *broken; i++)
        row.error = broken[i].error, caught(&op_plant, rows_COARSE, &row, "reference", broken[i].words);
    for (size_t i = 0; i < sizeof unread / sizeof *unread; i++)
        row.error = unread[i].error, caught(&op_plant, rows_NONE, &row, "case", unread[i].words);
    row.error = "2e-7";
    passes(&op_plant, rows_NONE, &row, 100);
}

static void planted_gradients_are_caught(void **state)
{
    (void)state;
    static const lmf_op wrong = { PLANT, .grad = grad_wrong, .ref = ref }, forgets = { PLANT, .grad = grad_forgets, .ref = ref },
                        none = { PLANT, .grad = grad_none, .ref = ref }, missing = { PLANT, .ref = ref };
    caught(&wrong, rows_NONE, &sound, "gradient", "by differences");
    caught(&forgets, rows_NONE, &sound, "gradient", "was not added to the sum so far");
    caught(&none, rows_NONE, &sound, "gradient", "flows to x");
    caught(&missing, rows_NONE, &sound, "gradient", "has no gradient");
}

/* ---- references and shape rules with mistakes ---- */
static lmf_status ref_short(const lmf_call *c)
{
    lmf_view x = c->in[0];
    if (lmf_view_count(&x) > 1)
        lmf_set(&c->out[0], 0, 1);
    return LMF_OK;
}
static lmf_status ref_overrun(const lmf_call *c)
{
    lmf_status s = ref(c);
    ((float *)c->out[0].data)[lmf_view_count(&c->out[0])] = 3;
    return s;
}
static lmf_status infer_all(lmf_graph *g, lmf_node *n) { (void)g; lmf_out_like(n, 0, n->in[0], LMF_F32); return LMF_OK; }
static lmf_status infer_dtype(lmf_graph *g, lmf_node *n) { return lmf_refuse(g, n, LMF_E_DTYPE, "no"); }
static lmf_status infer_mumbles(lmf_graph *g, lmf_node *n) { (void)n; return g->status = LMF_FAIL(g->ctx, LMF_E_SHAPE, "no"); }

static void planted_descriptors_are_caught(void **state)
{
    (void)state;
    static const lmf_op_case bad = { "plant", "w too long", "x:f32[5,7] w:f32[8]", "a=1", "refused:E_SHAPE" },
                             partial = { "plant", "partial", "x:f32[5,7] w:f32[7]", "a=1", "normal partial" };
    lmf_op op = op_plant;
    passes(&op, rows_NONE, &bad, 2);
    op.infer = infer_all;
    caught(&op, rows_NONE, &bad, "refusal", "accepted, where E_SHAPE");
    op.infer = infer_dtype;
    caught(&op, rows_NONE, &bad, "refusal", "E_DTYPE, not E_SHAPE");
    caught(&op, rows_NONE, &sound, "infer", "refused");
    op.infer = infer_mumbles;
    caught(&op, rows_NONE, &bad, "refusal", "does not name the op");
    op = op_plant;
    op.ref = ref_short;
    caught(&op, rows_NONE, &sound, "unwritten", "say partial");
    caught(&op, rows_NONE, &partial, "reference", "element 0 is");
    op.ref = ref_overrun;
    caught(&op, rows_NONE, &sound, "guard-output", "behind out[0]");
    op.ref = NULL;
    caught(&op, rows_NONE, &sound, "reference", "has no reference");
}

static lmf_status expand_right(lmf_graph *g, const lmf_node *n, lmf_tensor **out)
{
    out[0] = lmf_node_add1(g, &op_plant, n->attrs, n->in, n->n_in);
    return g->status;
}
static lmf_status expand_wrong(lmf_graph *g, const lmf_node *n, lmf_tensor **out)
{
    plant_attrs a = { ((const plant_attrs *)n->attrs)->a * 1.01f };
    out[0] = lmf_node_add1(g, &op_plant, &a, n->in, n->n_in);
    return g->status;
}

static void planted_expansion_is_caught(void **state)
{
    (void)state;
    lmf_op op = op_plant;
    op.expand = expand_right;
    passes(&op, rows_NONE, &sound, 150);
    op.expand = expand_wrong;
    caught(&op, rows_NONE, &sound, "expand", "out[0] element");
}

/* ---- an op that writes its input in place: y = x; y += w on each row ---- */
static lmf_status into_infer(lmf_graph *g, lmf_node *n) { (void)g, (void)n; return LMF_OK; }
static lmf_status into_ref(const lmf_call *c)
{
    for (int64_t i = 0; i < lmf_view_count(&c->in[0]); i++)
        lmf_set(&c->out[0], i, lmf_get(&c->in[0], i) + lmf_get(&c->in[1], i % c->in[1].dim[0]));
    return LMF_OK;
}
static lmf_status into_run(const lmf_call *c, const lmf_worker *wk)
{
    int64_t d = c->in[1].dim[0], begin, end;
    lmf_split(lmf_view_rows(&c->in[0]), 1, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t i = begin * d; i < end * d; i++)
        ((float *)c->out[0].data)[i] += ((const float *)c->in[1].data)[i % d];
    return LMF_OK;
}
static lmf_status into_twice(const lmf_call *c, const lmf_worker *wk)
{
    return into_run(c, wk) ? LMF_E_INTERNAL : into_run(c, wk);
}

static void ops_in_place(void **state)
{
    (void)state;
    static const lmf_op into = { .name = "plant", .n_in_min = 2, .n_in_max = 2, .n_out = 1, .writes = { 1 }, .infer = into_infer, .ref = into_ref };
    static const lmf_kernel good[] = { { .name = "into", .flags = LMF_ROW_ANY_WORKERS, .run = into_run }, { 0 } },
                            twice[] = { { .name = "into_twice", .flags = LMF_ROW_ANY_WORKERS, .run = into_twice }, { 0 } };
    static const lmf_op_case row = { "plant", "in place", "x:f32[9,6] w:f32[6]", "", "normal" };
    passes(&into, good, &row, 100);
    caught(&into, twice, &row, "reference", "out[0] element");
}

/* ---- the text of a case ---- */
static void case_texts(void **state)
{
    (void)state;
    static const struct { const char *inputs, *attrs, *draw, *words; } bad[] = {
        { "x:f32[2,2", "", "normal", "no ] behind" },        { "x:f33[2]", "", "normal", "no format is called \"f33\"" },
        { "x", "", "normal", "expected name:dtype[dims]" },  { "x:i32[2]", "", "normal", "integers need" },
        { "x:i32[3]=1,2", "", "normal", "does not give 3" }, { "x:i32[1]=1,2", "", "normal", "does not give 1" },
        { "x:f32[2,4]/3", "", "normal", "at least the width" }, { "x:f32[-1]", "", "normal", "0 or more each" },
        { "x!:i32[2]<4", "", "normal", "marks a float" },    { "x:f32[2]", "b=1", "normal", "no attribute \"b\"" },
        { "x:f32[2]", "a=one", "normal", "is neither a number nor a format" },   { "x:f32[2]", "a=1", "typical", "what is \"typical\"" },
        { "x:f32[2]", "a=1", "refused:E_NOTHING", "no status" },
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        caught(&op_plant, rows_NONE, &(lmf_op_case){ "plant", "bad text", bad[i].inputs, bad[i].attrs, bad[i].draw }, "case", bad[i].words);
}

static void case_values(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_harness h = { .ctx = ctx };
    lmf_case c, again;
    const lmf_op_case row = { "plant", "values", "x:f32[20,50]/64 i:i32[6]=3,5,... k:i64[2]=-1,7 l:i32[500]<3 s:f32[3]=0.5 - q:q8_0[2,32] h:bf16[40]",
                              "a=0.25", "normal tol=0.5 partial cut" };
    assert_true(lmf_case_open(&h, &op_plant, &row, &c));
    assert_true(lmf_case_open(&h, &op_plant, &row, &again));
    assert_int_equal(c.n_in, 8);
    assert_true(c.partial && c.cut && c.tol == 0.5 && ((plant_attrs *)c.attrs)->a == 0.25f && c.in[5].absent);
    double mean = 0, square = 0;
    for (int i = 0; i < 1000; i++) {
        double x = lmf_get(&c.in[0].v, i);
        mean += x / 1000, square += x * x / 1000;
        assert_true(x == lmf_get(&again.in[0].v, i)); /* the same text gives the same numbers */
    }
    assert_true(fabs(mean) < 0.15 && fabs(square - 1) < 0.2);
    assert_int_equal(c.in[0].bytes, (19 * 64 + 50) * 4);
    assert_true(isnan(((float *)c.in[0].v.data)[50])); /* the gap behind a row */
    for (int i = 0; i < 6; i++)
        assert_int_equal(lmf_get_int(&c.in[1].v, i), 3 + 2 * i);
    assert_int_equal(lmf_get_int(&c.in[2].v, 0), -1);
    int seen[3] = { 0 };
    for (int i = 0; i < 500; i++)
        seen[lmf_get_int(&c.in[3].v, i)]++; /* ASan or the stack protector would see a value past the limit */
    assert_true(seen[0] > 100 && seen[1] > 100 && seen[2] > 100);
    assert_true(lmf_get(&c.in[4].v, 2) == 0.5);
    assert_int_equal(c.in[6].bytes, 2 * 34);
    assert_true(fabs(lmf_get(&c.in[6].v, 5)) < 6);
    lmf_case_close(&c);
    lmf_case_close(&again);
    lmf_test_ctx_done(ctx);
}

/* ---- test.h's own helpers ---- */
static lmf_status leaky(lmf_ctx *ctx, void *arg)
{
    void *p = lmf_alloc(ctx, 24);
    if (!p)
        return LMF_NO_MEMORY(ctx, 24, "a test");
    void *q = lmf_alloc(ctx, 8);
    if (!q) {
        if (!arg)
            lmf_free(ctx, p, 24);
        return LMF_NO_MEMORY(ctx, 8, "a test");
    }
    lmf_free(ctx, p, 24);
    lmf_free(ctx, q, 8);
    return LMF_OK;
}

static void memory_is_counted(void **state)
{
    (void)state;
    char text[256];
    lmf_ctx *ctx = lmf_test_ctx();
    void *p = lmf_alloc(ctx, 100);
    assert_non_null(p);
    assert_int_equal(lmf_test_ctx_blocks(ctx), 1);
    assert_int_equal(ctx->live_bytes, 100);
    assert_false(lmf_test_ctx_drop(ctx, text, sizeof text));
    assert_non_null(strstr(text, "1 blocks were not given back: 100 bytes"));
    ctx = lmf_test_ctx();
    p = lmf_alloc(ctx, 100);
    lmf_free(ctx, p, 99);
    assert_string_equal(lmf_test_ctx_fault(ctx), "a block of 100 bytes came back as one of 99");
    assert_false(lmf_test_ctx_drop(ctx, text, sizeof text));
    assert_int_equal(lmf_test_fail_each_call(leaky, NULL), 2);
}

static void paths_are_fresh(void **state)
{
    (void)state;
    const char *a = lmf_test_path("f.bin"), *b = lmf_test_path("f.bin");
    assert_string_not_equal(a, b);
    assert_string_equal(strrchr(a, '/'), "/f.bin");
    FILE *f = fopen(a, "w");
    assert_non_null(f);
    fclose(f);
    f = fopen(lmf_test_source_path("tests/harness/test.h"), "r");
    assert_non_null(f);
    fclose(f);
}

LMF_TESTS(harness) = {
    { "sound rows pass", sound_rows_pass }, { "planted rows are caught", planted_rows_are_caught },
    { "promises are held", promises_are_held },
    { "planted gradients are caught", planted_gradients_are_caught }, { "planted descriptors are caught", planted_descriptors_are_caught },
    { "planted expansion is caught", planted_expansion_is_caught }, { "ops in place", ops_in_place }, { "case texts", case_texts },
    { "case values", case_values }, { "memory is counted", memory_is_counted }, { "paths are fresh", paths_are_fresh }, { 0 }
};
