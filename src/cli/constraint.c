/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the matcher has seen just the tokens of the answer so far; the mask's maker catches up before each mask. */
#include "cli/constraint.h"
#include <string.h>
#include "base/file.h"

enum { MAX_CHOICES = 1000 };

static lmf_status make_mask(void *user, void *grammar, const int32_t *tok, int n_tok, uint32_t *bits)
{
    lmf_constraint *c = grammar;
    (void)user;
    for (; c->n_prompt + c->n_seen < n_tok; c->n_seen++)
        LMF_TRY(lmf_matcher_accept(c->matcher, tok[c->n_prompt + c->n_seen]));
    return lmf_matcher_mask(c->matcher, c->n_most - c->n_seen, bits);
}

static lmf_status open_vocab(lmf_constraint *c, lmf_answer *a)
{
    const lmf_tokenizer *t = a->model->tokenizer;
    lmf_ids end;
    lmf_ids_init(&end, a->cli->ctx, lmf_tokenizer_n_tokens(t));
    lmf_status s = LMF_OK;
    for (int32_t id = 0; !s && (size_t)id < lmf_tokenizer_n_tokens(t); id++)
        if (lmf_chat_is_eos(&a->model->chat, id))
            s = lmf_ids_append(&end, &id, 1);
    s = s ? s : lmf_grammar_vocab_create(a->cli->ctx, t, end.n ? end.data : NULL, end.n, &c->vocab);
    lmf_ids_clear(&end);
    return s;
}

static lmf_status from_file(lmf_constraint *c, lmf_ctx *ctx, const char *path, bool schema)
{
    char *text;
    size_t n;
    json_error_t e;
    LMF_TRY(lmf_file_read(ctx, path, LMF_GRAMMAR_MAX_BYTES, &text, &n));
    json_t *root = schema ? json_loadb(text, n, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY | JSON_ALLOW_NUL, &e) : NULL;
    lmf_status s;
    if (schema && !root)
        s = LMF_FAIL(ctx, LMF_E_FORMAT, "no JSON: %s (line %d, column %d)", e.text, e.line, e.column);
    else if (schema)
        s = lmf_grammar_compile_json_schema(ctx, c->vocab, root, NULL, &c->grammar);
    else
        s = lmf_grammar_compile_gbnf(ctx, c->vocab, text, n, NULL, &c->grammar);
    json_decref(root);
    lmf_free(ctx, text, n + 1);
    return s ? lmf_fail_prefix(ctx, s, "%s", path) : LMF_OK;
}

static lmf_status from_choices(lmf_constraint *c, lmf_ctx *ctx, const char *list)
{
    const char *choice[MAX_CHOICES];
    size_t n = 0, bytes = strlen(list) + 1;
    char *copy = lmf_alloc(ctx, bytes);
    if (!copy)
        return LMF_NO_MEMORY(ctx, bytes, "choices");
    memcpy(copy, list, bytes);
    for (char *p = copy; p && n < MAX_CHOICES; n++) {
        choice[n] = p;
        p = strchr(p, ',');
        if (p)
            *p++ = 0;
        if (p && n + 1 == MAX_CHOICES)
            n++;
    }
    lmf_status s = n > MAX_CHOICES ? LMF_FAIL(ctx, LMF_E_LIMIT, "--choices has more than %d texts", MAX_CHOICES)
                                   : lmf_grammar_compile_choices(ctx, c->vocab, choice, n, NULL, &c->grammar);
    lmf_free(ctx, copy, bytes);
    return s;
}

lmf_status lmf__constraint_open(const lmf_constraint_args *args, lmf_constraint *c, lmf_answer *a)
{
    lmf_ctx *ctx = a->cli->ctx;
    int n = (args->schema != NULL) + (args->grammar != NULL) + (args->regex != NULL) + (args->choices != NULL);
    if (n > 1)
        return LMF_FAIL(ctx, LMF_E_ARG, "give one of --schema, --grammar, --regex and --choices");
    if (!n)
        return LMF_OK;
    LMF_TRY(open_vocab(c, a));
    if (args->schema || args->grammar)
        LMF_TRY(from_file(c, ctx, args->schema ? args->schema : args->grammar, args->schema != NULL));
    else if (args->regex)
        LMF_TRY(lmf_grammar_compile_regex(ctx, c->vocab, args->regex, strlen(args->regex), NULL, &c->grammar));
    else
        LMF_TRY(from_choices(c, ctx, args->choices));
    LMF_TRY(lmf_matcher_open(c->grammar, &c->matcher));
    a->mask = make_mask, a->grammar = c;
    return LMF_OK;
}

void lmf__constraint_close(lmf_constraint *c)
{
    lmf_matcher_close(c->matcher);
    lmf_grammar_destroy(c->grammar);
    lmf_grammar_vocab_destroy(c->vocab);
}

lmf_status lmf__constraint_begin(lmf_answer *a)
{
    lmf_constraint *c = a->grammar;
    lmf_engine_info info;
    int least;
    if (!c)
        return LMF_OK;
    lmf_engine_get_info(a->engine, &info);
    lmf_matcher_reset(c->matcher);
    LMF_TRY(lmf_matcher_shortest(c->matcher, &least, NULL));
    int64_t room = info.context - (int64_t)a->ids.n;
    c->n_prompt = (int32_t)a->ids.n, c->n_seen = 0;
    c->n_most = (int32_t)(a->args->max_tokens < room ? a->args->max_tokens : room);
    if (least > c->n_most)
        return LMF_FAIL(a->cli->ctx, LMF_E_ARG,
            "the shortest answer that fits has %d tokens, and there is room for %d; raise --max-tokens or --context", least,
                        c->n_most < 0 ? 0 : c->n_most);
    return LMF_OK;
}
