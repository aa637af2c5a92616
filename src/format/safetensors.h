/* SPDX-License-Identifier: Apache-2.0 */
/* safetensors: reads and writes the tensor files of Hugging Face: a length, a JSON header, then data without holes.
 * A model of several files (shards named by model.safetensors.index.json) opens as one set. Data is handed out
 * where it lies in the mapped files.
 *
 * An opened set keeps these promises: names are unique over all files, clean UTF-8, NUL-terminated; each tensor's
 * bytes are what its shape and type need; data ranges tile each file without overlap or hole.
 * Dimensions may be 0, and there may be none (a scalar). Data need not be aligned to its type.
 * Owner: the opener; views die with it. Threads: read only after opening.
 *
 *     lmf_safetensors *st;
 *     LMF_TRY(lmf_safetensors_open_model(ctx, dir, &st));
 *     const lmf_st_tensor *t = lmf_safetensors_find(st, "model.embed_tokens.weight"); */
#ifndef LMF_FORMAT_SAFETENSORS_H
#define LMF_FORMAT_SAFETENSORS_H
#include "base/arena.h"
#include "format/reader.h"
#include "format/types.h"

typedef struct lmf_st_tensor {
    const char    *name;
    const char    *type;                   /* as the file calls it: "BF16" */
    int64_t        dim[LMF_FILE_MAX_DIMS]; /* outermost first; unused are 1 */
    int            n_dims;                 /* 0 to 8 */
    uint16_t       dtype;                  /* our number, or LMF_DTYPE_RAW: bytes only (BOOL, U8, F8_E4M3 ...) */
    const uint8_t *data;
    size_t         bytes;
    int            i_file;                 /* which shard */
} lmf_st_tensor;

typedef struct lmf_safetensors lmf_safetensors;

/* One file. LMF_E_FORMAT: not the format, or a broken promise. *out is NULL on failure. */
lmf_status lmf_safetensors_open(lmf_ctx *ctx, const char *path, lmf_safetensors **out);
/* A folder: model.safetensors, or the shards of model.safetensors.index.json, whose names may not leave the folder.
 * Every tensor of the index must stand in the shard that it names, and no shard may hold others. */
lmf_status lmf_safetensors_open_model(lmf_ctx *ctx, const char *dir, lmf_safetensors **out);
/* Bytes in memory, which must outlive it. name stands for the path in sentences. */
lmf_status lmf_safetensors_parse(lmf_ctx *ctx, const void *bytes, size_t n, const char *name, lmf_safetensors **out);
void       lmf_safetensors_close(lmf_safetensors *st); /* NULL is fine */

size_t lmf_safetensors_n(const lmf_safetensors *st);
int    lmf_safetensors_n_files(const lmf_safetensors *st);
const lmf_st_tensor *lmf_safetensors_at(const lmf_safetensors *st, size_t i);   /* order of the header; i < n */
const lmf_st_tensor *lmf_safetensors_find(const lmf_safetensors *st, const char *name); /* NULL: none */
/* Value of the first file's __metadata__, or NULL. */
const char *lmf_safetensors_metadata(const lmf_safetensors *st, const char *key);

/* ---- writing: declare, begin, then the data of each tensor in the order that lmf_safetensors_writer_next gives
 * (wider types first, else the order of declaration, so that every tensor is aligned to its element). __metadata__
 * is {"format":"pt"} and what is put. The file appears at commit, whole and durable; the same calls give the same
 * bytes. Failures are kept. ---- */
typedef struct lmf_safetensors_writer lmf_safetensors_writer;
lmf_status lmf_safetensors_writer_create(lmf_ctx *ctx, const char *path, lmf_safetensors_writer **out);
void       lmf_safetensors_writer_destroy(lmf_safetensors_writer *w);
lmf_status lmf_safetensors_put(lmf_safetensors_writer *w, const char *key, const char *value); /* into __metadata__ */
/* dtype F32 F16 BF16 F64 I8 I16 I32 I64 or U64 (ours). dim outermost first, 0 to 8 of them, each at least 0. */
lmf_status lmf_safetensors_add(lmf_safetensors_writer *w, const char *name, uint16_t dtype, const int64_t *dim, int n_dims);
lmf_status lmf_safetensors_begin(lmf_safetensors_writer *w);
/* Which tensor's data is due, by its number of declaration; -1: all is written. Tensors of 0 bytes are passed over. */
int64_t    lmf_safetensors_writer_next(const lmf_safetensors_writer *w);
/* The next n bytes of the tensor that is due, not beyond its end. */
lmf_status lmf_safetensors_write(lmf_safetensors_writer *w, const void *data, size_t n);
lmf_status lmf_safetensors_commit(lmf_safetensors_writer *w);

/* model.safetensors.index.json for shards already written: weight name to file name. total_bytes: of all data. */
lmf_status lmf_safetensors_index_save(lmf_ctx *ctx, const char *dir, const char *const *weight, const char *const *file,
                                      size_t n, uint64_t total_bytes);

#endif
