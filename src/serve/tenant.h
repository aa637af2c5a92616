/* SPDX-License-Identifier: Apache-2.0 */
/* tenant: who asks, by key, and how much they may. A file of keys holds hashes, never keys:
 *
 *     {"keys": [{"name": "ada", "sha256": "...64 digits...", "requests_per_minute": 60, "concurrent_requests": 4,
 *                "tokens_per_day": 100000, "models": ["SmolLM2"], "metrics": true, "adapters": false, "guard": "policy.yaml"}]}
 *
 * Only name and sha256 must be there; what is left out is not limited (models: all), or not allowed (metrics, adapters). printf %s KEY |
 * sha256sum hashes a key. guard: the policy (serve/screen.h) of this key in place of the server's; where it has none, it can't be left out
 * by a key.
 * What tenants compute is kept apart (lmf_session_opts.salt).
 * Owner: the server. Threads: the loop's. */
#ifndef LMF_SERVE_TENANT_H
#define LMF_SERVE_TENANT_H
#include "serve/exchange.h"

enum { LMF_TENANT_NAME_BYTES = 64, LMF_MAX_TENANTS = 10000 };

typedef struct lmf_tenant {
    char     name[LMF_TENANT_NAME_BYTES]; /* "": there are no keys */
    char     digest[65];             /* SHA-256 of the key, in hexadecimal */
    int64_t  per_minute, most_live, tok_per_day; /* 0: any */
    json_t  *models;                 /* list of names; NULL: all */
    json_t  *guard;                  /* path of its policy, from the file's folder; NULL: the server's */
    struct lmf_screen *screen;       /* the policy that is followed; NULL: none */
    bool     metrics, adapters;      /* may read /metrics; may load and unload adapters, of the names in models */
    uint64_t salt;
    double   allowance;              /* requests it may still make at once: grows by per_minute a minute, up to that */
    int64_t  allowed_us;             /* when allowance was reckoned */
    int64_t  day, day_tok;           /* days since 1970; tokens of prompts and answers on it */
    int64_t  n_live, n_requests, n_refused, n_prompt_tok, n_answer_tok;
} lmf_tenant;

typedef struct lmf_tenants { lmf_ctx *ctx; lmf_tenant *of; int32_t n; bool has_keys; } lmf_tenants;

/* key, or path of a file of keys, or none of both: then there is one tenant without a name. LMF_E_ARG: a short key, both;
 * LMF_E_FORMAT: what the file must not hold, by its place. */
lmf_status lmf__tenants_open(lmf_tenants *all, lmf_ctx *ctx, const char *key, const char *path);
void       lmf__tenants_close(lmf_tenants *all);
/* Whose key it is; NULL: nobody's. Its time depends on the key's length and on how many there are, not on which one it is. */
lmf_tenant *lmf__tenants_find(lmf_tenants *all, const char *key);
bool       lmf__tenant_may_use(const lmf_tenant *t, const char *model);
/* Counts a request that is to begin, or refuses it: 429 with when to come again. */
bool       lmf__tenant_begin(lmf_tenant *t, int64_t now_us, int64_t now_unix, lmf_fault *f);
void       lmf__tenant_end(lmf_tenant *t);
void       lmf__tenant_count(lmf_tenant *t, int64_t now_unix, int64_t n_prompt, int64_t n_answer);

#endif
