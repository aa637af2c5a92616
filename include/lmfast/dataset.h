/* SPDX-License-Identifier: Apache-2.0 */
/* dataset: rows to learn from, read and checked: JSON Lines or a JSON array, from a file (also gzip), a pipe, or memory. A row holds
 * "messages", "prompt" and "completion", "text", or for pairs "chosen" and "rejected", as docs/FILES.md says.
 *
 *     lmfast_dataset *rows;
 *     if (lmfast_dataset_open(ctx, "rows.jsonl", NULL, &rows))
 *         return fprintf(stderr, "%s\n", lmfast_error(ctx)), 1;
 *     printf("%lld rows\n", (long long)lmfast_dataset_n_rows(rows));
 *     lmfast_dataset_close(rows);
 *
 * Threads: any number may use an open one. */
#ifndef LMFAST_DATASET_H
#define LMFAST_DATASET_H
#include "lmfast/context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmfast_dataset lmfast_dataset;

typedef struct lmfast_dataset_opts {
    size_t struct_bytes;
    bool   skip_bad;   /* rows that can't be used are left out and logged, instead of refused. Default false */
} lmfast_dataset_opts;

LMFAST_API void lmfast_dataset_opts_init(lmfast_dataset_opts *opts, size_t bytes);
static inline lmfast_dataset_opts lmfast_dataset_opts_default(void)
{
    lmfast_dataset_opts o;
    lmfast_dataset_opts_init(&o, sizeof o);
    return o;
}

/* path: "-" is standard input. LMFAST_E_FORMAT with file and line: a row that is none. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_dataset_open(lmfast_context *ctx, const char *path, const lmfast_dataset_opts *opts,
                                                             lmfast_dataset **out);
/* The same of JSON in memory; name stands for the file in sentences. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_dataset_parse(lmfast_context *ctx, const char *name, const char *json, size_t n_bytes,
                                                              const lmfast_dataset_opts *opts, lmfast_dataset **out);
LMFAST_API void lmfast_dataset_close(lmfast_dataset *rows);
LMFAST_API int64_t lmfast_dataset_n_rows(const lmfast_dataset *rows);
LMFAST_API int64_t lmfast_dataset_n_bad(const lmfast_dataset *rows); /* left out */

#ifdef __cplusplus
}
#endif
#endif
