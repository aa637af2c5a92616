/* SPDX-License-Identifier: Apache-2.0 */
/* chat: a conversation: messages, and a session that answers the last of them. The chat keeps what was said; only what is new is read by
 * the model.
 *
 *     lmfast_chat *chat;
 *     lmfast_piece piece = { .struct_bytes = sizeof piece };
 *     if (lmfast_chat_create(engine, "You are terse.", NULL, &chat))
 *         return fprintf(stderr, "%s\n", lmfast_error(ctx)), 1;
 *     lmfast_status s = lmfast_chat_ask(chat, "Name three colors.", NULL);
 *     while (!s && !piece.finish && !(s = lmfast_chat_next(chat, -1, &piece)))
 *         fwrite(piece.text, 1, piece.n_bytes, stdout);
 *     lmfast_chat_destroy(chat);
 *
 * Threads: one at a time; lmfast_chat_cancel by any. */
#ifndef LMFAST_CHAT_H
#define LMFAST_CHAT_H
#include "lmfast/engine.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmfast_chat lmfast_chat;

/* The text that the model's chat template makes of a conversation (see lmfast_session_set_chat), up to where the assistant goes on
 * (add_generation_prompt) or behind the last message. Buffers as in tokenizer.h. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_chat_render(lmfast_model *model, const char *json, size_t n_bytes,
                                                            bool add_generation_prompt, char *text, size_t cap, size_t *n);

/* system NULL: no system message. LMFAST_E_UNSUPPORTED: the model has no chat template. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_chat_create(lmfast_engine *engine, const char *system, const lmfast_session_opts *opts,
                                                            lmfast_chat **out);
LMFAST_API void lmfast_chat_destroy(lmfast_chat *chat);
/* Says something and begins the answer. An answer that is being written ends first, and stays in the conversation as far as it came. After
 * a failure the conversation is as before. LMFAST_E_LIMIT: it does not fit in the context any more. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_chat_ask(lmfast_chat *chat, const char *text, const lmfast_gen_opts *opts);
/* As lmfast_session_next; with the finish the answer becomes part of the conversation. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_chat_next(lmfast_chat *chat, int32_t timeout_ms, lmfast_piece *piece);
LMFAST_API void lmfast_chat_cancel(lmfast_chat *chat);
/* Forgets all but the system message. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_chat_reset(lmfast_chat *chat);
/* The conversation as JSON, a list of {"role", "content"}. Buffers as in tokenizer.h. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_chat_messages(lmfast_chat *chat, char *json, size_t cap, size_t *n);
LMFAST_API const lmfast_session *lmfast_chat_session(const lmfast_chat *chat); /* to look at: lmfast_session_get_info */

#ifdef __cplusplus
}
#endif
#endif
