/* SPDX-License-Identifier: Apache-2.0 */
/* download: what commands show of the hub's client: a progress line, notes, Ctrl-C; and flags that name a model or data set of the hub. */
#ifndef LMF_CLI_DOWNLOAD_H
#define LMF_CLI_DOWNLOAD_H
#include "cli/command.h"
#include "hub/hub.h"

lmf_status lmf__download(lmf_cli *cli, const lmf_hub_name *name, const lmf_hub_choice *choice, lmf_hub_got *got);
/* Each flag of cmd that may name something of the hub (lmf_flag.hub), is no path of anything here and looks like such a name, becomes the
 * path in the cache; texts live in a. */
lmf_status lmf__cli_bring(lmf_cli *cli, lmf_arena *a, const lmf_command *cmd, void *args);

#endif
