/* SPDX-License-Identifier: Apache-2.0 */
#include "format/receipt.h"
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "test.h"

static void write_text(lmf_ctx *ctx, const char *path, const char *text) { assert_ok(ctx, lmf_file_write(ctx, path, text, strlen(text))); }

/* What was written is ours; with another byte, longer, or of another name it is not. What stood there before counts by its own hash. */
static void ours_and_others(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    char dir[512], file[600];
    json_t *note = json_object(), *receipt;
    snprintf(dir, sizeof dir, "%s", lmf_test_path("receipt"));
    assert_ok(ctx, lmf_dir_create(ctx, dir));
    snprintf(file, sizeof file, "%s/a.txt", dir);
    write_text(ctx, file, "first");
    assert_ok(ctx, lmf_receipt_save(ctx, dir, dir, "receipt.json", note));
    json_decref(note);
    assert_ok(ctx, lmf_receipt_check_dir(ctx, dir, "receipt.json", &receipt));
    assert_ok(ctx, lmf_receipt_check(ctx, receipt, dir, "a.txt"));
    static const char *const changed[] = { "First", "first ", "" };
    for (size_t i = 0; i < sizeof changed / sizeof *changed; i++) {
        write_text(ctx, file, changed[i]);
        assert_refused(ctx, LMF_E_EXISTS, "a.txt was changed since it was written here", lmf_receipt_check(ctx, receipt, dir, "a.txt"));
    }
    assert_refused(ctx, LMF_E_EXISTS, "was not written here", lmf_receipt_check(ctx, receipt, dir, "receipt.json"));
    write_text(ctx, file, "first");
    json_t *files = json_object_get(receipt, "files");
    assert_int_equal(json_object_set(receipt, "before", files), 0);
    assert_int_equal(json_object_del(receipt, "files"), 0);
    assert_ok(ctx, lmf_receipt_check(ctx, receipt, dir, "a.txt"));
    json_decref(receipt);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(receipt) = { { "what was written here, and what was not", ours_and_others }, { 0 } };
