/* SPDX-License-Identifier: Apache-2.0 */
/* lmfast attention: which tokens of a prompt the model looked at for the one that it predicts. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/output.h"
#include "cli/answer.h"
#include "eval/attribution.h"
#include "format/json.h"
#include "format/safetensors.h"

enum { MAX_PROMPT = 1 << 22, N_NEXT = 10, N_SHOWN = 10, TOKEN_BYTES = 256 };

typedef struct attention_args {
    lmf_answer_args answer;
    const char *prompt, *maps;
    int64_t     layer, head;
    bool        raw;
} attention_args;

#define AT(member) offsetof(attention_args, member)
static const lmf_flag flags[] = {
    { "model", 'm', LMF_FLAG_STRING, LMF_ANSWER_FLAG(attention_args, model), .required = true, .hub = LMF_HUB_MODEL,
      .help = "GGUF file, Hugging Face folder, or org/name of the hub" },
    { "prompt", 'p', LMF_FLAG_STRING, AT(prompt), .help = "what to look into; - or none: all of standard input" },
    { "raw", 0, LMF_FLAG_BOOL, AT(raw), .help = "take the prompt as it is, without a chat template" },
    { "system", 's', LMF_FLAG_STRING, LMF_ANSWER_FLAG(attention_args, system), .help = "system message" },
    { "adapter", 'a', LMF_FLAG_STRING, LMF_ANSWER_FLAG(attention_args, adapter), .hub = LMF_HUB_ADAPTER,
      .help = "LoRA adapter: a PEFT folder" },
    { "layer", 'l', LMF_FLAG_INT, AT(layer), -1, 1 << 20, .fallback = "-1", .help = "the layer whose maps are wanted, from 0; -1: all" },
    { "head", 0, LMF_FLAG_INT, AT(head), -1, 1 << 20, .fallback = "-1", .help = "the head, from 0; -1: all" },
    { "maps", 0, LMF_FLAG_STRING, AT(maps), .help = "safetensors file to write: the maps, [heads, tokens, tokens] a layer" },
    LMF_CHAT_TEMPLATE_FLAG(LMF_ANSWER_FLAG(attention_args, chat_template)),
    LMF_CONTROL_FLAG(LMF_ANSWER_FLAG(attention_args, control)),
    { 0 }
};

typedef struct guess { int32_t id; double p; } guess;

typedef struct look {
    lmf_cli        *cli;
    const attention_args *args;
    lmf_answer      answer;           /* model and ids */
    lmf_lora        lora;
    lmf_attribution *a;
    int32_t         n;
    guess           next[N_NEXT];     /* likeliest first */
    int             n_next;
    double         *weight;           /* [n], of the last row: rollout, or the layer or head that was asked for */
    const char     *weight_name;
} look;

/* ---- what comes next ---- */
static void find_next(look *k)
{
    const float *logits = lmf_attribution_logits(k->a);
    int64_t vocab = lmf_model_config(k->answer.model)->vocab;
    double top = -INFINITY, sum = 0;
    for (int64_t v = 0; v < vocab; v++)
        top = fmax(top, (double)logits[v]);
    for (int64_t v = 0; v < vocab; v++)
        sum += exp((double)logits[v] - top);
    for (int64_t v = 0; v < vocab; v++) {
        guess g = { (int32_t)v, exp((double)logits[v] - top) / sum };
        int i = k->n_next;
        while (i > 0 && k->next[i - 1].p < g.p)
            i--;
        if (i == N_NEXT)
            continue;
        k->n_next += k->n_next < N_NEXT;
        memmove(&k->next[i + 1], &k->next[i], (size_t)(k->n_next - 1 - i) * sizeof g);
        k->next[i] = g;
    }
}

/* A token's text; bytes that are no character by themselves become U+FFFD. */
static lmf_status token_text(look *k, int32_t id, lmf_buf *out)
{
    lmf_decode_stream d = { .begun = true };
    lmf_buf_truncate(out, 0);
    LMF_TRY(lmf_decode_stream_push(&d, k->answer.model->tokenizer, id, 0, out));
    return lmf_decode_stream_end(&d, out);
}

/* ---- the last row ---- */
static lmf_status find_weight(look *k)
{
    size_t n = (size_t)k->n, last = (n - 1) * n;
    bool one = k->args->layer >= 0 && k->args->head >= 0;
    double *all = lmf_alloc(k->cli->ctx, n * n * sizeof *all);
    if (!all)
        return LMF_NO_MEMORY(k->cli->ctx, n * n * sizeof *all, "a map");
    lmf_status s = k->args->layer < 0 ? lmf_attribution_rollout(k->a, all) :
                   one ? lmf_attribution_map(k->a, 0, (int)k->args->head, (float *)all) : lmf_attribution_mean(k->a, 0, all);
    for (size_t u = 0; !s && u < n; u++)
        k->weight[u] = one ? (double)((float *)all)[last + u] : all[last + u];
    k->weight_name = k->args->layer < 0 ? "rollout" : "attention";
    lmf_free(k->cli->ctx, all, n * n * sizeof *all);
    return s;
}

/* ---- the file of maps ---- */
static bool takes_head(const look *k, int h) { return k->args->head < 0 || k->args->head == h; }

static lmf_status declare_maps(look *k, lmf_safetensors_writer *w)
{
    char text[64];
    int64_t n = k->n;
    LMF_TRY(lmf_safetensors_put(w, "made_by", "lmfast attention"));
    LMF_TRY(lmf_safetensors_put(w, "rows", "row t holds what token t looked at"));
    if (k->args->head >= 0)
        LMF_TRY(lmf_safetensors_put(w, "head", (snprintf(text, sizeof text, "%lld", (long long)k->args->head), text)));
    LMF_TRY(lmf_safetensors_add(w, "input_ids", LMF_I32, &n, 1));
    for (int i = 0; i < lmf_attribution_n_layers(k->a); i++) {
        lmf_attribution_layer l = lmf_attribution_layer_at(k->a, i);
        snprintf(text, sizeof text, "layers.%d.attention", l.layer);
        LMF_TRY(lmf_safetensors_add(w, text, LMF_F32, (int64_t[]){ k->args->head < 0 ? l.n_heads : 1, n, n }, 3));
    }
    LMF_TRY(lmf_safetensors_add(w, k->weight_name, LMF_F64, &n, 1));
    return lmf_safetensors_begin(w);
}

/* f64 comes first (safetensors.h), then the order of declaration. */
static lmf_status write_data(look *k, lmf_safetensors_writer *w, float *map)
{
    size_t n = (size_t)k->n;
    LMF_TRY(lmf_safetensors_write(w, k->weight, n * sizeof *k->weight));
    LMF_TRY(lmf_safetensors_write(w, k->answer.ids.data, n * sizeof(int32_t)));
    for (int i = 0; i < lmf_attribution_n_layers(k->a); i++)
        for (int h = 0; h < lmf_attribution_layer_at(k->a, i).n_heads; h++) {
            if (!takes_head(k, h))
                continue;
            LMF_TRY(lmf_attribution_map(k->a, i, h, map));
            LMF_TRY(lmf_safetensors_write(w, map, n * n * sizeof *map));
            if (lmf_cli_interrupted())
                return LMF_FAIL(k->cli->ctx, LMF_E_CANCELLED, "stopped; no maps were written");
        }
    return lmf_safetensors_commit(w);
}

static lmf_status write_maps(look *k)
{
    size_t bytes = (size_t)k->n * (size_t)k->n * sizeof(float);
    lmf_safetensors_writer *w = NULL;
    float *map = lmf_alloc(k->cli->ctx, bytes);
    lmf_status s = map ? lmf_safetensors_writer_create(k->cli->ctx, k->args->maps, &w) : LMF_NO_MEMORY(k->cli->ctx, bytes, "a map");
    if (!s)
        s = declare_maps(k, w);
    if (!s)
        s = write_data(k, w, map);
    lmf_safetensors_writer_destroy(w);
    lmf_free(k->cli->ctx, map, bytes);
    return s ? lmf_fail_prefix(k->cli->ctx, s, "--maps") : LMF_OK;
}

/* ---- what is told ---- */
static json_t *json_token(look *k, int32_t id, lmf_buf *text)
{
    return token_text(k, id, text) ? NULL : json_pack("{s:i, s:o?}", "id", (int)id, "text", lmf_json_stringn(lmf_buf_str(text), text->n));
}

static json_t *json_doubles(const double *v, int32_t n)
{
    json_t *list = json_array();
    for (int32_t i = 0; i < n; i++)
        json_array_append_new(list, json_real(v[i]));
    return list;
}

static lmf_status print_json(look *k, lmf_buf *text)
{
    json_t *tokens = json_array(), *next = json_array(), *layers = json_array();
    for (int32_t t = 0; t < k->n; t++)
        json_array_append_new(tokens, json_token(k, k->answer.ids.data[t], text));
    for (int i = 0; i < k->n_next; i++) {
        json_t *g = json_token(k, k->next[i].id, text);
        json_object_set_new(g, "probability", json_real(k->next[i].p));
        json_array_append_new(next, g);
    }
    for (int i = 0; i < lmf_attribution_n_layers(k->a); i++) {
        lmf_attribution_layer l = lmf_attribution_layer_at(k->a, i);
        json_array_append_new(layers, json_pack("{s:i, s:i, s:i, s:i}", "layer", l.layer, "heads", l.n_heads, "kv_heads", l.n_kv_heads,
                                                "window", l.window));
    }
    json_t *o = json_pack("{s:o?, s:o?, s:o?, s:o?, s:o?, s:I}", "model", lmf_json_string(k->answer.model->name), "tokens", tokens,
                          "next", next, "layers", layers, k->weight_name, json_doubles(k->weight, k->n),
                          "memory_bytes", (json_int_t)lmf_attribution_bytes(k->a));
    return o ? lmf_cli_print_json(k->cli, o) : LMF_NO_MEMORY(k->cli->ctx, (size_t)k->n * 200, "what was found");
}

static int by_weight(const void *a, const void *b)
{
    const guess *x = a, *y = b;
    return x->p < y->p ? 1 : x->p > y->p ? -1 : x->id - y->id;
}

static lmf_status print_text(look *k, lmf_buf *text)
{
    char plain[TOKEN_BYTES];
    size_t bytes = (size_t)k->n * sizeof(guess);
    guess *order = lmf_alloc(k->cli->ctx, bytes);
    lmf_status s = order ? LMF_OK : LMF_NO_MEMORY(k->cli->ctx, bytes, "what was found");
    if (!s)
        printf("next token\n");
    for (int i = 0; !s && i < k->n_next / 2; i++)
        if (!(s = token_text(k, k->next[i].id, text)))
            printf("  %6.2f %%  \"%s\"\n", 100 * k->next[i].p, lmf_plain_text(lmf_buf_str(text), plain, sizeof plain));
    for (int32_t t = 0; !s && t < k->n; t++)
        order[t] = (guess){ t, k->weight[t] };
    if (!s) {
        qsort(order, (size_t)k->n, sizeof *order, by_weight);
        printf("looked at most (%s)\n", k->weight_name);
    }
    for (int32_t i = 0; !s && i < k->n && i < N_SHOWN; i++)
        if (!(s = token_text(k, k->answer.ids.data[order[i].id], text)))
            printf("  %6.2f %%  \"%s\", token %d\n", 100 * order[i].p, lmf_plain_text(lmf_buf_str(text), plain, sizeof plain), order[i].id);
    lmf_free(k->cli->ctx, order, bytes);
    return s;
}

/* ---- the command ---- */
static lmf_status check_args(lmf_cli *cli, const attention_args *args)
{
    if (args->head >= 0 && args->layer < 0)
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "--head %lld needs a --layer", (long long)args->head);
    if (!args->maps)
        return LMF_OK;
    lmf_output_kind kind = lmf_output_stat(args->maps);
    if (kind != LMF_OUTPUT_NONE)
        return LMF_FAIL(cli->ctx, LMF_E_EXISTS, "--maps %s is %s that is there already; give the name of a file that is not there yet",
                        args->maps, lmf_output_word(kind));
    lmf_status s = lmf_output_try(cli->ctx, args->maps);
    return s ? lmf_fail_prefix(cli->ctx, s, "--maps") : LMF_OK;
}

static lmf_status find(look *k)
{
    const attention_args *args = k->args;
    lmf_attribution_opts o = { .device = k->cli->device, .lora = args->answer.adapter ? &k->lora : NULL,
                               .id = k->answer.ids.data, .n = k->n, .layer = (int32_t)args->layer, .max_bytes = LMF_POWER2(30) };
    if (args->answer.adapter)
        LMF_TRY(lmf_lora_open(k->cli->ctx, k->answer.model, args->answer.adapter, &k->lora));
    LMF_TRY(lmf_attribution_create(k->cli->ctx, k->answer.model, &o, &k->a));
    lmf_attribution_layer l = lmf_attribution_layer_at(k->a, 0);
    if (args->head >= l.n_heads)
        return LMF_FAIL(k->cli->ctx, LMF_E_NOT_FOUND, "--head %lld: layer %d has heads 0 to %d", (long long)args->head, l.layer,
                        l.n_heads - 1);
    if (!k->cli->quiet && !k->cli->json)
        fprintf(stderr, "lmfast: %d tokens, %d layer%s; %.0f MiB planned\n", k->n, lmf_attribution_n_layers(k->a),
                lmf_attribution_n_layers(k->a) == 1 ? "" : "s", (double)lmf_attribution_bytes(k->a) / 1048576);
    LMF_TRY(lmf_attribution_run(k->a));
    find_next(k);
    LMF_TRY(find_weight(k));
    return args->maps ? write_maps(k) : LMF_OK;
}

static lmf_status run(lmf_cli *cli, void *p)
{
    const attention_args *args = p;
    lmf_status s = LMF_OK;
    look k = { .cli = cli, .args = args };
    lmf_buf text;
    bool from_stdin = !args->prompt || strcmp(args->prompt, "-") == 0;
    LMF_TRY(check_args(cli, args));
    if (from_stdin && isatty(0))
        return LMF_FAIL(cli->ctx, LMF_E_ARG, "give a --prompt, or pipe one in");
    lmf_buf_init(&text, cli->ctx, MAX_PROMPT);
    LMF_TRY_TO(done, lmf__answer_open(cli, &args->answer, &k.answer));
    if (from_stdin)
        LMF_TRY_TO(done, lmf__answer_read_all(&k.answer, &text));
    LMF_TRY_TO(done, lmf__answer_encode(&k.answer, args->raw, from_stdin ? lmf_buf_str(&text) : args->prompt,
                                        from_stdin ? text.n : strlen(args->prompt)));
    k.n = (int32_t)k.answer.ids.n;
    k.weight = lmf_alloc(cli->ctx, (size_t)k.n * sizeof *k.weight);
    if (!k.weight)
        LMF_TRY_TO(done, LMF_NO_MEMORY(cli->ctx, (size_t)k.n * sizeof *k.weight, "weights"));
    LMF_TRY_TO(done, find(&k));
    s = cli->json ? print_json(&k, &text) : print_text(&k, &text);
done:
    lmf_attribution_destroy(k.a);
    lmf_lora_close(&k.lora);
    lmf_free(cli->ctx, k.weight, (size_t)k.n * sizeof *k.weight);
    lmf__answer_close(&k.answer);
    lmf_buf_clear(&text);
    return s;
}

const lmf_command lmf_command_attention = { "attention", "show which tokens of a prompt a model looks at", flags,
    sizeof(attention_args), run,
    .example = "lmfast attention --model SmolLM2.gguf --prompt \"The capital of France is\" --raw" };
