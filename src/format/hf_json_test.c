/* SPDX-License-Identifier: Apache-2.0 */
#include "format/hf_json.h"
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "test.h"

static const char *folder(lmf_ctx *ctx, const char *name)
{
    const char *dir = lmf_test_path(name);
    assert_ok(ctx, lmf_dir_create(ctx, dir));
    return dir;
}

static void put(lmf_ctx *ctx, const char *dir, const char *name, const char *text)
{
    char path[512];
    assert_ok(ctx, lmf_path_join(ctx, path, sizeof path, dir, name));
    assert_ok(ctx, lmf_file_write(ctx, path, text, strlen(text)));
}

static void values_by_path(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    static const char text[] = "{\"a\":{\"b\":2,\"c.d\":{\"e\":true}},\"n\":null,\"f\":4.0,\"g\":4.5,\"s\":\"x\",\"z\":\"a\\u0000b\",\"big\":1e300}";
    json_t *root, *flags;
    int64_t i = 7;
    double d;
    bool yes = false;
    const char *s = "";
    assert_ok(ctx, lmf_json_parse(ctx, text, sizeof text - 1, "t", LMF_JSON_SMALL, &root));
    assert_ok(ctx, lmf_json_get_i64(ctx, root, "a.b", &i));
    assert_int_equal(i, 2);
    assert_ok(ctx, lmf_json_get_i64(ctx, root, "n|x.y|f", &i)); /* null and missing are passed over */
    assert_int_equal(i, 4);
    assert_ok(ctx, lmf_json_get_f64(ctx, root, "a.b", &d));
    assert_true(d == 2);
    assert_true(json_is_object(lmf_json_at(root, "a.c.d"))); /* the key "c.d" */
    assert_refused(ctx, LMF_E_NOT_FOUND, "no a.c.d.e|n", lmf_json_get_bool(ctx, root, "a.c.d.e|n", &yes));
    assert_ok(ctx, lmf_json_parse(ctx, "{\"x\":{\"y\":true}}", 16, "t", LMF_JSON_SMALL, &flags));
    assert_ok(ctx, lmf_json_get_bool(ctx, flags, "z|x.y", &yes));
    assert_true(yes);
    json_decref(flags);
    assert_ok(ctx, lmf_json_get_string(ctx, root, "s", &s));
    assert_string_equal(s, "x");
    assert_refused(ctx, LMF_E_FORMAT, "g in the JSON is no whole number", lmf_json_get_i64(ctx, root, "g", &i));
    assert_refused(ctx, LMF_E_FORMAT, "whole", lmf_json_get_i64(ctx, root, "big", &i));
    assert_refused(ctx, LMF_E_FORMAT, "no string without NUL", lmf_json_get_string(ctx, root, "z", &s));
    assert_refused(ctx, LMF_E_FORMAT, "no number", lmf_json_get_f64(ctx, root, "s", &d));
    assert_refused(ctx, LMF_E_NOT_FOUND, "no n", lmf_json_get_f64(ctx, root, "n", &d));
    i = 7;
    assert_ok(ctx, lmf_json_want_i64(ctx, root, "n", &i));
    assert_int_equal(i, 7);
    assert_refused(ctx, LMF_E_FORMAT, "whole", lmf_json_want_i64(ctx, root, "s", &i));
    json_decref(root);
    assert_refused(ctx, LMF_E_FORMAT, "duplicate", lmf_json_parse(ctx, "{\"a\":1,\"a\":2}", 13, "t", LMF_JSON_SMALL, &root));
    assert_refused(ctx, LMF_E_FORMAT, "line 1", lmf_json_parse(ctx, "{\"a\":1", 6, "t", LMF_JSON_SMALL, &root));
    assert_refused(ctx, LMF_E_FORMAT, "no object", lmf_json_parse(ctx, "[]", 2, "t", LMF_JSON_SMALL, &root));
    assert_refused(ctx, LMF_E_LIMIT, "at most 3", lmf_json_parse(ctx, "{\"a\":[1,2,3]}", 13, "t", 3, &root));
    lmf_test_ctx_done(ctx);
}

/* A number that no integer or double holds is read past, and refused by name where it is asked for. */
static void great_numbers(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    static const char text[] = "{\"a\":1000000000000000019884624838656,\"b\":-9223372036854775809,\"c\":9223372036854775807,\"d\":[1e999,-1e999,Infinity,-Infinity,NaN],"
        "\"e\":\"9999999999999999999 \\\"Infinity\",\"f\":2,\"g\":1e999}";
    json_t *root;
    int64_t i = 0;
    double d = 0;
    const char *s = "";
    assert_ok(ctx, lmf_json_parse(ctx, text, sizeof text - 1, "t", LMF_JSON_SMALL, &root));
    assert_ok(ctx, lmf_json_get_f64(ctx, root, "a", &d));
    assert_true(d == 1e30);
    assert_refused(ctx, LMF_E_FORMAT, "a in the JSON is no whole number", lmf_json_get_i64(ctx, root, "a", &i));
    assert_ok(ctx, lmf_json_get_f64(ctx, root, "b", &d));
    assert_true(d == -0x1p63);
    assert_ok(ctx, lmf_json_get_i64(ctx, root, "c", &i));
    assert_true(i == INT64_MAX); /* what fits stays an integer */
    assert_refused(ctx, LMF_E_FORMAT, "g in the JSON is no number", lmf_json_get_f64(ctx, root, "g", &d));
    assert_int_equal(json_array_size(lmf_json_at(root, "d")), 5);
    assert_ok(ctx, lmf_json_get_string(ctx, root, "e", &s));
    assert_string_equal(s, "9999999999999999999 \"Infinity"); /* a string is not touched */
    json_decref(root);
    static const char *const wrong[] = { "{\"a\":1e999,}", "{\"a\":Infinit}", "{\"a\":-}", "{\"a\":1e999", "{\"a\":\"1e999", "{1e999:1}" };
    for (size_t k = 0; k < sizeof wrong / sizeof *wrong; k++)
        assert_refused(ctx, LMF_E_FORMAT, "no JSON", lmf_json_parse(ctx, wrong[k], strlen(wrong[k]), "t", LMF_JSON_SMALL, &root));
    lmf_test_ctx_done(ctx);
}

static void both_dialects(void **state)
{
    (void)state;
    static const struct { const char *text, *path, *value; } rows[] = {
        { "{\"rope_theta\":5.0}", "rope_parameters.rope_theta", "5.0" },
        { "{\"rope_theta\":5.0}", "rope_parameters.rope_type", "\"default\"" },
        { "{\"rope_theta\":5.0,\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.0}}", "rope_parameters.factor", "2.0" },
        { "{\"rope_theta\":5.0,\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.0}}", "rope_parameters.rope_type", "\"linear\"" },
        { "{\"rope_theta\":5.0,\"rope_scaling\":{\"type\":\"linear\",\"factor\":2.0}}", "rope_scaling.rope_type", "\"linear\"" },
        { "{\"rope_parameters\":{\"rope_theta\":6.0,\"rope_type\":\"default\"}}", "rope_theta", "6.0" },
        { "{\"rope_parameters\":{\"rope_theta\":6.0,\"rope_type\":\"default\"}}", "rope_scaling", NULL },
        { "{\"rope_parameters\":{\"rope_theta\":6.0,\"rope_type\":\"yarn\",\"factor\":4}}", "rope_scaling.factor", "4" },
        { "{\"rope_parameters\":{\"rope_theta\":6.0,\"rope_type\":\"yarn\",\"factor\":4}}", "rope_scaling.rope_theta", NULL },
        { "{\"rope_parameters\":{\"full_attention\":{\"rope_theta\":6.0}}}", "rope_parameters.full_attention.rope_theta", "6.0" },
        { "{\"rope_parameters\":{\"full_attention\":{\"rope_theta\":6.0}}}", "rope_theta", "6.0" },
        { "{\"rope_parameters\":{\"full_attention\":{\"rope_theta\":6.0}}}", "rope_local_base_freq", NULL },
        { "{\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"linear\",\"factor\":8.0},\"sliding_attention\":{\"rope_theta\":7.0}}}",
          "rope_local_base_freq", "7.0" },
        { "{\"rope_parameters\":{\"full_attention\":{\"rope_type\":\"linear\",\"factor\":8.0},\"sliding_attention\":{\"rope_theta\":7.0}}}",
          "rope_scaling.factor", "8.0" },
        { "{\"rope_theta\":5.0,\"rope_local_base_freq\":7.0}", "rope_parameters.full_attention.rope_theta", "5.0" },
        { "{\"rope_theta\":5.0,\"rope_local_base_freq\":7.0}", "rope_parameters.sliding_attention.rope_theta", "7.0" },
        { "{\"rope_theta\":5.0,\"rope_local_base_freq\":7.0}", "rope_parameters.rope_theta", NULL },
        { "{\"rope_local_base_freq\":7.0,\"rope_scaling\":{\"rope_type\":\"linear\",\"factor\":8.0}}",
          "rope_parameters.full_attention.factor", "8.0" },
        { "{\"hidden_size\":1,\"text_config\":{\"hidden_size\":2}}", "hidden_size", "2" },
        { "{\"tie_word_embeddings\":true,\"text_config\":{\"hidden_size\":2}}", "tie_word_embeddings", "true" },
        { "{\"model_type\":\"a\",\"text_config\":{\"model_type\":\"b\"}}", "model_type", "\"a\"" },
        { "{\"text_config\":{\"model_type\":\"b\"}}", "model_type", "\"b\"" },
        { "{\"text_config\":{\"rope_theta\":5.0}}", "rope_parameters.rope_theta", "5.0" },
        { "{\"text_config\":{\"x\":1}}", "text_config", NULL },
        { "{\"text_config\":3}", "text_config", "3" }, /* nobody knows what it is: refused later */
        { "{\"torch_dtype\":\"float16\"}", "dtype", "\"float16\"" },
        { "{\"dtype\":\"bfloat16\"}", "torch_dtype", "\"bfloat16\"" },
        { "{\"dtype\":\"bfloat16\",\"torch_dtype\":\"float16\"}", "torch_dtype", "\"float16\"" },
    };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_hf_config c;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char text[64] = "";
        assert_ok(ctx, lmf_hf_config_parse(ctx, rows[i].text, strlen(rows[i].text), &c));
        const json_t *v = lmf_json_at(c.root, rows[i].path);
        size_t n = v ? json_dumpb(v, text, sizeof text - 1, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6)) : 0;
        if (strcmp(text, rows[i].value ? rows[i].value : "") || (n == 0) != (rows[i].value == NULL))
            fail_msg("row %zu: %s is %s, not %s", i, rows[i].path, text, rows[i].value);
        lmf_hf_config_close(&c);
    }
    lmf_test_ctx_done(ctx);
}

static void config_round_trip(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *dir = folder(ctx, "config");
    lmf_hf_config c;
    json_t *root = json_pack("{s:[s], s:s, s:s, s:f, s:i}", "architectures", "LlamaForCausalLM", "model_type", "llama", "dtype", "float32",
                             "rope_theta", 1e5, "hidden_size", 64);
    double eps;
    assert_ok(ctx, lmf_hf_config_save(ctx, dir, root));
    assert_null(json_object_get(root, "torch_dtype"));
    assert_ok(ctx, lmf_hf_config_open(ctx, dir, &c));
    assert_string_equal(c.arch, "LlamaForCausalLM");
    assert_string_equal(c.model_type, "llama");
    assert_string_equal(c.dtype, "float32");
    assert_ok(ctx, lmf_json_get_f64(ctx, c.root, "rope_parameters.rope_theta", &eps));
    assert_true(eps == 1e5);
    lmf_hf_config_close(&c);
    json_decref(root);
    assert_refused(ctx, LMF_E_NOT_FOUND, "config.json", lmf_hf_config_open(ctx, "/no-such-folder", &c));
    lmf_test_ctx_done(ctx);
}

static void eos_lists(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *dir = folder(ctx, "eos");
    int32_t id[4];
    int n;
    put(ctx, dir, "config.json", "{\"eos_token_id\": 2}");
    assert_ok(ctx, lmf_hf_eos_ids(ctx, dir, id, 4, &n));
    assert_true(n == 1 && id[0] == 2);
    put(ctx, dir, "generation_config.json", "{\"eos_token_id\": [5, 6]}");
    assert_ok(ctx, lmf_hf_eos_ids(ctx, dir, id, 4, &n));
    assert_true(n == 2 && id[0] == 5 && id[1] == 6);
    assert_refused(ctx, LMF_E_FORMAT, "at most 1", lmf_hf_eos_ids(ctx, dir, id, 1, &n));
    put(ctx, dir, "generation_config.json", "{\"eos_token_id\": [5, -1]}");
    assert_refused(ctx, LMF_E_FORMAT, "no token id", lmf_hf_eos_ids(ctx, dir, id, 4, &n));
    assert_int_equal(n, 0);
    put(ctx, dir, "generation_config.json", "{}");
    put(ctx, dir, "config.json", "{\"eos_token_id\": null}");
    assert_ok(ctx, lmf_hf_eos_ids(ctx, dir, id, 4, &n));
    assert_int_equal(n, 0);
    lmf_test_ctx_done(ctx);
}

static const char tokenizer[] =
    "{\"version\":\"1.0\",\"added_tokens\":[{\"id\":0,\"content\":\"<|e|>\",\"single_word\":false,\"lstrip\":true,\"rstrip\":false,"
    "\"normalized\":false,\"special\":true},{\"id\":6,\"content\":\"<x>\"}],\"normalizer\":null,"
    "\"pre_tokenizer\":{\"type\":\"ByteLevel\",\"add_prefix_space\":false},\"decoder\":{\"type\":\"ByteLevel\"},"
    "\"model\":{\"type\":\"BPE\",\"unk_token\":null,\"byte_fallback\":true,\"vocab\":{\"<|e|>\":0,\"a\":1,\"b\":2,\"ab\":3,\"abb\":4,\" \":5},"
    "\"merges\":[\"a b\",[\"ab\",\"b\"]]}}";

static void tokenizer_read(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_hf_tokenizer t;
    assert_ok(ctx, lmf_hf_tokenizer_parse(ctx, tokenizer, sizeof tokenizer - 1, &t));
    assert_true(t.n_tokens == 7 && t.n_merges == 2 && t.n_added == 2 && t.byte_fallback && !t.ignore_merges && !t.unk.p);
    assert_true(t.token[4].n == 3 && !memcmp(t.token[4].p, "abb", 3) && t.token[6].n == 3);
    assert_true(t.merge[0].left.n == 1 && *t.merge[0].left.p == 'a' && *t.merge[0].right.p == 'b');
    assert_true(t.merge[1].left.n == 2 && t.merge[1].right.n == 1);
    assert_true(t.added[0].special && t.added[0].lstrip && !t.added[0].normalized && t.added[0].id == 0);
    assert_true(!t.added[1].special && t.added[1].normalized && t.added[1].id == 6);
    assert_true(!t.normalizer && t.pre_tokenizer && !strcmp(json_string_value(json_object_get(t.pre_tokenizer, "type")), "ByteLevel"));
    lmf_hf_tokenizer_close(&t);
    lmf_hf_tokenizer_close(&t);
    lmf_test_ctx_done(ctx);
}

static void tokenizers_refused(void **state)
{
    (void)state;
    static const struct { const char *text; lmf_status s; const char *words; } rows[] = {
        { "{\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}", LMF_E_FORMAT, "vocabulary is empty" },
        { "{\"model\":{\"type\":\"WordPiece\",\"vocab\":[]}}", LMF_E_FORMAT, "no vocab" },
        { "{\"model\":{\"type\":\"WordPiece\",\"continuing_subword_prefix\":2,\"vocab\":{\"a\":0}}}", LMF_E_FORMAT, "is no text" },
        { "{\"model\":{\"type\":\"WordPiece\",\"max_input_chars_per_word\":-1,\"vocab\":{\"a\":0}}}", LMF_E_FORMAT, "no count" },
        { "{\"model\":{\"type\":\"Unigram\",\"vocab\":[]}}", LMF_E_UNSUPPORTED, "model type Unigram" },
        { "{}", LMF_E_FORMAT, "no model" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}", LMF_E_FORMAT, "vocabulary is empty" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":{}}}", LMF_E_FORMAT, "no merges" },
        { "{\"model\":{\"type\":\"BPE\",\"end_of_word_suffix\":\"</w>\",\"vocab\":{\"a\":0},\"merges\":[]}}", LMF_E_UNSUPPORTED, "word suffix" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":0},\"merges\":[]}}", LMF_E_FORMAT, "a and b have the same id 0" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":-1},\"merges\":[]}}", LMF_E_FORMAT, "id -1" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":2000000000},\"merges\":[]}}", LMF_E_FORMAT, "out of all proportion" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":\"0\"},\"merges\":[]}}", LMF_E_FORMAT, "no integer" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"b\":1},\"merges\":[\"a b\"]}}", LMF_E_FORMAT, "merge 0 (ab) has a part or a result" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"aa\":1},\"merges\":[\"a\"]}}", LMF_E_FORMAT, "merge 0 is no pair" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"aa\":1},\"merges\":[[\"a\"]]}}", LMF_E_FORMAT, "merge 0 is no pair" },
        { "{\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0,\"aa\":1},\"merges\":[\"a a a\"]}}", LMF_E_FORMAT, "merge 0 is no pair" },
        { "{\"added_tokens\":[{\"id\":1}],\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}", LMF_E_FORMAT, "no id or no content" },
        { "{\"added_tokens\":[{\"id\":1,\"content\":\"a\"}],\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}", LMF_E_FORMAT, "another id" },
        { "{\"added_tokens\":{},\"model\":{\"type\":\"BPE\",\"vocab\":{\"a\":0},\"merges\":[]}}", LMF_E_FORMAT, "no list" },
    };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_hf_tokenizer t;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_refused(ctx, rows[i].s, rows[i].words, lmf_hf_tokenizer_parse(ctx, rows[i].text, strlen(rows[i].text), &t));
    for (size_t n = 0; n < sizeof tokenizer - 1; n++)
        assert_int_not_equal(lmf_hf_tokenizer_parse(ctx, tokenizer, n, &t), LMF_OK);
    lmf_test_ctx_done(ctx);
}

static void tokenizer_built(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *dir = folder(ctx, "built");
    char path[512];
    json_t *root;
    lmf_hf_tokenizer t, again;
    assert_ok(ctx, lmf_hf_tokenizer_parse(ctx, tokenizer, sizeof tokenizer - 1, &t));
    lmf_hf_bpe bpe = { t.token, t.n_tokens, t.merge, t.n_merges, t.added, t.n_added, NULL, true, false, false, NULL,
                       "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true,\"use_regex\":true}", NULL, NULL };
    assert_ok(ctx, lmf_hf_tokenizer_build(ctx, &bpe, &root));
    assert_ok(ctx, lmf_path_join(ctx, path, sizeof path, dir, "tokenizer.json"));
    assert_ok(ctx, lmf_json_save(ctx, path, root));
    json_decref(root);
    assert_ok(ctx, lmf_hf_tokenizer_open(ctx, dir, &again));
    assert_true(again.n_tokens == t.n_tokens && again.n_merges == t.n_merges && again.n_added == t.n_added && again.byte_fallback);
    for (size_t i = 0; i < t.n_tokens; i++)
        assert_true(again.token[i].n == t.token[i].n && !memcmp(again.token[i].p, t.token[i].p, t.token[i].n));
    for (size_t i = 0; i < t.n_merges; i++)
        assert_true(again.merge[i].left.n == t.merge[i].left.n && !memcmp(again.merge[i].right.p, t.merge[i].right.p, t.merge[i].right.n));
    assert_true(again.added[0].special && again.added[0].lstrip && again.added[1].normalized);
    lmf_hf_tokenizer_close(&again);
    lmf_bytes wrong[2] = { { "\xff", 1 }, { "a", 1 } };
    bpe = (lmf_hf_bpe){ .token = wrong, .n_tokens = 2 };
    assert_refused(ctx, LMF_E_FORMAT, "token 0 is not UTF-8", lmf_hf_tokenizer_build(ctx, &bpe, &root));
    wrong[0].p = "a";
    assert_refused(ctx, LMF_E_FORMAT, "occurs twice", lmf_hf_tokenizer_build(ctx, &bpe, &root));
    lmf_hf_tokenizer_close(&t);
    lmf_test_ctx_done(ctx);
}

static void special_tokens(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *dir = folder(ctx, "special");
    lmf_hf_special s;
    assert_ok(ctx, lmf_hf_special_open(ctx, dir, &s)); /* nothing there */
    assert_true(!*s.bos && !*s.chat_template && s.add_bos == -1);
    lmf_hf_special_close(&s);
    put(ctx, dir, "special_tokens_map.json", "{\"bos_token\":\"from the map\",\"unk_token\":{\"content\":\"<unk>\"}}");
    put(ctx, dir, "tokenizer_config.json", "{\"bos_token\":\"<s>\",\"eos_token\":{\"content\":\"</s>\"},\"add_bos_token\":true,\"pad_token\":null,"
        "\"tokenizer_class\":\"LlamaTokenizer\",\"chat_template\":[{\"name\":\"tool_use\",\"template\":\"first\"},"
        "{\"name\":\"tool_use\",\"template\":\"T\"},{\"name\":\"default\",\"template\":\"D\"}]}");
    assert_ok(ctx, lmf_hf_special_open(ctx, dir, &s));
    assert_string_equal(s.bos, "from the map");
    assert_string_equal(s.eos, "</s>");
    assert_string_equal(s.pad, "");
    assert_string_equal(s.unk, "<unk>");
    assert_string_equal(s.chat_template, "D");
    assert_true(s.n_more == 1 && !strcmp(s.more[0].name, "tool_use") && !strcmp(s.more[0].text, "T") && !s.no_default);
    assert_string_equal(s.class_name, "LlamaTokenizer");
    assert_true(s.add_bos == 1 && s.add_eos == -1);
    lmf_hf_special_close(&s);
    put(ctx, dir, "tokenizer_config.json", "{\"bos_token\":\"<s>\",\"added_tokens_decoder\":{}}"); /* then the map is not read */
    assert_ok(ctx, lmf_hf_special_open(ctx, dir, &s));
    assert_true(!strcmp(s.bos, "<s>") && !*s.unk);
    lmf_hf_special_close(&s);
    put(ctx, dir, "tokenizer_config.json", "{\"chat_template\":{\"rag\":\"R\",\"default\":\"D\",\"x\":5}}");
    assert_ok(ctx, lmf_hf_special_open(ctx, dir, &s));
    assert_true(!strcmp(s.chat_template, "D") && s.n_more == 1 && !strcmp(s.more[0].name, "rag"));
    lmf_hf_special_close(&s);
    put(ctx, dir, "tokenizer_config.json", "{\"chat_template\":\"string\"}");
    assert_ok(ctx, lmf_hf_special_open(ctx, dir, &s));
    assert_string_equal(s.chat_template, "string");
    lmf_hf_special_close(&s);
    put(ctx, dir, "chat_template.jinja", "{{ file }}");
    assert_ok(ctx, lmf_hf_special_open(ctx, dir, &s));
    assert_string_equal(s.chat_template, "{{ file }}");
    const char *second = folder(ctx, "special2");
    s.bos = "<b>", s.add_eos = 0;
    assert_ok(ctx, lmf_hf_special_save(ctx, second, &s, 2048));
    lmf_hf_special_close(&s);
    assert_ok(ctx, lmf_hf_special_open(ctx, second, &s));
    assert_string_equal(s.bos, "<b>");
    assert_string_equal(s.chat_template, "{{ file }}");
    assert_true(s.add_bos == -1 && s.add_eos == 0);
    lmf_hf_special_close(&s);
    put(ctx, dir, "chat_template.jinja", "\xff");
    assert_ok(ctx, lmf_hf_special_open(ctx, dir, &s)); /* fails what renders */
    assert_true(s.not_text && !*s.chat_template);
    lmf_hf_special_close(&s);
    lmf_test_ctx_done(ctx);
}

static lmf_status open_all(lmf_ctx *ctx, void *dir)
{
    lmf_hf_config c;
    lmf_hf_special s;
    lmf_hf_tokenizer t;
    LMF_TRY(lmf_hf_config_open(ctx, dir, &c));
    lmf_hf_config_close(&c);
    LMF_TRY(lmf_hf_special_open(ctx, dir, &s));
    lmf_hf_special_close(&s);
    LMF_TRY(lmf_hf_tokenizer_open(ctx, dir, &t));
    lmf_hf_tokenizer_close(&t);
    return LMF_OK;
}

static void each_call_fails(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    char dir[256];
    snprintf(dir, sizeof dir, "%s", folder(ctx, "sweep"));
    put(ctx, dir, "config.json", "{\"rope_theta\":5.0}");
    put(ctx, dir, "tokenizer_config.json", "{\"bos_token\":\"<s>\"}");
    put(ctx, dir, "chat_template.jinja", "{{ file }}");
    put(ctx, dir, "tokenizer.json", tokenizer);
    assert_true(lmf_test_fail_each_call(open_all, dir) >= 12);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(hf_json) = {
    { "values by dotted path, with alternatives", values_by_path },
    { "numbers beyond integers and doubles", great_numbers },
    { "both dialects of config.json", both_dialects },
    { "a configuration is saved and opened", config_round_trip },
    { "ids that end a text", eos_lists },
    { "tokenizer.json of a BPE", tokenizer_read },
    { "tokenizers that are refused, each with its sentence", tokenizers_refused },
    { "a tokenizer.json is built and read", tokenizer_built },
    { "special tokens and the chat template", special_tokens },
    { "each call fails once", each_call_fails },
    { 0 },
};
