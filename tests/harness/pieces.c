/* SPDX-License-Identifier: Apache-2.0 */
#include "pieces.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>
#include "base/file.h"
#include "base/wire.h"
#include "formula.h"

void lmf_test_put_piece(lmf_buf *b, const char *text, float score, int kind)
{
    lmf_buf p;
    lmf_buf_init(&p, b->ctx, 1 << 16);
    lmf_wire_text(&p, 1, text);
    lmf_wire_float(&p, 2, score);
    lmf_wire_int(&p, 3, kind);
    lmf_wire_bytes(b, 1, lmf_buf_str(&p), p.n);
    lmf_buf_clear(&p);
}

void lmf_test_put_number(lmf_buf *b, int message, int field, int64_t x)
{
    lmf_buf p;
    lmf_buf_init(&p, b->ctx, 100);
    lmf_wire_int(&p, field, x);
    lmf_wire_bytes(b, message, lmf_buf_str(&p), p.n);
    lmf_buf_clear(&p);
}

void lmf_test_put_text(lmf_buf *b, int message, int field, const char *text)
{
    lmf_buf p;
    lmf_buf_init(&p, b->ctx, 100);
    lmf_wire_text(&p, field, text);
    lmf_wire_bytes(b, message, lmf_buf_str(&p), p.n);
    lmf_buf_clear(&p);
}

void lmf_test_pieces_folder(lmf_ctx *ctx, const char *config, bool prefix, const char *last, char dir[600])
{
    static const struct { const char *text; float score; } words[] = { { "\xe2\x96\x81", -2 }, { "a", -3 }, { "b", -4 }, { "ab", -1 } };
    lmf_buf b;
    char path[700], name[8];
    snprintf(dir, 600, "%s", lmf_test_formula_model(&(lmf_formula){ .seed = 1, .n_layers = 1 }));
    lmf_buf_init(&b, ctx, 1 << 20);
    lmf_test_put_piece(&b, "<unk>", 0, 2), lmf_test_put_piece(&b, "<s>", 0, 3), lmf_test_put_piece(&b, "</s>", 0, 3);
    for (int i = 0; i < 256; i++) {
        snprintf(name, sizeof name, "<0x%02X>", (unsigned)i);
        lmf_test_put_piece(&b, name, 0, 6);
    }
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        lmf_test_put_piece(&b, words[i].text, words[i].score, 1);
    lmf_test_put_piece(&b, last, 0, 4);
    lmf_test_put_number(&b, 2, 3, 2), lmf_test_put_number(&b, 2, 35, 1); /* BPE with bytes */
    lmf_test_put_number(&b, 3, 4, 0), lmf_test_put_number(&b, 3, 3, prefix);
    snprintf(path, sizeof path, "%s/tokenizer.model", dir);
    assert_ok(ctx, lmf_file_write(ctx, path, b.data, b.n));
    snprintf(path, sizeof path, "%s/tokenizer_config.json", dir);
    if (config)
        assert_ok(ctx, lmf_file_write(ctx, path, config, strlen(config)));
    else
        assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/tokenizer.json", dir);
    assert_int_equal(unlink(path), 0);
    lmf_buf_clear(&b);
}
