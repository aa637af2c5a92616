/* SPDX-License-Identifier: Apache-2.0 */
/* An architecture that stands in a test alone: its table makes weights without bytes, its body is planned for serving and for training
 * on the null device. What the tests prove is the contract: nothing outside the test's file knows the model. */
#ifndef LMF_TESTS_UNIT_ARCH_TEST_H
#define LMF_TESTS_UNIT_ARCH_TEST_H
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "device/null/null.h"
#include "graph/plan.h"
#include "models/model.h"
#include "nn/nn.h"
#include "ops/accumulate/accumulate.h"
#include "ops/head_nll/head_nll.h"
#include "test.h"

/* A node of a private op: the device never runs its reference. */
static inline lmf_status arch_never_runs(const lmf_call *c) { (void)c; return LMF_E_INTERNAL; }

typedef struct arch_case { lmf_ctx *ctx; const lmf_arch *arch; void *config; lmf_weights *weights; lmf_params params; lmf_param item[2048]; char names[2048][48]; } arch_case;

/* Every role of the table with its shape; as weights for serving and as trainable parameters. */
static inline void arch_fill(arch_case *a)
{
    static const char bytes[4]; /* never read */
    const lmf_config_base *c = a->config;
    assert_ok(a->ctx, a->arch->check(a->ctx, a->config));
    assert_ok(a->ctx, lmf_weights_create(a->ctx, &a->weights));
    a->params.items = a->item;
    for (const lmf_weight_row *row = a->arch->weights; row->role; row++) {
        bool layered = strstr(row->role, "{l}") != NULL;
        for (int l = 0; l < (layered ? c->n_layers : 1); l++) {
            int64_t dim[LMF_MAX_DIMS], n = 1;
            lmf_param *p = &a->item[a->params.n];
            int n_dims = lmf_shape_eval(a->arch, a->config, row->shape, dim);
            if (row->tied || ((row->flags & LMF_ROW_OPTIONAL) && layered && l % 2)) /* optional: half the layers have it not */
                continue;
            assert_true(n_dims > 0 && a->params.n < 2048);
            assert_ok(a->ctx, lmf_model_name(a->ctx, row->role, l, "", a->names[a->params.n], sizeof a->names[0]));
            assert_ok(a->ctx, lmf_weights_add(a->weights, a->names[a->params.n], LMF_F32, n_dims, dim, bytes, true, NULL));
            for (int i = 0; i < n_dims; i++)
                n *= p->dim[i] = dim[i];
            p->name = a->names[a->params.n], p->n_dims = (uint8_t)n_dims, p->count = n, p->offset = a->params.n_total;
            a->params.n_total += n;
            a->params.n++;
        }
    }
}

static inline lmf_tensor *arch_input(lmf_graph *g, const char *name, uint16_t dtype, int n_dims, int64_t x, int64_t y)
{
    return lmf_graph_tensor(g, LMF_INPUT, name, dtype, n_dims, (int64_t[]){ x, y });
}

static inline lmf_batch arch_batch(lmf_graph *g, int64_t rows, int64_t seqs, bool serve, bool recurrent)
{
    lmf_batch in = { .token = arch_input(g, "token", LMF_I32, 1, rows, 0), .pos = arch_input(g, "pos", LMF_I32, 1, rows, 0),
                     .seq = arch_input(g, "seq", LMF_I32, 1, rows, 0), .q_start = arch_input(g, "q_start", LMF_I32, 1, seqs + 1, 0) };
    if (serve) {
        in.page = arch_input(g, "page", LMF_I32, 2, seqs, 64);
        in.slot = recurrent ? arch_input(g, "slot", LMF_I32, 1, seqs, 0) : NULL;
        in.n_pages = 64 * seqs, in.page_size = 16, in.cache_dtype = LMF_F16;
    }
    return in;
}

static inline double arch_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static inline lmf_status arch_build_serving(arch_case *a, lmf_nn *nn, int64_t rows, bool recurrent, lmf_graph **g)
{
    *nn = (lmf_nn){ .weights = a->weights };
    LMF_TRY(lmf_graph_create(a->ctx, g));
    (*g)->config = a->config, (*g)->user = nn;
    lmf_batch in = arch_batch(*g, rows, 8, true, recurrent);
    lmf_graph_output(*g, "hidden", a->arch->body(*g, &in, a->arch->embed(*g, &in)));
    return lmf_graph_finish(*g);
}

/* The loss, gradients of every parameter, summed in place: as a trainer does. */
static inline lmf_status arch_build_training(arch_case *a, lmf_nn *nn, int64_t rows, bool recompute, lmf_graph **out)
{
    lmf_tensor *wrt[2048], *grad[2048];
    lmf_head_spec head;
    int64_t one = 1;
    *nn = (lmf_nn){ .weights = a->weights, .params = &a->params };
    LMF_TRY(lmf_graph_create(a->ctx, out));
    lmf_graph *g = *out;
    g->config = a->config, g->user = nn;
    lmf_batch in = arch_batch(g, rows, 4, false, false);
    a->arch->head(a->config, &head);
    lmf_tensor *x = a->arch->body(g, &in, a->arch->embed(g, &in));
    lmf_tensor *loss = lmf_head_nll(g, x, lmf_nn_weight(g, head.role, false), arch_input(g, "target", LMF_I32, 1, rows, 0), arch_input(g, "weight", LMF_F32, 1, rows, 0),
                                    (lmf_head_nll_attrs){ .scale = head.scale }, NULL);
    lmf_tensor *d = lmf_graph_const(g, "d_loss", LMF_F32, 1, &one, (float[]){ 1 }), *go_on = arch_input(g, "keep", LMF_F32, 1, 1, 0);
    lmf_tensor *sums = lmf_graph_tensor(g, LMF_STATE, "train.g", LMF_F32, 1, &a->params.n_total);
    LMF_TRY(g->status);
    for (int i = 0; i < a->params.n; i++) {
        wrt[i] = lmf_graph_find(g, a->params.items[i].name);
        if (!wrt[i])
            return LMF_FAIL(a->ctx, LMF_E_NOT_FOUND, "the body never uses %s", a->params.items[i].name);
    }
    LMF_TRY(lmf_graph_backward(g, loss, d, &(lmf_backward_opts){ recompute }, wrt, a->params.n, grad));
    for (int i = 0; i < a->params.n && !g->status; i++) {
        char name[64];
        if (!grad[i])
            return LMF_FAIL(a->ctx, LMF_E_NOT_FOUND, "no gradient flows to %s", a->params.items[i].name);
        snprintf(name, sizeof name, "g.%s", a->params.items[i].name);
        lmf_accumulate(g, lmf_graph_part(g, sums, a->params.items[i].offset * 4, name, a->params.items[i].n_dims, a->params.items[i].dim), grad[i], go_on);
    }
    lmf_graph_output(g, "loss", loss);
    return lmf_graph_finish(g);
}

/* Plans, binds and walks it on the null device: exact bytes, no overlap. Returns the arena's bytes. */
static inline size_t arch_plan(arch_case *a, lmf_graph *g, double built_ms, const char *what)
{
    lmf_device *dev;
    lmf_plan *p;
    assert_ok(a->ctx, lmf_device_open(a->ctx, "null", &dev));
    double t = arch_ms();
    assert_ok(a->ctx, lmf_plan_create(dev, &g, 1, NULL, &p));
    t = arch_ms() - t;
    const lmf_memory *m = lmf_plan_memory(p);
    size_t step = m->step;
    print_message("%s %s: %d nodes, graph %.2f ms + plan %.2f ms; state %.1f MiB, step %.1f MiB\n", a->arch->name, what, g->n_nodes, built_ms, t,
                  (double)m->state / 1048576, (double)m->step / 1048576);
    assert_ok(a->ctx, lmf_plan_bind(p, &a->weights, 1));
    assert_int_equal(dev->asked_bytes, lmf_plan_bytes(p));
    assert_ok(a->ctx, lmf_plan_run(p, 0));
    assert_int_equal(lmf_null_high_water(dev), step);
    lmf_plan_destroy(p);
    lmf_device_close(dev);
    return step;
}

/* Both uses; recomputing must take less memory. STATE of serving, in bytes, must be what the architecture says. */
static inline void arch_prove(arch_case *a, bool recurrent)
{
    lmf_nn nn;
    lmf_graph *g;
    lmf_layer_state spec = lmf_arch_state(a->arch, a->config);
    size_t step[2], state = 0;
    for (int64_t rows = 1; rows <= 512; rows *= 512) {
        double t = arch_ms();
        assert_ok(a->ctx, arch_build_serving(a, &nn, rows, recurrent, &g));
        arch_plan(a, g, arch_ms() - t, rows == 1 ? "decode" : "prefill of 512");
        state = 0;
        for (int i = 0; i < g->n_tensors; i++)
            if (g->tensors[i]->v.cls == LMF_STATE && !g->tensors[i]->base)
                state += lmf_format_bytes(g->tensors[i]->v.fmt, lmf_view_count(&g->tensors[i]->v));
        assert_int_equal(state, 8 * (64 * 16 * spec.kv_width * 2 + spec.recurrent_bytes)); /* 8 sequences of 64 pages of 16 rows in f16 */
        lmf_graph_destroy(g);
    }
    for (int r = 0; r < 2; r++) {
        double t = arch_ms();
        assert_ok(a->ctx, arch_build_training(a, &nn, 4096, r, &g));
        step[r] = arch_plan(a, g, arch_ms() - t, r ? "training, recomputed" : "training");
        lmf_graph_destroy(g);
    }
    assert_true(step[1] < step[0]);
}

#endif
