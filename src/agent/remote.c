/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: one request is under way at a time, and an answer is taken for it by its number. */
#include "agent/remote.h"
#include <stdio.h>
#include <string.h>
#include "agent/tool.h"
#include "base/plain.h"
#include "format/json.h"

#define MODERN "2026-07-28"
#define META "io.modelcontextprotocol/"
enum { MAX_PAGES = 64, MAX_MESSAGE = 1 << 24, MAX_ASKED_BACK = 256, ERROR_VERSION = -32022 };
static const char *const legacy[] = { "2025-11-25", "2025-06-18", "2025-03-26", "2024-11-05" };

struct lmf_remote {
    lmf_ctx         *ctx;
    lmf_remote_link *link;
    lmf_remote_opts  o;
    char             where[200];     /* plain */
    const char      *version;        /* NULL: not known yet */
    bool             modern, dead, list_changed;
    int64_t          last_id;
    int              error;          /* of the last answer; 0: none */
};

/* ---- one request ---- */

typedef struct asking {
    lmf_remote *r;
    int64_t     id;
    double      until;
    json_t     *answer;
    int         n_strange, n_asked_back;
} asking;

static void tell(lmf_remote *r, json_t *message, double until)
{
    lmf_buf text;
    lmf_buf_init(&text, r->ctx, MAX_MESSAGE);
    if (message && !lmf_json_text(r->ctx, message, JSON_COMPACT, &text))
        r->link->door->tell(r->link, &(lmf_remote_message){ .text = lmf_buf_str(&text), .n = text.n, .version = r->version,
                                                            .method = json_string_value(json_object_get(message, "method")),
                                                            .modern = r->modern }, until);
    lmf_buf_clear(&text);
    json_decref(message);
}

/* ping is answered, everything else is refused. */
static void answer_back(asking *a, const json_t *request)
{
    const json_t *id = json_object_get(request, "id");
    const char *method = json_string_value(json_object_get(request, "method"));
    if (++a->n_asked_back > MAX_ASKED_BACK)
        return;
    tell(a->r, method && strcmp(method, "ping") == 0
         ? json_pack("{s:s, s:O, s:{}}", "jsonrpc", "2.0", "id", id, "result")
         : json_pack("{s:s, s:O, s:{s:i, s:s}}", "jsonrpc", "2.0", "id", id, "error", "code", -32601, "message", "not offered here"), 0);
}

static bool take(void *user, const char *text, size_t n)
{
    asking *a = user;
    json_t *message;
    lmf_heard heard = lmf__remote_hear(a->r->ctx, text, n, a->id, &message);
    const char *method = json_string_value(json_object_get(message, "method"));
    if (heard == LMF_HEARD_ANSWER) {
        a->answer = message;
        return true;
    }
    a->n_strange += heard == LMF_HEARD_NOTHING;
    if (heard == LMF_HEARD_REQUEST)
        answer_back(a, message);
    if (heard == LMF_HEARD_NOTICE && method && strcmp(method, "notifications/tools/list_changed") == 0)
        a->r->list_changed = true;
    json_decref(message);
    return false;
}

static void cancel(lmf_remote *r, int64_t id)
{
    if (!r->dead && !(r->modern && r->link->door->cancels))
        tell(r, json_pack("{s:s, s:s, s:{s:I, s:s}}", "jsonrpc", "2.0", "method", "notifications/cancelled", "params", "requestId",
                          (json_int_t)id, "reason", "nobody waits for it any more"), lmf_tool_clock_now() + 0.5);
}

/* Takes params. */
static json_t *request(lmf_remote *r, const char *method, json_t *params)
{
    json_t *meta = r->modern ? json_pack("{s:s, s:{}, s:{s:s, s:s}}", META "protocolVersion", MODERN, META "clientCapabilities",
                                         META "clientInfo", "name", "lmfast", "version", LMF_VERSION) : NULL;
    if (meta)
        json_object_set_new(params, "_meta", meta);
    return json_pack("{s:s, s:I, s:s, s:o}", "jsonrpc", "2.0", "id", (json_int_t)++r->last_id, "method", method, "params", params);
}

/* The error that was answered, in a sentence. */
static lmf_status refused(lmf_remote *r, const char *method, const json_t *error)
{
    char plain[400];
    const char *text = json_string_value(json_object_get(error, "message"));
    json_int_t code = json_integer_value(json_object_get(error, "code"));
    r->error = code >= -99999 && code <= 99999 && code ? (int)code : -1;
    return LMF_FAIL(r->ctx, LMF_E_IO, "%s refuses %s: %s (%d)", r->where, method, lmf_plain_text(text ? text : "no reason", plain,
            sizeof plain),
                    r->error);
}

/* Takes params. *result: an object. */
static lmf_status ask(lmf_remote *r, const char *method, const char *name, json_t *params, double until, json_t **result)
{
    asking a = { .r = r, .until = until };
    lmf_buf text;
    json_t *message = request(r, method, params);
    double start = lmf_tool_clock_now();
    *result = NULL, r->error = 0;
    lmf_buf_init(&text, r->ctx, MAX_MESSAGE);
    a.id = r->last_id;
    lmf_status s = r->dead ? LMF_FAIL(r->ctx, LMF_E_IO, "%s is no longer there", r->where)
                 : message ? lmf_json_text(r->ctx, message, JSON_COMPACT, &text) : LMF_NO_MEMORY(r->ctx, 256, "a request");
    if (!s)
        s = r->link->door->ask(r->link, &(lmf_remote_message){ lmf_buf_str(&text), text.n, method, name, r->version, r->modern }, until,
                               take,
                               &a, &r->dead);
    lmf_buf_clear(&text);
    json_decref(message);
    if (s == LMF_E_LIMIT && !r->dead) {
        s = LMF_FAIL(r->ctx, s, "%s did not answer within %.3g seconds%s", r->where, until - start > 0 ? until - start : 0,
                     a.n_strange ? "; what came was no answer" : "");
        cancel(r, a.id);
    } else if (s == LMF_E_CANCELLED) {
        cancel(r, a.id);
    } else if (s && s != LMF_E_MEMORY) {
        s = lmf_fail_prefix(r->ctx, s, "%s", r->where);
    }
    if (!s && json_object_get(a.answer, "error"))
        s = refused(r, method, json_object_get(a.answer, "error"));
    if (!s)
        *result = json_incref(json_object_get(a.answer, "result"));
    json_decref(a.answer);
    return s;
}

/* ---- the handshake ---- */

static lmf_status discover(lmf_remote *r, double until)
{
    json_t *result, *v;
    size_t i;
    bool speaks = false;
    r->modern = true, r->version = MODERN;
    lmf_status s = ask(r, "server/discover", NULL, json_object(), until, &result);
    json_array_foreach(json_object_get(result, "supportedVersions"), i, v)
        speaks |= json_is_string(v) && strcmp(json_string_value(v), MODERN) == 0;
    json_decref(result);
    if (!s && !speaks)
        s = LMF_FAIL(r->ctx, LMF_E_UNSUPPORTED, "%s does not speak the revision " MODERN, r->where);
    if (s)
        r->modern = false, r->version = NULL;
    return s;
}

static lmf_status initialize(lmf_remote *r, double until)
{
    json_t *result;
    char plain[60];
    LMF_TRY(ask(r, "initialize", NULL, json_pack("{s:s, s:{}, s:{s:s, s:s}}", "protocolVersion", legacy[0], "capabilities", "clientInfo",
                                                 "name", "lmfast", "version", LMF_VERSION), until, &result));
    const char *version = json_string_value(json_object_get(result, "protocolVersion"));
    for (size_t i = 0; version && i < sizeof legacy / sizeof *legacy; i++)
        if (strcmp(version, legacy[i]) == 0)
            r->version = legacy[i];
    lmf_status s = r->version ? LMF_OK : LMF_FAIL(r->ctx, LMF_E_UNSUPPORTED,
                                                  "%s speaks the revision \"%s\" of the protocol; spoken here are "
                                                  MODERN " and 2025-11-25 to 2024-11-05", r->where,
                                                  lmf_plain_text(version ? version : "", plain, sizeof plain));
    json_decref(result);
    if (!s)
        tell(r, json_pack("{s:s, s:s}", "jsonrpc", "2.0", "method", "notifications/initialized"), until);
    return s;
}

static lmf_status open_link(lmf_remote *r, const char *where)
{
    bool web = strncmp(where, "http://", 7) == 0 || strncmp(where, "https://", 8) == 0;
    r->dead = false;
    return web ? lmf__remote_web(r->ctx, where, &r->o, &r->link) : lmf__remote_program(r->ctx, where, &r->o, &r->link);
}

/* A server of the older revisions may answer the first question with an error, with silence or by ending. */
static lmf_status connect(lmf_remote *r, const char *where)
{
    double now = lmf_tool_clock_now(), until = now + r->o.timeout_s;
    LMF_TRY(open_link(r, where));
    lmf_status s = discover(r, now + r->o.timeout_s / 3);
    if (!s || s == LMF_E_CANCELLED || s == LMF_E_MEMORY)
        return s;
    if (r->dead) {
        r->link->door->close(r->link);
        r->link = NULL;
        LMF_TRY(open_link(r, where));
    }
    s = initialize(r, until);
    if (s && r->error == ERROR_VERSION && !r->dead) { /* it had begun late, and speaks the new one after all */
        lmf_error_record before = *lmf_error_here(r->ctx);
        if (!discover(r, until))
            return LMF_OK;
        *lmf_error_here(r->ctx) = before;
    }
    return s;
}

lmf_status lmf__remote_open(lmf_ctx *ctx, const char *where, const lmf_remote_opts *o, lmf_remote **out)
{
    lmf_remote *r = *out = lmf_new(ctx, lmf_remote);
    if (!r)
        return LMF_NO_MEMORY(ctx, sizeof *r, "a server");
    r->ctx = ctx, r->o = *o;
    lmf_plain_text(where, r->where, sizeof r->where);
    lmf_status s = connect(r, where);
    if (s) {
        lmf__remote_close(r);
        *out = NULL;
    }
    return s;
}

void lmf__remote_close(lmf_remote *r)
{
    if (!r)
        return;
    if (r->link)
        r->link->door->close(r->link);
    lmf_delete(r->ctx, r);
}

const char *lmf__remote_version(const lmf_remote *r) { return r->version; }
bool        lmf__remote_list_changed(const lmf_remote *r) { return r->list_changed; }

/* ---- tools ---- */

lmf_status lmf__remote_list(lmf_remote *r, json_t **tools)
{
    json_t *page = NULL;
    char *cursor = NULL;
    lmf_status s = (*tools = json_array()) ? LMF_OK : LMF_NO_MEMORY(r->ctx, 64, "a list of tools");
    r->list_changed = false;
    for (int i = 0; !s && (i == 0 || cursor); i++) {
        const char *next = NULL;
        json_t *params = json_object();
        if (cursor && json_object_set_new(params, "cursor", json_string(cursor)))
            s = LMF_NO_MEMORY(r->ctx, 64, "a list of tools");
        if (!s && i == MAX_PAGES)
            s = LMF_FAIL(r->ctx, LMF_E_LIMIT, "%s: its list of tools has more than %d pages", r->where, MAX_PAGES);
        if (s) {
            json_decref(params);
            break;
        }
        json_t *before = page;
        s = ask(r, "tools/list", NULL, params, lmf_tool_clock_now() + r->o.timeout_s, &page);
        if (!s && (s = lmf__remote_read_page(r->ctx, page, *tools, &next)))
            lmf_fail_prefix(r->ctx, s, "%s", r->where);
        json_decref(before);
        cursor = (char *)(uintptr_t)next;
    }
    json_decref(page);
    if (s) {
        json_decref(*tools);
        *tools = NULL;
    }
    return s;
}

lmf_status lmf__remote_call(lmf_remote *r, const char *name, const json_t *arguments, double until, json_t **result)
{
    return ask(r, "tools/call", name, json_pack("{s:s, s:O}", "name", name, "arguments", arguments), until, result);
}
