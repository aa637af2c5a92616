/* SPDX-License-Identifier: Apache-2.0 */
/* wire: fields of a message in protocol buffers' encoding, appended to a buffer (b->status says whether there was room), and taken from
 * bytes one after the other. Facts: protobuf.dev, "Encoding". Threads: any.
 *
 *     lmf_wire_field f;
 *     for (lmf_wire w = { p, p + n, false }; lmf_wire_next(&w, &f);)
 *         if (f.number == 2 && f.kind == LMF_WIRE_BYTES) ... f.p, f.n ...
 *     if (w.bad) ... the message is cut or no message ... */
#ifndef LMF_BASE_WIRE_H
#define LMF_BASE_WIRE_H
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

static inline void lmf_wire_float(lmf_buf *b, int field, float x)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    lmf_wire_key(b, field, LMF_WIRE_FIXED32);
    lmf_wire_le(b, bits, 4);
}

static inline void lmf_wire_bytes(lmf_buf *b, int field, const void *p, size_t n)
{
    lmf_wire_key(b, field, LMF_WIRE_BYTES);
    lmf_wire_varint(b, n);
    lmf_buf_append(b, p, n);
}

static inline void lmf_wire_text(lmf_buf *b, int field, const char *text) { lmf_wire_bytes(b, field, text, strlen(text)); }

static inline size_t lmf_wire_varint_bytes(uint64_t x)
{
    size_t n = 1;
    for (; x >= 128; x >>= 7)
        n++;
    return n;
}

/* ---- reading ---- */
typedef struct lmf_wire { const uint8_t *at, *end; bool bad; } lmf_wire;
typedef struct lmf_wire_field {
    uint64_t       number;      /* of the field; 0 is none */
    int            kind;        /* LMF_WIRE_*; groups are bad */
    uint64_t       x;           /* VARINT, and the bits of FIXED64 and FIXED32 */
    const uint8_t *p; size_t n; /* BYTES: in the message */
} lmf_wire_field;

static inline uint64_t lmf_wire_take(lmf_wire *w)
{
    uint64_t x = 0;
    for (int shift = 0; shift < 70 && w->at < w->end; shift += 7) {
        uint8_t c = *w->at++;
        if (shift == 63 && c > 1)
            break;
        x |= (uint64_t)(c & 127) << shift;
        if (c < 128)
            return x;
    }
    w->bad = true;
    return 0;
}

/* False at the end, and where the bytes are no field. */
static inline bool lmf_wire_next(lmf_wire *w, lmf_wire_field *f)
{
    *f = (lmf_wire_field){ 0 };
    if (w->bad || w->at == w->end)
        return false;
    uint64_t key = lmf_wire_take(w);
    f->number = key >> 3, f->kind = key & 7;
    size_t left = (size_t)(w->end - w->at), fixed = f->kind == LMF_WIRE_FIXED64 ? 8 : f->kind == LMF_WIRE_FIXED32 ? 4 : 0;
    if (f->kind == LMF_WIRE_VARINT) {
        f->x = lmf_wire_take(w);
    } else if (f->kind == LMF_WIRE_BYTES) {
        uint64_t n = lmf_wire_take(w);
        w->bad = w->bad || n > (size_t)(w->end - w->at);
        f->p = w->at, f->n = w->bad ? 0 : (size_t)n;
        w->at += f->n;
    } else if (fixed && fixed <= left) {
        for (size_t i = 0; i < fixed; i++)
            f->x |= (uint64_t)w->at[i] << 8 * i;
        w->at += fixed;
    } else {
        w->bad = true;
    }
    w->bad = w->bad || f->number == 0;
    return !w->bad;
}

#endif
