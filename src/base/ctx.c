/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: live_bytes counts what was asked for, to the byte; every path that hands memory out or takes it
 * back passes through lmf_realloc. */
#include "base/ctx.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/cpu.h"
#include "base/plain.h"

const char *lmf_status_name(lmf_status s)
{
    switch (s) {
#define X(name, value, text) case LMF_##name: return #name;
        LMF_STATUS_LIST(X)
#undef X
    }
    return "E_UNKNOWN";
}

const char *lmf_status_text(lmf_status s)
{
    switch (s) {
#define X(name, value, text) case LMF_##name: return text;
        LMF_STATUS_LIST(X)
#undef X
    }
    return "unknown status";
}

static void *default_alloc(void *user, void *p, size_t old_bytes, size_t new_bytes)
{
    (void)user, (void)old_bytes;
    if (new_bytes == 0) {
        free(p);
        return NULL;
    }
    return realloc(p, new_bytes);
}

void lmf_ctx_init(lmf_ctx *ctx, const lmf_tables *tables)
{
    memset(ctx, 0, sizeof *ctx);
    ctx->alloc = default_alloc;
    ctx->tables = tables;
    ctx->cpu_features = lmf_cpu_features();
    ctx->n_workers = lmf_cpu_workers();
    pthread_mutex_init(&ctx->lock, NULL);
}

void lmf_ctx_clear(lmf_ctx *ctx)
{
    pthread_mutex_destroy(&ctx->lock);
}

lmf_error_record *lmf_error_here(lmf_ctx *ctx)
{
    lmf_error_record *own = ctx->record ? ctx->record(ctx->record_user) : NULL;
    return own ? own : &ctx->error;
}

const char *lmf_error(const lmf_ctx *ctx)
{
    return lmf_error_here((lmf_ctx *)ctx)->text;
}

lmf_status lmf_fail_at(lmf_ctx *ctx, const char *file, int line, lmf_status s, const char *fmt, ...)
{
    va_list ap;
    lmf_error_record *r = lmf_error_here(ctx);
    pthread_mutex_lock(&ctx->lock);
    r->status = s;
    r->file = file;
    r->line = line;
    va_start(ap, fmt);
    char text[sizeof r->text];
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    lmf_plain_text(text, r->text, sizeof r->text);
    pthread_mutex_unlock(&ctx->lock);
    return s;
}

lmf_status lmf_fail_prefix(lmf_ctx *ctx, lmf_status s, const char *fmt, ...)
{
    lmf_error_record *r = lmf_error_here(ctx);
    char old[sizeof r->text], text[sizeof old];
    va_list ap;
    pthread_mutex_lock(&ctx->lock);
    memcpy(old, r->text, sizeof old);
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    lmf_plain_text(text, r->text, sizeof r->text);
    size_t n = strlen(r->text);
    if (n + 3 < sizeof old) {
        memcpy(r->text + n, ": ", 3);
        lmf_plain_text(old, r->text + n + 2, sizeof old - n - 2);
    }
    pthread_mutex_unlock(&ctx->lock);
    return s;
}

int lmf_shim(lmf_ctx *ctx, lmf_site site)
{
    return ctx->fault ? ctx->fault(ctx->fault_user, site) : 0;
}

void *lmf_alloc(lmf_ctx *ctx, size_t bytes)
{
    return lmf_realloc(ctx, NULL, 0, bytes);
}

void *lmf_realloc(lmf_ctx *ctx, void *p, size_t old_bytes, size_t new_bytes)
{
    LMF_ASSERT(new_bytes > 0);
    if (lmf_shim(ctx, LMF_SITE_ALLOC))
        return NULL;
    void *q = ctx->alloc(ctx->alloc_user, p, old_bytes, new_bytes);
    if (!q)
        return NULL;
    if (new_bytes > old_bytes)
        memset((char *)q + old_bytes, 0, new_bytes - old_bytes);
    pthread_mutex_lock(&ctx->lock);
    ctx->live_bytes += new_bytes - old_bytes;
    if (ctx->live_bytes > ctx->peak_bytes)
        ctx->peak_bytes = ctx->live_bytes;
    pthread_mutex_unlock(&ctx->lock);
    return q;
}

void lmf_free(lmf_ctx *ctx, void *p, size_t bytes)
{
    if (!p)
        return;
    ctx->alloc(ctx->alloc_user, p, bytes, 0);
    pthread_mutex_lock(&ctx->lock);
    ctx->live_bytes -= bytes;
    pthread_mutex_unlock(&ctx->lock);
}

__attribute__((weak)) _Noreturn void lmf_assert_failed(const char *condition, const char *file, int line)
{
    (void)condition, (void)file, (void)line; /* for the debugger */
    abort();
}

lmf_status lmf_opts_take(lmf_ctx *ctx, const char *name, void *to, const void *from, size_t bytes)
{
    size_t theirs = bytes;
    if (from)
        memcpy(&theirs, from, sizeof theirs);
    if (theirs != bytes)
        return LMF_FAIL(ctx, LMF_E_ARG, "%s has %zu bytes here, %zu in the caller: start from %s_default", name, bytes, theirs, name);
    if (from)
        memcpy(to, from, bytes);
    return LMF_OK;
}
