/* SPDX-License-Identifier: Apache-2.0 */
/* describe: how a model hears of tools whose chat template knows none (or shows calls in no form that is read): then they are described in
 * the system message, calls are spelled between <tool_call> and </tool_call>, and results come as the user's.
 * Owner: nothing is kept. Threads: any. */
#ifndef LMF_CALLS_DESCRIBE_H
#define LMF_CALLS_DESCRIBE_H
#include "calls/tool_form.h"

/* How the model's template spells calls, or how we do; *own: we do. Fails for want of memory only. */
lmf_status lmf__tools_find(const lmf_chat *chat, const lmf_chat_forms *forms, lmf_tool_form *out, bool *own);
/* {"messages", "tools"}, normalized, into messages that any template takes; "tools" goes. */
lmf_status lmf__tools_describe(lmf_ctx *ctx, json_t *vars);

#endif
