/* SPDX-License-Identifier: Apache-2.0 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/beneath.h"

enum { MAX_NAMES = 4096 };

static int by_name(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

static void put_name(DIR *dir, const char *name, lmf_tool_out *out)
{
    struct stat st;
    if (fstatat(dirfd(dir), name, &st, AT_SYMLINK_NOFOLLOW))
        return;
    lmf_tool_put(out, name, strlen(name));
    if (S_ISDIR(st.st_mode))
        lmf_tool_put(out, "/\n", 2);
    else if (S_ISREG(st.st_mode))
        lmf_tool_printf(out, "  %lld bytes\n", (long long)st.st_size);
    else
        lmf_tool_put(out, S_ISLNK(st.st_mode) ? "  (link)\n" : "  (no file)\n", S_ISLNK(st.st_mode) ? 9 : 12);
}

static lmf_status list(lmf_ctx *ctx, DIR *dir, double until, lmf_tool_out *out)
{
    const char *names[MAX_NAMES];
    lmf_arena arena;
    size_t n = 0, n_more = 0;
    lmf_status s = LMF_OK;
    lmf_arena_init(&arena, ctx, 4 << 20);
    for (struct dirent *e; !s && (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (n == MAX_NAMES)
            n_more++;
        else if (!(names[n++] = lmf_arena_strdup(&arena, e->d_name)))
            s = LMF_NO_MEMORY(ctx, 256, "names");
        if (lmf_tool_clock_now() > until)
            s = LMF_FAIL(ctx, LMF_E_LIMIT, "the folder has too many files to be listed in time");
    }
    if (!s)
        qsort(names, n, sizeof *names, by_name);
    for (size_t i = 0; i < n && !s; i++)
        put_name(dir, names[i], out);
    if (!s && n == 0)
        lmf_tool_put(out, "the folder is empty", 19);
    if (!s && n_more)
        lmf_tool_printf(out, "and %zu more\n", n_more);
    lmf_arena_clear(&arena);
    return s;
}

static lmf_status run(lmf_ctx *ctx, lmf_tool_use *use, const json_t *arguments, double until, lmf_tool_out *out)
{
    const char *path = json_string_value(json_object_get(arguments, "path"));
    int fd;
    LMF_TRY(lmf__beneath_fd(ctx, use, path ? path : "", true, &fd));
    DIR *dir = fdopendir(fd);
    if (!dir) {
        close(fd);
        return LMF_FAIL(ctx, LMF_E_IO, "the folder can't be read: %s", strerror(errno));
    }
    lmf_status s = list(ctx, dir, until, out);
    closedir(dir);
    return s;
}

const lmf_tool lmf_tool_list_files = { .name = "list_files", .description = "The files of the folder, or of a folder in it.",
    .schema = "{\"type\": \"object\", \"properties\": {\"path\": {\"type\": \"string\", \"maxLength\": 200}}}",
    .effect = LMF_READS, .is_private = true, .timeout_s = 10, .argument = "the folder", .needs_argument = true, .open = lmf__beneath_open,
    .close = lmf__beneath_close, .run = run };
