/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: all kernels are those of device/cuda/vocab.cuh. */
#include "device/cuda/vocab.cuh"
