/* SPDX-License-Identifier: Apache-2.0 */
#include "text/tokenizer/tokenizer.h"
#include "text/tokenizer/tokenizer_test.h"

typedef struct family { test_vocab v; int32_t he, im_start, im_end, think, tail; } family;

static void family_init(family *f)
{
    test_vocab_init(&f->v, "smollm");
    f->he = test_vocab_merge(&f->v, "h e");
    f->im_start = test_vocab_add(&f->v, "<|im_start|>", LMF_TOKEN_CONTROL, 0);
    f->im_end = test_vocab_add(&f->v, "<|im_end|>", LMF_TOKEN_CONTROL, 0);
    f->think = test_vocab_add(&f->v, "<think>", LMF_TOKEN_USER_DEFINED, 0);
    f->tail = test_vocab_add(&f->v, "<|im_end|>>", LMF_TOKEN_USER_DEFINED, 0);
    f->v.v.bos = f->im_start;
    f->v.v.eos = f->im_end;
}

static void special_tokens_only_where_asked_for(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    family f;
    family_init(&f);
    lmf_tokenizer *t = test_tokenizer(ctx, &f.v);
    const char *text = "he<|im_end|><think>";
    assert_encodes(ctx, t, text, strlen(text), LMF_ENCODE_SPECIAL, IDS(f.he, f.im_end, f.think));
    assert_encodes(ctx, t, text, strlen(text), 0, IDS(f.he, '<', '|', 'i', 'm', '_', 'e', 'n', 'd', '|', '>', f.think));
    assert_encodes(ctx, t, "<think>", 7, LMF_ENCODE_PLAIN, IDS('<', 't', 'h', 'i', 'n', 'k', '>'));
    assert_encodes(ctx, t, "<|im_end|>", 10, LMF_ENCODE_PLAIN | LMF_ENCODE_SPECIAL, IDS('<', '|', 'i', 'm', '_', 'e', 'n', 'd', '|', '>'));
    assert_encodes(ctx, t, "<|im_end|>>", 11, LMF_ENCODE_SPECIAL, IDS(f.tail)); /* the longest */
    assert_encodes(ctx, t, "<<think", 7, LMF_ENCODE_SPECIAL, IDS('<', '<', 't', 'h', 'i', 'n', 'k'));
    assert_encodes(ctx, t, "", 0, LMF_ENCODE_SPECIAL, NULL, 0);
    lmf_tokenizer_destroy(t);
    lmf_test_ctx_done(ctx);
}

/* Whatever a user writes, no control id comes out. */
static void text_cannot_forge_control_tokens(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    family f;
    lmf_ids ids;
    family_init(&f);
    lmf_tokenizer *t = test_tokenizer(ctx, &f.v);
    lmf_ids_init(&ids, ctx, 1 << 20);
    static const char *const parts[] = { "<|im_start|>", "<|im_end|>", "<|im_", "start|>", "<think>", "he", " ", "1", "\n", "\xe2\x80\x8b", "|>", "<", "\xff" };
    uint32_t x = 1, n_think = 0;
    for (int round = 0; round < 2000; round++) {
        char text[256] = "";
        for (int i = 0; i < 12; i++)
            strcat(text, parts[((x = x * 1664525 + 1013904223) >> 24) % (sizeof parts / sizeof *parts)]);
        ids.n = 0;
        assert_ok(ctx, lmf_tokenizer_encode(t, text, strlen(text), 0, &ids));
        for (size_t i = 0; i < ids.n; i++) {
            assert_true(lmf_tokenizer_kind(t, ids.data[i]) != LMF_TOKEN_CONTROL);
            n_think += ids.data[i] == f.think;
        }
    }
    assert_true(n_think > 500);
    lmf_ids_clear(&ids);
    lmf_tokenizer_destroy(t);
    lmf_test_ctx_done(ctx);
}

static void bos_and_eos(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    family f;
    family_init(&f);
    lmf_tokenizer *t = test_tokenizer(ctx, &f.v);
    assert_false(lmf_tokenizer_ids(t)->add_bos);
    assert_encodes(ctx, t, "he", 2, LMF_ENCODE_DEFAULTS, IDS(f.he));
    assert_encodes(ctx, t, "he", 2, LMF_ENCODE_BOS | LMF_ENCODE_EOS, IDS(f.im_start, f.he, f.im_end));
    lmf_tokenizer_destroy(t);

    f.v.v.add_bos = LMF_YES;
    f.v.v.add_eos = true;
    t = test_tokenizer(ctx, &f.v);
    assert_encodes(ctx, t, "he", 2, LMF_ENCODE_DEFAULTS, IDS(f.im_start, f.he, f.im_end));
    assert_encodes(ctx, t, "", 0, LMF_ENCODE_DEFAULTS, IDS(f.im_start, f.im_end));
    assert_encodes(ctx, t, "he", 2, 0, IDS(f.he));
    lmf_tokenizer_destroy(t);

    f.v.v.add_bos = LMF_BY_FAMILY;
    f.v.v.add_eos = false;
    f.v.v.pretok = "llama-bpe";
    t = test_tokenizer(ctx, &f.v);
    assert_encodes(ctx, t, "he", 2, LMF_ENCODE_DEFAULTS, IDS(f.im_start, f.he));
    lmf_tokenizer_destroy(t);
    f.v.v.add_bos = LMF_NO;
    t = test_tokenizer(ctx, &f.v);
    assert_encodes(ctx, t, "he", 2, LMF_ENCODE_DEFAULTS, IDS(f.he));
    lmf_tokenizer_destroy(t);

    lmf_ids ids;
    lmf_ids_init(&ids, ctx, 10);
    f.v.v.bos = f.v.v.eos = -1;
    t = test_tokenizer(ctx, &f.v);
    assert_refused(ctx, LMF_E_ARG, "no BOS token", lmf_tokenizer_encode(t, "he", 2, LMF_ENCODE_BOS, &ids));
    assert_refused(ctx, LMF_E_ARG, "no EOS token", lmf_tokenizer_encode(t, "he", 2, LMF_ENCODE_EOS, &ids));
    lmf_tokenizer_destroy(t);
    lmf_test_ctx_done(ctx);
}

static void flags_of_added_tokens(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    test_vocab v;
    test_vocab_init(&v, "gpt-2");
    int32_t left = test_vocab_add(&v, "<l>", LMF_TOKEN_CONTROL, LMF_ADDED_LSTRIP), right = test_vocab_add(&v, "<r>", LMF_TOKEN_CONTROL, LMF_ADDED_RSTRIP);
    int32_t word = test_vocab_add(&v, "he", LMF_TOKEN_USER_DEFINED, LMF_ADDED_SINGLE_WORD), late = test_vocab_add(&v, "xhe", LMF_TOKEN_USER_DEFINED, LMF_ADDED_NORMALIZED);
    int32_t hx = test_vocab_add(&v, "hx", LMF_TOKEN_USER_DEFINED, 0), xh = test_vocab_add(&v, "xh", LMF_TOKEN_USER_DEFINED, LMF_ADDED_NORMALIZED);
    lmf_tokenizer *t = test_tokenizer(ctx, &v);
#define CASE(text, ...) assert_encodes(ctx, t, text, strlen(text), LMF_ENCODE_SPECIAL, IDS(__VA_ARGS__))
    CASE("a \t<l> b", 'a', left, ' ', 'b');
    CASE("a\xe3\x80\x80<l>", 'a', left);
    CASE("a <r> \n b", 'a', ' ', right, 'b');
    CASE("<r> <l>", right, left);
    CASE("  <l>", left);
    CASE("he she he", word, ' ', 's', 'h', 'e', ' ', word);
    CASE("he_ -he.", 'h', 'e', '_', ' ', '-', word, '.');
    CASE("xhe", late);
    CASE("x he", 'x', ' ', word);
    CASE("xhx", 'x', hx); /* NORMALIZED ones come second, wherever they begin */
    CASE("xh hx", xh, ' ', hx);
#undef CASE
    lmf_tokenizer_destroy(t);
    lmf_test_ctx_done(ctx);
}

/* SentencePiece's kind: characters, marks for spaces, bytes by name. */
typedef struct spaced {
    test_vocab    v;
    float         score[TEST_TOKENS];
    lmf_norm_step norm[2];
    int32_t       unk, bos, space, he, h_e_l, ello, hello, ctl, user;
} spaced;

static void spaced_init(spaced *f, bool by_score)
{
    static const char *const letters[] = { "h", "e", "l", "o", "\xc3\xa9", "\xe2\x96\x81" };
    memset(f, 0, sizeof *f);
    lmf_vocab_init(&f->v.v);
    f->v.v.model = "llama";
    f->v.v.token = f->v.token, f->v.v.kind = f->v.kind, f->v.v.added = f->v.added, f->v.v.merge = f->v.merge;
    f->unk = test_vocab_add(&f->v, "<unk>", LMF_TOKEN_UNKNOWN, 0);
    f->bos = test_vocab_add(&f->v, "<s>", LMF_TOKEN_CONTROL, 0);
    for (int b = 0; b < 256; b++) {
        char name[8];
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)b);
        if (b != 0xd0)
            test_vocab_add(&f->v, name, LMF_TOKEN_BYTE, 0);
    }
    for (int i = 0; i < 6; i++)
        f->space = test_vocab_add(&f->v, letters[i], LMF_TOKEN_NORMAL, 0);
    f->he = test_vocab_merge(&f->v, "h e");
    f->h_e_l = test_vocab_merge(&f->v, "l l");
    f->ello = test_vocab_merge(&f->v, "ll o");
    f->hello = test_vocab_merge(&f->v, "\xe2\x96\x81 he");
    f->ctl = test_vocab_add(&f->v, "heo", LMF_TOKEN_CONTROL, 0);
    f->user = test_vocab_add(&f->v, "\xe2\x96\x81\xe2\x96\x81", LMF_TOKEN_USER_DEFINED, 0);
    for (size_t i = 0; i < f->v.v.n_tokens; i++)
        f->score[i] = -(float)i;
    f->norm[0] = (lmf_norm_step){ LMF_NORM_PREPEND, NULL, " ", 0, 1 };
    f->norm[1] = (lmf_norm_step){ LMF_NORM_REPLACE, LMF_SPACE_MARK, " ", 3, 1 };
    f->v.v.norm = f->norm, f->v.v.n_norm = 2;
    f->v.v.unk = f->unk, f->v.v.bos = f->bos, f->v.v.fuse_unk = f->v.v.strip = true;
    f->v.v.score = by_score ? f->score : NULL;
}

static void spaced_words(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    spaced f;
    for (int by_score = 0; by_score < 2; by_score++) {
        spaced_init(&f, by_score);
        lmf_tokenizer *t = test_tokenizer(ctx, &f.v);
#define BYTE(b) (2 + (b) - ((b) > 0xd0))
#define CASE(text, ...) assert_encodes(ctx, t, text, strlen(text), LMF_ENCODE_SPECIAL, IDS(__VA_ARGS__))
        CASE("hello", f.hello, f.ello);
        CASE("he he", f.hello, f.hello);
        CASE("he\xe2\x96\x81he", f.hello, f.hello);
        CASE("<s>he<s>he", f.bos, f.hello, f.bos, f.hello);                     /* a space before each stretch */
        CASE("\xc3\xa9\xc3\xa8", f.space, f.space - 1, BYTE(0xc3), BYTE(0xa8)); /* a character that is a token, one that is not */
        CASE("\xd0\x96\xd0\x96he", f.space, f.unk, f.he);                      /* one byte of it is missing: unknown, two are one */
        CASE("<0x0A>", f.space, BYTE('<'), BYTE('0'), BYTE('x'), BYTE('0'), BYTE('A'), BYTE('>'));
        assert_encodes(ctx, t, "heo", 3, 0, IDS(f.hello, f.space - 2));          /* no merge gives a control token */
        if (by_score)
            CASE("  ", f.user, f.space); /* any two that are a token together */
#undef CASE
        lmf_ids ids;
        lmf_buf out;
        lmf_decode_stream d = { 0 };
        lmf_ids_init(&ids, ctx, 1 << 10);
        lmf_buf_init(&out, ctx, 1 << 10);
        static const char text[] = "hello he\xc3\xa8";
        assert_ok(ctx, lmf_tokenizer_encode(t, text, strlen(text), LMF_ENCODE_BOS, &ids));
        assert_ok(ctx, lmf_tokenizer_decode(t, ids.data, ids.n, LMF_DECODE_SKIP_SPECIAL, &out));
        assert_string_equal(lmf_buf_str(&out), text);
        lmf_buf_truncate(&out, 0);
        for (size_t i = 0; i < ids.n; i++)
            assert_ok(ctx, lmf_decode_stream_push(&d, t, ids.data[i], LMF_DECODE_SKIP_SPECIAL, &out));
        assert_ok(ctx, lmf_decode_stream_end(&d, &out));
        assert_string_equal(lmf_buf_str(&out), text);
        size_t at = 0, want[] = { 0, 2, 5, 8, 9, 10 };                          /* where each token ends in the text */
        assert_int_equal(ids.n, 6);
        for (size_t i = 0; i < ids.n; i++) {
            at = i ? lmf_tokenizer_end_of(t, ids.data[i], text, strlen(text), at) : 0;
            assert_int_equal(at, want[i]);
        }
        lmf_ids_clear(&ids);
        lmf_buf_clear(&out);
        lmf_tokenizer_destroy(t);
    }
    lmf_test_ctx_done(ctx);
}

static void spaced_leads(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    spaced f;
    for (int lead = LMF_LEAD_NEVER; lead <= LMF_LEAD_ALWAYS; lead++) {
        spaced_init(&f, true);
        f.v.v.norm++, f.v.v.n_norm--;
        f.v.v.lead = (lmf_lead)lead;
        lmf_tokenizer *t = test_tokenizer(ctx, &f.v);
        int32_t first = lead ? f.hello : f.he, later = lead == LMF_LEAD_ALWAYS ? f.hello : f.he;
        assert_encodes(ctx, t, "he<s>he", 7, LMF_ENCODE_SPECIAL, IDS(first, f.bos, later));
        assert_encodes(ctx, t, "<s>he", 5, LMF_ENCODE_SPECIAL, IDS(f.bos, later));
        assert_encodes(ctx, t, " he", 3, LMF_ENCODE_SPECIAL, IDS(f.hello));
        lmf_tokenizer_destroy(t);
    }
    spaced_init(&f, true);
    f.score[7] = 1.0f / 0.0f;
    lmf_tokenizer *none;
    assert_refused(ctx, LMF_E_FORMAT, "the score of token 7 is not finite", lmf_tokenizer_create(ctx, &f.v.v, &none));
    spaced_init(&f, true);
    strcpy(f.v.text[9], "<0xg7>");
    assert_refused(ctx, LMF_E_FORMAT, "token 9 is marked as a byte", lmf_tokenizer_create(ctx, &f.v.v, &none));
    lmf_test_ctx_done(ctx);
}

static void decodes_what_was_encoded(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    family f;
    lmf_ids ids;
    lmf_buf out;
    family_init(&f);
    lmf_tokenizer *t = test_tokenizer(ctx, &f.v);
    lmf_ids_init(&ids, ctx, 1 << 20);
    lmf_buf_init(&out, ctx, 1 << 20);
    uint32_t x = 3;
    for (int round = 0; round < 500; round++) {
        char text[200];
        size_t n = (size_t)round % sizeof text;
        for (size_t i = 0; i < n; i++)
            text[i] = (char)((x = x * 1664525 + 1013904223) >> 24);
        ids.n = 0;
        lmf_buf_truncate(&out, 0);
        assert_ok(ctx, lmf_tokenizer_encode(t, text, n, LMF_ENCODE_SPECIAL, &ids));
        assert_ok(ctx, lmf_tokenizer_decode(t, ids.data, ids.n, 0, &out));
        assert_int_equal(out.n, n);
        assert_memory_equal(lmf_buf_str(&out), text, n);
    }
    assert_int_equal(ids.n_dropped, 0);
    lmf_buf_truncate(&out, 0);
    const int32_t some[] = { f.im_start, f.he, f.think, f.im_end };
    assert_ok(ctx, lmf_tokenizer_decode(t, some, 4, 0, &out));
    assert_string_equal(lmf_buf_str(&out), "<|im_start|>he<think><|im_end|>");
    lmf_buf_truncate(&out, 0);
    assert_ok(ctx, lmf_tokenizer_decode(t, some, 4, LMF_DECODE_SKIP_SPECIAL, &out));
    assert_string_equal(lmf_buf_str(&out), "he<think>");
    const int32_t bad[] = { -1 };
    assert_refused(ctx, LMF_E_ARG, "token id -1 is none", lmf_tokenizer_decode(t, bad, 1, 0, &out));
    lmf_ids_clear(&ids);
    lmf_buf_clear(&out);
    lmf_tokenizer_destroy(t);
    lmf_test_ctx_done(ctx);
}

static void streams_whole_characters(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    test_vocab v;
    test_vocab_init(&v, "gpt-2");
    int32_t split = test_vocab_merge(&v, "a \xc3\xb0"); /* "a" and the first byte of a four-byte character */
    lmf_tokenizer *t = test_tokenizer(ctx, &v);
    lmf_buf out;
    lmf_buf_init(&out, ctx, 1000);
    lmf_decode_stream d = { 0 };
#define PUSH(id, want) do { lmf_buf_truncate(&out, 0); assert_ok(ctx, lmf_decode_stream_push(&d, t, id, 0, &out)); \
                            assert_string_equal(lmf_buf_str(&out), want); } while (0)
    PUSH(split, "a");
    PUSH(0x9f, "");
    PUSH(0x9a, "");
    PUSH(0x80, "\xf0\x9f\x9a\x80");
    PUSH(0xe2, "");
    PUSH(0x82, "");
    PUSH('x', "\xef\xbf\xbdx"); /* E2 82 is one ill-formed part */
    PUSH(0x80, "\xef\xbf\xbd");
    PUSH(0xf0, "");
    PUSH(0x80, "\xef\xbf\xbd\xef\xbf\xbd"); /* F0 80 begins nothing: two */
    PUSH(0xf0, "");
    PUSH(split, "\xef\xbf\xbd" "a");
    lmf_buf_truncate(&out, 0);
    assert_ok(ctx, lmf_decode_stream_end(&d, &out));
    assert_string_equal(lmf_buf_str(&out), "\xef\xbf\xbd");
    lmf_buf_truncate(&out, 0);
    assert_ok(ctx, lmf_decode_stream_end(&d, &out));
    assert_int_equal(out.n, 0);
#undef PUSH
    assert_ok(ctx, lmf_decode_stream_push(&d, t, 99999, 0, &out));
    assert_ok(ctx, lmf_tokenizer_decode(t, (const int32_t[]){ 99999, INT32_MAX }, 2, 0, &out));
    assert_int_equal(out.n, 0);
    assert_refused(ctx, LMF_E_ARG, "-1 is none", lmf_decode_stream_push(&d, t, -1, 0, &out));
    lmf_buf_clear(&out);
    lmf_tokenizer_destroy(t);
    lmf_test_ctx_done(ctx);
}

static void looks_up_tokens(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    family f;
    size_t n;
    family_init(&f);
    int32_t unused = test_vocab_add(&f.v, "gone", LMF_TOKEN_UNUSED, 0);
    lmf_tokenizer *t = test_tokenizer(ctx, &f.v);
    assert_int_equal(lmf_tokenizer_find(t, "<|im_end|>", 10), f.im_end);
    assert_int_equal(lmf_tokenizer_find(t, "<|im_end|>>", 11), f.tail);
    assert_int_equal(lmf_tokenizer_find(t, "<|im_end|", 9), -1);
    assert_int_equal(lmf_tokenizer_find(t, "<think>he", 9), -1);
    assert_int_equal(lmf_tokenizer_find(t, "he", 2), f.he);
    assert_int_equal(lmf_tokenizer_find(t, " ", 1), ' ');
    assert_int_equal(lmf_tokenizer_find(t, "gone", 4), -1);
    assert_int_equal(lmf_tokenizer_find(t, "", 0), -1);
    assert_memory_equal(lmf_tokenizer_piece(t, ' ', &n), " ", 1);
    assert_int_equal(n, 1);
    assert_null(lmf_tokenizer_piece(t, unused + 1, &n));
    assert_null(lmf_tokenizer_piece(t, -1, &n));
    assert_int_equal(lmf_tokenizer_kind(t, unused), LMF_TOKEN_UNUSED);
    assert_int_equal(lmf_tokenizer_kind(t, f.think), LMF_TOKEN_USER_DEFINED);
    assert_int_equal(lmf_tokenizer_kind(t, unused + 1), LMF_TOKEN_UNUSED);
    assert_int_equal(lmf_tokenizer_n_tokens(t), (size_t)unused + 1);
    lmf_tokenizer_destroy(t);
    lmf_test_ctx_done(ctx);
}

static void limits_leave_ids_as_they_were(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    family f;
    lmf_ids ids;
    char text[101];
    family_init(&f);
    lmf_tokenizer *t = test_tokenizer(ctx, &f.v);
    lmf_ids_init(&ids, ctx, 10);
    assert_ok(ctx, lmf_tokenizer_encode(t, "he1234567", 9, 0, &ids));
    assert_int_equal(ids.n, 8);
    assert_refused(ctx, LMF_E_LIMIT, "more than 10 tokens", lmf_tokenizer_encode(t, "12345", 5, 0, &ids));
    assert_int_equal(ids.n, 8);
    assert_int_equal(ids.data[0], f.he);
    assert_ok(ctx, lmf_tokenizer_encode(t, "89", 2, 0, &ids));
    memset(text, 'a', sizeof text);
    assert_refused(ctx, LMF_E_LIMIT, "more than 10 tokens", lmf_tokenizer_encode(t, text, sizeof text, 0, &ids));
    assert_int_equal(ids.n, 10);
    assert_refused(ctx, LMF_E_LIMIT, "at most 268435456", lmf_tokenizer_encode(t, text, (size_t)LMF_TEXT_MAX_BYTES + 1, 0, &ids));
    lmf_ids_clear(&ids);
    lmf_tokenizer_destroy(t);
    lmf_test_ctx_done(ctx);
}

static lmf_status make_encode_decode(lmf_ctx *ctx, void *arg)
{
    const family *f = arg;
    lmf_tokenizer *t = NULL;
    lmf_ids ids;
    lmf_buf out;
    lmf_decode_stream d = { 0 };
    char text[200] = "<|im_end|>he ";
    memset(text + 13, 'h', sizeof text - 13); /* a long word too */
    lmf_ids_init(&ids, ctx, 1000);
    lmf_buf_init(&out, ctx, 1000);
    lmf_status s;
    LMF_TRY_TO(done, lmf_tokenizer_create(ctx, &f->v.v, &t));
    LMF_TRY_TO(done, lmf_tokenizer_encode(t, text, sizeof text, LMF_ENCODE_SPECIAL, &ids));
    LMF_TRY_TO(done, lmf_tokenizer_decode(t, ids.data, ids.n, 0, &out));
    LMF_TRY_TO(done, lmf_decode_stream_push(&d, t, f->he, 0, &out));
done:
    lmf_buf_clear(&out);
    lmf_ids_clear(&ids);
    lmf_tokenizer_destroy(t);
    return s;
}

static void every_failing_allocation_is_survived(void **state)
{
    (void)state;
    family f;
    family_init(&f);
    f.v.added[f.think] = LMF_ADDED_NORMALIZED; /* both sets of added tokens */
    assert_true(lmf_test_fail_each_call(make_encode_decode, &f) >= 14);
}

LMF_TESTS(tokenizer) = {
    { "special tokens only where asked for", special_tokens_only_where_asked_for },
    { "text cannot forge control tokens", text_cannot_forge_control_tokens },
    { "BOS and EOS", bos_and_eos },
    { "flags of added tokens", flags_of_added_tokens },
    { "spaced_words", spaced_words }, { "spaced_leads", spaced_leads }, { "decodes what was encoded", decodes_what_was_encoded },
    { "streams whole characters", streams_whole_characters },
    { "looks up tokens", looks_up_tokens },
    { "limits leave ids as they were", limits_leave_ids_as_they_were },
    { "every failing allocation is survived", every_failing_allocation_is_survived },
    { 0 },
};
