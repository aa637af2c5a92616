/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/objective_flags.h"
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

int lmf__objective_flags(lmf_arena *a, const lmf_tables *tables, size_t at_objective, size_t at_values, lmf_flag *out, int n)
{
    const lmf_objective_option *options[LMF_MAX_OBJECTIVE_FLAGS];
    char *choices = NULL, *help = NULL;
    for (const lmf_objective *const *o = tables->objectives; *o; o++) {
        choices = lmf_arena_printf(a, "%s%s%s", choices ? choices : "", choices ? "|" : "", (*o)->name);
        help = lmf_arena_printf(a, "%s%s%s: %s", help ? help : "what is trained for. ", choices && strchr(choices, '|') ? "; " : "",
                                (*o)->name, (*o)->summary);
        if (!choices || !help)
            return -1;
    }
    if (n < 1 || !choices)
        return -1;
    out[0] = (lmf_flag){ .name = "objective", .kind = LMF_FLAG_CHOICE, .offset = at_objective,
                         .fallback = lmf_train_opts_default().objective, .choices = choices,
                         .help = help };
    int n_options = at_values == SIZE_MAX ? 0 : all_options(tables, options);
    for (int i = 0; i < n_options && i + 1 < n; i++)
        out[i + 1] = (lmf_flag){ .name = options[i]->name, .kind = LMF_FLAG_DOUBLE, .offset = at_values + (size_t)i * sizeof(double),
                                 .lo = options[i]->lo, .hi = options[i]->hi, .fallback = options[i]->fallback, .late = true,
                                 .help = options[i]->help };
    return n_options + 1 < n ? n_options + 1 : n;
}

lmf_status lmf__objective_values(lmf_ctx *ctx, const lmf_objective *o, const double *values, lmf_objective_value *out, int *n)
{
    const lmf_objective_option *options[LMF_MAX_OBJECTIVE_FLAGS];
    int n_options = all_options(ctx->tables, options);
    *n = 0;
    for (int i = 0; i < n_options; i++) {
        if (isnan(values[i]))
            continue;
        if (!find_option(o, options[i]->name))
            return LMF_FAIL(ctx, LMF_E_ARG, "--%s is no option of --objective %s", options[i]->name, o->name);
        out[(*n)++] = (lmf_objective_value){ options[i]->name, values[i] };
    }
    return LMF_OK;
}
