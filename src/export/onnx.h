/* SPDX-License-Identifier: Apache-2.0 */
/* onnx: a model's own graph, the one that it computes by here, written as ONNX's operators. Not for others.
 * No list of architectures stands here: whatever is made of ops that have a form in ONNX can be written, and a model with another op, or
 * with
 * an attribute of an op that is not known here, is refused by its name.
 *
 * Two sets of operators: ONNX's own (opset 21), and with Microsoft's for attention and 4-bit matrices, which onnxruntime has fast
 * kernels for. */
#ifndef LMF_EXPORT_ONNX_H
#define LMF_EXPORT_ONNX_H
#include "base/half.h"
#include "export/parts.h"
#include "format/onnx.h"
#include "nn/nn.h"

/* How a tensor of the file is made of a matrix of N rows, each of K weights. TURNED: [K, N]. CODES: of q4_0, [N, K/32, 16], two a byte, the
 * lower first, 8 is zero. SCALES: [N, K/32]. CODES_TURNED: [K, N] of 4-bit integers; SCALES_TURNED: [K/32, N]. */
enum { LMF__ONNX_AS_IS, LMF__ONNX_TURNED, LMF__ONNX_CODES, LMF__ONNX_SCALES, LMF__ONNX_CODES_TURNED, LMF__ONNX_SCALES_TURNED };
typedef struct lmf__onnx_item { lmf_out_part part; int kind; int64_t n, k; const char *name; } lmf__onnx_item;

typedef struct lmf__onnx {
    lmf_exporter   *x;
    lmf_onnx_writer w;
    lmf__onnx_item *items; int32_t n_items, cap;
    bool            half, four, microsoft; /* f16 between operators; matrices in 4 bits; Microsoft's operators */
    int64_t         n_fallback;            /* matrices that 4 bits don't fit */
    int32_t         n_done;                /* written, for progress */
} lmf__onnx;

/* What --quant means here. file: "model_q4.onnx". LMF_E_ARG names what is possible. */
lmf_status lmf__onnx_precision(const lmf_exporter *x, bool *half, bool *four, const char **file);
/* Nodes, values and tensors of the whole model. */
lmf_status lmf__onnx_build(lmf__onnx *o);
/* The matrix of a role as a tensor of the file, whose name is returned; it is listed once. */
const char *lmf__onnx_matrix(lmf__onnx *o, const char *role, int kind);
lmf_status lmf__onnx_fill(void *user, const lmf_onnx_tensor *t, lmf_onnx_sink sink, void *sink_user);
/* Row i of an item, an adapter merged in, as k values; and the same as it is in an opened file, through its own types. */
lmf_status lmf__onnx_verify(lmf__onnx *o, const char *path);

#endif
