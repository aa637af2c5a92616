/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the context itself is the one object that can't come from its own allocator. */
#include "registry/registry.h"
#include "device/plugin.h"

lmf_status lmf_ctx_create(lmf_ctx **out)
{
    *out = malloc(sizeof **out); /* allowed: nothing to allocate from yet */
    if (!*out)
        return LMF_E_MEMORY;
    lmf_ctx_init(*out, &lmf_all_tables);
    return LMF_OK;
}

void lmf_ctx_destroy(lmf_ctx *ctx)
{
    if (!ctx)
        return;
    lmf_plugin_close_all(ctx);
    lmf_ctx_clear(ctx);
    free(ctx); /* allowed: see above */
}
