/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the values of the public enums are the internal ones, held here by the compiler; a status is passed on as it is. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include "api/api.h"
#include "base/cpu.h"

#define X(name, value, text) _Static_assert((int)LMF_##name == (int)LMFAST_##name, "a status has two values");
LMF_STATUS_LIST(X)
#undef X

enum { MAX_SLOTS = 1024, MAX_THREADS = 1024 };

const char *lmfast_version(void) { return LMF_VERSION; }
uint32_t    lmfast_abi_version(void) { return (uint32_t)LMFAST_ABI_MAJOR << 16 | LMFAST_ABI_MINOR; }
const char *lmfast_status_name(lmfast_status status) { return lmf_status_name((lmf_status)status); }
const char *lmfast_status_text(lmfast_status status) { return lmf_status_text((lmf_status)status); }

double lmf__api_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- the last failure of each thread ---- */
static lmf_error_record *record_of_thread(void *user)
{
    lmfast_context *c = user;
    pthread_t self = pthread_self();
    pthread_mutex_lock(&c->lock);
    lmf_api_slot *slot = c->slots;
    while (slot && !pthread_equal(slot->thread, self))
        slot = slot->next;
    bool make = !slot && c->n_slots < MAX_SLOTS;
    c->n_slots += make;
    pthread_mutex_unlock(&c->lock);
    if (!make)
        return slot ? &slot->record : NULL;
    slot = lmf_new(c->ctx, lmf_api_slot); /* NULL: the context's own record serves */
    pthread_mutex_lock(&c->lock);
    if (slot) {
        slot->thread = self, slot->next = c->slots;
        c->slots = slot;
    } else {
        c->n_slots--;
    }
    pthread_mutex_unlock(&c->lock);
    return slot ? &slot->record : NULL;
}

const char *lmfast_error(const lmfast_context *ctx) { return ctx ? lmf_error(ctx->ctx) : ""; }
lmfast_status lmfast_error_status(const lmfast_context *ctx) { return ctx ? lmf_error_here(ctx->ctx)->status : LMFAST_OK; }

/* ---- the handle ---- */
lmfast_status lmfast_context_create(lmfast_context **out)
{
    lmf_ctx *ctx;
    *out = NULL;
    if (lmf_ctx_create(&ctx))
        return LMFAST_E_MEMORY;
    lmfast_context *c = lmf_new(ctx, lmfast_context);
    if (!c) {
        lmf_ctx_destroy(ctx);
        return LMFAST_E_MEMORY;
    }
    c->ctx = ctx, c->process = getpid();
    atomic_init(&c->n_refs, 1);
    pthread_mutex_init(&c->lock, NULL);
    pthread_mutex_init(&c->build, NULL);
    ctx->record = record_of_thread, ctx->record_user = c;
    *out = c;
    return LMFAST_OK;
}

void lmf__context_release(lmfast_context *c)
{
    if (!c || atomic_fetch_sub(&c->n_refs, 1) != 1)
        return;
    lmf_ctx *ctx = c->ctx;
    ctx->record = NULL;
    for (lmf_api_slot *next; c->slots; c->slots = next) {
        next = c->slots->next;
        lmf_delete(ctx, c->slots);
    }
    pthread_mutex_destroy(&c->build);
    pthread_mutex_destroy(&c->lock);
    lmf_delete(ctx, c);
    lmf_ctx_destroy(ctx);
}

void lmfast_context_destroy(lmfast_context *ctx) { lmf__context_release(ctx); }

lmf_status lmf__api_enter(lmfast_context *c)
{
    if (c->process != getpid())
        return LMF_FAIL(c->ctx, LMF_E_UNSUPPORTED, "this handle was made by process %d, and this is process %d, forked off since: "
                        "its threads are not here. Make a context of its own after the fork", (int)c->process, (int)getpid());
    return LMF_OK;
}

lmfast_status lmfast_context_set_threads(lmfast_context *ctx, int32_t n)
{
    if (!ctx)
        return LMFAST_E_ARG;
    LMF_TRY(lmf__api_enter(ctx));
    if (n < 0 || n > MAX_THREADS)
        return LMF_FAIL(ctx->ctx, LMF_E_ARG, "threads is %d; allowed is 0 (all) to %d", (int)n, MAX_THREADS);
    ctx->ctx->n_workers = n ? n : lmf_cpu_workers();
    return LMFAST_OK;
}

lmfast_status lmfast_context_set_isa(lmfast_context *ctx, const char *level)
{
    uint64_t allowed;
    if (!ctx)
        return LMFAST_E_ARG;
    LMF_TRY(lmf__api_enter(ctx));
    if (!level || !lmf_cpu_level(level, &allowed))
        return LMF_FAIL(ctx->ctx, LMF_E_ARG, "isa is \"%.32s\"; allowed are native, amx, avx512, avx2 and scalar", level ? level : "");
    ctx->ctx->cpu_features = lmf_cpu_features() & allowed;
    return LMFAST_OK;
}

void lmfast_context_set_log(lmfast_context *ctx, lmfast_log_fn log, void *user)
{
    if (!ctx)
        return;
    pthread_mutex_lock(&ctx->lock);
    ctx->log = log, ctx->log_user = user;
    pthread_mutex_unlock(&ctx->lock);
}

void lmf__api_log(lmfast_context *c, int32_t level, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    pthread_mutex_lock(&c->lock);
    lmfast_log_fn log = c->log;
    void *user = c->log_user;
    pthread_mutex_unlock(&c->lock);
    if (!log)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    log(user, level, text);
}

void lmfast_context_memory(const lmfast_context *ctx, uint64_t *now_bytes, uint64_t *peak_bytes)
{
    lmf_ctx *c = ctx ? ctx->ctx : NULL;
    if (c)
        pthread_mutex_lock(&c->lock);
    if (now_bytes)
        *now_bytes = c ? c->live_bytes : 0;
    if (peak_bytes)
        *peak_bytes = c ? c->peak_bytes : 0;
    if (c)
        pthread_mutex_unlock(&c->lock);
}

/* ---- structs that have grown since ---- */
void lmf__api_init(void *to, size_t bytes, void *defaults, size_t ours)
{
    size_t n = bytes < ours ? bytes : ours;
    if (!to || bytes < sizeof bytes)
        return;
    memset(to, 0, bytes);
    memcpy(to, defaults, n);
    memcpy(to, &bytes, sizeof bytes);
}

static lmf_status struct_bytes(lmf_ctx *ctx, const char *name, const void *p, size_t *bytes)
{
    memcpy(bytes, p, sizeof *bytes);
    return *bytes >= sizeof *bytes ? LMF_OK : LMF_FAIL(ctx, LMF_E_ARG, "%s has no struct_bytes: set it to its size", name);
}

lmf_status lmf__api_take(lmf_ctx *ctx, const char *name, void *to, const void *from, size_t ours)
{
    size_t theirs;
    if (!from)
        return LMF_OK;
    LMF_TRY(struct_bytes(ctx, name, from, &theirs));
    if (theirs > ours)
        return LMF_FAIL(ctx, LMF_E_ARG, "%s has %zu bytes in the program, %zu in this library, version %s: the program was built with a "
                        "newer header", name, theirs, ours, LMF_VERSION);
    memcpy(to, from, theirs);
    memcpy(to, &ours, sizeof ours);
    return LMF_OK;
}

lmf_status lmf__api_give(lmf_ctx *ctx, const char *name, void *to, const void *from, size_t ours)
{
    size_t theirs;
    if (!to)
        return LMF_FAIL(ctx, LMF_E_ARG, "there is no %s to fill", name);
    LMF_TRY(struct_bytes(ctx, name, to, &theirs));
    memset(to, 0, theirs);
    memcpy(to, from, theirs < ours ? theirs : ours);
    memcpy(to, &theirs, sizeof theirs);
    return LMF_OK;
}

void lmf__api_fill(void *buf, size_t cap, size_t *n_out, const void *items, size_t n, size_t item_bytes)
{
    *n_out = n;
    if (buf && n && cap)
        memcpy(buf, items, (n < cap ? n : cap) * item_bytes);
}
