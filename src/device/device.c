/* SPDX-License-Identifier: Apache-2.0 */
#include "device/device.h"
#include <stdio.h>
#include <string.h>
#include "base/number.h"
#include "device/plugin.h"

static lmf_status run_ref(const lmf_call *c, const lmf_worker *w)
{
    return w->i_worker == 0 ? c->ref(c) : LMF_OK;
}

const lmf_kernel lmf_kernel_ref = { .name = "ref", .flags = LMF_ROW_ANY_WORKERS | LMF_ROW_INVARIANT, .run = run_ref };

lmf_status lmf_device_init(lmf_device *dev, lmf_ctx *ctx, const lmf_device_ops *ops, uint64_t features)
{
    size_t n = 0;
    dev->ctx = ctx;
    dev->ops = ops;
    dev->features = features;
    dev->n_workers = 1;
    for (const lmf_format *const *f = ctx->tables->formats; *f; f++) {
        if (n == sizeof dev->formats / sizeof *dev->formats)
            return LMF_FAIL(ctx, LMF_E_INTERNAL, "more than %zu formats: enlarge lmf_device.formats", n);
        dev->formats[n++] = lmf_format_resolve(ctx, *f, features);
    }
    return LMF_OK;
}

const lmf_format *lmf_device_format(const lmf_device *dev, uint16_t dtype)
{
    for (size_t i = 0; i < sizeof dev->formats / sizeof *dev->formats && dev->formats[i].name; i++)
        if (dev->formats[i].dtype == dtype)
            return &dev->formats[i];
    return NULL;
}

static bool dtypes_match(const lmf_kernel *row, const lmf_call *c)
{
    if (!row->dtypes)
        return true;
    for (int i = 0; i < c->n_in + c->n_out; i++) {
        const lmf_view *v = i < c->n_in ? &c->in[i] : &c->out[i - c->n_in];
        if (v->n_dims && row->dtypes[i] != LMF_ANY && row->dtypes[i] != v->dtype)
            return false;
    }
    return true;
}

/* CPU rows name feature bits; other devices name the least capability. */
static bool needs_met(const lmf_device *dev, const lmf_kernel *row)
{
    if (dev->flags & LMF_DEVICE_HOST)
        return (row->needs & ~dev->features) == 0;
    return row->needs <= dev->features;
}

const lmf_kernel *lmf_device_match(lmf_device *dev, const char *op, const lmf_call *call, uint32_t need_flags)
{
    const lmf_kernel *const *tables = dev->ops->kernels(dev, op);
    for (; tables && *tables; tables++)
        for (const lmf_kernel *row = *tables; row->name; row++)
            if ((need_flags & ~row->flags) == 0 && needs_met(dev, row) && dtypes_match(row, call) && (!row->match || row->match(call, dev)))
                return row;
    return (dev->flags & (LMF_DEVICE_HOST | LMF_DEVICE_NO_DATA)) && call->ref ? &lmf_kernel_ref : NULL;
}

lmf_status lmf_device_event_take(lmf_device *dev, int *i_event)
{
    for (*i_event = 0; *i_event < LMF_DEVICE_EVENTS; ++*i_event)
        if (!(dev->events >> *i_event & 1)) {
            dev->events |= 1u << *i_event;
            return LMF_OK;
        }
    return LMF_FAIL(dev->ctx, LMF_E_LIMIT, "device %s: all %d events are taken; fewer plans with two slots fit on it", dev->ops->name,
                    LMF_DEVICE_EVENTS);
}

void lmf_device_event_give(lmf_device *dev, int i_event) { dev->events &= ~(1u << i_event); }

enum { KIND_BYTES = 16 };

/* "cuda:1" is the kind "cuda" and the number 1; without a number, 0. */
static lmf_status split_name(lmf_ctx *ctx, const char *name, char kind[KIND_BYTES], int *i_device)
{
    int64_t number = 0;
    const char *colon = strchr(name, ':');
    size_t n = colon ? (size_t)(colon - name) : strlen(name);
    bool word = n < KIND_BYTES && strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_") == n;
    if (!word || (colon && (!lmf_number_is(colon + 1, &number) || number > INT32_MAX)))
        return LMF_FAIL(ctx, LMF_E_ARG, "device \"%.40s\": expected cpu, cuda or cuda:N", name);
    memcpy(kind, name, n);
    kind[n] = 0;
    *i_device = (int)number;
    return LMF_OK;
}

lmf_status lmf_device_check_name(lmf_ctx *ctx, const char *name)
{
    char kind[KIND_BYTES];
    int i_device;
    LMF_TRY(split_name(ctx, name, kind, &i_device));
    return kind[0] ? LMF_OK : LMF_FAIL(ctx, LMF_E_ARG, "device \"%.40s\": expected cpu, cuda or cuda:N", name);
}

lmf_status lmf_device_open(lmf_ctx *ctx, const char *name, lmf_device **out)
{
    char kind[KIND_BYTES];
    int i_device;
    *out = NULL;
    LMF_TRY(split_name(ctx, name, kind, &i_device));
    for (const lmf_device_ops *const *d = ctx->tables->devices; *d; d++)
        if (strcmp((*d)->name, kind) == 0)
            return (*d)->open(ctx, i_device, out);
    const lmf_plugin *plugin;
    LMF_TRY(lmf_plugin_open(ctx, kind, &plugin));
    if (!plugin->device)
        return LMF_FAIL(ctx, LMF_E_ARG, "device \"%s\": the plug-in of that name brings no device", kind);
    return plugin->device->open(ctx, i_device, out);
}

void lmf_device_close(lmf_device *dev)
{
    if (dev)
        dev->ops->close(dev);
}
