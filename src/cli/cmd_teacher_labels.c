/* SPDX-License-Identifier: Apache-2.0 */
/* lmfast teacher-labels: a teacher's probabilities, computed once, for distill --teacher-labels. The rows are read by the settings
 * of train. */
#include <stdio.h>
#include <string.h>
#include "cli/command.h"
#include "train/labels.h"
#include "train/run_data.h"

typedef struct label_args {
    lmf_train_config c;              /* of it the settings of rows */
    const char *teacher, *student, *output, *type;
    int64_t top_k;
    double  temperature;
} label_args;

#define AT(member) offsetof(label_args, member)
static const lmf_flag flags[] = {
    { "teacher", 0, LMF_FLAG_STRING, AT(teacher), .required = true, .hub = LMF_HUB_MODEL,
      .help = "the model whose probabilities are kept: GGUF file, Hugging Face folder, or org/name of the hub" },
    { "student", 0, LMF_FLAG_STRING, AT(student), .hub = LMF_HUB_MODEL,
      .help = "the model that will learn, where its chat template is another than the teacher's: the rows are made as for it" },
    { "output", 'o', LMF_FLAG_STRING, AT(output), .required = true, .help = "new folder for the labels" },
    { "top-k", 'k', LMF_FLAG_INT, AT(top_k), 1, 1 << 24, .fallback = "64", .unit = "tokens",
      .help = "the likeliest of each place; of the others their sum is kept" },
    { "temperature", 0, LMF_FLAG_DOUBLE, AT(temperature), 1e-3, 1e3, .fallback = "2", .help = "that of distill" },
    { "type", 0, LMF_FLAG_CHOICE, AT(type), .fallback = "f16", .choices = "f16|f32", .help = "of the log-probabilities" },
    { 0 }
};

/* Settings of train that say what the rows are, by name. */
static int more_flags(lmf_arena *a, const lmf_tables *tables, lmf_flag *out, int n)
{
    static const char *const names[] = { "data", "val-set-size", "train-on", "drop-duplicates", "drop-empty", "bad-rows", "chat-template",
        "control-tokens", "seq-len", "too-long", "seed", "clock", "compute" };
    int count = sizeof names / sizeof *names;
    (void)a, (void)tables;
    for (int i = 0; i < count; i++) {
        const lmf_flag *f = i < n ? lmf_flag_find(lmf_train_fields, names[i], strlen(names[i])) : NULL;
        if (!f)
            return -1;
        out[i] = *f;
    }
    return count;
}

static bool step(void *user, int64_t done, int64_t total)
{
    (void)total;
    lmf_progress_step(user, done, NULL);
    return !lmf_cli_interrupted();
}

static lmf_status open_reader(lmf_cli *cli, label_args *a, lmf_model *m)
{
    if (a->c.chat_template) {
        lmf_status s = lmf_model_load_template(m, a->c.chat_template);
        if (s)
            return lmf_fail_prefix(cli->ctx, s, "--chat-template");
    }
    m->chat.control = lmf_control_of(a->c.control);
    m->chat.now_unix = a->c.clock_unix ? a->c.clock_unix : lmf_chat_now();
    return LMF_OK;
}

static lmf_status report(lmf_cli *cli, const label_args *a, const lmf_labels_info *info)
{
    char name[1024];
    if (cli->json)
        return lmf_cli_print_json(cli, json_pack("{s:o, s:I, s:i, s:f, s:s}", "output", lmf_json_string(a->output), "labels",
                                                 (json_int_t)info->n_labels, "top_k", info->k, "temperature", info->temperature, "digest",
                                                 info->digest));
    if (!cli->quiet)
        fprintf(stderr, "%lld labels of %d tokens each, in %s\n", (long long)info->n_labels, info->k,
                lmf_plain_text(a->output, name, sizeof name));
    return LMF_OK;
}

static lmf_status run(lmf_cli *cli, void *args)
{
    label_args *a = args;
    lmf_run_listener listener = { lmf_cli_note, cli };
    lmf_model *teacher = NULL, *student = NULL;
    lmf_dataset *data = NULL;
    lmf_labels_info info;
    lmf_progress bar;
    lmf_status s = lmf_model_open(cli->ctx, a->teacher, &teacher);
    if (s)
        return lmf_fail_prefix(cli->ctx, s, "--teacher");
    if (a->student && (s = lmf_model_open(cli->ctx, a->student, &student)))
        s = lmf_fail_prefix(cli->ctx, s, "--student");
    s = s || !student ? s : lmf_teacher_check(cli->ctx, student, teacher);
    lmf_model *reader = student ? student : teacher;
    s = s ? s : open_reader(cli, a, reader);
    s = s ? s : lmf__run_data_open(&a->c, reader, LMF_TAKES_SINGLE, &a->c.data, NULL, "--data", true, &listener, &data);
    if (!s) {
        lmf_progress_start(&bar, cli, "rows", data->train->n);
        s = lmf_labels_write(cli->ctx, &(lmf_labels_make){ .dir = a->output, .device = cli->device, .teacher = teacher, .reader = student,
            .samples = data->train, .k = (int32_t)a->top_k, .temperature = a->temperature, .f32 = !strcmp(a->type, "f32"),
            .compute = strcmp(a->c.compute, "f32") != 0, .clock_unix = reader->chat.now_unix, .progress = step, .user = &bar }, &info);
        lmf_progress_end(&bar);
    }
    s = s ? s : report(cli, a, &info);
    lmf_dataset_close(data);
    lmf_model_close(student);
    lmf_model_close(teacher);
    return s;
}

const lmf_command lmf_command_teacher_labels = { "teacher-labels", "keep a teacher's probabilities, for distill --teacher-labels", flags,
    sizeof(label_args), run, .more = more_flags,
    .example = "lmfast teacher-labels --teacher SmolLM2-1.7B-Instruct.gguf --data rows.jsonl --output labels" };
