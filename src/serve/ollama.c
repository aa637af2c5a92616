/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/ollama.h"
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "format/json.h"
#include "serve/translate.h"

json_t *lmf__ollama_fault(const lmf_fault *f) { return json_pack("{s:o}", "error", lmf_json_string(f->message)); }

void lmf__ollama_time(int64_t seconds, char text[40])
{
    time_t t = (time_t)seconds;
    struct tm utc;
    if (!gmtime_r(&t, &utc) || strftime(text, 40, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0)
        snprintf(text, 40, "1970-01-01T00:00:00Z");
}

static bool is_served(const lmf_server *s, const char *name, size_t n)
{
    const char *base = s->o.model_name;
    return lmf__served_find(&s->adapters, name, n) >= 0 || (strlen(base) == n && memcmp(base, name, n) == 0);
}

bool lmf__ollama_model(const lmf_server *s, const json_t *body, json_t *to, lmf_fault *f)
{
    json_t *v = json_object_get(body, "model");
    v = v && !json_is_null(v) ? v : json_object_get(body, "name");
    size_t n = json_string_length(v);
    const char *name = json_string_value(v);
    if (!name || n == 0)
        return lmf__refuse(f, 400, "model", NULL, "model must be the name of a model; GET /api/tags lists those that are served");
    bool tagged = n > 7 && memcmp(name + n - 7, ":latest", 7) == 0 && !is_served(s, name, n);
    return lmf__put(to, "model", json_stringn(name, tagged ? n - 7 : n), f);
}

/* "1h30m" as seconds; NAN: it is none. */
static double duration(const char *text)
{
    static const struct { const char *unit; double seconds; } units[] = { { "ns", 1e-9 }, { "us", 1e-6 }, { "ms", 1e-3 }, { "s", 1 },
                                                                        { "m", 60 }, { "h", 3600 } };
    double all = 0, sign = *text == '-' ? -1 : 1;
    text += *text == '-' || *text == '+';
    if (!*text)
        return NAN;
    while (*text) {
        char *end;
        if (*text < '0' || *text > '9')
            return NAN;
        double n = strtod(text, &end), unit = 0;
        size_t k = strspn(end, "abcdefghijklmnopqrstuvwxyz");
        for (size_t i = 0; i < sizeof units / sizeof *units; i++)
            if (strlen(units[i].unit) == k && memcmp(units[i].unit, end, k) == 0)
                unit = units[i].seconds;
        unit = k == 0 && !*end && all == 0 ? 1 : unit; /* a number alone is of seconds */
        if (unit == 0 || end == text || !isfinite(n))
            return NAN;
        all += n * unit;
        text = end + k;
    }
    return sign * all;
}

bool lmf__ollama_keep_alive(const json_t *body, bool *unload, lmf_fault *f)
{
    const json_t *v = json_object_get(body, "keep_alive");
    *unload = false;
    if (!v || json_is_null(v))
        return true;
    double seconds = json_is_string(v) ? duration(json_string_value(v)) : json_is_number(v) ? json_number_value(v) : NAN;
    if (isnan(seconds))
        return lmf__refuse(f, 400, "keep_alive", NULL, "keep_alive must be a number of seconds, or a duration such as \"5m\"");
    *unload = seconds == 0;
    return true;
}
