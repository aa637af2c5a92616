/* SPDX-License-Identifier: Apache-2.0 */
/* conversation: flags that commands share which render conversations or read rows: the template, the clock it sees, control tokens, rows
 * that can't be used. */
#ifndef LMF_CLI_CONVERSATION_H
#define LMF_CLI_CONVERSATION_H
#include "cli/command.h"
#include "data/samples.h"
#include "models/model.h"

#define LMF_CHAT_TEMPLATE_FLAG(at) \
    { "chat-template", 0, LMF_FLAG_STRING, at, \
      .help = "file with the chat template to use instead of the model's own; - is standard input" }
#define LMF_IN_4BIT_FLAG(at) \
    { "load-in-4bit", 0, LMF_FLAG_BOOL, at, \
      .help = "make NF4 of the layers' matrices first, as train --load-in-4bit true does: what its adapters were trained on" }
#define LMF_CONTROL_FLAG(at) \
    { "control-tokens", 0, LMF_FLAG_CHOICE, at, .fallback = "auto", .choices = "auto|everywhere|nowhere", \
      .help = "where spelled control tokens are such; auto: in plain text and in answers, not in what users and tools say" }
#define LMF_BAD_ROWS_FLAG(at) \
    { "bad-rows", 0, LMF_FLAG_CHOICE, at, .fallback = "error", .choices = "error|skip", \
      .help = "rows that can't be used; skip: leave them out and say how many" }

/* in_4bit: with NF4 in place of floats, as a run has them. */
lmf_status  lmf__conversation_open_model(lmf_cli *cli, const char *path, bool in_4bit, lmf_model **out);
/* Replaces the model's template by the file's; path NULL: nothing. */
lmf_status  lmf__conversation_use_template(lmf_cli *cli, lmf_model *m, const char *path);
bool        lmf__conversation_skips(const char *bad_rows);
/* s, its sentence with what --bad-rows does where a row is at fault. */
lmf_status  lmf__conversation_hint(lmf_cli *cli, lmf_status s, const char *bad_rows);
/* On stderr: rows left out, turns not learned, answers without an end. */
void        lmf__conversation_report(const char *path, const lmf_samples *s);

#endif
