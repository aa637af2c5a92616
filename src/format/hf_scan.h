/* SPDX-License-Identifier: Apache-2.0 */
/* hf_scan: the two long members of a tokenizer.json, model.vocab and model.merges, read without a tree: a value of the JSON library costs
 * some 100 bytes and four allocations, and there may be a million of them. Only their usual form is read here; of anything else the caller
 * reads the whole by the library, which also says what is wrong.
 * Owner: strings are views into text, which is changed; arrays are the arena's. */
#ifndef LMF_FORMAT_HF_SCAN_H
#define LMF_FORMAT_HF_SCAN_H
#include "format/hf_json.h"

typedef struct lmf__hf_scan {
    lmf_bytes    *token;         /* [n_tokens] keys of vocab, each ended by NUL */
    int64_t      *id;            /* [n_tokens] */
    size_t        n_tokens;
    lmf_hf_merge *merge;         /* [n_merges] */
    size_t        n_merges;
} lmf__hf_scan;

/* text: valid UTF-8, n bytes. *ok: both members are there in the usual form; then rest gets the file with both empty. */
lmf_status lmf__hf_scan_vocab(lmf_arena *arena, char *text, size_t n, lmf__hf_scan *out, lmf_buf *rest, bool *ok);

#endif
