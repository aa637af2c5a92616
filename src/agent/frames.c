/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: no message is longer than LMF_FRAMES_MAX, and no more than that is kept of what is none yet. */
#include "agent/frames.h"
#include <string.h>

enum { SPARE = 1 << 16 }; /* bytes behind a message that a reader may push at once and more */

void lmf__frames_init(lmf_frames *f, lmf_ctx *ctx, lmf_frames_form form)
{
    *f = (lmf_frames){ .form = form };
    lmf_buf_init(&f->bytes, ctx, LMF_FRAMES_MAX + SPARE);
    lmf_buf_init(&f->data, ctx, LMF_FRAMES_MAX);
}

void lmf__frames_clear(lmf_frames *f)
{
    lmf_buf_clear(&f->bytes);
    lmf_buf_clear(&f->data);
}

static lmf_status too_long(lmf_frames *f)
{
    f->broken = true;
    return LMF_FAIL(f->bytes.ctx, LMF_E_LIMIT, "a message is longer than %d bytes", LMF_FRAMES_MAX);
}

lmf_status lmf__frames_push(lmf_frames *f, const char *p, size_t n)
{
    lmf_buf *b = &f->bytes;
    if (f->at) {
        memmove(b->data, b->data + f->at, b->n - f->at);
        lmf_buf_truncate(b, b->n - f->at);
        f->seen -= f->at, f->at = 0;
    }
    if (f->broken || n > SPARE || b->n > LMF_FRAMES_MAX)
        return too_long(f);
    return lmf_buf_append(b, p, n);
}

void lmf__frames_end(lmf_frames *f) { f->over = true; }

/* The next line without its end. Of lines alone the end is a line feed; in events also a carriage return, or both. */
static bool next_line(lmf_frames *f, const char **line, size_t *n)
{
    const char *p = lmf_buf_str(&f->bytes);
    size_t all = f->bytes.n, i = f->seen > f->at ? f->seen : f->at;
    bool events = f->form == LMF_FRAMES_EVENTS;
    while (i < all && p[i] != '\n' && !(events && p[i] == '\r'))
        i++;
    f->seen = i;
    if (i == all || (events && p[i] == '\r' && i + 1 == all && !f->over)) { /* a line feed may follow */
        if (!f->over || f->at == all)
            return false;
        *line = p + f->at, *n = all - f->at;
        f->at = f->seen = all;
        return true;
    }
    *line = p + f->at, *n = i - f->at;
    f->at = f->seen = i + 1 + (p[i] == '\r' && i + 1 < all && p[i + 1] == '\n');
    if (!events && *n && (*line)[*n - 1] == '\r')
        --*n;
    return true;
}

static bool is_field(const char *line, size_t n, const char *name, const char **value, size_t *n_value)
{
    size_t k = strlen(name);
    if (n < k || memcmp(line, name, k) || (n > k && line[k] != ':'))
        return false;
    k += n > k;
    k += n > k && line[k] == ' ';
    *value = line + k, *n_value = n - k;
    return true;
}

/* One line of events; true: the event is whole. */
static bool take_field(lmf_frames *f, const char *line, size_t n)
{
    const char *value;
    size_t n_value;
    if (f->given) {
        lmf_buf_truncate(&f->data, 0);
        f->given = f->has_data = f->other = false;
    }
    if (!n) {
        bool whole = f->has_data && !f->other && !f->data.status;
        f->given = true;
        return whole;
    }
    if (is_field(line, n, "event", &value, &n_value)) {
        f->other = n_value && !(n_value == 7 && memcmp(value, "message", 7) == 0);
    } else if (is_field(line, n, "data", &value, &n_value)) {
        if (f->has_data)
            lmf_buf_putc(&f->data, '\n');
        lmf_buf_append(&f->data, value, n_value);
        f->has_data = true;
        f->broken |= f->data.status != LMF_OK;
    }
    return false;
}

bool lmf__frames_next(lmf_frames *f, const char **text, size_t *n)
{
    const char *line;
    size_t k;
    if (f->form == LMF_FRAMES_WHOLE) {
        if (!f->over || f->at == f->bytes.n || f->bytes.n > LMF_FRAMES_MAX)
            return false;
        *text = lmf_buf_str(&f->bytes), *n = f->bytes.n;
        f->at = f->bytes.n;
        return true;
    }
    while (!f->broken && next_line(f, &line, &k)) {
        if (k > LMF_FRAMES_MAX)
            return f->broken = true, false;
        if (f->form == LMF_FRAMES_LINES && k) {
            *text = line, *n = k;
            return true;
        }
        if (f->form == LMF_FRAMES_EVENTS && take_field(f, line, k)) {
            *text = lmf_buf_str(&f->data), *n = f->data.n;
            return true;
        }
    }
    return false;
}
