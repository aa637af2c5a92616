/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "cli/command.h"
#include "compress/compress.h"
#include "compress/measure.h"
#include "data/source.h"
#include "export/export.h"
#include "format/json.h"

typedef struct quantize_args {
    const char *model, *output, *method, *type, *data, *text, *imatrix, *save_imatrix;
    int64_t     max_data, max_text;
    bool        overwrite;
} quantize_args;

#define AT(member) offsetof(quantize_args, member)
static const lmf_flag flags[] = {
    { "model", 'm', LMF_FLAG_STRING, AT(model), .required = true, .hub = LMF_HUB_MODEL,
      .help = "GGUF file, Hugging Face folder, or org/name of the hub" },
    { "output", 'o', LMF_FLAG_STRING, AT(output), .required = true, .help = "GGUF file to write" },
    { "method", 0, LMF_FLAG_CHOICE, AT(method), .fallback = "rtn", .choices = "rtn|imatrix|gptq",
      .help = "rtn: each weight to the nearest code; imatrix: scales for the columns that matter; gptq: the least error of each layer's "
              "output, layer by layer" },
    { "data", 'd', LMF_FLAG_STRING, AT(data), .help = "imatrix, gptq: text like what the model is for; - is standard input. The last "
      "eighth is kept to measure on, unless there is --text" },
    { "max-tokens", 0, LMF_FLAG_INT, AT(max_data), 2048, 1 << 24, .fallback = "16384", .help = "tokens of --data to calibrate with" },
    { "imatrix", 0, LMF_FLAG_STRING, AT(imatrix), .help = "imatrix: llama.cpp's importance matrix, instead of --data; GGUF or .dat" },
    { "save-imatrix", 0, LMF_FLAG_STRING, AT(save_imatrix), .help = "imatrix: file for the one made of --data" },
    { "text", 0, LMF_FLAG_STRING, AT(text), .help = "text to measure on: perplexity before and after, KL" },
    { "max-text-tokens", 0, LMF_FLAG_INT, AT(max_text), LMF_MEASURE_WINDOW, 1 << 24, .fallback = "4096", .help = "tokens of --text used" },
    { "overwrite", 0, LMF_FLAG_BOOL, AT(overwrite), .help = "replace what an earlier export or quantize wrote, and nothing else" },
    { 0 }
};

/* --type, from the table of formats. */
static int type_flag(lmf_arena *a, const lmf_tables *tables, lmf_flag *out, int n)
{
    const lmf_format *f[LMF_FLAG_MAX_CHOICES];
    int n_formats = lmf_export_formats(tables, f, LMF_FLAG_MAX_CHOICES);
    char *choices = NULL, *help = lmf_arena_strdup(a, "type of the matrices and its bits a weight");
    if (n < 1 || n_formats > LMF_FLAG_MAX_CHOICES)
        return -1;
    for (int i = 0; i < n_formats && help; i++) {
        if (f[i]->dtype == LMF_F32)
            continue;
        choices = choices ? lmf_arena_printf(a, "%s|%s", choices, f[i]->name) : lmf_arena_strdup(a, f[i]->name);
        help = lmf_arena_printf(a, "%s; %s: %.3g, %s", help, f[i]->name, 8.0 * f[i]->block_bytes / f[i]->block, f[i]->written.summary);
        if (!choices)
            return -1;
    }
    if (!choices || !help)
        return -1;
    *out = (lmf_flag){ "type", 0, LMF_FLAG_CHOICE, AT(type), .fallback = "q4_0", .choices = choices, .help = help };
    return 1;
}

static bool packing(void *user, int64_t done, int64_t total, const char *what)
{
    (void)total;
    lmf_progress_step(user, done, what);
    return !lmf_cli_interrupted();
}

static bool measuring(void *user, int64_t done, int64_t total)
{
    (void)total;
    lmf_progress_step(user, done, NULL);
    return !lmf_cli_interrupted();
}

static bool writing(void *user, int64_t done, int64_t total)
{
    lmf_progress_step(user, done, done == total ? "verifying" : NULL);
    return !lmf_cli_interrupted();
}

typedef struct results {
    lmf_compress_plan plan;
    lmf_measured      measured;
    lmf_export_report written;
    uint64_t          source_bytes;
    int64_t           n_data;      /* tokens calibrated with */
} results;

/* Texts as tokens: what is calibrated with, and what is measured on; n_held 0: nothing is. */
typedef struct texts { lmf_ids data, held; int64_t n_windows, n_held; int32_t window; } texts;
enum { LEAST_DATA = 2048, WINDOW = 512, HELD_PART = 8 };

static lmf_status read_ids(lmf_cli *cli, const lmf_model *m, const char *path, const char *wanted, lmf_ids *ids)
{
    lmf_buf text;
    lmf_buf_init(&text, cli->ctx, LMF_TEXT_MAX_BYTES);
    lmf_status s = lmf_source_read(cli->ctx, path, wanted, &text);
    if (!s)
        s = lmf_tokenizer_encode(m->tokenizer, lmf_buf_str(&text), text.n, LMF_ENCODE_DEFAULTS, ids);
    lmf_buf_clear(&text);
    return s;
}

/* --text, or the end of --data. */
static lmf_status take_held(lmf_cli *cli, const quantize_args *a, const lmf_model *m, texts *t)
{
    if (a->text) {
        lmf_status s = read_ids(cli, m, a->text, "a text to measure on", &t->held);
        t->n_held = (int64_t)t->held.n < a->max_text ? (int64_t)t->held.n : a->max_text;
        if (!s && t->n_held < LMF_MEASURE_WINDOW)
            s = LMF_FAIL(cli->ctx, LMF_E_ARG, "the text has %lld tokens, fewer than one window of %d", (long long)t->n_held,
                         LMF_MEASURE_WINDOW);
        return s ? lmf_fail_prefix(cli->ctx, s, "--text %s", a->text) : LMF_OK;
    }
    int64_t n = (int64_t)t->data.n / HELD_PART;
    t->n_held = n < a->max_text ? n : a->max_text;
    t->n_held = t->n_held < LMF_MEASURE_WINDOW ? 0 : t->n_held;
    lmf_status s = t->n_held ? lmf_ids_append(&t->held, t->data.data + t->data.n - t->n_held, (size_t)t->n_held) : LMF_OK;
    t->data.n -= (size_t)t->n_held;
    return s;
}

static lmf_status take_texts(lmf_cli *cli, const quantize_args *a, const lmf_model *m, texts *t)
{
    if (a->data) {
        lmf_status s = read_ids(cli, m, a->data, "a text to calibrate with", &t->data);
        if (s)
            return lmf_fail_prefix(cli->ctx, s, "--data %s", a->data);
    }
    LMF_TRY(take_held(cli, a, m, t));
    if (!a->data)
        return LMF_OK;
    int32_t context = lmf_model_config(m)->context;
    t->window = context < WINDOW ? context : WINDOW;
    if (t->data.n < LEAST_DATA)
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "--data %s has %zu tokens to calibrate with; at least %d are needed, and 16,384 do well",
                        a->data, t->data.n, LEAST_DATA);
    t->n_windows = ((int64_t)t->data.n < a->max_data ? (int64_t)t->data.n : a->max_data) / t->window;
    t->n_windows -= t->n_windows % 4; /* four go through a layer at once */
    return LMF_OK;
}

static lmf_status measure(lmf_cli *cli, const lmf_model *m, const lmf_compressed *c, const texts *t, lmf_measured *out)
{
    lmf_progress bar;
    lmf_progress_start(&bar, cli, "measuring", t->n_held / LMF_MEASURE_WINDOW);
    lmf_status s = lmf_measure(cli->ctx, m, &c->model, t->held.data, t->n_held, measuring, &bar, out);
    lmf_progress_end(&bar);
    return s;
}

static double bits(uint64_t bytes, int64_t n) { return n ? 8.0 * (double)bytes / (double)n : 0; }

static uint64_t weight_bytes(const lmf_model *m)
{
    uint64_t n = 0;
    for (int32_t i = 0; i < m->weights->n; i++) {
        bool seen = false;
        for (int32_t k = 0; k < i && !seen; k++)
            seen = m->weights->items[k].v.data == m->weights->items[i].v.data;
        n += seen ? 0 : lmf_format_bytes(m->weights->items[i].v.fmt, lmf_view_count(&m->weights->items[i].v));
    }
    return n;
}

static double worst(const lmf_compressed *c, const char **role)
{
    double most = 0;
    *role = "";
    for (int64_t i = 0; i < c->n; i++)
        if (c->items[i].error > most)
            most = c->items[i].error, *role = c->items[i].role;
    return most;
}

static lmf_status print_json(lmf_cli *cli, const quantize_args *a, const lmf_compressed *c, const results *r, double seconds)
{
    const char *role;
    double error = worst(c, &role);
    const lmf_measured *q = &r->measured;
    json_t *measured = !q->n_scored ? json_null() :
        json_pack("{s:f, s:f, s:f, s:f, s:I, s:I}", "perplexity", q->perplexity, "source_perplexity", q->source_perplexity, "mean_kl",
                  q->mean_kl, "same_top", q->same_top, "scored_tokens", (json_int_t)q->n_scored, "windows", (json_int_t)q->n_windows);
    return lmf_cli_print_json(cli, json_pack("{s:o, s:s, s:s, s:I, s:I, s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:s, s:b, s:o, s:f}",
        "output", lmf_json_string(a->output), "method", a->method, "type", a->type, "bytes", (json_int_t)c->n_bytes, "source_bytes",
        (json_int_t)r->source_bytes, "bits_per_weight", bits(c->n_bytes, c->model.n_params), "source_bits_per_weight",
        bits(r->source_bytes, c->model.n_params), "matrices", (json_int_t)c->n, "fallback_matrices", (json_int_t)c->n_fell,
        "fallback_bytes", (json_int_t)c->fell_bytes, "planned_bytes", (json_int_t)(r->plan.packed_bytes + r->plan.working_bytes),
        "calibration_tokens", (json_int_t)r->n_data, "unweighed_matrices", (json_int_t)c->n_unweighed, "max_tensor_error",
        error, "worst_tensor", role, "verified", r->written.verified, "measured", measured, "seconds", seconds));
}

static lmf_status print(lmf_cli *cli, const quantize_args *a, const lmf_compressed *c, const results *r, double seconds)
{
    char name[1024];
    const char *role;
    double error = worst(c, &role);
    const lmf_measured *q = &r->measured;
    if (cli->json)
        return print_json(cli, a, c, r, seconds);
    if (c->n_fell) {
        int64_t i = 0;
        while (!c->items[i].fell)
            i++;
        fprintf(stderr, "%lld of %lld matrices have rows that are no whole %s blocks: %s became %s, for example; that costs %.1f MB "
                "in all\n", (long long)c->n_fell, (long long)c->n, a->type, c->items[i].role,
                c->items[i].to->v.fmt->name, (double)c->fell_bytes / 1e6);
    }
    printf("%s: %.1f MB, %.2f bits a weight (%.1f MB, %.2f before); tensors off by at most %.2g (%s); opened again and compared\n",
           lmf_plain_text(a->output, name, sizeof name), (double)c->n_bytes / 1e6, bits(c->n_bytes, c->model.n_params),
           (double)r->source_bytes / 1e6, bits(r->source_bytes, c->model.n_params), error, role);
    if (c->n_unweighed)
        fprintf(stderr, "%lld matrices are not in the importance matrix: their columns count alike\n", (long long)c->n_unweighed);
    if (q->n_scored)
        printf("measured on %lld tokens: perplexity %.4f, before %.4f (%+.2f %%); mean KL %.4g nats a token; likeliest token equal "
               "in %.1f %%\n",
               (long long)q->n_scored, q->perplexity, q->source_perplexity, 100 * (q->perplexity / q->source_perplexity - 1),
               q->mean_kl, 100 * q->same_top);
    return LMF_OK;
}

/* The importance matrix of --imatrix, or one made of --data and kept where that is asked for. */
static lmf_status take_imatrix(lmf_cli *cli, const quantize_args *a, const lmf_model *m, lmf_compress_opts *o, lmf_imatrix **out)
{
    lmf_progress bar;
    *out = NULL;
    if (strcmp(a->method, "imatrix"))
        return LMF_OK;
    if (a->imatrix) {
        lmf_status s = lmf_imatrix_read(cli->ctx, a->imatrix, out);
        return s ? lmf_fail_prefix(cli->ctx, s, "--imatrix") : LMF_OK;
    }
    o->user = &bar;
    lmf_progress_start(&bar, cli, "calibrating", lmf_model_config(m)->n_layers + 1);
    lmf_status s = lmf_compress_collect(cli->ctx, m, o, out);
    lmf_progress_end(&bar);
    if (!s && a->save_imatrix) {
        (*out)->dataset = a->data;
        s = lmf_imatrix_write(*out, a->save_imatrix);
        s = s ? lmf_fail_prefix(cli->ctx, s, "--save-imatrix") : LMF_OK;
    }
    return s;
}

static lmf_status compress(lmf_cli *cli, const quantize_args *a, const lmf_model *m, const texts *t, results *r, lmf_compressed **out)
{
    lmf_progress bar;
    lmf_imatrix *im;
    lmf_compress_opts o = { .method = a->method, .type = a->type, .progress = packing, .id = t->data.data, .n_windows = t->n_windows,
                            .window = t->window };
    lmf_status s = take_imatrix(cli, a, m, &o, &im);
    o.imatrix = im;
    o.user = &bar;
    if (!s)
        s = lmf_compress_planned(cli->ctx, m, &o, &r->plan);
    if (!s && !cli->quiet && !cli->json)
        fprintf(stderr, "%lld matrices; memory: %.1f MB for the packed weights, %.1f MB to work in%s\n", (long long)r->plan.n_matrices,
                (double)r->plan.packed_bytes / 1e6, (double)r->plan.working_bytes / 1e6,
                t->n_held ? ", and two sets of logits to measure" : "");
    lmf_progress_start(&bar, cli, "quantizing", r->plan.n_matrices);
    if (!s)
        s = lmf_compress(cli->ctx, m, &o, out);
    lmf_progress_end(&bar);
    lmf_imatrix_close(im);
    return s;
}

/* Which method takes which of --data, --imatrix and --save-imatrix. */
static lmf_status check_args(lmf_cli *cli, const quantize_args *a)
{
    bool rtn = strcmp(a->method, "rtn") == 0, imatrix = strcmp(a->method, "imatrix") == 0;
    if (rtn && (a->data || a->imatrix || a->save_imatrix))
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "the method rtn takes no text: give --method gptq or imatrix, or leave %s out",
                        a->data ? "--data" : a->imatrix ? "--imatrix" : "--save-imatrix");
    if (!imatrix && (a->imatrix || a->save_imatrix))
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "%s goes with --method imatrix", a->imatrix ? "--imatrix" : "--save-imatrix");
    if (imatrix && !a->data == !a->imatrix)
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "--method imatrix needs one of --data TEXT, to make an importance matrix of, and "
                        "--imatrix FILE");
    if (a->imatrix && a->save_imatrix)
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "--save-imatrix goes with --data: that of --imatrix is a file already");
    if (!rtn && !imatrix && !a->data)
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "--method %s needs --data TEXT: some 16,384 tokens of text like what the model is for, "
                        "rendered conversations for example", a->method);
    return LMF_OK;
}

static lmf_status write_file(lmf_cli *cli, const quantize_args *a, const lmf_compressed *c, lmf_export_report *report)
{
    lmf_progress bar;
    lmf_export_opts o = lmf_export_opts_default();
    o.overwrite = a->overwrite;
    o.progress = writing;
    o.user = &bar;
    lmf_progress_start(&bar, cli, "writing", c->model.weights->n);
    lmf_status s = lmf_export(cli->ctx, &c->model, a->output, &o, report);
    lmf_progress_end(&bar);
    return s;
}

static lmf_status run(lmf_cli *cli, void *args)
{
    const quantize_args *a = args;
    lmf_model *m;
    lmf_compressed *c = NULL;
    results r = { 0 };
    texts t = { 0 };
    double start = lmf_cli_seconds();
    LMF_TRY(check_args(cli, a));
    LMF_TRY(lmf_model_open(cli->ctx, a->model, &m));
    r.source_bytes = weight_bytes(m);
    lmf_ids_init(&t.data, cli->ctx, (size_t)1 << 30);
    lmf_ids_init(&t.held, cli->ctx, (size_t)1 << 30);
    lmf_status s = take_texts(cli, a, m, &t);
    if (!s)
        s = compress(cli, a, m, &t, &r, &c);
    if (!s && t.n_held)
        s = measure(cli, m, c, &t, &r.measured);
    r.n_data = t.n_windows * t.window;
    if (!s)
        s = write_file(cli, a, c, &r.written);
    if (!s)
        s = print(cli, a, c, &r, lmf_cli_seconds() - start);
    lmf_compressed_close(c);
    lmf_ids_clear(&t.data);
    lmf_ids_clear(&t.held);
    lmf_model_close(m);
    return s;
}

const lmf_command lmf_command_quantize = { "quantize", "write a model in fewer bits a weight, and measure what that costs", flags,
    sizeof(quantize_args), run, .more = type_flag,
    .example = "lmfast quantize --model SmolLM2-135M-Instruct.Q4_1.gguf --type q4_0 --text held_out.txt --output small.gguf" };
