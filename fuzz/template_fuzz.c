/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: any bytes as a chat template, over a fixed conversation, with small budgets. A template that renders
 * must render to the same bytes again. */
#include <string.h>
#include "text/template/template.h"

static const char vars_text[] = "{\"messages\": [{\"role\": \"user\", \"content\": \"h\\u00e9 <b>\"}, {\"role\": \"assistant\", \"content\": null, \"tool_calls\": [{\"function\": "
    "{\"name\": \"f\", \"arguments\": {\"x\": [1, 2.5, null, true]}}}]}], \"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"f\"}}], \"n\": 7, \"s\": \"Hello\", \"t\": true}";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    lmf_ctx ctx;
    lmf_template *t = NULL;
    lmf_buf out;
    lmf_span_list spans;
    json_t *vars = json_loads(vars_text, 0, NULL);
    lmf_template_opts opts = lmf_template_opts_default();
    opts.max_steps = 20000;
    opts.max_memory = opts.max_output = 1 << 20;
    lmf_ctx_init(&ctx, NULL);
    lmf_buf_init(&out, &ctx, 4 << 20);
    lmf_span_list_init(&spans, &ctx);
    if (lmf_template_parse(&ctx, (const char *)data, n, &t) == LMF_OK && lmf_template_render(t, vars, &opts, &out, &spans) == LMF_OK) {
        size_t first = out.n;
        LMF_ASSERT(lmf_template_render(t, vars, &opts, &out, NULL) == LMF_OK && out.n == 2 * first);
        LMF_ASSERT(first == 0 || memcmp(out.data, out.data + first, first) == 0);
        for (size_t i = 0; i < spans.n; i++)
            LMF_ASSERT(spans.items[i].begin <= spans.items[i].end && spans.items[i].end <= first);
    }
    lmf_template_destroy(t);
    lmf_buf_clear(&out);
    lmf_span_list_clear(&spans);
    json_decref(vars);
    LMF_ASSERT(ctx.live_bytes == 0);
    lmf_ctx_clear(&ctx);
    return 0;
}
