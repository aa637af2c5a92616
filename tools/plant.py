#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Plants faults in src/, one at a time, and says which ones the tests see.

    tools/plant.py [--n 40] [--only WORDS] [--check] [--resume] [--work FOLDER]

Each fault is a file, an exact old text that stands there exactly once, and a new one. All faults are looked up before anything is
built; one that is not found exactly once ends the run (--check ends there, too). They are planted in a copy of the working tree
under FOLDER (default build/plant), which is built with ccache where that is installed. Seen is a fault when a test fails. A first
round runs only what is named beside each fault, which is quick; what is left then meets all of `lmf_tests`, then the whole-program
tests. Each of these must pass on the tree without a fault. What does not build is no fault.
FOLDER/tried.jsonl holds a line for each fault that was tried, with the commit; --resume goes on behind those. What is printed last are
the sums, where they were tried, and those that survived, by name: docs/soak/plant.md.
--n takes that many, spread over the list; default all. Exits 1 when fewer than 95 % are seen."""
import argparse
import collections
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[1]
ENOUGH, TEST_SECONDS = 0.95, 1200
CAP = "\n    b->cap_tok = micro_tok ? micro_tok : DEFAULT_MICRO_TOK;\n    "  # tells two places apart
# file, old, new, what is run first: folders and names of lmf_tests, files of tests/cli
FAULTS = [
    ("src/base/team.h", "(i < more ? i : more), e", "(i < more ? i : 0), e", "src/base tests/unit"),
    ("src/base/half.h", "a += 0xfff + (a >> 13 & 1);", "a += 0xfff;", "tests/unit"),
    ("src/base/philox.h", "(p1 >> 32) ^ c1 ^ k0", "(p1 >> 32) ^ c1", "tests/unit"),
    ("src/base/arena.c", "(bytes + 15) & ~(size_t)15", "(bytes + 7) & ~(size_t)7", "tests/unit"),
    ("src/base/buf.c", "b->n > b->max - extra", "b->n > b->max", "tests/unit"),
    ("src/config/flag.c", "if (f->hi >= 9e15)", "if (f->hi >= 9e1)", "tests/cli/test_help.py tests/cli/test_flags.py"),
    ("src/train/run.c", "o.epochs = a->epochs;", "o.epochs = (float)(int)a->epochs;", "tests/cli/test_train.py"),
    ("src/cli/answer.c", "lmf_chat_encode(&a->model->chat, vars, true, &a->ids)", "lmf_chat_encode(&a->model->chat, vars, false, &a->ids)",
     "tests/cli/test_generate.py"),
    ("src/data/pack.c", "room[b] < room[best]", "room[b] > room[best]", "src/data"),
    ("src/data/samples.c", "m->learn[k] = at >= m->spans.items[s].begin;", "m->learn[k] = at > m->spans.items[s].begin;", "src/data"),
    ("src/data/rows.c", 'return !strcmp(before, "assistant") || !strcmp(before, "tool");', 'return !strcmp(before, "assistant");',
     "src/data"),
    ("src/device/plugin.c", "if (strcmp(p->tables_hash, LMF_TABLES_HASH))", "if (!p->tables_hash)", "src/device"),
    ("src/eval/perplexity.c", "context / 2 + 1;", "context / 2;", "src/eval"),
    ("src/eval/score.c", "logp[i] = from[i - 1];", "logp[i] = from[i];", "src/eval"),
    ("src/models/adapter.c", "(float)(scale * (double)b[k])", "b[k]", "src/models src/eval src/export src/infer"),
    ("src/export/verify.c", "r->mean_kl += kl;", "(void)kl;", "src/export"),
    ("src/export/verify.c", "sum += (double)want[j] * (double)want[j];", "sum += 1e9;", "src/export"),
    ("src/export/tensors.c", "x->report->n_fallback += fell;", "(void)fell;", "src/export"),
    ("src/format/forms.c", "i - at + 2 * (at % half) + at / half", "i", "src/format src/models src/export"),
    ("src/format/adapter_read.c", "c->alpha = 8; /* PEFT's default */", "c->alpha = 16;", "src/format"),
    ("src/graph/graph.c", "if (t->version != owner_of(t)->now)", "if (t->version > owner_of(t)->now)", "src/graph"),
    ("src/graph/place.c", "s->r[i].last >= it->first && s->r[i].first <= it->last", "s->r[i].last > it->first && s->r[i].first < it->last",
     "src/graph"),
    ("src/graph/autodiff.c", "if (n->in[k] == n->in[i])", "if (n->in[k] == n->in[i] && k > 1)", "src/graph"),
    ("src/infer/engine.c", "number[LMF_SAMPLE_MIN_P] = o->min_p", "number[LMF_SAMPLE_MIN_P] = 0", "src/infer"),
    ("src/infer/engine.c", "e->n_prefill_tok += s->step_rows - (s->step_sample >= 0);", "e->n_prefill_tok += s->step_rows;", "src/infer"),
    ("src/infer/engine.c", "e->n_steps++;", "e->n_steps += e->n_batch;", "src/infer"),
    ("src/infer/session.c", "*n_cached = s->n_kv;", "*n_cached = s->n_tok;", "src/infer"),
    ("src/infer/adapter.c", "part, pair->scale, (float *)", "part, 1, (float *)", "src/infer"),
    ("src/nn/rope_freq.c", "(1 - smooth) * f / (double)r->factor + smooth * f", "smooth * f / (double)r->factor + (1 - smooth) * f",
     "rope_freq"),
    ("src/nn/rope_freq.c", 'if (is_type(r, "linear")) {', 'if (is_type(r, "linear") && r->factor < 0) {', "rope_freq"),
    ("src/models/model_gguf.c", "if (n != m->vocab.n_tokens)", "if (n < m->vocab.n_tokens)", "src/models"),
    ("src/nn/nn.c", "{ 1, nn->lora_scale, nn->compute }", "{ 1, 1, nn->compute }", "src/nn"),
    ("src/ops/rms_norm/rms_norm_cpu.c", "float r = 1 / sqrtf(s", "float r = 1.000008f / sqrtf(s", "rms_norm"),
    ("src/ops/gelu/gelu_cpu.c", "lmf_vf_store(y + i, forward(lmf_vf_load(x + i)));",
     "lmf_vf_store(y + i, forward(lmf_vf_load(x + i)) * 1.000008f);", "gelu"),
    ("src/ops/adamw/adamw_cpu.c", "(norm + 1e-6f)", "norm", "adamw"),
    ("src/ops/attention/attention_tile.h", "lmf_vf_set1(1.6666665459e-1f)", "lmf_vf_set1(1.67e-1f)", "src/ops/attention"),
    ("src/ops/embed/embed_cpu.c", "dw[token[t] * d + i] += dy", "dw[token[t] * d + i] = dy", "embed"),
    ("src/ops/rope/rope_cpu.c", "1.0 / 120, -1.0 / 6", "1.0 / 121, -1.0 / 6", "rope"),
    ("src/ops/sample/sample_cpu.c", "if (p < (double)num[LMF_SAMPLE_MIN_P])", "if (p < 0)", "sample"),
    ("src/ops/swiglu/swiglu_cpu.c", "lmf_vf_fma(z, one - s, one)", "lmf_vf_fma(z, one - s, s)", "swiglu"),
    ("src/quant/q6_k/q6_k.c", "float steps = -128.0f / top;", "float steps = -127.0f / top;", "src/quant"),
    ("src/quant/q6_k/q6_k.c", "sum_l2 += w * l * l;", "sum_l2 += w * l * l * 1.001f;", "src/quant"),
    ("src/text/template/json.c", "c == '\\b' ? \"\\\\b\" : ", "", "src/text"),
    ("src/text/tokenizer/pretok.c", "a == 's' || a == 't' || a == 'm' || a == 'd'", "a == 's' || a == 't' || a == 'm'", "src/text"),
    ("src/text/tokenizer/bpe.c", "if (rank[i] < rank[best])", "if (rank[i] <= rank[best])", "src/text"),
    ("src/text/chat/chat.c", "if (c->eos[i] == id)", "if (c->eos[0] == id)", "src/text src/models src/export src/infer"),
    ("src/train/batches.c", "ceil(epochs * (double)b->steps_per_epoch);" + CAP + "int32_t",
     "(epochs * (double)b->steps_per_epoch);" + CAP + "int32_t", "batches"),
    ("src/train/batches.c", "ceil(epochs * (double)b->steps_per_epoch);" + CAP + "int64_t",
     "(epochs * (double)b->steps_per_epoch);" + CAP + "int64_t", "batches tests/cli/test_reason.py"),
    ("src/train/schedule.c", "0.5 * (1 + cos(M_PI * at))", "0.5 * (1 + cos(M_PI * at)) * at", "schedule"),
    ("src/train/trainer.c", "(double)(t->step + 1 - t->n_skipped)", "(double)(t->step + 1)", "trainer checkpoint"),
    ("src/train/trainer.c", "t->total_tok += t->now.n_tok;", "t->total_tok += t->now.n_learn;", "trainer"),
    ("src/train/params.c", "float bound = 1 / sqrtf((float)q->dim[1]);", "float bound = 1 / sqrtf((float)q->dim[0]);", "params"),
    ("src/train/checkpoint.c", "t->n_skipped = skipped, ", "", "checkpoint trainer"),
    ("src/train/objective.c", "return lmf_place_learned(p) ? p->sample->id[p->i_tok + 1] : 0;",
     "return lmf_place_learned(p) ? p->sample->id[p->i_tok] : 0;", "gradients"),
    ("src/train/objective.c", "p->member == 0 && lmf_place_learned(p) ? 1 / (double)p->totals->n_learn[0] : 0;",
     "p->member == 1 && lmf_place_learned(p) ? 1 / (double)p->totals->n_learn[0] : 0;", "dpo_losses orpo cpo"),
    ("src/train/objective.c", "p->member == 0 && lmf_place_learned(p) ? 1 / (double)p->totals->n_learn[0] : 0;",
     "p->member == 0 && lmf_place_learned(p) ? lmf_value_per_token(p) / (double)p->totals->n_groups : 0;", "dpo_losses orpo cpo"),
    ("src/train/objectives/orpo.c", "static double target(const lmf_place *p) { return is_counted(p)",
     "static double target(const lmf_place *p) { return lmf_place_learned(p)", "orpo"),
    ("src/train/objective.c", "return lmf_place_learned(p) ? lmf_value_per_token(p) : 0; }",
     "return lmf_place_has_next(p) ? lmf_value_per_token(p) : 0; }", "simpo ipo orpo"),
    ("src/train/objective.h", "return lmf_place_has_next(p) && p->sample->learn[p->i_tok + 1]; }",
     "return lmf_place_has_next(p); }", "gradients dpo"),
    ("src/train/objectives/ipo.c", "in->in[REFERENCE], in->in[PER_TOKEN]", "in->in[REFERENCE], NULL", "ipo"),
    ("src/train/objectives/simpo.c", "in->start, in->in[MEAN]", "in->start, NULL", "simpo"),
    ("src/train/objectives/cpo.c", "in->in[CHOSEN], o->cpo_alpha", "in->in[CHOSEN], 0", "cpo"),
    ("src/train/objectives/kto.c", "sum > 0 ? sum / (double)n : 0;", "sum / (double)n;", "kto"),
    ("src/train/objectives/kto.c", "p->totals->n_label[p->sample->label > 0]", "p->totals->n_label[p->sample->label < 0]", "kto"),
    ("src/data/samples.c", "k = k ? k - 2 : all->n - 2;", "k = k ? k - 2 : 0;", "src/data"),
    ("src/data/samples.c", "while (k != i && same_prompt(", "while (k != i && k == i && same_prompt(", "src/data"),
    ("src/ops/head_kl/head_kl_rows.h", "*slope = (1 - beta) * s * to_m;", "*slope = s * to_m;", "src/ops/head_kl"),
    ("src/ops/head_kl/head_kl_rows.h", "lmf_vf_fma(rest, lmf_vf_load(r->s + i * LMF_VOCAB_TILE + j), own * lmf_vf_load(t))",
     "own * lmf_vf_load(t)", "src/ops/head_kl"),
    ("src/ops/head_topk/head_topk_rows.h", "o->factor[t] = (float)(rest_slope - mean);", "o->factor[t] = (float)-mean;",
     "src/ops/head_topk"),
    ("src/train/objectives/distill.c", 'constant(g, "rest", 1 - o->alpha)', 'constant(g, "rest", o->alpha)', "distill"),
    ("src/train/objectives/distill.c", "return start + (1 - start) * p->totals->progress;", "return start;", "distill"),
    ("src/train/trainer.c", "totals.progress = (double)t->step / (double)b->n_steps;", "totals.progress = 0;", "distill"),
    ("src/train/teacher.c", "rest[at] = own_rest[row++];", "rest[at] = own_rest[row];", "tests/cli/test_teacher_labels.py"),
    ("src/train/teacher.c", "n_a == n_b && memcmp(x, y, n_a) == 0", "n_a == n_b", "tests/cli/test_distill.py"),
    ("src/train/labels_write.c", "add_label(m, logits + (k - 1) * width, n_vocab)", "add_label(m, logits + k * width, n_vocab)", "labels"),
    ("src/train/labels_write.c", "(float)log(1 - likely)", "(float)log(likely)", "labels"),
    ("src/train/labels.c", "s->first = first;", "s->first = 0;", "labels"),
    ("src/train/labels.c", "if (strcmp(sha, want))", "if (!want[0])", "labels"),
    ("src/train/checkpoint.c", "lmf_labels_get_info(t->opts.labels)->digest : t->opts.teacher ? t->teacher_sha256 : NULL;", "NULL : NULL;",
     "distill"),
    ("src/train/evaluate.c", "score_range(t, &laid, &r, logp ? logp + k : NULL, size, tok)",
     "score_range(t, &laid, &r, logp ? logp + k * n : NULL, 1, tok)", "dpo dpo_losses ipo"),
    ("src/ops/pair_loss/pair_loss.c", "const lmf_pair_loss_attrs *a, double d, double *slope)\n{",
     "const lmf_pair_loss_attrs *a, double d, double *slope)\n{\n    d = -d;", "src/ops/pair_loss"),
    ("src/ops/odds_loss/odds_loss.c", ": log1p(-exp(x));", ": -exp(x);", "src/ops/odds_loss"),
    ("src/ops/odds_loss/odds_loss.c", "x[k] = logp[k] > -0x1p-20 ? -0x1p-20 : logp[k];", "x[k] = logp[k];", "src/ops/odds_loss"),
    ("src/ops/segment_sum/segment_sum.c", "weight_of(c, 3, t) * lmf_get(&c->in[0], s)", "lmf_get(&c->in[0], s)", "src/ops/segment_sum"),
    ("src/base/plain.c", "p[0] == 0xC2 && p[1] < 0xA0", "p[0] == 0xC2 && p[1] < 0x80", "tests/unit"),
    ("src/base/magic.c", "p[1] >= 2 && p[1] <= 5", "p[1] >= 3 && p[1] <= 5", "tests/unit"),
    ("src/base/name_index.c", "strcmp(s->slot[i].name, name))", "strncmp(s->slot[i].name, name, 12))", "tests/unit src/graph src/models"),
    ("src/base/output.c", "int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);\n    *out = fd",
     "int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);\n    *out = fd", "tests/unit tests/cli/test_outputs.py"),
    ("src/device/cpu/gemm.h", "for (; c < n; c++)\n        for (int r = 0; r < 8; r++)\n            out[c * stride + r]",
     "for (; c + 1 < n; c++)\n        for (int r = 0; r < 8; r++)\n            out[c * stride + r]", "src/ops/matmul"),
    ("src/device/cpu/vocab.h", "r->sums[i * h->d + e] *= f;", "r->sums[i * h->d + e] *= 1;", "src/ops/head_nll src/ops/head_logp"),
    ("src/graph/device_weights.c", "if (w->version == w->set->version)", "if (w->version <= w->set->version)", "src/graph src/infer"),
    ("src/config/dialect.c", "(k == n && strncmp(p, text, n) == 0)", "(k >= n && strncmp(p, text, n) == 0)", "src/config"),
    ("src/config/document.c", '"%.17g", json_real_value(v)', '"%.6g", json_real_value(v)', "src/config"),
    ("src/format/hf_special.c", "s->n_more += i == s->n_more;", "s->n_more++;", "src/format src/models"),
    ("src/format/receipt.c", 'if (!holds(receipt, "files", file, n, sha) && !holds(', 'if (n == 0 && !holds(', "src/format src/export"),
    ("src/data/csv.c", "c->line += x == '\\n';", "c->line += 0;", "src/data"),
    ("src/data/normal.c", "if (!a || json_is_null(a) || is_blank(a))", "if (!a || json_is_null(a))", "src/data"),
    ("src/data/formats/sharegpt.c", '(weight && json_object_set(m, "weight", weight)) || ', "", "src/data"),
    ("src/data/dataset.c", "f->n_duplicates++ == 0", "f->n_duplicates == 0", "src/data"),
    ("src/models/granite.c", "heads.attn.scale = own->attn;", "", "families"),
    ("src/models/smollm3.c", "c->turns.v[layer] != 0", "c->turns.v[layer] == 0", "src/models families"),
    ("src/models/unread.c", '{ "attention.causal", TRUTH }', '{ "attention.causal", ANY }', "src/models"),
    ("src/nn/rope_freq.c", "1 / ((1 - smooth) / factor + smooth)", "(1 - smooth) * factor + smooth", "src/nn rope_freq src/export"),
    ("src/infer/cache.c", "p->kept[page].space.adapter == adapter)", "p->kept[page].space.adapter != adapter)", "src/infer"),
    ("src/infer/draft.c", "n = n < room ? n : room;", "", "src/infer"),
    ("src/infer/scheduler.c", "gen.seed += (uint64_t)answer;", "", "src/infer"),
    ("src/infer/live.c", "lmf__sessions_forget(e, i);\n        changed", "changed", "live_adapter src/infer"),
    ("src/verify/tool_call.c", "bool same = json_array_size(a) == json_array_size(b);", "bool same = true;", "src/verify"),
    ("src/export/losses.c", "LMF_ADDED_LSTRIP | LMF_ADDED_RSTRIP | LMF_ADDED_SINGLE_WORD", "LMF_ADDED_LSTRIP | LMF_ADDED_SINGLE_WORD",
     "src/export"),
    ("src/observe/events.c", "0xa282ead8u", "0xa282ead9u", "tests/cli/test_report.py"),
    ("src/observe/svg.c", "strchr(\"&<>\\\"'\", *text)", "strchr(\"&<>'\", *text)", "tests/cli/test_report.py"),
    ("src/serve/guard.c", ' && strspn(host, "0123456789.") == strlen(host)', "", "origin"),
    ("src/serve/tenant.c", "t->allowance -= 1;", "t->allowance -= 0.5;", "src/serve"),
    ("src/serve/histogram.c", "n += h->n[LMF_HISTOGRAM_BINS];", "", "src/serve"),
    ("src/calls/tool_scan.c", "i += text[i] == '\\\\';", "", "src/calls"),
    ("src/serve/http.c", "h->parser.http_minor == 0", "h->parser.http_minor > 1", "src/serve"),
    ("src/text/grammar/number.c", "digits(s, 0, n - 2)", "digits(s, 0, n - 1)", "src/text"),
    ("src/text/grammar/mask.c", "if (w->v->twin[leaf.token] >= 0)", "if (w->v->twin[leaf.token] > 1 << 30)", "src/text"),
    ("src/text/stream/stream.c", "(at + n == end && at < *cut)", "(at + n == end && at > *cut)", "src/text"),
    ("src/train/guards.c", "row_norm(w, i, row) > 1e-3 * mean", "row_norm(w, i, row) > 1e-30 * mean", "tests/cli/test_guards.py"),
    ("src/train/run_folder.c", "return out->n_adapter++, lmf_receipt_check(ctx, receipt, dir, name);", "return out->n_adapter++, LMF_OK;",
     "tests/cli/test_outputs.py"),
    ("src/train/tuned.c", "same ? tied->name : w->name", "w->name", "tuned"),
    ("src/ops/scale_by/scale_by_cpu.c", "lmf_vf_fma(lmf_vf_load(part), s, lmf_vf_load(add))", "lmf_vf_load(part) * s + lmf_vf_load(add)",
     "src/ops/scale_by"),
    ("src/ops/lora_gate/lora_gate_cpu.c", "slot < width / rank", "slot < width / rank - 1", "src/ops/lora_gate"),
    ("src/quant/q5_1/q5_1.c", "(x[e] - lo) * r + 0.5f, 0, 31", "(x[e] - lo) * r + 0.4999f, 0, 31", "src/quant"),
    ("src/verify/number.c", "find_number(p ? p : text, !p, out)", "find_number(p ? p : text, true, out)", "src/verify"),
    ("src/verify/number.c", " && p[-2] != ')'", "", "src/verify"),
    ("src/verify/exact.c", "strchr(\".!?\", p[n - 1])", "p[n - 1] == '.'", "src/verify"),
    ("src/verify/json_schema.c", "& 0xc0) != 0x80;", "& 0xc0) != 0x40;", "src/verify"),
    ("src/verify/json_schema.c", "size_t i = json_array_size(json_object_get(s, \"prefixItems\"))", "size_t i = 0", "src/verify"),
    ("src/verify/tool_call.c", "v->exact = counted && is_same_around(&want, &got);", "v->exact = counted;", "src/verify"),
    ("src/guard/guard.c", "score == out->score && at + m.n > out->end", "score == out->score && at + m.n < out->end", "src/guard"),
    ("src/guard/guard.c", "if (k == n && (i + n == at || !lmf_is_word((unsigned char)t->s[i + n])))", "if (k == n)", "src/guard"),
    ("src/guard/recognizers/iban.c", "\"NO15\"", "\"NO16\"", "src/guard"),
    ("src/guard/recognizers/credit_card.c", "n == 13 ? issuers[i].score / 2 : issuers[i].score", "issuers[i].score", "src/guard"),
    ("src/guard/guard.c", "lmf_buf_puts(&b, salt);", "", "src/guard"),
    ("src/hub/cache.c", "*holds = !strcmp(hex, b->etag);", "*holds = n_digest > 0;", "tests/cli/test_hub.py"),
    ("src/hub/cache.c", "r->status == 206 && (r->from != b->have || ", "r->status == 206 && (", "tests/cli/test_hub.py"),
    ("src/hub/http.c", "if (headers && x.of_hub && h->token[0]) {", "if (headers && h->token[0]) {", "tests/cli/test_hub.py"),
    ("src/hub/choose.c", "all->item[i].wanted = in && !bad;", "all->item[i].wanted = in;", "tests/cli/test_hub.py"),
    ("src/hub/name.c", "int own = !strncmp(from, \"refs/\", 5) ? 2 : 0;", "int own = 0;", "tests/cli/test_hub.py"),
    ("src/compress/measure.c", "for (int t = W / 2; t < W - 1; t++)",
     "for (int t = 0; t < W - 1; t++)", "src/compress"),
    ("src/compress/measure.c", "out->same_top += p.top == q.top;",
     "out->same_top += p.top >= 0;", "src/compress"),
    ("src/compress/solve_cpu.c", "sum += lmf_vf_load(w + e) * r * r;", "sum += r * r;", "src/compress"),
    ("src/compress/solve_cpu.c", "acc[t] += e * l[t];", "acc[t] -= e * l[t];", "src/compress"),
    ("src/compress/imatrix.c", "(uint32_t)(im->chunk_tok ? most / im->chunk_tok : 1)", "1", "src/compress"),
    ("src/serve/mcp.c", "if (id && json_equal(c->id, id)) {", "if (id) {", "tests/cli/test_mcp.py"),
    ("src/serve/mcp.c", " && p->tenant->metrics) {", ") {", "tests/cli/test_mcp.py"),
    ("src/serve/mcp_tools.c", "size_t k = call->n_prefix;", "size_t k = 0;", "tests/cli/test_mcp.py"),
    ("src/serve/mcp_tools.c", "/ (sum > 0 ? sqrt(sum) : 1)", "/ (sum > 0 ? sum : 1)", "tests/cli/test_mcp.py"),
    ("src/train/rollout.c", "*std = count > 1 ? sqrt(square / (count - 1)) : 0;",
     "*std = count > 1 ? sqrt(square / count) : 0;", "grpo tests/cli/test_reason.py"),
    ("src/train/rollout.c", "n += r->answer[k].out || is_masked(r, &r->answer[k]) ? 0 : r->answer[k].n;",
     "n += r->answer[k].out ? 0 : r->answer[k].n;", "grpo tests/cli/test_reason.py"),
    ("src/train/objectives/grpo.c", "o->epsilon_high < 0 ? o->epsilon : o->epsilon_high", "o->epsilon", "grpo"),
    ("src/ops/policy_loss/policy_loss.c", "(a->kl_ratio ? kl : 0) - w * expm1(x)", "-w * expm1(x)", "policy_loss"),
    ("src/train/pretrain.c", "w->n_train = n - held;", "w->n_train = n;", "tests/cli/test_pretrain.py"),
    ("src/train/pretrain.c", "held = share >= 1 ? (int64_t)share", "held = share > 1 ? (int64_t)share", "tests/cli/test_pretrain.py"),
    ("src/data/shards.c", "at += (uint64_t)seq_tok - 1", "at += (uint64_t)seq_tok", "shards"),
    ("src/quant/nf4/nf4.c", "float offset = n ? (float)(sum / (double)n) : 0;", "float offset = 0;", "src/quant"),
    ("src/quant/dynamic8.c", "fmaf(-step, (float)(n - i), 1)", "fmaf(step, (float)i, 0.1f)", "src/quant src/ops/adamw_8bit"),
    ("src/ops/adamw_8bit/adamw_8bit.h", "(sqrtf(b[i]) / root + h[LMF_ADAMW_8BIT_EPS])",
     "((sqrtf(b[i]) + h[LMF_ADAMW_8BIT_EPS]) / root)", "src/ops/adamw_8bit"),
    ("src/quant/iq4_nl/iq4_nl.c", "v - (float)levels[q] >= (float)levels[q + 1] - v",
     "v - (float)levels[q] > (float)levels[q + 1] - v", "src/quant"),
    ("src/quant/iq4_nl/iq4_nl.c", "w = x[e] * x[e];", "w = fabsf(x[e]);", "src/quant"),
    ("src/calls/tool_form.c", 'json_object_get(j, "arguments") ? "arguments"', 'json_object_get(j, "arguments") ? "parameters"',
     "src/calls"),
    ("src/calls/tool_form.c", "sizeof out->lead, space, begin);", "sizeof out->lead, begin, begin);", "src/calls"),
    ("src/calls/tool_form.c", "sizeof out->between, end[0], begin[1]);", "sizeof out->between, end[0], end[0]);", "src/calls"),
    ("src/calls/tool_scan.c", "s->escaped = true;", "s->escaped = false;", "src/calls"),
    ("src/agent/agent.c", "x->has_private |= use->is_private;", "", "tests/cli/test_agent.py"),
    ("src/agent/agent.c", "bool again = !s && ", "bool again = s && ", "tests/cli/test_agent.py"),
    ("src/agent/agent.c", "x->no_calls |= x->out->n_turns == x->o->max_turns;", "", "tests/cli/test_agent.py"),
    ("src/agent/think.c", "th->n_tok ? k->sum / th->n_tok : 0;", "k->sum;", "tests/cli/test_think.py"),
    ("src/agent/think.c", "first - second > t->n - t->n_done;", "first - second >= t->n - t->n_done;", "tests/cli/test_think.py"),
    ("src/agent/think.c", "return a->ended;\n    return x", "return b->ended;\n    return x", "tests/cli/test_think.py"),
    ("src/agent/think.c", "return -a->n_tok;", "return a->n_tok;", "tests/cli/test_think.py"),
    ("src/cli/cmd_think.c", "sum->square += *taken * *taken", "sum->square += *taken", "tests/cli/test_think.py"),
    ("src/agent/tool.c", "r->n_replaced += !good;", "r->n_replaced += good;", "src/agent tests/cli/test_agent.py"),
    ("src/agent/tool.c", "return i - 1;\n    return n;", "return i;\n    return n;", "src/agent"),
    ("src/agent/tools/calculator.c", "x = pow(x, power(r));", "x = pow(x, value(r));", "src/agent"),
    ("src/sandbox/filter.c", "SOCK_STREAM, 1, 0", "SOCK_DGRAM, 1, 0", "src/sandbox tests/cli/test_sandbox.py"),
    ("src/sandbox/scratch.c", "w->n_bytes += (int64_t)st.st_blocks * 512;", "w->n_bytes += 0;", "src/sandbox"),
    ("src/observe/trace.c", "t->info.n_sent += n_spans - n_rejected;", "t->info.n_sent += n_spans;", "tests/cli/test_trace.py"),
    ("src/observe/trace.c", "parent->sampled = flags & 1;", "parent->sampled = flags != 0;", "tests/cli/test_trace.py"),
    ("src/observe/trace.c", "lmf_wire_int(&value, 2, a->integer)", "lmf_wire_int(&value, 3, a->integer)", "tests/cli/test_trace.py"),
    ("src/guard/guard.c", "best.n = n > best.n ? n : best.n;", "best.n = n ? n : best.n;", "src/guard"),
    ("src/guard/vault.c", " && (bits & ((1u << n_bits) - 1)) == 0", "", "src/guard"),
    ("src/serve/adapters.c", "slot >= 0 && --a->of[slot].n_users == 0 && ", "slot >= 0 && ", "tests/cli/test_serve_adapters.py"),
    ("src/serve/adapters.c", " && strncmp(dir, a->root, n) == 0 && dir[n] == '/';", " && strncmp(dir, a->root, n) == 0;",
     "tests/cli/test_serve_adapters.py"),
    ("src/quant/dot_tile.h", "case 3: kernel(mul, w, stride, a, x_stride, 3, k, y)", "case 3: kernel(mul, w, stride, a, x_stride, 2, k, y)",
     "src/quant"),
    ("src/quant/dot_tile.h", "LMF_TI(fmadd_ps)(t->m, LMF_TI(set1_ps)(x->s), off[j]);",
     "LMF_TI(fmadd_ps)(t->m, LMF_TI(set1_ps)(x->d), off[j]);", "src/quant"),
]


def run(command, cwd, seconds=TEST_SECONDS, env=None):
    """Whether it ended with 0, and what it printed. Standing still is a failure."""
    try:
        p = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=seconds,
                           env=env)
        return p.returncode == 0, p.stdout.decode(errors="replace")
    except subprocess.TimeoutExpired:
        return False, f"no end within {seconds} s"


def misplaced(tree):
    """Faults whose old text is not in its file exactly once."""
    bad = []
    for file, old, new, _ in FAULTS:
        path = tree / file
        n = path.read_text().count(old) if path.exists() else 0
        if n != 1 or old == new:
            bad.append(f'{file}: "{old}" stands there {n} times, not once')
    return bad


def copy_tree(to):
    """Tracked and new files; what did not change keeps its time, so that nothing is built twice."""
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout
    wanted = {n for n in names.decode().split("\0") if n and (ROOT / n).is_file()}
    for name in wanted:
        at = to / name
        if not at.exists() or at.read_bytes() != (ROOT / name).read_bytes():
            at.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, at)
    for folder in ("src", "tests"):
        for path in (to / folder).rglob("*"):
            if path.is_file() and str(path.relative_to(to)) not in wanted:
                path.unlink()


class Bench:
    def __init__(self, tree):
        self.tree, self.build = tree, tree / "build" / "release"
        self.env = dict(os.environ, LMFAST_BUILD=str(self.build))
        if shutil.which("ccache"):
            self.env.update(CMAKE_C_COMPILER_LAUNCHER="ccache", CCACHE_BASEDIR=str(tree), CCACHE_NOHASHDIR="1")
        self.python = subprocess.run([ROOT / "tools" / "venv.sh", "test"], stdout=subprocess.PIPE, check=True, text=True).stdout.strip()

    def configure(self):
        return run(["cmake", "--preset", "release", "-Wno-dev", "-DLMF_CUDA=OFF"], self.tree, env=self.env)

    def make(self, names=""):
        """What the tests of these names need; "": all."""
        of_cli = [n.startswith("tests/cli") for n in names.split()]
        targets = (["lmfast", "driver_cli"] if any(of_cli) or not of_cli else []) + (["lmf_tests"] if not all(of_cli) or not of_cli else [])
        return run(["ninja", "-C", str(self.build), *targets], self.tree, env=self.env)

    def passes(self, names):
        cli = [n for n in names.split() if n.startswith("tests/cli")]
        rest = [n for n in names.split() if n not in cli]
        return (not (rest or not cli) or run([self.build / "lmf_tests", *rest], self.tree, env=self.env)[0]) and \
            (not cli or run([self.python, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *cli], self.tree, env=self.env)[0])

    def seen_by_all(self):
        """Name of the program that fails, or None."""
        if not self.passes(""):
            return "all of lmf_tests"
        return None if self.passes("tests/cli") else "tests/cli"


def try_fault(bench, fault, whole):
    """What sees it, "does not build", or None."""
    file, old, new, first = fault
    path = bench.tree / file
    text = path.read_text()
    try:
        path.write_text(text.replace(old, new))
        ok, output = bench.make("" if whole else first)
        if not ok:
            return "does not build: " + " ".join(output.split())[-300:]
        if whole:
            return bench.seen_by_all()
        return None if bench.passes(first) else first
    finally:
        path.write_text(text)


class Record:
    """A line a fault and round: what saw it ("": nothing), and where."""

    def __init__(self, path, resume):
        self.path, self.lines = path, []
        self.commit = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, stdout=subprocess.PIPE, text=True).stdout.strip()
        if resume and path.exists():
            self.lines = [json.loads(line) for line in path.read_text().splitlines()]
        else:
            path.write_text("")

    def add(self, fault, by, whole, seconds):
        self.lines.append({"fault": list(fault[:3]), "by": by or "", "whole": whole, "commit": self.commit, "seconds": round(seconds)})
        with self.path.open("a") as f:
            f.write(json.dumps(self.lines[-1]) + "\n")

    def find(self, fault):
        """Its last line, or None."""
        return next((r for r in reversed(self.lines) if r["fault"] == list(fault[:3])), None)

    def is_left(self, fault, whole):
        r = self.find(fault)
        return not r or (whole and not r["by"] and not r["whole"])


def one_round(bench, faults, whole, record):
    """Prints a line a fault."""
    for fault in faults:
        start = time.time()
        by = try_fault(bench, fault, whole) if whole or fault[3] else None
        record.add(fault, by, whole, time.time() - start)
        verdict = f"seen by {by}" if by and not by.startswith("does not") else by or ("SURVIVED" if whole else "not seen yet")
        print(f"{verdict}: {fault[0]}: {fault[1]}  ->  {fault[2]}  ({time.time() - start:.0f} s)", flush=True)


def told(faults, record):
    """Prints the sums; whether enough were seen."""
    rows = [(f, record.find(f)) for f in faults if record.find(f)]
    broken = [f for f, r in rows if r["by"].startswith("does not")]
    left = [(f, r) for f, r in rows if not r["by"]]
    n_first = sum(1 for f, r in rows if r["by"] and f not in broken and not r["whole"])
    n_rest = sum(1 for f, r in rows if r["by"] and f not in broken and r["whole"])
    print(f"\nplant: {len(rows)} of {len(faults)} faults were planted in src/, one at a time: {n_first} seen by the tests named beside "
          f"them, {n_rest} by the rest, {len(left)} survived, {len(broken)} did not build")
    print(f"builds and tests: {sum(r['seconds'] for r in record.lines) / 60:.0f} minutes in all")
    print("tried at " + ", ".join(f"{c} ({n})" for c, n in collections.Counter(r["commit"] for _, r in rows).items()))
    for f, r in left:
        print(f"survived{'' if r['whole'] else ' the tests named beside it, all others were not run'}: {f[0]}: {f[1]}  ->  {f[2]}")
    for f in broken:
        print(f"does not build: {f[0]}: {f[1]}")
    return bool(faults) and len(rows) == len(faults) and n_first + n_rest >= ENOUGH * len(faults)


def finish(faults, record):
    enough = told(faults, record)
    if faults == FAULTS:
        record.path.unlink()
    return 0 if enough else 1


def chosen(args):
    picked = [f for f in FAULTS if not args.only or args.only in f[0] or args.only in f[1]]
    n = min(args.n or len(picked), len(picked))
    return [picked[i * len(picked) // n] for i in range(n)] if n else []


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--n", type=int, default=0)
    p.add_argument("--only")
    p.add_argument("--check", action="store_true")
    p.add_argument("--resume", action="store_true")
    p.add_argument("--work", type=pathlib.Path, default=ROOT / "build" / "plant")
    args = p.parse_args()
    bad = misplaced(ROOT)
    print("\n".join(bad) if bad else f"plant: {len(FAULTS)} faults, each old text stands once", flush=True)
    if bad or args.check:
        return 1 if bad else 0
    faults = chosen(args)
    args.work.mkdir(parents=True, exist_ok=True)
    record = Record(args.work / "tried.jsonl", args.resume)
    if not any(record.is_left(f, True) for f in faults):
        return finish(faults, record)
    copy_tree(args.work.resolve())
    bench = Bench(args.work.resolve())
    for step in (bench.configure, bench.make):
        ok, output = step()
        if not ok:
            print("the tree without a fault does not build:\n" + output[-2000:])
            return 1
    left = [f for f in faults if record.is_left(f, False)]
    failing = [names for names in sorted({f[3] for f in left if f[3]}) if not bench.passes(names)]
    if failing:
        print(f"the tree without a fault fails {failing}: nothing can be said")
        return 1
    one_round(bench, left, False, record)
    left = [f for f in faults if record.is_left(f, True)]
    if left:
        bench.make()
        by = bench.seen_by_all()
        if by:
            print(f"the tree without a fault fails {by}: nothing can be said of the {len(left)} that are left")
            return 1
        one_round(bench, left, True, record)
    return finish(faults, record)


if __name__ == "__main__":
    sys.exit(main())
