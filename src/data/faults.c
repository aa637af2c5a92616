/* SPDX-License-Identifier: Apache-2.0 */
#include "data/faults.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/plain.h"

enum { SHOWN_BYTES = 600, MAX_TEXT = 1 << 26 };

void lmf_faults_init(lmf_faults *f, lmf_ctx *ctx)
{
    *f = (lmf_faults){ 0 };
    lmf_arena_init(&f->arena, ctx, 1 << 20);
}

void lmf_faults_clear(lmf_faults *f) { lmf_arena_clear(&f->arena); }

lmf_status lmf_faults_add(lmf_faults *f, const char *name, bool severe, const char *fmt, ...)
{
    char text[2048];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    if (f->n == LMF_MAX_FAULTS)
        return LMF_OK;
    char *own = lmf_arena_strdup(&f->arena, text);
    if (!own)
        return LMF_NO_MEMORY(f->arena.ctx, strlen(text), "a warning");
    f->item[f->n++] = (lmf_fault){ name, severe, own };
    return LMF_OK;
}

static void put_piece(const lmf_chat *chat, int32_t id, lmf_buf *out)
{
    size_t n;
    const char *p = (const char *)lmf_tokenizer_piece(chat->tokenizer, id, &n);
    for (size_t i = 0, k; i < n; i += k) {
        k = lmf_utf8_length(p + i, n - i);
        if (p[i] == '\n')
            lmf_buf_puts(out, "\\n\n");
        else if (k && !lmf_utf8_is_command(p + i, k))
            lmf_buf_append(out, p + i, k);
        else
            for (size_t b = 0; b < (k ? k : 1); b++)
                lmf_buf_printf(out, "\\x%02x", (unsigned char)p[i + b]);
        k = k ? k : 1;
    }
}

lmf_status lmf_sample_render(const lmf_chat *chat, const lmf_sample *s, const char *open, const char *close, lmf_buf *out)
{
    for (int32_t i = 0; i < s->n; i++) {
        if (s->learn[i] && (i == 0 || !s->learn[i - 1]))
            lmf_buf_puts(out, open);
        put_piece(chat, s->id[i], out);
        if (s->learn[i] && (i + 1 == s->n || !s->learn[i + 1]))
            lmf_buf_puts(out, close);
    }
    return out->status;
}

/* ---- the checks ---- */
typedef struct checker { const lmf_chat *chat; const lmf_dataset *data; lmf_faults *out; lmf_buf text; } checker;

/* The beginning of a sample, as one line. */
static lmf_status shown(checker *c, const lmf_sample *s, char line[SHOWN_BYTES])
{
    lmf_buf_truncate(&c->text, 0);
    LMF_TRY(lmf_sample_render(c->chat, s, "[[", "]]", &c->text));
    size_t k = 0;
    const char *p = lmf_buf_str(&c->text);
    for (size_t i = 0; i < c->text.n && k + 8 < SHOWN_BYTES; i++)
        if (p[i] != '\n')
            line[k++] = p[i];
    while (k && c->text.n > SHOWN_BYTES && ((unsigned char)line[k - 1] & 0xc0) == 0x80)
        k--;
    line[k] = 0;
    return LMF_OK;
}

static const lmf_data_file *file_of(const checker *c, const lmf_sample *s) { return &c->data->file[s->i_file]; }

static lmf_status doubled_bos(checker *c)
{
    int32_t bos = lmf_tokenizer_ids(c->chat->tokenizer)->bos;
    const lmf_samples *s = c->data->train;
    char line[SHOWN_BYTES];
    int64_t n = 0, first = -1;
    for (int64_t i = 0; bos >= 0 && i < s->n; i++)
        if (s->items[i].n > 1 && s->items[i].id[0] == bos && s->items[i].id[1] == bos && n++ == 0)
            first = i;
    if (!n)
        return LMF_OK;
    LMF_TRY(shown(c, &s->items[first], line));
    return lmf_faults_add(c->out, "doubled_bos", true,
                          "%lld of %lld samples begin with the token of the beginning twice: the text brings one, "
                          "and the tokenizer adds one. Leave it out of the data or the template. %s, %s %lld: %s", (long long)n,
                              (long long)s->n,
                          file_of(c, &s->items[first])->path, file_of(c, &s->items[first])->unit, (long long)s->items[first].line, line);
}

static lmf_status no_end(checker *c)
{
    const lmf_samples *s = c->data->train;
    char line[SHOWN_BYTES];
    for (int64_t i = 0; i < s->n; i++)
        for (int32_t k = 0; k < s->items[i].n; k++)
            if (s->items[i].learn[k] && lmf_chat_is_eos(c->chat, s->items[i].id[k]))
                return LMF_OK;
    LMF_TRY(shown(c, &s->items[0], line));
    return lmf_faults_add(c->out, "no_end", true, "no end of turn is learned in any of %lld samples, so that the model would never stop%s. "
                          "%s, %s %lld, what is learned in [[ ]]: %s", (long long)s->n,
                          c->chat->n_eos ? "" : " (and it has none: no token of it is known as an end)", file_of(c, &s->items[0])->path,
                          file_of(c, &s->items[0])->unit, (long long)s->items[0].line, line);
}

/* The next <|name|> in a text: where it begins and its length; false: none. */
static bool next_spelled(const char **p, size_t *n)
{
    for (; (*p = strstr(*p, "<|")); ++*p) {
        size_t k = 2 + strcspn(*p + 2, "|<> \n'\"{}");
        if (k > 2 && k < 60 && (*p)[k] == '|' && (*p)[k + 1] == '>') {
            *n = k + 2;
            return true;
        }
    }
    return false;
}

/* What the template spells and shows in samples, and no token is. */
static lmf_status split_tokens(checker *c, const char *source)
{
    const lmf_sample *s = &c->data->train->items[0];
    char name[64], line[SHOWN_BYTES];
    size_t n;
    if (!source)
        return LMF_OK;
    LMF_TRY(shown(c, s, line));
    for (const char *p = source; next_spelled(&p, &n); p += n) {
        snprintf(name, sizeof name, "%.*s", (int)n, p);
        if (lmf_tokenizer_find(c->chat->tokenizer, name, n) < 0 && strstr(lmf_buf_str(&c->text), name))
            return lmf_faults_add(c->out, "split_token", true, "the template writes %s, which is no token of this vocabulary: it would be "
                                  "learned letter by letter. Template and tokenizer are of two models. %s, %s %lld: %s", name,
                                  file_of(c, s)->path, file_of(c, s)->unit, (long long)s->line, line);
    }
    return LMF_OK;
}

static lmf_status shared_rows(checker *c, const lmf_samples *test)
{
    int64_t n, lines[2];
    char line[SHOWN_BYTES] = "";
    if (!test)
        return LMF_OK;
    LMF_TRY(lmf_samples_shared(c->data->train, test, &n, lines));
    if (!n)
        return LMF_OK;
    for (int64_t i = 0; i < test->n; i++)
        if (test->items[i].line == lines[1]) {
            LMF_TRY(shown(c, &test->items[i], line));
            break;
        }
    return lmf_faults_add(c->out, "shared_rows", true,
                          "%lld of %lld test rows are trained on, too, so that the measure is worth nothing. The "
                          "first: line %lld of the data is line %lld of the test: %s", (long long)n, (long long)lmf_samples_n_groups(test),
                          (long long)lines[0], (long long)lines[1], line);
}

static lmf_status cut_answers(checker *c)
{
    int64_t cut = 0, gone = 0, rows = 0;
    for (int i = 0; i < c->data->n_files; i++)
        cut += c->data->file[i].n_truncated, gone += c->data->file[i].n_long, rows += c->data->file[i].n_rows;
    if (!cut && gone * 2 <= rows)
        return LMF_OK;
    return lmf_faults_add(c->out, "cut_answers", cut * 2 > rows || gone * 2 > rows,
                          "of %lld rows %lld lost the end of their answer to the length "
                          "of a sequence, and %lld are left out altogether; a longer --seq-len keeps them", (long long)rows, (long long)cut,
                          (long long)gone);
}

static lmf_status spaced_prompts(checker *c)
{
    int64_t n = 0, first = 0;
    for (int i = 0; i < c->data->n_files; i++) {
        n += c->data->part[i]->n_spaced;
        first = first ? first : c->data->part[i]->first_spaced;
    }
    return !n ? LMF_OK : lmf_faults_add(c->out, "spaced_prompts", false,
                                        "%lld prompts end with a space (line %lld): most tokenizers put it before the "
                                        "next word, so that the answer begins with other tokens than the model would write; put it "
                                        "into the "
                                        "completion", (long long)n, (long long)first);
}

lmf_status lmf_data_faults(const lmf_chat *chat, const lmf_dataset *data, const char *template_source, const lmf_samples *test,
                           lmf_faults *out)
{
    checker c = { .chat = chat, .data = data, .out = out };
    lmf_buf_init(&c.text, chat->ctx, MAX_TEXT);
    lmf_status s = doubled_bos(&c);
    s = s || data->train->items[0].prompt ? s : no_end(&c); /* of prompts nothing is learned */
    s = s ? s : split_tokens(&c, template_source);
    s = s ? s : shared_rows(&c, test);
    s = s ? s : cut_answers(&c);
    s = s ? s : spaced_prompts(&c);
    lmf_buf_clear(&c.text);
    return s;
}
