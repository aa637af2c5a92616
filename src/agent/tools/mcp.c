/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/remote_tools.h"

extern const lmf_tool lmf_tool_mcp;

static lmf_status bring(lmf_toolset *set, const char *argument) { return lmf__remote_tools(set, &lmf_tool_mcp, argument, false); }

const lmf_tool lmf_tool_mcp = { .name = "mcp", .effect = LMF_SENDS, .is_private = true,
                               .argument = "a command, or an address of http or https",
    .needs_argument = true, .bring = bring, .run = lmf__remote_tool_run };
