/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the token is read here and sent by http.c alone; no sentence holds it. */
#include <errno.h>
#include <math.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "base/file.h"
#include "hub/parts.h"

enum { MAX_TOKEN_FILE = 4096 };

static const char *env(const char *name)
{
    const char *v = getenv(name);
    return v && v[0] ? v : NULL;
}

static bool env_true(const char *name)
{
    static const char *const yes[] = { "1", "on", "yes", "true", "y", "t" };
    const char *v = env(name);
    for (size_t i = 0; v && i < sizeof yes / sizeof *yes; i++)
        if (!strcasecmp(v, yes[i]))
            return true;
    return false;
}

static lmf_status env_seconds(lmf_ctx *ctx, const char *name, double *out)
{
    const char *v = env(name);
    char *end;
    if (!v)
        return LMF_OK;
    *out = strtod(v, &end);
    if (end == v || *end || !isfinite(*out) || *out < 1 || *out > 86400)
        return LMF_FAIL(ctx, LMF_E_ARG, "%s is \"%.60s\", but must be a number of seconds from 1 to 86400", name, v);
    return LMF_OK;
}

/* "~/x" with the home folder in it. */
static lmf_status put_path(lmf_ctx *ctx, char *out, size_t n, const char *text, const char *more)
{
    const char *home = env("HOME");
    struct passwd *user = home || text[0] != '~' ? NULL : getpwuid(getuid());
    if (user)
        home = user->pw_dir;
    bool tilde = text[0] == '~' && (text[1] == '/' || !text[1]);
    if (tilde && !home)
        return LMF_FAIL(ctx, LMF_E_ARG, "there is no home folder for the cache of the hub; HF_HOME names another place");
    int k = snprintf(out, n, "%s%s%s%s", tilde ? home : "", text + tilde, more[0] ? "/" : "", more);
    return k > 0 && (size_t)k < n ? LMF_OK : LMF_FAIL(ctx, LMF_E_LIMIT, "the path of the hub's cache is too long");
}

static lmf_status places(lmf_hub *h, char *token_path, size_t n)
{
    char home[1024];
    const char *cache = env("HF_HUB_CACHE");
    if (env("HF_HOME"))
        LMF_TRY(put_path(h->ctx, home, sizeof home, env("HF_HOME"), ""));
    else if (env("XDG_CACHE_HOME"))
        LMF_TRY(put_path(h->ctx, home, sizeof home, env("XDG_CACHE_HOME"), "huggingface"));
    else
        LMF_TRY(put_path(h->ctx, home, sizeof home, "~/.cache", "huggingface"));
    LMF_TRY(put_path(h->ctx, h->cache, sizeof h->cache, cache ? cache : home, cache ? "" : "hub"));
    return put_path(h->ctx, token_path, n, env("HF_TOKEN_PATH") ? env("HF_TOKEN_PATH") : home, env("HF_TOKEN_PATH") ? "" : "token");
}

static lmf_status take_token(lmf_hub *h, const char *from, const char *text, size_t n)
{
    while (n && strchr(" \t\r\n", text[n - 1]))
        n--;
    while (n && strchr(" \t\r\n", *text))
        text++, n--;
    bool plain = n < sizeof h->token;
    for (size_t i = 0; i < n; i++)
        plain = plain && text[i] > 0x20 && text[i] < 0x7F;
    if (!plain)
        return LMF_FAIL(h->ctx, LMF_E_ARG, "%s holds no token: a token is one word of at most %zu bytes", from, sizeof h->token - 1);
    memcpy(h->token, text, n);
    return LMF_OK;
}

static lmf_status find_token(lmf_hub *h, const char *path)
{
    char *text;
    size_t n;
    if (env_true("HF_HUB_DISABLE_IMPLICIT_TOKEN"))
        return LMF_OK;
    const char *names[] = { "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN" };
    for (int i = 0; i < 2; i++)
        if (env(names[i]))
            return take_token(h, names[i], env(names[i]), strlen(env(names[i])));
    if (lmf_path_stat(path) != LMF_PATH_FILE)
        return LMF_OK;
    LMF_TRY(lmf_file_read(h->ctx, path, MAX_TOKEN_FILE, &text, &n));
    lmf_status s = take_token(h, path, text, n);
    lmf_free(h->ctx, text, n + 1);
    return s;
}

static lmf_status read_environment(lmf_hub *h)
{
    char token_path[2048];
    const char *endpoint = env("HF_ENDPOINT") ? env("HF_ENDPOINT") : "https://huggingface.co";
    size_t n = strlen(endpoint);
    while (n && endpoint[n - 1] == '/')
        n--;
    if ((strncmp(endpoint, "https://", 8) && strncmp(endpoint, "http://", 7)) || n >= sizeof h->endpoint || strpbrk(endpoint, "@ \t\r\n?#"))
        return LMF_FAIL(h->ctx, LMF_E_ARG, "HF_ENDPOINT is \"%.100s\", but must begin with https:// or http:// and name a host", endpoint);
    memcpy(h->endpoint, endpoint, n);
    h->offline = env_true("HF_HUB_OFFLINE") || env_true("TRANSFORMERS_OFFLINE");
    h->no_links = env_true("HF_HUB_DISABLE_SYMLINKS");
    h->etag_timeout = h->download_timeout = 10;
    LMF_TRY(env_seconds(h->ctx, "HF_HUB_ETAG_TIMEOUT", &h->etag_timeout));
    LMF_TRY(env_seconds(h->ctx, "HF_HUB_DOWNLOAD_TIMEOUT", &h->download_timeout));
    LMF_TRY(places(h, token_path, sizeof token_path));
    if (env_true("HF_HUB_DISABLE_PROGRESS_BARS"))
        h->quiet = true;
    return h->offline ? LMF_OK : find_token(h, token_path);
}

lmf_status lmf_hub_open(lmf_ctx *ctx, const lmf_hub_watch *watch, lmf_hub **out)
{
    *out = NULL;
    lmf_hub *h = lmf_new(ctx, lmf_hub);
    if (!h)
        return LMF_NO_MEMORY(ctx, sizeof *h, "the hub's client");
    h->ctx = ctx;
    if (watch)
        h->watch = *watch;
    lmf_status s = read_environment(h);
    if (!s && !h->offline)
        s = lmf__http_open(h);
    if (s)
        lmf_hub_close(h);
    else
        *out = h;
    return s;
}

void lmf_hub_close(lmf_hub *h)
{
    if (!h)
        return;
    lmf__http_close(h);
    lmf_ctx *ctx = h->ctx;
    memset(h->token, 0, sizeof h->token);
    lmf_delete(ctx, h);
}

const char *lmf_hub_cache(const lmf_hub *h) { return h->cache; }
bool lmf_hub_is_quiet(const lmf_hub *h) { return h->quiet; }
