/* SPDX-License-Identifier: Apache-2.0 */
/* bench_mask [MODEL [CASES [ROUNDS]]]: time of masks over the real vocabulary. For each case its schema is compiled anew, then for each
 * answer a matcher takes its tokens; each mask is made first. JSON: the answers' tokens too, for the peer (bench/peers/llguidance_mask.py).
 * Nothing is kept from one round to the next but the vocabulary, so the first masks of a schema count. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "models/model.h"
#include "registry/registry.h"
#include "text/grammar/grammar.h"

typedef struct samples { double *of; size_t n, cap; } samples;
typedef struct bench {
    lmf_ctx *ctx;
    lmf_model *model;
    lmf_grammar_vocab *vocab;
    uint32_t *bits;
    samples mask, compile;
} bench;

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return 1e6 * (double)t.tv_sec + 1e-3 * (double)t.tv_nsec;
}

static void add(samples *s, double x)
{
    if (s->n == s->cap) {
        s->cap = 2 * s->cap + 1024;
        s->of = realloc(s->of, s->cap * sizeof *s->of);
        if (!s->of)
            exit(1);
    }
    s->of[s->n++] = x;
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static json_t *summary(samples *s)
{
    double sum = 0;
    qsort(s->of, s->n, sizeof *s->of, compare);
    for (size_t i = 0; i < s->n; i++)
        sum += s->of[i];
    return json_pack("{s:I, s:f, s:f, s:f, s:f}", "n", (json_int_t)s->n, "mean_us", sum / (double)s->n, "p50_us", s->of[s->n / 2], "p99_us",
                     s->of[s->n - 1 - s->n / 100], "max_us", s->of[s->n - 1]);
}

static lmf_status one_answer(bench *b, lmf_grammar *g, const char *text, size_t n, samples *own, json_t *tokens)
{
    lmf_ids ids;
    lmf_matcher *m;
    lmf_ids_init(&ids, b->ctx, 1 << 16);
    lmf_status s = lmf_tokenizer_encode(b->model->tokenizer, text, n, LMF_ENCODE_PLAIN, &ids);
    s = s ? s : lmf_matcher_open(g, &m);
    for (size_t i = 0; !s && i <= ids.n; i++) {
        double t = now();
        s = lmf_matcher_mask(m, -1, b->bits);
        t = now() - t;
        add(&b->mask, t), add(own, t);
        if (i == ids.n || s)
            break;
        if (!(b->bits[ids.data[i] / 32] >> ids.data[i] % 32 & 1))
            s = LMF_FAIL(b->ctx, LMF_E_INTERNAL, "token %zu of %s is not allowed", i, text);
        s = s ? s : lmf_matcher_accept(m, ids.data[i]);
        if (tokens)
            json_array_append_new(tokens, json_integer(ids.data[i]));
    }
    if (!s)
        lmf_matcher_close(m);
    lmf_ids_clear(&ids);
    return s;
}

static lmf_status one_case(bench *b, json_t *c, samples *own, bool first)
{
    lmf_grammar *g;
    json_t *answers = json_object_get(c, "answers"), *a, *all = first ? json_array() : NULL;
    size_t i;
    double t = now();
    LMF_TRY(lmf_grammar_compile_json_schema(b->ctx, b->vocab, json_object_get(c, "schema"), NULL, &g));
    add(&b->compile, now() - t);
    lmf_status s = LMF_OK;
    json_array_foreach(answers, i, a) {
        json_t *tokens = first ? json_array() : NULL;
        s = s ? s : one_answer(b, g, json_string_value(a), json_string_length(a), own, tokens);
        if (first)
            json_array_append_new(all, tokens);
    }
    lmf_grammar_destroy(g);
    if (first)
        json_object_set_new(c, "tokens", all);
    return s;
}

static void cpu_name(char *name, int n)
{
    char line[256];
    FILE *f = fopen("/proc/cpuinfo", "r");
    snprintf(name, (size_t)n, "unknown");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "model name : %199[^\n]", name) == 1)
            break;
    if (f)
        fclose(f);
}

int main(int argc, char **argv)
{
    bench b = { 0 };
    char model[1024], cpu[256];
    snprintf(model, sizeof model, "%s/.cache/lmfast/models/SmolLM2-135M-Instruct.Q4_1.gguf", getenv("HOME") ? getenv("HOME") : ".");
    const char *cases_path = argc > 2 ? argv[2] : "bench/mask_cases.json";
    long rounds = argc > 3 ? strtol(argv[3], NULL, 10) : 20;
    json_t *cases = json_load_file(cases_path, 0, NULL), *c;
    if (!cases || lmf_ctx_create(&b.ctx)) {
        fprintf(stderr, "%s could not be read\n", cases_path);
        return 1;
    }
    size_t i;
    lmf_status s = lmf_model_open(b.ctx, argc > 1 ? argv[1] : model, &b.model);
    double t = now();
    s = s ? s : lmf_grammar_vocab_create(b.ctx, b.model->tokenizer, NULL, 0, &b.vocab);
    double vocab_us = now() - t;
    b.bits = calloc(65536, sizeof *b.bits);
    samples *own = calloc(json_array_size(cases) + 1, sizeof *own);
    for (long r = 0; r < rounds && !s && b.bits && own; r++)
        json_array_foreach(cases, i, c)
            s = s ? s : one_case(&b, c, &own[i], r == 0);
    if (s) {
        fprintf(stderr, "%s\n", lmf_error(b.ctx));
        return 1;
    }
    json_array_foreach(cases, i, c)
        json_object_set_new(c, "mask", summary(&own[i]));
    cpu_name(cpu, sizeof cpu);
    json_t *out = json_pack("{s:s, s:s, s:I, s:f, s:o, s:o, s:o}", "program", "lmfast", "processor", cpu, "rounds", (json_int_t)rounds,
        "vocabulary_us",
                            vocab_us, "mask", summary(&b.mask), "compile", summary(&b.compile), "cases", cases);
    json_dumpf(out, stdout, JSON_COMPACT);
    putchar('\n');
    return 0;
}
