/* SPDX-License-Identifier: Apache-2.0 */
/* map: a tensor as the copy engine of Hopper sees it (CUtensorMap), opaque, a kernel's argument. Made by lmf_cuda_map_make (cuda.h). */
#ifndef LMF_DEVICE_CUDA_MAP_H
#define LMF_DEVICE_CUDA_MAP_H
#include <stdint.h>

typedef struct __attribute__((aligned(64))) lmf_cuda_map { uint64_t word[16]; } lmf_cuda_map;

#endif
