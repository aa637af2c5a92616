/* SPDX-License-Identifier: Apache-2.0 */
#include "serve/guard.h"
#include <stdio.h>
#include <string.h>
#include <strings.h>

bool lmf_guard_is_loopback(const char *host)
{
    return strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
        (strncmp(host, "127.", 4) == 0 && strspn(host, "0123456789.") == strlen(host));
}

lmf_status lmf_guard_init(lmf_guard *g, lmf_ctx *ctx, const char *host, bool has_key)
{
    *g = (lmf_guard){ .has_key = has_key };
    if (snprintf(g->host, sizeof g->host, "%s", host) >= (int)sizeof g->host)
        return LMF_FAIL(ctx, LMF_E_ARG, "the host's name has over %zu characters", sizeof g->host - 1);
    return LMF_OK;
}

/* The name in "name:port", "[::1]:port" or "name" into text; false: it is none of them. */
static bool host_name(const char *from, char *text, size_t n)
{
    const char *end, *port;
    if (*from == '[') {
        end = strchr(++from, ']');
        if (!end)
            return false;
        port = end + 1;
    } else {
        end = port = from + strcspn(from, ":");
    }
    if (*port && (*port != ':' || strspn(port + 1, "0123456789") != strlen(port + 1) || strlen(port) > 6))
        return false;
    size_t length = (size_t)(end - from);
    if (length == 0 || length >= n)
        return false;
    for (size_t i = 0; i < length; i++)
        text[i] = from[i] >= 'A' && from[i] <= 'Z' ? (char)(from[i] + 32) : from[i];
    text[length] = 0;
    return true;
}

bool lmf_guard_check_origin(const lmf_guard *g, const lmf_http *h, lmf_fault *f)
{
    char name[256];
    const char *host = lmf_http_header(h, "host"), *origin = lmf_http_header(h, "origin"), *site = lmf_http_header(h, "sec-fetch-site");
    if (host && !host_name(host, name, sizeof name))
        return lmf__refuse(f, 400, NULL, NULL, "the Host header is not a name with a port");
    /* who has the key is no page that was lured here */
    if (!g->has_key && (!host || !(lmf_guard_is_loopback(name) || strcasecmp(name, g->host) == 0)))
        return lmf__refuse(f, 403, NULL, NULL, "the Host header does not name this server; call it by the address it is bound to");
    if (lmf_http_header_count(h, "origin") > 1)
        return lmf__refuse(f, 400, NULL, NULL, "there are several Origin headers");
    bool own = host && origin && strncasecmp(origin, "http://", 7) == 0 && strcasecmp(origin + 7, host) == 0;
    if ((origin && !own) || (site && strcasecmp(site, "same-origin") && strcasecmp(site, "none")))
        return lmf__refuse(f, 403, NULL, NULL, "pages of another origin are not answered");
    return true;
}

const char *lmf_guard_find_key(const lmf_http *h, lmf_fault *f)
{
    const char *given = lmf_http_header(h, "authorization");
    if (given && strncasecmp(given, "bearer ", 7) == 0 && lmf_http_header_count(h, "authorization") == 1)
        return given + 7 + strspn(given + 7, " ");
    const char *plain = lmf_http_header(h, "x-api-key"); /* where Anthropic's clients send it */
    if (!given && plain && lmf_http_header_count(h, "x-api-key") == 1)
        return plain;
    lmf__refuse(f, 401, NULL, "invalid_api_key", "a key is needed: send it in the header Authorization, behind the word Bearer");
    return NULL;
}

bool lmf_guard_check_type(const lmf_http *h, lmf_fault *f)
{
    const char *type = lmf_http_header(h, "content-type");
    size_t n = type ? strcspn(type, "; \t") : 0;
    if (n == 16 && strncasecmp(type, "application/json", n) == 0)
        return true;
    return lmf__refuse(f, 415, NULL, NULL, "the body must be JSON, declared by Content-Type: application/json");
}
