/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: every setting of a document ends in one of three ways: a field takes it, a table says that it changes nothing, or it is refused. */
#include "config/dialect.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/output.h"
#include "base/plain.h"

enum { MAX_NAMES = 1024, MAX_FIELDS = 256 };

/* Blocks that only group. */
static const char *const blocks[] = { "model", "data", "dataset", "training", "train", "trainer", "lora", "peft", "optim", "optimizer",
    "slm",
    "logging", "checkpoint", "evaluation" };

/* "datasets.*.path" is "datasets.12.path"; i_item gets 12. "fsdp_config.**" is all that lies below. */
static bool matches(const char *key, const char *path, int *i_item)
{
    for (; *key; key++) {
        if (strcmp(key, "**") == 0)
            return *path != 0;
        if (*key != '*') {
            if (*key != *path++)
                return false;
            continue;
        }
        size_t n = strspn(path, "0123456789");
        if (n == 0 || n > 6)
            return false;
        *i_item = 0;
        for (size_t k = 0; k < n; k++)
            *i_item = *i_item * 10 + path[k] - '0';
        path += n;
    }
    return *path == 0;
}

/* A key that takes a list, at one of its items: "target_modules.0". */
static bool matches_item(const char *key, const char *path, int *i_item)
{
    size_t n = strlen(key);
    return strncmp(key, path, n) == 0 && path[n] == '.' && matches("*", path + n + 1, i_item);
}

static bool in_words(const char *words, const char *text, size_t n)
{
    for (const char *p = words; p && *p; p += strcspn(p, "|"), p += *p == '|') {
        size_t k = strcspn(p, "|");
        if ((k == 1 && *p == '*') || (k == n && strncmp(p, text, n) == 0))
            return true;
    }
    return false;
}

/* Items of a LIST that are put together from several keys. */
typedef struct assembly { const lmf_flag *field; const char *text[LMF_MAX_TEXTS], *options[LMF_MAX_TEXTS]; int n; } assembly;
enum { MAX_ASSEMBLIES = 4 };

typedef struct reader {
    lmf_ctx         *ctx;
    lmf_document    *d;
    const lmf_flag  *fields, *others;
    void            *args;
    uint8_t         *seen;
    const char      *by[MAX_FIELDS]; /* the key that set a field */
    int              by_line[MAX_FIELDS];
    lmf_buf         *notes;
    assembly         parts[MAX_ASSEMBLIES];
} reader;

typedef struct found { const lmf_dialect_row *row; const lmf_flag *field; int i_item; bool item, other; } found;

static bool find_row(const reader *r, const char *path, found *out)
{
    for (const lmf_dialect *const *d = r->ctx->tables->dialects; *d; d++)
        for (const lmf_dialect_row *row = (*d)->rows; row->key; row++) {
            bool item = row->join && matches_item(row->key, path, &out->i_item);
            if (item || matches(row->key, path, &out->i_item)) {
                out->row = row;
                out->item = item;
                out->field = row->field ? lmf_flag_find(r->fields, row->field, strlen(row->field)) : NULL;
                out->other = row->field && !out->field && lmf_flag_find(r->others, row->field, strlen(row->field));
                return true;
            }
        }
    return false;
}

static bool find_field(const reader *r, const char *path, found *out)
{
    const char *dot = strchr(path, '.');
    size_t n = dot ? (size_t)(dot - path) : strlen(path);
    const lmf_flag *f = lmf_flag_find(r->fields, path, n);
    out->other = !f;
    f = f ? f : lmf_flag_find(r->others, path, n);
    if (!f || f->line_only || (dot && (f->kind != LMF_FLAG_LIST || !matches("*", dot + 1, &out->i_item))))
        return false;
    out->field = f;
    out->item = dot != NULL;
    return true;
}

/* Behind the name of a block that only groups; NULL: there is none. */
static const char *behind_block(const char *path)
{
    for (size_t i = 0; i < sizeof blocks / sizeof *blocks; i++) {
        size_t n = strlen(blocks[i]);
        if (strncmp(path, blocks[i], n) == 0 && path[n] == '.')
            return path + n + 1;
    }
    return NULL;
}

static bool find(const reader *r, const char *path, found *out)
{
    const char *inner = behind_block(path);
    *out = (found){ 0 };
    return find_row(r, path, out) || find_field(r, path, out) || (inner && find(r, inner, out));
}

/* ---- sentences ---- */
static const char *last_name(const char *path)
{
    const char *name = path;
    for (const char *p = path; *p; p++)
        if (*p == '.' && !(p[1] >= '0' && p[1] <= '9'))
            name = p + 1;
    return name;
}

static lmf_status unknown(const reader *r, const lmf_setting *s)
{
    const char *names[MAX_NAMES];
    char plain[128], where[256];
    int n = 0;
    for (const lmf_flag *f = r->fields; f->name && n < MAX_NAMES; f++)
        if (!f->line_only)
            names[n++] = f->name;
    for (const lmf_dialect *const *d = r->ctx->tables->dialects; *d; d++)
        for (const lmf_dialect_row *row = (*d)->rows; row->key && n < MAX_NAMES; row++)
            names[n++] = row->field || row->why ? last_name(row->key) : row->key;
    const char *near = lmf_nearest(last_name(s->path), names, n);
    lmf_plain_text(s->path, plain, sizeof plain);
    char shown[64] = "";
    for (int i = 0; near && near[i] && i < 63; i++)
        shown[i] = near[i] == '-' ? '_' : near[i], shown[i + 1] = 0;
    return LMF_FAIL(r->ctx, LMF_E_ARG, "%s: unknown key %s%s%s%s", lmf__document_where(r->d, s->line, where, sizeof where), plain,
                    near ? "; did you mean " : "; lmfast help lists the settings of each command", shown, near ? "?" : "");
}

/* The words that a row takes, those with a meaning and those that change nothing, as "a|b|c"; *named: `text` has a place in its map,
 * though perhaps without a word of ours. Returns how many there are. */
static int words_of(const lmf_dialect_row *row, const char *text, char *list, size_t size, const char **names, int most, bool *named)
{
    const char *all[] = { row->map, row->ignore };
    size_t at = 0;
    int n = 0;
    *named = false;
    for (int k = 0; k < 2; k++)
        for (const char *p = all[k]; p && *p; p += strcspn(p, "|"), p += *p == '|') {
            size_t end = strcspn(p, "|"), word = k ? end : strcspn(p, "=");
            *named |= word == strlen(text) && strncmp(p, text, word) == 0;
            if ((!k && end <= word + 1) || n == most || at + word + 2 > size)
                continue;
            names[n++] = list + at;
            memcpy(list + at, p, word);
            list[at + word] = '|';
            at += word + 1;
        }
    list[at ? at - 1 : 0] = 0;
    return n;
}

static lmf_status unsupported(const reader *r, const lmf_setting *s, const char *text, const lmf_dialect_row *row)
{
    enum { MOST = 64 };
    char where[256], value[64], list[512], word[512];
    const char *names[MOST], *why = row->why ? row->why : "";
    bool named;
    int n = words_of(row, text, list, sizeof list, names, MOST, &named);
    lmf__document_where(r->d, s->line, where, sizeof where);
    lmf_plain_text(text, value, sizeof value);
    if (named || !row->map)
        return LMF_FAIL(r->ctx, LMF_E_UNSUPPORTED, "%s: %.100s: %s is not supported%s%s", where, s->path, value, why[0] ? ": " : "", why);
    memcpy(word, list, sizeof word);
    for (char *p = word; (p = strchr(p, '|')); )
        *p++ = 0;
    for (int i = 0; i < n; i++)
        names[i] = word + (names[i] - list);
    const char *near = lmf_nearest(text, names, n);
    return LMF_FAIL(r->ctx, LMF_E_ARG, "%s: %.100s is \"%s\", but must be one of %s%s%s%s%s%s", where, s->path, value, list,
                    near ? "; did you mean " : "", near ? near : "", near ? "?" : "", why[0] ? near ? " " : ": " : "", why);
}

/* ---- values ---- */
/* The word of ours for theirs: NULL where the map has none. */
static const char *translate(reader *r, const lmf_dialect_row *row, const char *text, lmf_status *s)
{
    size_t n = strlen(text);
    *s = LMF_OK;
    for (const char *p = row->map; p && *p; p += strcspn(p, "|"), p += *p == '|') {
        size_t k = strcspn(p, "="), end = strcspn(p, "|");
        if (end == 3 && strncmp(p, "*=*", 3) == 0)
            return text;
        if (k != n || strncmp(p, text, n))
            continue;
        const char *ours = end > k + 1 ? lmf_arena_strndup(r->d->arena, p + k + 1, end - k - 1) : NULL;
        if (!ours && end > k + 1)
            *s = LMF_NO_MEMORY(r->ctx, end, "a configuration");
        return ours;
    }
    return row->map ? NULL : text;
}

/* A field for a setting. What --set says wins over the file, also under another name. */
static lmf_status claim(reader *r, const lmf_setting *s, const lmf_flag *f)
{
    int i = (int)(f - r->fields);
    char where[256];
    bool list = f->kind == LMF_FLAG_LIST, wins = r->by[i] && s->line == LMF_LINE_SET && r->by_line[i] != LMF_LINE_SET;
    if (list && (wins || !r->by[i])) /* what was there before this document goes */
        ((lmf_texts *)(void *)((char *)r->args + f->offset))->n = 0;
    if (r->by[i] && !wins && !list)
        return LMF_FAIL(r->ctx, LMF_E_ARG, "%s: %.100s and %.100s both give %s: which of them is it?",
                        lmf__document_where(r->d, s->line, where, sizeof where), r->by[i], s->path, f->name);
    r->by[i] = s->path;
    r->by_line[i] = s->line;
    r->seen[i] = 1;
    return LMF_OK;
}

/* The rest of a list that becomes one text, from setting i on; all that it took are passed over by the caller through *taken. */
static lmf_status joined(reader *r, int i, const lmf_dialect_row *row, const char **out, int *taken)
{
    const lmf_setting *s = r->d->items;
    size_t n = strlen(s[i].path) - strlen(strrchr(s[i].path, '.'));
    char between[2] = { row->join, 0 };
    const char *all = "";
    for (*taken = 0; i + *taken < r->d->n; (*taken)++) {
        const lmf_setting *t = &s[i + *taken];
        if (strncmp(t->path, s[i].path, n) || t->path[n] != '.' || strchr(t->path + n + 1, '.') || !t->text)
            break;
        if (!(all = lmf_arena_printf(r->d->arena, "%s%s%s", all, *taken ? between : "", t->text)))
            return LMF_NO_MEMORY(r->ctx, 64, "a configuration");
    }
    *out = all;
    return LMF_OK;
}

static lmf_status take_part(reader *r, const char *as, const found *f, const char *text)
{
    assembly *a = r->parts;
    while (a->field && a->field != f->field && a < r->parts + MAX_ASSEMBLIES - 1)
        a++;
    if (f->i_item >= LMF_MAX_TEXTS)
        return LMF_FAIL(r->ctx, LMF_E_LIMIT, "%s: at most %d are possible", as, LMF_MAX_TEXTS);
    a->field = f->field;
    a->n = f->i_item >= a->n ? f->i_item + 1 : a->n;
    const char **at = f->row->part[0] ? &a->options[f->i_item] : &a->text[f->i_item];
    *at = f->row->part[0] ? lmf_arena_printf(r->d->arena, "%s%c%s=%s", *at ? *at : "", *at ? ',' : ':', f->row->part, text) : text;
    return *at ? LMF_OK : LMF_NO_MEMORY(r->ctx, 64, "a configuration");
}

static lmf_status put_parts_together(reader *r)
{
    for (const assembly *a = r->parts; a < r->parts + MAX_ASSEMBLIES && a->field; a++)
        for (int i = 0; i < a->n; i++) {
            if (!a->text[i] && !a->options[i])
                continue;
            if (!a->text[i])
                return LMF_FAIL(r->ctx, LMF_E_ARG, "%s: item %d of what gives %s has %s, and no path", r->d->name, i, a->field->name,
                                a->options[i] + 1);
            const char *whole = lmf_arena_printf(r->d->arena, "%s%s", a->text[i], a->options[i] ? a->options[i] : "");
            if (!whole)
                return LMF_NO_MEMORY(r->ctx, 64, "a configuration");
            LMF_TRY(lmf_flag_set(r->ctx, a->field, a->field->name, whole, r->args));
        }
    return LMF_OK;
}

static lmf_status take(reader *r, int i, int *taken)
{
    const lmf_setting *s = &r->d->items[i];
    const char *text = s->text;
    char where[256], as[400];
    found f;
    lmf_status st;
    *taken = 1;
    if (!find(r, s->path, &f))
        return unknown(r, s);
    if (!text || f.other)
        return LMF_OK; /* not given: the default stays */
    if (f.item && f.row)
        LMF_TRY(joined(r, i, f.row, &text, taken));
    lmf__document_where(r->d, s->line, where, sizeof where);
    snprintf(as, sizeof as, "%s: %.100s", where, s->path);
    bool ignored = f.row && in_words(f.row->ignore, text, strlen(text));
    const char *given = text;
    if (f.row && !ignored && (!f.row->field || (f.row->map && !(text = translate(r, f.row, text, &st)))))
        return f.row->field && st ? st : unsupported(r, s, given, f.row);
    if (f.row && f.row->note && r->notes)
        LMF_TRY(lmf_buf_printf(r->notes, "%s: %s\n", as, f.row->note));
    if (ignored)
        return LMF_OK;
    if (!f.field)
        return LMF_FAIL(r->ctx, LMF_E_ARG, "%s: %.100s: this command has no setting %s", where, s->path, f.row->field);
    LMF_TRY(claim(r, s, f.field));
    if (f.row && f.row->part)
        return take_part(r, as, &f, text);
    return lmf_flag_set(r->ctx, f.field, as, text, r->args);
}

lmf_status lmf_config_apply(lmf_ctx *ctx, lmf_document *d, const lmf_flag *fields, const lmf_flag *others, uint8_t *seen, void *args,
                            lmf_buf *notes)
{
    reader r = { .ctx = ctx, .d = d, .fields = fields, .others = others, .args = args, .seen = seen, .notes = notes };
    int n = 0;
    while (fields[n].name)
        n++;
    if (n > MAX_FIELDS)
        return LMF_FAIL(ctx, LMF_E_INTERNAL, "a command has more than %d settings", MAX_FIELDS);
    for (int i = 0, taken; i < d->n; i += taken)
        LMF_TRY(take(&r, i, &taken));
    return put_parts_together(&r);
}

/* ---- the other way ---- */
static bool is_utf8(const char *text)
{
    for (size_t n = strlen(text), k; n; text += k, n -= k)
        if (!(k = lmf_utf8_length(text, n)))
            return false;
    return true;
}

static void put_text(lmf_buf *b, const char *text)
{
    if (text)
        lmf_buf_put_quoted(b, text, strlen(text));
    else
        lmf_buf_puts(b, "null");
}

/* The fewest digits that give the same number back. */
static void put_number(lmf_buf *b, double x)
{
    char text[32];
    for (int digits = 1; digits <= 17; digits++) {
        char *end;
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, &end) == x)
            break;
    }
    lmf_buf_puts(b, isfinite(x) ? text : "null");
}

static lmf_status put_field(lmf_ctx *ctx, const lmf_flag *f, const void *args, lmf_buf *b)
{
    const char *at = (const char *)args + f->offset;
    const lmf_texts *list = (const lmf_texts *)(const void *)at;
    const char *text;
    for (const char *c = f->name; *c; c++)
        lmf_buf_putc(b, *c == '-' ? '_' : *c);
    lmf_buf_puts(b, ": ");
    switch (f->kind) {
    case LMF_FLAG_BOOL:
        if (f->late && isnan(*(const double *)(const void *)at))
            lmf_buf_puts(b, "null");
        else
            lmf_buf_puts(b, (f->late ? *(const double *)(const void *)at != 0 : *(const bool *)(const void *)at) ? "true" : "false");
        break;
    case LMF_FLAG_INT:
        lmf_buf_printf(b, "%lld", (long long)*(const int64_t *)(const void *)at);
        break;
    case LMF_FLAG_DOUBLE:
        put_number(b, *(const double *)(const void *)at);
        break;
    case LMF_FLAG_STRING:
    case LMF_FLAG_CHOICE:
        text = *(const char *const *)(const void *)at;
        if (text && !is_utf8(text))
            return LMF_FAIL(ctx, LMF_E_ARG, "--%s is no UTF-8, so that it can't be saved with the run", f->name);
        put_text(b, text);
        break;
    case LMF_FLAG_LIST:
        for (int64_t i = 0; i < list->n; i++) {
            lmf_buf_puts(b, i ? ", " : "[");
            put_text(b, list->item[i]);
        }
        lmf_buf_puts(b, list->n ? "]" : "[]");
        break;
    }
    return lmf_buf_putc(b, '\n');
}

static const char facts_mark[] = "# facts: ";

lmf_status lmf_config_text(lmf_ctx *ctx, const char *command, const lmf_flag *fields, const void *args, const char *facts, lmf_buf *out)
{
    char before[160];
    lmf_buf body;
    lmf_buf_init(&body, ctx, LMF_DOCUMENT_MAX_BYTES);
    lmf_status s = LMF_OK;
    for (const lmf_flag *f = fields; !s && f->name; f++)
        if (!f->passing)
            s = put_field(ctx, f, args, &body);
    if (!s && facts)
        s = lmf_buf_printf(&body, "%s%s\n", facts_mark, facts);
    snprintf(before, sizeof before, "# lmfast %s --config THIS_FILE does the same run; ", command);
    if (!s)
        s = lmf_output_seal(ctx, before, "", lmf_buf_str(&body), body.n, out);
    lmf_buf_clear(&body);
    return s;
}

const char *lmf_config_facts(const char *text, size_t n, size_t *n_facts)
{
    const char *p = memmem(text, n, facts_mark, sizeof facts_mark - 1);
    if (!p)
        return NULL;
    p += sizeof facts_mark - 1;
    const char *end = memchr(p, '\n', n - (size_t)(p - text));
    *n_facts = (size_t)((end ? end : text + n) - p);
    return p;
}

bool lmf_config_is_ours(lmf_ctx *ctx, const char *text, size_t n) { return lmf_output_is_sealed(ctx, "# lmfast ", text, n); }
