/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: nothing is ever dereferenced. Addresses start at 1 MiB and grow; none is handed out twice. */
#include "device/null/null.h"
#include <string.h>

typedef struct null_device {
    lmf_device base;
    uintptr_t  next;
    uintptr_t  last_begin;   /* of the newest allocation: the plan asks for the arena last */
    size_t     high_water;
} null_device;

struct lmf_stream { int unused; };

typedef struct span { uintptr_t begin, end; } span;

struct lmf_program {
    const lmf_call *calls;
    int             n, n_spans;
    size_t          bytes;
    span            written[];
};

extern const lmf_device_ops lmf_device_null;

static lmf_status null_open(lmf_ctx *ctx, int i_device, lmf_device **out)
{
    (void)i_device;
    null_device *d = lmf_new(ctx, null_device);
    *out = d ? &d->base : NULL;
    if (!d)
        return LMF_NO_MEMORY(ctx, sizeof *d, "the null device");
    d->next = 1 << 20;
    lmf_status s = lmf_device_init(&d->base, ctx, &lmf_device_null, 0);
    d->base.flags = LMF_DEVICE_NO_DATA;
    if (s) {
        lmf_delete(ctx, d);
        *out = NULL;
    }
    return s;
}

static void null_close(lmf_device *dev) { lmf_delete(dev->ctx, (null_device *)dev); }

static lmf_status null_memory(lmf_device *dev, size_t *free_bytes, size_t *total_bytes)
{
    *total_bytes = SIZE_MAX / 2;
    *free_bytes = *total_bytes - dev->asked_bytes;
    return LMF_OK;
}

static lmf_status null_alloc(lmf_device *dev, int pinned_host, size_t bytes, void **out)
{
    null_device *d = (null_device *)dev;
    *out = NULL;
    if (dev->sealed)
        return LMF_FAIL(dev->ctx, LMF_E_SEALED, "%zu bytes were asked of the null device after it was sealed", bytes);
    if (!pinned_host)
        d->last_begin = d->next;
    *out = (void *)d->next;
    d->next += (bytes + 4095) & ~(size_t)4095;
    *(pinned_host ? &dev->asked_host_bytes : &dev->asked_bytes) += bytes;
    return LMF_OK;
}

static void null_release(lmf_device *dev, int pinned_host, void *p, size_t bytes)
{
    (void)p;
    *(pinned_host ? &dev->asked_host_bytes : &dev->asked_bytes) -= bytes;
}

static lmf_status null_copy(lmf_device *d, lmf_stream *s, void *dst, const void *src, size_t n)
{
    (void)d, (void)s, (void)dst, (void)src, (void)n;
    return LMF_OK;
}

static lmf_status null_fill(lmf_device *d, lmf_stream *s, void *dst, int byte, size_t n)
{
    (void)d, (void)s, (void)dst, (void)byte, (void)n;
    return LMF_OK;
}

static lmf_status null_stream_create(lmf_device *dev, lmf_stream **out)
{
    *out = lmf_new(dev->ctx, lmf_stream);
    return *out ? LMF_OK : LMF_NO_MEMORY(dev->ctx, sizeof **out, "a stream");
}

static void null_stream_destroy(lmf_device *dev, lmf_stream *s) { lmf_delete(dev->ctx, s); }
static lmf_status null_stream_sync(lmf_device *d, lmf_stream *s) { (void)d, (void)s; return LMF_OK; }
static lmf_status null_event_record(lmf_device *d, lmf_stream *s, int i) { (void)d, (void)s, (void)i; return LMF_OK; }
static lmf_status null_event_sync(lmf_device *d, int i) { (void)d, (void)i; return LMF_OK; }
static const lmf_kernel *const *null_kernels(lmf_device *d, const char *op) { (void)d, (void)op; return NULL; }

static lmf_status null_program_create(lmf_device *dev, const lmf_call *calls, int n, bool eager, lmf_program **out)
{
    (void)eager;
    size_t bytes = sizeof(lmf_program) + (size_t)n * (LMF_MAX_OUT + 1) * sizeof(span);
    *out = lmf_alloc(dev->ctx, bytes);
    if (!*out)
        return LMF_NO_MEMORY(dev->ctx, bytes, "a program");
    (*out)->calls = calls;
    (*out)->n = n;
    (*out)->bytes = bytes;
    return LMF_OK;
}

static span span_of(const lmf_view *v)
{
    uintptr_t b = (uintptr_t)v->data;
    return (span){ b, b + lmf_format_bytes(v->fmt, lmf_view_count(v)) };
}

/* The newest write that touches x must be exactly x: else another tensor lies on its bytes. */
static lmf_status check_read(lmf_device *dev, const lmf_program *p, int i_call, int i_in, span x)
{
    for (int k = p->n_spans - 1; k >= 0 && x.begin < x.end; k--) {
        span w = p->written[k];
        if (w.end <= x.begin || w.begin >= x.end)
            continue;
        if (w.begin == x.begin && w.end == x.end)
            return LMF_OK;
        return LMF_FAIL(dev->ctx, LMF_E_INTERNAL, "input %d of call %d was overwritten before it was read: bytes %zu to %zu lie under %zu to %zu",
                        i_in, i_call, (size_t)x.begin, (size_t)x.end, (size_t)w.begin, (size_t)w.end);
    }
    if (x.begin == x.end)
        return LMF_OK;
    return LMF_FAIL(dev->ctx, LMF_E_INTERNAL, "input %d of call %d is read before anything wrote it", i_in, i_call);
}

static void note_write(null_device *d, lmf_program *p, span x)
{
    if (x.begin == x.end)
        return;
    p->written[p->n_spans++] = x;
    if (x.end - d->last_begin > d->high_water)
        d->high_water = x.end - d->last_begin;
}

static lmf_status null_program_launch(lmf_device *dev, lmf_stream *stream, lmf_program *p)
{
    null_device *d = (null_device *)dev;
    (void)stream;
    d->high_water = 0;
    p->n_spans = 0;
    for (int i = 0; i < p->n; i++) {
        const lmf_call *c = &p->calls[i];
        for (int k = 0; k < c->n_in; k++)
            if (c->in[k].n_dims && c->in[k].cls == LMF_STEP)
                LMF_TRY(check_read(dev, p, i, k, span_of(&c->in[k])));
        if (c->scratch_bytes)
            note_write(d, p, (span){ (uintptr_t)c->scratch, (uintptr_t)c->scratch + c->scratch_bytes });
        for (int k = 0; k < c->n_out; k++)
            if (c->out[k].cls == LMF_STEP)
                note_write(d, p, span_of(&c->out[k]));
        /* what the call itself reads must not lie under what it writes, but for results in place */
        for (int k = 0; k < c->n_in; k++)
            if (c->in[k].n_dims && c->in[k].cls == LMF_STEP)
                LMF_TRY(check_read(dev, p, i, k, span_of(&c->in[k])));
    }
    return LMF_OK;
}

static void null_program_destroy(lmf_device *dev, lmf_program *p) { lmf_free(dev->ctx, p, p->bytes); }

size_t lmf_null_high_water(const lmf_device *dev) { return ((const null_device *)dev)->high_water; }

const lmf_device_ops lmf_device_null = {
    .name = "null", .open = null_open, .close = null_close, .memory = null_memory, .alloc = null_alloc, .release = null_release,
    .copy = null_copy, .fill = null_fill, .stream_create = null_stream_create, .stream_destroy = null_stream_destroy,
    .stream_sync = null_stream_sync, .event_record = null_event_record, .event_sync = null_event_sync, .kernels = null_kernels,
    .program_create = null_program_create, .program_launch = null_program_launch, .program_destroy = null_program_destroy,
};
