/* SPDX-License-Identifier: Apache-2.0 */
/* tool: what a model may call. A tool is one file in tools/ with one descriptor; the build finds it.
 *
 *     const lmf_tool lmf_tool_clock = { .name = "clock", .description = "The time", .schema = "{...}", .effect = LMF_READS, .timeout_s = 1,
 *                                       .run = run };
 *
 *     LMF_TRY(lmf_tools_open(ctx, (const char *[]){ "clock", "read_file:notes" }, 2, &set));
 *     LMF_TRY(lmf_tool_run(ctx, lmf_tool_find(set, "clock"), arguments, 4096, until, &result));   // result.text, or why it failed
 *
 * A tool is written NAME or NAME:ARGUMENT. Names and schemas are checked as it is opened; two of one name are refused. One that brings
 * tools from elsewhere (mcp) opens as many as there are; lmf_tools_opts says which of them and on what terms.
 * Owner: open/close; a result is the caller's, cleared by lmf_tool_result_clear. Threads: one at a time. */
#ifndef LMF_AGENT_TOOL_H
#define LMF_AGENT_TOOL_H
#include <jansson.h>
#include "base/arena.h"
#include "base/buf.h"

enum { LMF_TOOLS_MAX = 64, LMF_TOOL_MAX_NAME = 64 };
typedef enum lmf_effect { LMF_READS, LMF_WRITES, LMF_SENDS } lmf_effect; /* WRITES changes something here; SENDS lets something out */

typedef struct lmf_tool_out { lmf_buf *buf; size_t cap, n_all; } lmf_tool_out; /* n_all: bytes that were put, kept or not */
/* Keeps what there is room for and counts the rest. */
void lmf_tool_put(lmf_tool_out *o, const void *p, size_t n);
void lmf_tool_printf(lmf_tool_out *o, const char *fmt, ...) LMF_PRINTF(2, 3); /* a line of at most 1 KiB */

typedef struct lmf_tool_use {        /* a tool that was opened */
    const struct lmf_tool *tool;
    const char *name, *description;
    json_t     *schema;              /* of its arguments, an object */
    lmf_effect  effect;
    bool        is_private;          /* what it returns may be somebody's own */
    bool        is_outward;          /* its arguments leave for others, also where it only reads */
    int         origin;              /* who gets them and answers: 1 ... 63, of lmf__tools_origin; 0: nobody in particular */
    double      timeout_s;
    void       *state;
    struct lmf_toolset *set;
} lmf_tool_use;

typedef struct lmf_tool {
    const char *name, *description;
    const char *schema;              /* JSON; NULL: open brings it */
    lmf_effect  effect;
    bool        is_private;
    double      timeout_s;
    const char *argument;            /* what stands behind the colon; NULL: nothing may */
    bool        needs_argument;
    /* Instead of being a tool, adds those that argument stands for, by lmf__tools_add; description and schema are not used. */
    lmf_status (*bring)(struct lmf_toolset *set, const char *argument);
    /* May set what is the use's own; its texts live in a. */
    lmf_status (*open)(lmf_arena *a, const char *argument, lmf_tool_use *use);
    void       (*close)(lmf_ctx *ctx, lmf_tool_use *use);
    /* A failure is told to the model by its sentence; it is no end of the run, but for LMF_E_MEMORY. until: of lmf_tool_clock_now. */
    lmf_status (*run)(lmf_ctx *ctx, lmf_tool_use *use, const json_t *arguments, double until, lmf_tool_out *out);
} lmf_tool;
const lmf_tool *const *lmf__agent_tools(void);  /* generated, NULL-ended */

typedef struct lmf_tools_opts {      /* of tools that come from elsewhere, but for stopped */
    const char *const *only; int n_only;   /* their names; 0: all that there are */
    const char *pin;                 /* a file that holds the hashes of servers' lists; NULL: none */
    double      timeout_s;           /* of a call; 0: each kind's own */
    bool      (*stopped)(void *user); /* a call under way is given up. NULL: never */
    void      (*note)(void *user, const char *sentence); /* NULL: nobody listens */
    void       *user;
} lmf_tools_opts;

enum { LMF_TOOLS_MAX_KEPT = 16 };
typedef struct lmf_toolset {
    lmf_ctx       *ctx;
    lmf_arena      arena;
    lmf_tools_opts opts;
    int            n, n_kept, n_origins;
    uint64_t       seen_only;        /* bit i: there is a tool only[i] */
    struct { void *state; void (*close)(lmf_ctx *ctx, void *state); } kept[LMF_TOOLS_MAX_KEPT];
    lmf_tool_use   item[LMF_TOOLS_MAX];
} lmf_toolset;
/* LMF_E_ARG: no such tool, with the names that there are; an argument that can't be used; two of one name; a name of only that there is
 * not.
 * opts NULL: all of them 0; what it points at must outlive the set. */
lmf_status lmf_tools_open_with(lmf_ctx *ctx, const char *const *spec, int n, const lmf_tools_opts *opts, lmf_toolset **out);
lmf_status lmf_tools_open(lmf_ctx *ctx, const char *const *spec, int n, lmf_toolset **out);
void       lmf_tools_close(lmf_toolset *set);   /* NULL is fine */
lmf_tool_use *lmf_tool_find(lmf_toolset *set, const char *name); /* NULL: none */
/* [{"type": "function", "function": {"name", "description", "parameters"}}]; the caller's reference. NULL: no memory. */
json_t    *lmf_tools_json(const lmf_toolset *set);
const char *lmf_effect_word(lmf_effect e);      /* "reads" ... */

typedef struct lmf_tool_result {
    bool    failed;
    lmf_buf text;            /* UTF-8, no control characters but line feed and tab; or why it failed */
    size_t  n_bytes;         /* that the tool wrote, if more than are in text */
    int     n_replaced;      /* bytes that were none of a text's */
    double  seconds;
} lmf_tool_result;
/* cap: bytes of text. until: no longer than that, whatever the tool's own limit is. Fails for want of memory only. */
lmf_status lmf_tool_run(lmf_ctx *ctx, lmf_tool_use *use, const json_t *arguments, size_t cap, double until, lmf_tool_result *out);
void       lmf_tool_result_clear(lmf_tool_result *r);
double     lmf_tool_clock_now(void);            /* monotonic seconds */

/* ---- for those that bring tools ---- */
/* Whether opts.only names it, or names nothing. */
bool       lmf__tools_want(lmf_toolset *set, const char *name);
/* Takes use->schema, whatever comes of it; texts and state live in the set's arena. A schema without additionalProperties gets false. */
lmf_status lmf__tools_add(lmf_toolset *set, const lmf_tool_use *use);
/* state goes with the set; closed at once where there is no place for it. */
lmf_status lmf__tools_keep(lmf_toolset *set, void *state, void (*close)(lmf_ctx *ctx, void *state));
lmf_status lmf__tools_origin(lmf_toolset *set, int *origin);
/* LMF_E_FORMAT: a character of text can't be seen, or turns writing; what: in the sentence. What a model reads is what people can see. */
lmf_status lmf__tools_check_text(lmf_ctx *ctx, const char *text, const char *what);
void       lmf__tools_note(lmf_toolset *set, const char *fmt, ...) LMF_PRINTF(2, 3);
bool       lmf__tools_stopped(const lmf_toolset *set);

#endif
