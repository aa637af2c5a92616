/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <string.h>
#include "cli/conversation.h"
#include "export/export.h"
#include "format/json.h"

typedef struct export_args {
    const char *model, *adapter, *output, *format, *quant, *chat_template;
    const char *operators;
    bool        overwrite, verify, load_in_4bit, external;
} export_args;

#define AT(member) offsetof(export_args, member)
static const lmf_flag flags[] = {
    { "model", 'm', LMF_FLAG_STRING, AT(model), .required = true, .hub = LMF_HUB_MODEL,
        .help = "GGUF file, Hugging Face folder, or org/name of the hub" },
    { "adapter", 'a', LMF_FLAG_STRING, AT(adapter), .hub = LMF_HUB_ADAPTER, .help = "LoRA adapter to merge: a PEFT folder" },
    { "output", 'o', LMF_FLAG_STRING, AT(output), .required = true, .help = "file (gguf) or folder (hf, onnx) to write" },
    { "format", 'f', LMF_FLAG_CHOICE, AT(format), .fallback = "gguf", .choices = "gguf|hf|onnx",
        .help = "gguf: one file for llama.cpp and others; hf: folder for transformers; onnx: folder for onnxruntime and Transformers.js, "
                "--quant f32, f16, q4_0 or q4f16" },
    { "onnx-operators", 0, LMF_FLAG_CHOICE, AT(operators), .fallback = "standard", .choices = "standard|microsoft",
        .help = "of --format onnx. standard: ONNX's own, opset 21; microsoft: onnxruntime's for attention and 4-bit matrices, for texts that are "
                "not padded on the left" },
    { "external-data", 0, LMF_FLAG_BOOL, AT(external),
      .help = "of --format onnx: tensors in a file of their own beside the model, as is done anyway from 2 GB on" },
    { "overwrite", 0, LMF_FLAG_BOOL, AT(overwrite), .help = "replace what an earlier export wrote, and nothing else" },
    { "verify", 0, LMF_FLAG_BOOL, AT(verify), .fallback = "true", .help = "open what was written and compare it with the model",
      .no_help = "don't open what was written and compare it with the model" },
    LMF_IN_4BIT_FLAG(AT(load_in_4bit)),
    LMF_CHAT_TEMPLATE_FLAG(AT(chat_template)),
    { 0 }
};

/* --quant, from the table of formats. */
static int quant_flag(lmf_arena *a, const lmf_tables *tables, lmf_flag *out, int n)
{
    const lmf_format *f[LMF_FLAG_MAX_CHOICES - 2];
    int n_formats = lmf_export_formats(tables, f, LMF_FLAG_MAX_CHOICES - 2);
    char *choices = lmf_arena_strdup(a, "copy"), *help;
    help = lmf_arena_strdup(a, "type of the weights and its bits each; norms stay f32. copy: as they are stored");
    if (n < 1 || n_formats > LMF_FLAG_MAX_CHOICES - 2)
        return -1;
    for (int i = 0; i < n_formats && choices && help; i++) {
        choices = lmf_arena_printf(a, "%s|%s", choices, f[i]->name);
        help = lmf_arena_printf(a, "%s; %s: %.3g bits, %s", help, f[i]->name, 8.0 * f[i]->block_bytes / f[i]->block, f[i]->written.summary);
    }
    choices = choices ? lmf_arena_printf(a, "%s|" LMF_EXPORT_Q4F16, choices) : NULL;
    help = help ? lmf_arena_printf(a, "%s; " LMF_EXPORT_Q4F16 ": onnx alone, q4_0 and all else in f16", help) : NULL;
    if (!choices || !help)
        return -1;
    *out = (lmf_flag){ "quant", 0, LMF_FLAG_CHOICE, AT(quant), .fallback = "copy", .choices = choices, .help = help };
    return 1;
}

static bool progress(void *user, int64_t done, int64_t total)
{
    lmf_progress_step(user, done, done == total ? "verifying" : NULL);
    return !lmf_cli_interrupted();
}

static lmf_status print_report(lmf_cli *cli, const export_args *a, const lmf_export_report *r, double seconds)
{
    if (cli->json) {
        json_t *verify = r->verified && r->n_nodes ? json_pack("{s:b, s:i, s:f, s:I, s:b}", "passed", 1, "texts", r->n_texts,
                                                               "max_tensor_error", r->max_error, "operators",
                                                               (json_int_t)r->n_nodes, "logits_compared", 0) :
                         r->verified ? json_pack("{s:b, s:i, s:f, s:i, s:f, s:f, s:f, s:f, s:f}", "passed", 1, "texts", r->n_texts,
                             "max_tensor_error", r->max_error, "prompt_tokens", r->n_prompt_tok, "max_dlogit", r->max_dlogit,
                                                 "mean_kl", r->mean_kl, "same_top", r->same_top, "dlogit_limit", r->dlogit_limit, "kl_limit", r->kl_limit) : json_null();
        return lmf_cli_print_json(cli, json_pack("{s:o, s:s, s:s, s:I, s:I, s:I, s:o, s:o, s:f, s:o}", "output", lmf_json_string(a->output),
                                                 "format", a->format, "quant", a->quant, "tensors", (json_int_t)r->n_tensors,
                                                 "fallback_tensors", (json_int_t)r->n_fallback, "bytes", (json_int_t)r->n_bytes, "notes",
                                                 lmf_json_string(r->notes), "losses", lmf_json_string(r->losses), "seconds", seconds, "verify", verify));
    }
    if (r->n_fallback)
        fprintf(stderr, "%lld of %lld tensors: %s\n", (long long)r->n_fallback, (long long)r->n_tensors, r->notes);
    char name[1024], losses[2 * LMF_EXPORT_LOSSES];
    if (*r->losses)
        fprintf(stderr, "%s has no place for: %s\n", lmf_plain_text(a->output, name, sizeof name), lmf_plain_text(r->losses, losses, sizeof losses));
    printf("%s: %lld tensors, %.1f MB\n", lmf_plain_text(a->output, name, sizeof name), (long long)r->n_tensors, (double)r->n_bytes / 1e6);
    if (r->verified && r->n_nodes)
        printf("verified: every value of %lld tensors to %.2g, %lld operators whose inputs are all there, %d texts, chat template, "
               "configuration; the graph was not run here: logits were not compared\n", (long long)r->n_tensors, r->max_error, (long long)r->n_nodes, r->n_texts);
    else if (r->verified)
        printf("verified: tensors to %.2g, %d texts, chat template; logits of %d tokens differ by at most %.3g, mean KL %.3g, likeliest token equal in %.0f %%\n", r->max_error, r->n_texts, r->n_prompt_tok, r->max_dlogit,
               r->mean_kl, 100 * r->same_top);
    return LMF_OK;
}

static lmf_status run(lmf_cli *cli, void *args)
{
    const export_args *a = args;
    lmf_model *m;
    lmf_progress bar;
    lmf_export_report report;
    double start = lmf_cli_seconds();
    LMF_TRY(lmf__conversation_open_model(cli, a->model, a->load_in_4bit, &m));
    lmf_export_opts o = lmf_export_opts_default();
    o.format = strcmp(a->format, "onnx") == 0 ? LMF_EXPORT_ONNX : strcmp(a->format, "hf") ? LMF_EXPORT_GGUF : LMF_EXPORT_HF;
    o.microsoft = strcmp(a->operators, "microsoft") == 0;
    o.external = a->external;
    o.adapter = a->adapter;
    o.quant = a->quant;
    o.overwrite = a->overwrite;
    o.skip_verify = !a->verify;
    o.progress = progress;
    o.user = &bar;
    lmf_status s = lmf__conversation_use_template(cli, m, a->chat_template);
    if (!s) {
        lmf_progress_start(&bar, cli, "writing", m->weights->n);
        s = lmf_export(cli->ctx, m, a->output, &o, &report);
        lmf_progress_end(&bar);
    }
    lmf_model_close(m);
    return s ? s : print_report(cli, a, &report, lmf_cli_seconds() - start);
}

const lmf_command lmf_command_export = { "export", "write a model, an adapter merged in, as GGUF, for transformers or as ONNX", flags,
                                         sizeof(export_args), run,
    .example = "lmfast export --model SmolLM2-135M-Instruct.Q4_1.gguf --adapter my_adapter --output tuned.gguf --quant q8_0",
    .more = quant_flag };
