/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: nothing is removed by a name alone. A name is listed by its writer or carries its own check, and is no link; everything is
 * done below an open folder, so that a path that changes meanwhile leads nowhere else. */
#include "base/output.h"
#include "base/number.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

static const char mark[] = ".lmf-";
enum { MARK_BYTES = sizeof mark - 1, NAME_KEPT = 200, MAX_TRIES = 8 };

static lmf_status fail_errno(lmf_ctx *ctx, int e, const char *what, const char *path)
{
    char text[128];
    return LMF_FAIL(ctx, e == ENOENT ? LMF_E_NOT_FOUND : LMF_E_IO, "can't %s %s: %s", what, path, strerror_r(e, text, sizeof text));
}

/* ---- names ---- */
static uint32_t check_of(const char *text, size_t n) /* FNV-1a */
{
    uint32_t h = 2166136261u;
    for (size_t i = 0; i < n; i++)
        h = (h ^ (uint8_t)text[i]) * 16777619u;
    return h;
}

/* Bytes of NAME in ".NAME.lmf-...", or 0 for what is no temporary name. */
static size_t name_in(const char *text)
{
    char want[9];
    size_t n = strlen(text), tail = MARK_BYTES + 16;
    if (n < tail + 2 || text[0] != '.' || memcmp(text + n - tail, mark, MARK_BYTES))
        return 0;
    snprintf(want, sizeof want, "%08x", check_of(text, n - 8));
    return strcmp(text + n - 8, want) ? 0 : n - tail - 1;
}

bool lmf_output_is_temporary(const char *name) { return name_in(name) > 0; }

static const char *last_part(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

lmf_status lmf_output_temporary(lmf_ctx *ctx, const char *target, char *text, size_t n)
{
    uint32_t random;
    const char *name = last_part(target);
    int dir = (int)(name - target), room = NAME_KEPT;
    if (strlen(name) > 255)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "the name %.60s... has %zu bytes, more than 255", name, strlen(name));
    if (getrandom(&random, sizeof random, 0) != sizeof random)
        return fail_errno(ctx, errno, "get random bytes to name", target);
    int used = snprintf(text, n, "%.*s.%.*s%s%08x", dir, target, room, name, mark, random);
    if (used < 0 || (size_t)used + 9 > n)
        return LMF_FAIL(ctx, LMF_E_LIMIT, "the path %.60s... is too long", target);
    snprintf(text + used, n - (size_t)used, "%08x", check_of(text + dir, (size_t)(used - dir)));
    return LMF_OK;
}

/* ---- removing ---- */
/* Whether path, not followed, still names what fd is. */
static bool is_same(int fd, const char *path)
{
    struct stat a, b;
    return fstat(fd, &a) == 0 && lstat(path, &b) == 0 && a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

static bool listed(const char *const *names, const char *name)
{
    for (; *names; names++)
        if (strcmp(*names, name) == 0)
            return true;
    return false;
}

/* The first entry of d that is no file of these names, or "". names NULL: any regular file is. */
static void find_stranger(DIR *d, const char *const *names, char text[256])
{
    struct stat st;
    text[0] = 0;
    rewinddir(d);
    for (struct dirent *e; !text[0] && (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        bool file = fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode);
        if (!file || (names && !listed(names, e->d_name) && !lmf_output_is_temporary(e->d_name)))
            snprintf(text, 256, "%s", e->d_name);
    }
}

static lmf_status open_folder(lmf_ctx *ctx, const char *path, DIR **out)
{
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    *out = fd >= 0 ? fdopendir(fd) : NULL;
    if (*out)
        return LMF_OK;
    int e = errno;
    if (fd >= 0)
        close(fd);
    return fail_errno(ctx, e, "open the folder", path);
}

static lmf_status refuse_strangers(lmf_ctx *ctx, DIR *d, const char *path, const char *const *names)
{
    char stranger[256];
    find_stranger(d, names, stranger);
    return stranger[0] ? LMF_FAIL(ctx, LMF_E_EXISTS, "%s/%s was not written here; it is left alone, and all in that folder", path, stranger) : LMF_OK;
}

lmf_status lmf_dir_holds_only(lmf_ctx *ctx, const char *path, const char *const *names)
{
    DIR *d;
    LMF_TRY(open_folder(ctx, path, &d));
    lmf_status s = refuse_strangers(ctx, d, path, names);
    closedir(d);
    return s;
}

static lmf_status empty_folder(lmf_ctx *ctx, DIR *d, const char *path, const char *const *names)
{
    LMF_TRY(refuse_strangers(ctx, d, path, names));
    rewinddir(d);
    for (struct dirent *e; (e = readdir(d));) {
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, "..") || (names && strcmp(e->d_name, names[0]) == 0))
            continue;
        if ((errno = lmf_shim(ctx, LMF_SITE_UNLINK)) || (unlinkat(dirfd(d), e->d_name, 0) && errno != ENOENT))
            return fail_errno(ctx, errno, "remove a file of", path);
    }
    if (names && ((errno = lmf_shim(ctx, LMF_SITE_UNLINK)) || (unlinkat(dirfd(d), names[0], 0) && errno != ENOENT)))
        return fail_errno(ctx, errno, "remove a file of", path);
    return LMF_OK;
}

lmf_status lmf_dir_remove(lmf_ctx *ctx, const char *path, const char *const *names)
{
    DIR *d;
    LMF_TRY(open_folder(ctx, path, &d));
    lmf_status s = empty_folder(ctx, d, path, names);
    closedir(d);
    if (!s && ((errno = lmf_shim(ctx, LMF_SITE_UNLINK)) || rmdir(path)))
        s = fail_errno(ctx, errno, "remove the folder", path);
    return s;
}

/* A temporary without a living maker: nothing else has its lock. */
static void remove_left_over(lmf_ctx *ctx, const char *dir, const char *name, lmf_output_remover remover)
{
    char path[4096];
    struct stat st;
    int n = snprintf(path, sizeof path, "%s/%s", dir, name);
    int fd = n > 0 && (size_t)n < sizeof path ? open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC) : -1;
    if (fd < 0)
        return;
    lmf_error_record before = *lmf_error_here(ctx);
    if (fstat(fd, &st) == 0 && st.st_uid == geteuid() && flock(fd, LOCK_EX | LOCK_NB) == 0) {
        if (S_ISREG(st.st_mode))
            unlink(path);
        else if (S_ISDIR(st.st_mode) && (remover ? remover(ctx, path) : lmf_dir_remove(ctx, path, NULL)))
            *lmf_error_here(ctx) = before; /* it holds more than files: it stays */
    }
    close(fd);
}

void lmf_output_clean(lmf_ctx *ctx, const char *dir, const char *of, lmf_output_remover remover)
{
    DIR *d = opendir(dir);
    size_t want = of ? strlen(of) : 0;
    want = want > NAME_KEPT ? NAME_KEPT : want;
    for (struct dirent *e; d && (e = readdir(d));) {
        size_t n = name_in(e->d_name);
        if (n && (!of || (n == want && memcmp(e->d_name + 1, of, n) == 0)))
            remove_left_over(ctx, dir, e->d_name, remover);
    }
    if (d)
        closedir(d);
}

void lmf_output_clean_beside(lmf_ctx *ctx, const char *target, lmf_output_remover remover)
{
    char dir[4096];
    const char *name = last_part(target);
    int n = (int)(name - target);
    snprintf(dir, sizeof dir, "%.*s", n ? n : 1, n ? target : ".");
    lmf_output_clean(ctx, dir, name, remover);
}

/* ---- stages ---- */
lmf_status lmf_stage_open(lmf_ctx *ctx, const char *target, lmf_output_remover remover, lmf_stage *st)
{
    st->ctx = ctx;
    st->fd = -1;
    lmf_output_clean_beside(ctx, target, remover);
    for (int i = 0; i < MAX_TRIES; i++) {
        LMF_TRY(lmf_output_temporary(ctx, target, st->path, sizeof st->path));
        if ((errno = lmf_shim(ctx, LMF_SITE_MKDIR)) || mkdir(st->path, 0777)) {
            if (errno == EEXIST)
                continue;
            return fail_errno(ctx, errno, "create a folder for", target);
        }
        st->fd = open(st->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (st->fd >= 0 && (flock(st->fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK))
            return LMF_OK; /* a file system without locks is written to all the same */
        if (st->fd >= 0)
            close(st->fd); /* a cleaner was faster */
        else if (errno != ENOENT)
            return fail_errno(ctx, errno, "open the folder", st->path);
    }
    return LMF_FAIL(ctx, LMF_E_IO, "can't create a folder for %s: its name was taken each time", target);
}

/* Empties the folder through the descriptor that holds its lock: another one may not be had. Consumes fd. */
static lmf_status remove_open(lmf_ctx *ctx, int fd, const char *path)
{
    DIR *d = fdopendir(fd);
    if (!d) {
        int e = errno;
        close(fd);
        return fail_errno(ctx, e, "read the folder", path);
    }
    lmf_status s = empty_folder(ctx, d, path, NULL);
    if (!s && ((errno = lmf_shim(ctx, LMF_SITE_UNLINK)) || rmdir(path)))
        s = fail_errno(ctx, errno, "remove the folder", path);
    closedir(d);
    return s;
}

lmf_status lmf_stage_close(lmf_stage *st)
{
    if (st->fd < 0)
        return LMF_OK;
    lmf_error_record before = *lmf_error_here(st->ctx);
    lmf_status s = LMF_OK;
    if (st->path[0] && is_same(st->fd, st->path))
        s = remove_open(st->ctx, st->fd, st->path);
    else
        close(st->fd); /* it was placed */
    if (before.status)
        *lmf_error_here(st->ctx) = before; /* the one that led here is the one to tell; the next run cleans */
    st->fd = -1;
    return s;
}

/* ---- placing ---- */
lmf_status lmf_output_try(lmf_ctx *ctx, const char *target)
{
    lmf_writer w;
    LMF_TRY(lmf_writer_open(ctx, target, &w));
    lmf_writer_abandon(&w);
    return LMF_OK;
}

lmf_output_kind lmf_output_stat(const char *path)
{
    struct stat st;
    if (lstat(path, &st)) { /* what can't be there or can't be seen can't be made either, and that failure has the right sentence */
        int e = errno;
        return e == ENOENT || e == ENOTDIR || e == ENAMETOOLONG || e == EACCES || e == ELOOP ? LMF_OUTPUT_NONE : LMF_OUTPUT_OTHER;
    }
    return S_ISREG(st.st_mode) ? LMF_OUTPUT_FILE : S_ISDIR(st.st_mode) ? LMF_OUTPUT_DIR : S_ISLNK(st.st_mode) ? LMF_OUTPUT_LINK : LMF_OUTPUT_OTHER;
}

const char *lmf_output_word(lmf_output_kind kind)
{
    static const char *const words[] = { "nothing", "a file", "a folder", "a link", "a fifo, device or socket" };
    return words[kind];
}

static int rename_new(const char *from, const char *to)
{
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0)
        return 0;
    if (errno != EINVAL && errno != ENOSYS)
        return -1;
    /* a file system without it: a link fails where something is, and so does renaming a folder */
    if (lmf_output_stat(from) == LMF_OUTPUT_DIR)
        return lmf_output_stat(to) == LMF_OUTPUT_NONE ? rename(from, to) : (errno = EEXIST, -1);
    return link(from, to) ? -1 : unlink(from);
}

static int exchange(lmf_ctx *ctx, const char *from, const char *to)
{
    char aside[4096];
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_EXCHANGE) == 0)
        return 0;
    if ((errno != EINVAL && errno != ENOSYS) || lmf_output_temporary(ctx, to, aside, sizeof aside) || rename(to, aside))
        return -1;
    if (rename(from, to)) {
        int e = errno;
        return rename(aside, to), errno = e, -1;
    }
    return rename(aside, from);
}

lmf_status lmf_output_place(lmf_ctx *ctx, const char *from, const char *to, bool replace)
{
    if ((errno = lmf_shim(ctx, LMF_SITE_RENAME)))
        return fail_errno(ctx, errno, "rename a new file to", to);
    if (!replace && lmf_output_stat(to) == LMF_OUTPUT_DIR && lmf_output_stat(from) == LMF_OUTPUT_DIR && rmdir(to) && errno != ENOTEMPTY && errno != EEXIST)
        return fail_errno(ctx, errno, "put a folder in the place of", to);
    if (replace ? exchange(ctx, from, to) : rename_new(from, to))
        return errno == EEXIST || errno == ENOTEMPTY ? LMF_FAIL(ctx, LMF_E_EXISTS, "%s is %s that came meanwhile; it is left alone", to, lmf_output_word(lmf_output_stat(to)))
                                                     : fail_errno(ctx, errno, "rename a new file to", to);
    return LMF_OK;
}

/* ---- the lock of a folder ---- */
/* The process whose line in /proc/locks names this inode; 0: it isn't told. "1: FLOCK ADVISORY WRITE 708 fe:01:12345 0 EOF" */
static long holder(const struct stat *st)
{
    char line[256], file[64];
    int64_t pid = 0;
    FILE *f = fopen("/proc/locks", "re");
    snprintf(file, sizeof file, " %02x:%02x:%llu ", major(st->st_dev), minor(st->st_dev), (unsigned long long)st->st_ino);
    while (f && !pid && fgets(line, sizeof line, f)) {
        const char *end = strstr(line, file), *p = end;
        while (p && p > line && p[-1] >= '0' && p[-1] <= '9')
            p--;
        if (end && strstr(line, " FLOCK ") && !strstr(line, "->") && (!lmf_number_read(&p, &pid) || p != end))
            pid = 0;
    }
    if (f)
        fclose(f);
    return (long)pid;
}

lmf_status lmf_output_lock(lmf_ctx *ctx, const char *dir, int *fd)
{
    struct stat st;
    int e = EWOULDBLOCK;
    *fd = -1;
    for (int i = 0; i < MAX_TRIES && *fd < 0; i++) {
        *fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (*fd < 0)
            return fail_errno(ctx, errno, "open the folder", dir);
        e = flock(*fd, LOCK_EX | LOCK_NB) ? errno : 0;
        if (!is_same(*fd, dir)) { /* another folder took the name in between */
            close(*fd);
            *fd = -1, e = EWOULDBLOCK;
        }
    }
    if (!e)
        return LMF_OK;
    long pid = *fd >= 0 && e == EWOULDBLOCK && fstat(*fd, &st) == 0 ? holder(&st) : 0;
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
    if (e != EWOULDBLOCK)
        return LMF_OK;
    return pid > 0 ? LMF_FAIL(ctx, LMF_E_EXISTS, "%s is being written by another run, process %ld; wait for it or choose another folder", dir, pid)
                   : LMF_FAIL(ctx, LMF_E_EXISTS, "%s is being written by another run; wait for it or choose another folder", dir);
}

/* ---- sealed texts ---- */
static const char seal_mark[] = "sha256 of what follows: ";
enum { SEAL_WITHIN = 400 };

lmf_status lmf_output_seal(lmf_ctx *ctx, const char *before, const char *after, const char *body, size_t n, lmf_buf *out)
{
    char sha[65];
    LMF_TRY(lmf_sha256_hex(ctx, body, n, sha));
    lmf_buf_printf(out, "%s%s%s%s\n", before, seal_mark, sha, after);
    return lmf_buf_append(out, body, n);
}

bool lmf_output_is_sealed(lmf_ctx *ctx, const char *begin, const char *text, size_t n)
{
    size_t k = sizeof seal_mark - 1, near = n < SEAL_WITHIN ? n : SEAL_WITHIN;
    const char *found = memmem(text, near, seal_mark, k);
    const char *end = found ? memchr(found, '\n', n - (size_t)(found - text)) : NULL;
    char sha[65];
    return n > strlen(begin) && strncmp(text, begin, strlen(begin)) == 0 && end && (size_t)(end - found) >= k + 64 &&
        lmf_sha256_hex(ctx, end + 1, n - (size_t)(end + 1 - text), sha) == LMF_OK && memcmp(found + k, sha, 64) == 0;
}
