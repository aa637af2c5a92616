#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tools/test.sh BUILD: every test that needs no GPU, no PyTorch and no network. Ends with "tests: N passed, N failed".
set -u
cd "$(dirname "$0")/.."
build=$1
python=$(tools/venv.sh test) || exit 1
log=$(mktemp -d)
trap 'rm -rf "$log"' EXIT

ctest --test-dir "$build" --output-on-failure --no-tests=error -j "$(nproc)" 2>&1 | tee "$log/ctest"
total=$(sed -n 's/.*tests passed, \([0-9]*\) tests failed out of \([0-9]*\)$/\1/p' "$log/ctest")
# Each folder's run ends in "N passed, N failed"; one that crashed counts as one failure.
read -r passed failed < <(awk '/^[0-9]+ passed, [0-9]+ failed/ { p += $1; f += $3 } END { print p + 0, f + 0 }' "$build/Testing/Temporary/LastTest.log")
[ "$failed" -ge "${total:-1}" ] || failed=${total:-1}

for source in fuzz/*_fuzz.c; do # seeds and 200 changed copies of each, without a fuzzing engine
  name=$(basename "$source" .c)
  echo "replay $name"
  if "$build/$name" --mutate 200 1 "fuzz/corpus/${name%_fuzz}" </dev/null; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done

# A sanitized program is too slow and too large for the whole-program runs on the real model and for measuring memory.
slow=
case $build in *san) slow="--ignore tests/cli/test_export.py --ignore tests/cli/test_quantize.py --ignore tests/cli/test_train.py" ;; esac
LMFAST_BUILD=$(realpath "$build") "$python" -m pytest $slow -q -p no:cacheprovider --tb=short tests/cli </dev/null 2>&1 | tee "$log/pytest"
status=${PIPESTATUS[0]}
count() { tail -n 1 "$log/pytest" | grep -oE "[0-9]+ ($1)" | awk '{ n += $1 } END { print n + 0 }'; }
bad=$(count "failed|errors?")
[ "$status" = 0 ] || [ "$bad" -gt 0 ] || bad=1
passed=$((passed + $(count passed))) failed=$((failed + bad))
echo "tests: $passed passed, $failed failed"
[ "$failed" = 0 ]
