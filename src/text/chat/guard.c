/* SPDX-License-Identifier: Apache-2.0 */
/* The guard: control tokens that a user spells stay text. Each gets a mark inside, a noncharacter that occurs nowhere in the row, before
 * the template runs; afterwards the marks come out again, and where they were is where no control token may lie. So it holds wherever a
 * template puts the text, trimmed or split.
 * Rule: the text that is encoded is byte for byte what the template would have made without the guard. */
#include <stdio.h>
#include <string.h>
#include "text/chat/chat.h"

enum { MAX_ROW_BYTES = 1 << 26, FIRST_MARK = 0x90, LAST_MARK = 0xaf, MARK_BYTES = 3, ESCAPE_BYTES =
    6 }; /* U+FDD0 to U+FDEF: EF B7 90 to EF B7 AF */

typedef struct mark { char bytes[MARK_BYTES + 1], escape[ESCAPE_BYTES + 1]; } mark;

void lmf_positions_clear(lmf_positions *p)
{
    lmf_free(p->ctx, p->items, p->cap * sizeof *p->items);
    *p = (lmf_positions){ .ctx = p->ctx };
}

static lmf_status push(lmf_positions *p, size_t at)
{
    if (p->n == p->cap) {
        size_t cap = p->cap ? 2 * p->cap : 16;
        size_t *items = lmf_realloc(p->ctx, p->items, p->cap * sizeof *items, cap * sizeof *items);
        if (!items)
            return LMF_NO_MEMORY(p->ctx, cap * sizeof *items, "positions");
        p->items = items;
        p->cap = cap;
    }
    p->items[p->n++] = at;
    return LMF_OK;
}

static bool spells_control(const lmf_chat *c, const json_t *s)
{
    size_t bytes, n = json_string_length(s);
    for (size_t at = 0; at < n; at++)
        if (lmf_tokenizer_control_at(c->tokenizer, json_string_value(s), n, at, &bytes) >= 0)
            return true;
    return false;
}

static bool holds(const char *p, size_t n, const mark *m)
{
    return memmem(p, n, m->bytes, MARK_BYTES) || memmem(p, n, m->escape, ESCAPE_BYTES);
}

typedef struct walker { const lmf_chat *chat; const mark *mark; bool found; lmf_status status; } walker;

/* Control token by control token, with the mark behind its first character; before it where it is one character. */
static json_t *marked(walker *w, const json_t *s)
{
    const char *p = json_string_value(s);
    size_t n = json_string_length(s), bytes;
    lmf_buf out;
    lmf_buf_init(&out, w->chat->ctx, 4 * n + MARK_BYTES);
    for (size_t at = 0; at < n;) {
        size_t len = 1;
        while (at + len < n && ((unsigned char)p[at + len] & 0xc0) == 0x80)
            len++;
        bool hit = lmf_tokenizer_control_at(w->chat->tokenizer, p, n, at, &bytes) >= 0;
        if (hit && bytes <= len)
            lmf_buf_append(&out, w->mark->bytes, MARK_BYTES);
        lmf_buf_append(&out, p + at, len);
        if (hit && bytes > len)
            lmf_buf_append(&out, w->mark->bytes, MARK_BYTES);
        at += len;
    }
    w->status = out.status;
    json_t *j = out.status ? NULL : json_stringn(lmf_buf_str(&out), out.n);
    lmf_buf_clear(&out);
    return j;
}

/* With a mark: marks every string below v. Without: finds out whether one needs it, or (chat NULL) holds the mark already. */
static json_t *visit(walker *w, json_t *v, int depth);

static void visit_children(walker *w, json_t *v, int depth)
{
    const char *key;
    json_t *child;
    void *next;
    if (depth > 200 || w->status)
        return;
    for (size_t i = 0; i < json_array_size(v); i++)
        if ((child = visit(w, json_array_get(v, i), depth + 1)))
            json_array_set_new(v, i, child);
    json_object_foreach_safe(v, next, key, child)
        if (strcmp(key, "role") && (child = visit(w, child, depth + 1)))
            json_object_set_new(v, key, child);
}

static json_t *visit(walker *w, json_t *v, int depth)
{
    if (!json_is_string(v))
        return visit_children(w, v, depth), NULL;
    if (!spells_control(w->chat, v))
        return NULL;
    w->found = true;
    return w->mark ? marked(w, v) : NULL;
}

/* All that is not the template's and not the assistant's. */
static void visit_foreign(walker *w, json_t *vars)
{
    const char *key;
    json_t *value;
    json_object_foreach(vars, key, value) {
        if (strcmp(key, "messages")) {
            json_t *s = visit(w, value, 0);
            if (s)
                json_object_set_new(vars, key, s);
            continue;
        }
        for (size_t i = 0; i < json_array_size(value); i++) {
            json_t *m = json_array_get(value, i);
            const char *role = json_string_value(json_object_get(m, "role"));
            if (w->chat->control == LMF_CONTROL_NOWHERE || !role || strcmp(role, "assistant"))
                visit_children(w, m, 0);
        }
    }
}

static int append(const char *p, size_t n, void *out) { return lmf_buf_append(out, p, n) ? -1 : 0; }

/* A mark that is nowhere in vars. */
static lmf_status choose(const lmf_chat *c, const json_t *vars, mark *m)
{
    lmf_buf text;
    lmf_buf_init(&text, c->ctx, MAX_ROW_BYTES);
    lmf_status s = json_dump_callback(vars, append, &text, JSON_COMPACT) ? LMF_NO_MEMORY(c->ctx, text.n, "a conversation") : LMF_OK;
    bool found = false;
    for (int last = FIRST_MARK; !s && !found && last <= LAST_MARK; last++) {
        snprintf(m->bytes, sizeof m->bytes, "\xef\xb7%c", last);
        snprintf(m->escape, sizeof m->escape, "\\ufd%02x", 0xd0 + last - FIRST_MARK);
        found = !holds(lmf_buf_str(&text), text.n, m);
    }
    lmf_buf_clear(&text);
    return s || found ? s : LMF_FAIL(c->ctx, LMF_E_FORMAT, "a text holds all of the noncharacters U+FDD0 to U+FDEF");
}

/* Takes the marks out of out and notes where they were; spans move along. */
static lmf_status take_out(const mark *m, lmf_buf *out, lmf_span_list *spans, lmf_positions *foreign)
{
    size_t k = 0, n_taken = 0;
    for (size_t i = 0; i < out->n;) {
        size_t len = out->n - i >= MARK_BYTES && !memcmp(out->data + i, m->bytes, MARK_BYTES) ? MARK_BYTES
                   : out->n - i >= ESCAPE_BYTES && !memcmp(out->data + i, m->escape, ESCAPE_BYTES) ? ESCAPE_BYTES : 0;
        if (len) {
            LMF_TRY(push(foreign, k));
            for (size_t s = 0; spans && s < spans->n; s++) { /* i - n_taken: this mark's place among what was shifted before */
                spans->items[s].begin -= spans->items[s].begin > k ? len : 0;
                spans->items[s].end -= spans->items[s].end > k ? len : 0;
            }
            i += len, n_taken += len;
        } else {
            out->data[k++] = out->data[i++];
        }
    }
    lmf_buf_truncate(out, out->n - n_taken);
    return LMF_OK;
}

lmf_status lmf_chat_render_guarded(const lmf_chat *c, json_t *vars, bool add_generation_prompt, lmf_buf *out, lmf_span_list *spans,
                                   lmf_positions *foreign)
{
    walker w = { .chat = c };
    mark m;
    foreign->n = 0;
    if (c->control != LMF_CONTROL_EVERYWHERE)
        visit_foreign(&w, vars);
    if (!w.found)
        return lmf_chat_render(c, vars, add_generation_prompt, out, spans);
    LMF_TRY(choose(c, vars, &m));
    json_t *copy = json_deep_copy(vars);
    if (!copy)
        return LMF_NO_MEMORY(c->ctx, 1024, "a conversation");
    w.mark = &m;
    visit_foreign(&w, copy);
    lmf_status s = w.status;
    if (!s)
        s = lmf_chat_render(c, copy, add_generation_prompt, out, spans);
    if (!s)
        s = take_out(&m, out, spans, foreign);
    json_decref(copy);
    return s;
}
