/* SPDX-License-Identifier: Apache-2.0 */
/* lmfast agent: a question that the model answers with tools (agent/agent.h). */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "agent/agent.h"
#include "agent/kind.h"
#include "cli/answer.h"
#include "format/json.h"

typedef struct agent_args {
    lmf_answer_args answer;
    const char *question, *kind, *output;
    const char *mcp_pin;
    lmf_texts   tools, yes_to, files, mcp, mcp_trusted, only;
    int64_t     max_turns, budget, max_result;
    double      timeout, tool_timeout;
    bool        must_call;
} agent_args;

#define AT(member) offsetof(agent_args, member)
static const lmf_flag flags[] = {
    LMF_ANSWER_FLAGS(agent_args, "0"),
    { "question", 0, LMF_FLAG_STRING, AT(question), .positional = true, .required = true, .help = "what to answer" },
    { "kind", 0, LMF_FLAG_STRING, AT(kind),
      .help = "an agent made ready, with a prompt and tools of its own. code: answers by Python that it runs in the sandbox; "
              "data: about CSV, TSV, JSON Lines or a SQLite database, by SQL, with query, table and chart" },
    { "files", 0, LMF_FLAG_LIST, AT(files), .help = "with --kind: what the question is about, each behind a --files of its own" },
    { "output", 'o', LMF_FLAG_STRING, AT(output), .help = "with --kind: a new folder for the files that it makes" },
    { "tools", 0, LMF_FLAG_LIST, AT(tools),
      .help = "what may be called, each behind a --tools of its own: calculator, clock, read_file:FOLDER, list_files:FOLDER, sqlite:FILES, "
              "run_python, command:TOOL.json (docs/guide/agent.md)" },
    { "mcp", 0, LMF_FLAG_LIST, AT(mcp),
      .help = "the tools of a server of the Model Context Protocol: a command, which is started without a shell, or an address of http or "
              "https; each behind a --mcp of its own. All of them count as ones that send" },
    { "mcp-trusted", 0, LMF_FLAG_LIST, AT(mcp_trusted), .help = "the same, and what the server calls read-only is believed to read" },
    { "mcp-pin", 0, LMF_FLAG_STRING, AT(mcp_pin),
      .help = "a file with hashes of the servers' lists of tools: made where it is not there; a list that is another is refused" },
    { "only", 0, LMF_FLAG_LIST, AT(only), .help = "of the tools that --mcp brings those of this name, each behind an --only of its own" },
    { "tool-timeout", 0, LMF_FLAG_DOUBLE, AT(tool_timeout), 0, 86400, .fallback = "0", .unit = "seconds",
      .help = "of a call of a tool that --mcp brings; 0: 60 seconds" },
    { "yes-to", 0, LMF_FLAG_LIST, AT(yes_to),
      .help = "tools that write or send and need not ask; NAME:private: also once private data was read" },
    { "must-call", 0, LMF_FLAG_BOOL, AT(must_call), .help = "the first answer is a call" },
    { "max-turns", 0, LMF_FLAG_INT, AT(max_turns), 1, 1000, .fallback = "8", .help = "answers that the model may write, calls included" },
    { "budget", 0, LMF_FLAG_INT, AT(budget), 0, 1e15, .fallback = "0", .unit = "tokens", .help = "of all answers together; 0: no limit" },
    { "timeout", 0, LMF_FLAG_DOUBLE, AT(timeout), 0, 1e6, .fallback = "0", .unit = "seconds", .help = "of all; 0: no limit" },
    { "max-result", 0, LMF_FLAG_INT, AT(max_result), 16, 1 << 20, .fallback = "4096", .unit = "bytes",
      .help = "of what a tool returns; the rest is cut" },
    { 0 }
};

typedef struct agent_run {
    lmf_cli    *cli;
    const agent_args *args;
    const lmf_kind *kind;      /* NULL: none was asked for */
    lmf_arena   arena;         /* texts of specs and prompts */
} agent_run;

static bool is_stopped(void *user) { return (void)user, lmf_cli_interrupted(); }
static void note(void *user, const char *sentence) { lmf_cli_note(((agent_run *)user)->cli, false, sentence); }
static bool has_tools(const agent_args *a) { return a->tools.n || a->kind || a->mcp.n || a->mcp_trusted.n; }

/* Whether --yes-to names the tool, with :private where that is asked. */
static bool is_named(const lmf_texts *list, const char *name, bool private)
{
    size_t n = strlen(name);
    for (int64_t i = 0; i < list->n; i++)
        if (strncmp(list->item[i], name, n) == 0 && (strcmp(list->item[i] + n, ":private") == 0 || (!private && !list->item[i][n])))
            return true;
    return false;
}

static bool allow(void *user, lmf_ask ask, const lmf_tool_use *tool, const char *arguments)
{
    agent_run *r = user;
    char plain[512], line[16] = "";
    if (is_named(&r->args->yes_to, tool->name, ask == LMF_ASK_PRIVATE))
        return true;
    if (r->cli->json || !isatty(0) || !isatty(2)) /* nobody to ask */
        return false;
    fprintf(stderr, "%s %s %s%s: allow it? [y/N] ", tool->name, lmf_effect_word(tool->effect), lmf_plain_text(arguments, plain,
        sizeof plain),
            ask == LMF_ASK_PRIVATE ? ", and private data was read before" : "");
    return fgets(line, sizeof line, stdin) && (line[0] == 'y' || line[0] == 'Y');
}

static void show(void *user, const json_t *step)
{
    agent_run *r = user;
    const char *type = json_string_value(json_object_get(step, "type")), *text = json_string_value(json_object_get(step, "text"));
    const char *tool = json_string_value(json_object_get(step, "tool"));
    char plain[400], *arguments;
    if (r->cli->json) {
        lmf_cli_print_json(r->cli, json_incref((json_t *)(uintptr_t)step));
        return;
    }
    if (r->cli->quiet)
        return;
    if (strcmp(type, "call") == 0) {
        arguments = json_dumps(json_object_get(step, "arguments"), 0);
        fprintf(stderr, "> %s %s\n", tool, arguments ? lmf_plain_text(arguments, plain, sizeof plain) : "");
        free(arguments);
    } else if (strcmp(type, "result") == 0 || strcmp(type, "refused") == 0) {
        fprintf(stderr, "< %s\n", lmf_plain_text(text ? text : "", plain, sizeof plain));
    } else if (strcmp(type, "left_out") == 0) {
        fprintf(stderr, "[an older result of %lld bytes was left out: the context is full]\n", json_integer_value(json_object_get(step,
            "bytes")));
    }
}

static void set_opts(agent_run *r, lmf_agent_opts *o)
{
    const lmf_answer_args *g = &r->args->answer;
    *o = lmf_agent_opts_default();
    o->max_turns = (int32_t)r->args->max_turns, o->budget_tok = r->args->budget, o->timeout_s = r->args->timeout;
    o->max_result_bytes = (size_t)r->args->max_result, o->must_call = r->args->must_call || (r->kind && r->kind->must_call);
    o->gen.max_tok = (int32_t)g->max_tokens, o->gen.temperature = (float)g->temperature, o->gen.top_k = (int32_t)g->top_k;
    o->gen.top_p = (float)g->top_p, o->gen.min_p = (float)g->min_p, o->gen.repetition_penalty = (float)g->repetition_penalty;
    o->gen.seed = (uint64_t)g->seed;
    o->allow = allow, o->step = show, o->stopped = is_stopped, o->user = r;
}

static lmf_status check_yes(agent_run *r, lmf_toolset *tools)
{
    for (int64_t i = 0; i < r->args->yes_to.n; i++) {
        char name[LMF_TOOL_MAX_NAME + 1];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(r->args->yes_to.item[i], ":"), r->args->yes_to.item[i]);
        const char *rest = strchr(r->args->yes_to.item[i], ':');
        if (!lmf_tool_find(tools, name) || (rest && strcmp(rest, ":private")))
            return LMF_FAIL(r->cli->ctx, LMF_E_ARG, "--yes-to %.80s: it names a tool that there is, or NAME:private",
                            r->args->yes_to.item[i]);
    }
    return LMF_OK;
}

/* KIND:TEXT for each of list. */
static lmf_status add_specs(agent_run *r, const char *kind, const lmf_texts *list, const char **spec, int *n)
{
    for (int64_t i = 0; i < list->n; i++) {
        if (*n == LMF_TOOLS_MAX)
            return LMF_FAIL(r->cli->ctx, LMF_E_LIMIT, "more than %d tools", LMF_TOOLS_MAX);
        const char *text = lmf_arena_printf(&r->arena, "%s:%s", kind, list->item[i]);
        if (!text)
            return LMF_NO_MEMORY(r->cli->ctx, 64, "a tool");
        spec[(*n)++] = text;
    }
    return LMF_OK;
}

/* The kind's tools and the user's. */
static lmf_status open_tools(agent_run *r, lmf_toolset **tools)
{
    const agent_args *args = r->args;
    const char *spec[LMF_TOOLS_MAX];
    int n = 0;
    lmf_kind_args about = { args->files.item, (int)args->files.n, args->output };
    if (!args->kind && (args->files.n || args->output))
        return LMF_FAIL(r->cli->ctx, LMF_E_ARG, "--files and --output go with --kind");
    if (args->kind)
        LMF_TRY(lmf_kind_find(r->cli->ctx, args->kind, &r->kind));
    if (r->kind && r->kind->needs_files && !args->files.n)
        return LMF_FAIL(r->cli->ctx, LMF_E_ARG, "--kind %s needs --files: what the question is about", args->kind);
    if (r->kind)
        LMF_TRY(r->kind->tools(&r->arena, &about, spec, LMF_TOOLS_MAX, &n));
    if (n + args->tools.n > LMF_TOOLS_MAX)
        return LMF_FAIL(r->cli->ctx, LMF_E_LIMIT, "more than %d tools", LMF_TOOLS_MAX);
    for (int64_t i = 0; i < args->tools.n; i++)
        spec[n++] = args->tools.item[i];
    LMF_TRY(add_specs(r, "mcp", &args->mcp, spec, &n));
    LMF_TRY(add_specs(r, "mcp_trusted", &args->mcp_trusted, spec, &n));
    lmf_tools_opts o = { .only = args->only.item, .n_only = (int)args->only.n, .pin = args->mcp_pin, .timeout_s = args->tool_timeout,
                         .stopped = is_stopped, .note = note, .user = r };
    return lmf_tools_open_with(r->cli->ctx, spec, n, &o, tools);
}

/* The kind's prompt, and the user's behind it. */
static lmf_status add_system(agent_run *r, lmf_answer *a, json_t *messages)
{
    const char *own = r->kind ? r->kind->system : NULL, *more = r->args->answer.system;
    lmf_buf text;
    if (!own && !more)
        return LMF_OK;
    lmf_buf_init(&text, r->cli->ctx, (size_t)1 << 24);
    lmf_status s = lmf_buf_printf(&text, "%s%s%s", own ? own : "", own && more ? "\n" : "", more ? more : "");
    if (!s)
        s = lmf__answer_add_message(a, messages, "system", lmf_buf_str(&text), text.n);
    lmf_buf_clear(&text);
    return s;
}

/* What the kind made besides the answer: a line of JSON, or a table to read. */
static lmf_status show_report(agent_run *r, lmf_toolset *tools)
{
    lmf_kind_args about = { r->args->files.item, (int)r->args->files.n, r->args->output };
    json_t *report = NULL;
    if (!r->kind || !r->kind->finish)
        return LMF_OK;
    LMF_TRY(r->kind->finish(tools, &about, &report));
    if (!report && !r->cli->json && !r->cli->quiet)
        fprintf(stderr, "[no query was answered: there is no table]\n");
    if (!report || r->cli->json) {
        if (report && json_object_set_new(report, "type", json_string("made")))
            return json_decref(report), LMF_NO_MEMORY(r->cli->ctx, 64, "a report");
        return report ? lmf_cli_print_json(r->cli, report) : LMF_OK;
    }
    const json_t *rows = json_object_get(report, "rows"), *files = json_object_get(report, "files");
    char plain[2048];
    printf("\n%s\n", lmf_plain_text(json_string_value(json_object_get(report, "query")), plain, sizeof plain));
    for (size_t i = 0; i <= json_array_size(rows); i++) {
        const json_t *row = i ? json_array_get(rows, i - 1) : json_object_get(report, "columns");
        for (size_t k = 0; k < json_array_size(row); k++) {
            const json_t *v = json_array_get(row, k);
            char *text = json_is_string(v) ? NULL : json_dumps(v, JSON_ENCODE_ANY);
            const char *said = text ? text : json_is_string(v) ? json_string_value(v) : "";
            printf("%s%s", k ? " | " : "", lmf_plain_text(said, plain, sizeof plain));
            free(text);
        }
        putchar('\n');
    }
    for (size_t i = 0; i < json_array_size(files) && !r->cli->quiet; i++)
        fprintf(stderr, "[made %s/%s]\n", r->args->output, json_string_value(json_array_get(files, i)));
    json_decref(report);
    return LMF_OK;
}

static lmf_status converse(agent_run *r, lmf_answer *a, lmf_agent *agent, json_t *messages)
{
    const agent_args *args = r->args;
    lmf_agent_opts o;
    lmf_agent_result result = { 0 };
    int32_t n_prompt;
    LMF_TRY(add_system(r, a, messages));
    LMF_TRY(lmf__answer_add_message(a, messages, "user", args->question, strlen(args->question)));
    LMF_TRY(lmf_agent_measure(agent, messages, &n_prompt));
    a->mask = lmf_agent_mask, a->force = lmf_agent_force;
    LMF_TRY(lmf__answer_start_engine(a, (int64_t)n_prompt + args->max_turns * args->answer.max_tokens));
    set_opts(r, &o);
    lmf_status s = lmf_agent_run(agent, a->engine, a->session, messages, &o, &result);
    if (!s && !r->cli->json) {
        fwrite(lmf_buf_str(&result.answer), 1, result.answer.n, stdout);
        putchar('\n');
    }
    if (!s && !r->cli->json && !r->cli->quiet)
        fprintf(stderr, "[%d turns, %d calls of which %d failed, %lld tokens in %.2f s%s%s]\n", result.n_turns, result.n_calls,
                result.n_failed,
                (long long)result.n_tok, result.seconds, strcmp(result.why, "answered") ? "; ended by the limit of " : "",
                strcmp(result.why, "answered") ? result.why : "");
    lmf_buf_clear(&result.answer);
    return s;
}

static lmf_status run(lmf_cli *cli, void *p)
{
    const agent_args *args = p;
    agent_run r = { .cli = cli, .args = args };
    lmf_answer a = { 0 };
    lmf_toolset *tools = NULL;
    lmf_agent *agent = NULL;
    json_t *messages = json_array();
    lmf_status s = messages ? LMF_OK : LMF_NO_MEMORY(cli->ctx, 64, "a conversation");
    lmf_arena_init(&r.arena, cli->ctx, 1 << 24);
    if (!s && args->must_call && !has_tools(args))
        s = LMF_FAIL(cli->ctx, LMF_E_ARG, "--must-call needs --tools");
    if (!s && args->answer.stop)
        s = LMF_FAIL(cli->ctx, LMF_E_ARG, "--stop does not go with an agent: an answer ends by itself, or with its calls");
    if (!s)
        s = open_tools(&r, &tools);
    if (!s)
        s = check_yes(&r, tools);
    if (!s)
        s = lmf__answer_open(cli, &args->answer, &a);
    if (!s)
        s = lmf_agent_create(cli->ctx, a.model, tools, &agent);
    if (!s)
        s = converse(&r, &a, agent, messages);
    if (!s)
        s = show_report(&r, tools);
    if (!s && args->answer.profile)
        lmf__answer_print_profile(&a);
    lmf_agent_destroy(agent);
    if (a.cli)
        lmf__answer_close(&a);
    lmf_tools_close(tools);
    lmf_arena_clear(&r.arena);
    json_decref(messages);
    return s;
}

const lmf_command lmf_command_agent = { "agent", "answer a question with tools", flags, sizeof(agent_args), run,
    .example = "lmfast agent --model SmolLM2.gguf --tools calculator --tools clock --must-call \"What is 17 * 25?\"" };
