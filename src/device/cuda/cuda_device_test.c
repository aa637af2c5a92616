/* SPDX-License-Identifier: Apache-2.0 */
/* The device cuda on a driver without a GPU (tests/gpu/fake_driver.c): what is called, refused and given back. What kernels
 * compute is tested on a GPU by test_cuda and lmf_tests --device cuda. */
#include <dlfcn.h>
#include <string.h>
#include "device/plugin.h"
#include "ops/rms_norm/rms_norm.h"
#include "test.h"

#ifdef LMF_FAKE_DRIVER

typedef struct fake_counts { int contexts, memory, pinned, streams, events, modules, graphs, launches, replays, capturing; size_t bytes; } fake_counts;

/* The dynamic linker takes the object with this soname that is loaded already: ours. */
static fake_counts *fake(void)
{
    void *lib = dlopen(LMF_FAKE_DRIVER, RTLD_NOW | RTLD_GLOBAL);
    if (!lib)
        fail_msg("%s", dlerror());
    fake_counts *(*counts)(void) = (fake_counts * (*)(void))(uintptr_t)dlsym(lib, "fake_cuda_counts");
    assert_non_null(counts);
    return counts();
}

static void assert_all_given_back(void)
{
    fake_counts *f = fake();
    assert_int_equal(f->contexts, 0);
    assert_int_equal(f->memory, 0);
    assert_int_equal(f->pinned, 0);
    assert_int_equal(f->streams, 0);
    assert_int_equal(f->events, 0);
    assert_int_equal(f->modules, 0);
    assert_int_equal(f->graphs, 0);
    assert_int_equal(f->capturing, 0);
}

static void done(lmf_ctx *ctx)
{
    lmf_plugin_close_all(ctx);
    lmf_test_ctx_done(ctx);
}

static void no_driver(void **state)
{
    (void)state;
    void *real = dlopen("libcuda.so.1", RTLD_NOW | RTLD_LOCAL);
    if (real)
        skip(); /* this machine has a driver */
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_device *dev = (lmf_device *)ctx;
    assert_refused(ctx, LMF_E_UNSUPPORTED, "no NVIDIA driver on this machine", lmf_device_open(ctx, "cuda", &dev));
    assert_null(dev);
    done(ctx);
}

static void refusals(void **state)
{
    (void)state;
    fake();
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_device *dev;
    assert_refused(ctx, LMF_E_NOT_FOUND, "the driver sees 1 GPU here; count from 0", lmf_device_open(ctx, "cuda:1", &dev));
    setenv("LMF_FAKE_DRIVER_VERSION", "12040", 1);
    assert_refused(ctx, LMF_E_UNSUPPORTED, "offers CUDA 12.4, this build needs 13.0", lmf_device_open(ctx, "cuda", &dev));
    unsetenv("LMF_FAKE_DRIVER_VERSION");
    setenv("LMF_FAKE_CAPABILITY", "61", 1);
    assert_refused(ctx, LMF_E_UNSUPPORTED, "compute capability 6.1; 7.5 is the least", lmf_device_open(ctx, "cuda", &dev));
    unsetenv("LMF_FAKE_CAPABILITY");
    done(ctx);
    assert_all_given_back();
}

static void memory(void **state)
{
    (void)state;
    fake_counts *f = fake();
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_device *dev;
    void *p, *host, *none = ctx;
    size_t free_bytes, total;
    assert_ok(ctx, lmf_device_open(ctx, "cuda:0", &dev));
    assert_int_equal(dev->features, 90);
    assert_int_equal(dev->flags, 0);
    assert_ok(ctx, dev->ops->alloc(dev, 0, 1000, &p));
    assert_ok(ctx, dev->ops->alloc(dev, 1, 500, &host));
    assert_int_equal(dev->asked_bytes, 1000);
    assert_int_equal(dev->asked_host_bytes, 500);
    assert_int_equal(f->memory, 1);
    assert_int_equal(f->pinned, 1);
    assert_ok(ctx, dev->ops->memory(dev, &free_bytes, &total));
    assert_true(free_bytes < total);
    assert_refused(ctx, LMF_E_MEMORY, "bytes are free: device cuda: cuMemAlloc: out of memory", dev->ops->alloc(dev, 0, total + 1, &none));
    assert_null(none);
    assert_int_equal(dev->asked_bytes, 1000);
    dev->sealed = true;
    assert_refused(ctx, LMF_E_SEALED, "64 bytes asked of the GPU after", dev->ops->alloc(dev, 0, 64, &none));
    assert_refused(ctx, LMF_E_SEALED, "64 bytes asked of pinned", dev->ops->alloc(dev, 1, 64, &none));
    memset(host, 7, 500);
    assert_ok(ctx, dev->ops->copy(dev, NULL, p, host, 500));
    assert_ok(ctx, dev->ops->fill(dev, NULL, host, 9, 100));
    assert_ok(ctx, dev->ops->copy(dev, NULL, host, p, 0));
    assert_int_equal(((char *)p)[499], 7);
    assert_int_equal(((char *)host)[99], 9);
    dev->ops->release(dev, 0, p, 1000);
    dev->ops->release(dev, 1, host, 500);
    dev->ops->release(dev, 1, NULL, 0);
    assert_int_equal(dev->asked_bytes + dev->asked_host_bytes, 0);
    lmf_device_close(dev);
    done(ctx);
    assert_all_given_back();
}

static void streams(void **state)
{
    (void)state;
    fake();
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_device *dev;
    lmf_stream *a, *b;
    assert_ok(ctx, lmf_device_open(ctx, "cuda", &dev));
    assert_ok(ctx, dev->ops->stream_create(dev, &a));
    assert_ok(ctx, dev->ops->stream_create(dev, &b));
    assert_ok(ctx, dev->ops->event_record(dev, a, 15));
    assert_ok(ctx, dev->ops->event_sync(dev, 15));
    assert_ok(ctx, dev->ops->stream_sync(dev, b));
    assert_refused(ctx, LMF_E_ARG, "event 16: they count from 0 to 15", dev->ops->event_record(dev, a, 16));
    assert_refused(ctx, LMF_E_ARG, "event -1", dev->ops->event_sync(dev, -1));
    dev->ops->stream_destroy(dev, a);
    dev->ops->stream_destroy(dev, b);
    dev->ops->stream_destroy(dev, NULL);
    lmf_device_close(dev);
    done(ctx);
    assert_all_given_back();
}

typedef struct norm { lmf_view in[4], out[2]; lmf_rms_norm_attrs attrs; lmf_call call; void *data; size_t bytes; } norm;

/* One rms_norm_bwd of [rows, 8] with all tensors in one allocation. */
static lmf_status norm_make(lmf_device *dev, int64_t rows, norm *n)
{
    int64_t dims[6][2] = { { rows, 8 }, { 8, 1 }, { rows, 1 }, { rows, 8 }, { rows, 8 }, { 8, 1 } };
    size_t at[7] = { 0 };
    memset(n, 0, sizeof *n);
    for (int i = 0; i < 6; i++) {
        lmf_view *v = i < 4 ? &n->in[i] : &n->out[i - 4];
        v->n_dims = dims[i][0] == rows && i != 2 ? 2 : 1;
        v->dim[0] = dims[i][0], v->dim[1] = dims[i][1];
        v->fmt = lmf_device_format(dev, LMF_F32);
        lmf_view_set_dense(v);
        at[i + 1] = at[i] + (size_t)(lmf_view_count(v) * 4 + 255) / 256 * 256;
    }
    n->attrs.eps = 1e-5f;
    n->call = (lmf_call){ .attrs = &n->attrs, .in = n->in, .out = n->out, .n_in = 4, .n_out = 2 };
    n->call.row = lmf_device_match(dev, "rms_norm_bwd", &n->call, 0);
    if (!n->call.row)
        return LMF_FAIL(dev->ctx, LMF_E_UNSUPPORTED, "no row");
    n->call.scratch_bytes = n->call.row->scratch(&n->call, dev);
    n->bytes = at[6] + n->call.scratch_bytes;
    LMF_TRY(dev->ops->alloc(dev, 0, n->bytes, &n->data));
    for (int i = 0; i < 6; i++)
        (i < 4 ? &n->in[i] : &n->out[i - 4])->data = (char *)n->data + at[i];
    n->call.scratch = (char *)n->data + at[6];
    return LMF_OK;
}

static void programs(void **state)
{
    (void)state;
    fake_counts *f = fake();
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_device *dev;
    lmf_program *p;
    norm n, empty;
    assert_ok(ctx, lmf_device_open(ctx, "cuda", &dev));
    assert_null(dev->ops->kernels(dev, "no_such_op"));
    assert_ok(ctx, norm_make(dev, 600, &n));
    assert_ok(ctx, norm_make(dev, 0, &empty));
    assert_int_equal(n.call.scratch_bytes, 3 * 8 * 4); /* pieces of 256 rows */
    lmf_call calls[] = { n.call, empty.call, n.call };
    for (int eager = 0; eager < 2; eager++) {
        f->launches = f->replays = 0;
        assert_ok(ctx, dev->ops->program_create(dev, calls, 3, eager, &p));
        assert_int_equal(f->launches, 0); /* making it runs nothing */
        assert_int_equal(f->capturing, 0);
        assert_int_equal(f->graphs, !eager);
        assert_int_equal(f->modules, 1);
        dev->sealed = true;
        for (int i = 0; i < 10; i++)
            assert_ok(ctx, dev->ops->program_launch(dev, NULL, p));
        assert_ok(ctx, dev->ops->stream_sync(dev, NULL));
        assert_int_equal(f->launches, 10 * (3 + 1 + 3)); /* dx and the pieces have no block where there are no rows */
        assert_int_equal(f->replays, eager ? 0 : 10);
        dev->ops->program_destroy(dev, p);
        assert_int_equal(f->graphs, 0);
        dev->sealed = false;
    }
    dev->ops->program_destroy(dev, NULL);
    dev->ops->release(dev, 0, n.data, n.bytes);
    dev->ops->release(dev, 0, empty.data, empty.bytes);
    lmf_device_close(dev);
    done(ctx);
    assert_all_given_back();
}

static lmf_status whole_life(lmf_ctx *ctx, void *arg)
{
    lmf_device *dev = NULL;
    lmf_stream *stream = NULL;
    lmf_program *p[2] = { NULL, NULL };
    size_t a, b;
    norm n = { .data = NULL };
    lmf_status s;
    (void)arg;
    LMF_TRY_TO(done, lmf_device_open(ctx, "cuda", &dev));
    LMF_TRY_TO(done, dev->ops->memory(dev, &a, &b));
    LMF_TRY_TO(done, dev->ops->stream_create(dev, &stream));
    LMF_TRY_TO(done, norm_make(dev, 300, &n));
    LMF_TRY_TO(done, dev->ops->fill(dev, stream, n.data, 0, n.bytes));
    LMF_TRY_TO(done, dev->ops->copy(dev, stream, n.data, (char *)n.data + 256, 256));
    for (int eager = 0; eager < 2; eager++) {
        LMF_TRY_TO(done, dev->ops->program_create(dev, &n.call, 1, eager, &p[eager]));
        LMF_TRY_TO(done, dev->ops->program_launch(dev, stream, p[eager]));
        LMF_TRY_TO(done, dev->ops->event_record(dev, stream, 0));
        LMF_TRY_TO(done, dev->ops->event_sync(dev, 0));
        LMF_TRY_TO(done, dev->ops->stream_sync(dev, stream));
    }
done:
    if (dev) {
        for (int i = 0; i < 2; i++)
            dev->ops->program_destroy(dev, p[i]);
        dev->ops->release(dev, 0, n.data, n.bytes);
        dev->ops->stream_destroy(dev, stream);
    }
    lmf_device_close(dev);
    lmf_plugin_close_all(ctx);
    if (fake()->contexts || fake()->memory || fake()->graphs || fake()->streams || fake()->modules || fake()->capturing)
        fail_msg("a failed run left %d contexts, %d allocations, %d graphs, %d streams, %d modules", fake()->contexts, fake()->memory,
                 fake()->graphs, fake()->streams, fake()->modules);
    return s;
}

static void each_call_fails_once(void **state)
{
    (void)state;
    fake();
    assert_true(lmf_test_fail_each_call(whole_life, NULL) > 50);
    assert_all_given_back();
}

#else
static void no_plugin(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_device *dev;
    assert_refused(ctx, LMF_E_NOT_FOUND, "no plug-in liblmfast-cuda.so", lmf_device_open(ctx, "cuda", &dev));
    lmf_plugin_close_all(ctx);
    lmf_test_ctx_done(ctx);
}
#endif

LMF_TESTS(cuda_device) = {
#ifdef LMF_FAKE_DRIVER
    { "no driver: a sentence", no_driver },
    { "which GPU and driver are refused", refusals },
    { "memory is counted, sealed and given back", memory },
    { "streams and events", streams },
    { "a program is captured or eager, with the same launches", programs },
    { "each driver call and allocation fails once", each_call_fails_once },
#else
    { "a build without nvcc says that there is no plug-in", no_plugin },
#endif
    { 0 }
};
