/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "agent/remote_tools.h"
#include "base/file.h"
#include "base/output.h"
#include "base/plain.h"
#include "format/json.h"

enum { MAX_FILE = 16 << 20 };
static const char *const parts[] = { "description", "schema", "annotations" };

/* Takes value. */
static lmf_status add_hash(lmf_ctx *ctx, json_t *entry, const char *part, json_t *value)
{
    char hex[65];
    lmf_buf text;
    lmf_buf_init(&text, ctx, 1 << 24);
    lmf_status s = value ? lmf_json_text(ctx, value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY, &text) : LMF_NO_MEMORY(ctx, 64,
            "a hash");
    if (!s)
        s = lmf_sha256_hex(ctx, lmf_buf_str(&text), text.n, hex);
    if (!s && json_object_set_new(entry, part, json_string(hex)))
        s = LMF_NO_MEMORY(ctx, 64, "a hash");
    lmf_buf_clear(&text);
    json_decref(value);
    return s;
}

lmf_status lmf__pin_make(lmf_ctx *ctx, const json_t *tools, json_t **pin)
{
    lmf_status s = (*pin = json_object()) ? LMF_OK : LMF_NO_MEMORY(ctx, 64, "a list of hashes");
    for (size_t i = 0; !s && i < json_array_size(tools); i++) {
        json_t *t = json_array_get(tools, i), *entry = json_object();
        const char *name = json_string_value(json_object_get(t, "name"));
        char plain[100];
        if (json_object_get(*pin, name)) {
            json_decref(entry);
            s = LMF_FAIL(ctx, LMF_E_FORMAT, "it has two tools of the name \"%s\"", lmf_plain_text(name, plain, sizeof plain));
            break;
        }
        s = !entry || json_object_set_new(*pin, name, entry) ? LMF_NO_MEMORY(ctx, 64, "a list of hashes") : LMF_OK;
        if (!s)
            s = add_hash(ctx, entry, parts[0], json_pack("[O*, O*]", json_object_get(t, "title"), json_object_get(t, "description")));
        if (!s)
            s = add_hash(ctx, entry, parts[1], json_incref(json_object_get(t, "inputSchema")));
        if (!s)
            s = add_hash(ctx, entry, parts[2], json_pack("[O*]", json_object_get(t, "annotations")));
    }
    if (s) {
        json_decref(*pin);
        *pin = NULL;
    }
    return s;
}

static void say(char *text, size_t n, const char *name, const char *what)
{
    char plain[80];
    size_t at = strlen(text);
    if (at + 120 < n)
        snprintf(text + at, n - at, "%s\"%s\" %s", at ? "; " : "", lmf_plain_text(name, plain, sizeof plain), what);
    else if (at + 8 < n && (at < 4 || strcmp(text + at - 3, "...")))
        snprintf(text + at, n - at, "; ...");
}

void lmf__pin_compare(const json_t *then, const json_t *now, char *text, size_t n)
{
    const char *name;
    json_t *entry;
    char what[60];
    text[0] = 0;
    json_object_foreach((json_t *)(uintptr_t)now, name, entry) {
        const json_t *old = json_object_get(then, name);
        if (!old)
            say(text, n, name, "is new");
        for (size_t i = 0; old && i < sizeof parts / sizeof *parts; i++)
            if (!json_equal(json_object_get(old, parts[i]), json_object_get(entry, parts[i]))) {
                snprintf(what, sizeof what, "has another %s", parts[i]);
                say(text, n, name, what);
            }
    }
    json_object_foreach((json_t *)(uintptr_t)then, name, entry)
        if (!json_object_get(now, name))
            say(text, n, name, "is gone");
}

lmf_status lmf__pin_check(lmf_ctx *ctx, const char *path, const char *where, const json_t *now, bool *is_new)
{
    json_t *all = NULL;
    char text[500], plain[200];
    *is_new = false;
    if (lmf_output_stat(path) != LMF_OUTPUT_NONE)
        LMF_TRY(lmf_json_load(ctx, path, MAX_FILE, LMF_JSON_SMALL, &all));
    json_t *servers = all ? json_object_get(all, "servers") : NULL, *then = json_object_get(servers, where);
    lmf_status s = LMF_OK;
    if (all && !json_is_object(servers))
        s = LMF_FAIL(ctx, LMF_E_FORMAT, "%.300s holds no hashes of tools; name another file", path);
    else if (then)
        lmf__pin_compare(then, now, text, sizeof text);
    if (!s && then && text[0])
        s = LMF_FAIL(ctx, LMF_E_FORMAT, "the tools of %s are not those in %.200s: %s. If that is meant, remove the server from the file",
                     lmf_plain_text(where, plain, sizeof plain), path, text);
    if (!s && !then) {
        *is_new = true;
        if (!all)
            all = json_pack("{s:{}}", "servers");
        if (!all || json_object_set(json_object_get(all, "servers"), where, (json_t *)(uintptr_t)now))
            s = LMF_NO_MEMORY(ctx, 64, "hashes of tools");
        if (!s)
            s = lmf_json_save(ctx, path, all);
    }
    json_decref(all);
    return s;
}
