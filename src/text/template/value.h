/* SPDX-License-Identifier: Apache-2.0 */
/* value: the values of a running template, with Python's semantics. For the files of this folder only.
 *
 * Everything lives in the run's arena, which has a maximum and is freed at once. Values are immutable once another
 * value can see them, except namespaces and the position of an iterator. Every function that handles n bytes or
 * items charges the run for them, so that steps bound the time.
 * Functions that return a pointer give NULL on failure with run->status set; the sentence carries the line. */
#ifndef LMF_TEXT_TEMPLATE_VALUE_H
#define LMF_TEXT_TEMPLATE_VALUE_H
#include <string.h>
#include "base/arena.h"
#include "text/template/template.h"

typedef enum tpl_kind {
    TPL_MISSING, /* no argument given; never seen by a template */
    TPL_UNDEFINED, TPL_NONE, TPL_BOOL, TPL_INT, TPL_FLOAT, TPL_STR, TPL_SEQ, TPL_DICT, TPL_NAMESPACE,
    TPL_MACRO, TPL_FUNC, TPL_METHOD, TPL_LOOP
} tpl_kind;

typedef enum tpl_seq_kind { TPL_LIST, TPL_TUPLE, TPL_RANGE, TPL_KEYS, TPL_VALUES, TPL_ITEMS, TPL_ITER } tpl_seq_kind;

typedef struct tpl_room { size_t used, cap; } tpl_room; /* spare bytes behind a string that grows by appending */

typedef struct tpl_str {
    const char *data;    /* valid UTF-8, n bytes, no NUL behind */
    size_t      n;
    int64_t     n_chars; /* code points, -1 until counted */
    tpl_room   *room;    /* or NULL */
    bool        markup;  /* HTML-safe: what is added to it gets escaped */
    bool        number;  /* digits of an integer past 64 bits */
} tpl_str;

typedef struct tpl_value {
    tpl_kind kind;
    union {
        bool             b;
        int64_t          i;   /* INT; FUNC: which */
        double           f;
        tpl_str         *s;   /* STR; UNDEFINED: why, or NULL */
        struct tpl_seq  *seq;
        struct tpl_dict *d;   /* DICT, NAMESPACE */
        struct tpl_macro  *macro;
        struct tpl_method *method;
        struct tpl_loop   *loop;
    } u;
} tpl_value;

typedef struct tpl_seq {
    tpl_seq_kind kind;
    size_t       n;
    tpl_value   *items;            /* NULL for RANGE */
    int64_t      start, stop, step; /* RANGE */
    size_t       pos;              /* ITER: items before it are consumed */
} tpl_seq;

typedef struct tpl_entry { tpl_value key, value; uint64_t hash; } tpl_entry;

typedef struct tpl_dict { /* keeps the order of insertion */
    tpl_entry *entries;
    size_t     n, cap;
    uint32_t  *slots;     /* entry number + 1; NULL while small */
    size_t     n_slots;   /* power of two */
} tpl_dict;

typedef struct tpl_method { const struct tpl_method_row *row; tpl_value self; } tpl_method;

typedef struct tpl_scope {
    struct tpl_scope *parent;
    struct tpl_var { const tpl_str *name; tpl_value value; } *vars; /* names are interned: compared by address */
    size_t n, cap;
    struct tpl_dict *special; /* by text: loop, caller, varargs, kwargs; or NULL */
} tpl_scope;

typedef struct tpl_macro {
    const struct tpl_node *node;  /* MACRO or CALL_BLOCK */
    const tpl_str         *name;  /* NULL: a call block's caller */
    tpl_scope             *scope; /* where it was defined */
} tpl_macro;

typedef struct tpl_run {
    lmf_ctx          *ctx;
    lmf_arena        *arena;
    lmf_template_opts opts;
    lmf_status        status;     /* of the last failed allocation */
    uint64_t          steps;
    int               depth, line;
    lmf_buf          *out;
    size_t            base;       /* out->n at the start */
    size_t            root_n;     /* where the outermost capture began; SIZE_MAX outside of any */
    const tpl_dict   *vars;
    tpl_scope        *scope;
    lmf_span_list    *spans;
    enum { TPL_FLOW_NONE, TPL_FLOW_BREAK, TPL_FLOW_CONTINUE } flow; /* what the loop around has to do */
} tpl_run;

typedef struct tpl_args {         /* of one call, evaluated */
    tpl_value      *pos;
    size_t          n_pos;
    const tpl_str **names;
    tpl_value      *kw;
    size_t          n_kw;
} tpl_args;

/* ---- failure, budget, memory ---- */
#define TPL_FAIL(r, s, ...) (lmf_fail_at((r)->ctx, __FILE__, __LINE__, (s), __VA_ARGS__), \
    lmf_fail_prefix((r)->ctx, (s), "chat template, line %d", (r)->line))
lmf_status lmf__tpl_step(tpl_run *r, uint64_t cost);
#define TPL_STEP_BYTES(r, n) lmf__tpl_step((r), (n) / 64)
#define TPL_STEP_ITEMS(r, n) lmf__tpl_step((r), (n) / 8)
void      *lmf__tpl_alloc(tpl_run *r, size_t n, size_t item_bytes);

/* ---- making ---- */
static inline tpl_value lmf__tpl_bool(bool b) { return (tpl_value){ TPL_BOOL, { .b = b } }; }
static inline tpl_value lmf__tpl_int(int64_t i) { return (tpl_value){ TPL_INT, { .i = i } }; }
static inline tpl_value lmf__tpl_float(double f) { return (tpl_value){ TPL_FLOAT, { .f = f } }; }
static inline tpl_value lmf__tpl_of_str(tpl_str *s) { return (tpl_value){ TPL_STR, { .s = s } }; }
static inline tpl_value lmf__tpl_of_seq(tpl_seq *s) { return (tpl_value){ TPL_SEQ, { .seq = s } }; }
static inline tpl_value lmf__tpl_of_dict(tpl_dict *d) { return (tpl_value){ TPL_DICT, { .d = d } }; }
#define TPL_NONE_VALUE ((tpl_value){ .kind = TPL_NONE })
tpl_value  lmf__tpl_undefined(tpl_run *r, const char *fmt, ...) LMF_PRINTF(2, 3); /* the reason is best effort */
tpl_str   *lmf__tpl_str(tpl_run *r, const char *p, size_t n);        /* copies */
tpl_str   *lmf__tpl_str_view(tpl_run *r, const tpl_str *of, size_t begin, size_t n); /* shares bytes and markup */
lmf_status lmf__tpl_str_value(tpl_run *r, const char *p, size_t n, tpl_value *out);
tpl_seq   *lmf__tpl_seq(tpl_run *r, tpl_seq_kind kind, size_t n);    /* items zeroed */
tpl_dict  *lmf__tpl_dict(tpl_run *r);
lmf_status lmf__tpl_from_json(tpl_run *r, const json_t *j, int depth, tpl_value *out);

typedef struct tpl_builder { tpl_run *r; char *data; size_t n, cap; lmf_status status; } tpl_builder; /* failure is sticky */
void       lmf__tpl_put(tpl_builder *b, const char *p, size_t n);
void       lmf__tpl_puts(tpl_builder *b, const char *s);
void       lmf__tpl_put_char(tpl_builder *b, uint32_t code_point);
lmf_status lmf__tpl_built(tpl_builder *b, tpl_value *out);           /* the string; the builder is empty again */
typedef struct tpl_list { tpl_run *r; tpl_value *items; size_t n, cap; } tpl_list; /* a list that grows */
lmf_status lmf__tpl_push(tpl_list *l, tpl_value v);
lmf_status lmf__tpl_listed(tpl_list *l, tpl_seq_kind kind, tpl_value *out);

/* ---- strings ---- */
uint32_t   lmf__tpl_decode(const char *p, size_t n, size_t *len);    /* p valid, n > 0 */
size_t     lmf__tpl_encode(uint32_t c, char out[4]);
bool       lmf__tpl_is_space(uint32_t c);                            /* Python's str.isspace, one character */
int64_t    lmf__tpl_chars(tpl_str *s);                               /* length in code points */
size_t     lmf__tpl_offset(tpl_str *s, int64_t i_char);              /* byte offset; i_char in 0 .. chars */
bool       lmf__tpl_str_eq(const tpl_str *a, const char *b);
lmf_status lmf__tpl_concat(tpl_run *r, tpl_str *a, tpl_str *b, tpl_value *out); /* escapes where one is markup */
lmf_status lmf__tpl_escape(tpl_run *r, const tpl_str *s, tpl_str **out);        /* &<>'"; markup comes back as it is */
tpl_str   *lmf__tpl_as_markup(tpl_run *r, const tpl_str *s, bool markup);

/* ---- containers ---- */
tpl_value  lmf__tpl_at(const tpl_seq *s, size_t i);
lmf_status lmf__tpl_hash(tpl_run *r, const tpl_value *v, uint64_t *out);        /* refuses what Python can't hash */
bool       lmf__tpl_hashable(const tpl_value *v);
lmf_status lmf__tpl_dict_find(tpl_run *r, const tpl_dict *d, const tpl_value *key, tpl_value **out); /* NULL: not there */
lmf_status lmf__tpl_dict_find_str(tpl_run *r, const tpl_dict *d, const tpl_str *key, tpl_value **out);
lmf_status lmf__tpl_dict_set(tpl_run *r, tpl_dict *d, tpl_value key, tpl_value value);
/* What Python's iter() gives, as a sequence: strings by character, dicts by key; an iterator is consumed. */
lmf_status lmf__tpl_iterate(tpl_run *r, const tpl_value *v, tpl_seq **out);
bool       lmf__tpl_iterable(const tpl_value *v);
lmf_status lmf__tpl_length(tpl_run *r, const tpl_value *v, int64_t *out);
bool       lmf__tpl_has_length(const tpl_value *v);

/* ---- semantics ---- */
bool       lmf__tpl_truth(const tpl_value *v);
const char *lmf__tpl_type(const tpl_value *v);                       /* "str", "dict" ...: Python's name */
lmf_status lmf__tpl_equal(tpl_run *r, const tpl_value *a, const tpl_value *b, bool *out);
lmf_status lmf__tpl_less(tpl_run *r, const tpl_value *a, const tpl_value *b, bool *out); /* refuses unordered types */
lmf_status lmf__tpl_contains(tpl_run *r, const tpl_value *container, const tpl_value *item, bool *out);
lmf_status lmf__tpl_to_str(tpl_run *r, const tpl_value *v, tpl_str **out);       /* str(v): markup is lost */
lmf_status lmf__tpl_soft_str(tpl_run *r, const tpl_value *v, tpl_str **out);     /* strings as they are */
void       lmf__tpl_repr(tpl_builder *b, const tpl_value *v, int depth);
lmf_status lmf__tpl_need_defined(tpl_run *r, const tpl_value *v);               /* refuses undefined, with its reason */
lmf_status lmf__tpl_need_int(tpl_run *r, const tpl_value *v, const char *what, int64_t *out); /* INT or BOOL */

/* ---- number.c ---- */
enum { TPL_NUMBER_TEXT = 40 };
size_t     lmf__tpl_float_repr(double f, char text[TPL_NUMBER_TEXT]);           /* Python's repr */
size_t     lmf__tpl_print_double(char *text, size_t n, const char *fmt, int precision, double f); /* '.' in any locale */
bool       lmf__tpl_parse_float(const char *p, size_t n, double *out);          /* Python's float(str) */
bool       lmf__tpl_parse_int(const char *p, size_t n, int base, int64_t *out, bool *overflow); /* Python's int(str, base) */
bool       lmf__tpl_number(const tpl_value *v, double *out);                    /* INT, BOOL, FLOAT */
int        lmf__tpl_compare_numbers(const tpl_value *a, const tpl_value *b);    /* -1, 0, 1; 2 with a NaN. Exact */
lmf_status lmf__tpl_binary(tpl_run *r, int op, const tpl_value *a, const tpl_value *b, tpl_value *out); /* + - * / % 'f' floor 'p' power */
lmf_status lmf__tpl_negate(tpl_run *r, const tpl_value *a, bool negative, tpl_value *out);
lmf_status lmf__tpl_round(tpl_run *r, const tpl_value *v, int64_t digits, tpl_value *out);

/* ---- json.c ---- */
lmf_status lmf__tpl_tojson(tpl_run *r, const tpl_value *v, const tpl_value args[4], tpl_value *out); /* ensure_ascii, indent, separators, sort_keys */

/* ---- format.c ---- */
lmf_status lmf__tpl_percent(tpl_run *r, tpl_str *fmt, const tpl_value *args, tpl_value *out);   /* "%s" % args */
lmf_status lmf__tpl_format(tpl_run *r, tpl_str *fmt, const tpl_args *args, tpl_value *out);     /* "{}".format(...) */
lmf_status lmf__tpl_strftime(tpl_run *r, const tpl_str *fmt, tpl_value *out);

/* ---- case.c ---- */
typedef enum tpl_case { TPL_UPPER, TPL_LOWER, TPL_CAPITALIZE, TPL_TITLE, TPL_SWAPCASE, TPL_FILTER_TITLE } tpl_case;
lmf_status lmf__tpl_recase(tpl_run *r, const tpl_str *s, tpl_case how, tpl_value *out); /* keeps markup */
typedef enum tpl_class { TPL_ALNUM, TPL_ALPHA, TPL_ASCII, TPL_DECIMAL, TPL_DIGIT, TPL_IDENTIFIER, TPL_IS_LOWER, TPL_NUMERIC, TPL_PRINTABLE, TPL_SPACE, TPL_IS_TITLE, TPL_IS_UPPER } tpl_class;
lmf_status lmf__tpl_is_class(tpl_run *r, const tpl_str *s, tpl_class c, bool *out);
bool       lmf__tpl_printable(uint32_t c);
bool       lmf__tpl_word_char(uint32_t c, bool first);               /* may be in (start) an identifier */

/* ---- method.c ---- */
typedef struct tpl_method_row {
    const char *name;
    const char *params;   /* "sep,maxsplit"; "*" takes the arguments as they are; a leading '/' : by position only */
    int         n_required;
    lmf_status (*call)(tpl_run *r, const tpl_value *self, const tpl_value *a, const tpl_args *raw, tpl_value *out);
} tpl_method_row;
enum { TPL_MAX_PARAMS = 8 };
/* Sorts a call's arguments into the parameters named; absent ones become TPL_MISSING. */
lmf_status lmf__tpl_bind(tpl_run *r, const char *fn, const char *params, int n_required, const tpl_args *args, tpl_value a[TPL_MAX_PARAMS]);
lmf_status lmf__tpl_getattr(tpl_run *r, const tpl_value *v, const tpl_str *name, tpl_value *out); /* x.name: attribute, then item */
lmf_status lmf__tpl_getitem(tpl_run *r, const tpl_value *v, const tpl_value *key, tpl_value *out); /* x[key]: item, then attribute */
lmf_status lmf__tpl_attribute(tpl_run *r, const tpl_value *v, const tpl_str *name, tpl_value *out); /* attribute alone; TPL_MISSING */
lmf_status lmf__tpl_slice(tpl_run *r, const tpl_value *v, const tpl_value *begin, const tpl_value *end, const tpl_value *step, tpl_value *out);
lmf_status lmf__tpl_strip(tpl_run *r, tpl_str *s, const tpl_value *chars, int sides, tpl_value *out); /* sides: 1 left, 2 right */
lmf_status lmf__tpl_replace(tpl_run *r, tpl_str *s, tpl_str *from, tpl_str *to, int64_t count, tpl_value *out);
lmf_status lmf__tpl_splitlines(tpl_run *r, tpl_str *s, bool keep_ends, tpl_list *out);

/* ---- filter.c, predicate.c ---- */
typedef struct tpl_filter_row {
    const char *name, *params;
    int         n_required;
    lmf_status (*call)(tpl_run *r, const tpl_value *v, const tpl_value *a, const tpl_args *raw, tpl_value *out);
} tpl_filter_row;
typedef struct tpl_test_row {
    const char *name;
    int         n_args;
    lmf_status (*call)(tpl_run *r, const tpl_value *v, const tpl_value *arg, bool *out);
} tpl_test_row;
const tpl_filter_row *lmf__tpl_find_filter(const tpl_str *name);     /* or NULL */
const tpl_test_row   *lmf__tpl_find_test(const tpl_str *name);
bool       lmf__tpl_known_filter(const tpl_str *name);               /* jinja2 has it, whether or not this engine does */
lmf_status lmf__tpl_call_filter(tpl_run *r, const tpl_filter_row *row, const tpl_value *v, const tpl_args *args, tpl_value *out);
lmf_status lmf__tpl_call_test(tpl_run *r, const tpl_test_row *row, const tpl_value *v, const tpl_args *args, bool *out);
lmf_status lmf__tpl_make_dict(tpl_run *r, const tpl_args *args, tpl_dict **out); /* dict(...) */

/* ---- eval.c ---- */
lmf_status lmf__tpl_call(tpl_run *r, const tpl_value *fn, const tpl_args *args, tpl_value *out);
lmf_status lmf__tpl_loop_attribute(tpl_run *r, struct tpl_loop *loop, const tpl_str *name, tpl_value *out);

#endif
