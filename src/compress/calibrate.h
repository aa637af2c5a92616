/* SPDX-License-Identifier: Apache-2.0 */
/* calibrate: runs a text through a model layer by layer and looks at what its linear layers read. What goes from layer to layer, the
 * stream, lies in host memory; so a layer's weights may be replaced before the next layer sees what they give. Not for others.
 *
 *     lmf__calib_open(ctx, model, ids, n_windows, window, compute, &c);
 *     for each layer: lmf__calib_look(c, layer, weights, want_gram, &seen);  ... ;  lmf__calib_advance(c, layer, weights);
 *     lmf__calib_look(c, n_layers, ...)                                      // what the head reads */
#ifndef LMF_COMPRESS_CALIBRATE_H
#define LMF_COMPRESS_CALIBRATE_H
#include "graph/plan.h"
#include "models/model.h"
#include "nn/nn.h"

typedef struct lmf__calib {
    lmf_ctx         *ctx;
    const lmf_model *model;
    lmf_device      *dev;
    const int32_t   *id;               /* [n_windows * window] */
    int64_t          n_windows, n_run; /* windows, and those of one run */
    int32_t          window;
    int              compute;
    float           *stream; int64_t width; /* [n_windows * window, width] */
    bool           (*progress)(void *user); /* after each run; false stops. Or NULL */
    void            *user;
    /* of the layer looked at */
    lmf_graph       *graph;
    lmf_plan        *plan;
    lmf_nn           nn;
    lmf_nn_tap       tap;
} lmf__calib;

/* What one linear layer reads; layers that read the same share the numbers. */
typedef struct lmf__seen {
    const char *role;
    int64_t     k;
    double     *sum2;                  /* [k] sums of squares over all tokens, or NULL: not asked for */
    float      *gram;                  /* [k, k] X^T X, or NULL */
} lmf__seen;
typedef struct lmf__look { lmf__seen item[LMF_NN_MOST_TAPS]; int n; int64_t n_tok; double *room; size_t room_bytes; } lmf__look;

/* Windows begin with BOS where the model's texts do. id is written to there. */
lmf_status lmf__calib_open(lmf_ctx *ctx, const lmf_model *m, int32_t *id, int64_t n_windows, int32_t window, int compute, lmf__calib *out);
void       lmf__calib_close(lmf__calib *c);
/* Runs the layer over the stream. gram: X^T X of each input is summed, else the sums of squares. advance: the stream becomes what the
 * layer gives. out stays valid until the next call or forget. */
lmf_status lmf__calib_look(lmf__calib *c, int layer, lmf_weights *weights, bool gram, bool advance, lmf__look *out);
void       lmf__calib_forget(lmf__calib *c, lmf__look *look); /* the layer's plan and sums */
lmf_status lmf__calib_advance(lmf__calib *c, int layer, lmf_weights *weights);

#endif
