/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a doubt is a no: what can't be read, has another size or hash, or is no regular file is not ours. */
#include "format/receipt.h"
#include <dirent.h>
#include <stdio.h>
#include <string.h>
#include "base/output.h"

enum { MAX_RECEIPT_BYTES = 1 << 20, MAX_NAMES = 64 };

static bool is_entry(const char *name) { return strcmp(name, ".") && strcmp(name, ".."); }

/* Calls with each file's name but that of the receipt: those of a folder in it as "folder/name", one deep. A folder of nothing is told
 * as a name. */
typedef lmf_status (*each_file)(lmf_ctx *ctx, const char *dir, const char *file, json_t *user);
static lmf_status walk(lmf_ctx *ctx, const char *dir, const char *inner, const char *skip, each_file each, json_t *user)
{
    char path[4096], file[600];
    int n = 0;
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, inner));
    DIR *d = opendir(path);
    lmf_status s = d ? LMF_OK : LMF_FAIL(ctx, LMF_E_IO, "can't read the folder %s", path);
    for (struct dirent *e; !s && (e = readdir(d));) {
        if (!is_entry(e->d_name) || (!*inner && strcmp(e->d_name, skip) == 0))
            continue;
        n++;
        if (*inner)
            s = lmf_path_join(ctx, file, sizeof file, inner, e->d_name);
        else
            snprintf(file, sizeof file, "%.255s", e->d_name);
        s = s ? s : lmf_path_join(ctx, path, sizeof path, dir, file);
        if (!s)
            s = !*inner && lmf_output_stat(path) == LMF_OUTPUT_DIR ? walk(ctx, dir, file, skip, each, user) : each(ctx, dir, file, user);
    }
    if (d)
        closedir(d);
    return s || n || !*inner ? s : each(ctx, dir, inner, user);
}

static lmf_status note_file(lmf_ctx *ctx, const char *dir, const char *file, json_t *files)
{
    char path[4096], sha[65];
    uint64_t n;
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, file));
    LMF_TRY(lmf_file_sha256(ctx, path, sha, &n));
    if (json_object_set_new(files, file, json_pack("{s:I, s:s}", "bytes", (json_int_t)n, "sha256", sha)))
        return LMF_NO_MEMORY(ctx, 256, "a receipt");
    return LMF_OK;
}

lmf_status lmf_receipt_save(lmf_ctx *ctx, const char *dir, const char *to, const char *name, json_t *note)
{
    char path[4096];
    json_t *files = json_object();
    lmf_status s = files ? walk(ctx, dir, "", name, note_file, files) : LMF_NO_MEMORY(ctx, 256, "a receipt");
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

static lmf_status check_file(lmf_ctx *ctx, const char *dir, const char *file,
                             json_t *receipt) { return lmf_receipt_check(ctx, receipt, dir, file); }

lmf_status lmf_receipt_check_dir(lmf_ctx *ctx, const char *dir, const char *name, json_t **out)
{
    json_t *receipt;
    LMF_TRY(lmf_receipt_load(ctx, dir, name, &receipt));
    lmf_status s = walk(ctx, dir, "", name, check_file, receipt);
    if (s)
        json_decref(receipt);
    else
        *out = receipt;
    return s;
}

lmf_status lmf_receipt_remove_dir(lmf_ctx *ctx, const char *dir, const char *name, const json_t *receipt)
{
    const char *names[MAX_NAMES] = { name }, *inner[MAX_NAMES] = { 0 };
    json_t *files = json_object_get(receipt, "files"), *entry;
    const char *file, *of = NULL; /* the one folder in it */
    char path[4096], folder[256];
    int n = 1, n_inner = 0;
    json_object_foreach(files, file, entry) {
        const char *slash = strchr(file, '/');
        of = slash && !of ? file : of;
        if (slash && n_inner < MAX_NAMES - 1 && strncmp(file, of, (size_t)(slash - file) + 1) == 0)
            inner[n_inner++] = slash + 1;
        else if (!slash && n < MAX_NAMES - 1)
            names[n++] = file;
    }
    if (of) {
        snprintf(folder, sizeof folder, "%.*s", (int)strcspn(of, "/"), of);
        LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, folder));
        if (lmf_output_stat(path) == LMF_OUTPUT_DIR)
            LMF_TRY(lmf_dir_remove(ctx, path, inner));
    }
    return lmf_dir_remove(ctx, dir, names);
}
