/* SPDX-License-Identifier: Apache-2.0 */
/* What every method and optimizer promises, a row a method: equal bits for any number of workers, with recomputation, resumed at any step;
 * packing changes no loss; and each differs from plain LoRA with AdamW. And what belongs to one alone. */
#include "ops/dropout/dropout.h"
#include "train/run_4bit.h"
#include "train/train_test.h"

static void drops(lmf_train_opts *o) { o->lora_dropout = 0.3; }

static void descends(lmf_train_opts *o) { o->optimizer = LMF_OPTIMIZER_SGD, o->lr = 0.5; }
static void codes(lmf_train_opts *o) { o->optimizer = LMF_OPTIMIZER_ADAMW_8BIT; }

static const struct method { const char *name; void (*set)(lmf_train_opts *o); } methods[] = {
    { "dropout", drops }, { "sgd", descends }, { "adamw_8bit", codes },
};
enum { N_METHODS = sizeof methods / sizeof *methods };

static lmf_train_opts opts_of(size_t i)
{
    lmf_train_opts o = small_opts();
    methods[i].set(&o);
    return o;
}

static void same_bits(void **state)
{
    (void)state;
    char plain[65], want[65], got[65];
    lmf_train_opts o = small_opts();
    train_to_hash(&o, 0, plain);
    for (size_t i = 0; i < N_METHODS; i++) {
        o = opts_of(i);
        train_to_hash(&o, 1, want);
        if (!strcmp(want, plain))
            fail_msg("%s trains as plain LoRA does", methods[i].name);
        static const int workers[] = { 2, 3, 7 };
        for (size_t k = 0; k < 3; k++) {
            train_to_hash(&o, workers[k], got);
            if (strcmp(want, got))
                fail_msg("%s: other bits with %d workers", methods[i].name, workers[k]);
        }
        o.recompute = true;
        train_to_hash(&o, 0, got);
        if (strcmp(want, got))
            fail_msg("%s: other bits with recomputation", methods[i].name);
        o.recompute = false;
        o.seed++;
        train_to_hash(&o, 0, got);
        assert_string_not_equal(want, got);
    }
}

static void resumed(void **state)
{
    (void)state;
    char want[65], got[65], dir[512], model[512];
    int skipped;
    snprintf(model, sizeof model, "%s", lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 2 }));
    for (size_t i = 0; i < N_METHODS; i++) {
        lmf_train_opts o = opts_of(i);
        train_to_hash(&o, 0, want);
        for (int at = 1; at < 6; at++) {
            lmf_train_stats st;
            fixture f = setup_at(model, &o);
            snprintf(dir, sizeof dir, "%s", lmf_test_path("run"));
            for (int k = 0; k < at; k++)
                assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
            assert_ok(f.ctx, lmf_trainer_save(f.t, dir, 1, "base"));
            teardown(&f);
            f = setup_at(model, &o);
            assert_ok(f.ctx, lmf_trainer_resume(f.t, dir, &skipped));
            assert_int_equal(f.t->step, at);
            run(&f, NULL);
            adapter_hash(&f, got);
            if (strcmp(want, got))
                fail_msg("%s: other bits when resumed at step %d", methods[i].name, at);
            teardown(&f);
        }
    }
}

static void packed(void **state)
{
    (void)state;
    double want[16], got[16];
    for (size_t i = 0; i < N_METHODS; i++)
        for (int micro = 0; micro < 2; micro++) {
            lmf_train_opts o = opts_of(i);
            o.micro_tok = micro ? 64 : 0;
            fixture f = setup(&o);
            run(&f, micro ? got : want);
            for (int k = 0; micro && k < o.max_steps; k++)
                if (fabs(got[k] - want[k]) > 2e-6 * want[k])
                    fail_msg("%s, step %d: loss %.9g packed, %.9g in pieces", methods[i].name, k + 1, want[k], got[k]);
            teardown(&f);
        }
}

/* ---- dropout ---- */
static void draw(int32_t step, int32_t stream, int32_t item, int32_t pos, float p, uint8_t *keep, int n)
{
    uint64_t key = lmf_dropout_row((int32_t[]){ 42, 0, step }, stream, item, pos);
    for (int k = 0; k < n; k++) {
        uint32_t r[4];
        lmf_philox4x32(key, (uint64_t)k / 4, 0, r);
        keep[k] = r[k % 4] >> 8 >= lmf_dropout_bound(p);
    }
}

/* The share is p, and masks of neighbours in each of the four numbers are independent: both within five standard deviations. */
static void draws(void **state)
{
    (void)state;
    enum { N = 2048, ROWS = 200 };
    static const float share[] = { 0.05f, 0.3f, 0.5f };
    static uint8_t a[N], b[N];
    for (size_t i = 0; i < 3; i++)
        for (int which = 0; which < 4; which++) {
            double n = (double)N * ROWS, p = (double)share[i], kept = 0, both = 0;
            for (int32_t r = 0; r < ROWS; r++) {
                draw(r, 7, 3, 11, share[i], a, N);
                draw(r + (which == 0) * 1000, 7 + (which == 1), 3 + (which == 2), 11 + (which == 3), share[i], b, N);
                for (int k = 0; k < N; k++)
                    kept += a[k], both += a[k] && b[k];
            }
            double q = (1 - p) * (1 - p);
            if (fabs(kept / n - (1 - p)) > 5 * sqrt(p * (1 - p) / n) || fabs(both / n - q) > 5 * sqrt(q * (1 - q) / n))
                fail_msg("p %g, neighbour %d: %.5f are kept, %.5f in both; %.5f and %.5f are due", p, which, kept / n, both / n, 1 - p, q);
        }
    assert_int_equal(lmf_dropout_bound(0), 0);
    assert_int_equal(lmf_dropout_bound(0.5f), 1 << 23);
}

/* Evaluation sees all: at B = 0 a dropout of its input changes nothing, later the loss is that of the adapter without gaps. */
static void evaluation_drops_nothing(void **state)
{
    (void)state;
    double loss[2];
    lmf_train_opts o = opts_of(0);
    fixture f = setup(&o), g;
    run(&f, NULL);
    char dir[512];
    snprintf(dir, sizeof dir, "%s", lmf_test_path("dropped"));
    assert_ok(f.ctx, lmf_trainer_save_adapter(f.t, dir, "base"));
    assert_ok(f.ctx, lmf_trainer_eval(f.t, f.samples, &loss[0]));
    teardown(&f);
    o = small_opts();
    g = setup(&o);
    assert_ok(g.ctx, lmf_trainer_load_adapter(g.t, dir));
    assert_ok(g.ctx, lmf_trainer_eval(g.t, g.samples, &loss[1]));
    teardown(&g);
    assert_true(loss[0] == loss[1]);
}

static void refused(lmf_status status, const char *words, lmf_train_opts o)
{
    fixture f = setup(NULL);
    assert_refused(f.ctx, status, words, lmf_trainer_create(f.ctx, "cpu", f.m, f.samples, &o, &f.t));
    teardown(&f);
}

static void dropout_refusals(void **state)
{
    (void)state;
    static const double bad[] = { -0.1, 1, 1.5, NAN };
    for (size_t i = 0; i < 4; i++) {
        lmf_train_opts o = small_opts();
        o.lora_dropout = bad[i];
        refused(LMF_E_ARG, "from 0 to below 1 is possible", o);
    }
    lmf_train_opts o = opts_of(0);
    o.full = true;
    refused(LMF_E_ARG, "it is of what LoRA pairs see, and there are none", o);
    o = opts_of(0);
    o.compute = 1, o.between = LMF_BF16;
    refused(LMF_E_ARG, "it is there for activations in f32", o);
}

/* Moments in 8 bits: 2 bytes and a 32nd a weight instead of 8; SGD has one of the two. */
static void states_take_less(void **state)
{
    (void)state;
    size_t bytes[3];
    int64_t n = 0;
    for (int i = 0; i < 3; i++) {
        lmf_train_opts o = small_opts();
        o.optimizer = (lmf_optimizer)i;
        fixture f = setup(&o);
        bytes[i] = lmf_trainer_memory(f.t)->state;
        n = lmf_trainer_n_params(f.t);
        teardown(&f);
    }
    assert_true(bytes[LMF_OPTIMIZER_ADAMW] - bytes[LMF_OPTIMIZER_SGD] >= 4 * (size_t)n - 256);
    assert_true(bytes[LMF_OPTIMIZER_ADAMW] - bytes[LMF_OPTIMIZER_ADAMW_8BIT] >= 5 * (size_t)n);
    assert_int_equal(lmf_train_optimizer("sgd"), LMF_OPTIMIZER_SGD);
    assert_int_equal(lmf_train_optimizer("lion"), -1);
    lmf_train_opts o = small_opts();
    o.momentum = 1;
    refused(LMF_E_ARG, "momentum is from 0 to below 1", o);
}

static void when_4bit(void **state)
{
    (void)state;
    const uint64_t gb = 1000000000;
    assert_true(lmf__run_wants_4bit(6 * gb, 9 * gb, 16 * gb));
    assert_false(lmf__run_wants_4bit(6 * gb, 8 * gb, 16 * gb));
    assert_false(lmf__run_wants_4bit(gb / 4, 9 * gb, 16 * gb)); /* it is the activations */
}

LMF_TESTS(methods) = { { "same bits", same_bits }, { "resumed at any step: the same bits", resumed }, { "packing changes no loss", packed },
                       { "dropout: what is drawn", draws }, { "dropout: evaluation has none", evaluation_drops_nothing },
                       { "dropout: refusals", dropout_refusals }, { "states take less", states_take_less },
                       { "when a base is kept in 4 bits", when_4bit }, { 0 } };
