/* SPDX-License-Identifier: Apache-2.0 */
/* wire: fields of a message in protocol buffers' encoding, appended to a buffer; b->status says whether there was room.
 * Facts: protobuf.dev, "Encoding". Threads: any. */
#ifndef LMF_OBSERVE_WIRE_H
#define LMF_OBSERVE_WIRE_H
#include <string.h>
#include "base/buf.h"

enum { LMF_WIRE_VARINT = 0, LMF_WIRE_FIXED64 = 1, LMF_WIRE_BYTES = 2, LMF_WIRE_FIXED32 = 5 };

static inline void lmf_wire_le(lmf_buf *b, uint64_t x, int n_bytes)
{
    for (int i = 0; i < n_bytes; i++)
        lmf_buf_putc(b, (char)(x >> 8 * i));
}

static inline void lmf_wire_varint(lmf_buf *b, uint64_t x)
{
    for (; x >= 128; x >>= 7)
        lmf_buf_putc(b, (char)(x | 128));
    lmf_buf_putc(b, (char)x);
}

static inline void lmf_wire_key(lmf_buf *b, int field, int kind) { lmf_wire_varint(b, (uint64_t)(field << 3 | kind)); }

static inline void lmf_wire_int(lmf_buf *b, int field, int64_t x)
{
    lmf_wire_key(b, field, LMF_WIRE_VARINT);
    lmf_wire_varint(b, (uint64_t)x);
}

static inline void lmf_wire_fixed64(lmf_buf *b, int field, uint64_t x)
{
    lmf_wire_key(b, field, LMF_WIRE_FIXED64);
    lmf_wire_le(b, x, 8);
}

static inline void lmf_wire_double(lmf_buf *b, int field, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    lmf_wire_fixed64(b, field, bits);
}

static inline void lmf_wire_bytes(lmf_buf *b, int field, const void *p, size_t n)
{
    lmf_wire_key(b, field, LMF_WIRE_BYTES);
    lmf_wire_varint(b, n);
    lmf_buf_append(b, p, n);
}

#endif
