/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a token counts as the end of a turn only if it is the first thing behind an assistant's words and not what opens its turn. */
#include <string.h>
#include "text/chat/chat.h"

enum { LOOK_BYTES = 256, TEXT_MAX_BYTES = 1 << 20 };
static const char words[] = "lmfastTurnEnd";

static bool is_marker(const lmf_tokenizer *t, int32_t id)
{
    size_t n;
    const uint8_t *p = lmf_tokenizer_piece(t, id, &n);
    lmf_token_kind kind = lmf_tokenizer_kind(t, id);
    return kind == LMF_TOKEN_CONTROL || (kind == LMF_TOKEN_USER_DEFINED && n > 2 && *p == '<'); /* some files mark none as control */
}

/* The first token of text, or the last marker in it; -1: it is none. */
static lmf_status marker_of(const lmf_chat *c, const char *text, size_t n, bool last, int32_t *id)
{
    lmf_ids ids;
    *id = -1;
    lmf_ids_init(&ids, c->ctx, TEXT_MAX_BYTES);
    lmf_status s = lmf_tokenizer_encode(c->tokenizer, text, n, LMF_ENCODE_SPECIAL, &ids);
    for (size_t i = 0; !s && i < (last ? ids.n : ids.n > 0); i++)
        *id = is_marker(c->tokenizer, ids.data[i]) ? ids.data[i] : *id;
    lmf_ids_clear(&ids);
    return s;
}

static const char *find_last(const char *text, size_t n, const char *what)
{
    const char *found = NULL, *at = text;
    while ((at = memmem(at, n - (size_t)(at - text), what, strlen(what))))
        found = at++;
    return found;
}

static lmf_status behind_words(const lmf_chat *c, const lmf_buf *text, int32_t *id)
{
    const char *p = find_last(lmf_buf_str(text), text->n, words);
    *id = -1;
    if (!p)
        return LMF_OK;
    p += strlen(words);
    while (*p && strchr(" \n\r\t", *p))
        p++;
    size_t left = (size_t)(text->data + text->n - p);
    return marker_of(c, p, left < LOOK_BYTES ? left : LOOK_BYTES, false, id);
}

/* turns: 1, what a user says and the prompt for an answer; 2, the answer too. */
static lmf_status render(const lmf_chat *c, int turns, lmf_buf *out)
{
    json_t *list = json_pack("[{s:s, s:s}]", "role", "user", "content", "Hi");
    if (list && turns == 2)
        json_array_append_new(list, json_pack("{s:s, s:s}", "role", "assistant", "content", words));
    json_t *vars = json_pack("{s:o}", "messages", list);
    lmf_status s = vars ? lmf_chat_render(c, vars, turns == 1, out, NULL) : LMF_NO_MEMORY(c->ctx, 64, "a conversation");
    json_decref(vars);
    return s;
}

lmf_status lmf_chat_find_turn_end(lmf_chat *c)
{
    lmf_buf answered, asked;
    lmf_error_record before = *lmf_error_here(c->ctx);
    int32_t id = -1, opens = -1;
    c->turn_end = -1;
    if (!c->source)
        return LMF_OK;
    lmf_buf_init(&answered, c->ctx, TEXT_MAX_BYTES);
    lmf_buf_init(&asked, c->ctx, TEXT_MAX_BYTES);
    lmf_status s = render(c, 2, &answered);
    if (!s)
        s = behind_words(c, &answered, &id);
    if (!s && id >= 0)
        s = render(c, 1, &asked);
    if (!s && id >= 0)
        s = marker_of(c, lmf_buf_str(&asked), asked.n, true, &opens);
    if (!s && id != opens) { /* opens: a template that asks for the next turn always */
        c->turn_end = id;
        lmf_chat_add_eos(c, id);
    }
    lmf_buf_clear(&answered);
    lmf_buf_clear(&asked);
    if (s && s != LMF_E_MEMORY) { /* a template that wants something else renders nothing here, which is no failure */
        *lmf_error_here(c->ctx) = before;
        s = LMF_OK;
    }
    return s;
}
