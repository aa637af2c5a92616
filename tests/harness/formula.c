/* SPDX-License-Identifier: Apache-2.0 */
#include "formula.h"
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "base/philox.h"
#include "device/dtype.h"
#include "format/adapter.h"
#include "format/json.h"

enum { D = 64, H = 4, K = 2, C = 16, F = 96, V = 264, CONTEXT = 512, MAX_TENSORS = 128, STREAM_WEIGHT = 0xf0 };
enum kind { EMBED, NORM, MATRIX, BIAS };
typedef struct spec { char name[96]; uint32_t number; int64_t dim[2]; int n_dims; enum kind kind; } spec;

static const char chatml[] = "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
                             "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
static const char *const special[] = { "<|endoftext|>", "<|im_start|>", "<|im_end|>" };
static const char *const merges[][2] = { { "h", "e" }, { "i", "n" }, { "\u0120", "t" } };

float lmf_test_signed(uint64_t seed, uint32_t step, uint32_t stream, uint64_t k) { return 2 * lmf_random_f32(seed, step, stream, k) - 1; }

static void add(spec *list, int *n, int layer, const char *name, uint32_t number, int64_t rows, int64_t cols, enum kind kind)
{
    spec *s = &list[(*n)++];
    *s = (spec){ .number = number, .kind = kind, .n_dims = cols ? 2 : 1, .dim = { rows, cols } };
    if (layer < 0)
        snprintf(s->name, sizeof s->name, "%s", name);
    else
        snprintf(s->name, sizeof s->name, "model.layers.%d.%s", layer, name);
}

static int list_tensors(const lmf_formula *f, spec *list)
{
    static const struct { const char *name; int64_t rows, cols; enum kind kind; } layer[] = {
        { "input_layernorm.weight", D, 0, NORM }, { "self_attn.q_proj.weight", H * C, D, MATRIX }, { "self_attn.k_proj.weight", K * C, D, MATRIX },
        { "self_attn.v_proj.weight", K * C, D, MATRIX }, { "self_attn.o_proj.weight", D, H * C, MATRIX }, { "post_attention_layernorm.weight", D, 0, NORM },
        { "mlp.gate_proj.weight", F, D, MATRIX }, { "mlp.up_proj.weight", F, D, MATRIX }, { "mlp.down_proj.weight", D, F, MATRIX },
        { "self_attn.q_proj.bias", H * C, 0, BIAS }, { "self_attn.k_proj.bias", K * C, 0, BIAS }, { "self_attn.v_proj.bias", K * C, 0, BIAS } };
    int n = 0;
    add(list, &n, -1, "model.embed_tokens.weight", 0, V, D, EMBED);
    add(list, &n, -1, "model.norm.weight", 1, D, 0, NORM);
    if (!f->tied)
        add(list, &n, -1, "lm_head.weight", 2, V, D, MATRIX);
    for (int l = 0; l < f->n_layers; l++)
        for (int i = 0; i < (f->bias ? 12 : 9); i++)
            add(list, &n, l, layer[i].name, (uint32_t)(16 * (l + 1) + i), layer[i].rows, layer[i].cols, layer[i].kind);
    return n;
}

static void values(uint64_t seed, uint32_t number, enum kind kind, int64_t fan_in, float *x, int64_t n)
{
    float size = kind == EMBED ? 0.5f : kind == MATRIX ? (float)sqrt(3 / (double)fan_in) : kind == BIAS ? 0.1f : 0.2f;
    for (int64_t k = 0; k < n; k++)
        x[k] = (kind == NORM ? 1.0f : 0.0f) + size * lmf_test_signed(seed, number, STREAM_WEIGHT, (uint64_t)k);
}

static lmf_status save_weights(lmf_ctx *ctx, uint64_t seed, const spec *list, int n, const char *path)
{
    static float x[V * D];
    lmf_safetensors_writer *w;
    LMF_TRY(lmf_safetensors_writer_create(ctx, path, &w));
    lmf_status s = LMF_OK;
    for (int i = 0; !s && i < n; i++)
        s = lmf_safetensors_add(w, list[i].name, LMF_F32, list[i].dim, list[i].n_dims);
    if (!s)
        s = lmf_safetensors_begin(w);
    for (int64_t i; !s && (i = lmf_safetensors_writer_next(w)) >= 0;) {
        const spec *t = &list[i];
        int64_t count = t->dim[0] * (t->n_dims == 2 ? t->dim[1] : 1);
        assert_true(count <= V * D);
        values(seed, t->number, t->kind, t->dim[t->n_dims - 1], x, count);
        s = lmf_safetensors_write(w, x, (size_t)count * sizeof *x);
    }
    if (!s)
        s = lmf_safetensors_commit(w);
    lmf_safetensors_writer_destroy(w);
    return s;
}

/* The letter of a byte in a byte-level vocabulary, as UTF-8. */
static void letter(int b, int *n_moved, char out[3])
{
    bool plain = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || b >= 174;
    int c = plain ? b : 256 + (*n_moved)++;
    if (c < 128)
        snprintf(out, 3, "%c", c);
    else
        snprintf(out, 3, "%c%c", 0xc0 | c >> 6, 0x80 | (c & 63));
}

static json_t *tokenizer_json(void)
{
    json_t *vocab = json_object(), *merge_list = json_array(), *added = json_array();
    char text[8];
    int n_moved = 0;
    for (int b = 0; b < 256; b++) {
        letter(b, &n_moved, text);
        json_object_set_new(vocab, text, json_integer(b));
    }
    for (int i = 0; i < 3; i++) {
        snprintf(text, sizeof text, "%s%s", merges[i][0], merges[i][1]);
        json_object_set_new(vocab, text, json_integer(256 + i));
        json_array_append_new(merge_list, json_pack("[s, s]", merges[i][0], merges[i][1]));
        json_array_append_new(added, json_pack("{s:i, s:s, s:b, s:b, s:b, s:b, s:b}", "id", 259 + i, "content", special[i], "single_word", 0, "lstrip", 0,
                                               "rstrip", 0, "normalized", 0, "special", 1));
    }
    return json_pack("{s:s, s:o, s:n, s:{s:s, s:b, s:b, s:b}, s:n, s:{s:s, s:b, s:b, s:b, s:o, s:o}}", "version", "1.0", "added_tokens", added, "normalizer",
                     "pre_tokenizer", "type", "ByteLevel", "add_prefix_space", 0, "trim_offsets", 1, "use_regex", 1, "post_processor",
                     "model", "type", "BPE", "fuse_unk", 0, "byte_fallback", 0, "ignore_merges", 0, "vocab", vocab, "merges", merge_list);
}

static json_t *config_json(const lmf_formula *f)
{
    return json_pack("{s:[s], s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:f, s:b, s:i, s:i}", "architectures", f->bias ? "Qwen2ForCausalLM" : "LlamaForCausalLM",
                     "model_type", f->bias ? "qwen2" : "llama", "hidden_act", "silu", "hidden_size", D, "intermediate_size", F, "num_hidden_layers", f->n_layers,
                     "num_attention_heads", H, "num_key_value_heads", K, "vocab_size", V, "max_position_embeddings", CONTEXT, "rms_norm_eps", 1e-5, "rope_theta", 1e4,
                     "tie_word_embeddings", f->tied, "bos_token_id", 259, "eos_token_id", 261);
}

static lmf_status save_json(lmf_ctx *ctx, const char *dir, const char *name, json_t *root)
{
    char path[1024];
    lmf_status s = lmf_path_join(ctx, path, sizeof path, dir, name);
    if (!s)
        s = lmf_json_save(ctx, path, root);
    json_decref(root);
    return s;
}

/* config is taken. */
static const char *save_folder(uint64_t seed, const spec *list, int n, json_t *config, const char *chat_template)
{
    const char *dir = lmf_test_path("model");
    char path[1024];
    lmf_ctx *ctx = lmf_test_ctx();
    assert_ok(ctx, lmf_dir_create(ctx, dir));
    snprintf(path, sizeof path, "%s/model.safetensors", dir);
    assert_ok(ctx, save_weights(ctx, seed, list, n, path));
    assert_ok(ctx, save_json(ctx, dir, "config.json", config));
    assert_ok(ctx, save_json(ctx, dir, "tokenizer.json", tokenizer_json()));
    assert_ok(ctx, save_json(ctx, dir, "tokenizer_config.json", json_pack("{s:s, s:s, s:s, s:s}", "tokenizer_class", "PreTrainedTokenizerFast",
                                                                          "bos_token", special[0], "eos_token", special[2], "chat_template",
                                                                          chat_template ? chat_template : chatml)));
    lmf_test_ctx_done(ctx);
    return dir;
}

const char *lmf_test_formula_model(const lmf_formula *f)
{
    spec list[MAX_TENSORS];
    int n = list_tensors(f, list);
    return save_folder(f->seed, list, n, config_json(f), f->chat_template);
}

const char *lmf_test_family_model(const json_t *golden)
{
    static const char *const kinds[] = { "embed", "norm", "matrix", "bias" };
    spec list[MAX_TENSORS];
    int n = 0;
    size_t i;
    const json_t *t;
    json_array_foreach(json_object_get(golden, "tensors"), i, t) {
        const json_t *dims = json_array_get(t, 2);
        const char *kind = json_string_value(json_array_get(t, 3));
        spec *s = &list[n++];
        assert_true(n <= MAX_TENSORS && json_array_size(dims) <= 2);
        *s = (spec){ .number = (uint32_t)json_integer_value(json_array_get(t, 1)), .n_dims = (int)json_array_size(dims) };
        snprintf(s->name, sizeof s->name, "%s", json_string_value(json_array_get(t, 0)));
        for (int k = 0; k < s->n_dims; k++)
            s->dim[k] = json_integer_value(json_array_get(dims, (size_t)k));
        while (strcmp(kinds[s->kind], kind))
            s->kind++;
    }
    return save_folder(1, list, n, json_deep_copy(json_object_get(golden, "config")), NULL);
}

/* Pairs of the modules in list, numbered by it. */
static const char *save_adapter(uint64_t seed, spec *list, int n, int r, double alpha, const char *const *target, size_t n_targets)
{
    static float x[MAX_TENSORS][2][4 * F * 8];
    const char *dir = lmf_test_path("adapter");
    lmf_adapter_entry e[MAX_TENSORS];
    lmf_adapter_config c = { .r = r, .alpha = alpha, .base_model = "", .task_type = "CAUSAL_LM", .target = target, .n_targets = n_targets };
    for (int i = 0; i < n; i++) {
        int64_t rows = list[i].dim[0], cols = list[i].dim[1];
        assert_true(r * rows <= 4 * F * 8 && r * cols <= 4 * F * 8);
        values(seed, list[i].number + 1000, MATRIX, cols, x[i][0], r * cols);
        values(seed, list[i].number + 2000, BIAS, r, x[i][1], rows * r);
        e[i] = (lmf_adapter_entry){ .path = list[i].name, .dtype = LMF_F32, .n_in = cols, .n_out = rows, .r = r, .alpha = alpha, .a = x[i][0],
                                    .b = x[i][1] };
    }
    lmf_ctx *ctx = lmf_test_ctx();
    assert_ok(ctx, lmf_adapter_save(ctx, dir, &c, e, (size_t)n));
    lmf_test_ctx_done(ctx);
    return dir;
}

const char *lmf_test_formula_adapter(uint64_t seed, int n_layers, int r, double alpha)
{
    static const char *const target[] = { "down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj" };
    spec list[MAX_TENSORS];
    int n = list_tensors(&(lmf_formula){ .n_layers = n_layers, .tied = true }, list), n_matrices = 0;
    for (int i = 0; i < n; i++)
        if (list[i].kind == MATRIX) {
            list[n_matrices] = list[i];
            list[n_matrices].name[strlen(list[i].name) - strlen(".weight")] = 0;
            n_matrices++;
        }
    return save_adapter(seed, list, n_matrices, r, alpha, target, 7);
}

const char *lmf_test_family_adapter(const json_t *golden, int r, double alpha)
{
    static char target[16][64];
    const char *names[16];
    spec list[MAX_TENSORS];
    size_t i, n_targets = 0, k;
    const json_t *m;
    json_array_foreach(json_object_get(golden, "modules"), i, m) {
        spec *s = &list[i];
        assert_true(i < MAX_TENSORS);
        *s = (spec){ .number = (uint32_t)json_integer_value(json_array_get(m, 1)), .n_dims = 2,
                     .dim = { json_integer_value(json_array_get(m, 3)), json_integer_value(json_array_get(m, 2)) } };
        snprintf(s->name, sizeof s->name, "%s", json_string_value(json_array_get(m, 0)));
        for (k = 0; k < n_targets && strcmp(target[k], strrchr(s->name, '.') + 1); k++)
            continue;
        if (k == n_targets && k < 16) {
            snprintf(target[k], sizeof target[k], "%.63s", strrchr(s->name, '.') + 1);
            names[n_targets++] = target[k];
        }
    }
    return save_adapter(1, list, (int)json_array_size(json_object_get(golden, "modules")), r, alpha, names, n_targets);
}
