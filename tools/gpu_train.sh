#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Trains each objective and optimizer for some steps on a GPU and on the CPU: tools/gpu_train.sh LMFAST [DEVICE], from tools/gpu_check.sh.
# In f32 both must come to the same losses, the device must train the same bits again, and its fast products must come near.
# The model is made here. Prints a line a method; exit status 1 if any failed.
lmfast=$(realpath "$1") device=${2:-cuda}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
failed=0
cd "$dir" || exit 2

awk 'BEGIN {
    for (i = 0; i < 400; i++)
        print "The river of number " i % 17 " runs to the sea past " i % 5 " towns, and no bridge of " i % 7 \
            " arches crosses it.\n" > "text.txt"
    for (i = 0; i < 24; i++) {
        a = i % 9; b = i % 7
        printf "{\"prompt\": \"%d and %d are\", \"completion\": \" %d, past the towns\"}\n", a, b, a + b > "rows.jsonl"
        printf "{\"prompt\": \"%d and %d are\", \"completion\": \" %d towns\", \"label\": %s}\n", a, b, a + b, \
            i % 3 ? "true" : "false" > "kto.jsonl"
        printf "{\"prompt\": \"The river of number %d\", \"answer\": \"%d\"}\n", a, a > "ask.jsonl"
    }
}'
make() {
    "$lmfast" pretrain --quiet --data text.txt:split=paragraphs --output "$1" --max-steps 4 --hidden-size "$2" --num-hidden-layers 2 \
        --num-attention-heads 4 --vocab-size 300 --seq-len 64 --lr 5e-3 --no-tensorboard --val-set-size 0 >/dev/null || exit 2
}
make base 64
make large 96

# name of the run, device, compute, command...
run() {
    out=$1 on=$2 how=$3
    shift 3
    "$lmfast" "$@" --quiet --output "$out" --device "$on" --compute "$how" --max-steps 4 --logging-steps 1 --save-steps 0 --seq-len 64 \
        --lr 1e-3 --no-tensorboard >"$out.log" 2>&1
}
losses() { sed -n 's/.*"loss": *\([-0-9.e+]*\).*/\1/p' "$1/metrics.jsonl"; }
apart() { # the greatest distance between the losses of two runs, as a share of 1 + the loss; -1: none, or not as many
    losses "$1" >a.txt
    losses "$2" >b.txt
    paste a.txt b.txt | awk 'NF != 2 { bad = 1 } { d = $1 - $2; d = (d < 0 ? -d : d) / (1 + ($1 < 0 ? -$1 : $1)); if (d > m) m = d }
        END { print bad || NR == 0 ? -1 : m + 0 }'
}
# name, command...
compare() {
    name=$1 what=""
    shift
    for kind in cpu:f32:one "$device:f32:two" "$device:f32:again" "$device:fast:fast"; do
        out=${kind##*:} rest=${kind%:*}
        rm -rf "$out"
        if ! run "$out" "${rest%:*}" "${rest##*:}" "$@"; then
            echo "FAIL $name on ${rest%:*} in ${rest##*:}: $(tail -n 1 "$out.log")"
            failed=1
            return
        fi
    done
    same=$(apart one two) near=$(apart one fast)
    cmp -s two/adapter_model.safetensors again/adapter_model.safetensors || what="other bits when run again"
    awk "BEGIN { exit !($same >= 0 && $same < 1e-4) }" || what="$what; f32 is off by $same"
    awk "BEGIN { exit !($near >= 0 && $near < 1e-2) }" || what="$what; fast is off by $near"
    echo "${what:+FAIL }$name: losses within $same, fast $near${what:+: $what}"
    [ -z "$what" ] || failed=1
}

sft="train --model base/model --data rows.jsonl"
for beta in forward reverse js; do
    compare "distill, $beta" distill --student base/model --teacher large/model --data rows.jsonl --divergence $beta
done
if "$lmfast" teacher-labels --quiet --teacher large/model --data rows.jsonl --output labels --top-k 8 >labels.log 2>&1; then
    compare "distill from labels" distill --student base/model --teacher-labels labels --data rows.jsonl
else
    echo "FAIL teacher-labels: $(tail -n 1 labels.log)"
    failed=1
fi
compare "dropout" $sft --lora-dropout 0.2
compare "adamw_8bit" $sft --optimizer adamw_8bit
compare "sgd" $sft --optimizer sgd
compare "kto" align --model base/model --data kto.jsonl --method kto
# what is sampled hangs on last bits: it must run, and run alike
for out in one again; do
    rm -rf $out
    if ! run $out "$device" f32 reason --model base/model --data ask.jsonl --reward "regex:[aeiou]" --num-generations 4 --beta 0.1 \
        --max-completion-length 8; then
        echo "FAIL grpo on $device: $(tail -n 1 $out.log)"
        exit 1
    fi
done
what=""
cmp -s one/adapter_model.safetensors again/adapter_model.safetensors || { what=": other bits when run again"; failed=1; }
echo "${what:+FAIL }grpo: losses $(losses one | tr '\n' ' ')$what"
exit $failed
