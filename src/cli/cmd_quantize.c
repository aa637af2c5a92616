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
    const char *model, *output, *method, *type, *text;
    int64_t     max_text;
    bool        overwrite;
} quantize_args;

#define AT(member) offsetof(quantize_args, member)
static const lmf_flag flags[] = {
    { "model", 'm', LMF_FLAG_STRING, AT(model), .required = true, .hub = LMF_HUB_MODEL,
      .help = "GGUF file, Hugging Face folder, or org/name of the hub" },
    { "output", 'o', LMF_FLAG_STRING, AT(output), .required = true, .help = "GGUF file to write" },
    { "method", 0, LMF_FLAG_CHOICE, AT(method), .fallback = "rtn", .choices = "rtn", .help = "rtn: each weight to the nearest code" },
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
    *out = (lmf_flag){ "type", 't', LMF_FLAG_CHOICE, AT(type), .fallback = "q4_0", .choices = choices, .help = help };
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

typedef struct results { lmf_compress_plan plan; lmf_measured measured; lmf_export_report written; uint64_t source_bytes; } results;

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

static lmf_status measure(lmf_cli *cli, const quantize_args *a, const lmf_model *m, const lmf_compressed *c, lmf_measured *out)
{
    lmf_ids ids;
    lmf_progress bar;
    lmf_ids_init(&ids, cli->ctx, (size_t)1 << 30);
    lmf_status s = read_ids(cli, m, a->text, "a text to measure on", &ids);
    int64_t n = (int64_t)ids.n < a->max_text ? (int64_t)ids.n : a->max_text;
    lmf_progress_start(&bar, cli, "measuring", n / LMF_MEASURE_WINDOW);
    if (!s)
        s = lmf_measure(cli->ctx, m, &c->model, ids.data, n, measuring, &bar, out);
    lmf_progress_end(&bar);
    lmf_ids_clear(&ids);
    return s ? lmf_fail_prefix(cli->ctx, s, "--text %s", a->text) : LMF_OK;
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
    json_t *measured = !a->text ? json_null() :
        json_pack("{s:f, s:f, s:f, s:f, s:I, s:I}", "perplexity", q->perplexity, "source_perplexity", q->source_perplexity, "mean_kl",
                  q->mean_kl, "same_top", q->same_top, "scored_tokens", (json_int_t)q->n_scored, "windows", (json_int_t)q->n_windows);
    return lmf_cli_print_json(cli, json_pack("{s:o, s:s, s:s, s:I, s:I, s:f, s:f, s:I, s:I, s:I, s:I, s:f, s:s, s:b, s:o, s:f}",
        "output", lmf_json_string(a->output), "method", a->method, "type", a->type, "bytes", (json_int_t)c->n_bytes, "source_bytes",
        (json_int_t)r->source_bytes, "bits_per_weight", bits(c->n_bytes, c->model.n_params), "source_bits_per_weight",
        bits(r->source_bytes, c->model.n_params), "matrices", (json_int_t)c->n, "fallback_matrices", (json_int_t)c->n_fell,
        "fallback_bytes", (json_int_t)c->fell_bytes, "planned_bytes", (json_int_t)(r->plan.packed_bytes + r->plan.working_bytes),
        "max_tensor_error", error, "worst_tensor", role, "verified", r->written.verified, "measured", measured, "seconds", seconds));
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
    if (a->text)
        printf("measured on %lld tokens: perplexity %.4f, before %.4f (%+.2f %%); mean KL %.4g nats a token; likeliest token equal "
               "in %.1f %%\n",
               (long long)q->n_scored, q->perplexity, q->source_perplexity, 100 * (q->perplexity / q->source_perplexity - 1),
               q->mean_kl, 100 * q->same_top);
    return LMF_OK;
}

static lmf_status compress(lmf_cli *cli, const quantize_args *a, const lmf_model *m, results *r, lmf_compressed **out)
{
    lmf_progress bar;
    lmf_compress_opts o = { .method = a->method, .type = a->type, .progress = packing, .user = &bar };
    LMF_TRY(lmf_compress_planned(cli->ctx, m, &o, &r->plan));
    if (!cli->quiet && !cli->json)
        fprintf(stderr, "%lld matrices; memory: %.1f MB for the packed weights, %.1f MB to work in%s\n", (long long)r->plan.n_matrices,
                (double)r->plan.packed_bytes / 1e6, (double)r->plan.working_bytes / 1e6,
                a->text ? ", and two sets of logits to measure" : "");
    lmf_progress_start(&bar, cli, "quantizing", r->plan.n_matrices);
    lmf_status s = lmf_compress(cli->ctx, m, &o, out);
    lmf_progress_end(&bar);
    return s;
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
    double start = lmf_cli_seconds();
    LMF_TRY(lmf_model_open(cli->ctx, a->model, &m));
    r.source_bytes = weight_bytes(m);
    lmf_status s = compress(cli, a, m, &r, &c);
    if (!s && a->text)
        s = measure(cli, a, m, c, &r.measured);
    if (!s)
        s = write_file(cli, a, c, &r.written);
    if (!s)
        s = print(cli, a, c, &r, lmf_cli_seconds() - start);
    lmf_compressed_close(c);
    lmf_model_close(m);
    return s;
}

const lmf_command lmf_command_quantize = { "quantize", "write a model in fewer bits a weight, and measure what that costs", flags,
    sizeof(quantize_args), run, .more = type_flag,
    .example = "lmfast quantize --model SmolLM2-135M-Instruct.Q4_1.gguf --type q4_0 --text held_out.txt --output small.gguf" };
