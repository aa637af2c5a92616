/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: every tensor of a run is its own copy between guard zones, outputs and scratch are poisoned before each run, and
 * each run is checked for what it may not touch before its values are looked at. */
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include "op_harness.h"

enum { GUARD_BYTE = 0xff };

static bool guarded_alloc(lmf_case *c, lmf_run *run, size_t bytes, lmf_guarded *out)
{
    unsigned char *p = lmf_arena_alloc(&run->arena, bytes + 2 * LMF_GUARD_BYTES + 64);
    if (!p)
        return lmf_harness_check(c->h, c, "case", NULL, false, "out of memory: %zu bytes", bytes);
    p = (unsigned char *)(((uintptr_t)p + 63) & ~(uintptr_t)63);
    memset(p, GUARD_BYTE, bytes + 2 * LMF_GUARD_BYTES);
    *out = (lmf_guarded){ p + LMF_GUARD_BYTES, bytes };
    return true;
}

/* Distance of the first changed guard byte from the tensor's bytes: negative before, 0 when none changed. */
static long guard_broken(const lmf_guarded *b)
{
    if (!b->data)
        return 0;
    for (long i = 1; i <= LMF_GUARD_BYTES; i++) {
        if (b->data[-i] != GUARD_BYTE)
            return -i;
        if (b->data[b->bytes + (size_t)i - 1] != GUARD_BYTE)
            return i;
    }
    return 0;
}

typedef struct job { const lmf_call *call; lmf_team *team; int n_phases; atomic_int status; } job;

static void work(void *arg, int i_worker, int n_workers)
{
    job *j = arg;
    bool whole = j->call->row->flags & LMF_ROW_WHOLE;
    for (int phase = 0; phase < j->n_phases; phase++) {
        lmf_status s = j->call->row->run(j->call, &(lmf_worker){ NULL, i_worker, n_workers, phase });
        if (s)
            atomic_store(&j->status, (int)s);
        if (phase + 1 < j->n_phases && !whole)
            lmf_team_barrier(j->team);
    }
}

lmf_status lmf_call_run(lmf_harness *h, const lmf_call *call, int i_team)
{
    job j = { call, h->team[i_team], call->row->n_phases ? call->row->n_phases : 1, 0 };
    if (call->row->flags & LMF_ROW_WHOLE)
        work(&j, 0, lmf_team_size(j.team));
    else
        lmf_team_run(j.team, work, &j);
    return (lmf_status)atomic_load(&j.status);
}

bool lmf_row_takes(lmf_device *dev, const lmf_kernel *row, const lmf_call *call)
{
    if (row->needs & ~dev->features)
        return false;
    for (int i = 0; row->dtypes && i < call->n_in + call->n_out; i++) {
        const lmf_view *v = i < call->n_in ? &call->in[i] : &call->out[i - call->n_in];
        if (v->n_dims && row->dtypes[i] != LMF_ANY && row->dtypes[i] != v->dtype)
            return false;
    }
    return !row->match || row->match(call, dev);
}

void lmf_case_call(const lmf_case *c, const lmf_run *run, lmf_call *call)
{
    *call = (lmf_call){ .ref = c->op->ref, .attrs = c->node->attrs, .in = run->in, .out = run->out,
                        .n_in = (uint8_t)c->n_in, .n_out = c->op->n_out };
}

void lmf_run_clear(lmf_run *run)
{
    if (run->arena.ctx)
        lmf_arena_clear(&run->arena);
}

/* Copies of all inputs, fresh outputs. */
static bool set_up(lmf_case *c, lmf_device *dev, unsigned char poison, lmf_run *run)
{
    lmf_run_clear(run);
    *run = (lmf_run){ .poison = poison };
    lmf_arena_init(&run->arena, c->h->ctx, (size_t)4 << 30);
    for (int i = 0; i < c->n_in; i++) {
        const lmf_case_tensor *t = &c->in[i];
        if (t->absent)
            continue;
        if (!guarded_alloc(c, run, t->bytes, &run->in_bytes[i]))
            return false;
        if (t->bytes)
            memcpy(run->in_bytes[i].data, t->v.data, t->bytes);
        run->in[i] = t->v;
        run->in[i].data = run->in_bytes[i].data;
        run->in[i].fmt = lmf_device_format(dev, t->v.dtype);
        run->in[i].cls = (uint8_t)lmf_case_class(c, i);
    }
    for (int j = 0; j < c->op->n_out; j++) {
        int k = c->op->writes[j];
        run->out[j] = c->node->out[j]->v;
        run->out[j].fmt = lmf_device_format(dev, run->out[j].dtype);
        if (k) {
            run->out[j].data = run->in[k - 1].data;
            continue;
        }
        size_t bytes = lmf_view_span(&run->out[j]);
        if (!guarded_alloc(c, run, bytes, &run->out_bytes[j]))
            return false;
        memset(run->out_bytes[j].data, poison, bytes);
        run->out[j].data = run->out_bytes[j].data;
    }
    return true;
}

static bool element_is(const lmf_run *run, int j, int64_t e, unsigned char byte)
{
    size_t n = run->out[j].fmt->block_bytes;
    const unsigned char *p = run->out_bytes[j].data + (size_t)(e / run->out[j].fmt->block) * n;
    for (size_t i = 0; i < n; i++)
        if (p[i] != byte)
            return false;
    return true;
}

static bool check_guard(lmf_case *c, const char *reason, const char *row, const char *what, const lmf_guarded *b)
{
    long at = guard_broken(b);
    return lmf_harness_check(c->h, c, reason, row, at == 0, "byte %ld %s %s of %zu bytes was written", at < 0 ? -at : at,
                             at < 0 ? "before" : "behind", what, b->bytes);
}

static bool check_untouched(lmf_case *c, const char *row, const lmf_run *run)
{
    char what[16];
    for (int j = 0; j < c->op->n_out; j++) {
        snprintf(what, sizeof what, "out[%d]", j);
        if (!check_guard(c, "guard-output", row, what, &run->out_bytes[j]))
            return false;
    }
    if (!check_guard(c, "guard-scratch", row, "the scratch", &run->scratch))
        return false;
    for (int i = 0; i < c->n_in; i++) {
        const lmf_case_tensor *t = &c->in[i];
        if (t->absent)
            continue;
        bool written = lmf_case_class(c, i) == LMF_STATE;
        if (!check_guard(c, written ? "guard-output" : "guard-input", row, t->name, &run->in_bytes[i]))
            return false;
        size_t k = 0;
        while (!written && k < t->bytes && run->in_bytes[i].data[k] == ((unsigned char *)t->v.data)[k])
            k++;
        if (!lmf_harness_check(c->h, c, "input-changed", row, written || k == t->bytes, "byte %zu of input %s changed", k, t->name))
            return false;
    }
    return true;
}

bool lmf_run_row(lmf_case *c, const lmf_kernel *row, int i_team, unsigned char poison, lmf_run *run)
{
    lmf_device *dev = c->h->dev[i_team];
    lmf_call call;
    if (!set_up(c, dev, poison, run))
        return false;
    lmf_case_call(c, run, &call);
    call.row = row;
    call.scratch_bytes = row->scratch ? row->scratch(&call, dev) : 0;
    if (call.scratch_bytes) {
        if (!guarded_alloc(c, run, call.scratch_bytes, &run->scratch))
            return false;
        memset(run->scratch.data, poison, run->scratch.bytes);
        call.scratch = run->scratch.data;
    }
    lmf_status s = row->prepare ? row->prepare(&call, dev) : LMF_OK;
    if (!s)
        s = lmf_call_run(c->h, &call, i_team);
    if (call.prep && row->release)
        row->release(&call);
    c->h->n_rows++;
    return lmf_harness_check(c->h, c, "status", row->name, !s, "%d workers: %s: %s", lmf_team_size(c->h->team[i_team]), lmf_status_name(s),
                             lmf_error(c->h->ctx)) && check_untouched(c, row->name, run);
}

/* First element whose bits differ between two runs, or -1. Strided in-place results count by byte. */
static int64_t bits_differ(const lmf_case *c, const lmf_run *a, const lmf_run *b, int j, const uint8_t *skip)
{
    int k = c->op->writes[j];
    const lmf_guarded *x = k ? &a->in_bytes[k - 1] : &a->out_bytes[j], *y = k ? &b->in_bytes[k - 1] : &b->out_bytes[j];
    size_t n = a->out[j].fmt->block_bytes;
    for (size_t e = 0; e * n < x->bytes; e++)
        if (memcmp(x->data + e * n, y->data + e * n, n) && !(skip && skip[e * a->out[j].fmt->block]))
            return (int64_t)(e * a->out[j].fmt->block);
    return -1;
}

/* No element still holds both poisons. */
static bool check_written(lmf_case *c, const char *row, const lmf_run *a, const lmf_run *b, const lmf_run *ref)
{
    for (int j = 0; j < c->op->n_out; j++) {
        if (c->op->writes[j])
            continue;
        int64_t n = lmf_view_count(&a->out[j]), e = 0;
        while (e < n && ((ref && ref->skip[j] && ref->skip[j][e]) || !element_is(a, j, e, a->poison) || !element_is(b, j, e, b->poison)))
            e++;
        if (!lmf_harness_check(c->h, c, "unwritten", row, e == n, "out[%d] element %lld was never written%s", j, (long long)e,
                               ref ? "" : ": write it, or say partial in the case's last column"))
            return false;
    }
    return true;
}

static bool check_equal(lmf_case *c, const char *reason, const char *row, const lmf_run *a, const lmf_run *b, const lmf_run *ref, int n_workers)
{
    for (int j = 0; j < c->op->n_out; j++) {
        int64_t e = bits_differ(c, a, b, j, ref ? ref->skip[j] : NULL);
        if (!lmf_harness_check(c->h, c, reason, row, e < 0, "%d workers: out[%d] element %lld is %.9g, then %.9g", n_workers, j, (long long)e,
                               e < 0 ? 0 : lmf_get(&a->out[j], e), e < 0 ? 0 : lmf_get(&b->out[j], e)))
            return false;
    }
    return true;
}

/* A partial case: what both runs left as it was is nobody's business. */
static bool find_skipped(lmf_case *c, lmf_run *run, const lmf_run *again)
{
    for (int j = 0; j < c->op->n_out; j++) {
        int64_t n = lmf_view_count(&run->out[j]), n_skip = 0;
        run->skip[j] = c->op->writes[j] ? NULL : lmf_arena_alloc(&run->arena, (size_t)n + 1);
        for (int64_t e = 0; run->skip[j] && e < n; e++)
            n_skip += run->skip[j][e] = element_is(run, j, e, run->poison) && element_is(again, j, e, again->poison);
        if (!lmf_harness_check(c->h, c, "unwritten", "ref", n_skip < n || n == 0, "out[%d]: the reference writes nothing at all", j))
            return false;
    }
    return true;
}

bool lmf_case_reference(lmf_case *c, lmf_run *run)
{
    lmf_run again = { 0 };
    bool ok = lmf_run_row(c, &lmf_kernel_ref, 0, 0xff, run) && lmf_run_row(c, &lmf_kernel_ref, 0, 0xa5, &again) &&
              (c->partial ? find_skipped(c, run, &again) : check_written(c, "ref", run, &again, NULL)) &&
              check_equal(c, "repeat", "ref", run, &again, run, 1);
    lmf_run_clear(&again);
    return ok;
}

/* ---- rows [begin, begin + n) of the case as a case of its own ---- */

/* all: every input as long as the first is cut; else the first alone. Absent where the shape rule refuses that. */
static bool cut_case(const lmf_case *c, int64_t begin, int64_t n, bool all, lmf_case *out)
{
    int64_t rows = c->in[0].v.dim[0];
    *out = *c;
    for (int i = 0; i < c->n_in; i++) {
        lmf_case_tensor *t = &out->in[i];
        if (t->absent || t->v.dim[0] != rows || (i && !all))
            continue;
        t->v.dim[0] = n;
        t->v.data = (char *)t->v.data + (size_t)(begin * t->v.stride[0] / t->v.fmt->block) * t->v.fmt->block_bytes;
        t->bytes = lmf_view_span(&t->v);
    }
    out->g = NULL;
    if (lmf_case_graph(out, false, &out->g, &out->node) == LMF_OK && out->node)
        return true;
    lmf_graph_destroy(out->g);
    return false;
}

static bool can_cut(const lmf_case *c)
{
    const lmf_case_tensor *x = &c->in[0];
    if (c->n_in == 0 || x->absent || x->v.dim[0] < 2 || (x->v.n_dims < 2 && !(x->v.fmt->flags & LMF_FORMAT_INT)))
        return false;
    for (int i = 0; i < c->n_in && !c->cut; i++) {
        bool index = i && c->in[i].below > 1 && c->in[i].below <= x->v.dim[0]; /* perhaps of the rows that a cut takes away */
        if (c->in[i].listed || index || (!c->in[i].absent && lmf_case_class(c, i) == LMF_STATE))
            return false; /* starts, lengths, pages: a cut would contradict them */
    }
    return true;
}

/* out[j] of the part against the same rows of the whole. */
static bool check_part(lmf_case *c, const char *row, const lmf_run *whole, const lmf_run *part, int64_t begin, int64_t n)
{
    int64_t rows = c->in[0].v.dim[0];
    for (int j = 0; j < c->op->n_out; j++) {
        const lmf_guarded *p = &part->out_bytes[j];
        if (c->op->writes[j] || whole->out[j].dim[0] != rows || part->out[j].dim[0] != n)
            continue;
        size_t off = whole->out_bytes[j].bytes / (size_t)rows * (size_t)begin, k = 0;
        while (k < p->bytes && p->data[k] == whole->out_bytes[j].data[off + k])
            k++;
        if (!lmf_harness_check(c->h, c, "invariant", row, k == p->bytes, "out[%d]: rows %lld to %lld have other bits alone than among %lld (byte %zu)",
                               j, (long long)begin, (long long)(begin + n - 1), (long long)rows, k))
            return false;
    }
    return true;
}

static void check_invariant(lmf_case *c, const lmf_kernel *row, const lmf_run *whole)
{
    int64_t rows = can_cut(c) && !c->partial ? c->in[0].v.dim[0] : 0;
    const int64_t part[][2] = { { 0, rows / 2 }, { rows / 2, rows - rows / 2 }, { rows - 1, 1 } };
    bool ok = true;
    for (int p = 0; p < 3 && rows && ok; p++) {
        lmf_case sub;
        lmf_run run = { 0 };
        lmf_call call;
        if (!cut_case(c, part[p][0], part[p][1], false, &sub) && !cut_case(c, part[p][0], part[p][1], true, &sub))
            return;
        ok = set_up(&sub, c->h->dev[0], 0xff, &run);
        lmf_case_call(&sub, &run, &call);
        if (ok && lmf_row_takes(c->h->dev[0], row, &call)) /* else another row serves the part: its promise is its own */
            ok = lmf_run_row(&sub, row, 0, 0xff, &run) && check_part(c, row->name, whole, &run, part[p][0], part[p][1]);
        lmf_run_clear(&run);
        lmf_graph_destroy(sub.g);
    }
}

/* One worker count: two runs with other poison, each checked, both the same. */
static bool check_team(lmf_case *c, const lmf_kernel *row, int i_team, const lmf_run *ref, lmf_run *run)
{
    lmf_run again = { 0 };
    bool ok = lmf_run_row(c, row, i_team, 0xff, run) && lmf_run_row(c, row, i_team, 0xa5, &again) &&
              check_written(c, row->name, run, &again, ref);
    for (int j = 0; ok && j < c->op->n_out; j++)
        ok = lmf_case_compare(c, "reference", row->name, j, &run->out[j], &ref->out[j], ref->skip[j]);
    ok = ok && check_equal(c, "repeat", row->name, run, &again, ref, lmf_team_size(c->h->team[i_team]));
    lmf_run_clear(&again);
    return ok;
}

static void check_row(lmf_case *c, const lmf_kernel *row, const lmf_run *ref)
{
    lmf_run first = { 0 }, other = { 0 };
    lmf_call call;
    bool ok = check_team(c, row, 0, ref, &first);
    lmf_case_call(c, ref, &call);
    for (int i = 1; i < c->h->n_teams && ok; i++) {
        if (!lmf_row_takes(c->h->dev[i], row, &call))
            continue; /* a row may want fewer workers */
        ok = check_team(c, row, i, ref, &other);
        if (ok && (row->flags & LMF_ROW_ANY_WORKERS))
            ok = check_equal(c, "workers", row->name, &first, &other, ref, lmf_team_size(c->h->team[i]));
    }
    if (ok && (row->flags & LMF_ROW_INVARIANT))
        check_invariant(c, row, &first);
    lmf_run_clear(&first);
    lmf_run_clear(&other);
}

void lmf_case_rows(lmf_case *c, const lmf_run *ref)
{
    lmf_harness *h = c->h;
    const lmf_kernel *const *table = h->dev[0]->ops->kernels(h->dev[0], c->op->name);
    lmf_call call;
    int n = 0;
    lmf_case_call(c, ref, &call);
    for (; table && *table; table++)
        for (const lmf_kernel *row = *table; row->name; row++)
            if (lmf_row_takes(h->dev[0], row, &call)) {
                check_row(c, row, ref);
                n++;
            }
    if (n)
        return;
    h->n_holes++;
    if (h->verbose)
        printf("hole: %s \"%s\" %s\n", c->op->name, c->row->name, c->row->inputs);
}
