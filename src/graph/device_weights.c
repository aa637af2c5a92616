/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: an address that was given out holds until the last borrower has gone: regions are added, never moved. */
#include "graph/device_weights.h"
#include "base/checked.h"

enum { ALIGN = 256 };

typedef struct region { struct region *next; void *at; size_t bytes; } region;

struct lmf_device_weights {
    lmf_device  *dev;
    lmf_weights *set;
    int32_t      n_borrowers;
    uint64_t     version;        /* of the set, which the copies are of */
    void       **at; int32_t n;  /* [n] by index in set->items */
    region      *regions;
    size_t       bytes;
    lmf_device_weights *next;    /* on this device */
};

lmf_status lmf_device_weights_borrow(lmf_device *dev, lmf_weights *set, lmf_device_weights **out)
{
    lmf_device_weights *w = dev->weights;
    *out = NULL;
    while (w && w->set != set)
        w = w->next;
    if (w) {
        LMF_TRY(lmf_device_weights_update(w));
    } else {
        w = lmf_new(dev->ctx, lmf_device_weights);
        if (!w)
            return LMF_NO_MEMORY(dev->ctx, sizeof *w, "weights on a device");
        w->dev = dev;
        w->set = set;
        w->version = set->version;
        w->next = dev->weights;
        dev->weights = w;
    }
    w->n_borrowers++;
    *out = w;
    return LMF_OK;
}

void lmf_device_weights_return(lmf_device_weights *w)
{
    if (!w || --w->n_borrowers > 0)
        return;
    lmf_ctx *ctx = w->dev->ctx;
    lmf_device_weights **link = &w->dev->weights;
    while (*link != w)
        link = &(*link)->next;
    *link = w->next;
    for (region *r = w->regions, *next; r; r = next) {
        next = r->next;
        w->dev->ops->release(w->dev, 0, r->at, r->bytes);
        lmf_delete(ctx, r);
    }
    lmf_free(ctx, w->at, (size_t)w->n * sizeof *w->at);
    lmf_delete(ctx, w);
}

/* Whether the device works on the set's own bytes. */
static bool in_place(const lmf_device_weights *w) { return (w->dev->flags & LMF_DEVICE_HOST && !w->set->dev) || w->set->dev == w->dev; }

static size_t item_bytes(const lmf_device_weights *w, int32_t i)
{
    const lmf_view *v = &w->set->items[i].v;
    return lmf_format_bytes(v->fmt, lmf_view_count(v));
}

/* Room for as many addresses as the set has tensors now. */
static lmf_status grow(lmf_device_weights *w)
{
    int32_t n = w->set->n;
    if (n <= w->n)
        return LMF_OK;
    void **at = lmf_realloc(w->dev->ctx, w->at, (size_t)w->n * sizeof *at, (size_t)n * sizeof *at);
    if (!at)
        return LMF_NO_MEMORY(w->dev->ctx, (size_t)n * sizeof *at, "the addresses of weights");
    w->at = at;
    w->n = n;
    return LMF_OK;
}

static lmf_status add_region(lmf_device_weights *w, size_t bytes, char **at)
{
    region *r = lmf_new(w->dev->ctx, region);
    if (!r)
        return LMF_NO_MEMORY(w->dev->ctx, sizeof *r, "weights on a device");
    lmf_status s = w->dev->ops->alloc(w->dev, 0, bytes, &r->at);
    if (s) {
        lmf_delete(w->dev->ctx, r);
        return lmf_fail_prefix(w->dev->ctx, s, "%zu bytes for weights", bytes);
    }
    r->bytes = bytes;
    r->next = w->regions;
    w->regions = r;
    w->bytes += bytes;
    *at = r->at;
    return LMF_OK;
}

lmf_status lmf_device_weights_bring(lmf_device_weights *w, const int32_t *item, int32_t n, size_t *bytes)
{
    lmf_device *d = w->dev;
    char *at = NULL;
    *bytes = 0;
    if (w->set->dev && !in_place(w))
        return LMF_FAIL(d->ctx, LMF_E_UNSUPPORTED, "weights on a device of their own can't be brought to another (%s); share the device",
                        d->ops->name);
    LMF_TRY(grow(w));
    for (int32_t i = 0; i < n; i++) {
        LMF_ASSERT(item[i] >= 0 && item[i] < w->n);
        if (in_place(w))
            w->at[item[i]] = w->set->items[item[i]].v.data;
        else if (!w->at[item[i]])
            *bytes += lmf_align_up(item_bytes(w, item[i]), ALIGN);
    }
    if (!*bytes)
        return LMF_OK;
    LMF_TRY(add_region(w, *bytes, &at));
    lmf_status s = LMF_OK;
    for (int32_t i = 0; i < n && !s; i++) {
        size_t own = item_bytes(w, item[i]);
        if (w->at[item[i]])
            continue;
        w->at[item[i]] = at;
        s = d->ops->copy(d, NULL, at, w->set->items[item[i]].v.data, own);
        at += lmf_align_up(own, ALIGN);
    }
    lmf_status sync = d->ops->stream_sync(d, NULL);
    s = s ? s : sync;
    for (int32_t i = 0; i < n && s; i++) /* other borrowers must not take these for copies */
        if ((char *)w->at[item[i]] >= (char *)w->regions->at && (char *)w->at[item[i]] < (char *)w->regions->at + *bytes)
            w->at[item[i]] = NULL;
    return s;
}

void *lmf_device_weights_at(const lmf_device_weights *w, int32_t item) { return item < w->n ? w->at[item] : NULL; }
size_t lmf_device_weights_bytes(const lmf_device_weights *w) { return w->bytes; }
int32_t lmf_device_weights_n_borrowers(const lmf_device_weights *w) { return w->n_borrowers; }

lmf_status lmf_device_weights_update(lmf_device_weights *w)
{
    lmf_device *d = w->dev;
    if (w->version == w->set->version)
        return LMF_OK;
    lmf_status s = LMF_OK;
    for (int32_t i = 0; i < w->n && !s && !in_place(w); i++)
        if (w->at[i])
            s = d->ops->copy(d, NULL, w->at[i], w->set->items[i].v.data, item_bytes(w, i));
    lmf_status sync = d->ops->stream_sync(d, NULL);
    LMF_TRY(s);
    LMF_TRY(sync);
    w->version = w->set->version;
    return LMF_OK;
}
