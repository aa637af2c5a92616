/* SPDX-License-Identifier: Apache-2.0 */
/* graph: a straight line of nodes, built by calling op functions; what varies between steps is data in INPUT tensors,
 * never a shape and never an attribute. Program order is the order of building; nothing moves across a write.
 *
 * Builders are sticky: the first mistake is recorded with op, input shapes and the line that called; later builders
 * accept NULL and return NULL; lmf_graph_finish reports it. So model code reads like formulas.
 *
 *     lmf_graph *g;  lmf_graph_create(ctx, &g);
 *     lmf_tensor *x = lmf_graph_tensor(g, LMF_INPUT, "x", LMF_F32, 2, (int64_t[]){ T, D });
 *     lmf_tensor *y = lmf_rms_norm(g, x, w, 1e-5f);        // ops/rms_norm/rms_norm.h
 *     lmf_graph_output(g, "y", y);
 *     s = lmf_graph_finish(g);
 *
 * Owner: the graph owns tensors, nodes and attributes (one arena). Threads: one. */
#ifndef LMF_GRAPH_GRAPH_H
#define LMF_GRAPH_GRAPH_H
#include "base/arena.h"
#include "device/kernel.h"
#include "base/name_index.h"

typedef struct lmf_graph lmf_graph;
typedef struct lmf_node lmf_node;
typedef struct lmf_op lmf_op;
typedef struct lmf_weights lmf_weights;

typedef struct lmf_tensor {
    lmf_view    v;                   /* data is NULL in a graph: addresses belong to plans */
    const char *name;                /* "layers.3.attn.q"; every class but STEP has one, unique in its graph */
    lmf_node   *node;                /* maker; NULL for leaves */
    struct lmf_tensor *base;         /* owner of the bytes when this is a view or an in-place result; else NULL */
    int64_t     base_offset;         /* bytes from the owner's first */
    uint32_t    version;             /* of the bytes when this tensor was made; an op that writes them counts up the owner's */
    uint32_t    now;                 /* owner only: the version of the bytes at this point of building */
    int32_t     index;               /* in graph->tensors */
    const void *init;                /* CONST: its bytes, in the graph's arena */
    bool        needs_grad;
} lmf_tensor;

struct lmf_node {
    const lmf_op *op;
    void        *attrs;              /* op->attr_bytes, in the graph's arena */
    lmf_tensor **in, **out;          /* an absent optional input is NULL */
    uint8_t      n_in, n_out;
    uint16_t     block;              /* layer + 1: the unit of recomputation; 0 outside */
    uint8_t      recomputed;         /* a copy made for the backward pass: dropped when nothing reads it */
    const char  *file; int line;     /* of the call, in the model file */
};

enum { LMF_FIELD_F32, LMF_FIELD_I32, LMF_FIELD_BOOL, LMF_FIELD_DTYPE }; /* DTYPE: an int32_t, the type of an output */
typedef struct lmf_field {           /* one member of an attribute struct; the table ends with a NULL name */
    const char *name;
    uint16_t    kind, offset;        /* LMF_FIELD_*, offsetof */
    const char *unit;                /* "", "rows", ... */
    double      lo, hi;              /* allowed range, inclusive */
} lmf_field;

enum { LMF_OP_CHEAP = 1,  /* one pass over its inputs, which its gradient reads anyway: what it gives need not be kept beside them */
       LMF_OP_FUSED = 2,  /* nothing but its expansion in one piece: stands only where a device has a row of its own for it */
       LMF_OP_AGAIN = 4 };  /* cheaper to make again than to keep: the backward pass does so, with or without recomputation */
struct lmf_op {
    const char *name;
    uint8_t     n_in_min, n_in_max, n_out;
    uint8_t     writes[LMF_MAX_OUT]; /* 0: fresh; k: out[j] is in[k-1] changed in place (STATE, cache pages) */
    uint32_t    flags;
    size_t      attr_bytes;
    const lmf_field *fields;         /* print, hash, save, compare; NULL when there are none */
    /* Sets dims and dtype of each fresh out (lmf_out_like, lmf_out_set); refuses with lmf_refuse. */
    lmf_status (*infer)(lmf_graph *, lmf_node *);
    /* d_out[j]: gradient of out[j], NULL if none flows. d_in[i]: on entry the sum so far or NULL; set it to the sum
     * with this node's share (lmf_grad_add does so; an op that can add while it computes passes d_in[i] to itself).
     * Only for inputs with needs_grad. node's tensors are the ones to use for saved values (recomputed ones where
     * the plan recomputes). */
    lmf_status (*grad)(lmf_graph *, const lmf_node *, lmf_tensor *const *d_out, lmf_tensor **d_in);
    /* Optional: the same in other ops, for a device that has no row (graph->device), and where a gradient is needed and the op has no
     * grad. Its backward pass is theirs. */
    lmf_status (*expand)(lmf_graph *, const lmf_node *, lmf_tensor **out);
    void       (*cost)(const lmf_node *, double *flops, double *bytes);
    lmf_status (*ref)(const lmf_call *);                           /* f64 inside, any dtype by lmf_get/lmf_set */
};

struct lmf_graph {
    lmf_ctx    *ctx;
    lmf_arena   arena;
    lmf_tensor **tensors; int32_t n_tensors, cap_tensors;
    lmf_node   **nodes;   int32_t n_nodes, cap_nodes;
    lmf_name_index   names;               /* to index in tensors */
    lmf_status  status;              /* sticky; the sentence is in ctx */
    const char *file; int line;      /* of the builder call in progress: LMF_AT */
    const char *scope;               /* put before each name that is given or looked for: lmf_graph_scope */
    uint16_t    block;
    const void *config;              /* of the model being built: models/ casts it */
    void       *user;                /* nn/'s own: weights, LoRA (nn/nn.h) */
    bool        finished;
    lmf_device *device;              /* NULL, or where it will run: an op without a row there is built as its expansion */
    uint16_t    between;             /* type of activations and their gradients: LMF_F32 (0), or LMF_BF16 in training on a GPU */
};

lmf_status lmf_graph_create(lmf_ctx *ctx, lmf_graph **out);
void       lmf_graph_destroy(lmf_graph *g);                        /* NULL is fine */
lmf_status lmf_graph_finish(lmf_graph *g);                         /* first mistake, or LMF_OK: no more nodes after */
/* Drops the nodes that no OUTPUT hangs on and that write nothing. Before finish. */
void       lmf_graph_prune(lmf_graph *g);
/* A leaf: class WEIGHT, STATE or INPUT. Name is copied. */
lmf_tensor *lmf_graph_tensor(lmf_graph *g, int cls, const char *name, uint16_t dtype, int n_dims, const int64_t *dim);
/* A leaf with fixed contents, a dense f32 or i32 array; data is copied. An existing CONST of that name is returned;
 * one with other contents is refused. */
lmf_tensor *lmf_graph_const(lmf_graph *g, const char *name, uint16_t dtype, int n_dims, const int64_t *dim, const void *data);
/* t can be read by the host after a run under that name. t is STEP; its class becomes OUTPUT. */
void        lmf_graph_output(lmf_graph *g, const char *name, lmf_tensor *t);
/* Gives a STEP tensor a name under which --eager dumps it; no effect on the plan. */
lmf_tensor *lmf_graph_label(lmf_graph *g, lmf_tensor *t, const char *name);
/* Bytes [offset, +shape) of an owner as a tensor of its own, dense. A part of a STATE tensor has its own version:
 * parts that overlap are the caller's mistake. */
lmf_tensor *lmf_graph_part(lmf_graph *g, lmf_tensor *owner, int64_t offset_bytes, const char *name, int n_dims, const int64_t *dim);
lmf_tensor *lmf_graph_find(const lmf_graph *g, const char *name);  /* NULL when there is none */
/* A further name under which t is found. */
void        lmf_graph_alias(lmf_graph *g, lmf_tensor *t, const char *name);
void        lmf_graph_block(lmf_graph *g, int layer);              /* -1: outside of all layers */
/* From now on names are those of another model in the same graph: "teacher." makes "embed" "teacher.embed". NULL: as they are. Borrowed. */
void        lmf_graph_scope(lmf_graph *g, const char *scope);

/* For op builders: remembers the caller's line. #define lmf_add(g, ...) (lmf_add)(LMF_AT(g), __VA_ARGS__) */
static inline lmf_graph *lmf_graph_at(lmf_graph *g, const char *file, int line) { g->file = file; g->line = line; return g; }
#define LMF_AT(g) lmf_graph_at((g), __FILE__, __LINE__)
/* Adds a node; in[] may hold NULL for absent optional inputs (index >= op->n_in_min). On any mistake, or when a needed
 * input is NULL, returns NULL. Else the node; out tensors are node->out[]. attrs is copied. Where the op was expanded, the
 * node returned is not part of the graph, and its out[] are made by others. */
lmf_node   *lmf_node_add(lmf_graph *g, const lmf_op *op, const void *attrs, lmf_tensor *const *in, int n_in);
/* The common case of one output. */
lmf_tensor *lmf_node_add1(lmf_graph *g, const lmf_op *op, const void *attrs, lmf_tensor *const *in, int n_in);
/* For infer: out[j] of that shape. */
void        lmf_out_set(lmf_node *n, int j, uint16_t dtype, int n_dims, const int64_t *dim);
void        lmf_out_like(lmf_node *n, int j, const lmf_tensor *t, uint16_t dtype);
/* For infer: records "op(shapes): sentence (model.c:12)". */
lmf_status  lmf_refuse(lmf_graph *g, const lmf_node *n, lmf_status s, const char *fmt, ...) LMF_PRINTF(4, 5);
/* "[64, 128] f32" into text; returns text. */
const char *lmf_shape_text(const lmf_view *v, char *text, size_t n);
/* Of a type that activations have between ops. */
static inline bool lmf_is_activation(const lmf_tensor *t) { return t->v.dtype == LMF_F32 || t->v.dtype == LMF_BF16; }
static inline bool lmf_same_shape(const lmf_tensor *a, const lmf_tensor *b)
{
    if (a->v.n_dims != b->v.n_dims) return false;
    for (int i = 0; i < a->v.n_dims; i++) if (a->v.dim[i] != b->v.dim[i]) return false;
    return true;
}

const lmf_op *lmf_op_find(const lmf_ctx *ctx, const char *name);   /* in ctx->tables->ops; NULL when there is none */

/* ---- autodiff (autodiff.c) ---- */
typedef struct lmf_backward_opts {
    bool recompute;                  /* forget each block's inner tensors after the forward pass; run the block again before its backward */
    bool recompute_cheap;            /* forget what CHEAP ops give, alone */
} lmf_backward_opts;
/* Appends the backward pass of the scalar loss [1]. d_loss: the gradient to start from, [1] f32. wrt[i] are tensors with
 * needs_grad; grad[i] gets d loss / d wrt[i] (NULL where none flows). Refuses at a node whose op has no grad, with the
 * line in the model file. */
lmf_status lmf_graph_backward(lmf_graph *g, lmf_tensor *loss, lmf_tensor *d_loss, const lmf_backward_opts *opts,
                              lmf_tensor *const *wrt, int n_wrt, lmf_tensor **grad);
/* For grad functions: *d_in = *d_in + t. */
void       lmf_grad_add(lmf_graph *g, lmf_tensor **d_in, lmf_tensor *t);

#endif
