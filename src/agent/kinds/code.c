/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kind.h"

static lmf_status tools(lmf_arena *a, const lmf_kind_args *args, const char **spec, int cap, int *n)
{
    (void)cap;
    *n = 1;
    return lmf__kind_spec(a, "run_python", args->files, args->n_files, args->output, spec);
}

const lmf_kind lmf_kind_code = { .name = "code", .summary = "answers by Python that it runs in the sandbox",
    .system = "You answer questions by running Python. Call run_python with code that prints what is asked for. Where it fails, mend the "
              "code and call again. Then answer in words, by what was printed.",
    .must_call = true, .tools = tools };
