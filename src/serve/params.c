/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/params.h"
#include <math.h>

bool lmf__param_int(const json_t *v, const char *name, int64_t lo, int64_t hi, int64_t *out, lmf_fault *f)
{
    if (!json_is_number(v) || (json_is_real(v) && json_real_value(v) != floor(json_real_value(v))))
        return lmf__refuse(f, 400, name, NULL, "%s must be a whole number", name);
    double size = json_number_value(v);
    json_int_t whole = json_integer_value(v);
    bool inside = json_is_integer(v) ? whole >= lo && whole <= hi : size >= (double)lo && size <= (double)hi;
    if (!inside)
        return lmf__refuse(f, 400, name, NULL, "%s is %.17g, but must be from %lld to %lld", name, size, (long long)lo, (long long)hi);
    *out = json_is_integer(v) ? json_integer_value(v) : (int64_t)size;
    return true;
}

bool lmf__param_number(const json_t *v, const char *name, double lo, double hi, double *out, lmf_fault *f)
{
    if (!json_is_number(v))
        return lmf__refuse(f, 400, name, NULL, "%s must be a number", name);
    double size = json_number_value(v);
    if (!(size >= lo && size <= hi))
        return lmf__refuse(f, 400, name, NULL, "%s is %.17g, but must be from %.12g to %.12g", name, size, lo, hi);
    *out = size;
    return true;
}

bool lmf__params_read(const json_t *body, const lmf_param *table, void *into, lmf_fault *f)
{
    for (const lmf_param *p = table; p->name; p++) {
        const json_t *v = json_object_get(body, p->name);
        char *member = (char *)into + p->offset;
        if (!v || json_is_null(v))
            continue;
        if (p->kind == LMF_PARAM_BOOL) {
            if (!json_is_boolean(v))
                return lmf__refuse(f, 400, p->name, NULL, "%s must be true or false", p->name);
            *(bool *)(void *)member = json_is_true(v);
        } else if (p->kind == LMF_PARAM_INT) {
            if (!lmf__param_int(v, p->name, (int64_t)p->lo, (int64_t)p->hi, (int64_t *)(void *)member, f))
                return false;
        } else if (!lmf__param_number(v, p->name, p->lo, p->hi, (double *)(void *)member, f)) {
            return false;
        }
    }
    return true;
}
