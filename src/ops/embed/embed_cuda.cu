/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: embed_bwd sums the rows of one token in index order: the block of a token's first row sums all of them. */
#include "device/cuda/unpack.cuh"

/* One block a row of y. */
#define EMBED(name, dtype)                                                                                           \
    LMF_KERNEL_EARLY(embed_fwd_##name)(const int *token, const uint8_t *w, float *y, int64_t row_bytes, int64_t n_vocab, int d) \
    {                                                                                                                \
        LMF_AFTER();                                                                                                 \
        int v = token[blockIdx.x];                                                                                   \
        const uint8_t *row = w + v * row_bytes;                                                                      \
        for (int i = threadIdx.x; i < d; i += blockDim.x)                                                            \
            y[(int64_t)blockIdx.x * d + i] = v >= 0 && v < n_vocab ? lmf_load<dtype>(row, i) : 0.0f;                 \
    }
LMF_EACH_FORMAT(EMBED)

#define EMBED16(name, dtype)                                                                                         \
    LMF_KERNEL(embed_fwd_##name##_as_bf16)(const int *token, const uint8_t *w, __nv_bfloat16 *y, int64_t row_bytes, int64_t n_vocab, \
                                           int d)                                                                    \
    {                                                                                                                \
        int v = token[blockIdx.x];                                                                                   \
        const uint8_t *row = w + v * row_bytes;                                                                      \
        for (int i = threadIdx.x; i < d; i += blockDim.x)                                                            \
            lmf_write(y + (int64_t)blockIdx.x * d + i, v >= 0 && v < n_vocab ? lmf_load<dtype>(row, i) : 0.0f);      \
    }
LMF_EACH_FORMAT(EMBED16)

/* dw [n_vocab, d] += dy of at most PIECE rows: pieces follow each other, dw is zeroed before the first. One block a row; that of a token's
 * first row in the piece adds them all. */
enum { PIECE = 4096 };
template <class T>
static __device__ __forceinline__ void embed_bwd(const int *token, const T *dy, float *dw, int64_t dy_stride, int n_rows, int64_t n_vocab,
                                                 int d)
{
    __shared__ unsigned same[PIECE / 32]; /* a bit a row with this token */
    int t = blockIdx.x, v = token[t], words = (n_rows + 31) / 32, seen = 0;
    if (v < 0 || v >= n_vocab)
        return;
    for (int u = threadIdx.x; u < 32 * words; u += blockDim.x) { /* whole warps */
        unsigned bits = __ballot_sync(0xffffffffu, u < n_rows && token[u] == v);
        if (threadIdx.x % 32 == 0)
            same[u / 32] = bits;
        seen |= u < t && bits >> (u & 31) & 1;
    }
    if (__syncthreads_or(seen))
        return;
    for (int i = threadIdx.x; i < d; i += blockDim.x) {
        float sum = dw[(int64_t)v * d + i];
        for (int w = t / 32; w < words; w++)
            for (unsigned bits = same[w]; bits; bits &= bits - 1)
                sum += lmf_read(dy + (int64_t)(32 * w + __ffs((int)bits) - 1) * dy_stride + i);
        dw[(int64_t)v * d + i] = sum;
    }
}
LMF_KERNEL(embed_bwd_f32)(const int *token, const float *dy, float *dw, int64_t dy_stride, int n_rows, int64_t n_vocab, int d)
{
    embed_bwd(token, dy, dw, dy_stride, n_rows, n_vocab, d);
}
LMF_KERNEL(embed_bwd_bf16)(const int *token, const __nv_bfloat16 *dy, float *dw, int64_t dy_stride, int n_rows, int64_t n_vocab, int d)
{
    embed_bwd(token, dy, dw, dy_stride, n_rows, n_vocab, d);
}
