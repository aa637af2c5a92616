/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/download.h"
#include <stdio.h>
#include <string.h>
#include "base/file.h"

typedef struct view { lmf_cli *cli; lmf_progress bar; bool drawn, quiet; int64_t first; } view; /* the bar counts kilobytes */

static bool progress(void *user, const char *file, int64_t done, int64_t total)
{
    view *v = user;
    char detail[128];
    if (total > 0 && !v->quiet) {
        if (!v->drawn) { /* what was there before is neither speed nor time left */
            v->first = done, v->drawn = true;
            v->bar.total = (total - done + 999) / 1000;
        }
        double seconds = lmf_cli_seconds() - v->bar.start, rate = seconds > 0.2 ? (double)(done - v->first) / seconds : 0;
        int n = snprintf(detail, sizeof detail, "%.40s  %.1f/%.1f MB", file ? file : "", (double)done / 1e6, (double)total / 1e6);
        if (rate > 0)
            snprintf(detail + n, sizeof detail - (size_t)n, "  %.1f MB/s", rate / 1e6);
        lmf_progress_step(&v->bar, done > v->first ? (done - v->first + 999) / 1000 : 0, detail);
    }
    return lmf_cli_interrupted();
}

static void note(void *user, const char *sentence)
{
    const view *v = user;
    if (!v->cli->quiet)
        fprintf(stderr, "%s\n", sentence);
}

lmf_status lmf__download(lmf_cli *cli, const lmf_hub_name *name, const lmf_hub_choice *choice, lmf_hub_got *got)
{
    lmf_hub *h;
    view v = { .cli = cli };
    lmf_hub_watch watch = { progress, note, &v };
    LMF_TRY(lmf_hub_open(cli->ctx, &watch, &h));
    v.quiet = lmf_hub_is_quiet(h);
    lmf_progress_start(&v.bar, cli, name->repo, 0);
    lmf_status s = lmf_hub_get(h, name, choice, got);
    if (v.drawn)
        lmf_progress_end(&v.bar);
    lmf_hub_close(h);
    if (s == LMF_E_CANCELLED)
        return LMF_FAIL(cli->ctx, s, "stopped; what came of %s is kept, and the next call goes on from there", name->repo);
    return s;
}

/* "org/name/train.jsonl:type=alpaca": the name, and what stands behind it. */
static lmf_status bring(lmf_cli *cli, lmf_arena *a, const lmf_flag *f, const char **text)
{
    const char *colon = f->hub == LMF_HUB_DATA ? strchr(*text, ':') : NULL;
    char *own = lmf_arena_strndup(a, *text, colon ? (size_t)(colon - *text) : strlen(*text));
    lmf_hub_name name;
    lmf_hub_got got;
    lmf_hub_choice choice = { .one = true };
    if (!own)
        return LMF_NO_MEMORY(cli->ctx, strlen(*text), "a name");
    if (lmf_path_stat(*text) != LMF_PATH_NONE || lmf_path_stat(own) != LMF_PATH_NONE || !lmf_hub_is_name(own, f->hub))
        return LMF_OK;
    lmf_status s = lmf_hub_name_parse(cli->ctx, own, f->hub, &name);
    if (!s)
        s = lmf__download(cli, &name, &choice, &got);
    if (s)
        return s == LMF_E_CANCELLED ? s : lmf_fail_prefix(cli->ctx, s, "--%s %s (no file or folder here, so a name on the hub)", f->name,
            own);
    *text = lmf_arena_printf(a, "%s%s", got.path, colon ? colon : "");
    return *text ? LMF_OK : LMF_NO_MEMORY(cli->ctx, sizeof got.path, "a path");
}

lmf_status lmf__cli_bring(lmf_cli *cli, lmf_arena *a, const lmf_command *cmd, void *args)
{
    for (const lmf_flag *f = cmd->flags; f && f->name; f++) {
        void *at = (char *)args + f->offset;
        if (!f->hub)
            continue;
        if (f->kind == LMF_FLAG_STRING && *(const char **)at)
            LMF_TRY(bring(cli, a, f, at));
        for (int64_t i = 0; f->kind == LMF_FLAG_LIST && i < ((lmf_texts *)at)->n; i++)
            LMF_TRY(bring(cli, a, f, &((lmf_texts *)at)->item[i]));
    }
    return LMF_OK;
}
