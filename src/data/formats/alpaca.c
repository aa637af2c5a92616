/* SPDX-License-Identifier: Apache-2.0 */
/* Alpaca: instruction, input and output, with system and history where a row has them. Instruction and input become one question, a line
 * between them, as LLaMA-Factory joins them; history is a list of earlier [question, answer]. */
#include "data/formats.h"
#include <string.h>

static bool detect(const json_t *row)
{
    return json_is_string(json_object_get(row, "instruction")) && json_is_string(json_object_get(row, "output"));
}

static lmf_status add_history(lmf_ctx *ctx, const json_t *history, json_t *messages)
{
    size_t i;
    json_t *pair;
    if (history && !json_is_null(history) && !json_is_array(history))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "\"history\" is no list of pairs");
    json_array_foreach((json_t *)(uintptr_t)history, i, pair) {
        if (json_array_size(pair) != 2 || !json_is_string(json_array_get(pair, 0)) || !json_is_string(json_array_get(pair, 1)))
            return LMF_FAIL(ctx, LMF_E_FORMAT, "entry %zu of \"history\" is no pair of question and answer", i + 1);
        LMF_TRY(lmf__format_message(ctx, messages, "user", json_incref(json_array_get(pair, 0))));
        LMF_TRY(lmf__format_message(ctx, messages, "assistant", json_incref(json_array_get(pair, 1))));
    }
    return LMF_OK;
}

static lmf_status fill(lmf_ctx *ctx, json_t *row, json_t *messages)
{
    json_t *system = lmf__format_text(row, "system"), *input = lmf__format_text(row, "input");
    json_t *instruction = lmf__format_text(row, "instruction"), *output = lmf__format_text(row, "output");
    json_t *question = NULL;
    lmf_status s = LMF_OK;
    if (!instruction || !output)
        s = LMF_FAIL(ctx, LMF_E_FORMAT, "a row of the format alpaca has the texts \"instruction\" and \"output\"");
    if (!s && system && json_string_length(system))
        s = lmf__format_message(ctx, messages, "system", json_incref(system));
    if (!s)
        s = add_history(ctx, json_object_get(row, "history"), messages);
    if (!s) {
        bool both = input && json_string_length(input) && json_string_length(instruction);
        question = both ? json_sprintf("%s\n%s", json_string_value(instruction), json_string_value(input)) :
            json_incref(input && json_string_length(input) ? input : instruction);
        s = lmf__format_message(ctx, messages, "user", question);
    }
    if (!s)
        s = lmf__format_message(ctx, messages, "assistant", json_incref(output));
    json_decref(system);
    json_decref(input);
    json_decref(instruction);
    json_decref(output);
    json_object_del(row, "history");
    return s;
}

static lmf_status convert(lmf_ctx *ctx, json_t *row) { return lmf__format_messages(ctx, row, fill); }

const lmf_row_format lmf_row_format_alpaca = { "alpaca", "instruction, input and output", detect, convert };
