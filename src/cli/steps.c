/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/steps.h"

lmf_status lmf_cli_run_steps(lmf_cli *cli, lmf_run *run, const char *label, lmf_step_text_fn text, void *user, lmf_run_stats *stats)
{
    char detail[160];
    lmf_progress bar;
    lmf_status s = LMF_OK;
    lmf_run_get_stats(run, stats);
    lmf_progress_start(&bar, cli, label, stats->s.n_steps);
    while (!s && !lmf_run_is_done(run)) {
        s = lmf_run_step(run, stats);
        if (s)
            break;
        text(user, stats, detail, sizeof detail);
        lmf_progress_step(&bar, stats->s.step, detail);
        if (!lmf_cli_interrupted() || lmf_run_is_done(run) || !lmf_run_can_save(run))
            continue;
        s = lmf_run_save(run);
        if (!s)
            s = LMF_FAIL(cli->ctx, LMF_E_CANCELLED, "stopped at step %lld of %lld; saved. --resume last goes on", (long long)stats->s.step,
                         (long long)stats->s.n_steps);
    }
    lmf_progress_end(&bar);
    return s;
}
