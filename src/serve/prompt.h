/* SPDX-License-Identifier: Apache-2.0 */
/* prompt: what a body gives to go on from, as token ids, in the forms that all endpoints take.
 * What the policy of the exchange's tenant (serve/screen.h) says of texts is done here, before they are tokens.
 * Owner: ids are the caller's, initialized. Threads: the loop's. */
#ifndef LMF_SERVE_PROMPT_H
#define LMF_SERVE_PROMPT_H
#include "serve/server.h"

enum { LMF_PROMPT_MAX_TOK = 1 << 20 };

/* Members of bodies, for /openapi.json. */
#define LMF_PROMPT_MEMBERS \
    "\"messages\":{\"type\":\"array\",\"minItems\":1,\"items\":{\"type\":\"object\",\"required\":[\"role\"]," \
    "\"properties\":{\"role\":{\"enum\":[\"system\",\"developer\",\"user\",\"assistant\",\"tool\"]},\"content\":{" \
    "\"type\":[\"string\",\"array\",\"null\"]},\"tool_calls\":{\"type\":\"array\"},\"tool_call_id\":{" \
    "\"type\":\"string\"}}}},\"tools\":{\"type\":[\"array\",\"null\"],\"maxItems\":128,\"items\":{\"type\":\"object\"," \
    "\"required\":[\"type\",\"function\"],\"properties\":{\"type\":{\"const\":\"function\"},\"function\":{" \
    "\"type\":\"object\",\"required\":[\"name\"],\"properties\":{\"name\":{\"type\":\"string\",\"minLength\":1," \
    "\"maxLength\":256},\"description\":{\"type\":\"string\"},\"parameters\":{\"type\":\"object\"}}}}}}," \
    "\"chat_template_kwargs\":{\"type\":[\"object\",\"null\"]}"
#define LMF_CALL_MEMBERS \
    "\"tool_choice\":{\"anyOf\":[{\"enum\":[\"none\",\"auto\",\"required\",null]},{\"type\":\"object\",\"required\":[" \
    "\"type\",\"function\"],\"properties\":{\"type\":{\"const\":\"function\"}}}]},\"parallel_tool_calls\":{\"type\":[" \
    "\"boolean\",\"null\"]}"
/* The body's messages, with its tools where they count, through the model's template. Messages become one form before, as rows for training
 * do (data/rows.h). */
bool lmf__prompt_chat(lmf_exchange *x, const json_t *body, bool with_tools, lmf_ids *ids, lmf_fault *f);
/* Text as it is; *bos_added (optional): the first id is of no text. */
bool lmf__prompt_text(lmf_exchange *x, const json_t *text, bool specials, lmf_ids *ids, bool *bos_added, lmf_fault *f);
/* A list of token ids. */
bool lmf__prompt_ids(lmf_exchange *x, const json_t *list, const char *param, lmf_ids *ids, lmf_fault *f);

#endif
