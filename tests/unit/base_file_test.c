/* SPDX-License-Identifier: Apache-2.0 */
/* Files: what a failure at any call leaves behind is the old file or the new one, and no temporary name. */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "test.h"

typedef struct faults { lmf_site site; int fail_at, e, n_calls, n_fired; } faults;
static int fail_site(void *user, lmf_site site)
{
    faults *f = user;
    if (site != f->site || ++f->n_calls != f->fail_at)
        return 0;
    f->n_fired++;
    return f->e;
}

static void put(const char *path, const char *text)
{
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    assert_int_equal(fwrite(text, 1, strlen(text), f), strlen(text));
    assert_int_equal(fclose(f), 0);
}

/* Names in path's folder that hold its own: 1, or more with temporaries. */
static int n_entries(const char *path)
{
    char dir[1024];
    const char *name = strrchr(path, '/') + 1;
    int n = 0;
    snprintf(dir, sizeof dir, "%.*s", (int)(name - path), path);
    DIR *d = opendir(dir);
    assert_non_null(d);
    for (struct dirent *e; (e = readdir(d));)
        n += strcmp(e->d_name, name) == 0 || (e->d_name[0] == '.' && strstr(e->d_name, name) == e->d_name + 1);
    closedir(d);
    return n;
}

static void assert_holds(const char *path, const char *text)
{
    char got[256] = "";
    FILE *f = fopen(path, "r");
    if (!f)
        fail_msg("%s is gone", path);
    got[fread(got, 1, sizeof got - 1, f)] = 0;
    fclose(f);
    assert_string_equal(got, text);
    assert_int_equal(n_entries(path), 1); /* no temporary is left */
}

static void writes_and_reads(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *path = lmf_test_path("f"), *empty = lmf_test_path("e");
    char *data;
    size_t n;
    lmf_map map;
    assert_ok(ctx, lmf_file_write(ctx, path, "old\0text", 8));
    assert_ok(ctx, lmf_file_write(ctx, path, "new\0bytes", 9));
    assert_ok(ctx, lmf_file_read(ctx, path, 9, &data, &n));
    assert_int_equal(n, 9);
    assert_memory_equal(data, "new\0bytes", 10); /* a NUL behind */
    lmf_free(ctx, data, n + 1);
    assert_ok(ctx, lmf_file_map(ctx, path, &map));
    assert_int_equal(map.n, 9);
    assert_memory_equal(map.data, "new\0bytes", 9);
    lmf_file_unmap(&map);
    assert_null(map.data);
    lmf_file_unmap(&map);
    assert_ok(ctx, lmf_file_write(ctx, empty, NULL, 0));
    assert_ok(ctx, lmf_file_map(ctx, empty, &map));
    assert_true(map.n == 0 && !map.data);
    assert_ok(ctx, lmf_file_read(ctx, empty, 0, &data, &n));
    assert_true(n == 0 && data[0] == 0);
    lmf_free(ctx, data, 1);
    lmf_test_ctx_done(ctx);
}

static void refuses_what_is_no_file(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *dir = lmf_test_path("dir"), *fifo = lmf_test_path("fifo"), *path = lmf_test_path("f");
    char *data = (char *)ctx, long_path[5000];
    size_t n = 1;
    lmf_map map;
    lmf_writer w;
    assert_int_equal(mkdir(dir, 0777), 0);
    assert_int_equal(mkfifo(fifo, 0666), 0);
    put(path, "12345");
    assert_refused(ctx, LMF_E_ARG, "is a directory", lmf_file_map(ctx, dir, &map));
    assert_refused(ctx, LMF_E_ARG, "is a fifo", lmf_file_read(ctx, fifo, 100, &data, &n)); /* and does not wait for a writer */
    assert_null(data);
    assert_refused(ctx, LMF_E_ARG, "a device or socket", lmf_file_map(ctx, "/dev/zero", &map));
    assert_refused(ctx, LMF_E_NOT_FOUND, "can't open", lmf_file_map(ctx, lmf_test_path("none"), &map));
    assert_refused(ctx, LMF_E_LIMIT, "has 5 bytes, more than the 4", lmf_file_read(ctx, path, 4, &data, &n));
    assert_true(!data && n == 0);
    memset(long_path, 'p', sizeof long_path - 1);
    long_path[sizeof long_path - 1] = 0;
    assert_refused(ctx, LMF_E_LIMIT, "4999 bytes is too long", lmf_writer_open(ctx, long_path, &w));
    lmf_writer_abandon(&w);
    assert_refused(ctx, LMF_E_NOT_FOUND, "can't create", lmf_file_write(ctx, "/nowhere/at/all", "x", 1));
    assert_refused(ctx, LMF_E_EXISTS, "no regular file", lmf_file_write(ctx, dir, "x", 1));
    assert_refused(ctx, LMF_E_EXISTS, "no regular file", lmf_file_write(ctx, fifo, "x", 1)); /* nor is it replaced */
    assert_int_equal(lmf_path_stat(fifo), LMF_PATH_OTHER);
    lmf_test_ctx_done(ctx);
}

/* Each kind of call fails on its own; the old file stays as it was until the rename. */
static void failures_leave_the_old_file(void **state)
{
    (void)state;
    static const struct { lmf_site site; int at, e; const char *words, *left; } row[] = {
        { LMF_SITE_OPEN, 1, EACCES, "Permission denied", "old" },       { LMF_SITE_WRITE, 1, ENOSPC, "No space left", "old" },
        { LMF_SITE_WRITE, 2, EDQUOT, "quota", "old" },                  { LMF_SITE_SYNC, 1, EIO, "make durable", "old" },
        { LMF_SITE_RENAME, 1, EIO, "rename a new file to", "old" },     { LMF_SITE_OPEN, 2, EMFILE, "open the folder", "newer" },
        { LMF_SITE_SYNC, 2, EIO, "make durable the folder", "newer" },
    };
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        lmf_ctx *ctx = lmf_test_ctx();
        const char *path = lmf_test_path("f");
        faults f = { row[i].site, row[i].at, row[i].e, 0, 0 };
        lmf_writer w;
        put(path, "old");
        ctx->fault = fail_site;
        ctx->fault_user = &f;
        lmf_status s = lmf_writer_open(ctx, path, &w);
        if (!s)
            s = lmf_writer_write(&w, "new", 3);
        if (!s)
            s = lmf_writer_write(&w, "er", 2);
        if (!s)
            s = lmf_writer_commit(&w);
        lmf_writer_abandon(&w);
        lmf_writer_abandon(&w);
        assert_int_equal(f.n_fired, 1);
        assert_int_equal(s, LMF_E_IO);
        if (!strstr(lmf_error(ctx), row[i].words))
            fail_msg("row %zu: \"%s\"", i, lmf_error(ctx));
        assert_holds(path, row[i].left);
        lmf_test_ctx_done(ctx);
    }
}

static void interrupted_calls_go_on(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *path = lmf_test_path("f");
    faults f = { LMF_SITE_WRITE, 1, EINTR, 0, 0 };
    char *data;
    size_t n;
    ctx->fault = fail_site;
    ctx->fault_user = &f;
    assert_ok(ctx, lmf_file_write(ctx, path, "text", 4));
    assert_int_equal(f.n_fired, 1);
    f = (faults){ LMF_SITE_READ, 1, EINTR, 0, 0 };
    assert_ok(ctx, lmf_file_read(ctx, path, 10, &data, &n));
    assert_int_equal(f.n_fired, 1);
    assert_string_equal(data, "text");
    lmf_free(ctx, data, n + 1);
    lmf_test_ctx_done(ctx);
}

/* A real short write: the file may have 1,000 bytes, so write(2) takes 1,000 of 4,096 and refuses the rest. */
static void short_writes(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *path = lmf_test_path("f");
    char bytes[4096] = { 1 };
    struct rlimit before, small;
    lmf_writer w;
    put(path, "old");
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    small = (struct rlimit){ 1000, before.rlim_max };
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    lmf_status s = lmf_writer_open(ctx, path, &w);
    lmf_status t = s ? s : lmf_writer_write(&w, bytes, sizeof bytes);
    uint64_t n = w.n;
    lmf_writer_abandon(&w);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(s, LMF_OK);
    assert_int_equal(n, 1000); /* the short write counted, the loop went on and met the refusal */
    assert_int_equal(t, LMF_E_IO);
    assert_non_null(strstr(lmf_error(ctx), "write to"));
    assert_holds(path, "old");
    lmf_test_ctx_done(ctx);
}

static lmf_status write_then_read(lmf_ctx *ctx, void *arg)
{
    const char *path = arg;
    char *data, hex[65];
    size_t n;
    lmf_map map;
    LMF_TRY(lmf_file_write(ctx, path, "after", 5));
    LMF_TRY(lmf_file_read(ctx, path, 100, &data, &n));
    lmf_free(ctx, data, n + 1);
    LMF_TRY(lmf_file_map(ctx, path, &map));
    lmf_file_unmap(&map);
    return lmf_file_sha256(ctx, path, hex, NULL);
}

static lmf_status sweep_body(lmf_ctx *ctx, void *arg)
{
    const char *path = arg;
    char text[16] = "";
    put(path, "before");
    lmf_status s = write_then_read(ctx, arg);
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    text[fread(text, 1, 15, f)] = 0;
    fclose(f);
    if (strcmp(text, "before") && strcmp(text, "after"))
        fail_msg("the file holds \"%s\"", text);
    assert_int_equal(n_entries(path), 1); /* no temporary is left */
    return s;
}

static void every_call_fails_once(void **state)
{
    (void)state;
    /* write: open, write, fsync, rename, open folder, fsync; read: open, alloc, read; map: open, map; twice */
    assert_int_equal(lmf_test_fail_each_call(sweep_body, (void *)(uintptr_t)lmf_test_path("f")), 13);
}

static void folders(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    char path[1024], file[1100], tiny[4];
    const char *top = lmf_test_path("top");
    assert_ok(ctx, lmf_path_join(ctx, path, sizeof path, top, "a/b"));
    assert_ok(ctx, lmf_dir_create(ctx, path));
    assert_ok(ctx, lmf_dir_create(ctx, path));
    assert_int_equal(lmf_path_stat(path), LMF_PATH_DIR);
    assert_ok(ctx, lmf_path_join(ctx, file, sizeof file, path, "f"));
    assert_ok(ctx, lmf_file_write(ctx, file, "x", 1));
    assert_int_equal(lmf_path_stat(file), LMF_PATH_FILE);
    assert_int_equal(lmf_path_stat("/dev/null"), LMF_PATH_OTHER);
    assert_refused(ctx, LMF_E_EXISTS, "exists and is no folder", lmf_dir_create(ctx, file));
    assert_refused(ctx, LMF_E_ARG, "folder name", lmf_dir_create(ctx, ""));
    assert_refused(ctx, LMF_E_LIMIT, "too long", lmf_path_join(ctx, tiny, sizeof tiny, "ab", "c"));
    assert_ok(ctx, lmf_path_join(ctx, tiny, sizeof tiny, "a/", "c"));
    assert_string_equal(tiny, "a/c");
    assert_ok(ctx, lmf_dir_remove(ctx, path, (const char *const[]){ "f", NULL }));
    assert_int_equal(lmf_path_stat(path), LMF_PATH_NONE);
    assert_refused(ctx, LMF_E_NOT_FOUND, "open the folder", lmf_dir_remove(ctx, path, (const char *const[]){ "f", NULL }));
    assert_refused(ctx, LMF_E_NOT_FOUND, "remove", lmf_path_unlink(ctx, file));
    lmf_test_ctx_done(ctx);
}

/* FIPS 180-4 examples, and NIST's one million times "a". */
static void sha256_vectors(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *path = lmf_test_path("abc");
    char hex[65], *million = malloc(1000000);
    uint64_t n;
    assert_non_null(million);
    memset(million, 'a', 1000000);
    assert_ok(ctx, lmf_sha256_hex(ctx, "abc", 3, hex));
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_ok(ctx, lmf_sha256_hex(ctx, NULL, 0, hex));
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_ok(ctx, lmf_sha256_hex(ctx, million, 1000000, hex));
    assert_string_equal(hex, "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
    put(path, "abc");
    assert_ok(ctx, lmf_file_sha256(ctx, path, hex, &n));
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_int_equal(n, 3);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(base_file) = {
    { "writes and reads", writes_and_reads }, { "refuses what is no file", refuses_what_is_no_file },
    { "failures leave the old file", failures_leave_the_old_file }, { "interrupted calls go on", interrupted_calls_go_on },
    { "short writes", short_writes }, { "every call fails once", every_call_fails_once }, { "folders", folders },
    { "SHA-256 vectors", sha256_vectors }, { 0 }
};
