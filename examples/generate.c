/* SPDX-License-Identifier: Apache-2.0 */
/* Loads a model and goes on from a text:  generate MODEL TEXT
 *
 *     cc generate.c $(pkg-config --cflags --libs lmfast) -o generate */
#include <stdio.h>
#include <string.h>
#include <lmfast/lmfast.h>

int main(int argc, char **argv)
{
    lmfast_context *ctx = NULL;
    lmfast_model *model = NULL;
    lmfast_engine *engine = NULL;
    lmfast_session *session = NULL;
    lmfast_piece piece = { .struct_bytes = sizeof piece };
    if (argc != 3)
        return fprintf(stderr, "usage: generate MODEL TEXT\n"), 2;
    if (lmfast_context_create(&ctx))
        return fprintf(stderr, "out of memory\n"), 1;

    lmfast_gen_opts gen = lmfast_gen_opts_default();
    gen.max_tok = 32;
    gen.temperature = 0;
    lmfast_status s = lmfast_model_open(ctx, argv[1], NULL, &model);
    if (!s)
        s = lmfast_engine_create(model, NULL, &engine);
    if (!s)
        s = lmfast_session_create(engine, NULL, &session);
    if (!s)
        s = lmfast_session_set_text(session, argv[2], strlen(argv[2]));
    if (!s)
        s = lmfast_session_generate(session, &gen);
    while (!s && !piece.finish) {
        s = lmfast_session_next(session, -1, &piece);
        if (!s) {
            fwrite(piece.text, 1, piece.n_bytes, stdout);
            fflush(stdout);
        }
    }
    lmfast_answer_info info = { .struct_bytes = sizeof info };
    if (!s)
        s = lmfast_session_get_info(session, &info);
    if (s)
        fprintf(stderr, "%s\n", lmfast_error(ctx));
    else
        printf("\n[%d tokens of prompt, %d written]\n", info.n_prompt, info.n_answer);
    lmfast_session_destroy(session);
    lmfast_engine_destroy(engine);
    lmfast_model_close(model);
    lmfast_context_destroy(ctx);
    return s != 0;
}
