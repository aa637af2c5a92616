/* SPDX-License-Identifier: Apache-2.0 */
/* labels: what a teacher thinks of the next token, computed once and kept in a folder, for a teacher that does not fit beside a student:
 * for each learned token of the samples, in order, the likeliest k tokens with their log-probabilities at a temperature, and the
 * logarithm of what is left.
 *
 *     labels-00000.safetensors ...   id [N, k] i32, rising in each row; logp [N, k] and rest [N], f16 or f32
 *     manifest.json                  k, temperature, counts; SHA-256 of each shard, of the teacher's weights, of tokenizer, template and
 *                                    samples; and in "digest" that of its own text with the field empty. Written last
 *
 * Opening reads every shard's hash; reading takes a sample's rows from the disk when they are wanted, so that the memory does not grow with
 * the labels. Owner: the opener. Threads: one. */
#ifndef LMF_TRAIN_LABELS_H
#define LMF_TRAIN_LABELS_H
#include "data/samples.h"
#include "format/json.h"
#include "models/model.h"

typedef struct lmf_labels lmf_labels;

typedef struct lmf_labels_info {
    int32_t k, n_vocab;
    double  temperature;
    int64_t n_labels;                /* learned tokens */
    int64_t clock_unix;              /* what templates of the rows saw as now */
    char    digest[65], teacher_sha256[65], tokenizer_sha256[65], template_sha256[65], data_sha256[65];
} lmf_labels_info;

/* LMF_E_FORMAT: no manifest, one that was changed, or a shard that is not as it was written, by name. */
lmf_status lmf_labels_open(lmf_ctx *ctx, const char *dir, lmf_labels **out);
void       lmf_labels_close(lmf_labels *l);  /* NULL is fine */
const lmf_labels_info *lmf_labels_get_info(const lmf_labels *l);
/* Labels of these samples as this model reads them: LMF_E_ARG with what differs. Before read. */
lmf_status lmf_labels_fit(lmf_labels *l, const lmf_model *student, const lmf_samples *samples);
/* Of sample i, its learned tokens in order: ids and log-probabilities [n, k], rest [n]; both are one distribution again. Room for
 * lmf_labels_most(l) rows. */
int64_t    lmf_labels_most(const lmf_labels *l);
lmf_status lmf_labels_read(lmf_labels *l, int64_t i_sample, int32_t *id, float *logp, float *rest);
/* Tokens that have a label: those learned that have one before them. */
int64_t    lmf_labels_of(const lmf_sample *s);

typedef struct lmf_labels_make {     /* what labels are made from */
    const char *dir, *device;        /* a new or empty folder; NULL: "cpu" */
    const lmf_model *teacher, *reader; /* whose rows the samples are: NULL, the teacher's own */
    const lmf_samples *samples;
    int32_t k; double temperature;
    int64_t shard_labels;            /* labels a file; 0: as many as make 32 MB in memory */
    bool    f32;                     /* not f16 */
    int     compute;
    int64_t clock_unix;
    bool  (*progress)(void *user, int64_t done, int64_t total); /* samples; false stops. NULL: nobody is told */
    void   *user;
} lmf_labels_make;
/* Nothing stands under the manifest's name unless all of it is written. */
lmf_status lmf_labels_write(lmf_ctx *ctx, const lmf_labels_make *make, lmf_labels_info *out);

/* Each id is the same token to both; LMF_E_ARG with the first that is not. */
lmf_status lmf_teacher_check(lmf_ctx *ctx, const lmf_model *student, const lmf_model *teacher);
/* ---- for labels.c and labels_write.c ---- */
lmf_status lmf__labels_identity(lmf_ctx *ctx, const lmf_model *reader, const lmf_samples *samples, lmf_labels_info *info);
lmf_status lmf__labels_digest(lmf_ctx *ctx, json_t *root, const char *digest, lmf_buf *text);

#endif
