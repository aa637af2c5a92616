/* SPDX-License-Identifier: Apache-2.0 */
#include "observe/events.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>

static const char version[] = "brain.Event:2", writer[] = "lmfast";

/* Castagnoli's polynomial, reflected. */
static uint32_t crc32c(const void *p, size_t n)
{
    uint32_t c = 0xffffffffu;
    for (const unsigned char *b = p; n--; b++) {
        c ^= *b;
        for (int k = 0; k < 8; k++)
            c = c >> 1 ^ (0x82f63b78u & (0u - (c & 1)));
    }
    return ~c;
}

static uint32_t masked(const void *p, size_t n)
{
    uint32_t c = crc32c(p, n);
    return (c >> 15 | c << 17) + 0xa282ead8u;
}

static void put_le(lmf_buf *b, uint64_t x, int n_bytes)
{
    for (int i = 0; i < n_bytes; i++)
        lmf_buf_putc(b, (char)(x >> 8 * i));
}

static uint64_t get_le(const char *p, int n_bytes)
{
    uint64_t x = 0;
    for (int i = 0; i < n_bytes; i++)
        x |= (uint64_t)(unsigned char)p[i] << 8 * i;
    return x;
}

static void put_varint(lmf_buf *b, uint64_t x)
{
    for (; x >= 128; x >>= 7)
        lmf_buf_putc(b, (char)(x | 128));
    lmf_buf_putc(b, (char)x);
}

enum { VARINT = 0, FIXED64 = 1, BYTES = 2, FIXED32 = 5 };
static void put_key(lmf_buf *b, int field, int kind) { put_varint(b, (uint64_t)(field << 3 | kind)); }

static void put_bytes(lmf_buf *b, int field, const void *p, size_t n)
{
    put_key(b, field, BYTES);
    put_varint(b, n);
    lmf_buf_append(b, p, n);
}

static void put_double(lmf_buf *b, int field, double x)
{
    uint64_t bits;
    memcpy(&bits, &x, sizeof bits);
    put_key(b, field, FIXED64);
    put_le(b, bits, 8);
}

static lmf_status put_record(lmf_buf *out, const lmf_buf *event)
{
    size_t at = out->n;
    put_le(out, event->n, 8);
    if (!out->status)
        put_le(out, masked(out->data + at, 8), 4);
    lmf_buf_append(out, lmf_buf_str(event), event->n);
    put_le(out, masked(lmf_buf_str(event), event->n), 4);
    return event->status ? event->status : out->status;
}

lmf_status lmf_events_begin(lmf_buf *out)
{
    lmf_buf e, source;
    lmf_buf_init(&e, out->ctx, 256);
    lmf_buf_init(&source, out->ctx, 64);
    put_bytes(&source, 1, writer, sizeof writer - 1);
    put_double(&e, 1, 0);
    put_bytes(&e, 3, version, sizeof version - 1);
    put_bytes(&e, 10, lmf_buf_str(&source), source.n);
    lmf_status s = source.status ? source.status : put_record(out, &e);
    lmf_buf_clear(&source);
    lmf_buf_clear(&e);
    return s;
}

static void put_scalar(lmf_buf *summary, lmf_buf *value, const char *key, double x)
{
    char tag[128];
    float f = (float)x;
    uint32_t bits;
    bool eval = strncmp(key, "eval_", 5) == 0;
    snprintf(tag, sizeof tag, "%s/%s", eval ? "eval" : "train", eval ? key + 5 : key);
    memcpy(&bits, &f, sizeof bits);
    lmf_buf_truncate(value, 0);
    put_bytes(value, 1, tag, strlen(tag));
    put_key(value, 2, FIXED32);
    put_le(value, bits, 4);
    put_bytes(summary, 1, lmf_buf_str(value), value->n);
}

static lmf_status put_line(const json_t *line, lmf_buf *out, lmf_buf *event, lmf_buf *summary, lmf_buf *value)
{
    const char *key;
    const json_t *v;
    lmf_buf_truncate(event, 0);
    lmf_buf_truncate(summary, 0);
    put_double(event, 1, json_number_value(json_object_get(line, "unix_time")));
    put_key(event, 2, VARINT);
    put_varint(event, (uint64_t)json_integer_value(json_object_get(line, "step")));
    json_object_foreach((json_t *)(uintptr_t)line, key, v)
        if (json_is_number(v) && strcmp(key, "step") && strcmp(key, "seconds") && !strstr(key, "unix"))
            put_scalar(summary, value, key, json_number_value(v));
    put_bytes(event, 5, lmf_buf_str(summary), summary->n);
    LMF_TRY(summary->status);
    LMF_TRY(value->status);
    return put_record(out, event);
}

lmf_status lmf_events_add(lmf_ctx *ctx, const char *log, size_t n, lmf_buf *out)
{
    lmf_buf event, summary, value;
    lmf_status s = LMF_OK;
    lmf_buf_init(&event, ctx, 1 << 20);
    lmf_buf_init(&summary, ctx, 1 << 20);
    lmf_buf_init(&value, ctx, 1 << 10);
    for (size_t at = 0, len; !s && at < n; at += len + 1) {
        const char *end = memchr(log + at, '\n', n - at);
        len = end ? (size_t)(end - log) - at : n - at;
        json_t *line = json_loadb(log + at, len, 0, NULL);
        if (json_is_integer(json_object_get(line, "step")))
            s = put_line(line, out, &event, &summary, &value);
        json_decref(line);
    }
    lmf_buf_clear(&event);
    lmf_buf_clear(&summary);
    lmf_buf_clear(&value);
    return s;
}

bool lmf_events_is_ours(const char *p, size_t n)
{
    bool first = true;
    while (n) {
        uint64_t len = n >= 12 ? get_le(p, 8) : 0;
        if (n < 12 || len > n - 12 || len + 16 > n)
            return !first; /* cut short */
        if (get_le(p + 8, 4) != masked(p, 8) || get_le(p + 12 + len, 4) != masked(p + 12, len))
            return false;
        if (first && (!memmem(p + 12, len, version, sizeof version - 1) || !memmem(p + 12, len, writer, sizeof writer - 1)))
            return false;
        first = false;
        p += len + 16;
        n -= len + 16;
    }
    return !first;
}
