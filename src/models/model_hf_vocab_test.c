/* SPDX-License-Identifier: Apache-2.0 */
/* What the files of a Hugging Face folder say of its tokens; tools/oracle/folders.py compares hundreds of them with transformers. The
 * formula
 * model: bytes are tokens 0 to 255, "he" 256, "in" 257, " t" 258, <|endoftext|> 259, <|im_start|> 260, <|im_end|> 261; 264 rows. */
#include <string.h>
#include "base/file.h"
#include "format/json.h"
#include "formula.h"
#include "models/model.h"

typedef struct change { const char *file, *key, *value; } change; /* value: JSON text; key NULL: the whole file */

static void apply(lmf_ctx *ctx, const char *dir, const change *c)
{
    char path[600];
    json_t *root = NULL, *value = json_loads(c->value, JSON_DECODE_ANY, NULL);
    assert_ok(ctx, lmf_path_join(ctx, path, sizeof path, dir, c->file));
    if (!c->key) {
        json_decref(value);
        assert_ok(ctx, lmf_file_write(ctx, path, c->value, strlen(c->value)));
        return;
    }
    assert_non_null(value);
    if (lmf_path_stat(path) == LMF_PATH_NONE)
        root = json_object();
    else
        assert_ok(ctx, lmf_json_load(ctx, path, 1 << 24, LMF_JSON_VOCAB, &root));
    assert_int_equal(json_object_set_new(root, c->key, value), 0);
    assert_ok(ctx, lmf_json_save(ctx, path, root));
    json_decref(root);
}

static lmf_status open_with(lmf_ctx *ctx, const change *c, size_t n, lmf_model **m)
{
    const char *dir = lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 1 });
    char own[600];
    snprintf(own, sizeof own, "%s", dir);
    for (size_t i = 0; i < n; i++)
        apply(ctx, own, &c[i]);
    return lmf_model_open(ctx, own, m);
}
#define OPEN(ctx, m, ...) open_with(ctx, (const change[]){ __VA_ARGS__ }, sizeof (change[]){ __VA_ARGS__ } / sizeof(change), m)

static void assert_ids(const lmf_model *m, const char *text, unsigned flags, const int32_t *want, size_t n)
{
    lmf_ids ids;
    lmf_ids_init(&ids, m->ctx, 1000);
    assert_ok(m->ctx, lmf_tokenizer_encode(m->tokenizer, text, strlen(text), flags, &ids));
    for (size_t i = 0; i < n && i < ids.n; i++)
        if (ids.data[i] != want[i])
            fail_msg("\"%s\": token %zu is %d, not %d", text, i, ids.data[i], want[i]);
    assert_int_equal(ids.n, n);
    lmf_ids_clear(&ids);
}
#define IDS(...) (const int32_t[]){ __VA_ARGS__ }, sizeof (int32_t[]){ __VA_ARGS__ } / sizeof(int32_t)

#define PUT(id, text) "{\"SpecialToken\":{\"id\":\"" text "\",\"type_id\":0}}"
#define TEXT "{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}"
#define TOKEN(id, text) "\"" text "\":{\"id\":\"" text "\",\"ids\":[" #id "],\"tokens\":[\"" text "\"]}"
#define TEMPLATE(single, tokens) "{\"type\":\"TemplateProcessing\",\"single\":[" single "],\"pair\":[],\"special_tokens\":{" tokens "}}"
#define BOS TEMPLATE(PUT(259, "<|endoftext|>") "," TEXT, TOKEN(259, "<|endoftext|>"))
#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}"
#define SEQUENCE(a) "{\"type\":\"Sequence\",\"processors\":[" BYTE_LEVEL "," a "]}"

/* The post-processor says what stands around a text, whatever add_bos_token says. */
static void post_processor(void **state)
{
    static const struct { const char *post, *add_bos; int32_t bos, eos; } rows[] = {
        { BOS, "null", 259, -1 }, { SEQUENCE(BOS), "null", 259, -1 }, { SEQUENCE(BOS), "false", 259, -1 }, { BYTE_LEVEL, "true", -1, -1 },
            { "null", "true", -1, -1 },
        { TEMPLATE(TEXT "," PUT(261, "<|im_end|>"), TOKEN(261, "<|im_end|>")), "null", -1, 261 },
        { TEMPLATE(PUT(260, "<|im_start|>") "," TEXT "," PUT(261, "<|im_end|>"), TOKEN(260, "<|im_start|>") "," TOKEN(261, "<|im_end|>")),
            "null", 260, 261 } };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_ctx *ctx = lmf_test_ctx();
        lmf_model *m;
        int32_t want[4] = { rows[i].bos, 256, rows[i].eos };
        assert_ok(ctx, OPEN(ctx, &m, { "tokenizer_config.json", NULL, "{}" }, { "tokenizer_config.json", "add_bos_token",
            rows[i].add_bos }, { "tokenizer.json", "post_processor", rows[i].post }));
        assert_ids(m, "he", LMF_ENCODE_DEFAULTS, want + (rows[i].bos < 0), 1 + (rows[i].bos >= 0) + (rows[i].eos >= 0));
        assert_ids(m, "he", LMF_ENCODE_SPECIAL, IDS(256));
        lmf_model_close(m);
        lmf_test_ctx_done(ctx);
    }
}

static void refused(void **state)
{
    static const struct { change c; const char *words; } rows[] = {
        { { "tokenizer.json", "post_processor", "{\"type\":\"RobertaProcessing\"}" }, "post_processor \"RobertaProcessing\"" },
        { { "tokenizer.json", "post_processor", "{\"type\":\"BertProcessing\",\"cls\":[\"a\",97],\"sep\":[\"b\",264]}" },
            "BertProcessing's cls or sep is no token" },
        { { "tokenizer.json", "post_processor", TEMPLATE(PUT(1, "<x>") "," TEXT, TOKEN(9999, "<x>")) },
            "special token <x> is not one token" },
        { { "tokenizer.json", "post_processor", TEMPLATE(PUT(260, "<|im_start|>") "," PUT(260, "<|im_start|>") "," TEXT, TOKEN(260,
            "<|im_start|>")) }, "more than one token" },
        { { "tokenizer.json", "post_processor", TEMPLATE(PUT(260, "<|im_start|>") "," TEXT, TOKEN(260, "<|im_start|>")) },
            "bos_token is token 259: they contradict" },
        { { "tokenizer.json", "normalizer", "{\"type\":\"Nmt\"}" }, "normalizer \"Nmt\"" },
        { { "tokenizer.json", "decoder", "{\"type\":\"Metaspace\"}" }, "decoder \"Metaspace\"" },
        { { "tokenizer.json", "decoder", "{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"ByteLevel\"},{\"type\":\"Strip\"}]}" },
            "decoder \"Strip\"" },
        { { "tokenizer.json", "normalizer", "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"StripAccents\"}]}" },
            "normalizer \"StripAccents\"" },
        { { "tokenizer.json", "normalizer", "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a\"},\"content\":\"b\"}" },
            "Replace with a regular expression" },
        { { "tokenizer_config.json", "added_tokens_decoder", "{\"263\":{\"content\":\"<|im_end|>\"}}" },
            "the id 263, by tokenizer.json it is 261" },
        { { "tokenizer_config.json", "added_tokens_decoder", "{\"263\":{\"content\":\"<x>\"}}" },
            "the id 263, by tokenizer.json it is 262" },
        { { "tokenizer_config.json", "added_tokens_decoder", "{\"a\":{\"content\":\"<x>\"}}" }, "no token id" },
        { { "added_tokens.json", NULL, "{\"<|im_end|>\": 260}" }, "added_tokens.json gives the token <|im_end|> the id 260" },
        { { "added_tokens.json", NULL, "{\"<x>\": 262, \"<y>\": 262}" }, "the same id" },
        { { "tokenizer_config.json", "split_special_tokens", "true" }, "split_special_tokens is true" },
        { { "tokenizer_config.json", "add_prefix_space", "true" }, "add_prefix_space is true in tokenizer_config.json and false" },
        { { "config.json", "model_type", "\"qwen2\"" }, "\"LlamaForCausalLM\" and the model_type \"qwen2\" contradict" },
        { { "config.json", "architectures", "[\"MysteryForCausalLM\"]" }, "\"MysteryForCausalLM\", which is not supported" } };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_ctx *ctx = lmf_test_ctx();
        lmf_model *m;
        lmf_status s = OPEN(ctx, &m, { "tokenizer_config.json", NULL, "{\"bos_token\": \"<|endoftext|>\"}" }, rows[i].c);
        if (!s || !strstr(lmf_error(ctx), rows[i].words))
            fail_msg("%s, %s: \"%s\" does not say \"%s\"", rows[i].c.file, rows[i].c.value, s ? lmf_error(ctx) : "it opens", rows[i].words);
        lmf_model_close(m);
        lmf_test_ctx_done(ctx);
    }
}

/* Names of one file do not hide the list of another; a list does, even an empty one. */
static void extra_tokens(void **state)
{
    static const struct { const char *extra; int32_t b; } rows[] = {
        { "{\"image_token\": \"<img>\"}", 263 }, { "[\"<img>\"]", -1 }, { "[]", -1 } };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_ctx *ctx = lmf_test_ctx();
        lmf_model *m;
        assert_ok(ctx, OPEN(ctx, &m, { "tokenizer_config.json", "extra_special_tokens", rows[i].extra },
                            { "special_tokens_map.json", NULL, "{\"additional_special_tokens\": [\"<b>\"]}" }));
        assert_int_equal(lmf_tokenizer_find(m->tokenizer, "<img>", 5), i < 2 ? 262 : -1);
        assert_int_equal(lmf_tokenizer_find(m->tokenizer, "<b>", 3), rows[i].b);
        lmf_model_close(m);
        lmf_test_ctx_done(ctx);
    }
}

/* Each file adds its tokens at the next ids, with its flags; one past the embedding's rows is left out. */
static void added_tokens(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m;
    assert_ok(ctx, OPEN(ctx, &m, { "tokenizer_config.json", NULL,
        "{\"eos_token\": \"<|im_end|>\", \"additional_special_tokens\": [\"<y>\"], \"pad_token\": \"<pad>\"}" }, { "added_tokens.json",
        NULL, "{\"<x>\": 262}" }));
    assert_ids(m, "he<x><y><pad>", LMF_ENCODE_SPECIAL, IDS(256, 262, '<', 'y', '>',
        263)); /* <pad> came before the list: 263, then no row */
    assert_true(lmf_tokenizer_kind(m->tokenizer, 262) == LMF_TOKEN_USER_DEFINED && lmf_tokenizer_kind(m->tokenizer,
        263) == LMF_TOKEN_CONTROL);
    assert_int_equal(lmf_tokenizer_ids(m->tokenizer)->pad, 263);
    lmf_model_close(m);
    /* an added_tokens_decoder hides the other two files and overrides flags */
    assert_ok(ctx, OPEN(ctx, &m, { "added_tokens.json", NULL, "{\"<x>\": 262}" }, { "special_tokens_map.json", NULL,
        "{\"bos_token\": \"<|im_start|>\"}" },
        { "tokenizer_config.json", NULL,
            "{\"added_tokens_decoder\": {\"261\": {\"content\": \"<|im_end|>\", \"lstrip\": true, \"special\": true}, \"262\": {\"content\": \"<z>\", \"special\": false}}}" }));
    assert_ids(m, "he  <|im_end|> <z>", LMF_ENCODE_SPECIAL, IDS(256, 261, ' ', 262));
    assert_ids(m, "<x>", LMF_ENCODE_SPECIAL, IDS('<', 'x', '>'));
    assert_int_equal(lmf_tokenizer_ids(m->tokenizer)->bos, -1);
    lmf_model_close(m);
    /* without it the map counts, and a named word of the vocabulary becomes a special token */
    assert_ok(ctx, OPEN(ctx, &m, { "added_tokens.json", NULL, "{}" }, { "tokenizer_config.json", NULL,
        "{\"bos_token\": \"<|endoftext|>\"}" },
        { "special_tokens_map.json", NULL, "{\"bos_token\": {\"content\": \"<|im_start|>\"}, \"unk_token\": \"in\"}" }));
    assert_int_equal(lmf_tokenizer_ids(m->tokenizer)->bos, 260);
    assert_true(lmf_tokenizer_kind(m->tokenizer, 257) == LMF_TOKEN_CONTROL);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

static void assert_ends(const lmf_model *m, const int32_t *want, int n)
{
    assert_int_equal(m->chat.n_eos, n);
    for (int i = 0; i < n; i++)
        if (!lmf_chat_is_eos(&m->chat, want[i]))
            fail_msg("%d does not end an answer", want[i]);
}

#define CHATML "{% for m in messages %}<|im_start|>{{ m.role }}\\n{{ m.content }}<|im_end|>\\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\\n{% endif %}"

/* generation_config's ids, or config's, with the tokenizer's and the template's own. */
static void ends(void **state)
{
    static const struct { const char *generation, *config, *template; int32_t ends[4]; int n; const char *eos; } rows[] = {
        { "[259, 260]", "261", "x", { 259, 260 }, 2 }, { "null", "257", "x", { 257 }, 1 }, { "256", "257", "x", { 256 }, 1 },
        { "259", "259", CHATML, { 259, 261 }, 2 },                                      /* turns end with <|im_end|> */
        { "259", "259", "{% for m in messages %}{{ m.content }}{% endfor %}<|im_start|>", { 259 }, 1 }, /* opens the next turn */
        { "259", "259", "{% for m in messages %}{{ m.content }} he{% endfor %}in", { 259 }, 1 },      /* a word is none */
        { "259", "259", "x", { 259, 260 }, 2, "<|im_start|>" },                         /* the tokenizer's own */
        { "259", "259", "{{ raise_exception('no') }}", { 259 }, 1 }, { "259", "259", "{% for m", { 259 }, 1 } };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_ctx *ctx = lmf_test_ctx();
        lmf_model *m;
        char template[400];
        snprintf(template, sizeof template, "{\"chat_template\": \"%s\", \"eos_token\": \"%s\"}", rows[i].template, rows[i].eos ? rows[i].eos : "");
        assert_ok(ctx, OPEN(ctx, &m, { "tokenizer_config.json", NULL, template }, { "generation_config.json", "eos_token_id",
            rows[i].generation }, { "config.json", "eos_token_id", rows[i].config }));
        assert_ends(m, rows[i].ends, rows[i].n);
        lmf_model_close(m);
        lmf_test_ctx_done(ctx);
    }
}

/* A template that can't be parsed fails what renders, with its sentence, and nothing else. */
static void broken_template(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m;
    lmf_ids ids;
    assert_ok(ctx, OPEN(ctx, &m, { "tokenizer_config.json", NULL, "{\"chat_template\": \"{% for m in messages %}{{ m\"}" }));
    json_t *vars = json_pack("{s:[{s:s, s:s}]}", "messages", "role", "user", "content", "x");
    lmf_ids_init(&ids, ctx, 100);
    assert_ids(m, "he", 0, IDS(256));
    assert_refused(ctx, LMF_E_UNSUPPORTED, "chat template can't be used", lmf_chat_encode(&m->chat, vars, true, &ids));
    assert_true(m->chat_source && !m->chat_template && m->chat.broken);
    lmf_model_close(m);
    assert_ok(ctx, OPEN(ctx, &m, { "tokenizer_config.json", NULL, "{\"chat_template\": [{\"name\": \"rag\", \"template\": \"a\"},"
        "{\"name\": \"tool_use\", \"template\": \"b\"}]}" }));
    assert_refused(ctx, LMF_E_UNSUPPORTED, "chat templates, but none of the name default", lmf_chat_encode(&m->chat, vars, true,
        &ids));
    json_decref(vars);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

/* config.json without architectures; a class and a type that contradict each other. */
static void kinds(void **state)
{
    static const struct { const char *architectures, *type, *window, *context; bool opens; } rows[] = {
        { "null", "\"llama\"", "null", "512", true }, { "null", "\"mistral\"", "null", "512", true },
        { "[\"MistralForCausalLM\"]", "\"mistral\"", "null", "32768", true },
        { "[\"MistralForCausalLM\"]", "\"mistral\"", "4096", "32768", true },
        { "[\"LlamaForCausalLM\"]", "\"mistral\"", NULL, "32768", false },
        { "[\"MistralForCausalLM\"]", "\"mistral\"", NULL, "4096", true },
        { "[\"MistralForCausalLM\"]", "\"mistral\"", NULL, "32768", true },
        { "[\"MistralForCausalLM\"]", "\"llama\"", "null", "512", false }, { "null", "\"llama\"", "100", "512", false },
        { "null", "\"llama\"", "512", "512", true }, { "null", "\"gpt_neox\"", "null", "512", false },
        { "null", "null", "null", "512", false } };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_ctx *ctx = lmf_test_ctx();
        lmf_model *m;
        lmf_status s = OPEN(ctx, &m, { "config.json", "architectures", rows[i].architectures }, { "config.json", "model_type",
            rows[i].type },
                            { "config.json", rows[i].window ? "sliding_window" : "use_cache",
                                rows[i].window ? rows[i].window : "true" }, { "config.json", "max_position_embeddings",
                                rows[i].context });
        if (!s != rows[i].opens)
            fail_msg("%s, %s, window %s: %s", rows[i].architectures, rows[i].type, rows[i].window, s ? lmf_error(ctx) : "it opens");
        lmf_model_close(m);
        lmf_test_ctx_done(ctx);
    }
}

/* NFC and a number that no integer holds. */
static void normalizer(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m;
    assert_ok(ctx, OPEN(ctx, &m, { "tokenizer.json", "normalizer",
        "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"NFC\"},{\"type\":\"Replace\",\"pattern\":{\"String\":\"x\"},\"content\":\"he\"}]}" },
                        { "tokenizer_config.json", NULL,
                            "{\"model_max_length\": 1000000000000000019884624838656, \"y\": [1e999, Infinity]}" }));
    assert_ids(m, "e\xcc\x81x", 0, IDS(0xc3, 0xa9, 256)); /* U+00E9 in two bytes */
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

#define PIECES "{\"type\":\"WordPiece\",\"unk_token\":\"[UNK]\"," \
    "\"vocab\":{\"[UNK]\":0,\"[CLS]\":1,\"[SEP]\":2,\"un\":3,\"##able\":4,\"e\":5}}"
#define SPECIAL(id, text) "{\"id\":" #id ",\"content\":\"" text "\",\"special\":true,\"normalized\":false}"
#define WORDPIECE(norm, pre, decoder) { "tokenizer.json", NULL, "{\"model\":" PIECES ",\"added_tokens\":[" \
    SPECIAL(0, "[UNK]") "," SPECIAL(1, "[CLS]") "," SPECIAL(2, "[SEP]") "],\"normalizer\":" norm ",\"pre_tokenizer\":" pre "," \
    "\"decoder\":" decoder ",\"post_processor\":{\"type\":\"BertProcessing\",\"cls\":[\"[CLS]\",1],\"sep\":[\"[SEP]\",2]}}" }
#define BERT_NORM "{\"type\":\"BertNormalizer\",\"clean_text\":true,\"handle_chinese_chars\":true," \
    "\"strip_accents\":null,\"lowercase\":true}"
#define BERT_PRE "{\"type\":\"BertPreTokenizer\"}"
#define BERT_BACK "{\"type\":\"WordPiece\",\"prefix\":\"##\",\"cleanup\":true}"
#define NO_SPECIAL { "tokenizer_config.json", NULL, "{}" }

static void wordpiece(void **state)
{
    static const struct { change c; const char *words; } rows[] = {
        { WORDPIECE(BERT_NORM, "{\"type\":\"Whitespace\"}", BERT_BACK), "pre_tokenizer BertPreTokenizer is supported, \"Whitespace\"" },
        { WORDPIECE(BERT_NORM, BERT_PRE, "null"), "a decoder of the type WordPiece" },
        { WORDPIECE(BERT_NORM, BERT_PRE, "{\"type\":\"WordPiece\",\"prefix\":\"@@\"}"), "with the model's prefix" },
        { WORDPIECE("{\"type\":\"BertNormalizer\",\"lowercase\":1}", BERT_PRE, BERT_BACK), "BertNormalizer's lowercase is neither" },
        { { "tokenizer.json", NULL, "{\"model\":{\"type\":\"WordPiece\",\"unk_token\":\"?\",\"vocab\":{\"a\":0}},"
            "\"pre_tokenizer\":" BERT_PRE "}" },
            "unk_token is not said, or not in the vocabulary" },
    };
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m;
    assert_ok(ctx, OPEN(ctx, &m, WORDPIECE(BERT_NORM, BERT_PRE, BERT_BACK), NO_SPECIAL, { "generation_config.json", NULL, "{}" },
        { "config.json", "eos_token_id", "null" }));
    assert_ids(m, "Un\xc3\xa1" "ble \xc3\x89 x [SEP]", LMF_ENCODE_DEFAULTS | LMF_ENCODE_SPECIAL, IDS(1, 3, 4, 5, 0, 2, 2));
    assert_string_equal(m->vocab.model, "WordPiece");
    lmf_model_close(m);
    assert_ok(ctx, OPEN(ctx, &m, WORDPIECE("{\"type\":\"BertNormalizer\",\"lowercase\":false}", BERT_PRE, BERT_BACK), NO_SPECIAL,
        { "generation_config.json", NULL, "{}" }, { "config.json", "eos_token_id", "null" }));
    assert_ids(m, "Un un \xc3\xa9", 0, IDS(0, 3, 0)); /* accents stay where capitals do */
    lmf_model_close(m);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_not_equal(OPEN(ctx, &m, rows[i].c, NO_SPECIAL), LMF_OK);
        if (!strstr(lmf_error(ctx), rows[i].words))
            fail_msg("\"%s\" does not say \"%s\"", lmf_error(ctx), rows[i].words);
    }
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(model_hf_vocab) = {
    { "what stands around a text", post_processor },
    { "what is refused, each with its sentence", refused },
    { "added tokens of every file", added_tokens },
    { "names and lists of further tokens", extra_tokens },
    { "what ends an answer", ends },
    { "a template that can't be parsed", broken_template },
    { "architectures, model_type and Mistral", kinds },
    { "normalizers and great numbers", normalizer },
    { "a WordPiece vocabulary", wordpiece },
    { 0 },
};
