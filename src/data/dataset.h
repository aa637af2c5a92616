/* SPDX-License-Identifier: Apache-2.0 */
/* dataset: what a run trains on and is measured on: one or several files, each with its form and weight, as one set of samples; a share of
 * it held out; doubles and empty answers counted, or left out.
 *
 * A file is named as PATH, or PATH:KEY=VALUE,KEY=VALUE:
 *     type=NAME     a format (data/formats.h) or form, instead of what the rows' keys tell: alpaca, sharegpt, messages ...
 *     file=KIND     json, csv or text, instead of what the file's name tells
 *     split=lines   of plain text: a row a line, or paragraphs
 *     weight=W      each row W times an epoch; of what is left behind the point, that share of the rows, drawn by the seed
 *     KEY=COLUMN    the rows call COLUMN what is KEY here: instruction=question
 * A path that exists under its whole name is that.
 *
 *     lmf_dataset_opts o = { .spec = specs, .n_specs = 2, .samples = { LMF_TAKES_SINGLE, 2048 }, .seed = 42, .hold_out = 0.05 };
 *     LMF_TRY(lmf_dataset_open(&model->chat, &o, &d));       // d->train, d->held_out
 *     lmf_dataset_close(d);
 *
 * Owner: open/close; samples live as long. Threads: read only after opening. */
#ifndef LMF_DATA_DATASET_H
#define LMF_DATA_DATASET_H
#include "data/samples.h"

enum { LMF_MAX_DATA_FILES = 32 };

typedef struct lmf_data_spec {
    const char   *path, *type;           /* type NULL: by the rows' keys */
    lmf_rows_opts rows;
    double        weight;                /* 1 */
} lmf_data_spec;

typedef struct lmf_dataset_opts {
    const char *const *spec; int n_specs;
    const lmf_rows  *given;              /* rows that are open already, instead of specs; NULL: none */
    lmf_samples_opts samples;
    bool     skip_bad, drop_duplicates, drop_empty;
    double   hold_out;                   /* below 1: that share of the groups, at least one; from 1 on: so many. 0: none */
    uint64_t seed;                       /* of what is held out, and of parts of files */
} lmf_dataset_opts;

typedef struct lmf_data_file {
    const char *path;
    const char *form;                    /* of the first row */
    char        sha256[65];              /* of its bytes, unpacked */
    double      weight;
    int64_t     n_rows;                  /* that can be used, and those that can't */
    int64_t     n_groups;                /* made of them, before weights and what is left out */
    int64_t     n_bad, n_long, n_truncated, n_duplicates, n_empty; /* n_long: left out for their length */
    int64_t     first_duplicate, duplicate_of; /* lines, or 0 */
    int64_t     first_empty;
    int64_t     n_tok, n_learn;
    const char *unit;                    /* what lines are called here */
} lmf_data_file;

typedef struct lmf_dataset {
    lmf_ctx      *ctx;
    lmf_arena     arena;
    lmf_samples  *train, *held_out;      /* held_out NULL: none was asked for */
    lmf_samples  *part[LMF_MAX_DATA_FILES]; /* whose ids they borrow */
    lmf_data_file file[LMF_MAX_DATA_FILES];
    int           n_files;
} lmf_dataset;

/* LMF_E_ARG: a specification that can't be read, nothing left to train on; and what rows and samples refuse. */
lmf_status lmf_dataset_open(const lmf_chat *chat, const lmf_dataset_opts *opts, lmf_dataset **out);
void       lmf_dataset_close(lmf_dataset *d);                            /* NULL is fine */
/* One specification. Texts live in the arena. */
lmf_status lmf_data_spec_parse(lmf_arena *arena, const char *text, lmf_data_spec *out);
/* Groups of b that are in a, too: same tokens, same mask. first: the lines in a and b of one, if there is. */
lmf_status lmf_samples_shared(const lmf_samples *a, const lmf_samples *b, int64_t *n, int64_t first[2]);

#endif
