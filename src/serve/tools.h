/* SPDX-License-Identifier: Apache-2.0 */
/* tools: the tools of a request, and how a model hears of them whose chat template knows none (or shows calls in no form that is read):
 * then they are described in the system message, calls are spelled between <tool_call> and </tool_call>, and results come as the user's.
 * Owner: nothing is kept. Threads: any. */
#ifndef LMF_SERVE_TOOLS_H
#define LMF_SERVE_TOOLS_H
#include "serve/constraint.h"

enum { LMF_MAX_TOOLS = 128, LMF_TOOL_NAME_BYTES = 256 };

/* How the model's template spells calls, or how the server does; *own: the server does. Fails for want of memory only. */
lmf_status lmf__tools_find(const lmf_chat *chat, const lmf_chat_forms *forms, lmf_tool_form *out, bool *own);
/* tools, tool_choice and parallel_tool_calls of a body into w; w->tools stays NULL where none may be called. */
bool       lmf__tools_read(const json_t *body, lmf_wish *w, lmf_fault *f);
/* {"messages", "tools"}, normalized, into messages that any template takes; "tools" goes. */
lmf_status lmf__tools_describe(lmf_ctx *ctx, json_t *vars);

#endif
