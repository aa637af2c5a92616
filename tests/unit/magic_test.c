/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "base/magic.h"
#include "test.h"

/* First bytes as the formats' own descriptions give them. */
static void names_kinds(void **state)
{
    (void)state;
    static const struct { const char *bytes; size_t n; lmf_magic kind; } cases[] = {
#define CASE(text, kind) { text, sizeof text - 1, kind }
        CASE("", LMF_MAGIC_NONE), CASE("{\"text\": 1}", LMF_MAGIC_NONE), CASE("[{}]", LMF_MAGIC_NONE), CASE("\n{", LMF_MAGIC_NONE),
            CASE("GGU", LMF_MAGIC_NONE),
        CASE("\xc3\xa9 text", LMF_MAGIC_NONE), CASE("version https://example.org", LMF_MAGIC_NONE),
        CASE("\xef\xbb\xbf{", LMF_MAGIC_UTF8_BOM), CASE("\xff\xfe{\0", LMF_MAGIC_UTF16), CASE("\xfe\xff\0{", LMF_MAGIC_UTF16),
            CASE("{\0\"\0", LMF_MAGIC_UTF16),
        CASE("\0{\0\"", LMF_MAGIC_UTF16), CASE("\xff\xfe\0\0{\0\0\0", LMF_MAGIC_UTF32), CASE("\x1f\x8b\x08", LMF_MAGIC_GZIP),
            CASE("PK\3\4", LMF_MAGIC_ZIP),
        CASE("GGUF\3\0\0\0", LMF_MAGIC_GGUF), CASE("\x40\0\0\0\0\0\0\0{\"a\"", LMF_MAGIC_SAFETENSORS), CASE("\x80\x02}q", LMF_MAGIC_PICKLE),
        CASE("\x80\x04\x95", LMF_MAGIC_PICKLE), CASE("PAR1", LMF_MAGIC_PARQUET),
            CASE("version http" "s://git-lfs" ".github" ".com/spec/v1\noid sha256:1", LMF_MAGIC_LFS_POINTER),
        CASE("<!DOCTYPE html><html>", LMF_MAGIC_HTML), CASE("\n <HTML lang=en>", LMF_MAGIC_HTML), CASE("<?xml version", LMF_MAGIC_XML),
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        assert_int_equal(lmf_magic_of(cases[i].bytes, cases[i].n), cases[i].kind);
    for (int k = LMF_MAGIC_NONE + 1; k <= LMF_MAGIC_XML; k++)
        assert_true(strlen(lmf_magic_name((lmf_magic)k)) > 2);
    assert_string_equal(lmf_magic_name((lmf_magic)(LMF_MAGIC_XML + 1)), "");
    assert_non_null(strstr(lmf_magic_advice(LMF_MAGIC_LFS_POINTER), "git lfs pull"));
}

LMF_TESTS(magic) = { { "kinds by first bytes", names_kinds }, { 0 } };
