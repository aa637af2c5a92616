/* SPDX-License-Identifier: Apache-2.0 */
/* rows MODEL ROWS auto|everywhere|nowhere: the test driver of rows, for tools/oracle/rows.py. Each row by itself as a line
 * {"line": n, "ids": [...], "learn": [...]} or {"line": n, "error": sentence}; last {"refused": rows that were no rows, "first": why}.
 * Not part of the product. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "data/samples.h"
#include "models/model.h"
#include "registry/registry.h"

static void print_sample(const lmf_sample *x)
{
    printf("{\"line\": %lld, \"ids\": [", (long long)x->line);
    for (int32_t k = 0; k < x->n; k++)
        printf("%s%d", k ? "," : "", x->id[k]);
    printf("], \"learn\": [");
    for (int32_t k = 0; k < x->n; k++)
        printf("%s%d", k ? "," : "", x->learn[k]);
    printf("]}\n");
}

static void print_error(const lmf_ctx *ctx, int64_t line)
{
    json_t *j = json_pack("{s:I, s:s}", "line", (json_int_t)line, "error", lmf_error(ctx));
    char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
    printf("%s\n", text ? text : "{\"bad\": \"a sentence that is not UTF-8\"}");
    free(text);
    json_decref(j);
}

static lmf_status print_rows(lmf_ctx *ctx, const lmf_model *m, const char *path)
{
    lmf_rows rows;
    LMF_TRY(lmf_rows_open_with(ctx, path, true, &rows));
    for (int64_t i = 0; i < rows.n; i++) {
        lmf_samples *s = NULL;
        lmf_rows one = rows;
        one.items = rows.items + i, one.n = 1, one.n_bad = 0, one.skip_bad = false;
        if (lmf_samples_create(&one, &m->chat, 1 << 20, LMF_LONG_ERROR, &s))
            print_error(ctx, rows.items[i].line);
        else
            print_sample(&s->items[0]);
        lmf_samples_destroy(s);
    }
    json_t *end = json_pack("{s:I, s:s}", "refused", (json_int_t)rows.n_bad, "first", rows.first_bad);
    char *text = json_dumps(end, JSON_COMPACT);
    printf("%s\n", text ? text : "{}");
    free(text);
    json_decref(end);
    lmf_rows_close(&rows);
    return LMF_OK;
}

int main(int argc, char **argv)
{
    lmf_ctx *ctx;
    lmf_model *m;
    if (argc < 4 || lmf_ctx_create(&ctx))
        return 2;
    lmf_status s = lmf_model_open(ctx, argv[1], &m);
    if (!s) {
        m->chat.control = !strcmp(argv[3], "everywhere") ? LMF_CONTROL_EVERYWHERE : !strcmp(argv[3], "nowhere") ? LMF_CONTROL_NOWHERE :
            LMF_CONTROL_BY_ORIGIN;
        s = print_rows(ctx, m, argv[2]);
        lmf_model_close(m);
    }
    if (s)
        fprintf(stderr, "%s\n", lmf_error(ctx));
    lmf_ctx_destroy(ctx);
    return s ? 1 : 0;
}
