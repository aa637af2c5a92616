/* SPDX-License-Identifier: Apache-2.0 */
/* A checkpoint is the folder checkpoint-N: the adapter as PEFT has it, state.safetensors with every STATE tensor of the plan,
 * trainer_state.json, and MANIFEST.json, written last: sizes and SHA-256 of the others, and in "digest" the SHA-256 of its own text
 * with that field empty. It is written under a temporary name and renamed when all of it is durable.
 * Rule: an older checkpoint goes only after the new one has been read back and its hashes hold; and only what is one goes: a folder
 * whose manifest's digest holds and that has the files of a checkpoint and nothing else. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/output.h"
#include "base/number.h"
#include "format/json.h"
#include "format/safetensors.h"
#include "train/labels.h"
#include "train/params.h"
#include "train/trainer_internal.h"

enum { MAX_FILES = 8, MAX_JSON_BYTES = 1 << 20, DIGEST_BYTES = 64 };
static const char *const lora_files[] = { "adapter_config.json", "adapter_model.safetensors", "README.md", "state.safetensors", "trainer_state.json", NULL };
static const char *const full_files[] = { "state.safetensors", "trainer_state.json", NULL };

static const char *const *files_of(const lmf_trainer *t) { return t->opts.full ? full_files : lora_files; }

static lmf_status read_flat(lmf_trainer *t, const char *name, float **out, size_t *bytes)
{
    *bytes = (size_t)t->params.n_total * sizeof(float);
    *out = lmf_alloc(t->ctx, *bytes);
    if (!*out)
        return LMF_NO_MEMORY(t->ctx, *bytes, "the parameters");
    lmf_status s = lmf_plan_state_read(t->plan, name, *out, *bytes);
    if (s) {
        lmf_free(t->ctx, *out, *bytes);
        *out = NULL;
    }
    return s;
}

static lmf_status refuse_state(lmf_trainer *t, const char *name)
{
    return LMF_FAIL(t->ctx, LMF_E_LIMIT, "%s is not finite after step %lld, and is not saved; start again with a lower learning rate", name, (long long)t->step);
}

/* ---- adapter ---- */
/* Where module i's A lies among the parameters; *b: its whole B. */
static const lmf_param *pair_at(const lmf_trainer *t, int32_t i, const lmf_param **b)
{
    const lmf_param *p = t->params.items;
    for (int32_t k = 0; k < i; k++)
        p += 1 + t->modules.items[k].n_parts * (t->opts.use_dora ? 2 : 1);
    *b = p + 1;
    return p;
}

static lmf_status save_pairs(lmf_trainer *t, const char *dir, const char *base_name, const float *p)
{
    lmf_arena a;
    const lmf_param *pb;
    char origin[256];
    size_t n = (size_t)t->modules.n;
    lmf_arena_init(&a, t->ctx, 1 << 26);
    lmf_trained_pair *pair = lmf_arena_array(&a, n, sizeof *pair);
    for (int32_t i = 0; pair && i < t->modules.n; i++) {
        const lmf_param *pa = pair_at(t, i, &pb);
        pair[i] = (lmf_trained_pair){ &t->modules.items[i], p + pa->offset, p + pb->offset,
                                      t->opts.use_dora ? p + pb[t->modules.items[i].n_parts].offset : NULL };
    }
    lmf_adapter_config c = { .r = t->opts.lora_r, .alpha = t->opts.lora_alpha, .dropout = t->opts.lora_dropout,
                             .use_rslora = t->opts.use_rslora, .use_dora = t->opts.use_dora, .task_type = "CAUSAL_LM",
                             .base_model = base_name ? lmf_model_path_origin(base_name, origin, sizeof origin) : NULL };
    lmf_status s = pair ? lmf_model_adapter_save(t->ctx, dir, &c, pair, n) : LMF_NO_MEMORY(t->ctx, n * sizeof *pair, "the adapter");
    lmf_arena_clear(&a);
    return s;
}

lmf_status lmf_trainer_save_adapter(lmf_trainer *t, const char *dir, const char *base_name)
{
    float *p;
    size_t bytes;
    if (t->opts.full)
        return LMF_FAIL(t->ctx, LMF_E_ARG, "all weights were trained: there is no adapter to save");
    LMF_TRY(read_flat(t, "train.p", &p, &bytes));
    lmf_status s = lmf_floats_are_finite(LMF_F32, p, bytes) ? save_pairs(t, dir, base_name, p) : refuse_state(t, "train.p");
    lmf_free(t->ctx, p, bytes);
    return s;
}

static lmf_status load_pairs(lmf_trainer *t, const char *dir, const lmf_model_adapter *a, float *p)
{
    const lmf_param *pb;
    if (lmf_adapter_get_config(a->file)->use_dora != t->opts.use_dora)
        return LMF_FAIL(t->ctx, LMF_E_ARG, t->opts.use_dora ?
                        "the adapter %s is plain LoRA, and this run trains DoRA: leave out --use-dora" :
                        "the adapter %s is DoRA, and this run trains plain LoRA: give --use-dora", dir);
    if (lmf_adapter_n(a->file) > (size_t)t->modules.n)
        return LMF_FAIL(t->ctx, LMF_E_ARG, "the adapter %s has %zu modules, this run trains %d: give its target modules", dir,
                        lmf_adapter_n(a->file), t->modules.n);
    for (int32_t i = 0; i < t->modules.n; i++) {
        const lmf_module *module = &t->modules.items[i];
        const lmf_param *pa = pair_at(t, i, &pb);
        const lmf_adapter_pair *q = NULL;
        for (int32_t k = 0; k < a->modules.n && !q; k++)
            q = strcmp(a->modules.items[k].path, module->path) ? NULL : a->pair[k];
        if (!q)
            return LMF_FAIL(t->ctx, LMF_E_NOT_FOUND, "the adapter %s has no weights for %s", dir, module->path);
        if (q->r != pa->dim[0])
            return LMF_FAIL(t->ctx, LMF_E_SHAPE, "the adapter %s has %s in rank %lld, this run trains rank %lld", dir, module->path,
                            (long long)q->r, (long long)pa->dim[0]);
        if (fabs(q->scale - (double)t->nn.lora_scale) > 1e-6 * fabs(q->scale))
            return LMF_FAIL(t->ctx, LMF_E_ARG, "the adapter %s scales %s by %g, this run by %g: give its alpha", dir, module->path, q->scale,
                            (double)t->nn.lora_scale);
        lmf_pair_read(t->ctx, q, &(lmf_module_part){ .n = module->n_out }, 1, p + pa->offset, p + pb->offset, q->r);
        if (q->m)
            lmf_format_get(t->ctx, q->m->dtype)->unpack(q->m->data, p + pb[module->n_parts].offset, module->n_out);
    }
    return LMF_OK;
}

lmf_status lmf_trainer_load_adapter(lmf_trainer *t, const char *dir)
{
    lmf_model_adapter a;
    float *p = NULL;
    size_t bytes = 0;
    if (t->opts.full)
        return LMF_FAIL(t->ctx, LMF_E_ARG, "all weights are trained: there is no adapter to start from");
    LMF_TRY(lmf_model_adapter_open(t->ctx, t->model, dir, &a));
    t->live->version++;
    lmf_status s = read_flat(t, "train.p", &p, &bytes);
    if (!s)
        s = load_pairs(t, dir, &a, p);
    if (!s)
        s = lmf_plan_state_write(t->plan, "train.p", p, bytes);
    if (!s && lmf__trainer_keeps_start(t)) { /* the run starts from these: what was made from others goes */
        lmf__trainer_drop_reference(t);
        t->start = p;
        p = NULL;
    }
    lmf_free(t->ctx, p, bytes);
    lmf_model_adapter_close(&a);
    return s;
}

/* ---- state ---- */
static const char reference_name[] = "reference.logp";

static lmf_status save_state(lmf_trainer *t, const char *dir)
{
    char path[4096];
    lmf_safetensors_writer *w;
    const lmf_tensor *s_t;
    LMF_TRY(lmf__trainer_reference(t));
    LMF_TRY(lmf_path_join(t->ctx, path, sizeof path, dir, "state.safetensors"));
    LMF_TRY(lmf_safetensors_writer_create(t->ctx, path, &w));
    lmf_status s = LMF_OK;
    for (int i = 0; !s && (s_t = lmf_plan_state_at(t->plan, i)); i++)
        s = lmf_safetensors_add(w, s_t->name, s_t->v.dtype, s_t->v.dim, s_t->v.n_dims);
    if (!s && t->reference.logp)
        s = lmf_safetensors_add(w, reference_name, LMF_F32, &t->reference.n, 1);
    if (!s)
        s = lmf_safetensors_begin(w);
    for (int64_t i; !s && (i = lmf_safetensors_writer_next(w)) >= 0;) {
        s_t = lmf_plan_state_at(t->plan, (int)i);
        if (!s_t) {
            s = lmf_safetensors_write(w, t->reference.logp, (size_t)t->reference.n * sizeof *t->reference.logp);
            continue;
        }
        size_t bytes = lmf_format_bytes(s_t->v.fmt, lmf_view_count(&s_t->v));
        void *data = lmf_alloc(t->ctx, bytes);
        s = data ? lmf_plan_state_read(t->plan, s_t->name, data, bytes) : LMF_NO_MEMORY(t->ctx, bytes, "a checkpoint");
        if (!s && strcmp(s_t->name, "train.g") && !lmf_floats_are_finite(s_t->v.dtype, data, bytes)) /* gradients are made anew */
            s = refuse_state(t, s_t->name);
        if (!s)
            s = lmf_safetensors_write(w, data, bytes);
        lmf_free(t->ctx, data, bytes);
    }
    if (!s)
        s = lmf_safetensors_commit(w);
    lmf_safetensors_writer_destroy(w);
    return s;
}

/* What the run that goes on had made; it is of the same model, data and start (identity). */
static lmf_status load_reference(lmf_trainer *t, const lmf_safetensors *st, const char *path)
{
    const lmf_st_tensor *f = lmf_safetensors_find(st, reference_name);
    size_t bytes = (size_t)t->batches.samples->n * sizeof(float);
    char sha[65];
    if (!t->objective->reference)
        return LMF_OK;
    if (!f || f->dtype != LMF_F32 || f->bytes != bytes)
        return LMF_FAIL(t->ctx, LMF_E_NOT_FOUND, "%s has no tensor \"%s\" of these data", path, reference_name);
    LMF_TRY(lmf_samples_sha256(t->batches.samples, t->ctx, sha));
    float *logp = lmf_alloc(t->ctx, bytes);
    if (!logp)
        return LMF_NO_MEMORY(t->ctx, bytes, "the reference's log-probabilities");
    memcpy(logp, f->data, bytes);
    if (t->reference.logp)
        lmf_free(t->ctx, t->reference.logp, (size_t)t->reference.n * sizeof *logp);
    t->reference = (lmf_reference){ .logp = logp, .n = t->batches.samples->n };
    memcpy(t->reference.data_sha256, sha, sizeof sha);
    return LMF_OK;
}

static lmf_status load_state(lmf_trainer *t, const char *dir)
{
    char path[4096];
    lmf_safetensors *st;
    const lmf_tensor *s_t;
    LMF_TRY(lmf_path_join(t->ctx, path, sizeof path, dir, "state.safetensors"));
    LMF_TRY(lmf_safetensors_open(t->ctx, path, &st));
    lmf_status s = LMF_OK;
    t->live->version++;
    for (int i = 0; !s && (s_t = lmf_plan_state_at(t->plan, i)); i++) {
        const lmf_st_tensor *f = lmf_safetensors_find(st, s_t->name);
        s = f ? lmf_plan_state_write(t->plan, s_t->name, f->data, f->bytes) : LMF_FAIL(t->ctx, LMF_E_NOT_FOUND, "%s has no tensor \"%s\"", path, s_t->name);
    }
    if (!s)
        s = load_reference(t, st, path);
    lmf_safetensors_close(st);
    return s;
}

/* Of the parameters that the run starts from: a reference is theirs. */
static lmf_status hash_start(lmf_trainer *t, char hex[65])
{
    size_t bytes = (size_t)t->params.n_total * sizeof(float);
    if (t->start)
        return lmf_sha256_hex(t->ctx, t->start, bytes, hex);
    float *p = lmf_alloc(t->ctx, bytes);
    if (!p)
        return LMF_NO_MEMORY(t->ctx, bytes, "the parameters");
    lmf__trainer_init_params(t, p);
    lmf_status s = lmf_sha256_hex(t->ctx, p, bytes, hex);
    lmf_free(t->ctx, p, bytes);
    return s;
}

/* Settings that a resumed run must share, each under the name that people know it by. NULL: no memory. */
static json_t *options_json(const lmf_trainer *t)
{
    static const char *const schedules[] = { "linear", "cosine", "constant", "wsd" }, *const optimizers[] = { "adamw", "adamw_8bit",
        "sgd" };
    char own[1024], seed[24];
    const lmf_train_opts *o = &t->opts;
    lmf_objective_text(t->objective, t->objective_opts, own, sizeof own);
    snprintf(seed, sizeof seed, "%llu", (unsigned long long)o->seed);
    json_t *root = json_pack("{s:s, s:s, s:s, s:s, s:I, s:f, s:f, s:s, s:s, s:I, s:I, s:f, s:f, s:I}", "method", o->full ? "full" : "lora",
        "objective", t->objective->name, "options of the objective", own, "scheduler", schedules[o->schedule], "warmup-steps",
        (json_int_t)o->warmup_steps, "lr", o->lr, "weight-decay", o->weight_decay, "seed", seed, "compute", o->compute ? "fast" : "f32",
        "rows of a step", (json_int_t)t->batches.step_rows, "micro-tokens", (json_int_t)o->micro_tok, "min-lr-ratio", o->min_lr_ratio,
        "decay-ratio", o->decay_ratio, "steps", (json_int_t)t->batches.n_steps);
    json_t *more = json_pack("{s:f, s:f, s:f, s:f, s:b}", "adam-beta1", o->beta1, "adam-beta2", o->beta2, "adam-epsilon", o->eps,
        "max-grad-norm", o->max_grad_norm, "shuffle", o->shuffle);
    json_t *lora = o->full ? json_object() : json_pack("{s:I, s:f, s:f, s:b, s:s}", "lora-r", (json_int_t)o->lora_r,
        "lora-alpha", o->lora_alpha, "lora-dropout", o->lora_dropout, "rslora", o->use_rslora, "target-modules", o->target_modules);
    json_t *optimizer = json_pack("{s:s, s:f}", "optimizer", optimizers[o->optimizer], "momentum",
                                  o->optimizer == LMF_OPTIMIZER_SGD ? o->momentum : 0);
    json_t *base = o->full ? json_object() : json_pack("{s:s}", "load-in-4bit", lmf_weights_find(t->model->weights,
                                                       t->modules.items[0].part[0].role)->v.dtype == LMF_NF4 ? "true" : "false");
    if (o->use_dora && lora && json_object_set_new(lora, "use-dora", json_true())) {
        json_decref(lora);
        lora = NULL;
    }
    bool ok = root && more && lora && optimizer && base && !json_object_update(root, optimizer) && !json_object_update(root, base)
        && !json_object_update(root, more) && !json_object_update(root, lora);
    json_decref(more), json_decref(lora), json_decref(optimizer), json_decref(base);
    if (!ok) {
        json_decref(root);
        return NULL;
    }
    return root;
}

/* What must agree for a resumed run to be the same run. */
static lmf_status identity(lmf_trainer *t, json_t **out)
{
    char fingerprint[20], data_sha[65], start_sha[65];
    if (!t->model_sha256[0]) /* once a run */
        LMF_TRY(lmf_weights_sha256(t->model->weights, t->model_sha256));
    if (t->opts.teacher && !t->teacher_sha256[0])
        LMF_TRY(lmf_weights_sha256(t->opts.teacher->weights, t->teacher_sha256));
    snprintf(fingerprint, sizeof fingerprint, "%016llx", (unsigned long long)lmf_plan_fingerprint(t->plan));
    LMF_TRY(lmf_samples_sha256(t->batches.samples, t->ctx, data_sha));
    *out = json_pack("{s:s, s:s, s:o, s:s}", "model", t->model_sha256, "data", data_sha, "options", options_json(t), "plan", fingerprint);
    const char *teacher = t->opts.labels ? lmf_labels_get_info(t->opts.labels)->digest : t->opts.teacher ? t->teacher_sha256 : NULL;
    if (*out && teacher && json_object_set_new(*out, "teacher", json_string(teacher))) {
        json_decref(*out);
        return LMF_NO_MEMORY(t->ctx, 256, "a checkpoint");
    }
    if (*out && lmf__trainer_keeps_start(t)) {
        lmf_status s = hash_start(t, start_sha);
        if (!s && json_object_set_new(*out, "start", json_string(start_sha)))
            s = LMF_NO_MEMORY(t->ctx, 256, "a checkpoint");
        if (s)
            json_decref(*out);
        LMF_TRY(s);
    }
    return *out ? LMF_OK : LMF_NO_MEMORY(t->ctx, 256, "a checkpoint");
}

static lmf_status save_trainer_state(lmf_trainer *t, const char *dir)
{
    char path[4096];
    json_t *id, *root;
    LMF_TRY(lmf_path_join(t->ctx, path, sizeof path, dir, "trainer_state.json"));
    LMF_TRY(identity(t, &id));
    root = json_pack("{s:I, s:I, s:f, s:I, s:I, s:I, s:o}", "global_step", (json_int_t)t->step, "max_steps", (json_int_t)t->batches.n_steps,
                     "epoch", (double)t->step / (double)t->batches.steps_per_epoch, "total_tokens", (json_int_t)t->total_tok,
                         "skipped_steps", (json_int_t)t->n_skipped,
                     "clock_unix", (json_int_t)t->opts.clock_unix, "identity", id);
    bool whole = root && (!t->n_rewinds || !json_object_set_new(root, "rewinds", json_integer((json_int_t)t->n_rewinds)));
    lmf_status s = whole ? lmf_json_save(t->ctx, path, root) : LMF_NO_MEMORY(t->ctx, 256, "a checkpoint");
    json_decref(root);
    return s;
}

/* ---- manifest ---- */
static lmf_status manifest_text(lmf_ctx *ctx, json_t *root, const char *digest, lmf_buf *out)
{
    lmf_buf_truncate(out, 0);
    if (json_object_set_new(root, "digest", json_string(digest)))
        return LMF_NO_MEMORY(ctx, 1024, "a manifest");
    return lmf_json_text(ctx, root, JSON_SORT_KEYS | JSON_INDENT(1), out);
}

static lmf_status save_manifest(lmf_trainer *t, const char *dir)
{
    char path[4096], sha[65], digest[65];
    json_t *files = json_object(), *root = json_pack("{s:i, s:I, s:o}", "version", 1, "step", (json_int_t)t->step, "files", files);
    lmf_status s = root ? LMF_OK : LMF_NO_MEMORY(t->ctx, 256, "a manifest");
    for (const char *const *f = files_of(t); !s && *f; f++) {
        uint64_t n;
        s = lmf_path_join(t->ctx, path, sizeof path, dir, *f);
        if (!s)
            s = lmf_file_sha256(t->ctx, path, sha, &n);
        if (!s)
            json_object_set_new(files, *f, json_pack("{s:I, s:s}", "bytes", (json_int_t)n, "sha256", sha));
    }
    lmf_buf text;
    lmf_buf_init(&text, t->ctx, MAX_JSON_BYTES);
    if (!s)
        s = manifest_text(t->ctx, root, "", &text);
    if (!s)
        s = lmf_sha256_hex(t->ctx, text.data, text.n, digest);
    if (!s)
        s = manifest_text(t->ctx, root, digest, &text);
    if (!s)
        s = lmf_path_join(t->ctx, path, sizeof path, dir, "MANIFEST.json");
    if (!s)
        s = lmf_file_write(t->ctx, path, text.data, text.n);
    lmf_buf_clear(&text);
    json_decref(root);
    return s;
}

/* The manifest, when its digest holds. */
static lmf_status read_manifest(lmf_ctx *ctx, const char *dir, json_t **out)
{
    char path[4096], digest[65], sha[65];
    json_t *root;
    lmf_buf text;
    *out = NULL;
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, "MANIFEST.json"));
    LMF_TRY(lmf_json_load(ctx, path, MAX_JSON_BYTES, LMF_JSON_SMALL, &root));
    const char *said = json_string_value(json_object_get(root, "digest"));
    snprintf(digest, sizeof digest, "%s", said ? said : "");
    lmf_buf_init(&text, ctx, MAX_JSON_BYTES);
    lmf_status s = manifest_text(ctx, root, "", &text);
    if (!s)
        s = lmf_sha256_hex(ctx, text.data, text.n, sha);
    lmf_buf_clear(&text);
    if (!s && strcmp(sha, digest))
        s = LMF_FAIL(ctx, LMF_E_FORMAT, "%s was changed: its digest does not hold", path);
    if (s)
        json_decref(root);
    else
        *out = root;
    return s;
}

/* Every file is there, of its size and hash, and the manifest is whole. */
static lmf_status verify(lmf_ctx *ctx, const char *dir)
{
    char path[4096], sha[65];
    json_t *root;
    LMF_TRY(read_manifest(ctx, dir, &root));
    lmf_status s = lmf_path_join(ctx, path, sizeof path, dir, "MANIFEST.json");
    const char *name;
    json_t *entry, *files = json_object_get(root, "files");
    if (!s && json_object_size(files) == 0)
        s = LMF_FAIL(ctx, LMF_E_FORMAT, "%s names no files", path);
    json_object_foreach(files, name, entry) {
        uint64_t n = 0;
        if (!s && strchr(name, '/'))
            s = LMF_FAIL(ctx, LMF_E_FORMAT, "%s names a file outside its folder", path);
        if (!s)
            s = lmf_path_join(ctx, path, sizeof path, dir, name);
        if (!s)
            s = lmf_file_sha256(ctx, path, sha, &n);
        const char *want = json_string_value(json_object_get(entry, "sha256"));
        if (!s && (!want || strcmp(want, sha) || (json_int_t)n != json_integer_value(json_object_get(entry, "bytes"))))
            s = LMF_FAIL(ctx, LMF_E_FORMAT, "%s is damaged: its hash is not the manifest's", path);
    }
    json_decref(root);
    return s;
}

/* ---- folders ---- */
static int64_t newest_below(const char *dir, int64_t below)
{
    int64_t best = -1;
    DIR *d = opendir(dir);
    for (struct dirent *e; d && (e = readdir(d));) {
        int64_t n;
        char name[64];
        if (strncmp(e->d_name, "checkpoint-", 11) || !lmf_number_is(e->d_name + 11, &n) || n >= below || n <= best)
            continue;
        snprintf(name, sizeof name, "checkpoint-%lld", (long long)n);
        if (strcmp(name, e->d_name) == 0) /* not "checkpoint-007" */
            best = n;
    }
    if (d)
        closedir(d);
    return best;
}

int64_t lmf_checkpoint_newest(const char *dir) { return newest_below(dir, INT64_MAX); }

static lmf_status checkpoint_path(lmf_ctx *ctx, const char *dir, int64_t n, char *text, size_t cap)
{
    char name[64];
    snprintf(name, sizeof name, "checkpoint-%lld", (long long)n);
    return lmf_path_join(ctx, text, cap, dir, name);
}

static const char *const removable[] = { "MANIFEST.json", "adapter_config.json", "adapter_model.safetensors", "README.md", "state.safetensors",
                                         "trainer_state.json", NULL };

lmf_status lmf_checkpoint_check(lmf_ctx *ctx, const char *path, bool whole)
{
    json_t *root;
    if (lmf_output_stat(path) != LMF_OUTPUT_DIR)
        return LMF_FAIL(ctx, LMF_E_EXISTS, "%s is %s, not a checkpoint; it is left alone", path, lmf_output_word(lmf_output_stat(path)));
    lmf_status s = whole ? verify(ctx, path) : read_manifest(ctx, path, &root);
    if (s)
        return lmf_fail_prefix(ctx, LMF_E_EXISTS, "%s is no checkpoint that was written here, or was changed since; it is left alone", path);
    if (!whole)
        json_decref(root);
    return lmf_dir_holds_only(ctx, path, removable);
}

lmf_status lmf_checkpoint_remove(lmf_ctx *ctx, const char *path)
{
    LMF_TRY(lmf_checkpoint_check(ctx, path, false));
    return lmf_dir_remove(ctx, path, removable);
}

/* A temporary folder: half of a checkpoint, or one that was replaced, with its manifest. */
lmf_status lmf_checkpoint_remove_left(lmf_ctx *ctx, const char *path)
{
    char manifest[4096];
    LMF_TRY(lmf_path_join(ctx, manifest, sizeof manifest, path, "MANIFEST.json"));
    return lmf_output_stat(manifest) == LMF_OUTPUT_NONE ? lmf_dir_remove(ctx, path, NULL) : lmf_checkpoint_remove(ctx, path);
}

/* Later ones than this run's step were passed over as damaged: they don't count among those kept. What is no checkpoint is passed over. */
static lmf_status rotate(lmf_trainer *t, const char *dir, int keep)
{
    char path[4096];
    int64_t n = newest_below(dir, t->step + 1);
    for (int kept = 0; n >= 0; n = newest_below(dir, n)) {
        LMF_TRY(checkpoint_path(t->ctx, dir, n, path, sizeof path));
        lmf_error_record before = *lmf_error_here(t->ctx);
        if (lmf_checkpoint_check(t->ctx, path, false)) {
            *lmf_error_here(t->ctx) = before;
            continue;
        }
        if (++kept > keep)
            LMF_TRY(lmf_dir_remove(t->ctx, path, removable));
    }
    return LMF_OK;
}

static lmf_status write_all(lmf_trainer *t, const char *dir, const char *base_name)
{
    if (!t->opts.full)
        LMF_TRY(lmf_trainer_save_adapter(t, dir, base_name));
    LMF_TRY(save_state(t, dir));
    LMF_TRY(save_trainer_state(t, dir));
    LMF_TRY(save_manifest(t, dir));
    return lmf_dir_sync(t->ctx, dir);
}

lmf_status lmf_trainer_save(lmf_trainer *t, const char *dir, int keep, const char *base_name)
{
    char path[4096];
    lmf_stage stage;
    LMF_TRY(checkpoint_path(t->ctx, dir, t->step, path, sizeof path));
    bool there = lmf_output_stat(path) != LMF_OUTPUT_NONE;
    if (there)
        LMF_TRY(lmf_checkpoint_check(t->ctx, path, false));
    LMF_TRY(lmf_dir_create(t->ctx, dir));
    LMF_TRY(lmf_stage_open(t->ctx, path, lmf_checkpoint_remove_left, &stage));
    lmf_status s = write_all(t, stage.path, base_name);
    if (!s)
        s = lmf_output_place(t->ctx, stage.path, path, there);
    lmf_status closed = lmf_stage_close(&stage);
    LMF_TRY(s);
    LMF_TRY(closed);
    LMF_TRY(lmf_dir_sync(t->ctx, dir));
    LMF_TRY(verify(t->ctx, path));
    return rotate(t, dir, keep);
}

/* A value as a setting is written; "none" for one that is not there. */
static const char *value_text(const json_t *v, char *text, size_t n)
{
    if (json_is_real(v))
        snprintf(text, n, "%.10g", json_real_value(v));
    else if (json_is_integer(v))
        snprintf(text, n, "%lld", (long long)json_integer_value(v));
    else
        snprintf(text, n, "%s", json_is_string(v) ? json_string_value(v) : json_is_true(v) ? "true" : json_is_false(v) ? "false" : "none");
    return text;
}

/* Names the first option that differs, of both runs. A longer run may go on with a shorter one: its steps and its warm-up differ, and so
 * may the plan, which is made for the batches that there are. */
static lmf_status check_options(lmf_trainer *t, const char *path, const json_t *theirs, json_t *ours, int64_t *shorter)
{
    char a[256], b[256];
    const char *key;
    json_t *v;
    if (!json_is_object(theirs))
        return LMF_FAIL(t->ctx, LMF_E_ARG, "%s was made by a version that kept no list of its options: going on from it is not possible",
                        path);
    int64_t before = json_integer_value(json_object_get(theirs, "steps"));
    *shorter = before > 0 && before < t->batches.n_steps ? before : 0;
    json_object_foreach(ours, key, v) {
        const json_t *w = json_object_get(theirs, key);
        bool may_differ = *shorter && (!strcmp(key, "steps") || !strcmp(key, "warmup-steps"));
        if (!may_differ && !json_equal(v, w))
            return LMF_FAIL(t->ctx, LMF_E_ARG, "%s was made with other options, %s %s instead of %s: going on from it would not "
                            "give the same run", path, key, value_text(w, a, sizeof a), value_text(v, b, sizeof b));
    }
    json_object_foreach((json_t *)theirs, key, v)
        if (!json_object_get(ours, key))
            return LMF_FAIL(t->ctx, LMF_E_ARG, "%s was made with other options, %s %s instead of none: going on from it would not give the "
                            "same run", path, key, value_text(v, a, sizeof a));
    return LMF_OK;
}

static lmf_status check_identity(lmf_trainer *t, const char *path, const json_t *theirs)
{
    static const struct { const char *key, *what; } parts[] = {
        { "model", "another model file" }, { "data", "other training data" }, { "start", "another adapter to start from" },
        { "teacher", "another teacher, or other labels of one" },
        { "plan", "another build, device, number of workers or longest evaluation row" }
    };
    json_t *ours;
    LMF_TRY(identity(t, &ours));
    int64_t shorter = 0;
    lmf_status s = check_options(t, path, json_object_get(theirs, "options"), json_object_get(ours, "options"), &shorter);
    for (size_t i = 0; !s && i < sizeof parts / sizeof *parts; i++) {
        const char *a = json_string_value(json_object_get(theirs, parts[i].key)), *b = json_string_value(json_object_get(ours, parts[i].key));
        if ((a || b) && (!a || !b || strcmp(a, b)) && !(shorter && !strcmp(parts[i].key, "plan")))
            s = LMF_FAIL(t->ctx, LMF_E_ARG, "%s was made with %s: going on from it would not give the same run", path, parts[i].what);
    }
    json_decref(ours);
    t->was_steps = s ? 0 : shorter;
    return s;
}

static lmf_status load(lmf_trainer *t, const char *path)
{
    char file[4096];
    json_t *root;
    LMF_TRY(lmf_path_join(t->ctx, file, sizeof file, path, "trainer_state.json"));
    LMF_TRY(lmf_json_load(t->ctx, file, MAX_JSON_BYTES, LMF_JSON_SMALL, &root));
    int64_t step = -1, tok = 0, skipped = 0, rewinds = 0;
    lmf_status s = check_identity(t, path, json_object_get(root, "identity"));
    if (!s)
        s = lmf_json_get_i64(t->ctx, root, "global_step", &step);
    if (!s)
        s = lmf_json_get_i64(t->ctx, root, "total_tokens", &tok);
    if (!s)
        s = lmf_json_get_i64(t->ctx, root, "skipped_steps", &skipped);
    if (!s)
        s = lmf_json_want_i64(t->ctx, root, "rewinds", &rewinds);
    json_decref(root);
    if (!s && (step < 0 || step > t->batches.n_steps || skipped < 0 || skipped > step || rewinds < 0))
        s = LMF_FAIL(t->ctx, LMF_E_FORMAT, "%s says step %lld of %lld", file, (long long)step, (long long)t->batches.n_steps);
    if (!s)
        s = load_state(t, path);
    if (!s)
        t->step = step, t->total_tok = tok, t->n_skipped = skipped, t->n_bad = 0, t->n_rewinds = rewinds;
    return s;
}

static bool is_checkpoint(lmf_ctx *ctx, const char *path)
{
    char manifest[4096];
    return !lmf_path_join(ctx, manifest, sizeof manifest, path, "MANIFEST.json") && lmf_output_stat(manifest) == LMF_OUTPUT_FILE;
}

static lmf_status read_clock(lmf_ctx *ctx, const char *path, int64_t *clock_unix, bool *found)
{
    char file[4096];
    json_t *root;
    LMF_TRY(lmf_path_join(ctx, file, sizeof file, path, "trainer_state.json"));
    LMF_TRY(lmf_json_load(ctx, file, MAX_JSON_BYTES, LMF_JSON_SMALL, &root));
    *found = json_is_integer(json_object_get(root, "clock_unix"));
    if (*found)
        *clock_unix = json_integer_value(json_object_get(root, "clock_unix"));
    json_decref(root);
    return LMF_OK;
}

lmf_status lmf_checkpoint_clock(lmf_ctx *ctx, const char *dir, int64_t *clock_unix, bool *found)
{
    char path[4096];
    *found = false;
    if (is_checkpoint(ctx, dir)) {
        LMF_TRY(verify(ctx, dir));
        return read_clock(ctx, dir, clock_unix, found);
    }
    for (int64_t n = lmf_checkpoint_newest(dir); n >= 0; n = newest_below(dir, n)) {
        LMF_TRY(checkpoint_path(ctx, dir, n, path, sizeof path));
        lmf_status s = verify(ctx, path);
        if (s == LMF_E_MEMORY)
            return s;
        if (!s)
            return read_clock(ctx, path, clock_unix, found);
    }
    return LMF_OK;
}

lmf_status lmf_trainer_resume_from(lmf_trainer *t, const char *path, int *skipped)
{
    *skipped = 0;
    if (!is_checkpoint(t->ctx, path))
        return lmf_trainer_resume(t, path, skipped);
    LMF_TRY(verify(t->ctx, path));
    return load(t, path);
}

/* The newest whole checkpoint of a step below that one. */
static lmf_status load_newest(lmf_trainer *t, const char *dir, int64_t below, int *skipped)
{
    char path[4096];
    *skipped = 0;
    for (int64_t n = newest_below(dir, below); n >= 0; n = newest_below(dir, n)) {
        LMF_TRY(checkpoint_path(t->ctx, dir, n, path, sizeof path));
        lmf_status s = verify(t->ctx, path);
        if (s == LMF_E_MEMORY)
            return s;
        if (s) {
            ++*skipped;
            continue;
        }
        return load(t, path);
    }
    if (*skipped)
        return lmf_fail_prefix(t->ctx, LMF_E_FORMAT, "%s: none of its %d checkpoints is whole; the oldest", dir, *skipped);
    return LMF_FAIL(t->ctx, LMF_E_NOT_FOUND, "%s holds no checkpoint to resume from", dir);
}

lmf_status lmf_trainer_resume(lmf_trainer *t, const char *dir, int *skipped) { return load_newest(t, dir, INT64_MAX, skipped); }

/* The same rows would give the same steps again, so they are passed over. Only what is older than the bad steps has other weights. */
lmf_status lmf_trainer_rewind(lmf_trainer *t, const char *dir, int64_t *from)
{
    int64_t step = t->step, tok = t->total_tok, was_steps = t->was_steps;
    int skipped;
    if (t->n_bad < LMF_TRAINER_BAD_STEPS || t->n_rewinds)
        return LMF_FAIL(t->ctx, LMF_E_LIMIT, "step %lld: %s", (long long)step, t->n_rewinds ? "the run was rewound once before" :
                        "the gradients are finite: there is nothing to rewind for");
    LMF_TRY(load_newest(t, dir, step - t->n_bad, &skipped));
    *from = t->step;
    t->n_skipped += step - t->step;
    t->step = step, t->total_tok = tok, t->was_steps = was_steps;
    t->n_rewinds = 1;
    return LMF_OK;
}
