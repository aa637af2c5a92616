/* SPDX-License-Identifier: Apache-2.0 */
#include "nn/rope_freq.h"
#include <math.h>
#include <string.h>
#include "nn/nn.h"

enum { MAX_ROT = 1024 };

static bool is_type(const lmf_rope_spec *r, const char *type) { return strcmp(r->type, type) == 0; }

lmf_status lmf_rope_check(lmf_ctx *ctx, const lmf_rope_spec *r)
{
    if (r->n_rot < 2 || r->n_rot % 2 || r->n_rot > MAX_ROT)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "heads of %d can't be rotated: an even size up to %d is needed", r->n_rot, MAX_ROT);
    if (!(r->base > 0) || !(r->factor > 0))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "rope base %g and rope factor %g must be positive", (double)r->base, (double)r->factor);
    if (r->type[0] && !is_type(r, "default") && !is_type(r, "none") && !is_type(r, "linear") && !is_type(r, "llama3"))
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "rope scaling \"%s\" is not supported; linear and llama3 are", r->type);
    if (r->factor != 1 && (!r->type[0] || is_type(r, "default")))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "the rope scaling has a factor of %g but no type; it must say linear or llama3",
                        (double)r->factor);
    if (is_type(r, "llama3") && !(r->low > 0 && r->high > r->low && r->context > 0))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "llama3 rope scaling from %g to %g over a context of %d is not possible", (double)r->low,
                        (double)r->high, r->context);
    return LMF_OK;
}

double lmf_rope_frequency(const lmf_rope_spec *r, int64_t i)
{
    double f = pow((double)r->base, -2.0 * (double)i / r->n_rot), wave = 2 * M_PI / f;
    if (is_type(r, "linear")) {
        f /= (double)r->factor;
    } else if (is_type(r, "llama3")) {
        double low = r->context / (double)r->low, high = r->context / (double)r->high;
        double smooth = (r->context / wave - (double)r->low) / (double)(r->high - r->low);
        if (wave > low)
            f /= (double)r->factor;
        else if (wave >= high)
            f = (1 - smooth) * f / (double)r->factor + smooth * f;
    }
    return f;
}

double lmf_rope_divisor(const lmf_rope_spec *r, int64_t i)
{
    double context = r->context, factor = (double)r->factor, low = (double)r->low, high = (double)r->high;
    double wave = 2 * M_PI * pow((double)r->base, 2.0 * (double)i / r->n_rot), smooth = (context / wave - low) / (high - low);
    return wave > context / low ? factor : wave < context / high ? 1 : 1 / ((1 - smooth) / factor + smooth);
}

lmf_tensor *lmf_nn_rope_freq(lmf_graph *g, const lmf_rope_spec *r, const char *name)
{
    float freq[MAX_ROT / 2];
    int64_t half = r->n_rot / 2;
    const lmf_weight *factors = lmf_weights_find(lmf_nn_of(g)->weights, "rope_factors");
    for (int64_t i = 0; factors && i < half; i++)
        if (!(lmf_get(&factors->v, i) > 0)) {
            g->status = LMF_FAIL(g->ctx, LMF_E_FORMAT, "rope_freqs.weight: factor %lld is %g; it must be positive", (long long)i,
                                 lmf_get(&factors->v, i));
            return NULL;
        }
    for (int64_t i = 0; i < half; i++)
        freq[i] = (float)(factors ? pow((double)r->base, -2.0 * (double)i / r->n_rot) / lmf_get(&factors->v, i) : lmf_rope_frequency(r, i));
    return lmf_graph_const(g, name, LMF_F32, 1, &half, freq);
}
