/* SPDX-License-Identifier: Apache-2.0 */
/* checked: size arithmetic that says when it overflows. Every count that comes from a file goes through here. */
#ifndef LMF_BASE_CHECKED_H
#define LMF_BASE_CHECKED_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

static inline bool lmf_mul_size(size_t a, size_t b, size_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool lmf_add_size(size_t a, size_t b, size_t *out) { return !__builtin_add_overflow(a, b, out); }
static inline bool lmf_mul_i64(int64_t a, int64_t b, int64_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool lmf_add_i64(int64_t a, int64_t b, int64_t *out) { return !__builtin_add_overflow(a, b, out); }
/* Rounds up to a multiple of align (a power of two). */
static inline size_t lmf_align_up(size_t x, size_t align) { return (x + align - 1) & ~(align - 1); }

#endif
