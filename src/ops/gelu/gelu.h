/* SPDX-License-Identifier: Apache-2.0 */
/* gelu: y = x / 2 (1 + tanh(u)), u = sqrt(2/pi) (x + 0.044715 x^3), element by element: the form with tanh.
 *   x    [...]  f32 | bf16
 *   y    [...]  the shape and type of x
 * gelu_bwd: (x, dy) -> dx = dy (s + x s (1 - s) 2 u'), with s = (1 + tanh(u)) / 2.
 * Keeps nothing for backward beyond its input.
 * Computed as x sigmoid(2u); error at most 2e-6 of the magnitude of x, of dx 4e-6 of the magnitude of dy; in bf16 rounded once besides.
 * Same bits for any worker count; an element depends on its inputs alone.
 * Refuses LMF_E_SHAPE if the shapes of gelu_bwd differ, LMF_E_DTYPE for anything but f32 or bf16 throughout.
 * Hendrycks and Gimpel 2016, arXiv 1606.08415; transformers' gelu_new, PyTorch's gelu(approximate="tanh"). */
#ifndef LMF_OPS_GELU_H
#define LMF_OPS_GELU_H
#include "graph/graph.h"

extern const lmf_op lmf_op_gelu, lmf_op_gelu_bwd;

lmf_tensor *lmf_gelu(lmf_graph *g, lmf_tensor *x);
#define lmf_gelu(g, ...) (lmf_gelu)(LMF_AT(g), __VA_ARGS__)

#endif
