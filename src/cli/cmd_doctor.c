/* SPDX-License-Identifier: Apache-2.0 */
/* lmfast doctor: what machine was found and what will be used. It reports what fails instead of failing itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cpu.h"
#include "base/file.h"
#include "cli/command.h"
#include "device/plugin.h"
#include "format/json.h"

/* An environment is known by a variable or by a file that only it has. */
typedef struct place { const char *name, *variable, *value, *path; } place;
static const place places[] = {
    { "Colab Enterprise", "VERTEX_PRODUCT", "COLAB_ENTERPRISE", NULL },
    { "Colab", "COLAB_RELEASE_TAG", NULL, NULL },
    { "Colab", "COLAB_GPU", NULL, NULL },
    { "Colab", "COLAB_BACKEND_VERSION", NULL, NULL },
    { "Kaggle", "KAGGLE_KERNEL_RUN_TYPE", NULL, NULL },
    { "Kaggle", "KAGGLE_URL_BASE", NULL, NULL },
    { "Kaggle", NULL, NULL, "/kaggle/working" },
    { "Hugging Face Space", "SPACE_ID", NULL, NULL },
    { "Hugging Face Space", "SPACE_HOST", NULL, NULL },
    { "Modal", "MODAL_TASK_ID", NULL, NULL },
    { "Runpod", "RUNPOD_POD_ID", NULL, NULL },
    { "Runpod", "RUNPOD_ENDPOINT_ID", NULL, NULL },
};
static const place containers[] = {
    { "Kubernetes", "KUBERNETES_SERVICE_HOST", NULL, NULL },
    { "Docker", NULL, NULL, "/.dockerenv" },
    { "Podman", NULL, NULL, "/run/.containerenv" },
    { "container", "container", NULL, NULL },
};

/* The name of the first that applies, or NULL. */
static const char *find_place(const place *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const char *v = list[i].variable ? getenv(list[i].variable) : NULL;
        if ((v && *v && (!list[i].value || strcmp(v, list[i].value) == 0)) || (list[i].path && lmf_path_stat(list[i].path) != LMF_PATH_NONE))
            return list[i].name;
    }
    return NULL;
}

/* The best set of kernels that rows of the CPU come from: sources are compiled once a set. */
static const char *row_level(uint64_t features)
{
    if (features & (LMF_CPU_AMX_BF16 | LMF_CPU_AVX512_BF16_FAST))
        return features & LMF_CPU_AMX_BF16 ? "amx" : "avx512-bf16";
    return features & LMF_CPU_AVX512 ? "avx512" : features & LMF_CPU_AVX2 ? "avx2" : "scalar";
}

static json_t *feature_list(uint64_t features)
{
    json_t *list = json_array();
    for (int i = 0; i < LMF_CPU_N_FEATURES; i++)
        if (features >> i & 1)
            json_array_append_new(list, json_string(lmf_cpu_feature_name(i)));
    return list;
}

static json_t *cpu_json(void)
{
    char model[256];
    lmf_cpu_model(model, sizeof model);
    return json_pack("{s:o, s:o, s:i, s:i, s:I}", "model", lmf_json_string(model), "features", feature_list(lmf_cpu_features()), "processors",
                     (int)sysconf(_SC_NPROCESSORS_ONLN), "workers", lmf_cpu_workers(), "memory_bytes", (json_int_t)lmf_memory_limit());
}

/* {available: true, capability, free_bytes, total_bytes} or {available: false, reason}. */
static json_t *gpu_json(lmf_ctx *ctx)
{
    lmf_device *device = NULL;
    size_t free_bytes = 0, total_bytes = 0;
    lmf_status s = lmf_device_open(ctx, "cuda", &device);
    if (!s)
        s = device->ops->memory(device, &free_bytes, &total_bytes);
    json_t *gpu = s ? json_pack("{s:b, s:s}", "available", 0, "reason", lmf_error(ctx))
                    : json_pack("{s:b, s:i, s:I, s:I}", "available", 1, "capability", (int)device->features, "free_bytes",
                                (json_int_t)free_bytes, "total_bytes", (json_int_t)total_bytes);
    lmf_device_close(device);
    return gpu;
}

static json_t *plugins_json(lmf_ctx *ctx)
{
    static const char *const names[] = { "onednn", "cuda" };
    json_t *list = json_array();
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        const lmf_plugin *plugin = NULL;
        if (lmf_plugin_open(ctx, names[i], &plugin))
            json_array_append_new(list, json_pack("{s:s, s:b, s:s}", "name", names[i], "loaded", 0, "reason", lmf_error(ctx)));
        else
            json_array_append_new(list, json_pack("{s:s, s:b, s:s}", "name", names[i], "loaded", 1, "version", plugin->version ? plugin->version : ""));
    }
    return list;
}

static const char *text_of(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s ? s : "none";
}

static double gib(const json_t *o, const char *key)
{
    return (double)json_integer_value(json_object_get(o, key)) / (1 << 30);
}

static void print_report(const json_t *r)
{
    const json_t *cpu = json_object_get(r, "cpu"), *gpu = json_object_get(r, "gpu"), *use = json_object_get(r, "use"), *item;
    const json_t *features = json_object_get(cpu, "features");
    size_t i;
    printf("lmfast     %s\nplace      %s, container: %s\n", text_of(r, "version"), text_of(r, "place"), text_of(r, "container"));
    printf("processor  %s\nfeatures   ", text_of(cpu, "model"));
    for (i = 0; i < json_array_size(features); i++)
        printf("%s%s", i ? " " : "", json_string_value(json_array_get(features, i)));
    printf("%s\nworkers    %lld of %lld processors\nmemory     %.1f GiB\n", i ? "" : "none", (long long)json_integer_value(json_object_get(cpu, "workers")),
           (long long)json_integer_value(json_object_get(cpu, "processors")), gib(cpu, "memory_bytes"));
    if (json_is_true(json_object_get(gpu, "available")))
        printf("gpu        compute capability %lld, %.1f of %.1f GiB free\n", (long long)json_integer_value(json_object_get(gpu, "capability")),
               gib(gpu, "free_bytes"), gib(gpu, "total_bytes"));
    else
        printf("gpu        none: %s\n", text_of(gpu, "reason"));
    json_array_foreach(json_object_get(r, "plugins"), i, item)
        printf("plug-in    %s: %s\n", text_of(item, "name"), text_of(item, json_is_true(json_object_get(item, "loaded")) ? "version" : "reason"));
    printf("will use   device %s, %s kernels, %lld workers\n", text_of(use, "device"), text_of(use, "isa"), (long long)json_integer_value(json_object_get(use, "workers")));
}

static lmf_status run(lmf_cli *cli, void *args)
{
    (void)args;
    const char *where = find_place(places, sizeof places / sizeof *places);
    const char *container = find_place(containers, sizeof containers / sizeof *containers);
    json_t *use = json_pack("{s:s, s:s, s:o, s:i}", "device", cli->device, "isa", row_level(cli->ctx->cpu_features), "features",
                            feature_list(cli->ctx->cpu_features), "workers", cli->ctx->n_workers);
    json_t *report = json_pack("{s:s, s:s?, s:s?, s:o, s:o, s:o, s:o}", "version", LMF_VERSION, "place", where, "container", container, "cpu",
                               cpu_json(), "gpu", gpu_json(cli->ctx), "plugins", plugins_json(cli->ctx), "use", use);
    if (!report)
        return LMF_FAIL(cli->ctx, LMF_E_MEMORY, "out of memory while describing the machine");
    if (cli->json)
        return lmf_cli_print_json(cli, report);
    print_report(report);
    json_decref(report);
    return LMF_OK;
}

const lmf_command lmf_command_doctor = {
    "doctor", "show what machine was found and what will be used", NULL, 0, run, .example = "lmfast doctor --json",
};
