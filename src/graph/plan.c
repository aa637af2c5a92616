/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: every byte a program touches belongs to one `store` (a named tensor), to the arena, or to a weight; addresses are
 * computed in one place (address_of), after everything has its offset. */
#include "graph/plan.h"
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/checked.h"
#include "graph/device_weights.h"
#include "graph/place.h"

enum { ALIGN = 256, MAX_GRAPHS = 32, MAX_IO_GAP = 16384 };

typedef struct store {               /* one named tensor of the plan */
    const char *name;
    lmf_view    v;                   /* of the first graph that has it */
    const lmf_tensor *tensor;
    uint8_t     cls;
    bool        handed;              /* OUTPUT of some graphs, INPUT of others: stays on the device */
    size_t      bytes, offset;       /* in its region; largest over the graphs */
    int32_t     i_set, item;         /* WEIGHT: where it was found */
} store;

typedef struct io_span { size_t offset, bytes; } io_span;

typedef struct graph_plan {
    lmf_graph  *g;
    lmf_call   *calls; int n_calls;
    lmf_view   *views;               /* of all calls, in order */
    const char **op_names;
    lmf_node  **nodes;
    int32_t    *store_of;            /* tensor index -> store, -1 for STEP; owners only */
    lmf_place_item *items;           /* tensors, then scratch of calls */
    size_t      step_bytes, scratch_bytes;
    io_span    *span; int n_in_spans, n_spans; /* of the io region: what the host gives to a run, then what it gets */
    lmf_program *program;
    lmf_program **each;              /* profile: one program a call */
    double     *seconds;
    int64_t     n_runs;
    lmf_placed *placed; int n_placed;
} graph_plan;

struct lmf_plan {
    lmf_ctx       *ctx;
    lmf_device    *dev;
    lmf_plan_opts  opts;
    lmf_arena      arena;            /* all that lives as long as the plan */
    graph_plan     gp[MAX_GRAPHS]; int n_graphs;
    store         *stores; int n_stores, cap_stores;
    lmf_name_index      names;
    lmf_memory     memory;
    size_t         const_bytes, host_io_bytes; /* io region: constants, inputs, outputs; then what one graph hands to another */
    char          *state, *io, *step, *io_host;
    int            n_slots, slot, n_events, event[2]; /* of io_host; event: behind the last run that had it */
    bool           busy[2];
    lmf_device_weights **weights; int n_weights; /* borrowed: one a set given to bind */
    lmf_stream    *stream;
    uint64_t       fingerprint;
    bool           bound;
};

static lmf_status no_memory(lmf_plan *p) { return LMF_FAIL(p->ctx, LMF_E_MEMORY, "out of memory while planning"); }

static lmf_tensor *owner_of(lmf_tensor *t, size_t *offset)
{
    *offset = 0;
    for (; t->base; t = t->base)
        *offset += (size_t)t->base_offset;
    return t;
}

static size_t view_bytes(const lmf_view *v) { return lmf_format_bytes(v->fmt, lmf_view_count(v)); }

static bool is_io(uint8_t cls) { return cls == LMF_INPUT || cls == LMF_OUTPUT; }

/* The store of a named owner, made on its first use. */
static lmf_status store_for(lmf_plan *p, const lmf_tensor *t, int32_t *out)
{
    size_t bytes = view_bytes(&t->v);
    int32_t i = lmf_name_index_find(&p->names, t->name);
    if (i < 0) {
        if (p->n_stores == p->cap_stores) {
            int cap = p->cap_stores ? 2 * p->cap_stores : 128;
            store *s = lmf_realloc(p->ctx, p->stores, (size_t)p->cap_stores * sizeof *s, (size_t)cap * sizeof *s);
            if (!s)
                return no_memory(p);
            p->stores = s;
            p->cap_stores = cap;
        }
        i = p->n_stores;
        LMF_TRY(lmf_name_index_add(&p->names, t->name, i));
        p->stores[p->n_stores++] = (store){ .name = t->name, .v = t->v, .cls = t->v.cls, .tensor = t };
    }
    store *s = &p->stores[i];
    if (s->cls != t->v.cls && is_io(s->cls) && is_io(t->v.cls))
        s->handed = true;
    if ((s->cls != t->v.cls && !s->handed) || s->v.dtype != t->v.dtype)
        return LMF_FAIL(p->ctx, LMF_E_ARG, "two graphs of one plan use \"%s\" in different classes or data types", t->name);
    if ((s->cls == LMF_STATE || s->cls == LMF_WEIGHT) && s->bytes && s->bytes != bytes)
        return LMF_FAIL(p->ctx, LMF_E_SHAPE, "two graphs of one plan use \"%s\" in different sizes", t->name);
    if (s->cls == LMF_CONST && s->tensor != t && (s->bytes != bytes || memcmp(s->tensor->init, t->init, bytes)))
        return LMF_FAIL(p->ctx, LMF_E_ARG, "two graphs of one plan use the constant \"%s\" with different contents", t->name);
    if (bytes > s->bytes)
        s->bytes = bytes;
    *out = i;
    return LMF_OK;
}

/* Calls with their rows; views have no data yet. */
static lmf_status make_calls(lmf_plan *p, graph_plan *q)
{
    lmf_graph *g = q->g;
    size_t n_views = 0;
    for (int i = 0; i < g->n_nodes; i++)
        n_views += (size_t)g->nodes[i]->n_in + g->nodes[i]->n_out;
    q->calls = lmf_arena_array(&p->arena, (size_t)g->n_nodes, sizeof *q->calls);
    q->views = lmf_arena_array(&p->arena, n_views, sizeof *q->views);
    q->op_names = lmf_arena_array(&p->arena, (size_t)g->n_nodes, sizeof *q->op_names);
    q->nodes = lmf_arena_array(&p->arena, (size_t)g->n_nodes, sizeof *q->nodes);
    if (!q->calls || !q->views || !q->op_names || !q->nodes)
        return no_memory(p);
    lmf_view *v = q->views;
    for (int i = 0; i < g->n_nodes; i++) {
        lmf_node *n = g->nodes[i];
        lmf_call *c = &q->calls[q->n_calls];
        *c = (lmf_call){ .ref = n->op->ref, .attrs = n->attrs, .in = v, .out = v + n->n_in, .n_in = n->n_in, .n_out = n->n_out };
        for (int k = 0; k < n->n_in + n->n_out; k++) {
            lmf_tensor *t = k < n->n_in ? n->in[k] : n->out[k - n->n_in];
            if (t) {
                *v = t->v;
                v->fmt = lmf_device_format(p->dev, t->v.dtype);
            }
            v++;
        }
        c->row = lmf_device_match(p->dev, n->op->name, c, p->opts.need_row_flags);
        if (!c->row) {
            lmf_status s = lmf_refuse(g, n, LMF_E_UNSUPPORTED, "device %s has no kernel for it%s", p->dev->ops->name,
                                      p->opts.need_row_flags ? " that gives the same bits in any batch" : "");
            g->status = LMF_OK; /* the graph is right: another device may take it */
            return s;
        }
        c->scratch_bytes = c->row->scratch ? c->row->scratch(c, p->dev) : 0;
        q->op_names[q->n_calls] = n->op->name;
        q->nodes[q->n_calls++] = n;
    }
    return LMF_OK;
}

/* Lifetimes of STEP tensors and scratch, in calls. */
static lmf_status make_lifetimes(lmf_plan *p, graph_plan *q)
{
    lmf_graph *g = q->g;
    int n = g->n_tensors;
    q->store_of = lmf_arena_array(&p->arena, (size_t)n, sizeof *q->store_of);
    q->items = lmf_arena_array(&p->arena, (size_t)n + (size_t)q->n_calls, sizeof *q->items);
    if (!q->store_of || !q->items)
        return no_memory(p);
    for (int i = 0; i < n; i++) {
        q->store_of[i] = -1;
        q->items[i] = (lmf_place_item){ .first = INT32_MAX, .last = -1 };
    }
    for (int i = 0; i < q->n_calls; i++) {
        lmf_node *nd = q->nodes[i];
        for (int k = 0; k < nd->n_in + nd->n_out; k++) {
            lmf_tensor *t = k < nd->n_in ? nd->in[k] : nd->out[k - nd->n_in];
            size_t off;
            if (!t)
                continue;
            lmf_tensor *o = owner_of(t, &off);
            lmf_place_item *it = &q->items[o->index];
            if (o->v.cls == LMF_STEP) {
                it->bytes = view_bytes(&o->v);
                it->first = i < it->first ? i : it->first;
                it->last = p->opts.eager ? q->n_calls : i > it->last ? i : it->last;
                if (p->opts.eager)
                    it->first = 0;
            } else if (q->store_of[o->index] < 0) {
                LMF_TRY(store_for(p, o, &q->store_of[o->index]));
            }
        }
        q->items[n + i] = (lmf_place_item){ .bytes = q->calls[i].scratch_bytes, .first = i, .last = i };
        if (q->calls[i].scratch_bytes > q->scratch_bytes)
            q->scratch_bytes = q->calls[i].scratch_bytes;
    }
    /* a named tensor that no node uses still is part of the plan: its host writes it */
    for (int i = 0; i < n; i++) {
        lmf_tensor *t = g->tensors[i];
        if (!t->base && t->v.cls != LMF_STEP && t->v.cls != LMF_WEIGHT && q->store_of[i] < 0)
            LMF_TRY(store_for(p, t, &q->store_of[i]));
    }
    return lmf_place(p->ctx, q->items, n + q->n_calls, ALIGN, &q->step_bytes);
}

/* Offsets of named tensors in their regions, and the sums. */
static void place_stores(lmf_plan *p)
{
    enum { CONSTS, INPUTS, OUTPUTS, HANDED, N_PASSES };
    lmf_memory *m = &p->memory;
    bool host = p->dev->flags & LMF_DEVICE_HOST;
    size_t *region[] = { [LMF_WEIGHT] = &m->weight, [LMF_STATE] = &m->state };
    for (int pass = 0; pass < N_PASSES; pass++) {
        for (int i = 0; i < p->n_stores; i++) {
            store *s = &p->stores[i];
            bool io = is_io(s->cls) || s->cls == LMF_CONST;
            int own = s->handed ? HANDED : s->cls == LMF_OUTPUT ? OUTPUTS : s->cls == LMF_INPUT ? INPUTS : CONSTS;
            if (own != pass)
                continue;
            if (s->cls == LMF_WEIGHT && host) {
                m->mapped += s->bytes;
                continue;
            }
            size_t *end = io ? &m->io : region[s->cls];
            s->offset = *end;
            *end += lmf_align_up(s->bytes, ALIGN);
        }
        if (pass == CONSTS)
            p->const_bytes = m->io;
        if (pass == OUTPUTS)
            p->host_io_bytes = m->io;
    }
}

/* The graph's tensors of a class, as they lie: neighbours in one piece, which may hold the unused tail of a tensor, never a stranger's
 * bytes. */
static void add_spans(lmf_plan *p, graph_plan *q, int cls, const size_t *used)
{
    bool joined = false;
    for (int i = 0; i < p->n_stores; i++) {
        const store *s = &p->stores[i];
        io_span *last = q->n_spans ? &q->span[q->n_spans - 1] : NULL;
        if (s->cls != cls || s->handed)
            continue;
        if (used[i] && joined && s->offset - last->offset - last->bytes <= MAX_IO_GAP)
            last->bytes = s->offset + used[i] - last->offset;
        else if (used[i])
            q->span[q->n_spans++] = (io_span){ s->offset, used[i] };
        joined = used[i] > 0;
    }
}

/* What the host copies for a run of one graph. */
static lmf_status make_spans(lmf_plan *p)
{
    size_t bytes = (size_t)p->n_stores * sizeof(size_t);
    size_t *used = lmf_alloc(p->ctx, bytes);
    lmf_status s = used ? LMF_OK : no_memory(p);
    for (int g = 0; g < p->n_graphs && !s; g++) {
        graph_plan *q = &p->gp[g];
        size_t n_used = 0;
        memset(used, 0, bytes);
        for (int i = 0; i < q->g->n_tensors; i++) {
            const lmf_tensor *t = q->g->tensors[i];
            if (q->store_of[i] < 0 || !is_io(t->v.cls))
                continue;
            used[q->store_of[i]] = view_bytes(&t->v);
            n_used++;
        }
        q->span = lmf_arena_array(&p->arena, n_used, sizeof *q->span);
        s = q->span || !n_used ? LMF_OK : no_memory(p);
        if (s)
            break;
        add_spans(p, q, LMF_INPUT, used);
        q->n_in_spans = q->n_spans;
        add_spans(p, q, LMF_OUTPUT, used);
    }
    lmf_free(p->ctx, used, bytes);
    return s;
}

/* FNV-1a. Checkpoints hold the print: it may not change. */
enum { FNV_POWERS = 9 };
static const uint64_t FNV_PRIME = UINT64_C(1099511628211);

static void mix(uint64_t *h, const void *data, size_t n)
{
    for (const uint8_t *b = data; n--; b++)
        *h = (*h ^ *b) * FNV_PRIME;
}

/* The same over the dimensions' bytes, the lowest first. Most are zero bytes at the top, and those only multiply: all at once. */
static void mix_dims(uint64_t *h, const lmf_view *v, const uint64_t power[FNV_POWERS])
{
    for (int i = 0; i < LMF_MAX_DIMS; i++) {
        int n_left = sizeof *v->dim;
        for (uint64_t d = (uint64_t)v->dim[i]; d; d >>= 8, n_left--)
            *h = (*h ^ (d & 255)) * FNV_PRIME;
        *h *= power[n_left];
    }
}

static void fingerprint(lmf_plan *p)
{
    uint64_t h = UINT64_C(14695981039346656037), power[FNV_POWERS] = { 1 };
    for (int i = 1; i < FNV_POWERS; i++)
        power[i] = power[i - 1] * FNV_PRIME;
    bool any_workers = true;
    mix(&h, p->dev->ops->name, strlen(p->dev->ops->name));
    for (int i = 0; i < p->n_graphs; i++)
        for (int k = 0; k < p->gp[i].n_calls; k++) {
            const lmf_call *c = &p->gp[i].calls[k];
            mix(&h, p->gp[i].op_names[k], strlen(p->gp[i].op_names[k]));
            mix(&h, c->row->name, strlen(c->row->name));
            any_workers &= (c->row->flags & LMF_ROW_ANY_WORKERS) != 0;
            mix(&h, &c->row->needs, sizeof c->row->needs);
            for (const lmf_field *f = p->gp[i].nodes[k]->op->fields; f && f->name; f++)
                if (f->kind != LMF_FIELD_DTYPE) /* the output's view says it, below */
                    mix(&h, (const char *)c->attrs + f->offset, f->kind == LMF_FIELD_BOOL ? sizeof(bool) : 4);
            for (int j = 0; j < c->n_in + c->n_out; j++) {
                const lmf_view *v = &c->in[j];
                mix_dims(&h, v, power);
                mix(&h, &v->dtype, sizeof v->dtype);
            }
        }
    if (!any_workers)
        mix(&h, &p->dev->n_workers, sizeof p->dev->n_workers);
    p->fingerprint = h;
}

lmf_status lmf_plan_create(lmf_device *dev, lmf_graph *const *graphs, int n, const lmf_plan_opts *opts, lmf_plan **out)
{
    lmf_ctx *ctx = dev->ctx;
    *out = NULL;
    if (n < 1 || n > MAX_GRAPHS)
        return LMF_FAIL(ctx, LMF_E_ARG, "a plan has 1 to %d graphs, not %d", MAX_GRAPHS, n);
    lmf_plan *p = lmf_new(ctx, lmf_plan);
    if (!p)
        return LMF_NO_MEMORY(ctx, sizeof *p, "a plan");
    p->ctx = ctx;
    p->dev = dev;
    p->opts = opts ? *opts : (lmf_plan_opts){ 0 };
    p->n_graphs = n;
    lmf_arena_init(&p->arena, ctx, (size_t)1 << 30);
    lmf_name_index_init(&p->names, ctx);
    lmf_status s = LMF_OK;
    for (int i = 0; i < n; i++) {
        LMF_ASSERT(graphs[i]->finished);
        p->gp[i].g = graphs[i];
        LMF_TRY_TO(done, graphs[i]->status);
        LMF_TRY_TO(done, make_calls(p, &p->gp[i]));
        LMF_TRY_TO(done, make_lifetimes(p, &p->gp[i]));
        if (p->gp[i].step_bytes > p->memory.step)
            p->memory.step = p->gp[i].step_bytes;
        if (p->gp[i].scratch_bytes > p->memory.scratch)
            p->memory.scratch = p->gp[i].scratch_bytes;
    }
    place_stores(p);
    LMF_TRY_TO(done, make_spans(p));
    fingerprint(p);
    *out = p, p = NULL;
done:
    lmf_plan_destroy(p);
    return s;
}

const lmf_memory *lmf_plan_memory(const lmf_plan *p) { return &p->memory; }
size_t lmf_plan_bytes(const lmf_plan *p) { return p->memory.weight - p->memory.shared + p->memory.state + p->memory.io + p->memory.step; }
uint64_t lmf_plan_fingerprint(const lmf_plan *p) { return p->fingerprint; }

static void *address_of(lmf_plan *p, graph_plan *q, lmf_tensor *t)
{
    size_t off;
    lmf_tensor *o = owner_of(t, &off);
    if (o->v.cls == LMF_STEP)
        return p->step + q->items[o->index].offset + off;
    store *s = &p->stores[q->store_of[o->index]];
    if (s->cls == LMF_WEIGHT)
        return (char *)lmf_device_weights_at(p->weights[s->i_set], s->item) + off;
    return (s->cls == LMF_STATE ? p->state : p->io) + s->offset + off;
}

static lmf_status find_weights(lmf_plan *p, lmf_weights *const *sets, int n_sets)
{
    char want[96], have[96];
    for (int i = 0; i < p->n_stores; i++) {
        store *s = &p->stores[i];
        if (s->cls != LMF_WEIGHT)
            continue;
        lmf_weight *w = NULL;
        for (int k = 0; k < n_sets && !w; k++)
            w = lmf_weights_find(sets[s->i_set = k], s->name);
        if (!w)
            return LMF_FAIL(p->ctx, LMF_E_NOT_FOUND, "the weights have no tensor \"%s\"", s->name);
        lmf_shape_text(&s->v, want, sizeof want);
        lmf_shape_text(&w->v, have, sizeof have);
        if (strcmp(want, have))
            return LMF_FAIL(p->ctx, LMF_E_SHAPE, "tensor \"%s\" is %s, the model wants %s", s->name, have, want);
        s->item = (int32_t)(w - sets[s->i_set]->items);
    }
    return LMF_OK;
}

static lmf_status borrow_weights(lmf_plan *p, lmf_weights *const *sets, int n_sets)
{
    size_t bytes, all = 0;
    p->weights = lmf_arena_array(&p->arena, (size_t)n_sets, sizeof *p->weights);
    int32_t *item = lmf_arena_array(&p->arena, (size_t)p->n_stores, sizeof *item);
    if ((!p->weights && n_sets) || (!item && p->n_stores))
        return no_memory(p);
    for (int k = 0; k < n_sets; k++) {
        int32_t n = 0;
        for (int i = 0; i < p->n_stores; i++)
            if (p->stores[i].cls == LMF_WEIGHT && p->stores[i].i_set == k)
                item[n++] = p->stores[i].item;
        LMF_TRY(lmf_device_weights_borrow(p->dev, sets[k], &p->weights[k]));
        p->n_weights++;
        LMF_TRY(lmf_device_weights_bring(p->weights[k], item, n, &bytes));
        all += bytes;
    }
    p->memory.shared = p->memory.weight - all;
    return LMF_OK;
}

lmf_status lmf_plan_update_weights(lmf_plan *p)
{
    for (int k = 0; k < p->n_weights; k++)
        LMF_TRY(lmf_device_weights_update(p->weights[k]));
    return LMF_OK;
}

static char *slot_at(const lmf_plan *p, int i) { return p->io_host + (size_t)i * p->host_io_bytes; }

static lmf_status allocate(lmf_plan *p)
{
    const lmf_memory *m = &p->memory;
    lmf_device *d = p->dev;
    struct { size_t bytes; char **at; const char *what; } want[] = {
        { m->state, &p->state, "state" },
        { m->io, &p->io, "inputs and outputs" }, { m->step, &p->step, "one step" } };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        lmf_status s = want[i].bytes ? d->ops->alloc(d, 0, want[i].bytes, (void **)want[i].at) : LMF_OK;
        if (s)
            return lmf_fail_prefix(p->ctx, s, "%zu bytes for %s", want[i].bytes, want[i].what);
    }
    p->n_slots = p->opts.two_slots && !(d->flags & LMF_DEVICE_HOST) ? 2 : 1;
    for (; p->n_slots > 1 && p->n_events < p->n_slots; p->n_events++)
        LMF_TRY(lmf_device_event_take(d, &p->event[p->n_events]));
    if (p->host_io_bytes && !(d->flags & LMF_DEVICE_HOST))
        LMF_TRY(d->ops->alloc(d, 1, (size_t)p->n_slots * p->host_io_bytes, (void **)&p->io_host));
    else
        p->io_host = p->io;
    LMF_TRY(d->ops->stream_create(d, &p->stream));
    if (m->state)
        LMF_TRY(d->ops->fill(d, p->stream, p->state, 0, m->state));
    if (m->io)
        LMF_TRY(d->ops->fill(d, p->stream, p->io, 0, m->io));
    if (p->io_host != p->io && !(d->flags & LMF_DEVICE_NO_DATA))
        memset(p->io_host, 0, (size_t)p->n_slots * p->host_io_bytes);
    for (int i = 0; i < p->n_stores; i++)
        for (int k = 0; k < p->n_slots && p->stores[i].cls == LMF_CONST && !(d->flags & LMF_DEVICE_NO_DATA); k++)
            memcpy(slot_at(p, k) + p->stores[i].offset, p->stores[i].tensor->init, p->stores[i].bytes);
    if (p->io_host != p->io && p->const_bytes)
        LMF_TRY(d->ops->copy(d, p->stream, p->io, p->io_host, p->const_bytes));
    return d->ops->stream_sync(d, p->stream);
}

/* ---- barriers: a call waits for the others where its bytes meet theirs ---- */
typedef struct range { uintptr_t begin, end; } range;
typedef struct ranges { range *r; int n; } ranges;

static bool meets(const ranges *s, range x)
{
    for (int i = 0; i < s->n; i++)
        if (x.begin < s->r[i].end && s->r[i].begin < x.end)
            return true;
    return false;
}

static range view_range(const lmf_view *v)
{
    return (range){ (uintptr_t)v->data, (uintptr_t)v->data + view_bytes(v) };
}

static lmf_status set_barriers(lmf_plan *p, graph_plan *q)
{
    size_t cap = (size_t)q->n_calls * (LMF_MAX_IN + LMF_MAX_OUT + 1);
    size_t bytes = 2 * cap * sizeof(range);
    range *all = lmf_alloc(p->ctx, bytes);
    if (!all)
        return no_memory(p);
    ranges reads = { all, 0 }, writes = { all + cap, 0 };
    bool after_whole = false;
    for (int i = 0; i < q->n_calls; i++) {
        lmf_call *c = &q->calls[i];
        bool wait = (c->row->flags & LMF_ROW_WHOLE) || after_whole;
        range in[LMF_MAX_IN], out[LMF_MAX_OUT + 1];
        int n_in = 0, n_out = 0;
        for (int k = 0; k < c->n_in; k++)
            if (c->in[k].n_dims && c->in[k].cls != LMF_WEIGHT)
                in[n_in++] = view_range(&c->in[k]);
        for (int k = 0; k < c->n_out; k++)
            out[n_out++] = view_range(&c->out[k]);
        if (c->scratch_bytes)
            out[n_out++] = (range){ (uintptr_t)c->scratch, (uintptr_t)c->scratch + c->scratch_bytes };
        for (int k = 0; k < n_in && !wait; k++)
            wait = meets(&writes, in[k]);
        for (int k = 0; k < n_out && !wait; k++)
            wait = meets(&writes, out[k]) || meets(&reads, out[k]);
        c->barrier = wait && i > 0;
        if (wait)
            reads.n = writes.n = 0;
        memcpy(reads.r + reads.n, in, (size_t)n_in * sizeof *in);
        memcpy(writes.r + writes.n, out, (size_t)n_out * sizeof *out);
        reads.n += n_in;
        writes.n += n_out;
        after_whole = c->row->flags & LMF_ROW_WHOLE;
    }
    lmf_free(p->ctx, all, bytes);
    return LMF_OK;
}

static lmf_status bind_graph(lmf_plan *p, graph_plan *q)
{
    lmf_device *d = p->dev;
    lmf_view *v = q->views;
    for (int i = 0; i < q->n_calls; i++) {
        lmf_node *n = q->nodes[i];
        lmf_call *c = &q->calls[i];
        v = (lmf_view *)(uintptr_t)c->in;
        for (int k = 0; k < n->n_in + n->n_out; k++) {
            lmf_tensor *t = k < n->n_in ? n->in[k] : n->out[k - n->n_in];
            if (t)
                v[k].data = address_of(p, q, t);
        }
        if (c->scratch_bytes)
            c->scratch = p->step + q->items[q->g->n_tensors + i].offset;
        if (c->row->prepare)
            LMF_TRY(c->row->prepare(c, d));
    }
    LMF_TRY(set_barriers(p, q));
    if (!p->opts.profile)
        return d->ops->program_create(d, q->calls, q->n_calls, p->opts.eager, &q->program);
    q->each = lmf_arena_array(&p->arena, (size_t)q->n_calls, sizeof *q->each);
    q->seconds = lmf_arena_array(&p->arena, (size_t)q->n_calls, sizeof *q->seconds);
    if (!q->each || !q->seconds)
        return no_memory(p);
    for (int i = 0; i < q->n_calls; i++)
        LMF_TRY(d->ops->program_create(d, &q->calls[i], 1, true, &q->each[i]));
    return LMF_OK;
}

lmf_status lmf_plan_bind(lmf_plan *p, lmf_weights *const *weights, int n)
{
    LMF_ASSERT(!p->bound);
    LMF_TRY(find_weights(p, weights, n));
    LMF_TRY(borrow_weights(p, weights, n));
    LMF_TRY(allocate(p));
    for (int i = 0; i < p->n_graphs; i++)
        LMF_TRY(bind_graph(p, &p->gp[i]));
    p->bound = true;
    return LMF_OK;
}

static graph_plan *graph_at(lmf_plan *p, int i) { return i >= 0 && i < p->n_graphs ? &p->gp[i] : NULL; }

void *lmf_plan_io(lmf_plan *p, int i_graph, const char *name)
{
    graph_plan *q = graph_at(p, i_graph);
    lmf_tensor *t = q ? lmf_graph_find(q->g, name) : NULL;
    if (!t || t->base || t->v.cls == LMF_STEP || t->v.cls == LMF_WEIGHT || !p->bound)
        return NULL;
    store *s = &p->stores[q->store_of[t->index]];
    if (s->cls == LMF_STATE)
        return p->dev->flags & LMF_DEVICE_HOST ? p->state + s->offset : NULL;
    if (s->handed)
        return p->io_host == p->io ? p->io + s->offset : NULL;
    return slot_at(p, p->slot) + s->offset;
}

const lmf_view *lmf_plan_view(lmf_plan *p, int i_graph, const char *name)
{
    graph_plan *q = graph_at(p, i_graph);
    lmf_tensor *t = q ? lmf_graph_find(q->g, name) : NULL;
    if (!t || !p->bound)
        return NULL;
    for (int i = 0; i < q->n_calls; i++)
        for (int k = 0; k < q->nodes[i]->n_in + q->nodes[i]->n_out; k++)
            if ((k < q->nodes[i]->n_in ? q->nodes[i]->in[k] : q->nodes[i]->out[k - q->nodes[i]->n_in]) == t)
                return &q->calls[i].in[k];
    return NULL;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static lmf_status run_profiled(lmf_plan *p, graph_plan *q)
{
    lmf_device *d = p->dev;
    for (int i = 0; i < q->n_calls; i++) {
        double start = now();
        LMF_TRY(d->ops->program_launch(d, p->stream, q->each[i]));
        LMF_TRY(d->ops->stream_sync(d, p->stream));
        q->seconds[i] += now() - start;
    }
    q->n_runs++;
    return LMF_OK;
}

lmf_status lmf_plan_run(lmf_plan *p, int i_graph)
{
    graph_plan *q = graph_at(p, i_graph);
    lmf_device *d = p->dev;
    LMF_ASSERT(q && p->bound);
    bool mirrored = p->io_host != p->io;
    char *host = slot_at(p, p->slot);
    for (int i = 0; i < q->n_in_spans && mirrored; i++)
        LMF_TRY(d->ops->copy(d, p->stream, p->io + q->span[i].offset, host + q->span[i].offset, q->span[i].bytes));
    d->sealed = true;
    lmf_status s = p->opts.profile ? run_profiled(p, q) : d->ops->program_launch(d, p->stream, q->program);
    d->sealed = false;
    LMF_TRY(s);
    for (int i = q->n_in_spans; i < q->n_spans && mirrored; i++)
        LMF_TRY(d->ops->copy(d, p->stream, host + q->span[i].offset, p->io + q->span[i].offset, q->span[i].bytes));
    if (p->n_slots > 1)
        LMF_TRY(d->ops->event_record(d, p->stream, p->event[p->slot]));
    p->busy[p->slot] = p->n_slots > 1;
    return LMF_OK;
}

int lmf_plan_n_slots(const lmf_plan *p) { return p->n_slots; }

lmf_status lmf_plan_take_slot(lmf_plan *p, int i_slot)
{
    LMF_ASSERT(p->bound && i_slot >= 0 && i_slot < p->n_slots);
    if (p->busy[i_slot])
        LMF_TRY(p->dev->ops->event_sync(p->dev, p->event[i_slot]));
    p->busy[i_slot] = false;
    p->slot = i_slot;
    return LMF_OK;
}

lmf_status lmf_plan_wait(lmf_plan *p, int i_graph)
{
    (void)i_graph;
    return p->dev->ops->stream_sync(p->dev, p->stream);
}

static lmf_status state_copy(lmf_plan *p, const char *name, void *dst, const void *src, size_t n)
{
    int32_t i = lmf_name_index_find(&p->names, name);
    if (i < 0 || p->stores[i].cls != LMF_STATE)
        return LMF_FAIL(p->ctx, LMF_E_NOT_FOUND, "the plan has no state \"%s\"", name);
    store *s = &p->stores[i];
    if (n != s->bytes)
        return LMF_FAIL(p->ctx, LMF_E_SHAPE, "state \"%s\" has %zu bytes, not %zu", name, s->bytes, n);
    char *at = p->state + s->offset;
    LMF_TRY(p->dev->ops->copy(p->dev, p->stream, dst ? dst : at, dst ? at : src, n));
    return p->dev->ops->stream_sync(p->dev, p->stream);
}

lmf_status lmf_plan_state_read(lmf_plan *p, const char *name, void *dst, size_t n) { return state_copy(p, name, dst, NULL, n); }
lmf_status lmf_plan_state_write(lmf_plan *p, const char *name, const void *src, size_t n) { return state_copy(p, name, NULL, src, n); }

void *lmf_plan_state_data(const lmf_plan *p, const char *name)
{
    int32_t i = lmf_name_index_find(&p->names, name);
    return p->bound && i >= 0 && p->stores[i].cls == LMF_STATE ? p->state + p->stores[i].offset : NULL;
}

const lmf_tensor *lmf_plan_state_at(const lmf_plan *p, int i)
{
    for (int k = 0; k < p->n_stores; k++)
        if (p->stores[k].cls == LMF_STATE && i-- == 0)
            return p->stores[k].tensor;
    return NULL;
}

int lmf_plan_placed(const lmf_plan *p, int i_graph, const lmf_placed **out)
{
    graph_plan *q = graph_at((lmf_plan *)(uintptr_t)p, i_graph);
    *out = NULL;
    if (!q)
        return 0;
    int n_all = q->g->n_tensors + q->n_calls;
    if (!q->placed) {
        q->placed = lmf_arena_array((lmf_arena *)(uintptr_t)&p->arena, (size_t)n_all, sizeof *q->placed);
        for (int i = 0; q->placed && i < n_all; i++) {
            const lmf_place_item *it = &q->items[i];
            bool scratch = i >= q->g->n_tensors;
            lmf_tensor *t = scratch ? NULL : q->g->tensors[i];
            if (it->bytes)
                q->placed[q->n_placed++] = (lmf_placed){ t ? t->name : NULL,
                    scratch ? q->op_names[i - q->g->n_tensors] : t->node ? t->node->op->name : NULL,
                    it->offset, it->bytes, it->first, it->last, scratch };
        }
    }
    *out = q->placed;
    return q->placed ? q->n_placed : 0;
}

static int by_seconds(const void *a, const void *b)
{
    double x = ((const lmf_profile_row *)a)->seconds, y = ((const lmf_profile_row *)b)->seconds;
    return x < y ? 1 : x > y ? -1 : 0;
}

int lmf_plan_profile(const lmf_plan *p, int i_graph, lmf_profile_row *rows, int cap)
{
    const graph_plan *q = &p->gp[i_graph];
    int n = 0;
    for (int i = 0; i < q->n_calls && q->seconds; i++) {
        int k = 0;
        while (k < n && (strcmp(rows[k].op, q->op_names[i]) || strcmp(rows[k].row, q->calls[i].row->name)))
            k++;
        if (k == cap)
            continue;
        if (k == n)
            rows[n++] = (lmf_profile_row){ q->op_names[i], q->calls[i].row->name, 0, 0, 0, 0 };
        double flops = 0, bytes = 0;
        if (q->nodes[i]->op->cost)
            q->nodes[i]->op->cost(q->nodes[i], &flops, &bytes);
        rows[k].n_calls += q->n_runs;
        rows[k].seconds += q->seconds[i];
        rows[k].flops += flops * (double)q->n_runs;
        rows[k].bytes += bytes * (double)q->n_runs;
    }
    qsort(rows, (size_t)n, sizeof *rows, by_seconds);
    return n;
}

void lmf_plan_destroy(lmf_plan *p)
{
    if (!p)
        return;
    lmf_device *d = p->dev;
    lmf_ctx *ctx = p->ctx;
    if (p->stream) /* after a failure something may still run; nothing better can be done about what it answers */
        (void)!d->ops->stream_sync(d, p->stream);
    for (int i = 0; i < p->n_graphs; i++) {
        graph_plan *q = &p->gp[i];
        if (q->program)
            d->ops->program_destroy(d, q->program);
        for (int k = 0; q->each && k < q->n_calls; k++)
            if (q->each[k])
                d->ops->program_destroy(d, q->each[k]);
        for (int k = 0; k < q->n_calls; k++)
            if (q->calls[k].prep && q->calls[k].row->release)
                q->calls[k].row->release(&q->calls[k]);
    }
    if (p->io_host && p->io_host != p->io)
        d->ops->release(d, 1, p->io_host, (size_t)p->n_slots * p->host_io_bytes);
    for (int i = 0; i < p->n_events; i++)
        lmf_device_event_give(d, p->event[i]);
    struct { char *at; size_t bytes; } held[] = { { p->step, p->memory.step }, { p->io, p->memory.io }, { p->state, p->memory.state } };
    for (size_t i = 0; i < sizeof held / sizeof *held; i++)
        if (held[i].at)
            d->ops->release(d, 0, held[i].at, held[i].bytes);
    for (int k = 0; k < p->n_weights; k++)
        lmf_device_weights_return(p->weights[k]);
    if (p->stream)
        d->ops->stream_destroy(d, p->stream);
    lmf_free(ctx, p->stores, (size_t)p->cap_stores * sizeof *p->stores);
    lmf_name_index_clear(&p->names);
    lmf_arena_clear(&p->arena);
    lmf_delete(ctx, p);
}
