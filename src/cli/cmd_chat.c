/* SPDX-License-Identifier: Apache-2.0 */
/* lmfast chat: a conversation. Each turn renders all of it with the model's template; what the session has in common with
 * that stays computed, so only the new turn is read.
 * Rule: Ctrl-C ends an answer, not the program; SIGTERM ends the program. */
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cli/answer.h"
#include "cli/cli.h"

typedef struct chat_args { lmf_answer_args answer; } chat_args;

static const lmf_flag flags[] = { LMF_ANSWER_FLAGS(chat_args, "0"), { 0 } };

enum { LEAST_ANSWER = 16 }; /* tokens that a turn leaves room for */

typedef struct chat {
    lmf_answer  a;
    json_t     *messages;
    bool        typed;          /* by a person: lines may be commands */
    bool        shown;          /* and sees the answers as text */
    int         n_interrupts;   /* Ctrl-C at an empty prompt, one behind the other */
    int         n_answers;
} chat;

static lmf_status clear(chat *c, const chat_args *args)
{
    json_array_clear(c->messages);
    return args->answer.system ? lmf__answer_add_message(&c->a, c->messages, "system", args->answer.system, strlen(args->answer.system)) : LMF_OK;
}

/* Index of the oldest message that may go: a system message stays. */
static size_t oldest(const chat *c)
{
    const char *role = json_string_value(json_object_get(json_array_get(c->messages, 0), "role"));
    return role && strcmp(role, "system") == 0;
}

/* Encodes the conversation; while it fills the context its oldest question and answer are left out. */
static lmf_status fit(chat *c)
{
    lmf_engine_info info;
    int n_left_out = 0;
    for (;;) {
        LMF_TRY(lmf__answer_encode_chat(&c->a, c->messages));
        LMF_TRY(lmf__answer_start_engine(&c->a, 0));
        lmf_engine_get_info(c->a.engine, &info);
        if (c->a.ids.n + LEAST_ANSWER <= (size_t)info.context)
            break;
        size_t first = oldest(c);
        if (first + 1 >= json_array_size(c->messages))
            return LMF_FAIL(c->a.cli->ctx, LMF_E_LIMIT, "the message takes %zu tokens; a context of %d holds no such message and its answer", c->a.ids.n, info.context);
        json_array_remove(c->messages, first);
        while (json_array_size(c->messages) > first + 1 && strcmp(json_string_value(json_object_get(json_array_get(c->messages, first), "role")), "user"))
            json_array_remove(c->messages, first);
        n_left_out++;
    }
    if (n_left_out)
        fprintf(stderr, "[the conversation fills the context of %d tokens: the oldest %d turn%s left out]\n", info.context, n_left_out,
                n_left_out == 1 ? " was" : "s were");
    return LMF_OK;
}

static lmf_status turn(chat *c, const lmf_buf *line)
{
    lmf_cli *cli = c->a.cli;
    LMF_TRY(lmf__answer_add_message(&c->a, c->messages, "user", line->data, line->n));
    lmf_status s = fit(c);
    if (s) { /* the message is not part of the conversation */
        json_array_remove(c->messages, json_array_size(c->messages) - 1);
        if (s != LMF_E_LIMIT && s != LMF_E_ARG)
            return s;
        if (!c->shown)
            return s;
        fprintf(stderr, "lmfast: %s\n", lmf_error(cli->ctx));
        return LMF_OK;
    }
    s = lmf__answer_say(&c->a, cli->json);
    if (!cli->json && (!s || c->a.text.n))
        putchar('\n'), fflush(stdout);
    LMF_TRY(s);
    c->n_answers++;
    if (lmf_cli_interrupted() && lmf__cli_signal() == SIGINT && c->shown)
        lmf_cli_interrupt_clear();
    else if (c->shown)
        lmf__answer_print_rate(&c->a);
    return lmf__answer_add_message(&c->a, c->messages, "assistant", lmf_buf_str(&c->a.text), c->a.text.n);
}

/* A line that begins with a slash. *end: leave. */
static lmf_status command(chat *c, const chat_args *args, const char *line, bool *end)
{
    if (strcmp(line, "/exit") == 0 || strcmp(line, "/quit") == 0) {
        *end = true;
    } else if (strcmp(line, "/clear") == 0) {
        LMF_TRY(clear(c, args));
        fputs("[a new conversation]\n", stderr);
    } else {
        if (strcmp(line, "/help"))
            fprintf(stderr, "[there is no %s]\n", lmf_plain_text(line, (char[48]){ 0 }, 48));
        fputs("[/clear begins a new conversation, /exit or Ctrl-D leaves, Ctrl-C stops an answer]\n", stderr);
    }
    return LMF_OK;
}

/* A signal while no answer was being written. */
static lmf_status at_prompt(chat *c)
{
    if (lmf__cli_signal() == SIGINT && c->shown && c->n_interrupts++ == 0) {
        lmf_cli_interrupt_clear();
        fputs("\n[/exit, Ctrl-D or Ctrl-C again leaves]\n", stderr);
        return LMF_OK;
    }
    return LMF_FAIL(c->a.cli->ctx, LMF_E_CANCELLED, "stopped after %d answers", c->n_answers);
}

static lmf_status talk(chat *c, const chat_args *args, lmf_buf *line)
{
    lmf_status s;
    for (bool end = false; !end;) {
        if (c->shown)
            fputs("> ", stderr);
        bool more = lmf__answer_read_line(&c->a, line, &s);
        if (lmf_cli_interrupted()) {
            LMF_TRY(at_prompt(c));
            continue;
        }
        LMF_TRY(s);
        if (!more)
            break;
        c->n_interrupts = 0;
        if (c->typed && line->n && line->data[0] == '/')
            LMF_TRY(command(c, args, line->data, &end));
        else if (line->n)
            LMF_TRY(turn(c, line));
        if (lmf_cli_interrupted())
            LMF_TRY(at_prompt(c));
    }
    return LMF_OK;
}

static lmf_status run(lmf_cli *cli, void *p)
{
    chat_args *args = p;
    chat c = { .messages = json_array(), .typed = isatty(0), .shown = isatty(0) && !cli->json };
    lmf_buf line;
    lmf_buf_init(&line, cli->ctx, (size_t)1 << 20);
    setvbuf(stdin, NULL, _IONBF, 0);
    lmf_status s = c.messages ? LMF_OK : LMF_NO_MEMORY(cli->ctx, 64, "a conversation");
    if (!s)
        s = lmf__answer_open(cli, &args->answer, &c.a);
    if (!s && c.a.model->chat.broken)
        s = LMF_FAIL(cli->ctx, LMF_E_UNSUPPORTED, "the model's chat template can't be used: %s", c.a.model->chat.broken);
    else if (!s && !c.a.model->chat_template)
        s = LMF_FAIL(cli->ctx, LMF_E_UNSUPPORTED, "%s has no chat template; lmfast generate --raw continues plain text", args->answer.model);
    if (!s)
        s = clear(&c, args);
    if (!s && c.shown && !cli->quiet)
        fprintf(stderr, "[%s; /help shows the commands]\n", lmf_plain_text(c.a.model->name[0] ? c.a.model->name : args->answer.model, (char[512]){ 0 }, 512));
    if (!s)
        s = talk(&c, args, &line);
    if (args->answer.profile)
        lmf__answer_print_profile(&c.a);
    if (!s && cli->json)
        s = lmf_cli_print_json(cli, json_pack("{s:O, s:i}", "messages", c.messages, "answers", c.n_answers));
    json_decref(c.messages);
    if (c.a.cli)
        lmf__answer_close(&c.a);
    lmf_buf_clear(&line);
    return s;
}

const lmf_command lmf_command_chat = { "chat", "talk with a model", flags, sizeof(chat_args), run,
    .example = "lmfast chat --model SmolLM2.gguf --system \"You answer briefly.\"" };
