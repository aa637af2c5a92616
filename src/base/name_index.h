/* SPDX-License-Identifier: Apache-2.0 */
/* name_index: an index from name to a number, by open addressing. Names are borrowed and must outlive it. */
#ifndef LMF_BASE_NAME_INDEX_H
#define LMF_BASE_NAME_INDEX_H
#include "base/ctx.h"

typedef struct lmf_name_index {
    lmf_ctx *ctx;
    struct lmf_name_index_slot { const char *name; int32_t value; } *slot;
    int32_t n, cap; /* cap is a power of two or 0 */
} lmf_name_index;

void       lmf_name_index_init(lmf_name_index *s, lmf_ctx *ctx);
void       lmf_name_index_clear(lmf_name_index *s);
int32_t    lmf_name_index_find(const lmf_name_index *s, const char *name);               /* -1: not there */
lmf_status lmf_name_index_add(lmf_name_index *s, const char *name, int32_t value);       /* LMF_E_EXISTS */

#endif
