/* SPDX-License-Identifier: Apache-2.0 */
/* Ollama's chat and generate: answers as lines of JSON, calls as whole objects, numbers of the sampler under "options". */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "format/json.h"
#include "serve/generation.h"
#include "serve/ollama.h"
#include "serve/prompt.h"
#include "serve/tools.h"
#include "serve/translate.h"

/* ---- answers ---- */

static const lmf_shape chat_shape, generate_shape;

static json_t *head(const lmf_generation *g)
{
    char stamp[40];
    lmf__ollama_time((int64_t)time(NULL), stamp);
    return json_pack("{s:s, s:s}", "model", g->r.model, "created_at", stamp);
}

/* Text, what was thought and calls, each of which may be NULL, into an answer; takes them. */
static void set_parts(const lmf_generation *g, json_t *to, json_t *text, json_t *thought, json_t *calls)
{
    json_t *at = to;
    text = text ? text : json_string("");
    if (g->shape == &chat_shape) {
        at = json_pack("{s:s}", "role", "assistant");
        json_object_set_new(to, "message", at);
        json_object_set_new(at, "content", text);
    } else {
        json_object_set_new(at, "response", text);
    }
    if (thought)
        json_object_set_new(at, "thinking", thought);
    if (calls)
        json_object_set_new(at, "tool_calls", calls);
}

static json_t *calls_form(const lmf_candidate *c)
{
    json_t *out = json_array();
    for (size_t i = 0; i < json_array_size(c->calls); i++) {
        const json_t *call = json_array_get(c->calls, i), *arguments = json_object_get(call, "arguments");
        json_t *input = json_loadb(json_string_value(arguments), json_string_length(arguments), 0, NULL);
        json_array_append_new(out, json_pack("{s:{s:I, s:O, s:o}}", "function", "index", (json_int_t)i, "name",
                                             json_object_get(call, "name"), "arguments", input ? input : json_object()));
    }
    return out;
}

/* The end's members: why, and the times in nanoseconds. */
static void set_end(const lmf_candidate *c, json_t *to)
{
    const lmf_generation *g = c->g;
    lmf_usage u = lmf__generation_usage(g);
    int64_t now = lmf__now_us(), first = c->first_us ? c->first_us : now;
    json_object_update_new(to, json_pack("{s:b, s:s, s:I, s:i, s:I, s:I, s:I, s:I}", "done", 1, "done_reason",
                                         strcmp(c->finish, "tool_calls") ? c->finish : "stop", "total_duration",
                                         (json_int_t)(now - g->begun_us) * 1000, "load_duration", 0, "prompt_eval_count",
                                         (json_int_t)u.prompt, "prompt_eval_duration", (json_int_t)(first - g->begun_us) * 1000,
                                         "eval_count", (json_int_t)u.answer, "eval_duration", (json_int_t)(now - first) * 1000));
}

static json_t *reply(lmf_generation *g)
{
    const lmf_candidate *c = &g->choice[0];
    size_t n, n_thought;
    const char *text = lmf__candidate_text(c, &n), *thought = lmf__candidate_thought(c, &n_thought);
    json_t *j = head(g);
    set_parts(g, j, lmf_json_stringn(text, n), c->thought_once ? lmf_json_stringn(thought, n_thought) : NULL,
              c->calls ? calls_form(c) : NULL);
    if (c->tokens)
        json_object_set(j, "logprobs", c->tokens);
    set_end(c, j);
    return j;
}

/* A line before the last; takes all. */
static void line(lmf_generation *g, json_t *text, json_t *thought, json_t *calls, json_t *logprobs)
{
    json_t *j = head(g);
    set_parts(g, j, text, thought, calls);
    if (logprobs)
        json_object_set_new(j, "logprobs", logprobs);
    json_object_set_new(j, "done", json_false());
    lmf__stream_event(g->x, NULL, j);
}

static void piece(lmf_candidate *c, const char *text, size_t n, json_t *logprobs)
{
    line(c->g, lmf_json_stringn(text, n), NULL, NULL, logprobs);
}

static void thought(lmf_candidate *c, const char *text, size_t n) { line(c->g, NULL, lmf_json_stringn(text, n), NULL, NULL); }

static void finish(lmf_candidate *c, json_t *logprobs)
{
    if (c->calls)
        line(c->g, NULL, NULL, calls_form(c), logprobs);
    json_t *j = head(c->g);
    set_parts(c->g, j, NULL, NULL, NULL);
    if (logprobs && !c->calls)
        json_object_set_new(j, "logprobs", logprobs);
    set_end(c, j);
    lmf__stream_event(c->g->x, NULL, j);
}

static const lmf_shape chat_shape = { .id_prefix = "", .lines = true, .reply = reply, .piece = piece, .thought = thought,
                                      .finish = finish };
static const lmf_shape generate_shape = { .id_prefix = "", .lines = true, .reply = reply, .piece = piece, .thought = thought,
                                          .finish = finish };

/* ---- questions ---- */

/* Names under "options": what they are called here. Those without a name say how a model is run, which is the server's own affair, or
 * have one value (neutral) that is followed; NAN: any. */
typedef struct option { const char *name, *as; double neutral; } option;
static const option options[] = {
    { "temperature", "temperature", NAN }, { "top_k", "top_k", NAN }, { "top_p", "top_p", NAN }, { "min_p", "min_p", NAN },
    { "repeat_penalty", "repetition_penalty", NAN }, { "presence_penalty", "presence_penalty", NAN },
    { "frequency_penalty", "frequency_penalty", NAN }, { "stop", "stop", NAN }, { "num_ctx", NULL, NAN }, { "num_batch", NULL, NAN },
    { "num_gpu", NULL, NAN }, { "main_gpu", NULL, NAN }, { "num_thread", NULL, NAN }, { "use_mmap", NULL, NAN },
    { "use_mlock", NULL, NAN }, { "numa", NULL, NAN }, { "low_vram", NULL, NAN }, { "num_keep", NULL, NAN },
    { "tfs_z", NULL, 1 }, { "typical_p", NULL, 1 }, { "mirostat", NULL, 0 }, { "repeat_last_n", NULL, -1 } };

static bool add_options(const json_t *body, json_t *to, lmf_fault *f)
{
    json_t *o = json_object_get(body, "options");
    int64_t n = -1, seed = -1;
    const json_t *most = json_object_get(o, "num_predict"), *number = json_object_get(o, "seed");
    if (o && !json_is_null(o) && !json_is_object(o))
        return lmf__refuse(f, 400, "options", NULL, "options must be an object");
    if (!lmf__put(to, "temperature", json_real(0.8), f) || !lmf__put(to, "top_k", json_integer(40), f) ||
        !lmf__put(to, "top_p", json_real(0.9), f))
        return false;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        const json_t *v = json_object_get(o, options[i].name);
        if (options[i].as && !lmf__carry(o, options[i].name, to, options[i].as, f))
            return false;
        if (v && !json_is_null(v) && !isnan(options[i].neutral) && !(json_is_number(v) && json_number_value(v) == options[i].neutral))
            return lmf__refuse(f, 400, options[i].name, NULL, "options.%s is not supported by this server; %g, which changes nothing, is",
                               options[i].name, options[i].neutral);
    }
    if (most && !json_is_null(most) && !lmf__param_int(most, "num_predict", -2, INT32_MAX, &n, f))
        return false;
    if (number && !json_is_null(number) && !lmf__param_int(number, "seed", -1, INT64_MAX, &seed, f))
        return false;
    if (n == 0)
        return lmf__refuse(f, 400, "num_predict", NULL, "options.num_predict must be 1 or more, or -1 for as many as fit");
    return (n < 0 || lmf__put(to, "max_tokens", json_integer(n), f)) && (seed < 0 || lmf__put(to, "seed", json_integer(seed), f));
}

static bool add_format(const json_t *body, json_t *to, lmf_fault *f)
{
    json_t *v = json_object_get(body, "format");
    if (!v || json_is_null(v) || (json_is_string(v) && json_string_length(v) == 0))
        return true;
    if (json_is_object(v))
        return lmf__put_schema(to, v, f);
    if (json_is_string(v) && strcmp(json_string_value(v), "json") == 0)
        return lmf__put(to, "response_format", json_pack("{s:s}", "type", "json_object"), f);
    return lmf__refuse(f, 400, "format", NULL, "format must be \"json\" or a JSON schema");
}

static bool add_think(const lmf_server *s, const json_t *body, json_t *to, lmf_fault *f)
{
    const json_t *v = json_object_get(body, "think");
    if (!v || json_is_null(v))
        return true;
    if (!json_is_boolean(v))
        return lmf__refuse(f, 400, "think", NULL, "think must be true or false; how much is the model's to say");
    if (json_is_true(v) && s->constraints.think_open < 0)
        return lmf__refuse(f, 400, "think", NULL, "\"%.60s\" does not support thinking", s->o.model_name);
    return lmf__put(to, "chat_template_kwargs", json_pack("{s:O}", "enable_thinking", v), f);
}

static bool check_images(const json_t *in, const char *where, lmf_fault *f)
{
    const json_t *v = json_object_get(in, "images");
    return !v || json_is_null(v) || (json_is_array(v) && json_array_size(v) == 0) ||
           lmf__refuse(f, 400, "images", NULL, "%s has images, which this model can't read", where);
}

static bool add_calls(const json_t *m, json_t *to, size_t i, lmf_fault *f)
{
    const json_t *calls = json_object_get(m, "tool_calls");
    json_t *list = json_array_size(calls) ? json_array() : NULL;
    if (calls && !json_is_null(calls) && !json_is_array(calls))
        return lmf__refuse(f, 400, "messages", NULL, "messages[%zu].tool_calls must be a list", i);
    if (!list)
        return true;
    if (!lmf__put(to, "tool_calls", list, f))
        return false;
    for (size_t k = 0; k < json_array_size(calls); k++) {
        json_t *function = json_object_get(json_array_get(calls, k), "function");
        if (!json_is_string(json_object_get(function, "name")) || !json_is_object(json_object_get(function, "arguments")))
            return lmf__refuse(f, 400, "messages", NULL, "messages[%zu].tool_calls[%zu] must have a function with a name, and arguments "
                               "that are an object", i, k);
        if (!lmf__append(list, json_pack("{s:s, s:O}", "type", "function", "function", function), f))
            return false;
    }
    return true;
}

static bool add_messages(const json_t *body, json_t *to, lmf_fault *f)
{
    const json_t *list = json_object_get(body, "messages");
    json_t *messages = json_array();
    if (!lmf__put(to, "messages", messages, f))
        return false;
    if (!json_is_array(list))
        return lmf__refuse(f, 400, "messages", NULL, "messages must be a list of messages");
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *m = json_array_get(list, i);
        char where[32];
        json_t *one = json_object(), *content = json_object_get(m, "content");
        snprintf(where, sizeof where, "messages[%zu]", i);
        if (!lmf__append(messages, one, f) || !check_images(m, where, f) || !lmf__carry(m, "role", one, "role", f) ||
            !lmf__put(one, "content", content && !json_is_null(content) ? json_incref(content) : json_string(""), f) ||
            !lmf__carry(m, "thinking", one, "reasoning_content", f) || !lmf__carry(m, "tool_name", one, "name", f) ||
            !lmf__carry(m, "tool_call_id", one, "tool_call_id", f) || !add_calls(m, one, i, f))
            return false;
        if (content && !json_is_null(content) && !json_is_string(content))
            return lmf__refuse(f, 400, "messages", NULL, "messages[%zu].content must be a text", i);
    }
    return true;
}

/* A prompt as the conversation that it begins. */
static bool add_prompt(const json_t *body, json_t *to, lmf_fault *f)
{
    json_t *messages = json_array(), *prompt = json_object_get(body, "prompt"), *system = json_object_get(body, "system");
    if (!lmf__put(to, "messages", messages, f) || !check_images(body, "the body", f))
        return false;
    if (prompt && !json_is_null(prompt) && !json_is_string(prompt))
        return lmf__refuse(f, 400, "prompt", NULL, "prompt must be a text");
    if (system && !json_is_null(system) && !json_is_string(system))
        return lmf__refuse(f, 400, "system", NULL, "system must be a text");
    if (json_string_length(system) && !lmf__append(messages, json_pack("{s:s, s:O}", "role", "system", "content", system), f))
        return false;
    return json_string_length(prompt) == 0 || lmf__append(messages, json_pack("{s:s, s:O}", "role", "user", "content", prompt), f);
}

/* The body in the form of /v1/chat/completions; NULL and what is wrong. The caller's reference. */
static json_t *translate(const lmf_server *s, const json_t *body, bool is_chat, lmf_fault *f)
{
    static const char *const refused[] = { "suffix", "template", "context", NULL };
    json_t *to = json_object();
    const json_t *logprobs = json_object_get(body, "logprobs");
    bool good = lmf__put(to, "stream", json_true(), f) && lmf__ollama_model(s, body, to, f) && lmf__request_refuse(body, refused, f) &&
                lmf__carry(body, "stream", to, "stream", f) && add_options(body, to, f) && add_format(body, to, f) &&
                add_think(s, body, to, f) && lmf__carry(body, "tools", to, "tools", f) &&
                (is_chat ? add_messages(body, to, f) : add_prompt(body, to, f));
    if (good && logprobs && !json_is_null(logprobs) && !json_is_boolean(logprobs))
        good = lmf__refuse(f, 400, "logprobs", NULL, "logprobs must be true or false");
    good = good && lmf__carry(body, "logprobs", to, "logprobs", f) && lmf__carry(body, "top_logprobs", to, "top_logprobs", f);
    if (good)
        return to;
    json_decref(to);
    return NULL;
}

/* Nothing is asked: the model is to be loaded, which it is, or to go, which it does not. */
static void load(lmf_exchange *x, const lmf_shape *shape, const json_t *chat, bool unload)
{
    lmf_fault f;
    lmf_request r;
    lmf_generation nobody = { .shape = shape };
    lmf__request_init(&r, x->server->ctx);
    if (!lmf__request_read(&r, x->server, chat, &f) || (unload && !lmf__refuse(&f, 501, "keep_alive", NULL,
        "a model stays loaded as long as this server runs; ending the server unloads it"))) {
        lmf__reply_fault(x, &f);
    } else {
        nobody.r.model = r.model;
        json_t *j = head(&nobody);
        set_parts(&nobody, j, NULL, NULL, NULL);
        json_object_update_new(j, json_pack("{s:b, s:s}", "done", 1, "done_reason", "load"));
        lmf__reply_json(x, 200, j);
    }
    lmf__request_clear(&r);
}

static const lmf_param own[] = { { "logprobs", LMF_PARAM_BOOL, offsetof(lmf_request, logprobs), 0, 0 },
                                 { "top_logprobs", LMF_PARAM_INT, offsetof(lmf_request, n_top), 0, LMF_JOB_MAX_TOP }, { 0 } };

static bool go_on(lmf_generation *g, const json_t *raw, lmf_fault *f)
{
    lmf_server *s = g->server;
    lmf_ids ids;
    if (!lmf__params_read(g->body, own, &g->r, f) || !lmf__tools_read(g->body, &g->r.wish, f))
        return false;
    if (g->r.n_top && !g->r.logprobs)
        return lmf__refuse(f, 400, "top_logprobs", NULL, "top_logprobs goes with logprobs: true");
    g->with_tools = g->r.wish.tools != NULL;
    lmf_ids_init(&ids, s->ctx, LMF_PROMPT_MAX_TOK);
    bool good = (raw ? lmf__prompt_text(g->x, raw, true, &ids, NULL, f) : lmf__prompt_chat(g->x, g->body, g->with_tools, &ids, f)) &&
                lmf__generation_add_prompt(g, ids.data, ids.n, f) && lmf__generation_start(g, f);
    lmf_ids_clear(&ids);
    return good;
}

static void run(lmf_exchange *x, const lmf_shape *shape, bool is_chat)
{
    lmf_fault f;
    bool unload = false, raw = false;
    static const lmf_param table[] = { { "raw", LMF_PARAM_BOOL, 0, 0, 0 }, { 0 } };
    json_t *body = lmf__body_parse(x, &f), *chat = NULL;
    if (body && lmf__ollama_keep_alive(body, &unload, &f) && (is_chat || lmf__params_read(body, table, &raw, &f)))
        chat = translate(x->server, body, is_chat, &f);
    if (chat && json_array_size(json_object_get(chat, "messages")) == 0) {
        load(x, shape, chat, unload);
        json_decref(chat);
    } else {
        lmf_generation *g = chat ? lmf__generation_create(x, shape, chat, &f) : NULL;
        if (!g || !go_on(g, raw ? json_object_get(body, "prompt") : NULL, &f))
            lmf__generation_refuse(x, g, &f);
    }
    json_decref(body);
}

static void run_chat(lmf_exchange *x) { run(x, &chat_shape, true); }
static void run_generate(lmf_exchange *x) { run(x, &generate_shape, false); }

#define MEMBERS \
    "\"model\":{\"type\":\"string\"},\"stream\":{\"type\":[\"boolean\",\"null\"]},\"format\":{\"anyOf\":[{" \
    "\"enum\":[\"json\",\"\",null]},{\"type\":\"object\"}]},\"think\":{\"type\":[\"boolean\",\"null\"]},\"options\":{" \
    "\"type\":[\"object\",\"null\"]},\"keep_alive\":{\"anyOf\":[{\"type\":\"number\"},{\"type\":\"string\"},{\"type\":\"null\"}]}"
static const lmf_param *const params[] = { own, NULL };

const lmf_endpoint lmf_endpoint_ollama_chat = { "POST", "/api/chat", run_chat, "The next message, as Ollama's clients ask",
    .params = params, .required = "model messages", .fault = lmf__ollama_fault,
    .members = MEMBERS ",\"messages\":{\"type\":\"array\",\"items\":{\"type\":\"object\",\"required\":[\"role\"]}},\"tools\":{\"type\":["
               "\"array\",\"null\"]}" };
const lmf_endpoint lmf_endpoint_ollama_generate = { "POST", "/api/generate", run_generate, "An answer to a prompt, as Ollama's clients ask",
    .params = params, .required = "model", .fault = lmf__ollama_fault,
    .members = MEMBERS ",\"prompt\":{\"type\":[\"string\",\"null\"]},\"system\":{\"type\":[\"string\",\"null\"]},\"raw\":{\"type\":["
               "\"boolean\",\"null\"]}" };
