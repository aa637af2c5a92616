/* SPDX-License-Identifier: Apache-2.0 */
/* onnx: an ONNX model file: a list of nodes, tensors, inputs and outputs. The writer gathers what is small and streams tensors' bytes,
 * which
 * come from a callback, so that no model is in memory twice; the reader maps the file, trusts nothing in it and holds it to be a graph:
 * every name that a node reads is made before it, and none is made twice.
 *
 *     lmf_onnx_writer w;
 *     lmf_onnx_begin(&w, ctx);
 *     lmf_onnx_put_value(&w, false, "x", LMF_ONNX_F32, 2, (const char *const[]){ "rows", NULL }, (int64_t[]){ 0, 64 });
 *     lmf_onnx_put_tensor(&w, "w", LMF_ONNX_F32, 2, dim, NULL);                                    // its bytes: later, by fill
 *     lmf_onnx_put_node(&w, "", "MatMul", (const char *const[]){ "x", "w", NULL }, (const char *const[]){ "y", NULL }, NULL);
 *     ...
 *     s = lmf_onnx_save(&w, "model.onnx", false, fill, user);
 *     lmf_onnx_end(&w);
 *
 * Failure is sticky in the writer; save reports it. Owner: the caller's storage; names are copied. Threads: one.
 * Facts: onnx/onnx.proto of github.com/onnx/onnx 1.23, opset 21, IR version 10; docs/ExternalData.md there. */
#ifndef LMF_FORMAT_ONNX_H
#define LMF_FORMAT_ONNX_H
#include "base/arena.h"
#include "base/buf.h"
#include "base/file.h"
#include "base/name_index.h"

enum { LMF_ONNX_F32 = 1, LMF_ONNX_U8 = 2, LMF_ONNX_I32 = 6, LMF_ONNX_I64 = 7, LMF_ONNX_BOOL = 9, LMF_ONNX_F16 = 10, LMF_ONNX_I4 = 22 };
enum { LMF_ONNX_IR = 10, LMF_ONNX_OPSET = 21, LMF_ONNX_MAX_DIMS = 8, LMF_ONNX_MAX_IO = 64 };

typedef struct lmf_onnx_tensor {
    const char    *name;
    int            type, n_dims;     /* LMF_ONNX_* */
    int64_t        dim[LMF_ONNX_MAX_DIMS];
    const uint8_t *data;             /* written: NULL where fill gives it. Read: in the mapped file */
    size_t         bytes;
    uint64_t       at;               /* written, beside the model: where it begins there */
} lmf_onnx_tensor;

/* ---- writing ---- */
typedef struct lmf_onnx_attr {       /* a list ends with name NULL */
    const char *name;
    char        kind;                /* 'i', 'f', 's', or 'I': integers */
    int64_t     i;
    float       f;
    const char *s;
    const int64_t *ints; int n;
} lmf_onnx_attr;

typedef struct lmf_onnx_writer {
    lmf_ctx    *ctx;
    lmf_arena   arena;               /* names and data of small tensors */
    lmf_buf     nodes, values;       /* encoded fields of the graph */
    lmf_buf     tensors;             /* lmf_onnx_tensor each */
    lmf_name_index names;            /* of tensors */
    int64_t     n_nodes;
    bool        microsoft;           /* a node of the domain com.microsoft was put */
    lmf_status  status;
} lmf_onnx_writer;

typedef lmf_status (*lmf_onnx_sink)(void *user, const void *p, size_t n);
/* Gives all bytes of t, in order. */
typedef lmf_status (*lmf_onnx_fill)(void *user, const lmf_onnx_tensor *t, lmf_onnx_sink sink, void *sink_user);

void lmf_onnx_begin(lmf_onnx_writer *w, lmf_ctx *ctx);
void lmf_onnx_end(lmf_onnx_writer *w); /* harmless twice */
/* in, out: NULL-ended; "" is an input left out. attr: NULL, or a list. */
void lmf_onnx_put_node(lmf_onnx_writer *w, const char *domain, const char *op, const char *const *in, const char *const *out,
                       const lmf_onnx_attr *attr);
/* An input or output of the graph; symbol[i] NULL: the dimension is dim[i]. */
void lmf_onnx_put_value(lmf_onnx_writer *w, bool output, const char *name, int type, int n_dims, const char *const *symbol,
                        const int64_t *dim);
/* data NULL: fill gives it. The index of the tensor; one of that name that is there is returned. */
int32_t lmf_onnx_put_tensor(lmf_onnx_writer *w, const char *name, int type, int n_dims, const int64_t *dim, const void *data);
const lmf_onnx_tensor *lmf_onnx_tensor_at(const lmf_onnx_writer *w, int32_t i, int32_t *n); /* NULL past the end */
/* Writes path; beside: tensors of 1 KiB and more lie in "<path>_data", which is also done where the model has 2 GB or more. *external says
 * which it was. */
lmf_status lmf_onnx_save(lmf_onnx_writer *w, const char *path, bool beside, lmf_onnx_fill fill, void *user, bool *external);
/* Bytes of a tensor; LMF_E_DTYPE for types that are not in the list above, LMF_E_SHAPE for sizes out of range. */
lmf_status lmf_onnx_bytes(lmf_ctx *ctx, const lmf_onnx_tensor *t, size_t *bytes);

/* ---- reading ---- */
typedef struct lmf_onnx_node {
    const char *op, *domain;
    const char *in[LMF_ONNX_MAX_IO], *out[LMF_ONNX_MAX_IO];
    int         n_in, n_out;
} lmf_onnx_node;

typedef struct lmf_onnx {
    lmf_ctx         *ctx;
    lmf_arena        arena;
    lmf_map          map, data;      /* data: of "<path>_data", where tensors lie there */
    int64_t          ir_version, opset;
    lmf_onnx_tensor *tensors; int32_t n_tensors;
    const char     **inputs, **outputs; int32_t n_inputs, n_outputs;
    int32_t          n_nodes;
    lmf_name_index   names;          /* of tensors */
    lmf_buf          nodes;          /* the nodes' fields, as they are in the file */
} lmf_onnx;

/* Refuses what is no whole ONNX model, a tensor whose bytes are not those of its shape or lie outside of the file, graphs that lie in
 * nodes,
 * names that are read before they are made or made twice. path: where it came from; NULL: bytes alone (lmf_onnx_parse). */
lmf_status lmf_onnx_open(lmf_ctx *ctx, const char *path, lmf_onnx **out);
lmf_status lmf_onnx_parse(lmf_ctx *ctx, const void *p, size_t n, lmf_onnx **out); /* borrows p; tensors beside it are refused */
void       lmf_onnx_close(lmf_onnx *o); /* NULL is fine */
const lmf_onnx_tensor *lmf_onnx_find(const lmf_onnx *o, const char *name);

#endif
