/* SPDX-License-Identifier: Apache-2.0 */
/* lmfast plan: the memory of a run, known before it: the same plan that train or the engine binds, on the same device, not bound. */
#include <stdio.h>
#include <string.h>
#include "cli/command.h"
#include "cli/conversation.h"
#include "config/train_config.h"
#include "train/objective_flags.h"
#include "infer/engine.h"
#include "train/objective.h"
#include "train/rollout.h"
#include "train/trainer.h"

typedef struct plan_args {
    const char *model, *data, *target_modules, *too_long, *compute, *activations, *adapter, *objective, *teacher;
    int64_t     rows, max_steps, batch_size, grad_accum, lora_r, seq_len, micro_tok, seed, context, max_seqs;
    double      epochs;
    bool        recompute, shuffle, serve, load_in_4bit, use_dora;
    lmf_late    objective_value[LMF_MAX_OBJECTIVE_FLAGS];
} plan_args;

#define AT(member) offsetof(plan_args, member)
static const lmf_flag flags[] = {
    { "model", 'm', LMF_FLAG_STRING, AT(model), .required = true, .hub = LMF_HUB_MODEL,
        .help = "GGUF file, Hugging Face folder, or org/name of the hub" },
    { "teacher", 0, LMF_FLAG_STRING, AT(teacher), .hub = LMF_HUB_MODEL, .help = "with --objective distill: the model to learn from" },
    { "data", 'd', LMF_FLAG_STRING, AT(data), .hub = LMF_HUB_DATA, .help = "the rows that will be trained on; or --rows" },
    { "rows", 0, LMF_FLAG_INT, AT(rows), 0, 1 << 24, .fallback = "0", .help = "plan for that many rows of --seq-len tokens instead of "
        "a file" },
    { "seq-len", 0, LMF_FLAG_INT, AT(seq_len), 2, 1 << 20, .fallback = "2048", .help = "longest row in tokens" },
    { "too-long", 0, LMF_FLAG_CHOICE, AT(too_long), .fallback = "error", .choices = "error|skip|truncate", .help = "rows over --seq-len" },
    { "batch-size", 'b', LMF_FLAG_INT, AT(batch_size), 1, 4096, .fallback = "4", .help = "rows a batch" },
    { "gradient-accumulation-steps", 0, LMF_FLAG_INT, AT(grad_accum), 1, 4096, .fallback = "1", .help = "batches an optimizer step" },
    { "micro-tokens", 0, LMF_FLAG_INT, AT(micro_tok), 0, 1 << 20, .fallback = "0", .help = "most tokens computed at once; 0: 2048" },
    { "recompute", 0, LMF_FLAG_BOOL, AT(recompute), .help = "compute inner results again in the backward pass" },
    { "max-steps", 0, LMF_FLAG_INT, AT(max_steps), 0, 1e9, .fallback = "0", .help = "optimizer steps; 0: by --epochs, or 500" },
    { "epochs", 0, LMF_FLAG_DOUBLE, AT(epochs), 0, 1e6, .fallback = "0", .help = "passes over the data, instead of --max-steps" },
    LMF_IN_4BIT_FLAG(AT(load_in_4bit)),
    { "lora-r", 0, LMF_FLAG_INT, AT(lora_r), 1, 4096, .fallback = "16", .help = "LoRA rank" },
    { "use-dora", 0, LMF_FLAG_BOOL, AT(use_dora), .help = "DoRA, as train has it" },
    { "target-modules", 0, LMF_FLAG_STRING, AT(target_modules), .fallback = "all-linear", .help = "modules to adapt: q_proj,v_proj,..." },
    { "seed", 0, LMF_FLAG_INT, AT(seed), 0, 9e15, .fallback = "42", .help = "of the order of rows, which decides how they are packed" },
    { "shuffle", 0, LMF_FLAG_BOOL, AT(shuffle), .fallback = "true", .help = "shuffle rows each epoch", .no_help = "take rows in the order of the file" },
    { "compute", 0, LMF_FLAG_CHOICE, AT(compute), .fallback = "auto", .choices = "auto|f32|fast", .help = "f32: all products in f32; fast: bf16 where the processor has it" },
    { "activations", 0, LMF_FLAG_CHOICE, AT(activations), .fallback = "auto", .choices = "auto|f32|bf16",
      .help = "type of what goes between layers; auto: bf16 on a GPU with fast products, else f32. The CPU has slow references for bf16" },
    { "serve", 0, LMF_FLAG_BOOL, AT(serve), .help = "plan for answering; with --data or --rows: for both in one process, the weights once" },
    { "context", 'c', LMF_FLAG_INT, AT(context), 0, 1 << 24, .fallback = "0", .help = "with --serve: tokens of a conversation; 0: the model's, at most 2048" },
    { "max-seqs", 0, LMF_FLAG_INT, AT(max_seqs), 1, 256, .fallback = "8", .help = "with --serve: conversations at once" },
    { "adapter", 'a', LMF_FLAG_STRING, AT(adapter), .hub = LMF_HUB_ADAPTER, .help = "with --serve: LoRA adapter" },
    { 0 }
};

static int more_flags(lmf_arena *a, const lmf_tables *tables, lmf_flag *out, int n)
{
    return lmf__objective_flags(a, tables, AT(objective), AT(objective_value), out, n);
}

enum { N_LARGEST = 8, MAX_GROUPS = 256 };

/* Tensors of one op and size that are alive together. */
typedef struct group { const char *name, *op; size_t bytes; int64_t n; bool scratch; } group;

static int by_total(const void *a, const void *b)
{
    const group *x = a, *y = b;
    double d = (double)y->bytes * (double)y->n - (double)x->bytes * (double)x->n;
    return d > 0 ? 1 : d < 0 ? -1 : 0;
}

static int add_to_groups(group *g, int n, const lmf_placed *p)
{
    const char *op = p->op ? p->op : "", *name = p->name ? p->name : "";
    for (int i = 0; i < n; i++)
        if (g[i].bytes == p->bytes && g[i].scratch == p->scratch && strcmp(g[i].op, op) == 0) {
            g[i].n++;
            return n;
        }
    if (n < MAX_GROUPS)
        g[n++] = (group){ name, op, p->bytes, 1, p->scratch };
    return n;
}

/* The call at which most of n placed bytes are alive, and how many. */
static lmf_status find_peak(lmf_ctx *ctx, const lmf_placed *p, int n, int *at, size_t *bytes)
{
    int last = 0;
    for (int i = 0; i < n; i++)
        last = p[i].last > last ? p[i].last : last;
    size_t sum = 0, change_bytes = ((size_t)last + 2) * sizeof(size_t), *change = lmf_alloc(ctx, change_bytes); /* from the call before */
    if (!change)
        return LMF_NO_MEMORY(ctx, change_bytes, "the peak of a plan");
    for (int i = 0; i < n; i++)
        if (p[i].bytes)
            change[p[i].first] += p[i].bytes, change[p[i].last + 1] -= p[i].bytes;
    *bytes = 0;
    for (int i = 0; i <= last; i++)
        if ((sum += change[i]) > *bytes)
            *bytes = sum, *at = i;
    lmf_free(ctx, change, change_bytes);
    return LMF_OK;
}

/* What is alive at the call where most bytes are, of the graph that needs most, the largest first. NULL: no memory. */
static json_t *peak_json(lmf_ctx *ctx, const lmf_plan *plan, int n_graphs)
{
    const lmf_placed *best = NULL, *p;
    size_t best_bytes = 0, bytes;
    int best_n = 0, best_at = 0, at = 0, n_groups = 0;
    group groups[MAX_GROUPS];
    for (int g = 0; g < n_graphs; g++) {
        int n = lmf_plan_placed(plan, g, &p);
        if (find_peak(ctx, p, n, &at, &bytes))
            return NULL;
        if (bytes > best_bytes)
            best_bytes = bytes, best = p, best_n = n, best_at = at;
    }
    for (int i = 0; i < best_n; i++)
        if (best[i].bytes && best[i].first <= best_at && best_at <= best[i].last)
            n_groups = add_to_groups(groups, n_groups, &best[i]);
    qsort(groups, (size_t)n_groups, sizeof *groups, by_total);
    json_t *list = json_array();
    for (int i = 0; i < n_groups && i < N_LARGEST; i++)
        json_array_append_new(list, json_pack("{s:s, s:s, s:I, s:I, s:I, s:b}", "op", groups[i].op, "name", groups[i].n == 1 ? groups[i].name : "", "tensors", (json_int_t)groups[i].n, "bytes_each",
                                              (json_int_t)groups[i].bytes, "bytes", (json_int_t)groups[i].bytes * groups[i].n, "scratch", groups[i].scratch));
    return list;
}

/* What is known of a run; a zeroed one holds nothing. */
typedef struct estimate { const char *what; lmf_memory m; json_t *more, *peak; } estimate;

static void drop(estimate *e)
{
    json_decref(e->more);
    json_decref(e->peak);
    *e = (estimate){ 0 };
}

static size_t bytes_of(const lmf_memory *m) { return m->weight + m->state + m->io + m->step; }

/* Trainer and engine in one process: each has its state, its inputs and its arena; the weights lie there once. What the engine has beyond
 * those of the file are its places for adapters, on a host in memory of its own. */
static lmf_status join(lmf_cli *cli, estimate *train, estimate *serve)
{
    lmf_memory *a = &train->m;
    const lmf_memory *b = &serve->m;
    size_t places = b->mapped > a->mapped ? b->mapped - a->mapped : 0;
    json_t *parts = json_pack("{s:I, s:I}", "train_bytes", (json_int_t)bytes_of(a), "serve_bytes", (json_int_t)(bytes_of(b) + places));
    bool ok = parts && !json_object_update(train->more, serve->more) && !json_object_update(train->more, parts);
    json_decref(parts);
    *a = (lmf_memory){ .weight = (a->weight > b->weight ? a->weight : b->weight) + places, .mapped = a->mapped, .state = a->state + b->state,
                       .io = a->io + b->io, .step = a->step + b->step, .scratch = a->scratch > b->scratch ? a->scratch : b->scratch };
    train->what = "train and serve";
    return ok ? LMF_OK : LMF_NO_MEMORY(cli->ctx, 4096, "a report");
}

static void print_line(const char *name, size_t bytes, const char *note) { printf("%-28s %10.1f MB%s\n", name, (double)bytes / 1e6, note); }

/* Takes more and peak. */
static lmf_status print_plan(lmf_cli *cli, estimate *e)
{
    const lmf_memory *m = &e->m;
    size_t i;
    const json_t *item;
    bool trains = strcmp(e->what, "serve") != 0, both = trains && strcmp(e->what, "train");
    json_t *r = json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:O}", "for", e->what, "memory_bytes", (json_int_t)bytes_of(m), "weight_bytes",
                          (json_int_t)m->weight, "mapped_bytes", (json_int_t)m->mapped, "state_bytes", (json_int_t)m->state, "io_bytes",
                          (json_int_t)m->io, "step_bytes", (json_int_t)m->step, "scratch_bytes", (json_int_t)m->scratch, "largest_at_peak", e->peak);
    if (!r || json_object_update(r, e->more)) {
        json_decref(r);
        return LMF_NO_MEMORY(cli->ctx, 4096, "a report");
    }
    if (cli->json)
        return lmf_cli_print_json(cli, r);
    print_line(both ? "memory of both together" : trains ? "memory of the training run" : "memory of the engine", bytes_of(m), "");
    if (both) {
        print_line("  the training run alone", (size_t)json_integer_value(json_object_get(r, "train_bytes")), "");
        print_line("  the engine alone", (size_t)json_integer_value(json_object_get(r, "serve_bytes")), ", its weights are the same");
    }
    print_line("  weights on the device", m->weight, "");
    print_line(!trains ? "  keys and values" : both ? "  optimizer, keys, values" : "  parameters and optimizer", m->state, "");
    print_line("  inputs and outputs", m->io, "");
    print_line(both ? "  one step of each" : "  one step, at its peak", m->step, "");
    if (json_object_get(r, "host_copy_bytes"))
        print_line("parameters being saved", (size_t)json_integer_value(json_object_get(r, "host_copy_bytes")), ", beside it for a moment");
    print_line("weights in the mapped file", m->mapped, ", not counted above");
    if (json_array_size(e->peak))
        printf("largest at the peak of a %sstep:\n", both ? "training " : "");
    json_array_foreach(e->peak, i, item)
        printf("  %-26s %10.1f MB  %lld x %.1f MB%s\n", json_string_value(json_object_get(item, "op")),
               (double)json_integer_value(json_object_get(item, "bytes")) / 1e6, (long long)json_integer_value(json_object_get(item, "tensors")),
               (double)json_integer_value(json_object_get(item, "bytes_each")) / 1e6,
               json_is_true(json_object_get(item, "scratch")) ? ", scratch" : "");
    json_decref(r);
    return LMF_OK;
}

/* n rows whose sequences are all as long as they may be. */
static lmf_status even_samples(lmf_cli *cli, int64_t n, const lmf_objective *o, int32_t len, lmf_samples **out)
{
    int32_t group_size = o->group_size;
    lmf_samples *s = lmf_new(cli->ctx, lmf_samples);
    *out = s;
    if (!s)
        return LMF_NO_MEMORY(cli->ctx, sizeof *s, "samples");
    s->ctx = cli->ctx;
    s->group_size = group_size, s->n_measured = o->n_measured;
    n *= group_size;
    lmf_arena_init(&s->arena, cli->ctx, LMF_POWER2(36));
    int32_t *id = lmf_arena_array(&s->arena, (size_t)len, sizeof *id);
    uint8_t *learn = lmf_arena_alloc(&s->arena, (size_t)len);
    s->items = lmf_arena_array(&s->arena, (size_t)n, sizeof *s->items);
    if (!id || !learn || !s->items)
        return LMF_NO_MEMORY(cli->ctx, (size_t)n * sizeof *s->items, "samples");
    learn[len - 1] = 1;
    for (int64_t i = 0; i < n; i++)
        s->items[i] = (lmf_sample){ .id = id, .learn = learn, .n = len, .n_learn = 1, .line = i / group_size + 1 };
    s->n = n, s->n_tok = n / group_size * lmf_samples_n_trained(s) * len, s->n_learn = n, s->longest = len;
    return LMF_OK;
}

static lmf_status load_samples(lmf_cli *cli, const plan_args *a, const lmf_model *m, const lmf_objective *o, lmf_samples **out)
{
    lmf_rows rows;
    int32_t longest = (int32_t)(a->seq_len < lmf_model_config(m)->context ? a->seq_len : lmf_model_config(m)->context);
    if (a->rows)
        return even_samples(cli, a->rows, o, longest, out);
    lmf_too_long policy = !strcmp(a->too_long, "skip") ? LMF_LONG_SKIP :
                          !strcmp(a->too_long, "truncate") ? LMF_LONG_TRUNCATE : LMF_LONG_ERROR;
    lmf_status s = lmf_rows_open_as(cli->ctx, a->data, &(lmf_rows_opts){ .asks = o->takes == LMF_TAKES_PROMPT }, &rows);
    if (!s)
        s = lmf_samples_create_of(&rows, &m->chat, o->takes, longest, policy, out);
    lmf_rows_close(&rows);
    return s ? lmf_fail_prefix(cli->ctx, s, "--data") : LMF_OK;
}

/* The engine that answers the prompts, as train/rollout.c makes it. */
static void beside(const lmf_trainer *t, const lmf_samples *prompts, plan_args *engine)
{
    const lmf_sampling *s = lmf_trainer_sampling(t);
    if (!s)
        return;
    engine->serve = true;
    engine->context = lmf_sampling_longest(s, prompts) + s->max_tok;
    engine->max_seqs = lmf_trainer_step_rows(t) < LMF_ROLLOUT_SEQS ? lmf_trainer_step_rows(t) : LMF_ROLLOUT_SEQS;
}

static lmf_status plan_train(lmf_cli *cli, const plan_args *a, lmf_model *m, plan_args *engine, estimate *out)
{
    lmf_samples *samples = NULL;
    lmf_trainer *t = NULL;
    lmf_train_stats st;
    lmf_train_opts o = lmf_train_opts_default();
    const lmf_objective *objective;
    lmf_objective_value values[LMF_MAX_OBJECTIVE_FLAGS];
    LMF_TRY(lmf_objective_find(cli->ctx, a->objective, &objective));
    o.objective = a->objective;
    LMF_TRY(lmf__objective_values(cli->ctx, objective, a->objective_value, values, &o.n_objective_values));
    o.objective_values = values;
    if (!a->data == !a->rows)
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "give one of --data ROWS.jsonl and --rows N (with --seq-len), or --serve");
    o.lora_r = (int32_t)a->lora_r;
    o.use_dora = a->use_dora;
    o.target_modules = a->target_modules;
    o.batch_size = (int32_t)a->batch_size;
    o.grad_accum = (int32_t)a->grad_accum;
    o.micro_tok = (int32_t)a->micro_tok;
    o.epochs = a->epochs;
    o.max_steps = a->max_steps || a->epochs > 0 ? a->max_steps : 500;
    o.seed = (uint64_t)a->seed;
    o.shuffle = a->shuffle;
    o.compute = strcmp(a->compute, "f32") != 0;
    o.between = lmf_train_between(a->activations);
    o.recompute = a->recompute;
    o.plan_only = true;
    lmf_status s = a->teacher ? lmf_model_open(cli->ctx, a->teacher, &o.teacher) : LMF_OK;
    s = s ? lmf_fail_prefix(cli->ctx, s, "--teacher") : load_samples(cli, a, m, objective, &samples);
    if (!s)
        s = lmf_trainer_create(cli->ctx, cli->device, m, samples, &o, &t);
    if (!s) {
        lmf_trainer_stats(t, &st);
        beside(t, samples, engine);
        *out = (estimate){ "train", *lmf_trainer_memory(t), NULL, peak_json(cli->ctx, lmf_trainer_plan(t), 2 * lmf_trainer_n_buckets(t) + 1) };
        out->more = json_pack("{s:I, s:I, s:I, s:I, s:I}", "trainable_parameters", (json_int_t)lmf_trainer_n_params(t), "host_copy_bytes",
                              (json_int_t)lmf_trainer_n_params(t) * 4, "steps", (json_int_t)st.n_steps, "rows",
                              (json_int_t)lmf_samples_n_groups(samples), "tokens", (json_int_t)samples->n_tok);
    }
    lmf_trainer_destroy(t);
    lmf_samples_destroy(samples);
    lmf_model_close(o.teacher);
    return s;
}

/* The engine has no half-way state: it is created, asked, and destroyed; nothing of what it got is touched but its state. */
static lmf_status plan_serve(lmf_cli *cli, const plan_args *a, const lmf_model *m, bool beside, estimate *out)
{
    lmf_engine *e;
    lmf_engine_info info;
    lmf_engine_opts o = lmf_engine_opts_default();
    o.device = cli->device;
    o.context = (int32_t)a->context;
    o.max_seqs = (int32_t)a->max_seqs;
    o.compute = strcmp(a->compute, "f32") != 0;
    o.adapters = &a->adapter;
    o.n_adapters = a->adapter != NULL;
    if (beside) { /* the trainer's pairs, live */
        if (a->adapter)
            return LMF_FAIL(cli->ctx, LMF_E_ARG, "--adapter goes with --serve alone: beside training, the adapter is the one that is trained");
        o.max_adapters = 1;
        o.max_rank = (int32_t)a->lora_r;
    }
    LMF_TRY(lmf_engine_create(cli->ctx, m, &o, &e));
    lmf_engine_get_info(e, &info);
    *out = (estimate){ "serve", *lmf_engine_memory(e), NULL, json_array() };
    out->more = json_pack("{s:i, s:i, s:i, s:i}", "context", info.context, "max_seqs", info.max_seqs, "pages", info.n_pages, "page_tokens", info.page_size);
    lmf_engine_destroy(e);
    return LMF_OK;
}

static lmf_status run(lmf_cli *cli, void *args)
{
    const plan_args *a = args;
    estimate train = { 0 }, serve = { 0 };
    lmf_model *m;
    LMF_TRY(lmf__conversation_open_model(cli, a->model, a->load_in_4bit, &m));
    bool trains = !a->serve || a->data || a->rows;
    plan_args own = *a; /* an objective that samples has an engine beside its trainer, whose size it says */
    lmf_status s = trains ? plan_train(cli, a, m, &own, &train) : LMF_OK;
    if (!s && own.serve)
        s = plan_serve(cli, &own, m, trains, &serve);
    if (!s && trains && own.serve)
        s = join(cli, &train, &serve);
    if (!s)
        s = print_plan(cli, trains ? &train : &serve);
    drop(&train);
    drop(&serve);
    lmf_model_close(m);
    return s;
}

const lmf_command lmf_command_plan = { "plan", "say how much memory a run will take", flags, sizeof(plan_args), run, .more = more_flags,
    .example = "lmfast plan --model SmolLM2-135M-Instruct.Q4_1.gguf --data rows.jsonl --batch-size 8" };
