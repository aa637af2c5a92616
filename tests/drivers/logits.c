/* SPDX-License-Identifier: Apache-2.0 */
/* logits MODEL [--fast] [--adapter DIR] : token ids on stdin, one sequence a line; hidden states times head on stdout as f32, [T, V] for
 * each line. For oracles: nothing of the product stores such logits. */
#include <stdio.h>
#include <string.h>
#include "eval/lora.h"
#include "graph/plan.h"
#include "models/model.h"
#include "nn/nn.h"
#include "ops/matmul/matmul.h"
#include "registry/registry.h"

static int fail(lmf_ctx *ctx)
{
    fprintf(stderr, "%s\n", lmf_error(ctx));
    return 1;
}

static lmf_status run_line(lmf_ctx *ctx, const lmf_model *m, const lmf_lora *lora, int compute, const int32_t *id, int64_t n)
{
    lmf_device *dev = NULL;
    lmf_graph *g = NULL;
    lmf_plan *plan = NULL;
    lmf_nn nn = { .weights = m->weights, .compute = compute, .adapters = lora->set, .n_slots = 1, .slot_rank = lora->rank };
    lmf_head_spec head;
    int64_t one = 1, two = 2;
    lmf_status s = LMF_OK;
    LMF_TRY_TO(done, lmf_device_open(ctx, "cpu", &dev));
    LMF_TRY_TO(done, lmf_graph_create(ctx, &g));
    g->device = dev;
    g->config = m->config;
    g->user = &nn;
    lmf_batch in = { .token = lmf_graph_tensor(g, LMF_INPUT, "token", LMF_I32, 1, &n), .pos = lmf_graph_tensor(g, LMF_INPUT, "pos", LMF_I32, 1, &n),
                     .seq = lmf_graph_tensor(g, LMF_INPUT, "seq", LMF_I32, 1, &n), .q_start = lmf_graph_tensor(g, LMF_INPUT, "q_start", LMF_I32, 1, &two) };
    m->arch->head(m->config, &head);
    if (lora->set)
        lmf_graph_tensor(g, LMF_INPUT, "adapter", LMF_I32, 1, &one); /* sequence 0 has slot 0 */
    lmf_tensor *x = m->arch->body(g, &in, m->arch->embed(g, &in));
    lmf_graph_output(g, "logits", lmf_matmul(g, x, lmf_nn_weight(g, head.role, false), NULL, (lmf_matmul_attrs){ .tb = 1, .alpha = head.scale, .compute = compute }));
    LMF_TRY_TO(done, lmf_graph_finish(g));
    LMF_TRY_TO(done, lmf_plan_create(dev, &g, 1, NULL, &plan));
    LMF_TRY_TO(done, lmf_plan_bind(plan, (lmf_weights *[]){ m->weights, lora->set }, lora->set ? 2 : 1));
    memcpy(lmf_plan_io(plan, 0, "token"), id, (size_t)n * sizeof *id);
    for (int64_t t = 0; t < n; t++)
        ((int32_t *)lmf_plan_io(plan, 0, "pos"))[t] = (int32_t)t;
    ((int32_t *)lmf_plan_io(plan, 0, "q_start"))[1] = (int32_t)n;
    LMF_TRY_TO(done, lmf_plan_run(plan, 0));
    fwrite(lmf_plan_io(plan, 0, "logits"), sizeof(float), (size_t)(n * lmf_model_config(m)->vocab), stdout);
done:
    lmf_plan_destroy(plan);
    lmf_graph_destroy(g);
    lmf_device_close(dev);
    return s;
}

int main(int argc, char **argv)
{
    static char line[1 << 20];
    static int32_t id[1 << 16];
    lmf_ctx *ctx;
    lmf_model *m;
    lmf_lora lora = { 0 };
    int compute = 0;
    if (argc < 2 || lmf_ctx_create(&ctx))
        return 2;
    if (lmf_model_open(ctx, argv[1], &m))
        return fail(ctx);
    for (int i = 2; i < argc; i++) {
        compute |= strcmp(argv[i], "--fast") == 0;
        if (strcmp(argv[i], "--adapter") == 0 && i + 1 < argc && lmf_lora_open(ctx, m, argv[i + 1], &lora))
            return fail(ctx);
    }
    while (fgets(line, sizeof line, stdin)) {
        int64_t n = 0;
        for (char *p = strtok(line, " \n"); p; p = strtok(NULL, " \n"))
            id[n++] = atoi(p);
        if (n && run_line(ctx, m, &lora, compute, id, n))
            return fail(ctx);
    }
    lmf_lora_close(&lora);
    lmf_model_close(m);
    lmf_ctx_destroy(ctx);
    return 0;
}
