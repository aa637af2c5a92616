/* SPDX-License-Identifier: Apache-2.0 */
/* lmfast generate: one answer, or with --interactive one for each line of standard input, each on its own. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cli/answer.h"
#include "cli/constraint.h"
#include "format/json.h"

typedef struct generate_args {
    lmf_answer_args answer;
    lmf_constraint_args constraint;
    const char *prompt;
    bool raw, interactive;
} generate_args;

static const lmf_flag flags[] = {
    LMF_ANSWER_FLAGS(generate_args, "0.7"),
    LMF_CONSTRAINT_FLAGS(generate_args),
    { "prompt", 'p', LMF_FLAG_STRING, offsetof(generate_args, prompt), .help = "what to answer; - or none: all of standard input" },
    { "raw", 0, LMF_FLAG_BOOL, offsetof(generate_args, raw), .help = "continue the prompt as it is, without a chat template" },
    { "interactive", 'i', LMF_FLAG_BOOL, offsetof(generate_args, interactive), .help = "answer each line of standard input" },
    { 0 }
};

static json_t *report(const lmf_answer *a)
{
    return json_pack("{s:o, s:i, s:i, s:s, s:f, s:f, s:f}", "text", lmf_json_stringn(lmf_buf_str(&a->text), a->text.n), "prompt_tokens", (int)a->ids.n,
                     "completion_tokens", a->n_completion, "finish", a->finish, "prefill_seconds", a->prefill_seconds,
                     "decode_seconds", a->decode_seconds, "tokens_per_second", lmf__answer_rate(a));
}

static lmf_status answer_one(lmf_answer *a, const generate_args *args, const char *prompt, size_t n)
{
    lmf_cli *cli = a->cli;
    LMF_TRY(lmf__answer_encode(a, args->raw, prompt, n));
    LMF_TRY(lmf__answer_start_engine(a, (int64_t)a->ids.n + args->answer.max_tokens));
    LMF_TRY(lmf__constraint_begin(a));
    lmf_status s = lmf__answer_say(a, cli->json);
    if (!cli->json && (!s || a->text.n))
        putchar('\n');
    LMF_TRY(s);
    if (lmf_cli_interrupted())
        return LMF_FAIL(cli->ctx, LMF_E_CANCELLED, "stopped after %d tokens", a->n_completion);
    if (cli->json)
        return lmf_cli_print_json(cli, report(a));
    lmf__answer_print_rate(a);
    return LMF_OK;
}

static lmf_status interact(lmf_answer *a, const generate_args *args, lmf_buf *line)
{
    lmf_status s;
    bool shown = isatty(0) && !a->cli->json;
    if (args->prompt)
        LMF_TRY(answer_one(a, args, args->prompt, strlen(args->prompt)));
    for (;;) {
        if (shown)
            fputs("> ", stderr);
        bool more = lmf__answer_read_line(a, line, &s);
        if (lmf_cli_interrupted())
            return LMF_FAIL(a->cli->ctx, LMF_E_CANCELLED, "stopped");
        LMF_TRY(s);
        if (!more)
            return LMF_OK;
        if (line->n)
            LMF_TRY(answer_one(a, args, line->data, line->n));
    }
}

static lmf_status run(lmf_cli *cli, void *p)
{
    generate_args *args = p;
    lmf_answer a;
    lmf_constraint constraint = { 0 };
    lmf_buf text;
    lmf_buf_init(&text, cli->ctx, (size_t)1 << 22);
    bool from_stdin = !args->prompt || strcmp(args->prompt, "-") == 0;
    lmf_status s = LMF_OK;
    if (from_stdin && !args->interactive && isatty(0))
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "give a --prompt, pipe one in, or ask for --interactive");
    LMF_TRY_TO(done, lmf__answer_open(cli, &args->answer, &a));
    LMF_TRY_TO(done, lmf__constraint_open(&args->constraint, &constraint, &a));
    if (args->interactive)
        s = interact(&a, args, &text);
    else if (from_stdin && !(s = lmf__answer_read_all(&a, &text)))
        s = answer_one(&a, args, lmf_buf_str(&text), text.n);
    else if (!from_stdin)
        s = answer_one(&a, args, args->prompt, strlen(args->prompt));
    if (args->answer.profile)
        lmf__answer_print_profile(&a);
done:
    lmf__constraint_close(&constraint);
    lmf__answer_close(&a);
    lmf_buf_clear(&text);
    return s;
}

const lmf_command lmf_command_generate = { "generate", "answer a prompt", flags, sizeof(generate_args), run,
    .example = "lmfast generate --model SmolLM2.gguf --prompt \"Name three colors.\" --temperature 0" };
