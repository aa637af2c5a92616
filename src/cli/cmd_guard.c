/* SPDX-License-Identifier: Apache-2.0 */
/* lmfast guard check, redact, restore: personal data and secrets in a text, the text without them, or with those that were encrypted. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "cli/command.h"
#include "config/guard_policy.h"
#include "data/source.h"
#include "format/json.h"

typedef struct guard_args { const char *what, *file, *policy, *op, *salt, *key; lmf_texts entities; double threshold; } guard_args;

#define AT(member) offsetof(guard_args, member)
static const lmf_flag flags[] = {
    { "what", 0, LMF_FLAG_CHOICE, AT(what), .required = true, .positional = true, .choices = "check|redact|restore",
      .help = "check: what is found, and where; redact: the text without it, on stdout; restore: the text with what the operator encrypt "
              "took out" },
    { "file", 0, LMF_FLAG_STRING, AT(file), .required = true, .positional = true, .help = "text; - is standard input" },
    { "policy", 0, LMF_FLAG_STRING, AT(policy), .help = "YAML or JSON: threshold, salt, an operator an entity (docs/GUARD.md)" },
    { "operator", 0, LMF_FLAG_CHOICE, AT(op), .fallback = "replace", .choices = "replace|redact|mask|hash|encrypt|keep|block",
      .help = "without --policy: what becomes of what is found; block: nothing comes out" },
    { "entities", 'e', LMF_FLAG_LIST, AT(entities), .help = "without --policy: what is looked for; all if left out" },
    { "threshold", 0, LMF_FLAG_DOUBLE, AT(threshold), 0, 1, .fallback = "0.5",
    .help = "without --policy: a find less sure than that is none" },
    { "salt", 0, LMF_FLAG_STRING, AT(salt), .fallback = "", .help = "without --policy: goes before the text that is hashed" },
    { "key", 0, LMF_FLAG_STRING, AT(key), .fallback = "",
      .help = "without --policy: the key of encrypt and restore, 16 characters or more; the variable LMFAST_GUARD_KEY does the same" },
    { 0 }
};

static lmf_status policy_of(lmf_cli *cli, const guard_args *a, lmf_guard_policy *p)
{
    if (a->policy)
        return lmf_guard_policy_load(cli->ctx, a->policy, p);
    lmf_guard_policy_init(p);
    p->threshold = (float)a->threshold;
    if (strlen(a->salt) >= sizeof p->salt)
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "--salt has %zu bytes; %zu are the most", strlen(a->salt), sizeof p->salt - 1);
    memcpy(p->salt, a->salt, strlen(a->salt) + 1);
    const char *key = a->key[0] ? a->key : getenv("LMFAST_GUARD_KEY") ? getenv("LMFAST_GUARD_KEY") : "";
    if (strlen(key) >= sizeof p->key)
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "the key has %zu bytes; %zu are the most", strlen(key), sizeof p->key - 1);
    memcpy(p->key, key, strlen(key) + 1);
    LMF_TRY(lmf_guard_policy_set(cli->ctx, p, "DEFAULT", a->entities.n ? "ignore" : a->op));
    for (int64_t i = 0; i < a->entities.n; i++)
        LMF_TRY(lmf_guard_policy_set(cli->ctx, p, a->entities.item[i], a->op));
    return lmf_guard_policy_check(cli->ctx, p);
}

typedef struct report {
    lmf_cli *cli;
    const char *text;
    json_t  *list;       /* --json */
    bool     check;
    size_t   at, chars, line; /* counted so far: characters and lines before `at` */
} report;

/* Characters and lines up to byte `to`. */
static void count(report *r, size_t to)
{
    for (; r->at < to; r->at++) {
        r->chars += ((unsigned char)r->text[r->at] & 0xc0) != 0x80;
        r->line += r->text[r->at] == '\n';
    }
}

static void found(void *user, const lmf_finding *f, const char *text, size_t n)
{
    report *r = user;
    char raw[256], shown[600];
    const char *entity = lmf_guard_entity_name(r->cli->ctx, f->entity);
    count(r, f->begin);
    size_t begin = r->chars, line = r->line;
    count(r, f->end);
    if (r->list)
        json_array_append_new(r->list, json_pack("{s:s, s:I, s:I, s:I, s:I, s:I, s:f, s:o}", "entity", entity, "begin",
            (json_int_t)f->begin,
                                                 "end", (json_int_t)f->end, "begin_char", (json_int_t)begin, "end_char",
                                                     (json_int_t)r->chars,
                                                 "line", (json_int_t)line + 1, "score", round((double)f->score * 1000) / 1000, "text",
                                                 lmf_json_stringn(text, n)));
    else if (r->check) {
        snprintf(raw, sizeof raw, "%.*s", (int)(n < 255 ? n : 255), text);
        printf("%zu: %-18s %.2f  %s\n", line + 1, entity, (double)f->score, lmf_plain_text(raw, shown, sizeof shown));
    }
}

static lmf_status run_over(lmf_cli *cli, const guard_args *a, const lmf_guard_policy *p, const lmf_buf *text, lmf_buf *out)
{
    bool check = !strcmp(a->what, "check");
    report r = { .cli = cli, .text = lmf_buf_str(text), .check = check, .list = cli->json ? json_array() : NULL };
    lmf_guard_stream g;
    int64_t n = 0;
    lmf_guard_open(&g, cli->ctx, p);
    g.found = found, g.user = &r;
    lmf_status s = lmf_guard_push(&g, lmf_buf_str(text), text->n, true, out);
    bool blocked = g.blocked;
    json_t *counts = json_object();
    for (int k = 0; k < LMF_GUARD_MAX_ENTITIES; k++) {
        n += g.n_found[k];
        if (g.n_found[k])
            json_object_set_new(counts, lmf_guard_entity_name(cli->ctx, k), json_integer(g.n_found[k]));
    }
    lmf_guard_close(&g);
    if (!s && blocked && !check)
        s = LMF_FAIL(cli->ctx, LMF_E_ARG, "%s holds what the policy blocks; nothing was printed (lmfast guard check says what)", a->file);
    if (s || !cli->json) {
        json_decref(r.list);
        json_decref(counts);
        if (!s && !check)
            fwrite(lmf_buf_str(out), 1, out->n, stdout);
        else if (!s && !cli->quiet)
            fprintf(stderr, "%lld found%s\n", (long long)n, blocked ? "; the policy blocks this text from the last one on" : "");
        return s;
    }
    return lmf_cli_print_json(cli, json_pack("{s:o, s:o, s:b, s:o*}", "findings", r.list, "counts", counts, "blocked", blocked, "text",
                                             check ? NULL : lmf_json_stringn(lmf_buf_str(out), out->n)));
}

static lmf_status restore(lmf_cli *cli, const lmf_guard_policy *p, const lmf_buf *text, lmf_buf *out)
{
    LMF_TRY(lmf_guard_restore(cli->ctx, p, lmf_buf_str(text), text->n, out));
    if (cli->json)
        return lmf_cli_print_json(cli, json_pack("{s:o}", "text", lmf_json_stringn(lmf_buf_str(out), out->n)));
    fwrite(lmf_buf_str(out), 1, out->n, stdout);
    return LMF_OK;
}

static lmf_status run(lmf_cli *cli, void *args)
{
    const guard_args *a = args;
    lmf_guard_policy p;
    lmf_buf text, out;
    LMF_TRY(policy_of(cli, a, &p));
    lmf_buf_init(&text, cli->ctx, (size_t)1 << 30);
    lmf_buf_init(&out, cli->ctx, LMF_POWER2(33));
    lmf_status s = lmf_source_read(cli->ctx, a->file, "a text", &text);
    if (!s)
        s = strcmp(a->what, "restore") ? run_over(cli, a, &p, &text, &out) : restore(cli, &p, &text, &out);
    lmf_buf_clear(&text);
    lmf_buf_clear(&out);
    return s;
}

const lmf_command lmf_command_guard = {
    "guard", "find personal data and secrets in a text, or take them out", flags, sizeof(guard_args), run,
    .example = "lmfast guard redact letter.txt --operator mask" };
