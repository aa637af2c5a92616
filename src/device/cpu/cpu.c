/* SPDX-License-Identifier: Apache-2.0 */
/* cpu: the device whose memory is the process's own. A program is cut into segments: a run of calls that the team walks
 * in steps, a new one at each call that depends on others and at each phase of a row, or one WHOLE call that brings its own threads.
 * Rule: launch is synchronous; streams and events are markers only. */
#include <stdatomic.h>
#include <string.h>
#include <sys/mman.h>
#include "base/cpu.h"
#include "base/team.h"
#include "device/device.h"
#include "device/plugin.h"

enum { MAX_TABLES = 8 };

typedef struct op_rows { const char *op; const lmf_kernel *tables[MAX_TABLES]; int n; } op_rows;

typedef struct cpu_device {
    lmf_device base;
    lmf_team  *team;
    op_rows   *rows; int n_rows;   /* by op: plug-in rows first, then ISA levels, best first; tables end with NULL */
} cpu_device;

struct lmf_stream { int unused; };

typedef struct segment { int first, n, first_step, n_steps; bool whole; } segment;
typedef struct step { int call, phase; } step; /* where it begins */

struct lmf_program {
    const lmf_call *calls;
    int             n_segments;
    size_t          bytes;
    lmf_team       *team;
    atomic_int      status;
    bool            eager, takes_turns; /* with WHOLE calls */
    step           *steps;
    segment         segments[];
};

static void cpu_close(lmf_device *dev)
{
    cpu_device *d = (cpu_device *)dev;
    lmf_ctx *ctx = dev->ctx;
    lmf_team_destroy(d->team);
    lmf_free(ctx, d->rows, (size_t)d->n_rows * sizeof *d->rows);
    lmf_delete(ctx, d);
}

static void add_rows(cpu_device *d, const struct lmf_cpu_rows *list)
{
    for (; list && list->op; list++) {
        int i = 0;
        while (i < d->n_rows && d->rows[i].op && strcmp(d->rows[i].op, list->op))
            i++;
        LMF_ASSERT(i < d->n_rows);
        d->rows[i].op = list->op;
        LMF_ASSERT(d->rows[i].n < MAX_TABLES - 1);
        d->rows[i].tables[d->rows[i].n++] = list->rows;
    }
}

static lmf_status collect_rows(cpu_device *d)
{
    lmf_ctx *ctx = d->base.ctx;
    const lmf_plugin *onednn;
    /* optional: without it our own rows serve; but a passing lack of memory may not choose the rows */
    lmf_status s = lmf_plugin_open(ctx, "onednn", &onednn);
    if (s == LMF_E_MEMORY)
        return s;
    const struct lmf_cpu_rows *fast = s ? NULL : onednn->rows;
    for (const struct lmf_cpu_rows *r = fast; r && r->op; r++)
        d->n_rows++;
    for (const struct lmf_cpu_rows *r = ctx->tables->cpu_rows; r->op; r++)
        d->n_rows++;
    if (d->n_rows == 0)
        return LMF_OK;
    d->rows = lmf_alloc(ctx, (size_t)d->n_rows * sizeof *d->rows);
    if (!d->rows)
        return LMF_NO_MEMORY(ctx, (size_t)d->n_rows * sizeof *d->rows, "the CPU's kernel rows");
    add_rows(d, fast);
    add_rows(d, ctx->tables->cpu_rows);
    return LMF_OK;
}

extern const lmf_device_ops lmf_device_cpu;

static lmf_status cpu_open(lmf_ctx *ctx, int i_device, lmf_device **out)
{
    *out = NULL;
    if (i_device != 0)
        return LMF_FAIL(ctx, LMF_E_ARG, "device cpu:%d: there is one CPU device, cpu", i_device);
    cpu_device *d = lmf_new(ctx, cpu_device);
    if (!d)
        return LMF_NO_MEMORY(ctx, sizeof *d, "the CPU device");
    lmf_status s = lmf_device_init(&d->base, ctx, &lmf_device_cpu, ctx->cpu_features);
    d->base.flags = LMF_DEVICE_HOST;
    d->base.n_workers = ctx->n_workers;
    if (!s)
        s = lmf_team_create(ctx, ctx->n_workers, &d->team);
    if (!s)
        s = collect_rows(d);
    if (s)
        cpu_close(&d->base);
    else
        *out = &d->base;
    return s;
}

static lmf_status cpu_memory(lmf_device *dev, size_t *free_bytes, size_t *total_bytes)
{
    size_t used = dev->asked_bytes + dev->asked_host_bytes;
    *total_bytes = (size_t)lmf_memory_limit();
    *free_bytes = *total_bytes > used ? *total_bytes - used : 0;
    return LMF_OK;
}

/* The allocation's start lies just before the aligned address that is handed out. */
enum { ALIGN = 256, HUGE_PAGE = 2 << 20 };

/* Products walk rows that lie pages apart: with 4 KiB pages they miss the TLB. A wish only: where it is refused nothing is lost. */
static void wish_huge_pages(char *p, size_t bytes)
{
    uintptr_t begin = ((uintptr_t)p + HUGE_PAGE - 1) & ~(uintptr_t)(HUGE_PAGE - 1), end = ((uintptr_t)p + bytes) & ~(uintptr_t)(HUGE_PAGE - 1);
    if (end > begin)
        (void)madvise((void *)begin, end - begin, MADV_HUGEPAGE);
}

static lmf_status cpu_alloc(lmf_device *dev, int pinned_host, size_t bytes, void **out)
{
    *out = NULL;
    if (dev->sealed)
        return LMF_FAIL(dev->ctx, LMF_E_SEALED, "%zu bytes were asked of the CPU device after it was sealed", bytes);
    if (bytes > SIZE_MAX - 2 * ALIGN)
        return LMF_NO_MEMORY(dev->ctx, bytes, "a tensor region");
    char *p = lmf_alloc(dev->ctx, bytes + 2 * ALIGN);
    if (!p)
        return LMF_NO_MEMORY(dev->ctx, bytes, "a tensor region");
    wish_huge_pages(p, bytes + 2 * ALIGN);
    char *q = (char *)(((uintptr_t)p + 2 * ALIGN - 1) & ~(uintptr_t)(ALIGN - 1));
    ((void **)q)[-1] = p;
    *(pinned_host ? &dev->asked_host_bytes : &dev->asked_bytes) += bytes;
    *out = q;
    return LMF_OK;
}

static void cpu_release(lmf_device *dev, int pinned_host, void *p, size_t bytes)
{
    if (!p)
        return;
    lmf_free(dev->ctx, ((void **)p)[-1], bytes + 2 * ALIGN);
    *(pinned_host ? &dev->asked_host_bytes : &dev->asked_bytes) -= bytes;
}

static lmf_status cpu_copy(lmf_device *dev, lmf_stream *s, void *dst, const void *src, size_t bytes)
{
    (void)dev, (void)s;
    memmove(dst, src, bytes);
    return LMF_OK;
}

static lmf_status cpu_fill(lmf_device *dev, lmf_stream *s, void *dst, int byte, size_t bytes)
{
    (void)dev, (void)s;
    memset(dst, byte, bytes);
    return LMF_OK;
}

static lmf_status cpu_stream_create(lmf_device *dev, lmf_stream **out)
{
    *out = lmf_new(dev->ctx, lmf_stream);
    return *out ? LMF_OK : LMF_NO_MEMORY(dev->ctx, sizeof **out, "a stream");
}

static void cpu_stream_destroy(lmf_device *dev, lmf_stream *s) { lmf_delete(dev->ctx, s); }
static lmf_status cpu_stream_sync(lmf_device *dev, lmf_stream *s) { (void)dev, (void)s; return LMF_OK; }
static lmf_status cpu_event_record(lmf_device *dev, lmf_stream *s, int i) { (void)dev, (void)s, (void)i; return LMF_OK; }
static lmf_status cpu_event_sync(lmf_device *dev, int i) { (void)dev, (void)i; return LMF_OK; }

static const lmf_kernel *const *cpu_kernels(lmf_device *dev, const char *op)
{
    cpu_device *d = (cpu_device *)dev;
    for (int i = 0; i < d->n_rows && d->rows[i].op; i++)
        if (strcmp(d->rows[i].op, op) == 0)
            return d->rows[i].tables;
    return NULL;
}

static int phases(const lmf_call *c) { return c->row->n_phases ? c->row->n_phases : 1; }

static int count_steps(const lmf_call *calls, int n)
{
    int n_steps = 0;
    for (int i = 0; i < n; i++)
        n_steps += phases(&calls[i]);
    return n_steps;
}

static void cut_steps(lmf_program *p)
{
    int n = 0;
    for (segment *s = p->segments; s < p->segments + p->n_segments; s++) {
        s->first_step = n;
        for (int i = 0; i < s->n; i++)
            for (int phase = 0; phase < phases(&p->calls[s->first + i]); phase++)
                if (i == 0 || phase || p->calls[s->first + i].barrier)
                    p->steps[n++] = (step){ s->first + i, phase };
        s->n_steps = n - s->first_step;
    }
}

static lmf_status program_create(lmf_device *dev, const lmf_call *calls, int n, bool eager, lmf_program **out)
{
    size_t head = sizeof(lmf_program) + (size_t)n * sizeof(segment), bytes = head + (size_t)count_steps(calls, n) * sizeof(step);
    lmf_program *p = lmf_alloc(dev->ctx, bytes);
    *out = p;
    if (!p)
        return LMF_NO_MEMORY(dev->ctx, bytes, "a program");
    p->calls = calls;
    p->bytes = bytes;
    p->team = ((cpu_device *)dev)->team;
    p->eager = eager;
    for (int i = 0; i < n; i++) {
        bool whole = calls[i].row->flags & LMF_ROW_WHOLE;
        p->takes_turns |= whole;
        segment *last = p->n_segments ? &p->segments[p->n_segments - 1] : NULL;
        if (last && !last->whole && !whole && !eager)
            last->n++;
        else
            p->segments[p->n_segments++] = (segment){ .first = i, .n = 1, .whole = whole };
    }
    p->steps = (step *)(void *)((char *)p + head);
    cut_steps(p);
    return LMF_OK;
}

typedef struct region { lmf_program *p; const segment *s; } region;

static void note(lmf_program *p, lmf_status s)
{
    int none = LMF_OK;
    if (s)
        atomic_compare_exchange_strong(&p->status, &none, s);
}

/* One worker's part of the calls from where the step begins to where the next one does. */
static void run_step(void *arg, int i_step, int i_part, int n_parts)
{
    region *r = arg;
    const step *at = &r->p->steps[r->s->first_step + i_step];
    lmf_worker w = { .i_worker = i_part, .n_workers = n_parts, .phase = at->phase };
    for (int i = at->call; i < r->s->first + r->s->n; i++, w.phase = 0) {
        const lmf_call *c = &r->p->calls[i];
        if (i > at->call && c->barrier)
            return;
        note(r->p, c->row->run(c, &w));
        if (w.phase + 1 < phases(c))
            return;
    }
}

static lmf_status program_launch(lmf_device *dev, lmf_stream *stream, lmf_program *p)
{
    (void)stream;
    atomic_store(&p->status, LMF_OK);
    for (int i = 0; i < p->n_segments; i++) {
        region r = { p, &p->segments[i] };
        if (r.s->whole) {
            const lmf_call *c = &p->calls[r.s->first];
            note(p, c->row->run(c, &(lmf_worker){ .n_workers = dev->n_workers }));
        } else {
            lmf_team_run_steps(p->team, r.s->n_steps, run_step, &r, p->takes_turns);
        }
    }
    lmf_status s = (lmf_status)atomic_load(&p->status);
    return s ? LMF_FAIL(dev->ctx, s, "a kernel failed on the CPU: %s", lmf_status_text(s)) : LMF_OK;
}

static void program_destroy(lmf_device *dev, lmf_program *p) { lmf_free(dev->ctx, p, p->bytes); }

const lmf_device_ops lmf_device_cpu = {
    .name = "cpu", .open = cpu_open, .close = cpu_close, .memory = cpu_memory, .alloc = cpu_alloc, .release = cpu_release,
    .copy = cpu_copy, .fill = cpu_fill, .stream_create = cpu_stream_create, .stream_destroy = cpu_stream_destroy,
    .stream_sync = cpu_stream_sync, .event_record = cpu_event_record, .event_sync = cpu_event_sync, .kernels = cpu_kernels,
    .program_create = program_create, .program_launch = program_launch, .program_destroy = program_destroy,
};
