/* SPDX-License-Identifier: Apache-2.0 */
#include "config/flag.h"
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { MAX_WORD = 64 };

static bool same_name(const char *a, size_t n, const char *b)
{
    for (size_t i = 0; i < n; i++)
        if (b[i] == 0 || (a[i] == '_' ? '-' : a[i]) != b[i])
            return false;
    return b[n] == 0;
}

const lmf_flag *lmf_flag_find(const lmf_flag *fields, const char *name, size_t n)
{
    for (const lmf_flag *f = fields; f && f->name; f++)
        if (same_name(name, n, f->name))
            return f;
    return NULL;
}

/* Edits between two words: insert, drop, change, swap of neighbours. "-" and "_" are one. */
static int distance(const char *a, const char *b)
{
    int d[3][MAX_WORD + 1], n = (int)strlen(a), m = (int)strlen(b);
    if (n > MAX_WORD || m > MAX_WORD)
        return MAX_WORD;
    for (int j = 0; j <= m; j++)
        d[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *row = d[i % 3], *up = d[(i + 2) % 3], *up2 = d[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            char x = a[i - 1] == '_' ? '-' : a[i - 1], y = b[j - 1] == '_' ? '-' : b[j - 1];
            int best = up[j - 1] + (x != y);
            if (up[j] + 1 < best)
                best = up[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && up2[j - 2] + 1 < best)
                best = up2[j - 2] + 1;
            row[j] = best;
        }
    }
    return d[n % 3][m];
}

const char *lmf_nearest(const char *word, const char *const *names, int n)
{
    const char *nearest = NULL;
    size_t length = strlen(word);
    int best = length < 4 ? 2 : (int)(length / 3) + 2; /* one past what still counts as near */
    for (int i = 0; i < n; i++) {
        int d = distance(word, names[i]);
        if (d < best)
            best = d, nearest = names[i];
    }
    return nearest;
}

static lmf_status bad_range(lmf_ctx *ctx, const lmf_flag *f, const char *as, const char *value)
{
    if (f->hi >= 9e15)
        return LMF_FAIL(ctx, LMF_E_ARG, "%s is %.64s, but must be at least %.12g", as, value, f->lo);
    return LMF_FAIL(ctx, LMF_E_ARG, "%s is %.64s, but must be from %.12g to %.12g", as, value, f->lo, f->hi);
}

static lmf_status set_number(lmf_ctx *ctx, const lmf_flag *f, const char *as, const char *value, char *member)
{
    char *end;
    bool ranged = f->lo != 0 || f->hi != 0;
    errno = 0;
    if (f->kind == LMF_FLAG_INT) {
        long long v = strtoll(value, &end, 10);
        if (end == value || *end)
            return LMF_FAIL(ctx, LMF_E_ARG, "%s is \"%.64s\", but must be a whole number", as, value);
        if (errno == ERANGE || (ranged && ((double)v < f->lo || (double)v > f->hi)))
            return ranged ? bad_range(ctx, f, as, value) : LMF_FAIL(ctx, LMF_E_ARG, "%s is %.64s, but must fit into 64 bits", as, value);
        *(int64_t *)(void *)member = v;
        return LMF_OK;
    }
    double v = strtod(value, &end);
    if (end == value || *end || !isfinite(v))
        return LMF_FAIL(ctx, LMF_E_ARG, "%s is \"%.64s\", but must be a number such as 0.001 or 1e-3", as, value);
    if (ranged && (v < f->lo || v > f->hi))
        return bad_range(ctx, f, as, value);
    *(double *)(void *)member = v;
    return LMF_OK;
}

static lmf_status set_choice(lmf_ctx *ctx, const lmf_flag *f, const char *as, const char *value, char *member)
{
    char list[512];
    const char *names[LMF_FLAG_MAX_CHOICES];
    int n = 0;
    snprintf(list, sizeof list, "%s", f->choices);
    for (char *word = list, *bar; word && n < LMF_FLAG_MAX_CHOICES; word = bar) {
        bar = strchr(word, '|');
        if (bar)
            *bar++ = 0;
        names[n++] = word;
        if (strcmp(word, value) == 0) {
            *(const char **)(void *)member = value;
            return LMF_OK;
        }
    }
    const char *near = lmf_nearest(value, names, n);
    if (near)
        return LMF_FAIL(ctx, LMF_E_ARG, "%s is \"%.64s\", but must be one of %s; did you mean %s?", as, value, f->choices, near);
    return LMF_FAIL(ctx, LMF_E_ARG, "%s is \"%.64s\", but must be one of %s", as, value, f->choices);
}

static lmf_status set_bool(lmf_ctx *ctx, const char *as, const char *value, bool late, char *member)
{
    static const char *const yes[] = { "true", "yes", "on", "1", "True" }, *const no[] = { "false", "no", "off", "0", "False" };
    for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
        if (strcmp(value, yes[i]) == 0 || strcmp(value, no[i]) == 0) {
            bool on = strcmp(value, yes[i]) == 0;
            if (late)
                *(double *)(void *)member = on;
            else
                *(bool *)(void *)member = on;
            return LMF_OK;
        }
    return LMF_FAIL(ctx, LMF_E_ARG, "%s is \"%.64s\", but must be true or false", as, value);
}

lmf_status lmf_flag_set(lmf_ctx *ctx, const lmf_flag *f, const char *as, const char *value, void *args)
{
    char *member = (char *)args + f->offset;
    lmf_texts *list = (lmf_texts *)(void *)member;
    switch (f->kind) {
    case LMF_FLAG_BOOL:
        return set_bool(ctx, as, value, f->late, member);
    case LMF_FLAG_INT:
    case LMF_FLAG_DOUBLE:
        return set_number(ctx, f, as, value, member);
    case LMF_FLAG_CHOICE:
        return set_choice(ctx, f, as, value, member);
    case LMF_FLAG_STRING:
        *(const char **)(void *)member = value;
        return LMF_OK;
    case LMF_FLAG_LIST:
        if (list->n >= LMF_MAX_TEXTS)
            return LMF_FAIL(ctx, LMF_E_LIMIT, "%s is given more than %d times", as, LMF_MAX_TEXTS);
        list->item[list->n++] = value;
        return LMF_OK;
    }
    return LMF_FAIL(ctx, LMF_E_INTERNAL, "%s has the unknown kind %d", as, (int)f->kind);
}

lmf_status lmf_flag_defaults(lmf_ctx *ctx, const lmf_flag *fields, void *args)
{
    for (const lmf_flag *f = fields; f->name; f++) {
        if (f->fallback && !f->late && lmf_flag_set(ctx, f, f->name, f->fallback, args))
            return LMF_FAIL(ctx, LMF_E_INTERNAL, "the default %s of --%s is not allowed by its own table", f->fallback, f->name);
        if (f->late && f->kind == LMF_FLAG_CHOICE)
            *(const char **)(void *)((char *)args + f->offset) = NULL;
        else if (f->late)
            *(double *)(void *)((char *)args + f->offset) = NAN;
    }
    return LMF_OK;
}
