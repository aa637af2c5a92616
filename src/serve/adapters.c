/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a slot is loaded only while it is LOADING, when no request can find it; so no session of it is there. What lies outside of the
 * operator's folder is refused with one sentence, whether it is there or not. */
#include "serve/adapters.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "serve/server.h"

lmf_status lmf__served_open(lmf_server *s)
{
    lmf_served *a = &s->adapters;
    a->n = s->engine_info.n_slots;
    if (s->o.n_adapters > a->n || a->n > LMF_SERVED_SLOTS)
        return LMF_FAIL(s->ctx, LMF_E_ARG, "%d names are given to the engine's %d adapters", s->o.n_adapters, a->n);
    for (int32_t i = 0; i < s->o.n_adapters; i++) {
        if (strlen(s->o.adapter_names[i]) >= LMF_SERVED_NAME_BYTES)
            return LMF_FAIL(s->ctx, LMF_E_ARG, "an adapter's name has at most %d bytes: %.40s...", LMF_SERVED_NAME_BYTES - 1,
                            s->o.adapter_names[i]);
        a->of[i].state = LMF_SERVED_READY;
        snprintf(a->of[i].name, sizeof a->of[i].name, "%s", s->o.adapter_names[i]);
    }
    if (s->o.adapter_folder && (!realpath(s->o.adapter_folder, a->root) || strcmp(a->root, "/") == 0))
        return LMF_FAIL(s->ctx, LMF_E_ARG, "%s, from which adapters are to be loaded, can't be found, or is the root of all",
                        s->o.adapter_folder);
    return LMF_OK;
}

void lmf__served_close(lmf_server *s)
{
    for (lmf_adapter_load *l = s->adapters.loads, *next; l; l = next) {
        next = l->next;
        lmf_delete(s->ctx, l);
    }
    s->adapters.loads = NULL;
}

/* Among those of the states that are not below `least` and not LEAVING. */
static int32_t find(const lmf_served *a, const char *name, size_t n, lmf_served_state least)
{
    for (int32_t i = 0; i < a->n; i++) {
        const lmf_served_slot *slot = &a->of[i];
        if (slot->state >= least && slot->state != LMF_SERVED_LEAVING && strlen(slot->name) == n && memcmp(slot->name, name, n) == 0)
            return i;
    }
    return -1;
}

int32_t lmf__served_find(const lmf_served *a, const char *name, size_t n) { return find(a, name, n, LMF_SERVED_READY); }

const char *lmf__served_name(const lmf_server *s, int32_t slot)
{
    if (slot < 0)
        return s->o.model_name;
    return s->adapters.of[slot].state == LMF_SERVED_READY ? s->adapters.of[slot].name : NULL;
}

int32_t lmf__served_count(const lmf_served *a)
{
    int32_t n = 0;
    for (int32_t i = 0; i < a->n; i++)
        n += a->of[i].state == LMF_SERVED_READY;
    return n;
}

void lmf__served_begin(lmf_served *a, int32_t slot)
{
    if (slot >= 0)
        a->of[slot].n_users++;
}

void lmf__served_end(lmf_served *a, int32_t slot)
{
    if (slot >= 0 && --a->of[slot].n_users == 0 && a->of[slot].state == LMF_SERVED_LEAVING)
        a->of[slot].state = LMF_SERVED_FREE;
}

/* ---- load ---- */

/* On the stepping thread. */
static void load(void *user)
{
    lmf_adapter_load *l = user;
    lmf_server *s = l->server;
    lmf_outbox *o = &s->outbox;
    l->status = lmf_engine_load_slot(s->engine, l->slot, l->dir);
    if (l->status) {
        pthread_mutex_lock(&s->ctx->lock); /* the loop may write the next sentence */
        snprintf(l->why, sizeof l->why, "%s", lmf_error_here(s->ctx)->text);
        pthread_mutex_unlock(&s->ctx->lock);
    }
    pthread_mutex_lock(&o->lock);
    l->next_loaded = o->loaded;
    o->loaded = l;
    pthread_mutex_unlock(&o->lock);
    (void)!write(o->fd, &(uint64_t){ 1 }, sizeof(uint64_t));
}

static void on_gone(void *user) { ((lmf_adapter_load *)user)->x = NULL; }

/* Where the operator's folder lies is nobody's business. */
static void hide_root(char *text, const char *root)
{
    size_t n = strlen(root);
    for (char *at; (at = strstr(text, root)) && at[n] == '/';)
        memmove(at, at + n + 1, strlen(at + n + 1) + 1);
}

static void answer(lmf_adapter_load *l)
{
    lmf_server *s = l->server;
    lmf_served_slot *slot = &s->adapters.of[l->slot];
    lmf_exchange *x = l->x;
    char text[LMF_SERVED_NAME_BYTES + 64];
    lmf_fault f;
    slot->state = l->status ? LMF_SERVED_FREE : LMF_SERVED_READY;
    if (!x)
        return;
    x->on_gone = NULL;
    if (!l->status) {
        int n = snprintf(text, sizeof text, "Success: LoRA adapter '%s' added successfully.", slot->name);
        lmf__reply_bytes(x, 200, "text/plain; charset=utf-8", text, (size_t)n);
        return;
    }
    bool ours = l->status == LMF_E_MEMORY || l->status == LMF_E_DEVICE || l->status == LMF_E_INTERNAL;
    hide_root(l->why, s->adapters.root);
    lmf__refuse(&f, ours ? 500 : 400, "lora_path", NULL, "%s", l->why);
    lmf__reply_fault(x, &f);
}

void lmf__served_take(lmf_server *s)
{
    pthread_mutex_lock(&s->outbox.lock);
    lmf_adapter_load *l = s->outbox.loaded;
    s->outbox.loaded = NULL;
    pthread_mutex_unlock(&s->outbox.lock);
    for (lmf_adapter_load *next; l; l = next) {
        next = l->next_loaded;
        lmf_adapter_load **at = &s->adapters.loads;
        while (*at != l)
            at = &(*at)->next;
        *at = l->next;
        answer(l);
        lmf_delete(s->ctx, l);
    }
}

/* The folder at path, without links, if it lies in the operator's. */
static bool resolve(const lmf_served *a, const char *path, char dir[PATH_MAX], lmf_fault *f)
{
    char text[PATH_MAX];
    struct stat st;
    size_t n = strlen(a->root);
    int k = snprintf(text, sizeof text, "%s%s%s", *path == '/' ? "" : a->root, *path == '/' ? "" : "/", path);
    bool inside = k >= 0 && k < PATH_MAX && realpath(text, dir) && strncmp(dir, a->root, n) == 0 && dir[n] == '/';
    if (inside && stat(dir, &st) == 0 && S_ISDIR(st.st_mode))
        return true;
    return lmf__refuse(f, 400, "lora_path", NULL, "lora_path \"%.200s\" is no folder inside the one from which this server loads adapters",
                       path);
}

static bool check_name(const lmf_server *s, const char *name, lmf_fault *f)
{
    size_t n = strlen(name);
    bool good = n > 0 && n < LMF_SERVED_NAME_BYTES;
    for (size_t i = 0; i < n; i++)
        good &= (unsigned char)name[i] > ' ' && name[i] != 0x7f;
    if (!good)
        return lmf__refuse(f, 400, "lora_name", NULL, "lora_name must have 1 to %d bytes, none of them a blank or a control character",
                           LMF_SERVED_NAME_BYTES - 1);
    if (strcmp(name, s->o.model_name) == 0)
        return lmf__refuse(f, 400, "lora_name", NULL, "lora_name is the name of the model itself");
    if (find(&s->adapters, name, n, LMF_SERVED_LOADING) >= 0)
        return lmf__refuse(f, 400, "lora_name", NULL, "the adapter \"%.255s\" is loaded already; unload it first, or take another name",
                           name);
    return true;
}

static bool take_slot(lmf_served *a, int32_t *slot, lmf_fault *f)
{
    int32_t n_leaving = 0;
    for (*slot = 0; *slot < a->n && a->of[*slot].state != LMF_SERVED_FREE; ++*slot)
        n_leaving += a->of[*slot].state == LMF_SERVED_LEAVING;
    if (*slot < a->n)
        return true;
    if (n_leaving)
        return lmf__refuse(f, 503, NULL, NULL,
                           "the place of an adapter that was unloaded is free when the answers that it still writes have ended");
    return lmf__refuse(f, 400, NULL, NULL, "there is room for %d adapters (--max-adapters), and all are loaded; unload one", a->n);
}

bool lmf__served_load(lmf_exchange *x, const char *name, const char *path, lmf_fault *f)
{
    lmf_server *s = x->server;
    lmf_served *a = &s->adapters;
    int32_t slot;
    lmf_adapter_load *l = lmf_new(s->ctx, lmf_adapter_load);
    if (!l)
        return lmf__refuse(f, 503, NULL, NULL, "there is no memory for the request");
    if (!check_name(s, name, f) || !resolve(a, path, l->dir, f) || !take_slot(a, &slot, f)) {
        lmf_delete(s->ctx, l);
        return false;
    }
    a->of[slot].state = LMF_SERVED_LOADING;
    snprintf(a->of[slot].name, sizeof a->of[slot].name, "%s", name);
    l->server = s, l->x = x, l->slot = slot, l->call.fn = load, l->call.user = l;
    l->next = a->loads;
    a->loads = l;
    x->on_gone = on_gone;
    x->user = l;
    lmf_scheduler_run(s->scheduler, &l->call);
    return true;
}

bool lmf__served_unload(lmf_server *s, const char *name, lmf_fault *f)
{
    int32_t slot = lmf__served_find(&s->adapters, name, strlen(name));
    if (slot < 0)
        return lmf__refuse(f, 404, "lora_name", "model_not_found", "no adapter \"%.200s\" is loaded; GET /v1/models lists those that are",
                           name);
    s->adapters.of[slot].state = s->adapters.of[slot].n_users ? LMF_SERVED_LEAVING : LMF_SERVED_FREE;
    return true;
}
