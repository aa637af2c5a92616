/* SPDX-License-Identifier: Apache-2.0 */
/* i16: plain little-endian integers. Sizes only: lmf_get_int and lmf_get read them. */
#include "device/dtype.h"

const lmf_format lmf_format_i16 = { .dtype = LMF_I16, .block = 1, .block_bytes = 2, .flags = LMF_FORMAT_INT, .name = "i16" };
