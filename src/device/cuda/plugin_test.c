/* SPDX-License-Identifier: Apache-2.0 */
/* The loader of plug-ins against objects that have one thing wrong (tests/gpu/fake_plugin.c), and the device cuda on a
 * machine without a driver. */
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "device/plugin.h"
#include "test.h"

static void with_path(const char *path)
{
    if (path)
        setenv("LMFAST_PLUGIN_PATH", path, 1);
    else
        unsetenv("LMFAST_PLUGIN_PATH");
}

static void refuse(const char *name, lmf_status status, const char *words)
{
    lmf_ctx *ctx = lmf_test_ctx();
    const lmf_plugin *p = (const lmf_plugin *)ctx; /* must be zeroed */
    with_path(LMF_FAKE_PLUGINS);
    assert_refused(ctx, status, words, lmf_plugin_open(ctx, name, &p));
    with_path(NULL);
    assert_null(p);
    assert_null(lmf_plugin_at(ctx, 0));
    lmf_test_ctx_done(ctx);
}

static void other_struct_size(void **state) { (void)state; refuse("fakebytes", LMF_E_UNSUPPORTED, "another build: its lmf_plugin has"); }
static void other_view(void **state) { (void)state; refuse("fakeview", LMF_E_UNSUPPORTED, "another build: its lmf_view has"); }
static void other_hash(void **state) { (void)state; refuse("fakehash", LMF_E_UNSUPPORTED, "table hash is 0123456789ab"); }
static void other_name(void **state) { (void)state; refuse("fakename", LMF_E_UNSUPPORTED, "calls itself \"another\""); }
static void no_symbol(void **state) { (void)state; refuse("fakenosymbol", LMF_E_UNSUPPORTED, "has no lmf_plugin_get"); }
static void null_plugin(void **state) { (void)state; refuse("fakenull", LMF_E_UNSUPPORTED, "has no lmf_plugin_get"); }
static void no_file(void **state) { (void)state; refuse("fakeabsent", LMF_E_NOT_FOUND, "no plug-in liblmfast-fakeabsent.so"); }

static void not_an_object(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const lmf_plugin *p;
    char dir[4096];
    snprintf(dir, sizeof dir, "%s", lmf_test_path("plugins"));
    assert_int_equal(lmf_dir_create(ctx, dir), LMF_OK);
    char path[4200];
    snprintf(path, sizeof path, "%s/liblmfast-junk.so", dir);
    assert_int_equal(lmf_file_write(ctx, path, "junk", 4), LMF_OK);
    with_path(dir);
    assert_refused(ctx, LMF_E_UNSUPPORTED, "can't be opened", lmf_plugin_open(ctx, "junk", &p));
    with_path(NULL);
    lmf_test_ctx_done(ctx);
}

static void good(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const lmf_plugin *p, *again;
    with_path(LMF_FAKE_PLUGINS);
    setenv("LMF_FAKE_REFUSES", "1", 1);
    assert_refused(ctx, LMF_E_UNSUPPORTED, "the library behind it is not there", lmf_plugin_open(ctx, "fakegood", &p));
    unsetenv("LMF_FAKE_REFUSES");
    assert_ok(ctx, lmf_plugin_open(ctx, "fakegood", &p));
    assert_ok(ctx, lmf_plugin_open(ctx, "fakegood", &again));
    assert_ptr_equal(p, again);
    assert_ptr_equal(lmf_plugin_at(ctx, 0), p);
    assert_null(lmf_plugin_at(ctx, 1));
    lmf_device *dev;
    assert_refused(ctx, LMF_E_ARG, "brings no device", lmf_device_open(ctx, "fakegood", &dev));
    with_path(NULL);
    lmf_plugin_close_all(ctx);
    lmf_test_ctx_done(ctx);
}

static void device_names(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_device *dev;
    with_path(LMF_FAKE_PLUGINS); /* no liblmfast-cuda.so there */
    assert_refused(ctx, LMF_E_NOT_FOUND, "no plug-in liblmfast-cuda.so", lmf_device_open(ctx, "cuda", &dev));
    assert_null(dev);
    with_path(NULL);
    assert_refused(ctx, LMF_E_ARG, "expected cpu, cuda or cuda:N", lmf_device_open(ctx, "cuda:x", &dev));
    assert_refused(ctx, LMF_E_ARG, "expected cpu, cuda or cuda:N", lmf_device_open(ctx, "cuda:-1", &dev));
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(plugin) = {
    { "another struct size is refused", other_struct_size }, { "another view is refused", other_view },
    { "another table hash is refused", other_hash },         { "another name is refused", other_name },
    { "no entry symbol", no_symbol },                        { "an entry that returns NULL", null_plugin },
    { "no such file", no_file },                             { "a file that is no object", not_an_object },
    { "a good one opens once", good },                       { "names of devices", device_names },
    { 0 }
};
