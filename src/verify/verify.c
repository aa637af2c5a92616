/* SPDX-License-Identifier: Apache-2.0 */
#include "verify/verify.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

static const lmf_verifier *find(const lmf_ctx *ctx, const char *name)
{
    for (const lmf_verifier *const *v = ctx->tables->verifiers; *v; v++)
        if (strcmp((*v)->name, name) == 0)
            return *v;
    return NULL;
}

static lmf_status refuse_name(lmf_ctx *ctx, const char *name)
{
    char names[256] = "";
    size_t at = 0;
    for (const lmf_verifier *const *v = ctx->tables->verifiers; *v; v++)
        if (at + strlen((*v)->name) + 3 < sizeof names)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", at ? ", " : "", (*v)->name);
    return LMF_FAIL(ctx, LMF_E_ARG, "there is no verifier \"%.64s\"; there are: %s", name, names);
}

/* Cuts "=0.5" off the end of text, if it is there. */
static lmf_status take_weight(lmf_ctx *ctx, char *text, double *weight)
{
    char *equals = strrchr(text, '='), *end;
    *weight = 1;
    if (!equals)
        return LMF_OK;
    double w = strtod(equals + 1, &end);
    bool number = end != equals + 1 && !*end;
    if (!number && strchr(text, ':')) /* part of the argument */
        return LMF_OK;
    if (!number || !isfinite(w))
        return LMF_FAIL(ctx, LMF_E_ARG, "the reward \"%.200s\" has the weight \"%.60s\", which is no number", text, equals + 1);
    *weight = w;
    *equals = 0;
    return LMF_OK;
}

static lmf_status open_one(lmf_arena *a, const char *spec, const lmf_verify_opts *opts, lmf_reward *out)
{
    lmf_ctx *ctx = a->ctx;
    char *text = lmf_arena_strdup(a, spec), *name = NULL;
    if (text) {
        LMF_TRY(take_weight(ctx, text, &out->weight));
        name = lmf_arena_strdup(a, text);
    }
    if (!name)
        return LMF_NO_MEMORY(ctx, strlen(spec), "a reward");
    char *argument = strchr(name, ':');
    out->text = text;
    if (argument)
        *argument++ = 0;
    const lmf_verifier *v = find(ctx, name);
    if (!v)
        return refuse_name(ctx, name);
    if (argument && !v->argument)
        return LMF_FAIL(ctx, LMF_E_ARG, "the verifier %s takes no argument, and has \"%.200s\"", name, argument);
    if (v->needs_argument && (!argument || !*argument))
        return LMF_FAIL(ctx, LMF_E_ARG, "the verifier %s needs an argument, %s:ARGUMENT: %s", name, name, v->argument);
    LMF_TRY(v->open ? v->open(ctx, argument, opts, &out->state) : LMF_OK);
    out->verifier = v;
    return LMF_OK;
}

lmf_status lmf_rewards_open(lmf_ctx *ctx, const char *const *spec, int n, const lmf_verify_opts *opts, lmf_rewards **out)
{
    lmf_verify_opts o = opts ? *opts : (lmf_verify_opts){ 0 };
    lmf_status s = LMF_OK;
    *out = NULL;
    o.timeout_s = o.timeout_s > 0 ? o.timeout_s : 30;
    if (n < 1 || n > LMF_MAX_REWARDS)
        return LMF_FAIL(ctx, LMF_E_ARG, "%d rewards: 1 to %d are possible", n, LMF_MAX_REWARDS);
    lmf_rewards *r = lmf_new(ctx, lmf_rewards);
    if (!r)
        return LMF_NO_MEMORY(ctx, sizeof *r, "rewards");
    r->ctx = ctx;
    lmf_arena_init(&r->arena, ctx, 1 << 24);
    for (int i = 0; !s && i < n; i++, r->n++)
        s = open_one(&r->arena, spec[i], &o, &r->item[i]);
    for (int i = 1; !s && i < n; i++)
        for (int k = 0; !s && k < i; k++)
            if (strcmp(r->item[i].text, r->item[k].text) == 0)
                s = LMF_FAIL(ctx, LMF_E_ARG, "the reward \"%.200s\" is given twice; give it once, with a greater weight", r->item[i].text);
    if (s)
        lmf_rewards_close(r);
    else
        *out = r;
    return s;
}

void lmf_rewards_close(lmf_rewards *r)
{
    if (!r)
        return;
    lmf_ctx *ctx = r->ctx;
    for (int i = 0; i < LMF_MAX_REWARDS; i++) {
        lmf_reward *x = &r->item[i];
        if (x->verifier && x->verifier->close)
            x->verifier->close(ctx, x->state);
    }
    lmf_arena_clear(&r->arena);
    lmf_delete(ctx, r);
}

lmf_status lmf_rewards_score(lmf_rewards *r, const lmf_verify_in *in, double *score, double *total)
{
    *total = 0;
    for (int i = 0; i < r->n; i++) {
        const lmf_reward *x = &r->item[i];
        lmf_status s = x->verifier->score(r->ctx, x->state, in, &score[i]);
        if (s)
            return lmf_fail_prefix(r->ctx, s, "the reward %.200s", x->text);
        if (!isfinite(score[i]))
            return LMF_FAIL(r->ctx, LMF_E_FORMAT, "the reward %.200s gave %g, which is not finite", x->text, score[i]);
        *total += x->weight * score[i];
    }
    return LMF_OK;
}
