/* SPDX-License-Identifier: Apache-2.0 */
#include "format/safetensors.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/buf.h"
#include "base/file.h"
#include "test.h"

static const float floats[6] = { 1, -2, 3.5f, 0, 1e-8f, -7 };
static const uint16_t halves[3] = { 0x3c00, 0xc000, 1 };

/* The narrow tensor is declared first: the writer puts the wide one before it. */
static lmf_status write_tiny(lmf_ctx *ctx, const char *path)
{
    lmf_safetensors_writer *w;
    LMF_TRY(lmf_safetensors_writer_create(ctx, path, &w));
    lmf_safetensors_put(w, "made", "by \"test\"");
    lmf_safetensors_add(w, "h", 30, (int64_t[]){ 3 }, 1);
    lmf_safetensors_add(w, "f.weight", 0, (int64_t[]){ 2, 3 }, 2);
    lmf_safetensors_add(w, "none", 0, (int64_t[]){ 0, 3 }, 2);
    lmf_safetensors_add(w, "scalar", 1, NULL, 0);
    lmf_status s = lmf_safetensors_begin(w);
    for (int64_t i; !s && (i = lmf_safetensors_writer_next(w)) >= 0;)
        s = i == 0 ? lmf_safetensors_write(w, halves, 6) : i == 1 ? lmf_safetensors_write(w, floats, 24) : lmf_safetensors_write(w, halves, 2);
    if (!s)
        s = lmf_safetensors_commit(w);
    lmf_safetensors_writer_destroy(w);
    return s;
}

static uint64_t walk(const lmf_safetensors *st)
{
    uint64_t sum = lmf_safetensors_metadata(st, "format") != NULL;
    for (size_t i = 0; i < lmf_safetensors_n(st); i++) {
        const lmf_st_tensor *t = lmf_safetensors_at(st, i);
        assert_ptr_equal(lmf_safetensors_find(st, t->name), t);
        for (size_t k = 0; k < t->bytes; k++)
            sum += t->data[k];
    }
    return sum;
}

static bool survive(lmf_ctx *ctx, const char *p, size_t n)
{
    lmf_safetensors *st;
    size_t live = ctx->live_bytes;
    lmf_status s = lmf_safetensors_parse(ctx, p, n, "mutant", &st);
    if (!s)
        walk(st);
    else
        assert_null(st);
    lmf_safetensors_close(st);
    assert_int_equal(ctx->live_bytes, live);
    return !s;
}

static void round_trip(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *path = lmf_test_path("rt.safetensors"), *second = lmf_test_path("rt2.safetensors");
    lmf_safetensors *st;
    char one[65], two[65];
    assert_ok(ctx, write_tiny(ctx, path));
    assert_ok(ctx, write_tiny(ctx, second));
    assert_ok(ctx, lmf_file_sha256(ctx, path, one, NULL));
    assert_ok(ctx, lmf_file_sha256(ctx, second, two, NULL));
    assert_string_equal(one, two);
    assert_ok(ctx, lmf_safetensors_open(ctx, path, &st));
    assert_int_equal(lmf_safetensors_n(st), 4);
    assert_string_equal(lmf_safetensors_metadata(st, "format"), "pt");
    assert_string_equal(lmf_safetensors_metadata(st, "made"), "by \"test\"");
    assert_null(lmf_safetensors_metadata(st, "x"));
    const lmf_st_tensor *t = lmf_safetensors_find(st, "f.weight");
    assert_true(t && t->dtype == 0 && t->n_dims == 2 && t->dim[0] == 2 && t->dim[1] == 3 && t->bytes == 24);
    assert_true((uintptr_t)t->data % 8 == 0);
    assert_memory_equal(t->data, floats, 24);
    t = lmf_safetensors_find(st, "h");
    assert_true(t && t->dtype == 30 && !strcmp(t->type, "BF16") && t->bytes == 6);
    assert_memory_equal(t->data, halves, 6);
    t = lmf_safetensors_find(st, "none");
    assert_true(t && t->bytes == 0 && t->dim[0] == 0 && t->n_dims == 2);
    t = lmf_safetensors_find(st, "scalar");
    assert_true(t && t->bytes == 2 && t->n_dims == 0 && t->dim[0] == 1);
    assert_null(lmf_safetensors_find(st, "__metadata__"));
    lmf_safetensors_close(st);
    lmf_test_ctx_done(ctx);
}

static void every_prefix_and_bit(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *path = lmf_test_path("tiny.safetensors");
    char *p;
    size_t n, n_accepted = 0;
    assert_ok(ctx, write_tiny(ctx, path));
    assert_ok(ctx, lmf_file_read(ctx, path, 1 << 20, &p, &n));
    for (size_t i = 0; i < n; i++) {
        char *cut = lmf_alloc(ctx, i + 1);
        memcpy(cut, p, i);
        cut = lmf_realloc(ctx, cut, i + 1, i ? i : 1);
        assert_false(survive(ctx, cut, i));
        lmf_free(ctx, cut, i ? i : 1);
    }
    for (size_t i = 0; i < 8 * (n - 32); i++) {
        p[i / 8] ^= (char)(1 << i % 8);
        n_accepted += survive(ctx, p, n);
        p[i / 8] ^= (char)(1 << i % 8);
    }
    assert_true(n_accepted > 20 && n_accepted < 8 * (n - 32) / 2);
    assert_true(survive(ctx, p, n));
    lmf_free(ctx, p, n + 1);
    lmf_test_ctx_done(ctx);
}

/* A file of this header, padded to `data` bytes of data. */
static lmf_status parse_header(lmf_ctx *ctx, const char *json, size_t data)
{
    lmf_buf b;
    lmf_safetensors *st;
    uint64_t n = strlen(json);
    lmf_buf_init(&b, ctx, 1 << 20);
    lmf_buf_append(&b, &n, 8);
    lmf_buf_puts(&b, json);
    for (size_t i = 0; i < data; i++)
        lmf_buf_putc(&b, 1);
    lmf_status s = lmf_safetensors_parse(ctx, b.data, b.n, "t.safetensors", &st);
    if (!s)
        walk(st);
    lmf_safetensors_close(st);
    lmf_buf_clear(&b);
    return s;
}

static void headers_refused(void **state)
{
    (void)state;
    static const struct { const char *json; size_t data; lmf_status s; const char *words; } rows[] = {
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[2,6]}}", 6, LMF_E_FORMAT, "a and b overlap" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[5,9]}}", 9, LMF_E_FORMAT, "a hole of 1 bytes before the tensor b" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 5, LMF_E_FORMAT, "1 bytes behind the last tensor" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[1,5]}}", 5, LMF_E_FORMAT, "a hole of 1 bytes before the tensor a" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 3, LMF_E_FORMAT, "bytes 0 to 4 of a data section of 3" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,4]}}", 4, LMF_E_FORMAT, "has 4 bytes, but its shape and type need 8" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4, LMF_E_FORMAT, "bytes 4 to 0" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4, LMF_E_FORMAT, "dimension that is no count" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1.0],\"data_offsets\":[0,4]}}", 4, LMF_E_FORMAT, "dimension that is no count" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0, LMF_E_FORMAT, "too large" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],\"data_offsets\":[0,0]}}", 0, LMF_E_FORMAT, "too large" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,1,1,1,1,1],\"data_offsets\":[0,4]}}", 4, LMF_E_FORMAT, "at most 8" },
        { "{\"a\":{\"dtype\":\"F4\",\"shape\":[8],\"data_offsets\":[0,4]}}", 4, LMF_E_UNSUPPORTED, "type F4" },
        { "{\"a\":{\"shape\":[1],\"data_offsets\":[0,4]}}", 4, LMF_E_FORMAT, "lacks dtype" },
        { "{\"a\":[]}", 4, LMF_E_FORMAT, "lacks dtype" },
        { "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, LMF_E_FORMAT, "duplicate" },
        { "{\"a\\n\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4, LMF_E_FORMAT, "control characters" },
        { "{\"__metadata__\":{\"a\":1}}", 0, LMF_E_FORMAT, "__metadata__.a is no string" },
        { "{\"__metadata__\":[]}", 0, LMF_E_FORMAT, "__metadata__ is no object" },
        { "[1]", 0, LMF_E_FORMAT, "no JSON object" },
        { "{\"a\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]]}", 0, LMF_E_LIMIT, "nested 35 deep" },
    };
    lmf_ctx *ctx = lmf_test_ctx();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_refused(ctx, rows[i].s, rows[i].words, parse_header(ctx, rows[i].json, rows[i].data));
    assert_ok(ctx, parse_header(ctx, "{}", 0));
    assert_ok(ctx, parse_header(ctx, "{\"a\":{\"dtype\":\"F8_E4M3\",\"shape\":[2,2],\"data_offsets\":[0,4]}}  ", 4));
    lmf_test_ctx_done(ctx);
}

static void lengths_refused(void **state)
{
    (void)state;
    static const uint64_t lengths[] = { 3, 100, 100000000, 100000001, (uint64_t)1 << 63, UINT64_MAX };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_safetensors *st;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        uint8_t bytes[10] = { [8] = '{', [9] = '}' };
        memcpy(bytes, lengths + i, 8);
        assert_refused(ctx, LMF_E_FORMAT, lengths[i] > 100000000 ? "more than 100000000" : "ends after 2 more", lmf_safetensors_parse(ctx, bytes, 10, "t", &st));
    }
    lmf_test_ctx_done(ctx);
}

static void values_are_counted(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_buf b;
    lmf_safetensors *st;
    uint64_t n = (5u << 20) + 8;
    lmf_buf_init(&b, ctx, 16 << 20);
    lmf_buf_append(&b, &n, 8);
    lmf_buf_puts(&b, "{\"a\": [0");
    while (b.n < n - 2 + 8)
        lmf_buf_puts(&b, ",0");
    lmf_buf_puts(&b, "]}");
    assert_refused(ctx, LMF_E_LIMIT, "values", lmf_safetensors_parse(ctx, b.data, b.n, "t", &st));
    lmf_buf_clear(&b);
    lmf_test_ctx_done(ctx);
}

static lmf_status write_one(lmf_ctx *ctx, const char *path, const char *name)
{
    lmf_safetensors_writer *w;
    LMF_TRY(lmf_safetensors_writer_create(ctx, path, &w));
    lmf_safetensors_add(w, name, 0, (int64_t[]){ 6 }, 1);
    lmf_safetensors_begin(w);
    lmf_safetensors_write(w, floats, sizeof floats);
    lmf_status s = lmf_safetensors_commit(w);
    lmf_safetensors_writer_destroy(w);
    return s;
}

static void shards(void **state)
{
    (void)state;
    static const struct { const char *b_name, *b_file, *words; } rows[] = {
        { "b", "../two.safetensors", "no plain file name" }, { "b", "/etc/passwd", "no plain file name" }, { "b", ".hidden", "no plain file name" },
        { "b", "", "no plain file name" }, { "b", "two\\x", "no plain file name" }, { "b", "three.safetensors", "three.safetensors" },
        { "c", "two.safetensors", "does not say that b is in two.safetensors" }, { "b", "one.safetensors", "names 2 tensors, but the shards hold 1" },
    };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_safetensors *st;
    char dir[256], path[512];
    snprintf(dir, sizeof dir, "%s", lmf_test_path("sharded"));
    assert_ok(ctx, lmf_dir_create(ctx, dir));
    assert_refused(ctx, LMF_E_NOT_FOUND, "neither model.safetensors nor", lmf_safetensors_open_model(ctx, dir, &st));
    assert_ok(ctx, lmf_path_join(ctx, path, sizeof path, dir, "one.safetensors"));
    assert_ok(ctx, write_one(ctx, path, "a"));
    assert_ok(ctx, lmf_path_join(ctx, path, sizeof path, dir, "two.safetensors"));
    assert_ok(ctx, write_one(ctx, path, "b"));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_ok(ctx, lmf_safetensors_index_save(ctx, dir, (const char *[]){ "a", rows[i].b_name }, (const char *[]){ "one.safetensors", rows[i].b_file }, 2, 48));
        assert_int_not_equal(lmf_safetensors_open_model(ctx, dir, &st), LMF_OK);
        if (!strstr(lmf_error(ctx), rows[i].words))
            fail_msg("row %zu: %s", i, lmf_error(ctx));
    }
    assert_ok(ctx, lmf_safetensors_index_save(ctx, dir, (const char *[]){ "a", "b" }, (const char *[]){ "one.safetensors", "two.safetensors" }, 2, 48));
    assert_ok(ctx, lmf_safetensors_open_model(ctx, dir, &st));
    assert_true(lmf_safetensors_n(st) == 2 && lmf_safetensors_n_files(st) == 2 && lmf_safetensors_find(st, "b")->i_file == 1);
    walk(st);
    lmf_safetensors_close(st);
    assert_ok(ctx, write_one(ctx, path, "a")); /* the same tensor in both shards */
    assert_int_not_equal(lmf_safetensors_open_model(ctx, dir, &st), LMF_OK);
    lmf_test_ctx_done(ctx);
}

static void writer_refuses(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *path = lmf_test_path("refused.safetensors");
    for (int i = 0; i < 6; i++) {
        lmf_safetensors_writer *w;
        assert_ok(ctx, lmf_safetensors_writer_create(ctx, path, &w));
        assert_ok(ctx, lmf_safetensors_add(w, "t", 0, (int64_t[]){ 6 }, 1));
        switch (i) {
        case 0: lmf_safetensors_add(w, "t", 0, (int64_t[]){ 6 }, 1); assert_refused(ctx, LMF_E_ARG, "t is written twice", lmf_safetensors_begin(w)); break;
        case 1: assert_refused(ctx, LMF_E_DTYPE, "type 3", lmf_safetensors_add(w, "q", 3, (int64_t[]){ 32 }, 1)); break;
        case 2: assert_refused(ctx, LMF_E_SHAPE, "shape", lmf_safetensors_add(w, "q", 0, (int64_t[]){ INT64_MAX }, 1)); break;
        case 3: assert_refused(ctx, LMF_E_ARG, "before begin", lmf_safetensors_write(w, floats, 4)); break;
        case 4: lmf_safetensors_begin(w); assert_refused(ctx, LMF_E_ARG, "lacks 24 bytes", lmf_safetensors_commit(w)); break;
        case 5: lmf_safetensors_begin(w); assert_refused(ctx, LMF_E_ARG, "room for 24", lmf_safetensors_write(w, floats, 25)); break;
        }
        lmf_safetensors_writer_destroy(w);
        assert_int_equal(lmf_path_stat(path), LMF_PATH_NONE);
    }
    lmf_test_ctx_done(ctx);
}

static void no_regular_file(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_safetensors *st;
    const char *fifo = lmf_test_path("st.fifo");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_refused(ctx, LMF_E_ARG, "a fifo", lmf_safetensors_open(ctx, fifo, &st));
    assert_refused(ctx, LMF_E_ARG, "a directory", lmf_safetensors_open(ctx, "/tmp", &st));
    assert_refused(ctx, LMF_E_ARG, "a device", lmf_safetensors_open(ctx, "/dev/zero", &st));
    lmf_test_ctx_done(ctx);
}

static lmf_status open_body(lmf_ctx *ctx, void *path)
{
    lmf_safetensors *st;
    LMF_TRY(lmf_safetensors_open(ctx, path, &st));
    lmf_safetensors_close(st);
    return LMF_OK;
}

static lmf_status write_body(lmf_ctx *ctx, void *path)
{
    lmf_ctx *calm = lmf_test_ctx();
    char tmp[512], *text;
    size_t n;
    assert_ok(calm, lmf_file_write(calm, path, "old", 3));
    lmf_status s = write_tiny(ctx, path);
    snprintf(tmp, sizeof tmp, "%s.tmp", (const char *)path);
    assert_int_equal(lmf_path_stat(tmp), LMF_PATH_NONE);
    assert_ok(calm, lmf_file_read(calm, path, 1 << 20, &text, &n));
    assert_true((s && n == 3 && !memcmp(text, "old", 3)) || (n > 3 && survive(calm, text, n)));
    lmf_free(calm, text, n + 1);
    lmf_test_ctx_done(calm);
    return s;
}

static void each_call_fails(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    char path[256];
    snprintf(path, sizeof path, "%s", lmf_test_path("sweep.safetensors"));
    assert_ok(ctx, write_tiny(ctx, path));
    assert_true(lmf_test_fail_each_call(open_body, path) >= 5);
    assert_true(lmf_test_fail_each_call(write_body, path) >= 10);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(safetensors) = {
    { "what is written is read", round_trip },
    { "cut at every byte, every bit flipped", every_prefix_and_bit },
    { "each kind of wrong header has its sentence", headers_refused },
    { "header lengths past the file or the limit", lengths_refused },
    { "a header of millions of values is refused before it is parsed", values_are_counted },
    { "shards, and names that would leave the folder", shards },
    { "the writer refuses what the reader would", writer_refuses },
    { "directory, fifo, device", no_regular_file },
    { "each call fails once; the old file stays", each_call_fails },
    { 0 },
};
