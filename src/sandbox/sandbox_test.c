/* SPDX-License-Identifier: Apache-2.0 */
/* Where the sandbox does not hold, every run here has to be refused by the name of what is missing: nothing is passed over. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "sandbox/parts.h"
#include "test.h"

static bool holds(lmf_ctx *ctx, lmf_sandbox_report *report)
{
    assert_ok(ctx, lmf_sandbox_check(ctx, NULL, NULL, report));
    assert_true(report->n >= LMF__N_FEATURES);
    return report->tier_a;
}

/* A run where one is possible; else the refusal, and false. */
static bool run_job(lmf_ctx *ctx, const lmf_sandbox_job *job, const lmf__sandbox_test *test, lmf_sandbox_result *r)
{
    lmf_sandbox_report report;
    if (holds(ctx, &report)) {
        assert_ok(ctx, lmf__sandbox_run(ctx, job, test, r));
        return true;
    }
    assert_refused(ctx, LMF_E_UNSUPPORTED, "nothing was run", lmf__sandbox_run(ctx, job, test, r));
    for (int i = 0; i < report.n; i++)
        if (!report.fact[i].holds && strstr(lmf_error(ctx), report.fact[i].name))
            return false;
    fail_msg("\"%s\" names nothing that is missing", lmf_error(ctx));
    return false;
}

static bool run_shell(lmf_ctx *ctx, const char *script, const lmf__sandbox_test *test, lmf_sandbox_result *r)
{
    lmf_sandbox_job job = { .argv = (const char *[]){ "/bin/sh", "-c", script, NULL } };
    lmf_sandbox_limits_default(&job.limits);
    return run_job(ctx, &job, test, r);
}

static void bytes_go_in_and_come_out(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_sandbox_result r;
    lmf_buf b;
    struct stat st;
    char scratch[4096];
    const char *script = "read a; read b < given; echo out $a $b; echo err >&2; echo kept > new; exit 7";
    lmf_sandbox_job job = { .argv = (const char *[]){ "/bin/sh", "-c", script, NULL }, .in = "in\n", .n_in = 3,
                            .files = &(lmf_sandbox_file){ "given", "file\n", 5 }, .n_files = 1 };
    lmf_sandbox_limits_default(&job.limits);
    if (run_job(ctx, &job, NULL, &r)) {
        assert_int_equal(r.end, LMF_SANDBOX_EXITED);
        assert_int_equal(r.code, 7);
        assert_string_equal(lmf_buf_str(&r.out), "out in file\n");
        assert_string_equal(lmf_buf_str(&r.err), "err\n");
        assert_int_equal(r.n_left, 2);
        assert_string_equal(r.left[0].name, "given");
        assert_string_equal(r.left[1].name, "new");
        assert_int_equal(r.left[1].n_bytes, 5);
        lmf_buf_init(&b, ctx, 100);
        assert_ok(ctx, lmf_sandbox_read(&r, "new", &b));
        assert_string_equal(lmf_buf_str(&b), "kept\n");
        assert_refused(ctx, LMF_E_IO, "no regular file", lmf_sandbox_read(&r, "../../etc/passwd", &b));
        assert_refused(ctx, LMF_E_IO, "no regular file", lmf_sandbox_read(&r, "", &b));
        lmf_buf_clear(&b);
        memcpy(scratch, r.scratch, sizeof scratch);
        lmf_sandbox_result_clear(&r);
        assert_int_not_equal(stat(scratch, &st), 0);
    }
    lmf_test_ctx_done(ctx);
}

static void each_feature_denied_is_a_refusal(void **state)
{
    (void)state;
    static const char *const name[LMF__N_FEATURES] = { "proc", "subreaper", "pidfd", "close_range", "rlimit", "identity", "capabilities",
                                                       "pdeathsig", "no_new_privs", "landlock", "seccomp" };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_sandbox_report report;
    lmf_sandbox_result r;
    lmf_sandbox_job job = { .argv = (const char *[]){ "/bin/sh", "-c", "echo ran > ran", NULL } };
    lmf_sandbox_limits_default(&job.limits);
    bool all = holds(ctx, &report);
    for (int f = 0; f < LMF__N_FEATURES; f++) {
        bool of_root = f == LMF__F_IDENTITY && !strstr(report.fact[f].text, "instead of root");
        assert_string_equal(report.fact[f].name, name[f]);
        if (all && !of_root)
            assert_refused(ctx, LMF_E_UNSUPPORTED, name[f], lmf__sandbox_run(ctx, &job, &(lmf__sandbox_test){ .deny = 1U << f }, &r));
        else if (all)
            continue; /* nothing is to be changed where the caller is not root */
        assert_refused(ctx, LMF_E_UNSUPPORTED, "nothing was run", lmf__sandbox_run(ctx, &job, &(lmf__sandbox_test){ .deny = 1U << f }, &r));
    }
    lmf_test_ctx_done(ctx);
}

/* With a rule left out where escapes are tried, one works, and is named. */
static void an_escape_that_works_is_a_refusal(void **state)
{
    (void)state;
    static const struct { int f; const char *says; } row[] = {
        { LMF__F_LANDLOCK, "an escape worked: /" }, { LMF__F_SECCOMP, "an escape worked: a socket was opened" },
        { LMF__F_RLIMIT, "an escape worked: a process was started past the limit" } };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_sandbox_report report;
    lmf_sandbox_result r;
    lmf_sandbox_job job = { .argv = (const char *[]){ "/bin/sh", "-c", "exit", NULL } };
    lmf_sandbox_limits_default(&job.limits);
    bool all = holds(ctx, &report);
    for (size_t i = 0; i < sizeof row / sizeof *row; i++)
        assert_refused(ctx, LMF_E_UNSUPPORTED, all ? row[i].says : "nothing was run",
                       lmf__sandbox_run(ctx, &job, &(lmf__sandbox_test){ .skip = 1U << row[i].f }, &r));
    lmf_test_ctx_done(ctx);
}

/* Older kernels know less Landlock; what it lacks is made good by the list of calls. */
static void older_landlock_holds_as_well(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_sandbox_result r;
    for (unsigned abi = 1; abi <= 8; abi++)
        if (run_shell(ctx, "echo a > a; read x < a; kill -0 $PPID; (read y < /etc/passwd && echo $y); (: > ../b); kill -0 $$ && echo $x $y",
                      &(lmf__sandbox_test){ .landlock_cap = abi }, &r)) {
            assert_string_equal(lmf_buf_str(&r.out), "a\n");
            assert_non_null(strstr(lmf_buf_str(&r.err), "kill: "));
            lmf_sandbox_result_clear(&r);
        }
    lmf_test_ctx_done(ctx);
}

static void limits_end_it(void **state)
{
    (void)state;
    static const struct { const char *script; lmf_sandbox_end end; } row[] = {
        { "while :; do :; done", LMF_SANDBOX_CPU }, { "i=0; while :; do i=$((i + 1)); : > f$i; done", LMF_SANDBOX_FILES },
        { "x=x; while [ ${#x} -lt 30000 ]; do x=$x$x; done; for i in 1 2 3 4 5 6 7 8 9; do echo $x > a$i; echo $x > b$i; done; "
          "while :; do :; done", LMF_SANDBOX_SCRATCH },
        { "kill -9 $$", LMF_SANDBOX_SIGNALLED }, { "while :; do echo xxxxxxxxxxxxxxxxxxxxxxxx; done > f", LMF_SANDBOX_FILE_SIZE } };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_sandbox_result r;
    for (size_t i = 0; i < sizeof row / sizeof *row; i++) {
        lmf_sandbox_job job = { .argv = (const char *[]){ "/bin/sh", "-c", row[i].script, NULL } };
        lmf_sandbox_limits_default(&job.limits);
        job.limits.cpu_s = 1, job.limits.n_files = 100, job.limits.file_bytes = 1 << 16, job.limits.wall_s = 60;
        job.limits.scratch_bytes = 1 << 18;
        if (run_job(ctx, &job, NULL, &r)) {
            if (r.end != row[i].end)
                fail_msg("%s: %s", row[i].script, lmf_sandbox_end_text(r.end));
            lmf_sandbox_result_clear(&r);
        }
    }
    lmf_sandbox_job job = { .argv = (const char *[]){ "/bin/sh", "-c", "read x", NULL } };
    lmf_sandbox_limits_default(&job.limits);
    job.limits.wall_s = 0.2, job.argv = (const char *[]){ "/bin/sh", "-c", "while read x; do :; done < /dev/random", NULL };
    if (run_job(ctx, &job, NULL, &r)) {
        assert_int_equal(r.end, LMF_SANDBOX_WALL);
        lmf_sandbox_result_clear(&r);
    }
    lmf_test_ctx_done(ctx);
}

static void output_is_capped_and_counted(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_sandbox_result r;
    const char *script = "i=0; while [ $i -lt 1000 ]; do echo 0123456789; i=$((i+1)); done";
    lmf_sandbox_job job = { .argv = (const char *[]){ "/bin/sh", "-c", script, NULL } };
    lmf_sandbox_limits_default(&job.limits);
    job.limits.output_bytes = 100;
    if (run_job(ctx, &job, NULL, &r)) {
        assert_int_equal(r.n_out, 11000);
        assert_int_equal(r.out.n, 100);
        assert_int_equal(r.code, 0);
        lmf_sandbox_result_clear(&r);
    }
    lmf_test_ctx_done(ctx);
}

/* What the program started in the background ends with it. */
static void nothing_outlives_it(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_sandbox_result r;
    if (run_shell(ctx, "(while :; do :; done) & (trap '' HUP INT TERM; while :; do :; done) & echo $!; exit 3", NULL, &r)) {
        int pid = 0;
        assert_int_equal(sscanf(lmf_buf_str(&r.out), "%d", &pid), 1);
        assert_int_equal(r.end, LMF_SANDBOX_EXITED);
        assert_int_equal(r.code, 3);
        assert_int_not_equal(kill(pid, 0), 0);
        lmf_sandbox_result_clear(&r);
    }
    lmf_test_ctx_done(ctx);
}

static bool at_once(void *user)
{
    ++*(int *)user;
    return true;
}

static void it_can_be_stopped(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_sandbox_result r;
    int asked = 0;
    lmf_sandbox_job job = { .argv = (const char *[]){ "/bin/sh", "-c", "while :; do :; done", NULL }, .stop = at_once,
                            .stop_user = &asked };
    lmf_sandbox_limits_default(&job.limits);
    if (run_job(ctx, &job, NULL, &r)) {
        assert_int_equal(r.end, LMF_SANDBOX_STOPPED);
        assert_int_equal(asked, 1);
        lmf_sandbox_result_clear(&r);
    }
    lmf_test_ctx_done(ctx);
}

static void wrong_jobs_are_refused(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_sandbox_result r;
    const char *script = lmf_test_path("script");
    lmf_sandbox_job job = { .argv = (const char *[]){ NULL } };
    lmf_sandbox_limits_default(&job.limits);
    assert_refused(ctx, LMF_E_ARG, "no program was given", lmf_sandbox_run(ctx, &job, &r));
    job.argv = (const char *[]){ "no-such-program", NULL };
    assert_refused(ctx, LMF_E_ARG, "there is no program no-such-program", lmf_sandbox_run(ctx, &job, &r));
    int fd = open(script, O_CREAT | O_WRONLY, 0700);
    assert_int_equal(write(fd, "#!/bin/sh\n", 10), 10);
    close(fd);
    job.argv = (const char *[]){ script, NULL };
    assert_refused(ctx, LMF_E_ARG, "is a script", lmf_sandbox_run(ctx, &job, &r));
    job.argv = (const char *[]){ "/bin/sh", NULL };
    job.limits.wall_s = 0;
    assert_refused(ctx, LMF_E_ARG, "wall_s", lmf_sandbox_run(ctx, &job, &r));
    lmf_sandbox_limits_default(&job.limits);
    job.files = &(lmf_sandbox_file){ "../x", "", 0 }, job.n_files = 1;
    assert_refused(ctx, LMF_E_ARG, "without /", lmf_sandbox_run(ctx, &job, &r));
    job.n_files = 0, job.helper = "/bin/true";
    lmf_status s = lmf_sandbox_run(ctx, &job, &r);
    assert_int_equal(s, LMF_E_IO);
    lmf_test_ctx_done(ctx);
}

/* Tier B is that or a refusal: no bubblewrap, and one that gives no namespaces. */
static void namespaces_or_nothing(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_sandbox_report report;
    lmf_sandbox_result r;
    lmf_sandbox_job job = { .argv = (const char *[]){ "/bin/sh", "-c", "echo ran", NULL }, .tier = LMF_SANDBOX_TIER_B };
    lmf_sandbox_limits_default(&job.limits);
    holds(ctx, &report);
    if (report.tier_b) {
        assert_ok(ctx, lmf_sandbox_run(ctx, &job, &r));
        assert_string_equal(lmf_buf_str(&r.out), "ran\n");
        lmf_sandbox_result_clear(&r);
    } else {
        assert_refused(ctx, LMF_E_UNSUPPORTED, "tier B does not hold here, so nothing was run: namespaces", lmf_sandbox_run(ctx, &job, &r));
    }
    static const char *const wrong[] = { "no-such-bwrap", "/bin/true" };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        job.bwrap = wrong[i];
        assert_refused(ctx, LMF_E_UNSUPPORTED, "namespaces", lmf_sandbox_run(ctx, &job, &r));
        assert_ok(ctx, lmf_sandbox_check(ctx, NULL, wrong[i], &report));
        assert_false(report.tier_b);
    }
    lmf_test_ctx_done(ctx);
}

static lmf_status whole_run(lmf_ctx *ctx, void *arg)
{
    lmf_sandbox_result r;
    lmf_sandbox_job job = { .argv = (const char *[]){ "/bin/sh", "-c", "echo a > a; echo b", NULL }, .in = "x", .n_in = 1,
                            .files = &(lmf_sandbox_file){ "given", "file\n", 5 }, .n_files = 1 };
    lmf_sandbox_limits_default(&job.limits);
    lmf_status s = lmf_sandbox_run(ctx, &job, &r);
    lmf_sandbox_result_clear(&r);
    return s == LMF_E_UNSUPPORTED && !*(bool *)arg ? LMF_OK : s;
}

static void each_failing_call_is_a_sentence(void **state)
{
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_sandbox_report report;
    bool all = holds(ctx, &report);
    lmf_test_ctx_done(ctx);
    assert_true(lmf_test_fail_each_call(whole_run, &all) >= 4);
}

LMF_TESTS(sandbox) = {
    { "bytes go in and come out", bytes_go_in_and_come_out },
    { "each feature denied is a refusal", each_feature_denied_is_a_refusal },
    { "an escape that works is a refusal", an_escape_that_works_is_a_refusal },
    { "older Landlock holds as well", older_landlock_holds_as_well },
    { "limits end it", limits_end_it },
    { "output is capped and counted", output_is_capped_and_counted },
    { "nothing outlives it", nothing_outlives_it },
    { "it can be stopped", it_can_be_stopped },
    { "wrong jobs are refused", wrong_jobs_are_refused },
    { "namespaces or nothing", namespaces_or_nothing },
    { "each failing call is a sentence", each_failing_call_is_a_sentence },
    { 0 } };
