/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the receipt is written before the files that it names get their names, and keeps the hashes of those that they replace: whenever
 * the process dies, each file in the folder is in it. */
#include "train/run_folder.h"
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include "base/output.h"
#include "config/dialect.h"
#include "format/receipt.h"
#include "observe/events.h"
#include "train/trainer_internal.h"

static const char receipt_name[] = "lmfast_train.json", log_name[] = "metrics.jsonl";
static const char config_name[] = "lmfast_config.yaml", model_name[] = LMF_RUN_MODEL, model_receipt[] = "lmfast_export.json";

static const char *const adapter_names[] = { "README.md", "adapter_model.safetensors", "adapter_config.json",
    NULL }; /* the order of placing */
static const char *const run_names[] = { receipt_name, log_name, config_name, LMF_EVENTS_NAME, LMF_RUN_SAMPLES, "README.md", "adapter_model.safetensors",
    "adapter_config.json", NULL };

static bool is_adapter_name(const char *name)
{
    for (const char *const *a = adapter_names; *a; a++)
        if (strcmp(*a, name) == 0)
            return true;
    return false;
}

static bool is_checkpoint_name(const char *name)
{
    static const char prefix[] = "checkpoint-";
    size_t n = sizeof prefix - 1, digits = strspn(strncmp(name, prefix, n) ? "" : name + n, "0123456789");
    return digits > 0 && digits < 19 && !name[n + digits] && (name[n] != '0' || digits == 1);
}

/* The text of a file; what is none is no run's. */
static lmf_status read_file(lmf_ctx *ctx, const char *path, size_t most, char **text, size_t *n)
{
    if (lmf_output_stat(path) != LMF_OUTPUT_FILE)
        return LMF_FAIL(ctx, LMF_E_EXISTS, "%s is %s that no training run wrote; it is left alone", path,
                        lmf_output_word(lmf_output_stat(path)));
    return lmf_file_read(ctx, path, most, text, n);
}

/* Every whole line has the keys that each run writes, and beside them numbers alone: what its objective reports. The last may have been
 * cut short by a kill. */
static lmf_status check_log(lmf_ctx *ctx, const char *path)
{
    static const char *const keys[] = { "step", "epoch", "loss", "learning_rate", "grad_norm", "tokens", "seconds", NULL };
    char *text;
    size_t n;
    LMF_TRY(read_file(ctx, path, LMF_POWER2(32), &text, &n));
    bool ours = n > 0; /* ours begins with its first line */
    for (size_t at = 0; ours && at < n;) {
        const char *end = memchr(text + at, '\n', n - at);
        if (!end) {
            ours = strncmp(text + at, "{\"step\": ", n - at < 9 ? n - at : 9) == 0;
            break;
        }
        json_t *line = json_loadb(text + at, (size_t)(end - text) - at, 0, NULL);
        const char *name;
        json_t *value;
        for (const char *const *k = keys; ours && *k; k++)
            ours = json_object_get(line, *k) != NULL;
        json_object_foreach(line, name, value)
            ours = ours && (json_is_number(value) || json_is_null(value));
        json_decref(line);
        at = (size_t)(end - text) + 1;
    }
    lmf_free(ctx, text, n + 1);
    return ours ? LMF_OK : LMF_FAIL(ctx, LMF_E_EXISTS, "%s holds lines that no training run wrote; it is left alone", path);
}

/* Every whole line is an answer as we write them. */
static lmf_status check_samples(lmf_ctx *ctx, const char *path)
{
    static const char *const keys[] = { "step", "line", "answer", "tokens", "ended", NULL };
    char *text;
    size_t n;
    LMF_TRY(read_file(ctx, path, LMF_POWER2(32), &text, &n));
    bool ours = n > 0;
    for (size_t at = 0, len; ours && at < n; at += len + 1) {
        const char *end = memchr(text + at, '\n', n - at);
        len = end ? (size_t)(end - text) - at : n - at;
        json_t *line = end ? json_loadb(text + at, len, JSON_ALLOW_NUL, NULL) : NULL;
        for (const char *const *k = keys; end && ours && *k; k++)
            ours = json_object_get(line, *k) != NULL;
        ours = ours && (end || strncmp(text + at, "{\"step\":", len < 8 ? len : 8) == 0); /* cut short by a kill */
        json_decref(line);
    }
    lmf_free(ctx, text, n + 1);
    return ours ? LMF_OK : LMF_FAIL(ctx, LMF_E_EXISTS, "%s holds lines that no training run wrote; it is left alone", path);
}

/* Ours by the hash in its first line. */
static lmf_status check_config(lmf_ctx *ctx, const char *path)
{
    char *text;
    size_t n;
    LMF_TRY(read_file(ctx, path, LMF_DOCUMENT_MAX_BYTES, &text, &n));
    bool ours = lmf_config_is_ours(ctx, text, n);
    lmf_free(ctx, text, n + 1);
    return ours ? LMF_OK : LMF_FAIL(ctx, LMF_E_EXISTS, "%s was not written by a training run, or changed since; it is left alone", path);
}

lmf_status lmf_run_save_config(lmf_ctx *ctx, const char *dir, const char *text, size_t n)
{
    char path[4096];
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, config_name));
    if (lmf_output_stat(path) != LMF_OUTPUT_NONE) {
        lmf_error_record before = ctx->error;
        lmf_status s = check_config(ctx, path);
        ctx->error = before;
        if (s)
            return s == LMF_E_MEMORY ? s : LMF_OK;
    }
    return lmf_file_write(ctx, path, text, n);
}

/* *out NULL: there is none. */
static lmf_status load_receipt(lmf_ctx *ctx, const char *dir, json_t **out)
{
    char path[4096];
    *out = NULL;
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, receipt_name));
    if (lmf_output_stat(path) == LMF_OUTPUT_NONE)
        return LMF_OK;
    lmf_status s = lmf_receipt_load(ctx, dir, receipt_name, out);
    const char *by = json_string_value(json_object_get(*out, "command"));
    if (!s && (!by || strcmp(by, "train") || !json_is_object(json_object_get(*out, "files"))))
        s = LMF_FAIL(ctx, LMF_E_EXISTS, "%s is no receipt of a training run; it is left alone", path);
    if (s) {
        json_decref(*out);
        *out = NULL;
    }
    return s == LMF_E_FORMAT || s == LMF_E_LIMIT ? lmf_fail_prefix(ctx, LMF_E_EXISTS, "%s is left alone", path) : s;
}

static lmf_status check_events(lmf_ctx *ctx, const char *path)
{
    char *text;
    size_t n;
    LMF_TRY(read_file(ctx, path, LMF_POWER2(32), &text, &n));
    bool ours = lmf_events_is_ours(text, n);
    lmf_free(ctx, text, n + 1);
    return ours ? LMF_OK : LMF_FAIL(ctx, LMF_E_EXISTS, "%s was not written by a training run; it is left alone", path);
}

/* A folder that an export made, and nothing else in it. */
static lmf_status check_model(lmf_ctx *ctx, const char *path)
{
    json_t *note;
    if (lmf_output_stat(path) != LMF_OUTPUT_DIR)
        return LMF_FAIL(ctx, LMF_E_EXISTS, "%s is %s that no training run wrote; it is left alone", path,
                        lmf_output_word(lmf_output_stat(path)));
    lmf_status s = lmf_receipt_check_dir(ctx, path, model_receipt, &note);
    if (s)
        return s == LMF_E_MEMORY ? s : lmf_fail_prefix(ctx, LMF_E_EXISTS, "%s was not written by a training run, or changed since", path);
    json_decref(note);
    return LMF_OK;
}

static lmf_status remove_model(lmf_ctx *ctx, const char *path)
{
    json_t *note;
    if (lmf_output_stat(path) == LMF_OUTPUT_NONE)
        return LMF_OK;
    LMF_TRY(lmf_receipt_check_dir(ctx, path, model_receipt, &note));
    lmf_status s = lmf_receipt_remove_dir(ctx, path, model_receipt, note);
    json_decref(note);
    return s;
}

static lmf_status look_at(lmf_ctx *ctx, const char *dir, const char *name, const json_t *receipt, bool damaged_is_fine, lmf_run_contents *out)
{
    char path[4096];
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, name));
    if (is_checkpoint_name(name)) {
        out->n_checkpoints++;
        return damaged_is_fine && lmf_output_stat(path) == LMF_OUTPUT_DIR ? LMF_OK : lmf_checkpoint_check(ctx, path, true);
    }
    if (strcmp(name, log_name) == 0)
        return out->log = true, check_log(ctx, path);
    if (strcmp(name, config_name) == 0)
        return out->config = true, damaged_is_fine ? LMF_OK : check_config(ctx, path);
    if (strcmp(name, LMF_RUN_SAMPLES) == 0)
        return check_samples(ctx, path);
    if (strcmp(name, LMF_EVENTS_NAME) == 0)
        return check_events(ctx, path);
    if (strcmp(name, model_name) == 0)
        return out->n_adapter++, check_model(ctx, path);
    if (is_adapter_name(name))
        return out->n_adapter++, lmf_receipt_check(ctx, receipt, dir, name);
    if (strcmp(name, receipt_name) == 0)
        out->n_adapter++;
    else if (!lmf_output_is_temporary(name))
        snprintf(out->stranger, sizeof out->stranger, "%s", name);
    return LMF_OK;
}

lmf_status lmf_run_scan(lmf_ctx *ctx, const char *dir, bool damaged_is_fine, lmf_run_contents *out)
{
    json_t *receipt;
    *out = (lmf_run_contents){ 0 };
    char text[128];
    DIR *d = opendir(dir);
    if (!d)
        return LMF_FAIL(ctx, LMF_E_IO, "can't read the folder %s: %s", dir, strerror_r(errno, text, sizeof text));
    lmf_status s = load_receipt(ctx, dir, &receipt);
    for (struct dirent *e; !s && (e = readdir(d));)
        if (strcmp(e->d_name, ".") && strcmp(e->d_name, ".."))
            s = look_at(ctx, dir, e->d_name, receipt, damaged_is_fine, out);
    closedir(d);
    json_decref(receipt);
    return s;
}

lmf_status lmf_run_remove(lmf_ctx *ctx, const char *dir)
{
    char path[4096];
    lmf_run_contents c;
    LMF_TRY(lmf_run_scan(ctx, dir, false, &c));
    if (c.stranger[0])
        return LMF_FAIL(ctx, LMF_E_EXISTS, "%s/%s is not of a training run; nothing in that folder is removed", dir, c.stranger);
    lmf_output_clean(ctx, dir, NULL, lmf_checkpoint_remove_left);
    for (int64_t n; (n = lmf_checkpoint_newest(dir)) >= 0;) {
        char name[64];
        snprintf(name, sizeof name, "checkpoint-%lld", (long long)n);
        LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, name));
        LMF_TRY(lmf_checkpoint_remove(ctx, path));
    }
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, model_name));
    LMF_TRY(remove_model(ctx, path));
    return lmf_dir_remove(ctx, dir, run_names);
}

/* "files" of the receipt that is there, for "before" in the new one. */
static lmf_status new_note(lmf_trainer *t, const char *dir, json_t **out)
{
    json_t *old;
    LMF_TRY(load_receipt(t->ctx, dir, &old));
    *out = json_pack("{s:s, s:I, s:O*}", "command", "train", "steps", (json_int_t)t->step, "before", json_object_get(old, "files"));
    json_decref(old);
    return *out ? LMF_OK : LMF_NO_MEMORY(t->ctx, 256, "a receipt");
}

lmf_status lmf_run_finish(lmf_trainer *t, const char *dir, const char *base_name)
{
    char from[4096], to[4096];
    lmf_stage stage;
    lmf_run_contents c;
    json_t *note = NULL;
    LMF_TRY(lmf_dir_create(t->ctx, dir));
    LMF_TRY(lmf_run_scan(t->ctx, dir, true, &c));
    LMF_TRY(lmf_path_join(t->ctx, to, sizeof to, dir, "adapter"));
    LMF_TRY(lmf_stage_open(t->ctx, to, NULL, &stage));
    lmf_status s = lmf_trainer_save_adapter(t, stage.path, base_name);
    if (!s)
        s = new_note(t, dir, &note);
    if (!s)
        s = lmf_receipt_save(t->ctx, stage.path, dir, receipt_name, note);
    for (const char *const *name = adapter_names; !s && *name; name++) {
        s = lmf_path_join(t->ctx, from, sizeof from, stage.path, *name);
        if (!s)
            s = lmf_path_join(t->ctx, to, sizeof to, dir, *name);
        if (!s)
            s = lmf_output_place(t->ctx, from, to, lmf_output_stat(to) == LMF_OUTPUT_FILE);
    }
    json_decref(note);
    lmf_status closed = lmf_stage_close(&stage);
    s = s ? s : closed;
    return s ? s : lmf_dir_sync(t->ctx, dir);
}
