/* SPDX-License-Identifier: Apache-2.0 */
/* plan: several finished graphs (step, update, eval; or one a bucket) over one arena on one device. Every byte is known
 * before anything is allocated; after bind the device is sealed and a run allocates nothing.
 *
 * STEP tensors and scratch of all graphs share the arena (its size is the largest graph's); STATE, INPUT and OUTPUT
 * tensors of one name in several graphs are one tensor. WEIGHT tensors are looked up by name in the sets given to bind;
 * on a host device their bytes stay where they are.
 *
 *     lmf_plan_create(dev, graphs, 2, &opts, &plan);
 *     lmf_plan_memory(plan)->step ...
 *     lmf_plan_bind(plan, &weights, 1);
 *     memcpy(lmf_plan_io(plan, 0, "token"), ...);  lmf_plan_run(plan, 0);  lmf_plan_wait(plan, 0);
 *
 * Owner: borrows device, graphs and weights, which must outlive it. Threads: one. */
#ifndef LMF_GRAPH_PLAN_H
#define LMF_GRAPH_PLAN_H
#include "device/device.h"
#include "graph/weights.h"

typedef struct lmf_plan lmf_plan;

typedef struct lmf_plan_opts {
    uint32_t need_row_flags;   /* rows must have these: LMF_ROW_INVARIANT */
    bool     eager;            /* run call by call: STEP tensors never share bytes and can be read by label after a run */
    bool     profile;          /* time each call: lmf_plan_profile */
} lmf_plan_opts;

typedef struct lmf_memory {    /* bytes; weight: device memory for weights; mapped: weights that stay in their file */
    size_t weight, mapped, state, io, step, scratch; /* scratch lies inside step: largest sum that is live at once */
} lmf_memory;

lmf_status lmf_plan_create(lmf_device *dev, lmf_graph *const *graphs, int n, const lmf_plan_opts *opts, lmf_plan **out);
const lmf_memory *lmf_plan_memory(const lmf_plan *plan);           /* exact before anything is allocated */
size_t     lmf_plan_bytes(const lmf_plan *plan);                   /* what bind will ask of the device: weight + state + io + step */
uint64_t   lmf_plan_fingerprint(const lmf_plan *plan);             /* rows, attributes, shapes, device, workers */
lmf_status lmf_plan_bind(lmf_plan *plan, lmf_weights *const *weights, int n); /* allocates all, prepares, captures, seals */
/* Host side of an INPUT or OUTPUT of graph i; of a STATE tensor on a host device too. NULL: no such name. */
void      *lmf_plan_io(lmf_plan *plan, int i_graph, const char *name);
const lmf_view *lmf_plan_view(lmf_plan *plan, int i_graph, const char *name); /* device side, by name or label */
lmf_status lmf_plan_run(lmf_plan *plan, int i_graph);              /* upload, launch, download; returns at once on a GPU */
lmf_status lmf_plan_wait(lmf_plan *plan, int i_graph);
/* Copies a STATE tensor between host memory and the device. n must be its size. */
lmf_status lmf_plan_state_read(lmf_plan *plan, const char *name, void *dst, size_t n);
lmf_status lmf_plan_state_write(lmf_plan *plan, const char *name, const void *src, size_t n);
/* i-th STATE tensor: name and device view; NULL past the end. A checkpoint is all of these. */
const lmf_tensor *lmf_plan_state_at(const lmf_plan *plan, int i);
void       lmf_plan_destroy(lmf_plan *plan);                       /* NULL is fine */

/* One line a planned tensor of graph i: for lmfast plan, tests and bug reports. */
typedef struct lmf_placed { const char *name, *op; size_t offset, bytes; int first, last; bool scratch; } lmf_placed;
int        lmf_plan_placed(const lmf_plan *plan, int i_graph, const lmf_placed **out);
typedef struct lmf_profile_row { const char *op, *row; int64_t n_calls; double seconds, flops, bytes; } lmf_profile_row;
int        lmf_plan_profile(const lmf_plan *plan, int i_graph, lmf_profile_row *rows, int cap); /* by time, largest first */

#endif
