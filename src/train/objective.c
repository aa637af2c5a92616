/* SPDX-License-Identifier: Apache-2.0 */
#include "train/objective.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The descriptor is our own, but it is data: what the trainer can't do is said by name. */
static lmf_status check(lmf_ctx *ctx, const lmf_objective *o)
{
    static const bool can_fill[3][4] = { { true, true, true, false }, { false, false, true, true }, { false, false, true, false } };
    int n = 0;
    for (const lmf_objective_input *i = o->inputs; i->name; i++, n++)
        if (n == LMF_MAX_OBJECTIVE_INPUTS || i->per > LMF_PER_GROUP || i->fill > LMF_FILL_REFERENCE || !can_fill[i->per][i->fill])
            return LMF_FAIL(ctx, LMF_E_INTERNAL, "the objective \"%s\" has an input \"%s\" that nothing fills", o->name, i->name);
    bool pairs = o->takes == LMF_TAKES_PREFERENCE;
    if (o->group_size != (pairs ? 2 : 1) || lmf_objective_n_reports(o) > LMF_MAX_REPORTS)
        return LMF_FAIL(ctx, LMF_E_INTERNAL, "the objective \"%s\" wants groups that its rows don't give, or reports too much", o->name);
    return LMF_OK;
}

lmf_status lmf_objective_find(lmf_ctx *ctx, const char *name, const lmf_objective **out)
{
    char names[256] = "";
    size_t at = 0;
    for (const lmf_objective *const *k = ctx->tables->objectives; *k; k++) {
        if (strcmp((*k)->name, name) == 0) {
            *out = *k;
            return check(ctx, *k);
        }
        if (at + strlen((*k)->name) + 3 < sizeof names)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", at ? ", " : "", (*k)->name);
    }
    return LMF_FAIL(ctx, LMF_E_ARG, "there is no objective \"%.64s\"; there are: %s", name, names);
}

bool lmf_objective_has_reference(const lmf_objective *o)
{
    for (const lmf_objective_input *i = o->inputs; i->name; i++)
        if (i->fill == LMF_FILL_REFERENCE)
            return true;
    return false;
}

int lmf_objective_n_reports(const lmf_objective *o)
{
    int n = 0;
    while (o->reports && o->reports[n].name)
        n++;
    return n;
}

static void put(const lmf_objective_option *f, void *opts, double value)
{
    char *at = (char *)opts + f->offset;
    if (f->kind == LMF_FIELD_F32)
        *(float *)(void *)at = (float)value;
    else if (f->kind == LMF_FIELD_I32)
        *(int32_t *)(void *)at = (int32_t)value;
    else
        *(bool *)(void *)at = value != 0;
}

static double get(const lmf_objective_option *f, const void *opts)
{
    const char *at = (const char *)opts + f->offset;
    return f->kind == LMF_FIELD_F32 ? (double)*(const float *)(const void *)at
         : f->kind == LMF_FIELD_I32 ? (double)*(const int32_t *)(const void *)at : (double)*(const bool *)(const void *)at;
}

lmf_status lmf_objective_set(lmf_ctx *ctx, const lmf_objective *o, void *opts, const char *name, double value)
{
    for (const lmf_objective_option *f = o->options; f && f->name; f++) {
        if (strcmp(f->name, name))
            continue;
        if (!(value >= f->lo && value <= f->hi))
            return LMF_FAIL(ctx, LMF_E_ARG, "%s is %.9g, but must be from %.12g to %.12g", name, value, f->lo, f->hi);
        if (f->kind != LMF_FIELD_F32 && value != floor(value))
            return LMF_FAIL(ctx, LMF_E_ARG, "%s is %.9g, but must be a whole number", name, value);
        put(f, opts, value);
        return LMF_OK;
    }
    return LMF_FAIL(ctx, LMF_E_ARG, "the objective \"%s\" has no option \"%.64s\"", o->name, name);
}

lmf_status lmf_objective_defaults(lmf_ctx *ctx, const lmf_objective *o, void *opts)
{
    for (const lmf_objective_option *f = o->options; f && f->name; f++) {
        char *end;
        double value = strtod(f->fallback, &end);
        if (end == f->fallback || *end)
            return LMF_FAIL(ctx, LMF_E_INTERNAL, "the objective \"%s\" has \"%s\" as the default of %s", o->name, f->fallback, f->name);
        LMF_TRY(lmf_objective_set(ctx, o, opts, f->name, value));
    }
    return LMF_OK;
}

void lmf_objective_text(const lmf_objective *o, const void *opts, char *text, size_t n)
{
    size_t at = 0;
    text[0] = 0;
    for (const lmf_objective_option *f = o->options; f && f->name && at < n; f++)
        at += (size_t)snprintf(text + at, n - at, "%s=%.9g ", f->name, get(f, opts));
}
