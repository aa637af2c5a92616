/* SPDX-License-Identifier: Apache-2.0 */
/* svg: line charts as SVG, for pages that need nothing else. Colours are CSS variables of the page: --line-0 ..., --axis, --grid.
 *
 *     lmf_svg_series s = { "loss", x, y, n, false };
 *     lmf_svg_chart(out, &(lmf_svg_opts){ "Loss", "step", 640, 240 }, &s, 1); */
#ifndef LMF_OBSERVE_SVG_H
#define LMF_OBSERVE_SVG_H
#include "base/buf.h"

typedef struct lmf_svg_series {
    const char   *name;          /* plain text */
    const double *x, *y;         /* [n], x rising; what is not finite parts the line */
    int64_t       n;
    bool          faint;         /* behind the others: the raw course beside a smoothed one */
} lmf_svg_series;

typedef struct lmf_svg_opts { const char *title, *x_name; int width, height; } lmf_svg_opts;

enum { LMF_SVG_MAX_SERIES = 8, LMF_SVG_MAX_POINTS = 1000 };
/* A chart with both axes, ticks at round numbers, a legend where there are several series. More than LMF_SVG_MAX_POINTS points become
 * means of neighbours. Writes nothing where no point is finite; false then. */
bool lmf_svg_chart(lmf_buf *out, const lmf_svg_opts *o, const lmf_svg_series *series, int n_series);
/* A text with &, <, > and quotes as entities, control characters as \xNN. */
void lmf_html_text(lmf_buf *out, const char *text);

#endif
