/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what comes out depends on the words and their counts alone, not on the order in which they came. A queue's entry holds the words in
 * which its pair arose when the entry was made, and the count of then; counts that fell since are looked up when it is taken out. */
#include "text/tokenizer/bpe_train.h"
#include <string.h>
#include "text/tokenizer/pretok.h"

/* ---- counting ---- */
typedef struct word { const char *p; uint32_t n; uint64_t hash; int64_t count; } word;

struct lmf_word_counts {
    lmf_ctx          *ctx;
    const lmf_pretok *pretok;
    lmf_arena         arena;   /* the words' bytes */
    word             *item;    /* [n] */
    int64_t           n, cap;
    uint32_t         *slot;    /* [n_slots] index + 1 in item; 0: free */
    size_t            n_slots; /* a power of two, at least twice n */
};

static uint64_t hash_bytes(const char *p, size_t n)
{
    uint64_t h = 0x9E3779B97F4A7C15u ^ n;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)p[i]) * 0x100000001B3u;
    return h ^ h >> 29;
}

lmf_status lmf_word_counts_create(lmf_ctx *ctx, const char *pretok, lmf_word_counts **out)
{
    const lmf_pretok *p = lmf_pretok_find(ctx, pretok);
    *out = NULL;
    if (!p)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "there is no pre-tokenizer \"%.60s\"", pretok);
    lmf_word_counts *w = lmf_new(ctx, lmf_word_counts);
    if (!w)
        return LMF_NO_MEMORY(ctx, sizeof *w, "counts of words");
    w->ctx = ctx, w->pretok = p;
    lmf_arena_init(&w->arena, ctx, LMF_POWER2(40));
    *out = w;
    return LMF_OK;
}

void lmf_word_counts_destroy(lmf_word_counts *w)
{
    if (!w)
        return;
    lmf_ctx *ctx = w->ctx;
    lmf_arena_clear(&w->arena);
    lmf_free(ctx, w->item, (size_t)w->cap * sizeof *w->item);
    lmf_free(ctx, w->slot, w->n_slots * sizeof *w->slot);
    lmf_delete(ctx, w);
}

int64_t lmf_word_counts_n(const lmf_word_counts *w) { return w->n; }

static lmf_status grow(lmf_word_counts *w)
{
    size_t cap = w->cap ? 2 * (size_t)w->cap : 4096, n_slots = 4 * cap;
    if (cap > UINT32_MAX / 4)
        return LMF_FAIL(w->ctx, LMF_E_LIMIT, "more than %lld different words", (long long)w->n);
    word *item = lmf_realloc(w->ctx, w->item, (size_t)w->cap * sizeof *item, cap * sizeof *item);
    if (!item)
        return LMF_NO_MEMORY(w->ctx, cap * sizeof *item, "words");
    w->item = item, w->cap = (int64_t)cap;
    uint32_t *slot = lmf_alloc(w->ctx, n_slots * sizeof *slot);
    if (!slot)
        return LMF_NO_MEMORY(w->ctx, n_slots * sizeof *slot, "words");
    lmf_free(w->ctx, w->slot, w->n_slots * sizeof *w->slot);
    w->slot = slot, w->n_slots = n_slots;
    for (int64_t i = 0; i < w->n; i++) {
        size_t at = w->item[i].hash & (n_slots - 1);
        while (slot[at])
            at = (at + 1) & (n_slots - 1);
        slot[at] = (uint32_t)i + 1;
    }
    return LMF_OK;
}

static lmf_status add_word(lmf_word_counts *w, const char *p, size_t n, uint64_t hash, int64_t count)
{
    if (w->n == w->cap)
        LMF_TRY(grow(w));
    size_t at = hash & (w->n_slots - 1);
    for (; w->slot[at]; at = (at + 1) & (w->n_slots - 1)) {
        word *x = &w->item[w->slot[at] - 1];
        if (x->hash == hash && x->n == n && !memcmp(x->p, p, n))
            return x->count += count, LMF_OK;
    }
    char *own = lmf_arena_strndup(&w->arena, p, n);
    if (!own)
        return LMF_NO_MEMORY(w->ctx, n, "a word");
    w->item[w->n++] = (word){ own, (uint32_t)n, hash, count };
    w->slot[at] = (uint32_t)w->n;
    return LMF_OK;
}

lmf_status lmf_word_counts_add(lmf_word_counts *w, const char *text, size_t n)
{
    for (size_t at = 0, next; at < n; at = next) {
        next = w->pretok->next((const uint8_t *)text, n, at);
        if (next - at > UINT32_MAX / 2)
            return LMF_FAIL(w->ctx, LMF_E_LIMIT, "a word of %zu bytes", next - at);
        LMF_TRY(add_word(w, text + at, next - at, hash_bytes(text + at, next - at), 1));
    }
    return LMF_OK;
}

lmf_status lmf_word_counts_merge(lmf_word_counts *w, const lmf_word_counts *from)
{
    for (int64_t i = 0; i < from->n; i++)
        LMF_TRY(add_word(w, from->item[i].p, from->item[i].n, from->item[i].hash, from->item[i].count));
    return LMF_OK;
}

/* ---- merging ---- */
typedef struct pair { uint64_t key; int64_t count; int32_t first, last_word, stamp; } pair; /* key: left << 32 | right */
typedef struct entry { int64_t count; uint64_t key; size_t at; int64_t n; } entry; /* words where[at .. at + n) */
typedef struct link { int32_t word, next; } link;

typedef struct trainer {
    lmf_ctx *ctx;
    lmf_arena *arena;          /* of the result: tokens */
    int32_t *symbol;           /* of all words, one behind the other */
    size_t n_symbol;
    int64_t *begin;            /* [n_words + 1] */
    int32_t *n_symbols;        /* [n_words] left of each */
    const word *words;
    pair *pairs;    int64_t n_pairs, cap_pairs;
    uint32_t *slot; size_t n_slots;
    entry *heap;    int64_t n_heap, cap_heap;
    int32_t *where; size_t n_where, cap_where;
    link *links;    int64_t n_links, cap_links; /* of one round: words in which a pair arose */
    int32_t *touched; int64_t n_touched, cap_touched; /* pairs that arose in this round */
    int32_t stamp;
    lmf_buf bytes;             /* of all tokens */
    size_t *token_at; int32_t n_tokens, cap_tokens; /* [n_tokens + 1] */
    uint32_t *token_slot; size_t n_token_slots;
    uint64_t *merge; int64_t n_merges, cap_merges;  /* key of each */
} trainer;

#define ROOM(t, array, n, cap) room((t)->ctx, (void **)&(t)->array, sizeof *(t)->array, (int64_t)(n), &(t)->cap)
static lmf_status room(lmf_ctx *ctx, void **array, size_t item, int64_t n, int64_t *cap)
{
    if (n < *cap)
        return LMF_OK;
    int64_t more = *cap ? 2 * *cap : 1024;
    void *p = lmf_realloc(ctx, *array, (size_t)*cap * item, (size_t)more * item);
    if (!p)
        return LMF_NO_MEMORY(ctx, (size_t)more * item, "the merges of a tokenizer");
    *array = p, *cap = more;
    return LMF_OK;
}

static size_t pair_hash(uint64_t key) { return (size_t)((key * 0x9E3779B97F4A7C15u) >> 20); }

/* The pair's index, made where it is not there. */
static lmf_status find_pair(trainer *t, uint64_t key, int32_t *out)
{
    if (2 * (size_t)t->n_pairs >= t->n_slots) {
        size_t n = t->n_slots ? 2 * t->n_slots : 1 << 14;
        uint32_t *slot = lmf_alloc(t->ctx, n * sizeof *slot);
        if (!slot)
            return LMF_NO_MEMORY(t->ctx, n * sizeof *slot, "pairs of tokens");
        for (int64_t i = 0; i < t->n_pairs; i++) {
            size_t at = pair_hash(t->pairs[i].key) & (n - 1);
            while (slot[at])
                at = (at + 1) & (n - 1);
            slot[at] = (uint32_t)i + 1;
        }
        lmf_free(t->ctx, t->slot, t->n_slots * sizeof *t->slot);
        t->slot = slot, t->n_slots = n;
    }
    size_t at = pair_hash(key) & (t->n_slots - 1);
    for (; t->slot[at]; at = (at + 1) & (t->n_slots - 1))
        if (t->pairs[t->slot[at] - 1].key == key)
            return *out = (int32_t)t->slot[at] - 1, LMF_OK;
    LMF_TRY(ROOM(t, pairs, t->n_pairs, cap_pairs));
    if (t->n_pairs == INT32_MAX - 1)
        return LMF_FAIL(t->ctx, LMF_E_LIMIT, "too many different pairs of tokens");
    t->pairs[t->n_pairs] = (pair){ .key = key, .first = -1, .last_word = -1 };
    t->slot[at] = (uint32_t)++t->n_pairs;
    return *out = (int32_t)t->n_pairs - 1, LMF_OK;
}

/* The count changes; arose: and the pair is new at this place of word w. */
static lmf_status change(trainer *t, int32_t left, int32_t right, int64_t by, int32_t w, bool arose)
{
    int32_t i;
    LMF_TRY(find_pair(t, (uint64_t)(uint32_t)left << 32 | (uint32_t)right, &i));
    pair *p = &t->pairs[i];
    p->count += by;
    if (!arose)
        return LMF_OK;
    if (p->stamp != t->stamp) {
        p->stamp = t->stamp, p->first = -1, p->last_word = -1;
        LMF_TRY(ROOM(t, touched, t->n_touched, cap_touched));
        t->touched[t->n_touched++] = i;
    }
    if (p->last_word == w)
        return LMF_OK;
    LMF_TRY(ROOM(t, links, t->n_links, cap_links));
    t->links[t->n_links] = (link){ w, p->first };
    p->first = (int32_t)t->n_links++, p->last_word = w;
    return t->n_links < INT32_MAX ? LMF_OK : LMF_FAIL(t->ctx, LMF_E_LIMIT, "too many words for a tokenizer's merges");
}

/* ---- the queue: most often first, of equals the least pair ---- */
static bool before(const entry *a, const entry *b) { return a->count != b->count ? a->count > b->count : a->key < b->key; }

static lmf_status push(trainer *t, entry e)
{
    LMF_TRY(ROOM(t, heap, t->n_heap, cap_heap));
    int64_t i = t->n_heap++;
    for (; i && before(&e, &t->heap[(i - 1) / 2]); i = (i - 1) / 2)
        t->heap[i] = t->heap[(i - 1) / 2];
    t->heap[i] = e;
    return LMF_OK;
}

static entry pop(trainer *t)
{
    entry top = t->heap[0], e = t->heap[--t->n_heap];
    int64_t i = 0;
    for (int64_t k; (k = 2 * i + 1) < t->n_heap; i = k) {
        k += k + 1 < t->n_heap && before(&t->heap[k + 1], &t->heap[k]);
        if (!before(&t->heap[k], &e))
            break;
        t->heap[i] = t->heap[k];
    }
    t->heap[i] = e;
    return top;
}

/* Pairs that arose in this round, with the words in which they did. */
static lmf_status queue_touched(trainer *t)
{
    for (int64_t k = 0; k < t->n_touched; k++) {
        const pair *p = &t->pairs[t->touched[k]];
        entry e = { .count = p->count, .key = p->key, .at = t->n_where };
        if (p->count <= 0)
            continue;
        for (int32_t i = p->first; i >= 0; i = t->links[i].next) {
            int64_t cap = (int64_t)t->cap_where;
            LMF_TRY(room(t->ctx, (void **)&t->where, sizeof *t->where, (int64_t)t->n_where, &cap));
            t->cap_where = (size_t)cap;
            t->where[t->n_where++] = t->links[i].word, e.n++;
        }
        LMF_TRY(push(t, e));
    }
    t->n_touched = t->n_links = 0;
    t->stamp++;
    return LMF_OK;
}

/* ---- tokens ---- */
/* The id of those bytes, made where there is none. */
static lmf_status token_of(trainer *t, const char *p, size_t n, int32_t *out)
{
    size_t at = hash_bytes(p, n) & (t->n_token_slots - 1);
    for (; t->token_slot[at]; at = (at + 1) & (t->n_token_slots - 1)) {
        int32_t id = (int32_t)t->token_slot[at] - 1;
        if (t->token_at[id + 1] - t->token_at[id] == n && !memcmp(t->bytes.data + t->token_at[id], p, n))
            return *out = id, LMF_OK;
    }
    if (t->n_tokens == t->cap_tokens)
        return LMF_FAIL(t->ctx, LMF_E_INTERNAL, "a vocabulary has no room left");
    LMF_TRY(lmf_buf_append(&t->bytes, p, n));
    t->token_at[++t->n_tokens] = t->bytes.n;
    t->token_slot[at] = (uint32_t)t->n_tokens;
    return *out = t->n_tokens - 1, LMF_OK;
}

/* The byte-level alphabet's character of a byte: printable Latin-1 is itself, the others follow from U+0100 on. */
static int32_t character(int byte)
{
    int32_t n = 0;
    for (int b = 0; b <= byte; b++) {
        bool printable = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
        if (b == byte)
            return printable ? b : 256 + n;
        n += !printable;
    }
    return 0;
}

static lmf_status first_tokens(trainer *t, const lmf_bpe_train_opts *o, int32_t byte_id[256])
{
    int32_t id;
    for (int32_t i = 0; i < o->n_special; i++)
        LMF_TRY(token_of(t, o->special[i], strlen(o->special[i]), &id));
    if (t->n_tokens != o->n_special)
        return LMF_FAIL(t->ctx, LMF_E_ARG, "a special token is given twice");
    for (int32_t c = 0; c < 512; c++)
        for (int b = 0; b < 256; b++)
            if (character(b) == c) {
                char byte = (char)b;
                LMF_TRY(token_of(t, &byte, 1, &byte_id[b]));
            }
    return LMF_OK;
}

/* ---- rounds ---- */
static lmf_status load(trainer *t, const lmf_word_counts *w, const int32_t byte_id[256])
{
    int64_t n = 0;
    for (int64_t i = 0; i < w->n; i++)
        n += w->item[i].n;
    if (w->n >= INT32_MAX)
        return LMF_FAIL(t->ctx, LMF_E_LIMIT, "too many different words");
    t->words = w->item;
    t->n_symbol = (size_t)n + 1;
    t->symbol = lmf_alloc(t->ctx, t->n_symbol * sizeof *t->symbol);
    t->begin = lmf_alloc(t->ctx, ((size_t)w->n + 1) * sizeof *t->begin);
    t->n_symbols = lmf_alloc(t->ctx, ((size_t)w->n + 1) * sizeof *t->n_symbols);
    if (!t->symbol || !t->begin || !t->n_symbols)
        return LMF_NO_MEMORY(t->ctx, (size_t)n * sizeof *t->symbol, "words");
    for (int64_t i = 0; i < w->n; i++) {
        int32_t *s = t->symbol + t->begin[i];
        t->begin[i + 1] = t->begin[i] + w->item[i].n;
        t->n_symbols[i] = (int32_t)w->item[i].n;
        for (int32_t k = 0; k < t->n_symbols[i]; k++)
            s[k] = byte_id[(uint8_t)w->item[i].p[k]];
        for (int32_t k = 0; k + 1 < t->n_symbols[i]; k++)
            LMF_TRY(change(t, s[k], s[k + 1], w->item[i].count, (int32_t)i, true));
    }
    return queue_touched(t);
}

/* left right -> id in one word, from its beginning on. */
static lmf_status merge_word(trainer *t, int32_t w, int32_t left, int32_t right, int32_t id)
{
    int32_t *s = t->symbol + t->begin[w], n = t->n_symbols[w], to = 0;
    int64_t count = t->words[w].count;
    for (int32_t i = 0; i < n; i++) {
        if (s[i] != left || i + 1 == n || s[i + 1] != right) {
            s[to++] = s[i];
            continue;
        }
        if (to) {
            LMF_TRY(change(t, s[to - 1], left, -count, w, false));
            LMF_TRY(change(t, s[to - 1], id, count, w, true));
        }
        if (i + 2 < n) {
            LMF_TRY(change(t, right, s[i + 2], -count, w, false));
            LMF_TRY(change(t, id, s[i + 2], count, w, true));
        }
        s[to++] = id, i++;
    }
    t->n_symbols[w] = to;
    return LMF_OK;
}

static lmf_status one_round(trainer *t, entry e)
{
    int32_t left = (int32_t)(e.key >> 32), right = (int32_t)(uint32_t)e.key, id;
    size_t n_left = t->token_at[left + 1] - t->token_at[left], n_right = t->token_at[right + 1] - t->token_at[right];
    char *both = lmf_arena_alloc(t->arena, n_left + n_right + 1);
    if (!both)
        return LMF_NO_MEMORY(t->ctx, n_left + n_right, "a token");
    memcpy(both, t->bytes.data + t->token_at[left], n_left);
    memcpy(both + n_left, t->bytes.data + t->token_at[right], n_right);
    LMF_TRY(token_of(t, both, n_left + n_right, &id));
    LMF_TRY(ROOM(t, merge, t->n_merges, cap_merges));
    t->merge[t->n_merges++] = e.key;
    for (int64_t k = 0; k < e.n; k++)
        LMF_TRY(merge_word(t, t->where[e.at + (size_t)k], left, right, id));
    return queue_touched(t);
}

static lmf_status rounds(trainer *t, const lmf_bpe_train_opts *o)
{
    while (t->n_tokens < o->vocab && t->n_heap) {
        entry e = pop(t);
        int32_t i;
        LMF_TRY(find_pair(t, e.key, &i));
        int64_t now = t->pairs[i].count;
        if (e.count != now && now > 0) {
            e.count = now;
            LMF_TRY(push(t, e));
        } else if (now > 0) {
            if (now < o->min_count)
                break;
            LMF_TRY(one_round(t, e));
            if (o->progress && (t->n_merges % 16 == 0) && o->progress(o->user, t->n_tokens, o->vocab))
                return LMF_E_CANCELLED;
        }
    }
    return LMF_OK;
}

static lmf_status give(trainer *t, const lmf_bpe_train_opts *o, lmf_bpe_trained *out)
{
    out->n_tokens = t->n_tokens;
    out->token = lmf_arena_array(t->arena, (size_t)t->n_tokens, sizeof *out->token);
    out->merge = lmf_arena_array(t->arena, (size_t)t->n_merges + 1, sizeof *out->merge);
    if (!out->token || !out->merge)
        return LMF_NO_MEMORY(t->ctx, (size_t)t->n_tokens * sizeof *out->token, "a vocabulary");
    for (int32_t id = 0; id < t->n_tokens; id++) {
        const uint8_t *p = (const uint8_t *)t->bytes.data + t->token_at[id];
        size_t n = t->token_at[id + 1] - t->token_at[id], at = 0;
        char *text = lmf_arena_alloc(t->arena, 2 * n + 1);
        if (!text)
            return LMF_NO_MEMORY(t->ctx, n, "a token");
        for (size_t i = 0; i < n; i++) {
            int32_t c = id < o->n_special ? p[i] : character(p[i]);
            if (c < 0x80 || id < o->n_special)
                text[at++] = (char)c;
            else
                text[at++] = (char)(0xC0 | c >> 6), text[at++] = (char)(0x80 | (c & 63));
        }
        out->token[id] = text;
    }
    out->n_merges = (int32_t)t->n_merges;
    for (int64_t i = 0; i < t->n_merges; i++)
        out->merge[i][0] = (int32_t)(t->merge[i] >> 32), out->merge[i][1] = (int32_t)(uint32_t)t->merge[i];
    return LMF_OK;
}

static void clear(trainer *t, int64_t n_words)
{
    lmf_ctx *ctx = t->ctx;
    lmf_free(ctx, t->symbol, t->n_symbol * sizeof *t->symbol);
    lmf_free(ctx, t->begin, ((size_t)n_words + 1) * sizeof *t->begin);
    lmf_free(ctx, t->n_symbols, ((size_t)n_words + 1) * sizeof *t->n_symbols);
    lmf_free(ctx, t->pairs, (size_t)t->cap_pairs * sizeof *t->pairs);
    lmf_free(ctx, t->slot, t->n_slots * sizeof *t->slot);
    lmf_free(ctx, t->heap, (size_t)t->cap_heap * sizeof *t->heap);
    lmf_free(ctx, t->where, t->cap_where * sizeof *t->where);
    lmf_free(ctx, t->links, (size_t)t->cap_links * sizeof *t->links);
    lmf_free(ctx, t->touched, (size_t)t->cap_touched * sizeof *t->touched);
    lmf_free(ctx, t->merge, (size_t)t->cap_merges * sizeof *t->merge);
    lmf_free(ctx, t->token_at, ((size_t)t->cap_tokens + 1) * sizeof *t->token_at);
    lmf_free(ctx, t->token_slot, t->n_token_slots * sizeof *t->token_slot);
    lmf_buf_clear(&t->bytes);
}

lmf_status lmf_bpe_train(const lmf_word_counts *w, const lmf_bpe_train_opts *opts, lmf_bpe_trained *out)
{
    int32_t byte_id[256];
    trainer t = { .ctx = w->ctx, .arena = &out->arena, .stamp = 1, .cap_tokens = opts->vocab, .n_token_slots = 1024 };
    memset(out, 0, sizeof *out);
    lmf_arena_init(&out->arena, w->ctx, LMF_POWER2(32));
    lmf_buf_init(&t.bytes, w->ctx, LMF_POWER2(32));
    if (opts->vocab < opts->n_special + 256 || opts->vocab > 1 << 21)
        return LMF_FAIL(w->ctx, LMF_E_ARG, "a vocabulary of %d tokens: it has at least the 256 bytes and %d more, and at most %d",
            opts->vocab,
                        opts->n_special, 1 << 21);
    while (t.n_token_slots < 4 * (size_t)opts->vocab)
        t.n_token_slots *= 2;
    t.token_at = lmf_alloc(w->ctx, ((size_t)t.cap_tokens + 1) * sizeof *t.token_at);
    t.token_slot = lmf_alloc(w->ctx, t.n_token_slots * sizeof *t.token_slot);
    lmf_status s = t.token_at && t.token_slot ? LMF_OK : LMF_NO_MEMORY(w->ctx, t.n_token_slots * sizeof *t.token_slot, "a vocabulary");
    if (!s)
        s = first_tokens(&t, opts, byte_id);
    if (!s)
        s = load(&t, w, byte_id);
    if (!s)
        s = rounds(&t, opts);
    if (!s)
        s = give(&t, opts, out);
    clear(&t, w->n);
    if (s)
        lmf_bpe_trained_clear(out);
    return s;
}

void lmf_bpe_trained_clear(lmf_bpe_trained *t)
{
    if (t->arena.ctx)
        lmf_arena_clear(&t->arena);
    *t = (lmf_bpe_trained){ 0 };
}
