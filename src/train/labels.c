/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: nothing of a shard is used before its hash held, and every number of it is looked at all the same. */
#include "train/labels.h"
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/half.h"
#include "base/plain.h"
#include "format/safetensors.h"

enum { MAX_SHARDS = 1 << 16, MAX_MANIFEST = 1 << 24, VERSION = 1 };

typedef struct shard { char file[64]; int64_t first, n; off_t id, logp, rest; } shard; /* labels; where their tensors begin */
struct lmf_labels {
    lmf_ctx *ctx;
    lmf_arena arena;
    lmf_labels_info info;
    char    dir[4096];
    shard  *shards; int n_shards, i_open, fd;
    bool    f32;
    int64_t *first;                  /* [samples + 1] of lmf_labels_fit */
    int64_t most;
};

int64_t lmf_labels_of(const lmf_sample *s)
{
    int64_t n = 0;
    for (int32_t i = 1; i < s->n; i++)
        n += s->learn[i];
    return n;
}

lmf_status lmf__labels_digest(lmf_ctx *ctx, json_t *root, const char *digest, lmf_buf *text)
{
    lmf_buf_truncate(text, 0);
    if (json_object_set_new(root, "digest", json_string(digest)))
        return LMF_NO_MEMORY(ctx, 1024, "a manifest");
    return lmf_json_text(ctx, root, JSON_SORT_KEYS | JSON_INDENT(1) | JSON_REAL_PRECISION(17), text);
}

lmf_status lmf__labels_identity(lmf_ctx *ctx, const lmf_model *reader, const lmf_samples *samples, lmf_labels_info *info)
{
    lmf_buf b;
    lmf_buf_init(&b, ctx, SIZE_MAX / 8);
    const lmf_tokenizer *t = reader->tokenizer;
    for (int32_t i = 0; i < (int32_t)lmf_tokenizer_n_tokens(t); i++) {
        size_t n = 0;
        const uint8_t *p = lmf_tokenizer_piece(t, i, &n);
        if (lmf_tokenizer_kind(t, i) == LMF_TOKEN_UNUSED) /* padding that one file names and another does not */
            continue;
        lmf_buf_append(&b, &i, sizeof i);
        lmf_buf_append(&b, &n, sizeof n);
        lmf_buf_append(&b, p, p ? n : 0);
    }
    lmf_status s = b.status ? b.status : lmf_sha256_hex(ctx, lmf_buf_str(&b), b.n, info->tokenizer_sha256);
    lmf_buf_clear(&b);
    const char *template = reader->chat_source ? reader->chat_source : "";
    if (!s)
        s = lmf_sha256_hex(ctx, template, strlen(template), info->template_sha256);
    return s ? s : lmf_samples_sha256(samples, ctx, info->data_sha256);
}

/* ---- opening ---- */
static lmf_status bad(const lmf_labels *l, const char *file, const char *why)
{
    char dir[512];
    return LMF_FAIL(l->ctx, LMF_E_FORMAT, "%s/%s %s; make the labels again with lmfast teacher-labels",
                    lmf_plain_text(l->dir, dir, sizeof dir), file, why);
}

static bool hash_from(const json_t *root, const char *key, char out[65])
{
    const char *text = json_string_value(json_object_get(root, key));
    if (!text || strlen(text) != 64)
        return false;
    memcpy(out, text, 65);
    return true;
}

static lmf_status read_manifest(lmf_labels *l, json_t *root)
{
    char digest[65];
    lmf_buf text;
    int64_t version = 0, k = 0, vocab = 0;
    lmf_labels_info *o = &l->info;
    const char *type = json_string_value(json_object_get(root, "type"));
    bool whole = json_is_string(json_object_get(root, "digest")) && hash_from(root, "digest", o->digest) &&
        hash_from(root, "teacher", o->teacher_sha256) && hash_from(root, "tokenizer", o->tokenizer_sha256) &&
        hash_from(root, "template", o->template_sha256) && hash_from(root, "data", o->data_sha256) && type &&
        (!strcmp(type, "f16") || !strcmp(type, "f32"));
    if (!whole)
        return bad(l, "manifest.json", "is no manifest of a teacher's labels");
    lmf_buf_init(&text, l->ctx, MAX_MANIFEST);
    lmf_status s = lmf__labels_digest(l->ctx, root, "", &text);
    if (!s)
        s = lmf_sha256_hex(l->ctx, lmf_buf_str(&text), text.n, digest);
    lmf_buf_clear(&text);
    LMF_TRY(s);
    if (strcmp(digest, o->digest))
        return bad(l, "manifest.json", "was changed after it was written");
    LMF_TRY(lmf_json_get_i64(l->ctx, root, "version", &version));
    LMF_TRY(lmf_json_get_i64(l->ctx, root, "top_k", &k));
    LMF_TRY(lmf_json_get_i64(l->ctx, root, "vocabulary", &vocab));
    LMF_TRY(lmf_json_get_i64(l->ctx, root, "labels", &o->n_labels));
    LMF_TRY(lmf_json_get_i64(l->ctx, root, "clock_unix", &o->clock_unix));
    LMF_TRY(lmf_json_get_f64(l->ctx, root, "temperature", &o->temperature));
    if (version != VERSION || vocab < 1 || vocab > INT32_MAX || k < 1 || k > vocab || !(o->temperature > 0) || o->n_labels < 0)
        return bad(l, "manifest.json", "has numbers that no labels have");
    o->k = (int32_t)k, o->n_vocab = (int32_t)vocab, l->f32 = !strcmp(type, "f32");
    return LMF_OK;
}

/* Where the tensors of a shard lie in it. Its hash holds. */
static lmf_status place_shard(lmf_labels *l, shard *s, const char *path, uint64_t n_bytes)
{
    lmf_safetensors *st;
    lmf_status status = lmf_safetensors_open(l->ctx, path, &st);
    LMF_TRY(status);
    const lmf_st_tensor *id = lmf_safetensors_find(st, "id"), *logp = lmf_safetensors_find(st, "logp");
    const lmf_st_tensor *rest = lmf_safetensors_find(st, "rest");
    uint16_t type = l->f32 ? LMF_F32 : LMF_F16;
    int64_t k = l->info.k;
    if (!id || !logp || !rest || lmf_safetensors_n(st) != 3 || id->dtype != LMF_I32 || logp->dtype != type || rest->dtype != type ||
        id->n_dims != 2 || id->dim[0] != s->n || id->dim[1] != k || logp->n_dims != 2 || logp->dim[0] != s->n || logp->dim[1] != k ||
        rest->n_dims != 1 || rest->dim[0] != s->n) {
        status = bad(l, s->file, "holds other tensors than its manifest says");
    } else { /* data end with the file */
        const uint8_t *begin = id->data < logp->data ? id->data : logp->data;
        begin = rest->data < begin ? rest->data : begin;
        off_t at = (off_t)(n_bytes - id->bytes - logp->bytes - rest->bytes);
        s->id = at + (id->data - begin), s->logp = at + (logp->data - begin), s->rest = at + (rest->data - begin);
    }
    lmf_safetensors_close(st);
    return status;
}

static lmf_status open_shards(lmf_labels *l, const json_t *list)
{
    char path[4200], sha[65], want[65];
    uint64_t n_bytes;
    size_t i, n = json_array_size(list);
    const json_t *item;
    int64_t first = 0;
    if (n > MAX_SHARDS || !(l->shards = lmf_arena_array(&l->arena, n ? n : 1, sizeof *l->shards)))
        return bad(l, "manifest.json", "names too many shards");
    json_array_foreach(list, i, item) {
        shard *s = &l->shards[l->n_shards++];
        const char *file = json_string_value(json_object_get(item, "file"));
        s->n = json_integer_value(json_object_get(item, "labels"));
        s->first = first;
        if (!file || strlen(file) >= sizeof s->file || strchr(file, '/') || s->n < 1 || s->n > l->info.n_labels - first ||
            !hash_from(item, "sha256", want))
            return bad(l, "manifest.json", "names a shard that can't be");
        snprintf(s->file, sizeof s->file, "%s", file);
        LMF_TRY(lmf_path_join(l->ctx, path, sizeof path, l->dir, file));
        LMF_TRY(lmf_file_sha256(l->ctx, path, sha, &n_bytes));
        if (strcmp(sha, want))
            return bad(l, file, "is damaged: its hash is not the one in manifest.json");
        LMF_TRY(place_shard(l, s, path, n_bytes));
        first += s->n;
    }
    return first == l->info.n_labels ? LMF_OK : bad(l, "manifest.json", "names fewer labels than it counts");
}

lmf_status lmf_labels_open(lmf_ctx *ctx, const char *dir, lmf_labels **out)
{
    char path[4200], name[512];
    json_t *root = NULL;
    *out = NULL;
    lmf_labels *l = lmf_new(ctx, lmf_labels);
    if (!l)
        return LMF_NO_MEMORY(ctx, sizeof *l, "labels");
    l->ctx = ctx, l->fd = l->i_open = -1;
    lmf_arena_init(&l->arena, ctx, LMF_POWER2(34));
    lmf_status s = strlen(dir) < sizeof l->dir ? lmf_path_join(ctx, path, sizeof path, dir, "manifest.json") :
                   LMF_FAIL(ctx, LMF_E_LIMIT, "a path of %zu bytes", strlen(dir));
    snprintf(l->dir, sizeof l->dir, "%s", dir);
    if (!s && lmf_path_stat(path) == LMF_PATH_NONE)
        s = LMF_FAIL(ctx, LMF_E_NOT_FOUND,
                     "%s holds no labels of a teacher: there is no manifest.json, which lmfast teacher-labels writes last",
                     lmf_plain_text(dir, name, sizeof name));
    if (!s)
        s = lmf_json_load(ctx, path, MAX_MANIFEST, LMF_JSON_HEADER, &root);
    if (!s)
        s = read_manifest(l, root);
    if (!s)
        s = open_shards(l, json_object_get(root, "shards"));
    json_decref(root);
    if (s)
        lmf_labels_close(l);
    else
        *out = l;
    return s;
}

void lmf_labels_close(lmf_labels *l)
{
    if (!l)
        return;
    lmf_ctx *ctx = l->ctx;
    if (l->fd >= 0)
        close(l->fd);
    lmf_arena_clear(&l->arena);
    lmf_delete(ctx, l);
}

const lmf_labels_info *lmf_labels_get_info(const lmf_labels *l) { return &l->info; }
int64_t lmf_labels_most(const lmf_labels *l) { return l->most; }

lmf_status lmf_labels_fit(lmf_labels *l, const lmf_model *student, const lmf_samples *samples)
{
    lmf_labels_info own = { 0 };
    char dir[512];
    lmf_plain_text(l->dir, dir, sizeof dir);
    LMF_TRY(lmf__labels_identity(l->ctx, student, samples, &own));
    if (strcmp(own.tokenizer_sha256, l->info.tokenizer_sha256))
        return LMF_FAIL(l->ctx, LMF_E_ARG, "the labels in %s were made with another tokenizer: their tokens are not the student's", dir);
    if (strcmp(own.data_sha256, l->info.data_sha256))
        return LMF_FAIL(l->ctx, LMF_E_ARG, "the labels in %s were made %s: the rows give other tokens here; make them again for this "
                        "student with --student", dir, strcmp(own.template_sha256, l->info.template_sha256) ? "with another chat template" :
                        "of other data, or with other settings of rows (--train-on, --seq-len, --val-set-size ...)");
    if (l->info.n_vocab > lmf_model_config(student)->vocab)
        return LMF_FAIL(l->ctx, LMF_E_ARG, "the labels in %s are of %d tokens, and the student has %d", dir, l->info.n_vocab,
                        lmf_model_config(student)->vocab);
    l->first = lmf_arena_array(&l->arena, (size_t)samples->n + 1, sizeof *l->first);
    if (!l->first)
        return LMF_NO_MEMORY(l->ctx, (size_t)samples->n * sizeof *l->first, "labels");
    for (int64_t i = 0; i < samples->n; i++) {
        int64_t n = lmf_labels_of(&samples->items[i]);
        l->first[i + 1] = l->first[i] + n;
        l->most = n > l->most ? n : l->most;
    }
    return l->first[samples->n] == l->info.n_labels ? LMF_OK : bad(l, "manifest.json", "counts other labels than its data have");
}

/* ---- reading ---- */
static lmf_status read_at(lmf_labels *l, int i_shard, off_t at, void *p, size_t n)
{
    char path[4200];
    if (l->i_open != i_shard) {
        if (l->fd >= 0)
            close(l->fd);
        LMF_TRY(lmf_path_join(l->ctx, path, sizeof path, l->dir, l->shards[i_shard].file));
        l->fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        l->i_open = l->fd < 0 ? -1 : i_shard;
        if (l->fd < 0)
            return LMF_FAIL(l->ctx, LMF_E_IO, "can't read %s: %s", path, strerror(errno));
    }
    for (size_t done = 0; done < n;) {
        ssize_t more = pread(l->fd, (char *)p + done, n - done, at + (off_t)done);
        if (more < 0 && errno == EINTR)
            continue;
        if (more <= 0)
            return bad(l, l->shards[i_shard].file, "is shorter than it was");
        done += (size_t)more;
    }
    return LMF_OK;
}

/* n values that lie behind each other, of the shard's type; those of f16 are widened from the back. */
static lmf_status read_values(lmf_labels *l, int i_shard, off_t at, int64_t begin, int64_t n, float *out)
{
    size_t size = l->f32 ? sizeof(float) : sizeof(uint16_t);
    uint16_t *half = (uint16_t *)(void *)out;
    LMF_TRY(read_at(l, i_shard, at + (off_t)((size_t)begin * size), out, (size_t)n * size));
    for (int64_t i = n - 1; i >= 0 && !l->f32; i--) {
        uint16_t h;
        memcpy(&h, half + i, sizeof h);
        out[i] = lmf_f16_to_f32(h);
    }
    return LMF_OK;
}

/* A row as one distribution again, whatever its rounding. False: it is none. */
static bool settle(const lmf_labels *l, const int32_t *id, float *logp, float *rest)
{
    int32_t k = l->info.k;
    double sum = k < l->info.n_vocab ? exp((double)*rest) : 0;
    for (int32_t i = 0; i < k; i++) {
        if (id[i] < (i ? id[i - 1] + 1 : 0) || id[i] >= l->info.n_vocab || !(logp[i] <= 0.01f))
            return false;
        sum += exp((double)logp[i]);
    }
    float all = (float)log(sum);
    if (!isfinite(all) || !(*rest <= 0.01f))
        return false;
    for (int32_t i = 0; i < k; i++)
        logp[i] -= all;
    *rest -= all;
    return true;
}

lmf_status lmf_labels_read(lmf_labels *l, int64_t i_sample, int32_t *id, float *logp, float *rest)
{
    int64_t at = l->first[i_sample], end = l->first[i_sample + 1], k = l->info.k;
    int lo = 0, hi = l->n_shards - 1;
    while (lo < hi) { /* the last shard that begins at or before at */
        int mid = (lo + hi + 1) / 2;
        if (l->shards[mid].first <= at)
            lo = mid;
        else
            hi = mid - 1;
    }
    for (; at < end; lo++) {
        const shard *s = &l->shards[lo];
        int64_t begin = at - s->first, n = end - at < s->n - begin ? end - at : s->n - begin;
        LMF_TRY(read_at(l, lo, s->id + (off_t)((size_t)(begin * k) * sizeof *id), id, (size_t)(n * k) * sizeof *id));
        LMF_TRY(read_values(l, lo, s->logp, begin * k, n * k, logp));
        LMF_TRY(read_values(l, lo, s->rest, begin, n, rest));
        for (int64_t i = 0; i < n; i++)
            if (!settle(l, id + i * k, logp + i * k, rest + i))
                return bad(l, s->file, "holds a row that is no distribution");
        at += n, id += n * k, logp += n * k, rest += n;
    }
    return LMF_OK;
}
