#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tools/oracle/run.sh BUILD [NAME ...]: compares the build with independent programs (transformers, PEFT, tokenizers, gguf,
# llama.cpp), live. Every tools/oracle/*.py is one oracle; it is run once with the arguments of each of its lines
#   # ci: --driver {build}/driver_tokenize --n 2000
# ({build}, {cache} and {source} are filled in), or with --ci where it has none. Ends with "oracles: N passed, N failed" over all runs.
set -u
cd "$(dirname "$0")/../.."
build=$1
shift
python=$(tools/venv.sh oracle) || exit 1
cache=${XDG_CACHE_HOME:-$HOME/.cache}/lmfast
python3 tools/fetch_model.py >/dev/null && python3 tools/make_toolcall.py >/dev/null && python3 tools/fetch_vocab.py >/dev/null && python3 tools/fetch_templates.py >/dev/null && tools/make_kjv.sh >/dev/null || exit 1
passed=0 failed=0 bad=
for oracle in tools/oracle/*.py; do
  name=$(basename "$oracle" .py)
  [ $# = 0 ] || [[ " $* " = *" $name "* ]] || continue
  while read -r args; do
    args=${args//\{build\}/$build} args=${args//\{cache\}/$cache} args=${args//\{source\}/.}
    echo "== oracle $name $args"
    start=$SECONDS
    # shellcheck disable=SC2086 -- words
    if LMFAST_BUILD=$(realpath "$build") nice "$python" "$oracle" $args </dev/null; then passed=$((passed + 1)); else failed=$((failed + 1)) bad="$bad $name"; fi
    echo "== $name took $((SECONDS - start)) s"
  done < <(sed -n 's/^# ci: //p' "$oracle" | grep . || echo --ci)
done
[ -z "$bad" ] || echo "failed:$bad"
echo "oracles: $passed passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
