/* SPDX-License-Identifier: Apache-2.0 */
/* tokenizer: text to token ids and back, from a plain vocabulary (no files, no tensors: loaders fill lmf_vocab).
 *
 * Text is bytes. UTF-8 is expected but not demanded: a stray byte is a character of its own (pretok.h), gets the token of
 * that byte, and comes back unchanged. A byte that has no token (SmolLM2 lacks 21) is left out, as HF tokenizers does,
 * and counted in lmf_ids.n_dropped; it is never replaced by the unknown token.
 * Control tokens come out of a text only under LMF_ENCODE_SPECIAL: without it neither the text's own spelling of one nor
 * any merge gives its id, so text from a user cannot forge them.
 *
 * Owner: the tokenizer copies what it needs, the vocabulary may go after create. Threads: after create it is constant;
 * any number of threads may use one, each with its own lmf_ids and lmf_buf.
 *
 *     lmf_ids ids;
 *     lmf_ids_init(&ids, ctx, 4096);
 *     s = lmf_tokenizer_encode(tok, text, n, LMF_ENCODE_DEFAULTS, &ids);   // ids.data[0 .. ids.n)
 *     lmf_ids_clear(&ids); */
#ifndef LMF_TEXT_TOKENIZER_H
#define LMF_TEXT_TOKENIZER_H
#include "base/buf.h"
#include "base/ctx.h"

/* GGUF's tokenizer.ggml.token_type. NORMAL and BYTE come from merges; USER_DEFINED are added tokens found in any text;
 * CONTROL and UNKNOWN only under LMF_ENCODE_SPECIAL; UNUSED never. */
typedef enum lmf_token_kind {
    LMF_TOKEN_NORMAL = 1, LMF_TOKEN_UNKNOWN, LMF_TOKEN_CONTROL, LMF_TOKEN_USER_DEFINED, LMF_TOKEN_UNUSED, LMF_TOKEN_BYTE
} lmf_token_kind;
/* tokenizer.json's added_tokens, a bit each. NORMALIZED ones are looked for after all others, in the normalized text. */
enum { LMF_ADDED_LSTRIP = 1, LMF_ADDED_RSTRIP = 2, LMF_ADDED_SINGLE_WORD = 4, LMF_ADDED_NORMALIZED = 8,
       LMF_ADDED_WORD = 16 };          /* of WordPiece: a word of the model, too, with which other words may begin */
/* What is done to text before it is cut into words; pattern: what REPLACE looks for, text: what it or PREPEND puts there. */
typedef enum lmf_norm_kind { LMF_NORM_NFC, LMF_NORM_NFD, LMF_NORM_NFKC, LMF_NORM_NFKD, LMF_NORM_LOWERCASE, LMF_NORM_PREPEND,
    LMF_NORM_REPLACE, LMF_NORM_CLEAN, LMF_NORM_IDEOGRAPHS, LMF_NORM_STRIP_MARKS } lmf_norm_kind; /* the last three: BERT's */
typedef struct lmf_norm_step {
    lmf_norm_kind kind;
    const char   *pattern, *text;
    size_t        n_pattern, n_text;
} lmf_norm_step;
typedef enum lmf_lead { LMF_LEAD_NEVER, LMF_LEAD_FIRST, LMF_LEAD_ALWAYS } lmf_lead; /* Metaspace's prepend_scheme */
/* What norm's first step, if it is a PREPEND, is put in front of: EACH gap between added tokens, and the NORMALIZED ones themselves, as HF
 * tokenizers does; GAPS: the first gap, if nothing of the text is before it, and others that begin with no space; FIRST: that first gap
 * alone. The last two are of a tokenizer.model. */
typedef enum lmf_prepend { LMF_PREPEND_EACH, LMF_PREPEND_GAPS, LMF_PREPEND_FIRST } lmf_prepend;
#define LMF_SPACE_MARK "\xe2\x96\x81"        /* U+2581, SentencePiece's space */
typedef enum lmf_choice { LMF_BY_FAMILY, LMF_NO, LMF_YES } lmf_choice; /* BY_FAMILY: what the pre-tokenizer's row says */

enum {
    LMF_VOCAB_MAX_TOKENS = 1 << 21, LMF_VOCAB_MAX_MERGES = 1 << 22,
    LMF_TOKEN_MAX_BYTES = 4096,        /* of one token's text */
    LMF_TEXT_MAX_BYTES = 1 << 28,      /* of one encode */
    LMF_WORD_MAX_BYTES = 1 << 24       /* between two cuts of the pre-tokenizer; takes 32 bytes a byte while it is merged */
};

/* Zero means absent, but ids: -1 is absent (lmf_vocab_init). All pointers are borrowed during create. */
typedef struct lmf_vocab {
    const char        *model;          /* "gpt2" (GGUF) or "BPE" (tokenizer.json); NULL: gpt2; "llama": SentencePiece's BPE, and
                                          "WordPiece", below */
    const char        *pretok;         /* GGUF's tokenizer.ggml.pre, or what lmf_pretok_resolve gave; of llama and WordPiece none */
    size_t             n_tokens;
    const char *const *token;          /* [n_tokens] in the byte-level alphabet; added tokens literally */
    const uint32_t    *token_bytes;    /* [n_tokens]; NULL: they end in NUL */
    const uint8_t     *kind;           /* [n_tokens] lmf_token_kind; NULL: all NORMAL */
    const uint8_t     *added;          /* [n_tokens] LMF_ADDED_*; NULL: none has any. Read for CONTROL, UNKNOWN, USER_DEFINED */
    size_t             n_merges;
    const char *const *merge;          /* [n_merges] "a b", best first */
    const uint32_t    *merge_bytes;    /* [n_merges]; NULL: they end in NUL */
    int32_t            bos, eos, eot, pad, unk;
    bool               bos_unnamed, eos_unnamed; /* put around texts, but no bos_token and eos_token to chat templates */
    lmf_choice         add_bos;        /* what encode adds under LMF_ENCODE_DEFAULTS */
    bool               add_eos;
    lmf_choice         whole_words;    /* tokenizer.json's ignore_merges */
    const lmf_norm_step *norm;         /* [n_norm] tokenizer.json's normalizer, in order */
    size_t             n_norm;
    /* Of the model llama. Tokens are spelled with U+2581 for a space and <0x0A> for a byte (BYTE); norm ends by making U+2581 a space. */
    const float       *score;          /* [n_tokens] neighbours that are a token together merge, the greatest score first; NULL: by merge */
    lmf_prepend        prepend;
    bool               fuse_unk;       /* characters without a token, in a row, are one unk */
    lmf_lead           lead;           /* where a space is put in front of text that begins with none, after norm and late added tokens */
    bool               each_space;     /* no merge goes beyond a space */
    bool               marked;         /* norm makes spaces marks, which flags of tokens that are found behind it do not strip */
    bool               strip;          /* decoding leaves out a space at the very beginning */
    /* Of the model WordPiece. Tokens are spelled as they are; unk stands for a word that no tokens make. A stray byte is part of a word. */
    const char        *piece_prefix;   /* of tokens that go on with a word: "##" */
    size_t             max_word_chars; /* a longer word is unk */
    bool               tidy;           /* decoding leaves out the space before . ? ! , and English short forms */
} lmf_vocab;
void lmf_vocab_init(lmf_vocab *v);     /* all absent */

typedef struct lmf_token_ids { int32_t bos, eos, eot, pad, unk; bool add_bos, add_eos, bos_unnamed,
    eos_unnamed; } lmf_token_ids; /* -1: none */

typedef struct lmf_ids {               /* ids that grow */
    lmf_ctx *ctx;
    int32_t *data;                     /* NULL until the first */
    size_t   n, cap, max;              /* in use, allocated, greatest n */
    size_t   n_dropped;                /* bytes of text that had no token, of all encodes so far */
} lmf_ids;
void       lmf_ids_init(lmf_ids *ids, lmf_ctx *ctx, size_t max);
void       lmf_ids_clear(lmf_ids *ids);                                        /* may be used again */
lmf_status lmf_ids_append(lmf_ids *ids, const int32_t *id, size_t n);          /* LMF_E_LIMIT past max */

typedef struct lmf_tokenizer lmf_tokenizer;
/* LMF_E_FORMAT: an empty vocabulary, a token or merge given twice, a merge of tokens or into a token that is not there, an
 * id out of range, an unknown kind; LMF_E_LIMIT: too many or too long; LMF_E_UNSUPPORTED: another model or pre-tokenizer. */
lmf_status lmf_tokenizer_create(lmf_ctx *ctx, const lmf_vocab *vocab, lmf_tokenizer **out);
void       lmf_tokenizer_destroy(lmf_tokenizer *t);                            /* NULL is fine */

enum {
    LMF_ENCODE_DEFAULTS = 1,           /* BOS and EOS as the vocabulary asks */
    LMF_ENCODE_BOS = 2, LMF_ENCODE_EOS = 4, /* whether it asks or not; LMF_E_ARG where it has none */
    LMF_ENCODE_SPECIAL = 8,            /* control tokens spelled in the text are recognised: for rendered templates */
    LMF_ENCODE_PLAIN = 16              /* not even user-defined ones are */
};
/* Appends to ids. On failure ids are as before. n up to LMF_TEXT_MAX_BYTES. Time O(n log n). */
lmf_status lmf_tokenizer_encode(const lmf_tokenizer *t, const char *text, size_t n, unsigned flags, lmf_ids *ids);
/* The same, where the bytes at foreign[0 .. n_foreign), ascending, are in no control token: what a template took from its user. */
lmf_status lmf_tokenizer_encode_guarded(const lmf_tokenizer *t, const char *text, size_t n, unsigned flags, const size_t *foreign,
                                        size_t n_foreign, lmf_ids *ids);

enum { LMF_DECODE_SKIP_SPECIAL = 1 };  /* CONTROL, UNKNOWN and UNUSED give nothing */
/* Appends the bytes that ids stand for, just as they are (less a first space where the vocabulary says so): not whole UTF-8 if the ids
 * do not end there. An id past the vocabulary, as padded embeddings have, has no text. LMF_E_ARG: a negative id. */
lmf_status lmf_tokenizer_decode(const lmf_tokenizer *t, const int32_t *ids, size_t n, unsigned flags, lmf_buf *out);

/* Decoding token by token: what comes out is whole UTF-8 at every moment. Bytes of a character that is not complete wait;
 * what can be no character becomes U+FFFD, once for each maximal ill-formed part. Zeroed storage to begin with. */
typedef struct lmf_decode_stream { uint8_t wait[4]; uint8_t n_wait; bool begun; } lmf_decode_stream; /* begun: no space is left out */
lmf_status lmf_decode_stream_push(lmf_decode_stream *d, const lmf_tokenizer *t, int32_t id, unsigned flags, lmf_buf *out);
lmf_status lmf_decode_stream_bytes(lmf_decode_stream *d, const void *p, size_t n, lmf_buf *out); /* of text that comes otherwise */
lmf_status lmf_decode_stream_end(lmf_decode_stream *d, lmf_buf *out);          /* bytes that still wait: one U+FFFD */

size_t               lmf_tokenizer_n_tokens(const lmf_tokenizer *t);
const lmf_token_ids *lmf_tokenizer_ids(const lmf_tokenizer *t);
/* The bytes that id stands for (an added token's are its text); NULL if out of range. Lives as long as t. */
const uint8_t       *lmf_tokenizer_piece(const lmf_tokenizer *t, int32_t id, size_t *n);
lmf_token_kind       lmf_tokenizer_kind(const lmf_tokenizer *t, int32_t id);   /* UNUSED if out of range */
/* The id whose piece is text: added tokens first, then words; -1 if there is none. "<|im_end|>", " the". */
int32_t              lmf_tokenizer_find(const lmf_tokenizer *t, const char *text, size_t n);
/* Where the text of id ends that begins at text[at], also if the tokenizer put a space in front or took white space beside it.
 * A normalizer that changes lengths is not followed. */
size_t               lmf_tokenizer_end_of(const lmf_tokenizer *t, int32_t id, const char *text, size_t n, size_t at);
/* The byte that SentencePiece's "<0x0A>" names; -1: text is no such name. */
int                  lmf_byte_token(const void *text, size_t n);
/* The control token that begins at text[at] as encode would see it, -1 if none; *bytes: its length. */
int32_t              lmf_tokenizer_control_at(const lmf_tokenizer *t, const char *text, size_t n, size_t at, size_t *bytes);

#endif
