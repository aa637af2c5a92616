/* SPDX-License-Identifier: Apache-2.0 */
#include "train/objective_flags.h"
#include <math.h>
#include <string.h>

static const lmf_objective_option *find_option(const lmf_objective *o, const char *name)
{
    for (const lmf_objective_option *f = o->options; f && f->name; f++)
        if (strcmp(f->name, name) == 0)
            return f;
    return NULL;
}

/* Options of all objectives, each name once, in the order of the tables. */
static int all_options(const lmf_tables *tables, const lmf_objective_option **out)
{
    int n = 0;
    for (const lmf_objective *const *o = tables->objectives; *o; o++)
        for (const lmf_objective_option *f = (*o)->options; f && f->name && n < LMF_MAX_OBJECTIVE_FLAGS; f++) {
            int k = 0;
            while (k < n && strcmp(out[k]->name, f->name))
                k++;
            if (k == n)
                out[n++] = f;
        }
    return n;
}

/* The default of an option, and who has another: "0.1, simpo 2". */
static const char *defaults_text(lmf_arena *a, const lmf_tables *tables, const lmf_objective_option *first)
{
    const char *text = first->fallback;
    for (const lmf_objective *const *o = tables->objectives; *o && text; o++) {
        const lmf_objective_option *f = find_option(*o, first->name);
        if (f && strcmp(f->fallback, first->fallback))
            text = lmf_arena_printf(a, "%s, %s %s", text, (*o)->name, f->fallback);
    }
    return text;
}

/* "dpo, ipo: what it does", and another meaning behind it. */
static const char *help_text(lmf_arena *a, const lmf_tables *tables, const char *name)
{
    const char *text = NULL, *last = NULL;
    bool taken[LMF_MAX_OBJECTIVE_FLAGS] = { false };
    for (int i = 0; tables->objectives[i] && i < LMF_MAX_OBJECTIVE_FLAGS; i++) {
        const lmf_objective_option *f = find_option(tables->objectives[i], name);
        if (!f || taken[i])
            continue;
        for (int k = i; tables->objectives[k] && k < LMF_MAX_OBJECTIVE_FLAGS; k++) {
            const lmf_objective_option *g = find_option(tables->objectives[k], name);
            if (!g || strcmp(g->help, f->help))
                continue;
            text = lmf_arena_printf(a, "%s%s%s", text ? text : "", !text ? "" : last == f->help ? ", " : "; ", tables->objectives[k]->name);
            last = f->help;
            taken[k] = true;
        }
        text = text ? lmf_arena_printf(a, "%s: %s", text, f->help) : NULL;
    }
    return text;
}

/* Choices of all objectives that have the option, each once. */
static const char *all_choices(lmf_arena *a, const lmf_tables *tables, const char *name)
{
    const char *text = NULL;
    for (const lmf_objective *const *o = tables->objectives; *o; o++) {
        const lmf_objective_option *f = find_option(*o, name);
        for (const char *at = f ? f->choices : NULL; at; at = strchr(at, '|') ? strchr(at, '|') + 1 : NULL) {
            size_t n = strcspn(at, "|");
            const char *have = text;
            while (have && (strncmp(have, at, n) || (have[n] != '|' && have[n])))
                have = strchr(have, '|') ? strchr(have, '|') + 1 : NULL;
            if (!have && !(text = lmf_arena_printf(a, "%s%s%.*s", text ? text : "", text ? "|" : "", (int)n, at)))
                return NULL;
        }
    }
    return text;
}

int lmf__objective_choice(lmf_arena *a, const lmf_tables *tables, uint32_t takes, size_t at_objective, const char *fallback, lmf_flag *out)
{
    char *choices = NULL, *help = NULL;
    for (const lmf_objective *const *o = tables->objectives; *o; o++) {
        if (!((*o)->takes & takes))
            continue;
        help = lmf_arena_printf(a, "%s%s%s: %s", help ? help : "what is trained for. ", choices ? "; " : "", (*o)->name, (*o)->summary);
        choices = lmf_arena_printf(a, "%s%s%s", choices ? choices : "", choices ? "|" : "", (*o)->name);
        if (!choices || !help)
            return -1;
    }
    *out = (lmf_flag){ .name = "objective", .kind = LMF_FLAG_CHOICE, .offset = at_objective, .fallback = fallback, .choices = choices,
                       .help = help };
    return 1;
}

int lmf__objective_flags(lmf_arena *a, const lmf_tables *tables, size_t at_objective, size_t at_values, lmf_flag *out, int n)
{
    const lmf_objective_option *options[LMF_MAX_OBJECTIVE_FLAGS];
    if (n < 1 || lmf__objective_choice(a, tables, UINT32_MAX, at_objective, lmf_train_opts_default().objective, out) < 0)
        return -1;
    int n_options = at_values == SIZE_MAX ? 0 : all_options(tables, options), at = 1;
    for (int i = 0; i < n_options && at < n; i++, at++) {
        const lmf_objective_option *f = options[i];
        lmf_flag *flag = &out[at];
        *flag = (lmf_flag){ .name = f->name, .offset = at_values + (size_t)i * sizeof(lmf_late), .late = true,
                            .kind = f->choices ? LMF_FLAG_CHOICE : f->kind == LMF_FIELD_BOOL ? LMF_FLAG_BOOL : LMF_FLAG_DOUBLE,
                            .lo = f->lo, .hi = f->hi, .fallback = defaults_text(a, tables, f), .help = help_text(a, tables, f->name),
                            .choices = f->choices ? all_choices(a, tables, f->name) : NULL };
        bool is_on = false; /* somewhere, by default */
        for (const lmf_objective *const *o = tables->objectives; *o; o++) { /* the widest; each objective looks at its own */
            const lmf_objective_option *of = find_option(*o, f->name);
            flag->lo = of && of->lo < flag->lo ? of->lo : flag->lo;
            flag->hi = of && of->hi > flag->hi ? of->hi : flag->hi;
            is_on |= of && !strcmp(of->fallback, "true");
        }
        if (flag->kind != LMF_FLAG_DOUBLE)
            flag->lo = flag->hi = 0;
        if (flag->kind == LMF_FLAG_BOOL && is_on && !(flag->no_help = lmf_arena_printf(a, "not so: %s", flag->help)))
            return -1;
        if (!flag->fallback || !flag->help || (f->choices && !flag->choices))
            return -1;
    }
    return at;
}

lmf_status lmf__objective_values(lmf_ctx *ctx, const lmf_objective *o, const lmf_late *values, lmf_objective_value *out, int *n)
{
    const lmf_objective_option *options[LMF_MAX_OBJECTIVE_FLAGS];
    int n_options = all_options(ctx->tables, options);
    *n = 0;
    for (int i = 0; i < n_options; i++) {
        const lmf_objective_option *f = find_option(o, options[i]->name);
        if (options[i]->choices ? !values[i].choice : isnan(values[i].number))
            continue;
        if (!f)
            return LMF_FAIL(ctx, LMF_E_ARG, "--%s is no option of the objective %s", options[i]->name, o->name);
        if (f->kind != LMF_FIELD_BOOL && !f->choices && !(values[i].number >= f->lo && values[i].number <= f->hi))
            return LMF_FAIL(ctx, LMF_E_ARG, "--%s is %.9g, but must be from %.12g to %.12g for the objective %s", f->name, values[i].number,
                            f->lo, f->hi, o->name);
        lmf_objective_value *v = &out[(*n)++];
        *v = (lmf_objective_value){ f->name, f->choices ? 0 : values[i].number };
        if (f->choices && !lmf_objective_option_parse(f, values[i].choice, &v->value))
            return LMF_FAIL(ctx, LMF_E_ARG, "--%s is \"%s\", but the objective %s has only %s", f->name, values[i].choice, o->name,
                            f->choices);
    }
    return LMF_OK;
}
