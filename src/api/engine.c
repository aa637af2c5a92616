/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: one thread steps the engine from create to destroy; a session is touched by its user's thread alone. */
#include <string.h>
#include "api/api.h"
#include "eval/lora.h"

enum { DEFAULT_CONTEXT = 4096, MAX_PROMPT = 1 << 24, MAX_TEXT = 1 << 26, MAX_FAILURES = 3, LOOK_MS = 1000 };

void lmfast_engine_opts_init(lmfast_engine_opts *opts, size_t bytes)
{
    lmfast_engine_opts o = { .struct_bytes = sizeof o, .max_sessions = 8, .compute = LMFAST_COMPUTE_FAST };
    lmf__api_init(opts, bytes, &o, sizeof o);
}

void lmfast_session_opts_init(lmfast_session_opts *opts, size_t bytes)
{
    lmfast_session_opts o = { .struct_bytes = sizeof o, .adapter = LMFAST_ADAPTER_FIRST };
    lmf__api_init(opts, bytes, &o, sizeof o);
}

void lmfast_gen_opts_init(lmfast_gen_opts *opts, size_t bytes)
{
    lmfast_gen_opts o = { .struct_bytes = sizeof o, .max_tok = 256, .temperature = 0.7f, .top_k = 50, .top_p = 0.9f,
                         .repetition_penalty = 1 };
    lmf__api_init(opts, bytes, &o, sizeof o);
}

/* ---- the engine ---- */
/* A failed step ends the sessions that were in it, with its sentence. One that fails before it has any would fail for ever: the thread
 * ends, and who waits sees that. */
static void *step_all(void *p)
{
    lmfast_engine *e = p;
    int n_live, n_failed = 0;
    while (!atomic_load(&e->stop)) {
        if (!lmf_engine_wait(e->e, -1))
            continue;
        n_failed = lmf_engine_step(e->e, &n_live) ? n_failed + 1 : 0;
        if (n_failed == MAX_FAILURES)
            atomic_store(&e->broken, true);
        if (n_failed >= MAX_FAILURES)
            break;
    }
    return NULL;
}

static lmf_status engine_opts(lmfast_model *model, const lmfast_engine_opts *o, lmf_engine_opts *out)
{
    lmf_ctx *ctx = model->c->ctx;
    int32_t most = lmf_model_config(model->m)->context;
    *out = lmf_engine_opts_default();
    if (o->context < 0 || o->context > most)
        return LMF_FAIL(ctx, LMF_E_ARG, "context is %d; the model was made for %d tokens", (int)o->context, (int)most);
    if (o->compute != LMFAST_COMPUTE_FAST && o->compute != LMFAST_COMPUTE_F32)
        return LMF_FAIL(ctx, LMF_E_ARG, "compute is %d; allowed are LMFAST_COMPUTE_FAST and LMFAST_COMPUTE_F32", (int)o->compute);
    if (o->n_adapters < 0 || (o->n_adapters && !o->adapters))
        return LMF_FAIL(ctx, LMF_E_ARG, "n_adapters is %d, and adapters %s", (int)o->n_adapters, o->adapters ? "is there" : "is NULL");
    out->device = o->device;
    out->max_seqs = o->max_sessions;
    out->context = o->context ? o->context : most < DEFAULT_CONTEXT ? most : DEFAULT_CONTEXT;
    out->cache_tok = o->cache_tok;
    out->compute = o->compute == LMFAST_COMPUTE_FAST;
    out->adapters = o->adapters, out->n_adapters = o->n_adapters;
    out->mask = lmf__api_constraint_mask;
    return LMF_OK;
}

void lmf__engine_release(lmfast_engine *e)
{
    if (!e || atomic_fetch_sub(&e->n_refs, 1) != 1)
        return;
    lmfast_model *model = e->model;
    if (e->stepping) {
        atomic_store(&e->stop, true);
        lmf_engine_wake(e->e);
        pthread_join(e->thread, NULL);
    }
    lmf_engine_destroy(e->e);
    lmf_delete(model->c->ctx, e);
    lmfast_model_close(model);
}

lmfast_status lmfast_engine_create(lmfast_model *model, const lmfast_engine_opts *opts, lmfast_engine **out)
{
    lmfast_engine_opts o = lmfast_engine_opts_default();
    lmf_engine_opts eo;
    *out = NULL;
    if (!model)
        return LMFAST_E_ARG;
    lmfast_context *c = model->c;
    LMF_TRY(lmf__api_enter(c));
    LMF_TRY(lmf__api_take(c->ctx, "lmfast_engine_opts", &o, opts, sizeof o));
    LMF_TRY(engine_opts(model, &o, &eo));
    lmfast_engine *e = lmf_new(c->ctx, lmfast_engine);
    if (!e)
        return LMF_NO_MEMORY(c->ctx, sizeof *e, "an engine");
    e->model = lmf__model_retain(model);
    e->context = eo.context, e->n_adapters = eo.n_adapters;
    atomic_init(&e->n_refs, 1);
    pthread_mutex_lock(&c->build);
    lmf_status s = lmf_engine_create(c->ctx, model->m, &eo, &e->e);
    pthread_mutex_unlock(&c->build);
    if (!s) {
        e->stepping = pthread_create(&e->thread, NULL, step_all, e) == 0;
        s = e->stepping ? LMF_OK : LMF_FAIL(c->ctx, LMF_E_MEMORY, "the engine's thread could not be started");
    }
    if (s) {
        lmf__engine_release(e);
        return s;
    }
    *out = e;
    return LMFAST_OK;
}

void lmfast_engine_destroy(lmfast_engine *engine) { lmf__engine_release(engine); }
lmfast_model *lmfast_engine_model(const lmfast_engine *engine) { return engine ? engine->model : NULL; }

/* ---- the session ---- */
static lmf_ctx *ctx_of(const lmfast_session *s) { return s->engine->model->c->ctx; }

static void drop_answer(lmfast_session *s)
{
    lmf__api_constraint_close(&s->constraint);
    lmf_free(ctx_of(s), s->stop_bytes, s->n_stop_bytes);
    s->stop_bytes = NULL, s->n_stop_bytes = 0;
    s->writing = false;
}

lmfast_status lmfast_session_create(lmfast_engine *engine, const lmfast_session_opts *opts, lmfast_session **out)
{
    lmfast_session_opts o = lmfast_session_opts_default();
    *out = NULL;
    if (!engine)
        return LMFAST_E_ARG;
    lmfast_context *c = engine->model->c;
    LMF_TRY(lmf__api_enter(c));
    LMF_TRY(lmf__api_take(c->ctx, "lmfast_session_opts", &o, opts, sizeof o));
    if (o.adapter == LMFAST_ADAPTER_FIRST)
        o.adapter = engine->n_adapters ? 0 : -1;
    if (o.adapter < -1 || o.adapter >= engine->n_adapters)
        return LMF_FAIL(c->ctx, LMF_E_ARG, "adapter is %d; the engine has %d, counted from 0; -1 is none", (int)o.adapter,
                        (int)engine->n_adapters);
    lmfast_session *s = lmf_new(c->ctx, lmfast_session);
    if (!s)
        return LMF_NO_MEMORY(c->ctx, sizeof *s, "a session");
    lmf_status status = lmf_session_create(engine->e, &(lmf_session_opts){ sizeof(lmf_session_opts), o.adapter }, &s->s);
    if (status) {
        lmf_delete(c->ctx, s);
        return status;
    }
    s->engine = engine;
    atomic_fetch_add(&engine->n_refs, 1);
    lmf_ids_init(&s->ids, c->ctx, MAX_PROMPT);
    lmf_buf_init(&s->text, c->ctx, MAX_TEXT);
    *out = s;
    return LMFAST_OK;
}

/* Ends what is being written; what was not read of it is lost. Bounded by one step of the engine. */
static void end_answer(lmfast_session *s)
{
    lmf_token tok[16];
    int n = 0;
    lmf_session_cancel(s->s);
    while (lmf_session_is_busy(s->s) && !atomic_load(&s->engine->broken))
        if (lmf_session_wait(s->s, LOOK_MS) && lmf_session_read(s->s, tok, 16, &n))
            break; /* it failed, and so has ended */
    drop_answer(s);
}

void lmfast_session_destroy(lmfast_session *session)
{
    if (!session)
        return;
    lmfast_engine *e = session->engine;
    if (lmf__api_enter(e->model->c) == LMF_OK) { /* in a forked child the engine's locks may be held for ever: all is left as it is */
        lmf_session_destroy(session->s); /* waits for a step in progress */
        drop_answer(session);
        lmf_ids_clear(&session->ids);
        lmf_buf_clear(&session->text);
        lmf_delete(e->model->c->ctx, session);
        lmf__engine_release(e);
    }
}

/* The session holds ids afterwards; what it has in common with them stays computed. */
static lmf_status load_prompt(lmfast_session *s)
{
    int n = lmf_session_n_tok(s->s), same = 0;
    lmf_ctx *ctx = ctx_of(s);
    if (s->ids.n == 0)
        return LMF_FAIL(ctx, LMF_E_ARG, "the prompt is empty");
    if (s->ids.n >= (size_t)s->engine->context)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "the prompt has %zu tokens; the context holds %d, the answer included", s->ids.n,
                        (int)s->engine->context);
    int32_t *held = n ? lmf_alloc(ctx, (size_t)n * sizeof *held) : NULL;
    if (n && !held)
        return LMF_NO_MEMORY(ctx, (size_t)n * sizeof *held, "the session's tokens");
    n = n ? lmf_session_tokens(s->s, held, n) : 0;
    while (same < n && (size_t)same < s->ids.n && held[same] == s->ids.data[same])
        same++;
    if (held)
        lmf_free(ctx, held, (size_t)n * sizeof *held);
    if (same == (int)s->ids.n) /* the last token is read again: the answer begins behind it */
        same--;
    LMF_TRY(lmf_session_rewind(s->s, same, NULL));
    int cached = 0;
    LMF_TRY(lmf_session_append(s->s, s->ids.data + same, (int)(s->ids.n - (size_t)same), &cached));
    s->info = (lmfast_answer_info){ .n_prompt = (int32_t)s->ids.n, .n_cached = cached };
    return LMF_OK;
}

static lmf_status enter(lmfast_session *s)
{
    LMF_TRY(lmf__api_enter(s->engine->model->c));
    if (atomic_load(&s->engine->broken))
        return LMF_FAIL(ctx_of(s), LMF_E_DEVICE, "the engine has failed %d times in a row and does not go on; create another",
                        MAX_FAILURES);
    return LMF_OK;
}

lmfast_status lmfast_session_set_text(lmfast_session *session, const char *text, size_t n_bytes)
{
    if (!session || (!text && n_bytes))
        return LMFAST_E_ARG;
    LMF_TRY(enter(session));
    lmf_model *m = session->engine->model->m;
    if (!m->tokenizer)
        return LMF_FAIL(ctx_of(session), LMF_E_UNSUPPORTED, "%s: the model has no tokenizer", m->path);
    if (n_bytes == 0)
        return LMF_FAIL(ctx_of(session), LMF_E_ARG, "the prompt is empty");
    end_answer(session);
    session->ids.n = 0;
    LMF_TRY(lmf_chat_encode_plain(&m->chat, text, n_bytes, LMF_ENCODE_DEFAULTS, &session->ids));
    return load_prompt(session);
}

lmfast_status lmfast_session_set_tokens(lmfast_session *session, const int32_t *ids, size_t n)
{
    if (!session || (!ids && n))
        return LMFAST_E_ARG;
    LMF_TRY(enter(session));
    end_answer(session);
    session->ids.n = 0;
    LMF_TRY(lmf_ids_append(&session->ids, ids, n));
    return load_prompt(session);
}

lmf_status lmf__session_set_vars(lmfast_session *s, json_t *vars)
{
    end_answer(s);
    s->ids.n = 0;
    LMF_TRY(lmf_chat_encode(&s->engine->model->m->chat, vars, true, &s->ids));
    return load_prompt(s);
}

lmfast_status lmfast_session_set_chat(lmfast_session *session, const char *json, size_t n_bytes)
{
    json_t *vars;
    if (!session || (!json && n_bytes))
        return LMFAST_E_ARG;
    LMF_TRY(enter(session));
    LMF_TRY(lmf__chat_parse(session->engine->model, json ? json : "", n_bytes, &vars));
    lmf_status s = lmf__session_set_vars(session, vars);
    json_decref(vars);
    return s;
}

/* ---- an answer ---- */
static lmf_status copy_stops(lmfast_session *s, const lmfast_gen_opts *o)
{
    lmf_ctx *ctx = ctx_of(s);
    size_t n = 0;
    if (o->n_stop < 0 || o->n_stop > LMF_MAX_STOPS || (o->n_stop && !o->stop))
        return LMF_FAIL(ctx, LMF_E_ARG, "n_stop is %d; at most %d stop texts are taken", (int)o->n_stop, LMF_MAX_STOPS);
    for (int i = 0; i < o->n_stop; i++) {
        if (!o->stop[i])
            return LMF_FAIL(ctx, LMF_E_ARG, "stop text %d is NULL", i);
        n += strnlen(o->stop[i], LMF_STOP_MAX_BYTES + 1) + 1;
    }
    if (n && !(s->stop_bytes = lmf_alloc(ctx, n)))
        return LMF_NO_MEMORY(ctx, n, "stop texts");
    s->n_stop_bytes = n;
    char *p = s->stop_bytes;
    for (int i = 0; i < o->n_stop; i++) {
        size_t len = strnlen(o->stop[i], LMF_STOP_MAX_BYTES + 1);
        memcpy(p, o->stop[i], len); /* the 0 behind it is there */
        s->stop[i] = p;
        p += len + 1;
    }
    return lmf_text_stream_init(&s->stream, ctx, s->stop, o->n_stop);
}

static lmf_status begin_answer(lmfast_session *s, const lmfast_gen_opts *o)
{
    lmf_gen_opts gen = lmf_gen_opts_default();
    if (o->max_tok < 1)
        return LMF_FAIL(ctx_of(s), LMF_E_ARG, "max_tok is %d; at least 1 token is written", (int)o->max_tok);
    gen.max_tok = o->max_tok, gen.temperature = o->temperature, gen.top_k = o->top_k, gen.top_p = o->top_p, gen.min_p = o->min_p;
    gen.repetition_penalty = o->repetition_penalty, gen.presence_penalty = o->presence_penalty,
        gen.frequency_penalty = o->frequency_penalty;
    gen.seed = o->seed, gen.ignore_eos = o->ignore_eos;
    LMF_TRY(copy_stops(s, o));
    LMF_TRY(lmf__api_constraint_open(s, o, &gen));
    return lmf_session_generate(s->s, &gen);
}

lmfast_status lmfast_session_generate(lmfast_session *session, const lmfast_gen_opts *opts)
{
    lmfast_gen_opts o = lmfast_gen_opts_default();
    if (!session)
        return LMFAST_E_ARG;
    LMF_TRY(enter(session));
    LMF_TRY(lmf__api_take(ctx_of(session), "lmfast_gen_opts", &o, opts, sizeof o));
    if (session->writing)
        return LMF_FAIL(ctx_of(session), LMF_E_BUSY, "the session is writing an answer; cancel it, or read it to its end");
    if (lmf_session_n_tok(session->s) == 0)
        return LMF_FAIL(ctx_of(session), LMF_E_ARG, "the session is empty: there is nothing to go on from");
    drop_answer(session);
    lmf_buf_truncate(&session->text, 0);
    session->start = lmf__api_seconds(), session->first = 0;
    session->info.n_answer = 0, session->info.finish = LMFAST_FINISH_NONE;
    session->info.prefill_seconds = session->info.decode_seconds = 0;
    lmf_status s = begin_answer(session, &o);
    if (s)
        drop_answer(session);
    else
        session->writing = true;
    return s;
}

/* The tokens' text is behind what was there; a stop text ends the answer, and only its finish is waited for then. */
static lmf_status take_tokens(lmfast_session *s, const lmf_token *tok, int n, int32_t *n_tok, int32_t *finish)
{
    lmf_fresh fresh;
    for (int i = 0; i < n; i++) {
        bool stopped = s->stream.i_stop >= 0, ends = tok[i].finish == LMF_FINISH_STOP;
        if (tok[i].id >= 0 && !stopped) {
            ++*n_tok;
            if (!ends)
                LMF_TRY(lmf_text_stream_push(&s->stream, s->engine->model->m->tokenizer, tok[i].id, &s->text, &fresh));
            if (s->stream.i_stop >= 0)
                lmf_session_cancel(s->s);
        }
        if (tok[i].finish) {
            if (s->stream.i_stop < 0)
                LMF_TRY(lmf_text_stream_end(&s->stream, &s->text, &fresh));
            *finish = s->stream.i_stop >= 0 || ends ? LMFAST_FINISH_STOP :
                tok[i].finish == LMF_FINISH_LENGTH ? LMFAST_FINISH_LENGTH : LMFAST_FINISH_CANCELLED;
        }
    }
    return LMF_OK;
}

/* Until there is text, the finish or the deadline. */
static lmf_status read_more(lmfast_session *s, int32_t timeout_ms, lmfast_piece *p)
{
    lmf_token tok[16];
    double end = timeout_ms < 0 ? 0 : lmf__api_seconds() + 1e-3 * timeout_ms;
    size_t begin = s->stream.n_out;
    for (int n;;) {
        LMF_TRY(lmf_session_read(s->s, tok, 16, &n));
        if (n && s->first == 0)
            s->first = lmf__api_seconds();
        LMF_TRY(take_tokens(s, tok, n, &p->n_tok, &p->finish));
        p->n_bytes = s->stream.n_out - begin;
        p->text = p->n_bytes ? s->text.data + begin : "";
        if (p->n_bytes || p->finish)
            return LMF_OK;
        double left = end - lmf__api_seconds();
        if (timeout_ms >= 0 && left <= 0 && n == 0)
            return LMF_OK;
        int wait = timeout_ms < 0 || left > 1e-3 * LOOK_MS ? LOOK_MS : left > 0 ? (int)(1e3 * left) + 1 : 0;
        if (!lmf_session_wait(s->s, wait) && atomic_load(&s->engine->broken))
            return enter(s);
    }
}

lmfast_status lmfast_session_next(lmfast_session *session, int32_t timeout_ms, lmfast_piece *piece)
{
    lmfast_piece p = { .struct_bytes = sizeof p, .text = "" };
    if (!session)
        return LMFAST_E_ARG;
    LMF_TRY(lmf__api_enter(session->engine->model->c));
    if (!session->writing)
        return LMF_FAIL(ctx_of(session), LMF_E_ARG, "nothing is being written: lmfast_session_generate begins an answer");
    lmf_status s = read_more(session, timeout_ms, &p);
    session->info.n_answer += p.n_tok;
    session->info.finish = p.finish;
    if (s || p.finish) {
        double now = lmf__api_seconds(), first = session->first == 0 ? now : session->first;
        session->info.prefill_seconds = first - session->start;
        session->info.decode_seconds = now - first;
        drop_answer(session);
    }
    LMF_TRY(s);
    return lmf__api_give(ctx_of(session), "lmfast_piece", piece, &p, sizeof p);
}

void lmfast_session_cancel(lmfast_session *session)
{
    if (session)
        lmf_session_cancel(session->s);
}

lmfast_status lmfast_session_get_info(const lmfast_session *session, lmfast_answer_info *info)
{
    return session ? lmf__api_give(ctx_of(session), "lmfast_answer_info", info, &session->info, sizeof session->info) : LMFAST_E_ARG;
}

int32_t lmfast_session_n_tok(const lmfast_session *session) { return session ? lmf_session_n_tok(session->s) : 0; }
