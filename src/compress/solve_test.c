/* SPDX-License-Identifier: Apache-2.0 */
#include "compress/solve.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/cpu.h"
#include "base/half.h"
#include "base/philox.h"
#include "test.h"

enum { N = 40, K = 512 };

static float noise(uint32_t seed, uint64_t i)
{
    float s = 0;
    for (uint32_t j = 0; j < 4; j++)
        s += lmf_random_f32(seed, j, 0, i) - 0.5f;
    return s * 1.7f;
}

/* What set and put make is what unpack reads: scale * level + offset, for every code, with the scales that set says it holds. */
static void grids(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    int n_grids = 0;
    for (const lmf_format *const *p = ctx->tables->formats; *p; p++) {
        const lmf_grid *g = (*p)->grid;
        if (!g)
            continue;
        n_grids++;
        assert_true((*p)->block % g->group == 0 && (*p)->block / g->group <= 16 && g->group % 16 == 0 && g->n_codes <= 256);
        for (uint32_t round = 0; round < 50; round++) {
            uint8_t block[512], code[256];
            float scale[16], offset[16], want[16], got[256];
            for (int i = 0; i < 16; i++) {
                scale[i] = want[i] = g->offset == LMF_OFFSET_BELOW ? fabsf(noise(1, round * 16 + i)) : noise(1, round * 16 + i);
                offset[i] = g->offset == LMF_OFFSET_BELOW ? -fabsf(noise(2, round * 16 + i)) : g->offset ? noise(2, round * 16 + i) : 0;
            }
            for (int e = 0; e < 256; e++)
                code[e] = (uint8_t)(lmf_random_u32(3, round, 0, (uint64_t)e) % g->n_codes);
            g->set(block, scale, offset);
            g->put(block, code);
            (*p)->unpack(block, got, (*p)->block);
            for (int e = 0; e < (*p)->block; e++) {
                int i = e / g->group;
                float level = g->level ? g->level[code[e]] : (float)(g->lowest + code[e]), y = scale[i] * level + offset[i];
                if (!(fabsf(got[e] - y) <= 1e-6f * (fabsf(scale[i] * level) + fabsf(offset[i]))))
                    fail_msg("%s: element %d is %g, its code %d says %g", (*p)->name, e, (double)got[e], code[e], (double)y);
            }
            for (int i = 0; i < (*p)->block / g->group; i++) /* as near as 4 bits of a scale can be */
                assert_true(fabsf(scale[i] - want[i]) < 0.2f);
        }
    }
    assert_true(n_grids >= 7);
    lmf_test_ctx_done(ctx);
}

typedef struct problem { float *w, *x, *h, *damped, *l, *importance; int32_t *order; } problem;

/* Inputs of which neighbours are alike, so that errors can make up for each other; columns of unlike size. */
static problem make_problem(lmf_ctx *ctx)
{
    problem p = { malloc(sizeof(float) * N * K), malloc(sizeof(float) * 2 * K * K), calloc(K * K, sizeof(float)),
                  calloc(K * K, sizeof(float)), calloc(K * K, sizeof(float)), malloc(sizeof(float) * K), malloc(sizeof(int32_t) * K) };
    assert_true(p.w && p.x && p.h && p.damped && p.l && p.importance && p.order);
    for (int i = 0; i < N * K; i++)
        p.w[i] = 0.05f * noise(11, (uint64_t)i);
    for (int t = 0; t < 2 * K; t++)
        for (int j = 0; j < K; j++)
            p.x[t * K + j] = (noise(12, (uint64_t)(t * K + j)) + 2 * noise(13, (uint64_t)(t * K + j / 8))) * (j % 7 ? 1 : 4);
    for (int t = 0; t < 2 * K; t++)
        for (int i = 0; i < K; i++)
            for (int j = 0; j < K; j++)
                p.h[i * K + j] += p.x[t * K + i] * p.x[t * K + j];
    double mean = 0;
    for (int i = 0; i < K; i++)
        mean += (double)p.h[i * K + i] / K;
    memcpy(p.damped, p.h, sizeof(float) * K * K);
    for (int i = 0; i < K; i++) {
        p.damped[i * K + i] += (float)(0.01 * mean);
        p.importance[i] = p.damped[i * K + i];
        p.order[i] = i;
    }
    for (int i = 1; i < K; i++) /* by rising importance */
        for (int k = i; k > 0 && p.importance[p.order[k]] < p.importance[p.order[k - 1]]; k--) {
            int32_t t = p.order[k];
            p.order[k] = p.order[k - 1], p.order[k - 1] = t;
        }
    for (int i = 0; i < K; i++)
        for (int j = 0; j <= i; j++)
            p.l[i * K + j] = p.damped[p.order[i] * K + p.order[j]];
    (void)ctx;
    return p;
}

static void free_problem(problem *p)
{
    free(p->w), free(p->x), free(p->h), free(p->damped), free(p->l), free(p->importance), free(p->order);
}

static void run_factor(void *arg, int i, int n) { lmf__solve_pick(lmf_cpu_features()).factor(arg, i, n); }
static void run_rows(void *arg, int i, int n) { lmf__solve_pick(lmf_cpu_features()).rows(arg, i, n); }

static float *room_of(int n_workers)
{
    float *room = aligned_alloc(64, (size_t)n_workers * (size_t)lmf__solve_pick(lmf_cpu_features()).floats(K) * sizeof(float));
    assert_non_null(room);
    return room;
}

static void factor(lmf_ctx *ctx, problem *p, int n_workers)
{
    lmf_team *team;
    assert_ok(ctx, lmf_team_create(ctx, n_workers, &team));
    float *room = room_of(n_workers);
    lmf__factor f = { .a = p->l, .k = K, .f32 = lmf_format_get(ctx, LMF_F32), .room = room, .team = team, .ok = true };
    lmf_team_run(team, run_factor, &f);
    assert_true(f.ok);
    free(room);
    lmf_team_destroy(team);
}

/* l d l^T is h again, with d the squares of the diagonal; the same bits for any number of workers; what has no root is refused. */
static void factors(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    problem p = make_problem(ctx);
    float *a = malloc(sizeof(float) * K * K), *one = malloc(sizeof(float) * K * K);
    assert_true(a && one);
    memcpy(a, p.l, sizeof(float) * K * K);
    factor(ctx, &p, 1);
    memcpy(one, p.l, sizeof(float) * K * K);
    for (int i = 0; i < K; i += 37)
        for (int j = 0; j <= i; j++) {
            double sum = 0;
            for (int t = 0; t <= j; t++) {
                double d = (double)one[t * K + t];
                sum += (t < i ? (double)one[i * K + t] : 1) * d * d * (t < j ? (double)one[j * K + t] : 1);
            }
            assert_true(fabs(sum - (double)a[i * K + j]) < 1e-4 * (double)a[(K - 1) * K + K - 1]);
        }
    memcpy(p.l, a, sizeof(float) * K * K);
    factor(ctx, &p, 3);
    for (int i = 0; i < K; i++)
        assert_memory_equal(p.l + i * K, one + i * K, sizeof(float) * (size_t)(i + 1));
    lmf_team *team;
    assert_ok(ctx, lmf_team_create(ctx, 2, &team));
    float *room = room_of(2);
    memcpy(p.l, a, sizeof(float) * K * K);
    p.l[200 * K + 200] = -1;
    lmf__factor f = { .a = p.l, .k = K, .f32 = lmf_format_get(ctx, LMF_F32), .room = room, .team = team, .ok = true };
    lmf_team_run(team, run_factor, &f);
    assert_false(f.ok);
    lmf_team_destroy(team);
    free(room), free(a), free(one);
    free_problem(&p);
    lmf_test_ctx_done(ctx);
}

/* Squared error of the output X (w - q), summed over rows and tokens. */
static double loss_of(const problem *p, const lmf_format *f, const uint8_t *packed)
{
    double sum = 0;
    float q[K], e[K];
    for (int r = 0; r < N; r++) {
        f->unpack(packed + (size_t)r * lmf_format_bytes(f, K), q, K);
        for (int j = 0; j < K; j++)
            e[j] = p->w[r * K + j] - q[j];
        for (int i = 0; i < K; i++) {
            float he = 0;
            for (int j = 0; j < K; j++)
                he += p->h[i * K + j] * e[j];
            sum += (double)e[i] * (double)he;
        }
    }
    return sum;
}

static double solved(lmf_ctx *ctx, const problem *p, const lmf_format *f, bool gptq, int n_workers, uint8_t *packed, double sums[4])
{
    lmf_team *team;
    double all[4 * 4] = { 0 };
    const lmf_format *f32 = lmf_format_get(ctx, LMF_F32);
    assert_ok(ctx, lmf_team_create(ctx, n_workers, &team));
    float *room = room_of(n_workers);
    lmf__solve s = { .src = p->w, .src_fmt = f32, .dst = packed, .dst_fmt = f, .n = N, .k = K, .importance = p->importance,
                     .h = gptq ? p->damped : NULL, .l = gptq ? p->l : NULL, .order = p->order, .f32 = f32, .room = room, .sums = all };
    lmf_team_run(team, run_rows, &s);
    for (int i = 0; i < 4; i++)
        sums[i] = all[i] + all[4 + i] + all[8 + i];
    free(room);
    lmf_team_destroy(team);
    return loss_of(p, f, packed);
}

/* Of each format: scales that know the columns' weight lose less than the plain rule, and compensation much less again; the sums that are
 * told are those of what was written; any number of workers writes the same bytes. */
static void methods_in_order(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    problem p = make_problem(ctx);
    factor(ctx, &p, 2);
    for (const lmf_format *const *f = ctx->tables->formats; *f; f++) {
        if (!(*f)->grid)
            continue;
        size_t bytes = lmf_format_bytes(*f, N * K);
        uint8_t *packed = malloc(bytes), *again = malloc(bytes);
        double sums[4], error = 0;
        float q[K];
        assert_true(packed && again);
        (*f)->pack(p.w, packed, N * K);
        double plain = loss_of(&p, *f, packed), weighted = solved(ctx, &p, *f, false, 1, packed, sums);
        double best = solved(ctx, &p, *f, true, 1, packed, sums);
        if (!(weighted < 1.02 * plain && best < 0.6 * weighted))
            fail_msg("%s: loss %g by the plain rule, %g weighted, %g compensated", (*f)->name, plain, weighted, best);
        for (int r = 0; r < N; r++) {
            (*f)->unpack(packed + (size_t)r * lmf_format_bytes(*f, K), q, K);
            for (int j = 0; j < K; j++)
                error += ((double)p.w[r * K + j] - (double)q[j]) * ((double)p.w[r * K + j] - (double)q[j]);
        }
        assert_true(fabs(error - sums[0]) < 1e-3 * error && sums[2] > best && sums[2] < 1.5 * best); /* damping counts, too */
        solved(ctx, &p, *f, true, 3, again, sums);
        assert_memory_equal(packed, again, bytes);
        free(packed), free(again);
    }
    free_problem(&p);
    lmf_test_ctx_done(ctx);
}

/* Where few columns count, the scales are theirs: what is kept is chosen by the weighted error. */
static void few_columns_count(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    problem p = make_problem(ctx);
    for (const lmf_format *const *f = ctx->tables->formats; *f; f++) {
        if (!(*f)->grid)
            continue;
        uint8_t *packed = malloc(lmf_format_bytes(*f, N * K));
        double sums[4], error[2];
        assert_non_null(packed);
        for (int even = 0; even < 2; even++) {
            for (int j = 0; j < K; j++)
                p.importance[j] = even || j % 8 ? 1 : 1000;
            solved(ctx, &p, *f, false, 1, packed, sums);
            float q[K];
            error[even] = 0;
            for (int r = 0; r < N; r++) {
                (*f)->unpack(packed + (size_t)r * lmf_format_bytes(*f, K), q, K);
                for (int j = 0; j < K; j += 8)
                    error[even] += ((double)p.w[r * K + j] - (double)q[j]) * ((double)p.w[r * K + j] - (double)q[j]);
            }
        }
        if (!(error[0] < 0.65 * error[1]))
            fail_msg("%s: those that count are off by %g, where all count alike by %g", (*f)->name, error[0], error[1]);
        free(packed);
    }
    free_problem(&p);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(solve) = { { "few columns count", few_columns_count }, { "grids", grids },
    { "factors", factors }, { "methods in order", methods_in_order }, { 0 } };
