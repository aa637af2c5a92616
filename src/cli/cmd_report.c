/* SPDX-License-Identifier: Apache-2.0 */
/* lmfast report: a training run as one HTML file. */
#include <stdio.h>
#include <string.h>
#include "base/output.h"
#include "cli/command.h"
#include "format/json.h"
#include "observe/report.h"

typedef struct report_args { const char *run, *output; bool overwrite; } report_args;

enum { MAX_LOG_BYTES = 1 << 30, MAX_CONFIG_BYTES = 1 << 20 };

#define AT(member) offsetof(report_args, member)
static const lmf_flag flags[] = {
    { "run", 0, LMF_FLAG_STRING, AT(run), .required = true, .positional = true, .help = "folder of a training run: its --output" },
    { "output", 'o', LMF_FLAG_STRING, AT(output), .help = "HTML file to write; NAME_report.html beside the folder NAME if left out" },
    { "overwrite", 0, LMF_FLAG_BOOL, AT(overwrite), .help = "replace an earlier report, and nothing else" },
    { 0 }
};

/* "out/run/" -> "out/run_report.html". */
static lmf_status output_of(lmf_cli *cli, const report_args *a, char *path, size_t n)
{
    size_t k = strlen(a->run);
    while (k > 1 && a->run[k - 1] == '/')
        k--;
    int len = a->output ? snprintf(path, n, "%s", a->output) : snprintf(path, n, "%.*s_report.html", (int)k, a->run);
    return len > 0 && (size_t)len < n ? LMF_OK : LMF_FAIL(cli->ctx, LMF_E_ARG, "--output is empty or too long");
}

static lmf_status check_output(lmf_cli *cli, const report_args *a, const char *path)
{
    lmf_output_kind kind = lmf_output_stat(path);
    char *text;
    size_t n;
    if (kind == LMF_OUTPUT_NONE)
        return LMF_OK;
    if (kind != LMF_OUTPUT_FILE)
        return LMF_FAIL(cli->ctx, LMF_E_EXISTS, "--output %s is %s; it is left alone, choose another name", path, lmf_output_word(kind));
    LMF_TRY(lmf_file_read(cli->ctx, path, MAX_LOG_BYTES, &text, &n));
    bool ours = lmf_output_is_sealed(cli->ctx, LMF_REPORT_BEGIN, text, n);
    lmf_free(cli->ctx, text, n + 1);
    if (!ours)
        return LMF_FAIL(cli->ctx, LMF_E_EXISTS,
                        "--output %s exists and is no report, or was changed since; it is left alone, choose another "
                        "name", path);
    return a->overwrite ? LMF_OK : LMF_FAIL(cli->ctx, LMF_E_EXISTS, "--output %s exists; --overwrite replaces it", path);
}

static lmf_status write_report(lmf_cli *cli, const report_args *a, const char *path)
{
    char file[4096], *log = NULL, *config = NULL;
    size_t n_log = 0, n_config = 0;
    lmf_buf page;
    const char *slash = strrchr(a->run, '/');
    lmf_buf_init(&page, cli->ctx, (size_t)1 << 29);
    lmf_status s = lmf_path_join(cli->ctx, file, sizeof file, a->run, "metrics.jsonl");
    if (!s)
        s = lmf_file_read(cli->ctx, file, MAX_LOG_BYTES, &log, &n_log);
    if (s)
        s = lmf_fail_prefix(cli->ctx, s, "%s is no folder of a training run", a->run);
    if (!s)
        s = lmf_path_join(cli->ctx, file, sizeof file, a->run, "lmfast_config.yaml");
    if (!s && lmf_path_stat(file) == LMF_PATH_FILE)
        s = lmf_file_read(cli->ctx, file, MAX_CONFIG_BYTES, &config, &n_config);
    lmf_report_in in = { slash && slash[1] ? slash + 1 : a->run, log, n_log, config, n_config };
    if (!s)
        s = lmf_report_html(cli->ctx, &in, &page);
    if (!s)
        s = lmf_file_write(cli->ctx, path, lmf_buf_str(&page), page.n);
    if (log)
        lmf_free(cli->ctx, log, n_log + 1);
    if (config)
        lmf_free(cli->ctx, config, n_config + 1);
    lmf_buf_clear(&page);
    return s;
}

static lmf_status run(lmf_cli *cli, void *args)
{
    const report_args *a = args;
    char path[4096], name[1024];
    LMF_TRY(output_of(cli, a, path, sizeof path));
    LMF_TRY(check_output(cli, a, path));
    LMF_TRY(write_report(cli, a, path));
    if (cli->json)
        return lmf_cli_print_json(cli, json_pack("{s:o}", "output", lmf_json_string(path)));
    printf("%s\n", lmf_plain_text(path, name, sizeof name));
    return LMF_OK;
}

const lmf_command lmf_command_report = { "report", "show a training run as one HTML file", flags, sizeof(report_args), run,
    .example = "lmfast report my_adapter --output report.html" };
