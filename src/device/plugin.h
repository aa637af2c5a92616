/* SPDX-License-Identifier: Apache-2.0 */
/* plugin: a shared object opened at run time that brings kernel rows and perhaps a device: liblmfast-<name>.so beside
 * the program, in ../lib, or in the folder that LMFAST_PLUGIN_PATH names. It is refused, with a sentence, unless it was made by the
 * same build: struct sizes and the hash of the op table must agree. The program runs with or without it. */
#ifndef LMF_DEVICE_PLUGIN_H
#define LMF_DEVICE_PLUGIN_H
#include "device/device.h"

typedef struct lmf_plugin {
    uint32_t struct_bytes;               /* sizeof(lmf_plugin) */
    uint32_t view_bytes, call_bytes, kernel_bytes, device_bytes, ctx_bytes;
    const char *tables_hash;             /* of the op, format and attribute declarations: LMF_TABLES_HASH */
    const char *name;                    /* "cuda", "onednn" */
    const char *version;                 /* of the library behind it, for doctor: "oneDNN 2.6.3" */
    const struct lmf_device_ops *device; /* NULL: rows only */
    const struct lmf_cpu_rows *rows;     /* for the CPU; ended by op NULL; may be NULL */
    lmf_status (*init)(lmf_ctx *ctx);    /* optional: looks for the library; refuses with a sentence */
} lmf_plugin;

/* The one symbol of the object: const lmf_plugin *lmf_plugin_get(void). */
typedef const lmf_plugin *(*lmf_plugin_get_fn)(void);

/* Opened once and kept in ctx->plugins until lmf_plugin_close_all. LMF_E_NOT_FOUND: no such file. */
lmf_status lmf_plugin_open(lmf_ctx *ctx, const char *name, const lmf_plugin **out);
void       lmf_plugin_close_all(lmf_ctx *ctx);
/* i-th opened plug-in, or NULL. */
const lmf_plugin *lmf_plugin_at(const lmf_ctx *ctx, int i);

#endif
