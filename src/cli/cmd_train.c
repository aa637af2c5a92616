/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "cli/steps.h"
#include "export/run_model.h"
#include "format/json.h"
#include "train/objective_flags.h"
#include "train/run.h"
#include "train/run_folder.h"

typedef lmf_train_config train_args;

static bool is_full(const train_args *a) { return !strcmp(a->method, "full"); }

static int more_flags(lmf_arena *a, const lmf_tables *tables, lmf_flag *out, int n)
{
    return lmf__objective_flags(a, tables, offsetof(train_args, objective), offsetof(train_args, objective_value), out, n);
}

/* JSON has no word for what is not finite. */
static json_t *real_or_null(double x) { return isfinite(x) ? json_real(x) : json_null(); }

static void print_profile(const lmf_trainer *t)
{
    lmf_profile_row rows[64];
    for (int g = 0; g < 2 * lmf_trainer_n_buckets(t) + 1; g++) {
        int n = lmf_plan_profile(lmf_trainer_plan(t), g, rows, 64);
        for (int i = 0; i < n; i++)
            if (rows[i].seconds > 0.01)
                fprintf(stderr, "graph %d  %-18s %-28s %7lld calls %8.3f s %8.1f GFLOP/s %7.1f GB/s\n", g, rows[i].op, rows[i].row,
                        (long long)rows[i].n_calls, rows[i].seconds, rows[i].flops / rows[i].seconds / 1e9, rows[i].bytes / rows[i].seconds / 1e9);
    }
}

/* "loss 0.4100  right 0.88  812 tok/s" */
static void step_text(void *user, const lmf_run_stats *r, char *text, size_t n)
{
    const lmf_objective *o = user;
    size_t at = (size_t)snprintf(text, n, "loss %.4f", r->s.loss);
    for (int i = 0; i < r->n_more && at < n; i++)
        if (!strcmp(r->more[i].name, "reward"))
            at += (size_t)snprintf(text + at, n - at, "  reward %.3f", r->more[i].value);
    for (int i = 0; i < lmf_objective_n_reports(o) && at < n; i++)
        if (o->reports[i].label)
            at += (size_t)snprintf(text + at, n - at, "  %s %.3f", o->reports[i].label, r->s.report[i]);
    if (at < n)
        snprintf(text + at, n - at, "  %.0f tok/s", (double)r->run_tok / r->seconds);
}

static lmf_status report(lmf_cli *cli, const train_args *a, const lmf_run *run, const lmf_run_stats *r)
{
    double tok = (double)r->run_tok, seconds = r->seconds;
    const lmf_samples *samples = lmf_run_samples(run);
    const lmf_objective *o = lmf_trainer_objective(lmf_run_trainer(run));
    if (cli->json) {
        json_t *j = json_pack("{s:o, s:I, s:f, s:o, s:o, s:f, s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "output",
                              lmf_json_string(a->output), "steps",
                              (json_int_t)r->s.step,
            "epochs", r->s.epoch, "first_loss", real_or_null(r->first_loss), "final_loss", real_or_null(r->s.loss), "seconds", seconds, "tokens", (json_int_t)tok, "tokens_per_second", tok / seconds,
            "bad_rows", (json_int_t)samples->n_bad, "answers_without_end", (json_int_t)samples->n_endless, "turns_not_learned",
                (json_int_t)samples->n_unlearned,
            "rows_skipped", (json_int_t)samples->n_skipped, "rows_truncated", (json_int_t)samples->n_truncated, "steps_skipped", (json_int_t)r->s.n_skipped,
            "memory_bytes",
            (json_int_t)(lmf_trainer_bytes(lmf_run_trainer(run)) + lmf_run_sampler_bytes(run)));
        for (int i = 0; i < lmf_objective_n_reports(o); i++)
            json_object_set_new(j, o->reports[i].name, real_or_null(r->s.report[i]));
        for (int i = 0; i < r->n_more; i++)
            json_object_set_new(j, r->more[i].name, real_or_null(r->more[i].value));
        return lmf_cli_print_json(cli, j);
    }
    if (!cli->quiet)
        fprintf(stderr, "%lld steps, %.0f tokens in %.1f s (%.0f tok/s), loss %.4f -> %.4f. %s in %s%s\n", (long long)r->s.step, tok,
                seconds, tok / seconds, r->first_loss, r->s.loss, is_full(a) ? "Model" : "Adapter",
                lmf_plain_text(a->output, (char[1024]){ 0 }, 1024), is_full(a) ? "/" LMF_RUN_MODEL : "");
    return LMF_OK;
}

static lmf_status run(lmf_cli *cli, void *args)
{
    train_args *a = args;
    lmf_run *r;
    lmf_run_stats stats;
    lmf_run_opts o = lmf_run_opts_default();
    o.device = cli->device, o.config = a, o.fields = cli->flags, o.note = lmf_cli_note, o.user = cli;
    o.write_model = lmf_export_run_model;
    LMF_TRY(lmf_run_create(cli->ctx, &o, &r));
    const lmf_trainer *t = lmf_run_trainer(r);
    char name[1024];
    if (!cli->quiet && !cli->json)
        fprintf(stderr, "%s %.2f million parameters %s %s%s; %.0f MB planned\n", is_full(a) ? "all" : "LoRA of",
                (double)lmf_trainer_n_params(t) / 1e6, is_full(a) ? "of" : "on", lmf_plain_text(a->model, name, sizeof name),
                lmf_trainer_between(t) == LMF_BF16 ? ", activations in bf16" : "",
                    (double)(lmf_trainer_bytes(t) + lmf_run_sampler_bytes(r)) / 1e6);
    lmf_status s = lmf_cli_run_steps(cli, r, "training", step_text, (void *)(uintptr_t)lmf_trainer_objective(lmf_run_trainer(r)), &stats);
    if (!s)
        s = lmf_run_complete(r);
    if (!s)
        s = report(cli, a, r, &stats);
    if (!s && a->profile)
        print_profile(t);
    lmf_run_destroy(r);
    return s;
}

const lmf_command lmf_command_train = { "train", "fine-tune a model, with LoRA or whole", lmf_train_fields, sizeof(train_args), run, .more = more_flags, .takes_config = true,
    .example = "lmfast train --model SmolLM2-135M-Instruct.Q4_1.gguf --data rows.jsonl --output my_adapter --epochs 3 --batch-size 8 --lr 1e-3" };
