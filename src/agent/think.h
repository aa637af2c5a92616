/* SPDX-License-Identifier: Apache-2.0 */
/* think: more than one answer to a question, and which of them is taken. The answers share the question's keys and values (sessions forked
 * from one) and step as one batch, so that eight cost far less than eight times one.
 *
 *     lmf_think_opts o = lmf_think_opts_default();
 *     o.method = LMF_METHOD_VOTE, o.n = 8;
 *     LMF_TRY(lmf_think(engine, model, -1, prompt, n_prompt, &o, NULL, NULL, &arena, &out));
 *     puts(out.item[out.chosen].text);
 *
 * GREEDY    the likeliest token each time
 * COT       the same behind a prompt that asks for steps first: that is the caller's part, lmf_think_add_steps
 * BEST_OF_N of n sampled answers the best one, by opts.choose
 * VOTE      the final answer (verify/final.h) that most of them came to; of those that did, the likeliest
 * ADAPTIVE  the same, in waves: no more answers than it takes until the rest of n could not turn the vote
 * An answer that did not end by itself has no vote, and is taken only where none has ended. Ties go to the likelier answer (by its
 * mean log-probability a token), then to the earlier. What is sampled is a function of weights, prompt, seed and the answer's number.
 * Owner: texts are the arena's. Threads: one, which steps the engine; no other session may run. */
#ifndef LMF_AGENT_THINK_H
#define LMF_AGENT_THINK_H
#include "infer/engine.h"
#include "verify/final.h"
#include "verify/verify.h"

enum { LMF_THINK_MAX_ANSWERS = 256 };
typedef enum lmf_think_method { LMF_METHOD_GREEDY, LMF_METHOD_COT, LMF_METHOD_BEST_OF_N, LMF_METHOD_VOTE,
                                LMF_METHOD_ADAPTIVE } lmf_think_method;
typedef enum lmf_think_choose { LMF_CHOOSE_LOGP, LMF_CHOOSE_VERIFIER, LMF_CHOOSE_LONGEST, LMF_CHOOSE_SHORTEST } lmf_think_choose;

typedef struct lmf_think_opts {
    lmf_think_method method;
    lmf_think_choose choose;       /* of BEST_OF_N */
    int32_t  n;                    /* answers at most; GREEDY and COT write one */
    lmf_final_kind final;          /* what of an answer is its final one */
    int64_t  budget_tok;           /* tokens of all answers together, prompt left out; 0: no limit */
    lmf_gen_opts gen;              /* of each answer; seed: of the first, others are made from it */
    const char *const *stop; int n_stops; /* texts that end an answer */
    bool   (*stopped)(void *user); void *user; /* asked between steps; true: LMF_E_CANCELLED. NULL: never */
} lmf_think_opts;
lmf_think_opts lmf_think_opts_default(void);

typedef struct lmf_thought {
    const char *text; size_t n_text;
    const char *final;             /* NULL: there is none */
    int32_t n_tok;                 /* the ending one included */
    double  logp;                  /* mean of a token, under the model alone */
    double  score[LMF_MAX_REWARDS], total; /* 0 without a verifier */
    const char *finish;            /* "stop", "length", "budget"; "decided": the vote was over before it */
    bool    ended;                 /* finish is "stop" */
    int32_t n_votes;               /* of its final answer */
    double  seconds;               /* from the first step of the question to its end */
} lmf_thought;
typedef struct lmf_thoughts {
    lmf_thought *item; int32_t n;  /* those that were begun */
    int32_t chosen;
    const char *why;               /* "likeliest", "best by verifier", ..., a phrase */
    int64_t n_tok;                 /* of all answers */
    double  seconds, prompt_seconds;
} lmf_thoughts;

/* The engine runs opts.n sessions at once or fewer. rewards, judged: who scores answers, and the row for it; may be NULL unless choose is
 * VERIFIER. adapter: slot, or -1. Fails as the engine and the verifier do; LMF_E_ARG: an option that does not fit another. */
lmf_status lmf_think(lmf_engine *e, const lmf_model *model, int32_t adapter, const int32_t *prompt, int n_prompt,
                     const lmf_think_opts *opts,
                     lmf_rewards *rewards, const lmf_verify_in *judged, lmf_arena *arena, lmf_thoughts *out);
/* Asks for steps and for a last line that begins with ####, behind the last message of a user or a prompt in text. row in the one form of
 * data/rows.h, changed. LMF_E_FORMAT: it has neither as text. */
lmf_status lmf_think_add_steps(lmf_ctx *ctx, json_t *row);

#endif
