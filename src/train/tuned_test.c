/* SPDX-License-Identifier: Apache-2.0 */
#include "train/train_test.h"

/* Tied weights are tied in the tuned model too, and of each the tuned numbers are there, not those of the start. */
static void tied_ones(void **state)
{
    (void)state;
    lmf_train_opts o = small_opts();
    o.full = true;
    fixture f = setup_at(lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 2, .tied = true }), &o);
    lmf_train_stats st;
    lmf_model tuned;
    int n_tied = 0;
    assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
    assert_ok(f.ctx, lmf_trainer_tuned(f.t, &tuned));
    assert_int_equal(tuned.weights->n, f.m->weights->n);
    for (int32_t i = 0; i < tuned.weights->n; i++) {
        const lmf_weight *was = &f.m->weights->items[i], *now = lmf_weights_find(tuned.weights, was->name);
        int n_moved = 0;
        assert_non_null(now);
        for (int64_t k = 0; k < lmf_view_count(&now->v); k++)
            n_moved += lmf_get(&now->v, k) != lmf_get(&was->v, k);
        if (!n_moved)
            fail_msg("%s is that of the start", was->name);
        for (int32_t j = 0; j < i; j++)
            if (f.m->weights->items[j].v.data == was->v.data) {
                assert_ptr_equal(lmf_weights_find(tuned.weights, f.m->weights->items[j].name)->v.data, now->v.data);
                n_tied++;
            }
    }
    assert_int_equal(n_tied, 1);
    lmf_trainer_tuned_clear(&tuned);
    teardown(&f);
}

LMF_TESTS(tuned) = { { "tied weights stay tied", tied_ones }, { 0 } };
