/* SPDX-License-Identifier: Apache-2.0 */
#include "export/export.h"
#include <sys/stat.h>
#include "base/file.h"
#include "export/parts.h"
#include "formula.h"
#include "models/model_test.h"

enum { N = 12, R = 2 };
static const int32_t prompt[N] = { 104, 101, 108, 108, 111, 32, 256, 119, 111, 114, 108, 100 };

static lmf_model *open_tiny(lmf_ctx *ctx, const char *name, bool gguf)
{
    lmf_model *m;
    const char *path = lmf_test_path(name);
    assert_ok(ctx, gguf ? model_write_gguf(ctx, path, &(wrong){ 0 }) : model_write_hf(ctx, path, &(wrong){ 0 }));
    assert_ok(ctx, lmf_model_open(ctx, path, &m));
    return m;
}

/* A and B for two layers, of formula values. */
static void write_adapter(lmf_ctx *ctx, const char *dir, int64_t n_in)
{
    static float a[R * 64], b[64 * R];
    for (int i = 0; i < R * 64; i++)
        a[i] = 0.3f * sinf((float)i), b[i] = 0.3f * cosf((float)(3 * i));
    lmf_adapter_config c = { .r = R, .alpha = 5, .base_model = "", .task_type = "", .target = (const char *const[]){ "q_proj", "down_proj" }, .n_targets = 2 };
    lmf_adapter_entry e[] = { { "model.layers.0.self_attn.q_proj", LMF_F32, n_in, M_HEADS * M_HEAD, R, 5, a, b }, { "model.layers.1.mlp.down_proj", LMF_F32, M_FFN, M_WIDTH, R, 5, a, b } };
    assert_ok(ctx, lmf_adapter_save(ctx, dir, &c, e, 2));
}

static double gap(const float *a, const float *b)
{
    double most = 0;
    for (int i = 0; i < N * M_VOCAB; i++)
        most = fmax(most, fabs((double)a[i] - (double)b[i]));
    return most;
}

/* Every way from a form to a form gives the same logits; merged, those of the adapter beside the weights. */
static void round_trips(void **state)
{
    (void)state;
    static const struct { bool from_gguf, adapter; lmf_export_format to; const char *quant; double limit; } rows[] = {
        { true, false, LMF_EXPORT_GGUF, "copy", 0 }, { true, false, LMF_EXPORT_HF, "copy", 1e-5 }, { false, false, LMF_EXPORT_GGUF, "f32", 1e-5 }, { false, false, LMF_EXPORT_HF, "f32", 1e-5 },
        { true, true, LMF_EXPORT_GGUF, "f32", 1e-4 }, { false, true, LMF_EXPORT_HF, "f32", 1e-4 }, { true, true, LMF_EXPORT_GGUF, "copy", 1e-4 }, { true, false, LMF_EXPORT_HF, "bf16", 0.5 },
        { false, false, LMF_EXPORT_GGUF, "f16", 0.05 }, { false, false, LMF_EXPORT_GGUF, "q8_0", 0.1 } };
    lmf_ctx *ctx = lmf_test_ctx();
    char adapter[600];
    snprintf(adapter, sizeof adapter, "%s", lmf_test_path("adapter"));
    write_adapter(ctx, adapter, M_WIDTH);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char name[32], out[600];
        static float want[N * M_VOCAB], base[N * M_VOCAB], have[N * M_VOCAB];
        lmf_model *got, *m;
        lmf_export_report report;
        lmf_lora lora = { 0 };
        lmf_scorer *s;
        const float *logits;
        snprintf(name, sizeof name, "from%zu", i);
        m = open_tiny(ctx, name, rows[i].from_gguf);
        snprintf(out, sizeof out, "%s.out", lmf_test_path(name));
        lmf_export_opts o = lmf_export_opts_default();
        o.format = rows[i].to, o.quant = rows[i].quant, o.adapter = rows[i].adapter ? adapter : NULL;
        assert_ok(ctx, lmf_export(ctx, m, out, &o, &report));
        assert_true(report.verified && report.n_texts == 14 && report.n_tensors == M_TENSORS);
        assert_true(rows[i].limit > 1e-3 ? report.mean_kl > 1e-9 && report.max_dlogit > 1e-6 && report.max_error > 1e-4 : report.mean_kl < 1e-6 && report.max_error < 1e-5);
        assert_true((report.n_fallback > 0) == (strcmp(rows[i].quant, "q8_0") == 0)); /* rows of 16 and 24 are no blocks of 32: f16 */
        assert_ok(ctx, model_logits(ctx, m, prompt, N, base));
        if (rows[i].adapter)
            assert_ok(ctx, lmf_lora_open(ctx, m, adapter, &lora));
        assert_ok(ctx, lmf_scorer_create(ctx, m, &(lmf_scorer_opts){ .lora = rows[i].adapter ? &lora : NULL, .max_tok = N, .logits = true }, &s));
        assert_ok(ctx, lmf_scorer_logits(s, prompt, N, &logits));
        memcpy(want, logits, sizeof want);
        assert_true((gap(want, base) > 0.05) == rows[i].adapter); /* the adapter does something */
        assert_ok(ctx, lmf_model_open(ctx, out, &got));
        assert_ok(ctx, model_logits(ctx, got, prompt, N, have));
        if (!(gap(want, have) <= rows[i].limit))
            fail_msg("row %zu: logits differ by %g", i, gap(want, have));
        assert_int_equal(got->chat.eos[0], 257);
        lmf_scorer_destroy(s);
        lmf_lora_close(&lora);
        lmf_model_close(got);
        lmf_model_close(m);
    }
    lmf_test_ctx_done(ctx);
}

static lmf_status verify_as(lmf_ctx *ctx, const lmf_model *m, const char *path, const char *quant)
{
    lmf_export_opts o = lmf_export_opts_default();
    lmf_export_report report = { 0 };
    o.quant = quant;
    lmf_exporter x = { .ctx = ctx, .model = m, .opts = &o, .report = &report };
    lmf_arena_init(&x.arena, ctx, 1 << 24);
    lmf_status s = lmf__export_list(&x);
    if (!s)
        s = lmf__export_verify(&x, path);
    lmf_arena_clear(&x.arena);
    return s;
}

static lmf_status verify(lmf_ctx *ctx, const lmf_model *m, const char *path) { return verify_as(ctx, m, path, "copy"); }

/* Rounded weights move logits, so single logits have no limit: where every tensor is right, the mean KL alone can tell. */
static void divergence_is_refused(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m = open_tiny(ctx, "right.gguf", true);
    const char *path = lmf_test_path("other.gguf");
    assert_ok(ctx, model_write_gguf(ctx, path, &(wrong){ 0 }));
    assert_ok(ctx, verify_as(ctx, m, path, "f16"));
    assert_ok(ctx, model_write_gguf(ctx, path, &(wrong){ .key = "llama.rope.freq_base", .how = TWO_31 }));
    assert_refused(ctx, LMF_E_INTERNAL, "mean KL", verify_as(ctx, m, path, "f16"));
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

/* A file that is right for one model is wrong for the same with one thing changed. */
static void faults_are_refused(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m = open_tiny(ctx, "right.gguf", true);
    const char *path = lmf_test_path("right2.gguf");
    lmf_weight *w = lmf_weights_find(m->weights, "layers.1.attn.q");
    void *data = w->v.data;
    float other[M_HEADS * M_HEAD * M_WIDTH];
    assert_ok(ctx, model_write_gguf(ctx, path, &(wrong){ 0 }));
    assert_ok(ctx, verify(ctx, m, path));
    memcpy(other, data, sizeof other);
    w->v.data = other;
    assert_ok(ctx, verify(ctx, m, path));
    for (int i = 0; i < M_WIDTH; i++) { /* two rows of a head change places: what a forgotten permutation does */
        float f = other[i];
        other[i] = other[M_WIDTH + i], other[M_WIDTH + i] = f;
    }
    assert_refused(ctx, LMF_E_INTERNAL, "blk.1.attn_q.weight", verify(ctx, m, path));
    w->v.data = data;
    m->chat.eos[0] = 3;
    assert_refused(ctx, LMF_E_INTERNAL, "ends an answer", verify(ctx, m, path));
    m->chat.eos[0] = 257;
    lmf_template *t;
    assert_ok(ctx, lmf_template_parse(ctx, "x", 1, &t));
    m->chat.source = t;
    assert_refused(ctx, LMF_E_INTERNAL, "chat template", verify(ctx, m, path));
    m->chat.source = NULL;
    lmf_template_destroy(t);
    assert_ok(ctx, model_write_gguf(ctx, path, &(wrong){ .bos = 255 }));
    assert_refused(ctx, LMF_E_INTERNAL, "a special token", verify(ctx, m, path));
    assert_ok(ctx, model_write_gguf(ctx, path, &(wrong){ .tensor = "output.weight", .fault = MISSING })); /* untied became tied */
    assert_refused(ctx, LMF_E_INTERNAL, "output.weight", verify(ctx, m, path));
    assert_ok(ctx, model_write_gguf(ctx, path, &(wrong){ .key = "llama.rope.freq_base", .how = TWO_31 })); /* only logits can tell */
    assert_refused(ctx, LMF_E_INTERNAL, "logits differ", verify(ctx, m, path));
    assert_ok(ctx, model_write_gguf(ctx, path, &(wrong){ .key = "llama.context_length", .how = DROPPED }));
    assert_refused(ctx, LMF_E_INTERNAL, "configuration", verify(ctx, m, path));
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

static void refusals_leave_nothing(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m = open_tiny(ctx, "m.gguf", true);
    const char *dir = lmf_test_path("wrong_adapter"), *out = lmf_test_path("never.gguf");
    char part[600];
    lmf_export_report report;
    lmf_export_opts o = lmf_export_opts_default();
    write_adapter(ctx, dir, M_WIDTH + 1);
    o.adapter = dir;
    assert_refused(ctx, LMF_E_SHAPE, "belongs to another base", lmf_export(ctx, m, out, &o, &report));
    o = lmf_export_opts_default();
    o.quant = "q9_9";
    assert_refused(ctx, LMF_E_UNSUPPORTED, "q9_9", lmf_export(ctx, m, out, &o, &report));
    o.quant = "f64"; /* can be packed, and is no type of a model */
    assert_refused(ctx, LMF_E_UNSUPPORTED, "f64", lmf_export(ctx, m, out, &o, &report));
    o.quant = "copy";
    o.struct_bytes--;
    assert_refused(ctx, LMF_E_ARG, "lmf_export_opts", lmf_export(ctx, m, out, &o, &report));
    snprintf(part, sizeof part, "%s.part", out);
    assert_int_equal(lmf_path_stat(out), LMF_PATH_NONE);
    assert_int_equal(lmf_path_stat(part), LMF_PATH_NONE);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

/* The list is the table's, most bits first; among equals the one that may err less. */
static void formats_by_size(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const lmf_format *f[64], *few[3];
    int n = lmf_export_formats(ctx->tables, f, 64);
    assert_true(n >= 9 && n <= 64);
    assert_string_equal(f[0]->name, "f32");
    assert_string_equal(f[1]->name, "f16");
    assert_string_equal(f[2]->name, "bf16");
    for (int i = 1; i < n; i++)
        assert_true((double)f[i - 1]->block_bytes / f[i - 1]->block >= (double)f[i]->block_bytes / f[i]->block);
    assert_int_equal(lmf_export_formats(ctx->tables, few, 3), n);
    lmf_test_ctx_done(ctx);
}

/* A scale that is not finite, in the last block of a tensor of each format that an export writes and whose blocks fit these widths. */
static void bad_scales_are_refused(void **state)
{
    (void)state;
    static const char *const tensor = "blk.1.ffn_down.weight";
    const lmf_format *written[64];
    lmf_ctx *ctx = lmf_test_ctx();
    int n_formats = lmf_export_formats(ctx->tables, written, 64), n_tried = 0;
    lmf_model *m, *got;
    const char *path = lmf_test_path("scales.gguf");
    char words[700];
    assert_ok(ctx, lmf_model_open(ctx, lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 2 }), &m));
    for (int i = 0; i < n_formats; i++) {
        if (written[i]->block != 32)
            continue;
        n_tried++;
        lmf_export_opts o = lmf_export_opts_default();
        lmf_export_report report;
        lmf_gguf *g;
        char *data;
        size_t n;
        o.quant = written[i]->name, o.overwrite = true;
        assert_ok(ctx, lmf_export(ctx, m, path, &o, &report));
        assert_ok(ctx, lmf_model_open(ctx, path, &got));
        lmf_model_close(got);
        assert_ok(ctx, lmf_file_read(ctx, path, 1 << 26, &data, &n));
        assert_ok(ctx, lmf_gguf_parse(ctx, (const uint8_t *)data, n, path, &g));
        const lmf_gguf_tensor *t = lmf_gguf_tensor_find(g, tensor);
        const lmf_format *f = lmf_format_get(ctx, t->dtype);
        assert_string_equal(f->name, written[i]->name);
        data[(size_t)((const char *)t->data - data) + t->bytes - f->block_bytes + f->scale[f->n_scales - 1] + 1] = 0x7f;
        lmf_gguf_close(g);
        assert_ok(ctx, lmf_file_write(ctx, path, data, n));
        lmf_free(ctx, data, n + 1);
        snprintf(words, sizeof words, "%s: tensor \"%s\" holds values that are not finite", path, tensor);
        assert_refused(ctx, LMF_E_FORMAT, words, lmf_model_open(ctx, path, &got));
        assert_refused(ctx, LMF_E_EXISTS, "or was changed since", lmf_export(ctx, m, path, &o, &report)); /* somebody's now */
        assert_ok(ctx, lmf_path_unlink(ctx, path));
    }
    assert_true(n_tried >= 4);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

typedef struct paths { char in[600], out[600]; lmf_export_format format; } paths;
static lmf_status export_once(lmf_ctx *ctx, void *arg)
{
    const paths *p = arg;
    lmf_model *m;
    lmf_export_report report;
    lmf_export_opts o = lmf_export_opts_default();
    o.format = p->format, o.overwrite = true;
    LMF_TRY(lmf_model_open(ctx, p->in, &m));
    lmf_status s = lmf_export(ctx, m, p->out, &o, &report);
    lmf_model_close(m);
    return s;
}

static void each_call_may_fail(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    paths p = { .format = LMF_EXPORT_GGUF };
    snprintf(p.in, sizeof p.in, "%s", lmf_test_path("sweep.gguf"));
    snprintf(p.out, sizeof p.out, "%s", lmf_test_path("sweep_out.gguf"));
    assert_ok(ctx, model_write_gguf(ctx, p.in, &(wrong){ 0 }));
    assert_true(lmf_test_fail_each_call(export_once, &p) > 100);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(export) = { { "divergence is refused", divergence_is_refused },
    { "round trips", round_trips }, { "formats by size", formats_by_size }, { "faults are refused", faults_are_refused },
    { "refusals leave nothing", refusals_leave_nothing }, { "scales that are not finite", bad_scales_are_refused },
    { "each call may fail", each_call_may_fail }, { 0 },
};
