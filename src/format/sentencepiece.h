/* SPDX-License-Identifier: Apache-2.0 */
/* sentencepiece: a SentencePiece model file (tokenizer.model), a ModelProto in protocol buffers' encoding, as a list of pieces with scores
 * and the few settings that decide how a text is encoded. Only BPE is read; what would change ids and is not done here is refused by
 * name: the other model types, normalization by a character map, removal of extra white space, white space as a suffix, unused pieces.
 * Owner: the caller's storage, open/close; piece texts end in NUL and live in the arena. Threads: read only after opening.
 * Facts: src/sentencepiece_model.proto and model_interface.cc of github.com/google/sentencepiece 0.2. */
#ifndef LMF_FORMAT_SENTENCEPIECE_H
#define LMF_FORMAT_SENTENCEPIECE_H
#include "base/arena.h"
#include "format/reader.h"

typedef enum lmf_piece_kind { LMF_PIECE_NORMAL = 1, LMF_PIECE_UNKNOWN, LMF_PIECE_CONTROL, LMF_PIECE_USER_DEFINED, LMF_PIECE_UNUSED,
    LMF_PIECE_BYTE } lmf_piece_kind; /* the numbers of GGUF's token types */
enum { LMF_PIECES_MAX = 1 << 21, LMF_PIECE_MAX_BYTES = 4096 };

typedef struct lmf_piece { lmf_bytes text; float score; lmf_piece_kind kind; } lmf_piece;

typedef struct lmf_sentencepiece {
    lmf_ctx   *ctx;
    lmf_arena  arena;
    lmf_piece *piece;            /* [n] by id; texts are UTF-8, with U+2581 for a space */
    size_t     n;
    int32_t    unk, bos, eos, pad; /* -1: none; unk is always there */
    bool       byte_fallback;    /* all 256 bytes are pieces */
    bool       add_dummy_prefix; /* a space is put in front of a text */
} lmf_sentencepiece;

/* LMF_E_FORMAT: no such file, damaged, or pieces that contradict each other; LMF_E_UNSUPPORTED: as above; LMF_E_LIMIT: too many or too
 * long pieces. name is for sentences. On failure there is nothing to close. */
lmf_status lmf_sentencepiece_parse(lmf_ctx *ctx, const void *p, size_t n, const char *name, lmf_sentencepiece *out);
lmf_status lmf_sentencepiece_open(lmf_ctx *ctx, const char *path, lmf_sentencepiece *out);
void       lmf_sentencepiece_close(lmf_sentencepiece *sp); /* a zeroed one is fine */

#endif
