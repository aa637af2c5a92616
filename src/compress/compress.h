/* SPDX-License-Identifier: Apache-2.0 */
/* compress: a model's weights in fewer bits. The result is a model like the one given, with packed weights in memory: it can be measured
 * (measure.h) and written by an export that copies. Matrices get the type asked for; where their rows are no whole blocks of it, the
 * smallest type with as many bits whose blocks fit. Norms and biases stay as they are.
 * Methods: rtn rounds each weight to the nearest code, by the format's own rule; it needs no data. imatrix searches scales that make the
 * least error weighted by an importance matrix (imatrix.h). gptq runs a text through the model layer by layer and makes the least error of
 * each layer's output on it (solve.h); the next layer sees what the packed one gives.
 * Owner: borrows the source model, which must outlive the result. Threads: one at a time; it uses the context's workers.
 *
 *     lmf_compress_opts opts = { .method = "rtn", .type = "q4_0" };
 *     LMF_TRY(lmf_compress(ctx, model, &opts, &c));
 *     lmf_export(ctx, &c->model, "small.gguf", ...);
 *     lmf_compressed_close(c); */
#ifndef LMF_COMPRESS_COMPRESS_H
#define LMF_COMPRESS_COMPRESS_H
#include "compress/imatrix.h"
#include "models/model.h"

typedef bool (*lmf_compress_progress)(void *user, int64_t done, int64_t total, const char *what); /* matrices; false stops */

typedef struct lmf_compress_opts {
    const char           *method, *type;   /* "rtn", "imatrix", "gptq"; "q4_0" ... */
    int32_t              *id;              /* gptq, collect: a text of whole windows. Their first token becomes BOS where texts have one */
    int64_t               n_windows;
    int32_t               window;          /* tokens; llama-imatrix takes 512 */
    const lmf_imatrix    *imatrix;         /* of the method of that name */
    lmf_compress_progress progress;        /* or NULL */
    void                 *user;
} lmf_compress_opts;

typedef struct lmf_compressed_tensor {     /* a matrix that was packed */
    const char       *role;
    const lmf_weight *from, *to;
    double            error;               /* root mean square of the difference over that of its values */
    double            loss;                /* gptq, imatrix: mean square error of the layer's output on the text, summed over outputs;
                                            * imatrix takes columns as independent */
    bool              fell;                /* its rows are no whole blocks of the type asked for */
    bool              done;
} lmf_compressed_tensor;

typedef struct lmf_compressed {
    lmf_model model;                       /* the source's, but for weights */
    lmf_compressed_tensor *items; int64_t n, n_room;
    int64_t   n_values, n_fell;            /* of the packed matrices; of them in another type than asked for */
    int64_t   n_unweighed;                 /* imatrix: matrices that it says nothing about */
    uint64_t  n_bytes, fell_bytes;         /* of all tensors; what the other types cost above the one asked for */
} lmf_compressed;

/* What lmf_compress will ask for: the packed weights, and the rest at most at once. */
typedef struct lmf_compress_plan { uint64_t packed_bytes, working_bytes; int64_t n_matrices; } lmf_compress_plan;
lmf_status lmf_compress_planned(lmf_ctx *ctx, const lmf_model *model, const lmf_compress_opts *opts, lmf_compress_plan *out);
/* The importance matrix of the text; of opts: id, n_windows, progress. */
lmf_status lmf_compress_collect(lmf_ctx *ctx, const lmf_model *model, const lmf_compress_opts *opts, lmf_imatrix **out);
/* LMF_E_UNSUPPORTED: no such type or method. LMF_E_CANCELLED: progress said stop. */
lmf_status lmf_compress(lmf_ctx *ctx, const lmf_model *model, const lmf_compress_opts *opts, lmf_compressed **out);
void       lmf_compressed_close(lmf_compressed *c); /* NULL is fine */

#endif
