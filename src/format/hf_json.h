/* SPDX-License-Identifier: Apache-2.0 */
/* hf_json: the JSON files of a Hugging Face model folder, read and written: config.json, generation_config.json,
 * tokenizer.json, tokenizer_config.json, special_tokens_map.json, added_tokens.json and chat_template.jinja.
 *
 * config.json exists in two dialects (transformers 4: torch_dtype, rope_theta, rope_scaling; 5: dtype,
 * rope_parameters). Opening one fills in the keys of the other, so an architecture's table may ask for either
 * spelling by dotted path (json.h); saving writes both. Gemma 3's two kinds of layers are rope_local_base_freq in the one, and
 * rope_parameters.full_attention and .sliding_attention in the other. Keys of a nested text_config are laid over the outer ones.
 * tokenizer.json is read for models of type BPE and WordPiece; others are refused by name.
 * Owner: the caller's storage, open/close; strings are views into the parsed JSON and die with close.
 * Threads: read only after opening.
 *
 *     lmf_hf_config c;
 *     LMF_TRY(lmf_hf_config_open(ctx, dir, &c));
 *     LMF_TRY_TO(done, lmf_json_get_i64(ctx, c.root, "num_hidden_layers", &n_layers)); */
#ifndef LMF_FORMAT_HF_JSON_H
#define LMF_FORMAT_HF_JSON_H
#include "base/arena.h"
#include "format/json.h"
#include "format/reader.h"

typedef struct lmf_hf_config {
    json_t     *root;       /* both dialects filled in */
    const char *arch;       /* architectures[0], or "" */
    const char *model_type; /* or "" */
    const char *dtype;      /* "bfloat16", or "" */
} lmf_hf_config;
lmf_status lmf_hf_config_open(lmf_ctx *ctx, const char *dir, lmf_hf_config *out);
lmf_status lmf_hf_config_parse(lmf_ctx *ctx, const char *text, size_t n, lmf_hf_config *out);
void       lmf_hf_config_close(lmf_hf_config *c);
/* Writes dir/config.json: root with the keys of the other dialect added (root itself stays). */
lmf_status lmf_hf_config_save(lmf_ctx *ctx, const char *dir, const json_t *root);

/* Ids of eos_token_id, an integer or a list of at most cap: generation_config.json if it names any, else
 * config.json. *n is 0 when neither does. */
lmf_status lmf_hf_eos_ids(lmf_ctx *ctx, const char *dir, int32_t *id, int cap, int *n);

typedef struct lmf_hf_added {
    lmf_bytes text;
    int32_t   id;
    bool      special, lstrip, rstrip, normalized, single_word;
} lmf_hf_added;
typedef struct lmf_hf_merge { lmf_bytes left, right; } lmf_hf_merge; /* in order of rank */

typedef struct lmf_hf_tokenizer {
    lmf_ctx      *ctx;
    const char   *file;       /* "tokenizer.json" or "tokenizer.model", for sentences */
    lmf_arena     arena;
    json_t       *root;       /* model.vocab and model.merges may be empty in it */
    lmf_bytes    *word;       /* [n_words] the model's vocabulary, in the file's order */
    int64_t      *word_id;
    size_t        n_words;
    uint32_t     *slot;       /* [n_slots] of the index of words: one more than its place, 0 is free */
    size_t        n_slots;
    lmf_bytes    *token;      /* by id; p NULL: no token has this id */
    size_t        n_tokens;   /* greatest id + 1, added tokens included */
    size_t        cap_tokens; /* room in token */
    size_t        n_left_out; /* added tokens of other files that the model has no row for */
    lmf_hf_merge *merge;      /* left, right and their concatenation are tokens */
    size_t        n_merges;
    lmf_hf_added *added;
    size_t        n_added;
    bool          byte_fallback, ignore_merges, fuse_unk;
    lmf_bytes     unk;        /* p NULL: none */
    bool          wordpiece;  /* no merges; the two below are its */
    lmf_bytes     prefix;     /* of tokens that go on with a word */
    int64_t       max_word_chars;
    const json_t *normalizer, *pre_tokenizer, *post_processor, *decoder; /* NULL: none */
} lmf_hf_tokenizer;
/* LMF_E_UNSUPPORTED names a model type other than BPE and WordPiece, or a BPE with subword prefixes. */
lmf_status lmf_hf_tokenizer_open(lmf_ctx *ctx, const char *dir, lmf_hf_tokenizer *out);
/* The pieces of a tokenizer.model, its control, unknown and user-defined ones as added tokens, without merges and steps. sp
 * stays open as long as out. LMF_E_FORMAT: a piece is there twice. */
struct lmf_sentencepiece;
lmf_status lmf_hf_tokenizer_of_pieces(lmf_ctx *ctx, const struct lmf_sentencepiece *sp, lmf_hf_tokenizer *out);
lmf_status lmf_hf_tokenizer_parse(lmf_ctx *ctx, const char *text, size_t n, lmf_hf_tokenizer *out);
/* The id of a word of the model's vocabulary; -1: it has none of that text. */
int64_t    lmf_hf_tokenizer_find(const lmf_hf_tokenizer *t, const char *text, size_t n);
/* Adds what dir's tokenizer_config.json (added_tokens_decoder, bos_token ..., additional_special_tokens), special_tokens_map.json and
 * added_tokens.json list, as transformers does, and their flags. n_rows: rows of the embedding; a new token past them is left out and
 * counted. LMF_E_FORMAT: two files give a token different ids. */
lmf_status lmf_hf_tokenizer_merge_added(lmf_hf_tokenizer *t, const char *dir, size_t n_rows);
void       lmf_hf_tokenizer_close(lmf_hf_tokenizer *t); /* a zeroed one is fine */

typedef struct lmf_named_text { const char *name, *text; } lmf_named_text;

typedef struct lmf_hf_special { /* what tokenizer_config.json and its neighbours say; "" where nothing does */
    lmf_ctx    *ctx;
    lmf_arena   arena;
    const char *bos, *eos, *pad, *unk; /* tokenizer_config.json's; special_tokens_map.json's where the other has no added_tokens_decoder */
    int         add_bos, add_eos;    /* 1, 0, or -1: not said */
    const char *chat_template;       /* chat_template.jinja if there is one, else the string, else "default" of the list */
    const char *class_name;          /* tokenizer_class */
    lmf_named_text *more;            /* [n_more] templates of other names, of the list or of additional_chat_templates/NAME.jinja */
    size_t      n_more;
    bool        not_text;            /* a template's file was left out, because it is not UTF-8 */
    bool        add_prefix_space, split_special; /* said to be true */
    bool        no_default;          /* there are others, and none of the name default: transformers chooses none either */
    int         legacy, prefix_space; /* 1, 0, or -1: not said. prefix_space: add_prefix_space */
} lmf_hf_special;
/* A folder without tokenizer_config.json gives empty fields, not a failure. */
lmf_status lmf_hf_special_open(lmf_ctx *ctx, const char *dir, lmf_hf_special *out);
void       lmf_hf_special_close(lmf_hf_special *s);

/* A BPE vocabulary to write as tokenizer.json. Texts of JSON may be NULL for null. */
typedef struct lmf_hf_bpe {
    const lmf_bytes    *token;       /* by id, valid UTF-8 in the form that the merges use */
    size_t              n_tokens;
    const lmf_hf_merge *merge;
    size_t              n_merges;
    const lmf_hf_added *added;       /* ids inside the vocabulary or just behind it */
    size_t              n_added;
    const char         *unk;         /* or NULL */
    bool                byte_fallback, ignore_merges, fuse_unk;
    const char *normalizer, *pre_tokenizer, *post_processor, *decoder;
} lmf_hf_bpe;
/* New reference in *out; lmf_json_save writes it as dir/tokenizer.json. */
lmf_status lmf_hf_tokenizer_build(lmf_ctx *ctx, const lmf_hf_bpe *bpe, json_t **out);
/* Writes dir/tokenizer_config.json (PreTrainedTokenizerFast) and, where s has one template, dir/chat_template.jinja; several are a list in
 * the configuration alone. max_tokens: context length, 0 leaves it out. Only the strings, add_* and more of s are used. */
lmf_status lmf_hf_special_save(lmf_ctx *ctx, const char *dir, const lmf_hf_special *s, int64_t max_tokens);

#endif
