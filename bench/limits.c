/* SPDX-License-Identifier: Apache-2.0 */
/* limits: what this machine can do at most, so that every other figure of bench/ has something to be a part of: read
 * bandwidth by size, from the first cache to memory, and multiply-adds that stay in registers (f32, int8, bf16, AMX tiles),
 * by one worker and by all of them together. Best of many short slices by the clock; nothing here is LMFast's own work.
 *
 *     bench_limits [--json] [--workers N] [--seconds X]     default: the workers doctor reports, 0.15 s a figure */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>
#include "base/cpu.h"
#include "base/team.h"
#ifdef __x86_64__
#include <immintrin.h>
#endif

#define TARGET(isa) __attribute__((target(isa), noinline))
#define UNROLL _Pragma("GCC unroll 16")
enum { STEPS = 20000, PAD = 8 }; /* PAD: doubles in a cache line */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- slices: a little work by one worker, some hundred microseconds; they return how much it was ---- */

typedef struct slice_in { const char *bytes; size_t n, n_passes; } slice_in; /* reads: n bytes, n_passes times */
typedef double (*slice_fn)(const slice_in *in);

/* Bytes read, in 8 chains of additions; AHEAD bytes are asked for in advance (0: left to the processor). */
#define READ(name, isa, vector, constraint, load, add, ahead)                                                         \
    isa static double name(const slice_in *in)                                                                        \
    {                                                                                                                 \
        vector sum[8];                                                                                                \
        UNROLL for (int i = 0; i < 8; i++) sum[i] = load((const void *)in->bytes);                                    \
        for (size_t p = 0; p < in->n_passes; p++)                                                                     \
            for (const char *at = in->bytes, *end = at + in->n; at < end; at += sizeof sum) {                         \
                for (size_t b = 0; ahead && b < sizeof sum; b += 64)                                                  \
                    __builtin_prefetch(at + ahead + b);                                                               \
                UNROLL for (int i = 0; i < 8; i++) sum[i] = add(sum[i], load((const void *)(at + (size_t)i * sizeof *sum))); \
            }                                                                                                         \
        UNROLL for (int i = 0; i < 8; i++) __asm__ volatile("" : : constraint(sum[i]));                               \
        return (double)in->n * (double)in->n_passes;                                                                  \
    }

/* OPS operations a call of `multiply` on n accumulators; all are opaque, so that no product leaves the loop. */
#define PEAK(name, isa, vector, constraint, n, ops, zero, multiply)                            \
    isa static double name(const slice_in *in)                                                 \
    {                                                                                          \
        vector a[n], x = zero, y = zero;                                                       \
        (void)in;                                                                              \
        UNROLL for (int i = 0; i < n; i++) a[i] = zero;                                        \
        __asm__ volatile("" : "+" constraint(y));                                              \
        for (int s = 0; s < STEPS; s++)                                                        \
            UNROLL for (int i = 0; i < n; i++) {                                               \
                __asm__ volatile("" : "+" constraint(x));                                      \
                a[i] = multiply;                                                               \
            }                                                                                  \
        UNROLL for (int i = 0; i < n; i++) __asm__ volatile("" : : constraint(a[i]));          \
        return (double)STEPS * n * (ops);                                                      \
    }

typedef uint64_t word2 __attribute__((vector_size(16)));
typedef float float4 __attribute__((vector_size(16)));
#ifdef __x86_64__
#define PLAIN_OPERAND "x"
#else
#define PLAIN_OPERAND "w"
#endif
#define PLAIN_LOAD(p) (*(const word2 *)(p))
#define PLAIN_ADD(a, b) ((a) + (b))
READ(read_plain, , word2, PLAIN_OPERAND, PLAIN_LOAD, PLAIN_ADD, 0)
#pragma GCC push_options
#pragma GCC optimize("fp-contract=fast")
PEAK(f32_plain, , float4, PLAIN_OPERAND, 12, 8, (float4){ 0 }, a[i] * x + y)
#pragma GCC pop_options

#ifdef __x86_64__
READ(read_avx2, TARGET("avx2"), __m256i, "x", _mm256_load_si256, _mm256_add_epi64, 0)
READ(read_avx2_ahead, TARGET("avx2"), __m256i, "x", _mm256_load_si256, _mm256_add_epi64, 4096)
READ(read_avx512, TARGET("avx512f"), __m512i, "v", _mm512_load_si512, _mm512_add_epi64, 0)
READ(read_avx512_ahead, TARGET("avx512f"), __m512i, "v", _mm512_load_si512, _mm512_add_epi64, 4096)

PEAK(f32_avx2, TARGET("avx2,fma"), __m256, "x", 12, 16, _mm256_setzero_ps(), _mm256_fmadd_ps(a[i], x, y))
PEAK(f32_avx512, TARGET("avx512f"), __m512, "v", 16, 32, _mm512_setzero_ps(), _mm512_fmadd_ps(a[i], x, y))
PEAK(int8_avx2, TARGET("avx2"), __m256i, "x", 10, 64, _mm256_setzero_si256(),
     _mm256_add_epi32(a[i], _mm256_madd_epi16(_mm256_maddubs_epi16(x, y), y)))
PEAK(int8_avxvnni, TARGET("avx2,avxvnni"), __m256i, "x", 12, 64, _mm256_setzero_si256(), _mm256_dpbusd_avx_epi32(a[i], x, y))
PEAK(int8_avx512, TARGET("avx512f,avx512bw"), __m512i, "v", 16, 128, _mm512_setzero_si512(),
     _mm512_add_epi32(a[i], _mm512_madd_epi16(_mm512_maddubs_epi16(x, y), y)))
PEAK(int8_avx512_vnni, TARGET("avx512f,avx512vnni"), __m512i, "v", 16, 128, _mm512_setzero_si512(), _mm512_dpbusd_epi32(a[i], x, y))
PEAK(bf16_avx512, TARGET("avx512f,avx512bf16"), __m512, "v", 16, 64, _mm512_setzero_ps(), _mm512_dpbf16_ps(a[i], (__m512bh)x, (__m512bh)y))

/* Four accumulators of 16 x 16, two tiles of each factor: 16 rows of 64 bytes. */
#define AMX(name, isa, ops, multiply)                                     \
    isa static double name(const slice_in *in)                            \
    {                                                                     \
        (void)in;                                                         \
        uint8_t config[64] __attribute__((aligned(64))) = { 1 };          \
        for (int t = 0; t < 8; t++)                                       \
            config[16 + 2 * t] = 64, config[48 + t] = 16;                 \
        _tile_loadconfig(config);                                         \
        _tile_zero(0); _tile_zero(1); _tile_zero(2); _tile_zero(3);       \
        _tile_zero(4); _tile_zero(5); _tile_zero(6); _tile_zero(7);       \
        for (int s = 0; s < STEPS / 10; s++) {                            \
            multiply(0, 4, 6); multiply(1, 4, 7);                         \
            multiply(2, 5, 6); multiply(3, 5, 7);                         \
        }                                                                 \
        _tile_release();                                                  \
        return (double)(STEPS / 10) * 4 * (ops);                          \
    }
AMX(bf16_amx, TARGET("amx-tile,amx-bf16"), 16384, _tile_dpbf16ps)
AMX(int8_amx, TARGET("amx-tile,amx-int8"), 32768, _tile_dpbssd)
#endif

/* ---- measuring ---- */

typedef struct race {
    lmf_team *team;
    slice_fn  fn;
    slice_in *in;      /* [workers] */
    double   *amount;  /* [workers * PAD] */
    double    seconds; /* to go on for */
    double    best;    /* amount a second, of all workers together */
    bool      stop;
} race;

static void run_worker(void *arg, int i, int n)
{
    race *r = arg;
    for (double begin = now(), start = 0; !r->stop;) {
        lmf_team_barrier(r->team);
        if (i == 0)
            start = now();
        r->amount[i * PAD] = r->fn(&r->in[i]);
        lmf_team_barrier(r->team);
        if (i == 0) {
            double t = now(), sum = 0;
            for (int w = 0; w < n; w++)
                sum += r->amount[w * PAD];
            if (sum / (t - start) > r->best)
                r->best = sum / (t - start);
            r->stop = t - begin > r->seconds;
        }
        lmf_team_barrier(r->team);
    }
}

typedef struct machine {
    lmf_ctx  *ctx;
    lmf_team *team[2]; /* one worker, all workers */
    int       n_workers;
    double    seconds, *amount;
    slice_in *in;
    char     *bytes;
    size_t    each;    /* bytes a worker at most */
} machine;

static double measure(machine *m, int all, slice_fn fn)
{
    race r = { .team = m->team[all], .fn = fn, .in = m->in, .amount = m->amount, .seconds = m->seconds };
    lmf_team_run(r.team, run_worker, &r);
    return r.best;
}

typedef struct peak { const char *name, *unit; uint64_t needs; slice_fn fn; } peak;
static const peak peaks[] = {
#ifdef __x86_64__
    { "f32 avx512", "f32", LMF_CPU_AVX512, f32_avx512 },
    { "f32 avx2 fma", "f32", LMF_CPU_AVX2, f32_avx2 },
    { "int8 amx", "int8", LMF_CPU_AMX_INT8, int8_amx },
    { "int8 avx512 vnni", "int8", LMF_CPU_AVX512_VNNI, int8_avx512_vnni },
    { "int8 avx512 maddubs", "int8", LMF_CPU_AVX512, int8_avx512 },
    { "int8 avx-vnni", "int8", LMF_CPU_AVXVNNI, int8_avxvnni },
    { "int8 avx2 maddubs", "int8", LMF_CPU_AVX2, int8_avx2 },
    { "bf16 amx", "bf16", LMF_CPU_AMX_BF16, bf16_amx },
    { "bf16 avx512", "bf16", LMF_CPU_AVX512_BF16, bf16_avx512 },
#endif
    { "f32 16-byte vectors", "f32", 0, f32_plain },
};
enum { N_PEAKS = sizeof peaks / sizeof *peaks };

/* Private caches are what the system says; how much of the last one a core may use, it does not say. */
static const char *level_of(const machine *m, size_t bytes)
{
    long l1 = sysconf(_SC_LEVEL1_DCACHE_SIZE), l2 = sysconf(_SC_LEVEL2_CACHE_SIZE);
    return bytes * 4 > m->each ? "memory" : l1 > 0 && bytes <= (size_t)l1 ? "L1" : l2 > 0 && bytes <= (size_t)l2 ? "L2" : "";
}

static void point_reads(machine *m, size_t size)
{
    for (int w = 0; w < m->n_workers; w++)
        m->in[w] = (slice_in){ m->bytes + (size_t)w * m->each, size, size < ((size_t)4 << 20) ? ((size_t)4 << 20) / size : 1 };
}

static double best_read(machine *m, int all)
{
    slice_fn fns[4] = { read_plain };
    int n = 1;
    double best = 0;
#ifdef __x86_64__
    if (m->ctx->cpu_features & LMF_CPU_AVX2)
        fns[0] = read_avx2, fns[1] = read_avx2_ahead, n = 2;
    if (m->ctx->cpu_features & LMF_CPU_AVX512)
        fns[n++] = read_avx512, fns[n++] = read_avx512_ahead;
#endif
    for (int i = 0; i < n; i++) {
        double rate = measure(m, all, fns[i]);
        best = rate > best ? rate : best;
    }
    return best;
}

static json_t *reads(machine *m)
{
    json_t *list = json_array();
    for (size_t size = (size_t)16 << 10; size <= m->each; size *= 4) {
        point_reads(m, size);
        double one = best_read(m, 0), all = m->n_workers > 1 ? best_read(m, 1) : one;
        json_array_append_new(list, json_pack("{s:I, s:s, s:f, s:f}", "bytes", (json_int_t)size, "level", level_of(m, size), "one_gb_per_s", one * 1e-9,
                                              "all_gb_per_s", all * 1e-9));
    }
    return list;
}

/* The rows, and into best the fastest of each kind: {"f32": {"one_gops", "all_gops"}, ...}. */
static json_t *registers(machine *m, json_t *best)
{
    json_t *list = json_array();
    for (int i = 0; i < N_PEAKS; i++) {
        if (peaks[i].needs & ~m->ctx->cpu_features)
            continue;
        double one = measure(m, 0, peaks[i].fn), all = m->n_workers > 1 ? measure(m, 1, peaks[i].fn) : one;
        json_array_append_new(list, json_pack("{s:s, s:f, s:f}", "name", peaks[i].name, "one_gops", one * 1e-9, "all_gops", all * 1e-9));
        if (all * 1e-9 > json_number_value(json_object_get(json_object_get(best, peaks[i].unit), "all_gops")))
            json_object_set_new(best, peaks[i].unit, json_pack("{s:f, s:f}", "one_gops", one * 1e-9, "all_gops", all * 1e-9));
    }
    return list;
}

static void print_table(const json_t *report)
{
    size_t i;
    json_t *row;
    printf("%s, %lld workers\n\n%-22s %-8s %14s %14s\n", json_string_value(json_object_get(report, "cpu")),
           (long long)json_integer_value(json_object_get(report, "workers")), "read, bytes a worker", "", "one GB/s", "all GB/s");
    json_array_foreach(json_object_get(report, "read"), i, row)
        printf("%22lld %-8s %14.1f %14.1f\n", (long long)json_integer_value(json_object_get(row, "bytes")),
               json_string_value(json_object_get(row, "level")), json_number_value(json_object_get(row, "one_gb_per_s")),
               json_number_value(json_object_get(row, "all_gb_per_s")));
    printf("\n%-31s %14s %14s\n", "multiply-adds in registers", "one Gop/s", "all Gop/s");
    json_array_foreach(json_object_get(report, "registers"), i, row)
        printf("%-31s %14.1f %14.1f\n", json_string_value(json_object_get(row, "name")), json_number_value(json_object_get(row, "one_gops")),
               json_number_value(json_object_get(row, "all_gops")));
}

static lmf_status measure_all(machine *m, bool as_json)
{
    char model[256];
    uint64_t share = lmf_memory_limit() / 4 / (uint64_t)m->n_workers;
    for (m->each = (size_t)256 << 20; m->each > share && m->each > ((size_t)1 << 20);)
        m->each /= 4;
    size_t total = m->each * (size_t)m->n_workers + 8192; /* what is asked for ahead stays inside */
    m->bytes = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (m->bytes == MAP_FAILED)
        return LMF_NO_MEMORY(m->ctx, total, "what is read");
    madvise(m->bytes, total, MADV_HUGEPAGE);
    memset(m->bytes, 1, total);
    lmf_cpu_model(model, sizeof model);
    json_t *best = json_object(), *read = reads(m), *rows = registers(m, best);
    const json_t *last = json_array_get(read, json_array_size(read) - 1);
    json_t *report = json_pack("{s:s, s:i, s:f, s:f, s:O, s:o, s:o}", "cpu", model, "workers", m->n_workers, "memory_one_gb_per_s",
                               json_number_value(json_object_get(last, "one_gb_per_s")), "memory_all_gb_per_s",
                               json_number_value(json_object_get(last, "all_gb_per_s")), "best", best, "read", read, "registers", rows);
    if (as_json)
        json_dumpf(report, stdout, JSON_REAL_PRECISION(6) | JSON_COMPACT), putchar('\n');
    else
        print_table(report);
    json_decref(report);
    json_decref(best);
    munmap(m->bytes, total);
    return LMF_OK;
}

int main(int argc, char **argv)
{
    lmf_ctx ctx;
    machine m = { .ctx = &ctx, .seconds = 0.15 };
    bool as_json = false;
    lmf_ctx_init(&ctx, NULL);
    m.n_workers = ctx.n_workers;
    for (int i = 1; i < argc; i++)
        if (!strcmp(argv[i], "--json"))
            as_json = true;
        else if (!strcmp(argv[i], "--workers") && i + 1 < argc)
            m.n_workers = atoi(argv[++i]);
        else if (!strcmp(argv[i], "--seconds") && i + 1 < argc)
            m.seconds = atof(argv[++i]);
        else
            m.n_workers = 0;
    if (m.n_workers < 1 || m.n_workers > 256 || !(m.seconds > 0 && m.seconds < 60))
        return fprintf(stderr, "usage: bench_limits [--json] [--workers 1..256] [--seconds X]\n"), 2;
    m.amount = calloc((size_t)m.n_workers * PAD, sizeof *m.amount);
    m.in = calloc((size_t)m.n_workers, sizeof *m.in);
    lmf_status s = m.amount && m.in ? LMF_OK : LMF_NO_MEMORY(&ctx, 0, "workers");
    if (!s)
        s = lmf_team_create(&ctx, 1, &m.team[0]);
    if (!s)
        s = lmf_team_create(&ctx, m.n_workers, &m.team[1]);
    if (!s)
        s = measure_all(&m, as_json);
    if (s)
        fprintf(stderr, "bench_limits: %s\n", lmf_error(&ctx));
    lmf_team_destroy(m.team[0]);
    lmf_team_destroy(m.team[1]);
    free(m.amount), free(m.in);
    lmf_ctx_clear(&ctx);
    return s != LMF_OK;
}
