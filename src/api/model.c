/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a model does not change once it is open; what is made when it is first used lies under its lock. */
#include <string.h>
#include <time.h>
#include "api/api.h"

enum { MAX_TOKENS = 1 << 28 };

void lmfast_model_opts_init(lmfast_model_opts *opts, size_t bytes)
{
    lmfast_model_opts o = { .struct_bytes = sizeof o };
    lmf__api_init(opts, bytes, &o, sizeof o);
}

static void release(lmfast_model *model)
{
    if (!model || atomic_fetch_sub(&model->n_refs, 1) != 1)
        return;
    lmfast_context *c = model->c;
    lmf_grammar_vocab_destroy(model->vocab);
    lmf_model_close(model->m);
    pthread_mutex_destroy(&model->lock);
    lmf_delete(c->ctx, model);
    lmf__context_release(c);
}

lmfast_status lmfast_model_open(lmfast_context *ctx, const char *path, const lmfast_model_opts *opts, lmfast_model **out)
{
    lmfast_model_opts o = lmfast_model_opts_default();
    *out = NULL;
    if (!ctx)
        return LMFAST_E_ARG;
    LMF_TRY(lmf__api_enter(ctx));
    LMF_TRY(lmf__api_take(ctx->ctx, "lmfast_model_opts", &o, opts, sizeof o));
    if (!path || !*path)
        return LMF_FAIL(ctx->ctx, LMF_E_ARG, "no path of a model was given");
    if (o.control < LMFAST_CONTROL_BY_ORIGIN || o.control > LMFAST_CONTROL_NOWHERE)
        return LMF_FAIL(ctx->ctx, LMF_E_ARG, "control is %d; allowed are LMFAST_CONTROL_*, 0 to 2", (int)o.control);
    lmfast_model *model = lmf_new(ctx->ctx, lmfast_model);
    if (!model)
        return LMF_NO_MEMORY(ctx->ctx, sizeof *model, "a model");
    model->c = lmf__context_retain(ctx);
    atomic_init(&model->n_refs, 1);
    pthread_mutex_init(&model->lock, NULL);
    model->tokenizer.model = model;
    lmf_status s = lmf_model_open(ctx->ctx, path, &model->m);
    if (!s && o.chat_template && (s = lmf_model_load_template(model->m, o.chat_template)))
        lmf_fail_prefix(ctx->ctx, s, "chat_template");
    if (s) {
        release(model);
        return s;
    }
    model->m->chat.now_unix = lmf_chat_local_seconds(o.clock_unix ? o.clock_unix : (int64_t)time(NULL));
    model->m->chat.control = (lmf_control)o.control;
    *out = model;
    return LMFAST_OK;
}

void lmfast_model_close(lmfast_model *model) { release(model); }
lmfast_context *lmfast_model_context(const lmfast_model *model) { return model ? model->c : NULL; }

lmfast_status lmfast_model_get_info(const lmfast_model *model, lmfast_model_info *info)
{
    if (!model)
        return LMFAST_E_ARG;
    const lmf_model *m = model->m;
    const lmf_config_base *c = lmf_model_config(m);
    lmfast_model_info i = { .path = m->path, .name = m->name, .arch = m->arch->name, .n_params = m->n_params, .context = c->context,
                            .n_layers = c->n_layers, .n_embd = c->width,
                            .vocab = c->vocab, .has_tokenizer = m->tokenizer != NULL,
                            .has_chat_template = m->chat_template != NULL };
    return lmf__api_give(model->c->ctx, "lmfast_model_info", info, &i, sizeof i);
}

/* ---- tokenizer ---- */
lmfast_status lmfast_model_tokenizer(lmfast_model *model, lmfast_tokenizer **out)
{
    *out = NULL;
    if (!model)
        return LMFAST_E_ARG;
    if (!model->m->tokenizer)
        return LMF_FAIL(model->c->ctx, LMF_E_UNSUPPORTED, "%s: the model has no tokenizer", model->m->path);
    *out = &model->tokenizer;
    return LMFAST_OK;
}

lmfast_status lmfast_tokenizer_encode(lmfast_tokenizer *tok, const char *text, size_t n_bytes, uint32_t flags, int32_t *ids, size_t cap,
                                      size_t *n)
{
    lmf_ids all;
    *n = 0;
    if (!tok || (!text && n_bytes))
        return LMFAST_E_ARG;
    lmf_ctx *ctx = tok->model->c->ctx;
    if (flags & ~15u)
        return LMF_FAIL(ctx, LMF_E_ARG, "flags is %u; allowed are LMFAST_ENCODE_*", flags);
    lmf_ids_init(&all, ctx, MAX_TOKENS);
    lmf_status s = lmf_tokenizer_encode(tok->model->m->tokenizer, text ? text : "", n_bytes, flags, &all);
    if (!s)
        lmf__api_fill(ids, cap, n, all.data, all.n, sizeof *ids);
    lmf_ids_clear(&all);
    return s;
}

lmfast_status lmfast_tokenizer_decode(lmfast_tokenizer *tok, const int32_t *ids, size_t n_ids, uint32_t flags, char *text, size_t cap,
                                      size_t *n)
{
    lmf_buf all;
    *n = 0;
    if (!tok || (!ids && n_ids))
        return LMFAST_E_ARG;
    lmf_ctx *ctx = tok->model->c->ctx;
    if (flags & ~1u)
        return LMF_FAIL(ctx, LMF_E_ARG, "flags is %u; allowed are LMFAST_DECODE_*", flags);
    lmf_buf_init(&all, ctx, LMF_POWER2(32));
    lmf_status s = lmf_tokenizer_decode(tok->model->m->tokenizer, ids, n_ids, flags, &all);
    if (!s)
        lmf__api_fill(text, cap, n, all.data, all.n, 1);
    lmf_buf_clear(&all);
    return s;
}

int32_t lmfast_tokenizer_n_tokens(const lmfast_tokenizer *tok) { return tok
                                                                ? (int32_t)lmf_tokenizer_n_tokens(tok->model->m->tokenizer) : 0; }

int32_t lmfast_tokenizer_find(const lmfast_tokenizer *tok, const char *text, size_t n_bytes)
{
    return tok && text ? lmf_tokenizer_find(tok->model->m->tokenizer, text, n_bytes) : -1;
}

int32_t lmfast_tokenizer_special(const lmfast_tokenizer *tok, const char *name)
{
    if (!tok || !name)
        return -1;
    const lmf_token_ids *id = lmf_tokenizer_ids(tok->model->m->tokenizer);
    const struct { const char *name; int32_t id; } all[] = { { "bos", id->bos }, { "eos", id->eos }, { "eot", id->eot }, { "pad", id->pad },
                                                              { "unk", id->unk } };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(name, all[i].name) == 0)
            return all[i].id;
    return -1;
}

bool lmfast_tokenizer_is_end(const lmfast_tokenizer *tok, int32_t id) { return tok && lmf_chat_is_eos(&tok->model->m->chat, id); }
