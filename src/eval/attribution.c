/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what attention does is read from its nodes, never assumed of a model: an op, input or attribute that is not known here is
 * refused. */
#include "eval/attribution.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/team.h"
#include "nn/nn.h"
#include "ops/attention/attention.h"
#include "ops/matmul/matmul.h"

enum { LOOK, HEAD, N_GRAPHS, LANES = 8 };

typedef struct layer { int32_t number; lmf_attention_attrs at; char q[32], k[32]; } layer;

struct lmf_attribution {
    lmf_ctx         *ctx;
    const lmf_model *model;
    const int32_t   *id;
    int32_t          n, only;       /* tokens; the layer asked for, or -1 */
    lmf_device      *dev;
    lmf_plan        *plan;
    lmf_graph       *graph[N_GRAPHS];
    lmf_nn           nn;
    lmf_team        *team;
    layer           *layers;
    int32_t          n_layers, cap_layers;
    double          *row;           /* [workers, n] */
    float           *map;           /* [n, n], of one head */
    size_t           bytes;
};

/* ---- graphs ---- */
static lmf_tensor *input(lmf_graph *g, const char *name, int64_t n)
{
    return lmf_graph_tensor(g, LMF_INPUT, name, LMF_I32, 1, &n);
}

static lmf_status begin(lmf_attribution *a, int k)
{
    LMF_TRY(lmf_graph_create(a->ctx, &a->graph[k]));
    a->graph[k]->device = a->dev;
    a->graph[k]->config = a->model->config;
    a->graph[k]->user = &a->nn;
    return LMF_OK;
}

static lmf_batch batch_of(lmf_attribution *a, lmf_graph *g)
{
    return (lmf_batch){ .token = input(g, "token", a->n), .pos = input(g, "pos", a->n), .seq = input(g, "seq", a->n),
                        .q_start = input(g, "q_start", 2), .adapter = a->nn.adapters ? input(g, "adapter", 1) : NULL };
}

/* An attribute that changes what is seen must not be passed over. */
static lmf_status check_node(lmf_attribution *a, const lmf_node *n, const lmf_batch *in)
{
    static const char *const known[] = { "n_heads", "n_kv_heads", "head_size", "window", "scale", "compute", "cap" };
    for (const lmf_field *f = n->op->fields; f && f->name; f++) {
        bool found = false;
        for (size_t i = 0; i < sizeof known / sizeof *known; i++)
            found |= strcmp(known[i], f->name) == 0;
        if (!found)
            return LMF_FAIL(a->ctx, LMF_E_UNSUPPORTED, "the attention of %s has an attribute \"%s\" that maps don't know of (%s:%d)",
                            a->model->arch->name, f->name, n->file, n->line);
    }
    if (n->n_in != 5 || n->in[3] != in->seq || n->in[4] != in->q_start || n->in[0]->v.dtype != LMF_F32)
        return LMF_FAIL(a->ctx, LMF_E_UNSUPPORTED, "the attention of %s takes inputs that maps don't know of (%s:%d)", a->model->arch->name,
                        n->file, n->line);
    return LMF_OK;
}

/* t can be read after a run, under a name that an earlier layer may have given it. */
static void keep(lmf_graph *g, lmf_tensor *t, int32_t number, const char *what, char *name, size_t n)
{
    snprintf(name, n, "attention.%d.%s", number, what);
    if (t->v.cls == LMF_OUTPUT)
        snprintf(name, n, "%s", t->name);
    else
        lmf_graph_output(g, name, t);
}

static lmf_status find_layers(lmf_attribution *a, lmf_graph *g, const lmf_batch *in)
{
    for (int32_t i = 0, n_nodes = g->n_nodes; i < n_nodes; i++) {
        const lmf_node *n = g->nodes[i];
        if (n->op != &lmf_op_attention && strncmp(n->op->name, "attention", 9) == 0)
            return LMF_FAIL(a->ctx, LMF_E_UNSUPPORTED, "%s attends by the op %s, of which no maps are made (%s:%d)", a->model->arch->name,
                            n->op->name, n->file, n->line);
        if (n->op != &lmf_op_attention || (a->only >= 0 && n->block != a->only + 1))
            continue;
        LMF_TRY(check_node(a, n, in));
        if (n->block == 0 || (a->n_layers && a->layers[a->n_layers - 1].number >= n->block - 1) || a->n_layers == a->cap_layers)
            return LMF_FAIL(a->ctx, LMF_E_UNSUPPORTED, "%s attends more than once in a layer (%s:%d)", a->model->arch->name, n->file,
                            n->line);
        layer *l = &a->layers[a->n_layers++];
        l->number = n->block - 1;
        memcpy(&l->at, n->attrs, sizeof l->at);
        keep(g, n->in[0], l->number, "q", l->q, sizeof l->q);
        keep(g, n->in[1], l->number, "k", l->k, sizeof l->k);
    }
    if (a->only >= 0 && !a->n_layers)
        return LMF_FAIL(a->ctx, LMF_E_NOT_FOUND, "layer %d does not attend, or is not there; %s has layers 0 to %d", a->only,
                        a->model->arch->name, lmf_model_config(a->model)->n_layers - 1);
    return a->n_layers ? LMF_OK : LMF_FAIL(a->ctx, LMF_E_UNSUPPORTED, "%s has no attention", a->model->arch->name);
}

static lmf_status build_look(lmf_attribution *a)
{
    LMF_TRY(begin(a, LOOK));
    lmf_graph *g = a->graph[LOOK];
    lmf_batch in = batch_of(a, g);
    lmf_tensor *x = a->model->arch->body(g, &in, a->model->arch->embed(g, &in));
    LMF_TRY(g->status);
    LMF_TRY(find_layers(a, g, &in));
    lmf_graph_output(g, "hidden", x);
    return lmf_graph_finish(g);
}

/* The head sees the last row alone: logits of all rows would be the largest thing here. */
static lmf_status build_head(lmf_attribution *a)
{
    lmf_head_spec head = lmf_model_head(a->model);
    LMF_TRY(begin(a, HEAD));
    lmf_graph *g = a->graph[HEAD];
    lmf_tensor *x = lmf_graph_tensor(g, LMF_INPUT, "last", LMF_F32, 2, (int64_t[]){ 1, lmf_model_config(a->model)->width });
    lmf_tensor *w = lmf_nn_weight(g, head.role, false);
    lmf_graph_output(g, "logits", lmf_matmul(g, x, w, NULL, (lmf_matmul_attrs){ .tb = 1, .alpha = head.scale }));
    return lmf_graph_finish(g);
}

/* ---- memory ---- */
static lmf_status plan(lmf_attribution *a, size_t max_bytes)
{
    lmf_weights *sets[] = { a->model->weights, (lmf_weights *)(uintptr_t)a->nn.adapters };
    size_t n = (size_t)a->n, n_workers = (size_t)lmf_team_size(a->team);
    LMF_TRY(lmf_plan_create(a->dev, a->graph, N_GRAPHS, NULL, &a->plan));
    /* a map, its worker's rows, and a mean and a rollout of the caller's */
    a->bytes = lmf_plan_bytes(a->plan) + n * n * (sizeof *a->map + 2 * sizeof(double)) + n_workers * n * sizeof *a->row;
    if (a->bytes > max_bytes)
        return LMF_FAIL(a->ctx, LMF_E_LIMIT, "%d tokens would take %.0f MiB beside the model, more than the %.0f MiB that are allowed; "
                        "give a shorter text%s", a->n, (double)a->bytes / 1048576, (double)max_bytes / 1048576,
                        a->only < 0 ? ", or ask for one layer" : "");
    a->row = lmf_alloc(a->ctx, n_workers * n * sizeof *a->row);
    a->map = lmf_alloc(a->ctx, n * n * sizeof *a->map);
    if (!a->row || !a->map)
        return LMF_NO_MEMORY(a->ctx, n * n * sizeof *a->map, "maps of attention");
    return lmf_plan_bind(a->plan, sets, a->nn.adapters ? 2 : 1);
}

lmf_status lmf_attribution_create(lmf_ctx *ctx, const lmf_model *model, const lmf_attribution_opts *opts, lmf_attribution **out)
{
    lmf_status s = LMF_OK;
    const lmf_config_base *config = lmf_model_config(model);
    *out = NULL;
    if (opts->n < 1 || opts->n > config->context)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "%d tokens to look into; 1 to %d are possible, which the model was made for", opts->n,
                        config->context);
    lmf_attribution *a = lmf_new(ctx, lmf_attribution);
    if (!a)
        return LMF_NO_MEMORY(ctx, sizeof *a, "an attribution");
    *a = (lmf_attribution){ .ctx = ctx, .model = model, .id = opts->id, .n = opts->n, .only = opts->layer < 0 ? -1 : opts->layer,
                            .cap_layers = config->n_layers, .nn = { .weights = model->weights } };
    if (opts->lora && opts->lora->set)
        a->nn.adapters = opts->lora->set, a->nn.n_slots = 1, a->nn.slot_rank = opts->lora->rank;
    a->layers = lmf_alloc(ctx, (size_t)a->cap_layers * sizeof *a->layers);
    if (!a->layers)
        LMF_TRY_TO(done, LMF_NO_MEMORY(ctx, (size_t)a->cap_layers * sizeof *a->layers, "layers"));
    LMF_TRY_TO(done, lmf_team_create(ctx, ctx->n_workers, &a->team));
    LMF_TRY_TO(done, lmf_device_open(ctx, opts->device ? opts->device : "cpu", &a->dev));
    if (opts->lora && opts->lora->dora && !(a->dev->flags & LMF_DEVICE_HOST))
        LMF_TRY_TO(done, LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "a DoRA adapter on %s: beside the model it runs on a CPU alone; merge it first, "
                                  "lmfast export --adapter", opts->device));
    LMF_TRY_TO(done, build_look(a));
    LMF_TRY_TO(done, build_head(a));
    LMF_TRY_TO(done, plan(a, opts->max_bytes));
    *out = a, a = NULL;
done:
    lmf_attribution_destroy(a);
    return s;
}

void lmf_attribution_destroy(lmf_attribution *a)
{
    if (!a)
        return;
    size_t n = (size_t)a->n;
    lmf_plan_destroy(a->plan);
    for (int i = 0; i < N_GRAPHS; i++)
        lmf_graph_destroy(a->graph[i]);
    lmf_device_close(a->dev);
    if (a->row)
        lmf_free(a->ctx, a->row, (size_t)lmf_team_size(a->team) * n * sizeof *a->row);
    lmf_team_destroy(a->team);
    lmf_free(a->ctx, a->map, n * n * sizeof *a->map);
    lmf_free(a->ctx, a->layers, (size_t)a->cap_layers * sizeof *a->layers);
    lmf_delete(a->ctx, a);
}

size_t lmf_attribution_bytes(const lmf_attribution *a) { return a->bytes; }
int    lmf_attribution_n_layers(const lmf_attribution *a) { return a->n_layers; }

lmf_attribution_layer lmf_attribution_layer_at(const lmf_attribution *a, int i)
{
    const layer *l = &a->layers[i];
    return (lmf_attribution_layer){ l->number, l->at.n_heads, l->at.n_kv_heads, l->at.window };
}

/* ---- running ---- */
static void fill(lmf_attribution *a, int k)
{
    int32_t *token = lmf_plan_io(a->plan, k, "token"), *pos = lmf_plan_io(a->plan, k, "pos"), *seq = lmf_plan_io(a->plan, k, "seq");
    int32_t *q_start = lmf_plan_io(a->plan, k, "q_start");
    for (int32_t t = 0; t < a->n; t++)
        token[t] = a->id[t], pos[t] = t, seq[t] = 0;
    q_start[0] = 0, q_start[1] = a->n;
    if (a->nn.adapters)
        *(int32_t *)lmf_plan_io(a->plan, k, "adapter") = 0;
}

lmf_status lmf_attribution_run(lmf_attribution *a)
{
    int64_t width = lmf_model_config(a->model)->width, vocab = lmf_model_config(a->model)->vocab;
    fill(a, LOOK);
    LMF_TRY(lmf_plan_run(a->plan, LOOK));
    LMF_TRY(lmf_plan_wait(a->plan, LOOK));
    const float *hidden = lmf_plan_io(a->plan, LOOK, "hidden");
    memcpy(lmf_plan_io(a->plan, HEAD, "last"), hidden + (a->n - 1) * width, (size_t)width * sizeof *hidden);
    LMF_TRY(lmf_plan_run(a->plan, HEAD));
    LMF_TRY(lmf_plan_wait(a->plan, HEAD));
    const float *logits = lmf_attribution_logits(a);
    for (int64_t v = 0; v < vocab; v++)
        if (!isfinite(logits[v]))
            return LMF_FAIL(a->ctx, LMF_E_LIMIT, "the model gives values that are no numbers for this text: its weights are damaged or "
                            "too large");
    return LMF_OK;
}

const float *lmf_attribution_logits(const lmf_attribution *a) { return lmf_plan_io(a->plan, HEAD, "logits"); }

/* ---- maps ---- */
typedef struct map_job { const lmf_attribution *a; const lmf_attention_attrs *at; const float *q, *k; int head; float *map; } map_job;

/* Lanes, so that a compiler may use vectors: their order is fixed. */
static double dot(const float *x, const float *y, int n)
{
    double lane[LANES] = { 0 }, sum = 0;
    int i = 0;
    for (; i + LANES <= n; i += LANES)
        for (int j = 0; j < LANES; j++)
            lane[j] += (double)x[i + j] * (double)y[i + j];
    for (; i < n; i++)
        sum += (double)x[i] * (double)y[i];
    for (int j = 0; j < LANES; j++)
        sum += lane[j];
    return sum;
}

static void map_row(const map_job *job, int32_t t, double *p)
{
    const lmf_attention_attrs *at = job->at;
    int64_t C = at->head_size, n = job->a->n, hk = job->head / (at->n_heads / at->n_kv_heads);
    int32_t first = at->window && t - at->window + 1 > 0 ? t - at->window + 1 : 0;
    const float *q = job->q + (t * at->n_heads + job->head) * C;
    float *out = job->map + t * n;
    double top = -INFINITY, sum = 0;
    for (int32_t u = first; u <= t; u++) {
        p[u] = (double)at->scale * dot(q, job->k + (u * at->n_kv_heads + hk) * C, at->head_size);
        if (at->cap > 0)
            p[u] = (double)at->cap * tanh(p[u] / (double)at->cap);
        top = fmax(top, p[u]);
    }
    for (int32_t u = first; u <= t; u++)
        sum += p[u] = exp(p[u] - top);
    for (int32_t u = 0; u < n; u++)
        out[u] = u < first || u > t ? 0 : (float)(p[u] / sum);
}

/* Each its own rows, in turns: later rows are longer. */
static void map_rows(void *arg, int i, int n)
{
    const map_job *job = arg;
    for (int32_t t = i; t < job->a->n; t += n)
        map_row(job, t, job->a->row + (size_t)i * (size_t)job->a->n);
}

lmf_status lmf_attribution_map(lmf_attribution *a, int i_layer, int head, float *map)
{
    if (i_layer < 0 || i_layer >= a->n_layers)
        return LMF_FAIL(a->ctx, LMF_E_NOT_FOUND, "there is no layer %d among the %d that have maps", i_layer, a->n_layers);
    if (head < 0 || head >= a->layers[i_layer].at.n_heads)
        return LMF_FAIL(a->ctx, LMF_E_NOT_FOUND, "there is no head %d in layer %d", head, a->layers[i_layer].number);
    const layer *l = &a->layers[i_layer];
    map_job job = { a, &l->at, lmf_plan_io(a->plan, LOOK, l->q), lmf_plan_io(a->plan, LOOK, l->k), head, map };
    lmf_team_run(a->team, map_rows, &job);
    return LMF_OK;
}

lmf_status lmf_attribution_mean(lmf_attribution *a, int i_layer, double *mean)
{
    int n_heads = i_layer >= 0 && i_layer < a->n_layers ? a->layers[i_layer].at.n_heads : 1;
    int64_t n = (int64_t)a->n * a->n;
    memset(mean, 0, (size_t)n * sizeof *mean);
    for (int h = 0; h < n_heads; h++) {
        LMF_TRY(lmf_attribution_map(a, i_layer, h, a->map));
        for (int64_t i = 0; i < n; i++)
            mean[i] += (double)a->map[i] / n_heads;
    }
    return LMF_OK;
}

/* ---- rollout ---- */
typedef struct rollout_job { const lmf_attribution *a; const double *mean; double *r; } rollout_job;

/* r = m r in place, m = (mean + 1) / 2 with rows of sum 1. Both are lower triangles, so that from the last row up a row needs what is
 * still old; a worker has columns of its own. */
static void rollout_columns(void *arg, int i, int n_workers)
{
    const rollout_job *job = arg;
    int64_t n = job->a->n, begin, end;
    double *row = job->a->row + i * n;
    lmf_split(n, 8, i, n_workers, &begin, &end);
    for (int64_t t = n - 1; t >= begin; t--) {
        const double *mean = job->mean + t * n;
        double sum = 0;
        for (int64_t u = 0; u <= t; u++)
            sum += mean[u] + (u == t);
        memset(row, 0, (size_t)n * sizeof *row);
        for (int64_t u = begin; u <= t; u++) {
            double m = (mean[u] + (u == t)) / sum;
            const double *old = job->r + u * n;
            for (int64_t c = begin; c < end && c <= u; c++)
                row[c] += m * old[c];
        }
        for (int64_t c = begin; c < end; c++)
            job->r[t * n + c] = row[c];
    }
}

lmf_status lmf_attribution_rollout(lmf_attribution *a, double *r)
{
    size_t n = (size_t)a->n;
    if (a->only >= 0)
        return LMF_FAIL(a->ctx, LMF_E_ARG, "rollout goes through all layers, and layer %d alone was asked for", a->only);
    double *mean = lmf_alloc(a->ctx, n * n * sizeof *mean);
    if (!mean)
        return LMF_NO_MEMORY(a->ctx, n * n * sizeof *mean, "a rollout");
    lmf_status s = LMF_OK;
    rollout_job job = { a, mean, r };
    memset(r, 0, n * n * sizeof *r);
    for (size_t t = 0; t < n; t++)
        r[t * n + t] = 1;
    for (int i = 0; !s && i < a->n_layers; i++)
        if (!(s = lmf_attribution_mean(a, i, mean)))
            lmf_team_run(a->team, rollout_columns, &job);
    lmf_free(a->ctx, mean, n * n * sizeof *mean);
    return s;
}
