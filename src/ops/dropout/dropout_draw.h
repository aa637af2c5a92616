/* SPDX-License-Identifier: Apache-2.0 */
/* dropout_draw: the key that a row draws with (dropout.h). Read by C and CUDA alike. */
#ifndef LMF_OPS_DROPOUT_DRAW_H
#define LMF_OPS_DROPOUT_DRAW_H
#include "base/philox.h"

LMF_ALSO_ON_GPU static inline uint64_t lmf_dropout_row(const int32_t noise[3], int32_t stream, int32_t item, int32_t pos)
{
    uint32_t r[4];
    uint64_t seed = (uint64_t)(uint32_t)noise[1] << 32 | (uint32_t)noise[0];
    lmf_philox4x32(seed, (uint64_t)(uint32_t)item << 32 | (uint32_t)pos, (uint64_t)(uint32_t)noise[2] << 32 | (uint32_t)stream, r);
    return (uint64_t)r[1] << 32 | r[0];
}

#endif
