/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: which answer is taken depends on the answers alone, never on the order in which they came to their end. */
#include "agent/think.h"
#include <math.h>
#include <string.h>
#include <time.h>
#include "base/philox.h"
#include "data/rows.h"
#include "text/stream/stream.h"

enum { STREAM_THOUGHTS = 0x7a11, MAX_TEXT = 1 << 24 };

typedef struct task {
    lmf_session *s;
    lmf_text_stream stream;
    lmf_buf  text;
    double   sum;      /* of log-probabilities */
    bool     begun, done;
} task;

typedef struct thinker {
    lmf_ctx     *ctx;
    lmf_engine  *e;
    const lmf_model *model;
    const lmf_think_opts *o;
    lmf_session *root;
    lmf_arena   *arena;
    lmf_thoughts *out;
    task        *task;
    int32_t      n, n_wanted, n_begun, n_done;
    double       start;
} thinker;

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

lmf_think_opts lmf_think_opts_default(void)
{
    return (lmf_think_opts){ .method = LMF_METHOD_GREEDY, .n = 8, .gen = lmf_gen_opts_default() };
}

static bool votes(const thinker *t) { return t->o->method == LMF_METHOD_VOTE || t->o->method == LMF_METHOD_ADAPTIVE; }

/* ---- answers ---- */

/* The text in the arena; who judges it reads to a NUL, so one that was written becomes U+FFFD. */
static lmf_status keep_text(thinker *t, lmf_thought *th, const lmf_buf *text)
{
    lmf_buf out;
    lmf_buf_init(&out, t->ctx, 3 * (size_t)MAX_TEXT);
    for (size_t i = 0; i < text->n; i++)
        lmf_buf_append(&out, text->data[i] ? text->data + i : "\xef\xbf\xbd", text->data[i] ? 1 : 3);
    th->n_text = out.n;
    th->text = out.status ? NULL : lmf_arena_strndup(t->arena, lmf_buf_str(&out), out.n);
    lmf_buf_clear(&out);
    return th->text ? LMF_OK : LMF_NO_MEMORY(t->ctx, text->n, "an answer");
}

static lmf_status run_prompt(thinker *t, int32_t adapter, const int32_t *prompt, int n)
{
    lmf_gen_opts gen = lmf_gen_opts_default();
    int live;
    gen.max_tok = 0;
    LMF_TRY(lmf_session_create(t->e, &(lmf_session_opts){ .struct_bytes = sizeof(lmf_session_opts), .adapter = adapter }, &t->root));
    LMF_TRY(lmf_session_append(t->root, prompt, n, NULL));
    if (t->n == 1) /* one answer goes on in the session itself */
        return LMF_OK;
    LMF_TRY(lmf_session_generate(t->root, &gen));
    while (lmf_session_is_busy(t->root)) {
        if (t->o->stopped && t->o->stopped(t->o->user))
            return LMF_FAIL(t->ctx, LMF_E_CANCELLED, "stopped while the question was read");
        LMF_TRY(lmf_engine_step(t->e, &live));
    }
    t->out->prompt_seconds = now_seconds() - t->start;
    return LMF_OK;
}

static lmf_status begin(thinker *t, int32_t i)
{
    task *k = &t->task[i];
    lmf_gen_opts gen = t->o->gen;
    if (t->o->method == LMF_METHOD_GREEDY || t->o->method == LMF_METHOD_COT)
        gen.temperature = 0;
    if (t->n == 1) {
        k->s = t->root, t->root = NULL;
    } else {
        LMF_TRY(lmf_session_fork(t->root, &k->s));
        gen.seed = (uint64_t)lmf_random_u32(gen.seed, 0, STREAM_THOUGHTS, 2 * (uint64_t)i) << 32 |
                   lmf_random_u32(gen.seed, 0, STREAM_THOUGHTS, 2 * (uint64_t)i + 1);
    }
    LMF_TRY(lmf_text_stream_init(&k->stream, t->ctx, t->o->stop, t->o->n_stops));
    LMF_TRY(lmf_session_generate(k->s, &gen));
    k->begun = true;
    t->out->item[i].finish = "";
    return LMF_OK;
}

static lmf_status end(thinker *t, int32_t i, const char *finish)
{
    task *k = &t->task[i];
    lmf_thought *th = &t->out->item[i];
    lmf_fresh fresh;
    lmf_buf final;
    LMF_TRY(lmf_text_stream_end(&k->stream, &k->text, &fresh));
    k->done = true;
    t->n_done++;
    th->finish = finish;
    th->ended = strcmp(finish, "stop") == 0;
    th->seconds = now_seconds() - t->start;
    th->logp = th->n_tok ? k->sum / th->n_tok : 0;
    lmf_status s = keep_text(t, th, &k->text);
    lmf_buf_clear(&k->text);
    lmf_session_destroy(k->s);
    k->s = NULL;
    if (s || !th->ended)
        return s;
    lmf_buf_init(&final, t->ctx, MAX_TEXT);
    s = lmf_answer_final(t->o->final, th->text, th->n_text, &final);
    if (!s && final.n && !(th->final = lmf_arena_strndup(t->arena, final.data, final.n)))
        s = LMF_NO_MEMORY(t->ctx, final.n, "an answer");
    lmf_buf_clear(&final);
    return s;
}

static lmf_status take(thinker *t, int32_t i)
{
    task *k = &t->task[i];
    lmf_thought *th = &t->out->item[i];
    lmf_token tok[32];
    lmf_fresh fresh;
    for (int n = 32; n == 32;) {
        LMF_TRY(lmf_session_read(k->s, tok, 32, &n));
        for (int j = 0; j < n; j++) {
            if (tok[j].id >= 0)
                th->n_tok++, t->out->n_tok++, k->sum += tok[j].logp;
            if (tok[j].id >= 0 && tok[j].finish != LMF_FINISH_STOP)
                LMF_TRY(lmf_text_stream_push(&k->stream, t->model->tokenizer, tok[j].id, &k->text, &fresh));
            if (k->stream.i_stop >= 0 || tok[j].finish)
                return end(t, i, tok[j].finish == LMF_FINISH_LENGTH && k->stream.i_stop < 0 ? "length" : "stop");
        }
    }
    return LMF_OK;
}

/* ---- the vote ---- */

static bool same_final(const lmf_thought *a, const lmf_thought *b) { return a->final && b->final && strcmp(a->final, b->final) == 0; }

/* Votes of each, and the two most of different final answers. */
static void count_votes(thinker *t, int32_t *first, int32_t *second)
{
    const lmf_thought *lead = NULL;
    *first = *second = 0;
    for (int32_t i = 0; i < t->n_begun; i++) {
        lmf_thought *a = &t->out->item[i];
        a->n_votes = 0;
        for (int32_t j = 0; j < t->n_begun; j++)
            a->n_votes += same_final(a, &t->out->item[j]);
        if (a->n_votes > *first)
            *first = a->n_votes, lead = a;
    }
    for (int32_t i = 0; i < t->n_begun; i++)
        if (!lead || !same_final(lead, &t->out->item[i]))
            *second = t->out->item[i].n_votes > *second ? t->out->item[i].n_votes : *second;
}

/* The rest of n could not turn it, nor make it a tie. */
static bool is_decided(thinker *t)
{
    int32_t first, second;
    count_votes(t, &first, &second);
    return first - second > t->n - t->n_done;
}

/* Answers to begin so that, if all new ones agree with the leader, the vote is over. */
static int32_t next_wave(thinker *t)
{
    int32_t first, second, more = 1;
    count_votes(t, &first, &second);
    while (t->n_begun + more < t->n && first + more - second <= t->n - t->n_begun - more)
        more++;
    return t->n_begun + more < t->n ? t->n_begun + more : t->n;
}

static lmf_status end_others(thinker *t, const char *finish)
{
    for (int32_t i = 0; i < t->n_begun; i++)
        if (!t->task[i].done)
            LMF_TRY(end(t, i, finish));
    t->n_wanted = t->n_begun;
    return LMF_OK;
}

static lmf_status begin_more(thinker *t)
{
    lmf_engine_info info;
    lmf_engine_get_info(t->e, &info);
    while (t->n_begun < t->n_wanted && t->n_begun - t->n_done < info.max_seqs) {
        lmf_status s = begin(t, t->n_begun);
        if (s == LMF_E_BUSY && t->n_begun > t->n_done) { /* when an answer ends there is room */
            lmf_session_destroy(t->task[t->n_begun].s);
            t->task[t->n_begun].s = NULL;
            return LMF_OK;
        }
        LMF_TRY(s);
        t->n_begun++;
    }
    return LMF_OK;
}

static lmf_status work(thinker *t)
{
    int live;
    bool adaptive = t->o->method == LMF_METHOD_ADAPTIVE;
    t->n_wanted = adaptive ? next_wave(t) : t->n;
    while (t->n_done < t->n_wanted) {
        LMF_TRY(begin_more(t));
        if (t->o->stopped && t->o->stopped(t->o->user))
            return LMF_FAIL(t->ctx, LMF_E_CANCELLED, "stopped after %lld tokens", (long long)t->out->n_tok);
        LMF_TRY(lmf_engine_step(t->e, &live));
        for (int32_t i = 0; i < t->n_begun; i++)
            if (t->task[i].begun && !t->task[i].done)
                LMF_TRY(take(t, i));
        if (t->o->budget_tok && t->out->n_tok >= t->o->budget_tok)
            LMF_TRY(end_others(t, "budget"));
        else if (adaptive && is_decided(t))
            LMF_TRY(end_others(t, "decided"));
        else if (adaptive && t->n_done == t->n_wanted && t->n_wanted < t->n)
            t->n_wanted = next_wave(t);
    }
    return LMF_OK;
}

/* ---- the choice ---- */

static lmf_status judge(thinker *t, lmf_rewards *rewards, const lmf_verify_in *judged)
{
    for (int32_t i = 0; rewards && i < t->n_begun; i++) {
        lmf_thought *th = &t->out->item[i];
        lmf_verify_in in = *judged;
        in.text = th->text, in.n = th->n_text, in.n_tok = th->n_tok;
        LMF_TRY(lmf_rewards_score(rewards, &in, th->score, &th->total));
    }
    return LMF_OK;
}

/* What the better answer has more of. */
static double worth(const thinker *t, const lmf_thought *a)
{
    if (votes(t))
        return a->final ? a->n_votes : 0;
    if (t->n == 1)
        return 0;
    switch (t->o->choose) {
    case LMF_CHOOSE_VERIFIER: return a->total;
    case LMF_CHOOSE_LONGEST: return a->n_tok;
    case LMF_CHOOSE_SHORTEST: return -a->n_tok;
    case LMF_CHOOSE_LOGP: break;
    }
    return a->logp;
}

static bool better(const thinker *t, const lmf_thought *a, const lmf_thought *b)
{
    double x = worth(t, a), y = worth(t, b);
    if (a->ended != b->ended)
        return a->ended;
    return x != y ? x > y : a->logp > b->logp;
}

static void choose(thinker *t)
{
    static const char *const by[] = { "likeliest", "best by verifier", "longest", "shortest" };
    static const char *const tied[] = { "likeliest", "best by verifier, by a tie: the likeliest", "longest, by a tie: the likeliest",
                                        "shortest, by a tie: the likeliest" };
    lmf_thoughts *out = t->out;
    int32_t first, second, n_best = 0;
    out->chosen = 0;
    count_votes(t, &first, &second);
    for (int32_t i = 1; i < out->n; i++)
        if (better(t, &out->item[i], &out->item[out->chosen]))
            out->chosen = i;
    const lmf_thought *c = &out->item[out->chosen];
    for (int32_t i = 0; i < out->n; i++)
        n_best += out->item[i].ended == c->ended && worth(t, &out->item[i]) == worth(t, c);
    if (t->n == 1)
        out->why = "the only one";
    else if (!c->ended)
        out->why = "none came to its end: the best of those that were cut";
    else if (votes(t))
        out->why = !c->final ? "none had a final answer: the likeliest" : first == second ? "most votes, by a tie: the likeliest"
            : "most votes";
    else
        out->why = (n_best > 1 ? tied : by)[t->o->choose];
}

/* ---- all ---- */

static lmf_status check(lmf_ctx *ctx, const lmf_think_opts *o, const lmf_rewards *rewards, const lmf_verify_in *judged)
{
    if (o->n < 1 || o->n > LMF_THINK_MAX_ANSWERS)
        return LMF_FAIL(ctx, LMF_E_ARG, "%d answers: there must be 1 to %d", o->n, LMF_THINK_MAX_ANSWERS);
    if ((rewards == NULL) != (judged == NULL))
        return LMF_FAIL(ctx, LMF_E_ARG, "a verifier needs what the answers are for");
    if (o->method == LMF_METHOD_BEST_OF_N && o->choose == LMF_CHOOSE_VERIFIER && !rewards)
        return LMF_FAIL(ctx, LMF_E_ARG, "the best answer by a verifier was asked for, and no verifier given");
    return LMF_OK;
}

lmf_status lmf_think(lmf_engine *e, const lmf_model *model, int32_t adapter, const int32_t *prompt, int n_prompt,
                     const lmf_think_opts *opts,
                     lmf_rewards *rewards, const lmf_verify_in *judged, lmf_arena *arena, lmf_thoughts *out)
{
    lmf_ctx *ctx = arena->ctx;
    bool one = opts->method == LMF_METHOD_GREEDY || opts->method == LMF_METHOD_COT;
    thinker t = { .ctx = ctx, .e = e, .model = model, .o = opts, .arena = arena, .out = out, .n = one ? 1 : opts->n,
                  .start = now_seconds() };
    *out = (lmf_thoughts){ 0 };
    LMF_TRY(check(ctx, opts, rewards, judged));
    out->item = lmf_arena_array(arena, (size_t)t.n, sizeof *out->item);
    t.task = lmf_arena_array(arena, (size_t)t.n, sizeof *t.task);
    if (!out->item || !t.task)
        return LMF_NO_MEMORY(ctx, (size_t)t.n * sizeof *t.task, "answers");
    for (int32_t i = 0; i < t.n; i++)
        lmf_buf_init(&t.task[i].text, ctx, MAX_TEXT);
    lmf_status s = run_prompt(&t, adapter, prompt, n_prompt);
    if (!s)
        s = work(&t);
    out->n = t.n_begun;
    out->seconds = now_seconds() - t.start;
    if (!s)
        s = judge(&t, rewards, judged);
    if (!s)
        choose(&t);
    for (int32_t i = 0; i < t.n; i++) {
        lmf_session_destroy(t.task[i].s);
        lmf_buf_clear(&t.task[i].text);
    }
    lmf_session_destroy(t.root);
    return s;
}

lmf_status lmf_think_add_steps(lmf_ctx *ctx, json_t *row)
{
    static const char ask[] = "\nThink step by step. Then write the answer alone on the last line, behind ####.";
    json_t *messages = json_object_get(row, "messages"), *at = messages ? NULL : row;
    const char *key = messages ? "content" : "prompt";
    size_t n = json_array_size(messages), last = lmf_row_last_answer(row);
    lmf_buf longer;
    for (size_t i = 0; i < n && i < last; i++) {
        const char *role = json_string_value(json_object_get(json_array_get(messages, i), "role"));
        if (role && strcmp(role, "user") == 0)
            at = json_array_get(messages, i);
    }
    const json_t *text = json_object_get(at, key);
    if (!json_is_string(text))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "there is no question in text that steps could be asked for behind");
    lmf_buf_init(&longer, ctx, MAX_TEXT);
    lmf_buf_append(&longer, json_string_value(text), json_string_length(text));
    lmf_status s = lmf_buf_puts(&longer, ask);
    if (!s && json_object_set_new(at, key, json_stringn(lmf_buf_str(&longer), longer.n)))
        s = LMF_NO_MEMORY(ctx, longer.n, "a question");
    lmf_buf_clear(&longer);
    return s;
}
