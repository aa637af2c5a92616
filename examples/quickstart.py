# SPDX-License-Identifier: Apache-2.0
# make demo in Python:  quickstart.py MODEL ROWS OUTPUT  gives the adapter of the command, bit by bit.
import sys
import lmfast

model, rows, output = sys.argv[1:4]
steps = int(sys.argv[4].partition("=")[2]) if len(sys.argv) > 4 else 0
recipe = dict(epochs=0 if steps else 3, batch_size=8, lr=1e-3, lora_r=16, lora_alpha=32, warmup_steps=5, scheduler="linear",
              min_lr_ratio=0.1,
              weight_decay=0.01, max_grad_norm=1.0, seed=0)
result = lmfast.train(model, rows, output, max_steps=steps, on_step=lambda s: print(s.step, s.n_steps, s.loss), **recipe)
tuned = lmfast.load_model(model, adapter=output, temperature=0, max_tokens=64)
print(tuned.generate("What is the weather in Paris?", raw=not tuned.info.has_chat_template), result.final_loss)
lmfast.export(model, output + ".gguf", adapter=output, quant="q8_0")
