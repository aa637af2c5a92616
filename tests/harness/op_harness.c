/* SPDX-License-Identifier: Apache-2.0 */
#include "op_harness.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

lmf_status lmf_harness_init(lmf_harness *h, lmf_ctx *ctx, int n_workers)
{
    const int counts[] = { 1, n_workers ? n_workers : 2, 3, 7 };
    int before = ctx->n_workers;
    lmf_status s = LMF_OK;
    *h = (lmf_harness){ .ctx = ctx };
    for (int i = 0; i < (n_workers ? 2 : LMF_HARNESS_TEAMS) && !s; i++, h->n_teams = i) {
        ctx->n_workers = counts[i];
        s = lmf_device_open(ctx, "cpu", &h->dev[i]);
        if (!s)
            s = lmf_team_create(ctx, counts[i], &h->team[i]);
    }
    ctx->n_workers = before;
    if (s)
        lmf_harness_clear(h);
    return s;
}

void lmf_harness_clear(lmf_harness *h)
{
    for (int i = 0; i < LMF_HARNESS_TEAMS; i++) {
        lmf_team_destroy(h->team[i]);
        lmf_device_close(h->dev[i]);
        h->team[i] = NULL, h->dev[i] = NULL;
    }
}

bool lmf_harness_check(lmf_harness *h, const lmf_case *c, const char *reason, const char *row, bool ok, const char *fmt, ...)
{
    va_list ap;
    char text[sizeof h->text];
    if (ok) {
        h->n_passed++;
        return true;
    }
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (h->n_failed++ == 0) {
        snprintf(h->reason, sizeof h->reason, "%s", reason);
        memcpy(h->text, text, sizeof text);
    }
    if (!h->quiet)
        printf("FAIL %s \"%s\" %s%s%s: %s\n", c->row->op, c->row->name, row ? row : "", row ? " " : "", reason, text);
    return false;
}

/* The row says that the op must refuse: the status, and a sentence that names the op (unless a leaf was refused). */
static void check_refusal(lmf_case *c, lmf_status s)
{
    const char *text = lmf_error(c->h->ctx);
    if (!s) {
        lmf_harness_check(c->h, c, "refusal", NULL, false, "accepted, where %s was expected", lmf_status_name(c->refused));
        return;
    }
    if (!lmf_harness_check(c->h, c, "refusal", NULL, s == c->refused, "%s, not %s: %s", lmf_status_name(s), lmf_status_name(c->refused), text))
        return;
    int n_leaves = 0;
    for (int i = 0; i < c->n_in; i++)
        n_leaves += !c->in[i].absent;
    bool leaf = c->g && c->g->n_tensors < n_leaves;
    lmf_harness_check(c->h, c, "refusal", NULL, leaf || strstr(text, c->op->name) != NULL, "the sentence does not name the op: \"%s\"", text);
}

/* Views of the outputs as the shape rule gave them. */
static bool check_infer(lmf_case *c, lmf_status s)
{
    lmf_harness *h = c->h;
    if (!lmf_harness_check(h, c, "infer", NULL, !s && c->node, "refused: %s: %s", lmf_status_name(s), lmf_error(h->ctx)))
        return false;
    for (int j = 0; j < c->op->n_out; j++) {
        const lmf_view *v = &c->node->out[j]->v;
        if (!lmf_harness_check(h, c, "infer", NULL, v->fmt && v->n_dims >= 1, "out[%d] has no shape or an unknown dtype %u", j, v->dtype))
            return false;
    }
    if (c->op->cost)
        c->op->cost(c->node, &c->flops, &c->bytes);
    return lmf_harness_check(h, c, "infer", NULL, c->flops >= 0 && c->bytes >= 0, "cost is negative or no number");
}

void lmf_harness_case(lmf_harness *h, const lmf_op *op, const lmf_op_case *row)
{
    lmf_case c;
    lmf_run ref = { 0 };
    if (lmf_case_open(h, op, row, &c)) {
        lmf_status s = lmf_case_graph(&c, false, &c.g, &c.node);
        if (c.refused) {
            check_refusal(&c, s);
        } else if (check_infer(&c, s)) {
            if (lmf_case_promise(&c) && lmf_harness_check(h, &c, "reference", NULL, c.op->ref != NULL, "the op has no reference") &&
                lmf_case_reference(&c, &ref))
                lmf_case_rows(&c, &ref);
            lmf_case_gradient(&c);
            lmf_case_expand(&c);
        }
    }
    lmf_run_clear(&ref);
    lmf_case_close(&c);
}
