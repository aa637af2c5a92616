/* SPDX-License-Identifier: Apache-2.0 */
/* vault: what encrypt writes in a finding's place, and back: <ENTITY:...>, AES-256-SIV (RFC 5297) of the text with the entity's name
 * beside, in base32 (RFC 4648). The same text gives the same mark, so that what is written of one person can still be told to be of one; a
 * mark that was changed, or is of another key or entity, does not open.
 * Owner: nothing is kept. Threads: any. */
#ifndef LMF_GUARD_VAULT_H
#define LMF_GUARD_VAULT_H
#include "guard/guard.h"

enum { LMF_VAULT_LEAST_KEY = 16 };               /* characters of a key */

/* Appends the mark. LMF_E_INTERNAL: the cipher can't be had. */
lmf_status lmf__vault_put(lmf_ctx *ctx, const char *key, const char *entity, const char *text, size_t n, lmf_buf *out);
/* The mark at text[at]: its text to out, its bytes to *used; 0: no mark begins there. LMF_E_FORMAT: one that does not open. */
lmf_status lmf__vault_take(lmf_ctx *ctx, const char *key, const char *text, size_t n, size_t at, size_t *used, lmf_buf *out);
/* Bytes of what stands behind "<ENTITY:" at `at`, with the '>', where it is a mark of this key; 0: it is none. */
size_t     lmf__vault_mark(const char *key, lmf_guard_text *t, size_t at);

#endif
