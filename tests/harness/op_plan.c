/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what a case through a plan must show holds on any device: the answer of the CPU's reference, the same bits again,
 * the same bits captured and call by call, and no byte asked for after bind. */
#include <stdio.h>
#include <string.h>
#include "graph/plan.h"
#include "op_harness.h"

typedef struct planned {
    lmf_case    *c;
    lmf_graph   *g;
    lmf_node    *node;
    lmf_weights *weights;
    lmf_plan    *plan;
    lmf_view     in[LMF_MAX_IN], out[LMF_MAX_OUT];  /* dense host copies: inputs at the start, results of the last run */
} planned;

static lmf_status dense_copy(lmf_case *c, const lmf_case_tensor *t, lmf_view *v)
{
    *v = t->v;
    lmf_view_set_dense(v);
    size_t bytes = lmf_view_span(v);
    v->data = lmf_arena_alloc(&c->arena, bytes + 64);
    if (!v->data)
        return LMF_NO_MEMORY(c->h->ctx, bytes, "a case");
    if (v->fmt->block > 1)
        memcpy(v->data, t->v.data, bytes);
    else
        for (int64_t e = 0; e < lmf_view_count(v); e++)
            if (v->fmt->flags & LMF_FORMAT_INT && v->dtype != LMF_I8 && v->dtype != LMF_I16 && v->dtype != LMF_I32)
                ((int64_t *)v->data)[e] = lmf_get_int(&t->v, e);
            else
                lmf_set(v, e, lmf_get(&t->v, e));
    return LMF_OK;
}

static lmf_status build(planned *p, lmf_device *dev)
{
    lmf_case *c = p->c;
    char name[16];
    lmf_tensor *in[LMF_MAX_IN] = { 0 };
    LMF_TRY(lmf_graph_create(c->h->ctx, &p->g));
    p->g->device = dev;
    LMF_TRY(lmf_weights_create(c->h->ctx, &p->weights));
    for (int i = 0; i < c->n_in; i++) {
        const lmf_case_tensor *t = &c->in[i];
        if (t->absent)
            continue;
        LMF_TRY(dense_copy(c, t, &p->in[i]));
        in[i] = lmf_graph_tensor(p->g, lmf_case_class(c, i), t->name, t->v.dtype, t->v.n_dims, t->v.dim);
        if (lmf_case_class(c, i) == LMF_WEIGHT)
            LMF_TRY(lmf_weights_add(p->weights, t->name, t->v.dtype, t->v.n_dims, t->v.dim, p->in[i].data, false, NULL));
    }
    p->node = lmf_node_add(LMF_AT(p->g), c->op, c->attrs, in, c->n_in);
    for (int j = 0; p->node && j < c->op->n_out; j++) {
        p->out[j] = p->node->out[j]->v;
        p->out[j].data = lmf_arena_alloc(&c->arena, lmf_view_span(&p->out[j]) + 64);
        snprintf(name, sizeof name, "out.%d", j);
        if (!c->op->writes[j])
            lmf_graph_output(p->g, name, p->node->out[j]);
    }
    return lmf_graph_finish(p->g);
}

static lmf_status run_once(planned *p)
{
    lmf_case *c = p->c;
    char name[16];
    for (int i = 0; i < c->n_in; i++) {
        size_t bytes = c->in[i].absent ? 0 : lmf_view_span(&p->in[i]);
        int cls = bytes ? lmf_case_class(c, i) : LMF_WEIGHT;
        if (cls == LMF_STATE)
            LMF_TRY(lmf_plan_state_write(p->plan, c->in[i].name, p->in[i].data, bytes));
        else if (cls == LMF_INPUT)
            memcpy(lmf_plan_io(p->plan, 0, c->in[i].name), p->in[i].data, bytes);
    }
    LMF_TRY(lmf_plan_run(p->plan, 0));
    LMF_TRY(lmf_plan_wait(p->plan, 0));
    for (int j = 0; j < c->op->n_out; j++) {
        size_t bytes = lmf_view_span(&p->out[j]);
        snprintf(name, sizeof name, "out.%d", j);
        if (c->op->writes[j])
            LMF_TRY(lmf_plan_state_read(p->plan, c->in[c->op->writes[j] - 1].name, p->out[j].data, bytes));
        else if (bytes)
            memcpy(p->out[j].data, lmf_plan_io(p->plan, 0, name), bytes);
    }
    return LMF_OK;
}

static lmf_status bind(planned *p, lmf_device *dev, bool eager)
{
    LMF_TRY(lmf_plan_create(dev, &p->g, 1, &(lmf_plan_opts){ .eager = eager }, &p->plan));
    return lmf_plan_bind(p->plan, &p->weights, 1);
}

static void keep(planned *p, lmf_view *kept)
{
    for (int j = 0; j < p->c->op->n_out; j++) {
        size_t bytes = lmf_view_span(&p->out[j]);
        kept[j] = p->out[j];
        kept[j].data = lmf_arena_alloc(&p->c->arena, bytes + 64);
        if (kept[j].data && bytes)
            memcpy(kept[j].data, p->out[j].data, bytes);
    }
}

static bool same_bits(planned *p, const char *what, const char *device, const lmf_view *kept, const lmf_run *ref)
{
    for (int j = 0; j < p->c->op->n_out; j++) {
        int64_t n = lmf_view_count(&kept[j]), e = 0;
        size_t b = kept[j].fmt->block_bytes;
        while (e < n && ((ref->skip[j] && ref->skip[j][e]) || !memcmp((char *)kept[j].data + (size_t)e / kept[j].fmt->block * b,
                                                                     (char *)p->out[j].data + (size_t)e / kept[j].fmt->block * b, b)))
            e++;
        if (!lmf_harness_check(p->c->h, p->c, "plan", device, e == n, "%s: out[%d] element %lld has other bits", what, j, (long long)e))
            return false;
    }
    return true;
}

static bool step_ok(planned *p, const char *what, const char *device, lmf_status s)
{
    return lmf_harness_check(p->c->h, p->c, "plan", device, !s, "%s: %s: %s", what, lmf_status_name(s), lmf_error(p->c->h->ctx));
}

static int count_allocations(void *user, lmf_site site)
{
    *(int *)user += site == LMF_SITE_ALLOC;
    return 0;
}

static bool check_replays(planned *p, lmf_device *dev, int n)
{
    lmf_ctx *ctx = p->c->h->ctx;
    size_t asked = dev->asked_bytes + dev->asked_host_bytes;
    lmf_fault_fn fault = ctx->fault;
    void *user = ctx->fault_user;
    int n_allocations = 0;
    lmf_status s = LMF_OK;
    ctx->fault = count_allocations;
    ctx->fault_user = &n_allocations;
    for (int i = 0; i < n && !s; i++)
        s = run_once(p);
    ctx->fault = fault;
    ctx->fault_user = user;
    return step_ok(p, "replay", dev->ops->name, s) &&
           lmf_harness_check(p->c->h, p->c, "plan", dev->ops->name, n_allocations == 0 && asked == dev->asked_bytes + dev->asked_host_bytes,
                             "%d replays allocated %d times; the device held %zu bytes before, %zu after", n, n_allocations, asked,
                             dev->asked_bytes + dev->asked_host_bytes);
}

static void plan_checks(lmf_case *c, lmf_device *dev, const lmf_run *ref, int n_replays)
{
    planned p = { .c = c };
    lmf_view kept[LMF_MAX_OUT];
    const char *name = dev->ops->name;
    bool built = step_ok(&p, "build", name, build(&p, dev));
    lmf_status bound = built ? bind(&p, dev, false) : LMF_E_INTERNAL;
    if (bound == LMF_E_UNSUPPORTED && !(dev->flags & LMF_DEVICE_HOST)) {
        c->h->n_holes++; /* no row of that device takes it, and there the reference can't run */
        if (c->h->verbose)
            printf("hole: %s: %s\n", name, lmf_error(c->h->ctx));
    } else if (built && step_ok(&p, "bind", name, bound) &&
        lmf_harness_check(c->h, c, "plan", name, dev->asked_bytes == lmf_plan_bytes(p.plan), "asked of the device: %zu bytes, planned: %zu",
                          dev->asked_bytes, lmf_plan_bytes(p.plan)) &&
        step_ok(&p, "run", name, run_once(&p))) {
        bool ok = true;
        for (int j = 0; j < c->op->n_out && ok; j++)
            ok = lmf_case_compare(c, "plan", name, j, &p.out[j], &ref->out[j], ref->skip[j]);
        keep(&p, kept);
        ok = ok && step_ok(&p, "second run", name, run_once(&p)) && same_bits(&p, "second run", name, kept, ref) && check_replays(&p, dev, n_replays) &&
             same_bits(&p, "after replays", name, kept, ref);
        lmf_plan_destroy(p.plan);
        p.plan = NULL;
        if (ok && step_ok(&p, "bind eager", name, bind(&p, dev, true)) && step_ok(&p, "eager run", name, run_once(&p)))
            same_bits(&p, "eager against captured", name, kept, ref);
    }
    lmf_plan_destroy(p.plan);
    lmf_weights_destroy(p.weights);
    lmf_graph_destroy(p.g);
}

void lmf_harness_plan(lmf_harness *h, const lmf_op *op, const lmf_op_case *row, const char *device, int n_replays)
{
    lmf_case c;
    lmf_run ref = { 0 };
    lmf_device *dev = NULL;
    if (lmf_case_open(h, op, row, &c) && !c.refused && c.op->ref) {
        lmf_status s = lmf_case_graph(&c, false, &c.g, &c.node);
        if (lmf_harness_check(h, &c, "infer", NULL, !s, "%s", lmf_error(h->ctx))) {
            if (c.op->cost)
                c.op->cost(c.node, &c.flops, &c.bytes);
            s = lmf_device_open(h->ctx, device, &dev);
            if (lmf_harness_check(h, &c, "plan", device, !s, "%s", lmf_error(h->ctx)) && lmf_case_promise(&c) && lmf_run_row(&c, &lmf_kernel_ref, 0, 0xff, &ref) &&
                (!c.partial || lmf_case_reference(&c, &ref)))
                plan_checks(&c, dev, &ref, n_replays);
        }
    }
    lmf_device_close(dev);
    lmf_run_clear(&ref);
    lmf_case_close(&c);
}
