/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: every byte that comes from a file passes lmf_html_text. */
#include "observe/report.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/arena.h"
#include "base/output.h"
#include "config/dialect.h"
#include "observe/svg.h"

enum { MAX_COLUMNS = 64, MAX_LINES = 1 << 22, WIDTH = 640, HEIGHT = 260 };

typedef struct column { char name[64]; double *x, *y; int64_t n; } column;
typedef struct page {
    lmf_ctx   *ctx;
    lmf_arena  arena;
    const lmf_report_in *in;
    column     column[MAX_COLUMNS];
    int        n_columns;
    int64_t    n_lines, n;       /* of the log; read so far */
    lmf_buf   *out;
} page;

/* ---- the log as columns ---- */
static column *column_of(page *p, const char *name)
{
    for (int i = 0; i < p->n_columns; i++)
        if (strcmp(p->column[i].name, name) == 0)
            return &p->column[i];
    if (p->n_columns == MAX_COLUMNS || strlen(name) >= sizeof p->column->name)
        return NULL;
    column *c = &p->column[p->n_columns];
    c->x = lmf_arena_array(&p->arena, (size_t)p->n_lines, sizeof *c->x);
    c->y = lmf_arena_array(&p->arena, (size_t)p->n_lines, sizeof *c->y);
    if (!c->x || !c->y)
        return NULL;
    snprintf(c->name, sizeof c->name, "%s", name);
    p->n_columns++;
    return c;
}

static void add(page *p, const char *name, double x, double y)
{
    column *c = column_of(p, name);
    if (c && c->n < p->n_lines)
        c->x[c->n] = x, c->y[c->n++] = y;
}

static void take_line(page *p, const json_t *line)
{
    const json_t *step = json_object_get(line, "step"), *v;
    const char *key;
    if (!json_is_integer(step))
        return;
    p->n++;
    json_object_foreach((json_t *)(uintptr_t)line, key, v)
        if (strcmp(key, "step"))
            add(p, key, json_number_value(step), json_is_number(v) ? json_number_value(v) : NAN);
}

static lmf_status read_log(page *p)
{
    const char *log = p->in->log;
    size_t n = p->in->n_log;
    for (size_t i = 0; i < n; i++)
        p->n_lines += log[i] == '\n';
    p->n_lines++;
    if (p->n_lines > MAX_LINES)
        return LMF_FAIL(p->ctx, LMF_E_LIMIT, "the log has more than %d lines", MAX_LINES);
    for (size_t at = 0, len; at < n; at += len + 1) {
        const char *end = memchr(log + at, '\n', n - at);
        len = end ? (size_t)(end - log) - at : n - at;
        json_t *line = json_loadb(log + at, len, 0, NULL);
        take_line(p, line);
        json_decref(line);
    }
    return p->n ? LMF_OK : LMF_FAIL(p->ctx, LMF_E_FORMAT, "the log of this run holds no step");
}

static const column *find(const page *p, const char *name)
{
    for (int i = 0; i < p->n_columns; i++)
        if (strcmp(p->column[i].name, name) == 0)
            return &p->column[i];
    return NULL;
}

/* ---- charts ---- */
/* An exponential mean with a weight that gives the first values their share. */
static double *smoothed(page *p, const column *c)
{
    double *y = lmf_arena_array(&p->arena, (size_t)c->n + 1, sizeof *y);
    double sum = 0, weight = 0, keep = c->n > 400 ? 0.97 : c->n > 100 ? 0.85 : 0.6;
    for (int64_t i = 0; y && i < c->n; i++) {
        if (isfinite(c->y[i]))
            sum = keep * sum + c->y[i], weight = keep * weight + 1;
        y[i] = weight > 0 ? sum / weight : NAN;
    }
    return y;
}

static void chart(page *p, const char *title, const lmf_svg_series *s, int n)
{
    lmf_buf_puts(p->out, "<figure>");
    lmf_svg_chart(p->out, &(lmf_svg_opts){ title, "step", WIDTH, HEIGHT }, s, n);
    lmf_buf_puts(p->out, "</figure>\n");
}

static void plain_chart(page *p, const char *title, const char *name)
{
    const column *c = find(p, name);
    if (c)
        chart(p, title, &(lmf_svg_series){ name, c->x, c->y, c->n, false }, 1);
}

static void loss_chart(page *p)
{
    const column *loss = find(p, "loss"), *eval = find(p, "eval_loss");
    const double *y = loss ? smoothed(p, loss) : NULL;
    lmf_svg_series s[3];
    int n = 0;
    if (!y)
        return;
    s[n++] = (lmf_svg_series){ "each logged step", loss->x, loss->y, loss->n, true };
    s[n++] = (lmf_svg_series){ "smoothed", loss->x, y, loss->n, false };
    if (eval)
        s[n++] = (lmf_svg_series){ "held out", eval->x, eval->y, eval->n, false };
    chart(p, "Loss", s, n);
}

/* Tokens a second between two lines of the log. */
static void speed_chart(page *p)
{
    const column *tok = find(p, "tokens"), *seconds = find(p, "seconds");
    if (!tok || !seconds || tok->n != seconds->n || tok->n < 2)
        return;
    double *y = lmf_arena_array(&p->arena, (size_t)tok->n, sizeof *y);
    for (int64_t i = 1; y && i < tok->n; i++) /* the clock begins anew where a run was resumed */
        y[i - 1] = seconds->y[i] > seconds->y[i - 1] ? (tok->y[i] - tok->y[i - 1]) / (seconds->y[i] - seconds->y[i - 1]) : NAN;
    if (y)
        chart(p, "Tokens a second", &(lmf_svg_series){ "tokens a second", tok->x + 1, y, tok->n - 1, false }, 1);
}

static void memory_chart(page *p)
{
    const column *rss = find(p, "rss_bytes");
    double *y = rss ? lmf_arena_array(&p->arena, (size_t)rss->n + 1, sizeof *y) : NULL;
    for (int64_t i = 0; y && i < rss->n; i++)
        y[i] = rss->y[i] / 1e6;
    if (y)
        chart(p, "Memory of the process, MB", &(lmf_svg_series){ "resident", rss->x, y, rss->n, false }, 1);
}

/* What an objective reports has a chart of its own, beside its counterpart on the held-out rows. */
static void other_charts(page *p)
{
    static const char *const known[] = { "loss", "eval_loss", "epoch", "learning_rate", "grad_norm", "tokens", "seconds", "clock_unix",
                                         "unix_time",
        "rss_bytes", NULL };
    for (int i = 0; i < p->n_columns; i++) {
        const column *c = &p->column[i];
        char eval[80];
        bool seen = strncmp(c->name, "eval_", 5) == 0;
        for (const char *const *k = known; *k; k++)
            seen |= strcmp(*k, c->name) == 0;
        if (seen)
            continue;
        snprintf(eval, sizeof eval, "eval_%s", c->name);
        const column *e = find(p, eval);
        lmf_svg_series s[] = { { "training", c->x, c->y, c->n, false },
                               { "held out", e ? e->x : NULL, e ? e->y : NULL, e ? e->n : 0, false } };
        chart(p, c->name, s, e ? 2 : 1);
    }
}

/* ---- tables ---- */
static void put_value(page *p, const json_t *v)
{
    char text[64];
    if (json_is_string(v)) {
        lmf_html_text(p->out, json_string_value(v));
        return;
    }
    if (json_is_integer(v))
        snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
    else if (json_is_real(v))
        snprintf(text, sizeof text, "%.6g", json_real_value(v));
    else
        snprintf(text, sizeof text, "%s", json_is_true(v) ? "yes" : json_is_false(v) ? "no" : "");
    lmf_buf_puts(p->out, text);
}

static void put_data(page *p, const char *title, const json_t *files)
{
    static const struct { const char *key, *title; } keys[] = { { "path", "file" }, { "form", "form" }, { "weight", "times an epoch" },
                                                                { "usable_rows", "rows" },
        { "bad_rows", "left out: bad" }, { "rows_left_out_for_length", "too long" }, { "rows_truncated", "cut" }, { "duplicates",
            "doubles" },
        { "empty_answers", "empty" }, { "tokens", "tokens" }, { "trained_tokens", "trained" }, { "sha256", "sha256" } };
    size_t n_keys = sizeof keys / sizeof *keys, i;
    const json_t *f;
    if (json_array_size(files) == 0)
        return;
    lmf_buf_printf(p->out, "<h2>%s</h2>\n<div class=\"wide\"><table><tr>", title);
    for (size_t k = 0; k < n_keys; k++)
        lmf_buf_printf(p->out, "<th>%s</th>", keys[k].title);
    lmf_buf_puts(p->out, "</tr>\n");
    json_array_foreach((json_t *)(uintptr_t)files, i, f) {
        lmf_buf_puts(p->out, "<tr>");
        for (size_t k = 0; k < n_keys; k++) {
            lmf_buf_printf(p->out, "<td%s>", k + 1 == n_keys ? " class=\"hash\"" : "");
            put_value(p, json_object_get(f, keys[k].key));
            lmf_buf_puts(p->out, "</td>");
        }
        lmf_buf_puts(p->out, "</tr>\n");
    }
    lmf_buf_puts(p->out, "</table></div>\n");
}

/* The settings, a line "name: value" each. */
static void put_config(page *p)
{
    const char *text = p->in->config;
    size_t n = p->in->n_config;
    if (!n)
        return;
    lmf_buf_puts(p->out, "<h2>Settings</h2>\n<table class=\"settings\">\n");
    for (size_t at = 0, len; at < n; at += len + 1) {
        const char *end = memchr(text + at, '\n', n - at), *colon;
        char line[4096];
        len = end ? (size_t)(end - text) - at : n - at;
        if (text[at] == '#' || !(colon = memmem(text + at, len, ": ", 2)))
            continue;
        snprintf(line, sizeof line, "%.*s", (int)(colon - text - (ptrdiff_t)at), text + at);
        lmf_buf_puts(p->out, "<tr><td>");
        lmf_html_text(p->out, line);
        lmf_buf_puts(p->out, "</td><td>");
        snprintf(line, sizeof line, "%.*s", (int)(text + at + len - colon - 2), colon + 2);
        lmf_html_text(p->out, line);
        lmf_buf_puts(p->out, "</td></tr>\n");
    }
    lmf_buf_puts(p->out, "</table>\n");
}

static double last_of(const page *p, const char *name, bool first)
{
    const column *c = find(p, name);
    for (int64_t k = 0; c && k < c->n; k++) {
        int64_t i = first ? k : c->n - 1 - k;
        if (isfinite(c->y[i]))
            return c->y[i];
    }
    return NAN;
}

/* "114,000", "0.0297", "4.4 s", "1 h 02 min". */
static const char *count_text(double x, char *text, size_t n)
{
    char digits[40];
    int len = snprintf(digits, sizeof digits, "%.0f", x), k = 0;
    if (!(fabs(x) >= 1000 && fabs(x) < 1e15)) {
        snprintf(text, n, "%.4g", x);
        return text;
    }
    for (int i = 0; i < len && k + 2 < (int)n; i++) {
        text[k++] = digits[i];
        if ((len - 1 - i) % 3 == 0 && i + 1 < len && digits[i] != '-')
            text[k++] = ',';
    }
    text[k] = 0;
    return text;
}

static const char *time_text(double seconds, char *text, size_t n)
{
    if (seconds < 120)
        snprintf(text, n, "%.3g s", seconds);
    else if (seconds < 7200)
        snprintf(text, n, "%.0f min", seconds / 60);
    else
        snprintf(text, n, "%.0f h %02.0f min", floor(seconds / 3600), floor(fmod(seconds, 3600) / 60));
    return text;
}

static void text_tile(page *p, const char *name, const char *text)
{
    lmf_buf_printf(p->out, "<div class=\"tile\"><b>%s</b><span>%s</span></div>\n", text, name);
}

static void count_tile(page *p, const char *name, double x)
{
    char text[64];
    if (isfinite(x))
        text_tile(p, name, count_text(x, text, sizeof text));
}

static void tile(page *p, const char *name, const char *fmt, double a, double b)
{
    char text[96];
    if (!isfinite(a) || !isfinite(b))
        return;
    snprintf(text, sizeof text, fmt, a, b);
    text_tile(p, name, text);
}

static void put_tiles(page *p, const json_t *facts)
{
    const column *loss = find(p, "loss"), *seconds = find(p, "seconds");
    double total = 0;
    char text[64];
    for (int64_t i = 0; seconds && i < seconds->n; i++) /* of all parts of a resumed run */
        if (i + 1 == seconds->n || !(seconds->y[i + 1] > seconds->y[i]))
            total += seconds->y[i];
    lmf_buf_puts(p->out, "<section class=\"tiles\">\n");
    if (loss && loss->n)
        tile(p, "steps", "%.0f of %.0f", loss->x[loss->n - 1], json_number_value(json_object_get(facts, "steps")) > 0 ?
             json_number_value(json_object_get(facts, "steps")) : loss->x[loss->n - 1]);
    tile(p, "loss", "%.4g \342\206\222 %.4g", last_of(p, "loss", true), last_of(p, "loss", false));
    tile(p, "held-out loss", "%.4g \342\206\222 %.4g", last_of(p, "eval_loss", true), last_of(p, "eval_loss", false));
    count_tile(p, "tokens", last_of(p, "tokens", false));
    if (total > 0) {
        text_tile(p, "time", time_text(total, text, sizeof text));
        count_tile(p, "tokens a second", last_of(p, "tokens", false) / total);
    }
    if (json_is_number(json_object_get(facts, "trained_parameters")))
        count_tile(p, "trained weights", json_number_value(json_object_get(facts, "trained_parameters")));
    if (json_is_number(json_object_get(facts, "planned_bytes")))
        count_tile(p, "MB planned", round(json_number_value(json_object_get(facts, "planned_bytes")) / 1e5) / 10);
    lmf_buf_puts(p->out, "</section>\n");
}

static const char style[] =
    "<style>"
    ":root{color-scheme:light dark;--bg:#fff;--fg:#1c1c1e;--dim:#6b6b70;--grid:#e6e6ea;--card:#f6f6f8;--l0:#2563eb;"
    "--l1:#d97706;--l2:#059669;--l3:#7c3aed}\n"
    "@media(prefers-color-scheme:dark){:root{--bg:#141416;--fg:#ececf0;--dim:#9a9aa2;--grid:#2c2c32;--card:#1e1e22;"
    "--l0:#60a5fa;--l1:#fbbf24;--l2:#34d399;--l3:#a78bfa}}\n"
    "body{margin:0 auto;padding:24px;max-width:1360px;background:var(--bg);color:var(--fg);font:15px/1.5 system-ui,"
    "sans-serif}\n"
    "h1{font-size:24px;margin:0 0 4px}\n"
    "h2{font-size:18px;margin:32px 0 8px}\n"
    "p{color:var(--dim);margin:0 0 16px}\n"
    ".tiles{display:flex;flex-wrap:wrap;gap:12px;margin:16px 0}\n"
    ".tile{background:var(--card);border-radius:8px;padding:10px 16px}\n"
    ".tile b{display:block;font-size:19px}\n"
    ".tile span{color:var(--dim);font-size:13px}\n"
    ".charts{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,480px),1fr));gap:16px}\n"
    "figure{margin:0;background:var(--card);border-radius:8px;padding:8px}\n"
    "figure:empty{display:none}\n"
    "svg{width:100%;height:auto;display:block}\n"
    ".grid{stroke:var(--grid)}\n"
    ".axis{stroke:var(--dim);fill:none}\n"
    ".line{fill:none;stroke-width:1.8;stroke-linejoin:round}\n"
    ".faint{opacity:.35}\n"
    "text{fill:var(--dim);font:12px system-ui,sans-serif}\n"
    ".title{fill:var(--fg);font-size:14px;font-weight:600}\n"
    ".legend{font-weight:600}\n"
    "path.l0,circle.l0{stroke:var(--l0)}\n"
    "path.l1,circle.l1{stroke:var(--l1)}\n"
    "path.l2,circle.l2{stroke:var(--l2)}\n"
    "path.l3,circle.l3{stroke:var(--l3)}\n"
    "text.l0{fill:var(--l0)}\n"
    "text.l1{fill:var(--l1)}\n"
    "text.l2{fill:var(--l2)}\n"
    "text.l3{fill:var(--l3)}\n"
    ".wide{overflow-x:auto}\n"
    "table{border-collapse:collapse;font-size:13px}\n"
    "td,th{border-bottom:1px solid var(--grid);padding:4px 12px 4px 0;text-align:left;vertical-align:top}\n"
    ".settings td:first-child{color:var(--dim)}\n"
    ".settings td{overflow-wrap:anywhere}\n"
    ".hash{font:11px monospace;overflow-wrap:anywhere;min-width:200px}\n"
    "</style>\n";

static lmf_status put_page(page *p, const json_t *facts)
{
    lmf_buf_puts(p->out, "<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>");
    lmf_html_text(p->out, p->in->name);
    lmf_buf_printf(p->out, "</title>\n%s</head><body>\n<h1>", style);
    lmf_html_text(p->out, p->in->name);
    lmf_buf_puts(p->out, "</h1>\n<p>");
    const char *model = json_string_value(json_object_get(facts, "model")), *what = json_string_value(json_object_get(facts, "method"));
    if (model) {
        lmf_html_text(p->out, what ? what : "training");
        lmf_buf_puts(p->out, " on ");
        lmf_html_text(p->out, model);
        lmf_buf_puts(p->out, ", LMFast ");
        const char *version = json_string_value(json_object_get(facts, "version"));
        lmf_html_text(p->out, version ? version : "");
    }
    lmf_buf_puts(p->out, "</p>\n");
    put_tiles(p, facts);
    lmf_buf_puts(p->out, "<section class=\"charts\">\n");
    loss_chart(p);
    plain_chart(p, "Gradient norm", "grad_norm");
    plain_chart(p, "Learning rate", "learning_rate");
    speed_chart(p);
    memory_chart(p);
    other_charts(p);
    lmf_buf_puts(p->out, "</section>\n");
    put_data(p, "Data that were trained on", json_object_get(facts, "data"));
    put_data(p, "Data that were measured", json_object_get(facts, "eval_data"));
    put_config(p);
    return lmf_buf_puts(p->out, "</body></html>\n");
}

lmf_status lmf_report_html(lmf_ctx *ctx, const lmf_report_in *in, lmf_buf *out)
{
    lmf_buf body;
    page *p = lmf_new(ctx, page);
    if (!p)
        return LMF_NO_MEMORY(ctx, sizeof *p, "a report");
    lmf_buf_init(&body, ctx, (size_t)1 << 28);
    *p = (page){ .ctx = ctx, .in = in, .out = &body };
    lmf_arena_init(&p->arena, ctx, LMF_POWER2(32));
    size_t n_facts;
    const char *text = in->n_config ? lmf_config_facts(in->config, in->n_config, &n_facts) : NULL;
    json_t *facts = text ? json_loadb(text, n_facts, 0, NULL) : NULL;
    lmf_status s = read_log(p);
    if (!s)
        s = put_page(p, facts);
    if (!s)
        s = lmf_output_seal(ctx, LMF_REPORT_BEGIN, " -->", lmf_buf_str(&body), body.n, out);
    json_decref(facts);
    lmf_arena_clear(&p->arena);
    lmf_buf_clear(&body);
    lmf_delete(ctx, p);
    return s;
}
