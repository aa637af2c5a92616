/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what is drawn is exact, so that all sets of instructions keep the same elements. */
#include "ops/dropout/dropout.h"
#include <math.h>
#include <string.h>
#include "base/team.h"

enum { LANES = 16 }; /* counters at a time, so that the compiler has whole vectors; four words each */

static bool fits(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    for (int i = 0; i < c->n_in; i++)
        if (c->in[i].n_dims && !lmf_view_is_dense(&c->in[i]))
            return false;
    return lmf_view_is_dense(&c->out[0]);
}

/* Words of the counters [first, first + LANES): out[4 i + w] is word w of counter first + i. */
static void draw(uint64_t key, uint32_t first, uint32_t *out)
{
    uint32_t c0[LANES], c1[LANES], c2[LANES], c3[LANES], k0 = (uint32_t)key, k1 = (uint32_t)(key >> 32);
    for (uint32_t i = 0; i < LANES; i++)
        c0[i] = first + i, c1[i] = c2[i] = c3[i] = 0;
    for (int round = 0; round < 10; round++) {
        for (int i = 0; i < LANES; i++) {
            uint64_t p0 = (uint64_t)0xD2511F53u * c0[i], p1 = (uint64_t)0xCD9E8D57u * c2[i];
            c0[i] = (uint32_t)(p1 >> 32) ^ c1[i] ^ k0;
            c2[i] = (uint32_t)(p0 >> 32) ^ c3[i] ^ k1;
            c1[i] = (uint32_t)p1, c3[i] = (uint32_t)p0;
        }
        k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
    }
    for (int i = 0; i < LANES; i++)
        out[4 * i] = c0[i], out[4 * i + 1] = c1[i], out[4 * i + 2] = c2[i], out[4 * i + 3] = c3[i];
}

static lmf_status fwd(const lmf_call *call, const lmf_worker *wk)
{
    const lmf_dropout_attrs *a = call->attrs;
    const int32_t *pos = call->in[1].data, *item = call->in[2].data, *noise = call->in[3].data;
    const float *x = call->in[0].data, *c = call->n_in > 4 && call->in[4].n_dims ? call->in[4].data : NULL;
    float *y = call->out[0].data, scale = 1 / (1 - a->p);
    uint32_t word[4 * LANES], bound = lmf_dropout_bound(a->p);
    int64_t t, end, k = call->out[0].dim[1];
    lmf_split(call->out[0].dim[0], 1, wk->i_worker, wk->n_workers, &t, &end);
    for (; t < end; t++) {
        uint64_t key = lmf_dropout_row(noise, a->stream, item[t], pos[t]);
        for (int64_t j = 0; j < k; j += 4 * LANES) {
            int64_t n = k - j < 4 * LANES ? k - j : 4 * LANES, at = t * k + j;
            draw(key, (uint32_t)(j / 4), word);
            for (int64_t i = 0; i < n; i++)
                y[at + i] = fmaf(x[at + i], word[i] >> 8 >= bound ? scale : 0, c ? c[at + i] : 0);
        }
    }
    return LMF_OK;
}

LMF_CPU_ROWS(dropout) = {
    { .name = "dropout_fwd_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = LMF_ISA_NEEDS, .match = fits, .run = fwd },
    { 0 }
};
