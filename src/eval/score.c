/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: rows behind the text are a segment of their own, with no target: they cost time and change nothing. */
#include "eval/score.h"
#include <string.h>
#include "nn/nn.h"
#include "ops/head_logp/head_logp.h"
#include "ops/matmul/matmul.h"

enum { MAX_BUCKETS = 32, FIRST_BUCKET = 32 };

struct lmf_scorer {
    lmf_ctx         *ctx;
    const lmf_model *model;
    lmf_device      *dev;
    lmf_plan        *plan;
    lmf_graph       *graph[MAX_BUCKETS];
    int32_t          bucket[MAX_BUCKETS], n_buckets, max_tok;
    lmf_nn           nn;
    bool             logits;
};

static lmf_tensor *input(lmf_graph *g, const char *name, int64_t n)
{
    return lmf_graph_tensor(g, LMF_INPUT, name, LMF_I32, 1, &n);
}

static lmf_status add_graph(lmf_scorer *s, int32_t T)
{
    lmf_graph *g;
    const lmf_model *m = s->model;
    lmf_head_spec head = lmf_model_head(m);
    LMF_TRY(lmf_graph_create(s->ctx, &g));
    s->bucket[s->n_buckets] = T;
    s->graph[s->n_buckets++] = g;
    g->device = s->dev;
    g->config = m->config;
    g->user = &s->nn;
    lmf_batch in = { .token = input(g, "token", T), .pos = input(g, "pos", T), .seq = input(g, "seq", T), .q_start = input(g, "q_start", 3),
                     .adapter = s->nn.adapters ? input(g, "adapter", 2) : NULL };
    lmf_tensor *x = m->arch->body(g, &in, m->arch->embed(g, &in)), *w = lmf_nn_weight(g, head.role, false);
    lmf_graph_output(g, "logp", lmf_head_logp(g, x, w, input(g, "target", T), NULL, (lmf_head_logp_attrs){ head.scale, s->nn.compute }));
    if (s->logits)
        lmf_graph_output(g, "logits", lmf_matmul(g, x, w, NULL, (lmf_matmul_attrs){ .tb = 1, .alpha = head.scale, .compute = s->nn.compute }));
    return lmf_graph_finish(g);
}

/* Four lengths to a doubling. */
static lmf_status build(lmf_scorer *s)
{
    for (int32_t size = FIRST_BUCKET, step = FIRST_BUCKET; size < s->max_tok && s->n_buckets < MAX_BUCKETS - 1; size += step) {
        LMF_TRY(add_graph(s, size));
        step = size >= 8 * step ? 2 * step : step;
    }
    LMF_TRY(add_graph(s, s->max_tok));
    lmf_weights *sets[] = { s->model->weights, (lmf_weights *)(uintptr_t)s->nn.adapters };
    LMF_TRY(lmf_plan_create(s->dev, s->graph, s->n_buckets, NULL, &s->plan));
    return lmf_plan_bind(s->plan, sets, s->nn.adapters ? 2 : 1);
}

lmf_status lmf_scorer_create(lmf_ctx *ctx, const lmf_model *model, const lmf_scorer_opts *opts, lmf_scorer **out)
{
    *out = NULL;
    if (opts->max_tok < 2)
        return LMF_FAIL(ctx, LMF_E_ARG, "a text of %d tokens has nothing to score", opts->max_tok);
    lmf_scorer *s = lmf_new(ctx, lmf_scorer);
    if (!s)
        return LMF_NO_MEMORY(ctx, sizeof *s, "a scorer");
    s->ctx = ctx;
    s->model = model;
    s->max_tok = opts->max_tok;
    s->logits = opts->logits;
    s->nn = (lmf_nn){ .weights = model->weights, .compute = opts->compute };
    if (opts->lora && opts->lora->set)
        s->nn.adapters = opts->lora->set, s->nn.n_slots = 1, s->nn.slot_rank = opts->lora->rank;
    lmf_status r = lmf_device_open(ctx, opts->device ? opts->device : "cpu", &s->dev);
    if (!r && opts->lora && opts->lora->dora && !(s->dev->flags & LMF_DEVICE_HOST))
        r = LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "a DoRA adapter on %s: beside the model it runs on a CPU alone; merge it first, lmfast export "
                     "--adapter", opts->device);
    if (!r)
        r = build(s);
    if (r)
        lmf_scorer_destroy(s);
    else
        *out = s;
    return r;
}

void lmf_scorer_destroy(lmf_scorer *s)
{
    if (!s)
        return;
    lmf_plan_destroy(s->plan);
    for (int i = 0; i < s->n_buckets; i++)
        lmf_graph_destroy(s->graph[i]);
    lmf_device_close(s->dev);
    lmf_delete(s->ctx, s);
}

/* Runs the text through the smallest graph that holds it; its index in *i_graph. */
static lmf_status run(lmf_scorer *s, const int32_t *id, int32_t n, int32_t first, int *i_graph)
{
    int k = 0;
    if (n > s->max_tok || n < 1)
        return LMF_FAIL(s->ctx, LMF_E_LIMIT, "%d tokens to score; 1 to %d are possible here", n, s->max_tok);
    while (s->bucket[k] < n)
        k++;
    int32_t T = s->bucket[k];
    int32_t *token = lmf_plan_io(s->plan, k, "token"), *pos = lmf_plan_io(s->plan, k, "pos"), *seq = lmf_plan_io(s->plan, k, "seq");
    int32_t *q_start = lmf_plan_io(s->plan, k, "q_start"), *target = lmf_plan_io(s->plan, k, "target");
    for (int32_t t = 0; t < T; t++) {
        token[t] = t < n ? id[t] : 0;
        pos[t] = t < n ? t : t - n;
        seq[t] = t >= n;
        target[t] = t + 1 < n && t + 1 >= first ? id[t + 1] : -1;
    }
    q_start[0] = 0, q_start[1] = n, q_start[2] = T;
    if (s->nn.adapters)
        memcpy(lmf_plan_io(s->plan, k, "adapter"), (int32_t[]){ 0, -1 }, 2 * sizeof(int32_t));
    LMF_TRY(lmf_plan_run(s->plan, k));
    *i_graph = k;
    return lmf_plan_wait(s->plan, k);
}

lmf_status lmf_scorer_logp(lmf_scorer *s, const int32_t *id, int32_t n, int32_t first, float *logp)
{
    int k;
    if (first < 1)
        return LMF_FAIL(s->ctx, LMF_E_ARG, "nothing comes before the first token: it can't be scored");
    LMF_TRY(run(s, id, n, first, &k));
    const float *from = lmf_plan_io(s->plan, k, "logp");
    for (int32_t i = first; i < n; i++)
        logp[i] = from[i - 1];
    return LMF_OK;
}

lmf_status lmf_scorer_logits(lmf_scorer *s, const int32_t *id, int32_t n, const float **logits)
{
    int k;
    *logits = NULL;
    if (!s->logits)
        return LMF_FAIL(s->ctx, LMF_E_ARG, "the scorer was created without logits");
    LMF_TRY(run(s, id, n, n, &k));
    *logits = lmf_plan_io(s->plan, k, "logits");
    return LMF_OK;
}

size_t lmf_scorer_bytes(const lmf_scorer *s) { return lmf_plan_bytes(s->plan); }
