/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what a setting is called, means and may be stands in config/ and the objectives' tables; here are none of their names but those
 * that handles replace. */
#include <stdio.h>
#include <string.h>
#include "api/settings.h"
#include "config/dialect.h"
#include "config/schema.h"
#include "format/json.h"
#include "train/objective_flags.h"

enum { MAX_FIELDS = 256, ARENA_BYTES = 1 << 24, MAX_TEXT_BYTES = 1 << 20 };

static size_t n_fields(const lmf_flag *fields)
{
    size_t n = 0;
    while (fields[n].name)
        n++;
    return n;
}

static lmf_status fill(lmfast_settings *s)
{
    lmf_ctx *ctx = s->c->ctx;
    size_t n = n_fields(lmf_train_fields);
    lmf_flag *all = lmf_arena_array(&s->arena, MAX_FIELDS, sizeof *all);
    s->seen = lmf_arena_array(&s->arena, MAX_FIELDS, 1);
    if (!all || !s->seen)
        return LMF_NO_MEMORY(ctx, MAX_FIELDS * sizeof *all, "settings");
    memcpy(all, lmf_train_fields, n * sizeof *all);
    int more = lmf__objective_flags(&s->arena, ctx->tables, offsetof(lmf_train_config, objective), offsetof(lmf_train_config,
        objective_value),
                                    all + n, MAX_FIELDS - 1 - (int)n);
    if (more < 0)
        return LMF_NO_MEMORY(ctx, MAX_FIELDS * sizeof *all, "settings");
    s->fields = all;
    return lmf_flag_defaults(ctx, all, &s->config);
}

lmfast_status lmfast_settings_create(lmfast_context *ctx, const char *command, lmfast_settings **out)
{
    *out = NULL;
    if (!ctx)
        return LMFAST_E_ARG;
    LMF_TRY(lmf__api_enter(ctx));
    if (!command || strcmp(command, "train"))
        return LMF_FAIL(ctx->ctx, LMF_E_NOT_FOUND, "no settings are called \"%.32s\"; train's are", command ? command : "");
    lmfast_settings *s = lmf_new(ctx->ctx, lmfast_settings);
    if (!s)
        return LMF_NO_MEMORY(ctx->ctx, sizeof *s, "settings");
    atomic_init(&s->n_refs, 1);
    s->c = lmf__context_retain(ctx);
    lmf_arena_init(&s->arena, ctx->ctx, ARENA_BYTES);
    lmf_status status = fill(s);
    if (status) {
        lmfast_settings_destroy(s);
        return status;
    }
    *out = s;
    return LMFAST_OK;
}

void lmfast_settings_destroy(lmfast_settings *settings)
{
    if (!settings || atomic_fetch_sub(&settings->n_refs, 1) != 1)
        return;
    lmfast_context *c = settings->c;
    lmf_arena_clear(&settings->arena);
    lmf_delete(c->ctx, settings);
    lmf__context_release(c);
}

bool lmf__settings_has(const lmfast_settings *s, const char *name)
{
    const lmf_flag *f = lmf_flag_find(s->fields, name, strlen(name));
    return f && s->seen[f - s->fields];
}

lmfast_status lmfast_settings_set(lmfast_settings *settings, const char *name, const char *value)
{
    char as[96];
    if (!settings || !name || !value)
        return LMFAST_E_ARG;
    lmf_ctx *ctx = settings->c->ctx;
    LMF_TRY(lmf__api_enter(settings->c));
    if (!strcmp(name, "device")) {
        LMF_TRY(lmf_device_check_name(ctx, value));
        settings->device = lmf_arena_strdup(&settings->arena, value);
        return settings->device ? LMF_OK : LMF_NO_MEMORY(ctx, strlen(value), "a setting");
    }
    const lmf_flag *f = lmf_flag_find(settings->fields, name, strlen(name));
    if (!f || f->line_only) {
        const char *names[MAX_FIELDS];
        int n = 0;
        for (const lmf_flag *g = settings->fields; g->name; g++)
            names[n++] = g->name;
        const char *near = lmf_nearest(name, names, n);
        return LMF_FAIL(ctx, LMF_E_ARG, "there is no setting \"%.64s\"%s%s%s", name, near && !f ? "; did you mean " : "", near && !f
                        ? near : "",
                        near && !f ? "?" : "");
    }
    if (strlen(value) > MAX_TEXT_BYTES)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "--%s has more than %d bytes", f->name, MAX_TEXT_BYTES);
    char *copy = lmf_arena_strdup(&settings->arena, value);
    if (!copy)
        return LMF_NO_MEMORY(ctx, strlen(value), "a setting");
    snprintf(as, sizeof as, "--%s", f->name);
    if (f->kind == LMF_FLAG_LIST) /* the one that there is now */
        ((lmf_texts *)(void *)((char *)&settings->config + f->offset))->n = 0;
    LMF_TRY(lmf_flag_set(ctx, f, as, copy, &settings->config));
    settings->seen[f - settings->fields] = 1;
    return LMFAST_OK;
}

/* What the document lacks stays as it was, and so does everything after a failure. */
static lmf_status apply(lmfast_settings *s, lmf_document *d)
{
    lmf_ctx *ctx = s->c->ctx;
    uint8_t seen[MAX_FIELDS] = { 0 };
    lmf_train_config before = s->config;
    lmf_buf notes;
    lmf_buf_init(&notes, ctx, 1 << 16);
    lmf_status status = lmf_config_apply(ctx, d, s->fields, NULL, seen, &s->config, &notes);
    if (status)
        s->config = before;
    else if (notes.n)
        lmf__api_log(s->c, LMFAST_LOG_WARNING, "%.*s", (int)strcspn(lmf_buf_str(&notes), "\n"), lmf_buf_str(&notes));
    for (size_t i = 0; !status && i < n_fields(s->fields); i++)
        s->seen[i] |= seen[i];
    lmf_buf_clear(&notes);
    return status;
}

lmfast_status lmfast_settings_load(lmfast_settings *settings, const char *path)
{
    lmf_document d;
    if (!settings || !path)
        return LMFAST_E_ARG;
    LMF_TRY(lmf__api_enter(settings->c));
    LMF_TRY(lmf_document_load(&settings->arena, path, &d));
    return apply(settings, &d);
}

lmfast_status lmfast_settings_parse(lmfast_settings *settings, const char *name, const char *text, size_t n_bytes)
{
    lmf_document d;
    if (!settings || !name || (!text && n_bytes))
        return LMFAST_E_ARG;
    LMF_TRY(lmf__api_enter(settings->c));
    char *own = lmf_arena_strdup(&settings->arena, name);
    if (!own)
        return LMF_NO_MEMORY(settings->c->ctx, strlen(name), "a name");
    LMF_TRY(lmf_document_parse(&settings->arena, own, text ? text : "", n_bytes, &d));
    return apply(settings, &d);
}

lmfast_status lmfast_settings_text(lmfast_settings *settings, char *text, size_t cap, size_t *n)
{
    lmf_buf out;
    *n = 0;
    if (!settings)
        return LMFAST_E_ARG;
    lmf_buf_init(&out, settings->c->ctx, LMF_DOCUMENT_MAX_BYTES);
    lmf_status s = lmf_config_text(settings->c->ctx, "train", settings->fields, &settings->config, NULL, &out);
    if (!s)
        lmf__api_fill(text, cap, n, out.data, out.n, 1);
    lmf_buf_clear(&out);
    return s;
}

lmfast_status lmfast_settings_schema(lmfast_settings *settings, char *json, size_t cap, size_t *n)
{
    lmf_buf out;
    *n = 0;
    if (!settings)
        return LMFAST_E_ARG;
    lmf_ctx *ctx = settings->c->ctx;
    json_t *schema = lmf_config_schema("train", settings->fields);
    lmf_buf_init(&out, ctx, LMF_DOCUMENT_MAX_BYTES);
    lmf_status s = schema ? lmf_json_text(ctx, schema, JSON_COMPACT, &out) : LMF_NO_MEMORY(ctx, 4096, "a schema");
    if (!s)
        lmf__api_fill(json, cap, n, out.data, out.n, 1);
    lmf_buf_clear(&out);
    json_decref(schema);
    return s;
}
