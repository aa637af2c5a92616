/* SPDX-License-Identifier: Apache-2.0 */
/* lmfast download: a model or data set of the Hugging Face hub into its cache. */
#include <stdio.h>
#include <string.h>
#include "cli/command.h"
#include "cli/download.h"
#include "format/json.h"

typedef struct download_args { const char *name, *repo_type; lmf_texts include, exclude; } download_args;

#define AT(member) offsetof(download_args, member)
static const lmf_flag flags[] = {
    { "name", 0, LMF_FLAG_STRING, AT(name), .required = true, .positional = true,
      .help = "org/name, org/name@revision (branch, tag or commit), org/name/FILE" },
    { "repo-type", 0, LMF_FLAG_CHOICE, AT(repo_type), .fallback = "model", .choices = "model|dataset", .help = "what the name is of" },
    { "include", 0, LMF_FLAG_LIST, AT(include),
      .help = "files to take, as a pattern: '*.gguf'; may be given several times. Left out: configuration, tokenizer and safetensors, "
          "or the one GGUF file; "
              "of a data set what holds rows" },
    { "exclude", 0, LMF_FLAG_LIST, AT(exclude), .help = "files to leave out, as a pattern; may be given several times" },
    { 0 }
};

static lmf_status run(lmf_cli *cli, void *args)
{
    const download_args *a = args;
    lmf_hub_name name;
    lmf_hub_got got;
    lmf_hub_choice choice = { .include = &a->include, .exclude = &a->exclude };
    LMF_TRY(lmf_hub_name_parse(cli->ctx, a->name, !strcmp(a->repo_type, "dataset") ? LMF_HUB_DATA : LMF_HUB_MODEL, &name));
    if (name.file[0] && (a->include.n || a->exclude.n))
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "%s names a file; --include and --exclude go with org/name", a->name);
    LMF_TRY(lmf__download(cli, &name, &choice, &got));
    if (cli->json)
        return lmf_cli_print_json(cli, json_pack("{s:o, s:s, s:s, s:s, s:I, s:I, s:I, s:I, s:b}", "path", lmf_json_string(got.path),
            "repo", name.repo, "revision", name.revision,
                                                 "commit", got.commit, "files", (json_int_t)got.n_files, "downloaded",
                                                     (json_int_t)got.n_new, "bytes", (json_int_t)got.bytes,
                                                 "downloaded_bytes", (json_int_t)got.new_bytes, "offline", got.offline));
    puts(got.path); /* as it is: for a shell */
    return LMF_OK;
}

const lmf_command lmf_command_download = { "download", "bring a model or data set from the Hugging Face hub", flags,
    sizeof(download_args), run,
    .example = "lmfast download HuggingFaceTB/SmolLM2-135M-Instruct" };
