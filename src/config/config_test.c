/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "config/dialect.h"
#include "config/train_config.h"
#include "test.h"

typedef struct parsed { lmf_ctx *ctx; lmf_arena arena; lmf_document d; } parsed;

static lmf_status parse(parsed *p, const char *text)
{
    p->ctx = lmf_test_ctx();
    lmf_arena_init(&p->arena, p->ctx, 1 << 24);
    return lmf_document_parse(&p->arena, "run.yaml", text, strlen(text), &p->d);
}

static void done(parsed *p)
{
    lmf_arena_clear(&p->arena);
    lmf_test_ctx_done(p->ctx);
}

/* "path=text@line;..." */
static void expect_settings(const char *text, const char *want)
{
    parsed p;
    char got[1024] = "";
    assert_ok(p.ctx, parse(&p, text));
    for (int i = 0; i < p.d.n; i++) {
        size_t at = strlen(got);
        snprintf(got + at, sizeof got - at, "%s=%s@%d;", p.d.items[i].path, p.d.items[i].text ? p.d.items[i].text : "NULL",
            p.d.items[i].line);
    }
    assert_string_equal(got, want);
    done(&p);
}

static void documents(void **state)
{
    (void)state;
    expect_settings("a: 1\nb: x y # no\nc:\n", "a=1@1;b=x y@2;c=NULL@3;");
    expect_settings("---\na: 'no'\nb: \"\\u00e4\\n\"\nc: ~\nd: 'null'\n...\n", "a=no@2;b=\xc3\xa4\n@3;c=NULL@4;d=null@5;");
    expect_settings("l: [q, 1e-4]\nm:\n- path: x\n  type: y\n-\n  path: z\n", "l.0=q@1;l.1=1e-4@1;m.0.path=x@3;m.0.type=y@4;m.1.path=z@6;");
    expect_settings("a: {}\nb: []\nc: {d: {e: 2}}\n", "a=NULL@1;b=NULL@2;c.d.e=2@3;");
    expect_settings("t: |\n  one\n  two\nu: >\n  one\n  two\n", "t=one\ntwo\n@1;u=one two\n@4;");
    expect_settings("", "");
    expect_settings("# nothing\n", "");
    expect_settings("{\"a\": 1, \"b\": [true, null, 2.5], \"c\": {\"d\": \"x\"}, \"e\": {}}",
                    "a=1@0;b.0=true@0;b.1=NULL@0;b.2=2.5@0;c.d=x@0;e=NULL@0;");
    expect_settings("{\"a\": 0.000123456789012}", "a=0.000123456789012@0;"); /* all digits */
    expect_settings("\xef\xbb\xbf" "a: 1\n", "a=1@1;");
}

static void bad_documents(void **state)
{
    (void)state;
    static const struct { const char *text, *words; lmf_status s; } rows[] = {
        { "a: 1\na: 2\n", "run.yaml, line 2: the key \"a\" stands twice, first in line 1", LMF_E_FORMAT },
        { "a: {b: 1}\nc: 1\na: 2\n", "line 3: the key \"a\" stands twice", LMF_E_FORMAT },
        { "- a\n- b\n", "line 1: a configuration is a list of settings", LMF_E_FORMAT },
        { "just words\n", "line 1: a configuration is a list of settings", LMF_E_FORMAT },
        { "a: 1\n---\nb: 2\n", "line 2: a second document begins", LMF_E_FORMAT },
        { "a: &x 1\nb: *x\n", "line 1: anchors and tags are not read", LMF_E_UNSUPPORTED },
        { "a: *x\n", "line 1: aliases (*name) are not read", LMF_E_UNSUPPORTED },
        { "a: !!python/object:os.system x\n", "line 1: anchors and tags are not read", LMF_E_UNSUPPORTED },
        { "<<: {a: 1}\n", "line 1: merge keys (<<) are not read", LMF_E_UNSUPPORTED },
        { "? [a]\n: 1\n", "line 1: a key that is no text", LMF_E_FORMAT },
        { "a: [1, 2\n", "run.yaml, line 2: no YAML: ", LMF_E_FORMAT },
        { "a:\n\t- b\n", "line 2: no YAML: ", LMF_E_FORMAT },
        { "a: \"\xff\"\n", "no YAML: ", LMF_E_FORMAT },
        { "[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]", "line 1: a configuration is a list of settings", LMF_E_FORMAT },
        { "a: [[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]", "line 1: it nests deeper than 16 levels", LMF_E_LIMIT },
        { "{\"a\": 1, \"a\": 2}", "line 1: no JSON: ", LMF_E_FORMAT },
        { "{\"a\": ", "no JSON: ", LMF_E_FORMAT },
        { "{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{"
          "\"a\":{\"a\":{\"a\":{\"a\":{\"a\":{\"a\":1}}}}}}}}}}}}}}}}}}",
          "nests deeper than 16 levels", LMF_E_LIMIT },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        parsed p = { 0 };
        lmf_status s = parse(&p, rows[i].text);
        assert_refused(p.ctx, rows[i].s, rows[i].words, s);
        done(&p);
    }
}

static void assignments(void **state)
{
    (void)state;
    parsed p;
    assert_ok(p.ctx, parse(&p, "a: 1\nlora: {r: 4, alpha: 8}\nlorax: 2\n"));
    assert_ok(p.ctx, lmf_document_assign(&p.d, "lora.r=16"));
    assert_ok(p.ctx, lmf_document_assign(&p.d, "b=x=y"));
    assert_int_equal(p.d.n, 5);
    assert_string_equal(p.d.items[1].path, "lora.alpha");
    assert_string_equal(p.d.items[4].text, "x=y");
    assert_ok(p.ctx, lmf_document_assign(&p.d, "lora=null"));
    assert_int_equal(p.d.n, 4);
    assert_null(p.d.items[3].text);
    assert_refused(p.ctx, LMF_E_ARG, "--set is \"lora\", but must be NAME=VALUE", lmf_document_assign(&p.d, "lora"));
    assert_refused(p.ctx, LMF_E_ARG, "must be NAME=VALUE", lmf_document_assign(&p.d, "=3"));
    done(&p);
}

typedef struct applied { parsed p; lmf_train_config c; uint8_t seen[128]; lmf_buf notes; } applied;

static lmf_status apply(applied *a, const char *text)
{
    memset(a, 0, sizeof *a);
    LMF_TRY(parse(&a->p, text));
    lmf_buf_init(&a->notes, a->p.ctx, 1 << 16);
    assert_ok(a->p.ctx, lmf_flag_defaults(a->p.ctx, lmf_train_fields, &a->c));
    return lmf_config_apply(a->p.ctx, &a->p.d, lmf_train_fields, NULL, a->seen, &a->c, &a->notes);
}

static void apply_done(applied *a)
{
    lmf_buf_clear(&a->notes);
    done(&a->p);
}

static void axolotl(void **state)
{
    (void)state;
    applied a;
    assert_ok(a.p.ctx, apply(&a,
        "base_model: M.gguf\nmodel_type: LlamaForCausalLM\nload_in_8bit: false\nload_in_4bit: false\nadapter: qlora\nlora_r: "
            "8\nlora_alpha: 16\n"
        "lora_dropout: 0.05\nlora_target_modules:\n  - q_proj\n  - v_proj\ndatasets:\n  - path: rows.jsonl\n    type: chat_template\n"
        "val_set_size: 0\nsequence_len: 1024\nsample_packing: true\nmicro_batch_size: 2\ngradient_accumulation_steps: 4\nnum_epochs: 3\n"
        "learning_rate: 2e-4\nlr_scheduler: linear\noptimizer: adamw_torch_fused\nwarmup_steps: 10\nbf16: auto\ngradient_checkpointing: "
            "true\n"
        "output_dir: ./out\nsave_steps: 50\nwandb_project:\nspecial_tokens:\n  pad_token: <pad>\nrl:\ntrain_on_inputs: false\n"
        "flash_attention: true\nweight_decay: 0.0\nseed: 7\nresume_from_checkpoint:\nexcess_length_strategy: drop\n"));
    assert_string_equal(a.c.model, "M.gguf");
    assert_int_equal(a.c.data.n, 1);
    assert_string_equal(a.c.data.item[0], "rows.jsonl:type=messages");
    assert_string_equal(a.c.method, "lora");
    assert_string_equal(a.c.target_modules, "q_proj,v_proj");
    assert_true(a.c.lora_dropout == 0.05);
    assert_string_equal(a.c.scheduler, "linear");
    assert_string_equal(a.c.too_long, "skip");
    assert_string_equal(a.c.resume, "no");
    assert_int_equal(a.c.lora_r, 8);
    assert_int_equal(a.c.batch_size, 2);
    assert_int_equal(a.c.grad_accum, 4);
    assert_int_equal(a.c.seq_len, 1024);
    assert_int_equal(a.c.warmup_steps, 10);
    assert_int_equal(a.c.seed, 7);
    assert_true(a.c.epochs == 3 && a.c.lr == 2e-4 && a.c.lora_alpha == 16 && a.c.weight_decay == 0 && a.c.recompute);
    assert_non_null(strstr(lmf_buf_str(&a.notes), "line 17: sample_packing: rows are packed"));
    apply_done(&a);
}

static void other_dialects(void **state)
{
    (void)state;
    applied a;
    assert_ok(a.p.ctx, apply(&a, /* SLMConfig and TrainingConfig */
        "model_name: M\nrevision: main\nmax_seq_length: 512\ndtype: float16\nload_in_4bit: false\nuse_gradient_checkpointing: true\n"
        "device_map: auto\ntrust_remote_code: false\ntraining:\n  batch_size: 2\n  learning_rate: 1e-4\n  num_epochs: 2\n  "
            "save_total_limit: 1\n"
        "  logging_steps: 5\n  fp16: true\n  lr_scheduler_type: cosine\nlora:\n  r: 4\n  alpha: 8\n  target_modules: [q_proj, k_proj]\n"));
    assert_string_equal(a.c.model, "M");
    assert_int_equal(a.c.seq_len, 512);
    assert_int_equal(a.c.batch_size, 2);
    assert_int_equal(a.c.lora_r, 4);
    assert_int_equal(a.c.logging_steps, 5);
    assert_string_equal(a.c.target_modules, "q_proj,k_proj");
    assert_true(a.c.recompute && a.c.lr == 1e-4 && a.c.epochs == 2 && a.c.lora_alpha == 8);
    apply_done(&a);
    assert_ok(a.p.ctx, apply(&a, "{\"model_name_or_path\": \"M\", \"finetuning_type\": \"lora\", \"lora_rank\": 4, \"lora_target\": "
        "\"all\", \"cutoff_len\": 64, "
                                 "\"per_device_train_batch_size\": 3, \"num_train_epochs\": 2.5, \"learning_rate\": 0.001}"));
    assert_int_equal(a.c.batch_size, 3);
    assert_string_equal(a.c.target_modules, "all-linear");
    assert_true(a.c.epochs == 2.5 && a.c.lr == 0.001);
    apply_done(&a);
}

static void refused_settings(void **state)
{
    (void)state;
    static const struct { const char *text, *words; } rows[] = {
        { "lora_rr: 4\n", "run.yaml, line 1: unknown key lora_rr; did you mean lora_r?" },
        { "\nlearning_rat: 4\n", "run.yaml, line 2: unknown key learning_rat; did you mean learning_rate?" },
        { "xyzzy_plugh: 4\n", "line 1: unknown key xyzzy_plugh; lmfast help lists" },
        { "xyzzy:\n", "unknown key xyzzy" },
        { "config: x\n", "unknown key config" },
        { "lora: {rr: 3}\n", "unknown key lora.rr" },
        { "learning_rate: fast\n", "line 1: learning_rate is \"fast\", but must be a number such as 0.001" },
        { "learning_rate: 20\n", "learning_rate is 20, but must be from 0 to 10" },
        { "micro_batch_size: 0\n", "micro_batch_size is 0, but must be from 1 to 4096" },
        { "micro_batch_size: 1.5\n", "micro_batch_size is \"1.5\", but must be a whole number" },
        { "shuffle: maybe\n", "shuffle is \"maybe\", but must be true or false" },
        { "compute: fats\n", "compute is \"fats\", but must be one of auto|f32|fast; did you mean fast?" },
        { "save_strategy: step\n", "save_strategy: step is not supported" }, /* the beginning of a word is not the word */
        { "optimizer: nonsense\n", "line 1: optimizer is \"nonsense\", but must be one of adamw|adamw_torch|" },
        { "optimizer: sgdd\n", "|sgd; did you mean sgd? adamw, adamw_8bit and sgd are there" },
        { "load_in_4bit: maybe\n", "load_in_4bit is \"maybe\", but must be one of auto|true|false" },
        { "load_in_8bit: true\n", "load_in_8bit: true is not supported: weights are trained on as the file has them" },
        { "bnb_4bit_quant_type: fp4\n", "bnb_4bit_quant_type: fp4 is not supported: load_in_4bit is nf4" },
        { "deepspeed: zero3.json\n", "deepspeed: zero3.json is not supported: a run is one process" },
        { "fsdp_config: {fsdp_offload_params: true}\n", "fsdp_config.fsdp_offload_params: true is not supported" },
        { "chat_template: chatml\n", "chat_template: chatml is not supported: no template is known by name" },
        { "datasets:\n- path: a\n  type: alpaca_chat.load_qa\n", "line 3: datasets.0.type is \"alpaca_chat.load_qa\", but must be one "
            "of chat_template|alpaca|sharegpt|completion|input_output: " },
        { "datasets:\n- type: alpaca\n", "item 0 of what gives data has type=alpaca, and no path" },
        { "datasets:\n- path: a\n  shards: 3\n", "datasets.0.shards: 3 is not supported: docs/TRAINING.md" },
        { "lr: 1\nlearning_rate: 2\n", "line 2: lr and learning_rate both give lr: which of them is it?" },
        { "roles_to_train: [user]\n", "roles_to_train.0: user is not supported" },
        { "gradient_checkpointing: perhaps\n", "gradient_checkpointing is \"perhaps\", but must be one of true|false|unsloth|offload" },
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        applied a;
        lmf_status s = apply(&a, rows[i].text);
        if (!s || !strstr(lmf_error(a.p.ctx), rows[i].words))
            fail_msg("%s gives \"%s\", not \"%s\"", rows[i].text, s ? lmf_error(a.p.ctx) : "success", rows[i].words);
        apply_done(&a);
    }
}

/* --set wins over the file, also under another dialect's name. */
static void set_wins(void **state)
{
    (void)state;
    applied a = { 0 };
    assert_ok(a.p.ctx, parse(&a.p, "learning_rate: 1\nseed: 3\n"));
    lmf_buf_init(&a.notes, a.p.ctx, 1 << 16);
    assert_ok(a.p.ctx, lmf_document_assign(&a.p.d, "lr=0.5"));
    assert_ok(a.p.ctx, lmf_config_apply(a.p.ctx, &a.p.d, lmf_train_fields, NULL, a.seen, &a.c, &a.notes));
    assert_true(a.c.lr == 0.5 && a.c.seed == 3);
    assert_ok(a.p.ctx, lmf_document_assign(&a.p.d, "sed=4"));
    assert_refused(a.p.ctx, LMF_E_ARG, "--set: unknown key sed; did you mean seed?",
                   lmf_config_apply(a.p.ctx, &a.p.d, lmf_train_fields, NULL, a.seen, &a.c, &a.notes));
    apply_done(&a);
}

/* What is saved gives the same settings back, whatever they are, and knows when it was changed. */
static void saved_and_read(void **state)
{
    (void)state;
    applied a, b;
    lmf_buf text, again;
    assert_ok(a.p.ctx, apply(&a, "model: \"a \\\"b\\\" \\t: # \xf0\x9f\x98\x80\"\ndata: 'no'\nlr: 0.1\nadam_beta1: "
        "0.123456789012345678\nlora_r: 3\nshuffle: false\n"
                                 "chat_template: t.jinja\nwarmup_ratio: 0.03\nclock: 1700000000\n"));
    lmf_buf_init(&text, a.p.ctx, 1 << 20);
    assert_ok(a.p.ctx, lmf_config_text(a.p.ctx, "train", lmf_train_fields, &a.c, NULL, &text));
    assert_true(lmf_config_is_ours(a.p.ctx, lmf_buf_str(&text), text.n));
    assert_non_null(strstr(lmf_buf_str(&text), "\nlr: 0.1\n"));
    assert_null(strstr(lmf_buf_str(&text), "overwrite"));
    assert_ok(b.p.ctx, apply(&b, lmf_buf_str(&text)));
    lmf_buf_init(&again, b.p.ctx, 1 << 20);
    assert_ok(b.p.ctx, lmf_config_text(b.p.ctx, "train", lmf_train_fields, &b.c, NULL, &again));
    assert_string_equal(lmf_buf_str(&again), lmf_buf_str(&text));
    assert_string_equal(b.c.data.item[0], "no");
    assert_string_equal(b.c.chat_template, "t.jinja");
    assert_true(b.c.beta1 == 0.123456789012345678 && b.c.warmup_ratio == 0.03 && !b.c.shuffle);
    for (size_t i = 0; i < text.n; i++) { /* any change is seen */
        text.data[i] ^= 1;
        bool ours = lmf_config_is_ours(a.p.ctx, lmf_buf_str(&text), text.n);
        text.data[i] ^= 1;
        if (ours && memchr(text.data, '\n', text.n) < (void *)(text.data + i))
            fail_msg("byte %zu was changed, and it still counts as ours", i);
    }
    lmf_buf_clear(&again);
    lmf_buf_clear(&text);
    apply_done(&b);
    a.c.model = "\xff";
    lmf_buf_init(&text, a.p.ctx, 1 << 20);
    assert_refused(a.p.ctx, LMF_E_ARG, "--model is no UTF-8", lmf_config_text(a.p.ctx, "train", lmf_train_fields, &a.c, NULL, &text));
    lmf_buf_clear(&text);
    apply_done(&a);
}

/* Each row of each table can be met: its field exists (but for those of objectives' tables), or it says why not, or what it ignores. */
static void tables(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    int n = 0;
    for (const lmf_dialect *const *d = ctx->tables->dialects; *d; d++)
        for (const lmf_dialect_row *row = (*d)->rows; row->key; row++, n++) {
            if (!row->field && !row->why && !row->ignore)
                fail_msg("%s: %s does nothing", (*d)->name, row->key);
            if (row->field && strcmp(row->field, "beta") && strcmp(row->field, "objective") && !lmf_flag_find(lmf_train_fields, row->field,
                strlen(row->field)))
                fail_msg("%s: %s sets %s, which is no setting", (*d)->name, row->key, row->field);
            if (!row->field && !row->why && strcmp(row->ignore, "*"))
                if (!strstr(row->key, "datasets"))
                    fail_msg("%s: %s refuses without a reason", (*d)->name, row->key);
        }
    assert_true(n > 150);
    lmf_test_ctx_done(ctx);
}

static lmf_status sweep(lmf_ctx *ctx, void *arg)
{
    (void)arg;
    static const char text[] = "base_model: M\ndatasets:\n- path: d\nlora_target_modules: [q_proj, v_proj]\nlearning_rate: 1e-3\n";
    lmf_arena a;
    lmf_document d;
    lmf_buf out, notes;
    lmf_train_config c = { 0 };
    uint8_t seen[128] = { 0 };
    lmf_arena_init(&a, ctx, 1 << 20);
    lmf_buf_init(&out, ctx, 1 << 20);
    lmf_buf_init(&notes, ctx, 1 << 20);
    lmf_status s = lmf_document_parse(&a, "run.yaml", text, sizeof text - 1, &d);
    if (!s)
        s = lmf_config_apply(ctx, &d, lmf_train_fields, NULL, seen, &c, &notes);
    if (!s)
        s = lmf_config_text(ctx, "train", lmf_train_fields, &c, NULL, &out);
    lmf_buf_clear(&out);
    lmf_buf_clear(&notes);
    lmf_arena_clear(&a);
    return s;
}

static void each_call_fails(void **state)
{
    (void)state;
    assert_true(lmf_test_fail_each_call(sweep, NULL) > 2);
}

LMF_TESTS(config) = {
    { "documents", documents },
    { "bad documents", bad_documents },
    { "assignments", assignments },
    { "Axolotl's names", axolotl },
    { "the wrapper's and LLaMA-Factory's names", other_dialects },
    { "refused settings", refused_settings },
    { "--set wins", set_wins },
    { "saved and read", saved_and_read },
    { "tables", tables },
    { "each call fails once", each_call_fails },
    { 0 }
};
