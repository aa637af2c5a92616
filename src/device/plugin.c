/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: nothing of a plug-in is called or read past struct_bytes before the handshake has passed. */
#include "device/plugin.h"
#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "lmf_tables_hash.h" /* generated: LMF_TABLES_HASH */

enum { MAX_PLUGINS = 8 };
typedef struct plugins {
    int n;
    struct { void *handle; const lmf_plugin *plugin; char name[16]; lmf_status refused; } item[MAX_PLUGINS];
} plugins;

static lmf_status check(lmf_ctx *ctx, const char *path, const char *name, const lmf_plugin *p)
{
    const struct { const char *what; uint32_t theirs, ours; } sizes[] = {
        { "lmf_view", p->view_bytes, sizeof(lmf_view) },       { "lmf_call", p->call_bytes, sizeof(lmf_call) },
        { "lmf_kernel", p->kernel_bytes, sizeof(lmf_kernel) }, { "lmf_device", p->device_bytes, sizeof(lmf_device) },
        { "lmf_ctx", p->ctx_bytes, sizeof(lmf_ctx) },
    };
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        if (sizes[i].theirs != sizes[i].ours)
            return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "%s is of another build: its %s has %u bytes, ours %u; build both together",
                            path, sizes[i].what, sizes[i].theirs, sizes[i].ours);
    if (strcmp(p->tables_hash, LMF_TABLES_HASH))
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "%s is of another build: its table hash is %.12s, ours %.12s; build both together",
                        path, p->tables_hash, LMF_TABLES_HASH);
    if (strcmp(p->name, name))
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "%s calls itself \"%s\", not \"%s\"", path, p->name, name);
    return p->init ? p->init(ctx) : LMF_OK;
}

/* The folder of the running program, without a trailing slash. */
static bool program_dir(char *text, size_t n)
{
    ssize_t r = readlink("/proc/self/exe", text, n - 1);
    if (r <= 0)
        return false;
    text[r] = 0;
    char *slash = strrchr(text, '/');
    if (!slash)
        return false;
    *slash = 0;
    return true;
}

/* The folder of the file that this code was loaded from, links followed: liblmfast.so's, where the program is another's (Python). */
static bool own_dir(char *text, size_t n)
{
    Dl_info info;
    char path[PATH_MAX];
    if (!dladdr((const void *)(uintptr_t)lmf_plugin_open, &info) || !info.dli_fname || !realpath(info.dli_fname, path))
        return false;
    char *slash = strrchr(path, '/');
    if (!slash || (size_t)(slash - path) >= n)
        return false;
    *slash = 0;
    memcpy(text, path, (size_t)(slash - path) + 1);
    return true;
}

/* Plug-ins call back into what loaded them. A library that was opened for one caller alone (as Python does) is not seen by them until
 * it is opened for all. */
static void show_own_symbols(void)
{
    Dl_info info;
    if (dladdr((const void *)(uintptr_t)lmf_plugin_open, &info) && info.dli_fname)
        (void)dlopen(info.dli_fname, RTLD_NOW | RTLD_NOLOAD | RTLD_GLOBAL); /* the program itself: NULL, and seen already */
}

static bool find_file(const char *name, char *path, size_t n)
{
    char exe[3072];
    const char *dir = getenv("LMFAST_PLUGIN_PATH");
    if (dir) {
        snprintf(path, n, "%s/liblmfast-%s.so", dir, name);
        return lmf_path_stat(path) == LMF_PATH_FILE;
    }
    if (own_dir(exe, sizeof exe)) {
        snprintf(path, n, "%s/liblmfast-%s.so", exe, name);
        if (lmf_path_stat(path) == LMF_PATH_FILE)
            return true;
    }
    if (!program_dir(exe, sizeof exe))
        return false;
    snprintf(path, n, "%s/liblmfast-%s.so", exe, name);
    if (lmf_path_stat(path) == LMF_PATH_FILE)
        return true;
    snprintf(path, n, "%s/../lib/liblmfast-%s.so", exe, name);
    return lmf_path_stat(path) == LMF_PATH_FILE;
}

static lmf_status load(lmf_ctx *ctx, const char *name, void **handle, const lmf_plugin **out)
{
    char path[4096];
    if (!find_file(name, path, sizeof path))
        return LMF_FAIL(ctx, LMF_E_NOT_FOUND, "no plug-in liblmfast-%s.so beside the program or in LMFAST_PLUGIN_PATH", name);
    show_own_symbols();
    *handle = dlopen(path, RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE); /* its threads and thread-locals outlive it: never unmapped */
    if (!*handle)
        return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "the plug-in %s can't be opened: %s", path, dlerror());
    lmf_plugin_get_fn get = (lmf_plugin_get_fn)(uintptr_t)dlsym(*handle, "lmf_plugin_get");
    const lmf_plugin *p = get ? get() : NULL;
    lmf_status s;
    if (!p)
        s = LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "%s is no plug-in of LMFast: it has no lmf_plugin_get", path);
    else if (p->struct_bytes != sizeof *p)
        s = LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "%s is of another build: its lmf_plugin has %u bytes, ours %zu; build both together",
                     path, p->struct_bytes, sizeof *p);
    else
        s = check(ctx, path, name, p);
    if (s) {
        dlclose(*handle);
        *handle = NULL;
        return s;
    }
    *out = p;
    return LMF_OK;
}

lmf_status lmf_plugin_open(lmf_ctx *ctx, const char *name, const lmf_plugin **out)
{
    plugins *ps = ctx->plugins;
    *out = NULL;
    if (!ps) {
        ps = ctx->plugins = lmf_new(ctx, plugins);
        if (!ps)
            return LMF_NO_MEMORY(ctx, sizeof *ps, "the list of plug-ins");
    }
    for (int i = 0; i < ps->n; i++)
        if (strcmp(ps->item[i].name, name) == 0) {
            *out = ps->item[i].plugin;
            return LMF_OK;
        }
    if (ps->n == MAX_PLUGINS)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "at most %d plug-ins can be open", MAX_PLUGINS);
    LMF_TRY(load(ctx, name, &ps->item[ps->n].handle, &ps->item[ps->n].plugin));
    snprintf(ps->item[ps->n].name, sizeof ps->item[ps->n].name, "%s", name);
    *out = ps->item[ps->n++].plugin;
    return LMF_OK;
}

const lmf_plugin *lmf_plugin_at(const lmf_ctx *ctx, int i)
{
    const plugins *ps = ctx->plugins;
    return ps && i >= 0 && i < ps->n ? ps->item[i].plugin : NULL;
}

void lmf_plugin_close_all(lmf_ctx *ctx)
{
    plugins *ps = ctx->plugins;
    for (int i = 0; ps && i < ps->n; i++)
        dlclose(ps->item[i].handle);
    if (ps)
        lmf_delete(ctx, ps);
    ctx->plugins = NULL;
}
