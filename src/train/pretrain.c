/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the folder comes into being whole, under its name at the end; whether another can be used is decided by the hash of all that it was
 * made of, the files' bytes included. */
#include "train/pretrain.h"
#include <math.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "base/output.h"
#include "base/team.h"
#include "data/dataset.h"
#include "format/hf_json.h"
#include "format/json.h"
#include "models/model.h"
#include "text/tokenizer/bpe_train.h"

enum { MAX_FACTS_BYTES = 1 << 20, SHUFFLE_EPOCH = -1, COUNT_BLOCK = 8192 };
#define FACTS_NAME "prepared.json"
#define PRETOK "smollm"

typedef struct work {
    lmf_ctx *ctx;
    const lmf_pretrain_config *c;
    const lmf_pretrain_watch *watch;
    lmf_arena arena;
    lmf_rows rows[2 * LMF_MAX_TEXTS];   /* of data, then of eval_data */
    int n_rows, n_data;
    lmf_document *train, *eval;
    int64_t n_train, n_eval;
    json_t *files;
    char key[65];
    const char *what;                   /* is being done, for the progress line */
    lmf_bpe_trained bpe;
} work;

static bool watched(void *user, int64_t done, int64_t total)
{
    const work *w = user;
    return w->watch && w->watch->progress && w->watch->progress(w->watch->user, w->what, done, total);
}

static void tell(const work *w, bool warning, const char *fmt, ...) LMF_PRINTF(3, 4);
static void tell(const work *w, bool warning, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    if (!w->watch || !w->watch->note)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    w->watch->note(w->watch->user, warning, text);
}

/* ---- the text ---- */
static lmf_status open_list(work *w, const lmf_texts *list, const char *flag)
{
    for (int64_t i = 0; i < list->n; i++) {
        lmf_data_spec spec;
        lmf_rows *r = &w->rows[w->n_rows];
        lmf_status s = lmf_data_spec_parse(&w->arena, list->item[i], &spec);
        if (!s && spec.weight != 1)
            s = LMF_FAIL(w->ctx, LMF_E_UNSUPPORTED, "%s: weight= is of fine-tuning; pre-training takes each document once an epoch",
                list->item[i]);
        if (!s)
            s = lmf_rows_open_as(w->ctx, spec.path, &spec.rows, r);
        if (s)
            return lmf_fail_prefix(w->ctx, s, "%s", flag);
        w->n_rows++;
        json_array_append_new(w->files, json_pack("{s:o, s:s, s:I}", "path", lmf_json_string(list->item[i]), "sha256", r->sha256,
            "documents",
                                                  (json_int_t)r->n));
    }
    return LMF_OK;
}

static void list_documents(const work *w, int from, int to, lmf_document *out)
{
    for (int f = from; f < to; f++)
        for (int64_t i = 0; i < w->rows[f].n; i++)
            *out++ = (lmf_document){ &w->rows[f], i };
}

/* All documents in the seed's order; the last are held out. */
static lmf_status divide(work *w)
{
    int64_t n = 0, n_eval = 0, held;
    double share = w->c->train.val_set_size;
    for (int f = 0; f < w->n_rows; f++)
        f < w->n_data ? (n += w->rows[f].n) : (n_eval += w->rows[f].n);
    held = share >= 1 ? (int64_t)share : share > 0 ? (int64_t)(share * (double)n + 0.5) : 0;
    if (share > 0 && held == 0)
        held = 1;
    if (held >= n)
        return LMF_FAIL(w->ctx, LMF_E_ARG, "--val-set-size %g holds out %lld of %lld documents and leaves none to train on; "
            "PATH:split=paragraphs or "
                        "split=lines makes more of a file, --eval-data names others, --val-set-size 0 holds out none", share,
                            (long long)held, (long long)n);
    lmf_document *all = lmf_arena_array(&w->arena, (size_t)n, sizeof *all);
    int64_t *order = lmf_arena_array(&w->arena, (size_t)n, sizeof *order);
    w->train = lmf_arena_array(&w->arena, (size_t)n, sizeof *w->train);
    w->eval = lmf_arena_array(&w->arena, (size_t)n_eval + 1, sizeof *w->eval);
    if (!all || !order || !w->train || !w->eval)
        return LMF_NO_MEMORY(w->ctx, (size_t)n * sizeof *all, "a list of documents");
    list_documents(w, 0, w->n_data, all);
    lmf_shuffle((uint64_t)w->c->train.seed, (uint32_t)SHUFFLE_EPOCH, order, n);
    for (int64_t i = 0; i < n; i++)
        w->train[i] = all[order[i]];
    w->n_train = n - held;
    if (held)
        w->eval = w->train + w->n_train, w->n_eval = held;
    else {
        list_documents(w, w->n_data, w->n_rows, w->eval);
        w->n_eval = n_eval;
    }
    return LMF_OK;
}

/* What the folder will be made of. */
static lmf_status make_key(work *w)
{
    const lmf_pretrain_config *c = w->c;
    lmf_buf text;
    lmf_buf_init(&text, w->ctx, MAX_FACTS_BYTES);
    lmf_status s = lmf_buf_printf(&text, "1 %lld %lld %lld %lld %lld %lld %lld %d %.17g %lld %lld %.17g %d\n", (long long)c->vocab,
        (long long)c->width,
        (long long)c->ffn, (long long)c->n_layers, (long long)c->n_heads, (long long)c->n_kv_heads, (long long)c->min_count, c->tied,
            c->rope_theta,
        (long long)c->train.seed, (long long)c->train.seq_len, c->train.val_set_size, w->n_data);
    for (int i = 0; i < w->n_rows; i++) /* split= makes other documents of the same bytes */
        lmf_buf_printf(&text, "%s %lld\n", w->rows[i].sha256, (long long)w->rows[i].n);
    s = s ? s : text.status;
    if (!s)
        s = lmf_sha256_hex(w->ctx, lmf_buf_str(&text), text.n, w->key);
    lmf_buf_clear(&text);
    return s;
}

/* ---- the tokenizer ---- */
typedef struct counting { const lmf_document *doc; int64_t n; lmf_word_counts **of; _Atomic int64_t next; _Atomic int failed; } counting;

static void count_some(void *arg, int i_worker, int n_workers)
{
    counting *k = arg;
    (void)n_workers;
    for (int64_t i; !atomic_load(&k->failed) && (i = atomic_fetch_add(&k->next, 1)) < k->n;) {
        json_t *row = NULL;
        const char *text;
        size_t n;
        int none = 0;
        lmf_status s = lmf_document_text(&k->doc[i], &row, &text, &n);
        if (!s)
            s = lmf_word_counts_add(k->of[i_worker], text, n);
        json_decref(row);
        if (s)
            atomic_compare_exchange_strong(&k->failed, &none, (int)s);
    }
}

static lmf_status count_words(work *w, lmf_word_counts **of, int n_workers)
{
    lmf_team *team;
    counting k = { .of = of };
    lmf_status s = lmf_team_create(w->ctx, n_workers, &team);
    w->what = "words";
    for (int64_t at = 0; !s && at < w->n_train; at += COUNT_BLOCK) {
        k.doc = w->train + at, k.n = w->n_train - at < COUNT_BLOCK ? w->n_train - at : COUNT_BLOCK;
        atomic_store(&k.next, 0);
        lmf_team_run(team, count_some, &k);
        s = (lmf_status)atomic_load(&k.failed);
        if (!s && watched(w, at + k.n, w->n_train))
            s = LMF_E_CANCELLED;
    }
    for (int i = 1; !s && i < n_workers; i++)
        s = lmf_word_counts_merge(of[0], of[i]);
    lmf_team_destroy(team);
    return s;
}

static lmf_status train_tokenizer(work *w)
{
    static const char *const special[] = { LMF_PRETRAIN_BORDER };
    lmf_word_counts *of[256] = { 0 };
    int n_workers = w->ctx->n_workers;
    lmf_status s = LMF_OK;
    for (int i = 0; !s && i < n_workers; i++)
        s = lmf_word_counts_create(w->ctx, PRETOK, &of[i]);
    if (!s)
        s = count_words(w, of, n_workers);
    lmf_bpe_train_opts o = { .vocab = (int32_t)w->c->vocab, .min_count = w->c->min_count, .special = special, .n_special = 1,
        .progress = watched, .user = w };
    w->what = "tokenizer";
    if (!s)
        s = lmf_bpe_train(of[0], &o, &w->bpe);
    if (!s && watched(w, w->bpe.n_tokens, w->bpe.n_tokens))
        s = LMF_E_CANCELLED;
    if (!s)
        tell(w, false, "tokenizer: %d tokens from %lld different words", w->bpe.n_tokens, (long long)lmf_word_counts_n(of[0]));
    if (!s && w->bpe.n_tokens < w->c->vocab)
        tell(w, true, "the text gives %d tokens, not --vocab-size %lld: no other pair occurs --min-frequency %lld times", w->bpe.n_tokens,
             (long long)w->c->vocab, (long long)w->c->min_count);
    for (int i = 0; i < n_workers; i++)
        lmf_word_counts_destroy(of[i]);
    return s;
}

static lmf_status write_tokenizer(work *w, const char *dir)
{
    static const char pre[] = "{\"type\": \"Sequence\", \"pretokenizers\": [{\"type\": \"Digits\", \"individual_digits\": true}, "
        "{\"type\": \"ByteLevel\", "
        "\"add_prefix_space\": false, \"trim_offsets\": true, \"use_regex\": true}]}";
    static const char post[] = "{\"type\": \"TemplateProcessing\", \"single\": [{\"SpecialToken\": {\"id\": "
        "\"" LMF_PRETRAIN_BORDER "\", \"type_id\": 0}}, "
        "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}], \"pair\": [{\"SpecialToken\": {\"id\": \"" LMF_PRETRAIN_BORDER "\", "
            "\"type_id\": 0}}, "
        "{\"Sequence\": {\"id\": \"A\", \"type_id\": 0}}, {\"SpecialToken\": {\"id\": \"" LMF_PRETRAIN_BORDER "\", \"type_id\": 1}}, "
        "{\"Sequence\": {\"id\": \"B\", \"type_id\": 1}}], \"special_tokens\": {\"" LMF_PRETRAIN_BORDER "\": {\"id\": "
            "\"" LMF_PRETRAIN_BORDER "\", "
        "\"ids\": [0], \"tokens\": [\"" LMF_PRETRAIN_BORDER "\"]}}}";
    char path[4096];
    json_t *root = NULL;
    const lmf_bpe_trained *t = &w->bpe;
    lmf_bytes *token = lmf_arena_array(&w->arena, (size_t)t->n_tokens, sizeof *token);
    lmf_hf_merge *merge = lmf_arena_array(&w->arena, (size_t)t->n_merges + 1, sizeof *merge);
    if (!token || !merge)
        return LMF_NO_MEMORY(w->ctx, (size_t)t->n_tokens * sizeof *token, "a vocabulary");
    for (int32_t i = 0; i < t->n_tokens; i++)
        token[i] = (lmf_bytes){ t->token[i], strlen(t->token[i]) };
    for (int32_t i = 0; i < t->n_merges; i++)
        merge[i] = (lmf_hf_merge){ token[t->merge[i][0]], token[t->merge[i][1]] };
    const lmf_hf_added border = { .text = token[0], .id = 0, .special = true };
    const lmf_hf_bpe bpe = { .token = token, .n_tokens = (size_t)t->n_tokens, .merge = merge, .n_merges = (size_t)t->n_merges,
        .added = &border, .n_added = 1,
        .pre_tokenizer = pre, .post_processor = post,
        .decoder = "{\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, \"use_regex\": true}" };
    lmf_status s = lmf_hf_tokenizer_build(w->ctx, &bpe, &root);
    if (!s)
        s = lmf_path_join(w->ctx, path, sizeof path, dir, "tokenizer.json");
    if (!s)
        s = lmf_json_save(w->ctx, path, root);
    json_decref(root);
    lmf_hf_special special = { .ctx = w->ctx, .bos = LMF_PRETRAIN_BORDER, .eos = LMF_PRETRAIN_BORDER, .pad = "", .unk = "", .add_bos = 1,
        .add_eos = 0,
                               .chat_template = "", .class_name = "" };
    return s ? s : lmf_hf_special_save(w->ctx, dir, &special, w->c->train.seq_len);
}

/* ---- the folder ---- */
static json_t *counts_json(const lmf_shards_counts *n)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "documents", (json_int_t)n->n_docs, "tokens", (json_int_t)n->n_tok, "learned_tokens",
                     (json_int_t)n->n_learn, "text_bytes", (json_int_t)n->n_text_bytes, "files", (json_int_t)n->n_files);
}

static lmf_status write_shards(work *w, const char *dir, json_t *facts)
{
    lmf_model *m;
    lmf_shards_counts n[2] = { 0 };
    LMF_TRY(lmf_model_open(w->ctx, dir, &m)); /* as all others will */
    lmf_shards_opts o = { .dir = dir, .name = "train", .border = 0, .progress = watched, .user = w };
    w->what = "tokens";
    lmf_status s = lmf_shards_write(w->ctx, m->tokenizer, w->train, w->n_train, &o, &n[0]);
    o.name = "eval", w->what = "held-out tokens";
    if (!s && w->n_eval)
        s = lmf_shards_write(w->ctx, m->tokenizer, w->eval, w->n_eval, &o, &n[1]);
    if (!s && json_object_set_new(facts, "parameters", json_integer((json_int_t)m->n_params)))
        s = LMF_NO_MEMORY(w->ctx, 64, "a receipt");
    lmf_model_close(m);
    if (!s && (json_object_set_new(facts, "train", counts_json(&n[0])) || json_object_set_new(facts, "eval", counts_json(&n[1]))))
        s = LMF_NO_MEMORY(w->ctx, 64, "a receipt");
    return s;
}

/* The names of the files of a folder that facts are of, NULL-ended. */
static lmf_status names_of(work *w, const json_t *facts, const char *const **out)
{
    static const char *const fixed[] = { FACTS_NAME, "config.json", "generation_config.json", "model.safetensors", "tokenizer.json",
        "tokenizer_config.json" };
    enum { N_FIXED = sizeof fixed / sizeof *fixed };
    json_int_t n_train = json_integer_value(json_object_get(json_object_get(facts, "train"), "files")),
               n_eval = json_integer_value(json_object_get(json_object_get(facts, "eval"), "files"));
    if (n_train < 0 || n_eval < 0 || n_train > 100000 || n_eval > 100000)
        return LMF_FAIL(w->ctx, LMF_E_EXISTS, "its " FACTS_NAME " was changed; it is left alone");
    const char **name = lmf_arena_array(&w->arena, (size_t)(N_FIXED + n_train + n_eval + 1), sizeof *name);
    bool ok = name != NULL;
    for (json_int_t i = 0; ok && i < N_FIXED + n_train + n_eval; i++) {
        json_int_t k = i - N_FIXED;
        name[i] = i < N_FIXED ? fixed[i] : k < n_train ? lmf_arena_printf(&w->arena, "train-%05lld.tokens", (long long)k)
                                                       : lmf_arena_printf(&w->arena, "eval-%05lld.tokens", (long long)(k - n_train));
        ok = name[i] != NULL;
    }
    *out = name;
    return ok ? LMF_OK : LMF_NO_MEMORY(w->ctx, 64, "names of files");
}

/* The new folder takes its name; an earlier one goes, if nothing else has been put into it. */
static lmf_status place(work *w, lmf_stage *st, const char *dir, const json_t *old)
{
    const char *const *names;
    if (!old)
        return lmf_output_place(w->ctx, st->path, dir, false);
    lmf_status s = names_of(w, old, &names);
    if (!s)
        s = lmf_dir_holds_only(w->ctx, dir, names);
    if (s)
        return lmf_fail_prefix(w->ctx, s, "--prepared %s", dir);
    LMF_TRY(lmf_output_place(w->ctx, st->path, dir, true));
    s = lmf_dir_remove(w->ctx, st->path, names);
    if (!s)
        st->path[0] = 0;
    return s;
}

static lmf_status make(work *w, const char *dir, const json_t *old)
{
    char path[4096];
    lmf_stage st;
    LMF_TRY(lmf_stage_open(w->ctx, dir, NULL, &st));
    json_t *facts = json_pack("{s:s, s:s, s:s, s:O}", "command", "pretrain", "version", LMF_VERSION, "key", w->key, "data", w->files);
    lmf_status s = facts ? train_tokenizer(w) : LMF_NO_MEMORY(w->ctx, 64, "a receipt");
    if (!s)
        s = write_tokenizer(w, st.path);
    if (!s)
        s = lmf__pretrain_write_model(w->ctx, w->c, w->bpe.n_tokens, 0, st.path);
    if (!s)
        s = write_shards(w, st.path, facts);
    if (!s)
        s = lmf_path_join(w->ctx, path, sizeof path, st.path, FACTS_NAME);
    if (!s)
        s = lmf_json_save(w->ctx, path, facts);
    if (!s)
        s = place(w, &st, dir, old);
    json_decref(facts);
    lmf_status closed = lmf_stage_close(&st);
    return s ? s : closed;
}

/* *facts NULL: nothing is there. */
static lmf_status look(work *w, const char *dir, json_t **facts)
{
    char path[4096];
    lmf_output_kind kind = lmf_output_stat(dir);
    *facts = NULL;
    if (kind == LMF_OUTPUT_NONE || (kind == LMF_OUTPUT_DIR && lmf_dir_is_empty(dir)))
        return LMF_OK;
    LMF_TRY(lmf_path_join(w->ctx, path, sizeof path, dir, FACTS_NAME));
    if (kind == LMF_OUTPUT_DIR && lmf_output_stat(path) == LMF_OUTPUT_FILE && !lmf_json_load(w->ctx, path, MAX_FACTS_BYTES,
        LMF_JSON_SMALL, facts)) {
        const char *by = json_string_value(json_object_get(*facts, "command"));
        if (by && !strcmp(by, "pretrain"))
            return LMF_OK;
    }
    json_decref(*facts);
    *facts = NULL;
    return LMF_FAIL(w->ctx, LMF_E_EXISTS, "--prepared %s is %s that no pretrain made; it is left alone, choose another name", dir,
        lmf_output_word(kind));
}

static lmf_status find_or_make(work *w, const char *dir, lmf_prepared *out)
{
    LMF_TRY(open_list(w, &w->c->train.data, "--data"));
    w->n_data = w->n_rows;
    LMF_TRY(open_list(w, &w->c->train.eval_data, "--eval-data"));
    LMF_TRY(divide(w));
    LMF_TRY(make_key(w));
    LMF_TRY(look(w, dir, &out->facts));
    const char *key = json_string_value(json_object_get(out->facts, "key"));
    out->reused = key && !strcmp(key, w->key);
    if (out->reused)
        return LMF_OK;
    if (out->facts && !w->c->train.overwrite)
        return LMF_FAIL(w->ctx, LMF_E_EXISTS, "--prepared %s was made of other text or with other settings; --overwrite makes it "
            "again, another --output "
                        "or --prepared leaves it", dir);
    lmf_status s = make(w, dir, out->facts);
    json_decref(out->facts);
    out->facts = NULL;
    return s ? s : look(w, dir, &out->facts);
}

lmf_status lmf_pretrain_prepare(lmf_ctx *ctx, const lmf_pretrain_config *c, const char *dir, const lmf_pretrain_watch *watch,
    lmf_prepared *out)
{
    memset(out, 0, sizeof *out);
    work *w = lmf_new(ctx, work);
    if (!w)
        return LMF_NO_MEMORY(ctx, sizeof *w, "pre-training");
    w->ctx = ctx, w->c = c, w->watch = watch, w->files = json_array();
    lmf_arena_init(&w->arena, ctx, LMF_POWER2(36));
    lmf_status s = w->files ? find_or_make(w, dir, out) : LMF_NO_MEMORY(ctx, 64, "a receipt");
    int32_t seq = (int32_t)c->train.seq_len, vocab = INT32_MAX;
    lmf_model *m = NULL;
    if (!s)
        s = lmf_model_open(ctx, dir, &m);
    if (!s)
        vocab = lmf_model_config(m)->vocab;
    lmf_model_close(m);
    if (!s)
        s = lmf_shards_open(ctx, dir, "train", vocab, seq, &out->train);
    if (!s && w->n_eval)
        s = lmf_shards_open(ctx, dir, "eval", vocab, seq, &out->eval);
    for (int i = 0; i < w->n_rows; i++)
        lmf_rows_close(&w->rows[i]);
    lmf_bpe_trained_clear(&w->bpe);
    json_decref(w->files);
    lmf_arena_clear(&w->arena);
    lmf_delete(ctx, w);
    if (s)
        lmf_prepared_close(out);
    return s;
}

void lmf_prepared_close(lmf_prepared *p)
{
    lmf_shards_close(p->train);
    lmf_shards_close(p->eval);
    json_decref(p->facts);
    *p = (lmf_prepared){ 0 };
}

double lmf_bits_per_byte(const lmf_shards *s, double loss)
{
    return loss * (double)s->samples->n_learn / (log(2) * (double)(s->n_text_bytes ? s->n_text_bytes : 1));
}
