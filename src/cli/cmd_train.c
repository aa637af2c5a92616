/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "cli/command.h"
#include "train/trainer.h"

typedef struct train_args {
    const char *model, *data, *eval_data, *output, *target_modules, *scheduler, *too_long, *resume, *compute, *init_adapter, *method;
    int64_t max_steps, batch_size, grad_accum, lora_r, warmup_steps, seq_len, seed, save_steps, save_total_limit, logging_steps, eval_steps, micro_tok;
    double  lr, epochs, lora_alpha, weight_decay, min_lr_ratio, max_grad_norm;
    bool    rslora, recompute, shuffle, overwrite, profile;
} train_args;

#define AT(member) offsetof(train_args, member)
static const lmf_flag flags[] = {
    { "model", 'm', LMF_FLAG_STRING, AT(model), .required = true, .help = "GGUF file or Hugging Face folder; quantized bases are trained on as they are" },
    { "data", 'd', LMF_FLAG_STRING, AT(data), .required = true, .help = "JSON Lines: messages, prompt and completion, or text" },
    { "output", 'o', LMF_FLAG_STRING, AT(output), .fallback = "./lmfast_output", .help = "folder for the adapter and checkpoints" },
    { "method", 0, LMF_FLAG_CHOICE, AT(method), .fallback = "lora", .choices = "lora", .help = "what is trained" },
    { "max-steps", 0, LMF_FLAG_INT, AT(max_steps), 0, 1e9, .fallback = "0", .help = "optimizer steps; 0: by --epochs, or 500" },
    { "epochs", 0, LMF_FLAG_DOUBLE, AT(epochs), 0, 1e6, .fallback = "0", .help = "passes over the data, instead of --max-steps" },
    { "batch-size", 'b', LMF_FLAG_INT, AT(batch_size), 1, 4096, .fallback = "4", .help = "rows a batch" },
    { "gradient-accumulation-steps", 0, LMF_FLAG_INT, AT(grad_accum), 1, 4096, .fallback = "1", .help = "batches an optimizer step" },
    { "lr", 0, LMF_FLAG_DOUBLE, AT(lr), 0, 10, .fallback = "2e-4", .help = "learning rate" },
    { "scheduler", 0, LMF_FLAG_CHOICE, AT(scheduler), .fallback = "cosine", .choices = "linear|cosine|constant", .help = "course of the learning rate after warm-up" },
    { "min-lr-ratio", 0, LMF_FLAG_DOUBLE, AT(min_lr_ratio), 0, 1, .fallback = "0", .help = "part of the learning rate that is left at the end" },
    { "warmup-steps", 0, LMF_FLAG_INT, AT(warmup_steps), 0, 1e9, .fallback = "50", .help = "steps over which the learning rate rises" },
    { "weight-decay", 0, LMF_FLAG_DOUBLE, AT(weight_decay), 0, 1, .fallback = "0.01", .help = "AdamW's" },
    { "max-grad-norm", 0, LMF_FLAG_DOUBLE, AT(max_grad_norm), 0, 1e9, .fallback = "1", .help = "gradients are clipped to this norm; 0: not" },
    { "lora-r", 0, LMF_FLAG_INT, AT(lora_r), 1, 4096, .fallback = "16", .help = "LoRA rank" },
    { "lora-alpha", 0, LMF_FLAG_DOUBLE, AT(lora_alpha), 1e-6, 1e6, .fallback = "32", .help = "LoRA scale: alpha / r" },
    { "rslora", 0, LMF_FLAG_BOOL, AT(rslora), .help = "scale alpha / sqrt(r) instead" },
    { "target-modules", 0, LMF_FLAG_STRING, AT(target_modules), .fallback = "all-linear", .help = "modules to adapt: q_proj,v_proj,..." },
    { "init-adapter", 0, LMF_FLAG_STRING, AT(init_adapter), .help = "PEFT folder to start from" },
    { "seq-len", 0, LMF_FLAG_INT, AT(seq_len), 2, 1 << 20, .fallback = "2048", .help = "longest row in tokens" },
    { "too-long", 0, LMF_FLAG_CHOICE, AT(too_long), .fallback = "error", .choices = "error|skip|truncate", .help = "rows over --seq-len" },
    { "micro-tokens", 0, LMF_FLAG_INT, AT(micro_tok), 0, 1 << 20, .fallback = "0", .help = "most tokens computed at once; 0: 2048. Lower takes less memory" },
    { "recompute", 0, LMF_FLAG_BOOL, AT(recompute), .help = "less memory: compute inner results again in the backward pass (same bits)" },
    { "eval-data", 0, LMF_FLAG_STRING, AT(eval_data), .help = "rows whose loss is reported along the way" },
    { "eval-steps", 0, LMF_FLAG_INT, AT(eval_steps), 1, 1e9, .fallback = "50", .help = "steps between evaluations" },
    { "logging-steps", 0, LMF_FLAG_INT, AT(logging_steps), 1, 1e9, .fallback = "10", .help = "steps between lines of metrics.jsonl" },
    { "save-steps", 0, LMF_FLAG_INT, AT(save_steps), 0, 1e9, .fallback = "100", .help = "steps between checkpoints; 0: none" },
    { "save-total-limit", 0, LMF_FLAG_INT, AT(save_total_limit), 1, 1e6, .fallback = "3", .help = "checkpoints kept" },
    { "resume", 0, LMF_FLAG_CHOICE, AT(resume), .fallback = "no", .choices = "no|last|auto", .help = "last: from the newest checkpoint in --output; auto: if there is one" },
    { "overwrite", 0, LMF_FLAG_BOOL, AT(overwrite), .help = "use an output folder that holds something else" },
    { "seed", 0, LMF_FLAG_INT, AT(seed), 0, 9e15, .fallback = "42", .help = "of order and initial weights" },
    { "shuffle", 0, LMF_FLAG_BOOL, AT(shuffle), .fallback = "true", .help = "shuffle rows each epoch" },
    { "compute", 0, LMF_FLAG_CHOICE, AT(compute), .fallback = "auto", .choices = "auto|f32|fast", .help = "f32: all products in f32; fast: bf16 where the processor has it" },
    { "profile", 0, LMF_FLAG_BOOL, AT(profile), .help = "print where the time went" },
    { 0 }
};

static lmf_train_opts options(const train_args *a)
{
    lmf_train_opts o = lmf_train_opts_default();
    o.lora_r = (int32_t)a->lora_r;
    o.lora_alpha = a->lora_alpha;
    o.use_rslora = a->rslora;
    o.target_modules = a->target_modules;
    o.batch_size = (int32_t)a->batch_size;
    o.grad_accum = (int32_t)a->grad_accum;
    o.micro_tok = (int32_t)a->micro_tok;
    o.epochs = a->epochs;
    o.max_steps = a->max_steps || a->epochs > 0 ? a->max_steps : 500;
    o.lr = a->lr;
    o.schedule = !strcmp(a->scheduler, "linear") ? LMF_SCHEDULE_LINEAR : !strcmp(a->scheduler, "cosine") ? LMF_SCHEDULE_COSINE : LMF_SCHEDULE_CONSTANT;
    o.min_lr_ratio = a->min_lr_ratio;
    o.warmup_steps = a->warmup_steps;
    o.weight_decay = a->weight_decay;
    o.max_grad_norm = a->max_grad_norm;
    o.seed = (uint64_t)a->seed;
    o.compute = strcmp(a->compute, "f32") != 0;
    o.recompute = a->recompute;
    o.shuffle = a->shuffle;
    o.profile = a->profile;
    return o;
}

/* An existing folder is ours when it is empty or holds what a run writes. */
static lmf_status check_output(lmf_cli *cli, const train_args *a)
{
    char path[4096];
    lmf_path_kind kind = lmf_path_stat(a->output);
    if (kind == LMF_PATH_NONE)
        return lmf_dir_create(cli->ctx, a->output);
    if (kind != LMF_PATH_DIR)
        return LMF_FAIL(cli->ctx, LMF_E_EXISTS, "--output %s exists and is no folder", a->output);
    const char *ours[] = { "adapter_config.json", "metrics.jsonl" };
    bool known = lmf_checkpoint_newest(a->output) >= 0 || lmf_dir_is_empty(a->output);
    for (int i = 0; i < 2 && !known; i++) {
        LMF_TRY(lmf_path_join(cli->ctx, path, sizeof path, a->output, ours[i]));
        known = lmf_path_stat(path) == LMF_PATH_FILE;
    }
    if (!known && !a->overwrite)
        return LMF_FAIL(cli->ctx, LMF_E_EXISTS, "--output %s holds files that are not of a training run; choose another folder, or --overwrite", a->output);
    if (lmf_checkpoint_newest(a->output) >= 0 && !strcmp(a->resume, "no") && !a->overwrite)
        return LMF_FAIL(cli->ctx, LMF_E_EXISTS, "--output %s holds checkpoints of an earlier run; --resume last goes on with it, --overwrite starts anew", a->output);
    return LMF_OK;
}

static lmf_status remove_checkpoints(lmf_cli *cli, const char *dir)
{
    char path[4096];
    for (int64_t n; (n = lmf_checkpoint_newest(dir)) >= 0;) {
        snprintf(path, sizeof path, "%s/checkpoint-%lld", dir, (long long)n);
        LMF_TRY(lmf_dir_remove(cli->ctx, path));
    }
    return LMF_OK;
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
    lmf_status s = kept < n ? lmf_file_write(cli->ctx, path, text, kept) : LMF_OK;
    lmf_free(cli->ctx, text, n + 1);
    return s;
}

static void log_line(FILE *f, const lmf_train_stats *s, double seconds, const double *eval_loss)
{
    if (!f)
        return;
    fprintf(f, "{\"step\": %lld, \"epoch\": %.4f, \"loss\": ", (long long)s->step, s->epoch);
    fprintf(f, isfinite(s->loss) ? "%.6f" : "null", s->loss);
    fprintf(f, ", \"learning_rate\": %.8g, \"grad_norm\": %.6g, \"tokens\": %lld, \"seconds\": %.3f", s->lr, isfinite(s->grad_norm) ? s->grad_norm : -1,
            (long long)s->total_tok, seconds);
    if (eval_loss)
        fprintf(f, isfinite(*eval_loss) ? ", \"eval_loss\": %.6f" : ", \"eval_loss\": null", *eval_loss);
    fprintf(f, "}\n");
    fflush(f);
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

typedef struct run_state { lmf_trainer *t; const train_args *a; FILE *log; const lmf_samples *dev; lmf_train_stats s; double start, eval_loss, first_loss; int64_t start_tok; } run_state;

static lmf_status one_step(lmf_cli *cli, run_state *r, lmf_progress *bar)
{
    char detail[128];
    LMF_TRY(lmf_trainer_step(r->t, &r->s));
    double seconds = lmf_cli_seconds() - r->start;
    bool last = lmf_trainer_is_done(r->t), evaluated = r->dev && (r->s.step % r->a->eval_steps == 0 || last);
    if (r->first_loss == 0)
        r->first_loss = r->s.loss;
    if (evaluated)
        LMF_TRY(lmf_trainer_eval(r->t, r->dev, &r->eval_loss));
    if (r->s.step % r->a->logging_steps == 0 || last || evaluated)
        log_line(r->log, &r->s, seconds, evaluated ? &r->eval_loss : NULL);
    snprintf(detail, sizeof detail, "loss %.4f  %.0f tok/s", r->s.loss, (double)(r->s.total_tok - r->start_tok) / seconds);
    lmf_progress_step(bar, r->s.step, detail);
    bool stop = lmf_cli_interrupted();
    if ((r->a->save_steps && r->s.step % r->a->save_steps == 0 && !last) || (stop && !last)) {
        lmf_status s = lmf_trainer_save(r->t, r->a->output, (int)r->a->save_total_limit, r->a->model);
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
    if (cli->json)
        return lmf_cli_print_json(cli, json_pack("{s:s, s:I, s:f, s:o, s:o, s:f, s:I, s:f, s:I, s:I, s:I, s:I}", "output", r->a->output, "steps", (json_int_t)r->s.step,
            "epochs", r->s.epoch, "first_loss", real_or_null(r->first_loss), "final_loss", real_or_null(r->s.loss), "seconds", seconds, "tokens", (json_int_t)tok, "tokens_per_second", tok / seconds,
            "rows_skipped", (json_int_t)samples->n_skipped, "rows_truncated", (json_int_t)samples->n_truncated, "steps_skipped", (json_int_t)r->s.n_skipped,
            "memory_bytes", (json_int_t)lmf_trainer_bytes(r->t)));
    if (!cli->quiet)
        fprintf(stderr, "%lld steps, %.0f tokens in %.1f s (%.0f tok/s), loss %.4f -> %.4f. Adapter in %s\n", (long long)r->s.step, tok, seconds, tok / seconds,
                r->first_loss, r->s.loss, r->a->output);
    return LMF_OK;
}

static lmf_status start(lmf_cli *cli, const train_args *a, run_state *r)
{
    int skipped = 0;
    char path[4096];
    if (a->init_adapter)
        LMF_TRY(lmf_trainer_load_adapter(r->t, a->init_adapter));
    if (strcmp(a->resume, "no") && (lmf_checkpoint_newest(a->output) >= 0 || !strcmp(a->resume, "last")))
        LMF_TRY(lmf_trainer_resume(r->t, a->output, &skipped));
    else
        LMF_TRY(remove_checkpoints(cli, a->output));
    if (skipped)
        fprintf(stderr, "warning: %d damaged checkpoints were passed over\n", skipped);
    lmf_trainer_stats(r->t, &r->s);
    r->start_tok = r->s.total_tok;
    if (lmf_trainer_is_done(r->t))
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "the run in %s is complete: all %lld steps are done", a->output, (long long)r->s.n_steps);
    LMF_TRY(lmf_path_join(cli->ctx, path, sizeof path, a->output, "metrics.jsonl"));
    if (r->s.step)
        LMF_TRY(trim_log(cli, path, r->s.step));
    r->log = fopen(path, r->s.step ? "a" : "w");
    return r->log ? LMF_OK : LMF_FAIL(cli->ctx, LMF_E_IO, "can't write %s", path);
}

static lmf_status load_samples(lmf_cli *cli, const train_args *a, const lmf_model *m, const char *flag, const char *path, lmf_samples **out)
{
    lmf_rows rows;
    int64_t longest = a->seq_len < lmf_model_config(m)->context ? a->seq_len : lmf_model_config(m)->context;
    lmf_too_long policy = !strcmp(a->too_long, "skip") ? LMF_LONG_SKIP : !strcmp(a->too_long, "truncate") ? LMF_LONG_TRUNCATE : LMF_LONG_ERROR;
    lmf_status s = lmf_rows_open(cli->ctx, path, &rows);
    if (!s)
        s = lmf_samples_create(&rows, &m->chat, (int32_t)longest, policy, out);
    lmf_rows_close(&rows);
    if (s)
        return lmf_fail_prefix(cli->ctx, s, "%s", flag);
    if (!cli->quiet && !cli->json)
        fprintf(stderr, "%s: %lld rows, %lld tokens, %lld of them learned\n", path, (long long)(*out)->n, (long long)(*out)->n_tok, (long long)(*out)->n_learn);
    if ((*out)->n_skipped || (*out)->n_truncated)
        fprintf(stderr, "%s: %lld rows were too long and left out, %lld were cut\n", path, (long long)(*out)->n_skipped, (long long)(*out)->n_truncated);
    return LMF_OK;
}

static lmf_status run(lmf_cli *cli, void *args)
{
    const train_args *a = args;
    lmf_model *m = NULL;
    lmf_samples *samples = NULL, *dev = NULL;
    lmf_train_opts o = options(a);
    run_state r = { .a = a };
    lmf_status s = LMF_OK;
    LMF_TRY(check_output(cli, a));
    LMF_TRY_TO(done, lmf_model_open(cli->ctx, a->model, &m));
    LMF_TRY_TO(done, load_samples(cli, a, m, "--data", a->data, &samples));
    if (a->eval_data)
        LMF_TRY_TO(done, load_samples(cli, a, m, "--eval-data", a->eval_data, &dev));
    o.eval_tok = dev ? dev->longest : 0;
    LMF_TRY_TO(done, lmf_trainer_create(cli->ctx, cli->device, m, samples, &o, &r.t));
    r.dev = dev;
    LMF_TRY_TO(done, start(cli, a, &r));
    if (!cli->quiet && !cli->json)
        fprintf(stderr, "LoRA of %.2f million parameters on %s; %.0f MB planned\n", (double)lmf_trainer_n_params(r.t) / 1e6, a->model, (double)lmf_trainer_bytes(r.t) / 1e6);
    LMF_TRY_TO(done, train_loop(cli, &r));
    double seconds = lmf_cli_seconds() - r.start;
    LMF_TRY_TO(done, lmf_trainer_save_adapter(r.t, a->output, a->model));
    LMF_TRY_TO(done, report(cli, &r, samples, seconds));
    if (a->profile)
        print_profile(r.t);
done:
    if (r.log)
        fclose(r.log);
    lmf_trainer_destroy(r.t);
    lmf_samples_destroy(samples);
    lmf_samples_destroy(dev);
    lmf_model_close(m);
    return s;
}

const lmf_command lmf_command_train = { "train", "fine-tune a model with LoRA", flags, sizeof(train_args), run,
    .example = "lmfast train --model SmolLM2-135M-Instruct.Q4_1.gguf --data rows.jsonl --output my_adapter --epochs 3 --batch-size 8 --lr 1e-3" };
