/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a teacher's probabilities are compared with the student's token by token, so each id must mean the same to both. */
#include <stdio.h>
#include <string.h>
#include "base/plain.h"
#include "train/labels.h"
#include "train/trainer_internal.h"

const char lmf__teacher_scope[] = "teacher.";

/* Without the padding that some files name behind the last token. */
static int32_t n_tokens(const lmf_tokenizer *t)
{
    int32_t n = (int32_t)lmf_tokenizer_n_tokens(t);
    while (n && lmf_tokenizer_kind(t, n - 1) == LMF_TOKEN_UNUSED)
        n--;
    return n;
}

static bool same_token(const lmf_tokenizer *a, const lmf_tokenizer *b, int32_t id)
{
    size_t n_a, n_b;
    const uint8_t *x = lmf_tokenizer_piece(a, id, &n_a), *y = lmf_tokenizer_piece(b, id, &n_b);
    return !x == !y && (!x || (n_a == n_b && memcmp(x, y, n_a) == 0));
}

static const char *token_text(const lmf_tokenizer *t, int32_t id, char *out, size_t n)
{
    char bytes[64];
    size_t n_piece = 0;
    const uint8_t *p = lmf_tokenizer_piece(t, id, &n_piece);
    snprintf(bytes, sizeof bytes, "%.*s", (int)(n_piece < 48 ? n_piece : 48), p ? (const char *)p : "");
    return lmf_plain_text(bytes, out, n);
}

lmf_status lmf_teacher_check(lmf_ctx *ctx, const lmf_model *student, const lmf_model *teacher)
{
    const lmf_tokenizer *a = student->tokenizer, *b = teacher->tokenizer;
    char path[512], own[128], other[128];
    int32_t n_a = n_tokens(a), n_b = n_tokens(b), id = 0;
    while (id < n_a && id < n_b && same_token(a, b, id))
        id++;
    if (id == n_a && id == n_b)
        return LMF_OK;
    lmf_plain_text(teacher->path, path, sizeof path);
    if (id < n_a && id < n_b)
        return LMF_FAIL(ctx, LMF_E_ARG, "the teacher %s has another vocabulary: token %d is \"%s\" there and \"%s\" in the student. Their "
                        "probabilities can only be compared token by token: take a teacher of the student's family", path, id,
                        token_text(b, id, other, sizeof other), token_text(a, id, own, sizeof own));
    return LMF_FAIL(ctx, LMF_E_ARG, "the teacher %s has another vocabulary: %d tokens, and the student %d. Their probabilities can only be "
                    "compared token by token: take a teacher of the student's family", path, n_b, n_a);
}

lmf_status lmf__trainer_open_teacher(lmf_trainer *t, const lmf_samples *samples)
{
    const lmf_model *m = t->opts.teacher;
    char name[512];
    int32_t context = lmf_model_config(m)->context, longest = samples->longest > t->opts.eval_tok ? samples->longest : t->opts.eval_tok;
    int32_t answered = t->sampling.n_answers ? lmf_sampling_longest(&t->sampling, samples) + t->sampling.max_tok : 0;
    LMF_TRY(lmf_teacher_check(t->ctx, t->model, m));
    if (longest > context)
        return LMF_FAIL(t->ctx, LMF_E_LIMIT,
                        "the teacher %s reads at most %d tokens, and the longest row has %d: give --seq-len %d and --too-long",
                        lmf_plain_text(m->path, name, sizeof name), context, longest, context);
    if (answered > context)
        return LMF_FAIL(t->ctx, LMF_E_LIMIT, "the teacher %s reads at most %d tokens, and the longest prompt with its answer has %d: "
                        "give a lower --max-completion-length", lmf_plain_text(m->path, name, sizeof name), context, answered);
    LMF_TRY(lmf_weights_create(t->ctx, &t->teacher_weights));
    for (int32_t i = 0; i < m->weights->n; i++) {
        const lmf_weight *w = &m->weights->items[i];
        if (snprintf(name, sizeof name, "%s%s", lmf__teacher_scope, w->name) >= (int)sizeof name)
            return LMF_FAIL(t->ctx, LMF_E_LIMIT, "the teacher has a tensor with a name of more than %zu bytes", sizeof name);
        LMF_TRY(lmf_weights_add(t->teacher_weights, name, w->v.dtype, w->v.n_dims, w->v.dim, w->v.data, w->mapped, NULL));
    }
    t->teacher_nn = (lmf_nn){ .weights = m->weights, .compute = t->opts.compute };
    return LMF_OK;
}

/* ---- labels instead ---- */
lmf_status lmf__trainer_open_labels(lmf_trainer *t, const lmf_samples *samples)
{
    lmf_labels *l = t->opts.labels;
    LMF_TRY(lmf_labels_fit(l, t->model, samples));
    size_t rows = (size_t)lmf_labels_most(l), k = (size_t)lmf_labels_get_info(l)->k;
    t->label_id = lmf_arena_array(&t->arena, rows * k + 1, sizeof *t->label_id);
    t->label_logp = lmf_arena_array(&t->arena, rows * (k + 1) + 1, sizeof *t->label_logp);
    return t->label_id && t->label_logp ? LMF_OK : LMF_NO_MEMORY(t->ctx, 8 * rows * k, "labels");
}

/* The inputs stand in the graphs of steps alone: held-out rows have no labels. */
lmf_labels_in lmf__trainer_label_inputs(const lmf_trainer *t, lmf_graph *g, int64_t T)
{
    const lmf_labels_info *info = lmf_labels_get_info(t->opts.labels);
    int64_t dim[] = { T, info->k };
    return (lmf_labels_in){ .id = lmf_graph_tensor(g, LMF_INPUT, "label.id", LMF_I32, 2, dim),
                            .logp = lmf_graph_tensor(g, LMF_INPUT, "label.logp", LMF_F32, 2, dim),
                            .rest = lmf_graph_tensor(g, LMF_INPUT, "label.rest", LMF_F32, 1, dim),
                            .temperature = (float)info->temperature };
}

lmf_status lmf__trainer_fill_labels(lmf_trainer *t, int i_graph, const lmf_laid *laid, const int64_t *group, int n)
{
    int64_t k = lmf_labels_get_info(t->opts.labels)->k, at = 0, most = lmf_labels_most(t->opts.labels);
    int32_t *id = lmf_plan_io(t->plan, i_graph, "label.id");
    float *logp = lmf_plan_io(t->plan, i_graph, "label.logp"), *rest = lmf_plan_io(t->plan, i_graph, "label.rest");
    float *own_rest = t->label_logp + most * k;
    for (int i = 0; i < n; i++) {
        const lmf_sample *s = &laid->samples->items[group[i]];
        LMF_TRY(lmf_labels_read(t->opts.labels, group[i], t->label_id, t->label_logp, own_rest));
        for (int64_t j = 0, row = 0; j < s->n; j++, at++) {
            if (j + 1 >= s->n || !s->learn[j + 1])
                continue;
            memcpy(id + at * k, t->label_id + row * k, (size_t)k * sizeof *id);
            memcpy(logp + at * k, t->label_logp + row * k, (size_t)k * sizeof *logp);
            rest[at] = own_rest[row++];
        }
    }
    return LMF_OK;
}
