/* SPDX-License-Identifier: Apache-2.0 */
/* faults: mistakes in data and templates that train wrongly without a word. Each is found before the first step, and told with the sample
 * that shows it.
 *
 *     lmf_faults f;
 *     lmf_faults_init(&f, ctx);
 *     LMF_TRY(lmf_data_faults(&model->chat, data, model->chat_source, test, &f));
 *     for (int i = 0; i < f.n; i++) puts(f.item[i].text);
 *     lmf_faults_clear(&f); */
#ifndef LMF_DATA_FAULTS_H
#define LMF_DATA_FAULTS_H
#include "data/dataset.h"

typedef struct lmf_fault {
    const char *name;        /* "doubled_bos" */
    bool        severe;      /* the run would be wrong; else it may be meant */
    const char *text;        /* a sentence, and the sample where there is one */
} lmf_fault;

enum { LMF_MAX_FAULTS = 16 };
typedef struct lmf_faults { lmf_arena arena; lmf_fault item[LMF_MAX_FAULTS]; int n; } lmf_faults;
void lmf_faults_init(lmf_faults *f, lmf_ctx *ctx);
void lmf_faults_clear(lmf_faults *f);
/* Takes the sentence; LMF_E_MEMORY. Past LMF_MAX_FAULTS nothing is added. */
lmf_status lmf_faults_add(lmf_faults *f, const char *name, bool severe, const char *fmt, ...) LMF_PRINTF(4, 5);

/* doubled_bos: a sample begins with two BOS. no_end: no end of turn is learned anywhere, so that the model never stops. split_token: the
 * template writes a control token that the vocabulary doesn't have, so that it is learned as letters. shared_rows: a row is in train and
 * test. cut_answers: rows lost their end to the length. spaced_prompts: prompts that end with a space, which belongs to the answer.
 * template_source: the template's text, or NULL. test: NULL where nothing is measured. */
lmf_status lmf_data_faults(const lmf_chat *chat, const lmf_dataset *data, const char *template_source, const lmf_samples *test,
                           lmf_faults *out);

/* A sample as text, learned parts between open and close; control characters as \xNN, a line feed as \n behind which a line ends. */
lmf_status lmf_sample_render(const lmf_chat *chat, const lmf_sample *s, const char *open, const char *close, lmf_buf *out);

#endif
