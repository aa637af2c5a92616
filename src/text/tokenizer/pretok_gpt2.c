/* SPDX-License-Identifier: Apache-2.0 */
/* GPT-2: contractions, letters, numbers and the rest, each with the one space before it. */
#include "text/tokenizer/pretok.h"

static size_t next(const uint8_t *text, size_t n, size_t at) { return lmf__split_gpt2(text, n, at, false); }
static const char *const names[] = { "gpt-2", "phi-2", "mpt", "olmo", "jais", NULL };
const lmf_pretok lmf_pretok_gpt2 = { .names = names, .next = next, .hf_regex = LMF_REGEX_GPT2 };
