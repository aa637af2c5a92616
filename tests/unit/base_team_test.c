/* SPDX-License-Identifier: Apache-2.0 */
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/cpu.h"
#include "base/team.h"
#include "test.h"

static const int counts[] = { 1, 2, 3, 7 };
enum { N_ROUNDS = 1500 };

typedef struct shared { lmf_team *team; int slot[8]; atomic_int n_wrong, n_seen[8], n_runs; int n_workers; } shared;

/* Each round every worker writes its slot, then reads all: plain ints, so a barrier that lets one pass is seen (and is a
 * race for TSan). */
static void rounds(void *arg, int i, int n)
{
    shared *s = arg;
    atomic_fetch_add(&s->n_seen[i], 1);
    if (n != s->n_workers)
        atomic_fetch_add(&s->n_wrong, 1);
    for (int r = 1; r <= N_ROUNDS; r++) {
        s->slot[i] = r;
        lmf_team_barrier(s->team);
        for (int k = 0; k < n; k++)
            if (s->slot[k] != r)
                atomic_fetch_add(&s->n_wrong, 1);
        lmf_team_barrier(s->team);
    }
}

static void barriers_hold(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    for (size_t c = 0; c < sizeof counts / sizeof *counts; c++) {
        shared s = { .n_workers = counts[c] };
        assert_ok(ctx, lmf_team_create(ctx, counts[c], &s.team));
        assert_int_equal(lmf_team_size(s.team), counts[c]);
        lmf_team_run(s.team, rounds, &s);
        assert_int_equal(atomic_load(&s.n_wrong), 0);
        for (int i = 0; i < 8; i++) {
            assert_int_equal(atomic_load(&s.n_seen[i]), i < counts[c] ? 1 : 0);
            assert_int_equal(s.slot[i], i < counts[c] ? N_ROUNDS : 0);
        }
        lmf_team_destroy(s.team);
    }
    lmf_test_ctx_done(ctx);
}

static void count(void *arg, int i, int n)
{
    shared *s = arg;
    (void)n;
    s->slot[i]++;
    atomic_fetch_add(&s->n_runs, 1);
}

static void runs_follow_each_other(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_team *other;
    shared s = { 0 };
    assert_ok(ctx, lmf_team_create(ctx, 3, &s.team));
    assert_ok(ctx, lmf_team_create(ctx, 2, &other)); /* two teams side by side */
    for (int r = 1; r <= 200; r++) {
        lmf_team_run(s.team, count, &s);
        assert_int_equal(atomic_load(&s.n_runs), 5 * r - 2); /* all three are back */
        lmf_team_run(other, count, &s);
        assert_int_equal(atomic_load(&s.n_runs), 5 * r);
        assert_int_equal(s.slot[2], r);
    }
    lmf_team_destroy(s.team);
    lmf_team_destroy(other);
    lmf_team_destroy(NULL);
    lmf_test_ctx_done(ctx);
}

enum { N_STEPS = 400, MAX_PARTS = 7 };
typedef struct climb { int done[N_STEPS][MAX_PARTS], sum[MAX_PARTS], n_parts; atomic_int n_wrong, n_helped, n_lame; pthread_t caller; bool lame; } climb;

/* A part sees all of the step before it (plain ints: a step that begins too early is a race for TSan) and is done once. */
static void climb_part(void *arg, int step, int part, int n)
{
    climb *c = arg;
    int before = 0;
    for (int k = 0; step && k < n; k++)
        before += c->done[step - 1][k];
    if (n != c->n_parts || (step && before != n) || c->done[step][part]++)
        atomic_fetch_add(&c->n_wrong, 1);
    c->sum[part] += step;
    if (!c->lame)
        return;
    if (pthread_equal(c->caller, pthread_self())) {
        atomic_fetch_add(&c->n_helped, part == 1);
        if (!atomic_load(&c->n_lame)) /* lets the helper in, once */
            nanosleep(&(struct timespec){ .tv_nsec = 1000000 }, NULL);
    }
    else if (sched_setscheduler(0, SCHED_IDLE, &(struct sched_param){ 0 }) == 0)
        atomic_fetch_add(&c->n_lame, 1);
}

static void steps_follow_each_other(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    static climb c;
    for (size_t k = 0; k < sizeof counts / sizeof *counts; k++)
        for (int round = 0; round < 40; round++) {
            lmf_team *team;
            int n_steps = round % 3 == 2 ? 1 : N_STEPS / (1 + round);
            if (round % 20 == 0)
                assert_ok(ctx, lmf_team_create(ctx, counts[k], &team));
            memset(&c, 0, sizeof c);
            c.n_parts = counts[k];
            lmf_team_run_steps(team, n_steps, climb_part, &c, round % 4 == 3);
            assert_int_equal(atomic_load(&c.n_wrong), 0);
            for (int i = 0; i < counts[k]; i++)
                assert_int_equal(c.sum[i], n_steps * (n_steps - 1) / 2);
            if (round % 20 == 19)
                lmf_team_destroy(team);
        }
    lmf_test_ctx_done(ctx);
}

/* A worker without a processor is not waited for: bound to the caller's and idle by policy, it hardly runs while the caller does. */
static void others_go_on(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_team *team;
    static climb c;
    cpu_set_t before, one;
    memset(&c, 0, sizeof c);
    c.n_parts = 2, c.caller = pthread_self(), c.lame = true;
    assert_int_equal(sched_getaffinity(0, sizeof before, &before), 0);
    CPU_ZERO(&one);
    for (int i = 0; i < CPU_SETSIZE && CPU_COUNT(&one) == 0; i++)
        if (CPU_ISSET(i, &before))
            CPU_SET(i, &one);
    assert_int_equal(sched_setaffinity(0, sizeof one, &one), 0); /* threads made from here on inherit it */
    assert_ok(ctx, lmf_team_create(ctx, 2, &team));
    for (int i = 0; i < 2000 && !atomic_load(&c.n_lame); i++) { /* until the helper has come once */
        memset(c.done, 0, sizeof c.done);
        lmf_team_run_steps(team, 2, climb_part, &c, false);
    }
    atomic_store(&c.n_helped, 0);
    memset(c.done, 0, sizeof c.done);
    lmf_team_run_steps(team, N_STEPS, climb_part, &c, false);
    assert_int_equal(sched_setaffinity(0, sizeof before, &before), 0);
    assert_int_equal(atomic_load(&c.n_wrong), 0);
    assert_true(atomic_load(&c.n_lame) > 0);
    assert_true(atomic_load(&c.n_helped) > N_STEPS / 8); /* parts of the helper that the caller did: most, unless it lost the processor itself */
    lmf_team_destroy(team);
    lmf_test_ctx_done(ctx);
}

static void sizes_are_bounded(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_team *t = (lmf_team *)ctx;
    const int bad[] = { 0, -1, 257, 1 << 30 };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_refused(ctx, LMF_E_ARG, "1 to 256 workers", lmf_team_create(ctx, bad[i], &t));
        assert_null(t);
    }
    assert_true(strcmp(lmf_team_kind(), "openmp") == 0 || strcmp(lmf_team_kind(), "pthread") == 0);
    lmf_test_ctx_done(ctx);
}

static lmf_status make_team(lmf_ctx *ctx, void *arg)
{
    lmf_team *t;
    (void)arg;
    LMF_TRY(lmf_team_create(ctx, 3, &t));
    lmf_team_destroy(t);
    return LMF_OK;
}

static void team_out_of_memory(void **state)
{
    (void)state;
    assert_in_range(lmf_test_fail_each_call(make_team, NULL), 1, 10);
}

static void split_covers_all(void **state)
{
    (void)state;
    for (int64_t n = 0; n < 70; n++)
        for (int64_t grain = 1; grain < 20; grain += 3)
            for (int w = 1; w < 9; w++) {
                int64_t at = 0, begin, end, least = INT64_MAX, most = 0;
                for (int i = 0; i < w; i++) {
                    lmf_split(n, grain, i, w, &begin, &end);
                    assert_int_equal(begin, at);
                    assert_true(end >= begin && end <= n && (begin % grain == 0 || begin == n));
                    int64_t units = (end - begin + grain - 1) / grain;
                    least = units < least ? units : least, most = units > most ? units : most;
                    at = end;
                }
                assert_int_equal(at, n);
                assert_true(most - least <= 1);
            }
}

/* ---- cpu ---- */
static void level_names(void **state)
{
    (void)state;
    uint64_t scalar = 1, avx2, avx512, native, x = 77;
    assert_true(lmf_cpu_level("scalar", &scalar) && lmf_cpu_level("avx2", &avx2) && lmf_cpu_level("avx512", &avx512) && lmf_cpu_level("native", &native));
    assert_int_equal(scalar, 0);
    assert_true(avx2 & LMF_CPU_AVX2);
    assert_false(avx2 & (LMF_CPU_AVX512 | LMF_CPU_AMX_BF16));
    assert_true((avx512 & LMF_CPU_AVX512) && (avx512 & avx2) == avx2 && !(avx512 & LMF_CPU_AMX_INT8));
    assert_true(native == UINT64_MAX);
    const char *bad[] = { "", "AVX2", "avx", "sse", "avx2 " };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(lmf_cpu_level(bad[i], &x));
    assert_int_equal(x, 77);
    for (int i = 0; i < LMF_CPU_N_FEATURES; i++) {
        assert_non_null(lmf_cpu_feature_name(i));
        for (int k = 0; k < i; k++)
            assert_string_not_equal(lmf_cpu_feature_name(i), lmf_cpu_feature_name(k));
    }
    assert_null(lmf_cpu_feature_name(LMF_CPU_N_FEATURES));
    assert_null(lmf_cpu_feature_name(-1));
}

static bool proc_flag(const char *flags, const char *name)
{
    char word[40];
    snprintf(word, sizeof word, " %s ", name);
    return strstr(flags, word) != NULL;
}

/* The kernel's list of flags is the other opinion. */
static void features_agree_with_the_kernel(void **state)
{
    (void)state;
    char line[8192], flags[8200] = "";
    FILE *f = fopen("/proc/cpuinfo", "r");
    assert_non_null(f);
    while (!flags[0] && fgets(line, sizeof line, f))
        if (strncmp(line, "flags", 5) == 0) {
            line[strcspn(line, "\n")] = 0;
            snprintf(flags, sizeof flags, "%s ", line);
        }
    fclose(f);
#if !defined(__x86_64__)
    flags[0] = 0; /* under an emulator the file is of the machine below */
#endif
    if (!flags[0])
        skip(); /* not x86 */
    uint64_t have = lmf_cpu_features();
    bool avx2 = proc_flag(flags, "avx2") && proc_flag(flags, "fma") && proc_flag(flags, "f16c") && proc_flag(flags, "bmi2");
    bool avx512 = avx2 && proc_flag(flags, "avx512f") && proc_flag(flags, "avx512bw") && proc_flag(flags, "avx512dq") && proc_flag(flags, "avx512vl");
    assert_int_equal(!!(have & LMF_CPU_AVX2), avx2);
    assert_int_equal(!!(have & LMF_CPU_AVX512), avx512);
    assert_int_equal(!!(have & LMF_CPU_AVX512_VNNI), avx512 && proc_flag(flags, "avx512_vnni"));
    assert_int_equal(!!(have & LMF_CPU_AVX512_BF16), avx512 && proc_flag(flags, "avx512_bf16"));
    assert_int_equal(!!(have & LMF_CPU_AVXVNNI), avx2 && proc_flag(flags, "avx_vnni"));
    assert_true(!(have & LMF_CPU_AMX_BF16) || proc_flag(flags, "amx_bf16"));
    assert_true(have >> LMF_CPU_N_FEATURES == 0 && have == lmf_cpu_features());
}

static void machine_sizes(void **state)
{
    (void)state;
    char model[64], small[5];
    unsigned long long kib = 0;
    FILE *f = fopen("/proc/meminfo", "r");
    assert_non_null(f);
    assert_int_equal(fscanf(f, "MemTotal: %llu", &kib), 1);
    fclose(f);
    assert_in_range(lmf_cpu_workers(), 1, 256);
    assert_true(lmf_memory_limit() > 16 << 20 && lmf_memory_limit() <= kib * 1024 + 4096);
    lmf_cpu_model(model, sizeof model);
    assert_true(strlen(model) > 0 && !strchr(model, '\n'));
    lmf_cpu_model(small, sizeof small);
    assert_true(strlen(small) < sizeof small);
}

LMF_TESTS(base_team) = {
    { "barriers hold", barriers_hold }, { "runs follow each other", runs_follow_each_other }, { "sizes are bounded", sizes_are_bounded },
    { "steps follow each other", steps_follow_each_other }, { "a worker without a processor is not waited for", others_go_on },
    { "team out of memory", team_out_of_memory }, { "split covers all", split_covers_all }, { "level names", level_names },
    { "features agree with the kernel", features_agree_with_the_kernel }, { "machine sizes", machine_sizes }, { 0 }
};
