/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the run is train/run.h's, the same as the command's; here handles take the place of paths, and of nothing else. */
#include <string.h>
#include "api/settings.h"
#include "export/run_model.h"
#include "train/run.h"
#include "train/run_folder.h"

struct lmfast_trainer {
    lmfast_context  *c;
    lmfast_model    *model;    /* NULL: the run opened its own */
    lmfast_settings *settings; /* its texts are the configuration's */
    lmf_train_config config;
    lmf_run         *run;
};

static void note(void *user, bool warning, const char *sentence)
{
    lmf__api_log(user, warning ? LMFAST_LOG_WARNING : LMFAST_LOG_INFO, "%s", sentence);
}

/* A setting that a handle has already decided would be passed over in silence. */
static lmf_status check(const lmfast_settings *s, const lmfast_model *model, const lmfast_dataset *rows, const lmfast_dataset *eval_rows)
{
    const struct { bool given; const char *what, *name; } taken[] = {
        { model, "an open model", "model" }, { model, "an open model", "chat-template" }, { model, "an open model", "control-tokens" },
        { model, "an open model", "clock" }, { rows, "open rows", "data" }, { rows, "open rows", "bad-rows" },
        { eval_rows, "open rows for evaluation", "eval-data" },
    };
    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++)
        if (taken[i].given && lmf__settings_has(s, taken[i].name))
            return LMF_FAIL(s->c->ctx, LMF_E_ARG, "--%s was set, and %s was given: one of them", taken[i].name, taken[i].what);
    if (!model && !s->config.model)
        return LMF_FAIL(s->c->ctx, LMF_E_ARG, "there is no model: give an open one, or set --model");
    if (!rows && !s->config.data.n)
        return LMF_FAIL(s->c->ctx, LMF_E_ARG, "there are no rows: give open ones, or set --data");
    return LMF_OK;
}

/* Rows may go before the run does; their names are kept with the settings' texts. */
static lmf_status name_rows(lmfast_trainer *t, const lmfast_dataset *rows, const lmfast_dataset *eval_rows)
{
    const lmfast_dataset *from[] = { rows, eval_rows };
    lmf_texts *to[] = { &t->config.data, &t->config.eval_data };
    for (int i = 0; i < 2; i++)
        if (from[i]) {
            *to[i] = (lmf_texts){ 1, { lmf_arena_strdup(&t->settings->arena, from[i]->rows.path) } };
            if (!to[i]->item[0])
                return LMF_NO_MEMORY(t->c->ctx, strlen(from[i]->rows.path), "a name");
        }
    return LMF_OK;
}

lmfast_status lmfast_trainer_create(lmfast_model *model, const lmfast_dataset *rows, const lmfast_dataset *eval_rows,
                                    lmfast_settings *settings,
                                    lmfast_trainer **out)
{
    *out = NULL;
    if (!settings)
        return LMFAST_E_ARG;
    lmfast_context *c = settings->c;
    LMF_TRY(lmf__api_enter(c));
    LMF_TRY(check(settings, model, rows, eval_rows));
    lmfast_trainer *t = lmf_new(c->ctx, lmfast_trainer);
    if (!t)
        return LMF_NO_MEMORY(c->ctx, sizeof *t, "a trainer");
    t->c = lmf__context_retain(c);
    t->model = model ? lmf__model_retain(model) : NULL;
    t->settings = settings;
    atomic_fetch_add(&settings->n_refs, 1);
    t->config = settings->config;
    if (model)
        t->config.model = model->m->path;
    lmf_run_opts o = lmf_run_opts_default();
    o.device = settings->device, o.config = &t->config, o.fields = settings->fields, o.model = model ? model->m : NULL;
    o.data = rows ? &rows->rows : NULL, o.eval_data = eval_rows ? &eval_rows->rows : NULL;
    o.no_folder = !lmf__settings_has(settings, "output"), o.note = note, o.user = c;
    o.write_model = lmf_export_run_model;
    lmf_status s = name_rows(t, rows, eval_rows);
    pthread_mutex_lock(&c->build);
    if (!s)
        s = lmf_run_create(c->ctx, &o, &t->run);
    pthread_mutex_unlock(&c->build);
    if (s) {
        lmfast_trainer_destroy(t);
        return s;
    }
    *out = t;
    return LMFAST_OK;
}

void lmfast_trainer_destroy(lmfast_trainer *trainer)
{
    if (!trainer || lmf__api_enter(trainer->c))
        return;
    lmfast_context *c = trainer->c;
    lmf_run_destroy(trainer->run);
    lmfast_settings_destroy(trainer->settings);
    lmfast_model_close(trainer->model);
    lmf_delete(c->ctx, trainer);
    lmf__context_release(c);
}

lmfast_status lmfast_trainer_step(lmfast_trainer *trainer, lmfast_train_stats *stats)
{
    lmf_run_stats r;
    if (!trainer)
        return LMFAST_E_ARG;
    LMF_TRY(lmf__api_enter(trainer->c));
    if (lmf_run_is_done(trainer->run))
        return LMF_FAIL(trainer->c->ctx, LMF_E_ARG, "the run is complete: all its steps are done");
    LMF_TRY(lmf_run_step(trainer->run, &r));
    lmfast_train_stats out = { .step = r.s.step, .n_steps = r.s.n_steps, .epoch = r.s.epoch, .loss = r.s.loss, .lr = r.s.lr,
        .grad_norm = r.s.grad_norm, .n_tok = r.s.n_tok, .n_learn = r.s.n_learn, .total_tok = r.s.total_tok, .n_skipped = r.s.n_skipped,
        .seconds = r.seconds, .evaluated = r.evaluated, .eval_loss = r.eval_loss,
        .n_reports = lmf_objective_n_reports(lmf_trainer_objective(lmf_run_trainer(trainer->run))) };
    _Static_assert(sizeof r.s.report == sizeof out.report, "numbers that an objective reports");
    memcpy(out.report, r.s.report, sizeof out.report);
    return stats ? lmf__api_give(trainer->c->ctx, "lmfast_train_stats", stats, &out, sizeof out) : LMFAST_OK;
}

bool lmfast_trainer_is_done(const lmfast_trainer *trainer) { return !trainer || lmf_run_is_done(trainer->run); }

static lmf_status need_output(const lmfast_trainer *t)
{
    LMF_TRY(lmf__api_enter(t->c));
    return lmf__settings_has(t->settings, "output") ? LMF_OK :
        LMF_FAIL(t->c->ctx, LMF_E_ARG,
                 "--output was not set: the run has no folder; lmfast_trainer_save_adapter writes the adapter anywhere");
}

lmfast_status lmfast_trainer_save_checkpoint(lmfast_trainer *trainer)
{
    if (!trainer)
        return LMFAST_E_ARG;
    LMF_TRY(need_output(trainer));
    return lmf_run_save(trainer->run);
}

lmfast_status lmfast_trainer_finish(lmfast_trainer *trainer)
{
    if (!trainer)
        return LMFAST_E_ARG;
    LMF_TRY(need_output(trainer));
    return lmf_run_complete(trainer->run);
}

lmfast_status lmfast_trainer_save_adapter(lmfast_trainer *trainer, const char *dir)
{
    if (!trainer)
        return LMFAST_E_ARG;
    LMF_TRY(lmf__api_enter(trainer->c));
    if (!dir || !*dir)
        return LMF_FAIL(trainer->c->ctx, LMF_E_ARG, "no folder for the adapter was given");
    return lmf_run_finish(lmf_run_trainer(trainer->run), dir, trainer->config.model);
}

lmfast_status lmfast_trainer_eval(lmfast_trainer *trainer, double *loss)
{
    if (!trainer || !loss)
        return LMFAST_E_ARG;
    LMF_TRY(lmf__api_enter(trainer->c));
    const lmf_samples *rows = lmf_run_eval_samples(trainer->run);
    return rows ? lmf_trainer_eval(lmf_run_trainer(trainer->run), rows, loss)
                : LMF_FAIL(trainer->c->ctx, LMF_E_ARG, "the trainer was created without rows for evaluation");
}

const char *lmfast_trainer_report_name(const lmfast_trainer *trainer, int32_t i)
{
    const lmf_objective *o = trainer ? lmf_trainer_objective(lmf_run_trainer(trainer->run)) : NULL;
    return o && i >= 0 && i < lmf_objective_n_reports(o) ? o->reports[i].name : NULL;
}

int64_t lmfast_trainer_n_params(const lmfast_trainer *trainer) { return trainer ? lmf_trainer_n_params(lmf_run_trainer(trainer->run)) : 0; }
int64_t lmfast_trainer_bytes(const lmfast_trainer *trainer) { return trainer
                                                              ? (int64_t)lmf_trainer_bytes(lmf_run_trainer(trainer->run)) : 0; }
