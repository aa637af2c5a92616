/* SPDX-License-Identifier: Apache-2.0 */
#include "text/chat.h"

enum { CHAT_MAX_BYTES = 1 << 24 };

static lmf_status set_token(json_t *vars, const char *key, const lmf_tokenizer *t, int32_t id)
{
    size_t n = 0;
    const uint8_t *p = id >= 0 ? lmf_tokenizer_piece(t, id, &n) : NULL;
    /* Hugging Face passes only the special tokens that the tokenizer has */
    return p && json_object_set_new(vars, key, json_stringn((const char *)p, n)) ? LMF_E_MEMORY : LMF_OK;
}

lmf_status lmf_chat_render(const lmf_chat *c, json_t *vars, bool add_generation_prompt, lmf_buf *out, lmf_span_list *spans)
{
    if (!c->source)
        return LMF_FAIL(c->ctx, LMF_E_UNSUPPORTED, "the model has no chat template: it is a base model; use text or prompt and completion");
    const lmf_token_ids *ids = lmf_tokenizer_ids(c->tokenizer);
    json_t *all = json_copy(vars);
    lmf_status s = all ? LMF_OK : LMF_E_MEMORY;
    if (!s && json_object_set_new(all, "add_generation_prompt", json_boolean(add_generation_prompt)))
        s = LMF_E_MEMORY;
    if (!s)
        s = set_token(all, "bos_token", c->tokenizer, ids->bos);
    if (!s)
        s = set_token(all, "eos_token", c->tokenizer, ids->eos);
    if (s)
        LMF_FAIL(c->ctx, s, "out of memory for a conversation");
    else
        s = lmf_template_render(c->source, all, NULL, out, spans);
    json_decref(all);
    return s;
}

lmf_status lmf_chat_encode(const lmf_chat *c, json_t *vars, bool add_generation_prompt, lmf_ids *ids)
{
    lmf_buf text;
    lmf_buf_init(&text, c->ctx, CHAT_MAX_BYTES);
    lmf_status s = lmf_chat_render(c, vars, add_generation_prompt, &text, NULL);
    if (!s)
        s = lmf_tokenizer_encode(c->tokenizer, lmf_buf_str(&text), text.n, LMF_ENCODE_SPECIAL, ids);
    lmf_buf_clear(&text);
    return s;
}

bool lmf_chat_is_eos(const lmf_chat *c, int32_t id)
{
    for (int i = 0; i < c->n_eos; i++)
        if (c->eos[i] == id)
            return true;
    return false;
}
