/* SPDX-License-Identifier: Apache-2.0 */
/* Forms there and back: rows, values and all that combines. */
#include "format/forms.h"
#include <string.h>
#include "test.h"

enum { ROWS = 12, ALL = 20, FIRST = 5, WIDTH = 3 };

/* llama.cpp's permute is reshape(heads, 2, size / 2).swapaxes(1, 2): row 2 i + k of the file is row (size / 2) k + i. */
static void order_of_llama_cpp(void **state)
{
    static const int64_t one_head[8] = { 0, 4, 1, 5, 2, 6, 3, 7 };
    (void)state;
    lmf_form_spec spec = { .form = LMF_FORM_QK_PERMUTED, .n_heads = 1 };
    for (int64_t j = 0; j < 8; j++)
        assert_int_equal(lmf_form_row_from(&spec, j, 8), one_head[j]);
    spec.n_heads = 2;
    for (int64_t j = 0; j < 16; j++)
        assert_int_equal(lmf_form_row_from(&spec, j, 16), j / 8 * 8 + one_head[j % 8]);
}

static void rows_come_back(void **state)
{
    (void)state;
    for (uint8_t form = 0; form < 16; form++) {
        lmf_form_spec spec = { .form = form, .n_heads = 3, .first_row = FIRST, .all_rows = ALL };
        bool slice = form & LMF_FORM_SLICE, seen[ALL] = { 0 };
        for (int64_t i = 0; i < ROWS; i++) {
            int64_t to = lmf_form_row_to(&spec, i, ROWS);
            assert_true(to >= (slice ? FIRST : 0) && to < (slice ? FIRST + ROWS : ROWS) && !seen[to]);
            seen[to] = true;
            assert_int_equal(lmf_form_row_from(&spec, to, ROWS), i);
        }
        for (int64_t j = 0; slice && j < ALL; j++)
            if (!seen[j])
                assert_int_equal(lmf_form_row_from(&spec, j, ROWS), -1);
    }
}

/* A stored tensor is made by the functions to, element by element; the reader gives back what went in. */
static void reads_what_was_made(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    const lmf_format *f32 = lmf_format_get(ctx, LMF_F32);
    for (uint8_t form = 0; form < 16; form++) {
        lmf_form_spec spec = { .form = form, .n_heads = 2, .first_row = FIRST, .all_rows = ALL };
        float graph[ROWS * WIDTH], stored[ALL * WIDTH], got[ROWS * WIDTH];
        int64_t dim[2] = { ROWS, WIDTH }, file[2];
        assert_int_equal(lmf_form_stored(&spec, 2, dim, file), 2);
        bool turned = form & LMF_FORM_TRANSPOSED;
        assert_int_equal(file[turned ? 1 : 0], form & LMF_FORM_SLICE ? ALL : ROWS);
        assert_int_equal(file[turned ? 0 : 1], WIDTH);
        memset(stored, 0, sizeof stored);
        for (int64_t i = 0; i < ROWS; i++)
            for (int64_t k = 0; k < WIDTH; k++) {
                int64_t row = lmf_form_row_to(&spec, i, ROWS);
                float v = graph[i * WIDTH + k] = 1 + (float)(i * WIDTH + k) / 64;
                lmf_form_values_to(&spec, &v, 1);
                assert_true(v == graph[i * WIDTH + k] - (form & LMF_FORM_LESS_ONE ? 1 : 0));
                stored[turned ? k * file[1] + row : row * WIDTH + k] = v;
            }
        lmf_view v = { .data = got, .fmt = f32, .dtype = LMF_F32, .n_dims = 2, .dim = { ROWS, WIDTH } };
        lmf_view_set_dense(&v);
        assert_ok(ctx, lmf_form_read(ctx, &spec, "x", f32, stored, &v));
        assert_memory_equal(got, graph, sizeof got);
    }
    assert_true(lmf_form_changes_values(LMF_FORM_LESS_ONE) && !lmf_form_changes_values(7));
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(forms) = {
    { "the order of llama.cpp", order_of_llama_cpp },
    { "rows come back", rows_come_back },
    { "reads what was made", reads_what_was_made },
    { 0 }
};
