/* SPDX-License-Identifier: Apache-2.0 */
/* u64: plain little-endian integers. Sizes only: lmf_get_int and lmf_get read them. */
#include "device/dtype.h"

const lmf_format lmf_format_u64 = { .dtype = LMF_U64, .block = 1, .block_bytes = 8, .flags = LMF_FORMAT_INT, .name = "u64" };
