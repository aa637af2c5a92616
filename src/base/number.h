/* SPDX-License-Identifier: Apache-2.0 */
/* number: whole numbers out of text, read to where they end, which the caller looks at. Threads: any.
 *     const char *p = "7 of 9"; int64_t n;
 *     if (lmf_number_read(&p, &n) && *p == ' ') ... n is 7 */
#ifndef LMF_BASE_NUMBER_H
#define LMF_BASE_NUMBER_H
#include <stdbool.h>
#include <stdint.h>

/* The decimal digits at *p into *out, *p behind them. False, and nothing changed, where no digit stands or 63 bits don't hold
 * the number. */
static inline bool lmf_number_read(const char **p, int64_t *out)
{
    int64_t v = 0;
    const char *at = *p;
    for (; *at >= '0' && *at <= '9'; at++)
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, *at - '0', &v))
            return false;
    if (at == *p)
        return false;
    *p = at, *out = v;
    return true;
}

/* The whole of text is one such number. */
static inline bool lmf_number_is(const char *text, int64_t *out)
{
    int64_t v;
    if (!lmf_number_read(&text, &v) || *text)
        return false;
    *out = v;
    return true;
}

#endif
