/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: nothing about a single command stands here; help is what the tables say. */
#include <stdio.h>
#include <string.h>
#include "cli/cli.h"

static const char *value_word(const lmf_flag *f)
{
    switch (f->kind) {
    case LMF_FLAG_BOOL:   return "";
    case LMF_FLAG_INT:    return " N";
    case LMF_FLAG_DOUBLE: return " X";
    case LMF_FLAG_CHOICE: return " NAME";
    case LMF_FLAG_STRING: return " TEXT";
    case LMF_FLAG_LIST:   return " TEXT ...";
    }
    return "";
}

/* "  -m, --model TEXT     GGUF file  [required; 1 to 5; default 3]" */
static void print_flag(FILE *out, const lmf_flag *f)
{
    const char *help;
    char left[96], notes[640] = "", *end = notes + sizeof notes, *at = notes;
    bool on_by_default = f->kind == LMF_FLAG_BOOL && f->fallback && strcmp(f->fallback, "true") == 0;
    snprintf(left, sizeof left, "--%s%s%s", on_by_default ? "no-" : "", f->name, value_word(f));
#define NOTE(...) do { at += snprintf(at, (size_t)(end - at), "%s", at == notes ? "" : "; "); at += snprintf(at, (size_t)(end - at), __VA_ARGS__); \
    if (at >= end) at = end - 1; } while (0)
    if (f->required)
        NOTE("required");
    if (f->positional)
        NOTE("also without the flag's name");
    if (f->choices)
        NOTE("%.400s", f->choices);
    if (f->lo != 0 || f->hi != 0) {
        if (f->hi >= 9e15)
            NOTE("at least %.12g%s%s", f->lo, f->unit ? " " : "", f->unit ? f->unit : "");
        else
            NOTE("%.12g to %.12g%s%s", f->lo, f->hi, f->unit ? " " : "", f->unit ? f->unit : "");
    }
    if (f->fallback && f->kind != LMF_FLAG_BOOL)
        NOTE("default %.64s", f->fallback);
#undef NOTE
    help = on_by_default && f->no_help ? f->no_help : f->help ? f->help : "";
    if (f->letter)
        fprintf(out, "  -%c, %-24s %s", f->letter, left, help);
    else
        fprintf(out, "      %-24s %s", left, help);
    fprintf(out, notes[0] ? " [%s]\n" : "%s\n", notes);
}

static void print_flags(FILE *out, const lmf_flag *flags)
{
    for (const lmf_flag *f = flags; f && f->name; f++)
        print_flag(out, f);
}

void lmf__cli_help(FILE *out)
{
    fprintf(out, "LMFast %s: small language models, from data to a running file\n\nusage: lmfast COMMAND [flags]\n\ncommands:\n", LMF_VERSION);
    for (const lmf_command *const *c = lmf_commands(); *c; c++)
        fprintf(out, "  %-12s %s\n", (*c)->name, (*c)->summary);
    fprintf(out, "\nflags of every command:\n");
    print_flags(out, lmf__cli_global_flags);
    fprintf(out, "\nlmfast help COMMAND shows a command's flags and an example.\n"
                 "Exit status: 0 success, 1 failure, 2 wrong usage, 130 or 143 stopped by a signal.\n");
}

void lmf__cli_help_command(FILE *out, const lmf_command *cmd)
{
    fprintf(out, "lmfast %s: %s\n\nusage: lmfast %s", cmd->name, cmd->summary, cmd->name);
    for (const lmf_flag *f = cmd->flags; f && f->name; f++)
        if (f->required)
            fprintf(out, f->positional ? " <%s>" : " --%s ...", f->name);
    fprintf(out, " [flags]\n");
    if (cmd->alias)
        fprintf(out, "also called: lmfast %s\n", cmd->alias);
    if (cmd->flags && cmd->flags->name) {
        fprintf(out, "\nflags:\n");
        print_flags(out, cmd->flags);
    }
    fprintf(out, "\nflags of every command:\n");
    print_flags(out, lmf__cli_global_flags);
    if (cmd->example)
        fprintf(out, "\nexample:\n  %s\n", cmd->example);
}

static json_t *flags_json(const lmf_flag *flags)
{
    static const char *const kinds[] = { "bool", "int", "double", "string", "choice", "list" };
    json_t *list = json_array();
    for (const lmf_flag *f = flags; f && f->name; f++) {
        json_t *o = json_pack("{s:s, s:s, s:b}", "name", f->name, "kind", kinds[f->kind], "required", f->required);
        if (f->fallback)
            json_object_set_new(o, "default", json_string(f->fallback));
        if (f->letter)
            json_object_set_new(o, "letter", json_stringn(&f->letter, 1));
        if (f->choices)
            json_object_set_new(o, "choices", json_string(f->choices));
        if (f->lo != 0 || f->hi != 0)
            json_object_set_new(o, "range", json_pack("[f, f]", f->lo, f->hi));
        if (f->unit)
            json_object_set_new(o, "unit", json_string(f->unit));
        if (f->help)
            json_object_set_new(o, "help", json_string(f->help));
        if (f->no_help)
            json_object_set_new(o, "no_help", json_string(f->no_help));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *command_json(const lmf_command *cmd)
{
    return json_pack("{s:s, s:s, s:s?, s:s?, s:o}", "name", cmd->name, "summary", cmd->summary, "alias", cmd->alias, "example",
                     cmd->example, "flags", flags_json(cmd->flags));
}

json_t *lmf__cli_help_json(lmf_arena *a, const lmf_command *cmd)
{
    if (cmd)
        return command_json(cmd);
    json_t *list = json_array();
    for (const lmf_command *const *c = lmf_commands(); *c; c++) {
        const lmf_command *whole = lmf__cli_whole(a, *c);
        json_array_append_new(list, whole ? command_json(whole) : NULL);
    }
    return json_pack("{s:s, s:o, s:o}", "version", LMF_VERSION, "global_flags", flags_json(lmf__cli_global_flags), "commands", list);
}
