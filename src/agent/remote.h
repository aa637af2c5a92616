/* SPDX-License-Identifier: Apache-2.0 */
/* remote: a server of the Model Context Protocol, seen from who asks: a program that is started and speaks in lines, or an address that is
 * asked over HTTP. Both eras: first server/discover of 2026-07-28; where that is not answered as it is there, initialize of the older
 * revisions, 2025-11-25 to 2024-11-05.
 *
 *     LMF_TRY(lmf__remote_open(ctx, "npx some-server --flag", &o, &r));
 *     LMF_TRY(lmf__remote_list(r, &tools));                     // [{"name", "description", "inputSchema", "annotations"}], all pages
 *     LMF_TRY(lmf__remote_call(r, "echo", arguments, until, &result));
 *     lmf__remote_close(r);                                     // the program is ended with all that it started
 *
 * Nothing is offered to the server: what it asks for (sampling, roots, input) is refused, but for ping. What answers nothing that was asked
 * is passed over and counted. A call that is given up is cancelled. A message past 4 MiB, or the end of the program, ends the connection.
 * A program gets HOME, LOGNAME, PATH, SHELL, TERM, USER, LANG, LC_ALL and TMPDIR of the environment and nothing else; `env NAME=VALUE
 * program` gives it more. Its standard error stands in sentences about its failures, as plain text.
 * Facts: modelcontextprotocol.io's specification. Owner: open/close; a result is the caller's reference. Threads: one at a time. */
#ifndef LMF_AGENT_REMOTE_H
#define LMF_AGENT_REMOTE_H
#include <jansson.h>
#include "base/buf.h"

typedef struct lmf_remote lmf_remote;
typedef struct lmf_remote_opts {
    double timeout_s;                   /* until it is ready, and of a page of the list */
    bool (*stopped)(void *user);        /* NULL: never */
    void *user;
} lmf_remote_opts;

/* where: an address that begins with http:// or https://, or a program and its arguments, parted by blanks outside quotes.
 * LMF_E_ARG: none of both; LMF_E_IO: it does not start, or does not answer as a server does. Sentences name it. */
lmf_status  lmf__remote_open(lmf_ctx *ctx, const char *where, const lmf_remote_opts *o, lmf_remote **out);
void        lmf__remote_close(lmf_remote *r);              /* NULL is fine */
const char *lmf__remote_version(const lmf_remote *r);      /* "2025-11-25": the revision that is spoken */
/* LMF_E_LIMIT: more than 64 pages or 1,024 tools. LMF_E_FORMAT: no list of tools. */
lmf_status  lmf__remote_list(lmf_remote *r, json_t **tools);
/* Whether it has said since that its list is another. */
bool        lmf__remote_list_changed(const lmf_remote *r);
/* *result: an object, of which nothing else is known. LMF_E_LIMIT: no answer came until then; LMF_E_CANCELLED: stopped. */
lmf_status  lmf__remote_call(lmf_remote *r, const char *name, const json_t *arguments, double until, json_t **result);

/* ---- how messages travel ---- */
typedef struct lmf_remote_message {
    const char *text; size_t n;         /* JSON in one line, without its end */
    const char *method, *name;          /* of a request, and the tool's; NULL: none */
    const char *version;                /* that is spoken; NULL: not known yet */
    bool        modern;
} lmf_remote_message;
typedef bool (*lmf_remote_take)(void *user, const char *text, size_t n); /* true: it is the answer */
typedef struct lmf_remote_link lmf_remote_link;
typedef struct lmf_remote_door {
    /* Sends the message and hands over what comes until take says that it is the answer. LMF_E_LIMIT: until came; LMF_E_CANCELLED;
     * LMF_E_IO:
     * there was no answer. *dead: there will be no other. */
    lmf_status (*ask)(lmf_remote_link *l, const lmf_remote_message *m, double until, lmf_remote_take take, void *user, bool *dead);
    void       (*tell)(lmf_remote_link *l, const lmf_remote_message *m, double until); /* nothing is answered; until 0: not waited for */
    void       (*close)(lmf_remote_link *l);
    bool        cancels;                /* a request is given up by closing its stream alone */
} lmf_remote_door;
struct lmf_remote_link { const lmf_remote_door *door; };
lmf_status lmf__remote_program(lmf_ctx *ctx, const char *command, const lmf_remote_opts *o, lmf_remote_link **out);
lmf_status lmf__remote_web(lmf_ctx *ctx, const char *url, const lmf_remote_opts *o, lmf_remote_link **out);

/* ---- what messages hold; bytes of strangers ---- */
typedef enum lmf_heard { LMF_HEARD_NOTHING, LMF_HEARD_ANSWER, LMF_HEARD_REQUEST, LMF_HEARD_NOTICE } lmf_heard;
/* NOTHING: no message of JSON-RPC, or an answer to something else than id. *message else: the caller's reference. */
lmf_heard  lmf__remote_hear(lmf_ctx *ctx, const char *text, size_t n, int64_t id, json_t **message);
/* A result of tools/call as text. LMF_E_FORMAT: it is none; LMF_E_IO: the tool says that it failed, with its words. */
typedef struct lmf_tool_out lmf_tool_out;
lmf_status lmf__remote_put_result(lmf_ctx *ctx, const json_t *result, lmf_tool_out *out);
/* Appends the tools of a page to tools. *cursor: of the next page, borrowed from page; NULL: none. */
lmf_status lmf__remote_read_page(lmf_ctx *ctx, const json_t *page, json_t *tools, const char **cursor);

#endif
