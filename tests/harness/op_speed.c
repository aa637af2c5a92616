/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <time.h>
#include "op_harness.h"

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Least time of a run, of as many as fit in a third of a second. */
static double least_seconds(lmf_harness *h, const lmf_call *call, int i_team)
{
    double best = 1e30, end = now() + 0.33;
    do {
        double start = now();
        if (lmf_call_run(h, call, i_team))
            return -1;
        double t = now() - start;
        best = t < best ? t : best;
    } while (now() < end);
    return best;
}

static void time_row(lmf_case *c, const lmf_kernel *row, int i_team)
{
    lmf_run run = { 0 };
    lmf_call call;
    lmf_device *dev = c->h->dev[i_team];
    if (lmf_run_row(c, row, i_team, 0, &run)) {
        lmf_case_call(c, &run, &call);
        call.row = row;
        call.scratch = run.scratch.data;
        call.scratch_bytes = run.scratch.bytes;
        double t = !row->prepare || !row->prepare(&call, dev) ? least_seconds(c->h, &call, i_team) : -1;
        if (call.prep && row->release)
            row->release(&call);
        printf("%-16s %-28s needs %02llx %-32.32s %10.2f us %8.2f GB/s %9.2f GFLOP/s\n", c->op->name, row->name, (unsigned long long)row->needs,
               c->row->name, t * 1e6, c->bytes / t * 1e-9, c->flops / t * 1e-9);
    }
    lmf_run_clear(&run);
}

void lmf_harness_speed(lmf_harness *h, const lmf_op *op, const lmf_op_case *row)
{
    lmf_case c;
    lmf_run run = { 0 };
    lmf_call call;
    int i_team = h->n_teams == 2; /* 1 worker, or --workers */
    if (lmf_case_open(h, op, row, &c) && !c.refused && lmf_case_graph(&c, false, &c.g, &c.node) == LMF_OK && c.op->ref && c.op->cost) {
        c.op->cost(c.node, &c.flops, &c.bytes);
        const lmf_kernel *const *table = h->dev[i_team]->ops->kernels(h->dev[i_team], c.op->name);
        if (lmf_run_row(&c, &lmf_kernel_ref, i_team, 0, &run)) {
            lmf_case_call(&c, &run, &call);
            for (; table && *table; table++)
                for (const lmf_kernel *k = *table; k->name; k++)
                    if (lmf_row_takes(h->dev[i_team], k, &call))
                        time_row(&c, k, i_team);
        }
    }
    lmf_run_clear(&run);
    lmf_case_close(&c);
}
