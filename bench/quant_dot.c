/* SPDX-License-Identifier: Apache-2.0 */
/* quant_dot: speed of one core on each format, beside the memory's own: dot for 1 and 8 activation rows (rows of 1024
 * weights; GB/s of weight bytes, from a set that lies in L2 and from one far larger than the caches), unpack (Gelem/s)
 * and lmf_act_quantize. The last column is dot from memory as a part of the machine's read speed, measured in the same run.
 *
 *     bench_quant_dot [LEVEL] */
#include "base/cpu.h"
#include "device/dtype.h"
#include "quant/act.h"
#include "registry/registry.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { K = 1024, N_X = 8 };
static const size_t small = 256 << 10, big = (size_t)192 << 20;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static double read_speed(const uint8_t *p, size_t n) /* bytes a second: sums of 8-byte words, prefetched, best of 5 */
{
    double best = 0;
    uint64_t sum[8] = { 0 };
    for (int r = 0; r < 5; r++) {
        double t = now();
        for (size_t i = 0; i + 64 <= n; i += 64) {
            uint64_t v[8];
            __builtin_prefetch(p + i + 2048);
            memcpy(v, p + i, 64);
            for (int j = 0; j < 8; j++)
                sum[j] += v[j];
        }
        t = (double)n / (now() - t);
        best = t > best ? t : best;
    }
    volatile uint64_t keep = sum[0] ^ sum[3] ^ sum[7]; /* or the loop is dropped */
    (void)keep;
    return best;
}

static double dot_speed(const lmf_format *f, const uint8_t *w, size_t n, const lmf_act *x, int n_x, double seconds)
{
    size_t row = lmf_format_bytes(f, K), rows = n / row;
    float out[N_X * LMF_TILE], sum = 0;
    double best = 0, begin = now();
    do {
        double t = now();
        if (f->tile)
            for (size_t i = 0; i + LMF_TILE <= rows; i += LMF_TILE) {
                f->tile(w + i * row, row, x, K / 32, n_x, K, out);
                sum += out[0];
            }
        else for (size_t i = 0; i < rows; i++) {
            f->dot(w + i * row, x, K / 32, n_x, K, out);
            sum += out[0];
        }
        t = (double)(rows * row) / (now() - t);
        best = t > best ? t : best;
    } while (now() - begin < seconds);
    volatile float keep = sum;
    (void)keep;
    return best;
}

static double unpack_speed(const lmf_format *f, const uint8_t *w, float *y)
{
    double best = 0, begin = now();
    do {
        double t = now();
        for (int r = 0; r < 64; r++)
            f->unpack(w + r * lmf_format_bytes(f, K), y, K);
        t = 64.0 * K / (now() - t);
        best = t > best ? t : best;
    } while (now() - begin < 0.1);
    return best;
}

int main(int argc, char **argv)
{
    lmf_ctx *ctx;
    uint64_t allowed = ~UINT64_C(0);
    if (argc > 1 && !lmf_cpu_level(argv[1], &allowed))
        return fprintf(stderr, "usage: bench_quant_dot [scalar|avx2|avx512|native]\n"), 2;
    if (lmf_ctx_create(&ctx))
        return fprintf(stderr, "out of memory\n"), 1;
    uint8_t *w = malloc(big);
    float *y = malloc(sizeof(float) * K * N_X);
    lmf_act *x = malloc(sizeof(lmf_act) * N_X * K / 32);
    if (!w || !y || !x)
        return fprintf(stderr, "out of memory\n"), 1;
    for (int i = 0; i < K * N_X; i++)
        y[i] = (float)((i * 7919) % 2003 - 1001) * 1e-3f;
    double best = 0;
    void (*quantize)(const float *, lmf_act *, int64_t) = ctx->cpu_features & allowed & LMF_CPU_AVX2 ? lmf__act_quantize_avx2 : lmf__act_quantize_scalar;
    for (int r = 0; r < 200; r++) {
        double t = now();
        quantize(y, x, K * N_X);
        t = K * N_X / (now() - t);
        best = t > best ? t : best;
    }
    memset(w, 0x3b, big);
    double mem = read_speed(w, big);
    printf("memory read, one core: %.1f GB/s; lmf_act_quantize: %.2f Gelem/s\n", mem * 1e-9, best * 1e-9);
    printf("%-6s %18s %18s %12s %12s\n", "format", "L2 GB/s n=1", "n=8 (x rows)", "unpack Ge/s", "memory n=1");
    for (const lmf_format *const *g = ctx->tables->formats; *g; g++) {
        lmf_format f = lmf_format_resolve(ctx, *g, ctx->cpu_features & allowed);
        if (!f.unpack)
            continue;
        float *keep = malloc(sizeof(float) * K);
        double up = keep ? unpack_speed(&f, w, keep) : 0;
        free(keep);
        if (!f.dot) {
            printf("%-6s %18s %18s %12.2f\n", f.name, "-", "-", up * 1e-9);
            continue;
        }
        double one = dot_speed(&f, w, small, x, 1, 0.15), eight = dot_speed(&f, w, small, x, N_X, 0.15), cold = dot_speed(&f, w, big, x, 1, 0.3);
        printf("%-6s %18.2f %8.2f (%6.1f) %12.2f %6.2f %4.0f%%\n", f.name, one * 1e-9, eight * 1e-9, 8e-9 * eight, up * 1e-9, cold * 1e-9, 100 * cold / mem);
    }
    free(w), free(y), free(x);
    lmf_ctx_destroy(ctx);
    return 0;
}
