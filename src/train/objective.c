/* SPDX-License-Identifier: Apache-2.0 */
#include "train/objective.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The descriptor is our own, but it is data: what the trainer can't do is said by name. */
static lmf_status check(lmf_ctx *ctx, const lmf_objective *o)
{
    int n = 0;
    for (const lmf_objective_input *i = o->inputs; i->name; i++, n++)
        if (n == LMF_MAX_OBJECTIVE_INPUTS || i->per > LMF_PER_STEP || !i->value || (i->dtype != LMF_F32 && i->dtype != LMF_I32))
            return LMF_FAIL(ctx, LMF_E_INTERNAL, "the objective \"%s\" has an input \"%s\" that nothing fills", o->name, i->name);
    bool labelled = o->takes == LMF_TAKES_LABELLED, two = labelled || o->takes == LMF_TAKES_PREFERENCE;
    if ((o->takes == LMF_TAKES_PROMPT && !o->sampling) || o->group_size != (two ? 2 : 1) || o->n_measured != labelled ||
        !o->measure != !labelled || lmf_objective_n_reports(o) > LMF_MAX_REPORTS)
        return LMF_FAIL(ctx, LMF_E_INTERNAL, "the objective \"%s\" wants groups that its rows don't give, or reports too much", o->name);
    return LMF_OK;
}

/* ---- values of inputs ---- */
double lmf_value_target(const lmf_place *p) { return lmf_place_learned(p) ? p->sample->id[p->i_tok + 1] : 0; }
double lmf_value_learned(const lmf_place *p) { return lmf_place_learned(p); }
double lmf_value_next(const lmf_place *p) { return lmf_place_has_next(p) ? p->sample->id[p->i_tok + 1] : 0; }
double lmf_value_group_mean(const lmf_place *p) { return 1 / (double)p->totals->n_groups; }
double lmf_value_reference(const lmf_place *p) { return (double)p->reference; }

double lmf_value_token_mean(const lmf_place *p)
{
    int64_t n = 0;
    for (int k = 0; k < LMF_MAX_GROUP; k++)
        n += p->totals->n_learn[k];
    return lmf_place_learned(p) ? 1 / (double)n : 0;
}

double lmf_value_first_mean(const lmf_place *p)
{
    return p->member == 0 && lmf_place_learned(p) ? 1 / (double)p->totals->n_learn[0] : 0;
}

double lmf_value_per_token(const lmf_place *p) { return p->sample->n_learn ? 1 / (double)p->sample->n_learn : 0; }

double lmf_value_own_mean(const lmf_place *p) { return lmf_place_learned(p) ? lmf_value_per_token(p) : 0; }

lmf_totals lmf_totals_of(const lmf_samples *samples, const int64_t *group, int64_t n)
{
    lmf_totals t = { .n_groups = n, .progress = 1 };
    int32_t size = lmf_samples_group_size(samples);
    for (int64_t i = 0; i < n * size; i++) {
        const lmf_sample *s = &samples->items[(group ? group[i / size] : i / size) * size + i % size];
        t.n_learn[i % size] += s->n_learn;
        t.n_next[i % size] += s->n ? s->n - 1 : 0;
        if (i % size == 0 && s->label)
            t.n_label[s->label > 0]++;
    }
    return t;
}

int32_t lmf_sampling_prompt_tok(const lmf_sampling *s, const lmf_sample *sample)
{
    int32_t n = sample->n;
    if (!s->from_rows)
        return n;
    while (n > 0 && !sample->learn[n - 1])
        n--;
    while (n > 0 && sample->learn[n - 1])
        n--;
    return n;
}

int32_t lmf_sampling_longest(const lmf_sampling *s, const lmf_samples *samples)
{
    int32_t longest = 0;
    for (int64_t i = 0; i < samples->n; i++) {
        int32_t n = lmf_sampling_prompt_tok(s, &samples->items[i]);
        longest = n > longest ? n : longest;
    }
    return longest;
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

int lmf_objective_n_reports(const lmf_objective *o)
{
    int n = 0;
    while (o->reports && o->reports[n].name)
        n++;
    return n;
}

const char *lmf_objective_report_at(const lmf_objective *o, int i, int *element)
{
    const char *name = o->reports[i].output ? o->reports[i].output : "report";
    *element = 0;
    for (int k = 0; k < i; k++)
        *element += strcmp(o->reports[k].output ? o->reports[k].output : "report", name) == 0;
    return name;
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

static int n_choices(const char *list)
{
    int n = 1;
    for (; *list; list++)
        n += *list == '|';
    return n;
}

bool lmf_objective_option_parse(const lmf_objective_option *f, const char *text, double *value)
{
    char *end;
    if (f->kind == LMF_FIELD_BOOL) {
        *value = strcmp(text, "true") == 0;
        return *value != 0 || strcmp(text, "false") == 0;
    }
    if (!f->choices) {
        *value = strtod(text, &end);
        return end != text && *end == 0;
    }
    size_t n = strlen(text);
    const char *at = f->choices;
    for (*value = 0; at; *value += 1) {
        if (strncmp(at, text, n) == 0 && (at[n] == '|' || at[n] == 0))
            return true;
        at = strchr(at, '|');
        at += at != NULL;
    }
    return false;
}

lmf_status lmf_objective_set(lmf_ctx *ctx, const lmf_objective *o, void *opts, const char *name, double value)
{
    for (const lmf_objective_option *f = o->options; f && f->name; f++) {
        if (strcmp(f->name, name))
            continue;
        double lo = f->choices || f->kind == LMF_FIELD_BOOL ? 0 : f->lo;
        double hi = f->choices ? n_choices(f->choices) - 1 : f->kind == LMF_FIELD_BOOL ? 1 : f->hi;
        if (!(value >= lo && value <= hi))
            return LMF_FAIL(ctx, LMF_E_ARG, "%s is %.9g, but must be from %.12g to %.12g", name, value, lo, hi);
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
        double value;
        if (!lmf_objective_option_parse(f, f->fallback, &value))
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
