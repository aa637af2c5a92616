/* SPDX-License-Identifier: Apache-2.0 */
/* The tools of the MCP server: each is a request in the one form with a shape of its own; what is wrong with it comes back as the tool's
 * error. */
#include <math.h>
#include <string.h>
#include "format/json.h"
#include "serve/mcp.h"
#include "serve/prompt.h"
#include "serve/translate.h"

enum { DEFAULT_MAX_TOK = 256, MAX_CHOICES = 64 };

#define SAMPLER \
    "\"max_tokens\":{\"type\":\"integer\",\"minimum\":1,\"default\":256},\"temperature\":{\"type\":\"number\",\"minimum\":0," \
    "\"maximum\":2}," \
    "\"top_p\":{\"type\":\"number\",\"minimum\":0,\"maximum\":1},\"seed\":{\"type\":\"integer\"},\"stop\":{\"type\":\"array\",\"items\":{" \
    "\"type\":\"string\",\"minLength\":1},\"maxItems\":16},\"schema\":{\"type\":\"object\"," \
    "\"description\":\"A JSON schema that the answer " \
    "follows\"}"
#define WRITTEN \
    "\"outputSchema\":{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\"},\"finish_reason\":{\"type\":\"string\"}," \
    "\"prompt_tokens\":{\"type\":\"integer\"},\"completion_tokens\":{\"type\":\"integer\"}},\"required\":[\"text\",\"finish_reason\"," \
    "\"prompt_tokens\",\"completion_tokens\"]}"
static const char *const list[] = {
    "{\"name\":\"chat\",\"description\":\"The model's next message in a conversation\",\"inputSchema\":{\"type\":\"object\","
    "\"properties\":{"
    "\"messages\":{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"object\",\"properties\":{\"role\":{\"enum\":[\"system\","
    "\"user\","
    "\"assistant\"]},\"content\":{\"type\":\"string\"}},\"required\":[\"role\",\"content\"]}}," SAMPLER "},\"required\":[\"messages\"]},"
    WRITTEN "}",
    "{\"name\":\"classify\",\"description\":\"Which of several answers the model finds likeliest, with the probability of each\","
    "\"inputSchema\":{\"type\":\"object\",\"properties\":{\"text\":{\"type\":\"string\",\"minLength\":1},\"choices\":{\"type\":\"array\","
    "\"minItems\":2,\"maxItems\":64,\"items\":{\"type\":\"string\",\"minLength\":1}},\"instruction\":{\"type\":\"string\"}},\"required\":["
    "\"text\",\"choices\"]},\"outputSchema\":{\"type\":\"object\",\"properties\":{\"choice\":{\"type\":\"string\"},\"probabilities\":{"
    "\"type\":\"array\",\"items\":{\"type\":\"object\",\"properties\":{\"choice\":{\"type\":\"string\"},"
    "\"probability\":{\"type\":\"number\"},"
    "\"logprob\":{\"type\":\"number\"}},\"required\":[\"choice\",\"probability\",\"logprob\"]}}},\"required\":[\"choice\","
    "\"probabilities\"]}}",
    "{\"name\":\"embed\",\"description\":\"Texts as vectors of length 1\",\"inputSchema\":{\"type\":\"object\",\"properties\":{\"texts\":{"
    "\"type\":\"array\",\"minItems\":1,\"maxItems\":2048,\"items\":{\"type\":\"string\",\"minLength\":1}}},\"required\":[\"texts\"]},"
    "\"outputSchema\":{\"type\":\"object\",\"properties\":{\"embeddings\":{\"type\":\"array\",\"items\":{\"type\":\"array\",\"items\":{"
    "\"type\":\"number\"}}}},\"required\":[\"embeddings\"]}}",
    "{\"name\":\"generate\",\"description\":\"How a text goes on\",\"inputSchema\":{\"type\":\"object\","
    "\"properties\":{\"prompt\":{\"type\":"
    "\"string\",\"minLength\":1}," SAMPLER "},\"required\":[\"prompt\"]}," WRITTEN "}",
    "{\"name\":\"tokenize\",\"description\":\"A text as the model's token ids\",\"inputSchema\":{\"type\":\"object\","
    "\"properties\":{\"text\":{"
    "\"type\":\"string\"}},\"required\":[\"text\"]},\"outputSchema\":{\"type\":\"object\",\"properties\":{\"tokens\":{\"type\":\"array\","
    "\"items\":{\"type\":\"integer\"}},\"count\":{\"type\":\"integer\"}},\"required\":[\"tokens\",\"count\"]}}" };

json_t *lmf__mcp_tools(void)
{
    json_t *all = json_array();
    for (size_t i = 0; i < sizeof list / sizeof *list; i++)
        json_array_append_new(all, json_loads(list[i], 0, NULL));
    return all;
}

static lmf_mcp_call *call_of(const lmf_generation *g) { return (lmf_mcp_call *)(void *)g->x; }

/* ---- text ---- */

static json_t *written(lmf_generation *g)
{
    const lmf_candidate *c = &g->choice[0];
    lmf_usage u = lmf__generation_usage(g);
    size_t n;
    const char *text = lmf__candidate_text(c, &n);
    return json_pack("{s:o, s:s, s:I, s:I}", "text", lmf_json_stringn(text, n), "finish_reason", c->finish, "prompt_tokens",
                     (json_int_t)u.prompt, "completion_tokens", (json_int_t)u.answer);
}

static void piece(lmf_candidate *c, const char *text, size_t n, json_t *logprobs)
{
    json_decref(logprobs);
    lmf__mcp_progress(call_of(c->g), text, n);
}

static void thought(lmf_candidate *c, const char *text, size_t n) { lmf__mcp_progress(call_of(c->g), text, n); }

static void finish(lmf_candidate *c, json_t *logprobs)
{
    (void)c;
    json_decref(logprobs);
}

static void end(lmf_generation *g) { call_of(g)->result = written(g); }

static void broken(lmf_generation *g, const lmf_fault *f) { snprintf(call_of(g)->why, sizeof call_of(g)->why, "%.511s", f->message); }

static const lmf_shape chat_shape = { .id_prefix = "mcp-", .reply = written, .piece = piece, .thought = thought, .finish = finish,
                                      .end = end, .broken = broken };
static const lmf_shape text_shape = { .id_prefix = "mcp-", .reply = written, .piece = piece, .finish = finish, .end = end,
                                      .broken = broken };

static bool write_text(lmf_mcp_call *call, const json_t *arguments, bool is_chat)
{
    static const char *const same[] = { "max_tokens", "temperature", "top_p", "seed", "stop", "messages", NULL };
    lmf_fault f;
    lmf_ids ids;
    lmf_server *s = call->x.server;
    const lmf_shape *shape = is_chat ? &chat_shape : &text_shape;
    json_t *body = json_object(), *schema = json_object_get(arguments, "schema");
    const json_t *prompt = json_object_get(arguments, "prompt");
    bool good = lmf__put(body, "max_tokens", json_integer(DEFAULT_MAX_TOK), &f) &&
                lmf__put(body, "stream", json_boolean(call->token != NULL), &f);
    for (const char *const *name = same; good && *name; name++)
        good = lmf__carry(arguments, *name, body, *name, &f);
    if (good && schema && !json_is_null(schema))
        good = json_is_object(schema) ? lmf__put_schema(body, schema, &f)
                                      : lmf__refuse(&f, 400, "schema", NULL, "schema must be an object");
    if (good && !is_chat && !json_is_string(prompt))
        good = lmf__refuse(&f, 400, "prompt", NULL, "prompt must be a text");
    lmf_generation *g = good ? lmf__generation_create(&call->x, shape, json_incref(body), &f) : NULL;
    lmf_ids_init(&ids, s->ctx, LMF_PROMPT_MAX_TOK);
    if (!g || !(is_chat ? lmf__prompt_chat(&call->x, g->body, false, &ids, &f)
                        : lmf__prompt_text(&call->x, prompt, true, &ids, NULL, &f)) ||
        !lmf__generation_add_prompt(g, ids.data, ids.n, &f) || !lmf__generation_start(g, &f))
        lmf__generation_refuse(&call->x, g, &f);
    lmf_ids_clear(&ids);
    json_decref(body);
    return true;
}

/* ---- vectors ---- */

static json_t *vectors(lmf_generation *g)
{
    json_t *all = json_array();
    int32_t width = lmf_model_config(g->server->model)->width;
    for (int32_t i = 0; i < g->n_parts; i++) {
        double sum = 0;
        json_t *one = json_array();
        for (int32_t k = 0; k < width; k++)
            sum += (double)g->part[i].vector[k] * (double)g->part[i].vector[k];
        for (int32_t k = 0; k < width; k++)
            json_array_append_new(one, json_real((double)g->part[i].vector[k] / (sum > 0 ? sqrt(sum) : 1)));
        json_array_append_new(all, one);
    }
    return json_pack("{s:o}", "embeddings", all);
}

static const lmf_shape vector_shape = { .id_prefix = "mcp-", .embeds = true, .reply = vectors };

static void embed(lmf_mcp_call *call, const json_t *arguments)
{
    lmf_fault f;
    lmf_server *s = call->x.server;
    const json_t *texts = json_object_get(arguments, "texts");
    lmf_generation *g = lmf__generation_create(&call->x, &vector_shape, json_object(), &f);
    bool good = g != NULL;
    if (good && (!json_is_array(texts) || json_array_size(texts) == 0))
        good = lmf__refuse(&f, 400, "texts", NULL, "texts must be a list of texts, and not empty");
    for (size_t i = 0; good && i < json_array_size(texts); i++) {
        lmf_ids ids;
        lmf_ids_init(&ids, s->ctx, LMF_PROMPT_MAX_TOK);
        good = json_is_string(json_array_get(texts, i)) || lmf__refuse(&f, 400, "texts", NULL, "texts[%zu] must be a text", i);
        good = good && lmf__prompt_text(&call->x, json_array_get(texts, i), true, &ids, NULL, &f) &&
               lmf__generation_add_prompt(g, ids.data, ids.n, &f);
        lmf_ids_clear(&ids);
    }
    if (!good || !lmf__generation_start(g, &f))
        lmf__generation_refuse(&call->x, g, &f);
}

/* ---- choices ---- */

/* The log-probability of each choice behind the prompt, and what part of all of theirs it has. */
static json_t *judged(lmf_generation *g)
{
    lmf_mcp_call *call = call_of(g);
    double logp[MAX_CHOICES], best = -INFINITY, sum = 0;
    int32_t i_best = 0;
    json_t *all = json_array();
    for (int32_t i = 0; i < g->n_parts; i++) {
        logp[i] = 0;
        for (size_t k = call->n_prefix; k < json_array_size(g->choice[i].tokens); k++)
            logp[i] += json_number_value(json_object_get(json_array_get(g->choice[i].tokens, k), "logprob"));
        if (logp[i] > best)
            best = logp[i], i_best = i;
    }
    for (int32_t i = 0; i < g->n_parts; i++)
        sum += exp(logp[i] - best);
    for (int32_t i = 0; i < g->n_parts; i++)
        json_array_append_new(all, json_pack("{s:O, s:f, s:f}", "choice", json_array_get(call->choices, (size_t)i), "probability",
                                             exp(logp[i] - best) / sum, "logprob", logp[i]));
    return json_pack("{s:O, s:o}", "choice", json_array_get(call->choices, (size_t)i_best), "probabilities", all);
}

static const lmf_shape choice_shape = { .id_prefix = "mcp-", .reply = judged };

/* What comes before each choice: a question to a model that converses, else the text. */
static bool question(lmf_exchange *x, const json_t *arguments, lmf_ids *ids, lmf_fault *f)
{
    json_t *text = json_object_get(arguments, "text"), *instruction = json_object_get(arguments, "instruction");
    if (!json_is_string(text) || json_string_length(text) == 0)
        return lmf__refuse(f, 400, "text", NULL, "text must be a text, and not empty");
    if (instruction && !json_is_null(instruction) && !json_is_string(instruction))
        return lmf__refuse(f, 400, "instruction", NULL, "instruction must be a text");
    if (!x->server->chat.source)
        return lmf__prompt_text(x, text, true, ids, NULL, f);
    json_t *chat = json_object(), *messages = json_array();
    bool good = lmf__put(chat, "messages", messages, f) &&
                (json_string_length(instruction) == 0 || lmf__append(messages, json_pack("{s:s, s:O}", "role", "system", "content",
                                                                                        instruction), f)) &&
                lmf__append(messages, json_pack("{s:s, s:O}", "role", "user", "content", text), f) &&
                lmf__prompt_chat(x, chat, false, ids, f);
    json_decref(chat);
    return good;
}

static void classify(lmf_mcp_call *call, const json_t *arguments)
{
    lmf_fault f;
    lmf_ids ids;
    lmf_server *s = call->x.server;
    json_t *choices = json_object_get(arguments, "choices");
    size_t n = json_array_size(choices);
    lmf_generation *g = lmf__generation_create(&call->x, &choice_shape, json_object(), &f);
    lmf_ids_init(&ids, s->ctx, LMF_PROMPT_MAX_TOK);
    bool good = g && question(&call->x, arguments, &ids, &f);
    if (good && (!json_is_array(choices) || n < 2 || n > MAX_CHOICES))
        good = lmf__refuse(&f, 400, "choices", NULL, "choices must be a list of 2 to %d texts", MAX_CHOICES);
    call->choices = json_incref(choices);
    call->n_prefix = ids.n;
    for (size_t i = 0; good && i < n; i++) {
        const json_t *choice = json_array_get(choices, i);
        ids.n = call->n_prefix;
        good = (json_string_length(choice) && lmf__prompt_text(&call->x, choice, false, &ids, NULL, &f)) ||
               lmf__refuse(&f, 400, "choices", NULL, "choices[%zu] must be a text, and not empty", i);
        good = good && lmf__generation_add_prompt(g, ids.data, ids.n, &f);
    }
    if (g)
        g->r.echo = g->r.logprobs = true, g->r.max_tok = 0, g->r.temperature = 0;
    if (!good || !lmf__generation_start(g, &f))
        lmf__generation_refuse(&call->x, g, &f);
    lmf_ids_clear(&ids);
}

static void tokenize(lmf_mcp_call *call, const json_t *arguments)
{
    lmf_fault f;
    lmf_ids ids;
    const json_t *text = json_object_get(arguments, "text");
    json_t *tokens = json_array();
    lmf_ids_init(&ids, call->x.server->ctx, LMF_PROMPT_MAX_TOK);
    bool good = json_is_string(text) || lmf__refuse(&f, 400, "text", NULL, "text must be a text");
    good = good && lmf__prompt_text(&call->x, text, true, &ids, NULL, &f);
    for (size_t i = 0; good && i < ids.n; i++)
        json_array_append_new(tokens, json_integer(ids.data[i]));
    json_t *j = json_pack("{s:o, s:I}", "tokens", tokens, "count", (json_int_t)ids.n);
    lmf_ids_clear(&ids);
    if (good) {
        lmf__reply_json(&call->x, 200, j);
        return;
    }
    json_decref(j);
    lmf__reply_fault(&call->x, &f);
}

bool lmf__mcp_run(lmf_mcp_call *call, const char *tool, const json_t *arguments)
{
    if (strcmp(tool, "chat") == 0)
        write_text(call, arguments, true);
    else if (strcmp(tool, "generate") == 0)
        write_text(call, arguments, false);
    else if (strcmp(tool, "embed") == 0)
        embed(call, arguments);
    else if (strcmp(tool, "classify") == 0)
        classify(call, arguments);
    else if (strcmp(tool, "tokenize") == 0)
        tokenize(call, arguments);
    else
        return false;
    return true;
}
