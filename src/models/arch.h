/* SPDX-License-Identifier: Apache-2.0 */
/* arch: an architecture is one file src/models/<name>.c with one descriptor: which names it answers to, a table of
 * hyper-parameters, a table of weights (one table reads Hugging Face folders and GGUF files and writes both), and the
 * functions that write its forward graph. A body ends at hidden states; logits belong to the head ops.
 *
 * Shapes in the table are products of letters, outermost first: "H*C,D". Letters are the arch's own `dim`; those in use: V
 * vocabulary, D width, F feed-forward width, H query heads, K key/value heads, C head size, L layers, E experts. */
#ifndef LMF_MODELS_ARCH_H
#define LMF_MODELS_ARCH_H
#include "format/forms.h"
#include "graph/batch.h"

enum { LMF_HPARAM_I32, LMF_HPARAM_F32, LMF_HPARAM_BOOL, LMF_HPARAM_TEXT, /* TEXT: char[LMF_HPARAM_TEXT_BYTES] */
       LMF_HPARAM_LIST };               /* lmf_hparam_list: numbers, or words by their number */
enum { LMF_HPARAM_TEXT_BYTES = 33,      /* 32 bytes and a NUL; longer ones are refused */
       LMF_HPARAM_LIST_ITEMS = 1024 };  /* as many as layers; longer ones are refused */
typedef struct lmf_hparam_list { int32_t n; float v[LMF_HPARAM_LIST_ITEMS]; } lmf_hparam_list; /* n 0: the file does not say it */

/* IMPLIED: where a file form has no place for it, the rest of the file says it. NULL_IS_0: null in config.json is 0, not the fallback.
 * GGUF_0: a GGUF file that does not say it, or can't, says 0. */
enum { LMF_HPARAM_IMPLIED = 1, LMF_HPARAM_NULL_IS_0 = 2, LMF_HPARAM_GGUF_0 = 4 };
typedef struct lmf_hparam {          /* ends with field NULL */
    const char *field;               /* name in the config struct, for sentences */
    const char *hf, *gguf;           /* paths "a.b|c" in config.json: the first that is there counts, the first of all is written; key
                                        with {arch} for the architecture's name. NULL: a value other than the fallback is not exported */
    uint16_t    kind, offset;
    double      fallback;            /* where the file has none */
    bool        required;
    const char *present;             /* BOOL: says whether the model has the tensor of this role; a file that says otherwise is refused */
    const char *words;               /* LIST of words: "full_attention|sliding_attention" */
    uint8_t     flags;               /* LMF_HPARAM_IMPLIED ... */
} lmf_hparam;

enum { LMF_ROW_OPTIONAL = 1, LMF_ROW_LORA_TARGET = 2,
       LMF_ROW_NO_QUANT = 4 };       /* always f32 in memory: norms, biases */
typedef struct lmf_weight_row {      /* ends with role NULL */
    const char *role;                /* "layers.{l}.attn.q" */
    const char *hf, *gguf;           /* name patterns with {l}; NULL: not stored in that form */
    const char *shape;               /* "H*C,D" */
    const char *tied;                /* role whose bytes it shares when the file has none of its own, or NULL */
    uint8_t     hf_form, gguf_form;  /* LMF_FORM_* (format/forms.h) */
    uint8_t     hf_part, hf_n_parts; /* SLICE, in either file form: which part, of how many equal ones */
    const char *parts;               /* SLICE of unequal parts: their rows, "H*C,K*C,K*C"; at most 5. NULL: equal */
    char        heads;               /* QK_PERMUTED: letter of the number of heads */
    int8_t      split;               /* tensor parallel: dimension 0 or 1, -1 = copied */
    uint16_t    flags;               /* LMF_ROW_OPTIONAL ... */
} lmf_weight_row;

typedef struct lmf_head_spec { const char *role; float scale; } lmf_head_spec; /* logits = scale * x W^T */
/* What one sequence keeps of a layer between steps. */
typedef struct lmf_layer_state {
    int64_t kv_width;                /* elements of keys and values a token; 0: it keeps none, or reads another layer's */
    int32_t window;                  /* tokens that it looks back at, itself included; 0: all */
    int64_t recurrent_bytes;
} lmf_layer_state;

/* A near relative says which architecture it is like and gives what differs: a row of a field or role that the other has replaces
 * that row (without paths, or without a shape: it goes), others are added behind; functions and sizes that are 0 are the other's. Its
 * config begins with the other's. lmf_arch_resolve makes the whole; a model's arch is resolved. */
typedef struct lmf_arch lmf_arch;
struct lmf_arch {
    const char *name;                /* "llama" */
    const lmf_arch *like;            /* or NULL */
    const char *const *harmless;     /* keys of config.json and, without {arch}, of GGUF that change nothing here; NULL-ended, or NULL */
    const char *const *hf_class;     /* "LlamaForCausalLM", NULL-ended */
    const char *const *gguf_arch;    /* "llama", NULL-ended */
    const char *hf_model_type;       /* written to config.json */
    size_t      config_bytes;
    const lmf_hparam *hparams;
    const lmf_weight_row *weights;
    int64_t   (*dim)(const void *config, char letter);             /* -1: no such letter */
    lmf_status (*check)(lmf_ctx *, void *config);                  /* fills derived fields; cross-field invariants */
    lmf_status (*check_gguf)(lmf_ctx *, const void *config);       /* refuses by name what GGUF's readers would take otherwise; or NULL */
    lmf_layer_state (*state)(const void *config, int layer);
    lmf_tensor *(*embed)(lmf_graph *, const lmf_batch *);          /* [T, D] */
    lmf_tensor *(*body)(lmf_graph *, const lmf_batch *, lmf_tensor *x); /* [T, D] after the last norm: never logits */
    void       (*head)(const void *config, lmf_head_spec *);
};

/* Common fields that every config struct begins with, so that loaders and engines can read them. vocab is filled from the
 * embedding's rows where the file does not say it. */
typedef struct lmf_config_base { int32_t n_layers, width, vocab, context; } lmf_config_base;

#endif
