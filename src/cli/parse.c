/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: every value passes set(), whether typed, positional or a default, so ranges and choices are checked in one place. */
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "cli/cli.h"

enum { MAX_FLAGS = 128, MAX_WORD = 64 };

const lmf_flag lmf__cli_global_flags[] = {
    { "json", 0, LMF_FLAG_BOOL, offsetof(lmf_cli_globals, json), .help = "one JSON object on stdout, nothing else there" },
    { "quiet", 'q', LMF_FLAG_BOOL, offsetof(lmf_cli_globals, quiet), .help = "no progress on stderr" },
    { "isa", 0, LMF_FLAG_CHOICE, offsetof(lmf_cli_globals, isa), .choices = "native|amx|avx512|avx2|scalar", .fallback = "native",
      .help = "highest CPU instruction set to use" },
    { "threads", 0, LMF_FLAG_INT, offsetof(lmf_cli_globals, threads), .lo = 1, .hi = 256,
      .help = "CPU workers; as many as the machine gives if left out" },
    { "device", 0, LMF_FLAG_STRING, offsetof(lmf_cli_globals, device), .fallback = "cpu", .help = "cpu, cuda or cuda:1" },
    { "help", 'h', LMF_FLAG_BOOL, offsetof(lmf_cli_globals, help), .help = "this text" },
    { "version", 0, LMF_FLAG_BOOL, offsetof(lmf_cli_globals, version), .help = "the version and nothing else" },
    { 0 },
};

/* "max_steps" and "max-steps" are one name. n: length of a. */
static bool same_name(const char *a, size_t n, const char *b)
{
    for (size_t i = 0; i < n; i++)
        if (b[i] == 0 || (a[i] == '_' ? '-' : a[i]) != b[i])
            return false;
    return b[n] == 0;
}

/* Edits between two words: insert, drop, change, swap of neighbours. */
static int distance(const char *a, const char *b)
{
    int d[3][MAX_WORD + 1], n = (int)strlen(a), m = (int)strlen(b);
    if (n > MAX_WORD || m > MAX_WORD)
        return MAX_WORD;
    for (int j = 0; j <= m; j++)
        d[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *row = d[i % 3], *up = d[(i + 2) % 3], *up2 = d[(i + 1) % 3];
        row[0] = i;
        for (int j = 1; j <= m; j++) {
            int best = up[j - 1] + (a[i - 1] != b[j - 1]);
            if (up[j] + 1 < best)
                best = up[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && up2[j - 2] + 1 < best)
                best = up2[j - 2] + 1;
            row[j] = best;
        }
    }
    return d[n % 3][m];
}

const char *lmf__cli_nearest(const char *word, const char *const *names, int n)
{
    const char *nearest = NULL;
    size_t length = strlen(word);
    int best = length < 4 ? 2 : (int)(length / 3) + 2; /* one past what still counts as near */
    for (int i = 0; i < n; i++) {
        int d = distance(word, names[i]);
        if (d < best)
            best = d, nearest = names[i];
    }
    return nearest;
}

static lmf_status bad_range(lmf_ctx *ctx, const lmf_flag *f, const char *value)
{
    if (f->hi >= 9e15)
        return LMF_FAIL(ctx, LMF_E_ARG, "--%s is %.64s, but must be at least %.12g", f->name, value, f->lo);
    return LMF_FAIL(ctx, LMF_E_ARG, "--%s is %.64s, but must be from %.12g to %.12g", f->name, value, f->lo, f->hi);
}

static lmf_status set_number(lmf_ctx *ctx, const lmf_flag *f, const char *value, char *member)
{
    char *end;
    bool ranged = f->lo != 0 || f->hi != 0;
    errno = 0;
    if (f->kind == LMF_FLAG_INT) {
        long long v = strtoll(value, &end, 10);
        if (end == value || *end)
            return LMF_FAIL(ctx, LMF_E_ARG, "--%s is \"%.64s\", but must be a whole number", f->name, value);
        if (errno == ERANGE || (ranged && ((double)v < f->lo || (double)v > f->hi)))
            return ranged ? bad_range(ctx, f, value)
                          : LMF_FAIL(ctx, LMF_E_ARG, "--%s is %.64s, but must fit into 64 bits", f->name, value);
        *(int64_t *)(void *)member = v;
        return LMF_OK;
    }
    double v = strtod(value, &end);
    if (end == value || *end || !isfinite(v))
        return LMF_FAIL(ctx, LMF_E_ARG, "--%s is \"%.64s\", but must be a number such as 0.001 or 1e-3", f->name, value);
    if (ranged && (v < f->lo || v > f->hi))
        return bad_range(ctx, f, value);
    *(double *)(void *)member = v;
    return LMF_OK;
}

static lmf_status set_choice(lmf_ctx *ctx, const lmf_flag *f, const char *value, char *member)
{
    char list[512];
    const char *names[LMF_FLAG_MAX_CHOICES];
    int n = 0;
    snprintf(list, sizeof list, "%s", f->choices);
    for (char *word = list, *bar; word && n < LMF_FLAG_MAX_CHOICES; word = bar) {
        bar = strchr(word, '|');
        if (bar)
            *bar++ = 0;
        names[n++] = word;
        if (strcmp(word, value) == 0) {
            *(const char **)(void *)member = value;
            return LMF_OK;
        }
    }
    const char *near = lmf__cli_nearest(value, names, n);
    if (near)
        return LMF_FAIL(ctx, LMF_E_ARG, "--%s is \"%.64s\", but must be one of %s; did you mean %s?", f->name, value, f->choices, near);
    return LMF_FAIL(ctx, LMF_E_ARG, "--%s is \"%.64s\", but must be one of %s", f->name, value, f->choices);
}

static lmf_status set(lmf_ctx *ctx, const lmf_flag *f, const char *value, void *args)
{
    static const char *const yes[] = { "true", "yes", "on", "1" }, *const no[] = { "false", "no", "off", "0" };
    char *member = (char *)args + f->offset;
    switch (f->kind) {
    case LMF_FLAG_BOOL:
        for (size_t i = 0; i < sizeof yes / sizeof *yes; i++)
            if (strcmp(value, yes[i]) == 0 || strcmp(value, no[i]) == 0) {
                *(bool *)(void *)member = strcmp(value, yes[i]) == 0;
                return LMF_OK;
            }
        return LMF_FAIL(ctx, LMF_E_ARG, "--%s is \"%.64s\", but must be true or false", f->name, value);
    case LMF_FLAG_INT:
    case LMF_FLAG_DOUBLE:
        return set_number(ctx, f, value, member);
    case LMF_FLAG_CHOICE:
        return set_choice(ctx, f, value, member);
    case LMF_FLAG_STRING:
        *(const char **)(void *)member = value;
        return LMF_OK;
    }
    return LMF_FAIL(ctx, LMF_E_INTERNAL, "--%s has the unknown kind %d", f->name, (int)f->kind);
}

lmf_status lmf__cli_defaults(lmf_ctx *ctx, const lmf_flag *flags, void *args)
{
    for (const lmf_flag *f = flags; f->name; f++) {
        if (f->fallback && set(ctx, f, f->fallback, args))
            return LMF_FAIL(ctx, LMF_E_INTERNAL, "the default %s of --%s is not allowed by its own table", f->fallback, f->name);
        if (f->late)
            *(double *)(void *)((char *)args + f->offset) = NAN;
    }
    return LMF_OK;
}

const lmf_command *lmf__cli_whole(lmf_arena *a, const lmf_command *cmd)
{
    int n = 0, room = MAX_FLAGS;
    if (!cmd || !cmd->more)
        return cmd;
    lmf_command *whole = lmf_arena_alloc(a, sizeof *whole);
    lmf_flag *flags = lmf_arena_array(a, MAX_FLAGS + 1, sizeof *flags);
    if (!whole || !flags)
        return NULL;
    for (; cmd->flags && cmd->flags[n].name && n < room; n++)
        flags[n] = cmd->flags[n];
    n = cmd->more(a, a->ctx->tables, flags + n, room - n);
    *whole = *cmd;
    whole->flags = flags;
    return n < 0 ? NULL : whole;
}

/* ---- one run over argv ---- */

typedef struct parser {
    lmf_ctx           *ctx;
    const lmf_command *cmd;
    lmf_cli_globals   *globals;
    void              *args;
    uint8_t            seen[MAX_FLAGS]; /* of cmd's flags */
} parser;

static const lmf_flag *find(const parser *p, const char *name, size_t n, char letter, void **args)
{
    const lmf_flag *tables[] = { p->cmd->flags, lmf__cli_global_flags };
    void *targets[] = { p->args, p->globals };
    for (int t = 0; t < 2; t++)
        for (const lmf_flag *f = tables[t]; f && f->name; f++)
            if (letter ? f->letter == letter : same_name(name, n, f->name)) {
                *args = targets[t];
                return f;
            }
    return NULL;
}

static lmf_status unknown(parser *p, const char *arg, size_t n)
{
    const char *names[2 * MAX_FLAGS];
    char word[MAX_WORD + 1];
    int count = 0;
    const lmf_flag *tables[] = { p->cmd->flags, lmf__cli_global_flags };
    for (int t = 0; t < 2; t++)
        for (const lmf_flag *f = tables[t]; f && f->name && count < 2 * MAX_FLAGS; f++)
            names[count++] = f->name;
    snprintf(word, sizeof word, "%.*s", (int)(n > MAX_WORD ? MAX_WORD : n), arg);
    const char *near = strncmp(arg, "--", 2) == 0 ? lmf__cli_nearest(word + 2, names, count) : NULL;
    if (near)
        return LMF_FAIL(p->ctx, LMF_E_ARG, "unknown flag %s; did you mean --%s?", word, near);
    if (arg[1] == 't' && arg[0] == '-') /* threads had this letter */
        return LMF_FAIL(p->ctx, LMF_E_ARG, "unknown flag -t: it is --temperature where a model answers; the workers are --threads");
    return LMF_FAIL(p->ctx, LMF_E_ARG, "unknown flag %s; lmfast %s%s--help lists the flags", word, p->cmd->run ? p->cmd->name : "",
                    p->cmd->run ? " " : "");
}

/* A flag at argv[*i]; moves *i over a value that stands apart. */
static lmf_status parse_flag(parser *p, int argc, char **argv, int *i)
{
    char *arg = argv[*i];
    const char *value = NULL;
    bool no = false, is_long = arg[1] == '-';
    void *target = NULL;
    const lmf_flag *f;
    size_t n = strlen(arg);
    if (is_long) {
        char *equals = strchr(arg, '=');
        if (equals)
            value = equals + 1, n = (size_t)(equals - arg);
        f = find(p, arg + 2, n - 2, 0, &target);
        if (!f && n > 5 && (strncmp(arg, "--no-", 5) == 0 || strncmp(arg, "--no_", 5) == 0)) {
            f = find(p, arg + 5, n - 5, 0, &target);
            no = true;
            if (f && f->kind != LMF_FLAG_BOOL)
                return LMF_FAIL(p->ctx, LMF_E_ARG, "--%s takes a value; it has no --no- form", f->name);
        }
    } else {
        f = find(p, NULL, 0, arg[1], &target);
        if (arg[2])
            value = arg + 2 + (arg[2] == '=');
    }
    if (!f)
        return unknown(p, arg, n);
    if (target != p->globals)
        p->seen[f - p->cmd->flags] = 1;
    if (no && value)
        return LMF_FAIL(p->ctx, LMF_E_ARG, "--no-%s takes no value", f->name);
    if (f->kind == LMF_FLAG_BOOL)
        return set(p->ctx, f, no ? "false" : value ? value : "true", target);
    if (!value) {
        if (*i + 1 >= argc || (strncmp(argv[*i + 1], "--", 2) == 0 && argv[*i + 1][2]))
            return LMF_FAIL(p->ctx, LMF_E_ARG, "--%s needs a value (one that starts with -- is given as --%s=VALUE)", f->name, f->name);
        value = argv[++*i];
    }
    return set(p->ctx, f, value, target);
}

static lmf_status parse_positional(parser *p, const char *value)
{
    for (const lmf_flag *f = p->cmd->flags; f && f->name; f++)
        if (f->positional && !p->seen[f - p->cmd->flags]) {
            p->seen[f - p->cmd->flags] = 1;
            return set(p->ctx, f, value, p->args);
        }
    return LMF_FAIL(p->ctx, LMF_E_ARG, "unexpected argument \"%.64s\"; lmfast %s --help shows what it takes", value, p->cmd->name);
}

lmf_status lmf__cli_parse(lmf_ctx *ctx, const lmf_command *cmd, int argc, char **argv, lmf_cli_globals *globals, void *args)
{
    parser p = { ctx, cmd, globals, args, { 0 } };
    bool only_positional = false;
    for (const lmf_flag *f = cmd->flags; f && f->name; f++)
        if (f - cmd->flags >= MAX_FLAGS)
            return LMF_FAIL(ctx, LMF_E_INTERNAL, "lmfast %s has more than %d flags", cmd->name, MAX_FLAGS);
    for (int i = 0; i < argc; i++) {
        if (!only_positional && strcmp(argv[i], "--") == 0)
            only_positional = true;
        else if (!only_positional && argv[i][0] == '-' && argv[i][1])
            LMF_TRY(parse_flag(&p, argc, argv, &i));
        else
            LMF_TRY(parse_positional(&p, argv[i]));
    }
    if (globals->help)
        return LMF_OK;
    for (const lmf_flag *f = cmd->flags; f && f->name; f++)
        if (f->required && !p.seen[f - cmd->flags])
            return LMF_FAIL(ctx, LMF_E_ARG, "--%s is missing (%s); lmfast %s --help shows an example", f->name, f->help ? f->help : "required", cmd->name);
    return LMF_OK;
}
