/* SPDX-License-Identifier: Apache-2.0 */
/* cli: from argv to a command and from its status to an exit code.
 * Rule: every way out passes finish(), so that output that could not be written is never reported as success. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include "base/cpu.h"
#include "cli/cli.h"
#include "cli/download.h"
#include "device/device.h"
#include "registry/registry.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_SIGNAL = 128, MAX_COMMANDS = 64 };

const lmf_command *lmf__cli_find(const char *name)
{
    for (const lmf_command *const *c = lmf_commands(); *c; c++)
        if (strcmp((*c)->name, name) == 0 || ((*c)->alias && strcmp((*c)->alias, name) == 0))
            return *c;
    return NULL;
}

static lmf_status unknown_command(lmf_ctx *ctx, const char *name)
{
    const char *names[2 * MAX_COMMANDS];
    int n = 0;
    for (const lmf_command *const *c = lmf_commands(); *c && n < 2 * MAX_COMMANDS - 1; c++) {
        names[n++] = (*c)->name;
        if ((*c)->alias)
            names[n++] = (*c)->alias;
    }
    const char *near = lmf_nearest(name, names, n);
    if (near)
        return LMF_FAIL(ctx, LMF_E_ARG, "unknown command %.64s; did you mean %s?", name, near);
    return LMF_FAIL(ctx, LMF_E_ARG, "unknown command %.64s; lmfast --help lists the commands", name);
}

/* jansson escapes C0 alone. What else a terminal could take for a command is only found within strings: \uXXXX there. */
static bool put_json(const char *text)
{
    for (size_t k; *text; text += k) {
        unsigned char p[3] = { (unsigned char)text[0] };
        k = lmf_utf8_length(text, 4);
        k = k ? k : 1;
        if (!lmf_utf8_is_command(text, k)) {
            fwrite(text, 1, k, stdout);
            continue;
        }
        for (size_t i = 1; i < k; i++)
            p[i] = (unsigned char)text[i];
        printf("\\u%04x", k == 1 ? p[0] : k == 2 ? (p[0] & 0x1Fu) << 6 | (p[1] & 0x3Fu) : (p[0] & 0xFu) << 12 | (p[1] & 0x3Fu) << 6 | (p[2] & 0x3Fu));
    }
    return putchar('\n') == EOF || ferror(stdout);
}

lmf_status lmf_cli_print_json(lmf_cli *cli, json_t *object)
{
    if (!object)
        return LMF_FAIL(cli->ctx, LMF_E_MEMORY, "the JSON answer could not be built: a value in it is no finite number, or there is no memory");
    char *text = json_dumps(object, JSON_REAL_PRECISION(12) | JSON_COMPACT);
    json_decref(object);
    if (!text)
        return LMF_NO_MEMORY(cli->ctx, 4096, "the JSON answer");
    bool bad = put_json(text);
    free(text);
    if (bad)
        return LMF_FAIL(cli->ctx, LMF_E_IO, "the JSON answer could not be written to standard output: %s", strerror(errno));
    return LMF_OK;
}

/* The error in both forms, the pending output, and the exit code. */
static int finish(const lmf_cli_globals *globals, lmf_status s, const char *message, int failed_code)
{
    if (s && globals->json) {
        json_t *error = json_pack("{s:{s:s, s:s}}", "error", "status", lmf_status_name(s), "message", message);
        if (error && json_dumpf(error, stdout, JSON_COMPACT) == 0)
            putchar('\n');
        json_decref(error);
    }
    if (s)
        fprintf(stderr, "lmfast: %s\n", message[0] ? message : lmf_status_text(s));
    if ((fflush(stdout) || ferror(stdout)) && !s) {
        fprintf(stderr, "lmfast: standard output could not be written: %s\n", strerror(errno));
        return EXIT_FAILED;
    }
    if (s == LMF_E_CANCELLED && lmf__cli_signal())
        return EXIT_SIGNAL + lmf__cli_signal();
    return s ? failed_code : EXIT_OK;
}

/* A mistake that comes before --json in argv is still told in the form asked for. */
static void note_json(lmf_cli_globals *globals, int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        globals->json |= strcmp(argv[i], "--json") == 0;
}

static lmf_status apply(lmf_ctx *ctx, const lmf_cli_globals *globals)
{
    uint64_t allowed;
    if (!lmf_cpu_level(globals->isa, &allowed))
        return LMF_FAIL(ctx, LMF_E_ARG, "--isa %s is unknown", globals->isa);
    LMF_TRY(lmf_device_check_name(ctx, globals->device));
    ctx->cpu_features &= allowed;
    if (globals->threads)
        ctx->n_workers = (int)globals->threads;
    return LMF_OK;
}

static lmf_status show_help(lmf_cli *cli, lmf_arena *a, const lmf_command *cmd)
{
    if (cli->json)
        return lmf_cli_print_json(cli, lmf__cli_help_json(a, cmd));
    if (cmd)
        lmf__cli_help_command(stdout, cmd);
    else
        lmf__cli_help(stdout);
    return LMF_OK;
}

static lmf_status show_version(lmf_cli *cli)
{
    if (cli->json)
        return lmf_cli_print_json(cli, json_pack("{s:s}", "version", LMF_VERSION));
    printf("lmfast %s\n", LMF_VERSION);
    return LMF_OK;
}

static bool takes_next(const char *arg)
{
    for (const lmf_flag *f = lmf__cli_global_flags; f->name; f++)
        if (f->kind != LMF_FLAG_BOOL && ((strncmp(arg, "--", 2) == 0 && strcmp(arg + 2, f->name) == 0)
                                         || (f->letter && arg[1] == f->letter && !arg[2])))
            return true;
    return false;
}

/* Index of the command word: the first argument that is neither a global flag nor a global flag's value; argc: none. */
static int command_index(int argc, char **argv)
{
    int i = 1;
    while (i < argc && argv[i][0] == '-')
        i += 1 + takes_next(argv[i]);
    return i < argc ? i : argc;
}

/* lmfast help [COMMAND], lmfast --help, lmfast --version: what needs no command. */
static int run_bare(lmf_cli *cli, lmf_arena *a, lmf_cli_globals *globals, int argc, char **argv, int at)
{
    static const lmf_command bare = { .name = "help", .summary = "shows what commands and flags there are" };
    lmf_ctx *ctx = cli->ctx;
    lmf_status s = lmf__cli_parse(a, &bare, at - 1, argv + 1, globals, NULL);
    if (s)
        note_json(globals, argc, argv);
    cli->json = globals->json;
    if (!s && at < argc) { /* help */
        const lmf_command *cmd = NULL;
        int n = argc - at - 1, i_topic = n > 0 && argv[at + 1][0] != '-' ? at + 1 : 0;
        if (i_topic && !(cmd = lmf__cli_find(argv[i_topic])))
            s = unknown_command(ctx, argv[i_topic]);
        else
            s = lmf__cli_parse(a, &bare, n - (i_topic > 0), argv + at + 1 + (i_topic > 0), globals, NULL);
        if (s)
            note_json(globals, argc, argv);
        cli->json = globals->json;
        if (!s && cmd && !(cmd = lmf__cli_whole(a, cmd)))
            s = LMF_NO_MEMORY(ctx, sizeof *cmd, "the flags");
        if (!s)
            s = show_help(cli, a, cmd);
        return finish(globals, s, lmf_error(ctx), EXIT_USAGE);
    }
    if (!s && globals->version)
        s = show_version(cli);
    else if (!s && globals->help)
        s = show_help(cli, a, NULL);
    else if (!s) {
        lmf__cli_help(stderr);
        s = LMF_FAIL(ctx, LMF_E_ARG, "no command was given");
    }
    return finish(globals, s, lmf_error(ctx), EXIT_USAGE);
}

static int run_command(lmf_cli *cli, lmf_arena *a, lmf_cli_globals *globals, int argc, char **argv, int at)
{
    lmf_ctx *ctx = cli->ctx;
    const lmf_command *cmd = lmf__cli_find(argv[at]);
    void *args = NULL;
    int code = EXIT_USAGE;
    lmf_status s = cmd ? LMF_OK : unknown_command(ctx, argv[at]);
    if (!s && !(cmd = lmf__cli_whole(a, cmd)))
        s = LMF_NO_MEMORY(ctx, sizeof *cmd, "the flags"), code = EXIT_FAILED;
    if (!s && cmd->args_bytes && !(args = lmf_alloc(ctx, cmd->args_bytes)))
        s = LMF_NO_MEMORY(ctx, cmd->args_bytes, "the arguments"), code = EXIT_FAILED;
    if (!s)
        s = lmf__cli_defaults(ctx, cmd, args);
    static const lmf_command none = { .name = "help" };
    if (!s) /* global flags before the command, then everything behind it */
        s = lmf__cli_parse(a, &none, at - 1, argv + 1, globals, NULL);
    if (!s)
        s = lmf__cli_parse(a, cmd, argc - at - 1, argv + at + 1, globals, args);
    if (s)
        note_json(globals, argc, argv);
    cli->json = globals->json, cli->quiet = globals->quiet, cli->isa = globals->isa, cli->device = globals->device;
    cli->flags = cmd ? lmf__cli_file_fields(cmd) : NULL;
    if (!s)
        s = apply(ctx, globals);
    if (!s && globals->help)
        s = show_help(cli, a, cmd);
    else if (!s && globals->version)
        s = show_version(cli);
    else if (!s) {
        code = EXIT_FAILED;
        s = lmf__cli_bring(cli, a, cmd, args);
        if (!s)
            s = cmd->run(cli, args);
        if (s == LMF_E_CANCELLED && !lmf_error(ctx)[0])
            LMF_FAIL(ctx, s, "stopped");
    }
    code = finish(globals, s, lmf_error(ctx), code);
    if (args)
        lmf_free(ctx, args, cmd->args_bytes);
    return code;
}

int lmf_cli_main(int argc, char **argv)
{
    lmf_cli_globals globals = { 0 };
    lmf_cli cli = { 0 };
    lmf_ctx *ctx;
    lmf__cli_hold_streams();
    lmf_status s = lmf_ctx_create(&ctx);
    if (s)
        return finish(&globals, s, "", EXIT_FAILED);
    cli.ctx = ctx;
    lmf_arena arena;
    lmf_arena_init(&arena, ctx, (size_t)1 << 24);
    lmf__cli_catch_signals();
    int code, at = command_index(argc, argv);
    s = lmf_flag_defaults(ctx, lmf__cli_global_flags, &globals);
    if (s)
        code = finish(&globals, s, lmf_error(ctx), EXIT_FAILED);
    else if (at >= argc || (strcmp(argv[at], "help") == 0 && !lmf__cli_find("help")))
        code = run_bare(&cli, &arena, &globals, argc, argv, at);
    else
        code = run_command(&cli, &arena, &globals, argc, argv, at);
    lmf_arena_clear(&arena);
    lmf_ctx_destroy(ctx);
    return code;
}
