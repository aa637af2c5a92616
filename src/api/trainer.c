/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what an option means stands in train/; here its name and default are only brought there, as lmfast train does. */
#include <string.h>
#include "api/api.h"
#include "train/objective.h"
#include "train/run_folder.h"

enum { DEFAULT_STEPS = 500 };

struct lmfast_trainer {
    lmfast_model *model;
    lmf_trainer  *t;
    lmf_samples  *samples, *eval;
};

void lmfast_train_opts_init(lmfast_train_opts *opts, size_t bytes)
{
    lmfast_train_opts o = { .struct_bytes = sizeof o, .objective = "sft", .lora_r = 16, .lora_alpha = 32, .target_modules = "all-linear",
        .batch_size = 4, .grad_accum = 1, .lr = 2e-4, .schedule = LMFAST_SCHEDULE_COSINE, .warmup_steps = -1, .weight_decay = 0.01,
        .max_grad_norm = 1, .seed = 42, .seq_len = 2048, .shuffle = true, .compute = LMFAST_COMPUTE_FAST };
    lmf__api_init(opts, bytes, &o, sizeof o);
}

static lmf_status check(lmf_ctx *ctx, const lmfast_train_opts *o)
{
    if (!o->objective || !o->target_modules)
        return LMF_FAIL(ctx, LMF_E_ARG, "%s is NULL", o->objective ? "target_modules" : "objective");
    if (o->schedule < LMFAST_SCHEDULE_COSINE || o->schedule > LMFAST_SCHEDULE_CONSTANT)
        return LMF_FAIL(ctx, LMF_E_ARG, "schedule is %d; allowed are LMFAST_SCHEDULE_*, 0 to 2", (int)o->schedule);
    if (o->too_long < LMFAST_LONG_ERROR || o->too_long > LMFAST_LONG_TRUNCATE)
        return LMF_FAIL(ctx, LMF_E_ARG, "too_long is %d; allowed are LMFAST_LONG_*, 0 to 2", (int)o->too_long);
    if (o->compute != LMFAST_COMPUTE_FAST && o->compute != LMFAST_COMPUTE_F32)
        return LMF_FAIL(ctx, LMF_E_ARG, "compute is %d; allowed are LMFAST_COMPUTE_FAST and LMFAST_COMPUTE_F32", (int)o->compute);
    if (o->seq_len < 2)
        return LMF_FAIL(ctx, LMF_E_ARG, "seq_len is %d; a row has at least 2 tokens", (int)o->seq_len);
    if (o->n_objective_values < 0 || o->n_objective_values > LMF_MAX_OBJECTIVE_OPTIONS || (o->n_objective_values && !o->objective_values))
        return LMF_FAIL(ctx, LMF_E_ARG, "n_objective_values is %d; at most %d are taken", (int)o->n_objective_values,
                        LMF_MAX_OBJECTIVE_OPTIONS);
    return LMF_OK;
}

static lmf_train_opts options(const lmfast_train_opts *o, lmf_objective_value *values)
{
    static const lmf_schedule schedules[] = { LMF_SCHEDULE_COSINE, LMF_SCHEDULE_LINEAR, LMF_SCHEDULE_CONSTANT };
    lmf_train_opts t = lmf_train_opts_default();
    for (int i = 0; i < o->n_objective_values; i++)
        values[i] = (lmf_objective_value){ o->objective_values[i].name, o->objective_values[i].value };
    t.objective = o->objective, t.objective_values = values, t.n_objective_values = o->n_objective_values;
    t.lora_r = o->lora_r, t.lora_alpha = o->lora_alpha, t.use_rslora = o->use_rslora, t.target_modules = o->target_modules;
    t.batch_size = o->batch_size, t.grad_accum = o->grad_accum, t.micro_tok = o->micro_tok;
    t.epochs = o->epochs, t.max_steps = o->max_steps || o->epochs > 0 ? o->max_steps : DEFAULT_STEPS;
    t.lr = o->lr, t.schedule = schedules[o->schedule], t.min_lr_ratio = o->min_lr_ratio, t.warmup_steps = o->warmup_steps;
    t.weight_decay = o->weight_decay, t.max_grad_norm = o->max_grad_norm, t.seed = o->seed;
    t.compute = o->compute == LMFAST_COMPUTE_FAST, t.recompute = o->recompute, t.shuffle = o->shuffle;
    return t;
}

static lmf_status make_samples(lmfast_model *model, const lmfast_dataset *rows, const lmfast_train_opts *o, uint32_t takes,
                               lmf_samples **out)
{
    static const lmf_too_long policy[] = { LMF_LONG_ERROR, LMF_LONG_SKIP, LMF_LONG_TRUNCATE };
    int32_t most = lmf_model_config(model->m)->context;
    const char *name = rows->rows.path;
    LMF_TRY(lmf_samples_create_of(&rows->rows, &model->m->chat, takes, o->seq_len < most ? o->seq_len : most, policy[o->too_long], out));
    const lmf_samples *s = *out;
    lmf__api_log(model->c, LMFAST_LOG_INFO, "%s: %lld rows, %lld tokens, %lld of them learned", name, (long long)lmf_samples_n_groups(s),
                 (long long)s->n_tok, (long long)s->n_learn);
    if (s->n_bad > rows->rows.n_bad)
        lmf__api_log(model->c, LMFAST_LOG_WARNING, "%s: %lld rows can't be used and were left out. The first: %s", name,
                     (long long)s->n_bad, s->first_bad);
    if (s->n_skipped || s->n_truncated)
        lmf__api_log(model->c, LMFAST_LOG_WARNING, "%s: %lld rows were too long and left out, %lld were cut", name, (long long)s->n_skipped,
                     (long long)s->n_truncated);
    if (s->n_unlearned)
        lmf__api_log(model->c, LMFAST_LOG_WARNING,
                     "%s: %lld earlier answers are not learned, because the template shows them otherwise once more "
                     "follows", name, (long long)s->n_unlearned);
    if (s->n_endless)
        lmf__api_log(model->c, LMFAST_LOG_WARNING,
                     "%s: in %lld of %lld rows an answer is learned without an end of turn, so the model won't learn "
                     "to stop. %s", name, (long long)s->n_endless, (long long)s->n, s->first_endless);
    return LMF_OK;
}

static lmf_status create(lmfast_trainer *t, const lmfast_dataset *rows, const lmfast_dataset *eval_rows, const lmfast_train_opts *o)
{
    lmfast_context *c = t->model->c;
    const lmf_objective *objective;
    lmf_objective_value values[LMF_MAX_OBJECTIVE_OPTIONS];
    LMF_TRY(check(c->ctx, o));
    LMF_TRY(lmf_objective_find(c->ctx, o->objective, &objective));
    LMF_TRY(make_samples(t->model, rows, o, objective->takes, &t->samples));
    if (eval_rows)
        LMF_TRY(make_samples(t->model, eval_rows, o, objective->takes, &t->eval));
    lmf_train_opts to = options(o, values);
    to.eval_tok = t->eval ? lmf_samples_longest_group(t->eval) : 0;
    to.clock_unix = t->model->m->chat.now_unix;
    pthread_mutex_lock(&c->build);
    lmf_status s = lmf_trainer_create(c->ctx, o->device ? o->device : "cpu", t->model->m, t->samples, &to, &t->t);
    pthread_mutex_unlock(&c->build);
    if (!s && o->init_adapter)
        s = lmf_trainer_load_adapter(t->t, o->init_adapter);
    return s;
}

lmfast_status lmfast_trainer_create(lmfast_model *model, const lmfast_dataset *rows, const lmfast_dataset *eval_rows,
                                    const lmfast_train_opts *opts,
                                    lmfast_trainer **out)
{
    lmfast_train_opts o = lmfast_train_opts_default();
    *out = NULL;
    if (!model || !rows)
        return LMFAST_E_ARG;
    lmf_ctx *ctx = model->c->ctx;
    LMF_TRY(lmf__api_enter(model->c));
    LMF_TRY(lmf__api_take(ctx, "lmfast_train_opts", &o, opts, sizeof o));
    lmfast_trainer *t = lmf_new(ctx, lmfast_trainer);
    if (!t)
        return LMF_NO_MEMORY(ctx, sizeof *t, "a trainer");
    t->model = lmf__model_retain(model);
    lmf_status s = create(t, rows, eval_rows, &o);
    if (s) {
        lmfast_trainer_destroy(t);
        return s;
    }
    *out = t;
    return LMFAST_OK;
}

void lmfast_trainer_destroy(lmfast_trainer *trainer)
{
    if (!trainer)
        return;
    lmfast_model *model = trainer->model;
    lmf_trainer_destroy(trainer->t);
    lmf_samples_destroy(trainer->samples);
    lmf_samples_destroy(trainer->eval);
    lmf_delete(model->c->ctx, trainer);
    lmfast_model_close(model);
}

lmfast_status lmfast_trainer_step(lmfast_trainer *trainer, lmfast_train_stats *stats)
{
    lmf_train_stats s;
    if (!trainer)
        return LMFAST_E_ARG;
    lmf_ctx *ctx = trainer->model->c->ctx;
    LMF_TRY(lmf__api_enter(trainer->model->c));
    if (lmf_trainer_is_done(trainer->t))
        return LMF_FAIL(ctx, LMF_E_ARG, "the run is complete: all its steps are done");
    LMF_TRY(lmf_trainer_step(trainer->t, &s));
    lmfast_train_stats out = { .step = s.step, .n_steps = s.n_steps, .epoch = s.epoch, .loss = s.loss, .lr = s.lr, .grad_norm = s.grad_norm,
        .n_tok = s.n_tok, .n_learn = s.n_learn, .total_tok = s.total_tok, .n_skipped = s.n_skipped,
        .n_reports = lmf_objective_n_reports(lmf_trainer_objective(trainer->t)) };
    memcpy(out.report, s.report, sizeof out.report);
    return stats ? lmf__api_give(ctx, "lmfast_train_stats", stats, &out, sizeof out) : LMFAST_OK;
}
_Static_assert(sizeof ((lmf_train_stats *)0)->report == sizeof ((lmfast_train_stats *)0)->report, "numbers that an objective reports");

bool lmfast_trainer_is_done(const lmfast_trainer *trainer) { return !trainer || lmf_trainer_is_done(trainer->t); }

lmfast_status lmfast_trainer_eval(lmfast_trainer *trainer, double *loss)
{
    if (!trainer || !loss)
        return LMFAST_E_ARG;
    LMF_TRY(lmf__api_enter(trainer->model->c));
    if (!trainer->eval)
        return LMF_FAIL(trainer->model->c->ctx, LMF_E_ARG, "the trainer was created without eval_rows");
    return lmf_trainer_eval(trainer->t, trainer->eval, loss);
}

const char *lmfast_trainer_report_name(const lmfast_trainer *trainer, int32_t i)
{
    const lmf_objective *o = trainer ? lmf_trainer_objective(trainer->t) : NULL;
    return o && i >= 0 && i < lmf_objective_n_reports(o) ? o->reports[i].name : NULL;
}

int64_t lmfast_trainer_n_params(const lmfast_trainer *trainer) { return trainer ? lmf_trainer_n_params(trainer->t) : 0; }
int64_t lmfast_trainer_bytes(const lmfast_trainer *trainer) { return trainer ? (int64_t)lmf_trainer_bytes(trainer->t) : 0; }

lmfast_status lmfast_trainer_save_adapter(lmfast_trainer *trainer, const char *dir)
{
    if (!trainer)
        return LMFAST_E_ARG;
    LMF_TRY(lmf__api_enter(trainer->model->c));
    if (!dir || !*dir)
        return LMF_FAIL(trainer->model->c->ctx, LMF_E_ARG, "no folder for the adapter was given");
    return lmf_run_finish(trainer->t, dir, trainer->model->m->path);
}
