/* SPDX-License-Identifier: Apache-2.0 */
/* lmfast mcp: a model as a server of the Model Context Protocol on standard input and output, until the client closes its end. */
#include <stdio.h>
#include <string.h>
#include "cli/conversation.h"
#include "serve/serve.h"

typedef struct mcp_args { const char *model, *name, *chat_template, *compute, *guard; int64_t slots, context; } mcp_args;

#define AT(member) offsetof(mcp_args, member)
static const lmf_flag flags[] = {
    { "model", 'm', LMF_FLAG_STRING, AT(model), .required = true, .help = "GGUF file or Hugging Face folder", .hub = LMF_HUB_MODEL },
    { "name", 0, LMF_FLAG_STRING, AT(name), .fallback = "model", .help = "what the model is called" },
    { "max-sequences", 0, LMF_FLAG_INT, AT(slots), 1, 256, "4", .help = "answers that are written at once" },
    { "context", 'c', LMF_FLAG_INT, AT(context), 0, 1 << 24, "0",
        .help = "tokens of prompt and answer at most; 0: the model's, at most 4096" },
    { "guard", 0, LMF_FLAG_STRING, AT(guard), .help = "policy that what tools are given and what they answer passes (docs/GUARD.md)" },
    LMF_CHAT_TEMPLATE_FLAG(AT(chat_template)),
    { "compute", 0, LMF_FLAG_CHOICE, AT(compute), .fallback = "auto", .choices = "auto|f32|fast",
        .help = "precision of products; auto is fast" },
    { 0 }
};

enum { DEFAULT_CONTEXT = 4096, MAX_QUEUE = 1024 };

static bool should_stop(void *user)
{
    (void)user;
    return lmf_cli_interrupted();
}

static lmf_status serve(lmf_cli *cli, const mcp_args *args, lmf_model *m)
{
    lmf_engine *engine = NULL;
    lmf_serve_opts o = lmf_serve_opts_default();
    lmf_engine_opts e = lmf_engine_opts_default();
    int32_t most = lmf_model_config(m)->context;
    LMF_TRY(lmf__conversation_use_template(cli, m, args->chat_template));
    if (!m->tokenizer)
        return LMF_FAIL(cli->ctx, LMF_E_UNSUPPORTED, "%s: the model has no tokenizer", args->model);
    if (args->context > most)
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "--context %lld is more than the %d tokens that the model was made for",
                        (long long)args->context, most);
    lmf_serve_engine_opts(&e);
    e.device = cli->device, e.max_seqs = (int32_t)args->slots, e.compute = strcmp(args->compute, "f32") != 0;
    e.context = args->context ? (int32_t)args->context : most < DEFAULT_CONTEXT ? most : DEFAULT_CONTEXT;
    o.model_name = args->name, o.stdio = true, o.mcp = true, o.guard = args->guard, o.drain_seconds = 0, o.max_queue = MAX_QUEUE,
        o.should_stop = should_stop;
    LMF_TRY(lmf_serve_check(cli->ctx, &o));
    lmf_status s = lmf_engine_create(cli->ctx, m, &e, &engine);
    if (!s)
        s = lmf_serve(m, engine, &o);
    lmf_engine_destroy(engine);
    return s;
}

static lmf_status run(lmf_cli *cli, void *p)
{
    const mcp_args *args = p;
    lmf_model *m = NULL;
    lmf_status s = lmf_model_open(cli->ctx, args->model, &m);
    if (!s)
        s = serve(cli, args, m);
    lmf_model_close(m);
    return s;
}

const lmf_command lmf_command_mcp = { "mcp", "answer over MCP on standard input and output", flags, sizeof(mcp_args), run,
    .example = "lmfast mcp --model SmolLM2.gguf" };
