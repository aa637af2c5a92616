/* SPDX-License-Identifier: Apache-2.0 */
/* chat: a model's tokenizer and its chat template together: conversations to text and to token ids.
 * Owner: borrows both; they must outlive it. Threads: read only. */
#ifndef LMF_TEXT_CHAT_H
#define LMF_TEXT_CHAT_H
#include "text/template/template.h"
#include "text/tokenizer/tokenizer.h"

enum { LMF_MAX_EOS = 16 };

/* Where control tokens that are spelled in a text are control tokens. Those of the template itself always are. */
typedef enum lmf_control {
    LMF_CONTROL_BY_ORIGIN,  /* in text that was rendered before and in what the assistant says; not in what users, systems and tools say */
    LMF_CONTROL_EVERYWHERE, /* as transformers' apply_chat_template: a user can forge a turn */
    LMF_CONTROL_NOWHERE
} lmf_control;

typedef struct lmf_chat {
    lmf_ctx             *ctx;
    const lmf_tokenizer *tokenizer;
    const lmf_template  *source;            /* NULL: a base model without a chat template */
    int32_t              eos[LMF_MAX_EOS];  /* any of them ends an answer */
    int                  n_eos;
    int32_t              turn_end;          /* the token that source ends an assistant's turn with, of the template's text; -1: not known */
    const char          *broken;            /* why there is no source though the file has a template, a sentence; or NULL */
    lmf_control          control;
    int64_t              now_unix;          /* local seconds since 1970: what strftime_now shows */
} lmf_chat;

typedef struct lmf_positions { lmf_ctx *ctx; size_t *items; size_t n, cap; } lmf_positions; /* ascending; the caller's storage */
void lmf_positions_clear(lmf_positions *p); /* may be used again */

/* vars: {"messages": [...], "tools": [...], ...}, borrowed; add_generation_prompt and the special tokens are added. spans: where
 * {% generation %} blocks lie, or NULL. LMF_E_UNSUPPORTED: no template. */
lmf_status lmf_chat_render(const lmf_chat *chat, json_t *vars, bool add_generation_prompt, lmf_buf *out, lmf_span_list *spans);
/* The same into an empty out, and in foreign, emptied before, positions that no control token may cover (lmf_tokenizer_encode_guarded):
 * where somebody other than the template spelled one, as chat->control has it. */
lmf_status lmf_chat_render_guarded(const lmf_chat *chat, json_t *vars, bool add_generation_prompt, lmf_buf *out, lmf_span_list *spans,
                                   lmf_positions *foreign);
/* The same, appended as ids: control tokens in the text are the template's. */
lmf_status lmf_chat_encode(const lmf_chat *chat, json_t *vars, bool add_generation_prompt, lmf_ids *ids);
/* Text that was rendered before, appended as ids. flags: LMF_ENCODE_DEFAULTS or 0. Control tokens in it are such, unless chat->control is
 * NOWHERE; a BOS that the text brings itself is not added again. */
lmf_status lmf_chat_encode_plain(const lmf_chat *chat, const char *text, size_t n, unsigned flags, lmf_ids *ids);
/* "auto", "everywhere", "nowhere": the words of settings; another one: auto. */
lmf_control lmf_control_of(const char *word);
/* For now_unix. */
int64_t    lmf_chat_now(void);
int64_t    lmf_chat_local_seconds(int64_t unix_seconds);
bool       lmf_chat_is_eos(const lmf_chat *chat, int32_t id);
/* Puts id into the set unless it is there, negative or one too many. */
void       lmf_chat_add_eos(lmf_chat *chat, int32_t id);
/* Finds turn_end by rendering a conversation, and adds it to the set. A template that renders none leaves it -1. Fails for want of memory
 * only. */
lmf_status lmf_chat_find_turn_end(lmf_chat *chat);

typedef struct lmf_chat_forms {  /* what a template takes, found out by trying */
    bool parts;                  /* content as a list of parts; else it is joined */
    bool arguments_as_text;      /* arguments of calls as JSON in a string; else as an object */
} lmf_chat_forms;
lmf_status lmf_chat_find_forms(const lmf_chat *chat, lmf_chat_forms *out);
/* Brings messages and calls of vars into these forms, in place. */
lmf_status lmf_chat_fit(const lmf_chat *chat, const lmf_chat_forms *forms, json_t *vars);
/* LMF_E_UNSUPPORTED, with the name: tools, calls (name or arguments), results of tools, what an answer says beside its calls, or the
 * reasoning of the last answer are not in what the template makes of vars. Does nothing where vars has none. vars in the template's
 * forms. */
lmf_status lmf_chat_check_tools(const lmf_chat *chat, const lmf_chat_forms *forms, const json_t *vars);

#endif
