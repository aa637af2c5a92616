/* SPDX-License-Identifier: Apache-2.0 */
/* The parser: statements, with Jinja's grammar. Expressions are in expr.c.
 * Rule: recursion is bounded by MAX_DEPTH through enter/leave; nothing is evaluated here. */
#include "text/template/parse.h"

tpl_node *lmf__tpl_node(tpl_parser *p, tpl_node_kind kind)
{
    tpl_node *n = lmf__tpl_alloc(p->r, 1, sizeof *n);
    if (n) {
        n->kind = kind;
        n->line = p->tok->line;
    }
    return n;
}

lmf_status lmf__tpl_push_node(tpl_parser *p, tpl_nodes *l, tpl_node *n)
{
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 4;
        tpl_node **items = lmf__tpl_alloc(p->r, cap, sizeof *items);
        if (!items)
            return p->r->status;
        if (l->n)
            memcpy(items, l->items, l->n * sizeof *items);
        l->items = items;
        l->cap = cap;
    }
    l->items[l->n++] = n;
    return LMF_OK;
}

lmf_status lmf__tpl_parse_fail(tpl_parser *p, const char *wanted)
{
    static const char *const kinds[] = { "the end of the template", "text", "'{{'", "'}}'", "'{%'", "'%}'", "name", "a string", "a number", "operator" };
    const tpl_token *t = p->tok;
    p->r->line = t->line;
    if (t->kind == TPL_T_NAME)
        return TPL_FAIL(p->r, LMF_E_FORMAT, "expected %s, found '%.*s'", wanted, (int)(t->value.u.s->n < 60 ? t->value.u.s->n : 60), t->value.u.s->data);
    if (t->kind == TPL_T_OP) {
        const char *long_form = t->op == 'f' ? "//" : t->op == 'p' ? "**" : t->op == 'e' ? "==" : t->op == 'n' ? "!=" : t->op == 'l' ? "<=" : t->op == 'g' ? ">=" : NULL;
        return TPL_FAIL(p->r, LMF_E_FORMAT, "expected %s, found '%s'", wanted, long_form ? long_form : (char[]){ (char)t->op, 0 });
    }
    return TPL_FAIL(p->r, LMF_E_FORMAT, "expected %s, found %s", wanted, kinds[t->kind]);
}

lmf_status lmf__tpl_enter(tpl_parser *p)
{
    if (++p->depth <= TPL_MAX_PARSE_DEPTH)
        return LMF_OK;
    p->r->line = p->tok->line;
    return TPL_FAIL(p->r, LMF_E_LIMIT, "the template nests deeper than %d levels", TPL_MAX_PARSE_DEPTH);
}

lmf_status lmf__tpl_intern(tpl_parser *p, tpl_str *s, const tpl_str **out)
{
    tpl_value *found, key = lmf__tpl_of_str(s);
    LMF_TRY(lmf__tpl_dict_find(p->r, p->names, &key, &found));
    if (!found)
        LMF_TRY(lmf__tpl_dict_set(p->r, p->names, key, key));
    *out = found ? found->u.s : s;
    return LMF_OK;
}

bool lmf__tpl_is_op(const tpl_parser *p, int op) { return p->tok->kind == TPL_T_OP && p->tok->op == op; }
bool lmf__tpl_is_name(const tpl_parser *p, const char *name) { return p->tok->kind == TPL_T_NAME && lmf__tpl_str_eq(p->tok->value.u.s, name); }

bool lmf__tpl_skip_op(tpl_parser *p, int op)
{
    bool hit = lmf__tpl_is_op(p, op);
    p->tok += hit;
    return hit;
}

bool lmf__tpl_skip_name(tpl_parser *p, const char *name)
{
    bool hit = lmf__tpl_is_name(p, name);
    p->tok += hit;
    return hit;
}

lmf_status lmf__tpl_expect_op(tpl_parser *p, int op)
{
    return lmf__tpl_skip_op(p, op) ? LMF_OK : lmf__tpl_parse_fail(p, (char[]){ '\'', (char)op, '\'', 0 });
}

static lmf_status expect_block_end(tpl_parser *p)
{
    if (p->tok->kind != TPL_T_BLOCK_END)
        return lmf__tpl_parse_fail(p, "'%}'");
    p->tok++;
    return LMF_OK;
}

lmf_status lmf__tpl_expect_name(tpl_parser *p, const tpl_str **out)
{
    if (p->tok->kind != TPL_T_NAME)
        return lmf__tpl_parse_fail(p, "a name");
    LMF_TRY(lmf__tpl_intern(p, p->tok->value.u.s, out));
    p->tok++;
    return LMF_OK;
}

static lmf_status parse_body(tpl_parser *p, const char *const *ends, tpl_node **out);

static bool at_any(const tpl_parser *p, const char *const *names)
{
    for (; names && *names; names++)
        if (lmf__tpl_is_name(p, *names))
            return true;
    return false;
}

/* After a statement's head: '%}', then the body up to one of the end names, which is left to the caller. */
static lmf_status parse_statements(tpl_parser *p, const char *const *ends, tpl_node **out)
{
    lmf__tpl_skip_op(p, ':');
    LMF_TRY(expect_block_end(p));
    return parse_body(p, ends, out);
}

static lmf_status parse_if(tpl_parser *p, tpl_node *n)
{
    static const char *const ends[] = { "elif", "else", "endif", NULL };
    static const char *const end[] = { "endif", NULL };
    tpl_nodes parts = { 0 };
    tpl_node *part;
    bool soft = p->soft;
    p->soft = true;
    do {
        LMF_TRY(lmf__tpl_parse_tuple(p, TPL_TUPLE_NO_COND, &part));
        LMF_TRY(lmf__tpl_push_node(p, &parts, part));
        LMF_TRY(parse_statements(p, ends, &part));
        LMF_TRY(lmf__tpl_push_node(p, &parts, part));
    } while (lmf__tpl_skip_name(p, "elif"));
    if (lmf__tpl_skip_name(p, "else")) {
        LMF_TRY(parse_statements(p, end, &part));
        LMF_TRY(lmf__tpl_push_node(p, &parts, part));
    }
    p->tok++; /* endif */
    p->soft = soft;
    n->items = parts.items;
    n->n = parts.n;
    return LMF_OK;
}

static lmf_status parse_for(tpl_parser *p, tpl_node *n)
{
    static const char *const ends[] = { "endfor", "else", NULL };
    static const char *const end[] = { "endfor", NULL };
    bool soft = p->soft, in_loop = p->in_loop;
    LMF_TRY(lmf__tpl_parse_target(p, TPL_TUPLE_FOR_TARGET, &n->a));
    if (!lmf__tpl_skip_name(p, "in"))
        return lmf__tpl_parse_fail(p, "'in'");
    LMF_TRY(lmf__tpl_parse_tuple(p, TPL_TUPLE_NO_COND | TPL_TUPLE_ENDS_RECURSIVE, &n->b));
    p->soft = false;
    if (lmf__tpl_skip_name(p, "if"))
        LMF_TRY(lmf__tpl_parse_expr(p, true, &n->c));
    if (lmf__tpl_is_name(p, "recursive"))
        return p->r->line = n->line, TPL_FAIL(p->r, LMF_E_UNSUPPORTED, "recursive loops are not supported");
    tpl_nodes body = { 0 };
    tpl_node *part;
    p->in_loop = true;
    LMF_TRY(parse_statements(p, ends, &part));
    LMF_TRY(lmf__tpl_push_node(p, &body, part));
    n->items = body.items;
    p->in_loop = in_loop;
    if (lmf__tpl_skip_name(p, "else"))
        LMF_TRY(parse_statements(p, end, &n->d));
    p->tok++; /* endfor */
    p->soft = soft;
    return LMF_OK;
}

static lmf_status parse_set(tpl_parser *p, tpl_node *n)
{
    static const char *const end[] = { "endset", NULL };
    LMF_TRY(lmf__tpl_parse_target(p, TPL_TUPLE_NAMESPACE, &n->a));
    if (lmf__tpl_skip_op(p, '='))
        return lmf__tpl_parse_tuple(p, 0, &n->b);
    n->kind = TPL_N_SET_BLOCK;
    if (lmf__tpl_is_op(p, '|'))
        LMF_TRY(lmf__tpl_parse_filters(p, NULL, false, &n->c));
    bool soft = p->soft;
    p->soft = false;
    LMF_TRY(parse_statements(p, end, &n->b));
    p->soft = soft;
    p->tok++;
    return LMF_OK;
}

static lmf_status parse_signature(tpl_parser *p, tpl_node *n)
{
    tpl_nodes params = { 0 }, defaults = { 0 };
    LMF_TRY(lmf__tpl_expect_op(p, '('));
    while (!lmf__tpl_is_op(p, ')')) {
        if (params.n)
            LMF_TRY(lmf__tpl_expect_op(p, ','));
        tpl_node *param = lmf__tpl_node(p, TPL_N_NAME), *value;
        if (!param)
            return p->r->status;
        LMF_TRY(lmf__tpl_expect_name(p, &param->name));
        for (size_t i = 0; i < params.n; i++)
            if (params.items[i]->name == param->name)
                return lmf__tpl_parse_fail(p, "parameters with different names");
        LMF_TRY(lmf__tpl_push_node(p, &params, param));
        if (lmf__tpl_skip_op(p, '=')) {
            LMF_TRY(lmf__tpl_parse_expr(p, true, &value));
            LMF_TRY(lmf__tpl_push_node(p, &defaults, value));
        } else if (defaults.n) {
            return lmf__tpl_parse_fail(p, "a default value, as an earlier parameter has one");
        }
    }
    p->tok++;
    n->items = params.items;
    n->n = params.n;
    n->more = defaults.items;
    n->n_more = defaults.n;
    return LMF_OK;
}

/* The body of a macro or a call block, which is a function of its own. */
static lmf_status parse_function_body(tpl_parser *p, tpl_node *n, const char *const *end)
{
    bool soft = p->soft, in_loop = p->in_loop;
    unsigned outer = p->uses;
    p->soft = p->in_loop = false;
    p->uses = 0;
    LMF_TRY(parse_statements(p, end, &n->a));
    n->flags = p->uses;
    p->uses |= outer;
    p->soft = soft;
    p->in_loop = in_loop;
    p->tok++;
    return LMF_OK;
}

static lmf_status parse_macro(tpl_parser *p, tpl_node *n)
{
    static const char *const end[] = { "endmacro", NULL };
    LMF_TRY(lmf__tpl_expect_name(p, &n->name));
    LMF_TRY(parse_signature(p, n));
    return parse_function_body(p, n, end);
}

static lmf_status parse_call_block(tpl_parser *p, tpl_node *n)
{
    static const char *const end[] = { "endcall", NULL };
    if (lmf__tpl_is_op(p, '('))
        LMF_TRY(parse_signature(p, n));
    LMF_TRY(lmf__tpl_parse_expr(p, true, &n->b));
    if (n->b->kind != TPL_N_CALL)
        return lmf__tpl_parse_fail(p, "a call before it");
    return parse_function_body(p, n, end);
}

static lmf_status parse_filter_block(tpl_parser *p, tpl_node *n)
{
    static const char *const end[] = { "endfilter", NULL };
    bool soft = p->soft;
    LMF_TRY(lmf__tpl_parse_filters(p, NULL, true, &n->c));
    p->soft = false;
    LMF_TRY(parse_statements(p, end, &n->b));
    p->soft = soft;
    p->tok++;
    return LMF_OK;
}

static lmf_status parse_with(tpl_parser *p, tpl_node *n)
{
    static const char *const end[] = { "endwith", NULL };
    tpl_nodes targets = { 0 }, values = { 0 };
    tpl_node *x;
    bool soft = p->soft;
    while (p->tok->kind != TPL_T_BLOCK_END) {
        if (targets.n)
            LMF_TRY(lmf__tpl_expect_op(p, ','));
        LMF_TRY(lmf__tpl_parse_target(p, 0, &x));
        LMF_TRY(lmf__tpl_push_node(p, &targets, x));
        LMF_TRY(lmf__tpl_expect_op(p, '='));
        LMF_TRY(lmf__tpl_parse_expr(p, true, &x));
        LMF_TRY(lmf__tpl_push_node(p, &values, x));
    }
    n->items = targets.items;
    n->n = targets.n;
    n->more = values.items;
    p->soft = false;
    LMF_TRY(parse_statements(p, end, &n->a));
    p->soft = soft;
    p->tok++;
    return LMF_OK;
}

static lmf_status parse_generation(tpl_parser *p, tpl_node *n)
{
    static const char *const end[] = { "endgeneration", NULL };
    return parse_function_body(p, n, end);
}

static lmf_status parse_jump(tpl_parser *p, tpl_node *n)
{
    if (p->in_loop)
        return LMF_OK;
    p->r->line = n->line;
    return TPL_FAIL(p->r, LMF_E_FORMAT, "break or continue outside of a loop");
}

static lmf_status parse_print(tpl_parser *p, tpl_node *n)
{
    tpl_nodes l = { 0 };
    n->kind = TPL_N_BLOCK;
    while (p->tok->kind != TPL_T_BLOCK_END) {
        tpl_node *print = lmf__tpl_node(p, TPL_N_PRINT);
        if (!print)
            return p->r->status;
        if (l.n)
            LMF_TRY(lmf__tpl_expect_op(p, ','));
        LMF_TRY(lmf__tpl_parse_expr(p, true, &print->a));
        LMF_TRY(lmf__tpl_push_node(p, &l, print));
    }
    n->items = l.items;
    n->n = l.n;
    return LMF_OK;
}

typedef struct statement { const char *name; tpl_node_kind kind; lmf_status (*parse)(tpl_parser *p, tpl_node *n); } statement;
static const statement statements[] = {
    { "if", TPL_N_IF, parse_if }, { "for", TPL_N_FOR, parse_for }, { "set", TPL_N_SET, parse_set }, { "macro", TPL_N_MACRO, parse_macro },
    { "call", TPL_N_CALL_BLOCK, parse_call_block }, { "filter", TPL_N_FILTER_BLOCK, parse_filter_block }, { "with", TPL_N_WITH, parse_with },
    { "generation", TPL_N_GENERATION, parse_generation }, { "break", TPL_N_BREAK, parse_jump }, { "continue", TPL_N_CONTINUE, parse_jump },
    { "print", TPL_N_PRINT, parse_print },
};

static lmf_status parse_statement(tpl_parser *p, tpl_node **out)
{
    static const char *const unsupported[] = { "block", "extends", "include", "import", "from", "autoescape", NULL };
    tpl_node *n = lmf__tpl_node(p, TPL_N_BLOCK);
    if (!n)
        return p->r->status;
    if (at_any(p, unsupported)) {
        p->r->line = p->tok->line;
        return TPL_FAIL(p->r, LMF_E_UNSUPPORTED, "the statement '%.*s' is not supported", (int)p->tok->value.u.s->n, p->tok->value.u.s->data);
    }
    for (size_t i = 0; i < sizeof statements / sizeof *statements; i++) {
        if (!lmf__tpl_is_name(p, statements[i].name))
            continue;
        p->tok++;
        n->kind = statements[i].kind;
        LMF_TRY(lmf__tpl_enter(p));
        LMF_TRY(statements[i].parse(p, n));
        p->depth--;
        *out = n;
        LMF_TRY(lmf__tpl_check_unknown(p));
        return expect_block_end(p);
    }
    return lmf__tpl_parse_fail(p, "a statement");
}

/* Text, prints and statements; stops at one of the end names, or at the end of the template if ends is NULL. */
static lmf_status parse_body(tpl_parser *p, const char *const *ends, tpl_node **out)
{
    tpl_node *block = lmf__tpl_node(p, TPL_N_BLOCK), *n = NULL;
    tpl_nodes l = { 0 };
    if (!block)
        return p->r->status;
    while (p->tok->kind != TPL_T_END) {
        if (p->tok->kind == TPL_T_DATA) {
            n = lmf__tpl_node(p, TPL_N_TEXT);
            if (!n)
                return p->r->status;
            n->value = p->tok++->value;
        } else if (p->tok->kind == TPL_T_VAR_BEGIN) {
            n = lmf__tpl_node(p, TPL_N_PRINT);
            if (!n)
                return p->r->status;
            p->tok++;
            LMF_TRY(lmf__tpl_parse_tuple(p, 0, &n->a));
            if (p->tok->kind != TPL_T_VAR_END)
                return lmf__tpl_parse_fail(p, "'}}'");
            p->tok++;
            LMF_TRY(lmf__tpl_check_unknown(p));
        } else {
            p->tok++; /* BLOCK_BEGIN: the lexer gives nothing else here */
            if (at_any(p, ends))
                break;
            LMF_TRY(parse_statement(p, &n));
        }
        LMF_TRY(lmf__tpl_push_node(p, &l, n));
    }
    if (ends && p->tok->kind == TPL_T_END)
        return lmf__tpl_parse_fail(p, ends[1] ? "the end of a block" : ends[0]);
    block->items = l.items;
    block->n = l.n;
    *out = block;
    return LMF_OK;
}

lmf_status lmf__tpl_parse(tpl_run *r, const tpl_tokens *tokens, tpl_node **out)
{
    tpl_parser p = { .r = r, .tok = tokens->items, .names = lmf__tpl_dict(r) };
    if (!p.names)
        return r->status;
    return parse_body(&p, NULL, out);
}
