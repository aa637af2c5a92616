/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: which groups are held out, doubled or left out depends on the data, the options and the seed alone. Groups that are the same are
 * on the same side of the held-out share. */
#include "data/dataset.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "base/plain.h"

enum { STREAM_HOLD_OUT = 0x401d, STREAM_PART = 0x9a27, MAX_WEIGHT = 1000 };

/* ---- specifications ---- */
static lmf_status bad_option(lmf_ctx *ctx, const char *text, const char *key, const char *value, const char *may)
{
    return LMF_FAIL(ctx, LMF_E_ARG, "the data file \"%.200s\" has %.40s=%.60s, but %s", text, key, value, may);
}

static lmf_status set_type(lmf_arena *a, const char *text, const char *value, lmf_data_spec *out)
{
    static const char *const forms[] = { "messages", "chat_template", "completion", "text", "segments", "input_output", "preference" };
    char names[200] = "";
    out->rows.format = lmf_row_format_find(a->ctx->tables, value);
    if (out->rows.format)
        return LMF_OK;
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++)
        if (strcmp(forms[i], value) == 0)
            return LMF_OK; /* rows of these are told by their keys, and must have them */
    for (const lmf_row_format *const *f = a->ctx->tables->row_formats; *f; f++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s, ", (*f)->name);
    snprintf(names + strlen(names), sizeof names - strlen(names), "messages, completion, text, segments and preference are known");
    return bad_option(a->ctx, text, "type", value, names);
}

static lmf_status set_option(lmf_arena *a, const char *text, const char *key, const char *value, lmf_data_spec *out)
{
    lmf_rows_opts *r = &out->rows;
    if (strcmp(key, "type") == 0)
        return out->type = value, set_type(a, text, value, out);
    if (strcmp(key, "file") == 0) {
        r->kind = !strcmp(value, "json") ? LMF_FILE_JSON : !strcmp(value, "csv") ? LMF_FILE_CSV : LMF_FILE_TEXT;
        return r->kind != LMF_FILE_TEXT || !strcmp(value, "text") ? LMF_OK : bad_option(a->ctx, text, key, value,
            "json, csv and text are known");
    }
    if (strcmp(key, "split") == 0) {
        r->split = !strcmp(value, "lines") ? LMF_SPLIT_LINES : !strcmp(value, "paragraphs") ? LMF_SPLIT_PARAGRAPHS : LMF_SPLIT_NONE;
        return r->split || !strcmp(value, "none") ? LMF_OK : bad_option(a->ctx, text, key, value, "lines, paragraphs and none are known");
    }
    if (strcmp(key, "weight") == 0) {
        char *end;
        out->weight = strtod(value, &end);
        return end != value && !*end && out->weight > 0 && out->weight <= MAX_WEIGHT ? LMF_OK :
            bad_option(a->ctx, text, key, value, "a weight is a number above 0, at most 1000");
    }
    if (r->n_renames == LMF_ROWS_MAX_RENAMES)
        return bad_option(a->ctx, text, key, value, "no more keys can be renamed");
    r->rename[r->n_renames].to = key;
    r->rename[r->n_renames++].from = value;
    return LMF_OK;
}

/* Where ":KEY=" begins, for the last time; NULL: nowhere. */
static char *find_options(char *text)
{
    char *found = NULL;
    for (char *p = text; (p = strchr(p, ':')); p++) {
        size_t n = strspn(p + 1, "abcdefghijklmnopqrstuvwxyz_ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
        if (n && p[1 + n] == '=' && p > text)
            found = p;
    }
    return found;
}

lmf_status lmf_data_spec_parse(lmf_arena *a, const char *text, lmf_data_spec *out)
{
    char *own = lmf_arena_strdup(a, text), *options;
    *out = (lmf_data_spec){ .path = own, .weight = 1 };
    if (!own)
        return LMF_NO_MEMORY(a->ctx, strlen(text), "a data file's name");
    if (lmf_path_stat(text) != LMF_PATH_NONE || !(options = find_options(own)))
        return LMF_OK;
    *options++ = 0;
    for (char *next; options; options = next) {
        next = strchr(options, ',');
        if (next)
            *next++ = 0;
        char *equals = strchr(options, '=');
        if (!equals || equals == options || !equals[1])
            return LMF_FAIL(a->ctx, LMF_E_ARG, "the data file \"%.200s\" has the option \"%.60s\", but must have KEY=VALUE there", text,
                options);
        *equals = 0;
        LMF_TRY(set_option(a, text, options, equals + 1, out));
    }
    return LMF_OK;
}

/* ---- the same once more ---- */
static uint64_t hash_group(const lmf_samples *s, int64_t g)
{
    int32_t size = lmf_samples_group_size(s); /* what is measured beside a row is no part of it */
    uint64_t h = 1469598103934665603u;
    for (int64_t k = g * size; k < g * size + lmf_samples_n_trained(s); k++) {
        h = (h ^ ((uint64_t)s->items[k].n << 2 | (uint64_t)(s->items[k].label + 1))) * 1099511628211u;
        for (int32_t i = 0; i < s->items[k].n; i++)
            h = (h ^ ((uint64_t)(uint32_t)s->items[k].id[i] << 1 | s->items[k].learn[i])) * 1099511628211u;
    }
    return h;
}

static bool same_group(const lmf_samples *a, int64_t g, const lmf_samples *b, int64_t h)
{
    int32_t size = lmf_samples_group_size(a);
    for (int32_t k = 0; k < lmf_samples_n_trained(a); k++) {
        const lmf_sample *x = &a->items[g * size + k], *y = &b->items[h * size + k];
        if (x->n != y->n || x->label != y->label || memcmp(x->id, y->id, (size_t)x->n * sizeof *x->id) || memcmp(x->learn, y->learn,
            (size_t)x->n))
            return false;
    }
    return true;
}

/* Open addressing: groups of one set, found by content. */
typedef struct table { lmf_ctx *ctx; int64_t *slot; size_t n; const lmf_samples *of; } table;

static lmf_status table_open(lmf_ctx *ctx, const lmf_samples *of, table *t)
{
    *t = (table){ .ctx = ctx, .n = 64, .of = of };
    while (t->n < 2 * (size_t)lmf_samples_n_groups(of))
        t->n *= 2;
    t->slot = lmf_alloc(ctx, t->n * sizeof *t->slot);
    return t->slot ? LMF_OK : LMF_NO_MEMORY(ctx, t->n * sizeof *t->slot, "finding doubles");
}

/* The group of the table that is the same as group g of s, or -1; then where it would stand in *at. */
static int64_t table_find(const table *t, const lmf_samples *s, int64_t g, size_t *at)
{
    for (*at = hash_group(s, g) & (t->n - 1); t->slot[*at]; *at = (*at + 1) & (t->n - 1))
        if (same_group(t->of, t->slot[*at] - 1, s, g))
            return t->slot[*at] - 1;
    return -1;
}

static void table_close(table *t) { lmf_free(t->ctx, t->slot, t->n * sizeof *t->slot); }

lmf_status lmf_samples_shared(const lmf_samples *a, const lmf_samples *b, int64_t *n, int64_t first[2])
{
    table t;
    size_t at;
    *n = first[0] = first[1] = 0;
    LMF_TRY(table_open(a->ctx, a, &t));
    for (int64_t g = 0; g < lmf_samples_n_groups(a); g++)
        if (table_find(&t, a, g, &at) < 0)
            t.slot[at] = g + 1;
    for (int64_t g = 0; g < lmf_samples_n_groups(b); g++) {
        int64_t k = table_find(&t, b, g, &at);
        if (k >= 0 && (*n)++ == 0) {
            first[0] = a->items[k * lmf_samples_group_size(a)].line;
            first[1] = b->items[g * lmf_samples_group_size(b)].line;
        }
    }
    table_close(&t);
    return LMF_OK;
}

/* ---- all files as one ---- */
/* Groups of all files, and what becomes of each. */
typedef struct joined {
    lmf_samples *all;
    int64_t     *same_as;      /* the first group that is the same, itself included */
    int64_t     *next;         /* the next one that is; -1: none */
    uint8_t     *out, *held;   /* left out; on the held-out side */
} joined;

static bool is_empty(const lmf_samples *s, int64_t g, const lmf_chat *chat)
{
    int32_t size = lmf_samples_group_size(s);
    for (int64_t k = g * size; k < g * size + lmf_samples_n_trained(s); k++) {
        const lmf_sample *x = &s->items[k];
        bool said = x->prompt != NULL; /* no answer is wanted of it */
        for (int32_t i = 0; i < x->n && !said; i++) {
            size_t n;
            const uint8_t *p = lmf_tokenizer_piece(chat->tokenizer, x->id[i], &n);
            for (size_t c = 0; x->learn[i] && !lmf_chat_is_eos(chat, x->id[i]) && c < n; c++)
                said |= !strchr(" \t\r\n", p[c]);
        }
        if (!said)
            return true;
    }
    return false;
}

static lmf_status load_file(lmf_dataset *d, const lmf_chat *chat, const lmf_dataset_opts *o, const lmf_data_spec *spec, int i)
{
    lmf_rows own = { 0 };
    lmf_rows_opts ro = spec->rows;
    lmf_data_file *f = &d->file[i];
    ro.skip_bad = o->skip_bad;
    ro.asks = o->samples.takes == LMF_TAKES_PROMPT;
    if (!o->given)
        LMF_TRY(lmf_rows_open_as(d->ctx, spec->path, &ro, &own));
    const lmf_rows rows = o->given ? *o->given : own;
    lmf_status s = lmf_samples_create_with(o->given ? o->given : &own, chat, &o->samples, &d->part[i]);
    const lmf_samples *p = d->part[i];
    *f = (lmf_data_file){ .path = lmf_arena_strdup(&d->arena, rows.path ? rows.path : ""), .weight = spec->weight, .unit = rows.unit,
                          .n_rows = rows.n + rows.n_bad };
    memcpy(f->sha256, rows.sha256, sizeof f->sha256);
    f->form = spec->type;
    if (!s && !f->form)
        s = lmf_row_form_at(&rows, 0, &f->form);
    lmf_rows_close(&own);
    if (!s && !f->path)
        s = LMF_NO_MEMORY(d->ctx, 64, "a path");
    LMF_TRY(s);
    f->n_groups = lmf_samples_n_groups(p);
    f->n_bad = p->n_bad, f->n_long = p->n_skipped, f->n_truncated = p->n_truncated;
    f->n_tok = p->n_tok, f->n_learn = p->n_learn;
    for (int64_t k = 0; k < p->n; k++)
        d->part[i]->items[k].i_file = i;
    return LMF_OK;
}

/* An empty set with room for n sequences in groups like those of another. */
static lmf_status new_samples(lmf_ctx *ctx, const lmf_samples *like, int64_t n, lmf_samples **out)
{
    lmf_samples *s = *out = lmf_new(ctx, lmf_samples);
    if (!s)
        return LMF_NO_MEMORY(ctx, sizeof *s, "samples");
    s->ctx = ctx;
    s->group_size = like->group_size;
    s->n_measured = like->n_measured;
    lmf_arena_init(&s->arena, ctx, LMF_POWER2(36));
    s->items = lmf_arena_array(&s->arena, (size_t)n, sizeof *s->items);
    s->cap = n;
    return s->items ? LMF_OK : LMF_NO_MEMORY(ctx, (size_t)n * sizeof *s->items, "samples");
}

static void add_group(lmf_samples *to, const lmf_samples *from, int64_t g)
{
    int32_t size = lmf_samples_group_size(from);
    for (int64_t k = g * size; k < (g + 1) * size; k++) {
        const lmf_sample *s = to->items + to->n;
        bool trained = k < g * size + lmf_samples_n_trained(from);
        to->items[to->n++] = from->items[k];
        to->n_tok += trained ? s->n : 0;
        to->n_learn += trained ? s->n_learn : 0;
        to->n_label[s->label > 0] += trained && s->label;
        to->longest = s->n > to->longest ? s->n : to->longest;
    }
}

static lmf_status join(lmf_dataset *d, const lmf_chat *chat, const lmf_dataset_opts *o, joined *j)
{
    int64_t n = 0;
    table t;
    size_t at;
    for (int i = 0; i < d->n_files; i++)
        n += d->part[i]->n;
    LMF_TRY(new_samples(d->ctx, d->part[0], n, &j->all));
    for (int i = 0; i < d->n_files; i++)
        for (int64_t g = 0; g < lmf_samples_n_groups(d->part[i]); g++)
            add_group(j->all, d->part[i], g);
    n = lmf_samples_n_groups(j->all);
    j->same_as = lmf_arena_array(&j->all->arena, (size_t)n, sizeof *j->same_as);
    j->next = lmf_arena_array(&j->all->arena, (size_t)n, sizeof *j->next);
    int64_t *last = lmf_arena_array(&j->all->arena, (size_t)n, sizeof *last); /* of those that are the same as the first */
    j->out = lmf_arena_alloc(&j->all->arena, (size_t)n + 1);
    j->held = lmf_arena_alloc(&j->all->arena, (size_t)n + 1);
    if (!j->same_as || !j->next || !last || !j->out || !j->held)
        return LMF_NO_MEMORY(d->ctx, (size_t)n * sizeof *j->same_as, "samples");
    LMF_TRY(table_open(d->ctx, j->all, &t));
    for (int64_t g = 0; g < n; g++) {
        const lmf_sample *s = &j->all->items[g * lmf_samples_group_size(j->all)];
        lmf_data_file *f = &d->file[s->i_file];
        int64_t k = table_find(&t, j->all, g, &at);
        j->same_as[g] = k < 0 ? g : k;
        j->next[g] = -1;
        if (k >= 0)
            j->next[last[k]] = g;
        last[j->same_as[g]] = g;
        if (k < 0)
            t.slot[at] = g + 1;
        if (k >= 0 && f->n_duplicates++ == 0)
            f->first_duplicate = s->line, f->duplicate_of = j->all->items[k * lmf_samples_group_size(j->all)].line;
        bool empty = is_empty(j->all, g, chat);
        if (empty && f->n_empty++ == 0)
            f->first_empty = s->line;
        j->out[g] = (k >= 0 && o->drop_duplicates) || (empty && o->drop_empty);
    }
    table_close(&t);
    return LMF_OK;
}

/* Marks the held-out side: of those left, in an order drawn by the seed, the first, and all that are the same. */
static lmf_status hold_out(const lmf_dataset_opts *o, joined *j)
{
    int64_t n = lmf_samples_n_groups(j->all), left = 0, want, got = 0;
    for (int64_t g = 0; g < n; g++)
        left += !j->out[g];
    if (o->hold_out == 0)
        return LMF_OK;
    want = o->hold_out >= 1 ? (int64_t)o->hold_out : (int64_t)ceil(o->hold_out * (double)left);
    if (want >= left)
        return LMF_FAIL(j->all->ctx, LMF_E_ARG, "%lld rows are to be held out of %lld: none would be left to train on", (long long)want,
                        (long long)left);
    int64_t *order = lmf_arena_array(&j->all->arena, (size_t)n, sizeof *order);
    if (!order)
        return LMF_NO_MEMORY(j->all->ctx, (size_t)n * sizeof *order, "samples");
    lmf_shuffle(o->seed, STREAM_HOLD_OUT, order, n);
    for (int64_t i = 0; i < n && got < want; i++) {
        if (j->out[order[i]] || j->held[order[i]])
            continue;
        for (int64_t g = j->same_as[order[i]]; g >= 0; g = j->next[g])
            j->held[g] = 1, got += !j->out[g];
    }
    return got < left ? LMF_OK : LMF_FAIL(j->all->ctx, LMF_E_ARG, "all rows are the same: none can be held out");
}

/* How often each group of a file stands in an epoch. */
static lmf_status count_copies(const lmf_dataset *d, const lmf_dataset_opts *o, const joined *j, int32_t *copies, int64_t *total)
{
    int64_t n = lmf_samples_n_groups(j->all), first = 0;
    int32_t size = lmf_samples_group_size(j->all);
    int64_t *order = lmf_arena_array(&j->all->arena, (size_t)n, sizeof *order);
    if (!order)
        return LMF_NO_MEMORY(d->ctx, (size_t)n * sizeof *order, "samples");
    *total = 0;
    for (int i = 0; i < d->n_files; i++) {
        int64_t end = first, left = 0;
        while (end < n && j->all->items[end * size].i_file == i)
            end++;
        double whole = floor(d->file[i].weight), part = d->file[i].weight - whole;
        lmf_shuffle(o->seed, STREAM_PART + (uint32_t)i, order, end - first);
        for (int64_t g = first; g < end; g++)
            left += !j->out[g] && !j->held[g];
        int64_t more = (int64_t)llround(part * (double)left);
        for (int64_t k = 0; k < end - first; k++) {
            int64_t g = first + order[k];
            bool in = !j->out[g] && !j->held[g];
            copies[g] = in ? (int32_t)whole + (more-- > 0) : 0;
            *total += copies[g];
        }
        first = end;
    }
    return LMF_OK;
}

/* Counts of the parts that reports are made from. */
static void sum_counts(const lmf_dataset *d, lmf_samples *s)
{
    for (int i = 0; i < d->n_files; i++) {
        const lmf_samples *p = d->part[i];
        if (p->n_bad && !s->n_bad)
            memcpy(s->first_bad, p->first_bad, sizeof s->first_bad);
        if (p->n_endless && !s->n_endless)
            memcpy(s->first_endless, p->first_endless, sizeof s->first_endless);
        s->n_skipped += p->n_skipped, s->n_truncated += p->n_truncated, s->n_bad += p->n_bad;
        s->n_unlearned += p->n_unlearned, s->n_endless += p->n_endless;
    }
}

static lmf_status distribute(lmf_dataset *d, const lmf_dataset_opts *o, joined *j)
{
    int64_t n = lmf_samples_n_groups(j->all), total, most = 0, n_held = 0;
    int32_t size = lmf_samples_group_size(j->all);
    int32_t *copies = lmf_arena_array(&j->all->arena, (size_t)n, sizeof *copies);
    if (!copies)
        return LMF_NO_MEMORY(d->ctx, (size_t)n * sizeof *copies, "samples");
    LMF_TRY(hold_out(o, j));
    LMF_TRY(count_copies(d, o, j, copies, &total));
    for (int64_t g = 0; g < n; g++) {
        most = copies[g] > most ? copies[g] : most;
        n_held += j->held[g] && !j->out[g];
    }
    if (!total)
        return LMF_FAIL(d->ctx, LMF_E_ARG, "of %lld rows none is left to train on", (long long)n);
    LMF_TRY(new_samples(d->ctx, j->all, total * size, &d->train));
    if (o->hold_out > 0)
        LMF_TRY(new_samples(d->ctx, j->all, n_held * size, &d->held_out));
    for (int64_t k = 0; k < most; k++)
        for (int64_t g = 0; g < n; g++)
            if (k < copies[g])
                add_group(d->train, j->all, g);
    for (int64_t g = 0; g < n && d->held_out; g++)
        if (j->held[g] && !j->out[g])
            add_group(d->held_out, j->all, g);
    sum_counts(d, d->train);
    return LMF_OK;
}

static lmf_status open_dataset(lmf_dataset *d, const lmf_chat *chat, const lmf_dataset_opts *o)
{
    lmf_data_spec spec;
    joined j = { 0 };
    if (!o->given && (o->n_specs < 1 || o->n_specs > LMF_MAX_DATA_FILES))
        return LMF_FAIL(d->ctx, LMF_E_ARG, "%d data files: 1 to %d are possible", o->n_specs, LMF_MAX_DATA_FILES);
    for (int i = 0; i < (o->given ? 1 : o->n_specs); i++) {
        spec = (lmf_data_spec){ .weight = 1 };
        if (!o->given)
            LMF_TRY(lmf_data_spec_parse(&d->arena, o->spec[i], &spec));
        LMF_TRY(load_file(d, chat, o, &spec, i));
        d->n_files++;
    }
    lmf_status s = join(d, chat, o, &j);
    if (!s)
        s = distribute(d, o, &j);
    lmf_samples_destroy(j.all);
    return s;
}

lmf_status lmf_dataset_open(const lmf_chat *chat, const lmf_dataset_opts *opts, lmf_dataset **out)
{
    lmf_dataset *d = lmf_new(chat->ctx, lmf_dataset);
    *out = NULL;
    if (!d)
        return LMF_NO_MEMORY(chat->ctx, sizeof *d, "a data set");
    d->ctx = chat->ctx;
    lmf_arena_init(&d->arena, d->ctx, 1 << 24);
    lmf_status s = open_dataset(d, chat, opts);
    if (s)
        lmf_dataset_close(d);
    else
        *out = d;
    return s;
}

void lmf_dataset_close(lmf_dataset *d)
{
    if (!d)
        return;
    lmf_ctx *ctx = d->ctx;
    lmf_samples_destroy(d->train);
    lmf_samples_destroy(d->held_out);
    for (int i = 0; i < LMF_MAX_DATA_FILES; i++)
        lmf_samples_destroy(d->part[i]);
    lmf_arena_clear(&d->arena);
    lmf_delete(ctx, d);
}
