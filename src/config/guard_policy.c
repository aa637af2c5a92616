/* SPDX-License-Identifier: Apache-2.0 */
#include "config/guard_policy.h"
#include <stdlib.h>
#include <string.h>
#include "config/document.h"

static const char entities[] = "entities.";

static lmf_status take(lmf_ctx *ctx, const lmf_setting *s, lmf_guard_policy *out)
{
    if (!strcmp(s->path, "threshold")) {
        char *end = NULL;
        double x = s->text ? strtod(s->text, &end) : 0;
        if (!end || end == s->text || *end || !(x >= 0 && x <= 1))
            return LMF_FAIL(ctx, LMF_E_ARG, "threshold is a number from 0 to 1, not %s", s->text ? s->text : "null");
        out->threshold = (float)x;
        return LMF_OK;
    }
    if (!strcmp(s->path, "salt")) {
        if (!s->text || strlen(s->text) >= sizeof out->salt)
            return LMF_FAIL(ctx, LMF_E_ARG, "salt is a text of at most %zu bytes", sizeof out->salt - 1);
        memcpy(out->salt, s->text, strlen(s->text) + 1);
        return LMF_OK;
    }
    if (!strcmp(s->path, "entities") && !s->text)
        return LMF_OK;
    if (!strncmp(s->path, entities, sizeof entities - 1))
        return lmf_guard_policy_set(ctx, out, s->path + sizeof entities - 1, s->text ? s->text : "null");
    return LMF_FAIL(ctx, LMF_E_ARG, "no setting is called %s; there are threshold, salt and entities", s->path);
}

static lmf_status apply(lmf_ctx *ctx, const lmf_document *d, lmf_guard_policy *out)
{
    char where[600];
    lmf_guard_policy_init(out);
    for (int pass = 0; pass < 2; pass++) /* DEFAULT first, wherever it stands */
        for (int i = 0; i < d->n; i++) {
            bool first = !strcmp(d->items[i].path, "entities.DEFAULT");
            lmf_status s = first == (pass == 0) ? take(ctx, &d->items[i], out) : LMF_OK;
            if (s)
                return lmf_fail_prefix(ctx, s, "%s", lmf__document_where(d, d->items[i].line, where, sizeof where));
        }
    return LMF_OK;
}

lmf_status lmf_guard_policy_parse(lmf_ctx *ctx, const char *name, const char *text, size_t n, lmf_guard_policy *out)
{
    lmf_arena a;
    lmf_document d;
    lmf_arena_init(&a, ctx, (size_t)1 << 26);
    lmf_status s = lmf_document_parse(&a, name, text, n, &d);
    if (!s)
        s = apply(ctx, &d, out);
    lmf_arena_clear(&a);
    return s;
}

lmf_status lmf_guard_policy_load(lmf_ctx *ctx, const char *path, lmf_guard_policy *out)
{
    lmf_arena a;
    lmf_document d;
    lmf_arena_init(&a, ctx, (size_t)1 << 26);
    lmf_status s = lmf_document_load(&a, path, &d);
    if (!s)
        s = apply(ctx, &d, out);
    lmf_arena_clear(&a);
    return s;
}
