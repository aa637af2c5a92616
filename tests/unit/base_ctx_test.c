/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/team.h"
#include "test.h"

/* The numbers are part of the ABI: written out here, not taken from the list. */
static void statuses_are_pinned(void **state)
{
    (void)state;
    static const struct { int value; const char *name; } pinned[] = {
        { 0, "OK" }, { -1, "E_MEMORY" }, { -2, "E_IO" }, { -3, "E_FORMAT" }, { -4, "E_ARG" }, { -5, "E_SHAPE" }, { -6, "E_DTYPE" },
        { -7, "E_NOT_FOUND" }, { -8, "E_SEALED" }, { -9, "E_BUSY" }, { -10, "E_LIMIT" }, { -11, "E_DEVICE" }, { -12, "E_UNSUPPORTED" },
        { -13, "E_CANCELLED" }, { -14, "E_EXISTS" }, { -15, "E_INTERNAL" },
    };
    int n = 0;
#define X(name, value, text) n++;
    LMF_STATUS_LIST(X)
#undef X
    assert_int_equal(n, sizeof pinned / sizeof *pinned);
    for (int i = 0; i < n; i++) {
        assert_string_equal(lmf_status_name((lmf_status)pinned[i].value), pinned[i].name);
        assert_true(strlen(lmf_status_text((lmf_status)pinned[i].value)) > 5);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(lmf_status_text((lmf_status)pinned[i].value), lmf_status_text((lmf_status)pinned[k].value));
    }
    assert_string_equal(lmf_status_name((lmf_status)-99), "E_UNKNOWN");
    assert_string_equal(lmf_status_text((lmf_status)7), "unknown status");
}

static void errors_are_recorded(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    char tail[1200];
    assert_string_equal(lmf_error(ctx), "");
    assert_int_equal(LMF_FAIL(ctx, LMF_E_SHAPE, "row %d", 7), LMF_E_SHAPE);
    int line = __LINE__ - 1;
    assert_string_equal(lmf_error(ctx), "row 7");
    assert_int_equal(ctx->error.status, LMF_E_SHAPE);
    assert_int_equal(ctx->error.line, line);
    assert_non_null(strstr(ctx->error.file, "base_ctx_test.c"));
    assert_int_equal(lmf_fail_prefix(ctx, LMF_E_SHAPE, "file %s", "a.gguf"), LMF_E_SHAPE);
    assert_string_equal(lmf_error(ctx), "file a.gguf: row 7");
    memset(tail, 'x', sizeof tail - 1);
    tail[sizeof tail - 1] = 0;
    lmf_fail_prefix(ctx, LMF_E_SHAPE, "%s", tail); /* a sentence too long is cut, never overrun */
    assert_int_equal(strlen(lmf_error(ctx)), sizeof ctx->error.text - 1);
    (void)LMF_FAIL(ctx, LMF_E_ARG, "%s", tail);
    assert_int_equal(strlen(lmf_error(ctx)), sizeof ctx->error.text - 1);
    lmf_test_ctx_done(ctx);
}

static void bytes_are_counted(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    unsigned char *p = lmf_alloc(ctx, 100);
    assert_non_null(p);
    for (int i = 0; i < 100; i++)
        assert_int_equal(p[i], 0); /* the test's allocator hands out 0xa5 */
    memset(p, 7, 100);
    p = lmf_realloc(ctx, p, 100, 300);
    assert_non_null(p);
    for (int i = 0; i < 300; i++)
        assert_int_equal(p[i], i < 100 ? 7 : 0);
    assert_int_equal(ctx->live_bytes, 300);
    p = lmf_realloc(ctx, p, 300, 40);
    assert_int_equal(ctx->live_bytes, 40);
    assert_int_equal(ctx->peak_bytes, 300);
    assert_int_equal(p[39], 7);
    lmf_free(ctx, NULL, 12);
    assert_int_equal(ctx->live_bytes, 40);
    lmf_free(ctx, p, 40);
    assert_int_equal(ctx->live_bytes, 0);
    lmf_test_ctx_done(ctx);
}

typedef struct faults { int n_calls, fail_at, e; lmf_site site; } faults;
static int fail_nth(void *user, lmf_site site)
{
    faults *f = user;
    f->site = site;
    return ++f->n_calls == f->fail_at ? f->e : 0;
}

static void a_failed_resize_keeps_the_block(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    faults f = { .fail_at = 2, .e = ENOMEM };
    ctx->fault = fail_nth;
    ctx->fault_user = &f;
    char *p = lmf_alloc(ctx, 8);
    assert_non_null(p);
    p[0] = 'k';
    assert_null(lmf_realloc(ctx, p, 8, 16));
    assert_int_equal(f.site, LMF_SITE_ALLOC);
    assert_int_equal(p[0], 'k');
    assert_int_equal(ctx->live_bytes, 8);
    assert_int_equal(LMF_NO_MEMORY(ctx, 16, "the test"), LMF_E_MEMORY);
    assert_string_equal(lmf_error(ctx), "out of memory: 16 bytes for the test");
    lmf_free(ctx, p, 8);
    lmf_test_ctx_done(ctx);
}

static void *no_alloc(void *user, void *p, size_t old_bytes, size_t new_bytes)
{
    (void)user, (void)p, (void)old_bytes, (void)new_bytes;
    return NULL;
}

static void an_allocator_that_refuses(void **state)
{
    (void)state;
    lmf_ctx ctx;
    lmf_ctx_init(&ctx, NULL);
    assert_true(ctx.n_workers >= 1);
    void *p = lmf_alloc(&ctx, 16); /* the default allocator */
    assert_non_null(p);
    assert_int_equal((uintptr_t)p % 16, 0);
    lmf_free(&ctx, p, 16);
    ctx.alloc = no_alloc;
    assert_null(lmf_alloc(&ctx, 1));
    assert_int_equal(ctx.live_bytes, 0);
    lmf_ctx_clear(&ctx);
}

static void many(void *arg, int i_worker, int n_workers)
{
    lmf_ctx *ctx = arg;
    (void)n_workers;
    for (int i = 1; i < 500; i++) {
        char *p = lmf_alloc(ctx, (size_t)i);
        p = p ? lmf_realloc(ctx, p, (size_t)i, (size_t)(2 * i)) : NULL;
        (void)LMF_FAIL(ctx, LMF_E_BUSY, "worker %d", i_worker);
        lmf_free(ctx, p, (size_t)(2 * i));
    }
}

static void counting_from_many_threads(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_team *team;
    assert_ok(ctx, lmf_team_create(ctx, 4, &team));
    lmf_team_run(team, many, ctx);
    lmf_team_destroy(team);
    assert_memory_equal(lmf_error(ctx), "worker ", 7);
    lmf_test_ctx_done(ctx);
}

typedef struct some_opts { size_t struct_bytes; int a, b; } some_opts;

/* NULL leaves the defaults; any other size than ours is refused by name. */
static void options_are_taken(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    some_opts mine = { sizeof mine, 1, 2 };
    const some_opts given = { sizeof given, 3, 4 };
    assert_ok(ctx, lmf_opts_take(ctx, "some_opts", &mine, NULL, sizeof mine));
    assert_true(mine.a == 1 && mine.b == 2);
    for (int d = -8; d <= 8; d += 4) {
        some_opts other = given;
        other.struct_bytes = (size_t)((int)sizeof other + d);
        if (d) {
            assert_refused(ctx, LMF_E_ARG, "start from some_opts_default", lmf_opts_take(ctx, "some_opts", &mine, &other, sizeof mine));
            assert_true(mine.a == 1 && mine.b == 2 && mine.struct_bytes == sizeof mine);
        }
    }
    assert_refused(ctx, LMF_E_ARG, "some_opts has 16 bytes here, 0 in the caller", lmf_opts_take(ctx, "some_opts", &mine, &(some_opts){ 0 }, sizeof mine));
    assert_ok(ctx, lmf_opts_take(ctx, "some_opts", &mine, &given, sizeof mine));
    assert_true(mine.a == 3 && mine.b == 4);
    lmf_test_ctx_done(ctx);
}

/* A broken assert ends the program, after its handler has named condition, file and line. */
static void asserts_say_what_and_where(void **state)
{
    (void)state;
    int pipes[2], status;
    char text[512], want[64];
    assert_int_equal(pipe(pipes), 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        dup2(pipes[1], 2);
        signal(SIGABRT, SIG_DFL);
        LMF_ASSERT(2 + 2 == 5);
        _exit(0);
    }
    int line = __LINE__ - 3;
    assert_true(child > 0);
    close(pipes[1]);
    ssize_t n = read(pipes[0], text, sizeof text - 1);
    close(pipes[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT && n > 0);
    text[n] = 0;
    snprintf(want, sizeof want, "base_ctx_test.c:%d: LMF_ASSERT(2 + 2 == 5)", line);
    assert_non_null(strstr(text, want));
}

LMF_TESTS(base_ctx) = {
    { "options are taken", options_are_taken }, { "asserts say what and where", asserts_say_what_and_where },
    { "statuses are pinned", statuses_are_pinned }, { "errors are recorded", errors_are_recorded }, { "bytes are counted", bytes_are_counted },
    { "a failed resize keeps the block", a_failed_resize_keeps_the_block }, { "an allocator that refuses", an_allocator_that_refuses },
    { "counting from many threads", counting_from_many_threads }, { 0 }
};
