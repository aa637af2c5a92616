/* SPDX-License-Identifier: Apache-2.0 */
#include <ctype.h>
#include <string.h>
#include <strings.h>
#include "hub/parts.h"

static const char *const model_ends[] = { ".gguf", NULL };
static const char *const data_ends[] = { ".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".txt", ".md", ".jsonl.gz", ".json.gz", ".csv.gz",
    ".tsv.gz", ".txt.gz", NULL };
/* What no repository's name ends with, and files do. */
static const char *const file_ends[] = { ".gguf", ".safetensors", ".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".txt", ".md", ".gz",
    ".bin", ".pt", ".pth",
    ".ckpt", ".yaml", ".yml", ".parquet", ".jinja", ".zip", ".html", NULL };

static bool ends_in(const char *text, size_t n, const char *const *ends)
{
    for (; *ends; ends++) {
        size_t k = strlen(*ends);
        if (n > k && !strncasecmp(text + n - k, *ends, k))
            return true;
    }
    return false;
}

/* The hub's rule for the two parts of a name: 1 to 96 of letters, digits, '-', '_' and '.'; no '-' or '.' at an end, no "--" and no
 * ".." in it. */
static bool is_part(const char *p, size_t n)
{
    if (n < 1 || n > 96 || strchr("-.", p[0]) || strchr("-.", p[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!(isalnum((unsigned char)p[i]) || strchr("-_.", p[i])) || !p[i] || (i && p[i] == p[i - 1] && strchr("-.", p[i])))
            return false;
    return !(n > 4 && !strncasecmp(p + n - 4, ".git", 4));
}

static bool is_revision(const char *p, size_t n)
{
    if (n < 1 || n > 200 || p[0] == '-' || p[0] == '.' || p[0] == '/' || p[n - 1] == '/' || p[n - 1] == '.')
        return false;
    for (size_t i = 0; i < n; i++)
        if (!(isalnum((unsigned char)p[i]) || strchr("-_./+", p[i])) || !p[i] || (i && strchr("./", p[i]) && strchr("./", p[i - 1])))
            return false;
    return true;
}

/* Splits; NULL, or what is wrong. */
static const char *split(const char *text, lmf_flag_hub kind, lmf_hub_name *out)
{
    *out = (lmf_hub_name){ .kind = kind, .revision = "main" };
    const char *slash = strchr(text, '/');
    if (!slash || !is_part(text, (size_t)(slash - text)))
        return "a name on the hub is org/name, of letters, digits, '-', '_' and '.'";
    size_t n = strcspn(slash + 1, "/@");
    const char *rest = slash + 1 + n;
    if (!is_part(slash + 1, n))
        return "a name on the hub is org/name, of letters, digits, '-', '_' and '.'";
    memcpy(out->repo, text, (size_t)(rest - text)); /* at most 193 */
    if (*rest == '@') { /* refs/pr/3 and refs/convert/parquet have slashes of their own */
        const char *from = ++rest;
        int own = !strncmp(from, "refs/", 5) ? 2 : 0;
        for (rest = from; *rest && (*rest != '/' || own--); rest++)
            ;
        if (!is_revision(from, (size_t)(rest - from)))
            return "behind @ stands a branch, a tag or a commit";
        memcpy(out->revision, from, (size_t)(rest - from));
        out->revision[rest - from] = 0;
    }
    if (*rest == '/') {
        if (!lmf__is_file_name(rest + 1) || strlen(rest + 1) >= sizeof out->file)
            return "behind org/name/ stands the name of one of its files";
        memcpy(out->file, rest + 1, strlen(rest + 1) + 1);
    }
    return NULL;
}

bool lmf_hub_is_name(const char *text, lmf_flag_hub kind)
{
    lmf_hub_name name;
    if (split(text, kind, &name) || ends_in(name.repo, strlen(name.repo), file_ends))
        return false;
    return !name.file[0] || ends_in(name.file, strlen(name.file), kind == LMF_HUB_DATA ? data_ends : model_ends);
}

lmf_status lmf_hub_name_parse(lmf_ctx *ctx, const char *text, lmf_flag_hub kind, lmf_hub_name *out)
{
    const char *wrong = split(text, kind, out);
    return wrong ? LMF_FAIL(ctx, LMF_E_ARG, "\"%.200s\": %s, such as HuggingFaceTB/SmolLM2-135M@main", text, wrong) : LMF_OK;
}
