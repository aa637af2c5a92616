/* SPDX-License-Identifier: Apache-2.0 */
/* lmf_act_quantize as this ISA level compiles it, under a name of its own. */
#include "quant/act.h"
#include "device/kernel.h"

void LMF_CAT(lmf__act, quantize, LMF_ISA)(const float *x, lmf_act *out, int64_t k)
{
    lmf_act_quantize(x, out, k);
}
