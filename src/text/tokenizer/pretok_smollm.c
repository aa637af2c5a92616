/* SPDX-License-Identifier: Apache-2.0 */
/* SmolLM (and StarCoder, Command R): every number is a word of its own, then GPT-2's rule between them. */
#include "text/tokenizer/pretok.h"

static size_t next(const uint8_t *text, size_t n, size_t at) { return lmf__split_gpt2(text, n, at, true); }
static const char *const names[] = { "smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", NULL };
const lmf_pretok lmf_pretok_smollm = { .names = names, .next = next, .hf_regex = LMF_REGEX_GPT2, .hf_digits = LMF_DIGITS_EACH };
