/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: cuBLASLt is never linked, and its header is not needed to build: the few types and numbers below are its ABI, which has
 * been the same in CUDA 11, 12 and 13. It knows columns first, so y^T = op(b)^T op(a)^T is what it is asked for. */
#include "device/cuda/blas.h"
#include <dlfcn.h>
#include <string.h>
#include "device/cuda/driver.h"

enum { COMPUTE_F32 = 68, DESC_TRANSA = 3, DESC_TRANSB = 4, DESC_EPILOGUE = 7, DESC_BIAS_POINTER = 8, EPILOGUE_BIAS = 4,
       PREF_MAX_WORKSPACE = 1, PREF_ALIGN_A = 5, R_F32 = 0, R_F16 = 2, R_BF16 = 14 };
typedef struct algorithm { uint64_t data[8]; } algorithm;
typedef struct choice { algorithm algo; size_t workspace; int state; float waves; int reserved[4]; } choice;

typedef struct blas_api {
    int (*create)(void **);
    int (*destroy)(void *);
    int (*matmul)(void *, void *, const void *, const void *, void *, const void *, void *, const void *, const void *, void *, void *, void *,
                  const algorithm *, void *, size_t, CUstream);
    int (*desc_create)(void **, int compute, int scale);
    int (*desc_set)(void *, int, const void *, size_t);
    int (*desc_destroy)(void *);
    int (*layout_create)(void **, int type, uint64_t rows, uint64_t cols, int64_t ld);
    int (*layout_destroy)(void *);
    int (*pref_create)(void **);
    int (*pref_set)(void *, int, const void *, size_t);
    int (*pref_destroy)(void *);
    int (*choose)(void *, void *, void *, void *, void *, void *, void *, int, choice *, int *);
    const char *(*text)(int);
} blas_api;

struct lmf_cuda_blas { void *lib, *handle; blas_api f; };

typedef struct product {
    lmf_cuda *d;
    void *desc, *a, *b, *add, *y; /* descriptions of the operation and of the library's operands: its a is our b */
    algorithm algo;
    int  n_add;
} product;

lmf_status lmf_cuda_blas_open(lmf_ctx *ctx, lmf_cuda_blas **out)
{
    static const char *const names[] = { "libcublasLt.so.13", "libcublasLt.so.12", "libcublasLt.so" };
    static const struct { const char *name; size_t offset; } functions[] = {
        { "cublasLtCreate", offsetof(blas_api, create) }, { "cublasLtDestroy", offsetof(blas_api, destroy) },
        { "cublasLtMatmul", offsetof(blas_api, matmul) }, { "cublasLtMatmulDescCreate", offsetof(blas_api, desc_create) },
        { "cublasLtMatmulDescSetAttribute", offsetof(blas_api, desc_set) }, { "cublasLtMatmulDescDestroy", offsetof(blas_api, desc_destroy) },
        { "cublasLtMatrixLayoutCreate", offsetof(blas_api, layout_create) }, { "cublasLtMatrixLayoutDestroy", offsetof(blas_api, layout_destroy) },
        { "cublasLtMatmulPreferenceCreate", offsetof(blas_api, pref_create) },
        { "cublasLtMatmulPreferenceSetAttribute", offsetof(blas_api, pref_set) },
        { "cublasLtMatmulPreferenceDestroy", offsetof(blas_api, pref_destroy) },
        { "cublasLtMatmulAlgoGetHeuristic", offsetof(blas_api, choose) }, { "cublasLtGetStatusString", offsetof(blas_api, text) },
    };
    lmf_cuda_blas *b = lmf_new(ctx, lmf_cuda_blas);
    *out = NULL;
    if (!b)
        return LMF_NO_MEMORY(ctx, sizeof *b, "cuBLASLt");
    for (size_t i = 0; !b->lib && i < sizeof names / sizeof *names; i++)
        b->lib = dlopen(names[i], RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE);
    bool ok = b->lib != NULL;
    for (size_t i = 0; ok && i < sizeof functions / sizeof *functions; i++) {
        void *f = dlsym(b->lib, functions[i].name);
        memcpy((char *)&b->f + functions[i].offset, &f, sizeof f);
        ok = f != NULL;
    }
    if (ok && b->f.create(&b->handle) == 0) {
        *out = b;
        return LMF_OK;
    }
    if (b->lib)
        dlclose(b->lib);
    lmf_delete(ctx, b);
    return LMF_OK;
}

void lmf_cuda_blas_close(lmf_ctx *ctx, lmf_cuda_blas *b)
{
    if (!b)
        return;
    b->f.destroy(b->handle);
    dlclose(b->lib);
    lmf_delete(ctx, b);
}

bool lmf_cuda_has_blas(const lmf_device *dev) { return ((const lmf_cuda *)dev)->blas != NULL; }

static lmf_status check(lmf_cuda *d, int r, const char *call)
{
    if (r == 0)
        return LMF_OK;
    return LMF_FAIL(d->base.ctx, r == 3 ? LMF_E_MEMORY : LMF_E_DEVICE, "device cuda: %s: %s", call, d->blas->f.text(r));
}
/* As LMF_CUDA, for the library's calls. */
#define BLAS(d, fn, ...) check((d), lmf_cuda_gate(d) ? 14 : (d)->blas->f.fn(__VA_ARGS__), "cuBLASLt " #fn)

static int real(uint16_t dtype) { return dtype == LMF_BF16 ? R_BF16 : dtype == LMF_F16 ? R_F16 : R_F32; }

static lmf_status choose(product *p, const lmf_cuda_product_spec *s, void *pref)
{
    lmf_cuda *d = p->d;
    choice best = { .state = 1 };
    int n = 0;
    size_t workspace = LMF_CUDA_PRODUCT_WORKSPACE;
    uint32_t align = s->alignment < 256 ? (uint32_t)s->alignment : 256;
    LMF_TRY(BLAS(d, pref_set, pref, PREF_MAX_WORKSPACE, &workspace, sizeof workspace));
    for (int i = 0; i < 4; i++)
        LMF_TRY(BLAS(d, pref_set, pref, PREF_ALIGN_A + i, &align, sizeof align));
    int r = d->blas->f.choose(d->blas->handle, p->desc, p->a, p->b, s->add == 1 ? p->add : p->y, p->y, pref, 1, &best, &n);
    if (r || n < 1 || best.state)
        return LMF_FAIL(d->base.ctx, LMF_E_DEVICE, "device cuda: cuBLASLt has no algorithm for a product of [%lld, %lld] and [%lld, %lld]: %s",
                        (long long)s->m, (long long)s->k, (long long)s->k, (long long)s->n, d->blas->f.text(r));
    p->algo = best.algo;
    return LMF_OK;
}

static lmf_status describe(product *p, const lmf_cuda_product_spec *s)
{
    lmf_cuda *d = p->d;
    int type = real(s->dtype), y_type = real(s->y_dtype), bias = EPILOGUE_BIAS;
    int32_t first = s->tb ? 1 : 0, second = s->ta ? 1 : 0;
    LMF_TRY(BLAS(d, desc_create, &p->desc, COMPUTE_F32, R_F32));
    LMF_TRY(BLAS(d, desc_set, p->desc, DESC_TRANSA, &first, sizeof first));
    LMF_TRY(BLAS(d, desc_set, p->desc, DESC_TRANSB, &second, sizeof second));
    if (s->add == 2)
        LMF_TRY(BLAS(d, desc_set, p->desc, DESC_EPILOGUE, &bias, sizeof bias));
    LMF_TRY(BLAS(d, layout_create, &p->a, type, (uint64_t)(s->tb ? s->k : s->n), (uint64_t)(s->tb ? s->n : s->k), s->b_stride));
    LMF_TRY(BLAS(d, layout_create, &p->b, type, (uint64_t)(s->ta ? s->m : s->k), (uint64_t)(s->ta ? s->k : s->m), s->a_stride));
    LMF_TRY(BLAS(d, layout_create, &p->y, y_type, (uint64_t)s->n, (uint64_t)s->m, s->y_stride));
    if (s->add == 1)
        LMF_TRY(BLAS(d, layout_create, &p->add, y_type, (uint64_t)s->n, (uint64_t)s->m, s->add_stride));
    return LMF_OK;
}

lmf_status lmf_cuda_product_create(lmf_device *dev, const lmf_cuda_product_spec *spec, void **out)
{
    lmf_cuda *d = (lmf_cuda *)dev;
    void *pref = NULL;
    *out = NULL;
    LMF_TRY(lmf_cuda_enter(d));
    product *p = lmf_new(dev->ctx, product);
    if (!p)
        return LMF_NO_MEMORY(dev->ctx, sizeof *p, "a product");
    p->d = d;
    p->n_add = spec->add;
    lmf_status s = describe(p, spec);
    if (!s)
        s = BLAS(d, pref_create, &pref);
    if (!s)
        s = choose(p, spec, pref);
    if (pref)
        d->blas->f.pref_destroy(pref);
    if (s)
        lmf_cuda_product_destroy(p);
    else
        *out = p;
    return s;
}

void lmf_cuda_product_destroy(void *product_)
{
    product *p = product_;
    if (!p)
        return;
    const blas_api *f = &p->d->blas->f;
    void *layouts[] = { p->a, p->b, p->add, p->y };
    for (int i = 0; i < 4; i++)
        if (layouts[i])
            f->layout_destroy(layouts[i]);
    if (p->desc)
        f->desc_destroy(p->desc);
    lmf_delete(p->d->base.ctx, p);
}

lmf_status lmf_cuda_product_run(const lmf_worker *wk, void *product_, const void *a, const void *b, const void *add, void *y, float alpha,
                                void *workspace)
{
    product *p = product_;
    lmf_stream *stream = wk->stream;
    lmf_cuda *d = p->d;
    float beta = p->n_add == 1 ? 1.0f : 0.0f;
    if (stream->resolving)
        return LMF_OK;
    if (p->n_add == 2)
        LMF_TRY(BLAS(d, desc_set, p->desc, DESC_BIAS_POINTER, &add, sizeof add));
    return BLAS(d, matmul, d->blas->handle, p->desc, &alpha, b, p->a, a, p->b, &beta, p->n_add == 1 ? add : y, p->n_add == 1 ? p->add : p->y, y, p->y,
                &p->algo, workspace, LMF_CUDA_PRODUCT_WORKSPACE, stream->handle);
}
