/* SPDX-License-Identifier: Apache-2.0 */
#include "device/plugin.h"
#include <oneapi/dnnl/dnnl.h>
#include "base/cpu.h"
#include "device/onednn/onednn.h"
#include "lmf_tables_hash.h" /* generated: LMF_TABLES_HASH */

#define TEXT2(x) #x
#define TEXT(x) TEXT2(x)

/* --isa caps our rows; oneDNN's own code follows where it can still be told (it can't once it has run in this process). */
static lmf_status init(lmf_ctx *ctx)
{
    if (!(ctx->cpu_features & LMF_CPU_AVX512))
        (void)dnnl_set_max_cpu_isa(ctx->cpu_features & LMF_CPU_AVX2 ? dnnl_cpu_isa_avx2 : dnnl_cpu_isa_sse41);
    return LMF_OK;
}

static const lmf_plugin plugin = {
    .struct_bytes = sizeof(lmf_plugin), .view_bytes = sizeof(lmf_view), .call_bytes = sizeof(lmf_call),
    .kernel_bytes = sizeof(lmf_kernel), .device_bytes = sizeof(lmf_device), .ctx_bytes = sizeof(lmf_ctx),
    .tables_hash = LMF_TABLES_HASH, .name = "onednn",
    .version = "oneDNN " TEXT(DNNL_VERSION_MAJOR) "." TEXT(DNNL_VERSION_MINOR) "." TEXT(DNNL_VERSION_PATCH),
    .rows = lmf_onednn_tables, .init = init,
};

__attribute__((visibility("default"))) const lmf_plugin *lmf_plugin_get(void);
const lmf_plugin *lmf_plugin_get(void)
{
    return &plugin;
}
