/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/beneath.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct root { int fd; } root;

static int open_beneath(int at, const char *path, int flags)
{
    struct open_how how = { .flags = (uint64_t)(flags | O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY),
                            .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS };
    return (int)syscall(SYS_openat2, at, path, &how, sizeof how);
}

lmf_status lmf__beneath_open(lmf_arena *a, const char *argument, lmf_tool_use *use)
{
    root *r = lmf_arena_alloc(a, sizeof *r);
    if (!r)
        return LMF_NO_MEMORY(a->ctx, sizeof *r, "a folder");
    r->fd = open(argument, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (r->fd < 0)
        return LMF_FAIL(a->ctx, LMF_E_IO, "the folder \"%.200s\" of the tool %s can't be opened: %s", argument, use->name, strerror(errno));
    use->state = r;
    int fd = open_beneath(r->fd, ".", O_DIRECTORY);
    if (fd < 0 && errno == ENOSYS)
        return LMF_FAIL(a->ctx, LMF_E_UNSUPPORTED, "the tool %s needs openat2 (Linux 5.6), without which it can't be kept in its folder",
                        use->name);
    if (fd < 0)
        return LMF_FAIL(a->ctx, LMF_E_IO, "the folder \"%.200s\" of the tool %s can't be read: %s", argument, use->name, strerror(errno));
    close(fd);
    return LMF_OK;
}

void lmf__beneath_close(lmf_ctx *ctx, lmf_tool_use *use)
{
    (void)ctx;
    if (use->state)
        close(((root *)use->state)->fd);
}

lmf_status lmf__beneath_fd(lmf_ctx *ctx, const lmf_tool_use *use, const char *path, bool folder, int *fd)
{
    const char *why;
    LMF_TRY(lmf_shim(ctx, LMF_SITE_OPEN) ? LMF_FAIL(ctx, LMF_E_IO, "\"%.200s\" can't be opened", path) : LMF_OK);
    *fd = open_beneath(((const root *)use->state)->fd, *path ? path : ".", folder ? O_DIRECTORY : 0);
    if (*fd >= 0)
        return LMF_OK;
    why = errno == EXDEV ? "it leads out of the folder" : strerror(errno);
    return LMF_FAIL(ctx, LMF_E_NOT_FOUND, "\"%.200s\" can't be opened: %s", path, why);
}
