/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what is written depends on documents, tokenizer and options alone, not on how many workers there were: they tokenize a block of
 * documents in any order, and one hand writes it in theirs. */
#include "data/shards.h"
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "base/team.h"

enum { FOOTER_BYTES = 32, MAX_FILES = 100000, BLOCK_DOCS = 4096 };
static const char magic[8] = { 'L', 'M', 'F', 'T', 'O', 'K', '0', '1' };
static const int64_t block_bytes = 8 << 20; /* of rows that are tokenized before they are written */

lmf_status lmf_document_text(const lmf_document *d, json_t **row, const char **text, size_t *n)
{
    LMF_TRY(lmf_row_get(d->rows, d->i_row, row));
    const json_t *value = json_object_get(*row, "text");
    if (json_is_string(value)) {
        *text = json_string_value(value), *n = json_string_length(value);
        return LMF_OK;
    }
    json_decref(*row);
    *row = NULL;
    return LMF_FAIL(d->rows->ctx, LMF_E_FORMAT, "%s, %s %lld: pre-training takes plain text, or rows with the key \"text\"", d->rows->path,
                    d->rows->unit, (long long)d->rows->items[d->i_row].line);
}

/* ---- writing ---- */
typedef struct piece { int i_worker; size_t at, n, n_text; } piece; /* ids of a document among those of its worker */

typedef struct block {
    lmf_ctx *ctx;
    const lmf_tokenizer *tokenizer;
    const lmf_document *doc;
    int64_t n;
    int32_t border;
    piece *out;              /* [n] */
    lmf_ids *ids;            /* [workers] */
    _Atomic int64_t next;
    _Atomic int failed;      /* the first status */
} block;

static lmf_status encode(block *b, int64_t i, int i_worker)
{
    lmf_ids *ids = &b->ids[i_worker];
    json_t *row;
    const char *text;
    size_t n;
    LMF_TRY(lmf_document_text(&b->doc[i], &row, &text, &n));
    b->out[i] = (piece){ i_worker, ids->n, 0, n };
    lmf_status s = lmf_ids_append(ids, &b->border, 1);
    if (!s)
        s = lmf_tokenizer_encode(b->tokenizer, text, n, 0, ids);
    if (!s)
        s = lmf_ids_append(ids, &b->border, 1);
    b->out[i].n = ids->n - b->out[i].at;
    json_decref(row);
    return s;
}

static void work(void *arg, int i_worker, int n_workers)
{
    block *b = arg;
    (void)n_workers;
    for (int64_t i; !atomic_load(&b->failed) && (i = atomic_fetch_add(&b->next, 1)) < b->n;) {
        lmf_status s = encode(b, i, i_worker);
        int none = 0;
        if (s)
            atomic_compare_exchange_strong(&b->failed, &none, (int)s);
    }
}

typedef struct file { lmf_ctx *ctx; const lmf_shards_opts *o; lmf_writer w; bool open; lmf_buf ends; int64_t n_files; uint64_t docs, ids,
    text; } file;

static lmf_status put(file *f, const void *p, size_t n) { return lmf_writer_write(&f->w, p, n); }

static lmf_status begin_file(file *f)
{
    char path[4096];
    if ((size_t)snprintf(path, sizeof path, "%s/%s-%05lld.tokens", f->o->dir, f->o->name, (long long)f->n_files) >= sizeof path ||
        f->n_files == MAX_FILES)
        return LMF_FAIL(f->ctx, LMF_E_LIMIT, "too many shards below %.100s", f->o->dir);
    LMF_TRY(lmf_writer_open(f->ctx, path, &f->w));
    f->open = true, f->docs = f->ids = f->text = 0;
    lmf_buf_truncate(&f->ends, 0);
    return LMF_OK;
}

static lmf_status end_file(file *f)
{
    const int32_t pad = 0;
    const uint64_t footer[3] = { f->docs, f->ids, f->text };
    if (f->ids % 2)
        LMF_TRY(put(f, &pad, sizeof pad));
    LMF_TRY(put(f, f->ends.data, f->ends.n));
    LMF_TRY(put(f, footer, sizeof footer));
    LMF_TRY(put(f, magic, sizeof magic));
    LMF_TRY(lmf_writer_commit(&f->w));
    f->open = false;
    f->n_files++;
    return LMF_OK;
}

static lmf_status add_document(file *f, const int32_t *id, size_t n, size_t n_text, lmf_shards_counts *out)
{
    if (!f->open)
        LMF_TRY(begin_file(f));
    LMF_TRY(put(f, id, n * sizeof *id));
    f->docs++, f->ids += n, f->text += n_text;
    LMF_TRY(lmf_buf_append(&f->ends, &f->ids, sizeof f->ids));
    out->n_docs++, out->n_tok += (int64_t)n, out->n_learn += (int64_t)n - 1, out->n_text_bytes += (int64_t)n_text;
    return (int64_t)f->ids >= (f->o->shard_tok ? f->o->shard_tok : (int64_t)1 << 26) ? end_file(f) : LMF_OK;
}

static lmf_status write_blocks(lmf_team *team, block *b, const lmf_document *doc, int64_t n, file *f, lmf_shards_counts *out)
{
    for (int64_t at = 0; at < n; at += b->n) {
        int64_t bytes = 0;
        if (f->o->progress && f->o->progress(f->o->user, at, n))
            return LMF_E_CANCELLED;
        for (b->n = 0; at + b->n < n && b->n < BLOCK_DOCS && bytes < block_bytes; b->n++)
            bytes += (int64_t)doc[at + b->n].rows->items[doc[at + b->n].i_row].n;
        b->doc = doc + at;
        atomic_store(&b->next, 0);
        for (int i = 0; i < lmf_team_size(team); i++)
            b->ids[i].n = 0;
        lmf_team_run(team, work, b);
        if (atomic_load(&b->failed))
            return (lmf_status)atomic_load(&b->failed);
        for (int64_t i = 0; i < b->n; i++)
            LMF_TRY(add_document(f, b->ids[b->out[i].i_worker].data + b->out[i].at, b->out[i].n, b->out[i].n_text, out));
    }
    if (f->open)
        LMF_TRY(end_file(f));
    return f->o->progress && f->o->progress(f->o->user, n, n) ? LMF_E_CANCELLED : LMF_OK;
}

lmf_status lmf_shards_write(lmf_ctx *ctx, const lmf_tokenizer *tokenizer, const lmf_document *doc, int64_t n, const lmf_shards_opts *opts,
                            lmf_shards_counts *out)
{
    lmf_team *team;
    int n_workers = ctx->n_workers;
    file f = { .ctx = ctx, .o = opts };
    block b = { .ctx = ctx, .tokenizer = tokenizer, .border = opts->border };
    memset(out, 0, sizeof *out);
    LMF_TRY(lmf_team_create(ctx, n_workers, &team));
    lmf_buf_init(&f.ends, ctx, LMF_POWER2(34));
    b.out = lmf_alloc(ctx, BLOCK_DOCS * sizeof *b.out);
    b.ids = lmf_alloc(ctx, (size_t)n_workers * sizeof *b.ids);
    lmf_status s = b.out && b.ids ? LMF_OK : LMF_NO_MEMORY(ctx, BLOCK_DOCS * sizeof *b.out, "documents");
    for (int i = 0; b.ids && i < n_workers; i++)
        lmf_ids_init(&b.ids[i], ctx, LMF_POWER2(32));
    if (!s)
        s = write_blocks(team, &b, doc, n, &f, out);
    if (f.open)
        lmf_writer_abandon(&f.w);
    out->n_files = f.n_files;
    for (int i = 0; b.ids && i < n_workers; i++) {
        out->n_dropped += (int64_t)b.ids[i].n_dropped;
        lmf_ids_clear(&b.ids[i]);
    }
    lmf_free(ctx, b.ids, (size_t)n_workers * sizeof *b.ids);
    lmf_free(ctx, b.out, BLOCK_DOCS * sizeof *b.out);
    lmf_buf_clear(&f.ends);
    lmf_team_destroy(team);
    return s;
}

/* ---- reading ---- */
typedef struct shard { const int32_t *id; const uint8_t *end; uint64_t n_docs, n_ids, n_text; } shard;

static uint64_t u64_at(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static lmf_status bad(lmf_ctx *ctx, const char *path, const char *why)
{
    return LMF_FAIL(ctx, LMF_E_FORMAT, "%s is no shard of tokens, or damaged (%s); prepare the text again", path, why);
}

static lmf_status check(lmf_ctx *ctx, const char *path, const lmf_map *map, int32_t vocab, shard *out)
{
    if (map->n < FOOTER_BYTES || map->n % 8 || memcmp(map->data + map->n - 8, magic, 8))
        return bad(ctx, path, "its end is missing");
    const uint8_t *footer = map->data + map->n - FOOTER_BYTES;
    *out = (shard){ .id = (const int32_t *)(const void *)map->data, .n_docs = u64_at(footer), .n_ids = u64_at(footer + 8),
                    .n_text = u64_at(footer + 16) };
    uint64_t left = (map->n - FOOTER_BYTES) / 8;
    if (out->n_docs > left || (out->n_ids + 1) / 2 != left - out->n_docs || out->n_ids > INT64_MAX / 8 || out->n_text > INT64_MAX)
        return bad(ctx, path, "its counts");
    out->end = footer - 8 * out->n_docs;
    uint64_t before = 0;
    for (uint64_t i = 0; i < out->n_docs; i++) {
        uint64_t end = u64_at(out->end + 8 * i);
        if (end < before + 2 || end > out->n_ids)
            return bad(ctx, path, "its documents");
        before = end;
    }
    if (before != out->n_ids)
        return bad(ctx, path, "its documents");
    for (uint64_t i = 0; i < out->n_ids; i++)
        if (out->id[i] < 0 || out->id[i] >= vocab)
            return bad(ctx, path, "a token that the vocabulary doesn't have");
    return LMF_OK;
}

/* Documents in pieces. */
static lmf_status add_samples(lmf_shards *s, const shard *f, const uint8_t *learn, int32_t seq_tok, int i_file)
{
    lmf_samples *all = s->samples;
    uint64_t begin = 0, end;
    for (uint64_t i = 0; i < f->n_docs; i++, begin = end, s->n_docs++) {
        end = u64_at(f->end + 8 * i);
        for (uint64_t at = begin; at + 1 < end; at += (uint64_t)seq_tok - 1) {
            int32_t n = (int32_t)(end - at < (uint64_t)seq_tok ? end - at : (uint64_t)seq_tok);
            if (all->n == all->cap) {
                int64_t cap = all->cap ? 2 * all->cap : 1024;
                lmf_sample *items = lmf_arena_array(&all->arena, (size_t)cap, sizeof *items);
                if (!items)
                    return LMF_NO_MEMORY(s->ctx, (size_t)cap * sizeof *items, "pieces of documents");
                if (all->n)
                    memcpy(items, all->items, (size_t)all->n * sizeof *items);
                all->items = items, all->cap = cap;
            }
            all->items[all->n++] = (lmf_sample){ .id = f->id + at, .learn = learn, .n = n, .n_learn = n - 1, .line = s->n_docs + 1,
                                                 .i_row = s->n_docs, .i_file = i_file };
            all->n_tok += n, all->n_learn += n - 1;
            all->longest = n > all->longest ? n : all->longest;
        }
    }
    s->n_text_bytes += (int64_t)f->n_text;
    return LMF_OK;
}

static lmf_status open_files(lmf_shards *s, const char *dir, const char *name, int32_t vocab, int32_t seq_tok)
{
    char path[4096];
    shard f;
    uint8_t *learn = lmf_arena_alloc(&s->samples->arena, (size_t)seq_tok);
    s->map = lmf_arena_array(&s->samples->arena, MAX_FILES, sizeof *s->map);
    if (!learn || !s->map)
        return LMF_NO_MEMORY(s->ctx, MAX_FILES * sizeof *s->map, "shards");
    memset(learn + 1, 1, (size_t)seq_tok - 1); /* nothing predicts the first id of a piece */
    for (;; s->n_files++) {
        if ((size_t)snprintf(path, sizeof path, "%s/%s-%05d.tokens", dir, name, s->n_files) >= sizeof path)
            return LMF_FAIL(s->ctx, LMF_E_LIMIT, "the path of the shards is too long");
        if (s->n_files == MAX_FILES || lmf_path_stat(path) == LMF_PATH_NONE)
            return LMF_OK;
        LMF_TRY(lmf_file_map(s->ctx, path, &s->map[s->n_files]));
        lmf_status r = check(s->ctx, path, &s->map[s->n_files], vocab, &f);
        if (!r)
            r = add_samples(s, &f, learn, seq_tok, s->n_files);
        if (r) {
            lmf_file_unmap(&s->map[s->n_files]);
            return r;
        }
    }
}

lmf_status lmf_shards_open(lmf_ctx *ctx, const char *dir, const char *name, int32_t vocab, int32_t seq_tok, lmf_shards **out)
{
    *out = NULL;
    lmf_shards *s = lmf_new(ctx, lmf_shards);
    lmf_samples *samples = s ? lmf_new(ctx, lmf_samples) : NULL;
    if (!samples) {
        lmf_delete(ctx, s);
        return LMF_NO_MEMORY(ctx, sizeof *s, "shards");
    }
    s->ctx = samples->ctx = ctx, s->samples = samples;
    lmf_arena_init(&samples->arena, ctx, LMF_POWER2(40));
    lmf_status r = open_files(s, dir, name, vocab, seq_tok);
    if (!r && !s->n_files)
        r = LMF_FAIL(ctx, LMF_E_NOT_FOUND, "%s holds no %s-00000.tokens", dir, name);
    if (r)
        lmf_shards_close(s);
    else
        *out = s;
    return r;
}

void lmf_shards_close(lmf_shards *s)
{
    if (!s)
        return;
    lmf_ctx *ctx = s->ctx;
    for (int i = 0; i < s->n_files; i++)
        lmf_file_unmap(&s->map[i]);
    lmf_samples_destroy(s->samples);
    lmf_delete(ctx, s);
}
