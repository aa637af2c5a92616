/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: what is put in the place of a text is nothing of it where any step fails. */
#include "guard/vault.h"
#include <openssl/evp.h>
#include <openssl/sha.h>
#include <string.h>

enum { TAG = 16 };                               /* bytes of the synthetic vector, which stands before the cipher's text */

/* Text through the cipher, as long as it is. False: a wrong tag, or no cipher. */
static bool crypt_text(const char *key, const char *entity, size_t n_entity, bool seals, const uint8_t *text, size_t n, uint8_t *out,
                       uint8_t tag[TAG])
{
    uint8_t keys[SHA512_DIGEST_LENGTH];          /* of SIV: 32 bytes that authenticate, 32 that encrypt */
    int k = 0;
    EVP_CIPHER *siv = EVP_CIPHER_fetch(NULL, "AES-256-SIV", NULL);
    EVP_CIPHER_CTX *c = EVP_CIPHER_CTX_new();
    bool good = siv && c && SHA512((const uint8_t *)key, strlen(key), keys) && EVP_CipherInit_ex2(c, siv, keys, NULL, seals, NULL) == 1 &&
                (seals || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_SET_TAG, TAG, tag) == 1) &&
                EVP_CipherUpdate(c, NULL, &k, (const uint8_t *)entity, (int)n_entity) == 1 &&
                EVP_CipherUpdate(c, out, &k, text, (int)n) == 1 && EVP_CipherFinal_ex(c, out + n, &k) == 1 &&
                (!seals || EVP_CIPHER_CTX_ctrl(c, EVP_CTRL_AEAD_GET_TAG, TAG, tag) == 1);
    OPENSSL_cleanse(keys, sizeof keys);
    EVP_CIPHER_CTX_free(c);
    EVP_CIPHER_free(siv);
    return good;
}

static const char digit[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
enum { BITS = 5, LEAST = (8 * TAG + BITS - 1) / BITS, MOST = (8 * (TAG + LMF_GUARD_LONGEST) + BITS - 1) / BITS }; /* digits */

lmf_status lmf__vault_put(lmf_ctx *ctx, const char *key, const char *entity, const char *text, size_t n, lmf_buf *out)
{
    uint8_t sealed[TAG + LMF_GUARD_LONGEST + 32];
    uint32_t bits = 0, n_bits = 0;
    if (n > LMF_GUARD_LONGEST || !crypt_text(key, entity, strlen(entity), true, (const uint8_t *)text, n, sealed + TAG, sealed))
        return LMF_FAIL(ctx, LMF_E_INTERNAL, "the operator encrypt failed: AES-256-SIV can't be had of libcrypto");
    LMF_TRY(lmf_buf_printf(out, "<%s:", entity));
    for (size_t i = 0; i < TAG + n; i++) {
        bits = bits << 8 | sealed[i];
        for (n_bits += 8; n_bits >= BITS; n_bits -= BITS)
            LMF_TRY(lmf_buf_putc(out, digit[bits >> (n_bits - BITS) & 31]));
    }
    if (n_bits)
        LMF_TRY(lmf_buf_putc(out, digit[bits << (BITS - n_bits) & 31]));
    return lmf_buf_putc(out, '>');
}

static bool is_digit(int c) { return (c >= 'A' && c <= 'Z') || (c >= '2' && c <= '7'); }

/* n digits at p, sealed beside the entity's name: the text to plain [LMF_GUARD_LONGEST + 32]. False: they do not open. */
static bool open_mark(const char *key, const char *entity, size_t n_entity, const char *p, size_t n, uint8_t *plain, size_t *n_plain)
{
    uint8_t sealed[TAG + LMF_GUARD_LONGEST];
    uint32_t bits = 0, n_bits = 0;
    size_t k = 0;
    if (n < LEAST || n > MOST)
        return false;
    for (size_t i = 0; i < n; i++) {
        bits = bits << BITS | (uint32_t)(p[i] >= 'A' ? p[i] - 'A' : p[i] - '2' + 26);
        n_bits += BITS;
        if (n_bits >= 8)
            n_bits -= 8, sealed[k++] = (uint8_t)(bits >> n_bits);
    }
    *n_plain = k - TAG;
    return n_bits < BITS && (bits & ((1u << n_bits) - 1)) == 0 &&
           crypt_text(key, entity, n_entity, false, sealed + TAG, k - TAG, plain, sealed);
}

lmf_status lmf__vault_take(lmf_ctx *ctx, const char *key, const char *text, size_t n, size_t at, size_t *used, lmf_buf *out)
{
    uint8_t plain[LMF_GUARD_LONGEST + 32];
    size_t name = at + 1, colon = name, n_plain;
    *used = 0;
    if (at >= n || text[at] != '<')
        return LMF_OK;
    while (colon < n && ((text[colon] >= 'A' && text[colon] <= 'Z') || text[colon] == '_'))
        colon++;
    size_t end = colon + 1;
    while (end < n && is_digit(text[end]))
        end++;
    if (colon == name || colon >= n || text[colon] != ':' || end >= n || text[end] != '>' || end - colon - 1 < LEAST)
        return LMF_OK;
    if (!open_mark(key, text + name, colon - name, text + colon + 1, end - colon - 1, plain, &n_plain))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "byte %zu: what stands there was not encrypted with this key, or was changed", at);
    *used = end + 1 - at;
    return lmf_buf_append(out, plain, n_plain);
}

size_t lmf__vault_mark(const char *key, lmf_guard_text *t, size_t at)
{
    uint8_t plain[LMF_GUARD_LONGEST + 32];
    size_t name = at > 1 && t->s[at - 1] == ':' ? at - 1 : 0, end = at, n_plain;
    for (size_t n = 0; name > 0 && n < LMF_GUARD_CONTEXT - 2 && ((t->s[name - 1] >= 'A' && t->s[name - 1] <= 'Z') ||
                                                                  t->s[name - 1] == '_'); n++)
        name--;
    if (name == 0 || name == at - 1 || t->s[name - 1] != '<')
        return 0;
    while (end - at <= MOST && is_digit(lmf_guard_at(t, end)))
        end++;
    if (lmf_guard_at(t, end) != '>')
        return 0;
    return open_mark(key, t->s + name, at - 1 - name, t->s + at, end - at, plain, &n_plain) ? end + 1 - at : 0;
}

lmf_status lmf_guard_restore(lmf_ctx *ctx, const lmf_guard_policy *p, const char *text, size_t n, lmf_buf *out)
{
    if (strlen(p->key) < LMF_VAULT_LEAST_KEY)
        return LMF_FAIL(ctx, LMF_E_ARG, "what encrypt wrote is turned back by its key, which has %d characters or more; there is "
                        "none",
                        LMF_VAULT_LEAST_KEY);
    for (size_t i = 0, used; i < n;) {
        LMF_TRY(lmf__vault_take(ctx, p->key, text, n, i, &used, out));
        if (!used)
            LMF_TRY(lmf_buf_putc(out, text[i]));
        i += used ? used : 1;
    }
    return LMF_OK;
}
