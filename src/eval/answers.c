/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a verdict looks at the answer as given; nothing is cut off or mended before it is judged. */
#include "eval/answers.h"
#include <string.h>
#include "infer/engine.h"

bool lmf_json_is_equal(const json_t *a, const json_t *b)
{
    const char *key;
    const json_t *value;
    size_t i;
    if (json_is_number(a) && json_is_number(b))
        return json_is_integer(a) && json_is_integer(b) ? json_integer_value(a) == json_integer_value(b) : json_number_value(a) == json_number_value(b);
    if (!a || !b || json_typeof(a) != json_typeof(b))
        return false;
    if (json_is_string(a))
        return json_string_length(a) == json_string_length(b) && memcmp(json_string_value(a), json_string_value(b), json_string_length(a)) == 0;
    if (json_is_array(a)) {
        bool same = json_array_size(a) == json_array_size(b);
        for (i = 0; same && i < json_array_size(a); i++)
            same = lmf_json_is_equal(json_array_get(a, i), json_array_get(b, i));
        return same;
    }
    if (!json_is_object(a))
        return true; /* true, false, null: the type is the value */
    if (json_object_size(a) != json_object_size(b))
        return false;
    json_object_foreach((json_t *)(uintptr_t)a, key, value)
        if (!lmf_json_is_equal(value, json_object_get(b, key)))
            return false;
    return true;
}

static bool is_listed(const json_t *list, const json_t *value)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (lmf_json_is_equal(json_array_get(list, i), value))
            return true;
    return false;
}

static bool may_be_left_out(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_is_string(json_array_get(list, i)) && json_string_length(json_array_get(list, i)) == 0)
            return true;
    return false;
}

/* arguments: of the answer; allowed: argument to list of values. */
static bool arguments_fit(const json_t *arguments, const json_t *allowed)
{
    const char *key;
    const json_t *value;
    if (arguments && !json_is_object(arguments))
        return false;
    json_object_foreach((json_t *)(uintptr_t)allowed, key, value)
        if (!json_object_get(arguments, key) && !may_be_left_out(value))
            return false;
    json_object_foreach((json_t *)(uintptr_t)arguments, key, value)
        if (!is_listed(json_object_get(allowed, key), value))
            return false;
    return true;
}

static json_t *object_of(const char *text, size_t n)
{
    json_t *j = json_loadb(text, n, JSON_ALLOW_NUL, NULL);
    if (j && !json_is_object(j)) {
        json_decref(j);
        return NULL;
    }
    return j;
}

/* ---- several calls, or calls with something around them, as a template writes them ---- */
enum { MAX_CALLS = 64 };
typedef struct calls {
    const char *p; size_t n;                          /* the text, white space at its ends left out */
    json_t *items[MAX_CALLS];
    size_t  begin[MAX_CALLS + 1], end[MAX_CALLS + 1]; /* of each; behind the last: the text's end */
    int     n_calls;
    bool    broken;                                   /* a brace that begins no JSON object */
} calls;

static void find_calls(const char *p, size_t n, calls *c)
{
    const char *space = " \t\r\n";
    for (; n && strchr(space, *p); p++)
        n--;
    while (n && strchr(space, p[n - 1]))
        n--;
    *c = (calls){ .p = p, .n = n };
    for (size_t at = 0; at < n;) {
        json_error_t e;
        json_t *j = p[at] == '{' && c->n_calls < MAX_CALLS ? json_loadb(p + at, n - at, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, &e) : NULL;
        c->broken |= p[at] == '{' && !j;
        if (j) {
            c->items[c->n_calls] = j;
            c->begin[c->n_calls] = at;
            c->end[c->n_calls++] = at += (size_t)e.position;
        } else {
            at++;
        }
    }
    c->begin[c->n_calls] = n;
}

static void free_calls(calls *c)
{
    for (int i = 0; i < c->n_calls; i++)
        json_decref(c->items[i]);
}

static bool is_same_around(const calls *a, const calls *b)
{
    for (int i = 0; i <= a->n_calls; i++) {
        size_t p = i ? a->end[i - 1] : 0, q = i ? b->end[i - 1] : 0, n = a->begin[i] - p;
        if (n != b->begin[i] - q || memcmp(a->p + p, b->p + q, n))
            return false;
    }
    return true;
}

/* The same calls in the same order, and the same text around them. */
static void judge_calls(const char *reference, const char *answer, size_t n, lmf_verdict *v)
{
    calls want, got;
    find_calls(reference, strlen(reference), &want);
    find_calls(answer, n, &got);
    bool counted = got.n_calls == want.n_calls;
    v->valid = got.n_calls > 0 && !got.broken;
    v->name = counted && want.n_calls > 0;
    v->exact = counted && is_same_around(&want, &got);
    for (int i = 0; counted && i < want.n_calls; i++) {
        v->name &= lmf_json_is_equal(json_object_get(want.items[i], "name"), json_object_get(got.items[i], "name"));
        v->exact &= lmf_json_is_equal(want.items[i], got.items[i]);
    }
    free_calls(&want);
    free_calls(&got);
}

static bool wants_calls(const json_t *row)
{
    size_t last = lmf_row_last_answer(row);
    return last != SIZE_MAX && json_object_get(json_array_get(json_object_get(row, "messages"), last), "tool_calls");
}

lmf_verdict lmf_answer_judge(const json_t *row, const char *reference, const char *answer, size_t n)
{
    lmf_verdict v = { 0 };
    const json_t *allowed = json_object_get(row, "allowed");
    json_t *got = object_of(answer, n), *want = reference ? object_of(reference, strlen(reference)) : NULL;
    v.valid = got != NULL;
    if (json_is_object(allowed)) {
        const char *name = json_string_value(json_object_get(got, "name"));
        const json_t *arguments = name ? json_object_get(allowed, name) : NULL;
        v.name = arguments != NULL;
        v.exact = v.name && arguments_fit(json_object_get(got, "arguments"), arguments);
    } else if (want) {
        const char *key = json_object_get(want, "intent") ? "intent" : "name";
        v.name = got && json_object_get(want, key) && lmf_json_is_equal(json_object_get(got, key), json_object_get(want, key));
        v.exact = got && lmf_json_is_equal(got, want);
    } else if (reference && wants_calls(row)) {
        judge_calls(reference, answer, n, &v);
    } else {
        v.exact = reference && n == strlen(reference) && memcmp(reference, answer, n) == 0;
    }
    json_decref(got);
    json_decref(want);
    return v;
}

/* ---- answers: a session for each row in progress ---- */
typedef struct task { lmf_session *s; int64_t row; lmf_ids ids; } task;

typedef struct maker {
    lmf_ctx                *ctx;
    const lmf_model        *model;
    const lmf_rows         *rows;
    const lmf_answers_opts *opts;
    lmf_engine             *engine;
    task                   *tasks;
    int64_t                 next, n_done;
} maker;

static lmf_status start_row(maker *m, task *t)
{
    lmf_gen_opts gen = lmf_gen_opts_default();
    lmf_ids prompt;
    gen.max_tok = m->opts->max_new_tok;
    t->row = m->next++;
    t->ids.n = 0;
    lmf_ids_init(&prompt, m->ctx, 1 << 24);
    lmf_status s = lmf_row_prompt(m->rows, t->row, &m->model->chat, &prompt);
    lmf_session_opts opts = { .struct_bytes = sizeof opts, .adapter = m->opts->adapter ? 0 : -1 };
    if (!s)
        s = lmf_session_create(m->engine, &opts, &t->s);
    if (!s)
        s = lmf_session_append(t->s, prompt.data, (int)prompt.n, NULL);
    if (!s)
        s = lmf_session_generate(t->s, &gen);
    lmf_ids_clear(&prompt);
    return s;
}

static lmf_status end_row(maker *m, task *t, bool cut, lmf_arena *arena, lmf_answer *out)
{
    lmf_buf text;
    lmf_buf_init(&text, m->ctx, 1 << 24);
    lmf_status s = lmf_tokenizer_decode(m->model->tokenizer, t->ids.data, t->ids.n, LMF_DECODE_SKIP_SPECIAL, &text);
    if (!s) {
        out[t->row] = (lmf_answer){ lmf_arena_strndup(arena, lmf_buf_str(&text), text.n), text.n, cut };
        s = out[t->row].text ? LMF_OK : LMF_NO_MEMORY(m->ctx, text.n, "an answer");
    }
    lmf_buf_clear(&text);
    lmf_session_destroy(t->s);
    t->s = NULL;
    m->n_done++;
    return s;
}

static lmf_status read_task(maker *m, task *t, lmf_arena *arena, lmf_answer *out)
{
    lmf_token tok[32];
    int n;
    do {
        LMF_TRY(lmf_session_read(t->s, tok, 32, &n));
        for (int i = 0; i < n; i++) {
            if (tok[i].id >= 0 && tok[i].finish != LMF_FINISH_STOP)
                LMF_TRY(lmf_ids_append(&t->ids, &tok[i].id, 1));
            if (tok[i].finish)
                return end_row(m, t, tok[i].finish == LMF_FINISH_LENGTH, arena, out);
        }
    } while (n == 32);
    return LMF_OK;
}

/* As many as there are free tasks and pages of the cache. */
static lmf_status start_rows(maker *m)
{
    for (int i = 0; i < m->opts->max_seqs; i++) {
        task *t = &m->tasks[i];
        if (t->s || m->next == m->rows->n)
            continue;
        lmf_status s = start_row(m, t);
        if (s == LMF_E_BUSY && t->row > m->n_done) { /* others hold the pages; when one ends there is room */
            lmf_session_destroy(t->s);
            t->s = NULL;
            m->next--;
            return LMF_OK;
        }
        LMF_TRY(s);
    }
    return LMF_OK;
}

static lmf_status work(maker *m, lmf_arena *arena, lmf_eval_progress progress, void *user, lmf_answer *out)
{
    int live;
    while (m->n_done < m->rows->n) {
        LMF_TRY(start_rows(m));
        LMF_TRY(lmf_engine_step(m->engine, &live));
        for (int i = 0; i < m->opts->max_seqs; i++)
            if (m->tasks[i].s)
                LMF_TRY(read_task(m, &m->tasks[i], arena, out));
        if (progress && !progress(user, m->n_done, m->rows->n))
            return LMF_FAIL(m->ctx, LMF_E_CANCELLED, "stopped after %lld of %lld answers", (long long)m->n_done, (long long)m->rows->n);
    }
    return LMF_OK;
}

/* Longest prompt and its answer, so that the engine's context is no larger than needed. */
static lmf_status find_context(maker *m, int32_t *context)
{
    lmf_ids ids;
    lmf_status s = LMF_OK;
    int64_t longest = 0, most = lmf_model_config(m->model)->context, line = 0;
    lmf_ids_init(&ids, m->ctx, 1 << 24);
    for (int64_t i = 0; !s && i < m->rows->n; i++) {
        ids.n = 0;
        s = lmf_row_prompt(m->rows, i, &m->model->chat, &ids);
        if ((int64_t)ids.n > longest)
            longest = (int64_t)ids.n, line = m->rows->items[i].line;
    }
    lmf_ids_clear(&ids);
    if (!s && longest >= most)
        s = LMF_FAIL(m->ctx, LMF_E_LIMIT, "%s, line %lld: a prompt of %lld tokens leaves no room for an answer in the model's context of %lld", m->rows->path,
                     (long long)line, (long long)longest, (long long)most);
    *context = (int32_t)(longest + m->opts->max_new_tok < most ? longest + m->opts->max_new_tok : most);
    return s;
}

lmf_status lmf_answers_make(lmf_ctx *ctx, const lmf_model *model, const lmf_rows *rows, const lmf_answers_opts *opts, lmf_arena *arena,
                            lmf_eval_progress progress, void *user, lmf_answer *out)
{
    maker m = { .ctx = ctx, .model = model, .rows = rows, .opts = opts };
    lmf_engine_opts e = lmf_engine_opts_default();
    LMF_TRY(find_context(&m, &e.context));
    e.device = opts->device;
    e.max_seqs = opts->max_seqs;
    e.compute = opts->compute;
    e.adapters = &opts->adapter;
    e.n_adapters = opts->adapter != NULL;
    m.tasks = lmf_alloc(ctx, (size_t)opts->max_seqs * sizeof *m.tasks);
    if (!m.tasks)
        return LMF_NO_MEMORY(ctx, (size_t)opts->max_seqs * sizeof *m.tasks, "answers");
    for (int i = 0; i < opts->max_seqs; i++)
        lmf_ids_init(&m.tasks[i].ids, ctx, 1 << 24);
    lmf_status s = lmf_engine_create(ctx, model, &e, &m.engine);
    if (!s)
        s = work(&m, arena, progress, user, out);
    for (int i = 0; i < opts->max_seqs; i++) {
        lmf_session_destroy(m.tasks[i].s);
        lmf_ids_clear(&m.tasks[i].ids);
    }
    lmf_engine_destroy(m.engine);
    lmf_free(ctx, m.tasks, (size_t)opts->max_seqs * sizeof *m.tasks);
    return s;
}

lmf_status lmf_answers_loss(lmf_scorer *scorer, lmf_ctx *ctx, const lmf_samples *samples, lmf_eval_progress progress, void *user, double *loss)
{
    double sum = 0;
    lmf_status s = LMF_OK;
    *loss = 0;
    float *logp = lmf_alloc(ctx, (size_t)samples->longest * sizeof *logp);
    if (!logp)
        return LMF_NO_MEMORY(ctx, (size_t)samples->longest * sizeof *logp, "scores");
    for (int64_t i = 0; !s && i < samples->n; i++) {
        const lmf_sample *x = &samples->items[i];
        int32_t first = 1;
        while (first < x->n && !x->learn[first])
            first++;
        s = lmf_scorer_logp(scorer, x->id, x->n, first, logp);
        for (int32_t t = first; !s && t < x->n; t++)
            sum -= x->learn[t] ? (double)logp[t] : 0;
        if (!s && progress && !progress(user, i + 1, samples->n))
            s = LMF_FAIL(ctx, LMF_E_CANCELLED, "stopped after %lld of %lld rows", (long long)(i + 1), (long long)samples->n);
    }
    lmf_free(ctx, logp, (size_t)samples->longest * sizeof *logp);
    if (!s && samples->n_learn)
        *loss = sum / (double)samples->n_learn;
    return s;
}
