/* SPDX-License-Identifier: Apache-2.0 */
/* sandbox: a program that nobody vouches for runs here: bytes in, bytes out, one scratch folder, nothing else. Linux only.
 *
 * Tier A, always: a fresh process; a list of allowed system calls (seccomp; those of other ABIs end it); files by path (Landlock: the
 * scratch folder may be written, the program and its libraries read, nothing else opened); no network, no new namespaces, no signals or
 * traces to others; limits of memory, time, files, processes, output; an empty environment, no inherited descriptors, no privileges. Where
 * the caller is root the program runs as a user that nobody else is. When it ends, whatever it started ends with it.
 * Tier B: the same, within namespaces of its own by bubblewrap.
 * Each run first tries real escapes under the same rules. One that succeeds, or a feature that the kernel lacks, is a refusal that names
 * it (LMF_E_UNSUPPORTED); nothing runs with less than what was asked for.
 *
 * Rule for programs: the rules are set in a fresh process of a program that calls lmf_sandbox_main first in its main(); lmfast does.
 * Not stopped: what the program may read (names, sizes and times of files everywhere; bytes of its own libraries), covert channels,
 * faults of the kernel. Output and files are untrusted.
 * Owner: a result is the caller's storage; clear removes the scratch folder. Threads: any, each with a result of its own.
 *
 *     lmf_sandbox_job job = { .argv = (const char *[]){ "python3", "-c", code, NULL } };
 *     lmf_sandbox_limits_default(&job.limits);
 *     LMF_TRY(lmf_sandbox_run(ctx, &job, &r));          // OK: it ran, however it ended
 *     if (r.end == LMF_SANDBOX_EXITED && r.code == 0) use(lmf_buf_str(&r.out));
 *     lmf_sandbox_result_clear(&r); */
#ifndef LMF_SANDBOX_SANDBOX_H
#define LMF_SANDBOX_SANDBOX_H
#include "base/buf.h"

enum { LMF_SANDBOX_MAX_ARGS = 256, LMF_SANDBOX_MAX_READ = 32 };

typedef struct lmf_sandbox_limits {
    double  wall_s;          /* from its start; 10 */
    double  cpu_s;           /* of one process, rounded up to seconds; 10 */
    int64_t memory_bytes;    /* address space of one process, and what all together hold in memory; 512 MiB */
    int64_t file_bytes;      /* one file; 16 MiB */
    int64_t scratch_bytes;   /* all files of the scratch folder; 64 MiB. Looked at 50 times a second, as are n_files and all memory */
    int64_t n_files;         /* files and folders in the scratch folder; 1000 */
    int64_t n_processes;     /* processes and threads together; 16. As a user's other processes count, too, it is that many more */
    int64_t n_open;          /* descriptors of one process; 64 */
    int64_t output_bytes;    /* kept of stdout, and of stderr; the rest is counted and dropped; 1 MiB */
} lmf_sandbox_limits;
void lmf_sandbox_limits_default(lmf_sandbox_limits *l);

typedef enum lmf_sandbox_tier { LMF_SANDBOX_TIER_A, LMF_SANDBOX_TIER_B } lmf_sandbox_tier;

typedef struct lmf_sandbox_file { const char *name; const void *data; size_t n; } lmf_sandbox_file; /* name: no slash */

typedef struct lmf_sandbox_job {
    const char *const  *argv;       /* NULL-ended; argv[0] by PATH or a path: a binary, no script */
    const void         *in;         /* stdin */
    size_t              n_in;
    const lmf_sandbox_file *files;  /* put into the scratch folder first */
    int                 n_files;
    const char *const  *read;       /* NULL-ended, or NULL: more files and folders that may be read */
    lmf_sandbox_limits  limits;
    lmf_sandbox_tier    tier;       /* B is refused where it does not hold */
    const char         *helper;     /* a program that calls lmf_sandbox_main; NULL: this one */
    const char         *bwrap;      /* tier B: bubblewrap; NULL: bwrap by PATH */
    bool              (*stop)(void *user); /* polled; true ends the run. Or NULL */
    void               *stop_user;
} lmf_sandbox_job;

typedef enum lmf_sandbox_end {
    LMF_SANDBOX_EXITED,      /* code: its exit status */
    LMF_SANDBOX_SIGNALLED,   /* code: the signal */
    LMF_SANDBOX_SYSCALL,     /* asked for a system call that is not allowed */
    LMF_SANDBOX_WALL, LMF_SANDBOX_CPU, LMF_SANDBOX_MEMORY, LMF_SANDBOX_SCRATCH, LMF_SANDBOX_FILES, LMF_SANDBOX_FILE_SIZE, /* a limit */
    LMF_SANDBOX_STOPPED      /* by stop() */
} lmf_sandbox_end;
const char *lmf_sandbox_end_text(lmf_sandbox_end e); /* "the time limit"; static storage */

typedef struct lmf_sandbox_left { char *name; int64_t n_bytes; } lmf_sandbox_left; /* path within the scratch folder */

typedef struct lmf_sandbox_result {
    lmf_sandbox_end  end;
    int              code;
    lmf_buf          out, err;               /* at most output_bytes each */
    uint64_t         n_out, n_err;           /* bytes written; more than out.n: cut */
    double           wall_s, cpu_s;
    int64_t          peak_bytes;             /* of the greatest process */
    lmf_sandbox_left *left; int n_left, cap_left; /* regular files in the scratch folder, those put there included, by name */
    bool             left_cut;               /* there are more than are listed */
    char             scratch[4096];          /* the folder, until clear */
    lmf_ctx         *ctx;
} lmf_sandbox_result;

/* LMF_E_UNSUPPORTED: the sandbox does not hold here, with the feature and why; nothing ran. LMF_E_ARG: a limit out of range, a script or
 * a missing program. LMF_E_IO, LMF_E_MEMORY: no pipes, processes, scratch folder. *r is zeroed first, and cleared on failure. */
lmf_status lmf_sandbox_run(lmf_ctx *ctx, const lmf_sandbox_job *job, lmf_sandbox_result *r) LMF_MUST_USE;
void       lmf_sandbox_result_clear(lmf_sandbox_result *r); /* zeroed is fine */
/* One file of the scratch folder, as it was left. LMF_E_IO: none, a link, no regular file; LMF_E_LIMIT: past the maximum of out. */
lmf_status lmf_sandbox_read(const lmf_sandbox_result *r, const char *name, lmf_buf *out) LMF_MUST_USE;

/* A program that goes on: it is told things on its standard input, and what it writes is taken as it comes. job's in and stop are not used;
 * wall_s and cpu_s are of its whole life. After a failure of talk it is to be ended; its files are there until then. */
typedef struct lmf_sandbox_live lmf_sandbox_live;
/* As lmf_sandbox_run, but OK once it started. Nothing of job need live on. */
lmf_status lmf_sandbox_start(lmf_ctx *ctx, const lmf_sandbox_job *job, lmf_sandbox_live **out) LMF_MUST_USE;
/* Sends in [n] and gives its output to take until that returns true. LMF_E_LIMIT: seconds have passed; LMF_E_IO: it ended, and how. */
lmf_status lmf_sandbox_talk(lmf_sandbox_live *l, const void *in, size_t n, double seconds,
                            bool (*take)(void *user, const char *p, size_t n), void *user) LMF_MUST_USE;
/* Its files as they are now, in left; *r is borrowed until the next look, for lmf_sandbox_read. The program may be changing them. */
lmf_status lmf_sandbox_look(lmf_sandbox_live *l, const lmf_sandbox_result **r) LMF_MUST_USE;
void       lmf_sandbox_end_live(lmf_sandbox_live *l); /* with all that it started, and the scratch folder; NULL is fine */

/* What holds on this machine, each found by trying it in a process of its own. */
typedef struct lmf_sandbox_fact {
    char        name[32];   /* "seccomp" */
    bool        holds, needed; /* needed: tier A is refused without */
    char        text[200];  /* what was tried and how it ended */
} lmf_sandbox_fact;
enum { LMF_SANDBOX_MAX_FACTS = 40 };
typedef struct lmf_sandbox_report {
    lmf_sandbox_fact fact[LMF_SANDBOX_MAX_FACTS];
    int              n;
    bool             tier_a, tier_b;
} lmf_sandbox_report;
/* LMF_E_IO: the trial could not be started. That a tier does not hold is no failure. helper, bwrap: as in a job. */
lmf_status lmf_sandbox_check(lmf_ctx *ctx, const char *helper, const char *bwrap, lmf_sandbox_report *out) LMF_MUST_USE;

/* First in main(): where this process was started to be a sandbox, does that and returns its exit status; else -1, and main goes on. */
int lmf_sandbox_main(int argc, char **argv);

#endif
