/* SPDX-License-Identifier: Apache-2.0 */
/* weights: named tensors with a version and one owner. A file gives an immutable set, an adapter a small one, a trainer
 * a live one. An engine borrows a set; when the version has changed it drops what it derived from it. Only the owner
 * writes, and only between engine steps.
 *
 * A set owns what was handed to it: a mapped file (unmapped at destroy), copied tensors (its arena), and the config. */
#ifndef LMF_GRAPH_WEIGHTS_H
#define LMF_GRAPH_WEIGHTS_H
#include "base/file.h"
#include "graph/graph.h"

typedef struct lmf_weight {
    const char *name;        /* role: "layers.3.attn.q" */
    lmf_view    v;           /* data points into a mapping or owned memory; host bytes, unless the set has a device */
    bool        mapped;      /* lies in the mapped file: costs no memory of ours on a host device */
} lmf_weight;

struct lmf_weights {
    lmf_ctx    *ctx;
    lmf_device *dev;         /* where the bytes of all items lie, such as a trainer's on a GPU; NULL: with the host */
    lmf_arena   arena;       /* names, views, copied bytes */
    lmf_weight *items; int32_t n, cap;
    lmf_name_index   names;       /* to index in items */
    uint64_t    version;     /* counts up when the owner changes bytes */
    lmf_map     map[64]; int n_maps;   /* files that stay mapped while the set lives */
};

lmf_status lmf_weights_create(lmf_ctx *ctx, lmf_weights **out);
void       lmf_weights_destroy(lmf_weights *w);                       /* NULL is fine */
/* data NULL: zeroed memory of the set's own. Refuses a second tensor of that name. */
lmf_status lmf_weights_add(lmf_weights *w, const char *name, uint16_t dtype, int n_dims, const int64_t *dim,
                           const void *data, bool mapped, lmf_weight **out);
/* Of all names and bytes, each tensor hashed alone. The bytes lie with the host. */
lmf_status lmf_weights_sha256(const lmf_weights *w, char hex[65]);
lmf_weight *lmf_weights_find(const lmf_weights *w, const char *name); /* NULL when there is none */

#endif
