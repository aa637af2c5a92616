/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: positions in text and in tokens are matched by the bytes that tokens stand for; a tokenizer that drops bytes is refused
 * for rows with such bytes, since their mask would slip. */
#include "data/samples.h"
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "base/philox.h"
#include "data/preference.h"
#include "format/json.h"

enum { ROW_MAX_BYTES = 1 << 24, ROW_MAX_TOK = 1 << 22, EXCERPT_BYTES = 128 };

typedef struct maker {
    const lmf_rows *rows;
    const lmf_chat *chat;
    lmf_chat_forms  forms;
    lmf_buf         text, prefix, other;
    lmf_positions   foreign, spare;  /* of text, of the others */
    int64_t         n_unlearned;     /* turns of this row that the template hides */
    bool            spaced;          /* the row's prompt is a text that ends with a space */
    bool            ends;            /* every turn that is learned ends with an end of turn */
    const lmf_samples_opts *opts;
    lmf_ids         ids;
    lmf_span_list   spans;
    uint8_t        *learn; size_t learn_cap;
} maker;

static lmf_status refuse(const maker *m, const char *why) { return LMF_FAIL(m->chat->ctx, LMF_E_FORMAT, "%s", why); }

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

/* The first n messages into an empty out; foreign: m->foreign for the row's own text, else a spare. */
static lmf_status render(maker *m, json_t *vars, bool generation_prompt, lmf_buf *out, lmf_span_list *spans)
{
    lmf_buf_truncate(out, 0);
    lmf_status s = vars ? lmf_chat_render_guarded(m->chat, vars, generation_prompt, out, spans, out == &m->text ? &m->foreign : &m->spare)
                        : LMF_NO_MEMORY(m->chat->ctx, 1024, "a conversation");
    json_decref(vars);
    return s;
}

static size_t common(const lmf_buf *a, const lmf_buf *b)
{
    size_t n = a->n < b->n ? a->n : b->n, i = 0;
    while (i < n && a->data[i] == b->data[i])
        i++;
    return i;
}

/* The text around byte `at`, for a sentence: whole characters, no line ends. */
static void excerpt(const lmf_buf *b, size_t at, char out[EXCERPT_BYTES])
{
    size_t begin = at > 16 ? at - 16 : 0, k = 0;
    while (begin < b->n && begin < at && ((unsigned char)b->data[begin] & 0xc0) == 0x80)
        begin++;
    for (size_t i = begin; i < b->n && k < EXCERPT_BYTES - 8; i++) {
        if (i >= at + 24 && ((unsigned char)b->data[i] & 0xc0) != 0x80)
            break;
        if (b->data[i] == '\n')
            out[k++] = '\\', out[k++] = 'n';
        else
            out[k++] = b->data[i];
    }
    out[k] = 0;
}

static lmf_status turn_not_found(maker *m, size_t i, const lmf_buf *alone)
{
    char a[EXCERPT_BYTES], b[EXCERPT_BYTES];
    size_t at = common(alone, &m->text);
    excerpt(alone, at, a);
    excerpt(&m->text, at, b);
    return LMF_FAIL(m->chat->ctx, LMF_E_FORMAT,
                    "the template changes earlier turns, so message %zu, the assistant's, can't be found: rendered up to there the text "
                    "has \"%s\" at byte %zu, and \"%s\" in the whole conversation; a template with {%% generation %%} is needed", i + 1,
                        a, at, b);
}

/* Messages before i, and message i with other words: what it adds before its own content is the same, whatever the content. */
static lmf_status render_other(maker *m, const json_t *row, size_t i)
{
    json_t *vars = with_messages(row, i), *list = json_object_get(vars, "messages");
    json_t *other = json_pack("{s:s, s:s}", "role", "assistant", "content", "\xee\x80\x80");
    if (!other || json_array_append_new(list, other)) {
        json_decref(vars);
        return LMF_NO_MEMORY(m->chat->ctx, 64, "a conversation");
    }
    return render(m, vars, false, &m->other, NULL);
}

/* Where the answer of message i begins in the text, whose first bytes would be m->prefix. A generation prompt that ends with more than a
 * turn begins with (<think>, where the answer has none) ends where the two part, which must be behind the messages before. False: not
 * there. */
static lmf_status turn_begin(maker *m, const json_t *row, size_t i, size_t *begin, bool *found)
{
    size_t same = common(&m->prefix, &m->text), least, most;
    *begin = m->prefix.n;
    *found = same == m->prefix.n;
    if (*found)
        return LMF_OK;
    LMF_TRY(render(m, with_messages(row, i), false, &m->other, NULL));
    least = common(&m->prefix, &m->other);
    if (same < least || same == 0)
        return LMF_OK;
    lmf_status s = render_other(m, row, i);
    if (s == LMF_E_MEMORY)
        return s;
    most = s ? same : common(&m->prefix, &m->other); /* the answer's own first letters may be those of the prompt */
    *begin = most < same ? most : same;
    *found = *begin >= least;
    return LMF_OK;
}

static bool is_unlearned(const json_t *message) { return json_is_integer(json_object_get(message, "weight")); }

/* Leaves out the spans, one for each answer, of answers that are not to be learned. */
static lmf_status drop_unlearned(maker *m, const json_t *row)
{
    const json_t *messages = json_object_get(row, "messages");
    size_t n_answers = 0, n_unlearned = 0, kept = 0;
    for (size_t i = 0; i < json_array_size(messages); i++) {
        const json_t *message = json_array_get(messages, i);
        if (strcmp(json_string_value(json_object_get(message, "role")), "assistant"))
            continue;
        bool out = is_unlearned(message);
        if (!out && n_answers < m->spans.n)
            m->spans.items[kept++] = m->spans.items[n_answers];
        n_unlearned += out;
        n_answers++;
    }
    if (n_unlearned && n_answers != m->spans.n)
        return refuse(m, "an answer has the weight 0, but the template marks what is learned itself, and not once for each answer");
    m->spans.n = n_unlearned ? kept : m->spans.n;
    return LMF_OK;
}

/* Spans of assistant turns: from the end of the text with the generation prompt to the end of the text with the turn. Turns before the last
 * one that the template shows otherwise once more follow (reasoning left out) are not learned, and counted. */
static lmf_status turns_as_spans(maker *m, const json_t *row)
{
    const json_t *messages = json_object_get(row, "messages");
    size_t last = lmf_row_last_answer(row);
    for (size_t i = 0; i <= last; i++) {
        size_t begin;
        bool found;
        if (strcmp(json_string_value(json_object_get(json_array_get(messages, i), "role")), "assistant") ||
            is_unlearned(json_array_get(messages, i)))
            continue;
        lmf_status s = render(m, with_messages(row, i), true, &m->prefix, NULL);
        if (s && i < last && lmf_row_is_bad(s)) { /* a template that can't end there */
            m->n_unlearned++;
            continue;
        }
        LMF_TRY(s);
        LMF_TRY(turn_begin(m, row, i, &begin, &found));
        if (found) {
            LMF_TRY(render(m, with_messages(row, i + 1), false, &m->prefix, NULL));
            found = common(&m->prefix, &m->text) == m->prefix.n;
        }
        if (!found && i == last)
            return turn_not_found(m, i, &m->prefix);
        m->n_unlearned += !found;
        if (found)
            LMF_TRY(add_span(m, begin, m->prefix.n));
    }
    return LMF_OK;
}

/* Marks tokens that begin inside a span; a turn ends with its last end token, if it has one. */
static lmf_status mark(maker *m)
{
    size_t at = 0, k = 0;
    if (m->ids.n > m->learn_cap) {
        uint8_t *p = lmf_realloc(m->chat->ctx, m->learn, m->learn_cap, m->ids.n);
        if (!p)
            return LMF_NO_MEMORY(m->chat->ctx, m->ids.n, "a loss mask");
        m->learn = p;
        m->learn_cap = m->ids.n;
    }
    memset(m->learn, 0, m->ids.n);
    if (m->ids.n_dropped)
        return refuse(m, "holds bytes for which the vocabulary has no token");
    for (size_t s = 0; s < m->spans.n; s++) {
        size_t last_eos = SIZE_MAX;
        for (; k < m->ids.n; k++) {
            if (at >= m->spans.items[s].end)
                break;
            m->learn[k] = at >= m->spans.items[s].begin;
            if (m->learn[k] && lmf_chat_is_eos(m->chat, m->ids.data[k]))
                last_eos = k;
            at = lmf_tokenizer_end_of(m->chat->tokenizer, m->ids.data[k], lmf_buf_str(&m->text), m->text.n, at);
        }
        for (size_t i = last_eos == SIZE_MAX ? k : last_eos + 1; i < k; i++)
            m->learn[i] = 0;
        m->ends &= last_eos != SIZE_MAX;
    }
    return LMF_OK;
}

/* Leaves only turns that begin behind the first n messages. */
static lmf_status drop_prompt(maker *m, const json_t *row, size_t n)
{
    size_t kept = 0;
    LMF_TRY(render(m, with_messages(row, n), false, &m->prefix, NULL));
    if (common(&m->prefix, &m->text) < m->prefix.n)
        return refuse(m, "the template writes the prompt in another way when an answer follows, so that the answer can't be found");
    for (size_t i = 0; i < m->spans.n; i++)
        if (m->spans.items[i].begin >= m->prefix.n)
            m->spans.items[kept++] = m->spans.items[i];
    m->spans.n = kept;
    return LMF_OK;
}

/* Nothing of the first n_prompt messages is learned. */
static lmf_status make_messages(maker *m, json_t *row, size_t n_prompt)
{
    size_t n = json_array_size(json_object_get(row, "messages"));
    LMF_TRY(lmf_chat_fit(m->chat, &m->forms, row));
    LMF_TRY(lmf_chat_check_tools(m->chat, &m->forms, row));
    LMF_TRY(render(m, with_messages(row, n), false, &m->text, &m->spans));
    LMF_TRY(m->spans.n ? drop_unlearned(m, row) : turns_as_spans(m, row));
    if (n_prompt)
        LMF_TRY(drop_prompt(m, row, n_prompt));
    if (m->opts->train_on == LMF_TRAIN_LAST && m->spans.n > 1)
        m->spans.items[0] = m->spans.items[m->spans.n - 1], m->spans.n = 1;
    LMF_TRY(lmf_tokenizer_encode_guarded(m->chat->tokenizer, lmf_buf_str(&m->text), m->text.n, LMF_ENCODE_SPECIAL, m->foreign.items,
                                         m->foreign.n, &m->ids));
    m->ends = true;
    LMF_TRY(mark(m));
    if (m->opts->train_on == LMF_TRAIN_ALL)
        memset(m->learn, 1, m->ids.n);
    return LMF_OK;
}

/* Whether the ids end with an end of turn, white space behind it aside. */
static bool ends_already(const maker *m)
{
    for (size_t k = m->ids.n; k-- > 0;) {
        size_t n;
        const uint8_t *p = lmf_tokenizer_piece(m->chat->tokenizer, m->ids.data[k], &n);
        if (lmf_chat_is_eos(m->chat, m->ids.data[k]))
            return true;
        for (size_t i = 0; i < n; i++)
            if (p[i] != ' ' && p[i] != '\n' && p[i] != '\r' && p[i] != '\t')
                return false;
    }
    return false;
}

static lmf_status encode_plain(const lmf_chat *chat, const json_t *text, unsigned flags, lmf_ids *ids)
{
    return lmf_chat_encode_plain(chat, json_string_value(text), json_string_length(text), flags, ids);
}

static lmf_status make_plain(maker *m, const json_t *row)
{
    const json_t *text = json_object_get(row, "text"), *prompt = json_object_get(row, "prompt");
    bool whole = json_is_string(text);
    int32_t eos = m->chat->n_eos ? m->chat->eos[0] : -1;
    LMF_TRY(encode_plain(m->chat, whole ? text : prompt, LMF_ENCODE_DEFAULTS, &m->ids));
    size_t n_prompt = whole ? 0 : json_string_length(prompt);
    m->spaced = n_prompt && json_string_value(prompt)[n_prompt - 1] == ' ';
    size_t begin = whole ? 0 : m->ids.n, learned = m->opts->train_on == LMF_TRAIN_ALL ? 0 : begin;
    if (!whole)
        LMF_TRY(encode_plain(m->chat, json_object_get(row, "completion"), 0, &m->ids));
    if (eos >= 0 && (begin == m->ids.n || !ends_already(m)))
        LMF_TRY(lmf_ids_append(&m->ids, &eos, 1));
    m->ids.n_dropped = 0;
    m->ends = true;
    LMF_TRY(mark(m)); /* sizes the mask */
    memset(m->learn, 0, learned);
    memset(m->learn + learned, 1, m->ids.n - learned);
    return LMF_OK;
}

static lmf_status make_segments(maker *m, const json_t *row)
{
    const json_t *list = json_object_get(row, "segments"), *segment;
    size_t i, at = 0;
    json_array_foreach((json_t *)(uintptr_t)list, i, segment)
        LMF_TRY(encode_plain(m->chat, json_object_get(segment, "text"), 0, &m->ids));
    m->ends = true;
    LMF_TRY(mark(m)); /* sizes the mask */
    m->ids.n = 0;
    json_array_foreach((json_t *)(uintptr_t)list, i, segment) { /* the same once more, to know where each ends */
        LMF_TRY(encode_plain(m->chat, json_object_get(segment, "text"), 0, &m->ids));
        memset(m->learn + at, json_is_true(json_object_get(segment, "label")), m->ids.n - at);
        at = m->ids.n;
    }
    return LMF_OK;
}

/* Another sample behind the last one. */
static lmf_sample *new_item(lmf_samples *all)
{
    if (all->n == all->cap) {
        int64_t cap = 2 * all->cap + 16;
        lmf_sample *items = lmf_arena_array(&all->arena, (size_t)cap, sizeof *items);
        if (!items)
            return NULL;
        memcpy(items, all->items, (size_t)all->n * sizeof *items);
        all->items = items;
        all->cap = cap;
    }
    return &all->items[all->n++];
}

static lmf_status add_sample(lmf_samples *out, const maker *m, int64_t i_row, const int32_t *ids, const uint8_t *mask, size_t n)
{
    int32_t *id = lmf_arena_array(&out->arena, n, sizeof *id);
    uint8_t *learn = lmf_arena_alloc(&out->arena, n);
    lmf_sample *s = id && learn ? new_item(out) : NULL;
    if (!s)
        return LMF_NO_MEMORY(out->ctx, n * sizeof *id, "a sample");
    memcpy(id, ids, n * sizeof *id);
    memcpy(learn, mask, n);
    learn[0] = 0; /* nothing predicts the first token */
    *s = (lmf_sample){ .id = id, .learn = learn, .n = (int32_t)n, .line = m->rows->items[i_row].line, .i_row = i_row };
    for (size_t i = 0; i < n; i++)
        s->n_learn += learn[i];
    out->n_tok += s->n;
    out->n_learn += s->n_learn;
    out->longest = s->n > out->longest ? s->n : out->longest;
    return LMF_OK;
}

/* Text in pieces; what would be a last token alone goes. */
static lmf_status split(lmf_samples *out, const maker *m, int64_t i_row, size_t n, size_t max_tok)
{
    for (size_t at = 0; at + 1 < n; at += max_tok)
        LMF_TRY(add_sample(out, m, i_row, m->ids.data + at, m->learn + at, n - at < max_tok ? n - at : max_tok));
    return LMF_OK;
}

static lmf_status keep(lmf_samples *out, maker *m, int64_t i_row, bool is_text)
{
    size_t n = m->ids.n;
    int32_t max_tok = m->opts->max_tok;
    lmf_too_long policy = m->opts->too_long;
    if (n)
        m->learn[0] = 0;
    while (n && !m->learn[n - 1])
        n--; /* tokens behind the last one learned change nothing */
    if (n == 0)
        return LMF_FAIL(out->ctx, LMF_E_FORMAT, "nothing in this row is learned (its loss mask is empty). The row as the model sees "
            "it: %.400s", lmf_buf_str(&m->text));
    if (n > (size_t)max_tok && policy == LMF_LONG_SPLIT && is_text)
        return split(out, m, i_row, n, (size_t)max_tok);
    if (n > (size_t)max_tok && (policy == LMF_LONG_ERROR || policy == LMF_LONG_SPLIT))
        return LMF_FAIL(out->ctx, LMF_E_BUSY, "%zu tokens, more than the %d of a sequence; --too-long %s goes on without "
            "it", n, max_tok, is_text ? "split goes on with it in pieces, skip or truncate" : "skip or truncate");
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
    LMF_TRY(add_sample(out, m, i_row, m->ids.data, m->learn, n));
    out->n_unlearned += m->n_unlearned;
    if (m->spaced && out->n_spaced++ == 0)
        out->first_spaced = m->rows->items[i_row].line;
    if (!m->ends && out->n_endless++ == 0) {
        char shown[EXCERPT_BYTES];
        excerpt(&m->text, m->spans.n ? m->spans.items[m->spans.n - 1].end : 0, shown);
        snprintf(out->first_endless, sizeof out->first_endless, "%s %lld, where its answer ends: %s", m->rows->unit,
                 (long long)m->rows->items[i_row].line, shown);
    }
    return LMF_OK;
}

static void maker_clear(maker *m)
{
    lmf_buf_clear(&m->text);
    lmf_buf_clear(&m->prefix);
    lmf_buf_clear(&m->other);
    lmf_positions_clear(&m->foreign);
    lmf_positions_clear(&m->spare);
    lmf_ids_clear(&m->ids);
    lmf_span_list_clear(&m->spans);
    lmf_free(m->chat->ctx, m->learn, m->learn_cap);
}

static void reset(maker *m)
{
    m->ids.n = m->ids.n_dropped = 0;
    m->spans.n = 0;
    m->foreign.n = 0;
    m->n_unlearned = 0;
    m->spaced = false;
    lmf_buf_truncate(&m->text, 0);
}

static lmf_status make_one(maker *m, lmf_samples *all, int64_t i, json_t *row, size_t n_prompt)
{
    bool messages = json_object_get(row, "messages"), segments = !messages && json_object_get(row, "segments");
    reset(m);
    LMF_TRY(messages ? make_messages(m, row, n_prompt) : segments ? make_segments(m, row) : make_plain(m, row));
    return keep(all, m, i, !messages && json_is_string(json_object_get(row, "text")));
}

/* Messages up to the last answer, then the generation prompt; or a prompt in text. */
lmf_status lmf_prompt_encode(const lmf_chat *chat, const json_t *row, lmf_ids *ids)
{
    const json_t *prompt = json_object_get(row, "prompt"), *messages = json_object_get(row, "messages");
    lmf_chat_forms forms;
    if (!messages)
        return json_is_string(prompt) ? encode_plain(chat, prompt, LMF_ENCODE_DEFAULTS, ids)
                                      : LMF_FAIL(chat->ctx, LMF_E_FORMAT, "a test row has messages, or prompt and completion");
    size_t last = lmf_row_last_answer(row), n = json_array_size(messages);
    json_t *vars = with_messages(row, last < n ? last : n);
    lmf_status s = vars ? lmf_chat_find_forms(chat, &forms) : LMF_NO_MEMORY(chat->ctx, 1024, "a conversation");
    if (!s)
        s = lmf_chat_fit(chat, &forms, vars);
    if (!s)
        s = lmf_chat_encode(chat, vars, true, ids);
    json_decref(vars);
    return s;
}

/* The row's answer as a sample; the place of the one that is measured behind it. */
static lmf_status make_labelled(maker *m, lmf_samples *all, int64_t i, json_t *row)
{
    const json_t *label = json_object_get(row, "label");
    int64_t before = all->n, number = json_is_integer(label) ? json_integer_value(label) : -1;
    if (json_is_boolean(label))
        number = json_is_true(label);
    if (number != 0 && number != 1)
        return refuse(m, "\"label\" is neither true nor false");
    if (json_is_string(json_object_get(row, "prompt")) && !json_string_length(json_object_get(row, "prompt")))
        return refuse(m, "\"prompt\" is empty: there is nothing to answer");
    LMF_TRY(make_one(m, all, i, row, json_object_get(row, "messages") ? lmf_row_last_answer(row) : 0));
    if (all->n == before)
        return LMF_OK;
    all->items[before].label = number ? 1 : -1;
    all->n_label[number]++;
    lmf_sample *behind = new_item(all);
    if (!behind)
        return LMF_NO_MEMORY(all->ctx, sizeof *behind, "a sample");
    *behind = (lmf_sample){ .line = all->items[before].line, .i_row = i };
    return LMF_OK;
}

static int32_t n_prompt_of(const lmf_sample *s)
{
    int32_t n = 0;
    while (n < s->n && !s->learn[n])
        n++;
    return n;
}

/* Prompt of a, answer of b, cut to max_tok. */
static lmf_status make_mismatch(lmf_samples *all, const lmf_sample *a, const lmf_sample *b, int32_t max_tok, lmf_sample *out)
{
    int32_t n_prompt = n_prompt_of(a), from = n_prompt_of(b), n = n_prompt + b->n - from;
    n = n < max_tok ? n : max_tok;
    int32_t *id = lmf_arena_array(&all->arena, (size_t)n, sizeof *id);
    uint8_t *learn = lmf_arena_alloc(&all->arena, (size_t)n);
    if (!id || !learn)
        return LMF_NO_MEMORY(all->ctx, (size_t)n * sizeof *id, "a sample");
    memcpy(id, a->id, (size_t)n_prompt * sizeof *id);
    memset(learn, 0, (size_t)n_prompt);
    memcpy(id + n_prompt, b->id + from, (size_t)(n - n_prompt) * sizeof *id);
    memcpy(learn + n_prompt, b->learn + from, (size_t)(n - n_prompt));
    out->id = id, out->learn = learn, out->n = n, out->label = a->label;
    for (int32_t k = n_prompt; k < n; k++)
        out->n_learn += learn[k];
    all->longest = n > all->longest ? n : all->longest;
    return LMF_OK;
}

static bool same_prompt(const lmf_sample *a, const lmf_sample *b)
{
    int32_t n = n_prompt_of(a);
    return n == n_prompt_of(b) && memcmp(a->id, b->id, (size_t)n * sizeof *a->id) == 0;
}

static lmf_status make_mismatches(lmf_samples *all, int32_t max_tok)
{
    if (!all->n_label[0] || !all->n_label[1])
        return LMF_FAIL(all->ctx, LMF_E_FORMAT, "all %lld rows have the label %s: there is nothing to tell apart", (long long)all->n / 2,
                        all->n_label[1] ? "true" : "false");
    for (int64_t i = 0; i < all->n; i += 2) {
        int64_t k = i;
        do
            k = k ? k - 2 : all->n - 2;
        while (k != i && same_prompt(&all->items[i], &all->items[k]));
        if (k == i)
            return LMF_FAIL(all->ctx, LMF_E_FORMAT, "all rows have the same prompt: how far the model has moved is measured by prompts "
                            "with the answers of others");
        LMF_TRY(make_mismatch(all, &all->items[i], &all->items[k], max_tok, &all->items[i + 1]));
    }
    return LMF_OK;
}

static lmf_status make_pair(maker *m, lmf_samples *all, int64_t i, const json_t *row)
{
    lmf__preference pair;
    LMF_TRY(lmf__preference_split(all->ctx, row, &pair));
    lmf_status s = LMF_OK;
    for (int k = 0; k < 2 && !s; k++) {
        const json_t *messages = json_object_get(pair.row[k], "messages");
        s = lmf__row_normalize(all->ctx, pair.row[k]);
        if (!s && messages)
            s = lmf__row_check_messages(m->rows, messages);
        if (!s)
            s = make_one(m, all, i, pair.row[k], pair.n_prompt);
    }
    lmf__preference_clear(&pair);
    return s;
}

/* What the row wants as its answer, in the arena; NULL: nothing. */
static lmf_status find_reference(maker *m, lmf_samples *all, json_t *row, const char **out)
{
    bool has;
    *out = NULL;
    LMF_TRY(lmf_prompt_reference(m->rows, m->chat, row, &m->other, &has));
    if (!has)
        return LMF_OK;
    *out = lmf_arena_strndup(&all->arena, lmf_buf_str(&m->other), m->other.n);
    return *out ? LMF_OK : LMF_NO_MEMORY(all->ctx, m->other.n, "a row's answer");
}

/* What is to be answered, and the row beside it. */
static lmf_status make_prompt(maker *m, lmf_samples *all, int64_t i, json_t *row)
{
    lmf_prompt *p = lmf_arena_alloc(&all->arena, sizeof *p);
    reset(m);
    LMF_TRY(lmf_prompt_encode(m->chat, row, &m->ids));
    if (!m->ids.n)
        return refuse(m, "the prompt is empty: there is nothing to answer");
    if (m->ids.n > (size_t)m->opts->max_tok && m->opts->too_long != LMF_LONG_SKIP)
        return LMF_FAIL(all->ctx, LMF_E_BUSY, "a prompt of %zu tokens, more than the %d of a sequence; --too-long skip goes on without it",
                        m->ids.n, m->opts->max_tok);
    if (m->ids.n > (size_t)m->opts->max_tok) {
        all->n_skipped++;
        return LMF_OK;
    }
    LMF_TRY(mark(m)); /* sizes the mask: there are no spans */
    LMF_TRY(lmf_json_text(all->ctx, row, JSON_COMPACT, &m->text));
    LMF_TRY(add_sample(all, m, i, m->ids.data, m->learn, m->ids.n));
    if (!p || !(p->row = lmf_arena_strndup(&all->arena, lmf_buf_str(&m->text), m->text.n)))
        return LMF_NO_MEMORY(all->ctx, m->text.n, "a prompt");
    all->items[all->n - 1].prompt = p;
    return find_reference(m, all, row, &p->reference);
}

/* The first of the forms taken that the row holds; 0: none. */
static uint32_t form_of(const json_t *row, uint32_t takes)
{
    bool completion = json_is_string(json_object_get(row, "prompt")) && json_is_string(json_object_get(row, "completion"));
    uint32_t holds = json_object_get(row, "messages") ? LMF_TAKES_MESSAGES : 0;
    holds |= completion ? LMF_TAKES_COMPLETION : 0;
    holds |= json_is_string(json_object_get(row, "text")) ? LMF_TAKES_TEXT : 0;
    holds |= lmf__row_is_preference(row) ? LMF_TAKES_PREFERENCE : 0;
    holds |= json_object_get(row, "label") && (completion || json_object_get(row, "messages")) ? LMF_TAKES_LABELLED : 0;
    holds |= json_is_array(json_object_get(row, "segments")) ? LMF_TAKES_SEGMENTS : 0;
    holds |= json_is_string(json_object_get(row, "prompt")) || json_object_get(row, "messages") ? LMF_TAKES_PROMPT : 0;
    holds &= takes;
    return holds & (~holds + 1);
}

static lmf_status refuse_form(const maker *m, uint32_t takes)
{
    static const char *const names[] = { "\"messages\"", "\"prompt\" and \"completion\"", "\"text\"", "\"chosen\" and \"rejected\"",
                                         "\"prompt\", \"completion\" and \"label\"", "\"segments\"",
                                         "\"prompt\" or \"messages\"" };
    char text[192] = "";
    for (int i = 0, n = 0; i < 7; i++)
        if (takes >> i & 1)
            n += snprintf(text + n, sizeof text - (size_t)n, "%s%s", n ? ", or " : "", names[i]);
    return LMF_FAIL(m->chat->ctx, LMF_E_FORMAT, "rows with %s are wanted here, and this one has nothing of the kind", text);
}

/* Row i as a group; too_long: what is wrong is its length, which has a policy of its own. A group is kept whole or not at all. */
static lmf_status add_row(maker *m, int64_t i, lmf_samples *all, bool *too_long)
{
    lmf_samples before = *all;
    json_t *row;
    *too_long = false;
    LMF_TRY(lmf_row_get(m->rows, i, &row));
    uint32_t takes = m->opts->takes, form = form_of(row, takes);
    lmf_status s = !form ? refuse_form(m, takes) : form == LMF_TAKES_PREFERENCE ? make_pair(m, all, i, row)
                 : form == LMF_TAKES_LABELLED ? make_labelled(m, all, i, row)
                 : form == LMF_TAKES_PROMPT ? make_prompt(m, all, i, row) : make_one(m, all, i, row, 0);
    json_decref(row);
    bool whole = all->group_size == 1 ? all->n > before.n : all->n - before.n == all->group_size;
    if (s || !whole) {
        before.arena = all->arena; /* what was taken from it stays taken */
        before.items = all->items, before.cap = all->cap;
        *all = before;
        all->n_skipped += !s;
    }
    if (all->n_truncated > before.n_truncated)
        all->n_truncated = before.n_truncated + 1;
    *too_long = s == LMF_E_BUSY;
    return s ? lmf_fail_prefix(m->chat->ctx, *too_long ? LMF_E_LIMIT : s, "%s, %s %lld", m->rows->path, m->rows->unit,
                               (long long)m->rows->items[i].line) : LMF_OK;
}

static lmf_status make_all(maker *m, lmf_samples *all)
{
    const lmf_rows *rows = m->rows;
    char first[sizeof rows->first_bad];
    bool too_long;
    memcpy(first, rows->first_bad, sizeof first);
    for (int64_t i = 0; i < rows->n; i++) {
        lmf_status s = add_row(m, i, all, &too_long);
        if (!s || !rows->skip_bad || too_long || !lmf_row_is_bad(s)) {
            LMF_TRY(s);
            continue;
        }
        if (all->n_bad++ == 0)
            snprintf(first, sizeof first, "%s", lmf_error(all->ctx));
    }
    memcpy(all->first_bad, first, sizeof first);
    if (all->n)
        return LMF_OK;
    if (all->n_bad > rows->n_bad)
        return LMF_FAIL(all->ctx, LMF_E_FORMAT, "%s: none of the %lld rows can be used. The first: %s", rows->path,
                        (long long)(rows->n + rows->n_bad), first);
    return LMF_FAIL(all->ctx, LMF_E_FORMAT, "%s: none of the %lld rows fits into %d tokens", rows->path, (long long)rows->n,
                    m->opts->max_tok);
}

lmf_status lmf_samples_create_of(const lmf_rows *rows, const lmf_chat *chat, uint32_t takes, int32_t max_tok, lmf_too_long policy,
                                 lmf_samples **out)
{
    return lmf_samples_create_with(rows, chat, &(lmf_samples_opts){ takes, max_tok, policy, LMF_TRAIN_ANSWERS }, out);
}

lmf_status lmf_samples_create_with(const lmf_rows *rows, const lmf_chat *chat, const lmf_samples_opts *opts, lmf_samples **out)
{
    lmf_ctx *ctx = chat->ctx;
    uint32_t takes = opts->takes;
    maker m = { .rows = rows, .chat = chat, .opts = opts, .foreign = { .ctx = ctx }, .spare = { .ctx = ctx } };
    *out = NULL;
    uint32_t alone = takes & (LMF_TAKES_PREFERENCE | LMF_TAKES_LABELLED | LMF_TAKES_PROMPT);
    if (!takes || (alone && takes != LMF_TAKES_PREFERENCE && takes != LMF_TAKES_LABELLED && takes != LMF_TAKES_PROMPT))
        return LMF_FAIL(ctx, LMF_E_ARG, "pairs of answers, answers with labels, and prompts stand alone: no other rows beside them");
    LMF_TRY(lmf_chat_find_forms(chat, &m.forms));
    lmf_samples *all = lmf_new(ctx, lmf_samples);
    if (!all)
        return LMF_NO_MEMORY(ctx, sizeof *all, "samples");
    all->ctx = ctx;
    all->n_bad = rows->n_bad;
    all->group_size = alone && takes != LMF_TAKES_PROMPT ? 2 : 1;
    all->n_measured = takes == LMF_TAKES_LABELLED;
    lmf_arena_init(&all->arena, ctx, LMF_POWER2(36));
    lmf_buf_init(&m.text, ctx, ROW_MAX_BYTES);
    lmf_buf_init(&m.prefix, ctx, ROW_MAX_BYTES);
    lmf_buf_init(&m.other, ctx, ROW_MAX_BYTES);
    lmf_ids_init(&m.ids, ctx, ROW_MAX_TOK);
    lmf_span_list_init(&m.spans, ctx);
    size_t n = (size_t)rows->n * (size_t)all->group_size;
    all->items = lmf_arena_array(&all->arena, n, sizeof *all->items);
    all->cap = (int64_t)n;
    lmf_status s = all->items ? make_all(&m, all) : LMF_NO_MEMORY(ctx, n * sizeof *all->items, "samples");
    if (!s && takes == LMF_TAKES_LABELLED && (s = make_mismatches(all, opts->max_tok)))
        s = lmf_fail_prefix(ctx, s, "%s", rows->path);
    maker_clear(&m);
    if (s)
        lmf_samples_destroy(all);
    else
        *out = all;
    return s;
}

lmf_status lmf_samples_create(const lmf_rows *rows, const lmf_chat *chat, int32_t max_tok, lmf_too_long policy, lmf_samples **out)
{
    return lmf_samples_create_of(rows, chat, LMF_TAKES_SINGLE, max_tok, policy, out);
}

int32_t lmf_samples_group_tok(const lmf_samples *s, int64_t g)
{
    int32_t size = lmf_samples_group_size(s), n = 0;
    for (int32_t k = 0; k < lmf_samples_n_trained(s); k++)
        n += s->items[g * size + k].n;
    return n;
}

int32_t lmf_samples_longest_group(const lmf_samples *s)
{
    int32_t longest = 0;
    for (int64_t g = 0; g < lmf_samples_n_groups(s); g++) {
        int32_t n = lmf_samples_group_tok(s, g), size = lmf_samples_group_size(s);
        for (int32_t k = lmf_samples_n_trained(s); k < size; k++)
            n = s->items[g * size + k].n > n ? s->items[g * size + k].n : n;
        longest = n > longest ? n : longest;
    }
    return longest;
}

lmf_status lmf_samples_sha256(const lmf_samples *sm, lmf_ctx *ctx, char hex[65])
{
    lmf_buf ids;
    lmf_buf_init(&ids, ctx, SIZE_MAX / 8);
    for (int64_t i = 0; i < sm->n; i++) {
        lmf_buf_append(&ids, &sm->items[i].n, sizeof sm->items[i].n);
        lmf_buf_append(&ids, sm->items[i].id, (size_t)sm->items[i].n * sizeof(int32_t));
        lmf_buf_append(&ids, sm->items[i].learn, (size_t)sm->items[i].n);
    }
    for (int64_t i = 0; i < sm->n && sm->n_measured; i++)
        lmf_buf_append(&ids, &sm->items[i].label, 1);
    for (int64_t i = 0; i < sm->n; i++)
        if (sm->items[i].prompt)
            lmf_buf_puts(&ids, sm->items[i].prompt->row);
    if (lmf_samples_group_size(sm) > 1)
        lmf_buf_append(&ids, &sm->group_size, sizeof sm->group_size);
    lmf_status s = ids.status ? ids.status : lmf_sha256_hex(ctx, lmf_buf_str(&ids), ids.n, hex);
    lmf_buf_clear(&ids);
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

lmf_status lmf_row_prompt(const lmf_rows *rows, int64_t i, const lmf_chat *chat, lmf_ids *ids)
{
    json_t *row;
    LMF_TRY(lmf_row_get(rows, i, &row));
    bool ok = json_object_get(row, "messages") || json_is_string(json_object_get(row, "completion"));
    lmf_status s = ok ? lmf_prompt_encode(chat, row, ids)
                      : LMF_FAIL(chat->ctx, LMF_E_FORMAT, "a test row has messages, or prompt and completion");
    json_decref(row);
    return s ? lmf_fail_prefix(chat->ctx, s, "%s, %s %lld", rows->path, rows->unit, (long long)rows->items[i].line) : LMF_OK;
}

lmf_status lmf_prompt_reference(const lmf_rows *rows, const lmf_chat *chat, json_t *row, lmf_buf *out, bool *has)
{
    const json_t *answer = json_object_get(row, "answer");
    bool own = answer && !json_is_null(answer);
    *has = own || lmf_row_last_answer(row) != SIZE_MAX || json_is_string(json_object_get(row, "completion"));
    lmf_buf_truncate(out, 0);
    if (!own)
        return *has ? lmf_row_reference(rows, chat, row, out) : LMF_OK;
    return json_is_string(answer) ? lmf_buf_puts(out, json_string_value(answer))
                                  : lmf_json_text(chat->ctx, answer, JSON_COMPACT | JSON_ENCODE_ANY, out);
}

/* What the template makes of the last answer, its end of turn left out. */
static lmf_status rendered_reference(maker *m, json_t *row, lmf_buf *out)
{
    size_t last = lmf_row_last_answer(row);
    json_t *vars = with_messages(row, last + 1);
    if (!vars)
        return LMF_NO_MEMORY(m->chat->ctx, 1024, "a conversation");
    json_object_del(json_array_get(json_object_get(vars, "messages"), last), "weight"); /* not learned is measured all the same */
    lmf_status s = make_messages(m, vars, 0);
    json_decref(vars);
    LMF_TRY(s);
    size_t end = m->ids.n, begin;
    while (end && !m->learn[end - 1])
        end--;
    for (begin = end; begin && m->learn[begin - 1];)
        begin--;
    return lmf_tokenizer_decode(m->chat->tokenizer, m->ids.data + begin, end - begin, LMF_DECODE_SKIP_SPECIAL, out);
}

lmf_status lmf_row_reference(const lmf_rows *rows, const lmf_chat *chat, json_t *row, lmf_buf *out)
{
    const json_t *message = json_array_get(json_object_get(row, "messages"), lmf_row_last_answer(row));
    lmf_buf_truncate(out, 0);
    if (!json_object_get(message, "tool_calls")) {
        lmf_chat_forms joined = { 0 };
        LMF_TRY(lmf_chat_fit(chat, &joined, row));
        const json_t *text = message ? json_object_get(message, "content") : json_object_get(row, "completion");
        return lmf_buf_append(out, json_string_value(text) ? json_string_value(text) : "", json_string_length(text));
    }
    static const lmf_samples_opts plain;
    maker m = { .rows = rows, .chat = chat, .opts = &plain, .foreign = { .ctx = chat->ctx }, .spare = { .ctx = chat->ctx } };
    LMF_TRY(lmf_chat_find_forms(chat, &m.forms));
    lmf_buf_init(&m.text, chat->ctx, ROW_MAX_BYTES);
    lmf_buf_init(&m.prefix, chat->ctx, ROW_MAX_BYTES);
    lmf_buf_init(&m.other, chat->ctx, ROW_MAX_BYTES);
    lmf_ids_init(&m.ids, chat->ctx, ROW_MAX_TOK);
    lmf_span_list_init(&m.spans, chat->ctx);
    lmf_status s = rendered_reference(&m, row, out);
    maker_clear(&m);
    return s;
}

lmf_status lmf_rows_keep(lmf_rows *rows, const lmf_samples *samples)
{
    int64_t n = 0;
    LMF_ASSERT(lmf_samples_group_size(samples) == 1);
    for (; n < samples->n; n++) /* ascending */
        rows->items[n] = rows->items[samples->items[n].i_row];
    rows->n = n;
    rows->n_bad = samples->n_bad;
    memcpy(rows->first_bad, samples->first_bad, sizeof rows->first_bad);
    return n ? LMF_OK : LMF_FAIL(rows->ctx, LMF_E_FORMAT, "%s holds no rows that can be used", rows->path);
}
