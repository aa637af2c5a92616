/* SPDX-License-Identifier: Apache-2.0 */
/* A tool that is a program of the user's, described by a file:
 *     {"name": "weather", "description": "...", "parameters": {schema}, "command": ["./weather", "--brief"], "effect": "sends",
 * "timeout": 10,
 *      "private": false}
 * It gets the arguments as JSON on standard input, and its standard output is the result; an exit status other than 0 makes it a failure,
 * with what it wrote. Rule: nothing is started by a shell, and its group is killed before the call returns. What it may do is not
 * narrowed: it is the user's own. effect is what it says it is; without one it counts as one that sends. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include "agent/child.h"
#include "agent/tool.h"
#include "format/json.h"

enum { MAX_FILE = 1 << 20, MAX_ARGV = 64 };
typedef struct command { char *argv[MAX_ARGV + 1]; } command;
extern char **environ;

/* ---- the file ---- */

static lmf_status read_effect(lmf_ctx *ctx, const json_t *j, lmf_tool_use *use)
{
    const json_t *effect = json_object_get(j, "effect");
    for (int e = LMF_READS; e <= LMF_SENDS; e++)
        if (json_is_string(effect) && strcmp(json_string_value(effect), lmf_effect_word((lmf_effect)e)) == 0)
            return use->effect = (lmf_effect)e, LMF_OK;
    return effect ? LMF_FAIL(ctx, LMF_E_FORMAT, "effect must be reads, writes or sends") : LMF_OK;
}

static lmf_status read_argv(lmf_arena *a, const json_t *list, command *c)
{
    size_t n = json_array_size(list);
    if (n < 1 || n > MAX_ARGV)
        return LMF_FAIL(a->ctx, LMF_E_FORMAT, "command must be a list of 1 to %d texts: the program and its arguments", MAX_ARGV);
    for (size_t i = 0; i < n; i++) {
        const json_t *text = json_array_get(list, i);
        if (!json_is_string(text) || strlen(json_string_value(text)) != json_string_length(text))
            return LMF_FAIL(a->ctx, LMF_E_FORMAT, "command[%zu] must be a text", i);
        if (!(c->argv[i] = lmf_arena_strdup(a, json_string_value(text))))
            return LMF_NO_MEMORY(a->ctx, json_string_length(text), "a command");
    }
    return LMF_OK;
}

static lmf_status read_members(lmf_arena *a, const json_t *j, lmf_tool_use *use)
{
    static const char *const known[] = { "name", "description", "parameters", "command", "effect", "timeout", "private", NULL };
    const char *key, *name = json_string_value(json_object_get(j, "name")), *about = json_string_value(json_object_get(j, "description"));
    const json_t *timeout = json_object_get(j, "timeout");
    json_t *schema = json_object_get(j, "parameters"), *value;
    json_object_foreach((json_t *)(uintptr_t)j, key, value) {
        int k = 0;
        while (known[k] && strcmp(known[k], key))
            k++;
        if (!known[k])
            return LMF_FAIL(a->ctx, LMF_E_FORMAT,
                            "there is no member \"%.60s\" in a tool; there are name, description, parameters, command, "
                            "effect, timeout and private", key);
    }
    if (!name || !about || !json_is_object(schema))
        return LMF_FAIL(a->ctx, LMF_E_FORMAT, "a tool has a name, a description and parameters (a JSON schema)");
    if (timeout && (!json_is_number(timeout) || !(json_number_value(timeout) > 0) || json_number_value(timeout) > 86400))
        return LMF_FAIL(a->ctx, LMF_E_FORMAT, "timeout must be seconds, above 0 and at most 86400");
    if (json_object_get(j, "private") && !json_is_boolean(json_object_get(j, "private")))
        return LMF_FAIL(a->ctx, LMF_E_FORMAT, "private must be true or false");
    use->schema = json_incref(schema);
    use->timeout_s = timeout ? json_number_value(timeout) : use->timeout_s;
    use->is_private = json_object_get(j, "private") ? json_is_true(json_object_get(j, "private")) : use->is_private;
    use->name = lmf_arena_strdup(a, name), use->description = lmf_arena_strdup(a, about);
    if (!use->name || !use->description)
        return LMF_NO_MEMORY(a->ctx, strlen(about), "a tool");
    LMF_TRY(read_effect(a->ctx, j, use));
    return read_argv(a, json_object_get(j, "command"), use->state);
}

static lmf_status open_command(lmf_arena *a, const char *argument, lmf_tool_use *use)
{
    json_t *j;
    if (!(use->state = lmf_arena_alloc(a, sizeof(command))))
        return LMF_NO_MEMORY(a->ctx, sizeof(command), "a tool");
    LMF_TRY(lmf_json_load(a->ctx, argument, MAX_FILE, LMF_JSON_SMALL, &j));
    lmf_status s = read_members(a, j, use);
    json_decref(j);
    return s ? lmf_fail_prefix(a->ctx, s, "%s", argument) : LMF_OK;
}

/* ---- a run ---- */

/* Sends text [n], then reads to the end. LMF_E_LIMIT: until came first. */
static lmf_status exchange(lmf_ctx *ctx, const lmf_tool_use *use, lmf_child *p, const char *text, size_t n, double until, lmf_tool_out *out)
{
    char bytes[1 << 14];
    double seconds = until - lmf_tool_clock_now();
    for (size_t at = 0; ; ) {
        double left = until - lmf_tool_clock_now();
        struct pollfd f = { p->fd, (short)(POLLIN | (at < n ? POLLOUT : 0)), 0 };
        int rc = left > 0 ? poll(&f, 1, left > 0.1 ? 100 : (int)(left * 1000) + 1) : 0;
        if (left <= 0)
            return LMF_FAIL(ctx, LMF_E_LIMIT, "it did not end within %.3g seconds and was stopped", seconds > 0 ? seconds : 0);
        if (lmf__tools_stopped(use->set))
            return LMF_FAIL(ctx, LMF_E_CANCELLED, "it was stopped by the user");
        if (rc < 0 && errno != EINTR)
            return LMF_FAIL(ctx, LMF_E_IO, "it can't be waited for: %s", strerror(errno));
        if (rc > 0 && (f.revents & POLLOUT) && at < n) {
            lmf__child_send(p, text, n, &at);
            if (at == n)
                shutdown(p->fd, SHUT_WR);
        }
        if (rc > 0 && (f.revents & (POLLIN | POLLHUP | POLLERR))) {
            ssize_t k = recv(p->fd, bytes, sizeof bytes, MSG_DONTWAIT);
            if (k == 0 || (k < 0 && errno != EINTR && errno != EAGAIN))
                return LMF_OK;
            if (k > 0)
                lmf_tool_put(out, bytes, (size_t)k);
        }
    }
}

/* After its output it may still be ending. */
static lmf_status stop(lmf_ctx *ctx, lmf_child *p, lmf_status s, double until, const lmf_tool_out *out)
{
    int status = 0;
    bool ended = lmf__child_end(p, s ? 0 : until, &status);
    if (s || (ended && WIFEXITED(status) && WEXITSTATUS(status) == 0))
        return s;
    int n = out->buf->n < 300 ? (int)out->buf->n : 300;
    if (!ended || WIFSIGNALED(status))
        return LMF_FAIL(ctx, LMF_E_IO, "it ended by a signal; it had written: %.*s", n, lmf_buf_str(out->buf));
    return LMF_FAIL(ctx, LMF_E_IO, "it ended with status %d; it had written: %.*s", WEXITSTATUS(status), n, lmf_buf_str(out->buf));
}

static lmf_status run(lmf_ctx *ctx, lmf_tool_use *use, const json_t *arguments, double until, lmf_tool_out *out)
{
    lmf_child p = { 0 };
    lmf_buf text;
    lmf_buf_init(&text, ctx, 1 << 24);
    lmf_status s = lmf_json_text(ctx, arguments, JSON_COMPACT, &text);
    if (!s)
        s = lmf_buf_putc(&text, '\n');
    if (!s)
        s = lmf__child_start(ctx, ((const command *)use->state)->argv, environ, false, &p);
    if (!s) {
        s = exchange(ctx, use, &p, lmf_buf_str(&text), text.n, until, out);
        s = stop(ctx, &p, s, until, out);
    }
    lmf_buf_clear(&text);
    return s;
}

const lmf_tool lmf_tool_command = { .name = "command", .description = "A program of the user's.", .effect = LMF_SENDS, .is_private = true,
    .timeout_s = 30, .argument = "a JSON file that describes it", .needs_argument = true, .open = open_command, .run = run };
