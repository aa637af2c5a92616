/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: bytes are looked at twice, before and behind gzip, by the same function. */
#include "data/source.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>
#include "base/file.h"
#include "base/magic.h"

enum { PART_BYTES = 1 << 16 };

static const char *name_of(const char *path) { return strcmp(path, "-") ? path : "standard input"; }

static lmf_status too_large(const lmf_buf *out, const char *path)
{
    return out->status == LMF_E_MEMORY ? LMF_NO_MEMORY(out->ctx, out->n + PART_BYTES, path)
         : LMF_FAIL(out->ctx, LMF_E_LIMIT, "%s holds more than the %zu bytes that are read", path, out->max);
}

static lmf_status read_stream(lmf_ctx *ctx, int fd, const char *path, lmf_buf *out)
{
    char part[PART_BYTES];
    for (;;) {
        errno = lmf_shim(ctx, LMF_SITE_READ);
        ssize_t n = errno ? -1 : read(fd, part, sizeof part);
        if (n == 0)
            return LMF_OK;
        if (n < 0 && errno == EINTR)
            return LMF_FAIL(ctx, LMF_E_CANCELLED, "stopped while reading %s", path);
        if (n < 0)
            return LMF_FAIL(ctx, LMF_E_IO, "can't read %s: %s", path, strerror(errno));
        if (lmf_buf_append(out, part, (size_t)n))
            return too_large(out, path);
    }
}

/* Nothing but regular files, fifos, pipes, and standard input whatever it is. */
static lmf_status read_bytes(lmf_ctx *ctx, const char *path, lmf_buf *out)
{
    struct stat st;
    if (strcmp(path, "-") == 0)
        return read_stream(ctx, 0, name_of(path), out);
    if (stat(path, &st) == 0 && S_ISFIFO(st.st_mode)) {
        errno = lmf_shim(ctx, LMF_SITE_OPEN);
        int fd = errno ? -1 : open(path, O_RDONLY | O_CLOEXEC);
        if (fd < 0 && errno == EINTR)
            return LMF_FAIL(ctx, LMF_E_CANCELLED, "stopped while waiting for somebody to write to %s", path);
        if (fd < 0)
            return LMF_FAIL(ctx, LMF_E_IO, "can't open %s: %s", path, strerror(errno));
        lmf_status s = read_stream(ctx, fd, path, out);
        close(fd);
        return s;
    }
    char *text;
    size_t n;
    LMF_TRY(lmf_file_read(ctx, path, out->max, &text, &n));
    *out = (lmf_buf){ .ctx = ctx, .data = text, .n = n, .cap = n + 1, .max = out->max }; /* as it is: no second copy */
    return LMF_OK;
}

/* All members of a gzip file, one behind the other, as gunzip does. */
static lmf_status inflate_all(lmf_ctx *ctx, const char *path, z_stream *z, const lmf_buf *in, lmf_buf *out)
{
    unsigned char part[PART_BYTES];
    size_t fed = 0;
    for (int r = Z_OK;;) {
        if (z->avail_in == 0 && fed < in->n) {
            size_t n = in->n - fed < (1u << 30) ? in->n - fed : 1u << 30;
            z->next_in = (unsigned char *)in->data + fed;
            z->avail_in = (uInt)n;
            fed += n;
        }
        if (r == Z_STREAM_END) {
            if (z->avail_in == 0)
                return LMF_OK;
            if (z->next_in[0] != 0x1f) /* padding, which gunzip leaves out, too */
                return LMF_OK;
            inflateReset(z);
        }
        z->next_out = part;
        z->avail_out = sizeof part;
        r = inflate(z, Z_NO_FLUSH);
        if (r == Z_MEM_ERROR)
            return LMF_NO_MEMORY(ctx, sizeof part, path);
        if (r == Z_BUF_ERROR)
            return LMF_FAIL(ctx, LMF_E_FORMAT, "%s is cut short: its gzip data end too early", path);
        if (r != Z_OK && r != Z_STREAM_END)
            return LMF_FAIL(ctx, LMF_E_FORMAT, "%s is damaged: its gzip data can't be unpacked", path);
        if (lmf_buf_append(out, part, sizeof part - z->avail_out))
            return too_large(out, path);
    }
}

static lmf_status gunzip(lmf_ctx *ctx, const char *path, const lmf_buf *in, lmf_buf *out)
{
    z_stream z = { 0 };
    if (inflateInit2(&z, 15 + 16) != Z_OK)
        return LMF_NO_MEMORY(ctx, PART_BYTES, "unpacking");
    lmf_status s = inflate_all(ctx, path, &z, in, out);
    inflateEnd(&z);
    return s;
}

static lmf_status refuse_kind(lmf_ctx *ctx, const char *path, const char *wanted, lmf_magic m, const char *inside)
{
    const char *advice = lmf_magic_advice(m);
    return LMF_FAIL(ctx, LMF_E_FORMAT, "%s holds %s%s, and what is read is %s in UTF-8%s%s", path,
                    lmf_magic_name(m), inside, wanted, advice[0] ? "; " : "", advice);
}

lmf_status lmf_source_read(lmf_ctx *ctx, const char *path, const char *wanted, lmf_buf *out)
{
    const char *name = name_of(path);
    LMF_TRY(read_bytes(ctx, path, out));
    lmf_magic m = lmf_magic_of(lmf_buf_str(out), out->n);
    bool packed = m == LMF_MAGIC_GZIP;
    if (packed) {
        lmf_buf plain;
        lmf_buf_init(&plain, ctx, out->max);
        lmf_status s = gunzip(ctx, name, out, &plain);
        lmf_buf_clear(out);
        *out = plain;
        LMF_TRY(s);
        m = lmf_magic_of(lmf_buf_str(out), out->n);
    }
    if (m == LMF_MAGIC_UTF8_BOM) {
        memmove(out->data, out->data + 3, out->n - 3);
        lmf_buf_truncate(out, out->n - 3);
        m = LMF_MAGIC_NONE;
    }
    return m == LMF_MAGIC_NONE ? LMF_OK : refuse_kind(ctx, name, wanted, m, packed ? " inside of gzip" : "");
}
