/* SPDX-License-Identifier: Apache-2.0 */
/* tool_scan: calls out of an answer that is still being written, for streams: each call's name once it is whole, then its arguments as they
 * come. For answers that are held to their tools' grammar; the text of one that is not may give nothing.
 *
 *     lmf_tool_scan s = { .at = begin };                    // where lmf_tool_form_begin says
 *     while (lmf_tool_scan_next(&s, form, text, n, &piece))
 *         ... piece.name, or piece.arguments [piece.n]
 *
 * Owner: the caller's storage, nothing to clear; a piece points into text, but for its name. Threads: any. */
#ifndef LMF_CALLS_TOOL_SCAN_H
#define LMF_CALLS_TOOL_SCAN_H
#include "calls/tool_form.h"

typedef struct lmf_tool_scan {
    size_t  at;              /* bytes of the text that were read */
    int32_t n_calls;         /* whose names were given */
    enum { LMF_SCAN_OPEN, LMF_SCAN_CALL, LMF_SCAN_ARGUMENTS, LMF_SCAN_CLOSE, LMF_SCAN_DONE } phase;
    int32_t depth;           /* of braces and brackets in the arguments */
    bool    in_string, escaped;
} lmf_tool_scan;

typedef struct lmf_tool_piece {
    int32_t     i_call;
    json_t     *name;        /* the caller's reference; NULL: a piece of arguments */
    const char *arguments;
    size_t      n;
} lmf_tool_piece;

/* False: nothing more for now. */
bool lmf_tool_scan_next(lmf_tool_scan *s, const lmf_tool_form *f, const char *text, size_t n, lmf_tool_piece *out);
/* After the last piece: text is calls and nothing else from the scan's begin to n; the last may end with the turn. */
bool lmf_tool_scan_is_whole(const lmf_tool_scan *s, const lmf_tool_form *f, const char *text, size_t n);

#endif
