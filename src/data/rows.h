/* SPDX-License-Identifier: Apache-2.0 */
/* rows: training or test rows, checked: JSON Lines, a JSON array, CSV or plain text, of {"messages": [{"role", "content"}, ...]},
    {"prompt", "completion"},
 * {"text"}, {"segments": [{"text", "label"}]} or {"prompt", "chosen", "rejected"} (data/preference.h), or of a format that becomes one of
 * these (data/formats.h), from a file, gzip, fifo or standard input (data/source.h). Every
 * refusal gives the file and the line.
 *
 * Rows as people have them become one form before a template sees them: null content is empty, tools, tool calls and arguments written as
 * JSON in a string are what that JSON says, null keys of a message are absent, integers of any size keep their digits. OpenAI's older
 * functions and function_call are tools and tool calls; prompt and completion that are lists of messages are one conversation; what
 * chat_template_kwargs holds is the row's own; an answer of weight 0 or with train false is not learned ("weight": 0).
 * Kept is the text; a row is parsed when it is asked for, so memory is bounded by the file and its largest row.
 * Owner: open/close. Threads: read only after opening. */
#ifndef LMF_DATA_ROWS_H
#define LMF_DATA_ROWS_H
#include <jansson.h>
#include "base/arena.h"
#include "base/buf.h"
#include "data/formats.h"

typedef enum lmf_file_kind { LMF_FILE_BY_NAME, LMF_FILE_JSON, LMF_FILE_CSV, LMF_FILE_TEXT } lmf_file_kind; /* by .csv, .tsv, .txt, .md */
enum { LMF_ROWS_MAX_RENAMES = 16 };
typedef struct lmf_rows_opts {
    bool           skip_bad;     /* rows that can't be used are left out and counted */
    bool           asks;         /* rows may end where an answer is to come: {"prompt"}, text or messages, and messages without an answer */
    lmf_file_kind  kind;
    lmf_text_split split;        /* of plain text */
    const lmf_row_format *format; /* of every row; NULL: as each row's keys tell */
    int            n_renames;
    struct { const char *to, *from; } rename[LMF_ROWS_MAX_RENAMES]; /* keys of rows: "instruction" is called "question" here */
} lmf_rows_opts;

typedef struct lmf_row { size_t at, n; int64_t line; } lmf_row; /* bytes of lmf_rows.text */
typedef struct lmf_rows {
    lmf_ctx *ctx;
    char    *path;         /* "standard input" for - */
    const char *unit;      /* what lmf_row.line counts: "line", or "row" of a list */
    lmf_buf  text;
    lmf_row *items;
    int64_t  n, cap;
    char     sha256[65];   /* of the text, unpacked */
    bool     skip_bad;     /* rows that can't be used are left out and counted, here and in samples */
    lmf_rows_opts opts;
    int64_t  n_bad;
    char     first_bad[512]; /* why the first of them was left out */
} lmf_rows;

enum { LMF_ROW_MAX_VALUES = 1 << 18, LMF_ROW_MAX_DEPTH = 128 };

/* Refuses an empty file, a row that is no JSON object, has over LMF_ROW_MAX_VALUES values or nests past LMF_ROW_MAX_DEPTH, a row of no
 * known shape, roles in the wrong order (an optional system message, then user and assistant in turn, tool results after a call),
 * contents that are no text. skip_bad: such rows are left out and counted; a file without a good row is refused with the first reason. */
lmf_status lmf_rows_open_as(lmf_ctx *ctx, const char *path, const lmf_rows_opts *opts, lmf_rows *out); /* what opts names must live on */
lmf_status lmf_rows_open_with(lmf_ctx *ctx, const char *path, bool skip_bad, lmf_rows *out);
lmf_status lmf_rows_open(lmf_ctx *ctx, const char *path, lmf_rows *out);   /* the same, nothing skipped */
/* The same of text in memory, copied; name stands for the file. */
lmf_status lmf_rows_parse(lmf_ctx *ctx, const char *name, const char *text, size_t n, bool skip_bad, lmf_rows *out);
void       lmf_rows_close(lmf_rows *rows); /* a zeroed one is fine */
/* Row i in the one form; the caller's reference. */
lmf_status lmf_row_get(const lmf_rows *rows, int64_t i, json_t **out);
/* The form or format of row i as it stands in the file ("alpaca"); NULL: none. */
lmf_status lmf_row_form_at(const lmf_rows *rows, int64_t i, const char **form);
/* A failure that is the row's own fault, so that skip_bad may pass over it. */
bool       lmf_row_is_bad(lmf_status s);
/* Index of the last message of the assistant; SIZE_MAX: none. */
size_t     lmf_row_last_answer(const json_t *row);

/* ---- shared in data/ ---- */
/* Roles in their order, each with content. The caller adds file and line, here as below. */
lmf_status lmf__row_check_messages(const lmf_rows *r, const json_t *messages);
/* JSON of a row, or of a text in one; integers past 64 bits become text with the template's mark (LMF_TEMPLATE_BIG). The caller has
 * measured it. LMF_E_FORMAT says what is wrong and repeats no byte of it but letters. */
lmf_status lmf__row_json(lmf_ctx *ctx, const char *p, size_t n, json_t **out);
/* Brings a parsed row into the one form, in place. The sentence says which message; the caller adds file and line. */
lmf_status lmf__row_normalize(lmf_ctx *ctx, json_t *row);

#endif
