/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: CHUNK rows go together, so that a row of h or l is read once for all of them; what a row becomes hangs on that row alone. */
#include "compress/solve.h"
#include "device/cpu/gemm.h"
#include "quant/block.h"

enum { CHUNK = 16, PANEL = 64, MOST_GROUP = 32, MOST_BLOCK = 256, MOST_CODES = 16, N_TRIES = 21, N_ROUNDS = 3 };

/* ---- the levels of a format ---- */
typedef struct levels {
    float lo, hi;
    int   n_table;                                         /* 0: each step is 1 */
    float value[MOST_CODES], middle[MOST_CODES];           /* middle[i]: between value[i] and value[i + 1] */
} levels;

static levels levels_of(const lmf_grid *g)
{
    levels l = { .lo = (float)g->lowest, .hi = (float)(g->lowest + g->n_codes - 1) };
    for (int i = 0; g->level && i < g->n_codes; i++)
        l.value[i] = (float)g->level[i];
    l.n_table = g->level ? g->n_codes : 0;
    for (int i = 0; i + 1 < l.n_table; i++)
        l.middle[i] = (l.value[i] + l.value[i + 1]) / 2;
    if (g->level)
        l.lo = l.value[0], l.hi = l.value[l.n_table - 1];
    return l;
}

/* The nearest level to v, NaN to the lowest. */
static inline lmf_vf nearest(const levels *l, lmf_vf v)
{
    lmf_vf lo = lmf_vf_set1(l->lo), hi = lmf_vf_set1(l->hi), magic = lmf_vf_set1(12582912.0f);
    if (!l->n_table) {
        v = lmf_vf_select(v > lo, lmf_vf_select(v < hi, v, hi), lo);
        return (v + magic) - magic;
    }
    lmf_vf y = lo;
    for (int i = 0; i + 1 < l->n_table; i++)
        y = lmf_vf_select(v > lmf_vf_set1(l->middle[i]), lmf_vf_set1(l->value[i + 1]), y);
    return y;
}

static inline float nearest1(const levels *l, float v)
{
    if (!l->n_table) {
        v = v > l->lo ? v < l->hi ? v : l->hi : l->lo;
        return (v + 12582912.0f) - 12582912.0f;
    }
    float y = l->lo;
    for (int i = 0; i + 1 < l->n_table; i++)
        y = v > l->middle[i] ? l->value[i + 1] : y;
    return y;
}

static inline uint8_t code_of(const levels *l, float level)
{
    int i = 0;
    if (!l->n_table)
        return (uint8_t)(int)(level - l->lo);
    while (l->value[i] < level)
        i++;
    return (uint8_t)i;
}

/* ---- scales of a group: the least sum of w (x - scale level - offset)^2 that a search finds ---- */
typedef struct fit { float scale, offset; } fit;

static float error_of(const levels *l, const float *x, const float *w, int n, fit f)
{
    lmf_vf sum = { 0 }, inv = lmf_vf_set1(f.scale != 0 ? 1 / f.scale : 0), m = lmf_vf_set1(f.offset), d = lmf_vf_set1(f.scale);
    for (int e = 0; e < n; e += LMF_VF) {
        lmf_vf v = lmf_vf_load(x + e), r = v - m - d * nearest(l, (v - m) * inv);
        sum += lmf_vf_load(w + e) * r * r;
    }
    return lmf_vf_sum(sum);
}

/* Levels by f, then the scale and offset that suit those best. */
static bool refit(const levels *l, const float *x, const float *w, int n, int offset, fit *f)
{
    lmf_vf sw = { 0 }, sx = { 0 }, sl = { 0 }, sll = { 0 }, sxl = { 0 };
    lmf_vf inv = lmf_vf_set1(f->scale != 0 ? 1 / f->scale : 0), m = lmf_vf_set1(f->offset);
    for (int e = 0; e < n; e += LMF_VF) {
        lmf_vf v = lmf_vf_load(x + e), we = lmf_vf_load(w + e), y = nearest(l, (v - m) * inv);
        sw += we, sx += we * v, sl += we * y, sll += we * y * y, sxl += we * v * y;
    }
    float w0 = lmf_vf_sum(sw), x0 = lmf_vf_sum(sx), l0 = lmf_vf_sum(sl), ll = lmf_vf_sum(sll), xl = lmf_vf_sum(sxl);
    if (!(ll > 0))
        return false;
    *f = (fit){ xl / ll, 0 };
    if (offset == LMF_OFFSET_NONE)
        return true;
    float det = w0 * ll - l0 * l0;
    if (!(det > 0))
        return false;
    fit both = { (w0 * xl - x0 * l0) / det, (ll * x0 - l0 * xl) / det };
    if (offset == LMF_OFFSET_ANY || both.offset <= 0)
        *f = both;
    return offset == LMF_OFFSET_ANY || f->scale >= 0;
}

static void try(const levels *l, const float *x, const float *w, int n, int offset, fit f, fit *best, float *least)
{
    for (int round = 0; round < 2; round++) {
        if (!refit(l, x, w, n, offset, &f))
            return;
        float error = error_of(l, x, w, n, f);
        if (!(error < *least))
            return;
        *least = error, *best = f;
    }
}

static fit fit_group(const levels *l, const float *x, const float *w, int n, int offset)
{
    float lo = x[0], hi = x[0];
    for (int e = 1; e < n; e++) {
        lo = x[e] < lo ? x[e] : lo;
        hi = x[e] > hi ? x[e] : hi;
    }
    if (offset == LMF_OFFSET_BELOW && lo > 0)
        lo = 0;
    fit best = { 0, 0 };
    float least = INFINITY, top = -lo > hi ? lo : hi;
    if (offset == LMF_OFFSET_NONE) {
        if (top == 0)
            return best;
        for (int t = 0; t < N_TRIES; t++) { /* the greatest at either end, or a bit beyond it or short of it */
            float reach = 0.1f * (float)(t - N_TRIES / 2);
            try(l, x, w, n, offset, (fit){ top / (l->lo - reach), 0 }, &best, &least);
            if (l->lo != -l->hi)
                try(l, x, w, n, offset, (fit){ top / (l->hi + reach), 0 }, &best, &least);
        }
        return best;
    }
    best.offset = offset == LMF_OFFSET_BELOW && lo > 0 ? 0 : lo;
    if (hi <= lo)
        return best;
    for (int t = 0; t < N_TRIES; t++) {
        float steps = l->hi - 1 + 0.1f * (float)t;
        try(l, x, w, n, offset, (fit){ (hi - lo) / steps, lo }, &best, &least);
        try(l, x, w, n, offset, (fit){ (hi - lo) / steps, lo + 0.5f * (hi - lo) * (1 - l->hi / steps) }, &best, &least);
    }
    return best;
}

/* ---- a chunk of rows ---- */
typedef struct chunk {
    const lmf__solve *s;
    const lmf_grid   *grid;
    levels   l;
    int64_t  k;
    int      n, per_block;      /* rows; groups of a block */
    float   *w, *q, *g, *acc;   /* [CHUNK, k]: weights, what they became, (w - q) h, weights with errors taken over */
    float   *level, *scale, *offset; /* [CHUNK, k], [CHUNK, k / group] */
    float   *gemm;
} chunk;

static void set_scales(chunk *c, int r, int64_t block, float *scale, float *offset)
{
    uint8_t bytes[512];
    (void)c, (void)r, (void)block;
    c->grid->set(bytes, scale, offset);
}

static void fit_row(chunk *c, int r)
{
    int64_t group = c->grid->group, n_groups = c->k / group;
    const float *x = c->w + r * c->k;
    float *scale = c->scale + r * n_groups, *offset = c->offset + r * n_groups;
    for (int64_t i = 0; i < n_groups; i++) {
        fit f = fit_group(&c->l, x + i * group, c->s->importance + i * group, (int)group, c->grid->offset);
        scale[i] = f.scale, offset[i] = f.offset;
    }
    for (int64_t i = 0; i < n_groups; i += c->per_block)
        set_scales(c, r, i, scale + i, offset + i);
}

static inline float choose(const chunk *c, int r, int64_t j, float v)
{
    int64_t i = r * (c->k / c->grid->group) + j / c->grid->group;
    float d = c->scale[i], m = c->offset[i];
    return nearest1(&c->l, d != 0 ? (v - m) / d : 0);
}
static inline float value_of(const chunk *c, int r, int64_t j, float level)
{
    int64_t i = r * (c->k / c->grid->group) + j / c->grid->group;
    return c->scale[i] * level + c->offset[i];
}

static void round_row(chunk *c, int r)
{
    for (int64_t j = 0; j < c->k; j++) {
        float y = choose(c, r, j, c->w[r * c->k + j]);
        c->level[r * c->k + j] = y;
        c->q[r * c->k + j] = value_of(c, r, j, y);
    }
}

/* One column after the other, the errors of those before taken over. */
static void compensate(chunk *c)
{
    const lmf__solve *s = c->s;
    for (int r = 0; r < c->n; r++)
        for (int64_t i = 0; i < c->k; i++)
            c->acc[r * c->k + i] = c->w[r * c->k + s->order[i]];
    for (int64_t i = c->k - 1; i >= 0; i--) {
        const float *l = s->l + i * c->k;
        int64_t j = s->order[i];
        for (int r = 0; r < c->n; r++) {
            float *acc = c->acc + r * c->k, y = choose(c, r, j, acc[i]), q = value_of(c, r, j, y), e = c->w[r * c->k + j] - q;
            c->level[r * c->k + j] = y;
            c->q[r * c->k + j] = q;
            for (int64_t t = 0; t < i; t++)
                acc[t] += e * l[t];
        }
    }
}

static void product(chunk *c)
{
    for (int64_t i = 0; i < c->n * c->k; i++)
        c->acc[i] = c->w[i] - c->q[i];
    lmf_gemm g = { .m = c->n, .n = c->k, .k = c->k, .a = { c->acc, c->s->f32, c->k, true }, .b = { c->s->h, c->s->f32, c->k, true },
                   .alpha = 1, .y = c->g, .y_stride = c->k };
    lmf_gemm_run(&g, 0, 1, c->gemm);
}

static inline void take_step(chunk *c, int r, int64_t j, float delta)
{
    const float *h = c->s->h + j * c->k;
    float *g = c->g + r * c->k;
    c->q[r * c->k + j] += delta;
    for (int64_t t = 0; t < c->k; t++)
        g[t] -= delta * h[t];
}

/* The best code of each column, the others as they are. */
static void step_codes(chunk *c)
{
    for (int64_t j = 0; j < c->k; j++) {
        float hjj = c->s->h[j * c->k + j];
        for (int r = 0; r < c->n; r++) {
            int64_t at = r * c->k + j;
            float y = choose(c, r, j, c->q[at] + c->g[at] / hjj);
            if (y == c->level[at])
                continue;
            c->level[at] = y;
            take_step(c, r, j, value_of(c, r, j, y) - c->q[at]);
        }
    }
}

/* A step of the scale and offset of a group, codes as they are: by (w - q) h and h within the group. */
static void group_step(const chunk *c, int r, int64_t first, int n, float *scale, float *offset)
{
    const float *y = c->level + r * c->k + first, *g = c->g + r * c->k + first;
    float yhy = 0, yh1 = 0, h11 = 0, yg = 0, g1 = 0;
    for (int i = 0; i < n; i++) {
        const float *h = c->s->h + (first + i) * c->k + first;
        float hy = 0, h1 = 0;
        for (int t = 0; t < n; t++)
            hy += h[t] * y[t], h1 += h[t];
        yhy += y[i] * hy, yh1 += y[i] * h1, h11 += h1;
        yg += y[i] * g[i], g1 += g[i];
    }
    float det = yhy * h11 - yh1 * yh1;
    if (c->grid->offset != LMF_OFFSET_NONE && det > 1e-6f * yhy * h11) {
        float d = *scale + (h11 * yg - yh1 * g1) / det, m = *offset + (yhy * g1 - yh1 * yg) / det;
        if (c->grid->offset == LMF_OFFSET_ANY || (d >= 0 && m <= 0)) {
            *scale = d, *offset = m;
            return;
        }
    }
    if (yhy > 0) {
        float d = *scale + yg / yhy;
        *scale = c->grid->offset == LMF_OFFSET_BELOW && d < 0 ? *scale : d;
    }
}

/* What a change of a block's values does to the error: -2 delta g + delta h delta. */
static double change(const chunk *c, int r, int64_t first, int n, const float *delta)
{
    double sum = 0;
    const float *g = c->g + r * c->k + first;
    for (int i = 0; i < n; i++) {
        const float *h = c->s->h + (first + i) * c->k + first;
        float hd = 0;
        if (delta[i] == 0)
            continue;
        for (int t = 0; t < n; t++)
            hd += h[t] * delta[t];
        sum += (double)delta[i] * ((double)hd - 2 * (double)g[i]);
    }
    return sum;
}

static void step_scales(chunk *c)
{
    int64_t group = c->grid->group, n_groups = c->k / group, block = group * c->per_block;
    for (int64_t b = 0; b < n_groups; b += c->per_block)
        for (int r = 0; r < c->n; r++) {
            float scale[16], offset[16], delta[MOST_BLOCK], *was = c->scale + r * n_groups + b, *was_m = c->offset + r * n_groups + b;
            for (int i = 0; i < c->per_block; i++) {
                scale[i] = was[i], offset[i] = was_m[i];
                group_step(c, r, (b + i) * group, (int)group, scale + i, offset + i);
            }
            set_scales(c, r, b, scale, offset);
            for (int64_t e = 0; e < block; e++) {
                int64_t at = r * c->k + b * group + e;
                delta[e] = scale[e / group] * c->level[at] + offset[e / group] - c->q[at];
            }
            if (!(change(c, r, b * group, (int)block, delta) < 0))
                continue;
            memcpy(was, scale, (size_t)c->per_block * sizeof *scale);
            memcpy(was_m, offset, (size_t)c->per_block * sizeof *offset);
            for (int64_t e = 0; e < block; e++)
                if (delta[e] != 0)
                    take_step(c, r, b * group + e, delta[e]);
        }
}

static void write_row(const chunk *c, int r, void *dst)
{
    int64_t group = c->grid->group, n_groups = c->k / group, block = group * c->per_block;
    uint8_t code[MOST_BLOCK];
    for (int64_t b = 0; b < n_groups; b += c->per_block) {
        char *to = (char *)dst + (size_t)(b / c->per_block) * c->s->dst_fmt->block_bytes;
        for (int64_t e = 0; e < block; e++)
            code[e] = code_of(&c->l, c->level[r * c->k + b * group + e]);
        float scale[16], offset[16];
        memcpy(scale, c->scale + r * n_groups + b, (size_t)c->per_block * sizeof *scale);
        memcpy(offset, c->offset + r * n_groups + b, (size_t)c->per_block * sizeof *offset);
        c->grid->set(to, scale, offset);
        c->grid->put(to, code);
    }
}

static void add_sums(const chunk *c, double *sums)
{
    for (int r = 0; r < c->n; r++)
        for (int64_t j = 0; j < c->k; j++) {
            int64_t at = r * c->k + j;
            double e = (double)c->w[at] - (double)c->q[at], w = (double)c->w[at];
            sums[0] += e * e, sums[1] += w * w;
            sums[2] += c->s->h ? e * (double)c->g[at] : e * e * (double)c->s->importance[j];
        }
}

static void solve_chunk(chunk *c, double *sums)
{
    for (int r = 0; r < c->n; r++) {
        fit_row(c, r);
        if (!c->s->h)
            round_row(c, r);
    }
    if (c->s->h) {
        compensate(c);
        product(c);
        for (int i = 0; i < N_ROUNDS; i++) {
            step_codes(c);
            step_scales(c);
        }
        step_codes(c);
    }
    add_sums(c, sums);
}

static lmf_gemm gemm_of(int64_t k, const lmf_format *f32)
{
    return (lmf_gemm){ .m = CHUNK, .n = k, .k = k, .a = { NULL, f32, k, true }, .b = { NULL, f32, k, true }, .alpha = 1 };
}

int64_t LMF_CAT(lmf__solve, floats, LMF_ISA)(int64_t k)
{
    static const lmf_format plain = { .block = 1 };
    lmf_gemm a = gemm_of(k, &plain), b = a;
    b.m = k; /* of lmf__solve_factor */
    int64_t n = lmf_gemm_floats(&a), most = lmf_gemm_floats(&b);
    return ((n > most ? n : most) + 7 * CHUNK * k + 15) / 16 * 16;
}

void LMF_CAT(lmf__solve, rows, LMF_ISA)(const lmf__solve *s, int i_worker, int n_workers)
{
    int64_t begin, end, k = s->k;
    size_t in = lmf_format_bytes(s->src_fmt, k), out = lmf_format_bytes(s->dst_fmt, k);
    float *room = s->room + i_worker * LMF_CAT(lmf__solve, floats, LMF_ISA)(k);
    chunk c = { .s = s, .grid = s->dst_fmt->grid, .k = k, .per_block = s->dst_fmt->block / s->dst_fmt->grid->group,
                .w = room, .q = room + CHUNK * k, .g = room + 2 * CHUNK * k, .acc = room + 3 * CHUNK * k, .level = room + 4 * CHUNK * k,
                .scale = room + 5 * CHUNK * k, .offset = room + 6 * CHUNK * k, .gemm = room + 7 * CHUNK * k };
    double *sums = s->sums + 4 * i_worker;
    c.l = levels_of(c.grid);
    lmf_split(s->n, CHUNK, i_worker, n_workers, &begin, &end);
    for (int64_t i = begin; i < end; i += CHUNK) {
        c.n = (int)(end - i < CHUNK ? end - i : CHUNK);
        for (int r = 0; r < c.n; r++)
            s->src_fmt->unpack((const char *)s->src + (size_t)(i + r) * in, c.w + r * k, k);
        solve_chunk(&c, sums);
        for (int r = 0; r < c.n; r++)
            write_row(&c, r, (char *)s->dst + (size_t)(i + r) * out);
    }
}

/* ---- Cholesky by panels of columns ---- */
static bool factor_corner(float *a, int64_t k, int n)
{
    for (int j = 0; j < n; j++)
        for (int i = j; i < n; i++) {
            float sum = a[i * k + j];
            for (int t = 0; t < j; t++)
                sum -= a[i * k + t] * a[j * k + t];
            if (i == j && !(sum > 0))
                return false;
            a[i * k + j] = i == j ? sqrtf(sum) : sum / a[j * k + j];
        }
    return true;
}

void LMF_CAT(lmf__solve, factor, LMF_ISA)(lmf__factor *f, int i_worker, int n_workers)
{
    float *room = f->room + i_worker * LMF_CAT(lmf__solve, floats, LMF_ISA)(f->k);
    int64_t k = f->k, begin, end;
    for (int64_t j = 0; j < k; j += PANEL) {
        int n = (int)(k - j < PANEL ? k - j : PANEL);
        lmf_split(k - j, 16, i_worker, n_workers, &begin, &end);
        if (j > 0 && end > begin) {
            float *y = f->a + (j + begin) * k + j;
            lmf_gemm g = { .m = end - begin, .n = n, .k = j, .a = { f->a + (j + begin) * k, f->f32, k, true },
                           .b = { f->a + j * k, f->f32, k, true }, .alpha = -1, .c = y, .c_stride = k, .y = y, .y_stride = k };
            lmf_gemm_run(&g, 0, 1, room);
        }
        lmf_team_barrier(f->team);
        if (i_worker == 0)
            f->ok = f->ok && factor_corner(f->a + j * k + j, k, n);
        lmf_team_barrier(f->team);
        if (!f->ok)
            return;
        lmf_split(k - j - n, 1, i_worker, n_workers, &begin, &end);
        for (int64_t i = j + n + begin; i < j + n + end; i++) {
            float *row = f->a + i * k + j;
            for (int t = 0; t < n; t++) {
                const float *l = f->a + (j + t) * k + j;
                float sum = row[t];
                for (int u = 0; u < t; u++)
                    sum -= row[u] * l[u];
                row[t] = sum / l[t];
            }
        }
        lmf_team_barrier(f->team);
    }
    lmf_split(k, 1, i_worker, n_workers, &begin, &end);
    for (int64_t i = begin; i < end; i++) /* the diagonal last: others divide by it */
        for (int64_t j = 0; j < i; j++)
            f->a[i * k + j] /= f->a[j * k + j];
}
