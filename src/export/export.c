/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: nothing stands under the output's name that was not verified, and nothing of others is replaced: a folder is ours when its receipt
 * has the hash of every file in it, a GGUF file when it holds its own. Both are looked at before the work and again when the work is done. */
#include "export/export.h"
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/output.h"
#include "export/parts.h"
#include "models/hparam.h"
#include "format/receipt.h"

static const char receipt_name[] = "lmfast_export.json";

lmf_export_opts lmf_export_opts_default(void)
{
    return (lmf_export_opts){ .struct_bytes = sizeof(lmf_export_opts), .quant = "copy" };
}

/* ---- whose is it ---- */
/* SHA-256 of a GGUF file with the 64 digits of its key lmfast.export taken as zeros, and where they lie. */
static lmf_status gguf_digest(lmf_ctx *ctx, const char *path, char said[65], char digest[65], uint64_t *at)
{
    static const char zeros[64 + 1] = "0000000000000000000000000000000000000000000000000000000000000000";
    unsigned char raw[32];
    lmf_gguf *g;
    lmf_bytes v = { 0 };
    lmf_map map;
    LMF_TRY(lmf_gguf_open(ctx, path, &g));
    lmf_status s = lmf_gguf_get_string(g, LMF__EXPORT_KEY, &v);
    const lmf_gguf_kv *kv = lmf_gguf_find(g, LMF__EXPORT_KEY);
    if (!s && v.n != 64)
        s = LMF_FAIL(ctx, LMF_E_FORMAT, "%s: %s is no hash", path, LMF__EXPORT_KEY);
    if (!s)
        *at = (uint64_t)lmf_gguf_offset(g, kv->data) + 8; /* behind the string's length */
    snprintf(said, 65, "%.*s", s ? 0 : 64, (const char *)v.p);
    lmf_gguf_close(g);
    LMF_TRY(s);
    LMF_TRY(lmf_file_map(ctx, path, &map));
    EVP_MD_CTX *h = EVP_MD_CTX_new();
    if (*at + 64 > map.n || !h || !EVP_DigestInit_ex(h, EVP_sha256(), NULL) || !EVP_DigestUpdate(h, map.data, *at) || !EVP_DigestUpdate(h, zeros, 64) ||
        !EVP_DigestUpdate(h, map.data + *at + 64, map.n - *at - 64) || !EVP_DigestFinal_ex(h, raw, NULL))
        s = LMF_FAIL(ctx, LMF_E_MEMORY, "libcrypto could not compute a SHA-256");
    EVP_MD_CTX_free(h);
    lmf_file_unmap(&map);
    for (int i = 0; !s && i < 32; i++)
        snprintf(digest + 2 * i, 3, "%02x", raw[i]);
    return s;
}

/* Writes the file's own hash into it. */
static lmf_status seal_gguf(lmf_ctx *ctx, const char *path)
{
    char said[65], digest[65], text[128];
    uint64_t at;
    LMF_TRY(gguf_digest(ctx, path, said, digest, &at));
    int fd = open(path, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
    bool ok = fd >= 0 && pwrite(fd, digest, 64, (off_t)at) == 64 && fsync(fd) == 0;
    int e = errno;
    if (fd >= 0)
        close(fd);
    return ok ? LMF_OK : LMF_FAIL(ctx, LMF_E_IO, "can't write to %s: %s", path, strerror_r(e, text, sizeof text));
}

static lmf_status check_gguf(lmf_ctx *ctx, const char *path)
{
    char said[65], digest[65];
    uint64_t at;
    lmf_status s = gguf_digest(ctx, path, said, digest, &at);
    if (s == LMF_E_MEMORY)
        return s;
    if (s || strcmp(said, digest))
        return LMF_FAIL(ctx, LMF_E_EXISTS, "--output %s exists and is no GGUF file that an export wrote%s; it is left alone, choose another name", path,
                        s ? "" : ", or was changed since");
    return LMF_OK;
}

static lmf_status check_folder(lmf_ctx *ctx, const char *path)
{
    char receipt[4096];
    json_t *note;
    LMF_TRY(lmf_path_join(ctx, receipt, sizeof receipt, path, receipt_name));
    if (lmf_output_stat(receipt) == LMF_OUTPUT_NONE)
        return LMF_FAIL(ctx, LMF_E_EXISTS, "--output %s exists and is no folder that an export wrote; it is left alone, choose another name", path);
    lmf_status s = lmf_receipt_check_dir(ctx, path, receipt_name, &note);
    if (s)
        return lmf_fail_prefix(ctx, LMF_E_EXISTS, "--output %s holds more than an export: choose another name", path);
    json_decref(note);
    return LMF_OK;
}

/* *replaces: a product of an export is there, and may go. *lock: that of the folder which is there, held from then on; -1: none was. */
static lmf_status check_output(lmf_ctx *ctx, const char *path, const lmf_export_opts *o, int *lock, bool *replaces)
{
    lmf_output_kind kind = lmf_output_stat(path);
    bool gguf = o->format == LMF_EXPORT_GGUF;
    *replaces = false;
    if (!gguf && kind == LMF_OUTPUT_DIR && *lock < 0)
        LMF_TRY(lmf_output_lock(ctx, path, lock));
    if (kind == LMF_OUTPUT_NONE || (!gguf && kind == LMF_OUTPUT_DIR && lmf_dir_is_empty(path)))
        return LMF_OK;
    if (gguf && kind == LMF_OUTPUT_DIR)
        return LMF_FAIL(ctx, LMF_E_EXISTS, "--output %s is a folder; a GGUF export is one file, %s/model.gguf for example", path, path);
    if (kind != (gguf ? LMF_OUTPUT_FILE : LMF_OUTPUT_DIR))
        return LMF_FAIL(ctx, LMF_E_EXISTS, "--output %s is %s; it is left alone, choose another name", path, lmf_output_word(kind));
    LMF_TRY(gguf ? check_gguf(ctx, path) : check_folder(ctx, path));
    *replaces = true;
    return o->overwrite ? LMF_OK : LMF_FAIL(ctx, LMF_E_EXISTS, "--output %s exists; --overwrite replaces it", path);
}

/* ---- the work ---- */
static lmf_status write_receipt(lmf_exporter *x, const char *dir)
{
    const lmf_export_report *r = x->report;
    json_t *source = lmf_json_string(x->model->path);
    json_t *root = json_pack("{s:s, s:s, s:o, s:s, s:I, s:b, s:f, s:f, s:f}", "command", "export", "format", x->opts->format == LMF_EXPORT_ONNX ? "onnx" : "hf", "source", source, "quant", x->opts->quant, "tensors",
                             (json_int_t)r->n_tensors, "verified", r->verified, "max_dlogit", r->max_dlogit, "mean_kl", r->mean_kl, "same_top", r->same_top);
    lmf_status s = root ? lmf_receipt_save(x->ctx, dir, dir, receipt_name, root) : LMF_NO_MEMORY(x->ctx, 256, "a receipt");
    json_decref(root);
    return s;
}

/* A value that the file has no key for, and that its reader would not assume, is refused. A GGUF file of another's name is read by that. */
static lmf_status check_values(const lmf_exporter *x)
{
    const lmf_arch *a = x->model->arch;
    bool gguf = x->opts->format == LMF_EXPORT_GGUF;
    bool as_other = gguf && a->like && a->gguf_arch && strcmp(a->gguf_arch[0], a->like->gguf_arch[0]) == 0;
    for (const lmf_hparam *h = a->hparams; h->field; h++) {
        lmf_hparam nothing = *h;
        nothing.fallback = 0;
        if ((gguf ? h->gguf : h->hf) || h->present || (h->flags & LMF_HPARAM_IMPLIED) ||
            lmf_hparam_is_default(as_other && !lmf_hparam_find(a->like, h->field) ? &nothing : h, x->model->config))
            continue;
        json_t *v = lmf_hparam_json(h, x->model->config);
        char *text = v ? json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT) : NULL;
        lmf_status s = LMF_FAIL(x->ctx, LMF_E_UNSUPPORTED, "the model's %s (%s) is %.60s, for which %s of %s has no key", h->field,
                                h->hf ? h->hf : h->gguf, text ? text : "?", gguf ? "a GGUF file" : "the config.json", a->name);
        free(text); /* allowed: jansson's */
        json_decref(v);
        return s;
    }
    return gguf && a->check_gguf ? a->check_gguf(x->ctx, x->model->config) : LMF_OK;
}

/* What an output can't say of the vocabulary is refused before anything is written. */
static lmf_status check_vocab(const lmf_exporter *x)
{
    const lmf_vocab *v = &x->model->vocab;
    if (v->model && !strcmp(v->model, "WordPiece"))
        return LMF_FAIL(x->ctx, LMF_E_UNSUPPORTED, "the model's vocabulary is WordPiece's, which export does not write");
    return LMF_OK;
}

static lmf_status write_part(lmf_exporter *x, const char *part)
{
    bool gguf = x->opts->format == LMF_EXPORT_GGUF;
    LMF_TRY(check_values(x));
    LMF_TRY(check_vocab(x));
    if (x->opts->format == LMF_EXPORT_ONNX) {
        LMF_TRY(lmf__export_onnx(x, part));
        return write_receipt(x, part);
    }
    if (x->opts->microsoft || x->opts->external)
        return LMF_FAIL(x->ctx, LMF_E_ARG, "Microsoft's operators and data beside the model are of ONNX alone");
    LMF_TRY(lmf__export_list(x));
    LMF_TRY(gguf ? lmf__export_gguf(x, part) : lmf__export_hf(x, part));
    x->report->n_tensors = x->n;
    for (int64_t i = 0; i < x->n; i++) {
        int64_t n = 1;
        for (int k = 0; k < x->items[i].n_dims; k++)
            n *= x->items[i].dim[k];
        x->report->n_bytes += lmf_format_bytes(x->items[i].fmt, n);
    }
    if (gguf)
        LMF_TRY(seal_gguf(x->ctx, part));
    if (!x->opts->skip_verify)
        LMF_TRY(lmf__export_verify(x, part));
    return gguf ? LMF_OK : write_receipt(x, part);
}

/* The old folder, under the temporary name now: removed, or put back when somebody's file came into it meanwhile. */
static lmf_status remove_old(lmf_ctx *ctx, const char *old, const char *name)
{
    json_t *note;
    LMF_TRY(lmf_receipt_load(ctx, old, receipt_name, &note));
    lmf_status s = lmf_receipt_remove_dir(ctx, old, receipt_name, note);
    json_decref(note);
    if (s) {
        lmf_error_record why = *lmf_error_here(ctx);
        lmf_status back = lmf_output_place(ctx, old, name, true);
        if (!back)
            *lmf_error_here(ctx) = why;
    }
    return s;
}

/* The folder onnx/ of a temporary folder, which holds files alone. */
static lmf_status remove_inner(lmf_ctx *ctx, const char *path)
{
    char inner[4096];
    LMF_TRY(lmf_path_join(ctx, inner, sizeof inner, path, "onnx"));
    return lmf_output_stat(inner) == LMF_OUTPUT_DIR ? lmf_dir_remove(ctx, inner, NULL) : LMF_OK;
}

/* A temporary folder: an export under way, or one that was replaced, with its receipt. */
static lmf_status remove_left(lmf_ctx *ctx, const char *path)
{
    char receipt[4096];
    json_t *note;
    LMF_TRY(lmf_path_join(ctx, receipt, sizeof receipt, path, receipt_name));
    if (lmf_output_stat(receipt) == LMF_OUTPUT_NONE) {
        LMF_TRY(remove_inner(ctx, path));
        return lmf_dir_remove(ctx, path, NULL);
    }
    LMF_TRY(lmf_receipt_check_dir(ctx, path, receipt_name, &note));
    lmf_status s = lmf_receipt_remove_dir(ctx, path, receipt_name, note);
    json_decref(note);
    return s;
}

static lmf_status place(lmf_exporter *x, const char *part, const char *name, int *lock, lmf_stage *stage)
{
    bool replaces, gguf = x->opts->format == LMF_EXPORT_GGUF;
    char dir[4096];
    LMF_TRY(check_output(x->ctx, name, x->opts, lock, &replaces));
    LMF_TRY(lmf_output_place(x->ctx, part, name, replaces));
    if (!gguf && replaces) {
        LMF_TRY(remove_old(x->ctx, part, name));
        stage->path[0] = 0;
    }
    const char *slash = strrchr(name, '/');
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - name) + (slash == name) : 1, slash ? name : ".");
    return lmf_dir_sync(x->ctx, dir);
}

lmf_status lmf_export(lmf_ctx *ctx, const lmf_model *model, const char *path, const lmf_export_opts *opts, lmf_export_report *out)
{
    char part[4096], name[4096 - 8];
    bool replaces;
    int lock = -1;
    lmf_lora lora = { 0 };
    lmf_stage stage = { .fd = -1 };
    lmf_exporter x = { .ctx = ctx, .model = model, .opts = opts, .report = out };
    *out = (lmf_export_report){ 0 };
    lmf_export_opts taken = lmf_export_opts_default();
    LMF_TRY(lmf_opts_take(ctx, "lmf_export_opts", &taken, opts, sizeof taken));
    x.opts = opts = &taken;
    size_t n = strlen(path);
    if (n > 1 && path[n - 1] == '/' && opts->format == LMF_EXPORT_GGUF && lmf_output_stat(path) == LMF_OUTPUT_NONE)
        return LMF_FAIL(ctx, LMF_E_ARG, "--output %s is the name of a folder; a GGUF export is one file, %smodel.gguf for example", path,
                        path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    if (n == 0 || n >= sizeof name)
        return LMF_FAIL(ctx, LMF_E_ARG, "the output's path is empty or too long");
    memcpy(name, path, n);
    name[n] = 0;
    lmf_arena_init(&x.arena, ctx, LMF_POWER2(34));
    lmf_status s = check_output(ctx, name, opts, &lock, &replaces);
    if (!s && opts->adapter)
        s = lmf_lora_open(ctx, model, opts->adapter, &lora);
    x.lora = opts->adapter ? &lora : NULL;
    if (!s)
        s = lmf_stage_open(ctx, name, remove_left, &stage);
    if (!s && opts->format == LMF_EXPORT_GGUF)
        s = lmf_path_join(ctx, part, sizeof part, stage.path, "model.gguf");
    else if (!s)
        snprintf(part, sizeof part, "%s", stage.path);
    if (!s)
        s = write_part(&x, part);
    if (!s)
        s = place(&x, part, name, &lock, &stage);
    if (s && opts->format == LMF_EXPORT_ONNX && stage.fd >= 0 && stage.path[0]) {
        lmf_error_record why = *lmf_error_here(ctx);
        remove_inner(ctx, stage.path); /* what stays is removed by the next run */
        *lmf_error_here(ctx) = why;
    }
    lmf_status closed = lmf_stage_close(&stage);
    s = s ? s : closed;
    if (lock >= 0)
        close(lock);
    lmf_lora_close(&lora);
    lmf_arena_clear(&x.arena);
    return s;
}
