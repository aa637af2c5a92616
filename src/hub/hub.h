/* SPDX-License-Identifier: Apache-2.0 */
/* hub: models and data sets of the Hugging Face hub, in the cache that huggingface_hub keeps, so that either program finds what the other
 * downloaded:
 *
 *     CACHE/models--org--name/refs/main                 the commit that the branch was at
 *     CACHE/models--org--name/blobs/ETAG                a file's bytes: its SHA-256, of small ones git's SHA-1
 *     CACHE/models--org--name/snapshots/COMMIT/FILE     a relative link to the blob
 *     CACHE/.locks/models--org--name/ETAG.lock          whoever downloads the blob holds it (flock)
 *
 * What is half there lies in blobs/ETAG.incomplete and is gone on with. A blob gets its name only when its hash holds. The token goes to
 * the endpoint's host and to no other. Bytes from outside are bounded and checked: names of files, commits and etags become paths only as
 * plain names below the cache.
 *
 *     lmf_hub *h;
 *     lmf_hub_name name;
 *     LMF_TRY(lmf_hub_name_parse(ctx, "HuggingFaceTB/SmolLM2-135M@main", LMF_HUB_MODEL, &name));
 *     LMF_TRY(lmf_hub_open(ctx, &watch, &h));
 *     s = lmf_hub_get(h, &name, NULL, &got);            // got.path: a folder, or one GGUF file
 *     lmf_hub_close(h);
 *
 * Owner: who opens closes. Threads: one handle, one thread; several processes may use one cache. */
#ifndef LMF_HUB_HUB_H
#define LMF_HUB_HUB_H
#include "base/buf.h"
#include "config/flag.h"

typedef struct lmf_hub lmf_hub;

typedef struct lmf_hub_name {
    lmf_flag_hub kind;
    char repo[200];        /* "org/name" */
    char revision[256];    /* branch, tag or commit; "main" */
    char file[512];        /* one file of it, or "" */
} lmf_hub_name;

/* Whether a text, which is no path of anything here, can be meant as org/name[@revision][/FILE]. FILE has an end that kind reads, and
 * org/name has none: with one it is a path. */
bool       lmf_hub_is_name(const char *text, lmf_flag_hub kind);
lmf_status lmf_hub_name_parse(lmf_ctx *ctx, const char *text, lmf_flag_hub kind, lmf_hub_name *out); /* LMF_E_ARG says what is wrong */

typedef struct lmf_hub_watch {
    /* Bytes of a file so far; all files together. True: stop, LMF_E_CANCELLED; what is there stays for the next time. NULL: no one asks. */
    bool (*progress)(void *user, const char *file, int64_t done, int64_t total);
    void (*note)(void *user, const char *sentence); /* what is left out, waited for, tried again; NULL: nobody is told */
    void *user;
} lmf_hub_watch;

/* Reads the environment: HF_ENDPOINT, HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME, HF_TOKEN, HUGGING_FACE_HUB_TOKEN, HF_TOKEN_PATH,
 * HF_HUB_DISABLE_IMPLICIT_TOKEN, HF_HUB_OFFLINE, TRANSFORMERS_OFFLINE, HF_HUB_DISABLE_SYMLINKS, HF_HUB_ETAG_TIMEOUT,
 * HF_HUB_DOWNLOAD_TIMEOUT, HF_HUB_DISABLE_PROGRESS_BARS; and curl's for proxies and certificates. LMF_E_ARG: one that can't be followed. */
lmf_status  lmf_hub_open(lmf_ctx *ctx, const lmf_hub_watch *watch, lmf_hub **out);
void        lmf_hub_close(lmf_hub *h);                   /* NULL is fine */
const char *lmf_hub_cache(const lmf_hub *h);
bool        lmf_hub_is_quiet(const lmf_hub *h);          /* HF_HUB_DISABLE_PROGRESS_BARS */

typedef struct lmf_hub_choice {   /* fnmatch patterns on names of files; * also takes a / */
    const lmf_texts *include;     /* NULL or none: what a model or data set needs */
    const lmf_texts *exclude;
    bool             one;         /* LMF_HUB_DATA: one file of rows, not all of them */
} lmf_hub_choice;

typedef struct lmf_hub_got {
    char    path[4096];           /* the snapshot's folder; of a GGUF model, one file or data that one file */
    char    commit[41];
    int64_t n_files, n_new, bytes, new_bytes; /* those that were wanted; those that this call downloaded */
    bool    offline;              /* the hub was not asked, or did not answer: what lies in the cache */
} lmf_hub_got;

/* Brings what is wanted into the cache. LMF_E_NOT_FOUND: no such repository, revision or file, or not in the cache when offline; LMF_E_ARG:
 * the token does not open it, or several files could be meant; LMF_E_IO: network or disk; LMF_E_FORMAT: bytes whose hash does not hold, or
 * a reply that is no hub's; LMF_E_UNSUPPORTED: only pickles. */
lmf_status lmf_hub_get(lmf_hub *h, const lmf_hub_name *name, const lmf_hub_choice *choice, lmf_hub_got *out);

#endif
