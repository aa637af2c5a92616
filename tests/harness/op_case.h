/* SPDX-License-Identifier: Apache-2.0 */
/* op_case: src/ops/<op>/<op>_test.c is rows of text; the harness (op_harness.c) does the rest. A file ends with
 *
 *     LMF_OP_CASES(rms_norm) = {
 *         { "rms_norm", "two rows", "x:f32[2,576] w:f32[576]", "eps=1e-5", "normal", "2e-6" },
 *         { "rms_norm", "w too short", "x:f32[2,576] w:f32[575]", "eps=1e-5", "refused:E_SHAPE" }, { 0 } };
 *
 * inputs: name:dtype[dims] in order; "-" for an absent optional input; a name ending in ! takes part in the gradient
 * check; name:i32[8]<100 draws integers below 100; name:i32[8]=0,1,2,3,... gives them (... goes on in equal steps, one
 * value alone stands for all); name:f32[4,8]/16 is a strided view with row stride 16. attrs: field=value, by the op's
 * field table (of a type: its name, y=bf16). draw: normal (default), uniform (-1 to 1), small (0.01 normal), positive (0.5 to 1.5), or
 * refused:STATUS. Behind it may stand:
 *   partial   the reference leaves some output elements unwritten (dead rows): nobody looks at those
 *   cut       rows of the first input may be run alone to test LMF_ROW_INVARIANT, though other inputs are given by value
 *             (by default that is done unless an input is given by value, is STATE, or may be an index of rows)
 * error: what the op's header promises, of each output: terms of NUMBER [n] [UNIT] joined by +, outputs parted by ; (the last
 * stands for those behind it). The allowed error of an element is their sum, each NUMBER times
 *   (no unit)  the element's magnitude          rms  root mean square of the output
 *   mag        the same element, by the reference, of the magnitudes of all float inputs and attributes: a sum's own scale
 *   NAME       the input's element in the same place; its greatest where its shape is another, or behind the word max
 *   n          before a unit: the number of terms of a sum, by the op's cost
 * "0" is exact. A row without one has that of the row above it of the same op; of an op with a field compute, of the same
 * value. A row of a case file that is accepted and has none at all is a failure (but for compute 1 and outputs of integers).
 * Besides, the tolerances of (dtype, kind of op) in the harness (op_error.c) hold; tol=X in draw replaces both, with a reason in
 * a comment beside it. */
#ifndef LMF_TESTS_HARNESS_OP_CASE_H
#define LMF_TESTS_HARNESS_OP_CASE_H

typedef struct lmf_op_case { const char *op, *name, *inputs, *attrs, *draw, *error; } lmf_op_case;
#define LMF_OP_CASES(stem) const lmf_op_case lmf_op_cases_##stem[]

#endif
