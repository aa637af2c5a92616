/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "api/api.h"

void lmfast_dataset_opts_init(lmfast_dataset_opts *opts, size_t bytes)
{
    lmfast_dataset_opts o = { .struct_bytes = sizeof o };
    lmf__api_init(opts, bytes, &o, sizeof o);
}

/* json NULL: from the file called name. */
static lmfast_status open_rows(lmfast_context *ctx, const char *name, const char *json, size_t n, const lmfast_dataset_opts *opts,
                               lmfast_dataset **out)
{
    lmfast_dataset_opts o = lmfast_dataset_opts_default();
    LMF_TRY(lmf__api_enter(ctx));
    LMF_TRY(lmf__api_take(ctx->ctx, "lmfast_dataset_opts", &o, opts, sizeof o));
    if (!name || !*name)
        return LMF_FAIL(ctx->ctx, LMF_E_ARG, "no %s of the rows was given", json ? "name" : "path");
    lmfast_dataset *d = lmf_new(ctx->ctx, lmfast_dataset);
    if (!d)
        return LMF_NO_MEMORY(ctx->ctx, sizeof *d, "rows");
    lmf_status s = json ? lmf_rows_parse(ctx->ctx, name, json, n, o.skip_bad, &d->rows) : lmf_rows_open_with(ctx->ctx, name, o.skip_bad,
        &d->rows);
    if (s) {
        lmf_delete(ctx->ctx, d);
        return s;
    }
    d->c = lmf__context_retain(ctx);
    if (d->rows.n_bad)
        lmf__api_log(ctx, LMFAST_LOG_WARNING, "%s: %lld rows can't be used and were left out. The first: %s", name,
                     (long long)d->rows.n_bad,
                     d->rows.first_bad);
    *out = d;
    return LMFAST_OK;
}

lmfast_status lmfast_dataset_open(lmfast_context *ctx, const char *path, const lmfast_dataset_opts *opts, lmfast_dataset **out)
{
    *out = NULL;
    return ctx ? open_rows(ctx, path, NULL, 0, opts, out) : LMFAST_E_ARG;
}

lmfast_status lmfast_dataset_parse(lmfast_context *ctx, const char *name, const char *json, size_t n_bytes, const lmfast_dataset_opts *opts,
                                   lmfast_dataset **out)
{
    *out = NULL;
    return ctx && (json || !n_bytes) ? open_rows(ctx, name, json ? json : "", n_bytes, opts, out) : LMFAST_E_ARG;
}

void lmfast_dataset_close(lmfast_dataset *rows)
{
    if (!rows)
        return;
    lmfast_context *c = rows->c;
    lmf_rows_close(&rows->rows);
    lmf_delete(c->ctx, rows);
    lmf__context_release(c);
}

int64_t lmfast_dataset_n_rows(const lmfast_dataset *rows) { return rows ? rows->rows.n : 0; }
int64_t lmfast_dataset_n_bad(const lmfast_dataset *rows) { return rows ? rows->rows.n_bad : 0; }
