/* SPDX-License-Identifier: Apache-2.0 */
/* engine and session: a model that writes. An engine answers many prompts at once, on a thread of its own; a session is one text: what was
 * put into it, what the model wrote, and what was computed for both, so that a text that begins like the last one is not read again.
 *
 *     lmfast_engine *engine;
 *     lmfast_session *session;
 *     lmfast_piece piece = { .struct_bytes = sizeof piece };
 *     if (lmfast_engine_create(model, NULL, &engine) || lmfast_session_create(engine, NULL, &session))
 *         return fprintf(stderr, "%s\n", lmfast_error(ctx)), 1;
 *     lmfast_gen_opts gen = lmfast_gen_opts_default();
 *     gen.max_tok = 64;
 *     lmfast_status s = lmfast_session_set_text(session, "Once upon a time", 16);
 *     if (!s)
 *         s = lmfast_session_generate(session, &gen);
 *     while (!s && !piece.finish && !(s = lmfast_session_next(session, -1, &piece)))
 *         fwrite(piece.text, 1, piece.n_bytes, stdout);
 *     if (s)
 *         fprintf(stderr, "%s\n", lmfast_error(ctx));
 *     lmfast_session_destroy(session);
 *     lmfast_engine_destroy(engine);
 *
 * Memory is asked for when an engine is created, and not afterwards. The same seed draws the same numbers, whatever else runs.
 * Threads: each session may be used by one thread at a time, different sessions by different ones; lmfast_session_cancel by any. */
#ifndef LMFAST_ENGINE_H
#define LMFAST_ENGINE_H
#include "lmfast/model.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmfast_engine lmfast_engine;
typedef struct lmfast_session lmfast_session;

enum { LMFAST_COMPUTE_FAST = 0, LMFAST_COMPUTE_F32 = 1 }; /* coarser products where the machine has faster ones; all in f32 */

typedef struct lmfast_engine_opts {
    size_t      struct_bytes;
    const char *device;         /* "cpu", "cuda:0"; NULL: "cpu" */
    int32_t     max_sessions;   /* answers that are written at once, 1 to 256; more wait their turn. Default 8 */
    int32_t     context;        /* tokens a session may hold; 0: the model's, at most 4096 */
    int64_t     cache_tok;      /* tokens of all sessions together; 0: a context each, as far as 1 GiB holds them */
    int32_t     compute;        /* LMFAST_COMPUTE_*; default FAST */
    const char *const *adapters; /* PEFT folders; sessions choose one by its place here */
    int32_t     n_adapters;
} lmfast_engine_opts;

enum { LMFAST_ADAPTER_NONE = -1, LMFAST_ADAPTER_FIRST = -2 };

typedef struct lmfast_session_opts {
    size_t      struct_bytes;
    int32_t     adapter;        /* place in lmfast_engine_opts.adapters; NONE; FIRST (default): the first where there is one */
} lmfast_session_opts;

typedef struct lmfast_gen_opts {
    size_t      struct_bytes;
    int32_t     max_tok;        /* tokens to write at most, cut to what the context leaves; at least 1. Default 256 */
    float       temperature;    /* 0: always the likeliest token. Default 0.7 */
    int32_t     top_k;          /* choose among the k likeliest; 0: all. Default 50 */
    float       top_p;          /* choose among the likeliest that make up p, (0, 1]; 1: all. Default 0.9 */
    float       min_p;          /* leave out what is less likely than this part of the likeliest, [0, 1]. Default 0 */
    float       repetition_penalty; /* tokens seen before are less likely by this factor, over 0; 1: none. Default 1 */
    float       presence_penalty, frequency_penalty; /* as OpenAI defines them. Default 0 */
    uint64_t    seed;           /* default 0 */
    const char *const *stop;    /* the answer ends before any of these texts, at most 16 */
    int32_t     n_stop;
    bool        ignore_eos;     /* write on past the end of the answer */
    /* At most one of these: the answer is JSON that fits a JSON schema; fits a regular expression; fits a GBNF grammar; is one of texts. */
    const char *json_schema, *regex, *grammar;
    const char *const *choices;
    int32_t     n_choices;
} lmfast_gen_opts;

enum {
    LMFAST_FINISH_NONE = 0,
    LMFAST_FINISH_STOP = 1,     /* the model ended its answer, or a stop text came */
    LMFAST_FINISH_LENGTH = 2,   /* max_tok was reached, or the context is full */
    LMFAST_FINISH_CANCELLED = 3
};

typedef struct lmfast_piece {
    size_t      struct_bytes;
    const char *text;           /* whole characters, no NUL inside is promised; "" where there is nothing new. Until the next call */
    size_t      n_bytes;
    int32_t     n_tok;          /* tokens since the last piece, the ending one included */
    int32_t     finish;         /* LMFAST_FINISH_*; not NONE: this piece is the answer's last */
} lmfast_piece;

typedef struct lmfast_answer_info { /* of the last answer */
    size_t      struct_bytes;
    int32_t     n_prompt, n_cached; /* tokens of the prompt; of them computed before */
    int32_t     n_answer;       /* tokens written, the ending one included */
    int32_t     finish;         /* LMFAST_FINISH_* */
    double      prefill_seconds, decode_seconds; /* to the first token; from there to the last */
} lmfast_answer_info;

LMFAST_API void lmfast_engine_opts_init(lmfast_engine_opts *opts, size_t bytes);
static inline lmfast_engine_opts lmfast_engine_opts_default(void)
{
    lmfast_engine_opts o;
    lmfast_engine_opts_init(&o, sizeof o);
    return o;
}
LMFAST_API void lmfast_session_opts_init(lmfast_session_opts *opts, size_t bytes);
static inline lmfast_session_opts lmfast_session_opts_default(void)
{
    lmfast_session_opts o;
    lmfast_session_opts_init(&o, sizeof o);
    return o;
}
LMFAST_API void lmfast_gen_opts_init(lmfast_gen_opts *opts, size_t bytes);
static inline lmfast_gen_opts lmfast_gen_opts_default(void)
{
    lmfast_gen_opts o;
    lmfast_gen_opts_init(&o, sizeof o);
    return o;
}

/* LMFAST_E_ARG: an option out of range. LMFAST_E_NOT_FOUND, LMFAST_E_SHAPE: an adapter that is not there or not of this model.
 * LMFAST_E_MEMORY, LMFAST_E_DEVICE: the device has no room. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_engine_create(lmfast_model *model, const lmfast_engine_opts *opts, lmfast_engine **out);
/* Answers that are being written end, cancelled. */
LMFAST_API void lmfast_engine_destroy(lmfast_engine *engine);
LMFAST_API lmfast_model *lmfast_engine_model(const lmfast_engine *engine);

/* LMFAST_E_ARG: no such adapter. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_session_create(lmfast_engine *engine, const lmfast_session_opts *opts,
                                                               lmfast_session **out);
LMFAST_API void lmfast_session_destroy(lmfast_session *session);
/* The session holds just this text afterwards, beginning token as the model asks for it; what it has in common with what the session held
 * stays computed. An answer that is being written ends. LMFAST_E_ARG: no text. LMFAST_E_LIMIT: more than the context holds. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_session_set_text(lmfast_session *session, const char *text, size_t n_bytes);
/* The same of token ids. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_session_set_tokens(lmfast_session *session, const int32_t *ids, size_t n);
/* The same of a conversation: JSON, a list of messages {"role", "content"}, or an object {"messages", "tools", ...} as chat templates take
 * them. What the assistant is to say next is what generate will write. LMFAST_E_FORMAT: no such JSON. LMFAST_E_UNSUPPORTED: the model has
 * no chat template, or its template has no place for what the conversation holds. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_session_set_chat(lmfast_session *session, const char *json, size_t n_bytes);
/* Begins an answer to what the session holds and returns at once. LMFAST_E_ARG: an option out of range, or nothing to go on from.
 * LMFAST_E_BUSY: other sessions hold all of the cache. LMFAST_E_LIMIT: the context is full. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_session_generate(lmfast_session *session, const lmfast_gen_opts *opts);
/* Waits for more of the answer, at most timeout_ms (-1: as long as it takes); no text and no finish after that. A failure of the answer
 * comes once and ends it. LMFAST_E_ARG: nothing is being written. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_session_next(lmfast_session *session, int32_t timeout_ms, lmfast_piece *piece);
/* The answer ends soon, with LMFAST_FINISH_CANCELLED; next gives what there is. Harmless without an answer. */
LMFAST_API void lmfast_session_cancel(lmfast_session *session);
/* Fills info up to its struct_bytes. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_session_get_info(const lmfast_session *session, lmfast_answer_info *info);
LMFAST_API int32_t lmfast_session_n_tok(const lmfast_session *session); /* that it holds */

#ifdef __cplusplus
}
#endif
#endif
