/* SPDX-License-Identifier: Apache-2.0 */
/* One process trains LoRA and answers with the adapter between the steps: as an engine does that is opened on the saved folder, bit by
 * bit, with one base for both. */
#include <pthread.h>
#include "graph/far_device_test.h"
#include "infer/engine.h"
#include "train/train_test.h"

enum { PROMPT = 9, NEW = 12, RANK = 4 };

static lmf_engine *engine(fixture *f, const char *dir)
{
    lmf_engine *e;
    lmf_engine_opts o = lmf_engine_opts_default();
    o.compute = 0, o.max_seqs = 2, o.prefill_chunk = 4, o.max_rank = RANK, o.context = 128, o.page_size = 4;
    if (dir)
        o.adapters = &dir, o.n_adapters = 1;
    else
        o.shared_device = lmf_trainer_device(f->t), o.max_adapters = 1;
    assert_ok(f->ctx, lmf_engine_create(f->ctx, f->m, &o, &e));
    return e;
}

static lmf_session *ask(fixture *f, lmf_engine *e, const int32_t *tok, int n, int n_new)
{
    lmf_session *s;
    lmf_gen_opts gen = lmf_gen_opts_default();
    gen.max_tok = n_new, gen.ignore_eos = true;
    assert_ok(f->ctx, lmf_session_create(e, &(lmf_session_opts){ sizeof(lmf_session_opts), 0 }, &s));
    assert_ok(f->ctx, lmf_session_append(s, tok, n, NULL));
    assert_ok(f->ctx, lmf_session_generate(s, &gen));
    return s;
}

static void finish(fixture *f, lmf_engine *e)
{
    for (int live = 1; live;)
        assert_ok(f->ctx, lmf_engine_step(e, &live));
}

static int take(fixture *f, lmf_session *s, lmf_token *out, int cap)
{
    int n = 0, k = 1;
    for (; k && n < cap; n += k)
        assert_ok(f->ctx, lmf_session_read(s, out + n, cap - n, &k));
    return n;
}

/* What an engine with a device of its own says that is opened on the adapter as it would be saved now. */
static void folder_answer(fixture *f, const int32_t *tok, int n, int n_new, lmf_token *out)
{
    const char *dir = lmf_test_path("saved");
    assert_ok(f->ctx, lmf_trainer_save_adapter(f->t, dir, "base"));
    lmf_engine *e = engine(f, dir);
    lmf_session *s = ask(f, e, tok, n, n_new);
    finish(f, e);
    assert_int_equal(take(f, s, out, n_new), n_new);
    lmf_engine_destroy(e);
}

static fixture trainer_on(const char *device)
{
    fixture f = { .ctx = lmf_test_ctx() };
    lmf_train_opts o = small_opts();
    far_tables(f.ctx);
    o.lora_alpha = 7; /* a scale that rounds */
    assert_ok(f.ctx, lmf_model_open(f.ctx, lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 2 }), &f.m));
    assert_ok(f.ctx, open_samples(f.ctx, f.m, rows_path(), &f.samples));
    assert_ok(f.ctx, lmf_trainer_create(f.ctx, device, f.m, f.samples, &o, &f.t));
    return f;
}

static void between_steps(void **state)
{
    static const char *const devices[] = { "cpu", "far" };
    (void)state;
    for (int d = 0; d < 2; d++) {
        fixture f = trainer_on(devices[d]);
        lmf_train_stats st;
        lmf_token now[NEW], want[NEW], before[NEW] = { { 0 } };
        int slot, n_cached;
        lmf_engine *e = engine(&f, NULL);
        assert_ok(f.ctx, lmf_engine_live_adapter(e, "live", lmf_trainer_weights(f.t), (double)lmf_trainer_lora_scale(f.t), &slot));
        assert_true(slot == 0 && lmf_engine_adapter_find(e, "live") == 0);
        /* one base: the engine's own weights there are the adapter's slot, A [4, n_in] and B [n_out, 4] of 7 matrices in 2 layers */
        const lmf_memory *trains = lmf_trainer_memory(f.t), *serves = lmf_engine_memory(e);
        size_t pairs = (size_t)lmf_trainer_n_params(f.t) * sizeof(float);
        assert_int_equal(serves->weight - serves->shared, d == 0 ? 0 : pairs);
        assert_int_equal(serves->shared, trains->weight);
        assert_int_equal(serves->mapped, d == 0 ? trains->mapped + pairs : 0);
        assert_true(d == 0 || trains->weight > 4 * pairs);
        size_t own = serves->weight - serves->shared + serves->state + serves->io + serves->step;
        assert_int_equal(lmf_trainer_device(f.t)->asked_bytes, lmf_trainer_bytes(f.t) + own);
        lmf_session *rests = NULL;
        for (int step = 0; !lmf_trainer_is_done(f.t); step++) {
            assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
            const int32_t *prompt = f.samples->items[step % 3].id;
            lmf_session *s = ask(&f, e, prompt, PROMPT, NEW);
            finish(&f, e);
            assert_int_equal(take(&f, s, now, NEW), NEW);
            folder_answer(&f, prompt, PROMPT, NEW, want);
            assert_memory_equal(now, want, sizeof now);
            assert_memory_not_equal(now, before, sizeof now);
            memcpy(before, now, sizeof now);
            if (step == 0) {
                rests = s;
            } else if (step == 1) { /* a session of the older version: its tokens stay, nothing computed does */
                int32_t all[PROMPT + NEW];
                lmf_gen_opts gen = lmf_gen_opts_default();
                gen.max_tok = NEW, gen.ignore_eos = true;
                assert_int_equal(lmf_session_tokens(rests, all, PROMPT + NEW), PROMPT + NEW);
                assert_ok(f.ctx, lmf_session_append(rests, all, 0, &n_cached));
                assert_int_equal(n_cached, 0);
                assert_ok(f.ctx, lmf_session_generate(rests, &gen));
                finish(&f, e);
                assert_int_equal(take(&f, rests, now, NEW), NEW);
                folder_answer(&f, all, PROMPT + NEW, NEW, want);
                for (int i = 0; i < NEW; i++)
                    assert_true(now[i].id == want[i].id && now[i].logp == want[i].logp);
            }
            if (s != rests)
                lmf_session_destroy(s);
        }
        lmf_engine_destroy(e);
        assert_int_equal(lmf_trainer_device(f.t)->asked_bytes, lmf_trainer_bytes(f.t));
        teardown(&f);
    }
}

/* The adapter changes while answers are being written: each goes on from its tokens under the new version. */
static void in_the_middle(void **state)
{
    (void)state;
    fixture f = trainer_on("far");
    lmf_train_stats st;
    lmf_token out[2][NEW], want[NEW];
    int32_t tok[2][PROMPT + NEW];
    int live, had[2];
    lmf_engine *e = engine(&f, NULL);
    assert_ok(f.ctx, lmf_engine_live_adapter(e, "live", lmf_trainer_weights(f.t), (double)lmf_trainer_lora_scale(f.t), NULL));
    lmf_session *s[2];
    for (int i = 0; i < 2; i++)
        s[i] = ask(&f, e, f.samples->items[i].id, PROMPT, NEW);
    assert_refused(f.ctx, LMF_E_BUSY, "adapters change", lmf_engine_adapter(e, "live", NULL, NULL));
    for (int i = 0; i < 6; i++)
        assert_ok(f.ctx, lmf_engine_step(e, &live));
    for (int i = 0; i < 2; i++) {
        had[i] = lmf_session_n_tok(s[i]);
        assert_true(had[i] > PROMPT && had[i] < PROMPT + NEW);
        lmf_session_tokens(s[i], tok[i], had[i]);
    }
    for (int k = 0; k < 3; k++)
        assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
    finish(&f, e);
    for (int i = 0; i < 2; i++) {
        int n = PROMPT + NEW - had[i], first = had[i] - PROMPT;
        assert_int_equal(take(&f, s[i], out[i], NEW), NEW);
        folder_answer(&f, tok[i], had[i], n, want);
        for (int k = 0; k < n; k++)
            assert_true(out[i][first + k].id == want[k].id && out[i][first + k].logp == want[k].logp);
    }
    assert_ok(f.ctx, lmf_engine_adapter(e, "live", NULL, NULL)); /* no longer borrowed: the trainer's next step is nothing to the engine */
    assert_int_equal(lmf_engine_adapter_find(e, "live"), -1);
    const char *dir = lmf_test_path("saved");
    assert_ok(f.ctx, lmf_trainer_save_adapter(f.t, dir, "base"));
    assert_ok(f.ctx, lmf_engine_adapter(e, "file", dir, NULL));
    assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
    lmf_session *last = ask(&f, e, tok[1], had[1], PROMPT + NEW - had[1]);
    finish(&f, e);
    assert_int_equal(take(&f, last, out[0], NEW), PROMPT + NEW - had[1]);
    for (int k = 0; k < PROMPT + NEW - had[1]; k++)
        assert_true(out[0][k].id == want[k].id && out[0][k].logp == want[k].logp);
    lmf_engine_destroy(e);
    teardown(&f);
}

/* Many micro-batches a step, filled while others run: the same losses and parameters as on the CPU. */
static void micro_batches(void **state)
{
    (void)state;
    double loss[2][6];
    char hash[2][65];
    for (int d = 0; d < 2; d++) {
        fixture f = { .ctx = lmf_test_ctx() };
        lmf_train_opts o = small_opts();
        o.batch_size = 8, o.micro_tok = 200;
        far_tables(f.ctx);
        assert_ok(f.ctx, lmf_model_open(f.ctx, lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 2 }), &f.m));
        assert_ok(f.ctx, open_samples(f.ctx, f.m, rows_path(), &f.samples));
        assert_ok(f.ctx, lmf_trainer_create(f.ctx, d ? "far" : "cpu", f.m, f.samples, &o, &f.t));
        run(&f, loss[d]);
        assert_true(f.t->now.n_micro > 2);
        adapter_hash(&f, hash[d]);
        teardown(&f);
    }
    assert_memory_equal(loss[0], loss[1], sizeof loss[0]);
    assert_string_equal(hash[0], hash[1]);
}

typedef struct reader { fixture *f; lmf_session *s; int n, finish; } reader;
static void *read_until_done(void *arg)
{
    reader *r = arg;
    lmf_token t[4];
    int n;
    while (!r->finish && lmf_session_wait(r->s, -1)) {
        if (lmf_session_read(r->s, t, 4, &n))
            break;
        for (int i = 0; i < n; i++)
            r->n += t[i].id >= 0, r->finish = t[i].finish;
    }
    return NULL;
}

/* One thread trains and steps, two read. */
static void readers(void **state)
{
    (void)state;
    fixture f = trainer_on("cpu");
    lmf_train_stats st;
    lmf_engine *e = engine(&f, NULL);
    reader r[2];
    pthread_t thread[2];
    assert_ok(f.ctx, lmf_engine_live_adapter(e, "live", lmf_trainer_weights(f.t), (double)lmf_trainer_lora_scale(f.t), NULL));
    for (int i = 0; i < 2; i++) {
        r[i] = (reader){ .f = &f, .s = ask(&f, e, f.samples->items[i].id, PROMPT, NEW) };
        assert_int_equal(pthread_create(&thread[i], NULL, read_until_done, &r[i]), 0);
    }
    for (int live = 1; live;) {
        if (!lmf_trainer_is_done(f.t))
            assert_ok(f.ctx, lmf_trainer_step(f.t, &st));
        assert_ok(f.ctx, lmf_engine_step(e, &live));
    }
    for (int i = 0; i < 2; i++) {
        pthread_join(thread[i], NULL);
        assert_true(r[i].n == NEW && r[i].finish == LMF_FINISH_LENGTH);
    }
    lmf_engine_destroy(e);
    teardown(&f);
}

static void misfits(void **state)
{
    (void)state;
    fixture f = trainer_on("cpu");
    lmf_engine *e = engine(&f, NULL);
    static const struct { const char *a; int64_t r, k, n; lmf_status s; const char *words; } bad[] = {
        { "layers.0.attn.q", 5, 64, 64, LMF_E_LIMIT, "rank 5, the engine's slots have 4" },
        { "layers.0.attn.q", 4, 63, 64, LMF_E_SHAPE, "63 inputs and 64 outputs; the model's has 64 and 64" },
        { "layers.0.attn.q", 4, 64, 65, LMF_E_SHAPE, "65 outputs" },
        { "layers.9.attn.q", 4, 64, 64, LMF_E_NOT_FOUND, "layers.9.attn.q.lora_a: the model has no such layer" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        lmf_weights *set;
        char name[64];
        assert_ok(f.ctx, lmf_weights_create(f.ctx, &set));
        snprintf(name, sizeof name, "%s.lora_a", bad[i].a);
        assert_ok(f.ctx, lmf_weights_add(set, name, LMF_F32, 2, (int64_t[]){ bad[i].r, bad[i].k }, NULL, false, NULL));
        assert_refused(f.ctx, LMF_E_SHAPE, "are not a pair", lmf_engine_live_adapter(e, "x", set, 1, NULL));
        snprintf(name, sizeof name, "%s.lora_b", bad[i].a);
        assert_ok(f.ctx, lmf_weights_add(set, name, LMF_F32, 2, (int64_t[]){ bad[i].n, bad[i].r }, NULL, false, NULL));
        assert_refused(f.ctx, bad[i].s, bad[i].words, lmf_engine_live_adapter(e, "x", set, 1, NULL));
        lmf_weights_destroy(set);
    }
    assert_refused(f.ctx, LMF_E_ARG, "no slash", lmf_engine_live_adapter(e, "a/b", lmf_trainer_weights(f.t), 1, NULL));
    assert_ok(f.ctx, lmf_engine_live_adapter(e, "a", lmf_trainer_weights(f.t), 1, NULL));
    assert_refused(f.ctx, LMF_E_BUSY, "slots are taken", lmf_engine_live_adapter(e, "b", lmf_trainer_weights(f.t), 1, NULL));
    assert_ok(f.ctx, lmf_engine_live_adapter(e, "a", lmf_trainer_weights(f.t), 2, NULL));
    lmf_engine_destroy(e);
    teardown(&f);
}

LMF_TESTS(live_adapter) = {
    { "answers between steps are the saved adapter's", between_steps },
    { "an answer goes on under the new version", in_the_middle },
    { "micro-batches in two slots give the CPU's bits", micro_batches },
    { "others read while one thread trains and steps", readers },
    { "pairs that don't fit are refused", misfits },
    { 0 }
};
