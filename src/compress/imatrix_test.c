/* SPDX-License-Identifier: Apache-2.0 */
#include "compress/imatrix.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "format/gguf.h"
#include "test.h"

static void write_bytes(lmf_ctx *ctx, const char *path, const void *p, size_t n) { assert_ok(ctx, lmf_file_write(ctx, path, p, n)); }

static void gguf_round_trip(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_imatrix *im, *got;
    lmf_imatrix_entry *e;
    const char *path = lmf_test_path("m.imatrix");
    assert_ok(ctx, lmf_imatrix_create(ctx, &im));
    for (int i = 0; i < 100; i++) {
        char name[64];
        snprintf(name, sizeof name, "blk.%d.attn_q.weight", i);
        assert_ok(ctx, lmf_imatrix_add(im, name, 32 + i, &e));
        e->n_tok = 1024;
        for (int k = 0; k < 32 + i; k++)
            e->sum2[k] = (float)(i * k);
    }
    im->chunk_tok = 512, im->dataset = "text.txt";
    assert_ok(ctx, lmf_imatrix_write(im, path));
    assert_refused(ctx, LMF_E_EXISTS, "left alone", lmf_imatrix_write(im, path));
    assert_ok(ctx, lmf_imatrix_read(ctx, path, &got));
    assert_int_equal(got->n, 100);
    assert_int_equal(got->chunk_tok, 512);
    lmf_gguf *g;
    uint32_t n_chunks;
    assert_ok(ctx, lmf_gguf_open(ctx, path, &g));
    assert_ok(ctx, lmf_gguf_get_u32(g, "imatrix.chunk_count", &n_chunks)); /* 1,024 tokens in chunks of 512 */
    assert_int_equal(n_chunks, 2);
    lmf_gguf_close(g);
    for (int i = 0; i < 100; i++) {
        const lmf_imatrix_entry *f = lmf_imatrix_find(got, im->items[i].name);
        assert_non_null(f);
        assert_int_equal(f->k, 32 + i);
        assert_int_equal(f->n_tok, 1024);
        assert_memory_equal(f->sum2, im->items[i].sum2, (size_t)f->k * sizeof(float));
    }
    assert_null(lmf_imatrix_find(got, "blk.100.attn_q.weight"));
    lmf_imatrix_close(got);
    lmf_imatrix_close(im);
    lmf_test_ctx_done(ctx);
}

/* llama.cpp's older form: number of entries; of each the name's length, the name, calls, columns, values; behind them the last call and the
 * text's name. */
static size_t dat(uint8_t *p, uint32_t n_entries, const char *name, uint32_t calls, uint32_t k, float value)
{
    size_t at = 0, len = strlen(name);
    const uint32_t len32 = (uint32_t)len;
    memcpy(p + at, &n_entries, 4), at += 4;
    for (uint32_t i = 0; i < n_entries && i < 2; i++) {
        memcpy(p + at, &len32, 4), at += 4;
        memcpy(p + at, name, len), p[at + len - 1] = (uint8_t)('0' + i), at += len;
        memcpy(p + at, &calls, 4), memcpy(p + at + 4, &k, 4), at += 8;
        for (uint32_t j = 0; j < k && j < 64; j++, at += 4)
            memcpy(p + at, &value, 4);
    }
    memset(p + at, 0, 8);
    return at + 8;
}

static void older_form(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_imatrix *im;
    uint8_t bytes[2048];
    const char *path = lmf_test_path("old.dat");
    write_bytes(ctx, path, bytes, dat(bytes, 2, "blk.x", 7, 48, 1.5f));
    assert_ok(ctx, lmf_imatrix_read(ctx, path, &im));
    const lmf_imatrix_entry *e = lmf_imatrix_find(im, "blk.1");
    assert_non_null(e);
    assert_true(im->n == 2 && e->k == 48 && e->n_tok == 7 && e->sum2[47] == 1.5f);
    lmf_imatrix_close(im);
    const struct { uint32_t n, calls, k; float value; const char *name, *words; } bad[] = {
        { 1u << 31, 7, 48, 1, "blk.x", "no importance matrix" }, { 0, 7, 48, 1, "blk.x", "no importance matrix" },
        { 2, 0, 48, 1, "blk.x", "calls" }, { 2, 7, 1u << 30, 1, "blk.x", "columns" }, { 2, 7, 48, -1, "blk.x", "sum of squares" },
        { 2, 7, 48, NAN, "blk.x", "sum of squares" }, { 2, 7, 64 * 1024, 1, "blk.x", "old.dat" },
        { 2, 7, 48, 1, "b\nk.x", "control characters" } };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        write_bytes(ctx, path, bytes, dat(bytes, bad[i].n, bad[i].name, bad[i].calls, bad[i].k, bad[i].value));
        assert_refused(ctx, LMF_E_FORMAT, bad[i].words, lmf_imatrix_read(ctx, path, &im));
        assert_null(im);
    }
    size_t n = dat(bytes, 2, "blk.x", 7, 48, 1.5f);
    for (size_t cut = 0; cut < n - 8; cut += 3) { /* every place where it may end too early */
        write_bytes(ctx, path, bytes, cut);
        assert_true(lmf_imatrix_read(ctx, path, &im) != LMF_OK);
    }
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(imatrix) = { { "gguf round trip", gguf_round_trip }, { "older form", older_form }, { 0 } };
