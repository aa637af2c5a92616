/* SPDX-License-Identifier: Apache-2.0 */
/* Rule: the file is judged through the reader that everybody uses, against the model in memory; nothing of the writer is trusted. */
#include <math.h>
#include <string.h>
#include "export/parts.h"

static const char *const texts[] = {
    "Hello world", " leading and trailing  ", "It's 2024-11-24, 12345.678 + 9 = ?", "def f(x):\n\treturn x ** 2  # square\n\n\n", "Grüße, naïve café — “quotes” …",
    "日本語のテキスト と 中文字符", "Привет, мир! Ελληνικά العربية עברית हिन्दी", "👩‍👩‍👧‍👦🏳️‍🌈 emoji\xf0\x9f\x8e\x89", "<|im_start|>user\n<|im_end|>\n<s></s><|endoftext|><|eot_id|>", "{\"name\": \"f\", \"arguments\": {\"x\": [1, 2.5e-3, null, true]}}",
    "e\xcc\x81 a\xcc\xa3\xcc\x87 A\xcc\x8a \xe2\x84\xab \xef\xac\x81 \xe1\x84\x80\xe1\x85\xa1", "\r\n \t mixed \xc2\xa0 spaces\n",
        "WE'LL they've I'm don't", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa" };
static const char prompt[] = "The quick brown fox jumps over the lazy dog. In 1969, three astronauts left the Earth and flew to the Moon; they brought back stones, and a picture";
enum { MAX_PROMPT_TOK = 32 };

static lmf_status differs(lmf_ctx *ctx, const char *what, const char *detail)
{
    return LMF_FAIL(ctx, LMF_E_INTERNAL, "the written file is not the model: %s differs (%.200s)", what, detail);
}

static lmf_status compare_tensors(const lmf_exporter *x, const lmf_model *got)
{
    const lmf_weights *a = x->model->weights, *b = got->weights;
    for (int32_t i = 0; i < a->n; i++) {
        const lmf_weight *w = lmf_weights_find(b, a->items[i].name);
        if (!w || w->v.n_dims != a->items[i].v.n_dims || memcmp(w->v.dim, a->items[i].v.dim, sizeof w->v.dim))
            return differs(x->ctx, w ? "the shape of a tensor" : "the set of tensors", a->items[i].name);
    }
    for (int32_t i = 0; i < b->n; i++)
        if (!lmf_weights_find(a, b->items[i].name) && strcmp(b->items[i].name, "rope_factors"))
            return differs(x->ctx, "the set of tensors", b->items[i].name);
    if (lmf_model_config(got)->context != lmf_model_config(x->model)->context || lmf_model_config(got)->vocab != lmf_model_config(x->model)->vocab)
        return differs(x->ctx, "the configuration", "context or vocabulary");
    return LMF_OK;
}

static lmf_status compare_values(const lmf_exporter *x, const lmf_out_tensor *t, const lmf_out_part *p, const lmf_weight *got)
{
    int64_t k = p->w->v.dim[p->w->v.n_dims - 1], rows = lmf_view_rows(&p->w->v);
    size_t bytes = 2 * (size_t)k * sizeof(float), stored = lmf_format_bytes(got->v.fmt, k);
    float *want = lmf_alloc(x->ctx, bytes), *have = want + k;
    double sum = 0, error = 0;
    if (!want)
        return LMF_NO_MEMORY(x->ctx, bytes, "comparing tensors");
    for (int64_t i = 0; i < rows; i++) {
        lmf__export_row(p, i, k, want);
        got->v.fmt->unpack((const char *)got->v.data + (size_t)i * stored, have, k);
        for (int64_t j = 0; j < k; j++) {
            double d = (double)want[j] - (double)have[j];
            error += d * d;
            sum += (double)want[j] * (double)want[j];
        }
    }
    lmf_free(x->ctx, want, bytes);
    error = sum > 0 ? sqrt(error / sum) : sqrt(error);
    x->report->max_error = error > x->report->max_error ? error : x->report->max_error;
    if (!(error <= t->fmt->written.error))
        return LMF_FAIL(x->ctx, LMF_E_INTERNAL, "the written file is not the model: %s is off by %.3g of its size, %.3g is allowed for %s",
                        t->name, error, t->fmt->written.error, t->fmt->name);
    return LMF_OK;
}

static lmf_status compare_all_values(const lmf_exporter *x, const lmf_model *got)
{
    for (int64_t i = 0; i < x->n; i++)
        for (int k = 0; k < x->items[i].n_parts; k++) {
            const lmf_out_part *p = &x->items[i].part[k];
            LMF_TRY(compare_values(x, &x->items[i], p, lmf_weights_find(got->weights, p->w->name)));
        }
    return LMF_OK;
}

static lmf_status compare_ids(lmf_ctx *ctx, const lmf_tokenizer *a, const lmf_tokenizer *b, const char *text, size_t n_text, unsigned flags)
{
    lmf_ids x, y;
    lmf_buf back;
    lmf_ids_init(&x, ctx, 1 << 20);
    lmf_ids_init(&y, ctx, 1 << 20);
    lmf_buf_init(&back, ctx, 1 << 20);
    lmf_status s = lmf_tokenizer_encode(a, text, n_text, flags, &x);
    if (!s)
        s = lmf_tokenizer_encode(b, text, n_text, flags, &y);
    if (!s && (x.n != y.n || (x.n && memcmp(x.data, y.data, x.n * sizeof *x.data))))
        s = differs(ctx, "the tokenizer", text);
    if (!s)
        s = lmf_tokenizer_decode(a, x.data, x.n, 0, &back);
    size_t n = back.n;
    if (!s)
        s = lmf_tokenizer_decode(b, y.data, y.n, 0, &back);
    if (!s && (back.n != 2 * n || (n && memcmp(back.data, back.data + n, n))))
        s = differs(ctx, "decoded text", text);
    lmf_buf_clear(&back);
    lmf_ids_clear(&x);
    lmf_ids_clear(&y);
    return s;
}

/* The set but for what the report names as lost. */
static lmf_status compare_ends(const lmf_exporter *x, const lmf_chat *got)
{
    const lmf_chat *c = &x->model->chat;
    for (int i = 0; i < c->n_eos; i++) {
        bool lost = false;
        for (int k = 0; k < x->n_lost_ends; k++)
            lost |= x->lost_end[k] == c->eos[i];
        if (!lost && !lmf_chat_is_eos(got, c->eos[i]))
            return differs(x->ctx, "what ends an answer", "a token is missing");
    }
    for (int i = 0; i < got->n_eos; i++)
        if (!lmf_chat_is_eos(c, got->eos[i]))
            return differs(x->ctx, "what ends an answer", "a token was added");
    return LMF_OK;
}

/* Every added token with and without room around it. */
static lmf_status compare_added(lmf_ctx *ctx, const lmf_tokenizer *a, const lmf_tokenizer *b)
{
    static const char *const around[][2] = { { "", "" }, { " a ", " \n b" }, { "a", "b" } };
    lmf_buf text;
    lmf_status s = LMF_OK;
    lmf_buf_init(&text, ctx, 1 << 20);
    for (size_t i = 0, n; i < lmf_tokenizer_n_tokens(a) && !s; i++) {
        lmf_token_kind kind = lmf_tokenizer_kind(a, (int32_t)i);
        const uint8_t *p = lmf_tokenizer_piece(a, (int32_t)i, &n);
        if (kind != LMF_TOKEN_CONTROL && kind != LMF_TOKEN_UNKNOWN && kind != LMF_TOKEN_USER_DEFINED)
            continue;
        for (size_t k = 0; k < sizeof around / sizeof *around && !s; k++) {
            lmf_buf_truncate(&text, 0);
            s = lmf_buf_puts(&text, around[k][0]);
            if (!s)
                s = lmf_buf_append(&text, p, n);
            if (!s)
                s = lmf_buf_puts(&text, around[k][1]);
            for (unsigned f = 0; f < 2 && !s; f++)
                s = compare_ids(ctx, a, b, lmf_buf_str(&text), text.n, f ? LMF_ENCODE_SPECIAL : 0);
        }
    }
    lmf_buf_clear(&text);
    return s;
}

static lmf_status compare_texts(lmf_exporter *x, const lmf_tokenizer *a, const lmf_tokenizer *b)
{
    x->report->n_texts = 0;
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        LMF_TRY(compare_ids(x->ctx, a, b, texts[i], strlen(texts[i]), LMF_ENCODE_DEFAULTS));
        LMF_TRY(compare_ids(x->ctx, a, b, texts[i], strlen(texts[i]), LMF_ENCODE_SPECIAL));
        x->report->n_texts++;
    }
    return compare_added(x->ctx, a, b);
}

/* own: what the file can hold of the model's tokenizer. */
static lmf_status compare_tokenizer(lmf_exporter *x, const lmf_tokenizer *own, const lmf_model *got)
{
    const lmf_token_ids *a = lmf_tokenizer_ids(own), *b = lmf_tokenizer_ids(got->tokenizer);
    if (a->bos != b->bos || a->pad != b->pad || a->unk != b->unk || a->add_bos != b->add_bos || a->add_eos != b->add_eos)
        return differs(x->ctx, "a special token", "bos, pad, unk, or whether they are added");
    LMF_TRY(compare_ends(x, &got->chat));
    return compare_texts(x, own, got->tokenizer);
}

/* Templates of other names. */
static lmf_status compare_further(const lmf_exporter *x, const lmf_model *got)
{
    size_t n_same = 0, n_want = 0;
    for (size_t i = 0; i < x->model->n_templates; i++) {
        const lmf_named_text *a = &x->model->templates[i];
        n_want += x->opts->format != LMF_EXPORT_GGUF || lmf__export_is_word(a->name);
        for (size_t k = 0; k < got->n_templates; k++)
            n_same += strcmp(a->name, got->templates[k].name) == 0 && strcmp(a->text, got->templates[k].text) == 0;
    }
    return n_same == n_want && got->n_templates == n_want ? LMF_OK : differs(x->ctx, "the chat templates", "those of further names");
}

static lmf_status compare_template(const lmf_exporter *x, const lmf_tokenizer *own, const lmf_model *got)
{
    lmf_chat mine_of = x->model->chat;
    const lmf_chat *a = &mine_of, *b = &got->chat;
    mine_of.tokenizer = own;
    const char *mine = x->model->chat_source ? x->model->chat_source : "", *theirs = got->chat_source ? got->chat_source : "";
    if (!a->source != !b->source || strcmp(mine, theirs))
        return differs(x->ctx, "the chat template", "its text");
    LMF_TRY(compare_further(x, got));
    for (int with_system = 0; a->source && with_system < 2; with_system++) {
        lmf_buf p, q;
        json_t *turns = json_pack("[{s:s, s:s}, {s:s, s:s}, {s:s, s:s}]", "role", "user", "content", "What is 2 + 2?\n", "role", "assistant", "content", "4", "role", "user", "content", "\"Why\"? <b>");
        if (with_system && turns)
            json_array_insert_new(turns, 0, json_pack("{s:s, s:s}", "role", "system", "content", "Be brief. "));
        json_t *vars = json_pack("{s:o}", "messages", turns);
        if (!vars)
            return LMF_NO_MEMORY(x->ctx, 256, "a conversation");
        lmf_buf_init(&p, x->ctx, 1 << 20);
        lmf_buf_init(&q, x->ctx, 1 << 20);
        lmf_status s = lmf_chat_render(a, vars, true, &p, NULL), t = lmf_chat_render(b, vars, true, &q, NULL);
        bool same = s == t && p.n == q.n && (p.n == 0 || memcmp(p.data, q.data, p.n) == 0);
        lmf_buf_clear(&p);
        lmf_buf_clear(&q);
        json_decref(vars);
        if (!same)
            return differs(x->ctx, "the chat template", with_system ? "with a system message" : "without a system message");
    }
    return LMF_OK;
}

/* What the types that were written may change, by their descriptors. */
static void set_limits(const lmf_exporter *x)
{
    lmf_export_report *r = x->report;
    r->dlogit_limit = 1e-3, r->kl_limit = 1e-6;
    for (int64_t i = 0; i < x->n; i++) {
        const lmf_out_tensor *t = &x->items[i];
        bool copied = true;
        for (int k = 0; k < t->n_parts; k++)
            copied &= t->part[k].w->v.dtype == t->fmt->dtype && !t->part[k].b;
        if (copied) /* changes nothing */
            continue;
        const lmf_format_written *w = &t->fmt->written;
        r->dlogit_limit = w->dlogit > 0 ? r->dlogit_limit : 0;
        r->kl_limit = w->kl > r->kl_limit ? w->kl : r->kl_limit;
    }
}

static void compare_row(const float *a, const float *b, int64_t n, lmf_export_report *r)
{
    double max_a = -INFINITY, max_b = -INFINITY, sum_a = 0, sum_b = 0, kl = 0;
    int64_t top_a = 0, top_b = 0;
    for (int64_t i = 0; i < n; i++) {
        double d = fabs((double)a[i] - (double)b[i]);
        r->max_dlogit = d > r->max_dlogit || isnan(d) ? d : r->max_dlogit;
        if ((double)a[i] > max_a)
            max_a = (double)a[i], top_a = i;
        if ((double)b[i] > max_b)
            max_b = (double)b[i], top_b = i;
    }
    for (int64_t i = 0; i < n; i++) {
        sum_a += exp((double)a[i] - max_a);
        sum_b += exp((double)b[i] - max_b);
    }
    for (int64_t i = 0; i < n; i++) {
        double la = (double)a[i] - max_a - log(sum_a), lb = (double)b[i] - max_b - log(sum_b);
        kl += exp(la) * (la - lb);
    }
    r->mean_kl += kl;
    r->same_top += top_a == top_b;
}

static lmf_status compare_logits(const lmf_exporter *x, const lmf_model *got)
{
    lmf_ids ids;
    lmf_scorer *a = NULL, *b = NULL;
    const float *la, *lb;
    lmf_export_report *r = x->report;
    int64_t vocab = lmf_model_config(got)->vocab;
    lmf_ids_init(&ids, x->ctx, 1 << 16);
    lmf_scorer_opts o = { .lora = x->lora, .max_tok = MAX_PROMPT_TOK, .logits = true };
    lmf_status s = lmf_tokenizer_encode(x->model->tokenizer, prompt, strlen(prompt), LMF_ENCODE_DEFAULTS, &ids);
    int32_t n = (int32_t)(ids.n < MAX_PROMPT_TOK ? ids.n : MAX_PROMPT_TOK);
    n = n < lmf_model_config(got)->context ? n : lmf_model_config(got)->context;
    if (!s)
        s = lmf_scorer_create(x->ctx, x->model, &o, &a);
    o.lora = NULL;
    if (!s)
        s = lmf_scorer_create(x->ctx, got, &o, &b);
    if (!s)
        s = lmf_scorer_logits(a, ids.data, n, &la);
    if (!s)
        s = lmf_scorer_logits(b, ids.data, n, &lb);
    for (int32_t t = 0; !s && t < n; t++)
        compare_row(la + t * vocab, lb + t * vocab, vocab, r);
    lmf_scorer_destroy(a);
    lmf_scorer_destroy(b);
    lmf_ids_clear(&ids);
    LMF_TRY(s);
    r->n_prompt_tok = n;
    r->mean_kl /= n;
    r->same_top /= n;
    if (!isfinite(r->max_dlogit) || !isfinite(r->mean_kl))
        return LMF_FAIL(x->ctx, LMF_E_LIMIT, "on a prompt of %d tokens the model gives values that are no numbers: its weights are "
            "damaged or too large", n);
    if (!(r->mean_kl <= r->kl_limit) || (r->dlogit_limit > 0 && !(r->max_dlogit <= r->dlogit_limit)))
        return LMF_FAIL(x->ctx, LMF_E_INTERNAL, "the written file is not the model: on a prompt of %d tokens logits differ by up to %.3g and the mean KL is %.3g; %.3g is allowed for this type", n,
                        r->max_dlogit, r->mean_kl, r->kl_limit);
    return LMF_OK;
}

/* What the file is judged by where the report names a loss; NULL: the model's own tokenizer. */
static lmf_status make_held(const lmf_exporter *x, lmf_tokenizer **held)
{
    lmf_vocab v = lmf__export_vocab(x);
    *held = NULL;
    return *x->report->losses ? lmf_tokenizer_create(x->ctx, &v, held) : LMF_OK;
}

lmf_status lmf__export_verify_text(lmf_exporter *x, const char *dir)
{
    lmf_model *got = NULL;
    int64_t rows = lmf_model_config(x->model)->vocab;
    lmf_tokenizer *held;
    LMF_TRY(make_held(x, &held));
    const lmf_tokenizer *own = held ? held : x->model->tokenizer;
    lmf_status s = lmf_model_open_text(x->ctx, dir, rows, &got);
    if (!s && (lmf_model_config(got)->context != lmf_model_config(x->model)->context ||
               lmf_model_config(got)->n_layers != lmf_model_config(x->model)->n_layers))
        s = differs(x->ctx, "the configuration", "context or layers");
    if (!s)
        s = compare_tokenizer(x, own, got);
    if (!s)
        s = compare_template(x, own, got);
    lmf_model_close(got);
    lmf_tokenizer_destroy(held);
    return s;
}

lmf_status lmf__export_verify(lmf_exporter *x, const char *path)
{
    lmf_model *got = NULL;
    lmf_tokenizer *held;
    lmf_status s = make_held(x, &held);
    const lmf_tokenizer *own = held ? held : x->model->tokenizer;
    if (!s)
        s = lmf_model_open(x->ctx, path, &got);
    set_limits(x);
    if (!s)
        s = compare_tensors(x, got);
    if (!s)
        s = compare_all_values(x, got);
    if (!s)
        s = compare_tokenizer(x, own, got);
    if (!s)
        s = compare_template(x, own, got);
    if (!s)
        s = compare_logits(x, got);
    lmf_model_close(got);
    lmf_tokenizer_destroy(held);
    x->report->verified = !s;
    return s;
}
