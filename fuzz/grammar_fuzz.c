/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzz target: any bytes as a JSON schema, a GBNF grammar or a regular expression (by the first byte: s, g, r), over a vocabulary of
 * bytes and some
 * pairs. What compiles has a shortest answer; a walk with little room is never stuck and ends. */
#include <stdio.h>
#include <string.h>
#include "text/grammar/grammar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);
extern const lmf_tables lmf_all_tables;

enum { N_TOKENS = 256 + 16 + 1 };

static void walk(lmf_ctx *ctx, lmf_grammar *g, uint64_t seed)
{
    lmf_matcher *m = NULL;
    uint32_t bits[(N_TOKENS + 31) / 32];
    int left;
    if (lmf_matcher_open(g, &m))
        return;
    if (!lmf_matcher_shortest(m, &left, NULL) && left < 2000) {
        for (left += 20; !lmf_matcher_ended(m); left--) {
            int n = 0, pick;
            lmf_status s = lmf_matcher_mask(m, left, bits);
            LMF_ASSERT(s == LMF_OK || (s == LMF_E_LIMIT && strstr(lmf_error(ctx), "too large")));
            if (s)
                break;
            for (size_t i = 0; i < sizeof bits / sizeof *bits; i++)
                n += __builtin_popcount(bits[i]);
            LMF_ASSERT(n > 0 && left > 0);
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            pick = (int)(seed >> 33) % n;
            int32_t id = 0;
            for (;; id++)
                if ((bits[id / 32] >> id % 32 & 1) && pick-- == 0)
                    break;
            s = lmf_matcher_accept(m, id);
            LMF_ASSERT(s == LMF_OK || s == LMF_E_LIMIT);
            if (s)
                break;
        }
    }
    lmf_matcher_close(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
    static const char *const pair[16] = { "\"}", "\":", "\",", "ab", "tr", "12", "{\"", "]}", "}}", "\\n", "na", "me", "[{", "],", "id",
        "xy" };
    char text[N_TOKENS][12];
    const char *token[N_TOKENS];
    uint8_t kind[N_TOKENS];
    lmf_ctx ctx;
    lmf_vocab v;
    lmf_tokenizer *t = NULL;
    lmf_grammar_vocab *gv = NULL;
    lmf_grammar *g = NULL;
    lmf_grammar_opts o = lmf_grammar_opts_default();
    o.max_bytes = 8 << 20, o.max_work = 5000;
    lmf_ctx_init(&ctx, &lmf_all_tables);
    lmf_vocab_init(&v);
    for (int b = 0, next = 256; b < N_TOKENS; b++) {
        bool itself = (b >= 33 && b <= 126) || (b >= 161 && b <= 172) || (b >= 174 && b < 256);
        int c = itself ? b : next++;
        snprintf(text[b], sizeof *text, "%s", b >= 256 ? b == N_TOKENS - 1 ? "<|end|>" : pair[b - 256] : "");
        if (b < 256)
            memcpy(text[b], c < 0x80 ? (char[]){ (char)c, 0, 0 } : (char[]){ (char)(0xc0 | c >> 6), (char)(0x80 | (c & 0x3f)), 0 }, 3);
        token[b] = text[b], kind[b] = b == N_TOKENS - 1 ? LMF_TOKEN_CONTROL : LMF_TOKEN_NORMAL;
    }
    v.pretok = "gpt-2", v.n_tokens = N_TOKENS, v.token = token, v.kind = kind, v.eos = N_TOKENS - 1;
    LMF_ASSERT(lmf_tokenizer_create(&ctx, &v, &t) == LMF_OK && lmf_grammar_vocab_create(&ctx, t, NULL, 0, &gv) == LMF_OK);
    const char *p = (const char *)data + 1;
    if (n && *data == 's') {
        json_t *schema = json_loadb(p, n - 1, JSON_DECODE_ANY | JSON_REJECT_DUPLICATES, NULL);
        if (schema)
            (void)lmf_grammar_compile_json_schema(&ctx, gv, schema, &o, &g);
        json_decref(schema);
    } else if (n && *data == 'g') {
        (void)lmf_grammar_compile_gbnf(&ctx, gv, p, n - 1, &o, &g);
    } else if (n && *data == 'r') {
        (void)lmf_grammar_compile_regex(&ctx, gv, p, n - 1, &o, &g);
    }
    for (uint64_t seed = 1; g && seed < 4; seed++)
        walk(&ctx, g, seed);
    lmf_grammar_destroy(g);
    lmf_grammar_vocab_destroy(gv);
    lmf_tokenizer_destroy(t);
    LMF_ASSERT(ctx.live_bytes == 0);
    lmf_ctx_clear(&ctx);
    return 0;
}
