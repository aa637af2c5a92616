/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: every count of a file is bounded by the bytes left before anything is allocated for it; sums are finite and not negative.
 * Layouts: llama.cpp's tools/imatrix and common/imatrix-loader. */
#include "compress/imatrix.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "base/output.h"
#include "format/gguf.h"
#include "format/reader.h"

enum { MOST_COLUMNS = 1 << 24, MOST_ENTRIES = 1 << 20, MOST_NAME = 256 };
static const char sums_end[] = ".in_sum2", counts_end[] = ".counts";

lmf_status lmf_imatrix_create(lmf_ctx *ctx, lmf_imatrix **out)
{
    if (!(*out = lmf_new(ctx, lmf_imatrix)))
        return LMF_NO_MEMORY(ctx, sizeof **out, "an importance matrix");
    (*out)->ctx = ctx;
    lmf_arena_init(&(*out)->arena, ctx, LMF_POWER2(34));
    lmf_name_index_init(&(*out)->names, ctx);
    return LMF_OK;
}

void lmf_imatrix_close(lmf_imatrix *im)
{
    if (!im)
        return;
    lmf_free(im->ctx, im->items, (size_t)im->cap * sizeof *im->items);
    lmf_name_index_clear(&im->names);
    lmf_arena_clear(&im->arena);
    lmf_delete(im->ctx, im);
}

const lmf_imatrix_entry *lmf_imatrix_find(const lmf_imatrix *im, const char *name)
{
    int32_t i = lmf_name_index_find(&im->names, name);
    return i < 0 ? NULL : &im->items[i];
}

lmf_status lmf_imatrix_add(lmf_imatrix *im, const char *name, int64_t k, lmf_imatrix_entry **out)
{
    int32_t i = lmf_name_index_find(&im->names, name);
    if (i >= 0) {
        *out = &im->items[i];
        return LMF_OK;
    }
    if (im->n == im->cap) {
        int32_t cap = im->cap ? 2 * im->cap : 64;
        lmf_imatrix_entry *p = lmf_realloc(im->ctx, im->items, (size_t)im->cap * sizeof *p, (size_t)cap * sizeof *p);
        if (!p)
            return LMF_NO_MEMORY(im->ctx, (size_t)cap * sizeof *p, "an importance matrix");
        im->items = p, im->cap = cap;
    }
    const char *own = lmf_arena_strdup(&im->arena, name);
    float *sums = lmf_arena_array(&im->arena, (size_t)k, sizeof *sums);
    if (!own || !sums)
        return LMF_NO_MEMORY(im->ctx, (size_t)k * sizeof *sums, "an importance matrix");
    memset(sums, 0, (size_t)k * sizeof *sums);
    LMF_TRY(lmf_name_index_add(&im->names, own, im->n));
    *out = &im->items[im->n++];
    **out = (lmf_imatrix_entry){ own, k, 0, sums };
    return LMF_OK;
}

static lmf_status check_sums(const lmf_imatrix *im, const char *path, const lmf_imatrix_entry *e)
{
    for (int64_t i = 0; i < e->k; i++)
        if (!(e->sum2[i] >= 0 && e->sum2[i] <= 3e38f))
            return LMF_FAIL(im->ctx, LMF_E_FORMAT, "%s: %s has a sum of squares that is none", path, e->name);
    return LMF_OK;
}

/* ---- GGUF ---- */
static lmf_status read_pair(lmf_imatrix *im, const char *path, const lmf_gguf *g, const lmf_gguf_tensor *t)
{
    char name[MOST_NAME + 16];
    float count;
    lmf_imatrix_entry *e;
    size_t n = strlen(t->name) - strlen(sums_end);
    if (n == 0 || n > MOST_NAME)
        return LMF_FAIL(im->ctx, LMF_E_FORMAT, "%s: the name %.60s is empty or too long", path, t->name);
    snprintf(name, sizeof name, "%.*s%s", (int)n, t->name, counts_end);
    const lmf_gguf_tensor *c = lmf_gguf_tensor_find(g, name);
    int64_t rows = 1;
    for (int i = 0; i + 1 < t->n_dims; i++)
        rows *= t->dim[i];
    if (!c || c->dtype != LMF_F32 || t->dtype != LMF_F32 || c->bytes < sizeof count)
        return LMF_FAIL(im->ctx, LMF_E_FORMAT, "%s: %.*s has no counts, or sums that are not f32", path, (int)n, t->name);
    if (rows != 1)
        return LMF_FAIL(im->ctx, LMF_E_UNSUPPORTED, "%s: %.*s has sums of %lld experts; such models are not supported", path, (int)n,
                        t->name, (long long)rows);
    memcpy(&count, c->data, sizeof count);
    if (!(count >= 1 && count < 0x1p53f))
        return LMF_FAIL(im->ctx, LMF_E_FORMAT, "%s: %.*s was counted over %g tokens", path, (int)n, t->name, (double)count);
    name[n] = 0;
    LMF_TRY(lmf_imatrix_add(im, name, t->dim[t->n_dims - 1], &e));
    e->n_tok = (int64_t)count;
    memcpy(e->sum2, t->data, (size_t)e->k * sizeof *e->sum2);
    return check_sums(im, path, e);
}

static lmf_status read_gguf(lmf_imatrix *im, const char *path)
{
    lmf_gguf *g;
    uint32_t chunk = 0;
    lmf_status s = LMF_OK;
    LMF_TRY(lmf_gguf_open(im->ctx, path, &g));
    if (lmf_gguf_find(g, "imatrix.chunk_size"))
        s = lmf_gguf_get_u32(g, "imatrix.chunk_size", &chunk);
    im->chunk_tok = (int32_t)(chunk < 1 << 30 ? chunk : 0);
    for (size_t i = 0; !s && i < lmf_gguf_n_tensors(g); i++) {
        const lmf_gguf_tensor *t = lmf_gguf_tensor_at(g, i);
        size_t n = strlen(t->name), end = sizeof sums_end - 1;
        if (n >= end && strcmp(t->name + n - end, sums_end) == 0)
            s = read_pair(im, path, g, t);
    }
    lmf_gguf_close(g);
    return s;
}

/* ---- the older form: names, calls and means times calls ---- */
static lmf_status read_entry(lmf_imatrix *im, lmf_reader *r, const char *path)
{
    uint32_t len, calls, k;
    const uint8_t *p;
    char name[MOST_NAME + 1];
    lmf_imatrix_entry *e;
    LMF_TRY(lmf_reader_u32(r, "the length of a name", &len));
    if (len > MOST_NAME)
        return lmf_reader_fail(r, "a name of %u bytes", len);
    LMF_TRY(lmf_reader_view(r, "a name", len, &p));
    if (!lmf_name_is_clean((const char *)p, len, MOST_NAME))
        return lmf_reader_fail(r, "a name is empty or holds control characters");
    memcpy(name, p, len);
    name[len] = 0;
    LMF_TRY(lmf_reader_u32(r, "a number of calls", &calls));
    LMF_TRY(lmf_reader_u32(r, "a number of columns", &k));
    if (calls < 1 || calls > INT32_MAX || k < 1 || k > MOST_COLUMNS)
        return lmf_reader_fail(r, "%s has %u columns and %u calls", name, k, calls);
    LMF_TRY(lmf_reader_view(r, name, (uint64_t)k * sizeof(float), &p));
    LMF_TRY(lmf_imatrix_add(im, name, k, &e));
    if (e->k != (int64_t)k)
        return lmf_reader_fail(r, "%s is there twice, with %lld and %u columns", name, (long long)e->k, k);
    e->n_tok = calls; /* a call stands for a window; the mean is what counts */
    memcpy(e->sum2, p, (size_t)k * sizeof *e->sum2);
    return check_sums(im, path, e);
}

static lmf_status read_dat(lmf_imatrix *im, const char *path, const lmf_map *map)
{
    lmf_reader r;
    uint32_t n;
    lmf_reader_init(&r, im->ctx, map->data, map->n, path);
    LMF_TRY(lmf_reader_u32(&r, "the number of matrices", &n));
    if (n < 1 || n > MOST_ENTRIES || n > lmf_reader_left(&r) / 16)
        return lmf_reader_fail(&r, "no importance matrix, in GGUF or in llama.cpp's older form: %u matrices are said", n);
    for (uint32_t i = 0; i < n; i++)
        LMF_TRY(read_entry(im, &r, path));
    return LMF_OK;
}

lmf_status lmf_imatrix_read(lmf_ctx *ctx, const char *path, lmf_imatrix **out)
{
    lmf_map map;
    LMF_TRY(lmf_imatrix_create(ctx, out));
    lmf_status s = lmf_file_map(ctx, path, &map);
    if (!s) {
        s = map.n >= 4 && memcmp(map.data, "GGUF", 4) == 0 ? read_gguf(*out, path) : read_dat(*out, path, &map);
        lmf_file_unmap(&map);
    }
    if (!s && (*out)->n == 0)
        s = LMF_FAIL(ctx, LMF_E_FORMAT, "%s holds no importance matrix: no tensor is called NAME%s", path, sums_end);
    if (s) {
        lmf_imatrix_close(*out);
        *out = NULL;
    }
    return s;
}

static lmf_status write_all(lmf_imatrix *im, lmf_gguf_writer *w)
{
    char name[MOST_NAME + 16];
    lmf_bytes dataset = { im->dataset ? im->dataset : "", im->dataset ? strlen(im->dataset) : 0 };
    int64_t most = 0;
    for (int32_t i = 0; i < im->n; i++)
        most = im->items[i].n_tok > most ? im->items[i].n_tok : most;
    LMF_TRY(lmf_gguf_put_text(w, "general.type", "imatrix"));
    LMF_TRY(lmf_gguf_put_strings(w, "imatrix.datasets", &dataset, 1));
    LMF_TRY(lmf_gguf_put_u32(w, "imatrix.chunk_count", (uint32_t)(im->chunk_tok ? most / im->chunk_tok : 1)));
    LMF_TRY(lmf_gguf_put_u32(w, "imatrix.chunk_size", (uint32_t)im->chunk_tok));
    for (int32_t i = 0; i < im->n; i++) {
        snprintf(name, sizeof name, "%s%s", im->items[i].name, sums_end);
        LMF_TRY(lmf_gguf_add_tensor(w, name, LMF_F32, (int64_t[]){ 1, im->items[i].k }, 2));
        snprintf(name, sizeof name, "%s%s", im->items[i].name, counts_end);
        LMF_TRY(lmf_gguf_add_tensor(w, name, LMF_F32, (int64_t[]){ 1, 1 }, 2));
    }
    LMF_TRY(lmf_gguf_begin(w));
    for (int32_t i = 0; i < im->n; i++) {
        float count = (float)im->items[i].n_tok;
        LMF_TRY(lmf_gguf_write(w, im->items[i].sum2, (size_t)im->items[i].k * sizeof(float)));
        LMF_TRY(lmf_gguf_write(w, &count, sizeof count));
    }
    return lmf_gguf_commit(w);
}

lmf_status lmf_imatrix_write(lmf_imatrix *im, const char *path)
{
    lmf_gguf_writer *w;
    lmf_output_kind kind = lmf_output_stat(path);
    if (kind != LMF_OUTPUT_NONE)
        return LMF_FAIL(im->ctx, LMF_E_EXISTS, "%s is %s already; it is left alone, choose another name", path, lmf_output_word(kind));
    LMF_TRY(lmf_gguf_writer_create(im->ctx, path, &w));
    lmf_status s = write_all(im, w);
    lmf_gguf_writer_destroy(w);
    return s;
}
