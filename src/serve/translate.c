/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/translate.h"
#include <string.h>
#include "base/buf.h"

enum { MAX_TEXT = 1 << 22 };

static bool no_memory(lmf_fault *f) { return lmf__refuse(f, 503, NULL, NULL, "there is no memory for the request"); }

bool lmf__put(json_t *to, const char *name, json_t *value, lmf_fault *f)
{
    return json_object_set_new(to, name, value) == 0 || no_memory(f);
}

bool lmf__append(json_t *list, json_t *value, lmf_fault *f) { return json_array_append_new(list, value) == 0 || no_memory(f); }

bool lmf__carry(const json_t *from, const char *name, json_t *to, const char *as, lmf_fault *f)
{
    json_t *v = json_object_get(from, name);
    return !v || json_is_null(v) || json_object_set(to, as, v) == 0 || no_memory(f);
}

json_t *lmf__message_of(json_t *messages, const char *role, lmf_fault *f)
{
    json_t *last = json_array_get(messages, json_array_size(messages) - 1);
    const char *before = json_string_value(json_object_get(last, "role"));
    if (before && strcmp(before, role) == 0)
        return last;
    last = json_pack("{s:s, s:[]}", "role", role, "content");
    return lmf__append(messages, last, f) ? last : NULL;
}

bool lmf__say(json_t *messages, const char *role, json_t *text, lmf_fault *f)
{
    json_t *m = lmf__message_of(messages, role, f);
    if (!m) {
        json_decref(text);
        return false;
    }
    return lmf__append(json_object_get(m, "content"), json_pack("{s:s, s:o}", "type", "text", "text", text), f);
}

json_t *lmf__joined(lmf_ctx *ctx, const json_t *a, const json_t *b)
{
    lmf_buf text;
    lmf_buf_init(&text, ctx, MAX_TEXT);
    if (json_is_string(a))
        lmf_buf_append(&text, json_string_value(a), json_string_length(a));
    if (json_is_string(b))
        lmf_buf_append(&text, json_string_value(b), json_string_length(b));
    json_t *both = text.status ? NULL : json_stringn(lmf_buf_str(&text), text.n);
    lmf_buf_clear(&text);
    return both;
}

bool lmf__put_schema(json_t *to, json_t *schema, lmf_fault *f)
{
    return lmf__put(to, "response_format", json_pack("{s:s, s:{s:s, s:O}}", "type", "json_schema", "json_schema", "name", "answer",
                                                     "schema", schema), f);
}
