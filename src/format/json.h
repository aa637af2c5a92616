/* SPDX-License-Identifier: Apache-2.0 */
/* json: jansson with bounds. Before the parser sees the bytes, one pass counts values and depth, because a parsed
 * value takes some 100 bytes and a file could ask for gigabytes; duplicate keys are refused, for two readers may
 * choose differently. A number beyond int64 becomes a real, one beyond f64 (and Python's Infinity and NaN) a string of its
 * spelling: it passes where nobody reads it and is refused by name where somebody does. Values are reached by dotted path, and several
 * paths may be named: the first that is there
 * and not null counts.
 *
 *     json_t *root;
 *     LMF_TRY(lmf_json_load(ctx, path, 1 << 20, LMF_JSON_SMALL, &root));
 *     double theta = 10000;
 *     LMF_TRY_TO(done, lmf_json_get_f64(ctx, root, "rope_theta|rope_parameters.rope_theta", &theta));
 *
 * Owner: who loads calls json_decref. Jansson's memory comes from malloc, not from the context. */
#ifndef LMF_FORMAT_JSON_H
#define LMF_FORMAT_JSON_H
#include <jansson.h>
#include "base/buf.h"

enum { LMF_JSON_SMALL = 1 << 16,   /* values: a configuration */
       LMF_JSON_HEADER = 1 << 21,  /* a safetensors header or weight map: 200,000 tensors */
       LMF_JSON_VOCAB = 1 << 22,   /* a tokenizer */
       LMF_JSON_MAX_DEPTH = 32 };

/* Values by counting what can begin or separate one outside strings, and the deepest nesting: never less than a parser makes of it. */
void lmf_json_measure(const char *text, size_t n, size_t *n_values, size_t *depth);
/* LMF_E_FORMAT with line and column, LMF_E_LIMIT past max_values or LMF_JSON_MAX_DEPTH. The root is an object.
 * name stands for the file in sentences. */
lmf_status lmf_json_parse(lmf_ctx *ctx, const char *text, size_t n, const char *name, size_t max_values, json_t **out);
lmf_status lmf_json_load(lmf_ctx *ctx, const char *path, size_t max_bytes, size_t max_values, json_t **out);
/* Atomic; two spaces a level and a line feed at the end, keys in their order. LMF_E_FORMAT for what has no JSON form. */
lmf_status lmf_json_save(lmf_ctx *ctx, const char *path, const json_t *root);

/* A string of any bytes: what is not UTF-8 becomes U+FFFD, a byte a character. NULL: no memory. */
json_t *lmf_json_string(const char *text);
json_t *lmf_json_stringn(const char *text, size_t n);

/* Appends the text of root; flags are jansson's (JSON_COMPACT, JSON_INDENT(1), JSON_SORT_KEYS). */
lmf_status lmf_json_text(lmf_ctx *ctx, const json_t *root, size_t flags, lmf_buf *out);

/* "a.b|c": root.a.b, or if that is missing or null, root.c. What is left of a path is first
 * looked for as one key, dots and all. NULL: none. */
json_t *lmf_json_at(const json_t *root, const char *paths);
/* LMF_E_NOT_FOUND: none of the paths, *out stays. LMF_E_FORMAT: another type. f64 takes integers; i64 takes reals
 * that are whole. */
lmf_status lmf_json_get_f64(lmf_ctx *ctx, const json_t *root, const char *paths, double *out);
lmf_status lmf_json_get_i64(lmf_ctx *ctx, const json_t *root, const char *paths, int64_t *out);
lmf_status lmf_json_get_bool(lmf_ctx *ctx, const json_t *root, const char *paths, bool *out);
lmf_status lmf_json_get_string(lmf_ctx *ctx, const json_t *root, const char *paths, const char **out); /* borrowed */
/* The same, but a missing value is success and *out stays: for defaults. */
lmf_status lmf_json_want_f64(lmf_ctx *ctx, const json_t *root, const char *paths, double *out);
lmf_status lmf_json_want_i64(lmf_ctx *ctx, const json_t *root, const char *paths, int64_t *out);
lmf_status lmf_json_want_bool(lmf_ctx *ctx, const json_t *root, const char *paths, bool *out);
lmf_status lmf_json_want_string(lmf_ctx *ctx, const json_t *root, const char *paths, const char **out);

#endif
