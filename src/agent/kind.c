/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/kind.h"
#include <stdio.h>
#include <string.h>

lmf_status lmf_kind_find(lmf_ctx *ctx, const char *name, const lmf_kind **out)
{
    char names[256] = "";
    size_t at = 0;
    for (const lmf_kind *const *k = lmf__agent_kinds(); *k; k++) {
        if (strcmp((*k)->name, name) == 0)
            return *out = *k, LMF_OK;
        if (at + strlen((*k)->name) + 3 < sizeof names)
            at += (size_t)snprintf(names + at, sizeof names - at, "%s%s", at ? ", " : "", (*k)->name);
    }
    return LMF_FAIL(ctx, LMF_E_ARG, "there is no kind of agent \"%.64s\"; there are: %s", name, names);
}

lmf_status lmf__kind_spec(lmf_arena *a, const char *name, const char *const *text, int n, const char *last, const char **out)
{
    lmf_buf b;
    bool any = false;
    lmf_buf_init(&b, a->ctx, 1 << 20);
    lmf_status s = lmf_buf_puts(&b, name);
    for (int i = 0; !s && i < n + (last != NULL); i++) {
        const char *one = i < n ? text[i] : last;
        s = strchr(one, ',') ? LMF_FAIL(a->ctx, LMF_E_ARG, "\"%.200s\": a comma in a name parts two of them here; take another name", one)
          : lmf_buf_printf(&b, "%c%s", any ? ',' : ':', one);
        any = true;
    }
    if (!s && !(*out = lmf_arena_strdup(a, lmf_buf_str(&b))))
        s = LMF_NO_MEMORY(a->ctx, b.n, "a tool");
    lmf_buf_clear(&b);
    return s;
}
