/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: time is linear whatever the text: marks are put in order by counting where there are many, and a character is looked at
 * a fixed number of times. What no form changes is copied in runs. */
#include "text/tokenizer/normalize.h"
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>
#include "text/tokenizer/bert_chars.h"
#include "text/tokenizer/pretok.h"

enum { FEW_MARKS = 24, MAX_PARTS = 32 }; /* no character decomposes into more than 18 */

typedef struct work {
    lmf_ctx *ctx;
    int32_t *cp, *spare;       /* [cap] code points, and room to sort them */
    size_t   n, cap;
} work;

static lmf_status work_reserve(work *w, size_t extra)
{
    if (extra <= w->cap - w->n)
        return LMF_OK;
    size_t cap = w->cap ? 2 * w->cap : 256;
    cap = cap < w->n + extra ? w->n + extra : cap;
    int32_t *cp = lmf_realloc(w->ctx, w->cp, w->cap * sizeof *cp, cap * sizeof *cp);
    w->cp = cp ? cp : w->cp;
    int32_t *spare = cp ? lmf_alloc(w->ctx, cap * sizeof *spare) : NULL;
    if (!spare) {
        if (cp)
            lmf_free(w->ctx, cp, cap * sizeof *cp), w->cp = NULL, lmf_free(w->ctx, w->spare, w->cap * sizeof *cp), w->spare = NULL,
                w->cap = 0;
        return LMF_NO_MEMORY(w->ctx, cap * sizeof *cp, "normalizing text");
    }
    lmf_free(w->ctx, w->spare, w->cap * sizeof *spare);
    w->spare = spare;
    w->cap = cap;
    return LMF_OK;
}

/* Characters with a form or a class of marks that came after Unicode 9, whose data HF tokenizers' forms have: to them they are letters. */
static const struct { int32_t first, last; } newer[] = {
    { 0x7fd, 0x7fd }, { 0x898, 0x89f }, { 0x8ca, 0x8d3 }, { 0x9fe, 0x9fe }, { 0xc3c, 0xc3c }, { 0xd3b, 0xd3c }, { 0xeba, 0xeba },
    { 0x1715, 0x1715 }, { 0x1abf, 0x1ace }, { 0x1df6, 0x1dfa }, { 0x32ff, 0x32ff }, { 0xa7f2, 0xa7f4 }, { 0xa82c, 0xa82c },
    { 0xab69, 0xab69 }, { 0x10781, 0x10785 }, { 0x10787, 0x107b0 }, { 0x107b2, 0x107ba }, { 0x10d24, 0x10d27 }, { 0x10eab, 0x10eac },
    { 0x10efd, 0x10eff }, { 0x10f46, 0x10f50 }, { 0x10f82, 0x10f85 }, { 0x11070, 0x11070 }, { 0x1133b, 0x1133b }, { 0x1145e, 0x1145e },
    { 0x11839, 0x1183a }, { 0x11938, 0x11938 }, { 0x1193d, 0x1193e }, { 0x11943, 0x11943 }, { 0x119e0, 0x119e0 }, { 0x11a34, 0x11a34 },
    { 0x11a47, 0x11a47 }, { 0x11a99, 0x11a99 }, { 0x11d42, 0x11d42 }, { 0x11d44, 0x11d45 }, { 0x11d97, 0x11d97 }, { 0x11f41, 0x11f42 },
    { 0x16ff0, 0x16ff1 }, { 0x1e030, 0x1e06d }, { 0x1e08f, 0x1e08f }, { 0x1e130, 0x1e136 }, { 0x1e2ae, 0x1e2ae }, { 0x1e2ec, 0x1e2ef },
    { 0x1e4ec, 0x1e4ef }, { 0x1f16c, 0x1f16c }, { 0x1fbf0, 0x1fbf9 }
};

static bool is_newer(int32_t cp)
{
    size_t lo = 0, hi = sizeof newer / sizeof *newer;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (newer[mid].last < cp) lo = mid + 1; else hi = mid;
    }
    return lo < sizeof newer / sizeof *newer && newer[lo].first <= cp;
}

static int class_of(int32_t cp) { return utf8proc_get_property(cp)->combining_class; }

/* Marks in order of their class, equals as they stood: cp[from, to) all have a class. */
static void order_marks(work *w, size_t from, size_t to)
{
    size_t start[256] = { 0 };
    if (to - from <= FEW_MARKS) {
        for (size_t i = from + 1; i < to; i++) {
            int32_t moved = w->cp[i];
            size_t k = i;
            for (; k > from && class_of(w->cp[k - 1]) > class_of(moved); k--)
                w->cp[k] = w->cp[k - 1];
            w->cp[k] = moved;
        }
        return;
    }
    for (size_t i = from; i < to; i++)
        start[class_of(w->cp[i])]++;
    for (size_t c = 0, sum = 0, n; c < 256; c++, sum += n)
        n = start[c], start[c] = sum;
    for (size_t i = from; i < to; i++)
        w->spare[start[class_of(w->cp[i])]++] = w->cp[i];
    memcpy(w->cp + from, w->spare, (to - from) * sizeof *w->cp);
}

/* Appends one form of text[0, n), which is valid UTF-8. */
static lmf_status put_form(work *w, lmf_norm_kind kind, const uint8_t *text, size_t n, lmf_buf *out)
{
    bool compat = kind == LMF_NORM_NFKC || kind == LMF_NORM_NFKD, compose = kind == LMF_NORM_NFC || kind == LMF_NORM_NFKC;
    utf8proc_option_t how = UTF8PROC_STABLE | (compose ? UTF8PROC_COMPOSE : UTF8PROC_DECOMPOSE) | (compat ? UTF8PROC_COMPAT : 0);
    w->n = 0;
    for (size_t at = 0; at < n;) {
        int32_t cp;
        int bound = 0, k = lmf__utf8_scan(text + at, n - at, &cp);
        LMF_ASSERT(k > 0);
        LMF_TRY(work_reserve(w, MAX_PARTS));
        utf8proc_ssize_t parts = utf8proc_decompose_char(cp, w->cp + w->n, MAX_PARTS, (utf8proc_option_t)(how | UTF8PROC_DECOMPOSE),
            &bound);
        if (parts < 0 || parts > MAX_PARTS)
            return LMF_FAIL(w->ctx, LMF_E_INTERNAL, "U+%04X has no normal form", (unsigned)cp);
        w->n += (size_t)parts;
        at += (size_t)k;
    }
    for (size_t i = 0, end; i < w->n; i = end) {
        for (end = i; end < w->n && class_of(w->cp[end]); end++)
            ;
        if (end - i > 1)
            order_marks(w, i, end);
        end += end == i;
    }
    utf8proc_ssize_t left = compose ? utf8proc_normalize_utf32(w->cp, (utf8proc_ssize_t)w->n, how) : (utf8proc_ssize_t)w->n;
    for (utf8proc_ssize_t i = 0; i < left; i++) {
        utf8proc_uint8_t b[4];
        LMF_TRY(lmf_buf_append(out, b, (size_t)utf8proc_encode_char(w->cp[i], b)));
    }
    return LMF_OK;
}

/* Runs that a form may change: from the ASCII letter before the first other character on, which a mark may join, to the next ASCII. */
static lmf_status put_forms(lmf_ctx *ctx, lmf_norm_kind kind, const uint8_t *text, size_t n, lmf_buf *out)
{
    work w = { .ctx = ctx };
    lmf_status s = LMF_OK;
    for (size_t at = 0; at < n && !s;) {
        size_t begin = at, end;
        while (begin < n && text[begin] < 0x80)
            begin++;
        begin -= begin > at && begin < n;
        s = lmf_buf_append(out, text + at, begin - at);
        bool touched = false;
        for (end = begin + (begin < n && text[begin] < 0x80); end < n && text[end] >= 0x80; end++)
            touched |= kind != LMF_NORM_NFC || text[end] >= 0xcc;
        for (size_t i = begin, stop; i < end && !s; i = stop) {
            int32_t cp;
            int k = 0;
            for (stop = i; stop < end && (k = lmf__utf8_scan(text + stop, end - stop, &cp)) > 0 && !is_newer(cp); stop += (size_t)k)
                ;
            s = !touched ? lmf_buf_append(out, text + i, stop - i) : stop > i ? put_form(&w, kind, text + i, stop - i, out) : LMF_OK;
            size_t stray = stop == end ? 0 : k ? (size_t)abs(k) : end - stop; /* no valid character, or a newer one: as it is */
            if (!s)
                s = lmf_buf_append(out, text + stop, stray);
            stop += stray;
        }
        at = end;
    }
    lmf_free(ctx, w.cp, w.cap * sizeof *w.cp);
    lmf_free(ctx, w.spare, w.cap * sizeof *w.spare);
    return s;
}

/* Small letters that came after Unicode 15.0: a range, and how far its small ones are; step 2: every second is a capital. */
static int32_t lower_of(int32_t cp)
{
    static const struct { int32_t first, last, add, step; } rows[] = { { 0x1c89, 0x1c89, 1, 1 }, { 0xa7cb, 0xa7cb, 0x264 - 0xa7cb, 1 },
        { 0xa7cc, 0xa7ce, 1, 2 },
        { 0xa7d2, 0xa7d4, 1, 2 }, { 0xa7da, 0xa7da, 1, 1 }, { 0xa7dc, 0xa7dc, 0x19b - 0xa7dc, 1 }, { 0x10d50, 0x10d65, 32, 1 }, { 0x16ea0,
            0x16eb8, 27, 1 } };
    for (size_t i = 0; cp >= rows[0].first && i < sizeof rows / sizeof *rows; i++)
        if (cp >= rows[i].first && cp <= rows[i].last && (cp - rows[i].first) % rows[i].step == 0)
            return cp + rows[i].add;
    return utf8proc_tolower(cp);
}

static lmf_status put_lower(const uint8_t *text, size_t n, lmf_buf *out)
{
    for (size_t at = 0; at < n;) {
        int32_t cp;
        utf8proc_uint8_t b[4];
        int k = lmf__utf8_scan(text + at, n - at, &cp);
        if (k <= 0) {
            k = k < 0 ? -k : (int)(n - at);
            LMF_TRY(lmf_buf_append(out, text + at, (size_t)k));
        } else if (cp == 0x130) {
            LMF_TRY(lmf_buf_puts(out, "i\xcc\x87")); /* the one letter whose small form is two characters */
        } else {
            LMF_TRY(lmf_buf_append(out, b, (size_t)utf8proc_encode_char(lower_of(cp), b)));
        }
        at += (size_t)k;
    }
    return LMF_OK;
}

static lmf_status put_replaced(const lmf_norm_step *s, const uint8_t *text, size_t n, lmf_buf *out)
{
    size_t at = 0;
    while (s->n_pattern) {
        const uint8_t *hit = memmem(text + at, n - at, s->pattern, s->n_pattern);
        if (!hit)
            break;
        LMF_TRY(lmf_buf_append(out, text + at, (size_t)(hit - text) - at));
        LMF_TRY(lmf_buf_append(out, s->text, s->n_text));
        at = (size_t)(hit - text) + s->n_pattern;
    }
    return lmf_buf_append(out, text + at, n - at);
}

/* CLEAN, IDEOGRAPHS or STRIP_MARKS, character by character. */
static lmf_status put_bert(lmf_norm_kind kind, const uint8_t *text, size_t n, lmf_buf *out)
{
    for (size_t at = 0, k; at < n; at += k) {
        lmf_char c = lmf__char_at(text, n, at);
        bool spaced = kind == LMF_NORM_IDEOGRAPHS && lmf__bert_is_ideograph(c.cp);
        k = c.n;
        if (kind == LMF_NORM_CLEAN && (c.cp < 0 || lmf__bert_is_dropped(c.cp))) /* U+FFFD goes, and what others would put it for */
            continue;
        if (kind == LMF_NORM_STRIP_MARKS && lmf__bert_is_mark(c.cp))
            continue;
        if (kind == LMF_NORM_CLEAN && c.cls == LMF_CHAR_SPACE) {
            LMF_TRY(lmf_buf_putc(out, ' '));
            continue;
        }
        if (spaced)
            LMF_TRY(lmf_buf_putc(out, ' '));
        LMF_TRY(lmf_buf_append(out, text + at, k));
        if (spaced)
            LMF_TRY(lmf_buf_putc(out, ' '));
    }
    return LMF_OK;
}

static lmf_status put_step(const lmf_norm_step *s, const uint8_t *text, size_t n, lmf_buf *out)
{
    switch (s->kind) {
    case LMF_NORM_LOWERCASE: return put_lower(text, n, out);
    case LMF_NORM_REPLACE: return put_replaced(s, text, n, out);
    case LMF_NORM_PREPEND:
        if (n)
            LMF_TRY(lmf_buf_append(out, s->text, s->n_text));
        return lmf_buf_append(out, text, n);
    case LMF_NORM_CLEAN: case LMF_NORM_IDEOGRAPHS: case LMF_NORM_STRIP_MARKS: return put_bert(s->kind, text, n, out);
    case LMF_NORM_NFC: case LMF_NORM_NFD: case LMF_NORM_NFKC: case LMF_NORM_NFKD: break;
    }
    return put_forms(out->ctx, s->kind, text, n, out);
}

bool lmf__normalize_is_same(const lmf_norm_step *step, size_t n_steps, const uint8_t *text, size_t n)
{
    uint8_t least = 0xff, top = 0;
    for (size_t i = 0; i < n_steps; i++) {
        if (step[i].kind == LMF_NORM_REPLACE && !(step[i].n_pattern && memmem(text, n, step[i].pattern, step[i].n_pattern)))
            continue;
        if (step[i].kind > LMF_NORM_NFKD)
            return false;
        uint8_t limit = step[i].kind == LMF_NORM_NFC ? 0xcc : 0x80; /* U+0300 is the first that a composition may change */
        least = limit < least ? limit : least;
    }
    for (size_t i = 0; i < n; i++)
        top = text[i] > top ? text[i] : top;
    return top < least;
}

lmf_status lmf__normalize(const lmf_norm_step *step, size_t n_steps, const uint8_t *text, size_t n, lmf_buf *out)
{
    lmf_buf part[2];
    lmf_status s = LMF_OK;
    for (int i = 0; i < 2; i++)
        lmf_buf_init(&part[i], out->ctx, out->max);
    for (size_t i = 0; i < n_steps && !s; i++) {
        lmf_buf *to = i + 1 == n_steps ? out : &part[i & 1];
        if (to != out)
            lmf_buf_truncate(to, 0);
        s = put_step(&step[i], text, n, to);
        text = (const uint8_t *)to->data, n = to->n;
    }
    if (!n_steps)
        s = lmf_buf_append(out, text, n);
    lmf_buf_clear(&part[0]);
    lmf_buf_clear(&part[1]);
    return s;
}
