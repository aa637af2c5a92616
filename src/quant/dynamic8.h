/* SPDX-License-Identifier: Apache-2.0 */
/* dynamic8: numbers from -1 to 1, or 0 to 1, in 8 bits with an exponent that grows towards 0: what scales of nf4 and states of optimizers
 * are kept in. A code is the place of a number in a rising table; the table has 0 and 1, and in each decade from 10^-6 on twice as many
 * numbers as in the one below it, the middles of equal parts of [0.1, 1].
 * Source: Dettmers 2015, arXiv 1511.04561; bitsandbytes' create_dynamic_map, whose numbers these are bit by bit. */
#ifndef LMF_QUANT_DYNAMIC8_H
#define LMF_QUANT_DYNAMIC8_H
#include <stdbool.h>
#include <stdint.h>

void lmf_dynamic8_map(bool is_signed, float map[256]);

/* Nearest code; of two as near the lower one, NaN gives 0. */
static inline uint8_t lmf_dynamic8_code(const float map[256], float x)
{
    int at = 0;
    for (int step = 128; step; step >>= 1) /* how many bounds lie below x: bound i is the middle between i and i + 1 */
        if (at + step < 256 && (map[at + step - 1] + map[at + step]) / 2 < x)
            at += step;
    return (uint8_t)at;
}

#endif
