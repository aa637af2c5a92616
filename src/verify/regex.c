/* SPDX-License-Identifier: Apache-2.0 */
/* The C library's extended regular expressions (POSIX); back references, which can take for ever, are refused. */
#include <regex.h>
#include <stdio.h>
#include <string.h>
#include "verify/verify.h"

enum { MAX_PATTERN = 1024, MAX_TEXT = 1 << 20 };

static bool has_back_reference(const char *p)
{
    for (; *p; p++)
        if (*p == '\\' && *++p >= '1' && *p <= '9')
            return true;
        else if (!*p)
            break;
    return false;
}

static lmf_status open_pattern(lmf_ctx *ctx, const char *argument, const lmf_verify_opts *opts, void **state)
{
    char why[128];
    (void)opts;
    if (strlen(argument) > MAX_PATTERN || has_back_reference(argument))
        return LMF_FAIL(ctx, LMF_E_ARG, "regex: an expression of at most %d bytes without back references is possible", MAX_PATTERN);
    regex_t *own = lmf_new(ctx, regex_t);
    if (!own)
        return LMF_NO_MEMORY(ctx, sizeof *own, "a reward");
    int bad = regcomp(own, argument, REG_EXTENDED | REG_NOSUB);
    if (bad) {
        regerror(bad, own, why, sizeof why);
        lmf_delete(ctx, own);
        return LMF_FAIL(ctx, LMF_E_ARG, "regex:%.200s can't be read: %s", argument, why);
    }
    *state = own;
    return LMF_OK;
}

static void close_pattern(lmf_ctx *ctx, void *state)
{
    regfree(state);
    lmf_delete(ctx, (regex_t *)state);
}

static lmf_status score(lmf_ctx *ctx, void *state, const lmf_verify_in *in, double *out)
{
    if (in->n > MAX_TEXT)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "an answer of %zu bytes is longer than the %d that are searched", in->n, MAX_TEXT);
    *out = regexec(state, in->text, 0, NULL, 0) == 0;
    return LMF_OK;
}

const lmf_verifier lmf_verifier_regex = { .name = "regex", .summary = "1 where the expression is found in the answer",
    .argument = "a POSIX extended regular expression; ^ and $ for the whole answer", .needs_argument = true, .open = open_pattern,
    .close = close_pattern, .score = score };
