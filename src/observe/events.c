/* SPDX-License-Identifier: Apache-2.0 */
#include "observe/events.h"
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include "base/wire.h"

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

static uint64_t get_le(const char *p, int n_bytes)
{
    uint64_t x = 0;
    for (int i = 0; i < n_bytes; i++)
        x |= (uint64_t)(unsigned char)p[i] << 8 * i;
    return x;
}

static lmf_status put_record(lmf_buf *out, const lmf_buf *event)
{
    size_t at = out->n;
    lmf_wire_le(out, event->n, 8);
    if (!out->status)
        lmf_wire_le(out, masked(out->data + at, 8), 4);
    lmf_buf_append(out, lmf_buf_str(event), event->n);
    lmf_wire_le(out, masked(lmf_buf_str(event), event->n), 4);
    return event->status ? event->status : out->status;
}

lmf_status lmf_events_begin(lmf_buf *out)
{
    lmf_buf e, source;
    lmf_buf_init(&e, out->ctx, 256);
    lmf_buf_init(&source, out->ctx, 64);
    lmf_wire_bytes(&source, 1, writer, sizeof writer - 1);
    lmf_wire_double(&e, 1, 0);
    lmf_wire_bytes(&e, 3, version, sizeof version - 1);
    lmf_wire_bytes(&e, 10, lmf_buf_str(&source), source.n);
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
    lmf_wire_bytes(value, 1, tag, strlen(tag));
    lmf_wire_key(value, 2, LMF_WIRE_FIXED32);
    lmf_wire_le(value, bits, 4);
    lmf_wire_bytes(summary, 1, lmf_buf_str(value), value->n);
}

static lmf_status put_line(const json_t *line, lmf_buf *out, lmf_buf *event, lmf_buf *summary, lmf_buf *value)
{
    const char *key;
    const json_t *v;
    lmf_buf_truncate(event, 0);
    lmf_buf_truncate(summary, 0);
    lmf_wire_double(event, 1, json_number_value(json_object_get(line, "unix_time")));
    lmf_wire_key(event, 2, LMF_WIRE_VARINT);
    lmf_wire_varint(event, (uint64_t)json_integer_value(json_object_get(line, "step")));
    json_object_foreach((json_t *)(uintptr_t)line, key, v)
        if (json_is_number(v) && strcmp(key, "step") && strcmp(key, "seconds") && !strstr(key, "unix"))
            put_scalar(summary, value, key, json_number_value(v));
    lmf_wire_bytes(event, 5, lmf_buf_str(summary), summary->n);
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
