/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the sines of a row are computed once for all its heads, by the worker that owns the row. */
#include "ops/rope/rope.h"
#include <math.h>
#include <string.h>
#include "base/simd.h"
#include "base/team.h"
#include "device/device.h"

static bool dense(const lmf_call *c, const lmf_device *dev)
{
    (void)dev;
    return c->in[0].dtype == LMF_F32 && lmf_view_is_dense(&c->in[0]) && lmf_view_is_dense(&c->in[1]) && lmf_view_is_dense(&c->in[2]);
}

/* cos, then sin, of n_rot/2 angles for each worker */
static size_t scratch(const lmf_call *c, const lmf_device *dev)
{
    return (size_t)((const lmf_rope_attrs *)c->attrs)->n_rot * sizeof(float) * (size_t)dev->n_workers;
}

#if defined(__FMA__)
typedef double  vd __attribute__((vector_size(LMF_VF * 4), aligned(4)));
typedef int64_t vl __attribute__((vector_size(LMF_VF * 4), aligned(4)));
typedef float   vh __attribute__((vector_size(LMF_VF * 2), aligned(4))); /* half as many floats as lmf_vf */
enum { VD = LMF_VF / 2 };

static inline vd fma_d(vd a, vd b, vd c)
{
#if defined(__AVX512F__)
    return (vd)__builtin_ia32_vfmaddpd512_mask((__attribute__((vector_size(64))) double)a, (__attribute__((vector_size(64))) double)b,
                                               (__attribute__((vector_size(64))) double)c, (unsigned char)-1, 4);
#else
    return (vd)__builtin_ia32_vfmaddpd256((__attribute__((vector_size(32))) double)a, (__attribute__((vector_size(32))) double)b,
                                          (__attribute__((vector_size(32))) double)c);
#endif
}
/* Taylor's series on [-pi/4, pi/4] to 2e-9, after pi/2 in two parts is taken away n times; n's last bits pick the quadrant. */
static inline void sincos_d(vd x, vd *sin_x, vd *cos_x)
{
    static const double S[] = { 1.0 / 362880, -1.0 / 5040, 1.0 / 120, -1.0 / 6, 1 }, C[] = { -1.0 / 3628800, 1.0 / 40320, -1.0 / 720, 1.0 / 24, -0.5, 1 };
    const vd zero = { 0 }, magic = 0x1.8p52 + zero; /* adds and subtracts to round; what it was added to keeps n in its last bits */
    vd q = fma_d(x, 0x1.45f306dc9c883p-1 + zero, magic), n = q - magic;
    vd r = fma_d(n, -0x1.1a62633145c07p-54 + zero, fma_d(n, -0x1.921fb54442d18p0 + zero, x)), r2 = r * r, s = S[0] + zero, c = C[0] + zero;
    for (int i = 1; i < 5; i++)
        s = fma_d(s, r2, S[i] + zero);
    for (int i = 1; i < 6; i++)
        c = fma_d(c, r2, C[i] + zero);
    s *= r;
    vl odd = -((vl)q & 1), s_minus = ((vl)q & 2) << 62, c_minus = (((vl)q + 1) & 2) << 62;
    *sin_x = (vd)((((vl)s & ~odd) | ((vl)c & odd)) ^ s_minus);
    *cos_x = (vd)((((vl)c & ~odd) | ((vl)s & odd)) ^ c_minus);
}
#endif

/* cos and sin of pos * freq, times scale; sin turned round where inverse. */
static void angles(const lmf_rope_attrs *a, int32_t pos, const float *freq, float *cs, float *sn)
{
    int64_t half = a->n_rot / 2, i = 0;
    double p = (double)pos, scale = (double)a->scale, s_scale = a->inverse ? -scale : scale, s, k;
#if defined(__FMA__)
    for (vd vs, vk; i + VD <= half; i += VD) {
        sincos_d(__builtin_convertvector(*(const vh *)(freq + i), vd) * p, &vs, &vk);
        *(vh *)(cs + i) = __builtin_convertvector(vk * scale, vh);
        *(vh *)(sn + i) = __builtin_convertvector(vs * s_scale, vh);
    }
#endif
    for (; i < half; i++) {
        sincos(p * (double)freq[i], &s, &k);
        cs[i] = (float)(k * scale);
        sn[i] = (float)(s * s_scale);
    }
}

static lmf_status fwd(const lmf_call *c, const lmf_worker *wk)
{
    const lmf_rope_attrs *a = c->attrs;
    int64_t width = c->in[0].dim[1], half = a->n_rot / 2, begin, end;
    const float *freq = c->in[2].data;
    const int32_t *pos = c->in[1].data;
    float *cs = (float *)c->scratch + (int64_t)wk->i_worker * a->n_rot, *sn = cs + half;
    lmf_split(c->in[0].dim[0], 1, wk->i_worker, wk->n_workers, &begin, &end);
    for (int64_t t = begin; t < end; t++) {
        angles(a, pos[t], freq, cs, sn);
        for (int64_t h = 0; h < width; h += a->head_size) {
            const float *x = (const float *)c->in[0].data + t * width + h;
            float *y = (float *)c->out[0].data + t * width + h;
            int64_t i = 0;
            for (; i + LMF_VF <= half; i += LMF_VF) {
                lmf_vf x0 = lmf_vf_load(x + i), x1 = lmf_vf_load(x + half + i), k = lmf_vf_load(cs + i), s = lmf_vf_load(sn + i);
                lmf_vf_store(y + i, x0 * k - x1 * s);
                lmf_vf_store(y + half + i, x1 * k + x0 * s);
            }
            for (; i < half; i++) {
                float x0 = x[i], x1 = x[half + i];
                y[i] = x0 * cs[i] - x1 * sn[i];
                y[half + i] = x1 * cs[i] + x0 * sn[i];
            }
            memcpy(y + a->n_rot, x + a->n_rot, (size_t)(a->head_size - a->n_rot) * sizeof *y);
        }
    }
    return LMF_OK;
}

LMF_CPU_ROWS(rope) = {
    { .name = "rope_fwd_f32", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .needs = LMF_ISA_NEEDS, .match = dense, .scratch = scratch, .run = fwd },
    { 0 }
};
