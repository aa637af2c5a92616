/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/tenant.h"
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "format/json.h"

enum { MAX_FILE = 16 << 20, DAY = 86400, LEAST_KEY = 8 };

static lmf_status bad(lmf_ctx *ctx, const char *path, size_t i, const char *what)
{
    return LMF_FAIL(ctx, LMF_E_FORMAT, "%s: keys[%zu] %s", path, i, what);
}

static lmf_status read_limit(lmf_ctx *ctx, const char *path, size_t i, const json_t *entry, const char *name, int64_t *out)
{
    const json_t *v = json_object_get(entry, name);
    char what[96];
    if (!v)
        return LMF_OK;
    *out = json_integer_value(v);
    snprintf(what, sizeof what, "has %s, which must be a whole number from 1 on", name);
    return json_is_integer(v) && *out > 0 ? LMF_OK : bad(ctx, path, i, what);
}

/* A path, from the folder of the file that names it. */
static json_t *beside(const char *file, const char *name)
{
    const char *end = strrchr(file, '/');
    int n = end && *name != '/' ? (int)(end + 1 - file) : 0;
    return json_sprintf("%.*s%s", n, file, name);
}

static lmf_status read_right(lmf_ctx *ctx, const char *path, size_t i, const json_t *entry, const char *name, bool *out)
{
    const json_t *v = json_object_get(entry, name);
    char what[96];
    snprintf(what, sizeof what, "has %s, which must be true or false", name);
    *out = json_is_true(v);
    return !v || json_is_boolean(v) ? LMF_OK : bad(ctx, path, i, what);
}

static lmf_status read_entry(lmf_tenants *all, const char *path, const json_t *entry, lmf_tenant *t, size_t i)
{
    static const char *const known[] = { "name", "sha256", "requests_per_minute", "concurrent_requests", "tokens_per_day", "models",
                                         "metrics", "adapters", "guard", NULL };
    lmf_ctx *ctx = all->ctx;
    const char *name = json_string_value(json_object_get(entry, "name")), *digest = json_string_value(json_object_get(entry, "sha256")),
        *key;
    json_t *models = json_object_get(entry, "models"), *v;
    const json_t *guard = json_object_get(entry, "guard");
    json_object_foreach((json_t *)(uintptr_t)entry, key, v) {
        size_t k = 0;
        while (known[k] && strcmp(known[k], key))
            k++;
        if (!known[k])
            return bad(ctx, path, i,
                       "has a member that is not known; name, sha256, requests_per_minute, concurrent_requests, tokens_per_day, "
                       "models, metrics, adapters and guard are");
    }
    static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.@";
    if (!name || !*name || strlen(name) >= LMF_TENANT_NAME_BYTES || strspn(name, letters) != strlen(name))
        return bad(ctx, path, i, "must have a name of 1 to 63 letters, digits, and - _ . @");
    if (!digest || strlen(digest) != 64 || strspn(digest, "0123456789abcdef") != 64)
        return bad(ctx, path, i, "must have sha256, 64 digits of 0-9 a-f; printf %s KEY | sha256sum prints them");
    for (const lmf_tenant *other = all->of; other < t; other++)
        if (strcmp(other->name, name) == 0 || strcmp(other->digest, digest) == 0)
            return bad(ctx, path, i, "has the name or the hash of another");
    snprintf(t->name, sizeof t->name, "%s", name);
    snprintf(t->digest, sizeof t->digest, "%s", digest);
    LMF_TRY(read_limit(ctx, path, i, entry, "requests_per_minute", &t->per_minute));
    LMF_TRY(read_limit(ctx, path, i, entry, "concurrent_requests", &t->most_live));
    LMF_TRY(read_limit(ctx, path, i, entry, "tokens_per_day", &t->tok_per_day));
    for (size_t k = 0; models && k < json_array_size(models); k++)
        if (!json_is_string(json_array_get(models, k)))
            return bad(ctx, path, i, "has models, which must be a list of names");
    if (models && !json_array_size(models))
        return bad(ctx, path, i, "has models, which must be a list of names, and not empty");
    LMF_TRY(read_right(ctx, path, i, entry, "metrics", &t->metrics));
    LMF_TRY(read_right(ctx, path, i, entry, "adapters", &t->adapters));
    if (guard && json_string_length(guard) == 0)
        return bad(ctx, path, i, "has guard, which must be the path of a policy");
    if (guard && !(t->guard = beside(path, json_string_value(guard))))
        return LMF_NO_MEMORY(ctx, 1024, "a path");
    t->models = json_incref(models);
    t->allowance = (double)t->per_minute;
    return LMF_OK;
}

static lmf_status read_file(lmf_tenants *all, const char *path)
{
    json_t *root = NULL;
    LMF_TRY(lmf_json_load(all->ctx, path, MAX_FILE, LMF_JSON_HEADER, &root));
    const json_t *keys = json_object_get(root, "keys");
    size_t n = json_array_size(keys);
    lmf_status s = LMF_OK;
    if (n < 1 || n > LMF_MAX_TENANTS || json_object_size(root) != 1)
        s = LMF_FAIL(all->ctx, LMF_E_FORMAT, "%s: must be {\"keys\": [...]} with 1 to %d keys, and nothing else", path, LMF_MAX_TENANTS);
    if (!s && !(all->of = lmf_alloc(all->ctx, n * sizeof *all->of)))
        s = LMF_NO_MEMORY(all->ctx, n * sizeof *all->of, "the keys");
    all->n = s ? 0 : (int32_t)n;
    for (size_t i = 0; !s && i < n; i++)
        s = read_entry(all, path, json_array_get(keys, i), &all->of[i], i);
    json_decref(root);
    return s;
}

lmf_status lmf__tenants_open(lmf_tenants *all, lmf_ctx *ctx, const char *key, const char *path)
{
    *all = (lmf_tenants){ .ctx = ctx, .has_keys = key || path };
    if (key && path)
        return LMF_FAIL(ctx, LMF_E_ARG, "give a key or a file of keys, not both");
    if (key && strlen(key) < LEAST_KEY)
        return LMF_FAIL(ctx, LMF_E_ARG, "the key has %zu characters; take at least %d, they are easily guessed otherwise", strlen(key),
                        LEAST_KEY);
    if (path) {
        LMF_TRY(read_file(all, path));
    } else {
        if (!(all->of = lmf_new(ctx, lmf_tenant)))
            return LMF_NO_MEMORY(ctx, sizeof *all->of, "a key");
        all->n = 1;
        *all->of = (lmf_tenant){ .metrics = true, .adapters = true };
        if (key) {
            snprintf(all->of->name, sizeof all->of->name, "default");
            LMF_TRY(lmf_sha256_hex(ctx, key, strlen(key), all->of->digest));
        }
    }
    for (int32_t i = 0; i < all->n; i++)
        all->of[i].salt = (uint64_t)i;
    return LMF_OK;
}

void lmf__tenants_close(lmf_tenants *all)
{
    for (int32_t i = 0; i < all->n; i++)
        json_decref(all->of[i].models), json_decref(all->of[i].guard);
    lmf_free(all->ctx, all->of, (size_t)all->n * sizeof *all->of);
    *all = (lmf_tenants){ 0 };
}

lmf_tenant *lmf__tenants_find(lmf_tenants *all, const char *key)
{
    char digest[65];
    intptr_t found = -1;
    if (lmf_sha256_hex(all->ctx, key, strlen(key), digest))
        return NULL;
    for (int32_t i = 0; i < all->n; i++) {
        unsigned char differs = 0;
        for (size_t k = 0; k < 64; k++) /* all of it, wherever they differ first */
            differs |= (unsigned char)(digest[k] ^ all->of[i].digest[k]);
        intptr_t same = (intptr_t)((unsigned)(differs - 1) >> 8 & 1); /* no branch */
        found += same * (i - found);
    }
    return found < 0 ? NULL : &all->of[found];
}

bool lmf__tenant_may_use(const lmf_tenant *t, const char *model)
{
    for (size_t i = 0; t->models && i < json_array_size(t->models); i++)
        if (strcmp(json_string_value(json_array_get(t->models, i)), model) == 0)
            return true;
    return !t->models;
}

static bool too_many(lmf_tenant *t, lmf_fault *f, int64_t wait_s, const char *why, int64_t limit)
{
    t->n_refused++;
    lmf__refuse(f, 429, NULL, "rate_limit_exceeded", "%s (%lld)", why, (long long)limit);
    f->retry_s = wait_s > 1 ? (int)wait_s : 1;
    return false;
}

static void turn_day(lmf_tenant *t, int64_t now_unix)
{
    if (now_unix / DAY != t->day)
        t->day = now_unix / DAY, t->day_tok = 0;
}

bool lmf__tenant_begin(lmf_tenant *t, int64_t now_us, int64_t now_unix, lmf_fault *f)
{
    turn_day(t, now_unix);
    if (t->most_live && t->n_live >= t->most_live)
        return too_many(t, f, 1, "this key has as many requests at once as it may", t->most_live);
    if (t->tok_per_day && t->day_tok >= t->tok_per_day)
        return too_many(t, f, DAY - now_unix % DAY, "this key's tokens of the day are used up", t->tok_per_day);
    if (t->per_minute) {
        double rate = (double)t->per_minute / 60e6;
        if (t->allowed_us)
            t->allowance += rate * (double)(now_us - t->allowed_us);
        t->allowance = t->allowance < (double)t->per_minute ? t->allowance : (double)t->per_minute;
        t->allowed_us = now_us;
        if (t->allowance < 1)
            return too_many(t, f, (int64_t)((1 - t->allowance) / rate / 1e6) + 1, "this key has made as many requests a minute as it may",
                            t->per_minute);
        t->allowance -= 1;
    }
    t->n_requests++;
    t->n_live++;
    return true;
}

void lmf__tenant_end(lmf_tenant *t) { t->n_live--; }

void lmf__tenant_count(lmf_tenant *t, int64_t now_unix, int64_t n_prompt, int64_t n_answer)
{
    turn_day(t, now_unix);
    t->n_prompt_tok += n_prompt;
    t->n_answer_tok += n_answer;
    t->day_tok += n_prompt + n_answer;
}
