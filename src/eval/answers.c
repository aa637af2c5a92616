/* SPDX-License-Identifier: Apache-2.0 */
#include "eval/answers.h"
#include <string.h>
#include "infer/engine.h"

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
