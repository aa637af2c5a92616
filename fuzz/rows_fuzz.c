/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: any bytes as a file of rows. Whatever opens gives each of its rows again, in the one form, which is its own form: brought
 * into it once more it stays as it is. */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>
#include "data/rows.h"

extern const lmf_tables lmf_all_tables;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    lmf_ctx ctx;
    lmf_rows rows;
    char path[64];
    int fd = memfd_create("rows", MFD_CLOEXEC);
    LMF_ASSERT(fd >= 0 && write(fd, data, n) == (ssize_t)n);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    lmf_ctx_init(&ctx, &lmf_all_tables);
    if (lmf_rows_open_with(&ctx, path, n % 2, &rows) == LMF_OK) {
        LMF_ASSERT(rows.n > 0 && rows.n_bad * (n % 2 == 0) == 0);
        for (int64_t i = 0; i < rows.n; i++) {
            json_t *row, *before;
            LMF_ASSERT(lmf_row_get(&rows, i, &row) == LMF_OK && (before = json_deep_copy(row)));
            LMF_ASSERT(lmf__row_normalize(&ctx, row) == LMF_OK && json_equal(row, before));
            json_decref(before);
            json_decref(row);
        }
        lmf_rows_close(&rows);
    }
    close(fd);
    LMF_ASSERT(ctx.live_bytes == 0);
    lmf_ctx_clear(&ctx);
    return 0;
}
