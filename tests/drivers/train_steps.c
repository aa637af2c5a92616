/* SPDX-License-Identifier: Apache-2.0 */
/* train_steps KEY=VALUE ...: training step by step, for oracles. Keys: model, data, eval (rows), eval_at ("0,10,20"), steps, full, r,
 * alpha, dropout, dora,
 * targets, batch, micro, lr, schedule (linear cosine constant), warmup, min_ratio, wd, beta2, eps, clip, seed, shuffle,
 * fast, recompute, threads, teacher, objective, opt.NAME (its options), init (a PEFT folder), grads (safetensors file, gradients of step 1
 * under Hugging Face names), save (adapter), optimizer, momentum, nf4 (1: the base in 4 bits); accum, answers (tools/golden/grpo.py): one
 * step on these.
 * Prints JSON lines: {"sample", "line", "ids", "learn"} for all samples and, for the rows of eval, {"eval_sample", ...}; then
 * {"step", "loss", "grad_norm", "lr", "n_learn", "micro", "samples"} (of a group its number), with what the objective reports, a step and
 * {"eval_step", "eval_loss"} at eval_at. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "../harness/policy_case.h"
#include "format/json.h"
#include "format/safetensors.h"
#include "registry/registry.h"
#include "train/params.h"
#include "train/trainer_internal.h"

typedef struct args { int n; char **item; } args;

static const char *get(const args *a, const char *key, const char *fallback)
{
    size_t n = strlen(key);
    for (int i = 1; i < a->n; i++)
        if (strncmp(a->item[i], key, n) == 0 && a->item[i][n] == '=')
            return a->item[i] + n + 1;
    return fallback;
}

static double number(const args *a, const char *key, double fallback)
{
    const char *text = get(a, key, NULL);
    return text ? strtod(text, NULL) : fallback;
}

static lmf_train_opts options(const args *a)
{
    lmf_train_opts o = lmf_train_opts_default();
    const char *schedule = get(a, "schedule", "constant");
    o.full = number(a, "full", 0) != 0;
    o.lora_r = (int32_t)number(a, "r", 4);
    o.lora_alpha = number(a, "alpha", 8);
    o.lora_dropout = number(a, "dropout", 0);
    o.use_dora = number(a, "dora", 0) != 0;
    o.target_modules = get(a, "targets", "all-linear");
    o.batch_size = (int32_t)number(a, "batch", 4);
    o.grad_accum = (int32_t)number(a, "accum", 1);
    o.micro_tok = (int32_t)number(a, "micro", 0);
    o.max_steps = (int64_t)number(a, "steps", 10);
    o.lr = number(a, "lr", 1e-3);
    o.schedule = !strcmp(schedule, "linear") ? LMF_SCHEDULE_LINEAR : !strcmp(schedule, "cosine") ? LMF_SCHEDULE_COSINE : LMF_SCHEDULE_CONSTANT;
    o.warmup_steps = (int64_t)number(a, "warmup", 0);
    o.min_lr_ratio = number(a, "min_ratio", 0);
    o.optimizer = (lmf_optimizer)lmf_train_optimizer(get(a, "optimizer", "adamw"));
    o.momentum = number(a, "momentum", 0.9);
    o.weight_decay = number(a, "wd", 0.01);
    o.beta2 = number(a, "beta2", 0.999);
    o.eps = number(a, "eps", 1e-8);
    o.max_grad_norm = number(a, "clip", 1);
    o.seed = (uint64_t)number(a, "seed", 0);
    o.shuffle = number(a, "shuffle", 0) != 0;
    o.compute = number(a, "fast", 0) != 0;
    o.recompute = number(a, "recompute", 0) != 0;
    return o;
}

static lmf_status load(lmf_ctx *ctx, const lmf_model *m, uint32_t takes, const char *path, const char *what, lmf_samples **out)
{
    lmf_rows rows;
    LMF_TRY(lmf_rows_open(ctx, path, &rows));
    lmf_status s = lmf_samples_create_of(&rows, &m->chat, takes, lmf_model_config(m)->context, LMF_LONG_ERROR, out);
    lmf_rows_close(&rows);
    for (int64_t i = 0; !s && i < (*out)->n; i++) {
        const lmf_sample *x = &(*out)->items[i];
        printf("{\"%s\": %lld, \"line\": %lld, \"ids\": [", what, (long long)i, (long long)x->line);
        for (int32_t k = 0; k < x->n; k++)
            printf("%s%d", k ? "," : "", x->id[k]);
        printf("], \"learn\": [");
        for (int32_t k = 0; k < x->n; k++)
            printf("%s%d", k ? "," : "", x->learn[k]);
        printf("]}\n");
    }
    return s;
}

/* The Hugging Face name of a parameter. */
static lmf_status hf_name(const lmf_trainer *t, const lmf_param *p, char *text, size_t n)
{
    char role[160];
    int layer;
    size_t len = strlen(p->name);
    if (t->opts.full) {
        const lmf_weight_row *row = lmf_model_row(t->model, p->name, &layer);
        return lmf_model_name(t->ctx, row->hf, layer, "", text, n);
    }
    snprintf(role, sizeof role, "%.*s", (int)(len - strlen(".lora_a")), p->name);
    lmf_module_path(t->model, role, text, n);
    len = strlen(text);
    char kind = p->name[strlen(p->name) - 1];
    snprintf(text + len, n - len, kind == 'm' ? ".lora_magnitude_vector.weight" : ".lora_%c.weight", kind == 'a' ? 'A' : 'B');
    return LMF_OK;
}

/* Parameters that are parts of one stored matrix go under its name, one behind the other. */
enum { MAX_NAMES = 512, MAX_PARTS = 4 };
typedef struct stored { char name[256]; int64_t dim[LMF_MAX_DIMS]; int n_dims, n; const lmf_param *part[MAX_PARTS]; } stored;

static int list_stored(const lmf_trainer *t, stored *list)
{
    char name[256];
    int n = 0, k;
    for (int i = 0; i < t->params.n; i++) {
        const lmf_param *p = &t->params.items[i];
        if (hf_name(t, p, name, sizeof name))
            return -1;
        for (k = 0; k < n && strcmp(list[k].name, name); k++)
            continue;
        if (k == MAX_NAMES || (k < n && list[k].n == MAX_PARTS))
            return -1;
        if (k == n) {
            list[n++] = (stored){ .n_dims = p->n_dims };
            memcpy(list[k].name, name, sizeof name);
            memcpy(list[k].dim, p->dim, sizeof p->dim);
            list[k].dim[0] = 0;
        }
        list[k].dim[0] += p->dim[0];
        list[k].part[list[k].n++] = p;
    }
    return n;
}

static lmf_status save_gradients(lmf_trainer *t, const char *path)
{
    static stored list[MAX_NAMES];
    lmf_safetensors_writer *w;
    int n = list_stored(t, list);
    if (n < 0)
        return LMF_FAIL(t->ctx, LMF_E_LIMIT, "the driver has no room for so many gradients");
    LMF_TRY(lmf_safetensors_writer_create(t->ctx, path, &w));
    lmf_status s = LMF_OK;
    for (int i = 0; !s && i < n; i++)
        s = lmf_safetensors_add(w, list[i].name, LMF_F32, list[i].dim, list[i].n_dims);
    if (!s)
        s = lmf_safetensors_begin(w);
    for (int64_t i; !s && (i = lmf_safetensors_writer_next(w)) >= 0;)
        for (int k = 0; k < list[i].n && !s; k++) {
            const lmf_param *p = list[i].part[k];
            float *g = malloc((size_t)p->count * sizeof *g);
            s = lmf_trainer_gradient(t, p->name, g, p->count);
            if (!s)
                s = lmf_safetensors_write(w, g, (size_t)p->count * sizeof *g);
            free(g);
        }
    if (!s)
        s = lmf_safetensors_commit(w);
    lmf_safetensors_writer_destroy(w);
    return s;
}

static lmf_status evaluate(lmf_trainer *t, const args *a, const lmf_samples *dev, int64_t step)
{
    char text[32];
    double loss;
    snprintf(text, sizeof text, ",%lld,", (long long)step);
    const char *at = get(a, "eval_at", "");
    char *list = malloc(strlen(at) + 3);
    sprintf(list, ",%s,", at);
    bool wanted = dev && strstr(list, text);
    free(list);
    if (!wanted)
        return LMF_OK;
    LMF_TRY(lmf_trainer_eval(t, dev, &loss));
    printf("{\"eval_step\": %lld, \"eval_loss\": %.9g}\n", (long long)step, loss);
    return LMF_OK;
}

static void print_step(const lmf_trainer *t, const lmf_train_stats *st)
{
    printf("{\"step\": %lld, \"loss\": %.9g, \"grad_norm\": %.9g, \"lr\": %.9g, \"n_learn\": %lld, \"micro\": %d, \"samples\": [", (long long)st->step, st->loss,
           st->grad_norm, st->lr, (long long)st->n_learn, t->now.n_micro);
    for (int i = 0; i < t->now.n_groups; i++)
        printf("%s%lld", i ? ", " : "", (long long)t->now.group[i]);
    printf("]");
    for (int i = 0; i < lmf_objective_n_reports(t->objective); i++)
        printf(", \"%s\": %.9g", t->objective->reports[i].name, st->report[i]);
    printf("}\n");
    fflush(stdout);
}

static lmf_status step_on_answers(lmf_trainer *t, const args *a, lmf_train_stats *st)
{
    json_t *root;
    lmf_arena arena;
    lmf_samples answers = { .ctx = t->ctx };
    lmf_totals totals;
    LMF_TRY(lmf_json_load(t->ctx, get(a, "answers", ""), 1 << 24, LMF_JSON_SMALL, &root));
    lmf_arena_init(&arena, t->ctx, 1 << 26);
    bool ok = lmf_policy_samples(&arena, json_object_get(root, "answers"), t->opts.batch_size, &answers, &totals);
    lmf_status s = ok ? lmf_trainer_step_on(t, &answers, &totals, st) : LMF_NO_MEMORY(t->ctx, 1024, "answers");
    lmf_arena_clear(&arena);
    json_decref(root);
    return s;
}

static lmf_status run(lmf_ctx *ctx, const args *a, lmf_model *m)
{
    lmf_samples *train = NULL, *dev = NULL;
    lmf_trainer *t = NULL;
    lmf_train_opts o = options(a);
    lmf_train_stats st;
    lmf_status s;
    const lmf_objective *objective;
    lmf_objective_value values[LMF_MAX_OBJECTIVE_OPTIONS];
    o.objective = get(a, "objective", o.objective);
    o.objective_values = values;
    LMF_TRY(lmf_objective_find(ctx, o.objective, &objective));
    for (const lmf_objective_option *f = objective->options; f && f->name; f++) {
        char key[64];
        snprintf(key, sizeof key, "opt.%s", f->name);
        const char *text = get(a, key, NULL);
        lmf_objective_value *v = &values[o.n_objective_values];
        v->name = f->name;
        if (text && !lmf_objective_option_parse(f, text, &v->value))
            return LMF_FAIL(ctx, LMF_E_ARG, "%s=%s", key, text);
        o.n_objective_values += text != NULL;
    }
    if (get(a, "teacher", NULL))
        LMF_TRY(lmf_model_open(ctx, get(a, "teacher", ""), &o.teacher));
    LMF_TRY_TO(done, load(ctx, m, objective->takes, get(a, "data", ""), "sample", &train));
    if (get(a, "eval", NULL))
        LMF_TRY_TO(done, load(ctx, m, objective->takes, get(a, "eval", ""), "eval_sample", &dev));
    LMF_TRY_TO(done, lmf_trainer_create(ctx, "cpu", m, train, &o, &t));
    if (get(a, "init", NULL))
        LMF_TRY_TO(done, lmf_trainer_load_adapter(t, get(a, "init", "")));
    LMF_TRY_TO(done, evaluate(t, a, dev, 0));
    while (!lmf_trainer_is_done(t)) {
        LMF_TRY_TO(done, get(a, "answers", NULL) ? step_on_answers(t, a, &st) : lmf_trainer_step(t, &st));
        print_step(t, &st);
        if (st.step == 1 && get(a, "grads", NULL))
            LMF_TRY_TO(done, save_gradients(t, get(a, "grads", "")));
        LMF_TRY_TO(done, evaluate(t, a, dev, st.step));
    }
    if (get(a, "save", NULL))
        s = lmf_trainer_save_adapter(t, get(a, "save", ""), "");
done:
    lmf_trainer_destroy(t);
    lmf_samples_destroy(train);
    lmf_samples_destroy(dev);
    lmf_model_close(o.teacher);
    return s;
}

int main(int argc, char **argv)
{
    args a = { argc, argv };
    lmf_ctx *ctx;
    lmf_model *m = NULL;
    if (argc < 2 || lmf_ctx_create(&ctx))
        return 2;
    if (get(&a, "threads", NULL))
        ctx->n_workers = (int)number(&a, "threads", 1);
    lmf_status s = lmf_model_open(ctx, get(&a, "model", ""), &m);
    lmf_in_4bit sum;
    if (!s && number(&a, "nf4", 0) != 0)
        s = lmf_model_to_4bit(m, &sum);
    if (!s)
        s = run(ctx, &a, m);
    if (s)
        fprintf(stderr, "%s\n", lmf_error(ctx));
    lmf_model_close(m);
    lmf_ctx_destroy(ctx);
    return s != LMF_OK;
}
