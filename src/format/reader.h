/* SPDX-License-Identifier: Apache-2.0 */
/* reader: the one cursor over bytes that nobody vouches for. Every number, count and length of every binary
 * format enters here, and is bounded by the bytes left before anything is allocated for it.
 * Little endian. A refusal names the file, the field and the byte where it stands.
 * Owner: the caller's storage; the bytes must outlive what it hands out. Threads: one at a time.
 *
 *     lmf_reader r;
 *     lmf_reader_init(&r, ctx, map.data, map.n, path);
 *     LMF_TRY(lmf_reader_u32(&r, "the version", &version)); */
#ifndef LMF_FORMAT_READER_H
#define LMF_FORMAT_READER_H
#include "base/ctx.h"

typedef struct lmf_bytes {  /* borrowed, without a NUL behind it */
    const char *p;
    size_t      n;
} lmf_bytes;

typedef struct lmf_reader {
    lmf_ctx       *ctx;
    const uint8_t *data;
    size_t         n;        /* bytes in data */
    size_t         at;       /* next byte; at <= n always */
    char           what[96]; /* end of the file's path, for sentences */
} lmf_reader;

void   lmf_reader_init(lmf_reader *r, lmf_ctx *ctx, const void *data, size_t n, const char *path);
size_t lmf_reader_left(const lmf_reader *r);

/* Each fails with LMF_E_FORMAT when the bytes end too early. field names it in the sentence. *out is
 * zeroed on failure. */
lmf_status lmf_reader_u8(lmf_reader *r, const char *field, uint8_t *out);
lmf_status lmf_reader_u32(lmf_reader *r, const char *field, uint32_t *out);
lmf_status lmf_reader_u64(lmf_reader *r, const char *field, uint64_t *out);
/* n bytes where they lie. */
lmf_status lmf_reader_view(lmf_reader *r, const char *field, uint64_t n, const uint8_t **out);
/* A u64 count of things of at least min_bytes each: refused if more than max, or than the bytes left can hold. */
lmf_status lmf_reader_count(lmf_reader *r, const char *field, size_t min_bytes, uint64_t max, size_t *out);
/* u64 length and that many bytes, at most max. */
lmf_status lmf_reader_string(lmf_reader *r, const char *field, size_t max, lmf_bytes *out);
/* On to a multiple of align (a power of two) from the start. */
lmf_status lmf_reader_align(lmf_reader *r, const char *field, size_t align);
/* "<file>: <sentence> (byte <at>)" as LMF_E_FORMAT. */
lmf_status lmf_reader_fail(lmf_reader *r, const char *fmt, ...) LMF_PRINTF(2, 3);

/* A name that may be stored, compared and shown: 1 to max bytes of valid UTF-8 without control characters. */
bool lmf_name_is_clean(const char *p, size_t n, size_t max);
bool lmf_utf8_is_valid(const char *p, size_t n);

static inline uint16_t lmf_le16(const uint8_t *p) { return (uint16_t)(p[0] | p[1] << 8); }
static inline uint32_t lmf_le32(const uint8_t *p) { return (uint32_t)lmf_le16(p) | (uint32_t)lmf_le16(p + 2) << 16; }
static inline uint64_t lmf_le64(const uint8_t *p) { return lmf_le32(p) | (uint64_t)lmf_le32(p + 4) << 32; }

#endif
