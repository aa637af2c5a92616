/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: nothing is written before all that can be refused was. A run that replaces another works beside it until it has something to keep,
 * a checkpoint or the adapter, and takes its place in one step. */
#include "train/run.h"
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include "base/output.h"
#include "base/plain.h"
#include "config/dialect.h"
#include "format/json.h"
#include "observe/events.h"
#include "train/labels.h"
#include "train/objective_flags.h"
#include "train/run_4bit.h"
#include "train/run_data.h"
#include "train/run_folder.h"

enum { MOST_PASSES = 20 };

struct lmf_run {
    lmf_ctx *ctx;
    lmf_run_opts o;
    lmf_train_config *a;
    lmf_model *own_model, *m, *teacher;
    lmf_labels *labels;
    lmf_dataset *data, *eval_data;
    const lmf_samples *train;         /* of data, or given */
    const lmf_samples *dev;           /* of eval_data, or held out of data, or given; NULL: nothing is measured */
    lmf_run_listener listener;
    lmf_learning learning;
    lmf_faults faults;
    lmf_trainer *t;
    lmf_rollout *rollout;             /* NULL: the objective learns from rows */
    lmf_rollout_number more[LMF_MAX_ROLLOUT_NUMBERS]; int n_more;
    bool samples_failed, save_due;
    lmf_train_stats s;
    int log;                          /* metrics.jsonl, open for appending; -1: not yet */
    bool log_failed, log_goes_on, config_saved, failed, complete, guarded, events_failed;
    double start, first_loss;
    int64_t start_tok;
    double eval[1 + LMF_MAX_REPORTS]; /* loss, then what the objective reports */
    char output[4000], dir[4096];     /* --output; where the run writes, the same unless it is to replace another */
    bool replaces, resumes, made;     /* an earlier run; goes on with its last checkpoint; the folder was not there */
    int lock;                         /* of output; -1: none yet */
    lmf_stage stage;
};

#define note(r, warning, ...) lmf__run_tell(&(r)->listener, warning, __VA_ARGS__)

static bool is_full(const lmf_run *r) { return !strcmp(r->a->method, "full"); }

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* What settings say together. */
static lmf_status resolve(lmf_ctx *ctx, lmf_train_config *a)
{
    if (a->warmup_steps != LMF_WARMUP_SHARE && !isnan(a->warmup_ratio))
        return LMF_FAIL(ctx, LMF_E_ARG, "--warmup-steps is %lld and --warmup-ratio %g: give one of them", (long long)a->warmup_steps,
                        a->warmup_ratio);
    if (a->lr == 0)
        return LMF_FAIL(ctx, LMF_E_ARG, "--lr is 0: nothing would be learned");
    if (a->val_set_size > 0 && a->eval_data.n)
        return LMF_FAIL(ctx, LMF_E_ARG, "--val-set-size holds rows of --data out, and --eval-data gives others: give one of them");
    if (!a->max_steps && !(a->epochs > 0))
        a->max_steps = 500;
    return LMF_OK;
}

/* What suits many rows is no word about few. */
static void tell_passes(const lmf_run *r)
{
    int64_t n = lmf_samples_n_groups(r->data->train);
    double passes = (double)(r->a->max_steps * r->a->batch_size * r->a->grad_accum) / (double)n;
    if (passes > MOST_PASSES)
        lmf__run_tell(&r->listener, true, "neither --epochs nor --max-steps was given: %lld steps are %.0f passes over %lld rows, which "
                      "will be known by heart; --epochs 3 is usual", (long long)r->a->max_steps, passes, (long long)n);
}

/* The flag's choices, in the order of lmf_schedule. */
static lmf_schedule schedule_of(const char *name)
{
    static const char *const names[] = { "linear", "cosine", "constant", "wsd" };
    int i = 0;
    while (i < 3 && strcmp(names[i], name))
        i++;
    return (lmf_schedule)i;
}

static lmf_train_opts options(const lmf_train_config *a)
{
    lmf_train_opts o = lmf_train_opts_default();
    o.objective = a->objective;
    o.full = !strcmp(a->method, "full");
    o.decay_ratio = a->decay_ratio;
    o.lora_r = (int32_t)a->lora_r;
    o.lora_alpha = a->lora_alpha;
    o.lora_dropout = a->lora_dropout;
    o.use_rslora = a->rslora;
    o.use_dora = a->use_dora;
    o.target_modules = a->target_modules;
    o.batch_size = (int32_t)a->batch_size;
    o.grad_accum = (int32_t)a->grad_accum;
    o.micro_tok = (int32_t)a->micro_tok;
    o.epochs = a->epochs;
    o.max_steps = a->max_steps;
    o.lr = a->lr;
    o.schedule = schedule_of(a->scheduler);
    o.min_lr_ratio = a->min_lr_ratio;
    o.warmup_steps = a->warmup_steps;
    o.warmup_ratio = isnan(a->warmup_ratio) ? 0 : a->warmup_ratio;
    o.optimizer = (lmf_optimizer)lmf_train_optimizer(a->optimizer);
    o.momentum = a->momentum;
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

/* --resume is none of its words, but where to go on from. */
static const char *resume_path(const lmf_train_config *a)
{
    return strcmp(a->resume, "no") && strcmp(a->resume, "last") && strcmp(a->resume, "auto") ? a->resume : NULL;
}

static lmf_status refuse_resume(const lmf_run *r)
{
    return LMF_FAIL(r->ctx, LMF_E_NOT_FOUND, "--resume %s: there is no such folder; no, last, auto and a checkpoint's folder are possible",
                    r->a->resume);
}

/* Of an earlier run. */
static const char *first_part(const lmf_run_contents *c)
{
    if (c->n_adapter)
        return "the adapter of";
    if (c->n_checkpoints)
        return "checkpoints of";
    return c->log ? "the log of" : "the configuration of";
}

/* What of an existing folder this run may use, and how. */
static lmf_status check_contents(lmf_run *r)
{
    lmf_run_contents c;
    const lmf_train_config *a = r->a;
    bool wants_resume = strcmp(a->resume, "no") != 0;
    if (resume_path(a) && lmf_output_stat(a->resume) != LMF_OUTPUT_DIR)
        return refuse_resume(r);
    lmf_status s = lmf_run_scan(r->ctx, r->output, wants_resume, &c);
    if (s)
        return lmf_fail_prefix(r->ctx, s, "--output");
    if (!c.n_checkpoints && !strcmp(a->resume, "last"))
        return LMF_FAIL(r->ctx, LMF_E_NOT_FOUND, "--output %s holds no checkpoint to resume from", r->output);
    r->resumes = resume_path(a) || (wants_resume && c.n_checkpoints);
    if (r->resumes)
        return LMF_OK; /* what others put beside the run stays there */
    if (c.stranger[0])
        return LMF_FAIL(r->ctx, LMF_E_EXISTS,
                        "--output %s holds files that are not of a training run, %s for one; choose another folder", r->output, c.stranger);
    r->replaces = c.n_checkpoints || c.n_adapter || c.log || c.config;
    if (r->replaces && !a->overwrite && (c.n_checkpoints || c.n_adapter || !wants_resume))
        return LMF_FAIL(r->ctx, LMF_E_EXISTS, "--output %s holds %s an earlier run; %s--overwrite replaces it", r->output,
                        first_part(&c), c.n_checkpoints ? "--resume last goes on with it, " : "");
    return LMF_OK;
}

static lmf_status check_output(lmf_run *r)
{
    size_t n = strlen(r->a->output);
    while (n > 1 && r->a->output[n - 1] == '/')
        n--;
    if (n == 0 || n >= sizeof r->output)
        return LMF_FAIL(r->ctx, LMF_E_ARG, "--output is empty or too long");
    snprintf(r->output, sizeof r->output, "%.*s", (int)n, r->a->output);
    snprintf(r->dir, sizeof r->dir, "%s", r->output);
    lmf_output_kind kind = lmf_output_stat(r->output);
    if (kind == LMF_OUTPUT_NONE) {
        r->made = true;
        if (resume_path(r->a))
            r->resumes = true;
        if (resume_path(r->a) && lmf_output_stat(r->a->resume) != LMF_OUTPUT_DIR)
            return refuse_resume(r);
        return strcmp(r->a->resume, "last") ? LMF_OK : LMF_FAIL(r->ctx, LMF_E_NOT_FOUND,
                                                                "--output %s is not there: no checkpoint to resume from", r->output);
    }
    if (kind != LMF_OUTPUT_DIR)
        return LMF_FAIL(r->ctx, LMF_E_EXISTS, "--output %s exists and is no folder: it is %s", r->output, lmf_output_word(kind));
    LMF_TRY(lmf_output_lock(r->ctx, r->output, &r->lock));
    return check_contents(r);
}

/* The folder to write into, and its lock. */
static lmf_status open_output(lmf_run *r)
{
    if (r->replaces) {
        LMF_TRY(lmf_stage_open(r->ctx, r->output, lmf_run_remove, &r->stage));
        snprintf(r->dir, sizeof r->dir, "%s", r->stage.path);
        return LMF_OK;
    }
    lmf_output_clean_beside(r->ctx, r->output, lmf_run_remove);
    if (r->made) {
        LMF_TRY(lmf_dir_create(r->ctx, r->output));
        LMF_TRY(lmf_output_lock(r->ctx, r->output, &r->lock));
        LMF_TRY(check_contents(r)); /* of another process that was as fast */
    } else {
        char log[4200];
        snprintf(log, sizeof log, "%s/metrics.jsonl", r->output);
        LMF_TRY(lmf_output_try(r->ctx, log)); /* before the work, not behind it */
    }
    lmf_output_clean(r->ctx, r->output, NULL, lmf_checkpoint_remove_left);
    return LMF_OK;
}

/* This run has something to keep: it takes the earlier one's place, which goes. */
static lmf_status take_place(lmf_run *r)
{
    lmf_run_contents c;
    if (!r->replaces)
        return LMF_OK;
    LMF_TRY(lmf_run_scan(r->ctx, r->output, false, &c));
    LMF_TRY(lmf_output_place(r->ctx, r->stage.path, r->output, true));
    lmf_status s = lmf_run_remove(r->ctx, r->stage.path);
    if (s) { /* a file of the user's came into it meanwhile */
        lmf_error_record why = *lmf_error_here(r->ctx);
        lmf_status back = lmf_output_place(r->ctx, r->stage.path, r->output, true);
        if (!back)
            *lmf_error_here(r->ctx) = why;
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
static void close_output(lmf_run *r, bool failed)
{
    lmf_error_record why = *lmf_error_here(r->ctx);
    if (r->log >= 0)
        close(r->log);
    if (failed && r->made && rmdir(r->output) == 0)
        r->made = false;
    if (r->stage.fd >= 0 && r->replaces) {
        lmf_status s = lmf_run_remove(r->ctx, r->stage.path);
        if (!s)
            r->stage.path[0] = 0;
    }
    lmf_status closed = lmf_stage_close(&r->stage);
    (void)closed; /* the failure that led here is the one to tell; the next run cleans */
    if (r->lock >= 0)
        close(r->lock);
    *lmf_error_here(r->ctx) = why;
}

/* Steps behind the checkpoint are done again, so their lines go; and one that a kill cut short. */
static lmf_status trim_log(lmf_ctx *ctx, const char *path, int64_t step)
{
    char *text;
    size_t n, kept = 0;
    if (lmf_path_stat(path) == LMF_PATH_NONE)
        return LMF_OK;
    LMF_TRY(lmf_file_read(ctx, path, LMF_POWER2(32), &text, &n));
    for (size_t at = 0, len; at < n; at += len) {
        const char *end = memchr(text + at, '\n', n - at);
        len = end ? (size_t)(end - text) - at + 1 : n - at;
        json_t *line = end ? json_loadb(text + at, len, JSON_ALLOW_NUL, NULL) : NULL;
        const json_t *of = json_object_get(line, "step");
        if (json_is_integer(of) && json_integer_value(of) <= step) {
            memmove(text + kept, text + at, len);
            kept += len;
        }
        json_decref(line);
    }
    lmf_status s = LMF_OK;
    if (kept == 0)
        s = lmf_path_unlink(ctx, path);
    else if (kept < n)
        s = lmf_file_write(ctx, path, text, kept);
    lmf_free(ctx, text, n + 1);
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

/* What the run found and does, for reports. */
static json_t *run_facts(const lmf_run *r)
{
    return json_pack("{s:s, s:o, s:s, s:s, s:I, s:I, s:I, s:I, s:I, s:o, s:o}", "version", LMF_VERSION, "model",
        lmf_json_string(r->a->model), "method", is_full(r) ? "all weights" : "LoRA", "objective", r->a->objective, "steps",
        (json_int_t)r->s.n_steps, "trained_parameters", (json_int_t)lmf_trainer_n_params(r->t),
        "model_parameters", (json_int_t)r->m->n_params,
        "planned_bytes",
        (json_int_t)lmf_trainer_bytes(r->t), "rows_a_step", (json_int_t)(r->a->batch_size * r->a->grad_accum), "data",
        r->o.data_facts ? json_incref(r->o.data_facts) : lmf__run_data_json(r->data), "eval_data", lmf__run_data_json(r->eval_data));
}

/* What this run does, so that it can be done again; written with the first thing that the run keeps. */
static lmf_status keep_config(lmf_run *r)
{
    lmf_buf text;
    if (r->config_saved || r->o.no_folder)
        return LMF_OK;
    lmf_buf_init(&text, r->ctx, LMF_DOCUMENT_MAX_BYTES);
    json_t *facts = run_facts(r);
    lmf_buf line;
    lmf_buf_init(&line, r->ctx, LMF_DOCUMENT_MAX_BYTES / 2);
    lmf_status s = facts ? lmf_json_text(r->ctx, facts, JSON_COMPACT | JSON_REAL_PRECISION(12), &line)
                         : LMF_NO_MEMORY(r->ctx, 4096, "a receipt");
    json_decref(facts);
    if (!s)
        s = lmf_config_text(r->ctx, r->o.command ? r->o.command : "train", r->o.fields, r->a, lmf_buf_str(&line), &text);
    lmf_buf_clear(&line);
    if (!s)
        s = lmf_run_save_config(r->ctx, r->dir, lmf_buf_str(&text), text.n);
    lmf_buf_clear(&text);
    r->config_saved = !s;
    return s;
}

static bool append(int fd, const char *line)
{
    for (size_t n = strlen(line), done = 0; done < n;) {
        ssize_t more = write(fd, line + done, n - done);
        if (more < 0 && errno != EINTR)
            return false;
        done += more > 0 ? (size_t)more : 0;
    }
    return true;
}

/* The first line and its file come as one, so that a log without bytes is not ours; a resumed run's log goes on. */
static lmf_status open_log(lmf_run *r, const char *line)
{
    char path[4200];
    snprintf(path, sizeof path, "%s/metrics.jsonl", r->dir);
    LMF_TRY(keep_config(r));
    if (!r->log_goes_on)
        LMF_TRY(lmf_file_write(r->ctx, path, line, strlen(line)));
    int fd = open(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_APPEND);
    r->log = fd;
    if (fd < 0 || (r->log_goes_on && !append(fd, line)))
        return LMF_FAIL(r->ctx, LMF_E_IO, "can't write to %s: %s", path, strerror(errno));
    return LMF_OK;
}

static long long resident_bytes(void)
{
    long long pages = 0;
    char text[128] = "";
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fgets(text, sizeof text, f)) {
        char *second = strchr(text, ' '), *end;
        pages = second ? strtoll(second, &end, 10) : 0;
    }
    if (f)
        fclose(f);
    return pages * sysconf(_SC_PAGESIZE);
}

/* The same line for TensorBoard. The file is what the log gives: a resumed run writes it anew from what is left of its log. */
static lmf_status add_events(const lmf_run *r, const char *line)
{
    char path[4200];
    lmf_buf b;
    snprintf(path, sizeof path, "%s/" LMF_EVENTS_NAME, r->dir);
    int fd = open(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_APPEND);
    lmf_buf_init(&b, r->ctx, LMF_POWER2(32));
    lmf_status s = LMF_OK;
    if (fd < 0) { /* the first line, or a file that is not there any more */
        char log[4200], *text = NULL;
        size_t n = 0;
        snprintf(log, sizeof log, "%s/metrics.jsonl", r->dir);
        s = lmf_events_begin(&b);
        if (!s)
            s = lmf_file_read(r->ctx, log, LMF_POWER2(32), &text, &n);
        if (!s)
            s = lmf_events_add(r->ctx, text, n, &b);
        lmf_free(r->ctx, text, n + 1);
        if (!s)
            s = lmf_file_write(r->ctx, path, lmf_buf_str(&b), b.n);
    } else {
        s = lmf_events_add(r->ctx, line, strlen(line), &b);
        if (!s && write(fd, lmf_buf_str(&b), b.n) != (ssize_t)b.n)
            s = LMF_FAIL(r->ctx, LMF_E_IO, "can't write to %s: %s", path, strerror(errno));
        close(fd);
    }
    lmf_buf_clear(&b);
    return s;
}

/* eval: loss, then what the objective reports; or NULL. What can't be logged is told once; the run is worth more than its log. */
static void log_line(lmf_run *r, double seconds, const double *eval)
{
    char line[8192], loss[32] = "null";
    const lmf_train_stats *s = &r->s;
    const lmf_objective *o = lmf_trainer_objective(r->t);
    if (isfinite(s->loss))
        snprintf(loss, sizeof loss, "%.6f", s->loss);
    size_t at = (size_t)snprintf(line, sizeof line, "{\"step\": %lld, \"epoch\": %.4f, \"loss\": %s, \"learning_rate\": %.8g, "
                                 "\"grad_norm\": %.6g, \"tokens\": %lld, \"seconds\": %.3f", (long long)s->step, s->epoch, loss, s->lr,
                                 isfinite(s->grad_norm) ? s->grad_norm : -1, (long long)s->total_tok, seconds);
    at = log_reports(line, sizeof line, at, o, "", s->report);
    for (int i = 0; i < r->n_more; i++)
        at = log_number(line, sizeof line, at, "", r->more[i].name, r->more[i].value);
    if (eval) {
        at += (size_t)snprintf(line + at, sizeof line - at, isfinite(*eval) ? ", \"eval_loss\": %.6f" : ", \"eval_loss\": null", *eval);
        at = log_reports(line, sizeof line, at, o, "eval_", eval + 1);
    }
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    LMF_ASSERT(at + 128 < sizeof line); /* LMF_MAX_REPORTS names and numbers */
    snprintf(line + at, sizeof line - at, ", \"clock_unix\": %lld, \"unix_time\": %.3f, \"rss_bytes\": %lld}\n",
             (long long)r->a->clock_unix, (double)now.tv_sec + 1e-9 * (double)now.tv_nsec, resident_bytes());
    lmf_status ls = LMF_OK;
    if (r->log < 0)
        ls = r->log_failed ? LMF_OK : open_log(r, line);
    else if (!append(r->log, line) && !r->log_failed)
        ls = LMF_FAIL(r->ctx, LMF_E_IO, "can't write to metrics.jsonl: %s", strerror(errno));
    if (ls) {
        note(r, true, "this run has no whole log: %s", lmf_error(r->ctx));
        r->log_failed = true;
    }
    if (r->a->tensorboard && !r->events_failed && add_events(r, line)) {
        note(r, true, "no more events for TensorBoard: %s", lmf_error(r->ctx));
        r->events_failed = true;
    }
}

/* The answers of this step, to look at. */
static void log_samples(lmf_run *r)
{
    char path[4200];
    lmf_buf lines;
    if (r->log < 0 || r->samples_failed)
        return;
    snprintf(path, sizeof path, "%s/" LMF_RUN_SAMPLES, r->dir);
    lmf_buf_init(&lines, r->ctx, (size_t)1 << 30);
    lmf_status s = lmf_rollout_lines(r->rollout, r->s.step, &lines);
    if (!s && lines.n && lmf_output_stat(path) == LMF_OUTPUT_NONE) {
        s = lmf_file_write(r->ctx, path, lmf_buf_str(&lines), lines.n);
    } else if (!s && lines.n) {
        int fd = open(path, O_WRONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_APPEND);
        if (fd < 0 || !append(fd, lmf_buf_str(&lines)))
            s = LMF_FAIL(r->ctx, LMF_E_IO, "can't write to %s: %s", path, strerror(errno));
        if (fd >= 0)
            close(fd);
    }
    lmf_buf_clear(&lines);
    if (s) {
        note(r, true, "no more samples are kept: %s", lmf_error(r->ctx));
        r->samples_failed = true;
    }
}

/* ---- before the first step ---- */
/* The clock stands still for a run, a resumed one included. */
static lmf_status open_model(lmf_run *r)
{
    lmf_train_config *a = r->a;
    bool found = false;
    r->m = r->o.model;
    if (!r->m) {
        LMF_TRY(lmf_model_open(r->ctx, a->model, &r->own_model));
        r->m = r->own_model;
        lmf_status s = a->chat_template ? lmf_model_load_template(r->m, a->chat_template) : LMF_OK;
        if (s)
            return lmf_fail_prefix(r->ctx, s, "--chat-template");
        r->m->chat.control = lmf_control_of(a->control);
        r->m->chat.now_unix = a->clock_unix ? a->clock_unix : lmf_chat_now();
    }
    if (strcmp(a->resume, "no") && !r->o.no_folder)
        LMF_TRY(lmf_checkpoint_clock(r->ctx, resume_path(a) ? a->resume : a->output, &r->m->chat.now_unix, &found));
    a->clock_unix = r->m->chat.now_unix;
    return LMF_OK;
}

static lmf_status open_teacher(lmf_run *r, const lmf_objective *objective)
{
    char name[1024];
    const char *teacher = r->a->teacher, *labels = r->a->teacher_labels;
    if (!objective->teacher && (teacher || labels))
        return LMF_FAIL(r->ctx, LMF_E_ARG, "--teacher%s is of objectives that learn from a model; %s does not", labels ? "-labels" : "",
                        objective->name);
    if (objective->teacher && !teacher == !labels)
        return LMF_FAIL(r->ctx, LMF_E_ARG, "the objective %s learns from %s", objective->name, teacher ?
                        "one of both, --teacher or --teacher-labels" :
                        "a model: name it with --teacher, or what it thinks of the rows with --teacher-labels");
    if (labels) {
        lmf_status opened = lmf_labels_open(r->ctx, labels, &r->labels);
        if (opened)
            return lmf_fail_prefix(r->ctx, opened, "--teacher-labels");
        const lmf_labels_info *info = lmf_labels_get_info(r->labels);
        note(r, false, "labels of a teacher: %lld of %d tokens each, at temperature %g", (long long)info->n_labels, info->k,
             info->temperature);
        if (!r->a->clock_unix) /* the rows that they were made of */
            r->a->clock_unix = info->clock_unix;
    }
    if (!teacher)
        return LMF_OK;
    lmf_status s = lmf_model_open(r->ctx, r->a->teacher, &r->teacher);
    if (s)
        return lmf_fail_prefix(r->ctx, s, "--teacher");
    note(r, false, "teacher %s: %.1f million parameters", lmf_plain_text(r->a->teacher, name, sizeof name),
         (double)r->teacher->n_params / 1e6);
    return LMF_OK;
}

/* From where the run goes on, and where it writes. */
static lmf_status begin(lmf_run *r)
{
    int skipped = 0;
    char path[4096], events[4096];
    if (r->a->init_adapter)
        LMF_TRY(lmf_trainer_load_adapter(r->t, r->a->init_adapter));
    if (r->resumes)
        LMF_TRY(lmf_trainer_resume_from(r->t, resume_path(r->a) ? r->a->resume : r->output, &skipped));
    if (skipped)
        note(r, true, "%d damaged checkpoints were passed over", skipped);
    lmf_trainer_stats(r->t, &r->s);
    if (lmf_trainer_was_shorter(r->t))
        note(r, false, "the run was of %lld steps and goes on from step %lld to %lld: the schedule is that of all %lld, so the learning "
            "rate is "
             "%.3g now", (long long)lmf_trainer_was_shorter(r->t), (long long)r->s.step, (long long)r->s.n_steps, (long long)r->s.n_steps,
             lmf_trainer_lr(r->t, r->s.step));
    r->start_tok = r->s.total_tok;
    if (lmf_trainer_is_done(r->t))
        return LMF_FAIL(r->ctx, LMF_E_ARG, "the run in %s is complete: all %lld steps are done", r->a->output, (long long)r->s.n_steps);
    if (r->o.no_folder)
        return LMF_OK;
    LMF_TRY(open_output(r));
    LMF_TRY(lmf_path_join(r->ctx, path, sizeof path, r->dir, "metrics.jsonl"));
    if (r->resumes) {
        LMF_TRY(trim_log(r->ctx, path, r->s.step));
        LMF_TRY(lmf_path_join(r->ctx, events, sizeof events, r->dir, LMF_RUN_SAMPLES));
        LMF_TRY(trim_log(r->ctx, events, r->s.step));
        LMF_TRY(lmf_path_join(r->ctx, events, sizeof events, r->dir, LMF_EVENTS_NAME));
        if (lmf_output_stat(events) == LMF_OUTPUT_FILE)
            LMF_TRY(lmf_path_unlink(r->ctx, events)); /* made anew with the next line */
    }
    r->log_goes_on = r->resumes && lmf_output_stat(path) == LMF_OUTPUT_FILE;
    return LMF_OK;
}

static lmf_status open_data(lmf_run *r, uint32_t takes)
{
    r->train = r->o.samples, r->dev = r->o.eval_samples;
    if (r->train)
        return LMF_OK;
    LMF_TRY(lmf__run_data_open(r->a, r->m, takes, &r->a->data, r->o.data, "--data", true, &r->listener, &r->data));
    if (r->a->eval_data.n || r->o.eval_data)
        LMF_TRY(lmf__run_data_open(r->a, r->m, takes, &r->a->eval_data, r->o.eval_data, "--eval-data", false, &r->listener, &r->eval_data));
    r->train = r->data->train;
    r->dev = r->eval_data ? r->eval_data->train : r->data->held_out;
    return lmf__run_data_guard(r->a, r->m, r->data, r->dev, &r->listener);
}

static lmf_status open_rollout(lmf_run *r)
{
    const lmf_train_config *a = r->a;
    lmf_rollout_opts o = { .reward = a->reward.item, .n_rewards = (int)a->reward.n, .timeout_s = a->reward_timeout,
        .skip = !strcmp(a->reward_policy, "skip"), .invariant = a->invariant, .compute = !a->invariant && strcmp(a->compute, "f32") != 0,
        .rank = (int32_t)a->lora_r, .max_seqs = (int32_t)a->max_seqs, .seed = (uint64_t)a->seed, .shuffle = a->shuffle,
        .device = r->o.device, .note = r->o.note, .user = r->o.user };
    if (lmf_trainer_sampling(r->t)->from_rows && is_full(r))
        return LMF_FAIL(r->ctx, LMF_E_UNSUPPORTED, "--method full with --lmbda: the student answers with the adapter that is trained; "
                        "train LoRA");
    if (a->invariant && strcmp(a->compute, "f32"))
        return LMF_FAIL(r->ctx, LMF_E_ARG, "--invariant goes with --compute f32: fast products hang on how many rows there are");
    lmf_status s = lmf_rollout_create(r->ctx, r->t, r->m, r->train, &o, &r->rollout);
    return s == LMF_E_ARG && a->reward.n ? lmf_fail_prefix(r->ctx, s, "--reward") : s;
}

/* What an objective that samples has no use for, and others have none for. */
static lmf_status check_sampling(const lmf_run *r, const lmf_objective *o)
{
    const lmf_train_config *a = r->a;
    bool prompts = o->takes == LMF_TAKES_PROMPT;
    if (!prompts && a->reward.n)
        return LMF_FAIL(r->ctx, LMF_E_ARG, "--reward: the objective %s learns from rows, and samples nothing", o->name);
    if (!prompts)
        return LMF_OK;
    if (!a->reward.n)
        return LMF_FAIL(r->ctx, LMF_E_ARG, "the objective %s needs --reward: what makes an answer a good one, such as tool_call or number",
                        o->name);
    if (is_full(r))
        return LMF_FAIL(r->ctx, LMF_E_UNSUPPORTED,
            "--method full: the objective %s samples with the adapter that it trains; it trains LoRA",
                        o->name);
    if (a->eval_data.n || a->val_set_size > 0)
        return LMF_FAIL(r->ctx, LMF_E_UNSUPPORTED, "--eval-data and --val-set-size: the objective %s has no loss on rows; lmfast eval "
                        "--adapter measures its answers", o->name);
    return LMF_OK;
}

static lmf_status create(lmf_run *r)
{
    const lmf_objective *objective;
    lmf_objective_value values[LMF_MAX_OBJECTIVE_FLAGS];
    bool by_default = !r->a->max_steps && !(r->a->epochs > 0);
    LMF_TRY(resolve(r->ctx, r->a));
    if (is_full(r) && !r->o.write_model)
        return LMF_FAIL(r->ctx, LMF_E_UNSUPPORTED, "--method full: who runs this can't write all weights");
    lmf_train_opts o = options(r->a);
    LMF_TRY(lmf_objective_find(r->ctx, r->a->objective, &objective));
    LMF_TRY(lmf__objective_values(r->ctx, objective, r->a->objective_value, values, &o.n_objective_values));
    o.objective_values = values;
    LMF_TRY(check_sampling(r, objective));
    if (!r->o.no_folder)
        LMF_TRY(check_output(r));
    LMF_TRY(open_teacher(r, objective));
    LMF_TRY(open_model(r));
    o.clock_unix = r->a->clock_unix;
    o.teacher = r->teacher, o.labels = r->labels;
    LMF_TRY(open_data(r, objective->takes));
    o.eval_tok = r->dev ? lmf_samples_longest_group(r->dev) : 0;
    LMF_TRY(lmf__run_4bit(r->ctx, r->a, r->m, r->o.model != NULL, r->o.device ? r->o.device : "cpu", r->train, &o, &r->listener));
    LMF_TRY(lmf_trainer_create(r->ctx, r->o.device ? r->o.device : "cpu", r->m, r->train, &o, &r->t));
    if (lmf_trainer_sampling(r->t))
        LMF_TRY(open_rollout(r));
    LMF_TRY(begin(r));
    if (by_default)
        tell_passes(r);
    r->guarded = strcmp(r->a->guards, "off") != 0 && objective->takes != LMF_TAKES_PROMPT;
    if (r->guarded)
        LMF_TRY(lmf_learning_start(r->t, &r->learning));
    r->start = now_seconds();
    return LMF_OK;
}

lmf_run_opts lmf_run_opts_default(void) { return (lmf_run_opts){ .struct_bytes = sizeof(lmf_run_opts) }; }

lmf_status lmf_run_create(lmf_ctx *ctx, const lmf_run_opts *opts, lmf_run **out)
{
    lmf_run_opts o = lmf_run_opts_default();
    *out = NULL;
    LMF_TRY(lmf_opts_take(ctx, "lmf_run_opts", &o, opts, sizeof o));
    lmf_run *r = lmf_new(ctx, lmf_run);
    if (!r)
        return LMF_NO_MEMORY(ctx, sizeof *r, "a run");
    r->ctx = ctx, r->o = o, r->a = o.config, r->lock = r->log = -1, r->stage.fd = -1;
    r->listener = (lmf_run_listener){ o.note, o.user };
    lmf_faults_init(&r->faults, ctx);
    lmf_status s = create(r);
    if (s) {
        r->failed = true;
        lmf_run_destroy(r);
        return s;
    }
    *out = r;
    return LMF_OK;
}

void lmf_run_destroy(lmf_run *r)
{
    if (!r)
        return;
    lmf_ctx *ctx = r->ctx;
    close_output(r, r->failed || !r->complete);
    lmf_rollout_destroy(r->rollout);
    lmf_trainer_destroy(r->t);
    lmf_dataset_close(r->data);
    lmf_dataset_close(r->eval_data);
    lmf_faults_clear(&r->faults);
    lmf_labels_close(r->labels);
    lmf_model_close(r->teacher);
    lmf_model_close(r->own_model);
    lmf_delete(ctx, r);
}

/* ---- steps ---- */
/* A checkpoint that can't be written is no failure of the run: the last one is still good, and the next is tried. */
static lmf_status checkpoint(lmf_run *r, bool stop)
{
    lmf_status s = keep_config(r);
    if (!s)
        s = lmf_trainer_save(r->t, r->dir, (int)r->a->save_total_limit, r->a->model);
    if (!s && (stop || r->s.n_skipped < r->s.step)) /* something was learned */
        LMF_TRY(take_place(r));
    if (s && !stop)
        note(r, true, "no checkpoint at step %lld: %s", (long long)r->s.step, lmf_error(r->ctx));
    return stop ? s : LMF_OK;
}

/* Who touches a file `save` in the folder wants a checkpoint now. It goes; one with something in it is not meant, and stays. */
static bool is_asked_to_save(lmf_run *r)
{
    char path[4200];
    struct stat st;
    snprintf(path, sizeof path, "%s/save", r->output);
    return lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_size == 0 && unlink(path) == 0;
}

/* A step, and what is said of one without finite gradients. The third in a row goes back once, where there is a checkpoint. */
static lmf_status step(lmf_run *r)
{
    char lines[128];
    int64_t n_skipped = r->s.n_skipped, from;
    lmf_status s = lmf_trainer_step(r->t, &r->s);
    if (r->s.n_skipped > n_skipped && !s)
        note(r, true, "step %lld: the gradients were not finite (loss %g, norm %g; data lines %s): it changed nothing, %lld of %lld steps "
             "were skipped so far", (long long)r->s.step, r->s.loss, fabs(r->s.grad_norm), lmf_trainer_lines(r->t, lines, sizeof lines),
             (long long)r->s.n_skipped, (long long)r->s.step);
    if (s != LMF_E_LIMIT || r->o.no_folder)
        return s;
    lmf_error_record why = *lmf_error_here(r->ctx);
    if (lmf_trainer_rewind(r->t, r->dir, &from)) {
        *lmf_error_here(r->ctx) = why;
        return s;
    }
    lmf_train_stats now;
    lmf_trainer_stats(r->t, &now);
    r->s.n_skipped = now.n_skipped;
    note(r, true, "step %lld: the gradients were not finite for the third time in a row (data lines %s): weights and moments are those of "
         "the checkpoint of step %lld again, and the run goes on with the rows behind; a second time ends it. A lower learning rate may "
         "help",
         (long long)r->s.step, lmf_trainer_lines(r->t, lines, sizeof lines), (long long)from);
    return LMF_OK;
}

lmf_status lmf_run_step(lmf_run *r, lmf_run_stats *out)
{
    const lmf_train_config *a = r->a;
    LMF_TRY(r->rollout ? lmf_rollout_step(r->rollout, &r->s) : step(r));
    r->n_more = r->rollout ? lmf_rollout_numbers(r->rollout, r->more) : 0;
    if (r->guarded) {
        LMF_TRY(lmf_learning_step(r->t, &r->s, &r->learning, &r->faults));
        LMF_TRY(r->faults.n ? lmf__run_faults_tell(r->ctx, a->guards, &r->faults, &r->listener) : LMF_OK);
    }
    double seconds = now_seconds() - r->start;
    bool last = lmf_trainer_is_done(r->t), evaluated = r->dev && (r->s.step % a->eval_steps == 0 || last);
    if (r->first_loss == 0)
        r->first_loss = r->s.loss;
    if (evaluated)
        LMF_TRY(lmf_trainer_eval_report(r->t, r->dev, r->eval, r->eval + 1));
    if (!r->o.no_folder && (r->s.step % a->logging_steps == 0 || last || evaluated))
        log_line(r, seconds, evaluated ? r->eval : NULL);
    if (!r->o.no_folder && r->rollout && (r->s.step % a->logging_steps == 0 || last))
        log_samples(r);
    r->save_due |= a->save_steps && r->s.step % a->save_steps == 0;
    if (!r->o.no_folder && !last)
        r->save_due |= is_asked_to_save(r);
    bool learned = isfinite(r->s.grad_norm); /* a skipped step has nothing new */
    if (!r->o.no_folder && r->save_due && !last && learned && lmf_run_can_save(r)) {
        r->save_due = false;
        LMF_TRY(checkpoint(r, false));
    }
    if (out)
        lmf_run_get_stats(r, out);
    if (out && evaluated)
        out->evaluated = true, out->eval_loss = r->eval[0];
    return LMF_OK;
}

lmf_status lmf_run_save(lmf_run *r) { return r->o.no_folder ? LMF_OK : checkpoint(r, true); }
bool lmf_run_is_done(const lmf_run *r) { return lmf_trainer_is_done(r->t); }

void lmf_run_get_stats(const lmf_run *r, lmf_run_stats *out)
{
    *out = (lmf_run_stats){ .s = r->s, .first_loss = r->first_loss, .run_tok = r->s.total_tok - r->start_tok };
    out->seconds = now_seconds() - r->start;
    out->n_more = r->n_more;
    memcpy(out->more, r->more, sizeof out->more);
}

bool lmf_run_can_save(const lmf_run *r) { return !r->rollout || lmf_rollout_is_whole(r->rollout); }
size_t lmf_run_sampler_bytes(const lmf_run *r) { return r->rollout ? lmf_rollout_bytes(r->rollout) : 0; }

/* All weights, opened again and compared before the folder has its name. */
static lmf_status write_model(lmf_run *r)
{
    char path[4200];
    lmf_model tuned;
    bool f32 = true;
    for (int32_t i = 0; i < r->m->weights->n; i++)
        f32 &= r->m->weights->items[i].v.dtype == LMF_F32;
    snprintf(path, sizeof path, "%s/" LMF_RUN_MODEL, r->dir);
    LMF_TRY(lmf_trainer_tuned(r->t, &tuned));
    const char *type = f32 ? "f32" : "bf16";
    if (strcmp(r->a->save_type, "auto"))
        type = r->a->save_type;
    lmf_status s = r->o.write_model(r->ctx, &tuned, path, type);
    lmf_trainer_tuned_clear(&tuned);
    return s;
}

lmf_status lmf_run_complete(lmf_run *r)
{
    if (r->s.n_skipped == r->s.step)
        return LMF_FAIL(r->ctx, LMF_E_LIMIT,
                        "no step had finite gradients: nothing was learned, and no adapter is written; lower --lr or look "
                        "at the model's weights");
    if (!r->o.no_folder) {
        LMF_TRY(is_full(r) ? write_model(r) : lmf_run_finish(r->t, r->dir, r->a->model));
        LMF_TRY(take_place(r));
    }
    r->complete = true;
    return LMF_OK;
}

lmf_trainer *lmf_run_trainer(const lmf_run *r) { return r->t; }
const lmf_samples *lmf_run_samples(const lmf_run *r) { return r->train; }
const lmf_samples *lmf_run_eval_samples(const lmf_run *r) { return r->dev; }
