/* SPDX-License-Identifier: Apache-2.0 */
#include <time.h>
#include "agent/tool.h"

static lmf_status run(lmf_ctx *ctx, lmf_tool_use *use, const json_t *arguments, double until, lmf_tool_out *out)
{
    time_t now = time(NULL);
    struct tm here, utc;
    char a[64], b[64];
    (void)use, (void)arguments, (void)until;
    if (!localtime_r(&now, &here) || !gmtime_r(&now, &utc) || !strftime(a, sizeof a, "%A %Y-%m-%d %H:%M:%S %z", &here) ||
        !strftime(b, sizeof b, "%Y-%m-%dT%H:%M:%SZ", &utc))
        return LMF_FAIL(ctx, LMF_E_IO, "the clock could not be read");
    lmf_tool_printf(out, "%s (UTC %s)", a, b);
    return LMF_OK;
}

const lmf_tool lmf_tool_clock = { .name = "clock", .description = "The day and the time now.",
    .schema = "{\"type\": \"object\", \"properties\": {}}", .effect = LMF_READS, .timeout_s = 1, .run = run };
