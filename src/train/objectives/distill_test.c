/* SPDX-License-Identifier: Apache-2.0 */
/* What TRL's loss recorded (tools/golden/distill.py), and a teacher as part of a run. */
#include "train/golden_test.h"
#include "train/rollout.h"
#include "train/train_test.h"

extern const lmf_objective lmf_objective_distill;
typedef struct taught { fixture f; lmf_model *teacher; } taught;

/* A student of the formula with a trainer beside the teacher of the goldens, a qwen2. */
static void open_models(taught *x, const lmf_formula *student)
{
    char path[512];
    x->f = (fixture){ .ctx = lmf_test_ctx() };
    snprintf(path, sizeof path, "%s", lmf_test_formula_model(student));
    assert_ok(x->f.ctx, lmf_model_open(x->f.ctx, path, &x->f.m));
    snprintf(path, sizeof path, "%s", lmf_test_formula_model(&(lmf_formula){ .seed = 3, .n_layers = 3, .bias = true }));
    assert_ok(x->f.ctx, lmf_model_open(x->f.ctx, path, &x->teacher));
    assert_ok(x->f.ctx, open_samples(x->f.ctx, x->f.m, rows_path(), &x->f.samples));
}

static taught setup_taught(const lmf_formula *student, lmf_train_opts *o)
{
    taught x = { 0 };
    open_models(&x, student);
    o->objective = "distill", o->teacher = x.teacher;
    assert_ok(x.f.ctx, lmf_trainer_create(x.f.ctx, "cpu", x.f.m, x.f.samples, o, &x.f.t));
    return x;
}

static void teardown_taught(taught *x)
{
    lmf_trainer_destroy(x->f.t);
    x->f.t = NULL;
    lmf_model_close(x->teacher);
    teardown(&x->f);
}

static int options_of(const json_t *options, lmf_objective_value *values)
{
    const char *key;
    json_t *v;
    int n = 0;
    json_object_foreach((json_t *)(uintptr_t)options, key, v) {
        const lmf_objective_option *f = lmf_objective_distill.options;
        while (f->name && strcmp(f->name, key))
            f++;
        assert_non_null(f->name);
        values[n] = (lmf_objective_value){ key, json_number_value(v) };
        assert_true(!json_is_string(v) || lmf_objective_option_parse(f, json_string_value(v), &values[n].value));
        n++;
    }
    return n;
}

/* micro_tok 0: a step in one micro-batch. */
static void replay(const char *golden, int32_t micro_tok)
{
    static const char *const names[] = { "loss", "grad_norm", "kl", "nll" };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_objective_value values[LMF_MAX_OBJECTIVE_OPTIONS];
    lmf_train_stats st;
    json_t *root;
    assert_ok(ctx, lmf_json_load(ctx, lmf_test_source_path(golden), 1 << 20, LMF_JSON_SMALL, &root));
    const json_t *recipe = json_object_get(root, "recipe"), *steps = json_object_get(root, "steps");
    const char *student = json_string_value(json_object_get(recipe, "student"));
    bool full = strstr(student, "full") != NULL;
    lmf_train_opts o = lmf_test_recipe_opts(recipe, full);
    o.objective_values = values, o.n_objective_values = options_of(json_object_get(recipe, "options"), values);
    o.micro_tok = micro_tok;
    taught x = setup_taught(&(lmf_formula){ .seed = 1, .n_layers = 2, .tied = strstr(student, "tied") != NULL }, &o);
    if (!full)
        assert_ok(x.f.ctx, lmf_trainer_load_adapter(x.f.t, lmf_test_formula_adapter(1, 2, o.lora_r, o.lora_alpha)));
    assert_int_equal(json_array_size(steps), o.max_steps);
    for (size_t i = 0; i < (size_t)o.max_steps; i++) {
        assert_ok(x.f.ctx, lmf_trainer_step(x.f.t, &st));
        assert_true(micro_tok == 0 || x.f.t->now.n_micro > 1);
        if (i == 0)
            lmf_test_gradients(x.f.t, json_object_get(root, "gradients"));
        double got[] = { st.loss, st.grad_norm, st.report[0], st.report[1] };
        for (int k = 0; k < 4; k++) {
            double want = lmf_test_number(json_array_get(steps, i), names[k]);
            if (!(fabs(got[k] - want) <= 1e-4 * want) || !(want > 0))
                fail_msg("step %zu: %s is %.9g, recorded is %.9g", i + 1, names[k], got[k], want);
        }
    }
    json_decref(root);
    teardown_taught(&x);
    lmf_test_ctx_done(ctx);
}

static void forward(void **state)
{
    (void)state;
    replay("tests/parity/distill_forward.json", 0);
    replay("tests/parity/distill_forward.json", 16); /* as few as fit: weights are of the whole step */
}

static void reverse(void **state)
{
    (void)state;
    replay("tests/parity/distill_reverse.json", 0);
}

static void between(void **state)
{
    (void)state;
    replay("tests/parity/distill_js.json", 0);
}

static void tied_head(void **state)
{
    (void)state;
    replay("tests/parity/distill_js_tied_full.json", 0);
    replay("tests/parity/distill_js_tied_full.json", 16);
}

static void taid(void **state)
{
    (void)state;
    replay("tests/parity/distill_taid.json", 0);
}

/* A student that is its own teacher has nothing to learn from it; the teacher's weights are where they were. */
static void own_teacher(void **state)
{
    (void)state;
    lmf_train_opts o = small_opts();
    lmf_train_stats st;
    lmf_objective_value alpha = { "alpha", 1 };
    o.objective_values = &alpha, o.n_objective_values = 1;
    taught x = { 0 };
    open_models(&x, &(lmf_formula){ .seed = 3, .n_layers = 3, .bias = true });
    o.objective = "distill", o.teacher = x.teacher;
    assert_ok(x.f.ctx, lmf_trainer_create(x.f.ctx, "cpu", x.f.m, x.f.samples, &o, &x.f.t));
    assert_ok(x.f.ctx, lmf_trainer_step(x.f.t, &st));
    assert_true(fabs(st.report[0]) < 1e-5 && st.grad_norm < 1e-4 && st.report[1] > 1);
    const lmf_memory *m = lmf_trainer_memory(x.f.t);
    size_t all = 0;
    for (int k = 0; k < 2; k++)
        for (int32_t i = 0; i < x.teacher->weights->n; i++)
            all += lmf_format_bytes(x.teacher->weights->items[i].v.fmt, lmf_view_count(&x.teacher->weights->items[i].v));
    assert_int_equal(m->weight + m->mapped, all); /* both models, each once */
    teardown_taught(&x);
}

/* Evaluation with the weights as they are is the loss of a step over the same rows. */
static void evaluation(void **state)
{
    (void)state;
    lmf_train_opts o = small_opts();
    lmf_train_stats st;
    double loss, report[LMF_MAX_REPORTS];
    o.batch_size = 24;
    taught x = setup_taught(&(lmf_formula){ .seed = 1, .n_layers = 2 }, &o);
    assert_ok(x.f.ctx, lmf_trainer_eval_report(x.f.t, x.f.samples, &loss, report));
    assert_ok(x.f.ctx, lmf_trainer_step(x.f.t, &st));
    assert_true(fabs(loss - st.loss) < 1e-5 * loss && fabs(report[0] - st.report[0]) < 1e-5 && fabs(report[1] - st.report[1]) < 1e-5);
    teardown_taught(&x);
}

static void refusals(void **state)
{
    (void)state;
    lmf_train_opts o = small_opts();
    lmf_trainer *t;
    taught x = { 0 };
    open_models(&x, &(lmf_formula){ .seed = 1, .n_layers = 2 });
    o.objective = "distill";
    assert_int_equal(lmf_trainer_create(x.f.ctx, "cpu", x.f.m, x.f.samples, &o, &t), LMF_E_ARG);
    assert_non_null(strstr(lmf_error(x.f.ctx), "learns from a teacher: name one with --teacher"));
    o.objective = "sft", o.teacher = x.teacher;
    assert_int_equal(lmf_trainer_create(x.f.ctx, "cpu", x.f.m, x.f.samples, &o, &t), LMF_E_ARG);
    assert_non_null(strstr(lmf_error(x.f.ctx), "learns from no teacher"));
    o.objective = "distill";
    lmf_config_base *base = x.teacher->config;
    base->context = 20;
    assert_int_equal(lmf_trainer_create(x.f.ctx, "cpu", x.f.m, x.f.samples, &o, &t), LMF_E_LIMIT);
    assert_non_null(strstr(lmf_error(x.f.ctx), "reads at most 20 tokens"));
    base->context = 512;
    lmf_objective_value beta = { "beta", 0.3 };
    o.objective_values = &beta, o.n_objective_values = 1;
    assert_int_equal(lmf_trainer_create(x.f.ctx, "cpu", x.f.m, x.f.samples, &o, &t), LMF_E_ARG);
    assert_non_null(strstr(lmf_error(x.f.ctx), "--beta is the mixture of --divergence js"));
    teardown_taught(&x);
}

static void resumed(void **state)
{
    (void)state;
    char want[65], got[65], dir[512];
    int skipped;
    lmf_train_stats st;
    lmf_train_opts o = small_opts();
    lmf_objective_value start = { "taid-start", 0.2 }; /* the course is the whole run's */
    snprintf(dir, sizeof dir, "%s", lmf_test_path("run"));
    for (int part = 0; part < 2; part++) {
        o.objective_values = &start, o.n_objective_values = 1;
        taught x = setup_taught(&(lmf_formula){ .seed = 1, .n_layers = 2 }, &o);
        if (part)
            assert_ok(x.f.ctx, lmf_trainer_resume(x.f.t, dir, &skipped));
        for (int i = 0; i < 3; i++)
            assert_ok(x.f.ctx, lmf_trainer_step(x.f.t, &st));
        if (!part)
            assert_ok(x.f.ctx, lmf_trainer_save(x.f.t, dir, 3, "base"));
        if (!part)
            run(&x.f, NULL);
        assert_true(lmf_trainer_is_done(x.f.t));
        adapter_hash(&x.f, part ? got : want);
        teardown_taught(&x);
    }
    assert_string_equal(got, want);
}

static void another_teacher(void **state)
{
    (void)state;
    char dir[512];
    int skipped;
    lmf_train_stats st;
    lmf_train_opts o = small_opts();
    snprintf(dir, sizeof dir, "%s", lmf_test_path("run"));
    taught x = setup_taught(&(lmf_formula){ .seed = 1, .n_layers = 2 }, &o);
    assert_ok(x.f.ctx, lmf_trainer_step(x.f.t, &st));
    assert_ok(x.f.ctx, lmf_trainer_save(x.f.t, dir, 3, "base"));
    lmf_trainer_destroy(x.f.t);
    x.f.t = NULL;
    float *w = lmf_weights_find(x.teacher->weights, "norm")->v.data, other[64];
    memcpy(other, w, sizeof other);
    other[5] += 0.25f;
    lmf_weights_find(x.teacher->weights, "norm")->v.data = other;
    assert_ok(x.f.ctx, lmf_trainer_create(x.f.ctx, "cpu", x.f.m, x.f.samples, &o, &x.f.t));
    assert_int_equal(lmf_trainer_resume(x.f.t, dir, &skipped), LMF_E_ARG);
    assert_non_null(strstr(lmf_error(x.f.ctx), "was made with another teacher"));
    teardown_taught(&x);
}

/* GKD: the student's own answers, each behind its row's prompt, are learned as rows with these tokens are (what TRL's loss was held to). */
static void on_policy(void **state)
{
    (void)state;
    lmf_objective_value values[] = { { "alpha", 1 }, { "divergence", 2 }, { "beta", 0.3 }, { "temperature", 1 }, { "taid-start", 0.4 },
                                     { "lmbda", 1 }, { "max-completion-length", 40 }, { "sampling-temperature", 1 } };
    lmf_train_opts o = small_opts();
    o.objective_values = values, o.n_objective_values = 8, o.batch_size = 5, o.warmup_steps = 0, o.micro_tok = 128;
    taught x = setup_taught(&(lmf_formula){ .seed = 1, .n_layers = 2 }, &o);
    lmf_rollout *r;
    lmf_train_stats st, want;
    lmf_rollout_number number[LMF_MAX_ROLLOUT_NUMBERS];
    assert_ok(x.f.ctx, lmf_trainer_load_adapter(x.f.t, lmf_test_formula_adapter(1, 2, o.lora_r, o.lora_alpha)));
    lmf_rollout_opts ro = { .rank = o.lora_r, .seed = 7, .shuffle = true, .device = "cpu" };
    assert_ok(x.f.ctx, lmf_rollout_create(x.f.ctx, x.f.t, x.f.m, x.f.samples, &ro, &r));
    assert_ok(x.f.ctx, lmf_rollout_step(r, &st));
    const lmf_samples *learned = lmf_rollout_learned(r);
    const lmf_step_plan *rows = &x.f.t->now; /* of the answers now: which rows they were of is in the line */
    assert_true(learned->n == 5 && rows->n_groups == 5 && learned->n_learn == st.n_learn);
    for (int64_t i = 0; i < learned->n; i++) {
        const lmf_sample *a = &learned->items[i], *row = x.f.samples->items;
        while (row->line != a->line)
            row++;
        int32_t n = 0; /* each of these rows has one answer */
        while (!row->learn[n])
            assert_true(n < a->n && a->id[n] == row->id[n] && !a->learn[n]), n++;
        assert_true(a->n == n + a->n_learn && a->n_learn >= 1 && a->n_learn <= 40 && n > 2);
    }
    int n = lmf_rollout_numbers(r, number);
    for (int i = 0; i < n; i++) /* the sampler's log-probabilities are the trainer's */
        assert_true(strcmp(number[i].name, "entropy") || fabs(number[i].value - st.report[1]) < 1e-4 * st.report[1]);
    fixture alone = { .ctx = x.f.ctx, .m = x.f.m };
    lmf_samples given = *learned;
    o.n_objective_values = 5;
    assert_ok(x.f.ctx, lmf_trainer_create(x.f.ctx, "cpu", x.f.m, &given, &o, &alone.t));
    assert_ok(x.f.ctx, lmf_trainer_load_adapter(alone.t, lmf_test_formula_adapter(1, 2, o.lora_r, o.lora_alpha)));
    assert_ok(x.f.ctx, lmf_trainer_step(alone.t, &want));
    if (fabs(st.loss - want.loss) > 1e-6 * want.loss || st.n_learn != want.n_learn)
        fail_msg("loss %.9g of %d tokens, as rows %.9g of %d", st.loss, (int)st.n_learn, want.loss, (int)want.n_learn);
    same_gradients(&x.f, &alone);
    lmf_trainer_destroy(alone.t);
    o.n_objective_values = 8;
    assert_ok(x.f.ctx, lmf_trainer_create(x.f.ctx, "cpu", x.f.m, x.f.samples, &o, &alone.t));
    assert_ok(x.f.ctx, lmf_trainer_load_adapter(alone.t, lmf_test_formula_adapter(1, 2, o.lora_r, o.lora_alpha)));
    for (int64_t step = 0; step < 5; step++) { /* taid-start follows the run; the last step of an epoch is a shorter one */
        if (step > 0)
            assert_ok(x.f.ctx, lmf_rollout_step(r, &st));
        learned = lmf_rollout_learned(r);
        assert_true(st.step == step + 1 && learned->n == (step == 4 ? 4 : 5));
        lmf_totals totals = lmf_totals_of(learned, NULL, learned->n);
        totals.progress = (double)step / 6;
        assert_ok(x.f.ctx, lmf_trainer_step_on(alone.t, learned, &totals, &want));
        assert_true(st.loss == want.loss && st.grad_norm == want.grad_norm);
    }
    lmf_trainer_destroy(alone.t);
    lmf_rollout_destroy(r);
    teardown_taught(&x);
}

LMF_TESTS(distill) = { { "answers of the student's own", on_policy },
    { "TRL's five steps, forward", forward }, { "reverse", reverse }, { "between, with the rows' loss", between },
    { "all weights, a tied head", tied_head }, { "a teacher that comes in slowly", taid }, { "a student as its own teacher", own_teacher },
    { "evaluation", evaluation }, { "what is refused", refusals }, { "a resumed run", resumed }, { "another teacher", another_teacher },
    { 0 } };
