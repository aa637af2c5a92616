/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what a GGUF file has no place for is named before the file is called verified. llama.cpp and its kin know a vocabulary by its
 * tokens,
 * their kinds, merges and the pre-tokenizer's name; there is no normalizer, no flag of a token, and three keys for what ends an answer. */
#include <stdio.h>
#include <string.h>
#include "export/parts.h"
#include "text/tokenizer/pretok.h"
#include "text/tokenizer/scores.h"

enum { MAX_PAIRS = 1 << 22 };

static void say(lmf_exporter *x, const char *text)
{
    char *to = x->report->losses;
    size_t n = strlen(to);
    snprintf(to + n, LMF_EXPORT_LOSSES - n, "%s%s", n ? "; " : "", text);
}

static bool is_added(const lmf_vocab *v, size_t i)
{
    return v->kind && (v->kind[i] == LMF_TOKEN_CONTROL || v->kind[i] == LMF_TOKEN_UNKNOWN || v->kind[i] == LMF_TOKEN_USER_DEFINED);
}

static lmf_bytes text_of(const lmf_vocab *v, size_t i)
{
    return (lmf_bytes){ v->token[i], v->token_bytes ? v->token_bytes[i] : strlen(v->token[i]) };
}

static void say_flags(lmf_exporter *x)
{
    const lmf_vocab *v = &x->model->vocab;
    size_t n = 0, first = 0;
    char text[256];
    for (size_t i = 0; v->added && i < v->n_tokens; i++)
        if (is_added(v, i) && (v->added[i] & (LMF_ADDED_LSTRIP | LMF_ADDED_RSTRIP | LMF_ADDED_SINGLE_WORD)))
            first = n++ ? first : i;
    lmf_bytes t = text_of(v, first);
    snprintf(text, sizeof text, "flags (lstrip, rstrip, single_word) of %zu tokens, %.*s the first", n, (int)(t.n < 100 ? t.n : 100), t.p);
    if (n)
        say(x, text);
}

/* Whether b can lie within a or begin at a's end. */
static bool runs_into(lmf_bytes a, lmf_bytes b)
{
    for (size_t at = 0; at < a.n; at++) {
        size_t n = a.n - at < b.n ? a.n - at : b.n;
        if (memcmp(a.p + at, b.p, n) == 0 && (at || n == b.n))
            return true;
    }
    return false;
}

/* Where tokens that are looked for at first and later overlap, looking for both at once may find the other. */
static bool is_overlap(const lmf_vocab *v, size_t i, size_t k)
{
    bool one_is_late = (v->added[i] & LMF_ADDED_NORMALIZED) && !(v->added[k] & LMF_ADDED_NORMALIZED);
    return one_is_late && (runs_into(text_of(v, i), text_of(v, k)) || runs_into(text_of(v, k), text_of(v, i)));
}

static lmf_status say_order(lmf_exporter *x)
{
    const lmf_vocab *v = &x->model->vocab;
    size_t n = 0, n_late = 0, *id;
    for (size_t i = 0; v->added && i < v->n_tokens; i++)
        n += is_added(v, i), n_late += is_added(v, i) && (v->added[i] & LMF_ADDED_NORMALIZED);
    if (!n_late || n_late == n)
        return LMF_OK;
    if (!(id = lmf_arena_array(&x->arena, n, sizeof *id)))
        return LMF_NO_MEMORY(x->ctx, n * sizeof *id, "added tokens");
    n = 0;
    for (size_t i = 0; i < v->n_tokens; i++)
        if (is_added(v, i))
            id[n++] = i;
    bool found = n * n > MAX_PAIRS;
    for (size_t i = 0; i < n && !found; i++)
        for (size_t k = 0; k < n && !found; k++)
            found = is_overlap(v, id[i], id[k]);
    if (found)
        say(x, "the order in which added tokens that overlap are looked for (normalized)");
    return LMF_OK;
}

/* ignore_merges goes with the pre-tokenizer's name: said where it changes the ids of a token's own text. */
static lmf_status say_merges(lmf_exporter *x)
{
    const lmf_model *m = x->model;
    const lmf_pretok *p = m->vocab.pretok ? lmf_pretok_find(x->ctx, m->vocab.pretok) : NULL;
    lmf_tokenizer *other;
    lmf_ids a, b;
    if (m->vocab.whole_words == LMF_BY_FAMILY || !p || p->whole_words == (m->vocab.whole_words == LMF_YES))
        return LMF_OK;
    lmf_vocab v = m->vocab;
    v.whole_words = LMF_BY_FAMILY;
    LMF_TRY(lmf_tokenizer_create(x->ctx, &v, &other));
    lmf_ids_init(&a, x->ctx, 1 << 20);
    lmf_ids_init(&b, x->ctx, 1 << 20);
    lmf_status s = LMF_OK;
    bool same = true;
    for (size_t i = 0, n; i < v.n_tokens && same && !s; i++) {
        const char *text = (const char *)lmf_tokenizer_piece(m->tokenizer, (int32_t)i, &n);
        a.n = b.n = 0;
        s = lmf_tokenizer_encode(m->tokenizer, text, n, LMF_ENCODE_PLAIN, &a);
        if (!s)
            s = lmf_tokenizer_encode(other, text, n, LMF_ENCODE_PLAIN, &b);
        same = s || (a.n == b.n && (a.n == 0 || !memcmp(a.data, b.data, a.n * sizeof *a.data)));
    }
    if (!same)
        say(x, p->whole_words ? "ignore_merges false: the pre-tokenizer's name stands for true"
            : "ignore_merges true: the pre-tokenizer's name stands for false");
    lmf_ids_clear(&a);
    lmf_ids_clear(&b);
    lmf_tokenizer_destroy(other);
    return s;
}

static bool has_end(const lmf_exporter *x, int32_t id)
{
    return id < 0 || x->end[0] == id || x->end[1] == id || x->end[2] == id;
}

/* Three keys; a reader finds the template's own turn end by itself, but those that don't are helped by a key. */
static void choose_ends(lmf_exporter *x)
{
    const lmf_chat *c = &x->model->chat;
    const lmf_token_ids *id = lmf_tokenizer_ids(x->model->tokenizer);
    char text[256];
    size_t n = 0;
    x->end[0] = x->end[1] = x->end[2] = -1;
    x->end[0] = id->eos >= 0 ? id->eos : c->n_eos ? c->eos[0] : -1;
    x->end[1] = has_end(x, x->model->vocab.eot) ? -1 : x->model->vocab.eot;
    for (int k = 1; k < 3; k++) {
        if (x->end[k] < 0 && !has_end(x, c->turn_end))
            x->end[k] = c->turn_end;
        for (int i = 0; i < c->n_eos && x->end[k] < 0; i++)
            x->end[k] = has_end(x, c->eos[i]) ? -1 : c->eos[i];
    }
    x->n_lost_ends = 0;
    for (int i = 0; i < c->n_eos; i++)
        if (!has_end(x, c->eos[i]))
            x->lost_end[x->n_lost_ends++] = c->eos[i];
    for (int i = 0; i < x->n_lost_ends; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "%s%d", i ? ", " : "ends of an answer beyond three: the tokens ", x->lost_end[i]);
    if (x->n_lost_ends)
        say(x, text);
}

/* A key for the id is a name for templates. */
static void say_names(lmf_exporter *x)
{
    const lmf_model *m = x->model;
    const lmf_token_ids *id = lmf_tokenizer_ids(m->tokenizer);
    if (m->chat_source && id->bos >= 0 && id->bos_unnamed && strstr(m->chat_source, "bos_token"))
        say(x, "that the model names no bos_token: its chat template will see one");
    if (m->chat_source && x->end[0] >= 0 && (id->eos < 0 || id->eos_unnamed) && strstr(m->chat_source, "eos_token"))
        say(x, "that the model names no eos_token: its chat template will see one");
}

bool lmf__export_is_word(const char *name)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_";
    return *name && strlen(name) <= 64 && !name[strspn(name, allowed)];
}

void lmf__export_say_template(lmf_exporter *x)
{
    if (x->model->chat.broken && !x->model->chat_source && !x->model->n_templates)
        say(x, "the chat template, which can't be read");
}

static void say_templates(lmf_exporter *x)
{
    size_t n = 0;
    char text[64];
    for (size_t i = 0; i < x->model->n_templates; i++)
        n += !lmf__export_is_word(x->model->templates[i].name);
    snprintf(text, sizeof text, "%zu chat templates with names that are no word", n);
    if (n)
        say(x, text);
}

bool lmf__export_is_spaced(const lmf_exporter *x)
{
    return x->model->vocab.model && !strcmp(x->model->vocab.model, "llama");
}

void lmf__export_say_overlap(lmf_exporter *x, size_t n)
{
    char text[128];
    snprintf(text, sizeof text, "which of two merges that give the same token is first where they overlap (%zu tokens)", n);
    if (n)
        say(x, text);
}

static const char late_lead[] = "that behind an added token no space is put in front of text that begins with one";

/* A tokenizer.model's pieces of the user's are found where spaces are U+2581 and one is in front; other files have them cut out before. */
static void say_late_pieces(lmf_exporter *x, bool leads)
{
    const lmf_vocab *v = &x->model->vocab;
    bool late = false;
    for (size_t i = 0; v->prepend && v->added && i < v->n_tokens; i++)
        late |= (v->added[i] & LMF_ADDED_NORMALIZED) && (leads || strstr(v->token[i], LMF_SPACE_MARK));
    if (late)
        say(x, "that user-defined pieces are found behind the space in front, and with spaces in them: readers cut them out before");
}

/* A tokenizer.json says what a tokenizer.model does but for spaces beside added tokens and in front of spaces. */
lmf_status lmf__export_losses_hf(lmf_exporter *x)
{
    const lmf_vocab *v = &x->model->vocab;
    bool leads = v->n_norm && v->norm[0].kind == LMF_NORM_PREPEND;
    if (!v->prepend)
        return LMF_OK;
    uint8_t *added = lmf_arena_alloc(&x->arena, v->n_tokens);
    if (!added)
        return LMF_NO_MEMORY(x->ctx, v->n_tokens, "the vocabulary");
    for (size_t i = 0; i < v->n_tokens; i++)
        added[i] = v->added ? v->added[i] & (uint8_t)~LMF_ADDED_NORMALIZED : 0;
    x->added = added;
    x->leads_first = leads && v->prepend == LMF_PREPEND_FIRST;
    if (x->leads_first)
        say(x, "that a space is put in front of a text that begins with one, too");
    else if (leads)
        say(x, late_lead);
    say_late_pieces(x, leads);
    return LMF_OK;
}

/* SentencePiece's kind: GGUF knows scores, and one way to put a space in front. */
static lmf_status say_spaced(lmf_exporter *x)
{
    const lmf_vocab *v = &x->model->vocab;
    bool leads = v->lead != LMF_LEAD_NEVER, other = false, same = true;
    size_t n_overlap = 0, n_bytes = 0;
    for (size_t i = 0; i < v->n_norm; i++)
        if (v->norm[i].kind == LMF_NORM_PREPEND)
            leads = true;
        else
            other |= v->norm[i].kind < LMF_NORM_PREPEND;
    for (size_t i = 0; i < v->n_tokens; i++)
        n_bytes += v->kind && v->kind[i] == LMF_TOKEN_BYTE;
    x->leads = leads;
    x->norm[0] = (lmf_norm_step){ LMF_NORM_PREPEND, NULL, " ", 0, 1 };
    x->norm[1] = (lmf_norm_step){ LMF_NORM_REPLACE, LMF_SPACE_MARK, " ", 3, 1 };
    if (other)
        say(x, "the normalizer: readers take text as it is, composed or not");
    if (v->lead == LMF_LEAD_FIRST || (leads && v->prepend == LMF_PREPEND_FIRST))
        say(x, "that a space is put in front of the first text alone: readers put one behind every added token");
    if (v->lead == LMF_LEAD_ALWAYS)
        say(x, "that no space is put in front of text that begins with one");
    if (v->each_space)
        say(x, "that no merge goes beyond a space");
    if (v->whole_words == LMF_YES)
        say(x, "ignore_merges true");
    if (v->strip != leads)
        say(x, v->strip ? "that a first space is left out when ids become text" : "that a first space is kept when ids become text");
    if (!v->fuse_unk && n_bytes < 256)
        say(x, "that unknown characters in a row are a token each");
    if (leads && v->prepend == LMF_PREPEND_GAPS)
        say(x, late_lead);
    say_late_pieces(x, leads);
    x->score = v->score;
    if (v->score)
        return LMF_OK;
    float *score;
    LMF_TRY(lmf_scores_of_pairs(x->model->tokenizer, &x->arena, &score, &same, &n_overlap));
    x->score = score;
    if (!same)
        say(x, "the order of merges: readers merge any two tokens that are one together, by a score a token");
    lmf__export_say_overlap(x, n_overlap);
    return LMF_OK;
}

lmf_status lmf__export_losses(lmf_exporter *x)
{
    x->report->losses[0] = 0;
    if (lmf__export_is_spaced(x))
        LMF_TRY(say_spaced(x));
    else if (x->model->vocab.n_norm)
        say(x, "the normalizer: readers take text as it is, composed or not");
    say_flags(x);
    LMF_TRY(say_order(x));
    LMF_TRY(say_merges(x));
    choose_ends(x);
    say_names(x);
    say_templates(x);
    lmf__export_say_template(x);
    return LMF_OK;
}

lmf_vocab lmf__export_vocab(const lmf_exporter *x)
{
    lmf_vocab v = x->model->vocab;
    if (x->added)
        v.added = x->added;
    v.prepend = LMF_PREPEND_EACH;
    if (x->leads_first)
        v.norm++, v.n_norm--, v.lead = LMF_LEAD_FIRST;
    if (x->opts->format == LMF_EXPORT_GGUF) {
        v.added = NULL;
        v.norm = NULL;
        v.n_norm = 0;
        v.whole_words = LMF_BY_FAMILY;
        if (lmf__export_is_spaced(x)) {
            v.score = x->score;
            v.n_merges = 0;
            v.norm = x->norm + !x->leads;
            v.n_norm = 1 + x->leads;
            v.lead = LMF_LEAD_NEVER;
            v.each_space = v.marked = false;
            v.strip = x->leads;
            v.fuse_unk = true;
        }
        v.eos = x->end[0];
        v.bos_unnamed = v.eos_unnamed = false;
    }
    return v;
}
