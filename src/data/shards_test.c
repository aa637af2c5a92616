/* SPDX-License-Identifier: Apache-2.0 */
#include "data/shards.h"
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "test.h"
#include "text/tokenizer/tokenizer_test.h"

enum { BORDER = 0, VOCAB = 256, SEQ = 5 };
static const char rows_text[] = "{\"text\": \"abcdefghijkl\"}\n{\"text\": \"x\"}\n{\"text\": \"\"}\n{\"text\": \"hello there\"}\n";

static lmf_tokenizer *bytes_tokenizer(lmf_ctx *ctx)
{
    test_vocab v;
    test_vocab_init(&v, "gpt-2");
    return test_tokenizer(ctx, &v);
}

static lmf_status write_all(lmf_ctx *ctx, const char *text, const char *dir, int64_t shard_tok, lmf_shards_counts *n)
{
    lmf_document doc[64];
    lmf_rows rows;
    lmf_tokenizer *t = bytes_tokenizer(ctx);
    lmf_status s = lmf_rows_parse(ctx, "rows", text, strlen(text), false, &rows);
    for (int64_t i = 0; !s && i < rows.n; i++)
        doc[i] = (lmf_document){ &rows, i };
    lmf_shards_opts o = { .dir = dir, .name = "train", .border = BORDER, .shard_tok = shard_tok };
    if (!s)
        s = lmf_shards_write(ctx, t, doc, rows.n, &o, n);
    if (rows.n)
        lmf_rows_close(&rows);
    lmf_tokenizer_destroy(t);
    return s;
}

static const char *folder(const char *name)
{
    const char *dir = lmf_test_path(name);
    assert_int_equal(mkdir(dir, 0777), 0);
    return dir;
}

/* Every token is learned once, in order, whatever the number of workers and files. */
static void each_token_once(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    for (int workers = 1; workers <= 7; workers += 3)
        for (int64_t shard = 1; shard <= 1000; shard *= 10) {
            char name[64], learned[200] = "";
            lmf_shards_counts n;
            lmf_shards *s;
            snprintf(name, sizeof name, "shards-%d-%lld", workers, (long long)shard);
            const char *dir = folder(name);
            ctx->n_workers = workers;
            assert_ok(ctx, write_all(ctx, rows_text, dir, shard, &n));
            assert_ok(ctx, lmf_shards_open(ctx, dir, "train", VOCAB, SEQ, &s));
            assert_int_equal(s->n_files, shard == 1 ? n.n_docs : shard == 10 ? 2 : 1);
            assert_int_equal(n.n_files, s->n_files);
            assert_int_equal(s->n_text_bytes, 12 + 1 + 11);
            assert_int_equal(s->samples->n_learn, n.n_learn);
            size_t at = 0;
            for (int64_t i = 0; i < s->samples->n; i++) {
                const lmf_sample *p = &s->samples->items[i];
                assert_in_range(p->n, 2, SEQ);
                assert_int_equal(p->n_learn, p->n - 1);
                assert_int_equal(p->learn[0], 0);
                for (int k = 1; k < p->n; k++) {
                    assert_int_equal(p->learn[k], 1);
                    learned[at++] = p->id[k] ? (char)p->id[k] : '|';
                }
                if (i && p->line == p[-1].line) /* goes on from where the piece before ended */
                    assert_int_equal(p->id[0], p[-1].id[p[-1].n - 1]);
                else
                    assert_int_equal(p->id[0], BORDER);
            }
            assert_string_equal(learned, "abcdefghijkl|x||hello there|");
            lmf_shards_close(s);
        }
    lmf_test_ctx_done(ctx);
}

static void put_file(const char *dir, const void *p, size_t n)
{
    char path[5000];
    snprintf(path, sizeof path, "%s/train-00000.tokens", dir);
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(p, 1, n, f), n);
    fclose(f);
}

/* Each length and each flipped byte of the end is refused or changes nothing that is a promise; none crashes. */
static void damage(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const char *dir = folder("damage");
    char path[5000], *good;
    size_t n;
    lmf_shards_counts c;
    lmf_shards *s;
    assert_ok(ctx, write_all(ctx, rows_text, dir, 0, &c));
    snprintf(path, sizeof path, "%s/train-00000.tokens", dir);
    assert_ok(ctx, lmf_file_read(ctx, path, 1 << 20, &good, &n));
    for (size_t k = 0; k < n; k++) {
        put_file(dir, good, k);
        assert_refused(ctx, LMF_E_FORMAT, "is no shard of tokens", lmf_shards_open(ctx, dir, "train", VOCAB, SEQ, &s));
    }
    size_t first = n - 32 - 8 * (size_t)c.n_docs;
    int refused = 0;
    for (size_t k = first; k < n; k++)
        for (int bit = 0; bit < 8; bit++) {
            good[k] = (char)(good[k] ^ 1 << bit);
            put_file(dir, good, n);
            lmf_status r = lmf_shards_open(ctx, dir, "train", VOCAB, SEQ, &s);
            refused += r == LMF_E_FORMAT;
            assert_true(r == LMF_OK || r == LMF_E_FORMAT);
            if (!r)
                lmf_shards_close(s);
            good[k] = (char)(good[k] ^ 1 << bit);
        }
    assert_true(refused > 8 * 16);
    put_file(dir, good, n);
    assert_refused(ctx, LMF_E_FORMAT, "the vocabulary doesn't have", lmf_shards_open(ctx, dir, "train", 'h', SEQ, &s));
    assert_refused(ctx, LMF_E_NOT_FOUND, "holds no eval-00000.tokens", lmf_shards_open(ctx, dir, "eval", VOCAB, SEQ, &s));
    lmf_free(ctx, good, n + 1);
    lmf_test_ctx_done(ctx);
}

static void other_rows(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_shards_counts n;
    assert_refused(ctx, LMF_E_FORMAT, "line 2: pre-training takes plain text",
                   write_all(ctx, "{\"text\": \"a\"}\n{\"prompt\": \"a\", \"completion\": \"b\"}\n", folder("other"), 0, &n));
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(shards) = { { "each_token_once", each_token_once }, { "damage", damage }, { "other_rows", other_rows }, { 0 } };
