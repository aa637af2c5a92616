/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include "train/train_test.h"

static void path_of(char *text, size_t n, const char *dir, int step, const char *file)
{
    snprintf(text, n, "%s/checkpoint-%d/%s", dir, step, file);
}

static void steps(fixture *f, int n)
{
    lmf_train_stats st;
    for (int i = 0; i < n; i++)
        assert_ok(f->ctx, lmf_trainer_step(f->t, &st));
}

/* Trained to the end with saves after steps 2 and 4; the hash of an undisturbed run. */
static void make_two(const char *model, const char *dir, char hash[65])
{
    lmf_train_opts o = small_opts();
    fixture f = setup_at(model, &o);
    for (int i = 0; i < 2; i++) {
        steps(&f, 2);
        assert_ok(f.ctx, lmf_trainer_save(f.t, dir, 3, "base"));
    }
    run(&f, NULL);
    adapter_hash(&f, hash);
    teardown(&f);
}

static void resumed_to(const char *model, const char *dir, int want_step, int want_skipped, const char *want)
{
    char hash[65];
    int skipped;
    lmf_train_opts o = small_opts();
    lmf_train_stats st;
    fixture f = setup_at(model, &o);
    assert_ok(f.ctx, lmf_trainer_resume(f.t, dir, &skipped));
    lmf_trainer_stats(f.t, &st);
    assert_int_equal(st.step, want_step);
    assert_int_equal(skipped, want_skipped);
    run(&f, NULL);
    adapter_hash(&f, hash);
    assert_string_equal(hash, want);
    teardown(&f);
}

static const char *formula_model(void)
{
    static char path[512];
    snprintf(path, sizeof path, "%s", lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 2 }));
    return path;
}

static void resumed_runs_are_the_same_run(void **state)
{
    (void)state;
    char want[65], dir[512];
    const char *model = formula_model();
    snprintf(dir, sizeof dir, "%s", lmf_test_path("run"));
    make_two(model, dir, want);
    assert_int_equal(lmf_checkpoint_newest(dir), 4);
    resumed_to(model, dir, 4, 0, want);
    /* at every step */
    for (int at = 1; at < 6; at++) {
        lmf_train_opts o = small_opts();
        const char *one = lmf_test_path("run");
        fixture f = setup_at(model, &o);
        steps(&f, at);
        assert_ok(f.ctx, lmf_trainer_save(f.t, one, 1, "base"));
        teardown(&f);
        resumed_to(model, one, at, 0, want);
    }
}

typedef enum damage { FLIP, CUT, REMOVE, GROW, EMPTY } damage;

static void damage_file(lmf_ctx *ctx, const char *path, damage d, size_t at)
{
    char *text;
    size_t n;
    assert_ok(ctx, lmf_file_read(ctx, path, 1 << 24, &text, &n));
    if (d == FLIP)
        text[at % n] = (char)(text[at % n] ^ 1);
    if (d == REMOVE)
        assert_ok(ctx, lmf_path_unlink(ctx, path));
    else
        assert_ok(ctx, lmf_file_write(ctx, path, text, d == CUT ? n / 2 : d == EMPTY ? 0 : d == GROW ? n + 1 : n));
    lmf_free(ctx, text, n + 1);
}

static void damage_falls_back(void **state)
{
    (void)state;
    static const char *const files[] = { "state.safetensors", "MANIFEST.json", "trainer_state.json", "adapter_model.safetensors", "adapter_config.json" };
    const char *model = formula_model();
    char want[65], path[1024], dir[512], *text;
    size_t n;
    int skipped;
    lmf_train_opts o = small_opts();
    snprintf(dir, sizeof dir, "%s", lmf_test_path("run"));
    make_two(model, dir, want);
    fixture f = setup_at(model, &o);
    for (size_t i = 0; i < 5; i++)
        for (int d = FLIP; d <= EMPTY; d++) {
            path_of(path, sizeof path, dir, 4, files[i]);
            assert_ok(f.ctx, lmf_file_read(f.ctx, path, 1 << 24, &text, &n));
            damage_file(f.ctx, path, (damage)d, 1000 + 37 * (size_t)d);
            assert_ok(f.ctx, lmf_trainer_resume(f.t, dir, &skipped));
            if (f.t->step != 2 || skipped != 1)
                fail_msg("%s, damage %d: resumed at %lld with %d passed over", files[i], d, (long long)f.t->step, skipped);
            assert_ok(f.ctx, lmf_file_write(f.ctx, path, text, n));
            lmf_free(f.ctx, text, n + 1);
            assert_ok(f.ctx, lmf_trainer_resume(f.t, dir, &skipped));
            assert_true(f.t->step == 4 && skipped == 0);
        }
    damage_file(f.ctx, path, REMOVE, 0);
    teardown(&f);
    resumed_to(model, dir, 2, 1, want);
}

static bool is_space(char c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

/* A bit flips at any place of the manifest: found each time. */
static void places_of_the_manifest(void **state)
{
    (void)state;
    const char *model = formula_model();
    char want[65], path[1024], dir[512];
    snprintf(dir, sizeof dir, "%s", lmf_test_path("run"));
    make_two(model, dir, want);
    path_of(path, sizeof path, dir, 4, "MANIFEST.json");
    lmf_train_opts o = small_opts();
    fixture f = setup_at(model, &o);
    char *text;
    size_t n;
    int skipped;
    assert_ok(f.ctx, lmf_file_read(f.ctx, path, 1 << 20, &text, &n));
    for (size_t i = 0; i < n; i += 3) {
        int bit = 1 << i % 7;
        bool space = is_space(text[i]) && is_space((char)(text[i] ^ bit)); /* the same JSON */
        FILE *out = fopen(path, "wb"); /* without waiting for the disk */
        text[i] = (char)(text[i] ^ bit);
        assert_non_null(out);
        assert_int_equal(fwrite(text, 1, n, out), n);
        fclose(out);
        text[i] = (char)(text[i] ^ bit);
        assert_ok(f.ctx, lmf_trainer_resume(f.t, dir, &skipped));
        if (skipped != !space)
            fail_msg("byte %zu of the manifest was changed by %d: %d checkpoints passed over", i, bit, skipped);
    }
    lmf_free(f.ctx, text, n + 1);
    teardown(&f);
}

static void all_damaged(void **state)
{
    (void)state;
    const char *model = formula_model();
    char want[65], path[1024], dir[512];
    int skipped;
    snprintf(dir, sizeof dir, "%s", lmf_test_path("run"));
    make_two(model, dir, want);
    lmf_train_opts o = small_opts();
    fixture f = setup_at(model, &o);
    for (int step = 2; step <= 4; step += 2) {
        path_of(path, sizeof path, dir, step, "state.safetensors");
        damage_file(f.ctx, path, CUT, 0);
    }
    assert_refused(f.ctx, LMF_E_FORMAT, "none of its 2 checkpoints is whole", lmf_trainer_resume(f.t, dir, &skipped));
    assert_int_equal(f.t->step, 0);
    assert_refused(f.ctx, LMF_E_NOT_FOUND, "holds no checkpoint", lmf_trainer_resume(f.t, lmf_test_path("nowhere"), &skipped));
    assert_int_equal(lmf_checkpoint_newest(lmf_test_path("nowhere")), -1);
    teardown(&f);
}

/* Names that are not ours are no checkpoints. */
static void names(void **state)
{
    (void)state;
    static const char *const wrong[] = { "checkpoint-", "checkpoint-7.tmp", "checkpoint-007", "checkpoint-+8", "checkpoint- 9", "checkpoint--1", "checkpoint-5x",
                                         "checkpoint-99999999999999999999999", "xcheckpoint-6" };
    lmf_ctx *ctx = lmf_test_ctx();
    char path[1024];
    const char *dir = lmf_test_path("run");
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        snprintf(path, sizeof path, "%s/%s", dir, wrong[i]);
        assert_ok(ctx, lmf_dir_create(ctx, path));
        assert_int_equal(lmf_checkpoint_newest(dir), -1);
    }
    snprintf(path, sizeof path, "%s/checkpoint-0", dir);
    assert_ok(ctx, lmf_dir_create(ctx, path));
    assert_int_equal(lmf_checkpoint_newest(dir), 0);
    lmf_test_ctx_done(ctx);
}

static int n_checkpoints(const char *dir, const int *list, int n)
{
    char path[1024];
    int found = 0;
    for (int i = 0; i < n; i++) {
        path_of(path, sizeof path, dir, list[i], "MANIFEST.json");
        found += lmf_path_stat(path) == LMF_PATH_FILE;
    }
    return found;
}

static void old_ones_go(void **state)
{
    (void)state;
    const char *model = formula_model();
    char dir[512], path[1024];
    int skipped;
    lmf_train_opts o = small_opts();
    fixture f = setup_at(model, &o);
    snprintf(dir, sizeof dir, "%s", lmf_test_path("run"));
    for (int i = 1; i <= 5; i++) {
        steps(&f, 1);
        assert_ok(f.ctx, lmf_trainer_save(f.t, dir, 3, "base"));
        assert_int_equal(n_checkpoints(dir, (int[]){ 1, 2, 3, 4, 5 }, 5), i < 3 ? i : 3);
    }
    assert_int_equal(n_checkpoints(dir, (int[]){ 3, 4, 5 }, 3), 3);
    assert_ok(f.ctx, lmf_trainer_save(f.t, dir, 3, "base")); /* again at the same step: in its place */
    assert_int_equal(n_checkpoints(dir, (int[]){ 3, 4, 5 }, 3), 3);
    teardown(&f);
    /* 4 and 5 are damaged, the run goes on from 3 and keeps two: the damaged don't push out what is good */
    f = setup_at(model, &o);
    for (int step = 4; step <= 5; step++) {
        path_of(path, sizeof path, dir, step, "state.safetensors");
        damage_file(f.ctx, path, CUT, 0);
    }
    assert_ok(f.ctx, lmf_trainer_resume(f.t, dir, &skipped));
    assert_int_equal(skipped, 2);
    assert_ok(f.ctx, lmf_trainer_save(f.t, dir, 2, "base"));
    steps(&f, 1);
    assert_ok(f.ctx, lmf_trainer_save(f.t, dir, 2, "base"));
    assert_int_equal(n_checkpoints(dir, (int[]){ 3, 4 }, 2), 2);
    lmf_trainer_destroy(f.t);
    assert_ok(f.ctx, lmf_trainer_create(f.ctx, "cpu", f.m, f.samples, &o, &f.t));
    assert_ok(f.ctx, lmf_trainer_resume(f.t, dir, &skipped));
    assert_int_equal(f.t->step, 4);
    teardown(&f);
}

static void resume_refused(const char *model, const lmf_train_opts *o, const char *dir, const char *words)
{
    int skipped;
    fixture f = setup_at(model, o);
    assert_refused(f.ctx, LMF_E_ARG, words, lmf_trainer_resume(f.t, dir, &skipped));
    teardown(&f);
}

static void another_run_is_refused(void **state)
{
    (void)state;
    const char *model = formula_model();
    char want[65], dir[512];
    snprintf(dir, sizeof dir, "%s", lmf_test_path("run"));
    make_two(model, dir, want);
    lmf_train_opts o = small_opts();
    o.lr *= 2;
    resume_refused(model, &o, dir, "was made with other options, lr 0.01 instead of 0.02");
    o = small_opts();
    o.max_steps--;
    resume_refused(model, &o, dir, "was made with other options, steps 6 instead of 5");
    o = small_opts();
    o.optimizer = LMF_OPTIMIZER_SGD;
    resume_refused(model, &o, dir, "was made with other options");
    o = small_opts();
    o.lora_dropout = 0.1;
    resume_refused(model, &o, dir, "was made with other options, lora-dropout 0 instead of 0.1");
    o = small_opts();
    resume_refused(lmf_test_formula_model(&(lmf_formula){ .seed = 2, .n_layers = 2 }), &o, dir, "was made with another model");
    /* other rows */
    fixture f = setup_at(model, NULL);
    int skipped;
    const char *rows = lmf_test_path("rows.jsonl");
    char *text;
    size_t n;
    assert_ok(f.ctx, lmf_file_read(f.ctx, rows_path(), 1 << 20, &text, &n));
    memcpy(strstr(text, "lamp"), "lumq", 4);
    assert_ok(f.ctx, lmf_file_write(f.ctx, rows, text, n));
    lmf_free(f.ctx, text, n + 1);
    lmf_samples_destroy(f.samples);
    assert_ok(f.ctx, open_samples(f.ctx, f.m, rows, &f.samples));
    assert_ok(f.ctx, lmf_trainer_create(f.ctx, "cpu", f.m, f.samples, &o, &f.t));
    assert_refused(f.ctx, LMF_E_ARG, "was made with other training data", lmf_trainer_resume(f.t, dir, &skipped));
    teardown(&f);
}

typedef struct fault { long n, at; bool after; int left; } fault;

static int io_fails(void *user, lmf_site site)
{
    fault *x = user;
    if (site == LMF_SITE_ALLOC)
        return 0;
    bool now = x->after ? x->n >= x->at : x->n == x->at;
    x->n++;
    return now ? (site == LMF_SITE_WRITE ? ENOSPC : EIO) : 0;
}

/* Saves as if at that step: what is saved does not matter here. */
static lmf_status save_at(fixture *f, const char *dir, int64_t step)
{
    f->t->step = step;
    return lmf_trainer_save(f->t, dir, 2, "base");
}

/* The n-th call of a save fails, or all from it on (a full or dying disk): the older checkpoint stays whole, and once the disk is
 * back the next save works. */
static void each_call_of_a_save_fails(void **state)
{
    (void)state;
    lmf_train_opts o = small_opts();
    int n_failed = 0, skipped;
    o.target_modules = "q_proj";
    fixture f = setup(&o), g = setup(&o);
    for (int after = 0; after < 2; after++) {
        bool more = true;
        for (long at = 0; more; at++) {
            fault x = { .at = at, .after = after };
            const char *dir = lmf_test_path("run");
            assert_ok(f.ctx, save_at(&f, dir, 1));
            f.ctx->fault = io_fails;
            f.ctx->fault_user = &x;
            lmf_status s = save_at(&f, dir, 2);
            f.ctx->fault = NULL;
            more = x.n > at;
            n_failed += s != LMF_OK;
            if (s && !lmf_error(f.ctx)[0])
                fail_msg("call %ld failed without a sentence", at);
            if (!more && s)
                fail_msg("no call failed, and yet: %s", lmf_error(f.ctx));
            /* whatever happened, a whole checkpoint is there, and the next save works */
            assert_ok(g.ctx, lmf_trainer_resume(g.t, dir, &skipped));
            if (s ? g.t->step < 1 : g.t->step != 2)
                fail_msg("call %ld (%s): resumed at step %lld", at, after ? "and all behind it" : "alone", (long long)g.t->step);
            assert_ok(f.ctx, save_at(&f, dir, 3));
            assert_int_equal(lmf_checkpoint_newest(dir), 3);
        }
    }
    teardown(&f);
    teardown(&g);
    assert_true(n_failed > 60);
}

static lmf_status resume_all(lmf_ctx *ctx, void *arg)
{
    const char *const *paths = arg;
    lmf_train_opts o = small_opts();
    lmf_model *m = NULL;
    lmf_samples *samples = NULL;
    lmf_trainer *t = NULL;
    int skipped;
    o.target_modules = "q_proj", o.max_steps = 1, o.warmup_steps = 1;
    lmf_status s = lmf_model_open(ctx, paths[0], &m);
    if (!s)
        s = open_samples(ctx, m, rows_path(), &samples);
    if (!s)
        s = lmf_trainer_create(ctx, "null", m, samples, &o, &t);
    if (!s)
        s = lmf_trainer_resume(t, paths[1], &skipped);
    if (!s && skipped) /* what could not be read was passed over: nothing is left to resume from, which is said */
        s = LMF_FAIL(ctx, LMF_E_FORMAT, "passed over");
    lmf_trainer_destroy(t);
    lmf_samples_destroy(samples);
    lmf_model_close(m);
    return s;
}

/* Every call on the way of a resume, memory included. */
static void each_call_of_a_resume_fails(void **state)
{
    (void)state;
    static char model[512], dir[512];
    lmf_train_opts o = small_opts();
    o.target_modules = "q_proj", o.max_steps = 1, o.warmup_steps = 1;
    snprintf(model, sizeof model, "%s", lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 1 }));
    snprintf(dir, sizeof dir, "%s", lmf_test_path("run"));
    fixture f = { .ctx = lmf_test_ctx() };
    assert_ok(f.ctx, lmf_model_open(f.ctx, model, &f.m));
    assert_ok(f.ctx, open_samples(f.ctx, f.m, rows_path(), &f.samples));
    assert_ok(f.ctx, lmf_trainer_create(f.ctx, "null", f.m, f.samples, &o, &f.t));
    assert_ok(f.ctx, lmf_trainer_save(f.t, dir, 2, "base"));
    teardown(&f);
    assert_true(lmf_test_fail_each_call(resume_all, (const char *[]){ model, dir }) > 50);
}

LMF_TESTS(checkpoint) = { { "resumed at any step: the same hash", resumed_runs_are_the_same_run }, { "damage falls back one generation", damage_falls_back },
                          { "a bit of the manifest", places_of_the_manifest }, { "nothing whole is left", all_damaged }, { "names", names },
                          { "old ones go", old_ones_go }, { "another run is refused", another_run_is_refused },
                          { "each call of a save fails once", each_call_of_a_save_fails }, { "each call of a resume fails once", each_call_of_a_resume_fails }, { 0 } };
