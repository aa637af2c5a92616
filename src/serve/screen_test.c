/* SPDX-License-Identifier: Apache-2.0 */
/* What of JSON passes a policy, and that nothing does where a check fails: a recognizer that fails or lies, memory that ends at any
 * allocation. */
#include "serve/screen.h"
#include <stdlib.h>
#include <string.h>
#include "config/guard_policy.h"
#include "test.h"

static lmf_screen screen_of(lmf_ctx *ctx, const char *policy)
{
    lmf_screen c = { .ctx = ctx };
    assert_ok(ctx, lmf_guard_policy_parse(ctx, "p.yaml", policy, strlen(policy), &c.policy));
    return c;
}

static void values_of_json(void **state)
{
    (void)state;
    static const struct { const char *text, *want; lmf_verdict verdict; } rows[] = {
        { "{\"a\": \"hello\", \"b\": [1, null]}", "{\"a\": \"hello\", \"b\": [1, null]}", LMF_PASSED }, /* the same bytes */
        { "{\"to\":\"bob\\u0040ex.nl\"}", "{\"to\":\"<EMAIL_ADDRESS>\"}", LMF_CHANGED },
        { "{\"to\":\"a\\nbob@ex.nl\"}", "{\"to\":\"a\\n<EMAIL_ADDRESS>\"}", LMF_CHANGED },
        { "[[{\"x\":[\"10.0.0.7\"]}]]", "[[{\"x\":[\"********\"]}]]", LMF_CHANGED },
        { "\"bob@ex.nl\"", "\"<EMAIL_ADDRESS>\"", LMF_CHANGED },
        { "{\"n\":123.5e2,\"m\":-4}", "{\"n\":123.5e2,\"m\":-4}", LMF_PASSED },
        { "{\"card\":4111111111111111}", "", LMF_BLOCKED }, { "{\"card\":\"4111 1111\\u00201111 1111\"}", "", LMF_BLOCKED },
        { "{\"bob@ex.nl\":1}", "", LMF_BLOCKED }, { "[1,{\"a\":{\"4111111111111111\":1}}]", "", LMF_BLOCKED },
        { "{\"to\": \"bob@ex", "{\"to\": \"bob@ex", LMF_PASSED },                           /* cut off */
        { "{\"to\": \"bob@ex.nl", "", LMF_BLOCKED }, { "{\"to\": \"bob\\u0040ex.nl", "", LMF_BLOCKED },
        { "{\"to\": \"a\\nbob@ex.nl\", \"b", "", LMF_BLOCKED }, { "{\"to\": \"\\u00", "{\"to\": \"\\u00", LMF_PASSED } };
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_screen c = screen_of(ctx, "entities:\n  CREDIT_CARD: block\n  IP_ADDRESS: mask\n");
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        lmf_buf out;
        int by = -1;
        lmf_buf_init(&out, ctx, 1 << 16);
        lmf_verdict v = lmf__screen_json(&c, LMF_WAY_OUT, rows[i].text, strlen(rows[i].text), &out, &by);
        if (v != rows[i].verdict || strcmp(lmf_buf_str(&out), rows[i].want))
            fail_msg("%s: %d, %s", rows[i].text, (int)v, lmf_buf_str(&out));
        if (v == LMF_BLOCKED)
            assert_in_range(by, 0, LMF_GUARD_PHRASE);
        lmf_buf_clear(&out);
    }
    lmf_test_ctx_done(ctx);
}

/* ---- planted faults: every way in with every fault; the secret never comes out ---- */

static lmf_match fails(lmf_guard_text *t, size_t at)
{
    (void)at;
    t->failed = "its model's file is gone";
    return (lmf_match){ 0 };
}
static lmf_match beyond(lmf_guard_text *t, size_t at) { return (lmf_match){ t->n - at + 1, 1 }; }
static lmf_match unsure(lmf_guard_text *t, size_t at) { return (lmf_match){ 1, lmf_guard_at(t, at) ? 0.0f / 0.0f : 1 }; }
static lmf_match too_sure(lmf_guard_text *t, size_t at) { return (lmf_match){ 1, lmf_guard_at(t, at) ? 2 : 1 }; }

static const char secret[] = "see zq-secret at once";
enum { WAY_TEXT, WAY_JSON, WAY_CUT, WAY_CHAT, WAY_PARTS, WAY_KEYS, WAY_PROMPT, WAY_IDS, N_WAYS };

/* Whether the secret, or nothing that tells of a refusal, came out. */
static bool passes_silently(lmf_screen *c, int way)
{
    lmf_buf out;
    lmf_fault f = { 0 };
    int by;
    bool let = false;
    json_t *j = NULL, *now = NULL;
    lmf_buf_init(&out, c->ctx, 1 << 16);
    switch (way) {
    case WAY_TEXT: let = lmf__screen_text(c, LMF_WAY_OUT, secret, sizeof secret - 1, &out, &by) < LMF_BLOCKED; break;
    case WAY_JSON: let = lmf__screen_json(c, LMF_WAY_OUT, "[\"zq-secret\"]", 13, &out, &by) < LMF_BLOCKED; break;
    case WAY_CUT: let = lmf__screen_json(c, LMF_WAY_OUT, "[\"zq-secret", 11, &out, &by) < LMF_BLOCKED; break;
    case WAY_CHAT: j = json_pack("{s:[{s:s, s:s}]}", "messages", "role", "user", "content", secret); break;
    case WAY_PARTS:
        j = json_pack("{s:[{s:s, s:[{s:s},{s:s}]}]}", "messages", "role", "user", "content", "text", "see zq-sec", "text", "ret");
        break;
    case WAY_KEYS: j = json_pack("{s:[{s:s, s:s}], s:[{s:i}]}", "messages", "role", "user", "content", "a", "tools", "zq-secret", 1); break;
    case WAY_PROMPT:
        now = json_string(secret);
        let = lmf__screen_prompt(c, "prompt", now, &j, &f);
        json_decref(now);
        now = NULL;
        break;
    default: let = lmf__screen_decoded(c, "prompt", secret, sizeof secret - 1, &f);
    }
    if (way == WAY_CHAT || way == WAY_PARTS || way == WAY_KEYS)
        let = j && lmf__screen_request(c, j, &f);
    char *text = j ? json_dumps(j, JSON_ENCODE_ANY) : NULL;
    bool shown = strstr(lmf_buf_str(&out), "zq-secret") || (let && text && strstr(text, "zq-sec"));
    bool told = let || way <= WAY_CUT || (f.status >= 400 && f.message[0] && !strstr(f.message, "zq-"));
    free(text); /* allowed: jansson's own memory */
    json_decref(j);
    lmf_buf_clear(&out);
    return shown || !told;
}

static int allowed; /* allocations until none succeeds */
static lmf_alloc_fn honest;
static void *honest_user;

static void *refusing(void *user, void *p, size_t old_n, size_t new_n)
{
    (void)user;
    if (new_n > 0 && allowed-- <= 0)
        return NULL;
    return honest(honest_user, p, old_n, new_n);
}

static void planted_faults(void **state)
{
    (void)state;
    static lmf_match (*const faults[])(lmf_guard_text *, size_t) = { fails, beyond, unsure, too_sure };
    lmf_ctx *ctx = lmf_test_ctx();
    const lmf_tables *all = ctx->tables;
    lmf_screen c = screen_of(ctx, "entities:\n  DEFAULT: replace\n");
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        lmf_recognizer bad = { "A", "", "z", NULL, faults[i] };
        const lmf_recognizer *const list[] = { &bad, NULL };
        lmf_tables mine = *all;
        mine.recognizers = list;
        ctx->tables = &mine;
        for (int way = 0; way < N_WAYS; way++)
            if (passes_silently(&c, way))
                fail_msg("fault %zu passes silently on way %d", i, way);
        ctx->tables = all;
    }
    assert_true(c.n_failed[LMF_WAY_IN] > 0 && c.n_failed[LMF_WAY_OUT] > 0);
    c = screen_of(ctx, "phrases: [zq-secret]\n");
    honest = ctx->alloc, honest_user = ctx->alloc_user;
    ctx->alloc = refusing;
    for (int way = 0; way < N_WAYS; way++)
        for (int n = 0; n < 40; n++) {
            allowed = n;
            if (passes_silently(&c, way))
                fail_msg("without the allocation %d, way %d passes silently", n, way);
        }
    ctx->alloc = honest;
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(screen) = { { "values of JSON", values_of_json }, { "planted faults", planted_faults }, { 0 } };
