/* SPDX-License-Identifier: Apache-2.0 */
/* lmfast bench train: one micro-batch of rows of equal length, so that nothing is padded; every token but the first of a row is
 * learned. A step ends when its loss is known, so the device has done all of it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cpu.h"
#include "base/philox.h"
#include "cli/bench.h"
#include "format/json.h"
#include "train/trainer.h"

enum { UNTIMED = 3 }; /* steps: kernels are loaded, caches warm */

static int by_size(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double lmf__bench_median(const double *x, int n)
{
    double sorted[LMF_BENCH_MAX_RUNS];
    memcpy(sorted, x, sizeof *x * (size_t)n);
    qsort(sorted, (size_t)n, sizeof *sorted, by_size);
    return n % 2 ? sorted[n / 2] : (sorted[n / 2 - 1] + sorted[n / 2]) / 2;
}

json_t *lmf__bench_list(const double *x, int n)
{
    json_t *list = json_array();
    for (int i = 0; i < n; i++)
        json_array_append_new(list, json_real(x[i]));
    return list;
}

void lmf__bench_profile(const lmf_profile_row *rows, int n)
{
    for (int i = 0; i < n; i++)
        if (rows[i].n_calls)
            fprintf(stderr, "%9.3f s  %8lld calls  %8.2f GFLOP/s  %7.2f GB/s  %s %s\n", rows[i].seconds, (long long)rows[i].n_calls,
                    1e-9 * rows[i].flops / rows[i].seconds, 1e-9 * rows[i].bytes / rows[i].seconds, rows[i].op, rows[i].row);
}

/* Random rows: all have their own tokens, so their loss starts at the vocabulary's entropy and falls as they are learned. */
static lmf_status make_samples(lmf_ctx *ctx, const bench_args *a, int32_t vocab, lmf_samples *out)
{
    int64_t rows = a->batch_size, tok = a->seq_len;
    *out = (lmf_samples){ .ctx = ctx, .n = rows, .n_tok = rows * tok, .n_learn = rows * (tok - 1), .longest = (int32_t)tok };
    lmf_arena_init(&out->arena, ctx, (size_t)1 << 28);
    out->items = lmf_arena_alloc(&out->arena, sizeof *out->items * (size_t)rows);
    int32_t *id = lmf_arena_alloc(&out->arena, sizeof *id * (size_t)(rows * tok));
    uint8_t *learn = lmf_arena_alloc(&out->arena, (size_t)tok);
    if (!out->items || !id || !learn)
        return LMF_NO_MEMORY(ctx, (size_t)(rows * tok) * sizeof *id, "rows of random tokens");
    memset(learn, 1, (size_t)tok);
    learn[0] = 0;
    for (int64_t r = 0; r < rows; r++, id += tok) {
        for (int64_t t = 0; t < tok; t++) {
            uint64_t u = lmf_random_u32((uint64_t)a->seed, (uint32_t)r, 0, (uint64_t)t);
            id[t] = (int32_t)(u * (uint64_t)vocab >> 32);
        }
        out->items[r] = (lmf_sample){ id, learn, (int32_t)tok, (int32_t)tok - 1, .line = r + 1, .i_row = r };
    }
    return LMF_OK;
}

static void print_profile(const lmf_trainer *t)
{
    lmf_profile_row rows[64];
    for (int g = 0; g < 2 * lmf_trainer_n_buckets(t) + 1; g++)
        lmf__bench_profile(rows, lmf_plan_profile(lmf_trainer_plan(t), g, rows, 64));
}

static void report(lmf_cli *cli, const bench_args *a, const lmf_trainer *t, const double *seconds, double first_loss,
                   const lmf_train_stats *stats)
{
    int64_t tok = a->batch_size * a->seq_len;
    double rate = (double)tok / lmf__bench_median(seconds + UNTIMED, (int)a->steps - UNTIMED);
    char cpu[256];
    if (!cli->json) {
        printf("%.0f tokens/s, median of %lld steps of %lld x %lld tokens; %.2f GB planned; loss %.4f -> %.4f\n", rate,
               (long long)a->steps - UNTIMED, (long long)a->batch_size, (long long)a->seq_len, (double)lmf_trainer_bytes(t) / 1e9,
               first_loss, stats->loss);
        return;
    }
    lmf_cpu_model(cpu, sizeof cpu);
    json_t *j = json_pack("{s:s, s:s, s:o, s:o, s:s, s:i}", "job", "train", "version", LMF_VERSION, "model", lmf_json_string(a->model),
                          "cpu", lmf_json_string(cpu), "device", cli->device, "workers", cli->ctx->n_workers);
    json_object_update_new(j, json_pack("{s:s, s:s, s:s, s:b, s:I, s:I, s:I, s:I}", "compute", a->compute,
                                        "activations", lmf_trainer_between(t) == LMF_BF16 ? "bf16" : "f32", "method", a->method,
                                        "recompute", a->recompute, "lora_r", (json_int_t)a->lora_r, "batch_size", (json_int_t)a->batch_size,
                                        "seq_len", (json_int_t)a->seq_len, "steps", (json_int_t)a->steps));
    json_object_update_new(j, json_pack("{s:f, s:o, s:I, s:I, s:f, s:f}", "tokens_per_second", rate,
                                        "step_seconds", lmf__bench_list(seconds, (int)a->steps),
                                        "memory_bytes", (json_int_t)lmf_trainer_bytes(t), "trainable", (json_int_t)lmf_trainer_n_params(t),
                                        "first_loss", first_loss, "last_loss", stats->loss));
    lmf_cli_print_json(cli, j);
}

lmf_status lmf__bench_train(lmf_cli *cli, const bench_args *a)
{
    lmf_ctx *ctx = cli->ctx;
    lmf_model *m = NULL;
    lmf_trainer *t = NULL;
    lmf_samples samples = { 0 };
    lmf_train_opts o = lmf_train_opts_default();
    lmf_train_stats stats = { 0 };
    lmf_progress bar;
    double seconds[LMF_BENCH_MAX_RUNS], first_loss = 0, start;
    int64_t tok = a->batch_size * a->seq_len;
    lmf_status s = LMF_OK;

    LMF_TRY_TO(done, lmf_model_open(ctx, a->model, &m));
    if (a->seq_len > lmf_model_config(m)->context) {
        s = LMF_FAIL(ctx, LMF_E_ARG, "--seq-len is %lld, but the model was made for %d tokens", (long long)a->seq_len,
                     lmf_model_config(m)->context);
        goto done;
    }
    if (tok > 1 << 22) {
        s = LMF_FAIL(ctx, LMF_E_ARG, "--batch-size times --seq-len is %lld tokens, but must be at most %d", (long long)tok, 1 << 22);
        goto done;
    }
    LMF_TRY_TO(done, make_samples(ctx, a, lmf_model_config(m)->vocab, &samples));
    o.full = !strcmp(a->method, "full");
    o.lora_r = (int32_t)a->lora_r, o.lora_alpha = 2 * (double)a->lora_r;
    o.batch_size = (int32_t)a->batch_size, o.grad_accum = 1, o.micro_tok = (int32_t)tok;
    o.max_steps = a->steps, o.warmup_steps = 0;
    o.schedule = LMF_SCHEDULE_CONSTANT, o.lr = o.full ? 2e-5 : 1e-3;
    o.compute = strcmp(a->compute, "f32") != 0;
    o.between = lmf_train_between(a->activations);
    o.recompute = a->recompute;
    o.profile = a->profile;
    LMF_TRY_TO(done, lmf_trainer_create(ctx, cli->device, m, &samples, &o, &t));
    lmf_progress_start(&bar, cli, "training", a->steps);
    for (int i = 0; i < a->steps && !s; i++) {
        start = lmf_cli_seconds();
        s = lmf_cli_interrupted() ? LMF_FAIL(ctx, LMF_E_CANCELLED, "stopped") : lmf_trainer_step(t, &stats);
        seconds[i] = lmf_cli_seconds() - start;
        first_loss = i ? first_loss : stats.loss;
        lmf_progress_step(&bar, i + 1, NULL);
    }
    lmf_progress_end(&bar);
    if (s)
        goto done;
    if (stats.n_skipped || !(stats.loss < first_loss)) {
        s = LMF_FAIL(ctx, LMF_E_INTERNAL, "%lld of %lld steps had no finite gradients, and the loss went from %.4f to %.4f: "
                     "what was timed is no training", (long long)stats.n_skipped, (long long)a->steps, first_loss, stats.loss);
        goto done;
    }
    report(cli, a, t, seconds, first_loss, &stats);
    if (a->profile)
        print_profile(t);
done:
    lmf_trainer_destroy(t);
    if (samples.ctx)
        lmf_arena_clear(&samples.arena);
    lmf_model_close(m);
    return s;
}
