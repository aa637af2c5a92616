/* SPDX-License-Identifier: Apache-2.0 */
#include "train/labels.h"
#include "eval/score.h"
#include "train/train_test.h"

enum { K = 5 };

static lmf_labels *make(fixture *f, const char *dir, int64_t shard_labels, int32_t k, bool f32)
{
    lmf_labels_info info;
    lmf_labels *l;
    lmf_labels_make o = { .dir = dir, .teacher = f->m, .samples = f->samples, .k = k, .temperature = 1.5, .f32 = f32,
                          .shard_labels = shard_labels };
    assert_ok(f->ctx, lmf_labels_write(f->ctx, &o, &info));
    assert_ok(f->ctx, lmf_labels_open(f->ctx, dir, &l));
    assert_string_equal(lmf_labels_get_info(l)->digest, info.digest);
    assert_ok(f->ctx, lmf_labels_fit(l, f->m, f->samples));
    return l;
}

/* Of one row from the model's own logits. */
static void check_row(lmf_scorer *scorer, const lmf_sample *s, int32_t i, const int32_t *id, const float *logp, float rest)
{
    const float *logits;
    double all = 0, kept = 0, least = INFINITY, most = -INFINITY;
    assert_int_equal(lmf_scorer_logits(scorer, s->id, s->n, &logits), LMF_OK);
    logits += (int64_t)(i - 1) * 264;
    for (int32_t v = 0; v < 264; v++)
        all += exp((double)logits[v] / 1.5);
    for (int32_t k = 0; k < K; k++) {
        double want = (double)logits[id[k]] / 1.5 - log(all);
        assert_true(k == 0 || id[k] > id[k - 1]);
        assert_true(fabs((double)logp[k] - want) < 1e-5);
        kept += exp(want);
        least = fmin(least, (double)logits[id[k]]);
    }
    assert_true(fabs((double)rest - log(1 - kept)) < 1e-4);
    for (int32_t v = 0, k = 0; v < 264; v++) { /* none of the others is likelier */
        if (k < K && id[k] == v)
            k++;
        else
            most = fmax(most, (double)logits[v]);
    }
    assert_true(most <= least);
}

static void what_is_written_is_read(void **state)
{
    (void)state;
    char one[512], many[512];
    int32_t id[2][64 * K];
    float logp[2][64 * K], rest[2][64];
    fixture f = setup(NULL);
    lmf_scorer *scorer;
    snprintf(one, sizeof one, "%s", lmf_test_path("one"));
    snprintf(many, sizeof many, "%s", lmf_test_path("many"));
    lmf_labels *a = make(&f, one, 0, K, true), *b = make(&f, many, 7, K, true);
    assert_ok(f.ctx, lmf_scorer_create(f.ctx, f.m, &(lmf_scorer_opts){ .max_tok = f.samples->longest, .logits = true }, &scorer));
    assert_true(lmf_labels_most(a) <= 64 && lmf_labels_get_info(a)->n_labels > 7);
    for (int64_t i = f.samples->n - 1; i >= 0; i--) { /* not in their order */
        const lmf_sample *s = &f.samples->items[i];
        int64_t n = lmf_labels_of(s);
        assert_ok(f.ctx, lmf_labels_read(a, i, id[0], logp[0], rest[0]));
        assert_ok(f.ctx, lmf_labels_read(b, i, id[1], logp[1], rest[1]));
        assert_memory_equal(id[0], id[1], (size_t)(n * K) * sizeof(int32_t));
        assert_memory_equal(logp[0], logp[1], (size_t)(n * K) * sizeof(float));
        assert_memory_equal(rest[0], rest[1], (size_t)n * sizeof(float));
        for (int32_t k = 1, row = 0; k < s->n; k++)
            if (s->learn[k]) {
                check_row(scorer, s, k, id[0] + row * K, logp[0] + row * K, rest[0][row]);
                row++;
            }
    }
    lmf_scorer_destroy(scorer);
    lmf_labels_close(a);
    lmf_labels_close(b);
    teardown(&f);
}

/* Any bit of any file of the folder. */
static void damage_is_refused(void **state)
{
    (void)state;
    char dir[512], path[1024];
    fixture f = setup(NULL);
    snprintf(dir, sizeof dir, "%s", lmf_test_path("labels"));
    lmf_labels_close(make(&f, dir, 400, K, false));
    static const char *const files[] = { "manifest.json", "labels-00000.safetensors", "labels-00001.safetensors" };
    for (size_t i = 0; i < 3; i++) {
        char *text;
        size_t n;
        lmf_labels *l;
        snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        assert_ok(f.ctx, lmf_file_read(f.ctx, path, 1 << 24, &text, &n));
        for (size_t at = 3; at < n; at += n / 23 + 1) {
            text[at] = (char)(text[at] ^ 4);
            assert_ok(f.ctx, lmf_file_write(f.ctx, path, text, n));
            assert_int_not_equal(lmf_labels_open(f.ctx, dir, &l), LMF_OK);
            assert_null(l);
            text[at] = (char)(text[at] ^ 4);
        }
        assert_ok(f.ctx, lmf_file_write(f.ctx, path, text, n / 2));
        assert_int_not_equal(lmf_labels_open(f.ctx, dir, &l), LMF_OK);
        assert_ok(f.ctx, lmf_path_unlink(f.ctx, path));
        assert_int_not_equal(lmf_labels_open(f.ctx, dir, &l), LMF_OK);
        assert_ok(f.ctx, lmf_file_write(f.ctx, path, text, n));
        assert_ok(f.ctx, lmf_labels_open(f.ctx, dir, &l));
        lmf_labels_close(l);
        lmf_free(f.ctx, text, n + 1);
    }
    teardown(&f);
}

static void what_differs_is_named(void **state)
{
    (void)state;
    char dir[512];
    fixture f = setup(NULL);
    snprintf(dir, sizeof dir, "%s", lmf_test_path("labels"));
    lmf_labels *l = make(&f, dir, 0, K, false);
    uint8_t *learn = (uint8_t *)(uintptr_t)f.samples->items[3].learn;
    learn[f.samples->items[3].n - 1] ^= 1;
    assert_int_equal(lmf_labels_fit(l, f.m, f.samples), LMF_E_ARG);
    assert_non_null(strstr(lmf_error(f.ctx), "of other data"));
    char *source = f.m->chat_source, other[] = "{{ messages }}";
    f.m->chat_source = other;
    assert_int_equal(lmf_labels_fit(l, f.m, f.samples), LMF_E_ARG);
    assert_non_null(strstr(lmf_error(f.ctx), "with another chat template"));
    learn[f.samples->items[3].n - 1] ^= 1;
    assert_ok(f.ctx, lmf_labels_fit(l, f.m, f.samples)); /* the same tokens, whatever wrote them */
    f.m->chat_source = source;
    lmf_labels_close(l);
    teardown(&f);
}

LMF_TESTS(labels) = { { "what is written is read, in one file or many", what_is_written_is_read },
    { "damage is refused", damage_is_refused }, { "what differs is named", what_differs_is_named }, { 0 } };
