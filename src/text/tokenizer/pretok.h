/* SPDX-License-Identifier: Apache-2.0 */
/* pretok: cutting text into words before the merges; no merge crosses a word's end. A family's rule is one row in one
 * file, src/text/pretok_<stem>.c, that defines `const lmf_pretok lmf_pretok_<stem>`; the build collects the rows into
 * ctx->tables->pretoks. A new family adds that file and edits nothing. What families share is below.
 *
 *     static size_t next(const uint8_t *text, size_t n, size_t at) { return lmf__split_llama3(text, n, at, 1); }
 *     static const char *const names[] = { "qwen2", NULL };
 *     const lmf_pretok lmf_pretok_qwen2 = { .names = names, .next = next, .hf_regex = "..." };
 *
 * Text is any bytes. A byte that is no part of a valid UTF-8 sequence (overlong forms, surrogates and code points past
 * 10FFFF are not valid) counts as one character that is neither letter, number nor space.
 * Categories are Unicode 16.0's, as in Oniguruma 6.9.10 below HF tokenizers 0.23. Threads: rows are constant. */
#ifndef LMF_TEXT_PRETOK_H
#define LMF_TEXT_PRETOK_H
#include "base/ctx.h"

typedef enum lmf_digits { LMF_DIGITS_NO, LMF_DIGITS_RUN, LMF_DIGITS_EACH } lmf_digits; /* HF's Digits, absent | runs | individual */

typedef struct lmf_pretok {
    const char *const *names;   /* GGUF's tokenizer.ggml.pre, the usual one first; NULL-ended */
    /* End of the word that begins at `at` < n: greater than at, at most n. A pure function of its arguments, linear over a
     * whole text: a word's length may be scanned a fixed number of times. */
    size_t   (*next)(const uint8_t *text, size_t n, size_t at);
    const char *hf_regex;       /* pattern of tokenizer.json's Split (isolated) that this row is, byte for byte */
    lmf_digits  hf_digits;      /* Digits step in front of it */
    bool        whole_words;    /* family's default: a word that is a token is that token, merges or not */
    bool        add_bos;        /* family's default where a file does not say */
} lmf_pretok;

/* What a tokenizer.json says in pre_tokenizer, a Sequence flattened. */
typedef struct lmf_pretok_desc {
    const char *split_regex;    /* Split's pattern, behavior Isolated, invert false; NULL: no Split */
    lmf_digits  digits;
    bool        byte_level;     /* a ByteLevel step, here or as the whole */
    bool        use_regex;      /* ByteLevel's: its own pattern, which is GPT-2's */
    bool        add_prefix_space;
} lmf_pretok_desc;

#define LMF_REGEX_GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

/* NULL if no row has that name. */
const lmf_pretok *lmf_pretok_find(const lmf_ctx *ctx, const char *name);
/* Name of the row that does what desc says; LMF_E_UNSUPPORTED names the pattern that none does. */
lmf_status lmf_pretok_resolve(lmf_ctx *ctx, const lmf_pretok_desc *desc, const char **name);

/* ---- for rows ---- */
typedef enum lmf_char_class { LMF_CHAR_OTHER, LMF_CHAR_LETTER, LMF_CHAR_NUMBER, LMF_CHAR_SPACE } lmf_char_class; /* \p{L}, \p{N}, \s */
typedef struct lmf_char { int32_t cp; uint8_t cls, n; } lmf_char; /* cp -1: a stray byte; n: bytes, at least 1 */

/* One step over p[0, n), n > 0. k > 0: a valid character of k bytes, *cp set. k < 0: not valid, -k bytes are one maximal
 * ill-formed part (Unicode 3.9, as U+FFFD is put for). 0: all n bytes begin a character that needs more. */
int lmf__utf8_scan(const uint8_t *p, size_t n, int32_t *cp);
lmf_char lmf__char_wide(const uint8_t *text, size_t n, size_t at);  /* for bytes of 0x80 and up */
bool lmf__char_is_word(int32_t cp);                                 /* \w as in Rust's regex: what SINGLE_WORD looks at */
extern const uint8_t lmf__ascii_class[128];

static inline lmf_char lmf__char_at(const uint8_t *text, size_t n, size_t at)
{
    uint8_t b = text[at];
    return b < 0x80 ? (lmf_char){ b, lmf__ascii_class[b], 1 } : lmf__char_wide(text, n, at);
}

/* End of the run of characters of one class from `at` on, at most max of them. */
static inline size_t lmf__char_run(const uint8_t *text, size_t n, size_t at, int cls, size_t max)
{
    for (; at < n && max; max--) {
        lmf_char c = lmf__char_at(text, n, at);
        if (c.cls != cls)
            break;
        at += c.n;
    }
    return at;
}

/* LMF_REGEX_GPT2; with numbers_alone each number is a word and ends the text before it, as HF's Digits(individual). */
size_t lmf__split_gpt2(const uint8_t *text, size_t n, size_t at, bool numbers_alone);
/* Llama 3's pattern (pretok_llama_bpe.c), numbers in groups of at most max_numbers. */
size_t lmf__split_llama3(const uint8_t *text, size_t n, size_t at, size_t max_numbers);

#endif
