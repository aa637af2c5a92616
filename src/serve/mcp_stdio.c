/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: only whole messages are written, each a line, by the loop alone. A client that does not read makes the server wait: there is no
 * other. */
#include "serve/mcp_stdio.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>
#include "format/json.h"
#include "serve/mcp.h"

enum { MAX_LINE = 4 << 20, READ_BYTES = 64 << 10 };

struct lmf_mcp_stdio {
    lmf_mcp_peer  peer;
    struct event *input;
    lmf_buf       line;
    bool          skips;     /* the rest of a line that was too long */
    bool          ended, broken;
};

static void put(lmf_mcp_peer *p, json_t *message, bool last, int code)
{
    lmf_mcp_stdio *m = (lmf_mcp_stdio *)(void *)p;
    char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
    size_t n = text ? strlen(text) : 0;
    (void)last, (void)code;
    if (text)
        text[n++] = '\n'; /* in place of its end */
    for (size_t at = 0; at < n && !m->broken;) {
        ssize_t k = write(STDOUT_FILENO, text + at, n - at);
        if (k > 0)
            at += (size_t)k;
        else if (k < 0 && errno != EINTR)
            m->broken = true;
    }
    free(text); /* allowed: jansson's own memory */
    json_decref(message);
}

static void take_line(lmf_mcp_stdio *m, const char *text, size_t n)
{
    lmf_server *s = m->peer.server;
    json_t *message = NULL;
    if (strspn(text, " \t\r") >= n)
        return;
    if (lmf_json_parse(s->ctx, text, n, "the message", LMF_JSON_SMALL, &message)) {
        lmf_fault f;
        lmf__refuse_status(&f, s->ctx, LMF_E_FORMAT, NULL);
        put(&m->peer, lmf__mcp_error(NULL, LMF_MCP_PARSE, f.message, NULL), true, LMF_MCP_PARSE);
        return;
    }
    lmf__mcp_take(&m->peer, message);
    json_decref(message);
}

static void take_bytes(lmf_mcp_stdio *m, const char *p, size_t n)
{
    for (size_t at = 0; at < n;) {
        const char *end = memchr(p + at, '\n', n - at);
        size_t k = end ? (size_t)(end - p) - at : n - at;
        if (!m->skips && (m->line.n + k > MAX_LINE || lmf_buf_append(&m->line, p + at, k))) {
            m->skips = true;
            put(&m->peer, lmf__mcp_error(NULL, LMF_MCP_PARSE, "a message has at most 4 MiB", NULL), true, LMF_MCP_PARSE);
        }
        if (end && !m->skips)
            take_line(m, lmf_buf_str(&m->line), m->line.n);
        if (end) {
            lmf_buf_truncate(&m->line, 0);
            m->skips = false;
        }
        at += k + (end != NULL);
    }
}

static void on_input(evutil_socket_t fd, short what, void *user)
{
    lmf_mcp_stdio *m = user;
    char bytes[READ_BYTES];
    ssize_t n = read((int)fd, bytes, sizeof bytes);
    (void)what;
    if (n > 0) {
        take_bytes(m, bytes, (size_t)n);
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
        if (m->line.n && !m->skips)
            take_line(m, lmf_buf_str(&m->line), m->line.n); /* the last line may lack its end */
        m->ended = true;
        event_del(m->input);
    }
}

lmf_status lmf__mcp_stdio_open(lmf_server *s, lmf_mcp_stdio **out)
{
    lmf_mcp_stdio *m = lmf_new(s->ctx, lmf_mcp_stdio);
    *out = m;
    if (!m)
        return LMF_NO_MEMORY(s->ctx, sizeof *m, "standard input");
    *m = (lmf_mcp_stdio){ .peer = { .server = s, .tenant = &s->tenants.of[0], .send = put } };
    lmf_buf_init(&m->line, s->ctx, MAX_LINE + READ_BYTES);
    m->input = event_new(s->base, STDIN_FILENO, EV_READ | EV_PERSIST, on_input, m);
    if (!m->input || event_add(m->input, NULL))
        return LMF_FAIL(s->ctx, LMF_E_IO, "standard input can't be waited for");
    return LMF_OK;
}

void lmf__mcp_stdio_close(lmf_mcp_stdio *m)
{
    if (!m)
        return;
    lmf_server *s = m->peer.server;
    lmf__mcp_leave(&m->peer);
    if (m->input)
        event_free(m->input);
    lmf_buf_clear(&m->line);
    lmf_delete(s->ctx, m);
}

bool lmf__mcp_stdio_is_over(const lmf_mcp_stdio *m) { return m->broken || (m->ended && !m->peer.calls); }
