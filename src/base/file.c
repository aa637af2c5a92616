/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: after a failed fsync the file is lost, never retried: the kernel may have dropped its pages. */
#include "base/file.h"
#include "base/output.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static lmf_status fail_errno(lmf_ctx *ctx, int e, const char *what, const char *path)
{
    char text[128];
    const char *why = strerror_r(e, text, sizeof text);
    return LMF_FAIL(ctx, e == ENOENT ? LMF_E_NOT_FOUND : LMF_E_IO, "can't %s %s: %s", what, path, why);
}

/* The shim's errno, or the call's. */
#define SHIMMED(ctx, site, call) (errno = lmf_shim((ctx), (site)), errno ? -1 : (call))

static lmf_status open_regular(lmf_ctx *ctx, const char *path, int *fd, size_t *n)
{
    struct stat st;
    /* O_NONBLOCK: opening a fifo must not wait for a writer */
    *fd = SHIMMED(ctx, LMF_SITE_OPEN, open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
    if (*fd < 0)
        return fail_errno(ctx, errno, "open", path);
    if (fstat(*fd, &st)) {
        int e = errno;
        close(*fd);
        return fail_errno(ctx, e, "look at", path);
    }
    if (!S_ISREG(st.st_mode)) {
        close(*fd);
        return LMF_FAIL(ctx, LMF_E_ARG, "%s is %s, not a regular file", path,
                        S_ISDIR(st.st_mode) ? "a directory" : S_ISFIFO(st.st_mode) ? "a fifo" : "a device or socket");
    }
    *n = (size_t)st.st_size;
    return LMF_OK;
}

lmf_status lmf_file_map(lmf_ctx *ctx, const char *path, lmf_map *out)
{
    int fd;
    *out = (lmf_map){ 0 };
    LMF_TRY(open_regular(ctx, path, &fd, &out->n));
    if (out->n == 0) {
        close(fd);
        return LMF_OK;
    }
    errno = lmf_shim(ctx, LMF_SITE_MAP);
    void *p = errno ? MAP_FAILED : mmap(NULL, out->n, PROT_READ, MAP_SHARED, fd, 0);
    int e = errno;
    close(fd);
    if (p == MAP_FAILED) {
        *out = (lmf_map){ 0 };
        return fail_errno(ctx, e, "map", path);
    }
    out->data = p;
    return LMF_OK;
}

void lmf_file_unmap(lmf_map *map)
{
    if (map->data)
        munmap((void *)(uintptr_t)map->data, map->n);
    *map = (lmf_map){ 0 };
}

static lmf_status read_all(lmf_ctx *ctx, int fd, const char *path, char *p, size_t n)
{
    for (size_t got = 0; got < n;) {
        ssize_t r = SHIMMED(ctx, LMF_SITE_READ, read(fd, p + got, n - got));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return fail_errno(ctx, errno, "read", path);
        if (r == 0)
            return LMF_FAIL(ctx, LMF_E_IO, "%s became shorter while it was read", path);
        got += (size_t)r;
    }
    return LMF_OK;
}

lmf_status lmf_file_read(lmf_ctx *ctx, const char *path, size_t max, char **data, size_t *n)
{
    int fd;
    *data = NULL;
    LMF_TRY(open_regular(ctx, path, &fd, n));
    lmf_status s = LMF_OK;
    if (*n > max)
        s = LMF_FAIL(ctx, LMF_E_LIMIT, "%s has %zu bytes, more than the %zu allowed here", path, *n, max);
    else if (!(*data = lmf_alloc(ctx, *n + 1)))
        s = LMF_NO_MEMORY(ctx, *n + 1, path);
    else
        s = read_all(ctx, fd, path, *data, *n);
    close(fd);
    if (s) {
        lmf_free(ctx, *data, *n + 1);
        *data = NULL;
        *n = 0;
    }
    return s;
}

/* The maker's lock on a temporary says that it lives. A cleaner that came between open and lock has removed it: then again. */
static int open_temporary(lmf_writer *w)
{
    struct stat st;
    for (int i = 0; i < 8; i++) {
        if (lmf_output_temporary(w->ctx, w->path, w->temporary, sizeof w->temporary))
            return errno = ENAMETOOLONG, -1;
        w->fd = open(w->temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666);
        if (w->fd < 0 && errno != EEXIST)
            return -1;
        if (w->fd >= 0 && (flock(w->fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) && fstat(w->fd, &st) == 0 && st.st_nlink)
            return 0;
        if (w->fd >= 0)
            close(w->fd);
    }
    w->fd = -1;
    return errno = EEXIST, -1;
}

lmf_status lmf_writer_open(lmf_ctx *ctx, const char *path, lmf_writer *w)
{
    struct stat st;
    w->ctx = ctx;
    w->fd = -1;
    w->n = 0;
    if (strlen(path) >= sizeof w->path)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "a path of %zu bytes is too long: %.60s...", strlen(path), path);
    /* renaming would put a file in the place of a fifo, a device or a link */
    lmf_output_kind kind = lmf_output_stat(path);
    if (kind == LMF_OUTPUT_LINK)
        return LMF_FAIL(ctx, LMF_E_EXISTS, "%s is a link; it is left alone, choose another name", path);
    if (kind == LMF_OUTPUT_DIR || (kind == LMF_OUTPUT_OTHER && lmf_path_stat(path) == LMF_PATH_OTHER))
        return LMF_FAIL(ctx, LMF_E_EXISTS, "%s exists and is no regular file; it is left alone, choose another name", path);
    memcpy(w->path, path, strlen(path) + 1);
    w->is_new = kind != LMF_OUTPUT_FILE;
    w->inode = !w->is_new && lstat(path, &st) == 0 ? st.st_ino : 0;
    return SHIMMED(ctx, LMF_SITE_OPEN, open_temporary(w)) ? fail_errno(ctx, errno, "create", w->path) : LMF_OK;
}

lmf_status lmf_writer_write(lmf_writer *w, const void *p, size_t n)
{
    for (const char *at = p; n;) {
        ssize_t r = SHIMMED(w->ctx, LMF_SITE_WRITE, write(w->fd, at, n));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return fail_errno(w->ctx, errno, "write to", w->path);
        at += r, n -= (size_t)r, w->n += (uint64_t)r;
    }
    return LMF_OK;
}

static lmf_status sync_parent(lmf_ctx *ctx, const char *path)
{
    char dir[4096];
    snprintf(dir, sizeof dir, "%s", path);
    char *slash = strrchr(dir, '/');
    if (!slash)
        return lmf_dir_sync(ctx, ".");
    slash[slash == dir] = 0;
    return lmf_dir_sync(ctx, dir);
}

static lmf_status take_name(lmf_writer *w)
{
    struct stat st;
    if (w->is_new)
        return lmf_output_place(w->ctx, w->temporary, w->path, false);
    if (lstat(w->path, &st) == 0 && (!S_ISREG(st.st_mode) || st.st_ino != w->inode))
        return LMF_FAIL(w->ctx, LMF_E_EXISTS, "%s was replaced while this was written; it is left alone", w->path);
    return lmf_path_rename(w->ctx, w->temporary, w->path);
}

lmf_status lmf_writer_commit(lmf_writer *w)
{
    if (SHIMMED(w->ctx, LMF_SITE_SYNC, fsync(w->fd)))
        return fail_errno(w->ctx, errno, "make durable", w->path);
    lmf_status s = take_name(w); /* before close: the lock holds until it has its name */
    int r = close(w->fd);
    w->fd = -1;
    if (s) {
        unlink(w->temporary);
        return s;
    }
    return r ? fail_errno(w->ctx, errno, "close", w->path) : sync_parent(w->ctx, w->path);
}

void lmf_writer_abandon(lmf_writer *w)
{
    if (w->fd < 0)
        return;
    unlink(w->temporary);
    close(w->fd);
    w->fd = -1;
}

lmf_status lmf_file_write(lmf_ctx *ctx, const char *path, const void *p, size_t n)
{
    lmf_writer w;
    LMF_TRY(lmf_writer_open(ctx, path, &w));
    lmf_status s = lmf_writer_write(&w, p, n);
    if (!s)
        s = lmf_writer_commit(&w);
    lmf_writer_abandon(&w);
    return s;
}

lmf_path_kind lmf_path_stat(const char *path)
{
    struct stat st;
    if (stat(path, &st))
        return LMF_PATH_NONE;
    return S_ISREG(st.st_mode) ? LMF_PATH_FILE : S_ISDIR(st.st_mode) ? LMF_PATH_DIR : LMF_PATH_OTHER;
}

bool lmf_dir_is_empty(const char *path)
{
    DIR *d = opendir(path);
    int n = 0;
    while (d && n < 3 && readdir(d))
        n++;
    if (d)
        closedir(d);
    return d && n < 3; /* "." and ".." */
}

lmf_status lmf_dir_create(lmf_ctx *ctx, const char *path)
{
    char part[4096];
    size_t n = strlen(path);
    if (n == 0 || n >= sizeof part)
        return LMF_FAIL(ctx, LMF_E_ARG, "a folder name has 1 to %zu bytes, not %zu", sizeof part - 1, n);
    memcpy(part, path, n + 1);
    for (size_t i = 1; i <= n; i++) {
        if (part[i] != '/' && part[i] != 0)
            continue;
        char keep = part[i];
        part[i] = 0;
        if (SHIMMED(ctx, LMF_SITE_MKDIR, mkdir(part, 0777)) && errno != EEXIST)
            return fail_errno(ctx, errno, "create the folder", part);
        if (lmf_path_stat(part) != LMF_PATH_DIR)
            return LMF_FAIL(ctx, LMF_E_EXISTS, "%s exists and is no folder", part);
        part[i] = keep;
    }
    return LMF_OK;
}

lmf_status lmf_dir_sync(lmf_ctx *ctx, const char *path)
{
    int fd = SHIMMED(ctx, LMF_SITE_OPEN, open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (fd < 0)
        return fail_errno(ctx, errno, "open the folder", path);
    int r = SHIMMED(ctx, LMF_SITE_SYNC, fsync(fd)), e = errno;
    close(fd);
    return r ? fail_errno(ctx, e, "make durable the folder", path) : LMF_OK;
}

lmf_status lmf_path_rename(lmf_ctx *ctx, const char *from, const char *to)
{
    return SHIMMED(ctx, LMF_SITE_RENAME, rename(from, to)) ? fail_errno(ctx, errno, "rename a new file to", to) : LMF_OK;
}

lmf_status lmf_path_unlink(lmf_ctx *ctx, const char *path)
{
    return SHIMMED(ctx, LMF_SITE_UNLINK, unlink(path)) ? fail_errno(ctx, errno, "remove", path) : LMF_OK;
}

lmf_status lmf_path_join(lmf_ctx *ctx, char *text, size_t n, const char *dir, const char *name)
{
    size_t d = strlen(dir);
    int r = snprintf(text, n, "%s%s%s", dir, d && dir[d - 1] == '/' ? "" : "/", name);
    if (r < 0 || (size_t)r >= n)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "the path %.60s.../%.60s is too long", dir, name);
    return LMF_OK;
}

lmf_status lmf_sha256_hex(lmf_ctx *ctx, const void *p, size_t n, char out[65])
{
    unsigned char digest[32];
    out[0] = 0;
    if (!EVP_Digest(n ? p : "", n, digest, NULL, EVP_sha256(), NULL))
        return LMF_FAIL(ctx, LMF_E_MEMORY, "libcrypto could not compute a SHA-256");
    for (int i = 0; i < 32; i++)
        snprintf(out + 2 * i, 3, "%02x", digest[i]);
    return LMF_OK;
}

lmf_status lmf_file_sha256(lmf_ctx *ctx, const char *path, char out[65], uint64_t *n_bytes)
{
    lmf_map map;
    LMF_TRY(lmf_file_map(ctx, path, &map));
    lmf_status s = lmf_sha256_hex(ctx, map.data, map.n, out);
    if (n_bytes)
        *n_bytes = map.n;
    lmf_file_unmap(&map);
    return s;
}
