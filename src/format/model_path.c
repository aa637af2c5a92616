/* SPDX-License-Identifier: Apache-2.0 */
#include "format/model_path.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "base/file.h"
#include "base/magic.h"
#include "format/reader.h"

static lmf_status refuse_pickle(lmf_ctx *ctx, const char *path)
{
    return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "%s is a Python pickle, which can run code; convert to safetensors", path);
}

static bool is_pickle_name(const char *path)
{
    static const char *const ends[] = { ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle" };
    size_t n = strlen(path);
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (n >= strlen(ends[i]) && !strcasecmp(path + n - strlen(ends[i]), ends[i]))
            return true;
    return false;
}

static lmf_status has(lmf_ctx *ctx, const char *dir, const char *name, bool *there)
{
    char path[4096];
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, name));
    *there = lmf_path_stat(path) == LMF_PATH_FILE;
    return LMF_OK;
}

static lmf_status folder_kind(lmf_ctx *ctx, const char *path, lmf_model_kind *kind)
{
    bool adapter, config, weights, index, pickle, pickles;
    LMF_TRY(has(ctx, path, "adapter_config.json", &adapter));
    LMF_TRY(has(ctx, path, "config.json", &config));
    LMF_TRY(has(ctx, path, "model.safetensors", &weights));
    LMF_TRY(has(ctx, path, "model.safetensors.index.json", &index));
    LMF_TRY(has(ctx, path, "pytorch_model.bin", &pickle));
    LMF_TRY(has(ctx, path, "pytorch_model.bin.index.json", &pickles));
    if (adapter) {
        *kind = LMF_MODEL_ADAPTER;
        return LMF_OK;
    }
    if (!config)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "the folder %s has no config.json and no adapter_config.json; give a model folder or a GGUF file", path);
    if (!weights && !index && (pickle || pickles))
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "the weights in %s are a Python pickle, which can run code; convert to safetensors", path);
    *kind = LMF_MODEL_HF;
    return LMF_OK;
}

static lmf_status file_kind(lmf_ctx *ctx, const char *path, const lmf_map *map, lmf_model_kind *kind)
{
    const uint8_t *p = map->data;
    char note[200];
    if (map->n == 0)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "%s is empty", path);
    if (map->n >= 4 && !memcmp(p, "GGUF", 4))
        *kind = LMF_MODEL_GGUF;
    else if (map->n >= 10 && p[8] == '{' && lmf_le64(p) <= map->n - 8)
        *kind = LMF_MODEL_SAFETENSORS;
    /* torch.save writes a zip, or older a bare pickle of protocol 2 and up */
    else if (is_pickle_name(path) || (map->n >= 4 && !memcmp(p, "PK\3\4", 4)) || (map->n >= 2 && p[0] == 0x80 && p[1] >= 2 && p[1] <= 5))
        return refuse_pickle(ctx, path);
    else
        return LMF_FAIL(ctx, LMF_E_FORMAT, "%s is no GGUF and no safetensors file%s", path, lmf_magic_note(p, map->n, note, sizeof note));
    return LMF_OK;
}

lmf_status lmf_model_path_kind(lmf_ctx *ctx, const char *path, lmf_model_kind *kind)
{
    lmf_map map;
    *kind = LMF_MODEL_NONE;
    if (lmf_path_stat(path) == LMF_PATH_DIR)
        return folder_kind(ctx, path, kind);
    LMF_TRY(lmf_file_map(ctx, path, &map));
    lmf_status s = file_kind(ctx, path, &map, kind);
    lmf_file_unmap(&map);
    return s;
}

const char *lmf_model_path_origin(const char *path, char *text, size_t n)
{
    static const char begin[] = "/models--", middle[] = "/snapshots/";
    const char *at = strstr(path, begin), *end = at ? strstr(at, middle) : NULL;
    at = at ? at + sizeof begin - 1 : NULL;
    const char *cut = end ? strstr(at, "--") : NULL;
    if (!cut || cut == at || cut + 2 >= end || memchr(at, '/', (size_t)(end - at)) || strspn(end + sizeof middle - 1,
        "0123456789abcdef") != 40)
        return path;
    int k = snprintf(text, n, "%.*s/%.*s", (int)(cut - at), at, (int)(end - cut - 2), cut + 2);
    return k > 0 && (size_t)k < n ? text : path;
}
