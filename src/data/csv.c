/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a field is what stands between separators, quotes taken off and doubled ones made one; nothing else is changed, no blank is cut. */
#include <stdio.h>
#include <string.h>
#include "data/formats.h"

enum { MAX_COLUMNS = 256 };

typedef struct csv {
    lmf_ctx    *ctx;
    const char *name, *text;
    size_t      n, at;
    int64_t     line;
    char        separator;
    lmf_buf     field;
} csv;

/* What the first line has most of outside of quotes; a comma where it has none. */
static char find_separator(const char *text, size_t n)
{
    static const char marks[] = ",;\t|";
    size_t count[4] = { 0 }, best = 0;
    bool quoted = false;
    for (size_t i = 0; i < n && (quoted || (text[i] != '\n' && text[i] != '\r')); i++) {
        const char *m = text[i] ? strchr(marks, text[i]) : NULL;
        quoted ^= text[i] == '"';
        if (m && !quoted)
            count[m - marks]++;
    }
    for (size_t i = 1; i < 4; i++)
        best = count[i] > count[best] ? i : best;
    return marks[best];
}

static bool is_end(const csv *c) { return c->at >= c->n || c->text[c->at] == '\n' || c->text[c->at] == '\r'; }

static lmf_status quoted_field(csv *c)
{
    int64_t begin = c->line;
    for (c->at++; c->at < c->n; c->at++) {
        char x = c->text[c->at];
        if (x == '"' && c->at + 1 < c->n && c->text[c->at + 1] == '"') {
            c->at++;
        } else if (x == '"') {
            c->at++;
            if (!is_end(c) && c->text[c->at] != c->separator)
                return LMF_FAIL(c->ctx, LMF_E_FORMAT, "%s, line %lld: something follows behind a closing quote", c->name,
                    (long long)c->line);
            return LMF_OK;
        }
        c->line += x == '\n';
        LMF_TRY(lmf_buf_putc(&c->field, x));
    }
    return LMF_FAIL(c->ctx, LMF_E_FORMAT, "%s, line %lld: a quote opens here and does not close", c->name, (long long)begin);
}

/* One field into c->field; *last: it ends its record. */
static lmf_status next_field(csv *c, bool *last)
{
    lmf_buf_truncate(&c->field, 0);
    if (c->at < c->n && c->text[c->at] == '"')
        LMF_TRY(quoted_field(c));
    else
        for (; !is_end(c) && c->text[c->at] != c->separator; c->at++)
            LMF_TRY(lmf_buf_putc(&c->field, c->text[c->at]));
    *last = is_end(c);
    if (!*last)
        c->at++;
    return LMF_OK;
}

static void skip_line_end(csv *c)
{
    c->at += c->at < c->n && c->text[c->at] == '\r';
    if (c->at < c->n && c->text[c->at] == '\n') {
        c->at++;
        c->line++;
    }
}

/* The names, as JSON texts behind each other; where each begins. */
static lmf_status read_names(csv *c, lmf_buf *names, size_t *begin, int *n)
{
    for (bool last = false; !last; (*n)++) {
        if (*n == MAX_COLUMNS)
            return LMF_FAIL(c->ctx, LMF_E_LIMIT, "%s has more than %d columns", c->name, MAX_COLUMNS);
        begin[*n] = names->n;
        LMF_TRY(next_field(c, &last));
        LMF_TRY(lmf_buf_put_quoted(names, c->field.data ? c->field.data : "", c->field.n));
    }
    begin[*n] = names->n;
    skip_line_end(c);
    return LMF_OK;
}

static lmf_status read_record(csv *c, const lmf_buf *names, const size_t *begin, int n_columns, lmf_buf *out)
{
    int64_t line = c->line;
    int n = 0;
    lmf_buf_putc(out, '{');
    for (bool last = false; !last; n++) {
        LMF_TRY(next_field(c, &last));
        if (n >= n_columns)
            continue;
        lmf_buf_puts(out, n ? ", " : "");
        lmf_buf_append(out, names->data + begin[n], begin[n + 1] - begin[n]);
        lmf_buf_puts(out, ": ");
        LMF_TRY(lmf_buf_put_quoted(out, c->field.data ? c->field.data : "", c->field.n));
    }
    if (n != n_columns)
        return LMF_FAIL(c->ctx, LMF_E_FORMAT, "%s, line %lld: %d fields, where the first line has %d names (parted by \"%s\")", c->name,
                        (long long)line, n, n_columns, c->separator == '\t' ? "\\t" : (char[]){ c->separator, 0 });
    skip_line_end(c);
    return lmf_buf_puts(out, "}\n");
}

lmf_status lmf_rows_from_csv(lmf_ctx *ctx, const char *name, const char *text, size_t n, lmf_buf *out)
{
    csv c = { .ctx = ctx, .name = name, .text = text, .n = n, .line = 1, .separator = find_separator(text, n) };
    lmf_buf names;
    size_t begin[MAX_COLUMNS + 1];
    int n_columns = 0;
    lmf_buf_init(&c.field, ctx, SIZE_MAX / 8);
    lmf_buf_init(&names, ctx, 1 << 20);
    lmf_status s = n ? read_names(&c, &names, begin, &n_columns) : LMF_OK;
    while (!s && c.at < n) {
        if (is_end(&c)) /* an empty line */
            skip_line_end(&c);
        else
            s = read_record(&c, &names, begin, n_columns, out);
    }
    lmf_buf_clear(&names);
    lmf_buf_clear(&c.field);
    return s;
}
