/* SPDX-License-Identifier: Apache-2.0 */
/* source: the bytes of a text that a user gives, wherever they come from: a file, "-" for standard input, a fifo or pipe (/dev/fd/63);
 * gzip is unpacked, a UTF-8 mark left out. What is no text is refused by what it is. */
#ifndef LMF_DATA_SOURCE_H
#define LMF_DATA_SOURCE_H
#include "base/buf.h"

/* Appended to out, whose max bounds what is read and what gzip becomes. wanted: what is read here, "a chat template", for the sentence
 * about another kind of file. LMF_E_ARG: a folder, device or socket; LMF_E_FORMAT: another kind of file, by name, or damaged gzip;
 * LMF_E_LIMIT: too large; LMF_E_CANCELLED: a signal came while waiting for bytes. A fifo is waited for. */
lmf_status lmf_source_read(lmf_ctx *ctx, const char *path, const char *wanted, lmf_buf *out);

#endif
