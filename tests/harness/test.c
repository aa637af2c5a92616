/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the allocator trusts nobody. It keeps each block's size itself and compares it with the old size that callers
 * pass, so a wrong lmf_free(ctx, p, bytes) fails the test that made it and not a later one. */
#include "test.h"
#include <errno.h>
#include <ftw.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cpu.h"
#include "device/plugin.h"
#include "test_config.h"

extern const lmf_tables lmf_all_tables;

typedef struct block {           /* lies before the bytes; they end where the block ends, so ASan sees an overrun */
    struct block *prev, *next;
    size_t bytes, magic;
} block;
enum { MAGIC = 0x1b10c };

typedef struct test_ctx {
    lmf_ctx ctx;
    pthread_mutex_t lock;
    block   blocks;              /* ring */
    size_t  n_blocks, n_bytes;
    char    fault[160];          /* first wrong old size */
    atomic_long n_calls;         /* shimmed so far */
    long    fail_at;             /* 0: never */
    atomic_bool fired;
} test_ctx;

static struct { uint64_t feature_cap; int n_workers; char dir[256]; int n_paths; } config = { ~UINT64_C(0), 0, "", 0 };

void lmf_test_configure(uint64_t feature_cap, int n_workers)
{
    config.feature_cap = feature_cap;
    config.n_workers = n_workers;
}

static void unlink_block(test_ctx *t, block *b)
{
    b->prev->next = b->next, b->next->prev = b->prev;
    t->n_blocks--, t->n_bytes -= b->bytes;
}

static void *test_alloc(void *user, void *p, size_t old_bytes, size_t new_bytes)
{
    test_ctx *t = user;
    block *b = p ? (block *)p - 1 : NULL, *fresh = NULL;
    pthread_mutex_lock(&t->lock);
    if (b && (b->magic != MAGIC || b->bytes != old_bytes) && !t->fault[0])
        snprintf(t->fault, sizeof t->fault, "a block of %zu bytes came back as one of %zu", b->bytes, old_bytes);
    if (new_bytes && (fresh = malloc(sizeof *fresh + new_bytes))) {
        /* always moves and never zeroes: code that counts on luck fails */
        memset(fresh + 1, 0xa5, new_bytes);
        if (b)
            memcpy(fresh + 1, b + 1, b->bytes < new_bytes ? b->bytes : new_bytes);
        *fresh = (block){ &t->blocks, t->blocks.next, new_bytes, MAGIC };
        fresh->next->prev = fresh, t->blocks.next = fresh;
        t->n_blocks++, t->n_bytes += new_bytes;
    }
    if (b && (fresh || !new_bytes)) {
        unlink_block(t, b);
        b->magic = 0;
        free(b);
    }
    pthread_mutex_unlock(&t->lock);
    return fresh ? fresh + 1 : NULL;
}

static int test_fault(void *user, lmf_site site)
{
    test_ctx *t = user;
    if (atomic_fetch_add(&t->n_calls, 1) + 1 != t->fail_at)
        return 0;
    atomic_store(&t->fired, true);
    return site == LMF_SITE_ALLOC ? ENOMEM : site == LMF_SITE_WRITE ? ENOSPC : site == LMF_SITE_OPEN ? EACCES : EIO;
}

lmf_ctx *lmf_test_ctx_with(const lmf_tables *tables)
{
    test_ctx *t = calloc(1, sizeof *t);
    if (!t)
        abort();
    lmf_ctx_init(&t->ctx, tables);
    pthread_mutex_init(&t->lock, NULL);
    t->blocks.prev = t->blocks.next = &t->blocks;
    t->ctx.alloc = test_alloc;
    t->ctx.alloc_user = t;
    t->ctx.cpu_features &= config.feature_cap;
    if (config.n_workers)
        t->ctx.n_workers = config.n_workers;
    return &t->ctx;
}

lmf_ctx *lmf_test_ctx(void) { return lmf_test_ctx_with(&lmf_all_tables); }
size_t lmf_test_ctx_blocks(const lmf_ctx *ctx) { return ((const test_ctx *)ctx)->n_blocks; }
const char *lmf_test_ctx_fault(const lmf_ctx *ctx) { return ((const test_ctx *)ctx)->fault; }

bool lmf_test_ctx_drop(lmf_ctx *ctx, char *text, size_t n)
{
    test_ctx *t = (test_ctx *)ctx;
    text[0] = 0;
    lmf_plugin_close_all(ctx);
    if (t->fault[0])
        snprintf(text, n, "%s", t->fault);
    else if (t->n_blocks || ctx->live_bytes)
        snprintf(text, n, "%zu blocks were not given back: %zu bytes (the context counts %zu), the latest has %zu",
                 t->n_blocks, t->n_bytes, ctx->live_bytes, t->blocks.next->bytes);
    while (t->blocks.next != &t->blocks) {
        block *b = t->blocks.next;
        unlink_block(t, b);
        free(b);
    }
    lmf_ctx_clear(ctx);
    pthread_mutex_destroy(&t->lock);
    free(t);
    return text[0] == 0;
}

void lmf_test_ctx_done(lmf_ctx *ctx)
{
    char text[256];
    if (!lmf_test_ctx_drop(ctx, text, sizeof text))
        fail_msg("%s", text);
}

int lmf_test_fail_each_call(lmf_status (*body)(lmf_ctx *ctx, void *arg), void *arg)
{
    char leak[256], why[768];
    for (int n = 1; n < 1000000; n++) {
        lmf_ctx *ctx = lmf_test_ctx();
        test_ctx *t = (test_ctx *)ctx;
        ctx->fault = test_fault;
        ctx->fault_user = t;
        t->fail_at = n;
        lmf_status s = body(ctx, arg);
        bool fired = atomic_load(&t->fired);
        snprintf(why, sizeof why, "%s", lmf_error(ctx));
        if (!lmf_test_ctx_drop(ctx, leak, sizeof leak))
            fail_msg("call %d failed on purpose (%s): %s", n, why, leak);
        if (!fired) {
            if (s)
                fail_msg("no call failed, and yet: %s: %s", lmf_status_name(s), why);
            return n - 1;
        }
        if (!s)
            fail_msg("call %d failed on purpose, but the body says success", n);
        if (!why[0])
            fail_msg("call %d failed on purpose: %s without a sentence", n, lmf_status_name(s));
    }
    fail_msg("a million failures and no end");
    return -1;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *ftw)
{
    (void)st, (void)kind, (void)ftw;
    return remove(path);
}

static void remove_dir(void) { nftw(config.dir, remove_one, 16, FTW_DEPTH | FTW_PHYS); }

const char *lmf_test_path(const char *name)
{
    static char text[8][512];
    char *t = text[config.n_paths % 8], folder[300];
    if (!config.dir[0]) {
        const char *tmp = getenv("TMPDIR");
        snprintf(config.dir, sizeof config.dir, "%.200s/lmf_tests.XXXXXX", tmp && *tmp ? tmp : "/tmp");
        if (!mkdtemp(config.dir)) {
            config.dir[0] = 0;
            fail_msg("no temporary folder: %s", strerror(errno));
        }
        atexit(remove_dir);
    }
    snprintf(folder, sizeof folder, "%s/%d", config.dir, config.n_paths++);
    if (mkdir(folder, 0777))
        fail_msg("can't create %s: %s", folder, strerror(errno));
    snprintf(t, sizeof *text, "%s/%s", folder, name);
    return t;
}

const char *lmf_test_source_path(const char *name)
{
    static char text[8][1024];
    static int i;
    char *t = text[i++ % 8];
    snprintf(t, sizeof *text, "%s/%s", LMF_SOURCE_DIR, name);
    return t;
}

_Noreturn void lmf_assert_failed(const char *condition, const char *file, int line)
{
    fprintf(stderr, "%s:%d: LMF_ASSERT(%s)\n", file, line, condition);
    abort();
}
