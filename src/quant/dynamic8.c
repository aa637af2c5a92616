/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: every rounding is one of f32, as the source's; a table that is one bit off gives other codes. */
#include "quant/dynamic8.h"
#include <math.h>
#include <stdlib.h>

static int rising(const void *a, const void *b)
{
    float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* The i-th of n + 1 bounds of equal parts of [0.1, 1], counted from the nearer end. */
static float bound(int i, int n)
{
    float step = (1 - 0.1f) / (float)n;
    return i < (n + 1) / 2 ? fmaf(step, (float)i, 0.1f) : fmaf(-step, (float)(n - i), 1);
}

void lmf_dynamic8_map(bool is_signed, float map[256])
{
    static const float decade[] = { 1e-6f, 1e-5f, 1e-4f, 1e-3f, 1e-2f, 1e-1f, 1 };
    int n = 0;
    map[n++] = 0;
    map[n++] = 1;
    for (int d = 0; d < 7; d++) {
        int parts = is_signed ? 1 << d : 2 << d;
        for (int i = 0; i < parts; i++) {
            float v = decade[d] * ((bound(i, parts) + bound(i + 1, parts)) / 2);
            map[n++] = v;
            if (is_signed)
                map[n++] = -v;
        }
    }
    qsort(map, 256, sizeof *map, rising);
}
