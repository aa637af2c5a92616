/* SPDX-License-Identifier: Apache-2.0 */
/* The form of a reasoning model's answer: <think>, what it thinks, </think>, and an answer behind it. */
#include <string.h>
#include "verify/verify.h"

static const char open_tag[] = "<think>", close_tag[] = "</think>";

static lmf_status score(lmf_ctx *ctx, void *state, const lmf_verify_in *in, double *out)
{
    (void)ctx, (void)state;
    const char *p = in->text, *close;
    *out = 0;
    while (*p && strchr(" \t\r\n", *p))
        p++;
    if (strncmp(p, open_tag, sizeof open_tag - 1) || strstr(p + 1, open_tag) || !(close = strstr(p, close_tag)) ||
        strstr(close + 1, close_tag))
        return LMF_OK;
    for (p = close + sizeof close_tag - 1; *p && strchr(" \t\r\n", *p); p++)
        ;
    *out = *p != 0;
    return LMF_OK;
}

const lmf_verifier lmf_verifier_format = { .name = "format",
    .summary = "1 where the answer is <think>, thoughts, </think> and something behind it, each tag once", .score = score };
