/* SPDX-License-Identifier: Apache-2.0 */
/* normalize: what a tokenizer.json does to text before it is cut into words, a list of steps in order: Unicode's four normal forms
 * (Unicode Annex 15, of the characters of Unicode 9: what HF tokenizers 0.23 knows), lower case, a text put in front, a text
 * replaced, and BERT's three: clean (white space is a space; control characters and stray bytes go), ideographs (a space on either side),
 * strip marks. Text is any bytes: a stray byte stays as it is and separates what stands before it from what stands behind.
 * Owner: tokenizer.c. Threads: reads its arguments only. */
#ifndef LMF_TEXT_NORMALIZE_H
#define LMF_TEXT_NORMALIZE_H
#include "text/tokenizer/tokenizer.h"

/* Whether the steps leave text as it is, by a glance that may say no too often. */
bool       lmf__normalize_is_same(const lmf_norm_step *step, size_t n_steps, const uint8_t *text, size_t n);
/* Appends text after all steps; linear in its length. LMF_E_LIMIT past the buffer's maximum. */
lmf_status lmf__normalize(const lmf_norm_step *step, size_t n_steps, const uint8_t *text, size_t n, lmf_buf *out);

#endif
