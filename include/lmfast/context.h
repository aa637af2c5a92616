/* SPDX-License-Identifier: Apache-2.0 */
/* context: one instance of LMFast in a program. Everything else is made from one and hangs on it: memory, the processor's features, the
 * number of threads, the sentence of the last failure, the log. There is no global state: two contexts know nothing of each other.
 *
 *     lmfast_context *ctx;
 *     if (lmfast_context_create(&ctx))
 *         return 1;
 *     if (lmfast_context_set_threads(ctx, 4))
 *         fprintf(stderr, "%s\n", lmfast_error(ctx));
 *     printf("lmfast %s\n", lmfast_version());
 *     lmfast_context_destroy(ctx);
 *
 * Failure is a value: functions that can fail return a status, 0 or negative, and lmfast_error gives the sentence that goes with it (what
 * was wrong, where, what to do). After a failure outputs are NULL or 0, and whatever existed before is as it was.
 * Handles are counted: what was made from a handle keeps it alive, so handles may be destroyed in any order. NULL may be destroyed.
 * Option structs begin with struct_bytes; start from lmfast_x_opts_default(), or pass NULL for the defaults. A program that was built with
 * an older header works with a newer library: what its structs lack is at its default.
 * Texts are UTF-8. A text that a function takes is copied, unless its comment says otherwise.
 * Threads: each function says what it allows. A context may be used by any number of threads; each has its own last failure.
 * Processes: what was made before a fork belongs to the parent; in the child every call but destroy fails with LMFAST_E_UNSUPPORTED. */
#ifndef LMFAST_CONTEXT_H
#define LMFAST_CONTEXT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LMFAST_API __attribute__((visibility("default")))
#define LMFAST_MUST_USE __attribute__((warn_unused_result))

/* The interface's version: the first number changes when something is taken away, the second when something is added. */
#define LMFAST_ABI_MAJOR 0
#define LMFAST_ABI_MINOR 1

/* What functions that can fail return. */
typedef int32_t lmfast_status;
enum {
    LMFAST_OK = 0,
    LMFAST_E_MEMORY = -1,       /* out of memory */
    LMFAST_E_IO = -2,           /* the operating system refused a file operation */
    LMFAST_E_FORMAT = -3,       /* the bytes of a file or message are not what their format demands */
    LMFAST_E_ARG = -4,          /* an argument or option has a value that is not allowed */
    LMFAST_E_SHAPE = -5,        /* tensor shapes do not fit together */
    LMFAST_E_DTYPE = -6,        /* a tensor has a data type that is not supported here */
    LMFAST_E_NOT_FOUND = -7,    /* a name was looked up and is not there */
    LMFAST_E_SEALED = -8,       /* memory was asked of a device after it was sealed */
    LMFAST_E_BUSY = -9,         /* no room now; try again later */
    LMFAST_E_LIMIT = -10,       /* a fixed limit was exceeded */
    LMFAST_E_DEVICE = -11,      /* a device or its driver failed */
    LMFAST_E_UNSUPPORTED = -12, /* this build, device or file does not offer what was asked */
    LMFAST_E_CANCELLED = -13,   /* stopped on request */
    LMFAST_E_EXISTS = -14,      /* the target exists and is not ours to overwrite */
    LMFAST_E_INTERNAL = -15     /* a bug of LMFast, please report it */
};

typedef struct lmfast_context lmfast_context;

enum { LMFAST_LOG_INFO = 1, LMFAST_LOG_WARNING = 2 };
/* A sentence about something that is no failure: rows that were left out, a checkpoint that could not be written while the run goes on.
 * level: LMFAST_LOG_*. Called on the thread that made the call. */
typedef void (*lmfast_log_fn)(void *user, int32_t level, const char *sentence);

/* "0.4.0"; static storage. */
LMFAST_API const char *lmfast_version(void);
/* LMFAST_ABI_MAJOR << 16 | LMFAST_ABI_MINOR of the library, to compare with the header's. */
LMFAST_API uint32_t lmfast_abi_version(void);
/* "E_ARG"; static storage. */
LMFAST_API const char *lmfast_status_name(lmfast_status status);
/* What a status means in general; static storage. */
LMFAST_API const char *lmfast_status_text(lmfast_status status);

/* Uses all processors that the process may use, and the best instructions that they have. LMFAST_E_MEMORY is its only failure. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_context_create(lmfast_context **out);
/* The context goes when everything made from it has gone. */
LMFAST_API void lmfast_context_destroy(lmfast_context *ctx);
/* The sentence of the calling thread's last failure on this context, "" before any. Valid until the thread's next failure. */
LMFAST_API const char *lmfast_error(const lmfast_context *ctx);
/* The status that goes with it. */
LMFAST_API lmfast_status lmfast_error_status(const lmfast_context *ctx);
/* Workers of engines and trainers created from now on; 0: as many as the process may use. LMFAST_E_ARG: negative or over 1024. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_context_set_threads(lmfast_context *ctx, int32_t n);
/* Caps the instructions used from now on: "scalar", "avx2", "avx512", "amx", "native" (as at first: all). LMFAST_E_ARG: another word. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_context_set_isa(lmfast_context *ctx, const char *level);
/* Where sentences that are no failures go; log NULL: nowhere, as at first. */
LMFAST_API void lmfast_context_set_log(lmfast_context *ctx, lmfast_log_fn log, void *user);
/* Bytes that the library holds now and held at most, without what lies in mapped files and on devices. Either may be NULL. */
LMFAST_API void lmfast_context_memory(const lmfast_context *ctx, uint64_t *now_bytes, uint64_t *peak_bytes);

#ifdef __cplusplus
}
#endif
#endif
