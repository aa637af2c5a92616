/* SPDX-License-Identifier: Apache-2.0 */
/* params: members of a request's JSON into a struct, by table. A member that is absent or null leaves what is there; one of another type or
 * out of range is a 400 that names it. Members that no table names are ignored.
 * Threads: any. */
#ifndef LMF_SERVE_PARAMS_H
#define LMF_SERVE_PARAMS_H
#include "serve/exchange.h"

typedef enum lmf_param_kind { LMF_PARAM_BOOL, LMF_PARAM_INT, LMF_PARAM_NUMBER } lmf_param_kind; /* bool, int64_t, double */
typedef struct lmf_param {
    const char    *name;
    lmf_param_kind kind;
    size_t         offset;
    double         lo, hi;      /* inclusive; INT up to 2^53 in size */
} lmf_param;

bool lmf__params_read(const json_t *body, const lmf_param *table, void *into, lmf_fault *f);
/* A value is a whole number within lo and hi; reals that are whole are such. */
bool lmf__param_int(const json_t *v, const char *name, int64_t lo, int64_t hi, int64_t *out, lmf_fault *f);
bool lmf__param_number(const json_t *v, const char *name, double lo, double hi, double *out, lmf_fault *f);

#endif
