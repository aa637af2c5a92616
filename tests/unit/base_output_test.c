/* SPDX-License-Identifier: Apache-2.0 */
/* Outputs: names, locks and removal; and text that a terminal only shows. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/output.h"
#include "base/plain.h"
#include "test.h"

static void put(const char *dir, const char *name, const char *text)
{
    char path[5000];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs(text, f);
    assert_int_equal(fclose(f), 0);
}

static lmf_output_kind there(const char *dir, const char *name)
{
    char path[2048];
    snprintf(path, sizeof path, "%s/%s", dir, name);
    return lmf_output_stat(path);
}

static const char *folder(const char *name)
{
    const char *dir = lmf_test_path(name);
    assert_int_equal(mkdir(dir, 0777), 0);
    return dir;
}

/* A name is ours with all its digits right, and with no other. */
static void temporary_names(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    char path[4096], second[4096], other[4096], long_name[300];
    assert_ok(ctx, lmf_output_temporary(ctx, "/a/b.c/name", path, sizeof path));
    assert_ok(ctx, lmf_output_temporary(ctx, "/a/b.c/name", second, sizeof second));
    assert_string_not_equal(path, second);
    assert_int_equal(strncmp(path, "/a/b.c/.name.lmf-", 17), 0);
    const char *name = path + 7;
    assert_true(lmf_output_is_temporary(name));
    for (size_t i = 0; i < strlen(name); i++) {
        strcpy(other, name);
        other[i] = other[i] == '0' ? '1' : '0';
        if (lmf_output_is_temporary(other))
            fail_msg("%s passes for %s", other, name);
    }
    static const char *const wrong[] = { "", ".", "..", ".lmf-", ".name.lmf-0000000000000000", "name.tmp", ".lmf-0123456789abcdef" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        assert_false(lmf_output_is_temporary(wrong[i]));
    memset(long_name, 'n', 255);
    long_name[255] = 0;
    assert_ok(ctx, lmf_output_temporary(ctx, long_name, path, sizeof path));
    assert_true(strlen(path) <= 255 && lmf_output_is_temporary(path));
    assert_refused(ctx, LMF_E_LIMIT, "too long", lmf_output_temporary(ctx, "/a/b.c/name", path, 30));
    lmf_test_ctx_done(ctx);
}

/* Temporaries whose maker is gone go; one with a lock, and all that are not named so, stay. */
static void left_overs(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *dir = folder("d");
    char target[1024], path[4096], dead[4096], alive[4096], of_other[4096], sub[4096];
    snprintf(target, sizeof target, "%s/out", dir);
    assert_ok(ctx, lmf_output_temporary(ctx, target, dead, sizeof dead));
    assert_ok(ctx, lmf_output_temporary(ctx, target, alive, sizeof alive));
    assert_ok(ctx, lmf_output_temporary(ctx, target, sub, sizeof sub));
    snprintf(path, sizeof path, "%s/other", dir);
    assert_ok(ctx, lmf_output_temporary(ctx, path, of_other, sizeof of_other));
    put(dir, strrchr(dead, '/') + 1, "x");
    put(dir, strrchr(alive, '/') + 1, "x");
    put(dir, strrchr(of_other, '/') + 1, "x");
    put(dir, ".out.lmf-0123456789abcdef", "mine");
    put(dir, "out.tmp", "mine");
    assert_int_equal(mkdir(sub, 0777), 0);
    put(sub, "file", "x");
    int fd = open(alive, O_RDONLY);
    assert_int_equal(flock(fd, LOCK_EX), 0);
    lmf_output_clean_beside(ctx, target, NULL);
    assert_int_equal(lmf_output_stat(dead), LMF_OUTPUT_NONE);
    assert_int_equal(lmf_output_stat(sub), LMF_OUTPUT_NONE);
    assert_int_equal(lmf_output_stat(alive), LMF_OUTPUT_FILE);
    assert_int_equal(lmf_output_stat(of_other), LMF_OUTPUT_FILE);
    assert_int_equal(there(dir, ".out.lmf-0123456789abcdef"), LMF_OUTPUT_FILE);
    assert_int_equal(there(dir, "out.tmp"), LMF_OUTPUT_FILE);
    close(fd);
    lmf_output_clean(ctx, dir, NULL, NULL);
    assert_int_equal(lmf_output_stat(alive), LMF_OUTPUT_NONE);
    assert_int_equal(lmf_output_stat(of_other), LMF_OUTPUT_NONE);
    assert_int_equal(there(dir, "out.tmp"), LMF_OUTPUT_FILE);
    lmf_test_ctx_done(ctx);
}

/* With a stranger in it, of any kind, a folder keeps everything; a link to a folder is none. */
static void removal(void **state)
{
    (void)state;
    static const char *const names[] = { "mark", "a", NULL };
    lmf_ctx *ctx = lmf_test_ctx();
    char path[2048], link[1024];
    for (int kind = 0; kind < 4; kind++) {
        const char *dir = folder("d");
        put(dir, "mark", "x");
        put(dir, "a", "x");
        snprintf(path, sizeof path, "%s/%s", dir, kind == 0 ? "mine" : "b");
        if (kind == 0)
            put(dir, "mine", "mine");
        else if (kind == 1)
            assert_int_equal(mkdir(path, 0777), 0);
        else if (kind == 2)
            assert_int_equal(symlink("a", path), 0);
        else {
            snprintf(path, sizeof path, "%s/a", dir);
            assert_int_equal(unlink(path), 0);
            assert_int_equal(symlink("mark", path), 0); /* a listed name that is a link */
        }
        assert_refused(ctx, LMF_E_EXISTS, path, lmf_dir_remove(ctx, dir, names));
        assert_refused(ctx, LMF_E_EXISTS, path, lmf_dir_holds_only(ctx, dir, names));
        assert_int_equal(there(dir, "mark"), LMF_OUTPUT_FILE);
        assert_int_equal(there(dir, "a"), kind == 3 ? LMF_OUTPUT_LINK : LMF_OUTPUT_FILE);
    }
    const char *dir = folder("d");
    put(dir, "a", "x");
    snprintf(link, sizeof link, "%s", lmf_test_path("link"));
    assert_int_equal(symlink(dir, link), 0);
    assert_refused(ctx, LMF_E_IO, "open the folder", lmf_dir_remove(ctx, link, names));
    assert_ok(ctx, lmf_dir_remove(ctx, dir, names)); /* without its mark too */
    assert_int_equal(lmf_output_stat(dir), LMF_OUTPUT_NONE);
    lmf_test_ctx_done(ctx);
}

static void placing(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *dir = folder("d");
    char from[1024], to[1024];
    snprintf(from, sizeof from, "%s/from", dir);
    snprintf(to, sizeof to, "%s/to", dir);
    put(dir, "from", "new");
    put(dir, "to", "old");
    assert_refused(ctx, LMF_E_EXISTS, "is a file that came meanwhile", lmf_output_place(ctx, from, to, false));
    assert_ok(ctx, lmf_output_place(ctx, from, to, true));
    char *text;
    size_t n;
    assert_ok(ctx, lmf_file_read(ctx, from, 10, &text, &n)); /* what was there is not lost */
    assert_string_equal(text, "old");
    lmf_free(ctx, text, n + 1);
    assert_int_equal(unlink(to), 0);
    assert_int_equal(symlink("from", to), 0);
    assert_refused(ctx, LMF_E_EXISTS, "is a link", lmf_output_place(ctx, from, to, false));
    assert_refused(ctx, LMF_E_EXISTS, "is a link", lmf_file_write(ctx, to, "x", 1));
    assert_int_equal(unlink(to), 0);
    assert_ok(ctx, lmf_output_place(ctx, from, to, false));
    assert_int_equal(there(dir, "from"), LMF_OUTPUT_NONE);
    lmf_test_ctx_done(ctx);
}

/* A file that comes under the name while one is written is left alone. */
static void names_taken_meanwhile(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *dir = folder("d");
    char path[1024], *text;
    size_t n;
    lmf_writer w;
    snprintf(path, sizeof path, "%s/out", dir);
    for (int was_there = 0; was_there < 2; was_there++) {
        assert_ok(ctx, lmf_writer_open(ctx, path, &w));
        assert_ok(ctx, lmf_writer_write(&w, "ours", 4));
        put(dir, "theirs", "theirs");
        char theirs[1024];
        snprintf(theirs, sizeof theirs, "%s/theirs", dir);
        assert_int_equal(rename(theirs, path), 0);
        assert_refused(ctx, LMF_E_EXISTS, "left alone", lmf_writer_commit(&w));
        lmf_writer_abandon(&w);
        assert_ok(ctx, lmf_file_read(ctx, path, 10, &text, &n));
        assert_string_equal(text, "theirs");
        lmf_free(ctx, text, n + 1);
        assert_int_equal(lmf_output_stat(w.temporary), LMF_OUTPUT_NONE);
    }
    lmf_test_ctx_done(ctx);
}

static void locks(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *dir = folder("d");
    char words[64];
    int a, b;
    assert_ok(ctx, lmf_output_lock(ctx, dir, &a));
    snprintf(words, sizeof words, "process %ld;", (long)getpid());
    assert_refused(ctx, LMF_E_EXISTS, words, lmf_output_lock(ctx, dir, &b));
    assert_int_equal(b, -1);
    close(a);
    assert_ok(ctx, lmf_output_lock(ctx, dir, &b));
    close(b);
    lmf_test_ctx_done(ctx);
}

static void plain_text(void **state)
{
    (void)state;
    static const struct { const char *from, *to; } rows[] = {
        { "", "" }, { "plain \\ text", "plain \\ text" }, { "a\nb", "a\\nb" }, { "\x1b[2J", "\\x1b[2J" }, { "\x7f\t", "\\x7f\\x09" },
        { "gr\xc3\xbc\xc3\x9f \xe6\x97\xa5 \xf0\x9f\x99\x82", "gr\xc3\xbc\xc3\x9f \xe6\x97\xa5 \xf0\x9f\x99\x82" },
        { "\xff\xc3", "\\xff\\xc3" }, { "\xc2\x9b" "2J", "\\xc2\\x9b2J" }, { "\xe2\x80\xae" "x", "\\xe2\\x80\\xaex" }, { "\xe2\x81\xa6", "\\xe2\\x81\\xa6" },
        { "\xe2\x80\xa8", "\\xe2\\x80\\xa8" }, { "\xe2\x80\xa7", "\xe2\x80\xa7" }, { "\xc0\xaf", "\\xc0\\xaf" }, { "\xed\xa0\x80", "\\xed\\xa0\\x80" },
        { "\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80" }, { "\xe0\x80\xaf", "\\xe0\\x80\\xaf" },
    };
    char text[64];
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_string_equal(lmf_plain_text(rows[i].from, text, sizeof text), rows[i].to);
    assert_string_equal(lmf_plain_text("ab\xc3\xbc", text, 4), "ab"); /* no half of a character */
    assert_string_equal(lmf_plain_text("ab\n", text, 4), "ab");
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_status s = LMF_FAIL(ctx, LMF_E_ARG, "no file %s", "a\nb\x1b");
    assert_string_equal(lmf_error(ctx), "no file a\\nb\\x1b");
    lmf_fail_prefix(ctx, s, "row %s", "\xff");
    assert_string_equal(lmf_error(ctx), "row \\xff: no file a\\nb\\x1b");
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(base_output) = { { "temporary names", temporary_names }, { "left-overs of the dead", left_overs }, { "removal", removal }, { "placing", placing },
                           { "names taken meanwhile", names_taken_meanwhile }, { "locks", locks }, { "plain text", plain_text }, { 0 } };
