/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/sample/sample.h"
#include <math.h>
#include "base/philox.h"

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_view *l = &n->in[0]->v, *num = &n->in[1]->v, *cnt = &n->in[2]->v, *seen = &n->in[3]->v, *mask = n->n_in > 4 && n->in[4] ? &n->in[4]->v : NULL;
    if (l->dtype != LMF_F32 || num->dtype != LMF_F32 || cnt->dtype != LMF_I32 || seen->dtype != LMF_I32 || (mask && mask->dtype != LMF_I32))
        return lmf_refuse(g, n, LMF_E_DTYPE, "logits and number are f32, count, seen and mask i32");
    if (l->n_dims != 2 || num->n_dims != 2 || cnt->n_dims != 2 || seen->n_dims != 2 || num->dim[0] != l->dim[0] || cnt->dim[0] != l->dim[0] ||
        seen->dim[1] != l->dim[1] || num->dim[1] != LMF_SAMPLE_N_NUMBERS || cnt->dim[1] != LMF_SAMPLE_N_COUNTS)
        return lmf_refuse(g, n, LMF_E_SHAPE, "logits is [S, V], number [S, %d], count [S, %d], seen [N, V]", LMF_SAMPLE_N_NUMBERS, LMF_SAMPLE_N_COUNTS);
    if (mask && (mask->n_dims != 2 || mask->dim[0] != l->dim[0] || mask->dim[1] != (l->dim[1] + 31) / 32))
        return lmf_refuse(g, n, LMF_E_SHAPE, "the mask has a bit a token: [S, %lld]", (long long)((l->dim[1] + 31) / 32));
    const lmf_view *bt = n->n_in > 5 && n->in[5] ? &n->in[5]->v : NULL, *bv = n->n_in > 6 && n->in[6] ? &n->in[6]->v : NULL;
    if ((bt && bt->dtype != LMF_I32) || (bv && bv->dtype != LMF_F32))
        return lmf_refuse(g, n, LMF_E_DTYPE, "bias_token is i32, bias f32");
    if (!bt != !bv || (bt && (bt->n_dims != 2 || bv->n_dims != 2 || bt->dim[0] != l->dim[0] || bv->dim[0] != l->dim[0] || bt->dim[1] != bv->dim[1])))
        return lmf_refuse(g, n, LMF_E_SHAPE, "bias_token and bias are [S, B], or none of both is there");
    lmf_out_set(n, 0, LMF_I32, 2, (int64_t[]){ l->dim[0], LMF_SAMPLE_WIDTH });
    lmf_out_set(n, 1, LMF_F32, 2, (int64_t[]){ l->dim[0], LMF_SAMPLE_WIDTH });
    return LMF_OK;
}

static double number(const lmf_call *c, int64_t s, int i) { return lmf_get(&c->in[1], s * LMF_SAMPLE_N_NUMBERS + i); }
static int64_t count(const lmf_call *c, int64_t s, int i) { return lmf_get_int(&c->in[2], s * LMF_SAMPLE_N_COUNTS + i); }

static double bias_of(const lmf_call *c, int64_t s, int64_t v)
{
    int64_t B = c->n_in > 6 && c->in[5].data ? c->in[5].dim[1] : 0;
    for (int64_t i = 0; i < B && lmf_get_int(&c->in[5], s * B + i) >= 0; i++)
        if (lmf_get_int(&c->in[5], s * B + i) == v)
            return lmf_get(&c->in[6], s * B + i);
    return 0;
}

/* The logit that is sampled from: after bias, penalties and mask. */
static double penalized(const lmf_call *c, int64_t s, int64_t v)
{
    int64_t V = c->in[0].dim[1], slot = count(c, s, LMF_SAMPLE_SLOT);
    double x = lmf_get(&c->in[0], s * V + v) + bias_of(c, s, v), penalty = number(c, s, LMF_SAMPLE_PENALTY);
    if (count(c, s, LMF_SAMPLE_MASKED) && !((uint32_t)lmf_get_int(&c->in[4], s * c->in[4].dim[1] + v / 32) >> v % 32 & 1))
        return -INFINITY;
    int64_t seen = slot >= 0 ? lmf_get_int(&c->in[3], slot * V + v) : 0, n = seen & (LMF_SEEN_PROMPT - 1);
    if (seen == 0)
        return x;
    x = x > 0 ? x / penalty : x * penalty;
    return x - ((double)n * number(c, s, LMF_SAMPLE_FREQUENCY) + (n > 0 ? number(c, s, LMF_SAMPLE_PRESENCE) : 0));
}

/* The best token that comes after (top, id) in the order of falling logit, then rising id. */
static int64_t next_best(const lmf_call *c, int64_t s, double top, int64_t id)
{
    int64_t best = -1;
    double b = -INFINITY;
    for (int64_t v = 0; v < c->in[0].dim[1]; v++) {
        double x = penalized(c, s, v);
        if ((x < top || (x == top && v > id)) && x > b)
            best = v, b = x;
    }
    return best;
}

/* The n_top likeliest of the model alone, one after the other. */
static void ref_top(const lmf_call *c, int64_t s, double lse)
{
    int64_t V = c->in[0].dim[1], id = -1;
    double x = INFINITY;
    for (int64_t i = 0; i < count(c, s, LMF_SAMPLE_N_TOP) && i < V; i++) {
        int64_t best = -1;
        for (int64_t v = 0; v < V; v++) {
            double y = lmf_get(&c->in[0], s * V + v);
            if ((y < x || (y == x && v > id)) && (best < 0 || y > lmf_get(&c->in[0], s * V + best)))
                best = v;
        }
        id = best, x = lmf_get(&c->in[0], s * V + best);
        lmf_set(&c->out[0], s * LMF_SAMPLE_WIDTH + 1 + i, (double)id);
        lmf_set(&c->out[1], s * LMF_SAMPLE_WIDTH + 1 + i, x - lse);
    }
}

static int64_t ref_draw(const lmf_call *c, int64_t s, int64_t best)
{
    int64_t k = count(c, s, LMF_SAMPLE_TOP_K), n = 0, n_kept = 0, pick = best, v = best;
    double temp = number(c, s, LMF_SAMPLE_TEMPERATURE), top = penalized(c, s, best), all = 0, kept = 0, at = 0;
    uint64_t seed = (uint64_t)(uint32_t)count(c, s, LMF_SAMPLE_SEED_LO) | (uint64_t)(uint32_t)count(c, s, LMF_SAMPLE_SEED_HI) << 32;
    double u = (double)lmf_random_f32(seed, 0, 0, (uint64_t)count(c, s, LMF_SAMPLE_POS));
    for (; v >= 0 && (k <= 0 || n < k); n++, v = next_best(c, s, penalized(c, s, v), v))
        all += exp((penalized(c, s, v) - top) / temp);
    v = best;
    for (int64_t i = 0; i < n && (i == 0 || kept < number(c, s, LMF_SAMPLE_TOP_P) * all); i++, v = next_best(c, s, penalized(c, s, v), v)) {
        double p = exp((penalized(c, s, v) - top) / temp);
        if (p < number(c, s, LMF_SAMPLE_MIN_P))
            break;
        kept += p;
        n_kept++;
    }
    v = best;
    for (int64_t i = 0; i < n_kept; i++, v = next_best(c, s, penalized(c, s, v), v)) {
        at += exp((penalized(c, s, v) - top) / temp);
        pick = v;
        if (at > u * kept)
            break;
    }
    return pick;
}

static lmf_status ref_row(const lmf_call *c, int64_t s)
{
    int64_t V = c->in[0].dim[1], slot = count(c, s, LMF_SAMPLE_SLOT);
    double top = -INFINITY, sum = 0;
    bool nan = false;
    for (int64_t v = 0; v < V; v++) {
        nan |= isnan(lmf_get(&c->in[0], s * V + v));
        top = fmax(top, lmf_get(&c->in[0], s * V + v));
    }
    for (int64_t i = 0; i < LMF_SAMPLE_WIDTH; i++) {
        lmf_set(&c->out[0], s * LMF_SAMPLE_WIDTH + i, -1);
        lmf_set(&c->out[1], s * LMF_SAMPLE_WIDTH + i, 0);
    }
    if (nan || !count(c, s, LMF_SAMPLE_LIVE))
        return LMF_OK;
    if (slot >= c->in[3].dim[0] || count(c, s, LMF_SAMPLE_N_TOP) > LMF_SAMPLE_MAX_TOP || (count(c, s, LMF_SAMPLE_MASKED) && !c->in[4].data))
        return LMF_E_INTERNAL;
    for (int64_t v = 0; v < V; v++)
        sum += exp(lmf_get(&c->in[0], s * V + v) - top);
    ref_top(c, s, top + log(sum));
    int64_t best = next_best(c, s, INFINITY, -1);
    if (best < 0) {
        lmf_set(&c->out[0], s * LMF_SAMPLE_WIDTH, LMF_SAMPLE_NONE_ALLOWED);
        return LMF_OK;
    }
    int64_t pick = number(c, s, LMF_SAMPLE_TEMPERATURE) <= 0 ? best : ref_draw(c, s, best);
    lmf_set(&c->out[0], s * LMF_SAMPLE_WIDTH, (double)pick);
    lmf_set(&c->out[1], s * LMF_SAMPLE_WIDTH, lmf_get(&c->in[0], s * V + pick) - top - log(sum));
    if (slot >= 0)
        lmf_set(&c->out[2], slot * V + pick, (double)(lmf_get_int(&c->in[3], slot * V + pick) + 1));
    return LMF_OK;
}

static lmf_status ref(const lmf_call *c)
{
    for (int64_t s = 0; s < c->in[0].dim[0]; s++)
        LMF_TRY(ref_row(c, s));
    return LMF_OK;
}

static void cost(const lmf_node *n, double *flops, double *bytes)
{
    *flops = 10 * (double)lmf_view_count(&n->in[0]->v);
    *bytes = 4 * (double)lmf_view_count(&n->in[0]->v);
}

const lmf_op lmf_op_sample = { .name = "sample", .n_in_min = 4, .n_in_max = 7, .n_out = 3, .writes = { 0, 0, 4 },
                               .infer = infer, .cost = cost, .ref = ref };

lmf_tensor *(lmf_sample)(lmf_graph *g, lmf_tensor *logits, lmf_tensor *num, lmf_tensor *cnt, lmf_tensor *seen, lmf_tensor *mask,
                         lmf_tensor *bias_token, lmf_tensor *bias, lmf_tensor **logp)
{
    lmf_node *n = lmf_node_add(g, &lmf_op_sample, NULL, (lmf_tensor *[]){ logits, num, cnt, seen, mask, bias_token, bias }, 7);
    *logp = n ? n->out[1] : NULL;
    return n ? n->out[0] : NULL;
}
