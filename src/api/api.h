/* SPDX-License-Identifier: Apache-2.0 */
/* api: what stands behind the handles of include/lmfast, and the three things that each of its functions does: asks whether the handle
 * may be used here (lmf__api_enter), takes an option struct of any age (lmf__api_take), gives an answer into one (lmf__api_give).
 *
 * A handle is counted: its maker holds one, each handle made from it another; the last release takes it away. */
#ifndef LMF_API_API_H
#define LMF_API_API_H
#include <stdatomic.h>
#include <sys/types.h>
#include "data/rows.h"
#include "infer/engine.h"
#include "lmfast/lmfast.h"
#include "registry/registry.h"
#include "text/grammar/grammar.h"
#include "text/stream/stream.h"

typedef struct lmf_api_slot { /* a thread's last failure */
    pthread_t           thread;
    lmf_error_record    record;
    struct lmf_api_slot *next;
} lmf_api_slot;

struct lmfast_context {
    lmf_ctx        *ctx;
    atomic_int      n_refs;
    pid_t           process;
    pthread_mutex_t lock;        /* of slots, log */
    pthread_mutex_t build;       /* plug-ins are opened by one thread at a time */
    lmf_api_slot   *slots;
    int             n_slots;
    lmfast_log_fn   log;
    void           *log_user;
};

struct lmfast_tokenizer { struct lmfast_model *model; };

struct lmfast_model {
    lmfast_context   *c;
    atomic_int        n_refs;
    lmf_model        *m;
    lmfast_tokenizer  tokenizer;
    pthread_mutex_t   lock;      /* of what is made when first used: */
    bool              has_forms;
    lmf_chat_forms    forms;
    lmf_grammar_vocab *vocab;
};

struct lmfast_engine {
    lmfast_model    *model;
    atomic_int       n_refs;
    lmf_engine      *e;
    int32_t          context, n_adapters;
    pthread_t        thread;     /* steps e */
    bool             stepping;   /* there is one */
    atomic_bool      stop, broken; /* asked to end; has given up */
};

typedef struct lmf_api_constraint { /* of one answer */
    lmf_grammar *grammar;
    lmf_matcher *matcher;
    int32_t      n_prompt, n_seen, n_most; /* tokens: of the prompt, of the answer that the matcher has, of an answer at most */
} lmf_api_constraint;

struct lmfast_session {
    lmfast_engine     *engine;
    lmf_session       *s;
    lmf_ids            ids;      /* scratch: the next prompt */
    lmf_buf            text;     /* of the answer */
    lmf_text_stream    stream;
    char              *stop_bytes; /* copies of the stop texts, one behind the other */
    size_t             n_stop_bytes;
    const char        *stop[LMF_MAX_STOPS];
    lmf_api_constraint constraint;
    bool               writing;
    lmfast_answer_info info;
    double             start, first;
};

struct lmfast_dataset {
    lmfast_context *c;
    lmf_rows        rows;
};

/* LMF_E_UNSUPPORTED in a child that was forked off since. */
lmf_status lmf__api_enter(lmfast_context *c);
/* The defaults stand in *to, of `ours` bytes, first member struct_bytes; from's members, as many as it has, are laid over them. from
 * NULL: none. LMF_E_ARG: it has more than are known here, or says nothing of its size. */
lmf_status lmf__api_take(lmf_ctx *ctx, const char *name, void *to, const void *from, size_t ours);
/* from's members, as many as *to has, go there. */
lmf_status lmf__api_give(lmf_ctx *ctx, const char *name, void *to, const void *from, size_t ours);
/* For lmfast_x_opts_init: `bytes` of the defaults. */
void       lmf__api_init(void *to, size_t bytes, void *defaults, size_t ours);
/* Writes what fits of n items into buf, as the buffers of tokenizer.h. */
void       lmf__api_fill(void *buf, size_t cap, size_t *n_out, const void *items, size_t n, size_t item_bytes);
void       lmf__api_log(lmfast_context *c, int32_t level, const char *fmt, ...) LMF_PRINTF(3, 4);
double     lmf__api_seconds(void);

void lmf__context_release(lmfast_context *c);
void lmf__engine_release(lmfast_engine *e);
static inline lmfast_context *lmf__context_retain(lmfast_context *c) { atomic_fetch_add(&c->n_refs, 1); return c; }
static inline lmfast_model *lmf__model_retain(lmfast_model *m) { atomic_fetch_add(&m->n_refs, 1); return m; }

/* JSON of a conversation, [messages] or {"messages", ...}, in the forms that the model's template takes; the caller's reference. */
lmf_status lmf__chat_parse(lmfast_model *model, const char *json, size_t n, json_t **vars);
/* The session's prompt becomes what vars stand for. */
lmf_status lmf__session_set_vars(lmfast_session *s, json_t *vars);
lmf_status lmf__api_constraint_open(lmfast_session *s, const lmfast_gen_opts *o, lmf_gen_opts *gen);
void       lmf__api_constraint_close(lmf_api_constraint *c);
lmf_status lmf__api_constraint_mask(void *user, void *grammar, const int32_t *tok, int n_tok, uint32_t *bits);

#endif
