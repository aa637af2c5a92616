/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: progress goes to stderr only, so that stdout stays what a pipe expects. On a terminal one line is redrawn at most ten
 * times a second; elsewhere a plain line is written every five seconds and for the last step. */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>
#include "cli/command.h"

double lmf_cli_seconds(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static bool silent(const lmf_progress *p)
{
    return p->cli->quiet; /* --json speaks on stdout and leaves stderr alone */
}

void lmf_progress_start(lmf_progress *p, lmf_cli *cli, const char *label, int64_t total)
{
    memset(p, 0, sizeof *p);
    p->cli = cli;
    p->label = label;
    p->total = total;
    p->start = lmf_cli_seconds();
    p->last_draw = p->start - (isatty(STDERR_FILENO) ? 1 : 0);
}

/* "0:42", "1:02:03" */
static void clock_text(double seconds, char *text, size_t n)
{
    long long s = seconds > 0 && seconds < 1e9 ? (long long)(seconds + 0.5) : 0;
    if (s >= 3600)
        snprintf(text, n, "%lld:%02lld:%02lld", s / 3600, s / 60 % 60, s % 60);
    else
        snprintf(text, n, "%lld:%02lld", s / 60, s % 60);
}

static void draw(const lmf_progress *p, int64_t done, const char *detail, double now, bool terminal)
{
    char line[512], bar[48] = "", clock[32], left[64] = "", rate[48] = "";
    double seconds = now - p->start, share = p->total > 0 ? (double)done / (double)p->total : 0;
    int width = 100;
    struct winsize size;
    if (terminal && ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        width = size.ws_col;
    if (share > 1)
        share = 1;
    if (p->total > 0 && terminal) {
        int cells = width >= 100 ? 24 : 12, full = (int)(share * cells);
        bar[0] = '[';
        for (int i = 0; i < cells; i++)
            bar[i + 1] = i < full ? '=' : i == full ? '>' : ' ';
        memcpy(bar + cells + 1, "] ", 3);
    }
    bool last = p->total > 0 && done >= p->total;
    if (done > 0 && p->total > 0 && !last) {
        clock_text(seconds / (double)done * (double)(p->total - done), clock, sizeof clock);
        snprintf(left, sizeof left, "%s left", clock);
    } else {
        clock_text(seconds, clock, sizeof clock);
        snprintf(left, sizeof left, "%s", clock);
    }
    if (!detail && done > 0 && seconds > 0) {
        snprintf(rate, sizeof rate, "%.3g/s", (double)done / seconds);
        detail = rate;
    }
    int n;
    if (p->total > 0)
        n = snprintf(line, sizeof line, "%s %lld/%lld %s%s  %s", p->label, (long long)done, (long long)p->total, bar, detail ? detail : "", left);
    else
        n = snprintf(line, sizeof line, "%s %lld  %s  %s", p->label, (long long)done, detail ? detail : "", left);
    if (terminal && n >= width && width > 1 && width <= (int)sizeof line)
        line[width - 1] = 0; /* a wrapped line can't be redrawn */
    fprintf(stderr, terminal ? "\r%s\033[K" : "%s\n", line);
    fflush(stderr);
}

void lmf_progress_step(lmf_progress *p, int64_t done, const char *detail)
{
    bool terminal = isatty(STDERR_FILENO);
    double now = lmf_cli_seconds();
    if (silent(p) || (now - p->last_draw < (terminal ? 0.1 : 5.0) && done != p->total))
        return;
    p->last_draw = now;
    draw(p, done, detail, now, terminal);
}

void lmf_progress_end(lmf_progress *p)
{
    if (!silent(p) && isatty(STDERR_FILENO))
        fputc('\n', stderr);
}

void lmf_cli_note(void *user, bool warning, const char *sentence)
{
    const lmf_cli *cli = user;
    if (warning || (!cli->quiet && !cli->json))
        fprintf(stderr, "%s%s\n", warning ? "warning: " : "", sentence);
}
