/* SPDX-License-Identifier: Apache-2.0 */
/* quant: lets tools/oracle/quant.py call one function of one format.
 *
 *     driver_quant unpack|pack|list FORMAT [scalar|avx2|avx512|native] < in > out
 *
 * unpack reads blocks and writes f32, pack the reverse; the level picks the rows (default native).
 * list prints "name dtype block block_bytes readable writable" a line. */
#include "base/cpu.h"
#include "device/dtype.h"
#include "registry/registry.h"
#include <stdio.h>
#include <string.h>

static char *read_all(size_t *n)
{
    size_t cap = 1 << 16;
    char *p = malloc(cap);
    for (*n = 0; p;) {
        size_t got = fread(p + *n, 1, cap - *n, stdin);
        *n += got;
        if (!got)
            break;
        if (*n == cap) {
            char *q = realloc(p, cap *= 2);
            if (!q)
                free(p);
            p = q;
        }
    }
    return p;
}

static int convert(lmf_format f, bool unpack)
{
    size_t n, in_unit = unpack ? f.block_bytes : 4 * (size_t)f.block;
    char *in = read_all(&n), *out = in ? malloc(n / in_unit * (unpack ? 4 * (size_t)f.block : f.block_bytes) + 1) : NULL;
    int bad = !out || n % in_unit || !(unpack ? (void *)f.unpack : (void *)f.pack);
    if (!bad) {
        int64_t elements = (int64_t)(n / in_unit) * f.block;
        size_t bytes = unpack ? (size_t)elements * 4 : lmf_format_bytes(&f, elements);
        if (unpack)
            f.unpack(in, (float *)(void *)out, elements);
        else
            f.pack((const float *)(const void *)in, out, elements);
        bad = fwrite(out, 1, bytes, stdout) != bytes;
    }
    free(in), free(out);
    return bad;
}

int main(int argc, char **argv)
{
    lmf_ctx *ctx;
    if (lmf_ctx_create(&ctx))
        return fprintf(stderr, "out of memory\n"), 1;
    uint64_t allowed = ~UINT64_C(0);
    const lmf_format *f = argc > 2 ? lmf_format_find(ctx, argv[2]) : NULL;
    int bad = 2;
    if (argc == 2 && !strcmp(argv[1], "list")) {
        for (const lmf_format *const *g = ctx->tables->formats; *g; g++)
            printf("%s %d %d %d %d %d\n", (*g)->name, (*g)->dtype, (*g)->block, (int)(*g)->block_bytes, (*g)->unpack != NULL, (*g)->pack != NULL);
        bad = 0;
    } else if (f && (argc < 4 || lmf_cpu_level(argv[3], &allowed)) && (!strcmp(argv[1], "unpack") || !strcmp(argv[1], "pack")))
        bad = convert(lmf_format_resolve(ctx, f, ctx->cpu_features & allowed), argv[1][0] == 'u');
    if (bad)
        fprintf(stderr, "usage: driver_quant unpack|pack|list FORMAT [LEVEL], input in whole blocks\n");
    lmf_ctx_destroy(ctx);
    return bad;
}
