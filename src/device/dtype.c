/* SPDX-License-Identifier: Apache-2.0 */
#include "device/dtype.h"
#include <string.h>

const lmf_format *lmf_format_get(const lmf_ctx *ctx, uint16_t dtype)
{
    for (const lmf_format *const *f = ctx->tables->formats; *f; f++)
        if ((*f)->dtype == dtype)
            return *f;
    return NULL;
}

const lmf_format *lmf_format_find(const lmf_ctx *ctx, const char *name)
{
    for (const lmf_format *const *f = ctx->tables->formats; *f; f++)
        if (strcmp((*f)->name, name) == 0)
            return *f;
    return NULL;
}

lmf_format lmf_format_resolve(const lmf_ctx *ctx, const lmf_format *f, uint64_t features)
{
    lmf_format r = *f;
    bool have_unpack = false, have_dot = false, have_tile = false;
    for (const lmf_format_rows *const *set = ctx->tables->format_rows; *set; set++)
        for (const lmf_format_rows *row = *set; row->unpack || row->dot; row++) {
            if (row->dtype != f->dtype || (row->needs & ~features))
                continue;
            if (row->unpack && !have_unpack)
                r.unpack = row->unpack, have_unpack = true;
            if (row->dot && !have_dot)
                r.dot = row->dot, have_dot = true;
            if (row->tile && !have_tile)
                r.tile = row->tile, have_tile = true;
        }
    return r;
}
