/* SPDX-License-Identifier: Apache-2.0 */
/* Text to token ids and back, as the model reads it: {"prompt"} or {"messages", "tools"} in, {"tokens"} out; {"tokens"} in,
    {"prompt"} out. */
#include <string.h>
#include "format/json.h"
#include "serve/generation.h"
#include "serve/params.h"
#include "serve/prompt.h"

typedef struct wanted { bool specials, strings; } wanted;

static json_t *tokens_form(const lmf_server *s, const lmf_ids *ids, bool strings)
{
    json_t *list = json_array(), *texts = strings ? json_array() : NULL;
    for (size_t i = 0; i < ids->n; i++) {
        size_t n = 0;
        const uint8_t *p = lmf_tokenizer_piece(s->model->tokenizer, ids->data[i], &n);
        json_array_append_new(list, json_integer(ids->data[i]));
        if (texts)
            json_array_append_new(texts, lmf_json_stringn((const char *)p, p ? n : 0));
    }
    return json_pack("{s:I, s:i, s:o, s:o?}", "count", (json_int_t)ids->n, "max_model_len", s->engine_info.context, "tokens", list,
        "token_strs",
                     texts);
}

static bool encode(lmf_exchange *x, json_t *body, bool specials, lmf_ids *ids, lmf_fault *f)
{
    const json_t *prompt = json_object_get(body, "prompt"), *messages = json_object_get(body, "messages"), *tools = json_object_get(body,
        "tools");
    if (tools && !json_is_null(tools) && !json_is_array(tools))
        return lmf__refuse(f, 400, "tools", NULL, "tools must be a list");
    if (messages && !json_is_null(messages))
        return lmf__prompt_chat(x, body, json_array_size(tools) > 0, ids, f);
    if (!json_is_string(prompt))
        return lmf__refuse(f, 400, "prompt", NULL, "prompt must be a text; or give messages");
    return lmf__prompt_text(x, prompt, specials, ids, NULL, f);
}

static const lmf_param own[] = { { "add_special_tokens", LMF_PARAM_BOOL, offsetof(wanted, specials), 0, 0 },
                                 { "return_token_strs", LMF_PARAM_BOOL, offsetof(wanted, strings), 0, 0 }, { 0 } };

static void tokenize(lmf_exchange *x)
{
    lmf_fault f;
    lmf_ids ids;
    wanted w = { .specials = true };
    json_t *body = lmf__body_parse(x, &f);
    lmf_ids_init(&ids, x->server->ctx, LMF_PROMPT_MAX_TOK);
    if (body && lmf__params_read(body, own, &w, &f) && encode(x, body, w.specials, &ids, &f))
        lmf__reply_json(x, 200, tokens_form(x->server, &ids, w.strings));
    else
        lmf__reply_fault(x, &f);
    lmf_ids_clear(&ids);
    json_decref(body);
}

static void detokenize(lmf_exchange *x)
{
    lmf_server *s = x->server;
    lmf_fault f;
    lmf_ids ids;
    lmf_buf text;
    json_t *body = lmf__body_parse(x, &f);
    lmf_ids_init(&ids, s->ctx, LMF_PROMPT_MAX_TOK);
    lmf_buf_init(&text, s->ctx, (size_t)1 << 24);
    bool good = body && lmf__prompt_ids(x, json_object_get(body, "tokens"), "tokens", &ids, &f);
    if (good && lmf_tokenizer_decode(s->model->tokenizer, ids.data, ids.n, 0, &text))
        good = lmf__refuse(&f, 503, NULL, NULL, "there is no memory for the text");
    if (good)
        lmf__reply_json(x, 200, json_pack("{s:o}", "prompt", lmf_json_stringn(lmf_buf_str(&text), text.n)));
    else
        lmf__reply_fault(x, &f);
    lmf_buf_clear(&text);
    lmf_ids_clear(&ids);
    json_decref(body);
}

static const lmf_param *const params[] = { own, NULL };

const lmf_endpoint lmf_endpoint_tokenize = { "POST", "/tokenize", tokenize, "A text or a conversation as token ids", .params = params,
    .members = "\"prompt\":{\"type\":\"string\"}," LMF_PROMPT_MEMBERS };
const lmf_endpoint lmf_endpoint_detokenize = { "POST", "/detokenize", detokenize, "Token ids as text", .required = "tokens",
    .members = "\"tokens\":{\"type\":\"array\",\"items\":{\"type\":\"integer\",\"minimum\":0}}" };
