/* SPDX-License-Identifier: Apache-2.0 */
/* rows: a JSON Lines file as training or test rows, checked: {"messages": [{"role", "content"}, ...]}, {"prompt", "completion"} or
 * {"text"}. Every refusal gives the file and the line.
 * Owner: open/close. Threads: read only after opening. */
#ifndef LMF_DATA_ROWS_H
#define LMF_DATA_ROWS_H
#include <jansson.h>
#include "base/arena.h"

typedef struct lmf_row { json_t *json; int64_t line; } lmf_row;
typedef struct lmf_rows {
    lmf_ctx *ctx;
    char    *path;
    lmf_row *items;
    int64_t  n, cap;
    char     sha256[65];   /* of the file */
} lmf_rows;

/* Refuses an empty file, a line that is no JSON object, a row of no known shape, roles in the wrong order (an optional system
 * message, then user and assistant in turn, tool results after a call), contents that are no text. */
lmf_status lmf_rows_open(lmf_ctx *ctx, const char *path, lmf_rows *out);
void       lmf_rows_close(lmf_rows *rows); /* a zeroed one is fine */

#endif
