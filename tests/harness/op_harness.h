/* SPDX-License-Identifier: Apache-2.0 */
/* op_harness: from one lmf_op_case row of text to all checks of an op. Each check has a name (the reason): a failure is
 * printed as "FAIL op "case" row check: what", and kept in the harness, so that the self-tests (tests/unit/harness_test.c)
 * can plant a mistake and assert that it is caught for the right reason.
 *
 *   case           the row itself can't be read
 *   infer          the shape rule refuses, or gives wrong outputs     refusal        a refusal with another status or sentence
 *   status         a kernel failed                                    reference      an element is off by more than the tolerance
 *   guard-input, guard-output, guard-scratch   bytes around them changed
 *   input-changed  an input that the op does not write                unwritten      an output element was never written
 *   repeat         two runs, two results                              workers        LMF_ROW_ANY_WORKERS does not hold
 *   invariant      LMF_ROW_INVARIANT does not hold                    gradient       against central differences in f64
 *   expand         fused op and its expansion differ                  plan           through lmf_plan on a device
 *
 *     lmf_harness h;  lmf_harness_init(&h, ctx, 0);
 *     lmf_harness_case(&h, op, &row);             // h.n_passed, h.n_failed, h.reason
 *     lmf_harness_clear(&h);
 *
 * Owner: the caller's storage. Threads: one. */
#ifndef LMF_TESTS_HARNESS_OP_HARNESS_H
#define LMF_TESTS_HARNESS_OP_HARNESS_H
#include "base/arena.h"
#include "base/team.h"
#include "device/device.h"
#include "graph/graph.h"
#include "op_case.h"

enum { LMF_HARNESS_TEAMS = 4, LMF_GUARD_BYTES = 128 };

typedef struct lmf_harness {
    lmf_ctx    *ctx;
    lmf_device *dev[LMF_HARNESS_TEAMS];   /* cpu devices of 1, 2, 3, 7 workers (or 1 and n) */
    lmf_team   *team[LMF_HARNESS_TEAMS];
    int         n_teams;
    bool        quiet, verbose;
    int         n_passed, n_failed, n_holes, n_rows; /* checks; cases with no row but ref; rows run */
    char        reason[24], text[512];    /* of the first failure */
} lmf_harness;

typedef struct lmf_case_tensor {
    char        name[32];
    bool        absent, grad, listed;     /* listed: its values are given, so other tensors may depend on them */
    lmf_view    v;                        /* data: the bytes at the start, never changed */
    size_t      bytes;                    /* from the first element to behind the last */
    int64_t     below;                    /* integers are drawn below it; 0: none */
    const char *list;                     /* text of the given values, or NULL */
} lmf_case_tensor;

typedef enum lmf_draw { LMF_DRAW_NORMAL, LMF_DRAW_UNIFORM, LMF_DRAW_SMALL, LMF_DRAW_POSITIVE } lmf_draw;

typedef struct lmf_promise_term { double factor; bool times_n, greatest; int unit; } lmf_promise_term; /* unit: an input, or LMF_UNIT_ */
enum { LMF_UNIT_OWN = -1, LMF_UNIT_RMS = -2, LMF_UNIT_MAG = -3, LMF_PROMISE_TERMS = 4 };
typedef struct lmf_promise { int n_terms; lmf_promise_term term[LMF_PROMISE_TERMS]; } lmf_promise;

typedef struct lmf_case {
    lmf_harness *h;
    const lmf_op *op;
    const lmf_op_case *row;
    lmf_arena   arena;
    lmf_case_tensor in[LMF_MAX_IN];
    int         n_in;
    void       *attrs;                    /* op->attr_bytes */
    lmf_draw    draw;
    lmf_status  refused;                  /* LMF_OK: must be accepted */
    bool        partial, cut;
    double      tol;                      /* 0: the table's, and the promise's */
    lmf_promise promise[LMF_MAX_OUT];     /* n_terms 0: exact */
    bool        promised;
    lmf_view    mag[LMF_MAX_OUT];         /* f64, of magnitudes; data NULL until asked for */
    lmf_graph  *g;                        /* this node alone */
    lmf_node   *node;
    double      flops, bytes;             /* by op->cost, 0 without */
} lmf_case;

lmf_status lmf_harness_init(lmf_harness *h, lmf_ctx *ctx, int n_workers); /* n_workers 0: 1, 2, 3 and 7 */
void lmf_harness_clear(lmf_harness *h);
/* Counts one check; prints and keeps a failure. Returns ok. */
bool lmf_harness_check(lmf_harness *h, const lmf_case *c, const char *reason, const char *row, bool ok, const char *fmt, ...)
    LMF_PRINTF(6, 7);
/* All checks of one row of text. op NULL: looked up by the row's name in the context's tables. */
void lmf_harness_case(lmf_harness *h, const lmf_op *op, const lmf_op_case *row);
/* The case through lmf_plan on a device ("cpu", "cuda"): against the reference, repeated, eager against captured, and
 * n_replays runs that may allocate nothing. */
void lmf_harness_plan(lmf_harness *h, const lmf_op *op, const lmf_op_case *row, const char *device, int n_replays);
/* Prints GB/s and GFLOP/s of each row that takes the case, with one worker or --workers. */
void lmf_harness_speed(lmf_harness *h, const lmf_op *op, const lmf_op_case *row);

/* ---- shared by the harness's files ---- */
/* op_parse.c: reads the texts and draws the values. False: recorded as a failed "case" check. */
bool lmf_case_open(lmf_harness *h, const lmf_op *op, const lmf_op_case *row, lmf_case *c);
void lmf_case_close(lmf_case *c);
/* A graph of the case's leaves and its node: node NULL when refused (g->status). grad: leaves marked ! need gradients. */
lmf_status lmf_case_graph(const lmf_case *c, bool grad, lmf_graph **g, lmf_node **node);
int  lmf_case_class(const lmf_case *c, int i);                  /* INPUT, WEIGHT (block formats) or STATE (written) */
size_t lmf_view_span(const lmf_view *v);                        /* bytes from the first element to behind the last */
double lmf_case_normal(uint64_t seed, uint32_t stream, uint64_t index);

/* op_error.c: reads the promise of the row, or of the one above it. False: recorded as a failed "case" check. */
bool lmf_case_promise(lmf_case *c);
/* Whether the op was asked for coarser products: a field compute of 1 or more. */
bool lmf_case_is_fast(const lmf_case *c);
/* got against want by the op's promise and the tolerance of (dtype, kind of op). */
bool lmf_case_compare(lmf_case *c, const char *reason, const char *row, int j, const lmf_view *got, const lmf_view *want, const uint8_t *skip);

/* op_rows.c: guarded copies of all tensors, and a run of one kernel row over them. */
typedef struct lmf_guarded { unsigned char *data; size_t bytes; } lmf_guarded;
typedef struct lmf_run {
    lmf_view    in[LMF_MAX_IN], out[LMF_MAX_OUT];
    lmf_guarded in_bytes[LMF_MAX_IN], out_bytes[LMF_MAX_OUT], scratch;
    unsigned char poison;
    lmf_arena   arena;                    /* holds all of it */
    uint8_t    *skip[LMF_MAX_OUT];        /* reference run of a partial case: 1 where it wrote nothing; else NULL */
} lmf_run;
void lmf_run_clear(lmf_run *run);         /* a zeroed run is fine */
/* run is zeroed or of an earlier run, which it replaces. */
bool lmf_run_row(lmf_case *c, const lmf_kernel *row, int i_team, unsigned char poison, lmf_run *run);
bool lmf_case_reference(lmf_case *c, lmf_run *run);             /* two runs of ref, checked as a row is */
void lmf_case_rows(lmf_case *c, const lmf_run *ref);            /* every kernel row that takes the case */
bool lmf_row_takes(lmf_device *dev, const lmf_kernel *row, const lmf_call *call);
void lmf_case_call(const lmf_case *c, const lmf_run *run, lmf_call *call);
lmf_status lmf_call_run(lmf_harness *h, const lmf_call *call, int i_team);

/* op_grad.c */
void lmf_case_gradient(lmf_case *c);
void lmf_case_expand(lmf_case *c);

#endif
