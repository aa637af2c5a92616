/* SPDX-License-Identifier: Apache-2.0 */
/* flag: one setting of a command: its name, type, unit, range, default and help. A table of fields describes a struct of arguments; flags,
 * YAML and JSON files, --help and the documentation are read from it. Every value is a text and passes lmf_flag_set, wherever it comes
 * from, so that ranges and choices are checked in one place.
 *
 *     typedef struct args { int64_t steps; } args;
 *     static const lmf_flag fields[] = {
 *         { "max-steps", 0, LMF_FLAG_INT, offsetof(args, steps), 0, 1e9, .fallback = "500", .help = "optimizer steps" }, { 0 } };
 *     LMF_TRY(lmf_flag_set(ctx, &fields[0], "--max-steps", "12", &a));
 *
 * Owner: texts are borrowed; they live as long as what they came from. Threads: nothing is kept. */
#ifndef LMF_CONFIG_FLAG_H
#define LMF_CONFIG_FLAG_H
#include "base/ctx.h"

enum { LMF_FLAG_MAX_CHOICES = 48, LMF_MAX_TEXTS = 32 };

typedef enum lmf_flag_kind { LMF_FLAG_BOOL, LMF_FLAG_INT, LMF_FLAG_DOUBLE, LMF_FLAG_STRING, LMF_FLAG_CHOICE, LMF_FLAG_LIST } lmf_flag_kind;

/* What a STRING or LIST that names a file or folder may also be: org/name of the Hugging Face hub (hub/hub.h), which the program brings. */
typedef enum lmf_flag_hub { LMF_HUB_NONE, LMF_HUB_MODEL, LMF_HUB_ADAPTER, LMF_HUB_DATA } lmf_flag_hub;

typedef struct lmf_texts { int64_t n; const char *item[LMF_MAX_TEXTS]; } lmf_texts; /* of a LIST */

typedef struct lmf_flag {
    const char   *name;        /* "max-steps": also accepted as --max_steps, and as max_steps in a file */
    char          letter;      /* 'm' for -m; 0: none */
    lmf_flag_kind kind;        /* BOOL -> bool, INT -> int64_t, DOUBLE -> double, STRING and CHOICE -> const char *, LIST -> lmf_texts */
    size_t        offset;      /* of the member in the arguments */
    double        lo, hi;      /* INT, DOUBLE: allowed range, inclusive; both 0: any */
    const char   *fallback;    /* text of the default, parsed like a value; NULL: zero */
    const char   *choices;     /* CHOICE: "linear|cosine|constant" */
    bool          required, positional;
    /* Who reads it knows the default, and fallback is for help alone. Not given: a DOUBLE is NaN, a CHOICE NULL; a BOOL is a double, 0 or
     * 1, or NaN. */
    bool          late;
    const char   *as;          /* lmf_command.like: takes the place of its flag of this name, with its kind and member */
    bool          passing;     /* says how this once is run, not what is made: not part of a saved configuration */
    bool          line_only;   /* a flag that no file may hold */
    lmf_flag_hub  hub;
    const char   *unit;        /* "tokens" */
    const char   *help;
    const char   *no_help;     /* BOOL that is on by default: what --no-name does */
} lmf_flag;

/* Sets the member of args from its text; a LIST gets one text more. `as` is the setting's name in the sentence: "--lr", or
 * "run.yaml, line 3: learning_rate". LMF_E_ARG: no such value, with the range or the choices and the nearest one. */
lmf_status lmf_flag_set(lmf_ctx *ctx, const lmf_flag *f, const char *as, const char *value, void *args);
/* Defaults of a table ended by a zeroed row. LMF_E_INTERNAL: one that its own range refuses. */
lmf_status lmf_flag_defaults(lmf_ctx *ctx, const lmf_flag *fields, void *args);
/* By name, where "max_steps" and "max-steps" are one; n: bytes of name. NULL: none. */
const lmf_flag *lmf_flag_find(const lmf_flag *fields, const char *name, size_t n);
/* The name nearest to word among n, or NULL when none is near. */
const char *lmf_nearest(const char *word, const char *const *names, int n);

#endif
