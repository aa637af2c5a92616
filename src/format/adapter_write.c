/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: adapter_config.json is written last: a folder that has one has its weights. */
#include <math.h>
#include <string.h>
#include "base/buf.h"
#include "base/file.h"
#include "device/dtype.h"
#include "format/adapter.h"
#include "format/json.h"

static lmf_status declare(lmf_safetensors_writer *w, lmf_arena *arena, bool dora, const lmf_adapter_entry *e)
{
    const char *a = lmf_arena_printf(arena, "base_model.model.%s.lora_A.weight", e->path);
    const char *b = lmf_arena_printf(arena, "base_model.model.%s.lora_B.weight", e->path);
    const char *m = lmf_arena_printf(arena, "base_model.model.%s.lora_magnitude_vector", e->path);
    if (!a || !b || !m)
        return LMF_NO_MEMORY(arena->ctx, strlen(e->path), "an adapter");
    LMF_TRY(lmf_safetensors_add(w, a, e->dtype, (int64_t[]){ e->r, e->n_in }, 2));
    LMF_TRY(lmf_safetensors_add(w, b, e->dtype, (int64_t[]){ e->n_out, e->r }, 2));
    return dora ? lmf_safetensors_add(w, m, e->dtype, &e->n_out, 1) : LMF_OK;
}

static lmf_status write_weights(lmf_ctx *ctx, const char *path, bool dora, const lmf_adapter_entry *entry, size_t n)
{
    lmf_safetensors_writer *w;
    lmf_arena arena;
    lmf_status s = LMF_OK;
    LMF_TRY(lmf_safetensors_writer_create(ctx, path, &w));
    lmf_arena_init(&arena, ctx, 64 << 20);
    for (size_t i = 0; !s && i < n; i++)
        s = declare(w, &arena, dora, entry + i);
    if (!s)
        s = lmf_safetensors_begin(w);
    for (int64_t i; !s && (i = lmf_safetensors_writer_next(w)) >= 0;) {
        int64_t n_each = dora ? 3 : 2, part = i % n_each;
        const lmf_adapter_entry *e = entry + i / n_each;
        size_t element = e->dtype == LMF_F32 ? 4 : 2;
        s = lmf_safetensors_write(w, part == 2 ? e->m : part ? e->b : e->a,
                                  (size_t)(part == 2 ? e->n_out : e->r * (part ? e->n_out : e->n_in)) * element);
    }
    if (!s)
        s = lmf_safetensors_commit(w);
    lmf_safetensors_writer_destroy(w);
    lmf_arena_clear(&arena);
    return s;
}

/* 16, or 16.5. */
static json_t *number(double v)
{
    return v == floor(v) && fabs(v) < 0x1p53 ? json_integer((json_int_t)v) : json_real(v);
}

static json_t *targets(const lmf_adapter_config *c)
{
    if (c->target_regex)
        return json_string(c->target_regex);
    json_t *list = json_array();
    for (size_t i = 0; list && i < c->n_targets; i++)
        if (json_array_append_new(list, json_string(c->target[i]))) {
            json_decref(list);
            list = NULL;
        }
    return list;
}

static lmf_status make_config(lmf_ctx *ctx, const lmf_adapter_config *c, const lmf_adapter_entry *entry, size_t n, json_t **out)
{
    static const char *const null_keys[] = { "auto_mapping", "layer_replication", "layers_pattern", "layers_to_transform", "modules_to_save", "revision" };
    static const char *const false_keys[] = { "fan_in_fan_out", "lora_bias" };
    json_t *ranks = json_object(), *alphas = json_object(), *root;
    bool ok = ranks && alphas;
    *out = NULL;
    for (size_t i = 0; ok && i < n; i++) {
        if (entry[i].r != c->r)
            ok = !json_object_set_new(ranks, entry[i].path, json_integer(entry[i].r));
        if (ok && entry[i].alpha != c->alpha)
            ok = !json_object_set_new(alphas, entry[i].path, number(entry[i].alpha));
    }
    root = json_pack("{s:s, s:s, s:o?, s:s, s:b, s:b, s:I, s:b, s:b}", "peft_type", "LORA", "task_type", *c->task_type ? c->task_type : "CAUSAL_LM",
                     "base_model_name_or_path", *c->base_model ? lmf_json_string(c->base_model) : NULL, "bias", "none", "inference_mode", 1, "init_lora_weights", 1, "r",
                     (json_int_t)c->r, "use_rslora", c->use_rslora, "use_dora", c->use_dora);
    ok = ok && root && !json_object_set_new(root, "lora_alpha", number(c->alpha)) && !json_object_set_new(root, "lora_dropout", json_real(c->dropout)) &&
         !json_object_set_new(root, "target_modules", targets(c)) && !json_object_set(root, "rank_pattern", ranks) &&
         !json_object_set(root, "alpha_pattern", alphas);
    for (size_t i = 0; ok && i < sizeof null_keys / sizeof *null_keys; i++)
        ok = !json_object_set_new(root, null_keys[i], json_null());
    for (size_t i = 0; ok && i < sizeof false_keys / sizeof *false_keys; i++)
        ok = !json_object_set_new(root, false_keys[i], json_false());
    json_decref(ranks);
    json_decref(alphas);
    if (!ok) {
        json_decref(root);
        return LMF_FAIL(ctx, LMF_E_ARG, "the adapter's configuration holds a string that is not UTF-8 or a number that is not finite");
    }
    *out = root;
    return LMF_OK;
}

/* A scalar of YAML in double quotes. */
static lmf_status put_quoted(lmf_buf *b, const char *text)
{
    LMF_TRY(lmf_buf_putc(b, '"'));
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            LMF_TRY(lmf_buf_putc(b, '\\'));
        LMF_TRY(lmf_buf_putc(b, (unsigned char)*text < 0x20 ? ' ' : *text));
    }
    return lmf_buf_putc(b, '"');
}

static lmf_status write_card(lmf_ctx *ctx, const char *path, const lmf_adapter_config *c)
{
    lmf_buf b;
    lmf_buf_init(&b, ctx, 1 << 20);
    lmf_buf_puts(&b, "---\n");
    if (*c->base_model) {
        lmf_buf_puts(&b, "base_model: ");
        put_quoted(&b, c->base_model);
        lmf_buf_puts(&b, "\n");
    }
    lmf_buf_puts(&b, "library_name: peft\npipeline_tag: text-generation\ntags:\n- lora\n---\n\n# LoRA adapter\n\n");
    lmf_buf_printf(&b, "A %s adapter of rank %lld (alpha %g%s) for `%s`, in PEFT's format, written by LMFast.\n", c->use_dora ? "DoRA" : "LoRA", (long long)c->r, c->alpha,
                   c->use_rslora ? ", rank-stabilized" : "", *c->base_model ? c->base_model : "an unnamed base model");
    lmf_status s = b.status ? b.status : lmf_file_write(ctx, path, b.data, b.n);
    lmf_buf_clear(&b);
    return s;
}

static lmf_status check(lmf_ctx *ctx, const lmf_adapter_config *c, const lmf_adapter_entry *entry, size_t n)
{
    if (n == 0 || c->r < 1 || !isfinite(c->alpha) || !(c->dropout >= 0 && c->dropout < 1))
        return LMF_FAIL(ctx, LMF_E_ARG, "an adapter needs a pair, a rank of at least 1, a finite alpha and a dropout in [0, 1)");
    for (size_t i = 0; i < n; i++)
        if (!entry[i].m != !c->use_dora)
            return LMF_FAIL(ctx, LMF_E_ARG, "the adapter of %.200s must have magnitudes where it is DoRA, and there alone", entry[i].path);
    for (size_t i = 0; i < n; i++)
        if (entry[i].r < 1 || entry[i].n_in < 1 || entry[i].n_out < 1 || (entry[i].dtype != LMF_F32 && entry[i].dtype != LMF_F16 && entry[i].dtype != LMF_BF16))
            return LMF_FAIL(ctx, LMF_E_ARG, "the adapter of %.200s is not F32, F16 or BF16 of [R, in] and [out, R]", entry[i].path);
    return LMF_OK;
}

lmf_status lmf_adapter_save(lmf_ctx *ctx, const char *dir, const lmf_adapter_config *config, const lmf_adapter_entry *entry, size_t n)
{
    char path[4096];
    json_t *root;
    LMF_TRY(check(ctx, config, entry, n));
    LMF_TRY(lmf_dir_create(ctx, dir));
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, "adapter_model.safetensors"));
    LMF_TRY(write_weights(ctx, path, config->use_dora, entry, n));
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, "README.md"));
    LMF_TRY(write_card(ctx, path, config));
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, "adapter_config.json"));
    LMF_TRY(make_config(ctx, config, entry, n, &root));
    lmf_status s = lmf_json_save(ctx, path, root);
    json_decref(root);
    return s;
}
