/* SPDX-License-Identifier: Apache-2.0 */
/* Fine-tunes a model on rows and writes the adapter:  finetune MODEL ROWS STEPS ADAPTER */
#include <stdio.h>
#include <lmfast/lmfast.h>

static void log_line(void *user, int32_t level, const char *sentence)
{
    (void)user;
    fprintf(stderr, "%s%s\n", level == LMFAST_LOG_WARNING ? "warning: " : "", sentence);
}

int main(int argc, char **argv)
{
    lmfast_context *ctx = NULL;
    lmfast_model *model = NULL;
    lmfast_dataset *rows = NULL;
    lmfast_settings *settings = NULL;
    lmfast_trainer *trainer = NULL;
    lmfast_train_stats stats = { .struct_bytes = sizeof stats };
    if (argc != 5)
        return fprintf(stderr, "usage: finetune MODEL ROWS STEPS ADAPTER\n"), 2;
    if (lmfast_context_create(&ctx))
        return fprintf(stderr, "out of memory\n"), 1;
    lmfast_context_set_log(ctx, log_line, NULL);

    const char *const set[][2] = { { "max-steps", argv[3] }, { "batch-size", "8" }, { "lr", "1e-3" } };
    lmfast_status s = lmfast_model_open(ctx, argv[1], NULL, &model);
    if (!s)
        s = lmfast_dataset_open(ctx, argv[2], NULL, &rows);
    if (!s)
        s = lmfast_settings_create(ctx, "train", &settings);
    for (size_t i = 0; !s && i < sizeof set / sizeof *set; i++)
        s = lmfast_settings_set(settings, set[i][0], set[i][1]);
    if (!s)
        s = lmfast_trainer_create(model, rows, NULL, settings, &trainer);
    while (!s && !lmfast_trainer_is_done(trainer)) {
        s = lmfast_trainer_step(trainer, &stats);
        if (!s)
            printf("step %lld of %lld: loss %.4f\n", (long long)stats.step, (long long)stats.n_steps, stats.loss);
    }
    if (!s)
        s = lmfast_trainer_save_adapter(trainer, argv[4]);
    if (s)
        fprintf(stderr, "%s\n", lmfast_error(ctx));
    lmfast_trainer_destroy(trainer);
    lmfast_settings_destroy(settings);
    lmfast_dataset_close(rows);
    lmfast_model_close(model);
    lmfast_context_destroy(ctx);
    return s != 0;
}
