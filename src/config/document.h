/* SPDX-License-Identifier: Apache-2.0 */
/* document: a configuration file, YAML or JSON, as a flat list of settings: "datasets.0.path" = "rows.jsonl", line 4. A value is the text
 * that stands there; what it means is up to the field that takes it, so that 1e-4 is a number and "no" may be a name.
 *
 *     lmf_document d;
 *     LMF_TRY(lmf_document_load(&arena, "run.yaml", &d));
 *     LMF_TRY(lmf_document_assign(&d, "lora.r=8"));          // --set
 *
 * Of YAML there are mappings, sequences and scalars of every style, in one document; anchors, aliases and tags are refused, and a key that
 * stands twice. Owner: everything lies in the arena. Threads: one at a time. */
#ifndef LMF_CONFIG_DOCUMENT_H
#define LMF_CONFIG_DOCUMENT_H
#include "base/arena.h"

enum { LMF_DOCUMENT_MAX_BYTES = 1 << 20, LMF_DOCUMENT_MAX_DEPTH = 16, LMF_DOCUMENT_MAX_SETTINGS = 4096,
       LMF_LINE_SET = -1 };

typedef struct lmf_setting {
    const char *path;
    const char *text;        /* NULL: null, or an empty mapping or list */
    int         line;        /* 0: of JSON, LMF_LINE_SET: of --set */
} lmf_setting;

typedef struct lmf_document {
    lmf_arena   *arena;
    const char  *name;       /* the file's, for sentences */
    lmf_setting *items;
    int          n, cap;
} lmf_document;

/* JSON where the first character is a brace, else YAML. LMF_E_FORMAT with the line, LMF_E_LIMIT. */
lmf_status lmf_document_load(lmf_arena *arena, const char *path, lmf_document *out);
lmf_status lmf_document_parse(lmf_arena *arena, const char *name, const char *text, size_t n, lmf_document *out);
/* "a.b=c": replaces that setting and what lay below it, or adds it; "null" is null. LMF_E_ARG: no "=", or no name before it. */
lmf_status lmf_document_assign(lmf_document *d, const char *assignment);

/* ---- shared in config/ ---- */
lmf_status lmf__document_add(lmf_document *d, const char *path, const char *text, int line);
lmf_status lmf__document_yaml(lmf_document *d, const char *text, size_t n);
/* "run.yaml, line 4", or the file alone. */
const char *lmf__document_where(const lmf_document *d, int line, char *text, size_t n);

#endif
