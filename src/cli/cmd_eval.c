/* SPDX-License-Identifier: Apache-2.0 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/output.h"
#include "cli/conversation.h"
#include "eval/answers.h"
#include "eval/perplexity.h"

typedef struct eval_args {
    const char *model, *adapter, *data, *text, *answers, *compute, *chat_template, *control, *bad_rows;
    int64_t     context, max_tok, max_new_tok, batch_size;
    bool        overwrite, load_in_4bit;
} eval_args;

#define AT(member) offsetof(eval_args, member)
static const lmf_flag flags[] = {
    { "model", 'm', LMF_FLAG_STRING, AT(model), .required = true, .hub = LMF_HUB_MODEL,
        .help = "GGUF file, Hugging Face folder, or org/name of the hub" },
    { "adapter", 'a', LMF_FLAG_STRING, AT(adapter), .hub = LMF_HUB_ADAPTER, .help = "LoRA adapter on top: a PEFT folder" },
    { "data", 'd', LMF_FLAG_STRING, AT(data), .hub = LMF_HUB_DATA,
      .help = "test rows, JSON Lines or an array, also gzip; - is standard input: answers are made and judged" },
    LMF_BAD_ROWS_FLAG(AT(bad_rows)),
    LMF_IN_4BIT_FLAG(AT(load_in_4bit)),
    LMF_CHAT_TEMPLATE_FLAG(AT(chat_template)),
    LMF_CONTROL_FLAG(AT(control)),
    { "answers", 0, LMF_FLAG_STRING, AT(answers), .help = "with --data: file for the answers, one JSON object a row" },
    { "overwrite", 0, LMF_FLAG_BOOL, AT(overwrite), .help = "with --answers: replace the answers of an earlier eval, and nothing else" },
    { "max-new-tokens", 0, LMF_FLAG_INT, AT(max_new_tok), 1, 1 << 20, .fallback = "96", .help = "with --data: longest answer" },
    { "batch-size", 'b', LMF_FLAG_INT, AT(batch_size), 1, 256, .fallback = "8", .help = "with --data: rows answered at once" },
    { "text", 0, LMF_FLAG_STRING, AT(text), .help = "text file whose perplexity is measured" },
    { "context", 'c', LMF_FLAG_INT, AT(context), 4, 1 << 24, .fallback = "512", .help = "with --text: tokens of a window" },
    { "max-tokens", 0, LMF_FLAG_INT, AT(max_tok), 0, 9e15, .fallback = "0", .help = "with --text: tokens used; 0: all" },
    { "compute", 0, LMF_FLAG_CHOICE, AT(compute), .fallback = "auto", .choices = "auto|f32|fast", .help = "f32: all products in f32; fast: bf16 or int8 where the processor has it" },
    { 0 }
};

static bool progress(void *user, int64_t done, int64_t total)
{
    (void)total;
    lmf_progress_step(user, done, NULL);
    return !lmf_cli_interrupted();
}

static lmf_status eval_text(lmf_cli *cli, const eval_args *a, const lmf_model *m, const lmf_lora *lora)
{
    char *text;
    size_t n;
    lmf_scorer *scorer = NULL;
    lmf_perplexity_stats st;
    lmf_progress bar;
    int32_t most = lmf_model_config(m)->context;
    if (a->context > most)
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "--context %lld is more than the %d tokens that the model was made for", (long long)a->context, most);
    lmf_status s = lmf_file_read(cli->ctx, a->text, LMF_TEXT_MAX_BYTES, &text, &n);
    if (s)
        return lmf_fail_prefix(cli->ctx, s, "--text");
    lmf_scorer_opts o = { .device = cli->device, .lora = lora, .compute = strcmp(a->compute, "f32") != 0, .max_tok = (int32_t)a->context };
    lmf_progress_start(&bar, cli, "windows", (a->max_tok ? a->max_tok : (int64_t)n / 4) / a->context);
    s = lmf_scorer_create(cli->ctx, m, &o, &scorer);
    if (!s)
        s = lmf_perplexity(scorer, m, text, n, (int32_t)a->context, a->max_tok, progress, &bar, &st);
    if (s == LMF_E_ARG)
        lmf_fail_prefix(cli->ctx, s, "--text %s", a->text);
    lmf_progress_end(&bar);
    lmf_scorer_destroy(scorer);
    lmf_free(cli->ctx, text, n + 1);
    LMF_TRY(s);
    if (!isfinite(st.perplexity) || !isfinite(st.mean_nll))
        return LMF_FAIL(cli->ctx, LMF_E_LIMIT, "--text %s: the perplexity is not finite: the model gives values that are no numbers, its weights are damaged or too large", a->text);
    if (cli->json)
        return lmf_cli_print_json(cli, json_pack("{s:f, s:f, s:I, s:I, s:I, s:i}", "perplexity", st.perplexity, "mean_nll", st.mean_nll, "tokens", (json_int_t)st.n_tok,
                                                 "scored_tokens", (json_int_t)st.n_scored, "windows", (json_int_t)st.n_windows, "context", (int)a->context));
    printf("perplexity %.4f over %lld tokens in %lld windows of %lld\n", st.perplexity, (long long)st.n_tok, (long long)st.n_windows, (long long)a->context);
    return LMF_OK;
}

typedef struct scores { int64_t n_valid, n_name, n_exact, n_cut, n_bad; double loss; } scores;

/* One answer: its verdict, and its line of --answers behind out. */
static lmf_status judge_one(lmf_cli *cli, const lmf_rows *rows, const lmf_model *m, int64_t i, const lmf_answer *answer,
                            lmf_buf *reference, lmf_buf *out, scores *sc)
{
    json_t *row;
    LMF_TRY(lmf_row_get(rows, i, &row));
    lmf_status s = lmf_row_reference(rows, &m->chat, row, reference);
    if (!s) {
        lmf_verdict v = lmf_answer_judge(row, lmf_buf_str(reference), answer->text, answer->n);
        sc->n_valid += v.valid, sc->n_name += v.name, sc->n_exact += v.exact, sc->n_cut += answer->cut;
        json_t *text = json_stringn(answer->text, answer->n); /* NULL: an answer that is not UTF-8 */
        json_t *line = json_pack("{s:O*, s:I, s:o?, s:b, s:b, s:b, s:b}", "id", json_object_get(row, "id"), "line",
                                 (json_int_t)rows->items[i].line, "answer", text,
                                 "valid", v.valid, "name", v.name, "exact", v.exact, "cut", answer->cut);
        char *dump = line ? json_dumps(line, JSON_COMPACT) : NULL;
        s = dump ? lmf_buf_printf(out, "%s\n", dump) : LMF_NO_MEMORY(cli->ctx, answer->n, "an answer");
        free(dump);
        json_decref(line);
    }
    json_decref(row);
    return s;
}

static lmf_status judge(lmf_cli *cli, const lmf_rows *rows, const lmf_model *m, const lmf_answer *answer, lmf_buf *out, scores *sc)
{
    lmf_buf reference;
    lmf_status s = LMF_OK;
    lmf_buf_init(&reference, cli->ctx, (size_t)1 << 28);
    for (int64_t i = 0; !s && i < rows->n; i++)
        s = judge_one(cli, rows, m, i, &answer[i], &reference, out, sc);
    lmf_buf_clear(&reference);
    return s;
}

static lmf_status measure_loss(lmf_cli *cli, const eval_args *a, const lmf_model *m, const lmf_lora *lora, lmf_rows *rows, double *loss)
{
    lmf_samples *samples;
    lmf_scorer *scorer = NULL;
    lmf_progress bar;
    lmf_status s = lmf_samples_create(rows, &m->chat, lmf_model_config(m)->context, LMF_LONG_ERROR, &samples);
    if (s)
        return lmf__conversation_hint(cli, s, a->bad_rows);
    lmf__conversation_report(lmf_plain_text(rows->path, (char[1024]){ 0 }, 1024), samples);
    s = rows->skip_bad ? lmf_rows_keep(rows, samples) : LMF_OK;
    lmf_scorer_opts o = { .device = cli->device, .lora = lora, .compute = strcmp(a->compute, "f32") != 0, .max_tok = samples->longest < 2 ? 2 : samples->longest };
    lmf_progress_start(&bar, cli, "loss", samples->n);
    if (!s)
        s = lmf_scorer_create(cli->ctx, m, &o, &scorer);
    if (!s)
        s = lmf_answers_loss(scorer, cli->ctx, samples, progress, &bar, loss);
    lmf_progress_end(&bar);
    lmf_scorer_destroy(scorer);
    lmf_samples_destroy(samples);
    return s;
}

static lmf_status make_answers(lmf_cli *cli, const eval_args *a, const lmf_model *m, const lmf_rows *rows, lmf_arena *arena, lmf_answer *answer)
{
    lmf_progress bar;
    lmf_answers_opts o = { .device = cli->device, .adapter = a->adapter, .compute = strcmp(a->compute, "f32") != 0, .max_new_tok = (int32_t)a->max_new_tok,
                           .max_seqs = (int32_t)a->batch_size };
    lmf_progress_start(&bar, cli, "answers", rows->n);
    lmf_status s = lmf_answers_make(cli->ctx, m, rows, &o, arena, progress, &bar, answer);
    lmf_progress_end(&bar);
    return s;
}

static lmf_status print_scores(lmf_cli *cli, const eval_args *a, int64_t n_rows, const scores *sc)
{
    double n = (double)n_rows, valid = (double)sc->n_valid / n, name = (double)sc->n_name / n, exact = (double)sc->n_exact / n;
    if (cli->json)
        return lmf_cli_print_json(cli, json_pack("{s:I, s:I, s:f, s:f, s:f, s:f, s:I}", "rows", (json_int_t)n_rows, "bad_rows",
                                                 (json_int_t)sc->n_bad, "valid", valid, "name", name, "exact", exact, "loss", sc->loss,
                                                 "cut_answers", (json_int_t)sc->n_cut));
    printf("%s: %lld rows\nvalid  %.3f  one JSON object\nname   %.3f  the right function\nexact  %.3f  every value right\nloss   %.4f  mean of the answers' tokens\n", lmf_plain_text(a->data, (char[1024]){ 0 }, 1024),
           (long long)n_rows, valid, name, exact, sc->loss);
    return LMF_OK;
}

/* Whether each line is one that judge makes. */
static bool are_answers(const char *text, size_t n)
{
    static const char *const keys[] = { "line", "answer", "valid", "name", "exact", "cut", NULL };
    bool ours = n > 0 && text[n - 1] == '\n';
    for (size_t at = 0; ours && at < n;) {
        const char *end = memchr(text + at, '\n', n - at);
        json_t *line = json_loadb(text + at, (size_t)(end - text) - at, 0, NULL);
        for (const char *const *k = keys; ours && *k; k++)
            ours = json_object_get(line, *k) != NULL;
        ours = ours && json_object_size(line) == 6 + (json_object_get(line, "id") != NULL);
        json_decref(line);
        at = (size_t)(end - text) + 1;
    }
    return ours;
}

/* --answers is a new name, or with --overwrite a file of answers. */
static lmf_status check_answers(lmf_cli *cli, const eval_args *a)
{
    char *text;
    size_t n;
    if (!a->answers)
        return LMF_OK;
    lmf_output_kind kind = lmf_output_stat(a->answers);
    lmf_output_clean_beside(cli->ctx, a->answers, NULL);
    if (kind == LMF_OUTPUT_NONE || kind == LMF_OUTPUT_FILE) {
        lmf_status s = lmf_output_try(cli->ctx, a->answers);
        if (s || kind == LMF_OUTPUT_NONE)
            return s ? lmf_fail_prefix(cli->ctx, s, "--answers") : LMF_OK;
    }
    if (kind != LMF_OUTPUT_FILE)
        return LMF_FAIL(cli->ctx, LMF_E_EXISTS, "--answers %s is %s; give the name of a file that is not there yet", a->answers, lmf_output_word(kind));
    lmf_status s = lmf_file_read(cli->ctx, a->answers, LMF_POWER2(32), &text, &n);
    if (s)
        return lmf_fail_prefix(cli->ctx, s, "--answers");
    bool ours = are_answers(text, n);
    lmf_free(cli->ctx, text, n + 1);
    if (!ours)
        return LMF_FAIL(cli->ctx, LMF_E_EXISTS, "--answers %s exists and holds no answers of an eval; it is left alone, choose another name", a->answers);
    return a->overwrite ? LMF_OK : LMF_FAIL(cli->ctx, LMF_E_EXISTS, "--answers %s exists; --overwrite replaces it", a->answers);
}

/* What was measured is told even where the answers can't be kept. */
static lmf_status write_answers(lmf_cli *cli, const eval_args *a, const lmf_buf *out, int64_t n_rows, const scores *sc)
{
    char why[1024];
    lmf_status s = check_answers(cli, a); /* again: some time has passed */
    if (!s)
        s = lmf_file_write(cli->ctx, a->answers, lmf_buf_str(out), out->n);
    snprintf(why, sizeof why, "%s", lmf_error(cli->ctx));
    double n = (double)n_rows;
    return s ? LMF_FAIL(cli->ctx, s, "%s; the answers are not kept, what was measured is valid %.3f, name %.3f, exact %.3f, loss %.4f", why,
                        (double)sc->n_valid / n, (double)sc->n_name / n, (double)sc->n_exact / n, sc->loss) : LMF_OK;
}

static lmf_status eval_rows(lmf_cli *cli, const eval_args *a, const lmf_model *m, const lmf_lora *lora)
{
    lmf_rows rows;
    lmf_arena arena;
    lmf_buf out;
    scores sc = { 0 };
    lmf_status s = lmf_rows_open_with(cli->ctx, a->data, lmf__conversation_skips(a->bad_rows), &rows);
    if (s)
        return lmf_fail_prefix(cli->ctx, lmf__conversation_hint(cli, s, a->bad_rows), "--data");
    lmf_arena_init(&arena, cli->ctx, LMF_POWER2(32));
    lmf_buf_init(&out, cli->ctx, LMF_POWER2(32));
    lmf_answer *answer = lmf_arena_array(&arena, (size_t)rows.n, sizeof *answer);
    s = answer ? measure_loss(cli, a, m, lora, &rows, &sc.loss) : LMF_NO_MEMORY(cli->ctx, (size_t)rows.n * sizeof *answer, "answers");
    if (!s && !isfinite(sc.loss))
        s = LMF_FAIL(cli->ctx, LMF_E_LIMIT, "--data %s: the loss is not finite: the model gives values that are no numbers, its weights are damaged or too large", a->data);
    if (!s)
        s = make_answers(cli, a, m, &rows, &arena, answer);
    if (!s)
        s = judge(cli, &rows, m, answer, &out, &sc);
    if (!s && a->answers)
        s = write_answers(cli, a, &out, rows.n, &sc);
    int64_t n = rows.n;
    sc.n_bad = rows.n_bad;
    lmf_buf_clear(&out);
    lmf_arena_clear(&arena);
    lmf_rows_close(&rows);
    return s ? s : print_scores(cli, a, n, &sc);
}

static lmf_status run(lmf_cli *cli, void *args)
{
    const eval_args *a = args;
    lmf_model *m = NULL;
    lmf_lora lora = { 0 };
    if (!a->data == !a->text)
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "give one of --data ROWS.jsonl (answers and loss) and --text FILE (perplexity)");
    if (a->text && a->answers)
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "--answers goes with --data: a text has none");
    LMF_TRY(check_answers(cli, a));
    lmf_status s = lmf__conversation_open_model(cli, a->model, a->load_in_4bit, &m);
    if (!s)
        s = lmf__conversation_use_template(cli, m, a->chat_template);
    if (!s) {
        m->chat.now_unix = lmf_chat_now();
        m->chat.control = lmf_control_of(a->control);
    }
    if (!s && a->adapter)
        s = lmf_lora_open(cli->ctx, m, a->adapter, &lora);
    if (!s && lora.dora && a->data)
        s = LMF_FAIL(cli->ctx, LMF_E_UNSUPPORTED, "--adapter %s is a DoRA adapter (use_dora), which can't stand beside a model that "
                     "answers rows; merge it first: lmfast export --adapter", a->adapter);
    if (!s)
        s = a->text ? eval_text(cli, a, m, a->adapter ? &lora : NULL) : eval_rows(cli, a, m, a->adapter ? &lora : NULL);
    lmf_lora_close(&lora);
    lmf_model_close(m);
    return s;
}

const lmf_command lmf_command_eval = { "eval", "measure a model: answers to test rows, or perplexity of a text", flags, sizeof(eval_args), run,
    .example = "lmfast eval --model SmolLM2-135M-Instruct.Q4_1.gguf --adapter my_adapter --data test.jsonl --answers answers.jsonl" };
