#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# bench/run.sh [BUILD] [quick]: every speed program in turn; the report goes to standard output and, with the JSON of each part,
# to BUILD/bench/. About 12 minutes on 2 quiet cores; quick is a trial of the scripts, not of the speed. The peers come from
# tools/requirements-oracle.txt. Fails at the end when a part failed, and names it.
set -u
cd "$(dirname "$0")/.." || exit 1
build=${1:-build/release} quick=${2:-}
[ "$quick" = "" ] || [ "$quick" = quick ] || { echo "usage: bench/run.sh [BUILD] [quick]" >&2; exit 2; }
python=$(tools/venv.sh oracle) || exit 1
python3 tools/fetch_model.py >/dev/null && python3 tools/make_toolcall.py >/dev/null && python3 tools/fetch_vocab.py >/dev/null || exit 1
kjv=$(tools/make_kjv.sh) || exit 1
out=$build/bench
mkdir -p "$out"
failed=
decode=() start=() train=() tokenizer=(--runs 3) limits=()
if [ "$quick" ]; then
  decode=(--rounds 1 --prompt-tokens 32 --new-tokens 8) start=(--rounds 1) tokenizer=(--runs 1) limits=(--seconds 0.02)
  train=(--rounds 1 --steps 1 --batch-size 1 --peers 'float32 sdpa')
fi

# part NAME COMMAND...: its standard output into the report
part() {
  local name=$1 begin=$SECONDS
  shift
  echo "== $name" >&2
  timeout 600 "$@" >"$out/$name.txt" </dev/null || { echo "$name failed with status $?" >&2; failed="$failed $name"; }
  echo "== $name took $((SECONDS - begin)) s" >&2
}
# What a part printed, as text, or as the table that its JSON holds.
block() { printf '\n## %s\n\n```\n' "$1"; cat "$out/$1.txt"; printf '```\n'; }
table() { printf '\n## %s\n\n' "$1"; "$python" -c 'import sys; sys.path.insert(0, "bench"); import report; report.print_saved(sys.argv[1])' "$out/$1.txt"; }

part limits "$build/bench_limits" --json "${limits[@]}"
[ -z "$failed" ] || exit 1
for name in decode start train; do
  declare -n extra=$name
  part $name "$python" "bench/$name.py" --build "$build" --limits "$out/limits.txt" --json "${extra[@]}"
done
part tokenizer "$python" bench/tokenizer.py --driver "$build/driver_tokenize" "${tokenizer[@]}" "$kjv"
kernels=()
for source in bench/*.c; do
  name=$(basename "$source" .c)
  [ "$name" = limits ] || { part "$name" "$build/bench_$name"; kernels+=("$name"); }
done

{
  echo "# Speed${quick:+: a trial of the scripts, its figures say nothing}"
  printf '\n## limits\n\n'
  "$python" -c 'import sys; sys.path.insert(0, "bench"); import report; report.print_limits(sys.argv[1])' "$out/limits.txt"
  for name in decode start train; do table $name; done
  for name in tokenizer "${kernels[@]}"; do block "$name"; done
  [ -z "$failed" ] || printf '\nFailed:%s\n' "$failed"
} | tee "$out/report.md"
[ -z "$failed" ]
