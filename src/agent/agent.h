/* SPDX-License-Identifier: Apache-2.0 */
/* agent: a model that answers a question with the help of tools: it writes, free until it begins a call and held to the tools' schemas from
 * there on (calls/constraint.h); the calls run, their results go into the conversation, and it writes on, until it answers without a call.
 *
 *     LMF_TRY(lmf_agent_create(ctx, model, tools, &agent));           // compiles each tool's schema: one that can't be followed is named
 *     opts.mask = lmf_agent_mask, opts.force = lmf_agent_force;       // of the engine
 *     LMF_TRY(lmf_agent_run(agent, engine, session, messages, &o, &result));
 *     puts(result.answer);
 *
 * A call that failed is told to the model with its sentence, once. One that is the same as an earlier one does not run again: then, and in
 * the last turn, the model must answer without a call. What writes or sends runs only where opts.allow says so; so does what sends once
 * private data was read, with that said (LMF_ASK_PRIVATE). Results are text of strangers: control tokens in them are text, and so are the
 * marks of calls and results, whose < becomes &lt;. Where the conversation does not fit the context, the oldest results go, and it is said.
 * Steps, as JSON: {"type": "text" | "call" | "refused" | "result" | "left_out" | "end", ...}, each with the turn.
 * Owner: borrows model and tools. Threads: one, which steps the engine. */
#ifndef LMF_AGENT_AGENT_H
#define LMF_AGENT_AGENT_H
#include "agent/tool.h"
#include "infer/engine.h"

typedef struct lmf_agent lmf_agent;
typedef enum lmf_ask { LMF_ASK_EFFECT, LMF_ASK_PRIVATE } lmf_ask; /* PRIVATE: private data is in the conversation, and the tool sends */

typedef struct lmf_agent_opts {
    int32_t  max_turns;            /* answers that the model may write; 1 or more, default 8 */
    int32_t  max_calls;            /* in one answer, where its template has more than one; default 4 */
    int64_t  budget_tok;           /* of all answers; 0: no limit */
    double   timeout_s;            /* of all; 0: no limit */
    size_t   max_result_bytes;     /* of what a tool returns, the rest is cut; default 4096 */
    bool     must_call;            /* the first answer is a call */
    lmf_gen_opts gen;              /* of each answer */
    bool   (*allow)(void *user, lmf_ask ask, const lmf_tool_use *tool, const char *arguments); /* NULL: nothing is */
    void   (*step)(void *user, const json_t *step); /* borrowed; NULL: nobody listens */
    bool   (*stopped)(void *user);
    void    *user;
} lmf_agent_opts;
lmf_agent_opts lmf_agent_opts_default(void);

typedef struct lmf_agent_result {
    lmf_buf     answer;            /* the last text; the caller's to clear */
    const char *why;               /* "answered", or what ended it: "turns", "tokens", "time" */
    int32_t     n_turns, n_calls, n_failed;
    int64_t     n_tok;
    double      seconds;
} lmf_agent_result;

/* LMF_E_UNSUPPORTED: no chat template, or a schema that can't be followed, with the tool's name. */
lmf_status lmf_agent_create(lmf_ctx *ctx, const lmf_model *model, lmf_toolset *tools, lmf_agent **out);
void       lmf_agent_destroy(lmf_agent *a);                /* NULL is fine */
lmf_status lmf_agent_mask(void *user, void *grammar, const int32_t *tok, int n_tok, uint32_t *bits);       /* as lmf_mask_fn */
int32_t    lmf_agent_force(void *user, void *grammar, const int32_t *tok, int n_tok, int32_t *out, int cap);
/* Tokens of the prompt of messages. */
lmf_status lmf_agent_measure(lmf_agent *a, const json_t *messages, int32_t *n_tok);
/* messages: the conversation so far, a list; what is said is put behind it. LMF_E_LIMIT: it does not fit the context. */
lmf_status lmf_agent_run(lmf_agent *a, lmf_engine *e, lmf_session *s, json_t *messages, const lmf_agent_opts *opts, lmf_agent_result *out);

#endif
