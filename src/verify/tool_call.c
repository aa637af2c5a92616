/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a verdict looks at the answer as given; nothing is cut off or mended before it is judged. */
#include "verify/tool_call.h"
#include <string.h>
#include "verify/verify.h"

bool lmf_json_is_equal(const json_t *a, const json_t *b)
{
    const char *key;
    const json_t *value;
    size_t i;
    if (json_is_number(a) && json_is_number(b))
        return json_is_integer(a)
            && json_is_integer(b) ? json_integer_value(a) == json_integer_value(b) : json_number_value(a) == json_number_value(b);
    if (!a || !b || json_typeof(a) != json_typeof(b))
        return false;
    if (json_is_string(a))
        return json_string_length(a) == json_string_length(b) && memcmp(json_string_value(a), json_string_value(b),
            json_string_length(a)) == 0;
    if (json_is_array(a)) {
        bool same = json_array_size(a) == json_array_size(b);
        for (i = 0; same && i < json_array_size(a); i++)
            same = lmf_json_is_equal(json_array_get(a, i), json_array_get(b, i));
        return same;
    }
    if (!json_is_object(a))
        return true; /* true, false, null: the type is the value */
    if (json_object_size(a) != json_object_size(b))
        return false;
    json_object_foreach((json_t *)(uintptr_t)a, key, value)
        if (!lmf_json_is_equal(value, json_object_get(b, key)))
            return false;
    return true;
}

static bool is_listed(const json_t *list, const json_t *value)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (lmf_json_is_equal(json_array_get(list, i), value))
            return true;
    return false;
}

static bool may_be_left_out(const json_t *list)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (json_is_string(json_array_get(list, i)) && json_string_length(json_array_get(list, i)) == 0)
            return true;
    return false;
}

/* arguments: of the answer; allowed: argument to list of values. */
static bool arguments_fit(const json_t *arguments, const json_t *allowed)
{
    const char *key;
    const json_t *value;
    if (arguments && !json_is_object(arguments))
        return false;
    json_object_foreach((json_t *)(uintptr_t)allowed, key, value)
        if (!json_object_get(arguments, key) && !may_be_left_out(value))
            return false;
    json_object_foreach((json_t *)(uintptr_t)arguments, key, value)
        if (!is_listed(json_object_get(allowed, key), value))
            return false;
    return true;
}

static json_t *object_of(const char *text, size_t n)
{
    json_t *j = json_loadb(text, n, JSON_ALLOW_NUL, NULL);
    if (j && !json_is_object(j)) {
        json_decref(j);
        return NULL;
    }
    return j;
}

/* ---- several calls, or calls with something around them, as a template writes them ---- */
enum { MAX_CALLS = 64 };
typedef struct calls {
    const char *p; size_t n;                          /* the text, white space at its ends left out */
    json_t *items[MAX_CALLS];
    size_t  begin[MAX_CALLS + 1], end[MAX_CALLS + 1]; /* of each; behind the last: the text's end */
    int     n_calls;
    bool    broken;                                   /* a brace that begins no JSON object */
} calls;

static void find_calls(const char *p, size_t n, calls *c)
{
    const char *space = " \t\r\n";
    for (; n && strchr(space, *p); p++)
        n--;
    while (n && strchr(space, p[n - 1]))
        n--;
    *c = (calls){ .p = p, .n = n };
    for (size_t at = 0; at < n;) {
        json_error_t e;
        json_t *j = p[at] == '{' && c->n_calls < MAX_CALLS ? json_loadb(p + at, n - at, JSON_DISABLE_EOF_CHECK | JSON_ALLOW_NUL, &e) : NULL;
        c->broken |= p[at] == '{' && !j;
        if (j) {
            c->items[c->n_calls] = j;
            c->begin[c->n_calls] = at;
            c->end[c->n_calls++] = at += (size_t)e.position;
        } else {
            at++;
        }
    }
    c->begin[c->n_calls] = n;
}

static void free_calls(calls *c)
{
    for (int i = 0; i < c->n_calls; i++)
        json_decref(c->items[i]);
}

static bool is_same_around(const calls *a, const calls *b)
{
    for (int i = 0; i <= a->n_calls; i++) {
        size_t p = i ? a->end[i - 1] : 0, q = i ? b->end[i - 1] : 0, n = a->begin[i] - p;
        if (n != b->begin[i] - q || memcmp(a->p + p, b->p + q, n))
            return false;
    }
    return true;
}

/* The same calls in the same order, and the same text around them. */
static void judge_calls(const char *reference, const char *answer, size_t n, lmf_verdict *v)
{
    calls want, got;
    find_calls(reference, strlen(reference), &want);
    find_calls(answer, n, &got);
    bool counted = got.n_calls == want.n_calls;
    v->valid = got.n_calls > 0 && !got.broken;
    v->name = counted && want.n_calls > 0;
    v->exact = counted && is_same_around(&want, &got);
    for (int i = 0; counted && i < want.n_calls; i++) {
        v->name &= lmf_json_is_equal(json_object_get(want.items[i], "name"), json_object_get(got.items[i], "name"));
        v->exact &= lmf_json_is_equal(want.items[i], got.items[i]);
    }
    free_calls(&want);
    free_calls(&got);
}

static bool wants_calls(const json_t *row)
{
    const json_t *messages = json_object_get(row, "messages");
    for (size_t n = json_array_size(messages); n-- > 0;) {
        const char *role = json_string_value(json_object_get(json_array_get(messages, n), "role"));
        if (role && strcmp(role, "assistant") == 0)
            return json_object_get(json_array_get(messages, n), "tool_calls") != NULL;
    }
    return false;
}

lmf_verdict lmf_answer_judge(const json_t *row, const char *reference, const char *answer, size_t n)
{
    lmf_verdict v = { 0 };
    const json_t *allowed = json_object_get(row, "allowed");
    json_t *got = object_of(answer, n), *want = reference ? object_of(reference, strlen(reference)) : NULL;
    v.valid = got != NULL;
    if (json_is_object(allowed)) {
        const char *name = json_string_value(json_object_get(got, "name"));
        const json_t *arguments = name ? json_object_get(allowed, name) : NULL;
        v.name = arguments != NULL;
        v.exact = v.name && arguments_fit(json_object_get(got, "arguments"), arguments);
    } else if (want) {
        const char *key = json_object_get(want, "intent") ? "intent" : "name";
        v.name = got && json_object_get(want, key) && lmf_json_is_equal(json_object_get(got, key), json_object_get(want, key));
        v.exact = got && lmf_json_is_equal(got, want);
    } else if (reference && wants_calls(row)) {
        judge_calls(reference, answer, n, &v);
    } else {
        v.exact = reference && n == strlen(reference) && memcmp(reference, answer, n) == 0;
    }
    json_decref(got);
    json_decref(want);
    return v;
}

/* ---- as a verifier ---- */
static const char *const parts[] = { "exact", "name", "valid" };

static lmf_status open_part(lmf_ctx *ctx, const char *argument, const lmf_verify_opts *opts, void **state)
{
    (void)opts;
    for (size_t i = 0; i < 3; i++)
        if (strcmp(argument ? argument : parts[0], parts[i]) == 0)
            return *state = (void *)(uintptr_t)parts[i], LMF_OK;
    return LMF_FAIL(ctx, LMF_E_ARG, "tool_call:%.64s: exact, name and valid are possible", argument);
}

static lmf_status score(lmf_ctx *ctx, void *state, const lmf_verify_in *in, double *out)
{
    if (!in->reference && !json_is_object(json_object_get(in->row, "allowed")))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "the row has neither \"allowed\" nor an answer of its own: no call can be judged by it");
    lmf_verdict v = lmf_answer_judge(in->row, in->reference, in->text, in->n);
    *out = state == parts[0] ? v.exact : state == parts[1] ? v.name : v.valid;
    return LMF_OK;
}

const lmf_verifier lmf_verifier_tool_call = { .name = "tool_call", .summary = "1 where the answer is the call that the row wants",
    .argument = "exact (the default), name or valid: what must be right", .open = open_part, .score = score };
