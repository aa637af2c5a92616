/* SPDX-License-Identifier: Apache-2.0 */
/* lmfast: all of the interface. Each header tells of one noun and can be read alone; begin with lmfast/context.h.
 *
 *     lmfast_context *ctx;
 *     if (lmfast_context_create(&ctx))
 *         return 1;
 *     lmfast_context_destroy(ctx); */
#ifndef LMFAST_LMFAST_H
#define LMFAST_LMFAST_H
#include "lmfast/chat.h"
#include "lmfast/export.h"
#include "lmfast/tokenizer.h"
#include "lmfast/trainer.h"

#endif
