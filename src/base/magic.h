/* SPDX-License-Identifier: Apache-2.0 */
/* magic: what a file is, by its first bytes: the one place that knows. For sentences that name what was given instead of what is read. */
#ifndef LMF_BASE_MAGIC_H
#define LMF_BASE_MAGIC_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef enum lmf_magic {
    LMF_MAGIC_NONE,        /* nothing known: text, perhaps */
    LMF_MAGIC_UTF8_BOM, LMF_MAGIC_UTF16, LMF_MAGIC_UTF32, LMF_MAGIC_GZIP, LMF_MAGIC_ZSTD, LMF_MAGIC_BZIP2, LMF_MAGIC_XZ, LMF_MAGIC_ZIP,
        LMF_MAGIC_TAR,
    LMF_MAGIC_GGUF, LMF_MAGIC_SAFETENSORS, LMF_MAGIC_PICKLE, LMF_MAGIC_PARQUET, LMF_MAGIC_ARROW, LMF_MAGIC_NUMPY, LMF_MAGIC_HDF5,
        LMF_MAGIC_SQLITE, LMF_MAGIC_PDF,
    LMF_MAGIC_LFS_POINTER, LMF_MAGIC_HTML, LMF_MAGIC_XML
} lmf_magic;

/* p: the first n bytes; 512 are enough, fewer may say NONE. */
lmf_magic   lmf_magic_of(const void *p, size_t n);
/* "a zip archive (a .pt or .bin of PyTorch is one)"; "" for NONE. */
const char *lmf_magic_name(lmf_magic m);
/* What to do about it, or "": "run git lfs pull in its folder". */
const char *lmf_magic_advice(lmf_magic m);
/* For a sentence about what could not be read: "; it is an HTML page: the download gave a page; ...", or "". Returns text. */
const char *lmf_magic_note(const void *p, size_t n, char *text, size_t text_bytes);

#endif
