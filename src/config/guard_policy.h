/* SPDX-License-Identifier: Apache-2.0 */
/* guard_policy: what is done with which entity, from a file, YAML or JSON:
 *
 *     name: personal-data           # what the server's headers call it
 *     threshold: 0.5
 *     salt: some text               # of hash
 *     key: some longer text         # of encrypt
 *     phrases: [Project Osprey]     # the entity BLOCKED_PHRASE
 *     max_prompt_tokens: 4096       # of a request to the server
 *     max_answer_tokens: 1024
 *     entities:
 *       DEFAULT: replace            # all that are not named
 *       CREDIT_CARD: block
 *       URL: ignore
 *
 * A key, entity or operator that is not known is an error with its line. */
#ifndef LMF_CONFIG_GUARD_POLICY_H
#define LMF_CONFIG_GUARD_POLICY_H
#include "guard/guard.h"

/* LMF_E_ARG, LMF_E_FORMAT with file and line. */
lmf_status lmf_guard_policy_load(lmf_ctx *ctx, const char *path, lmf_guard_policy *out);
lmf_status lmf_guard_policy_parse(lmf_ctx *ctx, const char *name, const char *text, size_t n, lmf_guard_policy *out);

#endif
