/* SPDX-License-Identifier: Apache-2.0 */
/* "far": the CPU made to look like a card of its own. Weights, inputs and outputs have to be copied there and are counted, and
 * nothing is done before somebody waits for it: who reads an answer too early, or fills an input that is still to be read, gets
 * wrong numbers.
 *
 *     far_tables(ctx);  lmf_device_open(ctx, "far", &dev);  ...  far_now.n_copies */
#ifndef LMF_GRAPH_FAR_DEVICE_TEST_H
#define LMF_GRAPH_FAR_DEVICE_TEST_H
#include <string.h>
#include "device/device.h"
#include "test.h"

enum { FAR_QUEUE = 4096, FAR_EVENTS = LMF_DEVICE_EVENTS };
typedef struct far_work { int kind, byte; void *dst; const void *src; size_t bytes; lmf_program *program; } far_work;
typedef struct far_state {
    const lmf_device_ops *cpu;
    far_work queue[FAR_QUEUE];
    int64_t  n, done, mark[FAR_EVENTS];  /* works queued and done since the device was opened; an event stands behind so many */
    int      n_copies, n_waits;
    size_t   copy_bytes, longest;        /* longest: most works that were waiting at once */
} far_state;
static far_state far_now;                /* of this program: a test may count in globals */
static lmf_device_ops far_ops;

static inline lmf_status far_run_to(lmf_device *dev, int64_t n)
{
    lmf_status s = LMF_OK;
    for (; far_now.done < n && !s; far_now.done++) {
        const far_work *w = &far_now.queue[far_now.done % FAR_QUEUE];
        if (w->kind == 2)
            s = far_now.cpu->program_launch(dev, NULL, w->program);
        else if (w->kind == 1)
            memset(w->dst, w->byte, w->bytes);
        else
            memmove(w->dst, w->src, w->bytes);
    }
    return s;
}

static inline lmf_status far_add(lmf_device *dev, far_work w)
{
    if (far_now.n - far_now.done == FAR_QUEUE)
        LMF_TRY(far_run_to(dev, far_now.done + 1));
    far_now.queue[far_now.n++ % FAR_QUEUE] = w;
    if ((size_t)(far_now.n - far_now.done) > far_now.longest)
        far_now.longest = (size_t)(far_now.n - far_now.done);
    return LMF_OK;
}

static inline lmf_status far_copy(lmf_device *dev, lmf_stream *s, void *dst, const void *src, size_t bytes)
{
    (void)s;
    far_now.n_copies++, far_now.copy_bytes += bytes;
    return far_add(dev, (far_work){ .dst = dst, .src = src, .bytes = bytes });
}

static inline lmf_status far_fill(lmf_device *dev, lmf_stream *s, void *dst, int byte, size_t bytes)
{
    (void)s;
    return far_add(dev, (far_work){ .kind = 1, .dst = dst, .byte = byte, .bytes = bytes });
}

static inline lmf_status far_launch(lmf_device *dev, lmf_stream *s, lmf_program *p)
{
    (void)s;
    return far_add(dev, (far_work){ .kind = 2, .program = p });
}

static inline lmf_status far_sync(lmf_device *dev, lmf_stream *s)
{
    (void)s;
    far_now.n_waits++;
    return far_run_to(dev, far_now.n);
}

static inline lmf_status far_event_record(lmf_device *dev, lmf_stream *s, int i)
{
    (void)dev, (void)s;
    far_now.mark[i] = far_now.n;
    return LMF_OK;
}

static inline lmf_status far_event_sync(lmf_device *dev, int i) { return far_run_to(dev, far_now.mark[i]); }

static inline void far_release(lmf_device *dev, int pinned, void *p, size_t bytes)
{
    far_run_to(dev, far_now.n);
    far_now.cpu->release(dev, pinned, p, bytes);
}

static inline void far_program_destroy(lmf_device *dev, lmf_program *p)
{
    far_run_to(dev, far_now.n);
    far_now.cpu->program_destroy(dev, p);
}

static inline lmf_status far_open(lmf_ctx *ctx, int i_device, lmf_device **out)
{
    lmf_status s = far_now.cpu->open(ctx, i_device, out);
    if (s)
        return s;
    far_now = (far_state){ .cpu = far_now.cpu };
    (*out)->ops = &far_ops;
    (*out)->flags = 0;
    return LMF_OK;
}

/* The context knows the device from now on. */
static inline void far_tables(lmf_ctx *ctx)
{
    static const lmf_device_ops *devices[16];
    static lmf_tables tables;
    int n = 0;
    for (; ctx->tables->devices[n]; n++) {
        assert_true(n < 14);
        devices[n] = ctx->tables->devices[n];
        if (strcmp(devices[n]->name, "cpu") == 0)
            far_now.cpu = devices[n];
    }
    far_ops = *far_now.cpu;
    far_ops.name = "far", far_ops.open = far_open, far_ops.copy = far_copy, far_ops.fill = far_fill, far_ops.program_launch = far_launch;
    far_ops.event_record = far_event_record, far_ops.event_sync = far_event_sync;
    far_ops.stream_sync = far_sync, far_ops.release = far_release, far_ops.program_destroy = far_program_destroy;
    devices[n] = &far_ops, devices[n + 1] = NULL;
    tables = *ctx->tables;
    tables.devices = devices;
    ctx->tables = &tables;
}

#endif
