/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: forward takes a call only where backward would, so that a layer that was written as lora_product has all its rows. */
#include "ops/lora_product/lora_product.h"
#include "base/checked.h"
#include "device/cuda/blas.h"
#include "ops/lora_product/lora_product_job.h"

enum { X, M, P, Q, C, BLOCKS = 132 }; /* BLOCKS: as many as a large chip has multiprocessors */

static int up(int64_t n) { return (int)((n + LMF_LORA_WIDE - 1) / LMF_LORA_WIDE); }

/* n: columns of y. Sizes alone; where backward, pointers too. */
static lmf_lora_job job_of(int64_t t, int64_t k, int64_t n, int64_t r)
{
    int tiles = (int)((t + LMF_LORA_TILE - 1) / LMF_LORA_TILE), turns = (tiles + BLOCKS - 1) / BLOCKS;
    lmf_lora_job j = { .t = (int)t, .k = (int)k, .n = (int)n, .r = (int)r, .x_pieces = up(k), .pieces = up(k) + up(n) };
    j.blocks = turns ? (tiles + turns - 1) / turns : 0;
    j.wide = (int64_t)j.pieces * LMF_LORA_WIDE;
    j.pitch = (int)(j.wide + (j.wide % 64 ? 0 : 32)); /* rows half of all banks apart */
    return j;
}

static int64_t shared_bytes(const lmf_lora_job *j)
{
    return 2 * LMF_LORA_WARPS * 16 * LMF_LORA_RANKS * (int64_t)sizeof(float) + 2 * LMF_LORA_TILE * LMF_LORA_PITCH * 2 +
           (int64_t)LMF_LORA_RANKS * j->pitch * 2;
}

static bool sizes_fit(int64_t t, int64_t k, int64_t n, int64_t r, const lmf_device *dev)
{
    if (t > INT32_MAX / 4 || k % 8 || n % 8 || k < 8 || n < 8 || k > 1 << 20 || n > 1 << 20 || r < 1 || r > 256)
        return false;
    lmf_lora_job j = job_of(t, k, n, r);
    return shared_bytes(&j) <= (dev->features >= 90 ? 227 : dev->features == 80 ? 163 : 99) * 1024;
}

/* ---- staged: rows of x and dy wait in shared memory, and are read once ---- */

static int64_t staged_bytes(const lmf_lora_job *j, int stages)
{
    enum { LOW = 2 * LMF_LORA_ROWS * LMF_LORA_RANKS };
    return (LMF_LORA_WARPS + 2) * LOW * (int64_t)sizeof(float) + 2 * LMF_LORA_ROWS * LMF_LORA_PITCH * 2 +
           (int64_t)(stages + 1) * j->own * LMF_LORA_ROWS * LMF_LORA_WIDE * 2; /* the pair takes as much as a stage */
}

/* j for tiles of LMF_LORA_ROWS, by as few blocks a cluster as have room; how many stages they have, 0: none has. */
static int stage_job(lmf_lora_job *j)
{
    static const int clusters[] = { 1, 2 }, most_blocks[] = { BLOCKS, BLOCKS / 2 };
    int tiles = (j->t + LMF_LORA_ROWS - 1) / LMF_LORA_ROWS;
    for (size_t i = 0; i < sizeof clusters / sizeof *clusters; i++) {
        int stages = 4, turns = (tiles + most_blocks[i] - 1) / most_blocks[i];
        j->cluster = clusters[i], j->own = (j->pieces + clusters[i] - 1) / clusters[i];
        while (stages > 1 && staged_bytes(j, stages) > 227 * 1024)
            stages--;
        if (stages == 1 || j->own > LMF_LORA_WARPS * LMF_LORA_OWN)
            continue;
        j->blocks = turns ? (tiles + turns - 1) / turns : 0;
        return stages;
    }
    return 0;
}

static bool all_dense(const lmf_call *c)
{
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].n_dims && !lmf_view_is_dense(&c->in[i]))
            return false;
    return true;
}

static bool has_c(const lmf_call *c) { return c->n_in > C && c->in[C].n_dims; }

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    const lmf_lora_product_attrs *a = c->attrs;
    const lmf_view *x = &c->in[X], *m = &c->in[M];
    return a->compute == 1 && x->dtype == LMF_BF16 && m->dtype == LMF_BF16 && lmf_cuda_has_blas(dev) && all_dense(c) &&
           sizes_fit(x->dim[0], x->dim[1], m->dim[0], c->in[P].dim[0], dev);
}

static bool row_c(const lmf_call *c) { return has_c(c) && c->in[C].n_dims == 1; }
static size_t row_bytes(const lmf_call *c) { return row_c(c) ? lmf_align_up((size_t)c->in[C].dim[0] * sizeof(uint16_t), 256) : 0; }
static size_t scratch(const lmf_call *c, const lmf_device *dev) { return (void)dev, row_bytes(c) + LMF_CUDA_PRODUCT_WORKSPACE; }

static lmf_status prepare(lmf_call *c, lmf_device *dev)
{
    int64_t t = c->in[X].dim[0], k = c->in[X].dim[1], n = c->in[M].dim[0];
    lmf_cuda_product_spec spec = { .m = t, .n = n, .k = k, .tb = 1, .dtype = LMF_BF16, .y_dtype = LMF_BF16, .a_stride = k, .b_stride = k,
                                   .y_stride = n, .add_stride = n, .add = !has_c(c) ? 0 : row_c(c) ? 2 : 1, .alignment = 256 };
    return t ? lmf_cuda_product_create(dev, &spec, &c->prep) : LMF_OK;
}
static void release(lmf_call *c) { lmf_cuda_product_destroy(c->prep); }

static lmf_status run(const lmf_call *c, const lmf_worker *wk)
{
    const void *add = !has_c(c) ? NULL : row_c(c) ? c->scratch : c->in[C].data;
    if (!c->prep)
        return LMF_OK;
    if (row_c(c)) {
        int n = (int)c->in[C].dim[0];
        LMF_TRY(lmf_cuda_launch(wk, "lora_product", "lora_product_row", lmf_cuda_blocks(n, 256), 256, 0,
                                LMF_CUDA_ARGS(&c->in[C].data, &c->scratch, &n)));
    }
    return lmf_cuda_product_run(wk, c->prep, c->in[X].data, c->in[M].data, add, c->out[0].data, 1, (char *)c->scratch + row_bytes(c));
}

LMF_CUDA_ROWS(lora_product) = {
    { .name = "lora_product_fwd_bf16_cublaslt", .flags = LMF_ROW_ANY_WORKERS, .needs = 80, .match = fits, .scratch = scratch,
      .prepare = prepare, .release = release, .run = run },
    { 0 }
};

/* ---- backward ---- */
static lmf_lora_job bwd_job(const lmf_call *c)
{
    lmf_lora_job j = job_of(c->in[0].dim[0], c->in[0].dim[1], c->in[1].dim[1], c->in[P].dim[0]);
    j.x = c->in[0].data, j.dy = c->in[1].data, j.p = c->in[P].data, j.q = c->in[Q].data;
    j.part = c->scratch, j.dp = c->out[0].data, j.dq = c->out[1].data;
    j.scale = ((const lmf_lora_product_attrs *)c->attrs)->scale;
    return j;
}

static bool bwd_fits(const lmf_call *c, const lmf_device *dev)
{
    return ((const lmf_lora_product_attrs *)c->attrs)->compute == 1 && c->in[0].dtype == LMF_BF16 && all_dense(c) &&
           sizes_fit(c->in[0].dim[0], c->in[0].dim[1], c->in[1].dim[1], c->in[P].dim[0], dev);
}

static int rank_slices(const lmf_lora_job *j) { return (j->r + LMF_LORA_RANKS - 1) / LMF_LORA_RANKS; }

static size_t bwd_scratch(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    lmf_lora_job j = bwd_job(c);
    return (size_t)j.blocks * (size_t)rank_slices(&j) * LMF_LORA_RANKS * (size_t)j.wide * sizeof(float);
}

static lmf_status add_blocks(const lmf_worker *wk, const lmf_lora_job *j)
{
    lmf_cuda_grid columns = { (uint32_t)((j->wide + 255) / 256), (uint32_t)j->r, 1 };
    return lmf_cuda_launch(wk, "lora_product", "lora_product_bwd_sum", columns, 256, 0, LMF_CUDA_ARGS(j));
}

static bool staged_fits(const lmf_call *c, const lmf_device *dev)
{
    lmf_lora_job j = bwd_job(c);
    return dev->features < 120 && bwd_fits(c, dev) && stage_job(&j) > 0; /* those have less shared memory */
}

static size_t staged_scratch(const lmf_call *c, const lmf_device *dev)
{
    lmf_lora_job j = bwd_job(c);
    (void)dev;
    stage_job(&j);
    return (size_t)j.blocks * (size_t)rank_slices(&j) * LMF_LORA_RANKS * (size_t)j.wide * sizeof(float);
}

static lmf_status staged(const lmf_call *c, const lmf_worker *wk)
{
    static const char *const names[] = { "lora_product_bwd_bf16_staged_2", "lora_product_bwd_bf16_staged_3",
                                         "lora_product_bwd_bf16_staged_4" };
    lmf_lora_job j = bwd_job(c);
    int stages = stage_job(&j);
    lmf_cuda_grid grid = { (uint32_t)j.blocks, 1, (uint32_t)(rank_slices(&j) * j.cluster), j.cluster > 1 ? (uint32_t)j.cluster : 0 };
    LMF_TRY(lmf_cuda_launch(wk, "lora_product", names[stages - 2], grid, 32 * LMF_LORA_WARPS, (uint32_t)staged_bytes(&j, stages),
                            LMF_CUDA_ARGS(&j)));
    return add_blocks(wk, &j);
}

static lmf_status bwd(const lmf_call *c, const lmf_worker *wk)
{
    enum { A_SLICE = LMF_LORA_WARPS * LMF_LORA_OWN };
    lmf_lora_job j = bwd_job(c);
    lmf_cuda_grid grid = { (uint32_t)j.blocks, (uint32_t)((j.pieces + A_SLICE - 1) / A_SLICE), (uint32_t)rank_slices(&j) };
    LMF_TRY(lmf_cuda_launch(wk, "lora_product", "lora_product_bwd_bf16", grid, 32 * LMF_LORA_WARPS, (uint32_t)shared_bytes(&j),
                            LMF_CUDA_ARGS(&j)));
    return add_blocks(wk, &j);
}

LMF_CUDA_ROWS(lora_product_bwd) = {
    { .name = "lora_product_bwd_bf16_staged", .flags = LMF_ROW_ANY_WORKERS, .needs = 90, .match = staged_fits, .scratch = staged_scratch,
      .run = staged },
    { .name = "lora_product_bwd_bf16", .flags = LMF_ROW_ANY_WORKERS, .needs = 80, .match = bwd_fits, .scratch = bwd_scratch, .run = bwd },
    { 0 }
};
