/* SPDX-License-Identifier: Apache-2.0 */
/* translate: how endpoints of other protocols make the body that /v1/chat/completions takes, the one form of a request, out of theirs. All
 * return false with a 503 where there is no memory.
 * Owner: the caller's JSON. Threads: any. */
#ifndef LMF_SERVE_TRANSLATE_H
#define LMF_SERVE_TRANSLATE_H
#include "serve/exchange.h"

bool lmf__put(json_t *to, const char *name, json_t *value, lmf_fault *f);     /* takes value */
bool lmf__append(json_t *list, json_t *value, lmf_fault *f);                  /* takes value */
/* A member under another name; one that is absent or null is left out. */
bool lmf__carry(const json_t *from, const char *name, json_t *to, const char *as, lmf_fault *f);
/* A part of text at the end of the last message, where it is of that role, or of a new one. */
bool lmf__say(json_t *messages, const char *role, json_t *text, lmf_fault *f); /* takes text */
/* The message that lmf__say would go on with, or a new one; NULL and a 503. Borrowed. */
json_t *lmf__message_of(json_t *messages, const char *role, lmf_fault *f);
/* Two texts; what is none counts as empty. NULL: no memory. */
json_t *lmf__joined(lmf_ctx *ctx, const json_t *a, const json_t *b);
/* response_format of a schema. */
bool lmf__put_schema(json_t *to, json_t *schema, lmf_fault *f);

#endif
