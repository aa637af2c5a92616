/* SPDX-License-Identifier: Apache-2.0 */
#include "device/plugin.h"
#include "device/cuda/driver.h"
#include "lmf_tables_hash.h" /* generated: LMF_TABLES_HASH */

#define TEXT2(x) #x
#define TEXT(x) TEXT2(x)

static const lmf_plugin plugin = {
    .struct_bytes = sizeof(lmf_plugin), .view_bytes = sizeof(lmf_view), .call_bytes = sizeof(lmf_call),
    .kernel_bytes = sizeof(lmf_kernel), .device_bytes = sizeof(lmf_device), .ctx_bytes = sizeof(lmf_ctx),
    .tables_hash = LMF_TABLES_HASH, .name = "cuda", .version = "CUDA " TEXT(CUDA_VERSION), .device = &lmf_cuda_device,
};

__attribute__((visibility("default"))) const lmf_plugin *lmf_plugin_get(void);
const lmf_plugin *lmf_plugin_get(void)
{
    return &plugin;
}
