/* SPDX-License-Identifier: Apache-2.0 */
/* hparam: a field of an architecture's configuration, set from a file and given back. Rows: models/arch.h. Values are checked as they are
 * set; every refusal names the field. */
#ifndef LMF_MODELS_HPARAM_H
#define LMF_MODELS_HPARAM_H
#include <jansson.h>
#include "models/arch.h"

/* Numbers and booleans; of a LIST: its next item. */
lmf_status lmf_hparam_set(lmf_ctx *ctx, const lmf_hparam *h, void *config, double value);
/* TEXT; of a LIST with words: its next item. */
lmf_status lmf_hparam_set_text(lmf_ctx *ctx, const lmf_hparam *h, void *config, const char *text, size_t n);
/* What the file does not say. */
lmf_status lmf_hparam_set_default(lmf_ctx *ctx, const lmf_hparam *h, void *config);
bool       lmf_hparam_is_default(const lmf_hparam *h, const void *config);
double     lmf_hparam_number(const lmf_hparam *h, const void *config); /* of numbers and booleans; of others 0 */
/* As config.json has it; 1e-05, not the f32's 9.999999747378752e-06. NULL: out of memory. */
json_t    *lmf_hparam_json(const lmf_hparam *h, const void *config);
const lmf_hparam *lmf_hparam_find(const lmf_arch *arch, const char *field); /* NULL: none */

#endif
