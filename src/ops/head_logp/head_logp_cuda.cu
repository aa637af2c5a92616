/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: all kernels are those of device/cuda/vocab_wide.cuh and vocab.cuh. */
#include "device/cuda/vocab_wide.cuh"
