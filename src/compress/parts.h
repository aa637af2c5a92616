/* SPDX-License-Identifier: Apache-2.0 */
/* parts: what the files of compress/ share. Not for others. */
#ifndef LMF_COMPRESS_PARTS_H
#define LMF_COMPRESS_PARTS_H
#include "base/team.h"
#include "compress/compress.h"

typedef struct lmf__compress {
    lmf_ctx                 *ctx;
    const lmf_model         *source;
    const lmf_compress_opts *opts;
    const lmf_format        *asked;
    lmf_team                *team;
    lmf_compressed          *out;
    int64_t                  n_done;
} lmf__compress;

lmf_status lmf__compress_round(lmf__compress *x, lmf_compressed_tensor *t);       /* by the format's own rule */
lmf_status lmf__compress_step(lmf__compress *x, const lmf_compressed_tensor *t);  /* progress, a matrix further */
lmf_status lmf__compress_collect(lmf__compress *x, lmf_imatrix *im);
lmf_status lmf__compress_imatrix(lmf__compress *x);
lmf_status lmf__compress_gptq(lmf__compress *x);
uint64_t   lmf__compress_working_bytes(lmf_ctx *ctx, const lmf_model *m, const lmf_compress_opts *o); /* of the latter two */

#endif
