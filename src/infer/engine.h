/* SPDX-License-Identifier: Apache-2.0 */
/* engine: a model that answers many conversations at once. A session is one conversation: its tokens and the keys and values
 * computed for them, in pages. The engine steps all sessions that have work: one row a session that is writing its
 * answer, and the rest of the step's rows for prompts that are still being read.
 *
 *     lmf_engine_opts opts = lmf_engine_opts_default();
 *     LMF_TRY(lmf_engine_create(ctx, model, &opts, &e));
 *     LMF_TRY(lmf_session_create(e, NULL, &s));
 *     LMF_TRY(lmf_session_append(s, prompt, n, NULL));
 *     lmf_gen_opts gen = lmf_gen_opts_default();
 *     LMF_TRY(lmf_session_generate(s, &gen));
 *     for (int live = 1; live;) {
 *         LMF_TRY(lmf_engine_step(e, &live));
 *         LMF_TRY(lmf_session_read(s, tok, 16, &n_read));   // ids as they come; the last has finish != 0
 *     }
 *
 * A server steps on one thread and reads on others; nobody polls:
 *
 *     while (!stop) {                                      // the stepping thread
 *         if (lmf_engine_wait(e, -1))                      // sleeps until a session has work, or lmf_engine_wake
 *             LMF_TRY(lmf_engine_step(e, &live));
 *     }
 *     while (!finish && lmf_session_wait(s, -1))           // a reader: sleeps until there is something to read
 *         LMF_TRY(lmf_session_read(s, tok, 16, &n_read));
 *
 * Tokens that were computed stay computed: append to a session, and only what is new is read. A session at rest costs its
 * pages; rewind or destroy gives them back. After create a step allocates nothing.
 *
 * Owner: the engine borrows model, context and a shared device, which must outlive it; a session belongs to its creator, an engine that is
 * destroyed takes its sessions along. Threads: one thread steps the engine, and it alone calls lmf_engine_wait; each session may
 * be used by another thread, one at a time, lmf_session_wait included; lmf_session_cancel and lmf_engine_wake by any. A session that
 * waits must not be destroyed; cancel it, and its reader wakes at the next step. */
#ifndef LMF_INFER_ENGINE_H
#define LMF_INFER_ENGINE_H
#include "graph/plan.h"
#include "models/model.h"

typedef struct lmf_engine lmf_engine;
typedef struct lmf_session lmf_session;

/* Says which tokens a session may write next: sets bit v % 32 of bits[v / 32] for each allowed token v. bits [ceil(vocab / 32)] comes
 * zeroed. grammar is the session's lmf_gen_opts.grammar; tok [n_tok] its tokens so far, prompt included. Any other status than LMF_OK ends
 * this session with that failure, as does a mask that allows nothing (LMF_E_ARG).
 * Called on the stepping thread, between the launch of the forward pass and the sampling that needs the mask: on a GPU its time is hidden
 * by the pass. The engine's lock is not held, so that other threads go on; it must not call the engine or its sessions. */
typedef lmf_status (*lmf_mask_fn)(void *user, void *grammar, const int32_t *tok, int n_tok, uint32_t *bits);

/* Text that must come, whatever would be sampled: up to cap tokens of it into out; returns how many. They are appended without being
 * sampled, so they have no log-probability (0), and are not counted by penalties. Asked before a step whose session goes on behind tok
 * [n_tok]; the last token may be an end of the answer. The engine's lock is held: it is to be quick. */
typedef int32_t (*lmf_force_fn)(void *user, void *grammar, const int32_t *tok, int n_tok, int32_t *out, int cap);

enum { LMF_CACHE_AUTO = 0xffff };

typedef struct lmf_engine_opts {
    size_t   struct_bytes;       /* sizeof(lmf_engine_opts) */
    const char *device;          /* "cpu", "cuda:0"; NULL: "cpu" */
    int32_t  max_seqs;           /* sessions that run at once; 1 to 256, default 8. More wait their turn */
    int32_t  context;            /* tokens a session may hold; 0: the model's, at most 2048 */
    int32_t  page_size;          /* tokens a page; 1 to 1024, default 16 */
    int64_t  cache_tok;          /* tokens of all sessions together; 0: max_seqs * context, less where that takes over 1 GiB */
    int32_t  prefill_chunk;      /* rows a step at most; 1 to 4096; default 0: 256 on the CPU, 1024 elsewhere; raised to max_seqs */
    int32_t  compute;            /* 0: f32 products; 1: fast (ops/matmul.h); default 1 */
    uint16_t cache_dtype;        /* of keys and values: LMF_F32, LMF_F16, LMF_BF16; LMF_CACHE_AUTO (default): with compute 1 f16
                                  * on a GPU, bf16 on the CPU; else f32 */
    const char *const *adapters; int32_t n_adapters; /* PEFT folders, loaded into slots 0, 1, ... */
    int32_t  max_adapters;       /* slots in all; more than n_adapters leaves room for lmf_engine_adapter; at most 64 */
    int32_t  max_rank;           /* of any adapter; 0: the largest of those given, or 64 where there is room for more */
    bool     need_invariant;     /* an answer's bits do not depend on what else is in the batch, nor on chunks; needs compute 0 */
    bool     elastic;            /* pages are taken when they are needed, not reserved for the longest answer; they stay for prompts that
                                    begin alike; where none is left, the youngest session gives its own up and computes them later again */
    bool     score;              /* lmf_session_score may be called: one more graph */
    bool     embed;              /* lmf_session_embed may be called: one more graph */
    bool     profile;            /* time each kernel: lmf_engine_profile */
    int32_t  max_samples;        /* rows a step that a token is looked at for; 0: max_seqs, at least that, at most 256. More make
                                    lmf_gen_opts.echo faster */
    int32_t  max_draft;          /* tokens a session may guess ahead from what it holds, checked in one step; 0 (default) to 15; needs
                                    max_samples. Answers stay as they are; those that repeat their prompt come faster */
    lmf_force_fn force;          /* of sessions with a grammar; gets mask_user; NULL: nothing is forced */
    lmf_mask_fn mask; void *mask_user; /* NULL: sessions with a grammar are refused */
    /* An open device to share, instead of one of its own by name: weights that are there already are borrowed. It must outlive the
     * engine, and its other users must not use it during a step. */
    lmf_device *shared_device;
} lmf_engine_opts;
lmf_engine_opts lmf_engine_opts_default(void);

enum { LMF_GEN_MAX_BIAS = 300 };

typedef struct lmf_gen_opts {
    size_t   struct_bytes;       /* sizeof(lmf_gen_opts) */
    int32_t  max_tok;            /* tokens to write, cut to what the context leaves; 0: only read the prompt. Default 256 */
    float    temperature;        /* 0: the likeliest token; default 0 */
    int32_t  top_k;              /* 0: off (default) */
    float    top_p;              /* (0, 1]; 1: off (default) */
    float    min_p;              /* [0, 1]; 0: off (default) */
    float    repetition_penalty; /* > 0; 1: off (default). Counts prompt and answer */
    uint64_t seed;               /* the same seed gives the same answer, whatever else runs */
    bool     ignore_eos;         /* write on past the end of the answer */
    float    presence_penalty;   /* taken off the logit of each token that the answer holds; 0: off (default) */
    float    frequency_penalty;  /* taken off for each time that the answer holds it; 0: off (default) */
    bool     echo;               /* read gives the session's tokens so far, too, each with its log-probability (the first: 0) and n_top
                                    likeliest, before what is written; all is computed anew */
    int32_t  n_top;              /* likeliest tokens kept beside each token, lmf_session_top; 0 (default) to 20 */
    const int32_t *bias_token; const float *bias; int32_t n_bias; /* added to the logits of these tokens, each once; at most
                                                                     LMF_GEN_MAX_BIAS; must live until the finish is read */
    void    *grammar;            /* not NULL: lmf_engine_opts.mask is asked before each token; must live until the finish is read */
} lmf_gen_opts;
lmf_gen_opts lmf_gen_opts_default(void);

typedef struct lmf_session_opts {
    size_t   struct_bytes;       /* sizeof(lmf_session_opts) */
    int32_t  adapter;            /* slot; -1: the base alone, which NULL opts mean too */
    uint64_t salt;               /* elastic: what was computed is shared among sessions with the same salt; default 0 */
} lmf_session_opts;

enum { LMF_FINISH_NONE, LMF_FINISH_STOP, LMF_FINISH_LENGTH, LMF_FINISH_CANCELLED };
typedef struct lmf_token {
    int32_t id;                  /* -1: no token, only the finish */
    float   logp;                /* under the model alone */
    int32_t finish;              /* LMF_FINISH_*. STOP: id is the end-of-answer token, no text; LENGTH: max_tok or context reached, or prompt read */
    int32_t i_tok;               /* its place among the session's tokens; -1 with id -1 */
} lmf_token;

typedef struct lmf_engine_info {
    int32_t max_seqs, context, page_size, n_pages, vocab, n_adapters, n_slots; /* n_slots: for adapters */
    int32_t n_pages_free;        /* held by no session */
    int32_t n_pages_reserved;    /* of the free ones, promised to sessions that run */
    int32_t n_running, n_waiting, n_sessions;
    int64_t n_prefill_tok, n_decode_tok, n_forced_tok; /* since create: rows of prompts, tokens that were sampled, that were forced */
    int64_t n_cached_tok;        /* of prompts, that were found computed */
    int64_t n_preempted;         /* sessions that gave way */
    int64_t n_draft_tok, n_accepted_tok; /* tokens that were guessed, and that were right */
    int64_t n_steps;             /* with rows */
} lmf_engine_info;

/* Plans all graphs and binds them. Refuses what the options' ranges do not allow (LMF_E_ARG), an adapter that does not fit the
 * model (LMF_E_SHAPE, LMF_E_NOT_FOUND), and whatever the device has no room for. */
lmf_status lmf_engine_create(lmf_ctx *ctx, const lmf_model *model, const lmf_engine_opts *opts, lmf_engine **out);
void       lmf_engine_destroy(lmf_engine *e);                      /* NULL is fine */
/* One step for all sessions with work; *n_live: how many still have some. 0: idle, nothing was done or all is done. */
lmf_status lmf_engine_step(lmf_engine *e, int *n_live);
/* Sleeps until a session has work, lmf_engine_wake is called (also before: it is remembered once) or timeout_ms have passed (-1: never).
 * True: there is work. */
bool       lmf_engine_wait(lmf_engine *e, int timeout_ms);
void       lmf_engine_wake(lmf_engine *e);
/* The weights' owner changed them: what was computed is forgotten, tokens stay. LMF_E_BUSY while sessions run. */
lmf_status lmf_engine_refresh(lmf_engine *e);
/* Loads a PEFT folder under a name into a free slot; dir NULL: unloads the name; a name that is loaded is replaced. What sessions
 * computed with that slot is forgotten. LMF_E_BUSY while sessions run or without a free slot. */
lmf_status lmf_engine_adapter(lmf_engine *e, const char *name, const char *dir, int *slot);
/* Loads a PEFT folder into a slot, by number, while sessions of other slots work: on the stepping thread, between two steps. What is there
 * goes. LMF_E_BUSY: a session of that slot works; otherwise as lmf_engine_adapter. After a failure the slot holds what it held, but for
 * one of the device, which leaves it empty. lmf_engine_adapter_find does not know it. */
lmf_status lmf_engine_load_slot(lmf_engine *e, int slot, const char *dir);
/* The same for pairs that live in memory and may change, such as a trainer's (lmf_trainer_weights, lmf_trainer_lora_scale): tensors
 * "<role>.lora_a" [r, K] and "<role>.lora_b" [N, r], f32, borrowed until the name is unloaded or replaced, or the engine ends. Only their
 * owner writes, between steps, and counts up the set's version. The next step then takes them over, and what was computed under the
 * older version is forgotten: tokens stay, sessions at rest compute them again when they go on, and one in the middle of its answer goes on
 * from there under the new version. */
lmf_status lmf_engine_live_adapter(lmf_engine *e, const char *name, const lmf_weights *pairs, double scale, int *slot);
int        lmf_engine_adapter_find(lmf_engine *e, const char *name); /* slot, or -1. Those of create are named by their folder */
void       lmf_engine_get_info(lmf_engine *e, lmf_engine_info *out);
const lmf_memory *lmf_engine_memory(const lmf_engine *e);
/* With opts.profile: time by kernel over all graphs, largest first; returns the number of rows. */
int        lmf_engine_profile(const lmf_engine *e, lmf_profile_row *rows, int cap);

lmf_status lmf_session_create(lmf_engine *e, const lmf_session_opts *opts, lmf_session **out);
void       lmf_session_destroy(lmf_session *s);                    /* NULL is fine; waits for a step in progress */
/* LMF_E_LIMIT: more than the context holds; LMF_E_ARG: no such token; LMF_E_BUSY: it runs. *n_cached (optional): tokens
 * before these that need not be computed again. */
lmf_status lmf_session_append(lmf_session *s, const int32_t *tok, int n, int *n_cached);
/* Queued; what was not read of an earlier answer is dropped. LMF_E_BUSY: it runs already, or the cache has no room for prompt and answer
 * now; LMF_E_LIMIT: it never will, or the context is full; LMF_E_ARG: no tokens, or an option out of range. */
lmf_status lmf_session_generate(lmf_session *s, const lmf_gen_opts *opts);
/* Teacher forcing: appends tok and computes the log-probability of each after all before it. Queued like generate; logp [n] must
 * live until read gives a finish. logp[0] is 0 in an empty session: nothing comes before it. */
lmf_status lmf_session_score(lmf_session *s, const int32_t *tok, int n, float *logp);
/* The mean of the hidden states behind the last norm over tok, in a session without tokens. Queued like generate; mean [width of the model]
 * must live until read gives a finish. */
lmf_status lmf_session_embed(lmf_session *s, const int32_t *tok, int n, float *mean);
/* What was written since the last read; never blocks. *n 0: nothing yet, or all was read. After a failure: its status and sentence, once. */
lmf_status lmf_session_read(lmf_session *s, lmf_token *buf, int cap, int *n);
/* Sleeps until lmf_session_read would give something (a token, the finish, a failure) or timeout_ms have passed (-1: never). True: it
 * would. False at once where the session is idle and all was read. */
bool       lmf_session_wait(lmf_session *s, int timeout_ms);
/* The likeliest tokens of the model alone at the place of token i_tok of the last answer, and their log-probabilities, likeliest first; at
 * most cap. Returns their number: 0 where n_top was 0 or the token is not of that answer. Until the next append, rewind, generate
 * or score. */
int        lmf_session_top(lmf_session *s, int i_tok, int32_t *id, float *logp, int cap);
/* A second session with the same tokens, sharing full pages; up to page_size - 1 tokens are computed again. Not the options, not what
 * is unread. May be taken while s runs: of the tokens so far. */
lmf_status lmf_session_fork(lmf_session *s, lmf_session **child);
/* Forgets all but the first n_tok tokens; *n_kept (optional): how many of those need not be computed again. LMF_E_BUSY: it runs. */
lmf_status lmf_session_rewind(lmf_session *s, int n_tok, int *n_kept);
/* It holds tok [n] afterwards; what it held before that begins alike stays computed. Fails as rewind and append do. */
lmf_status lmf_session_become(lmf_session *s, const int32_t *tok, int n);
void       lmf_session_cancel(lmf_session *s);                     /* ends at the next step with LMF_FINISH_CANCELLED */
int        lmf_session_n_cached(lmf_session *s);                   /* tokens before the last answer that another session had computed */
bool       lmf_session_is_busy(lmf_session *s);                    /* waiting or running */
int        lmf_session_n_tok(lmf_session *s);
int        lmf_session_tokens(lmf_session *s, int32_t *tok, int cap); /* copies the first cap of them; returns the number copied */

#endif
