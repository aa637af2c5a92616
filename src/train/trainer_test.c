/* SPDX-License-Identifier: Apache-2.0 */
#include "train/train_test.h"

enum { STEPS = 6 };

/* Positions restart with each sample, which has its number in seq; padding is a segment of its own without weight. */
static void check_inputs(const fixture *f)
{
    const lmf_micro *m = &f->t->now.micro[f->t->now.n_micro - 1];
    const int32_t *pos = lmf_plan_io(f->t->plan, m->i_bucket, "pos"), *seq = lmf_plan_io(f->t->plan, m->i_bucket, "seq");
    const int32_t *q_start = lmf_plan_io(f->t->plan, m->i_bucket, "q_start");
    const float *weight = lmf_plan_io(f->t->plan, m->i_bucket, "weight");
    int32_t T = f->t->batches.bucket[m->i_bucket], k = 0;
    for (int32_t at = 0; at < T; at++) {
        k += k < m->n_groups && at == q_start[k + 1];
        assert_int_equal(seq[at], k);
        assert_int_equal(pos[at], at - q_start[k]);
        assert_true(at < m->n_tok || weight[at] == 0);
    }
    assert_int_equal(q_start[m->n_groups], m->n_tok);
}

/* The loss is the token mean over the whole step, however it is packed. */
static void packing_changes_nothing(void **state)
{
    (void)state;
    static const int32_t micro[] = { 0, 64, 128, 200, 512 };
    double want[STEPS], got[STEPS];
    int most_micro = 0;
    for (size_t i = 0; i < sizeof micro / sizeof *micro; i++) {
        lmf_train_opts o = small_opts();
        lmf_train_stats st;
        o.batch_size = 8, o.micro_tok = micro[i];
        fixture f = setup(&o);
        int64_t n_tok = 0;
        for (int k = 0; k < STEPS; k++) {
            assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
            check_inputs(&f);
            for (int n = 0; n < f.t->now.n_groups; n++)
                n_tok += f.samples->items[f.t->now.group[n]].n;
            assert_int_equal(st.total_tok, n_tok);
            got[k] = st.loss;
            most_micro = f.t->now.n_micro > most_micro ? f.t->now.n_micro : most_micro;
            if (i == 0)
                want[k] = st.loss;
            if (fabs(got[k] - want[k]) > 1e-6 * want[k])
                fail_msg("step %d, micro-batches of %d: loss %.9g, not %.9g", k + 1, micro[i], got[k], want[k]);
        }
        assert_true(micro[i] != 0 || f.t->now.n_micro == 1);
        teardown(&f);
    }
    assert_true(most_micro >= 4);
    assert_true(want[STEPS - 1] < 0.9 * want[0]);
}

/* batch x accumulation is one step of so many rows. */
static void accumulation_is_batch_size(void **state)
{
    (void)state;
    static const int32_t split[][2] = { { 8, 1 }, { 4, 2 }, { 1, 8 } };
    char want[65], got[65];
    for (size_t i = 0; i < 3; i++) {
        lmf_train_opts o = small_opts();
        o.batch_size = split[i][0], o.grad_accum = split[i][1];
        train_to_hash(&o, 0, i ? got : want);
        if (i)
            assert_string_equal(got, want);
    }
}

/* Bytes of an op's results in the plan of the first bucket. */
static size_t planned_bytes(const fixture *f, const char *op)
{
    const lmf_placed *p;
    size_t sum = 0;
    for (int i = 0, n = lmf_plan_placed(lmf_trainer_plan(f->t), 0, &p); i < n; i++)
        sum += !p[i].scratch && p[i].op && strcmp(p[i].op, op) == 0 ? p[i].bytes : 0;
    return sum;
}

/* Activations in bf16: nearly the same losses in half the bytes; the adapter still learns. By the ops' references. */
static void bf16_between_ops(void **state)
{
    (void)state;
    double loss[2][STEPS], evaluated[2];
    size_t bytes[2];
    for (int i = 0; i < 2; i++) {
        lmf_train_opts o = small_opts();
        o.compute = 1, o.between = i ? LMF_BF16 : LMF_F32;
        fixture f = setup(&o);
        run(&f, loss[i]);
        bytes[i] = planned_bytes(&f, "swiglu");
        assert_ok(f.ctx, lmf_trainer_eval(f.t, f.samples, &evaluated[i]));
        teardown(&f);
    }
    for (int k = 0; k < STEPS; k++)
        if (fabs(loss[1][k] - loss[0][k]) > 5e-3 * loss[0][k] || loss[1][k] == loss[0][k])
            fail_msg("step %d: loss %.9g in bf16, %.9g in f32", k + 1, loss[1][k], loss[0][k]);
    if (fabs(evaluated[1] - evaluated[0]) > 5e-3 * evaluated[0])
        fail_msg("evaluated: %.9g in bf16, %.9g in f32", evaluated[1], evaluated[0]);
    assert_true(loss[1][STEPS - 1] < 0.9 * loss[1][0]);
    if (!bytes[1] || 2 * bytes[1] != bytes[0])
        fail_msg("results of swiglu take %zu bytes in bf16, %zu in f32", bytes[1], bytes[0]);
}

/* Both modes' gradients of the second step (at the first B is zero, and A has none) point the same way and are as long: all together,
 * and, as far as roundings of single numbers in so small a model allow, each alone. */
static void bf16_gradients(void **state)
{
    (void)state;
    enum { MOST = 1 << 16 };
    static float g[2][MOST];
    double all[3] = { 0 };
    for (int i = 0; i < 2; i++) {
        lmf_train_opts o = small_opts();
        lmf_train_stats st;
        o.compute = 1, o.between = i ? LMF_BF16 : LMF_F32, o.warmup_steps = 0;
        fixture f = setup(&o);
        for (int k = 0; k < 2; k++)
            assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
        assert_true(f.t->params.n_total <= MOST);
        for (int k = 0; k < f.t->params.n; k++) {
            const lmf_param *p = &f.t->params.items[k];
            assert_ok(f.ctx, lmf_trainer_gradient(f.t, p->name, g[i] + p->offset, p->count));
            double sum[3] = { 0 };
            for (int64_t e = p->offset; e < p->offset + p->count && i; e++) {
                double a = (double)g[0][e], b = (double)g[1][e];
                sum[0] += a * b, sum[1] += a * a, sum[2] += b * b;
            }
            for (int e = 0; e < 3; e++)
                all[e] += sum[e];
            if (i && !(sum[0] > 0.9 * sqrt(sum[1] * sum[2]) && fabs(sum[2] / sum[1] - 1) < 0.2))
                fail_msg("%s: cosine %.4f, lengths %.4g and %.4g", p->name, sum[0] / sqrt(sum[1] * sum[2]), sqrt(sum[1]), sqrt(sum[2]));
        }
        teardown(&f);
    }
    if (!(all[0] > 0.99 * sqrt(all[1] * all[2]) && fabs(all[2] / all[1] - 1) < 0.05))
        fail_msg("all: cosine %.4f, lengths %.4g and %.4g", all[0] / sqrt(all[1] * all[2]), sqrt(all[1]), sqrt(all[2]));
}

/* Sum of the rows' own losses over the rows' own token counts: a packed evaluation is that of each row alone. */
static void evaluation_row_by_row(void **state)
{
    (void)state;
    lmf_train_opts o = small_opts();
    fixture f = setup(&o);
    double all, one, sum = 0;
    int64_t n = 0;
    assert_ok(f.ctx, lmf_trainer_eval(f.t, f.samples, &all));
    for (int64_t i = 0; i < f.samples->n; i++) {
        lmf_samples single = { .ctx = f.ctx, .items = f.samples->items + i, .n = 1 };
        assert_ok(f.ctx, lmf_trainer_eval(f.t, &single, &one));
        sum += one * f.samples->items[i].n_learn;
        n += f.samples->items[i].n_learn;
    }
    assert_int_equal(n, f.samples->n_learn);
    if (fabs(sum / (double)n - all) > 1e-6 * all)
        fail_msg("packed %.9g, row by row %.9g", all, sum / (double)n);
    /* with B zero the adapter changes nothing: the first step's loss is the evaluation of its rows */
    lmf_train_stats st;
    assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
    sum = 0, n = 0;
    for (int i = 0; i < f.t->now.n_groups; i++) {
        lmf_samples single = { .ctx = f.ctx, .items = f.samples->items + f.t->now.group[i], .n = 1 };
        fixture fresh = setup(&o);
        assert_ok(fresh.ctx, lmf_trainer_eval(fresh.t, &single, &one));
        teardown(&fresh);
        sum += one * single.items->n_learn;
        n += single.items->n_learn;
    }
    assert_int_equal(n, st.n_learn);
    if (fabs(sum / (double)n - st.loss) > 1e-6 * st.loss)
        fail_msg("step's loss %.9g, evaluation %.9g", st.loss, sum / (double)n);
    teardown(&f);
}

static void recomputation_gives_the_same_bits(void **state)
{
    (void)state;
    lmf_train_opts o = small_opts();
    char plain[65], again[65];
    o.micro_tok = 200;
    train_to_hash(&o, 0, plain);
    o.recompute = true;
    train_to_hash(&o, 0, again);
    assert_string_equal(plain, again);
    o.seed++;
    train_to_hash(&o, 0, again); /* the hash sees a difference */
    assert_string_not_equal(plain, again);
}

static void recomputation_takes_less(void **state)
{
    (void)state;
    lmf_train_opts o = small_opts();
    size_t bytes[2];
    for (int i = 0; i < 2; i++) {
        o.recompute = i;
        fixture f = setup_at(lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 6 }), &o);
        bytes[i] = lmf_trainer_bytes(f.t);
        teardown(&f);
    }
    assert_true(bytes[1] < bytes[0]);
}

static void workers_give_the_same_bits(void **state)
{
    (void)state;
    static const int workers[] = { 1, 2, 3, 7 };
    char want[65], got[65];
    for (int full_recompute = 0; full_recompute < 2; full_recompute++)
        for (size_t i = 0; i < 4; i++) {
            lmf_train_opts o = small_opts();
            o.recompute = full_recompute;
            train_to_hash(&o, workers[i], i ? got : want);
            if (i)
                assert_string_equal(got, want);
        }
}

/* A step whose gradients are not finite changes nothing and is counted. */
static void skips_what_is_not_finite(void **state)
{
    (void)state;
    lmf_train_opts o = small_opts();
    fixture f = setup(&o);
    lmf_train_stats st;
    size_t bytes = (size_t)f.t->params.n_total * sizeof(float);
    float *p = malloc(bytes), *q = malloc(bytes);
    assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
    assert_ok(f.ctx, lmf_plan_state_read(f.t->plan, "train.p", p, bytes));
    float keep = p[0];
    p[0] = NAN;
    assert_ok(f.ctx, lmf_plan_state_write(f.t->plan, "train.p", p, bytes));
    assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
    assert_int_equal(st.n_skipped, 1);
    assert_ok(f.ctx, lmf_plan_state_read(f.t->plan, "train.p", q, bytes));
    assert_memory_equal(p, q, bytes);
    p[0] = keep;
    assert_ok(f.ctx, lmf_plan_state_write(f.t->plan, "train.p", p, bytes));
    assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
    assert_int_equal(st.n_skipped, 1);
    assert_true(isfinite(st.loss) && isfinite(st.grad_norm));
    /* the third step is the second that moves anything: its corrections are those of t = 2 */
    for (int i = 0; i < 2; i++) {
        const float *h = lmf_plan_io(f.t->plan, f.t->n_graphs - 1, i ? "hyper_plain" : "hyper");
        assert_true(fabs((double)h[5] - (1 - (double)h[1] * h[1])) < 1e-7 && fabs((double)h[6] - (1 - (double)h[2] * h[2])) < 1e-9);
    }
    /* a run that goes on from here counts on */
    char dir[600];
    int passed_over;
    lmf_train_stats on;
    snprintf(dir, sizeof dir, "%s", lmf_test_path("counts"));
    assert_ok(f.ctx, lmf_dir_create(f.ctx, dir));
    assert_ok(f.ctx, lmf_trainer_save(f.t, dir, 1, "base"));
    fixture later = setup(&o);
    assert_ok(later.ctx, lmf_trainer_resume(later.t, dir, &passed_over));
    lmf_trainer_stats(later.t, &on);
    assert_int_equal(on.step, 3);
    assert_int_equal(on.n_skipped, 1);
    assert_int_equal(on.total_tok, st.total_tok);
    teardown(&later);
    free(p);
    free(q);
    teardown(&f);
}

/* The third in a row ends the run; the weights stay, and what is not finite is saved nowhere. */
static void stops_where_nothing_is_finite(void **state)
{
    (void)state;
    lmf_train_opts o = small_opts();
    fixture f = setup(&o);
    lmf_train_stats st;
    size_t bytes = (size_t)f.t->params.n_total * sizeof(float);
    float *p = malloc(bytes), *q = malloc(bytes), keep;
    char dir[600], line[64];
    snprintf(dir, sizeof dir, "%s", lmf_test_path("run"));
    assert_ok(f.ctx, lmf_dir_create(f.ctx, dir));
    assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
    assert_ok(f.ctx, lmf_trainer_save(f.t, dir, 1, "base"));
    assert_ok(f.ctx, lmf_plan_state_read(f.t->plan, "train.p", p, bytes));
    keep = p[0], p[0] = NAN;
    for (int round = 0; round < 2; round++) { /* a good step between: counted anew */
        assert_ok(f.ctx, lmf_plan_state_write(f.t->plan, "train.p", p, bytes));
        assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
        assert_true(!isfinite(st.loss) || !isfinite(st.grad_norm));
        if (round)
            break;
        p[0] = keep;
        assert_ok(f.ctx, lmf_plan_state_write(f.t->plan, "train.p", p, bytes));
        assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
        assert_ok(f.ctx, lmf_plan_state_read(f.t->plan, "train.p", p, bytes));
        p[0] = NAN;
    }
    assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
    assert_refused(f.ctx, LMF_E_LIMIT, "step 6: for 3 steps in a row", lmf_trainer_step(f.t, &st));
    assert_non_null(strstr(lmf_error(f.ctx), "the weights are those of step 3"));
    snprintf(line, sizeof line, "data lines %lld, %lld", (long long)f.samples->items[f.t->now.group[0]].line,
             (long long)f.samples->items[f.t->now.group[1]].line);
    assert_non_null(strstr(lmf_error(f.ctx), line));
    assert_ok(f.ctx, lmf_plan_state_read(f.t->plan, "train.p", q, bytes));
    assert_memory_equal(p, q, bytes);
    assert_refused(f.ctx, LMF_E_LIMIT, "train.p is not finite", lmf_trainer_save(f.t, dir, 1, "base"));
    assert_refused(f.ctx, LMF_E_LIMIT, "train.p is not finite", lmf_trainer_save_adapter(f.t, dir, "base"));
    p[0] = keep;
    assert_ok(f.ctx, lmf_plan_state_write(f.t->plan, "train.p", p, bytes));
    p[1] = INFINITY;
    assert_ok(f.ctx, lmf_plan_state_write(f.t->plan, "train.v", p, bytes));
    assert_refused(f.ctx, LMF_E_LIMIT, "train.v is not finite", lmf_trainer_save(f.t, dir, 1, "base"));
    assert_int_equal(lmf_checkpoint_newest(dir), 1);
    int skipped;
    assert_ok(f.ctx, lmf_trainer_resume(f.t, dir, &skipped));
    assert_true(f.t->step == 1 && skipped == 0);
    assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
    assert_true(isfinite(st.loss) && isfinite(st.grad_norm));
    free(p);
    free(q);
    teardown(&f);
}

/* The third bad step in a row goes back to weights from before the bad ones, once, and on with the rows behind; so does a resumed run. */
static void goes_back_where_nothing_is_finite(void **state)
{
    (void)state;
    lmf_train_opts o = small_opts();
    o.max_steps = 16;
    fixture f = setup(&o);
    lmf_train_stats st;
    size_t bytes = (size_t)f.t->params.n_total * sizeof(float);
    float *p = malloc(bytes), *q = malloc(bytes), *moment = malloc(bytes);
    char dir[600];
    int64_t from;
    int skipped;
    snprintf(dir, sizeof dir, "%s", lmf_test_path("back"));
    assert_ok(f.ctx, lmf_dir_create(f.ctx, dir));
    for (int i = 0; i < 3; i++) {
        assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
        assert_ok(f.ctx, lmf_trainer_save(f.t, dir, 9, "base"));
        assert_ok(f.ctx, lmf_plan_state_read(f.t->plan, "train.p", i == 1 ? q : p, bytes));
        if (i == 1)
            assert_ok(f.ctx, lmf_plan_state_read(f.t->plan, "train.v", moment, bytes));
    }
    assert_refused(f.ctx, LMF_E_LIMIT, "step 3: the gradients are finite", lmf_trainer_rewind(f.t, dir, &from));
    for (int round = 0; round < 2; round++) {
        p[0] = NAN;
        assert_ok(f.ctx, lmf_plan_state_write(f.t->plan, "train.p", p, bytes));
        for (int i = 0; i < 2; i++)
            assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
        assert_refused(f.ctx, LMF_E_LIMIT, "for 3 steps in a row", lmf_trainer_step(f.t, &st));
        if (round)
            break;
        int64_t tok = st.total_tok;
        assert_ok(f.ctx, lmf_trainer_rewind(f.t, dir, &from));
        assert_int_equal(from, 2); /* checkpoint-3 has the weights of the bad steps */
        lmf_trainer_stats(f.t, &st);
        assert_true(st.step == 6 && st.n_skipped == 4 && st.total_tok == tok);
        assert_ok(f.ctx, lmf_plan_state_read(f.t->plan, "train.p", p, bytes));
        assert_memory_equal(p, q, bytes);
        assert_ok(f.ctx, lmf_plan_state_read(f.t->plan, "train.v", p, bytes));
        assert_memory_equal(p, moment, bytes);
        assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
        assert_true(st.step == 7 && isfinite(st.loss) && isfinite(st.grad_norm));
        assert_ok(f.ctx, lmf_trainer_save(f.t, dir, 9, "base"));
        assert_ok(f.ctx, lmf_plan_state_read(f.t->plan, "train.p", p, bytes));
        const float *h = lmf_plan_io(f.t->plan, f.t->n_graphs - 1, "hyper"); /* its corrections are those of the third that moved anything */
        assert_true(fabs((double)h[5] - (1 - pow((double)h[1], 3))) < 1e-7);
        fixture later = setup(&o);
        assert_ok(later.ctx, lmf_trainer_resume(later.t, dir, &skipped));
        assert_true(later.t->step == 7 && later.t->n_skipped == 4 && later.t->n_rewinds == 1);
        teardown(&later);
    }
    assert_refused(f.ctx, LMF_E_LIMIT, "step 10: the run was rewound once before", lmf_trainer_rewind(f.t, dir, &from));
    free(p);
    free(q);
    free(moment);
    teardown(&f);
}

/* Evaluation rows may be longer than any that is trained on; the training does not notice. */
static void evaluates_longer_rows(void **state)
{
    (void)state;
    lmf_train_opts o = small_opts();
    int32_t id[512];
    uint8_t learn[512];
    double got, want;
    char plain[65], beside[65];
    o.batch_size = 1;
    fixture f = setup(&o);
    lmf_sample item = { .id = id, .learn = learn, .n = f.samples->longest + 40, .n_learn = f.samples->longest + 39, .line = 1 };
    lmf_samples one = { .items = &item, .n = 1, .longest = item.n };
    assert_in_range(item.n, 41, 512);
    for (int i = 0; i < item.n; i++)
        id[i] = 7 * i % 250, learn[i] = i > 0;
    assert_refused(f.ctx, LMF_E_LIMIT, "eval_tok", lmf_trainer_eval(f.t, &one, &got));
    teardown(&f);
    o.eval_tok = item.n;
    f = setup(&o);
    assert_ok(f.ctx, lmf_trainer_eval(f.t, &one, &got));
    teardown(&f);
    lmf_train_opts wide = small_opts();
    wide.batch_size = 24; /* steps that are long enough without being told */
    f = setup(&wide);
    assert_ok(f.ctx, lmf_trainer_eval(f.t, &one, &want));
    teardown(&f);
    if (!(fabs(got - want) <= 1e-6 * want))
        fail_msg("a row of %d tokens: %.9g, in a longer micro-batch %.9g", item.n, got, want);
    train_to_hash(&o, 0, beside);
    o.eval_tok = 0;
    train_to_hash(&o, 0, plain);
    assert_string_equal(plain, beside);
}

static void adapters_come_back(void **state)
{
    (void)state;
    lmf_train_opts o = small_opts();
    char before[65], after[65];
    fixture f = setup(&o);
    run(&f, NULL);
    adapter_hash(&f, before);
    const char *dir = lmf_test_path("adapter");
    assert_ok(f.ctx, lmf_trainer_save_adapter(f.t, dir, "base"));
    teardown(&f);
    f = setup(&o);
    assert_ok(f.ctx, lmf_trainer_load_adapter(f.t, dir));
    adapter_hash(&f, after);
    assert_string_equal(before, after);
    teardown(&f);
    /* what does not fit is refused, not bent */
    o.lora_alpha = 16;
    f = setup(&o);
    assert_refused(f.ctx, LMF_E_ARG, "scales model.layers.0.self_attn.q_proj by 2, this run by 4", lmf_trainer_load_adapter(f.t, dir));
    teardown(&f);
    o = small_opts();
    o.lora_r = 8, o.lora_alpha = 16;
    f = setup(&o);
    assert_refused(f.ctx, LMF_E_SHAPE, "in rank 4, this run trains rank 8", lmf_trainer_load_adapter(f.t, dir));
    teardown(&f);
    o = small_opts();
    o.target_modules = "q_proj";
    f = setup(&o);
    assert_refused(f.ctx, LMF_E_ARG, "has 14 modules, this run trains 2", lmf_trainer_load_adapter(f.t, dir));
    const char *small = lmf_test_path("adapter");
    assert_ok(f.ctx, lmf_trainer_save_adapter(f.t, small, "base"));
    teardown(&f);
    o = small_opts();
    f = setup(&o);
    assert_refused(f.ctx, LMF_E_NOT_FOUND, "has no weights for model.layers.0.self_attn.k_proj", lmf_trainer_load_adapter(f.t, small));
    teardown(&f);
}

static void refusals(void **state)
{
    (void)state;
    fixture f = setup(NULL);
    lmf_train_opts bad[16];
    int n = 0;
    for (int i = 0; i < 16; i++)
        bad[i] = small_opts();
    bad[n++].lora_r = 0;
    bad[n++].lora_r = 5000;
    bad[n++].lora_alpha = NAN;
    bad[n++].lr = -1;
    bad[n++].beta1 = 1;
    bad[n++].beta2 = NAN;
    bad[n++].eps = 0;
    bad[n++].max_grad_norm = -1;
    bad[n++].batch_size = 0;
    bad[n++].grad_accum = INT32_MAX;
    bad[n++].micro_tok = -5;
    bad[n++].max_steps = -1;
    bad[n].max_steps = 0, bad[n++].epochs = 0;
    bad[n].max_steps = 0, bad[n++].epochs = INFINITY;
    bad[n++].target_modules = "lm_head";
    bad[n++].struct_bytes--;
    for (int i = 0; i < n; i++) {
        lmf_status s = lmf_trainer_create(f.ctx, "cpu", f.m, f.samples, &bad[i], &f.t);
        if (s != LMF_E_ARG || f.t)
            fail_msg("options %d: %s (%s)", i, lmf_status_name(s), lmf_error(f.ctx));
    }
    lmf_train_opts o = small_opts();
    assert_true(lmf_trainer_create(f.ctx, "no such device", f.m, f.samples, &o, &f.t) != LMF_OK);
    lmf_train_stats st;
    o.max_steps = 1, o.warmup_steps = 1;
    assert_ok(f.ctx, lmf_trainer_create(f.ctx, "cpu", f.m, f.samples, &o, &f.t));
    assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
    assert_true(lmf_trainer_is_done(f.t));
    assert_refused(f.ctx, LMF_E_ARG, "all 1 steps are done", lmf_trainer_step(f.t, &st));
    float g[4];
    assert_refused(f.ctx, LMF_E_NOT_FOUND, "no parameter \"nobody\"", lmf_trainer_gradient(f.t, "nobody", g, 4));
    teardown(&f);
}

/* After the first step a step takes no memory. */
static void steps_allocate_nothing(void **state)
{
    (void)state;
    lmf_train_opts o = small_opts();
    fixture f = setup(&o);
    lmf_train_stats st;
    assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
    size_t live = f.ctx->live_bytes;
    while (!lmf_trainer_is_done(f.t)) {
        assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
        assert_int_equal(f.ctx->live_bytes, live);
    }
    teardown(&f);
}

static lmf_status create_all(lmf_ctx *ctx, void *arg)
{
    lmf_train_opts o = small_opts();
    lmf_model *m = NULL;
    lmf_samples *samples = NULL;
    lmf_trainer *t = NULL;
    o.target_modules = "q_proj";
    o.max_steps = 1, o.warmup_steps = 1;
    lmf_status s = lmf_model_open(ctx, arg, &m);
    if (!s)
        s = open_samples(ctx, m, rows_path(), &samples);
    if (!s)
        s = lmf_trainer_create(ctx, "cpu", m, samples, &o, &t);
    lmf_trainer_destroy(t);
    lmf_samples_destroy(samples);
    lmf_model_close(m);
    return s;
}

static void each_call_fails(void **state)
{
    (void)state;
    char model[512];
    snprintf(model, sizeof model, "%s", lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 1 }));
    assert_true(lmf_test_fail_each_call(create_all, model) > 50);
}

LMF_TESTS(trainer) = { { "packing and micro-batches change no loss", packing_changes_nothing }, { "accumulation is batch size", accumulation_is_batch_size },
                       { "packed evaluation is row by row", evaluation_row_by_row }, { "recomputation: the same bits", recomputation_gives_the_same_bits },
                       { "recomputation: less memory", recomputation_takes_less }, { "1, 2, 3 and 7 workers: the same bits", workers_give_the_same_bits },
                       { "a step that is not finite", skips_what_is_not_finite }, { "three that are not", stops_where_nothing_is_finite },
                       { "back to before three", goes_back_where_nothing_is_finite },
                       { "evaluation rows longer than trained ones", evaluates_longer_rows },
                       { "adapters saved and loaded", adapters_come_back }, { "refusals", refusals },
                       { "steps allocate nothing", steps_allocate_nothing }, { "each call fails once", each_call_fails },
                       { "bf16 between ops", bf16_between_ops }, { "bf16 between ops: gradients", bf16_gradients }, { 0 } };
