/* SPDX-License-Identifier: Apache-2.0 */
/* ShareGPT: conversations of turns {from, value}, tools and system beside them. human is the user, gpt the assistant; function_call is an
 * answer that is one call in JSON, observation what a tool gave back. Each answer is learned. */
#include "data/formats.h"
#include <string.h>

static const struct { const char *from, *role; } roles[] = {
    { "human", "user" }, { "user", "user" }, { "gpt", "assistant" }, { "assistant", "assistant" }, { "chatgpt", "assistant" },
    { "model", "assistant" }, { "system", "system" }, { "function_call", "call" }, { "observation", "tool" }, { "tool", "tool" },
    { "function_response", "tool" },
};

static bool detect(const json_t *row)
{
    const json_t *first = json_array_get(json_object_get(row, "conversations"), 0);
    return json_is_object(first) || json_is_string(json_object_get(row, "conversations"));
}

/* {"name", "arguments"} or a list of such, as text or as JSON, into an answer of the assistant. */
static lmf_status add_call(lmf_ctx *ctx, size_t i, const json_t *value, json_t *messages)
{
    json_t *calls = json_is_string(value) ? json_loadb(json_string_value(value), json_string_length(value), JSON_REJECT_DUPLICATES, NULL)
                                          : json_incref((json_t *)(uintptr_t)value);
    if (json_is_object(calls)) {
        json_t *list = json_pack("[o]", calls);
        calls = list;
    }
    if (!json_is_array(calls) || json_array_size(calls) == 0) {
        json_decref(calls);
        return LMF_FAIL(ctx, LMF_E_FORMAT, "turn %zu is a function_call whose value is no call in JSON", i + 1);
    }
    json_t *m = json_pack("{s:s, s:s, s:o}", "role", "assistant", "content", "", "tool_calls", calls);
    return m && json_array_append_new(messages, m) == 0 ? LMF_OK : LMF_NO_MEMORY(ctx, 64, "a row");
}

static lmf_status add_turn(lmf_ctx *ctx, size_t i, json_t *turn, json_t *messages)
{
    const char *from = json_string_value(json_object_get(turn, "from"));
    from = from ? from : json_string_value(json_object_get(turn, "role"));
    json_t *value = json_object_get(turn, "value");
    value = value ? value : json_object_get(turn, "content");
    if (!from || !value)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "turn %zu has no \"from\" or no \"value\"", i + 1);
    for (size_t k = 0; k < sizeof roles / sizeof *roles; k++) {
        if (strcmp(roles[k].from, from))
            continue;
        if (strcmp(roles[k].role, "call") == 0)
            return add_call(ctx, i, value, messages);
        LMF_TRY(lmf__format_message(ctx, messages, roles[k].role, json_incref(value)));
        json_t *m = json_array_get(messages, json_array_size(messages) - 1), *weight = json_object_get(turn, "weight");
        json_t *train = json_object_get(turn, "train");
        if ((weight && json_object_set(m, "weight", weight)) || (train && json_object_set(m, "train", train)))
            return LMF_NO_MEMORY(ctx, 64, "a row");
        return LMF_OK;
    }
    return LMF_FAIL(ctx, LMF_E_FORMAT, "turn %zu is from \"%.20s\"; known are human, gpt, system, function_call, observation", i + 1, from);
}

static lmf_status fill(lmf_ctx *ctx, json_t *row, json_t *messages)
{
    json_t *list = json_object_get(row, "conversations"), *own = NULL, *turn;
    json_t *system = lmf__format_text(row, "system");
    size_t i;
    lmf_status s = LMF_OK;
    if (json_is_string(list))
        list = own = json_loadb(json_string_value(list), json_string_length(list), JSON_REJECT_DUPLICATES, NULL);
    if (!json_is_array(list) || json_array_size(list) == 0)
        s = LMF_FAIL(ctx, LMF_E_FORMAT, "\"conversations\" is no list of turns");
    if (!s && system && json_string_length(system))
        s = lmf__format_message(ctx, messages, "system", json_incref(system));
    json_array_foreach(list, i, turn)
        if (!s)
            s = add_turn(ctx, i, turn, messages);
    json_decref(system);
    json_decref(own);
    json_object_del(row, "conversations");
    return s;
}

static lmf_status convert(lmf_ctx *ctx, json_t *row) { return lmf__format_messages(ctx, row, fill); }

const lmf_row_format lmf_row_format_sharegpt = { "sharegpt", "conversations of turns from human and gpt", detect, convert };
