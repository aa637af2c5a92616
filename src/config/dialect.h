/* SPDX-License-Identifier: Apache-2.0 */
/* dialect: names under which others' configurations have our settings, one file src/config/dialects/NAME.c with one table; the build finds
 * it. A key is one of a field, with its own words for the values, or one that is known and not supported: refused with what there is
 * instead, but for values that change nothing. What no table knows is an error with the nearest name; nothing is silently ignored.
 *
 *     static const lmf_dialect_row rows[] = {
 *         { "micro_batch_size", .field = "batch-size" },
 *         { "optimizer", .field = "optimizer", .map = "adamw_torch=adamw|sgd=sgd" },
 *         { "deepspeed", .why = "there is one process" },
 *         { "wandb_project", .ignore = "*" }, { 0 } };
 *     const lmf_dialect lmf_dialect_mine = { "mine", rows };
 *
 * A file may mix dialects and our own names. Blocks that only group settings ("lora:", "training:") may stand around them. */
#ifndef LMF_CONFIG_DIALECT_H
#define LMF_CONFIG_DIALECT_H
#include "base/buf.h"
#include "config/document.h"
#include "config/flag.h"

typedef struct lmf_dialect_row {
    const char *key;       /* a path; * stands for an item's number: "datasets.*.path" */
    const char *field;     /* name of the field that it sets; NULL: none */
    const char *map;       /* "theirs=ours|theirs=ours"; "*=*": others as they are. NULL: all as they are */
    const char *ignore;    /* values that change nothing here: "false|none"; "*": all. null always is one */
    const char *why;       /* why what is left is refused, and what there is instead */
    const char *note;      /* told when a value was taken that means something else here */
    char        join;      /* not 0: the items of a list become one text, with this between them */
    const char *part;      /* of the key's item of a LIST: "": its beginning; "type": ":type=VALUE" behind it */
} lmf_dialect_row;

typedef struct lmf_dialect { const char *name; const lmf_dialect_row *rows; } lmf_dialect;

/* Sets fields of args from a document. others: fields of another command whose file this is, passed over; or NULL. seen[i]: field i was
 * set. notes: lines for the user. LMF_E_ARG with file and line: an unknown key,
 * one that is not supported, two keys for one field, a value that the field refuses. */
lmf_status lmf_config_apply(lmf_ctx *ctx, lmf_document *d, const lmf_flag *fields, const lmf_flag *others, uint8_t *seen, void *args,
                            lmf_buf *notes);
/* All fields that are not passing, as YAML in our own names, behind a first line with the hash of what follows. Read back, it gives the
 * same values. command: "train". facts: what the run found, one line of JSON that goes behind it as a comment; or NULL. */
lmf_status lmf_config_text(lmf_ctx *ctx, const char *command, const lmf_flag *fields, const void *args, const char *facts, lmf_buf *out);
/* The facts of a saved configuration, and their length; NULL: none. */
const char *lmf_config_facts(const char *text, size_t n, size_t *n_facts);
/* Whether a file's text is what lmf_config_text made, unchanged. */
bool       lmf_config_is_ours(lmf_ctx *ctx, const char *text, size_t n);

#endif
