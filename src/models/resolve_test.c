/* SPDX-License-Identifier: Apache-2.0 */
/* A near relative, resolved: its own rows stand in the base's places, what it lacks is gone, the rest is the base's. */
#include <string.h>
#include "models/llama.h"
#include "models/model.h"
#include "test.h"

extern const lmf_arch lmf_arch_qwen2;

static const lmf_weight_row *row_of(const lmf_arch *a, const char *role, int *at)
{
    for (*at = 0; a->weights[*at].role; ++*at)
        if (strcmp(a->weights[*at].role, role) == 0)
            return &a->weights[*at];
    return NULL;
}

static const lmf_hparam *hparam_of(const lmf_arch *a, const char *field)
{
    for (const lmf_hparam *h = a->hparams; h->field; h++)
        if (strcmp(h->field, field) == 0)
            return h;
    return NULL;
}

static void qwen2_is_llama_with_what_differs(void **state)
{
    static const char *const gone[] = { "layers.{l}.attn.o_bias", "layers.{l}.mlp.gate_bias", "layers.{l}.mlp.up_bias", "layers.{l}.mlp.down_bias", "rope_factors" };
    (void)state;
    lmf_ctx *ctx = lmf_test_ctx();
    lmf_arena arena;
    const lmf_arch *q, *l;
    int at, next, first;
    lmf_arena_init(&arena, ctx, 1 << 20);
    assert_ok(ctx, lmf_arch_resolve(ctx, &arena, &lmf_arch_llama, &l));
    assert_ptr_equal(l, &lmf_arch_llama);
    assert_ok(ctx, lmf_arch_resolve(ctx, &arena, &lmf_arch_qwen2, &q));
    const lmf_weight_row *w = row_of(q, "layers.{l}.attn.q", &at);
    assert_true(w && w->gguf_form == LMF_FORM_PLAIN && (w->flags & LMF_ROW_LORA_TARGET)); /* llama's is permuted in GGUF */
    row_of(l, "layers.{l}.attn.q", &first);
    assert_int_equal(at, first);
    w = row_of(q, "layers.{l}.attn.q_bias", &next);
    assert_true(w && next == at + 1 && !(w->flags & LMF_ROW_OPTIONAL)); /* llama's is optional */
    for (size_t i = 0; i < sizeof gone / sizeof *gone; i++) {
        assert_null(row_of(q, gone[i], &at));
        assert_non_null(row_of(l, gone[i], &at));
    }
    int n_q = 0, n_l = 0;
    for (const lmf_weight_row *r = q->weights; r->role; r++)
        n_q++;
    for (const lmf_weight_row *r = l->weights; r->role; r++)
        n_l++;
    assert_int_equal(n_q, n_l - 5);
    assert_true(hparam_of(q, "context")->fallback == 32768 && hparam_of(l, "context")->fallback == 2048);
    assert_true(hparam_of(q, "windowed") && !hparam_of(l, "windowed"));
    assert_true(!hparam_of(q, "attention_bias") && hparam_of(l, "attention_bias") && hparam_of(q, "ffn"));
    assert_true(q->body == l->body && q->dim == l->dim && q->check != l->check && q->config_bytes > l->config_bytes);
    assert_string_equal(q->name, "qwen2");
    lmf_arena_clear(&arena);
    lmf_test_ctx_done(ctx);
}

LMF_TESTS(resolve) = {
    { "qwen2 is llama with what differs", qwen2_is_llama_with_what_differs },
    { 0 }
};
