/* SPDX-License-Identifier: Apache-2.0 */
/* formats: the forms in which people have rows, each one file src/data/formats/NAME.c with one descriptor; the build finds it. A format
 * tells its rows by their keys and turns them into one of the forms that the rest of data/ knows: messages, prompt and completion, text,
 * segments.
 *
 *     const lmf_row_format lmf_row_format_mine = { "mine", "question and answer", detect, convert };
 *
 * A row that has a key of the known forms is that; of the others the one format that detects it. Text files and tables become rows before:
 * lmf_rows_from_csv, lmf_rows_from_text. Threads: nothing is kept. */
#ifndef LMF_DATA_FORMATS_H
#define LMF_DATA_FORMATS_H
#include <jansson.h>
#include "base/buf.h"

typedef struct lmf_row_format {
    const char  *name, *summary;
    bool       (*detect)(const json_t *row);
    /* In place; what is not part of the format stays. LMF_E_FORMAT, without file and line. */
    lmf_status (*convert)(lmf_ctx *ctx, json_t *row);
} lmf_row_format;

/* NULL: none of that name. */
const lmf_row_format *lmf_row_format_find(const lmf_tables *tables, const char *name);
/* The name of the form that a row has, as it is: "messages", "alpaca" ...; NULL: none. */
const char *lmf_row_form_name(const lmf_tables *tables, const json_t *row);
/* Into a known form. format NULL: the one that detects the row; a row that none does stays as it is. */
lmf_status lmf_row_convert(lmf_ctx *ctx, const lmf_row_format *format, json_t *row);

/* A table with a line of names, in RFC 4180's form, as JSON Lines: each record an object of strings. Columns are parted by what the first
 * line has most of: comma, semicolon, tab or bar. LMF_E_FORMAT with the line: a record of another length, a quote that does not end. */
lmf_status lmf_rows_from_csv(lmf_ctx *ctx, const char *name, const char *text, size_t n, lmf_buf *out);
/* Plain text as JSON Lines of "text": all of it as one row, a row a line, or one a paragraph (parted by empty lines). Empty ones are left
 * out. */
typedef enum lmf_text_split { LMF_SPLIT_NONE, LMF_SPLIT_LINES, LMF_SPLIT_PARAGRAPHS } lmf_text_split;
lmf_status lmf_rows_from_text(lmf_ctx *ctx, const char *text, size_t n, lmf_text_split split, lmf_buf *out);

/* ---- for formats ---- */
json_t    *lmf__format_text(json_t *row, const char *key);             /* taken out of the row; NULL: not there, or null, or no text */
/* {"role", "content"} to the end of list; content's reference is taken. */
lmf_status lmf__format_message(lmf_ctx *ctx, json_t *list, const char *role, json_t *content);
/* The row with the "messages" that fill makes of it; fill takes out of the row what they replace. */
lmf_status lmf__format_messages(lmf_ctx *ctx, json_t *row, lmf_status (*fill)(lmf_ctx *ctx, json_t *row, json_t *messages));

#endif
