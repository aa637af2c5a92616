/* SPDX-License-Identifier: Apache-2.0 */
/* kind: an agent made ready: a prompt, a set of tools and a policy. A kind is one file in kinds/ with one descriptor; the build finds it.
 *
 *     const lmf_kind lmf_kind_code = { .name = "code", .summary = "...", .system = "...", .must_call = true, .tools = tools };
 *
 * Owner: specs are the arena's. Threads: any. */
#ifndef LMF_AGENT_KIND_H
#define LMF_AGENT_KIND_H
#include "agent/tool.h"

typedef struct lmf_kind_args {
    const char *const *files; int n_files; /* that the question is about */
    const char *output;                    /* a new folder for what is made; NULL: none */
} lmf_kind_args;

typedef struct lmf_kind {
    const char *name, *summary;
    const char *system;          /* its prompt; what the user's own adds stands behind it */
    bool        must_call;       /* the first answer is a call */
    bool        needs_files;
    /* Puts up to cap tools, written as for lmf_tools_open, into spec. */
    lmf_status (*tools)(lmf_arena *a, const lmf_kind_args *args, const char **spec, int cap, int *n);
    /* What came of it besides the answer, an object, and its files in args->output; *report NULL: nothing. NULL: never anything. */
    lmf_status (*finish)(lmf_toolset *set, const lmf_kind_args *args, json_t **report);
} lmf_kind;
const lmf_kind *const *lmf__agent_kinds(void); /* generated, NULL-ended */

/* LMF_E_ARG: no such kind, with those that there are. */
lmf_status lmf_kind_find(lmf_ctx *ctx, const char *name, const lmf_kind **out);
/* "NAME:" and the texts parted by commas, in the arena; "NAME" without any. NULL among them is left out. LMF_E_ARG: one has a comma. */
lmf_status lmf__kind_spec(lmf_arena *a, const char *name, const char *const *text, int n, const char *last, const char **out);

#endif
