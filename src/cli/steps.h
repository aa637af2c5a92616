/* SPDX-License-Identifier: Apache-2.0 */
/* steps: a run's steps under a progress line, to its end or to the checkpoint that a signal asks for.
 *
 *     LMF_TRY(lmf_cli_run_steps(cli, run, "training", step_text, objective, &stats));
 *
 * Owner: nothing is kept. Threads: the caller's. */
#ifndef LMF_CLI_STEPS_H
#define LMF_CLI_STEPS_H
#include "cli/command.h"
#include "train/run.h"

/* What the line says of the step behind it, into text [n bytes]. */
typedef void (*lmf_step_text_fn)(void *user, const lmf_run_stats *r, char *text, size_t n);
/* LMF_E_CANCELLED: stopped by a signal, and saved. stats: of the last step, also where it fails. */
lmf_status lmf_cli_run_steps(lmf_cli *cli, lmf_run *run, const char *label, lmf_step_text_fn text, void *user, lmf_run_stats *stats);

#endif
