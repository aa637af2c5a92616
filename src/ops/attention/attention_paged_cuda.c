/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: rows of attention_paged and attention_rotary come to the same launches over pages, chosen by shape alone. */
#include "ops/attention/attention_rotary.h"
#include "device/cuda/cuda.h"
#include "ops/attention/attention_rotary_job.h"

enum { WARPS = 4, MOST_C = 256 };                                         /* attention_cuda.cu */
enum { DECODE_ROWS = 64, DECODE_PAGES = 1024, DECODE_WARPS = 16,          /* attention_decode_cuda.cu */
       MOST_ALONE = 256 };                                                /* an engine's rows that write stand before its prompts */
/* attention_stream_cuda.cu: from so many rows or so many heads of one on; below, clusters of attention_rotary_cuda.cu are faster. */
enum { STREAM_ROWS = 5, STREAM_GROUP = 5, STREAM_KEYS = 16, STREAM_HEADS = 16, STREAM_WIDE_ROWS = 128, STREAM_LONELY = 8 };
enum { ROTARY_ROWS = 64, ROTARY_THREADS = 256, ROTARY_WARPS = 8 };         /* attention_rotary_cuda.cu */
typedef struct heads { int n, n_kv, size; } heads;     /* laid out as in the kernels */
typedef struct paging { const void *page; int n_pages, page_size, pages_a_seq; } paging;

/* Attention over pages, whichever op asks. */
typedef struct paged {
    const lmf_attention_attrs *attrs;
    const lmf_view *k, *v, *seq, *pos, *page;
    const void *q;                                     /* [rows, n_heads * head_size] f32 */
    void       *o;
    int64_t     rows;
} paged;

static paged of_paged(const lmf_call *c)
{
    const lmf_view *in = c->in;
    return (paged){ c->attrs, &in[1], &in[2], &in[3], &in[4], &in[5], in[0].data, c->out[0].data, in[0].dim[0] };
}

static int type_index(const paged *p)
{
    uint16_t t = p->k->dtype;
    return t != p->v->dtype ? -1 : t == LMF_F32 ? 0 : t == LMF_F16 ? 1 : t == LMF_BF16 ? 2 : -1;
}

static bool all_dense(const lmf_call *c)
{
    for (int i = 0; i < c->n_in; i++)
        if (!lmf_view_is_dense(&c->in[i]))
            return false;
    return true;
}

static bool fits(const paged *p)
{
    return p->attrs->cap == 0 && p->attrs->head_size <= MOST_C && p->rows <= INT32_MAX &&
           (int64_t)p->attrs->n_heads * p->attrs->head_size <= INT32_MAX / 2 && type_index(p) >= 0 && p->k->dim[0] <= INT32_MAX;
}

/* Query heads that one block serves: the most that divide a group and whose channels fit into registers. */
static int decode_heads(const lmf_attention_attrs *a)
{
    for (int n = a->head_size == 64 ? 4 : a->head_size == 128 ? 2 : 0; n > 0; n--)
        if (a->n_heads / a->n_kv_heads % n == 0)
            return n;
    return 0;
}

static bool decode_fits(const paged *p)
{
    return fits(p) && decode_heads(p->attrs) && p->rows <= DECODE_ROWS && p->page->dim[1] <= DECODE_PAGES;
}

static lmf_status plain(const paged *p, const lmf_worker *wk)
{
    static const char *const names[] = { "attention_paged_f32", "attention_paged_f16", "attention_paged_bf16" };
    const lmf_attention_attrs *a = p->attrs;
    heads d = { a->n_heads, a->n_kv_heads, a->head_size };
    paging g = { p->page->data, (int)p->k->dim[0], (int)p->k->dim[1], (int)p->page->dim[1] };
    return lmf_cuda_launch(wk, "attention", names[type_index(p)],
                           (lmf_cuda_grid){ .x = (uint32_t)p->rows, .y = (uint32_t)((a->n_heads + WARPS - 1) / WARPS), .z = 1 },
                           32 * WARPS, 0,
                           LMF_CUDA_ARGS(&p->q, &p->k->data, &p->v->data, &p->seq->data, &p->pos->data, &p->o, &d, &a->window, &a->scale,
                                         &g));
}

#define SHAPES(stem, type) { stem type "_1x64", stem type "_2x64", stem type "_3x64", stem type "_4x64", stem type "_1x128", \
                             stem type "_2x128" }
static int shape_index(const lmf_attention_attrs *a) { return (a->head_size == 64 ? 0 : 4) + decode_heads(a) - 1; }

/* n: rows from the first on. among: the rows in all, of which lonely ones are done here, or 0. */
static lmf_status decode(const paged *p, const lmf_worker *wk, int64_t n, int among)
{
    static const char *const names[3][6] = { SHAPES("attention_decode_", "f32"), SHAPES("attention_decode_", "f16"),
                                             SHAPES("attention_decode_", "bf16") };
    const lmf_attention_attrs *a = p->attrs;
    heads d = { a->n_heads, a->n_kv_heads, a->head_size };
    paging g = { p->page->data, (int)p->k->dim[0], (int)p->k->dim[1], (int)p->page->dim[1] };
    return lmf_cuda_launch(wk, "attention_decode", names[type_index(p)][shape_index(a)],
                           (lmf_cuda_grid){ .x = (uint32_t)n, .y = (uint32_t)(a->n_heads / decode_heads(a)), .z = 1 },
                           32 * DECODE_WARPS, 0,
                           LMF_CUDA_ARGS(&p->q, &p->k->data, &p->v->data, &p->seq->data, &p->pos->data, &p->o, &d, &a->window, &a->scale,
                                         &g, &among));
}

/* ---- many rows that write, on the matrix units: attention_stream_cuda.cu ---- */
static bool stream_fits(const paged *p)
{
    int C = p->attrs->head_size;
    bool many = p->rows >= STREAM_ROWS || p->attrs->n_heads >= STREAM_GROUP * p->attrs->n_kv_heads;
    return p->attrs->compute == 1 && (C == 64 || C == 128) && many && type_index(p) > 0 && p->k->dim[1] % STREAM_KEYS == 0 && fits(p);
}

/* n, among: as decode's. j: with k and v where rows are rotated and appended on the way; then rows that are not lonely go to `rotated`. */
static lmf_status stream(const paged *p, const lmf_worker *wk, const lmf_attention_rotary_job *j, int64_t n, int among, void *rotated)
{
#define SIZES(type) { { "attention_stream_" type "_64x1", "attention_stream_" type "_64x2" }, \
                      { "attention_stream_" type "_128x1", "attention_stream_" type "_128x2" } }
    static const char *const names[2][2][2] = { SIZES("f16"), SIZES("bf16") };
#undef SIZES
    int group = j->n / j->n_kv, tall = group > 8 ? 2 : 1, blocks = (group + STREAM_HEADS - 1) / STREAM_HEADS;
    uint32_t part = (uint32_t)(8 * tall * (j->size + 2)) * (uint32_t)sizeof(float);
    uint32_t fresh = j->k ? (uint32_t)(2 * (among ? STREAM_LONELY : p->rows) * j->size) * (uint32_t)sizeof(uint16_t) : 0;
    uint32_t warps = n <= STREAM_WIDE_ROWS ? 8 : 4;
    return lmf_cuda_launch(wk, "attention_stream", names[type_index(p) - 1][j->size / 64 - 1][tall - 1],
                           (lmf_cuda_grid){ .x = (uint32_t)n, .y = (uint32_t)(j->n_kv * blocks), .z = 1 }, 32 * warps,
                           warps * part + fresh, LMF_CUDA_ARGS(j, &among, &rotated));
}

/* ---- on the matrix units: attention_paged_mma_cuda.cu ---- */
enum { MMA_ROWS = 64, MMA_THREADS = 128, MMA_PAD = 8 };

static bool mma_fits(const paged *p)
{
    int C = p->attrs->head_size;
    return p->attrs->compute == 1 && (C == 64 || C == 96 || C == 128) && p->rows > DECODE_ROWS && fits(p);
}

/* All rows but the first `alone` that are lonely, which are done; -1: none is. */
static lmf_status mma(const paged *p, const lmf_worker *wk, int alone)
{
#define SIZES(type) { "attention_paged_mma_" type "_64", "attention_paged_mma_" type "_96", "attention_paged_mma_" type "_128" }
    static const char *const names[3][3] = { SIZES("f32"), SIZES("f16"), SIZES("bf16") };
#undef SIZES
    const lmf_attention_attrs *a = p->attrs;
    lmf_attention_rotary_job j = { .q = p->q, .k_cache = p->k->data, .v_cache = p->v->data, .seq = p->seq->data, .pos = p->pos->data,
        .page = p->page->data, .o = p->o, .n = a->n_heads, .n_kv = a->n_kv_heads, .size = a->head_size, .window = a->window,
        .n_pages = (int)p->k->dim[0], .page_size = (int)p->k->dim[1], .pages_a_seq = (int)p->page->dim[1], .scale = a->scale };
    int C = a->head_size, n = (int)p->rows, first = n < MOST_ALONE ? n : MOST_ALONE;
    if (alone < 0) {
        alone = stream_fits(p) || (decode_heads(a) && p->page->dim[1] <= DECODE_PAGES) ? first : 0;
        if (alone)
            LMF_TRY(stream_fits(p) ? stream(p, wk, &j, alone, n, NULL) : decode(p, wk, alone, n));
    }
    uint32_t lines = MMA_ROWS + 2 * (C == 64 ? 64 : 32), shared = lines * (uint32_t)(C + MMA_PAD) * (uint32_t)sizeof(uint16_t);
    return lmf_cuda_launch(wk, "attention_paged_mma", names[type_index(p)][C / 32 - 2],
                           (lmf_cuda_grid){ .x = (uint32_t)((n + MMA_ROWS - 1) / MMA_ROWS), .y = (uint32_t)j.n, .z = 1 },
                           MMA_THREADS, shared, LMF_CUDA_ARGS(&j, &n, &alone));
}

static bool paged_fits(const lmf_call *c, const lmf_device *dev)
{
    paged p = of_paged(c);
    (void)dev;
    return all_dense(c) && fits(&p);
}
static bool paged_decode_fits(const lmf_call *c, const lmf_device *dev)
{
    paged p = of_paged(c);
    (void)dev;
    return all_dense(c) && decode_fits(&p);
}
static lmf_status run_plain(const lmf_call *c, const lmf_worker *wk)
{
    paged p = of_paged(c);
    return plain(&p, wk);
}
static lmf_status run_decode(const lmf_call *c, const lmf_worker *wk)
{
    paged p = of_paged(c);
    return decode(&p, wk, p.rows, 0);
}
static bool paged_mma_fits(const lmf_call *c, const lmf_device *dev)
{
    paged p = of_paged(c);
    (void)dev;
    return all_dense(c) && mma_fits(&p);
}
static lmf_status run_mma(const lmf_call *c, const lmf_worker *wk)
{
    paged p = of_paged(c);
    return mma(&p, wk, -1);
}

LMF_CUDA_ROWS(attention_paged) = {
    { .name = "attention_paged_bf16", .flags = LMF_ROW_ANY_WORKERS, .needs = 80, .match = paged_mma_fits, .run = run_mma },
    { .name = "attention_paged_any_decode", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = paged_decode_fits, .run = run_decode },
    { .name = "attention_paged_any", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = 75, .match = paged_fits,
      .run = run_plain }, { 0 }
};

/* ---- attention_rotary ---- */
enum { Q, K, V, FREQ, K_CACHE, V_CACHE, SEQ, POS, Q_START, PAGE };

/* After its rotation: q in scratch, the caches with this step's rows. */
static paged of_rotary(const lmf_call *c)
{
    const lmf_view *in = c->in;
    const lmf_attention_rotary_attrs *a = c->attrs;
    return (paged){ &a->heads, &in[K_CACHE], &in[V_CACHE], &in[SEQ], &in[POS], &in[PAGE], c->scratch, c->out[0].data, in[Q].dim[0] };
}

static lmf_attention_rotary_job job_of(const lmf_call *c)
{
    const lmf_attention_rotary_attrs *a = c->attrs;
    const lmf_view *in = c->in;
    return (lmf_attention_rotary_job){ .q = in[Q].data, .k = in[K].data, .v = in[V].data, .freq = in[FREQ].data, .k_cache = c->out[1].data,
        .v_cache = c->out[2].data, .seq = in[SEQ].data, .pos = in[POS].data, .q_start = in[Q_START].data, .page = in[PAGE].data,
        .n = a->heads.n_heads, .n_kv = a->heads.n_kv_heads, .size = a->heads.head_size, .window = a->heads.window,
        .n_pages = (int)in[K_CACHE].dim[0], .page_size = (int)in[K_CACHE].dim[1], .pages_a_seq = (int)in[PAGE].dim[1],
        .scale = a->heads.scale, .rope_scale = a->rope_scale };
}

/* Tables and frequencies are read before the kernels in front have ended: none may be what a kernel writes. */
static bool rotary_fits(const lmf_call *c, const lmf_device *dev)
{
    const lmf_attention_rotary_attrs *a = c->attrs;
    paged p = of_rotary(c);
    for (int i = FREQ; i <= PAGE; i++)
        if (i != K_CACHE && i != V_CACHE && c->in[i].cls != LMF_INPUT && c->in[i].cls != LMF_CONST)
            return false;
    (void)dev;
    return a->heads.compute == 1 && a->n_rot == a->heads.head_size && a->heads.head_size % 2 == 0 &&
           all_dense(c) && fits(&p);
}

static bool rotary_decode_fits(const lmf_call *c, const lmf_device *dev)
{
    return rotary_fits(c, dev) && c->in[Q].dim[0] <= ROTARY_ROWS && decode_heads(&((const lmf_attention_rotary_attrs *)c->attrs)->heads);
}

static lmf_status rotary_decode(const lmf_call *c, const lmf_worker *wk)
{
    static const char *const names[3][6] = { SHAPES("attention_rotary_", "f32"), SHAPES("attention_rotary_", "f16"),
                                             SHAPES("attention_rotary_", "bf16") };
    lmf_attention_rotary_job j = job_of(c);
    paged p = of_rotary(c);
    int h = decode_heads(p.attrs);
    /* Blocks for all multiprocessors, as few as that takes. */
    uint32_t cluster = p.rows <= 4 ? 8 : p.rows <= 16 ? 4 : p.rows * (j.n / h) < 400 ? 2 : 1;
    uint32_t shared = (uint32_t)((ROTARY_WARPS + 1) * h * (j.size + 2) * (int)sizeof(float));
    j.o = c->out[0].data;
    if (stream_fits(&p))
        return stream(&p, wk, &j, p.rows, 0, NULL);
    return lmf_cuda_launch(wk, "attention_rotary", names[type_index(&p)][shape_index(p.attrs)],
                           (lmf_cuda_grid){ .x = (uint32_t)p.rows, .y = (uint32_t)(j.n / h), .z = cluster, .cluster = cluster },
                           ROTARY_THREADS, shared, LMF_CUDA_ARGS(&j));
}

static size_t rotary_scratch(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return (size_t)lmf_view_count(&c->in[Q]) * sizeof(float);
}

/* Rotated and appended; attention over pages follows. */
static lmf_status rotate(const lmf_call *c, const lmf_worker *wk, const paged *p)
{
    static const char *const names[] = { "attention_rotate_f32", "attention_rotate_f16", "attention_rotate_bf16" };
    lmf_attention_rotary_job j = job_of(c);
    j.o = c->scratch;
    return lmf_cuda_launch(wk, "attention_rotary", names[type_index(p)], lmf_cuda_blocks(p->rows, 1), 128, 0, LMF_CUDA_ARGS(&j));
}

static lmf_status rotary(const lmf_call *c, const lmf_worker *wk)
{
    paged p = of_rotary(c);
    LMF_TRY(rotate(c, wk, &p));
    return decode_fits(&p) ? decode(&p, wk, p.rows, 0) : plain(&p, wk);
}

static bool rotary_mma_fits(const lmf_call *c, const lmf_device *dev)
{
    paged p = of_rotary(c);
    return rotary_fits(c, dev) && mma_fits(&p);
}

static lmf_status rotary_mma(const lmf_call *c, const lmf_worker *wk)
{
    paged p = of_rotary(c);
    if (p.rows <= MOST_ALONE && stream_fits(&p)) { /* rotates what it leaves, too */
        lmf_attention_rotary_job j = job_of(c);
        j.o = c->out[0].data;
        LMF_TRY(stream(&p, wk, &j, p.rows, (int)p.rows, c->scratch));
        return mma(&p, wk, (int)p.rows);
    }
    LMF_TRY(rotate(c, wk, &p));
    return mma(&p, wk, -1);
}

LMF_CUDA_ROWS(attention_rotary) = {
    { .name = "attention_rotary_any_decode", .flags = LMF_ROW_ANY_WORKERS, .needs = 90, .match = rotary_decode_fits, .run = rotary_decode },
    { .name = "attention_rotary_bf16", .flags = LMF_ROW_ANY_WORKERS, .needs = 80, .match = rotary_mma_fits, .scratch = rotary_scratch,
      .run = rotary_mma },
    { .name = "attention_rotary_any", .flags = LMF_ROW_ANY_WORKERS, .needs = 75, .match = rotary_fits, .scratch = rotary_scratch,
      .run = rotary }, { 0 }
};
