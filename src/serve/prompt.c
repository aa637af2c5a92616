/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/prompt.h"
#include <stdio.h>
#include <string.h>
#include "calls/describe.h"
#include "data/rows.h"
#include "serve/params.h"
#include "serve/screen.h"

static bool check_message(json_t *m, size_t i, lmf_fault *f)
{
    static const char *const roles[] = { "system", "developer", "user", "assistant", "tool", NULL };
    char param[64];
    const char *role = json_string_value(json_object_get(m, "role"));
    json_t *content = json_object_get(m, "content");
    bool known = false;
    snprintf(param, sizeof param, "messages[%zu]", i);
    for (const char *const *r = roles; role && *r; r++)
        known |= strcmp(role, *r) == 0;
    if (!json_is_object(m) || !known)
        return lmf__refuse(f, 400, param, NULL, "%s must be an object with a role: system, developer, user, assistant or tool", param);
    snprintf(param, sizeof param, "messages[%zu].content", i);
    if (strcmp(role, "assistant") && !json_is_string(content) && !json_is_array(content))
        return lmf__refuse(f, 400, param, NULL, "%s must be a text or a list of parts", param);
    if (content && !json_is_null(content) && !json_is_string(content) && !json_is_array(content))
        return lmf__refuse(f, 400, param, NULL, "%s must be a text, a list of parts or null", param);
    for (size_t k = 0; k < json_array_size(content); k++) {
        const char *type = json_string_value(json_object_get(json_array_get(content, k), "type"));
        if (type && strcmp(type, "text"))
            return lmf__refuse(f, 400, param, NULL, "%s: a part of the type \"%.20s\" can't be read by this model; text can", param, type);
    }
    if (strcmp(role, "developer") == 0 && json_object_set_new(m, "role", json_string("system")))
        return lmf__refuse(f, 503, NULL, NULL, "there is no memory for the request");
    return true;
}

/* {"messages", "tools"} in the one form; the caller's reference. */
static json_t *conversation(const json_t *body, bool with_tools, lmf_fault *f)
{
    json_t *messages = json_object_get(body, "messages"), *own = json_object_get(body, "chat_template_kwargs");
    if (!json_is_array(messages) || json_array_size(messages) == 0)
        return lmf__refuse(f, 400, "messages", NULL, "messages must be a list of messages, and not empty"), NULL;
    for (size_t i = 0; i < json_array_size(messages); i++)
        if (!check_message(json_array_get(messages, i), i, f))
            return NULL;
    if (own && !json_is_null(own) && !json_is_object(own))
        return lmf__refuse(f, 400, "chat_template_kwargs", NULL, "chat_template_kwargs must be an object"), NULL;
    json_t *vars = json_pack("{s:O}", "messages", messages);
    if (!vars || (with_tools && json_object_set(vars, "tools", json_object_get(body, "tools"))) ||
        (json_is_object(own) && json_object_set(vars, "chat_template_kwargs", own))) {
        json_decref(vars);
        return lmf__refuse(f, 503, NULL, NULL, "there is no memory for the request"), NULL;
    }
    return vars;
}

static void guard_begins(lmf_exchange *x) { x->guard_begin_us = x->guard_begin_us ? x->guard_begin_us : lmf__now_us(); }

bool lmf__prompt_chat(lmf_exchange *x, const json_t *body, bool with_tools, lmf_ids *ids, lmf_fault *f)
{
    lmf_server *s = x->server;
    const char *param = "messages";
    if (!s->chat.source)
        return lmf__refuse(f, 400, "messages", NULL, "%s",
            s->chat.broken ? s->chat.broken : "the model has no chat template; /v1/completions continues plain text");
    json_t *vars = conversation(body, with_tools, f);
    if (!vars)
        return false;
    s->chat.now_unix = lmf__local_seconds();
    lmf_status status = lmf__row_normalize(s->ctx, vars);
    x->of_messages = true;
    if (!status && x->tenant->screen) {
        guard_begins(x);
        bool good = lmf__screen_request(x->tenant->screen, vars, f);
        x->guard_end_us = lmf__now_us();
        if (!good) {
            json_decref(vars);
            return false;
        }
    }
    if (!status && s->own_tools)
        status = lmf__tools_describe(s->ctx, vars);
    if (!status)
        status = lmf_chat_fit(&s->chat, &s->forms, vars);
    if (!status) {
        status = lmf_chat_check_tools(&s->chat, &s->forms, vars);
        param = status ? "tools" : param;
    }
    if (!status)
        status = lmf_chat_encode(&s->chat, vars, true, ids);
    json_decref(vars);
    return !status || lmf__refuse_status(f, s->ctx, status, param);
}

static bool encode_text(lmf_server *s, const json_t *text, bool specials, lmf_ids *ids, bool *bos_added, lmf_fault *f)
{
    size_t k = json_string_length(text), n = 0;
    lmf_status status = lmf_chat_encode_plain(&s->chat, json_string_value(text), k, specials ? LMF_ENCODE_DEFAULTS : 0, ids);
    if (status)
        return lmf__refuse_status(f, s->ctx, status, "prompt");
    if (bos_added) {
        const uint8_t *piece = ids->n ? lmf_tokenizer_piece(s->model->tokenizer, ids->data[0], &n) : NULL;
        bool bos = ids->n && ids->data[0] == lmf_tokenizer_ids(s->model->tokenizer)->bos;
        *bos_added = bos && !(piece && n <= k && memcmp(piece, json_string_value(text), n) == 0);
    }
    return true;
}

bool lmf__prompt_text(lmf_exchange *x, const json_t *text, bool specials, lmf_ids *ids, bool *bos_added, lmf_fault *f)
{
    json_t *now = NULL;
    if (!x->tenant->screen)
        return encode_text(x->server, text, specials, ids, bos_added, f);
    guard_begins(x);
    bool good = lmf__screen_prompt(x->tenant->screen, "prompt", text, &now, f);
    x->guard_end_us = lmf__now_us();
    good = good && encode_text(x->server, now, specials, ids, bos_added, f);
    json_decref(now);
    return good;
}

static bool screen_ids(lmf_exchange *x, const lmf_ids *ids, size_t from, const char *param, lmf_fault *f)
{
    lmf_buf text;
    lmf_buf_init(&text, x->server->ctx, (size_t)1 << 26);
    lmf_status status = lmf_tokenizer_decode(x->server->model->tokenizer, ids->data + from, ids->n - from, 0, &text);
    bool good = status ? lmf__refuse_status(f, x->server->ctx, status, param)
                       : lmf__screen_decoded(x->tenant->screen, param, lmf_buf_str(&text), text.n, f);
    lmf_buf_clear(&text);
    return good && !status;
}

bool lmf__prompt_ids(lmf_exchange *x, const json_t *list, const char *param, lmf_ids *ids, lmf_fault *f)
{
    const lmf_server *s = x->server;
    size_t from = ids->n;
    int64_t id = 0;
    if (!json_is_array(list))
        return lmf__refuse(f, 400, param, NULL, "%s must be a list of token ids", param);
    for (size_t i = 0; i < json_array_size(list); i++) {
        if (!lmf__param_int(json_array_get(list, i), param, 0, s->engine_info.vocab - 1, &id, f))
            return false;
        if (lmf_ids_append(ids, &(int32_t){ (int32_t)id }, 1))
            return lmf__refuse(f, 503, param, NULL, "there is no memory for the token ids");
    }
    return !x->tenant->screen || screen_ids(x, ids, from, param, f);
}
