/* SPDX-License-Identifier: Apache-2.0 */
#include "format/adapter.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "test.h"

static const float numbers[64] = { 1, 2, 3, 4, 5, 6, 7, 8 };
static const char *const targets[] = { "q_proj", "v_proj" };
static const lmf_adapter_config config = { .r = 2, .alpha = 4, .dropout = 0.05, .base_model = "org/base \"x\"", .task_type = "CAUSAL_LM",
                                           .target = targets, .n_targets = 2 };
static const lmf_adapter_entry entries[] = {
    { "model.layers.0.self_attn.v_proj", 0, 3, 5, 2, 4, numbers, numbers + 1 },
    { "model.layers.0.self_attn.q_proj", 0, 3, 4, 4, 6, numbers + 2, numbers + 3 }, /* its own rank and alpha */
};

static void round_trip(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *dir = lmf_test_path("adapter/deep");
    lmf_adapter *a;
    assert_ok(ctx, lmf_adapter_save(ctx, dir, &config, entries, 2));
    assert_ok(ctx, lmf_adapter_open(ctx, dir, &a));
    const lmf_adapter_config *c = lmf_adapter_get_config(a);
    assert_true(c->r == 2 && c->alpha == 4 && c->dropout == 0.05 && !c->use_rslora && c->n_targets == 2 && !c->target_regex);
    assert_string_equal(c->base_model, "org/base \"x\"");
    assert_string_equal(c->target[1], "v_proj");
    assert_int_equal(lmf_adapter_n(a), 2);
    const lmf_adapter_pair *p = lmf_adapter_at(a, 0), *q = lmf_adapter_at(a, 1);
    assert_string_equal(p->path, "model.layers.0.self_attn.q_proj");
    assert_true(p->r == 4 && p->scale == 1.5 && p->a->dim[1] == 3 && p->b->dim[0] == 4);
    assert_memory_equal(p->a->data, numbers + 2, 48);
    assert_memory_equal(p->b->data, numbers + 3, 64);
    assert_true(q->r == 2 && q->scale == 2);
    assert_memory_equal(q->a->data, numbers, 24);
    assert_memory_equal(q->b->data, numbers + 1, 40);
    lmf_adapter_close(a);
    lmf_test_ctx_done(ctx);
}

static void put_config(lmf_ctx *ctx, const char *dir, const char *extra)
{
    char path[512], text[1024];
    snprintf(path, sizeof path, "%s/adapter_config.json", dir);
    int n = snprintf(text, sizeof text, "{\"peft_type\":\"LORA\",\"target_modules\":[\"q_proj\"]%s}", extra);
    assert_ok(ctx, lmf_file_write(ctx, path, text, (size_t)n));
}

static void configs(void **state)
{
    (void)state;
    static const struct { const char *extra; lmf_status s; const char *words; double scale; } rows[] = {
        { ",\"r\":2", LMF_OK, "", 4 },
        { ",\"r\":2,\"lora_alpha\":3,\"unknown_key\":{\"a\":1}", LMF_E_UNSUPPORTED, "sets \"unknown_key\"", 0 },
        { ",\"r\":2,\"lora_alpha\":3,\"peft_version\":\"0.21.2\",\"eva_config\":null,\"unknown_key\":null,\"use_new\":false", LMF_OK, "", 1.5 },
        { ",\"r\":2,\"init_lora_weights\":\"pissa\"", LMF_E_UNSUPPORTED, "init_lora_weights pissa", 0 },
        { ",\"r\":2,\"init_lora_weights\":\"pissa_niter_4\"", LMF_E_UNSUPPORTED, "pissa_niter_4", 0 },
        { ",\"r\":2,\"init_lora_weights\":\"olora\"", LMF_E_UNSUPPORTED, "olora", 0 },
        { ",\"r\":2,\"init_lora_weights\":\"corda\"", LMF_E_UNSUPPORTED, "corda", 0 },
        { ",\"r\":2,\"init_lora_weights\":\"loftq\"", LMF_E_UNSUPPORTED, "loftq", 0 },
        { ",\"r\":2,\"loftq_config\":{\"loftq_bits\":4}", LMF_E_UNSUPPORTED, "loftq_config", 0 },
        { ",\"r\":2,\"loftq_config\":{},\"init_lora_weights\":\"gaussian\"", LMF_OK, "", 4 },
        { ",\"r\":2,\"init_lora_weights\":false", LMF_OK, "", 4 },
        { ",\"r\":2,\"arrow_config\":{\"top_k\":3}", LMF_E_UNSUPPORTED, "arrow_config", 0 },
        { ",\"r\":2,\"lora_alpha\":3,\"use_rslora\":true", LMF_OK, "", 3 / 1.4142135623730951 },
        { ",\"r\":9,\"rank_pattern\":{\"proj\":9,\"q_proj\":2},\"lora_alpha\":4", LMF_OK, "", 2 },
        { ",\"r\":9,\"rank_pattern\":{\"^m.q_proj\":2},\"alpha_pattern\":{\"m.q_proj\":8}", LMF_OK, "", 4 },
        { ",\"r\":9,\"rank_pattern\":{\"^q_proj\":2}", LMF_E_FORMAT, "has the rank 2, but the configuration says 9", 0 },
        { ",\"r\":2,\"rank_pattern\":{\"q_.*\":2}", LMF_E_UNSUPPORTED, "regular expression", 0 },
        { ",\"r\":4", LMF_E_FORMAT, "has the rank 2, but the configuration says 4", 0 },
        { "", LMF_E_NOT_FOUND, "no r", 0 },
        { ",\"r\":0", LMF_E_FORMAT, "out of range", 0 },
        { ",\"r\":2,\"lora_dropout\":1", LMF_E_FORMAT, "out of range", 0 },
        { ",\"r\":2,\"use_dora\":true", LMF_E_FORMAT, "DoRA", 0 },
        { ",\"r\":2,\"use_dora\":false,\"modules_to_save\":[],\"fan_in_fan_out\":false,\"bias\":\"none\"", LMF_OK, "", 4 },
        { ",\"r\":2,\"modules_to_save\":[\"lm_head\"]", LMF_E_UNSUPPORTED, "modules_to_save", 0 },
        { ",\"r\":2,\"bias\":\"all\"", LMF_E_UNSUPPORTED, "bias: all", 0 },
        { ",\"r\":2,\"fan_in_fan_out\":true", LMF_E_UNSUPPORTED, "fan_in_fan_out", 0 },
        { ",\"r\":2,\"alpha_pattern\":{\"q_proj\":\"x\"}", LMF_E_FORMAT, "no number", 0 },
    };
    lmf_ctx *ctx = lmf_test_ctx();
    char dir[256];
    lmf_adapter *a;
    const lmf_adapter_entry one = { "m.q_proj", 0, 3, 4, 2, 4, numbers, numbers };
    snprintf(dir, sizeof dir, "%s", lmf_test_path("configs"));
    assert_ok(ctx, lmf_adapter_save(ctx, dir, &config, &one, 1));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        put_config(ctx, dir, rows[i].extra);
        lmf_status s = lmf_adapter_open(ctx, dir, &a);
        if (s != rows[i].s || (s && !strstr(lmf_error(ctx), rows[i].words)))
            fail_msg("row %zu: %s: %s", i, lmf_status_name(s), lmf_error(ctx));
        if (!s && fabs(lmf_adapter_at(a, 0)->scale - rows[i].scale) > 1e-12)
            fail_msg("row %zu: scale %g", i, lmf_adapter_at(a, 0)->scale);
        lmf_adapter_close(a);
    }
    char path[512];
    snprintf(path, sizeof path, "%s/adapter_config.json", dir);
    assert_ok(ctx, lmf_file_write(ctx, path, "{\"peft_type\":\"IA3\"}", 19));
    assert_refused(ctx, LMF_E_UNSUPPORTED, "peft_type IA3", lmf_adapter_open(ctx, dir, &a));
    lmf_test_ctx_done(ctx);
}

/* What PEFT would leave out when it loads the file: target_modules is q_proj. */
static void modules_that_are_not_meant(void **state)
{
    (void)state;
    static const struct { const char *path, *extra, *words; } rows[] = {
        { "m.v_proj", "", "m.v_proj, which is none of the target_modules" }, { "m.xq_proj", "", "none of the target_modules" },
        { "m.q_proj", ",\"exclude_modules\":[\"m.q_proj\"]", "is one of the exclude_modules" },
        { "m.q_proj", ",\"exclude_modules\":[\"proj\"]", NULL }, { "q_proj", "", NULL },
        { "layers.1.q_proj", ",\"layers_to_transform\":[0,2]", "is of no layer in layers_to_transform" },
        { "layers.1.q_proj", ",\"layers_to_transform\":0", "is of no layer in layers_to_transform" },
        { "layers.1.q_proj", ",\"layers_to_transform\":[0,1]", NULL }, { "layers.1.q_proj", ",\"layers_to_transform\":null", NULL },
    };
    lmf_ctx *ctx = lmf_test_ctx();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[64], dir[256], extra[128];
        lmf_adapter *a;
        const lmf_adapter_entry one = { rows[i].path, 0, 3, 4, 2, 4, numbers, numbers };
        snprintf(name, sizeof name, "meant%zu", i);
        snprintf(dir, sizeof dir, "%s", lmf_test_path(name));
        snprintf(extra, sizeof extra, ",\"r\":2%s", rows[i].extra);
        assert_ok(ctx, lmf_adapter_save(ctx, dir, &config, &one, 1));
        put_config(ctx, dir, extra);
        lmf_status s = lmf_adapter_open(ctx, dir, &a);
        if ((s == LMF_OK) != !rows[i].words || (s && !strstr(lmf_error(ctx), rows[i].words)))
            fail_msg("row %zu: %s: %s", i, lmf_status_name(s), lmf_error(ctx));
        lmf_adapter_close(a);
    }
    lmf_test_ctx_done(ctx);
}

static void tensors(void **state)
{
    (void)state;
#define Q "base_model.model.m.q_proj"
    static const struct { const char *a, *b; uint16_t dtype; int64_t b_r; const char *words; float last; } rows[] = {
        { Q ".lora_A.weight", Q ".lora_B.weight", 0, 2, "" },
        { Q ".lora_A.weight", "base_model.model.m.k_proj.lora_B.weight", 0, 2, "has no lora_B beside it" },
        { Q ".lora_A.weight", Q ".lora_magnitude_vector", 0, 2, "has no lora_B beside it" },
        { Q ".lora_embedding_A", Q ".lora_embedding_B", 0, 2, "lora_embedding_A, which is no lora_A" },
        { "q_proj.lora_A.weight", "q_proj.lora_B.weight", 0, 2, "q_proj.lora_A.weight, which is no lora_A" },
        { Q ".lora_A.weight", Q ".lora_B.weight", 0, 3, "no [R, in] and [out, R]" },
        { Q ".lora_A.weight", Q ".lora_B.weight", 26, 2, "not both F32, F16 or BF16" },
        { Q ".lora_A.weight", Q ".lora_B.weight", 0, 2, "q_proj.lora_A.weight or its lora_B holds values that are not finite", NAN },
        { "base_model.model..lora_A.weight", Q ".lora_B.weight", 0, 2, "is no lora_A or lora_B" },
    };
    lmf_ctx *ctx = lmf_test_ctx();
    char dir[256], path[512];
    lmf_adapter *a;
    snprintf(dir, sizeof dir, "%s", lmf_test_path("tensors"));
    assert_ok(ctx, lmf_dir_create(ctx, dir));
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", dir);
    put_config(ctx, dir, ",\"r\":2");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_safetensors_writer *w;
        assert_ok(ctx, lmf_safetensors_writer_create(ctx, path, &w));
        lmf_safetensors_add(w, rows[i].a, 0, (int64_t[]){ 2, 3 }, 2);
        lmf_safetensors_add(w, rows[i].b, rows[i].dtype, (int64_t[]){ 4, rows[i].b_r }, 2);
        assert_ok(ctx, lmf_safetensors_begin(w));
        assert_ok(ctx, lmf_safetensors_write(w, numbers, 24));
        float b[12];
        memcpy(b, numbers, sizeof b);
        b[7] = rows[i].last != 0 ? rows[i].last : b[7];
        assert_ok(ctx, lmf_safetensors_write(w, b, (size_t)(16 * rows[i].b_r)));
        assert_ok(ctx, lmf_safetensors_commit(w));
        lmf_safetensors_writer_destroy(w);
        lmf_status s = lmf_adapter_open(ctx, dir, &a);
        if ((s == LMF_OK) != (*rows[i].words == 0) || (s && !strstr(lmf_error(ctx), rows[i].words)))
            fail_msg("row %zu: %s: %s", i, lmf_status_name(s), lmf_error(ctx));
        lmf_adapter_close(a);
    }
    lmf_test_ctx_done(ctx);
}

static lmf_status save_and_open(lmf_ctx *ctx, void *dir)
{
    lmf_adapter *a;
    LMF_TRY(lmf_adapter_save(ctx, dir, &config, entries, 2));
    LMF_TRY(lmf_adapter_open(ctx, dir, &a));
    lmf_adapter_close(a);
    return LMF_OK;
}

static void each_call_fails(void **state)
{
    (void)state;
    char dir[256];
    snprintf(dir, sizeof dir, "%s", lmf_test_path("sweep_adapter"));
    assert_true(lmf_test_fail_each_call(save_and_open, dir) >= 30);
}

LMF_TESTS(adapter) = {
    { "what is saved is opened", round_trip },
    { "configurations: defaults, patterns, refusals", configs },
    { "modules that are not meant", modules_that_are_not_meant },
    { "tensors that belong to no pair", tensors },
    { "each call fails once", each_call_fails },
    { 0 },
};
