/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a pickle is never wanted, whatever a pattern says: reading one can run code. */
#include <fnmatch.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include "hub/parts.h"

static bool ends_with(const char *name, const char *end)
{
    size_t n = strlen(name), k = strlen(end);
    return n >= k && !strcasecmp(name + n - k, end);
}

static bool is_pickle(const char *name)
{
    static const char *const ends[] = { ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle" };
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (ends_with(name, ends[i]))
            return true;
    return false;
}

/* "folder/" means all below it. */
static bool matches(const lmf_texts *patterns, const char *name)
{
    for (int64_t i = 0; patterns && i < patterns->n; i++) {
        size_t n = strlen(patterns->item[i]);
        if (!fnmatch(patterns->item[i], name, 0) || (n && patterns->item[i][n - 1] == '/' && !strncmp(name, patterns->item[i], n)))
            return true;
    }
    return false;
}

/* What goes with the weights; nothing of it is large. */
static bool is_model_text(const char *name)
{
    static const char *const names[] = { "config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "chat_template.jinja", "chat_template.json",
            "adapter_config.json",
        "model.safetensors.index.json" };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (!strcmp(name, names[i]))
            return true;
    return false;
}

static bool is_weights(const char *name)
{
    return !strcmp(name, "model.safetensors") || !strcmp(name, "adapter_model.safetensors") || (!fnmatch("model-*-of-*.safetensors",
        name, 0));
}

/* Rows of a form that is read here; no descriptions of the data set. */
static bool is_rows(const char *name)
{
    static const char *const ends[] = { ".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".txt", ".jsonl.gz", ".json.gz", ".ndjson.gz",
        ".csv.gz", ".tsv.gz",
        ".txt.gz" };
    static const char *const not[] = { "dataset_infos.json", "dataset_dict.json", "state.json", "dataset_info.json", "LICENSE.txt",
        "requirements.txt" };
    const char *slash = strrchr(name, '/'), *last = slash ? slash + 1 : name;
    for (size_t i = 0; i < sizeof not / sizeof *not; i++)
        if (!strcasecmp(last, not[i]))
            return false;
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
        if (last[0] != '.' && ends_with(last, ends[i]))
            return true;
    return false;
}

/* "a, b, c and 4 more" */
static const char *list(const lmf__listing *all, bool (*is)(const char *), char *text, size_t n)
{
    int64_t shown = 0, more = 0;
    size_t at = 0;
    text[0] = 0;
    for (int64_t i = 0; i < all->n; i++) {
        if (!is(all->item[i].name))
            continue;
        if (shown == 6 || at + strlen(all->item[i].name) + 24 > n)
            more++;
        else
            at += (size_t)snprintf(text + at, n - at, "%s%s", shown++ ? ", " : "", all->item[i].name);
    }
    if (more)
        snprintf(text + at, n - at, " and %lld more", (long long)more);
    return text;
}

static int64_t count(const lmf__listing *all, bool (*is)(const char *))
{
    int64_t n = 0;
    for (int64_t i = 0; i < all->n; i++)
        n += is(all->item[i].name);
    return n;
}

static bool is_gguf(const char *name) { return ends_with(name, ".gguf"); }
static bool is_train(const char *name) { return is_rows(name) && strstr(name, "train"); }
static bool is_any(const char *name) { return name[0] != 0; }

static lmf_status no_pickle(lmf_hub *h, const lmf_hub_name *name, const char *what)
{
    return LMF_FAIL(h->ctx, LMF_E_UNSUPPORTED, "the weights of %s at %s are Python pickles (%s), which can run code: none is "
        "downloaded; look for a "
                    "revision or a repository with safetensors or GGUF", name->repo, name->revision, what);
}

static lmf_status need_one(lmf_hub *h, const lmf_hub_name *name, const lmf__listing *all, bool (*is)(const char *), const char *what,
    const char **only)
{
    char text[400];
    const char *found = NULL;
    int64_t n = 0;
    for (int64_t i = 0; i < all->n; i++)
        if (is(all->item[i].name))
            found = all->item[i].name, n++;
    if (n > 1)
        return LMF_FAIL(h->ctx, LMF_E_ARG, "%s has %lld %s: %s; say which, as %s/%s", name->repo, (long long)n, what, list(all, is, text,
            sizeof text), name->repo, found);
    *only = found;
    return LMF_OK;
}

static lmf_status choose_model(lmf_hub *h, const lmf_hub_name *name, lmf__listing *all, const char **only)
{
    char text[400];
    int64_t n = count(all, is_weights);
    for (int64_t i = 0; n && i < all->n; i++)
        all->item[i].wanted = is_weights(all->item[i].name) || is_model_text(all->item[i].name);
    if (n && count(all, is_pickle))
        lmf__hub_note(h, "left out: Python pickles, which can run code (%s)", list(all, is_pickle, text, sizeof text));
    if (n)
        return LMF_OK;
    LMF_TRY(need_one(h, name, all, is_gguf, "GGUF files", only));
    if (*only)
        return LMF_OK;
    if (count(all, is_pickle))
        return no_pickle(h, name, list(all, is_pickle, text, sizeof text));
    return LMF_FAIL(h->ctx, LMF_E_NOT_FOUND, "%s at %s has no model.safetensors, no adapter_model.safetensors and no GGUF file; it "
        "has %s", name->repo, name->revision,
                    list(all, is_any, text, sizeof text));
}

static lmf_status choose_rows(lmf_hub *h, const lmf_hub_name *name, const lmf_hub_choice *choice, lmf__listing *all, const char **only)
{
    char text[400];
    int64_t n = count(all, is_rows);
    if (!n)
        return LMF_FAIL(h->ctx, LMF_E_UNSUPPORTED, "%s at %s has no rows in JSON, JSON Lines, CSV or text, but %s; save it as JSON "
            "Lines with Python's datasets", name->repo,
                        name->revision, list(all, is_any, text, sizeof text));
    if (choice && choice->one) {
        if (n > 1 && count(all, is_train) == 1)
            return need_one(h, name, all, is_train, "files of rows", only);
        return need_one(h, name, all, is_rows, "files of rows", only);
    }
    for (int64_t i = 0; i < all->n; i++)
        all->item[i].wanted = is_rows(all->item[i].name);
    if (n < all->n)
        lmf__hub_note(h, "%lld of %lld files are rows in JSON, JSON Lines, CSV or text; --include takes others", (long long)n,
            (long long)all->n);
    return LMF_OK;
}

static lmf_status choose_patterns(lmf_hub *h, const lmf_hub_name *name, const lmf_hub_choice *choice, lmf__listing *all)
{
    char text[400];
    int64_t n = 0, n_pickles = 0;
    for (int64_t i = 0; i < all->n; i++) {
        bool in = matches(choice->include, all->item[i].name) && !matches(choice->exclude, all->item[i].name), bad = in &&
            is_pickle(all->item[i].name);
        all->item[i].wanted = in && !bad;
        n += in && !bad, n_pickles += bad;
    }
    if (!n && n_pickles)
        return no_pickle(h, name, list(all, is_pickle, text, sizeof text));
    if (!n)
        return LMF_FAIL(h->ctx, LMF_E_NOT_FOUND, "--include and --exclude leave nothing of %s; it has %s", name->repo, list(all, is_any,
            text, sizeof text));
    if (n_pickles)
        lmf__hub_note(h, "left out: Python pickles, which can run code (%s)", list(all, is_pickle, text, sizeof text));
    return LMF_OK;
}

lmf_status lmf__choose(lmf_hub *h, const lmf_hub_name *name, const lmf_hub_choice *choice, lmf__listing *all, const char **only)
{
    *only = NULL;
    if (name->file[0]) {
        for (int64_t i = 0; i < all->n; i++)
            if (!strcmp(all->item[i].name, name->file))
                *only = all->item[i].name;
        if (!*only)
            return LMF_FAIL(h->ctx, LMF_E_NOT_FOUND, "%s at %s has no file %s", name->repo, name->revision, name->file);
        if (is_pickle(*only))
            return no_pickle(h, name, *only);
    } else if (choice && choice->include && choice->include->n)
        return choose_patterns(h, name, choice, all);
    else if (name->kind == LMF_HUB_DATA)
        LMF_TRY(choose_rows(h, name, choice, all, only));
    else
        LMF_TRY(choose_model(h, name, all, only));
    int64_t n = 0;
    for (int64_t i = 0; i < all->n; i++) {
        if (*only)
            all->item[i].wanted = !strcmp(all->item[i].name, *only);
        if (choice && matches(choice->exclude, all->item[i].name))
            all->item[i].wanted = false;
        n += all->item[i].wanted;
    }
    return n ? LMF_OK : LMF_FAIL(h->ctx, LMF_E_NOT_FOUND, "--exclude leaves nothing of %s", name->repo);
}
