/* SPDX-License-Identifier: Apache-2.0 */
#include "export/onnx.h"
#include "models/model_test.h"
#include "ops/gelu/gelu.h"
#include "ops/matmul/matmul.h"

typedef lmf_tensor *(*body_fn)(lmf_graph *, const lmf_batch *, lmf_tensor *);
static lmf_tensor *with_gelu(lmf_graph *g, const lmf_batch *in, lmf_tensor *x) { (void)in; return lmf_gelu(g, x); }
static lmf_tensor *with_two_activations(lmf_graph *g, const lmf_batch *in, lmf_tensor *x)
{
    (void)in;
    lmf_tensor *xx = lmf_matmul(g, x, x, NULL, (lmf_matmul_attrs){ .tb = 1, .alpha = 1 });
    return lmf_matmul(g, xx, x, NULL, (lmf_matmul_attrs){ .alpha = 1 });
}
static lmf_tensor *with_nothing(lmf_graph *g, const lmf_batch *in, lmf_tensor *x) { (void)g; (void)in; return x; }

/* What has no form is named, with the model's architecture. */
static void what_has_no_form(void **state)
{
    (void)state;
    static const struct { body_fn body; const char *why; } rows[] = {
        { with_gelu, "llama can't be written as ONNX: its op \"gelu\" has no form there" },
        { with_two_activations, "a product of two activations of its op \"matmul\" has no form there" },
        { with_nothing, "0 of its 2 layers have keys and values" } };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m;
    const char *dir = lmf_test_path("no_form");
    assert_ok(ctx, model_write_hf(ctx, dir, &(wrong){ 0 }));
    assert_ok(ctx, lmf_model_open(ctx, dir, &m));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_arch arch = *m->arch;
        lmf_model other = *m;
        lmf_export_opts opts = lmf_export_opts_default();
        lmf_export_report report = { 0 };
        lmf_exporter x = { .ctx = ctx, .model = &other, .opts = &opts, .report = &report };
        lmf__onnx o = { .x = &x };
        arch.body = rows[i].body;
        other.arch = &arch;
        lmf_arena_init(&x.arena, ctx, 1 << 24);
        lmf_onnx_begin(&o.w, ctx);
        assert_refused(ctx, LMF_E_UNSUPPORTED, rows[i].why, lmf__onnx_build(&o));
        lmf_onnx_end(&o.w);
        lmf_arena_clear(&x.arena);
    }
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

/* Every type of tensor goes through the exporter's own check; a byte that changes is seen by it. */
static void what_is_compared(void **state)
{
    (void)state;
    static const char *const quants[] = { "f32", "f16", "q4_0", LMF_EXPORT_Q4F16 };
    static const char *const files[] = { "model.onnx", "model_fp16.onnx", "model_q4.onnx", "model_q4f16.onnx" };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m;
    const char *dir = lmf_test_path("compared");
    assert_ok(ctx, model_write_hf(ctx, dir, &(wrong){ 0 }));
    assert_ok(ctx, lmf_model_open(ctx, dir, &m));
    for (int i = 0; i < 8; i++) {
        char name[32], out[600], path[700];
        lmf_export_opts opts = lmf_export_opts_default();
        lmf_export_report report;
        opts.format = LMF_EXPORT_ONNX, opts.quant = quants[i / 2], opts.microsoft = i % 2, opts.overwrite = true;
        snprintf(name, sizeof name, "compared%d", i);
        snprintf(out, sizeof out, "%s", lmf_test_path(name));
        for (int k = 0; k < 2; k++) /* again: over its own */
            assert_ok(ctx, lmf_export(ctx, m, out, &opts, &report));
        /* 4 bits: rows of 16 and 24 fit none */
        assert_true(report.verified && report.n_nodes > 0 && report.n_prompt_tok == 0 &&
                    (report.n_fallback > 0) == (i >= 4));
        snprintf(path, sizeof path, "%s/onnx/%s", out, files[i / 2]);
        assert_true(lmf_path_stat(path) == LMF_PATH_FILE);
    }
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(onnx_graph) = { { "what has no form is named", what_has_no_form },
                          { "each type and set of operators", what_is_compared }, { 0 } };
