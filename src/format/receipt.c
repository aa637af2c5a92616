/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a doubt is a no: what can't be read, has another size or hash, or is no regular file is not ours. */
#include "format/receipt.h"
#include <dirent.h>
#include <string.h>
#include "base/output.h"

enum { MAX_RECEIPT_BYTES = 1 << 20, MAX_NAMES = 64 };

static bool is_entry(const char *name) { return strcmp(name, ".") && strcmp(name, ".."); }

lmf_status lmf_receipt_save(lmf_ctx *ctx, const char *dir, const char *to, const char *name, json_t *note)
{
    char path[4096], sha[65];
    json_t *files = json_object();
    DIR *d = opendir(dir);
    lmf_status s = d ? LMF_OK : LMF_FAIL(ctx, LMF_E_IO, "can't read the folder %s", dir);
    for (struct dirent *e; !s && (e = readdir(d));) {
        uint64_t n;
        if (!is_entry(e->d_name) || strcmp(e->d_name, name) == 0)
            continue;
        s = lmf_path_join(ctx, path, sizeof path, dir, e->d_name);
        if (!s)
            s = lmf_file_sha256(ctx, path, sha, &n);
        if (!s && json_object_set_new(files, e->d_name, json_pack("{s:I, s:s}", "bytes", (json_int_t)n, "sha256", sha)))
            s = LMF_NO_MEMORY(ctx, 256, "a receipt");
    }
    if (d)
        closedir(d);
    if (!s && json_object_set(note, "files", files))
        s = LMF_NO_MEMORY(ctx, 256, "a receipt");
    json_decref(files);
    LMF_TRY(s);
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, to, name));
    return lmf_json_save(ctx, path, note);
}

lmf_status lmf_receipt_load(lmf_ctx *ctx, const char *dir, const char *name, json_t **out)
{
    char path[4096];
    *out = NULL;
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, name));
    lmf_output_kind kind = lmf_output_stat(path);
    if (kind != LMF_OUTPUT_FILE)
        return LMF_FAIL(ctx, LMF_E_EXISTS, "%s is %s, no receipt", path, lmf_output_word(kind));
    return lmf_json_load(ctx, path, MAX_RECEIPT_BYTES, LMF_JSON_SMALL, out);
}

static bool holds(const json_t *receipt, const char *key, const char *file, uint64_t n, const char *sha)
{
    const json_t *entry = json_object_get(json_object_get(receipt, key), file), *bytes = json_object_get(entry, "bytes");
    const char *want = json_string_value(json_object_get(entry, "sha256"));
    return want && strcmp(want, sha) == 0 && json_is_integer(bytes) && json_integer_value(bytes) == (json_int_t)n;
}

lmf_status lmf_receipt_check(lmf_ctx *ctx, const json_t *receipt, const char *dir, const char *file)
{
    char path[4096], sha[65];
    uint64_t n;
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, file));
    lmf_output_kind kind = lmf_output_stat(path);
    if (kind != LMF_OUTPUT_FILE)
        return LMF_FAIL(ctx, LMF_E_EXISTS, "%s is %s that was not written here; it is left alone", path, lmf_output_word(kind));
    if (!json_object_get(json_object_get(receipt, "files"), file) && !json_object_get(json_object_get(receipt, "before"), file))
        return LMF_FAIL(ctx, LMF_E_EXISTS, "%s was not written here; it is left alone", path);
    LMF_TRY(lmf_file_sha256(ctx, path, sha, &n));
    if (!holds(receipt, "files", file, n, sha) && !holds(receipt, "before", file, n, sha))
        return LMF_FAIL(ctx, LMF_E_EXISTS, "%s was changed since it was written here; it is left alone", path);
    return LMF_OK;
}

lmf_status lmf_receipt_check_dir(lmf_ctx *ctx, const char *dir, const char *name, json_t **out)
{
    json_t *receipt;
    LMF_TRY(lmf_receipt_load(ctx, dir, name, &receipt));
    DIR *d = opendir(dir);
    lmf_status s = d ? LMF_OK : LMF_FAIL(ctx, LMF_E_IO, "can't read the folder %s", dir);
    for (struct dirent *e; !s && (e = readdir(d));)
        if (is_entry(e->d_name) && strcmp(e->d_name, name))
            s = lmf_receipt_check(ctx, receipt, dir, e->d_name);
    if (d)
        closedir(d);
    if (s)
        json_decref(receipt);
    else
        *out = receipt;
    return s;
}

lmf_status lmf_receipt_remove_dir(lmf_ctx *ctx, const char *dir, const char *name, const json_t *receipt)
{
    const char *names[MAX_NAMES] = { name };
    json_t *files = json_object_get(receipt, "files"), *entry;
    const char *file;
    int n = 1;
    json_object_foreach(files, file, entry)
        if (n < MAX_NAMES - 1)
            names[n++] = file;
    return lmf_dir_remove(ctx, dir, names);
}
