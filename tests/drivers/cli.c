/* SPDX-License-Identifier: Apache-2.0 */
/* The program's own parsing, help, progress and signals over one command that has a flag of each kind; tests/cli talks to it. */
#include "cli/cli.c"
#include "cli/download.c"
#include "cli/help.c"
#include "cli/main.c"
#include "cli/parse.c"
#include "cli/progress.c"
#include "cli/signal.c"

typedef struct probe_args {
    const char *model, *scheduler;
    int64_t     steps, offset, at_least;
    double      rate;
    bool        shuffle;
} probe_args;

static const lmf_flag probe_flags[] = {
    { "model", 'm', LMF_FLAG_STRING, offsetof(probe_args, model), .required = true, .positional = true, .help = "a file" },
    { "max-steps", 's', LMF_FLAG_INT, offsetof(probe_args, steps), .lo = 0, .hi = 100, .fallback = "2", .help = "steps of 20 ms" },
    { "offset", 0, LMF_FLAG_INT, offsetof(probe_args, offset), .help = "any whole number" },
    { "at-least", 0, LMF_FLAG_INT, offsetof(probe_args, at_least), .lo = 1, .hi = 1e18, .fallback = "1", .help = "no upper end" },
    { "learning-rate", 0, LMF_FLAG_DOUBLE, offsetof(probe_args, rate), .lo = 0, .hi = 1, .fallback = "1e-3", .help = "a share" },
    { "scheduler", 0, LMF_FLAG_CHOICE, offsetof(probe_args, scheduler), .choices = "linear|cosine|constant", .fallback = "linear", .help = "a name" },
    { "shuffle", 0, LMF_FLAG_BOOL, offsetof(probe_args, shuffle), .fallback = "true", .help = "on by default" },
    { 0 },
};

static lmf_status probe_run(lmf_cli *cli, void *p)
{
    const probe_args *a = p;
    lmf_progress progress;
    lmf_status s = LMF_OK;
    lmf_progress_start(&progress, cli, "probe", a->steps);
    for (int64_t i = 1; !s && i <= a->steps; i++) {
        nanosleep(&(struct timespec){ .tv_nsec = 20000000 }, NULL);
        if (lmf_cli_interrupted())
            s = LMF_FAIL(cli->ctx, LMF_E_CANCELLED, "stopped at step %lld", (long long)i);
        else
            lmf_progress_step(&progress, i, "loss 0.41");
    }
    lmf_progress_end(&progress);
    if (s || strcmp(a->model, "missing") == 0)
        return s ? s : LMF_FAIL(cli->ctx, LMF_E_NOT_FOUND, "there is no model %s", a->model);
    return lmf_cli_print_json(cli, json_pack("{s:s, s:s, s:I, s:I, s:I, s:f, s:b, s:i}", "model", a->model, "scheduler", a->scheduler, "max_steps",
                                             (json_int_t)a->steps, "offset", (json_int_t)a->offset, "at_least", (json_int_t)a->at_least,
                                             "learning_rate", a->rate, "shuffle", a->shuffle, "threads", cli->ctx->n_workers));
}

static const lmf_command probe = { "probe", "print what was parsed", probe_flags, sizeof(probe_args), probe_run, .example = "lmfast probe x", .alias = "poke" };
static const lmf_command *const list[] = { &probe, NULL };

const lmf_command *const *lmf_commands(void)
{
    return list;
}
