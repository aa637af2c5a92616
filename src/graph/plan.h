/* SPDX-License-Identifier: Apache-2.0 */
/* plan: several finished graphs (step, update, eval; or one a bucket) over one arena on one device. Every byte is known
 * before anything is allocated; after bind the plan is sealed: a run allocates nothing. A device may have several plans.
 *
 * STEP tensors and scratch of all graphs share the arena (its size is the largest graph's); STATE, INPUT and OUTPUT
 * tensors of one name in several graphs are one tensor; an INPUT that bears the name of another graph's OUTPUT is what that
 * graph wrote last: it stays on the device. A run copies the inputs and outputs of its own graph alone. WEIGHT tensors are
 * looked up by name in the sets given to bind, and borrowed: they lie on the device once, however many plans use them
 * (device_weights.h); on a host device their bytes stay where they are.
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
    bool     two_slots;        /* the host fills one set of inputs while the device works from the other: lmf_plan_take_slot */
} lmf_plan_opts;

typedef struct lmf_memory {    /* bytes; weight: device memory for weights; mapped: weights that stay in their file */
    size_t weight, mapped, state, io, step, scratch; /* scratch lies inside step: largest sum that is live at once */
    size_t shared;             /* of weight: brought by other plans; known from bind on, 0 before */
} lmf_memory;

lmf_status lmf_plan_create(lmf_device *dev, lmf_graph *const *graphs, int n, const lmf_plan_opts *opts, lmf_plan **out);
const lmf_memory *lmf_plan_memory(const lmf_plan *plan);           /* exact before anything is allocated */
size_t     lmf_plan_bytes(const lmf_plan *plan);                   /* what bind asks of the device: weight - shared + state + io + step */
uint64_t   lmf_plan_fingerprint(const lmf_plan *plan);             /* rows, attributes, shapes, device, workers */
lmf_status lmf_plan_bind(lmf_plan *plan, lmf_weights *const *weights, int n); /* allocates all, prepares, captures, seals */
/* The owner of a set counted up its version: copies on the device are made again. Nothing of any plan may run meanwhile. */
lmf_status lmf_plan_update_weights(lmf_plan *plan);
/* Host side of an INPUT or OUTPUT of graph i; on a host device of a STATE tensor and of what one graph hands to another, too. NULL: no such
 * name. */
void      *lmf_plan_io(lmf_plan *plan, int i_graph, const char *name);
const lmf_view *lmf_plan_view(lmf_plan *plan, int i_graph, const char *name); /* device side, by name or label */
lmf_status lmf_plan_run(lmf_plan *plan, int i_graph);              /* upload, launch, download; returns at once on a GPU */
lmf_status lmf_plan_wait(lmf_plan *plan, int i_graph);
/* Slots: host sides of inputs and outputs, on a device that works while the host goes on. take waits for the run that had the slot
 * last, whose outputs can be read until the next run; lmf_plan_io and lmf_plan_run mean this slot from now on. The first is 0. */
int        lmf_plan_n_slots(const lmf_plan *plan);                 /* 1: no opts.two_slots, or a host device */
lmf_status lmf_plan_take_slot(lmf_plan *plan, int i_slot);
/* Copies a STATE tensor between host memory and the device. n must be its size. */
lmf_status lmf_plan_state_read(lmf_plan *plan, const char *name, void *dst, size_t n);
lmf_status lmf_plan_state_write(lmf_plan *plan, const char *name, const void *src, size_t n);
/* Its first byte on the device, from bind to destroy; NULL: no such state. For a set of weights that lies there. */
void      *lmf_plan_state_data(const lmf_plan *plan, const char *name);
/* i-th STATE tensor: name and device view; NULL past the end. A checkpoint is all of these. */
const lmf_tensor *lmf_plan_state_at(const lmf_plan *plan, int i);
void       lmf_plan_destroy(lmf_plan *plan);                       /* NULL is fine */

/* One line a planned tensor of graph i: for lmfast plan, tests and bug reports. */
typedef struct lmf_placed { const char *name, *op; size_t offset, bytes; int first, last; bool scratch; } lmf_placed;
int        lmf_plan_placed(const lmf_plan *plan, int i_graph, const lmf_placed **out);
typedef struct lmf_profile_row { const char *op, *row; int64_t n_calls; double seconds, flops, bytes; } lmf_profile_row;
int        lmf_plan_profile(const lmf_plan *plan, int i_graph, lmf_profile_row *rows, int cap); /* by time, largest first */

#endif
