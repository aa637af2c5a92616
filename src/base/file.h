/* SPDX-License-Identifier: Apache-2.0 */
/* file: the calls on files that can fail, each through the context's shim, each with a sentence that names the
 * path. Reading is by mapping; writing is to a temporary name, made durable, then renamed: a reader sees the
 * old file or the new one, never half of one. Neither touches what is no regular file (directory, fifo, device), and writing neither
 * follows nor replaces a link. Whose a file is that would be replaced is the caller's to know (base/output.h). */
#ifndef LMF_BASE_FILE_H
#define LMF_BASE_FILE_H
#include "base/ctx.h"

typedef struct lmf_map {       /* a read-only, shared mapping of a whole file */
    const uint8_t *data;       /* NULL when the file is empty */
    size_t         n;          /* bytes */
} lmf_map;

lmf_status lmf_file_map(lmf_ctx *ctx, const char *path, lmf_map *out);
void       lmf_file_unmap(lmf_map *map);                                     /* zeroed map is fine */
/* Whole file into memory with a NUL behind it; free with lmf_free(ctx, *data, *n + 1). Refuses over max bytes. */
lmf_status lmf_file_read(lmf_ctx *ctx, const char *path, size_t max, char **data, size_t *n);

typedef struct lmf_writer {    /* a file being written under a temporary name */
    lmf_ctx *ctx;
    int      fd;               /* -1 when closed */
    uint64_t n;                /* bytes written */
    bool     is_new;           /* nothing had the name at open: nothing is replaced at commit either */
    uint64_t inode;            /* of the file that is replaced */
    char     path[4096], temporary[4096];
} lmf_writer;

lmf_status lmf_writer_open(lmf_ctx *ctx, const char *path, lmf_writer *w);
lmf_status lmf_writer_write(lmf_writer *w, const void *p, size_t n);
lmf_status lmf_writer_commit(lmf_writer *w);                                 /* fsync, rename, fsync folder, close */
void       lmf_writer_abandon(lmf_writer *w);                                /* unlinks the temporary; harmless after commit */
lmf_status lmf_file_write(lmf_ctx *ctx, const char *path, const void *p, size_t n); /* the four above in one */

typedef enum lmf_path_kind { LMF_PATH_NONE, LMF_PATH_FILE, LMF_PATH_DIR, LMF_PATH_OTHER } lmf_path_kind;
lmf_path_kind lmf_path_stat(const char *path);
bool       lmf_dir_is_empty(const char *path);                               /* false too when it can't be read */
lmf_status lmf_dir_create(lmf_ctx *ctx, const char *path);                   /* and its parents; existing is fine */
lmf_status lmf_dir_sync(lmf_ctx *ctx, const char *path);
lmf_status lmf_path_rename(lmf_ctx *ctx, const char *from, const char *to);
lmf_status lmf_path_unlink(lmf_ctx *ctx, const char *path);
/* Removes a folder and its files, those of a NULL-ended list of names and temporaries, names[0] last; names NULL: any regular file. With
 * anything else in it, LMF_E_EXISTS, and nothing is removed. */
lmf_status lmf_dir_remove(lmf_ctx *ctx, const char *path, const char *const *names);
/* LMF_E_EXISTS names the first entry that is none of these files. */
lmf_status lmf_dir_holds_only(lmf_ctx *ctx, const char *path, const char *const *names);
/* dir + "/" + name into text of n bytes. LMF_E_LIMIT if it does not fit. */
lmf_status lmf_path_join(lmf_ctx *ctx, char *text, size_t n, const char *dir, const char *name);

/* Lower-case hex of SHA-256; out holds 65 bytes. */
lmf_status lmf_sha256_hex(lmf_ctx *ctx, const void *p, size_t n, char out[65]);
lmf_status lmf_file_sha256(lmf_ctx *ctx, const char *path, char out[65], uint64_t *n_bytes);

#endif
