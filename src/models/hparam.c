/* SPDX-License-Identifier: Apache-2.0 */
#include "models/hparam.h"
#include <math.h>
#include <stdio.h>
#include <string.h>

const lmf_hparam *lmf_hparam_find(const lmf_arch *arch, const char *field)
{
    for (const lmf_hparam *h = arch->hparams; h->field; h++)
        if (strcmp(h->field, field) == 0)
            return h;
    return NULL;
}

static lmf_status add_item(lmf_ctx *ctx, const lmf_hparam *h, lmf_hparam_list *list, double value)
{
    if (list->n == LMF_HPARAM_LIST_ITEMS || !isfinite((float)value))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "%s has more than %d items, or one that is not finite", h->field, LMF_HPARAM_LIST_ITEMS);
    list->v[list->n++] = (float)value;
    return LMF_OK;
}

lmf_status lmf_hparam_set(lmf_ctx *ctx, const lmf_hparam *h, void *config, double value)
{
    char *at = (char *)config + h->offset;
    if (h->kind == LMF_HPARAM_LIST)
        return add_item(ctx, h, (lmf_hparam_list *)(void *)at, value);
    if (h->kind == LMF_HPARAM_F32)
        *(float *)(void *)at = (float)value;
    else if (h->kind == LMF_HPARAM_BOOL)
        *(bool *)at = value != 0;
    else if (h->kind == LMF_HPARAM_I32 && value == floor(value) && fabs(value) < 2147483648.0)
        *(int32_t *)(void *)at = (int32_t)value;
    else if (h->kind == LMF_HPARAM_I32)
        return LMF_FAIL(ctx, LMF_E_FORMAT, "%s is %g, which is no 32-bit integer", h->field, value);
    if (h->kind == LMF_HPARAM_F32 && !isfinite((float)value))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "%s is not finite", h->field);
    return LMF_OK;
}

/* The number of a word in "full_attention|sliding_attention"; -1: none of them. */
static int word_number(const char *words, const char *text, size_t n)
{
    int i = 0;
    for (const char *p = words; p && *p; p += strcspn(p, "|"), p += *p == '|', i++)
        if (strcspn(p, "|") == n && memcmp(p, text, n) == 0)
            return i;
    return -1;
}

lmf_status lmf_hparam_set_text(lmf_ctx *ctx, const lmf_hparam *h, void *config, const char *text, size_t n)
{
    char *to = (char *)config + h->offset;
    if (h->kind == LMF_HPARAM_LIST) {
        int number = word_number(h->words, text, n);
        if (number < 0)
            return LMF_FAIL(ctx, LMF_E_UNSUPPORTED, "%s holds \"%.*s\", which is not known here; what is: %s", h->field,
                            (int)(n < 60 ? n : 60), text, h->words ? h->words : "numbers");
        return add_item(ctx, h, (lmf_hparam_list *)(void *)to, number);
    }
    if (n >= LMF_HPARAM_TEXT_BYTES || memchr(text, 0, n))
        return LMF_FAIL(ctx, LMF_E_FORMAT, "%s is a text of %zu bytes; at most %d are possible", h->field, n, LMF_HPARAM_TEXT_BYTES - 1);
    memcpy(to, text, n);
    to[n] = 0;
    return LMF_OK;
}

lmf_status lmf_hparam_set_default(lmf_ctx *ctx, const lmf_hparam *h, void *config)
{
    return h->kind == LMF_HPARAM_TEXT || h->kind == LMF_HPARAM_LIST ? LMF_OK : lmf_hparam_set(ctx, h, config, h->fallback);
}

double lmf_hparam_number(const lmf_hparam *h, const void *config)
{
    const char *at = (const char *)config + h->offset;
    switch (h->kind) {
    case LMF_HPARAM_I32: return *(const int32_t *)(const void *)at;
    case LMF_HPARAM_F32: return (double)*(const float *)(const void *)at;
    case LMF_HPARAM_BOOL: return *(const bool *)at;
    }
    return 0;
}

bool lmf_hparam_is_default(const lmf_hparam *h, const void *config)
{
    const char *at = (const char *)config + h->offset;
    if (h->kind == LMF_HPARAM_TEXT)
        return !*at;
    if (h->kind == LMF_HPARAM_LIST)
        return ((const lmf_hparam_list *)(const void *)at)->n == 0;
    return lmf_hparam_number(h, config) == (h->kind == LMF_HPARAM_F32 ? (double)(float)h->fallback : h->fallback);
}

static json_t *list_json(const lmf_hparam *h, const lmf_hparam_list *list)
{
    json_t *out = json_array();
    for (int i = 0; out && i < list->n; i++) {
        const char *word = h->words;
        for (int k = 0; word && k < (int)list->v[i]; k++)
            word += strcspn(word, "|") + 1;
        json_array_append_new(out, word ? json_stringn(word, strcspn(word, "|")) : list->v[i] == floorf(list->v[i]) ?
                              json_integer((json_int_t)list->v[i]) : json_real((double)list->v[i]));
    }
    return out;
}

json_t *lmf_hparam_json(const lmf_hparam *h, const void *config)
{
    char text[32];
    const char *at = (const char *)config + h->offset;
    if ((h->flags & LMF_HPARAM_NULL_IS_0) && lmf_hparam_number(h, config) == 0)
        return json_null();
    switch (h->kind) {
    case LMF_HPARAM_I32: return json_integer(*(const int32_t *)(const void *)at);
    case LMF_HPARAM_BOOL: return json_boolean(*(const bool *)at);
    case LMF_HPARAM_TEXT: return json_string(at);
    case LMF_HPARAM_LIST: return list_json(h, (const lmf_hparam_list *)(const void *)at);
    }
    snprintf(text, sizeof text, "%.7g", lmf_hparam_number(h, config));
    json_t *number = json_loads(text, JSON_DECODE_ANY, NULL), *real = json_real(json_number_value(number));
    json_decref(number);
    return real;
}
