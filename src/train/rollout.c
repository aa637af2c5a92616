/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: sessions are made anew for each step and end with it, so that what an engine keeps between steps has no say in what is sampled. */
#include "train/rollout.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include "base/philox.h"
#include "base/plain.h"
#include "format/json.h"
#include "infer/engine.h"
#include "train/objective.h"
#include "verify/verify.h"

enum { STREAM_ANSWERS = 0x6a05, STREAM_ON_POLICY = 0x6a06, MAX_ARENA = 1 << 30 };

typedef struct answer {
    lmf_session *s;
    const lmf_sample *prompt; int32_t n_prompt; /* tokens of it that are answered */
    int32_t *id; float *logp; int32_t n;  /* of the answer alone, the end included */
    bool     ended, out, accepted;        /* by itself; of a group that could not be graded; learned, where the objective chooses */
    const char *text; size_t n_text;
    double   score[LMF_MAX_REWARDS], reward, advantage;
} answer;

struct lmf_rollout {
    lmf_ctx          *ctx;
    lmf_rollout_opts  o;
    lmf_trainer      *t;
    const lmf_model  *model;
    const lmf_samples *prompts;
    const lmf_sampling *sampling;
    lmf_engine       *engine;
    lmf_rewards      *rewards;               /* NULL: from_rows */
    lmf_arena         arena;                 /* the answers of a step */
    answer           *answer; int n, n_groups;
    lmf_session      *root; int root_group;  /* holds a prompt that answers are forked from */
    lmf_samples       learned;               /* those with something to learn */
    lmf_totals        totals;
    int64_t          *order, order_epoch;    /* of the prompts */
    int64_t           made;                  /* step whose answers these are; -1: none */
    int64_t           next;                  /* the trainer's step */
    int64_t           n_skipped;             /* groups that could not be graded, so far */
    bool              told, told_none;
    double            seconds[3];            /* of the last step: sampling, grading, training */
};

static double now_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- sampling ---- */
/* Of the step's own rows. */
static lmf_status draw_rows(lmf_rollout *r)
{
    const int64_t *row;
    LMF_TRY(lmf_trainer_rows_of(r->t, &row, &r->n));
    r->n_groups = r->n;
    memcpy(r->order, row, (size_t)r->n * sizeof *row);
    return LMF_OK;
}

/* The prompt of the i-th group of all steps. */
static const lmf_sample *draw(lmf_rollout *r, int64_t i)
{
    int64_t n = r->prompts->n, epoch = i / n;
    if (epoch != r->order_epoch) {
        for (int64_t k = 0; k < n; k++)
            r->order[k] = k;
        if (r->o.shuffle)
            lmf_shuffle(r->o.seed, (uint32_t)epoch, r->order, n);
        r->order_epoch = epoch;
    }
    return &r->prompts->items[r->order[i % n]];
}

/* Answers to come: memory for the longest that they may be. */
static lmf_status open_answers(lmf_rollout *r, int64_t generation)
{
    const lmf_sampling *sp = r->sampling;
    lmf_arena_clear(&r->arena);
    r->made = -1;
    if (sp->from_rows)
        LMF_TRY(draw_rows(r));
    r->answer = lmf_arena_array(&r->arena, (size_t)r->n, sizeof *r->answer);
    bool ok = r->answer != NULL;
    for (int i = 0; ok && i < r->n; i++) {
        answer *a = &r->answer[i];
        a->prompt = sp->from_rows ? &r->prompts->items[r->order[i]] : draw(r, generation * r->n_groups + i / sp->n_answers);
        a->n_prompt = lmf_sampling_prompt_tok(sp, a->prompt);
        a->id = lmf_arena_array(&r->arena, (size_t)sp->max_tok, sizeof *a->id);
        a->logp = lmf_arena_array(&r->arena, (size_t)sp->max_tok, sizeof *a->logp);
        ok = a->id && a->logp;
    }
    return ok ? LMF_OK : LMF_NO_MEMORY(r->ctx, (size_t)r->n * sizeof *r->answer, "answers");
}

/* The prompt's keys and values are computed once, in the root; answers share its pages. */
static lmf_status open_root(lmf_rollout *r, int group)
{
    const answer *first = &r->answer[group * r->sampling->n_answers];
    lmf_gen_opts gen = lmf_gen_opts_default();
    int live;
    lmf_session_destroy(r->root);
    r->root = NULL;
    r->root_group = group;
    LMF_TRY(lmf_session_create(r->engine, &(lmf_session_opts){ .struct_bytes = sizeof(lmf_session_opts), .adapter = 0 }, &r->root));
    LMF_TRY(lmf_session_append(r->root, first->prompt->id, first->n_prompt, NULL));
    gen.max_tok = 0;
    lmf_status s = lmf_session_generate(r->root, &gen);
    if (s == LMF_E_BUSY) { /* no pages now: the answers will read it themselves */
        lmf_session_destroy(r->root);
        r->root = NULL;
        return LMF_OK;
    }
    while (!s && lmf_session_is_busy(r->root))
        s = lmf_engine_step(r->engine, &live);
    return s;
}

static lmf_status start_answer(lmf_rollout *r, int i, int64_t generation)
{
    answer *a = &r->answer[i];
    const lmf_sampling *sp = r->sampling;
    lmf_gen_opts gen = lmf_gen_opts_default();
    int group = i / sp->n_answers;
    if (group != r->root_group)
        LMF_TRY(open_root(r, group));
    if (r->root)
        LMF_TRY(lmf_session_fork(r->root, &a->s));
    else
        LMF_TRY(lmf_session_create(r->engine, &(lmf_session_opts){ .struct_bytes = sizeof(lmf_session_opts), .adapter = 0 }, &a->s));
    if (!r->root)
        LMF_TRY(lmf_session_append(a->s, a->prompt->id, a->n_prompt, NULL));
    gen.max_tok = sp->max_tok, gen.temperature = sp->temperature, gen.top_p = sp->top_p, gen.top_k = sp->top_k, gen.min_p = sp->min_p;
    gen.seed = (uint64_t)lmf_random_u32(r->o.seed, (uint32_t)generation, STREAM_ANSWERS, 2 * (uint64_t)i) << 32 |
               lmf_random_u32(r->o.seed, (uint32_t)generation, STREAM_ANSWERS, 2 * (uint64_t)i + 1);
    return lmf_session_generate(a->s, &gen);
}

static lmf_status read_answer(answer *a, int32_t most, bool *done)
{
    lmf_token tok[32];
    int n = 32;
    *done = false;
    while (n == 32 && !*done) {
        LMF_TRY(lmf_session_read(a->s, tok, 32, &n));
        for (int i = 0; i < n && !*done; i++) {
            if (tok[i].id >= 0 && a->n < most)
                a->id[a->n] = tok[i].id, a->logp[a->n++] = tok[i].logp;
            a->ended = tok[i].finish == LMF_FINISH_STOP;
            *done = tok[i].finish != 0;
        }
    }
    return LMF_OK;
}

static void close_sessions(lmf_rollout *r)
{
    for (int i = 0; r->answer && i < r->n; i++) {
        lmf_session_destroy(r->answer[i].s);
        r->answer[i].s = NULL;
    }
    lmf_session_destroy(r->root);
    r->root = NULL;
    r->root_group = -1;
}

static lmf_status sample(lmf_rollout *r, int64_t generation)
{
    int live, started = 0, done = 0;
    int32_t most = r->o.max_seqs;
    LMF_TRY(open_answers(r, generation));
    while (done < r->n) {
        while (started < r->n && started - done < most) {
            lmf_status s = start_answer(r, started, generation);
            if (s == LMF_E_BUSY && started > done) { /* when an answer ends there is room */
                lmf_session_destroy(r->answer[started].s);
                r->answer[started].s = NULL;
                break;
            }
            LMF_TRY(s);
            started++;
        }
        LMF_TRY(lmf_engine_step(r->engine, &live));
        for (int i = 0; i < started; i++) {
            answer *a = &r->answer[i];
            bool ends = false;
            if (a->s)
                LMF_TRY(read_answer(a, r->sampling->max_tok, &ends));
            if (!ends)
                continue;
            lmf_session_destroy(a->s);
            a->s = NULL;
            done++;
        }
    }
    return LMF_OK;
}

/* ---- grading ---- */
/* Bytes that are no UTF-8, as of a character that was cut, become U+FFFD: who judges is given text. */
static lmf_status put_text(const lmf_buf *bytes, lmf_buf *out)
{
    for (size_t i = 0, k; i < bytes->n; i += k ? k : 1) {
        k = bytes->data[i] ? lmf_utf8_length(bytes->data + i, bytes->n - i) : 1;
        lmf_buf_append(out, k ? bytes->data + i : "\xef\xbf\xbd", k ? k : 3);
    }
    return out->status;
}

static lmf_status decode(lmf_rollout *r, answer *a)
{
    lmf_buf bytes, text;
    lmf_buf_init(&bytes, r->ctx, 1 << 26);
    lmf_buf_init(&text, r->ctx, 1 << 28);
    size_t n = (size_t)(a->ended && a->n ? a->n - 1 : a->n);
    lmf_status s = lmf_tokenizer_decode(r->model->tokenizer, a->id, n, LMF_DECODE_SKIP_SPECIAL, &bytes);
    s = s ? s : put_text(&bytes, &text);
    lmf_buf_clear(&bytes);
    a->n_text = text.n;
    if (!s && !(a->text = lmf_arena_strndup(&r->arena, lmf_buf_str(&text), text.n)))
        s = LMF_NO_MEMORY(r->ctx, text.n, "an answer");
    lmf_buf_clear(&text);
    return s;
}

static lmf_status grade_group(lmf_rollout *r, int group)
{
    answer *first = &r->answer[group * r->sampling->n_answers];
    const lmf_prompt *p = first->prompt->prompt;
    json_t *row = json_loads(p->row, JSON_ALLOW_NUL, NULL);
    if (!row)
        return LMF_NO_MEMORY(r->ctx, strlen(p->row), "a row");
    lmf_status s = LMF_OK;
    for (int i = 0; !s && i < r->sampling->n_answers; i++) {
        answer *a = &first[i];
        lmf_verify_in in = { .row = row, .reference = p->reference, .text = a->text, .n = a->n_text, .n_tok = a->n };
        s = lmf_rewards_score(r->rewards, &in, a->score, &a->reward);
    }
    json_decref(row);
    return s ? lmf_fail_prefix(r->ctx, s, "an answer to the prompt of line %lld", (long long)first->prompt->line) : LMF_OK;
}

static void tell_skipped(lmf_rollout *r)
{
    char text[1024], plain[1100];
    if (r->told || !r->o.note)
        return;
    r->told = true;
    snprintf(text, sizeof text, "a group is left out, as others may be: %s", lmf_error(r->ctx));
    r->o.note(r->o.user, true, lmf_plain_text(text, plain, sizeof plain));
}

static lmf_status grade(lmf_rollout *r)
{
    int n_out = 0, size = r->sampling->n_answers;
    for (int i = 0; i < r->n; i++)
        LMF_TRY(decode(r, &r->answer[i]));
    for (int i = 0; i < r->n && r->sampling->from_rows; i++)
        r->answer[i].accepted = true;
    if (r->sampling->from_rows)
        return LMF_OK;
    for (int g = 0; g < r->n_groups; g++) {
        lmf_status s = grade_group(r, g);
        if (!s)
            continue;
        if (!r->o.skip || s == LMF_E_MEMORY || ++n_out == r->n_groups)
            return r->o.skip && n_out == r->n_groups ? lmf_fail_prefix(r->ctx, s, "no group of the step could be graded. The last") : s;
        r->n_skipped++;
        tell_skipped(r);
        for (int i = 0; i < size; i++)
            r->answer[g * size + i].out = true;
    }
    return LMF_OK;
}

/* Mean and deviation (n - 1) of the answers from first on that are graded. */
static void spread(const answer *a, int n, double *mean, double *std)
{
    double sum = 0, square = 0;
    int count = 0;
    for (int i = 0; i < n; i++)
        if (!a[i].out)
            sum += a[i].reward, count++;
    *mean = count ? sum / count : 0;
    for (int i = 0; i < n; i++)
        if (!a[i].out)
            square += (a[i].reward - *mean) * (a[i].reward - *mean);
    *std = count > 1 ? sqrt(square / (count - 1)) : 0;
}

/* As TRL has them: against the group's mean, over the deviation of the group or of the step. */
static void set_advantages(lmf_rollout *r)
{
    int size = r->sampling->n_answers;
    double mean, std, all_mean, all_std;
    spread(r->answer, r->n, &all_mean, &all_std);
    for (int i = 0; i < r->n; i++) {
        answer *a = &r->answer[i];
        spread(&r->answer[i / size * size], size, &mean, &std);
        a->advantage = a->out ? 0 : a->reward - mean;
        if (r->sampling->scale != LMF_SCALE_NONE)
            a->advantage /= (r->sampling->scale == LMF_SCALE_GROUP ? std : all_std) + 1e-4;
    }
}

/* ---- what is learned ---- */
static bool is_masked(const lmf_rollout *r, const answer *a) { return r->sampling->mask_truncated && !a->ended; }

static bool is_same(const answer *a, const answer *b) { return a->n_text == b->n_text && !memcmp(a->text, b->text, a->n_text); }

/* Of a group: what reaches the threshold, each answer once; or the first of those with most reward. */
static void accept_group(lmf_rollout *r, answer *a, int n)
{
    answer *best = NULL;
    for (int i = 0; i < n; i++) {
        a[i].accepted = !a[i].out && !is_masked(r, &a[i]) && a[i].reward >= (double)r->sampling->threshold;
        for (int k = 0; k < i && a[i].accepted; k++)
            a[i].accepted = !a[k].accepted || !is_same(&a[k], &a[i]);
        if (a[i].accepted && (!best || a[i].reward > best->reward))
            best = &a[i];
    }
    for (int i = 0; i < n && r->sampling->best; i++)
        a[i].accepted = &a[i] == best;
}

static void set_accepted(lmf_rollout *r)
{
    int size = r->sampling->n_answers, n = 0;
    for (int g = 0; g < r->n_groups; g++)
        accept_group(r, &r->answer[g * size], size);
    for (int i = 0; i < r->n; i++)
        n += r->answer[i].accepted;
    if (n || r->told_none || !r->o.note)
        return;
    char text[200];
    r->told_none = true;
    snprintf(text, sizeof text, "no answer of this step has a reward of %g and is learned, as may be so in others: nothing is learned then",
             (double)r->sampling->threshold);
    r->o.note(r->o.user, true, text);
}

/* Prompt and answer as one sample, with places for what the objective wants of it. */
static lmf_status make_sample(lmf_rollout *r, const answer *a, double batch_share, lmf_sample *out)
{
    int32_t n = a->n_prompt + a->n;
    int32_t *id = lmf_arena_array(&r->arena, (size_t)n, sizeof *id);
    uint8_t *learn = lmf_arena_alloc(&r->arena, (size_t)n);
    float *logp = lmf_arena_array(&r->arena, 3 * (size_t)n, sizeof *logp);
    lmf_sampled *s = lmf_arena_alloc(&r->arena, sizeof *s);
    if (!id || !learn || !logp || !s)
        return LMF_NO_MEMORY(r->ctx, (size_t)n * 17, "an answer");
    memcpy(id, a->prompt->id, (size_t)a->n_prompt * sizeof *id);
    memcpy(id + a->n_prompt, a->id, (size_t)a->n * sizeof *id);
    memset(learn + a->n_prompt, 1, (size_t)a->n);
    memcpy(logp + a->n_prompt, a->logp, (size_t)a->n * sizeof *logp);
    *s = (lmf_sampled){ .logp = logp, .old = r->sampling->old ? logp + n : NULL, .base = r->sampling->base ? logp + 2 * n : NULL,
                        .advantage = (float)a->advantage, .batch_share = (float)batch_share };
    *out = (lmf_sample){ .id = id, .learn = learn, .n = n, .n_learn = a->n, .line = a->prompt->line, .i_row = a->prompt->i_row,
                         .i_file = a->prompt->i_file, .sampled = s };
    return LMF_OK;
}

/* Learned tokens of the batch that answer i is of: batch_size answers behind each other. */
static int64_t batch_tok(const lmf_rollout *r, int i, int batch_size)
{
    int64_t n = 0;
    for (int k = i / batch_size * batch_size; k < (i / batch_size + 1) * batch_size && k < r->n; k++)
        n += r->answer[k].out || is_masked(r, &r->answer[k]) ? 0 : r->answer[k].n;
    return n;
}

/* The means are over all answers that were graded, or those that are accepted where the objective chooses; what has nothing to say in the
 * gradient is not computed. */
static lmf_status make_learned(lmf_rollout *r, int batch_size, int n_batches)
{
    r->learned = (lmf_samples){ .ctx = r->ctx };
    r->totals = (lmf_totals){ 0 };
    r->learned.items = lmf_arena_array(&r->arena, (size_t)r->n, sizeof *r->learned.items);
    if (!r->learned.items)
        return LMF_NO_MEMORY(r->ctx, (size_t)r->n * sizeof *r->learned.items, "answers");
    for (int i = 0; i < r->n; i++) {
        const answer *a = &r->answer[i];
        if (a->out || (r->sampling->accept && !a->accepted))
            continue;
        r->totals.n_groups++;
        if (is_masked(r, a))
            continue;
        r->totals.n_learn[0] += a->n;
        if (!a->accepted && a->advantage == 0 && !r->sampling->base)
            continue;
        lmf_sample *s = &r->learned.items[r->learned.n];
        LMF_TRY(make_sample(r, a, 1 / ((double)batch_tok(r, i, batch_size) * n_batches), s));
        r->learned.n++;
        r->learned.n_tok += s->n, r->learned.n_learn += s->n_learn;
        r->learned.longest = s->n > r->learned.longest ? s->n : r->learned.longest;
    }
    return LMF_OK;
}

/* What the trainer says of them before it learns, and what the start of the run does. */
static lmf_status score_learned(lmf_rollout *r)
{
    size_t n = (size_t)r->learned.n;
    float **logp = lmf_arena_array(&r->arena, n, sizeof *logp);
    if (!logp)
        return LMF_NO_MEMORY(r->ctx, n * sizeof *logp, "answers");
    for (int k = 0; k < 2; k++) {
        if (!(k ? r->sampling->base : r->sampling->old))
            continue;
        for (size_t i = 0; i < n; i++)
            logp[i] = (float *)(uintptr_t)(k ? r->learned.items[i].sampled->base : r->learned.items[i].sampled->old);
        LMF_TRY(lmf_trainer_logp(r->t, &r->learned, k, logp));
    }
    return LMF_OK;
}

static lmf_status make(lmf_rollout *r, int64_t step)
{
    double start = now_seconds();
    int64_t generation = step / r->sampling->n_iterations;
    lmf_status s = sample(r, generation);
    close_sessions(r);
    LMF_TRY(s);
    r->seconds[0] = now_seconds() - start;
    start = now_seconds();
    LMF_TRY(grade(r));
    r->seconds[1] = now_seconds() - start;
    if (r->sampling->accept)
        set_accepted(r);
    else if (!r->sampling->from_rows)
        set_advantages(r);
    LMF_TRY(make_learned(r, lmf_trainer_batch_size(r->t), (r->n - 1) / lmf_trainer_batch_size(r->t) + 1));
    LMF_TRY(score_learned(r));
    r->made = step;
    return LMF_OK;
}

/* By the step's number, so that a resumed run decides as the straight one. */
static bool is_on_policy(const lmf_rollout *r, int64_t step)
{
    return ldexp((double)lmf_random_u32(r->o.seed, (uint32_t)step, STREAM_ON_POLICY, 0), -32) < (double)r->sampling->lmbda;
}

lmf_status lmf_rollout_step(lmf_rollout *r, lmf_train_stats *stats)
{
    lmf_trainer_stats(r->t, stats);
    int64_t step = stats->step, n_steps = stats->n_steps;
    double start;
    r->seconds[0] = r->seconds[1] = 0;
    if (r->sampling->from_rows && !is_on_policy(r, step)) {
        r->made = -1, r->next = step + 1;
        return lmf_trainer_step(r->t, stats);
    }
    start = now_seconds();
    if (r->made < 0 || step >= r->made + r->sampling->n_iterations)
        LMF_TRY(make(r, step));
    start += r->seconds[0] + r->seconds[1];
    r->totals.progress = (double)step / (double)n_steps;
    LMF_TRY(lmf_trainer_step_on(r->t, &r->learned, &r->totals, stats));
    r->next = step + 1;
    r->seconds[2] = now_seconds() - start;
    return LMF_OK;
}

const lmf_samples *lmf_rollout_learned(const lmf_rollout *r) { return &r->learned; }
bool lmf_rollout_is_whole(const lmf_rollout *r) { return r->made < 0 || r->next == r->made + r->sampling->n_iterations; }

/* ---- what is known of them ---- */
static void add_number(lmf_rollout_number *out, int *n, double value, const char *fmt, const char *name)
{
    LMF_ASSERT(*n < LMF_MAX_ROLLOUT_NUMBERS);
    snprintf(out[*n].name, sizeof out->name, fmt, name);
    out[(*n)++].value = value;
}

/* A reward's text as part of a name. */
static const char *plain_name(const char *text, char out[48])
{
    snprintf(out, 48, "%s", text);
    for (char *p = out; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') || strchr("_.:,-", *p)))
            *p = '_';
    return out;
}

/* Mean and deviation of reward k over all graded answers. */
static void score_spread(const lmf_rollout *r, int k, double *mean, double *std)
{
    double sum = 0, square = 0;
    int n = 0;
    for (int i = 0; i < r->n; i++)
        if (!r->answer[i].out)
            sum += r->answer[i].score[k], n++;
    *mean = n ? sum / n : 0;
    for (int i = 0; i < r->n; i++)
        if (!r->answer[i].out)
            square += (r->answer[i].score[k] - *mean) * (r->answer[i].score[k] - *mean);
    *std = n > 1 ? sqrt(square / (n - 1)) : 0;
}

static int n_without_spread(const lmf_rollout *r, int *n_graded)
{
    int size = r->sampling->n_answers, n = 0;
    *n_graded = 0;
    for (int g = 0; g < r->n_groups; g++) {
        double mean, std;
        spread(&r->answer[g * size], size, &mean, &std);
        *n_graded += !r->answer[g * size].out;
        n += !r->answer[g * size].out && std < 1e-8;
    }
    return n;
}

int lmf_rollout_numbers(const lmf_rollout *r, lmf_rollout_number *out)
{
    double mean, std, tok = 0, cut = 0, nll = 0, longest = 0, accepted = 0;
    int n = 0, n_graded;
    char name[48];
    if (r->sampling->from_rows)
        add_number(out, &n, r->made >= 0, "on_policy", "");
    if (r->made < 0)
        return n;
    spread(r->answer, r->n, &mean, &std);
    if (r->rewards) {
        add_number(out, &n, mean, "reward", "");
        add_number(out, &n, std, "reward_std", "");
    }
    for (int k = 0; r->rewards && k < r->rewards->n; k++) {
        score_spread(r, k, &mean, &std);
        add_number(out, &n, mean, "rewards/%s/mean", plain_name(r->rewards->item[k].text, name));
        add_number(out, &n, std, "rewards/%s/std", name);
    }
    int flat = n_without_spread(r, &n_graded);
    for (int i = 0; i < r->n; i++) {
        const answer *a = &r->answer[i];
        tok += a->n, cut += !a->ended, accepted += a->accepted, longest = fmax(longest, a->n);
        for (int k = 0; k < a->n; k++)
            nll -= (double)a->logp[k];
    }
    if (r->rewards)
        add_number(out, &n, n_graded ? (double)flat / n_graded : 0, "frac_reward_zero_std", "");
    if (r->sampling->accept)
        add_number(out, &n, accepted / r->n, "frac_accepted", "");
    if (r->rewards)
        add_number(out, &n, (double)r->n_skipped, "groups_not_graded", "");
    add_number(out, &n, tok / r->n, "completions/mean_length", "");
    add_number(out, &n, longest, "completions/max_length", "");
    add_number(out, &n, cut / r->n, "completions/clipped_ratio", "");
    add_number(out, &n, tok > 0 ? nll / tok : 0, "entropy", "");
    add_number(out, &n, r->seconds[0], "seconds_sampling", "");
    add_number(out, &n, r->seconds[1], "seconds_grading", "");
    add_number(out, &n, r->seconds[2], "seconds_training", "");
    return n;
}

static json_t *answer_json(const lmf_rollout *r, const answer *a, int64_t step)
{
    json_t *text = json_stringn(a->text, a->n_text);
    if (!r->rewards)
        return json_pack("{s:I, s:I, s:o, s:i, s:b}", "step", (json_int_t)step, "line", (json_int_t)a->prompt->line, "answer", text,
                         "tokens", (int)a->n, "ended", a->ended);
    json_t *rewards = json_object();
    for (int k = 0; rewards && k < r->rewards->n && !a->out; k++)
        json_object_set_new(rewards, r->rewards->item[k].text, json_real(a->score[k]));
    return json_pack("{s:I, s:I, s:o?, s:o?, s:o, s:o, s:i, s:b}", "step", (json_int_t)step, "line", (json_int_t)a->prompt->line,
        "answer", text, "reward", a->out ? NULL : json_real(a->reward), "rewards", rewards, r->sampling->accept ? "accepted" : "advantage",
        r->sampling->accept ? json_boolean(a->accepted) : json_real(a->advantage), "tokens", (int)a->n, "ended", a->ended);
}

lmf_status lmf_rollout_lines(const lmf_rollout *r, int64_t step, lmf_buf *out)
{
    for (int i = 0; i < r->n && r->made >= 0; i++) {
        json_t *j = answer_json(r, &r->answer[i], step);
        lmf_status s = j ? lmf_json_text(r->ctx, j, JSON_COMPACT | JSON_REAL_PRECISION(9), out) : LMF_NO_MEMORY(r->ctx, 1024, "an answer");
        json_decref(j);
        LMF_TRY(s);
        LMF_TRY(lmf_buf_putc(out, '\n'));
    }
    return LMF_OK;
}

/* ---- create ---- */
static lmf_status open_engine(lmf_rollout *r)
{
    lmf_engine_opts e = lmf_engine_opts_default();
    int32_t longest = lmf_sampling_longest(r->sampling, r->prompts);
    int64_t context = (int64_t)longest + r->sampling->max_tok, most = lmf_model_config(r->model)->context;
    if (context > most)
        return LMF_FAIL(r->ctx, LMF_E_LIMIT, "a prompt of %d tokens and an answer of %d are more than the model's context of %lld; give a "
                        "lower --max-completion-length, or --seq-len with --too-long skip", longest, r->sampling->max_tok,
                        (long long)most);
    int32_t seqs = r->n < LMF_ROLLOUT_SEQS ? r->n : LMF_ROLLOUT_SEQS;
    r->o.max_seqs = r->o.max_seqs > 0 ? r->o.max_seqs : seqs;
    e.device = r->o.device, e.shared_device = lmf_trainer_device(r->t);
    e.max_seqs = r->o.max_seqs, e.context = (int32_t)context, e.compute = r->o.compute, e.need_invariant = r->o.invariant;
    e.max_adapters = 1, e.max_rank = r->o.rank;
    LMF_TRY(lmf_engine_create(r->ctx, r->model, &e, &r->engine));
    return lmf_engine_live_adapter(r->engine, "live", lmf_trainer_weights(r->t), (double)lmf_trainer_lora_scale(r->t), NULL);
}

/* A first token alone is the beginning of a text. */
static lmf_status check_rows(const lmf_rollout *r)
{
    for (int64_t i = 0; i < r->prompts->n; i++)
        if (lmf_sampling_prompt_tok(r->sampling, &r->prompts->items[i]) < 2)
            return LMF_FAIL(r->ctx, LMF_E_ARG, "the row of line %lld is text without a prompt: with --lmbda the student answers what "
                            "stands before each row's last answer, and there is nothing", (long long)r->prompts->items[i].line);
    return LMF_OK;
}

static lmf_status create(lmf_rollout *r)
{
    lmf_train_stats st;
    r->sampling = lmf_trainer_sampling(r->t);
    if (!r->sampling)
        return LMF_FAIL(r->ctx, LMF_E_ARG, "the objective \"%s\" learns from rows: there is nothing to sample",
                        lmf_trainer_objective(r->t)->name);
    r->n = lmf_trainer_step_rows(r->t), r->n_groups = r->n / r->sampling->n_answers;
    r->root_group = -1, r->made = -1, r->order_epoch = -1;
    lmf_trainer_stats(r->t, &st);
    r->next = st.step;
    r->order = lmf_alloc(r->ctx, (size_t)r->prompts->n * sizeof *r->order);
    if (!r->order)
        return LMF_NO_MEMORY(r->ctx, (size_t)r->prompts->n * sizeof *r->order, "the order of prompts");
    if (r->sampling->from_rows)
        LMF_TRY(check_rows(r));
    else
        LMF_TRY(lmf_rewards_open(r->ctx, r->o.reward, r->o.n_rewards, &(lmf_verify_opts){ r->o.timeout_s }, &r->rewards));
    return open_engine(r);
}

lmf_status lmf_rollout_create(lmf_ctx *ctx, lmf_trainer *t, const lmf_model *model, const lmf_samples *prompts,
    const lmf_rollout_opts *opts,
                              lmf_rollout **out)
{
    *out = NULL;
    lmf_rollout *r = lmf_new(ctx, lmf_rollout);
    if (!r)
        return LMF_NO_MEMORY(ctx, sizeof *r, "a rollout");
    r->ctx = ctx, r->t = t, r->model = model, r->prompts = prompts, r->o = *opts;
    lmf_arena_init(&r->arena, ctx, MAX_ARENA);
    lmf_status s = create(r);
    if (s)
        lmf_rollout_destroy(r);
    else
        *out = r;
    return s;
}

void lmf_rollout_destroy(lmf_rollout *r)
{
    if (!r)
        return;
    lmf_ctx *ctx = r->ctx;
    close_sessions(r);
    lmf_engine_destroy(r->engine);
    lmf_rewards_close(r->rewards);
    if (r->order)
        lmf_free(ctx, r->order, (size_t)r->prompts->n * sizeof *r->order);
    lmf_arena_clear(&r->arena);
    lmf_delete(ctx, r);
}

size_t lmf_rollout_bytes(const lmf_rollout *r)
{
    const lmf_memory *m = lmf_engine_memory(r->engine);
    size_t base = lmf_trainer_memory(r->t)->mapped, places = m->mapped > base ? m->mapped - base : 0; /* for the adapter, on a host */
    return m->state + m->io + m->step + places;
}
