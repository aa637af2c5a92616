/* SPDX-License-Identifier: Apache-2.0 */
/* mcp_stdio: one client of the MCP server on standard input and output: a message a line, and nothing else on standard output.
 * Owner: the server. Threads: the loop's. */
#ifndef LMF_SERVE_MCP_STDIO_H
#define LMF_SERVE_MCP_STDIO_H
#include "serve/server.h"

typedef struct lmf_mcp_stdio lmf_mcp_stdio;
lmf_status lmf__mcp_stdio_open(lmf_server *s, lmf_mcp_stdio **out);
void       lmf__mcp_stdio_close(lmf_mcp_stdio *m);      /* NULL is fine */
/* The client has closed its end, and all that it asked for is answered; or it reads no more. */
bool       lmf__mcp_stdio_is_over(const lmf_mcp_stdio *m);

#endif
