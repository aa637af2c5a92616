/* SPDX-License-Identifier: Apache-2.0 */
/* command: one verb of the program is one file src/cli/cmd_<verb>.c with one descriptor; the build finds it. Flags are a
 * table: parsing, --help, ranges, suggestions for unknown flags and --json's spelling all come from it.
 *
 *     typedef struct info_args { const char *model; } info_args;
 *     static const lmf_flag flags[] = {
 *         { "model", 'm', LMF_FLAG_STRING, offsetof(info_args, model), .required = true, .positional = true,
 *           .help = "GGUF file or Hugging Face folder" }, { 0 } };
 *     const lmf_command lmf_command_info = { "info", "show what a model file holds", flags, sizeof(info_args), run,
 *         .example = "lmfast info SmolLM2.gguf" }; */
#ifndef LMF_CLI_COMMAND_H
#define LMF_CLI_COMMAND_H
#include <jansson.h>
#include "base/arena.h"
#include "base/plain.h"
#include "config/flag.h"

typedef struct lmf_cli {       /* what every command gets */
    lmf_ctx    *ctx;
    bool        json;          /* --json: one JSON object on stdout, nothing else there */
    bool        quiet;         /* --quiet: no progress */
    const char *isa;           /* --isa */
    const char *device;        /* --device, default "cpu" */
    const lmf_flag *flags;     /* that a configuration of the command may hold, those of tables included */
} lmf_cli;                     /* --threads sets ctx->n_workers */

typedef struct lmf_command {
    const char     *name, *summary; /* "train", "fine-tune a model" */
    const lmf_flag *flags;
    size_t          args_bytes;
    lmf_status    (*run)(lmf_cli *cli, void *args);
    const char     *example;        /* shown by --help */
    const char     *alias;          /* other name, or NULL */
    /* Flags that tables of the library add, behind the others: returns how many of at most n. Their texts live in a. */
    int           (*more)(lmf_arena *a, const lmf_tables *tables, lmf_flag *out, int n);
    /* Another command whose flags, arguments and run this one has too. A flag of its own replaces the one of the same name, and the one
     * that it names by .as, whose member it then sets. */
    const struct lmf_command *like;
    bool            takes_config;   /* its flags hold "config", a STRING, and "set", a LIST: settings may come from a file */
    const char     *config_of;      /* a command whose files are taken, too: what is that one's alone is passed over; or NULL */
} lmf_command;

/* Generated: all commands, NULL-ended. */
const lmf_command *const *lmf_commands(void);
/* Program entry without the process: 0, 1 (failure; sentence on stderr), 2 (usage), 130 (stopped by Ctrl-C). */
int lmf_cli_main(int argc, char **argv);

/* ---- for commands ---- */
/* Set by the first SIGINT, SIGTERM or SIGHUP; a second one ends the process at once. Polled between steps. */
bool lmf_cli_interrupted(void);
void lmf_cli_interrupt_clear(void);              /* chat: the answer was stopped, go on */
/* A line on stderr that is redrawn: "label 37/105 [=====>    ] loss 0.41  312 tok/s  0:42 left". Silent with --quiet and
 * --json; a plain line every few seconds when stderr is no terminal. */
typedef struct lmf_progress { lmf_cli *cli; const char *label; int64_t total; double start, last_draw; } lmf_progress;
void lmf_progress_start(lmf_progress *p, lmf_cli *cli, const char *label, int64_t total);
void lmf_progress_step(lmf_progress *p, int64_t done, const char *detail); /* detail: "loss 0.41  312 tok/s" or NULL */
void lmf_progress_end(lmf_progress *p);
/* A sentence on stderr; what is no warning only without --quiet and --json. The note of lmf_run_opts; user: the lmf_cli. */
void lmf_cli_note(void *user, bool warning, const char *sentence);
/* Prints the object on stdout and releases it (--json). */
lmf_status lmf_cli_print_json(lmf_cli *cli, json_t *object);
double lmf_cli_seconds(void);                    /* monotonic clock */

#endif
