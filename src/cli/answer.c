/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: only what text/stream lets go is shown. */
#include "cli/answer.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include "text/stream/stream.h"

enum { MAX_PROMPT = 1 << 20, MAX_TEXT = 1 << 24, DEFAULT_CONTEXT = 4096, MAX_LINE = 1 << 20 };

lmf_status lmf__answer_open(lmf_cli *cli, const lmf_answer_args *args, lmf_answer *a)
{
    *a = (lmf_answer){ .cli = cli, .args = args, .finish = "" };
    lmf_ids_init(&a->ids, cli->ctx, MAX_PROMPT);
    lmf_buf_init(&a->text, cli->ctx, MAX_TEXT);
    LMF_TRY(lmf_model_open(cli->ctx, args->model, &a->model));
    LMF_TRY(lmf__conversation_use_template(cli, a->model, args->chat_template));
    a->model->chat.now_unix = lmf_chat_now();
    a->model->chat.control = lmf_control_of(args->control);
    if (!a->model->tokenizer)
        return LMF_FAIL(cli->ctx, LMF_E_UNSUPPORTED, "%s: the model has no tokenizer", args->model);
    return LMF_OK;
}

void lmf__answer_close(lmf_answer *a)
{
    lmf_session_destroy(a->session);
    lmf_engine_destroy(a->engine);
    lmf_model_close(a->model);
    lmf_ids_clear(&a->ids);
    lmf_buf_clear(&a->text);
}

lmf_status lmf__answer_add_message(lmf_answer *a, json_t *messages, const char *role, const char *text, size_t n)
{
    json_t *content = json_stringn(text, n);
    if (!content)
        return LMF_FAIL(a->cli->ctx, LMF_E_ARG, "the %s message is not valid UTF-8", role);
    json_t *message = json_pack("{s:s, s:o}", "role", role, "content", content);
    if (!message || json_array_append_new(messages, message))
        return LMF_NO_MEMORY(a->cli->ctx, n, "a message");
    return LMF_OK;
}

lmf_status lmf__answer_encode_chat(lmf_answer *a, json_t *messages)
{
    a->ids.n = 0;
    if (!a->model->chat_template && !a->model->chat.broken)
        return LMF_FAIL(a->cli->ctx, LMF_E_UNSUPPORTED, "%s has no chat template; lmfast generate --raw continues plain text", a->args->model);
    json_t *vars = json_pack("{s:O}", "messages", messages);
    if (!vars)
        return LMF_NO_MEMORY(a->cli->ctx, 64, "a conversation");
    lmf_status s = lmf_chat_encode(&a->model->chat, vars, true, &a->ids);
    json_decref(vars);
    return s;
}

lmf_status lmf__answer_encode(lmf_answer *a, bool raw, const char *prompt, size_t n)
{
    const char *system = a->args->system;
    if (raw) {
        if (system)
            return LMF_FAIL(a->cli->ctx, LMF_E_ARG, "--system needs a chat template, which --raw leaves out");
        a->ids.n = 0;
        LMF_TRY(lmf_chat_encode_plain(&a->model->chat, prompt, n, LMF_ENCODE_DEFAULTS, &a->ids));
        return a->ids.n ? LMF_OK : LMF_FAIL(a->cli->ctx, LMF_E_ARG, "the prompt is empty");
    }
    json_t *messages = json_array();
    lmf_status s = messages ? LMF_OK : LMF_NO_MEMORY(a->cli->ctx, 64, "a conversation");
    if (!s && system)
        s = lmf__answer_add_message(a, messages, "system", system, strlen(system));
    if (!s)
        s = lmf__answer_add_message(a, messages, "user", prompt, n);
    if (!s)
        s = lmf__answer_encode_chat(a, messages);
    json_decref(messages);
    return s;
}

lmf_status lmf__answer_read_all(lmf_answer *a, lmf_buf *text)
{
    char part[4096];
    size_t n;
    while ((n = fread(part, 1, sizeof part, stdin)) > 0)
        if (lmf_buf_append(text, part, n))
            return LMF_FAIL(a->cli->ctx, text->status, "the prompt on standard input is longer than %zu bytes", text->max);
    if (lmf_cli_interrupted())
        return LMF_FAIL(a->cli->ctx, LMF_E_CANCELLED, "stopped while reading the prompt");
    if (ferror(stdin))
        return LMF_FAIL(a->cli->ctx, LMF_E_IO, "standard input could not be read: %s", strerror(errno));
    return LMF_OK;
}

lmf_status lmf__answer_start_engine(lmf_answer *a, int64_t least_context)
{
    const lmf_answer_args *args = a->args;
    int32_t most = lmf_model_config(a->model)->context;
    if (a->engine)
        return LMF_OK;
    lmf_engine_opts opts = lmf_engine_opts_default();
    int64_t context = args->context ? args->context : least_context > DEFAULT_CONTEXT || a->n_seqs > 1 ? least_context : DEFAULT_CONTEXT;
    if (args->context > most)
        return LMF_FAIL(a->cli->ctx, LMF_E_ARG, "--context %lld is more than the %d tokens that the model was made for", (long long)args->context, most);
    opts.context = (int32_t)(context < most ? context : most);
    opts.device = a->cli->device;
    opts.max_seqs = a->n_seqs ? a->n_seqs : 1;
    opts.compute = strcmp(args->compute, "f32") != 0;
    opts.need_invariant = a->n_seqs > 1 && !opts.compute; /* then an answer is its own, whatever is written beside it */
    opts.profile = args->profile;
    opts.adapters = &args->adapter;
    opts.n_adapters = args->adapter != NULL;
    opts.mask = a->mask, opts.force = a->force;
    LMF_TRY(lmf_engine_create(a->cli->ctx, a->model, &opts, &a->engine));
    return lmf_session_create(a->engine, &(lmf_session_opts){ sizeof(lmf_session_opts), args->adapter ? 0 : -1 }, &a->session);
}

static lmf_status show(lmf_answer *a, lmf_fresh fresh, bool quiet)
{
    if (!quiet && fresh.n && (fwrite(fresh.data, 1, fresh.n, stdout) != fresh.n || fflush(stdout)))
        return LMF_FAIL(a->cli->ctx, LMF_E_IO, "standard output could not be written: %s", strerror(errno));
    return LMF_OK;
}

static lmf_status take_tokens(lmf_answer *a, lmf_text_stream *st, bool quiet, const lmf_token *tok, int n)
{
    lmf_fresh fresh;
    for (int i = 0; i < n && st->i_stop < 0; i++) {
        bool ends = tok[i].finish == LMF_FINISH_STOP;
        a->n_completion += tok[i].id >= 0;
        if (tok[i].id >= 0 && !ends) {
            LMF_TRY(lmf_text_stream_push(st, a->model->tokenizer, tok[i].id, &a->text, &fresh));
            LMF_TRY(show(a, fresh, quiet));
        }
        if (tok[i].finish) {
            LMF_TRY(lmf_text_stream_end(st, &a->text, &fresh));
            LMF_TRY(show(a, fresh, quiet));
            a->finish = ends ? "stop" : tok[i].finish == LMF_FINISH_LENGTH ? "length" : "cancelled";
        }
    }
    return LMF_OK;
}

lmf_status lmf__answer_say(lmf_answer *a, bool quiet_stdout)
{
    const lmf_answer_args *args = a->args;
    lmf_gen_opts gen = lmf_gen_opts_default();
    lmf_text_stream st;
    lmf_token tok[16];
    gen.max_tok = (int32_t)args->max_tokens, gen.temperature = (float)args->temperature, gen.top_k = (int32_t)args->top_k;
    gen.top_p = (float)args->top_p, gen.min_p = (float)args->min_p, gen.repetition_penalty = (float)args->repetition_penalty;
    gen.seed = (uint64_t)args->seed, gen.grammar = a->grammar;
    lmf_buf_truncate(&a->text, 0);
    a->n_completion = 0, a->finish = "", a->prefill_seconds = a->decode_seconds = 0;
    LMF_TRY(lmf_text_stream_init(&st, a->cli->ctx, &args->stop, args->stop && *args->stop)); /* an empty one: none */
    LMF_TRY(lmf_session_become(a->session, a->ids.data, (int)a->ids.n));
    LMF_TRY(lmf_session_generate(a->session, &gen));
    double start = lmf_cli_seconds(), first = 0;
    for (int live = 1, n = 1; live || n;) {
        if (lmf_cli_interrupted() || st.i_stop >= 0)
            lmf_session_cancel(a->session);
        LMF_TRY(lmf_engine_step(a->engine, &live));
        LMF_TRY(lmf_session_read(a->session, tok, 16, &n));
        if (n && first == 0)
            first = lmf_cli_seconds();
        LMF_TRY(take_tokens(a, &st, quiet_stdout, tok, n));
    }
    if (st.i_stop >= 0)
        a->finish = "stop";
    first = first == 0 ? lmf_cli_seconds() : first;
    a->prefill_seconds = first - start;
    a->decode_seconds = lmf_cli_seconds() - first;
    return a->text.status;
}

double lmf__answer_rate(const lmf_answer *a)
{
    return a->n_completion > 1 && a->decode_seconds > 0 ? (a->n_completion - 1) / a->decode_seconds : 0;
}

void lmf__answer_print_rate(const lmf_answer *a)
{
    if (!a->cli->quiet)
        fprintf(stderr, "[%d tokens of prompt in %.2f s, %d of answer at %.1f tokens/s, %s]\n", (int)a->ids.n, a->prefill_seconds, a->n_completion,
                lmf__answer_rate(a), a->finish);
}

void lmf__answer_print_profile(const lmf_answer *a)
{
    lmf_profile_row rows[64];
    int n = a->engine ? lmf_engine_profile(a->engine, rows, 64) : 0;
    double all = 0;
    for (int i = 0; i < n; i++)
        all += rows[i].seconds;
    for (int i = 0; i < n; i++)
        if (rows[i].n_calls)
            fprintf(stderr, "%5.1f %%  %9.3f ms  %8lld calls  %8.2f GFLOP/s  %7.2f GB/s  %s %s\n", 100 * rows[i].seconds / all, 1e3 * rows[i].seconds,
                    (long long)rows[i].n_calls, 1e-9 * rows[i].flops / rows[i].seconds, 1e-9 * rows[i].bytes / rows[i].seconds, rows[i].op, rows[i].row);
}

/* A signal may come just before the waiting or go to another thread, where it wakes nobody: so it is looked for ten times a second. */
static int next_char(void)
{
    struct pollfd in = { .fd = 0, .events = POLLIN };
    while (!lmf_cli_interrupted() && poll(&in, 1, 100) == 0)
        ;
    return lmf_cli_interrupted() ? EOF : getc(stdin);
}

bool lmf__answer_read_line(lmf_answer *a, lmf_buf *line, lmf_status *status)
{
    int c;
    lmf_buf_truncate(line, 0);
    *status = LMF_OK;
    errno = 0;
    while ((c = next_char()) != EOF && c != '\n')
        if (line->n < MAX_LINE)
            *status = lmf_buf_putc(line, (char)c);
        else
            *status = LMF_FAIL(a->cli->ctx, LMF_E_LIMIT, "a line of more than %d bytes", MAX_LINE);
    if (line->n && line->data[line->n - 1] == '\r')
        lmf_buf_truncate(line, line->n - 1);
    if (c == EOF && ferror(stdin)) {
        if (errno != EINTR)
            *status = LMF_FAIL(a->cli->ctx, LMF_E_IO, "standard input could not be read: %s", strerror(errno));
        clearerr(stdin);
        return false;
    }
    return c != EOF || line->n > 0;
}
