/* SPDX-License-Identifier: Apache-2.0 */
/* lmfast pretrain: a tokenizer and a model out of plain text. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "cli/steps.h"
#include "export/run_model.h"
#include "format/json.h"
#include "train/objective_flags.h"
#include "train/pretrain.h"
#include "train/run.h"
#include "train/run_folder.h"

typedef struct pretrain_args { lmf_pretrain_config c; char dir[4096]; } pretrain_args; /* dir: what is prepared */

#define AT(member) offsetof(pretrain_args, member)
static const lmf_flag own_flags[] = {
    { "data", 'd', LMF_FLAG_LIST, AT(c.train.data), .required = true, .hub = LMF_HUB_DATA,
      .help = "text: plain files, or rows with the key text in JSON Lines, JSON, CSV; also gzip. Several may be given. PATH:KEY=VALUE,...: "
              "split=paragraphs or split=lines (a document each; else a plain file is one), file=text, text=COLUMN" },
    { "eval-data", 0, LMF_FLAG_LIST, AT(c.train.eval_data), .hub = LMF_HUB_DATA,
        .help = "text that is measured and not learned; as --data" },
    { "val-set-size", 0, LMF_FLAG_DOUBLE, AT(c.train.val_set_size), 0, 1e9, .fallback = "0.01", .late = true,
      .help = "documents of --data that are held out and measured: below 1 a share, from 1 on a number; with --eval-data 0" },
    { "prepared", 0, LMF_FLAG_STRING, AT(c.prepared),
      .help = "folder for tokenizer, text as tokens and first weights; OUTPUT.prepared if left out. One made of the same is used again" },
    { "vocab-size", 0, LMF_FLAG_INT, AT(c.vocab), 257, 1 << 20, .fallback = "8192", .unit = "tokens",
        .help = "tokens of the tokenizer that is trained" },
    { "min-frequency", 0, LMF_FLAG_INT, AT(c.min_count), 1, 1e9, .fallback = "2",
        .help = "times that a pair must occur to become a token" },
    { "hidden-size", 0, LMF_FLAG_INT, AT(c.width), 8, 1 << 16, .fallback = "256", .help = "width of the model" },
    { "num-hidden-layers", 0, LMF_FLAG_INT, AT(c.n_layers), 1, 512, .fallback = "6", .help = "layers of the model" },
    { "num-attention-heads", 0, LMF_FLAG_INT, AT(c.n_heads), 1, 1024, .fallback = "8", .help = "query heads of a layer" },
    { "num-key-value-heads", 0, LMF_FLAG_INT, AT(c.n_kv_heads), 0, 1024, .fallback = "0",
        .help = "key and value heads of a layer; 0: as query heads" },
    { "intermediate-size", 0, LMF_FLAG_INT, AT(c.ffn), 0, 1 << 18, .fallback = "0",
      .help = "width inside the feed-forward; 0: 8/3 of --hidden-size, up to a multiple of 64" },
    { "tie-word-embeddings", 0, LMF_FLAG_BOOL, AT(c.tied), .fallback = "true", .help = "the head is the embedding",
        .no_help = "the head has weights of its own" },
    { "rope-theta", 0, LMF_FLAG_DOUBLE, AT(c.rope_theta), 1, 1e12, .fallback = "10000", .help = "base of the rotary positions" },
    { 0 }
};

/* Of a training run's flags those that pre-training has, and what is usual here. */
static const struct { const char *name, *fallback, *help; } taken[] = {
    { "config", NULL, "YAML or JSON file with settings, in these names; flags win" }, { "set", NULL, NULL },
    { "output", "./lmfast_pretrained", "folder for checkpoints and log, and the model at the end: OUTPUT/model" }, { "save-type", NULL,
        NULL },
    { "max-steps", NULL, "optimizer steps; 0: by --epochs" }, { "epochs", "1", NULL }, { "batch-size", "16",
        "pieces of documents a batch" },
    { "gradient-accumulation-steps", NULL, NULL }, { "lr", "1e-3", NULL }, { "scheduler", NULL, NULL }, { "decay-ratio", NULL, NULL },
    { "min-lr-ratio", "0.1", NULL }, { "warmup-steps", NULL, NULL }, { "warmup-ratio", NULL, NULL }, { "weight-decay", "0.1", NULL },
    { "adam-beta1", NULL, NULL }, { "adam-beta2", "0.95", NULL }, { "adam-epsilon", NULL, NULL }, { "max-grad-norm", NULL, NULL },
    { "seq-len", "512", "most tokens of a piece, and the model's context; longer documents are cut" }, { "micro-tokens", NULL, NULL },
    { "recompute", NULL, NULL }, { "eval-steps", NULL, NULL }, { "logging-steps", NULL, NULL }, { "tensorboard", NULL, NULL },
    { "save-steps", NULL, NULL }, { "save-total-limit", NULL, NULL }, { "resume", NULL, NULL },
    { "overwrite", NULL, "replace an earlier run in --output and what is in --prepared, and nothing else" }, { "guards", NULL, NULL },
    { "seed", NULL, "of first weights, of what is held out, and of order" }, { "shuffle", NULL, NULL }, { "compute", NULL, NULL },
    { "activations", NULL, NULL }, { "profile", NULL, NULL },
};
enum { N_TAKEN = sizeof taken / sizeof *taken };

static int index_of(const char *name)
{
    for (int i = 0; i < N_TAKEN; i++)
        if (!strcmp(taken[i].name, name))
            return i;
    return -1;
}

static int more_flags(lmf_arena *a, const lmf_tables *tables, lmf_flag *out, int n)
{
    int used = 0;
    (void)a, (void)tables;
    for (const lmf_flag *f = lmf_train_fields; f->name && used < n; f++) {
        int i = index_of(f->name);
        if (i < 0)
            continue;
        out[used] = *f;
        if (taken[i].fallback)
            out[used].fallback = taken[i].fallback;
        if (taken[i].help)
            out[used].help = taken[i].help;
        used++;
    }
    return used;
}

/* What of a training run's settings is not for the user to say. */
static lmf_status settle(lmf_cli *cli, pretrain_args *args)
{
    lmf_pretrain_config *a = &args->c;
    lmf_flag rest[192];
    lmf_arena arena;
    int used = 0;
    lmf_arena_init(&arena, cli->ctx, 1 << 20);
    for (const lmf_flag *f = lmf_train_fields; f->name; f++)
        if (index_of(f->name) < 0 && strcmp(f->name, "data") && strcmp(f->name, "eval-data") && strcmp(f->name, "val-set-size"))
            rest[used++] = *f;
    int of_objectives = lmf__objective_flags(&arena, cli->ctx->tables, offsetof(lmf_train_config, objective), offsetof(lmf_train_config,
        objective_value),
                                             rest + used, 191 - used);
    rest[used + (of_objectives > 0 ? of_objectives : 0)] = (lmf_flag){ 0 };
    lmf_status s = of_objectives < 0 ? LMF_NO_MEMORY(cli->ctx, sizeof *rest, "the flags") : lmf_flag_defaults(cli->ctx, rest, &a->train);
    lmf_arena_clear(&arena);
    if (s)
        return s;
    if (a->train.eval_data.n && a->train.val_set_size > 0)
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "--val-set-size holds documents of --data out, and --eval-data gives others: give one of "
            "them");
    if (isnan(a->train.val_set_size))
        a->train.val_set_size = a->train.eval_data.n ? 0 : 0.01;
    if (!a->train.max_steps && !(a->train.epochs > 0))
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "--max-steps and --epochs are 0: nothing would be learned");
    if (a->train.max_steps)
        a->train.epochs = 0;
    size_t k = strlen(a->train.output);
    while (k > 1 && a->train.output[k - 1] == '/')
        k--;
    int len = a->prepared ? snprintf(args->dir, sizeof args->dir, "%s", a->prepared) : snprintf(args->dir, sizeof args->dir,
        "%.*s.prepared", (int)k, a->train.output);
    if (len < 1 || (size_t)len >= sizeof args->dir || (a->prepared && !strcmp(a->prepared, a->train.output)))
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "--prepared is empty, too long, or the same as --output");
    a->train.method = "full", a->train.objective = "sft", a->train.model = args->dir;
    return LMF_OK;
}

/* ---- before the first step ---- */
typedef struct view { lmf_cli *cli; lmf_progress bar; const char *what; } view;

static bool progress(void *user, const char *what, int64_t done, int64_t total)
{
    view *v = user;
    if (v->what != what) {
        lmf_progress_start(&v->bar, v->cli, what, total);
        v->what = what;
    }
    lmf_progress_step(&v->bar, done, NULL);
    if (done >= total)
        lmf_progress_end(&v->bar);
    return lmf_cli_interrupted();
}

static void note_view(void *user, bool warning, const char *sentence) { lmf_cli_note(((view *)user)->cli, warning, sentence); }

static void tell_prepared(const lmf_cli *cli, const lmf_prepared *p, const char *dir)
{
    char name[1024];
    const lmf_samples *t = p->train->samples;
    if (cli->quiet || cli->json)
        return;
    fprintf(stderr, "%s %s: %lld documents, %lld tokens, %.3f bytes of text a token", lmf_plain_text(dir, name, sizeof name), p->reused ?
        "is used again" : "is made",
            (long long)p->train->n_docs, (long long)t->n_learn, (double)p->train->n_text_bytes / (double)t->n_learn);
    if (p->eval)
        fprintf(stderr, "; held out: %lld documents, %lld tokens", (long long)p->eval->n_docs, (long long)p->eval->samples->n_learn);
    fputc('\n', stderr);
}

/* ---- steps ---- */
/* The last evaluation. */
typedef struct held_out { const lmf_prepared *p; bool known; double loss, bits; } held_out;

static void step_text(void *user, const lmf_run_stats *r, char *text, size_t n)
{
    held_out *h = user;
    char measured[64] = "";
    if (r->evaluated)
        h->known = true, h->loss = r->eval_loss, h->bits = lmf_bits_per_byte(h->p->eval, r->eval_loss);
    if (h->known)
        snprintf(measured, sizeof measured, "  held out %.4f, %.4f bits/byte", h->loss, h->bits);
    snprintf(text, n, "loss %.4f%s  %.0f tok/s", r->s.loss, measured, (double)r->run_tok / r->seconds);
}

static json_t *real_or_null(bool known, double x) { return known && isfinite(x) ? json_real(x) : json_null(); }

static lmf_status report(lmf_cli *cli, const lmf_pretrain_config *a, const lmf_run *run, const lmf_prepared *p, const lmf_run_stats *r,
    const held_out *held)
{
    char name[1024], model[4200];
    snprintf(model, sizeof model, "%s/" LMF_RUN_MODEL, a->train.output);
    if (cli->json)
        return lmf_cli_print_json(cli, json_pack("{s:o, s:o, s:o, s:I, s:I, s:f, s:o, s:o, s:o, s:o, s:I, s:I, s:f, s:I, s:b}", "output",
            lmf_json_string(a->train.output),
            "model", lmf_json_string(model), "prepared", lmf_json_string(a->train.model), "parameters",
                (json_int_t)lmf_trainer_n_params(lmf_run_trainer(run)),
            "steps", (json_int_t)r->s.step, "epochs", r->s.epoch, "first_loss", real_or_null(true, r->first_loss), "final_loss",
                real_or_null(true, r->s.loss),
            "eval_loss", real_or_null(held->known, held->loss), "bits_per_byte", real_or_null(held->known, held->bits), "tokens",
                (json_int_t)r->run_tok,
            "train_tokens", (json_int_t)p->train->samples->n_learn, "seconds", r->seconds, "steps_skipped", (json_int_t)r->s.n_skipped,
                "reused", p->reused));
    if (cli->quiet)
        return LMF_OK;
    fprintf(stderr, "%lld steps, %lld tokens in %.1f s, loss %.4f -> %.4f", (long long)r->s.step, (long long)r->run_tok, r->seconds,
        r->first_loss, r->s.loss);
    if (held->known)
        fprintf(stderr, "; held out %.4f, %.4f bits a byte", held->loss, held->bits);
    fprintf(stderr, ". Model in %s\n", lmf_plain_text(model, name, sizeof name));
    return LMF_OK;
}

static lmf_status train(lmf_cli *cli, lmf_pretrain_config *a, const lmf_prepared *p)
{
    lmf_run *r;
    lmf_run_stats stats;
    held_out held = { .p = p };
    lmf_run_opts o = lmf_run_opts_default();
    o.device = cli->device, o.config = &a->train, o.fields = cli->flags;
    o.note = lmf_cli_note, o.user = cli, o.write_model = lmf_export_run_model;
    o.samples = p->train->samples, o.eval_samples = p->eval ? p->eval->samples : NULL, o.data_facts = json_object_get(p->facts, "data");
    o.command = "pretrain";
    LMF_TRY(lmf_run_create(cli->ctx, &o, &r));
    if (!cli->quiet && !cli->json)
        fprintf(stderr, "%.2f million weights; %.0f MB planned\n", (double)lmf_trainer_n_params(lmf_run_trainer(r)) / 1e6,
                (double)lmf_trainer_bytes(lmf_run_trainer(r)) / 1e6);
    lmf_status s = lmf_cli_run_steps(cli, r, "pre-training", step_text, &held, &stats);
    if (!s)
        s = lmf_run_complete(r);
    if (!s)
        s = report(cli, a, r, p, &stats, &held);
    lmf_run_destroy(r);
    return s;
}

static lmf_status run(lmf_cli *cli, void *args)
{
    pretrain_args *a = args;
    lmf_prepared p;
    view v = { .cli = cli };
    lmf_pretrain_watch watch = { progress, note_view, &v };
    LMF_TRY(settle(cli, a));
    lmf_status s = lmf_pretrain_prepare(cli->ctx, &a->c, a->dir, &watch, &p);
    if (s == LMF_E_CANCELLED)
        return LMF_FAIL(cli->ctx, s, "stopped before the first step; nothing is left of what was prepared");
    if (s)
        return s;
    tell_prepared(cli, &p, a->dir);
    s = train(cli, &a->c, &p);
    lmf_prepared_close(&p);
    return s;
}

const lmf_command lmf_command_pretrain = { "pretrain", "make a tokenizer and a model out of plain text", own_flags,
    sizeof(pretrain_args), run,
    .more = more_flags, .takes_config = true,
    .example = "lmfast pretrain --data book.txt:split=paragraphs --output tiny --vocab-size 4096 --hidden-size 256 --max-steps 300" };
