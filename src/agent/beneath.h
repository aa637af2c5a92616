/* SPDX-License-Identifier: Apache-2.0 */
/* beneath: files of a folder, and no others: paths are opened by openat2 with RESOLVE_BENEATH, so that neither .., nor an absolute path,
 * nor a link leads out of it, whatever changes meanwhile. Owner: fd is the caller's. Threads: any. */
#ifndef LMF_AGENT_BENEATH_H
#define LMF_AGENT_BENEATH_H
#include "agent/tool.h"

/* tool.open and tool.close of a tool whose argument is a folder: state holds it. LMF_E_UNSUPPORTED: the system has no openat2. */
lmf_status lmf__beneath_open(lmf_arena *a, const char *argument, lmf_tool_use *use);
void       lmf__beneath_close(lmf_ctx *ctx, lmf_tool_use *use);
/* path "" or ".": the folder itself. A fifo is not waited for. */
lmf_status lmf__beneath_fd(lmf_ctx *ctx, const lmf_tool_use *use, const char *path, bool folder, int *fd);

#endif
