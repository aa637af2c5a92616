/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: flags are read twice where there is a configuration: once to find it, once to win over it. */
#include <stdio.h>
#include <string.h>
#include "cli/cli.h"
#include "config/dialect.h"

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

/* Its own flags into out: those that stand in its file and those that tables add. Fewer than 0: no memory. */
static int own_flags(lmf_arena *a, const lmf_command *cmd, lmf_flag *out)
{
    int n = 0;
    for (; cmd->flags && cmd->flags[n].name && n < MAX_FLAGS; n++)
        out[n] = cmd->flags[n];
    int more = cmd->more ? cmd->more(a, a->ctx->tables, out + n, MAX_FLAGS - n) : 0;
    return more < 0 ? more : n + more;
}

const lmf_command *lmf__cli_whole(lmf_arena *a, const lmf_command *cmd)
{
    if (!cmd || (!cmd->more && !cmd->like))
        return cmd;
    const lmf_command *base = cmd->like ? lmf__cli_whole(a, cmd->like) : NULL;
    lmf_command *whole = lmf_arena_alloc(a, sizeof *whole);
    lmf_flag *flags = lmf_arena_array(a, 2 * MAX_FLAGS + 1, sizeof *flags);
    if ((cmd->like && !base) || !whole || !flags)
        return NULL;
    int n = own_flags(a, cmd, flags), n_own = n;
    for (const lmf_flag *f = base ? base->flags : NULL; n >= 0 && f && f->name; f++) {
        bool replaced = false;
        for (int i = 0; i < n_own; i++) {
            bool as = flags[i].as && !strcmp(flags[i].as, f->name);
            replaced |= as || !strcmp(flags[i].name, f->name);
            if (as)
                flags[i].kind = f->kind, flags[i].offset = f->offset;
        }
        if (!replaced)
            flags[n++] = *f;
    }
    *whole = *cmd;
    whole->flags = flags;
    if (base)
        whole->args_bytes = base->args_bytes, whole->run = base->run, whole->takes_config = base->takes_config, whole->like = base;
    return n < 0 ? NULL : whole;
}

const lmf_flag *lmf__cli_file_fields(const lmf_command *cmd) { return cmd->like ? cmd->like->flags : cmd->flags; }

lmf_status lmf__cli_defaults(lmf_ctx *ctx, const lmf_command *cmd, void *args)
{
    LMF_TRY(cmd->like ? lmf_flag_defaults(ctx, cmd->like->flags, args) : LMF_OK);
    return cmd->flags ? lmf_flag_defaults(ctx, cmd->flags, args) : LMF_OK;
}

/* ---- one run over argv ---- */

typedef struct parser {
    lmf_ctx           *ctx;
    const lmf_command *cmd;
    lmf_cli_globals   *globals;
    void              *args;
    uint8_t            seen[MAX_FLAGS]; /* of cmd's flags: in a file or on the line */
    uint8_t            line[MAX_FLAGS]; /* on the line */
} parser;

static lmf_status set(parser *p, const lmf_flag *f, const char *value, void *target)
{
    char as[64];
    snprintf(as, sizeof as, "--%s", f->name);
    if (target == p->args) {
        if (f->kind == LMF_FLAG_LIST && !p->line[f - p->cmd->flags])
            ((lmf_texts *)(void *)((char *)target + f->offset))->n = 0; /* a file's list is replaced */
        p->seen[f - p->cmd->flags] = p->line[f - p->cmd->flags] = 1;
    }
    return lmf_flag_set(p->ctx, f, as, value, target);
}

static const lmf_flag *find(const parser *p, const char *name, size_t n, char letter, void **args)
{
    const lmf_flag *tables[] = { p->cmd->flags, lmf__cli_global_flags };
    void *targets[] = { p->args, p->globals };
    for (int t = 0; t < 2; t++)
        for (const lmf_flag *f = letter ? tables[t] : lmf_flag_find(tables[t], name, n); f && f->name; f++)
            if (!letter || f->letter == letter) {
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
    const char *near = strncmp(arg, "--", 2) == 0 ? lmf_nearest(word + 2, names, count) : NULL;
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
    if (no && value)
        return LMF_FAIL(p->ctx, LMF_E_ARG, "--no-%s takes no value", f->name);
    if (f->kind == LMF_FLAG_BOOL)
        return set(p, f, no ? "false" : value ? value : "true", target);
    if (!value) {
        if (*i + 1 >= argc || (strncmp(argv[*i + 1], "--", 2) == 0 && argv[*i + 1][2]))
            return LMF_FAIL(p->ctx, LMF_E_ARG, "--%s needs a value (one that starts with -- is given as --%s=VALUE)", f->name, f->name);
        value = argv[++*i];
    }
    return set(p, f, value, target);
}

static lmf_status parse_positional(parser *p, const char *value)
{
    for (const lmf_flag *f = p->cmd->flags; f && f->name; f++)
        if (f->positional && (f->kind == LMF_FLAG_LIST || !p->line[f - p->cmd->flags]))
            return set(p, f, value, p->args);
    return LMF_FAIL(p->ctx, LMF_E_ARG, "unexpected argument \"%.64s\"; lmfast %s --help shows what it takes", value, p->cmd->name);
}

static lmf_status parse_line(parser *p, int argc, char **argv)
{
    bool only_positional = false;
    memset(p->line, 0, sizeof p->line);
    for (int i = 0; i < argc; i++) {
        if (!only_positional && strcmp(argv[i], "--") == 0)
            only_positional = true;
        else if (!only_positional && argv[i][0] == '-' && argv[i][1])
            LMF_TRY(parse_flag(p, argc, argv, &i));
        else
            LMF_TRY(parse_positional(p, argv[i]));
    }
    return LMF_OK;
}

static const void *member_of(const parser *p, const char *name)
{
    const lmf_flag *f = lmf_flag_find(p->cmd->flags, name, strlen(name));
    return f ? (const char *)p->args + f->offset : NULL;
}

/* The settings of --config and --set, over the defaults. */
static lmf_status read_config(parser *p, lmf_arena *a)
{
    const char *path = *(const char *const *)member_of(p, "config");
    const lmf_texts list = *(const lmf_texts *)member_of(p, "set");
    lmf_document d = { .arena = a, .name = "--set" };
    lmf_buf notes;
    const lmf_command *of_file = p->cmd->config_of ? lmf__cli_whole(a, lmf__cli_find(p->cmd->config_of)) : NULL;
    if (!path && !list.n)
        return LMF_OK;
    if (p->cmd->config_of && !of_file)
        return LMF_NO_MEMORY(p->ctx, 64, "the flags");
    if (path)
        LMF_TRY(lmf_document_load(a, path, &d));
    for (int64_t i = 0; i < list.n; i++)
        LMF_TRY(lmf_document_assign(&d, list.item[i]));
    memset(p->args, 0, p->cmd->args_bytes);
    memset(p->seen, 0, sizeof p->seen);
    LMF_TRY(lmf__cli_defaults(p->ctx, p->cmd, p->args));
    lmf_buf_init(&notes, p->ctx, 1 << 16);
    const lmf_flag *fields = lmf__cli_file_fields(p->cmd);
    uint8_t seen[MAX_FLAGS] = { 0 };
    lmf_status s = lmf_config_apply(p->ctx, &d, fields, of_file ? of_file->flags : NULL, seen, p->args, &notes);
    for (const lmf_flag *f = p->cmd->flags; f->name; f++) {
        const lmf_flag *of = lmf_flag_find(fields, f->as ? f->as : f->name, strlen(f->as ? f->as : f->name));
        p->seen[f - p->cmd->flags] = of && seen[of - fields];
        if (!s && f->as && p->seen[f - p->cmd->flags] && f->kind == LMF_FLAG_CHOICE) /* of this command's choices too */
            s = lmf_flag_set(p->ctx, f, f->as, *(const char **)(void *)((char *)p->args + f->offset), p->args);
    }
    if (!s && notes.n && !p->globals->quiet)
        fputs(lmf_buf_str(&notes), stderr);
    lmf_buf_clear(&notes);
    return s;
}

lmf_status lmf__cli_parse(lmf_arena *a, const lmf_command *cmd, int argc, char **argv, lmf_cli_globals *globals, void *args)
{
    lmf_ctx *ctx = a->ctx;
    parser p = { .ctx = ctx, .cmd = cmd, .globals = globals, .args = args };
    for (const lmf_flag *f = cmd->flags; f && f->name; f++)
        if (f - cmd->flags >= MAX_FLAGS)
            return LMF_FAIL(ctx, LMF_E_INTERNAL, "lmfast %s has more than %d flags", cmd->name, MAX_FLAGS);
    LMF_TRY(parse_line(&p, argc, argv));
    if (globals->help)
        return LMF_OK;
    if (cmd->takes_config) {
        LMF_TRY(read_config(&p, a));
        LMF_TRY(parse_line(&p, argc, argv));
    }
    for (const lmf_flag *f = cmd->flags; f && f->name; f++)
        if (f->required && !p.seen[f - cmd->flags])
            return LMF_FAIL(ctx, LMF_E_ARG, "--%s is missing (%s); lmfast %s --help shows an example", f->name, f->help ? f->help : "required", cmd->name);
    return LMF_OK;
}
