/* SPDX-License-Identifier: Apache-2.0 */
/* attention: speed of the attention rows on the CPU device with the heads of SmolLM2-135M (9 query heads on 3 of 64): GFLOP/s and
 * the part of a register-resident multiply-add peak for training and prefill, GB/s of cache bytes and the part of the memory's
 * read speed for decode. FLOPs count what the causal mask leaves.
 *
 *     bench_attention [WORKERS [LEVEL]]      default: 1 native */
#include "base/cpu.h"
#include "base/half.h"
#include "base/team.h"
#include "device/device.h"
#include "ops/attention/attention.h"
#include "peak.h"
#include "registry/registry.h"
#include <stdio.h>
#include <string.h>

enum { HEADS = 9, KV_HEADS = 3, SIZE = 64, QW = HEADS * SIZE, KW = KV_HEADS * SIZE, PAGE = 16 };

typedef struct bench {
    lmf_ctx *ctx;
    lmf_device *dev;
    lmf_arena arena;
    double peak, read;          /* FLOP/s and bytes/s of one worker */
} bench;

static lmf_view view(bench *b, uint16_t dtype, int64_t d0, int64_t d1, int64_t d2)
{
    lmf_view v = { .fmt = lmf_device_format(b->dev, dtype), .dim = { d0, d1, d2 }, .dtype = dtype, .n_dims = (uint8_t)(d2 ? 3 : d1 ? 2 : 1) };
    lmf_view_set_dense(&v);
    int64_t n = lmf_view_count(&v);
    uint32_t s = 1;
    char *p = lmf_arena_alloc(&b->arena, (size_t)n * v.fmt->block_bytes + 64);
    if (!p)
        exit(1);
    v.data = p;
    for (int64_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        float x = (float)(int32_t)s * 0x1p-31f;
        if (dtype == LMF_F32)
            ((float *)v.data)[i] = x;
        else if (dtype == LMF_I32)
            ((int32_t *)v.data)[i] = 0;
        else
            ((uint16_t *)v.data)[i] = dtype == LMF_F16 ? lmf_f32_to_f16(x) : lmf_f32_to_bf16(x);
    }
    return v;
}

/* Seconds of the best of the runs that fit 0.4 s; calls: n of the same op, one after another, timed together. */
static double run(bench *b, const char *op, lmf_call *calls, int n)
{
    lmf_program *program = NULL;
    lmf_call *c = &calls[0];
    const lmf_kernel *row = lmf_device_match(b->dev, op, c, 0);
    size_t bytes = row->scratch ? row->scratch(c, b->dev) : 0;
    char *scratch = lmf_arena_alloc(&b->arena, bytes + 128);
    for (int i = 0; i < n && scratch; i++)
        calls[i].row = row, calls[i].scratch_bytes = bytes, calls[i].scratch = scratch + (64 - (uintptr_t)scratch % 64), calls[i].barrier = 1;
    double best = 1e9, begin = now();
    if (!scratch || b->dev->ops->program_create(b->dev, calls, n, false, &program))
        return best;
    for (int r = 0; r < 3 || now() - begin < 0.4; r++) {
        double t = now();
        if (b->dev->ops->program_launch(b->dev, NULL, program))
            printf("%s\n", lmf_error(b->ctx));
        t = now() - t;
        best = t < best ? t : best;
    }
    b->dev->ops->program_destroy(b->dev, program);
    return best;
}

static void report(const bench *b, const char *what, const char *row, double s, double flops)
{
    int n = b->dev->n_workers;
    printf("%-34s %-20s %9.3f ms %8.1f GFLOP/s %5.1f%% of peak\n", what, row, s * 1e3, flops / s * 1e-9, 100 * flops / s / (b->peak * n));
}

static void training(bench *b, int64_t rows, int64_t segment)
{
    lmf_attention_attrs attrs = { HEADS, KV_HEADS, SIZE, 0, 0.125f };
    int64_t n_seq = (rows + segment - 1) / segment;
    lmf_view q = view(b, LMF_F32, rows, QW, 0), k = view(b, LMF_F32, rows, KW, 0), v = view(b, LMF_F32, rows, KW, 0), seq = view(b, LMF_I32, rows, 0, 0),
             start = view(b, LMF_I32, n_seq + 1, 0, 0), out[2] = { view(b, LMF_F32, rows, QW, 0), view(b, LMF_F32, rows, HEADS, 0) };
    double pairs = 0;
    char what[64];
    for (int64_t t = 0; t < rows; t++)
        ((int32_t *)seq.data)[t] = (int32_t)(t / segment), pairs += (double)(t % segment + 1);
    for (int64_t s = 0; s <= n_seq; s++)
        ((int32_t *)start.data)[s] = (int32_t)(s * segment < rows ? s * segment : rows);
    lmf_view in[5] = { q, k, v, seq, start };
    lmf_call call = { .attrs = &attrs, .in = in, .out = out, .n_in = 5, .n_out = 2, .ref = lmf_op_attention.ref };
    snprintf(what, sizeof what, "training, %lld of %lld rows", (long long)n_seq, (long long)segment);
    double s = run(b, "attention", &call, 1);
    report(b, what, "forward", s, 4.0 * SIZE * HEADS * pairs);
    lmf_view back_in[8] = { q, k, v, out[0], out[1], view(b, LMF_F32, rows, QW, 0), seq, start };
    lmf_view back_out[3] = { view(b, LMF_F32, rows, QW, 0), view(b, LMF_F32, rows, KW, 0), view(b, LMF_F32, rows, KW, 0) };
    lmf_call back = { .attrs = &attrs, .in = back_in, .out = back_out, .n_in = 8, .n_out = 3, .ref = lmf_op_attention_bwd.ref };
    s = run(b, "attention_bwd", &back, 1);
    report(b, what, "backward", s, 10.0 * SIZE * HEADS * pairs);
}

/* rows of each of n_seq sequences, the last of which sees `keys` keys; layers caches in turn, so that decode reads memory. */
static void paged(bench *b, int64_t n_seq, int64_t rows, int64_t keys, uint16_t dtype, int layers)
{
    lmf_attention_attrs attrs = { HEADS, KV_HEADS, SIZE, 0, 0.125f, dtype == LMF_BF16 };
    int64_t pages = (keys + PAGE - 1) / PAGE, T = n_seq * rows;
    lmf_view q = view(b, LMF_F32, T, QW, 0), out = view(b, LMF_F32, T, QW, 0), seq = view(b, LMF_I32, T, 0, 0), pos = view(b, LMF_I32, T, 0, 0),
             page = view(b, LMF_I32, n_seq, pages, 0);
    double pairs = 0;
    lmf_view in[64][6];
    lmf_call call[64];
    char what[64];
    for (int64_t t = 0; t < T; t++) {
        ((int32_t *)seq.data)[t] = (int32_t)(t / rows);
        ((int32_t *)pos.data)[t] = (int32_t)(keys - rows + t % rows);
        pairs += (double)(keys - rows + t % rows + 1);
    }
    for (int64_t i = 0; i < n_seq * pages; i++) /* scattered */
        ((int32_t *)page.data)[i] = (int32_t)(n_seq * pages - 1 - i);
    for (int l = 0; l < layers; l++) {
        in[l][0] = q, in[l][3] = seq, in[l][4] = pos, in[l][5] = page;
        in[l][1] = view(b, dtype, n_seq * pages, PAGE, KW), in[l][2] = view(b, dtype, n_seq * pages, PAGE, KW);
        call[l] = (lmf_call){ .attrs = &attrs, .in = in[l], .out = &out, .n_in = 6, .n_out = 1, .ref = lmf_op_attention_paged.ref };
    }
    snprintf(what, sizeof what, "%lld x %lld rows, %lld keys, %s", (long long)n_seq, (long long)rows, (long long)keys, in[0][1].fmt->name);
    double s = run(b, "attention_paged", call, layers) / layers, bytes = 2.0 * (double)(n_seq * keys * KW) * in[0][1].fmt->block_bytes;
    if (rows > 1) {
        report(b, what, "prefill", s, 4.0 * SIZE * HEADS * pairs);
        return;
    }
    printf("%-34s %-20s %9.4f ms %8.2f GB/s %5.1f%% of reading\n", what, "decode", s * 1e3, bytes / s * 1e-9, 100 * bytes / s / (b->read * b->dev->n_workers));
}

static double read_speed(const char *bytes, size_t n)
{
    double best = 0;
    for (int r = 0; r < 5; r++) {
        uint64_t sum[8] = { 0 };
        double t = now();
        for (size_t at = 0; at + 64 <= n; at += 64) {
            uint64_t v[8];
            __builtin_prefetch(bytes + at + 2048);
            memcpy(v, bytes + at, 64);
            for (int j = 0; j < 8; j++)
                sum[j] += v[j];
        }
        volatile uint64_t keep = sum[0] ^ sum[3] ^ sum[7];
        (void)keep;
        t = (double)n / (now() - t);
        best = t > best ? t : best;
    }
    return best;
}

int main(int argc, char **argv)
{
    bench b = { 0 };
    uint64_t allowed = ~UINT64_C(0);
    int n_workers = argc > 1 ? atoi(argv[1]) : 1;
    size_t n = (size_t)128 << 20;
    char model[128], *bytes = malloc(n);
    if (n_workers < 1 || n_workers > 256 || (argc > 2 && !lmf_cpu_level(argv[2], &allowed)))
        return fprintf(stderr, "usage: bench_attention [WORKERS [scalar|avx2|avx512|native]]\n"), 2;
    if (!bytes || lmf_ctx_create(&b.ctx))
        return fprintf(stderr, "out of memory\n"), 1;
    memset(bytes, 1, n);
    b.ctx->cpu_features &= allowed;
    b.ctx->n_workers = n_workers;
    if (lmf_device_open(b.ctx, "cpu", &b.dev))
        return fprintf(stderr, "%s\n", lmf_error(b.ctx)), 1;
    b.peak = peak_for(b.ctx->cpu_features)();
    b.read = read_speed(bytes, n);
    free(bytes);
    lmf_cpu_model(model, sizeof model);
    printf("%s, %d workers, each %.1f GFLOP/s in registers, reading %.1f GB/s\n", model, n_workers, b.peak * 1e-9, b.read * 1e-9);
    struct { int64_t rows, segment; } train[] = { { 1024, 128 }, { 1024, 1024 }, { 1008, 63 }, { 2048, 2048 } };
    struct { int64_t n_seq, rows, keys; uint16_t dtype; int layers; } page[] = {
        { 1, 1, 512, LMF_F32, 30 }, { 1, 1, 512, LMF_F16, 30 }, { 1, 1, 512, LMF_BF16, 30 },
        { 1, 1, 2048, LMF_F32, 30 }, { 1, 1, 2048, LMF_F16, 30 }, { 1, 1, 2048, LMF_BF16, 30 },
        { 8, 1, 512, LMF_F32, 30 }, { 8, 1, 512, LMF_F16, 30 }, { 8, 1, 512, LMF_BF16, 30 }, { 1, 256, 256, LMF_F32, 4 }, { 1, 256, 2048, LMF_F16, 4 },
        { 1, 256, 256, LMF_BF16, 4 }, { 1, 256, 2048, LMF_BF16, 4 } };
    for (size_t i = 0; i < sizeof train / sizeof *train; i++) {
        lmf_arena_init(&b.arena, b.ctx, (size_t)2 << 30);
        training(&b, train[i].rows, train[i].segment);
        lmf_arena_clear(&b.arena);
    }
    for (size_t i = 0; i < sizeof page / sizeof *page; i++) {
        lmf_arena_init(&b.arena, b.ctx, (size_t)2 << 30);
        paged(&b, page[i].n_seq, page[i].rows, page[i].keys, page[i].dtype, page[i].layers);
        lmf_arena_clear(&b.arena);
    }
    lmf_device_close(b.dev);
    lmf_ctx_destroy(b.ctx);
    return 0;
}
