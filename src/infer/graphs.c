/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: every graph of the plan names its inputs alike, so that they are one storage, sized to the largest; what a graph with fewer
 * rows reads is the front of it. Hidden states go from the forward graph to the sample graph on the device, as "hidden": only rows whose
 * next token is wanted pay for the head. */
#include <string.h>
#include "infer/engine_impl.h"
#include "ops/embed/embed.h"
#include "ops/head_logp/head_logp.h"
#include "ops/matmul/matmul.h"
#include "ops/sample/sample.h"

static lmf_tensor *input(lmf_graph *g, const char *name, uint16_t dtype, int n_dims, int64_t a, int64_t b)
{
    return lmf_graph_tensor(g, LMF_INPUT, name, dtype, n_dims, (int64_t[]){ a, b });
}

/* Hidden states [rows, D] of a batch of that many rows. */
static lmf_tensor *build_body(lmf_engine *e, lmf_graph *g, int64_t rows)
{
    int64_t seqs = e->max_seqs;
    lmf_batch in = {
        .token = input(g, "token", LMF_I32, 1, rows, 0), .pos = input(g, "pos", LMF_I32, 1, rows, 0), .seq = input(g, "seq", LMF_I32, 1, rows, 0),
        .q_start = input(g, "q_start", LMF_I32, 1, seqs + 1, 0), .page = input(g, "page", LMF_I32, 2, seqs, e->seq_pages),
        .adapter = e->adapters.set ? input(g, "adapter", LMF_I32, 1, seqs, 0) : NULL,
        .n_pages = e->pages.n, .page_size = e->page_size, .cache_dtype = e->cache_dtype };
    return e->model->arch->body(g, &in, e->model->arch->embed(g, &in));
}

static void build_forward(lmf_engine *e, lmf_graph *g, int64_t rows)
{
    lmf_tensor *x = build_body(e, g, rows);
    lmf_graph_output(g, "hidden", lmf_embed(g, input(g, "index", LMF_I32, 1, e->max_samples, 0), x));
}

static void build_sample(lmf_engine *e, lmf_graph *g, int64_t seqs)
{
    lmf_head_spec head = lmf_model_head(e->model);
    lmf_tensor *logp;
    lmf_tensor *x = input(g, "hidden", LMF_F32, 2, seqs, lmf_model_config(e->model)->width);
    lmf_tensor *logits = lmf_matmul(g, x, lmf_nn_weight(g, head.role, false), NULL,
                                    (lmf_matmul_attrs){ .tb = 1, .alpha = head.scale, .compute = e->compute });
    lmf_tensor *next = lmf_sample(g, logits, input(g, "number", LMF_F32, 2, seqs, LMF_SAMPLE_N_NUMBERS), input(g, "count", LMF_I32, 2, seqs, LMF_SAMPLE_N_COUNTS),
                                  lmf_graph_tensor(g, LMF_STATE, "seen", LMF_I32, 2, (int64_t[]){ e->max_seqs, e->vocab }),
                                  e->make_mask ? input(g, "mask", LMF_I32, 2, seqs, (e->vocab + 31) / 32) : NULL,
                                  input(g, "bias_token", LMF_I32, 2, seqs, LMF_GEN_MAX_BIAS),
                                  input(g, "bias", LMF_F32, 2, seqs, LMF_GEN_MAX_BIAS), &logp);
    lmf_graph_output(g, "next", next);
    lmf_graph_output(g, "next_logp", logp);
}

static void build_mark(lmf_engine *e, lmf_graph *g, int64_t rows)
{
    lmf_mark_seen(g, lmf_graph_tensor(g, LMF_STATE, "seen", LMF_I32, 2, (int64_t[]){ e->max_seqs, e->vocab }),
                  input(g, "seen_clear", LMF_I32, 1, e->max_seqs, 0), input(g, "seen_slot", LMF_I32, 1, rows, 0), input(g, "seen_token", LMF_I32, 1, rows, 0));
}

static void build_score(lmf_engine *e, lmf_graph *g, int64_t rows)
{
    lmf_head_spec head = lmf_model_head(e->model);
    lmf_tensor *x = build_body(e, g, rows);
    lmf_graph_output(g, "score", lmf_head_logp(g, x, lmf_nn_weight(g, head.role, false), input(g, "target", LMF_I32, 1, rows, 0), NULL,
                                               (lmf_head_logp_attrs){ .scale = head.scale, .compute = e->compute }));
}

static void build_embed(lmf_engine *e, lmf_graph *g, int64_t rows) { lmf_graph_output(g, "state", build_body(e, g, rows)); }

static lmf_status add_graph(lmf_engine *e, void (*build)(lmf_engine *, lmf_graph *, int64_t), int64_t n)
{
    lmf_graph *g;
    LMF_TRY(lmf_graph_create(e->ctx, &g));
    e->graph[e->n_graphs++] = g;
    g->device = e->dev;
    g->config = e->model->config;
    g->user = &e->nn;
    build(e, g, n);
    return lmf_graph_finish(g);
}

static void choose_buckets(lmf_engine *e)
{
    static const int32_t rows[] = { 1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512, 768, 1024, 2048 };
    for (size_t i = 0; i < sizeof rows / sizeof *rows && rows[i] < e->max_rows; i++)
        e->bucket[e->n_buckets++] = rows[i];
    e->bucket[e->n_buckets++] = e->max_rows;
    for (int32_t n = 1; n < e->max_samples; n *= 2)
        e->sample_bucket[e->n_sample_buckets++] = n;
    e->sample_bucket[e->n_sample_buckets++] = e->max_samples;
}

static void find_io(lmf_engine *e)
{
    lmf_plan *p = e->plan;
    lmf_step_io *io = &e->io;
    int sample = e->n_buckets;
    io->token = lmf_plan_io(p, 0, "token"), io->pos = lmf_plan_io(p, 0, "pos"), io->seq = lmf_plan_io(p, 0, "seq");
    io->q_start = lmf_plan_io(p, 0, "q_start"), io->page = lmf_plan_io(p, 0, "page");
    io->index = lmf_plan_io(p, 0, "index");
    io->adapter = e->adapters.set ? lmf_plan_io(p, 0, "adapter") : NULL;
    io->number = lmf_plan_io(p, sample, "number"), io->count = lmf_plan_io(p, sample, "count");
    io->mask = e->make_mask ? lmf_plan_io(p, sample, "mask") : NULL, io->seen_clear = lmf_plan_io(p, e->mark_graph, "seen_clear");
    io->seen_slot = lmf_plan_io(p, e->mark_graph, "seen_slot"), io->seen_token = lmf_plan_io(p, e->mark_graph, "seen_token");
    io->bias_token = lmf_plan_io(p, sample, "bias_token"), io->bias = lmf_plan_io(p, sample, "bias");
    io->next = lmf_plan_io(p, sample, "next"), io->next_logp = lmf_plan_io(p, sample, "next_logp");
    io->target = e->score_graph >= 0 ? lmf_plan_io(p, e->score_graph, "target") : NULL;
    io->score = e->score_graph >= 0 ? lmf_plan_io(p, e->score_graph, "score") : NULL;
    io->state = e->embed_graph >= 0 ? lmf_plan_io(p, e->embed_graph, "state") : NULL;
}

lmf_status lmf__graphs_create(lmf_engine *e, bool score, bool embed)
{
    choose_buckets(e);
    for (int i = 0; i < e->n_buckets; i++)
        LMF_TRY(add_graph(e, build_forward, e->bucket[i]));
    for (int i = 0; i < e->n_sample_buckets; i++)
        LMF_TRY(add_graph(e, build_sample, e->sample_bucket[i]));
    e->mark_graph = e->n_graphs;
    LMF_TRY(add_graph(e, build_mark, e->max_rows));
    e->score_graph = score ? e->n_graphs : -1;
    if (score)
        LMF_TRY(add_graph(e, build_score, e->max_rows));
    e->embed_graph = embed ? e->n_graphs : -1;
    if (embed)
        LMF_TRY(add_graph(e, build_embed, e->max_rows));
    lmf_plan_opts opts = { .need_row_flags = e->need_invariant ? LMF_ROW_INVARIANT : 0, .profile = e->profile };
    lmf_weights *sets[2] = { e->model->weights, e->adapters.set };
    LMF_TRY(lmf_plan_create(e->dev, e->graph, e->n_graphs, &opts, &e->plan));
    LMF_TRY(lmf_plan_bind(e->plan, sets, e->adapters.set ? 2 : 1));
    find_io(e);
    return LMF_OK;
}
