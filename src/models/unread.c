/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what a file holds and nobody read is refused unless it is known to change nothing. Lists name the harmless, never the harmful:
 * a key that is new to us is a reason to stop. */
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include "models/model.h"

/* ANY: never read by the computation. ONE: 1 says nothing. TRUTH: 1 or true alone does. HEAD: the size of a head says nothing. Of all
 * keys but those of TRUTH, known or not, 0, false, null, "" and an empty list or object say nothing. */
typedef enum harm { ANY, ONE, TRUTH, HEAD } harm;
typedef struct harmless { const char *key; harm harm; } harmless;

static const harmless gguf_keys[] = { /* behind "<architecture>." */
    { "vocab_size", ANY }, { "tensor_data_layout", ANY }, { "rope.scaling.original_context_length", ANY }, { "rope.scaling.finetuned", ANY },
    { "rope.scaling.attn_factor", TRUTH }, { "rope.scale_linear", ONE }, { "attention.causal", TRUTH }, { "attention.key_length", HEAD },
    { "attention.value_length", HEAD }, { "rope.dimension_count", HEAD }, { NULL, ANY }
};

/* Fields of transformers' PretrainedConfig and of common writers; sampling defaults of old files are read from generation_config.json. */
static const char *const hf_any[] = {
    "architectures", "model_type", "dtype", "torch_dtype", "transformers_version", "transformers.js_config", "unsloth_fixed", "unsloth_version", "auto_map",
    "tokenizer_class", "tokenizer_model_max_length", "model_max_length", "max_sequence_length", "seq_length", "use_cache", "cache_implementation",
    "initializer_range", "attention_dropout", "hidden_dropout", "embd_pdrop", "resid_pdrop", "attn_pdrop", "dropout", "gradient_checkpointing",
    "bos_token_id", "eos_token_id", "pad_token_id", "unk_token_id", "sep_token_id", "decoder_start_token_id", "id2label", "label2id", "num_labels",
    "problem_type", "finetuning_task", "task_specific_params", "output_attentions", "output_hidden_states", "output_scores", "return_dict",
    "return_dict_in_generate", "torchscript", "use_bfloat16", "tf_legacy_loss", "chunk_size_feed_forward", "pretraining_tp", "attn_implementation",
    "use_flash_attn", "is_llama_config", "do_sample", "temperature", "top_k", "top_p", "typical_p", "min_p", "repetition_penalty", "length_penalty",
    "diversity_penalty", "num_beams", "num_beam_groups", "num_return_sequences", "max_length", "min_length", "max_new_tokens", "no_repeat_ngram_size",
    "encoder_no_repeat_ngram_size", "early_stopping", "bad_words_ids", "forced_bos_token_id", "forced_eos_token_id", "suppress_tokens",
    "begin_suppress_tokens", "remove_invalid_values", "exponential_decay_length_penalty", "language", "license", "prefix", NULL
};
/* 1 or true alone say nothing: attention to what follows, none or some of a head turned. */
static const char *const hf_truth[] = { "is_causal", "scale_attn_weights", "partial_rotary_factor", "attention_factor", NULL };
/* Inside rope_parameters, where the table does not read them. */
static const char *const rope_any[] = { "rope_theta", "type", "finetuned", "original_max_position_embeddings", NULL };

static bool in_list(const char *const *list, const char *key)
{
    for (; list && *list; list++)
        if (strcmp(*list, key) == 0)
            return true;
    return false;
}

static lmf_status refuse_key(lmf_model *m, const char *key, const char *value)
{
    return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "%.100s is %.60s, which %s as computed here does not know; if it is only a remark, remove it from the file", key, value, m->arch->name);
}

/* ---- GGUF ---- */

static lmf_status check_gguf_key(lmf_model *m, const lmf_gguf_kv *kv, const char *name)
{
    char text[64] = "a list";
    double v = 1;
    lmf_bytes s = { 0 };
    size_t at = 0;
    const harmless *h = gguf_keys;
    while (h->key && strcmp(h->key, name))
        h++;
    bool is_number = lmf_gguf_kv_f64(kv, 0, &v), one = kv->type == kv->item_type && kv->n == 1;
    if (in_list(m->arch->harmless, name) || (h->key && h->harm == ANY) || kv->n == 0)
        return LMF_OK;
    for (size_t i = 0; is_number && i < kv->n && !(h->key && h->harm == TRUTH); i++) { /* a list of zeros says nothing, too */
        double item = 1;
        if (!lmf_gguf_kv_f64(kv, i, &item) || item != 0)
            break;
        if (i + 1 == kv->n)
            return LMF_OK;
    }
    if (h->key && one && is_number && v == (h->harm == ONE || h->harm == TRUTH ? 1 : (double)m->arch->dim(m->config, 'C')))
        return LMF_OK;
    if (one && is_number)
        snprintf(text, sizeof text, "%g", v);
    else if (one && lmf_gguf_kv_next_string(kv, &at, &s)) {
        if (s.n == 0)
            return LMF_OK;
        snprintf(text, sizeof text, lmf_name_is_clean(s.p, s.n, 40) ? "\"%.*s\"" : "a text", (int)s.n, s.p);
    }
    return refuse_key(m, kv->key, text);
}

lmf_status lmf__model_check_gguf_keys(lmf_model *m, const char *arch)
{
    char key[128];
    size_t n = strlen(arch);
    for (size_t i = 0; i < lmf_gguf_n_kv(m->gguf); i++) {
        const lmf_gguf_kv *kv = lmf_gguf_kv_at(m->gguf, i);
        bool known = strncmp(kv->key, arch, n) != 0 || kv->key[n] != '.';
        for (const lmf_hparam *h = m->arch->hparams; h->field && !known; h++) {
            if (!h->gguf)
                continue;
            LMF_TRY(lmf_model_name(m->ctx, h->gguf, 0, arch, key, sizeof key));
            known = strcmp(key, kv->key) == 0;
        }
        if (!known)
            LMF_TRY(check_gguf_key(m, kv, kv->key + n + 1));
    }
    return LMF_OK;
}

/* ---- config.json ---- */

static bool says_nothing(const json_t *v)
{
    return !v || json_is_null(v) || json_is_false(v) || (json_is_number(v) && json_number_value(v) == 0) || (json_is_string(v) && !json_string_length(v)) ||
           (json_is_array(v) && !json_array_size(v)) || (json_is_object(v) && !json_object_size(v));
}

/* A key of hf_truth with another value than 1 or true; null stands for none. */
static bool is_untrue(const char *key, const json_t *v)
{
    return in_list(hf_truth, key) && !json_is_null(v) && !json_is_true(v) && !(json_is_number(v) && json_number_value(v) == 1);
}

/* Every layer of the one kind that an architecture without a word on layers has. */
static bool all_full(const json_t *v)
{
    size_t i;
    const json_t *item;
    json_array_foreach(v, i, item)
        if (!json_is_string(item) || strcmp(json_string_value(item), "full_attention"))
            return false;
    return json_is_array(v);
}

/* Whether one of the paths "a.b|c" of a row is `key`, or begins with it and a dot. */
static bool is_read(const lmf_arch *arch, const char *key)
{
    size_t n = strlen(key);
    for (const lmf_hparam *h = arch->hparams; h->field; h++)
        for (const char *p = h->hf; p && *p; p += strcspn(p, "|"), p += *p == '|')
            if (strncmp(p, key, n) == 0 && (p[n] == 0 || p[n] == '|' || p[n] == '.'))
                return true;
    return false;
}

static void value_text(const json_t *v, char *text, size_t n)
{
    char *json = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT | JSON_ENSURE_ASCII);
    snprintf(text, n, "%.50s%s", json ? json : "?", json && strlen(json) > 50 ? " ..." : "");
    free(json); /* allowed: jansson's */
}

static lmf_status refuse_json(lmf_model *m, const char *key, const json_t *v)
{
    char text[64];
    value_text(v, text, sizeof text);
    return refuse_key(m, key, text);
}

static lmf_status check_quantized(lmf_model *m, const json_t *v)
{
    const char *method = json_string_value(json_object_get(v, "quant_method"));
    const char *type = json_string_value(json_object_get(v, "bnb_4bit_quant_type"));
    if (method && !strcmp(method, "bitsandbytes") && json_is_true(json_object_get(v, "load_in_4bit"))) {
        if (type && !strcmp(type, "nf4"))
            return LMF_OK;
        return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "config.json: quantization_config says 4 bits of the type %.20s; nf4 is read",
                        type ? type : "fp4, the default");
    }
    return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED,
                    "config.json: quantization_config says that the weights are packed by %.40s; folders in f32, f16, bf16 or "
                        "bitsandbytes' nf4 are read, and GGUF files in many block formats",
                    method ? method : "a method that is not named");
}

static lmf_status refuse_conflict(lmf_model *m, const char *a, const json_t *va, const char *b, const json_t *vb)
{
    char ta[64], tb[64];
    value_text(va, ta, sizeof ta);
    value_text(vb, tb, sizeof tb);
    return LMF_FAIL(m->ctx, LMF_E_FORMAT, "config.json contradicts itself: %s is %s, %s is %s", a, ta, b, tb);
}

static bool differ(const json_t *a, const json_t *b)
{
    if (!a || !b || json_is_null(a) || json_is_null(b))
        return false;
    return json_is_number(a) && json_is_number(b) ? json_number_value(a) != json_number_value(b) : !json_equal(a, b);
}

/* Nothing of a scaling is guessed: its numbers are there. */
static lmf_status check_rope_type(lmf_model *m, const json_t *rope, const char *type)
{
    static const char *const wants[] = { "factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings" };
    int n = !type ? 0 : !strcmp(type, "linear") ? 1 : !strcmp(type, "llama3") ? 4 : 0;
    for (int i = 0; i < n; i++)
        if (!json_is_number(json_object_get(rope, wants[i])))
            return LMF_FAIL(m->ctx, LMF_E_FORMAT, "config.json: the rope scaling \"%s\" has no %s", type, wants[i]);
    return LMF_OK;
}

/* One object of rope parameters, which lies at `where`: its keys, and those of the objects in it that are read. */
static lmf_status check_rope_keys(lmf_model *m, const char *where, json_t *rope, int depth)
{
    char path[160];
    const char *key;
    json_t *v;
    json_object_foreach(rope, key, v) {
        snprintf(path, sizeof path, "%.70s.%.60s", where, key);
        bool read = is_read(m->arch, path);
        if (!read && !in_list(rope_any, key) && (is_untrue(key, v) || !(in_list(hf_truth, key) || says_nothing(v))))
            return refuse_json(m, path, v);
        if (read && json_is_object(v) && depth == 0)
            LMF_TRY(check_rope_keys(m, path, v, depth + 1));
    }
    const json_t *type = json_object_get(rope, "rope_type"), *older = json_object_get(rope, "type");
    if (differ(type, older))
        return refuse_conflict(m, "rope_type", type, "type", older);
    return check_rope_type(m, rope, json_string_value(type));
}

/* rope_parameters and rope_scaling, both filled in from each other where one was missing. */
static lmf_status check_rope(lmf_model *m, const json_t *root)
{
    char path[96], other[96];
    const char *key, *inner = "rope_parameters";
    json_t *v, *rope = json_object_get(root, "rope_parameters"), *scaling = json_object_get(root, "rope_scaling"), *theta = json_object_get(root, "rope_theta");
    json_t *all = rope, *full = json_object_get(rope, "full_attention"), *local = json_object_get(root, "rope_local_base_freq");
    if (json_is_object(full)) {
        rope = full, inner = "rope_parameters.full_attention";
        v = json_object_get(json_object_get(all, "sliding_attention"), "rope_theta");
        if (differ(local, v))
            return refuse_conflict(m, "rope_local_base_freq", local, "rope_parameters.sliding_attention.rope_theta", v);
    }
    snprintf(other, sizeof other, "%s.rope_theta", inner);
    if (differ(theta, json_object_get(rope, "rope_theta")))
        return refuse_conflict(m, "rope_theta", theta, other, json_object_get(rope, "rope_theta"));
    json_object_foreach(scaling, key, v) {
        snprintf(path, sizeof path, "rope_scaling.%.60s", key);
        snprintf(other, sizeof other, "%s.%.60s", inner, key);
        if (differ(v, json_object_get(rope, key)))
            return refuse_conflict(m, path, v, other, json_object_get(rope, key));
    }
    if (scaling && !json_is_null(scaling) && !json_is_object(scaling))
        return refuse_json(m, "rope_scaling", scaling);
    return check_rope_keys(m, "rope_parameters", all, 0);
}

lmf_status lmf__model_check_hf_keys(lmf_model *m, const struct json_t *root)
{
    const char *key;
    json_t *v;
    json_object_foreach((json_t *)(uintptr_t)root, key, v) {
        bool rope = strcmp(key, "rope_parameters") == 0 || strcmp(key, "rope_scaling") == 0 || strcmp(key, "rope_theta") == 0;
        if (strcmp(key, "quantization_config") == 0 && !says_nothing(v)) {
            LMF_TRY(check_quantized(m, v));
            continue;
        }
        if (key[0] == '_' || rope || is_read(m->arch, key) || in_list(hf_any, key) || in_list(m->arch->harmless, key))
            continue;
        if (is_untrue(key, v))
            return refuse_json(m, key, v);
        if (in_list(hf_truth, key) || says_nothing(v))
            continue;
        bool wide = strcmp(key, "sliding_window") == 0 && json_is_integer(v) && json_integer_value(v) >= lmf_model_config(m)->context; /* sees all */
        bool size = strcmp(key, "head_dim") == 0 && json_is_integer(v) && json_integer_value(v) == m->arch->dim(m->config, 'C');
        if (!wide && !size && !(strcmp(key, "layer_types") == 0 && all_full(v)))
            return refuse_json(m, key, v);
    }
    return check_rope(m, root);
}

/* ---- tensors ---- */

/* Buffers that old writers saved and every reader computes anew. */
static bool is_buffer(const char *name)
{
    static const char end[] = ".rotary_emb.inv_freq";
    size_t n = strlen(name), n_end = sizeof end - 1;
    return n > n_end && strcmp(name + n - n_end, end) == 0;
}

/* Names of the table for one layer, as the file form spells them, for the sentence. */
static void list_names(const lmf_arch *arch, bool gguf, char *text, size_t n)
{
    size_t at = 0;
    for (const lmf_weight_row *r = arch->weights; r->role; r++) {
        const char *name = gguf ? r->gguf : r->hf, *tail = name ? strstr(name, "{l}.") : NULL;
        size_t len = tail ? strlen(tail + 4) : 0;
        if (!tail || (r->flags & LMF_ROW_OPTIONAL) || at + len + 3 >= n)
            continue;
        at += (size_t)snprintf(text + at, n - at, "%s%s", at ? ", " : "", tail + 4);
    }
}

/* The layer in "blk.7.x" or "model.layers.7.x", or -1. */
static int64_t layer_of(const char *name)
{
    for (const char *p = name; (p = strchr(p, '.')); p++)
        if (p[1] >= '0' && p[1] <= '9') {
            int64_t v = 0;
            const char *q = p + 1;
            for (; *q >= '0' && *q <= '9' && v < 1 << 30; q++)
                v = 10 * v + (*q - '0');
            if (*q == '.')
                return v;
        }
    return -1;
}

lmf_status lmf__model_check_tensors(lmf_model *m, bool gguf)
{
    char known[400] = "";
    const char *first = NULL;
    size_t n = gguf ? lmf_gguf_n_tensors(m->gguf) : lmf_safetensors_n(m->st), n_left = 0;
    for (size_t i = 0; i < n; i++) {
        const char *name = gguf ? lmf_gguf_tensor_at(m->gguf, i)->name : lmf_safetensors_at(m->st, i)->name;
        if (m->taken[i] || is_buffer(name) || (m->packed && m->packed[i].name && !m->packed[i].data))
            continue;
        first = first ? first : name;
        n_left++;
    }
    if (!first)
        return LMF_OK;
    int32_t n_layers = lmf_model_config(m)->n_layers;
    if (layer_of(first) >= n_layers)
        return LMF_FAIL(m->ctx, LMF_E_FORMAT, "the tensor \"%.100s\" is of layer %lld, but the configuration says %d layers (0 to %d); %zu tensors would be left out", first,
                        (long long)layer_of(first), n_layers, n_layers - 1, n_left);
    list_names(m->arch, gguf, known, sizeof known);
    return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "%zu tensor%s would be left out, the first is \"%.100s\": %s as computed here has no place for it; a layer has %s", n_left,
                    n_left == 1 ? "" : "s", first, m->arch->name, known);
}

/* ---- settings that tensors prove ---- */

lmf_status lmf__model_check_present(lmf_model *m)
{
    for (const lmf_hparam *h = m->arch->hparams; h->field; h++) {
        bool *said = h->present ? (bool *)((char *)m->config + h->offset) : NULL;
        if (!said)
            continue;
        bool is = lmf_weights_find(m->weights, h->present) != NULL, in_form = m->gguf ? h->gguf != NULL : h->hf != NULL;
        if (in_form && *said != is)
            return LMF_FAIL(m->ctx, LMF_E_FORMAT, "the configuration's %s is %s, but the tensors (%s) are %s", h->field, *said ? "true" : "false or not given", h->present,
                            is ? "there" : "missing");
        *said = is;
    }
    return LMF_OK;
}
