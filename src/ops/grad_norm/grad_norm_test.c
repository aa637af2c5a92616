/* SPDX-License-Identifier: Apache-2.0 */
#include "op_case.h"

LMF_OP_CASES(grad_norm) = {
    { "grad_norm", "several pieces", "x:f32[50001]", "", "normal", "0x1p-23" },
    { "grad_norm", "one", "x:f32[1]", "", "normal" },
    { "grad_norm", "none", "x:f32[0]", "", "normal" },
    { "grad_norm", "integers", "x:i32[4]<7", "", "refused:E_DTYPE" },
    { 0 }
};
