/* SPDX-License-Identifier: Apache-2.0 */
/* settings: what a training run is told, by name: the options of lmfast train, which docs/OPTIONS.md lists. Values are texts, as on the
 * command line, and are checked when they are set; a configuration file may use our names, Axolotl's, or those of transformers and its
 * relatives. Sentences name a setting as the command's flag: --lr.
 *
 *     lmfast_settings *settings;
 *     if (lmfast_settings_create(ctx, "train", &settings))
 *         return fprintf(stderr, "%s\n", lmfast_error(ctx)), 1;
 *     if (lmfast_settings_set(settings, "lr", "1e-3") || lmfast_settings_set(settings, "max-steps", "100"))
 *         fprintf(stderr, "%s\n", lmfast_error(ctx));
 *     lmfast_settings_destroy(settings);
 *
 * Threads: one at a time. */
#ifndef LMFAST_SETTINGS_H
#define LMFAST_SETTINGS_H
#include "lmfast/context.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct lmfast_settings lmfast_settings;

/* The defaults of a command that has settings: "train". LMFAST_E_NOT_FOUND: another word. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_settings_create(lmfast_context *ctx, const char *command, lmfast_settings **out);
LMFAST_API void lmfast_settings_destroy(lmfast_settings *settings);
/* "max-steps" and "max_steps" are one; "device" is one more: "cpu", "cuda:0". LMFAST_E_ARG: no such setting, with the nearest name, or no
 * such value, with what is allowed. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_settings_set(lmfast_settings *settings, const char *name, const char *value);
/* Settings of a YAML or JSON file, laid over what was set before. LMFAST_E_ARG with the line: a key that nothing knows or that is not
 * supported, or two keys for one setting. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_settings_load(lmfast_settings *settings, const char *path);
/* The same of a text; name stands for the file in sentences. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_settings_parse(lmfast_settings *settings, const char *name, const char *text,
                                                               size_t n_bytes);
/* All settings that make the result what it is, as YAML that load reads. Buffers as in tokenizer.h. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_settings_text(lmfast_settings *settings, char *text, size_t cap, size_t *n);
/* The JSON schema of the command's settings, from the table that the command itself uses. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_settings_schema(lmfast_settings *settings, char *json, size_t cap, size_t *n);

#ifdef __cplusplus
}
#endif
#endif
