/* SPDX-License-Identifier: Apache-2.0 */
/* i32: plain little-endian integers. Sizes only: lmf_get_int and lmf_get read them. */
#include "device/dtype.h"

const lmf_format lmf_format_i32 = { .dtype = LMF_I32, .block = 1, .block_bytes = 4, .flags = LMF_FORMAT_INT, .name = "i32" };
