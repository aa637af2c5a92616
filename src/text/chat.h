/* SPDX-License-Identifier: Apache-2.0 */
/* chat: a model's tokenizer and its chat template together: conversations to text and to token ids.
 * Owner: borrows both; they must outlive it. Threads: read only. */
#ifndef LMF_TEXT_CHAT_H
#define LMF_TEXT_CHAT_H
#include "text/template.h"
#include "text/tokenizer.h"

enum { LMF_MAX_EOS = 8 };

typedef struct lmf_chat {
    lmf_ctx             *ctx;
    const lmf_tokenizer *tokenizer;
    const lmf_template  *source;            /* NULL: a base model without a chat template */
    int32_t              eos[LMF_MAX_EOS];  /* any of them ends an answer */
    int                  n_eos;
} lmf_chat;

/* vars: {"messages": [...], "tools": [...], ...}, borrowed; add_generation_prompt and the special tokens are added. spans: where
 * {% generation %} blocks lie, or NULL. LMF_E_UNSUPPORTED: no template. */
lmf_status lmf_chat_render(const lmf_chat *chat, json_t *vars, bool add_generation_prompt, lmf_buf *out, lmf_span_list *spans);
/* The same, appended as ids: control tokens in the text are the template's. */
lmf_status lmf_chat_encode(const lmf_chat *chat, json_t *vars, bool add_generation_prompt, lmf_ids *ids);
bool       lmf_chat_is_eos(const lmf_chat *chat, int32_t id);

#endif
