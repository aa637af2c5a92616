/* SPDX-License-Identifier: Apache-2.0 */
/* ctx: one instance of the library. Everything that varies hangs on it: the allocator, the error record,
 * the fault hook, the tables of ops, formats, models. There are no writable globals.
 *
 * Owner: lmf_ctx_init/lmf_ctx_clear here are for tests; programs call lmf_ctx_create (registry/).
 * Threads: allocation and the error record are locked; tables are read only after creation.
 *
 *     lmf_status s = lmf_thing_open(ctx, path, &t);
 *     if (s) fprintf(stderr, "%s\n", lmf_error(ctx)); */
#ifndef LMF_BASE_CTX_H
#define LMF_BASE_CTX_H
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include "base/status.h"

/* p NULL: allocate new_bytes; new_bytes 0: free; else resize. Returns NULL on failure, p then stays valid.
 * old_bytes is always what was asked for, so a callback can keep exact counts. Alignment at least 16. */
typedef void *(*lmf_alloc_fn)(void *user, void *p, size_t old_bytes, size_t new_bytes);

/* Every fallible call of the outside world passes lmf_shim() first, so that a test can make the n-th one fail
 * (or the process die there). site names the kind of call. */
typedef enum lmf_site {
    LMF_SITE_ALLOC, LMF_SITE_OPEN, LMF_SITE_READ, LMF_SITE_WRITE, LMF_SITE_SYNC, LMF_SITE_RENAME,
    LMF_SITE_UNLINK, LMF_SITE_MKDIR, LMF_SITE_MAP, LMF_SITE_DEVICE
} lmf_site;
/* Returns 0 to let the call happen, else the errno that it is to fail with. */
typedef int (*lmf_fault_fn)(void *user, lmf_site site);

typedef struct lmf_error_record {
    lmf_status  status;
    const char *file;      /* source file that failed; static storage */
    int         line;
    char        text[768]; /* the sentence: what was wrong, where, what to do */
} lmf_error_record;

struct lmf_op;
struct lmf_format;
struct lmf_format_rows;
struct lmf_cpu_rows;
struct lmf_arch;
struct lmf_pretok;
struct lmf_device_ops;
struct lmf_objective;
struct lmf_dialect;
struct lmf_row_format;
struct lmf_recognizer;
struct lmf_verifier;

/* All tables are arrays ended by NULL (or a row whose first field is NULL), generated from what is on disk. */
typedef struct lmf_tables {
    const struct lmf_op *const          *ops;
    const struct lmf_format *const      *formats;
    const struct lmf_format_rows *const *format_rows; /* best ISA first within a dtype */
    const struct lmf_cpu_rows           *cpu_rows;    /* {op, rows}: best ISA first within an op */
    const struct lmf_arch *const        *archs;
    const struct lmf_pretok *const      *pretoks;
    const struct lmf_device_ops *const  *devices;     /* compiled in: cpu, null; plug-ins come at run time */
    const struct lmf_objective *const   *objectives;
    const struct lmf_dialect *const     *dialects;
    const struct lmf_row_format *const  *row_formats;
    const struct lmf_recognizer *const  *recognizers;
    const struct lmf_verifier *const    *verifiers;
} lmf_tables;

typedef struct lmf_ctx {
    lmf_alloc_fn      alloc;
    void             *alloc_user;
    lmf_fault_fn      fault;       /* NULL: nothing fails on purpose */
    void             *fault_user;
    const lmf_tables *tables;
    void             *plugins;     /* opened plug-ins; owned by device/plugin.c */
    size_t            live_bytes;  /* asked for and not yet given back */
    size_t            peak_bytes;
    pthread_mutex_t   lock;
    lmf_error_record  error;       /* of the last failure, where record is NULL */
    lmf_error_record *(*record)(void *user); /* the calling thread's own; NULL from it: error */
    void             *record_user;
    uint64_t          cpu_features; /* LMF_CPU_*: what rows may use; capped by --isa */
    int               n_workers;    /* of the CPU team: from cgroup or --threads */
} lmf_ctx;

void lmf_ctx_init(lmf_ctx *ctx, const lmf_tables *tables); /* malloc, all CPU features, default workers */
void lmf_ctx_clear(lmf_ctx *ctx);

/* The last failure's sentence, "" before any. Valid until the next failure on this context. */
const char *lmf_error(const lmf_ctx *ctx);
/* The record itself, to keep what led here while cleaning up may fail too: before = *lmf_error_here(ctx) ... *lmf_error_here(ctx) =
 * before. */
lmf_error_record *lmf_error_here(lmf_ctx *ctx);

lmf_status lmf_fail_at(lmf_ctx *ctx, const char *file, int line, lmf_status s, const char *fmt, ...) LMF_PRINTF(5, 6);
#define LMF_FAIL(ctx, s, ...) lmf_fail_at((ctx), __FILE__, __LINE__, (s), __VA_ARGS__)
/* Puts "prefix: " before the sentence recorded last: a caller that knows the file or row adds it. Returns s. */
lmf_status lmf_fail_prefix(lmf_ctx *ctx, lmf_status s, const char *fmt, ...) LMF_PRINTF(3, 4);
#define LMF_TRY(call) do { lmf_status s_ = (call); if (s_) return s_; } while (0)
/* Inside a function with `lmf_status s` and a cleanup label. */
#define LMF_TRY_TO(label, call) do { s = (call); if (s) goto label; } while (0)

/* 2^bits, as far as a size_t goes: a limit of memory where sizes may have 32 bits. */
#define LMF_POWER2(bits) ((size_t)1 << ((bits) < 8 * (int)sizeof(size_t) ? (bits) : 8 * (int)sizeof(size_t) - 1))

/* For our own bugs only; bytes from outside never reach one. */
#define LMF_ASSERT(cond) do { if (!(cond)) lmf_assert_failed(#cond, __FILE__, __LINE__); } while (0)
/* Ends the program. The library's own says nothing, as nothing prints there; a program defines its own and says what and where. */
_Noreturn void lmf_assert_failed(const char *condition, const char *file, int line);

/* Option structs begin with their size, which lmf_x_opts_default() sets. Copies *from, where not NULL, onto the defaults in *to; a
 * struct of another size is of another version, and is refused by name. */
lmf_status lmf_opts_take(lmf_ctx *ctx, const char *name, void *to, const void *from, size_t bytes) LMF_MUST_USE;

int   lmf_shim(lmf_ctx *ctx, lmf_site site); /* 0, or the errno to fail with */
/* Zeroed memory, or NULL with nothing recorded: callers say for what with LMF_NO_MEMORY. bytes > 0. */
void *lmf_alloc(lmf_ctx *ctx, size_t bytes) LMF_MUST_USE;
void *lmf_realloc(lmf_ctx *ctx, void *p, size_t old_bytes, size_t new_bytes) LMF_MUST_USE; /* new part zeroed */
void  lmf_free(lmf_ctx *ctx, void *p, size_t bytes); /* p NULL is fine */
#define lmf_new(ctx, type) ((type *)lmf_alloc((ctx), sizeof(type)))
#define lmf_delete(ctx, p) lmf_free((ctx), (p), sizeof *(p))
#define LMF_NO_MEMORY(ctx, bytes, what) LMF_FAIL((ctx), LMF_E_MEMORY, "out of memory: %zu bytes for %s", (size_t)(bytes), (what))

#endif
