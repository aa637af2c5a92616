#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# All checks that need a GPU, in under 5 minutes: tools/gpu_check.sh [folder]. The folder is what `ninja gpu` fills
# (build/<preset>/gpu, default build/release/gpu): programs, plug-ins and the libraries that they load. The machine needs
# glibc (2.36 or newer) and an NVIDIA driver (580 or newer). Ends with one line a check and exits 1 if any failed.
dir=${1:-build/release/gpu}
failed=0
summary=""

if ! [ -x "$dir/test_cuda" ]; then
    echo "gpu_check: $dir/test_cuda is not there; build it with: ninja -C build/release gpu" >&2
    exit 2
fi
dir=$(realpath "$dir")
grep -m1 "model name" /proc/cpuinfo
nvidia-smi --query-gpu=name,driver_version,memory.total,memory.used --format=csv,noheader 2>/dev/null || echo "gpu_check: no nvidia-smi"

# name, seconds, command...
run() {
    name=$1 limit=$2
    shift 2
    echo "== $name"
    begin=$(date +%s)
    LD_LIBRARY_PATH="$dir/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" LMFAST_PLUGIN_PATH="$dir" timeout -k 5 "$limit" "$@"
    code=$?
    seconds=$(($(date +%s) - begin))
    if [ $code = 0 ]; then
        verdict=ok
    elif [ $code = 124 ] || [ $code = 137 ]; then
        verdict="FAILED: over $limit s"
    else
        verdict="FAILED: exit status $code"
    fi
    [ $code = 0 ] || failed=1
    summary="$summary
$name: $verdict, $seconds s"
}

run "device, rows, failures (test_cuda)" 120 "$dir/test_cuda"
if [ -x "$dir/lmf_tests" ]; then
    run "op cases through a plan (lmf_tests --device cuda)" 150 "$dir/lmf_tests" --device cuda --verbose src/ops
    # this machine's processor may have bf16 units that others lack
    run "products by oneDNN and in bf16 (lmf_tests matmul_large gemm_bf16 src/ops/lora src/ops/head_nll)" 40 "$dir/lmf_tests" --workers 2 matmul_large gemm_bf16 src/ops/lora src/ops/head_nll
fi
if [ -x "$dir/lmfast" ]; then
    run "training as on the CPU (tools/gpu_train.sh)" 120 "$(dirname "$0")/gpu_train.sh" "$dir/lmfast"
fi
echo "== summary$summary"
exit $failed
