/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a match's score depends on its bytes, the one behind them and LMF_GUARD_CONTEXT before them, so that a stream which keeps those
 * finds what the whole text has. */
#include "guard/guard.h"
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include "guard/shapes.h"
#include "guard/vault.h"

static const char *const operators[] = { "replace", "redact", "mask", "hash", "encrypt", "keep", "block", "ignore", NULL };
static const char phrase_entity[] = "BLOCKED_PHRASE";

const char *lmf_guard_operator_name(lmf_guard_operator op) { return operators[op]; }

int lmf_guard_n_entities(const lmf_ctx *ctx)
{
    int n = 0;
    while (ctx->tables->recognizers[n])
        n++;
    return n;
}

const char *lmf_guard_entity_name(const lmf_ctx *ctx, int entity)
{
    return entity == LMF_GUARD_PHRASE ? phrase_entity : ctx->tables->recognizers[entity]->entity;
}

void lmf_guard_policy_init(lmf_guard_policy *p)
{
    *p = (lmf_guard_policy){ .threshold = 0.5f };
    p->by[LMF_GUARD_PHRASE] = LMF_GUARD_BLOCK;
}

/* The place of name in a NULL-ended list, or the sentence that says what there is. */
static lmf_status place(lmf_ctx *ctx, const char *what, const char *name, const char *const *list, int *out)
{
    char all[1024];
    size_t n = 0;
    for (*out = 0; list[*out]; ++*out)
        if (!strcmp(list[*out], name))
            return LMF_OK;
    for (int i = 0; list[i] && n < sizeof all; i++)
        n += (size_t)snprintf(all + n, sizeof all - n, "%s%s", i ? ", " : "", list[i]);
    return LMF_FAIL(ctx, LMF_E_ARG, "no %s is called %s; there are %s", what, name, all);
}

lmf_status lmf_guard_policy_set(lmf_ctx *ctx, lmf_guard_policy *p, const char *entity, const char *op)
{
    const char *names[LMF_GUARD_MAX_ENTITIES + 2] = { "DEFAULT" };
    int n = lmf_guard_n_entities(ctx), i, o;
    LMF_ASSERT(n <= LMF_GUARD_PHRASE);
    for (int k = 0; k < n; k++)
        names[k + 1] = ctx->tables->recognizers[k]->entity;
    names[n + 1] = phrase_entity;
    LMF_TRY(place(ctx, "entity", entity, names, &i));
    LMF_TRY(place(ctx, "operator", op, operators, &o));
    if (i == n + 1)
        p->by[LMF_GUARD_PHRASE] = (uint8_t)o;
    else if (i)
        p->by[i - 1] = (uint8_t)o;
    else
        memset(p->by, o, LMF_GUARD_PHRASE); /* phrases are named for what they are, and blocked unless it is said otherwise */
    return LMF_OK;
}

static bool is_space(int c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

lmf_status lmf_guard_policy_add_phrase(lmf_ctx *ctx, lmf_guard_policy *p, const char *phrase)
{
    size_t n = strlen(phrase);
    if (n == 0 || n >= LMF_GUARD_PHRASE_BYTES || is_space(phrase[0]) || is_space(phrase[n - 1]))
        return LMF_FAIL(ctx, LMF_E_ARG, "a phrase has 1 to %d bytes and no white space around it", LMF_GUARD_PHRASE_BYTES - 1);
    if (p->n_phrases == LMF_GUARD_MAX_PHRASES)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "there are more than %d phrases", LMF_GUARD_MAX_PHRASES);
    memcpy(p->phrase[p->n_phrases++], phrase, n + 1);
    return LMF_OK;
}

lmf_status lmf_guard_policy_check(lmf_ctx *ctx, const lmf_guard_policy *p)
{
    for (int k = 0; k < LMF_GUARD_MAX_ENTITIES; k++)
        if (p->by[k] == LMF_GUARD_ENCRYPT && strlen(p->key) < LMF_VAULT_LEAST_KEY)
            return LMF_FAIL(ctx, LMF_E_ARG, "the operator encrypt takes a key of %d characters or more", LMF_VAULT_LEAST_KEY);
    return LMF_OK;
}

/* ---- finding ---- */
static bool is_in_set(const char *set, int c)
{
    for (; *set; set++) {
        if (set[1] == '-' && set[2]) {
            if (c >= (unsigned char)set[0] && c <= (unsigned char)set[2])
                return true;
            set += 2;
        } else if (c == (unsigned char)*set) {
            return true;
        }
    }
    return false;
}

static int lower(int c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; }

/* Whether a word of the list stands before `at`. */
static bool has_context(const lmf_guard_text *t, size_t at, const char *const *words)
{
    size_t from = at > LMF_GUARD_CONTEXT ? at - LMF_GUARD_CONTEXT : 0;
    for (; *words; words++) {
        size_t n = strlen(*words), k;
        for (size_t i = from; i + n <= at; i++) {
            if (i > 0 && lmf_is_word((unsigned char)t->s[i - 1]))
                continue;
            for (k = 0; k < n && lower((unsigned char)t->s[i + k]) == (unsigned char)(*words)[k]; k++)
                ;
            if (k == n && (i + n == at || !lmf_is_word((unsigned char)t->s[i + n])))
                return true;
        }
    }
    return false;
}

static float judge(const lmf_guard_text *t, size_t at, const lmf_recognizer *r, lmf_match m, float threshold)
{
    enum { RISE = 35 };                          /* percent; Presidio's */
    if (m.n && r->context && m.score + RISE / 100.0f >= threshold && has_context(t, at, r->context))
        return m.score + RISE / 100.0f;
    return m.n ? m.score : 0;
}

/* The phrase at `at`, bytes; 0: it is not there. */
static size_t match_phrase(lmf_guard_text *t, size_t at, const char *phrase)
{
    size_t i = at;
    for (; *phrase; phrase++) {
        if (is_space(*phrase)) {
            size_t from = i;
            while (i - at < LMF_GUARD_LONGEST && is_space(lmf_guard_at(t, i)))
                i++;
            if (i == from)
                return 0;
            while (is_space(phrase[1]))
                phrase++;
        } else if (lower(lmf_guard_at(t, i)) != lower((unsigned char)*phrase)) {
            return 0;
        } else {
            i++;
        }
    }
    return lmf_is_word((unsigned char)phrase[-1]) && !lmf_guard_ends(t, i) ? 0 : i - at;
}

static lmf_match match_phrases(const lmf_guard_policy *p, lmf_guard_text *t, size_t at)
{
    lmf_match best = { 0, 1 };
    for (int32_t i = 0; i < p->n_phrases; i++) {
        size_t n = match_phrase(t, at, p->phrase[i]);
        best.n = n > best.n ? n : best.n;
    }
    return best;
}

static lmf_status check_match(lmf_guard_stream *s, const lmf_guard_text *t, size_t at, int k, lmf_match m)
{
    const char *why = t->failed ? t->failed : m.n > t->n - at || (m.n && !(m.score >= 0 && m.score <= 1)) ? "what it told of is not there"
                                                                                                       : NULL;
    if (!why)
        return LMF_OK;
    return s->status = LMF_FAIL(s->ctx, LMF_E_INTERNAL, "the recognizer of %s failed: %s; the text is not let through",
                                lmf_guard_entity_name(s->ctx, k), why);
}

/* The next finding from `from` on. False: none, and *decided is how far that is certain: the text's end if it is whole; or s->status. */
static bool next_finding(lmf_guard_stream *s, lmf_guard_text *t, size_t from, lmf_finding *out, size_t *decided)
{
    const lmf_recognizer *const *all = s->ctx->tables->recognizers;
    float threshold = s->policy->threshold;
    for (size_t at = from; at < t->n; at++) {
        uint64_t may = s->begins[(unsigned char)t->s[at]];
        if (!may || (at > 0 && lmf_is_word((unsigned char)t->s[at - 1])))
            continue;
        *out = (lmf_finding){ .begin = at };
        t->undecided = false;
        size_t mark = s->policy->key[0] ? lmf__vault_mark(s->policy->key, t, at) : 0; /* what was encrypted is not a secret of its own */
        if (mark) {
            at += mark - 1;
            continue;
        }
        for (int k = 0; may; k++, may >>= 1) {
            if (!(may & 1))
                continue;
            bool own = k == LMF_GUARD_PHRASE;
            lmf_match m = own ? match_phrases(s->policy, t, at) : all[k]->match(t, at);
            if (check_match(s, t, at, k, m))
                return false;
            float score = own ? (m.n ? 1 : 0) : judge(t, at, all[k], m, threshold);
            if (score >= threshold && score > 0 && (score > out->score || (score == out->score && at + m.n > out->end)))
                *out = (lmf_finding){ at, at + m.n, score, k };
        }
        *decided = at;
        if (t->undecided)
            return false;
        out->score = out->score > 1 ? 1 : out->score;
        if (out->end)
            return true;
    }
    *decided = t->n;
    return false;
}

/* ---- operators ---- */
static lmf_status put_hash(lmf_ctx *ctx, const char *salt, const char *text, size_t n, lmf_buf *out)
{
    uint8_t hash[SHA256_DIGEST_LENGTH];
    lmf_buf b;
    lmf_buf_init(&b, ctx, LMF_GUARD_LONGEST + sizeof ((lmf_guard_policy *)0)->salt);
    lmf_buf_puts(&b, salt);
    lmf_status s = lmf_buf_append(&b, text, n);
    if (!s)
        SHA256((const uint8_t *)b.data, b.n, hash);
    lmf_buf_clear(&b);
    for (size_t i = 0; !s && i < sizeof hash; i++)
        s = lmf_buf_printf(out, "%02x", hash[i]);
    return s;
}

static lmf_status put(lmf_guard_stream *s, const lmf_finding *f, const char *text, size_t n, lmf_buf *out)
{
    const lmf_guard_policy *p = s->policy;
    switch (p->by[f->entity]) {
    case LMF_GUARD_REPLACE: return lmf_buf_printf(out, "<%s>", lmf_guard_entity_name(s->ctx, f->entity));
    case LMF_GUARD_ENCRYPT: return lmf__vault_put(s->ctx, p->key, lmf_guard_entity_name(s->ctx, f->entity), text, n, out);
    case LMF_GUARD_KEEP: return lmf_buf_append(out, text, n);
    case LMF_GUARD_MASK:
        for (size_t i = 0; i < n; i++)
            if (((unsigned char)text[i] & 0xc0) != 0x80)
                LMF_TRY(lmf_buf_putc(out, '*'));
        return LMF_OK;
    case LMF_GUARD_HASH: return put_hash(s->ctx, p->salt, text, n, out);
    case LMF_GUARD_BLOCK: s->blocked = true, s->blocked_by = f->entity; return LMF_OK;
    default: return LMF_OK;                      /* redact */
    }
}

/* ---- streams ---- */
void lmf_guard_open(lmf_guard_stream *s, lmf_ctx *ctx, const lmf_guard_policy *p)
{
    *s = (lmf_guard_stream){ .ctx = ctx, .policy = p };
    for (int k = 0; ctx->tables->recognizers[k]; k++)
        for (int c = 0; c < 256 && p->by[k] != LMF_GUARD_IGNORE; c++)
            s->begins[c] |= (uint64_t)is_in_set(ctx->tables->recognizers[k]->starts, c) << k;
    for (int32_t i = 0; i < p->n_phrases && p->by[LMF_GUARD_PHRASE] != LMF_GUARD_IGNORE; i++) {
        int c = (unsigned char)p->phrase[i][0], other = lower(c) >= 'a' && lower(c) <= 'z' ? c ^ 32 : c;
        s->begins[c] |= UINT64_C(1) << LMF_GUARD_PHRASE;
        s->begins[other] |= UINT64_C(1) << LMF_GUARD_PHRASE;
    }
    lmf_buf_init(&s->held, ctx, SIZE_MAX / 2);
}

void lmf_guard_close(lmf_guard_stream *s) { lmf_buf_clear(&s->held); }

/* What has gone out and is no match's context any more goes. */
static void forget(lmf_guard_stream *s)
{
    enum { KEPT = LMF_GUARD_CONTEXT + 2 };       /* and what tells a border of a word */
    if (s->seen <= 2 * KEPT)
        return;
    size_t n = s->seen - KEPT;
    memmove(s->held.data, s->held.data + n, s->held.n - n);
    lmf_buf_truncate(&s->held, s->held.n - n);
    s->base += n;
    s->seen -= n;
}

static lmf_status push(lmf_guard_stream *s, const char *text, size_t n, bool last, lmf_buf *out)
{
    LMF_TRY(lmf_buf_append(&s->held, text, n));
    lmf_guard_text t = { .s = lmf_buf_str(&s->held), .n = s->held.n, .whole = last };
    lmf_finding f;
    size_t decided = s->seen;
    while (!s->blocked && next_finding(s, &t, s->seen, &f, &decided)) {
        lmf_finding told = { f.begin + s->base, f.end + s->base, f.score, f.entity };
        LMF_TRY(lmf_buf_append(out, t.s + s->seen, f.begin - s->seen));
        s->n_found[f.entity]++;
        if (s->found)
            s->found(s->user, &told, t.s + f.begin, f.end - f.begin);
        LMF_TRY(put(s, &f, t.s + f.begin, f.end - f.begin, out));
        s->seen = decided = f.end;
    }
    LMF_TRY(s->status);
    if (s->blocked)
        return LMF_OK;
    LMF_TRY(lmf_buf_append(out, t.s + s->seen, decided - s->seen));
    s->seen = decided;
    forget(s);
    return LMF_OK;
}

lmf_status lmf_guard_push(lmf_guard_stream *s, const char *text, size_t n, bool last, lmf_buf *out)
{
    if (s->status)
        return LMF_FAIL(s->ctx, s->status, "the text's check has failed before; nothing more of it is let through");
    if (!s->blocked)
        s->status = push(s, text, n, last, out);
    return s->status;
}
