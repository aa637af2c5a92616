/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: nothing is written before all that can be refused was. A run that replaces another works beside it until it has something to keep,
 * a checkpoint or the adapter, and takes its place in one step. */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/output.h"
#include "cli/conversation.h"
#include "cli/objective_flags.h"
#include "config/dialect.h"
#include "format/json.h"
#include "train/objective.h"
#include "train/run_folder.h"

typedef lmf_train_config train_args;

static int more_flags(lmf_arena *a, const lmf_tables *tables, lmf_flag *out, int n)
{
    return lmf__objective_flags(a, tables, offsetof(train_args, objective), offsetof(train_args, objective_value), out, n);
}

/* What settings say together. */
static lmf_status resolve(lmf_cli *cli, train_args *a)
{
    if (a->warmup_steps != LMF_WARMUP_SHARE && !isnan(a->warmup_ratio))
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "--warmup-steps is %lld and --warmup-ratio %g: give one of them", (long long)a->warmup_steps,
                        a->warmup_ratio);
    if (!a->max_steps && !(a->epochs > 0))
        a->max_steps = 500;
    return LMF_OK;
}

static lmf_train_opts options(const train_args *a)
{
    lmf_train_opts o = lmf_train_opts_default();
    o.objective = a->objective;
    o.lora_r = (int32_t)a->lora_r;
    o.lora_alpha = a->lora_alpha;
    o.use_rslora = a->rslora;
    o.target_modules = a->target_modules;
    o.batch_size = (int32_t)a->batch_size;
    o.grad_accum = (int32_t)a->grad_accum;
    o.micro_tok = (int32_t)a->micro_tok;
    o.epochs = a->epochs;
    o.max_steps = a->max_steps;
    o.lr = a->lr;
    o.schedule = !strcmp(a->scheduler, "linear") ? LMF_SCHEDULE_LINEAR : !strcmp(a->scheduler, "cosine") ? LMF_SCHEDULE_COSINE : LMF_SCHEDULE_CONSTANT;
    o.min_lr_ratio = a->min_lr_ratio;
    o.warmup_steps = a->warmup_steps;
    o.warmup_ratio = isnan(a->warmup_ratio) ? 0 : a->warmup_ratio;
    o.beta1 = a->beta1, o.beta2 = a->beta2, o.eps = a->eps;
    o.weight_decay = a->weight_decay;
    o.max_grad_norm = a->max_grad_norm;
    o.seed = (uint64_t)a->seed;
    o.compute = strcmp(a->compute, "f32") != 0;
    o.between = lmf_train_between(a->activations);
    o.recompute = a->recompute;
    o.shuffle = a->shuffle;
    o.profile = a->profile;
    return o;
}

typedef struct run_state {
    lmf_trainer *t; const train_args *a; const lmf_samples *dev; lmf_train_stats s;
    FILE *log; bool log_failed, log_goes_on; double start, first_loss; int64_t start_tok, clock_unix;
    double eval[1 + LMF_MAX_REPORTS]; /* loss, then what the objective reports */
    char output[4000], dir[4096];  /* --output; where the run writes, the same unless it is to replace another */
    bool replaces, resumes, made;  /* an earlier run; goes on with its last checkpoint; the folder was not there */
    int lock;                      /* of output; -1: none yet */
    bool config_saved;
    lmf_stage stage;
} run_state;

/* What of an existing folder this run may use, and how. */
static lmf_status check_contents(lmf_cli *cli, run_state *r)
{
    lmf_run_contents c;
    const train_args *a = r->a;
    bool wants_resume = strcmp(a->resume, "no") != 0;
    lmf_status s = lmf_run_scan(cli->ctx, r->output, wants_resume, &c);
    if (s)
        return lmf_fail_prefix(cli->ctx, s, "--output");
    if (!c.n_checkpoints && !strcmp(a->resume, "last"))
        return LMF_FAIL(cli->ctx, LMF_E_NOT_FOUND, "--output %s holds no checkpoint to resume from", r->output);
    r->resumes = wants_resume && c.n_checkpoints;
    if (r->resumes)
        return LMF_OK; /* what others put beside the run stays there */
    if (c.stranger[0])
        return LMF_FAIL(cli->ctx, LMF_E_EXISTS, "--output %s holds files that are not of a training run, %s for one; choose another folder", r->output, c.stranger);
    r->replaces = c.n_checkpoints || c.n_adapter || c.log || c.config;
    if (r->replaces && !a->overwrite && (c.n_checkpoints || c.n_adapter || !wants_resume))
        return LMF_FAIL(cli->ctx, LMF_E_EXISTS, "--output %s holds %s an earlier run; %s--overwrite replaces it", r->output,
                        c.n_adapter ? "the adapter of" : c.n_checkpoints ? "checkpoints of" : c.log ? "the log of" : "the configuration of", c.n_checkpoints ? "--resume last goes on with it, " : "");
    return LMF_OK;
}

static lmf_status check_output(lmf_cli *cli, run_state *r)
{
    size_t n = strlen(r->a->output);
    while (n > 1 && r->a->output[n - 1] == '/')
        n--;
    if (n == 0 || n >= sizeof r->output)
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "--output is empty or too long");
    snprintf(r->output, sizeof r->output, "%.*s", (int)n, r->a->output);
    snprintf(r->dir, sizeof r->dir, "%s", r->output);
    lmf_output_kind kind = lmf_output_stat(r->output);
    if (kind == LMF_OUTPUT_NONE) {
        r->made = true;
        return strcmp(r->a->resume, "last") ? LMF_OK : LMF_FAIL(cli->ctx, LMF_E_NOT_FOUND, "--output %s is not there: no checkpoint to resume from", r->output);
    }
    if (kind != LMF_OUTPUT_DIR)
        return LMF_FAIL(cli->ctx, LMF_E_EXISTS, "--output %s exists and is no folder: it is %s", r->output, lmf_output_word(kind));
    LMF_TRY(lmf_output_lock(cli->ctx, r->output, &r->lock));
    return check_contents(cli, r);
}

/* The folder to write into, and its lock. */
static lmf_status open_output(lmf_cli *cli, run_state *r)
{
    if (r->replaces) {
        LMF_TRY(lmf_stage_open(cli->ctx, r->output, lmf_run_remove, &r->stage));
        snprintf(r->dir, sizeof r->dir, "%s", r->stage.path);
        return LMF_OK;
    }
    lmf_output_clean_beside(cli->ctx, r->output, lmf_run_remove);
    if (r->made) {
        LMF_TRY(lmf_dir_create(cli->ctx, r->output));
        LMF_TRY(lmf_output_lock(cli->ctx, r->output, &r->lock));
        LMF_TRY(check_contents(cli, r)); /* of another process that was as fast */
    } else {
        char log[4200];
        snprintf(log, sizeof log, "%s/metrics.jsonl", r->output);
        LMF_TRY(lmf_output_try(cli->ctx, log)); /* before the work, not behind it */
    }
    lmf_output_clean(cli->ctx, r->output, NULL, lmf_checkpoint_remove_left);
    return LMF_OK;
}

/* This run has something to keep: it takes the earlier one's place, which goes. */
static lmf_status take_place(lmf_cli *cli, run_state *r)
{
    lmf_run_contents c;
    if (!r->replaces)
        return LMF_OK;
    LMF_TRY(lmf_run_scan(cli->ctx, r->output, false, &c));
    LMF_TRY(lmf_output_place(cli->ctx, r->stage.path, r->output, true));
    lmf_status s = lmf_run_remove(cli->ctx, r->stage.path);
    if (s) { /* a file of the user's came into it meanwhile */
        lmf_error_record why = cli->ctx->error;
        lmf_status back = lmf_output_place(cli->ctx, r->stage.path, r->output, true);
        if (!back)
            cli->ctx->error = why;
        return s;
    }
    if (r->lock >= 0)
        close(r->lock);
    r->lock = r->stage.fd; /* the same folder under its new name */
    r->stage.fd = -1;
    r->replaces = false;
    snprintf(r->dir, sizeof r->dir, "%s", r->output);
    return LMF_OK;
}

/* Whatever happened: no empty folder, no stage. */
static void close_output(lmf_cli *cli, run_state *r, bool failed)
{
    lmf_error_record why = cli->ctx->error;
    if (r->log)
        fclose(r->log);
    if (failed && r->made && rmdir(r->output) == 0)
        r->made = false;
    if (r->stage.fd >= 0 && r->replaces) {
        lmf_status s = lmf_run_remove(cli->ctx, r->stage.path);
        if (!s)
            r->stage.path[0] = 0;
    }
    lmf_status closed = lmf_stage_close(&r->stage);
    (void)closed; /* the failure that led here is the one to tell; the next run cleans */
    if (r->lock >= 0)
        close(r->lock);
    cli->ctx->error = why;
}

/* JSON has no word for what is not finite. */
static json_t *real_or_null(double x) { return isfinite(x) ? json_real(x) : json_null(); }

/* Steps behind the checkpoint are done again, so their lines go; and one that a kill cut short. */
static lmf_status trim_log(lmf_cli *cli, const char *path, int64_t step)
{
    char *text;
    size_t n, kept = 0;
    if (lmf_path_stat(path) == LMF_PATH_NONE)
        return LMF_OK;
    LMF_TRY(lmf_file_read(cli->ctx, path, (size_t)1 << 32, &text, &n));
    for (size_t at = 0, len; at < n; at += len) {
        const char *end = memchr(text + at, '\n', n - at);
        len = end ? (size_t)(end - text) - at + 1 : n - at;
        json_t *line = end ? json_loadb(text + at, len, 0, NULL) : NULL;
        const json_t *of = json_object_get(line, "step");
        if (json_is_integer(of) && json_integer_value(of) <= step) {
            memmove(text + kept, text + at, len);
            kept += len;
        }
        json_decref(line);
    }
    lmf_status s = kept == 0 ? lmf_path_unlink(cli->ctx, path) : kept < n ? lmf_file_write(cli->ctx, path, text, kept) : LMF_OK;
    lmf_free(cli->ctx, text, n + 1);
    return s;
}

/* Adds to line; what does not fit is cut, and then refused as a whole by log_line. */
static size_t log_number(char *line, size_t n, size_t at, const char *before, const char *name, double x)
{
    if (at >= n)
        return at;
    return at + (size_t)snprintf(line + at, n - at, isfinite(x) ? ", \"%s%s\": %.6g" : ", \"%s%s\": null", before, name, x);
}

static size_t log_reports(char *line, size_t n, size_t at, const lmf_objective *o, const char *before, const double *report)
{
    for (int i = 0; i < lmf_objective_n_reports(o); i++)
        at = log_number(line, n, at, before, o->reports[i].name, report[i]);
    return at;
}

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

/* What this run does, so that it can be done again; written with the first thing that the run keeps. */
static lmf_status keep_config(lmf_cli *cli, run_state *r)
{
    lmf_buf text;
    if (r->config_saved)
        return LMF_OK;
    lmf_buf_init(&text, cli->ctx, LMF_DOCUMENT_MAX_BYTES);
    lmf_status s = lmf_config_text(cli->ctx, "train", cli->flags, r->a, &text);
    if (!s)
        s = lmf_run_save_config(cli->ctx, r->dir, lmf_buf_str(&text), text.n);
    lmf_buf_clear(&text);
    r->config_saved = !s;
    return s;
}

/* The first line and its file come as one, so that a log without bytes is not ours; a resumed run's log goes on. */
static lmf_status open_log(lmf_cli *cli, run_state *r, const char *line)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/metrics.jsonl", r->dir);
    LMF_TRY(keep_config(cli, r));
    if (!r->log_goes_on)
        LMF_TRY(lmf_file_write(cli->ctx, path, line, strlen(line)));
    int fd = open(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_APPEND);
    r->log = fd >= 0 ? fdopen(fd, "a") : NULL;
    if (r->log)
        return r->log_goes_on && (fputs(line, r->log) == EOF || fflush(r->log)) ? LMF_FAIL(cli->ctx, LMF_E_IO, "can't write to %s: %s", path, strerror(errno)) : LMF_OK;
    int e = errno;
    if (fd >= 0)
        close(fd);
    return LMF_FAIL(cli->ctx, LMF_E_IO, "can't write %s: %s", path, strerror(e));
}

/* eval: loss, then what the objective reports; or NULL. What can't be logged is told once; the run is worth more than its log. */
static void log_line(lmf_cli *cli, run_state *r, double seconds, const double *eval)
{
    char line[4096], loss[32] = "null";
    const lmf_train_stats *s = &r->s;
    const lmf_objective *o = lmf_trainer_objective(r->t);
    if (isfinite(s->loss))
        snprintf(loss, sizeof loss, "%.6f", s->loss);
    size_t at = (size_t)snprintf(line, sizeof line, "{\"step\": %lld, \"epoch\": %.4f, \"loss\": %s, \"learning_rate\": %.8g, "
                                 "\"grad_norm\": %.6g, \"tokens\": %lld, \"seconds\": %.3f", (long long)s->step, s->epoch, loss, s->lr,
                                 isfinite(s->grad_norm) ? s->grad_norm : -1, (long long)s->total_tok, seconds);
    at = log_reports(line, sizeof line, at, o, "", s->report);
    if (eval) {
        at += (size_t)snprintf(line + at, sizeof line - at, isfinite(*eval) ? ", \"eval_loss\": %.6f" : ", \"eval_loss\": null", *eval);
        at = log_reports(line, sizeof line, at, o, "eval_", eval + 1);
    }
    LMF_ASSERT(at + 48 < sizeof line); /* LMF_MAX_REPORTS names and numbers */
    snprintf(line + at, sizeof line - at, ", \"clock_unix\": %lld}\n", (long long)r->clock_unix);
    lmf_status ls = LMF_OK;
    if (!r->log)
        ls = r->log_failed ? LMF_OK : open_log(cli, r, line);
    else if ((fputs(line, r->log) == EOF || fflush(r->log)) && !r->log_failed)
        ls = LMF_FAIL(cli->ctx, LMF_E_IO, "can't write to metrics.jsonl: %s", strerror(errno));
    if (ls) {
        fprintf(stderr, "\nwarning: this run has no whole log: %s\n", lmf_error(cli->ctx));
        r->log_failed = true;
    }
}

/* "loss 0.4100  right 0.88  812 tok/s" */
static void progress_text(const run_state *r, double seconds, char *text, size_t n)
{
    const lmf_objective *o = lmf_trainer_objective(r->t);
    size_t at = (size_t)snprintf(text, n, "loss %.4f", r->s.loss);
    for (int i = 0; i < lmf_objective_n_reports(o) && at < n; i++)
        if (o->reports[i].label)
            at += (size_t)snprintf(text + at, n - at, "  %s %.3f", o->reports[i].label, r->s.report[i]);
    if (at < n)
        snprintf(text + at, n - at, "  %.0f tok/s", (double)(r->s.total_tok - r->start_tok) / seconds);
}

static lmf_status one_step(lmf_cli *cli, run_state *r, lmf_progress *bar)
{
    char detail[128];
    LMF_TRY(lmf_trainer_step(r->t, &r->s));
    double seconds = lmf_cli_seconds() - r->start;
    bool last = lmf_trainer_is_done(r->t), evaluated = r->dev && (r->s.step % r->a->eval_steps == 0 || last);
    if (r->first_loss == 0)
        r->first_loss = r->s.loss;
    if (evaluated)
        LMF_TRY(lmf_trainer_eval_report(r->t, r->dev, r->eval, r->eval + 1));
    if (r->s.step % r->a->logging_steps == 0 || last || evaluated)
        log_line(cli, r, seconds, evaluated ? r->eval : NULL);
    progress_text(r, seconds, detail, sizeof detail);
    lmf_progress_step(bar, r->s.step, detail);
    bool stop = lmf_cli_interrupted();
    if ((r->a->save_steps && r->s.step % r->a->save_steps == 0 && !last) || (stop && !last)) {
        lmf_status s = keep_config(cli, r);
        if (!s)
            s = lmf_trainer_save(r->t, r->dir, (int)r->a->save_total_limit, r->a->model);
        if (!s && (stop || r->s.n_skipped < r->s.step)) /* something was learned */
            LMF_TRY(take_place(cli, r));
        if (s && stop)
            return s;
        if (s) /* the last checkpoint is still good: go on, try again at the next */
            fprintf(stderr, "\nwarning: no checkpoint at step %lld: %s\n", (long long)r->s.step, lmf_error(cli->ctx));
    }
    return stop && !last ? LMF_FAIL(cli->ctx, LMF_E_CANCELLED, "stopped at step %lld of %lld; saved. --resume last goes on", (long long)r->s.step, (long long)r->s.n_steps) : LMF_OK;
}

static lmf_status train_loop(lmf_cli *cli, run_state *r)
{
    lmf_progress bar;
    lmf_status s = LMF_OK;
    r->start = lmf_cli_seconds();
    lmf_progress_start(&bar, cli, "training", r->s.n_steps);
    while (!s && !lmf_trainer_is_done(r->t))
        s = one_step(cli, r, &bar);
    lmf_progress_end(&bar);
    return s;
}

static lmf_status report(lmf_cli *cli, const run_state *r, const lmf_samples *samples, double seconds)
{
    double tok = (double)(r->s.total_tok - r->start_tok);
    const lmf_objective *o = lmf_trainer_objective(r->t);
    if (cli->json) {
        json_t *j = json_pack("{s:o, s:I, s:f, s:o, s:o, s:f, s:I, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "output",
                              lmf_json_string(r->a->output), "steps",
                              (json_int_t)r->s.step,
            "epochs", r->s.epoch, "first_loss", real_or_null(r->first_loss), "final_loss", real_or_null(r->s.loss), "seconds", seconds, "tokens", (json_int_t)tok, "tokens_per_second", tok / seconds,
            "bad_rows", (json_int_t)samples->n_bad, "answers_without_end", (json_int_t)samples->n_endless, "turns_not_learned",
                (json_int_t)samples->n_unlearned,
            "rows_skipped", (json_int_t)samples->n_skipped, "rows_truncated", (json_int_t)samples->n_truncated, "steps_skipped", (json_int_t)r->s.n_skipped,
            "memory_bytes", (json_int_t)lmf_trainer_bytes(r->t));
        for (int i = 0; i < lmf_objective_n_reports(o); i++)
            json_object_set_new(j, o->reports[i].name, real_or_null(r->s.report[i]));
        return lmf_cli_print_json(cli, j);
    }
    if (!cli->quiet)
        fprintf(stderr, "%lld steps, %.0f tokens in %.1f s (%.0f tok/s), loss %.4f -> %.4f. Adapter in %s\n", (long long)r->s.step, tok, seconds, tok / seconds,
                r->first_loss, r->s.loss, lmf_plain_text(r->a->output, (char[1024]){ 0 }, 1024));
    return LMF_OK;
}

static lmf_status start(lmf_cli *cli, const train_args *a, run_state *r)
{
    int skipped = 0;
    char path[4096];
    if (a->init_adapter)
        LMF_TRY(lmf_trainer_load_adapter(r->t, a->init_adapter));
    if (r->resumes)
        LMF_TRY(lmf_trainer_resume(r->t, r->output, &skipped));
    if (skipped)
        fprintf(stderr, "warning: %d damaged checkpoints were passed over\n", skipped);
    lmf_trainer_stats(r->t, &r->s);
    r->start_tok = r->s.total_tok;
    if (lmf_trainer_is_done(r->t))
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "the run in %s is complete: all %lld steps are done", a->output, (long long)r->s.n_steps);
    LMF_TRY(open_output(cli, r));
    LMF_TRY(lmf_path_join(cli->ctx, path, sizeof path, r->dir, "metrics.jsonl"));
    if (r->resumes)
        LMF_TRY(trim_log(cli, path, r->s.step));
    r->log_goes_on = r->resumes && lmf_output_stat(path) == LMF_OUTPUT_FILE;
    return LMF_OK;
}

static lmf_status load_samples(lmf_cli *cli, const train_args *a, const lmf_model *m, const lmf_objective *o, const char *flag,
                               const char *path, lmf_samples **out)
{
    lmf_rows rows;
    int64_t longest = a->seq_len < lmf_model_config(m)->context ? a->seq_len : lmf_model_config(m)->context;
    lmf_too_long policy = !strcmp(a->too_long, "skip") ? LMF_LONG_SKIP : !strcmp(a->too_long, "truncate") ? LMF_LONG_TRUNCATE : LMF_LONG_ERROR;
    lmf_status s = lmf_rows_open_with(cli->ctx, path, lmf__conversation_skips(a->bad_rows), &rows);
    if (!s)
        s = lmf_samples_create_of(&rows, &m->chat, o->takes, (int32_t)longest, policy, out);
    lmf_rows_close(&rows);
    if (s)
        return lmf_fail_prefix(cli->ctx, lmf__conversation_hint(cli, s, a->bad_rows), "%s", flag);
    char name[1024];
    lmf_plain_text(path, name, sizeof name);
    if (!cli->quiet && !cli->json)
        fprintf(stderr, "%s: %lld rows, %lld tokens, %lld of them learned\n", name, (long long)lmf_samples_n_groups(*out),
                (long long)(*out)->n_tok, (long long)(*out)->n_learn);
    if ((*out)->n_measured && !cli->quiet && !cli->json)
        fprintf(stderr, "%s: %lld good answers, %lld bad ones\n", name, (long long)(*out)->n_label[1], (long long)(*out)->n_label[0]);
    lmf__conversation_report(name, *out);
    if ((*out)->n_skipped || (*out)->n_truncated)
        fprintf(stderr, "%s: %lld rows were too long and left out, %lld were cut\n", name, (long long)(*out)->n_skipped, (long long)(*out)->n_truncated);
    return LMF_OK;
}

/* The clock stands still for a run, a resumed one included. */
static lmf_status set_conversation(lmf_cli *cli, train_args *a, lmf_model *m)
{
    bool found = false;
    LMF_TRY(lmf__conversation_use_template(cli, m, a->chat_template));
    m->chat.control = lmf__conversation_control(a->control);
    m->chat.now_unix = a->clock_unix ? a->clock_unix : lmf__conversation_now();
    if (strcmp(a->resume, "no"))
        LMF_TRY(lmf_checkpoint_clock(cli->ctx, a->output, &m->chat.now_unix, &found));
    a->clock_unix = m->chat.now_unix;
    return LMF_OK;
}

static lmf_status run(lmf_cli *cli, void *args)
{
    train_args *a = args;
    lmf_model *m = NULL;
    lmf_samples *samples = NULL, *dev = NULL;
    LMF_TRY(resolve(cli, a));
    lmf_train_opts o = options(a);
    run_state r = { .a = a, .lock = -1, .stage = { .fd = -1 } };
    lmf_status s = LMF_OK;
    const lmf_objective *objective;
    lmf_objective_value values[LMF_MAX_OBJECTIVE_FLAGS];
    LMF_TRY_TO(done, lmf_objective_find(cli->ctx, a->objective, &objective));
    LMF_TRY_TO(done, lmf__objective_values(cli->ctx, objective, a->objective_value, values, &o.n_objective_values));
    o.objective_values = values;
    LMF_TRY_TO(done, check_output(cli, &r));
    LMF_TRY_TO(done, lmf_model_open(cli->ctx, a->model, &m));
    LMF_TRY_TO(done, set_conversation(cli, a, m));
    o.clock_unix = m->chat.now_unix;
    r.clock_unix = o.clock_unix;
    LMF_TRY_TO(done, load_samples(cli, a, m, objective, "--data", a->data, &samples));
    if (a->eval_data)
        LMF_TRY_TO(done, load_samples(cli, a, m, objective, "--eval-data", a->eval_data, &dev));
    o.eval_tok = dev ? lmf_samples_longest_group(dev) : 0;
    LMF_TRY_TO(done, lmf_trainer_create(cli->ctx, cli->device, m, samples, &o, &r.t));
    r.dev = dev;
    LMF_TRY_TO(done, start(cli, a, &r));
    if (!cli->quiet && !cli->json)
        fprintf(stderr, "LoRA of %.2f million parameters on %s%s; %.0f MB planned\n", (double)lmf_trainer_n_params(r.t) / 1e6, lmf_plain_text(a->model, (char[1024]){ 0 }, 1024),
                lmf_trainer_between(r.t) == LMF_BF16 ? ", activations in bf16" : "", (double)lmf_trainer_bytes(r.t) / 1e6);
    LMF_TRY_TO(done, train_loop(cli, &r));
    double seconds = lmf_cli_seconds() - r.start;
    if (r.s.n_skipped == r.s.step) {
        s = LMF_FAIL(cli->ctx, LMF_E_LIMIT, "no step had finite gradients: nothing was learned, and no adapter is written; lower --lr or look at the model's weights");
        goto done;
    }
    LMF_TRY_TO(done, lmf_run_finish(r.t, r.dir, a->model));
    LMF_TRY_TO(done, take_place(cli, &r));
    LMF_TRY_TO(done, report(cli, &r, samples, seconds));
    if (a->profile)
        print_profile(r.t);
done:
    close_output(cli, &r, s != LMF_OK);
    lmf_trainer_destroy(r.t);
    lmf_samples_destroy(samples);
    lmf_samples_destroy(dev);
    lmf_model_close(m);
    return s;
}

const lmf_command lmf_command_train = { "train", "fine-tune a model with LoRA", lmf_train_fields, sizeof(train_args), run, .more = more_flags, .takes_config = true,
    .example = "lmfast train --model SmolLM2-135M-Instruct.Q4_1.gguf --data rows.jsonl --output my_adapter --epochs 3 --batch-size 8 --lr 1e-3" };
