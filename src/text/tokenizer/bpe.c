/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what merges can give is decided in init and nowhere else: a merge into a control, unknown or unused token is
 * left out there, and such tokens are not in `words`. So no text reaches them by way of a word. */
#include "text/tokenizer/bpe.h"
#include <string.h>
#include "text/tokenizer/pretok.h"

enum {
    MAX_PROBES = 512,            /* tables are at most half full, so no honest vocabulary comes near */
    MAX_PIECES_BYTES = 1 << 30,
    SHORT_WORD = 40              /* bytes up to which a scan for the least rank beats the tree */
};
#define NO_RANK UINT32_MAX

/* ---- hash tables: linear probing, a probe count that a hostile vocabulary cannot push up ---- */
static uint32_t hash_bytes(const uint8_t *p, size_t n)
{
    uint64_t h = n * 0x9e3779b97f4a7c15u, w;
    for (; n >= 8; p += 8, n -= 8) {
        memcpy(&w, p, 8);
        h = (h ^ w) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    if (n) {
        w = 0;
        for (size_t i = 0; i < n; i++)
            w |= (uint64_t)p[i] << (8 * i);
        h = (h ^ w) * 0xff51afd7ed558ccdu;
        h ^= h >> 32;
    }
    h *= 0xc4ceb9fe1a85ec53u;
    return (uint32_t)(h >> 32);
}

static size_t slots_for(size_t n)
{
    size_t k = 16;
    while (k < 2 * n)
        k *= 2;
    return k;
}

static size_t merge_slot(uint64_t pair, size_t n_slots)
{
    uint64_t h = pair * 0x9e3779b97f4a7c15u;
    return (size_t)((h ^ h >> 29) >> 16) & (n_slots - 1);
}

static const lmf__bpe_merge *find_listed(const lmf_bpe *b, int32_t left, int32_t right)
{
    uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    for (size_t i = merge_slot(pair, b->n_merges);; i = (i + 1) & (b->n_merges - 1)) {
        const lmf__bpe_merge *m = &b->merges[i];
        if (m->pair == pair && m->id1)
            return m;
        if (!m->id1)
            return NULL;
    }
}

int32_t lmf__bpe_find(const lmf_bpe *b, const uint8_t *word, size_t n)
{
    uint32_t h = hash_bytes(word, n);
    for (size_t i = h & (b->n_words - 1);; i = (i + 1) & (b->n_words - 1)) {
        lmf__bpe_slot s = b->words[i];
        if (!s.id1)
            return -1;
        uint32_t begin = b->begin[s.id1 - 1];
        if (s.hash == h && b->begin[s.id1] - begin == n && !memcmp(b->bytes + begin, word, n))
            return (int32_t)s.id1 - 1;
    }
}

static bool is_byte(const lmf_bpe *b, int32_t id) { return b->kind[id] == LMF_TOKEN_BYTE; }

typedef struct merge { uint32_t rank, to; } merge; /* rank NO_RANK: there is none */

static merge find_merge(const lmf_bpe *b, int32_t left, int32_t right)
{
    uint8_t both[2 * LMF_TOKEN_MAX_BYTES];
    if (!b->rank) {
        const lmf__bpe_merge *m = find_listed(b, left, right);
        return m ? (merge){ m->rank, m->id1 - 1 } : (merge){ NO_RANK, 0 };
    }
    size_t l = b->begin[left + 1] - b->begin[left], r = b->begin[right + 1] - b->begin[right];
    if (l + r > LMF_TOKEN_MAX_BYTES || is_byte(b, left) || is_byte(b, right) || left == b->unk || right == b->unk)
        return (merge){ NO_RANK, 0 };
    memcpy(both, b->bytes + b->begin[left], l);
    memcpy(both + l, b->bytes + b->begin[right], r);
    int32_t to = lmf__bpe_find(b, both, l + r);
    return to < 0 ? (merge){ NO_RANK, 0 } : (merge){ b->rank[to], (uint32_t)to };
}

uint32_t lmf__bpe_rank(const lmf_bpe *b, int32_t left, int32_t right) { return find_merge(b, left, right).rank; }

/* ---- init ---- */
typedef struct names {           /* the vocabulary's own spelling to id, while merges are read */
    const lmf_vocab *v;
    lmf__bpe_slot   *slot;
    size_t           n_slots;
} names;

static size_t token_bytes(const lmf_vocab *v, size_t i) { return v->token_bytes ? v->token_bytes[i] : strlen(v->token[i]); }

static lmf__bpe_slot *name_slot(const names *t, const uint8_t *text, size_t n, uint32_t h)
{
    for (size_t i = h & (t->n_slots - 1), k = 0; k < MAX_PROBES; k++, i = (i + 1) & (t->n_slots - 1)) {
        lmf__bpe_slot *s = &t->slot[i];
        if (!s->id1 || (s->hash == h && token_bytes(t->v, s->id1 - 1) == n && !memcmp(t->v->token[s->id1 - 1], text, n)))
            return s;
    }
    return NULL;
}

static int32_t name_find(const names *t, const void *text, size_t n)
{
    const lmf__bpe_slot *s = name_slot(t, text, n, hash_bytes(text, n));
    return s && s->id1 ? (int32_t)s->id1 - 1 : -1;
}

static lmf_status names_init(names *t, lmf_ctx *ctx, const lmf_vocab *v)
{
    for (size_t i = 0; i < v->n_tokens; i++) {
        size_t n = token_bytes(v, i);
        uint32_t h = hash_bytes((const uint8_t *)v->token[i], n);
        lmf__bpe_slot *s = name_slot(t, (const uint8_t *)v->token[i], n, h);
        if (!s)
            return LMF_FAIL(ctx, LMF_E_LIMIT, "tokens are made to collide: no place for token %zu within %d steps", i, MAX_PROBES);
        if (s->id1)
            return LMF_FAIL(ctx, LMF_E_FORMAT, "token %zu has the text of token %u: \"%.*s\"", i, s->id1 - 1,
                            (int)(n < 200 ? n : 200), v->token[i]);
        *s = (lmf__bpe_slot){ h, (uint32_t)i + 1 };
    }
    return LMF_OK;
}

/* The byte-level alphabet: printable Latin-1 stands for itself, the other bytes follow from U+0100 on. */
enum { ALPHABET = 324 };
static void alphabet_init(int16_t byte_of[ALPHABET])
{
    int next = 256;
    memset(byte_of, 0xff, ALPHABET * sizeof *byte_of);
    for (int b = 0; b < 256; b++) {
        bool itself = (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b != 0xad);
        byte_of[itself ? b : next++] = (int16_t)b;
    }
}

/* Bytes of a token of n characters' bytes into out (n bytes); their count, or 0 if a character is not in the alphabet. */
static size_t to_bytes(const int16_t byte_of[ALPHABET], const uint8_t *text, size_t n, uint8_t *out)
{
    size_t k = 0;
    for (size_t i = 0; i < n;) {
        int cp = text[i++];
        if (cp >= 0x80) {
            if (cp < 0xc2 || cp > 0xc5 || i == n || (text[i] & 0xc0) != 0x80)
                return 0;
            cp = (cp & 0x1f) << 6 | (text[i++] & 0x3f);
        }
        if (cp >= ALPHABET || byte_of[cp] < 0)
            return 0;
        out[k++] = (uint8_t)byte_of[cp];
    }
    return k;
}

/* "<0x0A>" is a byte, U+2581 a space. Bytes of a token of n bytes into out; 0: a BYTE that names none. */
static size_t to_spaced(uint8_t kind, const uint8_t *text, size_t n, uint8_t *out)
{
    size_t k = 0;
    if (kind == LMF_TOKEN_BYTE) {
        int b = lmf_byte_token(text, n);
        out[0] = (uint8_t)b;
        return b >= 0;
    }
    for (size_t i = 0; i < n;) {
        bool space = n - i >= 3 && !memcmp(text + i, LMF_SPACE_MARK, 3);
        out[k++] = space ? ' ' : text[i];
        i += space ? 3 : 1;
    }
    return k;
}

int lmf_byte_token(const void *text, size_t n)
{
    static const char digits[] = "0123456789ABCDEF";
    const char *p = text;
    const char *hi = n == 6 && p[3] ? strchr(digits, p[3]) : NULL, *lo = n == 6 && p[4] ? strchr(digits, p[4]) : NULL;
    return hi && lo && !memcmp(p, "<0x", 3) && p[5] == '>' ? (int)((hi - digits) * 16 + (lo - digits)) : -1;
}

static lmf_status put_word(lmf_bpe *b, size_t i)
{
    size_t k = b->begin[i + 1] - b->begin[i];
    uint32_t h = hash_bytes(b->bytes + b->begin[i], k);
    size_t slot = h & (b->n_words - 1), probes = 0;
    for (; b->words[slot].id1 && probes < MAX_PROBES; probes++)
        slot = (slot + 1) & (b->n_words - 1);
    if (probes == MAX_PROBES)
        return LMF_FAIL(b->ctx, LMF_E_LIMIT, "tokens are made to collide: no place for token %zu within %d steps", i, MAX_PROBES);
    b->words[slot] = (lmf__bpe_slot){ h, (uint32_t)i + 1 };
    return LMF_OK;
}

static lmf_status spaced_init(lmf_bpe *b, const lmf_vocab *v)
{
    size_t at = 0;
    memset(b->ascii_id, 0xff, sizeof b->ascii_id);
    for (size_t i = 0; i < b->n_tokens; i++) {
        uint8_t kind = b->kind[i] = v->kind ? v->kind[i] : LMF_TOKEN_NORMAL;
        size_t n = token_bytes(v, i), k = to_spaced(kind, (const uint8_t *)v->token[i], n, b->bytes + at);
        if (!k)
            return LMF_FAIL(b->ctx, LMF_E_FORMAT, "token %zu is marked as a byte, but is \"%.*s\", not <0x00> to <0xFF>", i,
                            (int)(n < 100 ? n : 100), v->token[i]);
        const uint8_t *p = b->bytes + at;
        b->begin[i] = (uint32_t)at;
        b->begin[i + 1] = (uint32_t)(at += k);
        if (kind == LMF_TOKEN_BYTE)
            b->byte_id[*p] = (int32_t)i;
        if ((kind != LMF_TOKEN_NORMAL && kind != LMF_TOKEN_USER_DEFINED) || memchr(v->token[i], ' ', n)) /* text has marks for spaces */
            continue;
        if (k == 1 && *p < 0x80)
            b->ascii_id[*p] = (int32_t)i;
        for (size_t c = 1; c < k; c++)
            if (p[c] == ' ' && p[c - 1] != ' ')
                b->bridge[p[c - 1]] = true;
        LMF_TRY(put_word(b, i));
    }
    b->unk = v->unk;
    b->fuse_unk = v->fuse_unk;
    b->can_cut = b->ascii_id[' '] >= 0;
    return LMF_OK;
}

static lmf_status literal_init(lmf_bpe *b, const lmf_vocab *v)
{
    size_t at = 0;
    for (size_t i = 0; i < b->n_tokens; i++) {
        size_t n = token_bytes(v, i);
        uint8_t kind = b->kind[i] = v->kind ? v->kind[i] : LMF_TOKEN_NORMAL;
        memcpy(b->bytes + at, v->token[i], n);
        b->begin[i] = (uint32_t)at;
        b->begin[i + 1] = (uint32_t)(at += n);
        bool is_word = kind == LMF_TOKEN_USER_DEFINED && v->added && (v->added[i] & LMF_ADDED_WORD);
        if (kind == LMF_TOKEN_NORMAL || is_word)
            LMF_TRY(put_word(b, i));
    }
    return LMF_OK;
}

/* Order of scores as numbers: the greatest is 0. */
static lmf_status rank_init(lmf_bpe *b, const lmf_vocab *v)
{
    if (!v->score)
        return LMF_OK;
    b->rank = lmf_alloc(b->ctx, b->n_tokens * sizeof *b->rank);
    if (!b->rank)
        return LMF_NO_MEMORY(b->ctx, b->n_tokens * sizeof *b->rank, "scores of tokens");
    for (size_t i = 0; i < b->n_tokens; i++) {
        uint32_t u;
        float f = v->score[i] + 0.0f; /* -0 is 0 */
        if (!(f - f == 0.0f))
            return LMF_FAIL(b->ctx, LMF_E_FORMAT, "the score of token %zu is not finite", i);
        memcpy(&u, &f, 4);
        b->rank[i] = u >> 31 ? u : 0x7fffffff - u; /* finite ones never give NO_RANK */
    }
    return LMF_OK;
}

static lmf_status pieces_init(lmf_bpe *b, const lmf_vocab *v)
{
    int16_t byte_of[ALPHABET];
    alphabet_init(byte_of);
    size_t at = 0;
    for (size_t i = 0; i < b->n_tokens; i++) {
        const uint8_t *text = (const uint8_t *)v->token[i];
        size_t n = token_bytes(v, i), k = 0;
        uint8_t kind = v->kind ? v->kind[i] : LMF_TOKEN_NORMAL;
        b->kind[i] = kind;
        b->begin[i] = (uint32_t)at;
        bool plain = kind == LMF_TOKEN_NORMAL || kind == LMF_TOKEN_BYTE;
        if (plain)
            k = to_bytes(byte_of, text, n, b->bytes + at);
        if (!k) {
            memcpy(b->bytes + at, text, n);
            plain = false;
            k = n;
        }
        at += k;
        b->begin[i + 1] = (uint32_t)at;
        if (!plain)
            continue;
        if (k == 1)
            b->byte_id[b->bytes[at - 1]] = (int32_t)i;
        LMF_TRY(put_word(b, i));
    }
    return LMF_OK;
}

static lmf_status merge_init(lmf_bpe *b, const names *t, size_t i)
{
    const char *m = t->v->merge[i];
    size_t n = t->v->merge_bytes ? t->v->merge_bytes[i] : strlen(m);
    int shown = (int)(n < 200 ? n : 200);
    char joined[2 * LMF_TOKEN_MAX_BYTES];
    const char *space = n > 2 ? memchr(m + 1, ' ', n - 1) : NULL;
    size_t left = space ? (size_t)(space - m) : 0, right = space ? n - left - 1 : 0;
    if (!right || memchr(space + 1, ' ', right) || left > LMF_TOKEN_MAX_BYTES || right > LMF_TOKEN_MAX_BYTES)
        return LMF_FAIL(b->ctx, LMF_E_FORMAT, "merge %zu is not two tokens with a space between: \"%.*s\"", i, shown, m);
    memcpy(joined, m, left);
    memcpy(joined + left, space + 1, right);
    int32_t l = name_find(t, m, left), r = name_find(t, space + 1, right), to = name_find(t, joined, left + right);
    if (l < 0 || r < 0)
        return LMF_FAIL(b->ctx, LMF_E_FORMAT, "merge %zu names a token that is not in the vocabulary: \"%.*s\"", i, shown, m);
    if (to < 0)
        return LMF_FAIL(b->ctx, LMF_E_FORMAT, "merge %zu gives a token that is not in the vocabulary: \"%.*s\"", i, shown, m);
    uint64_t pair = (uint64_t)(uint32_t)l << 32 | (uint32_t)r;
    size_t slot = merge_slot(pair, b->n_merges), probes = 0;
    for (; b->merges[slot].id1 && probes < MAX_PROBES; probes++) {
        if (b->merges[slot].pair == pair)
            return LMF_FAIL(b->ctx, LMF_E_FORMAT, "merge %zu was given before as merge %u: \"%.*s\"", i, b->merges[slot].rank, shown, m);
        slot = (slot + 1) & (b->n_merges - 1);
    }
    if (probes == MAX_PROBES)
        return LMF_FAIL(b->ctx, LMF_E_LIMIT, "merges are made to collide: no place for merge %zu within %d steps", i, MAX_PROBES);
    if (b->kind[to] == LMF_TOKEN_CONTROL || b->kind[to] == LMF_TOKEN_UNKNOWN || b->kind[to] == LMF_TOKEN_UNUSED)
        return LMF_OK;
    b->merges[slot] = (lmf__bpe_merge){ pair, (uint32_t)i, (uint32_t)to + 1 };
    return LMF_OK;
}

static lmf_status check(lmf_ctx *ctx, const lmf_vocab *v, size_t *n_bytes)
{
    if (!v->n_tokens || !v->token)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "the vocabulary has no tokens");
    if (v->n_tokens > LMF_VOCAB_MAX_TOKENS)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "%zu tokens in the vocabulary; at most %d are supported", v->n_tokens, LMF_VOCAB_MAX_TOKENS);
    if (v->n_merges > LMF_VOCAB_MAX_MERGES)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "%zu merges in the vocabulary; at most %d are supported", v->n_merges, LMF_VOCAB_MAX_MERGES);
    *n_bytes = 0;
    for (size_t i = 0; i < v->n_tokens; i++) {
        size_t n = token_bytes(v, i);
        if (!n)
            return LMF_FAIL(ctx, LMF_E_FORMAT, "token %zu is empty", i);
        if (n > LMF_TOKEN_MAX_BYTES)
            return LMF_FAIL(ctx, LMF_E_LIMIT, "token %zu has %zu bytes; at most %d are supported", i, n, LMF_TOKEN_MAX_BYTES);
        if (v->kind && (v->kind[i] < LMF_TOKEN_NORMAL || v->kind[i] > LMF_TOKEN_BYTE))
            return LMF_FAIL(ctx, LMF_E_FORMAT, "token %zu has type %u; types are 1 to 6", i, v->kind[i]);
        *n_bytes += n;
    }
    if (*n_bytes > MAX_PIECES_BYTES)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "the tokens have %zu bytes together; at most %d are supported", *n_bytes, MAX_PIECES_BYTES);
    return LMF_OK;
}

lmf_status lmf__bpe_init(lmf_bpe *b, lmf_ctx *ctx, const lmf_vocab *v)
{
    lmf_status s;
    b->ctx = ctx;
    memset(b->byte_id, 0xff, sizeof b->byte_id);
    LMF_TRY(check(ctx, v, &b->n_bytes));
    size_t n = b->n_tokens = v->n_tokens;
    b->n_words = slots_for(n);
    b->n_merges = slots_for(v->n_merges);
    names t = { .v = v, .n_slots = b->n_words };
    b->begin = lmf_alloc(ctx, (n + 1) * sizeof *b->begin);
    b->bytes = lmf_alloc(ctx, b->n_bytes);
    b->kind = lmf_alloc(ctx, n);
    b->whole = lmf_alloc(ctx, n * sizeof *b->whole);
    b->words = lmf_alloc(ctx, b->n_words * sizeof *b->words);
    b->merges = lmf_alloc(ctx, b->n_merges * sizeof *b->merges);
    t.slot = lmf_alloc(ctx, t.n_slots * sizeof *t.slot);
    if (!b->begin || !b->bytes || !b->kind || !b->whole || !b->words || !b->merges || !t.slot) {
        s = LMF_NO_MEMORY(ctx, b->n_bytes + n * 6 + 16 * (b->n_words + b->n_merges), "the vocabulary's tables");
        goto done;
    }
    LMF_TRY_TO(done, names_init(&t, ctx, v));
    LMF_TRY_TO(done, b->literal ? literal_init(b, v) : b->spaced ? spaced_init(b, v) : pieces_init(b, v));
    LMF_TRY_TO(done, rank_init(b, v));
    for (size_t i = 0; i < v->n_merges; i++)
        LMF_TRY_TO(done, merge_init(b, &t, i));
    s = LMF_OK;
done:
    lmf_free(ctx, t.slot, t.n_slots * sizeof *t.slot);
    return s;
}

void lmf__bpe_clear(lmf_bpe *b)
{
    lmf_free(b->ctx, b->begin, (b->n_tokens + 1) * sizeof *b->begin);
    lmf_free(b->ctx, b->bytes, b->n_bytes);
    lmf_free(b->ctx, b->kind, b->n_tokens);
    lmf_free(b->ctx, (void *)b->whole, b->n_tokens * sizeof *b->whole);
    lmf_free(b->ctx, b->words, b->n_words * sizeof *b->words);
    lmf_free(b->ctx, b->merges, b->n_merges * sizeof *b->merges);
    lmf_free(b->ctx, b->rank, b->rank ? b->n_tokens * sizeof *b->rank : 0);
}

/* ---- one word ---- */

/* The word's bytes as tokens; bytes without one are left out, so neighbours of them become neighbours. */
static size_t start_bytes(const lmf_bpe *b, const uint8_t *word, size_t n, int32_t *id, size_t *n_dropped)
{
    size_t m = 0;
    for (size_t i = 0; i < n; i++)
        if (b->byte_id[word[i]] >= 0)
            id[m++] = b->byte_id[word[i]];
    *n_dropped += n - m;
    return m;
}

static bool has_bytes(const lmf_bpe *b, const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (b->byte_id[p[i]] < 0)
            return false;
    return true;
}

/* Characters; one that is no token as its bytes if all of them are; else unknown. As in HF tokenizers, an unknown one waits, for more
 * of its kind, until a character that is a token comes: bytes do not end the wait. */
static size_t start_chars(const lmf_bpe *b, const uint8_t *word, size_t n, int32_t *id, size_t *n_dropped)
{
    size_t m = 0, k;
    bool waits = false;
    for (size_t i = 0; i < n; i += k) {
        int32_t cp, found;
        int got = lmf__utf8_scan(word + i, n - i, &cp);
        k = got > 0 ? (size_t)got : 1;
        found = word[i] < 0x80 ? b->ascii_id[word[i]] : got > 0 ? lmf__bpe_find(b, word + i, k) : -1;
        if (found >= 0) {
            if (waits)
                id[m++] = b->unk;
            waits = false;
            id[m++] = found;
        } else if (has_bytes(b, word + i, k)) {
            for (size_t c = 0; c < k; c++)
                id[m++] = b->byte_id[word[i + c]];
        } else if (b->unk >= 0) {
            if (waits && !b->fuse_unk)
                id[m++] = b->unk;
            waits = true;
        } else {
            *n_dropped += k;
        }
    }
    if (waits)
        id[m++] = b->unk;
    return m;
}

static size_t start(const lmf_bpe *b, const uint8_t *word, size_t n, int32_t *id, size_t *n_dropped)
{
    return b->spaced ? start_chars(b, word, n, id, n_dropped) : start_bytes(b, word, n, id, n_dropped);
}

size_t lmf__bpe_cut(const lmf_bpe *b, const uint8_t *text, size_t from, size_t to)
{
    for (size_t i = from + 1; b->can_cut && i < to; i++)
        if (text[i] == ' ' && text[i - 1] != ' ' && !b->bridge[text[i - 1]])
            return i;
    return to;
}

static size_t merge_short(const lmf_bpe *b, int32_t *id, size_t m)
{
    uint32_t rank[SHORT_WORD], to[SHORT_WORD];
#define LOOK(i) do { merge f_ = find_merge(b, id[i], id[(i) + 1]); rank[i] = f_.rank; to[i] = f_.to; } while (0)
    for (size_t i = 0; i + 1 < m; i++)
        LOOK(i);
    while (m > 1) {
        size_t best = 0;
        for (size_t i = 1; i + 1 < m; i++)
            if (rank[i] < rank[best])
                best = i;
        if (rank[best] == NO_RANK)
            break;
        id[best] = (int32_t)to[best];
        m--;
        memmove(id + best + 1, id + best + 2, (m - best - 1) * sizeof *id);
        if (best + 1 < m) {
            memmove(rank + best + 1, rank + best + 2, (m - best - 2) * sizeof *rank);
            memmove(to + best + 1, to + best + 2, (m - best - 2) * sizeof *to);
            LOOK(best);
        }
        if (best)
            LOOK(best - 1);
    }
#undef LOOK
    return m;
}

/* A long word: ranks of the pairs are leaves of a tree of minima, so each merge costs log m and needs no list of stale
 * candidates. Symbol i keeps its place; next and prev skip those merged away. */
typedef struct long_word {
    int32_t  *id, *next, *prev;
    uint32_t *tree;              /* [2 * leaves]; leaf i is tree[leaves + i], the rank of i and its next */
    size_t    leaves;
} long_word;

static void set_rank(const lmf_bpe *b, long_word *w, size_t i, size_t m)
{
    size_t node = w->leaves + i;
    w->tree[node] = (size_t)w->next[i] < m ? find_merge(b, w->id[i], w->id[w->next[i]]).rank : NO_RANK;
    for (node /= 2; node; node /= 2)
        w->tree[node] = w->tree[2 * node] < w->tree[2 * node + 1] ? w->tree[2 * node] : w->tree[2 * node + 1];
}

static size_t merge_long(const lmf_bpe *b, long_word *w, size_t m)
{
    for (size_t i = 0; i < w->leaves; i++)
        w->tree[w->leaves + i] = i + 1 < m ? find_merge(b, w->id[i], w->id[i + 1]).rank : NO_RANK;
    for (size_t i = w->leaves - 1; i; i--)
        w->tree[i] = w->tree[2 * i] < w->tree[2 * i + 1] ? w->tree[2 * i] : w->tree[2 * i + 1];
    for (size_t i = 0; i < m; i++)
        w->next[i] = (int32_t)i + 1, w->prev[i] = (int32_t)i - 1;
    while (w->tree[1] != NO_RANK) {
        size_t node = 1;
        while (node < w->leaves)
            node = 2 * node + (w->tree[2 * node] > w->tree[2 * node + 1]);
        size_t i = node - w->leaves, gone = (size_t)w->next[i];
        w->id[i] = (int32_t)find_merge(b, w->id[i], w->id[gone]).to;
        w->next[i] = w->next[gone];
        if ((size_t)w->next[i] < m)
            w->prev[w->next[i]] = (int32_t)i;
        w->next[gone] = (int32_t)m; /* pairs with nothing any more */
        set_rank(b, w, gone, m);
        set_rank(b, w, i, m);
        if (w->prev[i] >= 0)
            set_rank(b, w, (size_t)w->prev[i], m);
    }
    size_t k = 0;
    for (size_t i = 0; i < m; i = (size_t)w->next[i])
        w->prev[k++] = w->id[i]; /* prev is not needed any more, and k <= i */
    return k;
}

static lmf_status long_tokens(const lmf_bpe *b, const uint8_t *word, size_t n, lmf_ids *ids)
{
    if (n > LMF_WORD_MAX_BYTES)
        return LMF_FAIL(ids->ctx, LMF_E_LIMIT, "a stretch of %zu bytes of text without a word's end; at most %d are supported", n, LMF_WORD_MAX_BYTES);
    long_word w = { .leaves = 64 };
    while (w.leaves < n)
        w.leaves *= 2;
    size_t bytes = 3 * n * sizeof *w.id + 2 * w.leaves * sizeof *w.tree;
    w.id = lmf_alloc(ids->ctx, bytes);
    if (!w.id)
        return LMF_NO_MEMORY(ids->ctx, bytes, "merging a long word");
    w.next = w.id + n;
    w.prev = w.next + n;
    w.tree = (uint32_t *)(w.prev + n);
    size_t m = start(b, word, n, w.id, &ids->n_dropped);
    m = merge_long(b, &w, m);
    lmf_status s = lmf_ids_append(ids, w.prev, m);
    lmf_free(ids->ctx, w.id, bytes);
    return s;
}

lmf_status lmf__bpe_word(const lmf_bpe *b, const uint8_t *word, size_t n, lmf_ids *ids)
{
    int32_t found = n <= LMF_TOKEN_MAX_BYTES ? lmf__bpe_find(b, word, n) : -1;
    int whole = found < 0 ? 2 : b->whole_words ? 1 : atomic_load_explicit(&b->whole[found], memory_order_relaxed);
    if (whole == 1)
        return lmf_ids_append(ids, &found, 1);
    size_t before = ids->n;
    if (n <= SHORT_WORD) {
        int32_t id[SHORT_WORD];
        size_t m = start(b, word, n, id, &ids->n_dropped);
        LMF_TRY(lmf_ids_append(ids, id, merge_short(b, id, m)));
    } else {
        LMF_TRY(long_tokens(b, word, n, ids));
    }
    if (!whole) {
        bool led = ids->n == before + 1 && ids->data[before] == found;
        atomic_store_explicit(&b->whole[found], led ? 1 : 2, memory_order_relaxed);
    }
    return LMF_OK;
}
