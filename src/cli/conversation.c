/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/conversation.h"
#include <stdio.h>
#include <string.h>

lmf_status lmf__conversation_use_template(lmf_cli *cli, lmf_model *m, const char *path)
{
    lmf_status s = path ? lmf_model_load_template(m, path) : LMF_OK;
    return s ? lmf_fail_prefix(cli->ctx, s, "--chat-template") : LMF_OK;
}

lmf_status lmf__conversation_open_model(lmf_cli *cli, const char *path, bool in_4bit, lmf_model **out)
{
    lmf_in_4bit sum = { 0 };
    LMF_TRY(lmf_model_open(cli->ctx, path, out));
    lmf_status s = in_4bit ? lmf_model_to_4bit(*out, &sum) : LMF_OK;
    if (!s && in_4bit && !sum.n_params)
        s = LMF_FAIL(cli->ctx, LMF_E_ARG, "--load-in-4bit: %s has no matrix of floats with rows of a multiple of 64", path);
    if (s) {
        lmf_model_close(*out);
        *out = NULL;
    }
    return s;
}

bool lmf__conversation_skips(const char *bad_rows) { return !strcmp(bad_rows, "skip"); }

lmf_status lmf__conversation_hint(lmf_cli *cli, lmf_status s, const char *bad_rows)
{
    char text[1024];
    if (!lmf_row_is_bad(s) || lmf__conversation_skips(bad_rows) || strstr(lmf_error(cli->ctx), "--too-long"))
        return s;
    if (!strstr(lmf_error(cli->ctx), ", line ") && !strstr(lmf_error(cli->ctx), ", row "))
        return s;
    snprintf(text, sizeof text, "%s", lmf_error(cli->ctx));
    return LMF_FAIL(cli->ctx, s, "%s (--bad-rows skip leaves such rows out)", text);
}

void lmf__conversation_report(const char *path, const lmf_samples *s)
{
    if (s->n_bad)
        fprintf(stderr, "%s: %lld rows can't be used and were left out. The first: %s\n", path, (long long)s->n_bad, s->first_bad);
    if (s->n_unlearned)
        fprintf(stderr, "%s: %lld earlier answers are not learned, because the template shows them otherwise once more follows\n", path,
                (long long)s->n_unlearned);
    if (s->n_endless)
        fprintf(stderr, "warning: %s: in %lld of %lld rows an answer is learned without an end of turn, so the model won't learn to "
            "stop. %s\n", path,
                (long long)s->n_endless, (long long)s->n, s->first_endless);
}
