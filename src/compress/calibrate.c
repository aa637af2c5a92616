/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: every run is full: the windows of a run divide the windows in all, so no row of padding enters a sum. */
#include "compress/calibrate.h"
#include <stdio.h>
#include <string.h>
#include "ops/accumulate/accumulate.h"
#include "ops/matmul/matmul.h"

enum { MOST_WINDOWS = 4 };

static lmf_tensor *input(lmf_graph *g, const char *name, int64_t n)
{
    return lmf_graph_tensor(g, LMF_INPUT, name, LMF_I32, 1, &n);
}

static void drop(lmf__calib *c)
{
    lmf_plan_destroy(c->plan);
    lmf_graph_destroy(c->graph);
    c->plan = NULL;
    c->graph = NULL;
}

/* The sums that are asked for: X^T X goes on in the graph, x itself comes out. An input of several layers is taken once. */
static void add_outputs(lmf__calib *c, bool gram)
{
    lmf_graph *g = c->graph;
    lmf_tensor *keep = gram ? lmf_graph_tensor(g, LMF_INPUT, "keep", LMF_F32, 1, (int64_t[]){ 1 }) : NULL;
    for (int i = 0; i < c->tap.n_seen; i++) {
        char name[LMF_NN_NAME_BYTES + 8];
        lmf_tensor *x = c->tap.seen[i].x;
        bool first = true;
        for (int k = 0; k < i; k++)
            first &= c->tap.seen[k].x != x;
        if (!first)
            continue;
        snprintf(name, sizeof name, "seen:%s", c->tap.seen[i].role);
        if (gram) {
            int64_t K = x->v.dim[x->v.n_dims - 1];
            lmf_tensor *sum = lmf_graph_tensor(g, LMF_STATE, name, LMF_F32, 2, (int64_t[]){ K, K });
            lmf_accumulate(g, sum, lmf_matmul(g, x, x, NULL, (lmf_matmul_attrs){ .ta = 1, .alpha = 1, .compute = c->compute }), keep);
        } else {
            lmf_graph_output(g, name, x);
        }
    }
}

typedef enum part { EMBED, LOOK, ADVANCE } part;

/* The graph of a layer, of the embedding, or of what follows the last layer. */
static lmf_status build(lmf__calib *c, int layer, lmf_weights *weights, part what, bool gram)
{
    const lmf_model *m = c->model;
    int n_layers = lmf_model_config(m)->n_layers;
    int64_t T = c->n_run * c->window;
    drop(c);
    LMF_TRY(lmf_graph_create(c->ctx, &c->graph));
    lmf_graph *g = c->graph;
    c->tap = (lmf_nn_tap){ .layer = layer };
    c->nn = (lmf_nn){ .weights = weights, .compute = c->compute, .tap = what == EMBED ? NULL : &c->tap };
    g->device = c->dev;
    g->config = m->config;
    g->user = &c->nn;
    lmf_batch in = { .token = input(g, "token", T), .pos = input(g, "pos", T), .seq = input(g, "seq", T),
                     .q_start = input(g, "q_start", c->n_run + 1) };
    if (what == EMBED) {
        lmf_graph_output(g, "stream_out", m->arch->embed(g, &in));
    } else {
        lmf_tensor *x = layer ? m->arch->embed(g, &in) :
                        lmf_graph_tensor(g, LMF_INPUT, "stream", LMF_F32, 2, (int64_t[]){ T, c->width });
        x = m->arch->body(g, &in, x);
        if (layer == n_layers) {
            lmf_head_spec head = lmf_model_head(m);
            snprintf(c->tap.seen[0].role, sizeof c->tap.seen[0].role, "%s", head.role);
            c->tap.seen[0].x = x;
            c->tap.n_seen = 1;
        }
        if (!g->status && ((layer && !c->tap.entered) || (layer < n_layers && !c->tap.left)))
            return LMF_FAIL(c->ctx, LMF_E_UNSUPPORTED, "%s does not say where its layers end, so it can't be calibrated layer by layer; "
                            "--method rtn needs no calibration", m->arch->name);
        if (what == LOOK && !g->status)
            add_outputs(c, gram);
    }
    lmf_graph_prune(g);
    LMF_TRY(lmf_graph_finish(g));
    LMF_TRY(lmf_plan_create(c->dev, &c->graph, 1, NULL, &c->plan));
    return lmf_plan_bind(c->plan, &weights, 1);
}

static void fill(const lmf__calib *c, int64_t first)
{
    int64_t T = c->n_run * c->window;
    int32_t *token = lmf_plan_io(c->plan, 0, "token"), *pos = lmf_plan_io(c->plan, 0, "pos"), *seq = lmf_plan_io(c->plan, 0, "seq");
    int32_t *start = lmf_plan_io(c->plan, 0, "q_start");
    float *stream = lmf_plan_io(c->plan, 0, "stream"), *keep = lmf_plan_io(c->plan, 0, "keep");
    for (int64_t t = 0; t < T; t++) {
        token[t] = c->id[first + t];
        pos[t] = (int32_t)(t % c->window);
        seq[t] = (int32_t)(t / c->window);
    }
    for (int64_t i = 0; i <= c->n_run; i++)
        start[i] = (int32_t)(i * c->window);
    if (stream)
        memcpy(stream, c->stream + first * c->width, (size_t)(T * c->width) * sizeof *stream);
    if (keep)
        *keep = first > 0;
}

static void add_squares(const lmf__calib *c, const lmf__look *look)
{
    int64_t T = c->n_run * c->window;
    for (int i = 0; i < look->n; i++) {
        char name[LMF_NN_NAME_BYTES + 8];
        bool first = true;
        for (int k = 0; k < i; k++)
            first &= look->item[k].sum2 != look->item[i].sum2;
        snprintf(name, sizeof name, "seen:%s", look->item[i].role);
        const float *x = first ? lmf_plan_io(c->plan, 0, name) : NULL;
        for (int64_t t = 0; x && t < T; t++)
            for (int64_t k = 0; k < look->item[i].k; k++)
                look->item[i].sum2[k] += (double)x[t * look->item[i].k + k] * (double)x[t * look->item[i].k + k];
    }
}

/* All windows through the plan. look: sums of squares to add to, or NULL. */
static lmf_status run(lmf__calib *c, bool advance, const lmf__look *look)
{
    int64_t T = c->n_run * c->window;
    for (int64_t first = 0; first < c->n_windows * c->window; first += T) {
        fill(c, first);
        LMF_TRY(lmf_plan_run(c->plan, 0));
        LMF_TRY(lmf_plan_wait(c->plan, 0));
        const float *out = lmf_plan_io(c->plan, 0, "stream_out");
        if (advance && out)
            memcpy(c->stream + first * c->width, out, (size_t)(T * c->width) * sizeof *out);
        if (look)
            add_squares(c, look);
        if (c->progress && !c->progress(c->user))
            return LMF_FAIL(c->ctx, LMF_E_CANCELLED, "stopped; nothing was written");
    }
    return LMF_OK;
}

lmf_status lmf__calib_open(lmf_ctx *ctx, const lmf_model *m, int32_t *id, int64_t n_windows, int32_t window, int compute, lmf__calib *out)
{
    const lmf_token_ids *special = lmf_tokenizer_ids(m->tokenizer);
    *out = (lmf__calib){ .ctx = ctx, .model = m, .id = id, .n_windows = n_windows, .window = window, .compute = compute,
                         .width = lmf_model_config(m)->width, .n_run = MOST_WINDOWS };
    while (n_windows % out->n_run)
        out->n_run--;
    for (int64_t w = 0; w < n_windows && special->add_bos && special->bos >= 0; w++)
        id[w * window] = special->bos;
    size_t bytes = (size_t)(n_windows * window * out->width) * sizeof(float);
    out->stream = lmf_alloc(ctx, bytes);
    lmf_status s = out->stream ? lmf_device_open(ctx, "cpu", &out->dev) : LMF_NO_MEMORY(ctx, bytes, "calibration");
    if (!s)
        s = build(out, 0, m->weights, EMBED, false);
    if (!s)
        s = run(out, true, NULL);
    if (s)
        lmf__calib_close(out);
    return s;
}

void lmf__calib_close(lmf__calib *c)
{
    drop(c);
    lmf_device_close(c->dev);
    lmf_free(c->ctx, c->stream, (size_t)(c->n_windows * c->window * c->width) * sizeof(float));
    c->stream = NULL;
    c->dev = NULL;
}

void lmf__calib_forget(lmf__calib *c, lmf__look *look)
{
    drop(c);
    lmf_free(c->ctx, look->room, look->room_bytes);
    *look = (lmf__look){ 0 };
}

lmf_status lmf__calib_look(lmf__calib *c, int layer, lmf_weights *weights, bool gram, bool advance, lmf__look *out)
{
    char name[LMF_NN_NAME_BYTES + 8];
    int64_t n = 0;
    *out = (lmf__look){ .n_tok = c->n_windows * c->window };
    LMF_TRY(build(c, layer, weights, LOOK, gram));
    for (int i = 0; i < c->tap.n_seen; i++) {
        const lmf_tensor *x = c->tap.seen[i].x;
        out->item[out->n++] = (lmf__seen){ c->tap.seen[i].role, x->v.dim[x->v.n_dims - 1], NULL, NULL };
        n += out->item[i].k;
    }
    if (!gram) {
        out->room_bytes = (size_t)n * sizeof *out->room;
        if (!(out->room = lmf_alloc(c->ctx, out->room_bytes)))
            return LMF_NO_MEMORY(c->ctx, out->room_bytes, "sums of squares");
        memset(out->room, 0, out->room_bytes);
    }
    double *at = out->room;
    for (int i = 0; i < out->n; i++) {
        int same = 0;
        while (c->tap.seen[same].x != c->tap.seen[i].x)
            same++;
        snprintf(name, sizeof name, "seen:%s", out->item[i].role);
        if (same < i)
            out->item[i].sum2 = out->item[same].sum2, out->item[i].gram = out->item[same].gram;
        else if (gram)
            out->item[i].gram = lmf_plan_state_data(c->plan, name);
        else
            out->item[i].sum2 = at, at += out->item[i].k;
    }
    lmf_status s = run(c, advance, gram ? NULL : out);
    if (s)
        lmf__calib_forget(c, out);
    return s;
}

lmf_status lmf__calib_advance(lmf__calib *c, int layer, lmf_weights *weights)
{
    LMF_TRY(build(c, layer, weights, ADVANCE, false));
    LMF_TRY(run(c, true, NULL));
    drop(c);
    return LMF_OK;
}
