#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# tools/check.sh BUILD: every gate, and the proof that each gate can fail. Ends with "gates: N passed, N failed".
set -u
cd "$(dirname "$0")/.."
passed=0 failed=0
for gate in tools/check_*.py; do
  if python3 "$gate" ${1:+--build "$1"} </dev/null; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
echo "gates: $passed passed, $failed failed"
[ "$failed" = 0 ]
