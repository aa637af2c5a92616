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
} lmf__compress;

#endif
