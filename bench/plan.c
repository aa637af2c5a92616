/* SPDX-License-Identifier: Apache-2.0 */
/* plan: what it takes to build and plan one serving graph: the body of a llama of SmolLM2-135M's shape (30 layers) for one
 * bucket of rows, on the null device and on the CPU; best of 20, in milliseconds, against the aim of 5 ms a plan. The bodies of
 * GPT-2 and Hymba stand in tests/unit/arch_*_test.c, which print theirs: lmf_tests arch_gpt2 arch_hymba.
 *
 *     bench_plan [--max MS]     exits 1 where one takes longer */
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "graph/plan.h"
#include "models/arch.h"
#include "nn/nn.h"
#include "registry/registry.h"

enum { LAYERS = 30, D = 576, H = 9, K = 3, C = 64, F = 1536, V = 49152, PAGES = 64, PAGE = 16, SEQS = 8 };

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static lmf_status make_weights(lmf_ctx *ctx, lmf_weights *w)
{
    static const struct { const char *name; int64_t dim[2]; } layer[] = {
        { "attn_norm", { D } }, { "attn.q", { H * C, D } }, { "attn.k", { K * C, D } }, { "attn.v", { K * C, D } }, { "attn.o", { D, H * C } },
        { "mlp_norm", { D } }, { "mlp.gate", { F, D } }, { "mlp.up", { F, D } }, { "mlp.down", { D, F } } };
    static const char bytes[4]; /* never read: nothing is bound */
    char name[64];
    (void)ctx;
    LMF_TRY(lmf_weights_add(w, "embed", LMF_BF16, 2, (int64_t[]){ V, D }, bytes, true, NULL));
    LMF_TRY(lmf_weights_add(w, "norm", LMF_F32, 1, (int64_t[]){ D }, bytes, true, NULL));
    for (int l = 0; l < LAYERS; l++)
        for (size_t i = 0; i < sizeof layer / sizeof *layer; i++) {
            bool vector = layer[i].dim[1] == 0;
            snprintf(name, sizeof name, "layers.%d.%s", l, layer[i].name);
            LMF_TRY(lmf_weights_add(w, name, vector ? LMF_F32 : LMF_BF16, vector ? 1 : 2, layer[i].dim, bytes, true, NULL));
        }
    return LMF_OK;
}

static lmf_tensor *input(lmf_graph *g, const char *name, int n_dims, int64_t a, int64_t b)
{
    return lmf_graph_tensor(g, LMF_INPUT, name, LMF_I32, n_dims, (int64_t[]){ a, b });
}

static lmf_status build(lmf_ctx *ctx, const lmf_arch *arch, const void *config, const lmf_weights *w, int64_t rows, lmf_graph **out)
{
    static lmf_nn nn;
    nn = (lmf_nn){ .weights = w, .compute = 1 };
    lmf_graph *g;
    LMF_TRY(lmf_graph_create(ctx, out));
    g = *out;
    g->config = config, g->user = &nn;
    lmf_batch in = { .token = input(g, "token", 1, rows, 0), .pos = input(g, "pos", 1, rows, 0), .seq = input(g, "seq", 1, rows, 0),
                     .q_start = input(g, "q_start", 1, SEQS + 1, 0), .page = input(g, "page", 2, SEQS, PAGES),
                     .n_pages = PAGES * SEQS, .page_size = PAGE, .cache_dtype = LMF_F16 };
    lmf_graph_output(g, "hidden", arch->body(g, &in, arch->embed(g, &in)));
    return lmf_graph_finish(g);
}

static lmf_status measure(lmf_ctx *ctx, const char *device, const lmf_arch *arch, const void *config, const lmf_weights *w, int64_t rows, double *best)
{
    lmf_device *dev;
    lmf_status s = LMF_OK;
    int n_nodes = 0;
    double graph_ms = 1e9;
    LMF_TRY(lmf_device_open(ctx, device, &dev));
    *best = 1e9;
    for (int i = 0; i < 20 && !s; i++) {
        lmf_graph *g = NULL;
        lmf_plan *p = NULL;
        double t0 = now(), t1 = t0;
        s = build(ctx, arch, config, w, rows, &g);
        if (!s) {
            t1 = now();
            n_nodes = g->n_nodes;
            s = lmf_plan_create(dev, &g, 1, NULL, &p);
        }
        double ms = 1e3 * (now() - t0);
        if (ms < *best)
            *best = ms, graph_ms = 1e3 * (t1 - t0);
        lmf_plan_destroy(p);
        lmf_graph_destroy(g);
    }
    if (!s)
        printf("%-6s %4d layers %4lld rows on %-5s %5d nodes: graph %.2f ms + plan %.2f ms = %.2f ms\n", arch->name, LAYERS, (long long)rows, device, n_nodes, graph_ms,
               *best - graph_ms, *best);
    lmf_device_close(dev);
    return s;
}

/* The table's own way to fill a configuration: fields by their name. */
static void set(const lmf_arch *arch, void *config, const char *field, int32_t v, float real)
{
    for (const lmf_hparam *h = arch->hparams; h->field; h++)
        if (strcmp(h->field, field) == 0) {
            if (h->kind == LMF_HPARAM_F32)
                *(float *)((char *)config + h->offset) = real;
            else
                *(int32_t *)((char *)config + h->offset) = v;
        }
}

int main(int argc, char **argv)
{
    static union { char bytes[4096]; double align; } config;
    static const struct { const char *field; int32_t v; float real; } fields[] = {
        { "n_layers", LAYERS, 0 }, { "width", D, 0 }, { "vocab", V, 0 }, { "context", 2048, 0 }, { "n_heads", H, 0 }, { "n_kv_heads", K, 0 },
        { "head_size", C, 0 }, { "ffn", F, 0 }, { "eps", 0, 1e-5f }, { "rope_base", 0, 10000 }, { "rope_factor", 0, 1 } };
    double max = argc > 2 && !strcmp(argv[1], "--max") ? atof(argv[2]) : 1e9, worst = 0, ms;
    lmf_ctx *ctx;
    lmf_weights *w;
    const lmf_arch *arch = NULL;
    if (lmf_ctx_create(&ctx) || lmf_weights_create(ctx, &w))
        return 2;
    for (const lmf_arch *const *a = ctx->tables->archs; *a; a++)
        if (strcmp((*a)->name, "llama") == 0)
            arch = *a;
    lmf_status s = arch && arch->config_bytes <= sizeof config ? make_weights(ctx, w) : LMF_FAIL(ctx, LMF_E_NOT_FOUND, "no llama");
    for (size_t i = 0; !s && i < sizeof fields / sizeof *fields; i++)
        set(arch, &config, fields[i].field, fields[i].v, fields[i].real);
    for (int i = 0; i < 6 && !s; i++) {
        s = measure(ctx, i % 2 ? "cpu" : "null", arch, &config, w, (const int64_t[]){ 1, 64, 512 }[i / 2], &ms);
        worst = !s && ms > worst ? ms : worst;
    }
    if (s)
        fprintf(stderr, "%s\n", lmf_error(ctx));
    lmf_weights_destroy(w);
    lmf_ctx_destroy(ctx);
    return s ? 2 : worst > max;
}
