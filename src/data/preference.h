/* SPDX-License-Identifier: Apache-2.0 */
/* preference: a row with "chosen" and "rejected" as two rows that the rest of data/ knows, with one prompt.
 *
 * Both may be text, or lists of messages. "prompt" is text or a list of messages; where there is none, it is what both begin with: whole
 * messages, or characters (without a space at the end, which belongs to the answer). A text among lists is one message: a prompt the
 * user's, an answer the assistant's. A prompt in text beside two whole conversations must be the last message that they share. */
#ifndef LMF_DATA_PREFERENCE_H
#define LMF_DATA_PREFERENCE_H
#include <jansson.h>
#include "base/ctx.h"

typedef struct lmf__preference {
    json_t *row[2];    /* chosen, rejected: {"messages"} or {"prompt", "completion"}, with the row's other keys; owned */
    size_t  n_prompt;  /* messages of the prompt, in both; 0: text */
} lmf__preference;

bool       lmf__row_is_preference(const json_t *row);
/* LMF_E_FORMAT, without file and line: another type, an empty prompt, nothing shared, a list without an answer, two that are the same. */
lmf_status lmf__preference_split(lmf_ctx *ctx, const json_t *row, lmf__preference *out);
void       lmf__preference_clear(lmf__preference *p);

#endif
