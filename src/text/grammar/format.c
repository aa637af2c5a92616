/* SPDX-License-Identifier: Apache-2.0 */
/* The formats of JSON schema that are written as expressions; each allows only what the format does, and most of it. */
#include <string.h>
#include "base/plain.h"
#include "text/grammar/schema.h"

#define DATE "([1-9]\\d{3}-(0[13578]|1[02])-(0[1-9]|[12]\\d|3[01])|[1-9]\\d{3}-(0[469]|11)-(0[1-9]|[12]\\d|30)|" \
    "[1-9]\\d{3}-02-(0[1-9]|1\\d|2[0-8])|([1-9]\\d(0[48]|[2468][048]|[13579][26])|([2468][048]|[13579][26])00)-02-29)"
#define TIME "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+-]([01]\\d|2[0-3]):[0-5]\\d)"
#define OCTET "(25[0-5]|2[0-4]\\d|1\\d\\d|[1-9]?\\d)"
#define IPV4 OCTET "(\\." OCTET "){3}"
#define H16 "[0-9a-fA-F]{1,4}"
#define LABEL "[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
#define URI_CHAR "([A-Za-z0-9._~!$&'()*+,;=:@/-]|%[0-9A-Fa-f]{2})"

static const struct { const char *name, *text; } formats[] = {
    { "date", DATE },
    { "time", TIME },
    { "date-time", DATE "T" TIME },
    { "duration", "P(\\d{1,9}W|\\d{1,9}Y(\\d{1,9}M(\\d{1,9}D)?)?|\\d{1,9}M(\\d{1,9}D)?|\\d{1,9}D|"
                  "(\\d{1,9}D)?T(\\d{1,9}H(\\d{1,9}M(\\d{1,9}S)?)?|\\d{1,9}M(\\d{1,9}S)?|\\d{1,9}S))" },
    { "uuid", "[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}" },
    { "email", "[A-Za-z0-9_%+-]{1,30}(\\.[A-Za-z0-9_%+-]{1,10}){0,3}@" LABEL "(\\." LABEL "){1,2}" },
    { "hostname", LABEL "(\\." LABEL "){0,2}" },
    { "ipv4", IPV4 },
    { "ipv6",
        "((" H16 ":){7}" H16 "|::(" H16 "(:" H16 "){0,6})?|(" H16 ":){1,6}(:" H16 "|:)|(" H16 ":){1,5}(:" H16 "){2}|"
        "(" H16 ":){1,4}(:" H16 "){3}|"
              "(" H16 ":){1,3}(:" H16 "){4}|(" H16 ":){1,2}(:" H16 "){5}|" H16 ":(:" H16 "){6}|(" H16 ":){7}:)" },
    { "uri",
        "[A-Za-z][A-Za-z0-9+.-]{0,30}://" LABEL "(\\." LABEL "){0,2}(:\\d{1,4})?"
        "(/" URI_CHAR "*)?(\\?(" URI_CHAR "|\\?)*)?(#(" URI_CHAR "|\\?)*)?" },
    { "json-pointer", "(/([^~/]|~[01])*)*" },
};

lmf_status lmf__js_format(js *c, const char *name, gr_ex *out)
{
    char plain[100];
    for (size_t i = 0; i < sizeof formats / sizeof *formats; i++)
        if (!strcmp(name, formats[i].name))
            return lmf__gr_regex(c->ctx, c->s, formats[i].text, strlen(formats[i].text), true, false, out);
    return LMF_FAIL(c->ctx, LMF_E_UNSUPPORTED, "the schema's keyword \"format\" is not supported with \"%s\"", lmf_plain_text(name, plain,
        sizeof plain));
}
