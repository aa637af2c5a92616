/* SPDX-License-Identifier: Apache-2.0 */
/* test_cuda: the device cuda on a real GPU, in a program that needs glibc and the NVIDIA driver only. Each CUDA row against
 * the CPU's reference, the same bits captured and call by call, replays that take no memory, a sealed device, every driver
 * call failing once, and a lost context. Prints a line a check; returns 1 if any failed. tools/gpu_check.sh runs it.
 *
 *     test_cuda [cuda:N] */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/philox.h"
#include "device/plugin.h"
#include "graph/graph.h"
#include "ops/matmul/matmul.h"
#include "ops/rms_norm/rms_norm.h"
#include "quant/q4_k/q4_k.h"
#include "device/cuda/formats.h"
#include "registry/registry.h"

static int n_passed, n_failed; /* of this program: a test may count in globals */

static bool check(bool ok, const char *what, const char *detail)
{
    n_passed += ok, n_failed += !ok;
    if (!ok)
        printf("FAIL %s: %s\n", what, detail);
    return ok;
}
static bool check_ok(lmf_ctx *ctx, const char *what, lmf_status s) { return check(s == LMF_OK, what, s ? lmf_error(ctx) : ""); }

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- one op with its tensors on the host and on the device ---- */
typedef struct spec { uint16_t dtype; int n_dims; int64_t dim[3], row_stride; } spec; /* row_stride 0: dense */
enum { MOST = 6, FRESH = 1 << 21 };

typedef struct tensor { lmf_view host, dev; size_t bytes; } tensor;
typedef struct job {
    lmf_ctx    *ctx;
    lmf_device *dev;
    const lmf_op *op;
    lmf_graph  *g;
    lmf_node   *node;
    tensor      t[MOST];
    lmf_view    host[MOST], gpu[MOST]; /* inputs, then outputs */
    int         n_in, n_out;
    lmf_call    call;
    void       *scratch;
} job;

static const lmf_op *find_op(lmf_ctx *ctx, const char *name)
{
    for (const lmf_op *const *o = ctx->tables->ops; *o; o++)
        if (strcmp((*o)->name, name) == 0)
            return *o;
    return NULL;
}

static size_t span(const lmf_view *v)
{
    int64_t last = 1;
    for (int i = 0; i < v->n_dims; i++) {
        if (v->dim[i] == 0)
            return 0;
        last += (v->dim[i] - 1) * v->stride[i];
    }
    return lmf_format_bytes(v->fmt, (last + v->fmt->block - 1) / v->fmt->block * v->fmt->block);
}

static float draw(uint64_t stream, uint64_t i) /* mean 0, variance 1 */
{
    float s = 0;
    for (uint32_t k = 0; k < 4; k++)
        s += lmf_random_f32(7, k, (uint32_t)stream, i) - 0.5f;
    return s * 1.7320508f;
}

static lmf_status make_tensor(job *j, int i, const lmf_view *shape, int64_t row_stride, bool fill)
{
    tensor *t = &j->t[i];
    t->host = *shape;
    t->host.fmt = lmf_device_format(j->dev, shape->dtype);
    lmf_view_set_dense(&t->host);
    if (row_stride)
        t->host.stride[t->host.n_dims - 2] = row_stride;
    t->bytes = span(&t->host);
    t->host.data = lmf_alloc(j->ctx, t->bytes + 64);
    if (!t->host.data)
        return LMF_NO_MEMORY(j->ctx, t->bytes, "a test tensor");
    int64_t n = (int64_t)(t->bytes / t->host.fmt->block_bytes) * t->host.fmt->block, all = n;
    n = n > FRESH ? FRESH : n;
    if (fill && t->host.fmt->block > 1) {
        float block[256];
        for (int64_t k = 0; k < n; k += t->host.fmt->block) {
            for (int e = 0; e < t->host.fmt->block; e++)
                block[e] = draw((uint64_t)i, (uint64_t)(k + e));
            t->host.fmt->pack(block, (char *)t->host.data + lmf_format_bytes(t->host.fmt, k), t->host.fmt->block);
        }
    } else if (fill) {
        lmf_view flat = { .data = t->host.data, .fmt = t->host.fmt, .dim = { n }, .stride = { 1 }, .dtype = t->host.dtype, .n_dims = 1 };
        for (int64_t k = 0; k < n; k++)
            lmf_set(&flat, k, (double)draw((uint64_t)i, (uint64_t)k));
    }
    for (int64_t k = FRESH; fill && k < all; k += FRESH) /* large ones repeat themselves: they are timed, not compared */
        memcpy((char *)t->host.data + lmf_format_bytes(t->host.fmt, k), t->host.data, lmf_format_bytes(t->host.fmt, all - k < FRESH ? all - k : FRESH));
    t->dev = t->host;
    t->dev.data = NULL;
    LMF_TRY(j->dev->ops->alloc(j->dev, 0, t->bytes, &t->dev.data));
    return j->dev->ops->copy(j->dev, NULL, t->dev.data, t->host.data, t->bytes);
}

static void job_close(job *j)
{
    for (int i = 0; i < MOST; i++) {
        if (j->t[i].host.data)
            lmf_free(j->ctx, j->t[i].host.data, j->t[i].bytes + 64);
        j->dev->ops->release(j->dev, 0, j->t[i].dev.data, j->t[i].bytes);
    }
    j->dev->ops->release(j->dev, 0, j->scratch, j->call.scratch_bytes);
    lmf_graph_destroy(j->g);
}

static lmf_status job_open(job *j, lmf_device *dev, const char *op, const spec *in, int n_in, const void *attrs)
{
    lmf_tensor *leaf[MOST] = { NULL };
    *j = (job){ .ctx = dev->ctx, .dev = dev, .op = find_op(dev->ctx, op), .n_in = n_in };
    if (!j->op)
        return LMF_FAIL(dev->ctx, LMF_E_NOT_FOUND, "no op %s", op);
    LMF_TRY(lmf_graph_create(j->ctx, &j->g));
    for (int i = 0; i < n_in; i++) {
        char name[16];
        snprintf(name, sizeof name, "in%d", i);
        if (in[i].n_dims)
            leaf[i] = lmf_graph_tensor(j->g, LMF_INPUT, name, in[i].dtype, in[i].n_dims, in[i].dim);
    }
    j->node = lmf_node_add(LMF_AT(j->g), j->op, attrs, leaf, n_in);
    if (!j->node)
        return j->g->status;
    j->n_out = j->op->n_out;
    for (int i = 0; i < n_in; i++)
        if (leaf[i])
            LMF_TRY(make_tensor(j, i, &leaf[i]->v, in[i].row_stride, true));
    for (int i = 0; i < j->n_out; i++)
        LMF_TRY(make_tensor(j, n_in + i, &j->node->out[i]->v, 0, false));
    for (int i = 0; i < n_in + j->n_out; i++)
        j->host[i] = j->t[i].host, j->gpu[i] = j->t[i].dev;
    j->call = (lmf_call){ .attrs = j->node->attrs, .in = j->gpu, .out = j->gpu + n_in, .n_in = (uint8_t)n_in, .n_out = (uint8_t)j->n_out };
    j->call.row = lmf_device_match(dev, op, &j->call, 0);
    if (!j->call.row)
        return LMF_FAIL(j->ctx, LMF_E_UNSUPPORTED, "no CUDA row takes this %s", op);
    size_t bytes = j->call.row->scratch ? j->call.row->scratch(&j->call, dev) : 0;
    if (bytes) {
        LMF_TRY(dev->ops->alloc(dev, 0, bytes, &j->scratch));
        j->call.scratch = j->scratch;
        j->call.scratch_bytes = bytes;
    }
    return LMF_OK;
}

/* The host's answer into the host tensors: by the reference, or by the CPU's rows where that would take too long. */
static lmf_status host_answer(job *j, lmf_device *cpu, bool by_rows)
{
    lmf_program *p;
    lmf_call c = j->call;
    c.in = j->host, c.out = j->host + j->n_in, c.ref = j->op->ref;
    if (!by_rows)
        return j->op->ref(&c);
    c.row = lmf_device_match(cpu, j->op->name, &c, 0);
    c.scratch_bytes = c.row && c.row->scratch ? c.row->scratch(&c, cpu) : 0;
    void *scratch = lmf_alloc(j->ctx, c.scratch_bytes + 64);
    if (!scratch)
        return LMF_NO_MEMORY(j->ctx, c.scratch_bytes, "scratch");
    c.scratch = (void *)(((uintptr_t)scratch + 63) & ~(uintptr_t)63);
    lmf_status s = c.row->prepare ? c.row->prepare(&c, cpu) : LMF_OK;
    if (!s)
        s = cpu->ops->program_create(cpu, &c, 1, false, &p);
    if (!s) {
        s = cpu->ops->program_launch(cpu, NULL, p);
        cpu->ops->program_destroy(cpu, p);
    }
    if (c.row->release)
        c.row->release(&c);
    lmf_free(j->ctx, scratch, c.scratch_bytes + 64);
    return s;
}

/* Runs the call once and gives the outputs' bytes, one behind another, in *out (of total bytes). */
static lmf_status gpu_answer(job *j, bool eager, int n_runs, char *out)
{
    lmf_device *d = j->dev;
    lmf_program *p;
    LMF_TRY(d->ops->program_create(d, &j->call, 1, eager, &p));
    lmf_status s = LMF_OK;
    for (int i = 0; i < j->n_out && !s; i++)
        s = d->ops->fill(d, NULL, j->gpu[j->n_in + i].data, 0xff, j->t[j->n_in + i].bytes);
    for (int i = 0; i < n_runs && !s; i++)
        s = d->ops->program_launch(d, NULL, p);
    for (int i = 0; i < j->n_out && !s; out += j->t[j->n_in + i++].bytes)
        s = d->ops->copy(d, NULL, out, j->gpu[j->n_in + i].data, j->t[j->n_in + i].bytes);
    lmf_status sync = d->ops->stream_sync(d, NULL);
    d->ops->program_destroy(d, p);
    return s ? s : sync;
}

static void compare(job *j, const char *name, const char *got, double tol)
{
    char text[256];
    for (int i = 0; i < j->n_out; i++) {
        lmf_view want = j->host[j->n_in + i], have = want;
        have.data = (void *)(uintptr_t)got;
        got += j->t[j->n_in + i].bytes;
        double most = 0, worst = 0;
        int64_t n = lmf_view_count(&want), at = 0;
        for (int64_t e = 0; e < n; e++)
            most = fmax(most, fabs(lmf_get(&want, e)));
        for (int64_t e = 0; e < n; e++) {
            double d = fabs(lmf_get(&want, e) - lmf_get(&have, e));
            if (!(d <= worst))
                worst = isnan(d) ? INFINITY : d, at = e;
        }
        snprintf(text, sizeof text, "%s out[%d] element %lld: %.9g, not %.9g (%.2g of the greatest, %.2g allowed)", j->call.row->name, i, (long long)at,
                 n ? lmf_get(&have, at) : 0, n ? lmf_get(&want, at) : 0, worst / most, tol);
        check(worst <= tol * most, name, text);
    }
}

typedef struct row_case { const char *op, *name; spec in[4]; int n_in; const void *attrs; bool big; double tol; } row_case;

static const lmf_rms_norm_attrs eps = { 1e-5f };
#define MM(name, ta, tb, alpha, compute) static const lmf_matmul_attrs name = { ta, tb, alpha, compute }
MM(nt, 0, 1, 1, 0); MM(nn, 0, 0, 1, 0); MM(tn, 1, 0, 0.5f, 0); MM(tt, 1, 1, 1, 0); MM(fast, 0, 1, 2, 1);
#define F(...) LMF_F32, sizeof((int64_t[]){ __VA_ARGS__ }) / 8, { __VA_ARGS__ }
#define T(dtype, ...) { dtype, sizeof((int64_t[]){ __VA_ARGS__ }) / 8, { __VA_ARGS__ }, 0 }

static const row_case cases[] = {
    { "rms_norm", "rms_norm 3x576", { { F(3, 576) }, { F(576) } }, 2, &eps, false, 2e-6 },
    { "rms_norm", "rms_norm 5x37", { { F(5, 37) }, { F(37) } }, 2, &eps, false, 2e-6 },
    { "rms_norm", "rms_norm 1x1", { { F(1, 1) }, { F(1) } }, 2, &eps, false, 2e-6 },
    { "rms_norm", "rms_norm 2x3x16", { { F(2, 3, 16) }, { F(16) } }, 2, &eps, false, 2e-6 },
    { "rms_norm", "rms_norm strided", { { F(4, 24), 40 }, { F(24) } }, 2, &eps, false, 2e-6 },
    { "rms_norm", "rms_norm 513x2048", { { F(513, 2048) }, { F(2048) } }, 2, &eps, true, 4e-6 },
    { "rms_norm", "rms_norm no rows", { { F(0, 16) }, { F(16) } }, 2, &eps, false, 0 },
    { "rms_norm_bwd", "rms_norm_bwd 5x37", { { F(5, 37) }, { F(37) }, { F(5) }, { F(5, 37) } }, 4, &eps, false, 4e-6 },
    { "rms_norm_bwd", "rms_norm_bwd 700x129", { { F(700, 129) }, { F(129) }, { F(700) }, { F(700, 129) } }, 4, &eps, false, 1e-5 },
    { "rms_norm_bwd", "rms_norm_bwd no rows", { { F(0, 129) }, { F(129) }, { F(0) }, { F(0, 129) } }, 4, &eps, false, 0 },
    { "add", "add 7x1030", { { F(7, 1030) }, { F(7, 1030) } }, 2, NULL, false, 0 },
    { "add", "add one row", { { F(2, 33, 65) }, { F(65) } }, 2, NULL, false, 0 },
    { "add", "add strided", { { F(5, 30), 32 }, { F(5, 30), 48 } }, 2, NULL, false, 0 },
    { "sum_rows", "sum_rows 5x7", { { F(5, 7) } }, 1, NULL, false, 1e-6 },
    { "sum_rows", "sum_rows 1025x130", { { F(1025, 130) } }, 1, NULL, false, 1e-5 },
    { "swiglu", "swiglu 9x1536", { { F(9, 1536) }, { F(9, 1536) } }, 2, NULL, false, 2e-6 },
    { "swiglu", "swiglu strided", { { F(9, 37), 80 }, { F(9, 37), 80 } }, 2, NULL, false, 2e-6 },
    { "swiglu_bwd", "swiglu_bwd 9x1537", { { F(9, 1537) }, { F(9, 1537) }, { F(9, 1537) } }, 3, NULL, false, 2e-6 },
    { "matmul", "matmul nt 5x37x19", { { F(5, 37) }, { F(19, 37) }, { 0 } }, 3, &nt, false, 2e-6 },
    { "matmul", "matmul nn 65x129x70", { { F(65, 129) }, { F(129, 70) }, { F(70) } }, 3, &nn, false, 4e-6 },
    { "matmul", "matmul tn 129x65x70, c", { { F(129, 65) }, { F(129, 70) }, { F(65, 70) } }, 3, &tn, false, 4e-6 },
    { "matmul", "matmul tt 129x65x70", { { F(129, 65) }, { F(70, 129) }, { 0 } }, 3, &tt, false, 4e-6 },
    { "matmul", "matmul strided", { { F(5, 24), 40 }, { F(7, 24), 32 }, { F(5, 7), 8 } }, 3, &nt, false, 2e-6 },
    { "matmul", "matmul 1 dim", { { F(19) }, { F(7, 19) }, { F(7) } }, 3, &nt, false, 2e-6 },
    { "matmul", "matmul sum of nothing", { { F(3, 0) }, { F(7, 0) }, { F(3, 7) } }, 3, &nt, false, 0 },
    { "matmul", "matmul no rows", { { F(0, 16) }, { F(7, 16) }, { 0 } }, 3, &nt, false, 0 },
    { "matmul", "matmul 300x576x1536", { { F(300, 576) }, { F(1536, 576) }, { F(1536) } }, 3, &nt, true, 1e-5 },
    { "matmul", "matmul f16", { { F(5, 96) }, T(LMF_F16, 67, 96), { 0 } }, 3, &nt, false, 4e-6 },
    { "matmul", "matmul bf16 a", { T(LMF_BF16, 5, 96), { F(67, 96) }, { 0 } }, 3, &nt, false, 4e-6 },
    { "matmul", "matmul q4_0 nn", { { F(5, 19) }, T(LMF_Q4_0, 19, 96), { 0 } }, 3, &nn, false, 4e-6 },
    { "matmul", "matmul q4_1", { { F(70, 576) }, T(LMF_Q4_1, 67, 576), { F(67) } }, 3, &nt, false, 4e-6 },
    { "matmul", "matmul q8_0 left, tt", { T(LMF_Q8_0, 19, 96), { F(7, 19) }, { 0 } }, 3, &tt, false, 4e-6 },
    { "matmul", "matmul few f32", { { F(1, 577) }, { F(53, 577) }, { F(53) } }, 3, &fast, false, 4e-6 },
    { "matmul", "matmul few f16", { { F(8, 577) }, T(LMF_F16, 53, 577), { F(8, 53) } }, 3, &fast, false, 4e-6 },
    { "matmul", "matmul few bf16", { { F(3, 100) }, T(LMF_BF16, 53, 100), { 0 } }, 3, &fast, false, 4e-6 },
    { "matmul", "matmul few q4_0", { { F(2, 576) }, T(LMF_Q4_0, 53, 576), { 0 } }, 3, &fast, false, 4e-6 },
    { "matmul", "matmul few q4_1", { { F(5, 576) }, T(LMF_Q4_1, 53, 576), { 0 } }, 3, &fast, false, 4e-6 },
    { "matmul", "matmul few q8_0", { { F(7, 576) }, T(LMF_Q8_0, 53, 576), { 0 } }, 3, &fast, false, 4e-6 },
    { "matmul", "matmul 9 rows, fast", { { F(9, 576) }, T(LMF_Q8_0, 53, 576), { 0 } }, 3, &fast, false, 4e-6 },
};

static void run_case(lmf_device *dev, lmf_device *cpu, const row_case *c)
{
    job j;
    lmf_ctx *ctx = dev->ctx;
    if (!check_ok(ctx, c->name, job_open(&j, dev, c->op, c->in, c->n_in, c->attrs))) {
        job_close(&j);
        return;
    }
    size_t bytes = 1;
    for (int i = 0; i < j.n_out; i++)
        bytes += j.t[j.n_in + i].bytes;
    char *captured = lmf_alloc(ctx, bytes), *eager = lmf_alloc(ctx, bytes);
    if (check(captured && eager, c->name, "out of memory") && check_ok(ctx, c->name, host_answer(&j, cpu, c->big)) &&
        check_ok(ctx, c->name, gpu_answer(&j, false, 3, captured)) && check_ok(ctx, c->name, gpu_answer(&j, true, 1, eager))) {
        compare(&j, c->name, captured, c->tol);
        check(memcmp(captured, eager, bytes) == 0, c->name, "captured and eager differ");
    }
    lmf_free(ctx, captured, bytes);
    lmf_free(ctx, eager, bytes);
    job_close(&j);
}

/* Each format that kernels read (src/quant/NAME/NAME.cuh), unpacked and in few rows. */
static void run_formats(lmf_device *dev, lmf_device *cpu)
{
    static const char *const names[] = {
#define NAME(name, dtype) #name,
        LMF_EACH_FORMAT(NAME)
#undef NAME
    };
    char text[64];
    for (size_t i = 0; i < 2 * (sizeof names / sizeof *names); i++) {
        const lmf_format *f = lmf_format_find(dev->ctx, names[i / 2]);
        snprintf(text, sizeof text, "matmul %s%s", i % 2 ? "few " : "", names[i / 2]);
        row_case c = { "matmul", text, { { F(7, 768) }, { 0, 2, { 53, 768 }, 0 }, { 0 } }, 3, i % 2 ? &fast : &nt, false, 4e-6 };
        if (check(f != NULL, text, "no such format in src/quant")) {
            c.in[1].dtype = f->dtype;
            run_case(dev, cpu, &c);
        }
    }
}

/* A row of y is the same however many rows there are (LMF_ROW_INVARIANT). */
static void invariance(lmf_device *dev)
{
    char *one = NULL, *many = NULL;
    size_t n_one = 0, n_many = 0;
    for (int k = 0; k < 2; k++) {
        job j;
        spec in[] = { { F(k ? 131 : 1, 577) }, { F(70, 577) }, { 0 } };
        in[0].dim[0] = k ? 131 : 1;
        if (check_ok(dev->ctx, "invariance", job_open(&j, dev, "matmul", in, 3, &nt))) {
            size_t *n = k ? &n_many : &n_one;
            char **out = k ? &many : &one;
            *n = j.t[3].bytes;
            *out = lmf_alloc(dev->ctx, *n);
            check(j.call.row->flags & LMF_ROW_INVARIANT, "invariance", "the row does not say so");
            if (*out)
                check_ok(dev->ctx, "invariance", gpu_answer(&j, false, 1, *out));
        }
        job_close(&j);
    }
    check(one && many && memcmp(one, many, n_one) == 0, "invariance", "the first row of 131 differs from it alone");
    lmf_free(dev->ctx, one, n_one);
    lmf_free(dev->ctx, many, n_many);
}

/* 1,000 replays of a program take nothing, anywhere. */
static void replays(lmf_device *dev)
{
    job j;
    lmf_program *p = NULL;
    lmf_ctx *ctx = dev->ctx;
    char text[160];
    size_t free0, free1, total;
    spec in[] = { { F(700, 129) }, { F(129) }, { F(700) }, { F(700, 129) } };
    if (check_ok(ctx, "replays", job_open(&j, dev, "rms_norm_bwd", in, 4, &eps)) &&
        check_ok(ctx, "replays", dev->ops->program_create(dev, &j.call, 1, false, &p))) {
        dev->sealed = true;
        size_t asked = dev->asked_bytes, live = ctx->live_bytes;
        lmf_status s = dev->ops->memory(dev, &free0, &total);
        for (int i = 0; i < 1000 && !s; i++)
            s = dev->ops->program_launch(dev, NULL, p);
        check_ok(ctx, "replays", s);
        check_ok(ctx, "replays", dev->ops->stream_sync(dev, NULL));
        check_ok(ctx, "replays", dev->ops->memory(dev, &free1, &total));
        snprintf(text, sizeof text, "free on the GPU %zu before, %zu after", free0, free1);
        check(free0 == free1, "replays", text);
        check(dev->asked_bytes == asked && ctx->live_bytes == live, "replays", "memory was asked for");
        void *none;
        check(dev->ops->alloc(dev, 0, 64, &none) == LMF_E_SEALED && !none, "sealed", "a sealed device gave device memory");
        check(dev->ops->alloc(dev, 1, 64, &none) == LMF_E_SEALED && !none, "sealed", "a sealed device gave pinned memory");
        dev->sealed = false;
        check(dev->ops->alloc(dev, 0, total + 1, &none) == LMF_E_MEMORY && strstr(lmf_error(ctx), "bytes asked of the GPU"), "out of memory", lmf_error(ctx));
    }
    dev->ops->program_destroy(dev, p);
    job_close(&j);
}

/* ---- every call failing once ---- */
typedef struct fault { int countdown, error; } fault;
static int fail_nth(void *user, lmf_site site)
{
    fault *f = user;
    (void)site;
    return f->countdown > 0 && --f->countdown == 0 ? f->error : 0;
}

static lmf_status whole_life(lmf_ctx *ctx, const char *name)
{
    lmf_device *dev = NULL;
    lmf_stream *stream = NULL;
    lmf_program *p[2] = { NULL };
    job j = { 0 };
    spec in[] = { { F(300, 129) }, { F(129) } };
    lmf_status s = lmf_device_open(ctx, name, &dev);
    if (s)
        return s;
    s = job_open(&j, dev, "rms_norm", in, 2, &eps);
    if (!s)
        s = dev->ops->stream_create(dev, &stream);
    for (int eager = 0; eager < 2 && !s; eager++) {
        s = dev->ops->program_create(dev, &j.call, 1, eager, &p[eager]);
        if (!s)
            s = dev->ops->program_launch(dev, stream, p[eager]);
        if (!s)
            s = dev->ops->event_record(dev, stream, 3);
        if (!s)
            s = dev->ops->event_sync(dev, 3);
        if (!s)
            s = dev->ops->stream_sync(dev, stream);
    }
    lmf_status last = dev->ops->stream_sync(dev, NULL); /* nothing may run when its memory goes */
    s = s ? s : last;
    for (int i = 0; i < 2; i++)
        dev->ops->program_destroy(dev, p[i]);
    dev->ops->stream_destroy(dev, stream);
    job_close(&j);
    lmf_device_close(dev);
    return s;
}

static void failures(lmf_device *dev, const char *name)
{
    lmf_ctx *ctx;
    char text[160];
    size_t free0 = 0, free1 = 0, total;
    int n = 0;
    if (!check(lmf_ctx_create(&ctx) == LMF_OK, "failures", "no context"))
        return;
    check_ok(ctx, "failures", whole_life(ctx, name)); /* opens the plug-in and what the driver keeps for good */
    size_t live = ctx->live_bytes;
    check_ok(dev->ctx, "failures", dev->ops->memory(dev, &free0, &total));
    for (n = 1; n < 2000; n++) {
        fault f = { n, n & 1 ? ENOMEM : EIO };
        ctx->fault = fail_nth, ctx->fault_user = &f;
        lmf_status s = whole_life(ctx, name);
        ctx->fault = NULL;
        snprintf(text, sizeof text, "call %d: %s, %zu bytes live instead of %zu", n, lmf_status_name(s), ctx->live_bytes, live);
        if (!check(ctx->live_bytes == live, "failures", text))
            break;
        if (f.countdown > 0)
            break;
        check(s != LMF_OK && *lmf_error(ctx), "failures", text);
    }
    check(n > 60 && n < 2000, "failures", "the sweep did not end where it should");
    check_ok(dev->ctx, "failures", dev->ops->memory(dev, &free1, &total));
    snprintf(text, sizeof text, "free on the GPU %zu before, %zu after", free0, free1);
    check(free0 == free1, "failures leave nothing on the GPU", text);
    printf("failures: %d calls failed once\n", n - 1);
    lmf_ctx_destroy(ctx);
}

/* ---- figures ---- */
static void speed(lmf_device *dev, const char *what, const char *op, const spec *in, int n_in, const void *attrs)
{
    job j;
    lmf_program *p = NULL;
    double flops = 0, bytes = 0;
    if (check_ok(dev->ctx, what, job_open(&j, dev, op, in, n_in, attrs)) &&
        check_ok(dev->ctx, what, dev->ops->program_create(dev, &j.call, 1, false, &p))) {
        if (j.op->cost)
            j.op->cost(j.node, &flops, &bytes);
        double best = 1e9;
        for (int k = 0; k < 5; k++) {
            double t = now();
            for (int i = 0; i < 20; i++)
                dev->ops->program_launch(dev, NULL, p);
            dev->ops->stream_sync(dev, NULL);
            t = (now() - t) / 20;
            best = k && t < best ? t : best;
        }
        printf("speed: %-28s %-26s %9.1f us %8.2f TFLOP/s %8.1f GB/s\n", what, j.call.row->name, 1e6 * best, 1e-12 * flops / best, 1e-9 * bytes / best);
    }
    dev->ops->program_destroy(dev, p);
    job_close(&j);
}

static void launch_overhead(lmf_device *dev)
{
    job j;
    static lmf_call calls[500];
    spec in[] = { { F(1, 64) }, { F(1, 64) } };
    if (check_ok(dev->ctx, "launches", job_open(&j, dev, "add", in, 2, NULL))) {
        for (int i = 0; i < 500; i++)
            calls[i] = j.call;
        for (int eager = 0; eager < 2; eager++) {
            lmf_program *p;
            if (!check_ok(dev->ctx, "launches", dev->ops->program_create(dev, calls, 500, eager, &p)))
                break;
            double t = 0;
            for (int k = 0; k < 3; k++) {
                t = now();
                dev->ops->program_launch(dev, NULL, p);
                dev->ops->stream_sync(dev, NULL);
                t = now() - t;
            }
            printf("speed: 500 tiny calls, %s: %.2f us a call\n", eager ? "eager" : "captured", 1e6 * t / 500);
            dev->ops->program_destroy(dev, p);
        }
    }
    job_close(&j);
}

/* Last of all: this process can't use the GPU after it. */
static void lost_context(lmf_ctx *ctx, lmf_device *dev)
{
    job j;
    lmf_program *p = NULL;
    spec in[] = { { F(8, 64) }, { F(8, 64) } };
    if (!check_ok(ctx, "lost context", job_open(&j, dev, "add", in, 2, NULL)))
        return;
    void *a = j.gpu[0].data;
    j.gpu[0].data = (void *)(uintptr_t)64;
    if (check_ok(ctx, "lost context", dev->ops->program_create(dev, &j.call, 1, false, &p))) {
        lmf_status s = dev->ops->program_launch(dev, NULL, p);
        if (!s)
            s = dev->ops->stream_sync(dev, NULL);
        check(s == LMF_E_DEVICE && strstr(lmf_error(ctx), "context is lost"), "lost context", lmf_error(ctx));
        check(dev->ops->program_launch(dev, NULL, p) == LMF_E_DEVICE, "lost context", "the next launch did not fail");
        printf("lost context: \"%s\"\n", lmf_error(ctx));
    }
    j.gpu[0].data = a;
    dev->ops->program_destroy(dev, p);
    job_close(&j);
}

int main(int argc, char **argv)
{
    const char *name = argc > 1 ? argv[1] : "cuda";
    lmf_ctx *ctx;
    lmf_device *dev = NULL, *cpu = NULL;
    size_t free_bytes, total;
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    if (lmf_ctx_create(&ctx))
        return 2;
    double t = now();
    if (!check_ok(ctx, "open", lmf_device_open(ctx, name, &dev)) || !check_ok(ctx, "open", lmf_device_open(ctx, "cpu", &cpu)) ||
        !check_ok(ctx, "memory", dev->ops->memory(dev, &free_bytes, &total)))
        return 1;
    printf("open: %.2f s; capability %d; %s; %.2f GB free of %.2f; driver and context take %.1f MB\n", now() - t, (int)dev->features,
           lmf_plugin_at(ctx, 0)->version, 1e-9 * (double)free_bytes, 1e-9 * (double)total, 1e-6 * (double)dev->library_bytes);
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        run_case(dev, cpu, &cases[i]);
    run_formats(dev, cpu);
    invariance(dev);
    replays(dev);
    printf("rows, bits, replays: %d passed, %d failed; driver, context and kernels take %.1f MB\n", n_passed, n_failed, 1e-6 * (double)dev->library_bytes);
    failures(dev, name);
    speed(dev, "matmul nt 2048^3", "matmul", (spec[]){ { F(2048, 2048) }, { F(2048, 2048) }, { 0 } }, 3, &nt);
    speed(dev, "matmul 1x2048, 8192, f32", "matmul", (spec[]){ { F(1, 2048) }, { F(8192, 2048) }, { 0 } }, 3, &fast);
    speed(dev, "matmul 1x2048, 32768, bf16", "matmul", (spec[]){ { F(1, 2048) }, T(LMF_BF16, 32768, 2048), { 0 } }, 3, &fast);
    speed(dev, "matmul 1x2048, 32768, q8_0", "matmul", (spec[]){ { F(1, 2048) }, T(LMF_Q8_0, 32768, 2048), { 0 } }, 3, &fast);
    speed(dev, "matmul 1x2048, 32768, q4_0", "matmul", (spec[]){ { F(1, 2048) }, T(LMF_Q4_0, 32768, 2048), { 0 } }, 3, &fast);
    speed(dev, "rms_norm 8192x2048", "rms_norm", (spec[]){ { F(8192, 2048) }, { F(2048) } }, 2, &eps);
    speed(dev, "rms_norm_bwd 8192x2048", "rms_norm_bwd", (spec[]){ { F(8192, 2048) }, { F(2048) }, { F(8192) }, { F(8192, 2048) } }, 4, &eps);
    speed(dev, "swiglu 8192x2048", "swiglu", (spec[]){ { F(8192, 2048) }, { F(8192, 2048) } }, 2, NULL);
    speed(dev, "add 8192x2048", "add", (spec[]){ { F(8192, 2048) }, { F(8192, 2048) } }, 2, NULL);
    launch_overhead(dev);
    lost_context(ctx, dev);
    lmf_device_close(cpu);
    lmf_device_close(dev);
    lmf_plugin_close_all(ctx);
    check(ctx->live_bytes == 0, "end", "host memory was not given back");
    lmf_ctx_destroy(ctx);
    printf("test_cuda: %d passed, %d failed in %.1f s\n", n_passed, n_failed, now() - t);
    return n_failed ? 1 : 0;
}
