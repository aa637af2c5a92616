/* SPDX-License-Identifier: Apache-2.0 */
/* matmul: speed of the product's kernel rows on the CPU device, beside the machine's own limits, measured in the same run:
 * GFLOP/s and the part of a register-resident multiply-add peak for blocked shapes, GB/s of weight bytes and the part of the
 * memory's read speed for decode shapes (weights far larger than the caches).
 *
 *     bench_matmul [WORKERS [LEVEL]]      default: 1 native */
#include "base/cpu.h"
#include "base/team.h"
#include "device/device.h"
#include "ops/matmul/matmul.h"
#include "peak.h"
#include "registry/registry.h"
#include <stdio.h>
#include <string.h>

typedef struct machine { lmf_team *team; double (*peak)(void); double flops[256]; const char *bytes; size_t n_bytes; double read; } machine;

static void peak_worker(void *arg, int i, int n)
{
    machine *m = arg;
    (void)n;
    m->flops[i] = m->peak();
}
static void read_worker(void *arg, int i, int n)
{
    machine *m = arg;
    int64_t begin, end;
    uint64_t sum[8] = { 0 };
    lmf_split((int64_t)m->n_bytes, 4096, i, n, &begin, &end);
    for (int64_t at = begin; at + 64 <= end; at += 64) {
        uint64_t v[8];
        __builtin_prefetch(m->bytes + at + 2048);
        memcpy(v, m->bytes + at, 64);
        for (int j = 0; j < 8; j++)
            sum[j] += v[j];
    }
    volatile uint64_t keep = sum[0] ^ sum[3] ^ sum[7];
    (void)keep;
}

typedef struct shape { const char *what; int64_t m, n, k; int ta, tb; uint16_t dtype; int with_c, compute; } shape;
static const shape shapes[] = {
    { "linear", 1024, 1536, 576, 0, 1, LMF_F32, 0, 0 },
    { "linear, q4_1", 1024, 1536, 576, 0, 1, LMF_Q4_1, 0, 0 },
    { "linear, bf16", 1024, 1536, 576, 0, 1, LMF_BF16, 0, 0 },
    { "gradient of its input, q4_1", 1024, 576, 1536, 0, 0, LMF_Q4_1, 1, 0 },
    { "gradient of its weight", 1536, 576, 1024, 1, 0, LMF_F32, 0, 0 },
    { "square 2048", 1024, 2048, 2048, 0, 1, LMF_F32, 0, 0 },
    { "LoRA down", 1024, 16, 576, 0, 1, LMF_F32, 0, 0 },
    { "LoRA up onto the base", 1024, 1536, 16, 0, 1, LMF_F32, 1, 0 },
    { "LoRA gradient of B", 1536, 16, 1024, 1, 0, LMF_F32, 0, 0 },
    { "LoRA gradient of A", 16, 576, 1024, 1, 0, LMF_F32, 0, 0 },
    { "prefill of 32, q4_1", 32, 1536, 576, 0, 1, LMF_Q4_1, 0, 1 },
    { "prefill of 512, q4_1", 512, 1536, 576, 0, 1, LMF_Q4_1, 0, 1 },
    { "prefill of 512, q4_1", 512, 576, 1536, 0, 1, LMF_Q4_1, 0, 1 },
    { "decode 1, q4_0", 1, 196608, 576, 0, 1, LMF_Q4_0, 0, 1 },
    { "decode 1, q4_1", 1, 196608, 576, 0, 1, LMF_Q4_1, 0, 1 },
    { "decode 4, q4_1", 4, 196608, 576, 0, 1, LMF_Q4_1, 0, 1 },
    { "decode 8, q4_1", 8, 196608, 576, 0, 1, LMF_Q4_1, 0, 1 },
    { "decode 16, q4_1", 16, 196608, 576, 0, 1, LMF_Q4_1, 0, 1 },
    { "decode 32, q4_1", 32, 196608, 576, 0, 1, LMF_Q4_1, 0, 1 },
    { "decode 1, q8_0", 1, 98304, 576, 0, 1, LMF_Q8_0, 0, 1 },
    { "decode 1, bf16", 1, 98304, 576, 0, 1, LMF_BF16, 0, 1 },
    { "decode 1, f32", 1, 49152, 576, 0, 1, LMF_F32, 0, 1 },
    { "decode 1, f32, invariant", 1, 49152, 576, 0, 1, LMF_F32, 0, 0 },
};

static void fill(float *x, int64_t n)
{
    uint32_t s = 1;
    for (int64_t i = 0; i < n; i++) {
        s = s * 1664525u + 1013904223u;
        x[i] = (float)(int32_t)s * 0x1p-31f;
    }
}

static lmf_status bench(lmf_ctx *ctx, lmf_device *dev, const shape *h, double peak, double read)
{
    const lmf_format *f32 = lmf_device_format(dev, LMF_F32), *fmt = lmf_device_format(dev, h->dtype);
    lmf_matmul_attrs attrs = { h->ta, h->tb, 1, h->compute };
    lmf_view in[3] = { { .fmt = f32, .dim = { h->ta ? h->k : h->m, h->ta ? h->m : h->k }, .dtype = LMF_F32, .n_dims = 2 },
                       { .fmt = fmt, .dim = { h->tb ? h->n : h->k, h->tb ? h->k : h->n }, .dtype = h->dtype, .n_dims = 2 },
                       { .fmt = f32, .dim = { h->m, h->n }, .dtype = LMF_F32, .n_dims = (uint8_t)(h->with_c ? 2 : 0) } };
    lmf_view out = { .fmt = f32, .dim = { h->m, h->n }, .dtype = LMF_F32, .n_dims = 2 };
    lmf_call call = { .attrs = &attrs, .in = in, .out = &out, .n_in = 3, .n_out = 1, .ref = lmf_op_matmul.ref };
    size_t b_bytes = lmf_format_bytes(fmt, h->n * h->k);
    lmf_program *program = NULL;
    lmf_status s = LMF_E_MEMORY;
    float *a = malloc(sizeof(float) * (size_t)(h->m * h->k)), *y = malloc(sizeof(float) * (size_t)(h->m * h->n));
    float *c = calloc((size_t)(h->m * h->n), sizeof(float)), *row = malloc(sizeof(float) * (size_t)in[1].dim[1]);
    char *b = malloc(b_bytes);
    for (int i = 0; i < 3; i++)
        lmf_view_set_dense(&in[i]);
    lmf_view_set_dense(&out);
    in[0].data = a, in[1].data = b, in[2].data = c, out.data = y;
    call.row = lmf_device_match(dev, "matmul", &call, 0);
    call.scratch_bytes = call.row->scratch ? call.row->scratch(&call, dev) : 0;
    call.scratch = aligned_alloc(64, (call.scratch_bytes + 127) / 64 * 64);
    if (!a || !b || !c || !y || !row || !call.scratch)
        goto done;
    fill(a, h->m * h->k);
    fill(row, in[1].dim[1]);
    for (int64_t i = 0; i < in[1].dim[0]; i++)
        if (fmt->pack)
            fmt->pack(row, b + (size_t)i * lmf_format_bytes(fmt, in[1].dim[1]), in[1].dim[1]);
        else
            memcpy(b + (size_t)i * b_bytes / (size_t)in[1].dim[0], row, sizeof(float) * (size_t)in[1].dim[1]);
    LMF_TRY_TO(done, dev->ops->program_create(dev, &call, 1, false, &program));
    double best = 1e9, begin = now(), flops = 2.0 * (double)h->m * (double)h->n * (double)h->k;
    for (int r = 0; r < 3 || now() - begin < 0.4; r++) {
        double t = now();
        LMF_TRY_TO(done, dev->ops->program_launch(dev, NULL, program));
        t = now() - t;
        best = t < best ? t : best;
    }
    printf("%-28s %6lld %6lld %5lld  %-24s %9.3f ms %8.1f GFLOP/s %5.1f%%", h->what, (long long)h->m, (long long)h->n, (long long)h->k,
           call.row->name, best * 1e3, flops / best * 1e-9, 100 * flops / best / peak);
    if (h->n > 16384)
        printf(" %7.2f GB/s %5.1f%%", (double)b_bytes / best * 1e-9, 100 * (double)b_bytes / best / read);
    printf("\n");
done:
    dev->ops->program_destroy(dev, program);
    if (s)
        fprintf(stderr, "%s: %s\n", h->what, lmf_error(ctx));
    free(a), free(b), free(c), free(y), free(row), free(call.scratch);
    return s;
}

int main(int argc, char **argv)
{
    lmf_ctx *ctx;
    lmf_device *dev = NULL;
    uint64_t allowed = ~UINT64_C(0);
    int n_workers = argc > 1 ? atoi(argv[1]) : 1;
    if (n_workers < 1 || n_workers > 256 || (argc > 2 && !lmf_cpu_level(argv[2], &allowed)))
        return fprintf(stderr, "usage: bench_matmul [WORKERS [scalar|avx2|avx512|native]]\n"), 2;
    if (lmf_ctx_create(&ctx))
        return fprintf(stderr, "out of memory\n"), 1;
    ctx->cpu_features &= allowed;
    ctx->n_workers = n_workers;
    machine m = { .peak = peak_for(ctx->cpu_features), .n_bytes = (size_t)128 << 20 };
    char *bytes = malloc(m.n_bytes), model[128];
    if (!bytes || lmf_team_create(ctx, n_workers, &m.team) || lmf_device_open(ctx, "cpu", &dev))
        return fprintf(stderr, "%s\n", lmf_error(ctx)), 1;
    memset(bytes, 1, m.n_bytes);
    m.bytes = bytes;
    double peak = 0;
    lmf_team_run(m.team, peak_worker, &m);
    for (int i = 0; i < n_workers; i++)
        peak += m.flops[i];
    for (int r = 0; r < 5; r++) {
        double t = now();
        lmf_team_run(m.team, read_worker, &m);
        t = (double)m.n_bytes / (now() - t);
        m.read = t > m.read ? t : m.read;
    }
    lmf_cpu_model(model, sizeof model);
    printf("%s, %d workers: %.1f GFLOP/s in registers, memory reads at %.1f GB/s\n%-28s %6s %6s %5s\n", model, n_workers, peak * 1e-9,
           m.read * 1e-9, "", "M", "N", "K");
    for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++)
        if (bench(ctx, dev, &shapes[i], peak, m.read))
            break;
    lmf_device_close(dev);
    lmf_team_destroy(m.team);
    free(bytes);
    lmf_ctx_destroy(ctx);
    return 0;
}
