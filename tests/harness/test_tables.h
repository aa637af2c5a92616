/* SPDX-License-Identifier: Apache-2.0 */
/* test_tables: what the build generates for the test binary: one entry a *_test.c. */
#ifndef LMF_TESTS_HARNESS_TEST_TABLES_H
#define LMF_TESTS_HARNESS_TEST_TABLES_H
#include "op_case.h"
#include "test.h"

typedef struct lmf_test_entry { const char *folder, *stem; const lmf_test *tests; const lmf_op_case *cases; } lmf_test_entry;
extern const lmf_test_entry lmf_test_entries[];   /* ended by folder NULL */

#endif
