/* SPDX-License-Identifier: Apache-2.0 */
/* receipt: the note that a command leaves beside what it wrote: the bytes and SHA-256 of each file, by name. A file that has its hash in
 * the receipt is the command's own product and may be replaced by it; any other is somebody's work.
 *
 *     json_t *note = json_pack("{s:s}", "command", "train");
 *     LMF_TRY(lmf_receipt_save(ctx, staged, staged, "lmfast_export.json", note));
 *     s = lmf_receipt_check_dir(ctx, "out", "lmfast_export.json", &note);   // LMF_E_EXISTS names what is not ours */
#ifndef LMF_FORMAT_RECEIPT_H
#define LMF_FORMAT_RECEIPT_H
#include "format/json.h"

/* Puts "files" into note, with every file of dir but the receipt itself (those of a folder in it too, as "folder/name", one deep), and
 * writes it into the folder to. */
lmf_status lmf_receipt_save(lmf_ctx *ctx, const char *dir, const char *to, const char *name, json_t *note);
lmf_status lmf_receipt_load(lmf_ctx *ctx, const char *dir, const char *name, json_t **out); /* refuses a link */
/* LMF_E_EXISTS with a sentence unless dir/file is a regular file with a hash that the receipt has: in "files", or in "before". */
lmf_status lmf_receipt_check(lmf_ctx *ctx, const json_t *receipt, const char *dir, const char *file);
/* Every entry of dir, and all of what the receipt names. *out is the caller's reference. */
lmf_status lmf_receipt_check_dir(lmf_ctx *ctx, const char *dir, const char *name, json_t **out);
/* Removes a folder that has nothing but the receipt and what it names. */
lmf_status lmf_receipt_remove_dir(lmf_ctx *ctx, const char *dir, const char *name, const json_t *receipt);

#endif
