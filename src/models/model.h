/* SPDX-License-Identifier: Apache-2.0 */
/* model: a model file or folder, opened: its architecture, configuration, weights, tokenizer and chat template. Weights stay
 * where they lie in the mapped file as far as their stored form allows; tables of the architecture say what is where.
 *
 *     lmf_model *m;
 *     LMF_TRY(lmf_model_open(ctx, "SmolLM2.gguf", &m));
 *     lmf_graph *g ... m->arch->body(g, &batch, m->arch->embed(g, &batch));
 *     lmf_model_close(m);
 *
 * Owner: the opener. Threads: read only after opening. */
#ifndef LMF_MODELS_MODEL_H
#define LMF_MODELS_MODEL_H
#include "format/gguf.h"
#include "format/hf_json.h"
#include "format/model_path.h"
#include "format/safetensors.h"
#include "graph/weights.h"
#include "models/arch.h"
#include "text/chat/chat.h"

typedef struct lmf_model {
    lmf_ctx         *ctx;
    lmf_arena        arena;
    char            *path, *name;      /* as given; general.name or the folder's name */
    lmf_model_kind   kind;
    const lmf_arch  *arch;             /* resolved */
    void            *config;           /* arch->config_bytes; begins with lmf_config_base */
    lmf_weights     *weights;          /* roles to tensors */
    lmf_vocab        vocab;            /* as the file gives it; in the arena or the file */
    lmf_tokenizer   *tokenizer;
    lmf_template    *chat_template;    /* NULL: the file has none, or chat.broken says why it can't be used */
    char            *chat_source;      /* its text, or NULL */
    lmf_named_text  *templates;        /* [n_templates] the file's further templates, by name: nobody renders them, exports keep them */
    size_t           n_templates;
    lmf_chat         chat;             /* both together, and what ends an answer */
    lmf_gguf        *gguf;             /* what stays open: one of these */
    lmf_safetensors *st;
    const char      *pre_tokenizer_json, *normalizer_json, *decoder_json;
                                       /* of tokenizer.json, to write them again; NULL: none, or from GGUF */
    int64_t          n_params;         /* elements of all weights, tied ones once */
    uint8_t         *taken;            /* one a stored tensor, while opening: it has a role */
    struct lmf_source *packed;         /* NULL, or one a stored tensor: what it is unpacked; with a name alone: read with another (nf4.c) */
} lmf_model;

lmf_status lmf_model_open(lmf_ctx *ctx, const char *path, lmf_model **out);
void       lmf_model_close(lmf_model *m); /* NULL is fine */
/* Configuration, tokenizer and chat template of a Hugging Face folder whose tensors lie elsewhere; its embedding has that many rows. */
lmf_status lmf_model_open_text(lmf_ctx *ctx, const char *path, int64_t n_rows, lmf_model **out);
/* The chat template of a text file, at most 1 MiB, in place of the model's own; before anything else uses the model. */
lmf_status lmf_model_load_template(lmf_model *m, const char *path);
static inline const lmf_config_base *lmf_model_config(const lmf_model *m) { return m->config; }
/* A role's row in the architecture's table with its layer: "layers.3.attn.q" -> row, 3; layer -1 outside. NULL: none. */
const lmf_weight_row *lmf_model_row(const lmf_model *m, const char *role, int *layer);
/* The head's weight and scale. Its role is the one whose bytes it shares where it is tied: one weight, whoever uses it. */
lmf_head_spec lmf_model_head(const lmf_model *m);
/* The matrices of all layers that may have a LoRA pair, in nf4 with double quantization, as bitsandbytes makes them of a model that is
 * loaded in 4 bits; embeddings and head stay. Before anything else uses the model. n_left: matrices that stay, since they are quantized
 * already (n_quantized) or their rows are no multiple of 64. */
typedef struct lmf_in_4bit { int64_t n_params, n_left, n_quantized; size_t bytes, bytes_before; } lmf_in_4bit;
lmf_status lmf_model_to_4bit(lmf_model *m, lmf_in_4bit *sum);
/* pattern with {l} and {arch} filled in. Refuses what does not fit. */
lmf_status lmf_model_name(lmf_ctx *ctx, const char *pattern, int layer, const char *arch, char *text, size_t n);
/* Tests: an architecture with a configuration and formula weights, no file. weights is taken. */
lmf_status lmf_model_from_parts(lmf_ctx *ctx, const lmf_arch *arch, const void *config, lmf_weights *weights, lmf_model **out);
/* Dims of a row's shape text under a configuration; returns the number of dims, 0 for a bad text. */
int        lmf_shape_eval(const lmf_arch *arch, const void *config, const char *shape, int64_t *dim);

/* Over all layers: sums, and the greatest window. */
lmf_layer_state lmf_arch_state(const lmf_arch *arch, const void *config);
/* arch itself, or what it is like with what differs laid over it, in the arena. */
lmf_status lmf_arch_resolve(lmf_ctx *ctx, lmf_arena *arena, const lmf_arch *arch, const lmf_arch **out);
/* Where the rows of a row's matrix lie in what is stored: all of it but for SLICE. False: the table or the configuration is wrong. */
bool       lmf_row_slice(const lmf_arch *arch, const void *config, const lmf_weight_row *row, int64_t rows, int64_t *first, int64_t *all);
/* How a row's tensor of that many rows lies in a file of that family. */
lmf_status lmf_row_form(const lmf_model *m, const lmf_weight_row *row, bool gguf, int64_t rows, lmf_form_spec *out);

/* ---- for the loaders model_gguf.c and model_hf.c ---- */
typedef struct lmf_source {      /* one stored tensor */
    const char *name;
    int64_t     dim[LMF_FILE_MAX_DIMS];
    int         n_dims;
    uint16_t    dtype;
    const void *data;
    size_t      bytes;
    size_t      number;          /* in the file's order */
} lmf_source;
typedef bool (*lmf_source_find)(const lmf_model *m, const char *name, lmf_source *out);
lmf_status lmf__model_check_config(lmf_model *m);
lmf_status lmf__model_map_weights(lmf_model *m, bool gguf, lmf_source_find find);
lmf_status lmf__model_open_gguf(lmf_model *m);
lmf_status lmf__model_open_hf(lmf_model *m);
lmf_status lmf__model_read_hf_config(lmf_model *m);
lmf_status lmf__model_read_hf_vocab(lmf_model *m);
/* A folder whose tokenizer is a tokenizer.model: whether it is one, its tokens, and what it says behind those (model_hf_pieces.c). */
struct lmf_sentencepiece;
lmf_status lmf__model_find_pieces(lmf_model *m, struct lmf_sentencepiece *sp, bool *found);
lmf_status lmf__model_read_pieces(lmf_model *m, const struct lmf_sentencepiece *sp);
lmf_status lmf__model_name_pieces(lmf_model *m, const struct lmf_sentencepiece *sp);
lmf_status lmf__model_unpack_nf4(lmf_model *m);  /* bitsandbytes' matrices in 4 bits, into m->packed */
/* What the file holds beyond what was read, and that could change the result, is refused by name (unread.c). */
lmf_status lmf__model_check_gguf_keys(lmf_model *m, const char *arch);
lmf_status lmf__model_check_hf_keys(lmf_model *m, const struct json_t *root);
lmf_status lmf__model_check_tensors(lmf_model *m, bool gguf);
lmf_status lmf__model_check_present(lmf_model *m);

#endif
