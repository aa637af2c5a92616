#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tools/fuzzpack.sh [FOLDER]: every fuzz target with an engine of its own (fuzz/grow.c) and with ASan, LSan and UBSan, its inputs, the
# shared libraries that it needs and run.sh, for a machine with a shell and nothing else. FOLDER: build/fuzzpack; beside it FOLDER.tar.xz.
#
#     tar xJf fuzzpack.tar.xz && fuzzpack/run.sh 600 64 >summary.json      # 600 seconds, 64 processes
#
# Reports name functions; addr2line -e build/grow/NAME_fuzz gives the lines.
set -eu
cd "$(dirname "$0")/.."
out=${1:-build/fuzzpack}
[ -e build/grow/build.ninja ] || cmake --preset grow -Wno-dev >/dev/null
targets=$(for source in fuzz/*_fuzz.c; do basename "$source" .c; done)
# shellcheck disable=SC2086 -- words
ninja -C build/grow --quiet $targets
rm -rf "$out"
mkdir -p "$out/corpus" "$out/lib"
for name in $targets; do
  strip --strip-debug -o "$out/$name" "build/grow/$name"
  mkdir -p "$out/corpus/$name"
  cp -r "fuzz/corpus/${name%_fuzz}/." "$out/corpus/$name"
  ldd "$out/$name" | awk '$2 == "=>" { print $3 } $1 ~ /^\// { print $1 }' | xargs -I{} cp -Ln {} "$out/lib"
done
mv "$out"/lib/ld-linux-* "$out/lib/ld.so" # CMakeLists.txt names it as the programs' loader
cat >"$out/run.sh" <<'EOF2'
#!/bin/bash
# run.sh SECONDS PROCESSES: all targets at once, each process for a minute at a time, with what all have found as its beginning. Prints a
# summary in JSON: executions, crashes, hangs and leaks of each target. crashes/ holds the inputs (signal14: it hung), found/ those that
# reached something new, log/*.err the sanitizers' reports.
cd "$(dirname "$0")" || exit 1
seconds=${1:-60} threads=${2:-1} begin=$(date +%s)
ulimit -c 0
export UBSAN_OPTIONS=abort_on_error=1:print_stacktrace=1
export ASAN_OPTIONS=abort_on_error=1:allocator_may_return_null=1:max_allocation_size_mb=2048:hard_rss_limit_mb=3072:quarantine_size_mb=16
export LSAN_OPTIONS=leak_check_at_exit=0
start=(env LD_LIBRARY_PATH=lib) # the libc that was packed with lib/ld.so, not the machine's
setarch -R true 2>/dev/null && start=(setarch -R "${start[@]}") # some kernels' addresses are too random for ASan
mkdir -p crashes found log
targets=(*_fuzz)
slice=$((threads < ${#targets[@]} ? seconds * threads / ${#targets[@]} : 60)) # few processes take turns
slice=$((slice < 5 ? 5 : slice > 60 ? 60 : slice))
worker() {
  local i=$1 k=0 left
  while left=$((seconds - $(date +%s) + begin)) && [ "$left" -gt 0 ]; do
    local name=${targets[$(((i + k * (threads < ${#targets[@]} ? threads : 0)) % ${#targets[@]}))]}
    mkdir -p "found/$name"
    timeout -k 5 $((left + 120)) "${start[@]}" "./$name" --seconds $((left < slice ? left : slice)) --seed $((begin + 1000 * i + k)) \
      --found "found/$name" --crashes crashes "corpus/$name" "found/$name" >>"log/$i" 2>>"log/$i.err"
    local status=$?
    [ $status = 0 ] || echo "$name failed $status" >>"log/$i"
    k=$((k + 1))
  done
}
for ((i = 0; i < threads; i++)); do worker $i & done
wait
count() { find crashes -type f -name "$1" | wc -l; }
total=$(cat log/*[0-9] | awk '/ executions, / { n += $2 } END { printf "%.0f", n }')
echo "{\"seconds\": $seconds, \"processes\": $threads, \"executions\": $total, \"targets\": {"
for name in "${targets[@]}"; do
  hangs=$(count "$name-signal14-*") c=$([ "$name" = "${targets[-1]}" ] || echo ,)
  cat log/*[0-9] | awk -v t="$name" -v hangs="$hangs" -v crashes=$(($(count "$name-*") - hangs)) -v c="$c" '
    $1 == t && / executions, / { n += $2; found += $4 }
    $1 == t && / failed 23$/ { leaks++ }
    $1 == t && / failed / && $3 != 3 && $3 != 23 { other++ }
    END { printf "  \"%s\": {\"executions\": %.0f, \"found\": %d, \"crashes\": %d, ", t, n, found, crashes
          printf "\"hangs\": %d, \"leaks\": %d, \"other_failures\": %d}%s\n", hangs, leaks, other, c }'
done
echo '}, "inputs": ['"$(find crashes -type f -printf '"%f"\n' | paste -sd,)"']}'
EOF2
chmod +x "$out/run.sh"
XZ_OPT="-6 --lzma2=dict=128MiB" tar -C "$(dirname "$out")" -cJf "$out.tar.xz" "$(basename "$out")" # the programs are nearly the same
ls -l "$out.tar.xz"
