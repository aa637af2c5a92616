/* SPDX-License-Identifier: Apache-2.0 */
/* The gate over the tables: an op without a case, or a kernel row that no op or no case can reach, is a failure. */
#include <string.h>
#include "device/device.h"
#include "graph/graph.h"
#include "test.h"
#include "test_tables.h"

extern const lmf_tables lmf_all_tables;

static int count_cases(const char *op, bool accepted)
{
    int n = 0;
    for (const lmf_test_entry *e = lmf_test_entries; e->folder; e++)
        for (const lmf_op_case *c = e->cases; c && c->op; c++)
            n += strcmp(c->op, op) == 0 && !(accepted && strstr(c->draw, "refused:"));
    return n;
}

static void every_op_has_cases(void **state)
{
    int n_bad = 0;
    (void)state;
    for (const lmf_op *const *op = lmf_all_tables.ops; *op; op++)
        if (count_cases((*op)->name, true) == 0) {
            print_error("op %s has no case row that is accepted: add one to its folder's *_test.c\n", (*op)->name);
            n_bad++;
        }
    assert_int_equal(n_bad, 0);
}

static void ops_are_whole(void **state)
{
    (void)state;
    for (const lmf_op *const *op = lmf_all_tables.ops; *op; op++) {
        const lmf_op *o = *op;
        if (!o->infer || !o->ref || o->n_out > LMF_MAX_OUT || o->n_in_max > LMF_MAX_IN || o->n_in_min > o->n_in_max)
            fail_msg("op %s: a shape rule, a reference, and counts in bounds are needed", o->name);
        for (const lmf_field *f = o->fields; f && f->name; f++)
            if (f->offset + (f->kind == LMF_FIELD_BOOL ? sizeof(bool) : 4) > o->attr_bytes || !(f->lo <= f->hi))
                fail_msg("op %s: attribute %s lies outside its struct, or its range is empty", o->name, f->name);
        for (const lmf_op *const *other = lmf_all_tables.ops; other != op; other++)
            assert_string_not_equal(o->name, (*other)->name);
    }
}

static void rows_name_ops(void **state)
{
    (void)state;
    for (const struct lmf_cpu_rows *r = lmf_all_tables.cpu_rows; r->op; r++) {
        bool any = false;
        for (const lmf_op *const *op = lmf_all_tables.ops; *op; op++)
            any |= strcmp((*op)->name, r->op) == 0;
        if (!any)
            fail_msg("kernel rows are of the op \"%s\", which does not exist", r->op);
        for (const lmf_kernel *k = r->rows; k->name; k++)
            if (!k->run)
                fail_msg("row %s has no run", k->name);
    }
}

LMF_TESTS(op_cases) = {
    { "every op has cases", every_op_has_cases }, { "ops are whole", ops_are_whole }, { "rows name ops", rows_name_ops }, { 0 }
};
