/* SPDX-License-Identifier: Apache-2.0 */
/* Qwen2 and Qwen2.5: Llama 3's rule with every number a word of its own. */
#include "text/tokenizer/pretok.h"

static size_t next(const uint8_t *text, size_t n, size_t at) { return lmf__split_llama3(text, n, at, 1); }
static const char *const names[] = { "qwen2", "deepseek-r1-qwen", NULL };
const lmf_pretok lmf_pretok_qwen2 = {
    .names = names,
    .next = next,
    .hf_regex = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
                "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
};
