/* SPDX-License-Identifier: Apache-2.0 */
#include "format/model_path.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/file.h"
#include "test.h"

static void files(void **state)
{
    (void)state;
    static const struct { const char *name, *bytes; size_t n; lmf_status s; lmf_model_kind kind; const char *words; } rows[] = {
        { "a.gguf", "GGUF\3\0\0\0", 8, LMF_OK, LMF_MODEL_GGUF, "" },
        { "no-extension", "GGUF\3\0\0\0", 8, LMF_OK, LMF_MODEL_GGUF, "" },
        { "a.safetensors", "\2\0\0\0\0\0\0\0{}", 10, LMF_OK, LMF_MODEL_SAFETENSORS, "" },
        { "pytorch_model.bin", "PK\3\4....", 8, LMF_E_UNSUPPORTED, LMF_MODEL_NONE, "Python pickle, which can run code; convert to safetensors" },
        { "x.pt", "hello", 5, LMF_E_UNSUPPORTED, LMF_MODEL_NONE, "Python pickle" },
        { "x.PTH", "hello", 5, LMF_E_UNSUPPORTED, LMF_MODEL_NONE, "Python pickle" },
        { "x.ckpt", "hello", 5, LMF_E_UNSUPPORTED, LMF_MODEL_NONE, "Python pickle" },
        { "renamed.gguf", "\x80\2}q", 4, LMF_E_UNSUPPORTED, LMF_MODEL_NONE, "Python pickle" },
        { "empty", "", 0, LMF_E_FORMAT, LMF_MODEL_NONE, "is empty" },
        { "text", "hello world", 11, LMF_E_FORMAT, LMF_MODEL_NONE, "no GGUF and no safetensors" },
        { "pointer.gguf", "version http" "s://git-lfs.github.com/spec/v1\n", 43, LMF_E_FORMAT, LMF_MODEL_NONE,
            "a git-lfs pointer, not the file itself: run git lfs pull" },
        { "page.gguf", "<!DOCTYPE html>\n<html>", 22, LMF_E_FORMAT, LMF_MODEL_NONE, "an HTML page: the download gave a page" },
        { "longer", "\xff\0\0\0\0\0\0\0{}", 10, LMF_E_FORMAT, LMF_MODEL_NONE, "no GGUF and no safetensors" },
    };
    lmf_ctx *ctx = lmf_test_ctx();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *path = lmf_test_path(rows[i].name);
        lmf_model_kind kind = LMF_MODEL_HF;
        assert_ok(ctx, lmf_file_write(ctx, path, rows[i].bytes, rows[i].n));
        lmf_status s = lmf_model_path_kind(ctx, path, &kind);
        if (s != rows[i].s || kind != rows[i].kind || (s && !strstr(lmf_error(ctx), rows[i].words)))
            fail_msg("%s: %s, kind %d, %s", rows[i].name, lmf_status_name(s), kind, lmf_error(ctx));
    }
    lmf_test_ctx_done(ctx);
}

static void folders(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model_kind kind;
    char dir[256], path[512];
    const char *fifo = lmf_test_path("model.fifo");
    snprintf(dir, sizeof dir, "%s", lmf_test_path("folder"));
    assert_ok(ctx, lmf_dir_create(ctx, dir));
    assert_refused(ctx, LMF_E_FORMAT, "no config.json", lmf_model_path_kind(ctx, dir, &kind));
    snprintf(path, sizeof path, "%s/config.json", dir);
    assert_ok(ctx, lmf_file_write(ctx, path, "{}", 2));
    assert_ok(ctx, lmf_model_path_kind(ctx, dir, &kind));
    assert_int_equal(kind, LMF_MODEL_HF);
    snprintf(path, sizeof path, "%s/pytorch_model.bin", dir);
    assert_ok(ctx, lmf_file_write(ctx, path, "x", 1));
    assert_refused(ctx, LMF_E_UNSUPPORTED, "Python pickle", lmf_model_path_kind(ctx, dir, &kind));
    assert_int_equal(kind, LMF_MODEL_NONE);
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_ok(ctx, lmf_file_write(ctx, path, "x", 1));
    assert_ok(ctx, lmf_model_path_kind(ctx, dir, &kind));
    assert_int_equal(kind, LMF_MODEL_HF);
    snprintf(path, sizeof path, "%s/adapter_config.json", dir);
    assert_ok(ctx, lmf_file_write(ctx, path, "{}", 2));
    assert_ok(ctx, lmf_model_path_kind(ctx, dir, &kind));
    assert_int_equal(kind, LMF_MODEL_ADAPTER);
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_refused(ctx, LMF_E_ARG, "a fifo", lmf_model_path_kind(ctx, fifo, &kind));
    assert_refused(ctx, LMF_E_ARG, "a device", lmf_model_path_kind(ctx, "/dev/zero", &kind));
    assert_refused(ctx, LMF_E_NOT_FOUND, "no-such-model", lmf_model_path_kind(ctx, "/no-such-model", &kind));
    lmf_test_ctx_done(ctx);
}

static void origins(void **state)
{
    (void)state;
#define COMMIT "0123456789abcdef0123456789abcdef01234567"
    static const char *const same[] = { "model.gguf", "/models--a/snapshots/" COMMIT, "/x/models--a--b/blobs/" COMMIT,
        "/models--a--b/snapshots/main",
        "/models----b/snapshots/" COMMIT, "/models--a--/snapshots/" COMMIT, "/models--a--b/c/snapshots/" COMMIT, "" };
    char text[64], small[4];
    for (size_t i = 0; i < sizeof same / sizeof *same; i++)
        assert_ptr_equal(lmf_model_path_origin(same[i], text, sizeof text), same[i]);
    assert_string_equal(lmf_model_path_origin("/h/hub/models--org--a-b.c/snapshots/" COMMIT, text, sizeof text), "org/a-b.c");
    assert_string_equal(lmf_model_path_origin("/models--o--n/snapshots/" COMMIT "/x.gguf", text, sizeof text), "o/n");
    assert_string_equal(lmf_model_path_origin("/models--long--n/snapshots/" COMMIT, small, sizeof small),
        "/models--long--n/snapshots/" COMMIT);
#undef COMMIT
}

LMF_TESTS(model_path) = {
    { "names of the hub's cache", origins },
    { "files by their first bytes", files },
    { "folders by what they hold", folders },
    { 0 },
};
