/* SPDX-License-Identifier: Apache-2.0 */
/* cli: the parts of the program that no command sees: reading flags into a struct by table, and writing help from the same
 * table. Strings point into argv and live as long as it does. */
#ifndef LMF_CLI_CLI_H
#define LMF_CLI_CLI_H
#include <stdio.h>
#include "cli/command.h"

typedef struct lmf_cli_globals { /* flags that every command takes */
    bool        json, quiet, help, version;
    const char *isa, *device;
    int64_t     threads;         /* 0: what the machine offers */
} lmf_cli_globals;

extern const lmf_flag lmf__cli_global_flags[];

/* argv[0 .. argc-1] behind the command's name. Flags of cmd go to args, global ones to globals. LMF_E_ARG with a sentence
 * that names the flag, its range and, for a misspelt one, the nearest that exists. Required flags are not asked for when
 * --help is among the arguments. Where cmd takes a configuration and --config or --set are given, its settings come first, and flags win;
 * its texts live in a. */
lmf_status lmf__cli_parse(lmf_arena *a, const lmf_command *cmd, int argc, char **argv, lmf_cli_globals *globals, void *args);
/* The command with the flags that `more` adds and those of the one that it is like, whole too; itself where there is none. NULL: no
 * memory. Lives in a. */
const lmf_command *lmf__cli_whole(lmf_arena *a, const lmf_command *cmd);
/* Of a whole command: the fields that a configuration may hold, which are those of the command that it is like; its defaults. */
const lmf_flag *lmf__cli_file_fields(const lmf_command *cmd);
lmf_status      lmf__cli_defaults(lmf_ctx *ctx, const lmf_command *cmd, void *args);
const lmf_command *lmf__cli_find(const char *name);        /* by name or alias; NULL: none */

void lmf__cli_help(FILE *out);                             /* all commands */
void lmf__cli_help_command(FILE *out, const lmf_command *cmd);
json_t *lmf__cli_help_json(lmf_arena *a, const lmf_command *cmd); /* NULL cmd: all commands; the caller's reference */

void lmf__cli_catch_signals(void);
void lmf__cli_hold_streams(void); /* what the caller closed of 0, 1 and 2 becomes /dev/null, where reading and writing fail */
int  lmf__cli_signal(void);                                /* the signal that came, or 0 */

#endif
