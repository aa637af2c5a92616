/* SPDX-License-Identifier: Apache-2.0 */
/* gguf: reads and writes GGUF, the container of llama.cpp: typed key-value pairs, tensor descriptions, aligned
 * data. Versions 2 and 3, little endian. Strings and tensor data are handed out where they lie in the mapped file,
 * so opening costs one pass over the metadata and no copy of the vocabulary.
 *
 * An opened file keeps these promises, so that its users need not check again: keys and tensor names are unique,
 * clean UTF-8 and NUL-terminated; dimensions are at least 1, outermost first (GGUF stores them reversed; here
 * alone they are turned), the innermost a whole number of blocks; every data range is aligned, inside the file
 * and apart from the others. Values of strings are bytes, not promised to be UTF-8.
 * Owner: the opener; close it last, all views die with it. Threads: read only after opening, except for the
 * context's error record.
 *
 *     lmf_gguf *g;
 *     LMF_TRY(lmf_gguf_open(ctx, path, &g));
 *     LMF_TRY_TO(done, lmf_gguf_get_i64(g, "llama.block_count", &n_layers));
 *     const lmf_gguf_tensor *t = lmf_gguf_tensor_find(g, "token_embd.weight"); */
#ifndef LMF_FORMAT_GGUF_H
#define LMF_FORMAT_GGUF_H
#include "base/arena.h"
#include "format/reader.h"
#include "format/types.h"

typedef enum lmf_gguf_type { /* of a value; pinned by the format */
    LMF_GGUF_U8, LMF_GGUF_I8, LMF_GGUF_U16, LMF_GGUF_I16, LMF_GGUF_U32, LMF_GGUF_I32, LMF_GGUF_F32, LMF_GGUF_BOOL,
    LMF_GGUF_STRING, LMF_GGUF_ARRAY, LMF_GGUF_U64, LMF_GGUF_I64, LMF_GGUF_F64, LMF_GGUF_N_TYPES
} lmf_gguf_type;

typedef struct lmf_gguf_kv {
    const char    *key;
    uint8_t        type;      /* lmf_gguf_type */
    uint8_t        item_type; /* of an array's items, never an array; else the same as type */
    size_t         n;         /* items; 1 unless an array */
    const uint8_t *data;      /* the items as they lie in the file; each string is a u64 length and its bytes */
    size_t         bytes;     /* of data */
} lmf_gguf_kv;

typedef struct lmf_gguf_tensor {
    const char    *name;
    int64_t        dim[LMF_FILE_MAX_DIMS]; /* outermost first; unused are 1 */
    int            n_dims;                 /* 1 to 4 */
    uint16_t       dtype;                  /* GGUF's type number */
    const uint8_t *data;
    size_t         bytes;
} lmf_gguf_tensor;

typedef struct lmf_gguf lmf_gguf;

/* LMF_E_FORMAT: not the format, with the byte. LMF_E_UNSUPPORTED: big endian, version 1, split files. LMF_E_ARG:
 * no regular file. *out is NULL on failure. */
lmf_status lmf_gguf_open(lmf_ctx *ctx, const char *path, lmf_gguf **out);
/* The same on bytes in memory, which must outlive it. name stands for the path in sentences. */
lmf_status lmf_gguf_parse(lmf_ctx *ctx, const void *bytes, size_t n, const char *name, lmf_gguf **out);
void       lmf_gguf_close(lmf_gguf *g); /* NULL is fine */

uint32_t lmf_gguf_version(const lmf_gguf *g);
size_t   lmf_gguf_alignment(const lmf_gguf *g); /* bytes */
size_t   lmf_gguf_n_kv(const lmf_gguf *g);
size_t   lmf_gguf_n_tensors(const lmf_gguf *g);
const lmf_gguf_kv     *lmf_gguf_kv_at(const lmf_gguf *g, size_t i);     /* in the file's order; i < n */
const lmf_gguf_tensor *lmf_gguf_tensor_at(const lmf_gguf *g, size_t i);
const lmf_gguf_kv     *lmf_gguf_find(const lmf_gguf *g, const char *key); /* NULL: no such key */
const lmf_gguf_tensor *lmf_gguf_tensor_find(const lmf_gguf *g, const char *name);
size_t lmf_gguf_offset(const lmf_gguf *g, const uint8_t *p); /* where data of a pair or tensor lies in the file */
const char *lmf_gguf_type_name(uint8_t type);   /* "u32" */

/* One value. LMF_E_NOT_FOUND without the key; LMF_E_FORMAT when it has another type or does not fit. Integers of
 * any width turn into each other while the value fits; f64 and f32 also take integers; bool is bool alone. */
lmf_status lmf_gguf_get_i64(const lmf_gguf *g, const char *key, int64_t *out);
lmf_status lmf_gguf_get_u32(const lmf_gguf *g, const char *key, uint32_t *out);
lmf_status lmf_gguf_get_f64(const lmf_gguf *g, const char *key, double *out);
lmf_status lmf_gguf_get_f32(const lmf_gguf *g, const char *key, float *out);
lmf_status lmf_gguf_get_bool(const lmf_gguf *g, const char *key, bool *out);
lmf_status lmf_gguf_get_string(const lmf_gguf *g, const char *key, lmf_bytes *out);
/* Whole arrays into the arena. Strings are views into the file. */
lmf_status lmf_gguf_get_strings(const lmf_gguf *g, const char *key, lmf_arena *arena, lmf_bytes **out, size_t *n);
lmf_status lmf_gguf_get_i32s(const lmf_gguf *g, const char *key, lmf_arena *arena, int32_t **out, size_t *n);
lmf_status lmf_gguf_get_f32s(const lmf_gguf *g, const char *key, lmf_arena *arena, float **out, size_t *n);
/* Item i (< kv->n) of a numeric or bool pair, as f64 or i64; false if the item is of another kind or does not fit. */
bool lmf_gguf_kv_f64(const lmf_gguf_kv *kv, size_t i, double *out);
bool lmf_gguf_kv_i64(const lmf_gguf_kv *kv, size_t i, int64_t *out);
/* Steps through the strings of a pair: *at starts at 0; false at the end. */
bool lmf_gguf_kv_next_string(const lmf_gguf_kv *kv, size_t *at, lmf_bytes *out);

/* ---- writing: pairs and tensors are declared, begin writes the metadata, then the data follows in the order of
 * declaration. The file appears under its name at commit, whole and durable. The same calls give the same bytes.
 * Failures are kept: after one every call returns it. Owner: the creator. Threads: one at a time. ---- */
typedef struct lmf_gguf_writer lmf_gguf_writer;
lmf_status lmf_gguf_writer_create(lmf_ctx *ctx, const char *path, lmf_gguf_writer **out);
void       lmf_gguf_writer_destroy(lmf_gguf_writer *w); /* before commit: nothing is left; NULL is fine */
/* Power of two, 8 to 65536; 32 unless set. Writes general.alignment. */
lmf_status lmf_gguf_writer_alignment(lmf_gguf_writer *w, uint32_t alignment);
lmf_status lmf_gguf_put_u32(lmf_gguf_writer *w, const char *key, uint32_t v);
lmf_status lmf_gguf_put_i32(lmf_gguf_writer *w, const char *key, int32_t v);
lmf_status lmf_gguf_put_u64(lmf_gguf_writer *w, const char *key, uint64_t v);
lmf_status lmf_gguf_put_f32(lmf_gguf_writer *w, const char *key, float v);
lmf_status lmf_gguf_put_bool(lmf_gguf_writer *w, const char *key, bool v);
lmf_status lmf_gguf_put_string(lmf_gguf_writer *w, const char *key, lmf_bytes v);
lmf_status lmf_gguf_put_text(lmf_gguf_writer *w, const char *key, const char *v); /* NUL-terminated */
lmf_status lmf_gguf_put_strings(lmf_gguf_writer *w, const char *key, const lmf_bytes *v, size_t n);
lmf_status lmf_gguf_put_i32s(lmf_gguf_writer *w, const char *key, const int32_t *v, size_t n);
lmf_status lmf_gguf_put_f32s(lmf_gguf_writer *w, const char *key, const float *v, size_t n);
lmf_status lmf_gguf_put_kv(lmf_gguf_writer *w, const lmf_gguf_kv *kv); /* a pair of another file, as it is */
/* dim outermost first, 1 to 4 of them; a name of at most 63 bytes, what llama.cpp takes. */
lmf_status lmf_gguf_add_tensor(lmf_gguf_writer *w, const char *name, uint16_t dtype, const int64_t *dim, int n_dims);
lmf_status lmf_gguf_begin(lmf_gguf_writer *w);
/* The next n bytes of the tensor that is due; they may not reach into the one after. Padding is added by itself. */
lmf_status lmf_gguf_write(lmf_gguf_writer *w, const void *data, size_t n);
lmf_status lmf_gguf_commit(lmf_gguf_writer *w); /* refuses while bytes are missing, and names the tensor */

#endif
