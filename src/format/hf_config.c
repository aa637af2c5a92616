/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a key that the file has is never changed; only missing ones are filled in. */
#include <string.h>
#include "format/hf_json.h"
#include "base/file.h"

enum { CONFIG_MAX_BYTES = 4 << 20 };

static bool missing(const json_t *root, const char *key)
{
    const json_t *v = json_object_get(root, key);
    return !v || json_is_null(v);
}

/* to[key] = value unless it is there. False: out of memory. */
static bool fill(json_t *to, const char *key, json_t *value)
{
    return !value || !missing(to, key) || !json_object_set(to, key, value);
}

/* rope_parameters {rope_theta, rope_type, factor ...} to rope_theta and rope_scaling. Those of Gemma 3 are nested by kinds of layers, whose
 * bases are rope_theta and rope_local_base_freq, and a scaling is of the full ones. */
static bool fill_v4_rope(json_t *root, json_t *rope)
{
    json_t *value, *full = json_object_get(rope, "full_attention"), *local = json_object_get(rope, "sliding_attention");
    if (json_is_object(full) && !fill(root, "rope_local_base_freq", json_object_get(local, "rope_theta")))
        return false;
    rope = json_is_object(full) ? full : rope;
    const char *key, *type = json_string_value(json_object_get(rope, "rope_type"));
    if (!fill(root, "rope_theta", json_object_get(rope, "rope_theta")))
        return false;
    if (!fill(root, "partial_rotary_factor", json_object_get(rope, "partial_rotary_factor")))
        return false;
    if (!type || !strcmp(type, "default") || !missing(root, "rope_scaling"))
        return true;
    json_t *scaling = json_object();
    bool ok = scaling != NULL;
    if (ok)
        json_object_foreach(rope, key, value)
            ok = ok && (!strcmp(key, "rope_theta") || !json_object_set(scaling, key, value));
    ok = ok && !json_object_set(root, "rope_scaling", scaling);
    json_decref(scaling);
    return ok;
}

/* rope_theta and rope_scaling to rope_parameters, of which a local base makes two. The oldest files say "type" for "rope_type". */
static bool fill_v5_rope(json_t *root)
{
    json_t *theta = json_object_get(root, "rope_theta"), *scaling = json_object_get(root, "rope_scaling");
    json_t *local = json_object_get(root, "rope_local_base_freq");
    if ((!theta || json_is_null(theta)) && !json_is_object(scaling) && !json_is_number(local))
        return true; /* a scaling counts without a base, too: the architecture has its own */
    json_t *rope = json_is_object(scaling) ? json_copy(scaling) : json_object();
    bool ok = rope && (!theta || json_is_null(theta) || fill(rope, "rope_theta", theta));
    if (ok && missing(rope, "rope_type")) {
        json_t *type = json_object_get(rope, "type");
        ok = type ? !json_object_set(rope, "rope_type", type) : !json_object_set_new(rope, "rope_type", json_string("default"));
    }
    ok = ok && fill(rope, "partial_rotary_factor", json_object_get(root, "partial_rotary_factor"));
    if (ok && json_is_number(local))
        ok = !json_object_set_new(root, "rope_parameters", json_pack("{s:O, s:{s:O, s:s}}", "full_attention", rope, "sliding_attention",
                                                                    "rope_theta", local, "rope_type", "default"));
    else
        ok = ok && !json_object_set(root, "rope_parameters", rope);
    json_decref(rope);
    return ok;
}

static lmf_status fill_dialects(lmf_ctx *ctx, json_t *root)
{
    json_t *rope = json_object_get(root, "rope_parameters"), *scaling = json_object_get(root, "rope_scaling");
    bool ok = fill(root, "dtype", json_object_get(root, "torch_dtype")) && fill(root, "torch_dtype", json_object_get(root, "dtype"));
    if (ok && json_is_object(scaling)) {
        json_t *type = json_object_get(scaling, "type");
        ok = fill(scaling, "rope_type", type);
    }
    if (ok)
        ok = json_is_object(rope) ? fill_v4_rope(root, rope) : fill_v5_rope(root);
    return ok ? LMF_OK : LMF_NO_MEMORY(ctx, 256, "a model configuration");
}

static const char *text_of(const json_t *v)
{
    return json_is_string(v) ? json_string_value(v) : "";
}

/* A model with more than text keeps the keys of its text part in text_config: they are laid over root's own; class and type stay. */
static lmf_status unfold_text(lmf_ctx *ctx, json_t *root)
{
    const char *key;
    json_t *value, *text = json_object_get(root, "text_config");
    if (!json_is_object(text))
        return LMF_OK;
    json_incref(text);
    bool ok = !json_object_del(root, "text_config");
    json_object_foreach(text, key, value)
        if (strcmp(key, "architectures") && (strcmp(key, "model_type") || missing(root, "model_type")))
            ok = ok && !json_object_set(root, key, value);
    json_decref(text);
    return ok ? LMF_OK : LMF_NO_MEMORY(ctx, 256, "a model configuration");
}

static lmf_status take_root(lmf_ctx *ctx, json_t *root, lmf_hf_config *out)
{
    lmf_status s = unfold_text(ctx, root);
    s = s ? s : fill_dialects(ctx, root);
    if (s) {
        json_decref(root);
        return s;
    }
    *out = (lmf_hf_config){ root, text_of(json_array_get(json_object_get(root, "architectures"), 0)),
                            text_of(json_object_get(root, "model_type")), text_of(json_object_get(root, "dtype")) };
    return LMF_OK;
}

lmf_status lmf_hf_config_parse(lmf_ctx *ctx, const char *text, size_t n, lmf_hf_config *out)
{
    json_t *root;
    *out = (lmf_hf_config){ 0 };
    LMF_TRY(lmf_json_parse(ctx, text, n, "config.json", LMF_JSON_SMALL, &root));
    return take_root(ctx, root, out);
}

lmf_status lmf_hf_config_open(lmf_ctx *ctx, const char *dir, lmf_hf_config *out)
{
    char path[4096];
    json_t *root;
    *out = (lmf_hf_config){ 0 };
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, "config.json"));
    LMF_TRY(lmf_json_load(ctx, path, CONFIG_MAX_BYTES, LMF_JSON_SMALL, &root));
    return take_root(ctx, root, out);
}

void lmf_hf_config_close(lmf_hf_config *c)
{
    json_decref(c->root);
    *c = (lmf_hf_config){ 0 };
}

lmf_status lmf_hf_config_save(lmf_ctx *ctx, const char *dir, const json_t *root)
{
    char path[4096];
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, "config.json"));
    json_t *both = json_deep_copy(root);
    lmf_status s = both ? fill_dialects(ctx, both) : LMF_NO_MEMORY(ctx, 256, path);
    if (!s)
        s = lmf_json_save(ctx, path, both);
    json_decref(both);
    return s;
}

/* One file's eos_token_id; *n stays 0 where there is none. */
static lmf_status eos_of(lmf_ctx *ctx, const char *dir, const char *name, int32_t *id, int cap, int *n)
{
    char path[4096];
    json_t *root;
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, name));
    if (lmf_path_stat(path) == LMF_PATH_NONE)
        return LMF_OK;
    LMF_TRY(lmf_json_load(ctx, path, CONFIG_MAX_BYTES, LMF_JSON_SMALL, &root));
    const json_t *eos = lmf_json_at(root, "eos_token_id");
    size_t n_eos = json_is_array(eos) ? json_array_size(eos) : eos != NULL;
    lmf_status s = LMF_OK;
    for (size_t i = 0; !s && i < n_eos; i++) {
        const json_t *item = json_is_array(eos) ? json_array_get(eos, i) : eos;
        json_int_t v = json_integer_value(item);
        if (!json_is_integer(item) || v < 0 || v > INT32_MAX || *n == cap)
            s = LMF_FAIL(ctx, LMF_E_FORMAT, "%s: eos_token_id is no token id, nor a list of at most %d", path, cap);
        else
            id[(*n)++] = (int32_t)v;
    }
    json_decref(root);
    return s;
}

lmf_status lmf_hf_eos_ids(lmf_ctx *ctx, const char *dir, int32_t *id, int cap, int *n)
{
    *n = 0;
    lmf_status s = eos_of(ctx, dir, "generation_config.json", id, cap, n);
    if (!s && *n == 0)
        s = eos_of(ctx, dir, "config.json", id, cap, n);
    if (s)
        *n = 0;
    return s;
}
