/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: every failure ends in BLOCKED or BROKEN, never in text that was not looked at. */
#include "serve/screen.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "config/guard_policy.h"
#include "format/json.h"

enum { MAX_TEXT = 1 << 26 };

lmf_status lmf__screen_open(lmf_screen **all, lmf_ctx *ctx, const char *path, lmf_screen **out)
{
    char digest[65];
    uint64_t n;
    for (*out = *all; *out; *out = (*out)->next)
        if (strcmp((*out)->path, path) == 0)
            return LMF_OK;
    lmf_screen *c = lmf_new(ctx, lmf_screen);
    if (!c)
        return LMF_NO_MEMORY(ctx, sizeof *c, "a policy");
    *c = (lmf_screen){ .ctx = ctx };
    lmf_status s = snprintf(c->path, sizeof c->path, "%s", path) < (int)sizeof c->path ? LMF_OK
        : LMF_FAIL(ctx, LMF_E_ARG, "the path of a policy has over %zu bytes", sizeof c->path - 1);
    if (!s)
        s = lmf_guard_policy_load(ctx, path, &c->policy);
    if (!s)
        s = lmf_file_sha256(ctx, path, digest, &n);
    if (s) {
        lmf_delete(ctx, c);
        return s;
    }
    snprintf(c->told, sizeof c->told, "%s sha256:%.16s", c->policy.name[0] ? c->policy.name : "unnamed", digest);
    for (*out = *all; *out; *out = (*out)->next)
        if (strcmp((*out)->told, c->told) == 0) { /* two files that are the same: one policy */
            lmf_delete(ctx, c);
            return LMF_OK;
        }
    c->next = *all;
    *all = *out = c;
    return LMF_OK;
}

void lmf__screens_close(lmf_screen **all)
{
    while (*all) {
        lmf_screen *c = *all;
        *all = c->next;
        lmf_delete(c->ctx, c);
    }
}

void lmf__screen_count(lmf_screen *c, lmf_way way, const lmf_guard_stream *s)
{
    c->n_texts[way]++;
    c->n_blocked[way] += s->blocked;
    c->n_failed[way] += s->status != LMF_OK;
    for (int k = 0; k < LMF_GUARD_MAX_ENTITIES; k++)
        c->n_found[way][k] += s->n_found[k];
}

lmf_verdict lmf__screen_text(lmf_screen *c, lmf_way way, const char *text, size_t n, lmf_buf *out, int *by)
{
    lmf_guard_stream s;
    lmf_verdict v = LMF_PASSED;
    lmf_guard_open(&s, c->ctx, &c->policy);
    lmf_status status = lmf_guard_push(&s, text, n, true, out);
    for (int k = 0; k < LMF_GUARD_MAX_ENTITIES; k++)
        if (s.n_found[k] && c->policy.by[k] != LMF_GUARD_KEEP)
            v = LMF_CHANGED, *by = k;
    if (s.blocked)
        v = LMF_BLOCKED, *by = s.blocked_by;
    lmf__screen_count(c, way, &s);
    lmf_guard_close(&s);
    return status ? LMF_BROKEN : v;
}

/* ---- JSON ---- */

static lmf_verdict worse(lmf_verdict a, lmf_verdict b) { return a > b ? a : b; }

/* The caller has a value with this text; *to becomes what the policy makes of it, where that is another one. */
static lmf_verdict screen_scalar(lmf_screen *c, lmf_way way, const char *text, size_t n, json_t **to, int *by)
{
    lmf_buf out;
    lmf_buf_init(&out, c->ctx, MAX_TEXT);
    lmf_verdict v = lmf__screen_text(c, way, text, n, &out, by);
    if (v == LMF_CHANGED && !(*to = lmf_json_stringn(lmf_buf_str(&out), out.n))) {
        LMF_NO_MEMORY(c->ctx, out.n, "a text");
        v = LMF_BROKEN;
    }
    lmf_buf_clear(&out);
    return v;
}

static lmf_verdict screen_object(lmf_screen *c, lmf_way way, json_t *v, int *by)
{
    lmf_verdict all = LMF_PASSED;
    const char *key;
    json_t *one;
    json_object_foreach(v, key, one) { /* a value may be set while one goes through */
        json_t *name = NULL;
        lmf_verdict of_name = screen_scalar(c, way, key, strlen(key), &name, by);
        json_decref(name);
        if (of_name == LMF_CHANGED) {
            of_name = LMF_BLOCKED;
            c->n_blocked[way]++;
        }
        all = worse(all, of_name);
        if (all >= LMF_BLOCKED)
            return all;
        json_t *now = json_incref(one);
        lmf_verdict of_value = lmf__screen_value(c, way, &now, by);
        if (now != one && json_object_set(v, key, now)) {
            LMF_NO_MEMORY(c->ctx, 64, "a value");
            of_value = LMF_BROKEN;
        }
        json_decref(now);
        all = worse(all, of_value);
        if (all >= LMF_BLOCKED)
            return all;
    }
    return all;
}

static lmf_verdict screen_list(lmf_screen *c, lmf_way way, json_t *v, int *by)
{
    lmf_verdict all = LMF_PASSED;
    for (size_t i = 0; i < json_array_size(v) && all < LMF_BLOCKED; i++) {
        json_t *one = json_array_get(v, i), *now = json_incref(one);
        lmf_verdict of_value = lmf__screen_value(c, way, &now, by);
        if (now != one && json_array_set(v, i, now)) {
            LMF_NO_MEMORY(c->ctx, 64, "a value");
            of_value = LMF_BROKEN;
        }
        json_decref(now);
        all = worse(all, of_value);
    }
    return all;
}

lmf_verdict lmf__screen_value(lmf_screen *c, lmf_way way, json_t **v, int *by)
{
    json_t *now = NULL;
    lmf_verdict verdict = LMF_PASSED;
    if (json_is_object(*v))
        return screen_object(c, way, *v, by);
    if (json_is_array(*v))
        return screen_list(c, way, *v, by);
    if (json_is_string(*v)) {
        verdict = screen_scalar(c, way, json_string_value(*v), json_string_length(*v), &now, by);
    } else if (json_is_number(*v)) {
        char *text = json_dumps(*v, JSON_ENCODE_ANY | JSON_COMPACT);
        if (text) {
            verdict = screen_scalar(c, way, text, strlen(text), &now, by);
        } else {
            LMF_NO_MEMORY(c->ctx, 32, "a number");
            verdict = LMF_BROKEN;
        }
        free(text); /* allowed: jansson's own memory */
    }
    if (now) {
        json_decref(*v);
        *v = now;
    }
    return verdict;
}

static int hex(int c)
{
    static const char digits[] = "0123456789abcdef";
    const char *at = c ? strchr(digits, c >= 'A' && c <= 'F' ? c + 32 : c) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* JSON's text with its escapes undone, wherever they stand; of \u what lies in ASCII. */
static lmf_status unescape(const char *text, size_t n, lmf_buf *out)
{
    for (size_t i = 0; i < n; i++) {
        static const char from[] = "nrtbf", to[] = "\n\r\t\b\f";
        if (text[i] != '\\' || i + 1 == n) {
            LMF_TRY(lmf_buf_putc(out, text[i]));
            continue;
        }
        const char *at = text[++i] ? strchr(from, text[i]) : NULL;
        int code = 0;
        for (size_t k = 1; text[i] == 'u' && k <= 4 && code >= 0; k++)
            code = i + k < n && hex((unsigned char)text[i + k]) >= 0 ? code << 4 | hex((unsigned char)text[i + k]) : -1;
        if (text[i] == 'u' && code >= 0) {
            LMF_TRY(lmf_buf_putc(out, code < 0x80 ? (char)code : ' '));
            i += 4;
        } else {
            LMF_TRY(lmf_buf_putc(out, at ? to[at - from] : text[i]));
        }
    }
    return LMF_OK;
}

lmf_verdict lmf__screen_json(lmf_screen *c, lmf_way way, const char *text, size_t n, lmf_buf *out, int *by)
{
    json_t *j = json_loadb(text, n, JSON_DECODE_ANY, NULL);
    lmf_buf plain;
    if (j) {
        lmf_verdict v = lmf__screen_value(c, way, &j, by);
        if (v == LMF_CHANGED && lmf_json_text(c->ctx, j, JSON_ENCODE_ANY | JSON_COMPACT, out))
            v = LMF_BROKEN;
        else if (v == LMF_PASSED && lmf_buf_append(out, text, n))
            v = LMF_BROKEN;
        json_decref(j);
        return v;
    }
    lmf_buf_init(&plain, c->ctx, MAX_TEXT);
    json_t *none = NULL;
    lmf_verdict v = unescape(text, n, &plain) ? LMF_BROKEN : screen_scalar(c, way, lmf_buf_str(&plain), plain.n, &none, by);
    json_decref(none);
    lmf_buf_clear(&plain);
    if (v == LMF_CHANGED) { /* there is no JSON in which to change it */
        c->n_blocked[way]++;
        v = LMF_BLOCKED;
    }
    return v == LMF_PASSED && lmf_buf_append(out, text, n) ? LMF_BROKEN : v;
}

/* ---- requests ---- */

static bool refuse(lmf_screen *c, lmf_verdict v, const char *param, int by, lmf_fault *f)
{
    if (v == LMF_BLOCKED)
        return lmf__refuse(f, 400, param, "content_filter", "the policy of this server blocks %s, which %s holds; the request was not "
                           "answered", lmf_guard_entity_name(c->ctx, by), param);
    lmf__refuse_status(f, c->ctx, LMF_E_INTERNAL, param);
    char why[512];
    snprintf(why, sizeof why, "%.511s", f->message);
    return lmf__refuse(f, 500, param, NULL, "%s could not be checked, so the request was not answered: %s", param, why);
}

/* Parts of a message's content as the template puts them together: what is split over two is one text to the model. */
static lmf_verdict screen_parts(lmf_screen *c, json_t *message, int *by)
{
    json_t *content = json_object_get(message, "content"), *now = NULL;
    lmf_buf whole;
    lmf_buf_init(&whole, c->ctx, MAX_TEXT);
    for (size_t i = 0; i < json_array_size(content); i++) {
        const json_t *text = json_object_get(json_array_get(content, i), "text");
        if (json_is_string(text))
            lmf_buf_append(&whole, json_string_value(text), json_string_length(text));
    }
    lmf_verdict v = whole.status ? LMF_BROKEN : screen_scalar(c, LMF_WAY_IN, lmf_buf_str(&whole), whole.n, &now, by);
    if (now && json_object_set(message, "content", now))
        v = LMF_BROKEN;
    json_decref(now);
    lmf_buf_clear(&whole);
    return v;
}

bool lmf__screen_request(lmf_screen *c, json_t *vars, lmf_fault *f)
{
    const json_t *messages = json_object_get(vars, "messages");
    const char *key;
    json_t *v;
    char param[64];
    int by = 0;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        json_t *m = json_array_get(messages, i);
        snprintf(param, sizeof param, "messages[%zu]", i);
        lmf_verdict of = lmf__screen_value(c, LMF_WAY_IN, &m, &by); /* an object stays the same one */
        if (of < LMF_BLOCKED && json_array_size(json_object_get(m, "content")) > 1)
            of = screen_parts(c, m, &by);
        if (of >= LMF_BLOCKED)
            return refuse(c, of, param, by, f);
    }
    json_object_foreach(vars, key, v) {
        if (strcmp(key, "messages") == 0)
            continue;
        json_t *now = json_deep_copy(v); /* what the model is told; what its calls are held to stays the client's */
        snprintf(param, sizeof param, "%.63s", key);
        lmf_verdict of = now ? lmf__screen_value(c, LMF_WAY_IN, &now, &by) : LMF_BROKEN;
        if (!now || json_object_set_new(vars, key, now)) {
            LMF_NO_MEMORY(c->ctx, 64, "the tools");
            of = LMF_BROKEN;
        }
        if (of >= LMF_BLOCKED)
            return refuse(c, of, param, by, f);
    }
    return true;
}

bool lmf__screen_prompt(lmf_screen *c, const char *param, const json_t *text, json_t **out, lmf_fault *f)
{
    int by = 0;
    *out = NULL;
    lmf_verdict v = screen_scalar(c, LMF_WAY_IN, json_string_value(text), json_string_length(text), out, &by);
    if (v >= LMF_BLOCKED)
        return refuse(c, v, param, by, f);
    if (!*out)
        *out = json_incref((json_t *)(uintptr_t)text);
    return true;
}

bool lmf__screen_decoded(lmf_screen *c, const char *param, const char *text, size_t n, lmf_fault *f)
{
    int by = 0;
    json_t *none = NULL;
    lmf_verdict v = screen_scalar(c, LMF_WAY_IN, text, n, &none, &by);
    json_decref(none);
    if (v >= LMF_BLOCKED)
        return refuse(c, v, param, by, f);
    return v == LMF_PASSED || lmf__refuse(f, 400, param, "content_filter", "%s holds, as token ids, what the policy of this server changes "
                                          "in texts; send it as text", param);
}
