/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a match's score depends on its bytes, the one behind them and LMF_GUARD_CONTEXT before them, so that a stream which keeps those
 * finds what the whole text has. */
#include "guard/guard.h"
#include <openssl/sha.h>
#include <stdio.h>
#include <string.h>
#include "guard/shapes.h"

static const char *const operators[] = { "replace", "redact", "mask", "hash", "keep", "block", "ignore", NULL };

const char *lmf_guard_operator_name(lmf_guard_operator op) { return operators[op]; }

int lmf_guard_n_entities(const lmf_ctx *ctx)
{
    int n = 0;
    while (ctx->tables->recognizers[n])
        n++;
    return n;
}

void lmf_guard_policy_init(lmf_guard_policy *p) { *p = (lmf_guard_policy){ .threshold = 0.5f }; }

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
    LMF_ASSERT(n <= LMF_GUARD_MAX_ENTITIES);
    for (int k = 0; k < n; k++)
        names[k + 1] = ctx->tables->recognizers[k]->entity;
    LMF_TRY(place(ctx, "entity", entity, names, &i));
    LMF_TRY(place(ctx, "operator", op, operators, &o));
    if (i)
        p->by[i - 1] = (uint8_t)o;
    else
        memset(p->by, o, sizeof p->by);
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

/* The next finding from `from` on. False: none, and *decided is how far that is certain: the text's end if it is whole. */
static bool next_finding(const lmf_guard_stream *s, lmf_guard_text *t, size_t from, lmf_finding *out, size_t *decided)
{
    const lmf_recognizer *const *all = s->ctx->tables->recognizers;
    float threshold = s->policy->threshold;
    for (size_t at = from; at < t->n; at++) {
        uint64_t may = s->begins[(unsigned char)t->s[at]];
        if (!may || (at > 0 && lmf_is_word((unsigned char)t->s[at - 1])))
            continue;
        *out = (lmf_finding){ .begin = at };
        t->undecided = false;
        for (int k = 0; may; k++, may >>= 1) {
            if (!(may & 1))
                continue;
            lmf_match m = all[k]->match(t, at);
            float score = judge(t, at, all[k], m, threshold);
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
    case LMF_GUARD_REPLACE: return lmf_buf_printf(out, "<%s>", s->ctx->tables->recognizers[f->entity]->entity);
    case LMF_GUARD_KEEP: return lmf_buf_append(out, text, n);
    case LMF_GUARD_MASK:
        for (size_t i = 0; i < n; i++)
            if (((unsigned char)text[i] & 0xc0) != 0x80)
                LMF_TRY(lmf_buf_putc(out, '*'));
        return LMF_OK;
    case LMF_GUARD_HASH: return put_hash(s->ctx, p->salt, text, n, out);
    case LMF_GUARD_BLOCK: s->blocked = true; return LMF_OK;
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

lmf_status lmf_guard_push(lmf_guard_stream *s, const char *text, size_t n, bool last, lmf_buf *out)
{
    if (s->blocked)
        return LMF_OK;
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
    if (s->blocked)
        return LMF_OK;
    LMF_TRY(lmf_buf_append(out, t.s + s->seen, decided - s->seen));
    s->seen = decided;
    forget(s);
    return LMF_OK;
}
