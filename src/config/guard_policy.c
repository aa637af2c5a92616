/* SPDX-License-Identifier: Apache-2.0 */
#include "config/guard_policy.h"
#include <stdlib.h>
#include <string.h>
#include "config/document.h"

static const char entities[] = "entities.", phrases[] = "phrases.";

static lmf_status take_text(lmf_ctx *ctx, const lmf_setting *s, char *to, size_t n)
{
    if (!s->text || strlen(s->text) >= n)
        return LMF_FAIL(ctx, LMF_E_ARG, "%s is a text of at most %zu bytes", s->path, n - 1);
    memcpy(to, s->text, strlen(s->text) + 1);
    return LMF_OK;
}

static lmf_status take_count(lmf_ctx *ctx, const lmf_setting *s, int64_t *to)
{
    char *end = NULL;
    long long n = s->text ? strtoll(s->text, &end, 10) : 0;
    if (!end || end == s->text || *end || n < 1 || n > INT32_MAX)
        return LMF_FAIL(ctx, LMF_E_ARG, "%s is a whole number from 1 on, not %s", s->path, s->text ? s->text : "null");
    *to = n;
    return LMF_OK;
}

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
    if (!strcmp(s->path, "name")) {
        static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";
        LMF_TRY(take_text(ctx, s, out->name, sizeof out->name));
        return out->name[0] && strspn(out->name, letters) == strlen(out->name)
            ? LMF_OK : LMF_FAIL(ctx, LMF_E_ARG, "name is made of letters, digits, and - _ ., not %s", s->text);
    }
    if (!strcmp(s->path, "salt"))
        return take_text(ctx, s, out->salt, sizeof out->salt);
    if (!strcmp(s->path, "key"))
        return take_text(ctx, s, out->key, sizeof out->key);
    if (!strcmp(s->path, "max_prompt_tokens"))
        return take_count(ctx, s, &out->max_prompt_tok);
    if (!strcmp(s->path, "max_answer_tokens"))
        return take_count(ctx, s, &out->max_answer_tok);
    if ((!strcmp(s->path, "entities") || !strcmp(s->path, "phrases")) && !s->text)
        return LMF_OK;
    if (!strncmp(s->path, phrases, sizeof phrases - 1) && strspn(s->path + sizeof phrases - 1, "0123456789") ==
        strlen(s->path + sizeof phrases - 1))
        return lmf_guard_policy_add_phrase(ctx, out, s->text ? s->text : "");
    if (!strncmp(s->path, entities, sizeof entities - 1))
        return lmf_guard_policy_set(ctx, out, s->path + sizeof entities - 1, s->text ? s->text : "null");
    return LMF_FAIL(ctx, LMF_E_ARG, "no setting is called %s; there are name, threshold, salt, key, phrases, max_prompt_tokens, "
                    "max_answer_tokens and entities", s->path);
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
    lmf_status s = lmf_guard_policy_check(ctx, out);
    return s ? lmf_fail_prefix(ctx, s, "%s", d->name) : LMF_OK;
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
