/* SPDX-License-Identifier: Apache-2.0 */
/* PEFT's modules against the graph's tensors: a fused matrix whose parts differ in size and stand in the table in another order. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "models/adapter.h"
#include "test.h"

enum { WIDTH = 4, Q = 6, K = 2, V = 3, ALL = Q + K + V, R = 2, N_LAYERS = 2, N_PAIRS = 2 * N_LAYERS };

static int64_t dim(const void *config, char letter)
{
    (void)config;
    return letter == 'D' ? WIDTH : letter == 'Q' ? Q : letter == 'K' ? K : letter == 'V' ? V : -1;
}

#define FUSED(role, part, shape, its_parts) { "layers.{l}." role, "h.{l}.qkv.weight", NULL, shape, .hf_form = LMF_FORM_SLICE, \
    .hf_part = part, .parts = its_parts, .flags = LMF_ROW_LORA_TARGET }
#define TABLE(its_parts) { { "embed", "embed.weight", NULL, "V,D" }, FUSED("v", 2, "V,D", its_parts), FUSED("q", 0, "Q,D", its_parts), \
    FUSED("k", 1, "K,D", its_parts), { "layers.{l}.o", "h.{l}.o.weight", NULL, "D,Q", .flags = LMF_ROW_LORA_TARGET }, { 0 } }
static const lmf_weight_row table[] = TABLE("Q,K,V");
static const lmf_arch fused = { .name = "fused", .config_bytes = sizeof(lmf_config_base), .weights = table, .dim = dim };
/* Its parts leave rows out: K stands twice, V is not all of it. */
static const lmf_weight_row holes[] = { FUSED("q", 0, "Q,D", "Q,K,V"), FUSED("v", 2, "V,D", "Q,K,V"), { 0 } };
static const lmf_arch with_holes = { .name = "holes", .config_bytes = sizeof(lmf_config_base), .weights = holes, .dim = dim };

static lmf_model *open_model(lmf_ctx *ctx, const lmf_arch *arch)
{
    lmf_weights *w;
    lmf_model *m;
    lmf_config_base c = { N_LAYERS, WIDTH, V, 8 };
    char role[64];
    assert_ok(ctx, lmf_weights_create(ctx, &w));
    for (const lmf_weight_row *row = arch->weights; row->role; row++)
        for (int l = 0; l < (strstr(row->role, "{l}") ? N_LAYERS : 1); l++) {
            int64_t d[LMF_MAX_DIMS];
            int n = lmf_shape_eval(arch, &c, row->shape, d);
            assert_ok(ctx, lmf_model_name(ctx, row->role, l, "", role, sizeof role));
            assert_ok(ctx, lmf_weights_add(w, role, LMF_F32, n, d, NULL, false, NULL));
        }
    assert_ok(ctx, lmf_model_from_parts(ctx, arch, &c, w, &m));
    return m;
}

static float value(int pair, int half, int64_t i) { return (float)(100 * pair + 50 * half) + (float)i; }

/* A folder with the pairs of "h.L.qkv" and "h.L.o"; one of them spoiled. */
typedef struct spoiled { int pair; const char *path; int64_t n_in, n_out; } spoiled;
static const char *write_folder(lmf_ctx *ctx, const char *name, const spoiled *bad, double alpha_of_first)
{
    static float a[N_PAIRS][64], b[N_PAIRS][64];
    static char path[N_PAIRS][16], dir[256];
    lmf_adapter_entry e[N_PAIRS];
    for (int i = 0; i < N_PAIRS; i++) {
        bool o = i % 2;
        snprintf(path[i], sizeof path[i], "h.%d.%s", i / 2, o ? "o" : "qkv");
        e[i] = (lmf_adapter_entry){ .path = path[i], .dtype = LMF_F32, .n_in = o ? Q : WIDTH, .n_out = o ? WIDTH : ALL, .r = R,
            .alpha = 6, .a = a[i], .b = b[i] };
        if (bad && bad->pair == i) {
            e[i].path = bad->path ? bad->path : e[i].path;
            e[i].n_in += bad->n_in, e[i].n_out += bad->n_out;
        }
        for (int64_t k = 0; k < 64; k++)
            a[i][k] = value(i, 0, k), b[i][k] = value(i, 1, k);
    }
    e[0].alpha = alpha_of_first;
    lmf_adapter_config c = { .r = R, .alpha = 6, .base_model = "", .task_type = "", .n_targets = 3,
        .target = (const char *const[]){ "qkv", "o", "embed" } };
    snprintf(dir, sizeof dir, "%s", lmf_test_path(name));
    assert_ok(ctx, lmf_adapter_save(ctx, dir, &c, e, N_PAIRS));
    return dir;
}

static void modules_are_matrices(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m = open_model(ctx, &fused), *h = open_model(ctx, &with_holes);
    lmf_arena arena;
    lmf_modules all;
    lmf_arena_init(&arena, ctx, 1 << 20);
    assert_ok(ctx, lmf_modules_list(&arena, m, &all));
    assert_int_equal(all.n, N_PAIRS);
    const lmf_module *q = &all.items[1], *o = &all.items[3];
    assert_string_equal(q->path, "h.1.qkv");
    assert_string_equal(lmf_module_name(q), "qkv");
    assert_true(q->n_in == WIDTH && q->n_out == ALL && q->n_parts == 3);
    assert_string_equal(q->part[0].role, "layers.1.q");
    assert_string_equal(q->part[1].role, "layers.1.k");
    assert_string_equal(q->part[2].role, "layers.1.v");
    assert_true(q->part[0].first == 0 && q->part[1].first == Q && q->part[2].first == Q + K && q->part[2].n == V);
    assert_true(o->n_in == Q && o->n_out == WIDTH && o->n_parts == 1 && o->part[0].first == 0);
    assert_refused(ctx, LMF_E_INTERNAL, "holes leave rows of h.0.qkv out", lmf_modules_list(&arena, h, &all));
    lmf_arena_clear(&arena);
    lmf_model_close(h);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

static void pairs_reach_their_parts(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m = open_model(ctx, &fused);
    lmf_model_adapter a;
    assert_ok(ctx, lmf_model_adapter_open(ctx, m, write_folder(ctx, "adapter_fits", NULL, 10), &a));
    assert_true(a.rank == R && a.modules.n == N_PAIRS && a.pair[0] && a.pair[3]);
    assert_true(a.pair[0]->scale == 5 && a.pair[1]->scale == 3); /* an alpha of its own */
    for (int p = 0; p < 3; p++) {
        const lmf_module_part *part = &a.modules.items[1].part[p];
        float got_a[R * WIDTH], got_b[16][R + 3];
        memset(got_b, 0, sizeof got_b);
        lmf_pair_read(ctx, a.pair[1], part, 0.5, got_a, got_b[0], R + 3);
        for (int64_t i = 0; i < R * WIDTH; i++)
            assert_true(got_a[i] == value(2, 0, i));
        for (int64_t i = 0; i < part->n; i++) {
            for (int64_t k = 0; k < R; k++)
                assert_true(got_b[i][k] == 0.5f * value(2, 1, (part->first + i) * R + k));
            assert_true(got_b[i][R] == 0); /* the next slot's */
        }
        assert_true(got_b[part->n][0] == 0);
    }
    lmf_model_adapter_close(&a);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

static void saved_is_what_opens(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m = open_model(ctx, &fused);
    static float a[N_PAIRS][64], b[N_PAIRS][64];
    lmf_trained_pair pair[N_PAIRS];
    lmf_arena arena;
    lmf_modules all;
    lmf_model_adapter got;
    char dir[256];
    lmf_arena_init(&arena, ctx, 1 << 20);
    assert_ok(ctx, lmf_modules_list(&arena, m, &all));
    for (int i = 0; i < N_PAIRS; i++) {
        for (int64_t k = 0; k < 64; k++)
            a[i][k] = value(i, 0, k), b[i][k] = value(i, 1, k);
        pair[i] = (lmf_trained_pair){ &all.items[i], a[i], b[i] };
    }
    snprintf(dir, sizeof dir, "%s", lmf_test_path("adapter_saved"));
    lmf_adapter_config c = { .r = R, .alpha = 3, .use_rslora = true, .base_model = "base", .task_type = "CAUSAL_LM" };
    assert_ok(ctx, lmf_model_adapter_save(ctx, dir, &c, pair, N_PAIRS));
    assert_ok(ctx, lmf_model_adapter_open(ctx, m, dir, &got));
    const lmf_adapter_config *config = lmf_adapter_get_config(got.file);
    assert_true(config->n_targets == 2 && !strcmp(config->target[0], "qkv") && !strcmp(config->target[1], "o"));
    for (int i = 0; i < N_PAIRS; i++) {
        const lmf_adapter_pair *p = got.pair[i];
        assert_true(p && fabs(p->scale - 3 / sqrt(R)) < 1e-15);
        assert_int_equal(memcmp(p->a->data, a[i], p->a->bytes), 0);
        assert_int_equal(memcmp(p->b->data, b[i], p->b->bytes), 0);
    }
    lmf_model_adapter_close(&got);
    lmf_arena_clear(&arena);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

static void misfits_are_refused(void **state)
{
    static const struct { spoiled bad; lmf_status status; const char *words; } cases[] = {
        { { 0, NULL, 1, 0 }, LMF_E_SHAPE, "h.0.qkv is for a layer of 5 inputs and 11 outputs, the model's has 4 and 11: the adapter "
            "belongs to another base" },
        { { 2, NULL, 0, -3 }, LMF_E_SHAPE, "h.1.qkv is for a layer of 4 inputs and 8 outputs" },
        { { 3, "h.2.o", 0, 0 }, LMF_E_NOT_FOUND, "1 of the adapter's 4 layers are not in the model, or can't have an adapter, h.2.o the "
            "first" },
        { { 3, "embed", 0, 0 }, LMF_E_NOT_FOUND, "embed the first" },
        { { 1, "layers.0.o", 0, 0 }, LMF_E_NOT_FOUND, "layers.0.o the first" } }; /* a role is no module's name */
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m = open_model(ctx, &fused);
    lmf_model_adapter a;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        char name[32];
        snprintf(name, sizeof name, "adapter_bad%zu", i);
        assert_refused(ctx, cases[i].status, cases[i].words, lmf_model_adapter_open(ctx, m, write_folder(ctx, name, &cases[i].bad, 6), &a));
        assert_null(a.file);
    }
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(adapter_map) = {
    { "modules are stored matrices", modules_are_matrices },
    { "pairs reach their parts", pairs_reach_their_parts },
    { "what was saved is what opens", saved_is_what_opens },
    { "misfits are refused", misfits_are_refused },
    { 0 }
};
