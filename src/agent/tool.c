/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what a tool returns is bytes of strangers; nothing of it reaches a prompt but text, and no more than the cap. */
#include "agent/tool.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/plain.h"

enum { MAX_DESCRIPTION = 1 << 16 };

double lmf_tool_clock_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

const char *lmf_effect_word(lmf_effect e)
{
    static const char *const words[] = { "reads", "writes", "sends" };
    return words[e];
}

void lmf_tool_put(lmf_tool_out *o, const void *p, size_t n)
{
    size_t room = o->cap - o->buf->n;
    o->n_all += n;
    lmf_buf_append(o->buf, p, n < room ? n : room);
}

void lmf_tool_printf(lmf_tool_out *o, const char *fmt, ...)
{
    char line[1024];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(line, sizeof line, fmt, args);
    va_end(args);
    if (n > 0)
        lmf_tool_put(o, line, (size_t)n < sizeof line ? (size_t)n : sizeof line - 1);
}

/* ---- opening ---- */

static lmf_status refuse_name(lmf_ctx *ctx, const char *name)
{
    char names[512] = "";
    size_t at = 0;
    for (const lmf_tool *const *t = lmf__agent_tools(); *t; t++)
        if (at + strlen((*t)->name) + 3 < sizeof names)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", at ? ", " : "", (*t)->name);
    return LMF_FAIL(ctx, LMF_E_ARG, "there is no tool \"%.64s\"; there are: %s", name, names);
}

static bool is_name(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    return n > 0 && n <= LMF_TOOL_MAX_NAME && !s[n];
}

static lmf_status check(lmf_toolset *set, const lmf_tool_use *use)
{
    const char *type = json_string_value(json_object_get(use->schema, "type"));
    if (!is_name(use->name))
        return LMF_FAIL(set->ctx, LMF_E_ARG, "the tool \"%.80s\": a name has 1 to %d letters, digits, _ and -", use->name,
                        LMF_TOOL_MAX_NAME);
    if (!type || strcmp(type, "object"))
        return LMF_FAIL(set->ctx, LMF_E_ARG, "the tool \"%s\": its schema must be of the type object, as arguments are", use->name);
    for (int i = 0; i < set->n; i++)
        if (strcmp(set->item[i].name, use->name) == 0)
            return LMF_FAIL(set->ctx, LMF_E_ARG, "two tools have the name \"%s\"", use->name);
    return LMF_OK;
}

/* Takes use->schema. */
lmf_status lmf__tools_add(lmf_toolset *set, const lmf_tool_use *use)
{
    lmf_status s = LMF_OK;
    /* an argument that nobody named is none */
    if (json_is_object(use->schema) && !json_object_get(use->schema, "additionalProperties") &&
        json_object_set_new(use->schema, "additionalProperties", json_false()))
        s = LMF_NO_MEMORY(set->ctx, 64, "a schema");
    if (!s && set->n == LMF_TOOLS_MAX)
        s = LMF_FAIL(set->ctx, LMF_E_LIMIT, "more than %d tools; --only names those that are wanted", LMF_TOOLS_MAX);
    if (!s)
        s = check(set, use);
    if (s) {
        json_decref(use->schema);
        return s;
    }
    set->item[set->n] = *use;
    set->item[set->n++].set = set;
    return LMF_OK;
}

bool lmf__tools_want(lmf_toolset *set, const char *name)
{
    bool want = !set->opts.n_only;
    for (int i = 0; i < set->opts.n_only; i++)
        if (strcmp(set->opts.only[i], name) == 0)
            set->seen_only |= (uint64_t)1 << i, want = true;
    return want;
}

lmf_status lmf__tools_keep(lmf_toolset *set, void *state, void (*close)(lmf_ctx *ctx, void *state))
{
    if (set->n_kept == LMF_TOOLS_MAX_KEPT) {
        close(set->ctx, state);
        return LMF_FAIL(set->ctx, LMF_E_LIMIT, "tools come from more than %d places", LMF_TOOLS_MAX_KEPT);
    }
    set->kept[set->n_kept].state = state;
    set->kept[set->n_kept++].close = close;
    return LMF_OK;
}

lmf_status lmf__tools_origin(lmf_toolset *set, int *origin)
{
    if (set->n_origins == 63)
        return LMF_FAIL(set->ctx, LMF_E_LIMIT, "tools come from more than 63 places");
    *origin = ++set->n_origins;
    return LMF_OK;
}

void lmf__tools_note(lmf_toolset *set, const char *fmt, ...)
{
    char text[1024], plain[1200];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (set->opts.note)
        set->opts.note(set->opts.user, lmf_plain_text(text, plain, sizeof plain));
}

bool lmf__tools_stopped(const lmf_toolset *set) { return set->opts.stopped && set->opts.stopped(set->opts.user); }

/* Of what is_command lets pass: zero-width space and marks of direction, word joiner and invisible operators, the byte order mark, tags and
 * the variation selectors past 16. Joiners and the first 16 selectors are needed by scripts and pictures. */
static bool is_invisible(const char *p, size_t k)
{
    const unsigned char *b = (const unsigned char *)p;
    if (k == 3 && b[0] == 0xE2 && b[1] == 0x80)
        return b[2] == 0x8B || b[2] == 0x8E || b[2] == 0x8F;
    if (k == 3 && b[0] == 0xE2 && b[1] == 0x81)
        return b[2] >= 0xA0 && b[2] <= 0xAF;
    return (k == 3 && b[0] == 0xEF && b[1] == 0xBB && b[2] == 0xBF) || (k == 4 && b[0] == 0xF3 && b[1] == 0xA0);
}

lmf_status lmf__tools_check_text(lmf_ctx *ctx, const char *text, const char *what)
{
    for (size_t at = 0, k; text[at]; at += k) {
        k = lmf_utf8_length(text + at, 4);
        bool white = text[at] == '\n' || text[at] == '\t' || text[at] == '\r';
        if (!k || (!white && (lmf_utf8_is_command(text + at, k) || is_invisible(text + at, k))))
            return LMF_FAIL(ctx, LMF_E_FORMAT, "%s has a character at byte %zu that can't be seen", what, at);
    }
    return LMF_OK;
}

static lmf_status open_one(lmf_toolset *set, const char *spec)
{
    lmf_ctx *ctx = set->ctx;
    char *name = lmf_arena_strdup(&set->arena, spec), *argument;
    const lmf_tool *const *t = lmf__agent_tools();
    if (!name)
        return LMF_NO_MEMORY(ctx, strlen(spec), "a tool");
    if ((argument = strchr(name, ':')))
        *argument++ = 0;
    while (*t && strcmp((*t)->name, name))
        t++;
    if (!*t)
        return refuse_name(ctx, name);
    if (argument && !(*t)->argument)
        return LMF_FAIL(ctx, LMF_E_ARG, "the tool %s takes nothing behind a colon", name);
    if ((!argument || !*argument) && (*t)->needs_argument)
        return LMF_FAIL(ctx, LMF_E_ARG, "the tool %s is written %s:ARGUMENT: %s", name, name, (*t)->argument);
    if ((*t)->bring)
        return (*t)->bring(set, argument);
    lmf_tool_use use = { .tool = *t, .name = (*t)->name, .description = (*t)->description, .effect = (*t)->effect,
                         .is_private = (*t)->is_private, .timeout_s = (*t)->timeout_s };
    lmf_status s = LMF_OK;
    if ((*t)->schema && !(use.schema = json_loads((*t)->schema, JSON_REJECT_DUPLICATES, NULL)))
        s = LMF_FAIL(ctx, LMF_E_INTERNAL, "the tool %s: its own schema is no JSON", name);
    if (!s && (*t)->open)
        s = (*t)->open(&set->arena, argument, &use);
    if (s)
        json_decref(use.schema);
    else
        s = lmf__tools_add(set, &use);
    if (s && (*t)->close)
        (*t)->close(ctx, &use);
    return s;
}

static lmf_status check_only(lmf_toolset *set)
{
    for (int i = 0; i < set->opts.n_only; i++)
        if (!(set->seen_only >> i & 1))
            return LMF_FAIL(set->ctx, LMF_E_ARG, "there is no tool \"%.64s\" in what --mcp names, which --only chooses from",
                            set->opts.only[i]);
    return LMF_OK;
}

lmf_status lmf_tools_open(lmf_ctx *ctx, const char *const *spec, int n, lmf_toolset **out)
{
    return lmf_tools_open_with(ctx, spec, n, NULL, out);
}

lmf_status lmf_tools_open_with(lmf_ctx *ctx, const char *const *spec, int n, const lmf_tools_opts *opts, lmf_toolset **out)
{
    lmf_toolset *set = *out = lmf_new(ctx, lmf_toolset);
    lmf_status s = LMF_OK;
    if (!set)
        return LMF_NO_MEMORY(ctx, sizeof *set, "tools");
    set->ctx = ctx;
    set->opts = opts ? *opts : (lmf_tools_opts){ 0 };
    lmf_arena_init(&set->arena, ctx, 1 << 24);
    if (set->opts.n_only > 64)
        s = LMF_FAIL(ctx, LMF_E_LIMIT, "more than 64 names of tools that are wanted");
    for (int i = 0; i < n && !s; i++)
        s = open_one(set, spec[i]);
    if (!s)
        s = check_only(set);
    if (s) {
        lmf_tools_close(set);
        *out = NULL;
    }
    return s;
}

void lmf_tools_close(lmf_toolset *set)
{
    if (!set)
        return;
    for (int i = 0; i < set->n; i++) {
        if (set->item[i].tool->close)
            set->item[i].tool->close(set->ctx, &set->item[i]);
        json_decref(set->item[i].schema);
    }
    for (int i = set->n_kept; i-- > 0;)
        set->kept[i].close(set->ctx, set->kept[i].state);
    lmf_arena_clear(&set->arena);
    lmf_delete(set->ctx, set);
}

lmf_tool_use *lmf_tool_find(lmf_toolset *set, const char *name)
{
    for (int i = 0; i < set->n; i++)
        if (strcmp(set->item[i].name, name) == 0)
            return &set->item[i];
    return NULL;
}

json_t *lmf_tools_json(const lmf_toolset *set)
{
    json_t *list = json_array();
    for (int i = 0; list && i < set->n; i++) {
        const lmf_tool_use *u = &set->item[i];
        json_t *one = json_pack("{s:s, s:{s:s, s:s, s:O}}", "type", "function", "function", "name", u->name, "description", u->description,
                                "parameters", u->schema);
        if (!one || json_array_append_new(list, one)) {
            json_decref(list);
            return NULL;
        }
    }
    return list;
}

/* ---- running ---- */

/* text as UTF-8 in which nothing commands a terminal or turns its writing. */
static lmf_status put_plain(const char *p, size_t n, lmf_tool_result *r)
{
    for (size_t i = 0, k; i < n; i += k ? k : 1) {
        bool white = p[i] == '\n' || p[i] == '\t';
        k = white ? 1 : p[i] ? lmf_utf8_length(p + i, n - i) : 0;
        bool good = k && (white || !lmf_utf8_is_command(p + i, k));
        r->n_replaced += !good;
        lmf_buf_append(&r->text, good ? p + i : "\xef\xbf\xbd", good ? k : 3);
    }
    return r->text.status;
}

/* A character that the cap cut in two goes. */
static size_t whole(const char *p, size_t n)
{
    size_t i = n;
    while (i && n - i < 4 && ((unsigned char)p[i - 1] & 0xC0) == 0x80)
        i--;
    if (i && (unsigned char)p[i - 1] >= 0xC0 && !lmf_utf8_length(p + i - 1, n - i + 1))
        return i - 1;
    return n;
}

lmf_status lmf_tool_run(lmf_ctx *ctx, lmf_tool_use *use, const json_t *arguments, size_t cap, double until, lmf_tool_result *out)
{
    lmf_buf bytes;
    double start = lmf_tool_clock_now(), own = start + use->timeout_s;
    *out = (lmf_tool_result){ 0 };
    lmf_buf_init(&bytes, ctx, cap + 1);
    lmf_buf_init(&out->text, ctx, 3 * cap + 256);
    lmf_tool_out o = { .buf = &bytes, .cap = cap };
    lmf_status s = use->tool->run(ctx, use, arguments, own < until ? own : until, &o);
    out->failed = s != LMF_OK;
    out->seconds = lmf_tool_clock_now() - start;
    if (s != LMF_E_MEMORY && bytes.status != LMF_E_MEMORY) {
        const char *text = s ? lmf_error(ctx) : lmf_buf_str(&bytes);
        size_t n = s ? strlen(text) : bytes.n;
        bool cut = !s && o.n_all > bytes.n;
        s = put_plain(text, cut ? whole(text, n) : n, out);
        out->n_bytes = cut ? o.n_all : n;
        if (!s && cut)
            s = lmf_buf_printf(&out->text, "\n[cut: the first %zu of %zu bytes]", n, o.n_all);
    } else {
        s = LMF_E_MEMORY;
    }
    lmf_buf_clear(&bytes);
    if (s)
        lmf_tool_result_clear(out);
    return s ? LMF_NO_MEMORY(ctx, cap, "what a tool returned") : LMF_OK;
}

void lmf_tool_result_clear(lmf_tool_result *r) { lmf_buf_clear(&r->text); }
