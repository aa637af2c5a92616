/* SPDX-License-Identifier: Apache-2.0 */
/* nn: blocks made of ops. A model body calls them with the roles of its weights ("attn.q"); where the bytes come from is
 * decided here: the model file, a trainer's flat parameters, or an adapter on top.
 *
 * g->user points to an lmf_nn while a model is built. Roles are relative to the current block (lmf_graph_block): inside layer 3
 * "attn.q" is the tensor "layers.3.attn.q". */
#ifndef LMF_NN_NN_H
#define LMF_NN_NN_H
#include "graph/batch.h"
#include "graph/weights.h"
#include "ops/attention/attention.h"
#include "ops/rope/rope.h"

/* Trainable tensors, one behind the other in flat f32 arrays, so that one op updates them all. */
typedef struct lmf_param {
    const char *name;            /* "layers.0.attn.q.lora_a" or a role of the model */
    int64_t     offset, count;   /* elements in the flat arrays */
    int64_t     dim[LMF_MAX_DIMS];
    uint8_t     n_dims;
    bool        decay;           /* weight decay applies */
} lmf_param;
typedef struct lmf_param_alias { const char *name; int32_t item; } lmf_param_alias;
typedef struct lmf_params {
    lmf_param *items; int32_t n;
    int64_t    n_total;          /* elements; those with decay lie first */
    int64_t    n_decay;
    lmf_param_alias *alias; int32_t n_alias; /* further names: an A that the slices of a fused matrix share */
} lmf_params;

/* One layer of a model as a graph of its own, and what its linear layers read: for quantizers that go layer by layer. The body is built
 * whole; the INPUT "stream" stands for all before the layer, the OUTPUT "stream_out" ends it, and lmf_graph_prune drops the rest. The
 * builder passes "stream" as x for layer 0. A layer ends where the body labels "mlp_out". */
enum { LMF_NN_MOST_TAPS = 32, LMF_NN_NAME_BYTES = 160 };
typedef struct lmf_nn_tap {
    int  layer;                  /* the number of layers: what follows the last */
    bool entered, left;          /* set while building: both ends were found */
    struct { char role[LMF_NN_NAME_BYTES]; lmf_tensor *x; } seen[LMF_NN_MOST_TAPS]; /* in the order of building */
    int  n_seen;
} lmf_nn_tap;

typedef struct lmf_nn {
    const lmf_weights *weights;  /* of the model */
    const lmf_params  *params;   /* of a trainer, or NULL */
    float              lora_scale; /* of the trainer's pairs: alpha / r */
    float              dropout;  /* of what the pairs see, in a training step; 0: none. Takes the inputs "item" and "noise" (ops/dropout) */
    const lmf_weights *adapters; /* of an engine: pairs of n_slots adapters stacked, B scaled; or NULL */
    int                n_slots, slot_rank;
    int                compute;  /* 0: f32 products, 1: fast (matmul.h) */
    lmf_nn_tap        *tap;      /* or NULL */
} lmf_nn;

static inline lmf_nn *lmf_nn_of(lmf_graph *g) { return g->user; }
/* The tensor of a role; optional: NULL without complaint when there is none. */
lmf_tensor *lmf_nn_weight(lmf_graph *g, const char *role, bool optional);
/* y = x W^T (+ bias) (+ LoRA), W the weight of the role, bias that of "<role>_bias" if the model has one. [T, K] -> [T, N] */
lmf_tensor *lmf_linear(lmf_graph *g, lmf_tensor *x, const char *role);
#define lmf_linear(g, ...) (lmf_linear)(LMF_AT(g), __VA_ARGS__)
/* r + lmf_linear(x): a residual stream goes on. */
lmf_tensor *lmf_nn_linear_add(lmf_graph *g, lmf_tensor *x, const char *role, lmf_tensor *r);
#define lmf_nn_linear_add(g, ...) (lmf_nn_linear_add)(LMF_AT(g), __VA_ARGS__)
/* Queries, keys and values: three linear layers of rms_norm(x). */
typedef struct lmf_qkv { lmf_tensor *q, *k, *v; } lmf_qkv;
lmf_qkv lmf_nn_norm_qkv(lmf_graph *g, lmf_tensor *x, const char *norm, float eps, const char *q, const char *k, const char *v);
#define lmf_nn_norm_qkv(g, ...) (lmf_nn_norm_qkv)(LMF_AT(g), __VA_ARGS__)
/* swiglu of two linear layers of rms_norm(x). */
lmf_tensor *lmf_nn_norm_swiglu(lmf_graph *g, lmf_tensor *x, const char *norm, float eps, const char *gate, const char *up);
#define lmf_nn_norm_swiglu(g, ...) (lmf_nn_norm_swiglu)(LMF_AT(g), __VA_ARGS__)
/* Keys and values of a layer: this step's own rows, or its pages with them appended. Other layers may attend to them too. */
typedef struct lmf_kv { lmf_tensor *k, *v; } lmf_kv;
lmf_kv lmf_nn_kv(lmf_graph *g, const lmf_batch *in, lmf_tensor *k, lmf_tensor *v);
#define lmf_nn_kv(g, ...) (lmf_nn_kv)(LMF_AT(g), __VA_ARGS__)
lmf_tensor *lmf_nn_attend(lmf_graph *g, const lmf_batch *in, lmf_tensor *q, lmf_kv kv, lmf_attention_attrs attrs);
#define lmf_nn_attend(g, ...) (lmf_nn_attend)(LMF_AT(g), __VA_ARGS__)
/* Attention over this step's rows, or appended to and read from this layer's pages where the batch has pages. */
lmf_tensor *lmf_nn_attention(lmf_graph *g, const lmf_batch *in, lmf_tensor *q, lmf_tensor *k, lmf_tensor *v, lmf_attention_attrs attrs);
#define lmf_nn_attention(g, ...) (lmf_nn_attention)(LMF_AT(g), __VA_ARGS__)
/* The same with q and k rotated before. */
lmf_tensor *lmf_nn_rotary_attention(lmf_graph *g, const lmf_batch *in, lmf_qkv p, lmf_tensor *freq, lmf_rope_attrs rope,
                                    lmf_attention_attrs attrs);
#define lmf_nn_rotary_attention(g, ...) (lmf_nn_rotary_attention)(LMF_AT(g), __VA_ARGS__)
/* Labels t as "layers.3.<name>" for --eager dumps; returns t. */
lmf_tensor *lmf_nn_label(lmf_graph *g, lmf_tensor *t, const char *name);

#endif
