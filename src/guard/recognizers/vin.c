/* SPDX-License-Identifier: Apache-2.0 */
#include <string.h>
#include "guard/shapes.h"

static int value(int c)
{
    static const char digits[] = "0123456789.ABCDEFGH..JKLMN.P.R..STUVWXYZ"; /* a letter counts as the last digit of its place (ISO 3779) */
    const char *p = c ? strchr(digits, c) : NULL;
    return p && c != '.' ? (int)(p - digits) % 10 : -1;
}

static lmf_match match(lmf_guard_text *t, size_t at)
{
    static const int weight[17] = { 8, 7, 6, 5, 4, 3, 2, 10, 0, 9, 8, 7, 6, 5, 4, 3, 2 };
    int sum = 0, n_letters = 0, check = 0;
    for (int i = 0; i < 17; i++) {
        int c = lmf_guard_at(t, at + (size_t)i), v = value(c);
        if (v < 0)
            return (lmf_match){ 0 };
        sum += weight[i] * v;
        n_letters += lmf_is_upper(c);
        check = i == 8 ? c : check;
    }
    if (!lmf_guard_ends(t, at + 17) || !n_letters || n_letters == 17)
        return (lmf_match){ 0 };
    return (lmf_match){ 17, check == (sum % 11 == 10 ? 'X' : '0' + sum % 11) ? 0.8f : 0.2f };
}

static const char *const context[] = { "vin", "vehicle", "chassis", "car", NULL };
const lmf_recognizer lmf_recognizer_vin = { "VIN", "vehicle numbers: 17 characters with their check digit", "A-HJ-NPR-Z0-9", context,
    match };
