/* SPDX-License-Identifier: Apache-2.0 */
/* parts of the hub's client that see each other: settings, exchanges over HTTP, the cache's layout, the choice of files. */
#ifndef LMF_HUB_PARTS_H
#define LMF_HUB_PARTS_H
#include "base/arena.h"
#include "hub/hub.h"

struct lmf_hub {
    lmf_ctx      *ctx;
    lmf_hub_watch watch;
    void         *curl;           /* one handle, whose connections are used again */
    char          endpoint[512];  /* without a slash at the end */
    char          cache[2048];
    char          token[512];     /* "" : none */
    bool          offline, no_links, quiet;
    double        etag_timeout, download_timeout; /* seconds */
    int64_t       done, total;    /* bytes of the files that are wanted */
    const char   *file;           /* that is on its way */
};

typedef struct lmf__entry { const char *name; int64_t bytes; bool wanted; } lmf__entry; /* a file of a repository */
typedef struct lmf__listing { lmf__entry *item; int64_t n; } lmf__listing;

/* ---- http.c ---- */
typedef struct lmf__reply {
    long    status;               /* of HTTP; 0: nobody answered */
    char    etag[200], linked_etag[200], commit[80], error_code[64], error[400], location[4096], next[4096];
    int64_t length, linked_bytes, from, of; /* -1: not told; from, of: Content-Range */
    double  retry_after;          /* seconds; -1: not told */
    bool    of_hub;               /* the endpoint itself, not where it sends on to */
    bool    cut;                  /* the connection ended before the body did */
} lmf__reply;
typedef lmf_status (*lmf__sink)(void *user, const lmf__reply *r, const void *p, size_t n); /* a piece of the body of a 2xx */

typedef struct lmf__request {
    const char *url, *what;       /* what: in sentences */
    bool        head;
    int64_t     from;             /* Range: bytes=from-; 0: all */
    double      timeout;          /* seconds without a byte */
    lmf__sink   sink;
    void       *user;
} lmf__request;

lmf_status lmf__http_open(lmf_hub *h);
void       lmf__http_close(lmf_hub *h);
/* One exchange, and those that redirects ask for: of HEAD only those that stay on the host. LMF_OK with any status of HTTP. Otherwise
 * LMF_E_IO with r->status 0 or r->cut, LMF_E_CANCELLED, or what the sink said. */
lmf_status lmf__http_ask(lmf_hub *h, const lmf__request *q, lmf__reply *r);
/* The same for a text, with a few tries where the server is busy. LMF_OK is a 2xx. repo: in sentences. */
lmf_status lmf__http_text(lmf_hub *h, const lmf_hub_name *name, const char *url, lmf_buf *text, lmf__reply *r);
lmf_status lmf__http_head(lmf_hub *h, const lmf_hub_name *name, const char *url, lmf__reply *r);
/* The sentence for a status that is no success. */
lmf_status lmf__http_refused(lmf_hub *h, const lmf_hub_name *name, const char *url, const lmf__reply *r);
/* Waits before try number i; retry_after < 0: by itself. LMF_E_CANCELLED; LMF_E_IO where the server asks for too long. */
lmf_status lmf__http_wait(lmf_hub *h, int i, double retry_after, const char *why);
bool       lmf__http_is_busy(long status); /* worth another try */
bool       lmf__hub_stopped(lmf_hub *h);
void       lmf__hub_note(lmf_hub *h, const char *fmt, ...) LMF_PRINTF(2, 3);
void       lmf__url_escape(const char *text, bool keep_slash, char *out, size_t n);

/* ---- cache.c ---- */
bool       lmf__is_commit(const char *text);
bool       lmf__is_etag(const char *text);
bool       lmf__is_file_name(const char *text);  /* a path of plain names, below where it is put */
lmf_status lmf__cache_folder(lmf_hub *h, const lmf_hub_name *name, char *path, size_t n);
lmf_status lmf__cache_ref(lmf_hub *h, const lmf_hub_name *name, char commit[41]);        /* LMF_E_NOT_FOUND */
lmf_status lmf__cache_set_ref(lmf_hub *h, const lmf_hub_name *name, const char *commit);
lmf_status lmf__cache_list(lmf_hub *h, const char *snapshot, lmf_arena *a, lmf__listing *out);
/* Puts the file that url names into the snapshot, from the cache or the hub. */
lmf_status lmf__cache_fetch(lmf_hub *h, const lmf_hub_name *name, const char *commit, lmf__entry *e, bool *is_new);

/* ---- choose.c ---- */
lmf_status lmf__choose(lmf_hub *h, const lmf_hub_name *name, const lmf_hub_choice *choice, lmf__listing *all, const char **only);

#endif
