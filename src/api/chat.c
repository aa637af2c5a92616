/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: messages hold what was said, an answer from its finish on; a failed call leaves them as they were. */
#include <string.h>
#include "api/api.h"
#include "format/json.h"

enum { MAX_CONVERSATION_BYTES = 1 << 26, MAX_VALUES = 1 << 20 };

struct lmfast_chat {
    lmfast_session *session;
    json_t         *messages;
    bool            writing;
};

static lmf_ctx *ctx_of(const lmfast_chat *c) { return c->session->engine->model->c->ctx; }

/* ---- conversations in JSON ---- */
static lmf_status check_messages(lmf_ctx *ctx, const json_t *messages)
{
    if (!json_is_array(messages) || json_array_size(messages) == 0)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "a conversation is a list of messages {\"role\", \"content\"}, and not empty");
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *m = json_array_get(messages, i), *content = json_object_get(m, "content");
        if (!json_is_string(json_object_get(m, "role")))
            return LMF_FAIL(ctx, LMF_E_FORMAT, "message %zu has no role", i + 1);
        bool calls = json_array_size(json_object_get(m, "tool_calls")) > 0;
        if (!json_is_string(content) && !json_is_array(content) && !(calls && (!content || json_is_null(content))))
            return LMF_FAIL(ctx, LMF_E_FORMAT, "message %zu has no content", i + 1);
    }
    return LMF_OK;
}

static lmf_status need_template(const lmfast_model *model)
{
    const lmf_model *m = model->m;
    if (!m->tokenizer)
        return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "%s: the model has no tokenizer", m->path);
    if (!m->chat_template && !m->chat.broken)
        return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "%s has no chat template; lmfast_session_set_text goes on from plain text", m->path);
    return LMF_OK;
}

static lmf_status forms_of(lmfast_model *model, lmf_chat_forms *out)
{
    lmf_status s = LMF_OK;
    pthread_mutex_lock(&model->lock);
    if (!model->has_forms && !(s = lmf_chat_find_forms(&model->m->chat, &model->forms)))
        model->has_forms = true;
    *out = model->forms;
    pthread_mutex_unlock(&model->lock);
    return s;
}

static lmf_status fit(lmfast_model *model, json_t *vars)
{
    lmf_chat_forms forms;
    LMF_TRY(check_messages(model->c->ctx, json_object_get(vars, "messages")));
    LMF_TRY(forms_of(model, &forms));
    LMF_TRY(lmf__row_normalize(model->c->ctx, vars));
    LMF_TRY(lmf_chat_fit(&model->m->chat, &forms, vars));
    return lmf_chat_check_tools(&model->m->chat, &forms, vars);
}

lmf_status lmf__chat_parse(lmfast_model *model, const char *json, size_t n, json_t **vars)
{
    lmf_ctx *ctx = model->c->ctx;
    lmf_buf text;
    size_t at = 0;
    *vars = NULL;
    LMF_TRY(need_template(model));
    while (at < n && strchr(" \t\r\n", json[at]) && json[at])
        at++;
    bool list = at < n && json[at] == '[';
    lmf_buf_init(&text, ctx, MAX_CONVERSATION_BYTES);
    lmf_buf_puts(&text, list ? "{\"messages\":" : "");
    lmf_buf_append(&text, json, n);
    lmf_buf_puts(&text, list ? "}" : "");
    lmf_status s = text.status ? LMF_FAIL(ctx, text.status, "a conversation of %zu bytes is too long", n)
                               : lmf_json_parse(ctx, lmf_buf_str(&text), text.n, "the conversation", MAX_VALUES, vars);
    lmf_buf_clear(&text);
    s = s ? s : fit(model, *vars);
    if (s) {
        json_decref(*vars);
        *vars = NULL;
    }
    return s;
}

lmfast_status lmfast_chat_render(lmfast_model *model, const char *json, size_t n_bytes, bool add_generation_prompt, char *text, size_t cap,
                                 size_t *n)
{
    json_t *vars;
    lmf_buf out;
    *n = 0;
    if (!model || (!json && n_bytes))
        return LMFAST_E_ARG;
    LMF_TRY(lmf__api_enter(model->c));
    LMF_TRY(lmf__chat_parse(model, json ? json : "", n_bytes, &vars));
    lmf_buf_init(&out, model->c->ctx, MAX_CONVERSATION_BYTES);
    lmf_status s = lmf_chat_render(&model->m->chat, vars, add_generation_prompt, &out, NULL);
    if (!s)
        lmf__api_fill(text, cap, n, out.data, out.n, 1);
    lmf_buf_clear(&out);
    json_decref(vars);
    return s;
}

/* ---- the handle ---- */
static lmf_status add(lmfast_chat *c, const char *role, const char *text, size_t n)
{
    json_t *content = json_stringn(text, n);
    if (!content)
        return LMF_FAIL(ctx_of(c), LMF_E_ARG, "the %s message is not valid UTF-8", role);
    json_t *message = json_pack("{s:s, s:o}", "role", role, "content", content);
    return message && json_array_append_new(c->messages, message) == 0 ? LMF_OK : LMF_NO_MEMORY(ctx_of(c), n, "a message");
}

lmfast_status lmfast_chat_create(lmfast_engine *engine, const char *system, const lmfast_session_opts *opts, lmfast_chat **out)
{
    *out = NULL;
    if (!engine)
        return LMFAST_E_ARG;
    lmf_ctx *ctx = engine->model->c->ctx;
    LMF_TRY(lmf__api_enter(engine->model->c));
    LMF_TRY(need_template(engine->model));
    lmfast_chat *c = lmf_new(ctx, lmfast_chat);
    if (!c)
        return LMF_NO_MEMORY(ctx, sizeof *c, "a conversation");
    lmf_status s = lmfast_session_create(engine, opts, &c->session);
    if (!s && !(c->messages = json_array()))
        s = LMF_NO_MEMORY(ctx, 64, "a conversation");
    if (!s && system)
        s = add(c, "system", system, strlen(system));
    if (s) {
        json_decref(c->messages);
        lmfast_session_destroy(c->session);
        lmf_delete(ctx, c);
        return s;
    }
    *out = c;
    return LMFAST_OK;
}

void lmfast_chat_destroy(lmfast_chat *chat)
{
    if (!chat || lmf__api_enter(chat->session->engine->model->c))
        return;
    lmfast_session *s = chat->session;
    json_decref(chat->messages);
    lmf_delete(ctx_of(chat), chat);
    lmfast_session_destroy(s);
}

static lmf_status keep_answer(lmfast_chat *c)
{
    c->writing = false;
    return add(c, "assistant", lmf_buf_str(&c->session->text), c->session->stream.n_out);
}

lmfast_status lmfast_chat_ask(lmfast_chat *chat, const char *text, const lmfast_gen_opts *opts)
{
    if (!chat)
        return LMFAST_E_ARG;
    LMF_TRY(lmf__api_enter(chat->session->engine->model->c));
    if (!text || !*text)
        return LMF_FAIL(ctx_of(chat), LMF_E_ARG, "there is nothing to ask: the text is empty");
    lmfast_piece piece = { .struct_bytes = sizeof piece };
    lmfast_chat_cancel(chat);
    while (chat->writing)
        LMF_TRY(lmfast_chat_next(chat, -1, &piece));
    LMF_TRY(add(chat, "user", text, strlen(text)));
    json_t *vars = json_pack("{s:o}", "messages", json_deep_copy(chat->messages)); /* fit changes it */
    lmf_status s = vars ? fit(chat->session->engine->model, vars) : LMF_NO_MEMORY(ctx_of(chat), 64, "a conversation");
    s = s ? s : lmf__session_set_vars(chat->session, vars);
    s = s ? s : lmfast_session_generate(chat->session, opts);
    json_decref(vars);
    if (s)
        json_array_remove(chat->messages, json_array_size(chat->messages) - 1);
    chat->writing = !s;
    return s;
}

lmfast_status lmfast_chat_next(lmfast_chat *chat, int32_t timeout_ms, lmfast_piece *piece)
{
    if (!chat)
        return LMFAST_E_ARG;
    lmfast_status s = lmfast_session_next(chat->session, timeout_ms, piece);
    if (!chat->writing || chat->session->writing)
        return s;
    lmf_status kept = keep_answer(chat); /* a failed answer too, as far as it came: roles stay in turn */
    return s ? s : kept;
}

void lmfast_chat_cancel(lmfast_chat *chat)
{
    if (chat)
        lmfast_session_cancel(chat->session);
}

lmfast_status lmfast_chat_reset(lmfast_chat *chat)
{
    if (!chat)
        return LMFAST_E_ARG;
    lmfast_piece piece = { .struct_bytes = sizeof piece };
    LMF_TRY(lmf__api_enter(chat->session->engine->model->c));
    lmfast_chat_cancel(chat);
    while (chat->writing)
        LMF_TRY(lmfast_chat_next(chat, -1, &piece));
    const char *role = json_string_value(json_object_get(json_array_get(chat->messages, 0), "role"));
    size_t keep = role && !strcmp(role, "system");
    while (json_array_size(chat->messages) > keep)
        json_array_remove(chat->messages, json_array_size(chat->messages) - 1);
    return LMFAST_OK;
}

lmfast_status lmfast_chat_messages(lmfast_chat *chat, char *json, size_t cap, size_t *n)
{
    lmf_buf out;
    *n = 0;
    if (!chat)
        return LMFAST_E_ARG;
    lmf_buf_init(&out, ctx_of(chat), MAX_CONVERSATION_BYTES);
    lmf_status s = lmf_json_text(ctx_of(chat), chat->messages, JSON_COMPACT, &out);
    if (!s)
        lmf__api_fill(json, cap, n, out.data, out.n, 1);
    lmf_buf_clear(&out);
    return s;
}

const lmfast_session *lmfast_chat_session(const lmfast_chat *chat) { return chat ? chat->session : NULL; }
