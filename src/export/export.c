/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: nothing stands under the output's name that was not verified, and nothing of others is removed: a folder is ours when it has
 * the receipt that an export writes. */
#include "export/export.h"
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "export/parts.h"
#include "format/json.h"

static const char receipt_name[] = "lmfast_export.json";

lmf_export_opts lmf_export_opts_default(void)
{
    return (lmf_export_opts){ .struct_bytes = sizeof(lmf_export_opts), .quant = "copy" };
}

static bool is_gguf(lmf_ctx *ctx, const char *path)
{
    lmf_map map;
    if (lmf_file_map(ctx, path, &map))
        return false;
    bool yes = map.n >= 4 && memcmp(map.data, "GGUF", 4) == 0;
    lmf_file_unmap(&map);
    return yes;
}

static bool has_receipt(lmf_ctx *ctx, const char *dir)
{
    char path[4096];
    return !lmf_path_join(ctx, path, sizeof path, dir, receipt_name) && lmf_path_stat(path) == LMF_PATH_FILE;
}

static lmf_status check_output(lmf_ctx *ctx, const char *path, const lmf_export_opts *o)
{
    lmf_path_kind kind = lmf_path_stat(path);
    bool gguf = o->format == LMF_EXPORT_GGUF;
    if (kind == LMF_PATH_NONE || (!gguf && kind == LMF_PATH_DIR && lmf_dir_is_empty(path)))
        return LMF_OK;
    if (gguf && kind == LMF_PATH_DIR)
        return LMF_FAIL(ctx, LMF_E_EXISTS, "--output %s is a folder; a GGUF export is one file, %s/model.gguf for example", path, path);
    bool ours = gguf ? kind == LMF_PATH_FILE && is_gguf(ctx, path) : kind == LMF_PATH_DIR && has_receipt(ctx, path);
    if (!ours)
        return LMF_FAIL(ctx, LMF_E_EXISTS, "--output %s exists and is no %s; it is left alone, choose another name", path, gguf ? "GGUF file" : "folder that an export wrote");
    return o->overwrite ? LMF_OK : LMF_FAIL(ctx, LMF_E_EXISTS, "--output %s exists; --overwrite replaces it", path);
}

static lmf_status write_receipt(lmf_exporter *x, const char *dir)
{
    char path[4096];
    const lmf_export_report *r = x->report;
    json_t *root = json_pack("{s:s, s:s, s:s, s:I, s:b, s:f, s:f, s:f}", "format", "hf", "source", x->model->path, "quant", x->opts->quant, "tensors", (json_int_t)r->n_tensors, "verified",
                             r->verified, "max_dlogit", r->max_dlogit, "mean_kl", r->mean_kl, "same_top", r->same_top);
    lmf_status s = root ? lmf_path_join(x->ctx, path, sizeof path, dir, receipt_name) : LMF_NO_MEMORY(x->ctx, 256, "a receipt");
    if (!s)
        s = lmf_json_save(x->ctx, path, root);
    json_decref(root);
    return s;
}

static void remove_part(lmf_ctx *ctx, const char *part)
{
    lmf_path_kind kind = lmf_path_stat(part);
    lmf_status s = kind == LMF_PATH_DIR ? lmf_dir_remove(ctx, part) : kind == LMF_PATH_FILE ? lmf_path_unlink(ctx, part) : LMF_OK;
    (void)s; /* the failure that led here is the one to tell */
}

static lmf_status write_part(lmf_exporter *x, const char *part)
{
    bool gguf = x->opts->format == LMF_EXPORT_GGUF;
    LMF_TRY(lmf__export_list(x));
    LMF_TRY(gguf ? lmf__export_gguf(x, part) : lmf__export_hf(x, part));
    x->report->n_tensors = x->n;
    for (int64_t i = 0; i < x->n; i++) {
        int64_t n = 1;
        for (int k = 0; k < x->items[i].n_dims; k++)
            n *= x->items[i].dim[k];
        x->report->n_bytes += lmf_format_bytes(x->items[i].fmt, n);
    }
    if (!x->opts->skip_verify)
        LMF_TRY(lmf__export_verify(x, part));
    return gguf ? LMF_OK : write_receipt(x, part);
}

lmf_status lmf_export(lmf_ctx *ctx, const lmf_model *model, const char *path, const lmf_export_opts *opts, lmf_export_report *out)
{
    char part[4096], name[4096 - 8];
    lmf_lora lora = { 0 };
    lmf_exporter x = { .ctx = ctx, .model = model, .opts = opts, .report = out };
    *out = (lmf_export_report){ 0 };
    if (opts->struct_bytes != sizeof *opts)
        return LMF_FAIL(ctx, LMF_E_ARG, "lmf_export_opts has %zu bytes here, %zu in the caller: start from lmf_export_opts_default", sizeof *opts, opts->struct_bytes);
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (n == 0 || n >= sizeof name)
        return LMF_FAIL(ctx, LMF_E_ARG, "the output's path is empty or too long");
    memcpy(name, path, n);
    name[n] = 0;
    snprintf(part, sizeof part, "%s.part", name);
    LMF_TRY(check_output(ctx, name, opts));
    if (lmf_path_stat(part) == LMF_PATH_DIR && opts->format == LMF_EXPORT_HF)
        LMF_TRY(lmf_dir_remove(ctx, part)); /* of an export that was killed */
    lmf_arena_init(&x.arena, ctx, (size_t)1 << 34);
    lmf_status s = opts->adapter ? lmf_lora_open(ctx, model, opts->adapter, &lora) : LMF_OK;
    x.lora = opts->adapter ? &lora : NULL;
    if (!s)
        s = write_part(&x, part);
    if (!s && opts->format == LMF_EXPORT_HF && lmf_path_stat(name) == LMF_PATH_DIR)
        s = lmf_dir_remove(ctx, name);
    if (!s)
        s = lmf_path_rename(ctx, part, name);
    if (s) {
        lmf_error_record first = ctx->error; /* removing may fail too and say so */
        remove_part(ctx, part);
        ctx->error = first;
    }
    lmf_lora_close(&lora);
    lmf_arena_clear(&x.arena);
    return s;
}
