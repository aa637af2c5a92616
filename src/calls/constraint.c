/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what one answer needs at the stepping thread is made before it is submitted; a compiled grammar is walked by the stepping thread
 * alone. */
#include "calls/constraint.h"
#include <stdio.h>
#include <string.h>

enum { MAX_KEPT = 16, MAX_CHOICES = 1000, MAX_WORK = 100000, MAX_GRAMMAR_BYTES = 16 << 20 };

static bool is_space(uint8_t c) { return c == ' ' || c == '\n' || c == '\r' || c == '\t'; }

bool lmf__wish_is_any(const lmf_wish *w) { return w->kind != LMF_WISH_NONE || w->tools; }

/* ---- the mark ---- */

/* Bytes of the mark that match behind one more byte. */
static size_t match(const lmf_mark *m, size_t n, uint8_t byte)
{
    while (n && (uint8_t)m->text[n] != byte)
        n = m->back[n - 1];
    return (uint8_t)m->text[n] == byte ? n + 1 : 0;
}

/* Follows p[0 .. n) behind *n_match bytes of the mark and, where it counts, text that has *begun; true: the mark is complete, and *used
 * bytes of p are of it or before it. */
static bool find_mark(const lmf_mark *m, const uint8_t *p, size_t n, size_t *n_match, bool *begun, size_t *used)
{
    for (size_t i = 0; i < n; i++) {
        bool was = *begun;
        *begun |= !is_space(p[i]);
        *n_match = m->first_only && was ? 0 : match(m, *n_match, p[i]);
        if (*n_match == m->n) {
            *used = i + 1 - (m->first_only ? m->n : 0);
            return true;
        }
    }
    return false;
}

static lmf_status add_token(lmf_constraints *all, size_t i, int32_t id)
{
    lmf_mark *m = &all->mark;
    int32_t n = m->n_tok[i];
    if (n % 64 == 0) {
        int32_t *p = lmf_realloc(all->ctx, m->tok[i], (size_t)n * sizeof *p, (size_t)(n + 64) * sizeof *p);
        if (!p)
            return LMF_NO_MEMORY(all->ctx, (size_t)(n + 64) * sizeof *p, "the tokens that begin a call");
        m->tok[i] = p;
    }
    m->tok[i][m->n_tok[i]++] = id;
    return LMF_OK;
}

static lmf_status make_mark(lmf_constraints *all)
{
    lmf_mark *m = &all->mark;
    const lmf_tokenizer *t = all->chat->tokenizer;
    char lead[96];
    if (!all->form->known)
        return LMF_OK;
    m->first_only = !all->form->open[0];
    m->n = (size_t)snprintf(m->text, sizeof m->text, "%s", m->first_only ? "{" : all->form->open);
    for (size_t i = 1; i < m->n; i++)
        m->back[i] = (uint8_t)match(m, m->back[i - 1], (uint8_t)m->text[i]);
    snprintf(lead, sizeof lead, "%s%s", all->form->open, all->form->lead);
    LMF_TRY(lmf_tokenizer_encode(t, lead, strlen(lead), LMF_ENCODE_SPECIAL, &m->ids));
    for (size_t i = 0; i < m->n; i++)
        for (int32_t id = 0; (size_t)id < lmf_tokenizer_n_tokens(t); id++) {
            size_t n = 0, n_match = i, used;
            bool begun = i > 0;
            const uint8_t *p = lmf_tokenizer_piece(t, id, &n);
            if (p && find_mark(m, p, n, &n_match, &begun, &used))
                LMF_TRY(add_token(all, i, id));
        }
    return LMF_OK;
}

/* ---- kept grammars ---- */

void lmf__constraints_init(lmf_constraints *all, lmf_ctx *ctx, const lmf_chat *chat, const lmf_tool_form *form)
{
    *all = (lmf_constraints){ .ctx = ctx, .chat = chat, .form = form };
    lmf_ids_init(&all->mark.ids, ctx, 256);
    const lmf_tokenizer *t = chat->tokenizer;
    all->think_open = lmf_tokenizer_find(t, "<think>", 7), all->think_close = lmf_tokenizer_find(t, "</think>", 8);
    all->line[0] = lmf_tokenizer_find(t, "\n", 1), all->line[1] = lmf_tokenizer_find(t, "\n\n", 2);
    if (all->think_open < 0 || all->think_close < 0)
        all->think_open = all->think_close = -1;
}

bool lmf__prompt_thinks(const lmf_constraints *all, const int32_t *tok, int32_t n)
{
    while (n && tok[n - 1] != all->think_open && tok[n - 1] != all->think_close)
        n--;
    return n && all->think_open >= 0 && tok[n - 1] == all->think_open;
}

static void destroy(lmf_constraints *all, lmf_compiled *c)
{
    lmf_grammar_destroy(c->grammar);
    lmf_free(all->ctx, c->key, c->n_key);
    lmf_delete(all->ctx, c);
}

void lmf__constraints_clear(lmf_constraints *all)
{
    for (lmf_compiled *c = all->first, *next; c; c = next) {
        next = c->next;
        destroy(all, c);
    }
    for (size_t i = 0; i < 64; i++)
        lmf_free(all->ctx, all->mark.tok[i], (size_t)(all->mark.n_tok[i] + 63) / 64 * 64 * sizeof(int32_t));
    lmf_ids_clear(&all->mark.ids);
    lmf_grammar_vocab_destroy(all->vocab);
    *all = (lmf_constraints){ 0 };
}

void lmf__constraints_drop(lmf_constraints *all, lmf_compiled *c)
{
    if (!c || --c->n_users)
        return;
    lmf_compiled **oldest = NULL; /* the last that nobody follows; one that is used up at once */
    for (lmf_compiled **at = &all->first; *at && (!oldest || !lmf_grammar_is_spent((*oldest)->grammar)); at = &(*at)->next)
        if (!(*at)->n_users)
            oldest = at;
    if (all->n <= MAX_KEPT && !lmf_grammar_is_spent((*oldest)->grammar))
        return;
    c = *oldest;
    *oldest = c->next;
    all->n--;
    destroy(all, c);
}

static lmf_status open_vocab(lmf_constraints *all)
{
    const lmf_tokenizer *t = all->chat->tokenizer;
    if (all->vocab)
        return LMF_OK;
    LMF_TRY(lmf_grammar_vocab_create(all->ctx, t, all->chat->n_eos ? all->chat->eos : NULL, (size_t)all->chat->n_eos, &all->vocab));
    return make_mark(all);
}

static lmf_status compile_choice(lmf_constraints *all, const json_t *list, const lmf_grammar_opts *o, lmf_grammar **out)
{
    const char *choice[MAX_CHOICES];
    size_t n = json_array_size(list);
    if (n < 1 || n > MAX_CHOICES)
        return LMF_FAIL(all->ctx, LMF_E_ARG, "choices must be a list of 1 to %d texts", MAX_CHOICES);
    for (size_t i = 0; i < n; i++) {
        choice[i] = json_string_value(json_array_get(list, i));
        if (!choice[i] || strlen(choice[i]) != json_string_length(json_array_get(list, i)))
            return LMF_FAIL(all->ctx, LMF_E_ARG, "choice %zu is not a text, or has a NUL in it", i);
    }
    return lmf_grammar_compile_choices(all->ctx, all->vocab, choice, n, o, out);
}

static lmf_status compile_calls(lmf_constraints *all, const lmf_wish *w, const lmf_grammar_opts *o, lmf_grammar **out)
{
    const lmf_tool_form *form = all->form;
    char open[128], close[128];
    size_t n = json_array_size(w->tools);
    lmf_grammar_tool *tool = lmf_alloc(all->ctx, n * sizeof *tool);
    if (!tool)
        return LMF_NO_MEMORY(all->ctx, n * sizeof *tool, "the tools");
    for (size_t i = 0; i < n; i++) {
        const json_t *t = json_array_get(w->tools, i);
        tool[i] = (lmf_grammar_tool){ json_string_value(json_object_get(t, "name")), json_object_get(t, "parameters") };
    }
    snprintf(open, sizeof open, "%s%s", w->kind ? form->open : "", form->lead); /* alone, it begins behind the mark */
    snprintf(close, sizeof close, "%s%s", form->tail, form->close);
    lmf_grammar_calls calls = { .open = open, .between = form->between, .close = close, .arguments = form->arguments, .tool = tool,
                                .n_tools = n, .max_calls = form->between[0] ? w->max_calls : 1, .otherwise = w->kind ? w->value : NULL };
    lmf_status s = lmf_grammar_compile_calls(all->ctx, all->vocab, &calls, o, out);
    lmf_free(all->ctx, tool, n * sizeof *tool);
    return s;
}

static lmf_status compile(lmf_constraints *all, const lmf_wish *w, lmf_compiled *c)
{
    lmf_ctx *ctx = all->ctx;
    lmf_grammar_opts o = lmf_grammar_opts_default();
    const char *text = json_string_value(w->value);
    size_t n = json_string_length(w->value);
    lmf_status s;
    o.max_work = MAX_WORK, o.max_bytes = MAX_GRAMMAR_BYTES, o.closed = true;
    o.space = LMF_JSON_SPACE_ONE; /* as json.dumps: what needs no choice need not be sampled */
    if (w->tools)
        s = compile_calls(all, w, &o, &c->grammar);
    else if (w->kind == LMF_WISH_SCHEMA)
        s = lmf_grammar_compile_json_schema(ctx, all->vocab, w->value, &o, &c->grammar);
    else if (w->kind == LMF_WISH_CHOICE)
        s = compile_choice(all, w->value, &o, &c->grammar);
    else if (w->kind == LMF_WISH_REGEX)
        s = lmf_grammar_compile_regex(ctx, all->vocab, text, n, &o, &c->grammar);
    else
        s = lmf_grammar_compile_gbnf(ctx, all->vocab, text, n, &o, &c->grammar);
    lmf_matcher *m = NULL;
    if (!s)
        s = lmf_matcher_open(c->grammar, &m);
    if (!s)
        s = lmf_matcher_shortest(m, &c->n_shortest, NULL);
    lmf_matcher_close(m);
    return s;
}

/* What tells one grammar from another. */
static char *key_of(const lmf_constraints *all, const lmf_wish *w, size_t *n)
{
    json_t *j = json_pack("[i, i, O?, O?]", (int)w->kind, w->tools ? w->max_calls : 0, (json_t *)(uintptr_t)w->value, w->tools);
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL, *key = NULL;
    json_decref(j);
    *n = text ? strlen(text) + 1 : 0;
    if (text && (key = lmf_alloc(all->ctx, *n)))
        memcpy(key, text, *n);
    free(text); /* allowed: jansson's own memory */
    return key;
}

static lmf_compiled *find(lmf_constraints *all, const char *key, size_t n)
{
    for (lmf_compiled **at = &all->first, *c; (c = *at); at = &c->next)
        if (c->n_key == n && memcmp(c->key, key, n) == 0) {
            *at = c->next;
            c->next = all->first;
            return all->first = c;
        }
    return NULL;
}

lmf_status lmf__constraints_get(lmf_constraints *all, const lmf_wish *w, lmf_compiled **out)
{
    size_t n = 0;
    char *key = key_of(all, w, &n);
    lmf_compiled *c = key ? find(all, key, n) : NULL;
    *out = NULL;
    if (c)
        lmf_free(all->ctx, key, n);
    else if (!key || !(c = lmf_new(all->ctx, lmf_compiled))) {
        lmf_free(all->ctx, key, n);
        return LMF_NO_MEMORY(all->ctx, n, "the request");
    } else {
        *c = (lmf_compiled){ .key = key, .n_key = n, .calls = w->tools && !w->kind };
        lmf_status s = open_vocab(all);
        if (!s)
            s = compile(all, w, c);
        if (s) {
            destroy(all, c);
            return s;
        }
        c->next = all->first;
        all->first = c;
        all->n++;
    }
    c->n_users++;
    *out = c;
    return LMF_OK;
}

/* ---- one answer ---- */

lmf_status lmf__constrained_open(lmf_constrained *a, const lmf_constraints *all, const lmf_compiled *c, bool must_call, bool thinks,
                                 int32_t n_prompt, int32_t n_most)
{
    *a = (lmf_constrained){ .all = all, .c = c, .n_prompt = n_prompt, .n_most = n_most };
    lmf_buf_init(&a->text, all->ctx, LMF_GRAMMAR_MAX_BYTES);
    lmf_ids_init(&a->ids, all->ctx, LMF_GRAMMAR_MAX_BYTES);
    a->phase = !c->calls ? LMF_ANSWER_BOUND : must_call ? LMF_ANSWER_LEAD : LMF_ANSWER_FREE;
    a->think = thinks ? LMF_THINK_NOW : all->think_open >= 0 ? LMF_THINK_MAY : LMF_THINK_OVER;
    a->n_lead = a->phase == LMF_ANSWER_LEAD ? (int32_t)all->mark.ids.n : 0;
    if (a->phase == LMF_ANSWER_LEAD && !a->n_lead)
        a->phase = LMF_ANSWER_BOUND;
    int64_t least = a->phase == LMF_ANSWER_FREE ? 1 : (int64_t)c->n_shortest + a->n_lead;
    if (least > n_most)
        return LMF_FAIL(all->ctx, LMF_E_LIMIT, "the shortest answer that fits what is asked for has %lld tokens, and there is room "
                        "for %d: raise max_tokens, or shorten the prompt", (long long)least, n_most);
    LMF_TRY(lmf_matcher_open(c->grammar, &a->matcher));
    return lmf_matcher_open(c->grammar, &a->probe);
}

void lmf__constrained_close(lmf_constrained *a)
{
    lmf_matcher_close(a->matcher);
    lmf_matcher_close(a->probe);
    lmf_buf_clear(&a->text);
    lmf_ids_clear(&a->ids);
    *a = (lmf_constrained){ 0 };
}

static lmf_status follow_free(lmf_constrained *a, int32_t id)
{
    size_t n = 0, used;
    const lmf_mark *m = &a->all->mark;
    const uint8_t *p = lmf_tokenizer_piece(a->all->chat->tokenizer, id, &n);
    if (!p || !find_mark(m, p, n, &a->n_match, &a->begun, &used)) {
        if (m->first_only && a->begun)
            a->phase = LMF_ANSWER_TEXT;
        return LMF_OK;
    }
    a->phase = LMF_ANSWER_BOUND;
    return lmf_matcher_accept_bytes(a->matcher, p + used, n - used);
}

static lmf_status follow(lmf_constrained *a, int32_t id)
{
    const lmf_constraints *all = a->all;
    bool line = id == all->line[0] || id == all->line[1];
    if (a->think == LMF_THINK_NOW || (a->think == LMF_THINK_MAY && id == all->think_open)) {
        a->think = a->think == LMF_THINK_NOW && id == all->think_close ? LMF_THINK_DONE : LMF_THINK_NOW;
        return LMF_OK;
    }
    bool skip = a->think == LMF_THINK_DONE && line && a->phase != LMF_ANSWER_FREE;
    a->think = LMF_THINK_OVER;
    if (skip)
        return LMF_OK;
    switch (a->phase) {
    case LMF_ANSWER_FREE: return follow_free(a, id);
    case LMF_ANSWER_BOUND: return lmf_matcher_accept(a->matcher, id);
    case LMF_ANSWER_LEAD:
        if (++a->i_lead < a->n_lead)
            return LMF_OK;
        a->phase = LMF_ANSWER_BOUND;
        return lmf_matcher_accept_bytes(a->matcher, a->all->form->lead, strlen(a->all->form->lead));
    case LMF_ANSWER_TEXT: break;
    }
    return LMF_OK;
}

/* All tokens but those with which a call would begin in a wrong way, or too late. */
static lmf_status mask_free(lmf_constrained *a, int32_t n_left, uint32_t *bits)
{
    const lmf_mark *m = &a->all->mark;
    const lmf_tokenizer *t = a->all->chat->tokenizer;
    memset(bits, 0xFF, (lmf_tokenizer_n_tokens(t) + 31) / 32 * sizeof *bits);
    for (int32_t i = 0; a->phase == LMF_ANSWER_FREE && i < m->n_tok[a->n_match]; i++) {
        int32_t id = m->tok[a->n_match][i];
        size_t n = 0, n_match = a->n_match, used = 0;
        bool begun = a->begun;
        int least = 0;
        const uint8_t *p = lmf_tokenizer_piece(t, id, &n);
        if (!find_mark(m, p, n, &n_match, &begun, &used))
            continue;
        lmf_matcher_reset(a->probe);
        lmf_status s = lmf_matcher_accept_bytes(a->probe, p + used, n - used);
        if (s && s != LMF_E_ARG)
            return s;
        if (!s)
            LMF_TRY(lmf_matcher_shortest(a->probe, &least, NULL));
        if (s || least >= n_left)
            bits[id / 32] &= ~(UINT32_C(1) << id % 32);
    }
    return LMF_OK;
}

static void allow(int32_t id, uint32_t *bits)
{
    if (id >= 0)
        bits[id / 32] |= UINT32_C(1) << id % 32;
}

/* Anything while there is room for the answer behind it; then its end. */
static void mask_thought(const lmf_constrained *a, int32_t n_left, int32_t n_need, uint32_t *bits)
{
    const lmf_chat *chat = a->all->chat;
    size_t n = lmf_tokenizer_n_tokens(chat->tokenizer);
    if (n_left <= n_need + 2) {
        allow(a->all->think_close, bits);
        return;
    }
    memset(bits, 0xFF, (n + 31) / 32 * sizeof *bits);
    for (int i = 0; a->phase != LMF_ANSWER_FREE && i < chat->n_eos; i++)
        bits[chat->eos[i] / 32] &= ~(UINT32_C(1) << chat->eos[i] % 32);
}

static lmf_status catch_up(lmf_constrained *a, const int32_t *tok, int n_tok)
{
    for (; a->n_prompt + a->n_seen < n_tok; a->n_seen++)
        LMF_TRY(follow(a, tok[a->n_prompt + a->n_seen]));
    return LMF_OK;
}

/* The forced text as tokens into a->ids, its end included where nothing else may come. */
static lmf_status find_forced(lmf_constrained *a)
{
    const lmf_chat *chat = a->all->chat;
    lmf_buf_truncate(&a->text, 0);
    a->ids.n = 0;
    LMF_TRY(lmf_matcher_forced(a->matcher, &a->text));
    LMF_TRY(lmf_tokenizer_encode(chat->tokenizer, lmf_buf_str(&a->text), a->text.n, 0, &a->ids));
    lmf_matcher_copy(a->probe, a->matcher);
    LMF_TRY(lmf_matcher_accept_bytes(a->probe, lmf_buf_str(&a->text), a->text.n));
    if (lmf_matcher_must_end(a->probe) && chat->n_eos)
        return lmf_ids_append(&a->ids, &chat->eos[0], 1);
    a->ids.n -= a->ids.n > 0;
    return LMF_OK;
}

int32_t lmf__constrained_force(lmf_constrained *a, const int32_t *tok, int n_tok, int32_t *out, int cap)
{
    int least = 0, n = 0;
    if (catch_up(a, tok, n_tok)) /* the mask says so again */
        return 0;
    if (a->think != LMF_THINK_OVER)
        return 0;
    for (; a->phase == LMF_ANSWER_LEAD && a->i_lead + n < a->n_lead && n < cap; n++)
        out[n] = a->all->mark.ids.data[a->i_lead + n];
    if (a->phase != LMF_ANSWER_BOUND || find_forced(a) || a->ids.n == 0)
        return n;
    /* fewer tokens might write it: only where there is room for those */
    lmf_matcher_copy(a->probe, a->matcher);
    for (size_t i = 0; i < a->ids.n; i++)
        if (lmf_matcher_accept(a->probe, a->ids.data[i]))
            return 0;
    if (lmf_matcher_shortest(a->probe, &least, NULL) || (int64_t)a->ids.n + least > a->n_most - a->n_seen || a->ids.n > (size_t)cap)
        return 0;
    memcpy(out, a->ids.data, a->ids.n * sizeof *out);
    return (int32_t)a->ids.n;
}

static lmf_status mask_answer(lmf_constrained *a, int32_t n_left, uint32_t *bits)
{
    if (a->phase == LMF_ANSWER_BOUND)
        return lmf_matcher_mask(a->matcher, n_left, bits);
    if (a->phase != LMF_ANSWER_LEAD)
        return mask_free(a, n_left, bits);
    allow(a->all->mark.ids.data[a->i_lead], bits);
    return LMF_OK;
}

lmf_status lmf__constrained_mask(void *state, const int32_t *tok, int n_tok, uint32_t *bits)
{
    lmf_constrained *a = state;
    LMF_TRY(catch_up(a, tok, n_tok));
    int32_t n_left = a->n_most - a->n_seen, n_need = a->phase == LMF_ANSWER_FREE ? 0 : a->c->n_shortest + a->n_lead;
    if (a->think == LMF_THINK_NOW) {
        mask_thought(a, n_left, n_need, bits);
        return LMF_OK;
    }
    LMF_TRY(mask_answer(a, n_left, bits));
    if (a->think == LMF_THINK_MAY && n_left > n_need + 3)
        allow(a->all->think_open, bits);
    for (int i = 0; a->think == LMF_THINK_DONE && n_left > n_need && i < 2; i++)
        allow(a->all->line[i], bits);
    return LMF_OK;
}
