/* SPDX-License-Identifier: Apache-2.0 */
#include "observe/svg.h"
#include <math.h>
#include <stdio.h>
#include <string.h>
#include "base/plain.h"

enum { LEFT = 64, RIGHT = 16, TOP = 30, BOTTOM = 40 };

void lmf_html_text(lmf_buf *out, const char *text)
{
    for (size_t n = strlen(text), k; n; text += k, n -= k) {
        k = lmf_utf8_length(text, n);
        if (k == 1 && strchr("&<>\"'", *text)) {
            lmf_buf_printf(out, "&#%d;", *text);
        } else if (k && !lmf_utf8_is_command(text, k)) {
            lmf_buf_append(out, text, k);
        } else {
            for (size_t i = 0; i < (k ? k : 1); i++)
                lmf_buf_printf(out, "\\x%02x", (unsigned char)text[i]);
        }
        k = k ? k : 1;
    }
}

typedef struct frame { double x0, x1, y0, y1; const lmf_svg_opts *o; } frame;

static double at_x(const frame *f, double x) { return LEFT + (x - f->x0) / (f->x1 - f->x0) * (f->o->width - LEFT - RIGHT); }
static double at_y(const frame *f, double y)
{
    return f->o->height - BOTTOM - (y - f->y0) / (f->y1 - f->y0) * (f->o->height - TOP - BOTTOM);
}

/* 1, 2 or 5 times a power of ten, for about n ticks over a range. */
static double tick_step(double range, int n)
{
    double raw = range / n, power = pow(10, floor(log10(raw))), m = raw / power;
    return power * (m < 1.5 ? 1 : m < 3.5 ? 2 : m < 7.5 ? 5 : 10);
}

static void grow(double *lo, double *hi, double v)
{
    *lo = v < *lo ? v : *lo;
    *hi = v > *hi ? v : *hi;
}

static bool make_frame(frame *f, const lmf_svg_series *s, int n)
{
    f->x0 = f->y0 = INFINITY, f->x1 = f->y1 = -INFINITY;
    for (int k = 0; k < n; k++)
        for (int64_t i = 0; i < s[k].n; i++)
            if (isfinite(s[k].x[i]) && isfinite(s[k].y[i])) {
                grow(&f->x0, &f->x1, s[k].x[i]);
                grow(&f->y0, &f->y1, s[k].y[i]);
            }
    if (!(f->x0 <= f->x1))
        return false;
    double pad = f->y1 > f->y0 ? 0.05 * (f->y1 - f->y0) : fabs(f->y0) > 0 ? 0.1 * fabs(f->y0) : 1;
    bool above = f->y0 >= 0;
    f->y0 -= pad, f->y1 += pad;
    if (above && f->y0 < 0)
        f->y0 = 0;
    if (f->x1 == f->x0)
        f->x0 -= 1, f->x1 += 1;
    return true;
}

static void put_axes(lmf_buf *out, const frame *f)
{
    double step = tick_step(f->y1 - f->y0, 5);
    for (double t = ceil(f->y0 / step) * step; t <= f->y1; t += step)
        lmf_buf_printf(out, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/><text class=\"tick\" x=\"%d\" y=\"%.1f\" "
                       "text-anchor=\"end\">%.6g</text>\n", LEFT, f->o->width - RIGHT, at_y(f, t), at_y(f, t), LEFT - 6, at_y(f, t) + 4,
                       fabs(t) < step * 1e-6 ? 0 : t);
    step = tick_step(f->x1 - f->x0, 6);
    step = step < 1 ? 1 : step;
    for (double t = ceil(f->x0 / step) * step; t <= f->x1; t += step)
        lmf_buf_printf(out, "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%.8g</text>\n", at_x(f, t),
                       f->o->height - BOTTOM + 16, t);
    lmf_buf_printf(out, "<path class=\"axis\" d=\"M%d %dV%dH%d\"/>\n<text class=\"tick\" x=\"%d\" y=\"%d\" text-anchor=\"end\">", LEFT, TOP,
                   f->o->height - BOTTOM, f->o->width - RIGHT, f->o->width - RIGHT, f->o->height - 6);
    lmf_html_text(out, f->o->x_name);
    lmf_buf_puts(out, "</text>\n");
}

/* Means of neighbours where there are more points than a screen shows. */
static void put_line(lmf_buf *out, const frame *f, const lmf_svg_series *s, int color)
{
    int64_t each = (s->n + LMF_SVG_MAX_POINTS - 1) / LMF_SVG_MAX_POINTS, n_points = 0;
    bool open = false;
    double last_x = 0, last_y = 0;
    lmf_buf_printf(out, "<path class=\"line l%d%s\" d=\"", color, s->faint ? " faint" : "");
    for (int64_t i = 0; i < s->n; i += each) {
        double x = 0, y = 0;
        int64_t n = 0;
        for (int64_t k = i; k < i + each && k < s->n; k++)
            if (isfinite(s->x[k]) && isfinite(s->y[k]))
                x += s->x[k], y += s->y[k], n++;
        if (n == 0) {
            open = false;
            continue;
        }
        last_x = at_x(f, x / (double)n), last_y = at_y(f, y / (double)n);
        lmf_buf_printf(out, "%s%.1f %.1f", open ? "L" : "M", last_x, last_y);
        open = true;
        n_points++;
    }
    lmf_buf_puts(out, "\"/>\n");
    if (n_points == 1) /* a line of one point is not seen */
        lmf_buf_printf(out, "<circle class=\"dot l%d\" cx=\"%.1f\" cy=\"%.1f\" r=\"3\"/>\n", color, last_x, last_y);
}

bool lmf_svg_chart(lmf_buf *out, const lmf_svg_opts *o, const lmf_svg_series *series, int n)
{
    frame f = { .o = o };
    double at = LEFT;
    if (!make_frame(&f, series, n))
        return false;
    lmf_buf_printf(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", o->width, o->height);
    lmf_html_text(out, o->title);
    lmf_buf_printf(out, "\">\n<text class=\"title\" x=\"%d\" y=\"18\">", LEFT);
    lmf_html_text(out, o->title);
    lmf_buf_puts(out, "</text>\n");
    put_axes(out, &f);
    for (int k = 0; k < n; k++)
        put_line(out, &f, &series[k], k);
    at = o->width - RIGHT;
    for (int k = n - 1; k >= 0 && n > 1; k--) {
        lmf_buf_printf(out, "<text class=\"legend l%d\" x=\"%.1f\" y=\"18\" text-anchor=\"end\">", k, at);
        lmf_html_text(out, series[k].name);
        lmf_buf_puts(out, "</text>\n");
        at -= 7.5 * (double)strlen(series[k].name) + 16;
    }
    lmf_buf_puts(out, "</svg>\n");
    return true;
}
