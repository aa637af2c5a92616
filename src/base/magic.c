/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: a kind is named only on bytes that text of ours can't begin with; ties go to NONE. */
#include "base/magic.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

typedef struct row { lmf_magic kind; size_t at; const char *bytes; size_t n; } row;
#define ROW(kind, at, bytes) { kind, at, bytes, sizeof bytes - 1 }
static const row rows[] = { /* longer ones before shorter ones that they begin with */
    ROW(LMF_MAGIC_UTF8_BOM, 0, "\xef\xbb\xbf"), ROW(LMF_MAGIC_UTF32, 0, "\xff\xfe\0\0"), ROW(LMF_MAGIC_UTF32, 0, "\0\0\xfe\xff"),
    ROW(LMF_MAGIC_UTF16, 0, "\xff\xfe"), ROW(LMF_MAGIC_UTF16, 0, "\xfe\xff"), ROW(LMF_MAGIC_GZIP, 0, "\x1f\x8b"), ROW(LMF_MAGIC_ZSTD, 0,
        "\x28\xb5\x2f\xfd"),
    ROW(LMF_MAGIC_BZIP2, 0, "BZh"), ROW(LMF_MAGIC_XZ, 0, "\xfd" "7zXZ\0"), ROW(LMF_MAGIC_ZIP, 0, "PK\3\4"), ROW(LMF_MAGIC_ZIP, 0, "PK\5\6"),
    ROW(LMF_MAGIC_TAR, 257, "ustar"), ROW(LMF_MAGIC_GGUF, 0, "GGUF"), ROW(LMF_MAGIC_PARQUET, 0, "PAR1"), ROW(LMF_MAGIC_ARROW, 0, "ARROW1"),
    ROW(LMF_MAGIC_ARROW, 0, "\xff\xff\xff\xff"), ROW(LMF_MAGIC_NUMPY, 0, "\x93NUMPY"), ROW(LMF_MAGIC_HDF5, 0, "\x89HDF\r\n\x1a\n"),
    ROW(LMF_MAGIC_SQLITE, 0, "SQLite format 3\0"), ROW(LMF_MAGIC_PDF, 0, "%PDF-"), ROW(LMF_MAGIC_LFS_POINTER, 0,
        "version http" "s://git-lfs"),
};

/* A length of eight bytes, then the header's object. */
static bool is_safetensors(const unsigned char *p, size_t n)
{
    return n > 9 && p[8] == '{' && p[5] == 0 && p[6] == 0 && p[7] == 0;
}

/* Protocol 2 to 5: PROTO, the number, and an opcode that files begin with. */
static bool is_pickle(const unsigned char *p, size_t n)
{
    return n > 2 && p[0] == 0x80 && p[1] >= 2 && p[1] <= 5;
}

/* UTF-16 without a mark: every second byte of the first characters is NUL. */
static bool is_bare_utf16(const unsigned char *p, size_t n)
{
    return n >= 4 && ((p[0] && !p[1] && p[2] && !p[3]) || (!p[0] && p[1] && !p[2] && p[3]));
}

lmf_magic lmf_magic_of(const void *bytes, size_t n)
{
    static const struct { const char *word; lmf_magic kind; } words[] = { { "<!doctype html", LMF_MAGIC_HTML }, { "<html", LMF_MAGIC_HTML },
        { "<head", LMF_MAGIC_HTML }, { "<?xml", LMF_MAGIC_XML } };
    const unsigned char *p = bytes;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (n >= rows[i].at + rows[i].n && memcmp(p + rows[i].at, rows[i].bytes, rows[i].n) == 0)
            return rows[i].kind;
    if (is_safetensors(p, n))
        return LMF_MAGIC_SAFETENSORS;
    if (is_pickle(p, n))
        return LMF_MAGIC_PICKLE;
    if (is_bare_utf16(p, n))
        return LMF_MAGIC_UTF16;
    while (n && (*p == ' ' || *p == '\t' || *p == '\r' || *p == '\n'))
        p++, n--;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (n >= strlen(words[i].word) && strncasecmp((const char *)p, words[i].word, strlen(words[i].word)) == 0)
            return words[i].kind;
    return LMF_MAGIC_NONE;
}

const char *lmf_magic_name(lmf_magic m)
{
    static const char *const names[] = { "", "UTF-8 text with a mark", "UTF-16 text", "UTF-32 text", "a gzip file", "a zstd file",
        "a bzip2 file", "an xz file",
        "a zip archive (PyTorch's .bin and .pt are such, too)", "a tar archive", "a GGUF file", "a safetensors file", "a Python pickle",
            "a Parquet file", "an Arrow file",
        "a NumPy file", "an HDF5 file", "an SQLite database", "a PDF", "a git-lfs pointer, not the file itself", "an HTML page", "XML" };
    return (size_t)m < sizeof names / sizeof *names ? names[m] : "";
}

const char *lmf_magic_note(const void *p, size_t n, char *text, size_t text_bytes)
{
    lmf_magic m = lmf_magic_of(p, n);
    const char *advice = lmf_magic_advice(m);
    snprintf(text, text_bytes, "%s%s%s%s", m == LMF_MAGIC_NONE ? "" : "; it is ", lmf_magic_name(m), advice[0] ? ": " : "", advice);
    return text;
}

const char *lmf_magic_advice(lmf_magic m)
{
    switch (m) {
    case LMF_MAGIC_UTF16: return "convert it: iconv -f UTF-16 -t UTF-8";
    case LMF_MAGIC_UTF32: return "convert it: iconv -f UTF-32 -t UTF-8";
    case LMF_MAGIC_ZSTD: return "unpack it: zstd -d";
    case LMF_MAGIC_BZIP2: return "unpack it: bunzip2";
    case LMF_MAGIC_XZ: return "unpack it: unxz";
    case LMF_MAGIC_ZIP: case LMF_MAGIC_TAR: return "unpack it";
    case LMF_MAGIC_LFS_POINTER: return "run git lfs pull in its folder";
    case LMF_MAGIC_HTML: return "the download gave a page; download the file itself";
    case LMF_MAGIC_PARQUET: case LMF_MAGIC_ARROW: return "write it as JSON Lines: datasets' to_json";
    case LMF_MAGIC_PICKLE: return "pickles are programs and are never opened";
    default: return "";
    }
}
