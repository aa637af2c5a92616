/* SPDX-License-Identifier: Apache-2.0 */
/* The row's answer, letter by letter, but for case (of ASCII), white space, and a sentence's end. */
#include <string.h>
#include "verify/final.h"
#include "verify/verify.h"

typedef struct reader { const char *p, *end; bool began, space; } reader;

static bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

static reader open_text(const char *p, size_t n)
{
    while (n && (is_space(p[n - 1]) || strchr(".!?", p[n - 1])))
        n--;
    return (reader){ .p = p, .end = p + n };
}

/* The next character: runs of white space are one, those at the beginning none. -1: the end. */
static int next(reader *r)
{
    while (r->p < r->end && is_space(*r->p))
        r->p++, r->space = true;
    if (r->p == r->end)
        return -1;
    if (r->space && r->began)
        return r->space = false, ' ';
    r->began = true, r->space = false;
    unsigned char c = (unsigned char)*r->p++;
    return c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c;
}

lmf_status lmf_answer_plain(const char *text, size_t n, lmf_buf *out)
{
    reader r = open_text(text, n);
    for (int c = next(&r); c >= 0; c = next(&r))
        lmf_buf_putc(out, (char)c);
    return out->status;
}

static lmf_status score(lmf_ctx *ctx, void *state, const lmf_verify_in *in, double *out)
{
    (void)state;
    if (!in->reference)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "the row has no answer of its own: give it as \"answer\"");
    reader a = open_text(in->text, in->n), b = open_text(in->reference, strlen(in->reference));
    int x, y;
    do
        x = next(&a), y = next(&b);
    while (x == y && x >= 0);
    *out = x == y;
    return LMF_OK;
}

const lmf_verifier lmf_verifier_exact = { .name = "exact",
    .summary = "1 where the answer is the row's own, but for case, white space and a sentence's end", .score = score };
