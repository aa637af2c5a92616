/* SPDX-License-Identifier: Apache-2.0 */
/* Preference training against PyTorch's outputs in tests/parity/dpo_*.json (tools/golden/dpo.py makes them), and what must hold however its
 * pairs lie, whoever computes them and wherever the run was cut. */
#include "train/align_test.h"

static void replay(const char *golden, bool full, int32_t micro_tok)
{
    lmf_ctx *ctx = lmf_test_ctx();
    json_t *root;
    char model[512];
    assert_ok(ctx, lmf_json_load(ctx, lmf_test_source_path(golden), 1 << 20, LMF_JSON_SMALL, &root));
    const json_t *recipe = json_object_get(root, "recipe"), *r = json_object_get(recipe, "opts"), *steps = json_object_get(root, "steps");
    lmf_objective_value values[] = { { "beta", lmf_test_number(recipe, "beta") },
                                     { "label-smoothing", lmf_test_number(recipe, "label-smoothing") } };
    lmf_train_opts o = pair_opts();
    o.full = full;
    o.objective_values = values, o.n_objective_values = 2;
    o.lora_r = (int32_t)lmf_test_number(recipe, "r"), o.lora_alpha = lmf_test_number(recipe, "alpha");
    o.batch_size = (int32_t)lmf_test_number(r, "batch"), o.max_steps = (int64_t)lmf_test_number(r, "steps");
    o.lr = lmf_test_number(r, "lr"), o.weight_decay = lmf_test_number(r, "wd"), o.eps = lmf_test_number(r, "eps");
    o.schedule = LMF_SCHEDULE_CONSTANT, o.warmup_steps = 0, o.shuffle = false;
    o.micro_tok = micro_tok;
    snprintf(model, sizeof model, "%s", lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 2 }));
    fixture f = setup_pairs(model, &o);
    lmf_train_stats st;
    if (!full)
        assert_ok(f.ctx, lmf_trainer_load_adapter(f.t, lmf_test_formula_adapter(1, 2, o.lora_r, o.lora_alpha)));
    assert_int_equal(json_array_size(steps), o.max_steps);
    for (size_t i = 0; i < (size_t)o.max_steps; i++) {
        assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
        if (i == 0 && micro_tok == 0)
            lmf_test_gradients(f.t, json_object_get(root, "gradients"));
        lmf_test_step(f.t, &st, json_array_get(steps, i));
        assert_true(micro_tok == 0 || i % 3 == 2 || f.t->now.n_micro > 1);
    }
    json_decref(root);
    teardown(&f);
    lmf_test_ctx_done(ctx);
}

static void lora(void **state)
{
    (void)state;
    replay("tests/parity/dpo_llama_lora.json", false, 0);
    replay("tests/parity/dpo_llama_lora.json", false, 16); /* as few as fit: a pair stays together */
}

static void all_weights(void **state)
{
    (void)state;
    replay("tests/parity/dpo_llama_full.json", true, 0);
}

/* The evaluation of the rows is what a step that has them all reports before it changes anything; the reference is the start
 * at any time. */
static void evaluation(void **state)
{
    (void)state;
    lmf_train_opts o = pair_opts();
    lmf_train_stats st;
    double loss, again, report[LMF_MAX_REPORTS], start;
    o.batch_size = 8;
    o.eval_tok = 512;
    fixture f = setup_pairs(lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 2 }), &o);
    assert_ok(f.ctx, lmf_trainer_eval(f.t, f.samples, &start));
    assert_true(fabs(start - log(2)) < 1e-6);
    for (int i = 0; i < 3; i++)
        assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
    assert_ok(f.ctx, lmf_trainer_eval_report(f.t, f.samples, &loss, report));
    assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
    assert_true(fabs(loss - st.loss) < 1e-6 && loss < 0.9 * start);
    for (int i = 0; i < 6; i++)
        if (fabs(report[i] - st.report[i]) > 1e-5 * (1 + fabs(report[i])))
            fail_msg("report %d: %.9g in the evaluation, %.9g in the step", i, report[i], st.report[i]);
    /* of fewer pairs, whose reference is made now and not before */
    lmf_samples some = *f.samples;
    double sum = 0;
    some.n = 2;
    assert_ok(f.ctx, lmf_trainer_eval(f.t, f.samples, &loss));
    for (int i = 0; i < 8; i++, some.items += 2) {
        assert_ok(f.ctx, lmf_trainer_eval(f.t, &some, &again));
        sum += again / 8;
    }
    if (fabs(sum - loss) > 1e-6)
        fail_msg("all at once %.9g, pair by pair %.9g", loss, sum);
    teardown(&f);
}

static void run_to_hash(const char *model, const lmf_train_opts *o, int n_workers, char hash[65])
{
    fixture f = setup_pairs(model, NULL);
    if (n_workers)
        f.ctx->n_workers = n_workers;
    assert_ok(f.ctx, lmf_trainer_create(f.ctx, "cpu", f.m, f.samples, o, &f.t));
    run(&f, NULL);
    adapter_hash(&f, hash);
    teardown(&f);
}

static void same_bits(void **state)
{
    (void)state;
    lmf_train_opts o = pair_opts();
    char want[65], got[65], model[512];
    snprintf(model, sizeof model, "%s", lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 2 }));
    run_to_hash(model, &o, 1, want);
    for (int i = 0; i < 3; i++) {
        o.recompute = i == 2;
        run_to_hash(model, &o, 2 + i, got);
        assert_string_equal(got, want);
    }
    lmf_objective_value other = { "beta", 0.2 };
    o = pair_opts();
    o.objective_values = &other, o.n_objective_values = 1;
    run_to_hash(model, &o, 1, got);
    assert_string_not_equal(got, want);
}

/* Cut after any step, begun with an adapter or without: the reference comes from the checkpoint, the bits are those of the run that was
 * not cut. */
static void resumed(void **state)
{
    (void)state;
    lmf_train_opts o = pair_opts();
    lmf_train_stats st;
    char model[512], dir[512], adapter[512], want[65], got[65];
    int skipped;
    snprintf(model, sizeof model, "%s", lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 2 }));
    snprintf(adapter, sizeof adapter, "%s", lmf_test_formula_adapter(1, 2, o.lora_r, o.lora_alpha));
    for (int with_adapter = 0; with_adapter < 2; with_adapter++)
        for (int cut = 1; cut <= 5; cut += 4) {
            snprintf(dir, sizeof dir, "%s-%d-%d", lmf_test_path("run"), with_adapter, cut);
            fixture f = setup_pairs(model, &o);
            assert_ok(f.ctx, lmf_dir_create(f.ctx, dir));
            if (with_adapter)
                assert_ok(f.ctx, lmf_trainer_load_adapter(f.t, adapter));
            for (int i = 0; i < cut; i++)
                assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
            assert_ok(f.ctx, lmf_trainer_save(f.t, dir, 1, "base"));
            run(&f, NULL);
            adapter_hash(&f, want);
            teardown(&f);
            f = setup_pairs(model, &o);
            if (with_adapter) {
                assert_refused(f.ctx, LMF_E_ARG, "was made with another adapter to start from", lmf_trainer_resume(f.t, dir, &skipped));
                assert_ok(f.ctx, lmf_trainer_load_adapter(f.t, adapter));
            }
            assert_ok(f.ctx, lmf_trainer_resume(f.t, dir, &skipped));
            assert_true(f.t->step == cut && f.t->reference.n == f.samples->n);
            run(&f, NULL);
            adapter_hash(&f, got);
            assert_string_equal(got, want);
            teardown(&f);
        }
    lmf_objective_value other = { "label-smoothing", 0.1 };
    o.objective_values = &other, o.n_objective_values = 1;
    fixture f = setup_pairs(model, &o);
    assert_refused(f.ctx, LMF_E_ARG, "was made with other options", lmf_trainer_resume(f.t, dir, &skipped));
    teardown(&f);
}

static void refused(fixture *f, const lmf_train_opts *o, const char *words)
{
    assert_refused(f->ctx, LMF_E_ARG, words, lmf_trainer_create(f->ctx, "cpu", f->m, f->samples, o, &f->t));
    assert_null(f->t);
}

static void refusals(void **state)
{
    (void)state;
    fixture f = setup_pairs(lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 1 }), NULL);
    lmf_train_opts o = pair_opts();
    lmf_objective_value v = { "beta", 0 };
    o.objective_values = &v, o.n_objective_values = 1;
    refused(&f, &o, "beta is 0, but must be from 1e-06 to 1000000");
    v.value = NAN;
    refused(&f, &o, "beta is nan");
    v = (lmf_objective_value){ "gamma", 1 };
    refused(&f, &o, "the objective \"dpo\" has no option \"gamma\"");
    o = pair_opts();
    o.objective = "sft";
    refused(&f, &o, "\"sft\" takes samples in groups of 1, these are in groups of 2");
    o.objective = "none";
    refused(&f, &o, "there is no objective \"none\"; there are: ");
    o = pair_opts();
    assert_ok(f.ctx, lmf_trainer_create(f.ctx, "cpu", f.m, f.samples, &o, &f.t));
    double loss;
    lmf_samples single = { .items = f.samples->items, .n = 1 };
    assert_refused(f.ctx, LMF_E_ARG, "evaluation samples in groups of 1", lmf_trainer_eval(f.t, &single, &loss));
    teardown(&f);
}

/* Warm-up: a share of the run, at most 50; what is longer than the run is refused. */
static void warm_up(void **state)
{
    (void)state;
    static const int64_t cases[][2] = { { 1, 1 }, { 20, 1 }, { 21, 2 }, { 100, 5 }, { 999, 50 }, { 5000, 50 } }; /* 5 %, rounded up */
    fixture f = setup(NULL);
    lmf_train_opts o = small_opts();
    assert_int_equal(lmf_train_opts_default().warmup_steps, LMF_WARMUP_SHARE);
    o.plan_only = true;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        o.warmup_steps = LMF_WARMUP_SHARE, o.max_steps = cases[i][0];
        assert_ok(f.ctx, lmf_trainer_create(f.ctx, "null", f.m, f.samples, &o, &f.t));
        assert_int_equal(f.t->opts.warmup_steps, cases[i][1]);
        lmf_trainer_destroy(f.t);
    }
    o.warmup_steps = 7, o.max_steps = 7;
    assert_ok(f.ctx, lmf_trainer_create(f.ctx, "null", f.m, f.samples, &o, &f.t));
    lmf_trainer_destroy(f.t);
    o.max_steps = 6;
    assert_refused(f.ctx, LMF_E_ARG, "a warm-up of 7 steps in a run of 6", lmf_trainer_create(f.ctx, "null", f.m, f.samples, &o, &f.t));
    o.warmup_steps = -2;
    assert_refused(f.ctx, LMF_E_ARG, "a warm-up of -2 steps", lmf_trainer_create(f.ctx, "null", f.m, f.samples, &o, &f.t));
    teardown(&f);
}

static lmf_status step_all(lmf_ctx *ctx, void *arg)
{
    lmf_train_opts o = pair_opts();
    lmf_train_stats st;
    lmf_rows rows = { 0 };
    lmf_model *m = NULL;
    lmf_samples *samples = NULL;
    lmf_trainer *t = NULL;
    o.target_modules = "q_proj", o.max_steps = 1, o.warmup_steps = 0;
    lmf_status s = lmf_model_open(ctx, arg, &m);
    if (!s)
        s = lmf_rows_open(ctx, lmf_test_source_path("tests/parity/dpo_rows.jsonl"), &rows);
    if (!s)
        s = lmf_samples_create_of(&rows, &m->chat, LMF_TAKES_PREFERENCE, 512, LMF_LONG_ERROR, &samples);
    if (!s)
        s = lmf_trainer_create(ctx, "cpu", m, samples, &o, &t);
    if (!s)
        s = lmf_trainer_step(t, &st);
    lmf_trainer_destroy(t);
    lmf_samples_destroy(samples);
    lmf_rows_close(&rows);
    lmf_model_close(m);
    return s;
}

static void each_call_fails(void **state)
{
    (void)state;
    char model[512];
    snprintf(model, sizeof model, "%s", lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 1 }));
    assert_true(lmf_test_fail_each_call(step_all, model) > 50);
}

LMF_TESTS(dpo) = { { "LoRA, eight steps, pairs in one micro-batch and in several", lora }, { "all weights, smoothed", all_weights },
                   { "evaluation", evaluation }, { "workers and recomputation: the same bits", same_bits },
                   { "resumed: the same bits", resumed }, { "refusals", refusals }, { "warm-up is a share of the run", warm_up },
                   { "each call fails once", each_call_fails }, { 0 } };
