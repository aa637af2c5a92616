#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# bench/run.sh [BUILD]: limits of this machine, then training, prefill, decode and the tokenizer beside their peers. About 12 minutes
# on 2 cores that do nothing else; prints Markdown.
set -eu
cd "$(dirname "$0")/.."
build=${1:-build/release}
python=$(tools/venv.sh oracle)
model=$(python3 tools/fetch_model.py)
python3 tools/make_toolcall.py >/dev/null
data=${XDG_CACHE_HOME:-$HOME/.cache}/lmfast/data/toolcall_train.jsonl
echo "# $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores, $(date -u +%Y-%m-%d), $(git describe --always --dirty 2>/dev/null)"
"$build/bench_limits"
"$python" bench/decode.py --build "$build" --model "$model"
"$python" bench/train.py --build "$build" --model "$model" --data "$data"
"$python" bench/tokenizer.py --driver "$build/driver_tokenize"
