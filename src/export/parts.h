/* SPDX-License-Identifier: Apache-2.0 */
/* parts: what the files of export/ share. Not for others. */
#ifndef LMF_EXPORT_PARTS_H
#define LMF_EXPORT_PARTS_H
#include "base/arena.h"
#include "eval/score.h"
#include "export/export.h"

enum { LMF_OUT_PARTS = 5 };
typedef struct lmf_out_part {             /* one tensor of the graph */
    const lmf_weight *w, *a, *b, *m;      /* a, b: LoRA to merge, or NULL; m: DoRA's lengths, or NULL */
    lmf_form_spec     spec;               /* how it lies in the file */
} lmf_out_part;
typedef struct lmf_out_tensor {           /* one of the file: a tensor of the graph, or the parts of a fused matrix */
    const char           *name;           /* in the file */
    const lmf_weight_row *row;            /* of the first part */
    const float          *own;            /* n_parts 0: f32 data */
    const lmf_format     *fmt;            /* to write */
    lmf_out_part          part[LMF_OUT_PARTS]; /* none overlap */
    int                   n_parts;
    int64_t               dim[LMF_MAX_DIMS];   /* in the file */
    int                   n_dims;
} lmf_out_tensor;

typedef struct lmf_exporter {
    lmf_ctx               *ctx;
    const lmf_model       *model;
    const lmf_export_opts *opts;
    lmf_export_report     *report;
    const lmf_lora        *lora;
    lmf_arena              arena;
    lmf_out_tensor        *items;
    int64_t                n;
    const uint8_t         *added;         /* [n_tokens] flags as a folder has them, of a tokenizer.model; NULL: the model's own */
    const float           *score;         /* [n_tokens] of SentencePiece's kind, for GGUF */
    bool                   leads_first;   /* a space in front is Metaspace's "first", of a tokenizer.model for a folder */
    bool                   leads;         /* GGUF's add_space_prefix */
    lmf_norm_step          norm[2];       /* what a reader of the GGUF file does with a text */
    int32_t                end[3];        /* GGUF's eos, eot and eom; -1: none */
    int32_t                lost_end[LMF_MAX_EOS];
    int                    n_lost_ends;   /* tokens that end an answer and have no place in the file */
    const char            *dtype;         /* of config.json; NULL: by the tensors */
    json_t                *more;          /* further keys of config.json, or NULL */
} lmf_exporter;

#define LMF__EXPORT_KEY "lmfast.export" /* of a GGUF file: SHA-256 of it with this value as 64 zeros */

bool       lmf__export_is_tied(const lmf_model *m);
/* Fills items: every weight that the format has a name for, tied ones once. */
lmf_status lmf__export_list(lmf_exporter *x);
/* Streams a tensor's packed bytes, row by row, in the file's order. */
typedef lmf_status (*lmf_export_sink)(void *user, const void *data, size_t n);
lmf_status lmf__export_tensor(lmf_exporter *x, const lmf_out_tensor *t, lmf_export_sink sink, void *user);

/* k values of graph row i, merged, in f32. */
void       lmf__export_row(const lmf_out_part *p, int64_t i, int64_t k, float *to);

/* Says in report->losses what a GGUF file has no place for, and chooses end. */
lmf_status lmf__export_losses(lmf_exporter *x);
lmf_status lmf__export_losses_hf(lmf_exporter *x); /* the same for a folder, of a tokenizer.model */
void       lmf__export_say_template(lmf_exporter *x); /* of any format: one that could not be read is left out */
/* Whether a template's name can be a part of a GGUF key: letters, digits and _, as other writers do. */
bool       lmf__export_is_word(const char *name);
bool       lmf__export_is_spaced(const lmf_exporter *x); /* SentencePiece's kind */
void       lmf__export_say_overlap(lmf_exporter *x, size_t n);
/* The vocabulary as a reader of the written file may know it: of a GGUF without what has no place there. */
lmf_vocab  lmf__export_vocab(const lmf_exporter *x);
lmf_status lmf__export_gguf(lmf_exporter *x, const char *path);
lmf_status lmf__export_hf(lmf_exporter *x, const char *dir);
lmf_status lmf__export_hf_files(lmf_exporter *x, const char *dir); /* all of that but the tensors */
lmf_status lmf__export_onnx(lmf_exporter *x, const char *dir);     /* verified too, unless it is to be skipped */
/* Opens path and compares; the report gets the figures. */
lmf_status lmf__export_verify(lmf_exporter *x, const char *path);
/* The same of tokenizer, special tokens and chat template alone, in a folder without tensors. */
lmf_status lmf__export_verify_text(lmf_exporter *x, const char *dir);

#endif
