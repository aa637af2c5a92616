/* SPDX-License-Identifier: Apache-2.0 */
#ifndef LMF_API_SETTINGS_H
#define LMF_API_SETTINGS_H
#include "api/api.h"
#include "config/train_config.h"

struct lmfast_settings {
    lmfast_context  *c;
    atomic_int       n_refs;
    lmf_arena        arena;   /* texts of all values that were ever set */
    const lmf_flag  *fields;  /* train's, and the options of all objectives */
    uint8_t         *seen;    /* [fields] it was set */
    lmf_train_config config;
    const char      *device;  /* NULL: cpu. No setting of the command's own, but one of its global flags */
};

/* Whether the setting was set. */
bool lmf__settings_has(const lmfast_settings *s, const char *name);

#endif
