/* SPDX-License-Identifier: Apache-2.0 */
/* lmfast bench: how fast a model answers on this machine, in one process, or trains (bench_train.c). Prompts are random tokens,
 * each its own, so that nothing is found already computed; answers are greedy and go on past their end. For each number of
 * streams: waves of that many prompts are read, then each is answered; reading and answering are timed apart. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cpu.h"
#include "base/philox.h"
#include "cli/bench.h"
#include "format/json.h"
#include "infer/engine.h"

enum { MAX_STREAMS = 256, MAX_KINDS = 16, MAX_RUNS = LMF_BENCH_MAX_RUNS };

#define AT(member) offsetof(bench_args, member)
static const lmf_flag flags[] = {
    { "job", 0, LMF_FLAG_CHOICE, AT(job), .positional = true, .fallback = "answer", .choices = "answer|prefill|decode|train",
      .help = "what is timed: answer is prefill and decode; the flags from --batch-size on belong to train" },
    { "model", 'm', LMF_FLAG_STRING, AT(model), .required = true, .hub = LMF_HUB_MODEL,
        .help = "GGUF file, Hugging Face folder, or org/name of the hub" },
    { "adapter", 'a', LMF_FLAG_STRING, AT(adapter), .hub = LMF_HUB_ADAPTER, .help = "LoRA adapter: a PEFT folder" },
    { "prompts", 0, LMF_FLAG_INT, AT(prompts), 1, 1e6, "10", .help = "prompts a run: as many waves of N streams as fit, one at least" },
    { "runs", 'r', LMF_FLAG_INT, AT(runs), 1, MAX_RUNS, "3", .help = "runs; what is shown is their median" },
    { "prompt-tokens", 0, LMF_FLAG_INT, AT(prompt_tokens), 1, 1 << 20, "512", .help = "tokens of each prompt" },
    { "new-tokens", 0, LMF_FLAG_INT, AT(new_tokens), 1, 1 << 20, "64", .help = "tokens of each answer" },
    { "streams", 0, LMF_FLAG_STRING, AT(streams), .fallback = "1,8", .help = "answers at once, 1 to 256; several numbers: one after the other" },
    { "compute", 0, LMF_FLAG_CHOICE, AT(compute), .fallback = "auto", .choices = "auto|f32|fast", .help = "precision of products; auto is fast" },
    { "seed", 0, LMF_FLAG_INT, AT(seed), 0, 9e15, "0", .help = "of the prompts" },
    { "batch-size", 'b', LMF_FLAG_INT, AT(batch_size), 1, 1 << 16, "8", .help = "rows a step, in one micro-batch" },
    { "seq-len", 0, LMF_FLAG_INT, AT(seq_len), 2, 1 << 20, "512", .help = "tokens of each row" },
    { "steps", 0, LMF_FLAG_INT, AT(steps), 4, MAX_RUNS, "8", .help = "steps; the first three are not timed" },
    { "method", 0, LMF_FLAG_CHOICE, AT(method), .fallback = "lora", .choices = "lora|full", .help = "what is trained" },
    { "lora-r", 0, LMF_FLAG_INT, AT(lora_r), 1, 1024, "16", .help = "rank of the pairs" },
    { "activations", 0, LMF_FLAG_CHOICE, AT(activations), .fallback = "auto", .choices = "auto|f32|bf16",
      .help = "type of what goes between layers; auto: bf16 on a GPU, else f32" },
    { "recompute", 0, LMF_FLAG_BOOL, AT(recompute), .help = "forget a layer's inner tensors and compute them again" },
    { "profile", 0, LMF_FLAG_BOOL, AT(profile), .help = "print where the time went (slows it down)" },
    { 0 }
};

typedef struct kind { int streams; double prefill[MAX_RUNS], decode[MAX_RUNS]; } kind; /* tokens a second, by run */

typedef struct bench {
    lmf_cli          *cli;
    const bench_args *args;
    lmf_model        *model;
    lmf_engine       *engine;
    lmf_session      *session[MAX_STREAMS];
    int32_t          *prompt;                  /* [prompt_tokens] */
    uint32_t          n_prompts;               /* made so far: each differs */
    kind             *kinds;                   /* [MAX_KINDS] */
    int               n_kinds, most;           /* most streams of any */
    double            load, create, first;     /* seconds: model, engine, first token */
    lmf_progress      bar;
    int64_t           n_waves;                 /* done */
    bool              prefills, decodes;       /* what is shown; every answer needs its prompt read */
} bench;

static lmf_status parse_streams(bench *b)
{
    const char *at = b->args->streams;
    for (;;) {
        char *end;
        long n = strtol(at, &end, 10);
        if (end == at || n < 1 || n > MAX_STREAMS || (*end && *end != ','))
            return LMF_FAIL(b->cli->ctx, LMF_E_ARG, "--streams is \"%.64s\", but must be numbers from 1 to %d with commas between them: 1,8", b->args->streams, MAX_STREAMS);
        if (b->n_kinds == MAX_KINDS)
            return LMF_FAIL(b->cli->ctx, LMF_E_ARG, "--streams holds more than %d numbers", MAX_KINDS);
        b->kinds[b->n_kinds++].streams = (int)n;
        b->most = n > b->most ? (int)n : b->most;
        if (!*end)
            return LMF_OK;
        at = end + 1;
    }
}

static int64_t n_waves(const bench *b, const kind *k)
{
    int64_t n = b->args->prompts / k->streams;
    return n > 0 ? n : 1;
}

/* Until no session has work. *first: when the first token came, if any. */
static lmf_status step_all(bench *b, int n, double *first)
{
    lmf_token tok[64];
    for (int live = 1; live;) {
        if (lmf_cli_interrupted())
            return LMF_FAIL(b->cli->ctx, LMF_E_CANCELLED, "stopped");
        LMF_TRY(lmf_engine_step(b->engine, &live));
        for (int i = 0, got; i < n; i++)
            do {
                LMF_TRY(lmf_session_read(b->session[i], tok, 64, &got));
                if (got && *first == 0)
                    *first = lmf_cli_seconds();
            } while (got);
    }
    return LMF_OK;
}

static lmf_status new_prompts(bench *b, int n)
{
    size_t vocab = (size_t)lmf_model_config(b->model)->vocab;
    for (int i = 0; i < n; i++, b->n_prompts++) {
        for (int64_t t = 0; t < b->args->prompt_tokens; t++)
            b->prompt[t] = (int32_t)((uint64_t)lmf_random_u32((uint64_t)b->args->seed, b->n_prompts, 0, (uint64_t)t) * vocab >> 32);
        LMF_TRY(lmf_session_rewind(b->session[i], 0, NULL));
        LMF_TRY(lmf_session_append(b->session[i], b->prompt, (int)b->args->prompt_tokens, NULL));
    }
    return LMF_OK;
}

/* All n sessions go on by max_tok tokens (0: read what they hold); *seconds is added to. */
static lmf_status go(bench *b, int n, int64_t max_tok, double *seconds)
{
    lmf_gen_opts gen = lmf_gen_opts_default();
    double first = 0, start = lmf_cli_seconds();
    gen.max_tok = (int32_t)max_tok;
    gen.ignore_eos = true;
    for (int i = 0; i < n; i++)
        LMF_TRY(lmf_session_generate(b->session[i], &gen));
    LMF_TRY(step_all(b, n, &first));
    *seconds += lmf_cli_seconds() - start;
    return LMF_OK;
}

static lmf_status run_kind(bench *b, kind *k, int run)
{
    double prefill = 0, decode = 0;
    int64_t waves = n_waves(b, k);
    for (int64_t w = 0; w < waves; w++) {
        char detail[64];
        LMF_TRY(new_prompts(b, k->streams));
        LMF_TRY(go(b, k->streams, 0, &prefill));
        if (b->decodes)
            LMF_TRY(go(b, k->streams, b->args->new_tokens, &decode));
        for (int i = 0; i < k->streams; i++) {
            int held = lmf_session_n_tok(b->session[i]);
            if (held < b->args->prompt_tokens + (b->decodes ? b->args->new_tokens : 0))
                return LMF_FAIL(b->cli->ctx, LMF_E_INTERNAL, "a session holds %d tokens where %lld were asked for", held,
                                (long long)(b->args->prompt_tokens + b->args->new_tokens));
        }
        snprintf(detail, sizeof detail, "%d streams", k->streams);
        lmf_progress_step(&b->bar, ++b->n_waves, detail);
    }
    double all = (double)waves * k->streams;
    k->prefill[run] = all * (double)b->args->prompt_tokens / prefill;
    k->decode[run] = b->decodes ? all * (double)b->args->new_tokens / decode : 0;
    return LMF_OK;
}

/* Opens all and writes one token to a short prompt: what a user waits for at a cold start, less the process itself. */
static lmf_status start(bench *b)
{
    const bench_args *a = b->args;
    lmf_ctx *ctx = b->cli->ctx;
    double t[4] = { lmf_cli_seconds() };
    lmf_engine_opts opts = lmf_engine_opts_default();
    LMF_TRY(lmf_model_open(ctx, a->model, &b->model));
    int64_t context = a->prompt_tokens + a->new_tokens + 1;
    if (context > lmf_model_config(b->model)->context)
        return LMF_FAIL(ctx, LMF_E_ARG, "--prompt-tokens and --new-tokens make %lld, but the model was made for %d", (long long)(context - 1),
                        lmf_model_config(b->model)->context - 1);
    t[1] = lmf_cli_seconds();
    opts.device = b->cli->device;
    opts.max_seqs = b->most;
    opts.context = (int32_t)context;
    opts.cache_tok = (context + opts.page_size) * b->most;
    opts.compute = strcmp(a->compute, "f32") != 0;
    opts.profile = a->profile;
    opts.adapters = &a->adapter;
    opts.n_adapters = a->adapter != NULL;
    LMF_TRY(lmf_engine_create(ctx, b->model, &opts, &b->engine));
    for (int i = 0; i < b->most; i++)
        LMF_TRY(lmf_session_create(b->engine, &(lmf_session_opts){ sizeof(lmf_session_opts), a->adapter ? 0 : -1 }, &b->session[i]));
    t[2] = lmf_cli_seconds();
    lmf_gen_opts gen = lmf_gen_opts_default();
    gen.max_tok = 1;
    LMF_TRY(lmf_session_append(b->session[0], &(int32_t){ 0 }, 1, NULL));
    LMF_TRY(lmf_session_generate(b->session[0], &gen));
    LMF_TRY(step_all(b, 1, &t[3]));
    b->load = t[1] - t[0], b->create = t[2] - t[1], b->first = t[3] - t[2];
    return LMF_OK;
}

static lmf_status run_all(bench *b)
{
    lmf_status s = LMF_OK;
    int64_t waves = 0;
    for (int i = 0; i < b->n_kinds; i++)
        waves += n_waves(b, &b->kinds[i]) * b->args->runs;
    lmf_progress_start(&b->bar, b->cli, "measuring", waves);
    for (int r = 0; r < b->args->runs && !s; r++) /* kinds in turn: what disturbs one run, disturbs all of them alike */
        for (int i = 0; i < b->n_kinds && !s; i++)
            s = run_kind(b, &b->kinds[i], r);
    lmf_progress_end(&b->bar);
    return s;
}

static lmf_status report_json(bench *b)
{
    const bench_args *a = b->args;
    char cpu[256];
    int runs = (int)a->runs;
    json_t *rows = json_array();
    lmf_cpu_model(cpu, sizeof cpu);
    for (int i = 0; i < b->n_kinds; i++) {
        const kind *k = &b->kinds[i];
        json_t *row = json_pack("{s:i}", "streams", k->streams);
        if (b->prefills) {
            json_object_set_new(row, "prefill_tokens_per_second", json_real(lmf__bench_median(k->prefill, runs)));
            json_object_set_new(row, "prefill_runs", lmf__bench_list(k->prefill, runs));
        }
        if (b->decodes) {
            json_object_set_new(row, "decode_tokens_per_second", json_real(lmf__bench_median(k->decode, runs)));
            json_object_set_new(row, "decode_runs", lmf__bench_list(k->decode, runs));
        }
        json_array_append_new(rows, row);
    }
    return lmf_cli_print_json(b->cli, json_pack("{s:s, s:s, s:o, s:o, s:s, s:i, s:s, s:I, s:I, s:I, s:f, s:f, s:f, s:o}", "job", a->job, "version", LMF_VERSION, "model", lmf_json_string(a->model),
        "cpu", lmf_json_string(cpu), "device", b->cli->device, "workers", b->cli->ctx->n_workers, "compute", a->compute, "runs", (json_int_t)a->runs, "prompt_tokens",
        (json_int_t)a->prompt_tokens, "new_tokens", (json_int_t)a->new_tokens, "load_seconds", b->load, "engine_seconds", b->create,
        "first_token_seconds", b->first, "results", rows));
}

static void report_text(const bench *b)
{
    const bench_args *a = b->args;
    printf("start: model %.3f s, engine %.3f s, first token %.3f s\n", b->load, b->create, b->first);
    printf("%8s", "streams");
    if (b->prefills)
        printf(" %20s", "prefill, tokens/s");
    if (b->decodes)
        printf(" %20s", "decode, tokens/s");
    printf("   prompts of %lld tokens, answers of %lld, median of %lld\n", (long long)a->prompt_tokens, (long long)(b->decodes ? a->new_tokens : 0),
           (long long)a->runs);
    for (int i = 0; i < b->n_kinds; i++) {
        printf("%8d", b->kinds[i].streams);
        if (b->prefills)
            printf(" %20.1f", lmf__bench_median(b->kinds[i].prefill, (int)a->runs));
        if (b->decodes)
            printf(" %20.1f", lmf__bench_median(b->kinds[i].decode, (int)a->runs));
        printf("\n");
    }
}

static void print_profile(const bench *b)
{
    lmf_profile_row rows[64];
    lmf__bench_profile(rows, lmf_engine_profile(b->engine, rows, 64));
}

static lmf_status run(lmf_cli *cli, void *args)
{
    bench b = { .cli = cli, .args = args };
    if (!strcmp(b.args->job, "train"))
        return lmf__bench_train(cli, args);
    b.prefills = strcmp(b.args->job, "decode") != 0;
    b.decodes = strcmp(b.args->job, "prefill") != 0;
    lmf_ctx *ctx = cli->ctx;
    lmf_status s = LMF_OK;
    size_t prompt_bytes = sizeof *b.prompt * (size_t)b.args->prompt_tokens;
    b.kinds = lmf_alloc(ctx, sizeof *b.kinds * MAX_KINDS);
    b.prompt = lmf_alloc(ctx, prompt_bytes);
    if (!b.kinds || !b.prompt)
        s = LMF_NO_MEMORY(ctx, prompt_bytes, "a prompt");
    if (!s)
        s = parse_streams(&b);
    if (!s)
        s = start(&b);
    if (!s)
        s = run_all(&b);
    if (!s && cli->json)
        s = report_json(&b);
    else if (!s)
        report_text(&b);
    if (!s && b.args->profile)
        print_profile(&b);
    for (int i = 0; i < MAX_STREAMS; i++)
        lmf_session_destroy(b.session[i]);
    lmf_engine_destroy(b.engine);
    lmf_model_close(b.model);
    lmf_free(ctx, b.kinds, sizeof *b.kinds * MAX_KINDS);
    lmf_free(ctx, b.prompt, prompt_bytes);
    return s;
}

const lmf_command lmf_command_bench = { "bench", "measure how fast a model answers or trains here", flags, sizeof(bench_args), run, .alias = "benchmark",
    .example = "lmfast bench --model SmolLM2.gguf --streams 1,8" };
