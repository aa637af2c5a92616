/* SPDX-License-Identifier: Apache-2.0 */
/* bert_chars: the sets of characters that BERT's normalizer and its words go by. Constant; any code point may be asked about. */
#ifndef LMF_TEXT_BERT_CHARS_H
#define LMF_TEXT_BERT_CHARS_H
#include <stdbool.h>
#include <stdint.h>

bool lmf__bert_is_mark(int32_t cp);        /* strip_accents takes it away, behind NFD */
bool lmf__bert_is_punctuation(int32_t cp); /* a word of its own */
bool lmf__bert_is_ideograph(int32_t cp);   /* handle_chinese_chars puts spaces around it */
bool lmf__bert_is_dropped(int32_t cp);     /* clean_text takes it away */

#endif
