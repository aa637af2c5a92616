/* SPDX-License-Identifier: Apache-2.0 */
/* tool_call: whether an answer is the call that its row wants.
 *   valid   the answer is one JSON object and nothing else (white space around it is allowed)
 *   name    it names the right function: "intent" where the row's own answer has one, else "name"
 *   exact   with "allowed" {function: {argument: [values]}}: each argument's value is among those listed, by JSON equality; "" in a list
 *           marks an argument that may be left out; no others. Without: equal to the row's own answer
 * JSON equality: numbers by value (1 equals 1.0), strings to the byte, objects in any order, true is no number. */
#ifndef LMF_VERIFY_TOOL_CALL_H
#define LMF_VERIFY_TOOL_CALL_H
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

typedef struct lmf_verdict { bool valid, name, exact; } lmf_verdict;
bool        lmf_json_is_equal(const json_t *a, const json_t *b);
/* row: a test row; reference: its own answer. An answer that is no JSON in both is judged by bytes for exact alone;
 * a reference with tool calls, by the JSON objects in both texts and the bytes around them. */
lmf_verdict lmf_answer_judge(const json_t *row, const char *reference, const char *answer, size_t n);

#endif
