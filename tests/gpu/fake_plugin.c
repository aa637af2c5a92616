/* SPDX-License-Identifier: Apache-2.0 */
/* A plug-in with one thing wrong, chosen by a FAKE_ macro: what src/device/cuda/plugin_test.c opens. */
#include "device/plugin.h"
#include "lmf_tables_hash.h"

#if defined(FAKE_NOSYMBOL)
extern const int lmf_fake_something;
const int lmf_fake_something = 1;
#else

#if defined(FAKE_GOOD)
static lmf_status init(lmf_ctx *ctx)
{
    return getenv("LMF_FAKE_REFUSES") ? LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "the library behind it is not there") : LMF_OK;
}
#endif

static const lmf_plugin plugin = {
    .struct_bytes = sizeof(lmf_plugin),
    .view_bytes = sizeof(lmf_view),
    .call_bytes = sizeof(lmf_call),
    .kernel_bytes = sizeof(lmf_kernel),
    .device_bytes = sizeof(lmf_device),
    .ctx_bytes = sizeof(lmf_ctx),
    .tables_hash = LMF_TABLES_HASH,
    .version = "test",
#if defined(FAKE_GOOD)
    .name = "fakegood",
    .init = init,
#elif defined(FAKE_BYTES)
    .struct_bytes = sizeof(lmf_plugin) + 8,
    .name = "fakebytes",
#elif defined(FAKE_HASH)
    .tables_hash = "0123456789abcdef",
    .name = "fakehash",
#elif defined(FAKE_VIEW)
    .view_bytes = sizeof(lmf_view) - 8,
    .name = "fakeview",
#elif defined(FAKE_NAME)
    .name = "another",
#else
    .name = "fakenull",
#endif
};

const lmf_plugin *lmf_plugin_get(void);
const lmf_plugin *lmf_plugin_get(void)
{
#if defined(FAKE_NULL)
    return plugin.name ? NULL : &plugin;
#else
    return &plugin;
#endif
}
#endif
