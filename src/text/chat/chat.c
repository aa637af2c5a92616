/* SPDX-License-Identifier: Apache-2.0 */
#include "text/chat/chat.h"
#include <string.h>
#include <time.h>

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
    if (c->broken)
        return LMF_FAIL(c->ctx, LMF_E_UNSUPPORTED, "the model's chat template can't be used: %s", c->broken);
    if (!c->source)
        return LMF_FAIL(c->ctx, LMF_E_UNSUPPORTED, "the model has no chat template: it is a base model; use text or prompt and completion");
    static const char *const given[] = { "tools", "documents" };
    const lmf_token_ids *ids = lmf_tokenizer_ids(c->tokenizer);
    json_t *all = json_copy(vars);
    lmf_status s = all ? LMF_OK : LMF_E_MEMORY;
    if (!s && json_object_set_new(all, "add_generation_prompt", json_boolean(add_generation_prompt)))
        s = LMF_E_MEMORY;
    if (!s)
        s = set_token(all, "bos_token", c->tokenizer, ids->bos_unnamed ? -1 : ids->bos);
    if (!s)
        s = set_token(all, "eos_token", c->tokenizer, ids->eos_unnamed ? -1 : ids->eos);
    if (s)
        LMF_FAIL(c->ctx, s, "out of memory for a conversation");
    lmf_template_opts opts = lmf_template_opts_default();
    opts.now_unix = c->now_unix;
    for (int i = 0; !s && i < 2; i++) /* Hugging Face passes None for what is not given, and templates ask for that */
        if (!json_object_get(all, given[i]) && json_object_set_new(all, given[i], json_null()))
            s = LMF_NO_MEMORY(c->ctx, 64, "a conversation");
    if (!s)
        s = lmf_template_render(c->source, all, &opts, out, spans);
    if (s == LMF_E_ARG && !json_object_get(vars, "tools")) { /* one that runs over its tools, which None forbids: it sees no tools at all */
        json_object_del(all, "tools");
        s = lmf_template_render(c->source, all, &opts, out, spans);
    }
    json_decref(all);
    return s;
}

lmf_status lmf_chat_encode(const lmf_chat *c, json_t *vars, bool add_generation_prompt, lmf_ids *ids)
{
    lmf_buf text;
    lmf_buf_init(&text, c->ctx, CHAT_MAX_BYTES);
    lmf_positions foreign = { .ctx = c->ctx };
    lmf_status s = lmf_chat_render_guarded(c, vars, add_generation_prompt, &text, NULL, &foreign);
    if (!s)
        s = lmf_tokenizer_encode_guarded(c->tokenizer, lmf_buf_str(&text), text.n, LMF_ENCODE_SPECIAL, foreign.items, foreign.n, ids);
    lmf_buf_clear(&text);
    lmf_positions_clear(&foreign);
    return s;
}

lmf_status lmf_chat_encode_plain(const lmf_chat *c, const char *text, size_t n, unsigned flags, lmf_ids *ids)
{
    const lmf_token_ids *known = lmf_tokenizer_ids(c->tokenizer);
    size_t first = ids->n;
    flags |= c->control == LMF_CONTROL_NOWHERE ? 0 : LMF_ENCODE_SPECIAL;
    LMF_TRY(lmf_tokenizer_encode(c->tokenizer, text, n, flags, ids));
    if (known->bos >= 0 && known->add_bos && (flags & LMF_ENCODE_DEFAULTS) && ids->n > first + 1 && ids->data[first] == known->bos &&
        ids->data[first + 1] == known->bos)
        memmove(ids->data + first, ids->data + first + 1, (--ids->n - first) * sizeof *ids->data);
    return LMF_OK;
}

bool lmf_chat_is_eos(const lmf_chat *c, int32_t id)
{
    for (int i = 0; i < c->n_eos; i++)
        if (c->eos[i] == id)
            return true;
    return false;
}

void lmf_chat_add_eos(lmf_chat *c, int32_t id)
{
    if (id >= 0 && c->n_eos < LMF_MAX_EOS && !lmf_chat_is_eos(c, id))
        c->eos[c->n_eos++] = id;
}

lmf_control lmf_control_of(const char *word)
{
    return !strcmp(word, "everywhere") ? LMF_CONTROL_EVERYWHERE : !strcmp(word, "nowhere") ? LMF_CONTROL_NOWHERE : LMF_CONTROL_BY_ORIGIN;
}

int64_t lmf_chat_local_seconds(int64_t unix_seconds)
{
    time_t t = (time_t)unix_seconds;
    struct tm local;
    return localtime_r(&t, &local) ? unix_seconds + local.tm_gmtoff : unix_seconds;
}

int64_t lmf_chat_now(void) { return lmf_chat_local_seconds((int64_t)time(NULL)); }
