/* SPDX-License-Identifier: Apache-2.0 */
/* pieces: SentencePiece models (tokenizer.model) for tests, written field by field; numbers of fields and kinds as in
 * src/format/sentencepiece.c. */
#ifndef LMF_TESTS_PIECES_H
#define LMF_TESTS_PIECES_H
#include "base/buf.h"

void lmf_test_put_piece(lmf_buf *b, const char *text, float score, int kind);
/* One field of a message in the model. */
void lmf_test_put_number(lmf_buf *b, int message, int field, int64_t x);
void lmf_test_put_text(lmf_buf *b, int message, int field, const char *text);

/* The formula model with a tokenizer.model in place of tokenizer.json: <unk> <s> </s>, 256 bytes, U+2581 259, a 260, b 261, ab 262, and
 * last 263, of the user. config: tokenizer_config.json, NULL: none; prefix: add_dummy_prefix. */
void lmf_test_pieces_folder(lmf_ctx *ctx, const char *config, bool prefix, const char *last, char dir[600]);

#endif
