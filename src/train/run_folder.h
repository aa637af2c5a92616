/* SPDX-License-Identifier: Apache-2.0 */
/* run_folder: the folder of a training run: checkpoint-N, metrics.jsonl, lmfast_config.yaml, and at the end the adapter
 * with lmfast_train.json, the receipt of its files. Says whose the things in a folder are, and places the adapter; nothing that is
 * not the run's own is replaced or removed.
 *
 *     lmf_run_contents c;
 *     LMF_TRY(lmf_run_scan(ctx, "out", true, &c));   // LMF_E_EXISTS: something of others has one of our names
 *     ... train ...
 *     LMF_TRY(lmf_run_finish(t, "out", base_name)); */
#ifndef LMF_TRAIN_RUN_FOLDER_H
#define LMF_TRAIN_RUN_FOLDER_H
#include "train/trainer.h"

#define LMF_RUN_SAMPLES "samples.jsonl" /* of a run that samples: answers and their rewards */
#define LMF_RUN_MODEL "model"       /* the folder of a run that trained all weights: an export, with its receipt */

typedef struct lmf_run_contents {
    int  n_checkpoints, n_adapter;  /* folders; files of an adapter and its receipt, or the model */
    bool log, config;               /* metrics.jsonl; lmfast_config.yaml */
    char stranger[256];             /* an entry that is no run's, or "" */
} lmf_run_contents;

/* Looks through an existing folder. LMF_E_EXISTS with a sentence when one of a run's names is somebody's: no file (no folder for a
 * checkpoint), a link, not in the receipt, changed since. damaged_is_fine: a checkpoint-N whose hashes don't hold is one too. */
lmf_status lmf_run_scan(lmf_ctx *ctx, const char *dir, bool damaged_is_fine, lmf_run_contents *out);
/* Removes a folder in which scan found no stranger, and nothing else. */
lmf_status lmf_run_remove(lmf_ctx *ctx, const char *dir);
/* Writes the run's configuration (config/dialect.h); one that somebody changed since is left as it is. */
lmf_status lmf_run_save_config(lmf_ctx *ctx, const char *dir, const char *text, size_t n);
/* The adapter into dir, its files whole, adapter_config.json last. Replaces that of the same run alone. */
lmf_status lmf_run_finish(lmf_trainer *t, const char *dir, const char *base_name);

#endif
