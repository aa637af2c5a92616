/* SPDX-License-Identifier: Apache-2.0 */
/* i8: plain little-endian integers. Sizes only: lmf_get_int and lmf_get read them. */
#include "device/dtype.h"

const lmf_format lmf_format_i8 = { .dtype = LMF_I8, .block = 1, .block_bytes = 1, .flags = LMF_FORMAT_INT, .name = "i8" };
