/* SPDX-License-Identifier: Apache-2.0 */
/* answer: what generate and chat share: a model with one session, and an answer that is streamed to standard output as whole
 * UTF-8. Owner: the command's storage, open/close. Threads: one. */
#ifndef LMF_CLI_ANSWER_H
#define LMF_CLI_ANSWER_H
#include "cli/conversation.h"
#include "infer/engine.h"

typedef struct lmf_answer_args {     /* flags of both commands; LMF_ANSWER_FLAGS */
    const char *model, *system, *adapter, *compute, *stop, *chat_template, *control;
    int64_t     max_tokens, top_k, seed, context;
    double      temperature, top_p, min_p, repetition_penalty;
    bool        profile;
} lmf_answer_args;
/* Of a struct that holds lmf_answer_args as its member `answer`. */
#define LMF_ANSWER_FLAG(type, member) (offsetof(type, answer) + offsetof(lmf_answer_args, member))
#define LMF_ANSWER_FLAGS(type, usual_temperature) \
    { "model", 'm', LMF_FLAG_STRING, LMF_ANSWER_FLAG(type, model), .required = true, .hub = LMF_HUB_MODEL, \
      .help = "GGUF file, Hugging Face folder, or org/name of the hub" }, \
    { "system", 's', LMF_FLAG_STRING, LMF_ANSWER_FLAG(type, system), .help = "system message" }, \
    { "adapter", 'a', LMF_FLAG_STRING, LMF_ANSWER_FLAG(type, adapter), .hub = LMF_HUB_ADAPTER, .help = "LoRA adapter: a PEFT folder" }, \
    { "max-tokens", 'n', LMF_FLAG_INT, LMF_ANSWER_FLAG(type, max_tokens), 1, 1 << 20, "256", .help = "tokens of an answer at most" }, \
    { "temperature", 't', LMF_FLAG_DOUBLE, LMF_ANSWER_FLAG(type, temperature), 0, 100, usual_temperature, \
      .help = "0: always the likeliest token" }, \
    { "top-k", 0, LMF_FLAG_INT, LMF_ANSWER_FLAG(type, top_k), 0, 1 << 24, "50", .help = "choose among the k likeliest; 0: all" }, \
    { "top-p", 0, LMF_FLAG_DOUBLE, LMF_ANSWER_FLAG(type, top_p), 1e-6, 1, "0.9", .help = "choose among the likeliest that make up p; 1: all" }, \
    { "min-p", 0, LMF_FLAG_DOUBLE, LMF_ANSWER_FLAG(type, min_p), 0, 1, "0", .help = "leave out what is less likely than min-p of the likeliest" }, \
    { "repetition-penalty", 0, LMF_FLAG_DOUBLE, LMF_ANSWER_FLAG(type, repetition_penalty), 0.01, 100, "1", \
      .help = "tokens seen before are less likely by this factor; 1: none" }, \
    { "seed", 0, LMF_FLAG_INT, LMF_ANSWER_FLAG(type, seed), 0, 9007199254740992.0, "0", .help = "the same seed gives the same answer" }, \
    { "stop", 0, LMF_FLAG_STRING, LMF_ANSWER_FLAG(type, stop), .help = "end the answer before this text" }, \
    { "context", 'c', LMF_FLAG_INT, LMF_ANSWER_FLAG(type, context), 0, 1 << 24, "0", .help = "tokens kept at most; 0: what fits model and memory" }, \
    LMF_CHAT_TEMPLATE_FLAG(LMF_ANSWER_FLAG(type, chat_template)), \
    LMF_CONTROL_FLAG(LMF_ANSWER_FLAG(type, control)), \
    { "compute", 0, LMF_FLAG_CHOICE, LMF_ANSWER_FLAG(type, compute), .fallback = "auto", .choices = "auto|f32|fast", .help = "precision of products; auto is fast" }, \
    { "profile", 0, LMF_FLAG_BOOL, LMF_ANSWER_FLAG(type, profile), .help = "print where the time went (slows it down)" }

typedef struct lmf_answer {
    lmf_cli     *cli;
    const lmf_answer_args *args;
    lmf_model   *model;
    lmf_engine  *engine;
    lmf_session *session;
    lmf_ids      ids;                /* of the prompt: encode fills it */
    lmf_buf      text;               /* of the last answer */
    int          n_completion;       /* its tokens, the ending one included */
    const char  *finish;             /* "stop", "length", "cancelled" */
    double       prefill_seconds, decode_seconds;
    int32_t      n_seqs;             /* set before the engine starts: sessions at once; 0: one */
    lmf_mask_fn  mask;               /* set between open and the first say: which tokens may come (cli/constraint.h); NULL: any */
    lmf_force_fn force;              /* set as mask is: what must come; NULL: nothing */
    void        *grammar;            /* what mask is called with */
} lmf_answer;

/* Opens the model; the engine comes with the first say, whose prompt it must hold. On failure call close too. */
lmf_status lmf__answer_open(lmf_cli *cli, const lmf_answer_args *args, lmf_answer *a);
void       lmf__answer_close(lmf_answer *a);
/* {"role", "content"} behind messages. LMF_E_ARG: not UTF-8. */
lmf_status lmf__answer_add_message(lmf_answer *a, json_t *messages, const char *role, const char *text, size_t n);
lmf_status lmf__answer_encode_chat(lmf_answer *a, json_t *messages);
/* A prompt's ids: plain text where raw, else a conversation of the system message and it. */
lmf_status lmf__answer_encode(lmf_answer *a, bool raw, const char *prompt, size_t n);
lmf_status lmf__answer_read_all(lmf_answer *a, lmf_buf *text);              /* all of standard input */
lmf_status lmf__answer_start_engine(lmf_answer *a, int64_t least_context);  /* once; later calls do nothing */
/* Answers ids; tokens that the session holds already are not read again. Streams unless quiet_stdout. Ctrl-C ends the answer: finish
 * "cancelled", LMF_OK. */
lmf_status lmf__answer_say(lmf_answer *a, bool quiet_stdout);
double     lmf__answer_rate(const lmf_answer *a);  /* tokens a second after the first */
void       lmf__answer_print_rate(const lmf_answer *a);
void       lmf__answer_print_profile(const lmf_answer *a);
/* A line of standard input without its end into line. False: no more, or a signal came. At most 1 MiB: *status says so.
 * Standard input is unbuffered by then: poll sees what was not read, not what stdio holds. */
bool       lmf__answer_read_line(lmf_answer *a, lmf_buf *line, lmf_status *status);

#endif
