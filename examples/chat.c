/* SPDX-License-Identifier: Apache-2.0 */
/* A conversation inside of a program: each line of standard input is asked, the answer is streamed:  chat MODEL [ADAPTER] */
#include <stdio.h>
#include <string.h>
#include <lmfast/lmfast.h>

static lmfast_status answer(lmfast_chat *chat, const char *question, const lmfast_gen_opts *gen)
{
    lmfast_piece piece = { .struct_bytes = sizeof piece };
    lmfast_status s = lmfast_chat_ask(chat, question, gen);
    while (!s && !piece.finish) {
        s = lmfast_chat_next(chat, -1, &piece);
        if (!s) {
            fwrite(piece.text, 1, piece.n_bytes, stdout);
            fflush(stdout);
        }
    }
    if (!s)
        putchar('\n');
    return s;
}

int main(int argc, char **argv)
{
    lmfast_context *ctx = NULL;
    lmfast_model *model = NULL;
    lmfast_engine *engine = NULL;
    lmfast_chat *chat = NULL;
    char line[4096];
    if (argc < 2 || argc > 3)
        return fprintf(stderr, "usage: chat MODEL [ADAPTER]\n"), 2;
    if (lmfast_context_create(&ctx))
        return fprintf(stderr, "out of memory\n"), 1;

    lmfast_engine_opts opts = lmfast_engine_opts_default();
    const char *adapter = argc > 2 ? argv[2] : NULL;
    opts.adapters = &adapter;
    opts.n_adapters = adapter != NULL;
    opts.max_sessions = 1;
    lmfast_gen_opts gen = lmfast_gen_opts_default();
    gen.max_tok = 64;
    gen.temperature = 0;
    lmfast_status s = lmfast_model_open(ctx, argv[1], NULL, &model);
    if (!s)
        s = lmfast_engine_create(model, &opts, &engine);
    if (!s)
        s = lmfast_chat_create(engine, "You are a helpful assistant.", NULL, &chat);
    while (!s && fgets(line, sizeof line, stdin)) {
        line[strcspn(line, "\n")] = 0;
        if (*line)
            s = answer(chat, line, &gen);
    }
    if (s)
        fprintf(stderr, "%s\n", lmfast_error(ctx));
    lmfast_chat_destroy(chat);
    lmfast_engine_destroy(engine);
    lmfast_model_close(model);
    lmfast_context_destroy(ctx);
    return s != 0;
}
