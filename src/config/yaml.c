/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: libyaml's events are walked with a stack of our own of bounded depth; its words may be passed on, for they repeat no bytes of the
 * file. */
#include <stdio.h>
#include <string.h>
#include <yaml.h>
#include "config/document.h"

typedef struct level {
    size_t at;              /* bytes of the path up to this level */
    bool   list, wants_key;
    int    n;               /* items so far */
} level;

typedef struct walker {
    lmf_document *d;
    char          path[512];
    level         levels[LMF_DOCUMENT_MAX_DEPTH];
    int           depth;
} walker;

static lmf_status fail(const walker *w, const yaml_mark_t *mark, lmf_status s, const char *why)
{
    return LMF_FAIL(w->d->arena->ctx, s, "%s, line %zu: %s", w->d->name, mark->line + 1, why);
}

static lmf_status push_name(walker *w, const yaml_mark_t *mark, const char *name)
{
    size_t at = w->levels[w->depth - 1].at;
    int n = snprintf(w->path + at, sizeof w->path - at, "%s%s", at ? "." : "", name);
    return n < 0 || (size_t)n >= sizeof w->path - at ? fail(w, mark, LMF_E_LIMIT, "a key is too long") : LMF_OK;
}

static lmf_status take_key(walker *w, const yaml_event_t *e)
{
    const char *key = (const char *)e->data.scalar.value;
    char why[160];
    if (key[0] == 0 || strlen(key) != e->data.scalar.length)
        return fail(w, &e->start_mark, LMF_E_FORMAT, "an empty key");
    if (strcmp(key, "<<") == 0)
        return fail(w, &e->start_mark, LMF_E_UNSUPPORTED, "merge keys (<<) are not read; write the settings out");
    LMF_TRY(push_name(w, &e->start_mark, key));
    size_t n = strlen(w->path);
    for (int i = 0; i < w->d->n; i++)
        if (strncmp(w->d->items[i].path, w->path, n) == 0 && (!w->d->items[i].path[n] || w->d->items[i].path[n] == '.')) {
            snprintf(why, sizeof why, "the key \"%.80s\" stands twice, first in line %d", w->path, w->d->items[i].line);
            return fail(w, &e->start_mark, LMF_E_FORMAT, why);
        }
    w->levels[w->depth - 1].wants_key = false;
    return LMF_OK;
}

/* The place of a value: its name behind the path. */
static lmf_status begin_value(walker *w, const yaml_mark_t *mark)
{
    level *l = &w->levels[w->depth - 1];
    char index[16];
    l->n++;
    if (!l->list) {
        l->wants_key = true;
        return LMF_OK;
    }
    snprintf(index, sizeof index, "%d", l->n - 1);
    w->path[l->at] = 0;
    return push_name(w, mark, index);
}

static bool is_null(const yaml_event_t *e)
{
    static const char *const words[] = { "", "~", "null", "Null", "NULL" };
    if (!e->data.scalar.plain_implicit || e->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp((const char *)e->data.scalar.value, words[i]) == 0)
            return true;
    return false;
}

static lmf_status take_scalar(walker *w, const yaml_event_t *e)
{
    const char *text = (const char *)e->data.scalar.value;
    if (e->data.scalar.anchor || e->data.scalar.tag)
        return fail(w, &e->start_mark, LMF_E_UNSUPPORTED, "anchors and tags are not read; write the settings out");
    if (w->depth == 0) {
        if (is_null(e))
            return LMF_OK; /* an empty file */
        return fail(w, &e->start_mark, LMF_E_FORMAT, "a configuration is a list of settings such as base_model: NAME");
    }
    if (w->levels[w->depth - 1].wants_key)
        return take_key(w, e);
    LMF_TRY(begin_value(w, &e->start_mark));
    if (strlen(text) != e->data.scalar.length)
        return fail(w, &e->start_mark, LMF_E_FORMAT, "a value holds the character U+0000");
    return lmf__document_add(w->d, w->path, is_null(e) ? NULL : text, (int)e->start_mark.line + 1);
}

static lmf_status open_level(walker *w, const yaml_event_t *e, bool list, bool marked)
{
    if (marked)
        return fail(w, &e->start_mark, LMF_E_UNSUPPORTED, "anchors and tags are not read; write the settings out");
    if (w->depth == 0 && list)
        return fail(w, &e->start_mark, LMF_E_FORMAT,
            "a configuration is a list of settings such as base_model: NAME, and no list of items");
    if (w->depth == LMF_DOCUMENT_MAX_DEPTH)
        return fail(w, &e->start_mark, LMF_E_LIMIT, "it nests deeper than 16 levels");
    if (w->depth) {
        if (w->levels[w->depth - 1].wants_key)
            return fail(w, &e->start_mark, LMF_E_FORMAT, "a key that is no text");
        LMF_TRY(begin_value(w, &e->start_mark));
    }
    w->levels[w->depth++] = (level){ .at = strlen(w->path), .list = list, .wants_key = !list };
    return LMF_OK;
}

static lmf_status close_level(walker *w, const yaml_event_t *e)
{
    level l = w->levels[--w->depth];
    w->path[l.at] = 0;
    if (l.n == 0 && w->depth)
        LMF_TRY(lmf__document_add(w->d, w->path, NULL, (int)e->start_mark.line + 1));
    if (w->depth)
        w->path[w->levels[w->depth - 1].at] = 0;
    return LMF_OK;
}

static lmf_status take(walker *w, const yaml_event_t *e, bool *done, int *n_documents)
{
    switch (e->type) {
    case YAML_STREAM_END_EVENT:
        *done = true;
        return LMF_OK;
    case YAML_DOCUMENT_START_EVENT:
        return (*n_documents)++ ? fail(w, &e->start_mark, LMF_E_FORMAT, "a second document begins; a run has one") : LMF_OK;
    case YAML_SCALAR_EVENT:
        LMF_TRY(take_scalar(w, e));
        if (w->depth && w->levels[w->depth - 1].wants_key)
            w->path[w->levels[w->depth - 1].at] = 0;
        return LMF_OK;
    case YAML_MAPPING_START_EVENT:
        return open_level(w, e, false, e->data.mapping_start.anchor || e->data.mapping_start.tag);
    case YAML_SEQUENCE_START_EVENT:
        return open_level(w, e, true, e->data.sequence_start.anchor || e->data.sequence_start.tag);
    case YAML_MAPPING_END_EVENT:
    case YAML_SEQUENCE_END_EVENT:
        return close_level(w, e);
    case YAML_ALIAS_EVENT:
        return fail(w, &e->start_mark, LMF_E_UNSUPPORTED, "aliases (*name) are not read; write the settings out");
    default:
        return LMF_OK;
    }
}

lmf_status lmf__document_yaml(lmf_document *d, const char *text, size_t n)
{
    yaml_parser_t parser;
    yaml_event_t e;
    walker w = { .d = d };
    lmf_status s = LMF_OK;
    int n_documents = 0;
    if (!yaml_parser_initialize(&parser))
        return LMF_NO_MEMORY(d->arena->ctx, sizeof parser, "reading YAML");
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, n);
    for (bool done = false; !s && !done;) {
        if (!yaml_parser_parse(&parser, &e)) {
            s = parser.error == YAML_MEMORY_ERROR ? LMF_NO_MEMORY(d->arena->ctx, n, "reading YAML")
                : LMF_FAIL(d->arena->ctx, LMF_E_FORMAT, "%s, line %zu: no YAML: %s", d->name,
                           (parser.error == YAML_READER_ERROR ? 0 : parser.problem_mark.line) + 1,
                           parser.problem ? parser.problem : "it can't be read");
            break;
        }
        s = take(&w, &e, &done, &n_documents);
        yaml_event_delete(&e);
    }
    yaml_parser_delete(&parser);
    return s;
}
