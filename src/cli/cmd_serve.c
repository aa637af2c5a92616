/* SPDX-License-Identifier: Apache-2.0 */
/* lmfast serve: a model behind HTTP, in the form that OpenAI's clients speak, until a signal comes; then what was begun is finished. */
#include <stdio.h>
#include <string.h>
#include "cli/conversation.h"
#include "observe/trace.h"
#include "serve/serve.h"

typedef struct serve_args {
    const char *model, *name, *adapter, *host, *api_key, *api_keys, *chat_template, *control, *compute, *responses, *guard, *adapter_folder;
    const char *otlp, *otlp_protocol;
    int64_t     max_adapters, max_rank, port, speculate, per_peer, slots, context, queue, connections, drain_seconds, cache_tokens;
    bool        invariant, mcp, trace_content;
} serve_args;

#define AT(member) offsetof(serve_args, member)
static const lmf_flag flags[] = {
    { "model", 'm', LMF_FLAG_STRING, AT(model), .required = true, .hub = LMF_HUB_MODEL,
        .help = "GGUF file, Hugging Face folder, or org/name of the hub" },
    { "name", 0, LMF_FLAG_STRING, AT(name), .help = "what clients call the model; its file's name if left out" },
    { "adapter", 'a', LMF_FLAG_STRING, AT(adapter), .help = "LoRA adapters as models of their own: name=DIR, more behind commas" },
    { "allow-runtime-adapters", 0, LMF_FLAG_STRING, AT(adapter_folder),
        .help = "folder whose adapters clients may load and unload while the server runs, by POST /v1/load_lora_adapter" },
    { "max-adapters", 0, LMF_FLAG_INT, AT(max_adapters), 0, 64, "0",
        .help = "adapters that --allow-runtime-adapters makes room for, those of --adapter among them; 0: 4 more than those" },
    { "max-lora-rank", 0, LMF_FLAG_INT, AT(max_rank), 0, 1024, "0",
        .help = "rank that --allow-runtime-adapters makes room for; each costs memory and time, also unused; 0: 16" },
    { "host", 0, LMF_FLAG_STRING, AT(host), .fallback = "127.0.0.1",
        .help = "address to bind; one that other machines reach needs --api-key or --api-keys" },
    { "port", 0, LMF_FLAG_INT, AT(port), 0, 65535, "8000", .help = "0: any free one" },
    { "api-key", 0, LMF_FLAG_STRING, AT(api_key), .help = "the key that clients must send; the variable LMFAST_API_KEY does the same" },
    { "api-keys", 0, LMF_FLAG_STRING, AT(api_keys),
      .help = "file of several keys' hashes, with what each may use; serve/tenant.h shows one" },
    { "max-sequences", 0, LMF_FLAG_INT, AT(slots), 1, 256, "8", .help = "answers that are written at once" },
    { "max-queue", 0, LMF_FLAG_INT, AT(queue), 0, 1 << 20, "0",
        .help = "answers that may wait, further ones are refused with 429; 0: 4 a sequence" },
    { "context", 'c', LMF_FLAG_INT, AT(context), 0, 1 << 24, "0",
        .help = "tokens of prompt and answer at most; 0: the model's, at most 4096" },
    { "cache-tokens", 0, LMF_FLAG_INT, AT(cache_tokens), 0, 1 << 30, "0",
        .help = "tokens of all answers together; 0: a context each, up to 1 GiB" },
    { "speculate", 0, LMF_FLAG_INT, AT(speculate), 0, 15, "0",
        .help = "tokens that an answer may guess ahead from what came before; good for answers that repeat their prompt" },
    { "max-connections", 0, LMF_FLAG_INT, AT(connections), 1, 1 << 20, "1024", .help = "open connections" },
    { "max-per-peer", 0, LMF_FLAG_INT, AT(per_peer), 1, 1 << 20, "64",
        .help = "open connections of one address; 127.0.0.1 and ::1 are not counted" },
    { "responses", 0, LMF_FLAG_STRING, AT(responses),
        .help = "SQLite file in which answers of /v1/responses are kept to go on from, for 30 days; in memory if left out" },
    { "guard", 0, LMF_FLAG_STRING, AT(guard),
        .help = "policy that prompts and answers pass, of each key that names none of its own (docs/GUARD.md)" },
    { "otlp-endpoint", 0, LMF_FLAG_STRING, AT(otlp),
        .help = "collector of traces, http://127.0.0.1:4318, to which /v1/traces is added; the variable OTEL_EXPORTER_OTLP_ENDPOINT "
                "does the same" },
    { "otlp-protocol", 0, LMF_FLAG_CHOICE, AT(otlp_protocol), .fallback = "auto", .choices = "auto|http/protobuf|http/json",
        .help = "how spans are encoded; auto: as OTEL_EXPORTER_OTLP_PROTOCOL says, http/protobuf if it is not set" },
    { "trace-content", 0, LMF_FLAG_BOOL, AT(trace_content),
        .help = "traces hold the texts of prompts and answers, as --guard leaves them" },
    { "mcp", 0, LMF_FLAG_BOOL, AT(mcp), .help = "the Model Context Protocol, too, at /mcp" },
    { "drain-seconds", 0, LMF_FLAG_INT, AT(drain_seconds), 0, 86400, "30", .help = "how long begun answers are waited for at the end" },
    LMF_CHAT_TEMPLATE_FLAG(AT(chat_template)),
    LMF_CONTROL_FLAG(AT(control)),
    { "invariant", 0, LMF_FLAG_BOOL, AT(invariant),
        .help = "an answer's bits hang on its own request alone, not on what else is written, chunks or the cache; in f32, slower" },
    { "compute", 0, LMF_FLAG_CHOICE, AT(compute), .fallback = "auto", .choices = "auto|f32|fast",
        .help = "precision of products; auto is fast" },
    { 0 }
};

enum { MAX_ADAPTERS = 64, DEFAULT_CONTEXT = 4096, MORE_ADAPTERS = 4, DEFAULT_RANK = 16 };

typedef struct adapters { const char *name[MAX_ADAPTERS], *dir[MAX_ADAPTERS]; int n; } adapters;

static bool should_stop(void *user)
{
    (void)user;
    return lmf_cli_interrupted();
}

static void ready(void *user, const char *url)
{
    lmf_cli *cli = user;
    if (cli->json && lmf_cli_print_json(cli, json_pack("{s:s}", "url", url)) == LMF_OK)
        fflush(stdout);
    if (!cli->quiet)
        fprintf(stderr, "lmfast: serving at %s/v1; Ctrl-C ends it\n", url);
}

/* "name=DIR,name=DIR" into lists whose texts live in a. */
static lmf_status split_adapters(lmf_cli *cli, lmf_arena *a, const char *text, const char *model, adapters *out)
{
    char *rest = text ? lmf_arena_strdup(a, text) : NULL;
    if (text && !rest)
        return LMF_NO_MEMORY(cli->ctx, strlen(text), "the adapters' names");
    for (char *item = rest; item; item = rest) {
        rest = strchr(item, ',');
        if (rest)
            *rest++ = 0;
        char *dir = strchr(item, '=');
        if (!dir || dir == item || !dir[1])
            return LMF_FAIL(cli->ctx, LMF_E_ARG, "--adapter takes name=DIR, not \"%s\"", item);
        *dir++ = 0;
        if (out->n == MAX_ADAPTERS)
            return LMF_FAIL(cli->ctx, LMF_E_ARG, "--adapter takes at most %d adapters", MAX_ADAPTERS);
        for (int i = 0; i < out->n; i++)
            if (strcmp(out->name[i], item) == 0)
                return LMF_FAIL(cli->ctx, LMF_E_ARG, "--adapter gives the name %s twice", item);
        if (strcmp(item, model) == 0)
            return LMF_FAIL(cli->ctx, LMF_E_ARG, "--adapter %s has the model's own name", item);
        out->name[out->n] = item, out->dir[out->n++] = dir;
    }
    return LMF_OK;
}

/* The file's name without folder and ending. */
static const char *name_of(lmf_arena *a, const serve_args *args)
{
    const char *path = args->model;
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/')
        n--;
    size_t from = n;
    while (from && path[from - 1] != '/')
        from--;
    if (n - from > 5 && memcmp(path + n - 5, ".gguf", 5) == 0)
        n -= 5;
    return args->name ? args->name : lmf_arena_strndup(a, path + from, n - from);
}

static lmf_status start_engine(lmf_cli *cli, const serve_args *args, const lmf_model *m, const adapters *list, lmf_engine **out)
{
    int32_t most = lmf_model_config(m)->context;
    if (args->context > most)
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "--context %lld is more than the %d tokens that the model was made for",
            (long long)args->context, most);
    lmf_engine_opts o = lmf_engine_opts_default();
    lmf_serve_engine_opts(&o);
    o.device = cli->device;
    o.max_seqs = (int32_t)args->slots;
    o.context = args->context ? (int32_t)args->context : most < DEFAULT_CONTEXT ? most : DEFAULT_CONTEXT;
    o.cache_tok = args->cache_tokens;
    o.max_draft = (int32_t)args->speculate;
    if (args->invariant && strcmp(args->compute, "fast") == 0)
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "--invariant goes with --compute f32: fast products hang on how many rows there are");
    o.compute = !args->invariant && strcmp(args->compute, "f32") != 0;
    o.need_invariant = args->invariant;
    o.adapters = list->dir;
    o.n_adapters = list->n;
    if (args->adapter_folder) {
        int32_t more = list->n + MORE_ADAPTERS < MAX_ADAPTERS ? list->n + MORE_ADAPTERS : MAX_ADAPTERS;
        o.max_adapters = args->max_adapters ? (int32_t)args->max_adapters : more;
        o.max_rank = args->max_rank ? (int32_t)args->max_rank : DEFAULT_RANK;
    }
    LMF_TRY(lmf_engine_create(cli->ctx, m, &o, out));
    lmf_engine_info info;
    lmf_engine_get_info(*out, &info);
    const lmf_memory *memory = lmf_engine_memory(*out);
    if (!cli->quiet)
        fprintf(stderr, "lmfast: %d answers at once, %d tokens each at most, %lld tokens in the cache; %.0f MiB planned\n", info.max_seqs,
            info.context,
                (long long)info.n_pages * info.page_size, (double)(memory->weight + memory->state + memory->io + memory->step) / (1 << 20));
    return LMF_OK;
}

static lmf_status trace_opts(lmf_cli *cli, const serve_args *args, lmf_trace_opts *o)
{
    o->content = args->trace_content;
    LMF_TRY(lmf_trace_opts_environment(cli->ctx, args->otlp, o));
    if (strcmp(args->otlp_protocol, "auto"))
        o->json = strcmp(args->otlp_protocol, "http/json") == 0;
    o->send = lmf_post_send;
    return o->url[0] ? lmf_post_open(cli->ctx, &o->sender) : LMF_OK;
}

static lmf_status serve(lmf_cli *cli, const serve_args *args, lmf_arena *a, lmf_model *m)
{
    adapters list = { 0 };
    lmf_engine *engine = NULL;
    lmf_serve_opts o = lmf_serve_opts_default();
    o.model_name = name_of(a, args);
    if (!o.model_name)
        return LMF_NO_MEMORY(cli->ctx, 64, "the model's name");
    LMF_TRY(split_adapters(cli, a, args->adapter, o.model_name, &list));
    LMF_TRY(lmf__conversation_use_template(cli, m, args->chat_template));
    m->chat.control = lmf_control_of(args->control);
    if (!m->tokenizer)
        return LMF_FAIL(cli->ctx, LMF_E_UNSUPPORTED, "%s: the model has no tokenizer", args->model);
    o.host = args->host, o.port = (int32_t)args->port, o.api_keys = args->api_keys, o.responses = args->responses, o.mcp = args->mcp;
    o.guard = args->guard;
    o.api_key = args->api_key ? args->api_key : args->api_keys ? NULL : getenv("LMFAST_API_KEY");
    o.adapter_names = list.name, o.n_adapters = list.n, o.adapter_folder = args->adapter_folder;
    if (!args->adapter_folder && (args->max_adapters || args->max_rank))
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "--max-adapters and --max-lora-rank go with --allow-runtime-adapters DIR");
    if (args->max_adapters && args->max_adapters <= list.n)
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "--max-adapters %lld leaves no room beside the %d adapters of --adapter",
            (long long)args->max_adapters, list.n);
    o.max_per_peer = (int32_t)args->per_peer;
    o.max_connections = (int32_t)args->connections, o.max_queue = (int32_t)args->queue, o.drain_seconds = (int32_t)args->drain_seconds;
    o.should_stop = should_stop, o.ready = ready, o.user = cli;
    LMF_TRY(lmf_serve_check(cli->ctx, &o)); /* before the engine takes its time */
    lmf_trace_opts trace = lmf_trace_opts_default();
    LMF_TRY(trace_opts(cli, args, &trace));
    o.trace = &trace;
    lmf_status s = start_engine(cli, args, m, &list, &engine);
    if (!s)
        s = lmf_serve(m, engine, &o);
    lmf_engine_destroy(engine);
    lmf_post_close(trace.sender);
    return s;
}

static lmf_status run(lmf_cli *cli, void *p)
{
    const serve_args *args = p;
    lmf_arena a;
    lmf_model *m = NULL;
    lmf_arena_init(&a, cli->ctx, (size_t)1 << 20);
    lmf_status s = lmf_model_open(cli->ctx, args->model, &m);
    if (!s)
        s = serve(cli, args, &a, m);
    lmf_model_close(m);
    lmf_arena_clear(&a);
    return s;
}

const lmf_command lmf_command_serve = { "serve", "answer over HTTP, in the form of OpenAI's interface", flags, sizeof(serve_args), run,
    .example = "lmfast serve --model SmolLM2.gguf --adapter tuned=out" };
