#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tools/soak.sh BUILD [NAME]: the long runs, tools/soak/NAME.py or .sh, each called with BUILD. What a run prints, with date, commit,
# machine and status, becomes docs/soak/NAME.md.
set -u
cd "$(dirname "$0")/.."
build=$1 failed=0 seen=0
for program in tools/soak/*; do
  name=$(basename "${program%.*}")
  [ -z "${2:-}" ] || [ "$name" = "$2" ] || continue
  [ -x "$program" ] || continue
  seen=$((seen + 1)) start=$SECONDS load=$(cut -d' ' -f3 /proc/loadavg)
  log=$(mktemp)
  commit=$(git describe --always 2>/dev/null || echo unknown)
  [ -z "$(git status --porcelain -- . ':!docs/soak' 2>/dev/null)" ] || commit=$commit-dirty # the records are in the tree, too
  "$program" "$build" </dev/null 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  [ "$status" = 0 ] || failed=$((failed + 1))
  mkdir -p docs/soak
  {
    echo "# soak: $name"
    echo
    echo "- date: $(date -u +%Y-%m-%d), $((SECONDS - start)) s"
    echo "- commit: $commit"
    echo "- machine: $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $(nproc) processors"
    echo "- load: $load before, $(cut -d' ' -f3 /proc/loadavg) after (15 minutes' average)"
    echo "- status: $([ "$status" = 0 ] && echo passed || echo "failed ($status)")"
    echo
    echo '```'
    tail -n 40 "$log"
    echo '```'
  } >"docs/soak/$name.md"
  rm -f "$log"
done
[ "$seen" -gt 0 ] || { echo "soak: there is no run ${2:-} in tools/soak/" >&2; exit 1; }
echo "soak: $((seen - failed)) passed, $failed failed"
[ "$failed" = 0 ]
