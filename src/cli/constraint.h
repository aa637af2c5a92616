/* SPDX-License-Identifier: Apache-2.0 */
/* constraint: an answer that fits a schema, a grammar, an expression or one of several texts (text/grammar). Owner: the command's
 * storage; open
 * between lmf__answer_open and the first say, close before lmf__answer_close. Threads: one. */
#ifndef LMF_CLI_CONSTRAINT_H
#define LMF_CLI_CONSTRAINT_H
#include "cli/answer.h"
#include "text/grammar/grammar.h"

typedef struct lmf_constraint_args { const char *schema, *grammar, *regex, *choices; } lmf_constraint_args;
#define LMF_CONSTRAINT_FLAG(type, member) (offsetof(type, constraint) + offsetof(lmf_constraint_args, member))
#define LMF_CONSTRAINT_FLAGS(type) \
    { "schema", 0, LMF_FLAG_STRING, LMF_CONSTRAINT_FLAG(type, schema), \
      .help = "the answer is JSON that fits the JSON schema of this file" }, \
    { "grammar", 0, LMF_FLAG_STRING, LMF_CONSTRAINT_FLAG(type, grammar), .help = "the answer fits the GBNF grammar of this file" }, \
    { "regex", 0, LMF_FLAG_STRING, LMF_CONSTRAINT_FLAG(type, regex), .help = "the whole answer fits this expression" }, \
    { "choices", 0, LMF_FLAG_STRING, LMF_CONSTRAINT_FLAG(type, choices), .help = "the answer is one of these texts, parted by commas" }

typedef struct lmf_constraint {
    lmf_grammar_vocab *vocab;
    lmf_grammar *grammar;
    lmf_matcher *matcher;
    int32_t n_prompt, n_seen, n_most; /* tokens: of the prompt, of the answer that the matcher has, of an answer at most */
} lmf_constraint;

/* Nothing where no flag was given. LMF_E_ARG: more than one. */
lmf_status lmf__constraint_open(const lmf_constraint_args *args, lmf_constraint *c, lmf_answer *a);
void       lmf__constraint_close(lmf_constraint *c);
/* Before each say, the prompt encoded and the engine started. LMF_E_ARG: --max-tokens can't hold the shortest answer. */
lmf_status lmf__constraint_begin(lmf_answer *a);

#endif
