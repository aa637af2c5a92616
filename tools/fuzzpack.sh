#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tools/fuzzpack.sh [FOLDER]: every fuzz target with an engine of its own (fuzz/grow.c), static, with its inputs and run.sh, for a machine
# that has a shell and nothing else. FOLDER: build/fuzzpack; beside it FOLDER.tar.xz.
#
#     tar xJf fuzzpack.tar.xz && fuzzpack/run.sh 600 64 >summary.json      # 600 seconds, 64 processes
set -eu
cd "$(dirname "$0")/.."
out=${1:-build/fuzzpack}
[ -e build/grow/build.ninja ] || cmake --preset grow -Wno-dev >/dev/null
targets=$(for source in fuzz/*_fuzz.c; do basename "$source" .c; done)
# shellcheck disable=SC2086 -- words
ninja -C build/grow --quiet $targets
rm -rf "$out"
mkdir -p "$out/corpus"
for name in $targets; do
  strip -o "$out/$name" "build/grow/$name"
  mkdir -p "$out/corpus/$name"
  cp -r "fuzz/corpus/${name%_fuzz}/." "$out/corpus/$name"
done
cat >"$out/run.sh" <<'EOF'
#!/bin/bash
# run.sh SECONDS THREADS: all targets at once, each process for a minute at a time, with what all have found as its beginning. Prints a
# summary in JSON; crashes/ holds the inputs of crashes, found/ those that reached something new.
cd "$(dirname "$0")" || exit 1
seconds=${1:-60} threads=${2:-1} begin=$(date +%s)
ulimit -c 0
ulimit -v 8388608 2>/dev/null
mkdir -p crashes found log
targets=(*_fuzz)
slice=$((threads < ${#targets[@]} ? seconds * threads / ${#targets[@]} : 60)) # few processes take turns
slice=$((slice < 5 ? 5 : slice > 60 ? 60 : slice))
worker() {
  local i=$1 k=0 left
  while left=$((seconds - $(date +%s) + begin)) && [ "$left" -gt 0 ]; do
    local name=${targets[$(((i + k * (threads < ${#targets[@]} ? threads : 0)) % ${#targets[@]}))]}
    mkdir -p "found/$name"
    timeout -k 5 $((left + 120)) "./$name" --seconds $((left < slice ? left : slice)) --seed $((begin + 1000 * i + k)) \
      --found "found/$name" --crashes crashes "corpus/$name" "found/$name" >>"log/$i" 2>>"log/$i.err"
    local status=$?
    [ $status = 0 ] || echo "$name failed $status" >>"log/$i"
    k=$((k + 1))
  done
}
for ((i = 0; i < threads; i++)); do worker $i & done
wait
cat log/*[0-9] | awk -v seconds="$seconds" -v threads="$threads" '
  / executions, / { n[$1] += $2; found[$1] += $4; total += $2 }
  / failed / { bad[$1]++; failed++ }
  END {
    printf "{\"seconds\": %d, \"threads\": %d, \"executions\": %.0f, \"failed_runs\": %d, \"targets\": {", seconds, threads, total, failed
    for (t in n) { printf "%s\"%s\": {\"executions\": %.0f, \"found\": %d, \"failed_runs\": %d}", c, t, n[t], found[t], bad[t]; c = ", " }
    printf "}, \"crashes\": [" }'
c=
for f in crashes/*; do [ -f "$f" ] && printf '%s"%s"' "$c" "${f#crashes/}" && c=', '; done
echo ']}'
EOF
chmod +x "$out/run.sh"
XZ_OPT="-6 --lzma2=dict=128MiB" tar -C "$(dirname "$out")" -cJf "$out.tar.xz" "$(basename "$out")" # the programs are nearly the same
ls -l "$out.tar.xz"
