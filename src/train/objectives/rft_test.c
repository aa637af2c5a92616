/* SPDX-License-Identifier: Apache-2.0 */
#include "train/golden_test.h"
#include "train/rollout.h"
#include "train/train_test.h"

typedef struct rollout_fixture { fixture f; lmf_rollout *r; char said[400]; } rollout_fixture;
enum { GROUP = 6, ROWS = 24 };

static void keep_note(void *user, bool warning, const char *sentence)
{
    rollout_fixture *x = user;
    assert_true(warning);
    snprintf(x->said, sizeof x->said, "%s", sentence);
}

/* Four prompts of six answers each; those with a letter or a digit are good ones. Cold, so that some come twice. */
static void open_rollout(rollout_fixture *x, double threshold, bool best)
{
    static const char *const reward[] = { "regex:[A-Za-z0-9]", "length:3,2=0.25" };
    char rows[512], text[1024] = "";
    lmf_rows data;
    lmf_objective_value values[] = { { "num-generations", GROUP }, { "max-completion-length", 3 }, { "reward-threshold", threshold },
                                     { "accept", best }, { "mask-truncated-completions", 0 }, { "temperature", 0.2 } };
    lmf_train_opts o = small_opts();
    *x = (rollout_fixture){ .f.ctx = lmf_test_ctx() };
    o.objective = "rft", o.objective_values = values, o.n_objective_values = 6, o.batch_size = ROWS, o.warmup_steps = 0;
    for (int i = 0; i < 5; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "{\"messages\": [{\"role\": \"user\", \"content\": \"number %d\"}, "
                 "{\"role\": \"assistant\", \"content\": \"%d\"}]}\n", i * i, i);
    snprintf(rows, sizeof rows, "%s", lmf_test_path("prompts.jsonl"));
    assert_ok(x->f.ctx, lmf_file_write(x->f.ctx, rows, text, strlen(text)));
    assert_ok(x->f.ctx, lmf_model_open(x->f.ctx, lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 2 }), &x->f.m));
    assert_ok(x->f.ctx, lmf_rows_open(x->f.ctx, rows, &data));
    assert_ok(x->f.ctx, lmf_samples_create_of(&data, &x->f.m->chat, LMF_TAKES_PROMPT, 64, LMF_LONG_ERROR, &x->f.samples));
    lmf_rows_close(&data);
    assert_ok(x->f.ctx, lmf_trainer_create(x->f.ctx, "cpu", x->f.m, x->f.samples, &o, &x->f.t));
    assert_ok(x->f.ctx, lmf_trainer_load_adapter(x->f.t, lmf_test_formula_adapter(1, 2, o.lora_r, o.lora_alpha)));
    lmf_rollout_opts ro = { .reward = reward, .n_rewards = 2, .rank = o.lora_r, .seed = 7, .shuffle = true, .device = "cpu",
                            .note = keep_note, .user = x };
    assert_ok(x->f.ctx, lmf_rollout_create(x->f.ctx, x->f.t, x->f.m, x->f.samples, &ro, &x->r));
}

static void close_rollout(rollout_fixture *x)
{
    lmf_rollout_destroy(x->r);
    teardown(&x->f);
}

static json_t *answers_of(rollout_fixture *x)
{
    lmf_buf b;
    json_t *list = json_array();
    lmf_buf_init(&b, x->f.ctx, 1 << 20);
    assert_ok(x->f.ctx, lmf_rollout_lines(x->r, 1, &b));
    for (char *at = (char *)(uintptr_t)lmf_buf_str(&b), *end; (end = strchr(at, '\n')); at = end + 1)
        json_array_append_new(list, json_loadb(at, (size_t)(end - at), JSON_ALLOW_NUL, NULL));
    lmf_buf_clear(&b);
    assert_int_equal(json_array_size(list), ROWS);
    return list;
}

/* What is said to be learned is what the rule wants, by texts and rewards alone; returns how many. */
static int by_the_rule(const json_t *list, double threshold, bool best, int *twice)
{
    int n = 0;
    for (size_t i = 0; i < ROWS; i++) {
        const json_t *a = json_array_get(list, i);
        double reward = lmf_test_number(a, "reward");
        bool want = reward >= threshold;
        for (size_t k = i / GROUP * GROUP; k < (i / GROUP + 1) * GROUP; k++) {
            const json_t *b = json_array_get(list, k);
            double other = lmf_test_number(b, "reward");
            bool same = !strcmp(json_string_value(json_object_get(a, "answer")), json_string_value(json_object_get(b, "answer")));
            want &= !(best && (other > reward || (other == reward && k < i))) && !(k < i && same);
            *twice += k < i && same && reward >= threshold;
        }
        assert_true(json_is_true(json_object_get(a, "accepted")) == want);
        n += want;
    }
    return n;
}

/* One step on the accepted answers is the step of sft on rows with these very tokens: loss and every gradient. */
static void as_sft(void **state)
{
    (void)state;
    for (int best = 0; best < 2; best++) {
        rollout_fixture x;
        lmf_train_stats st, want;
        int twice = 0;
        open_rollout(&x, 0.5, best);
        assert_ok(x.f.ctx, lmf_rollout_step(x.r, &st));
        json_t *list = answers_of(&x);
        const lmf_samples *learned = lmf_rollout_learned(x.r);
        int n = by_the_rule(list, 0.5, best, &twice);
        assert_true(n == learned->n && n > 1 && n < ROWS && twice > 0 && (!best || n <= ROWS / GROUP) && !x.said[0]);
        lmf_train_opts o = small_opts();
        o.batch_size = n, o.warmup_steps = 0;
        lmf_samples rows = *learned;
        fixture sft = { .ctx = x.f.ctx, .m = x.f.m };
        assert_ok(x.f.ctx, lmf_trainer_create(x.f.ctx, "cpu", x.f.m, &rows, &o, &sft.t));
        assert_ok(x.f.ctx, lmf_trainer_load_adapter(sft.t, lmf_test_formula_adapter(1, 2, o.lora_r, o.lora_alpha)));
        assert_ok(x.f.ctx, lmf_trainer_step(sft.t, &want));
        if (fabs(st.loss - want.loss) > 1e-6 * want.loss || st.n_learn != want.n_learn)
            fail_msg("loss %.9g of %d tokens, sft has %.9g of %d", st.loss, (int)st.n_learn, want.loss, (int)want.n_learn);
        same_gradients(&x.f, &sft);
        lmf_trainer_destroy(sft.t);
        json_decref(list);
        close_rollout(&x);
    }
}

/* No answer is good enough: nothing moves, and it is said. */
static void none(void **state)
{
    (void)state;
    rollout_fixture x;
    lmf_train_stats st;
    open_rollout(&x, 5, false);
    assert_ok(x.f.ctx, lmf_rollout_step(x.r, &st));
    assert_true(st.grad_norm == 0 && st.loss == 0 && lmf_rollout_learned(x.r)->n == 0 && strstr(x.said, "reward of 5"));
    close_rollout(&x);
}

LMF_TESTS(rft) = { { "a step is that of sft on the accepted answers", as_sft }, { "none good enough", none }, { 0 } };
