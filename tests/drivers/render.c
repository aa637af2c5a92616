/* SPDX-License-Identifier: Apache-2.0 */
/* render: the test driver of chat templates, for tools/oracle/template.py. Reads JSON lines
 * {"template": text, "vars": object, "now": seconds} and writes for each a line
 * {"text": ..., "spans": [[begin, end], ...]} or {"error": sentence, "status": name}. Not part of the product. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "text/template/template.h"

static json_t *render(lmf_ctx *ctx, const json_t *row)
{
    lmf_template *t = NULL;
    lmf_template_opts opts = lmf_template_opts_default();
    lmf_buf out;
    lmf_span_list spans;
    const json_t *source = json_object_get(row, "template");
    json_t *result = json_object();
    opts.now_unix = json_integer_value(json_object_get(row, "now"));
    lmf_buf_init(&out, ctx, 64 << 20);
    lmf_span_list_init(&spans, ctx);
    lmf_status s = lmf_template_parse(ctx, json_string_value(source), json_string_length(source), &t);
    if (!s)
        s = lmf_template_render(t, json_object_get(row, "vars"), &opts, &out, &spans);
    if (s) {
        json_object_set_new(result, "error", json_string(lmf_error(ctx)));
        json_object_set_new(result, "status", json_string(lmf_status_name(s)));
    } else {
        json_t *list = json_array();
        for (size_t i = 0; i < spans.n; i++)
            json_array_append_new(list, json_pack("[I, I]", (json_int_t)spans.items[i].begin, (json_int_t)spans.items[i].end));
        json_object_set_new(result, "text", json_stringn(lmf_buf_str(&out), out.n));
        json_object_set_new(result, "spans", list);
    }
    lmf_template_destroy(t);
    lmf_buf_clear(&out);
    lmf_span_list_clear(&spans);
    return result;
}

int main(void)
{
    lmf_ctx ctx;
    char *line = NULL;
    size_t cap = 0;
    lmf_ctx_init(&ctx, NULL);
    for (ssize_t n; (n = getline(&line, &cap, stdin)) > 0;) {
        json_error_t why;
        json_t *row = json_loadb(line, (size_t)n, JSON_ALLOW_NUL, &why), *result = row ? render(&ctx, row) : json_pack("{s:s}", "error", why.text);
        char *text = json_dumps(result, JSON_COMPACT | JSON_ENCODE_ANY);
        puts(text ? text : "{\"error\":\"the result is not UTF-8\"}");
        fflush(stdout);
        free(text);
        json_decref(result);
        json_decref(row);
        if (ctx.live_bytes) {
            fprintf(stderr, "render: %zu bytes leaked\n", ctx.live_bytes);
            return 1;
        }
    }
    free(line);
    lmf_ctx_clear(&ctx);
    return 0;
}
