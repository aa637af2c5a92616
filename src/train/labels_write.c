/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the manifest is written last; a folder without one holds no labels. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/file.h"
#include "base/half.h"
#include "base/plain.h"
#include "eval/score.h"
#include "format/safetensors.h"
#include "train/labels.h"

enum { SHARD_BYTES = 32 << 20, MAX_MANIFEST = 1 << 24 };
static const float LEAST = -30; /* the logarithm of what is left, where it rounds to nothing */

typedef struct pick { float logit; int32_t id; } pick;
typedef struct making {
    lmf_ctx *ctx;
    const lmf_labels_make *o;
    lmf_scorer *scorer;
    json_t  *shards;
    int64_t  cap, n, n_labels;       /* labels a shard, in this one, in all */
    int32_t *id;
    float   *logp, *rest;
    pick    *heap;                   /* the least of the likeliest on top */
} making;

static void sift(pick *heap, int32_t k, int32_t i)
{
    for (int32_t child; (child = 2 * i + 1) < k; i = child) {
        if (child + 1 < k && heap[child + 1].logit < heap[child].logit)
            child++;
        if (heap[i].logit <= heap[child].logit)
            break;
        pick t = heap[i];
        heap[i] = heap[child], heap[child] = t;
    }
}

static int by_id(const void *a, const void *b) { return ((const pick *)a)->id < ((const pick *)b)->id ? -1 : 1; }

/* One label from the logits of n_vocab tokens. */
static bool add_label(making *m, const float *logits, int32_t n_vocab)
{
    int32_t k = m->o->k;
    double top = -INFINITY, all = 0, likely = 0, t = m->o->temperature;
    for (int32_t v = 0; v < n_vocab; v++) {
        if (v < k)
            m->heap[v] = (pick){ logits[v], v };
        for (int32_t i = k / 2 - 1; v == k - 1 && i >= 0; i--)
            sift(m->heap, k, i);
        if (v >= k && logits[v] > m->heap[0].logit) {
            m->heap[0] = (pick){ logits[v], v };
            sift(m->heap, k, 0);
        }
        top = fmax(top, (double)logits[v]);
    }
    for (int32_t v = 0; v < n_vocab; v++)
        all += exp(((double)logits[v] - top) / t);
    qsort(m->heap, (size_t)k, sizeof *m->heap, by_id);
    double lse = top / t + log(all);
    if (!isfinite(lse))
        return false;
    for (int32_t i = 0; i < k; i++) {
        double logp = (double)m->heap[i].logit / t - lse;
        m->id[m->n * k + i] = m->heap[i].id;
        m->logp[m->n * k + i] = (float)logp;
        likely += exp(logp);
    }
    m->rest[m->n++] = k == n_vocab || 1 - likely < 1e-13 ? LEAST : fmaxf((float)log(1 - likely), LEAST);
    return true;
}

static lmf_status write_values(const making *m, lmf_safetensors_writer *w, float *values, int64_t n)
{
    uint16_t *half = (uint16_t *)(void *)values;
    if (m->o->f32)
        return lmf_safetensors_write(w, values, (size_t)n * sizeof *values);
    for (int64_t i = 0; i < n; i++) {
        uint16_t h = lmf_f32_to_f16(values[i]);
        memcpy(half + i, &h, sizeof h);
    }
    return lmf_safetensors_write(w, half, (size_t)n * sizeof *half);
}

static lmf_status write_shard(making *m)
{
    char file[64], path[4200], sha[65];
    lmf_safetensors_writer *w;
    int64_t dim[] = { m->n, m->o->k };
    uint16_t type = m->o->f32 ? LMF_F32 : LMF_F16;
    if (!m->n)
        return LMF_OK;
    snprintf(file, sizeof file, "labels-%05zu.safetensors", json_array_size(m->shards));
    LMF_TRY(lmf_path_join(m->ctx, path, sizeof path, m->o->dir, file));
    LMF_TRY(lmf_safetensors_writer_create(m->ctx, path, &w));
    lmf_status s = lmf_safetensors_add(w, "id", LMF_I32, dim, 2);
    s = s ? s : lmf_safetensors_add(w, "logp", type, dim, 2);
    s = s ? s : lmf_safetensors_add(w, "rest", type, dim, 1);
    s = s ? s : lmf_safetensors_begin(w);
    for (int64_t i; !s && (i = lmf_safetensors_writer_next(w)) >= 0;)
        s = i == 0 ? lmf_safetensors_write(w, m->id, (size_t)(m->n * m->o->k) * sizeof *m->id)
                   : write_values(m, w, i == 1 ? m->logp : m->rest, i == 1 ? m->n * m->o->k : m->n);
    s = s ? s : lmf_safetensors_commit(w);
    lmf_safetensors_writer_destroy(w);
    s = s ? s : lmf_file_sha256(m->ctx, path, sha, NULL);
    if (!s && json_array_append_new(m->shards, json_pack("{s:s, s:I, s:s}", "file", file, "labels", (json_int_t)m->n, "sha256", sha)))
        s = LMF_NO_MEMORY(m->ctx, 256, "a manifest");
    m->n_labels += m->n;
    m->n = 0;
    return s;
}

static lmf_status label_samples(making *m, int32_t n_vocab)
{
    const lmf_samples *samples = m->o->samples;
    int64_t width = lmf_model_config(m->o->teacher)->vocab;
    const float *logits;
    for (int64_t i = 0; i < samples->n; i++) {
        const lmf_sample *s = &samples->items[i];
        if (lmf_labels_of(s))
            LMF_TRY(lmf_scorer_logits(m->scorer, s->id, s->n, &logits));
        for (int32_t k = 1; k < s->n; k++) {
            if (!s->learn[k])
                continue;
            if (!add_label(m, logits + (k - 1) * width, n_vocab))
                return LMF_FAIL(m->ctx, LMF_E_LIMIT, "the teacher's logits are not finite in the row of line %lld", (long long)s->line);
            if (m->n == m->cap)
                LMF_TRY(write_shard(m));
        }
        if (m->o->progress && !m->o->progress(m->o->user, i + 1, samples->n))
            return LMF_FAIL(m->ctx, LMF_E_CANCELLED, "stopped; the labels are not whole, and %s has no manifest", m->o->dir);
    }
    return write_shard(m);
}

static lmf_status write_manifest(making *m, const lmf_labels_info *info, lmf_labels_info *out)
{
    char path[4200];
    lmf_buf text;
    json_t *root = json_pack("{s:i, s:i, s:i, s:f, s:I, s:I, s:s, s:s, s:s, s:s, s:s, s:O, s:o}", "version", 1, "top_k", info->k,
        "vocabulary", info->n_vocab, "temperature", info->temperature, "labels", (json_int_t)m->n_labels,
        "clock_unix", (json_int_t)info->clock_unix,
        "type", m->o->f32 ? "f32" : "f16", "teacher", info->teacher_sha256, "tokenizer", info->tokenizer_sha256, "template",
        info->template_sha256, "data", info->data_sha256, "shards", m->shards, "teacher_path", lmf_json_string(m->o->teacher->path));
    lmf_buf_init(&text, m->ctx, MAX_MANIFEST);
    *out = *info;
    out->n_labels = m->n_labels;
    lmf_status s = root ? lmf__labels_digest(m->ctx, root, "", &text) : LMF_NO_MEMORY(m->ctx, 4096, "a manifest");
    s = s ? s : lmf_sha256_hex(m->ctx, lmf_buf_str(&text), text.n, out->digest);
    s = s ? s : lmf__labels_digest(m->ctx, root, out->digest, &text);
    s = s ? s : lmf_path_join(m->ctx, path, sizeof path, m->o->dir, "manifest.json");
    s = s ? s : lmf_file_write(m->ctx, path, lmf_buf_str(&text), text.n);
    lmf_buf_clear(&text);
    json_decref(root);
    return s ? s : lmf_dir_sync(m->ctx, m->o->dir);
}

/* Tokens that both heads have. */
static int32_t n_tokens(const lmf_labels_make *o)
{
    int32_t a = lmf_model_config(o->teacher)->vocab, b = o->reader ? lmf_model_config(o->reader)->vocab : a;
    return a < b ? a : b;
}

static lmf_status make_all(making *m, lmf_labels_info *out)
{
    const lmf_labels_make *o = m->o;
    const lmf_model *reader = o->reader ? o->reader : o->teacher;
    lmf_labels_info info = { .k = o->k, .n_vocab = n_tokens(o), .temperature = o->temperature, .clock_unix = o->clock_unix };
    char name[512];
    size_t label_bytes = (size_t)o->k * 8 + 4;
    if (o->k < 1 || o->k > info.n_vocab)
        return LMF_FAIL(m->ctx, LMF_E_ARG, "--top-k is %d, and the vocabulary has %d tokens", o->k, info.n_vocab);
    if (o->samples->longest > lmf_model_config(o->teacher)->context)
        return LMF_FAIL(m->ctx, LMF_E_LIMIT,
                        "the teacher reads at most %d tokens, and the longest row has %d: give --seq-len and --too-long",
                        lmf_model_config(o->teacher)->context, o->samples->longest);
    LMF_TRY(lmf_dir_create(m->ctx, o->dir));
    if (!lmf_dir_is_empty(o->dir))
        return LMF_FAIL(m->ctx, LMF_E_EXISTS, "--output %s is not empty; choose another folder", lmf_plain_text(o->dir, name, sizeof name));
    LMF_TRY(lmf__labels_identity(m->ctx, reader, o->samples, &info));
    LMF_TRY(lmf_weights_sha256(o->teacher->weights, info.teacher_sha256));
    m->cap = o->shard_labels > 0 ? o->shard_labels : SHARD_BYTES / (int64_t)label_bytes + 1;
    m->id = lmf_alloc(m->ctx, (size_t)m->cap * label_bytes);
    m->heap = lmf_alloc(m->ctx, (size_t)o->k * sizeof *m->heap);
    m->shards = json_array();
    if (!m->id || !m->heap || !m->shards)
        return LMF_NO_MEMORY(m->ctx, (size_t)m->cap * label_bytes, "labels");
    m->logp = (float *)(void *)(m->id + m->cap * o->k), m->rest = m->logp + m->cap * o->k;
    LMF_TRY(lmf_scorer_create(m->ctx, o->teacher, &(lmf_scorer_opts){ .device = o->device, .compute = o->compute,
        .max_tok = o->samples->longest > 2 ? o->samples->longest : 2, .logits = true }, &m->scorer));
    LMF_TRY(label_samples(m, info.n_vocab));
    return write_manifest(m, &info, out);
}

lmf_status lmf_labels_write(lmf_ctx *ctx, const lmf_labels_make *o, lmf_labels_info *out)
{
    making m = { .ctx = ctx, .o = o };
    lmf_status s = make_all(&m, out);
    lmf_scorer_destroy(m.scorer);
    if (m.id)
        lmf_free(ctx, m.id, (size_t)m.cap * ((size_t)o->k * 8 + 4));
    if (m.heap)
        lmf_free(ctx, m.heap, (size_t)o->k * sizeof *m.heap);
    json_decref(m.shards);
    return s;
}
