/* SPDX-License-Identifier: Apache-2.0 */
/* choices: the reply of OpenAI's completions: choices in an envelope, one to a piece of a stream. An endpoint spells the choice.
 * Owner: nothing is kept. Threads: the loop's. */
#ifndef LMF_SERVE_CHOICES_H
#define LMF_SERVE_CHOICES_H
#include "serve/generation.h"

void    lmf__choices_send(lmf_generation *g, const char *object, json_t *choice); /* takes choice; a piece of a stream */
void    lmf__choices_send_usage(lmf_generation *g, const char *object);          /* its last one, where it was asked for */
json_t *lmf__choices_reply(lmf_generation *g, const char *object, json_t *(*whole)(lmf_candidate *c)); /* NULL: no memory */

#endif
