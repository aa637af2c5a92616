/* SPDX-License-Identifier: Apache-2.0 */
/* Gradients of a trainer's last step against those that PyTorch left in a golden file (tools/golden/gradients.py, digest). */
#ifndef LMF_TRAIN_GOLDEN_TEST_H
#define LMF_TRAIN_GOLDEN_TEST_H
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "format/json.h"
#include "formula.h"
#include "train/params.h"
#include "train/trainer_internal.h"

enum { LMF_TEST_MAX_COUNT = 264 * 64 };

static inline double lmf_test_number(const json_t *o, const char *key) { return json_number_value(json_object_get(o, key)); }

static inline void lmf_test_hf_name(const lmf_trainer *t, const lmf_param *p, char *text, size_t n)
{
    char role[160];
    int layer;
    size_t len = strlen(p->name);
    const lmf_weight_row *row = lmf_model_row(t->model, p->name, &layer);
    if (t->opts.full) {
        assert_ok(t->ctx, lmf_model_name(t->ctx, row->hf, layer, "", text, n));
        return;
    }
    snprintf(role, sizeof role, "%.*s", (int)(len - strlen(".lora_a")), p->name);
    assert_true(lmf_module_path(t->model, role, text, n));
    len = strlen(text);
    snprintf(text + len, n - len, ".lora_%c.weight", p->name[strlen(p->name) - 1] == 'a' ? 'A' : 'B');
}

static inline void lmf_test_gradient(lmf_trainer *t, const lmf_param *p, const json_t *want)
{
    static float g[LMF_TEST_MAX_COUNT];
    double norm = 0, dot[2] = { 0 }, size = sqrt((double)p->count);
    assert_true(p->count <= LMF_TEST_MAX_COUNT);
    assert_ok(t->ctx, lmf_trainer_gradient(t, p->name, g, p->count));
    for (int64_t k = 0; k < p->count; k++) {
        norm += (double)g[k] * (double)g[k];
        for (uint32_t j = 0; j < 2; j++)
            dot[j] += (double)g[k] * (double)lmf_test_signed(7, j, 0xd0, (uint64_t)k);
    }
    double wanted = lmf_test_number(want, "norm"), tolerance = 1e-4 * wanted + 1e-7;
    if (fabs(sqrt(norm) - wanted) > tolerance)
        fail_msg("%s: the gradient's norm is %.9g, PyTorch's %.9g", p->name, sqrt(norm), wanted);
    for (size_t j = 0; j < 2; j++)
        if (fabs(dot[j] - json_number_value(json_array_get(json_object_get(want, "dots"), j))) > tolerance)
            fail_msg("%s: the gradient times random vector %zu is %.9g, not %.9g", p->name, j, dot[j],
                     json_number_value(json_array_get(json_object_get(want, "dots"), j)));
    for (size_t j = 0; j < json_array_size(json_object_get(want, "at")); j++) {
        int64_t at = json_integer_value(json_array_get(json_object_get(want, "at"), j));
        double v = json_number_value(json_array_get(json_object_get(want, "values"), j));
        if (fabs((double)g[at] - v) > 1e-4 * fabs(v) + 1e-4 * wanted / size + 1e-9)
            fail_msg("%s: gradient %lld is %.9g, not %.9g", p->name, (long long)at, (double)g[at], v);
    }
}

static inline void lmf_test_gradients(lmf_trainer *t, const json_t *all)
{
    char name[256];
    assert_int_equal(t->params.n, json_object_size(all));
    for (int i = 0; i < t->params.n; i++) {
        lmf_test_hf_name(t, &t->params.items[i], name, sizeof name);
        const json_t *want = json_object_get(all, name);
        if (!want)
            fail_msg("PyTorch has no gradient of %s", name);
        lmf_test_gradient(t, &t->params.items[i], want);
    }
}

static inline lmf_train_opts lmf_test_recipe_opts(const json_t *recipe, bool full)
{
    const json_t *o = json_object_get(recipe, "opts");
    lmf_train_opts opts = lmf_train_opts_default();
    opts.full = full;
    opts.lora_r = (int32_t)lmf_test_number(recipe, "r");
    opts.lora_alpha = lmf_test_number(recipe, "alpha");
    if (json_object_get(recipe, "optimizer"))
        opts.optimizer = (lmf_optimizer)lmf_train_optimizer(json_string_value(json_object_get(recipe, "optimizer")));
    opts.momentum = lmf_test_number(recipe, "momentum");
    opts.lora_dropout = lmf_test_number(recipe, "dropout");
    opts.seed = opts.lora_dropout > 0 ? (uint64_t)lmf_test_number(recipe, "dropout_seed") : opts.seed;
    opts.batch_size = (int32_t)lmf_test_number(o, "batch");
    opts.grad_accum = 1;
    opts.max_steps = (int64_t)lmf_test_number(o, "steps");
    opts.lr = lmf_test_number(json_object_get(recipe, "lr") ? recipe : o, "lr");
    opts.beta1 = lmf_test_number(o, "beta1");
    opts.beta2 = lmf_test_number(o, "beta2");
    opts.eps = lmf_test_number(o, "eps");
    opts.weight_decay = lmf_test_number(o, "wd");
    opts.max_grad_norm = lmf_test_number(o, "clip");
    opts.schedule = LMF_SCHEDULE_CONSTANT;
    opts.warmup_steps = 0;
    opts.shuffle = false;
    opts.compute = 0;
    return opts;
}

#endif
