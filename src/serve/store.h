/* SPDX-License-Identifier: Apache-2.0 */
/* store: answers of /v1/responses that a later request may go on from, in a SQLite file or in memory. Each belongs to who asked for it; it
 * is forgotten after LMF_STORE_DAYS, and the oldest go where there are more than LMF_STORE_MAX or LMF_STORE_BYTES.
 *
 *     LMF_TRY(lmf_store_open(ctx, NULL, &store));
 *     LMF_TRY(lmf_store_put(store, "ada", "resp_1", now, response, messages));
 *     status = lmf_store_get(store, "ada", "resp_1", now, &response, &messages);      // LMF_E_NOT_FOUND: it is not there, or another's
 *     lmf_store_close(store);
 *
 * Owner: open/close. Threads: one at a time. */
#ifndef LMF_SERVE_STORE_H
#define LMF_SERVE_STORE_H
#include <jansson.h>
#include "base/buf.h"

enum { LMF_STORE_DAYS = 30, LMF_STORE_MAX = 10000, LMF_STORE_BYTES = 256 << 20 };

typedef struct lmf_store lmf_store;

/* path NULL: in memory. LMF_E_IO: it can't be opened or written; LMF_E_FORMAT: it is no such file. */
lmf_status lmf_store_open(lmf_ctx *ctx, const char *path, lmf_store **out);
void       lmf_store_close(lmf_store *s); /* NULL is fine */
lmf_status lmf_store_put(lmf_store *s, const char *owner, const char *id, int64_t now, const json_t *response, const json_t *messages);
/* response and messages: the caller's references; either may be NULL. */
lmf_status lmf_store_get(lmf_store *s, const char *owner, const char *id, int64_t now, json_t **response, json_t **messages);
lmf_status lmf_store_remove(lmf_store *s, const char *owner, const char *id);

#endif
