/* SPDX-License-Identifier: Apache-2.0 */
#include <openssl/sha.h>
#include <string.h>
#include "guard/shapes.h"

/* Base58Check: 25 bytes, the last four the beginning of a double SHA-256. */
static bool base58(const char *s, size_t n)
{
    static const char digits[] = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz";
    uint8_t b[25] = { 0 }, hash[SHA256_DIGEST_LENGTH];
    for (size_t i = 0; i < n; i++) {
        const char *p = strchr(digits, s[i]);
        if (!p)
            return false;
        unsigned carry = (unsigned)(p - digits);
        for (int k = 24; k >= 0; k--) {
            carry += 58u * b[k];
            b[k] = (uint8_t)carry;
            carry >>= 8;
        }
        if (carry)
            return false;
    }
    SHA256(b, 21, hash);
    SHA256(hash, sizeof hash, hash);
    return !memcmp(hash, b + 21, 4);
}

/* Bech32 and Bech32m (BIP 173, BIP 350) of "bc". */
static bool bech32(const char *s, size_t n)
{
    static const char digits[] = "qpzry9x8gf2tvdw0s3jn54khce6mua7l";
    static const uint32_t by[5] = { 0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3 };
    uint8_t v[100] = { 3, 3, 0, 2, 3 };          /* "bc", spread */
    uint32_t sum = 1;
    size_t k = 5;
    bool big = lmf_is_upper(s[0]);
    for (size_t i = 3; i < n; i++) {
        const char *p = strchr(digits, s[i] | (lmf_is_letter(s[i]) ? 32 : 0));
        if (!p || !*p || (lmf_is_letter(s[i]) && lmf_is_upper(s[i]) != big))
            return false;
        v[k++] = (uint8_t)(p - digits);
    }
    for (size_t i = 0; i < k; i++) {
        uint32_t top = sum >> 25;
        sum = (sum & 0x1ffffff) << 5 ^ v[i];
        for (int j = 0; j < 5; j++)
            sum ^= top >> j & 1 ? by[j] : 0;
    }
    return sum == 1 || sum == 0x2bc830a3;
}

static lmf_match match(lmf_guard_text *t, size_t at)
{
    enum { MOST = 90 };
    size_t n = 0;
    while (n <= MOST && lmf_is_word(lmf_guard_at(t, at + n)))
        n++;
    const char *s = t->s + at;
    if (n > MOST || n < 25)
        return (lmf_match){ 0 };
    if ((s[0] == '1' || s[0] == '3') && n <= 35 && base58(s, n))
        return (lmf_match){ n, 1.0f };
    if ((s[0] | 32) == 'b' && (s[1] | 32) == 'c' && s[2] == '1' && bech32(s, n))
        return (lmf_match){ n, 1.0f };
    if (s[0] == '0' && (s[1] | 32) == 'x' && n == 42) {
        for (size_t i = 2; i < n; i++)
            if (!lmf_is_hex(s[i]))
                return (lmf_match){ 0 };
        return (lmf_match){ n, 0.7f };
    }
    return (lmf_match){ 0 };
}

const lmf_recognizer lmf_recognizer_crypto = { "CRYPTO",
    "Bitcoin addresses by their check sums (Base58Check, Bech32), Ethereum's by form", "013bB",
                                               NULL, match };
