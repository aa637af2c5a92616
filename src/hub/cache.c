/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a blob's name is given by rename, once its hash holds, under its lock; so what has the name is whole. Names from outside become
 * paths only behind lmf__is_commit, lmf__is_etag and lmf__is_file_name. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>
#include "base/file.h"
#include "base/output.h"
#include "base/plain.h"
#include "hub/parts.h"

enum { MAX_TRIES = 6, MAX_DEPTH = 16, MAX_FILES = 200000 };

/* ---- names ---- */
static size_t n_hex(const char *text) { return strspn(text, "0123456789abcdef"); }

bool lmf__is_commit(const char *text) { return n_hex(text) == 40 && !text[40]; }

bool lmf__is_etag(const char *text)
{
    size_t n = strlen(text);
    return n >= 1 && n <= 128 && text[0] != '.' && strspn(text, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.") == n;
}

bool lmf__is_file_name(const char *text)
{
    size_t n = strlen(text), k;
    if (n < 1 || n >= 1024)
        return false;
    for (const char *p = text;; p += k + 1) {
        k = strcspn(p, "/");
        if (k == 0 || (k == 1 && p[0] == '.') || (k == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        for (size_t i = 0; i < k;) { /* no control characters, no backslash, UTF-8 */
            size_t c = lmf_utf8_length(p + i, k - i);
            if (!c || p[i] == '\\' || (unsigned char)p[i] < 0x20 || p[i] == 0x7F || lmf_utf8_is_command(p + i, c))
                return false;
            i += c;
        }
        if (!p[k])
            return true;
    }
}

static lmf_status fail_errno(lmf_hub *h, const char *what, const char *path)
{
    int e = errno;
    char text[128];
    return LMF_FAIL(h->ctx, LMF_E_IO, "can't %s %s: %s", what, path, strerror_r(e, text, sizeof text));
}

#define PATH(h, out, ...) \
    ((size_t)snprintf(out, sizeof out, __VA_ARGS__) < sizeof out \
         ? LMF_OK : LMF_FAIL((h)->ctx, LMF_E_LIMIT, "a path below %.100s is too long", (h)->cache))

/* "models--org--name" */
static void folder_name(const lmf_hub_name *name, char *text, size_t n)
{
    const char *slash = strchr(name->repo, '/');
    snprintf(text, n, "%s--%.*s--%s", name->kind == LMF_HUB_DATA ? "datasets" : "models", (int)(slash - name->repo), name->repo, slash + 1);
}

lmf_status lmf__cache_folder(lmf_hub *h, const lmf_hub_name *name, char *path, size_t n)
{
    char folder[256];
    folder_name(name, folder, sizeof folder);
    return lmf_path_join(h->ctx, path, n, h->cache, folder);
}

static lmf_status make_parent(lmf_hub *h, const char *path)
{
    char dir[4096];
    LMF_TRY(PATH(h, dir, "%s", path));
    *strrchr(dir, '/') = 0;
    return lmf_dir_create(h->ctx, dir);
}

/* ---- refs ---- */
lmf_status lmf__cache_ref(lmf_hub *h, const lmf_hub_name *name, char commit[41])
{
    char folder[4096], path[4096], *text;
    size_t n;
    if (lmf__is_commit(name->revision)) {
        memcpy(commit, name->revision, 41);
        return LMF_OK;
    }
    LMF_TRY(lmf__cache_folder(h, name, folder, sizeof folder));
    LMF_TRY(PATH(h, path, "%s/refs/%s", folder, name->revision));
    LMF_TRY(lmf_file_read(h->ctx, path, 4096, &text, &n));
    bool fine = n >= 40 && n_hex(text) == 40 && strspn(text + 40, " \r\n") == n - 40;
    if (fine)
        memcpy(commit, text, 40), commit[40] = 0;
    lmf_free(h->ctx, text, n + 1);
    return fine ? LMF_OK : LMF_FAIL(h->ctx, LMF_E_FORMAT, "%s holds no commit; remove it", path);
}

/* Whole, where several processes write the same at once: the last one wins. */
static lmf_status write_shared(lmf_hub *h, const char *path, const void *p, size_t n)
{
    lmf_status s = LMF_E_EXISTS;
    for (int i = 0; i < 10 && s == LMF_E_EXISTS; i++)
        s = lmf_file_write(h->ctx, path, p, n);
    return s;
}

/* CACHEDIR.TAG, so that backups pass over the cache. */
static lmf_status tag(lmf_hub *h)
{
    static const char text[] = "Signature: 8a477f597d28d172789f06886806bc55\n# This folder is a cache: its files can be downloaded "
        "again.\n";
    char path[4096];
    LMF_TRY(PATH(h, path, "%s/CACHEDIR.TAG", h->cache));
    if (lmf_path_stat(path) != LMF_PATH_NONE)
        return LMF_OK;
    return write_shared(h, path, text, sizeof text - 1);
}

lmf_status lmf__cache_set_ref(lmf_hub *h, const lmf_hub_name *name, const char *commit)
{
    char folder[4096], path[4096], now[41] = "";
    LMF_TRY(lmf__cache_folder(h, name, folder, sizeof folder));
    LMF_TRY(lmf_dir_create(h->ctx, h->cache));
    LMF_TRY(tag(h));
    if (lmf__is_commit(name->revision))
        return LMF_OK;
    LMF_TRY(PATH(h, path, "%s/refs/%s", folder, name->revision));
    if (lmf_path_stat(path) == LMF_PATH_FILE && !lmf__cache_ref(h, name, now) && !strcmp(now, commit))
        return LMF_OK;
    LMF_TRY(make_parent(h, path));
    return write_shared(h, path, commit, 40);
}

/* ---- a snapshot, listed ---- */
static lmf_status walk(lmf_hub *h, const char *root, const char *below, int depth, lmf_arena *a, lmf__listing *out)
{
    char dir[4096], name[1100], path[4096];
    struct stat st;
    LMF_TRY(PATH(h, dir, "%s%s%s", root, below[0] ? "/" : "", below));
    DIR *d = depth < MAX_DEPTH ? opendir(dir) : NULL;
    lmf_status s = LMF_OK;
    for (struct dirent *e; !s && d && (e = readdir(d));) {
        int k = snprintf(name, sizeof name, "%s%s%s", below, below[0] ? "/" : "", e->d_name);
        if (k < 0 || (size_t)k >= sizeof name || !lmf__is_file_name(name) || PATH(h, path, "%s/%s", root, name) || stat(path, &st))
            continue;
        if (S_ISDIR(st.st_mode))
            s = walk(h, root, name, depth + 1, a, out);
        else if (S_ISREG(st.st_mode) && out->n < MAX_FILES) {
            char *own = lmf_arena_strdup(a, name);
            s = own ? LMF_OK : LMF_NO_MEMORY(h->ctx, sizeof name, "names of files");
            out->item[out->n++] = (lmf__entry){ .name = own, .bytes = (int64_t)st.st_size };
        }
    }
    if (d)
        closedir(d);
    return s;
}

lmf_status lmf__cache_list(lmf_hub *h, const char *snapshot, lmf_arena *a, lmf__listing *out)
{
    out->n = 0;
    out->item = lmf_arena_array(a, MAX_FILES, sizeof *out->item);
    return out->item ? walk(h, snapshot, "", 0, a, out) : LMF_NO_MEMORY(h->ctx, MAX_FILES * sizeof *out->item, "names of files");
}

/* ---- a blob ---- */
typedef struct blob {
    lmf_hub *h;
    const lmf_hub_name *name;
    const char *file, *url;       /* for sentences; what is asked */
    char etag[200], path[4096], part[4096], lock[4096];
    int64_t bytes;                /* -1: not told */
    int64_t have;                 /* in part */
    int64_t done_before;          /* of the files before it */
    int fd, lock_fd;
    bool begun;                   /* bytes of this exchange have come */
    bool changed;                 /* the server has other bytes now */
    lmf_status failed;            /* here, not on the way: nothing that another try mends */
} blob;

/* SHA-256, or git's SHA-1 of a blob, as the etag says; another etag says nothing of the bytes. */
static lmf_status check_hash(blob *b, bool *holds)
{
    size_t n_etag = strlen(b->etag);
    bool git = n_etag == 40;
    char begin[64], hex[65];
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned n_digest = 0;
    lmf_map map;
    *holds = true;
    if (n_hex(b->etag) != n_etag || (n_etag != 64 && !git))
        return LMF_OK;
    LMF_TRY(lmf_file_map(b->h->ctx, b->part, &map));
    int k = git ? snprintf(begin, sizeof begin, "blob %zu", map.n) + 1 : 0;
    EVP_MD_CTX *md = EVP_MD_CTX_new();
    bool fine = md && EVP_DigestInit_ex(md, git ? EVP_sha1() : EVP_sha256(), NULL) && EVP_DigestUpdate(md, begin, (size_t)k);
    for (size_t at = 0; fine && at < map.n; at += (size_t)1 << 24) {
        fine = EVP_DigestUpdate(md, map.data + at, map.n - at < (size_t)1 << 24 ? map.n - at : (size_t)1 << 24);
        if (fine && lmf__hub_stopped(b->h))
            break;
    }
    bool stopped = lmf__hub_stopped(b->h);
    fine = fine && EVP_DigestFinal_ex(md, digest, &n_digest);
    EVP_MD_CTX_free(md);
    lmf_file_unmap(&map);
    if (stopped)
        return LMF_E_CANCELLED;
    if (!fine)
        return LMF_FAIL(b->h->ctx, LMF_E_MEMORY, "libcrypto could not compute a hash");
    for (unsigned i = 0; i < n_digest && i < 32; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
    *holds = !strcmp(hex, b->etag);
    return LMF_OK;
}

static lmf_status lock(blob *b)
{
    struct timespec nap = { 0, 50000000 };
    LMF_TRY(make_parent(b->h, b->lock));
    b->lock_fd = open(b->lock, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (b->lock_fd < 0)
        return fail_errno(b->h, "open", b->lock);
    for (bool told = false; flock(b->lock_fd, LOCK_EX | LOCK_NB);) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return LMF_OK; /* no locks on this file system: the rename keeps the blob whole all the same */
        if (!told)
            lmf__hub_note(b->h, "another process downloads %s; waiting for it", b->file);
        told = true;
        if (lmf__hub_stopped(b->h))
            return LMF_E_CANCELLED;
        nanosleep(&nap, NULL);
    }
    return LMF_OK;
}

static bool is_whole(const char *path, int64_t bytes)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISREG(st.st_mode) && (bytes < 0 || st.st_size == bytes);
}

static lmf_status start_over(blob *b)
{
    if (ftruncate(b->fd, 0) || lseek(b->fd, 0, SEEK_SET))
        return fail_errno(b->h, "empty", b->part);
    b->have = 0;
    b->h->done = b->done_before;
    return LMF_OK;
}

/* The first bytes of an exchange: whether they go on from where this file ends. */
static lmf_status begin(blob *b, const lmf__reply *r)
{
    const char *etag = r->linked_etag[0] ? r->linked_etag : r->of_hub ? r->etag : "";
    b->changed = etag[0] && strcmp(etag, b->etag);
    if (b->changed)
        return LMF_FAIL(b->h->ctx, LMF_E_FORMAT, "%s of %s changed while it was downloaded; try again", b->file, b->name->repo);
    if (r->status == 206 && (r->from != b->have || (b->bytes >= 0 && r->of >= 0 && r->of != b->bytes)))
        return LMF_FAIL(b->h->ctx, LMF_E_FORMAT, "%s answers with another part of %s than was asked for", b->h->endpoint, b->file);
    return r->status != 206 && b->have ? start_over(b) : LMF_OK; /* it doesn't know ranges */
}

static lmf_status take_bytes(blob *b, const lmf__reply *r, const char *at, size_t n)
{
    if (!b->begun)
        LMF_TRY(begin(b, r));
    b->begun = true;
    if (b->bytes >= 0 && (int64_t)n > b->bytes - b->have)
        return LMF_FAIL(b->h->ctx, LMF_E_FORMAT, "%s sends more of %s than the %lld bytes it said", b->h->endpoint, b->file,
            (long long)b->bytes);
    while (n) {
        errno = lmf_shim(b->h->ctx, LMF_SITE_WRITE);
        ssize_t k = errno ? -1 : write(b->fd, at, n);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            return fail_errno(b->h, "write to", b->part);
        at += k, n -= (size_t)k, b->have += k, b->h->done += k;
    }
    return LMF_OK;
}

static lmf_status take(void *user, const lmf__reply *r, const void *p, size_t n)
{
    blob *b = user;
    return b->failed = take_bytes(b, r, p, n);
}

static lmf_status check_space(blob *b)
{
    struct statvfs fs;
    if (b->bytes < 0 || fstatvfs(b->fd, &fs))
        return LMF_OK;
    double free_bytes = (double)fs.f_bavail * (double)fs.f_frsize, needed = (double)(b->bytes - b->have);
    return free_bytes >= needed ? LMF_OK : LMF_FAIL(b->h->ctx, LMF_E_IO,
        "%s needs %.1f MB more, and %.1f MB are free at %s; HF_HUB_CACHE names another place",
                                                    b->file, needed / 1e6, free_bytes / 1e6, b->h->cache);
}

/* To the end, over cuts and busy servers, as long as bytes come. */
static lmf_status transfer(blob *b, lmf__reply *r)
{
    lmf_hub *h = b->h;
    char why[1600];
    bool whole = b->bytes >= 0 && b->have == b->bytes;
    for (int i = 0; !whole;) {
        int64_t before = b->have;
        lmf__request q = { .url = b->url, .what = b->file, .from = b->have, .timeout = h->download_timeout, .sink = take, .user = b };
        b->begun = false;
        lmf_status s = lmf__http_ask(h, &q, r);
        if (b->failed || (s && s != LMF_E_IO))
            return s;
        if (!s && r->status == 416) /* what is here is no beginning of it */
            LMF_TRY(start_over(b));
        else if (!s && (r->status < 200 || r->status > 299) && !lmf__http_is_busy(r->status))
            return lmf__http_refused(h, b->name, b->url, r);
        whole = !s && r->status < 300 && (b->bytes < 0 || b->have == b->bytes);
        if (whole)
            break;
        if (s)
            snprintf(why, sizeof why, "%s", lmf_error(h->ctx));
        else
            snprintf(why, sizeof why, "%s answers %ld for %s%s", h->endpoint, r->status, b->file, r->status < 300 ?
                ", and ends before its end" : "");
        i = b->have > before ? 0 : i + 1;
        if (i == MAX_TRIES)
            return LMF_FAIL(h->ctx, LMF_E_IO, "%s, %d times; %.1f MB of it are kept, the next call goes on from there", why, i,
                (double)b->have / 1e6);
        LMF_TRY(lmf__http_wait(h, i ? i - 1 : 0, s ? -1 : r->retry_after, why));
    }
    return LMF_OK;
}

/* part becomes the blob. */
static lmf_status finish(blob *b)
{
    if ((errno = lmf_shim(b->h->ctx, LMF_SITE_SYNC)) || fsync(b->fd))
        return fail_errno(b->h, "make durable", b->part);
    return lmf_path_rename(b->h->ctx, b->part, b->path);
}

/* Once more from nothing where what was there before does not go with what came. */
static lmf_status download(blob *b)
{
    struct stat st;
    lmf__reply *r = lmf_new(b->h->ctx, lmf__reply);
    if (!r)
        return LMF_NO_MEMORY(b->h->ctx, sizeof *r, "a reply");
    lmf_status s = LMF_OK;
    b->fd = open(b->part, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
    if (b->fd < 0 || fstat(b->fd, &st))
        s = fail_errno(b->h, "open", b->part);
    else if (!S_ISREG(st.st_mode))
        s = LMF_FAIL(b->h->ctx, LMF_E_EXISTS, "%s is no file; remove it", b->part);
    else
        b->have = st.st_size;
    if (!s && b->bytes >= 0 && b->have > b->bytes)
        s = start_over(b);
    b->h->done += b->have;
    bool holds = false, resumed = b->have > 0;
    if (!s)
        s = check_space(b);
    for (int i = 0; !s && !holds; i++) {
        s = transfer(b, r);
        if (!s)
            s = check_hash(b, &holds);
        if (s || holds)
            break;
        s = start_over(b);
        if (!s && !(resumed && i == 0)) {
            unlink(b->part);
            s = LMF_FAIL(b->h->ctx, LMF_E_FORMAT, "the bytes of %s from %s have not the hash that the hub gives (%s); they are thrown "
                "away", b->file, b->name->repo, b->etag);
        }
    }
    if (!s)
        s = finish(b);
    if (b->fd >= 0)
        close(b->fd);
    b->fd = -1;
    lmf_delete(b->h->ctx, r);
    return s;
}

/* ---- into the snapshot ---- */
/* snapshots/COMMIT/a/b -> ../../../blobs/ETAG; where links can't be made, the bytes themselves. */
static lmf_status put_link(lmf_hub *h, const char *blob_path, const char *etag, const char *pointer, const char *file)
{
    char target[4096], temporary[4096];
    size_t at = 0;
    LMF_TRY(make_parent(h, pointer));
    for (const char *p = file; p && at + 8 < sizeof target; p = strchr(p + 1, '/'))
        at += (size_t)snprintf(target + at, sizeof target - at, "../");
    snprintf(target + at, sizeof target - at, "../blobs/%s", etag);
    LMF_TRY(lmf_output_temporary(h->ctx, pointer, temporary, sizeof temporary));
    if (!h->no_links && symlink(target, temporary) == 0)
        return lmf_path_rename(h->ctx, temporary, pointer);
    if (!h->no_links && errno != EPERM && errno != ENOSYS && errno != EOPNOTSUPP)
        return fail_errno(h, "make the link", pointer);
    return lmf_path_rename(h->ctx, blob_path, pointer);
}

static lmf_status fill(blob *b, lmf__entry *e, const char *pointer, bool *is_new)
{
    lmf_hub *h = b->h;
    if (!is_whole(b->path, b->bytes)) {
        LMF_TRY(lock(b));
        if (!is_whole(b->path, b->bytes)) { /* still: nobody brought it meanwhile */
            LMF_TRY(download(b));
            *is_new = true;
        }
    }
    if (!*is_new)
        h->done = b->done_before + (b->bytes > 0 ? b->bytes : 0);
    return put_link(h, b->path, b->etag, pointer, e->name);
}

/* What the hub says of a file: its hash and size. */
static lmf_status ask(lmf_hub *h, const lmf_hub_name *name, const char *url, const char *commit, blob *b)
{
    lmf__reply *r = lmf_new(h->ctx, lmf__reply);
    if (!r)
        return LMF_NO_MEMORY(h->ctx, sizeof *r, "a reply");
    lmf_status s = lmf__http_head(h, name, url, r);
    const char *etag = r->linked_etag[0] ? r->linked_etag : r->etag;
    if (!s && !lmf__is_commit(r->commit))
        s = LMF_FAIL(h->ctx, LMF_E_FORMAT, "%s does not answer like a hub: X-Repo-Commit is missing; see HF_ENDPOINT, proxies and "
            "certificates", h->endpoint);
    if (!s && strcmp(r->commit, commit))
        s = LMF_FAIL(h->ctx, LMF_E_FORMAT, "%s answers with commit %s where %s was asked for", h->endpoint, r->commit, commit);
    if (!s && !lmf__is_etag(etag))
        s = LMF_FAIL(h->ctx, LMF_E_FORMAT, "%s gives %s no ETag that can name it", h->endpoint, b->file);
    if (!s) {
        snprintf(b->etag, sizeof b->etag, "%s", etag);
        b->bytes = r->linked_bytes >= 0 ? r->linked_bytes : r->status < 300 ? r->length : -1;
    }
    lmf_delete(h->ctx, r);
    return s;
}

lmf_status lmf__cache_fetch(lmf_hub *h, const lmf_hub_name *name, const char *commit, lmf__entry *e, bool *is_new)
{
    char folder[4096], pointer[4096], set[256], url[4096], escaped[3200];
    *is_new = false;
    LMF_TRY(lmf__cache_folder(h, name, folder, sizeof folder));
    LMF_TRY(PATH(h, pointer, "%s/snapshots/%s/%s", folder, commit, e->name));
    int64_t before = h->done;
    if (is_whole(pointer, e->bytes)) {
        h->done += e->bytes > 0 ? e->bytes : 0;
        return LMF_OK;
    }
    lmf__url_escape(e->name, true, escaped, sizeof escaped);
    LMF_TRY(PATH(h, url, "%s/%s%s/resolve/%s/%s", h->endpoint, name->kind == LMF_HUB_DATA ? "datasets/" : "", name->repo, commit, escaped));
    folder_name(name, set, sizeof set);
    lmf_status s = LMF_OK;
    for (int i = 0; i < 2; i++) { /* again where the server changed its mind between two questions */
        blob b = { .h = h, .name = name, .file = e->name, .url = url, .fd = -1, .lock_fd = -1, .done_before = before };
        h->file = e->name, h->done = before;
        s = ask(h, name, url, commit, &b);
        if (!s)
            s = PATH(h, b.path, "%s/blobs/%s", folder, b.etag);
        if (!s)
            s = PATH(h, b.part, "%s/blobs/%s.incomplete", folder, b.etag);
        if (!s)
            s = PATH(h, b.lock, "%s/.locks/%s/%s.lock", h->cache, set, b.etag);
        if (!s)
            s = make_parent(h, b.path);
        if (!s)
            s = fill(&b, e, pointer, is_new);
        if (b.lock_fd >= 0)
            close(b.lock_fd);
        if (b.bytes >= 0)
            e->bytes = b.bytes;
        if (!b.changed)
            break;
    }
    return s;
}
