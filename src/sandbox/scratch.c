/* SPDX-License-Identifier: Apache-2.0 */
/* The scratch folder. Rule: what lies in it was made by somebody hostile: names are opened one by one below their folder, links are never
 * followed, and nothing is deeper in descriptors or stack than a constant. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/file.h"
#include "sandbox/parts.h"

enum { MAX_DEPTH = 32, MAX_LISTED = 10000, MAX_NAME = 4096 };

lmf_status lmf__scratch_open(lmf_ctx *ctx, char *path, size_t n)
{
    const char *dir = getenv("TMPDIR");
    int error = lmf_shim(ctx, LMF_SITE_MKDIR);
    if (!dir || *dir != '/')
        dir = "/tmp";
    snprintf(path, n, "%s/lmfast-sandbox-XXXXXX", dir);
    if (!error && strlen(path) + 1 < n && mkdtemp(path))
        return LMF_OK;
    error = error ? error : errno;
    *path = 0;
    return LMF_FAIL(ctx, LMF_E_IO, "no scratch folder for the sandbox can be made in %.200s: %s", dir, strerror(error));
}

lmf_status lmf__scratch_put(lmf_ctx *ctx, const char *dir, const lmf_sandbox_file *f)
{
    char path[MAX_NAME];
    if (!f->name || !*f->name || strchr(f->name, '/') || !strcmp(f->name, ".") || !strcmp(f->name, ".."))
        return LMF_FAIL(ctx, LMF_E_ARG, "a file for the sandbox is called \"%.100s\"; a name without / is needed", f->name ? f->name : "");
    LMF_TRY(lmf_path_join(ctx, path, sizeof path, dir, f->name));
    int fd = lmf_shim(ctx, LMF_SITE_OPEN) ? -1 : open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return LMF_FAIL(ctx, LMF_E_IO, "can't put %.200s into the sandbox: %s", f->name, strerror(errno));
    size_t at = 0;
    while (at < f->n) {
        ssize_t k = write(fd, (const char *)f->data + at, f->n - at);
        if (k < 0 && errno != EINTR)
            break;
        at += k > 0 ? (size_t)k : 0;
    }
    int error = at < f->n ? errno : 0;
    close(fd);
    return error ? LMF_FAIL(ctx, LMF_E_IO, "can't put %.200s into the sandbox: %s", f->name, strerror(error)) : LMF_OK;
}

typedef struct walk {
    int64_t             max_files, n_files, n_bytes;
    lmf_sandbox_result *list;   /* NULL: count alone */
    lmf_status          status;
    char                name[MAX_NAME];
} walk;

static lmf_status note(walk *w, int64_t n_bytes)
{
    lmf_sandbox_result *r = w->list;
    if (r->n_left >= MAX_LISTED) {
        r->left_cut = true;
        return LMF_OK;
    }
    if (r->n_left == r->cap_left) {
        int cap = r->cap_left ? 2 * r->cap_left : 16;
        void *p = lmf_realloc(r->ctx, r->left, (size_t)r->cap_left * sizeof *r->left, (size_t)cap * sizeof *r->left);
        if (!p)
            return LMF_NO_MEMORY(r->ctx, cap, "names of files that a sandbox left");
        r->left = p;
        r->cap_left = cap;
    }
    size_t n = strlen(w->name) + 1;
    char *name = lmf_alloc(r->ctx, n);
    if (!name)
        return LMF_NO_MEMORY(r->ctx, n, "names of files that a sandbox left");
    memcpy(name, w->name, n);
    r->left[r->n_left++] = (lmf_sandbox_left){ name, n_bytes };
    return LMF_OK;
}

/* What lies below fd, which it closes. */
static void walk_below(walk *w, int fd, int depth)
{
    DIR *d = fdopendir(fd);
    struct dirent *e;
    size_t n = strlen(w->name);
    if (!d) {
        close(fd);
        w->n_files = w->max_files + 1;
        return;
    }
    while (!w->status && w->n_files <= w->max_files && (e = readdir(d))) {
        struct stat st;
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        w->n_files++;
        if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW))
            continue;
        w->n_bytes += (int64_t)st.st_blocks * 512;
        if (!S_ISDIR(st.st_mode) && !(w->list && S_ISREG(st.st_mode)))
            continue;
        if (n + strlen(e->d_name) + 2 > sizeof w->name) {
            w->n_files = w->max_files + 1;
            break;
        }
        snprintf(w->name + n, sizeof w->name - n, "%s%s", n ? "/" : "", e->d_name);
        if (S_ISDIR(st.st_mode)) {
            int sub = depth < MAX_DEPTH ? openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
            if (sub >= 0)
                walk_below(w, sub, depth + 1);
            else if (depth >= MAX_DEPTH || errno != ENOENT)
                w->n_files = w->max_files + 1;
        } else {
            w->status = note(w, (int64_t)st.st_size);
        }
        w->name[n] = 0;
    }
    closedir(d);
}

void lmf__scratch_usage(const char *path, int64_t max_files, int64_t *n_files, int64_t *n_bytes)
{
    walk w = { .max_files = max_files };
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
        walk_below(&w, fd, 0);
    *n_files = fd < 0 ? max_files + 1 : w.n_files;
    *n_bytes = w.n_bytes;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const lmf_sandbox_left *)a)->name, ((const lmf_sandbox_left *)b)->name);
}

lmf_status lmf__scratch_list(lmf_sandbox_result *r)
{
    walk w = { .max_files = MAX_LISTED, .list = r };
    int fd = open(r->scratch, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return LMF_FAIL(r->ctx, LMF_E_IO, "can't read the sandbox's folder %.200s: %s", r->scratch, strerror(errno));
    walk_below(&w, fd, 0);
    r->left_cut |= w.n_files > w.max_files;
    if (r->n_left)
        qsort(r->left, (size_t)r->n_left, sizeof *r->left, by_name);
    return w.status;
}

/* Folders within a folder are moved up beside it, so that a chain of any depth takes two descriptors. */
static void flatten(int top, const char *name, uint64_t *serial)
{
    fchmodat(top, name, 0700, 0); /* no process is left that could put a link here */
    int fd = openat(top, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    struct dirent *e;
    if (!d && fd >= 0)
        close(fd);
    while (d && (e = readdir(d))) {
        char fresh[64];
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        if (unlinkat(fd, e->d_name, 0) == 0 || (errno != EISDIR && errno != EPERM))
            continue;
        if (unlinkat(fd, e->d_name, AT_REMOVEDIR) == 0)
            continue;
        do
            snprintf(fresh, sizeof fresh, ".lmf-%llu", (unsigned long long)++*serial);
        while (faccessat(top, fresh, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
        fchmodat(fd, e->d_name, 0700, 0);
        renameat(fd, e->d_name, top, fresh);
    }
    if (d)
        closedir(d);
    unlinkat(top, name, AT_REMOVEDIR);
}

void lmf__scratch_remove(const char *path)
{
    uint64_t serial = 0;
    bool again = true;
    int top = *path ? open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
    for (uint64_t pass = 0, before = 0; top >= 0 && again && (pass == 0 || serial != before || pass < 3); pass++) {
        int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
        struct dirent *e;
        before = serial;
        again = false;
        while (d && (e = readdir(d))) {
            if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
                continue;
            again = true;
            if (unlinkat(top, e->d_name, 0) && (errno == EISDIR || errno == EPERM))
                flatten(top, e->d_name, &serial);
        }
        if (d)
            closedir(d);
        else if (fd >= 0)
            close(fd);
    }
    if (top >= 0)
        close(top);
    if (*path)
        rmdir(path);
}

lmf_status lmf_sandbox_read(const lmf_sandbox_result *r, const char *name, lmf_buf *out)
{
    char part[MAX_NAME];
    struct stat st;
    int fd = open(r->scratch, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    for (const char *at = name; fd >= 0 && *at;) {
        size_t n = strcspn(at, "/");
        bool last = at[n] == 0;
        if (n == 0 || n >= sizeof part)
            break;
        snprintf(part, sizeof part, "%.*s", (int)n, at);
        if (!strcmp(part, "..") || !strcmp(part, "."))
            break;
        int next = openat(fd, part, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | (last ? 0 : O_DIRECTORY));
        close(fd);
        fd = next;
        at += n + !last;
        name = last ? "" : at;
    }
    if (fd < 0 || *name || fstat(fd, &st) || !S_ISREG(st.st_mode)) {
        if (fd >= 0)
            close(fd);
        return LMF_FAIL(r->ctx, LMF_E_IO, "the sandbox left no regular file of that name, or it can't be read");
    }
    lmf_status s = LMF_OK;
    char text[1 << 14];
    for (ssize_t k; !s && (k = read(fd, text, sizeof text)) != 0;)
        if (k > 0)
            s = lmf_buf_append(out, text, (size_t)k);
        else if (errno != EINTR)
            s = LMF_FAIL(r->ctx, LMF_E_IO, "a file that the sandbox left can't be read: %s", strerror(errno));
    close(fd);
    return s;
}
