/* SPDX-License-Identifier: Apache-2.0 */
#include "data/preference.h"
#include <string.h>

bool lmf__row_is_preference(const json_t *row) { return json_object_get(row, "chosen") && json_object_get(row, "rejected"); }

void lmf__preference_clear(lmf__preference *p)
{
    json_decref(p->row[0]);
    json_decref(p->row[1]);
    *p = (lmf__preference){ 0 };
}

/* The row without what was taken from it. */
static json_t *rest_of(const json_t *row)
{
    json_t *o = json_copy((json_t *)(uintptr_t)row);
    static const char *const taken[] = { "prompt", "chosen", "rejected", "completion", "messages", "text" };
    for (size_t i = 0; o && i < sizeof taken / sizeof *taken; i++)
        json_object_del(o, taken[i]);
    return o;
}

/* Bytes that both texts begin with, whole characters, not the space before an answer. */
static size_t shared_text(const char *a, const char *b)
{
    size_t n = 0;
    while (a[n] && a[n] == b[n])
        n++;
    while (n && ((unsigned char)a[n] & 0xc0) == 0x80)
        n--;
    return n && a[n - 1] == ' ' ? n - 1 : n;
}

static lmf_status split_text(lmf_ctx *ctx, const json_t *row, const char *const *answer, lmf__preference *out)
{
    const char *prompt = json_string_value(json_object_get(row, "prompt"));
    size_t n = prompt ? 0 : shared_text(answer[0], answer[1]);
    if (strcmp(answer[0], answer[1]) == 0)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "\"chosen\" and \"rejected\" are the same: nothing is preferred");
    if (prompt ? !*prompt : n == 0)
        return LMF_FAIL(ctx, LMF_E_FORMAT, prompt ? "\"prompt\" is empty: there is nothing to answer"
                        : "\"chosen\" and \"rejected\" begin with nothing that both have, and there is no \"prompt\"");
    for (int k = 0; k < 2; k++) {
        json_t *o = out->row[k] = rest_of(row);
        if (!o || json_object_set_new(o, "prompt", prompt ? json_string(prompt) : json_stringn(answer[0], n)) ||
            json_object_set_new(o, "completion", json_string(answer[k] + n)))
            return LMF_NO_MEMORY(ctx, strlen(answer[k]), "a pair of answers");
    }
    return LMF_OK;
}

static json_t *message(const char *role, const json_t *text)
{
    return json_pack("{s:s, s:O}", "role", role, "content", text);
}

/* A list of messages from what may be a text of that role; the caller's reference. NULL: neither. */
static json_t *as_list(const json_t *x, const char *role)
{
    if (json_is_array(x))
        return json_copy((json_t *)(uintptr_t)x);
    return json_is_string(x) ? json_pack("[o]", message(role, x)) : NULL;
}

static bool begins_with_answer(const json_t *list)
{
    const char *role = json_string_value(json_object_get(json_array_get(list, 0), "role"));
    return role && !strcmp(role, "assistant");
}

static size_t shared_messages(const json_t *a, const json_t *b)
{
    size_t n = 0;
    while (n < json_array_size(a) && n < json_array_size(b) && json_equal(json_array_get(a, n), json_array_get(b, n)))
        n++;
    return n;
}

/* The prompt's messages, the caller's reference; in list[] only answers are left. */
static lmf_status take_prompt(lmf_ctx *ctx, const json_t *row, json_t *const *list, json_t **out)
{
    const json_t *prompt = json_object_get(row, "prompt");
    bool whole = !begins_with_answer(list[0]) && !begins_with_answer(list[1]);
    *out = NULL;
    if (json_is_array(prompt) || (json_is_string(prompt) && !whole)) {
        *out = as_list(prompt, "user");
        return *out ? LMF_OK : LMF_NO_MEMORY(ctx, 64, "a prompt");
    }
    if (prompt && !json_is_null(prompt) && !json_is_string(prompt))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "\"prompt\" is neither text nor a list of messages");
    size_t n = shared_messages(list[0], list[1]);
    if (n == 0)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "\"chosen\" and \"rejected\" begin with no message that both have, and there is no \"prompt\"");
    if (json_is_string(prompt) && !json_equal(prompt, json_object_get(json_array_get(list[0], n - 1), "content")))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "\"prompt\" is not the last message that \"chosen\" and \"rejected\" share: which of them is "
                        "it?");
    if (!(*out = json_array()))
        return LMF_NO_MEMORY(ctx, 64, "a prompt");
    for (size_t i = 0; i < n; i++) {
        json_array_append(*out, json_array_get(list[0], 0));
        json_array_remove(list[0], 0);
        json_array_remove(list[1], 0);
    }
    return LMF_OK;
}

static lmf_status split_lists(lmf_ctx *ctx, const json_t *row, json_t *const *list, lmf__preference *out)
{
    static const char *const names[] = { "chosen", "rejected" };
    json_t *prompt;
    if (json_equal(list[0], list[1]))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "\"chosen\" and \"rejected\" are the same: nothing is preferred");
    LMF_TRY(take_prompt(ctx, row, list, &prompt));
    lmf_status s = LMF_OK;
    out->n_prompt = json_array_size(prompt);
    for (int k = 0; k < 2 && !s; k++) {
        json_t *messages = json_copy(prompt), *o = out->row[k] = rest_of(row);
        if (json_array_size(list[k]) == 0)
            s = LMF_FAIL(ctx, LMF_E_FORMAT, "\"%s\" has no message behind the prompt", names[k]);
        if (json_array_extend(messages, list[k]) || json_object_set_new(o, "messages", messages))
            s = s ? s : LMF_NO_MEMORY(ctx, 64, "a pair of answers");
    }
    if (!s && out->n_prompt == 0)
        s = LMF_FAIL(ctx, LMF_E_FORMAT, "\"prompt\" holds no message");
    json_decref(prompt);
    return s;
}

lmf_status lmf__preference_split(lmf_ctx *ctx, const json_t *row, lmf__preference *out)
{
    const json_t *answer[] = { json_object_get(row, "chosen"), json_object_get(row, "rejected") }, *prompt = json_object_get(row, "prompt");
    *out = (lmf__preference){ 0 };
    lmf_status s;
    for (int k = 0; k < 2; k++)
        if (!json_is_string(answer[k]) && !json_is_array(answer[k]))
            return LMF_FAIL(ctx, LMF_E_FORMAT, "\"%s\" is neither text nor a list of messages", k ? "rejected" : "chosen");
    if (json_is_string(answer[0]) && json_is_string(answer[1]) && (!prompt || json_is_null(prompt) || json_is_string(prompt))) {
        s = split_text(ctx, row, (const char *[]){ json_string_value(answer[0]), json_string_value(answer[1]) }, out);
    } else {
        json_t *list[] = { as_list(answer[0], "assistant"), as_list(answer[1], "assistant") };
        s = list[0] && list[1] ? split_lists(ctx, row, list, out) : LMF_NO_MEMORY(ctx, 64, "a pair of answers");
        json_decref(list[0]);
        json_decref(list[1]);
    }
    if (s)
        lmf__preference_clear(out);
    return s;
}
