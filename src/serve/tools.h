/* SPDX-License-Identifier: Apache-2.0 */
/* tools: the tools of a request. Owner: nothing is kept. Threads: any. */
#ifndef LMF_SERVE_TOOLS_H
#define LMF_SERVE_TOOLS_H
#include "calls/constraint.h"
#include "serve/exchange.h"

enum { LMF_MAX_TOOLS = 128, LMF_TOOL_NAME_BYTES = 256 };

/* tools, tool_choice and parallel_tool_calls of a body into w; w->tools stays NULL where none may be called. */
bool       lmf__tools_read(const json_t *body, lmf_wish *w, lmf_fault *f);

#endif
