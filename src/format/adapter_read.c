/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what would change the result and is not computed here is refused, never skipped: an adapter applied in part
 * is a wrong model that looks right. */
#include <math.h>
#include <string.h>
#include "base/file.h"
#include "device/dtype.h"
#include "format/adapter.h"
#include "format/json.h"
#include "format/names.h"

enum { CONFIG_MAX_BYTES = 4 << 20, RANK_MAX = 65536 };
#define PREFIX "base_model.model."
#define SUFFIX_A ".lora_A.weight"
#define SUFFIX_B ".lora_B.weight"
#define SUFFIX_M ".lora_magnitude_vector"

struct lmf_adapter {
    lmf_ctx           *ctx;
    lmf_arena          arena;
    json_t            *root;   /* adapter_config.json */
    lmf_safetensors   *st;
    lmf_adapter_config config;
    lmf_adapter_pair  *pair;
    size_t             n;
    const char        *dir;
};

static lmf_status bad_config(lmf_adapter *a, const char *what)
{
    return LMF_FAIL(a->ctx, LMF_E_FORMAT, "%.200s/adapter_config.json: %s", a->dir, what);
}

static bool is_empty(const json_t *v)
{
    return !v || json_is_null(v) || json_is_false(v) || (json_is_array(v) && json_array_size(v) == 0) ||
           (json_is_object(v) && json_object_size(v) == 0);
}

/* Keys that were read, or that say how the adapter was made and not what it computes. Whatever else says something is refused. */
static bool is_harmless(const char *key)
{
    static const char *const keys[] = {
        "use_dora", "peft_type", "task_type",
        "auto_mapping", "peft_version", "base_model_name_or_path", "revision", "inference_mode", "r", "target_modules", "exclude_modules",
        "lora_alpha", "lora_dropout", "bias", "use_rslora", "init_lora_weights", "layers_to_transform", "layers_pattern", "rank_pattern", "alpha_pattern",
        "megatron_core", "qalora_group_size", "ensure_weight_tying", "parent_library", "base_model_class", "unsloth_version", NULL };
    for (const char *const *k = keys; *k; k++)
        if (strcmp(*k, key) == 0)
            return true;
    return key[0] == '_';
}

/* A start that leaves the base alone: B is zero, or both are random. PiSSA, OLoRA, CorDA and LoftQ take something out of the base's
 * weights, which the adapter's file does not hold: added to the plain base the result is another model. */
static lmf_status check_start(lmf_adapter *a)
{
    static const char *const plain[] = { "gaussian", "eva", "orthogonal", NULL };
    const json_t *v = json_object_get(a->root, "init_lora_weights");
    const char *start = json_string_value(v);
    if (!v || json_is_null(v) || json_is_boolean(v))
        return LMF_OK;
    for (const char *const *p = plain; start && *p; p++)
        if (strcmp(*p, start) == 0)
            return LMF_OK;
    return LMF_FAIL(a->ctx, LMF_E_UNSUPPORTED,
                    "%.200s was started with init_lora_weights %.40s, which changes the base's weights too or is not known; in PEFT convert it to plain LoRA "
                    "(save_pretrained with path_initial_model_for_weight_conversion)", a->dir, start ? start : "of another kind");
}

static lmf_status check_supported(lmf_adapter *a)
{
    static const struct { const char *key, *why; } refused[] = {
        { "modules_to_save", "has fully trained modules beside the adapter (modules_to_save)" },
        { "fan_in_fan_out", "has transposed weights (fan_in_fan_out)" },
        { "lora_bias", "has biases in its B matrices (lora_bias)" },
        { "layer_replication", "repeats layers of the base (layer_replication)" },
        { "target_parameters", "changes parameters that are no linear layer (target_parameters)" },
        { "trainable_token_indices", "changes rows of the embedding (trainable_token_indices)" },
        { "alora_invocation_tokens", "is active behind some tokens only (alora_invocation_tokens)" },
        { "use_qalora", "averages its inputs (use_qalora)" },
        { "loftq_config", "was started from a quantized base (loftq_config)" },
        { "corda_config", "was started from the base's weights (corda_config)" },
    };
    const char *type = json_string_value(json_object_get(a->root, "peft_type")), *bias = json_string_value(json_object_get(a->root, "bias")), *key;
    json_t *v;
    if (!type || strcmp(type, "LORA"))
        return LMF_FAIL(a->ctx, LMF_E_UNSUPPORTED, "%.200s has the peft_type %.40s; only LORA is supported", a->dir, type ? type : "(none)");
    if (bias && strcmp(bias, "none"))
        return LMF_FAIL(a->ctx, LMF_E_UNSUPPORTED, "%.200s trained biases too (bias: %.40s), which is not supported; train with bias none", a->dir, bias);
    for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
        if (!is_empty(json_object_get(a->root, refused[i].key)))
            return LMF_FAIL(a->ctx, LMF_E_UNSUPPORTED, "%.200s %s, which is not supported", a->dir, refused[i].why);
    LMF_TRY(check_start(a));
    json_object_foreach(a->root, key, v) {
        bool eva = strcmp(key, "eva_config") == 0, megatron = strcmp(key, "megatron_config") == 0; /* a start; how it was split for training */
        if (!is_harmless(key) && !eva && !megatron && !is_empty(v))
            return LMF_FAIL(a->ctx, LMF_E_UNSUPPORTED, "%.200s/adapter_config.json sets \"%.60s\", which is not known here and may change the result; plain LoRA is supported",
                            a->dir, key);
    }
    return LMF_OK;
}

static lmf_status read_targets(lmf_adapter *a)
{
    const json_t *v = json_object_get(a->root, "target_modules"), *item;
    size_t i;
    if (json_is_string(v)) {
        a->config.target_regex = json_string_value(v);
        return LMF_OK;
    }
    const char **list = lmf_arena_array(&a->arena, json_array_size(v), sizeof *list);
    if (!list)
        return LMF_NO_MEMORY(a->ctx, json_array_size(v) * sizeof *list, "target modules");
    json_array_foreach(v, i, item)
        if (!(list[i] = json_string_value(item)))
            return bad_config(a, "a target module is no string");
    a->config.target = list;
    a->config.n_targets = json_array_size(v);
    return LMF_OK;
}

static lmf_status read_config(lmf_adapter *a)
{
    lmf_adapter_config *c = &a->config;
    c->base_model = c->task_type = "";
    c->alpha = 8; /* PEFT's default */
    LMF_TRY(check_supported(a));
    LMF_TRY(lmf_json_get_i64(a->ctx, a->root, "r", &c->r));
    LMF_TRY(lmf_json_want_f64(a->ctx, a->root, "lora_alpha", &c->alpha));
    LMF_TRY(lmf_json_want_f64(a->ctx, a->root, "lora_dropout", &c->dropout));
    LMF_TRY(lmf_json_want_bool(a->ctx, a->root, "use_rslora", &c->use_rslora));
    LMF_TRY(lmf_json_want_bool(a->ctx, a->root, "use_dora", &c->use_dora));
    LMF_TRY(lmf_json_want_string(a->ctx, a->root, "base_model_name_or_path", &c->base_model));
    LMF_TRY(lmf_json_want_string(a->ctx, a->root, "task_type", &c->task_type));
    if (c->r < 1 || c->r > RANK_MAX || !isfinite(c->alpha) || !(c->dropout >= 0 && c->dropout < 1))
        return bad_config(a, "r, lora_alpha or lora_dropout is out of range");
    return read_targets(a);
}

/* PEFT takes the first pattern p with path =~ (.*\.)?p$. Here p is plain text, perhaps behind a ^. */
static lmf_status match_pattern(lmf_adapter *a, const char *key, const char *path, double *value)
{
    const char *pattern;
    json_t *v, *patterns = json_object_get(a->root, key);
    json_object_foreach(patterns, pattern, v) {
        bool whole = *pattern == '^';
        const char *text = pattern + whole;
        size_t n = strlen(text), n_path = strlen(path);
        if (strpbrk(text, "*+?()[]{}|\\^$"))
            return LMF_FAIL(a->ctx, LMF_E_UNSUPPORTED, "%.200s: the %s key %.100s is a regular expression; only names of modules are supported", a->dir, key, pattern);
        if (!json_is_number(v))
            return LMF_FAIL(a->ctx, LMF_E_FORMAT, "%.200s: %s.%.100s is no number", a->dir, key, pattern);
        if (n <= n_path && !strcmp(path + n_path - n, text) && (n == n_path || (!whole && path[n_path - n - 1] == '.'))) {
            *value = json_number_value(v);
            return LMF_OK;
        }
    }
    return LMF_OK;
}

static lmf_status bad_pair(lmf_adapter *a, const char *name, const char *what)
{
    return LMF_FAIL(a->ctx, LMF_E_FORMAT, "%.200s: %.200s %s", a->dir, name, what);
}

/* As PEFT: a name of the list is the module's path or its end. */
static bool names_module(const json_t *list, const char *path)
{
    const json_t *item;
    size_t i, n = strlen(path);
    json_array_foreach(list, i, item) {
        size_t k = json_string_length(item);
        if (k && k <= n && !strcmp(path + n - k, json_string_value(item)) && (k == n || path[n - k - 1] == '.'))
            return true;
    }
    return false;
}

/* The last number between dots: the layer, by PEFT's rule. -1: none. */
static int64_t layer_in(const char *path)
{
    int64_t layer = -1;
    for (const char *p = strchr(path, '.'); p; p = strchr(p + 1, '.')) {
        int64_t x = 0;
        size_t n = 0;
        for (; n < 10 && p[1 + n] >= '0' && p[1 + n] <= '9'; n++)
            x = 10 * x + (p[1 + n] - '0');
        layer = n && p[1 + n] == '.' ? x : layer;
    }
    return layer;
}

static bool holds_number(const json_t *v, int64_t x)
{
    const json_t *item;
    size_t i;
    if (json_is_integer(v))
        return json_integer_value(v) == x;
    json_array_foreach(v, i, item)
        if (json_is_integer(item) && json_integer_value(item) == x)
            return true;
    return false;
}

/* PEFT leaves such tensors out when it loads the adapter, so they were not there when it was trained or are another's. */
static lmf_status check_is_meant(lmf_adapter *a, const char *path)
{
    const json_t *target = json_object_get(a->root, "target_modules"), *layers = json_object_get(a->root, "layers_to_transform");
    const char *why = NULL;
    if (json_is_array(target) && json_array_size(target) && !names_module(target, path))
        why = "is none of the target_modules";
    else if (names_module(json_object_get(a->root, "exclude_modules"), path))
        why = "is one of the exclude_modules";
    else if (!is_empty(layers) && layer_in(path) >= 0 && !holds_number(layers, layer_in(path)))
        why = "is of no layer in layers_to_transform";
    return why ? LMF_FAIL(a->ctx, LMF_E_FORMAT, "%.200s contradicts itself: the file holds %.120s, which %s of adapter_config.json", a->dir,
                          path, why) : LMF_OK;
}

/* A magnitude for each output. */
static lmf_status read_magnitudes(lmf_adapter *a, size_t path_n, const char *path, lmf_adapter_pair *p)
{
    const char *name = lmf_arena_printf(&a->arena, PREFIX "%.*s" SUFFIX_M, (int)path_n, path);
    if (!name)
        return LMF_NO_MEMORY(a->ctx, path_n, "an adapter");
    p->m = lmf_safetensors_find(a->st, name);
    if (!p->m)
        return bad_pair(a, p->a->name, "has no lora_magnitude_vector beside it, and use_dora says that the adapter is DoRA");
    if (p->m->dtype != p->a->dtype || p->m->n_dims != 1 || p->m->dim[0] != p->b->dim[0] ||
        !lmf_floats_are_finite(p->m->dtype, p->m->data, p->m->bytes))
        return bad_pair(a, name, "is no [out] of finite values in the type of its pair");
    return LMF_OK;
}

static lmf_status read_pair(lmf_adapter *a, const lmf_st_tensor *ta, const char *path, size_t path_n, lmf_adapter_pair *p)
{
    double r = (double)a->config.r, alpha = a->config.alpha;
    const char *name_b = lmf_arena_printf(&a->arena, PREFIX "%.*s" SUFFIX_B, (int)path_n, path);
    p->path = lmf_arena_strndup(&a->arena, path, path_n);
    if (!name_b || !p->path)
        return LMF_NO_MEMORY(a->ctx, path_n, "an adapter");
    LMF_TRY(check_is_meant(a, p->path));
    p->a = ta;
    p->b = lmf_safetensors_find(a->st, name_b);
    if (!p->b)
        return bad_pair(a, ta->name, "has no lora_B beside it");
    LMF_TRY(match_pattern(a, "rank_pattern", p->path, &r));
    LMF_TRY(match_pattern(a, "alpha_pattern", p->path, &alpha));
    if (ta->dtype != p->b->dtype || (ta->dtype != LMF_F32 && ta->dtype != LMF_F16 && ta->dtype != LMF_BF16))
        return bad_pair(a, ta->name, "and its lora_B are not both F32, F16 or BF16");
    if (ta->n_dims != 2 || p->b->n_dims != 2 || ta->dim[0] != p->b->dim[1] || ta->bytes == 0 || p->b->bytes == 0)
        return bad_pair(a, ta->name, "and its lora_B are no [R, in] and [out, R]");
    if (!lmf_floats_are_finite(ta->dtype, ta->data, ta->bytes) || !lmf_floats_are_finite(p->b->dtype, p->b->data, p->b->bytes))
        return bad_pair(a, ta->name, "or its lora_B holds values that are not finite");
    if ((double)ta->dim[0] != r || !isfinite(alpha))
        return LMF_FAIL(a->ctx, LMF_E_FORMAT, "%.200s: %.200s has the rank %lld, but the configuration says %g", a->dir, ta->name, (long long)ta->dim[0], r);
    if (a->config.use_dora)
        LMF_TRY(read_magnitudes(a, path_n, path, p));
    p->r = ta->dim[0];
    p->scale = alpha / (a->config.use_rslora ? sqrt(r) : r);
    return LMF_OK;
}

static int compare(const void *x, const void *y)
{
    return strcmp(((const lmf_adapter_pair *)x)->path, ((const lmf_adapter_pair *)y)->path);
}

static bool ends_with(const char *s, size_t n, const char *end)
{
    return n > strlen(end) && !strcmp(s + n - strlen(end), end);
}

/* 'A', 'B' or DoRA's 'M' of a linear layer, else 0. */
static char part_of(const char *name)
{
    size_t n = strlen(name);
    if (strncmp(name, PREFIX, sizeof PREFIX - 1) || n <= sizeof PREFIX - 1 + sizeof SUFFIX_A - 1)
        return 0;
    return ends_with(name, n, SUFFIX_A) ? 'A' : ends_with(name, n, SUFFIX_B) ? 'B' : ends_with(name, n, SUFFIX_M) ? 'M' : 0;
}

static lmf_status read_pairs(lmf_adapter *a)
{
    size_t n = lmf_safetensors_n(a->st), n_b = 0, n_m = 0;
    a->pair = lmf_arena_array(&a->arena, n, sizeof *a->pair);
    if (!a->pair)
        return LMF_NO_MEMORY(a->ctx, n * sizeof *a->pair, "an adapter");
    for (size_t i = 0; i < n; i++) { /* strangers first: they say best what kind of adapter it is */
        const char *name = lmf_safetensors_at(a->st, i)->name;
        if (!part_of(name))
            return LMF_FAIL(a->ctx, LMF_E_UNSUPPORTED, "%.200s holds %.200s, which is no lora_A or lora_B of a linear layer", a->dir, name);
        n_b += part_of(name) == 'B';
        n_m += part_of(name) == 'M';
    }
    for (size_t i = 0; i < n; i++) {
        const lmf_st_tensor *t = lmf_safetensors_at(a->st, i);
        if (part_of(t->name) != 'A')
            continue;
        LMF_TRY(read_pair(a, t, t->name + sizeof PREFIX - 1, strlen(t->name) - (sizeof PREFIX - 1) - (sizeof SUFFIX_A - 1), a->pair + a->n));
        a->n++;
    }
    if (a->n == 0 || n_b != a->n)
        return LMF_FAIL(a->ctx, LMF_E_FORMAT, "%.200s has %zu lora_A and %zu lora_B", a->dir, a->n, n_b);
    if (n_m != (a->config.use_dora ? a->n : 0))
        return LMF_FAIL(a->ctx, LMF_E_FORMAT, "%.200s has %zu lora_A and %zu lora_magnitude_vector of DoRA, but use_dora is %s", a->dir, a->n,
                        n_m, a->config.use_dora ? "true" : "false");
    lmf_heap_sort(a->pair, a->n, sizeof *a->pair, compare);
    return LMF_OK;
}

static lmf_status load(lmf_adapter *a, const char *dir)
{
    char path[4096];
    a->dir = lmf_arena_strdup(&a->arena, dir);
    if (!a->dir)
        return LMF_NO_MEMORY(a->ctx, strlen(dir), "an adapter");
    if (lmf_path_stat(dir) == LMF_PATH_FILE || lmf_path_stat(dir) == LMF_PATH_OTHER)
        return LMF_FAIL(a->ctx, LMF_E_ARG, "%s is no folder; a LoRA adapter is the folder that holds adapter_config.json and adapter_model.safetensors", dir);
    LMF_TRY(lmf_path_join(a->ctx, path, sizeof path, dir, "adapter_config.json"));
    LMF_TRY(lmf_json_load(a->ctx, path, CONFIG_MAX_BYTES, LMF_JSON_SMALL, &a->root));
    LMF_TRY(read_config(a));
    LMF_TRY(lmf_path_join(a->ctx, path, sizeof path, dir, "adapter_model.safetensors"));
    LMF_TRY(lmf_safetensors_open(a->ctx, path, &a->st));
    return read_pairs(a);
}

lmf_status lmf_adapter_open(lmf_ctx *ctx, const char *dir, lmf_adapter **out)
{
    *out = NULL;
    lmf_adapter *a = lmf_new(ctx, lmf_adapter);
    if (!a)
        return LMF_NO_MEMORY(ctx, sizeof *a, "an adapter");
    a->ctx = ctx;
    lmf_arena_init(&a->arena, ctx, SIZE_MAX / 2);
    lmf_status s = load(a, dir);
    if (s)
        lmf_adapter_close(a);
    else
        *out = a;
    return s;
}

void lmf_adapter_close(lmf_adapter *a)
{
    if (!a)
        return;
    lmf_safetensors_close(a->st);
    json_decref(a->root);
    lmf_arena_clear(&a->arena);
    lmf_delete(a->ctx, a);
}

const lmf_adapter_config *lmf_adapter_get_config(const lmf_adapter *a) { return &a->config; }
size_t lmf_adapter_n(const lmf_adapter *a) { return a->n; }
const lmf_adapter_pair *lmf_adapter_at(const lmf_adapter *a, size_t i) { return a->pair + i; }
