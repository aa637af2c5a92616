/* SPDX-License-Identifier: Apache-2.0 */
/* remote_tools: the tools of a server (agent/remote.h) put into a set. Each counts as one that sends and needs consent; where the server is
 * trusted, one that it calls read-only reads, though what it is asked leaves for the server all the same. What they answer is private.
 * Names, descriptions and schemas are checked; a list that is not the one of opts.pin is refused with what is another in it. Where the
 * server
 * says later that its list has changed, and it has, its tools no longer run. Owner: the set. Threads: the set's. */
#ifndef LMF_AGENT_REMOTE_TOOLS_H
#define LMF_AGENT_REMOTE_TOOLS_H
#include "agent/tool.h"

lmf_status lmf__remote_tools(lmf_toolset *set, const lmf_tool *tool, const char *where, bool trusted);
lmf_status lmf__remote_tool_run(lmf_ctx *ctx, lmf_tool_use *use, const json_t *arguments, double until,
                                lmf_tool_out *out); /* as lmf_tool.run */

/* ---- hashes of a list ---- */
/* {"name": {"description": "SHA-256", "schema", "annotations"}}: all that a model or a user goes by. LMF_E_FORMAT: two of one name. */
lmf_status lmf__pin_make(lmf_ctx *ctx, const json_t *tools, json_t **pin);
/* What is another in now, as a sentence; "": nothing. */
void       lmf__pin_compare(const json_t *then, const json_t *now, char *text, size_t n);
/* Compares now with what path holds of where; a server that is not in it is put into it, and *is_new says so. LMF_E_FORMAT: it differs, and
 * in what. */
lmf_status lmf__pin_check(lmf_ctx *ctx, const char *path, const char *where, const json_t *now, bool *is_new);

#endif
