/* SPDX-License-Identifier: Apache-2.0 */
/* constraint: what an answer must look like, from a wish to masks: a JSON schema, an expression, a grammar, choices, or calls of tools.
 * Compiled grammars are kept and shared by the answers that follow them; what they learned about masks stays with them.
 *
 *     lmf_wish w = { .kind = LMF_WISH_SCHEMA, .value = schema, .param = "response_format" };
 *     LMF_TRY(lmf__constraints_get(&constraints, &w, &c));
 *     LMF_TRY(lmf__constrained_open(&answer, &constraints, c, ...));  rule.mask = lmf__constrained_mask, rule.state = &answer;
 *
 * What a model thinks before its answer, between <think> and </think> where these are tokens of it, is free, too, and ends in time.
 * An answer that may call tools is free until it writes the text that begins a call; from there on it is calls and nothing else. One that
 * must call begins with that text. Tokens that would cross from free text into a call in a wrong way, or too late for the call to be closed
 * within the limit, are left out.
 * Owner: the caller's storage, init/clear; an answer holds what it follows until close. Threads: get, open, close and drop one thread's;
 * mask the stepping thread's. */
#ifndef LMF_CALLS_CONSTRAINT_H
#define LMF_CALLS_CONSTRAINT_H
#include "calls/tool_form.h"
#include "text/grammar/grammar.h"

typedef enum lmf_wish_kind { LMF_WISH_NONE, LMF_WISH_SCHEMA, LMF_WISH_REGEX, LMF_WISH_GRAMMAR, LMF_WISH_CHOICE } lmf_wish_kind;
typedef struct lmf_wish {
    lmf_wish_kind kind;
    const json_t *value;         /* schema; text; list of texts. Borrowed */
    char          param[64];     /* what a refusal names */
    json_t       *tools;         /* {"name", "parameters"} of those that may be called, or NULL. Owned by who made it */
    bool          must_call;
    int32_t       max_calls;     /* 1 to LMF_TOOL_MAX_CALLS */
} lmf_wish;
bool lmf__wish_is_any(const lmf_wish *w);

typedef struct lmf_compiled {
    struct lmf_compiled *next;
    lmf_grammar *grammar;        /* calls without a wish beside: behind the text that begins them */
    char        *key;
    size_t       n_key;
    int32_t      n_users;
    int32_t      n_shortest;     /* tokens of the shortest answer, its end included */
    bool         calls;          /* the grammar begins behind the mark */
} lmf_compiled;

typedef struct lmf_mark {        /* the text that begins a call, followed through tokens */
    char     text[64];
    size_t   n;
    bool     first_only;         /* only where nothing but white space came before; then it is of the grammar, too */
    uint8_t  back[64];           /* [n] of a match of i bytes that goes on otherwise: how many bytes still match */
    int32_t *tok[64];            /* [n][n_tok] tokens that complete it behind i bytes of it */
    int32_t  n_tok[64];
    lmf_ids  ids;                /* itself as tokens, white space behind it included */
} lmf_mark;

typedef struct lmf_constraints {
    lmf_ctx              *ctx;
    const lmf_chat       *chat;
    const lmf_tool_form  *form;
    lmf_grammar_vocab    *vocab; /* NULL: nobody has asked yet */
    lmf_mark              mark;
    int32_t               think_open, think_close; /* the tokens around what a model thinks; -1: it has none */
    int32_t               line[2];                 /* "\n" and "\n\n", which may stand behind it; -1: no token */
    lmf_compiled         *first; /* latest first */
    int32_t               n;
} lmf_constraints;

void lmf__constraints_init(lmf_constraints *all, lmf_ctx *ctx, const lmf_chat *chat, const lmf_tool_form *form);
void lmf__constraints_clear(lmf_constraints *all);
/* Held by the caller until drop. Fails as text/grammar does: with what can't be followed. */
lmf_status lmf__constraints_get(lmf_constraints *all, const lmf_wish *w, lmf_compiled **out);
void lmf__constraints_drop(lmf_constraints *all, lmf_compiled *c); /* c may be NULL */

typedef struct lmf_constrained {
    const lmf_constraints *all;
    const lmf_compiled *c;
    lmf_matcher *matcher, *probe;    /* probe: looks ahead from where calls begin */
    int32_t      n_prompt, n_seen, n_most; /* tokens: of the prompt, of the answer that were followed, of the answer at most */
    int32_t      i_lead, n_lead;     /* of the mark's own tokens, where it must come first */
    enum { LMF_ANSWER_FREE, LMF_ANSWER_LEAD, LMF_ANSWER_BOUND, LMF_ANSWER_TEXT } phase; /* TEXT: no call can come any more */
    size_t       n_match;            /* FREE: bytes of the mark that the text ends in */
    lmf_buf      text;               /* room for what is forced */
    lmf_ids      ids;
    enum { LMF_THINK_OVER, LMF_THINK_MAY, LMF_THINK_NOW, LMF_THINK_DONE } think; /* MAY: at the start; DONE: a line feed may follow */
    bool         begun;              /* FREE: something other than white space was written */
} lmf_constrained;

/* Whether the model goes on thinking behind a prompt. */
bool lmf__prompt_thinks(const lmf_constraints *all, const int32_t *tok, int32_t n);
/* thinks: it does behind this prompt. n_most: the limit of its tokens. LMF_E_LIMIT: it can't hold the shortest answer. */
lmf_status lmf__constrained_open(lmf_constrained *a, const lmf_constraints *all, const lmf_compiled *c, bool must_call, bool thinks,
                                 int32_t n_prompt, int32_t n_most);
void lmf__constrained_close(lmf_constrained *a); /* a zeroed one is fine */
/* Tokens that must come next, as the tokenizer would write them, but for the last: what follows may be one token with it. As
 * lmf_force_fn. */
int32_t lmf__constrained_force(lmf_constrained *a, const int32_t *tok, int n_tok, int32_t *out, int cap);
lmf_status lmf__constrained_mask(void *state, const int32_t *tok, int n_tok, uint32_t *bits); /* as lmf_mask_fn */

#endif
