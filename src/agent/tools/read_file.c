/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "agent/beneath.h"

static lmf_status run(lmf_ctx *ctx, lmf_tool_use *use, const json_t *arguments, double until, lmf_tool_out *out)
{
    const char *path = json_string_value(json_object_get(arguments, "path"));
    char part[4096];
    struct stat st;
    int fd;
    (void)until;
    if (!path)
        return LMF_FAIL(ctx, LMF_E_ARG, "the argument path is missing");
    LMF_TRY(lmf__beneath_fd(ctx, use, path, false, &fd));
    lmf_status s = LMF_OK;
    if (fstat(fd, &st) || !S_ISREG(st.st_mode))
        s = LMF_FAIL(ctx, LMF_E_ARG, "\"%.200s\" is %s", path, S_ISDIR(st.st_mode) ? "a folder; list_files shows what is in it"
                     : "no regular file");
    while (!s) {
        ssize_t n = out->buf->n < out->cap ? read(fd, part, sizeof part) : 0;
        if (n < 0 && errno != EINTR)
            s = LMF_FAIL(ctx, LMF_E_IO, "\"%.200s\" can't be read: %s", path, strerror(errno));
        if (n == 0)
            break;
        if (n > 0)
            lmf_tool_put(out, part, (size_t)n);
    }
    if (!s && (size_t)st.st_size > out->n_all) /* what was not read */
        out->n_all = (size_t)st.st_size;
    close(fd);
    return s;
}

const lmf_tool lmf_tool_read_file = { .name = "read_file", .description = "The text of a file, by its path in the folder.",
    .schema = "{\"type\": \"object\", \"properties\": {\"path\": {\"type\": \"string\", \"minLength\": 1, \"maxLength\": 200}}, "
              "\"required\": [\"path\"]}",
    .effect = LMF_READS, .is_private = true, .timeout_s = 10, .argument = "the folder", .needs_argument = true, .open = lmf__beneath_open,
    .close = lmf__beneath_close, .run = run };
