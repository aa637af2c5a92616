/* SPDX-License-Identifier: Apache-2.0 */
/* lmfast think: several answers to a question, or to each row of a file, and the one that is taken (agent/think.h). */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "agent/think.h"
#include "base/output.h"
#include "cli/answer.h"
#include "format/json.h"

typedef struct think_args {
    lmf_answer_args answer;
    const char *question, *method, *by, *final, *data, *bad_rows, *answers;
    lmf_texts   verifier, measure;
    int64_t     n, budget, limit;
    bool        steps;
} think_args;

#define AT(member) offsetof(think_args, member)
static const lmf_flag flags[] = {
    LMF_ANSWER_FLAGS(think_args, "0.7"),
    { "question", 0, LMF_FLAG_STRING, AT(question), .positional = true, .help = "what to answer" },
    { "method", 0, LMF_FLAG_CHOICE, AT(method), .fallback = "adaptive", .choices = "greedy|cot|best-of-n|vote|adaptive",
      .help = "greedy: one answer; cot: one with steps; best-of-n: the best of n; vote: what most of n came to; adaptive: the same, until "
              "the vote is decided" },
    { "n", 0, LMF_FLAG_INT, AT(n), 1, LMF_THINK_MAX_ANSWERS, .fallback = "8", .unit = "answers", .help = "answers at most" },
    { "verifier", 0, LMF_FLAG_LIST, AT(verifier),
      .help = "scores answers: NAME, NAME:ARGUMENT, with =WEIGHT behind; several are added up (docs/TRAINING.md lists them)" },
    { "by", 0, LMF_FLAG_CHOICE, AT(by), .fallback = "auto", .choices = "auto|verifier|logp|longest|shortest",
      .help = "best-of-n: what the best has most of; auto: the verifier's score where there is one, else log-probability a token" },
    { "steps", 0, LMF_FLAG_BOOL, AT(steps), .help = "ask for steps before the answer, as cot does" },
    { "final", 0, LMF_FLAG_CHOICE, AT(final), .fallback = "auto", .choices = "auto|number|json|text",
      .help = "what of an answer is counted in a vote: its last number, its JSON, its text; auto: as it ends" },
    { "budget", 0, LMF_FLAG_INT, AT(budget), 0, 1e15, .fallback = "0", .unit = "tokens",
      .help = "of all answers to a question together; 0: no limit" },
    { "data", 'd', LMF_FLAG_STRING, AT(data), .hub = LMF_HUB_DATA, .help = "rows to answer, instead of a question; - is standard input" },
    { "measure", 0, LMF_FLAG_LIST, AT(measure),
      .help = "with --data: what the answers that were taken are measured by, written as for --verifier; without: --verifier" },
    { "limit", 0, LMF_FLAG_INT, AT(limit), 0, 1e15, .fallback = "0", .unit = "rows", .help = "with --data: the first rows; 0: all" },
    { "answers", 0, LMF_FLAG_STRING, AT(answers), .help = "with --data: new file for all answers, one JSON object a row" },
    LMF_BAD_ROWS_FLAG(AT(bad_rows)),
    { 0 }
};

typedef struct think_run {
    lmf_cli    *cli;
    const think_args *args;
    lmf_answer *a;
    lmf_think_opts opts;
    lmf_rewards *rewards, *measure;
    lmf_arena   arena;         /* of a question */
} think_run;

static bool is_stopped(void *user) { return (void)user, lmf_cli_interrupted(); }

static int index_of(const char *word, const char *const *list)
{
    for (int i = 0; list[i]; i++)
        if (strcmp(list[i], word) == 0)
            return i;
    return 0;
}

static lmf_status make_opts(think_run *r)
{
    static const char *const methods[] = { "greedy", "cot", "best-of-n", "vote", "adaptive", NULL };
    static const char *const choices[] = { "logp", "verifier", "longest", "shortest", NULL };
    static const char *const finals[] = { "auto", "number", "json", "text", NULL };
    const think_args *args = r->args;
    const lmf_answer_args *g = &args->answer;
    lmf_think_opts *o = &r->opts;
    *o = lmf_think_opts_default();
    o->method = (lmf_think_method)index_of(args->method, methods);
    o->choose = strcmp(args->by, "auto") ? (lmf_think_choose)index_of(args->by, choices) : args->verifier.n ? LMF_CHOOSE_VERIFIER
        : LMF_CHOOSE_LOGP;
    o->final = (lmf_final_kind)index_of(args->final, finals);
    if (o->method != LMF_METHOD_BEST_OF_N && strcmp(args->by, "auto"))
        return LMF_FAIL(r->cli->ctx, LMF_E_ARG, "--by %s goes with --method best-of-n; %s does not choose by it", args->by, args->method);
    if (o->choose == LMF_CHOOSE_VERIFIER && !args->verifier.n)
        return LMF_FAIL(r->cli->ctx, LMF_E_ARG, "--by verifier needs a --verifier");
    o->n = (int32_t)args->n, o->budget_tok = args->budget;
    o->gen.max_tok = (int32_t)g->max_tokens, o->gen.temperature = (float)g->temperature, o->gen.top_k = (int32_t)g->top_k;
    o->gen.top_p = (float)g->top_p, o->gen.min_p = (float)g->min_p, o->gen.repetition_penalty = (float)g->repetition_penalty;
    o->gen.seed = (uint64_t)g->seed;
    o->stop = &g->stop, o->n_stops = g->stop && *g->stop;
    o->stopped = is_stopped;
    bool one = o->method == LMF_METHOD_GREEDY || o->method == LMF_METHOD_COT;
    if (!one && o->n > 1 && o->gen.temperature == 0)
        return LMF_FAIL(r->cli->ctx, LMF_E_ARG, "--temperature 0 gives the same answer %d times; --method greedy writes it once", o->n);
    r->a->n_seqs = one ? 1 : o->n;
    return LMF_OK;
}

/* row: the reference's owner; row NULL: a question of the command line. */
static lmf_status think(think_run *r, json_t *row, const char *reference, lmf_thoughts *out)
{
    lmf_verify_in in = { .row = row, .reference = reference };
    lmf_arena_clear(&r->arena);
    return lmf_think(r->a->engine, r->a->model, r->args->answer.adapter ? 0 : -1, r->a->ids.data, (int)r->a->ids.n, &r->opts, r->rewards,
                     r->rewards ? &in : NULL, &r->arena, out);
}

static bool wants_steps(const think_run *r) { return r->args->steps || r->opts.method == LMF_METHOD_COT; }

/* ---- what is told ---- */

static json_t *text_or_null(const char *text, size_t n) { return text ? lmf_json_stringn(text, n) : json_null(); }

static json_t *answer_json(const think_run *r, const lmf_thought *t, bool chosen)
{
    json_t *j = json_pack("{s:o, s:o, s:b, s:f, s:i, s:s, s:i, s:f}", "text", text_or_null(t->text, t->n_text), "final",
                          text_or_null(t->final, t->final ? strlen(t->final) : 0), "chosen", chosen, "logp", t->logp, "tokens", t->n_tok,
                          "finish", t->finish, "votes", t->n_votes, "seconds", t->seconds);
    json_t *scores = j && r->rewards ? json_object() : NULL;
    for (int i = 0; scores && i < r->rewards->n; i++)
        json_object_set_new(scores, r->rewards->item[i].text, json_real(t->score[i]));
    if (scores && (json_object_set_new(j, "scores", scores) || json_object_set_new(j, "score", json_real(t->total)))) {
        json_decref(j);
        return NULL;
    }
    return j;
}

static json_t *thoughts_json(const think_run *r, const lmf_thoughts *all)
{
    const lmf_thought *c = &all->item[all->chosen];
    json_t *list = json_array();
    for (int32_t i = 0; list && i < all->n; i++)
        if (json_array_append_new(list, answer_json(r, &all->item[i], i == all->chosen))) {
            json_decref(list);
            list = NULL;
        }
    if (!list)
        return NULL;
    return json_pack("{s:o, s:o, s:s, s:s, s:i, s:I, s:f, s:f, s:o}", "answer", text_or_null(c->text, c->n_text), "final",
                     text_or_null(c->final, c->final ? strlen(c->final) : 0), "method", r->args->method, "why", all->why, "prompt_tokens",
                     (int)r->a->ids.n, "tokens", (json_int_t)all->n_tok, "seconds", all->seconds, "prompt_seconds", all->prompt_seconds,
                     "answers", list);
}

static lmf_status print_answer(think_run *r, const lmf_thoughts *all)
{
    const lmf_thought *c = &all->item[all->chosen];
    char plain[256];
    if (r->cli->json)
        return lmf_cli_print_json(r->cli, thoughts_json(r, all));
    fwrite(c->text, 1, c->n_text, stdout);
    putchar('\n');
    if (r->cli->quiet)
        return LMF_OK;
    fprintf(stderr, "[%d answer%s, %lld tokens in %.2f s; taken: %s", all->n, all->n == 1 ? "" : "s", (long long)all->n_tok, all->seconds,
            all->why);
    if (c->final && all->n > 1)
        fprintf(stderr, ", %d came to %s", c->n_votes, lmf_plain_text(c->final, plain, sizeof plain));
    fprintf(stderr, "]\n");
    return LMF_OK;
}

/* ---- a question ---- */

static lmf_status encode_question(think_run *r)
{
    const think_args *args = r->args;
    json_t *messages = json_array(), *row = json_pack("{s:o}", "messages", messages);
    lmf_status s = row ? LMF_OK : LMF_NO_MEMORY(r->cli->ctx, 64, "a conversation");
    if (!s && args->answer.system)
        s = lmf__answer_add_message(r->a, messages, "system", args->answer.system, strlen(args->answer.system));
    if (!s)
        s = lmf__answer_add_message(r->a, messages, "user", args->question, strlen(args->question));
    if (!s && wants_steps(r))
        s = lmf_think_add_steps(r->cli->ctx, row);
    if (!s)
        s = lmf__answer_encode_chat(r->a, messages);
    json_decref(row);
    return s;
}

static lmf_status answer_question(think_run *r)
{
    lmf_thoughts all;
    json_t *none = json_object();
    lmf_status s = none ? encode_question(r) : LMF_NO_MEMORY(r->cli->ctx, 64, "a row");
    if (!s)
        s = lmf__answer_start_engine(r->a, (int64_t)r->a->ids.n + r->args->answer.max_tokens);
    if (!s)
        s = think(r, none, NULL, &all);
    json_decref(none);
    return s ? s : print_answer(r, &all);
}

/* ---- rows ---- */

typedef struct sums { int64_t n, n_tok, n_answers; double seconds, taken, square, mean, best; } sums;

static lmf_status get_row(think_run *r, const lmf_rows *rows, int64_t i, json_t **row)
{
    r->a->ids.n = 0;
    LMF_TRY(lmf_row_get(rows, i, row));
    lmf_status s = wants_steps(r) ? lmf_think_add_steps(r->cli->ctx, *row) : LMF_OK;
    if (!s)
        s = lmf_prompt_encode(&r->a->model->chat, *row, &r->a->ids);
    if (!s)
        return LMF_OK;
    json_decref(*row);
    *row = NULL;
    return lmf_fail_prefix(r->cli->ctx, s, "%s, %s %lld", rows->path, rows->unit, (long long)rows->items[i].line);
}

static lmf_status longest_prompt(think_run *r, const lmf_rows *rows, int64_t n, int64_t *most)
{
    json_t *row;
    *most = 0;
    for (int64_t i = 0; i < n; i++) {
        LMF_TRY(get_row(r, rows, i, &row));
        json_decref(row);
        *most = (int64_t)r->a->ids.n > *most ? (int64_t)r->a->ids.n : *most;
    }
    return LMF_OK;
}

/* Scores of all answers by what they are measured by. */
static lmf_status measure(think_run *r, json_t *row, const char *reference, const lmf_thoughts *all, sums *sum, double *taken)
{
    double best = -INFINITY, mean = 0, score[LMF_MAX_REWARDS], total;
    lmf_rewards *by = r->measure ? r->measure : r->rewards;
    *taken = 0;
    sum->n++, sum->n_tok += all->n_tok, sum->n_answers += all->n, sum->seconds += all->seconds;
    for (int32_t i = 0; by && i < all->n; i++) {
        const lmf_thought *t = &all->item[i];
        lmf_verify_in in = { .row = row, .reference = reference, .text = t->text, .n = t->n_text, .n_tok = t->n_tok };
        LMF_TRY(lmf_rewards_score(by, &in, score, &total));
        best = total > best ? total : best, mean += total / all->n;
        *taken = i == all->chosen ? total : *taken;
    }
    if (by)
        sum->taken += *taken, sum->square += *taken * *taken, sum->mean += mean, sum->best += best;
    return LMF_OK;
}

static lmf_status answer_row(think_run *r, const lmf_rows *rows, int64_t i, sums *sum, lmf_buf *reference, lmf_buf *lines)
{
    lmf_ctx *ctx = r->cli->ctx;
    lmf_thoughts all;
    json_t *row;
    bool has;
    double taken = 0;
    LMF_TRY(get_row(r, rows, i, &row));
    lmf_status s = lmf_prompt_reference(rows, &r->a->model->chat, row, reference, &has);
    const char *want = !s && has ? lmf_buf_str(reference) : NULL;
    if (!s)
        s = think(r, row, want, &all);
    if (!s)
        s = measure(r, row, want, &all, sum, &taken);
    json_t *line = !s && r->args->answers ? thoughts_json(r, &all) : NULL;
    if (line && (json_object_set_new(line, "line", json_integer(rows->items[i].line)) || json_object_set_new(line, "measured",
        json_real(taken)) ||
                 lmf_json_text(ctx, line, JSON_COMPACT, lines) || lmf_buf_putc(lines, '\n')))
        s = LMF_NO_MEMORY(ctx, lines->n, "answers");
    json_decref(line);
    json_decref(row);
    return s && s != LMF_E_CANCELLED ? lmf_fail_prefix(ctx, s, "%s, %s %lld", rows->path, rows->unit, (long long)rows->items[i].line) : s;
}

static lmf_status print_sums(think_run *r, const sums *s)
{
    double n = (double)s->n, mean = s->taken / n, var = s->n > 1 ? fmax(0, (s->square - n * mean * mean) / (n - 1)) : 0;
    bool measured = r->measure || r->rewards;
    if (r->cli->json) {
        json_t *j = json_pack("{s:s, s:I, s:I, s:I, s:f}", "method", r->args->method, "rows", (json_int_t)s->n, "answers",
                              (json_int_t)s->n_answers,
                              "tokens", (json_int_t)s->n_tok, "seconds", s->seconds);
        if (j && measured && json_object_update_new(j, json_pack("{s:f, s:f, s:f, s:f}", "score", mean, "standard_error", sqrt(var / n),
                                                                 "mean_of_answers", s->mean / n, "best_of_answers", s->best / n))) {
            json_decref(j);
            j = NULL;
        }
        return lmf_cli_print_json(r->cli, j);
    }
    if (measured)
        printf("score    %.4f +- %.4f  of the answers taken\nmean     %.4f  of all answers\n"
               "best     %.4f  had the best of each row been taken\n", mean, sqrt(var / n), s->mean / n, s->best / n);
    printf("rows     %lld\nanswers  %lld\ntokens   %lld\nseconds  %.2f\n", (long long)s->n, (long long)s->n_answers, (long long)s->n_tok,
           s->seconds);
    return LMF_OK;
}

static lmf_status answer_all(think_run *r, const lmf_rows *rows)
{
    lmf_buf reference, lines;
    lmf_progress bar;
    sums sum = { 0 };
    int64_t n = r->args->limit && r->args->limit < rows->n ? r->args->limit : rows->n, most;
    LMF_TRY(longest_prompt(r, rows, n, &most));
    LMF_TRY(lmf__answer_start_engine(r->a, most + r->args->answer.max_tokens));
    lmf_buf_init(&reference, r->cli->ctx, (size_t)1 << 28);
    lmf_buf_init(&lines, r->cli->ctx, LMF_POWER2(32));
    lmf_progress_start(&bar, r->cli, "rows", n);
    lmf_status s = LMF_OK;
    for (int64_t i = 0; i < n && !s; i++) {
        s = answer_row(r, rows, i, &sum, &reference, &lines);
        lmf_progress_step(&bar, i + 1, NULL);
    }
    lmf_progress_end(&bar);
    if (!s && r->args->answers)
        s = lmf_file_write(r->cli->ctx, r->args->answers, lmf_buf_str(&lines), lines.n);
    lmf_buf_clear(&reference);
    lmf_buf_clear(&lines);
    return s ? s : print_sums(r, &sum);
}

static lmf_status answer_rows(think_run *r)
{
    const think_args *args = r->args;
    lmf_ctx *ctx = r->cli->ctx;
    lmf_rows rows;
    lmf_rows_opts o = { .skip_bad = lmf__conversation_skips(args->bad_rows), .asks = true };
    if (args->answers && lmf_output_stat(args->answers) != LMF_OUTPUT_NONE)
        return LMF_FAIL(ctx, LMF_E_EXISTS, "--answers %s exists; give the name of a file that is not there yet", args->answers);
    if (args->answers)
        LMF_TRY(lmf_output_try(ctx, args->answers));
    lmf_status s = lmf_rows_open_as(ctx, args->data, &o, &rows);
    if (s)
        return lmf_fail_prefix(ctx, lmf__conversation_hint(r->cli, s, args->bad_rows), "--data");
    if (rows.n_bad)
        fprintf(stderr, "%s: %lld rows can't be used and were left out. The first: %s\n", rows.path, (long long)rows.n_bad, rows.first_bad);
    s = answer_all(r, &rows);
    lmf_rows_close(&rows);
    return s;
}

static lmf_status run(lmf_cli *cli, void *p)
{
    think_args *args = p;
    lmf_answer a = { 0 };
    think_run r = { .cli = cli, .args = args, .a = &a };
    lmf_status s = LMF_OK;
    if (!args->question == !args->data)
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "give a question, or --data with rows to answer, and not both");
    if (!args->data && (args->answers || args->limit || args->measure.n))
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "--answers, --limit and --measure go with --data");
    if (args->data && args->answer.system)
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "--system goes with a question; rows bring their own");
    lmf_arena_init(&r.arena, cli->ctx, (size_t)1 << 30);
    LMF_TRY_TO(done, lmf__answer_open(cli, &args->answer, &a));
    LMF_TRY_TO(done, make_opts(&r));
    if (args->verifier.n)
        LMF_TRY_TO(done, lmf_rewards_open(cli->ctx, args->verifier.item, (int)args->verifier.n, NULL, &r.rewards));
    if (args->measure.n)
        LMF_TRY_TO(done, lmf_rewards_open(cli->ctx, args->measure.item, (int)args->measure.n, NULL, &r.measure));
    s = args->data ? answer_rows(&r) : answer_question(&r);
    if (args->answer.profile)
        lmf__answer_print_profile(&a);
done:
    lmf_rewards_close(r.rewards);
    lmf_rewards_close(r.measure);
    lmf__answer_close(&a);
    lmf_arena_clear(&r.arena);
    return s;
}

const lmf_command lmf_command_think = { "think", "answer a question several times and take the best", flags, sizeof(think_args), run,
    .example = "lmfast think --model SmolLM2.gguf --method vote --n 8 --steps \"What is 17 + 25?\"" };
