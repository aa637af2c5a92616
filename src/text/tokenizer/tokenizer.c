/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: order of work in encode is HF tokenizers': added tokens that are not NORMALIZED over the whole text, then each gap is
 * normalized, the other added tokens are found in it, and words in what is left. A match that flags forbid still hides what it overlaps. */
#include "text/tokenizer/tokenizer.h"
#include <string.h>
#include "base/arena.h"
#include "text/tokenizer/bpe.h"
#include "text/tokenizer/normalize.h"
#include "text/tokenizer/pretok.h"
#include "text/tokenizer/wordpiece.h"

typedef struct added_entry { const uint8_t *p; uint32_t n; int32_t id; } added_entry; /* what is looked for in text */
typedef struct added_set {             /* sorted by bytes */
    added_entry *e;
    size_t       n, cap;
    struct { uint32_t lo, hi; } first[256]; /* range of those that begin with a byte */
} added_set;

struct lmf_tokenizer {
    lmf_ctx          *ctx;
    lmf_bpe           bpe;
    const lmf_pretok *pretok;
    lmf_token_ids     ids;
    uint8_t          *added;           /* [n_tokens] LMF_ADDED_*, or NULL */
    added_set         set[2];          /* found at first, and after normalization */
    lmf_arena         arena;           /* what the steps point to, and texts of added tokens as they are after the steps */
    lmf_norm_step    *norm;
    size_t            n_norm;
    lmf_lead          lead;
    lmf_prepend       prepend;
    bool              each_space, strip, marked;
    lmf_wordpiece     pieces;          /* where bpe.literal */
    bool              tidy;
};

/* ---- ids ---- */
void lmf_ids_init(lmf_ids *ids, lmf_ctx *ctx, size_t max)
{
    *ids = (lmf_ids){ .ctx = ctx, .max = max < SIZE_MAX / 8 ? max : SIZE_MAX / 8 };
}

void lmf_ids_clear(lmf_ids *ids)
{
    lmf_free(ids->ctx, ids->data, ids->cap * sizeof *ids->data);
    lmf_ids_init(ids, ids->ctx, ids->max);
}

lmf_status lmf_ids_append(lmf_ids *ids, const int32_t *id, size_t n)
{
    if (n > ids->cap - ids->n) {
        if (n > ids->max || ids->n > ids->max - n)
            return LMF_FAIL(ids->ctx, LMF_E_LIMIT, "the text has more than %zu tokens", ids->max);
        size_t cap = ids->cap ? ids->cap * 2 : 32;
        cap = cap < ids->n + n ? ids->n + n : cap;
        cap = cap > ids->max ? ids->max : cap;
        int32_t *p = lmf_realloc(ids->ctx, ids->data, ids->cap * sizeof *p, cap * sizeof *p);
        if (!p)
            return LMF_NO_MEMORY(ids->ctx, cap * sizeof *p, "token ids");
        ids->data = p;
        ids->cap = cap;
    }
    for (size_t i = 0; i < n; i++)
        ids->data[ids->n + i] = id[i];
    ids->n += n;
    return LMF_OK;
}

/* ---- create ---- */
void lmf_vocab_init(lmf_vocab *v)
{
    *v = (lmf_vocab){ .bos = -1, .eos = -1, .eot = -1, .pad = -1, .unk = -1 };
}

static bool is_special(uint8_t kind)
{
    return kind == LMF_TOKEN_CONTROL || kind == LMF_TOKEN_UNKNOWN;
}

/* Order of sorted sets: bytes, a prefix before what it begins; the lesser id of equals. */
static int compare(const added_entry *x, const added_entry *y)
{
    int c = memcmp(x->p, y->p, x->n < y->n ? x->n : y->n);
    return c ? c : x->n != y->n ? (x->n > y->n) - (x->n < y->n) : (x->id > y->id) - (x->id < y->id);
}

/* Heap sort: in place, and no vocabulary makes it slow. */
static void sort_entries(added_entry *e, size_t n)
{
    for (size_t start = n / 2, end = n; end > 1;) {
        added_entry moved;
        if (start)
            moved = e[--start];
        else
            moved = e[--end], e[end] = e[0];
        size_t i = start;
        for (size_t child; (child = 2 * i + 1) < end; i = child) {
            if (child + 1 < end && compare(&e[child], &e[child + 1]) < 0)
                child++;
            if (compare(&moved, &e[child]) >= 0)
                break;
            e[i] = e[child];
        }
        e[i] = moved;
    }
}

/* How many steps are left out, 1 or 0, for what a PREPEND goes in front of under `most` and no later rule. */
static size_t skipped(const lmf_tokenizer *t, lmf_prepend most)
{
    return t->prepend > most && t->n_norm && t->norm[0].kind == LMF_NORM_PREPEND;
}

/* What is looked for: an added token's text, normalized where it is found in normalized text. */
static lmf_status entry_of(lmf_tokenizer *t, const lmf_vocab *v, int32_t id, bool late, added_entry *out)
{
    const lmf_bpe *b = &t->bpe;
    lmf_buf text;
    *out = (added_entry){ b->bytes + b->begin[id], b->begin[id + 1] - b->begin[id], id };
    size_t n = v->token_bytes ? v->token_bytes[id] : strlen(v->token[id]), skip = skipped(t, LMF_PREPEND_EACH);
    if (!late && n != out->n) { /* a space mark, which text as it is must have too */
        out->p = (const uint8_t *)lmf_arena_strndup(&t->arena, v->token[id], n);
        out->n = (uint32_t)n;
        return out->p ? LMF_OK : LMF_NO_MEMORY(t->ctx, n, "an added token");
    }
    if (!late || lmf__normalize_is_same(t->norm + skip, t->n_norm - skip, out->p, out->n))
        return LMF_OK;
    lmf_buf_init(&text, t->ctx, LMF_TEXT_MAX_BYTES);
    lmf_status s = lmf__normalize(t->norm + skip, t->n_norm - skip, out->p, out->n, &text);
    const char *own = s ? NULL : lmf_arena_strndup(&t->arena, lmf_buf_str(&text), text.n);
    if (!s && !own)
        s = LMF_NO_MEMORY(t->ctx, text.n, "an added token");
    out->p = (const uint8_t *)own;
    out->n = (uint32_t)text.n;
    lmf_buf_clear(&text);
    return s;
}

static lmf_status added_init(lmf_tokenizer *t, const lmf_vocab *v)
{
    const lmf_bpe *b = &t->bpe;
    size_t n[2] = { 0, 0 };
    if (v->added) {
        t->added = lmf_alloc(t->ctx, b->n_tokens);
        if (!t->added)
            return LMF_NO_MEMORY(t->ctx, b->n_tokens, "flags of added tokens");
        memcpy(t->added, v->added, b->n_tokens);
    }
#define EACH(i) for (size_t i = 0; i < b->n_tokens; i++) if (is_special(b->kind[i]) || b->kind[i] == LMF_TOKEN_USER_DEFINED)
#define LATE(i) (t->added && (t->added[i] & LMF_ADDED_NORMALIZED) ? 1 : 0)
    EACH(i) n[LATE(i)]++;
    for (int k = 0; k < 2; k++) {
        added_set *set = &t->set[k];
        if (!n[k])
            continue;
        set->cap = n[k];
        set->e = lmf_alloc(t->ctx, n[k] * sizeof *set->e);
        if (!set->e)
            return LMF_NO_MEMORY(t->ctx, n[k] * sizeof *set->e, "added tokens");
    }
    EACH(i) {
        added_set *set = &t->set[LATE(i)];
        LMF_TRY(entry_of(t, v, (int32_t)i, LATE(i), &set->e[set->n]));
        set->n += set->e[set->n].n > 0; /* steps may leave nothing of it */
    }
#undef EACH
#undef LATE
    for (int k = 0; k < 2; k++) {
        added_set *set = &t->set[k];
        sort_entries(set->e, set->n);
        for (uint32_t i = 0; i < set->n; i++) {
            uint8_t c = set->e[i].p[0];
            if (!set->first[c].hi)
                set->first[c].lo = i;
            set->first[c].hi = i + 1;
        }
    }
    return LMF_OK;
}

static lmf_status norm_init(lmf_tokenizer *t, const lmf_vocab *v)
{
    t->norm = lmf_arena_array(&t->arena, v->n_norm, sizeof *t->norm);
    if (!t->norm)
        return LMF_NO_MEMORY(t->ctx, v->n_norm * sizeof *t->norm, "a normalizer");
    for (size_t i = 0; i < v->n_norm; i++) {
        lmf_norm_step s = v->norm[i];
        s.pattern = lmf_arena_strndup(&t->arena, s.pattern ? s.pattern : "", s.n_pattern);
        s.text = lmf_arena_strndup(&t->arena, s.text ? s.text : "", s.n_text);
        if (!s.pattern || !s.text)
            return LMF_NO_MEMORY(t->ctx, s.n_pattern + s.n_text, "a normalizer");
        t->norm[t->n_norm++] = s;
    }
    return LMF_OK;
}

static lmf_status ids_check(lmf_ctx *ctx, const lmf_vocab *v)
{
    const struct { const char *name; int32_t id; } rows[] = {
        { "BOS", v->bos }, { "EOS", v->eos }, { "EOT", v->eot }, { "PAD", v->pad }, { "UNK", v->unk },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].id < -1 || (rows[i].id >= 0 && (size_t)rows[i].id >= v->n_tokens))
            return LMF_FAIL(ctx, LMF_E_FORMAT, "the %s token has id %d, out of the vocabulary's %zu tokens", rows[i].name, rows[i].id, v->n_tokens);
    return LMF_OK;
}

lmf_status lmf_tokenizer_create(lmf_ctx *ctx, const lmf_vocab *v, lmf_tokenizer **out)
{
    lmf_status s;
    *out = NULL;
    bool spaced = v->model && !strcmp(v->model, "llama");
    bool literal = v->model && !strcmp(v->model, "WordPiece");
    if (v->model && !spaced && !literal && strcmp(v->model, "gpt2") && strcmp(v->model, "BPE"))
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "tokenizer model \"%.100s\" is not supported; gpt2 (byte-level BPE), llama "
                        "(SentencePiece's BPE) and WordPiece are", v->model);
    bool named = !spaced && !literal; /* the others have one way to cut words */
    if (!v->pretok && named)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "the vocabulary does not name its pre-tokenizer (tokenizer.ggml.pre)");
    const lmf_pretok *pretok = named ? lmf_pretok_find(ctx, v->pretok) : NULL;
    if (!pretok && named)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "pre-tokenizer \"%.100s\" is not known: add src/text/pretok_<name>.c", v->pretok);
    lmf_tokenizer *t = lmf_new(ctx, lmf_tokenizer);
    if (!t)
        return LMF_NO_MEMORY(ctx, sizeof *t, "a tokenizer");
    t->ctx = ctx;
    t->bpe.ctx = ctx;
    lmf_arena_init(&t->arena, ctx, (size_t)1 << 28);
    t->pretok = pretok;
    t->ids = (lmf_token_ids){ v->bos, v->eos, v->eot, v->pad, v->unk,
                              .add_bos = v->add_bos == LMF_YES ||
                                         (v->add_bos == LMF_BY_FAMILY && (!named || pretok->add_bos) && v->bos >= 0),
                              .add_eos = v->add_eos, .bos_unnamed = v->bos_unnamed, .eos_unnamed = v->eos_unnamed };
    t->bpe.whole_words = v->whole_words == LMF_YES || (v->whole_words == LMF_BY_FAMILY && named && pretok->whole_words);
    t->bpe.spaced = spaced;
    t->bpe.literal = literal;
    t->tidy = v->tidy;
    t->prepend = v->prepend;
    t->lead = v->lead, t->each_space = v->each_space, t->strip = v->strip, t->marked = v->marked;
    LMF_TRY_TO(done, lmf__bpe_init(&t->bpe, ctx, v));
    LMF_TRY_TO(done, ids_check(ctx, v));
    if (literal)
        LMF_TRY_TO(done, lmf__wordpiece_init(&t->pieces, ctx, v, &t->bpe));
    if ((t->ids.add_bos && t->ids.bos < 0) || (t->ids.add_eos && t->ids.eos < 0)) {
        s = LMF_FAIL(ctx, LMF_E_FORMAT, "the vocabulary asks for %s before or behind a text and has none", t->ids.bos < 0 ? "BOS" : "EOS");
        goto done;
    }
    LMF_TRY_TO(done, norm_init(t, v));
    LMF_TRY_TO(done, added_init(t, v));
    *out = t, t = NULL;
done:
    lmf_tokenizer_destroy(t);
    return s;
}

void lmf_tokenizer_destroy(lmf_tokenizer *t)
{
    if (!t)
        return;
    lmf_ctx *ctx = t->ctx;
    lmf_free(ctx, t->added, t->bpe.n_tokens);
    for (int k = 0; k < 2; k++)
        lmf_free(ctx, t->set[k].e, t->set[k].cap * sizeof *t->set[k].e);
    lmf_arena_clear(&t->arena);
    lmf__bpe_clear(&t->bpe);
    lmf_delete(ctx, t);
}

/* ---- encode ---- */
typedef struct encoding {
    const lmf_tokenizer *t;
    const uint8_t *text;
    size_t         n;
    unsigned       flags;
    bool           is_normal;          /* text went through the steps */
    bool           is_first;           /* nothing of the caller's text is before text */
    lmf_ids       *ids;
    const size_t  *foreign;   /* positions, ascending, that no control token may cover */
    size_t         n_foreign;
} encoding;

static bool covers_foreign(const encoding *e, size_t begin, size_t end)
{
    size_t lo = 0, hi = e->n_foreign; /* the first position from begin on */
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (e->foreign[mid] < begin)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < e->n_foreign && e->foreign[lo] < end;
}

/* The longest added token at text[at]; -1 if none. Each step narrows the sorted range by one byte. */
static int32_t added_at(const added_set *set, const uint8_t *text, size_t n, size_t at, size_t *bytes)
{
    size_t lo = set->first[text[at]].lo, hi = set->first[text[at]].hi;
    int32_t best = -1;
    for (size_t d = 1; lo < hi; d++) {
        if (set->e[lo].n == d) {
            best = set->e[lo++].id;
            *bytes = d;
            while (lo < hi && set->e[lo].n == d) /* another token that is the same after the steps */
                lo++;
        }
        if (at + d >= n || lo == hi)
            break;
        uint8_t c = text[at + d];
        size_t x = lo, y = hi;
        while (x < y) { /* first with byte >= c */
            size_t mid = x + (y - x) / 2;
            if (set->e[mid].p[d] < c) x = mid + 1; else y = mid;
        }
        lo = x, y = hi;
        while (x < y) { /* first with byte > c */
            size_t mid = x + (y - x) / 2;
            if (set->e[mid].p[d] <= c) x = mid + 1; else y = mid;
        }
        hi = x;
    }
    return best;
}

/* The last character of text[from, to); cp -1 where there is none or it is a stray byte. */
static lmf_char char_before(const uint8_t *text, size_t from, size_t to)
{
    for (size_t k = 1; k <= 4 && from + k <= to; k++)
        if ((text[to - k] & 0xc0) != 0x80) {
            lmf_char c = lmf__char_at(text, to, to - k);
            if (c.n == k)
                return c;
            break;
        }
    return (lmf_char){ -1, LMF_CHAR_OTHER, 1 };
}

static bool is_stripped(const lmf_tokenizer *t, lmf_char c, int k)
{
    return c.cls == LMF_CHAR_SPACE && !(k == 1 && t->marked && c.cp == ' ');
}

static bool is_part_of_word(const uint8_t *text, size_t from, size_t to, size_t begin, size_t end)
{
    return (begin > from && lmf__char_is_word(char_before(text, from, begin).cp)) ||
           (end < to && lmf__char_is_word(lmf__char_at(text, to, end).cp));
}

static size_t spaced_end(const lmf_tokenizer *t, const uint8_t *text, size_t from, size_t to)
{
    if (!t->each_space)
        return lmf__bpe_cut(&t->bpe, text, from, to);
    const uint8_t *space = from + 1 < to ? memchr(text + from + 1, ' ', to - from - 1) : NULL;
    return space ? (size_t)(space - text) : to;
}

static lmf_status encode_spaced(const encoding *e, size_t from, size_t to)
{
    const lmf_tokenizer *t = e->t;
    size_t at = from;
    if (e->text[from] != ' ' && (t->lead == LMF_LEAD_ALWAYS || (t->lead == LMF_LEAD_FIRST && e->is_first && from == 0))) {
        lmf_buf word;
        at = spaced_end(t, e->text, from, to);
        lmf_buf_init(&word, e->ids->ctx, LMF_TEXT_MAX_BYTES + 1);
        lmf_status s = lmf_buf_putc(&word, ' ');
        if (!s)
            s = lmf_buf_append(&word, e->text + from, at - from);
        if (!s)
            s = lmf__bpe_word(&t->bpe, (const uint8_t *)word.data, word.n, e->ids);
        lmf_buf_clear(&word);
        LMF_TRY(s);
    }
    for (size_t end; at < to; at = end) {
        end = spaced_end(t, e->text, at, to);
        LMF_TRY(lmf__bpe_word(&t->bpe, e->text + at, end - at, e->ids));
    }
    return LMF_OK;
}

static lmf_status encode_words(const encoding *e, size_t from, size_t to)
{
    if (e->t->bpe.literal)
        return lmf__wordpiece_text(&e->t->pieces, &e->t->bpe, e->text + from, to - from, e->ids);
    if (e->t->bpe.spaced)
        return encode_spaced(e, from, to);
    for (size_t at = from; at < to;) {
        size_t end = from + e->t->pretok->next(e->text + from, to - from, at - from);
        LMF_ASSERT(end > at && end <= to);
        LMF_TRY(lmf__bpe_word(&e->t->bpe, e->text + at, end - at, e->ids));
        at = end;
    }
    return LMF_OK;
}

static lmf_status encode_part(const encoding *e, int k, size_t from, size_t to);

static bool has_control(const lmf_tokenizer *t, const added_set *set)
{
    for (size_t i = 0; i < set->n; i++)
        if (is_special(t->bpe.kind[set->e[i].id]))
            return true;
    return false;
}

static bool begins_with_space(const uint8_t *p, size_t n)
{
    return n && (*p == ' ' || (n >= 3 && !memcmp(p, LMF_SPACE_MARK, 3)));
}

/* A gap between the tokens that are found at first: the steps, then the others. Positions of the text are none of what the steps make. */
static lmf_status encode_gap(const encoding *e, size_t from, size_t to)
{
    const lmf_tokenizer *t = e->t;
    lmf_buf text;
    if ((e->flags & LMF_ENCODE_SPECIAL) && covers_foreign(e, from, to) && has_control(t, &t->set[1]))
        return LMF_FAIL(e->ids->ctx, LMF_E_UNSUPPORTED, "a text spells a control token, and this vocabulary changes texts before it looks for "
                        "some of its own: which are the template's can't be told; let them count everywhere, or take them out of the text");
    lmf_buf_init(&text, e->ids->ctx, LMF_TEXT_MAX_BYTES);
    bool first = e->is_first && from == 0, has_space = begins_with_space(e->text + from, to - from);
    size_t skip = first ? 0 : skipped(t, has_space ? LMF_PREPEND_EACH : LMF_PREPEND_GAPS);
    lmf_status s = lmf__normalize(t->norm + skip, t->n_norm - skip, e->text + from, to - from, &text);
    encoding normal = { t, (const uint8_t *)lmf_buf_str(&text), text.n, e->flags, true, e->is_first && from == 0, e->ids, NULL, 0 };
    if (!s)
        s = encode_part(&normal, 1, 0, text.n);
    lmf_buf_clear(&text);
    return s;
}

/* text[from, to) with added tokens of set k cut out; what lies between goes to the next set, then to the words. */
static lmf_status encode_part(const encoding *e, int k, size_t from, size_t to)
{
    const lmf_tokenizer *t = e->t;
    bool plain = e->flags & LMF_ENCODE_PLAIN;
    k += k == 0 && (!t->set[0].n || plain);
    if (k == 1 && !e->is_normal && !lmf__normalize_is_same(t->norm, t->n_norm, e->text + from, to - from))
        return encode_gap(e, from, to);
    k += k == 1 && (!t->set[1].n || plain);
    if (k == 2)
        return encode_words(e, from, to);
    const added_set *set = &t->set[k];
    size_t done = from, bytes = 0;
    for (size_t at = from; at < to;) {
        int32_t id = set->first[e->text[at]].hi ? added_at(set, e->text, to, at, &bytes) : -1;
        if (id < 0) {
            at++;
            continue;
        }
        size_t begin = at, end = at + bytes;
        unsigned how = t->added ? t->added[id] : 0;
        at = end;
        if ((is_special(t->bpe.kind[id]) && (!(e->flags & LMF_ENCODE_SPECIAL) || covers_foreign(e, begin, end))) || begin < done ||
            ((how & LMF_ADDED_SINGLE_WORD) && is_part_of_word(e->text, from, to, begin, end)))
            continue;
        if (how & LMF_ADDED_LSTRIP)
            for (lmf_char c; begin > done && is_stripped(t, c = char_before(e->text, done, begin), k);)
                begin -= c.n;
        if (how & LMF_ADDED_RSTRIP)
            for (lmf_char c; end < to && is_stripped(t, c = lmf__char_at(e->text, to, end), k);)
                end += c.n;
        if (begin > done)
            LMF_TRY(encode_part(e, k + 1, done, begin));
        LMF_TRY(lmf_ids_append(e->ids, &id, 1));
        done = end;
    }
    return done < to ? encode_part(e, k + 1, done, to) : LMF_OK;
}

lmf_status lmf_tokenizer_encode(const lmf_tokenizer *t, const char *text, size_t n, unsigned flags, lmf_ids *ids)
{
    return lmf_tokenizer_encode_guarded(t, text, n, flags, NULL, 0, ids);
}

lmf_status lmf_tokenizer_encode_guarded(const lmf_tokenizer *t, const char *text, size_t n, unsigned flags, const size_t *foreign,
                                        size_t n_foreign, lmf_ids *ids)
{
    bool bos = (flags & LMF_ENCODE_BOS) || ((flags & LMF_ENCODE_DEFAULTS) && t->ids.add_bos);
    bool eos = (flags & LMF_ENCODE_EOS) || ((flags & LMF_ENCODE_DEFAULTS) && t->ids.add_eos);
    if ((bos && t->ids.bos < 0) || (eos && t->ids.eos < 0))
        return LMF_FAIL(ids->ctx, LMF_E_ARG, "the vocabulary has no %s token to add", bos && t->ids.bos < 0 ? "BOS" : "EOS");
    if (n > LMF_TEXT_MAX_BYTES)
        return LMF_FAIL(ids->ctx, LMF_E_LIMIT, "a text of %zu bytes; at most %d are encoded at once", n, LMF_TEXT_MAX_BYTES);
    encoding e = { t, (const uint8_t *)text, n, flags, false, true, ids, foreign, n_foreign };
    size_t n_before = ids->n, dropped_before = ids->n_dropped;
    lmf_status s = bos ? lmf_ids_append(ids, &t->ids.bos, 1) : LMF_OK;
    if (!s && n)
        s = encode_part(&e, 0, 0, n);
    if (!s && eos)
        s = lmf_ids_append(ids, &t->ids.eos, 1);
    if (s) {
        ids->n = n_before;
        ids->n_dropped = dropped_before;
    }
    return s;
}

/* ---- decode ---- */
const lmf_bpe *lmf__tokenizer_bpe(const lmf_tokenizer *t) { return &t->bpe; }
size_t lmf_tokenizer_n_tokens(const lmf_tokenizer *t) { return t->bpe.n_tokens; }
const lmf_token_ids *lmf_tokenizer_ids(const lmf_tokenizer *t) { return &t->ids; }

const uint8_t *lmf_tokenizer_piece(const lmf_tokenizer *t, int32_t id, size_t *n)
{
    if (id < 0 || (size_t)id >= t->bpe.n_tokens)
        return *n = 0, NULL;
    *n = t->bpe.begin[id + 1] - t->bpe.begin[id];
    return t->bpe.bytes + t->bpe.begin[id];
}

lmf_token_kind lmf_tokenizer_kind(const lmf_tokenizer *t, int32_t id)
{
    return id < 0 || (size_t)id >= t->bpe.n_tokens ? LMF_TOKEN_UNUSED : (lmf_token_kind)t->bpe.kind[id];
}

int32_t lmf_tokenizer_find(const lmf_tokenizer *t, const char *text, size_t n)
{
    size_t bytes = 0, piece;
    for (int k = 0; k < 2 && n; k++) {
        int32_t id = added_at(&t->set[k], (const uint8_t *)text, n, 0, &bytes);
        const uint8_t *p = id >= 0 ? lmf_tokenizer_piece(t, id, &piece) : NULL;
        if (p && piece == n && !memcmp(p, text, n))
            return id;
    }
    for (size_t i = 0; t->n_norm && i < t->set[1].n; i++) { /* kept as they are after the steps */
        const uint8_t *p = lmf_tokenizer_piece(t, t->set[1].e[i].id, &piece);
        if (piece == n && !memcmp(p, text, n))
            return t->set[1].e[i].id;
    }
    return n ? lmf__bpe_find(&t->bpe, (const uint8_t *)text, n) : -1;
}

size_t lmf_tokenizer_end_of(const lmf_tokenizer *t, int32_t id, const char *text, size_t n, size_t at)
{
    size_t n_piece, i = 0, to = at;
    const uint8_t *p = lmf_tokenizer_piece(t, id, &n_piece);
    lmf_token_kind kind = lmf_tokenizer_kind(t, id);
    unsigned how = t->added && (is_special(kind) || kind == LMF_TOKEN_USER_DEFINED) ? t->added[id] : 0;
    if (how & LMF_ADDED_LSTRIP)
        to = lmf__char_run((const uint8_t *)text, n, to, LMF_CHAR_SPACE, SIZE_MAX);
    for (; i < n_piece; i++) {
        if (to < n && (uint8_t)text[to] == p[i])
            to++;
        else if (t->bpe.spaced && p[i] == ' ')
            to += n - to >= 3 && !memcmp(text + to, LMF_SPACE_MARK, 3) ? 3 : 0; /* none: it was put in front */
        else
            return at + n_piece < n ? at + n_piece : n;
    }
    if (how & LMF_ADDED_RSTRIP)
        to = lmf__char_run((const uint8_t *)text, n, to, LMF_CHAR_SPACE, SIZE_MAX);
    return to;
}

int32_t lmf_tokenizer_control_at(const lmf_tokenizer *t, const char *text, size_t n, size_t at, size_t *bytes)
{
    const uint8_t *p = (const uint8_t *)text;
    for (int k = 0; k < 2; k++) {
        int32_t id = at < n && t->set[k].n && t->set[k].first[p[at]].hi ? added_at(&t->set[k], p, n, at, bytes) : -1;
        if (id >= 0 && is_special(t->bpe.kind[id]))
            return id;
    }
    return *bytes = 0, -1;
}

static lmf_status piece_shown(const lmf_tokenizer *t, lmf_ctx *ctx, int32_t id, unsigned flags, const uint8_t **p, size_t *n)
{
    *p = lmf_tokenizer_piece(t, id, n);
    if (id < 0)
        return LMF_FAIL(ctx, LMF_E_ARG, "token id %d is none", id);
    if (!*p) /* a row of a padded embedding, which sampling can choose: no text, as in transformers */
        *p = (const uint8_t *)"", *n = 0;
    else if ((flags & LMF_DECODE_SKIP_SPECIAL) && (is_special(t->bpe.kind[id]) || t->bpe.kind[id] == LMF_TOKEN_UNUSED))
        *n = 0;
    return LMF_OK;
}

lmf_status lmf_tokenizer_decode(const lmf_tokenizer *t, const int32_t *ids, size_t n_ids, unsigned flags, lmf_buf *out)
{
    const uint8_t *p;
    size_t n;
    bool begun = false;
    for (size_t i = 0; i < n_ids; i++) {
        LMF_TRY(piece_shown(t, out->ctx, ids[i], flags, &p, &n));
        bool leave_out = t->strip && !begun && n && *p == ' ', space = false;
        if (t->bpe.literal)
            lmf__wordpiece_shown(&t->pieces, t->tidy, begun, &p, &n, &space);
        begun |= n > 0;
        if (space)
            LMF_TRY(lmf_buf_putc(out, ' '));
        LMF_TRY(lmf_buf_append(out, p + leave_out, n - leave_out));
    }
    return LMF_OK;
}

static const char replacement[] = "\xef\xbf\xbd"; /* U+FFFD */

lmf_status lmf_decode_stream_push(lmf_decode_stream *d, const lmf_tokenizer *t, int32_t id, unsigned flags, lmf_buf *out)
{
    const uint8_t *p;
    size_t n;
    LMF_TRY(piece_shown(t, out->ctx, id, flags, &p, &n));
    bool leave_out = t->strip && !d->begun && n && *p == ' ', space = false;
    if (t->bpe.literal)
        lmf__wordpiece_shown(&t->pieces, t->tidy, d->begun, &p, &n, &space);
    d->begun |= n > 0;
    if (space)
        LMF_TRY(lmf_decode_stream_bytes(d, " ", 1, out));
    return lmf_decode_stream_bytes(d, p + leave_out, n - leave_out, out);
}

lmf_status lmf_decode_stream_bytes(lmf_decode_stream *d, const void *bytes, size_t n, lmf_buf *out)
{
    const uint8_t *p = bytes;
    size_t at = 0;
    int32_t cp;
    while (at < n || d->n_wait) {
        /* what waits is completed byte by byte; the rest is taken in runs */
        if (d->n_wait) {
            int k = lmf__utf8_scan(d->wait, d->n_wait, &cp);
            if (k > 0) {
                LMF_TRY(lmf_buf_append(out, d->wait, (size_t)k));
            } else if (k < 0) {
                LMF_TRY(lmf_buf_append(out, replacement, 3));
                k = -k;
            } else if (at < n) {
                d->wait[d->n_wait++] = p[at++];
                continue;
            } else {
                return LMF_OK;
            }
            d->n_wait -= (uint8_t)k;
            memmove(d->wait, d->wait + k, d->n_wait);
            continue;
        }
        size_t end = at;
        int k;
        while (end < n && (k = lmf__utf8_scan(p + end, n - end, &cp)) > 0)
            end += (size_t)k;
        LMF_TRY(lmf_buf_append(out, p + at, end - at));
        at = end;
        if (at < n)
            d->wait[d->n_wait++] = p[at++];
    }
    return LMF_OK;
}

lmf_status lmf_decode_stream_end(lmf_decode_stream *d, lmf_buf *out)
{
    bool waits = d->n_wait > 0;
    d->n_wait = 0;
    return waits ? lmf_buf_append(out, replacement, 3) : LMF_OK;
}
