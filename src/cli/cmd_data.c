/* SPDX-License-Identifier: Apache-2.0 */
/* lmfast data show, lmfast data check: what a model will see of data, and what is odd about them, before anything is trained. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "cli/conversation.h"
#include "data/faults.h"
#include "format/json.h"
#include "train/batches.h"
#include "train/objective_flags.h"
#include "train/run_data.h"

typedef struct data_args { lmf_train_config c; const char *what, *color; int64_t rows, row; bool tokens; } data_args;

enum { N_BARS = 8 };

#define AT(member) offsetof(data_args, member)
static const lmf_flag own_flags[] = {
    { "what", 0, LMF_FLAG_CHOICE, AT(what), .required = true, .positional = true, .choices = "show|check",
      .help = "show: rows as the model sees them, trained tokens marked; check: counts, lengths, doubles, empty answers" },
    { "rows", 0, LMF_FLAG_INT, AT(rows), 0, 1e9, .fallback = "3", .unit = "rows", .help = "show: how many" },
    { "row", 0, LMF_FLAG_INT, AT(row), 1, 1e12, .help = "show: from this line (record, row) of its file on" },
    { "tokens", 0, LMF_FLAG_BOOL, AT(tokens), .help = "show: a line a token" },
    { "color", 0, LMF_FLAG_CHOICE, AT(color), .fallback = "auto", .choices = "auto|always|never",
        .help = "show: colours; without them trained "
        "text stands in brackets" },
    { 0 }
};
/* Of a training run's settings, those that say what is trained on. */
static const char *const taken[] = { "config", "set", "model", "data", "eval-data", "val-set-size", "train-on", "drop-duplicates",
    "drop-empty",
    "bad-rows", "chat-template", "control-tokens", "seq-len", "too-long", "seed", "clock", "batch-size", "gradient-accumulation-steps",
    "micro-tokens", "shuffle" };

static int more_flags(lmf_arena *a, const lmf_tables *tables, lmf_flag *out, int n)
{
    int k = 0;
    for (size_t i = 0; i < sizeof taken / sizeof *taken && k < n; i++)
        out[k++] = *lmf_flag_find(lmf_train_fields, taken[i], strlen(taken[i]));
    int more = lmf__objective_flags(a, tables, offsetof(lmf_train_config, objective), SIZE_MAX, out + k, n - k);
    return more < 0 ? more : k + more;
}

/* ---- show ---- */
static lmf_status show_text(const lmf_chat *chat, const lmf_sample *s, bool color)
{
    lmf_buf b;
    lmf_buf_init(&b, chat->ctx, (size_t)1 << 30);
    lmf_status st = lmf_sample_render(chat, s, color ? "\033[30;42m" : "[[", color ? "\033[0m" : "]]", &b);
    lmf_buf_puts(&b, "\n\n");
    if (!st)
        fwrite(lmf_buf_str(&b), 1, b.n, stdout);
    lmf_buf_clear(&b);
    return st;
}

static lmf_status show_tokens(const lmf_chat *chat, const lmf_sample *s)
{
    for (int32_t i = 0; i < s->n; i++) {
        char piece[512], raw[256];
        size_t n;
        const uint8_t *p = lmf_tokenizer_piece(chat->tokenizer, s->id[i], &n);
        snprintf(raw, sizeof raw, "%.*s", (int)(n < 255 ? n : 255), (const char *)p);
        printf("%6d %8d  %s  %s\n", i, s->id[i], s->learn[i] ? "trained" : "       ", lmf_plain_text(raw, piece, sizeof piece));
    }
    putchar('\n');
    return LMF_OK;
}

static json_t *sample_json(const lmf_chat *chat, const lmf_dataset *d, const lmf_sample *s)
{
    json_t *ids = json_array(), *mask = json_array(), *pieces = json_array();
    for (int32_t i = 0; i < s->n; i++) {
        size_t n;
        const char *p = (const char *)lmf_tokenizer_piece(chat->tokenizer, s->id[i], &n);
        json_array_append_new(ids, json_integer(s->id[i]));
        json_array_append_new(mask, json_integer(s->learn[i]));
        json_array_append_new(pieces, lmf_json_stringn(p, n));
    }
    return json_pack("{s:o, s:I, s:o, s:o, s:o}", "file", lmf_json_string(d->file[s->i_file].path), "line", (json_int_t)s->line, "ids", ids,
                     "trained", mask, "pieces", pieces);
}

/* Which of its group a sample is. */
static const char *side_of(const lmf_sample *s, int64_t k, int32_t size)
{
    if (s->label)
        return s->label > 0 ? ", good" : ", bad";
    return size == 1 ? "" : k % size ? ", rejected" : ", chosen";
}

static lmf_status show(lmf_cli *cli, const data_args *a, const lmf_model *m, const lmf_dataset *d)
{
    int32_t size = lmf_samples_group_size(d->train), n_trained = lmf_samples_n_trained(d->train);
    bool color = !strcmp(a->color, "always") || (!strcmp(a->color, "auto") && isatty(1) && !getenv("NO_COLOR"));
    json_t *list = json_array();
    int64_t shown = 0;
    lmf_status st = LMF_OK;
    for (int64_t k = 0; !st && k < d->train->n && shown < a->rows * size; k++) {
        const lmf_sample *s = &d->train->items[k];
        if (s->line < a->row)
            continue;
        shown++;
        if (k % size >= n_trained)
            continue; /* measured beside the row */
        if (cli->json) {
            json_array_append_new(list, sample_json(&m->chat, d, s));
            continue;
        }
        char name[1024];
        printf("--- %s, %s %lld%s: %d tokens, %d trained\n", lmf_plain_text(d->file[s->i_file].path, name, sizeof name),
            d->file[s->i_file].unit,
               (long long)s->line, side_of(s, k, size), s->n, s->n_learn);
        st = a->tokens ? show_tokens(&m->chat, s) : show_text(&m->chat, s, color);
    }
    if (!st && cli->json)
        return lmf_cli_print_json(cli, json_pack("{s:o}", "rows", list));
    json_decref(list);
    return st;
}

/* ---- check ---- */
static int by_length(const void *a, const void *b)
{
    return *(const int32_t *)a < *(const int32_t *)b ? -1 : *(const int32_t *)a > *(const int32_t *)b;
}

/* Lengths of all groups, rising; the caller's. */
static int32_t *lengths(lmf_arena *arena, const lmf_samples *s)
{
    int64_t n = lmf_samples_n_groups(s);
    int32_t *len = lmf_arena_array(arena, (size_t)n, sizeof *len);
    for (int64_t g = 0; len && g < n; g++)
        len[g] = lmf_samples_group_tok(s, g);
    if (len)
        qsort(len, (size_t)n, sizeof *len, by_length);
    return len;
}

/* The share of computed tokens that is no padding, of the batches that a run of one epoch has. */
static lmf_status fill_of(lmf_cli *cli, const data_args *a, const lmf_samples *s, double *fill)
{
    lmf_batches b;
    int64_t used = 0, computed = 0;
    lmf_step_plan *plan = lmf_new(cli->ctx, lmf_step_plan);
    if (!plan)
        return LMF_NO_MEMORY(cli->ctx, sizeof *plan, "a batch");
    lmf_status st = lmf_batches_init(&b, cli->ctx, s, (uint64_t)a->c.seed, a->c.shuffle, (int32_t)(a->c.batch_size * a->c.grad_accum),
                                     (int32_t)a->c.micro_tok, 1, 0);
    for (int64_t i = 0; !st && i < b.n_steps; i++) {
        st = lmf_batches_step(&b, i, plan);
        for (int k = 0; !st && k < plan->n_micro; k++)
            computed += b.bucket[plan->micro[k].i_bucket];
        used += plan->n_tok;
    }
    *fill = computed ? (double)used / (double)computed : 0;
    lmf_batches_clear(&b);
    lmf_delete(cli->ctx, plan);
    return st;
}

static void print_bars(const int32_t *len, int64_t n)
{
    int32_t lo = len[0], hi = len[n - 1], step = (hi - lo) / N_BARS + 1;
    for (int64_t at = 0, bar = 0; bar < N_BARS && at < n; bar++) {
        int64_t count = 0;
        int32_t from = lo + (int32_t)bar * step;
        for (; at < n && len[at] < from + step; at++)
            count++;
        printf("  %6d to %6d tokens %8lld  ", from, from + step - 1, (long long)count);
        for (int64_t k = 0; k < (count * 40 + n - 1) / n; k++)
            putchar('#');
        putchar('\n');
    }
}

static lmf_status check(lmf_cli *cli, const data_args *a, const lmf_dataset *d)
{
    lmf_arena arena;
    double fill = 0;
    const lmf_samples *s = d->train;
    int64_t n = lmf_samples_n_groups(s);
    lmf_arena_init(&arena, cli->ctx, LMF_POWER2(32));
    const int32_t *len = lengths(&arena, s);
    lmf_status st = len ? fill_of(cli, a, s, &fill) : LMF_NO_MEMORY(cli->ctx, (size_t)n * sizeof *len, "lengths");
    if (!st && cli->json) {
        json_t *files = lmf__run_data_json(d);
        st = lmf_cli_print_json(cli, json_pack("{s:o, s:I, s:I, s:I, s:I, s:f, s:i, s:i, s:i, s:f, s:I, s:I}", "files", files, "rows",
            (json_int_t)n, "held_out_rows", (json_int_t)(d->held_out ? lmf_samples_n_groups(d->held_out) : 0), "tokens",
                (json_int_t)s->n_tok,
            "trained_tokens", (json_int_t)s->n_learn, "trained_share", (double)s->n_learn / (double)s->n_tok, "shortest", len[0], "median",
            len[n / 2], "longest", len[n - 1], "packing_fill", fill, "answers_without_end", (json_int_t)s->n_endless, "turns_not_learned",
            (json_int_t)s->n_unlearned));
    } else if (!st) {
        printf("%lld rows an epoch%s, %lld tokens, %.1f %% of them trained\n", (long long)n, d->held_out ? " beside those held out" : "",
               (long long)s->n_tok, 100 * (double)s->n_learn / (double)s->n_tok);
        printf("shortest %d, median %d, longest %d tokens; %.1f %% of what is computed is no padding\n", len[0], len[n / 2], len[n - 1],
               100 * fill);
        print_bars(len, n);
    }
    lmf_arena_clear(&arena);
    return st;
}

static lmf_status run(lmf_cli *cli, void *args)
{
    data_args *a = args;
    lmf_model *m;
    lmf_dataset *d = NULL;
    lmf_run_listener l = { lmf_cli_note, cli };
    const lmf_objective *objective;
    LMF_TRY(lmf_objective_find(cli->ctx, a->c.objective, &objective));
    LMF_TRY(lmf_model_open(cli->ctx, a->c.model, &m));
    lmf_status s = lmf__conversation_use_template(cli, m, a->c.chat_template);
    m->chat.control = lmf_control_of(a->c.control);
    m->chat.now_unix = a->c.clock_unix ? a->c.clock_unix : lmf_chat_now();
    if (!s)
        s = lmf__run_data_open(&a->c, m, objective->takes, &a->c.data, NULL, "--data", true, &l, &d);
    if (!s && strcmp(a->what, "show"))
        s = lmf__run_data_guard(&(lmf_train_config){ .guards = "warn" }, m, d, NULL, &l);
    if (!s)
        s = !strcmp(a->what, "show") ? show(cli, a, m, d) : check(cli, a, d);
    lmf_dataset_close(d);
    lmf_model_close(m);
    return s;
}

const lmf_command lmf_command_data = { "data", "show what a model sees of data, and check them", own_flags, sizeof(data_args), run,
    .more = more_flags, .takes_config = true, .config_of = "train", .example = "lmfast data show --model "
        "SmolLM2-135M-Instruct.Q4_1.gguf --data rows.jsonl" };
