/* SPDX-License-Identifier: Apache-2.0 */
#include "policy_case.h"
#include "train/golden_test.h"
#include "train/train_test.h"

typedef struct step { lmf_ctx *ctx; json_t *root; fixture f; lmf_arena arena; lmf_samples answers; lmf_totals totals; } step;

static step open_step(const char *golden, int32_t micro_tok)
{
    step s = { .ctx = lmf_test_ctx() };
    lmf_objective_value values[LMF_MAX_OBJECTIVE_OPTIONS];
    const lmf_objective *objective;
    const char *key;
    json_t *v;
    char path[256], rows[512];
    snprintf(path, sizeof path, "tests/parity/grpo_%s.json", golden);
    assert_ok(s.ctx, lmf_json_load(s.ctx, lmf_test_source_path(path), 1 << 20, LMF_JSON_SMALL, &s.root));
    const json_t *recipe = json_object_get(s.root, "recipe");
    lmf_train_opts o = small_opts();
    o.objective = "grpo", o.objective_values = values;
    assert_ok(s.ctx, lmf_objective_find(s.ctx, "grpo", &objective));
    json_object_foreach(json_object_get(recipe, "options"), key, v) {
        const lmf_objective_option *f = objective->options;
        while (f->name && strcmp(f->name, key))
            f++;
        assert_non_null(f->name);
        values[o.n_objective_values] = (lmf_objective_value){ key, json_number_value(v) };
        assert_true(!json_is_string(v) || lmf_objective_option_parse(f, json_string_value(v), &values[o.n_objective_values].value));
        o.n_objective_values++;
    }
    o.lora_r = (int32_t)lmf_test_number(recipe, "r"), o.lora_alpha = lmf_test_number(recipe, "alpha");
    o.batch_size = (int32_t)lmf_test_number(recipe, "batch"), o.grad_accum = (int32_t)lmf_test_number(recipe, "batches");
    o.max_steps = 2, o.warmup_steps = 0, o.micro_tok = micro_tok;
    snprintf(rows, sizeof rows, "%s", lmf_test_path("prompts.jsonl"));
    const char text[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"x\"}, {\"role\": \"assistant\", \"content\": \"y\"}]}\n";
    assert_ok(s.ctx, lmf_file_write(s.ctx, rows, text, sizeof text - 1));
    s.f.ctx = s.ctx;
    assert_ok(s.ctx, lmf_model_open(s.ctx, lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 2 }), &s.f.m));
    lmf_rows r;
    assert_ok(s.ctx, lmf_rows_open(s.ctx, rows, &r));
    assert_ok(s.ctx, lmf_samples_create_of(&r, &s.f.m->chat, LMF_TAKES_PROMPT, 512, LMF_LONG_ERROR, &s.f.samples));
    lmf_rows_close(&r);
    assert_ok(s.ctx, lmf_trainer_create(s.ctx, "cpu", s.f.m, s.f.samples, &o, &s.f.t));
    assert_ok(s.ctx, lmf_trainer_load_adapter(s.f.t, lmf_test_formula_adapter(1, 2, o.lora_r, o.lora_alpha)));
    lmf_arena_init(&s.arena, s.ctx, 1 << 24);
    s.answers.ctx = s.ctx;
    assert_true(lmf_policy_samples(&s.arena, json_object_get(s.root, "answers"), o.batch_size, &s.answers, &s.totals));
    return s;
}

static void close_step(step *s)
{
    json_decref(s->root);
    lmf_arena_clear(&s->arena);
    lmf_trainer_destroy(s->f.t);
    lmf_samples_destroy(s->f.samples);
    lmf_model_close(s->f.m);
    lmf_test_ctx_done(s->ctx);
}

/* Log-probabilities, loss, reports and gradients are TRL's, in one micro-batch and in as many as there can be. */
static void recorded(const char *golden)
{
    for (int32_t micro_tok = 0; micro_tok <= 16; micro_tok += 16) {
        step s = open_step(golden, micro_tok);
        lmf_train_stats st;
        float room[64][32], *logp[64];
        const json_t *want = json_object_get(s.root, "step");
        for (int i = 0; i < 64; i++)
            logp[i] = room[i];
        assert_true(s.answers.n <= 64 && s.answers.longest <= 32);
        assert_ok(s.ctx, lmf_trainer_logp(s.f.t, &s.answers, false, logp));
        for (int64_t i = 0; i < s.answers.n; i++)
            for (int32_t k = 0; k < s.answers.items[i].n; k++)
                if (s.answers.items[i].learn[k] && fabsf(logp[i][k] - s.answers.items[i].sampled->logp[k]) > 1e-4f)
                    fail_msg("token %d of answer %d: %.9g, not %.9g", k, (int)i, (double)logp[i][k],
                             (double)s.answers.items[i].sampled->logp[k]);
        assert_ok(s.ctx, lmf_trainer_step_on(s.f.t, &s.answers, &s.totals, &st));
        assert_true(micro_tok == 0 || s.f.t->now.n_micro > 1);
        if (fabs(st.loss - lmf_test_number(want, "loss")) > 1e-4 * fmax(0.1, fabs(lmf_test_number(want, "loss"))))
            fail_msg("loss %.9g, TRL's is %.9g", st.loss, lmf_test_number(want, "loss"));
        for (int i = 0; i < 4; i++) {
            const char *name = s.f.t->objective->reports[i].name;
            if (json_object_get(want, name) && !(fabs(st.report[i] - lmf_test_number(want, name)) < 1e-4))
                fail_msg("%s is %.9g, TRL's %.9g", name, st.report[i], lmf_test_number(want, name));
        }
        assert_true(st.report[4] < 1e-5); /* the sampler's are those of the same weights here */
        lmf_test_gradients(s.f.t, json_object_get(s.root, "gradients"));
        close_step(&s);
    }
}
static void dapo(void **state) { (void)state; recorded("dapo"); }
static void grpo(void **state) { (void)state; recorded("grpo"); }
static void bnpo(void **state) { (void)state; recorded("bnpo"); }
static void dr_grpo(void **state) { (void)state; recorded("dr_grpo"); }

/* A step without answers learns nothing, whatever the step before left in the gradients. */
static void nothing_to_learn(void **state)
{
    (void)state;
    step s = open_step("dapo", 0);
    lmf_train_stats st;
    assert_ok(s.ctx, lmf_trainer_step_on(s.f.t, &s.answers, &s.totals, &st));
    assert_true(st.grad_norm > 0);
    assert_ok(s.ctx, lmf_trainer_step_on(s.f.t, &(lmf_samples){ .ctx = s.ctx }, &s.totals, &st));
    assert_true(st.grad_norm == 0 && st.loss == 0 && st.step == 2);
    close_step(&s);
}

/* Under the weights of the start, whatever has been learned since; the weights are put back. */
static void the_start(void **state)
{
    (void)state;
    step s = open_step("grpo", 0);
    lmf_train_stats st;
    float room[3][64][32], *logp[3][64];
    for (int i = 0; i < 3 * 64; i++)
        logp[i / 64][i % 64] = room[i / 64][i % 64];
    assert_ok(s.ctx, lmf_trainer_logp(s.f.t, &s.answers, false, logp[0]));
    assert_ok(s.ctx, lmf_trainer_step_on(s.f.t, &s.answers, &s.totals, &st));
    assert_ok(s.ctx, lmf_trainer_logp(s.f.t, &s.answers, true, logp[1]));
    assert_ok(s.ctx, lmf_trainer_logp(s.f.t, &s.answers, false, logp[2]));
    int n_moved = 0;
    for (int64_t i = 0; i < s.answers.n; i++)
        for (int32_t k = 0; k < s.answers.items[i].n; k++) {
            if (!s.answers.items[i].learn[k])
                continue;
            assert_true(logp[0][i][k] == logp[1][i][k]);
            n_moved += logp[2][i][k] != logp[0][i][k];
        }
    assert_true(n_moved > 10);
    close_step(&s);
}

static void refused(void **state)
{
    (void)state;
    step s = open_step("dapo", 0);
    lmf_train_stats st;
    double loss;
    assert_refused(s.ctx, LMF_E_ARG, "lmfast reason", lmf_trainer_step(s.f.t, &st));
    assert_refused(s.ctx, LMF_E_UNSUPPORTED, "rows have no loss under it", lmf_trainer_eval(s.f.t, s.f.samples, &loss));
    s.answers.longest = 100000;
    assert_refused(s.ctx, LMF_E_ARG, "a step on", lmf_trainer_step_on(s.f.t, &s.answers, &s.totals, &st));
    close_step(&s);
}

LMF_TESTS(grpo) = { { "TRL's step, dapo", dapo }, { "grpo, held to a base", grpo }, { "bnpo", bnpo },
                    { "dr_grpo on policy at another temperature", dr_grpo }, { "nothing to learn", nothing_to_learn },
                    { "log-probabilities of the start", the_start }, { "refused", refused }, { 0 } };
