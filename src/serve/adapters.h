/* SPDX-License-Identifier: Apache-2.0 */
/* adapters: which LoRA adapters are served, one an engine's slot, by the name that a request gives as its model. A request keeps the slot
 * that it found until it ends: an adapter that is unloaded takes no new requests, and its slot is free when the last of its own has ended.
 * A load reads files on the stepping thread, between two steps; the loop goes on, and tells when it is done.
 * Owner: the server. Threads: the loop's, but for what the load itself does. */
#ifndef LMF_SERVE_ADAPTERS_H
#define LMF_SERVE_ADAPTERS_H
#include <limits.h>
#include "infer/scheduler.h"
#include "serve/exchange.h"

enum { LMF_SERVED_SLOTS = 64, LMF_SERVED_NAME_BYTES = 256 };

typedef enum lmf_served_state { LMF_SERVED_FREE, LMF_SERVED_LOADING, LMF_SERVED_READY, LMF_SERVED_LEAVING } lmf_served_state;

typedef struct lmf_served_slot {
    lmf_served_state state;
    int32_t          n_users;                      /* requests that keep it */
    char             name[LMF_SERVED_NAME_BYTES];
} lmf_served_slot;

typedef struct lmf_adapter_load {
    lmf_server              *server;
    lmf_exchange            *x;                    /* NULL: nobody waits for the answer */
    int32_t                  slot;
    lmf_scheduler_call       call;
    lmf_status               status;               /* after the call; why: its sentence */
    char                     why[1024], dir[PATH_MAX];
    struct lmf_adapter_load *next, *next_loaded;   /* among all; in the outbox */
} lmf_adapter_load;

typedef struct lmf_served {
    lmf_served_slot   of[LMF_SERVED_SLOTS];
    int32_t           n;                           /* the engine's slots */
    char              root[PATH_MAX];              /* where clients' adapters lie, without links; "": they load none */
    lmf_adapter_load *loads;                       /* that are not answered */
} lmf_served;

/* LMF_E_ARG, LMF_E_LIMIT: of the server's options. */
lmf_status  lmf__served_open(lmf_server *s);
void        lmf__served_close(lmf_server *s);      /* after the stepping thread has ended */
int32_t     lmf__served_find(const lmf_served *a, const char *name, size_t n); /* slot that takes requests, or -1 */
const char *lmf__served_name(const lmf_server *s, int32_t slot); /* -1: the base's; NULL: it takes no requests */
int32_t     lmf__served_count(const lmf_served *a); /* that take requests */
void        lmf__served_begin(lmf_served *a, int32_t slot); /* a request keeps it; -1: nothing happens */
void        lmf__served_end(lmf_served *a, int32_t slot);
/* Begins a load, which answers x later; false: the fault is to be told. path: absolute, or from the folder that the server was given. */
bool        lmf__served_load(lmf_exchange *x, const char *name, const char *path, lmf_fault *f);
bool        lmf__served_unload(lmf_server *s, const char *name, lmf_fault *f);
void        lmf__served_take(lmf_server *s);       /* answers the loads that are done */

#endif
