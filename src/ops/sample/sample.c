/* SPDX-License-Identifier: Apache-2.0 */
#include "ops/sample/sample.h"
#include <math.h>
#include "base/philox.h"

static lmf_status infer(lmf_graph *g, lmf_node *n)
{
    const lmf_view *l = &n->in[0]->v, *num = &n->in[1]->v, *cnt = &n->in[2]->v, *his = &n->in[3]->v;
    if (l->dtype != LMF_F32 || num->dtype != LMF_F32 || cnt->dtype != LMF_I32 || his->dtype != LMF_I32)
        return lmf_refuse(g, n, LMF_E_DTYPE, "logits and number are f32, count and history i32");
    if (l->n_dims != 2 || num->n_dims != 2 || cnt->n_dims != 2 || his->n_dims != 2 || num->dim[0] != l->dim[0] || cnt->dim[0] != l->dim[0] ||
        his->dim[0] != l->dim[0] || num->dim[1] != LMF_SAMPLE_N_NUMBERS || cnt->dim[1] != LMF_SAMPLE_N_COUNTS)
        return lmf_refuse(g, n, LMF_E_SHAPE, "logits is [S, V], number [S, %d], count [S, %d], history [S, H]", LMF_SAMPLE_N_NUMBERS, LMF_SAMPLE_N_COUNTS);
    lmf_out_set(n, 0, LMF_I32, 1, l->dim);
    lmf_out_set(n, 1, LMF_F32, 1, l->dim);
    return LMF_OK;
}

static double penalized(const lmf_call *c, int64_t s, int64_t v)
{
    double x = lmf_get(&c->in[0], s * c->in[0].dim[1] + v), penalty = lmf_get(&c->in[1], s * LMF_SAMPLE_N_NUMBERS + LMF_SAMPLE_PENALTY);
    int64_t n = lmf_get_int(&c->in[2], s * LMF_SAMPLE_N_COUNTS + LMF_SAMPLE_N_HISTORY), width = c->in[3].dim[1];
    for (int64_t i = 0; i < n && i < width; i++)
        if (lmf_get_int(&c->in[3], s * width + i) == v)
            return x > 0 ? x / penalty : x * penalty;
    return x;
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

static lmf_status ref_row(const lmf_call *c, int64_t s)
{
    const lmf_view *num = &c->in[1], *cnt = &c->in[2];
    int64_t V = c->in[0].dim[1], k = lmf_get_int(cnt, s * LMF_SAMPLE_N_COUNTS + LMF_SAMPLE_TOP_K), pick = -1, n = 0;
    double temp = lmf_get(num, s * LMF_SAMPLE_N_NUMBERS + LMF_SAMPLE_TEMPERATURE), top_p = lmf_get(num, s * LMF_SAMPLE_N_NUMBERS + LMF_SAMPLE_TOP_P);
    double min_p = lmf_get(num, s * LMF_SAMPLE_N_NUMBERS + LMF_SAMPLE_MIN_P), raw_top = -INFINITY, raw_sum = 0;
    bool nan = false;
    for (int64_t v = 0; v < V; v++) {
        nan |= isnan(lmf_get(&c->in[0], s * V + v));
        raw_top = fmax(raw_top, lmf_get(&c->in[0], s * V + v));
    }
    lmf_set(&c->out[0], s, -1);
    lmf_set(&c->out[1], s, 0);
    if (nan || !lmf_get_int(cnt, s * LMF_SAMPLE_N_COUNTS + LMF_SAMPLE_LIVE))
        return LMF_OK;
    for (int64_t v = 0; v < V; v++)
        raw_sum += exp(lmf_get(&c->in[0], s * V + v) - raw_top);
    int64_t best = next_best(c, s, INFINITY, -1);
    if (temp <= 0) {
        pick = best;
    } else {
        uint64_t seed = (uint64_t)(uint32_t)lmf_get_int(cnt, s * LMF_SAMPLE_N_COUNTS + LMF_SAMPLE_SEED_LO) |
                        (uint64_t)(uint32_t)lmf_get_int(cnt, s * LMF_SAMPLE_N_COUNTS + LMF_SAMPLE_SEED_HI) << 32;
        double u = (double)lmf_random_f32(seed, 0, 0, (uint64_t)lmf_get_int(cnt, s * LMF_SAMPLE_N_COUNTS + LMF_SAMPLE_POS));
        double top = penalized(c, s, best), all = 0, kept = 0;
        int64_t v = best;
        for (n = 0; v >= 0 && (k <= 0 || n < k); n++, v = next_best(c, s, penalized(c, s, v), v))
            all += exp((penalized(c, s, v) - top) / temp);
        int64_t n_kept = 0;
        v = best;
        for (int64_t i = 0; i < n && (i == 0 || kept < top_p * all); i++, v = next_best(c, s, penalized(c, s, v), v)) {
            double p = exp((penalized(c, s, v) - top) / temp);
            if (p < min_p)
                break;
            kept += p;
            n_kept++;
        }
        double at = 0;
        v = best;
        for (int64_t i = 0; i < n_kept; i++, v = next_best(c, s, penalized(c, s, v), v)) {
            at += exp((penalized(c, s, v) - top) / temp);
            pick = v;
            if (at > u * kept)
                break;
        }
    }
    lmf_set(&c->out[0], s, (double)pick);
    lmf_set(&c->out[1], s, lmf_get(&c->in[0], s * V + pick) - raw_top - log(raw_sum));
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

const lmf_op lmf_op_sample = { .name = "sample", .n_in_min = 4, .n_in_max = 4, .n_out = 2, .infer = infer, .cost = cost, .ref = ref };

lmf_tensor *(lmf_sample)(lmf_graph *g, lmf_tensor *logits, lmf_tensor *number, lmf_tensor *count, lmf_tensor *history, lmf_tensor **logp)
{
    lmf_node *n = lmf_node_add(g, &lmf_op_sample, NULL, (lmf_tensor *[]){ logits, number, count, history }, 4);
    *logp = n ? n->out[1] : NULL;
    return n ? n->out[0] : NULL;
}
