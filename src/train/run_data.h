/* SPDX-License-Identifier: Apache-2.0 */
/* run_data: the data that a run's settings name, opened, told about, and looked at for what would train wrongly. */
#ifndef LMF_TRAIN_RUN_DATA_H
#define LMF_TRAIN_RUN_DATA_H
#include "config/train_config.h"
#include "train/guards.h"

typedef struct lmf_run_listener { /* who is told what is no failure; note NULL: nobody */
    void (*note)(void *user, bool warning, const char *sentence);
    void  *user;
} lmf_run_listener;
void lmf__run_tell(const lmf_run_listener *l, bool warning, const char *fmt, ...) LMF_PRINTF(3, 4);

/* of: c->data or c->eval_data, called flag in sentences; given: rows that are open already, or NULL. takes: LMF_TAKES_*. held_out: whether
 * c->val_set_size counts. What was found is told. */
lmf_status lmf__run_data_open(const lmf_train_config *c, const lmf_model *m, uint32_t takes, const lmf_texts *of, const lmf_rows *given,
                              const char *flag, bool held_out, const lmf_run_listener *l, lmf_dataset **out);
/* Looks for what would train wrongly (data/faults.h, guards.h), as c->guards has it: tells it, and refuses what is severe. test: what is
 * measured, or NULL. LMF_E_FORMAT. */
lmf_status lmf__run_data_guard(const lmf_train_config *c, const lmf_model *m, const lmf_dataset *d, const lmf_samples *test,
                               const lmf_run_listener *l);
/* Tells what was found and forgets it. LMF_E_FORMAT: something severe, and guards is "error". */
lmf_status lmf__run_faults_tell(lmf_ctx *ctx, const char *guards, lmf_faults *f, const lmf_run_listener *l);
/* A receipt of the files: a list of objects, the caller's reference. d NULL: an empty list. */
json_t    *lmf__run_data_json(const lmf_dataset *d);

#endif
