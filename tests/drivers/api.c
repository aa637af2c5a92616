/* SPDX-License-Identifier: Apache-2.0 */
/* The library from many threads, and made and destroyed many times:  driver_api MODEL CYCLES CALLS
 * Prints one JSON object: bytes that the context held before and after, kilobytes resident after a tenth and at the end, what went wrong.
 * */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "lmfast/lmfast.h"

enum { THREADS = 8, TEXT = 4096 };
typedef struct job { lmfast_engine *engine; int i, calls, wrong; char want[TEXT]; } job;

static long resident_kb(void)
{
    long pages[2] = { 0 };
    FILE *f = fopen("/proc/self/statm", "r");
    if (f && fscanf(f, "%ld %ld", &pages[0], &pages[1]) != 2)
        pages[1] = 0;
    if (f)
        fclose(f);
    return pages[1] * (sysconf(_SC_PAGESIZE) / 1024);
}

/* The answer of thread i's prompt and seed into text. */
static lmfast_status answer(lmfast_session *s, int i, char *text)
{
    char prompt[32];
    lmfast_piece piece = { .struct_bytes = sizeof piece };
    lmfast_gen_opts gen = lmfast_gen_opts_default();
    gen.max_tok = 6, gen.seed = (uint64_t)i, gen.ignore_eos = true;
    snprintf(prompt, sizeof prompt, "prompt %d", i);
    lmfast_status status = lmfast_session_set_text(s, prompt, strlen(prompt));
    if (!status)
        status = lmfast_session_generate(s, &gen);
    size_t n = 0;
    while (!status && !piece.finish && !(status = lmfast_session_next(s, -1, &piece)) && n + piece.n_bytes < TEXT) {
        memcpy(text + n, piece.text, piece.n_bytes);
        n += piece.n_bytes;
    }
    text[n] = 0;
    return status;
}

/* Each thread sees its own failure's sentence. */
static bool fails_alone(lmfast_session *s, lmfast_context *ctx, int i)
{
    char words[32];
    lmfast_gen_opts gen = lmfast_gen_opts_default();
    gen.max_tok = -1 - i;
    snprintf(words, sizeof words, "max_tok is %d;", gen.max_tok);
    return lmfast_session_generate(s, &gen) == LMFAST_E_ARG && strstr(lmfast_error(ctx), words) && lmfast_error_status(ctx) == LMFAST_E_ARG;
}

static void *work(void *p)
{
    job *j = p;
    char text[TEXT];
    lmfast_session *s;
    lmfast_context *ctx = lmfast_model_context(lmfast_engine_model(j->engine));
    if (lmfast_session_create(j->engine, NULL, &s))
        return j->wrong++, NULL;
    for (int k = 0; k < j->calls; k++)
        j->wrong += answer(s, j->i, text) || strcmp(text, j->want) || !fails_alone(s, ctx, j->i);
    lmfast_session_destroy(s);
    return NULL;
}

/* Destroyed in any order: what was made from a handle keeps it alive. */
static int cycle(lmfast_context *ctx, const char *path, int i)
{
    char text[TEXT];
    lmfast_model *m = NULL;
    lmfast_engine *e = NULL;
    lmfast_session *s = NULL;
    lmfast_engine_opts o = lmfast_engine_opts_default();
    o.max_sessions = 1, o.context = 64;
    int wrong = lmfast_model_open(ctx, path, NULL, &m) || lmfast_engine_create(m, &o, &e) || lmfast_session_create(e, NULL, &s);
    if (i % 2)
        lmfast_model_close(m), lmfast_engine_destroy(e);
    wrong = wrong || (i % 10 == 0 && answer(s, i, text));
    lmfast_session_destroy(s);
    if (i % 2 == 0)
        lmfast_engine_destroy(e), lmfast_model_close(m);
    return wrong;
}

int main(int argc, char **argv)
{
    lmfast_context *ctx, *other;
    lmfast_model *m;
    job jobs[THREADS];
    pthread_t threads[THREADS];
    uint64_t before, after;
    int wrong = 0, cycles = argc == 4 ? atoi(argv[2]) : 0, calls = argc == 4 ? atoi(argv[3]) : 0;
    if (cycles < 1 || calls < 1 || lmfast_context_create(&ctx) || lmfast_context_set_threads(ctx, 2))
        return fprintf(stderr, "usage: driver_api MODEL CYCLES CALLS\n"), 2;
    wrong += cycle(ctx, argv[1], 10);
    lmfast_context_memory(ctx, &before, NULL);
    long early = 0;
    for (int i = 0; i < cycles; i++) {
        wrong += cycle(ctx, argv[1], i);
        wrong += lmfast_context_create(&other) != 0;
        lmfast_context_destroy(other);
        if (i == cycles / 10)
            early = resident_kb();
    }
    long late = resident_kb();
    lmfast_context_memory(ctx, &after, NULL);
    lmfast_engine *engine = NULL;
    lmfast_session *s = NULL;
    if (lmfast_model_open(ctx, argv[1], NULL, &m) || lmfast_engine_create(m, NULL, &engine) || lmfast_session_create(engine, NULL, &s))
        return fprintf(stderr, "%s\n", lmfast_error(ctx)), 1;
    for (int i = 0; i < THREADS; i++) {
        jobs[i] = (job){ .engine = engine, .i = i, .calls = calls };
        wrong += answer(s, i, jobs[i].want) != 0;
    }
    lmfast_session_destroy(s);
    for (int i = 0; i < THREADS; i++)
        wrong += pthread_create(&threads[i], NULL, work, &jobs[i]) != 0;
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
        wrong += jobs[i].wrong;
    }
    lmfast_engine_destroy(engine);
    lmfast_model_close(m);
    printf("{\"wrong\": %d, \"bytes_before\": %llu, \"bytes_after\": %llu, \"early_kb\": %ld, \"late_kb\": %ld}\n", wrong,
           (unsigned long long)before,
           (unsigned long long)after, early, late);
    lmfast_context_destroy(ctx);
    return wrong != 0;
}
