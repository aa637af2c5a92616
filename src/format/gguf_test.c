/* SPDX-License-Identifier: Apache-2.0 */
#include "format/gguf.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/file.h"
#include "test.h"

static const float floats[6] = { 1, -2, 3.5f, 0, 1e-8f, -7 };
static const uint8_t q4_1[2 * 20] = { 0x00, 0x3c, 1, 2, 3 };

#define S(text) ((lmf_bytes){ text, sizeof text - 1 })

/* One of each: what the tests cut, flip and read back. */
static lmf_status write_tiny(lmf_ctx *ctx, const char *path)
{
    static const lmf_bytes tokens[] = { S("<s>"), S(""), S("\xc3\xa9"), S("a\0b") };
    static const int32_t types[] = { 3, 1, 1, -6 };
    static const float scores[] = { 0, -1, -2.5f, 1 };
    lmf_gguf_writer *w;
    LMF_TRY(lmf_gguf_writer_create(ctx, path, &w));
    lmf_gguf_writer_alignment(w, 64);
    lmf_gguf_put_text(w, "general.architecture", "llama");
    lmf_gguf_put_u32(w, "llama.block_count", 2);
    lmf_gguf_put_i32(w, "x.negative", -5);
    lmf_gguf_put_u64(w, "x.huge", UINT64_MAX);
    lmf_gguf_put_f32(w, "x.eps", 1e-5f);
    lmf_gguf_put_bool(w, "x.yes", true);
    lmf_gguf_put_strings(w, "tokenizer.ggml.tokens", tokens, 4);
    lmf_gguf_put_i32s(w, "tokenizer.ggml.token_type", types, 4);
    lmf_gguf_put_f32s(w, "tokenizer.ggml.scores", scores, 4);
    lmf_gguf_put_strings(w, "x.none", NULL, 0);
    lmf_gguf_add_tensor(w, "a.weight", 0, (int64_t[]){ 2, 3 }, 2);
    lmf_gguf_add_tensor(w, "b.weight", 3, (int64_t[]){ 2, 32 }, 2);
    lmf_gguf_add_tensor(w, "c", 24, (int64_t[]){ 1, 1, 1, 5 }, 4);
    lmf_gguf_begin(w);
    lmf_gguf_write(w, floats, 10);
    lmf_gguf_write(w, (const char *)floats + 10, sizeof floats - 10);
    lmf_gguf_write(w, q4_1, sizeof q4_1);
    lmf_gguf_write(w, "\1\2\3\4\5", 5);
    lmf_status s = lmf_gguf_commit(w);
    lmf_gguf_writer_destroy(w);
    return s;
}

typedef struct bytes { char *p; size_t n; } bytes;

static bytes tiny(lmf_ctx *ctx)
{
    bytes b;
    const char *path = lmf_test_path("tiny.gguf");
    assert_ok(ctx, write_tiny(ctx, path));
    assert_ok(ctx, lmf_file_read(ctx, path, 1 << 20, &b.p, &b.n));
    return b;
}

static void drop(lmf_ctx *ctx, bytes b)
{
    lmf_free(ctx, b.p, b.n + 1);
}

/* Reads all that an accepted file hands out; the sum keeps the reads. */
static uint64_t walk(lmf_ctx *ctx, const lmf_gguf *g)
{
    uint64_t sum = 0;
    lmf_arena arena;
    lmf_arena_init(&arena, ctx, 1 << 24);
    for (size_t i = 0; i < lmf_gguf_n_kv(g); i++) {
        const lmf_gguf_kv *kv = lmf_gguf_kv_at(g, i);
        size_t at = 0, n;
        int64_t whole;
        double real;
        lmf_bytes s, *strings;
        assert_ptr_equal(lmf_gguf_find(g, kv->key), kv);
        for (size_t k = 0; k < kv->n; k++)
            sum += (lmf_gguf_kv_i64(kv, k, &whole) ? (uint64_t)whole : 0) + (lmf_gguf_kv_f64(kv, k, &real) && real > 0);
        while (lmf_gguf_kv_next_string(kv, &at, &s))
            for (size_t k = 0; k < s.n; k++)
                sum += (uint8_t)s.p[k];
        if (!lmf_gguf_get_strings(g, kv->key, &arena, &strings, &n))
            assert_int_equal(n, kv->n);
    }
    for (size_t i = 0; i < lmf_gguf_n_tensors(g); i++) {
        const lmf_gguf_tensor *t = lmf_gguf_tensor_at(g, i);
        assert_ptr_equal(lmf_gguf_tensor_find(g, t->name), t);
        for (size_t k = 0; k < t->bytes; k++)
            sum += t->data[k];
    }
    lmf_arena_clear(&arena);
    return sum;
}

static lmf_status copy(lmf_ctx *ctx, const lmf_gguf *g, const char *path)
{
    lmf_gguf_writer *w;
    LMF_TRY(lmf_gguf_writer_create(ctx, path, &w));
    for (size_t i = 0; i < lmf_gguf_n_kv(g); i++)
        lmf_gguf_put_kv(w, lmf_gguf_kv_at(g, i));
    for (size_t i = 0; i < lmf_gguf_n_tensors(g); i++) {
        const lmf_gguf_tensor *t = lmf_gguf_tensor_at(g, i);
        lmf_gguf_add_tensor(w, t->name, t->dtype, t->dim, t->n_dims);
    }
    lmf_gguf_begin(w);
    for (size_t i = 0; i < lmf_gguf_n_tensors(g); i++)
        lmf_gguf_write(w, lmf_gguf_tensor_at(g, i)->data, lmf_gguf_tensor_at(g, i)->bytes);
    lmf_status s = lmf_gguf_commit(w);
    lmf_gguf_writer_destroy(w);
    return s;
}

/* Any status is fine, no report of a sanitizer is. Every 50th file that is accepted is written and read again. */
static bool survive(lmf_ctx *ctx, const char *p, size_t n)
{
    lmf_gguf *g, *again;
    size_t live = ctx->live_bytes;
    if (lmf_gguf_parse(ctx, p, n, "mutant", &g)) {
        assert_null(g);
        assert_int_equal(ctx->live_bytes, live);
        return false;
    }
    uint64_t sum = walk(ctx, g);
    if (sum % 50 == 0) {
        const char *path = lmf_test_path("again.gguf");
        assert_ok(ctx, copy(ctx, g, path));
        assert_ok(ctx, lmf_gguf_open(ctx, path, &again));
        assert_true(walk(ctx, again) == sum);
        lmf_gguf_close(again);
    }
    lmf_gguf_close(g);
    assert_int_equal(ctx->live_bytes, live);
    return true;
}

static void round_trip(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *path = lmf_test_path("rt.gguf"), *second = lmf_test_path("rt2.gguf");
    lmf_gguf *g;
    lmf_arena arena;
    int64_t i64;
    uint32_t u32;
    double f64;
    bool yes;
    lmf_bytes s, *strings;
    int32_t *ints;
    float *reals;
    size_t n;
    lmf_arena_init(&arena, ctx, 1 << 20);
    assert_ok(ctx, write_tiny(ctx, path));
    assert_ok(ctx, lmf_gguf_open(ctx, path, &g));
    assert_true(lmf_gguf_version(g) == 3 && lmf_gguf_alignment(g) == 64 && lmf_gguf_n_kv(g) == 11 && lmf_gguf_n_tensors(g) == 3);
    assert_ok(ctx, lmf_gguf_get_i64(g, "llama.block_count", &i64));
    assert_int_equal(i64, 2);
    assert_ok(ctx, lmf_gguf_get_i64(g, "x.negative", &i64));
    assert_int_equal(i64, -5);
    assert_ok(ctx, lmf_gguf_get_f64(g, "x.eps", &f64));
    assert_true((float)f64 == 1e-5f);
    assert_ok(ctx, lmf_gguf_get_f64(g, "llama.block_count", &f64));
    assert_true(f64 == 2);
    assert_ok(ctx, lmf_gguf_get_bool(g, "x.yes", &yes));
    assert_true(yes);
    assert_ok(ctx, lmf_gguf_get_string(g, "general.architecture", &s));
    assert_true(s.n == 5 && !memcmp(s.p, "llama", 5));
    assert_refused(ctx, LMF_E_NOT_FOUND, "no key x.other", lmf_gguf_get_u32(g, "x.other", &u32));
    assert_refused(ctx, LMF_E_FORMAT, "-5", lmf_gguf_get_u32(g, "x.negative", &u32));
    assert_refused(ctx, LMF_E_FORMAT, "x.huge holds u64", lmf_gguf_get_i64(g, "x.huge", &i64));
    assert_refused(ctx, LMF_E_FORMAT, "bool", lmf_gguf_get_i64(g, "x.yes", &i64));
    assert_refused(ctx, LMF_E_FORMAT, "an array, not one value", lmf_gguf_get_i64(g, "tokenizer.ggml.scores", &i64));
    assert_ok(ctx, lmf_gguf_get_strings(g, "tokenizer.ggml.tokens", &arena, &strings, &n));
    assert_true(n == 4 && strings[1].n == 0 && strings[3].n == 3 && !memcmp(strings[3].p, "a\0b", 3));
    assert_ok(ctx, lmf_gguf_get_strings(g, "x.none", &arena, &strings, &n));
    assert_int_equal(n, 0);
    assert_ok(ctx, lmf_gguf_get_i32s(g, "tokenizer.ggml.token_type", &arena, &ints, &n));
    assert_true(n == 4 && ints[0] == 3 && ints[3] == -6);
    assert_ok(ctx, lmf_gguf_get_f32s(g, "tokenizer.ggml.scores", &arena, &reals, &n));
    assert_true(n == 4 && reals[2] == -2.5f);
    assert_refused(ctx, LMF_E_FORMAT, "32-bit integer", lmf_gguf_get_i32s(g, "tokenizer.ggml.scores", &arena, &ints, &n));
    const lmf_gguf_tensor *t = lmf_gguf_tensor_find(g, "a.weight");
    assert_true(t && t->n_dims == 2 && t->dim[0] == 2 && t->dim[1] == 3 && t->dtype == 0 && t->bytes == sizeof floats);
    assert_memory_equal(t->data, floats, sizeof floats);
    t = lmf_gguf_tensor_find(g, "b.weight");
    assert_true(t && t->bytes == sizeof q4_1 && t->dim[1] == 32);
    assert_memory_equal(t->data, q4_1, sizeof q4_1);
    t = lmf_gguf_tensor_find(g, "c");
    assert_true(t && t->n_dims == 4 && t->dim[3] == 5 && t->dim[0] == 1 && t->data[4] == 5);
    assert_null(lmf_gguf_tensor_find(g, "d"));
    assert_ok(ctx, copy(ctx, g, second)); /* a copy of all pairs and tensors has the same bytes */
    char one[65], two[65];
    assert_ok(ctx, lmf_file_sha256(ctx, path, one, NULL));
    assert_ok(ctx, lmf_file_sha256(ctx, second, two, NULL));
    assert_string_equal(one, two);
    lmf_gguf_close(g);
    lmf_arena_clear(&arena);
    lmf_test_ctx_done(ctx);
}

static void every_prefix(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    bytes b = tiny(ctx);
    size_t padding = 64 - 5; /* behind the last tensor, which may be missing */
    for (size_t n = 0; n <= b.n; n++) {
        char *cut = lmf_alloc(ctx, n + 1); /* its own block, so that a sanitizer sees the end */
        memcpy(cut, b.p, n);
        cut = lmf_realloc(ctx, cut, n + 1, n ? n : 1);
        assert_true(survive(ctx, cut, n) == (n >= b.n - padding));
        lmf_free(ctx, cut, n ? n : 1);
    }
    drop(ctx, b);
    lmf_test_ctx_done(ctx);
}

static void every_bit(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    bytes b = tiny(ctx);
    int n_accepted = 0, n_refused = 0;
    for (size_t i = 0; i < 8 * (b.n - 3 * 64); i++) { /* all but the data */
        b.p[i / 8] ^= (char)(1 << i % 8);
        if (survive(ctx, b.p, b.n))
            n_accepted++;
        else
            n_refused++;
        b.p[i / 8] ^= (char)(1 << i % 8);
    }
    assert_true(n_accepted > 100 && n_refused > 1000);
    drop(ctx, b);
    lmf_test_ctx_done(ctx);
}

static void every_word(void **state)
{
    (void)state;
    static const uint64_t values[] = { 0, 1, 2, 3, 0x7f, 0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, 0x7fffffffffffffff,
                                       0x8000000000000000, 0xfffffffffffffffe, UINT64_MAX, 0x4000000000000000, 0x2000000000000001 };
    lmf_ctx *ctx = lmf_test_ctx();
    bytes b = tiny(ctx);
    int n_refused = 0;
    for (size_t at = 0; at + 8 <= b.n - 3 * 64; at++)
        for (size_t width = 4; width <= 8; width += 4)
            for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
                char old[8];
                memcpy(old, b.p + at, 8);
                memcpy(b.p + at, values + i, width);
                n_refused += !survive(ctx, b.p, b.n);
                memcpy(b.p + at, old, 8);
            }
    assert_true(n_refused > 1000);
    drop(ctx, b);
    lmf_test_ctx_done(ctx);
}

/* Finds text in the tiny file; what comes `skip` bytes behind its end. */
static char *behind(bytes b, const char *text, size_t skip)
{
    char *at = memmem(b.p, b.n, text, strlen(text));
    assert_non_null(at);
    return at + strlen(text) + skip;
}

static void set64(char *p, uint64_t v) { memcpy(p, &v, 8); }
static void set32(char *p, uint32_t v) { memcpy(p, &v, 4); }

/* Each row damages one thing and names words of the refusal. */
enum damage { MAGIC, VERSION_1, VERSION_4, BIG_ENDIAN_3, N_TENSORS, N_KV, VALUE_TYPE, ARRAY_TYPE, NESTED, BOOL_2, ALIGNMENT_3, ALIGNMENT_4, ALIGNMENT_HUGE,
              KEY_TWICE, KEY_CONTROL, NAME_TWICE, NAME_NUL, NAME_LONG, N_DIMS_0, N_DIMS_5, DIM_0, DIM_HUGE, DIM_PRODUCT, ODD_ROW, TYPE_UNKNOWN,
              TYPE_GONE, OFFSET_ODD, OFFSET_OVERLAP, OFFSET_BEHIND, OFFSET_WRAP, STRING_LONG };

static void apply(bytes b, enum damage d)
{
    switch (d) {
    case MAGIC:          b.p[0] = 'g'; break;
    case VERSION_1:      b.p[4] = 1; break;
    case VERSION_4:      b.p[4] = 4; break;
    case BIG_ENDIAN_3:   memcpy(b.p + 4, "\0\0\0\3", 4); break;
    case N_TENSORS:      set64(b.p + 8, 1u << 20); break;
    case N_KV:           set64(b.p + 16, UINT64_MAX / 8); break;
    case VALUE_TYPE:     set32(behind(b, "x.eps", 0), 13); break;
    case ARRAY_TYPE:     set32(behind(b, "x.none", 4), 77); break;
    case NESTED:         set32(behind(b, "x.none", 4), 9); break;
    case BOOL_2:         *behind(b, "x.yes", 4) = 2; break;
    case ALIGNMENT_3:    set32(behind(b, "general.alignment", 4), 3); break;
    case ALIGNMENT_4:    set32(behind(b, "general.alignment", 4), 4); break;
    case ALIGNMENT_HUGE: set32(behind(b, "general.alignment", 4), 1u << 31); break;
    case KEY_TWICE:      memcpy(behind(b, "x.huge", 0) - 6, "x.none", 6); break;
    case KEY_CONTROL:    *(behind(b, "x.huge", 0) - 1) = '\n'; break;
    case NAME_TWICE:     *(behind(b, "b.weight", 0) - 8) = 'a'; break;
    case NAME_NUL:       *(behind(b, "b.weight", 0) - 8) = 0; break;
    case NAME_LONG:      set64(behind(b, "b.weight", 0) - 16, 300); break;
    case N_DIMS_0:       set32(behind(b, "a.weight", 0), 0); break;
    case N_DIMS_5:       set32(behind(b, "a.weight", 0), 5); break;
    case DIM_0:          set64(behind(b, "a.weight", 4), 0); break;
    case DIM_HUGE:       set64(behind(b, "a.weight", 4), UINT64_MAX); break;
    case DIM_PRODUCT:    set64(behind(b, "a.weight", 4), (uint64_t)1 << 40), set64(behind(b, "a.weight", 12), (uint64_t)1 << 40); break;
    case ODD_ROW:        set64(behind(b, "b.weight", 4), 31); break;
    case TYPE_UNKNOWN:   set32(behind(b, "a.weight", 20), 199); break;
    case TYPE_GONE:      set32(behind(b, "a.weight", 20), 4); break;
    case OFFSET_ODD:     set64(behind(b, "b.weight", 24), 8); break;
    case OFFSET_OVERLAP: set64(behind(b, "b.weight", 24), 0); break;
    case OFFSET_BEHIND:  set64(behind(b, "b.weight", 24), 192); break;
    case OFFSET_WRAP:    set64(behind(b, "b.weight", 24), UINT64_MAX - 63); break;
    case STRING_LONG:    set64(behind(b, "general.architecture", 4), (uint64_t)1 << 63); break;
    }
}

static void named_damage(void **state)
{
    (void)state;
    static const struct { enum damage d; lmf_status s; const char *words; } rows[] = {
        { MAGIC, LMF_E_FORMAT, "not a GGUF file" }, { VERSION_1, LMF_E_UNSUPPORTED, "version 1" }, { VERSION_4, LMF_E_UNSUPPORTED, "version 4" },
        { BIG_ENDIAN_3, LMF_E_UNSUPPORTED, "big-endian" }, { N_TENSORS, LMF_E_FORMAT, "the number of tensors is 1048576, which" },
        { N_KV, LMF_E_FORMAT, "key-value pairs is" }, { VALUE_TYPE, LMF_E_FORMAT, "x.eps has the unknown value type 13" },
        { ARRAY_TYPE, LMF_E_FORMAT, "unknown type 77" }, { NESTED, LMF_E_FORMAT, "array of arrays" }, { BOOL_2, LMF_E_FORMAT, "bool 2" },
        { ALIGNMENT_3, LMF_E_FORMAT, "general.alignment is 3" }, { ALIGNMENT_4, LMF_E_FORMAT, "general.alignment is 4" },
        { ALIGNMENT_HUGE, LMF_E_FORMAT, "power of two" }, { KEY_TWICE, LMF_E_FORMAT, "key x.none occurs twice" },
        { KEY_CONTROL, LMF_E_FORMAT, "control characters" }, { NAME_TWICE, LMF_E_FORMAT, "tensor a.weight occurs twice" },
        { NAME_NUL, LMF_E_FORMAT, "control characters" }, { NAME_LONG, LMF_E_FORMAT, "300 bytes, more than the 255" },
        { N_DIMS_0, LMF_E_FORMAT, "0 dimensions" }, { N_DIMS_5, LMF_E_FORMAT, "5 dimensions" }, { DIM_0, LMF_E_FORMAT, "dimension of 0" },
        { DIM_HUGE, LMF_E_FORMAT, "dimension of 18446744073709551615" }, { DIM_PRODUCT, LMF_E_FORMAT, "too large" },
        { ODD_ROW, LMF_E_FORMAT, "rows of 31 elements, no whole number of Q4_1 blocks of 32" }, { TYPE_UNKNOWN, LMF_E_FORMAT, "type number 199" },
        { TYPE_GONE, LMF_E_FORMAT, "type number 4" }, { OFFSET_ODD, LMF_E_FORMAT, "begins at 8, no multiple of the alignment 64" },
        { OFFSET_OVERLAP, LMF_E_FORMAT, "a.weight and b.weight overlap" }, { OFFSET_BEHIND, LMF_E_FORMAT, "cut or damaged" },
        { OFFSET_WRAP, LMF_E_FORMAT, "behind the end of the file" }, { STRING_LONG, LMF_E_FORMAT, "general.architecture needs" },
    };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_gguf *g;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        bytes b = tiny(ctx);
        apply(b, rows[i].d);
        assert_refused(ctx, rows[i].s, rows[i].words, lmf_gguf_parse(ctx, b.p, b.n, "t.gguf", &g));
        drop(ctx, b);
    }
    lmf_test_ctx_done(ctx);
}

static void split_files(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *path = lmf_test_path("split.gguf");
    for (uint32_t n = 1; n <= 2; n++) {
        lmf_gguf_writer *w;
        lmf_gguf *g;
        assert_ok(ctx, lmf_gguf_writer_create(ctx, path, &w));
        lmf_gguf_put_u32(w, "split.count", n);
        lmf_gguf_begin(w);
        assert_ok(ctx, lmf_gguf_commit(w));
        lmf_gguf_writer_destroy(w);
        if (n == 1) {
            assert_ok(ctx, lmf_gguf_open(ctx, path, &g));
            lmf_gguf_close(g);
        } else
            assert_refused(ctx, LMF_E_UNSUPPORTED, "one of 2 parts", lmf_gguf_open(ctx, path, &g));
    }
    lmf_test_ctx_done(ctx);
}

static void no_regular_file(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_gguf *g;
    const char *fifo = lmf_test_path("gguf.fifo"), *empty = lmf_test_path("empty.gguf");
    assert_int_equal(mkfifo(fifo, 0600), 0);
    assert_ok(ctx, lmf_file_write(ctx, empty, "", 0));
    assert_refused(ctx, LMF_E_ARG, "a fifo", lmf_gguf_open(ctx, fifo, &g));
    assert_refused(ctx, LMF_E_ARG, "a directory", lmf_gguf_open(ctx, "/tmp", &g));
    assert_refused(ctx, LMF_E_ARG, "a device", lmf_gguf_open(ctx, "/dev/zero", &g));
    assert_refused(ctx, LMF_E_FORMAT, "empty", lmf_gguf_open(ctx, empty, &g));
    assert_refused(ctx, LMF_E_NOT_FOUND, "no-such", lmf_gguf_open(ctx, "/tmp/no-such.gguf", &g));
    lmf_test_ctx_done(ctx);
}

static void writer_refuses(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *path = lmf_test_path("refused.gguf");
    const int64_t dim[2] = { 2, 32 }, odd[2] = { 2, 31 };
    for (int i = 0; i < 9; i++) {
        lmf_gguf_writer *w;
        assert_ok(ctx, lmf_gguf_writer_create(ctx, path, &w));
        lmf_gguf_put_u32(w, "k", 1);
        switch (i) {
        case 0: lmf_gguf_put_u32(w, "k", 2); assert_refused(ctx, LMF_E_ARG, "key k is written twice", lmf_gguf_begin(w)); break;
        case 1: lmf_gguf_add_tensor(w, "t", 3, dim, 2), lmf_gguf_add_tensor(w, "t", 3, dim, 2);
                assert_refused(ctx, LMF_E_ARG, "tensor t is written twice", lmf_gguf_begin(w)); break;
        case 2: assert_refused(ctx, LMF_E_SHAPE, "rows of 31", lmf_gguf_add_tensor(w, "t", 3, odd, 2)); break;
        case 3: assert_refused(ctx, LMF_E_DTYPE, "type 199", lmf_gguf_add_tensor(w, "t", 199, dim, 2)); break;
        case 4: assert_refused(ctx, LMF_E_ARG, "63 bytes", lmf_gguf_add_tensor(w, "a234567890123456789012345678901234567890123456789012345678901234", 3, dim, 2)); break;
        case 5: lmf_gguf_add_tensor(w, "t", 3, dim, 2), lmf_gguf_begin(w), lmf_gguf_write(w, q4_1, 39);
                assert_refused(ctx, LMF_E_ARG, "lacks 1 bytes", lmf_gguf_commit(w)); break;
        case 6: lmf_gguf_add_tensor(w, "t", 3, dim, 2), lmf_gguf_begin(w);
                assert_refused(ctx, LMF_E_ARG, "room for 40", lmf_gguf_write(w, floats, 41)); break;
        case 7: assert_refused(ctx, LMF_E_ARG, "lmf_gguf_writer_alignment", lmf_gguf_put_u32(w, "general.alignment", 64)); break;
        case 8: assert_refused(ctx, LMF_E_ARG, "power of two", lmf_gguf_writer_alignment(w, 48)); break;
        }
        lmf_gguf_writer_destroy(w);
        assert_int_equal(lmf_path_stat(path), LMF_PATH_NONE);
    }
    lmf_test_ctx_done(ctx);
}

static lmf_status open_body(lmf_ctx *ctx, void *path)
{
    lmf_gguf *g;
    LMF_TRY(lmf_gguf_open(ctx, path, &g));
    lmf_gguf_close(g);
    return LMF_OK;
}

/* Writes over an old file: after any failure it is there, old or new, and no temporary name is. */
static lmf_status write_body(lmf_ctx *ctx, void *path)
{
    lmf_ctx *free_of_faults = lmf_test_ctx();
    char tmp[512], *text;
    size_t n;
    assert_ok(free_of_faults, lmf_file_write(free_of_faults, path, "old", 3));
    lmf_status s = write_tiny(ctx, path);
    snprintf(tmp, sizeof tmp, "%s.tmp", (const char *)path);
    assert_int_equal(lmf_path_stat(tmp), LMF_PATH_NONE);
    assert_ok(free_of_faults, lmf_file_read(free_of_faults, path, 1 << 20, &text, &n));
    assert_true((s && n == 3 && !memcmp(text, "old", 3)) || (n > 3 && survive(free_of_faults, text, n)));
    lmf_free(free_of_faults, text, n + 1);
    lmf_test_ctx_done(free_of_faults);
    return s;
}

static void each_call_fails(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    char path[256];
    snprintf(path, sizeof path, "%s", lmf_test_path("sweep.gguf"));
    assert_ok(ctx, write_tiny(ctx, path));
    assert_true(lmf_test_fail_each_call(open_body, path) >= 3);
    assert_true(lmf_test_fail_each_call(write_body, path) >= 15);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(gguf) = {
    { "what is written is read", round_trip },
    { "cut at every byte", every_prefix },
    { "every bit of the metadata flipped", every_bit },
    { "every word of the metadata set to boundary values", every_word },
    { "each kind of damage has its sentence", named_damage },
    { "parts of a split model", split_files },
    { "directory, fifo, device, empty file", no_regular_file },
    { "the writer refuses what the reader would", writer_refuses },
    { "each call fails once; the old file stays", each_call_fails },
    { 0 },
};
