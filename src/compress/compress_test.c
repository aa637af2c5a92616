/* SPDX-License-Identifier: Apache-2.0 */
#include "compress/compress.h"
#include "models/model_test.h"

static lmf_model *open_tiny(lmf_ctx *ctx)
{
    lmf_model *m;
    const char *path = lmf_test_path("tiny.gguf");
    assert_ok(ctx, model_write_gguf(ctx, path, &(wrong){ 0 }));
    assert_ok(ctx, lmf_model_open(ctx, path, &m));
    return m;
}

/* Rows of 16 and 24 are no blocks of 32: all matrices become the smallest type that has blocks of 1; vectors keep their bytes. */
static void falls_back(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m = open_tiny(ctx);
    lmf_compressed *c;
    lmf_compress_plan plan;
    lmf_compress_opts o = { .method = "rtn", .type = "q4_0" };
    assert_ok(ctx, lmf_compress_planned(ctx, m, &o, &plan));
    assert_ok(ctx, lmf_compress(ctx, m, &o, &c));
    assert_int_equal(c->n, 2 + 7 * M_LAYERS);
    assert_int_equal(plan.n_matrices, c->n);
    assert_int_equal(c->n_fell, c->n);
    assert_int_equal(plan.packed_bytes, 2 * c->n_values);
    assert_int_equal(c->fell_bytes, 2 * c->n_values - c->n_values * 18 / 32);
    for (int64_t i = 0; i < c->n; i++) {
        assert_string_equal(c->items[i].to->v.fmt->name, "f16"); /* less error than bf16 in as many bits */
        assert_true(c->items[i].error > 0 && c->items[i].error < 0x1p-11);
    }
    const lmf_weight *a = lmf_weights_find(m->weights, "norm"), *b = lmf_weights_find(c->model.weights, "norm");
    assert_ptr_equal(a->v.data, b->v.data);
    lmf_compressed_close(c);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

static bool stop(void *user, int64_t done, int64_t total, const char *what)
{
    (void)total, (void)what;
    return done < *(int64_t *)user;
}

static void refusals(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_model *m = open_tiny(ctx);
    lmf_compressed *c;
    assert_int_equal(lmf_compress(ctx, m, &(lmf_compress_opts){ .method = "rtn", .type = "i8" }, &c), LMF_E_UNSUPPORTED);
    assert_non_null(strstr(lmf_error(ctx), "i8"));
    assert_int_equal(lmf_compress(ctx, m, &(lmf_compress_opts){ .method = "magic", .type = "q4_0" }, &c), LMF_E_UNSUPPORTED);
    assert_non_null(strstr(lmf_error(ctx), "magic"));
    assert_refused(ctx, LMF_E_ARG, "only rtn", lmf_compress(ctx, m, &(lmf_compress_opts){ .method = "gptq", .type = "bf16" }, &c));
    assert_refused(ctx, LMF_E_ARG, "whole windows", lmf_compress(ctx, m, &(lmf_compress_opts){ .method = "gptq", .type = "q4_0" }, &c));
    lmf_imatrix *im;
    lmf_imatrix_entry *e;
    lmf_compress_opts by = { .method = "imatrix", .type = "q4_0" };
    assert_refused(ctx, LMF_E_ARG, "importance matrix", lmf_compress(ctx, m, &by, &c));
    assert_ok(ctx, lmf_imatrix_create(ctx, &im));
    by.imatrix = im;
    assert_refused(ctx, LMF_E_ARG, "of another model", lmf_compress(ctx, m, &by, &c));
    assert_ok(ctx, lmf_imatrix_add(im, "blk.1.ffn_down.weight", 7, &e));
    assert_refused(ctx, LMF_E_SHAPE, "blk.1.ffn_down.weight, which has 24", lmf_compress(ctx, m, &by, &c));
    lmf_imatrix_close(im);
    int64_t after = 3;
    lmf_compress_opts o = { .method = "rtn", .type = "q4_0", .progress = stop, .user = &after };
    assert_int_equal(lmf_compress(ctx, m, &o, &c), LMF_E_CANCELLED);
    assert_null(c);
    lmf_model_close(m);
    lmf_test_ctx_done(ctx);
}

static lmf_status compress_once(lmf_ctx *ctx, void *arg)
{
    lmf_model *m;
    lmf_compressed *c;
    LMF_TRY(lmf_model_open(ctx, arg, &m));
    lmf_status s = lmf_compress(ctx, m, &(lmf_compress_opts){ .method = "rtn", .type = "bf16" }, &c);
    lmf_compressed_close(c);
    lmf_model_close(m);
    return s;
}

static void each_call_may_fail(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    char path[600];
    snprintf(path, sizeof path, "%s", lmf_test_path("sweep.gguf"));
    assert_ok(ctx, model_write_gguf(ctx, path, &(wrong){ 0 }));
    assert_true(lmf_test_fail_each_call(compress_once, path) > 40);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(compress) = { { "falls_back", falls_back }, { "refusals", refusals }, { "each call may fail", each_call_may_fail }, { 0 } };
