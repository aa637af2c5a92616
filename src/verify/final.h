/* SPDX-License-Identifier: Apache-2.0 */
/* final: what an answer comes to, in a form in which equal answers are equal bytes: what a vote counts.
 * Behind </think>, where the answer has one; a thought that does not end has no final answer. Then
 *   NUMBER  the number that the verifier of that name reads, in 15 digits
 *   JSON    the first JSON object or list, keys in order, whole numbers without a point
 *   TEXT    what stands behind the last of "####", "\boxed{", "answer is" and "answer:", to the end of its line, else the whole; as the
 *           verifier exact reads it, without marks of stress
 *   AUTO    JSON where the whole is that; the number where one begins behind a mark, or, without marks, ends the whole; else text
 * Threads: any. */
#ifndef LMF_VERIFY_FINAL_H
#define LMF_VERIFY_FINAL_H
#include <stdbool.h>
#include "base/buf.h"

typedef enum lmf_final_kind { LMF_FINAL_AUTO, LMF_FINAL_NUMBER, LMF_FINAL_JSON, LMF_FINAL_TEXT } lmf_final_kind;
/* text [n] and a NUL behind it. Appended to out; nothing: there is no such answer in it. Fails for want of memory only. */
lmf_status lmf_answer_final(lmf_final_kind kind, const char *text, size_t n, lmf_buf *out);
/* The number that an answer ends on (number.c). */
bool       lmf_answer_number(const char *text, double *out);
/* A text but for case, white space and a sentence's end (exact.c), appended. */
lmf_status lmf_answer_plain(const char *text, size_t n, lmf_buf *out);

#endif
