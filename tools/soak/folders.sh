#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tools/soak/folders.sh BUILD: 200 generated Hugging Face folders against transformers, their GGUF exports against llama.cpp (CI: 60).
set -eu
cd "$(dirname "$0")/../.."
python=$(tools/venv.sh oracle | tail -n 1)
exec "$python" tools/oracle/folders.py --build "$1" --n 200
