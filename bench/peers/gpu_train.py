#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""LoRA training by transformers + PEFT on a GPU, for a figure beside ours: random bf16 weights of a real shape, random tokens.

    bench/peers/gpu_train.py --shape 135m --rows 16 --tokens 2048 [--compile]     one JSON line: tokens a second, peak GiB, losses"""
import argparse
import json
import time

import torch
import transformers
from peft import LoraConfig, get_peft_model

SHAPES = {
    "135m": dict(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
                 vocab_size=49152, tie_word_embeddings=True, rope_theta=1e5),
    "360m": dict(hidden_size=960, intermediate_size=2560, num_hidden_layers=32, num_attention_heads=15, num_key_value_heads=5,
                 vocab_size=49152, tie_word_embeddings=True, rope_theta=1e5),
    "1.1b": dict(hidden_size=2048, intermediate_size=5632, num_hidden_layers=22, num_attention_heads=32, num_key_value_heads=4,
                 vocab_size=32000),
}
TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def main():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--shape", choices=SHAPES, default="135m")
    p.add_argument("--rows", type=int, default=16)
    p.add_argument("--tokens", type=int, default=2048)
    p.add_argument("--steps", type=int, default=8)
    p.add_argument("--compile", action="store_true")
    a = p.parse_args()
    torch.manual_seed(0)
    config = transformers.LlamaConfig(max_position_embeddings=a.tokens, attn_implementation="sdpa", **SHAPES[a.shape])
    model = transformers.LlamaForCausalLM(config).to("cuda", torch.bfloat16)
    model = get_peft_model(model, LoraConfig(r=16, lora_alpha=32, target_modules=TARGETS))
    optimizer = torch.optim.AdamW([w for w in model.parameters() if w.requires_grad], lr=1e-3, fused=True)
    run = torch.compile(model) if a.compile else model
    batch = torch.randint(0, config.vocab_size, (a.rows, a.tokens), device="cuda")
    seconds, losses = [], []
    for step in range(a.steps):
        torch.cuda.synchronize()
        start = time.perf_counter()
        loss = run(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_([w for w in model.parameters() if w.requires_grad], 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - start)
    best = sorted(seconds[3:])[len(seconds[3:]) // 2]
    print(json.dumps({"peer": "transformers " + transformers.__version__ + " + PEFT" + (", compiled" if a.compile else ""),
                      "shape": a.shape, "rows": a.rows, "tokens": a.tokens, "gpu": torch.cuda.get_device_name(), "torch": torch.__version__,
                      "tokens_per_second": a.rows * a.tokens / best,
                      "peak_gib": torch.cuda.max_memory_allocated() / 2**30, "first_loss": losses[0], "last_loss": losses[-1]}))


if __name__ == "__main__":
    main()
