/* SPDX-License-Identifier: Apache-2.0 */
#include "train/run_data.h"
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include "base/plain.h"
#include "format/json.h"

void lmf__run_tell(const lmf_run_listener *l, bool warning, const char *fmt, ...)
{
    char text[2560];
    va_list ap;
    if (!l->note)
        return;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    l->note(l->user, warning, text);
}

static lmf_dataset_opts options(const lmf_train_config *c, const lmf_model *m, uint32_t takes, const lmf_texts *of)
{
    int64_t longest = c->seq_len < lmf_model_config(m)->context ? c->seq_len : lmf_model_config(m)->context;
    lmf_too_long policy = !strcmp(c->too_long, "skip") ? LMF_LONG_SKIP : !strcmp(c->too_long, "truncate") ? LMF_LONG_TRUNCATE :
        !strcmp(c->too_long, "split") ? LMF_LONG_SPLIT : LMF_LONG_ERROR;
    lmf_train_on on = !strcmp(c->train_on, "last") ? LMF_TRAIN_LAST : !strcmp(c->train_on, "all") ? LMF_TRAIN_ALL : LMF_TRAIN_ANSWERS;
    return (lmf_dataset_opts){ .spec = of->item, .n_specs = (int)of->n, .samples = { takes, (int32_t)longest, policy, on },
        .skip_bad = !strcmp(c->bad_rows, "skip"), .drop_duplicates = c->drop_duplicates, .drop_empty = c->drop_empty,
        .seed = (uint64_t)c->seed };
}

/* The sentence with what --bad-rows does where a row is at fault. */
static lmf_status hint(lmf_ctx *ctx, const lmf_train_config *c, lmf_status s)
{
    char text[sizeof lmf_error_here(ctx)->text];
    snprintf(text, sizeof text, "%s", lmf_error(ctx));
    if (!lmf_row_is_bad(s) || strcmp(c->bad_rows, "skip") == 0 || strstr(text, "--too-long") ||
        (!strstr(text, ", line ") && !strstr(text, ", row ") && !strstr(text, ", record ")))
        return s;
    return LMF_FAIL(ctx, s, "%s (--bad-rows skip leaves such rows out)", text);
}

static void tell_file(const lmf_dataset *d, int i, const lmf_train_config *c, const lmf_run_listener *l)
{
    const lmf_data_file *f = &d->file[i];
    const lmf_samples *s = d->part[i];
    char name[1024], form[64] = "", weight[64] = "";
    lmf_plain_text(f->path, name, sizeof name);
    if (f->form && lmf_row_format_find(d->ctx->tables, f->form))
        snprintf(form, sizeof form, " (%s)", f->form);
    if (f->weight != 1)
        snprintf(weight, sizeof weight, ", %g times an epoch", f->weight);
    if (s->n && s->items[0].prompt)
        lmf__run_tell(l, false, "%s: %lld prompts%s%s, %lld tokens", name, (long long)f->n_groups, form, weight, (long long)f->n_tok);
    else
        lmf__run_tell(l, false, "%s: %lld rows%s%s, %lld tokens, %lld of them learned", name, (long long)f->n_groups, form, weight,
                      (long long)f->n_tok, (long long)f->n_learn);
    if (s->n_measured)
        lmf__run_tell(l, false, "%s: %lld good answers, %lld bad ones", name, (long long)s->n_label[1], (long long)s->n_label[0]);
    if (s->n_bad)
        lmf__run_tell(l, true, "%s: %lld rows can't be used and were left out. The first: %s", name, (long long)s->n_bad, s->first_bad);
    if (s->n_unlearned)
        lmf__run_tell(l, true, "%s: %lld earlier answers are not learned, because the template shows them otherwise once more follows",
                      name, (long long)s->n_unlearned);
    if (s->n_endless)
        lmf__run_tell(l, true, "%s: in %lld of %lld rows an answer is learned without an end of turn, so the model won't learn to stop. %s",
                      name, (long long)s->n_endless, (long long)s->n, s->first_endless);
    if (s->n_skipped || s->n_truncated)
        lmf__run_tell(l, true, "%s: %lld rows were too long and left out, %lld were cut", name, (long long)s->n_skipped,
                      (long long)s->n_truncated);
    if (f->n_duplicates)
        lmf__run_tell(l, true, "%s: %lld rows were there before (%s %lld is as %lld was)%s", name, (long long)f->n_duplicates, f->unit,
                      (long long)f->first_duplicate, (long long)f->duplicate_of,
                      c->drop_duplicates ? ", and are left out" : "; --drop-duplicates leaves them out");
    if (f->n_empty)
        lmf__run_tell(l, true, "%s: %lld rows have an empty answer (%s %lld)%s", name, (long long)f->n_empty, f->unit,
                      (long long)f->first_empty, c->drop_empty ? ", and are left out" : "; --drop-empty leaves them out");
}

lmf_status lmf__run_data_open(const lmf_train_config *c, const lmf_model *m, uint32_t takes, const lmf_texts *of, const lmf_rows *given,
                              const char *flag, bool held_out, const lmf_run_listener *l, lmf_dataset **out)
{
    lmf_dataset_opts o = options(c, m, takes, of);
    o.given = given;
    o.hold_out = held_out ? c->val_set_size : 0;
    lmf_status s = lmf_dataset_open(&m->chat, &o, out);
    if (s)
        return lmf_fail_prefix(m->ctx, hint(m->ctx, c, s), "%s", flag);
    const lmf_dataset *d = *out;
    for (int i = 0; i < d->n_files; i++)
        tell_file(d, i, c, l);
    if (d->held_out)
        lmf__run_tell(l, false, "%lld rows an epoch, %lld held out", (long long)lmf_samples_n_groups(d->train),
                      (long long)lmf_samples_n_groups(d->held_out));
    else if (d->n_files > 1)
        lmf__run_tell(l, false, "%lld rows an epoch", (long long)lmf_samples_n_groups(d->train));
    return LMF_OK;
}

lmf_status lmf__run_data_guard(const lmf_train_config *c, const lmf_model *m, const lmf_dataset *d, const lmf_samples *test,
                               const lmf_run_listener *l)
{
    lmf_faults f;
    if (!strcmp(c->guards, "off"))
        return LMF_OK;
    lmf_faults_init(&f, m->ctx);
    lmf_status s = lmf_data_faults(&m->chat, d, m->chat_source, test, &f);
    if (!s)
        s = lmf_model_faults(m, d, c->method && !strcmp(c->method, "full"), &f);
    s = s ? s : lmf__run_faults_tell(m->ctx, c->guards, &f, l);
    lmf_faults_clear(&f);
    return s;
}

lmf_status lmf__run_faults_tell(lmf_ctx *ctx, const char *guards, lmf_faults *f, const lmf_run_listener *l)
{
    const lmf_fault *worst = NULL;
    char text[2048];
    for (int i = 0; i < f->n; i++) {
        if (f->item[i].severe && !worst && !strcmp(guards, "error"))
            worst = &f->item[i];
        else
            lmf__run_tell(l, true, "%s", lmf_plain_text(f->item[i].text, text, sizeof text));
    }
    f->n = 0;
    return worst ? LMF_FAIL(ctx, LMF_E_FORMAT, "%.700s (--guards warn goes on all the same)", worst->text) : LMF_OK;
}

static json_t *file_json(const lmf_data_file *f)
{
    return json_pack("{s:o, s:s, s:s?, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "path", lmf_json_string(f->path),
        "sha256", f->sha256, "form", f->form, "weight", f->weight, "rows", (json_int_t)f->n_rows, "usable_rows", (json_int_t)f->n_groups,
        "bad_rows", (json_int_t)f->n_bad, "rows_left_out_for_length", (json_int_t)f->n_long, "rows_truncated", (json_int_t)f->n_truncated,
        "duplicates", (json_int_t)f->n_duplicates, "first_duplicate", (json_int_t)f->first_duplicate, "empty_answers",
        (json_int_t)f->n_empty, "first_empty_answer", (json_int_t)f->first_empty, "tokens", (json_int_t)f->n_tok, "trained_tokens",
        (json_int_t)f->n_learn);
}

json_t *lmf__run_data_json(const lmf_dataset *d)
{
    json_t *files = json_array();
    for (int i = 0; files && d && i < d->n_files; i++)
        json_array_append_new(files, file_json(&d->file[i]));
    return files;
}
