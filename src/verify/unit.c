/* SPDX-License-Identifier: Apache-2.0 */
/* unit_test (a file of that name would be a test): Python that an answer wrote, run with the row's tests in the sandbox (tier A): 1 where
 * all of it ran to its end.
 *
 * The row has "test" (text), "tests" (a list of texts, as MBPP's) or both, "setup" before them, and "entry_point", which is given to
 * check() where test defines that (HumanEval). A "prompt" that is Python and begins the entry point goes before the answer. Of an answer
 * counts what stands behind </think>; of that the first fenced block, or the first that defines the entry point; without a fence all.
 * Rule: the end is known by a secret that the driver writes once everything ran, not by the exit status: an answer that exits early has
 * failed. Code that looks for the secret in its caller's frames, or changes what == means, is not stopped from passing.
 * HumanEval: Chen et al. 2021, arXiv 2107.03374. */
#include <errno.h>
#include <string.h>
#include <sys/random.h>
#include "base/buf.h"
#include "base/number.h"
#include "sandbox/sandbox.h"
#include "verify/verify.h"

enum { MAX_PROGRAM = 1 << 22, SECRET = 32, MAX_SECONDS = 3600 };
static const char passed[] = "passed.txt";
static const char driver[] =
    "import os, sys, types\n"
    "secret, code = sys.stdin.buffer.read().decode('utf-8').split('\\n', 1)\n"
    "answer = sys.modules['answer'] = types.ModuleType('answer')\n"
    "here = os.open('.', os.O_RDONLY)\n"
    "exec(compile(code, 'answer', 'exec'), answer.__dict__)\n"
    "os.write(os.open('passed.txt', os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600, dir_fd=here), secret.encode())\n"
    "os._exit(0)\n";

typedef struct judge { double timeout_s; } judge;

static lmf_status run_python(lmf_ctx *ctx, const judge *j, const lmf_buf *in, lmf_sandbox_result *r)
{
    static const char *const argv[] = { "python3", "-I", "-c", driver, NULL };
    lmf_sandbox_job job = { .argv = argv, .in = lmf_buf_str(in), .n_in = in->n };
    lmf_sandbox_limits_default(&job.limits);
    job.limits.wall_s = job.limits.cpu_s = j->timeout_s;
    job.limits.output_bytes = 1 << 12;
    return lmf_sandbox_run(ctx, &job, r);
}

/* ---- the answer's code ---- */

static bool defines(const char *p, size_t n, const char *name)
{
    size_t k = strlen(name);
    for (const char *at = p; (at = memmem(at, n - (size_t)(at - p), name, k)); at++) {
        bool ends = at + k < p + n && (at[k] == '(' || at[k] == ' ');
        if (ends && at - p >= 4 && memcmp(at - 4, "def ", 4) == 0)
            return true;
    }
    return false;
}

/* The code within an answer; *out and *n_out are part of text. */
static void find_code(const char *text, const char *entry, const char **out, size_t *n_out)
{
    const char *found = NULL;
    for (const char *p = text; (p = strstr(p, "</think>")); p += 8)
        text = p + 8;
    *out = text, *n_out = strlen(text);
    for (const char *p = text; (p = strstr(p, "```"));) {
        const char *begin = strchr(p, '\n'), *end = begin ? strstr(begin, "\n```") : NULL;
        if (!begin)
            break;
        begin++;
        size_t n = end && end >= begin ? (size_t)(end + 1 - begin) : end ? 0 : strlen(begin);
        if (!found || (entry && defines(begin, n, entry))) {
            *out = found = begin, *n_out = n;
            if (!entry || defines(begin, n, entry))
                break;
        }
        p = end ? end + 4 : begin + n;
    }
}

/* ---- the program ---- */

static lmf_status put_line(lmf_buf *b, const json_t *text)
{
    LMF_TRY(lmf_buf_append(b, json_string_value(text), json_string_length(text)));
    return lmf_buf_putc(b, '\n');
}

static lmf_status make_program(lmf_ctx *ctx, const lmf_verify_in *in, const char *secret, lmf_buf *b)
{
    const json_t *test = json_object_get(in->row, "test"), *tests = json_object_get(in->row, "tests");
    const json_t *prompt = json_object_get(in->row, "prompt"), *setup = json_object_get(in->row, "setup");
    const char *entry = json_string_value(json_object_get(in->row, "entry_point")), *code;
    size_t n;
    if (!json_is_string(test) && !json_array_size(tests))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "the row has no tests: \"test\", a text, or \"tests\", a list of texts, is needed");
    find_code(in->text, entry, &code, &n);
    LMF_TRY(lmf_buf_printf(b, "%s\n", secret));
    if (entry && json_is_string(prompt) && defines(json_string_value(prompt), json_string_length(prompt), entry)) {
        LMF_TRY(lmf_buf_append(b, json_string_value(prompt), json_string_length(prompt)));
        if (defines(code, n, entry)) /* a function of its own, not the rest of the one that the prompt began */
            LMF_TRY(lmf_buf_putc(b, '\n'));
    }
    LMF_TRY(lmf_buf_append(b, code, n));
    LMF_TRY(lmf_buf_putc(b, '\n'));
    if (json_is_string(setup))
        LMF_TRY(put_line(b, setup));
    if (json_is_string(test))
        LMF_TRY(put_line(b, test));
    for (size_t i = 0; i < json_array_size(tests); i++) {
        if (!json_is_string(json_array_get(tests, i)))
            return LMF_FAIL(ctx, LMF_E_FORMAT, "the row's tests[%zu] is no text", i);
        LMF_TRY(put_line(b, json_array_get(tests, i)));
    }
    return entry && defines(lmf_buf_str(b), b->n, "check") ? lmf_buf_printf(b, "check(%s)\n", entry) : LMF_OK;
}

static lmf_status score(lmf_ctx *ctx, void *state, const lmf_verify_in *in, double *out)
{
    unsigned char bytes[SECRET];
    char secret[2 * SECRET + 1];
    lmf_sandbox_result r;
    lmf_buf program, left;
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes)
        return LMF_FAIL(ctx, LMF_E_IO, "no random bytes: %s", strerror(errno));
    for (int i = 0; i < SECRET; i++)
        secret[2 * i] = "0123456789abcdef"[bytes[i] >> 4], secret[2 * i + 1] = "0123456789abcdef"[bytes[i] & 15];
    secret[2 * SECRET] = 0;
    *out = 0;
    lmf_buf_init(&program, ctx, MAX_PROGRAM);
    lmf_buf_init(&left, ctx, sizeof secret);
    lmf_status s = make_program(ctx, in, secret, &program);
    if (!s && !(s = run_python(ctx, state, &program, &r))) {
        bool whole = r.end == LMF_SANDBOX_EXITED && r.code == 0 && lmf_sandbox_read(&r, passed, &left) == LMF_OK;
        *out = whole && strcmp(lmf_buf_str(&left), secret) == 0;
        lmf_sandbox_result_clear(&r);
    }
    lmf_buf_clear(&program);
    lmf_buf_clear(&left);
    return s;
}

/* ---- opening ---- */

static void close_judge(lmf_ctx *ctx, void *state) { lmf_delete(ctx, (judge *)state); }

/* A program without tests runs first: without Python or a sandbox that holds nothing is judged. */
static lmf_status try_out(lmf_ctx *ctx, const judge *j)
{
    lmf_sandbox_result r;
    lmf_buf program;
    judge patient = { .timeout_s = j->timeout_s > 30 ? j->timeout_s : 30 };
    lmf_buf_init(&program, ctx, 64);
    lmf_status s = lmf_buf_puts(&program, "secret\npass\n");
    if (!s && !(s = run_python(ctx, &patient, &program, &r))) {
        if (r.end != LMF_SANDBOX_EXITED || r.code)
            s = LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "python3 does not run in the sandbox: it %s, status %d; it had written: %.200s",
                         lmf_sandbox_end_text(r.end), r.code, lmf_buf_str(&r.err));
        lmf_sandbox_result_clear(&r);
    }
    lmf_buf_clear(&program);
    return s;
}

static lmf_status open_judge(lmf_ctx *ctx, const char *argument, const lmf_verify_opts *opts, void **state)
{
    int64_t seconds = 10;
    const char *p = argument;
    (void)opts;
    if (p && (!lmf_number_read(&p, &seconds) || *p || seconds < 1 || seconds > MAX_SECONDS))
        return LMF_FAIL(ctx, LMF_E_ARG, "unit_test:%.64s: give the seconds that a program may take, 1 to %d", argument, MAX_SECONDS);
    judge *j = lmf_new(ctx, judge);
    if (!j)
        return LMF_NO_MEMORY(ctx, sizeof *j, "a reward");
    j->timeout_s = (double)seconds;
    lmf_status s = try_out(ctx, j);
    if (s)
        return close_judge(ctx, j), lmf_fail_prefix(ctx, s, "the verifier unit_test");
    return *state = j, LMF_OK;
}

const lmf_verifier lmf_verifier_unit_test = { .name = "unit_test", .summary = "1 where the answer's Python passes the row's tests",
    .argument = "the seconds that a program may take; 10", .open = open_judge, .close = close_judge, .score = score };
