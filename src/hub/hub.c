/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a revision becomes a commit once, at the beginning; every file is asked for by that commit, so a snapshot is of one state. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include "base/file.h"
#include "format/json.h"
#include "hub/parts.h"

enum { MAX_LIST_BYTES = 16 << 20, MAX_LIST_VALUES = 1 << 21, MAX_PAGES = 200, MAX_FILES = 100000 };

static const char *api_set(const lmf_hub_name *name) { return name->kind == LMF_HUB_DATA ? "datasets" : "models"; }

/* The commit that a revision is at. */
static lmf_status ask_commit(lmf_hub *h, const lmf_hub_name *name, char commit[41])
{
    char url[2048], revision[800];
    const char *sha;
    lmf_buf text;
    json_t *root = NULL;
    lmf__reply *r = lmf_new(h->ctx, lmf__reply);
    if (!r)
        return LMF_NO_MEMORY(h->ctx, sizeof *r, "a reply");
    lmf__url_escape(name->revision, false, revision, sizeof revision);
    snprintf(url, sizeof url, "%s/api/%s/%s/revision/%s", h->endpoint, api_set(name), name->repo, revision);
    lmf_buf_init(&text, h->ctx, MAX_LIST_BYTES);
    lmf_status s = lmf__http_text(h, name, url, &text, r);
    if (!s)
        s = lmf_json_parse(h->ctx, lmf_buf_str(&text), text.n, url, MAX_LIST_VALUES, &root);
    if (!s && (lmf_json_get_string(h->ctx, root, "sha", &sha) || !lmf__is_commit(sha)))
        s = LMF_FAIL(h->ctx, LMF_E_FORMAT, "%s does not answer like a hub: its reply names no commit; see HF_ENDPOINT, proxies and "
            "certificates", h->endpoint);
    if (!s)
        memcpy(commit, sha, 41);
    json_decref(root);
    lmf_buf_clear(&text);
    lmf_delete(h->ctx, r);
    return s;
}

/* One page of a listing: {"type": "file", "path": ..., "size": ...} each. */
static lmf_status add_page(lmf_hub *h, const lmf_hub_name *name, const char *url, lmf_buf *text, lmf_arena *a, lmf__listing *out)
{
    json_t *root = NULL, *item;
    size_t i;
    const char *path;
    int64_t bytes;
    lmf_buf whole;
    lmf_buf_init(&whole, h->ctx, MAX_LIST_BYTES + 16); /* the reader takes objects */
    lmf_buf_puts(&whole, "{\"list\":");
    lmf_buf_append(&whole, lmf_buf_str(text), text->n);
    lmf_status s = lmf_buf_puts(&whole, "}");
    if (!s)
        s = lmf_json_parse(h->ctx, lmf_buf_str(&whole), whole.n, url, MAX_LIST_VALUES, &root);
    json_t *list = json_object_get(root, "list");
    if (!s && !json_is_array(list))
        s = LMF_FAIL(h->ctx, LMF_E_FORMAT, "%s does not answer like a hub: its list of files is none", h->endpoint);
    json_array_foreach(list, i, item) {
        if (s || lmf_json_get_string(h->ctx, item, "path", &path) || strcmp(json_string_value(json_object_get(item, "type")) ?
            json_string_value(json_object_get(item, "type")) : "", "file"))
            continue;
        if (!lmf__is_file_name(path) || lmf_json_get_i64(h->ctx, item, "size", &bytes) || bytes < 0)
            s = LMF_FAIL(h->ctx, LMF_E_FORMAT, "%s lists a file whose name or size can't be: \"%.100s\"; nothing is downloaded",
                name->repo, path);
        else if (out->n == MAX_FILES)
            s = LMF_FAIL(h->ctx, LMF_E_LIMIT, "%s has more than %d files", name->repo, MAX_FILES);
        else if (!(path = lmf_arena_strdup(a, path)))
            s = LMF_NO_MEMORY(h->ctx, 64, "names of files");
        else
            out->item[out->n++] = (lmf__entry){ .name = path, .bytes = bytes };
    }
    json_decref(root);
    lmf_buf_clear(&whole);
    return s;
}

static lmf_status ask_list(lmf_hub *h, const lmf_hub_name *name, const char *commit, lmf_arena *a, lmf__listing *out)
{
    char url[4096];
    lmf__reply *r = lmf_arena_alloc(a, sizeof *r);
    out->n = 0;
    out->item = lmf_arena_array(a, MAX_FILES, sizeof *out->item);
    if (!r || !out->item)
        return LMF_NO_MEMORY(h->ctx, MAX_FILES * sizeof *out->item, "a list of files");
    snprintf(url, sizeof url, "%s/api/%s/%s/tree/%s?recursive=true", h->endpoint, api_set(name), name->repo, commit);
    for (int page = 0; url[0]; page++) {
        lmf_buf text;
        if (page == MAX_PAGES)
            return LMF_FAIL(h->ctx, LMF_E_LIMIT, "the list of %s's files has more than %d pages", name->repo, MAX_PAGES);
        lmf_buf_init(&text, h->ctx, MAX_LIST_BYTES);
        lmf_status s = lmf__http_text(h, name, url, &text, r);
        if (!s)
            s = add_page(h, name, url, &text, a, out);
        lmf_buf_clear(&text);
        LMF_TRY(s);
        memcpy(url, r->next, sizeof r->next);
    }
    return LMF_OK;
}

/* Where the hub is not asked, or can't be: the snapshot that its branch was at. */
static lmf_status from_cache(lmf_hub *h, const lmf_hub_name *name, lmf_arena *a, lmf_hub_got *got, lmf__listing *all)
{
    char folder[4096], snapshot[4200];
    LMF_TRY(lmf__cache_folder(h, name, folder, sizeof folder));
    if (lmf__cache_ref(h, name, got->commit))
        return LMF_FAIL(h->ctx, LMF_E_NOT_FOUND, "%s@%s is not in the cache %s", name->repo, name->revision, h->cache);
    snprintf(snapshot, sizeof snapshot, "%s/snapshots/%s", folder, got->commit);
    LMF_TRY(lmf__cache_list(h, snapshot, a, all));
    got->offline = true;
    return all->n ? LMF_OK : LMF_FAIL(h->ctx, LMF_E_NOT_FOUND, "%s@%s is not in the cache %s", name->repo, name->revision, h->cache);
}

static lmf_status find(lmf_hub *h, const lmf_hub_name *name, lmf_arena *a, lmf_hub_got *got, lmf__listing *all)
{
    char why[1024];
    if (h->offline) {
        lmf_status s = from_cache(h, name, a, got, all);
        return s == LMF_E_NOT_FOUND ? LMF_FAIL(h->ctx, s, "%s@%s is not in the cache %s, and HF_HUB_OFFLINE forbids to download it",
            name->repo, name->revision, h->cache) : s;
    }
    lmf_status s = LMF_OK;
    if (lmf__is_commit(name->revision))
        memcpy(got->commit, name->revision, 41);
    else
        s = ask_commit(h, name, got->commit);
    if (!s)
        s = ask_list(h, name, got->commit, a, all);
    if (!s || s == LMF_E_CANCELLED || s == LMF_E_MEMORY)
        return s;
    snprintf(why, sizeof why, "%s", lmf_error(h->ctx));
    if (s != LMF_E_IO || from_cache(h, name, a, got, all)) /* a hub that says no is believed */
        return LMF_FAIL(h->ctx, s, "%s", why);
    lmf__hub_note(h, "%s; taking commit %.12s from the cache", why, got->commit);
    return LMF_OK;
}

static lmf_status bring(lmf_hub *h, const lmf_hub_name *name, lmf__listing *all, lmf_hub_got *out)
{
    bool is_new;
    h->done = h->total = 0;
    for (int64_t i = 0; i < all->n; i++)
        h->total += all->item[i].wanted ? all->item[i].bytes : 0;
    for (int64_t i = 0; i < all->n; i++) {
        if (!all->item[i].wanted)
            continue;
        if (lmf__hub_stopped(h))
            return LMF_E_CANCELLED;
        LMF_TRY(lmf__cache_fetch(h, name, out->commit, &all->item[i], &is_new));
        out->n_files++, out->n_new += is_new;
        out->bytes += all->item[i].bytes, out->new_bytes += is_new ? all->item[i].bytes : 0;
    }
    return LMF_OK;
}

lmf_status lmf_hub_get(lmf_hub *h, const lmf_hub_name *name, const lmf_hub_choice *choice, lmf_hub_got *out)
{
    lmf_arena a;
    lmf__listing all = { 0 };
    const char *only = NULL;
    char folder[4096];
    memset(out, 0, sizeof *out);
    h->file = name->repo;
    lmf_arena_init(&a, h->ctx, (size_t)1 << 28);
    lmf_status s = find(h, name, &a, out, &all);
    if (!s)
        s = lmf__choose(h, name, choice, &all, &only);
    if (s && out->offline)
        s = lmf_fail_prefix(h->ctx, s, "in the cache");
    if (!s && !out->offline)
        s = lmf__cache_set_ref(h, name, out->commit);
    if (!s && !out->offline)
        s = bring(h, name, &all, out);
    for (int64_t i = 0; !s && out->offline && i < all.n; i++)
        if (all.item[i].wanted)
            out->n_files++, out->bytes += all.item[i].bytes;
    if (!s)
        s = lmf__cache_folder(h, name, folder, sizeof folder);
    if (!s && (size_t)snprintf(out->path, sizeof out->path, "%s/snapshots/%s%s%s", folder, out->commit, only ? "/" : "", only ? only :
        "") >= sizeof out->path)
        s = LMF_FAIL(h->ctx, LMF_E_LIMIT, "a path below %.100s is too long", h->cache);
    lmf_arena_clear(&a);
    h->file = NULL;
    return s;
}
