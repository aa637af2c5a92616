/* SPDX-License-Identifier: Apache-2.0 */
/* lmfast sandbox check: what holds here. lmfast sandbox run -- PROGRAM ...: a program that nobody vouches for, under those rules. */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/file.h"
#include "cli/command.h"
#include "data/source.h"
#include "format/json.h"
#include "sandbox/sandbox.h"

typedef struct sandbox_args {
    const char *what, *tier, *in, *save, *bwrap;
    lmf_texts   program, put, read;
    double      timeout, cpu;
    int64_t     memory, file, scratch, files, processes, open, output; /* the sizes in MiB, output in KiB */
} sandbox_args;

#define AT(member) offsetof(sandbox_args, member)
static const lmf_flag flags[] = {
    { "what", 0, LMF_FLAG_CHOICE, AT(what), .required = true, .positional = true, .choices = "check|run",
      .help = "check: what holds on this machine, and why; run: a program under these rules, as in run --timeout 5 -- python3 script.py" },
    { "program", 0, LMF_FLAG_LIST, AT(program), .positional = true,
      .help = "run: the program and its arguments, behind --; a script that is its first argument is put into the scratch folder" },
    { "tier", 0, LMF_FLAG_CHOICE, AT(tier), .fallback = "a", .choices = "a|b", .help = "b: within namespaces, too (bubblewrap)" },
    { "bwrap", 0, LMF_FLAG_STRING, AT(bwrap), .help = "bubblewrap's program; bwrap by PATH if left out" },
    { "timeout", 0, LMF_FLAG_DOUBLE, AT(timeout), 0.01, 1e6, .fallback = "10", .unit = "seconds", .help = "from start to end" },
    { "cpu", 0, LMF_FLAG_DOUBLE, AT(cpu), 0.01, 1e6, .fallback = "10", .unit = "seconds", .help = "processor time of one process" },
    { "memory", 0, LMF_FLAG_INT, AT(memory), 1, 1e9, .fallback = "512", .unit = "MiB",
      .help = "address space of a process, and all they hold" },
    { "file-size", 0, LMF_FLAG_INT, AT(file), 0, 1e9, .fallback = "16", .unit = "MiB", .help = "of one file" },
    { "scratch", 0, LMF_FLAG_INT, AT(scratch), 0, 1e9, .fallback = "64", .unit = "MiB", .help = "of all files in the scratch folder" },
    { "files", 0, LMF_FLAG_INT, AT(files), 0, 1e6, .fallback = "1000", .help = "files and folders in the scratch folder" },
    { "processes", 0, LMF_FLAG_INT, AT(processes), 1, 4096, .fallback = "16", .help = "processes and threads together" },
    { "open", 0, LMF_FLAG_INT, AT(open), 8, 65536, .fallback = "64", .help = "open files of a process" },
    { "output", 0, LMF_FLAG_INT, AT(output), 0, 1 << 20, .fallback = "1024", .unit = "KiB", .help = "kept of stdout, and of stderr" },
    { "stdin", 0, LMF_FLAG_STRING, AT(in), .help = "a file that is the program's standard input; - is our own; empty if left out" },
    { "put", 0, LMF_FLAG_LIST, AT(put), .help = "files that are copied into the scratch folder" },
    { "read", 0, LMF_FLAG_LIST, AT(read), .help = "files and folders that may be read besides the program's own libraries" },
    { "save", 0, LMF_FLAG_STRING, AT(save), .help = "a folder for the files that are left in the scratch folder; made if it is not there" },
    { 0 }
};

static lmf_status check(lmf_cli *cli, const sandbox_args *a)
{
    lmf_sandbox_report r;
    LMF_TRY(lmf_sandbox_check(cli->ctx, NULL, a->bwrap, &r));
    json_t *facts = cli->json ? json_array() : NULL;
    for (int i = 0; i < r.n; i++) {
        const lmf_sandbox_fact *f = &r.fact[i];
        if (facts)
            json_array_append_new(facts, json_pack("{s:s, s:b, s:b, s:s}", "name", f->name, "holds", f->holds, "needed", f->needed, "text",
                                                   f->text));
        else
            printf("%-16s %-4s %s\n", f->name, f->holds ? "yes" : f->needed ? "NO" : "no", f->text);
    }
    if (facts)
        LMF_TRY(lmf_cli_print_json(cli, json_pack("{s:b, s:b, s:o}", "tier_a", r.tier_a, "tier_b", r.tier_b, "facts", facts)));
    else
        printf("tier A (processes, system calls, files, limits): %s\ntier B (namespaces, too): %s\n", r.tier_a ? "holds" : "does not hold",
               r.tier_b ? "holds" : "does not hold");
    return r.tier_a ? LMF_OK
                    : LMF_FAIL(cli->ctx, LMF_E_UNSUPPORTED, "the sandbox does not hold on this machine; the lines marked NO say why");
}

/* The files to put, the script included; *n_put of them read into text. */
static lmf_status put_files(lmf_cli *cli, sandbox_args *a, lmf_sandbox_file *file, lmf_buf *text, int *n)
{
    const char *script = a->program.n > 1 ? a->program.item[1] : NULL, *paths[LMF_MAX_TEXTS + 1];
    int n_paths = 0;
    *n = 0;
    for (int64_t i = 0; i < a->put.n; i++)
        paths[n_paths++] = a->put.item[i];
    if (script && *script != '-' && lmf_path_stat(script) == LMF_PATH_FILE) {
        const char *slash = strrchr(script, '/');
        paths[n_paths++] = script;
        a->program.item[1] = slash ? slash + 1 : script;
    }
    for (; *n < n_paths; ++*n) {
        const char *slash = strrchr(paths[*n], '/');
        lmf_buf_init(&text[*n], cli->ctx, (size_t)1 << 30);
        file[*n] = (lmf_sandbox_file){ .name = slash ? slash + 1 : paths[*n] };
        lmf_status s = lmf_source_read(cli->ctx, paths[*n], "a file for the sandbox", &text[*n]);
        if (s) {
            lmf_buf_clear(&text[*n]);
            return s;
        }
        file[*n].data = lmf_buf_str(&text[*n]), file[*n].n = text[*n].n;
    }
    return LMF_OK;
}

static lmf_status save(lmf_cli *cli, const char *dir, const lmf_sandbox_result *r)
{
    LMF_TRY(lmf_dir_create(cli->ctx, dir));
    for (int i = 0; i < r->n_left; i++) {
        char path[4096];
        lmf_buf b;
        lmf_buf_init(&b, cli->ctx, LMF_POWER2(32));
        lmf_status s = lmf_path_join(cli->ctx, path, sizeof path, dir, r->left[i].name);
        for (char *slash = path + strlen(dir) + 1; !s && (slash = strchr(slash, '/')); *slash++ = '/') {
            *slash = 0;
            s = lmf_dir_create(cli->ctx, path);
        }
        if (!s)
            s = lmf_sandbox_read(r, r->left[i].name, &b);
        if (!s)
            s = lmf_file_write(cli->ctx, path, lmf_buf_str(&b), b.n);
        lmf_buf_clear(&b);
        LMF_TRY(s);
    }
    return LMF_OK;
}

static void print_plain(lmf_cli *cli, const lmf_sandbox_result *r)
{
    fwrite(lmf_buf_str(&r->out), 1, r->out.n, stdout);
    fwrite(lmf_buf_str(&r->err), 1, r->err.n, stderr);
    if (cli->quiet)
        return;
    if (r->n_out > r->out.n || r->n_err > r->err.n)
        fprintf(stderr, "lmfast sandbox: of %llu bytes of output and %llu of errors, %zu and %zu were kept\n", (unsigned long long)r->n_out,
                (unsigned long long)r->n_err, r->out.n, r->err.n);
    for (int i = 0; i < r->n_left; i++) {
        char shown[512];
        fprintf(stderr, "lmfast sandbox: left %s, %lld bytes\n", lmf_plain_text(r->left[i].name, shown, sizeof shown),
                (long long)r->left[i].n_bytes);
    }
}

static lmf_status print_result(lmf_cli *cli, const lmf_sandbox_result *r)
{
    json_t *left = json_array();
    for (int i = 0; i < r->n_left; i++)
        json_array_append_new(left, json_pack("{s:o, s:I}", "name", lmf_json_stringn(r->left[i].name, strlen(r->left[i].name)), "bytes",
                                              (json_int_t)r->left[i].n_bytes));
    return lmf_cli_print_json(cli, json_pack("{s:s, s:b, s:i, s:o, s:o, s:I, s:I, s:f, s:f, s:I, s:o, s:b}",
        "end", lmf_sandbox_end_text(r->end), "exited", r->end == LMF_SANDBOX_EXITED, "code", r->code,
        "stdout", lmf_json_stringn(lmf_buf_str(&r->out), r->out.n),
        "stderr", lmf_json_stringn(lmf_buf_str(&r->err), r->err.n),
        "stdout_bytes", (json_int_t)r->n_out, "stderr_bytes", (json_int_t)r->n_err,
        "seconds", round(r->wall_s * 1e6) / 1e6, "cpu_seconds", round(r->cpu_s * 1e6) / 1e6,
        "peak_bytes", (json_int_t)r->peak_bytes, "files", left, "files_cut", r->left_cut));
}

static bool stop(void *user)
{
    (void)user;
    return lmf_cli_interrupted();
}

static lmf_status run_job(lmf_cli *cli, const sandbox_args *a, lmf_sandbox_job *job)
{
    lmf_sandbox_result r;
    LMF_TRY(lmf_sandbox_run(cli->ctx, job, &r));
    lmf_status s = a->save ? save(cli, a->save, &r) : LMF_OK;
    if (!s && cli->json)
        s = print_result(cli, &r);
    else if (!s)
        print_plain(cli, &r);
    fflush(stdout);
    if (!s && r.end == LMF_SANDBOX_STOPPED)
        s = LMF_FAIL(cli->ctx, LMF_E_CANCELLED, "the program was stopped");
    else if (!s && !cli->json && r.end == LMF_SANDBOX_EXITED && r.code)
        s = LMF_FAIL(cli->ctx, LMF_E_ARG, "the program exited with %d", r.code);
    else if (!s && !cli->json && r.end == LMF_SANDBOX_SIGNALLED)
        s = LMF_FAIL(cli->ctx, LMF_E_ARG, "the program was ended by signal %d (%s)", r.code, strsignal(r.code));
    else if (!s && !cli->json && r.end != LMF_SANDBOX_EXITED)
        s = LMF_FAIL(cli->ctx, LMF_E_LIMIT, "the program was %s", lmf_sandbox_end_text(r.end));
    lmf_sandbox_result_clear(&r);
    return s;
}

static lmf_status run(lmf_cli *cli, void *args)
{
    sandbox_args *a = args;
    const char *argv[LMF_MAX_TEXTS + 1] = { NULL }, *read[LMF_MAX_TEXTS + 1] = { NULL };
    lmf_sandbox_file file[LMF_MAX_TEXTS + 1];
    lmf_buf text[LMF_MAX_TEXTS + 1], in;
    if (!strcmp(a->what, "check"))
        return check(cli, a);
    if (!a->program.n)
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "no program is given; lmfast sandbox run -- python3 script.py");
    lmf_sandbox_job job = { .argv = argv, .read = read, .files = file, .bwrap = a->bwrap, .stop = stop,
                            .tier = *a->tier == 'b' ? LMF_SANDBOX_TIER_B : LMF_SANDBOX_TIER_A };
    job.limits = (lmf_sandbox_limits){ a->timeout, a->cpu, a->memory << 20, a->file << 20, a->scratch << 20, a->files, a->processes,
                                       a->open, a->output << 10 };
    lmf_buf_init(&in, cli->ctx, (size_t)1 << 30);
    lmf_status s = put_files(cli, a, file, text, &job.n_files);
    for (int64_t i = 0; i < a->program.n; i++)
        argv[i] = a->program.item[i];
    for (int64_t i = 0; i < a->read.n; i++)
        read[i] = a->read.item[i];
    if (!s && a->in)
        s = lmf_source_read(cli->ctx, a->in, "standard input for the sandbox", &in);
    job.in = lmf_buf_str(&in), job.n_in = in.n;
    if (!s)
        s = run_job(cli, a, &job);
    for (int i = 0; i < job.n_files; i++)
        lmf_buf_clear(&text[i]);
    lmf_buf_clear(&in);
    return s;
}

const lmf_command lmf_command_sandbox = {
    "sandbox", "run a program that nobody vouches for, with nothing but a folder of its own", flags, sizeof(sandbox_args), run,
    .example = "lmfast sandbox check" };
