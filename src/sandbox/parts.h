/* SPDX-License-Identifier: Apache-2.0 */
/* parts: what the caller's side (run.c) and the fresh process (inside.c) say to each other, and the two rule sets. */
#ifndef LMF_SANDBOX_PARTS_H
#define LMF_SANDBOX_PARTS_H
#include <linux/filter.h>
#include "sandbox/sandbox.h"

#define LMF__SANDBOX_ENTRY "--sandbox-process" /* argv[1] of the fresh process */
enum { LMF__SANDBOX_FD = 3, LMF__SANDBOX_MAX_SPEC = 1 << 20 }; /* the socket to the caller */

/* Features that tier A needs, in the order in which they are put up. */
typedef enum lmf__feature {
    LMF__F_PROC, LMF__F_SUBREAPER, LMF__F_PIDFD, LMF__F_CLOSE_RANGE, LMF__F_RLIMIT, LMF__F_IDENTITY, LMF__F_CAPABILITIES, LMF__F_PDEATHSIG,
    LMF__F_NO_NEW_PRIVS, LMF__F_LANDLOCK, LMF__F_SECCOMP, LMF__N_FEATURES
} lmf__feature;

enum { LMF__N_SPACES = 4 };
extern const char *const lmf__space[LMF__N_SPACES]; /* paths below /proc/self/ns */
uint64_t lmf__space_number(int i); /* of this process; 0: unknown */

typedef struct lmf__sandbox_head { /* then strings: scratch, program, n_argv, n_read, n_exec of them; each with its NUL */
    uint32_t           n_bytes;    /* of the strings */
    uint32_t           n_argv, n_read, n_exec;
    uint32_t           check;      /* try and say, run nothing */
    uint32_t           deny;       /* bits of lmf__feature: taken away first, for tests */
    uint32_t           skip;       /* bits of lmf__feature: left out where escapes are tried, never where the program runs. For tests */
    uint32_t           landlock_cap; /* the highest ABI to use; 0: any. For tests */
    uint64_t           space[LMF__N_SPACES]; /* tier B: the caller's namespaces, none of which may be the program's; tier A: 0 */
    lmf_sandbox_limits limits;
} lmf__sandbox_head;

typedef struct lmf__sandbox_word { /* from the fresh process */
    int32_t kind;                  /* 'f' a fact, 'r' refused (name, text), 's' started, 'd' done (end, code, figures), 'e' no more facts */
    int32_t holds, needed;
    int32_t end, code;
    double  wall_s, cpu_s;
    int64_t peak_bytes;
    char    name[32], text[200];
} lmf__sandbox_word;

/* 0, or an errno with *what set to the call. abi: of Landlock; what it lacks the filter makes good. */
int lmf__landlock_abi(void);       /* 0: none, errno set */
int lmf__landlock_restrict(int abi, const char *scratch, const char *const *read, int n_read, const char *const *exec, int n_exec,
                           const char **what);
enum { LMF__MAX_FILTER = 2048 };
typedef struct lmf__filter { struct sock_filter code[LMF__MAX_FILTER]; int n; } lmf__filter;
int lmf__filter_make(int abi, lmf__filter *p); /* in the process that it is for */
int lmf__filter_install(const lmf__filter *p);
/* For tests: takes the feature away from this process and those that it starts, as a kernel without it would. */
int lmf__feature_deny(uint32_t features);

/* scratch.c */
lmf_status lmf__scratch_open(lmf_ctx *ctx, char *path, size_t n);
lmf_status lmf__scratch_put(lmf_ctx *ctx, const char *dir, const lmf_sandbox_file *f);
/* Entries and bytes on disk below path. Stops past max_files; a folder that can't be looked into, or is 32 deep, counts as past it. */
void       lmf__scratch_usage(const char *path, int64_t max_files, int64_t *n_files, int64_t *n_bytes);
lmf_status lmf__scratch_list(lmf_sandbox_result *r);
void       lmf__scratch_remove(const char *path);

typedef struct lmf__sandbox_test { uint32_t deny, skip, landlock_cap; } lmf__sandbox_test;
lmf_status lmf__sandbox_run(lmf_ctx *ctx, const lmf_sandbox_job *job, const lmf__sandbox_test *test, lmf_sandbox_result *r);

#endif
