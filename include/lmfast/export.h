/* SPDX-License-Identifier: Apache-2.0 */
/* export: a model, with an adapter merged in or not, as a GGUF file for llama.cpp and others, or as a folder for transformers. What was
 * written is opened again and compared with the model; a file that fails never gets its name.
 *
 *     lmfast_export_opts opts = lmfast_export_opts_default();
 *     opts.adapter = "my_adapter";
 *     opts.quant = "q8_0";
 *     lmfast_export_report report = { .struct_bytes = sizeof report };
 *     if (lmfast_export(model, "tuned.gguf", &opts, &report))
 *         return fprintf(stderr, "%s\n", lmfast_error(ctx)), 1;
 *     printf("%lld tensors, logits differ by at most %.3g\n", (long long)report.n_tensors, report.max_dlogit);
 *
 * Threads: any number, with targets of their own. */
#ifndef LMFAST_EXPORT_H
#define LMFAST_EXPORT_H
#include "lmfast/model.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { LMFAST_EXPORT_GGUF = 0, LMFAST_EXPORT_HF = 1 };

/* Tensors written so far. Returns false to stop, which is LMFAST_E_CANCELLED. */
typedef bool (*lmfast_export_progress_fn)(void *user, int64_t done, int64_t total);

typedef struct lmfast_export_opts {
    size_t      struct_bytes;
    int32_t     format;         /* LMFAST_EXPORT_*. Default GGUF */
    const char *adapter;        /* PEFT folder to merge; NULL: none */
    const char *quant;          /* type of the weights: "f16", "q8_0", "q4_k" ...; "copy" (default): as they are stored */
    bool        overwrite;      /* what an earlier export wrote may be replaced, and nothing else */
    bool        skip_verify;    /* don't open what was written */
    lmfast_export_progress_fn progress; /* NULL: none */
    void       *user;           /* given to progress */
} lmfast_export_opts;

typedef struct lmfast_export_report {
    size_t      struct_bytes;
    int64_t     n_tensors, n_fallback; /* written; of them in a larger type, because their rows are no whole blocks */
    uint64_t    n_bytes;        /* of tensor data */
    bool        verified;
    double      max_dlogit, mean_kl, same_top; /* against the model as given: largest difference, nats a token, part of equal choices */
    double      max_error;      /* of a tensor: root mean square of the difference over that of its values */
    char        notes[512];     /* a sentence on what fell back, or "" */
    char        losses[1024];   /* what the format has no place for, in sentences, or "" */
} lmfast_export_report;

LMFAST_API void lmfast_export_opts_init(lmfast_export_opts *opts, size_t bytes);
static inline lmfast_export_opts lmfast_export_opts_default(void)
{
    lmfast_export_opts o;
    lmfast_export_opts_init(&o, sizeof o);
    return o;
}

/* report may be NULL. LMFAST_E_EXISTS: path is there and not ours to replace. LMFAST_E_ARG: no such type. */
LMFAST_API LMFAST_MUST_USE lmfast_status lmfast_export(lmfast_model *model, const char *path, const lmfast_export_opts *opts,
                                                       lmfast_export_report *report);

#ifdef __cplusplus
}
#endif
#endif
