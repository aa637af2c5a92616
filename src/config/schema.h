/* SPDX-License-Identifier: Apache-2.0 */
/* schema: a table of settings as a JSON schema (2020-12), for programs that make forms, editors or classes from it. */
#ifndef LMF_CONFIG_SCHEMA_H
#define LMF_CONFIG_SCHEMA_H
#include <jansson.h>
#include "config/flag.h"

/* {"type": "object", "properties": {"max_steps": {"type": "integer", "minimum": 0, ...}}}, without what only a command line may hold.
 * NULL: no memory. The caller's reference. */
json_t *lmf_config_schema(const char *title, const lmf_flag *fields);

#endif
