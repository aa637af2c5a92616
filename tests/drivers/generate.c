/* SPDX-License-Identifier: Apache-2.0 */
/* generate MODEL [--compute 0|1] [--chunk N] [--seqs N] [--new N] [--adapter DIR] [--score] : prompts as token ids on stdin, one a
 * line; all of them are given to one engine at once. On stdout for each "id:logp id:logp ...", greedy and past any end; with
 * --score the log-probability of each token of the prompt instead. For oracles. */
#include <stdio.h>
#include <string.h>
#include "infer/engine.h"
#include "registry/registry.h"

enum { MAX_PROMPTS = 512 };

static int fail(lmf_ctx *ctx)
{
    fprintf(stderr, "%s\n", lmf_error(ctx));
    return 1;
}

static int print_one(lmf_ctx *ctx, lmf_session *s, const int32_t *id, int n, const float *score)
{
    lmf_token tok[64];
    for (int i = 0; score && i < n; i++)
        printf("%s%d:%.6f", i ? " " : "", id[i], (double)score[i]);
    for (int k = 1, first = 1; k && !score;) {
        if (lmf_session_read(s, tok, 64, &k))
            return fail(ctx);
        for (int i = 0; i < k; i++, first = 0)
            printf("%s%d:%.6f", first ? "" : " ", tok[i].id, (double)tok[i].logp);
    }
    putchar('\n');
    return 0;
}

int main(int argc, char **argv)
{
    static char line[1 << 20];
    static int32_t id[MAX_PROMPTS][4096];
    static float score[MAX_PROMPTS][4096];
    static lmf_session *s[MAX_PROMPTS];
    lmf_ctx *ctx;
    lmf_model *m;
    lmf_engine *e;
    lmf_engine_opts o = lmf_engine_opts_default();
    lmf_gen_opts gen = lmf_gen_opts_default();
    const char *adapter = NULL;
    int n = 0, count[MAX_PROMPTS], live = 1;
    if (argc < 2 || lmf_ctx_create(&ctx))
        return 2;
    gen.ignore_eos = true;
    for (int i = 2; i + 1 < argc + (strcmp(argv[argc - 1], "--score") == 0); i += 2) {
        int v = i + 1 < argc ? atoi(argv[i + 1]) : 0;
        if (strcmp(argv[i], "--compute") == 0) o.compute = v;
        if (strcmp(argv[i], "--chunk") == 0) o.prefill_chunk = v;
        if (strcmp(argv[i], "--seqs") == 0) o.max_seqs = v;
        if (strcmp(argv[i], "--new") == 0) gen.max_tok = v;
        if (strcmp(argv[i], "--adapter") == 0) adapter = argv[i + 1];
        if (strcmp(argv[i], "--score") == 0) o.score = true;
    }
    o.adapters = &adapter, o.n_adapters = adapter != NULL;
    o.cache_tok = 16384;
    if (lmf_model_open(ctx, argv[1], &m) || lmf_engine_create(ctx, m, &o, &e))
        return fail(ctx);
    for (; n < MAX_PROMPTS && fgets(line, sizeof line, stdin); n++) {
        count[n] = 0;
        for (char *p = strtok(line, " \n"); p && count[n] < 4096; p = strtok(NULL, " \n"))
            id[n][count[n]++] = atoi(p);
        if (lmf_session_create(e, &(lmf_session_opts){ sizeof(lmf_session_opts), adapter ? 0 : -1 }, &s[n]))
            return fail(ctx);
        if (o.score ? lmf_session_score(s[n], id[n], count[n], score[n])
                    : lmf_session_append(s[n], id[n], count[n], NULL) || lmf_session_generate(s[n], &gen))
            return fail(ctx);
    }
    while (live)
        if (lmf_engine_step(e, &live))
            return fail(ctx);
    for (int i = 0; i < n; i++)
        if (print_one(ctx, s[i], id[i], count[i], o.score ? score[i] : NULL))
            return 1;
    lmf_engine_destroy(e);
    lmf_model_close(m);
    lmf_ctx_destroy(ctx);
    return 0;
}
