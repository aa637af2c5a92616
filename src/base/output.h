/* SPDX-License-Identifier: Apache-2.0 */
/* output: how things are put where people have theirs. A file or folder is made under a temporary name beside its target, whole and
 * durable, and then renamed. What has another's bytes is never replaced, emptied or removed, and no link is followed.
 *
 * A temporary name is ".NAME.lmf-" and 16 hex digits, of which the last 8 check the others: a name that passes was made here. Its
 * maker holds a lock on it as long as it lives, so a temporary without one is left over from a process that was killed.
 * Threads: any; the functions keep nothing.
 *
 *     lmf_stage st;
 *     LMF_TRY(lmf_stage_open(ctx, "out", NULL, &st));         // a folder of our own beside it
 *     ...write into st.path...
 *     s = lmf_output_place(ctx, st.path, "out", false); // takes the name if nothing is there
 *     lmf_stage_close(&st);                             // what was not placed is removed */
#ifndef LMF_BASE_OUTPUT_H
#define LMF_BASE_OUTPUT_H
#include "base/buf.h"
#include "base/file.h"

enum { LMF_TEMPORARY_BYTES = 256 };
bool       lmf_output_is_temporary(const char *name);
lmf_status lmf_output_temporary(lmf_ctx *ctx, const char *target, char *text, size_t n); /* a new name beside target */
/* Removes what killed processes left in dir: all temporaries, or those of one name. What can't be removed stays. A folder may be one that
 * was exchanged and had not gone yet: remover takes away what its command wrote and nothing else; NULL: a folder of regular files. */
typedef lmf_status (*lmf_output_remover)(lmf_ctx *ctx, const char *path);
void       lmf_output_clean(lmf_ctx *ctx, const char *dir, const char *of, lmf_output_remover remover);
void       lmf_output_clean_beside(lmf_ctx *ctx, const char *target, lmf_output_remover remover); /* those of target's name, in its folder */

typedef struct lmf_stage {     /* a temporary folder */
    lmf_ctx *ctx;
    int      fd;               /* holds the lock; -1 when closed */
    char     path[4096];
} lmf_stage;
lmf_status lmf_stage_open(lmf_ctx *ctx, const char *target, lmf_output_remover remover, lmf_stage *st); /* cleans beside target first */
/* Removes the folder and its files where path is still one; harmless twice. A failure leaves the sentence of an earlier one in place. */
lmf_status lmf_stage_close(lmf_stage *st);

/* What is there, the name itself, not what a link leads to. */
typedef enum lmf_output_kind { LMF_OUTPUT_NONE, LMF_OUTPUT_FILE, LMF_OUTPUT_DIR, LMF_OUTPUT_LINK, LMF_OUTPUT_OTHER } lmf_output_kind;
lmf_output_kind lmf_output_stat(const char *path);
const char     *lmf_output_word(lmf_output_kind kind);                       /* "a link" */

/* Whether a file can be made beside target, before hours of work are spent on it: makes one under a temporary name and removes it. */
lmf_status lmf_output_try(lmf_ctx *ctx, const char *target);

/* Gives from the name to, in one step. replace: the two change names, and from is then what was there. Else LMF_E_EXISTS when anything
 * but an empty folder has the name. */
lmf_status lmf_output_place(lmf_ctx *ctx, const char *from, const char *to, bool replace);
/* A text that can be told from others' by itself: its first lines, `before` and `after` around the SHA-256 of what follows behind them, and
 * then body. before ends within a comment, such as "# lmfast train; "; after ends the line. */
lmf_status lmf_output_seal(lmf_ctx *ctx, const char *before, const char *after, const char *body, size_t n, lmf_buf *out);
/* Whether a text begins with `begin` and is what seal made, unchanged. */
bool       lmf_output_is_sealed(lmf_ctx *ctx, const char *begin, const char *text, size_t n);

/* The lock of a folder that one process at a time writes into; released by close(*fd), or with the process. LMF_E_EXISTS names the
 * process that holds it. *fd -1: this file system has no locks. */
lmf_status lmf_output_lock(lmf_ctx *ctx, const char *dir, int *fd);

#endif
