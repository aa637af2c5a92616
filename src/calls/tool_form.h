/* SPDX-License-Identifier: Apache-2.0 */
/* tool_form: how a model's template spells a tool call, found out by having it render one: the text before the call's JSON object, the keys
 * in it, the text behind. With it an answer's calls are told from its text.
 *     <tool_call>\n{"name": "f", "arguments": {...}}\n</tool_call>
 * Owner: the caller's storage, nothing to clear. Threads: read only after find. */
#ifndef LMF_CALLS_TOOL_FORM_H
#define LMF_CALLS_TOOL_FORM_H
#include <jansson.h>
#include "text/chat/chat.h"

enum { LMF_TOOL_MAX_CALLS = 64 };

typedef struct lmf_tool_form {
    bool known;
    char open[64], close[64];  /* without white space around; open "": the call is the whole answer */
    char lead[16], tail[16];   /* white space behind open, before close */
    char between[160];         /* from the first call's end to the second's begin; "": an answer has one call */
    char arguments[32];        /* the key beside "name": "arguments" or "parameters" */
} lmf_tool_form;

/* A template that shows no calls, or not as JSON objects, leaves known false. Fails for want of memory only. */
lmf_status lmf_tool_form_find(const lmf_chat *chat, const lmf_chat_forms *forms, lmf_tool_form *out);
/* Where the first call may begin in text[from ..n); what lies before it is text for certain. n: none has. */
size_t     lmf_tool_form_begin(const lmf_tool_form *f, const char *text, size_t n, size_t from);
#endif
