/* SPDX-License-Identifier: Apache-2.0 */
#include "format/onnx.h"
#include <stdio.h>
#include <string.h>
#include "base/wire.h"
#include "test.h"

enum { ROWS = 300 };

static lmf_status fill(void *user, const lmf_onnx_tensor *t, lmf_onnx_sink sink, void *to)
{
    float row[4];
    size_t short_by = user ? *(const size_t *)user : 0;
    for (int64_t i = 0; i < t->dim[0]; i++) {
        for (int k = 0; k < 4; k++)
            row[k] = (float)(4 * i + k);
        LMF_TRY(sink(to, row, sizeof row - (i == 0 ? short_by : 0)));
    }
    return LMF_OK;
}

/* y = x w + 1, with w from fill. */
static void put_model(lmf_onnx_writer *w)
{
    const float one = 1;
    lmf_onnx_put_value(w, false, "x", LMF_ONNX_F32, 2, (const char *const[]){ "rows", NULL }, (int64_t[]){ 0, ROWS });
    lmf_onnx_put_value(w, true, "y", LMF_ONNX_F32, 2, (const char *const[]){ "rows", NULL }, (int64_t[]){ 0, 4 });
    assert_int_equal(lmf_onnx_put_tensor(w, "w", LMF_ONNX_F32, 2, (int64_t[]){ ROWS, 4 }, NULL), 0);
    assert_int_equal(lmf_onnx_put_tensor(w, "one", LMF_ONNX_F32, 0, NULL, &one), 1);
    assert_int_equal(lmf_onnx_put_tensor(w, "w", LMF_ONNX_F32, 2, (int64_t[]){ ROWS, 4 }, NULL), 0);
    lmf_onnx_put_node(w, "", "MatMul", (const char *const[]){ "x", "w", NULL }, (const char *const[]){ "p", NULL }, NULL);
    lmf_onnx_put_node(w, "", "Add", (const char *const[]){ "p", "one", NULL }, (const char *const[]){ "y", NULL },
                      (const lmf_onnx_attr[]){ { "a", 'i', .i = -3 }, { "b", 'f', .f = 0.5f }, { "c", 's', .s = "d" },
                                               { "e", 'I', .ints = (int64_t[]){ 1, 2 }, .n = 2 }, { 0 } });
}

/* What is written is read, with its tensors in the model's file and beside it. */
static void there_and_back(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    for (int beside = 0; beside < 2; beside++) {
        lmf_onnx_writer w;
        lmf_onnx *o;
        bool external;
        char path[512];
        snprintf(path, sizeof path, "%s", lmf_test_path(beside ? "beside.onnx" : "in_one.onnx"));
        lmf_onnx_begin(&w, ctx);
        put_model(&w);
        assert_ok(ctx, lmf_onnx_save(&w, path, beside, fill, NULL, &external));
        assert_int_equal(external, beside);
        lmf_onnx_end(&w);
        assert_ok(ctx, lmf_onnx_open(ctx, path, &o));
        assert_true(o->ir_version == LMF_ONNX_IR && o->opset == LMF_ONNX_OPSET && o->n_nodes == 2 && o->n_tensors == 2 && o->n_inputs == 1);
        const lmf_onnx_tensor *t = lmf_onnx_find(o, "w");
        assert_true(t && t->n_dims == 2 && t->dim[0] == ROWS && t->bytes == ROWS * 16 && (o->data.n > 0) == beside);
        for (int i = 0; i < 4 * ROWS; i++) {
            float f;
            memcpy(&f, t->data + 4 * i, 4);
            assert_true(f == (float)i);
        }
        lmf_onnx_close(o);
    }
    lmf_test_ctx_done(ctx);
}

/* A tensor that gets fewer bytes than its shape has is a file that is not written. */
static void too_few_bytes(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_onnx_writer w;
    lmf_map map;
    bool external;
    size_t short_by = 4;
    lmf_onnx_begin(&w, ctx);
    put_model(&w);
    assert_refused(ctx, LMF_E_INTERNAL, "w: 4796 bytes of 4800", lmf_onnx_save(&w, lmf_test_path("short.onnx"), false, fill, &short_by,
                                                                               &external));
    lmf_onnx_end(&w);
    assert_true(lmf_file_map(ctx, lmf_test_path("short.onnx"), &map) != LMF_OK);
    lmf_test_ctx_done(ctx);
}

static void node(lmf_buf *graph, const char *in, const char *out)
{
    lmf_buf n;
    lmf_buf_init(&n, graph->ctx, 1000);
    lmf_wire_text(&n, 1, in);
    lmf_wire_text(&n, 2, out);
    lmf_wire_text(&n, 4, "Abs");
    lmf_wire_bytes(graph, 1, lmf_buf_str(&n), n.n);
    lmf_buf_clear(&n);
}

/* A value, or with dim a tensor of type and that many bytes. */
static void item(lmf_buf *graph, int field, const char *name, int type, int64_t dim, size_t bytes)
{
    lmf_buf n;
    lmf_buf_init(&n, graph->ctx, 1000);
    if (field == 5) {
        lmf_wire_int(&n, 1, dim);
        lmf_wire_int(&n, 2, type);
        lmf_wire_text(&n, 8, name);
        lmf_wire_bytes(&n, 9, "0123456789abcdef", bytes);
    } else {
        lmf_wire_text(&n, 1, name);
    }
    lmf_wire_bytes(graph, field, lmf_buf_str(&n), n.n);
    lmf_buf_clear(&n);
}

static void refuse(lmf_ctx *ctx, const lmf_buf *graph, lmf_status status, const char *why)
{
    lmf_buf b;
    lmf_onnx *o;
    lmf_buf_init(&b, ctx, 10000);
    lmf_wire_int(&b, 1, 10);
    lmf_wire_bytes(&b, 7, lmf_buf_str(graph), graph->n);
    if (status)
        assert_refused(ctx, status, why, lmf_onnx_parse(ctx, b.data, b.n, &o));
    else
        assert_ok(ctx, lmf_onnx_parse(ctx, b.data, b.n, &o));
    for (size_t n = 0; !status && n < b.n; n++) { /* cut anywhere */
        lmf_onnx *cut;
        assert_true(lmf_onnx_parse(ctx, b.data, n, &cut) != LMF_OK && !cut);
    }
    if (!status)
        lmf_onnx_close(o);
    lmf_buf_clear(&b);
}

static void what_is_no_graph(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_buf g;
    lmf_buf_init(&g, ctx, 10000);
    item(&g, 11, "x", 0, 0, 0);
    item(&g, 5, "t", LMF_ONNX_F32, 2, 8);
    node(&g, "x", "y");
    item(&g, 12, "y", 0, 0, 0);
    refuse(ctx, &g, LMF_OK, "");
    size_t whole = g.n;
    node(&g, "later", "z");
    refuse(ctx, &g, LMF_E_FORMAT, "Abs reads later, which nothing makes before it");
    lmf_buf_truncate(&g, whole);
    node(&g, "x", "y");
    refuse(ctx, &g, LMF_E_FORMAT, "y is made twice");
    lmf_buf_truncate(&g, whole);
    item(&g, 12, "q", 0, 0, 0);
    refuse(ctx, &g, LMF_E_FORMAT, "nothing makes its output q");
    lmf_buf_truncate(&g, whole);
    item(&g, 5, "u", LMF_ONNX_F32, 2, 4);
    refuse(ctx, &g, LMF_E_FORMAT, "the tensor u has 4 bytes; its shape has 8");
    lmf_buf_truncate(&g, whole);
    item(&g, 5, "u", LMF_ONNX_I64, INT64_MAX / 2, 8);
    refuse(ctx, &g, LMF_E_SHAPE, "the tensor u is too large");
    lmf_buf_truncate(&g, whole);
    item(&g, 5, "u", LMF_ONNX_F32, -1, 8);
    refuse(ctx, &g, LMF_E_SHAPE, "impossible shape");
    lmf_buf_truncate(&g, whole);
    item(&g, 5, "u", 16, 2, 4);
    refuse(ctx, &g, LMF_E_DTYPE, "ONNX's type 16");
    lmf_buf_clear(&g);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(onnx) = { { "written and read, in one file and in two", there_and_back }, { "too few bytes are no file", too_few_bytes },
                    { "what is no graph", what_is_no_graph }, { 0 } };
