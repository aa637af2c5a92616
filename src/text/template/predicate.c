/* SPDX-License-Identifier: Apache-2.0 */
/* The tests behind `is`. Each answers for one value and at most one argument. */
#include "text/template/value.h"

#define TEST(name) static lmf_status name(tpl_run *r, const tpl_value *v, const tpl_value *arg, bool *out)
#define UNUSED (void)r, (void)v, (void)arg

TEST(is_defined) { UNUSED; *out = v->kind != TPL_UNDEFINED; return LMF_OK; }
TEST(is_undefined) { UNUSED; *out = v->kind == TPL_UNDEFINED; return LMF_OK; }
TEST(is_none) { UNUSED; *out = v->kind == TPL_NONE; return LMF_OK; }
TEST(is_boolean) { UNUSED; *out = v->kind == TPL_BOOL; return LMF_OK; }
TEST(is_true) { UNUSED; *out = v->kind == TPL_BOOL && v->u.b; return LMF_OK; }
TEST(is_false) { UNUSED; *out = v->kind == TPL_BOOL && !v->u.b; return LMF_OK; }
static bool is_big(const tpl_value *v) { return v->kind == TPL_STR && v->u.s->number; }

TEST(is_integer) { UNUSED; *out = v->kind == TPL_INT || is_big(v); return LMF_OK; }
TEST(is_float) { UNUSED; *out = v->kind == TPL_FLOAT; return LMF_OK; }
TEST(is_number) { UNUSED; *out = v->kind == TPL_INT || v->kind == TPL_FLOAT || v->kind == TPL_BOOL || is_big(v); return LMF_OK; }
TEST(is_string) { UNUSED; *out = v->kind == TPL_STR && !v->u.s->number; return LMF_OK; }
TEST(is_mapping) { UNUSED; *out = v->kind == TPL_DICT; return LMF_OK; }
TEST(is_iterable) { UNUSED; *out = lmf__tpl_iterable(v) || v->kind == TPL_LOOP; return LMF_OK; }
TEST(is_callable)
{
    UNUSED;
    *out = v->kind == TPL_MACRO || v->kind == TPL_FUNC || v->kind == TPL_METHOD || v->kind == TPL_UNDEFINED || v->kind == TPL_LOOP;
    return LMF_OK;
}
TEST(is_escaped) { UNUSED; *out = v->kind == TPL_STR && v->u.s->markup; return LMF_OK; }
TEST(is_sequence)
{
    UNUSED;
    *out = v->kind == TPL_UNDEFINED || v->kind == TPL_STR || v->kind == TPL_DICT || (v->kind == TPL_SEQ && v->u.seq->kind <= TPL_RANGE);
    return LMF_OK;
}

static lmf_status has_case(tpl_run *r, const tpl_value *v, tpl_class c, bool *out)
{
    tpl_str *s;
    LMF_TRY(lmf__tpl_to_str(r, v, &s));
    return lmf__tpl_is_class(r, s, c, out);
}
TEST(is_lower) { UNUSED; return has_case(r, v, TPL_IS_LOWER, out); }
TEST(is_upper) { UNUSED; return has_case(r, v, TPL_IS_UPPER, out); }

/* v % by == want */
static lmf_status remainder_is(tpl_run *r, const tpl_value *v, const tpl_value *by, int64_t want, bool *out)
{
    tpl_value m, w = lmf__tpl_int(want);
    LMF_TRY(lmf__tpl_binary(r, '%', v, by, &m));
    return lmf__tpl_equal(r, &m, &w, out);
}
TEST(is_odd) { UNUSED; return remainder_is(r, v, &(tpl_value){ TPL_INT, { .i = 2 } }, 1, out); }
TEST(is_even) { UNUSED; return remainder_is(r, v, &(tpl_value){ TPL_INT, { .i = 2 } }, 0, out); }
TEST(is_divisible) { UNUSED; return remainder_is(r, v, arg, 0, out); }

TEST(is_eq) { UNUSED; return lmf__tpl_equal(r, v, arg, out); }
TEST(is_ne)
{
    LMF_TRY(lmf__tpl_equal(r, v, arg, out));
    *out = !*out;
    return LMF_OK;
}
TEST(is_lt) { UNUSED; return lmf__tpl_less(r, v, arg, out); }
TEST(is_gt) { UNUSED; return lmf__tpl_less(r, arg, v, out); }
static lmf_status at_most(tpl_run *r, const tpl_value *v, const tpl_value *arg, bool *out)
{
    bool same;
    LMF_TRY(lmf__tpl_less(r, v, arg, out));
    LMF_TRY(lmf__tpl_equal(r, v, arg, &same));
    *out |= same;
    return LMF_OK;
}
TEST(is_le) { UNUSED; return at_most(r, v, arg, out); }
TEST(is_ge) { UNUSED; return at_most(r, arg, v, out); }
TEST(is_in) { UNUSED; return lmf__tpl_contains(r, arg, v, out); }
TEST(is_same)
{
    UNUSED;
    bool by_value = v->kind == TPL_NONE || v->kind == TPL_BOOL || v->kind == TPL_INT || v->kind == TPL_FLOAT || v->kind == TPL_FUNC;
    if (v->kind != arg->kind)
        return *out = false, LMF_OK;
    if (by_value)
        return lmf__tpl_equal(r, v, arg, out);
    *out = v->u.d == arg->u.d;
    return LMF_OK;
}
TEST(is_filter)
{
    UNUSED;
    *out = v->kind == TPL_STR && (lmf__tpl_find_filter(v->u.s) || lmf__tpl_known_filter(v->u.s));
    return LMF_OK;
}
TEST(is_test) { UNUSED; *out = v->kind == TPL_STR && lmf__tpl_find_test(v->u.s); return LMF_OK; }

static const tpl_test_row tests[] = {
    { "defined", 0, is_defined }, { "undefined", 0, is_undefined }, { "none", 0, is_none }, { "boolean", 0, is_boolean }, { "true", 0, is_true },
    { "false", 0, is_false }, { "integer", 0, is_integer }, { "float", 0, is_float }, { "number", 0, is_number }, { "string", 0, is_string },
    { "mapping", 0, is_mapping }, { "iterable", 0, is_iterable }, { "callable", 0, is_callable }, { "escaped", 0, is_escaped },
    { "sequence", 0, is_sequence }, { "lower", 0, is_lower }, { "upper", 0, is_upper }, { "odd", 0, is_odd }, { "even", 0, is_even },
    { "divisibleby", 1, is_divisible }, { "eq", 1, is_eq }, { "equalto", 1, is_eq }, { "==", 1, is_eq }, { "ne", 1, is_ne }, { "!=", 1, is_ne },
    { "lt", 1, is_lt }, { "lessthan", 1, is_lt }, { "<", 1, is_lt }, { "gt", 1, is_gt }, { "greaterthan", 1, is_gt }, { ">", 1, is_gt },
    { "le", 1, is_le }, { "<=", 1, is_le }, { "ge", 1, is_ge }, { ">=", 1, is_ge }, { "in", 1, is_in }, { "sameas", 1, is_same },
    { "filter", 0, is_filter }, { "test", 0, is_test },
};

const tpl_test_row *lmf__tpl_find_test(const tpl_str *name)
{
    for (size_t i = 0; i < sizeof tests / sizeof *tests; i++)
        if (lmf__tpl_str_eq(name, tests[i].name))
            return &tests[i];
    return NULL;
}

lmf_status lmf__tpl_call_test(tpl_run *r, const tpl_test_row *row, const tpl_value *v, const tpl_args *args, bool *out)
{
    tpl_value none = { .kind = TPL_MISSING };
    LMF_TRY(lmf__tpl_step(r, 0));
    if (args->n_kw)
        return TPL_FAIL(r, LMF_E_UNSUPPORTED, "the test '%s' takes no named arguments", row->name);
    if (args->n_pos != (size_t)row->n_args)
        return TPL_FAIL(r, LMF_E_ARG, "the test '%s' takes %d arguments, not %zu", row->name, row->n_args, args->n_pos);
    return row->call(r, v, row->n_args ? &args->pos[0] : &none, out);
}
