/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: positions in text and in tokens are matched by the bytes that tokens stand for; a tokenizer that drops bytes is refused
 * for rows with such bytes, since their mask would slip. */
#include "data/samples.h"
#include <string.h>
#include "base/philox.h"

enum { ROW_MAX_BYTES = 1 << 24, ROW_MAX_TOK = 1 << 22 };

typedef struct maker {
    const lmf_rows *rows;
    const lmf_chat *chat;
    lmf_buf         text, prefix;
    lmf_ids         ids;
    lmf_span_list   spans;
    uint8_t        *learn; size_t learn_cap;
} maker;

static lmf_status refuse(const maker *m, int64_t line, const char *why)
{
    return LMF_FAIL(m->chat->ctx, LMF_E_FORMAT, "%s, line %lld: %s", m->rows->path, (long long)line, why);
}

static lmf_status add_span(maker *m, size_t begin, size_t end)
{
    lmf_span_list *l = &m->spans;
    if (l->n == l->cap) {
        size_t cap = l->cap ? 2 * l->cap : 16;
        lmf_span *p = lmf_realloc(l->ctx, l->items, l->cap * sizeof *p, cap * sizeof *p);
        if (!p)
            return LMF_NO_MEMORY(l->ctx, cap * sizeof *p, "a loss mask");
        l->items = p;
        l->cap = cap;
    }
    l->items[l->n++] = (lmf_span){ begin, end };
    return LMF_OK;
}

/* {"messages": first n of them} with the row's other keys (tools, enable_thinking ...). */
static json_t *with_messages(const json_t *row, size_t n)
{
    json_t *vars = json_copy((json_t *)(uintptr_t)row), *list = json_array();
    const json_t *messages = json_object_get(row, "messages");
    for (size_t i = 0; list && i < n; i++)
        json_array_append(list, json_array_get(messages, i));
    if (vars && list)
        json_object_set_new(vars, "messages", list);
    return vars;
}

static lmf_status render(maker *m, const json_t *row, size_t n, bool generation_prompt, lmf_buf *out, lmf_span_list *spans)
{
    json_t *vars = with_messages(row, n);
    lmf_buf_truncate(out, 0);
    lmf_status s = vars ? lmf_chat_render(m->chat, vars, generation_prompt, out, spans) : LMF_E_MEMORY;
    json_decref(vars);
    return s;
}

/* Spans of assistant turns: from the end of the text with the generation prompt to the end of the text with the turn. */
static lmf_status turns_as_spans(maker *m, int64_t line, const json_t *row)
{
    const json_t *messages = json_object_get(row, "messages");
    for (size_t i = 0; i < json_array_size(messages); i++) {
        if (strcmp(json_string_value(json_object_get(json_array_get(messages, i), "role")), "assistant"))
            continue;
        LMF_TRY(render(m, row, i, true, &m->prefix, NULL));
        size_t begin = m->prefix.n;
        if (begin > m->text.n || memcmp(m->prefix.data, m->text.data, begin))
            return refuse(m, line, "the template changes earlier turns, so the assistant's part can't be found; a template with {% generation %} is needed");
        LMF_TRY(render(m, row, i + 1, false, &m->prefix, NULL));
        size_t end = m->prefix.n;
        if (end > m->text.n || memcmp(m->prefix.data, m->text.data, end))
            return refuse(m, line, "the template changes earlier turns, so the assistant's part can't be found; a template with {% generation %} is needed");
        LMF_TRY(add_span(m, begin, end));
    }
    return LMF_OK;
}

/* Marks tokens that begin inside a span; a turn ends with its last end token, if it has one. */
static lmf_status mark(maker *m, int64_t line, size_t first_byte)
{
    size_t at = first_byte, k = 0;
    if (m->ids.n > m->learn_cap) {
        uint8_t *p = lmf_realloc(m->chat->ctx, m->learn, m->learn_cap, m->ids.n);
        if (!p)
            return LMF_NO_MEMORY(m->chat->ctx, m->ids.n, "a loss mask");
        m->learn = p;
        m->learn_cap = m->ids.n;
    }
    memset(m->learn, 0, m->ids.n);
    if (m->ids.n_dropped)
        return refuse(m, line, "holds bytes for which the vocabulary has no token");
    for (size_t s = 0; s < m->spans.n; s++) {
        size_t last_eos = SIZE_MAX;
        for (; k < m->ids.n; k++) {
            size_t n;
            if (at >= m->spans.items[s].end)
                break;
            lmf_tokenizer_piece(m->chat->tokenizer, m->ids.data[k], &n);
            m->learn[k] = at >= m->spans.items[s].begin;
            if (m->learn[k] && lmf_chat_is_eos(m->chat, m->ids.data[k]))
                last_eos = k;
            at += n;
        }
        for (size_t i = last_eos == SIZE_MAX ? k : last_eos + 1; i < k; i++)
            m->learn[i] = 0;
    }
    return LMF_OK;
}

static lmf_status make_messages(maker *m, int64_t line, const json_t *row)
{
    size_t n = json_array_size(json_object_get(row, "messages"));
    m->spans.n = 0;
    LMF_TRY(render(m, row, n, false, &m->text, &m->spans));
    if (m->spans.n == 0)
        LMF_TRY(turns_as_spans(m, line, row));
    LMF_TRY(lmf_tokenizer_encode(m->chat->tokenizer, lmf_buf_str(&m->text), m->text.n, LMF_ENCODE_SPECIAL, &m->ids));
    return mark(m, line, 0);
}

static lmf_status make_plain(maker *m, int64_t line, const json_t *row)
{
    const char *text = json_string_value(json_object_get(row, "text")), *prompt = json_string_value(json_object_get(row, "prompt"));
    const lmf_tokenizer *t = m->chat->tokenizer;
    int32_t eos = m->chat->n_eos ? m->chat->eos[0] : -1;
    if (text)
        LMF_TRY(lmf_tokenizer_encode(t, text, strlen(text), LMF_ENCODE_DEFAULTS, &m->ids));
    else
        LMF_TRY(lmf_tokenizer_encode(t, prompt, strlen(prompt), LMF_ENCODE_DEFAULTS, &m->ids));
    size_t begin = text ? 0 : m->ids.n;
    if (!text) {
        const char *answer = json_string_value(json_object_get(row, "completion"));
        LMF_TRY(lmf_tokenizer_encode(t, answer, strlen(answer), 0, &m->ids));
    }
    if (eos >= 0)
        LMF_TRY(lmf_ids_append(&m->ids, &eos, 1));
    m->spans.n = 0;

    m->ids.n_dropped = 0;
    LMF_TRY(mark(m, line, 0)); /* sizes the mask */
    memset(m->learn, 0, begin);
    memset(m->learn + begin, 1, m->ids.n - begin);
    return LMF_OK;
}

static lmf_status keep(lmf_samples *out, maker *m, int64_t line, int32_t max_tok, lmf_too_long policy)
{
    size_t n = m->ids.n;
    if (n)
        m->learn[0] = 0; /* nothing predicts the first token */
    while (n && !m->learn[n - 1])
        n--; /* tokens behind the last one learned change nothing */
    if (n == 0)
        return LMF_FAIL(out->ctx, LMF_E_FORMAT, "%s, line %lld: nothing in this row is learned (its loss mask is empty). The row as the model sees it: %.400s",
                        m->rows->path, (long long)line, lmf_buf_str(&m->text));
    if (n > (size_t)max_tok && policy == LMF_LONG_ERROR)
        return LMF_FAIL(out->ctx, LMF_E_LIMIT, "%s, line %lld: %zu tokens, more than the %d of a sequence; --too-long skip or truncate goes on without it",
                        m->rows->path, (long long)line, n, max_tok);
    if (n > (size_t)max_tok && policy == LMF_LONG_SKIP) {
        out->n_skipped++;
        return LMF_OK;
    }
    if (n > (size_t)max_tok) {
        n = (size_t)max_tok;
        out->n_truncated++;
        while (n && !m->learn[n - 1])
            n--;
        if (n == 0) { /* the answer lay behind the cut */
            out->n_skipped++;
            out->n_truncated--;
            return LMF_OK;
        }
    }
    int32_t *id = lmf_arena_array(&out->arena, n, sizeof *id);
    uint8_t *learn = lmf_arena_alloc(&out->arena, n);
    if (!id || !learn)
        return LMF_NO_MEMORY(out->ctx, n * sizeof *id, "a sample");
    memcpy(id, m->ids.data, n * sizeof *id);
    memcpy(learn, m->learn, n);
    lmf_sample *s = &out->items[out->n++];
    *s = (lmf_sample){ .id = id, .learn = learn, .n = (int32_t)n, .line = line };
    for (size_t i = 0; i < n; i++)
        s->n_learn += learn[i];
    out->n_tok += s->n;
    out->n_learn += s->n_learn;
    out->longest = s->n > out->longest ? s->n : out->longest;
    return LMF_OK;
}

static void maker_clear(maker *m)
{
    lmf_buf_clear(&m->text);
    lmf_buf_clear(&m->prefix);
    lmf_ids_clear(&m->ids);
    lmf_span_list_clear(&m->spans);
    lmf_free(m->chat->ctx, m->learn, m->learn_cap);
}

lmf_status lmf_samples_create(const lmf_rows *rows, const lmf_chat *chat, int32_t max_tok, lmf_too_long policy, lmf_samples **out)
{
    lmf_ctx *ctx = chat->ctx;
    maker m = { .rows = rows, .chat = chat };
    lmf_samples *all = lmf_new(ctx, lmf_samples);
    *out = NULL;
    if (!all)
        return LMF_NO_MEMORY(ctx, sizeof *all, "samples");
    all->ctx = ctx;
    lmf_arena_init(&all->arena, ctx, (size_t)1 << 36);
    lmf_buf_init(&m.text, ctx, ROW_MAX_BYTES);
    lmf_buf_init(&m.prefix, ctx, ROW_MAX_BYTES);
    lmf_ids_init(&m.ids, ctx, ROW_MAX_TOK);
    lmf_span_list_init(&m.spans, ctx);
    all->items = lmf_arena_array(&all->arena, (size_t)rows->n, sizeof *all->items);
    lmf_status s = all->items ? LMF_OK : LMF_NO_MEMORY(ctx, (size_t)rows->n * sizeof *all->items, "samples");
    for (int64_t i = 0; !s && i < rows->n; i++) {
        const json_t *row = rows->items[i].json;
        m.ids.n = 0;
        m.ids.n_dropped = 0;
        lmf_buf_truncate(&m.text, 0);
        s = json_object_get(row, "messages") ? make_messages(&m, rows->items[i].line, row) : make_plain(&m, rows->items[i].line, row);
        if (s && !strstr(lmf_error(ctx), rows->path))
            lmf_fail_prefix(ctx, s, "%s, line %lld", rows->path, (long long)rows->items[i].line);
        if (!s)
            s = keep(all, &m, rows->items[i].line, max_tok, policy);
    }
    if (!s && all->n == 0)
        s = LMF_FAIL(ctx, LMF_E_FORMAT, "%s: none of the %lld rows fits into %d tokens", rows->path, (long long)rows->n, max_tok);
    maker_clear(&m);
    if (s)
        lmf_samples_destroy(all);
    else
        *out = all;
    return s;
}

void lmf_samples_destroy(lmf_samples *s)
{
    if (!s)
        return;
    lmf_ctx *ctx = s->ctx;
    lmf_arena_clear(&s->arena);
    lmf_delete(ctx, s);
}

lmf_status lmf_row_prompt(const lmf_rows *rows, int64_t i, const lmf_chat *chat, lmf_ids *ids, const char **reference)
{
    const json_t *row = rows->items[i].json, *messages = json_object_get(row, "messages");
    size_t n = json_array_size(messages);
    *reference = NULL;
    if (!messages) {
        const char *prompt = json_string_value(json_object_get(row, "prompt"));
        *reference = json_string_value(json_object_get(row, "completion"));
        if (!prompt)
            return LMF_FAIL(chat->ctx, LMF_E_FORMAT, "%s, line %lld: a test row has messages, or prompt and completion", rows->path, (long long)rows->items[i].line);
        return lmf_tokenizer_encode(chat->tokenizer, prompt, strlen(prompt), LMF_ENCODE_DEFAULTS, ids);
    }
    while (n && strcmp(json_string_value(json_object_get(json_array_get(messages, n - 1), "role")), "assistant"))
        n--;
    *reference = json_string_value(json_object_get(json_array_get(messages, n - 1), "content"));
    json_t *vars = with_messages(row, n - 1);
    lmf_status s = vars ? lmf_chat_encode(chat, vars, true, ids) : LMF_E_MEMORY;
    json_decref(vars);
    return s;
}
