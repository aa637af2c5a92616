/* SPDX-License-Identifier: Apache-2.0 */
/* Preference training replayed beside what PyTorch or TRL recorded (tools/golden/dpo.py, preferences.py), for tests of objectives. */
#ifndef LMF_TRAIN_ALIGN_TEST_H
#define LMF_TRAIN_ALIGN_TEST_H
#include "train/golden_test.h"
#include "train/train_test.h"

static inline lmf_train_opts pair_opts(void)
{
    lmf_train_opts o = small_opts();
    o.objective = "dpo";
    o.batch_size = 3, o.max_steps = 7;
    return o;
}

/* Each number that is recorded within 1e-4, taken of it where it is greater than 1. Which answer has the greater reward is rounding's
 * choice where the margin is 0. */
static inline void lmf_test_step(const lmf_trainer *t, const lmf_train_stats *st, const json_t *want)
{
    int n = 0;
    for (int i = -2; i < lmf_objective_n_reports(t->objective); i++) {
        const char *name = i == -2 ? "loss" : i == -1 ? "grad_norm" : t->objective->reports[i].name;
        double got = i == -2 ? st->loss : i == -1 ? st->grad_norm : st->report[i], v = lmf_test_number(want, name);
        bool even = !strcmp(name, "rewards/accuracies") && lmf_test_number(want, "rewards/margins") == 0;
        if (!json_object_get(want, name) || even)
            continue;
        n++;
        if (!(fabs(got - v) <= 1e-4 * fmax(1, fabs(v))))
            fail_msg("step %lld: %s is %.9g, recorded is %.9g", (long long)st->step, name, got, v);
    }
    assert_true(n >= (int)json_object_size(want) - 1 && n > 2);
}

/* micro_tok 0: a step in one micro-batch. */
static inline void lmf_test_align(const char *golden, int32_t micro_tok)
{
    lmf_ctx *ctx = lmf_test_ctx();
    json_t *root, *v;
    char model[512];
    const char *key;
    assert_ok(ctx, lmf_json_load(ctx, lmf_test_source_path(golden), 1 << 20, LMF_JSON_SMALL, &root));
    const json_t *recipe = json_object_get(root, "recipe"), *r = json_object_get(recipe, "opts"), *steps = json_object_get(root, "steps");
    lmf_objective_value values[LMF_MAX_OBJECTIVE_OPTIONS];
    const lmf_objective *objective;
    lmf_train_opts o = pair_opts();
    o.objective = json_string_value(json_object_get(recipe, "objective"));
    o.objective_values = values;
    assert_ok(ctx, lmf_objective_find(ctx, o.objective, &objective));
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
    o.batch_size = (int32_t)lmf_test_number(r, "batch"), o.max_steps = (int64_t)lmf_test_number(r, "steps");
    o.lr = lmf_test_number(r, "lr"), o.weight_decay = lmf_test_number(r, "wd"), o.eps = lmf_test_number(r, "eps");
    o.schedule = LMF_SCHEDULE_CONSTANT, o.warmup_steps = 0, o.shuffle = false;
    o.micro_tok = micro_tok;
    snprintf(model, sizeof model, "%s", lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 2 }));
    fixture f = setup_rows(model, json_string_value(json_object_get(recipe, "rows")), objective->takes, &o);
    lmf_train_stats st;
    assert_ok(f.ctx, lmf_trainer_load_adapter(f.t, lmf_test_formula_adapter(1, 2, o.lora_r, o.lora_alpha)));
    assert_int_equal(json_array_size(steps), o.max_steps);
    for (size_t i = 0; i < (size_t)o.max_steps; i++) {
        assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
        if (i == 0)
            lmf_test_gradients(f.t, json_object_get(root, "gradients"));
        lmf_test_step(f.t, &st, json_array_get(steps, i));
        assert_true(micro_tok == 0 || f.t->now.n_groups <= 2 || f.t->now.n_micro > 1);
    }
    json_decref(root);
    teardown(&f);
    lmf_test_ctx_done(ctx);
}

#endif
