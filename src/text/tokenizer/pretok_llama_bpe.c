/* SPDX-License-Identifier: Apache-2.0 */
/* Llama 3: one character of any kind may lead letters, numbers come in threes, line ends stay with what they follow. */
#include "text/tokenizer/pretok.h"

static size_t next(const uint8_t *text, size_t n, size_t at) { return lmf__split_llama3(text, n, at, 3); }
static const char *const names[] = { "llama-bpe", "llama3", "llama-v3", NULL };
const lmf_pretok lmf_pretok_llama_bpe = {
    .names = names,
    .next = next,
    .hf_regex = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
                "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
    .whole_words = true,
    .add_bos = true,
};
