/* SPDX-License-Identifier: Apache-2.0 */
#include "train/params.h"
#include "train/train_test.h"

static void check_layout(const lmf_params *ps)
{
    int64_t at = 0, n_decay = 0;
    bool plain = false;
    for (int i = 0; i < ps->n; i++) {
        const lmf_param *p = &ps->items[i];
        int64_t count = 1;
        for (int k = 0; k < p->n_dims; k++)
            count *= p->dim[k];
        assert_int_equal(p->offset, at);
        assert_int_equal(p->count, count);
        assert_false(plain && p->decay); /* those with decay lie first */
        plain |= !p->decay;
        at += count;
        n_decay += p->decay ? count : 0;
        for (int k = 0; k < i; k++)
            assert_string_not_equal(p->name, ps->items[k].name);
    }
    assert_int_equal(ps->n_total, at);
    assert_int_equal(ps->n_decay, n_decay);
}

static void lora_layout(void **state)
{
    (void)state;
    fixture f = setup(NULL);
    lmf_arena a;
    lmf_params ps;
    lmf_modules modules;
    char path[256];
    lmf_arena_init(&a, f.ctx, 1 << 20);
    assert_ok(f.ctx, lmf_params_lora(&a, f.m, 4, false, "all-linear", &ps, &modules));
    check_layout(&ps);
    assert_int_equal(ps.n, 2 * 7 * 2);
    /* r (n_in + n_out) of q, k, v, o, gate, up, down, in two layers */
    assert_int_equal(ps.n_total, 2 * 4 * (128 + 96 + 96 + 128 + 160 + 160 + 160));
    assert_int_equal(ps.n_decay, ps.n_total);
    assert_string_equal(ps.items[0].name, "layers.0.attn.q.lora_a");
    assert_ok(f.ctx, lmf_params_lora(&a, f.m, 2, false, "q_proj, v_proj", &ps, &modules));
    check_layout(&ps);
    assert_int_equal(ps.n, 2 * 2 * 2);
    assert_refused(f.ctx, LMF_E_ARG, "no module \"q_prj\" to adapt; it has q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj", lmf_params_lora(&a, f.m, 2, false, "v_proj,q_prj", &ps, &modules));
    assert_refused(f.ctx, LMF_E_ARG, "no target modules", lmf_params_lora(&a, f.m, 2, false, "", &ps, &modules));
    assert_true(lmf_module_path(f.m, "layers.1.mlp.down", path, sizeof path));
    assert_string_equal(path, "model.layers.1.mlp.down_proj");
    assert_false(lmf_module_path(f.m, "embed", path, sizeof path));
    assert_false(lmf_module_path(f.m, "layers.1.attn_norm", path, sizeof path));
    assert_false(lmf_module_path(f.m, "nothing", path, sizeof path));
    lmf_arena_clear(&a);
    teardown(&f);
}

/* A is uniform in +-1/sqrt(n_in), which PEFT's kaiming_uniform with a = sqrt 5 is; B is zero; another seed gives others. */
static void lora_start(void **state)
{
    (void)state;
    static float p[20000], q[20000];
    fixture f = setup(NULL);
    lmf_arena a;
    lmf_params ps;
    lmf_modules modules;
    lmf_arena_init(&a, f.ctx, 1 << 20);
    assert_ok(f.ctx, lmf_params_lora(&a, f.m, 4, false, "all-linear", &ps, &modules));
    assert_true(ps.n_total <= 20000);
    lmf_params_init_lora(&ps, f.m, 1, p);
    lmf_params_init_lora(&ps, f.m, 2, q);
    for (int i = 0; i < ps.n; i++) {
        const lmf_param *x = &ps.items[i];
        double bound = 1 / sqrt((double)x->dim[1]), sum = 0, square = 0, n = (double)x->count;
        int n_equal = 0;
        for (int64_t k = 0; k < x->count; k++) {
            double v = (double)p[x->offset + k];
            if (i % 2)
                assert_true(v == 0);
            assert_true(fabs(v) <= bound);
            sum += v, square += v * v;
            n_equal += p[x->offset + k] == q[x->offset + k];
        }
        if (i % 2)
            continue;
        assert_true(fabs(sum / n) < 5 * bound / sqrt(3 * n));              /* mean 0, five deviations */
        assert_true(fabs(square / n / (bound * bound / 3) - 1) < 5 * 0.9 / sqrt(n)); /* variance of the uniform */
        assert_true(n_equal < 3);
    }
    lmf_arena_clear(&a);
    teardown(&f);
}

static void full_layout(void **state)
{
    (void)state;
    for (int tied = 0; tied < 2; tied++) {
        static float p[100000];
        fixture f = setup_at(lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 2, .tied = tied }), NULL);
        lmf_arena a;
        lmf_params ps;
        lmf_arena_init(&a, f.ctx, 1 << 20);
        assert_ok(f.ctx, lmf_params_full(&a, f.m, &ps));
        check_layout(&ps);
        assert_int_equal(ps.n, 1 + 1 + 2 * 9 + !tied);
        assert_int_equal(ps.n_total, f.m->n_params);
        assert_int_equal(ps.n_total - ps.n_decay, 5 * 64); /* norms */
        assert_true(ps.n_total <= 100000);
        lmf_params_init_full(&ps, f.m, p);
        for (int i = 0; i < ps.n; i++)
            for (int64_t k = 0; k < ps.items[i].count; k += 97)
                assert_true((double)p[ps.items[i].offset + k] == lmf_get(&lmf_weights_find(f.m->weights, ps.items[i].name)->v, k));
        lmf_arena_clear(&a);
        teardown(&f);
    }
}

LMF_TESTS(params) = { { "LoRA pairs", lora_layout }, { "LoRA's beginning", lora_start }, { "all weights, tied ones once", full_layout }, { 0 } };
