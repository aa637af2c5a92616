/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of infer/ share. Not for others.
 *
 * Rule: a page that two sessions hold, or that is kept for others, is never written. A session writes from position n_kv on, so its pages
 * from n_kv on are its own: fork shares full pages alone, and drop_kv lets go of such a page that would have to be written. Every page that
 * a running session can still need is reserved when it is queued, so a step never lacks one; in an elastic engine nothing is reserved, and
 * the youngest session gives way. */
#ifndef LMF_INFER_ENGINE_IMPL_H
#define LMF_INFER_ENGINE_IMPL_H
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include "infer/engine.h"
#include "nn/nn.h"

enum { LMF_MAX_ROW_BUCKETS = 19, LMF_MAX_SAMPLE_BUCKETS = 9, LMF_MAX_ENGINE_GRAPHS = LMF_MAX_ROW_BUCKETS + LMF_MAX_SAMPLE_BUCKETS + 3, LMF_MAX_SEQS = 256, LMF_MAX_DRAFT = 15,
       LMF_ADAPTER_NAME_BYTES = 256, LMF_MAX_SLOTS = 64 };

/* ---- cache.c: pages by number; their bytes are the plan's ---- */
typedef struct lmf_prefix_space { int32_t adapter; uint64_t salt; } lmf_prefix_space; /* prompts of one are not seen by another */
typedef struct lmf_kept_page {
    uint64_t hash;
    lmf_prefix_space space;
    int32_t  parent, next;       /* page before it, -1: it is the first; the next with the hash's bucket */
    int32_t  older, newer;       /* of those that nobody holds */
    bool     is;
} lmf_kept_page;
typedef struct lmf_pages {
    int32_t *free_list, *refs;   /* [n] */
    int32_t  n, n_free, n_reserved, n_list; /* n_list: free and not kept */
    int32_t  size;               /* tokens a page */
    lmf_kept_page *kept;         /* [n]; NULL: nothing is kept */
    int32_t *tok;                /* [n, size] of kept pages */
    int32_t *bucket, n_bucket;   /* power of two */
    int32_t  oldest, newest;     /* of kept pages that nobody holds; -1: none */
} lmf_pages;
enum { LMF_PREFIX_ALL = INT32_MIN };
lmf_status lmf__pages_init(lmf_pages *p, lmf_ctx *ctx, int32_t n, int32_t page_size, bool keep);
void       lmf__pages_clear(lmf_pages *p, lmf_ctx *ctx);
bool       lmf__pages_reserve(lmf_pages *p, int32_t n);           /* false: not that many free and unpromised */
void       lmf__pages_unreserve(lmf_pages *p, int32_t n);
int32_t    lmf__pages_take(lmf_pages *p);                         /* one of the reserved */
void       lmf__pages_retain(lmf_pages *p, int32_t page);         /* one that is held, or kept */
void       lmf__pages_release(lmf_pages *p, int32_t page);
bool       lmf__page_is_kept(const lmf_pages *p, int32_t page);   /* so it must not be written */
/* The page with just these tokens behind the page parent (-1: at the start); -1: none. */
int32_t    lmf__prefix_find(const lmf_pages *p, lmf_prefix_space space, int32_t parent, const int32_t *tok);
/* Keeps a page that the caller holds and has computed whole; returns the page to hold instead: it, or one that was kept before. */
int32_t    lmf__prefix_keep(lmf_pages *p, lmf_prefix_space space, int32_t parent, int32_t page, const int32_t *tok);
void       lmf__prefix_forget(lmf_pages *p, int32_t adapter);     /* LMF_PREFIX_ALL: of all */

typedef enum session_state { LMF_SESSION_IDLE, LMF_SESSION_WAITING, LMF_SESSION_RUNNING } session_state;

struct lmf_session {
    lmf_engine  *e;
    lmf_session *prev, *next;    /* of all */
    lmf_session *next_waiting;
    int32_t     *tok;            /* [context] */
    float       *logp;           /* [context], of tokens that were written here */
    int32_t     *page;           /* [pages a session] */
    int32_t      n_tok, n_kv;    /* tokens; of them computed */
    int32_t      n_kept;         /* of its pages, from the first on, those that are kept for others */
    int32_t      n_cached;       /* tokens of the answer's prompt that were found computed */
    uint64_t     salt;
    int32_t      n_pages, n_reserved, n_again; /* n_again: pages to reserve again, while it forgets */
    int32_t      n_prompt;       /* tokens when the answer began */
    int32_t      n_scored;       /* with echo: tokens whose log-probability is known */
    int32_t      n_asked;        /* n_tok when what is forced was last asked for */
    int32_t      n_read, end;    /* next token to hand out; n_tok at which generating ends */
    int32_t      adapter;
    int32_t      finish;         /* of the last work; handed out once */
    bool         finish_pending;
    lmf_status   failure;        /* handed out once */
    const char  *failure_text;   /* why, or NULL: what the status says */
    pthread_cond_t news;         /* there is something to read */
    session_state state;
    bool         in_flight;      /* rows of it are in the step that runs now */
    atomic_bool  cancelled;
    lmf_gen_opts gen;
    int32_t     *top;            /* [n_top_tok, gen.n_top] from generate on, or NULL: likeliest tokens of each token from top_begin on */
    float       *top_logp;
    int32_t      top_begin, n_top_tok; /* first token that has them; room for how many */
    int32_t      slot;           /* its row of the tensor seen, from when it first runs to its end; -1: none */
    bool         marked;         /* its prompt is in there */
    float       *score;          /* caller's, or NULL: generating */
    int32_t      score_begin;    /* index of the first scored token */
    bool         pools;          /* score is the sum of hidden states instead */
    int32_t      draft_trust, draft_back, draft_wait; /* draft.c: more of a draft, steps to wait after a failure, steps still to wait */
    /* of the step in progress */
    int32_t      draft[LMF_MAX_DRAFT], n_draft; /* rows behind step_rows, each sampled from like step_sample */
    int32_t      step_begin, step_rows, step_sample; /* first row, rows, row of the sample graph or -1 */
    int32_t      step_score, n_step_score; /* rows of the sample graph for tokens n_scored ... of the prompt */
    lmf_status   step_mask;      /* what the mask's maker said */
};

typedef struct lmf_live {        /* live.c: pairs that an owner elsewhere changes */
    const lmf_weights *pairs;    /* borrowed; NULL: the slot's adapter is a folder's, or none */
    double       scale;
    uint64_t     version;        /* of the pairs, which the slot holds */
    char        *copy; size_t copy_bytes; /* pinned room on the host for pairs that lie on a device, or NULL */
} lmf_live;

typedef struct lmf_adapters {    /* adapter.c */
    lmf_weights *set;            /* stacked pairs; NULL: no slots */
    int32_t      n_slots, rank;
    char         name[LMF_MAX_SLOTS][LMF_ADAPTER_NAME_BYTES]; /* "": free */
    lmf_live     live[LMF_MAX_SLOTS];
} lmf_adapters;
/* Under the lock: the slot of a name, or a free one where it may be `added`. LMF_E_BUSY while sessions work. */
lmf_status lmf__adapter_slot(lmf_engine *e, const char *name, bool added, int *slot);
lmf_status lmf__live_refresh(lmf_engine *e);              /* live.c; under the lock, before a step */
void       lmf__live_drop(lmf_adapters *ad, int slot);    /* no longer borrowed */
lmf_status lmf__adapters_init(lmf_engine *e, const lmf_engine_opts *opts);
void       lmf__adapters_clear(lmf_adapters *a);

typedef struct lmf_step_io {     /* host side of inputs and outputs: one storage for all graphs */
    int32_t *token, *pos, *seq, *q_start, *page, *adapter, *index, *target;
    float   *number, *score, *state; /* state [max_rows, width]: hidden, of embed_graph */
    int32_t *count, *mask, *next; /* mask: NULL without lmf_engine_opts.mask */
    int32_t *bias_token;
    float   *bias;
    int32_t *seen_clear, *seen_slot, *seen_token;
    float   *next_logp;
} lmf_step_io;

struct lmf_engine {
    lmf_ctx        *ctx;
    const lmf_model *model;
    lmf_device     *dev, *own_dev;  /* own_dev: NULL where dev is shared */
    lmf_plan       *plan;
    lmf_graph      *graph[LMF_MAX_ENGINE_GRAPHS];
    int32_t         n_graphs;
    int32_t         bucket[LMF_MAX_ROW_BUCKETS], n_buckets;               /* rows; graph i is bucket i */
    int32_t         sample_bucket[LMF_MAX_SAMPLE_BUCKETS], n_sample_buckets; /* behind them */
    int32_t         mark_graph;                                       /* prompts into seen */
    int32_t         score_graph, embed_graph;                         /* -1: none */
    int32_t         max_samples, n_extra; /* rows of the sample graph; of them free for more than one a session, in this step */
    int32_t         max_seqs, context, page_size, seq_pages, max_rows, vocab, compute;
    uint16_t        cache_dtype;
    bool            need_invariant, profile, elastic;
    int32_t         max_draft, n_draft_rows; /* n_draft_rows: of all drafts in this step */
    lmf_mask_fn     make_mask;   /* NULL: none */
    lmf_force_fn    force;       /* NULL: none */
    void           *mask_user;
    lmf_nn          nn;
    lmf_adapters    adapters;
    lmf_step_io     io;

    pthread_mutex_t lock;        /* all below, and every session's fields */
    pthread_cond_t  landed;      /* no session is in flight */
    pthread_cond_t  work;        /* a session was queued, or woken */
    bool            woken;
    bool            slot_used[LMF_MAX_SEQS];
    lmf_pages       pages;
    lmf_session    *sessions;
    lmf_session    *first_waiting, *last_waiting;
    lmf_session   **running;     /* [max_seqs], oldest first */
    lmf_session   **batch;       /* [max_seqs], of the step in progress */
    int32_t         n_running, n_waiting, n_sessions, n_batch;
    int64_t         n_prefill_tok, n_decode_tok, n_forced_tok, n_cached_tok, n_preempted, n_draft_tok, n_accepted_tok, n_steps;
};

void lmf__session_draft(lmf_session *s, int32_t most);    /* draft.c: fills draft with at most that many */
void lmf__session_judge(lmf_session *s, int32_t n_right); /* so many of the draft came */
lmf_status lmf__graphs_create(lmf_engine *e, bool score, bool embed); /* graphs.c: builds, plans, binds, fills io */
/* session.c */
void lmf__cond_init(pthread_cond_t *c);                   /* on the monotonic clock */
bool lmf__cond_wait(pthread_cond_t *c, pthread_mutex_t *lock, const struct timespec *until); /* false: the time has come; NULL: never does */
const struct timespec *lmf__deadline(struct timespec *t, int timeout_ms); /* NULL: none */
/* under the lock */
void lmf__session_end(lmf_session *s, int32_t finish, lmf_status failure); /* running or waiting to idle */
void lmf__session_drop_kv(lmf_session *s, int32_t n);     /* computed tokens become at most n */
void lmf__session_find_prefix(lmf_session *s);            /* takes pages that others have computed */
void lmf__session_keep_prefix(lmf_session *s);            /* offers its full pages to others */
void lmf__session_preempt(lmf_session *s);                /* running to the front of those that wait, without its pages */
/* What was computed with an adapter is computed again, in the middle of an answer, too; a session for which the cache has no room any
 * more ends. */
void lmf__sessions_forget(lmf_engine *e, int32_t adapter);

#endif
