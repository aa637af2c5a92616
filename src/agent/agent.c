/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what runs is what the model's own answer called; no text of a result is ever looked at for calls. */
#include "agent/agent.h"
#include <stdio.h>
#include <string.h>
#include "calls/constraint.h"
#include "calls/describe.h"
#include "calls/tool_scan.h"
#include "data/rows.h"
#include "format/json.h"
#include "text/stream/stream.h"

enum { MAX_TEXT = 1 << 22, LEAST_ANSWER = 16 };

struct lmf_agent {
    lmf_ctx         *ctx;
    const lmf_model *model;
    lmf_toolset     *tools;
    lmf_chat_forms   forms;
    lmf_tool_form    form;
    bool             own;          /* we describe the tools, the template does not */
    lmf_constraints  constraints;
    lmf_ids          ids;          /* of the prompt */
};

typedef struct episode {
    lmf_agent   *a;
    lmf_engine  *e;
    lmf_session *s;
    const lmf_agent_opts *o;
    lmf_agent_result *out;
    json_t      *messages, *seen;  /* seen: name and arguments of calls, as keys */
    lmf_wish     wish;
    int32_t      context, i_call;
    uint64_t     has_private;      /* bit i: private data of the origin i is in the conversation */
    bool         no_calls;
    double       start, until;
    bool         ended;            /* the answer came to its end by itself */
} episode;

lmf_agent_opts lmf_agent_opts_default(void)
{
    return (lmf_agent_opts){ .max_turns = 8, .max_calls = 4, .max_result_bytes = 4096, .gen = lmf_gen_opts_default() };
}

/* ---- making ---- */

static json_t *tools_wish(const lmf_toolset *set, int only)
{
    json_t *list = json_array();
    for (int i = 0; list && i < set->n; i++)
        if (only < 0 || only == i)
            json_array_append_new(list, json_pack("{s:s, s:O}", "name", set->item[i].name, "parameters", set->item[i].schema));
    return list;
}

/* Each schema by itself, so that the sentence can name the tool. */
static lmf_status check_schemas(lmf_agent *a)
{
    for (int i = 0; i < a->tools->n; i++) {
        lmf_wish w = { .tools = tools_wish(a->tools, i), .max_calls = 1 };
        lmf_compiled *c = NULL;
        lmf_status s = w.tools ? lmf__constraints_get(&a->constraints, &w, &c) : LMF_NO_MEMORY(a->ctx, 64, "a tool");
        lmf__constraints_drop(&a->constraints, c);
        json_decref(w.tools);
        if (s)
            return lmf_fail_prefix(a->ctx, s, "the tool \"%s\"", a->tools->item[i].name);
    }
    return LMF_OK;
}

lmf_status lmf_agent_create(lmf_ctx *ctx, const lmf_model *model, lmf_toolset *tools, lmf_agent **out)
{
    lmf_agent *a = *out = lmf_new(ctx, lmf_agent);
    if (!a)
        return LMF_NO_MEMORY(ctx, sizeof *a, "an agent");
    a->ctx = ctx, a->model = model, a->tools = tools;
    lmf_ids_init(&a->ids, ctx, 1 << 22);
    lmf__constraints_init(&a->constraints, ctx, &model->chat, &a->form);
    lmf_status s = LMF_OK;
    if (!model->chat.source)
        s = LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "%s", model->chat.broken ? model->chat.broken
                     : "the model has no chat template, which agents need");
    if (!s)
        s = lmf_chat_find_forms(&model->chat, &a->forms);
    if (!s)
        s = lmf__tools_find(&model->chat, &a->forms, &a->form, &a->own);
    if (!s)
        s = check_schemas(a);
    if (s) {
        lmf_agent_destroy(a);
        *out = NULL;
    }
    return s;
}

void lmf_agent_destroy(lmf_agent *a)
{
    if (!a)
        return;
    lmf__constraints_clear(&a->constraints);
    lmf_ids_clear(&a->ids);
    lmf_delete(a->ctx, a);
}

lmf_status lmf_agent_mask(void *user, void *grammar, const int32_t *tok, int n_tok, uint32_t *bits)
{
    (void)user;
    return lmf__constrained_mask(grammar, tok, n_tok, bits);
}

int32_t lmf_agent_force(void *user, void *grammar, const int32_t *tok, int n_tok, int32_t *out, int cap)
{
    (void)user;
    return lmf__constrained_force(grammar, tok, n_tok, out, cap);
}

/* ---- steps ---- */

/* Takes step. */
static lmf_status tell(episode *x, json_t *step)
{
    if (!step || json_object_set_new(step, "turn", json_integer(x->out->n_turns))) {
        json_decref(step);
        return LMF_NO_MEMORY(x->a->ctx, 256, "a step");
    }
    if (x->o->step)
        x->o->step(x->o->user, step);
    json_decref(step);
    return LMF_OK;
}

static lmf_status add_message(episode *x, json_t *message)
{
    return !message || json_array_append_new(x->messages, message) ? LMF_NO_MEMORY(x->a->ctx, 256, "a message") : LMF_OK;
}

/* ---- the prompt ---- */

static lmf_status encode(lmf_agent *a, const json_t *messages, bool with_tools)
{
    const lmf_chat *chat = &a->model->chat;
    json_t *copy = json_deep_copy(messages), *vars = copy ? json_pack("{s:o}", "messages", copy) : NULL;
    if (!vars || (with_tools && a->tools->n && json_object_set_new(vars, "tools", lmf_tools_json(a->tools)))) {
        json_decref(vars);
        return LMF_NO_MEMORY(a->ctx, 1024, "a conversation");
    }
    a->ids.n = 0;
    lmf_status s = lmf__row_normalize(a->ctx, vars);
    if (!s && a->own)
        s = lmf__tools_describe(a->ctx, vars);
    if (!s)
        s = lmf_chat_fit(chat, &a->forms, vars);
    if (!s)
        s = lmf_chat_check_tools(chat, &a->forms, vars);
    if (!s)
        s = lmf_chat_encode(chat, vars, true, &a->ids);
    json_decref(vars);
    return s;
}

lmf_status lmf_agent_measure(lmf_agent *a, const json_t *messages, int32_t *n_tok)
{
    lmf_status s = encode(a, messages, true);
    *n_tok = (int32_t)a->ids.n;
    return s;
}

/* Leaves out the oldest result that is long enough to make room; false: there is none. */
static bool leave_out(episode *x, lmf_status *s)
{
    for (size_t i = 0; i < json_array_size(x->messages); i++) {
        json_t *m = json_array_get(x->messages, i);
        const char *role = json_string_value(json_object_get(m, "role"));
        size_t n = json_string_length(json_object_get(m, "content"));
        if (!role || strcmp(role, "tool") || n < 80)
            continue;
        char text[64];
        snprintf(text, sizeof text, "[left out: %zu bytes]", n);
        *s = json_object_set_new(m, "content", json_string(text)) ? LMF_NO_MEMORY(x->a->ctx, 64, "a message") : LMF_OK;
        if (!*s)
            *s = tell(x, json_pack("{s:s, s:I, s:I}", "type", "left_out", "message", (json_int_t)i, "bytes", (json_int_t)n));
        return true;
    }
    return false;
}

static lmf_status make_prompt(episode *x)
{
    lmf_status s = LMF_OK;
    int32_t room = x->o->gen.max_tok < x->context / 4 ? x->o->gen.max_tok : x->context / 4;
    do
        s = encode(x->a, x->messages, true);
    while (!s && (int64_t)x->a->ids.n + room > x->context && leave_out(x, &s) && !s);
    if (!s && (int64_t)x->a->ids.n + LEAST_ANSWER > x->context)
        s = LMF_FAIL(x->a->ctx, LMF_E_LIMIT,
                     "the conversation has %zu tokens, and the context of %d leaves no room for an answer: raise --context, or "
                     "take fewer tools", x->a->ids.n, x->context);
    return s;
}

/* ---- an answer ---- */

static lmf_status write_answer(episode *x, const lmf_gen_opts *gen, lmf_buf *text)
{
    lmf_text_stream st;
    lmf_token tok[32];
    lmf_fresh fresh;
    LMF_TRY(lmf_text_stream_init(&st, x->a->ctx, NULL, 0));
    LMF_TRY(lmf_session_become(x->s, x->a->ids.data, (int)x->a->ids.n));
    LMF_TRY(lmf_session_generate(x->s, gen));
    x->ended = false;
    for (int live = 1, n = 1; live || n;) {
        if ((x->o->stopped && x->o->stopped(x->o->user)) || lmf_tool_clock_now() > x->until)
            lmf_session_cancel(x->s);
        LMF_TRY(lmf_engine_step(x->e, &live));
        LMF_TRY(lmf_session_read(x->s, tok, 32, &n));
        for (int i = 0; i < n; i++) {
            x->out->n_tok += tok[i].id >= 0;
            x->ended |= tok[i].finish == LMF_FINISH_STOP;
            if (tok[i].id >= 0 && tok[i].finish != LMF_FINISH_STOP)
                LMF_TRY(lmf_text_stream_push(&st, x->a->model->tokenizer, tok[i].id, text, &fresh));
        }
    }
    LMF_TRY(lmf_text_stream_end(&st, text, &fresh));
    if (x->o->stopped && x->o->stopped(x->o->user))
        return LMF_FAIL(x->a->ctx, LMF_E_CANCELLED, "stopped after %lld tokens", (long long)x->out->n_tok);
    return LMF_OK;
}

static lmf_status answer(episode *x, bool must_call, lmf_buf *text)
{
    lmf_agent *a = x->a;
    lmf_compiled *c = NULL;
    lmf_constrained form = { 0 };
    lmf_gen_opts gen = x->o->gen;
    int32_t n_prompt = (int32_t)a->ids.n, room = x->context - n_prompt;
    int64_t left = x->o->budget_tok ? x->o->budget_tok - x->out->n_tok : room;
    gen.max_tok = gen.max_tok < room ? gen.max_tok : room;
    gen.max_tok = gen.max_tok < left ? gen.max_tok : (int32_t)left;
    gen.seed += (uint64_t)x->out->n_turns - 1;
    bool calls = a->tools->n && !x->no_calls;
    if (!calls)
        return write_answer(x, &gen, text);
    LMF_TRY(lmf__constraints_get(&a->constraints, &x->wish, &c));
    bool thinks = lmf__prompt_thinks(&a->constraints, a->ids.data, n_prompt);
    lmf_status s = lmf__constrained_open(&form, &a->constraints, c, must_call, thinks, n_prompt, gen.max_tok);
    gen.grammar = &form;
    if (!s)
        s = write_answer(x, &gen, text);
    lmf__constrained_close(&form);
    lmf__constraints_drop(&a->constraints, c);
    return s;
}

/* ---- calls ---- */

/* [{"id", "type", "function": {"name", "arguments"}}] of text; *n_text: bytes before them. The caller's reference; empty: none. */
static lmf_status read_calls(episode *x, const lmf_buf *text, json_t **out, size_t *n_text)
{
    const lmf_tool_form *f = &x->a->form;
    const char *p = lmf_buf_str(text), *thought = NULL;
    for (const char *q = p; (q = strstr(q, "</think>")); q += 8)
        thought = q + 8;
    bool none = x->no_calls || (!x->ended && lmf_tool_clock_now() > x->until); /* a call that time cut is none */
    size_t from = thought ? (size_t)(thought - p) : 0, begin = none ? text->n : lmf_tool_form_begin(f, p, text->n, from);
    lmf_tool_scan scan = { .at = begin };
    lmf_tool_piece piece;
    lmf_buf arguments;
    json_t *name = NULL;
    lmf_status s = LMF_OK;
    *out = json_array(), *n_text = begin;
    lmf_buf_init(&arguments, x->a->ctx, MAX_TEXT);
    for (bool more = *out && begin < text->n; more && !s;) {
        more = lmf_tool_scan_next(&scan, f, p, text->n, &piece);
        if (name && (!more || piece.name)) { /* the call before is whole */
            char id[32];
            json_t *j = NULL;
            s = lmf_json_parse(x->a->ctx, lmf_buf_str(&arguments), arguments.n, "a call's arguments", LMF_JSON_SMALL, &j);
            snprintf(id, sizeof id, "call%05d", ++x->i_call);
            if (!s && json_array_append_new(*out, json_pack("{s:s, s:s, s:{s:O, s:O}}", "id", id, "type", "function", "function", "name",
                                                            name,
                                                           "arguments", j)))
                s = LMF_NO_MEMORY(x->a->ctx, arguments.n, "a call");
            json_decref(j);
            json_decref(name);
            name = NULL;
            lmf_buf_truncate(&arguments, 0);
        }
        if (more && piece.name)
            name = piece.name;
        else if (more)
            s = lmf_buf_append(&arguments, piece.arguments, piece.n);
    }
    json_decref(name);
    lmf_buf_clear(&arguments);
    if (!*out)
        s = LMF_NO_MEMORY(x->a->ctx, 64, "calls");
    if (!s && !json_array_size(*out))
        *n_text = text->n;
    return s;
}

static bool begins(const char *p, size_t n, const char *word)
{
    size_t k = strlen(word);
    return k && n >= k && memcmp(p, word, k) == 0;
}

/* The marks of calls and results, spelled by a tool, are to be seen as its text. */
static lmf_status defuse(const lmf_agent *a, const lmf_buf *from, lmf_buf *out, int *n_marks)
{
    for (size_t i = 0; i < from->n; i++) {
        const char *p = from->data + i;
        size_t n = from->n - i;
        bool mark = *p == '<' && (begins(p, n, a->form.open) || begins(p, n, a->form.close) || begins(p, n, "<tool_") || begins(p, n,
            "</tool_"));
        *n_marks += mark;
        lmf_buf_append(out, mark ? "&lt;" : p, mark ? 4 : 1);
    }
    return out->status;
}

static lmf_status put_result(episode *x, const json_t *call, const char *name, bool failed, const lmf_buf *text, json_t *step)
{
    lmf_buf safe;
    int n_marks = 0;
    lmf_buf_init(&safe, x->a->ctx, MAX_TEXT);
    lmf_status s = failed ? lmf_buf_puts(&safe, "error: ") : LMF_OK;
    if (!s)
        s = defuse(x->a, text, &safe, &n_marks);
    json_t *content = s ? NULL : json_stringn(lmf_buf_str(&safe), safe.n);
    if (!s && (!content || !step || json_object_set(step, "text", content) || json_object_set_new(step, "marks", json_integer(n_marks))))
        s = LMF_NO_MEMORY(x->a->ctx, safe.n, "a result");
    if (!s)
        s = add_message(x, json_pack("{s:s, s:O, s:s, s:O}", "role", "tool", "tool_call_id", json_object_get(call, "id"), "name", name,
                                     "content",
                                     content));
    if (!s)
        s = tell(x, json_incref(step));
    json_decref(content);
    json_decref(step);
    lmf_buf_clear(&safe);
    return s;
}

static lmf_status put_sentence(episode *x, const json_t *call, const char *name, const char *type, const char *sentence)
{
    lmf_buf text;
    lmf_buf_init(&text, x->a->ctx, 1024);
    lmf_status s = lmf_buf_puts(&text, sentence);
    if (!s)
        s = put_result(x, call, name, true, &text, json_pack("{s:s, s:s, s:b}", "type", type, "tool", name, "failed", 1));
    lmf_buf_clear(&text);
    return s;
}

/* What only reads but asks others for it tells them something: private data goes back to where it came from without a question, and
 * nowhere else. */
static bool may_run(episode *x, const lmf_tool_use *use, const char *arguments)
{
    bool (*allow)(void *, lmf_ask, const lmf_tool_use *, const char *) = x->o->allow;
    uint64_t own = use->effect == LMF_READS && use->origin ? (uint64_t)1 << use->origin : 0;
    bool tells = use->effect == LMF_SENDS || use->is_outward, leaks = tells && x->has_private & ~own;
    if (use->effect != LMF_READS && (!allow || !allow(x->o->user, LMF_ASK_EFFECT, use, arguments)))
        return false;
    return !leaks || (allow && allow(x->o->user, LMF_ASK_PRIVATE, use, arguments));
}

static lmf_status run_tool(episode *x, const json_t *call, lmf_tool_use *use, const json_t *arguments)
{
    lmf_tool_result r;
    LMF_TRY(lmf_tool_run(x->a->ctx, use, arguments, x->o->max_result_bytes, x->until, &r));
    x->has_private |= (uint64_t)use->is_private << use->origin;
    x->out->n_failed += r.failed;
    lmf_status s = put_result(x, call, use->name, r.failed, &r.text,
                              json_pack("{s:s, s:s, s:b, s:I, s:i, s:f}", "type", "result", "tool", use->name, "failed", r.failed, "bytes",
                                        (json_int_t)r.n_bytes, "replaced", r.n_replaced, "seconds", r.seconds));
    lmf_tool_result_clear(&r);
    return s;
}

static lmf_status do_call(episode *x, const json_t *call)
{
    const json_t *function = json_object_get(call, "function"), *arguments = json_object_get(function, "arguments");
    const char *name = json_string_value(json_object_get(function, "name"));
    lmf_tool_use *use = name ? lmf_tool_find(x->a->tools, name) : NULL;
    lmf_buf key;
    lmf_status s = tell(x, json_pack("{s:s, s:s, s:O}", "type", "call", "tool", name ? name : "", "arguments", arguments));
    if (s || !use)
        return s ? s : LMF_FAIL(x->a->ctx, LMF_E_INTERNAL, "a call of \"%.60s\", which is no tool", name ? name : "");
    lmf_buf_init(&key, x->a->ctx, MAX_TEXT);
    s = lmf_json_text(x->a->ctx, arguments, JSON_COMPACT | JSON_SORT_KEYS, &key);
    size_t n = key.n;
    if (!s)
        s = lmf_buf_printf(&key, " %s", name);
    bool again = !s && json_object_get(x->seen, lmf_buf_str(&key));
    if (!s && !again && json_object_set_new(x->seen, lmf_buf_str(&key), json_true()))
        s = LMF_NO_MEMORY(x->a->ctx, key.n, "a call");
    lmf_buf_truncate(&key, n);
    x->out->n_calls++;
    if (!s && again) {
        x->no_calls = true;
        s = put_sentence(x, call, name, "refused", "the same call was made before, its result stands above; answer the question now");
    } else if (!s && !may_run(x, use, lmf_buf_str(&key))) {
        s = put_sentence(x, call, name, "refused", "the user did not allow this call");
    } else if (!s) {
        s = run_tool(x, call, use, arguments);
    }
    lmf_buf_clear(&key);
    return s;
}

/* ---- all ---- */

/* One answer and the calls in it. *over: it called nothing. */
static lmf_status turn(episode *x, bool *over)
{
    lmf_buf text;
    json_t *calls = NULL;
    size_t n = 0;
    x->out->n_turns++;
    x->no_calls |= x->out->n_turns == x->o->max_turns;
    LMF_TRY(make_prompt(x));
    lmf_buf_init(&text, x->a->ctx, MAX_TEXT);
    lmf_status s = answer(x, x->o->must_call && x->out->n_turns == 1 && !x->no_calls, &text);
    if (!s)
        s = read_calls(x, &text, &calls, &n);
    *over = !s && !json_array_size(calls);
    json_t *content = s ? NULL : json_stringn(lmf_buf_str(&text), n);
    if (!s && !content)
        s = LMF_NO_MEMORY(x->a->ctx, n, "an answer");
    if (!s && (n || *over))
        s = tell(x, json_pack("{s:s, s:O, s:b}", "type", "text", "text", content, "cut", !x->ended));
    if (!s) {
        lmf_buf_truncate(&x->out->answer, 0);
        s = lmf_buf_append(&x->out->answer, lmf_buf_str(&text), n);
    }
    if (!s)
        s = add_message(x, *over ? json_pack("{s:s, s:O}", "role", "assistant", "content", content)
                                 : json_pack("{s:s, s:O, s:O}", "role", "assistant", "content", content, "tool_calls", calls));
    for (size_t i = 0; !s && i < json_array_size(calls); i++)
        s = do_call(x, json_array_get(calls, i));
    json_decref(content);
    json_decref(calls);
    lmf_buf_clear(&text);
    return s;
}

static const char *limit(const episode *x)
{
    if (lmf_tool_clock_now() > x->until)
        return "time";
    if (x->o->budget_tok && x->out->n_tok + LEAST_ANSWER > x->o->budget_tok)
        return "tokens";
    return x->out->n_turns >= x->o->max_turns ? "turns" : NULL;
}

lmf_status lmf_agent_run(lmf_agent *a, lmf_engine *e, lmf_session *session, json_t *messages, const lmf_agent_opts *opts,
                         lmf_agent_result *out)
{
    lmf_engine_info info;
    double now = lmf_tool_clock_now();
    episode x = { .a = a, .e = e, .s = session, .o = opts, .out = out, .messages = messages, .seen = json_object(), .start = now,
                  .until = opts->timeout_s > 0 ? now + opts->timeout_s : now + 1e9 };
    bool over = false;
    *out = (lmf_agent_result){ .why = "answered" };
    lmf_buf_init(&out->answer, a->ctx, MAX_TEXT);
    lmf_engine_get_info(e, &info);
    x.context = info.context;
    x.wish = (lmf_wish){ .tools = tools_wish(a->tools, -1), .max_calls = opts->max_calls };
    lmf_status s = x.seen && x.wish.tools ? LMF_OK : LMF_NO_MEMORY(a->ctx, 64, "tools");
    while (!s && !over) {
        const char *why = limit(&x);
        if (why) {
            out->why = why;
            break;
        }
        s = turn(&x, &over);
    }
    if (!s && over && !x.ended)
        out->why = lmf_tool_clock_now() > x.until ? "time" : "tokens";
    out->seconds = lmf_tool_clock_now() - x.start;
    if (!s)
        s = tell(&x, json_pack("{s:s, s:s, s:o, s:i, s:i, s:i, s:I, s:f}", "type", "end", "why", out->why, "answer",
                               json_stringn(lmf_buf_str(&out->answer), out->answer.n), "turns", out->n_turns, "calls", out->n_calls,
                                   "failed",
                               out->n_failed, "tokens", (json_int_t)out->n_tok, "seconds", out->seconds));
    json_decref(x.seen);
    json_decref(x.wish.tools);
    return s;
}
