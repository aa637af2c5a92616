/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: nothing of a file is trusted here; every failure names the file (lmf_model_open adds its path). */
#include "models/model.h"
#include <stdio.h>
#include <string.h>
#include "base/checked.h"
#include "base/number.h"
#include "data/source.h"
#include "format/forms.h"

enum { MODEL_ARENA_BYTES_LOG2 = 38, MAX_LAYERS = 1024, MAX_WIDTH = 1 << 20, MAX_TEMPLATE_BYTES = 1 << 20 };

int lmf_shape_eval(const lmf_arch *arch, const void *config, const char *shape, int64_t *dim)
{
    int n = 0;
    for (const char *p = shape; *p && n < LMF_MAX_DIMS; n++) {
        int64_t product = 1;
        for (; *p && *p != ','; p++)
            if (*p != '*' && (arch->dim(config, *p) < 0 || !lmf_mul_i64(product, arch->dim(config, *p), &product)))
                return 0;
        dim[n] = product;
        p += *p == ',';
    }
    return n;
}

bool lmf_row_slice(const lmf_arch *arch, const void *config, const lmf_weight_row *row, int64_t rows, int64_t *first, int64_t *all)
{
    int64_t part[LMF_MAX_DIMS];
    *first = 0;
    *all = rows;
    if (!((row->hf_form | row->gguf_form) & LMF_FORM_SLICE))
        return true;
    if (!row->parts)
        return lmf_mul_i64(rows, row->hf_n_parts, all) && lmf_mul_i64(rows, row->hf_part, first) && row->hf_part < row->hf_n_parts;
    int n = lmf_shape_eval(arch, config, row->parts, part);
    *all = 0;
    for (int i = 0; i < n; i++) {
        if (i == row->hf_part)
            *first = *all;
        if (!lmf_add_i64(*all, part[i], all))
            return false;
    }
    return row->hf_part < n && part[row->hf_part] == rows;
}

lmf_status lmf_model_name(lmf_ctx *ctx, const char *pattern, int layer, const char *arch, char *text, size_t n)
{
    size_t at = 0;
    char number[16];
    snprintf(number, sizeof number, "%d", layer);
    for (const char *p = pattern; *p;) {
        bool is_layer = strncmp(p, "{l}", 3) == 0, is_arch = !is_layer && strncmp(p, "{arch}", 6) == 0;
        const char *part = is_layer ? number : is_arch ? arch : p;
        size_t len = is_layer || is_arch ? strlen(part) : 1;
        if (len >= n - at)
            return LMF_FAIL(ctx, LMF_E_LIMIT, "the name %.60s is too long", pattern);
        memcpy(text + at, part, len);
        at += len;
        p += is_layer ? 3 : is_arch ? 6 : 1;
    }
    text[at] = 0;
    return LMF_OK;
}

const lmf_weight_row *lmf_model_row(const lmf_model *m, const char *role, int *layer)
{
    char text[160];
    int64_t number = -1;
    const char *p = role + 7;
    bool layered = strncmp(role, "layers.", 7) == 0 && lmf_number_read(&p, &number) && *p == '.' && number < MAX_LAYERS;
    int l = layered ? (int)number : -1;
    *layer = l;
    for (const lmf_weight_row *r = m->arch->weights; r->role; r++)
        if (!lmf_model_name(m->ctx, r->role, l, "", text, sizeof text) && strcmp(text, role) == 0)
            return r;
    return NULL;
}

lmf_head_spec lmf_model_head(const lmf_model *m)
{
    lmf_head_spec head;
    int layer;
    m->arch->head(m->config, &head);
    const lmf_weight_row *row = lmf_model_row(m, head.role, &layer);
    const lmf_weight *own = lmf_weights_find(m->weights, head.role);
    const lmf_weight *tied = row && row->tied ? lmf_weights_find(m->weights, row->tied) : NULL;
    if (own && tied && own->v.data == tied->v.data)
        head.role = row->tied;
    return head;
}

lmf_layer_state lmf_arch_state(const lmf_arch *arch, const void *config)
{
    const lmf_config_base *c = config;
    lmf_layer_state all = { 0 };
    for (int l = 0; l < c->n_layers; l++) {
        lmf_layer_state one = arch->state(config, l);
        all.kv_width += one.kv_width;
        all.recurrent_bytes += one.recurrent_bytes;
        all.window = one.window > all.window ? one.window : all.window;
    }
    return all;
}

lmf_status lmf__model_check_config(lmf_model *m)
{
    const lmf_config_base *c = m->config;
    for (const lmf_hparam *h = m->arch->hparams; h->field; h++) {
        int32_t v = h->kind == LMF_HPARAM_I32 ? *(int32_t *)((char *)m->config + h->offset) : 1;
        if (v < 0 || v > 1 << 30 || (h->required && v < 1))
            return LMF_FAIL(m->ctx, LMF_E_FORMAT, "%s is %d, which no model has", h->field, v);
    }
    if (c->n_layers > MAX_LAYERS || c->width > MAX_WIDTH || c->context < 1 || c->vocab < 1)
        return LMF_FAIL(m->ctx, LMF_E_FORMAT, "%d layers of width %d with a context of %d and %d tokens is no model (at most %d layers, width %d)",
                        c->n_layers, c->width, c->context, c->vocab, MAX_LAYERS, MAX_WIDTH);
    return m->arch->check(m->ctx, m->config);
}

lmf_status lmf_row_form(const lmf_model *m, const lmf_weight_row *row, bool gguf, int64_t rows, lmf_form_spec *out)
{
    *out = (lmf_form_spec){ .form = gguf ? row->gguf_form : row->hf_form, .n_heads = row->heads ? m->arch->dim(m->config, row->heads) : 0 };
    if (lmf_row_slice(m->arch, m->config, row, rows, &out->first_row, &out->all_rows))
        return LMF_OK;
    return LMF_FAIL(m->ctx, LMF_E_SHAPE, "%s: the configuration gives the parts of \"%s\" no possible shape (%s)", m->arch->name,
                    gguf ? row->gguf : row->hf, row->parts ? row->parts : row->shape);
}

/* The shape that the configuration gives, and values that are numbers. */
static lmf_status check_source(const lmf_model *m, const lmf_source *src, const lmf_form_spec *spec, int n_dims, const int64_t *want)
{
    char a[96], b[96];
    const lmf_format *f = lmf_format_get(m->ctx, src->dtype);
    lmf_view need = { .fmt = f }, have = { .fmt = f, .n_dims = (uint8_t)src->n_dims };
    need.n_dims = (uint8_t)lmf_form_stored(spec, n_dims, want, need.dim);
    if (src->n_dims > LMF_MAX_DIMS)
        return LMF_FAIL(m->ctx, LMF_E_SHAPE, "tensor \"%s\" has %d dimensions; at most %d are possible", src->name, src->n_dims, LMF_MAX_DIMS);
    memcpy(have.dim, src->dim, (size_t)src->n_dims * sizeof *src->dim);
    lmf_shape_text(&need, a, sizeof a);
    lmf_shape_text(&have, b, sizeof b);
    if (strcmp(a, b))
        return LMF_FAIL(m->ctx, LMF_E_SHAPE, "tensor \"%s\" is %s; this configuration wants %s", src->name, b, a);
    if (!lmf_floats_are_finite(src->dtype, src->data, src->bytes) || !lmf_scales_are_finite(f, src->data, src->bytes))
        return LMF_FAIL(m->ctx, LMF_E_FORMAT, "tensor \"%s\" holds values that are not finite", src->name);
    return LMF_OK;
}

/* Bytes of src in the graph's form: where they lie, or turned into memory of the set. */
static lmf_status add_weight(lmf_model *m, const lmf_weight_row *row, const char *role, const lmf_source *src, bool gguf)
{
    int64_t want[LMF_MAX_DIMS];
    int n_dims = lmf_shape_eval(m->arch, m->config, row->shape, want);
    const lmf_format *f = lmf_format_get(m->ctx, src->dtype);
    lmf_form_spec spec;
    if (!f || !f->unpack)
        return LMF_FAIL(m->ctx, LMF_E_UNSUPPORTED, "tensor \"%s\" has data type %d, which LMFast can't compute with", src->name, src->dtype);
    if (n_dims == 0)
        return LMF_FAIL(m->ctx, LMF_E_SHAPE, "tensor \"%s\": the configuration gives it no possible shape (%s)", src->name, row->shape);
    LMF_TRY(lmf_row_form(m, row, gguf, want[0], &spec));
    LMF_TRY(check_source(m, src, &spec, n_dims, want));
    bool to_f32 = ((row->flags & LMF_ROW_NO_QUANT) || lmf_form_changes_values(spec.form)) && src->dtype != LMF_F32;
    const char *data = src->data;
    if (spec.form == LMF_FORM_SLICE && (n_dims > 1 || f->block == 1)) { /* whole rows: they can stay where they are */
        int64_t n = spec.first_row;
        for (int i = 1; i < n_dims; i++)
            n *= want[i];
        data += lmf_format_bytes(f, n);
    }
    bool aligned = f->block > 1 || (f->flags & LMF_FORMAT_QUANT) || (uintptr_t)data % f->block_bytes == 0;
    if ((spec.form == LMF_FORM_PLAIN || spec.form == LMF_FORM_SLICE) && !to_f32 && aligned)
        return lmf_weights_add(m->weights, role, src->dtype, n_dims, want, data, true, NULL);
    lmf_weight *w;
    LMF_TRY(lmf_weights_add(m->weights, role, to_f32 ? LMF_F32 : src->dtype, n_dims, want, NULL, false, &w));
    return lmf_form_read(m->ctx, &spec, src->name, f, src->data, &w->v);
}

static bool says_tied(const lmf_model *m)
{
    for (const lmf_hparam *h = m->arch->hparams; h->field; h++)
        if (strcmp(h->field, "tied") == 0 && h->kind == LMF_HPARAM_BOOL)
            return *(const bool *)((const char *)m->config + h->offset);
    return false;
}

/* A row's tensor under its own name, or under that of the row that is tied to it: writers keep one of the two. */
static lmf_status find_stored(lmf_model *m, const lmf_weight_row *row, int layer, bool gguf, lmf_source_find find, char *name, size_t n, lmf_source *src, bool *found)
{
    const char *pattern = gguf ? row->gguf : row->hf;
    *found = false;
    if (pattern) {
        LMF_TRY(lmf_model_name(m->ctx, pattern, layer, "", name, n));
        *found = find(m, name, src);
    }
    for (const lmf_weight_row *r = m->arch->weights; r->role && !*found; r++) {
        char other[256];
        const char *p = gguf ? r->gguf : r->hf;
        if (!r->tied || !p || strcmp(r->tied, row->role))
            continue;
        LMF_TRY(lmf_model_name(m->ctx, p, layer, "", other, sizeof other));
        *found = find(m, other, src);
    }
    return LMF_OK;
}

static lmf_status map_one(lmf_model *m, const lmf_weight_row *row, int layer, bool gguf, lmf_source_find find)
{
    char role[160], name[256] = "";
    lmf_source src;
    bool found;
    LMF_TRY(lmf_model_name(m->ctx, row->role, layer, "", role, sizeof role));
    LMF_TRY(find_stored(m, row, layer, gguf, find, name, sizeof name, &src, &found));
    const lmf_weight *tied = row->tied ? lmf_weights_find(m->weights, row->tied) : NULL;
    if (found && !(tied && m->taken[src.number] == 2)) {
        m->taken[src.number] = name[0] && strcmp(src.name, name) ? 2 : 1; /* 2: under the name of the row that is tied to it */
        LMF_TRY(add_weight(m, row, role, &src, gguf));
        const lmf_weight *w = lmf_weights_find(m->weights, role);
        m->n_params += lmf_view_count(&w->v);
        size_t bytes = lmf_format_bytes(w->v.fmt, lmf_view_count(&w->v));
        if (!gguf && tied && says_tied(m) && (w->v.dtype != tied->v.dtype || memcmp(w->v.data, tied->v.data, bytes)))
            return LMF_FAIL(m->ctx, LMF_E_FORMAT, "the configuration says that \"%s\" is tied to another tensor, but the file has one of its own with other values", name);
        return LMF_OK;
    }
    if (row->flags & LMF_ROW_OPTIONAL)
        return LMF_OK;
    if (tied)
        return lmf_weights_add(m->weights, role, tied->v.dtype, tied->v.n_dims, tied->v.dim, tied->v.data, tied->mapped, NULL);
    return LMF_FAIL(m->ctx, LMF_E_NOT_FOUND, "the tensor \"%s\" (%s) is missing", name[0] ? name : role, role);
}

lmf_status lmf__model_map_weights(lmf_model *m, bool gguf, lmf_source_find find)
{
    size_t n = gguf ? lmf_gguf_n_tensors(m->gguf) : lmf_safetensors_n(m->st);
    m->taken = lmf_arena_alloc(&m->arena, n + 1);
    if (!m->taken)
        return LMF_NO_MEMORY(m->ctx, n, "a list of tensors");
    for (const lmf_weight_row *row = m->arch->weights; row->role; row++) {
        bool layered = strstr(row->role, "{l}") != NULL;
        for (int l = 0; l < (layered ? lmf_model_config(m)->n_layers : 1); l++)
            LMF_TRY(map_one(m, row, layered ? l : -1, gguf, find));
    }
    LMF_TRY(lmf__model_check_tensors(m, gguf));
    return lmf__model_check_present(m);
}

static lmf_status finish(lmf_model *m)
{
    int32_t rows = (int32_t)lmf_weights_find(m->weights, "embed")->v.dim[0];
    if (m->vocab.n_tokens > (size_t)rows)
        return LMF_FAIL(m->ctx, LMF_E_FORMAT, "the vocabulary has %zu tokens, the embedding only %d rows", m->vocab.n_tokens, rows);
    /* padded embeddings have a few rows more; a vocabulary that is much shorter belongs to another model */
    if (m->vocab.n_tokens + 1024 < (size_t)rows)
        return LMF_FAIL(m->ctx, LMF_E_FORMAT, "the vocabulary has %zu tokens, the embedding %d rows: they don't belong together", m->vocab.n_tokens, rows);
    LMF_TRY(lmf_tokenizer_create(m->ctx, &m->vocab, &m->tokenizer));
    m->chat.ctx = m->ctx;
    m->chat.tokenizer = m->tokenizer;
    lmf_error_record before = *lmf_error_here(m->ctx);
    lmf_status s = m->chat_source ? lmf_template_parse(m->ctx, m->chat_source, strlen(m->chat_source), &m->chat_template) : LMF_OK;
    if (s == LMF_E_MEMORY)
        return s;
    if (s) { /* fails what renders, nothing else */
        m->chat.broken = lmf_arena_strdup(&m->arena, lmf_error(m->ctx));
        *lmf_error_here(m->ctx) = before;
        return m->chat.broken ? LMF_OK : LMF_NO_MEMORY(m->ctx, 256, "a chat template");
    }
    m->chat.source = m->chat_template;
    return lmf_chat_find_turn_end(&m->chat);
}

static lmf_status open_kind(lmf_model *m)
{
    switch (m->kind) {
    case LMF_MODEL_GGUF: LMF_TRY(lmf__model_open_gguf(m)); break;
    case LMF_MODEL_HF: LMF_TRY(lmf__model_open_hf(m)); break;
    case LMF_MODEL_ADAPTER:
        return LMF_FAIL(m->ctx, LMF_E_ARG, "this folder is a LoRA adapter; give its base with --model and this with --adapter");
    default:
        return LMF_FAIL(m->ctx, LMF_E_ARG, "a lone safetensors file has no configuration; give the folder that holds it and its config.json");
    }
    return finish(m);
}

static lmf_status model_new(lmf_ctx *ctx, lmf_model **out)
{
    *out = lmf_new(ctx, lmf_model);
    if (!*out)
        return LMF_NO_MEMORY(ctx, sizeof **out, "a model");
    (*out)->ctx = ctx;
    lmf_arena_init(&(*out)->arena, ctx, (size_t)1 << MODEL_ARENA_BYTES_LOG2);
    lmf_vocab_init(&(*out)->vocab);
    (*out)->chat.turn_end = -1;
    return lmf_weights_create(ctx, &(*out)->weights);
}

lmf_status lmf_model_open(lmf_ctx *ctx, const char *path, lmf_model **out)
{
    lmf_model *m;
    *out = NULL;
    lmf_status s = model_new(ctx, &m);
    if (!s && !(m->path = lmf_arena_strdup(&m->arena, path)))
        s = LMF_NO_MEMORY(ctx, strlen(path), "a path");
    if (!s)
        s = lmf_model_path_kind(ctx, path, &m->kind);
    if (!s)
        s = open_kind(m);
    if (s && !strstr(lmf_error(ctx), path))
        lmf_fail_prefix(ctx, s, "%s", path);
    if (s) {
        lmf_model_close(m);
        return s;
    }
    *out = m;
    return LMF_OK;
}

lmf_status lmf_model_open_text(lmf_ctx *ctx, const char *path, int64_t n_rows, lmf_model **out)
{
    lmf_model *m;
    lmf_status s = model_new(ctx, out);
    m = *out;
    if (!s && !(m->path = lmf_arena_strdup(&m->arena, path)))
        s = LMF_NO_MEMORY(ctx, strlen(path), "a path");
    if (!s)
        s = lmf_weights_add(m->weights, "embed", LMF_F32, 2, (int64_t[]){ n_rows, 1 }, NULL, false, NULL);
    if (!s)
        s = lmf__model_read_hf_config(m);
    if (!s)
        s = lmf__model_read_hf_vocab(m);
    if (!s)
        s = finish(m);
    if (s) {
        lmf_model_close(m);
        *out = NULL;
    }
    return s;
}

lmf_status lmf_model_from_parts(lmf_ctx *ctx, const lmf_arch *arch, const void *config, lmf_weights *weights, lmf_model **out)
{
    lmf_model *m;
    lmf_status s = model_new(ctx, &m);
    *out = m;
    if (!s && !(m->config = lmf_arena_alloc(&m->arena, arch->config_bytes)))
        s = LMF_NO_MEMORY(ctx, arch->config_bytes, "a configuration");
    if (s) {
        lmf_model_close(m);
        *out = NULL;
        lmf_weights_destroy(weights);
        return s;
    }
    lmf_weights_destroy(m->weights);
    m->weights = weights;
    m->arch = arch;
    m->path = m->name = "";
    memcpy(m->config, config, arch->config_bytes);
    return LMF_OK;
}

lmf_status lmf_model_load_template(lmf_model *m, const char *path)
{
    lmf_buf text;
    lmf_template *t = NULL;
    char *copy = NULL;
    lmf_buf_init(&text, m->ctx, MAX_TEMPLATE_BYTES);
    lmf_status s = lmf_source_read(m->ctx, path, "a chat template", &text);
    if (s) {
        lmf_buf_clear(&text);
        return s;
    }
    if (text.n && memchr(text.data, 0, text.n))
        s = LMF_FAIL(m->ctx, LMF_E_FORMAT, "the file is no text");
    if (!s)
        s = lmf_template_parse(m->ctx, lmf_buf_str(&text), text.n, &t);
    if (!s && !(copy = lmf_arena_strdup(&m->arena, lmf_buf_str(&text))))
        s = LMF_NO_MEMORY(m->ctx, text.n, "a chat template");
    lmf_buf_clear(&text);
    if (s) {
        lmf_template_destroy(t);
        return lmf_fail_prefix(m->ctx, s, "%s", path);
    }
    lmf_template_destroy(m->chat_template);
    m->chat_template = t;
    m->chat.source = t;
    m->chat_source = copy;
    m->n_templates = 0; /* this one takes the place of all */
    m->chat.broken = NULL;
    m->chat.turn_end = -1;
    return lmf_chat_find_turn_end(&m->chat); /* this template may end turns with another token */
}

void lmf_model_close(lmf_model *m)
{
    if (!m)
        return;
    lmf_ctx *ctx = m->ctx;
    lmf_template_destroy(m->chat_template);
    lmf_tokenizer_destroy(m->tokenizer);
    lmf_weights_destroy(m->weights);
    lmf_gguf_close(m->gguf);
    lmf_safetensors_close(m->st);
    lmf_arena_clear(&m->arena);
    lmf_delete(ctx, m);
}
