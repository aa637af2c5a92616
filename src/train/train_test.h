/* SPDX-License-Identifier: Apache-2.0 */
/* A formula model, the rows of tests/parity/train_rows.jsonl and a trainer, for tests of train/. */
#ifndef LMF_TRAIN_TRAIN_TEST_H
#define LMF_TRAIN_TRAIN_TEST_H
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "formula.h"
#include "train/trainer_internal.h"

typedef struct fixture { lmf_ctx *ctx; lmf_model *m; lmf_samples *samples; lmf_trainer *t; } fixture;

static inline const char *rows_path(void) { return lmf_test_source_path("tests/parity/train_rows.jsonl"); }

static inline lmf_train_opts small_opts(void)
{
    lmf_train_opts o = lmf_train_opts_default();
    o.lora_r = 4, o.lora_alpha = 8;
    o.batch_size = 4, o.grad_accum = 1, o.max_steps = 6;
    o.lr = 1e-2, o.warmup_steps = 2;
    o.compute = 0;
    return o;
}

static inline lmf_status open_samples(lmf_ctx *ctx, const lmf_model *m, const char *path, lmf_samples **out)
{
    lmf_rows rows;
    LMF_TRY(lmf_rows_open(ctx, path, &rows));
    lmf_status s = lmf_samples_create(&rows, &m->chat, 512, LMF_LONG_ERROR, out);
    lmf_rows_close(&rows);
    return s;
}

/* Rows in groups of two, a trainer for them. */
static inline fixture setup_rows(const char *model, const char *path, uint32_t takes, const lmf_train_opts *o)
{
    lmf_rows rows;
    fixture f = { .ctx = lmf_test_ctx() };
    assert_ok(f.ctx, lmf_model_open(f.ctx, model, &f.m));
    assert_ok(f.ctx, lmf_rows_open(f.ctx, lmf_test_source_path(path), &rows));
    assert_ok(f.ctx, lmf_samples_create_of(&rows, &f.m->chat, takes, 512, LMF_LONG_ERROR, &f.samples));
    lmf_rows_close(&rows);
    if (o)
        assert_ok(f.ctx, lmf_trainer_create(f.ctx, "cpu", f.m, f.samples, o, &f.t));
    return f;
}

static inline fixture setup_pairs(const char *model, const lmf_train_opts *o)
{
    return setup_rows(model, "tests/parity/dpo_rows.jsonl", LMF_TAKES_PREFERENCE, o);
}

static inline fixture setup_at(const char *model, const lmf_train_opts *o)
{
    fixture f = { .ctx = lmf_test_ctx() };
    assert_ok(f.ctx, lmf_model_open(f.ctx, model, &f.m));
    assert_ok(f.ctx, open_samples(f.ctx, f.m, rows_path(), &f.samples));
    if (o)
        assert_ok(f.ctx, lmf_trainer_create(f.ctx, "cpu", f.m, f.samples, o, &f.t));
    return f;
}

static inline fixture setup(const lmf_train_opts *o) { return setup_at(lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 2 }), o); }

static inline void teardown(fixture *f)
{
    lmf_trainer_destroy(f->t);
    lmf_samples_destroy(f->samples);
    lmf_model_close(f->m);
    lmf_test_ctx_done(f->ctx);
}

/* The rest of the run; losses of the steps done here go to loss, if it is not NULL. */
static inline void run(fixture *f, double *loss)
{
    lmf_train_stats st;
    for (int i = 0; !lmf_trainer_is_done(f->t); i++) {
        assert_ok(f->ctx, lmf_trainer_step(f->t, &st));
        if (loss)
            loss[i] = st.loss;
    }
}

/* Of the last steps, but for the order of sums. */
static inline void same_gradients(fixture *f, fixture *want)
{
    double all = 0, off = 0;
    for (int i = 0; i < want->t->params.n; i++) {
        const lmf_param *p = &want->t->params.items[i];
        float a[4096], b[4096];
        assert_true(p->count <= 4096);
        assert_ok(f->ctx, lmf_trainer_gradient(f->t, p->name, a, p->count));
        assert_ok(f->ctx, lmf_trainer_gradient(want->t, p->name, b, p->count));
        for (int64_t k = 0; k < p->count; k++)
            all = fmax(all, fabs((double)b[k])), off = fmax(off, fabs((double)a[k] - (double)b[k]));
    }
    if (!(all > 0 && off < 1e-5 * all))
        fail_msg("gradients differ by %.3g, of %.3g", off, all);
}

/* Hash of the adapter as saved. */
static inline void adapter_hash(fixture *f, char hash[65])
{
    char path[1024];
    const char *dir = lmf_test_path("out");
    assert_ok(f->ctx, lmf_trainer_save_adapter(f->t, dir, "base"));
    snprintf(path, sizeof path, "%s/adapter_model.safetensors", dir);
    assert_ok(f->ctx, lmf_file_sha256(f->ctx, path, hash, NULL));
}

static inline void train_to_hash(const lmf_train_opts *o, int n_workers, char hash[65])
{
    fixture f = { .ctx = lmf_test_ctx() };
    if (n_workers)
        f.ctx->n_workers = n_workers;
    assert_ok(f.ctx, lmf_model_open(f.ctx, lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 2 }), &f.m));
    assert_ok(f.ctx, open_samples(f.ctx, f.m, rows_path(), &f.samples));
    assert_ok(f.ctx, lmf_trainer_create(f.ctx, "cpu", f.m, f.samples, o, &f.t));
    run(&f, NULL);
    adapter_hash(&f, hash);
    teardown(&f);
}

#endif
