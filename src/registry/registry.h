/* SPDX-License-Identifier: Apache-2.0 */
/* registry: where programs get a context: malloc, every table that the build generated, the machine's features.
 *
 *     lmf_ctx *ctx;
 *     if (lmf_ctx_create(&ctx)) return 1;
 *     ...
 *     lmf_ctx_destroy(ctx); */
#ifndef LMF_REGISTRY_REGISTRY_H
#define LMF_REGISTRY_REGISTRY_H
#include "base/ctx.h"

extern const lmf_tables lmf_all_tables;     /* generated */

lmf_status lmf_ctx_create(lmf_ctx **out);   /* LMF_E_MEMORY, *out NULL: there is no context to hold a sentence */
void       lmf_ctx_destroy(lmf_ctx *ctx);   /* closes plug-ins too; NULL is fine */

#endif
