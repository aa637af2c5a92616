/* SPDX-License-Identifier: Apache-2.0 */
/* adapter: the one home of PEFT's adapters: which module of PEFT is which tensors of the graph, and back. A module is a stored matrix; in
 * the graph it is one weight, or several that are slices of it (a fused q, k, v). A pair's A [r, n_in] belongs to all of them, each has its
 * own rows of B [n_out, r].
 * Refused: an adapter with a pair that finds no module, or one of another shape; what format/adapter.h refuses.
 * Owner: open/close; a list of modules lies in the caller's arena and borrows the model's names. Threads: read only after opening.
 *
 *     lmf_model_adapter a;
 *     LMF_TRY(lmf_model_adapter_open(ctx, model, "my_adapter", &a));
 *     for (int i = 0; i < a.modules.n; i++)
 *         if (a.pair[i])
 *             use(a.modules.items[i].part[0].role, a.pair[i]); */
#ifndef LMF_MODELS_ADAPTER_H
#define LMF_MODELS_ADAPTER_H
#include "format/adapter.h"
#include "models/model.h"

enum { LMF_MODULE_PARTS = 5, LMF_MODULE_PATH_BYTES = 256 };
typedef struct lmf_module_part { const char *role; int64_t first, n; } lmf_module_part; /* rows of B, of all n_out */
typedef struct lmf_module {
    const char     *path;                    /* "model.layers.0.self_attn.qkv_proj" */
    int64_t         n_in, n_out;             /* of the module, whole */
    lmf_module_part part[LMF_MODULE_PARTS];  /* by rows, none left out */
    int             n_parts;
} lmf_module;
typedef struct lmf_modules { lmf_module *items; int32_t n; } lmf_modules;

/* All modules that can have a pair, in the order of the model's weights. */
lmf_status lmf_modules_list(lmf_arena *arena, const lmf_model *m, lmf_modules *out);
/* "layers.3.attn.q" -> "model.layers.3.self_attn.q_proj" into text. False: it can't have a pair. */
bool       lmf_module_path(const lmf_model *m, const char *role, char *text, size_t n);
const char *lmf_module_name(const lmf_module *module); /* "q_proj" */

typedef struct lmf_model_adapter {
    lmf_arena                arena;
    lmf_adapter             *file;
    lmf_modules              modules;        /* all of the model */
    const lmf_adapter_pair **pair;           /* one a module; NULL: it has none */
    int64_t                  rank;           /* the greatest */
} lmf_model_adapter;
/* LMF_E_SHAPE, LMF_E_NOT_FOUND: the adapter is of another base; the sentence names the first layer that does not fit. */
lmf_status lmf_model_adapter_open(lmf_ctx *ctx, const lmf_model *m, const char *dir, lmf_model_adapter *out);
void       lmf_model_adapter_close(lmf_model_adapter *a); /* a zeroed one is fine */
/* A [r, n_in] to a, and scale times the part's rows of B [n, r] to b, whose rows are b_stride apart. */
void       lmf_pair_read(lmf_ctx *ctx, const lmf_adapter_pair *pair, const lmf_module_part *part, double scale, float *a, float *b,
                         int64_t b_stride);

/* [r, n_in], [n_out, r], and of DoRA [n_out] */
typedef struct lmf_trained_pair { const lmf_module *module; const float *a, *b, *m; } lmf_trained_pair;
/* Pairs of one rank and alpha as the folder dir; target_modules are their names. */
lmf_status lmf_model_adapter_save(lmf_ctx *ctx, const char *dir, const lmf_adapter_config *config, const lmf_trained_pair *pairs, size_t n);

#endif
