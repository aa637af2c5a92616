/* SPDX-License-Identifier: Apache-2.0 */
/* Parsing of expressions, lowest binding first, in the order of Jinja's grammar: a if b else c, or, and, not,
 * comparisons, + -, ~, * / // %, **, signs, then primary with its subscripts, calls, filters and tests. */
#include "text/template/parse.h"

static lmf_status parse_or(tpl_parser *p, tpl_node **out);
static lmf_status parse_unary(tpl_parser *p, bool with_filter, tpl_node **out);
static lmf_status parse_primary(tpl_parser *p, bool with_namespace, tpl_node **out);
static lmf_status parse_postfix(tpl_parser *p, tpl_node **node);

/* A node over two others, at the line of the first. */
static lmf_status join(tpl_parser *p, tpl_node_kind kind, int op, tpl_node *a, tpl_node *b, tpl_node **out)
{
    tpl_node *n = lmf__tpl_node(p, kind);
    if (!n)
        return p->r->status;
    n->op = op;
    n->a = a;
    n->b = b;
    n->line = a->line;
    *out = n;
    return LMF_OK;
}

lmf_status lmf__tpl_parse_expr(tpl_parser *p, bool with_cond, tpl_node **out)
{
    int n_unknown = p->n_unknown;
    LMF_TRY(lmf__tpl_enter(p));
    LMF_TRY(parse_or(p, out));
    while (with_cond && lmf__tpl_skip_name(p, "if")) {
        tpl_node *n = NULL;
        LMF_TRY(join(p, TPL_N_COND, 0, *out, *out, &n));
        LMF_TRY(parse_or(p, &n->a));
        if (lmf__tpl_skip_name(p, "else"))
            LMF_TRY(lmf__tpl_parse_expr(p, true, &n->c));
        *out = n;
        p->n_unknown = n_unknown; /* like the body of an if: refused when reached */
    }
    p->depth--;
    return LMF_OK;
}

static lmf_status parse_not(tpl_parser *p, tpl_node **out);

static lmf_status parse_and(tpl_parser *p, tpl_node **out)
{
    tpl_node *b;
    LMF_TRY(parse_not(p, out));
    while (lmf__tpl_skip_name(p, "and")) {
        LMF_TRY(parse_not(p, &b));
        LMF_TRY(join(p, TPL_N_AND, 0, *out, b, out));
    }
    return LMF_OK;
}

static lmf_status parse_or(tpl_parser *p, tpl_node **out)
{
    tpl_node *b;
    LMF_TRY(parse_and(p, out));
    while (lmf__tpl_skip_name(p, "or")) {
        LMF_TRY(parse_and(p, &b));
        LMF_TRY(join(p, TPL_N_OR, 0, *out, b, out));
    }
    return LMF_OK;
}

static lmf_status parse_pow(tpl_parser *p, tpl_node **out)
{
    tpl_node *b;
    LMF_TRY(parse_unary(p, true, out));
    while (lmf__tpl_skip_op(p, 'p')) {
        LMF_TRY(parse_unary(p, true, &b));
        LMF_TRY(join(p, TPL_N_BINARY, 'p', *out, b, out));
    }
    return LMF_OK;
}

static lmf_status parse_product(tpl_parser *p, tpl_node **out)
{
    tpl_node *b;
    LMF_TRY(parse_pow(p, out));
    while (p->tok->kind == TPL_T_OP && strchr("*/f%", p->tok->op)) {
        int op = p->tok++->op;
        LMF_TRY(parse_pow(p, &b));
        LMF_TRY(join(p, TPL_N_BINARY, op, *out, b, out));
    }
    return LMF_OK;
}

static lmf_status parse_concat(tpl_parser *p, tpl_node **out)
{
    tpl_nodes l = { 0 };
    tpl_node *n = NULL;
    LMF_TRY(parse_product(p, out));
    if (!lmf__tpl_is_op(p, '~'))
        return LMF_OK;
    n = lmf__tpl_node(p, TPL_N_CONCAT);
    if (!n)
        return p->r->status;
    LMF_TRY(lmf__tpl_push_node(p, &l, *out));
    while (lmf__tpl_skip_op(p, '~')) {
        LMF_TRY(parse_product(p, out));
        LMF_TRY(lmf__tpl_push_node(p, &l, *out));
    }
    n->items = l.items;
    n->n = l.n;
    *out = n;
    return LMF_OK;
}

static lmf_status parse_sum(tpl_parser *p, tpl_node **out)
{
    tpl_node *b;
    LMF_TRY(parse_concat(p, out));
    while (lmf__tpl_is_op(p, '+') || lmf__tpl_is_op(p, '-')) {
        int op = p->tok++->op;
        LMF_TRY(parse_concat(p, &b));
        LMF_TRY(join(p, TPL_N_BINARY, op, *out, b, out));
    }
    return LMF_OK;
}

static int compare_op(tpl_parser *p)
{
    if (p->tok->kind == TPL_T_OP && strchr("enlg<>", p->tok->op))
        return p->tok++->op;
    if (lmf__tpl_skip_name(p, "in"))
        return 'i';
    if (lmf__tpl_is_name(p, "not") && p->tok[1].kind == TPL_T_NAME && lmf__tpl_str_eq(p->tok[1].value.u.s, "in"))
        return p->tok += 2, 'o';
    return 0;
}

static lmf_status parse_compare(tpl_parser *p, tpl_node **out)
{
    tpl_nodes l = { 0 };
    tpl_node *n = NULL, *b;
    int *ops = NULL;
    size_t cap = 0;
    LMF_TRY(parse_sum(p, out));
    for (int op; (op = compare_op(p)) != 0;) {
        if (!n)
            LMF_TRY(join(p, TPL_N_COMPARE, 0, *out, NULL, &n));
        if (l.n == cap) {
            int *bigger = lmf__tpl_alloc(p->r, cap ? cap * 2 : 2, sizeof *bigger);
            if (!bigger)
                return p->r->status;
            if (cap)
                memcpy(bigger, ops, cap * sizeof *ops);
            ops = bigger;
            cap = cap ? cap * 2 : 2;
        }
        ops[l.n] = op;
        LMF_TRY(parse_sum(p, &b));
        LMF_TRY(lmf__tpl_push_node(p, &l, b));
    }
    if (n) {
        n->items = l.items;
        n->n = l.n;
        n->ops = ops;
        *out = n;
    }
    return LMF_OK;
}

static lmf_status parse_not(tpl_parser *p, tpl_node **out)
{
    if (!lmf__tpl_is_name(p, "not"))
        return parse_compare(p, out);
    tpl_node *n = lmf__tpl_node(p, TPL_N_NOT);
    if (!n)
        return p->r->status;
    p->tok++;
    LMF_TRY(lmf__tpl_enter(p));
    LMF_TRY(parse_not(p, &n->a));
    p->depth--;
    *out = n;
    return LMF_OK;
}

/* ---- calls ---- */

static lmf_status push_kw(tpl_parser *p, tpl_call_args *c, tpl_nodes *kw, const tpl_str *name, tpl_node *value)
{
    size_t cap = kw->cap;
    for (size_t i = 0; i < kw->n; i++)
        if (c->names[i] == name)
            return lmf__tpl_parse_fail(p, "each argument only once");
    LMF_TRY(lmf__tpl_push_node(p, kw, value));
    if (kw->cap != cap) {
        const tpl_str **names = lmf__tpl_alloc(p->r, kw->cap, sizeof *names);
        if (!names)
            return p->r->status;
        if (kw->n > 1)
            memcpy(names, c->names, (kw->n - 1) * sizeof *names);
        c->names = names;
    }
    c->names[kw->n - 1] = name;
    return LMF_OK;
}

static lmf_status parse_args(tpl_parser *p, tpl_call_args **out)
{
    tpl_call_args *c = lmf__tpl_alloc(p->r, 1, sizeof *c);
    tpl_nodes pos = { 0 }, kw = { 0 };
    tpl_node *x;
    if (!c)
        return p->r->status;
    p->tok++; /* ( */
    for (bool first = true; !lmf__tpl_is_op(p, ')'); first = false) {
        if (!first) {
            LMF_TRY(lmf__tpl_expect_op(p, ','));
            if (lmf__tpl_is_op(p, ')'))
                break;
        }
        if (lmf__tpl_is_op(p, '*') && !c->star && !c->star_star) {
            p->tok++;
            LMF_TRY(lmf__tpl_parse_expr(p, true, &c->star));
        } else if (lmf__tpl_is_op(p, 'p') && !c->star_star) {
            p->tok++;
            LMF_TRY(lmf__tpl_parse_expr(p, true, &c->star_star));
        } else if (p->tok->kind == TPL_T_NAME && p->tok[1].kind == TPL_T_OP && p->tok[1].op == '=' && !c->star_star) {
            const tpl_str *name;
            LMF_TRY(lmf__tpl_expect_name(p, &name));
            p->tok++;
            LMF_TRY(lmf__tpl_parse_expr(p, true, &x));
            LMF_TRY(push_kw(p, c, &kw, name, x));
        } else {
            if (c->star || c->star_star || kw.n)
                return lmf__tpl_parse_fail(p, "arguments by position before all others");
            LMF_TRY(lmf__tpl_parse_expr(p, true, &x));
            LMF_TRY(lmf__tpl_push_node(p, &pos, x));
        }
    }
    p->tok++;
    c->pos = pos.items;
    c->n_pos = pos.n;
    c->kw = kw.items;
    c->n_kw = kw.n;
    *out = c;
    return LMF_OK;
}

static lmf_status parse_call(tpl_parser *p, tpl_node **node)
{
    LMF_TRY(join(p, TPL_N_CALL, 0, *node, NULL, node));
    return parse_args(p, &(*node)->args);
}

/* ---- subscripts ---- */

static lmf_status parse_subscript(tpl_parser *p, tpl_node **node)
{
    tpl_node *n = NULL;
    LMF_TRY(join(p, TPL_N_ITEM, 0, *node, NULL, &n));
    *node = n;
    if (lmf__tpl_skip_op(p, '.')) {
        if (p->tok->kind == TPL_T_NAME) {
            n->kind = TPL_N_ATTR;
            n->value = p->tok++->value;
            return LMF_OK;
        }
        if (p->tok->kind != TPL_T_NUMBER || p->tok->value.kind != TPL_INT)
            return lmf__tpl_parse_fail(p, "a name or a number");
        n->b = lmf__tpl_node(p, TPL_N_CONST);
        if (!n->b)
            return p->r->status;
        n->b->value = p->tok++->value;
        return LMF_OK;
    }
    p->tok++; /* [ */
    if (!lmf__tpl_is_op(p, ':'))
        LMF_TRY(lmf__tpl_parse_expr(p, true, &n->b));
    if (lmf__tpl_skip_op(p, ':')) {
        n->kind = TPL_N_SLICE;
        if (!lmf__tpl_is_op(p, ':') && !lmf__tpl_is_op(p, ']') && !lmf__tpl_is_op(p, ','))
            LMF_TRY(lmf__tpl_parse_expr(p, true, &n->c));
        if (lmf__tpl_skip_op(p, ':') && !lmf__tpl_is_op(p, ']') && !lmf__tpl_is_op(p, ','))
            LMF_TRY(lmf__tpl_parse_expr(p, true, &n->d));
    } else if (lmf__tpl_is_op(p, ',')) { /* x[a, b]: a tuple as key */
        tpl_nodes l = { 0 };
        tpl_node *tuple = NULL, *x = n->b;
        LMF_TRY(join(p, TPL_N_TUPLE, 0, x, NULL, &tuple));
        LMF_TRY(lmf__tpl_push_node(p, &l, x));
        while (lmf__tpl_skip_op(p, ',')) {
            LMF_TRY(lmf__tpl_parse_expr(p, true, &x));
            LMF_TRY(lmf__tpl_push_node(p, &l, x));
        }
        tuple->items = l.items;
        tuple->n = l.n;
        n->b = tuple;
    }
    return lmf__tpl_expect_op(p, ']');
}

static lmf_status parse_postfix(tpl_parser *p, tpl_node **node)
{
    for (;;) {
        if (lmf__tpl_is_op(p, '.') || lmf__tpl_is_op(p, '['))
            LMF_TRY(parse_subscript(p, node));
        else if (lmf__tpl_is_op(p, '('))
            LMF_TRY(parse_call(p, node));
        else
            return LMF_OK;
    }
}

/* ---- filters and tests ---- */

static void note_unknown(tpl_parser *p, const tpl_node *n)
{
    if (!n->row && !p->soft && p->n_unknown++ == 0)
        p->unknown = n;
}

lmf_status lmf__tpl_check_unknown(tpl_parser *p)
{
    const tpl_node *n = p->unknown;
    if (!p->n_unknown)
        return LMF_OK;
    p->r->line = n->line;
    bool filter = n->kind == TPL_N_FILTER, known = filter && lmf__tpl_known_filter(n->name);
    return TPL_FAIL(p->r, known ? LMF_E_UNSUPPORTED : LMF_E_FORMAT, "the %s '%.*s' %s", filter ? "filter" : "test", (int)(n->name->n < 60 ? n->name->n : 60), n->name->data,
        known ? "is not supported" : "does not exist");
}

lmf_status lmf__tpl_parse_filters(tpl_parser *p, tpl_node *a, bool inline_start, tpl_node **out)
{
    while (inline_start || lmf__tpl_is_op(p, '|')) {
        p->tok += !inline_start;
        inline_start = false;
        tpl_node *n = lmf__tpl_node(p, TPL_N_FILTER);
        if (!n)
            return p->r->status;
        n->a = a;
        LMF_TRY(lmf__tpl_expect_name(p, &n->name));
        if (lmf__tpl_is_op(p, '.'))
            return lmf__tpl_parse_fail(p, "a filter's name without dots");
        n->row = lmf__tpl_find_filter(n->name);
        note_unknown(p, n);
        if (lmf__tpl_is_op(p, '('))
            LMF_TRY(parse_args(p, &n->args));
        a = n;
    }
    *out = a;
    return LMF_OK;
}

static lmf_status parse_test(tpl_parser *p, tpl_node **node)
{
    tpl_node *n = NULL;
    LMF_TRY(join(p, TPL_N_TEST, 0, *node, NULL, &n));
    p->tok++; /* is */
    bool negated = lmf__tpl_skip_name(p, "not");
    LMF_TRY(lmf__tpl_expect_name(p, &n->name));
    if (lmf__tpl_is_op(p, '.'))
        return lmf__tpl_parse_fail(p, "a test's name without dots");
    n->row = lmf__tpl_find_test(n->name);
    note_unknown(p, n);
    bool starts = p->tok->kind == TPL_T_NAME || p->tok->kind == TPL_T_STRING || p->tok->kind == TPL_T_NUMBER || lmf__tpl_is_op(p, '[') || lmf__tpl_is_op(p, '{');
    if (lmf__tpl_is_op(p, '(')) {
        LMF_TRY(parse_args(p, &n->args));
    } else if (starts && !lmf__tpl_is_name(p, "else") && !lmf__tpl_is_name(p, "or") && !lmf__tpl_is_name(p, "and")) {
        tpl_nodes l = { 0 };
        tpl_node *arg;
        if (lmf__tpl_is_name(p, "is"))
            return lmf__tpl_parse_fail(p, "only one test");
        n->args = lmf__tpl_alloc(p->r, 1, sizeof *n->args);
        if (!n->args)
            return p->r->status;
        LMF_TRY(parse_primary(p, false, &arg));
        LMF_TRY(parse_postfix(p, &arg));
        LMF_TRY(lmf__tpl_push_node(p, &l, arg));
        n->args->pos = l.items;
        n->args->n_pos = 1;
    }
    *node = n;
    return negated ? join(p, TPL_N_NOT, 0, n, NULL, node) : LMF_OK;
}

static lmf_status parse_unary(tpl_parser *p, bool with_filter, tpl_node **out)
{
    if (lmf__tpl_is_op(p, '-') || lmf__tpl_is_op(p, '+')) {
        tpl_node *n = lmf__tpl_node(p, TPL_N_SIGN);
        if (!n)
            return p->r->status;
        n->op = p->tok++->op;
        LMF_TRY(lmf__tpl_enter(p));
        LMF_TRY(parse_unary(p, false, &n->a));
        p->depth--;
        *out = n;
    } else {
        LMF_TRY(parse_primary(p, false, out));
    }
    LMF_TRY(parse_postfix(p, out));
    while (with_filter) {
        if (lmf__tpl_is_op(p, '|'))
            LMF_TRY(lmf__tpl_parse_filters(p, *out, false, out));
        else if (lmf__tpl_is_name(p, "is"))
            LMF_TRY(parse_test(p, out));
        else if (lmf__tpl_is_op(p, '('))
            LMF_TRY(parse_call(p, out));
        else
            break;
    }
    return LMF_OK;
}

/* ---- primaries ---- */

static lmf_status parse_name(tpl_parser *p, bool with_namespace, tpl_node *n)
{
    const tpl_token *t = p->tok;
    bool yes = lmf__tpl_is_name(p, "true") || lmf__tpl_is_name(p, "True");
    if (yes || lmf__tpl_is_name(p, "false") || lmf__tpl_is_name(p, "False")) {
        n->value = lmf__tpl_bool(yes);
    } else if (lmf__tpl_is_name(p, "none") || lmf__tpl_is_name(p, "None")) {
        n->value = TPL_NONE_VALUE;
    } else {
        n->kind = TPL_N_NAME;
        LMF_TRY(lmf__tpl_expect_name(p, &n->name));
        p->uses |= lmf__tpl_str_eq(n->name, "varargs") ? TPL_USES_VARARGS : lmf__tpl_str_eq(n->name, "kwargs") ? TPL_USES_KWARGS : lmf__tpl_str_eq(n->name, "caller") ? TPL_USES_CALLER : 0;
        if (with_namespace && lmf__tpl_skip_op(p, '.')) {
            const tpl_str *attr;
            n->kind = TPL_N_NSREF;
            LMF_TRY(lmf__tpl_expect_name(p, &attr));
            n->value = lmf__tpl_of_str((tpl_str *)attr);
        }
        return LMF_OK;
    }
    p->tok = t + 1;
    return LMF_OK;
}

static lmf_status parse_list(tpl_parser *p, tpl_node *n)
{
    tpl_nodes keys = { 0 }, values = { 0 };
    tpl_node *x;
    int close = p->tok++->op == '[' ? ']' : '}';
    n->kind = close == ']' ? TPL_N_LIST : TPL_N_DICT;
    while (!lmf__tpl_is_op(p, close)) {
        if (keys.n)
            LMF_TRY(lmf__tpl_expect_op(p, ','));
        if (lmf__tpl_is_op(p, close))
            break;
        LMF_TRY(lmf__tpl_parse_expr(p, true, &x));
        LMF_TRY(lmf__tpl_push_node(p, &keys, x));
        if (close == '}') {
            LMF_TRY(lmf__tpl_expect_op(p, ':'));
            LMF_TRY(lmf__tpl_parse_expr(p, true, &x));
            LMF_TRY(lmf__tpl_push_node(p, &values, x));
        }
    }
    p->tok++;
    n->items = keys.items;
    n->n = keys.n;
    n->more = values.items;
    return LMF_OK;
}

static lmf_status parse_primary(tpl_parser *p, bool with_namespace, tpl_node **out)
{
    tpl_node *n = lmf__tpl_node(p, TPL_N_CONST);
    if (!n)
        return p->r->status;
    *out = n;
    if (p->tok->kind == TPL_T_NAME)
        return parse_name(p, with_namespace, n);
    if (p->tok->kind == TPL_T_NUMBER)
        return n->value = p->tok++->value, LMF_OK;
    if (p->tok->kind == TPL_T_STRING) {
        n->value = p->tok++->value;
        while (p->tok->kind == TPL_T_STRING) {
            LMF_TRY(lmf__tpl_concat(p->r, n->value.u.s, p->tok->value.u.s, &n->value));
            p->tok++;
        }
        n->value.u.s->room = NULL; /* shared by runs: nothing may be appended in place, nor counted later */
        lmf__tpl_chars(n->value.u.s);
        return LMF_OK;
    }
    if (lmf__tpl_is_op(p, '(')) {
        p->tok++;
        LMF_TRY(lmf__tpl_parse_tuple(p, TPL_TUPLE_PARENS, out));
        return lmf__tpl_expect_op(p, ')');
    }
    if (lmf__tpl_is_op(p, '[') || lmf__tpl_is_op(p, '{'))
        return parse_list(p, n);
    return lmf__tpl_parse_fail(p, "an expression");
}

lmf_status lmf__tpl_parse_tuple(tpl_parser *p, int flags, tpl_node **out)
{
    tpl_nodes l = { 0 };
    tpl_node *n = lmf__tpl_node(p, TPL_N_TUPLE);
    bool is_tuple = false;
    if (!n)
        return p->r->status;
    LMF_TRY(lmf__tpl_enter(p));
    for (;;) {
        if (l.n)
            LMF_TRY(lmf__tpl_expect_op(p, ','));
        if (p->tok->kind == TPL_T_VAR_END || p->tok->kind == TPL_T_BLOCK_END || lmf__tpl_is_op(p, ')') ||
            ((flags & TPL_TUPLE_FOR_TARGET) && lmf__tpl_is_name(p, "in")) || ((flags & TPL_TUPLE_ENDS_RECURSIVE) && lmf__tpl_is_name(p, "recursive")))
            break;
        tpl_node *x;
        if (flags & TPL_TUPLE_SIMPLE)
            LMF_TRY(parse_primary(p, flags & TPL_TUPLE_NAMESPACE, &x));
        else
            LMF_TRY(lmf__tpl_parse_expr(p, !(flags & TPL_TUPLE_NO_COND), &x));
        LMF_TRY(lmf__tpl_push_node(p, &l, x));
        if (!lmf__tpl_is_op(p, ','))
            break;
        is_tuple = true;
    }
    p->depth--;
    if (!is_tuple && l.n == 1)
        return *out = l.items[0], LMF_OK;
    if (!is_tuple && !(flags & TPL_TUPLE_PARENS))
        return lmf__tpl_parse_fail(p, "an expression");
    n->items = l.items;
    n->n = l.n;
    *out = n;
    return LMF_OK;
}

static lmf_status check_target(tpl_parser *p, tpl_node *n)
{
    if (n->kind == TPL_N_NAME || n->kind == TPL_N_NSREF)
        return LMF_OK;
    if (n->kind != TPL_N_TUPLE && n->kind != TPL_N_LIST) /* of lists, jinja2 says no */
        return lmf__tpl_parse_fail(p, "a name to assign to before it");
    if (n->kind == TPL_N_LIST)
        return lmf__tpl_parse_fail(p, "names to assign to, not a list, before it");
    for (size_t i = 0; i < n->n; i++)
        LMF_TRY(check_target(p, n->items[i]));
    return LMF_OK;
}

lmf_status lmf__tpl_parse_target(tpl_parser *p, int flags, tpl_node **out)
{
    LMF_TRY(lmf__tpl_parse_tuple(p, flags | TPL_TUPLE_SIMPLE, out));
    return check_target(p, *out);
}
