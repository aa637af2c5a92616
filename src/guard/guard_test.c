/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "config/guard_policy.h"
#include "guard/shapes.h"
#include "test.h"

/* What is found in a text: "EMAIL_ADDRESS 5 12;". */
typedef struct told { lmf_ctx *ctx; lmf_buf b; } told;
static void tell(void *user, const lmf_finding *f, const char *text, size_t n)
{
    told *t = user;
    (void)text;
    assert_int_equal(n, f->end - f->begin);
    lmf_buf_printf(&t->b, "%s %zu %zu;", lmf_guard_entity_name(t->ctx, f->entity), f->begin, f->end);
}

/* Pushes text cut at the places of `cut`, a bit a byte before which it is cut; findings to t, what comes out to out. */
static void push(lmf_ctx *ctx, const lmf_guard_policy *p, const char *text, size_t n, const uint8_t *cut, told *t, lmf_buf *out)
{
    lmf_guard_stream s;
    *t = (told){ .ctx = ctx };
    lmf_buf_init(&t->b, ctx, 1 << 20);
    lmf_buf_init(out, ctx, 1 << 20);
    lmf_guard_open(&s, ctx, p);
    s.found = tell, s.user = t;
    for (size_t i = 0, k; i < n; i = k) {
        for (k = i + 1; k < n && !(cut && cut[k]); k++)
            ;
        assert_ok(ctx, lmf_guard_push(&s, text + i, k - i, false, out));
    }
    assert_ok(ctx, lmf_guard_push(&s, "", 0, true, out));
    lmf_guard_close(&s);
}

/* Each sample alone, between words; n 0: nothing is found. */
static const struct { const char *text, *entity; size_t begin, n; } samples[] = {
    { "to bob.smith+x@mail.example.co.uk.", "EMAIL_ADDRESS", 3, 30 }, { "a@b", NULL, 0, 0 }, { "x..y@example.com", "EMAIL_ADDRESS", 3, 13 },
    { "zo\xc3\xab@example.nl", "EMAIL_ADDRESS", 0, 15 }, { "a@-b.com", NULL, 0, 0 }, { "a@b.c", NULL, 0, 0 }, { "a@1.2", NULL, 0, 0 },
    { "4111 1111 1111 1111 123", "CREDIT_CARD", 0, 19 }, { "4111-1111-1111-1112", NULL, 0, 0 }, { "378282246310005", "CREDIT_CARD", 0, 15 },
    { "x4111111111111111", NULL, 0, 0 }, { "41111111111111110", NULL, 0, 0 }, { "9111111111111111", NULL, 0, 0 },
    { "DE89 3704 0044 0532 0130 00", "IBAN_CODE", 0, 27 }, { "DE88370400440532013000", NULL, 0, 0 }, { "GB29NWBK60161331926819x", NULL, 0,
    0 },
    { "nl91abna0417164300", "IBAN_CODE", 0, 18 }, { "536-90-4399", "US_SSN", 0, 11 }, { "666-90-4399", NULL, 0, 0 }, { "536-00-4399",
    NULL, 0, 0 },
    { "536-90-0000", NULL, 0, 0 }, { "978-84-1347-250-8", NULL, 0, 0 }, { "(323-955-4226)", "PHONE_NUMBER", 1, 12 },
    { "IMEI 688094003864503.", "IMEI", 5, 15 }, { "536904399", NULL, 0, 0 }, { "his SSN: 536904399", "US_SSN", 9, 9 }, { "53-690-4399",
      NULL, 0, 0 },
    { "912-70-1234", "US_ITIN", 0, 11 }, { "912-69-1234", NULL, 0, 0 }, { "NHS 943 476 5919", "UK_NHS", 4, 12 },
    { "943 476 5919", "PHONE_NUMBER", 0, 12 }, { "nhs 9434765919", "UK_NHS", 4, 10 },
    { "nhs 9434765918", NULL, 0, 0 }, { "routing 021000021", "ABA_ROUTING_NUMBER", 8, 9 },
    { "routing 021000022", NULL, 0, 0 }, { "IMEI 49-015420-323751-8", "IMEI", 5, 18 }, { "49-015420-323751-7", NULL, 0, 0 },
    { "1HGCM82633A004352", "VIN", 0, 17 }, { "1HGCM82643A004352", NULL, 0, 0 }, { "192.168.0.1", "IP_ADDRESS", 0, 11 },
    { "192.168.0.256", NULL, 0, 0 }, { "1.2.3.4.5", NULL, 0, 0 }, { "fe80::1ff:fe23:4567:890a", "IP_ADDRESS", 0, 24 },
    { "::ffff:10.0.0.1", "IP_ADDRESS", 0, 15 },
    { "12:30:45", NULL, 0, 0 }, { "a::", NULL, 0, 0 }, { "1:2:3:4:5:6:7:8", "IP_ADDRESS", 0, 15 }, { "1:2:3:4:5:6:7:8:9", NULL, 0, 0 },
    { "00:1B:44:11:3A:B7", "MAC_ADDRESS", 0, 17 }, { "00:1B:44-11:3A:B7", NULL, 0, 0 }, { "see https://example.com/a_(b)?q=1.", "URL", 4,
    29 },
    { "www.example.com", "URL", 0, 15 }, { "www.", NULL, 0, 0 }, { "+49 30 901820-0", "PHONE_NUMBER", 0, 15 }, { "(212) 555-0199",
    "PHONE_NUMBER", 0, 14 },
    { "212-555-0199", "PHONE_NUMBER", 0, 12 }, { "112-555-0199", NULL, 0, 0 }, { "030 901820", NULL, 0, 0 }, { "Tel 030 9018200",
    "PHONE_NUMBER", 4, 11 },
    { "2026-11-29", NULL, 0, 0 }, { "+1", NULL, 0, 0 }, { "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "CRYPTO", 0, 34 },
    { "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN3", NULL, 0, 0 }, { "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "CRYPTO", 0, 42 },
    { "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5", NULL, 0, 0 }, { "0xde0B295669a9FD93d5F28D9Ec85E40f4cb697BAe", "CRYPTO", 0, 42 },
    { "sk-abcdEFGH1234567890abcdef", "API_KEY", 0, 27 }, { "sk-short1", NULL, 0, 0 }, { "token 9f8A7b6C5d4E3f2A1b0C9d8E", "API_KEY", 6,
    24 },
    { "abacus 021000021", NULL, 0, 0 }, /* a word that begins as one that says so */
    { "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2@example.com", "EMAIL_ADDRESS", 0, 46 }, /* the longer of two that are as sure */
    { "9f8A7b6C5d4E3f2A1b0C9d8E", NULL, 0, 0 }, { "sk-aaaaaaaaaaaaaaaaaaaaaaaaa1", NULL, 0, 0 } };

static void each_sample(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_guard_policy p;
    lmf_guard_policy_init(&p);
    for (size_t i = 0; i < sizeof samples / sizeof *samples; i++) {
        told t;
        lmf_buf out;
        char want[200] = "";
        if (samples[i].n)
            snprintf(want, sizeof want, "%s %zu %zu;", samples[i].entity, samples[i].begin, samples[i].begin + samples[i].n);
        push(ctx, &p, samples[i].text, strlen(samples[i].text), NULL, &t, &out);
        if (strcmp(lmf_buf_str(&t.b), want))
            fail_msg("%s: found \"%s\", not \"%s\"", samples[i].text, lmf_buf_str(&t.b), want);
        lmf_buf_clear(&t.b), lmf_buf_clear(&out);
    }
    lmf_test_ctx_done(ctx);
}

/* Examples of SWIFT's IBAN registry. */
static void accounts(void **state)
{
    (void)state;
    static const char *const rows[] = { "AD1200012030200359100100", "AE070331234567890123456", "AL47212110090000000235698741",
        "AT611904300234573201", "BE68539007547034", "BG80BNBG96611020345678", "BR1800360305000010009795493C1", "CH9300762011623852957",
        "CY17002001280000001200527600", "CZ6508000000192000145399", "DE89370400440532013000", "DK5000400440116243",
        "EE382200221020145685", "ES9121000418450200051332", "FI2112345600000785", "FR1420041010050500013M02606",
        "GB29NWBK60161331926819", "GR1601101250000000012300695", "HR1210010051863000160", "HU42117730161111101800000000",
        "IE29AIBK93115212345678", "IL620108000000099999999", "IS140159260076545510730339", "IT60X0542811101000000123456",
        "LI21088100002324013AA", "LT121000011101001000", "LU280019400644750000", "LV80BANK0000435195001",
        "MC5811222000010123456789030", "MT84MALT011000012345MTLCAST001S", "NL91ABNA0417164300", "NO9386011117947",
        "PL61109010140000071219812874", "PT50000201231234567890154", "RO49AAAA1B31007593840000", "RS35260005601001611379",
        "SA0380000000608010167519", "SE4550000000058398257466", "SI56191000000123438", "SK3112000000198742637541",
        "SM86U0322509800000000270100", "TR330006100519786457841326", "UA213223130000026007233566001" };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_guard_policy p;
    lmf_guard_policy_init(&p);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        told t;
        lmf_buf out;
        char want[64];
        snprintf(want, sizeof want, "IBAN_CODE 0 %zu;", strlen(rows[i]));
        push(ctx, &p, rows[i], strlen(rows[i]), NULL, &t, &out);
        if (strcmp(lmf_buf_str(&t.b), want))
            fail_msg("%s: found \"%s\"", rows[i], lmf_buf_str(&t.b));
        lmf_buf_clear(&t.b), lmf_buf_clear(&out);
    }
    lmf_test_ctx_done(ctx);
}

/* 13 digits may be an article's number as well: half as sure, until a word says what they are. */
static void half_as_sure(void **state)
{
    (void)state;
    static const struct { const char *text, *want; } rows[] = { { "4222222222222", "" }, { "card 4222222222222", "CREDIT_CARD 5 18;" },
        { "4111111111111111", "CREDIT_CARD 0 16;" } };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_guard_policy p;
    lmf_guard_policy_init(&p);
    p.threshold = 0.6f;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        told t;
        lmf_buf out;
        push(ctx, &p, rows[i].text, strlen(rows[i].text), NULL, &t, &out);
        assert_string_equal(lmf_buf_str(&t.b), rows[i].want);
        lmf_buf_clear(&t.b), lmf_buf_clear(&out);
    }
    lmf_test_ctx_done(ctx);
}

static uint32_t draw(uint64_t *seed) { return (uint32_t)((*seed = *seed * 6364136223846793005u + 1442695040888963407u) >> 33); }

/* Samples, words and bytes of any kind, cut anywhere: the same findings and the same text as whole. */
static void however_cut(void **state)
{
    (void)state;
    enum { N = sizeof samples / sizeof *samples, TEXTS = 400, CUTS = 20 };
    static const char *const between[] = { " ", ", ", "\n", "x", "-", ".", "+", "(", "\xc3\xa9", " call ", " ssn: ",
        " and so on, at some length " };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_guard_policy p;
    uint64_t seed = 1;
    lmf_guard_policy_init(&p);
    for (int i = 0; i < TEXTS; i++) {
        lmf_buf text, want, have;
        told whole, pieces;
        lmf_buf_init(&text, ctx, 1 << 16);
        for (uint32_t k = draw(&seed) % 8 + 1; k; k--) {
            lmf_buf_puts(&text, samples[draw(&seed) % N].text);
            lmf_buf_puts(&text, between[draw(&seed) % (sizeof between / sizeof *between)]);
            if (draw(&seed) % 4 == 0) /* half of one */
                lmf_buf_truncate(&text, text.n - draw(&seed) % text.n / 2);
        }
        push(ctx, &p, text.data, text.n, NULL, &whole, &want);
        for (int c = 0; c < CUTS; c++) {
            uint8_t cut[1 << 12] = { 0 };
            uint32_t rate = c ? draw(&seed) % 20 + 1 : 1; /* first: every byte for itself */
            for (size_t b = 0; b < text.n && b < sizeof cut; b++)
                cut[b] = draw(&seed) % rate == 0;
            push(ctx, &p, text.data, text.n, cut, &pieces, &have);
            if (strcmp(lmf_buf_str(&whole.b), lmf_buf_str(&pieces.b)) || strcmp(lmf_buf_str(&want), lmf_buf_str(&have)))
                fail_msg("\"%s\": whole \"%s\", in pieces \"%s\"", lmf_buf_str(&text), lmf_buf_str(&whole.b), lmf_buf_str(&pieces.b));
            lmf_buf_clear(&pieces.b), lmf_buf_clear(&have);
        }
        lmf_buf_clear(&text), lmf_buf_clear(&whole.b), lmf_buf_clear(&want);
    }
    lmf_test_ctx_done(ctx);
}

/* A word that goes on is held; what can't become anything goes out. */
static void holds_back(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_guard_policy p;
    lmf_guard_stream s;
    lmf_buf out;
    lmf_guard_policy_init(&p);
    lmf_buf_init(&out, ctx, 1 << 10);
    lmf_guard_open(&s, ctx, &p);
    assert_ok(ctx, lmf_guard_push(&s, "write to bob@exa", 16, false, &out));
    assert_string_equal(lmf_buf_str(&out), "write to ");
    assert_ok(ctx, lmf_guard_push(&s, "mple.com now, ", 14, false, &out));
    assert_string_equal(lmf_buf_str(&out), "write to <EMAIL_ADDRESS> now, ");
    lmf_guard_close(&s);
    lmf_buf_clear(&out);
    lmf_test_ctx_done(ctx);
}

static void operators(void **state)
{
    (void)state;
    static const struct { const char *op, *want; } rows[] = {
        { "replace", "a <EMAIL_ADDRESS> b" }, { "redact", "a  b" }, { "mask", "a ********* b" }, { "keep", "a zo\xc3\xab@ex.nl b" },
            { "block", "a " },
        { "ignore", "a zo\xc3\xab@ex.nl b" } };
    lmf_ctx *ctx = lmf_test_ctx();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        const char *text = "a zo\xc3\xab@ex.nl b";
        lmf_guard_policy p;
        lmf_buf out;
        told t;
        lmf_guard_policy_init(&p);
        assert_ok(ctx, lmf_guard_policy_set(ctx, &p, "EMAIL_ADDRESS", rows[i].op));
        push(ctx, &p, text, strlen(text), NULL, &t, &out);
        assert_string_equal(lmf_buf_str(&out), rows[i].want);
        lmf_buf_clear(&t.b), lmf_buf_clear(&out);
    }
    lmf_test_ctx_done(ctx);
}

/* sha256("pepper" "a@ex.nl"), as sha256sum has it. */
static void hash_is_sha256(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_guard_policy p;
    lmf_buf out;
    told t;
    assert_ok(ctx, lmf_guard_policy_parse(ctx, "p.yaml", "salt: pepper\nentities:\n  DEFAULT: hash\n", 38, &p));
    push(ctx, &p, "a@ex.nl", 7, NULL, &t, &out);
    assert_string_equal(lmf_buf_str(&out), "055bf4b67911c86e7026d4c7f6d1872caac3b5792c6b33105b297f604288ed77");
    lmf_buf_clear(&t.b), lmf_buf_clear(&out);
    lmf_test_ctx_done(ctx);
}

static void policies(void **state)
{
    (void)state;
    static const struct { const char *text, *says; } wrong[] = {
        { "threshold: 2\n", "threshold is a number from 0 to 1" }, { "treshold: 0.5\n", "treshold" }, { "entities:\n  EMAIL: mask\n",
            "line 2" },
        { "entities:\n  EMAIL_ADDRESS: hide\n", "replace" }, { "entities:\n  EMAIL_ADDRESS:\n", "null" }, { "- a\n", "" },
        { "phrases: [\" a\"]\n", "white space" }, { "entities:\n  URL: encrypt\n", "key of 16" }, { "name: a b\n", "name is made" },
        { "max_answer_tokens: 0\n", "from 1 on" } };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_guard_policy p;
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        assert_int_not_equal(lmf_guard_policy_parse(ctx, "p.yaml", wrong[i].text, strlen(wrong[i].text), &p), LMF_OK);
        if (!strstr(lmf_error(ctx), wrong[i].says))
            fail_msg("\"%s\": \"%s\" does not say \"%s\"", wrong[i].text, lmf_error(ctx), wrong[i].says);
    }
    const char *json = "{\"entities\": {\"URL\": \"ignore\", \"DEFAULT\": \"mask\"}, \"threshold\": 0.25}";
    assert_ok(ctx, lmf_guard_policy_parse(ctx, "p.json", json, strlen(json), &p));
    for (int k = 0; k < lmf_guard_n_entities(ctx); k++)
        assert_int_equal(p.by[k], strcmp(ctx->tables->recognizers[k]->entity, "URL") ? LMF_GUARD_MASK : LMF_GUARD_IGNORE);
    assert_true(p.threshold == 0.25f);
    lmf_test_ctx_done(ctx);
}

/* Phrases: whole words in either case, over white space of any length, wherever the text is cut. */
static void own_phrases(void **state)
{
    (void)state;
    static const struct { const char *text, *want; } rows[] = {
        { "of PROJECT\n  osprey, then", "of <BLOCKED_PHRASE>, then" }, { "project ospreys", "project ospreys" },
        { "subproject osprey", "subproject osprey" }, { "projectosprey", "projectosprey" }, { "42%!", "<BLOCKED_PHRASE>!" },
        { "Project", "Project" }, { "x y z, x y", "<BLOCKED_PHRASE>, <BLOCKED_PHRASE>" } };
    static const char policy[] = "phrases: [project osprey, \"42%\", x y z, x y]\nentities:\n  BLOCKED_PHRASE: replace\n";
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_guard_policy p;
    assert_ok(ctx, lmf_guard_policy_parse(ctx, "p.yaml", policy, sizeof policy - 1, &p));
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int pieces = 0; pieces < 2; pieces++) {
            uint8_t cut[64];
            lmf_buf out;
            told t;
            memset(cut, 1, sizeof cut);
            push(ctx, &p, rows[i].text, strlen(rows[i].text), pieces ? cut : NULL, &t, &out);
            assert_string_equal(lmf_buf_str(&out), rows[i].want);
            lmf_buf_clear(&t.b), lmf_buf_clear(&out);
        }
    assert_ok(ctx, lmf_guard_policy_parse(ctx, "p.yaml", "phrases: [a b]\nentities:\n  DEFAULT: mask\n", 40, &p));
    assert_int_equal(p.by[LMF_GUARD_PHRASE], LMF_GUARD_BLOCK); /* of DEFAULT it is none */
    lmf_test_ctx_done(ctx);
}

/* What encrypt wrote comes back with its key; with another, or changed, it does not. */
static void vault(void **state)
{
    (void)state;
    static const char text[] = "zo\xc3\xab@ex.nl, bob@ex.nl and zo\xc3\xab@ex.nl, token 9f8A7b6C5d4E3f2A1b0C9d8E, <B:x> <";
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_guard_policy p;
    lmf_buf out, back, marks;
    told t;
    const char *policy = "key: a key of some length\nentities:\n  DEFAULT: encrypt\n";
    assert_ok(ctx, lmf_guard_policy_parse(ctx, "p.yaml", policy, strlen(policy), &p));
    push(ctx, &p, text, sizeof text - 1, NULL, &t, &out);
    assert_null(strstr(lmf_buf_str(&out), "@"));
    lmf_buf_init(&back, ctx, 1 << 10);
    assert_ok(ctx, lmf_guard_restore(ctx, &p, lmf_buf_str(&out), out.n, &back));
    assert_string_equal(lmf_buf_str(&back), text);
    lmf_buf again;
    told none;
    assert_null(strstr(lmf_buf_str(&out), "9f8A"));
    push(ctx, &p, out.data, out.n, NULL, &none, &again); /* its own marks are text that was treated */
    assert_string_equal(lmf_buf_str(&again), lmf_buf_str(&out));
    lmf_buf_clear(&none.b), lmf_buf_clear(&again);
    size_t n = strcspn(lmf_buf_str(&out), ">") + 1;
    assert_memory_equal(out.data, strstr(lmf_buf_str(&out), "and ") + 4, n); /* the same text, the same mark */
    lmf_buf_init(&marks, ctx, 1 << 10);
    lmf_buf_append(&marks, out.data, out.n);
    marks.data[20] = marks.data[20] == 'A' ? 'B' : 'A';
    assert_int_equal(lmf_guard_restore(ctx, &p, lmf_buf_str(&marks), marks.n, &back), LMF_E_FORMAT);
    assert_non_null(strstr(lmf_error(ctx), "byte 0"));
    /* one text, one mark: bits of its last digit that hold nothing are 0 */
    static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    bool spare = false;
    for (size_t i = 0, from = 0; i < out.n; i++) {
        from = out.data[i] == ':' ? i + 1 : from;
        if (out.data[i] != '>' || i - from < 26 || 5 * (i - from) % 8 == 0)
            continue;
        marks.n = 0, spare = true;
        lmf_buf_append(&marks, out.data, out.n);
        marks.data[i - 1] = digit[(strchr(digit, out.data[i - 1]) - digit) ^ 1];
        assert_int_equal(lmf_guard_restore(ctx, &p, lmf_buf_str(&marks), marks.n, &back), LMF_E_FORMAT);
    }
    assert_true(spare);
    p.key[0] = 'A';
    assert_int_equal(lmf_guard_restore(ctx, &p, lmf_buf_str(&out), out.n, &back), LMF_E_FORMAT);
    p.key[0] = 0;
    assert_int_equal(lmf_guard_restore(ctx, &p, lmf_buf_str(&out), out.n, &back), LMF_E_ARG);
    lmf_buf_clear(&t.b), lmf_buf_clear(&out), lmf_buf_clear(&back), lmf_buf_clear(&marks);
    lmf_test_ctx_done(ctx);
}

/* A recognizer that fails, or tells of what is not there: nothing of the text behind what was certain before goes out, then or later. */
static lmf_match fails(lmf_guard_text *t, size_t at)
{
    (void)at;
    t->failed = "its model's file is gone";
    return (lmf_match){ 0 };
}
static lmf_match beyond(lmf_guard_text *t, size_t at) { return (lmf_match){ t->n - at + 1, 1 }; }
static lmf_match unsure(lmf_guard_text *t, size_t at) { return (lmf_match){ lmf_guard_at(t, at) == 'x', 0.0f / 0.0f }; }

static void fails_closed(void **state)
{
    (void)state;
    static const lmf_recognizer bad[] = { { "A", "", "x", NULL, fails }, { "A", "", "x", NULL, beyond }, { "A", "", "x", NULL, unsure } };
    lmf_ctx *ctx = lmf_test_ctx();
    const lmf_tables *all = ctx->tables;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        const lmf_recognizer *const list[] = { &bad[i], NULL };
        lmf_tables mine = *all;
        lmf_guard_policy p;
        lmf_guard_stream s;
        lmf_buf out;
        mine.recognizers = list;
        ctx->tables = &mine;
        lmf_guard_policy_init(&p);
        lmf_buf_init(&out, ctx, 1 << 10);
        lmf_guard_open(&s, ctx, &p);
        assert_int_equal(lmf_guard_push(&s, "before x secret", 15, true, &out), LMF_E_INTERNAL);
        assert_non_null(strstr(lmf_error(ctx), "the recognizer of A failed"));
        assert_int_equal(lmf_guard_push(&s, "more", 4, true, &out), LMF_E_INTERNAL);
        assert_string_equal(lmf_buf_str(&out), "");
        lmf_guard_close(&s);
        lmf_buf_clear(&out);
        ctx->tables = all;
    }
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(guard) = { { "each sample", each_sample }, { "accounts", accounts }, { "half as sure", half_as_sure },
    { "however cut", however_cut }, { "holds back", holds_back }, { "operators", operators }, { "hash is SHA-256", hash_is_sha256 },
    { "policies", policies }, { "own phrases", own_phrases }, { "vault", vault }, { "fails closed", fails_closed }, { 0 } };
