/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the lock is held while a batch is put together and while its results are taken, never while a graph runs; what runs reads the
 * io arrays alone, which only the stepping thread writes. A step allocates nothing. */
#include <stdio.h>
#include <string.h>
#include "infer/engine_impl.h"
#include "ops/sample/sample.h"

enum { DEFAULT_CONTEXT = 2048, MAX_CHUNK = 4096, HOST_CHUNK = 256, GPU_CHUNK = 1024, MAX_PAGE = 1024, DRAFT_ROWS = 16 };

/* ---- create ---- */

lmf_engine_opts lmf_engine_opts_default(void)
{
    return (lmf_engine_opts){ .struct_bytes = sizeof(lmf_engine_opts), .max_seqs = 8, .page_size = 16, .compute = 1,
                              .cache_dtype = LMF_CACHE_AUTO };
}

static lmf_status check_opts(lmf_engine *e, const lmf_engine_opts *o)
{
    lmf_ctx *ctx = e->ctx;
    const lmf_config_base *c = lmf_model_config(e->model);
    const struct { const char *name; int64_t value, lo, hi; } ranges[] = {
        { "max_seqs", o->max_seqs, 1, LMF_MAX_SEQS }, { "context", o->context, 0, c->context }, { "page_size", o->page_size, 1, MAX_PAGE },
        { "cache_tok", o->cache_tok, 0, INT32_MAX }, { "prefill_chunk", o->prefill_chunk, 0, MAX_CHUNK }, { "compute", o->compute, 0, 1 },
        { "n_adapters", o->n_adapters, 0, LMF_MAX_SLOTS }, { "max_adapters", o->max_adapters, 0, LMF_MAX_SLOTS }, { "max_rank", o->max_rank, 0, 4096 },
        { "max_samples", o->max_samples, 0, LMF_MAX_SEQS }, { "max_draft", o->max_draft, 0, LMF_MAX_DRAFT } };
    for (size_t i = 0; i < sizeof ranges / sizeof *ranges; i++)
        if (ranges[i].value < ranges[i].lo || ranges[i].value > ranges[i].hi)
            return LMF_FAIL(ctx, LMF_E_ARG, "%s is %lld, it must lie from %lld to %lld%s", ranges[i].name, (long long)ranges[i].value,
                            (long long)ranges[i].lo, (long long)ranges[i].hi, i == 1 ? ", what the model was made for" : "");
    if (o->need_invariant && o->compute)
        return LMF_FAIL(ctx, LMF_E_ARG, "need_invariant asks for compute 0: fast products depend on how many rows there are");
    if (o->cache_dtype != LMF_CACHE_AUTO && o->cache_dtype != LMF_F32 && o->cache_dtype != LMF_F16 && o->cache_dtype != LMF_BF16)
        return LMF_FAIL(ctx, LMF_E_DTYPE, "keys and values can't be kept as data type %d; f32, f16 and bf16 can", o->cache_dtype);
    return LMF_OK;
}

/* Who multiplies in 8 or 16 bits has no use for more digits of keys and values, and many streams wait for their bytes.
 * On the CPU bf16, which becomes f32 by a shift. */
static uint16_t cache_dtype(const lmf_engine *e, const lmf_engine_opts *o)
{
    if (o->cache_dtype != LMF_CACHE_AUTO || !o->compute)
        return o->cache_dtype != LMF_CACHE_AUTO ? o->cache_dtype : LMF_F32;
    return e->dev->flags & LMF_DEVICE_HOST ? LMF_BF16 : LMF_F16;
}

/* Sizes from options; cache_tok 0 stays under 1 GiB, but holds a whole session. */
static lmf_status take_opts(lmf_engine *e, const lmf_engine_opts *o)
{
    const lmf_config_base *c = lmf_model_config(e->model);
    lmf_layer_state state = lmf_arch_state(e->model->arch, e->model->config); /* windows take no less: pages stay */
    LMF_TRY(check_opts(e, o));
    if (state.recurrent_bytes)
        return LMF_FAIL(e->ctx, LMF_E_UNSUPPORTED, "the architecture %s keeps recurrent state, which the engine does not serve",
                        e->model->arch->name);
    e->max_seqs = o->max_seqs;
    e->context = o->context ? o->context : c->context < DEFAULT_CONTEXT ? c->context : DEFAULT_CONTEXT;
    e->page_size = o->page_size;
    e->seq_pages = (e->context + e->page_size - 1) / e->page_size;
    int32_t chunk = o->prefill_chunk ? o->prefill_chunk : e->dev->flags & LMF_DEVICE_HOST ? HOST_CHUNK : GPU_CHUNK;
    e->max_rows = chunk > o->max_seqs ? chunk : o->max_seqs;
    e->max_samples = o->max_samples > o->max_seqs ? o->max_samples : o->max_seqs;
    e->vocab = c->vocab;
    e->compute = o->compute;
    e->cache_dtype = cache_dtype(e, o);
    e->need_invariant = o->need_invariant;
    e->profile = o->profile;
    e->make_mask = o->mask;
    e->force = o->force;
    e->mask_user = o->mask_user;
    int64_t per_tok = state.kv_width * (e->cache_dtype == LMF_F32 ? 4 : 2), tok = o->cache_tok;
    if (!tok) {
        tok = (int64_t)e->max_seqs * e->context;
        if (per_tok && tok > ((int64_t)1 << 30) / per_tok)
            tok = ((int64_t)1 << 30) / per_tok;
        if (tok < e->context)
            tok = e->context;
    }
    int64_t n = (tok + e->page_size - 1) / e->page_size, most = (int64_t)e->max_seqs * e->seq_pages * 64;
    e->elastic = o->elastic;
    e->max_draft = o->max_draft;
    return lmf__pages_init(&e->pages, e->ctx, (int32_t)(n < most ? n : most), e->page_size, e->elastic);
}

static lmf_status create(lmf_engine *e, const lmf_engine_opts *o)
{
    e->dev = o->shared_device;
    if (!e->dev)
        LMF_TRY(lmf_device_open(e->ctx, o->device ? o->device : "cpu", &e->own_dev));
    e->dev = e->dev ? e->dev : e->own_dev;
    LMF_TRY(take_opts(e, o));
    LMF_TRY(lmf__adapters_init(e, o));
    e->nn = (lmf_nn){ .weights = e->model->weights, .adapters = e->adapters.set, .n_slots = e->adapters.n_slots, .slot_rank = e->adapters.rank,
                      .compute = e->compute };
    e->running = lmf_alloc(e->ctx, (size_t)e->max_seqs * sizeof(lmf_session *));
    e->batch = lmf_alloc(e->ctx, (size_t)e->max_seqs * sizeof(lmf_session *));
    if (!e->running || !e->batch)
        return LMF_NO_MEMORY(e->ctx, 2 * (size_t)e->max_seqs * sizeof(lmf_session *), "the engine's lists");
    return lmf__graphs_create(e, o->score, o->embed);
}

lmf_status lmf_engine_create(lmf_ctx *ctx, const lmf_model *model, const lmf_engine_opts *opts, lmf_engine **out)
{
    lmf_engine_opts o = lmf_engine_opts_default();
    *out = NULL;
    LMF_TRY(lmf_opts_take(ctx, "lmf_engine_opts", &o, opts, sizeof o));
    lmf_engine *e = lmf_new(ctx, lmf_engine);
    if (!e)
        return LMF_NO_MEMORY(ctx, sizeof *e, "an engine");
    e->ctx = ctx;
    e->model = model;
    e->score_graph = e->embed_graph = -1;
    pthread_mutex_init(&e->lock, NULL);
    lmf__cond_init(&e->landed);
    lmf__cond_init(&e->work);
    lmf_status s = create(e, &o);
    if (s) {
        lmf_engine_destroy(e);
        return s;
    }
    *out = e;
    return LMF_OK;
}

void lmf_engine_destroy(lmf_engine *e)
{
    if (!e)
        return;
    lmf_ctx *ctx = e->ctx;
    while (e->sessions)
        lmf_session_destroy(e->sessions);
    lmf_plan_destroy(e->plan);
    for (int i = 0; i < e->n_graphs; i++)
        lmf_graph_destroy(e->graph[i]);
    lmf_device_close(e->own_dev);
    lmf__adapters_clear(&e->adapters);
    lmf__pages_clear(&e->pages, ctx);
    lmf_free(ctx, e->running, (size_t)e->max_seqs * sizeof(lmf_session *));
    lmf_free(ctx, e->batch, (size_t)e->max_seqs * sizeof(lmf_session *));
    pthread_cond_destroy(&e->landed);
    pthread_cond_destroy(&e->work);
    pthread_mutex_destroy(&e->lock);
    lmf_delete(ctx, e);
}

/* ---- one step ---- */

/* Tokens that are to be computed for s to be done or to sample: all but the last where nothing is sampled. */
static int32_t target_kv(const lmf_session *s) { return s->end > s->n_tok ? s->n_tok : s->n_tok - 1; }

static int32_t pages_for(const lmf_engine *e, int32_t n_tok) { return (n_tok + e->page_size - 1) / e->page_size; }

/* Of prompts that are still being read. */
static int32_t pages_missing(const lmf_engine *e)
{
    int32_t n = 0;
    for (int i = 0; i < e->n_running; i++)
        n += pages_for(e, e->running[i]->n_tok) - e->running[i]->n_pages;
    return n;
}

static bool find_slot(lmf_engine *e, lmf_session *s)
{
    int32_t slot = 0;
    while (slot < e->max_seqs && e->slot_used[slot])
        slot++;
    if (slot == e->max_seqs)
        return false;
    e->slot_used[slot] = true;
    s->slot = slot;
    s->marked = false;
    return true;
}

static void admit(lmf_engine *e)
{
    for (lmf_session *s = e->first_waiting, *next; s; s = next) {
        next = s->next_waiting;
        if (atomic_load(&s->cancelled))
            lmf__session_end(s, LMF_FINISH_CANCELLED, LMF_OK);
    }
    for (int i = e->n_running - 1; i >= 0; i--)
        if (atomic_load(&e->running[i]->cancelled))
            lmf__session_end(e->running[i], LMF_FINISH_CANCELLED, LMF_OK);
    while (e->first_waiting && e->n_running < e->max_seqs) {
        lmf_session *s = e->first_waiting;
        if (s->slot < 0 && !find_slot(e, s))
            return; /* those that gave way hold them */
        lmf__session_find_prefix(s);
        if (e->elastic && e->n_running && pages_missing(e) + pages_for(e, s->n_tok) - s->n_pages > e->pages.n_free)
            return; /* an answer that ends makes room */
        e->first_waiting = s->next_waiting;
        if (!e->first_waiting)
            e->last_waiting = NULL;
        e->n_waiting--;
        s->state = LMF_SESSION_RUNNING;
        e->running[e->n_running++] = s;
        if (s->n_kv >= target_kv(s)) /* only read the prompt, and it is known */
            lmf__session_end(s, LMF_FINISH_LENGTH, LMF_OK);
    }
}

static bool is_penalized(const lmf_gen_opts *o)
{
    return o->repetition_penalty != 1.0f || o->presence_penalty != 0 || o->frequency_penalty != 0;
}

/* Masks and penalties of the token behind a draft's would hang on the draft's. */
static bool may_draft(const lmf_engine *e, const lmf_session *s)
{
    return e->max_draft && !s->score && !s->gen.grammar && !is_penalized(&s->gen) && s->n_tok > s->n_prompt && s->end > s->n_tok;
}

/* Rows for a draft behind the n that s has in this step, where there are pages for them. A step of few rows is to stay one. */
static int32_t draft(lmf_engine *e, lmf_session *s, int32_t n, int32_t room)
{
    int32_t most = DRAFT_ROWS - e->n_running - e->n_draft_rows, held = s->n_pages + s->n_reserved;
    most = most < e->max_draft ? most : e->max_draft;
    most = most < e->n_extra ? most : e->n_extra;
    lmf__session_draft(s, most < room ? most : room);
    int32_t need = pages_for(e, s->n_kv + n + s->n_draft) - held;
    if (need > 0 && lmf__pages_reserve(&e->pages, need))
        s->n_reserved += need;
    else if (need > 0)
        s->n_draft = held * e->page_size - s->n_kv - n;
    e->n_extra -= s->n_draft;
    e->n_draft_rows += s->n_draft;
    return s->n_draft;
}

/* Pages of a session that does not run; it computes them again, or finds them kept. */
static bool take_from_rest(lmf_engine *e)
{
    for (lmf_session *s = e->sessions; s; s = s->next)
        if (s->state != LMF_SESSION_RUNNING && s->n_pages) {
            lmf__session_drop_kv(s, 0);
            return true;
        }
    return false;
}

/* Reserves what the next n rows of s need; younger sessions that are not in the step give way, then the rows become fewer. 0: s waits, or
 * gave way itself where nothing else is left to do. */
static int32_t make_room(lmf_engine *e, lmf_session *s, int32_t n)
{
    int32_t own = 0, need;
    while (e->running[own] != s)
        own++;
    while ((need = pages_for(e, s->n_kv + n) - s->n_pages) > e->pages.n_free) {
        if (take_from_rest(e))
            continue;
        int32_t i = e->n_running - 1;
        while (i > own && e->running[i]->in_flight)
            i--;
        if (i > own) {
            lmf__session_preempt(e->running[i]);
            continue;
        }
        n = (s->n_pages + e->pages.n_free) * e->page_size - s->n_kv;
        if (n > 0)
            continue;
        if (own == e->n_running - 1 && own > 0) /* the youngest */
            lmf__session_preempt(s);
        return 0;
    }
    if (need > 0 && lmf__pages_reserve(&e->pages, need))
        s->n_reserved += need;
    return n;
}

/* Puts up to room rows of s behind the batch's n_rows. */
static int32_t add_rows(lmf_engine *e, lmf_session *s, int32_t n_rows, int32_t room)
{
    lmf_step_io *io = &e->io;
    int32_t i_seq = e->n_batch, left = target_kv(s) - s->n_kv, n = left < room ? left : room;
    if (s->gen.echo && s->n_scored < s->n_prompt && n > 1 + e->n_extra) /* each row is looked at */
        n = 1 + e->n_extra;
    if (n == 0)
        return 0;
    e->n_extra -= s->gen.echo && s->n_scored < s->n_prompt ? n - 1 : 0;
    if (e->elastic && (n = make_room(e, s, n)) <= 0)
        return 0;
    s->n_draft = 0;
    if (may_draft(e, s) && n == left)
        n += draft(e, s, n, room - n);
    while (s->n_pages * e->page_size < s->n_kv + n) {
        s->page[s->n_pages++] = lmf__pages_take(&e->pages);
        s->n_reserved--;
    }
    for (int32_t i = 0; i < n; i++) {
        io->token[n_rows + i] = i < n - s->n_draft ? s->tok[s->n_kv + i] : s->draft[i - (n - s->n_draft)];
        io->pos[n_rows + i] = s->n_kv + i;
        io->seq[n_rows + i] = i_seq;
    }
    io->q_start[i_seq] = n_rows;
    memcpy(io->page + (size_t)i_seq * (size_t)e->seq_pages, s->page, (size_t)s->n_pages * sizeof *s->page);
    if (io->adapter)
        io->adapter[i_seq] = s->adapter;
    s->step_begin = n_rows;
    s->step_rows = n - s->n_draft;
    s->step_sample = -1;
    s->n_step_score = 0;
    s->in_flight = true;
    e->batch[e->n_batch++] = s;
    return n;
}

static int bucket_of(const lmf_engine *e, int32_t n_rows)
{
    int b = 0;
    while (e->bucket[b] < n_rows)
        b++;
    return b;
}

/* Rows behind the live ones up to the graph's capacity are dead. */
static void close_batch(lmf_engine *e, int32_t n_rows, int32_t capacity)
{
    lmf_step_io *io = &e->io;
    for (int32_t i = n_rows; i < capacity; i++) {
        io->token[i] = io->seq[i] = -1;
        io->pos[i] = 0;
    }
    for (int32_t i = e->n_batch; i < e->max_seqs; i++)
        io->q_start[i] = n_rows;
    io->q_start[e->max_seqs] = n_rows;
}

/* Rows of sessions that write, then of prompts in the order of arrival. */
static int32_t gather(lmf_engine *e)
{
    int32_t n_rows = 0;
    e->n_batch = 0;
    e->n_extra = e->max_samples - e->n_running;
    e->n_draft_rows = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < e->n_running && n_rows < e->max_rows; i++) {
            lmf_session *s = e->running[i];
            if (s->in_flight)
                continue;
            if (pass == 1)
                lmf__session_find_prefix(s);
            bool writes = s->n_kv >= s->n_prompt || target_kv(s) - s->n_kv == 1;
            if (!s->score && writes == (pass == 0))
                n_rows += add_rows(e, s, n_rows, e->max_rows - n_rows);
        }
    return n_rows;
}

/* Row n of the sample graph: the token behind i_row, at place pos of s. */
static void sample_row(lmf_engine *e, const lmf_session *s, int32_t n, int32_t i_row, int32_t pos)
{
    lmf_step_io *io = &e->io;
    const lmf_gen_opts *o = &s->gen;
    float *number = io->number + n * LMF_SAMPLE_N_NUMBERS;
    int32_t *count = io->count + n * LMF_SAMPLE_N_COUNTS, *bias_token = io->bias_token + n * LMF_GEN_MAX_BIAS;
    number[LMF_SAMPLE_TEMPERATURE] = o->temperature, number[LMF_SAMPLE_TOP_P] = o->top_p;
    number[LMF_SAMPLE_MIN_P] = o->min_p, number[LMF_SAMPLE_PENALTY] = o->repetition_penalty;
    number[LMF_SAMPLE_PRESENCE] = o->presence_penalty, number[LMF_SAMPLE_FREQUENCY] = o->frequency_penalty;
    count[LMF_SAMPLE_TOP_K] = o->top_k, count[LMF_SAMPLE_POS] = pos, count[LMF_SAMPLE_LIVE] = 1;
    count[LMF_SAMPLE_SEED_LO] = (int32_t)(uint32_t)o->seed, count[LMF_SAMPLE_SEED_HI] = (int32_t)(uint32_t)(o->seed >> 32);
    count[LMF_SAMPLE_SLOT] = is_penalized(o) ? s->slot : -1;
    count[LMF_SAMPLE_MASKED] = o->grammar != NULL, count[LMF_SAMPLE_N_TOP] = o->n_top;
    if (o->n_bias) {
        memcpy(bias_token, o->bias_token, (size_t)o->n_bias * sizeof *bias_token);
        memcpy(io->bias + n * LMF_GEN_MAX_BIAS, o->bias, (size_t)o->n_bias * sizeof *o->bias);
    }
    if (o->n_bias < LMF_GEN_MAX_BIAS)
        bias_token[o->n_bias] = -1;
    io->index[n] = i_row;
}

/* The same for a token that is known: it is picked for certain, for its log-probability. */
static void score_row(lmf_engine *e, const lmf_session *s, int32_t n, int32_t i_row, int32_t token)
{
    int32_t *count = e->io.count + n * LMF_SAMPLE_N_COUNTS, *bias_token = e->io.bias_token + n * LMF_GEN_MAX_BIAS;
    sample_row(e, s, n, i_row, 0);
    e->io.number[n * LMF_SAMPLE_N_NUMBERS + LMF_SAMPLE_TEMPERATURE] = 0;
    count[LMF_SAMPLE_SLOT] = -1, count[LMF_SAMPLE_MASKED] = 0;
    bias_token[0] = token, bias_token[1] = -1;
    e->io.bias[n * LMF_GEN_MAX_BIAS] = 1e9f;
}

/* Which hidden rows are sampled from, and how. Returns their number. */
static int32_t prepare_sample(lmf_engine *e)
{
    int32_t n = 0;
    for (int i = 0; i < e->max_samples; i++)
        e->io.index[i] = -1;
    for (int i = 0; i < e->n_batch; i++) {
        lmf_session *s = e->batch[i];
        s->step_score = n;
        for (int32_t t = s->n_scored; s->gen.echo && t < s->n_prompt && t <= s->n_kv + s->step_rows; t++)
            score_row(e, s, n++, s->step_begin + t - 1 - s->n_kv, s->tok[t]);
        s->n_step_score = n - s->step_score;
        if (s->end == s->n_tok || s->n_kv + s->step_rows < s->n_tok)
            continue;
        s->step_sample = n;
        for (int32_t k = 0; k <= s->n_draft; k++)
            sample_row(e, s, n++, s->step_begin + s->step_rows - 1 + k, s->n_tok + k);
    }
    return n;
}

static lmf_status run_graph(lmf_engine *e, int i)
{
    LMF_TRY(lmf_plan_run(e->plan, i));
    return lmf_plan_wait(e->plan, i);
}

/* The prompts of sessions that sample with penalties for the first time since generate: once an answer, not once a token. What they write
 * is counted by the op itself. */
static lmf_status mark_prompts(lmf_engine *e)
{
    lmf_step_io *io = &e->io;
    for (int i = 0; i < e->n_batch; i++) {
        lmf_session *s = e->batch[i];
        if (s->step_sample < 0 || s->marked || !is_penalized(&s->gen))
            continue;
        for (int32_t at = 0; at < s->n_tok; at += e->max_rows) {
            for (int32_t k = 0; k < e->max_seqs; k++)
                io->seen_clear[k] = at == 0 && k == s->slot;
            for (int32_t k = 0; k < e->max_rows; k++) {
                io->seen_slot[k] = at + k < s->n_tok ? s->slot : -1;
                io->seen_token[k] = at + k < s->n_tok ? s->tok[at + k] : 0;
            }
            LMF_TRY(run_graph(e, e->mark_graph));
        }
        s->marked = true;
    }
    return LMF_OK;
}

/* While the forward pass runs. */
static void make_masks(lmf_engine *e)
{
    size_t words = (size_t)(e->vocab + 31) / 32;
    for (int i = 0; e->make_mask && i < e->n_batch; i++) {
        lmf_session *s = e->batch[i];
        s->step_mask = LMF_OK;
        if (s->step_sample < 0 || !s->gen.grammar)
            continue;
        uint32_t *bits = (uint32_t *)e->io.mask + (size_t)s->step_sample * words;
        memset(bits, 0, words * sizeof *bits);
        s->step_mask = e->make_mask(e->mask_user, s->gen.grammar, s->tok, s->n_tok, bits);
        if (s->step_mask) /* it ends with the step; its row is not worth sampling */
            e->io.count[s->step_sample * LMF_SAMPLE_N_COUNTS + LMF_SAMPLE_LIVE] = 0;
    }
}

static lmf_status run_sample(lmf_engine *e, int32_t n)
{
    lmf_step_io *io = &e->io;
    int b = 0;
    while (e->sample_bucket[b] < n)
        b++;
    for (int32_t i = n; i < e->sample_bucket[b]; i++)
        io->count[i * LMF_SAMPLE_N_COUNTS + LMF_SAMPLE_LIVE] = 0;
    return run_graph(e, e->n_buckets + b);
}

static void fail(lmf_session *s, lmf_status status, const char *text)
{
    lmf__session_end(s, LMF_FINISH_CANCELLED, status);
    s->failure_text = text;
}

static void take_tops(lmf_engine *e, lmf_session *s, int32_t i_sample, int32_t i_tok)
{
    const int32_t *next = e->io.next + (size_t)i_sample * LMF_SAMPLE_WIDTH;
    const float *logp = e->io.next_logp + (size_t)i_sample * LMF_SAMPLE_WIDTH;
    if (!s->top)
        return;
    size_t at = (size_t)(i_tok - s->top_begin) * (size_t)s->gen.n_top;
    memcpy(s->top + at, next + 1, (size_t)s->gen.n_top * sizeof *s->top);
    memcpy(s->top_logp + at, logp + 1, (size_t)s->gen.n_top * sizeof *s->top_logp);
}

/* Log-probabilities of the prompt. */
static void take_scores(lmf_engine *e, lmf_session *s)
{
    for (int32_t i = 0; i < s->n_step_score; i++) {
        s->logp[s->n_scored] = e->io.next_logp[(size_t)(s->step_score + i) * LMF_SAMPLE_WIDTH];
        take_tops(e, s, s->step_score + i, s->n_scored++);
    }
    if (s->n_step_score)
        pthread_cond_signal(&s->news);
}

/* The pick of row i_sample; false: the answer has ended. */
static bool take_token(lmf_engine *e, lmf_session *s, int32_t i_sample)
{
    int32_t id = e->io.next[(size_t)i_sample * LMF_SAMPLE_WIDTH];
    if (s->gen.grammar && s->step_mask) {
        fail(s, s->step_mask, s->step_mask == LMF_E_LIMIT ?
             "the grammar's mask could not be made: its automaton has become too large" : "the grammar's mask could not be made");
        return false;
    }
    if (id == LMF_SAMPLE_NONE_ALLOWED) {
        fail(s, LMF_E_ARG, "the mask allows no token that can follow; the grammar has come to a dead end");
        return false;
    }
    if (id < 0 || id >= e->vocab) {
        fail(s, LMF_E_INTERNAL, "the model gave logits that are not numbers; its weights or the adapter's are damaged");
        return false;
    }
    take_tops(e, s, i_sample, s->n_tok);
    s->tok[s->n_tok] = id;
    s->logp[s->n_tok++] = e->io.next_logp[(size_t)i_sample * LMF_SAMPLE_WIDTH];
    pthread_cond_signal(&s->news);
    e->n_decode_tok++;
    if (!s->gen.ignore_eos && lmf_chat_is_eos(&e->model->chat, id))
        lmf__session_end(s, LMF_FINISH_STOP, LMF_OK);
    else if (s->n_tok == s->end)
        lmf__session_end(s, LMF_FINISH_LENGTH, LMF_OK);
    return s->state == LMF_SESSION_RUNNING;
}

/* The next token, and those behind it as far as the draft was right. */
static void take_tokens(lmf_engine *e, lmf_session *s)
{
    int32_t n_right = 0;
    while (take_token(e, s, s->step_sample + n_right) && n_right < s->n_draft && s->tok[s->n_tok - 1] == s->draft[n_right])
        s->n_kv++, n_right++;
    if (s->n_draft)
        lmf__session_judge(s, n_right);
}

/* Hidden states of the step into the sum; with the last of them it becomes the mean. One that gave way begins anew. */
static void pool(lmf_engine *e, lmf_session *s)
{
    size_t width = (size_t)lmf_model_config(e->model)->width;
    if (s->n_kv == 0)
        memset(s->score, 0, width * sizeof *s->score);
    for (int32_t k = 0; k < s->step_rows; k++) {
        const float *x = e->io.state + (size_t)(s->step_begin + k) * width;
        for (size_t i = 0; i < width; i++)
            s->score[i] += x[i];
    }
    for (size_t i = 0; s->n_kv + s->step_rows == s->n_tok && i < width; i++)
        s->score[i] /= (float)s->n_tok;
}

/* Results into sessions; after a failure every session of the batch ends with it. */
static void land(lmf_engine *e, lmf_status status)
{
    for (int i = 0; i < e->n_batch; i++) {
        lmf_session *s = e->batch[i];
        s->in_flight = false;
        if (status) {
            lmf__session_end(s, LMF_FINISH_CANCELLED, status);
            continue;
        }
        if (s->pools)
            pool(e, s);
        else if (s->score)
            for (int32_t k = 0; k < s->step_rows; k++)
                if (s->n_kv + k + 1 >= s->score_begin)
                    s->score[s->n_kv + k + 1 - s->score_begin] = e->io.score[s->step_begin + k];
        s->n_kv += s->step_rows;
        take_scores(e, s);
        e->n_prefill_tok += s->step_rows - (s->step_sample >= 0);
        if (s->step_sample >= 0)
            take_tokens(e, s);
        else if (s->n_kv == target_kv(s) && (s->end == s->n_tok || s->pools))
            lmf__session_end(s, LMF_FINISH_LENGTH, LMF_OK);
        lmf__session_keep_prefix(s);
    }
    e->n_steps++;
    e->n_batch = 0;
    pthread_cond_broadcast(&e->landed);
}

/* Appends what must come. */
static void force(lmf_engine *e)
{
    for (int i = e->n_running - 1; i >= 0; i--) {
        lmf_session *s = e->running[i];
        int32_t cap = s->end - s->n_tok, *out = s->tok + s->n_tok;
        if (!e->force || !s->gen.grammar || s->score || s->n_asked == s->n_tok || is_penalized(&s->gen) || cap < 1)
            continue;
        int32_t n = e->force(e->mask_user, s->gen.grammar, s->tok, s->n_tok, out, cap);
        memset(s->logp + s->n_tok, 0, (size_t)n * sizeof *s->logp);
        for (int32_t k = 0; s->top && k < n * s->gen.n_top; k++)
            s->top[(s->n_tok - s->top_begin) * s->gen.n_top + k] = -1;
        s->n_tok += n;
        s->n_asked = s->n_tok;
        e->n_forced_tok += n;
        if (n)
            pthread_cond_signal(&s->news);
        if (n && !s->gen.ignore_eos && lmf_chat_is_eos(&e->model->chat, s->tok[s->n_tok - 1]))
            lmf__session_end(s, LMF_FINISH_STOP, LMF_OK);
        else if (s->n_tok == s->end)
            lmf__session_end(s, LMF_FINISH_LENGTH, LMF_OK);
    }
}

static lmf_status step_generate(lmf_engine *e)
{
    force(e);
    int32_t n_rows = gather(e);
    if (n_rows == 0)
        return LMF_OK;
    int b = bucket_of(e, n_rows);
    close_batch(e, n_rows, e->bucket[b]);
    int32_t n_sample = prepare_sample(e);
    pthread_mutex_unlock(&e->lock);
    lmf_status s = mark_prompts(e);
    if (!s)
        s = lmf_plan_run(e->plan, b);
    if (!s) {
        make_masks(e);
        s = n_sample ? run_sample(e, n_sample) : lmf_plan_wait(e->plan, b);
    }
    pthread_mutex_lock(&e->lock);
    land(e, s);
    return s;
}

static lmf_status step_score(lmf_engine *e)
{
    lmf_step_io *io = &e->io;
    int32_t n_rows = 0;
    e->n_batch = 0;
    for (int i = 0; i < e->n_running && n_rows < e->max_rows; i++)
        if (e->running[i]->score && !e->running[i]->pools)
            n_rows += add_rows(e, e->running[i], n_rows, e->max_rows - n_rows);
    if (n_rows == 0)
        return LMF_OK;
    close_batch(e, n_rows, e->max_rows);
    for (int32_t i = 0; i < e->max_rows; i++)
        io->target[i] = -100;
    for (int i = 0; i < e->n_batch; i++) {
        lmf_session *s = e->batch[i];
        for (int32_t k = 0; k < s->step_rows; k++)
            if (s->n_kv + k + 1 >= s->score_begin)
                io->target[s->step_begin + k] = s->tok[s->n_kv + k + 1];
    }
    pthread_mutex_unlock(&e->lock);
    lmf_status s = run_graph(e, e->score_graph);
    pthread_mutex_lock(&e->lock);
    land(e, s);
    return s;
}

static lmf_status step_embed(lmf_engine *e)
{
    int32_t n_rows = 0;
    e->n_batch = 0;
    for (int i = 0; i < e->n_running && n_rows < e->max_rows; i++)
        if (e->running[i]->pools)
            n_rows += add_rows(e, e->running[i], n_rows, e->max_rows - n_rows);
    if (n_rows == 0)
        return LMF_OK;
    close_batch(e, n_rows, e->max_rows);
    pthread_mutex_unlock(&e->lock);
    lmf_status s = run_graph(e, e->embed_graph);
    pthread_mutex_lock(&e->lock);
    land(e, s);
    return s;
}

lmf_status lmf_engine_step(lmf_engine *e, int *n_live)
{
    pthread_mutex_lock(&e->lock);
    lmf_status s = lmf__live_refresh(e);
    if (!s) {
        admit(e);
        s = step_generate(e);
    }
    if (!s)
        s = step_score(e);
    if (!s && e->embed_graph >= 0)
        s = step_embed(e);
    *n_live = e->n_running + e->n_waiting;
    pthread_mutex_unlock(&e->lock);
    return s;
}

bool lmf_engine_wait(lmf_engine *e, int timeout_ms)
{
    struct timespec t;
    const struct timespec *until = lmf__deadline(&t, timeout_ms);
    pthread_mutex_lock(&e->lock);
    while (e->n_running + e->n_waiting == 0 && !e->woken && lmf__cond_wait(&e->work, &e->lock, until))
        ;
    bool work = e->n_running + e->n_waiting > 0;
    e->woken = false;
    pthread_mutex_unlock(&e->lock);
    return work;
}

void lmf_engine_wake(lmf_engine *e)
{
    pthread_mutex_lock(&e->lock);
    e->woken = true;
    pthread_cond_signal(&e->work);
    pthread_mutex_unlock(&e->lock);
}

/* ---- the rest ---- */

lmf_status lmf_engine_refresh(lmf_engine *e)
{
    lmf_status s = LMF_OK;
    pthread_mutex_lock(&e->lock);
    if (e->n_running || e->n_waiting)
        s = LMF_FAIL(e->ctx, LMF_E_BUSY, "%d sessions still work with the old weights; cancel them or step until they are done", e->n_running + e->n_waiting);
    else
        s = lmf_plan_update_weights(e->plan);
    lmf__prefix_forget(&e->pages, LMF_PREFIX_ALL);
    for (lmf_session *k = e->sessions; !s && k; k = k->next)
        lmf__session_drop_kv(k, 0);
    pthread_mutex_unlock(&e->lock);
    return s;
}

void lmf_engine_get_info(lmf_engine *e, lmf_engine_info *out)
{
    pthread_mutex_lock(&e->lock);
    *out = (lmf_engine_info){ .max_seqs = e->max_seqs, .context = e->context, .page_size = e->page_size, .n_pages = e->pages.n, .vocab = e->vocab,
                              .n_pages_free = e->pages.n_free, .n_pages_reserved = e->pages.n_reserved, .n_running = e->n_running,
                              .n_waiting = e->n_waiting, .n_sessions = e->n_sessions, .n_prefill_tok = e->n_prefill_tok,
                              .n_decode_tok = e->n_decode_tok, .n_forced_tok = e->n_forced_tok,
                              .n_cached_tok = e->n_cached_tok, .n_preempted = e->n_preempted,
                              .n_draft_tok = e->n_draft_tok, .n_accepted_tok = e->n_accepted_tok, .n_steps = e->n_steps };
    out->n_slots = e->adapters.n_slots;
    for (int i = 0; i < e->adapters.n_slots; i++)
        out->n_adapters += e->adapters.name[i][0] != 0;
    pthread_mutex_unlock(&e->lock);
}

const lmf_memory *lmf_engine_memory(const lmf_engine *e) { return lmf_plan_memory(e->plan); }

int lmf_engine_profile(const lmf_engine *e, lmf_profile_row *rows, int cap)
{
    lmf_profile_row part[64];
    int n = 0;
    for (int g = 0; e->profile && g < e->n_graphs; g++) {
        int m = lmf_plan_profile(e->plan, g, part, 64);
        for (int i = 0; i < m && i < 64; i++) {
            int k = 0;
            while (k < n && (strcmp(rows[k].op, part[i].op) || strcmp(rows[k].row, part[i].row)))
                k++;
            if (k == n && n == cap)
                continue;
            if (k == n)
                rows[n++] = (lmf_profile_row){ .op = part[i].op, .row = part[i].row };
            rows[k].n_calls += part[i].n_calls, rows[k].seconds += part[i].seconds;
            rows[k].flops += part[i].flops, rows[k].bytes += part[i].bytes;
        }
    }
    for (int i = 1; i < n; i++) /* few rows */
        for (int k = i; k > 0 && rows[k].seconds > rows[k - 1].seconds; k--) {
            lmf_profile_row t = rows[k];
            rows[k] = rows[k - 1], rows[k - 1] = t;
        }
    return n;
}
