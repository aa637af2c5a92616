/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a task is a tile of query rows and one kv head; how rows are cut into tiles may depend on the number of workers,
 * as no row's bits depend on its tile (attention_tile.h). */
#include "base/team.h"
#include "ops/attention/attention_tile.h"

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (!lmf_view_is_dense(&c->in[i]))
            return false;
    return c->in[0].dtype == LMF_F32;
}

static size_t scratch(const lmf_call *c, const lmf_device *dev)
{
    lmf__at_tile t = lmf__at_tile_of(c->attrs);
    return (size_t)lmf__at_desk_floats(&t, lmf__at_max(t.g, LMF__AT_TILE)) * sizeof(float) * (size_t)dev->n_workers;
}

static void zero_dead(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_attention_attrs *a = c->attrs;
    int64_t begin, end, width = c->in[0].dim[1];
    lmf_split(c->in[0].dim[0], 1, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t t = begin; t < end; t++)
        if (lmf__at_dead(&c->in[3], &c->in[4], t)) {
            memset((float *)c->out[0].data + t * width, 0, (size_t)width * sizeof(float));
            memset((float *)c->out[1].data + t * a->n_heads, 0, (size_t)a->n_heads * sizeof(float));
        }
}

/* Rows [begin + tile->last, + tile->n) of the segment that begins there, kv head hk. */
static void tile_run(const lmf_call *c, const lmf__at_tile *t, const lmf__at_desk *d, int64_t begin, int64_t hk)
{
    const lmf_attention_attrs *a = c->attrs;
    int64_t width = c->in[0].dim[1], kw = c->in[1].dim[1], row = begin + t->last, head = hk * t->g;
    size_t stride = (size_t)kw * sizeof(float), at = ((size_t)begin * (size_t)kw + (size_t)(hk * t->c)) * sizeof(float);
    lmf__at_keys keys = { .k = { (const char *)c->in[1].data + at, c->in[1].fmt, stride }, .v = { (const char *)c->in[2].data + at, c->in[2].fmt, stride } };
    float *lse = (float *)c->out[1].data + row * a->n_heads + head;
    lmf__at_gather(t, (const float *)c->in[0].data + row * width + head * t->c, width, d->q);
    lmf__at_whole(t, &keys, &d->room, d->q, d->m, d->l, d->o, d->m2, d->l2, d->o2); /* cannot fail without pages */
    lmf__at_write(t, d->l, d->o, (float *)c->out[0].data + row * width + head * t->c, width);
    for (int64_t r = 0; r < t->n * t->g; r++)
        lse[r / t->g * a->n_heads + r % t->g] = d->m[r] + logf(d->l[r]);
}

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_attention_attrs *a = c->attrs;
    lmf__at_tile t = lmf__at_tile_of(a);
    int64_t n_q = lmf__at_max(t.g, LMF__AT_TILE), begin, end, n_seq = c->in[4].dim[0] - 1;
    int64_t most = lmf__at_tile_rows(t.g, LMF__AT_TILE, c->in[0].dim[0], a->n_kv_heads, wk->n_workers);
    lmf__at_desk d = lmf__at_desk_at(&t, n_q, (float *)c->scratch + wk->i_worker * lmf__at_desk_floats(&t, n_q));
    lmf__at_share share = { .i_worker = wk->i_worker, .n_workers = wk->n_workers };
    zero_dead(c, wk);
    for (int pass = 0; pass < 2; pass++)
        for (int64_t s = 0; s < n_seq; s++) {
            lmf__at_segment(&c->in[3], &c->in[4], s, &begin, &end);
            for (t.last = 0; t.last < end - begin; t.last += most) {
                t.n = lmf__at_min(most, end - begin - t.last);
                double cost = lmf__at_cost(&t, 0, t.n);
                if (pass == 0)
                    share.total += cost * a->n_kv_heads;
                for (int64_t hk = 0; pass && hk < a->n_kv_heads; hk++)
                    if (lmf__at_mine(&share, cost))
                        tile_run(c, &t, &d, begin, hk);
            }
        }
    return LMF_OK;
}

LMF_CPU_ROWS(attention) = {
    { .name = "attention_fwd_f32", .dtypes = (const uint16_t[]){ LMF_F32, LMF_F32, LMF_F32, LMF_I32, LMF_I32, LMF_F32, LMF_F32 },
      .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = LMF_ISA_NEEDS, .match = fits, .scratch = scratch, .run = fwd },
    { 0 }
};
