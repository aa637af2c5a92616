/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: config.json says what the weights beside it are: tied, dtype and vocabulary come from the tensors, not from the source's file. */
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "export/parts.h"
#include "format/hf_json.h"
#include "models/hparam.h"
#include "text/tokenizer/pretok.h"
#include "text/tokenizer/scores.h"

/* root.a.b = value (taken) for "a.b", or "a.b|c". */
static bool put_path(json_t *root, const char *path, json_t *value)
{
    size_t n = strcspn(path, ".|");
    const char *dot = path[n] == '.' ? path + n : NULL;
    char key[64];
    if (!dot)
        return value && !json_object_setn_new(root, path, n, value);
    snprintf(key, sizeof key, "%.*s", (int)n, path);
    json_t *inner = json_object_get(root, key);
    if (!inner) {
        json_object_set_new(root, key, json_object());
        inner = json_object_get(root, key);
    }
    return put_path(inner, dot + 1, value);
}

/* Parameters nested by kinds of layers (Gemma 3) each say a type; a factor belongs to a scaling. */
static bool trim_nested_rope(json_t *rope)
{
    const char *key;
    json_t *one;
    json_object_foreach(rope, key, one) {
        const char *type = json_string_value(json_object_get(one, "rope_type"));
        if (type && *type && strcmp(type, "default") && strcmp(type, "none"))
            continue;
        json_object_del(one, "factor");
        if (json_object_set_new(one, "rope_type", json_string("default")))
            return false;
    }
    return true;
}

/* rope_parameters hold what their type reads, and the base; without scaling the dialects' common keys say it all. */
static bool trim_rope(json_t *root)
{
    static const char *const llama3_only[] = { "low_freq_factor", "high_freq_factor", "original_max_position_embeddings" };
    json_t *rope = json_object_get(root, "rope_parameters");
    const char *type = json_string_value(json_object_get(rope, "rope_type"));
    if (!rope)
        return true;
    if (json_is_object(json_object_get(rope, "full_attention")))
        return trim_nested_rope(rope);
    if (!type || !*type || strcmp(type, "default") == 0 || strcmp(type, "none") == 0)
        return !json_object_del(root, "rope_parameters");
    for (int i = 0; i < 3 && strcmp(type, "llama3"); i++)
        json_object_del(rope, llama3_only[i]);
    return !json_object_set(rope, "rope_theta", json_object_get(root, "rope_theta"));
}

static bool put_ids(json_t *root, const lmf_model *m)
{
    const lmf_token_ids *id = lmf_tokenizer_ids(m->tokenizer);
    json_t *eos = m->chat.n_eos == 1 ? json_integer(m->chat.eos[0]) : json_array();
    for (int i = 0; i < m->chat.n_eos && m->chat.n_eos > 1; i++)
        json_array_append_new(eos, json_integer(m->chat.eos[i]));
    if (m->chat.n_eos == 0) {
        json_decref(eos);
        eos = json_null();
    }
    return !json_object_set_new(root, "eos_token_id", eos) && /* none is said to be none: configurations have defaults of their own */
           !json_object_set_new(root, "bos_token_id", id->bos < 0 ? json_null() : json_integer(id->bos)) &&
           !json_object_set_new(root, "pad_token_id", id->pad < 0 ? json_null() : json_integer(id->pad));
}

static lmf_status save_config(lmf_exporter *x, const char *dir)
{
    char path[4096];
    const lmf_model *m = x->model;
    const char *dtype = x->dtype ? x->dtype : "float32";
    for (int64_t i = 0; i < x->n; i++)
        if (x->items[i].n_dims > 1)
            dtype = x->items[i].fmt->dtype == LMF_F16 ? "float16" : x->items[i].fmt->dtype == LMF_BF16 ? "bfloat16" : "float32";
    json_t *root = json_pack("{s:[s], s:s, s:s}", "architectures", m->arch->hf_class[0], "model_type", m->arch->hf_model_type, "dtype", dtype);
    json_t *generation = json_object();
    bool ok = root && generation;
    for (const lmf_hparam *h = m->arch->hparams; ok && h->field; h++)
        ok = !h->hf || ((h->kind == LMF_HPARAM_TEXT || h->kind == LMF_HPARAM_LIST) && lmf_hparam_is_default(h, m->config)) ||
             put_path(root, h->hf, lmf_hparam_json(h, m->config)); /* what the source did not say: transformers has its own default */
    ok = ok && (!x->more || !json_object_update(root, x->more));
    ok = ok && !json_object_set_new(root, "tie_word_embeddings", json_boolean(lmf__export_is_tied(m))) && trim_rope(root) && put_ids(root, m) && put_ids(generation, m);
    lmf_status s = ok ? lmf_hf_config_save(x->ctx, dir, root) : LMF_NO_MEMORY(x->ctx, 4096, "config.json");
    if (!s)
        s = lmf_path_join(x->ctx, path, sizeof path, dir, "generation_config.json");
    if (!s)
        s = lmf_json_save(x->ctx, path, generation);
    json_decref(root);
    json_decref(generation);
    return s;
}

/* ---- tokenizer ---- */

static lmf_bytes token_text(const lmf_vocab *v, int32_t id)
{
    return (lmf_bytes){ v->token[id], v->token_bytes ? v->token_bytes[id] : strlen(v->token[id]) };
}

/* The steps in front of the merges, as JSON. */
static json_t *pre_tokenizer(const lmf_pretok *p)
{
    json_t *list = json_array();
    bool gpt2 = strcmp(p->hf_regex, LMF_REGEX_GPT2) == 0;
    if (p->hf_digits)
        json_array_append_new(list, json_pack("{s:s, s:b}", "type", "Digits", "individual_digits", p->hf_digits == LMF_DIGITS_EACH));
    if (!gpt2)
        json_array_append_new(list, json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex", p->hf_regex, "behavior", "Isolated", "invert", 0));
    json_array_append_new(list, json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", gpt2));
    if (json_array_size(list) > 1)
        return json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers", list);
    json_t *one = json_incref(json_array_get(list, 0));
    json_decref(list);
    return one;
}

/* A token before or behind a text; single has the first text only. */
static void put_around(const lmf_vocab *v, int32_t id, int type_id, json_t *single, json_t *pair, json_t *special)
{
    lmf_bytes b = token_text(v, id);
    json_t *piece = json_pack("{s:{s:s%, s:i}}", "SpecialToken", "id", b.p, b.n, "type_id", type_id);
    if (type_id == 0)
        json_array_append(single, piece);
    json_array_append_new(pair, piece);
    json_object_setn_new(special, b.p, b.n, json_pack("{s:s%, s:[i], s:[s%]}", "id", b.p, b.n, "ids", id, "tokens", b.p, b.n));
}

static json_t *post_processor(const lmf_model *m)
{
    const lmf_token_ids *id = lmf_tokenizer_ids(m->tokenizer);
    if (!id->add_bos && !id->add_eos)
        return NULL;
    json_t *single = json_array(), *pair = json_array(), *special = json_object();
    for (int i = 0; i < 2; i++) { /* the second text of a pair has them too */
        const char *text = i ? "B" : "A";
        if (id->add_bos)
            put_around(&m->vocab, id->bos, i, single, pair, special);
        if (!i)
            json_array_append_new(single, json_pack("{s:{s:s, s:i}}", "Sequence", "id", text, "type_id", 0));
        json_array_append_new(pair, json_pack("{s:{s:s, s:i}}", "Sequence", "id", text, "type_id", i));
        if (id->add_eos)
            put_around(&m->vocab, id->eos, i, single, pair, special);
    }
    return json_pack("{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing", "single", single, "pair", pair, "special_tokens", special);
}

/* Added tokens behind all others take their ids in order and are not written into the vocabulary, where a word could become one of them;
 * but for those that a merge names. Marks what is left out. */
static lmf_status leave_out_added(lmf_exporter *x, const lmf_hf_bpe *bpe, lmf_bytes *token)
{
    char both[2 * LMF_TOKEN_MAX_BYTES];
    size_t first = bpe->n_tokens, at = bpe->n_added;
    json_t *left_out = json_object();
    bool ok = left_out != NULL;
    for (; at > 0 && (size_t)bpe->added[at - 1].id == first - 1; at--)
        ok = ok && !json_object_setn_new_nocheck(left_out, token[first - 1].p, token[first - 1].n, json_integer((json_int_t)first - 1)),
            first--;
    for (size_t i = 0; i < bpe->n_merges; i++) {
        const lmf_bytes l = bpe->merge[i].left, r = bpe->merge[i].right;
        if (l.n > LMF_TOKEN_MAX_BYTES || r.n > LMF_TOKEN_MAX_BYTES)
            continue;
        memcpy(both, l.p, l.n);
        memcpy(both + l.n, r.p, r.n);
        const json_t *hit[] = { json_object_getn(left_out, l.p, l.n), json_object_getn(left_out, r.p, r.n), json_object_getn(left_out,
            both, l.n + r.n) };
        for (int k = 0; k < 3; k++)
            first = hit[k] && (size_t)json_integer_value(hit[k]) >= first ? (size_t)json_integer_value(hit[k]) + 1 : first;
    }
    for (size_t i = first; i < bpe->n_tokens; i++)
        token[i].p = NULL;
    json_decref(left_out);
    return ok ? LMF_OK : LMF_NO_MEMORY(x->ctx, 64, "the vocabulary");
}

/* The list that scores stand for. */
static lmf_status merges_of_scores(lmf_exporter *x, lmf_hf_bpe *bpe)
{
    lmf_pair *pair;
    LMF_TRY(lmf_pairs_of_scores(x->model->tokenizer, &x->arena, &pair, &bpe->n_merges));
    lmf_hf_merge *merge = lmf_arena_array(&x->arena, bpe->n_merges, sizeof *merge);
    if (!merge)
        return LMF_NO_MEMORY(x->ctx, bpe->n_merges * sizeof *merge, "the vocabulary");
    for (size_t i = 0; i < bpe->n_merges; i++)
        merge[i] = (lmf_hf_merge){ token_text(&x->model->vocab, pair[i].left), token_text(&x->model->vocab, pair[i].right) };
    bpe->merge = merge;
    return LMF_OK;
}

static lmf_status fill_bpe(lmf_exporter *x, lmf_hf_bpe *bpe)
{
    const lmf_vocab *v = &x->model->vocab;
    lmf_bytes *token = lmf_arena_array(&x->arena, v->n_tokens, sizeof *token);
    lmf_hf_merge *merge = lmf_arena_array(&x->arena, v->n_merges, sizeof *merge);
    lmf_hf_added *added = lmf_arena_array(&x->arena, v->n_tokens, sizeof *added);
    if (!token || !merge || !added)
        return LMF_NO_MEMORY(x->ctx, v->n_tokens * sizeof *added, "the vocabulary");
    for (size_t i = 0; i < v->n_tokens; i++) {
        int kind = v->kind && v->kind[i] ? v->kind[i] : LMF_TOKEN_NORMAL, flags = x->added ? x->added[i] : v->added ? v->added[i] : 0;
        if (kind == LMF_TOKEN_UNUSED)
            continue;
        token[i] = token_text(v, (int32_t)i);
        if (kind == LMF_TOKEN_CONTROL || kind == LMF_TOKEN_UNKNOWN || kind == LMF_TOKEN_USER_DEFINED)
            added[bpe->n_added++] = (lmf_hf_added){ .text = token[i], .id = (int32_t)i, .special = kind != LMF_TOKEN_USER_DEFINED, .lstrip = flags & LMF_ADDED_LSTRIP,
                .rstrip = flags & LMF_ADDED_RSTRIP, .single_word = flags & LMF_ADDED_SINGLE_WORD, .normalized = flags & LMF_ADDED_NORMALIZED };
    }
    for (size_t i = 0; i < v->n_merges; i++) {
        const char *text = v->merge[i];
        size_t n = v->merge_bytes ? v->merge_bytes[i] : strlen(text), cut = 1;
        while (cut < n && text[cut] != ' ')
            cut++;
        if (cut + 1 >= n)
            return LMF_FAIL(x->ctx, LMF_E_FORMAT, "merge %zu is no pair of tokens", i);
        merge[i] = (lmf_hf_merge){ { text, cut }, { text + cut + 1, n - cut - 1 } };
    }
    bpe->token = token, bpe->n_tokens = v->n_tokens, bpe->merge = merge, bpe->n_merges = v->n_merges, bpe->added = added;
    if (v->score)
        LMF_TRY(merges_of_scores(x, bpe));
    return leave_out_added(x, bpe, token);
}

#define MARK_JSON "{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"" LMF_SPACE_MARK "\"}"
#define BACK_JSON "{\"type\":\"Replace\",\"pattern\":{\"String\":\"" LMF_SPACE_MARK "\"},\"content\":\" \"}," \
    "{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}"
#define FIRST_JSON "{\"type\":\"Metaspace\",\"replacement\":\"" LMF_SPACE_MARK "\",\"prepend_scheme\":\"first\",\"split\":false}"

/* SentencePiece's kind: a folder's own steps, or those that a GGUF file or a tokenizer.model stands for. */
static lmf_status fill_spaced(lmf_exporter *x, lmf_hf_bpe *bpe)
{
    const lmf_model *m = x->model;
    const lmf_vocab *v = &m->vocab;
    for (size_t i = 0; i < v->n_tokens; i++)
        bpe->byte_fallback |= v->kind && v->kind[i] == LMF_TOKEN_BYTE;
    bpe->fuse_unk = v->fuse_unk;
    bpe->pre_tokenizer = m->pre_tokenizer_json, bpe->normalizer = m->normalizer_json, bpe->decoder = m->decoder_json;
    if (v->score) {
        bpe->normalizer = v->n_norm < 2 ? MARK_JSON : "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\",\"prepend\":\""
            LMF_SPACE_MARK "\"}," MARK_JSON "]}";
        bpe->decoder = v->strip ? "{\"type\":\"Sequence\",\"decoders\":[" BACK_JSON
            ",{\"type\":\"Strip\",\"content\":\" \",\"start\":1,\"stop\":0}]}" : "{\"type\":\"Sequence\",\"decoders\":[" BACK_JSON "]}";
    }
    if (x->leads_first)
        bpe->normalizer = NULL, bpe->pre_tokenizer = FIRST_JSON;
    if (v->unk >= 0) {
        lmf_bytes b = token_text(v, v->unk);
        if (!(bpe->unk = lmf_arena_strndup(&x->arena, b.p, b.n)))
            return LMF_NO_MEMORY(x->ctx, b.n, "the vocabulary");
    }
    return LMF_OK;
}

static lmf_status save_tokenizer(lmf_exporter *x, const char *dir)
{
    bool spaced = lmf__export_is_spaced(x);
    char path[4096];
    const lmf_model *m = x->model;
    const lmf_pretok *p = m->vocab.pretok ? lmf_pretok_find(x->ctx, m->vocab.pretok) : NULL;
    lmf_hf_bpe bpe = { 0 };
    json_t *root = NULL, *pre = NULL, *post = NULL;
    if (!spaced && (!p || !p->hf_regex))
        return LMF_FAIL(x->ctx, LMF_E_UNSUPPORTED, "the pre-tokenizer \"%s\" has no form in tokenizer.json", m->vocab.pretok ? m->vocab.pretok : "");
    LMF_TRY(fill_bpe(x, &bpe));
    bpe.ignore_merges = m->vocab.whole_words == LMF_YES || (m->vocab.whole_words == LMF_BY_FAMILY && p && p->whole_words);
    bpe.decoder = "{\"type\": \"ByteLevel\", \"add_prefix_space\": true, \"trim_offsets\": true, \"use_regex\": true}";
    pre = spaced ? json_null() : pre_tokenizer(p);
    post = post_processor(m);
    char *pre_text = m->pre_tokenizer_json || spaced ? NULL : json_dumps(pre, JSON_COMPACT), *post_text = post ? json_dumps(post, JSON_COMPACT) : NULL;
    bpe.pre_tokenizer = m->pre_tokenizer_json ? m->pre_tokenizer_json : pre_text;
    bpe.post_processor = post_text;
    bpe.normalizer = m->normalizer_json;
    lmf_status s = spaced ? fill_spaced(x, &bpe) : LMF_OK;
    if (!s)
        s = lmf_hf_tokenizer_build(x->ctx, &bpe, &root);
    if (!s)
        s = lmf_path_join(x->ctx, path, sizeof path, dir, "tokenizer.json");
    if (!s)
        s = lmf_json_save(x->ctx, path, root);
    json_decref(root);
    json_decref(pre);
    json_decref(post);
    free(pre_text); /* allowed: jansson's */
    free(post_text); /* allowed: jansson's */
    return s;
}

static lmf_status save_special(lmf_exporter *x, const char *dir)
{
    const lmf_model *m = x->model;
    const lmf_token_ids *id = lmf_tokenizer_ids(m->tokenizer);
    const int32_t ids[] = { id->bos, id->eos, id->pad, id->unk };
    const char *text[4] = { "", "", "", "" };
    for (int i = 0; i < 4; i++)
        if (ids[i] >= 0 && !(i == 0 && id->bos_unnamed) && !(i == 1 && id->eos_unnamed)) {
            lmf_bytes b = token_text(&m->vocab, ids[i]);
            text[i] = lmf_arena_strndup(&x->arena, b.p, b.n);
            if (!text[i])
                return LMF_NO_MEMORY(x->ctx, b.n, "a special token");
        }
    lmf_hf_special s = { .ctx = x->ctx, .bos = text[0], .eos = text[1], .pad = text[2], .unk = text[3], .add_bos = id->add_bos, .add_eos = id->add_eos,
                         .chat_template = m->chat_source ? m->chat_source : "", .class_name = "",
                         .more = m->templates, .n_more = m->n_templates };
    return lmf_hf_special_save(x->ctx, dir, &s, lmf_model_config(m)->context);
}

static lmf_status sink(void *user, const void *data, size_t n)
{
    return lmf_safetensors_write(user, data, n);
}

static lmf_status write_tensors(lmf_exporter *x, lmf_safetensors_writer *w)
{
    int64_t done = 0;
    for (int64_t i = 0; i < x->n; i++)
        LMF_TRY(lmf_safetensors_add(w, x->items[i].name, x->items[i].fmt->dtype, x->items[i].dim, x->items[i].n_dims));
    LMF_TRY(lmf_safetensors_begin(w));
    for (int64_t i; (i = lmf_safetensors_writer_next(w)) >= 0;) {
        LMF_TRY(lmf__export_tensor(x, &x->items[i], sink, w));
        if (x->opts->progress && !x->opts->progress(x->opts->user, ++done, x->n))
            return LMF_FAIL(x->ctx, LMF_E_CANCELLED, "stopped; nothing was written");
    }
    return lmf_safetensors_commit(w);
}

lmf_status lmf__export_hf_files(lmf_exporter *x, const char *dir)
{
    if (!x->model->arch->hf_class || !x->model->arch->hf_class[0])
        return LMF_FAIL(x->ctx, LMF_E_UNSUPPORTED, "the architecture %s has no class in transformers", x->model->arch->name);
    lmf__export_say_template(x);
    LMF_TRY(lmf__export_losses_hf(x));
    LMF_TRY(lmf_dir_create(x->ctx, dir));
    LMF_TRY(save_config(x, dir));
    LMF_TRY(save_tokenizer(x, dir));
    return save_special(x, dir);
}

lmf_status lmf__export_hf(lmf_exporter *x, const char *dir)
{
    char path[4096];
    lmf_safetensors_writer *w;
    LMF_TRY(lmf__export_hf_files(x, dir));
    LMF_TRY(lmf_path_join(x->ctx, path, sizeof path, dir, "model.safetensors"));
    LMF_TRY(lmf_safetensors_writer_create(x->ctx, path, &w));
    lmf_status s = write_tensors(x, w);
    lmf_safetensors_writer_destroy(w);
    return s;
}
